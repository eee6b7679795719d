"""What is read from run folders beside their results."""

import numpy as np
import pytest
from fake_study import history, predictions, run_row, write

from loglearn_tf.analysis.report.run_files import Unreadable, read_config, read_scores, read_traces, recall_differences

AB = ("a", "b")
KIND = ("us8k", "vgg", "loglearn", 1)


@pytest.fixture
def unreadable() -> Unreadable:
    return Unreadable()


def test_histories_become_traces(tmp_path, unreadable):
    both = {"alpha": [1096.6, 1100.0], "beta": [1.3, 1.4], "knee": [0.0012, 0.0013]}
    columns = {"loss": [None, 2.0], **both, **{f"{name}_support": values for name, values in both.items()}}
    rows = [run_row(0.5), run_row(0.4, compression="logeps"), run_row(None, run=1)]
    write(tmp_path, rows[0], {"history.csv": history(columns)})
    traces = read_traces(tmp_path, rows[:2], unreadable)
    assert list(traces) == [KIND]  # log-EPS learns nothing: its file is not looked for
    (trace,) = traces[KIND]
    assert trace.epochs.tolist() == [0, 1]
    assert set(trace.values) == {"alpha", "beta", "knee", "alpha_support", "beta_support", "knee_support"}
    assert trace.values["knee"].tolist() == [0.0012, 0.0013]
    assert unreadable == Unreadable()


def test_predictions_are_counted(tmp_path, unreadable):
    rows = [run_row(0.5), run_row(0.5, run=1)]
    write(tmp_path, rows[0], {"predictions.csv": predictions([("a", "a"), ("a", "b"), ("b", "b")], AB)})
    write(tmp_path, rows[1], {"predictions.csv": predictions([("b", "a"), ("b", "b")], AB)})
    found = read_scores(tmp_path, rows, unreadable)[KIND]
    assert found.classes == AB
    assert found.counts.tolist() == [[1, 1], [1, 2]]  # rows: true; columns: predicted
    np.testing.assert_array_equal(found.recall[1, 0], [0.5, 1.0])
    np.testing.assert_array_equal(found.recall[1, 1], [np.nan, 0.5])  # no clip of a


def test_class_names_may_be_anything_even_formulas(tmp_path, unreadable):
    names = ("=cmd|' /C calc'!A0", "-dash", "two\nlines", 'quo"ted, name')
    answers = [(name, name) for name in names] + [(names[0], names[2])]
    write(tmp_path, run_row(0.5), {"predictions.csv": predictions(answers, names)})
    found = read_scores(tmp_path, [run_row(0.5)], unreadable)[KIND]
    assert found.classes == names
    assert found.counts.diagonal().tolist() == [1, 1, 1, 1] and found.counts[0, 2] == 1
    assert unreadable == Unreadable()


def test_recall_differs_within_pairs_by_runs_then_folds(tmp_path, unreadable):
    right = lambda n: [("a", "a")] * n + [("a", "b")] * (4 - n) + [("b", "b")]  # noqa: E731
    # (compression, fold, run) -> of four clips of class a, so many are found.
    found = {
        ("loglearn", 1, 0): 4,
        ("loglearn", 1, 1): 2,
        ("loglearn", 2, 0): 1,
        ("logeps", 1, 0): 2,
        ("logeps", 1, 1): 2,
        ("logeps", 2, 0): 2,
        ("logeps", 2, 1): 4,  # no partner
    }
    rows = []
    for (compression, fold, run), n in found.items():
        rows.append(run_row(0.5, compression=compression, fold=fold, run=run))
        write(tmp_path, rows[-1], {"predictions.csv": predictions(right(n), AB)})
    scores = read_scores(tmp_path, rows, unreadable)
    # Class a: fold 1 (50 + 0) / 2 points, fold 2 -25 points; class b: always found.
    assert recall_differences(scores, "us8k", "vgg", 1).tolist() == [0.0, 0.0]
    without = [row for row in rows if row["fold"] == 1]
    assert recall_differences(read_scores(tmp_path, without, unreadable), "us8k", "vgg", 1).tolist() == [0.25, 0.0]
    assert recall_differences(scores, "us8k", "timbre", 1) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"clip_id,class,predicted,p_a,p_b\n", "it is empty"),
        (b"clip_id,class,predicted,p_a,p_b\nx,a,c,0,1\n", "unknown class 'c'"),
        (b"clip_id,class\nx,a\n", "'predicted' is not in list"),
        (b"\xff\xfe", "'utf-8' codec can't decode"),
    ],
)
def test_files_that_cannot_be_used_are_taken_down(tmp_path, unreadable, content, reason):
    rows = [run_row(0.5), run_row(0.5, run=1), run_row(0.5, run=2)]
    broken = write(tmp_path, rows[0], {"predictions.csv": content})
    write(tmp_path, rows[1], {"predictions.csv": predictions([("a", "a")], AB)})
    missing = write(tmp_path, rows[2])
    scores = read_scores(tmp_path, rows, unreadable)
    assert scores[KIND].counts.sum() == 1
    assert unreadable.missing == [missing / "predictions.csv"]
    ((path, said),) = unreadable.broken
    assert path == broken / "predictions.csv" and reason in said


def test_runs_of_other_classes_are_not_mixed_in(tmp_path, unreadable):
    rows = [run_row(0.5), run_row(0.5, run=1)]
    write(tmp_path, rows[0], {"predictions.csv": predictions([("a", "a")], AB)})
    write(tmp_path, rows[1], {"predictions.csv": predictions([("a", "a")], ("a", "c"))})
    assert read_scores(tmp_path, rows, unreadable)[KIND].counts.sum() == 1
    assert "classes differ from those" in unreadable.broken[0][1]


def test_settings_are_those_of_the_first_run_that_has_them(tmp_path):
    rows = [run_row(0.5), run_row(0.5, run=1)]
    write(tmp_path, rows[0])
    assert read_config(tmp_path, rows) is None
    write(tmp_path, rows[1], {"config.yaml": b"name: us8k\n"})
    assert read_config(tmp_path, rows) == "name: us8k\n"
