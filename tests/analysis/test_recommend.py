"""The answer for a study of one's own: what it says in each situation, and that its words hold its numbers."""

import json
import re

import numpy as np
import pytest
import scipy.stats
import yaml
from fake_study import pair, run_row, simulated_rows, study_in_parts, write

import loglearn_tf
from loglearn_tf.analysis.best import compared, pairs_of
from loglearn_tf.analysis.recommend import Part, by_simplicity, learning_pairs, learns, of_parts, recommend
from loglearn_tf.analysis.results import Runs
from loglearn_tf.cli import main
from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.features.histogram import EDGES, START_ALPHA, START_BETA, MelHistogram, write_mel_histogram
from loglearn_tf.study.settings import CompressionVariant, load_studies

FIXED = CompressionVariant(layer="loglearn", args={"trainable": False})


def of_rows(rows, **more):
    return of_parts("mine", [Part("", None, rows)], **more)


def only(rows, **more):
    """The only answer."""
    (part,) = of_rows(rows, **more).parts
    (one,) = part.answers
    return one


def said(found) -> str:
    """On one line."""
    return " ".join(str(found).split())


# ---- Which ----------------------------------------------------------------------------------------------------------


def test_one_is_the_best():
    found = of_rows(simulated_rows({"logeps": 0.5, "loglearn": 0.6, "log": 0.55}, folds=(1, 2, 3, 4, 5)))
    text = said(found)
    assert "Recommended: loglearn, because it is the only one that can be the best." in text
    assert "With 95 % certainty, loglearn is the best of the 3 compressions." in text
    assert re.search(
        r"log-EPS [\d.]+ points \(worse than the best by at least [\d.]+ points?, at most [\d.]+ points", text
    )
    assert "Nothing is left to decide, unless differences below 2 points or other" in text


def test_where_all_are_the_same_the_simplest_is_recommended_and_it_says_so():
    means = dict.fromkeys(("loglearn", "power", "logeps", "log"), 0.5)
    found = of_rows(simulated_rows(means, folds=(1, 2, 3, 4, 5), runs=5, run_std=0.004, fold_std=0.001))
    assert "the choice hardly matters: none of the 4 compressions is more than 2 points behind the best" in said(found)
    assert "Recommended: log-EPS, because it is the simplest (it learns nothing) of the 4 compressions shown" in said(
        found
    )
    one = found.parts[0].answers[0]
    assert set(one.near) == set(means) and one.reason == "near" and not one.learns


def test_where_nothing_is_found_it_is_not_called_equal():
    means = dict.fromkeys(("logeps", "loglearn", "log"), 0.5)
    found = of_rows(simulated_rows(means, run_std=0.05, fold_std=0.03))
    text = said(found)
    assert "No difference was found: none of the 3 compressions can be ruled out as the best. This does not" in text
    assert "No compression is shown to be within 2 points of the best." in text
    assert "this is a choice, since the runs do not decide" in text
    assert "3 folds are few: the effect of other recordings is estimated from only 3 values" in text
    (one,) = found.parts[0].answers
    assert one.reason == "open" and one.more is not None
    # Whoever is recommended is not far behind in what was found.
    accuracy = {of.compression: of.accuracy for of in one.standings}
    assert accuracy[one.recommended] >= max(accuracy.values()) - 0.02


def test_a_simple_one_that_is_far_behind_is_not_recommended_for_its_simplicity():
    means = {"logeps": 0.4, "loglearn": 0.5}
    one = only(simulated_rows(means, folds=(1, 2), run_std=0.02, fold_std=0.03, seed=3))
    assert set(one.can_be_best) == set(means) and one.recommended == "loglearn" and one.reason == "highest"


