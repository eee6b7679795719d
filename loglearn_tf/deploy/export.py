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


@dataclass(frozen=True)
class ExportFormat:
    """What the package needs to know of an export format.

    Attributes:
        title: In messages.
        default_output: Name of the file or folder, beside the model.
        write: Given a model and a path where nothing is, writes it there; returns what was written and what it needs,
            in a sentence.
        is_folder: Whether it writes a folder.
        recognises: Whether an existing file or folder is of this format; nothing else is replaced.
    """

    title: str
    default_output: str
    write: "Callable[[keras.Model, Path], str | None]"
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
    """Writes a model for inference; it appears at `path` by rename.

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
        ModelError: If the model cannot be converted, or `path` is something that must not be replaced.
        StorageError: If it cannot be written.
    """
    EXPORT_FORMATS.check(to, setting="to")
    into, path = EXPORT_FORMATS[to], Path(path)
    if path.is_dir() and not into.is_folder:
        raise ModelError(f"{path} is a folder. Name a file, for example {into.default_output}.")
    if path.exists() and not into.recognises(path):
        raise ModelError(f"{path} exists and is no {into.title}: it is not replaced. Name another place.")
    with replacing(path) as new:
        said = into.write(model, new)
    return f"{path}: {said or into.title}"
