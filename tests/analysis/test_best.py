"""Which compressions can be the best: against the formula, and on simulated studies whose truth is known."""

import math

import numpy as np
import pytest
import scipy.stats

from loglearn_tf.analysis.best import Compared, compared, order
from loglearn_tf.analysis.mixed import Estimate

NAMES = ("a", "b", "c", "d", "e")


def ordered(values, **more):
    """Of accuracies `(compressions, folds)`."""
    values = np.asarray(values, np.float64)
    names = NAMES[: len(values)]

    def difference(one: str, other: str) -> Compared:
        by_fold = values[names.index(one)] - values[names.index(other)]
        return compared({1: {fold: np.array([value]) for fold, value in enumerate(by_fold)}})

    return order(dict(zip(names, values.mean(axis=1), strict=True)), difference, **more)


def test_two_are_students_interval():
    values = 0.5 + 0.02 * np.random.default_rng(0).normal(size=(2, 5))
    first, second = ordered(values).standings
    expected = scipy.stats.ttest_rel(*values).confidence_interval(0.95)
    best, other = ("a", "b") if values[0].mean() > values[1].mean() else ("b", "a")
    low, high = expected if best == "a" else (-expected[1], -expected[0])
    assert (first.compression, second.compression) == (best, other)
    # Of the one ahead, what it may be behind; of the other one likewise.
    assert first.low == pytest.approx(min(low, 0)) and second.low == pytest.approx(-high)
    assert first.behind == pytest.approx(np.ptp(values.mean(axis=1))) and second.behind == -first.behind
    assert second.can_be_best == (low <= 0)


def test_intervals_are_corrected_for_all_others_and_all_families():
    values = 0.5 + 0.02 * np.random.default_rng(1).normal(size=(4, 6))
    for families in (1, 3):
        found = ordered(values, families=families)
        assert found.n_comparisons == 3 * families
        level = 1 - 0.05 / (3 * families)
        half = [
            np.ptp(scipy.stats.ttest_rel(values[i], values[j]).confidence_interval(level)) / 2
            for i in range(4)
            for j in range(i)
        ]
        assert found.half_width == pytest.approx(np.median(half))


def test_one_is_far_ahead():
    rng = np.random.default_rng(2)
    values = 0.5 + 0.005 * rng.normal(size=(4, 5))
    values[2] += 0.1
    found = ordered(values).standings
    assert (
        [one.compression for one in found if one.can_be_best] == ["c"] == [one.compression for one in found if one.near]
    )
    assert found[0].low == 0.0 and found[0].high > 0
    for one in found[1:]:
        # Behind by some 10 points, by a lower and an upper bound.
        assert -0.15 < one.low < -0.1 + 0.02 and -0.1 - 0.02 < one.high < 0


def test_all_are_within_the_margin():
    values = 0.5 + 0.001 * np.random.default_rng(3).normal(size=(3, 5))
    found = ordered(values, margin=0.02).standings
    assert all(one.near for one in found)
    assert not any(one.near for one in ordered(values, margin=1e-5).standings)


def test_a_small_difference_can_be_certain_and_of_no_consequence():
    values = np.array([[0.5, 0.51, 0.49, 0.5, 0.52]] * 2) + 0.0005 * np.random.default_rng(4).normal(size=(2, 5))
    values[0] += 0.01
    first, second = ordered(values, margin=0.02).standings
    assert (first.compression, second.can_be_best, second.near) == ("a", False, True)


