"""The clip, the unit of accuracy, and the data set: its clips and the training folds of each test fold."""

import csv
import hashlib
import os
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from loglearn_tf._util.text import file_name, first_few, printable, shown
from loglearn_tf.errors import ConfigError, DataError, MissingDataError

# The generator puts this file into its data sets, so that every table made from them is marked.
SYNTHETIC_MARKER = "SYNTHETIC.txt"
# Longer metadata files are not read to their end: a hundred times the largest data set here.
MOST_CLIPS = 1_000_000
LAST_FOLD = 999_999_999  # in CSV files
# A data set with one split uses fold numbers for its parts, so that tables and folders have the same form.
TRAIN, TEST, VALIDATION = 0, 1, 2
# Defaults of every loader and of the settings.
VALIDATION_FOLD: Final = "next"
N_FOLDS = 5
# Limit on the characters of a row, including empty lines before it: a line may be endless.
_LONGEST_ROW = 100_000
_CHECKED_BYTES = 4096
_LONGEST_PATH = 4096  # limit of Linux


@dataclass(frozen=True)
class Clip:
    """One labelled recording.

    Attributes:
        clip_id: Unique in the data set, the same on every machine.
        path: Audio file.
        label: Index into the data set's classes.
        fold: UrbanSound8K's folder, 1-10; with one split 0 for training, 1 for test and 2 for validation (for TUT, 0 is
            the development and 1 the evaluation set); otherwise from 1.
        n_bytes: Size of the file.
        checksum: CRC of some bytes from its beginning, middle and end; together with the size it detects cheaply that a
            sound was replaced or its header corrected.
        group: The recording that it was cut from, as named by the data set; empty if unknown. It is not part of the
            data set's fingerprint, since it does not affect the sound.
        segment: Start and end, in seconds, of the clip in the file; `None` for the whole file. They are also part of
            `clip_id` (see `segment_name`).
    """

    clip_id: str
    path: Path
    label: int
    fold: int
    n_bytes: int = 0
    checksum: int = 0
    group: str = field(default="", compare=False)
    segment: tuple[float, float] | None = None

    @property
    def recording(self) -> str:
        """Identifies the recording; a clip of unknown origin counts as its own recording."""
        return self.group or self.clip_id

    @property
    def sound(self) -> str:
        """Identifies the sound, independent of its location."""
        return f"{self.clip_id}\t{self.n_bytes}\t{self.checksum}"


