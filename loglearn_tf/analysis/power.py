"""What a study of a given size can decide, and how much larger it would have to be."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from loglearn_tf.analysis import mixed
from loglearn_tf.analysis.contrasts import differences
from loglearn_tf.analysis.mixed import Differences
from loglearn_tf.analysis.recordings import ClipDifferences, two_way
from loglearn_tf.analysis.results import FloatArray, Rows
from loglearn_tf.errors import ConfigError

_ALPHA = 0.05
_EFFECTS = (0.01, 0.02, 0.03, 0.05)
# More than anyone runs: what it takes this many for is out of reach.
_MOST = 10_000


@dataclass(frozen=True)
class Spread:
    """How much paired differences vary, and why: what a study's power depends on. Fractions of accuracy.

    Attributes:
        run: Standard deviation of the runs of a fold, which differ in training clips and weights.
        fold: Of the folds' own means, but for what their recordings add.
        recording: Of the recordings' own means; 0 counts them as part of the folds.
        recordings: As many of the same weight a fold has; not used where `recording` is 0.
        shared: Share of the folds' variance that all n have in common: 1 is the safe choice. That of recordings is
            taken for shared, as the test clips are the same.

    Raises:
        ConfigError: If one is negative or not finite, all are 0, `shared` is above 1, or there are fewer than one
            recording a fold.
    """

    run: float
    fold: float
    recording: float = 0.0
    recordings: float = 1.0
    shared: float = 1.0

    def __post_init__(self) -> None:
        for name in ("run", "fold", "recording", "shared"):
            value = getattr(self, name)
            if not (0 <= value <= 1):
                raise ConfigError(
                    f"`{name}` of a spread must be from 0 to 1. Received: {name}={value!r}. Standard deviations are "
                    "fractions of accuracy: write 0.055 for 5.5 points."
                )
        if not (self.run or self.fold or self.recording):
            raise ConfigError("`run`, `fold` or `recording` must be above 0. Received: 0 for all of them.")
        if not (math.isfinite(self.recordings) and self.recordings >= 1):
            raise ConfigError(f"`recordings` must be 1 a fold or more. Received: {self.recordings!r}.")

    def of_fold(self, runs: int, n_values: int = 1) -> float:
        """Standard deviation of a fold's mean over its runs, and over as many n."""
        folds = self.fold**2 * (self.shared + (1 - self.shared) / n_values)
        return math.sqrt(folds + self.recording**2 / self.recordings + self.run**2 / (runs * n_values))


@dataclass(frozen=True)
class Power:
    """What is to be expected of a study of this size.

    Attributes:
        folds, runs, n_values, family: Its size: runs in a fold and n; how many n are averaged; tests in the family.
        half_width: Mean half-width of the interval.
        effects: True differences.
        power: Of each, how often it is called better (or worse), were this the only test.
        power_in_family: The same at 1 / `family` of the level. Holm's method asks that of the first test that it
            decides, and less of later ones: what is found beside other differences is found more often.
        equivalent_at_zero: How often the absence of a difference is called equivalent.
    """

    folds: int
    runs: int
    n_values: int
    family: int
    half_width: float
    effects: tuple[float, ...]
    power: tuple[float, ...]
    power_in_family: tuple[float, ...]
    equivalent_at_zero: float


@dataclass(frozen=True)
class Needed:
    """How large a study must be for a goal.

    Attributes:
        folds, runs: Fewest folds with the runs asked about, fewest runs with the folds asked about; `None` where no
            number up to 10,000 suffices.
        more_folds, more_runs: How many more these are, 0 or above.
        at_best: Half-width with these folds and any number of runs: what the folds alone leave open.
    """

    folds: int | None
    runs: int | None
    more_folds: int | None
    more_runs: int | None
    at_best: float


