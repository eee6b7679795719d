"""Quality of the predicted probabilities: likelihood, Brier score, calibration."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from loglearn_tf.analysis.results import FloatArray, IntArray
from loglearn_tf.errors import DataError
from loglearn_tf.study.run_folder import PROBABILITY_DECIMALS

BINS = 15
# Tolerance for the networks' own rounding, over some thousand classes.
_SUM_TOLERANCE = 1e-3
_PROBABILITY = "p_"


def largest_zero(decimals: int) -> float:
    """The largest probability that is written as 0."""
    return 0.5 * 10.0**-decimals


@dataclass(frozen=True)
class Predictions:
    """A run's table of predictions.

    Attributes:
        classes: Classes, in the data set's order.
        labels: `(n_clips,)` index of each clip's class.
        predicted: `(n_clips,)` index of the predicted class.
        probabilities: `(n_clips, n_classes)`.
        decimals: That the probabilities are written with; fewer to take small ones for 0, as in a table with fewer.
    """

    classes: tuple[str, ...]
    labels: IntArray
    predicted: IntArray
    probabilities: FloatArray
    decimals: int = PROBABILITY_DECIMALS


@dataclass
class Reliability:
    """Clips by confidence, the probability of the predicted class, in bins of equal width.

    Attributes:
        n: `(BINS,)` number of clips.
        confidence: `(BINS,)` sum of their confidences.
        correct: `(BINS,)` number of correct clips.
    """

    n: FloatArray = field(default_factory=lambda: np.zeros(BINS))
    confidence: FloatArray = field(default_factory=lambda: np.zeros(BINS))
    correct: FloatArray = field(default_factory=lambda: np.zeros(BINS))

    def add(self, found: Predictions) -> None:
        """Counts the clips of a run."""
        confidence = found.probabilities.max(axis=1)
        # A bin holds its upper end, so that 1 is in the last.
        at = np.clip(np.ceil(BINS * confidence).astype(np.int64) - 1, 0, BINS - 1)
        self.n += np.bincount(at, minlength=BINS)
        self.confidence += np.bincount(at, confidence, BINS)
        self.correct += np.bincount(at, found.predicted == found.labels, BINS)

    @property
    def error(self) -> float:
        """The expected calibration error: |share correct - mean confidence| of the bins, weighted by their clips.

        Reference:
            Naeini, Cooper and Hauskrecht, AAAI 2015; Guo, Pleiss, Sun and Weinberger, ICML 2017.
        """
        return float(np.abs(self.correct - self.confidence).sum() / self.n.sum())

    @property
    def overconfidence(self) -> float:
        """Mean confidence minus accuracy, over all clips."""
        return float((self.confidence - self.correct).sum() / self.n.sum())


def negative_log_likelihood(found: Predictions) -> FloatArray:
    """`(n_clips,)` nats: minus the logarithm of the probability of each clip's class, at least the largest that
    is written as 0.

    Other probabilities are not changed: their sum stays correct within rounding.
    """
    return np.asarray(-np.log(np.maximum(_of_label(found), largest_zero(found.decimals))))


def n_zero(found: Predictions) -> int:
    """Clips whose class has a probability that is written as 0: their likelihood is a bound."""
    return int((_of_label(found) < largest_zero(found.decimals)).sum())


def brier_scores(found: Predictions) -> FloatArray:
    """`(n_clips,)` from 0 to 2: squared differences from 1 for the clip's class and 0 for others, over all classes.

    Reference:
        Brier, *Monthly Weather Review* 78, 1950.
    """
    target = np.eye(len(found.classes))[found.labels]
    return np.asarray(((found.probabilities - target) ** 2).sum(axis=1))


def _of_label(found: Predictions) -> FloatArray:
    return np.asarray(found.probabilities[np.arange(len(found.labels)), found.labels])


def read_predictions(path: Path, *, decimals: int = PROBABILITY_DECIMALS) -> Predictions:
    """Reads `predictions.csv` or `predictions_settled.csv` of a run.

    Args:
        path: The table.
        decimals: That its probabilities have; fewer in runs that come from an archive, see their `result.json`.

    Raises:
        DataError: If it is missing or malformed: probabilities must be between 0 and 1 and add up to 1 within rounding,
            for known classes.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head, *body = csv.reader(file, strict=True)
        columns = [at for at, name in enumerate(head) if name.startswith(_PROBABILITY)]
        classes = tuple(head[at][len(_PROBABILITY) :] for at in columns)
        number = {name: at for at, name in enumerate(classes)}
        named = [head.index(name) for name in ("class", "predicted")]
        labels, predicted = (np.array([number[line[at]] for line in body], np.int64) for at in named)
        values = np.array([[line[at] for at in columns] for line in body], np.float64)
        if not body:
            raise ValueError("it is empty")
    except KeyError as error:
        raise DataError(f"Cannot read the predictions {path}: unknown class {error}. {_REMEDY}") from error
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise DataError(f"Cannot read the predictions {path}: {error}. {_REMEDY}") from error
    # Also false for NaN.
    tolerance = _SUM_TOLERANCE + len(classes) * largest_zero(decimals)
    wrong = ~((values >= 0) & (values <= 1)).all(axis=1) | ~(np.abs(values.sum(axis=1) - 1) <= tolerance)
    if wrong.any():
        raise DataError(
            "The probabilities of a clip must be between 0 and 1 and add up to 1. Received: "
            f"{values[wrong][0].tolist()} in {path}. {_REMEDY}"
        )
    return Predictions(classes, labels, predicted, values, decimals)


_REMEDY = "Remove the run's folder; the run is then repeated."
