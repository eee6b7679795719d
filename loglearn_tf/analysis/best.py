"""Which compressions can be the best, and which are equally good: multiple comparisons with the best."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loglearn_tf.analysis import mixed
from loglearn_tf.analysis.mixed import Estimate
from loglearn_tf.analysis.results import FloatArray, Runs

# The paired differences of two compressions: n -> fold -> differences of its runs.
Pairs = Mapping[int | str, Mapping[int, FloatArray]]


@dataclass(frozen=True)
class Standing:
    """One compression compared with the best. Fractions of accuracy: 0.02 is 2 points.

    Attributes:
        compression: Its name.
        accuracy: Mean over runs, then folds, then n.
        behind: Its accuracy minus that of the first; for the first, minus that of the second, so positive.
        low, high: Simultaneous interval of its true accuracy minus that of the best of the others. `low` is at most 0;
                `high` is 0 or less if it cannot be the best. `None` if unbounded.
        can_be_best: Whether it is in the set that contains the best. Of the others, only those with `high` below 0 are
                shown to be worse: of equal compressions, one may be excluded.
        near: Whether it is shown to be within the margin of the best.
    """

    compression: str
    accuracy: float
    behind: float
    low: float | None
    high: float | None
    can_be_best: bool
    near: bool


@dataclass(frozen=True)
class Ordered:
    """All compressions of one data set and network.

    Attributes:
        standings: The highest accuracy first.
        half_width: Median half-width of the corrected intervals of two compressions, the smallest detectable
            difference; `None` if there is no interval.
        n_comparisons: The interval of each difference holds at `1 - (1 - confidence) / n_comparisons`.
    """

    standings: tuple[Standing, ...]
    half_width: float | None
    n_comparisons: int


@dataclass(frozen=True)
class Compared:
    """The difference of two compressions: accuracy of the first minus that of the second.

    Attributes:
        estimate: The estimate; `None` if its error is unknown.
        mean: Mean of the available pairs; NaN without any.
        n_clusters: Number of independent values: folds, or the runs of a single fold.
    """

    estimate: Estimate | None
    mean: float
    n_clusters: int

    def bounds(self, error_rate: float) -> tuple[float, float]:
        """Interval that misses the truth with at most this probability; its ends may be infinite."""
        one = self.estimate
        if one is None:
            return -math.inf, math.inf
        if one.error:
            low, high = one.interval(1 - error_rate)
            assert low is not None and high is not None
            return low, high
        # All values equal: use the sign test, as in `statistics.compare`.
        return (one.mean, one.mean) if 2.0 ** (1 - self.n_clusters) <= error_rate else (-math.inf, math.inf)

    def turned(self) -> "Compared":
        one = self.estimate
        return Compared(
            None if one is None else Estimate(-one.mean, one.error, one.dof, one.method), -self.mean, self.n_clusters
        )


def compared(cells: Pairs, *, of_several_folds: bool = False) -> Compared:
    """Averages the difference over all n with equal weights, by Student's t over folds.

    With several folds, an n with pairs in only one fold is omitted, since it does not show how folds vary. If no n has
    pairs in two folds, all runs are the independent values (`mixed.over_folds`), and the result holds only for that
    fold.

    Args:
        cells: From `pairs_of`.
        of_several_folds: Whether the result is to hold for all folds of a study that has several: its error is unknown
            if the two have pairs in only one of them, since others may differ from it.
    """
    several = {n: cell for n, cell in cells.items() if len(cell) > 1}
    if several:
        folds = {fold for cell in several.values() for fold in cell}
        estimate = mixed.over_folds(*several.values())
        return Compared(estimate, estimate.mean, len(folds))
    # One fold each: every run is its own cluster.
    runs = [next(iter(cell.values())) for cell in cells.values()]
    if not runs:
        return Compared(None, math.nan, 0)
    mean, n_runs = float(np.mean([values.mean() for values in runs])), sum(map(len, runs))
    if of_several_folds or len({fold for cell in cells.values() for fold in cell}) > 1 or min(map(len, runs)) < 2:
        return Compared(None, mean, n_runs)
    numbers = iter(range(n_runs))
    estimate = mixed.over_folds(*({next(numbers): np.array([value]) for value in values} for values in runs))
    return Compared(Estimate(estimate.mean, estimate.error, estimate.dof, "t over runs"), mean, n_runs)


def pairs_of(
    runs: Runs, compression: str, baseline: str
) -> dict[tuple[str, str], dict[int | str, dict[int, FloatArray]]]:
    """Paired differences by (data set, model), then n in the order of `Runs`, then fold."""
    found: dict[tuple[str, str], dict[int | str, dict[int, FloatArray]]] = {}
    for (dataset, model, n_shot), folds, per_fold in runs.pairs(compression, baseline):
        found.setdefault((dataset, model), {})[n_shot] = dict(zip(folds, per_fold, strict=True))
    return found


def order(
    accuracy: Mapping[str, float],
    difference: Callable[[str, str], Compared],
    *,
    margin: float = 0.02,
    confidence: float = 0.95,
    families: int = 1,
) -> Ordered:
    """Orders compressions and determines which can be the best.

    Hsu's constrained intervals of every true accuracy minus the best of the others. The difference of each pair gets an
    interval that misses the truth with a probability of at most `(1 - confidence) / (k - 1)` for k compressions, half
    of it on either side. With a probability of at least `confidence`, the true best is then among those that
    `can_be_best`, and all intervals hold: everything follows from the k - 1 intervals of the true best, whichever it
    is. Holm's method gives the same: a compression is ruled out by its smallest p times k - 1.

    Args:
        accuracy: Accuracy of each compression.
        difference: Difference of two compressions.
        margin: Differences within it count as zero.
        confidence: Joint confidence of all statements.
        families: Number of such orders that must hold jointly, one per network.

    Reference:
        Hsu, *Multiple Comparisons*, 1996, chapter 4; Edwards and Hsu, *Journal of the American Statistical Association*
        78, 1983.
    """
    names = list(accuracy)
    n_comparisons = max(len(names) - 1, 1) * families
    error_rate = (1 - confidence) / n_comparisons
    both = _both_ways(names, difference)
    bounds = {pair: one.bounds(error_rate) for pair, one in both.items()}
    others = {name: [other for other in names if other != name] for name in names}
    can = [name for name in names if all(bounds[name, other][1] >= 0 for other in others[name])]
    # In an unfinished study, pairs from different runs may contradict each other: then nothing is ruled out.
    can = can or names
    # Differences from all others, so that missing pairs favour none.
    ahead = {name: sum(_known(both[name, other].mean) for other in others[name]) for name in names}
    ordered = sorted(names, key=lambda name: (-round(ahead[name], 10), names.index(name)))
    standings = []
    for at, name in enumerate(ordered):
        rivals = [other for other in can if other != name]
        low = min((bounds[name, other][0] for other in rivals), default=0.0)
        if name in can:
            high = max(min((bounds[name, other][1] for other in others[name]), default=0.0), 0.0)
        else:
            # The best is among `can`, and its two-sided intervals hold.
            high = min(max(bounds[name, other][1] for other in can), 0.0)
        next_best = ordered[1 if at == 0 else 0] if len(ordered) > 1 else name
        standings.append(
            Standing(
                compression=name,
                accuracy=accuracy[name],
                behind=both[name, next_best].mean if name != next_best else 0.0,
                low=None if math.isinf(low) else min(low, 0.0),
                high=None if math.isinf(high) else high,
                can_be_best=name in can,
                near=low > -margin,
            )
        )
    widths = [
        (high - low) / 2 for (name, other), (low, high) in bounds.items() if name < other and math.isfinite(high - low)
    ]
    return Ordered(tuple(standings), float(np.median(widths)) if widths else None, n_comparisons)


def _both_ways(names: Sequence[str], difference: Callable[[str, str], Compared]) -> dict[tuple[str, str], Compared]:
    found = {}
    for at, name in enumerate(names):
        for other in names[:at]:
            one = difference(name, other)
            found[name, other], found[other, name] = one, one.turned()
    return found


def _known(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def mean_accuracies(runs: Runs) -> dict[tuple[str, str], dict[str, float]]:
    """Mean accuracy of every compression by (data set, model): over runs, then folds, then n.

    In an unfinished study, over those n and folds that all compressions of the network have: an n or a fold that only
    some have may be an easy one. If there are none, over what each has.
    """
    found: dict[tuple[str, str], dict[str, dict[int | str, dict[int, float]]]] = {}
    for (dataset, model, n_shot, compression), folds, values in runs.cells():
        means = {fold: float(one.mean()) for fold, one in zip(folds, values, strict=True)}
        found.setdefault((dataset, model), {}).setdefault(compression, {})[n_shot] = means
    return {
        network: {name: _mean(cells, common_folds(of.values())) for name, cells in of.items()}
        for network, of in found.items()
    }


def common_folds(compressions: Iterable[Mapping[int | str, Iterable[int]]]) -> dict[int | str, list[int]]:
    """The folds of each n that all compressions have; as in `compared`, only n with several if there are such."""
    first, *others = ({n: set(folds) for n, folds in cells.items()} for cells in compressions)
    common = {n: sorted(folds.intersection(*(other.get(n, ()) for other in others))) for n, folds in first.items()}
    most = max(map(len, common.values()))
    return {n: folds for n, folds in common.items() if len(folds) > (1 if most > 1 else 0)}


def _mean(cells: Mapping[int | str, Mapping[int, float]], folds: Mapping[int | str, Sequence[int]]) -> float:
    used = [[cells[n][fold] for fold in of] for n, of in folds.items()] or [list(of.values()) for of in cells.values()]
    return float(np.mean([np.mean(values) for values in used]))