def power(
    spread: Spread,
    *,
    folds: int,
    runs: int,
    n_values: int = 1,
    family: int = 1,
    margin: float = 0.02,
    effects: Sequence[float] = _EFFECTS,
    confidence: float = 0.95,
) -> Power:
    """Computes what the verdicts of such a study are likely to be, for Student's t over folds (`mixed.over_folds`).

    Exact for normal differences. One fold (TUT) has its runs for independent values, those of all n together: then
    power is that of this one split, and of t, a little above that of the signed-rank test.

    Args:
        spread: Of the differences; `spread_of` and `spreads` estimate it.
        folds: Test folds.
        runs: In every fold, for every n.
        n_values: How many n are averaged, each with the same weight; 1 is a single cell.
        family: Tests that Holm's method corrects together.
        margin: Of equivalence.
        effects: True differences, fractions of accuracy.
        confidence: Of the interval.

    Raises:
        ConfigError: If an argument is out of range, or two values in all are not there to judge the spread by.

    Reference:
        Lehmann, *Testing Statistical Hypotheses*, 1986, on the non-central t distribution; Phillips, *Journal of
        Pharmacokinetics and Biopharmaceutics* 18, 1990, on equivalence.

    Example:
        >>> found = power(Spread(run=0.055, fold=0.02), folds=10, runs=5, effects=[0.03])
        >>> round(100 * found.half_width, 1), round(100 * found.power[0])
        (2.2, 76)
    """
    _check(folds=folds, runs=runs, n_values=n_values, family=family)
    mixed.check_margin(margin)
    if not 0 < confidence < 1:
        raise ConfigError(f"`confidence` must be above 0 and below 1. Received: {confidence!r}. Write 0.95 for 95 %.")
    for effect in effects:
        if not 0 < abs(effect) < 1:
            raise ConfigError(
                f"`effects` must be fractions of accuracy other than 0. Received: {effect!r}. Write 0.03 for 3 points."
            )
    error, dof = _error(spread, folds, runs, n_values)
    return Power(
        *(folds, runs, n_values, family),
        half_width=_half_width(error, dof, confidence),
        effects=tuple(effects),
        power=tuple(_found(effect, error, dof, _ALPHA) for effect in effects),
        power_in_family=tuple(_found(effect, error, dof, _ALPHA / family) for effect in effects),
        equivalent_at_zero=_equivalent(error, dof, margin),
    )


def needed(
    spread: Spread,
    *,
    folds: int,
    runs: int,
    half_width: float | None = None,
    effect: float | None = None,
    equivalent: float | None = None,
    chance: float = 0.8,
    n_values: int = 1,
    family: int = 1,
    confidence: float = 0.95,
) -> Needed:
    """Computes how many folds, or how many runs, it takes to reach one goal.

    Args:
        spread, n_values, family, confidence: See `power`.
        folds, runs: What there is, or is planned.
        half_width: The goal: an interval of this half-width, on average.
        effect: The goal: this true difference is called better or worse with `chance`, within the family. With the
            difference that was observed: what it takes to decide.
        equivalent: The goal: no difference is called equivalent within this margin, with `chance`.
        chance: See above.

    Raises:
        ConfigError: If an argument is out of range, or there is not exactly one goal.

    Example:
        >>> needed(Spread(run=0.055, fold=0.02), folds=4, runs=10, half_width=0.03).folds
        6
    """
    goals = {"half_width": half_width, "effect": effect, "equivalent": equivalent}
    given = {name: value for name, value in goals.items() if value is not None}
    if len(given) != 1:
        raise ConfigError(f"Exactly one of `half_width`, `effect` and `equivalent` must be given. Received: {given}.")
    ((name, value),) = given.items()
    _check(folds=folds, runs=runs, n_values=n_values, family=family)
    size = abs(value) if name == "effect" else value
    for what, fraction in ((name, size), ("chance", chance), ("confidence", confidence)):
        if not 0 < fraction < 1:
            raise ConfigError(f"`{what}` must be above 0 and below 1. Received: {fraction!r}. It is a fraction.")

    def reached(of_folds: int, of_runs: int) -> bool:
        error, dof = _error(spread, of_folds, of_runs, n_values)
        if name == "half_width":
            return _half_width(error, dof, confidence) <= value
        if name == "effect":
            return _found(value, error, dof, _ALPHA / family) >= chance
        return _equivalent(error, dof, value) >= chance

    # One fold judges by its runs, two by themselves: only from two on is more always better.
    fewest_folds = _fewest(2, lambda number: reached(number, runs))
    # One fold needs two runs to judge by.
    fewest_runs = _fewest(2 if folds == 1 and n_values == 1 else 1, lambda number: reached(folds, number))
    error, dof = _error(spread, folds, 10**12, n_values)
    return Needed(
        folds=fewest_folds,
        runs=fewest_runs,
        more_folds=None if fewest_folds is None else max(fewest_folds - folds, 0),
        more_runs=None if fewest_runs is None else max(fewest_runs - runs, 0),
        at_best=_half_width(error, dof, confidence) if folds > 1 else 0.0,
    )