def test_intervals_are_those_of_t_over_folds_corrected_for_the_others():
    rows = simulated_rows({"logeps": 0.5, "loglearn": 0.52, "log": 0.51}, folds=(1, 2, 3, 4), seed=5)
    one = only(rows)
    means = {
        name: [
            np.mean(
                [
                    np.mean(
                        [r["accuracy"] for r in rows if (r["compression"], r["fold"], r["n_shot"]) == (name, fold, n)]
                    )
                    for n in (2, 5)
                ]
            )
            for fold in (1, 2, 3, 4)
        ]
        for name in ("logeps", "loglearn", "log")
    }
    first, *others = one.standings
    for of in others:
        rivals = [name for name in one.can_be_best if name != of.compression]
        expected = min(
            scipy.stats.ttest_rel(means[of.compression], means[name]).confidence_interval(1 - 0.05 / 2)[0]
            for name in rivals
        )
        assert of.low == pytest.approx(min(expected, 0))
        assert of.behind == pytest.approx(np.mean(means[of.compression]) - np.mean(means[first.compression]))


def test_networks_are_answered_one_by_one_and_together():
    apart = [
        *simulated_rows({"logeps": 0.5, "loglearn": 0.6}, models=("timbre",), folds=(1, 2, 3, 4, 5)),
        *simulated_rows({"logeps": 0.6, "loglearn": 0.5}, models=("vgg",), folds=(1, 2, 3, 4, 5), seed=1),
    ]
    found = of_rows(apart)
    assert [(one.model, one.recommended) for one in found.parts[0].answers] == [
        ("vgg", "logeps"),
        ("timbre", "loglearn"),
    ]
    assert found.parts[0].overall.recommended is None
    assert "No single compression is recommended for all 2 networks" in said(found)
    # Corrected for both networks.
    assert {one.ordered.n_comparisons for one in found.parts[0].answers} == {2}
    same = simulated_rows({"logeps": 0.5, "loglearn": 0.6}, models=("timbre", "vgg"), folds=(1, 2, 3, 4, 5))
    found = of_rows(same)
    assert found.parts[0].overall.agree and "Recommended for both networks: loglearn." in said(found)


@pytest.mark.parametrize("n", [2, 10])
def test_two_to_ten_compressions(n):
    names = (
        "logeps",
        "loglearn",
        "log",
        "log1p_learn",
        "power",
        "pcen",
        "pcen_learn",
        "relative_knee",
        "none",
        "mine:Log",
    )
    means = {name: 0.5 + 0.03 * (name == names[n - 1]) for name in names[:n]}
    found = of_rows(simulated_rows(means, folds=(1, 2, 3, 4, 5), runs=4))
    (one,) = found.parts[0].answers
    assert len(one.standings) == n and names[n - 1] in one.can_be_best
    assert one.ordered.n_comparisons == n - 1


def test_any_baseline_or_none():
    found = of_rows(simulated_rows({"log": 0.5, "pcen": 0.6}, folds=(1, 2, 3, 4, 5)))
    assert "Recommended: PCEN" in said(found)
    assert "These runs do not show what learning adds." in said(found)
    # Nothing of it learns: PCEN has a partner that begins where it stays.
    assert (
        found.parts[0].to_add == ("compressions: [log, pcen, pcen_learn]",) or "variants:" in found.parts[0].to_add[0]
    )


def test_one_compression_alone():
    found = of_rows(simulated_rows({"loglearn": 0.5}))
    assert "Only loglearn has finished runs, so there is nothing to compare." in said(found)
    assert "What it takes" not in said(found)


# ---- One fold -------------------------------------------------------------------------------------------------------


def test_one_fold_is_judged_by_its_runs_and_says_so():
    rows = simulated_rows({"logeps": 0.5, "loglearn": 0.6}, folds=(1,), runs=6, n_shot=(2,))
    found = of_rows(rows)
    (one,) = found.parts[0].answers
    assert one.rests_on == "runs" and one.recommended == "loglearn"
    assert "There is only one fold, so this is estimated from its runs alone" in said(found)
    assert "other recordings may give another answer. Nothing is known about other folds." in said(found)


