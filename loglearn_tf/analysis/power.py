"""What a study of a given size can decide, and how large it must be to decide more."""

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
from loglearn_tf.analysis.statistics import Comparison, compare_differences, verdict_at
from loglearn_tf.errors import ConfigError

_ALPHA = 0.05
_EFFECTS = (0.01, 0.02, 0.03, 0.05)
# More than anyone runs: larger numbers count as out of reach.
_MOST = 10_000


@dataclass(frozen=True)
class Spread:
    """Standard deviations of paired differences, which determine a study's power. Fractions of accuracy.

    Attributes:
        run: Standard deviation of the runs of a fold, which differ in training clips and weights.
        fold: Standard deviation of the fold means, without the effect of recordings.
        recording: Standard deviation of the recording means; 0 includes them in the folds.
        recordings: Effective number of recordings per fold; not used if `recording` is 0.
        shared: Share of the fold variance common to all n: 1 is the safe choice. The variance of recordings counts as
            shared, since the test clips are the same.

    Raises:
        ConfigError: If one is negative or not finite, all are 0, `shared` is above 1, or there is less than one
            recording per fold.
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
                    f"`{name}` of a spread must be between 0 and 1. Received: {name}={value!r}. Standard deviations "
                    "are fractions of accuracy: write 0.055 for 5.5 points."
                )
        if not (self.run or self.fold or self.recording):
            raise ConfigError("`run`, `fold` or `recording` must be greater than 0. Received: 0 for all.")
        if not (math.isfinite(self.recordings) and self.recordings >= 1):
            raise ConfigError(f"`recordings` must be at least 1 per fold. Received: {self.recordings!r}.")

    def without_runs(self, n_values: int = 1) -> float:
        """Standard deviation of a fold's mean over infinitely many runs, averaged over n."""
        folds = self.fold**2 * (self.shared + (1 - self.shared) / n_values)
        return math.sqrt(folds + self.recording**2 / self.recordings)

    def of_fold(self, runs: int, n_values: int = 1) -> float:
        """The same for a given number of runs."""
        return math.hypot(self.without_runs(n_values), self.run / math.sqrt(runs * n_values))


