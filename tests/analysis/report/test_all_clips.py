"""Studies whose n is a number in some runs, and `all` in others: from run folders to tables and figures."""

import csv

import numpy as np
import pytest
from fake_study import accuracy, realistic_study

from loglearn_tf.analysis.bayes import probabilities
from loglearn_tf.analysis.contrasts import contrasts, differences
from loglearn_tf.analysis.report import write_report
from loglearn_tf.analysis.report.figures import draw_accuracy
from loglearn_tf.analysis.results import read_results
from loglearn_tf.analysis.statistics import accuracies, compare, rank
from loglearn_tf.analysis.summary import format_tables
from loglearn_tf.study.run_folder import read_runs, write_results
from loglearn_tf.study.settings import load_settings
from loglearn_tf.study.status import format_grid, remembered_settings, survey

SHOTS = [5, 20, "all"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    grid = ["models=[vgg]", "n_shot=[all,20,5]", "runs={5: 4, 20: 4, all: 2}"]
    return realistic_study(tmp_path_factory.mktemp("runs") / "mixed", *grid, "compressions=[loglearn,logeps]")


def test_rows_are_sorted_and_read_back(study):
    rows = read_runs(study)
    assert [row["n_shot"] for row in rows[:30]] == [5] * 12 + [20] * 12 + ["all"] * 6
    assert (study / "us8k/vgg/loglearn/nall/fold01/run01/result.json").is_file()
    write_results(study)
    again = read_results(study / "results.csv")
    assert [row["n_shot"] for row in again] == [row["n_shot"] for row in rows]
    assert [type(row["n_shot"]) for row in again[:30]] == [int] * 24 + [str] * 6
    shuffled = [again[at] for at in np.random.default_rng(0).permutation(len(again))]
    assert compare(shuffled) == compare(again)
    assert compare([{**row, "n_shot": str(row["n_shot"])} for row in again]) == compare(again)


def test_statistics_treat_it_as_one_more_cell(study):
    rows = read_runs(study)
    assert [one.n_shot for one in compare(rows)] == SHOTS
    assert [one.n_shot for one in accuracies(rows)] == [n for n in SHOTS for _ in range(2)]
    assert [one.n_shot for one in contrasts(rows)] == [tuple(SHOTS)]
    cells = {(model, n): found for (_, model), by_n in differences(rows).items() for n, found in by_n.items()}
    assert [one.n_shot for one in probabilities(cells).cells] == SHOTS
    others = [{**row, "compression": "power"} for row in rows if row["compression"] == "logeps"]
    assert rank([*rows, *others])[0].n_blocks == 3 * 3


def test_tables_and_status(study):
    table = format_tables(read_runs(study))
    assert table.splitlines()[1].split() == ["model", "compression", "n=5", "n=20", "n=all"]
    state = format_grid(survey(remembered_settings(study), study, workers=1)).splitlines()
    at = state.index(next(line for line in state if line.startswith("n_shot")))
    assert [line.split()[:2] for line in state[at + 1 : at + 4]] == [["5", "24"], ["20", "24"], ["all", "12"]]


@pytest.mark.usefixtures("undrawn")
def test_the_report(study):
    write_report(study)
    page = (study / "report.html").read_text(encoding="utf-8")
    assert "n = all" in page
    with next((study / "tables").glob("table1.csv")).open(encoding="utf-8") as file:
        assert [row["n_shot"] for row in csv.DictReader(file)] == 2 * ["5", "20", "all"]


def test_the_axis_of_n_has_a_last_category():
    shown = [accuracy(0.1 * at, n_shot=n) for at, n in enumerate(["all", 100, 1], start=1)]
    (panel,) = draw_accuracy("us8k", shown).axes
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1", "100", "all"]
    (line,) = panel.lines
    assert line.get_ydata().tolist() == pytest.approx([30.0, 20.0, 10.0])
    x = line.get_xdata()
    assert x[0] < x[1] < x[2] < panel.get_xlim()[1] and panel.get_xscale() == "log"
    (alone,) = draw_accuracy("us8k", shown[:1]).axes
    assert [label.get_text() for label in alone.get_xticklabels()] == ["all"]


def test_settings_of_both_kinds():
    settings = load_settings("us8k", ["n_shot=[5,all]", "runs={5: 4, all: 2}"])
    assert settings.n_shot == (5, "all") and [settings.runs_for(n) for n in settings.n_shot] == [4, 2]