def spread_of(*cells: Differences, clips: ClipDifferences | None = None) -> Spread:
    """Estimates the spread from the differences of a study, one or several n together.

    A few folds tell little of how much folds differ: of three folds in one cell, an estimate of 0 is common where their
    standard deviation is 3 points. All n of a network together tell more.

    Args:
        *cells: See `mixed.components`.
        clips: Differences by clip of one of the cells: what recordings add to the folds' variance is then told apart.

    Raises:
        DataError: As `mixed.components`, and as `recordings.two_way`.
        ConfigError: If nothing varies.
    """
    found = mixed.components(*cells)
    spread = Spread(run=found.run_std, fold=found.fold_std, shared=found.shared)
    if clips is None:
        return spread
    crossed = two_way(clips)
    of_fold = spread.fold**2 - crossed.recording_std**2 / crossed.recordings_per_fold
    return replace(
        spread,
        fold=math.sqrt(max(of_fold, 0.0)),
        recording=crossed.recording_std,
        recordings=max(crossed.recordings_per_fold, 1.0),
    )


def spreads(rows: Rows, *, compression: str = "loglearn", baseline: str = "logeps") -> Mapping[tuple[str, str], Spread]:
    """`spread_of` every network of a study, over all of its n.

    Args:
        rows: As for `statistics.compare`.
        compression, baseline: Whose difference.

    Returns:
        By (data set, model). Left out is what cannot be told: without an n that has two folds and a fold with two runs,
        or where nothing varies.

    Raises:
        DataError: As `statistics.compare`.
    """
    found = {}
    for names, cells in differences(rows, compression=compression, baseline=baseline).items():
        told = [cell for cell in cells.values() if len(cell) > 1 and any(len(runs) > 1 for runs in cell.values())]
        if told and any(np.ptp(np.concatenate(list(cell.values()))) for cell in told):
            found[names] = spread_of(*told)
    return found


def _error(spread: Spread, folds: int, runs: int, n_values: int) -> tuple[float, int]:
    """Standard error of the mean difference, and the degrees of freedom by which it is estimated."""
    if folds > 1:
        return spread.of_fold(runs, n_values) / math.sqrt(folds), folds - 1
    if runs < 2:
        raise ConfigError(
            f"One fold needs two runs or more: how much they vary cannot be told from one. Received: runs={runs}."
        )
    return spread.run / math.sqrt(runs * n_values), n_values * (runs - 1)


def _half_width(error: float, dof: int, confidence: float) -> float:
    # The standard deviation of a few values is, on average, below the true one.
    below = math.sqrt(2 / dof) * math.exp(math.lgamma((dof + 1) / 2) - math.lgamma(dof / 2))
    return float(special.stdtrit(dof, (1 + confidence) / 2)) * error * below


def _found(effect: float, error: float, dof: int, level: float) -> float:
    if not error:
        return 1.0
    least = float(special.stdtrit(dof, 1 - level / 2)) * _estimated(error, dof)
    return float(special.ndtr((abs(effect) - least) / error).mean())


def _equivalent(error: float, dof: int, margin: float) -> float:
    """Chance that both one-sided tests reject where there is no difference."""
    if not error:
        return 1.0
    room = np.maximum(margin - float(special.stdtrit(dof, 1 - _ALPHA)) * _estimated(error, dof), 0)
    return float((1 - 2 * special.ndtr(-room / error)).mean())


def _estimated(error: float, dof: int) -> FloatArray:
    """What the standard error is estimated to be: its distribution, in equal shares."""
    share = (np.arange(2000) + 0.5) / 2000
    estimated: FloatArray = error * np.sqrt(special.chdtri(dof, 1 - share) / dof)
    return estimated


def _fewest(first: int, reached: Callable[[int], bool]) -> int | None:
    """The smallest number that reaches a goal which every larger one reaches, too."""
    if not reached(_MOST):
        return None
    low, high = first, _MOST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle + 1, high)
    return low


def _check(**counts: int) -> None:
    for name, value in counts.items():
        if not (isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 1):
            raise ConfigError(f"`{name}` must be a whole number of 1 or more. Received: {name}={value!r}.")
