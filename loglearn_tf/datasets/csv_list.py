"""Reads your own CSV file: one recording or segment per row, with its label and its fold or split."""

import difflib
import logging
import math
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from loglearn_tf._util.text import first_few, printable, shown
from loglearn_tf.datasets.clips import LAST_FOLD, read_rows, segment_name
from loglearn_tf.datasets.layouts import ESC50_LIST, US8K_LIST
from loglearn_tf.datasets.listing import SPLITS, Found, Listing, split_name
from loglearn_tf.datasets.recordings import deal, recording_of, torn
from loglearn_tf.errors import DataError

COLUMNS = ("path", "label", "fold")
_OPTIONAL = ("fold", "split", "group", "start", "end")
# Column names of other programs, for hints.
_CALLED = {
    "path": {"file", "filename", "file_name", "filepath", "file_path", "audio", "wav", "sound", "slice_file_name"},
    "label": {"class", "category", "target", "tag", "labels", "tags", "scene_label", "event_label", "class_name"},
    "fold": {"cv", "cv_fold", "kfold"},
    "split": {"subset", "partition", "set"},
    "group": {"recording", "source", "speaker", "speaker_id", "location", "identifier", "session", "fsid"},
    "start": {"onset", "begin", "start_time", "start_s", "tmin"},
    "end": {"offset", "stop", "end_time", "end_s", "tmax"},
}
_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_SECONDS = re.compile(r"\d{1,12}(\.\d*)?([eE][+-]?\d{1,3})?", re.ASCII)
_ALWAYS_SEVERAL, _PERHAPS_SEVERAL = re.compile("[;|]"), re.compile("[,/+&]")
_log = logging.getLogger("loglearn_tf")


class _Row(NamedTuple):
    where: str
    name: str
    label: str
    fold: int | None  # None if folds are to be assigned
    group: str
    segment: tuple[float, float] | None

    @property
    def clip(self) -> str:
        return segment_name(self.name, self.segment)


def read_csv_list(path: Path, n_folds: int) -> Listing:
    """Reads a recording or segment from every row; assigns folds if the file has neither folds nor splits.

    Columns: see `folder.load_folder`.

    Raises:
        DataError: If a column is missing, misspelt or duplicated, a row is invalid, a clip has several labels, or clips
            of one `group` are in different folds or splits.
    """
    published = {US8K_LIST.lower(): "data.name=us8k", ESC50_LIST.lower(): "data.name=folder"}
    if (setting := published.get(path.name.lower())) is not None:
        raise DataError(
            f"{path} is the list of a published data set. Name the folder that contains it and the sounds: "
            f"`{setting} data.root={path.absolute().parent.parent}`."
        )
    columns: list[str] = []
    rows = list(_rows_of(path, columns))
    _check_labels(path, rows)
    unread = [name for name in columns if name and name not in (*COLUMNS, *_OPTIONAL)]
    if unread:
        hints = [f"`{name}` is used if renamed to `{of}`" for name in unread if (of := _meant_by(name, columns))]
        more = f" {'; '.join(hints)}." if hints else ""
        _log.info("Unused columns of %s: %s.%s", path, ", ".join(first_few(unread, show=printable)), more)
    is_split = "split" in columns
    # By default a file is one recording, whatever clips it contains.
    cut = {row.name for row in rows if row.segment}
    whole = {name: unicodedata.normalize("NFC", name) if name in cut else "" for name in {row.name for row in rows}}
    groups = {row.clip: row.group or recording_of(row.name) or whole[row.name] for row in rows}
    given = {row.clip: row.fold for row in rows if row.fold is not None}
    apart = torn(given, groups)
    if apart:
        recording, its_folds = next(iter(apart.items()))
        parts = " and ".join(map(split_name, its_folds)) if is_split else f"folds {', '.join(map(str, its_folds))}"
        where = f"{path}: recording {printable(recording)} is in {parts}"
        if rows[0].group:
            part, column = ("part", "split") if is_split else ("fold", "fold")
            raise DataError(
                f"{where}; clips of one `group` must be in one {part}, or similar clips would be in training and test. "
                f"Use one, or remove the column `{column}`: folds are then assigned that keep groups whole."
            )
        told = "according to its segments" if any(row.segment for row in rows) else "according to its file names"
        _log.warning("%s, %s: clips of one recording may be in training and test sets.", where, told)
    dealt_folds = {} if given else deal({row.clip: row.label for row in rows}, groups, n_folds)
    found = [
        Found(
            row.clip,
            path.parent / row.name,
            row.label,
            dealt_folds[row.clip] if row.fold is None else row.fold,
            groups[row.clip],
            row.segment,
            row.where if row.segment else "",
        )
        for row in rows
    ]
    return Listing(path.parent, path, found, is_split=is_split)