def test_one_fold_with_one_run_can_tell_nothing():
    rows = simulated_rows({"logeps": 0.2, "loglearn": 0.9}, folds=(1,), runs=1, n_shot=(2,))
    found = of_rows(rows)
    (one,) = found.parts[0].answers
    assert set(one.can_be_best) == {"logeps", "loglearn"} and one.reason == "highest"
    assert "its mean is highest by more than 2 points, but the runs do not decide whether it is the best" in said(found)
    assert "The precision of the differences is unknown" in said(found)


ONE_FOLD = """
name: one_fold
data: {name: us8k, root: sounds}
models: [timbre]
compressions: [logeps, loglearn, log]
n_shot: [1, 5]
folds: [1]
runs: 4
"""


def test_one_fold_with_predictions_is_judged_by_recordings_and_runs(tmp_path):
    study = study_in_parts(tmp_path / "study.yaml", ONE_FOLD)
    found = recommend(study)
    (one,) = found.parts[0].answers
    assert one.rests_on == "recordings and runs"
    assert "this is estimated from its recordings and runs. Nothing is known about other folds." in said(found)
    by_runs = of_parts("x", [Part("", None, found_rows(study))]).parts[0].answers[0]
    means = {of.compression: of.accuracy for of in one.standings}
    assert {of.compression: of.accuracy for of in by_runs.standings} == pytest.approx(means)
    # Recordings vary, too.
    assert one.ordered.half_width > by_runs.ordered.half_width


def found_rows(study):
    from loglearn_tf.study.run_folder import read_runs

    return read_runs(study)


# ---- Learning -------------------------------------------------------------------------------------------------------


def test_what_learns_is_paired_with_what_is_fixed_where_it_begins():
    variants = {
        "fixed": FIXED,
        "same": CompressionVariant(layer="loglearn", args={"alpha_pre_gate": 7.0, "trainable": False}),
        "faster": CompressionVariant(layer="loglearn", args={"learning_rate_factor": 100.0}),
        "not": CompressionVariant(layer="loglearn", args={"learning_rate_factor": 0.0}),
        "low": CompressionVariant(layer="loglearn", args={"alpha_pre_gate": 16.0}),
        "low_fixed": CompressionVariant(layer="loglearn", args={"alpha_pre_gate": 16.0, "trainable": False}),
        "adapted": CompressionVariant(layer="loglearn_adapted", args={"trainable": False}),
        "bands": CompressionVariant(layer="loglearn_per_band", args={"trainable": False}),
    }
    found = learning_pairs(["loglearn", "pcen", "pcen_learn", "loglearn_adapted", "log", *variants], variants)
    by_learned: dict[str, set[str]] = {}
    for learned, fixed, same_start in found:
        assert same_start
        by_learned.setdefault(learned, set()).add(fixed)
    assert by_learned == {
        "loglearn": {"fixed", "same", "not"},
        "faster": {"fixed", "same", "not"},
        "low": {"low_fixed"},
        "pcen_learn": {"pcen"},
        "loglearn_adapted": {"adapted"},
    }


def test_without_such_a_pair_loglearn_is_held_against_log_and_it_says_what_that_is():
    assert learning_pairs(["logeps", "log", "loglearn"], {}) == [("loglearn", "log", False)]
    assert learning_pairs(["logeps", "loglearn", "power"], {}) == []
    text = said(of_rows(simulated_rows({"log": 0.5, "loglearn": 0.6}, folds=(1, 2, 3, 4, 5))))
    assert "loglearn minus log(10000 X + 1): +" in text and ": loglearn helps." in text
    assert "These two also differ in their formula, not only in learning." in text
    assert "learning helps" not in text


