"""SavedModel: served with TensorFlow only."""

from pathlib import Path
from typing import Any

import keras

from loglearn_tf.deploy.clip_classifier import fold_compressions
from loglearn_tf.deploy.export import ExportFormat, Run
from loglearn_tf.deploy.saved_models import front_end_of, head_of, is_clip_classifier


def write(model: keras.Model, path: Path) -> str:
    """Writes a folder with the function `serve`, from inputs to outputs; for a clip classifier also `class_names` and
    `sample_rate`.

    Its signature, and TensorFlow's servers, accept only float32. Python's `loaded.serve` casts NumPy arrays, including
    integers, before the model can check their type: divide 16-bit samples by 32768 first.
    """
    export(fold_compressions(model), path)
    return "SavedModel; needs only TensorFlow."


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
            # Already traced: some versions of Keras ignore an empty signature.
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
