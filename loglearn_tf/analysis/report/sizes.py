"""Sign and size of the effect in a published finding: the mean difference over its cells, with an interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf.analysis.contrasts import differences
from loglearn_tf.analysis.mixed import over_folds
from loglearn_tf.analysis.names import model_name
from loglearn_tf.analysis.report.table import points, points_interval
from loglearn_tf.analysis.report.verdicts import Verdict
from loglearn_tf.analysis.statistics import Comparison
from loglearn_tf.study.run_folder import Row

_COLUMNS = (
    *("finding", "dataset", "verdict", "final", "n_cells", "n_run", "n_for", "n_against", "difference_points"),
    *("low_points", "high_points", "confidence", "least_points", "most_points"),
)


@dataclass(frozen=True)
class Size:
    """Loglearn minus log-EPS over the cells of a finding that were run, in fractions of accuracy.

    Attributes:
        mean: Mean over cells, with equal weights.
        low, high: Its interval by Student's t over folds; `None` if a cell has one fold or nothing varied.
        least, most: The cells with the smallest and the largest difference.
        n_cells: Number of cells.
        confidence: Confidence of the interval.
    """

    mean: float
    low: float | None
    high: float | None
    least: Comparison
    most: Comparison
    n_cells: int
    confidence: float

    @property
    def short(self) -> str:
        """`+0.8 points (−0.3 to +1.9)`."""
        interval = points_interval(self.low, self.high)
        return f"{points(self.mean)} points" + (f" ({interval})" if interval else "")

    @property
    def sentence(self) -> str:
        """The size as a sentence, with the kind of interval and the extreme cells."""
        interval = points_interval(self.low, self.high)
        text = f"Found: loglearn minus log-EPS {points(self.mean)} points"
        if self.n_cells > 1:
            text += f" on average over {self.n_cells} cells"
        text += (
            f", {100 * self.confidence:g} % interval over folds {interval}"
            if interval
            else ", without an interval over folds: there is only one fold, or nothing varied"
        )
        if self.n_cells > 1:
            text += f"; from {_cell(self.least)} to {_cell(self.most)}. The verdict is based on the individual cells"
        return text + "."


def size_found(verdict: Verdict, rows: Sequence[Row], *, confidence: float) -> Size | None:
    """The size over the cells behind a verdict; `None` if there are none.

    Args:
        verdict: Verdict on a finding.
        rows: Finished runs, with the score used for the verdict.
        confidence: Confidence of the interval.
    """
    cells = [one.comparison for one in verdict.evidence]
    if not cells:
        return None
    found = differences([row for row in rows if row["dataset"] == verdict.finding.dataset])
    folds = [found[one.dataset, one.model][one.n_shot] for one in cells]
    low, high = None, None
    if all(len(of) > 1 for of in folds):
        low, high = over_folds(*folds).interval(confidence)
    least, most = (pick(cells, key=lambda one: one.mean) for pick in (min, max))
    return Size(float(np.mean([one.mean for one in cells])), low, high, least, most, len(cells), confidence)


def to_csv(verdicts: Sequence[Verdict], sizes: Mapping[str, Size | None]) -> bytes:
    """Every finding with its verdict and size.

    Args:
        verdicts: Verdict on each finding.
        sizes: Id of a finding -> its size.
    """

    def record(verdict: Verdict) -> dict[str, Any]:
        size = sizes.get(verdict.finding.id)
        numbers = {}
        if size is not None:
            ends = {"difference": size.mean, "low": size.low, "high": size.high}
            ends |= {"least": size.least.mean, "most": size.most.mean}
            numbers = {
                f"{name}_points": None if value is None else round(100 * value, 4) for name, value in ends.items()
            }
        return {
            **{"finding": verdict.finding.id, "dataset": verdict.finding.dataset, "verdict": verdict.state},
            **{"final": verdict.final, "n_cells": len(verdict.evidence) + len(verdict.not_run)},
            "n_run": len(verdict.evidence),
            **{f"n_{side}": sum(one.speaks == side for one in verdict.evidence) for side in ("for", "against")},
            **{"confidence": None if size is None else size.confidence, **numbers},
        }

    return csv_bytes(_COLUMNS, map(record, verdicts))


def _cell(one: Comparison) -> str:
    return f"{points(one.mean)} ({model_name(one.model)}, n = {one.n_shot})"
