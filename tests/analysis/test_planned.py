"""Contrasts against scipy and arithmetic on the same runs; what is said while runs are missing, and of old settings."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from fake_study import run_of_parts, study_in_parts
from scipy import stats

from loglearn_tf.analysis import planned
from loglearn_tf.analysis.answers import StudyAnswers, by_recordings
from loglearn_tf.analysis.planned import evaluate, part_of, read_parts
from loglearn_tf.analysis.power import Spread
from loglearn_tf.analysis.recordings import clip_differences, two_way
from loglearn_tf.analysis.report import contrasts as words
from loglearn_tf.analysis.results import read_results
from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.study.archive import archive, restore
from loglearn_tf.study.grid import plan_runs
from loglearn_tf.study.settings import load_studies

GRID = """
name: study
data: {name: us8k, root: sounds}
models: [timbre, vgg]
compressions: [logeps, loglearn]
n_shot: [1, 5]
folds: [1, 2, 3]
runs: {1: 4, 5: 2}
"""
CONTRASTS = """
contrasts:
  one_cell: {title: One, compression: loglearn, models: timbre, n_shot: 1, parts: a, score: published, expect: More}
  all: {title: All cells, compression: loglearn, parts: [a, b], expect: More}
  scores: {title: Scores, compression: loglearn, models: timbre, score: published, minus_score: settled, expect: More}
  levels: {title: Levels, compression: loglearn, baseline: loglearn, parts: [b], baseline_parts: [a], expect: Less}
"""
PARTS = GRID + "parts: {a: {}, b: {features: {gain_db: -20.0}}}" + CONTRASTS


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return study_in_parts(tmp_path_factory.mktemp("study") / "study.yaml", PARTS)


@pytest.fixture(scope="module")
def found(study):
    return {one.name: one for one in evaluate(read_parts(study))}


def accuracies(study, part, column="accuracy"):
    return {
        (row["model"], row["compression"], row["n_shot"], row["fold"], row["run"]): row[column]
        for row in read_results(study / part)
    }


def by_fold(study, part, model, n, runs, ours="loglearn", theirs="logeps", other=None, column="accuracy_settled"):
    """Mean difference of each fold."""
    left, right = accuracies(study, part, column), accuracies(study, other or part, column)
    return np.array(
        [
            np.mean([left[model, ours, n, fold, run] - right[model, theirs, n, fold, run] for run in range(runs)])
            for fold in (1, 2, 3)
        ]
    )


def agrees_with_t(outcome, folds):
    """Student's t over fold averages, by scipy."""
    test = stats.ttest_1samp(folds, 0)
    interval = test.confidence_interval(0.95)
    assert outcome.mean == pytest.approx(folds.mean())
    assert (outcome.low, outcome.high) == pytest.approx((interval.low, interval.high))
    assert outcome.p_value == pytest.approx(test.pvalue)


def test_one_cell(study, found):
    outcome = found["one_cell"]
    agrees_with_t(outcome, by_fold(study, "a", "timbre", 1, 4, column="accuracy"))
    assert (outcome.n_runs, outcome.n_done, outcome.n_failed, outcome.n_pairs, outcome.n_folds) == (24, 24, 0, 12, 3)
    assert not outcome.over_runs
    assert outcome.waiting == ""


def test_cells_have_the_same_weight_whatever_their_runs(study, found):
    cells = [
        by_fold(study, part, model, n, runs)
        for part in ("a", "b")
        for model in ("timbre", "vgg")
        for n, runs in ((1, 4), (5, 2))
    ]
    agrees_with_t(found["all"], np.mean(cells, axis=0))
    assert found["all"].n_runs == 2 * 2 * (4 + 2) * 3 * 2


def test_one_score_minus_the_other(study, found):
    cells = [
        by_fold(study, part, "timbre", n, runs, column="accuracy") - by_fold(study, part, "timbre", n, runs)
        for part in ("a", "b")
        for n, runs in ((1, 4), (5, 2))
    ]
    agrees_with_t(found["scores"], np.mean(cells, axis=0))


