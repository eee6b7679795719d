"""SavedModel: served by TensorFlow alone."""

from pathlib import Path
from typing import Any

import keras

from loglearn_tf.deploy.clip_classifier import fold_compressions
from loglearn_tf.deploy.export import ExportFormat, Run
from loglearn_tf.deploy.saved_models import front_end_of, head_of, is_clip_classifier


def write(model: keras.Model, path: Path) -> str:
    """A folder with the function `serve`, inputs to outputs; a clip classifier's also has `class_names` and
    `sample_rate`.

    Its signature, and TensorFlow's servers, take float32 alone. Python's `loaded.serve` casts NumPy arrays, integers
    too, before the model can see what they were: divide 16-bit samples by 32768 first.
    """
    export(fold_compressions(model), path)
    return "SavedModel; serves with TensorFlow alone."


def export(model: keras.Model, folder: Path) -> None:
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    (tensor,) = model.inputs
    archive.add_endpoint(
        "serve",
        lambda inputs: model(inputs, training=False),
        input_signature=[tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name)],
    )
    if is_clip_classifier(model):
        told = {"class_names": head_of(model).class_names, "sample_rate": front_end_of(model).sample_rate}
        for name, value in told.items():
            function = tf.function(lambda value=value: tf.constant(value), input_signature=[], autograph=False)
            # Traced already: an empty signature counts as none in some versions of Keras.
            function.get_concrete_function()
            archive.add_endpoint(name, function)
    archive.write_out(str(folder), verbose=False)


def load(path: Path) -> Run:
    import tensorflow as tf

    served = tf.saved_model.load(str(path))

    def run(inputs: Any) -> list[Any] | None:
        return keras.tree.flatten(served.serve(tf.constant(inputs)))  # type: ignore[no-any-return]

    return run


SAVEDMODEL = ExportFormat(
    title="SavedModel",
    default_output="savedmodel",
    write=write,
    load=load,
    is_folder=True,
    recognises=lambda path: (path / "saved_model.pb").is_file(),
)
