"""Recordings and runs as two crossed samples: equal to independent computations, and worth what they promise."""

import numpy as np
import pytest

from loglearn_tf.analysis import mixed
from loglearn_tf.analysis.recordings import ClipDifferences, by_class, clip_differences, pooled, two_way
from loglearn_tf.errors import ConfigError, DataError


def clips(seed=0, *, folds=2, runs=4, recordings=12, recording_std=0.1, run_std=0.05, fold_std=0.0, drop=0.0):
    """Differences by clip; recordings have 1 to 6 clips; `drop`: share of the entries that are not there."""
    rng = np.random.default_rng(seed)
    entries = []
    for fold in range(1, folds + 1):
        recording = np.repeat(np.arange(recordings), rng.integers(1, 7, recordings))
        mean = fold_std * rng.normal() + recording_std * rng.normal(size=recordings)
        for run in range(runs):
            value = (mean + run_std * rng.normal())[recording] + 0.3 * rng.normal(size=len(recording))
            kept = rng.random(len(recording)) >= drop
            entries += [(value[at], fold, run, 100 * fold + recording[at], at % 3) for at in np.flatnonzero(kept)]
    difference, *rest = (np.array(column) for column in zip(*entries, strict=True))
    return ClipDifferences(np.clip(difference, -1, 1), *rest)


def weights_of(found: ClipDifferences) -> np.ndarray:
    """Each fold the same, in it each run, in it each clip: one by one."""
    of = list(zip(found.fold.tolist(), found.run.tolist(), strict=True))
    n_folds = len(set(found.fold.tolist()))
    return np.array([1 / n_folds / len({run for fold, run in of if fold == one[0]}) / of.count(one) for one in of])


