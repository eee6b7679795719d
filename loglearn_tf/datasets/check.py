"""Checks a whole data set, clip by clip, for missing, unreadable, silent, duplicate or wrongly listed clips."""

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf._util.files import write_bytes
from loglearn_tf._util.progress import OnProgress, Progress
from loglearn_tf._util.text import first_few, printable
from loglearn_tf.audio import Decoded, Origin, decode, decode_segments
from loglearn_tf.audio.wav import A_LAW, FLOAT, GSM, IMA_ADPCM, MS_ADPCM, MU_LAW, PCM
from loglearn_tf.datasets.advice import Advice, advise
from loglearn_tf.datasets.clips import Clip, DataSet, by_file
from loglearn_tf.datasets.registry import DATASETS, Corpus
from loglearn_tf.datasets.search import Entry, check_listed, search
from loglearn_tf.errors import AudioError, MissingDataError, NonFiniteSamplesError

ERRORS = ("missing", "unreadable", "not finite", "left out", "duplicate across folds", "duplicate across classes")
WARNINGS = ("stray", "odd file", "too short", "silent", "clipped", "duplicate", "other duration")
NOTES = ("shorter than a patch", "linked again", "hidden", "beside", "unused")
_NO_CLIPS = {"left out", "stray", "linked again", "hidden", "beside", "unused"}

_PATCH_SAMPLES = 127 * 1024  # at 44.1 kHz; centred, that makes 128 frames
_SHORTEST_S = 0.05  # UrbanSound8K's shortest clip has 0.0545 s
_CLIPPED_SHARE = 0.01
_DURATION_TOLERANCE_S = 0.05
# Decoded ahead of the report; an interrupt waits for at most these.
_AHEAD = 64
_TAGS = {PCM: "PCM", FLOAT: "float", A_LAW: "A-law", MU_LAW: "mu-law", GSM: "GSM"}
_TAGS |= {MS_ADPCM: "MS ADPCM", IMA_ADPCM: "IMA ADPCM"}

FORMATS_HEAD = ("format", "bits", "Hz", "channels", "clips")
CSV_COLUMNS = (
    "clip",
    "file",
    "class",
    "fold",
    "findings",
    "format",
    "bits",
    "channels",
    "sample_rate",
    "frames",
    "seconds",
    "listed_seconds",
    "peak",
    "full_scale_share",
    "same_sound_as",
    "decoder",
    "message",
)


@dataclass(frozen=True)
class CheckedClip:
    """One clip, or a file that is not a clip.

    Attributes:
        name: The clip's id; for other files the path in the data set.
        file: Its path in the data set, if it has one.
        label: Class; empty for missing clips and other files.
        fold: Fold of the clip.
        listed_s: Its length in the metadata, seconds.
        origin: Format of the file; None if it cannot be read.
        digest: Digest of its samples, rate and number of channels.
        peak: Largest absolute sample.
        full_scale_share: Share of its samples at or beyond full scale.
        findings: Members of `ERRORS`, `WARNINGS` and `NOTES`.
        same_sound_as: Names of the clips with the same samples.
        message: Details, if the finding alone does not explain the problem.
    """

    name: str
    file: str = ""
    label: str = ""
    fold: int | None = None
    listed_s: float | None = None
    origin: Origin | None = None
    digest: bytes = b""
    peak: float = 0.0
    full_scale_share: float = 0.0
    findings: tuple[str, ...] = ()
    same_sound_as: tuple[str, ...] = ()
    message: str = ""

    @property
    def seconds(self) -> float | None:
        """Length after decoding."""
        return None if self.origin is None else self.origin.frames / self.origin.sample_rate


