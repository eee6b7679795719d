"""Results can be read back from where a study left them, and every statistic takes them in any common form."""

import csv
import io
import math
from pathlib import Path

import pytest
from conftest import ROOT
from fake_study import pair, run_row, write
from hypothesis import given, settings
from hypothesis import strategies as st

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf.analysis.report.table import MARKS, points, verdict_interval
from loglearn_tf.analysis.results import read_results
from loglearn_tf.analysis.statistics import accuracies, compare, compare_all, rank
from loglearn_tf.errors import DataError
from loglearn_tf.study.run_folder import COLUMNS, write_results

STATISTICS = (compare, compare_all, accuracies, rank)
# n of 2, 10 and 100: as text they would be sorted 10, 100, 2.
RUNS = [
    run_row(level + gain * n / 100, compression=name, n_shot=n, fold=fold, run=run, seed=7)
    for n in (2, 10, 100)
    for fold, level in ((1, 0.3), (2, 1 / 3))
    for run in (0, 1)
    for name, gain in (("logeps", 0.0), ("loglearn", 0.1), ("power", -0.2 + 0.01 * run))
] + [run_row(None, n_shot=2, fold=3)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    study_dir = tmp_path_factory.mktemp("runs") / "us8k"
    for row in RUNS:
        write(study_dir, row)
    write_results(study_dir)
    return study_dir


@pytest.fixture(scope="module")
def rows(study):
    return read_results(study)


def test_a_study_and_its_csv_file_are_the_same_rows(study, rows, tmp_path):
    assert rows == read_results(study / "results.csv") == read_results(str(study))
    assert len(rows) == len(RUNS) and all(tuple(row) == COLUMNS for row in rows)
    # Where only the table was kept.
    (tmp_path / "results.csv").write_bytes((study / "results.csv").read_bytes())
    assert read_results(tmp_path) == rows


def test_values_have_their_types(study):
    first = read_results(study / "results.csv")[0]
    assert first["compression"] == "logeps" and first["accuracy"] == 0.3 and first["alpha"] is None
    assert {name: type(value) for name, value in first.items() if value is not None} == {
        **dict.fromkeys(("dataset", "model", "compression", "status"), str),
        **dict.fromkeys(("n_shot", "fold", "run", "seed"), int),
        **dict.fromkeys(("accuracy", "train_seconds", "eval_seconds"), float),
    }


def test_further_columns_stay_text(study, tmp_path):
    path = tmp_path / "more.csv"
    lines = (study / "results.csv").read_text().splitlines()
    path.write_text("\n".join([f"{lines[0]},note", f"{lines[1]},007"]))
    assert [row["note"] for row in read_results(path)] == ["007"]


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.tuples(st.integers(1, 200), st.integers(1, 10), st.integers(0, 5)), st.floats(0, 1), min_size=1)
)
def test_what_is_written_is_read_back(tmp_path_factory, accuracy):
    folder = tmp_path_factory.mktemp("csv")
    made = [
        {name: row[name] for name in COLUMNS}
        for (n_shot, fold, run), value in accuracy.items()
        for row in pair(value, 1 - value, n_shot=n_shot, fold=fold, run=run)
    ]
    (folder / "results.csv").write_bytes(csv_bytes(COLUMNS, made))
    assert read_results(folder) == made
    assert [cell.n_shot for cell in compare(read_results(folder))] == sorted({n for n, _, _ in accuracy})


def test_the_results_that_come_with_the_package_still_say_what_their_tables_say():
    folder = ROOT / "experiments" / "results" / "us8k_subset"
    cells = {(one.model, one.n_shot): one for one in compare(read_results(folder))}
    lines = [line.split("|") for line in (folder / "table2.md").read_text(encoding="utf-8").splitlines()]
    table = [[text.strip() for text in line[1:-1]] for line in lines if len(line) > 2]
    assert [row[0] for row in table] == ["Network", "---", "SB-CNN", "TIMBRE"]
    for model, row in (("sb_cnn", table[2]), ("timbre", table[3])):
        for n_shot, text in ((1, row[1]), (5, row[2])):
            one = cells[model, n_shot]
            assert text == f"{points(one.mean)} {MARKS[one.verdict]} ({verdict_interval(one)})"


