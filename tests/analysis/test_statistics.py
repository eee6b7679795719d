"""Intervals, tests and verdicts: equal to independent computations, and worth what they promise."""

import itertools
import math
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from loglearn_tf.analysis.statistics import (
    Accuracy,
    Comparison,
    _bootstrap_pivots,
    accuracies,
    compare,
    compare_all,
    rank,
)
from loglearn_tf.errors import ConfigError, DataError


def row(accuracy: float | None, **cell: object) -> dict[str, object]:
    return {
        "dataset": "us8k",
        "model": "vgg",
        "compression": "loglearn",
        "n_shot": 1,
        "fold": 1,
        "run": 0,
        "accuracy": accuracy,
        "status": "failed" if accuracy is None else "done",
        **cell,
    }


def rows_of(differences, *, baseline: float = 0.5, **cell: object) -> list[dict[str, object]]:
    """Pairs with these differences: a list of runs for each fold."""
    return [
        row(accuracy, compression=compression, fold=fold, run=run, **cell)
        for fold, runs in enumerate(differences, start=1)
        for run, difference in enumerate(runs)
        for compression, accuracy in (("loglearn", baseline + float(difference)), ("logeps", baseline))
    ]


def compare_one(differences, **arguments) -> Comparison:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = compare(rows_of(differences), **arguments)
    return found


def grid(seed: int, folds: int, runs: int, *, mean=0.0, run_std=0.045, fold_std=0.015) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return mean + fold_std * rng.normal(size=(folds, 1)) + run_std * rng.normal(size=(folds, runs))


# ---- Against independent computations -----------------------------------------------------------------------------


class TestTheIntervalWithinTheFolds:
    """What more runs on the same folds could still change."""

    @pytest.mark.parametrize("confidence", [0.95, 0.8])
    def test_of_two_folds_is_welchs(self, confidence):
        # The mean of two fold means is half the difference of the one and the negative other.
        one, other = [0.02, 0.05, 0.01, 0.08, 0.03], [-0.11, 0.04, -0.02]
        found = compare_one([one, other], confidence=confidence)
        welch = scipy.stats.ttest_ind(one, np.negative(other), equal_var=False).confidence_interval(confidence)
        assert (found.low_within, found.high_within) == pytest.approx((welch.low / 2, welch.high / 2))

    def test_of_folds_that_vary_alike_is_that_of_a_linear_model_with_folds(self):
        # Each fold's deviations from its mean are the same: the degrees of freedom are those of the pooled variance.
        deviations = np.array([-0.03, 0.01, 0.02, 0.0])
        found = compare_one([0.1 + deviations, -0.2 + deviations, 0.4 + deviations])
        pooled = 3 * (deviations**2).sum() / 9
        half_width = scipy.stats.t(9).ppf(0.975) * math.sqrt(pooled / 12)
        assert (found.low_within, found.high_within) == pytest.approx((0.1 - half_width, 0.1 + half_width))
        assert found.low < -0.6 and found.high > 0.8  # folds that differ so say little of others

    def test_covers_the_mean_of_these_folds_as_often_as_it_says(self):
        rng = np.random.default_rng(1)
        covered = []
        for _ in range(400):
            of_fold = 0.1 * rng.normal(size=(3, 1))
            found = compare_one(of_fold + rng.normal(size=(3, 4)) * [[0.02], [0.04], [0.08]])
            covered.append(found.low_within <= of_fold.mean() <= found.high_within)
        assert 0.92 <= np.mean(covered) <= 0.98

    def test_of_one_fold_is_the_interval(self):
        found = compare_one(grid(0, 1, 9))
        assert (found.low_within, found.high_within) == (found.low, found.high)

    @pytest.mark.parametrize("folds", [[[0.1, 0.2], [0.3]], [[0.1, 0.1], [0.2, 0.2]]])
    def test_needs_runs_that_vary_in_every_fold(self, folds):
        found = compare_one(folds)
        assert (found.low_within, found.high_within) == (None, None)
        assert found.low is not None


def test_means_and_deviations_by_hand():
    # Fold 1: +10, +30; fold 2: -10, and a run whose partner failed; fold 3: its only run failed.
    rows = [
        *rows_of([[0.1, 0.3], [-0.1]]),
        row(0.9, fold=2, run=1),
        row(None, compression="logeps", fold=2, run=1),
        row(None, fold=3),
        row(0.5, compression="logeps", fold=3),
    ]
    (found,) = compare(rows)
    assert (found.n_pairs, found.folds) == (3, (1, 2))
    assert found.mean == pytest.approx(0.05)  # ((10 + 30) / 2 - 10) / 2, not (10 + 30 - 10) / 3
    assert found.std == pytest.approx(0.2)  # of 10, 30, -10: mean 10, squares 0 + 400 + 400, over 2
    # Fold means 20 and -10: standard error 15; Student's t with one degree of freedom: 12.7062.
    assert (found.low, found.high) == (
        pytest.approx(0.05 - 1.905931, abs=1e-6),
        pytest.approx(0.05 + 1.905931, abs=1e-6),
    )

    logeps, loglearn = accuracies(rows)
    assert (logeps.compression, logeps.n_runs, logeps.folds, logeps.mean) == ("logeps", 4, (1, 2, 3), 0.5)
    assert (loglearn.n_runs, loglearn.folds) == (4, (1, 2))
    assert loglearn.mean == pytest.approx(0.675)  # ((60 + 80) / 2 + (40 + 90) / 2) / 2
    assert loglearn.std == pytest.approx(
        0.2217356
    )  # of 60, 80, 40, 90: squares 56.25 + 156.25 + 756.25 + 506.25, over 3
    assert (loglearn.low, loglearn.high) == (
        pytest.approx(0.675 - 0.317655, abs=1e-6),
        pytest.approx(0.675 + 0.317655, abs=1e-6),
    )


