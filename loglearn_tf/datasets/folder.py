"""Your own recordings: one folder per class, or a CSV file with paths, labels and folds."""

import logging
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from loglearn_tf._util.text import file_name, first_few, printable
from loglearn_tf.datasets.clips import (
    N_FOLDS,
    TEST,
    TRAIN,
    VALIDATION_FOLD,
    Clip,
    DataSet,
    check_clips,
    is_synthetic,
    train_folds,
)
from loglearn_tf.datasets.csv_list import COLUMNS, read_csv_list
from loglearn_tf.datasets.esc import folds_by_name, read_esc50
from loglearn_tf.datasets.layouts import refuse, scene_folders
from loglearn_tf.datasets.listing import Found, Listing, split_name
from loglearn_tf.datasets.recordings import deal, recording_of
from loglearn_tf.datasets.registry import Corpus
from loglearn_tf.datasets.scenes import read_scenes
from loglearn_tf.datasets.search import SOME_SUFFIXES, Entry, check_listed, is_hidden, passed_over, search
from loglearn_tf.datasets.split_lists import BACKGROUND_NOISE, SplitLists, read_split_lists, speaker_of
from loglearn_tf.errors import DataError, MissingDataError

_log = logging.getLogger("loglearn_tf")


def load_folder(
    root: str | Path,
    *,
    n_folds: int = N_FOLDS,
    validation_fold: str = VALIDATION_FOLD,
    allow_missing: bool = False,
    allow_stray: bool = False,
) -> DataSet:
    """Reads your own recordings.

    Args:
        root: One of:

            - A folder with one folder per class, whose sound files may be at any depth. Folds are assigned class by
              class in an order that depends only on the file names, the same on every machine. A new file changes the
              folds: this is another data set, and needs another study. Recordings with names in the form of
              UrbanSound8K (100032-3-0-0.wav) or ESC (1-17367-A.wav) are kept whole.
            - The same with lists of paths next to the folders: `testing_list.txt` and `validation_list.txt` as in
              Speech Commands (all others train; `_background_noise_` is not a class, speakers are groups), or
              `train.txt`, `test.txt` and optionally `val.txt`.
            - ESC-50 or ESC-10 as published, with their five official folds.
            - Acoustic scenes of TUT or TAU as published: `scenes.read_scenes`. (2017: `tut.load_tut`.)
            - A CSV file with the columns `path`, relative to its own folder, `label`, and `fold`, 1 to 999,999,999, or
              `split` instead: train, validation or test. Optionally `group`: whatever identifies clips of one
              recording, place or day, which must not be in two folds. Optionally `start` and `end`, in seconds, for
              clips that are segments of a file (both empty: the whole file); without `group`, each file is a group.
              With groups or segments, `fold` may be omitted: folds are then assigned that keep groups whole. Other
              columns are ignored.

            With one split, test clips are fold 1.
        n_folds: Number of folds to assign.
        validation_fold: `"next"` leaves the fold after the test fold (the first for the last) out of training, `"none"`
            trains on all others; with two folds, only `"none"` is possible. Validation clips of a split never train.
        allow_missing: Skip clips that are listed but not on disk instead of raising.
        allow_stray: Skip files in a class folder that are not sound files instead of raising.

    Returns:
        A data set whose classes are in alphabetical order. Hidden files and folders are skipped, and so are links to
        folders that are already read; this is logged. Other links are followed; a broken one is a missing clip.

    Raises:
        MissingDataError: If there is no such folder or file, or a clip is missing, or a folder cannot be listed.
        DataError: If there are fewer than two classes or two folds, or a fold is left without training folds; if a
            class folder contains a file that is not a sound file; if a row of a CSV file is invalid, a clip has several
            labels, a segment is not inside its file, or a group is in two folds; if the folders are clearly not
            classes: those of UrbanSound8K, folds, or training and test parts.
    """
    train_folds((), validation_fold)  # reports an invalid value before anything is read
    root = Path(root)
    listing = _read(root, n_folds, allow_stray)
    found = listing.found
    classes = tuple(sorted({one.label for one in found}))
    if len(classes) < 2:
        raise DataError(
            f"{root} must contain at least two classes. Received: {', '.join(map(printable, classes)) or 'none'}. "
            + ("Make a folder for each." if root.is_dir() else "Its column `label` names them.")
        )
    forms = defaultdict(list)
    for label in classes:
        forms[unicodedata.normalize("NFC", label)].append(label)
    if two := next((labels for labels in forms.values() if len(labels) > 1), None):
        raise DataError(
            f"{root} must not contain classes that differ only in Unicode normalisation. Received: "
            f"{' and '.join(map(ascii, two))}. Give them one name."
        )
    roles: dict[int, tuple[int, ...]] = {TEST: (TRAIN,)}
    if not listing.is_split:
        roles = _roles(root, found, validation_fold)
    elif lacking := sorted({TRAIN, TEST} - {one.fold for one in found}):
        raise DataError(
            f"{root} must contain training and test clips. Received: none to "
            f"{' and none to '.join(map(split_name, lacking))}. Add some to its lists."
        )
    dataset = DataSet(
        name="folder",
        root=listing.base,
        classes=classes,
        clips=tuple(
            Clip(one.name, one.path, classes.index(one.label), one.fold, group=one.group, segment=one.segment)
            for one in found
        ),
        train_folds=roles,
        synthetic=is_synthetic(listing.base),
        unused=listing.unused,
    )
    checked = check_clips(dataset, metadata=listing.metadata, allow_missing=allow_missing)
    _check_ends(checked, listing)
    if listing.unused:
        _log.info("%s files in %s are in no class or list and are not used.", f"{len(listing.unused):,}", listing.base)
    return checked


