"""Accuracies and paired differences of accuracy, with intervals, tests and a verdict that respect the folds."""

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

# Of both kinds of verdict.
_ALPHA = 0.05
# One less than a round number, so that 95 % and 90 % fall on order statistics (Davison and Hinkley, section 2.4).
_RESAMPLES = 9999
_FEWEST_RESAMPLED, _MOST_RESAMPLED = 8, 100
# The exact signed-rank distribution is computed up to here, as in scipy; the normal one serves beyond.
_MOST_EXACT = 50
# Differences below this are rounding.
_ROUNDING = 1e-10


@dataclass(frozen=True)
class Comparison:
    """One cell of a table: the accuracy of `compression` minus that of `baseline`, over paired runs.

    All differences are fractions of accuracy: 0.02 is 2 points.

    Attributes:
        dataset, model, n_shot, compression, baseline: Which cell.
        n_pairs: (fold, run) pairs of which both runs are done.
        folds: Test folds of the pairs.
        mean: Of the differences, over runs, then over folds.
        std: Standard deviation of the differences, all folds together; `None` for one pair.
        low, high: Interval of the mean; `None` where it cannot be computed.
        low_90, high_90: Its 90 % interval, on which equivalence rests.
        low_within, high_within: Interval of the mean that more runs on the very same folds would have, as if there
            were no others; `None` where it cannot be computed. No verdict rests on it.
        p_value: Signed-rank test, two-sided; `None` for one pair.
        p_holm: The same, corrected by Holm's method over all comparisons of the data set that were made together.
        n_corrected: How many these are.
        p_equivalence: Two one-sided tests against `margin` on either side, the larger p.
        margin: Differences within it count as none.
        verdict: `"better"`, `"worse"`, `"equivalent"` or `"undecided"`; `compare` says by which rule.
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
        dataset, model, n_shot, compression: Which cell.
        n_runs: Runs that are done.
        folds: Their test folds.
        mean: Over runs, then over folds.
        std: Standard deviation of the runs, all folds together; `None` for one run.
        low, high: Interval of the mean, cut at 0 and 1; `None` where it cannot be computed.
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
    """Compares two compressions over the pairs of runs that differ in nothing else.

    All runs of a fold share its test set, so their differences have a part in common: the fold means, not the runs,
    are the independent values of every statistic. Where there is one fold only (TUT), the runs are these values, and
    interval and tests speak of that one split, not of others that could have been drawn.

    - Interval and equivalence: the studentised bootstrap, or Student's t; see `_Mean`.
    - Interval within these folds: what the choice of clips and weights alone leaves open; see `_interval_within`. Far
      narrower than the other where folds differ: then more folds are needed, not more runs.
    - `p_value`: a signed-rank test that respects the folds; see `_signed_rank_p`.
    - Equivalence: two one-sided tests (Schuirmann, *Journal of Pharmacokinetics and Biopharmaceutics* 15, 1987) by the
      interval's own distribution: p < .05 where the 90 % interval lies inside the margin. Not corrected over the
      table: what is guaranteed, is guaranteed for each cell.
    - Holm's correction is over the cells of a data set; `in_one_family` makes a whole report one family.
    - Verdict, the first that holds. "equivalent": p of equivalence < .05, also where the difference is significant (it
      is real, and smaller than what the margin calls a difference). "better" or "worse": Holm's p < .05, and the
      interval excludes zero on that side. "undecided": anything else; "not significant" is never "equal". Without an
      interval there is no other verdict.

    Assumed: folds are a sample of the splits that could have been. Their training sets overlap, which no
    cross-validation can correct for without bias (Bengio and Grandvalet, *JMLR* 5, 2004); with draws of at most 100
    clips per class the overlap is small. experiments/benchmarks/calibration.py measures what all this is worth.

    Args:
        rows: Runs: as `results.read_results` gives them, a `pandas.DataFrame` of the same columns, or rows of text as
            `csv.DictReader` reads them. Runs that are not done, or whose partner is not, are left out.
        compression: Whose accuracy counts as a gain.
        baseline: Whose accuracy is subtracted.
        margin: Of equivalence, a fraction of accuracy: 0.02 is 2 points.
        confidence: Of the intervals.
        seed: Of the bootstrap. The same for every cell: no cell's numbers depend on which others there are.
        score: Which accuracy of the runs: `"published"`, or `"settled"`; see `results.with_score`. Runs without a
            settled one are left out, with a warning. For one minus the other see `results.both_scores`.

    Returns:
        One comparison per (data set, model, n) with at least one pair, in that order.

    Raises:
        ConfigError: If an argument is out of range.
        DataError: If a column is missing, a run that is done has no accuracy from 0 to 1, or the rows have it twice.
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
    """Compares every other compression with the baseline, as `compare` does two.

    Holm's correction is over all of them: the cells of all compressions of a data set together.

    Args:
        rows, margin, confidence, seed, score: See `compare`.
        baseline: Whose accuracy is subtracted; of several, the comparisons with each are corrected together.

    Returns:
        One comparison per (data set, model, n, compression, baseline) with at least one pair, in that order.

    Raises:
        ConfigError, DataError: As `compare`.
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
    """The cells of two compressions, without Holm's p and verdicts."""
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
    """Judges the paired differences of one cell, as `compare` does those that it finds in rows.

    Args:
        differences: By fold, those of its runs: fractions of accuracy.
        margin, confidence, seed: See `compare`.

    Returns:
        A comparison without names, in a family of its own; `verdict_at` judges it in another.

    Raises:
        ConfigError: If an argument is out of range.
        DataError: If there is no fold, one has no runs, or a difference is not a finite number.
    """
    _check(margin=margin, confidence=confidence)
    (by_fold,) = mixed.checked([differences], fewest_folds=1)
    found = _comparison(("", "", 0, "", ""), tuple(by_fold), list(by_fold.values()), margin, confidence, seed)
    return in_one_family([found])[0]