@dataclass(frozen=True)
class DataSet:
    """A data set with its split.

    Attributes:
        name: Name in settings, run folders and results: `"us8k"`.
        root: Its folder.
        classes: Class names, in the data set's order.
        clips: All clips, ordered by `clip_id`.
        train_folds: Test fold -> its training folds.
        missing: Ids of clips that are listed but not on disk (empty unless allowed).
        missing_paths: Their expected paths.
        why_missing: Id -> reason, for those where it is known.
        synthetic: Whether the sounds are generated, not recorded.
        official: Whether its classes and the form of its metadata are fixed by its name.
        unused: Files of the data set that are not clips by design: background noise of Speech Commands, recordings in
            none of the official lists.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    clips: tuple[Clip, ...]
    train_folds: dict[int, tuple[int, ...]]
    missing: tuple[str, ...] = ()
    missing_paths: tuple[Path, ...] = ()
    why_missing: dict[str, str] = field(default_factory=dict)
    synthetic: bool = False
    official: bool = False
    unused: tuple[Path, ...] = ()

    def test_clips(self, fold: int) -> tuple[Clip, ...]:
        """The clips of a test fold.

        Raises:
            ConfigError: If there is no such fold, or it has no clips.
        """
        if fold not in self.train_folds:
            one = f" It has one split: set `folds={sorted(self.train_folds)}`." if len(self.train_folds) == 1 else ""
            raise ConfigError(
                f"`folds` must be test folds of {self.name}: {_ranges(self.train_folds)}. Received: fold {fold}.{one}"
            )
        clips = tuple(clip for clip in self.clips if clip.fold == fold)
        if not clips:
            present = sorted({clip.fold for clip in self.clips} & set(self.train_folds))
            holds = (
                f"which has folds {_ranges(present)}. Choose among these, for example `folds=[{present[0]}]`."
                if present
                else ""
            )
            holds = holds or "and neither has any other test fold. Restore them."
            raise ConfigError(f"Fold {fold} has no clips in {self.root}, {holds}")
        return clips

    def train_clips(self, fold: int) -> tuple[Clip, ...]:
        """The training clips for test fold `fold`; never from that fold or the validation fold."""
        self.test_clips(fold)
        return tuple(clip for clip in self.clips if clip.fold in self.train_folds[fold])

    def validation_clips(self, fold: int) -> tuple[Clip, ...]:
        """The clips left out of training and test for test fold `fold`: those of the next fold, with
        `validation_fold="next"`, or of the data set's own validation split; none if all other folds train.

        Folds that are only used for tests are not included.
        """
        self.test_clips(fold)
        only_tested = self.train_folds.keys() - {one for folds in self.train_folds.values() for one in folds}
        used = {fold, *self.train_folds[fold], *only_tested}
        return tuple(clip for clip in self.clips if clip.fold not in used)

    @property
    def recordings(self) -> dict[str, str]:
        """Clip id, as in `predictions.csv` -> its recording."""
        return {clip.clip_id: clip.recording for clip in self.clips}

    @property
    def fingerprint(self) -> str:
        """Identifies the list of clips with labels, folds and sounds, independent of their location."""
        lines = (f"{clip.sound}\t{clip.label}\t{clip.fold}" for clip in self.clips)
        text = "\n".join((self.name, *(() if self.official else self.classes), *lines))
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def segment_name(name: str, segment: tuple[float, float] | None) -> str:
    """The id of a clip that is a segment of a file, with the times in the form of Media Fragments URIs.

    Example:
        >>> segment_name("day/1.wav", (0.5, 12.0)), segment_name("day/1.wav", None)
        ('day/1.wav#t=0.5,12', 'day/1.wav')
    """
    if segment is None:
        return name
    # The shortest form that reads as the same number, without an exponent.
    return f"{name}#t={','.join(np.format_float_positional(seconds, trim='-') for seconds in segment)}"


def by_file(clips: Iterable[Clip], *, most: int = 32) -> Iterator[list[Clip]]:
    """Groups clips for reading: segments of one file together, ordered by start, all other clips alone.

    Args:
        clips: In any order.
        most: Maximum number of segments in a group.
    """
    of_file: dict[Path, list[tuple[tuple[float, float], Clip]]] = defaultdict(list)
    for clip in clips:
        if clip.segment is None:
            yield [clip]
        else:
            of_file[clip.path].append((clip.segment, clip))
    for segments in of_file.values():
        ordered = [clip for _, clip in sorted(segments, key=lambda one: one[0])]
        yield from (ordered[at : at + most] for at in range(0, len(ordered), most))


def train_folds(folds: Sequence[int], validation_fold: str) -> dict[int, tuple[int, ...]]:
    """Maps each test fold to its training folds.

    Args:
        folds: All folds, in order.
        validation_fold: `"next"` leaves out the fold after the test fold (after the last, the first); `"none"`
            leaves out only the test fold.

    Raises:
        ValueError: If `validation_fold` is neither.
    """
    if validation_fold not in ("next", "none"):
        raise ValueError(f"`validation_fold` must be 'next' or 'none'. Received: validation_fold={validation_fold!r}.")
    following = dict(zip(folds, (*folds[1:], *folds[:1]), strict=True)) if validation_fold == "next" else {}
    return {test: tuple(fold for fold in folds if fold not in (test, following.get(test))) for test in folds}


def check_clips(dataset: DataSet, *, metadata: Path, allow_missing: bool) -> DataSet:
    """Orders the clips and handles duplicate and missing ones.

    Names that differ only in Unicode normalisation are the same: macOS decomposes letters (é is e and an accent).

    Raises:
        DataError: If a clip is listed twice, there are none, or a folder cannot be listed.
        MissingDataError: If files are missing and `allow_missing` is off, or all files are missing.
    """
    if not dataset.clips:
        remedy = "Restore the official file" if dataset.official else "Add some"
        raise DataError(f"No clips are listed in {metadata}. {remedy}.")
    restore = "Restore the official file" if dataset.official else "List it once"
    clip_id, count = Counter(clip.clip_id for clip in dataset.clips).most_common(1)[0]
    if count > 1:
        raise DataError(f"Clip {printable(clip_id)} is listed {count} times in {metadata}. {restore}.")
    disk = _Disk()
    found: list[Clip] = []
    missing, missing_paths, why_missing, renamed = [], [], {}, []
    for clip in sorted(dataset.clips, key=lambda clip: clip.clip_id):
        path, why = disk.find(clip.path)
        if path is None:
            missing.append(clip.clip_id)
            missing_paths.append(clip.path)
            if why:
                why_missing[clip.clip_id] = why
        else:
            found.append(replace(clip, path=path))
            renamed += [found[-1]] if path != clip.path else []
    sounds = Counter((clip.path, clip.segment) for clip in found) if renamed else {}
    if twice := [clip.path for clip in renamed if sounds[clip.path, clip.segment] > 1]:
        raise DataError(f"File {file_name(twice[0])} is listed twice in {metadata}, in two forms. {restore}.")
    if missing and (not allow_missing or not found):
        where = f"in {metadata}" if metadata == dataset.root else f"listed in {metadata}"
        reason = f" {why_missing[min(why_missing)]}" if why_missing else ""
        raise MissingDataError(
            f"{len(missing):,} of the {len(dataset.clips):,} clips {where} are missing under {dataset.root}: "
            f"{', '.join(first_few(missing, show=printable))}.{reason} Restore them"
            + (
                ", or set `data.allow_missing=true` to continue without them (the report will show how many)."
                if found
                else "."
            )
        )

    def identify(path: Path) -> tuple[int, int]:
        n_bytes = disk.files(path.parent)[path.name]
        return n_bytes, _checksum(path, n_bytes)

    files = list(dict.fromkeys(clip.path for clip in found))
    # Many threads, since they wait for disks and do not compute.
    with ThreadPoolExecutor(16) as pool:
        identified = dict(zip(files, pool.map(identify, files), strict=True))
    clips = tuple(
        replace(clip, n_bytes=n_bytes, checksum=checksum)
        for clip in found
        for n_bytes, checksum in (identified[clip.path],)
    )
    return replace(
        dataset, clips=clips, missing=tuple(missing), missing_paths=tuple(missing_paths), why_missing=why_missing
    )


def read_rows(
    path: Path,
    columns: Sequence[str],
    *,
    lacking: str,
    remedy: str,
    optional: Sequence[str] = (),
    check_columns: Callable[[Sequence[str]], None] = lambda names: None,
) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file, each with its position for error messages.

    Args:
        path: The file; its first line names the columns.
        columns: Required columns.
        optional: Optional columns, at most once each.
        lacking: Remedy for a missing column.
        remedy: Remedy for an invalid file.
        check_columns: Called with all columns before missing ones are reported; may raise a more specific error.

    Raises:
        DataError: If a required column is missing or duplicated, the file is not CSV in UTF-8, or it has too many rows
            or a row that is too long.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = _Lines(file, path)
            rows = csv.DictReader(lines)
            names = list(rows.fieldnames or ())
            check_columns(names)
            for column in (*columns, *(name for name in optional if name in names)):
                if names.count(column) != 1:
                    fault = f"names `{column}` twice" if column in names else f"has no column `{column}`"
                    raise DataError(f"{path} {fault}; its columns are {shown(rows.fieldnames)}. {lacking}")
            for n_rows, row in enumerate(rows, start=1):
                check_count(n_rows, path)
                lines.begin_row()
                yield f"{path}, line {rows.line_num}", row
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}. {remedy}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. {remedy}") from error


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The non-empty lines of a text file, each with its position for error messages.

    Raises:
        DataError: If it is not UTF-8 text, or has too many lines or a line that is too long.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = _Lines(file, path)
            for number, line in enumerate(lines, start=1):
                check_count(number, path)
                lines.begin_row()
                if line.strip():
                    yield f"{path}, line {number}", line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8: {error}. Restore the official file.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Restore the official file.") from error


class _Lines(Iterator[str]):
    """The lines of a metadata file, with a limit on the total length of a row."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file, self._path = file, path
        self.begin_row()

    def begin_row(self) -> None:
        self._n_characters = 0

    def __next__(self) -> str:
        line = self._file.readline(_LONGEST_ROW + 1)
        self._n_characters += len(line)
        if self._n_characters > _LONGEST_ROW:
            raise DataError(
                f"{self._path} may have at most {_LONGEST_ROW:,} characters per row. Received: more, perhaps from an "
                "unclosed quotation mark. Restore or correct it."
            )
        if not line:
            raise StopIteration
        return line


