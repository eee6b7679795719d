"""Saved models for places without Keras or this package: SavedModel and TFLite."""

import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np

from loglearn_tf._util.files import storage, write_bytes
from loglearn_tf.deploy.clip_classifier import fold_compressions
from loglearn_tf.deploy.saved_models import all_layers, front_end_of, head_of, is_clip_classifier
from loglearn_tf.errors import ModelError
from loglearn_tf.layers import MelSpectrogram

FORMATS = ("savedmodel", "tflite")
# A knee from here on hides the rounding floor of a float32 FFT, some 1e-14 of a frame's power. Log-EPS has none.
_HIDING_KNEE = 1e-6


def export_model(model: keras.Model, path: str | Path, *, to: str) -> str:
    """Writes a model for inference; it appears at `path` by rename.

    Learned compressions become constants. What a clip classifier carries stays with it: the SavedModel has the
    functions `serve` (waveforms to probabilities), `class_names` and `sample_rate`; the TFLite file is also a ZIP
    archive with `labels.txt`, as TFLite's tools expect it.

    TFLite's own operators have no float64. Where every compression has a knee above 1e-6, the front end is converted
    in float32, which needs nothing but the plain runtime and moves probabilities by some 1e-6. Otherwise, as with
    log-EPS, whose quiet bands would show the rounding, it stays as it was trained, and the file needs a runtime with
    TensorFlow's select operators: TensorFlow's own interpreter has them up to 2.18, that of 2.20 has not
    (github.com/google-ai-edge/LiteRT/issues/6458).

    Args:
        model: Clip classifier, or any model with one input and one output.
        path: Of the folder (SavedModel) or file (TFLite); must not exist as anything else.
        to: `"savedmodel"` or `"tflite"`.

    Returns:
        What was written, in a sentence.

    Raises:
        ModelError: If the model cannot be converted, or `path` is something that must not be replaced.
        StorageError: If it cannot be written.
        ValueError: If there is no such format.
    """
    if to not in FORMATS:
        raise ValueError(f"`to` must be one of {FORMATS}. Received: to={to!r}.")
    path = Path(path)
    if to == "savedmodel":
        if path.exists() and not (path / "saved_model.pb").is_file():
            raise ModelError(f"{path} exists and is no SavedModel: it is not replaced. Name another place.")
        _write_savedmodel(fold_compressions(model), path)
        return f"{path}: SavedModel; serves with TensorFlow alone."
    if path.is_dir():
        raise ModelError(f"{path} is a folder. Name a file, as model.tflite.")
    if path.exists() and not _is_tflite(path):
        raise ModelError(f"{path} exists and is no TFLite file: it is not replaced. Name another place.")
    return _write_tflite(model, path)


def _write_savedmodel(model: keras.Model, path: Path) -> None:
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
            _export(model, Path(scratch) / "new")
            old = Path(scratch) / "old"
            if path.exists():
                path.rename(old)
            try:
                (Path(scratch) / "new").rename(path)
            except BaseException:
                if old.exists():
                    old.rename(path)
                raise


def _export(model: keras.Model, folder: Path) -> None:
    import tensorflow as tf

    if len(model.inputs) != 1:
        raise ModelError(
            f"Only models with one input can be exported. Received: `{model.name}` with {len(model.inputs)} inputs. "
            "Use `model.export`, Keras' own."
        )
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


def _write_tflite(model: keras.Model, path: Path) -> str:
    import tensorflow as tf

    in_float32 = _in_float32(model)
    exported = fold_compressions(in_float32 or model)
    with tempfile.TemporaryDirectory() as scratch:
        # By way of a SavedModel: from Keras' functions the converter ends the process at variables inside loops.
        _export(exported, Path(scratch) / "model")
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(scratch) / "model"), signature_keys=["serve"])
        try:
            needs_select_ops = False
            content = converter.convert()
        except Exception:  # the converter's own, which names the operators
            needs_select_ops = True
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
            try:
                content = converter.convert()
            except Exception as error:
                raise ModelError(
                    f"TFLite has no form of this model: {str(error)[:300]}. Export it --to savedmodel."
                ) from error
        file = Path(scratch) / "model.tflite"
        file.write_bytes(content)
        if is_clip_classifier(model):
            with zipfile.ZipFile(file, "a") as archive:
                archive.writestr("labels.txt", "".join(f"{name}\n" for name in head_of(model).class_names))
        write_bytes(path, file.read_bytes())
    runtime = "needs TensorFlow's select operators" if needs_select_ops else "runs on the plain TFLite runtime"
    front_end = ", its front end in float32" if in_float32 else ""
    return f"{path}: TFLite{front_end}; {runtime}."


def _is_tflite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8)[4:] == b"TFL3"


def _in_float32(model: keras.Model) -> keras.Model | None:
    """The model with its front end in float32; `None` where that is so already, or would change its results."""
    compressions = [layer for layer in all_layers(model) if hasattr(layer, "compress")]
    knees = [np.min(keras.ops.convert_to_numpy(layer.knee)) if hasattr(layer, "knee") else 0 for layer in compressions]
    front_ends = [layer for layer in model.layers if isinstance(layer, MelSpectrogram)]
    if not knees or min(knees) < _HIDING_KNEE or all(layer.fft_dtype == "float32" for layer in front_ends):
        return None

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, MelSpectrogram):
            return MelSpectrogram(**{**layer.get_config(), "fft_dtype": "float32"})
        return layer

    return keras.models.clone_model(model, clone_function=copy)
