"""What reports say beside their tables: contrasts, regret across parts, recordings, what would decide, the score."""

import csv
import json

import pytest
from conftest import draw_nothing
from fake_study import study_in_parts
from test_writer import Page

from loglearn_tf.analysis.names import compression_name
from loglearn_tf.analysis.planned import evaluate, read_parts
from loglearn_tf.analysis.recommend import recommend
from loglearn_tf.analysis.regret import RegretCell, worst_regrets
from loglearn_tf.analysis.report import write_report
from loglearn_tf.analysis.report.evidence import Recordings, to_decide
from loglearn_tf.analysis.report.table import points, points_interval
from loglearn_tf.analysis.results import read_results
from loglearn_tf.analysis.statistics import compare
from loglearn_tf.errors import ConfigError, DataError

TEXT = """
name: study
data: {name: us8k, root: sounds}
models: [timbre]
compressions: [logeps, loglearn, log]
n_shot: [1, 5]
folds: [1, 2, 3]
runs: 3
parts: {a: {}, b: {features: {gain_db: -20.0}}, never: {features: {gain_db: -40.0}}}
contrasts:
  more: {title: Loglearn is better, compression: loglearn, parts: [a, b], expect: It knows more clips.}
  later: {title: At the lowest level, compression: loglearn, parts: [never], expect: "Less, by 3 points"}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    study = study_in_parts(tmp_path_factory.mktemp("study") / "study.yaml", TEXT, only=["a", "b"])
    with pytest.MonkeyPatch.context() as patched:
        draw_nothing(patched)
        for folder in (study / "a", study / "b"):
            assert write_report(folder) == folder / "report.html"
    assert write_report(study) == study / "report.html"
    return study


@pytest.fixture(scope="module")
def whole(study):
    return Page((study / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def part(study):
    return Page((study / "a" / "report.html").read_text(encoding="utf-8"))


def test_contrasts_say_what_was_expected_and_what_was_found(study, whole):
    found = evaluate(read_parts(study))[0]
    for words in (
        f"more: Loglearn is better ↑ better, {points(found.mean)} points",
        "Compares loglearn minus log-EPS (settled score), all networks, all n, parts a, b.",
        "Expected: It knows more clips.",
        f"95 % interval over folds {points_interval(found.low, found.high)}, 90 %",
        "corrected over 2 contrasts",
        f"By source recordings and runs, 95 %: {points_interval(found.low_recordings, found.high_recordings)}.",
        "Based on 36 pairs of runs in 3 folds.",
        "Holm's correction covers all 2 of them, run or not.",
    ):
        assert words in whole.words, words


def test_contrasts_that_are_not_run_say_how_exact_they_will_be(whole):
    # A folder alone does not know the grid of a part that never began.
    assert "later: At the lowest level not run yet: part never has no runs" in whole.words
    assert "Expected: Less, by 3 points" in whole.words


def test_markdown_says_the_same(study):
    text = (study / "report.md").read_text(encoding="utf-8")
    assert "## Planned contrasts" in text and "more: Loglearn is better **↑ better" in text
    assert "| Part | Data |" in text and "<a/report.html>" in text


def test_regret_across_parts(study, whole):
    with (study / "tables" / "study-table-regret.csv").open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    assert {path.suffix for path in (study / "tables").iterdir()} == {".md", ".csv", ".tex"}
    cells = []
    for part in ("a", "b"):
        of = {}
        for row in read_results(study / part):
            of.setdefault(row["n_shot"], {}).setdefault(row["compression"], {})[row["fold"], row["run"]] = row[
                "accuracy"
            ]
        cells += [RegretCell((part, str(n)), "us8k", n, accuracy) for n, accuracy in sorted(of.items())]
    expected = worst_regrets(cells)
    assert len(records) == 3 * 4
    for one in expected.of:
        ours = [record for record in records if record["compression"] == one.compression]
        assert [float(record["regret_points"]) for record in ours] == pytest.approx(
            [100 * regret for regret in one.by_cell], abs=1e-4
        )
        assert float(ours[0]["worst_points"]) == pytest.approx(100 * one.worst, abs=1e-4)
        assert float(ours[0]["high_points"]) == pytest.approx(100 * one.high, abs=1e-4)
    best = expected.of[0]
    assert f"{best.compression} has the smallest worst-case regret, also in {100 * best.smallest:.0f} %" in whole.words
    assert "4 cells of part, network and n" in whole.words


def test_where_the_parts_are(whole):
    assert "a us8k 0 all 54 0 54" in whole.words and "b us8k -20 all 54 0 54" in whole.words
    assert {"a/report.html", "b/report.html"} <= set(whole.links)


def test_the_answer_of_every_part_comes_first(study, whole):
    found = recommend(study)
    assert whole.ids[0] == "answer"
    assert " ".join(found.passages[0].sentences[0].split()) in whole.words
    for part in found.parts:
        (one,) = part.answers
        recommended, *can = map(compression_name, (one.recommended, *one.can_be_best))
        assert f"{part.part} TIMBRE settled {recommended} {', '.join(can)}" in whole.words


@pytest.mark.usefixtures("undrawn")
def test_contrasts_that_differ_between_parts_are_not_shown(study, tmp_path):
    copy = study_in_parts(tmp_path / "study.yaml", TEXT.replace("runs: 3", "runs: 2"), only=["a", "b"])
    path = copy / "a" / "study.yaml"
    path.write_text(path.read_text().replace("margin: 0.02", "margin: 0.03"))
    page = Page(write_report(copy).read_text(encoding="utf-8"))
    assert "The contrasts are not shown: `contrasts.more` must be the same in all parts" in page.words


def test_the_interval_by_recordings_and_runs(study, part):
    (of_a, _) = read_parts(study)
    for one in compare(of_a.rows):
        found = Recordings(study / "a", of_a.rows, [one], score="published")
        (interval,) = found.found.values()
        assert interval.estimate.mean == pytest.approx(one.mean)
        assert found.interval(one, 0.95) == points_interval(*interval.interval())
        assert found.interval(one, 0.95) in part.words
    assert "By recordings and runs" in part.words.replace("\u00a0", " ")
    # 30 recordings in all, 15 of each class: enough. Of 3 recordings a class, no class has.
    assert "these classes have fewer than 10 effective test recordings" not in part.words


@pytest.mark.usefixtures("undrawn")
def test_classes_of_too_few_recordings_are_named(study, tmp_path):
    copy = study_in_parts(tmp_path / "study.yaml", TEXT.replace("[1, 2, 3]", "[1, 2]"), only=["a"])
    for path in (copy / "a").rglob("predictions_settled.csv"):
        lines = path.read_text().splitlines()
        # Clips 0, 2, 4, ... are of the first class: of one recording in every fold.
        lines[1:] = [
            ",".join([line.split(",")[0], "same" if at % 2 == 0 else line.split(",")[1], *line.split(",")[2:]])
            for at, line in enumerate(lines[1:])
        ]
        path.write_text("\n".join(lines) + "\n")
    page = Page(write_report(copy / "a").read_text(encoding="utf-8"))
    assert "these classes have fewer than 10 effective test recordings" in page.words
    assert "air_conditioner (1 recording: an interval needs 10)" in page.words
    assert "car_horn (" not in page.words


def test_a_class_that_one_run_alone_tests_costs_no_other_interval(tmp_path):
    text = TEXT.replace("[1, 2, 3]", "[1, 2]").replace("runs: 3", "runs: 1")
    copy = study_in_parts(tmp_path / "study.yaml", text, only=["a"])
    for path in (copy / "a").rglob("fold02/*/predictions*.csv"):
        # Both classes of fold 1, one of them in fold 2.
        path.write_text(path.read_text().replace("car_horn", "air_conditioner"))
    (of_a,) = read_parts(copy)
    comparisons = compare(of_a.rows)
    found = Recordings(copy / "a", of_a.rows, comparisons, score="published")
    assert all(found.interval(one, 0.95) for one in comparisons)
    (remark,) = found.remarks("us8k")
    assert "fewer than 10 effective test recordings, or only one run" in remark
    assert "car_horn (Differences must come from at least two runs" in remark and "air_conditioner (" not in remark


def test_a_cell_with_one_run_says_nothing_about_the_classes_of_others(tmp_path):
    """The first cell has a single run of a single fold; the second has three."""
    text = TEXT.replace("[1, 2, 3]", "[1]").replace("runs: 3", "runs: {1: 1, 5: 3}")
    copy = study_in_parts(tmp_path / "study.yaml", text[: text.index("contrasts:")], only=["a"])
    (of_a,) = read_parts(copy)
    found = Recordings(copy / "a", of_a.rows, compare(of_a.rows), score="published")
    assert all(isinstance(of, str) == (key[2] == 1) for key, of in found.found.items())
    # In each of these three, classes have enough recordings.
    (reasons,) = found.remarks("us8k")
    assert "reason for missing intervals" in reasons and "these classes" not in reasons


@pytest.mark.usefixtures("undrawn")
def test_without_recordings_there_is_a_reason(study, tmp_path):
    copy = study_in_parts(tmp_path / "study.yaml", TEXT, only=["a"])
    for path in (copy / "a").rglob("predictions_settled.csv"):
        path.unlink()
    page = Page(write_report(copy / "a").read_text(encoding="utf-8"))
    assert "1 reason for missing intervals by recordings: the recordings of its clips are unknown" in page.words


def test_what_would_decide_the_undecided(study, part):
    (of_a, _) = read_parts(study)
    undecided = [one for one in compare(of_a.rows, compression="log") if one.verdict == "undecided"]
    assert undecided and "What would decide" in part.words
    assert "To decide with a power of 80 %" in part.words
    assert to_decide(undecided[0], {}) == ""


def test_what_the_network_sees_at_test(part):
    assert "What the network sees at test" in part.words
    # 0.99 ** 199
    assert (
        "US8K: the moving averages still contain more than 5 % of their initial values at test: TIMBRE at n "
        "= 1, 5." in part.words
    )
    assert "TIMBRE loglearn 5 9 13.5 % 0.60 -0.10" in part.words


@pytest.mark.usefixtures("undrawn")
def test_settled_networks_are_no_warning(tmp_path):
    copy = study_in_parts(tmp_path / "study.yaml", TEXT, only=["a"])
    for path in (copy / "a").rglob("result.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "norm_residue": 0.018}))
    page = Page(write_report(copy / "a").read_text(encoding="utf-8"))
    assert "initial values at test" not in page.words and "TIMBRE loglearn 5 9 1.8 %" in page.words


@pytest.mark.usefixtures("undrawn")
def test_the_settled_score(study, part):
    folder = study / "a"
    path = write_report(folder, score="settled")
    page = Page(path.read_text(encoding="utf-8"))
    assert "All accuracies are settled scores" in page.words and "All accuracies" not in part.words
    assert "settled accuracy in %, mean over runs" in page.words
    with (folder / "tables" / "table2.csv").open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    settled = compare(read_results(folder), score="settled")
    assert [float(one["difference_points"]) for one in records] == pytest.approx(
        [100 * one.mean for one in settled], abs=1e-4
    )
    published = compare(read_results(folder))
    assert [one.mean for one in published] != [one.mean for one in settled]
    write_report(folder)


def test_a_score_that_there_is_not(study, tmp_path):
    for folder in (study, study / "a"):
        with pytest.raises(ConfigError, match="`score` must be 'published' or 'settled'. Received: score='best'."):
            write_report(folder, score="best")
    copy = study_in_parts(tmp_path / "study.yaml", TEXT.replace("runs: 3", "runs: 1"), only=["a"])
    for path in (copy / "a").rglob("result.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "accuracy_settled": None}))
    with pytest.raises(DataError, match="No run in .*/a has a settled score, since all are of an earlier version"):
        write_report(copy / "a", score="settled")


@pytest.mark.usefixtures("undrawn")
def test_a_study_without_parts_has_its_contrasts_in_its_report(tmp_path):
    text = TEXT[: TEXT.index("parts:")] + "contrasts: {c: {title: Words, compression: log, expect: Nothing.}}"
    page = Page(write_report(study_in_parts(tmp_path / "study.yaml", text)).read_text(encoding="utf-8"))
    assert "Planned contrasts" in page.words and "c: Words" in page.words


def test_two_clips_of_one_recording_are_no_two(study):
    (of_a, _) = read_parts(study)
    (one, *_) = compare(of_a.rows)
    (found,) = Recordings(study / "a", of_a.rows, [one], score="published").found.values()
    assert (found.n_recordings, found.n_runs, one.n_pairs) == (30, 9, 9)


@pytest.mark.usefixtures("undrawn")
def test_where_nothing_varies_there_is_no_interval(tmp_path):
    """As of the two scores of networks that have nothing to settle."""
    words = 'title: "Two\\e[31m scores", expect: "No\\n\\nthing."'
    text = TEXT[: TEXT.index("parts:")] + f"contrasts: {{c: {{{words}, compression: log, minus_score: published}}}}"
    study = study_in_parts(tmp_path / "study.yaml", text)
    for path in study.rglob("result.json"):
        result = json.loads(path.read_text())
        path.write_text(json.dumps({**result, "accuracy_settled": result["accuracy"]}))
    (outcome,) = evaluate(read_parts(study))
    assert (outcome.waiting, outcome.mean, outcome.low, outcome.p_holm) == ("", 0, None, None)
    page = Page(write_report(study).read_text(encoding="utf-8"))
    assert "? undecided, 0.0 points (no interval: nothing varied)" in page.words
    assert "Expected: No thing." in page.words and "Two\\x1b[31m scores" in page.words
