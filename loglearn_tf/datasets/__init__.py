"""Data sets: official layouts, or folders of one's own, on disk in, lists of labelled clips out."""

from pathlib import Path

from loglearn_tf.datasets import folder, tut, us8k
from loglearn_tf.datasets.clips import Clip, DataSet

__all__ = ["CLASSES", "Clip", "DataSet", "load_dataset"]

# Of the published data sets.
CLASSES = {"us8k": us8k.CLASSES, "tut": tut.CLASSES}


def load_dataset(
    name: str, root: str | Path, *, validation_fold: str = "next", n_folds: int = 5, allow_missing: bool = False
) -> DataSet:
    """Reads a data set's metadata and checks that its clips are on disk.

    Args:
        name: `"us8k"`, `"tut"` or `"folder"`.
        root: Folder of the data set, in its official layout; for `"folder"` see `folder.load_folder`.
        validation_fold: Not for TUT; see `us8k.load_us8k`.
        n_folds: See `folder.load_folder`.
        allow_missing: Leave out clips that the disk lacks instead of raising.

    Raises:
        MissingDataError: If the root, the metadata or clips are missing.
        DataError: If the metadata does not follow the official layout.
    """
    if name == "us8k":
        return us8k.load_us8k(root, validation_fold=validation_fold, allow_missing=allow_missing)
    if name == "tut":
        return tut.load_tut(root, allow_missing=allow_missing)
    if name == "folder":
        return folder.load_folder(root, n_folds=n_folds, validation_fold=validation_fold, allow_missing=allow_missing)
    raise ValueError(f"`name` must be one of {sorted([*CLASSES, 'folder'])}. Received: name={name!r}.")