@dataclass(frozen=True)
class DataReport:
    """Result of `check_data`: every clip of the data set, then every other file in its folders, and advice on its
    folds."""

    dataset: DataSet
    clips: tuple[CheckedClip, ...]
    advice: tuple[Advice, ...] = ()
    _by_finding: dict[str, list[CheckedClip]] = field(init=False, default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for clip in self.clips:
            for finding in clip.findings:
                self._by_finding[finding].append(clip)

    def found(self, finding: str) -> Sequence[CheckedClip]:
        """The clips with a finding."""
        return self._by_finding.get(finding, ())

    @property
    def n_errors(self) -> int:
        """Clips and other files with an error."""
        return sum(not set(ERRORS).isdisjoint(clip.findings) for clip in self.clips)

    @property
    def n_warnings(self) -> int:
        """Clips and other files with a warning."""
        return sum(not set(WARNINGS).isdisjoint(clip.findings) for clip in self.clips)


def check_data(
    root: str | Path, *, name: str | None = None, workers: int = 1, on_progress: OnProgress | None = None
) -> DataReport:
    """Reads every clip of a data set and compares it with the metadata and all other clips.

    Clips count as the same sound if their samples, rate and channels are equal, whatever their file formats; silent
    ones are not compared. Clips in class-named folders get five folds, the default of `load_folder`.

    Args:
        root: See `load_dataset`.
        name: A name in `DATASETS`, or your own data set as `module:attribute`; None to detect it from the layout.
        workers: Number of decoding threads.
        on_progress: Called for every clip.

    Raises:
        MissingDataError: If there is no such folder, no metadata, none of the clips, or a folder cannot be listed.
        DataError: If the metadata is not in the official form, or the folders are clearly not classes.
    """
    root = Path(root)
    if not root.exists():
        raise MissingDataError(f"File or folder not found: {root}. Check the path.")
    corpus = DATASETS[name or detect_layout(root)]
    # As lenient as possible: missing clips and stray files are reported later, and two folds are enough.
    dataset = corpus(root, validation_fold="none", allow_missing=True, allow_stray=True)
    listed_s = corpus.listed_seconds(dataset)

    def check(clips: Sequence[Clip]) -> list[CheckedClip]:
        return [judged(clip, decoded) for clip, decoded in zip(clips, _decoded(clips), strict=True)]

    def judged(clip: Clip, decoded: Decoded | AudioError) -> CheckedClip:
        file = relative(clip.path)
        checked = CheckedClip(clip.clip_id, file, dataset.classes[clip.label], clip.fold, listed_s.get(clip.clip_id))
        if isinstance(decoded, AudioError):
            finding = "not finite" if isinstance(decoded, NonFiniteSamplesError) else "unreadable"
            return replace(checked, findings=(finding,), message=str(decoded))
        return _measured(checked, decoded)

    def relative(path: Path) -> str:
        return _relative(path, dataset.root)

    checked = []
    progress = Progress(on_progress, "Clips", len(dataset.clips))
    with ThreadPoolExecutor(workers) as pool:
        left = iter(dataset.clips)
        while batch := list(itertools.islice(left, _AHEAD)):
            for clip in itertools.chain.from_iterable(pool.map(check, by_file(batch))):
                checked.append(clip)
                progress.advance(failed=clip.origin is None)
    checked.sort(key=lambda clip: clip.name)
    why = dataset.why_missing
    missing = [CheckedClip(name, findings=("missing",), message=why.get(name, "")) for name in dataset.missing]
    unused = [CheckedClip(file, file, findings=("unused",)) for file in map(relative, dataset.unused)]
    return DataReport(
        dataset,
        (*_with_duplicates(checked), *missing, *unused, *_no_clips(corpus, dataset, root)),
        advice=tuple(advise(dataset)),
    )


def _decoded(clips: Sequence[Clip]) -> Iterator[Decoded | AudioError]:
    """Reads one file, or segments of one, ordered by start."""
    segments = [clip.segment for clip in clips if clip.segment is not None]
    if segments:
        yield from decode_segments(clips[0].path, segments)
        return
    try:
        yield decode(clips[0].path)
    except AudioError as error:
        yield error


def detect_layout(root: Path) -> str:
    """The data set of the package with this layout, otherwise `"folder"`."""
    for name in DATASETS:
        corpus = DATASETS.own(name)
        if corpus is not None and corpus.is_at(root):
            return name
    return "folder"


def _no_clips(corpus: Corpus, dataset: DataSet, root: Path) -> Iterator[CheckedClip]:
    """Files in the folders of clips that are not clips."""
    folders = corpus.clip_folders(dataset, root)
    among_others = folders is None  # where only sound files are of interest
    if folders is None:
        folders = sorted({clip.path.parent for clip in dataset.clips})
    entries = search([folder for folder in folders if folder.is_dir()], deep=not among_others)
    check_listed(entries)
    # Class-named folders: no list says what should be there, so unread files must be reported.
    by_class = dataset.name == "folder" and dataset.root in folders
    accounted = {clip.path for clip in dataset.clips} | {*dataset.missing_paths, *dataset.unused}
    for entry in entries:
        if entry.path in accounted or (among_others and entry.kind not in ("sound", "odd name")):
            continue
        finding = _finding(entry, by_class=by_class, beside=entry.path.parent == dataset.root)
        file = _relative(entry.path, dataset.root)
        yield CheckedClip(file, file, findings=(finding,), message=entry.remark)


def _finding(entry: Entry, *, by_class: bool, beside: bool) -> str:
    if entry.kind == "hidden" or (entry.kind == "linked again" and not (by_class and beside)):
        return entry.kind
    if by_class and entry.kind != "other":
        return "left out"
    return "beside" if by_class and beside else "stray"


def _relative(path: Path, root: Path) -> str:
    # A CSV file may list recordings in other folders.
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _measured(clip: CheckedClip, decoded: Decoded) -> CheckedClip:
    samples, origin = decoded.samples, decoded.origin
    shape = np.array([origin.sample_rate, origin.channels], "<i8").tobytes()
    digest = hashlib.blake2b(np.ascontiguousarray(samples, "<f4").tobytes(), key=shape, digest_size=16).digest()
    low, high = float(samples.min()), float(samples.max())
    at_full_scale = (np.abs(samples) >= _full_scale(origin)).mean()
    clip = replace(clip, origin=origin, digest=digest, peak=max(high, -low), full_scale_share=float(at_full_scale))
    seconds = origin.frames / origin.sample_rate
    findings = {
        "odd file": bool(origin.remark),
        "too short": seconds < _SHORTEST_S,
        "silent": low == high,  # at zero, or at a constant voltage
        "clipped": clip.full_scale_share >= _CLIPPED_SHARE and low < high,
        "other duration": clip.listed_s is not None and abs(seconds - clip.listed_s) > _DURATION_TOLERANCE_S,
        "shorter than a patch": seconds * 44_100 < _PATCH_SAMPLES,
    }
    return replace(clip, findings=tuple(name for name, is_so in findings.items() if is_so))


def _full_scale(origin: Origin) -> float:
    """The largest value that both signs can reach."""
    if origin.format_tag in (A_LAW, MU_LAW):
        return 0.98  # 32256 and 32124 of 32768
    is_integer = origin.bits is not None and origin.format_tag in (PCM, None) and origin.bits <= 24
    # Floats and lossy formats: as for 16 bits, the original depth of most recordings.
    return float(1 - 2.0 ** (1 - origin.bits)) if is_integer and origin.bits else 1 - 2.0**-15


def _with_duplicates(clips: Iterable[CheckedClip]) -> list[CheckedClip]:
    clips = list(clips)
    same: dict[bytes, list[CheckedClip]] = defaultdict(list)
    for clip in clips:
        if clip.digest and "silent" not in clip.findings:
            same[clip.digest].append(clip)
    marked = []
    for clip in clips:
        others = [other for other in same.get(clip.digest, ()) if other is not clip]
        if others:
            findings = {
                "duplicate across folds": any(other.fold != clip.fold for other in others),
                "duplicate across classes": any(other.label != clip.label for other in others),
            }
            found = [name for name, is_so in findings.items() if is_so] or ["duplicate"]
            clip = replace(clip, findings=(*found, *clip.findings), same_sound_as=tuple(other.name for other in others))
        marked.append(clip)
    return marked


# ---- Output -----------------------------------------------------------------------------------------------------


def summary(report: DataReport) -> str:
    """The report as text: counts and the first few examples of each finding."""
    dataset = report.dataset
    n_clips = len(dataset.clips) + len(dataset.missing)
    synthetic = "SYNTHETIC " if dataset.synthetic else ""
    lines = [f"{synthetic}{dataset.name} in {printable(str(dataset.root))}: {n_clips:,} clips"]
    for title, findings in (("error", ERRORS), ("warning", WARNINGS), ("note", NOTES)):
        for finding in findings:
            clips = report.found(finding)
            if clips:
                lines.append(f"\n{title}: {len(clips):,} {finding}: {_MEANING[finding]}")
                lines += [f"  {line}" for line in first_few(clips, show=partial(_describe, finding=finding))]
    lines += [f"\nadvice: {one.about}: {one.text}" for one in report.advice]
    verdict = "No problems found." if not (report.n_errors or report.n_warnings) else ""
    lines.append("\n" + (verdict or f"{report.n_errors:,} files with errors, {report.n_warnings:,} with warnings."))
    return "\n".join(lines)


_MEANING = {
    "missing": "listed or linked to, but not on disk",
    "unreadable": "cannot be decoded",
    "not finite": "contain NaN, infinite or absurdly large samples",
    "duplicate across folds": "the same sound is in training and test sets",
    "duplicate across classes": "the same sound has two labels",
    "left out": "possible sounds or classes that cannot be read as they are; a study refuses them",
    "stray": "files that are not clips of the data set; ignored",
    "too short": f"less than {1000 * _SHORTEST_S:.0f} ms",
    "odd file": "fully readable, but with malformed headers or pages",
    "silent": "every sample has the same value",
    "clipped": f"{100 * _CLIPPED_SHARE:.0f} % of the samples or more are at full scale",
    "duplicate": "the same sound twice in one class and fold",
    "other duration": f"differs from the metadata by more than {1000 * _DURATION_TOLERANCE_S:.0f} ms",
    "shorter than a patch": f"less than 128 frames ({_PATCH_SAMPLES / 44_100:.2f} s); repeated to fill a patch",
    "linked again": "links to folders that are already read or that contain the link; not followed",
    "hidden": "hidden, or created by the system or a tool; ignored",
    "beside": "files next to the class folders; ignored",
    "unused": "part of the data set, but in no class or list; ignored",
}


def _describe(clip: CheckedClip, finding: str) -> str:
    name = printable(clip.name)
    if finding in ("unreadable", "not finite"):
        return printable(clip.message)
    if finding in {"missing", *_NO_CLIPS}:
        return printable(
            clip.message if clip.name in clip.message else f"{clip.name}: {clip.message}".removesuffix(": ")
        )
    if finding.startswith("duplicate"):
        others = ", ".join(first_few(clip.same_sound_as, show=printable))
        return f"{name} ({clip.label}, fold {clip.fold}): the same as {others}"
    details: dict[str, Callable[[], str]] = {
        "odd file": lambda: "" if clip.origin is None else clip.origin.remark,
        "too short": lambda: f"{clip.seconds:.4f} s",
        "shorter than a patch": lambda: f"{clip.seconds:.2f} s",
        "silent": lambda: f"{clip.seconds:.2f} s, constant {clip.peak:g}",
        "clipped": lambda: f"{100 * clip.full_scale_share:.1f} %",
        "other duration": lambda: f"{clip.seconds:.3f} s, listed as {clip.listed_s:.3f} s",
    }
    return f"{name}: {details[finding]()}" if finding in details else name


def formats(report: DataReport) -> list[tuple[str, ...]]:
    """Rows under `FORMATS_HEAD`: number of clips in each format, the most frequent first."""
    counts = Counter(
        (_format(clip.origin), clip.origin.bits or 0, clip.origin.sample_rate, clip.origin.channels)
        for clip in report.clips
        if clip.origin is not None
    )
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [
        (name, str(bits or "-"), f"{rate:,}", str(channels), f"{n:,}") for (name, bits, rate, channels), n in ordered
    ]


def _format(origin: Origin) -> str:
    if origin.format_tag is None:
        return origin.container
    return f"{origin.container} {_TAGS.get(origin.format_tag, hex(origin.format_tag))}"


def write_csv(report: DataReport, path: Path, *, spreadsheet_safe: bool = False) -> None:
    """Writes one row for each clip, then one for each other file, with the columns `CSV_COLUMNS`.

    Args:
        report: Result of `check_data`.
        path: Output file.
        spreadsheet_safe: Whether to prefix text that a spreadsheet would run as a formula with an apostrophe.

    Raises:
        StorageError: If the file cannot be written.
    """
    write_bytes(path, csv_bytes(CSV_COLUMNS, map(_csv_row, report.clips), spreadsheet_safe=spreadsheet_safe))


def _csv_row(clip: CheckedClip) -> dict[str, Any]:
    row: dict[str, Any] = {
        "clip": "" if _NO_CLIPS.intersection(clip.findings) else clip.name,
        "file": clip.file,
        "class": clip.label,
        "fold": clip.fold,
        "findings": "; ".join(clip.findings),
        "listed_seconds": None if clip.listed_s is None else f"{clip.listed_s:.6f}",
        "same_sound_as": "; ".join(clip.same_sound_as),
        "message": clip.message,
    }
    if (origin := clip.origin) is not None:
        row |= {name: getattr(origin, name) for name in ("bits", "channels", "sample_rate", "frames", "decoder")}
        row |= {"format": _format(origin), "seconds": f"{clip.seconds:.6f}", "peak": f"{clip.peak:.6g}"}
        row["full_scale_share"] = f"{clip.full_scale_share:.6f}"
    return row
