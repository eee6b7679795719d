"""UrbanSound8K (US8K) in its official layout: ten predefined folds, never reshuffled."""

import filecmp
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from loglearn_tf._util.text import file_name, first_few, shown
from loglearn_tf.datasets.clips import VALIDATION_FOLD, Clip, DataSet, check_clips, is_synthetic, read_rows, train_folds
from loglearn_tf.datasets.layouts import US8K_LIST, find_files, fold_of, scenes_of
from loglearn_tf.datasets.recordings import recording_of
from loglearn_tf.datasets.registry import Corpus
from loglearn_tf.datasets.search import check_listed, search
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
_METADATA = Path("metadata", US8K_LIST)
_COLUMNS = ("slice_file_name", "fold", "classID", "class")


def load_us8k(root: str | Path, *, validation_fold: str = VALIDATION_FOLD, allow_missing: bool = False) -> DataSet:
    """Reads US8K from `audio/fold1..fold10/*.wav` and `metadata/UrbanSound8K.csv`.

    Mirrors use other layouts: the list next to the folds or to `audio/`; everything one folder deeper; all clips in one
    folder. They give the same data set, as long as there is one list and each clip exists once.

    Args:
        root: The folder `UrbanSound8K`, or its parent.
        validation_fold: `"next"` leaves fold k + 1 out of training when fold k is the test fold,
            as the reference does; `"none"` trains on the other nine.
        allow_missing: Skip missing clips instead of raising.

    Raises:
        MissingDataError: If the root, the metadata or clips are missing.
        DataError: If the metadata lacks a column or has an unknown class or fold.

    Reference:
        Salamon, Jacoby and Bello, 2014; doi 10.5281/zenodo.1203745. Roles of the folds: reference
        code, its index files; docs/fidelity.md, "Protocol".
    """
    # As in the reference's index files: fold 10 validates on fold 1.
    roles = train_folds(FOLDS, validation_fold)
    layout = _find(Path(root))
    dataset = DataSet(
        name="us8k",
        root=layout.root,
        classes=CLASSES,
        clips=tuple(_read_metadata(layout)),
        train_folds=roles,
        synthetic=is_synthetic(layout.root),
        official=True,
    )
    return check_clips(dataset, metadata=layout.metadata, allow_missing=allow_missing)


class _Layout(NamedTuple):
    root: Path
    metadata: Path
    is_official: bool


def _find(root: Path) -> _Layout:
    """Finds the official layout or that of a mirror: the list, and the clips in folders of folds or in one folder."""
    if (root / "UrbanSound8K" / "metadata").is_dir():
        root = root / "UrbanSound8K"
    metadata = root / _METADATA
    if metadata.is_file() and any((root / "audio" / f"fold{fold}").is_dir() for fold in FOLDS):
        return _Layout(root, metadata, True)
    lists = find_files(root, US8K_LIST)
    if not lists:
        raise MissingDataError(
            f"US8K metadata not found: {metadata}. Put UrbanSound8K there, or name its folder: "
            "`data.root=/path/UrbanSound8K` (`make us8k DATA=/path/UrbanSound8K`). `loglearn data get us8k` downloads "
            f"it (data/README.md). {scenes_of(root)}".rstrip()
        )
    if not all(filecmp.cmp(lists[0], path, shallow=False) for path in lists[1:]):
        raise DataError(
            f"{root} contains several different lists of UrbanSound8K: {', '.join(map(file_name, lists))}. Name the "
            "folder of one: `data.root=`."
        )
    return _Layout(root, lists[0], False)


def _read_metadata(layout: _Layout) -> list[Clip]:
    restore = "Restore the official file."
    rows = read_rows(layout.metadata, _COLUMNS, lacking=restore, remedy=restore)
    clips = [_read_row(row, where, layout.root / "audio") for where, row in rows]
    if layout.is_official:
        return clips
    # Clip names are unique, so that clips can be searched, but never in the folder of another fold.
    by_name = defaultdict(list)
    entries = search([layout.root])
    check_listed(entries)
    for entry in entries:
        if entry.kind == "sound":
            by_name[entry.path.name].append(entry.path)
    return [_where_it_lies(clip, by_name[clip.clip_id]) for clip in clips]


def _where_it_lies(clip: Clip, paths: list[Path]) -> Clip:
    folds = {path: fold_of(path.parent.name) for path in paths}
    fitting = [path for path in paths if folds[path] == clip.fold] or [path for path in paths if folds[path] is None]
    if len(fitting) > 1:
        raise DataError(
            f"Clip {clip.clip_id} exists {len(fitting)} times: {', '.join(first_few(fitting, show=file_name))}. "
            "Remove all but one, or name a folder that contains one: `data.root=`."
        )
    return replace(clip, path=fitting[0]) if fitting else clip


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
    return any((base / _METADATA).is_file() for base in (root, root / "UrbanSound8K")) or bool(
        find_files(root, US8K_LIST)
    )


def _listed_seconds(dataset: DataSet) -> dict[str, float]:
    found = {}
    for _, row in read_rows(_find(dataset.root).metadata, (), lacking="", remedy="Restore the official file."):
        try:
            found[row["slice_file_name"]] = float(row["end"]) - float(row["start"])
        except (KeyError, TypeError, ValueError):
            pass  # columns used for nothing else
    return found


def _clip_folders(dataset: DataSet, root: Path) -> list[Path] | None:
    if _find(dataset.root).is_official:
        return [dataset.root / "audio"]
    folders = sorted({clip.path.parent for clip in dataset.clips})
    # If all clips are in one folder, other files may be there, too.
    return folders if all(fold_of(folder.name) is not None for folder in folders) else None


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
    clips_of_fold=dict(zip(FOLDS, (873, 888, 925, 990, 936, 823, 838, 806, 816, 837), strict=True)),
    clip_seconds=(4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 1.4),  # one in seven is shorter than a patch
    clip_folders=_clip_folders,
    synthetic="loglearn_tf.datasets.synthetic:make_us8k",
    download="loglearn_tf.datasets.download.official:PARTS",
    download_root="data",
    licence="CC BY-NC 3.0 in its README, 4.0 elsewhere",
    citation="Salamon, Jacoby and Bello, ACM Multimedia, 2014; doi 10.5281/zenodo.1203745",
)
