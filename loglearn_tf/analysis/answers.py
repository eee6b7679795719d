"""Which test clips each run got right, and which recording each clip was cut from: read back from run folders."""

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

# Of each score.
PREDICTIONS = {"published": "predictions.csv", "settled": "predictions_settled.csv"}
# In every settled table; published ones are as they were before clips knew their recordings.
_RECORDING = "recording"


@dataclass(frozen=True)
class Answers:
    """Of one run.

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
    """Of one pair of runs, that differ in their compression alone.

    Attributes:
        fold, run: Of both.
        clips, classes: As those of `Answers`.
        difference: `(n,)`: right with one less right with the other.
    """

    fold: int
    run: int
    clips: tuple[str, ...]
    classes: tuple[str, ...]
    difference: FloatArray


class StudyAnswers:
    """The answers of all runs in a study's folder, or that of a part; each file is read when first asked for.

    Args:
        study_dir: The folder.
        rows: Of its runs, as `run_folder.read_runs` gives them.
    """

    def __init__(self, study_dir: Path, rows: Iterable[Row]) -> None:
        self._study_dir = study_dir
        self._rows: dict[tuple[str, str, str, NShot], dict[tuple[int, int], Row]] = {}
        for row in rows:
            if row["status"] == "done":
                cell = row["dataset"], row["model"], row["compression"], row["n_shot"]
                self._rows.setdefault(cell, {})[row["fold"], row["run"]] = row
        self._answers: dict[tuple[Path, str], Answers] = {}
        # Runs of a fold have the same clips: kept once, as there are thousands.
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
        """Every pair of one cell, ordered by fold and run; empty where there is none.

        Args:
            dataset, model, n_shot, compression, baseline: The cell.
            score: Of both.
            baseline_from: Another part of the study, that the baseline's runs are of.

        Raises:
            ConfigError: If there is no such score.
            DataError: If a run's predictions are not there or not as a run writes them, or the runs of a pair have not
                the same clips.
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
                    f"{len(one.clips):,} and {len(other.clips):,} clips, not the same. Remove both folders; the runs "
                    "are done again."
                )
            difference = one.right.astype(np.float64) - other.right
            found.append(PairedAnswers(fold, run, one.clips, one.classes, difference))
        return found

    def compressions(self, dataset: str, model: str) -> set[str]:
        """Those with a finished run."""
        return {name for of, network, name, _ in self._rows if (of, network) == (dataset, model)}

    def recordings(self, dataset: str) -> dict[str, str]:
        """Clip -> the recording it was cut from; empty where no run says, as those of earlier versions.

        Raises:
            DataError: If a table of predictions is not as a run writes it.
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
    """The pairs of one cell as `recordings.two_way` takes them; `None` where the recording of a clip is not known."""
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
            raise ValueError("it has no rows")
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise DataError(
            f"Cannot read the predictions {path}: {error}. Remove the run's folder; it is done again."
        ) from (error)
    return tuple(zip(*lines, strict=True))
