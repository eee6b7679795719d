"""The mean of paired differences over folds, and by a mixed model: equal to independent computations."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from loglearn_tf.analysis.mixed import Estimate, components, over_folds, pooled
from loglearn_tf.errors import ConfigError, DataError


def grid(seed: int, folds: int, runs: int, *, mean=0.01, run_std=0.055, fold_std=0.02) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return mean + fold_std * rng.normal(size=(folds, 1)) + run_std * rng.normal(size=(folds, runs))


def reml(values: np.ndarray) -> tuple[float, float, float, float]:
    """Mean, its standard error, variances of folds and runs: by the restricted likelihood of a normal vector."""
    y = 100 * values.ravel()
    same_fold = np.kron(np.eye(len(values)), np.ones((values.shape[1], values.shape[1])))

    def fit(variances) -> tuple[float, float, float]:
        of_folds, of_runs = variances
        inverse = np.linalg.inv(of_folds * same_fold + of_runs * np.eye(len(y)))
        information = inverse.sum()
        mean = (inverse @ y).sum() / information
        deviance = -np.linalg.slogdet(inverse)[1] + np.log(information) + (y - mean) @ inverse @ (y - mean)
        return mean, information**-0.5, deviance

    bounds = [(0, None), (1e-3, None)]
    found = scipy.optimize.minimize(lambda v: fit(v)[2], [5.0, 20.0], bounds=bounds, method="Nelder-Mead", tol=1e-9)
    mean, error, _ = fit(found.x)
    return mean / 100, error / 100, found.x[0] / 1e4, found.x[1] / 1e4


class TestOverFolds:
    @pytest.mark.parametrize("confidence", [0.95, 0.8])
    def test_of_one_cell_is_students_t_on_fold_means(self, confidence):
        values = grid(0, 4, 6)
        found, expected = over_folds(values), scipy.stats.ttest_1samp(values.mean(axis=1), 0)
        assert (found.mean, found.dof, found.p_value) == pytest.approx((values.mean(), 3, expected.pvalue))
        assert found.interval(confidence) == pytest.approx(tuple(expected.confidence_interval(confidence)))

    def test_unequal_runs_leave_each_fold_its_weight(self):
        folds = {3: [0.1, 0.3], 1: [-0.1], 7: [0.2, 0.2, 0.5]}
        expected = scipy.stats.ttest_1samp([0.2, -0.1, 0.3], 0)
        found = over_folds(folds)
        assert (found.mean, found.p_value) == pytest.approx((0.4 / 3, expected.pvalue))

    def test_of_several_n_is_students_t_on_fold_averages(self):
        """Folds in common: the n of a fold are averaged first, each with the same weight."""
        cells = [grid(1, 5, 6), grid(2, 5, 3), grid(3, 5, 1)]
        averages = np.mean([cell.mean(axis=1) for cell in cells], axis=0)
        expected = scipy.stats.ttest_1samp(averages, 0)
        found = over_folds(*cells)
        assert (found.mean, found.p_value, found.dof) == pytest.approx((averages.mean(), expected.pvalue, 4))

    def test_of_n_without_a_fold_in_common_adds_their_variances(self):
        """The variance is then that of two independent means; degrees of freedom are Welch's for equal variances."""
        one, other = grid(4, 3, 4), grid(5, 3, 4)
        found = over_folds(dict(enumerate(one)), dict(enumerate(other, start=10)))
        errors = [scipy.stats.sem(cell.mean(axis=1)) for cell in (one, other)]
        assert found.error == pytest.approx(math.hypot(*errors) / 2)
        assert found.dof == pytest.approx(4)

    def test_of_incomplete_n_is_the_cluster_robust_cr2(self):
        """By matrices, as Bell and McCaffrey write them."""
        cells = [dict(enumerate(grid(6, 6, 4))), dict(enumerate(grid(7, 3, 4))), {2: [0.1], 4: [0.0], 5: [0.3]}]
        y = np.array([np.mean(runs) for cell in cells for runs in cell.values()])
        x = np.array([[at == of for of in range(3)] for at, cell in enumerate(cells) for _ in cell], float)
        cluster = np.array([fold for cell in cells for fold in cell])
        bread = np.linalg.inv(x.T @ x)
        left = np.eye(len(y)) - x @ bread @ x.T
        contrast = np.full(3, 1 / 3) @ bread
        columns = []
        for fold in sorted(set(cluster)):
            own = cluster == fold
            eigenvalues, vectors = np.linalg.eigh(left[np.ix_(own, own)])
            root = vectors @ np.diag(eigenvalues**-0.5) @ vectors.T
            columns.append(left[:, own] @ root @ x[own] @ contrast)
        columns = np.array(columns).T
        found = over_folds(*cells)
        assert found.error**2 == pytest.approx(((columns.T @ y) ** 2).sum())
        eigenvalues = np.linalg.eigvalsh(columns.T @ columns)
        assert found.dof == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())
        assert found.mean == pytest.approx(np.linalg.lstsq(x, y, rcond=None)[0].mean())

    def test_of_incomplete_n_covers_as_often_as_it_says(self):
        rng = np.random.default_rng(8)
        covered = []
        for _ in range(1000):
            of_folds = 0.03 * rng.normal(size=(8, 1))
            cells = [of_folds + 0.05 * rng.normal(size=(8, 5)), (of_folds + 0.05 * rng.normal(size=(8, 5)))[:4]]
            low, high = over_folds(*cells).interval()
            covered.append(low <= 0 <= high)
        assert 0.93 <= np.mean(covered) <= 0.97


