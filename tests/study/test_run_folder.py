"""Run folders and the table made from them: whole or absent, and right by hand."""

import csv
import json
import re
import shutil
import subprocess

import pytest

from loglearn_tf.analysis.summary import format_tables
from loglearn_tf.errors import ConfigError, DataError, StorageError
from loglearn_tf.study.grid import RunSpec, identity_of
from loglearn_tf.study.run_folder import (
    COLUMNS,
    LATER_COLUMNS,
    read_result,
    read_runs,
    remove_unfinished,
    split_done,
    write_results,
    write_run,
)

IDENTITY = {"training": {"epochs": 199, "l2": 0.0005}, "clips": "abc"}


def result(accuracy: float | None, **cell: object) -> dict[str, object]:
    return {
        "format": 1,
        "dataset": "us8k",
        "model": "vgg",
        "compression": "loglearn",
        "n_shot": 1,
        "fold": 1,
        "run": 0,
        "seed": 0,
        "accuracy": accuracy,
        "alpha": 1100.0,
        "beta": 1.3,
        "knee": 1.3 / 1100,
        "train_seconds": 1.0,
        "eval_seconds": 2.0,
        "status": "failed" if accuracy is None else "done",
        "identity": IDENTITY,
        "synthetic": False,
        "missing_clips": 0,
        **dict.fromkeys(LATER_COLUMNS),
        **cell,
    }


def spec_of(row: dict) -> RunSpec:
    return RunSpec(**{key: row[key] for key in ("dataset", "model", "compression", "n_shot", "fold", "run", "seed")})


def write(study_dir, row) -> RunSpec:
    spec = spec_of(row)
    write_run(study_dir, spec, {"history.csv": b"epoch\n0\n"}, row)
    return spec


GRID = [
    # (compression, fold, run) -> accuracy; fold 2 has one run only.
    result(0.50, compression="loglearn", fold=1, run=0),
    result(0.70, compression="loglearn", fold=1, run=1),
    result(0.20, compression="loglearn", fold=2, run=0),
    result(0.40, compression="logeps", fold=1, run=0),
    result(0.40, compression="logeps", fold=1, run=1),
    result(0.30, compression="logeps", fold=2, run=0),
]


def test_means_are_over_runs_then_folds():
    title, header, logeps, loglearn, difference = format_tables(GRID).splitlines()
    assert title == "UrbanSound8K: accuracy in %, mean over runs, then over 2 of 10 folds (1, 2)"
    assert header.split() == ["model", "compression", "n=1"]
    assert loglearn.split() == ["vgg", "loglearn", "40.0"]  # ((50 + 70) / 2 + 20) / 2, not (50 + 70 + 20) / 3
    assert logeps.split() == ["vgg", "logeps", "35.0"]
    assert difference.split() == ["vgg", "loglearn", "-", "logeps", "+5.0"]


def test_differences_use_pairs_that_both_finished():
    rows = [*GRID[:5], result(None, compression="logeps", fold=2, run=0)]
    table = format_tables(rows).splitlines()
    assert table[4].split()[-1] == "+20.0"  # fold 1 alone: 60 - 40
    assert "1 of 6 runs failed" in table[5]


def test_cells_not_run_stay_empty():
    rows = [*GRID, result(0.9, model="timbre", n_shot=10)]
    lines = format_tables(rows).splitlines()
    assert lines[1].split() == ["model", "compression", "n=1", "n=10"]
    assert lines[2].split() == ["timbre", "loglearn", "90.0"] and lines[2].endswith("90.0")
    assert not any("timbre" in line and "-" in line for line in lines[3:])  # no pair, no difference


def test_titles_tell_what_the_numbers_are_not():
    all_folds = [result(0.5, fold=fold) for fold in range(1, 11)]
    assert format_tables(all_folds).splitlines()[0].endswith("then over all 10 folds")
    synthetic = [result(0.5, synthetic=True)]
    assert format_tables(synthetic).startswith("SYNTHETIC DATA, not UrbanSound8K")
    tut = format_tables([result(0.5, dataset="tut")]).splitlines()[0]
    assert tut == "TUT Acoustic Scenes 2017: accuracy in %, mean over runs"
    assert "12 clips of the data set were missing" in format_tables([result(0.5, missing_clips=12)])