def test_learned_as_good_as_fixed():
    means = {"logeps": 0.4, "loglearn": 0.5, "loglearn_fixed": 0.5}
    rows = simulated_rows(means, folds=(1, 2, 3, 4, 5), runs=5, run_std=0.005, fold_std=0.001)
    for row in rows:
        if row["compression"] == "loglearn_fixed":
            row["identity"] = {**row["identity"], "variants": {"loglearn_fixed": FIXED.model_dump()}}
    found = of_rows(rows)
    (one,) = found.parts[0].answers
    (learning,) = one.learning
    assert (learning.learned, learning.fixed, learning.same_start) == ("loglearn", "loglearn_fixed", True)
    assert learning.verdict == "equivalent" and found.parts[0].to_add == ()
    assert ": learning makes no difference of 2 points or more." in said(found)
    # The fixed one is the simpler of two that are as good.
    assert one.recommended == "loglearn_fixed"
    expected = compared(pairs_of(Runs(rows), "loglearn", "loglearn_fixed")["folder", "timbre"]).estimate
    assert (learning.mean, learning.p_equivalence) == pytest.approx((expected.mean, expected.p_within(0.02)))


def test_what_to_add_is_yaml_that_settings_take(tmp_path):
    for names in (
        ("logeps", "loglearn"),
        ("logeps", "log"),
        ("logeps", "pcen_learn"),
        ("power", "logeps"),
        ("log", "pcen"),
    ):
        (part,) = of_rows(simulated_rows(dict.fromkeys(names, 0.5))).parts
        added = yaml.safe_load("\n".join(part.to_add))
        text = {"name": "x", "data": {"name": "folder", "root": "r"}, "models": ["timbre"], "n_shot": [1], "folds": [1]}
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({**text, "runs": 1, **added}))
        (settings,) = load_studies(path)
        pairs = learning_pairs(settings.compressions, settings.variants)
        assert pairs and all(same for _, _, same in pairs) and set(names) < set(settings.compressions)


def test_the_order_of_simplicity():
    variants = {"fixed": FIXED}
    names = ["my:Layer", "loglearn", "none", "fixed", "power", "log", "logeps", "pcen"]
    assert by_simplicity(names, variants) == [
        *("logeps", "fixed", "log", "pcen", "none", "loglearn", "power", "my:Layer"),
    ]
    assert not learns("fixed", variants) and learns("my:Layer", variants)


# ---- What is missing ------------------------------------------------------------------------------------------------

TEXT = """
name: study
data: {name: folder, root: sounds}
models: [timbre]
compressions: [logeps, loglearn, log]
n_shot: [1, 5]
folds: [1, 2, 3]
runs: 3
"""


def test_one_fold_in_common_decides_nothing_about_five():
    """`log` was added later and has run in the first fold only, which happens to be an easy one for it."""
    rows = simulated_rows({"logeps": 0.5}, folds=(1, 2, 3, 4, 5), runs=20, run_std=0.001)
    rows += simulated_rows({"log": 0.56}, folds=(1,), runs=20, run_std=0.001)
    one = only(rows)
    assert set(one.can_be_best) == {"logeps", "log"} and one.ordered.half_width is None
    assert "two compressions have only a single fold in common" in said(of_rows(rows))


def test_only_what_all_have_done_is_compared():
    """`pcen` has run at n = 10 alone, where all are better, and `log` at n = 1 in one fold only, where it shines."""
    means, folds = {"logeps": 0.5, "log": 0.51}, (1, 2, 3)
    rows = simulated_rows({**means, "pcen": 0.48}, folds=folds, n_shot=[10], run_std=0.002, fold_std=0.001)
    rows += simulated_rows({"logeps": 0.2, "log": 0.9}, folds=(1,), n_shot=[1])
    one = only(rows)
    assert one.n_shot == one.n_of_all == (10,)
    assert [of.compression for of in one.standings] == ["log", "logeps", "pcen"]
    assert max(of.accuracy for of in one.standings) < 0.6
    # With a second fold, log-EPS and `log` are compared at n = 1, too; mean accuracies stay those of n = 10.
    rows += simulated_rows({"logeps": 0.2, "log": 0.9}, folds=(2,), n_shot=[1], seed=1)
    found = of_rows(rows)
    (one,) = found.parts[0].answers
    assert (one.n_shot, one.n_of_all) == ((1, 10), (10,)) and max(of.accuracy for of in one.standings) < 0.6
    assert "Mean accuracies are over n = 10, which was run with all compressions." in said(found)