def accuracies(rows: Rows, *, confidence: float = 0.95, seed: int = 0, score: str = "published") -> list[Accuracy]:
    """Mean accuracy of every cell, with an interval that respects the folds.

    Args:
        rows: As for `compare`. Runs that are not done are left out.
        confidence: Of the intervals.
        seed: Of the bootstrap.
        score: See `compare`.

    Returns:
        One per (data set, model, n, compression) with at least one run that is done, in that order.

    Raises:
        ConfigError: If `confidence` is out of range.
        DataError: As `compare`.
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
        mean_ranks: As many; ties share their mean.
        n_blocks: What was ranked: (model, n, fold), or where there is one fold (model, n, run).
        p_value: Of "all compressions are equally good": Friedman's test in the form of Iman and Davenport, and never
            below what all blocks in the same order have by chance.
        critical_difference: Mean ranks of two compressions that differ by less cannot be told apart (Nemenyi, 5 %).
        left_out: Compressions that were run in too few of the blocks to be ranked with the others.
    """

    dataset: str
    compressions: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    n_blocks: int
    p_value: float
    critical_difference: float
    left_out: tuple[str, ...] = ()


def rank(rows: Rows, *, score: str = "published") -> list[Ranking]:
    """Ranks three or more compressions over the cells of a data set, as Demsar does classifiers over data sets.

    In a block, a network, n and fold, every compression has its mean accuracy over the runs that all of them have
    done; these are ranked. Blocks of one fold share its test clips, those of one network its ways: they are less
    independent than Demsar's data sets, and p is the more to be taken as a description.

    Ranks need blocks that all compressions share. The three that were run in the most blocks are ranked in any case;
    the others, in that order, as long as at least half of the blocks that these three share are left.

    Args:
        rows, score: As for `compare`.

    Returns:
        One per data set with three or more compressions that share two or more blocks.

    Raises:
        DataError: As `accuracies`.

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
    # Where all compressions tie everywhere, Friedman's statistic is 0 / 0.
    chi_square = float(stats.friedmanchisquare(*scores.T).statistic) if np.ptp(scores, axis=1).any() else 0.0
    rest = n * (k - 1) - chi_square
    # No rest: all blocks have the same order.
    p_value = float(stats.f.sf((n - 1) * chi_square / rest, k - 1, (k - 1) * (n - 1))) if rest > 1e-9 else 0.0
    # F is far too sure of few blocks: by chance alone, all have the order of the first in 1 of k! ** (n - 1) cases.
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
    """What can be tested in one family with others: a `Comparison`, a `contrasts.Contrast`."""

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
    """Judges results again, Holm's correction being over all of them.

    `compare` and `compare_all` correct the cells of a data set that were compared together. A report that shows
    several such tables, or contrasts beside cells, makes one family of everything that it calls better or worse: the
    chance of one false claim in the whole report is then 5 %.

    Args:
        tested: Of `compare`, `compare_all` or `contrasts.contrasts`, together, in any order.

    Returns:
        The same, in the same order, with new `p_holm`, `n_corrected` and `verdict`.

    Example:
        >>> in_one_family([])
        []
    """
    results = list(tested)
    corrected = holm([one.p_value for one in results])
    n_corrected = sum(p is not None for p in corrected)
    return [
        # mypy knows of no protocol for dataclasses.
        replace(one, p_holm=p, n_corrected=n_corrected, verdict=verdict_at(one, p))  # type: ignore[type-var]
        for one, p in zip(results, corrected, strict=True)
    ]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (*Scandinavian Journal of Statistics* 6, 1979) over one family of tests.

    Args:
        p_values: Of the tests; `None` where there is none, which counts in no correction.

    Returns:
        As many corrected values, in the same order, none above 1.

    Raises:
        DataError: If one is not from 0 to 1.

    Example:
        >>> holm([0.01, 0.04, None, 0.03])
        [0.03, 0.06, None, 0.06]
    """
    there = [at for at, p in enumerate(p_values) if p is not None]
    p = np.array([p_values[at] for at in there], np.float64)
    wrong = p[~((p >= 0) & (p <= 1))]
    if len(wrong):
        raise DataError(f"A p value must be from 0 to 1. Received: {wrong[0]}. Give `None` where there is no test.")
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
            raise ConfigError(f"`{name}` must be above 0 and below 1. Received: {name}={value!r}. {_REMEDIES[name]}")


