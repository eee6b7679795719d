"""Recordings of one's own: a folder for each class, or a CSV file with paths, labels and folds."""

import logging
import posixpath
from collections.abc import Iterator
from pathlib import Path

from loglearn_tf._util.text import printable, shown
from loglearn_tf.datasets.clips import (
    LAST_FOLD,
    N_FOLDS,
    SUFFIXES,
    VALIDATION_FOLD,
    Clip,
    DataSet,
    check_clips,
    is_synthetic,
    read_rows,
    train_folds,
)
from loglearn_tf.datasets.recordings import deal, recording_of, torn
from loglearn_tf.datasets.registry import Corpus
from loglearn_tf.errors import DataError, MissingDataError

_COLUMNS = ("path", "label", "fold")
_log = logging.getLogger(__name__)


def load_folder(
    root: str | Path,
    *,
    n_folds: int = N_FOLDS,
    validation_fold: str = VALIDATION_FOLD,
    allow_missing: bool = False,
    allow_stray: bool = False,
) -> DataSet:
    """Reads recordings of one's own.

    Args:
        root: Either a folder that holds a folder for each class, named as it, with its sound files at any depth: their
            folds are dealt, class by class, in an order that follows from the file names alone, the same on every
            machine. A new file deals them anew: that is another data set, and another study. Or a CSV file with the
            columns path (beginning at its own folder), label and fold (1 to 999,999,999), and perhaps group: what
            clips of one recording, place or day have in common, since they must not lie in two folds. With a group,
            fold may be left out: folds are dealt, and no group is torn apart. Nor are, in class-named folders, the
            recordings that names tell in the form of UrbanSound8K (100032-3-0-0.wav) or ESC (1-17367-A.wav).
        n_folds: Folds that are dealt.
        validation_fold: `"next"` leaves the fold after the test fold (the first for the last) out of training, `"none"`
            trains on all others; with two folds, only `"none"` leaves any.
        allow_missing: Leave out clips that a CSV file lists and the disk lacks instead of raising.
        allow_stray: Leave out files in a class's folder that are no sound files instead of raising.

    Returns:
        A data set whose classes are in alphabetical order.

    Raises:
        MissingDataError: If there is no such folder or file, or a clip is missing.
        DataError: If there are fewer than two classes, or two folds, or a fold is left with none to train on; if a
            class's folder holds a file that is no sound file; if a line of a CSV file is not as above, or a group in it
            lies in two folds.
    """
    train_folds((), validation_fold)  # a wrong one is said before anything is read
    root = Path(root)
    if root.is_file():
        found, base = _read_csv(root, n_folds), root.parent
    elif root.is_dir():
        found, base = list(_read_folders(root, n_folds, allow_stray)), root
    else:
        raise MissingDataError(
            f"{root} is not there. `data.root` must be a folder that holds a folder for each class, or a CSV file with "
            f"the columns {', '.join(_COLUMNS)}."
        )
    classes = tuple(sorted({label for _, label, _, _ in found}))
    if len(classes) < 2:
        raise DataError(
            f"{root} must hold at least two classes. Received: {', '.join(map(printable, classes)) or 'none'}. "
            + ("Make a folder for each." if root.is_dir() else "Its column `label` names them.")
        )
    folds = sorted({fold for _, _, fold, _ in found})
    roles = train_folds(folds, validation_fold)
    n_clips = len({name for name, _, _, _ in found})
    n_recordings = len({group or name for name, _, _, group in found})
    if len(folds) < 2 and n_recordings < n_clips:
        raise DataError(
            f"{root} must hold clips of at least two recordings, in two folds. Received: {n_clips:,} clips of "
            f"{n_recordings:,} in {len(folds)}. Add others: what was cut from one recording cannot train and test."
        )
    for test_fold, others in roles.items():
        if not others:
            raise DataError(
                f"{root} has {len(folds)} folds, so that none is left to train on when fold {test_fold} is the test "
                "fold. Give more folds, or set `data.validation_fold=none`."
            )
    dataset = DataSet(
        name="folder",
        root=base,
        classes=classes,
        clips=tuple(
            Clip(clip_id=name, path=base / name, label=classes.index(label), fold=fold, group=group)
            for name, label, fold, group in found
        ),
        train_folds=roles,
        synthetic=is_synthetic(base),
    )
    return check_clips(dataset, metadata=root, allow_missing=allow_missing)