class TestTwoWay:
    @pytest.mark.parametrize("drop", [0.0, 0.3])
    @pytest.mark.parametrize("weights", ["folds", "clips"])
    def test_is_the_two_way_clustered_variance_of_statsmodels(self, weights, drop):
        linear_model = pytest.importorskip("statsmodels.regression.linear_model")
        sandwich = pytest.importorskip("statsmodels.stats.sandwich_covariance")
        data = clips(drop=drop)
        found = two_way(data, weights=weights)
        weight = weights_of(data) if weights == "folds" else np.ones(len(data.difference))
        fit = linear_model.WLS(data.difference, np.ones(len(weight)), weights=weight).fit()
        runs = 1000 * data.fold + data.run
        variance = sandwich.cov_cluster_2groups(fit, np.array(data.recording), runs)[0][0, 0]
        assert found.estimate.mean == pytest.approx(fit.params[0])
        assert found.estimate.error**2 == pytest.approx(variance)
        assert (found.n_recordings, found.n_runs) == (24, 8)

    def test_mean_is_that_of_the_tables(self):
        """Over clips, runs, then folds: also where runs have other clips."""
        data = clips(3, drop=0.4)
        of_runs = {
            fold: [data.difference[(data.fold == fold) & (data.run == run)].mean() for run in range(4)]
            for fold in (1, 2)
        }
        assert two_way(data).estimate.mean == pytest.approx(mixed.over_folds(of_runs).mean)

    def test_spread_is_that_of_drawing_recordings_and_runs_anew(self):
        """The pigeonhole bootstrap (Owen 2007): both are drawn with replacement, an entry counts as often as both."""
        data = clips(5, folds=1, runs=12, recordings=40)
        rng = np.random.default_rng(0)
        recording = np.array(data.recording) - 100
        means = []
        for _ in range(4000):
            times = (
                rng.multinomial(40, np.full(40, 1 / 40))[recording] * rng.multinomial(12, np.full(12, 1 / 12))[data.run]
            )
            means.append(np.average(data.difference, weights=times))
        # It is known to be a little too wide: noise of single entries counts up to three times.
        error = two_way(data).estimate.error
        assert error <= np.std(means) * 1.05 and error == pytest.approx(np.std(means), rel=0.2)

    def test_is_never_below_either_one_way_variance(self):
        for seed in range(20):
            data = clips(seed, recording_std=0.0, run_std=0.0)
            psi = weights_of(data) * (data.difference - two_way(data).estimate.mean)
            for group in (np.array(data.recording), 1000 * data.fold + data.run):
                sums = np.array([psi[group == one].sum() for one in set(group.tolist())])
                one_way = (sums**2).sum() * len(sums) / (len(sums) - 1)
                assert two_way(data).estimate.error ** 2 >= one_way * (1 - 1e-9)

    def test_covers_as_often_as_it_says_where_folds_are_partitions(self):
        covered = []
        for seed in range(400):
            low, high = two_way(clips(seed, folds=2, runs=5, recordings=25)).interval()
            covered.append(low <= 0 <= high)
        assert 0.92 <= np.mean(covered) <= 0.98

    @pytest.mark.parametrize("runs", [2, 5])
    def test_tells_how_much_recordings_vary(self, runs):
        found = [two_way(clips(seed, folds=4, runs=runs, recordings=25, recording_std=0.15)) for seed in range(300)]
        assert np.sqrt(np.mean([one.recording_std**2 for one in found])) == pytest.approx(0.15, rel=0.03)

    def test_of_recordings_in_one_run_each_it_is_unknown_how_much_they_vary(self):
        assert {two_way(clips(seed, folds=3, runs=1, recording_std=0.3)).recording_std for seed in range(20)} == {0}

    def test_tells_how_many_equal_recordings_a_fold_has(self):
        found = [two_way(clips(seed, folds=3, runs=8, recordings=60)) for seed in range(10)]
        # Sizes 1 to 6: (sum of sizes) ** 2 / sum of squares.
        expected = 60 * 3.5**2 / (91 / 6)
        assert np.mean([one.recordings_per_fold for one in found]) == pytest.approx(expected, rel=0.1)

    def test_a_recording_may_be_in_all_folds(self):
        data = clips()
        names = [f"{name % 100:02d}" for name in data.recording]
        found = two_way(ClipDifferences(data.difference, data.fold, data.run, names))
        assert found.n_recordings == 12 and found.estimate.error > 0

    def test_names_of_any_kind_do(self):
        data = clips()
        mixed_names = [name if name % 2 else f"r{name}" for name in data.recording]
        assert two_way(ClipDifferences(data.difference, data.fold, data.run, mixed_names)) == two_way(data)


