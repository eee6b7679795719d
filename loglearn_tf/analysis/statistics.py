"""Accuracies and paired differences of accuracy, with intervals, tests and verdicts that respect the folds."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any, Protocol, TypeVar

import numpy as np

from loglearn_tf.analysis import mixed
from loglearn_tf.analysis.results import DECIMALS, FloatArray, Rows, Runs, independent
from loglearn_tf.datasets.n_shot import NShot, size_of
from loglearn_tf.errors import ConfigError, DataError

# Significance level of all verdicts.
_ALPHA = 0.05
# One less than a round number, so that 95 % and 90 % fall on order statistics (Davison and Hinkley, section 2.4).
_RESAMPLES = 9999
_FEWEST_RESAMPLED, _MOST_RESAMPLED = 8, 100
# The exact signed-rank distribution is computed up to here, as in scipy; the normal approximation is used beyond.
_MOST_EXACT = 50
# Differences below this are rounding.
_ROUNDING = 1e-10


@dataclass(frozen=True)
class Comparison:
    """One cell of a table: the accuracy of `compression` minus that of `baseline`, over paired runs.

    All differences are fractions of accuracy: 0.02 is 2 points.

    Attributes:
        dataset, model, n_shot, compression, baseline: The cell.
        n_pairs: Number of (fold, run) with both runs done.
        folds: Test folds of the pairs.
        mean: Mean difference, over runs, then over folds.
        std: Standard deviation of the differences, all folds together; `None` for a single pair.
        low, high: Interval of the mean; `None` if it cannot be computed.
        low_90, high_90: Its 90 % interval, on which equivalence rests.
        low_within, high_within: Interval of the mean for these folds only, which more runs would narrow; `None` if it
            cannot be computed. No verdict uses it.
        p_value: Signed-rank test, two-sided; `None` for a single pair.
        p_holm: The same, corrected by Holm's method over all comparisons of the data set made together.
        n_corrected: Number of these comparisons.
        p_equivalence: Two one-sided tests against `margin`; the larger p.
        margin: Differences within it count as zero.
        verdict: `"better"`, `"worse"`, `"equivalent"` or `"undecided"`; see `compare` for the rules.
    """

    dataset: str
    model: str
    n_shot: NShot
    compression: str
    baseline: str
    n_pairs: int
    folds: tuple[int, ...]
    mean: float
    std: float | None
    low: float | None
    high: float | None
    low_90: float | None
    high_90: float | None
    low_within: float | None
    high_within: float | None
    p_value: float | None
    p_holm: float | None
    n_corrected: int
    p_equivalence: float | None
    margin: float
    verdict: str


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of one compression in one cell of a table, as a fraction.

    Attributes:
        dataset, model, n_shot, compression: The cell.
        n_runs: Number of finished runs.
        folds: Their test folds.
        mean: Mean over runs, then over folds.
        std: Standard deviation of the runs, all folds together; `None` for a single run.
        low, high: Interval of the mean, clipped to [0, 1]; `None` if it cannot be computed.
    """

    dataset: str
    model: str
    n_shot: NShot
    compression: str
    n_runs: int
    folds: tuple[int, ...]
    mean: float
    std: float | None
    low: float | None
    high: float | None