def test_results_csv_has_one_row_a_run_in_the_order_of_cells(tmp_path):
    for row in reversed(GRID):
        write(tmp_path, row)
    write(tmp_path, result(None, model="sb_cnn", error="NaN"))
    write_results(tmp_path)
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [(r["model"], r["compression"], r["fold"], r["run"]) for r in rows] == [
        ("sb_cnn", "loglearn", "1", "0"),
        ("vgg", "logeps", "1", "0"),
        ("vgg", "logeps", "1", "1"),
        ("vgg", "logeps", "2", "0"),
        ("vgg", "loglearn", "1", "0"),
        ("vgg", "loglearn", "1", "1"),
        ("vgg", "loglearn", "2", "0"),
    ]
    assert rows[0]["status"] == "failed" and rows[0]["accuracy"] == ""
    assert rows[1]["accuracy"] == "0.4"


def test_a_run_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    row = result(0.5)
    spec = spec_of(row)

    def interrupted(path, value):
        assert (path.parent / "history.csv").read_bytes() == b"epoch\n0\n"
        assert not (tmp_path / spec.folder).exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("loglearn_tf.study.run_folder.write_json", interrupted)
        write(tmp_path, row)
    assert not list(tmp_path.rglob("history.csv"))
    write(tmp_path, row)
    assert read_result(tmp_path, spec)["status"] == "done"


