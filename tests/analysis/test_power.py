"""Power: equal to independent computations and to what simulated studies decide."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats

from loglearn_tf.analysis.mixed import over_folds
from loglearn_tf.analysis.power import Power, Spread, needed, power, spread_of, spreads, verdict_power
from loglearn_tf.analysis.recordings import ClipDifferences
from loglearn_tf.analysis.statistics import compare_differences, verdict_at
from loglearn_tf.errors import ConfigError, DataError

SPREAD = Spread(run=0.055, fold=0.02)


@pytest.mark.parametrize(
    ("folds", "runs", "half_width", "of_3", "of_3_in_5", "of_5", "of_5_in_5", "equivalent"),
    [
        # Simulated in a review of the first study: SD of folds 2 points, of runs 5.5; Holm's correction over 5.
        (3, 6, 6.6, 18, 4, 36, 9, 4),
        (4, 10, 3.9, 35, 10, 70, 28, 8),
        (10, 5, 2.2, 76, 45, 99, 93, 22),
        (10, 10, 1.8, 89, 64, 100, 99, 43),
    ],
)
def test_power_of_a_cell_is_what_was_simulated(folds, runs, half_width, of_3, of_3_in_5, of_5, of_5_in_5, equivalent):
    found = power(SPREAD, folds=folds, runs=runs, family=5, effects=(0.03, 0.05))
    assert 100 * found.half_width == pytest.approx(half_width, abs=0.06)
    assert [100 * share for share in found.power] == pytest.approx([of_3, of_5], abs=2)
    assert [100 * share for share in found.power_in_family] == pytest.approx([of_3_in_5, of_5_in_5], abs=2)
    assert 100 * found.equivalent_at_zero == pytest.approx(equivalent, abs=1.5)


@pytest.mark.parametrize(("folds", "runs"), [(2, 1), (3, 6), (10, 10)])
def test_power_is_that_of_the_noncentral_t(folds, runs):
    error = math.sqrt((0.02**2 + 0.055**2 / runs) / folds)
    least = scipy.stats.t(folds - 1).ppf(1 - 0.05 / 7 / 2)
    found = power(SPREAD, folds=folds, runs=runs, family=7)
    expected = [scipy.stats.nct(folds - 1, effect / error).sf(least) for effect in found.effects]
    assert found.power_in_family == pytest.approx(expected, abs=2e-3)


def test_power_as_in_statsmodels():
    statsmodels = pytest.importorskip("statsmodels.stats.power")
    found = power(Spread(run=0.05, fold=0.0), folds=8, runs=1, effects=(0.03, 0.06))
    expected = [
        statsmodels.TTestPower().power(effect / 0.05, 8, 0.05, alternative="two-sided") for effect in (0.03, 0.06)
    ]
    assert found.power == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(("shared", "n_values"), [(0.5, 4), (0.0, 2), (1.0, 4)])
def test_power_over_several_n_is_what_is_found(shared, n_values):
    rng = np.random.default_rng(0)
    spread = Spread(run=0.055, fold=0.03, shared=shared)
    predicted = power(spread, folds=4, runs=5, n_values=n_values)
    common, own = rng.normal(size=(1500, 1, 4, 1)), rng.normal(size=(1500, n_values, 4, 1))
    studies = 0.03 * (math.sqrt(shared) * common + math.sqrt(1 - shared) * own)
    studies = studies + 0.055 * rng.normal(size=(1500, n_values, 4, 5))
    found = [over_folds(*study) for study in studies]
    ends = np.array([one.interval() for one in found])
    assert predicted.half_width == pytest.approx(np.diff(ends).mean() / 2, rel=0.05)
    for effect, share in zip(predicted.effects, predicted.power, strict=True):
        assert share == pytest.approx(np.mean(ends[:, 0] + effect > 0), abs=0.04)
    assert predicted.equivalent_at_zero == pytest.approx(
        np.mean([one.p_within(0.02) < 0.05 for one in found]), abs=0.03
    )


def verdict_over_folds(*cells, margin=0.02):
    """The verdict of a contrast that is the only one."""
    found = over_folds(*cells)
    (low, high), p_within = found.interval(), found.p_within(margin)
    tested = SimpleNamespace(low=low, high=high, p_value=found.p_value, p_equivalence=p_within)
    return verdict_at(tested, found.p_value)


@pytest.mark.parametrize(
    ("margin", "effect", "lowest", "highest"),
    [
        # Significant in 86 % of the studies, but shown to be within the margin in most of them.
        (0.02, 0.01, 0.04, 0.11),
        (0.02, -0.01, 0.04, 0.11),
        # At the margin, 5 % are called equivalent.
        (0.02, 0.02, 0.92, 0.97),
        (0.02, 0.03, 0.99, 1),
        (0.0001, 0.01, 0.82, 0.90),
    ],
)
def test_power_is_how_often_the_verdict_is_better_or_worse(margin, effect, lowest, highest):
    rng = np.random.default_rng(0)
    studies = effect + 0.055 * rng.normal(size=(600, 7, 10, 5))
    verdicts = [verdict_over_folds(*study, margin=margin) for study in studies]
    size = {"folds": 10, "runs": 5, "n_values": 7, "margin": margin}
    (found,) = power(Spread(run=0.055, fold=0), **size, effects=(effect,)).power
    assert found == pytest.approx(np.mean([one == ("better" if effect > 0 else "worse") for one in verdicts]), abs=0.03)
    assert lowest < found <= highest


def test_a_small_difference_in_a_large_cell_is_equivalent():
    """Both functions: t alone would find one point in 91 % of the studies."""
    rng = np.random.default_rng(2)
    spread, size = Spread(run=0.055, fold=0), {"folds": 4, "runs": 200, "effects": (0.01, 0.018, 0.03)}
    found, simulated = power(spread, **size).power, verdict_power(spread, **size, studies=100).power
    for effect, *shares in zip(size["effects"], found, simulated, strict=True):
        verdicts = [compare_differences(list(effect + 0.055 * rng.normal(size=(4, 200)))).verdict for _ in range(150)]
        assert shares == pytest.approx([verdicts.count("better") / 150] * 2, abs=0.08)
    assert found[0] < 0.05 and 0.6 < found[1] < 0.9 and found[2] > 0.99


@pytest.mark.parametrize(("folds", "runs"), [(3, 6), (9, 2), (1, 12)])
def test_power_of_verdicts_is_what_compare_gives(folds, runs):
    rng = np.random.default_rng(1)
    found = verdict_power(SPREAD, folds=folds, runs=runs, family=3, effects=(0.05,), studies=200)
    fold_std = 0.02 if folds > 1 else 0.0
    studies = 0.05 + fold_std * rng.normal(size=(250, folds, 1)) + 0.055 * rng.normal(size=(250, folds, runs))
    verdicts = [compare_differences(list(study)) for study in studies]
    assert found.power[0] == pytest.approx(np.mean([one.verdict == "better" for one in verdicts]), abs=0.08)
    assert found.power_in_family[0] <= found.power[0]
    widths = [(one.high - one.low) / 2 for one in verdicts]
    assert found.half_width == pytest.approx(np.mean(widths), rel=0.1)


def test_five_runs_of_one_fold_decide_nothing():
    """The signed-rank test has p >= 1 / 16 whatever the data; t, which contrasts use, finds it."""
    size = {"folds": 1, "runs": 5, "effects": (0.2,)}
    assert power(SPREAD, **size).power == verdict_power(SPREAD, **size, studies=50).power == (0,)
    assert power(SPREAD, **size, contrast=True).power[0] > 0.95


@pytest.mark.parametrize(("family", "fewest"), [(1, 6), (2, 7), (28, 11)])
def test_the_fewest_runs_of_one_fold_that_can_be_significant(family, fewest):
    """All differences are positive, so p is the smallest that there is."""
    size = {"folds": 1, "family": family, "effects": (0.9,)}
    spread = Spread(run=0.01, fold=0)
    for runs in (fewest - 1, fewest):
        (found,) = power(spread, **size, runs=runs).power_in_family
        p_value = compare_differences([np.linspace(0.89, 0.91, runs)]).p_value
        assert (family * p_value < 0.05) == (runs == fewest) == (found > 0.99) == (found > 0)
        assert verdict_power(spread, **size, runs=runs, studies=20).power_in_family == (float(found > 0),)
    goal = {"folds": 1, "runs": 3, "effect": 0.9, "family": family}
    assert needed(spread, **goal).runs == fewest and needed(spread, **goal, contrast=True).runs < fewest
    # Several folds, and the average over several n, are not tested by the ranks of one fold.
    assert power(spread, folds=1, runs=3, n_values=2, effects=(0.9,)).power[0] > 0.99
    assert needed(spread, folds=1, runs=3, half_width=0.05).runs < 6


def test_one_fold_has_the_runs_of_all_n_to_judge_by():
    found = power(Spread(run=0.06, fold=0.5), folds=1, runs=9, n_values=4, effects=(0.02,))
    least = scipy.stats.t(32).ppf(0.975)
    assert found.power[0] == pytest.approx(scipy.stats.nct(32, 0.02 / 0.01).sf(least), abs=2e-3)


def test_several_n_of_one_fold_need_two_runs_too():
    """A large effect needs no more than that; one run was tried, too, and refused as if it had been given."""
    for goal in ({"effect": 0.3}, {"equivalent": 0.3}, {"half_width": 0.3}):
        found = needed(Spread(run=0.003, fold=0.001), folds=1, runs=2, n_values=2, **goal)
        assert (found.runs, found.more_runs) == (2, 0)


def test_recordings_count_as_much_as_they_add_to_a_fold():
    split = Spread(run=0.05, fold=0.03, recording=0.2, recordings=25)
    whole = Spread(run=0.05, fold=0.05)
    one, other = power(split, folds=4, runs=8), power(whole, folds=4, runs=8)
    assert one.half_width == pytest.approx(other.half_width) and one.power == pytest.approx(other.power)


def test_more_is_better():
    sizes = list(itertools.product((2, 3, 5, 10), (1, 3, 10), (1, 4)))
    found = {size: power(SPREAD, folds=size[0], runs=size[1], n_values=size[2]) for size in sizes}
    for (one, a), (other, b) in itertools.permutations(found.items(), 2):
        if all(x <= y for x, y in zip(one, other, strict=True)):
            assert a.half_width >= b.half_width
            # Two folds can look alike by chance, and then are called equivalent, as rarely as margins are missed.
            assert a.equivalent_at_zero <= max(b.equivalent_at_zero + 1e-9, 0.05)
            # Below the margin of 2 points, more precision leads to "equivalent".
            assert all(x <= y + 1e-6 for x, y in zip(a.power[1:], b.power[1:], strict=True))


class TestNeeded:
    @pytest.mark.parametrize(
        "goal",
        [
            {"half_width": 0.03},
            {"effect": 0.04, "family": 5},
            {"effect": -0.04},
            {"effect": 0.04, "margin": 0.04},
            {"equivalent": 0.03},
        ],
    )
    def test_is_the_smallest_study_that_reaches_the_goal(self, goal):
        def reached(found: Power) -> bool:
            if "half_width" in goal:
                return found.half_width <= 0.03
            return (found.power_in_family[0] if "effect" in goal else found.equivalent_at_zero) >= 0.8

        margin = goal.get("margin", goal.get("equivalent", 0.02))
        given = {"family": goal.get("family", 1), "margin": margin, "effects": (0.04,)}
        found = needed(SPREAD, folds=8, runs=3, **goal)
        assert reached(power(SPREAD, folds=found.folds, runs=3, **given))
        assert not reached(power(SPREAD, folds=found.folds - 1, runs=3, **given))
        assert reached(power(SPREAD, folds=8, runs=found.runs, **given))
        assert found.runs == 1 or not reached(power(SPREAD, folds=8, runs=found.runs - 1, **given))
        assert (found.more_folds, found.more_runs) == (max(found.folds - 8, 0), max(found.runs - 3, 0))

    def test_no_number_of_runs_makes_up_for_few_folds(self):
        found = needed(SPREAD, folds=3, runs=6, half_width=0.03)
        assert (found.runs, found.more_runs, found.folds, found.more_folds) == (None, None, 7, 4)
        assert found.at_best == pytest.approx(power(SPREAD, folds=3, runs=10**9).half_width)
        assert needed(SPREAD, folds=3, runs=6, half_width=found.at_best * 1.01).runs is not None

    def test_what_is_reached_needs_no_more(self):
        found = needed(SPREAD, folds=10, runs=10, half_width=0.05)
        assert (found.more_folds, found.more_runs) == (0, 0) and found.folds < 10 and found.runs == 1

    def test_no_study_is_large_enough_for_an_effect_below_the_margin(self):
        """Large studies call it equivalent, even if one of 10 folds would be likely to call it better."""
        spread = Spread(run=0.02, fold=0)
        assert power(spread, folds=10, runs=2, effects=(0.0199,)).power[0] > 0.8
        found = needed(spread, folds=10, runs=2, effect=0.0199)
        assert (found.folds, found.runs, found.more_folds, found.more_runs) == (None, None, None, None)
        assert needed(spread, folds=10, runs=2, effect=0.0199, margin=0.0198).runs == 2
        # At the margin, 5 % are called equivalent.
        assert needed(spread, folds=10, runs=2, effect=0.02, chance=0.94).runs is not None
        assert needed(spread, folds=10, runs=2, effect=0.02, chance=0.96).runs is None

    def test_level(self):
        """A corrected equivalence takes a larger study, in which it is found as often as was asked for."""
        level = 0.05 / 5 / 2
        found = needed(SPREAD, folds=10, runs=5, equivalent=0.03, level=level)
        assert found.folds > needed(SPREAD, folds=10, runs=5, equivalent=0.03).folds
        rng = np.random.default_rng(3)

        def share(folds: int) -> float:
            studies = 0.02 * rng.normal(size=(1500, folds, 1)) + 0.055 * rng.normal(size=(1500, folds, 5))
            return np.mean([over_folds(study).p_within(0.03) < level for study in studies])

        assert share(found.folds) > 0.8 > share(found.folds - 2)
        # The test of an effect is corrected by its family, too.
        size = {"folds": 10, "runs": 5, "effect": 0.03}
        assert needed(SPREAD, **size, level=0.01) == needed(SPREAD, **size, family=5) != needed(SPREAD, **size)

    def test_one_fold_asks_for_runs(self):
        found = needed(SPREAD, folds=1, runs=3, effect=0.04)
        assert found.runs > 3 and found.at_best == 0

    @pytest.mark.parametrize("goals", [{}, {"half_width": 0.03, "effect": 0.02}])
    def test_has_one_goal(self, goals):
        with pytest.raises(ConfigError, match="Exactly one of `half_width`, `effect` and `equivalent`"):
            needed(SPREAD, folds=3, runs=6, **goals)

    @pytest.mark.parametrize("goal", [{"half_width": 0}, {"effect": 0.0}, {"effect": 3}, {"equivalent": -0.02}])
    def test_a_goal_is_a_fraction(self, goal):
        with pytest.raises(ConfigError, match=f"`{next(iter(goal))}` must be between 0 and 1"):
            needed(SPREAD, folds=3, runs=6, **goal)
        with pytest.raises(ConfigError, match="`chance` must be between 0 and 1"):
            needed(SPREAD, folds=3, runs=6, half_width=0.03, chance=80)
        with pytest.raises(ConfigError, match="`level` must be between 0 and 1"):
            needed(SPREAD, folds=3, runs=6, equivalent=0.03, level=5)
        with pytest.raises(ConfigError, match="`margin` must be between 0 and 1"):
            needed(SPREAD, folds=3, runs=6, effect=0.03, margin=2)


class TestSpreadOfAStudy:
    def test_is_estimated_from_differences(self):
        rng = np.random.default_rng(0)
        cells = 0.03 * rng.normal(size=(4, 100, 1)) + 0.06 * rng.normal(size=(4, 100, 5))
        found = spread_of(*cells)
        assert (found.run, found.fold, found.shared) == pytest.approx((0.06, 0.03, 0.0), rel=0.1, abs=0.1)

    def test_recordings_are_told_apart_from_folds(self):
        rng = np.random.default_rng(1)
        n_folds, n_runs, n_recordings = 60, 4, 16
        fold, run, recording = (
            index.ravel() for index in np.meshgrid(*map(np.arange, (n_folds, n_runs, n_recordings)), indexing="ij")
        )
        of_recording = 0.12 * rng.normal(size=(n_folds, n_recordings))
        of_fold, of_run = 0.04 * rng.normal(size=n_folds), 0.05 * rng.normal(size=(n_folds, n_runs))
        value = of_fold[fold] + of_run[fold, run] + of_recording[fold, recording] + 0.05 * rng.normal(size=len(fold))
        data = ClipDifferences(np.clip(value, -1, 1), fold, run, 100 * fold + recording)
        means = value.reshape(n_folds, n_runs, n_recordings).mean(axis=2)
        found = spread_of(means, clips=data)
        assert found.recording == pytest.approx(0.12, rel=0.15) and found.recordings == pytest.approx(16)
        assert found.fold == pytest.approx(0.04, rel=0.25)
        assert spread_of(means).fold == pytest.approx(math.hypot(0.04, 0.12 / 4), rel=0.2)

    def test_of_rows_is_by_network_over_all_n(self):
        rng = np.random.default_rng(2)
        values = {
            (model, n_shot): 0.02 * rng.normal(size=(4, 1)) + 0.05 * rng.normal(size=(4, 6))
            for model in ("sb_cnn", "vgg")
            for n_shot in (1, 10)
        }
        values["vgg", 100] = np.array([[0.1, 0.2]])  # one fold: says nothing of folds
        values["timbre", 1] = np.zeros((3, 2))  # nothing varies
        rows = [
            {
                **{"dataset": "us8k", "model": model, "n_shot": n_shot, "fold": fold, "run": run, "status": "done"},
                **{"compression": compression, "accuracy": accuracy},
            }
            for (model, n_shot), of_cell in values.items()
            for fold, runs in enumerate(of_cell)
            for run, value in enumerate(runs)
            for compression, accuracy in (("loglearn", 0.4 + value), ("logeps", 0.4))
        ]
        found = spreads(rows)
        assert set(found) == {("us8k", "sb_cnn"), ("us8k", "vgg")}
        expected = spread_of(values["vgg", 1], values["vgg", 10])
        assert found["us8k", "vgg"].run == pytest.approx(expected.run, abs=1e-6)
        assert found["us8k", "vgg"].fold == pytest.approx(expected.fold, abs=1e-6)

    def test_of_one_fold_or_run_is_an_error(self):
        with pytest.raises(DataError, match="at least 2 folds"):
            spread_of([[0.1, 0.2]])
        with pytest.raises(DataError, match="one run in each of 2 folds"):
            spread_of([[0.1], [0.2]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"run": -0.1, "fold": 0.1}, "`run` of a spread must be between 0 and 1. Received: run=-0.1"),
        (
            {"run": 5.5, "fold": 2},
            "`run` of a spread must be between 0 and 1. Received: run=5.5.* 0.055 for 5.5 points",
        ),
        ({"run": 0.1, "fold": math.nan}, "`fold` of a spread"),
        ({"run": 0, "fold": 0}, "must be greater than 0. Received: 0 for all"),
        ({"run": 0.1, "fold": 0, "shared": 2}, "`shared` of a spread"),
        ({"run": 0.1, "fold": 0, "recordings": 0}, "`recordings` must be at least 1 per fold. Received: 0"),
    ],
)
def test_wrong_spreads(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Spread(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": 0}, "`folds` must be a whole number of at least 1. Received: folds=0"),
        ({"runs": 2.5}, "`runs` must be a whole number"),
        ({"n_values": True}, "`n_values` must be a whole number"),
        ({"family": 0}, "`family` must be a whole number"),
        ({"folds": 1, "runs": 1}, "One fold needs at least two runs.* Received: runs=1"),
        ({"margin": 0}, "`margin` must be between 0 and 1"),
        ({"confidence": 95}, "`confidence` must be between 0 and 1"),
        ({"effects": (3,)}, "`effects` must be non-zero fractions of accuracy. Received: 3"),
        ({"effects": (0.0,)}, "`effects` must be non-zero fractions"),
    ],
)
def test_wrong_arguments(arguments, message):
    for function in (power, verdict_power):
        # Verdicts are of one cell.
        if function is power or "n_values" not in arguments:
            with pytest.raises(ConfigError, match=message):
                function(SPREAD, **{"folds": 3, "runs": 6, **arguments})


def test_a_number_of_studies_is_a_whole_number():
    with pytest.raises(ConfigError, match="`studies` must be a whole number of at least 1. Received: studies=0"):
        verdict_power(SPREAD, folds=3, runs=6, studies=0)