def compare(
    rows: Rows,
    *,
    compression: str = "loglearn",
    baseline: str = "logeps",
    margin: float = 0.02,
    confidence: float = 0.95,
    seed: int = 0,
    score: str = "published",
) -> list[Comparison]:
    """Compares two compressions over pairs of runs that differ in nothing else.

    All runs of a fold share its test set, so their differences have a common part: the fold means, not the runs, are
    the independent values of every statistic. With only one fold (TUT), the runs are these values, and intervals and
    tests apply to that one split, not to others that could have been drawn.

    - Interval and equivalence: the studentised bootstrap, or Student's t; see `_Mean`.
    - Interval within these folds: the uncertainty from the choice of clips and weights only; see `_interval_within`.
      If it is much narrower than the other, folds differ: then more folds are needed, not more runs.
    - `p_value`: a signed-rank test that respects the folds; see `_signed_rank_p`.
    - Equivalence: two one-sided tests (Schuirmann, *Journal of Pharmacokinetics and Biopharmaceutics* 15, 1987) by the
      distribution of the interval: p < .05 if the 90 % interval is inside the margin. Not corrected over the table: the
      guarantee is for each cell.
    - Holm's correction is over the cells of a data set; `in_one_family` makes a whole report one family.
    - Verdict, the first that holds. "equivalent": p of equivalence < .05, even if the difference is significant (it is
      real, but smaller than the margin). "better" or "worse": Holm's p < .05, and the interval excludes zero on that
      side. "undecided": anything else; "not significant" never means "equal". Without an interval there is no other
      verdict.

    Assumption: folds are a sample of possible splits. Their training sets overlap, which no
    cross-validation can correct without bias (Bengio and Grandvalet, *JMLR* 5, 2004); with draws of at most 100
    clips per class the overlap is small. experiments/benchmarks/calibration.py measures the actual error rates.

    Args:
        rows: Runs: from `results.read_results`, a `pandas.DataFrame` with the same columns, or text rows from
            `csv.DictReader`. Unfinished runs, and runs without a finished partner, are omitted.
        compression: The compression being tested.
        baseline: The compression whose accuracy is subtracted.
        margin: Margin of equivalence, a fraction of accuracy: 0.02 is 2 points.
        confidence: Confidence of the intervals.
        seed: Seed of the bootstrap, the same for every cell, so that cells do not depend on each other.
        score: `"published"` or `"settled"`; see `results.with_score`. Runs without a settled score are omitted, with a
            warning. To subtract one score from the other, see `results.both_scores`.

    Returns:
        One comparison per (data set, model, n) with at least one pair, in that order.

    Raises:
        ConfigError: If an argument is out of range.
        DataError: If a column is missing, a finished run has no accuracy between 0 and 1, or a run occurs twice.

    Example:
        >>> cell = {"dataset": "us8k", "model": "timbre", "n_shot": 10, "status": "done"}
        >>> rows = [
        ...     {**cell, "compression": name, "fold": fold, "run": run, "accuracy": 0.4 + gain + fold / 99 + run / 999}
        ...     for name, gain in (("logeps", 0.0), ("loglearn", 0.05))
        ...     for fold in range(1, 6)
        ...     for run in range(2)
        ... ]
        >>> (one,) = compare(rows)
        >>> round(one.mean, 3), one.n_pairs
        (0.05, 10)
    """
    if compression == baseline:
        raise ConfigError(f"`compression` and `baseline` must differ. Received: {compression!r} for both.")
    _check(margin=margin, confidence=confidence)
    return _with_verdicts(_compared(Runs(rows, score=score), compression, baseline, margin, confidence, seed))


def compare_all(
    rows: Rows,
    *,
    baseline: str | Sequence[str] = "logeps",
    margin: float = 0.02,
    confidence: float = 0.95,
    seed: int = 0,
    score: str = "published",
) -> list[Comparison]:
    """Compares every other compression with the baseline, like `compare`.

    Holm's correction covers the cells of all compressions of a data set together.

    Args:
        rows, margin, confidence, seed, score: See `compare`.
        baseline: The compression whose accuracy is subtracted; with several, all comparisons are corrected together.

    Returns:
        One comparison per (data set, model, n, compression, baseline) with at least one pair, in that order.

    Raises:
        ConfigError, DataError: As for `compare`.
    """
    _check(margin=margin, confidence=confidence)
    runs = Runs(rows, score=score)
    found = [
        cell
        for one in ([baseline] if isinstance(baseline, str) else dict.fromkeys(baseline))
        for compression in runs.levels["compression"]
        if compression != one
        for cell in _compared(runs, compression, one, margin, confidence, seed)
    ]

    def place(cell: Comparison) -> tuple[Any, ...]:
        return cell.dataset, cell.model, size_of(cell.n_shot), cell.compression, cell.baseline

    return _with_verdicts(sorted(found, key=place))


