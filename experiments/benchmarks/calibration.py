"""What intervals, tests, verdicts and predicted power are worth, on simulated studies whose truth is known.

Run: python experiments/benchmarks/calibration.py
Takes: 3 minutes on one core
Writes: experiments/benchmarks/DATE-calibration.md, with what is asked of each column

A difference is a true one, plus a part of its fold, plus one of its run; all in points of accuracy.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from loglearn_tf.analysis import bayes, mixed, recordings
from loglearn_tf.analysis.mixed import Estimate
from loglearn_tf.analysis.power import Spread, power
from loglearn_tf.analysis.statistics import Comparison, compare

POINT = 0.01
MARGIN, EFFECT = 2 * POINT, 5 * POINT
CLIPS = 873  # about those of a fold of US8K: accuracies are multiples of 1 / CLIPS
GRIDS = ((3, 6), (4, 10), (5, 10), (10, 5), (10, 10))
RUN_STD, FOLD_STDS = 5.5, (0, 2, 4)
FAMILY = 5  # tests in Holm's correction where one is asked for


@dataclass(frozen=True)
class Scenario:
    """A grid: its size, and the standard deviations of the differences in points."""

    folds: int
    runs: int
    run_std: float = RUN_STD
    fold_std: float = 0.0
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

    @property
    def spread(self) -> Spread:
        return Spread(run=POINT * self.run_std, fold=POINT * self.fold_std)


SCENARIOS = [Scenario(folds, runs, fold_std=std) for folds, runs in GRIDS for std in FOLD_STDS]
OTHERS = [
    Scenario(1, 20, 3, what="one fold"),
    Scenario(1, 10, 6, what="one fold"),
    Scenario(1, 5, 6, what="one fold"),
    Scenario(2, 4, 4.5, 1.5, "two folds"),
    Scenario(10, 1, 4.5, 1.5, "one run"),
    Scenario(10, 10, 4.5, 1.5, "40 % of the pairs missing", missing=0.4),
    Scenario(10, 10, 3, 3, "skewed", skewed=True),
]


class Estimates:
    """Many estimates of the same thing, 0, as arrays: a true difference is added afterwards."""

    def __init__(self, found: Iterable[Estimate]) -> None:
        self.mean, self.error, self.dof = np.array([(one.mean, one.error, one.dof) for one in found]).T

    def half_width(self, confidence: float) -> np.ndarray:
        return np.asarray(special.stdtrit(self.dof, (1 + confidence) / 2) * self.error)

    def covers(self, confidence: float = 0.95) -> float:
        return float(np.mean(np.abs(self.mean) <= self.half_width(confidence)))

    def better(self, effect: float, confidence: float = 0.95) -> float:
        return float(np.mean(self.mean + effect > self.half_width(confidence)))

    def equivalent(self, effect: float) -> float:
        return float(np.mean(np.abs(self.mean + effect) + self.half_width(0.9) < MARGIN))

    def columns(self) -> list[str]:
        return [
            judged(self.covers(), 93, 97),
            judged(1 - self.covers(1 - 0.05 / FAMILY), 0, 1.5),
            judged(self.equivalent(MARGIN), 0, 5),
            percent(self.equivalent(0)),
            percent(self.better(EFFECT)),
            f"{100 * self.half_width(0.95).mean():.1f}",
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


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def judged(share: float, least: float, most: float, *, slack: float = 0.0) -> str:
    """In percent, bold where it is beyond what is asked for, simulation error set aside."""
    text = percent(share)
    return text if least - slack <= 100 * share <= most + slack else f"**{text}**"


def covers(cell: Comparison, truth: float) -> bool:
    return cell.low is not None and cell.high is not None and cell.low <= truth <= cell.high


# ---- The tables -----------------------------------------------------------------------------------------------------


def cells(grids: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """One cell by Student's t over folds, and by the mixed model."""
    for scenario in SCENARIOS:
        studies = scenario.differences(grids, 0.0, rng)
        for name, method in (("t over folds", mixed.over_folds), ("mixed", mixed.pooled)):
            estimates = Estimates(method(study) for study in studies)
            yield [f"{scenario.folds} x {scenario.runs}", f"{scenario.fold_std}", name, *estimates.columns()]


