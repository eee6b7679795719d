"""Recordings of one's own: a folder for each class, or a CSV file with paths, labels and folds."""

import logging
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from loglearn_tf._util.text import file_name, printable, shown
from loglearn_tf.datasets.clips import (
    LAST_FOLD,
    N_FOLDS,
    VALIDATION_FOLD,
    Clip,
    DataSet,
    check_clips,
    is_synthetic,
    read_rows,
    train_folds,
)
from loglearn_tf.datasets.esc import folds_by_name, read_esc50
from loglearn_tf.datasets.layouts import refuse
from loglearn_tf.datasets.recordings import deal, recording_of, torn
from loglearn_tf.datasets.registry import Corpus
from loglearn_tf.datasets.search import SOME_SUFFIXES, Entry, check_listed, is_hidden, passed_over, search
from loglearn_tf.errors import DataError, MissingDataError

_COLUMNS = ("path", "label", "fold")
_log = logging.getLogger("loglearn_tf")


class _Found(NamedTuple):
    """A recording, before it is looked for."""

    name: str  # unique
    path: Path
    label: str
    fold: int
    group: str  # the recording it was cut from; empty where that is not known


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
            recordings that names tell in the form of UrbanSound8K (100032-3-0-0.wav) or ESC (1-17367-A.wav). Or ESC-50
            or ESC-10 as published, whose five folds are their authors'.
        n_folds: Folds that are dealt.
        validation_fold: `"next"` leaves the fold after the test fold (the first for the last) out of training, `"none"`
            trains on all others; with two folds, only `"none"` leaves any.
        allow_missing: Leave out clips that a CSV file lists and the disk lacks instead of raising.
        allow_stray: Leave out files in a class's folder that are no sound files instead of raising.

    Returns:
        A data set whose classes are in alphabetical order. Hidden files and folders are left out, as are links to
        folders that are read already; the log says so. Other links are followed, and one to nothing is a missing clip.

    Raises:
        MissingDataError: If there is no such folder or file, or a clip is missing, or a folder cannot be listed.
        DataError: If there are fewer than two classes, or two folds, or a fold is left with none to train on; if a
            class's folder holds a file that is no sound file; if a line of a CSV file is not as above, or a group in it
            lies in two folds; if the folders are plainly no classes: those of UrbanSound8K or acoustic scenes, folds,
            parts to train and test.
    """
    train_folds((), validation_fold)  # a wrong one is said before anything is read
    root = Path(root)
    base, metadata = (root.parent if root.is_file() else root), root
    if root.is_file():
        found = _read_csv(root, n_folds)
    elif root.is_dir():
        if (esc50 := read_esc50(root)) is not None:
            metadata = esc50.metadata
            found = [
                _Found(name, esc50.audio / name, label, fold, recording_of(name)) for name, label, fold in esc50.rows
            ]
        else:
            refuse(root)
            found = list(_read_folders(root, n_folds, allow_stray))
    else:
        raise MissingDataError(
            f"{root} is not there. `data.root` must be a folder that holds a folder for each class, or a CSV file with "
            f"the columns {', '.join(_COLUMNS)}."
        )
    classes = tuple(sorted({one.label for one in found}))
    if len(classes) < 2:
        raise DataError(
            f"{root} must hold at least two classes. Received: {', '.join(map(printable, classes)) or 'none'}. "
            + ("Make a folder for each." if root.is_dir() else "Its column `label` names them.")
        )
    forms = defaultdict(list)
    for label in classes:
        forms[unicodedata.normalize("NFC", label)].append(label)
    if two := next((labels for labels in forms.values() if len(labels) > 1), None):
        raise DataError(
            f"{root} must not hold classes that differ in the form of Unicode alone. Received: "
            f"{' and '.join(map(ascii, two))}. Give them one name."
        )
    folds = sorted({one.fold for one in found})
    roles = train_folds(folds, validation_fold)
    n_clips = len({one.name for one in found})
    n_recordings = len({one.group or one.name for one in found})
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
            Clip(clip_id=one.name, path=one.path, label=classes.index(one.label), fold=one.fold, group=one.group)
            for one in found
        ),
        train_folds=roles,
        synthetic=is_synthetic(base),
    )
    return check_clips(dataset, metadata=metadata, allow_missing=allow_missing)


def _read_folders(root: Path, n_folds: int, allow_stray: bool) -> Iterator[_Found]:
    entries = search([root])
    check_listed(entries)
    if not allow_stray:
        _check_entries(root, entries)
        for line in passed_over(
            [entry for entry in entries if entry.path.parent != root or entry.kind != "other"], root
        ):
            _log.info(line)
    no_classes = {entry.path for entry in entries if entry.kind == "linked again"}
    names: dict[str, list[str]] = {
        path.name: []
        for path in sorted(root.iterdir())
        if path.is_dir() and not is_hidden(path.name) and path not in no_classes
    }
    for entry in entries:
        if entry.kind == "sound" and entry.path.parent != root:
            name = entry.path.relative_to(root).as_posix()
            if any("\udc80" <= letter <= "\udcff" for letter in name):  # bytes that Python could not decode
                raise DataError(
                    f"{ascii(str(entry.path))[1:-1]} is no name in UTF-8. Rename it; ids of clips are text on every "
                    "machine."
                )
            names[name.partition("/")[0]].append(name)
    for label, its_names in names.items():
        if not its_names:
            raise DataError(
                f"{file_name(root / label)} holds no sound files. Remove it, or put the class's recordings there."
            )
    every_name = [name for its_names in names.values() for name in its_names]
    groups = {name: recording_of(name) for name in every_name}
    published = folds_by_name(root, every_name)
    if published is not None:
        _log.info("Folds of %s are those that begin its file names, as of ESC-50 and ESC-10.", root)
        dealt = dict(zip(every_name, published, strict=True))
    else:
        dealt = deal({name: label for label, its_names in names.items() for name in its_names}, groups, n_folds)
    for label, its_names in names.items():
        yield from (_Found(name, root / name, label, dealt[name], groups[name]) for name in its_names)


def _check_entries(root: Path, entries: Sequence[Entry]) -> None:
    """Raises for what lies in the folders of classes, or is a sound beside them, and can be no clip."""
    elsewhere = "or list the recordings in a CSV file."
    faults = []
    for entry in entries:
        path, name = entry.path, file_name(entry.path)
        if path.parent == root and entry.kind in ("sound", "odd name"):
            faults.append(f"{name} must lie in the folder of its class, as all sound files. Move it, {elsewhere}")
        elif entry.kind == "broken link":
            faults.append(entry.remark)
        elif path.parent == root and entry.kind == "linked again":
            faults.append(f"{name} is {entry.remark}; a class has a folder of its own. Remove the link.")
        elif entry.kind == "odd name":
            faults.append(f"{name} {entry.remark} ({SOME_SUFFIXES}). Rename it, or move it elsewhere.")
        elif entry.kind == "other" and path.parent != root:
            faults.append(
                f"{name} must be a sound file ({SOME_SUFFIXES}), as everything in a class's folder. Move it elsewhere, "
                f"{elsewhere}"
            )
    if faults:
        more = f" `loglearn data check` names all {len(faults):,} such files." if len(faults) > 1 else ""
        raise DataError(faults[0] + more)


def _read_csv(path: Path, n_folds: int) -> list[_Found]:
    """A recording for every line; folds are dealt where the file has none."""
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
    return [
        _Found(name, path.parent / name, label, fold or dealt[name], groups[name]) for name, label, fold, _ in found
    ]


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


def _check_root(root: Path) -> None:
    if root.is_dir() and read_esc50(root) is None:
        refuse(root)


def _clip_folders(dataset: DataSet, root: Path) -> list[Path] | None:
    """The folder of the classes' folders, or of ESC-50's clips; a CSV file may list a few recordings of many."""
    if root.is_file():
        return None
    esc50 = read_esc50(root)
    return [esc50.audio if esc50 else dataset.root]


FOLDER = Corpus(
    name="folder",
    title="Own recordings",
    short="Own recordings",
    load=load_folder,
    check_root=_check_root,
    clip_folders=_clip_folders,
)
