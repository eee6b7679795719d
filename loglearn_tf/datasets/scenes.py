"""Reads acoustic scenes of years other than 2017 in their official layout and set-up, for `folder`.

TUT Acoustic Scenes 2016, TUT Urban Acoustic Scenes 2018 and its mobile variant, TAU Urban Acoustic Scenes 2019, 2020
Mobile, 2022 Mobile: the development sets, whose labels are public.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from loglearn_tf._util.text import file_name, first_few, printable, shown
from loglearn_tf.datasets.clips import TEST, TRAIN, read_lines
from loglearn_tf.datasets.layouts import folds_lists, scene_folders
from loglearn_tf.datasets.listing import Found, Listing
from loglearn_tf.errors import DataError, MissingDataError

# Official column names. Lists without a header, as in 2016, have them in this order.
_FILE, _SCENE, _LOCATION = "filename", "scene_label", "identifier"
# For lists without locations: b020_90_120.wav in 2016; scene-city-location-segment-device.wav since 2018.
_LOCATED = (re.compile(r"([a-z]\d+)_\d+_\d+\.\w+"), re.compile(r"[a-z_]+-([a-z]+-\d+)-[\w-]+\.\w+"))


class _Entry(NamedTuple):
    label: str  # empty in lists for classification
    location: str
    where: str


def read_scenes(root: Path) -> Listing | None:
    """Reads acoustic scenes from `meta.txt` or `meta.csv` and the fold lists in `evaluation_setup/`.

    With one fold, as since 2018, its list `train` is for training and its list `evaluate` for test. With several, as in
    2016, fold k is given by its list `evaluate`. Locations are groups.

    Args:
        root: The folder of a development set, or its parent.

    Returns:
        None if there is no such set. Recordings in none of the fold lists are `unused`.

    Raises:
        DataError: If there are several sets, or lists are malformed or contradict each other.
        MissingDataError: If no list has the labels.

    Reference:
        Mesaros, Heittola and Virtanen, 2016 and 2018; doi 10.5281/zenodo.45739, 10.5281/zenodo.1228142,
        10.5281/zenodo.2589280, 10.5281/zenodo.3819968, 10.5281/zenodo.6337421.
    """
    folders = [folder for folder in scene_folders(root) if folds_lists(folder)]
    if not folders:
        return None
    if len(folders) > 1:
        raise DataError(
            f"{root} contains several sets of acoustic scenes: {', '.join(map(file_name, folders))}. Name the folder "
            "of one: `data.root=`."
        )
    folder = folders[0]
    lists = folds_lists(folder)
    metadata = next((path for path in (folder / "meta.csv", folder / "meta.txt") if path.is_file()), None)
    listed = _read(metadata) if metadata else {}
    known = dict(listed)
    folds: dict[int, dict[str, set[str]]] = {}
    for number, paths in lists.items():
        if not {"train", "evaluate"} <= paths.keys() and not {"train", "test"} <= paths.keys():
            raise DataError(
                f"{folder / 'evaluation_setup'} must contain training and test lists for fold {number}. "
                f"Received: {', '.join(path.name for path in paths.values())}. Restore the official files."
            )
        folds[number] = {}
        for role, path in paths.items():
            entries = _read(path)
            folds[number][role] = set(entries)
            for name, entry in entries.items():
                before = known.get(name)
                if before and before.label and entry.label and before.label != entry.label:
                    raise DataError(
                        f"{entry.where}: {printable(name)} is {shown(entry.label)}, but {shown(before.label)} "
                        f"according to {before.where}. Restore the official files."
                    )
                if before is None or (entry.label and not before.label):
                    known[name] = entry
    fold_of = _folds(folder, folds)
    if without := [name for name in fold_of if not known[name].label]:
        raise MissingDataError(
            f"{folder} has no labels for {len(without):,} recordings: {', '.join(first_few(without, show=printable))}. "
            "Its lists contain only names. Unpack the archive with meta.csv or meta.txt there."
        )
    found = [
        Found(name, folder / name, known[name].label, fold, known[name].location or _located(name))
        for name, fold in fold_of.items()
    ]
    unused = tuple(folder / name for name in sorted(known.keys() - fold_of.keys()))
    setup = folder / "evaluation_setup"
    return Listing(folder, metadata or setup, found, is_split=len(folds) == 1, unused=unused)


def _folds(folder: Path, folds: dict[int, dict[str, set[str]]]) -> dict[str, int]:
    """Recording -> fold; with a single fold, `TRAIN` or `TEST`."""
    tests = {number: roles.get("evaluate", roles.get("test", set())) for number, roles in folds.items()}
    for number, roles in folds.items():
        if both := sorted(roles["train"] & tests[number]):
            raise DataError(
                f"{folder}: {printable(both[0])} is in the training and test lists of fold {number} in "
                "evaluation_setup. Restore the official files."
            )
    if len(folds) == 1:
        ((number, roles),) = folds.items()
        return {**dict.fromkeys(roles["train"], TRAIN), **dict.fromkeys(tests[number], TEST)}
    fold_of: dict[str, int] = {}
    for number, names in tests.items():
        for name in names:
            if name in fold_of:
                raise DataError(
                    f"{folder}: {printable(name)} is in the test lists of folds {fold_of[name]} and {number} in "
                    "evaluation_setup. Restore the official files."
                )
            fold_of[name] = number
    for number, roles in folds.items():
        others = fold_of.keys() - tests[number]
        if differing := sorted(roles["train"] ^ others):
            raise DataError(
                f"{folder}: in evaluation_setup, the training list of fold {number} must equal the test lists of the "
                f"others. Received: {len(differing):,} differences, such as {printable(differing[0])}. Restore the "
                "official files, or list the recordings in a CSV file with the columns path, label and fold."
            )
    return fold_of


def _read(path: Path) -> dict[str, _Entry]:
    """Recording, such as `audio/b020_90_120.wav` -> its entry in a list."""
    entries: dict[str, _Entry] = {}
    columns = [_FILE, _SCENE, _LOCATION]
    for number, (where, line) in enumerate(read_lines(path)):
        fields = next(csv.reader([line], delimiter="\t" if "\t" in line else ","), [])
        fields = [field.strip() for field in fields]
        if number == 0 and _FILE in fields:
            columns = fields
            continue
        row = dict(zip(columns, fields, strict=False))
        name = row.get(_FILE, "").replace("\\", "/").removeprefix("./")
        name = name if "/" in name else f"audio/{name}"
        if Path(name).parent != Path("audio") or name == "audio/":
            raise DataError(f"{where}: the file must be in audio/. Received: {shown(line)}. Restore the official file.")
        if name in entries:
            raise DataError(f"{where}: {printable(name)} is listed twice. Restore the official file.")
        entries[name] = _Entry(row.get(_SCENE, ""), row.get(_LOCATION, ""), where)
    return entries


def _located(name: str) -> str:
    found: Iterator[str] = (match[1] for form in _LOCATED if (match := form.fullmatch(name.rpartition("/")[2])))
    return next(found, "")