@pytest.mark.parametrize("folds", [3, 5])
@pytest.mark.parametrize("true", [[0.5] * 5, [0.5, 0.5, 0.48, 0.45, 0.4], [0.5, 0.49, 0.49, 0.49, 0.49]])
def test_with_the_stated_certainty_all_that_is_said_is_true(folds, true):
    """200 studies each: 5 % of them may say something wrong, and the correction is cautious."""
    rng = np.random.default_rng(folds)
    true = np.array(true)
    best, margin, wrong = true.max(), 0.02, 0
    for _ in range(200):
        # Differences have folds' and runs' parts; what all compressions share in a fold is not in them.
        values = true[:, np.newaxis] + rng.normal(0, 0.05, folds) + rng.normal(0, 0.02, (5, folds))
        found = {one.compression: one for one in ordered(values, margin=margin).standings}
        all_true = any(found[name].can_be_best for name, value in zip(NAMES, true, strict=True) if value == best)
        for name, value in zip(NAMES, true, strict=True):
            one = found[name]
            others = np.delete(true, NAMES.index(name)).max()
            said = [
                not one.near or value >= best - margin,
                one.low is None or one.low <= value - others + 1e-12 or (one.low == 0 and value >= others),
                # Below 0 of one that is called worse.
                one.high is None or one.high >= min(value - others, 0) - 1e-12,
            ]
            all_true = all_true and all(said)
        wrong += not all_true
    # Of 200 with a chance of 5 % each, more than 18 are wrong once in 100.
    assert wrong <= 18


def test_what_is_better_is_found():
    rng = np.random.default_rng(0)
    true = np.array([0.5, 0.58, 0.5, 0.5])[:, np.newaxis]
    sets = [
        [one.compression for one in ordered(true + rng.normal(0, 0.02, (4, 5))).standings if one.can_be_best]
        for _ in range(200)
    ]
    assert np.mean([found == ["b"] for found in sets]) > 0.6


def test_what_is_the_same_thing_twice_is_ruled_out_by_nothing():
    values = np.array([[0.5, 0.6, 0.7, 0.5, 0.4, 0.6, 0.5]] * 2 + [[0.3, 0.4, 0.4, 0.4, 0.2, 0.3, 0.3]])
    found = {one.compression: one for one in ordered(values).standings}
    assert found["a"].can_be_best and found["b"].can_be_best and not found["c"].can_be_best
    assert found["a"].near and found["b"].near


def test_too_little_to_tell_rules_nothing_out():
    found = ordered([[0.9], [0.1], [0.5]])
    assert [one.compression for one in found.standings] == ["a", "c", "b"]
    assert all(one.can_be_best and not one.near and one.low is None for one in found.standings)
    assert found.half_width is None
    # Two folds with the same difference in both: by chance in one case of two.
    assert all(one.can_be_best for one in ordered([[0.9, 0.8], [0.1, 0.0]]).standings)


def test_pairs_that_contradict_each_other_rule_nothing_out():
    """As in a study that is not finished, where each pair is of other runs."""
    better = {("b", "a"), ("c", "b"), ("a", "c")}

    def difference(one: str, other: str) -> Compared:
        mean = 0.1 if (one, other) in better else -0.1
        return Compared(Estimate(mean, 0.001, 5.0, ""), mean, 6)

    found = order(dict.fromkeys("abc", 0.5), difference).standings
    assert all(one.can_be_best for one in found)


def test_one_alone_is_not_compared():
    (one,) = order({"a": 0.5}, lambda a, b: pytest.fail("there is no other")).standings
    assert (one.can_be_best, one.near, one.behind) == (True, True, 0.0)


def test_cells_are_averaged_with_the_same_weight_and_folds_of_their_own_count():
    several = {1: {1: np.array([0.1, 0.2]), 2: np.array([0.0])}, 5: {1: np.array([0.3]), 2: np.array([0.1])}}
    found = compared(several)
    assert found.mean == pytest.approx(np.mean([0.15, 0.0, 0.3, 0.1])) and found.n_clusters == 2
    # An n of one fold tells nothing of folds.
    assert compared({**several, 20: {1: np.array([0.9, 0.8])}}).mean == found.mean


def test_runs_of_the_one_fold_are_the_sample_where_there_is_one():
    runs = np.array([0.1, 0.2, 0.25, 0.05])
    found = compared({1: {3: runs}})
    expected = scipy.stats.ttest_1samp(runs, 0).confidence_interval(0.9)
    assert found.bounds(0.1) == pytest.approx(tuple(expected)) and found.estimate.method == "t over runs"
    # One run, or one in each of two folds for different n: nothing to judge by.
    for cells in ({1: {3: runs[:1]}}, {1: {3: runs}, 5: {4: runs}}, {}):
        assert compared(cells).estimate is None and compared(cells).bounds(0.1) == (-math.inf, math.inf)