def test_the_baseline_of_another_part(study, found):
    cells = [
        by_fold(study, "b", model, n, runs, "loglearn", "loglearn", other="a")
        for model in ("timbre", "vgg")
        for n, runs in ((1, 4), (5, 2))
    ]
    agrees_with_t(found["levels"], np.mean(cells, axis=0))


def test_folds_of_other_data_sets_are_other_folds(tmp_path):
    """Two data sets of three folds are six clusters, of which each mean has three."""
    text = PARTS.replace("b: {features: {gain_db: -20.0}}", "b: {data: {root: other}}")
    text = text[: text.index("  levels:")]
    study = study_in_parts(tmp_path / "study.yaml", text)
    outcome = {one.name: one for one in evaluate(read_parts(study))}["all"]
    assert outcome.n_folds == 6
    means = {
        part: np.mean([by_fold(study, part, m, n, r) for m in ("timbre", "vgg") for n, r in ((1, 4), (5, 2))], axis=0)
        for part in ("a", "b")
    }
    assert outcome.mean == pytest.approx(np.mean([one.mean() for one in means.values()]))
    # Welch's mean of two independent means; its degrees of freedom with equal sizes and known weights: 4.
    error = np.sqrt(sum(one.var(ddof=1) / 3 for one in means.values())) / 2
    assert outcome.high - outcome.low == pytest.approx(2 * stats.t.ppf(0.975, 4) * error)


def test_by_recordings_and_runs(study, found):
    """One cell, by what the statistics do with the same files."""
    (part, *_) = read_parts(study)
    answers = StudyAnswers(part.folder, part.rows)
    pairs = answers.pairs("us8k", "timbre", 1, "loglearn", "logeps")
    clips = by_recordings(pairs, answers.recordings("us8k"))
    ours, theirs = (
        {
            (row["fold"], row["run"]): dict(zip(read.clips, read.right.tolist(), strict=True))
            for row in part.rows
            if (row["model"], row["compression"], row["n_shot"]) == ("timbre", name, 1)
            for read in [answers._read(row, "published")]
        }
        for name in ("loglearn", "logeps")
    )
    expected = two_way(clip_differences(ours, theirs, answers.recordings("us8k")))
    assert two_way(clips).interval() == pytest.approx(expected.interval())
    outcome = found["one_cell"]
    assert (outcome.low_recordings, outcome.high_recordings) == pytest.approx(expected.interval())
    assert outcome.no_recordings == ""
    middles = [(one.low_recordings + one.high_recordings) / 2 for one in found.values()]
    assert middles == pytest.approx([one.mean for one in found.values()])


def test_where_recordings_are_not_known(tmp_path):
    study = study_in_parts(tmp_path / "study.yaml", PARTS)
    for path in study.rglob("predictions_settled.csv"):
        path.unlink()
    outcome = evaluate(read_parts(study))[0]
    assert outcome.low is not None and outcome.low_recordings is None
    assert "unknown, since its runs are of an earlier version" in outcome.no_recordings


def test_holms_correction_is_over_the_whole_file(study, found, tmp_path):
    p = np.array([one.p_value for one in found.values()])
    order = np.argsort(p)
    corrected = np.minimum(np.maximum.accumulate(p[order] * (4 - np.arange(4))), 1)
    assert [one.p_holm for one in np.array(list(found.values()))[order]] == pytest.approx(corrected.tolist())
    # Of part a alone, one contrast can be judged; the others count nevertheless.
    partly = study_in_parts(tmp_path / "study.yaml", PARTS, only=["a"])
    alone = {one.name: one for one in evaluate(read_parts(partly))}
    assert alone["one_cell"].p_holm == pytest.approx(min(1, 4 * alone["one_cell"].p_value))
    assert {one.n_corrected for one in alone.values()} == {4}
    waiting = [one.waiting for name, one in alone.items() if name != "one_cell"]
    assert waiting == ["not run yet: part b has no runs"] * 3
    assert all(one.p_holm is None and one.verdict == "undecided" for one in alone.values() if one.waiting)