# ---- One cell ---------------------------------------------------------------------------------------------------


def _std(per_fold: Sequence[FloatArray]) -> float | None:
    values = np.concatenate(per_fold)
    return float(values.std(ddof=1)) if len(values) > 1 else None


class _Mean:
    """The mean of independent values (fold means, or the runs of the only fold), and how far it can be from the truth.

    By the studentised bootstrap (bootstrap-t; Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, ch. 12):
    whole folds are drawn with replacement, with all their runs. Runs are not drawn again inside a fold: fold means
    vary by the runs already, and a second draw would count that twice (Davison and Hinkley, *Bootstrap Methods and
    their Application*, 1997, section 3.8). Dividing by each resample's own standard error is the small-sample
    correction; without it the interval is too narrow.

    By Student's t where there are fewer than 8 values, which have too few distinct resamples: exact for normal values,
    and wide for 2 or 3 folds, as it must be. Also for values so coarse that resamples without any variation are no
    rarity, and for more than 100, where the two agree.

    Values that are all the same have no spread to judge by: the exact sign test stands in (n values on one side have
    a probability of 2 ** -n). Their interval is that value for 6 or more (at 95 %), else there is none.
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
            # From the smallest to the largest of n values covers the median with 1 - 2 ** (1 - n).
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
        # The same rank from either end, so that mirrored values have the mirrored interval.
        rank = max(int((_RESAMPLES + 1) * tail + 1e-6), 1) - 1
        ordered = np.partition(self._pivots, [rank, _RESAMPLES - 1 - rank])
        return float(ordered[rank]), float(ordered[_RESAMPLES - 1 - rank])

    def _p_inside(self, distance: float, side: int) -> float:
        """Of "the true mean is `distance` or more away", below the mean of the values (side 1) or above it (-1)."""
        if not self._error:
            return 2.0**-self._n if distance > _ROUNDING else 1.0
        if self._pivots is None:
            return float(mixed.distributions().stdtr(self._n - 1, -distance / self._error))
        return (1 + int(np.count_nonzero(side * self._pivots >= distance / self._error))) / (_RESAMPLES + 1)


def _interval_within(per_fold: Sequence[FloatArray], confidence: float) -> tuple[float, float] | tuple[None, None]:
    """Of the mean of the fold means, the folds taken as all there are: they are strata, and only runs are a sample.

    By Student's t with the degrees of freedom of Satterthwaite (*Biometrics Bulletin* 2, 1946), as folds need neither
    vary alike nor have as many runs. `None` where a fold has one run, or no fold's runs vary.
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
    """Of the mean; exactly 0 where the values differ by rounding alone, or there is one."""
    if len(values) == 1 or np.ptp(values) < _ROUNDING:
        return 0.0
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _bootstrap_pivots(values: FloatArray, seed: int) -> FloatArray | None:
    """Of every resample: its mean minus the values' mean, divided by its own standard error.

    Returns:
        `None` where Student's t serves better: few values, very many, or so coarse that resamples do not vary.
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
    """`(resamples, n)`: how often each value is drawn; as float, for the matrix products."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=_RESAMPLES).astype(np.float64)