def test_the_choice_follows_paired_differences():
    """Nothing was run with all three: `pcen` has its mean from n = 10, where all are better, and is behind there."""
    few = {"folds": (1, 2), "runs": 2, "run_std": 0.03}
    rows = simulated_rows({"logeps": 0.30, "log": 0.33}, n_shot=[1], **few)
    rows += simulated_rows({"pcen": 0.70, "log": 0.78}, n_shot=[10], **few)
    found = of_rows(rows)
    (one,) = found.parts[0].answers
    assert len(one.can_be_best) == 3, "two folds exclude nothing"
    assert max(one.standings, key=lambda of: of.accuracy).compression == "pcen"
    assert one.standings[0].compression == "log" and one.recommended == "log"
    assert "No n and fold were run with all compressions" in said(found)


def test_runs_in_one_common_fold_are_not_said_not_to_vary():
    """To know more takes the second fold of `log`, not other folds: its runs differ by 3 points."""
    rows = simulated_rows({"logeps": 0.5}, folds=(1, 2), runs=3, run_std=0.03)
    rows += simulated_rows({"log": 0.5}, folds=(1,), runs=3, run_std=0.03, seed=1)
    found = of_rows(rows)
    assert "did not vary" not in said(found)
    assert "takes more of the study's runs: no n has runs of both in two folds." in said(found)
    assert found.parts[0].answers[0].more.unfinished


def test_compressions_without_a_common_run_are_not_compared():
    """No number of points is between them, and none is the highest: `log` has run at n = 10, where all are better."""
    rows = simulated_rows({"logeps": 0.5}, folds=(1, 2), n_shot=[1])
    rows += simulated_rows({"log": 0.9}, folds=(1, 2), n_shot=[10])
    found = of_rows(rows)
    assert "nan" not in said(found) and "is highest by" not in said(found)
    assert "log-EPS has the highest mean accuracy" not in said(found)
    assert "not known to be more than 2 points below the highest mean, it is the simplest" in said(found)
    assert "takes more of the study's runs: the two have no runs of the same n and fold." in said(found)
    assert "The precision of the differences is unknown: two compressions have no runs of the same n" in said(found)
    assert found.parts[0].answers[0].reason == "open"


def test_the_one_that_is_ahead_in_shared_runs_is_not_said_to_have_the_highest_mean():
    """Means are over fold 1, which alone has all three; in it loglearn is ahead of log-EPS, in 2 and 3 behind."""
    rows = simulated_rows({"logeps": 0.40, "loglearn": 0.45, "log": 0.30}, folds=(1,), n_shot=[1], run_std=0.001)
    rows += simulated_rows({"logeps": 0.60, "loglearn": 0.40}, folds=(2, 3), n_shot=[1], run_std=0.001, seed=1)
    found = of_rows(rows)
    first, *others = found.parts[0].answers[0].standings
    assert first.compression == "logeps" and first.accuracy < max(one.accuracy for one in others)
    assert "log-EPS has the highest mean accuracy" not in said(found)
    assert "log-EPS is ahead in the runs that two compressions share" in said(found)


def test_equal_runs_are_not_called_a_single_fold():
    found = of_rows(simulated_rows(dict.fromkeys(("logeps", "log"), 0.1), folds=(1, 2, 3), run_std=0, fold_std=0))
    assert "in common" not in said(found)
    assert "The precision of the differences is unknown: the runs did not vary." in said(found)


def test_failed_runs_and_a_study_that_is_not_finished(tmp_path):
    study = study_in_parts(tmp_path / "study.yaml", TEXT)
    whole = recommend(study)
    assert "not finished" not in said(whole) and "failed" not in said(whole)
    gone = sorted(study.glob("folder/timbre/*/n005/fold03/run02"))
    for folder in gone:
        for path in folder.iterdir():
            path.unlink()
    failed = study / "folder/timbre/log/n001/fold01/run00/result.json"
    failed.write_text(
        json.dumps({**json.loads(failed.read_text()), "status": "failed", "error": "no", "accuracy": None})
    )
    found = recommend(study)
    assert "1 of 51 runs failed and are not included" in said(found)
    assert "The study is not finished: 50 of 54 runs are done." in said(found)
    assert {one.compression for one in found.parts[0].answers[0].standings} == {"logeps", "loglearn", "log"}