class TestForms:
    @pytest.mark.parametrize("statistic", STATISTICS)
    def test_rows_of_text(self, study, rows, statistic):
        with (study / "results.csv").open(newline="") as file:
            text = list(csv.DictReader(file))
        assert text[0]["n_shot"] == "2"
        assert statistic(text) == statistic(rows) == statistic(RUNS) != []

    @pytest.mark.parametrize("statistic", STATISTICS)
    def test_a_data_frame(self, study, rows, statistic):
        pandas = pytest.importorskip("pandas")
        # By default pandas reads numbers a little faster than exactly.
        read = pandas.read_csv(study / "results.csv", float_precision="round_trip")
        assert read["accuracy"].isna().sum() == 1  # the failed run
        for frame in (read, pandas.DataFrame(rows), read.astype({"n_shot": float}), read.astype({"fold": "int8"})):
            assert statistic(frame) == statistic(rows)

    @pytest.mark.parametrize("statistic", STATISTICS)
    def test_rows_that_come_one_by_one(self, rows, statistic):
        assert statistic(iter(rows)) == statistic(rows)

    def test_n_is_sorted_as_a_number(self, study):
        with (study / "results.csv").open(newline="") as file:
            assert [cell.n_shot for cell in compare(csv.DictReader(file))] == [2, 10, 100]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"n_shot": "many"}, "`n_shot` of a run must be a whole number. Received: 'many'"),
            ({"fold": 1.5}, "`fold` of a run must be a whole number. Received: 1.5"),
            ({"run": None}, "`run` of a run must be a whole number. Received: None"),
            ({"compression": math.nan}, "`compression` of a run must be a name. Received: nan"),
            ({"accuracy": "good"}, "`accuracy` of a run that is done must be a number from 0 to 1. Received: 'good'"),
        ],
    )
    @pytest.mark.parametrize("statistic", STATISTICS)
    def test_values_of_another_kind_are_refused(self, rows, statistic, change, message):
        with pytest.raises(DataError, match=message):
            statistic([*rows, {**rows[0], "run": 9, **change}])

    @pytest.mark.parametrize("wrong", ["results.csv", 3, {"dataset": ["us8k"]}, Path("runs/us8k")])
    @pytest.mark.parametrize("statistic", STATISTICS)
    def test_what_is_no_sequence_of_rows_is_refused(self, statistic, wrong):
        with pytest.raises(DataError, match="`rows` must be a sequence of mappings.*Received: .*read_results"):
            statistic(wrong)


class TestWhatCannotBeRead:
    def test_nothing_there(self, tmp_path):
        with pytest.raises(DataError, match="No results at .*results.csv. Name the folder of a study"):
            read_results(tmp_path)
        with pytest.raises(DataError, match="No results at .*nowhere"):
            read_results(tmp_path / "nowhere")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "it has no column dataset"),
            (b"dataset,model\nus8k,vgg\n", "it has no column compression"),
            (b"\xff\xfe\x00", "can't decode"),
            ((",".join(COLUMNS) + "\nus8k,vgg,logeps,x,1,0,0,0.5,,,,1,1,done\n").encode(), "`n_shot` of a run"),
            ((",".join(COLUMNS) + "\nus8k,vgg,logeps,1,1,0,0,half,,,,1,1,done\n").encode(), "line 2: .*'half'"),
            ((",".join(COLUMNS) + "\nus8k,vgg\n").encode(), "line 2: .*`compression` of a run must be a name"),
        ],
    )
    def test_the_file_and_the_reason_are_named(self, tmp_path, content, message):
        path = tmp_path / "mine.csv"
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"(?s)Cannot read the results .*mine.csv: .*{message}"):
            read_results(path)

    def test_a_csv_file_of_another_table(self):
        with pytest.raises(DataError, match="must have the column 'status'"):
            compare(csv.DictReader(io.StringIO("a,b\n1,2\n")))