# ---- Rows -----------------------------------------------------------------------------------------------------------


def _rows_of(path: Path, columns: list[str]) -> Iterator[_Row]:
    """The rows; stores the column names in a list."""
    lacking = "Its first line must contain path, label, and fold, split or group."

    def check_columns(names: Sequence[str]) -> None:
        _check_columns(path, names)
        columns.extend(names)

    for where, row in read_rows(
        path,
        COLUMNS[:2],
        optional=_OPTIONAL,
        lacking=lacking,
        remedy="Save it as CSV in UTF-8.",
        check_columns=check_columns,
    ):
        if not row.keys() & {*_OPTIONAL}:
            raise DataError(f"{path} has no column `fold`; its columns are {shown(list(row))}. {lacking}")
        name, label = row["path"], row["label"]
        # "./a.wav" equals "a.wav": one recording must not become two clips.
        name = posixpath.normpath(name) if name else name
        if not name or not label:
            raise DataError(f"{where}: `path` and `label` must not be empty. Received: {shown(name)}, {shown(label)}.")
        if posixpath.isabs(name):
            raise DataError(
                f"{where}: `path` must be relative to the CSV file's folder, to be valid on every "
                f"machine. Received: {shown(name)}. Put the CSV file above the recordings."
            )
        yield _Row(where, name, label, _fold_of(row, where), _group_of(row, where), _segment_of(row, where))


def _group_of(row: dict[str, str], where: str) -> str:
    group = (row.get("group") or "").strip()
    if "group" in row and not group:
        raise DataError(
            f"{where}: `group` must not be empty if others have one. Received: {shown(row['group'])}. Name the "
            "recording; for the only clip of a recording, its own path will do."
        )
    return group


def _fold_of(row: dict[str, str], where: str) -> int | None:
    if "split" in row:
        part = _SPLIT_NAMES.get((row["split"] or "").strip().lower())
        if part is None:
            raise DataError(f"{where}: `split` must be train, validation or test. Received: {shown(row['split'])}.")
        return SPLITS[part]
    if "fold" not in row:
        return None
    fold = row["fold"]
    # Length first: Python refuses to convert numbers with thousands of digits.
    if not (fold or "").isdecimal() or len(fold) > len(str(LAST_FOLD)) or int(fold) < 1:
        raise DataError(f"{where}: `fold` must be an integer between 1 and {LAST_FOLD:,}. Received: {shown(fold)}.")
    return int(fold)


def _segment_of(row: dict[str, str], where: str) -> tuple[float, float] | None:
    if "start" not in row:
        return None
    texts = [(row[column] or "").strip() for column in ("start", "end")]
    if not any(texts):
        return None  # the whole file
    for column, text in zip(("start", "end"), texts, strict=True):
        if not _SECONDS.fullmatch(text) or not math.isfinite(float(text)):
            raise DataError(
                f"{where}: `{column}` must be seconds from the start of the file, such as 12.5. Received: "
                f"{shown(row[column])}. Leave both `start` and `end` empty for whole files."
            )
    start_s, end_s = map(float, texts)
    if not start_s < end_s:
        raise DataError(f"{where}: `start` must be less than `end`. Received: start={texts[0]}, end={texts[1]}.")
    return start_s, end_s


# ---- Columns --------------------------------------------------------------------------------------------------------


