"""Recordings of one's own: a folder for each class, or a CSV file with paths, labels and folds."""

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
    """Reads recordings of one's own.

    Args:
        root: One of

            - A folder that holds a folder for each class, named as it, with its sound files at any depth. Folds are
              dealt, class by class, in an order that follows from the file names alone, the same on every machine. A
              new file deals them anew: that is another data set, and another study. Recordings that names tell in the
              form of UrbanSound8K (100032-3-0-0.wav) or ESC (1-17367-A.wav) are not torn apart.
            - The same with lists of paths beside the folders: as Speech Commands `testing_list.txt` and
              `validation_list.txt` (all else trains; `_background_noise_` is no class, speakers are groups), or
              `train.txt`, `test.txt` and perhaps `val.txt`.
            - ESC-50 or ESC-10 as published, whose five folds are their authors'.
            - Acoustic scenes of TUT or TAU as published: `scenes.read_scenes`. (2017: `tut.load_tut`.)
            - A CSV file with the columns `path`, beginning at its own folder, `label`, and `fold`, 1 to 999,999,999. Or
              in place of `fold` one `split`: train, validation or test. Perhaps `group`: what clips of one recording,
              place or day have in common, since they must not lie in two folds. Perhaps `start` and `end`, in seconds,
              for clips that are segments of a file (both empty: the whole); without `group`, a file is a group. With
              groups or segments, `fold` may be left out: folds are dealt, and no group is torn apart. Other columns are
              not read.

            With one split, test clips are fold 1.
        n_folds: Folds that are dealt.
        validation_fold: `"next"` leaves the fold after the test fold (the first for the last) out of training, `"none"`
            trains on all others; with two folds, only `"none"` leaves any. Of one split, validation clips never train.
        allow_missing: Leave out clips that a list names and the disk lacks instead of raising.
        allow_stray: Leave out files in a class's folder that are no sound files instead of raising.

    Returns:
        A data set whose classes are in alphabetical order. Hidden files and folders are left out, as are links to
        folders that are read already; the log says so. Other links are followed, and one to nothing is a missing clip.

    Raises:
        MissingDataError: If there is no such folder or file, or a clip is missing, or a folder cannot be listed.
        DataError: If there are fewer than two classes, or two folds, or a fold is left with none to train on; if a
            class's folder holds a file that is no sound file; if a row of a CSV file is not as above, a clip has
            several labels, a segment is not inside its file, or a group lies in two folds; if the folders are plainly
            no classes: those of UrbanSound8K, folds, parts to train and test.
    """
    train_folds((), validation_fold)  # a wrong one is said before anything is read
    root = Path(root)
    listing = _read(root, n_folds, allow_stray)
    found = listing.found
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
    roles: dict[int, tuple[int, ...]] = {TEST: (TRAIN,)}
    if not listing.is_split:
        roles = _roles(root, found, validation_fold)
    elif lacking := sorted({TRAIN, TEST} - {one.fold for one in found}):
        raise DataError(
            f"{root} must hold clips to train and clips to test. Received: none to "
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
        _log.info(
            "%s files in %s are of no class or in no list, and not used.", f"{len(listing.unused):,}", listing.base
        )
    return checked


def _read(root: Path, n_folds: int, allow_stray: bool) -> Listing:
    if root.is_file():
        return read_csv_list(root, n_folds)
    if not root.is_dir():
        raise MissingDataError(
            f"{root} is not there. `data.root` must be a folder that holds a folder for each class, or a CSV file with "
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
            f"{root} must hold clips of at least two recordings, in two folds. Received: {n_clips:,} clips of "
            f"{n_recordings:,} in {len(folds)}. Add others: what was cut from one recording cannot train and test."
        )
    if len(folds) == 1:
        raise DataError(
            f"{root} must hold clips in two folds at least. Received: all in fold {folds[0]}, so that none is left to "
            "train on. Give more folds; or, where folds are dealt, more recordings of each class."
        )
    for test_fold, others in roles.items():
        if not others:
            raise DataError(
                f"{root} has {len(folds)} folds, so that none is left to train on when fold {test_fold} is the test "
                "fold. Give more folds, or set `data.validation_fold=none`."
            )
    return roles


def _check_ends(dataset: DataSet, listing: Listing) -> None:
    """Raises for a segment that ends after its file does. Of files whose headers do not say, or that are damaged,
    decoding will."""
    files = list(dict.fromkeys(clip.path for clip in dataset.clips if clip.segment is not None))
    if not files:
        return
    from loglearn_tf.audio.segments import TOLERANCE_S, seconds_of  # soundfile comes with it

    with ThreadPoolExecutor(16) as pool:
        seconds = dict(zip(files, pool.map(seconds_of, files), strict=True))
    wheres = {one.name: one.where for one in listing.found}
    beyond = [
        f"{wheres[clip.clip_id]}: {file_name(clip.path)} lasts {lasts:g} s. Received: start={clip.segment[0]:g}, "
        f"end={clip.segment[1]:g}."
        for clip in dataset.clips
        if clip.segment is not None
        and (lasts := seconds[clip.path]) is not None
        and clip.segment[1] > lasts + TOLERANCE_S
    ]
    if beyond:
        more = f" {len(beyond):,} rows are so." if len(beyond) > 1 else ""
        raise DataError(
            f"{beyond[0]} Segments must end within their files.{more} Correct the times, which are seconds from the "
            "file's beginning; rename the columns `start` and `end` if they say something else."
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
                    f"{ascii(str(entry.path))[1:-1]} is no name in UTF-8. Rename it; ids of clips are text on every "
                    "machine."
                )
            names[name.partition("/")[0]].append(name)
    for label, its_names in names.items():
        if not its_names:
            raise DataError(
                f"{file_name(root / label)} holds no sound files. Remove it, or put the class's recordings there."
            )
    if lists is not None:
        return _as_listed(root, names, lists, unused)
    every_name = [name for its_names in names.values() for name in its_names]
    groups = {name: recording_of(name) for name in every_name}
    published = folds_by_name(root, every_name)
    if published is not None:
        _log.info("Folds of %s are those that begin its file names, as of ESC-50 and ESC-10.", root)
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
    """The recordings in folders of classes, and those that lists name and the disk lacks, each in its part."""
    absent = {name for name in lists.fold_of if name.partition("/")[0] not in names}
    if absent:
        classes = sorted({name.partition("/")[0] for name in absent})
        _log.warning(
            "%s recordings that %s names are left out, with their classes, which have no folder in %s: %s.",
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


def _check_root(root: Path) -> None:
    if root.is_dir() and read_esc50(root) is None and read_scenes(root) is None:
        refuse(root)


def _clip_folders(dataset: DataSet, root: Path) -> list[Path] | None:
    """The folder of the classes' folders, or of all clips of ESC-50 or of scenes; a CSV file may list a few recordings
    of many."""
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