class TestPooled:
    @pytest.mark.parametrize("fold_std", [0.0, 0.06])
    @pytest.mark.parametrize("seed", range(3))
    def test_of_balanced_runs_is_reml(self, seed, fold_std):
        values = grid(seed, 5, 6, fold_std=fold_std)
        mean, error, fold_variance, run_variance = reml(values)
        found, parts = pooled(values), components(values)
        assert found.mean == pytest.approx(mean, abs=1e-6)
        assert found.error == pytest.approx(error, rel=1e-3)
        assert parts.fold_std**2 == pytest.approx(fold_variance, rel=1e-3, abs=1e-9)
        if parts.fold_std:
            assert parts.run_std**2 == pytest.approx(run_variance, rel=1e-3)
            assert (found.dof, found.method) == (pytest.approx(4), "mixed model, folds differ")
        else:
            assert (found.dof, found.method) == (pytest.approx(29), "mixed model, pooled")

    def test_where_fold_means_vary_less_than_noise_all_runs_are_one_sample(self):
        values = np.random.default_rng(1).normal(size=(4, 5)) / 20
        values -= values.mean(axis=1, keepdims=True) - [[0.011], [0.012], [0.013], [0.012]]
        expected = scipy.stats.ttest_1samp(values.ravel(), 0)
        found = pooled(values)
        assert found.method == "mixed model, pooled" and found.dof == 19
        assert (found.p_value, *found.interval()) == pytest.approx((expected.pvalue, *expected.confidence_interval()))

    def test_where_folds_differ_it_is_the_interval_over_folds(self):
        values = grid(2, 4, 5, fold_std=0.2)
        assert pooled(values).interval() == over_folds(values).interval()

    def test_of_several_n_with_little_between_folds_the_noise_of_each_n_counts(self):
        """Fold means that do not vary at all: what is left is the noise of the runs, n by n."""
        deviations = [np.array([-1.0, 1.0, 0.0, 2.0, -2.0]) / 100, np.array([-3.0, 3.0, 1.0, -1.0, 0.0]) / 100]
        cells = [np.tile(0.02 + own, (3, 1)) for own in deviations]
        noise = [own @ own / 4 / 15 / 4 for own in deviations]
        dof = sum(noise) ** 2 / sum(one**2 / 12 for one in noise)
        found = pooled(*cells)
        assert found.dof == pytest.approx(2 + dof)
        assert found.error**2 == pytest.approx(dof * sum(noise) / (2 + dof))

    @pytest.mark.parametrize("folds", [[[0.1, 0.2, 0.3], [0.1], [0.2, 0.1]], [[0.1], [0.3, 0.2]]])
    def test_unequal_runs_keep_the_mean_of_folds(self, folds):
        assert pooled(folds).mean == pytest.approx(np.mean([np.mean(runs) for runs in folds]))
        assert pooled(folds).error > 0


class TestComponents:
    def test_are_right_on_average_also_with_unequal_runs(self):
        rng = np.random.default_rng(0)
        found = []
        for _ in range(2000):
            of_folds = 0.03 * rng.normal(size=4)
            found.append(
                components([of + 0.05 * rng.normal(size=n) for of, n in zip(of_folds, (2, 6, 3, 9), strict=True)])
            )
        assert np.mean([one.run_std**2 for one in found]) == pytest.approx(0.05**2, rel=0.03)
        assert np.mean([one.fold_variance for one in found]) == pytest.approx(0.03**2, rel=0.1)

    def test_no_standard_deviation_is_negative(self):
        values = np.random.default_rng(1).normal(size=(3, 6))
        found = components(values - values.mean(axis=1, keepdims=True))
        assert found.fold_std == 0 and found.fold_variance == pytest.approx(-(found.run_std**2) / 6)
        assert (found.run_dof, found.fold_dof, found.shared) == (15, 2, 1)

    @pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
    def test_tells_what_all_n_have_in_common(self, shared):
        rng = np.random.default_rng(2)
        common, own = rng.normal(size=(200, 1)), rng.normal(size=(3, 200, 1))
        of_folds = 0.04 * (math.sqrt(shared) * common + math.sqrt(1 - shared) * own)
        found = components(*(of_folds + 0.03 * rng.normal(size=(3, 200, 4))))
        assert found.shared == pytest.approx(shared, abs=0.1)
        assert found.fold_std == pytest.approx(0.04, rel=0.1)