def test_nothing_is_judged_before_its_last_run(tmp_path):
    study = study_in_parts(tmp_path / "study.yaml", PARTS, only=["a"])
    settings = [one for one in load_studies(tmp_path / "study.yaml")]
    outcomes = evaluate([part_of(one, one.study_dir) for one in settings])
    assert [one.waiting for one in outcomes] == [
        "",
        "not run yet: 72 of 144 runs",
        "not run yet: 36 of 72 runs",
        "not run yet: 36 of 72 runs",
    ]
    last = study / "a" / "us8k" / "timbre" / "loglearn" / "n001" / "fold02" / "run03"
    for path in last.iterdir():
        path.unlink()
    outcome = evaluate(read_parts(study))[0]
    assert outcome.waiting == "not run yet: 23 of 24 runs"
    assert (outcome.p_value, outcome.low, outcome.low_recordings) == (None, None, None)


def test_failed_runs_are_in_no_pair_and_counted(tmp_path):
    study = study_in_parts(tmp_path / "study.yaml", PARTS)
    (settings, _) = load_studies(tmp_path / "study.yaml")
    spec = next(one for one in plan_runs(settings) if (one.model, one.n_shot, one.run) == ("timbre", 1, 0))
    for path in (study / "a" / spec.folder).iterdir():
        path.unlink()
    run_of_parts(settings, spec, status="failed", accuracy=None)
    outcome = evaluate(read_parts(study))[0]
    assert (outcome.waiting, outcome.n_done, outcome.n_failed, outcome.n_pairs) == ("", 23, 1, 11)


def test_runs_of_an_earlier_version_have_no_settled_score(tmp_path):
    study_in_parts(tmp_path / "study.yaml", PARTS)
    parts = [
        replace(part, rows=[{**row, "accuracy_settled": None} for row in part.rows])
        for part in read_parts(tmp_path / "runs" / "study")
    ]
    outcomes = {one.name: one for one in evaluate(parts)}
    assert outcomes["one_cell"].waiting == ""
    assert outcomes["all"].waiting == (
        "not run yet: 0 of 144 runs, and 144 of an earlier version without a settled score"
    )


def test_runs_done_before_a_contrast_was_written_are_counted(tmp_path):
    study = study_in_parts(tmp_path / "study.yaml", PARTS)
    assert {one.n_before for one in evaluate(read_parts(study))} == {0}
    configs = sorted((study / "a" / "us8k" / "timbre" / "loglearn").rglob("config.yaml"))
    for path, change in zip(configs[:3], ("gone", "margin", "title"), strict=True):
        config = yaml.safe_load(path.read_text())
        if change == "gone":
            del config["contrasts"]["one_cell"]
        else:
            config["contrasts"]["one_cell"][change] = 0.05 if change == "margin" else "Better words"
        path.write_text(yaml.safe_dump(config))
    outcomes = {one.name: one for one in evaluate(read_parts(study))}
    assert outcomes["one_cell"].n_before == 2
    assert outcomes["all"].n_before == 0


def test_of_runs_from_an_archive_it_is_not_known_whether_they_were_done_before(tmp_path):
    """An archive has no `config.yaml`: without a word, each contrast would seem written down before these runs."""
    study = study_in_parts(tmp_path / "study.yaml", PARTS)
    archive(study, tmp_path / "kept")
    restore(tmp_path / "kept", tmp_path / "again")
    for folder, n_archived in ((study, 0), (tmp_path / "again", 24)):
        parts = read_parts(folder)
        outcomes = {one.name: one for one in evaluate(parts)}
        assert (outcomes["one_cell"].n_before, outcomes["one_cell"].n_archived) == (0, n_archived)
        said = words.text(parts, [outcomes["one_cell"]], Spread(run=0.05, fold=0.02))
        known = "24 of its 24 finished runs come from an archive, which does not tell whether they were started before"
        assert (known in said) == bool(n_archived)