def _compared(
    runs: Runs, compression: str, baseline: str, margin: float, confidence: float, seed: int
) -> list[Comparison]:
    """The cells of two compressions, before Holm's correction and verdicts."""
    return [
        _comparison((dataset, model, n_shot, compression, baseline), folds, differences, margin, confidence, seed)
        for (dataset, model, n_shot), folds, differences in runs.pairs(compression, baseline)
    ]


def _comparison(
    names: tuple[str, str, NShot, str, str],
    folds: tuple[int, ...],
    differences: Sequence[FloatArray],
    margin: float,
    confidence: float,
    seed: int,
) -> Comparison:
    mean = _Mean(independent(differences), seed)
    low, high = mean.interval(confidence)
    low_90, high_90 = mean.interval(1 - 2 * _ALPHA)
    low_within, high_within = _interval_within(differences, confidence) if len(folds) > 1 else (low, high)
    return Comparison(
        *names,
        n_pairs=sum(map(len, differences)),
        folds=folds,
        mean=mean.mean,
        std=_std(differences),
        low=low,
        high=high,
        low_90=low_90,
        high_90=high_90,
        low_within=low_within,
        high_within=high_within,
        p_value=_signed_rank_p(differences),
        p_holm=None,
        n_corrected=0,
        p_equivalence=mean.p_within(margin),
        margin=float(margin),
        verdict="undecided",
    )


