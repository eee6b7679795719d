"""Reads from run folders which test clips each run classified correctly, and the recording of each clip."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loglearn_tf.analysis.recordings import ClipDifferences
from loglearn_tf.analysis.results import FloatArray, check_score
from loglearn_tf.datasets.n_shot import NShot
from loglearn_tf.errors import DataError
from loglearn_tf.study.run_folder import Row, folder_of

# File of each score.
PREDICTIONS = {"published": "predictions.csv", "settled": "predictions_settled.csv"}
# In every settled table; published tables keep their form from before clips had recordings.
_RECORDING = "recording"


@dataclass(frozen=True)
class Answers:
    """The answers of one run.

    Attributes:
        clips: Ids of its test clips.
        classes: `(n,)` the class of each.
        right: `(n,)` whether it was predicted.
    """

    clips: tuple[str, ...]
    classes: tuple[str, ...]
    right: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PairedAnswers:
    """The difference of a pair of runs that differ only in compression.

    Attributes:
        fold, run: Fold and run of both.
        clips, classes: As in `Answers`.
        difference: `(n,)`: correct with one minus correct with the other.
    """

    fold: int
    run: int
    clips: tuple[str, ...]
    classes: tuple[str, ...]
    difference: FloatArray


class StudyAnswers:
    """The answers of all runs in the folder of a study or part; each file is read when first needed.

    Args:
        study_dir: The folder.
        rows: Its runs, from `run_folder.read_runs`.
    """

    def __init__(self, study_dir: Path, rows: Iterable[Row]) -> None:
        self._study_dir = study_dir
        self._rows: dict[tuple[str, str, str, NShot], dict[tuple[int, int], Row]] = {}
        for row in rows:
            if row["status"] == "done":
                cell = row["dataset"], row["model"], row["compression"], row["n_shot"]
                self._rows.setdefault(cell, {})[row["fold"], row["run"]] = row
        self._answers: dict[tuple[Path, str], Answers] = {}
        # Runs of a fold have the same clips; they are stored once, since there are thousands.
        self._columns: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._recordings: dict[str, dict[str, str]] = {}

    def pairs(
        self,
        dataset: str,
        model: str,
        n_shot: NShot,
        compression: str,
        baseline: str,
        *,
        score: str = "published",
        baseline_from: "StudyAnswers | None" = None,
    ) -> list[PairedAnswers]:
        """All pairs of one cell, ordered by fold and run; may be empty.

        Args:
            dataset, model, n_shot, compression, baseline: The cell.
            score: Score of both.
            baseline_from: Another part of the study, to take the baseline's runs from.

        Raises:
            ConfigError: If there is no such score.
            DataError: If a run's predictions are missing or malformed, or the runs of a pair have different clips.
        """
        check_score(score)
        other_part = baseline_from or self
        ours = self._rows.get((dataset, model, compression, n_shot), {})
        theirs = other_part._rows.get((dataset, model, baseline, n_shot), {})
        found = []
        for fold, run in sorted(ours.keys() & theirs.keys()):
            one, other = self._read(ours[fold, run], score), other_part._read(theirs[fold, run], score)
            if one.clips != other.clips:
                mine, its = self._path(ours[fold, run], score), other_part._path(theirs[fold, run], score)
                raise DataError(
                    f"{mine} and {its} must list the same test clips in the same order. Received: "
                    f"{len(one.clips):,} and {len(other.clips):,} clips, which differ. Remove both folders; the runs "
                    "are then repeated."
                )
            difference = one.right.astype(np.float64) - other.right
            found.append(PairedAnswers(fold, run, one.clips, one.classes, difference))
        return found

    def compressions(self, dataset: str, model: str) -> set[str]:
        """Compressions with a finished run."""
        return {name for of, network, name, _ in self._rows if (of, network) == (dataset, model)}

    def recordings(self, dataset: str) -> dict[str, str]:
        """Clip -> the recording it was cut from; empty if no run has this, as in earlier versions.

        Raises:
            DataError: If a table of predictions is malformed.
        """
        if dataset not in self._recordings:
            found: dict[str, str] = {}
            folds = set()
            for (name, *_), rows in self._rows.items():
                for (fold, _), row in rows.items() if name == dataset else ():
                    path = self._path(row, "settled")
                    if fold not in folds and path.is_file():
                        lines = _columns(path, "clip_id", _RECORDING)
                        found |= dict(zip(*lines, strict=True))
                        folds.add(fold)
            self._recordings[dataset] = found
        return self._recordings[dataset]

    def _read(self, row: Row, score: str) -> Answers:
        path = self._path(row, score)
        if (path, score) not in self._answers:
            clips, classes, predicted = _columns(path, "clip_id", "class", "predicted")
            right = np.array([true == said for true, said in zip(classes, predicted, strict=True)])
            clips, classes = (self._columns.setdefault(column, column) for column in (clips, classes))
            self._answers[path, score] = Answers(clips, classes, right)
        return self._answers[path, score]

    def _path(self, row: Row, score: str) -> Path:
        return self._study_dir / folder_of(row) / PREDICTIONS[score]


def by_recordings(pairs: Iterable[PairedAnswers], recordings: dict[str, str]) -> ClipDifferences | None:
    """The pairs of one cell for `recordings.two_way`; `None` if the recording of a clip is unknown."""
    found = list(pairs)
    if not found or not all(clip in recordings for pair in found for clip in pair.clips):
        return None
    lengths = [len(pair.clips) for pair in found]
    return ClipDifferences(
        difference=np.concatenate([pair.difference for pair in found]),
        fold=np.repeat([pair.fold for pair in found], lengths),
        run=np.repeat([pair.run for pair in found], lengths),
        recording=[recordings[clip] for pair in found for clip in pair.clips],
        label=[name for pair in found for name in pair.classes],
    )


def _columns(path: Path, *names: str) -> tuple[tuple[str, ...], ...]:
    """Columns of a CSV file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            head = next(reader, [])
            at = [head.index(name) for name in names]
            lines = [[line[place] for place in at] for line in reader]
        if not lines:
            raise ValueError("it is empty")
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise DataError(
            f"Cannot read the predictions {path}: {error}. Remove the run's folder; the run is then repeated."
        ) from (error)
    return tuple(zip(*lines, strict=True))
