"""What the readers of your own recordings return to `load_folder`: recordings by name, before files are searched."""

from pathlib import Path
from typing import NamedTuple

from loglearn_tf.datasets.clips import TEST, TRAIN, VALIDATION

# Part names of a data set with one split -> their fold numbers.
SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


class Found(NamedTuple):
    """A recording, or a segment of one."""

    name: str  # unique
    path: Path
    label: str
    fold: int
    group: str  # the recording it was cut from; empty if unknown
    segment: tuple[float, float] | None = None  # seconds
    where: str = ""  # where it is listed, for messages on segments


class Listing(NamedTuple):
    """All recordings of a data set."""

    base: Path  # the data set's folder
    metadata: Path  # the file that lists them
    found: list[Found]
    is_split: bool = False  # folds are the numbers of `SPLITS`
    unused: tuple[Path, ...] = ()  # files in it that are known not to be clips


def split_name(fold: int) -> str:
    """The name of a fold of `SPLITS`."""
    return next(name for name, number in SPLITS.items() if number == fold)
