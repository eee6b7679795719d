"""Worst-case regret: by hand, by a bootstrap written out, and where it is asked for nothing that makes sense."""

import numpy as np
import pytest

from loglearn_tf.analysis.regret import RegretCell, worst_regrets
from loglearn_tf.errors import ConfigError, DataError

FOLDS, RUNS = 3, 4


def cell(name, accuracy, *, data="d", n_shot=1):
    """Accuracies are one number each, or arrays (folds, runs)."""
    runs = {
        compression: {
            (fold, run): float(np.broadcast_to(value, (FOLDS, RUNS))[fold, run])
            for fold in range(FOLDS)
            for run in range(RUNS)
            if np.isfinite(np.broadcast_to(value, (FOLDS, RUNS))[fold, run])
        }
        for compression, value in accuracy.items()
    }
    return RegretCell((name,), data, n_shot, runs)


def noisy(*means, seed=0):
    random = np.random.default_rng(seed)
    shared = random.normal(0, 0.05, (FOLDS, RUNS))
    return [np.clip(mean + shared + random.normal(0, 0.02, (FOLDS, RUNS)), 0, 1) for mean in means]


def test_by_hand():
    cells = [cell("a", {"x": 0.6, "y": 0.5, "z": 0.58}), cell("b", {"x": 0.3, "y": 0.45, "z": 0.41}, data="e")]
    found = worst_regrets(cells)
    assert [one.compression for one in found.of] == ["z", "y", "x"]
    assert [one.worst for one in found.of] == pytest.approx([0.04, 0.1, 0.15])
    assert [one.where for one in found.of] == [("b",), ("a",), ("b",)]
    assert [one.mean for one in found.of] == pytest.approx([0.03, 0.05, 0.075])
    assert found.of[0].by_cell == pytest.approx((0.02, 0.04))
    # Nothing varies, so every resample says the same.
    assert [(one.low, one.high) for one in found.of] == [pytest.approx((one.worst, one.worst)) for one in found.of]
    assert [one.smallest for one in found.of] == [1, 0, 0]
    assert (found.cells, found.left_out) == ((("a",), ("b",)), ())


def test_means_are_over_runs_then_folds_of_what_all_have_done():
    gap = np.full((FOLDS, RUNS), 0.5)
    gap[0, 1:] = np.nan  # one run of fold 0, which counts as much as fold 1
    other = np.full((FOLDS, RUNS), 0.5)
    other[0] = [0.8, 0.0, 0.0, 0.0]
    (best, worst) = worst_regrets([cell("a", {"x": gap, "y": other})]).of
    assert (best.compression, worst.worst) == ("y", pytest.approx(0.1))


def test_the_interval_is_that_of_a_bootstrap_written_out():
    """Folds with replacement, runs of each anew; the best and the worst cell chosen in every resample."""
    tables = [
        dict(zip("xyz", noisy(0.5, 0.42, 0.48), strict=True)),
        dict(zip("xyz", noisy(0.3, 0.4, 0.39, seed=1), strict=True)),
    ]
    # The same data set: both cells have the folds of one resample; other n, so their runs are drawn apart.
    cells = [cell("a", tables[0]), cell("b", tables[1], n_shot=2)]
    found = worst_regrets(cells, resamples=4000, seed=3)
    random = np.random.default_rng(5)
    worst = []
    for _ in range(4000):
        folds = random.integers(FOLDS, size=FOLDS)
        regrets = []
        for table in tables:
            runs = random.integers(RUNS, size=(FOLDS, RUNS))
            means = np.array([table[name][folds[:, np.newaxis], runs].mean() for name in "xyz"])
            regrets.append(means.max() - means)
        worst.append(np.max(regrets, axis=0))
    worst = np.array(worst)
    for one in found.of:
        at = "xyz".index(one.compression)
        expected = np.quantile(worst[:, at], [0.025, 0.975])
        assert (one.low, one.high) == pytest.approx(expected, abs=0.005)
        assert one.smallest == pytest.approx((worst.argmin(axis=1) == at).mean(), abs=0.04)


