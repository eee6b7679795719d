"""The section on classes by source recording: the recordings behind a difference in recall."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf.analysis.answers import StudyAnswers, by_recordings
from loglearn_tf.analysis.names import (
    compression_name,
    compressions_in_order,
    dataset_name,
    datasets_in_order,
    model_name,
    models_in_order,
)
from loglearn_tf.analysis.recordings import FEWEST_RECORDINGS, ClipDifferences, TwoWay, by_class, weights_of
from loglearn_tf.analysis.report.document import Block, Paragraph
from loglearn_tf.analysis.report.escape import file_stem
from loglearn_tf.analysis.report.part import Drawing, Finished, Part
from loglearn_tf.analysis.report.table import Cell, Table, points, points_interval
from loglearn_tf.datasets.n_shot import in_order
from loglearn_tf.errors import DataError

_BASELINE = "logeps"
# Number of recordings named for each class.
_MOST_NAMED = 2
_LABELS = ("data", "dataset", "model", "compression", "baseline", "n_shot", "score", "class")
_COLUMNS = (
    *(*_LABELS, "n_recordings", "effective_recordings", "n_clips", "n_runs", "difference_points"),
    *("low_points", "high_points", "no_interval"),
)
_BY_RECORDING = (*_LABELS, "recording", "folds", "n_clips", "n_answers", "difference_points", "part_points")


@dataclass(frozen=True)
class _Recording:
    """The effect of one recording on the difference of its class.

    Attributes:
        name: Name of the recording.
        folds: Test folds that its clips are in.
        n_clips, n_answers: Its clips of the class; clips times runs.
        difference: Mean over its answers, as a fraction.
        part: Its contribution to the class difference; the contributions of all recordings add up to it.
    """

    name: str
    folds: tuple[int, ...]
    n_clips: int
    n_answers: int
    difference: float
    part: float


def make(finished: Finished) -> Part | None:
    """The section; `None` if nothing is compared with log-EPS."""
    compared = [one for one in finished.comparisons if one.baseline == _BASELINE]
    if not compared:
        return None
    blocks: list[Block | Drawing] = [
        Paragraph(
            "Clips of one recording tend to be classified correctly or wrongly together, so results for a class with "
            "few recordings reflect these recordings. The largest n of each network is shown; the interval is by "
            f"recordings and runs. Classes with fewer than {FEWEST_RECORDINGS} effective recordings have no interval. "
            "Not corrected for the number of classes."
        )
    ]
    files: dict[str, bytes] = {}
    answers = StudyAnswers(finished.study_dir, finished.done)
    for dataset in datasets_in_order(finished.done):
        ours = [one for one in compared if one.dataset == dataset]
        if ours:
            compressions = compressions_in_order(one.compression for one in ours)
            # The subject of the study, or the first compression if it is missing.
            shown = "loglearn" if "loglearn" in compressions else compressions[0]
            cells = {(one.model, one.n_shot) for one in ours if one.compression == shown}
            found, more = _of_data_set(finished, answers, dataset, shown, cells)
            blocks += found
            files |= more
    return Part("recordings", "Classes and recordings", blocks, files)


def _of_data_set(
    finished: Finished, answers: StudyAnswers, dataset: str, compression: str, cells: set[tuple[str, Any]]
) -> tuple[list[Block | Drawing], dict[str, bytes]]:
    title = f"{dataset_name(dataset)}, {compression_name(compression)} minus log-EPS"
    body, records, by_recording = [], [], []
    synthetic = any(row["synthetic"] for row in finished.done if row["dataset"] == dataset)
    lacking: list[str] = []
    for model in models_in_order(model for model, _ in cells):
        n_shot = in_order(n for name, n in cells if name == model)[-1]
        try:
            known = answers.recordings(dataset)
            pairs = answers.pairs(dataset, model, n_shot, compression, _BASELINE, score=finished.score)
            if not known:
                raise DataError("the recordings of its clips are unknown, since its runs are of an earlier version.")
            clips = by_recordings(pairs, known)
            if clips is None:
                raise DataError("the recording of a clip is unknown.")
            found = by_class(clips)
        except DataError as error:
            lacking.append(f"{title}, {model_name(model)}: no results by recording: {error}")
            continue
        names = {
            **{"data": "synthetic" if synthetic else "real", "dataset": dataset, "model": model},
            **{"compression": compression, "baseline": _BASELINE, "n_shot": n_shot, "score": finished.score},
        }
        for label, of in found.items():
            recordings = _recordings(clips.of_class(label))
            mean = sum(one.part for one in recordings)
            low, high = (None, None) if isinstance(of, str) else of.interval(finished.confidence)
            reason = of if isinstance(of, str) else of.too_few or ("" if low is not None else "nothing varied")
            named = {**names, "class": label}
            records.append(
                {
                    **named,
                    "n_recordings": len(recordings),
                    "effective_recordings": None if isinstance(of, str) else round(of.effective_recordings, 2),
                    "n_clips": sum(one.n_clips for one in recordings),
                    "n_runs": len(set(zip(clips.fold.tolist(), clips.run.tolist(), strict=True))),
                    "difference_points": _points(mean),
                    **{"low_points": _points(low), "high_points": _points(high), "no_interval": reason},
                }
            )
            by_recording += [
                {
                    **named,
                    **{"recording": one.name, "folds": " ".join(map(str, one.folds))},
                    **{"n_clips": one.n_clips, "n_answers": one.n_answers},
                    **{"difference_points": _points(one.difference), "part_points": _points(one.part)},
                }
                for one in recordings
            ]
            body.append(
                (
                    (f"{model_name(model)}, n = {n_shot}", str(label)),
                    (
                        Cell(f"{len(recordings):,}", interval=_as_uneven(of, len(recordings))),
                        Cell(points(mean), interval=points_interval(low, high) or "no interval"),
                        Cell(_named(recordings)),
                    ),
                )
            )
    blocks: list[Block | Drawing] = [Paragraph(sentence) for sentence in lacking]
    if not body:
        return blocks, {}
    table = Table(
        caption=f"{title}{' (SYNTHETIC DATA)' * synthetic}: recall of each class, points of {finished.score} score, "
        "and the recordings behind it",
        head=("Network", "Class", "Recordings", "Difference", "Largest contributions"),
        body=tuple(body),
        notes=(
            "Recordings: below, the effective number: with as many equal ones, the error would be known as exactly. "
            "Difference: mean over clips, runs, then folds.",
            "Largest contributions: the recordings that contribute most to the difference, in points; all "
            "contributions add up to it. The full list is in tables/*-table-by-recording.csv.",
        ),
        columns=_COLUMNS,
        records=tuple(records),
        stem=file_stem(dataset, "table", "recordings"),
    )
    return [table, *blocks], {file_stem(dataset, "table", "by-recording"): csv_bytes(_BY_RECORDING, by_recording)}


def _recordings(clips: ClipDifferences) -> list[_Recording]:
    """The recordings of one class, the largest contributions first."""
    weight = weights_of(clips, "folds")
    at: dict[str, list[int]] = {}
    for number, name in enumerate(clips.recording):
        at.setdefault(str(name), []).append(number)
    runs_of_fold = {int(fold): len(np.unique(clips.run[clips.fold == fold])) for fold in np.unique(clips.fold)}
    found = []
    for name, numbers in at.items():
        folds = clips.fold[numbers]
        n_clips = sum(int((folds == fold).sum()) / runs_of_fold[int(fold)] for fold in np.unique(folds))
        found.append(
            _Recording(
                name=name,
                folds=tuple(np.unique(folds).tolist()),
                n_clips=round(n_clips),
                n_answers=len(numbers),
                difference=float(clips.difference[numbers].mean()),
                part=float((weight * clips.difference)[numbers].sum()),
            )
        )
    return sorted(found, key=lambda one: (-abs(one.part), one.name))


def _as_uneven(of: TwoWay | str, n_recordings: int) -> str:
    if isinstance(of, str) or n_recordings - of.effective_recordings < 0.5:
        return ""
    return f"effective: {of.effective_recordings:.1f}"


def _named(recordings: Iterable[_Recording]) -> str:
    largest = [one for one in recordings if points(one.part) != points(0)][:_MOST_NAMED]
    return ", ".join(f"{one.name}: {points(one.part)}" for one in largest)


def _points(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 4)