@dataclass(frozen=True)
class Power:
    """The expected precision of a study of this size.

    Attributes:
        folds, runs, n_values, family: Its size: runs per fold and n; number of averaged n; tests in the family.
        half_width: Mean half-width of the interval.
        effects: True differences.
        power: For each, how often it is called better (or worse) if this is the only test. "Equivalent" has precedence:
            differences below the margin are called better the less often, the more precise a large study is.
        power_in_family: The same at level / `family`. Holm's method uses this level for the first test that it decides
            and higher levels for later ones, so with other true differences the power is higher.
        equivalent_at_zero: How often a true difference of 0 is called equivalent.
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
    """The size that a study needs for a goal.

    Attributes:
        folds, runs: Fewest folds with the given runs, fewest runs with the given folds; `None` if no number up to
            10,000 is enough, or the goal is an effect below the margin.
        more_folds, more_runs: How many more than given, at least 0.
        at_best: Half-width with these folds and infinitely many runs.
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
    contrast: bool = False,
) -> Power:
    """Computes what Student's t over folds (`mixed.over_folds`) is likely to decide: the verdicts of `contrasts`.

    As in `statistics.verdict_at`, a significant difference that is shown to be within the margin is equivalent, neither
    better nor worse.

    Exact for normal differences. The verdict of a single cell also uses a signed-rank test and, from 8 folds on, a
    bootstrap; `verdict_power` simulates it. In simulations of up to 5 tests, its power was up to 15 points lower from 7
    folds on, and could be far lower, even 0, with 2 to 5 folds, whose ranks are coarse; more tests need more folds.

    With one fold (TUT), the runs of all n together are the independent values: the power is then that of this one
    split. A single cell of one fold has only the signed-rank test, whose p is at least `2 ** (1 - runs)`: if that is
    not significant, its power is 0. With the fewest runs that can be significant it is up to 30 points lower than that
    of t, given here, and with a few more up to 10.

    Args:
        spread: Spread of the differences; `spread_of` and `spreads` estimate it.
        folds: Test folds.
        runs: Runs in each fold and n.
        n_values: Number of n averaged with equal weights; 1 is a single cell.
        family: Tests that Holm's method corrects together.
        margin: Margin of equivalence, which has precedence over better and worse.
        effects: True differences, fractions of accuracy.
        confidence: Confidence of the interval.
        contrast: Whether it is a planned contrast, whose verdict uses Student's t even for one n and one fold.

    Raises:
        ConfigError: If an argument is out of range, or there are fewer than two values to estimate the spread from.

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
    mixed.check_confidence(confidence)
    for effect in effects:
        if not 0 < abs(effect) < 1:
            raise ConfigError(
                f"`effects` must be non-zero fractions of accuracy. Received: {effect!r}. Write 0.03 for 3 points."
            )
    error, dof = _error(spread, folds, runs, n_values)

    def found(effect: float, level: float) -> float:
        if folds == 1 and n_values == 1 and not contrast and _too_few_for_ranks(runs, level):
            return 0.0
        return _found(effect, error, dof, level, margin)

    return Power(
        *(folds, runs, n_values, family),
        half_width=_half_width(error, dof, confidence),
        effects=tuple(effects),
        power=tuple(found(effect, _ALPHA) for effect in effects),
        power_in_family=tuple(found(effect, _ALPHA / family) for effect in effects),
        equivalent_at_zero=_equivalent(error, dof, margin, _ALPHA),
    )


def verdict_power(
    spread: Spread,
    *,
    folds: int,
    runs: int,
    family: int = 1,
    margin: float = 0.02,
    effects: Sequence[float] = _EFFECTS,
    confidence: float = 0.95,
    studies: int = 600,
    seed: int = 0,
) -> Power:
    """Simulates the verdicts of `statistics.compare` on a single cell: `power` for one n, with the actual tests.

    Takes seconds from 8 folds on. Only the difference from `power` is simulated, which is exact for t, so 600 studies
    give an accuracy of 3 points.

    Args:
        spread, folds, runs, family, margin, effects, confidence: See `power`.
        studies: Number of simulated studies per effect.
        seed: Seed of the simulation.

    Raises:
        ConfigError: As for `power`, and if `studies` is below 1.
    """
    _check(studies=studies)
    exact = power(spread, folds=folds, runs=runs, family=family, margin=margin, effects=effects, confidence=confidence)
    rng = np.random.default_rng(seed)
    fold_std = spread.without_runs() if folds > 1 else 0.0
    drawn = fold_std * rng.normal(size=(studies, folds, 1)) + spread.run * rng.normal(size=(studies, folds, runs))

    def compared(effect: float) -> list[Comparison]:
        return [compare_differences(list(study + effect), margin=margin, confidence=confidence) for study in drawn]

    values = drawn.mean(axis=2) if folds > 1 else drawn[:, 0]
    means, errors = values.mean(axis=1), values.std(axis=1, ddof=1) / math.sqrt(values.shape[1])
    dof = values.shape[1] - 1

    def better(effect: float, of_effect: Sequence[Comparison], tests: int, exactly: float) -> float:
        verdicts = [
            verdict_at(one, None if one.p_value is None else min(1.0, tests * one.p_value)) for one in of_effect
        ]
        least = _least(errors, dof, _ALPHA / tests, margin)
        less = np.mean(means + abs(effect) > least) - np.mean([verdict == "better" for verdict in verdicts])
        return min(max(exactly - float(less), 0.0), 1.0)

    found = [compared(abs(effect)) for effect in effects]
    none = compared(0.0)
    half_widths = [(one.high - one.low) / 2 for one in none if one.low is not None and one.high is not None]
    return replace(
        exact,
        half_width=float(np.mean(half_widths)) if half_widths else math.inf,
        power=tuple(map(better, effects, found, [1] * len(effects), exact.power)),
        power_in_family=tuple(map(better, effects, found, [family] * len(effects), exact.power_in_family)),
        equivalent_at_zero=float(np.mean([one.verdict == "equivalent" for one in none])),
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
    margin: float = 0.02,
    confidence: float = 0.95,
    level: float = _ALPHA,
    contrast: bool = False,
) -> Needed:
    """Computes the number of folds or runs needed to reach a goal, using `power`.

    Args:
        spread, n_values, family, margin, confidence, contrast: See `power`.
        folds, runs: Existing or planned size.
        half_width: The goal: an interval of this half-width, on average.
        effect: The goal: to call this true difference better or worse with probability `chance`, within the family. Use
            the observed difference to find what it takes to decide. Below `margin` the answer is `None`, since every
            study that is large enough calls the difference equivalent; at the margin, the power is at most 95 %.
        equivalent: The goal: to call a true difference of 0 equivalent within this margin, with probability `chance`.
        chance: Desired power.
        level: Significance level: of the two-sided test for `effect`, before the correction over the family; of each of
            the two one-sided tests for `equivalent`, which the family does not correct. Verdicts have 5 %.

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
    mixed.check_margin(margin)
    size = abs(value) if name == "effect" else value
    for what, fraction in ((name, size), ("chance", chance), ("confidence", confidence), ("level", level)):
        if not 0 < fraction < 1:
            raise ConfigError(f"`{what}` must be between 0 and 1. Received: {fraction!r}. It is a fraction.")

    def reached(of_folds: int, of_runs: int) -> bool:
        error, dof = _error(spread, of_folds, of_runs, n_values)
        if name == "half_width":
            return _half_width(error, dof, confidence) <= value
        if name == "effect":
            if of_folds == 1 and n_values == 1 and not contrast and _too_few_for_ranks(of_runs, level / family):
                return False
            # Below the margin, power rises with the size of the study and falls again.
            return size >= margin and _found(size, error, dof, level / family, margin) >= chance
        return _equivalent(error, dof, value, level) >= chance

    # One fold uses its runs, two use fold means: more is always better only from two on.
    fewest_folds = _fewest(2, lambda number: reached(number, runs))
    # One fold needs two runs, of however many n.
    fewest_runs = _fewest(2 if folds == 1 else 1, lambda number: reached(folds, number))
    error, dof = _error(spread, folds, 10**12, n_values)
    return Needed(
        folds=fewest_folds,
        runs=fewest_runs,
        more_folds=None if fewest_folds is None else max(fewest_folds - folds, 0),
        more_runs=None if fewest_runs is None else max(fewest_runs - runs, 0),
        at_best=_half_width(error, dof, confidence) if folds > 1 else 0.0,
    )