@pytest.mark.parametrize(("folds", "runs"), [(2, 4), (3, 4), (7, 5), (1, 5), (1, 7), (1, 101)])
def test_few_or_very_many_values_have_students_interval(folds, runs):
    differences = grid(1, folds, runs, mean=0.01)
    values = differences.mean(axis=1) if folds > 1 else differences[0]
    for confidence in (0.95, 0.8):
        found = compare_one(differences, confidence=confidence)
        expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(confidence)
        assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-9)
    lower = scipy.stats.ttest_1samp(values, -0.02, alternative="greater").pvalue
    upper = scipy.stats.ttest_1samp(values, 0.02, alternative="less").pvalue
    assert found.p_equivalence == pytest.approx(max(lower, upper))


def test_equivalence_as_in_statsmodels():
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    differences = grid(2, 5, 10, mean=0.005, run_std=0.03)
    for margin in (0.01, 0.02, 0.05):
        expected, _, _ = weightstats.DescrStatsW(differences.mean(axis=1)).ttost_mean(-margin, margin)
        assert compare_one(differences, margin=margin).p_equivalence == pytest.approx(expected)


def every_resample(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The studentised bootstrap without chance: the pivot of every resample there is, and its probability."""
    n = len(values)
    pivots, probabilities = [], []
    for drawn in itertools.combinations_with_replacement(range(n), n):
        ways = math.factorial(n) / math.prod(math.factorial(count) for count in Counter(drawn).values())
        sample = values[list(drawn)]
        if len(set(drawn)) > 1:
            pivots.append((sample.mean() - values.mean()) / scipy.stats.sem(sample))
            probabilities.append(ways / n**n)
    order = np.argsort(pivots)
    return np.array(pivots)[order], np.array(probabilities)[order]


@pytest.mark.parametrize(("folds", "runs"), [(8, 3), (1, 8)])
def test_bootstrap_interval_is_that_of_all_resamples(folds, runs):
    differences = grid(3, folds, runs, mean=0.01)
    values = differences.mean(axis=1) if folds > 1 else differences[0]
    pivots, probabilities = every_resample(values)
    error = scipy.stats.sem(values)
    low_pivot, high_pivot = np.interp([0.025, 0.975], np.cumsum(probabilities), pivots)
    found = compare_one(differences)
    # 9,999 of the resamples: the quantiles of their pivots are within a few percent.
    assert found.low == pytest.approx(values.mean() - high_pivot * error, abs=0.1 * abs(high_pivot) * error)
    assert found.high == pytest.approx(values.mean() - low_pivot * error, abs=0.1 * abs(low_pivot) * error)
    lower = probabilities[pivots >= (values.mean() + 0.02) / error].sum()
    upper = probabilities[pivots <= (values.mean() - 0.02) / error].sum()
    assert found.p_equivalence == pytest.approx(max(lower, upper), abs=0.01)


def test_equivalence_is_the_90_percent_interval_inside_the_margin():
    for seed in range(30):
        for folds, runs in ((10, 5), (4, 5), (1, 20)):
            found = compare_one(grid(seed, folds, runs, mean=0.005), confidence=0.9)
            inside = found.low > -0.02 and found.high < 0.02
            assert inside == (found.p_equivalence < 0.05)


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_the_90_percent_interval_is_there_whatever_the_confidence_asked_for(confidence):
    for folds, runs in ((10, 5), (4, 5), (1, 20)):
        differences = grid(0, folds, runs, mean=0.005)
        found, at_90 = compare_one(differences, confidence=confidence), compare_one(differences, confidence=0.9)
        assert (found.low_90, found.high_90) == (at_90.low, at_90.high) == (at_90.low_90, at_90.high_90)


def test_one_fold_has_wilcoxons_exact_test():
    for runs in (2, 5, 10, 20, 50):
        differences = grid(4, 1, runs, mean=0.02)
        expected = scipy.stats.wilcoxon(differences[0], method="exact").pvalue
        assert compare_one(differences).p_value == pytest.approx(expected)


def test_wilcoxon_is_exact_with_ties_and_zeros():
    values = np.array([0.1, -0.1, 0.2, 0.2, 0.0, 0.3, -0.2, 0.4, 0.0, 0.1])
    # Ranks without zeros: |.1| x 3 -> 2, |.2| x 3 -> 5, .3 -> 7, .4 -> 8; all 2 ** 8 signs, one by one.
    ranks = [2, 2, 5, 5, 7, 5, 8, 2]
    observed = 2 - 2 + 5 + 5 + 7 - 5 + 8 + 2
    sums = [abs(np.dot(signs, ranks)) for signs in itertools.product((-1, 1), repeat=8)]
    expected = np.mean(np.array(sums) >= observed)
    assert compare_one([values]).p_value == pytest.approx(expected)


def test_wilcoxon_of_many_pairs_is_scipys():
    values = np.round(np.random.default_rng(5).normal(0.004, 0.05, 80), 2)  # with ties and zeros
    assert len(set(np.abs(values))) < 40 and 0 in values
    expected = scipy.stats.wilcoxon(values, method="approx", correction=False).pvalue
    assert compare_one([values]).p_value == pytest.approx(expected)


def test_differences_that_are_equal_but_for_rounding_tie():
    # 0.5 - 0.4 and 0.4 - 0.3 are not the same number.
    accuracy = [(0.5, 0.4), (0.4, 0.3), (0.3, 0.4), (0.9, 0.8)]
    rows = [
        row(value, compression=compression, run=run)
        for run, pair in enumerate(accuracy)
        for compression, value in zip(("loglearn", "logeps"), pair, strict=True)
    ]
    # All of one rank, three of four with a plus: as far or farther in 10 of 16 sign patterns.
    assert compare(rows)[0].p_value == pytest.approx(10 / 16)


@pytest.mark.parametrize("folds", [2, 3, 10])
def test_several_folds_have_the_larger_of_two_nested_tests(folds):
    for seed in range(5):
        differences = grid(seed, folds, 6, mean=0.03)
        scores = np.sign(differences) * scipy.stats.rankdata(np.abs(differences)).reshape(differences.shape)
        of_ranks = scipy.stats.ttest_1samp(scores.mean(axis=1), 0).pvalue
        of_means = scipy.stats.ttest_1samp(differences.mean(axis=1), 0).pvalue
        assert compare_one(differences).p_value == pytest.approx(max(of_ranks, of_means))


def test_holm_is_per_data_set():
    # One fold, all runs on one side: p = 2 ** (1 - runs).
    def cells(dataset, runs):
        return [
            line
            for n_shot, number in enumerate(runs, start=1)
            for line in rows_of([np.linspace(0.2, 0.3, number)], dataset=dataset, n_shot=n_shot)
        ]

    rows = [*cells("tut", [7, 10, 6]), *cells("us8k", [7]), *rows_of([[0.1]], dataset="tut", n_shot=9)]
    found = {(cell.dataset, cell.n_shot): (cell.p_value, cell.p_holm, cell.verdict) for cell in compare(rows)}
    assert found == {
        ("tut", 1): (2 / 128, pytest.approx(4 / 128), "better"),  # the second smallest, times 2
        ("tut", 2): (2 / 1024, pytest.approx(6 / 1024), "better"),  # the smallest, times 3
        ("tut", 3): (2 / 64, pytest.approx(4 / 128), "better"),  # 1 / 32 is no more than the one before
        ("tut", 9): (None, None, "undecided"),  # one pair: in no correction
        ("us8k", 1): (2 / 128, 2 / 128, "better"),
    }


def test_holm_as_in_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    rows = [line for n in range(1, 15) for line in rows_of(grid(n, 10, 5, mean=0.002 * n), n_shot=n)]
    found = compare(rows)
    _, expected, _, _ = multitest.multipletests([cell.p_value for cell in found], method="holm")
    assert [cell.p_holm for cell in found] == pytest.approx(list(expected))
    assert min(expected) < 0.05 < max(expected)


# ---- Verdicts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        (grid(6, 10, 10, mean=0.05), "better"),
        (grid(6, 10, 10, mean=-0.05), "worse"),
        (grid(6, 10, 10, run_std=0.02, fold_std=0), "equivalent"),
        (grid(6, 10, 2, run_std=0.1), "undecided"),
        (grid(6, 2, 2, mean=0.05), "undecided"),
        (grid(6, 1, 20, mean=-0.1), "worse"),
        (grid(6, 1, 5, mean=-0.2), "undecided"),  # 5 runs of one fold can never be significant
    ],
)
def test_verdict(differences, verdict):
    assert compare_one(differences).verdict == verdict


def test_a_significant_difference_inside_the_margin_is_equivalent():
    found = compare_one(grid(7, 10, 20, mean=0.01, run_std=0.01, fold_std=0))
    assert found.p_holm < 0.001 and 0 < found.low < found.high < 0.02
    assert found.verdict == "equivalent"
    assert compare_one(grid(7, 10, 20, mean=0.01, run_std=0.01, fold_std=0), margin=0.005).verdict == "better"


def test_test_and_interval_must_both_exclude_zero():
    differences = grid(6, 10, 10, mean=0.03)
    found = compare_one(differences, confidence=0.9999)
    assert found.p_holm < 0.05 and found.low < 0 < found.mean and found.verdict == "undecided"
    assert compare_one(-differences, confidence=0.9999).verdict == "undecided"
    assert compare_one(differences).verdict == "better"


def test_ten_folds_can_be_decided_in_the_papers_table():
    """28 cells: Wilcoxon's test on 10 fold means, at best 28 * 2 / 1024, never could."""
    rows = [
        line
        for at in range(28)
        for line in rows_of(grid(at, 10, 5, mean=0.08 if at == 0 else 0), model=f"m{at // 7}", n_shot=at % 7)
    ]
    assert compare(rows)[0].verdict == "better"


def test_runs_of_one_fold_are_no_independent_evidence():
    """One fold far better, in all of its runs, and nothing in the others: pooled pairs would be significant."""
    differences = grid(8, 10, 20, run_std=0.02, fold_std=0)
    differences[[3, 6]] += 0.2
    assert scipy.stats.wilcoxon(differences.ravel()).pvalue < 0.001
    found = compare_one(differences)
    assert found.p_value > 0.05 and found.low < 0 < found.high and found.verdict == "undecided"


# ---- What is missing, wrong, or all the same ----------------------------------------------------------------------


def test_nothing_to_compare():
    assert compare([]) == [] and accuracies([]) == []
    failed = [row(None), row(None, compression="logeps")]
    assert compare(failed) == [] and accuracies(failed) == []
    alone = [row(0.5), row(0.5, compression="logeps", run=1), row(0.4, compression="pcen")]
    assert compare(alone) == [] and compare(alone, compression="power") == []
    assert compare(rows_of([[0.1, 0.2]]), compression="power") == []
    assert [cell.compression for cell in accuracies(alone)] == ["logeps", "loglearn", "pcen"]


def test_one_pair_says_what_it_can():
    found = compare_one([[0.1]])
    assert found == Comparison(
        *("us8k", "vgg", 1, "loglearn", "logeps", 1, (1,), 0.1, None, None, None, None, None, None, None),
        *(None, None, 0, None, 0.02, "undecided"),
    )
    assert accuracies([row(0.5)]) == [Accuracy("us8k", "vgg", 1, "loglearn", 1, (1,), 0.5, None, None, None)]


@pytest.mark.parametrize(
    ("folds", "runs", "value", "expected"),
    [
        # Independent values: the runs of one fold, else the folds.
        (10, 10, 0.0, (0.0, 0.0, 1.0, 2**-10, "equivalent")),
        (1, 20, 0.0, (0.0, 0.0, 1.0, 2**-20, "equivalent")),
        (10, 2, 0.01, (0.01, 0.01, 2**-9, 2**-10, "equivalent")),
        (10, 2, 0.1, (0.1, 0.1, 2**-9, 1.0, "better")),
        (1, 10, -0.1, (-0.1, -0.1, 2**-9, 1.0, "worse")),
        (10, 2, 0.02, (0.02, 0.02, 2**-9, 1.0, "better")),  # on the margin is not inside
        (3, 4, 0.0, (None, None, 1.0, 2**-3, "undecided")),
        (1, 5, 0.1, (None, None, 2**-4, 1.0, "undecided")),
        (2, 1, 0.0, (None, None, 1.0, 2**-2, "undecided")),
    ],
)
def test_differences_that_are_all_equal(folds, runs, value, expected):
    found = compare_one(np.full((folds, runs), value))
    assert found.mean == pytest.approx(value) and found.std == pytest.approx(0, abs=1e-12)
    assert (found.low, found.high, found.p_value, found.p_equivalence, found.verdict) == tuple(
        pytest.approx(number) if isinstance(number, float) else number for number in expected
    )


def test_fold_means_that_agree_by_chance_prove_nothing():
    found = compare_one([[0.02, 0.04], [0.04, 0.02]])
    assert (found.low, found.high, found.p_value, found.verdict) == (None, None, 0.5, "undecided")


def test_coarse_accuracies_have_finite_intervals():
    """Many equal values: some resamples do not vary at all."""
    found = compare_one([[*[0.0] * 19, 0.1]])
    expected = scipy.stats.ttest_1samp([*[0.0] * 19, 0.1], 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    for seed in range(20):
        differences = np.random.default_rng(seed).choice([-0.05, 0, 0.05], size=(1, 12), p=[0.1, 0.6, 0.3])
        found = compare_one(differences)
        assert found.low is None or -1 < found.low <= found.mean <= found.high < 1


def test_an_accuracy_is_cut_at_0_and_1():
    # Standard error 5 points; Student's t with one degree of freedom: 12.7062.
    (cell,) = accuracies([row(value, fold=fold) for fold, value in enumerate((0.9, 1.0))])
    assert (cell.low, cell.high) == (pytest.approx(0.95 - 0.635310, abs=1e-6), 1.0)
    (cell,) = accuracies([row(value, fold=fold) for fold, value in enumerate((0.0, 0.1))])
    assert (cell.low, cell.high) == (0.0, pytest.approx(0.05 + 0.635310, abs=1e-6))


def test_cells_are_sorted():
    rows = [
        line
        for dataset, model, n_shot in itertools.product(("us8k", "tut"), ("vgg", "sb_cnn"), (100, 1, 20))
        for line in rows_of([[0.1, 0.2]], dataset=dataset, model=model, n_shot=n_shot)
    ]
    names = [(cell.dataset, cell.model, cell.n_shot) for cell in compare(rows)]
    assert names == sorted(itertools.product(("us8k", "tut"), ("vgg", "sb_cnn"), (100, 1, 20)))
    assert [(cell.dataset, cell.model, cell.n_shot) for cell in accuracies(rows)[::2]] == names


@pytest.mark.parametrize("wrong", [math.nan, math.inf, None, -0.1, 1.01, 50.0, "good"])
def test_a_done_run_needs_an_accuracy(wrong):
    rows = [*rows_of([[0.1, 0.2]]), row(wrong, run=7, status="done")]
    for statistic in (compare, accuracies):
        with pytest.raises(
            DataError, match=r"between 0 and 1. Received: .* for us8k vgg loglearn n=1 fold 1 run 7\. Remove"
        ):
            statistic(rows)
    assert compare([*rows[:-1], {**rows[-1], "status": "failed"}])


def test_a_run_counts_once():
    rows = [*rows_of([[0.1, 0.2]]), row(0.25)]
    for statistic in (compare, accuracies):
        with pytest.raises(
            DataError, match="only once in the rows. Received: 0.6 and 0.25 for us8k vgg loglearn n=1 fold 1 run 0"
        ):
            statistic(rows)


def test_a_missing_column_is_named():
    without = row(0.5)
    del without["fold"]
    with pytest.raises(DataError, match="must have the column 'fold'"):
        compare([without])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"margin": 2}, "`margin` must be between 0 and 1. Received: margin=2.* 0.02 for 2 points"),
        ({"margin": 0.0}, "`margin`"),
        ({"margin": math.nan}, "`margin`"),
        ({"confidence": 95}, "`confidence` must be between 0 and 1. Received: confidence=95. Write 0.95 for 95 %"),
        ({"baseline": "loglearn"}, "`compression` and `baseline` must differ. Received: 'loglearn'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        compare([], **arguments)


# ---- Properties -----------------------------------------------------------------------------------------------------

# Accuracies of 100 clips; folds may have different numbers of runs.
FOLDS = st.lists(st.lists(st.integers(-20, 20), min_size=1, max_size=6), min_size=1, max_size=12)
NUMBERS = ("mean", "std", "low", "high", "low_within", "high_within", "p_value", "p_holm", "p_equivalence")


def numbers(cell: Comparison, names=NUMBERS) -> list[float | None]:
    return [None if (value := getattr(cell, name)) is None else pytest.approx(value, abs=1e-7) for name in names]


def in_points(folds) -> list[list[float]]:
    return [[value / 100 for value in runs] for runs in folds]


@settings(max_examples=50, deadline=None)
@given(FOLDS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(folds, random):
    rows = [*rows_of(in_points(folds)), *rows_of(in_points(folds[:1]), model="timbre", baseline=0.3)]
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert compare(shuffled) == compare(rows)
    assert accuracies(shuffled) == accuracies(rows)


@settings(max_examples=50, deadline=None)
@given(FOLDS, st.integers(-20, 20))
def test_a_constant_shifts_mean_and_interval(folds, constant):
    (before,) = compare(rows_of(in_points(folds)))
    (after,) = compare(rows_of([[value + constant / 100 for value in runs] for runs in in_points(folds)]))
    assert after.std == before.std if before.std is None else after.std == pytest.approx(before.std, abs=1e-7)
    for name in ("mean", "low", "high", "low_within", "high_within"):
        value = getattr(before, name)
        assert getattr(after, name) == (None if value is None else pytest.approx(value + constant / 100, abs=1e-7))


@settings(max_examples=50, deadline=None)
@given(FOLDS)
def test_swapping_the_sides_mirrors_everything(folds):
    rows = rows_of(in_points(folds))
    (found,) = compare(rows)
    (mirrored,) = compare(rows, compression="logeps", baseline="loglearn")
    assert [mirrored.mean, mirrored.std, mirrored.p_value, mirrored.p_holm, mirrored.p_equivalence] == numbers(
        Comparison(**{**vars(found), "mean": -found.mean}), ("mean", "std", "p_value", "p_holm", "p_equivalence")
    )
    assert (mirrored.low is None) == (found.low is None)
    if found.low is not None:
        assert (mirrored.low, mirrored.high) == (pytest.approx(-found.high), pytest.approx(-found.low))
    assert (mirrored.low_within is None) == (found.low_within is None)
    if found.low_within is not None:
        assert mirrored.low_within == pytest.approx(-found.high_within)
        assert mirrored.high_within == pytest.approx(-found.low_within)
    assert mirrored.verdict == {"better": "worse", "worse": "better"}.get(found.verdict, found.verdict)


@settings(max_examples=50, deadline=None)
@given(FOLDS)
def test_every_number_is_possible(folds):
    (cell,) = compare(rows_of(in_points(folds)))
    for name in ("p_value", "p_holm", "p_equivalence"):
        value = getattr(cell, name)
        assert value is None or 0 <= value <= 1
    if cell.low is not None:
        assert math.isfinite(cell.low) and math.isfinite(cell.high) and cell.low <= cell.mean <= cell.high
    if cell.low_within is not None:
        assert math.isfinite(cell.high_within) and cell.low_within <= cell.mean <= cell.high_within
    for accuracy in accuracies(rows_of(in_points(folds))):
        assert accuracy.low is None or 0 <= accuracy.low <= accuracy.high <= 1


def test_the_seed_decides_and_other_cells_do_not():
    rows = rows_of(grid(9, 10, 5))
    other = rows_of(grid(10, 10, 5), dataset="tut")
    assert compare(rows) == compare(rows) == compare([*rows, *other])[1:]
    (one,), (two,) = compare(rows, seed=1), compare(rows, seed=2)
    assert one.low != two.low and one.low == pytest.approx(two.low, abs=0.002)
    assert one.p_value == two.p_value


# ---- Calibration: the benchmark's, small --------------------------------------------------------------------------


def simulate(folds: int, runs: int, *, mean: float, grids: int = 300, **stds: float) -> list[Comparison]:
    """Each grid is a data set of its own, for Holm's correction."""
    return compare(
        [
            line
            for at in range(grids)
            for line in rows_of(grid(1000 + at, folds, runs, mean=mean, **stds), dataset=f"{at:03d}")
        ]
    )


# Of 300 grids; 2.5 standard errors are 3 % about 5 %.
@pytest.mark.parametrize(
    ("folds", "runs", "stds"),
    [
        (10, 5, {"run_std": 0.06, "fold_std": 0.0}),
        (10, 5, {"run_std": 0.03, "fold_std": 0.03}),
        (3, 4, {"run_std": 0.045, "fold_std": 0.015}),
        (1, 20, {"run_std": 0.03, "fold_std": 0.0}),
    ],
)
def test_intervals_cover_and_errors_are_rare(folds, runs, stds):
    cells = simulate(folds, runs, mean=0.0, **stds)
    assert 0.92 <= np.mean([cell.low <= 0 <= cell.high for cell in cells]) <= 0.98
    assert np.mean([cell.verdict in ("better", "worse") for cell in cells]) <= 0.08
    assert np.mean([cell.p_value < 0.05 for cell in cells]) <= 0.08
    cells = simulate(folds, runs, mean=0.02, **stds)  # the margin
    assert np.mean([cell.verdict == "equivalent" for cell in cells]) <= 0.08


def test_a_difference_of_5_points_is_found():
    cells = simulate(10, 10, mean=0.05, grids=200, run_std=0.06, fold_std=0.03)
    assert np.mean([cell.verdict == "better" for cell in cells]) > 0.9


# ---- More than two compressions -------------------------------------------------------------------------------------


def many(gains, *, folds=(1, 2, 3), n_runs=6, seed=0, models=("vgg",), noise=0.02):
    """Rows of compressions whose accuracies differ by `gains`, name -> mean gain over log-EPS."""
    random = np.random.default_rng(seed)
    rows = []
    for model in models:
        for fold in folds:
            for run in range(n_runs):
                level = 0.5 + random.normal(0, 0.05)
                for name, gain in {"logeps": 0.0, **gains}.items():
                    rows.append(
                        {
                            **{"dataset": "us8k", "model": model, "n_shot": 1, "compression": name},
                            **{"fold": fold, "run": run, "status": "done"},
                            "accuracy": float(np.clip(level + gain + random.normal(0, noise), 0, 1)),
                        }
                    )
    return rows


class TestCompareAll:
    def test_each_is_compared_as_two_are_but_for_holms_correction(self):
        rows = many({"loglearn": 0.03, "power": -0.05, "pcen": 0.0})
        found = compare_all(rows)
        assert [one.compression for one in found] == ["loglearn", "pcen", "power"]
        for one in found:
            (alone,) = compare(rows, compression=one.compression)
            assert replace(one, p_holm=alone.p_holm, n_corrected=1, verdict=alone.verdict) == alone
            assert one.n_corrected == 3

    def test_holms_correction_is_over_all_of_them(self):
        found = compare_all(many({"loglearn": 0.03, "power": -0.05, "pcen": 0.0}, models=("sb_cnn", "vgg")))
        multitest = pytest.importorskip("statsmodels.stats.multitest")
        expected = multitest.multipletests([one.p_value for one in found], method="holm")[1]
        np.testing.assert_allclose([one.p_holm for one in found], expected, rtol=1e-12)

    def test_several_baselines_are_corrected_together(self):
        rows = many({"loglearn": 0.03, "power": -0.05})
        found = compare_all(rows, baseline=["logeps", "power"])
        assert [(one.compression, one.baseline) for one in found] == [
            *[("logeps", "power"), ("loglearn", "logeps"), ("loglearn", "power"), ("power", "logeps")]
        ]
        multitest = pytest.importorskip("statsmodels.stats.multitest")
        expected = multitest.multipletests([one.p_value for one in found], method="holm")[1]
        np.testing.assert_allclose([one.p_holm for one in found], expected, rtol=1e-12)
        assert {one.n_corrected for one in found} == {4}

    def test_another_baseline(self):
        rows = many({"loglearn": 0.03, "power": -0.05})
        found = compare_all(rows, baseline="power")
        assert {one.compression: one.baseline for one in found} == {"loglearn": "power", "logeps": "power"}

    def test_without_the_baseline_there_is_nothing_to_compare(self):
        rows = [row for row in many({"loglearn": 0.03}) if row["compression"] != "logeps"]
        assert compare_all(rows) == []

    def test_bad_arguments(self):
        with pytest.raises(ConfigError, match="`margin` must be between 0 and 1"):
            compare_all([], margin=2)
        with pytest.raises(ConfigError, match="`confidence` must be between 0 and 1"):
            compare_all([], confidence=95)


class TestRank:
    @pytest.mark.parametrize("seed", range(4))
    def test_equals_scipys_friedman_test_and_demsars_critical_value(self, seed):
        gains = {"loglearn": 0.01, "power": -0.02, "pcen": 0.0}
        rows = many(gains, folds=(1, 2, 3, 4, 5), models=("sb_cnn", "vgg"), noise=0.06, seed=seed)
        (ranking,) = rank(rows)
        names = sorted(ranking.compressions)
        blocks = {}
        for row in rows:
            blocks.setdefault((row["model"], row["fold"]), {}).setdefault(row["compression"], []).append(
                row["accuracy"]
            )
        accuracy = np.array([[np.mean(block[name]) for name in names] for block in blocks.values()])
        ranks = scipy.stats.rankdata(-accuracy, axis=1).mean(axis=0)
        assert dict(zip(ranking.compressions, ranking.mean_ranks, strict=True)) == pytest.approx(
            dict(zip(names, ranks, strict=True))
        )
        assert list(ranking.mean_ranks) == sorted(ranking.mean_ranks)
        # Iman and Davenport's F from scipy's chi square.
        n, k = accuracy.shape
        chi_square = scipy.stats.friedmanchisquare(*accuracy.T).statistic
        f = (n - 1) * chi_square / (n * (k - 1) - chi_square)
        assert 1e-6 < ranking.p_value < 0.9
        assert ranking.p_value == pytest.approx(scipy.stats.f.sf(f, k - 1, (k - 1) * (n - 1)), rel=1e-9)
        # Demsar's table 5: q = 2.569 for four, at 5 %.
        assert ranking.n_blocks == 10
        assert ranking.critical_difference == pytest.approx(2.569 * (4 * 5 / 60) ** 0.5, rel=1e-3)

    def test_with_ties_the_statistic_is_scipys_too(self):
        """Accuracies of a few clips: many are equal."""
        rows = [dict(row, accuracy=round(row["accuracy"] * 8) / 8) for row in many({"a": 0.05, "b": -0.05}, noise=0.1)]
        rows = [row for row in rows if row["run"] == 0] + many({"a": 0.1, "b": 0.0}, folds=(4, 5), n_runs=1, noise=0.0)
        (ranking,) = rank(rows)
        names = sorted(ranking.compressions)
        blocks = {}
        for row in rows:
            blocks.setdefault(row["fold"], {})[row["compression"]] = row["accuracy"]
        accuracy = np.array([[block[name] for name in names] for block in blocks.values()])
        assert any(len(set(line)) < 3 for line in accuracy)
        assert ranking.critical_difference == pytest.approx(2.343 * (3 * 4 / 30) ** 0.5, rel=1e-3)  # Demsar, table 5
        n, k = accuracy.shape
        chi_square = scipy.stats.friedmanchisquare(*accuracy.T).statistic
        f = (n - 1) * chi_square / (n * (k - 1) - chi_square)
        assert ranking.p_value == pytest.approx(scipy.stats.f.sf(f, k - 1, (k - 1) * (n - 1)), rel=1e-9)

    def test_ties_share_their_rank_and_nothing_differs_where_all_tie(self):
        rows = many({"loglearn": 0.0, "power": 0.0}, noise=0.0)
        (ranking,) = rank(rows)
        assert ranking.mean_ranks == (2.0, 2.0, 2.0)
        assert ranking.p_value == 1.0

    @pytest.mark.parametrize(("folds", "p_value"), [((1, 2), 1 / 6), ((1, 2, 3), 1 / 36)])
    def test_the_same_order_everywhere_is_as_likely_as_chance_allows(self, folds, p_value):
        """Of k! orders in every block all must be that of the first: 3! ** (1 - n)."""
        (ranking,) = rank(many({"loglearn": 0.1, "power": -0.1}, folds=folds, noise=0.0))
        assert ranking.compressions == ("loglearn", "logeps", "power")
        assert ranking.mean_ranks == (1.0, 2.0, 3.0)
        assert ranking.p_value == pytest.approx(p_value)

    def test_in_one_fold_runs_are_the_blocks(self):
        (ranking,) = rank(many({"loglearn": 0.1, "power": -0.1}, folds=(4,), n_runs=7))
        assert ranking.n_blocks == 7

    def test_runs_that_some_compression_has_not_done_are_left_out(self):
        rows = many({"loglearn": 0.0, "power": 0.0}, folds=(1, 2))
        for row in rows:
            if row["fold"] == 2 and row["compression"] == "power" and row["run"] > 0:
                row["status"] = "failed"
        changed = [dict(row, accuracy=0.0) if (row["fold"], row["run"]) == (2, 3) else row for row in rows]
        assert rank(rows) == rank(changed)

    def test_one_run_of_one_more_compression_leaves_the_ranking_as_it_is(self):
        rows = many({"loglearn": 0.1, "power": -0.1})
        more = [*rows, {**rows[0], "compression": "extra"}]
        (before,), (after,) = rank(rows), rank(more)
        assert after.left_out == ("extra",) and before.left_out == ()
        assert replace(after, left_out=()) == before

    def test_a_compression_with_half_of_the_blocks_is_ranked_and_one_with_fewer_is_not(self):
        rows = many({"loglearn": 0.1, "power": -0.1, "half": 0.0, "few": 0.0}, folds=(1, 2, 3, 4, 5, 6))
        kept = [row for row in rows if (row["compression"] == "half") <= (row["fold"] <= 3)]
        kept = [row for row in kept if (row["compression"] == "few") <= (row["fold"] <= 2)]
        (ranking,) = rank(kept)
        assert (ranking.n_blocks, ranking.left_out) == (3, ("few",))
        assert set(ranking.compressions) == {"logeps", "loglearn", "power", "half"}
        # As if the others had only these folds, too.
        assert rank([row for row in kept if row["fold"] <= 3 and row["compression"] != "few"]) == [
            replace(ranking, left_out=())
        ]

    def test_many_runs_of_one_fold_do_not_outweigh_the_folds(self):
        rows = many({"loglearn": 0.1, "power": -0.1}, n_runs=2)
        one_fold = many({"extra": 0.0}, folds=(1,), n_runs=20)
        more = [*rows, *(row for row in one_fold if row["compression"] == "extra")]
        (ranking,) = rank(more)
        assert (ranking.n_blocks, ranking.left_out) == (3, ("extra",))

    @settings(max_examples=50, deadline=None)
    @given(st.sets(st.tuples(st.sampled_from("abcdef"), st.integers(1, 4), st.integers(0, 1))), st.randoms())
    def test_every_compression_is_ranked_or_named(self, cells, random):
        rows = [row(random.random(), compression=name, fold=fold, run=run) for name, fold, run in cells]
        names = {name for name, _, _ in cells}
        for ranking in rank(rows):
            assert {*ranking.compressions, *ranking.left_out} == names
            assert len(ranking.compressions) >= 3 and not {*ranking.compressions} & {*ranking.left_out}
            without = [row for row in rows if row["compression"] in ranking.compressions]
            assert rank(without) == [replace(ranking, left_out=())]

    @pytest.mark.parametrize("rows", [[], many({"loglearn": 0.1}), many({"a": 0.1, "b": 0.2}, folds=(1,), n_runs=1)])
    def test_two_compressions_or_one_block_are_not_ranked(self, rows):
        assert rank(rows) == []


# ---- What only a fault in the code had shown to be untested -------------------------------------------------------


@pytest.mark.parametrize("difference", [0.01, -0.015, 0.0])
def test_equivalence_of_values_that_do_not_vary_is_by_signs(difference):
    """n folds on the same side of either bound have a probability of 2 ** -n."""
    (cell,) = compare(rows_of([[difference] * 3] * 6), margin=0.02)
    assert cell.p_equivalence == 2**-6
    (cell,) = compare(rows_of([[difference] * 3] * 6), margin=abs(difference) or 1e-12)
    assert cell.p_equivalence == 1.0


def test_the_interval_falls_on_order_statistics_of_the_resamples():
    """Of 9,999 the 250th from either end, for 95 %; the 500th for 90 %."""
    values = np.random.default_rng(5).normal(0.01, 0.03, 10)
    (cell,) = compare(rows_of([[value] for value in values]))
    (wider,) = compare(rows_of([[value] for value in values]), confidence=0.9)
    differences = np.round(values, 10)
    pivots = np.sort(_bootstrap_pivots(differences, 0))
    error = differences.std(ddof=1) / np.sqrt(10)
    assert cell.low == pytest.approx(differences.mean() - pivots[9999 - 250] * error, rel=1e-12)
    assert cell.high == pytest.approx(differences.mean() - pivots[250 - 1] * error, rel=1e-12)
    assert wider.low == pytest.approx(differences.mean() - pivots[9999 - 500] * error, rel=1e-12)