class TestTooFew:
    @pytest.mark.parametrize(("recordings", "told"), [(9, False), (10, True)])
    def test_of_equal_recordings_ten_are_enough(self, recordings, told):
        recording = np.tile(np.repeat(np.arange(recordings), 3), 4)
        run = np.repeat(np.arange(4), 3 * recordings)
        data = ClipDifferences(np.random.default_rng(0).normal(0, 0.2, len(run)), np.ones_like(run), run, recording)
        found = two_way(data)
        assert (found.interval() != (None, None)) == told == (found.too_few is None)
        assert told or found.too_few == "9 recordings: an interval needs 10"

    def test_one_large_recording_makes_many_few(self):
        recording = np.tile([0] * 200 + list(range(1, 20)), 4)
        run = np.repeat(np.arange(4), 219)
        data = ClipDifferences(np.random.default_rng(0).normal(0, 0.2, len(run)), np.ones_like(run), run, recording)
        told = "20 recordings, whose error is as uncertain as that of 1.0 equal ones: an interval needs 10"
        assert two_way(data).too_few == told

    def test_effective_recordings_are_degrees_of_freedom_and_not_those_of_the_same_error(self):
        """One recording with half of the clips, and 50 with one in a hundred each."""
        recording = np.tile([0] * 50 + list(range(1, 51)), 2)
        run = np.repeat([0, 1], 100)
        found = two_way(ClipDifferences(np.zeros(200), np.ones_like(run), run, recording))
        squares = 0.5**2 + 50 * 0.01**2
        assert found.effective_recordings == pytest.approx(squares**2 / (0.5**4 + 50 * 0.01**4))
        assert found.recordings_per_fold == pytest.approx(1 / squares)
        assert (round(found.effective_recordings, 2), round(found.recordings_per_fold, 1)) == (1.04, 3.9)

    @pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (6, 2, 1, 1)])
    def test_the_error_is_as_uncertain_as_that_of_so_many_equal_recordings(self, sizes):
        """A variance with d degrees of freedom has a relative variance of 2 / d, here from the recordings alone."""
        rng = np.random.default_rng(0)
        weight = np.array(sizes) / sum(sizes)
        variances = ((weight * rng.normal(size=(100_000, len(sizes)))) ** 2).sum(axis=1)
        recording = np.tile(np.repeat(np.arange(len(sizes)), sizes), 2)
        run = np.repeat([0, 1], sum(sizes))
        found = two_way(ClipDifferences(np.zeros(len(run)), np.ones_like(run), run, recording))
        assert found.effective_recordings == pytest.approx(2 * variances.mean() ** 2 / variances.var(), rel=0.03)

    def test_by_class(self):
        data = clips(recordings=30)
        label = ["siren" if name < 104 else "horn" if name == 104 else "dog" for name in data.recording]
        found = by_class(ClipDifferences(data.difference, data.fold, data.run, data.recording, label))
        assert set(found) == {"siren", "horn", "dog"}
        assert found["horn"] == "1 recording: an interval needs 10"
        assert found["siren"].too_few.startswith("4 recordings") and found["siren"].interval() == (None, None)
        own = np.array(label) == "dog"
        alone = two_way(
            ClipDifferences(data.difference[own], data.fold[own], data.run[own], np.array(data.recording)[own])
        )
        assert found["dog"] == alone and alone.interval() != (None, None)

    def test_a_class_in_one_run_has_a_reason_and_the_others_their_intervals(self):
        data = clips(folds=2, runs=1, recordings=30)
        label = [
            "siren" if fold == 1 and name % 2 else "dog" for fold, name in zip(data.fold, data.recording, strict=True)
        ]
        found = by_class(ClipDifferences(data.difference, data.fold, data.run, data.recording, label))
        assert "at least two runs" in found["siren"] and found["siren"].endswith("Received: 1.")
        assert found["dog"].too_few is None and found["dog"].n_runs == 2


class TestPooled:
    def test_where_folds_differ_it_is_the_interval_over_folds(self):
        data = clips(1, folds=4, fold_std=0.5)
        means = {fold: [two_way(of(data, fold)).estimate.mean] for fold in (1, 2, 3, 4)}
        assert pooled(data).interval() == pytest.approx(mixed.over_folds(means).interval())

    def test_where_they_do_not_recordings_and_runs_within_them_count(self):
        data = clips(1, folds=4)
        means = np.array([two_way(of(data, fold)).estimate.mean for fold in (1, 2, 3, 4)])
        level = data.difference - means[data.fold - 1]
        flat = ClipDifferences(np.clip(level, -1, 1), data.fold, data.run, data.recording)
        found = pooled(flat)
        assert found.method == "mixed model, pooled" and found.error > 0 and found.dof > 3
        # As if these fold means were the noise: about that of recordings and runs, but for the folds' lost degrees.
        assert found.error == pytest.approx(two_way(flat).estimate.error, rel=0.15)

    def test_needs_two_folds_and_something_within_them(self):
        with pytest.raises(DataError, match="at least 2 folds. Received: 1"):
            pooled(clips(folds=1))
        with pytest.raises(DataError, match="a second run"):
            pooled(clips(runs=1))


def of(data: ClipDifferences, fold: int) -> ClipDifferences:
    own = data.fold == fold
    return ClipDifferences(data.difference[own], data.fold[own], data.run[own], np.array(data.recording)[own])


