"""TFLite: one file for small devices."""

import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np

from loglearn_tf.deploy import savedmodel
from loglearn_tf.deploy.clip_classifier import fold_compressions
from loglearn_tf.deploy.export import ExportFormat
from loglearn_tf.deploy.saved_models import all_layers, head_of, is_clip_classifier
from loglearn_tf.errors import ModelError
from loglearn_tf.layers import MelSpectrogram

# A knee from here on hides the rounding floor of a float32 FFT, some 1e-14 of a frame's power. Log-EPS has none.
_HIDING_KNEE = 1e-6


def write(model: keras.Model, path: Path) -> str:
    """A file that a clip classifier's class names make a ZIP archive, too: `labels.txt`, as TFLite's tools expect it.

    TFLite's own operators have no float64. Where every compression has a knee above 1e-6, the front end is converted
    in float32, which needs nothing but the plain runtime and moves probabilities by some 1e-6. Otherwise, for instance
    with log-EPS, whose quiet bands would show the rounding, it stays as it was trained, and the file needs a runtime
    with TensorFlow's select operators: TensorFlow's own interpreter has them up to 2.18, that of 2.20 has not
    (github.com/google-ai-edge/LiteRT/issues/6458).
    """
    import tensorflow as tf

    in_float32 = _in_float32(model)
    with tempfile.TemporaryDirectory() as scratch:
        # By way of a SavedModel: from Keras' functions the converter ends the process at variables inside loops.
        savedmodel.export(fold_compressions(in_float32 or model), Path(scratch))
        converter = tf.lite.TFLiteConverter.from_saved_model(scratch, signature_keys=["serve"])
        try:
            runtime = "runs on the plain TFLite runtime"
            content = converter.convert()
        except Exception:  # the converter's own, which names the operators
            runtime = "needs TensorFlow's select operators"
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
            try:
                content = converter.convert()
            except Exception as error:
                raise ModelError(
                    f"TFLite has no form of this model: {str(error)[:300]}. Export it --to savedmodel."
                ) from error
    path.write_bytes(content)
    if is_clip_classifier(model):
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("labels.txt", "".join(f"{name}\n" for name in head_of(model).class_names))
    return f"TFLite{', its front end in float32' if in_float32 else ''}; {runtime}."


def _in_float32(model: keras.Model) -> keras.Model | None:
    """The model with its front end in float32; `None` where that is so already, or would change its results."""
    compressions = [layer for layer in all_layers(model) if hasattr(layer, "compress")]
    # One that is relative to the clip's level hides nothing of a quiet clip.
    absolute = [hasattr(layer, "knee") and not getattr(layer, "relative", False) for layer in compressions]
    knees = [
        np.min(keras.ops.convert_to_numpy(layer.knee)) if is_absolute else 0
        for layer, is_absolute in zip(compressions, absolute, strict=True)
    ]
    front_ends = [layer for layer in model.layers if isinstance(layer, MelSpectrogram)]
    if not knees or min(knees) < _HIDING_KNEE or all(layer.fft_dtype == "float32" for layer in front_ends):
        return None

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, MelSpectrogram):
            return MelSpectrogram(**{**layer.get_config(), "fft_dtype": "float32"})
        return layer

    return keras.models.clone_model(model, clone_function=copy)


def _is_tflite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8)[4:] == b"TFL3"


TFLITE = ExportFormat(
    title="TFLite file",
    default_output="model.tflite",
    write=write,
    recognises=_is_tflite,
)
