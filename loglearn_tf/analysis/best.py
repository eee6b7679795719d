"""Which of several compressions can be the best, and which are as good: multiple comparisons with the best."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loglearn_tf.analysis import mixed
from loglearn_tf.analysis.mixed import Estimate
from loglearn_tf.analysis.results import FloatArray, Runs

# The paired differences of two compressions: by n, then fold, those of its runs.
Pairs = Mapping[int | str, Mapping[int, FloatArray]]


@dataclass(frozen=True)
class Standing:
    """How one compression stands to the best. Fractions of accuracy: 0.02 is 2 points.

    Attributes:
        compression: Its name.
        accuracy: Mean over its runs, folds, then n.
        behind: Its accuracy less that of the one that is ahead; of that one, less that of the next: above 0.
        low, high: Interval of its true accuracy less that of the best of the others, all of them holding together:
            `low` is at most 0; so is `high` of one that cannot be the best. `None` where nothing bounds it.
        can_be_best: Whether it is among those that the best is one of. Of the others only those with `high` below 0
            are shown to be worse: one of equals may be left out.
        near: Whether it is shown to be no more than the margin behind the best.
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
        standings: The one with the highest accuracy first.
        half_width: Median half-width of the corrected intervals of two compressions: smaller differences cannot be
            seen; `None` where there is no interval.
        n_comparisons: The interval of each difference holds at `1 - (1 - confidence) / n_comparisons`.
    """

    standings: tuple[Standing, ...]
    half_width: float | None
    n_comparisons: int


@dataclass(frozen=True)
class Compared:
    """The difference of two compressions, in a direction: accuracy of the first less that of the second.

    Attributes:
        estimate: `None` where it cannot be told how far it may be from the truth.
        mean: Of what pairs there are; NaN without any.
        n_clusters: Independent values that it rests on: folds, or the runs of the only fold.
    """

    estimate: Estimate | None
    mean: float
    n_clusters: int

    def bounds(self, error_rate: float) -> tuple[float, float]:
        """Interval that misses the truth with this probability at most; infinite ends where it cannot be told."""
        one = self.estimate
        if one is None:
            return -math.inf, math.inf
        if one.error:
            low, high = one.interval(1 - error_rate)
            assert low is not None and high is not None
            return low, high
        # Values that are all the same: by the sign test, as `statistics.compare` does.
        return (one.mean, one.mean) if 2.0 ** (1 - self.n_clusters) <= error_rate else (-math.inf, math.inf)

    def turned(self) -> "Compared":
        one = self.estimate
        return Compared(
            None if one is None else Estimate(-one.mean, one.error, one.dof, one.method), -self.mean, self.n_clusters
        )


def compared(cells: Pairs) -> Compared:
    """The difference averaged over all n, each with the same weight, by Student's t over folds.

    Of several folds, the n of which only one fold has pairs are left out: what folds add cannot be told from it. Where
    no n has two folds with pairs, the runs of all are the independent values (`mixed.over_folds`), and what is found is
    found of that fold.

    Args:
        cells: Of `pairs_of`.
    """
    several = {n: cell for n, cell in cells.items() if len(cell) > 1}
    if several:
        folds = {fold for cell in several.values() for fold in cell}
        estimate = mixed.over_folds(*several.values())
        return Compared(estimate, estimate.mean, len(folds))
    # One fold each: every run is a cluster of its own.
    runs = [next(iter(cell.values())) for cell in cells.values()]
    if not runs:
        return Compared(None, math.nan, 0)
    mean, n_runs = float(np.mean([values.mean() for values in runs])), sum(map(len, runs))
    if len({fold for cell in cells.values() for fold in cell}) > 1 or min(map(len, runs)) < 2:
        return Compared(None, mean, n_runs)
    numbers = iter(range(n_runs))
    estimate = mixed.over_folds(*({next(numbers): np.array([value]) for value in values} for values in runs))
    return Compared(Estimate(estimate.mean, estimate.error, estimate.dof, "t over runs"), mean, n_runs)


def pairs_of(
    runs: Runs, compression: str, baseline: str
) -> dict[tuple[str, str], dict[int | str, dict[int, FloatArray]]]:
    """Paired differences by (data set, model), then n, in the order of `Runs`, then fold."""
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
    """Orders compressions, and says which can be the best.

    Hsu's constrained intervals of every true accuracy less the best of the others. Each difference of two gets an
    interval that misses the truth with a probability of at most `(1 - confidence) / (k - 1)`, k being how many
    compressions there are, half of it on either side. The true best is then among those that `can_be_best`, and all
    intervals hold, together with a probability of `confidence` or more: all of it follows from the
    k - 1 intervals of the true best, whichever that is. By Holm's method it is the same: what rules a compression out
    is its smallest p times k - 1.

    Args:
        accuracy: Of each compression.
        difference: Of two of them.
        margin: Differences within it count as none.
        confidence: That everything said holds.
        families: As many such orders are to hold together: networks.

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
    # Pairs of different runs may contradict each other, in a study that is not finished: then nothing is ruled out.
    can = can or names
    # Differences to all others, so that pairs that lack here and there favour none.
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
    """Mean accuracy of every compression by (data set, model): over runs, folds, then n."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for (dataset, model, _, compression), _, values in runs.cells():
        mean = float(np.mean([one.mean() for one in values]))
        found.setdefault((dataset, model), {}).setdefault(compression, []).append(mean)
    return {key: {name: float(np.mean(means)) for name, means in of.items()} for key, of in found.items()}