def _read(root: Path, n_folds: int, allow_stray: bool) -> Listing:
    if root.is_file():
        return read_csv_list(root, n_folds)
    if not root.is_dir():
        raise MissingDataError(
            f"{root} does not exist. `data.root` must be a folder with one folder per class, or a CSV file with "
            f"the columns {', '.join(COLUMNS)}."
        )
    if (esc50 := read_esc50(root)) is not None:
        found = [Found(name, esc50.audio / name, label, fold, recording_of(name)) for name, label, fold in esc50.rows]
        return Listing(root, esc50.metadata, found)
    if (scenes := read_scenes(root)) is not None:
        return scenes
    refuse(root)
    return _read_folders(root, n_folds, allow_stray)


def _roles(root: Path, found: Sequence[Found], validation_fold: str) -> dict[int, tuple[int, ...]]:
    folds = sorted({one.fold for one in found})
    roles = train_folds(folds, validation_fold)
    n_clips = len({one.name for one in found})
    n_recordings = len({one.group or one.name for one in found})
    if len(folds) < 2 and n_recordings < n_clips:
        raise DataError(
            f"{root} must contain clips of at least two recordings in two folds. Received: {n_clips:,} clips of "
            f"{n_recordings:,} in {len(folds)}. Add others: one recording cannot be both in training and test."
        )
    if len(folds) == 1:
        raise DataError(
            f"{root} must contain clips in at least two folds. Received: all in fold {folds[0]}, so none are left to "
            "train on. Add folds, or, if folds are assigned, more recordings of each class."
        )
    for test_fold, others in roles.items():
        if not others:
            raise DataError(
                f"{root} has {len(folds)} folds, so none is left for training when fold {test_fold} is the test "
                "fold. Add folds or set `data.validation_fold=none`."
            )
    return roles


def _check_ends(dataset: DataSet, listing: Listing) -> None:
    """Raises for a segment that ends after its file. Files without a length in their headers, and damaged files, are
    checked when they are decoded."""
    files = list(dict.fromkeys(clip.path for clip in dataset.clips if clip.segment is not None))
    if not files:
        return
    from loglearn_tf.audio.segments import TOLERANCE_S, seconds_of  # imports soundfile

    with ThreadPoolExecutor(16) as pool:
        seconds = dict(zip(files, pool.map(seconds_of, files), strict=True))
    wheres = {one.name: one.where for one in listing.found}
    beyond = [
        f"{wheres[clip.clip_id]}: {file_name(clip.path)} is {lasts:g} s long. Received: start={clip.segment[0]:g}, "
        f"end={clip.segment[1]:g}."
        for clip in dataset.clips
        if clip.segment is not None
        and (lasts := seconds[clip.path]) is not None
        and clip.segment[1] > lasts + TOLERANCE_S
    ]
    if beyond:
        more = f" This applies to {len(beyond):,} rows." if len(beyond) > 1 else ""
        raise DataError(
            f"{beyond[0]} Segments must end within their files.{more} Correct the times (seconds from the "
            "start of the file), or rename the columns `start` and `end` if they mean something else."
        )