# ---- Tests ------------------------------------------------------------------------------------------------------


def _signed_rank_p(per_fold: Sequence[FloatArray]) -> float | None:
    """Two-sided p of the signed-rank test, for one fold or several.

    In one fold: Wilcoxon's test on the pairs. Of r runs no p is below 2 ** (1 - r): 5 can never be significant, and 10
    only among up to 25 cells that Holm's method still has to decide.

    In several, pooled pairs would give false positives wherever folds differ, and Wilcoxon's test on 10 fold means has
    p >= 2 / 1024, which Holm's correction over the paper's 28 cells lifts above .05, whatever the data. So all pairs
    are ranked together, as Rosner, Glynn and Lee do for clusters (*Biometrics* 62, 2006), each fold's signed ranks are
    averaged, and the averages are referred to Student's t, as Iman does with single ranks (*Communications in
    Statistics* 3, 1974). Ranks of few folds are coarse, and t can be far too sure of them (2 folds x 4 runs, no
    effect: p < .002 in 1 grid of 20). Therefore the p value is never below that of the t test on the fold means, which
    bounds false positives at every level: both must reject.
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
    """Of the sum of the signed ranks, given that each sign is as likely as the other; exact with ties, too."""
    ranks = np.abs(scores[scores != 0])
    if not len(ranks):
        return 1.0
    if len(ranks) > _MOST_EXACT:
        return float(2 * mixed.distributions().ndtr(-abs(scores.sum()) / math.sqrt(float((ranks**2).sum()))))
    # Twice the ranks are whole numbers. probability[s]: of s as the sum of those with a plus.
    doubled = np.rint(2 * ranks).astype(int)
    probability = np.zeros(doubled.sum() + 1)
    probability[0] = 1
    for rank in doubled:
        probability[rank:] = (probability[rank:] + probability[:-rank]) / 2
        probability[:rank] /= 2
    smaller = int(min(doubled[scores[scores != 0] > 0].sum(), doubled[scores[scores != 0] < 0].sum()))
    return min(1.0, 2 * float(probability[: smaller + 1].sum()))


def _t_test_p(values: FloatArray) -> float:
    """Two-sided, against a mean of zero; values that do not vary get the sign test's p."""
    error = _standard_error(values)
    mean = float(values.mean())
    if not error:
        return min(1.0, 2.0 ** (1 - len(values))) if abs(mean) > _ROUNDING else 1.0
    return float(2 * mixed.distributions().stdtr(len(values) - 1, -abs(mean) / error))


# ---- A table ----------------------------------------------------------------------------------------------------


def _with_verdicts(cells: Sequence[Comparison]) -> list[Comparison]:
    # The cells of a data set lie side by side.
    return [one for _, table in groupby(cells, key=lambda cell: cell.dataset) for one in in_one_family(table)]


def verdict_at(tested: Tested, p_holm: float | None) -> str:
    """The verdict of a result, its p being corrected to `p_holm`; `compare` says by which rule."""
    if tested.low is None or tested.high is None or p_holm is None or tested.p_equivalence is None:
        return "undecided"
    if tested.p_equivalence < _ALPHA:
        return "equivalent"
    if p_holm < _ALPHA and tested.low > 0:
        return "better"
    if p_holm < _ALPHA and tested.high < 0:
        return "worse"
    return "undecided"