class TestEstimate:
    def test_of_equivalence_is_two_one_sided_tests(self):
        values = grid(3, 6, 5, mean=0.005).mean(axis=1)
        found = over_folds(values[:, np.newaxis])
        for margin in (0.01, 0.05):
            above = scipy.stats.ttest_1samp(values, -margin, alternative="greater").pvalue
            below = scipy.stats.ttest_1samp(values, margin, alternative="less").pvalue
            assert found.p_within(margin) == pytest.approx(max(above, below))

    def test_of_values_that_do_not_vary_says_nothing(self):
        found = over_folds(np.full((4, 3), 0.1))
        assert found.mean == pytest.approx(0.1)
        assert (found.error, found.interval(), found.p_value, found.p_within(0.02)) == (0, (None, None), None, None)

    @pytest.mark.parametrize("margin", [0, -0.01, 2, math.nan])
    def test_a_margin_is_a_fraction_above_zero(self, margin):
        with pytest.raises(ConfigError, match=r"`margin` must be between 0 and 1\. Received: margin="):
            Estimate(0.1, 0.01, 3, "").p_within(margin)

    @pytest.mark.parametrize("confidence", [0, 1, 95, math.nan])
    def test_a_confidence_is_a_fraction(self, confidence):
        with pytest.raises(ConfigError, match="`confidence` must be between 0 and 1"):
            Estimate(0.1, 0.01, 3, "").interval(confidence)


@pytest.mark.parametrize("statistic", [over_folds, pooled, components])
@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([], "No differences"),
        ([[[0.1, 0.2]]], r"at least 2 folds\. Received: 1"),
        ([[]], r"at least 2 folds\. Received: 0"),
        ([grid(0, 3, 2), [[0.1, 0.2]]], r"at least 2 folds\. Received: 1"),
        ([[[0.1, math.nan], [0.2, 0.3]]], "finite numbers. Received: nan in fold 0"),
        ([{4: [0.1, math.inf], 5: [0.2, 0.3]}], "finite numbers. Received: inf in fold 4"),
        ([[[0.1, 0.2], []]], r"at least one\. Received: an array of shape \(0,\)"),
        ([[0.1, 0.2]], r"Received: an array of shape \(\)"),
        ([[[[0.1]], [[0.2]]]], r"Received: an array of shape \(1, 1\)"),
        ([[["good"], ["bad"]]], r"differences of fold 0 must be numbers\. Received: \['good'\]"),
    ],
)
def test_wrong_differences(statistic, cells, message):
    with pytest.raises(DataError, match=message):
        statistic(*cells)


@pytest.mark.parametrize("statistic", [pooled, components])
def test_one_run_in_every_fold_has_no_noise_to_compare_with(statistic):
    with pytest.raises(DataError, match="one run in each of 3 folds. Use `over_folds`"):
        statistic(grid(0, 3, 4), [[0.1], [0.2], [0.3]])


FOLDS = st.dictionaries(
    st.integers(1, 10), st.lists(st.integers(-20, 20), min_size=1, max_size=6), min_size=2, max_size=10
)


@settings(max_examples=100, deadline=None)
@given(st.lists(FOLDS, min_size=1, max_size=4), st.integers(-20, 20), st.randoms(use_true_random=False))
def test_order_sign_and_shift(cells, shift, random):
    cells = [{fold: np.array(runs) / 100 for fold, runs in cell.items()} for cell in cells]
    shuffled = []
    for cell in cells:
        folds = list(cell)
        random.shuffle(folds)
        shuffled.append({fold: -cell[fold] + shift / 100 for fold in folds})
    for statistic in (over_folds, pooled):
        try:
            found = statistic(*cells)
        except DataError:
            continue
        other = statistic(*reversed(shuffled))
        assert other.mean == pytest.approx(shift / 100 - found.mean)
        assert other.error == pytest.approx(found.error, abs=1e-9)
        # Where nothing varies, no degrees of freedom are used.
        assert not found.error or other.dof == pytest.approx(found.dof, rel=1e-6)
        assert found.dof >= 1 - 1e-9