def compare_differences(
    differences: Sequence[FloatArray],
    *,
    margin: float = 0.02,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Evaluates the paired differences of one cell, like `compare`.

    Args:
        differences: By fold, the differences of its runs, in fractions of accuracy.
        margin, confidence, seed: See `compare`.

    Returns:
        A comparison without names, as a family of one; `verdict_at` gives the verdict in another family.

    Raises:
        ConfigError: If an argument is out of range.
        DataError: If there are no folds, one has no runs, or a difference is not a finite number.
    """
    _check(margin=margin, confidence=confidence)
    (by_fold,) = mixed.checked([differences], fewest_folds=1)
    found = _comparison(("", "", 0, "", ""), tuple(by_fold), list(by_fold.values()), margin, confidence, seed)
    return in_one_family([found])[0]


def accuracies(rows: Rows, *, confidence: float = 0.95, seed: int = 0, score: str = "published") -> list[Accuracy]:
    """Computes the mean accuracy of every cell, with an interval that respects the folds.

    Args:
        rows: As for `compare`. Unfinished runs are omitted.
        confidence: Confidence of the intervals.
        seed: Seed of the bootstrap.
        score: See `compare`.

    Returns:
        One per (data set, model, n, compression) with at least one finished run, in that order.

    Raises:
        ConfigError: If `confidence` is out of range.
        DataError: As for `compare`.
    """
    _check(confidence=confidence)
    found = []
    for (dataset, model, n_shot, compression), folds, values in Runs(rows, score=score).cells():
        mean = _Mean(independent(values), seed)
        low, high = mean.interval(confidence)
        found.append(
            Accuracy(
                *(dataset, model, n_shot, compression),
                n_runs=sum(map(len, values)),
                folds=folds,
                mean=mean.mean,
                std=_std(values),
                low=None if low is None else max(low, 0.0),
                high=None if high is None else min(high, 1.0),
            )
        )
    return found


@dataclass(frozen=True)
class Ranking:
    """Mean ranks of the compressions of a data set; 1 is the most accurate.

    Attributes:
        dataset: Its name.
        compressions: By mean rank, the best first.
        mean_ranks: Mean rank of each; ties share their mean rank.
        n_blocks: Number of ranked blocks: (model, n, fold), or (model, n, run) with a single fold.
        p_value: p of "all compressions are equally good": Friedman's test in the form of Iman and Davenport, but at
            least
            the probability that all blocks have the same order by chance.
        critical_difference: Smaller differences between two mean ranks are not significant (Nemenyi, 5 %).
        left_out: Compressions with too few blocks to be ranked with the others.
    """

    dataset: str
    compressions: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    n_blocks: int
    p_value: float
    critical_difference: float
    left_out: tuple[str, ...] = ()


def rank(rows: Rows, *, score: str = "published") -> list[Ranking]:
    """Ranks three or more compressions over the cells of a data set, like Demsar's classifiers over data sets.

    In a block (network, n and fold), every compression has its mean accuracy over the runs that all of them have done;
    these means are ranked. Blocks of one fold share its test clips, and blocks of one network its behaviour: they are
    less independent than Demsar's data sets, so p is descriptive.

    Ranking needs blocks shared by all compressions. The three with the most blocks are always ranked; the others are
    added in order of their number of blocks, as long as at least half of the blocks of these three remain.

    Args:
        rows, score: As for `compare`.

    Returns:
        One per data set with at least three compressions that share at least two blocks.

    Raises:
        DataError: As for `accuracies`.

    Reference:
        Demsar, *JMLR* 7, 2006; Iman and Davenport, *Communications in Statistics* 9, 1980.
    """
    accuracy: dict[str, dict[str, dict[tuple[Any, ...], float]]] = {}
    for dataset, model, n_shot, compression, fold, run, value in Runs(rows, score=score):
        accuracy.setdefault(dataset, {}).setdefault(compression, {})[model, n_shot, fold, run] = value
    rankings = []
    for dataset, of in sorted(accuracy.items()):
        found = sorted(of, key=lambda name: (-len({cell[:3] for cell in of[name]}), -len(of[name]), name))
        shared = set.intersection(*(set(of[name]) for name in found[:3]))
        several_folds = len({fold for _, _, fold, _ in shared}) > 1
        blocks = _blocks(shared, several_folds)
        names, n_enough = found[:3], max(2.0, len(blocks) / 2)
        for name in found[3:]:
            left = _blocks(shared & of[name].keys(), several_folds)
            if len(left) >= n_enough:
                names.append(name)
                shared, blocks = shared & of[name].keys(), left
        if len(names) > 2 and len(blocks) > 1:
            names.sort()
            means = [[np.mean([of[name][cell] for cell in cells]) for name in names] for cells in blocks.values()]
            rankings.append(_ranking(dataset, names, np.array(means), sorted({*found} - {*names})))
    return rankings


def _blocks(cells: Iterable[tuple[Any, ...]], several_folds: bool) -> dict[tuple[Any, ...], list[tuple[Any, ...]]]:
    """Block -> the (model, n, fold, run) in it."""
    blocks: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for model, n_shot, fold, run in sorted(cells, key=lambda cell: (cell[0], size_of(cell[1]), *cell[2:])):
        blocks.setdefault((model, n_shot, fold if several_folds else run), []).append((model, n_shot, fold, run))
    return blocks


def _ranking(dataset: str, names: Sequence[str], accuracy: FloatArray, left_out: Sequence[str]) -> Ranking:
    from scipy import stats

    # Rounded: means of the same accuracies in another order must tie.
    scores = -np.round(accuracy, DECIMALS)
    n, k = scores.shape
    mean = stats.rankdata(scores, axis=1).mean(axis=0)
    # If all compressions tie everywhere, Friedman's statistic is 0 / 0.
    chi_square = float(stats.friedmanchisquare(*scores.T).statistic) if np.ptp(scores, axis=1).any() else 0.0
    rest = n * (k - 1) - chi_square
    # No residual: all blocks have the same order.
    p_value = float(stats.f.sf((n - 1) * chi_square / rest, k - 1, (k - 1) * (n - 1))) if rest > 1e-9 else 0.0
    # F is overconfident with few blocks: by chance, all have the order of the first in 1 of k! ** (n - 1) cases.
    p_value = max(p_value, math.exp((1 - n) * math.lgamma(k + 1)))
    quantile = float(stats.studentized_range.ppf(1 - _ALPHA, k, np.inf)) / math.sqrt(2)
    order = np.argsort(mean, kind="stable")
    return Ranking(
        dataset=dataset,
        compressions=tuple(names[at] for at in order),
        mean_ranks=tuple(float(mean[at]) for at in order),
        n_blocks=n,
        p_value=p_value,
        critical_difference=quantile * math.sqrt(k * (k + 1) / (6 * n)),
        left_out=tuple(left_out),
    )


class Tested(Protocol):
    """A result that can be corrected in a family: a `Comparison` or a `contrasts.Contrast`."""

    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def p_value(self) -> float | None: ...
    @property
    def p_equivalence(self) -> float | None: ...


_Tested = TypeVar("_Tested", bound=Tested)


def in_one_family(tested: Iterable[_Tested]) -> list[_Tested]:
    """Updates the verdicts of results with Holm's correction over all of them.

    `compare` and `compare_all` correct the cells of a data set that are compared together. A report with several such
    tables, or contrasts in addition to cells, makes one family of everything that it calls better or worse: the
    probability of a false claim in the whole report is then at most 5 %.

    Args:
        tested: Results of `compare`, `compare_all` or `contrasts.contrasts`, in any order.

    Returns:
        The same results, in the same order, with new `p_holm`, `n_corrected` and `verdict`.

    Example:
        >>> in_one_family([])
        []
    """
    results = list(tested)
    corrected = holm([one.p_value for one in results])
    n_corrected = sum(p is not None for p in corrected)
    return [
        # mypy has no protocol for dataclasses.
        replace(one, p_holm=p, n_corrected=n_corrected, verdict=verdict_at(one, p))  # type: ignore[type-var]
        for one, p in zip(results, corrected, strict=True)
    ]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (*Scandinavian Journal of Statistics* 6, 1979) over one family of tests.

    Args:
        p_values: p values of the tests; `None` entries are not counted.

    Returns:
        The corrected values, in the same order, at most 1.

    Raises:
        DataError: If one is not between 0 and 1.

    Example:
        >>> holm([0.01, 0.04, None, 0.03])
        [0.03, 0.06, None, 0.06]
    """
    there = [at for at, p in enumerate(p_values) if p is not None]
    p = np.array([p_values[at] for at in there], np.float64)
    wrong = p[~((p >= 0) & (p <= 1))]
    if len(wrong):
        raise DataError(f"A p value must be between 0 and 1. Received: {wrong[0]}. Use `None` if there is no test.")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected: list[float | None] = [None] * len(p_values)
    for at, value in zip(order, np.minimum(stepped, 1), strict=True):
        corrected[there[at]] = float(value)
    return corrected


_REMEDIES = {"margin": "It is a fraction of accuracy: write 0.02 for 2 points.", "confidence": "Write 0.95 for 95 %."}


def _check(**fractions: float) -> None:
    for name, value in fractions.items():
        if not 0 < value < 1:
            raise ConfigError(f"`{name}` must be between 0 and 1. Received: {name}={value!r}. {_REMEDIES[name]}")


# ---- One cell ---------------------------------------------------------------------------------------------------


def _std(per_fold: Sequence[FloatArray]) -> float | None:
    values = np.concatenate(per_fold)
    return float(values.std(ddof=1)) if len(values) > 1 else None


class _Mean:
    """The mean of independent values (fold means, or the runs of a single fold) and its uncertainty.

    By the studentised bootstrap (bootstrap-t; Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, ch. 12):
    whole folds are drawn with replacement, with all their runs. Runs are not resampled within folds: fold means already
    vary with the runs, and resampling would count that twice (Davison and Hinkley, *Bootstrap Methods and their
    Application*, 1997, section 3.8). Dividing by each resample's own standard error is the small-sample correction;
    without it the interval is too narrow.

    By Student's t with fewer than 8 values, which have too few distinct resamples: exact for normal values, and wide
    for 2 or 3 folds, as it must be. Also for values so coarse that resamples without variation are common, and for more
    than 100 values, where the two methods agree.

    Equal values have no spread to estimate the error from: the exact sign test is used (n values on one side have a
    probability of 2 ** -n). Their interval is that value for 6 or more values (at 95 %); otherwise there is none.
    """

    def __init__(self, values: FloatArray, seed: int) -> None:
        self.mean = float(values.mean())
        self._n = len(values)
        self._error = _standard_error(values)
        self._pivots = _bootstrap_pivots(values, seed) if self._error else None

    def interval(self, confidence: float) -> tuple[float, float] | tuple[None, None]:
        if self._n == 1:
            return None, None
        if not self._error:
            # The range of n values covers the median with probability 1 - 2 ** (1 - n).
            return (self.mean, self.mean) if 2.0 ** (1 - self._n) <= 1 - confidence else (None, None)
        below, above = self._quantiles((1 - confidence) / 2)
        return self.mean - above * self._error, self.mean - below * self._error

    def p_within(self, margin: float) -> float | None:
        """Two one-sided tests that the true mean is inside the margin; the larger p."""
        if self._n == 1:
            return None
        return max(self._p_inside(margin + self.mean, 1), self._p_inside(margin - self.mean, -1))

    def _quantiles(self, tail: float) -> tuple[float, float]:
        if self._pivots is None:
            t = float(mixed.distributions().stdtrit(self._n - 1, tail))
            return t, -t
        # The same rank from either end, so that mirrored values give the mirrored interval.
        rank = max(int((_RESAMPLES + 1) * tail + 1e-6), 1) - 1
        ordered = np.partition(self._pivots, [rank, _RESAMPLES - 1 - rank])
        return float(ordered[rank]), float(ordered[_RESAMPLES - 1 - rank])

    def _p_inside(self, distance: float, side: int) -> float:
        """p of "the true mean is at least `distance` below the mean of the values" (side 1), or above it (-1)."""
        if not self._error:
            return 2.0**-self._n if distance > _ROUNDING else 1.0
        if self._pivots is None:
            return float(mixed.distributions().stdtr(self._n - 1, -distance / self._error))
        return (1 + int(np.count_nonzero(side * self._pivots >= distance / self._error))) / (_RESAMPLES + 1)


def _interval_within(per_fold: Sequence[FloatArray], confidence: float) -> tuple[float, float] | tuple[None, None]:
    """Interval of the mean of fold means for these folds only: folds are strata, and only runs are a sample.

    By Student's t with Satterthwaite's degrees of freedom (*Biometrics Bulletin* 2, 1946), since folds may differ in
    variance and number of runs. `None` if a fold has only one run, or no fold's runs vary.
    """
    n_runs = np.array([len(runs) for runs in per_fold])
    if n_runs.min() < 2:
        return None, None
    variances = np.array([_standard_error(runs) ** 2 for runs in per_fold]) / len(per_fold) ** 2
    variance = float(variances.sum())
    if not variance:
        return None, None
    dof = variance**2 / float((variances**2 / (n_runs - 1)).sum())
    half_width = -float(mixed.distributions().stdtrit(dof, (1 - confidence) / 2)) * math.sqrt(variance)
    mean = float(independent(per_fold).mean())
    return mean - half_width, mean + half_width


def _standard_error(values: FloatArray) -> float:
    """Standard error of the mean; exactly 0 if the values differ only by rounding, or there is only one."""
    if len(values) == 1 or np.ptp(values) < _ROUNDING:
        return 0.0
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _bootstrap_pivots(values: FloatArray, seed: int) -> FloatArray | None:
    """For every resample: its mean minus the mean of the values, divided by its own standard error.

    Returns:
        `None` if Student's t is better: few values, very many, or so coarse that resamples do not vary.
    """
    n = len(values)
    if not _FEWEST_RESAMPLED <= n <= _MOST_RESAMPLED:
        return None
    counts = _resample_counts(n, seed)
    centred = values - values.mean()
    shift = counts @ centred / n
    variance = (counts @ centred**2 - n * shift**2) / (n - 1)
    constant = variance < 1e-9 * centred.var()
    if np.count_nonzero(constant) > _RESAMPLES / 1000:
        return None
    pivots: FloatArray = shift / np.sqrt(np.where(constant, np.inf, variance) / n)
    return pivots


@lru_cache(maxsize=8)
def _resample_counts(n: int, seed: int) -> FloatArray:
    """`(resamples, n)`: number of draws of each value, as float for the matrix products."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=_RESAMPLES).astype(np.float64)


# ---- Tests ------------------------------------------------------------------------------------------------------


def _signed_rank_p(per_fold: Sequence[FloatArray]) -> float | None:
    """Two-sided p of the signed-rank test, for one fold or several.

    In one fold: Wilcoxon's test on the pairs. With r runs, p is at least 2 ** (1 - r): 5 runs can never be significant,
    and 10 only among up to 25 cells that Holm's method still has to decide.

    In several folds, pooled pairs would give false positives whenever folds differ, and Wilcoxon's test on 10 fold
    means has p >= 2 / 1024, which Holm's correction over the paper's 28 cells raises above .05, whatever the data. So
    all pairs are ranked together, like the clusters of Rosner, Glynn and Lee (*Biometrics* 62, 2006), each fold's
    signed ranks are averaged, and the averages are referred to Student's t, like the single ranks of Iman
    (*Communications in Statistics* 3, 1974). Ranks of few folds are coarse, and t can be very overconfident (2 folds x
    4 runs, no effect: p < .002 in 1 of 20 grids). Therefore p is never below that of the t test on the fold means,
    which bounds false positives at every level: both tests must reject.
    """
    values = np.concatenate(per_fold)
    if len(values) == 1:
        return None
    scores = _signed_ranks(values)
    if len(per_fold) == 1:
        return _wilcoxon_p(scores)
    ends = np.cumsum([len(runs) for runs in per_fold])[:-1]
    fold_scores = np.array([part.mean() for part in np.split(scores, ends)])
    return max(_t_test_p(fold_scores), _t_test_p(independent(per_fold)))


def _signed_ranks(values: FloatArray) -> FloatArray:
    """Ranks of the absolute values, from 1, ties averaged, with the values' signs; zeros are not ranked and stay 0."""
    scores = np.zeros(len(values))
    ranked = values != 0
    _, level, count = np.unique(np.abs(values[ranked]), return_inverse=True, return_counts=True)
    scores[ranked] = (np.cumsum(count) - (count - 1) / 2)[level] * np.sign(values[ranked])
    return scores


def _wilcoxon_p(scores: FloatArray) -> float:
    """Two-sided p of the sum of the signed ranks, with equally likely signs; exact even with ties."""
    ranks = np.abs(scores[scores != 0])
    if not len(ranks):
        return 1.0
    if len(ranks) > _MOST_EXACT:
        return float(2 * mixed.distributions().ndtr(-abs(scores.sum()) / math.sqrt(float((ranks**2).sum()))))
    # Doubled ranks are whole numbers. probability[s]: probability that those with a plus add up to s.
    doubled = np.rint(2 * ranks).astype(int)
    probability = np.zeros(doubled.sum() + 1)
    probability[0] = 1
    for rank in doubled:
        probability[rank:] = (probability[rank:] + probability[:-rank]) / 2
        probability[:rank] /= 2
    smaller = int(min(doubled[scores[scores != 0] > 0].sum(), doubled[scores[scores != 0] < 0].sum()))
    return min(1.0, 2 * float(probability[: smaller + 1].sum()))


def _t_test_p(values: FloatArray) -> float:
    """Two-sided p against a mean of zero; for equal values, p of the sign test."""
    error = _standard_error(values)
    mean = float(values.mean())
    if not error:
        return min(1.0, 2.0 ** (1 - len(values))) if abs(mean) > _ROUNDING else 1.0
    return float(2 * mixed.distributions().stdtr(len(values) - 1, -abs(mean) / error))


# ---- A table ----------------------------------------------------------------------------------------------------


def _with_verdicts(cells: Sequence[Comparison]) -> list[Comparison]:
    # The cells of a data set are adjacent.
    return [one for _, table in groupby(cells, key=lambda cell: cell.dataset) for one in in_one_family(table)]


def verdict_at(tested: Tested, p_holm: float | None) -> str:
    """The verdict of a result with the corrected p `p_holm`; see `compare` for the rules."""
    if tested.low is None or tested.high is None or p_holm is None or tested.p_equivalence is None:
        return "undecided"
    if tested.p_equivalence < _ALPHA:
        return "equivalent"
    if p_holm < _ALPHA and tested.low > 0:
        return "better"
    if p_holm < _ALPHA and tested.high < 0:
        return "worse"
    return "undecided"
