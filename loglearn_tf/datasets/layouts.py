"""Recognises known data sets by their layout, so that their folders are not read as classes."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from loglearn_tf._util.text import file_name, first_few, printable
from loglearn_tf.datasets.search import is_around, is_hidden, is_named_as_sound
from loglearn_tf.errors import DataError

US8K_LIST, ESC50_LIST = "UrbanSound8K.csv", "esc50.csv"
# `fsID-classID-occurrence-slice.wav`.
_US8K_SOUND = re.compile(r"\d+-\d-\d+-\d+\.wav", re.IGNORECASE)
_ESC50_SOUND = re.compile(r"[1-5]-\d+-[A-Z]-\d+\.(wav|ogg)", re.IGNORECASE)
_FOLD = re.compile(r"(?:fold|split|part|cv|set)[ _-]?(\d+)", re.IGNORECASE)
_ROLES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("test", "testing", "eval", "evaluate", "evaluation"), "test"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev", "devel", "development"), "validation"),
}
_CONTAINERS = {
    *("audio", "audios", "wav", "wavs", "clips", "recordings", "sounds", "data", "dataset"),
    *("meta", "metadata", "annotation", "annotations", "labels", "csv", "lists", "splits"),
    *("evaluation", "setup", "doc", "docs", "features", "spectrograms", "set", "files"),
}
_SCENES = re.compile(r"(TUT|TAU)-(urban-)?acoustic-scenes-(\d{4}).*", re.IGNORECASE)
SCENES_2017 = "TUT Acoustic Scenes 2017"
_FOLD_LIST = re.compile(r"fold(\d{1,3})_(train|evaluate|test)\.(?:txt|csv)")
_DEEPEST = 3  # depth below a root at which mirrors put their lists
_CSV = "a CSV file with the columns path, label and fold (`data.root=clips.csv`)"


def find_files(root: Path, name: str) -> list[Path]:
    """Files with a name, ignoring case, in a folder or slightly below; the nearest first."""
    return [folder / file for folder in _folders(root) for file in _names(folder)[1] if file.lower() == name.lower()]


def find_folders(root: Path, name: str) -> list[Path]:
    """Folders with a name in a folder or slightly below; the nearest first."""
    return [folder for folder in _folders(root) if folder != root and folder.name == name]


def fold_of(name: str) -> int | None:
    """The number in the name of a fold's folder, such as `fold10`, `fold_10`, `split 2`; None for other names."""
    match = _FOLD.fullmatch(name)
    return int(match[1]) if match else None


def refuse(root: Path) -> None:
    """Raises a `DataError` with the remedy if folders in `root` are clearly not classes: a known data set with another
    loader or none, folds, or training and test parts. Missing folders are ignored."""
    if root.is_dir() and (said := _known(root) or _no_classes(root)):
        raise DataError(said)


def scene_folders(root: Path) -> list[Path]:
    """The folders of acoustic scenes of years other than 2017: `root` itself, or folders in it."""
    found = [folder for folder, what in _scenes(root) if what != SCENES_2017]
    return [root] if root in found else found


def folds_lists(folder: Path) -> dict[int, dict[str, Path]]:
    """Fold number -> `"train"`, `"evaluate"` or `"test"` -> its list, for acoustic scenes with `evaluation_setup/`.

    Empty if there is no training list, as in an evaluation set.
    """
    setup = folder / "evaluation_setup"
    lists: dict[int, dict[str, Path]] = defaultdict(dict)
    for name in _names(setup)[1]:
        if match := _FOLD_LIST.fullmatch(name):
            lists[int(match[1])][match[2]] = setup / name
    return dict(lists) if any("train" in roles for roles in lists.values()) else {}


def scenes_of(root: Path) -> str:
    """A sentence about a folder of acoustic scenes that `folder` cannot read, that is one part of 2017, or that only
    `folder` can read; empty for other folders."""
    for folder, what in _scenes(root):
        if what == SCENES_2017:
            return (
                f"{file_name(folder)} is one part of TUT Acoustic Scenes 2017, which `data.name=tut` reads "
                f"(`loglearn run tut`). Name the folder with both parts: `data.root={folder.absolute().parent}`."
            )
        if folds_lists(folder):
            return (
                f"{file_name(folder)} is {what}, which `data.name=folder` reads (`loglearn run folder data.root="
                f"{folder}`)."
            )
        files = set(_names(folder)[1])
        listed = "meta.csv" if "meta.csv" in files else "meta.txt"
        unlabelled = not files & {"meta.txt", "meta.csv"} or not _has_scene_labels(folder)
        if unlabelled and "evaluation" in folder.name.lower():
            return (
                f"{file_name(folder)} is {what}, an evaluation set: its lists have no labels, so nothing can "
                "be tested on it. Use the development set."
            )
        return (
            f"{file_name(folder)} is {what}, without its training and test lists, "
            "evaluation_setup/fold1_train and fold1_evaluate. Unpack the archive with these lists there, or list its "
            f"recordings in {_CSV}: paths and labels are in its {listed}."
        )
    return ""