def test_a_compression_without_a_finished_run_is_named(tmp_path):
    study = study_in_parts(tmp_path / "study.yaml", TEXT)
    for path in study.glob("folder/timbre/log/**/result.json"):
        path.unlink()
    assert "Not compared, since they have no finished run: log." in said(recommend(study))


def test_nothing_to_answer_from(tmp_path):
    with pytest.raises(ConfigError, match="is not a study folder"):
        recommend(tmp_path)
    path = tmp_path / "study.yaml"
    path.write_text(f"{TEXT}\nruns_dir: {tmp_path / 'runs'}\n")
    with pytest.raises(
        DataError, match="No run of study has finished in .*runs/study. Start them with `loglearn run`."
    ):
        recommend(path)
    with pytest.raises(ConfigError, match="`score` must be"):
        recommend(path, score="best")
    with pytest.raises(ConfigError, match="`margin` must be between 0 and 1"):
        recommend(path, margin=2)
    with pytest.raises(DataError, match="No finished run has a settled score. Received: 2 finished runs."):
        of_rows(pair(0.5, 0.4, dataset="folder"), score="settled")


def test_runs_without_settings_are_answered_from(tmp_path):
    """As those of several machines, put together in a folder."""
    for row in simulated_rows({"logeps": 0.5, "loglearn": 0.6}, folds=(1, 2, 3, 4, 5)):
        write(tmp_path / "mine", row)
    found = recommend(tmp_path / "mine")
    assert (found.study, found.parts[0].answers[0].recommended) == ("mine", "loglearn")


# ---- The scores -----------------------------------------------------------------------------------------------------


def test_it_rests_on_the_settled_score_and_warns_where_the_other_says_another_thing():
    rows = simulated_rows({"logeps": 0.5, "loglearn": 0.6}, folds=(1, 2, 3, 4, 5))
    assert "The published score gives the same answer." in said(of_rows(rows))
    turned = [{**row, "accuracy": 1 - row["accuracy"]} for row in rows]
    found = of_rows(turned)
    assert found.parts[0].score == "settled" and found.parts[0].answers[0].recommended == "loglearn"
    assert "WARNING, the published score gives another answer: it recommends log-EPS" in said(found)
    assert of_rows(turned, score="published").parts[0].answers[0].recommended == "logeps"


def test_runs_of_earlier_versions():
    rows = simulated_rows({"logeps": 0.5, "loglearn": 0.6}, folds=(1, 2, 3, 4, 5), accuracy_settled=None)
    found = of_rows(rows)
    assert found.parts[0].score == "published" and not found.parts[0].other_score_known
    assert "the published score is used" in said(found)
    some = [{**row, "accuracy_settled": row["accuracy"] if row["fold"] < 5 else None} for row in rows]
    assert "12 of 60 finished runs have no settled score and are not included." in said(of_rows(some))


# ---- The recordings -------------------------------------------------------------------------------------------------


def test_how_loud_the_recordings_are(tmp_path):
    for row in simulated_rows({"logeps": 0.5, "loglearn": 0.6}):
        write(tmp_path / "mine", row)
    text = said(recommend(tmp_path / "mine"))
    assert "Unknown: the study's folder has no histogram of mel power." in text
    counts = np.zeros((2, len(EDGES) - 1), np.int64)
    knee = int(np.searchsorted(EDGES, START_BETA / START_ALPHA))
    counts[0, 0], counts[0, knee - 20], counts[1, knee + 20] = 10, 50, 40
    levels = tuple(np.linspace(-60, -20, 41).tolist())
    write_mel_histogram(tmp_path / "mine", MelHistogram("folder", ("a", "b"), counts, levels))
    found = recommend(tmp_path / "mine")
    (level,) = found.parts[0].levels
    assert (level.below_knee, level.silent) == pytest.approx((0.6, 0.1))
    assert level.clip_dbfs == pytest.approx((-58, -40, -22))
    assert ("60 % of all mel bins are below loglearn's initial knee of 0.0012") in said(
        found
    ) and "10.0 % have zero power" in said(found)
    assert "The median clip level is −40 dBFS, and 90 % of clips are between −58 and −22" in said(found)