class TestClipDifferences:
    OURS = {(1, 0): {"a": True, "b": False, "c": True}, (1, 1): {"a": True, "b": True, "c": True}, (2, 0): {"d": True}}
    THEIRS = {(1, 0): {"a": False, "b": False, "c": True}, (1, 1): {"a": False, "b": True, "c": False}}
    RECORDINGS = {"a": "x", "b": "x", "c": "y"}

    def test_lines_up_paired_runs(self):
        found = clip_differences(self.OURS, self.THEIRS, self.RECORDINGS, {"a": "dog", "b": "dog", "c": "siren"})
        assert found.difference.tolist() == [1, 0, 0, 1, 0, 1]
        assert (found.fold.tolist(), found.run.tolist()) == ([1] * 6, [0, 0, 0, 1, 1, 1])
        assert found.recording == ["x", "x", "y"] * 2 and found.label == ["dog", "dog", "siren"] * 2

    def test_a_run_without_partner_is_no_pair(self):
        with pytest.raises(DataError, match="The two compressions have no paired runs"):
            clip_differences(self.OURS, {(3, 0): {"a": True}}, self.RECORDINGS)

    def test_runs_of_other_clips_are_no_pair(self):
        theirs = {(1, 0): {"a": True, "b": True}}
        with pytest.raises(DataError, match="Received: 3 and 2 for fold 1, run 0; c is in only one"):
            clip_differences(self.OURS, theirs, self.RECORDINGS)

    @pytest.mark.parametrize("gap", [None, "", float("nan")])
    def test_a_clip_without_recording_or_class_is_an_error(self, gap):
        for recordings, classes, what in (
            ({"a": "x", "c": "y"}, None, "recording"),
            ({**self.RECORDINGS, "b": gap}, None, "recording"),
            (self.RECORDINGS, {"a": "dog", "c": "dog"}, "class"),
        ):
            with pytest.raises(DataError, match=f"Every clip must have a {what}. Missing for 1 clips, such as b"):
                clip_differences(self.OURS, self.THEIRS, recordings, classes)
        for names in (["x", gap, "y"], np.array(["x", gap, "y"], object)):
            with pytest.raises(DataError, match="must have a recording. Missing for 1 of 3 entries"):
                ClipDifferences([0.0, 0.0, 0.0], [1, 1, 1], [0, 0, 0], names)
            with pytest.raises(DataError, match="must have a class. Missing for 1 of 3 entries"):
                ClipDifferences([0.0, 0.0, 0.0], [1, 1, 1], [0, 0, 0], [1, 2, 3], names)

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            (([0.1, 0.2], [1, 1], [0], ["x", "y"]), "lengths: {'difference': 2, 'fold': 2, 'run': 1, 'recording': 2}"),
            (([], [], [], []), "there must be at least one"),
            (([0.1, np.nan], [1, 1], [0, 1], ["x", "y"]), "between -1 and 1. Received: nan"),
            (([0.1, 2.0], [1, 1], [0, 1], ["x", "y"]), "between -1 and 1. Received: 2.0"),
            (([0.1, 0.2], [1.5, 1.0], [0, 1], ["x", "y"]), "`fold` must hold one integer per entry"),
            (([0.1, 0.2], [1, 1], ["a", "b"], ["x", "y"]), "`run` must hold one integer per entry"),
        ],
    )
    def test_wrong_columns(self, columns, message):
        with pytest.raises(DataError, match=message):
            ClipDifferences(*columns)

    def test_one_run_or_one_recording_says_nothing_of_others(self):
        with pytest.raises(DataError, match="at least two runs.* Received: 1"):
            two_way(clips(folds=1, runs=1))
        with pytest.raises(DataError, match="at least two recordings.* Received: 1"):
            two_way(clips(folds=1, recordings=1))

    def test_wrong_weights_and_classes(self):
        with pytest.raises(ConfigError, match="`weights` must be 'folds' or 'clips'. Received: 'runs'"):
            two_way(clips(), weights="runs")
        with pytest.raises(DataError, match="have no classes"):
            by_class(ClipDifferences([0.1], [1], [0], ["x"]))
        with pytest.raises(DataError, match="No clip has the class 'cat'"):
            clips().of_class("cat")