def test_parts_that_hold_different_contrasts(tmp_path):
    study = study_in_parts(tmp_path / "study.yaml", PARTS)
    path = study / "b" / "study.yaml"
    path.write_text(path.read_text().replace("margin: 0.02", "margin: 0.03"))
    with pytest.raises(ConfigError, match=r"`contrasts.one_cell` must be the same in all parts .*/a, another in .*/b"):
        evaluate(read_parts(study))


def test_less_of_the_grid_than_a_contrast_takes(tmp_path):
    study_in_parts(tmp_path / "study.yaml", PARTS)
    studies = load_studies(tmp_path / "study.yaml", ["n_shot=[5]"])
    outcomes = evaluate([part_of(one, one.study_dir) for one in studies])
    assert outcomes[0].waiting == ("not run yet: timbre, n = 1 with loglearn is not in the last grid of part a")
    assert outcomes[1].waiting == ""


def test_one_fold_is_judged_by_its_runs(tmp_path):
    text = (
        GRID.replace("[1, 2, 3]", "[2]") + "contrasts: {c: {title: T, compression: loglearn, expect: E, models: vgg}}"
    )
    study = study_in_parts(tmp_path / "study.yaml", text)
    (outcome,) = evaluate(read_parts(study))
    found = {}
    for row in read_results(study):
        if row["model"] == "vgg":
            found.setdefault((row["n_shot"], row["run"]), {})[row["compression"]] = row["accuracy_settled"]
    cells = [
        np.array([one["loglearn"] - one["logeps"] for (of, _), one in sorted(found.items()) if of == n]) for n in (1, 5)
    ]
    assert outcome.mean == pytest.approx(np.mean([cell.mean() for cell in cells]))
    error = np.sqrt(sum(cell.var(ddof=1) / len(cell) for cell in cells)) / 2
    of_runs = sum(cell.var(ddof=1) / len(cell) for cell in cells)  # of the two runs at n = 5, and the four at n = 1
    assert error == pytest.approx(np.sqrt(of_runs) / 2)
    assert (outcome.low + outcome.high) / 2 == pytest.approx(outcome.mean)
    assert outcome.high - outcome.low > 2 * 1.96 * error
    assert (outcome.n_folds, outcome.n_pairs, outcome.over_runs) == (1, 6, True)
    said = words.text(read_parts(study), [outcome], Spread(run=0.05, fold=0.02))
    assert "95 % interval over the runs of the single fold " in said
    assert "Based on 6 pairs of runs in 1 fold; nothing is known about other folds." in said


SINGLE = (
    GRID.replace("folds: [1, 2, 3]\n", "").replace("5: 2", "5: 4")
    + "parts: {a: {folds: [1]}, b: {folds: [2], data: {root: other}}}\n"
    + "contrasts: {c: {title: T, compression: loglearn, expect: E, models: vgg, n_shot: 1}}"
)


def test_single_folds_of_two_data_sets_are_judged_by_their_runs_and_say_so(tmp_path):
    study = study_in_parts(tmp_path / "study.yaml", SINGLE)
    (outcome,) = evaluate(read_parts(study))
    assert (outcome.n_folds, outcome.n_pairs, outcome.over_runs) == (2, 8, True)
    found = []
    for part, fold in (("a", 1), ("b", 2)):
        of = accuracies(study, part, "accuracy_settled")
        found.append([of["vgg", "loglearn", 1, fold, run] - of["vgg", "logeps", 1, fold, run] for run in range(4)])
    # Eight independent pairs in two cells.
    error = np.sqrt(sum(np.var(cell, ddof=1) / 4 for cell in found)) / 2
    assert outcome.mean == pytest.approx(np.mean(found))
    assert outcome.high - outcome.low == pytest.approx(2 * stats.t.ppf(0.975, 6) * error)
    said = words.text(read_parts(study), [outcome], Spread(run=0.05, fold=0.02))
    assert "95 % interval over the runs of single folds " in said and "over folds" not in said
    assert "Based on 8 pairs of runs in 2 folds; nothing is known about other folds." in said


