"""UrbanSound8K (US8K) in its official layout: ten predefined folds, never reshuffled."""

from pathlib import Path

from loglearn_tf._util.text import shown
from loglearn_tf.datasets.clips import VALIDATION_FOLD, Clip, DataSet, check_clips, is_synthetic, read_rows, train_folds
from loglearn_tf.datasets.recordings import recording_of
from loglearn_tf.datasets.registry import Corpus
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
_METADATA = Path("metadata", "UrbanSound8K.csv")
_COLUMNS = ("slice_file_name", "fold", "classID", "class")


def load_us8k(root: str | Path, *, validation_fold: str = VALIDATION_FOLD, allow_missing: bool = False) -> DataSet:
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
    # As in the reference's index files: fold 10 validates on fold 1.
    roles = train_folds(FOLDS, validation_fold)
    root = Path(root)
    if (root / "UrbanSound8K" / "metadata").is_dir():
        root = root / "UrbanSound8K"
    metadata = root / _METADATA
    if not metadata.is_file():
        raise MissingDataError(
            f"US8K metadata not found: {metadata}. Put UrbanSound8K there, or name its folder: "
            "`data.root=/path/UrbanSound8K` (`make us8k DATA=/path/UrbanSound8K`). `loglearn data get us8k` gets it "
            "(data/README.md)."
        )
    dataset = DataSet(
        name="us8k",
        root=root,
        classes=CLASSES,
        clips=tuple(_read_metadata(metadata, root / "audio")),
        train_folds=roles,
        synthetic=is_synthetic(root),
        official=True,
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
    return Clip(
        clip_id=name,
        path=audio / f"fold{row['fold']}" / name,
        label=label,
        fold=int(row["fold"]),
        group=row.get("fsID") or recording_of(name),
    )


def _is_at(root: Path) -> bool:
    return any((base / _METADATA).is_file() for base in (root, root / "UrbanSound8K"))


def _listed_seconds(dataset: DataSet) -> dict[str, float]:
    found = {}
    for _, row in read_rows(dataset.root / _METADATA, (), lacking="", remedy="Restore the official file."):
        try:
            found[row["slice_file_name"]] = float(row["end"]) - float(row["start"])
        except (KeyError, TypeError, ValueError):
            pass  # columns that nothing else needs
    return found


US8K = Corpus(
    name="us8k",
    title="UrbanSound8K",
    short="US8K",
    load=load_us8k,
    classes=CLASSES,
    test_folds=FOLDS,
    tables=(1, 2),
    is_at=_is_at,
    listed_seconds=_listed_seconds,
    clip_folders=lambda dataset, root: [dataset.root / "audio"],
    synthetic="loglearn_tf.datasets.synthetic:make_us8k",
    download="loglearn_tf.datasets.download.official:PARTS",
    download_root="data",
    licence="CC BY-NC 3.0 in its README, 4.0 elsewhere",
    citation="Salamon, Jacoby and Bello, ACM Multimedia, 2014; doi 10.5281/zenodo.1203745",
)
