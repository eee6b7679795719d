"""Names on paper: those of the source for what is listed, its own for anything else."""

import pytest
from fake_study import pair

from loglearn_tf.analysis.names import (
    compression_name,
    compressions_in_order,
    dataset_name,
    dataset_title,
    datasets_in_order,
    is_relative,
    model_name,
    models_in_order,
    n_test_folds,
    table_numbers,
)
from loglearn_tf.analysis.summary import format_tables


def test_what_is_listed():
    assert (dataset_title("us8k"), dataset_name("us8k")) == ("UrbanSound8K", "US8K")
    assert [n_test_folds(name) for name in ("us8k", "tut", "folder")] == [10, 1, None]
    assert [table_numbers(name) for name in ("us8k", "tut", "folder")] == [(1, 2), (3, 4), None]
    assert (model_name("sb_cnn"), compression_name("logeps")) == ("SB-CNN", "log-EPS")


def test_what_is_not_listed_is_called_as_it_is():
    assert (dataset_title("esc50"), dataset_name("esc50")) == ("esc50", "esc50")
    assert n_test_folds("esc50") is None and table_numbers("esc50") is None
    assert (model_name("my_lab.nets:crnn"), compression_name("low_knee")) == ("my_lab.nets:crnn", "low_knee")


def test_what_is_listed_comes_first():
    rows = [{"dataset": name} for name in ("esc50", "folder", "a", "tut", "us8k", "tut")]
    assert datasets_in_order(rows) == ["us8k", "tut", "folder", "a", "esc50"]
    assert models_in_order(["crnn", "timbre", "sb_cnn", "att"]) == ["sb_cnn", "timbre", "att", "crnn"]
    assert compressions_in_order(["low", "none", "loglearn", "logeps"]) == ["logeps", "loglearn", "none", "low"]


def test_a_data_set_that_is_not_listed_has_its_table_on_the_command_line():
    rows = [*pair(0.5, 0.4, dataset="esc50"), *pair(0.6, 0.4, dataset="esc50", fold=2)]
    title, _, logeps, loglearn, difference = format_tables(rows).splitlines()
    assert title == "esc50: accuracy in %, mean over runs, then over folds 1, 2"
    assert [line.split()[-1] for line in (logeps, loglearn, difference)] == ["40.0", "55.0", "+15.0"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"compression": "relative_knee"}, True),
        ({"compression": "loglearn"}, False),
        ({"compression": "mine", "identity": {"variants": {"mine": {"layer": "relative_knee", "args": {}}}}}, True),
        ({"compression": "mine", "identity": {"variants": {"mine": {"layer": "logeps", "args": {}}}}}, False),
        ({"compression": "my_lab.layers:Relative"}, False),  # of an earlier version: not known
        ({"compression": "my_lab.layers:Relative", "relative": True}, True),
    ],
)
def test_whose_knee_is_a_share_of_the_level(row, expected):
    assert is_relative(row) is expected