def check_count(n_clips: int, metadata: Path) -> None:
    """Limits the number of clips while a list is read, so that an endless one does not fill the memory.

    Raises:
        DataError: If there are too many clips.
    """
    if n_clips > MOST_CLIPS:
        raise DataError(f"{metadata} may list at most {MOST_CLIPS:,} clips. Received: more. Restore or split it.")


def _checksum(path: Path, n_bytes: int) -> int:
    """CRC of three blocks of 4 KiB of a file; 0 if it cannot be read, which decoding will report."""
    # The header, which may be corrected alone; the middle, since many recordings start and end with silence; the end.
    starts = (0, (n_bytes - _CHECKED_BYTES) // 2, n_bytes - _CHECKED_BYTES)
    checksum = 0
    try:
        with path.open("rb") as file:
            for start in starts:
                file.seek(max(0, start))
                checksum = zlib.crc32(file.read(_CHECKED_BYTES), checksum)
    except OSError:
        return 0
    return checksum


def is_synthetic(root: Path) -> bool:
    """Whether the data set in `root` was made by `loglearn_tf.datasets.synthetic`."""
    return (root / SYNTHETIC_MARKER).is_file()


class _Disk:
    """The contents of folders, each listed only once."""

    def __init__(self) -> None:
        self._files: dict[Path, dict[str, int]] = {}
        self._forms: dict[Path, dict[str, list[str]]] = {}  # composed, small letters -> names there

    def files(self, folder: Path) -> dict[str, int]:
        """Names of the files in a folder, with their sizes; empty if it does not exist or its name is invalid."""
        if folder not in self._files:
            self._list(folder)
        return self._files[folder]

    def find(self, path: Path) -> tuple[Path | None, str]:
        """The path of a file, perhaps under another form of its name, or the reason why it is missing, if known."""
        from loglearn_tf.audio.faults import not_found  # imports soundfile

        if path.name in self.files(path.parent):
            return path, ""
        if os.path.islink(path) and not os.path.exists(path):
            return None, str(not_found(path))
        if os.path.lexists(path):
            return None, f"{file_name(path)} is not a file."
        if len(str(path)) > _LONGEST_PATH:
            return None, ""
        at = path.parent
        while not os.path.isdir(at) and at != at.parent:
            at = at.parent
        for name in path.parts[len(at.parts) :]:
            near = self._near(at, name)
            same = [other for other in near if _nfc(other) == _nfc(name)]
            if name not in near and len(same) != 1:
                differ = "Unicode normalisation" if same else "capitals"
                found = ", ".join(map(ascii, near))
                several = f"{file_name(at / name)} is missing; found with other {differ}: {found}."
                return None, several if near else ""
            at /= name if name in near else same[0]
        return (at, "") if at.name in self.files(at.parent) else (None, "")

    def _near(self, folder: Path, name: str) -> list[str]:
        self.files(folder)
        return self._forms[folder].get(_nfc(name).casefold(), [])

    def _list(self, folder: Path) -> None:
        files: dict[str, int] = {}
        forms: dict[str, list[str]] = {}
        self._files[folder], self._forms[folder] = files, forms
        if not os.path.isdir(folder):
            return
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    forms.setdefault(_nfc(entry.name).casefold(), []).append(entry.name)
                    # A link to itself raises.
                    if os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file(follow_symlinks=False):
                        files[entry.name] = entry.stat().st_size
        except OSError as error:
            raise DataError(f"Folder {folder} cannot be listed: {error.strerror}. Check its permissions.") from error


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _ranges(numbers: "Sequence[int] | dict[int, tuple[int, ...]]") -> str:
    return ", ".join(str(number) for number in sorted(numbers)) or "none"