def contrasts(grids: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """The average over four n, half of the folds' variance being common to all."""
    n_values = 4
    for folds, runs in GRIDS:
        for fold_std in FOLD_STDS:
            noise = RUN_STD * rng.normal(size=(grids, n_values, folds, runs))
            of_folds = rng.normal(size=(grids, 1, folds, 1)) + rng.normal(size=(grids, n_values, folds, 1))
            studies = POINT * (noise + fold_std * np.sqrt(0.5) * of_folds)
            for name, method in (("t over folds", mixed.over_folds), ("mixed", mixed.pooled)):
                estimates = Estimates(method(*study) for study in studies)
                yield [f"{folds} x {runs}", f"{fold_std}", name, *estimates.columns()]
            if folds == 10:
                # Only one n was run on all folds.
                few = ([study[0], *(of_n[:4] for of_n in study[1:])] for study in studies)
                estimates = Estimates(mixed.over_folds(*study) for study in few)
                yield [f"{folds} x {runs}, 4 folds of 3 n", f"{fold_std}", "t over folds", *estimates.columns()]


def verdicts(grids: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """`statistics.compare` from end to end."""
    for scenario in [*SCENARIOS, *OTHERS]:
        none, at_margin, real = (comparisons(scenario, grids, effect, rng) for effect in (0.0, MARGIN, EFFECT))
        covered = [
            covers(cell, truth) for truth, found in ((0.0, none), (MARGIN, at_margin), (EFFECT, real)) for cell in found
        ]
        size = [f"{scenario.folds} x {scenario.runs}", f"{scenario.run_std}", f"{scenario.fold_std}", scenario.what]
        yield [
            *size,
            judged(np.mean(covered), 93, 97),
            judged(np.mean([cell.verdict in ("better", "worse") for cell in none]), 0, 5, slack=1),
            judged(np.mean([cell.verdict == "equivalent" for cell in at_margin]), 0, 5, slack=1),
            percent(np.mean([cell.verdict == "equivalent" for cell in none])),
            percent(np.mean([cell.verdict == "better" for cell in real])),
        ]


def predictions(grids: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """Power as `power.power` predicts it, and as it is found."""
    for scenario in SCENARIOS:
        found = Estimates(mixed.over_folds(study) for study in scenario.differences(grids, 0.0, rng))
        predicted = power(scenario.spread, folds=scenario.folds, runs=scenario.runs, family=FAMILY, margin=MARGIN)
        by_verdict = {
            effect: np.mean([cell.verdict == "better" for cell in comparisons(scenario, grids // 10, effect, rng)])
            for effect in (0.03, 0.05)
        }
        pairs = [
            (100 * predicted.half_width, 100 * found.half_width(0.95).mean()),
            (100 * predicted.equivalent_at_zero, 100 * found.equivalent(0)),
        ]
        for at, effect in enumerate(predicted.effects):
            pairs.append((100 * predicted.power[at], 100 * found.better(effect)))
            if effect in by_verdict:
                pairs.append((100 * predicted.power[at], 100 * by_verdict[effect]))
        pairs.append((100 * predicted.power_in_family[-1], 100 * found.better(EFFECT, 1 - 0.05 / FAMILY)))
        yield [
            f"{scenario.folds} x {scenario.runs}",
            f"{scenario.fold_std}",
            *(
                f"{one:.1f} / {other:.1f}" if abs(one - other) <= 5 else f"**{one:.1f} / {other:.1f}**"
                for one, other in pairs
            ),
        ]


def by_recording(grids: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """Recordings of unequal sizes x runs: clips of one recording go right or wrong together, and runs differ."""
    for folds, runs, n_recordings in ((1, 10, 5), (1, 10, 10), (1, 10, 30), (3, 6, 40), (4, 10, 40), (10, 5, 40)):
        for fold_std in (0, 2, 4) if folds > 1 else (0,):
            studies = [clips_of(folds, runs, n_recordings, fold_std, rng) for _ in range(grids)]
            of_class = [recordings.two_way(study) for study in studies]
            methods = {"recordings x runs": Estimates(one.estimate for one in of_class)}
            if folds > 1:
                methods["mixed, with recordings"] = Estimates(map(recordings.pooled, studies))
                methods["t over folds"] = Estimates(mixed.over_folds(fold_means(study)) for study in studies)
            effective = np.mean([one.effective_recordings for one in of_class])
            told = np.mean([one.too_few is None for one in of_class])
            for name, estimates in methods.items():
                yield [
                    f"{folds} x {runs}",
                    f"{n_recordings} ({effective:.0f})",
                    f"{fold_std}",
                    name,
                    judged(estimates.covers(), 93, 97),
                    judged(estimates.equivalent(MARGIN), 0, 5),
                    f"{100 * estimates.half_width(0.95).mean():.1f}",
                    percent(told) if name == "recordings x runs" else "",
                ]


def clips_of(
    folds: int, runs: int, n_recordings: int, fold_std: float, rng: np.random.Generator
) -> recordings.ClipDifferences:
    """Standard deviation of recordings 10 points, of runs 5, of both together 10, of a clip in a run 40."""
    entries = []
    for fold in range(folds):
        clip = np.repeat(np.arange(n_recordings), 1 + np.minimum(rng.geometric(0.3, n_recordings), 15))
        mean = POINT * (fold_std * rng.normal() + 10 * rng.normal(size=n_recordings))
        for run in range(runs):
            of_run = mean + POINT * (5 * rng.normal() + 10 * rng.normal(size=n_recordings))
            value = of_run[clip] + 0.4 * rng.normal(size=len(clip))
            entries.append(
                (np.clip(value, -1, 1), np.full(len(clip), fold), np.full(len(clip), run), clip + 1000 * fold)
            )
    return recordings.ClipDifferences(*(np.concatenate(column) for column in zip(*entries, strict=True)))


def fold_means(clips: recordings.ClipDifferences) -> dict[int, list[float]]:
    """Of each fold, those of its runs."""
    return {
        int(fold): [
            clips.difference[(clips.fold == fold) & (clips.run == run)].mean()
            for run in np.unique(clips.run[clips.fold == fold])
        ]
        for fold in np.unique(clips.fold)
    }


def by_posterior(grids: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """Hierarchical model of two networks x three n, all true differences the same; each study is a chain."""
    names = [(model, n) for model in ("a", "b") for n in (1, 10, 100)]
    for folds, runs in GRIDS:
        design = bayes.design_of(names, [range(folds)] * len(names), [[runs] * folds] * len(names))
        for fold_std in FOLD_STDS:
            shared, own = (rng.normal(size=(grids, many, folds, 1)) for many in (1, len(names)))
            noise = RUN_STD * rng.normal(size=(grids, len(names), folds, runs))
            values = POINT * (noise + fold_std * np.sqrt(0.5) * (shared + own))
            means = values.mean(axis=3)
            squares = ((values - means[..., np.newaxis]) ** 2).sum(axis=(2, 3)).reshape(grids, 2, 3).sum(axis=2)
            found = []
            for effect in (0.0, MARGIN, EFFECT):
                flat = effect + means.reshape(grids, -1)
                found.append(bayes.sample(design, flat, squares, rng, burn_in=150, kept=300)[0])
            for name, of in (("a cell", lambda draws: draws[..., 0]), ("average", lambda draws: draws.mean(axis=2))):
                none, at_margin, real = map(of, found)
                low, high = np.quantile(none, [0.025, 0.975], axis=1)
                inside = [(np.abs(draws) <= MARGIN).mean(axis=1) for draws in (none, at_margin)]
                yield [
                    f"{folds} x {runs}",
                    f"{fold_std}",
                    name,
                    judged(np.mean((low <= 0) & (high >= 0)), 93, 97),
                    judged(np.mean(inside[1] > 0.95), 0, 5),
                    percent(np.mean(inside[0] > 0.95)),
                    judged(np.mean((none > MARGIN).mean(axis=1) > 0.95), 0, 2.5),
                    percent(np.mean((real > MARGIN).mean(axis=1) > 0.95)),
                    f"{100 * (high - low).mean() / 2:.1f}",
                ]


def tables(number: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """28 cells (4 models x 7 n), corrected together."""
    n_cells = 28
    for folds, runs in ((10, 5), (1, 20)):
        scenario = Scenario(folds, runs, 4.5, 1.5)
        noise = scenario.differences(n_cells * number, 0.0, rng)
        one_real = noise + EFFECT * (np.arange(len(noise)) % n_cells == 0)[:, np.newaxis, np.newaxis]
        wrong, with_one, with_all = (
            np.reshape([cell.verdict for cell in compare(rows_of(d, cells_in_table=n_cells))], (-1, n_cells))
            for d in (noise, one_real, noise + EFFECT)
        )
        yield [
            f"{folds} x {runs}",
            judged(np.isin(wrong, ("better", "worse")).any(axis=1).mean(), 0, 5, slack=3),
            percent((with_one[:, 0] == "better").mean()),
            percent((with_all == "better").mean()),
        ]


# ---- The report -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Section:
    title: str
    text: str
    header: Sequence[str]
    lines: Callable[[int, np.random.Generator], Iterator[list[str]]]
    share: float  # of --grids that are simulated


_SIZE = ["folds x runs", "fold SD"]
_METHOD = ["method", "coverage", "false at 1 %", "equivalent at margin", "at zero", "better at 5", "half-width"]
SECTIONS = [
    Section(
        "One cell",
        "`false at 1 %`: a difference is found at the level that Holm's method asks of one test in five, where there is "
        "none (at most 1.5 %).",
        [*_SIZE, *_METHOD],
        cells,
        1.0,
    ),
    Section(
        "Four n averaged",
        'Half of the variance of folds is common to all n. "4 folds of 3 n": only the first n was run on all ten folds.',
        [*_SIZE, *_METHOD],
        contrasts,
        0.5,
    ),
    Section(
        "Verdicts of `compare`",
        "From rows of results to the verdict, a cell being a family of its own.",
        ["folds x runs", "run SD", "fold SD", "", "coverage", "false better, worse", *_METHOD[3:6]],
        verdicts,
        0.15,
    ),
    Section(
        "Tables of 28 cells",
        "Corrected by Holm's method; SD of runs 4.5, of folds 1.5.",
        ["folds x runs", "a false better or worse in a table", "5 points in one cell found", "in every cell found"],
        tables,
        0.02,
    ),
    Section(
        "Power",
        "Predicted / simulated, in %, and the half-width in points; to differ by 5 at most. `verdict`: against the "
        "verdicts of `compare`.",
        [
            *[*_SIZE, "half-width", "equivalent at zero", "1 point", "2", "3", "3, verdict", "5", "5, verdict"],
            f"5, in a family of {FAMILY}",
        ],
        predictions,
        1.0,
    ),
    Section(
        "Recordings and runs",
        "Unequal recordings a fold, in brackets how many equal ones are worth as much, in all. SD of recordings 10 "
        'points, of runs 5. `told`: how often an interval is given, and not "too few recordings".',
        [
            *[
                "folds x runs",
                "recordings",
                "fold SD",
                "method",
                "coverage",
                "equivalent at margin",
                "half-width",
                "told",
            ]
        ],
        by_recording,
        0.12,
    ),
    Section(
        "Probabilities",
        "Two networks x three n, all true differences the same. Called equivalent or better where the probability of it "
        "is above 95 %: of better, that the difference is above the margin.",
        [*[*_SIZE, "of", "coverage", "equivalent at margin", "at zero", "better at zero", "better at 5", "half-width"]],
        by_posterior,
        0.1,
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grids", type=int, default=4000, help="simulated per scenario, in the largest tables")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name(f"{date.today()}-calibration.md"), help="the file to write"
    )
    options = parser.parse_args()
    parts = [
        "# Calibration of the statistics",
        f"{date.today()}, {options.grids} simulated studies in the largest tables, seed {options.seed}, by "
        "`python experiments/benchmarks/calibration.py`. SD of runs 5.5 points where nothing else is said. All shares in "
        '%; bold is beyond what is asked for: coverage of 95 % intervals 93 to 97, "equivalent" at a true difference of '
        "exactly the margin, 2 points, at most 5. `at zero`, `better at 5`: the same verdict where there is no "
        'difference, and "better" at 5 points. Half-widths in points.',
    ]
    for at, section in enumerate(SECTIONS):
        start = time.perf_counter()
        rng = np.random.default_rng([options.seed, at])
        lines = list(section.lines(max(int(options.grids * section.share), 2), rng))
        table = [section.header, ["---"] * len(section.header), *lines]
        parts += [f"## {section.title}", section.text, "\n".join(f"| {' | '.join(line)} |" for line in table)]
        print(f"\n{parts[-3]}\n\n{parts[-1]}\n({time.perf_counter() - start:.0f} s)", flush=True)
    options.out.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
