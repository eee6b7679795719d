"""The whole report of a study: right where all is there, and right where much is missing."""

import csv
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from fake_study import history, pair, predictions, realistic_study, run_row, simulated_rows, write

from loglearn_tf.analysis.recommend import recommend
from loglearn_tf.analysis.report import write_report
from loglearn_tf.analysis.report.document import Paragraph, Section
from loglearn_tf.analysis.report.table import Cell, ReportTable, Table
from loglearn_tf.analysis.results import read_results
from loglearn_tf.analysis.statistics import compare, compare_all
from loglearn_tf.errors import ConfigError, DataError


class Page(HTMLParser):
    """The words of a page, its tags, and where it points to; fails on tags that do not match."""

    _VOID = {"meta", "br", "use"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [value for name, value in attributes if name in ("href", "src", "xlink:href")]
        assert not [name for name in values if name.startswith("on")]
        if tag not in self._VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self._VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if data.strip() and self._open and self._open[-1] != "style":
            self.words += f" {' '.join(data.split())}"


def report_of(study_dir, rows, **more) -> Page:
    for row in rows:
        write(study_dir, row)
    return Page(write_report(study_dir, **more).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    study_dir = realistic_study(tmp_path_factory.mktemp("runs") / "us8k", "models=[vgg,prototypical]")
    path = write_report(study_dir)
    assert path == study_dir / "report.html"
    return study_dir


@pytest.fixture(scope="module")
def whole(study):
    return Page((study / "report.html").read_text(encoding="utf-8"))


def test_the_page_holds_everything_and_needs_nothing(whole):
    assert not whole.tags & {"script", "link", "iframe", "img", "object"}
    outside = [link for link in whole.links if not link.startswith(("#", "data:"))]
    assert outside == ["https://www.jordipons.me/learning-the-logarithmic-compression-of-the-mel-spectrogram/"]
    assert {"svg", "table", "details", "nav"} <= whole.tags
    assert len(set(whole.ids)) == len(whole.ids)
    assert {link[1:] for link in whole.links if link.startswith("#")} <= set(whole.ids)


def test_it_says_what_was_run(whole):
    for words in (
        "UrbanSound8K: means over runs, then over 3 of 10 folds (1, 2, 10)",
        "Networks VGG, Prototypical",
        "n, clips per class 1, 5, 20",
        "Runs 117 done, 3 failed",
        "Protocol pons2018",
        "Epochs 199",
        "Work 3 h 15 min of training, 39 min 0 s of evaluation",  # 117 x 100 s and 117 x 20 s
        "Machine node1",
        "python 3.11.7",
        "Commit 1bd366c",
        "validation_fold: next",  # all settings, from a run's config.yaml
    ):
        assert words in whole.words, words


def test_it_says_what_is_missing_and_why(whole):
    assert "VGG loglearn 20 9 3 0" in whole.words  # done, failed, not run
    assert "Prototypical log-EPS 20 0 0 12" in whole.words
    assert "Not in any difference, since they have no finished partner: 3 finished runs." in whole.words
    assert "NonFiniteError: loss is nan us8k/vgg/loglearn/n020/fold01/run03 3" in whole.words


def test_every_finding_has_its_verdict(whole):
    assert "Of 28 cells, 5 were run" in whole.words
    assert whole.words.count("None of its cells was run.") == 3  # SB-CNN and TIMBRE; ASC-TUT twice
    assert "this study tests 2" in whole.words


def test_files_lie_beside_the_page(study):
    tables = ("table1", "table2", "us8k-table-probabilities", "us8k-table-calibration")
    assert {path.name for path in (study / "tables").iterdir()} == {
        "study-table-findings.csv",
        *(f"{table}.{ending}" for table in tables for ending in ("md", "csv", "tex")),
    }
    networks = ("vgg", "prototypical")
    stems = {"us8k-accuracy", "us8k-classes"}
    stems |= {f"us8k-{network}-{kind}" for network in networks for kind in ("trajectories", "confusion", "reliability")}
    assert {path.name for path in (study / "figures").iterdir()} == {
        *(f"{stem}.{ending}" for stem in stems for ending in ("svg", "pdf")),
        *(f"us8k-{network}-reliability.csv" for network in networks),
    }
    text = (study / "report.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\((figures/[^)]*)\)", text):
        assert (study / link).is_file()
    assert "## The published findings" in text and "| VGG | loglearn |" in text


def test_the_same_study_gives_the_same_report(study):
    files = [path for path in study.rglob("*") if path.parent.name in ("tables", "figures") or path.stem == "report"]
    before = {path: path.read_bytes() for path in files}
    write_report(study)
    assert {path: path.read_bytes() for path in files} == before


def test_what_an_earlier_report_showed_and_this_one_does_not_is_removed(tmp_path):
    for row in pair(0.5, 0.4):
        write(tmp_path, row)
    for name in ("tables/table3.csv", "figures/tut-accuracy.svg", "figures/mine.svg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old")
    write_report(tmp_path)
    assert not (tmp_path / "tables/table3.csv").exists() and not (tmp_path / "figures/tut-accuracy.svg").exists()
    assert (tmp_path / "figures/mine.svg").read_text() == "old"


def test_one_run_alone(tmp_path):
    page = report_of(tmp_path, [run_row(0.5)])
    assert "1 of 10 folds (1)" in page.words and "VGG loglearn 50.0" in page.words
    assert "no finished partner: 1 finished run." in page.words
    assert "It tests none of the 5 published findings." in page.words
    assert "No interval where there are too few data for one." in page.words
    assert "study.yaml, in which `loglearn run` saves its grid, is missing" in page.words
    assert "Missing, and so not in the figures: 2 files of finished runs" in page.words


def test_one_pair_has_a_difference_and_no_verdict_on_it(tmp_path):
    page = report_of(tmp_path, pair(0.5, 0.4))
    assert "VGG +10.0 ?" in page.words
    assert "Without an interval, because of too few pairs or folds: 1 difference." in page.words


def test_all_equal_is_not_called_better_or_worse(tmp_path):
    rows = [row for fold in (1, 2, 3) for run in (0, 1) for row in pair(0.5, 0.5, fold=fold, run=run)]
    page = report_of(tmp_path, rows)
    assert re.search(r"VGG 0\.0 [≈?]", page.words)


def test_all_failed(tmp_path):
    page = report_of(tmp_path, [run_row(None, run=run) for run in range(3)])
    assert "3 of 3 runs failed and are in no mean" in page.words
    assert "MemoryError: no more" in page.words and "Runs 0 done, 3 failed" in page.words
    assert "so alpha, beta and knee are not drawn" in page.words


def test_a_result_that_is_no_number_is_in_no_mean(tmp_path):
    rows = [*pair(0.5, 0.4), *pair(0.6, 0.4, run=1)]
    for row in rows:
        folder = write(tmp_path, row)
    path = folder.parents[2] / ".." / "loglearn" / "n001" / "fold01" / "run01" / "result.json"
    path.write_text(path.read_text().replace("0.6", "NaN"))  # as no run writes it, and Python reads it
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "VGG +10.0 ?" in page.words  # the other pair
    assert "its accuracy is nan, not a finite number" in page.words


def test_both_data_sets_have_their_tables(tmp_path):
    page = report_of(tmp_path, [*pair(0.5, 0.4), *pair(0.3, 0.4, dataset="tut")])
    for number in (1, 2, 3, 4):
        assert f"Table {number}. " in page.words and (tmp_path / "tables" / f"table{number}.tex").is_file()


def test_synthetic_data_is_said_first_and_judges_nothing(tmp_path):
    page = report_of(tmp_path, [row for fold in (1, 2, 3) for row in pair(0.5, 0.4, fold=fold, synthetic=True)])
    assert page.words.index("SYNTHETIC DATA, not US8K") < page.words.index("Contents")
    assert "Table 1. SYNTHETIC DATA, not UrbanSound8K" in page.words
    assert page.words.count("Synthetic sounds say nothing about it.") == 2  # those that speak of VGG


def test_names_do_nothing(tmp_path):
    """A class called `<script>`, and an error that looks like a page."""
    classes = ("<script>alert(1)</script>", "b")
    answers = [(classes[0], classes[0]), ("b", "b")]
    for row in pair(0.5, 0.4, host="<img src=x onerror=alert(1)>"):
        files = {"predictions.csv": predictions(answers, classes), "config.yaml": b"protocol: </pre><script>\n"}
        write(tmp_path, row, files)
    page = report_of(tmp_path, [run_row(None, run=1, error="<b onclick=x>")])
    assert not page.tags & {"script", "img", "b"}
    assert "<script>alert(1)</script>" in page.words and "<img src=x onerror=alert(1)>" in page.words


def test_unusable_files_are_named(tmp_path):
    learned = history({"alpha": [1.0, 2.0], "beta": [1.0, 2.0], "knee": [1.0, 1.0]})
    write(tmp_path, run_row(0.5), {"history.csv": learned, "predictions.csv": b"nonsense"})
    page = report_of(tmp_path, [])
    assert "us8k/vgg/loglearn/n001/fold01/run00/predictions.csv (it is empty)" in page.words
    assert (tmp_path / "figures" / "us8k-vgg-trajectories.svg").is_file()


def test_margin_confidence_and_more_sections(tmp_path):
    why = Section("why", "Why", [Paragraph("Since only the knee matters.")])
    page = report_of(tmp_path, pair(0.5, 0.4), margin=0.03, confidence=0.9, extra=[why])
    assert "smaller than 3 points" in page.words and "Intervals are 90 % intervals" in page.words
    assert "Since only the knee matters." in page.words and "#why" in page.links


def test_published_numbers_stand_beside_ours(tmp_path):
    from loglearn_tf.analysis.report.verdicts import PUBLISHED_FINDINGS

    numbers = "published_accuracy: {us8k: {vgg: {loglearn: {1: 51.0}}}}"
    path = tmp_path / "findings.yaml"
    path.write_text(PUBLISHED_FINDINGS.read_text().replace("published_accuracy: {}", numbers))
    page = report_of(tmp_path / "study", pair(0.5, 0.4), findings=path)
    assert "VGG log-EPS 40.0 / – loglearn 50.0 / 51.0" in page.words
    assert (tmp_path / "study" / "tables" / "table1-published.csv").is_file()


def test_nothing_to_report(tmp_path):
    with pytest.raises(DataError, match="No finished run in"):
        write_report(tmp_path)
    write(tmp_path, run_row(0.5))
    with pytest.raises(ConfigError, match="Cannot read published findings"):
        write_report(tmp_path, findings=tmp_path / "nowhere.yaml")


# ---- More than two compressions ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def menu(tmp_path_factory):
    """Four compressions, three folds, four runs; `low` learns, `fixed` does not."""
    study_dir = tmp_path_factory.mktemp("runs") / "menu"
    rows = []
    # Centred, so that means are what they seem.
    spread = {0: 0.03, 1: -0.03, 2: 0.01, 3: -0.01}
    for fold in (1, 2, 10):
        for run in range(4):
            level = 0.5 + 0.01 * fold + spread[run]
            for name, gain in (("logeps", 0), ("loglearn", -0.02), ("low", 0.10), ("fixed", 0.08)):
                row = run_row(level + gain + 0.001 * run * (name == "low"), compression=name, fold=fold, run=run)
                knee = {"loglearn": [0.001, 0.002], "low": [1e-8, 2e-8], "fixed": [1e-8, 1e-8]}.get(name)
                if knee:
                    row |= {"alpha": 1.3 / knee[1], "beta": 1.3, "knee": knee[1]}
                values = knee or [None, None]
                rows.append((row, {"history.csv": history({"knee": values, "alpha": values, "beta": values})}))
    for row, files in rows:
        write(study_dir, row, files)
    return study_dir, Page(write_report(study_dir).read_text(encoding="utf-8"))


def test_all_compressions_have_a_table_with_holms_correction_over_all(menu):
    study_dir, page = menu
    assert "Table 2, all compressions. UrbanSound8K" in page.words
    assert page.words.count("Holm's correction is over all 3 comparisons of this data set in the report.") == 2
    text = (study_dir / "tables" / "table2-all.md").read_text(encoding="utf-8")
    assert "| VGG | loglearn | −2.0 " in text and "| VGG | low | +10.1 " in text
    assert (study_dir / "tables" / "table2-all.csv").is_file() and (study_dir / "tables" / "table2-all.tex").is_file()


@pytest.mark.usefixtures("undrawn")
def test_a_cell_has_the_same_p_and_verdict_in_every_table(tmp_path):
    """Corrected alone, Table 2 would find more than the table of all compressions does in the same cells."""
    random = np.random.default_rng(0)
    for fold in range(1, 11):
        for run in range(3):
            level = 0.5 + random.normal(0, 0.03)
            for at, name in enumerate(("logeps", "loglearn", "log", "power", "pcen", "none")):
                gain = 0.012 * (at == 1) + random.normal(0, 0.03)
                write(tmp_path, run_row(level + gain, compression=name, fold=fold, run=run))
    rows = read_results(tmp_path)
    (alone,) = compare(rows)
    (cell,) = (one for one in compare_all(rows) if one.compression == "loglearn")
    assert (alone.verdict, cell.verdict) == ("better", "undecided")  # what the report could say of it twice
    page = report_of(tmp_path, [])
    tables = [
        list(csv.DictReader((tmp_path / "tables" / f"{stem}.csv").open(encoding="utf-8")))
        for stem in ("table2", "table2-all")
    ]
    (two,), (of_all,) = ([row for row in table if row.get("compression", "loglearn") == "loglearn"] for table in tables)
    shared = two.keys() & of_all.keys()
    assert {"p_holm", "verdict", "n_corrected", "low_points"} < shared
    assert {name: two[name] for name in shared} == {name: of_all[name] for name in shared}
    assert (float(two["p_holm"]), two["n_corrected"], two["verdict"]) == (cell.p_holm, "5", "undecided")
    assert page.words.count("Holm's correction is over all 5 comparisons of this data set in the report.") == 2


def test_where_only_the_two_published_compressions_were_run_all_is_as_compared_alone(study):
    rows = read_results(study)
    assert compare_all(rows) == compare(rows)
    with (study / "tables" / "table2.csv").open(encoding="utf-8") as file:
        written = {(row["model"], int(row["n_shot"])): row["p_holm"] for row in csv.DictReader(file) if row["n_pairs"]}
    assert written == {(one.model, one.n_shot): str(one.p_holm) for one in compare(rows)}


def test_all_compressions_are_ranked(menu):
    study_dir, page = menu
    assert "mean rank of each compression" in page.words
    assert (study_dir / "figures" / "us8k-ranks.svg").is_file()


def test_what_learns_is_drawn_over_its_epochs_and_what_does_not_is_not(menu):
    study_dir, _ = menu
    drawn = {path.name for path in (study_dir / "figures").glob("*trajectories.svg")}
    assert drawn == {"us8k-vgg-trajectories.svg", "us8k-vgg-low-trajectories.svg"}


def test_two_compressions_have_neither(whole, study):
    assert "all compressions" not in whole.words
    assert not (study / "tables" / "table2-all.md").exists() and not (study / "figures" / "us8k-ranks.svg").exists()


def test_own_recordings_have_tables_of_their_own(tmp_path):
    study_dir = tmp_path / "mine"
    page = report_of(study_dir, [row for fold in (1, 2) for row in pair(0.5, 0.4, fold=fold, dataset="folder")])
    assert "Table 1. mine, Own recordings: accuracy in %, mean over runs, then over folds 1, 2" in page.words
    assert "Table 2. mine, Own recordings: loglearn minus log-EPS" in page.words
    assert "Table 3" not in page.words and "published finding" not in page.words.lower()
    assert {path.stem for path in (study_dir / "tables").iterdir()} == {
        "mine-table-1-accuracy",
        "mine-table-2-differences",
        "folder-table-probabilities",
    }
    assert len(set(page.ids)) == len(page.ids)


# ---- Of a study of one's own --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """Three compressions on recordings of one's own, that are not of the published comparison alone."""
    study_dir = tmp_path_factory.mktemp("runs") / "mine"
    rows = simulated_rows({"logeps": 0.5, "loglearn": 0.6, "log": 0.55}, folds=(1, 2, 3, 4, 5))
    return study_dir, report_of(study_dir, rows)


def test_the_answer_comes_first_in_the_words_of_recommend(mine):
    study_dir, page = mine
    found = recommend(study_dir)
    assert found.parts[0].score == "settled"
    sentences = [sentence for passage in found.passages for sentence in passage.sentences]
    for words in (*sentences, *(line for passage in found.passages for line in passage.yaml)):
        assert " ".join(words.split()) in page.words, words
    order = [page.words.index(words) for words in ("Contents", sentences[1], "What was run Own", "Tables Table 1")]
    assert order == sorted(order)
    assert page.words.index(sentences[0]) < page.words.index("Contents")  # in the lead, too
    text = (study_dir / "report.md").read_text(encoding="utf-8")
    assert text.index("## The answer") < text.index("## What was run")


def test_nothing_is_said_of_published_findings(mine):
    _, page = mine
    words = page.words.lower()
    assert "published finding" not in words and "supported" not in words and "verdicts" not in page.ids
    assert page.links == [link for link in page.links if link.startswith("#")]


@pytest.mark.usefixtures("undrawn")
def test_the_heading_says_what_is_compared(mine, tmp_path):
    _, page = mine
    assert page.words.startswith(" 2 compressions against log-EPS: mine")
    rows = simulated_rows({"logeps": 0.5, "log": 0.6})
    assert " log(10000 X + 1) against log-EPS: two" in report_of(tmp_path / "two", rows).words
    assert " loglearn: one" in report_of(tmp_path / "one", simulated_rows({"loglearn": 0.5})).words


def test_tables_are_named_after_the_study_and_no_difference_is_shown_twice(mine):
    study_dir, page = mine
    assert "Table 1. mine, Own recordings: settled accuracy in %" in page.words
    assert "Table 2. mine, Own recordings: every compression minus log-EPS" in page.words
    assert "Table 3" not in page.words and page.words.count("All numbers of") == 1
    assert {path.name for path in (study_dir / "tables").glob("*.csv")} == {
        "mine-table-1-accuracy.csv",
        "mine-table-2-all-differences.csv",
        "folder-table-probabilities.csv",
    }


@pytest.mark.usefixtures("undrawn")
def test_a_study_without_log_eps_has_another_baseline(tmp_path):
    rows = simulated_rows({"loglearn": 0.5, "log": 0.6, "pcen": 0.4}, folds=(1, 2, 3, 4, 5))
    page = report_of(tmp_path / "mine", rows[:-1])
    assert page.words.startswith(" 2 compressions against log(10000 X + 1): mine")
    assert "every compression minus log(10000 X + 1)" in page.words and "TIMBRE loglearn −1" in page.words
    # What is lacking is the one partner of the run that is not there.
    assert "no history of a loglearn run" not in page.words and "have no finished partner" not in page.words
    page = report_of(tmp_path / "less", [row for row in rows if row["compression"] != "log" or row["fold"] < 5])
    assert "no finished partner: 12 finished runs." in page.words


@pytest.mark.usefixtures("undrawn")
def test_recordings_of_a_published_data_set_at_another_level_are_not_the_published_comparison(tmp_path):
    study = realistic_study(tmp_path / "quiet", "models=[vgg]", "n_shot=[1]", "features.gain_db=-20.0")
    page = Page(write_report(study).read_text(encoding="utf-8"))
    assert page.words.startswith(" loglearn against log-EPS: quiet") and "verdicts" not in page.ids
    assert page.ids[0] == "answer"


@pytest.mark.usefixtures("undrawn")
def test_other_compressions_on_a_published_data_set_are_a_study_of_ones_own(tmp_path):
    page = report_of(tmp_path / "mine", simulated_rows({"logeps": 0.5, "log": 0.5}, dataset="us8k"))
    assert "verdicts" not in page.ids and "Table 1. mine, UrbanSound8K" in page.words


def test_the_published_page_has_the_answer_where_there_is_more_to_choose_from(menu, whole):
    _, page = menu
    assert page.ids.index("verdicts") < page.ids.index("answer") < page.ids.index("tables")
    assert "answer" not in whole.ids


def test_no_finished_run_has_no_answer(tmp_path):
    page = report_of(tmp_path, [run_row(None, run=run, dataset="folder") for run in range(3)])
    assert "answer" not in page.ids and "3 of 3 runs failed" in page.words


def test_a_data_set_that_is_not_listed_appears_under_its_own_name(tmp_path):
    page = report_of(tmp_path, [*pair(0.5, 0.4, dataset="esc50", model="crnn"), run_row(0.3, compression="mine")])
    assert (
        "esc50: accuracy in %, mean over runs, fold 1" in page.words and "crnn log-EPS 40.0 loglearn 50.0" in page.words
    )
    assert page.words.index("Table 1. UrbanSound8K") < page.words.index("esc50: accuracy in %")
    assert "mine" in page.words and (tmp_path / "figures" / "esc50-accuracy.svg").is_file()


# ---- Tables from outside the package ------------------------------------------------------------------------------


def learned_knees(results, comparisons):
    """A table that the package does not have: the mean knee of every network, and its differences from PCEN."""
    models = sorted({row["model"] for row in results.rows})
    knees = {model: [row["knee"] for row in results.rows if row["knee"] and row["model"] == model] for model in models}
    return Table(
        caption=f"Knees learned on {results.dataset}",
        head=("Network", "Knee"),
        body=tuple(((model,), (Cell(f"{np.mean(knees[model]):.2g}"),)) for model in models),
        columns=("model", "knee"),
        records=tuple({"model": model, "knee": np.mean(knees[model])} for model in models),
        comparisons=tuple(comparisons),
    )


KNEES = ReportTable("knees", learned_knees, applies=lambda results: results.dataset == "us8k", baseline="pcen")


@pytest.mark.usefixtures("undrawn")
def test_a_table_from_outside_the_package_appears_in_the_report(tmp_path):
    for fold in (1, 2, 3):
        for row in (*pair(0.5, 0.4, fold=fold), run_row(0.3, compression="pcen", fold=fold)):
            write(tmp_path, row)
    write(tmp_path, run_row(0.5, dataset="tut"))
    page = report_of(tmp_path, [], tables=["accuracy", "all-differences", f"{__name__}:KNEES"])
    assert "Knees learned on us8k Network Knee vgg 0.0012" in page.words and "on tut" not in page.words
    assert (tmp_path / "tables" / "us8k-table-knees.csv").read_text() == f"model,knee\nvgg,{1.3 / 1100}\n"
    # Its comparisons are corrected with those of the other tables: loglearn and PCEN minus log-EPS, and the reverse.
    assert "over all 4 comparisons of this data set" in page.words
    assert "All numbers of Knees learned on us8k" in page.words
    assert not (tmp_path / "tables" / "table2.csv").exists()  # not asked for
    write_report(tmp_path)
    assert not list((tmp_path / "tables").glob("us8k-table-knees.*"))
    with pytest.raises(ConfigError, match="`report table` must name a report table from the list.*Received: 'knee'"):
        write_report(tmp_path, tables=["knee"])


def test_a_table_of_an_installed_package_is_in_every_report(tmp_path):
    """In a process of its own: installed packages are looked through once."""
    package = tmp_path / "site"
    (package / "lab-1.dist-info").mkdir(parents=True)
    (package / "lab-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1\n")
    (package / "lab-1.dist-info" / "entry_points.txt").write_text("[loglearn_tf.tables]\nruns = lab_tables:runs\n")
    (package / "lab_tables.py").write_text(
        "from loglearn_tf.analysis.report.table import Cell, Table\n"
        "def runs(results, comparisons):\n"
        "    return Table('Runs of the lab', ('', 'Runs'), ((('all',), (Cell(str(len(results.rows))),)),))\n"
    )
    for row in pair(0.5, 0.4):
        write(tmp_path / "study", row)
    program = (
        f"import sys; sys.path.insert(0, {str(package)!r})\nfrom pathlib import Path\n"
        f"from loglearn_tf.analysis.report import write_report\nwrite_report(Path({str(tmp_path / 'study')!r}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    page = Page((tmp_path / "study" / "report.html").read_text(encoding="utf-8"))
    assert "Runs of the lab Runs all 2" in page.words
    assert (tmp_path / "study" / "tables" / "us8k-table-runs.md").is_file()