@pytest.mark.parametrize(("folds", "varied"), [("[1]", "runs"), ("[1, 2]", "folds")])
def test_a_cell_of_which_a_failed_run_leaves_one_pair_is_named(tmp_path, folds, varied):
    """Of a single fold, folds are not what is missing; in either case `loglearn run` makes it."""
    text = SINGLE.replace(SINGLE[SINGLE.index("parts:") : SINGLE.index("contrasts:")], "")
    text = text.replace("models: vgg, n_shot: 1", "models: vgg, n_shot: 5").replace("5: 4", "5: 2")
    study = study_in_parts(tmp_path / "study.yaml", f"folds: {folds}\n{text}")
    gone = "run01" if varied == "runs" else "run0*"
    for path in study.glob(f"us8k/vgg/logeps/n005/fold0{1 if varied == 'runs' else 2}/{gone}/result.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "status": "failed", "accuracy": None}))
    (outcome,) = evaluate(read_parts(study))
    assert outcome.waiting == (
        f"cannot be evaluated: since runs failed, vgg, n = 5 has pairs in fewer than two {varied}. `loglearn run` "
        "retries them"
    )


@pytest.mark.parametrize(
    ("more", "baseline", "n_clusters"),
    [("", "", 4), ("seed: 1", "", 8), ("seed: 1", "baseline_parts: [b, a]", 4)],
    ids=["same draws", "other draws", "draws of both sides shared across parts"],
)
def test_runs_with_another_seed_are_other_runs(tmp_path, more, baseline, n_clusters):
    parts = f"parts: {{a: {{folds: [1]}}, b: {{folds: [1], {more}}}}}\n"
    text = SINGLE.replace(SINGLE[SINGLE.index("parts:") : SINGLE.index("contrasts:")], parts)
    text = text.replace("n_shot: 1}", f"n_shot: 1, parts: [a, b], {baseline}}}")
    study = study_in_parts(tmp_path / "study.yaml", text)
    (outcome,) = evaluate(read_parts(study))
    assert outcome.waiting == ""
    assert len({number for cell in outcome.differences for number in cell}) == n_clusters


def test_before_its_runs_a_contrast_of_single_folds_says_what_its_interval_will_be_over(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(f"{SINGLE}\nruns_dir: {tmp_path}\n", encoding="utf-8")
    parts = [part_of(one, one.study_dir) for one in load_studies(path)]
    (outcome,) = evaluate(parts)
    assert outcome.waiting == "not run yet: 0 of 16 runs"
    assert "Its interval over the runs of single folds will be about ±" in words.text(parts, [outcome], Spread(0.05, 0))


def test_pairs_that_have_not_the_same_clips(study, tmp_path):
    copy = study_in_parts(tmp_path / "study.yaml", PARTS, only=["a"])
    (part,) = read_parts(copy)
    path = copy / "a" / "us8k" / "timbre" / "loglearn" / "n001" / "fold01" / "run00" / "predictions.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    asked = ("us8k", "timbre", 1, "loglearn", "logeps")
    with pytest.raises(DataError, match=r"must list the same test clips in the same order. Received: 19 and 20 clips"):
        StudyAnswers(part.folder, part.rows).pairs(*asked)
    assert "must list the same test clips" in evaluate([part])[0].no_recordings
    path.write_text("clip_id\n")
    with pytest.raises(
        DataError,
        match=r"Cannot read the predictions .*run00/predictions.csv: .* the run "
        r"is then repeated",
    ):
        StudyAnswers(part.folder, part.rows).pairs(*asked)


def test_a_study_without_contrasts_has_no_outcome(tmp_path):
    assert planned.evaluate(read_parts(study_in_parts(tmp_path / "study.yaml", GRID))) == []