def _scenes(root: Path) -> Iterator[tuple[Path, str]]:
    """Folders of acoustic scenes, `root` or folders in it, and their names."""
    for folder in (root, *(root / name for name in _names(root)[0])):
        parts, files = map(set, _names(folder))
        has_lists = "evaluation_setup" in parts and (bool(files & {"meta.txt", "meta.csv"}) or folds_lists(folder))
        if match := _SCENES.fullmatch(folder.name):
            yield folder, f"{match[1].upper()} {'Urban ' if match[2] else ''}Acoustic Scenes {match[3]}"
        elif has_lists or _has_scene_labels(folder):
            yield folder, "acoustic scenes"


def _known(root: Path) -> str:
    lists = find_files(root, US8K_LIST)
    if lists:
        return (
            f"{root} contains UrbanSound8K, according to {file_name(lists[0])}; its folders are not classes. Set "
            "`data.name=us8k` (`loglearn run us8k`), which reads it with its ten folds."
        )
    return scenes_of(root)


def _no_classes(root: Path) -> str:
    folders, files = _names(root)
    inside = {name: _names(root / name) for name in folders}
    beside = [name for name in files if is_named_as_sound(name)]
    sounds = [*beside, *(name for _, below in inside.values() for name in below if is_named_as_sound(name))]
    # If folders may be classes, file names prove nothing.
    lie_as_published = beside or all(
        fold_of(name) is not None or name.isdecimal() or _is_part(name) for name in folders
    )
    if lie_as_published and _most(_US8K_SOUND, sounds):
        above = root.absolute().parent
        there = (above / US8K_LIST).is_file() or (above / "metadata" / US8K_LIST).is_file()
        where = f"Name the folder that contains both: `data.root={above}`" if there else f"Put {US8K_LIST} next to them"
        return (
            f"{root} contains clips of UrbanSound8K without the list of their classes and folds, {US8K_LIST}. "
            f"{where}, and set `data.name=us8k`."
        )
    if lie_as_published and _most(_ESC50_SOUND, sounds):
        return (
            f"{root} contains clips of ESC-50 without the list of their classes, {ESC50_LIST}. Put it next to "
            "them, or name the folder that contains both."
        )
    if not folders:
        return ""
    received = ", ".join(first_few(folders, show=printable))
    insist = f"If they are really your classes, list the recordings in {_CSV}"
    if len(folders) > 1 and all(fold_of(name) is not None for name in folders):
        return f"{root} must contain one folder per class. Received folds: {received}. {insist}, which can have folds."
    roles: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name in folders:
        roles[_rest(name)] |= {_ROLES[word] for word in _words(name) if word in _ROLES}
    if any(len(found) > 1 for found in roles.values()):
        return (
            f"{root} must contain one folder per class. Received training and test parts: {received}. {insist}, where "
            "a part can be a fold."
        )
    holding = [name for name in folders if inside[name][0]]
    if all(_is_part(name) for name in folders) and (len(folders) > 1 or holding):
        return f"{root} must contain one folder per class. Received: {received}. Name the folder that does. {insist}."
    if len(folders) == 1 and len(inside[folders[0]][0]) > 1 and not sounds:
        return (
            f"{root} must contain one folder per class. Received one, {printable(folders[0])}, which contains "
            f"{len(inside[folders[0]][0]):,} more. Name it: `data.root={root / folders[0]}`."
        )
    return ""


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W\d_]+", name.lower()) if word]


def _rest(name: str) -> tuple[str, ...]:
    """The rest of a folder's name without "train", "test", "audio" and similar words."""
    return tuple(word for word in _words(name) if word not in _ROLES and word not in _CONTAINERS)


def _is_part(name: str) -> bool:
    return bool(_words(name)) and not _rest(name)


def _most(pattern: re.Pattern[str], names: Sequence[str]) -> bool:
    """Whether nearly all names have a given form."""
    return sum(pattern.fullmatch(name) is not None for name in names) > len(names) / 2


def _has_scene_labels(folder: Path) -> bool:
    """Whether there is a list in the form of acoustic scenes: `audio/x.wav`, a tab, and a label."""
    for name in ("meta.txt", "meta.csv"):
        try:
            with (folder / name).open(encoding="utf-8-sig", errors="replace") as file:
                start = file.read(1000).splitlines()
        except OSError:
            continue
        if any(re.match(r"filename\tscene_label|audio/[^\t]+\t\S", line) for line in start):
            return True
    return False


def _folders(root: Path) -> Iterator[Path]:
    """A folder and its subfolders, level by level, without hidden ones; each once."""
    level, seen = [root], set()
    top = os.path.realpath(root)
    for _ in range(_DEEPEST + 1):
        below = []
        for folder in level:
            real = os.path.realpath(folder)
            # Do not follow links to an enclosing folder.
            if real not in seen and (folder == root or not is_around(real, top)) and folder.is_dir():
                seen.add(real)
                yield folder
                below += [folder / name for name in _names(folder)[0]]
        level = below


def _names(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders and files in a folder, without hidden ones; empty if it cannot be listed, which the
    reader will report."""
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if not is_hidden(entry.name):
                    is_folder = os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir(follow_symlinks=False)
                    (folders if is_folder else files).append(entry.name)
    except OSError:
        pass
    return folders, files
