"""UrbanSound8K (US8K) in its official layout: ten predefined folds, never reshuffled."""

from pathlib import Path

from loglearn_tf._util.text import shown
from loglearn_tf.datasets.clips import Clip, DataSet, check_clips, is_synthetic, read_rows
from loglearn_tf.errors import DataError, MissingDataError

CLASSES = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)
FOLDS = tuple(range(1, 11))
_COLUMNS = ("slice_file_name", "fold", "classID", "class")


def load_us8k(root: str | Path, *, validation_fold: str = "next", allow_missing: bool = False) -> DataSet:
    """Reads US8K from `audio/fold1..fold10/*.wav` and `metadata/UrbanSound8K.csv`.

    Args:
        root: The folder `UrbanSound8K`, or the one that holds it.
        validation_fold: `"next"` leaves fold k + 1 out of training when fold k is the test fold,
            as the reference does; `"none"` trains on the other nine.
        allow_missing: Leave out clips that the disk lacks instead of raising.

    Raises:
        MissingDataError: If the root, the metadata or clips are missing.
        DataError: If the metadata lacks a column or holds an unknown class or fold.

    Reference:
        Salamon, Jacoby and Bello, 2014; doi 10.5281/zenodo.1203745. Roles of the folds: reference
        code, its index files; docs/fidelity.md, "Protocol".
    """
    if validation_fold not in ("next", "none"):
        raise ValueError(f"`validation_fold` must be 'next' or 'none'. Received: validation_fold={validation_fold!r}.")
    root = Path(root)
    if (root / "UrbanSound8K" / "metadata").is_dir():
        root = root / "UrbanSound8K"
    metadata = root / "metadata" / "UrbanSound8K.csv"
    if not metadata.is_file():
        raise MissingDataError(
            f"US8K metadata not found: {metadata}. Put UrbanSound8K there, or name its folder: "
            "`data.root=/path/UrbanSound8K` (`make us8k DATA=/path/UrbanSound8K`). `loglearn data get us8k` gets it "
            "(data/README.md)."
        )
    train_folds = {}
    for test_fold in FOLDS:
        # Wraps around, as in the reference's index files: fold 10 validates on fold 1.
        left_out = {test_fold} if validation_fold == "none" else {test_fold, test_fold % 10 + 1}
        train_folds[test_fold] = tuple(fold for fold in FOLDS if fold not in left_out)
    dataset = DataSet(
        name="us8k",
        root=root,
        classes=CLASSES,
        clips=tuple(_read_metadata(metadata, root / "audio")),
        train_folds=train_folds,
        synthetic=is_synthetic(root),
    )
    return check_clips(dataset, metadata=metadata, allow_missing=allow_missing)


def _read_metadata(metadata: Path, audio: Path) -> list[Clip]:
    restore = "Restore the official file."
    rows = read_rows(metadata, _COLUMNS, lacking=restore, remedy=restore)
    return [_read_row(row, where, audio) for where, row in rows]


def _read_row(row: dict[str, str], where: str, audio: Path) -> Clip:
    name = row["slice_file_name"]
    if not name or Path(name).name != name:
        raise DataError(f"{where}: `slice_file_name` must be a file name. Received: {shown(name)}.")
    if row["class"] not in CLASSES:
        raise DataError(f"{where}: unknown class {shown(row['class'])}. US8K's classes are {', '.join(CLASSES)}.")
    label = CLASSES.index(row["class"])
    if row["classID"] != str(label):
        raise DataError(f"{where}: `classID` of {row['class']} must be {label}. Received: {shown(row['classID'])}.")
    if row["fold"] not in map(str, FOLDS):
        raise DataError(f"{where}: `fold` must be an integer from 1 to 10. Received: {shown(row['fold'])}.")
    return Clip(clip_id=name, path=audio / f"fold{row['fold']}" / name, label=label, fold=int(row["fold"]))