def test_accuracies_at_other_levels():
    rows = simulated_rows({"logeps": 0.5, "loglearn": 0.6}, folds=(1, 2, 3, 4))
    for row in rows:
        lost = 0.1 if row["compression"] == "loglearn" else 0.01 * (row["fold"] - 2.5)
        at = {"gain_db": -40.0, "accuracy": 0.0, "accuracy_settled": row["accuracy_settled"] - lost}
        row["levels"] = [at]
    found = of_rows(rows)
    logeps, loglearn = found.parts[0].levels[0].at_other_levels
    assert (logeps.compression, logeps.change) == ("logeps", pytest.approx(0, abs=1e-12))
    assert loglearn.change == pytest.approx(-0.1)
    changes = [0.015, 0.005, -0.005, -0.015]
    assert (logeps.low, logeps.high) == pytest.approx(tuple(scipy.stats.ttest_1samp(changes, 0).confidence_interval()))
    assert "TIMBRE, scored 40 dB quieter than trained: accuracy changes by log-EPS 0.0 points" in said(found)


def test_at_another_level_one_fold_of_several_has_no_interval():
    """`loglearn` has run in the first of three folds: its runs do not show how folds differ, as in comparisons."""
    rows = simulated_rows({"logeps": 0.5}, folds=(1, 2, 3)) + simulated_rows({"loglearn": 0.5}, folds=(1,), seed=1)
    for row in rows:
        accuracy = row["accuracy_settled"] - 0.1 - 0.01 * (row["fold"] + row["run"])
        row["levels"] = [{"gain_db": -20.0, "accuracy": accuracy, "accuracy_settled": accuracy}]
    logeps, loglearn = of_rows(rows).parts[0].levels[0].at_other_levels
    assert logeps.low is not None and loglearn.change == pytest.approx(-0.12)
    assert (loglearn.low, loglearn.high) == (None, None)
    # In a study of one fold, runs are all there is.
    (_, alone) = of_rows([row for row in rows if row["fold"] == 1]).parts[0].levels[0].at_other_levels
    assert alone.low is not None


# ---- What it takes ---------------------------------------------------------------------------------------------


def test_what_it_would_take_is_what_power_says():
    from loglearn_tf.analysis.power import needed, spread_of

    rows = simulated_rows(dict.fromkeys(("logeps", "loglearn"), 0.5), run_std=0.06, fold_std=0.0, seed=1)
    one = only(rows)
    cells = pairs_of(Runs(rows), one.more.compression, one.more.other)["folder", "timbre"]
    # Two one-sided tests of two compressions, each at the level of one end of the 95 % interval.
    goal = {"effect": abs(one.more.mean)} if one.more.as_found else {"equivalent": 0.02, "level": 0.025}
    expected = needed(spread_of(*cells.values()), folds=3, runs=3, n_values=2, **goal)
    assert (one.more.runs, one.more.folds) == (expected.more_runs, expected.more_folds)
    assert one.more.runs > 0 and f"{one.more.runs} more run" in said(of_rows(rows))
    single = only(simulated_rows(dict.fromkeys(("logeps", "loglearn"), 0.5), run_std=0.04, runs=1, seed=2))
    assert single.more.runs is None and "how much runs differ" in single.more.unknown


# ---- Forms ----------------------------------------------------------------------------------------------------------