def _read_folders(root: Path, n_folds: int, allow_stray: bool) -> Listing:
    lists = read_split_lists(root)
    entries = search([root])
    check_listed(entries)
    unused: list[Path] = []
    if lists is not None:
        noise = root / BACKGROUND_NOISE
        unused = [entry.path for entry in entries if entry.path.is_relative_to(noise) and entry.kind != "hidden"]
        entries = [entry for entry in entries if not entry.path.is_relative_to(noise)]
    if not allow_stray:
        _check_entries(root, entries)
        for line in passed_over(
            [entry for entry in entries if entry.path.parent != root or entry.kind != "other"], root
        ):
            _log.info(line)
    no_classes = {entry.path for entry in entries if entry.kind == "linked again"}
    if lists is not None:
        no_classes.add(root / BACKGROUND_NOISE)
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
                    f"{ascii(str(entry.path))[1:-1]} is not a valid UTF-8 name. Rename it: clip ids must be text on "
                    "every machine."
                )
            names[name.partition("/")[0]].append(name)
    for label, its_names in names.items():
        if not its_names:
            raise DataError(
                f"{file_name(root / label)} contains no sound files. Remove it or add recordings of the class."
            )
    if lists is not None:
        return _as_listed(root, names, lists, unused)
    every_name = [name for its_names in names.values() for name in its_names]
    groups = {name: recording_of(name) for name in every_name}
    published = folds_by_name(root, every_name)
    if published is not None:
        _log.info("Folds of %s are taken from the start of its file names, as in ESC-50 and ESC-10.", root)
        dealt = dict(zip(every_name, published, strict=True))
    else:
        dealt = deal({name: label for label, its_names in names.items() for name in its_names}, groups, n_folds)
    found = [
        Found(name, root / name, label, dealt[name], groups[name])
        for label, its_names in names.items()
        for name in its_names
    ]
    return Listing(root, root, found)


def _as_listed(root: Path, names: Mapping[str, Sequence[str]], lists: SplitLists, unused: Sequence[Path]) -> Listing:
    """The recordings in class folders, and those that are listed but missing, each in its split."""
    absent = {name for name in lists.fold_of if name.partition("/")[0] not in names}
    if absent:
        classes = sorted({name.partition("/")[0] for name in absent})
        _log.warning(
            "%s recordings listed in %s are skipped, since their classes have no folder in %s: %s.",
            f"{len(absent):,}",
            " or ".join(path.name for path in lists.paths),
            printable(str(root)),
            ", ".join(first_few(classes, show=printable)),
        )
    found, rest = [], list(unused)
    there = {name for its_names in names.values() for name in its_names}
    for name in sorted(there | (lists.fold_of.keys() - absent)):
        fold = lists.fold_of.get(name, lists.rest)
        if fold is None:
            rest.append(root / name)
        else:
            group = speaker_of(name) or recording_of(name)
            found.append(Found(name, root / name, name.partition("/")[0], fold, group))
    return Listing(root, root, found, is_split=True, unused=tuple(rest))


def _check_entries(root: Path, entries: Sequence[Entry]) -> None:
    """Raises for files in class folders, and sounds next to them, that cannot be clips."""
    elsewhere = "or list the recordings in a CSV file."
    faults = []
    for entry in entries:
        path, name = entry.path, file_name(entry.path)
        if path.parent == root and entry.kind in ("sound", "odd name"):
            faults.append(f"{name} must be in the folder of its class. Move it, {elsewhere}")
        elif entry.kind == "broken link":
            faults.append(entry.remark)
        elif path.parent == root and entry.kind == "linked again":
            faults.append(f"{name} is {entry.remark}; each class needs its own folder. Remove the link.")
        elif entry.kind == "odd name":
            faults.append(f"{name} {entry.remark} ({SOME_SUFFIXES}). Rename it or move it away.")
        elif entry.kind == "other" and path.parent != root:
            faults.append(
                f"{name} must be a sound file ({SOME_SUFFIXES}), like everything in a class folder. Move it away, "
                f"{elsewhere}"
            )
    if faults:
        more = f" `loglearn data check` lists all {len(faults):,} such files." if len(faults) > 1 else ""
        raise DataError(faults[0] + more)


def _check_root(root: Path) -> None:
    if root.is_dir() and read_esc50(root) is None and read_scenes(root) is None:
        refuse(root)


def _clip_folders(dataset: DataSet, root: Path) -> list[Path] | None:
    """The common folder of all classes, or of all clips of ESC-50 or of scenes; a CSV file may list only some of the
    recordings there."""
    if root.is_file():
        return None
    esc50 = read_esc50(root)
    if esc50:
        return [esc50.audio]
    return [dataset.root / "audio"] if scene_folders(root) else [dataset.root]


FOLDER = Corpus(
    name="folder",
    title="Own recordings",
    short="Own recordings",
    load=load_folder,
    check_root=_check_root,
    clip_folders=_clip_folders,
)