def test_a_full_disk_loses_nothing(tmp_path):
    """On a file system of 64 KiB, where there is one to be had."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        first = write(disk, result(0.5))
        second = result(0.7, run=1)
        with pytest.raises(StorageError, match="Cannot write .*No space left on device.*rerun the command to resume"):
            write_run(disk, spec_of(second), {"predictions.csv": bytes(100_000)}, second)
        assert [row["accuracy"] for row in read_runs(disk)] == [0.5]
        assert not (disk / spec_of(second).folder).exists() and not list((disk / ".unfinished").iterdir())
        write(disk, second)  # space again
        assert read_result(disk, first)["status"] == "done" and read_result(disk, spec_of(second))["status"] == "done"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_finished_run_is_never_replaced_but_a_failed_one_is(tmp_path):
    spec = write(tmp_path, result(None, error="out of memory"))
    assert read_result(tmp_path, spec)["status"] == "failed"
    write(tmp_path, result(0.5))
    write(tmp_path, result(0.9))
    assert [row["accuracy"] for row in read_runs(tmp_path)] == [0.5]
    remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["us8k"]


def test_runs_of_other_settings_are_not_taken_for_done(tmp_path):
    specs = [write(tmp_path, row) for row in GRID]
    new = spec_of(result(0.5, model="timbre"))
    assert split_done(tmp_path, [*specs, new], IDENTITY) == (specs, [new])
    changed = {**IDENTITY, "training": {"epochs": 20, "l2": 0.0005}}
    with pytest.raises(ConfigError, match=r"other settings: training.epochs: 199 -> 20\. Give this study another name"):
        split_done(tmp_path, specs, changed)


def test_one_table_never_mixes_settings(tmp_path):
    """Also not with runs that this call does not ask for, nor with folders that were copied here."""
    write(tmp_path, result(0.5, n_shot=1))
    changed = {**IDENTITY, "training": {"epochs": 20, "l2": 0.0005}}
    asked_for = spec_of(result(0.5, n_shot=2))
    with pytest.raises(ConfigError, match=r"other settings: training.epochs: 199 -> 20"):
        split_done(tmp_path, [asked_for], changed)
    write(tmp_path, result(0.7, n_shot=2, identity=changed))
    with pytest.raises(DataError, match=r"n002/fold01/run00 was made with other settings than .*n001.*199 -> 20"):
        read_runs(tmp_path)


def test_variants_may_be_added_but_not_changed(tmp_path):
    def identity(**variants):
        return {"protocol": "pons2018", "clips": "abc", **({"variants": variants} if variants else {})}

    low, lower = ({"layer": "loglearn", "args": {"alpha_pre_gate": value}} for value in (16.0, 17.0))
    # Runs carry their own variant only.
    write(tmp_path, result(0.5, compression="logeps", identity=identity()))
    write(tmp_path, result(0.6, compression="low", identity=identity(low=low)))
    write(tmp_path, result(0.7, compression="other", identity=identity(other=lower)))
    assert len(read_runs(tmp_path)) == 3
    split_done(tmp_path, [], identity(low=low, other=lower, third=low))
    with pytest.raises(ConfigError, match=r"other settings: variants.low.args.alpha_pre_gate: 16.0 -> 17.0"):
        split_done(tmp_path, [], identity(low=lower))
    write(tmp_path, result(0.6, compression="low", run=1, identity=identity(low=lower)))
    with pytest.raises(DataError, match=r"made with other settings than .*variants.low.args.alpha_pre_gate"):
        read_runs(tmp_path)


def test_runs_stay_valid_when_what_they_do_not_read_changes(tmp_path):
    """As saved by every earlier version, with all sections, and as saved now."""
    sections = {"training": {"learning_rate": 0.1, "l2": 0.1}, "episodic": {"patience": 200}, "evaluation": {"hop": 1}}
    earlier = {"protocol": "pons2018", "clips": "abc", **sections}
    timbre = write(tmp_path, result(0.5, model="timbre", identity=earlier))
    prototypical = write(tmp_path, result(0.5, model="prototypical", identity=earlier))
    shorter = {**earlier, "episodic": {"patience": 20}}
    assert split_done(tmp_path, [timbre], earlier) == ([timbre], [])
    with pytest.raises(ConfigError, match=r"prototypical.*other settings: episodic.patience: 200 -> 20"):
        split_done(tmp_path, [timbre], shorter)
    shutil.rmtree(tmp_path / prototypical.folder)
    assert split_done(tmp_path, [timbre], shorter) == ([timbre], [])
    # Runs of both kinds make one table, which is still refused where it would mix what both read.
    write(tmp_path, result(0.5, model="prototypical", identity=identity_of(prototypical, shorter)))
    assert len(read_runs(tmp_path)) == 2
    with pytest.raises(ConfigError, match=r"timbre.*other settings: training.l2: 0.1 -> 0.2"):
        split_done(tmp_path, [], {**shorter, "training": {"learning_rate": 0.1, "l2": 0.2}})
    slower = {**shorter, "training": {"learning_rate": 0.01, "l2": 0.1}}
    write(tmp_path, result(0.5, model="vgg", identity=identity_of(spec_of(result(0.5)), slower)))
    with pytest.raises(DataError, match=r"training.learning_rate: 0.1 -> 0.01|training.learning_rate: 0.01 -> 0.1"):
        read_runs(tmp_path)


def test_one_table_never_mixes_settings_that_the_first_run_does_not_read(tmp_path):
    identity = {"training": {"learning_rate": 0.1, "epochs": 199}, "episodic": {"patience": 200}, "clips": "abc"}
    longer = {**identity, "training": {"learning_rate": 0.1, "epochs": 300}}
    for model, made in (("prototypical", identity), ("timbre", identity), ("vgg", longer)):
        row = result(0.5, model=model)
        write(tmp_path, {**row, "identity": identity_of(spec_of(row), made)})
    with pytest.raises(DataError, match=r"vgg.* was made with other settings than .*timbre.*epochs: 199 -> 300"):
        read_runs(tmp_path)


def test_names_from_outside_have_folders_and_stay_whole_in_results_csv(tmp_path):
    names = {"dataset": "lab.data:load", "model": "lab.nets:crnn", "compression": "lab:log"}
    spec = write(tmp_path, result(0.5, **names, identity={**IDENTITY, "reads": ["training"]}))
    assert (tmp_path / "lab.data-load" / "lab.nets-crnn" / "lab-log" / "n001" / "fold01" / "run00").is_dir()
    assert split_done(tmp_path, [spec], IDENTITY) == ([spec], [])
    write_results(tmp_path)
    with (tmp_path / "results.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert {key: row[key] for key in names} == names


def test_reading_says_what_is_wrong(tmp_path):
    with pytest.raises(DataError, match="No finished run in .*loglearn run"):
        read_runs(tmp_path)
    spec = write(tmp_path, result(0.5))
    path = tmp_path / spec.folder / "result.json"
    for wrong in ({**result(0.5), "format": 2}, {"accuracy": 0.5}, [1]):
        path.write_text(json.dumps(wrong))
        with pytest.raises(DataError, match="is from another version of loglearn_tf: its `format` must be 1"):
            read_runs(tmp_path)
    for wrong, reason in (
        ({"format": 1}, "dataset"),
        ({**result(0.5), "n_shot": "many"}, "code 'd'"),
        (None, "status"),
    ):
        row = wrong or {key: value for key, value in result(0.5).items() if key != "status"}
        path.write_text(json.dumps(row))
        with pytest.raises(DataError, match=rf"result.json is not a valid result: .*{reason}.*Remove its folder"):
            read_runs(tmp_path)
    path.write_text('{"accuracy":')
    with pytest.raises(DataError, match="result.json cannot be read"):
        read_runs(tmp_path)


@pytest.mark.parametrize("name", ["run00.bak", "run01", "run0"])
def test_a_copied_folder_counts_for_no_run(tmp_path, name):
    spec = write(tmp_path, result(0.5))
    folder = (tmp_path / spec.folder).with_name(name)
    shutil.copytree(tmp_path / spec.folder, folder)
    message = rf"{re.escape(str(folder))}/result.json holds the result of .*/fold01/run00. Remove this folder"
    for read in (read_runs, write_results, lambda study: split_done(study, [spec], IDENTITY)):
        with pytest.raises(DataError, match=message):
            read(tmp_path)


def test_scratch_files_of_killed_jobs_are_removed(tmp_path):
    write(tmp_path, result(0.5))
    leftovers = [tmp_path / ".results.csv.abc.part", tmp_path / "figures" / ".a.svg.xyz.part"]
    for leftover in (*leftovers, tmp_path / "figures" / "a.svg"):
        leftover.parent.mkdir(exist_ok=True)
        leftover.touch()
    remove_unfinished(tmp_path)
    assert not any(leftover.exists() for leftover in leftovers) and (tmp_path / "figures" / "a.svg").exists()


def test_folders_of_several_machines_are_merged_by_copying(tmp_path):
    for row in GRID:
        write(tmp_path / f"machine{row['fold']}" / "us8k", row)
    for machine in ("machine1", "machine2"):
        shutil.copytree(tmp_path / machine / "us8k", tmp_path / "all", dirs_exist_ok=True)
    order = lambda row: [row[name] for name in ("compression", "fold", "run")]  # noqa: E731
    assert write_results(tmp_path / "all") == sorted(GRID, key=order)
    with (tmp_path / "all" / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6


def test_a_result_must_be_a_number_or_nothing(tmp_path):
    with pytest.raises(ValueError):
        write(tmp_path, result(float("nan")))
    assert not list(tmp_path.rglob("result.json"))
    json.dumps(result(0.5))


def test_runs_of_earlier_versions_lack_columns_and_stay_done(tmp_path):
    """Their `result.json` is as it was then; what is not known of them is empty, and they stand beside new ones."""
    old = {key: value for key, value in result(0.4).items() if key not in LATER_COLUMNS}
    assert len(result(0.4)) - len(old) == len(LATER_COLUMNS) == 4
    new = result(0.5, run=1, accuracy_settled=0.6, norm_residue=0.135, norm_scale=0.3, norm_shift=-2.0)
    for row in (old, new):
        write(tmp_path, row)
    first, second = write_results(tmp_path)
    assert {first[name] for name in LATER_COLUMNS} == {None} and second["accuracy_settled"] == 0.6
    with (tmp_path / "results.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["accuracy_settled"] for row in table] == ["", "0.6"]
    # What earlier readers know comes first, in the same order.
    assert tuple(table[0])[:14] == (
        "dataset", "model", "compression", "n_shot", "fold", "run", "seed", "accuracy", "alpha", "beta", "knee",
        "train_seconds", "eval_seconds", "status",
    )  # fmt: skip


def test_tables_of_either_score():
    rows = [result(0.4, accuracy_settled=0.5), result(0.3, compression="logeps", accuracy_settled=0.45)]
    lines = format_tables(rows, score="settled").splitlines()
    assert "settled accuracy in %" in lines[0]
    assert [line.split()[-1] for line in lines[2:]] == ["45.0", "50.0", "+5.0"]
    assert format_tables(rows).splitlines()[2].split()[-1] == "30.0"


def test_a_table_says_how_many_runs_have_no_settled_score():
    rows = [result(0.4, accuracy_settled=0.5), result(0.3, run=1), result(None, run=2)]
    assert format_tables(rows, score="settled").splitlines()[3:] == [
        "1 of 3 runs have no settled score, since they are of an earlier version.",
        "1 of 3 runs failed and are in no mean; see their result.json for the reason.",
    ]
    assert "1 of 1 runs have no settled score" in format_tables([result(0.3)], score="settled")
    with pytest.raises(ConfigError, match="`score` must be 'published' or 'settled'. Received: score='best'"):
        format_tables(rows, score="best")
