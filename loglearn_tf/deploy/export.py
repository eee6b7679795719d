"""Saved models for places without Keras or this package: the list of formats, known before Keras is loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loglearn_tf._util.files import replacing
from loglearn_tf._util.registry import Registry
from loglearn_tf._util.text import printable, shown
from loglearn_tf.errors import ConfigError, ModelError

if TYPE_CHECKING:
    import keras

# An array to the list of outputs; `None` where what runs it is not installed.
Run = Callable[[Any], list[Any] | None]


@dataclass(frozen=True)
class ExportFormat:
    """What the package needs to know of an export format.

    Attributes:
        title: In messages.
        default_output: Name of the file or folder, beside the model.
        write: Given a model and a path where nothing is, writes it there; returns what was written and what it needs,
            in a sentence.
        load: Given that path, a function that runs what was written, from one array to the list of its outputs. They
            must be the model's, or nothing is left at `path`.
        is_folder: Whether it writes a folder.
        recognises: Whether an existing file or folder is of this format; nothing else is replaced.
    """

    title: str
    default_output: str
    write: "Callable[[keras.Model, Path], str | None]"
    load: Callable[[Path], Run] | None = None
    is_folder: bool = False
    recognises: Callable[[Path], bool] = lambda path: False


def _adopt(name: str, found: Any) -> ExportFormat:
    """A record as it is; of a bare function that writes, one whose output is named after it and replaces nothing."""
    if isinstance(found, ExportFormat):
        return found
    if not callable(found):
        raise ConfigError(
            f"Export format {printable(name)} must be a function of a model and a path, or an `ExportFormat`. "
            f"Received: {shown(found)}."
        )
    title = name.rpartition(":")[2]
    return ExportFormat(title=title, default_output=title, write=found)


EXPORT_FORMATS: Registry[ExportFormat] = Registry(
    "export format",
    group="loglearn_tf.export_formats",
    own={
        "savedmodel": "loglearn_tf.deploy.savedmodel:SAVEDMODEL",
        "tflite": "loglearn_tf.deploy.tflite:TFLITE",
    },
    adopt=_adopt,
)


def export_model(model: "keras.Model", path: str | Path, *, to: str) -> str:
    """Writes a model for inference; it appears at `path` by rename, after it was run and gave what the model gives.

    Learned compressions become constants. What a clip classifier carries stays with it: see `savedmodel.write` and
    `tflite.write`.

    Args:
        model: Clip classifier, or any model with one input and one output.
        path: Of the file or folder; must not exist as anything else.
        to: A name in `EXPORT_FORMATS`, or a format of one's own as `module:attribute`.

    Returns:
        What was written, in a sentence.

    Raises:
        ConfigError: If there is no such format.
        ModelError: If the model cannot be converted, what was written does not run or gives something else, or `path`
            is something that must not be replaced.
        StorageError: If it cannot be written.
    """
    EXPORT_FORMATS.check(to, setting="to")
    into, path = EXPORT_FORMATS[to], Path(path)
    if path.is_dir() and not into.is_folder:
        raise ModelError(f"{path} is a folder. Name a file, for example {into.default_output}.")
    if path.exists() and not into.recognises(path):
        raise ModelError(f"{path} exists and is no {into.title}: it is not replaced. Name another place.")
    _check_can_be_exported(model)
    with replacing(path) as new:
        said = into.write(model, new) or into.title
        if into.load is not None and new.exists() and not _runs(model, into, new):
            said += " Not run: this TensorFlow cannot."
    return f"{path}: {said}"


def _check_can_be_exported(model: "keras.Model") -> None:
    from loglearn_tf.deploy.saved_models import has_known_graph

    if not has_known_graph(model):
        raise ModelError(
            "Only functional models and built sequential ones can be exported. Received: "
            f"`{model.name}`, {type(model).__name__}, whose input is not known. Build one around it: "
            "`keras.Model(inputs, model(inputs))` with `inputs = keras.Input(...)`; or use `model.export`, Keras' own."
        )
    if len(model.inputs) != 1:
        raise ModelError(
            f"Only models with one input can be exported. Received: `{model.name}` with {len(model.inputs)} inputs. "
            "Use `model.export`, Keras' own."
        )


def _runs(model: "keras.Model", into: ExportFormat, path: Path) -> bool:
    """Whether what was written can be run here; raises a `ModelError` if it fails, or gives something else."""
    import keras
    import numpy as np

    assert into.load is not None
    inputs = _example(model)
    expected = [np.asarray(keras.ops.convert_to_numpy(x)) for x in keras.tree.flatten(model(inputs, training=False))]
    try:
        outputs = into.load(path)(inputs)
        if outputs is None:
            return False
        found = [np.asarray(x) for x in outputs]
    except Exception as error:  # of whatever runs it
        raise ModelError(
            f"`{model.name}` was converted to a {into.title}, which does not run: {str(error).strip()[:300]}. Nothing "
            "was written. Export it to another format, or use `model.export`, Keras' own."
        ) from error
    if [x.shape for x in found] != [x.shape for x in expected]:
        raise ModelError(
            f"`{model.name}` was converted to a {into.title} that gives other shapes: {[x.shape for x in found]} for "
            f"{[x.shape for x in expected]}. Nothing was written. Export it to another format."
        )
    for ours, theirs in zip(expected, found, strict=True):
        # Float32 in another order of sums: some 1e-6 of the largest value, 1e-4 through many layers.
        largest = float(np.max(np.abs(ours), initial=0)) if np.issubdtype(ours.dtype, np.number) else 0.0
        if not np.allclose(theirs, ours, rtol=1e-3, atol=1e-3 * largest, equal_nan=True):
            raise ModelError(
                f"`{model.name}` was converted to a {into.title} that gives other numbers: by up to "
                f"{np.max(np.abs(theirs - ours)):.3g}, with numbers up to {largest:.3g}. Nothing was written. Export "
                "it to another format."
            )
    return True


def _example(model: "keras.Model") -> Any:
    """An input for a model: quiet noise; positive, as mel power is, unless a front end takes it for a waveform."""
    import keras
    import numpy as np

    from loglearn_tf.layers import MelSpectrogram

    (tensor,) = model.inputs
    front_end = next((layer for layer in model.layers if isinstance(layer, MelSpectrogram)), None)
    # Of what the model leaves open, the batch is one; of samples, half a second, more than one frame.
    length = 128 if front_end is None else max(front_end.sample_rate // 2, 2 * front_end.n_fft)
    shape = [1 if axis == 0 and size is None else size or length for axis, size in enumerate(tensor.shape)]
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    noise = np.random.default_rng(0).normal(0, 0.1, shape)
    if "float" not in dtype:
        return np.zeros(shape, dtype)
    return (noise if front_end is not None else np.abs(noise)).astype("float32" if dtype == "bfloat16" else dtype)