def _read_folders(root: Path, n_folds: int, allow_stray: bool) -> Iterator[tuple[str, str, int, str]]:
    labels: dict[str, str] = {}
    stray = sorted(path.name for path in root.iterdir() if path.is_file() and path.name.lower().endswith(SUFFIXES))
    if stray and not allow_stray:
        raise DataError(
            f"{root / stray[0]} must lie in the folder of its class, as all sound files. Move it, or list the "
            "recordings in a CSV file."
        )
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        names = [
            path.relative_to(root).as_posix()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        ]
        if allow_stray:
            names = [name for name in names if name.lower().endswith(SUFFIXES)]
        for name in names:
            if any("\udc80" <= letter <= "\udcff" for letter in name):  # bytes that Python could not decode
                raise DataError(
                    f"{ascii(str(root / name))[1:-1]} is no name in UTF-8. Rename it; ids of clips are text on every "
                    "machine."
                )
            if not name.lower().endswith(SUFFIXES):
                raise DataError(
                    f"{root / name} must be a sound file ({', '.join(SUFFIXES)}), as everything in a class's folder. "
                    "Move it elsewhere, or list the recordings in a CSV file."
                )
        if not names:
            raise DataError(f"{folder} holds no sound files. Remove it, or put the class's recordings there.")
        labels |= dict.fromkeys(names, folder.name)
    groups = {name: recording_of(name) for name in labels}
    folds = deal(labels, groups, n_folds)
    yield from ((name, label, folds[name], groups[name]) for name, label in labels.items())


def _read_csv(path: Path, n_folds: int) -> list[tuple[str, str, int, str]]:
    """Path, label, fold and group of every line; folds are dealt where the file has none."""
    found = list(_read_lines_of(path))
    groups = {name: group or recording_of(name) for name, _, _, group in found}
    given = {name: fold for name, _, fold, _ in found if fold is not None}
    apart = torn(given, groups)
    if apart:
        recording, its_folds = next(iter(apart.items()))
        where = f"{path}: recording {printable(recording)} lies in folds {', '.join(map(str, its_folds))}"
        if found[0][3]:
            raise DataError(
                f"{where}; clips of one `group` must lie in one fold, as those that train and test alike would. Give "
                "them one, or leave the column `fold` out: folds are then made that keep groups whole."
            )
        _log.warning("%s, by the names of its files: what was cut from one recording may train and test.", where)
    dealt = {} if given else deal({name: label for name, label, _, _ in found}, groups, n_folds)
    return [(name, label, fold or dealt[name], groups[name]) for name, label, fold, _ in found]


def _read_lines_of(path: Path) -> Iterator[tuple[str, str, int | None, str]]:
    lacking = f"Its first line must name {', '.join(_COLUMNS)}."
    optional = ("fold", "group")
    for where, row in read_rows(path, _COLUMNS[:2], optional=optional, lacking=lacking, remedy="Save it as such."):
        if not row.keys() & {*optional}:
            raise DataError(f"{path} lacks the column `fold`; its columns are {shown(list(row))}. {lacking}")
        name, label = row["path"], row["label"]
        group = (row.get("group") or "").strip()
        # "./a.wav" is "a.wav": one recording must not become two clips.
        name = posixpath.normpath(name) if name else name
        if not name or not label:
            raise DataError(f"{where}: `path` and `label` must not be empty. Received: {shown(name)}, {shown(label)}.")
        if "group" in row and not group:
            raise DataError(
                f"{where}: `group` must not be empty where others have one. Received: {shown(row['group'])}. Name the "
                "recording; a clip that is the only one of its recording may have its own path there."
            )
        fold = row.get("fold", "1")
        # Its length first: Python refuses to read numbers of thousands of digits.
        if not (fold or "").isdecimal() or len(fold) > len(str(LAST_FOLD)) or int(fold) < 1:
            raise DataError(f"{where}: `fold` must be an integer from 1 to {LAST_FOLD:,}. Received: {shown(fold)}.")
        if posixpath.isabs(name):
            raise DataError(
                f"{where}: `path` must begin at the CSV file's folder, so that it means the same on every "
                f"machine. Received: {shown(name)}. Put the file above the recordings."
            )
        yield name, label, int(fold) if "fold" in row else None, group


def _clip_folders(dataset: DataSet, root: Path) -> list[Path] | None:
    """The classes' folders; a CSV file may list a few recordings of many, among other files."""
    if root.is_file():
        return None
    return sorted({dataset.root / Path(clip.clip_id).parts[0] for clip in dataset.clips})


FOLDER = Corpus(
    name="folder", title="Own recordings", short="Own recordings", load=load_folder, clip_folders=_clip_folders
)
