"""Exports saved models for use without Keras or this package; the list of formats does not load Keras."""

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

# From an array to the list of outputs; `None` if its runtime is not installed.
Run = Callable[[Any], list[Any] | None]


@dataclass(frozen=True)
class ExportFormat:
    """What the package needs to know about an export format.

    Attributes:
        title: Name in messages.
        default_output: Default name of the file or folder, next to the model.
        write: Function of a model and a path that does not exist; writes it there and returns a sentence on what was
            written and what it needs.
        load: Function of that path that returns a function from an array to the list of outputs. They must equal those
            of
            the model; otherwise `path` is removed.
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
    """Returns a record unchanged; wraps a plain write function in a record that never replaces files."""
    if isinstance(found, ExportFormat):
        return found
    if not callable(found):
        raise ConfigError(
            f"Export format {printable(name)} must be a function of a model and a path or an `ExportFormat`. "
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
    """Exports a model for inference. It appears at `path` by rename, after its output was compared with the model's.

    Learned compressions become constants. For the metadata of clip classifiers, see `savedmodel.write` and
    `tflite.write`.

    Args:
        model: Clip classifier, or any model with one input and one output.
        path: Output file or folder; must not exist as anything else.
        to: A name in `EXPORT_FORMATS`, or your own format as `module:attribute`.

    Returns:
        A sentence on what was written.

    Raises:
        ConfigError: If there is no such format.
        ModelError: If `model` is not a Keras model or cannot be converted, the result does not run or differs, or
            `path` is something that must not be replaced.
        StorageError: If it cannot be written.
    """
    EXPORT_FORMATS.check(to, setting="to")
    into, path = EXPORT_FORMATS[to], Path(path)
    if path.is_dir() and not into.is_folder:
        raise ModelError(f"{path} is a folder. Name a file, for example {into.default_output}.")
    if path.exists() and not into.recognises(path):
        raise ModelError(f"{path} exists and is not a {into.title}, so it is not replaced. Choose another path.")
    _check_can_be_exported(model)
    with replacing(path) as new:
        said = into.write(model, new) or into.title
        if into.load is not None and new.exists() and not _runs(model, into, new):
            said += " Not verified: the installed TensorFlow cannot run it."
    return f"{path}: {said}"


def _check_can_be_exported(model: "keras.Model") -> None:
    from loglearn_tf.deploy.saved_models import check_is_model, has_known_graph

    check_is_model(model)
    if not has_known_graph(model):
        raise ModelError(
            "Only functional models and built sequential ones can be exported. Received: "
            f"`{model.name}`, {type(model).__name__}, whose input is unknown. Build a functional model around it: "
            "`keras.Model(inputs, model(inputs))` with `inputs = keras.Input(...)`; or use Keras' own `model.export`."
        )
    if len(model.inputs) != 1:
        raise ModelError(
            f"Only models with one input can be exported. Received: `{model.name}` with {len(model.inputs)} inputs. "
            "Use Keras' own `model.export`."
        )


def _runs(model: "keras.Model", into: ExportFormat, path: Path) -> bool:
    """Whether the exported model can be run here; raises a `ModelError` if it fails or its output differs."""
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
    except Exception as error:  # any error of the runtime
        raise ModelError(
            f"`{model.name}` was converted to a {into.title}, which does not run: {str(error).strip()[:300]}. Nothing "
            "was written. Export it to another format, or use Keras' own `model.export`."
        ) from error
    if [x.shape for x in found] != [x.shape for x in expected]:
        raise ModelError(
            f"`{model.name}` was converted to a {into.title} with other output shapes: {[x.shape for x in found]} "
            f"instead of {[x.shape for x in expected]}. Nothing was written. Export it to another format."
        )
    for ours, theirs in zip(expected, found, strict=True):
        # Float32 in another order of sums: some 1e-6 of the largest value, 1e-4 through many layers.
        largest = float(np.max(np.abs(ours), initial=0)) if np.issubdtype(ours.dtype, np.number) else 0.0
        if not np.allclose(theirs, ours, rtol=1e-3, atol=1e-3 * largest, equal_nan=True):
            raise ModelError(
                f"`{model.name}` was converted to a {into.title} with other outputs, which differ by up to "
                f"{np.max(np.abs(theirs - ours)):.3g} with values up to {largest:.3g}. Nothing was written. Export "
                "it to another format."
            )
    return True


def _example(model: "keras.Model") -> Any:
    """A test input for a model: quiet noise, positive like mel power unless the model has a front end."""
    import keras
    import numpy as np

    from loglearn_tf.layers import MelSpectrogram

    (tensor,) = model.inputs
    front_end = next((layer for layer in model.layers if isinstance(layer, MelSpectrogram)), None)
    # Open dimensions: a batch of one; half a second of samples, more than one frame.
    length = 128 if front_end is None else max(front_end.sample_rate // 2, 2 * front_end.n_fft)
    shape = [1 if axis == 0 and size is None else size or length for axis, size in enumerate(tensor.shape)]
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    noise = np.random.default_rng(0).normal(0, 0.1, shape)
    if "float" not in dtype:
        return np.zeros(shape, dtype)
    return (noise if front_end is not None else np.abs(noise)).astype("float32" if dtype == "bfloat16" else dtype)
