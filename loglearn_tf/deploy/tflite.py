"""TFLite: one file for small devices."""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from loglearn_tf.deploy import savedmodel
from loglearn_tf.deploy.clip_classifier import fold_compressions
from loglearn_tf.deploy.export import ExportFormat, Run
from loglearn_tf.deploy.saved_models import all_layers, front_end_of, head_of, is_clip_classifier
from loglearn_tf.deploy.tflite_metadata import with_metadata
from loglearn_tf.errors import ModelError
from loglearn_tf.layers import MelSpectrogram

# A knee above this hides the rounding noise of a float32 FFT, about 1e-14 of a frame's power. Log-EPS has none.
_HIDING_KNEE = 1e-6
_LARGEST_MATRIX = 8192  # 128 MiB


def write(model: keras.Model, path: Path) -> str:
    """Writes a file with the signature `serve` and the model's input name (`waveform` for clip classifiers).

    Open dimensions stay open: TFLite's signature runners take clips of any length, one length after another; with other
    interfaces, resize the input tensor first. A clip classifier's file has TFLite Metadata with the sample rate and is
    also a ZIP archive with the class names, `labels.txt`, as expected by TFLite's tools.

    TFLite's own operators have no float64. If every compression has a knee above 1e-6, the front end is converted to
    float32, which needs only the plain runtime and changes probabilities by about 1e-6. Otherwise, for example with
    log-EPS, whose quiet bands would show the rounding, it stays in float64, and the file needs a runtime with
    TensorFlow's select operators: TensorFlow's own interpreter has them up to 2.18, but not in 2.20
    (github.com/google-ai-edge/LiteRT/issues/6458).

    TFLite's FFT supports only powers of two: with another `n_fft`, a front end in float32 multiplies by the matrix of
    the transform instead, which adds `2 * n_fft ** 2` bytes to the file.
    """
    import tensorflow as tf

    in_float32 = _may_be_float32(model)

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer | None:
        if not isinstance(layer, MelSpectrogram):
            return None
        config = layer.get_config()
        if in_float32:
            config["fft_dtype"] = "float32"
        if config["fft_dtype"] == "float64" or layer.n_fft & (layer.n_fft - 1) == 0:
            return MelSpectrogram(**config)
        if layer.n_fft > _LARGEST_MATRIX:
            raise ModelError(
                f"For TFLite, `n_fft` must be a power of two, or at most {_LARGEST_MATRIX:,}. Received: n_fft="
                f"{layer.n_fft:,}. Train with a power of two and `win_length={layer.n_fft}`, or export --to savedmodel."
            )
        return _ByMatrix(**config)

    with tempfile.TemporaryDirectory() as scratch:
        # Via a SavedModel: with Keras' functions, the converter crashes the process at variables inside loops.
        savedmodel.export(fold_compressions(model, replace=replace), Path(scratch))
        converter = tf.lite.TFLiteConverter.from_saved_model(scratch, signature_keys=["serve"])
        try:
            runtime = "runs on the plain TFLite runtime"
            content = converter.convert()
        except Exception:  # the converter's own error, which names the operators
            runtime = "needs TensorFlow's select operators"
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
            try:
                content = converter.convert()
            except Exception as error:
                raise ModelError(
                    f"TFLite cannot represent this model: {str(error)[:300]}. Export it --to savedmodel."
                ) from error
    if is_clip_classifier(model):
        content = with_metadata(
            content, class_names=head_of(model).class_names, sample_rate=front_end_of(model).sample_rate
        )
    path.write_bytes(content)
    return f"TFLite{', front end in float32' if in_float32 else ''}; {runtime}."


def load(path: Path) -> Run:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(path))
    runner = interpreter.get_signature_runner("serve")
    (name,) = runner.get_input_details()

    def run(inputs: Any) -> list[Any] | None:
        try:
            return [value for _, value in sorted(runner(**{name: inputs}).items())]
        except RuntimeError as error:
            # TensorFlow after 2.18, whose interpreter has no select operators.
            if "Select TensorFlow op" in str(error):
                return None
            raise

    return run


def _may_be_float32(model: keras.Model) -> bool:
    """Whether there are front ends in float64 that could be float32 with the same results to about 1e-6."""
    layers = list(all_layers(model))
    compressions = [layer for layer in layers if hasattr(layer, "compress")]
    # A knee relative to the clip's level hides nothing in a quiet clip.
    absolute = [hasattr(layer, "knee") and not getattr(layer, "relative", False) for layer in compressions]
    knees = [
        np.min(keras.ops.convert_to_numpy(layer.knee)) if is_absolute else 0
        for layer, is_absolute in zip(compressions, absolute, strict=True)
    ]
    in_float64 = any(isinstance(layer, MelSpectrogram) and layer.fft_dtype == "float64" for layer in layers)
    return in_float64 and bool(knees) and min(knees) >= _HIDING_KNEE


class _ByMatrix(MelSpectrogram):
    """The front end without an FFT."""

    def power(self, frames: Any) -> Any:
        import tensorflow as tf

        # Samples equally far from the middle are added and subtracted first, since cosines and sines are even and odd
        # about it: half the matrix and half the work.
        half = self.n_fft // 2
        before, after = frames[..., 1:half], frames[..., :half:-1]
        even = tf.concat([frames[..., :1], before + after, frames[..., half : half + 1]], axis=-1)
        turns = np.outer(np.arange(half + 1), np.arange(half + 1)) % self.n_fft / self.n_fft
        real = tf.matmul(even, tf.constant(np.cos(2 * np.pi * turns), frames.dtype))
        imaginary = tf.matmul(before - after, tf.constant(np.sin(2 * np.pi * turns[1:half]), frames.dtype))
        return real**2 + imaginary**2


def _is_tflite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8)[4:] == b"TFL3"


TFLITE = ExportFormat(
    title="TFLite file",
    default_output="model.tflite",
    write=write,
    load=load,
    recognises=_is_tflite,
)
