"""What the intervals, tests and verdicts of `loglearn_tf.analysis.statistics` are worth, on grids whose truth is known.

Run: python experiments/benchmarks/calibration.py
Takes: 4 minutes on one core

Every column is a share of the grids, in %:
    coverage   the 95 % interval contains the true difference (asked for: 92 to 98)
    false +    "better" or "worse" where there is no difference (at most 5)
    p < .05    the signed-rank test alone, uncorrected, where there is no difference (at most 5)
    at margin  "equivalent" at a true difference of exactly the margin, 2 points (at most 7)
    at zero    "equivalent" where there is no difference: how often it can be shown
    power      "better" at a true difference of 5 points (10 folds x 10 runs: above 90)
"""

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np

from loglearn_tf.analysis.statistics import Comparison, compare

POINT = 0.01
MARGIN, EFFECT = 2 * POINT, 5 * POINT
CLIPS = 873  # about those of a fold of US8K: accuracies are multiples of 1 / CLIPS


@dataclass(frozen=True)
class Scenario:
    """A grid: its size, and the standard deviations of the differences in points."""

    folds: int
    runs: int
    run_std: float
    fold_std: float
    what: str = ""
    skewed: bool = False  # fold effects and runs: exponential, not normal
    missing: float = 0.0  # share of the pairs that failed

    def differences(self, grids: int, effect: float, rng: np.random.Generator) -> np.ndarray:
        """`(grids, folds, runs)`. Of one fold, `effect` is that fold's own mean."""
        draw = (
            (lambda *shape: rng.exponential(size=shape) - 1) if self.skewed else (lambda *shape: rng.normal(size=shape))
        )
        fold_std = self.fold_std if self.folds > 1 else 0.0
        noise = self.run_std * draw(grids, self.folds, self.runs) + fold_std * draw(grids, self.folds, 1)
        values = effect + POINT * noise
        return np.where(rng.random(values.shape) < self.missing, np.nan, values)

    def __str__(self) -> str:
        return f"{self.folds:2} x {self.runs:2}   {self.run_std:3}   {self.fold_std:4}   {self.what:28}"


SCENARIOS = [
    *(Scenario(10, runs, *stds) for runs in (5, 10, 20) for stds in ((3, 0), (4.5, 1.5), (6, 3), (3, 3))),
    *(Scenario(3, 4, *stds) for stds in ((3, 0), (4.5, 1.5), (6, 3), (3, 3))),
    *(Scenario(1, runs, std, 0) for runs in (20, 10, 5) for std in (3, 6)),
    Scenario(2, 4, 4.5, 1.5),
    Scenario(5, 10, 4.5, 3),
    Scenario(10, 1, 4.5, 1.5),
    Scenario(10, 10, 4.5, 1.5, "40 % of the pairs missing", missing=0.4),
    Scenario(10, 10, 3, 3, "skewed (not asked for)", skewed=True),
]


def rows_of(differences: np.ndarray, *, cells_in_table: int = 1) -> list[dict[str, Any]]:
    """Results with these differences; each table is a data set of its own, for Holm's correction."""
    base = CLIPS // 2 / CLIPS
    ours = base + np.round(differences * CLIPS) / CLIPS
    return [
        {
            "dataset": f"table{grid // cells_in_table:05d}",
            "model": f"cell{grid % cells_in_table:02d}",
            "n_shot": 1,
            "compression": compression,
            "fold": fold + 1,
            "run": run,
            "accuracy": accuracy,
            "status": "done",
        }
        for (grid, fold, run), value in np.ndenumerate(ours)
        if np.isfinite(value)
        for compression, accuracy in (("loglearn", float(value)), ("logeps", base))
    ]


def comparisons(scenario: Scenario, grids: int, effect: float, rng: np.random.Generator) -> list[Comparison]:
    return compare(rows_of(scenario.differences(grids, effect, rng)), margin=MARGIN)


def percent(hits: list[bool]) -> str:
    return f"{100 * np.mean(hits):9.1f}"


def covers(cell: Comparison, truth: float) -> bool:
    return cell.low is not None and cell.high is not None and cell.low <= truth <= cell.high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grids", type=int, default=1000, help="simulated per scenario and true difference")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)

    print("folds     std of diff.                                 covera-   false  p < .05       at       at    power")
    print("x runs    runs   folds                                      ge       +            margin     zero")
    for scenario in SCENARIOS:
        none, at_margin, real = (comparisons(scenario, options.grids, effect, rng) for effect in (0.0, MARGIN, EFFECT))
        columns = [
            [covers(cell, 0.0) for cell in none],
            [cell.verdict in ("better", "worse") for cell in none],
            [cell.p_value is not None and cell.p_value < 0.05 for cell in none],
            [cell.verdict == "equivalent" for cell in at_margin],
            [cell.verdict == "equivalent" for cell in none],
            [cell.verdict == "better" for cell in real],
        ]
        print(scenario, "".join(map(percent, columns)), flush=True)

    print("\nTables of 28 cells (4 models x 7 n), corrected by Holm's method; std of runs 4.5, of folds 1.5:")
    cells = 28
    tables = options.grids
    for folds, runs in ((10, 5), (10, 10), (1, 10), (1, 20)):
        scenario = Scenario(folds, runs, 4.5, 1.5)
        wrong, one, every = [], [], []
        for start in range(0, tables, 100):  # in parts, for memory
            grids = cells * min(100, tables - start)
            noise = scenario.differences(grids, 0.0, rng)
            one_real = noise + EFFECT * (np.arange(grids) % cells == 0)[:, np.newaxis, np.newaxis]
            verdicts, with_one, with_all = (
                np.reshape([cell.verdict for cell in compare(rows_of(d, cells_in_table=cells))], (-1, cells))
                for d in (noise, one_real, noise + EFFECT)
            )
            wrong += list(np.isin(verdicts, ("better", "worse")).any(axis=1))
            one += list(with_one[:, 0] == "better")
            every += list((with_all == "better").mean(axis=1))
        print(
            f"{folds:2} x {runs:2}: a false better or worse in {percent(wrong).strip()} % of the tables; power against "
            f"5 points in one cell {percent(one).strip()} %, in every cell {percent(every).strip()} %",
            flush=True,
        )


if __name__ == "__main__":
    main()