def test_cells_that_share_runs_are_resampled_together():
    """Two levels with the very same accuracies have the regret of one in every resample: else the worst were worse."""
    table = dict(zip("xyz", noisy(0.5, 0.49, 0.48), strict=True))
    one = worst_regrets([cell("a", table)])
    both = worst_regrets([cell("a", table), cell("b", table)])
    numbers = [np.array([(of.worst, of.low, of.high, of.smallest) for of in found.of]) for found in (one, both)]
    assert numbers[0] == pytest.approx(numbers[1])
    apart = worst_regrets([cell("a", table), cell("b", table, data="other")])
    assert all(a.high >= b.high for a, b in zip(apart.of, both.of, strict=True))
    assert any(a.high > b.high for a, b in zip(apart.of, both.of, strict=True))


def test_a_cell_with_fewer_runs_has_its_own_interval():
    """Folds are drawn alike for both cells; how many runs the other one has does not count."""
    n_folds, random = 10, np.random.default_rng(0)
    behind = random.normal(0.1, 0.04, n_folds)
    few = {"x": {(fold, 0): 0.5 for fold in range(n_folds)}, "y": {(f, 0): 0.5 - gap for f, gap in enumerate(behind)}}
    many = {name: {(fold, run): 0.5 for fold in range(n_folds) for run in range(20)} for name in "xy"}
    few_runs, many_runs = RegretCell(("few",), "d", 1, few), RegretCell(("many",), "d", 1, many)

    def width(*cells):
        (found,) = (one for one in worst_regrets(cells, resamples=4000).of if one.compression == "y")
        return found.high - found.low

    assert width(few_runs, many_runs) == pytest.approx(width(few_runs), rel=0.08)


def test_the_seed_decides():
    cells = [cell("a", dict(zip("xy", noisy(0.5, 0.48), strict=True)))]
    assert worst_regrets(cells) == worst_regrets(cells)
    assert worst_regrets(cells).of[1].high != worst_regrets(cells, seed=1).of[1].high


def test_compressions_are_those_of_most_cells_and_cells_those_that_have_them_all():
    cells = [
        cell("a", {"x": 0.5, "y": 0.4, "rare": 0.9}),
        cell("b", {"x": 0.5, "y": 0.6}),
        cell("c", {"x": 0.5}),
    ]
    found = worst_regrets(cells)
    assert sorted(one.compression for one in found.of) == ["x", "y"]
    assert (found.cells, found.left_out) == ((("a",), ("b",)), ("rare", "c"))
    chosen = worst_regrets(cells, compressions=["rare", "x"])
    assert [one.compression for one in chosen.of] == ["rare", "x"] and chosen.cells == (("a",),)


def test_one_run_has_no_interval():
    one = RegretCell(("a",), "d", 1, {"x": {(1, 0): 0.5}, "y": {(1, 0): 0.4}})
    assert [(regret.low, regret.high) for regret in worst_regrets([one]).of] == [(None, None)] * 2


def test_what_makes_no_sense():
    with pytest.raises(DataError, match="needs at least two compressions with runs in the same cells. Received: x in"):
        worst_regrets([cell("a", {"x": 0.5})])
    with pytest.raises(DataError, match="Received: none in 0 of 0 cells"):
        worst_regrets([])
    with pytest.raises(DataError, match="Received: x, y in 0 of 2 cells"):
        worst_regrets([cell("a", {"x": 0.5}), cell("b", {"y": 0.5})], compressions=["x", "y"])
    with pytest.raises(DataError, match="`accuracy` must be between 0 and 1. Received: 1.5 for a x"):
        worst_regrets([cell("a", {"x": 1.5, "y": 0.5})])
    with pytest.raises(ConfigError, match="`confidence` must be between 0 and 1. Received: 95"):
        worst_regrets([cell("a", {"x": 0.5, "y": 0.4})], confidence=95)
    with pytest.raises(ConfigError, match="`resamples` must be at least 1. Received: 0"):
        worst_regrets([cell("a", {"x": 0.5, "y": 0.4})], resamples=0)
