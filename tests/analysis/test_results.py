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
from loglearn_tf.analysis.results import both_scores, read_results
from loglearn_tf.analysis.statistics import accuracies, compare, compare_all, rank
from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.study.run_folder import COLUMNS, LATER_COLUMNS, write_results

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
            ({"n_shot": "many"}, "`n_shot` of a run must be a whole number or all. Received: 'many'"),
            ({"n_shot": 1.5}, "`n_shot` of a run must be a whole number or all. Received: 1.5"),
            ({"fold": "all"}, "`fold` of a run must be a whole number. Received: 'all'"),
            ({"fold": 1.5}, "`fold` of a run must be a whole number. Received: 1.5"),
            ({"run": None}, "`run` of a run must be a whole number. Received: None"),
            ({"compression": math.nan}, "`compression` of a run must be a name. Received: nan"),
            ({"accuracy": "good"}, "`accuracy` of a finished run must be a number between 0 and 1. Received: 'good'"),
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


class TestScores:
    @pytest.fixture
    def mixed(self, tmp_path):
        """Settled, loglearn loses its lead of 10 points; two runs are of an earlier version."""
        for run in range(3):
            both = pair(0.6, 0.5, run=run)
            for row, settled in zip(both, (0.55, 0.56), strict=True):
                if run < 2:
                    row |= {"accuracy_settled": settled, "norm_residue": 0.135, "norm_scale": 0.9, "norm_shift": 0.1}
                else:
                    row = {key: value for key, value in row.items() if key not in LATER_COLUMNS}
                write(tmp_path, row)
        write_results(tmp_path)
        return tmp_path

    def test_either_is_read(self, mixed, caplog):
        for path in (mixed, mixed / "results.csv"):
            assert [row["accuracy"] for row in read_results(path)] == [0.5] * 3 + [0.6] * 3
            assert not caplog.records
            assert [row["accuracy"] for row in read_results(path, score="settled")] == [0.56] * 2 + [0.55] * 2
            assert [record.getMessage() for record in caplog.records] == [
                "2 of 6 finished runs have no settled score, since they are of an earlier version: they are omitted."
            ]
            caplog.clear()

    def test_statistics_take_either(self, mixed):
        rows = read_results(mixed)
        (published,), (settled,) = compare(rows), compare(rows, score="settled")
        assert (published.n_pairs, published.mean) == (3, pytest.approx(0.1))
        assert (settled.n_pairs, settled.mean) == (2, pytest.approx(-0.01))
        assert compare_all(rows, score="settled") == [settled]
        assert [one.mean for one in accuracies(rows, score="settled")] == pytest.approx([0.56, 0.55])
        assert rank(rows, score="settled") == []  # two compressions are not ranked

    def test_published_minus_settled_in_pairs(self, mixed):
        rows = both_scores(read_results(mixed))
        (ours,) = compare(rows, compression="loglearn", baseline="loglearn (settled)")
        (theirs,) = compare(rows, compression="logeps", baseline="logeps (settled)")
        assert (ours.n_pairs, ours.mean) == (2, pytest.approx(0.05))
        assert theirs.mean == pytest.approx(-0.06)

    def test_a_table_of_an_earlier_version(self, mixed, caplog):
        with (mixed / "results.csv").open() as file:
            rows = list(csv.DictReader(file))
        columns = [column for column in COLUMNS if column not in LATER_COLUMNS]
        (mixed / "old.csv").write_bytes(csv_bytes(columns, rows))
        old = read_results(mixed / "old.csv")
        assert {row["accuracy_settled"] for row in old} == {None} and tuple(old[0]) == COLUMNS
        assert compare(old)[0].mean == pytest.approx(0.1)
        assert compare(old, score="settled") == []
        assert "6 of 6 finished runs have no settled score" in caplog.records[-1].getMessage()

    @pytest.mark.parametrize("statistic", STATISTICS)
    def test_there_are_two(self, rows, statistic):
        with pytest.raises(ConfigError, match="`score` must be 'published' or 'settled'. Received: score='final'"):
            statistic(rows, score="final")

    def test_of_a_data_frame(self, mixed):
        pandas = pytest.importorskip("pandas")
        frame = pandas.read_csv(mixed / "results.csv")
        assert compare(frame, score="settled")[0].mean == pytest.approx(-0.01)