def spread_of(*cells: Differences, clips: ClipDifferences | None = None) -> Spread:
    """Estimates the spread from the differences of a study, for one or several n together.

    A few folds show little of how much folds differ: with three folds in one cell, an estimate of 0 is common where the
    true standard deviation is 3 points. All n of a network together show more.

    Args:
        *cells: See `mixed.components`.
        clips: Differences by clip of one of the cells, to separate the effect of recordings from the fold variance.

    Raises:
        DataError: As for `mixed.components` and `recordings.two_way`.
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
    """Estimates the spread of every network of a study, over all of its n.

    Args:
        rows: As for `statistics.compare`.
        compression, baseline: The two compressions.

    Returns:
        By (data set, model). Missing if unknown: without an n that has two folds and a fold with two runs, or if
        nothing varies.

    Raises:
        DataError: As for `statistics.compare`.
    """
    found = {}
    for names, cells in differences(rows, compression=compression, baseline=baseline).items():
        told = [cell for cell in cells.values() if len(cell) > 1 and any(len(runs) > 1 for runs in cell.values())]
        if told and any(np.ptp(np.concatenate(list(cell.values()))) for cell in told):
            found[names] = spread_of(*told)
    return found


def _error(spread: Spread, folds: int, runs: int, n_values: int) -> tuple[float, int]:
    """Standard error of the mean difference, and its degrees of freedom."""
    if folds > 1:
        return spread.of_fold(runs, n_values) / math.sqrt(folds), folds - 1
    if runs < 2:
        raise ConfigError(f"One fold needs at least two runs, to show how much they vary. Received: runs={runs}.")
    return spread.run / math.sqrt(runs * n_values), n_values * (runs - 1)


def _half_width(error: float, dof: int, confidence: float) -> float:
    # The standard deviation of a few values underestimates the true one on average.
    below = math.sqrt(2 / dof) * math.exp(math.lgamma((dof + 1) / 2) - math.lgamma(dof / 2))
    return float(special.stdtrit(dof, (1 + confidence) / 2)) * error * below


def _found(effect: float, error: float, dof: int, level: float, margin: float) -> float:
    """Probability that a true difference is called better if it is positive, or worse if it is negative."""
    if not error:
        return float(abs(effect) >= margin)
    least = _least(_estimated(error, dof), dof, level, margin)
    return float(special.ndtr((abs(effect) - least) / error).mean())


def _too_few_for_ranks(runs: int, level: float) -> bool:
    """Whether the signed-rank test of this many runs of one fold is never significant."""
    return 2.0 ** (1 - runs) >= level


def _least(estimated: FloatArray, dof: int, level: float, margin: float) -> FloatArray:
    """The smallest mean that is called better, by its estimated standard error: significant, and not equivalent."""
    significant = float(special.stdtrit(dof, 1 - level / 2)) * estimated
    not_equivalent = margin - float(special.stdtrit(dof, 1 - _ALPHA)) * estimated
    least: FloatArray = np.maximum(significant, not_equivalent)
    return least


def _equivalent(error: float, dof: int, margin: float, level: float) -> float:
    """Probability that both one-sided tests reject if there is no difference."""
    if not error:
        return 1.0
    room = np.maximum(margin - float(special.stdtrit(dof, 1 - level)) * _estimated(error, dof), 0)
    return float((1 - 2 * special.ndtr(-room / error)).mean())


def _estimated(error: float, dof: int) -> FloatArray:
    """The distribution of the estimated standard error, in equal shares."""
    share = (np.arange(2000) + 0.5) / 2000
    estimated: FloatArray = error * np.sqrt(special.chdtri(dof, 1 - share) / dof)
    return estimated


def _fewest(first: int, reached: Callable[[int], bool]) -> int | None:
    """The smallest number that reaches a goal, assuming that all larger ones do."""
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
            raise ConfigError(f"`{name}` must be a whole number of at least 1. Received: {name}={value!r}.")
