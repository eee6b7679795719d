"""Names on paper: those of the source for what is listed, its own for anything else."""

from fake_study import pair

from loglearn_tf.analysis.names import (
    DatasetNames,
    compression_name,
    compressions_in_order,
    dataset_names,
    datasets_in_order,
    model_name,
    models_in_order,
)
from loglearn_tf.analysis.summary import format_tables


def test_what_is_listed():
    assert dataset_names("us8k") == DatasetNames("UrbanSound8K", "US8K", n_folds=10, tables=(1, 2))
    assert dataset_names("tut").tables == (3, 4) and dataset_names("folder").tables is None
    assert (model_name("sb_cnn"), compression_name("logeps")) == ("SB-CNN", "log-EPS")


def test_what_is_not_listed_is_called_as_it_is():
    assert dataset_names("esc50") == DatasetNames("esc50", "esc50")
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
