"""What the readers of own recordings hand to `load_folder`: recordings by name, before they are looked for."""

from pathlib import Path
from typing import NamedTuple

from loglearn_tf.datasets.clips import TEST, TRAIN, VALIDATION

# The parts of a data set with one split, as lists call them, to the numbers of their folds.
SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


class Found(NamedTuple):
    """A recording, or a segment of one."""

    name: str  # unique
    path: Path
    label: str
    fold: int
    group: str  # the recording it was cut from; empty where that is not known
    segment: tuple[float, float] | None = None  # seconds
    where: str = ""  # it is listed, for messages on segments


class Listing(NamedTuple):
    """All recordings of a data set."""

    base: Path  # the data set's folder
    metadata: Path  # what lists them
    found: list[Found]
    is_split: bool = False  # folds are those of `SPLITS`
    unused: tuple[Path, ...] = ()  # files in it that are known to be no clips


def split_name(fold: int) -> str:
    """What a fold of `SPLITS` is called."""
    return next(name for name, number in SPLITS.items() if number == fold)
