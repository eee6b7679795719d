"""The hierarchical model: its draws are from the posterior, and its probabilities say what they should."""

import math

import numpy as np
import pytest
import scipy.stats

from loglearn_tf.analysis import bayes
from loglearn_tf.analysis.bayes import design_of, probabilities, sample
from loglearn_tf.errors import ConfigError, DataError


def study(seed=0, *, models=("a", "b"), shots=(1, 10), folds=4, runs=5, mean=0.0, run_std=0.05, fold_std=0.01):
    rng = np.random.default_rng(seed)
    return {
        (model, n_shot): mean + fold_std * rng.normal(size=(folds, 1)) + run_std * rng.normal(size=(folds, runs))
        for model in models
        for n_shot in shots
    }


def test_draws_are_calibrated_over_the_prior():
    """Simulation-based calibration (Talts et al. 2018): ranks of the truth among the draws are uniform."""
    rng = np.random.default_rng(0)
    studies, folds, runs = 400, 4, 3
    names = [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    design = design_of(names, [range(folds)] * 4, [[runs] * folds] * 4)
    std = bayes.PRIOR_SCALE * np.abs(rng.standard_t(bayes.PRIOR_DOF, size=(studies, 5)))
    run_std = bayes.PRIOR_RUN_SCALE * np.abs(rng.standard_t(bayes.PRIOR_DOF, size=(studies, 2)))

    def parts(at: int, *shape: int) -> np.ndarray:
        return std[:, at].reshape(-1, *[1] * len(shape)) * rng.normal(size=(studies, *shape))

    # (studies, networks, n, folds)
    true = bayes.PRIOR_MEAN_STD * rng.normal(size=(studies, 1, 1)) + parts(0, 2, 1) + parts(1, 2, 2)
    means = true[..., np.newaxis] + parts(2, 1, 1, folds) + parts(3, 2, 1, folds) + parts(4, 2, 2, folds)
    noise = run_std[:, :, np.newaxis, np.newaxis, np.newaxis] * rng.normal(size=(studies, 2, 2, folds, runs))
    squares = noise.var(axis=4).sum(axis=(2, 3)) * runs
    observed = (means + noise.mean(axis=4)).reshape(studies, -1)
    draws, of_std = sample(design, observed, squares, rng, burn_in=150, kept=300)
    everything = np.concatenate(
        [true.reshape(studies, 4), true.mean(axis=(1, 2))[:, np.newaxis], std[:, 2:], run_std], 1
    )
    drawn = np.concatenate([draws, draws.mean(axis=2, keepdims=True), of_std[..., 2:]], axis=2)
    ranks = (drawn < everything[:, np.newaxis]).mean(axis=1)
    for column in ranks.T:
        assert scipy.stats.kstest(column, "uniform").pvalue > 1e-3
    # Wrong scales of the data would show: that the test can fail.
    wrong, _ = sample(design, 2 * observed, squares, rng, burn_in=50, kept=100)
    assert scipy.stats.kstest((wrong[..., 0] < true[:, :1, 0]).mean(axis=1), "uniform").pvalue < 1e-3


def test_of_one_cell_with_many_runs_and_folds_it_is_the_interval_over_folds():
    """The prior is then of little weight."""
    values = study(models=("a",), shots=(1,), folds=40, runs=20, mean=0.02, fold_std=0.02)
    (cell,) = probabilities(values).cells
    means = values["a", 1].mean(axis=1)
    low, high = scipy.stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert (cell.low, cell.high) == pytest.approx((low, high), abs=0.001)
    t = scipy.stats.t(39, means.mean(), scipy.stats.sem(means))
    assert (cell.better, cell.equivalent) == pytest.approx((t.sf(0.02), t.cdf(0.02) - t.cdf(-0.02)), abs=0.03)


@pytest.mark.parametrize(("mean", "expected"), [(0.1, "better"), (-0.1, "worse"), (0.0, "equivalent")])
def test_probabilities_say_which(mean, expected):
    found = probabilities(study(folds=8, runs=12, mean=mean, run_std=0.03, fold_std=0.0))
    for one in (*found.cells, *found.networks, found.overall):
        assert getattr(one, expected) > 0.95
        assert one.worse + one.equivalent + one.better == pytest.approx(1)
        assert one.low < one.mean < one.high and one.mean == pytest.approx(mean, abs=0.02)
    assert found.r_hat < 1.05


def test_levels_are_named_in_order():
    found = probabilities(study(models=("vgg", "sb_cnn"), shots=(10, 1)))
    assert [(one.model, one.n_shot) for one in found.cells] == [
        ("sb_cnn", 1), ("sb_cnn", 10), ("vgg", 1), ("vgg", 10)
    ]  # fmt: skip
    assert [(one.model, one.n_shot) for one in found.networks] == [("sb_cnn", None), ("vgg", None)]
    assert (found.overall.model, found.overall.n_shot, found.margin) == (None, None, 0.02)
    assert list(found.std) == ["network", "n", "fold", "network x fold", "cell x fold", "run sb_cnn", "run vgg"]
    assert all(value > 0 and math.isfinite(value) for value in found.std.values())


def test_of_one_network_nothing_lies_between_networks():
    found = probabilities(study(models=("a",)))
    assert list(found.std) == ["n", "fold", "cell x fold", "run a"]
    assert found.networks[0].mean == found.overall.mean


def test_averages_are_those_of_the_cells():
    found = probabilities(study(1, mean=0.03))
    assert found.networks[0].mean == pytest.approx(np.mean([one.mean for one in found.cells[:2]]))
    assert found.overall.mean == pytest.approx(np.mean([one.mean for one in found.networks]))


def test_an_extreme_cell_is_drawn_towards_the_others():
    values = study(2, models=("a",), shots=(1, 2, 5, 10))
    values["a", 5] = values["a", 5] + 0.12
    found = probabilities(values).cells[2]
    assert np.mean([values["a", n].mean() for n in (1, 2, 10)]) < found.mean < values["a", 5].mean() - 0.005


def test_runs_and_folds_may_be_missing():
    values = study(3)
    values["a", 10] = {7: [0.1], 2: [0.05, 0.02, 0.1]}
    found = probabilities(values)
    assert len(found.cells) == 4 and all(math.isfinite(one.mean) for one in found.cells)
    assert found.cells[1].high - found.cells[1].low > found.cells[0].high - found.cells[0].low


def test_where_nothing_varies_the_differences_are_what_they_are():
    same = probabilities({("a", 1): [[0.05] * 3] * 3, ("a", 10): [[0.05] * 3] * 3, ("b", 1): [[0.0] * 3] * 3})
    first, second, third = same.cells
    assert min(first.better, second.better, third.equivalent) > 0.999
    assert [one.mean for one in same.cells] == pytest.approx([0.05, 0.05, 0.0], abs=1e-3)


def test_mirrored_data_have_mirrored_probabilities():
    values = study(4, mean=0.02)
    one, other = probabilities(values), probabilities({name: -cell for name, cell in values.items()}, seed=1)
    assert one.overall.better == pytest.approx(other.overall.worse, abs=0.04)
    assert one.overall.mean == pytest.approx(-other.overall.mean, abs=0.002)


def test_the_seed_decides():
    values = study(5)
    found = probabilities(values)
    assert found == probabilities(dict(reversed(values.items())))
    assert found != probabilities(values, seed=1)


@pytest.mark.parametrize("margin", [0, -0.02, 2, math.nan])
def test_a_margin_is_a_fraction_above_zero(margin):
    with pytest.raises(ConfigError, match="`margin` must be between 0 and 1"):
        probabilities(study(), margin=margin)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({}, "No differences"),
        ({("a", 1): [[0.1, 0.2]]}, "at least 2 folds. Received: 1"),
        ({("a", 1): [[0.1, math.nan], [0.1, 0.2]]}, "finite numbers. Received: nan in fold 0"),
    ],
)
def test_wrong_differences(cells, message):
    with pytest.raises(DataError, match=message):
        probabilities(cells)