def _check_columns(path: Path, names: Sequence[str]) -> None:
    """Raises for likely mistakes, with which the file would be read as another data set."""
    columns = f"its columns are {shown(list(names))}"
    if len(names) == 1 and (found := re.search(r"[;\t]", names[0] or "")):
        mark = "tabulators" if found[0] == "\t" else "semicolons"
        raise DataError(
            f"{path} must use commas between its columns. Received: {mark}; {columns}. Save it with commas."
        )
    for column in (*COLUMNS[:2], *_OPTIONAL):
        if column not in names and (near := _misspelt(column, names)):
            lacks = f"{path} has no column `{column}`; {columns}. "
            raise DataError(f"{lacks}If {printable(repr(near))} means `{column}`, rename it.")
    for column in COLUMNS[:2]:
        if column not in names and (other := next((name for name in names if _called(name) in _CALLED[column]), "")):
            raise DataError(f"{path} has no column `{column}`; {columns}. Rename {printable(repr(other))} to it.")
    if ("start" in names) != ("end" in names):
        there, absent = ("start", "end") if "start" in names else ("end", "start")
        raise DataError(
            f"{path} has the column `{there}` but not `{absent}`; {columns}. Use both for clips that are segments "
            f"of files, or rename `{there}`."
        )
    if "fold" in names and "split" in names:
        raise DataError(
            f"{path} must have the column `fold` or `split`, not both: each fold is tested in turn, a split has one "
            f"test part; {columns}. Rename or remove one."
        )


def _misspelt(column: str, names: Sequence[str]) -> str:
    """An unknown column that looks like a misspelling of this one, or empty."""
    for name in names:
        if name in (*COLUMNS, *_OPTIONAL) or not name:
            continue
        plain = _called(name)
        alike = difflib.SequenceMatcher(None, plain, column).ratio()
        if plain == column or plain == f"{column}s" or (alike >= 0.75 and sorted(plain) == sorted(column)):
            return name
        if len(column) > 4 and alike >= 0.85 and abs(len(plain) - len(column)) == 1:  # one letter more or less
            return name
    return ""


def _meant_by(name: str, columns: Sequence[str]) -> str:
    """The column with another program's name for this one, if this one is missing; otherwise empty."""
    return next((of for of, others in _CALLED.items() if _called(name) in others and of not in columns), "")


def _called(name: str | None) -> str:
    return (name or "").strip().lower().replace(" ", "_").replace("-", "_")


# ---- Labels ---------------------------------------------------------------------------------------------------------


def _check_labels(path: Path, rows: Sequence[_Row]) -> None:
    """Raises if a clip has several labels, in several rows or in one.

    A label counts as several if it has a semicolon, a bar or brackets; or if it has a comma, slash, plus or ampersand
    and all its pieces are labels of other rows, alone or in combination. `cafe/restaurant` and `Speech, male` are class
    names.
    """
    alike = Counter(row.clip for row in rows)
    clip, count = alike.most_common(1)[0] if alike else ("", 0)
    if count > 1:
        its_rows = [row for row in rows if row.clip == clip]
        labels = sorted({row.label for row in its_rows})
        lines = ", ".join(first_few([row.where.rpartition(" ")[2] for row in its_rows]))
        differing = (
            f" A clip must have one label, but lines {lines} have {', '.join(first_few(labels, show=shown))}: keep the "
            "one that matters, or cut the file into segments (columns `start`, `end`)."
        )
        raise DataError(
            f"Clip {printable(clip)} is listed {count} times in {path}. List it once."
            + (differing if len(labels) > 1 else "")
        )
    first: dict[str, str] = {}
    for row in rows:
        first.setdefault(row.label, row.where)
    parts_of = {label: _parts(label, _PERHAPS_SEVERAL) for label in first}
    labels_with: dict[str, set[str]] = defaultdict(set)
    for label, parts in parts_of.items():
        for part in parts:
            labels_with[part].add(label)
    for label, where in first.items():
        is_in_brackets = label.strip()[:1] + label.strip()[-1:] in ("[]", "{}")
        several, parts = _parts(label, _ALWAYS_SEVERAL), parts_of[label]
        if len(several) < 2 and len(parts) > 1 and all(part in first or len(labels_with[part]) > 1 for part in parts):
            several = parts
        if len(several) > 1 or is_in_brackets:
            said = f", which is {' and '.join(first_few(several, show=shown))}" if len(several) > 1 else ""
            raise DataError(
                f"{where}: `label` must be one class. Received: {shown(label)}{said}. Keep the most important label, "
                "omit such clips, or cut files into segments with one label each (columns `start`, `end`). If it is "
                "a separate class, write its name without these characters."
            )


def _parts(label: str, marks: re.Pattern[str]) -> list[str]:
    return [part.strip() for part in marks.split(label) if part.strip()]