def test_parts_are_answered_one_by_one_and_together(tmp_path):
    parts = "parts: {a: {}, b: {features: {gain_db: -20.0}}, never: {features: {gain_db: -40.0}}}"
    study = study_in_parts(tmp_path / "study.yaml", f"{TEXT}\n{parts}", only=["a", "b"])
    found = recommend(tmp_path / "study.yaml")
    assert [part.part for part in found.parts] == ["a", "b"] and found.waiting == ("never",)
    assert found.overall.n_answers == 2
    assert "Not included, since they have no finished run: never." in said(found)
    assert "a: Compression for Own recordings and TIMBRE" in said(found)
    # A folder alone knows the parts that were begun; a part can be asked by itself.
    assert recommend(study).parts == found.parts
    (alone,) = recommend(study / "b").parts
    assert alone.answers == found.parts[1].answers
    (chosen,) = recommend(tmp_path / "study.yaml", ["part=b"]).parts
    assert chosen.answers == alone.answers


def test_synthetic_data_is_said_first():
    found = of_rows(simulated_rows({"logeps": 0.5, "loglearn": 0.6}, synthetic=True))
    assert found.passages[0].sentences[0].startswith("SYNTHETIC DATA")


def numbers(value):
    """All numbers in plain data."""
    if isinstance(value, dict):
        return [number for one in value.values() for number in numbers(one)]
    if isinstance(value, list):
        return [number for one in value for number in numbers(one)]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def test_json_holds_the_numbers_of_the_text(tmp_path, capsys):
    for row in simulated_rows({"logeps": 0.5, "loglearn": 0.52, "log": 0.45}, models=("timbre", "vgg"), run_std=0.03):
        write(tmp_path / "mine", row)
    assert main(["recommend", str(tmp_path / "mine"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert main(["recommend", str(tmp_path / "mine")]) == 0
    text = capsys.readouterr().out
    known = {f"{abs(100 * number):.1f}".removesuffix(".0") for number in numbers({**data, "passages": []})}
    known |= {f"{abs(number):g}" for number in numbers({**data, "passages": []})}
    of_points = re.findall(r"([\d.]+) points?\b|[+−]([\d.]+)", text)
    assert len(of_points) > 20
    for number in map("".join, of_points):
        assert number.rstrip(".").removesuffix(".0") in known, number
    assert [one["heading"] for one in data["passages"]] == [
        passage.heading for passage in recommend(tmp_path / "mine").passages
    ]
    for passage in data["passages"]:
        for sentence in passage["sentences"]:
            assert sentence in " ".join(text.split()).replace("- ", "").replace("\n", " ") or "- " in sentence


def test_the_command(tmp_path, capsys):
    for row in simulated_rows({"logeps": 0.5, "loglearn": 0.52}, folds=(1, 2, 3, 4, 5)):
        write(tmp_path / "mine", row)
    assert main(["recommend", str(tmp_path / "mine"), "--margin", "5", "--score", "published"]) == 0
    out = capsys.readouterr().out
    assert "no more than 5 points behind the best" in " ".join(out.split()) and "the published score" in out
    assert max(map(len, out.splitlines())) <= 100
    assert main(["recommend", str(tmp_path / "mine"), "--margin", "0"]) == 2
    assert "`--margin` must be greater than 0 and less than 100 points. Received: 0." in capsys.readouterr().err
    assert main(["recommend", str(tmp_path / "mine"), "n_shot=[1]"]) == 2
    assert main(["recommend", str(tmp_path / "none.yaml")]) == 2


def test_it_is_public():
    assert loglearn_tf.recommend is recommend


def test_the_same_runs_give_the_same_words():
    rows = simulated_rows({"logeps": 0.5, "loglearn": 0.52, "log": 0.51})
    assert str(of_rows(rows)) == str(of_rows(rows[::-1]))


def test_a_result_that_is_no_number_counts_for_nothing():
    rows = simulated_rows({"logeps": 0.5, "loglearn": 0.6}, folds=(1, 2, 3, 4, 5))
    rows[0] = run_row(float("nan"), **{key: rows[0][key] for key in ("dataset", "model", "compression", "n_shot")})
    rows[0]["accuracy_settled"] = float("nan")
    assert only(rows).recommended == "loglearn"
