"""Data sets: official layouts on disk in, lists of labelled clips out."""

from pathlib import Path

from loglearn_tf.datasets import tut, us8k
from loglearn_tf.datasets.clips import Clip, DataSet

__all__ = ["CLASSES", "Clip", "DataSet", "load_dataset"]

CLASSES = {"us8k": us8k.CLASSES, "tut": tut.CLASSES}


def load_dataset(name: str, root: str | Path, *, validation_fold: str = "next", allow_missing: bool = False) -> DataSet:
    """Reads a data set's metadata and checks that its clips are on disk.

    Args:
        name: `"us8k"` or `"tut"`.
        root: Folder of the data set, in its official layout.
        validation_fold: US8K only; see `us8k.load_us8k`.
        allow_missing: Leave out clips that the disk lacks instead of raising.

    Raises:
        MissingDataError: If the root, the metadata or clips are missing.
        DataError: If the metadata does not follow the official layout.
    """
    if name == "us8k":
        return us8k.load_us8k(root, validation_fold=validation_fold, allow_missing=allow_missing)
    if name == "tut":
        return tut.load_tut(root, allow_missing=allow_missing)
    raise ValueError(f"`name` must be one of {sorted(CLASSES)}. Received: name={name!r}.")
