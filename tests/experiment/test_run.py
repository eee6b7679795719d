"""One run as a worker does it: what it leaves, and what becomes of one that fails."""

import csv
import dataclasses
import io
import os
import platform
import shutil
import sys

import pytest
import yaml
from conftest import ROOT, read_scalars, short_settings

from loglearn_tf.analysis.statistics import accuracies
from loglearn_tf.errors import DataError
from loglearn_tf.experiment.run import Work, Worker, _is_logged, describe_software
from loglearn_tf.study.grid import plan_runs
from loglearn_tf.study.run_folder import level_rows, read_runs, write_results, write_run
from loglearn_tf.study.settings import load_settings
from loglearn_tf.training import supervised as training
from loglearn_tf.training.callbacks import NonFiniteError
from loglearn_tf.training.supervised import CompiledModels

US8K = ROOT / "experiments" / "us8k.yaml"


@pytest.fixture(scope="module")
def models():
    """Compiled networks, for all workers: to compile takes longer than to train here, and changes nothing, which
    `test_kept_networks_change_no_result` shows with workers that keep their own."""
    return CompiledModels()


@pytest.fixture
def worker(us8k, us8k_store, us8k_root, tmp_path, models):
    def make(*overrides: str, keeps: CompiledModels = models) -> tuple[Worker, list]:
        settings = short_settings(us8k_root, tmp_path, *overrides)
        worker = Worker(Work(settings, us8k, us8k_store.folder))
        worker._models = keeps
        return worker, plan_runs(settings)

    return make


def test_a_record_tells_all_about_a_run(worker):
    worker, (spec, _) = worker("models=[timbre]", "tensorboard=first")
    record = worker.perform(spec)
    result = record.result
    assert result["status"] == "done" and 0 <= result["accuracy"] <= 1
    assert {"seed", "weights_seed", "patches_seed", "identity", "versions", "train_seconds", "eval_seconds"} <= {
        *result
    }
    assert result["host"] == platform.node()
    assert 100 < result["peak_memory_mib"] < 20_000
    assert {name.split("/")[0] for name in record.files} == {
        "config.yaml", "history.csv", "predictions.csv", "predictions_settled.csv", "tensorboard",
    }  # fmt: skip
    assert yaml.safe_load(record.files["config.yaml"])["training"]["epochs"] == 2
    predictions = list(csv.DictReader(io.StringIO(record.files["predictions.csv"].decode())))
    assert sum(row["class"] == row["predicted"] for row in predictions) / len(predictions) == result["accuracy"]
    settled = list(csv.DictReader(io.StringIO(record.files["predictions_settled.csv"].decode())))
    assert sum(row["class"] == row["predicted"] for row in settled) / len(settled) == result["accuracy_settled"]
    # The published table has no column more than ever.
    assert tuple(predictions[0])[:3] == ("clip_id", "class", "predicted")
    assert {**predictions[0]}.keys() == settled[0].keys() - {"recording"}
    recordings = worker.work.dataset.recordings
    assert {row["clip_id"]: row["recording"] for row in settled} == {
        clip.clip_id: recordings[clip.clip_id] for clip in worker.work.dataset.test_clips(1)
    }
    # Two updates; what training saw with a variance of 1 is scaled at test.
    assert result["norm_residue"] == pytest.approx(0.99**2)
    assert result["norm_scale"] != 1 and result["norm_shift"] != 0


def test_other_levels_are_in_files_of_their_own(worker, tmp_path):
    plain, (spec, _) = worker("models=[timbre]", "training.epochs=1")
    asked, _ = worker("models=[timbre]", "training.epochs=1", "evaluation.gains_db=[-40, 20]")
    before, record = plain.perform(spec), asked.perform(spec)
    assert "levels" not in before.result and "levels.csv" not in before.files
    for name in ("predictions.csv", "predictions_settled.csv", "history.csv"):
        assert before.files[name] == record.files[name]
    rows = list(csv.DictReader(io.StringIO(record.files["levels.csv"].decode())))
    assert [float(row["gain_db"]) for row in rows] == [-40, 20]
    assert [{key: float(value) for key, value in row.items()} for row in rows] == record.result["levels"]

    write_run(tmp_path, spec, record.files, record.result)
    write_results(tmp_path)
    table = list(csv.DictReader((tmp_path / "levels.csv").open()))
    assert [(row["compression"], row["status"], float(row["gain_db"])) for row in table] == [
        (spec.compression, "done", -40.0), (spec.compression, "done", 20.0),
    ]  # fmt: skip
    (quiet,) = [row for row in level_rows(read_runs(tmp_path)) if row["gain_db"] == -40]
    assert accuracies([quiet])[0].mean == record.result["levels"][0]["accuracy"]


@pytest.mark.parametrize(
    ("setting", "logged"),
    [("all", [(1, 0), (1, 1), (2, 0), (2, 1)]), ("first", [(1, 0)]), ("none", [])],
)
def test_event_files_are_kept_for_the_runs_that_are_asked_for(worker, setting, logged):
    _, specs = worker("models=[timbre]", "compressions=[loglearn]", "folds=[1,2]", "runs=2", f"tensorboard={setting}")
    settings = load_settings(US8K, [f"tensorboard={setting}", "folds=[1,2]"])
    assert [(spec.fold, spec.run) for spec in specs if _is_logged(spec, settings)] == logged


def test_event_files_hold_what_history_holds(worker, tmp_path):
    worker, (spec, _) = worker("models=[timbre]", "tensorboard=first")
    record = worker.perform(spec)
    for name, content in record.files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    history = list(csv.DictReader(io.StringIO(record.files["history.csv"].decode())))
    scalars = read_scalars(tmp_path / "tensorboard")
    for tag, column in {"compression/alpha": "alpha", "compression/beta": "beta", "compression/knee": "knee"}.items():
        assert [step for step, _ in scalars[tag]] == [0, 1, 2]
        assert [value for _, value in scalars[tag]] == pytest.approx([float(row[column]) for row in history], rel=1e-6)
    assert scalars["compression/alpha"][0][1] == pytest.approx(1096.633, abs=1e-3)
    assert scalars["compression/beta"][0][1] == pytest.approx(1.31326, abs=1e-5)
    for name in ("loss", "accuracy"):
        expected = [float(row[name]) for row in history[1:]]
        assert [value for _, value in scalars[f"training/{name}"]] == pytest.approx(expected, rel=1e-6)
    assert scalars["test/accuracy"] == [(2, pytest.approx(record.result["accuracy"], rel=1e-6))]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets the high-water mark back")
def test_peak_memory_is_the_runs_own():
    from loglearn_tf.experiment.run import PeakMemory

    large = PeakMemory()
    block = bytearray(300 << 20)
    with_block = large.mib()
    del block
    assert PeakMemory().mib() < with_block - 200


@pytest.mark.usefixtures("narrow_prototypical")
@pytest.mark.parametrize(
    "overrides",
    [
        ["models=[sb_cnn]"],
        pytest.param(
            ["models=[prototypical]", "episodic.n_query=1", "episodic.patience=1", "episodic.patch_hop=300"],
            marks=pytest.mark.long,
        ),
    ],
)
def test_kept_networks_change_no_result(worker, overrides):
    """The second run goes through a network that the first compiled and trained, the third through what it left."""
    overrides = [*overrides, "compressions=[loglearn]", "runs=2"]
    kept, (one, other) = worker(*overrides, keeps=CompiledModels())
    first, second, again = kept.perform(one), kept.perform(other), kept.perform(one)
    assert len(kept._models._kept) == 1
    new, _ = worker(*overrides, keeps=CompiledModels())
    alone = new.perform(other)
    for name in ("history.csv", "predictions.csv"):
        assert again.files[name] == first.files[name] != alone.files[name]
        assert second.files[name] == alone.files[name]


def test_a_run_that_fails_is_described_and_leaves_the_next_alone(worker, monkeypatch):
    worker, (bad, good) = worker("models=[timbre]")
    train_run = training.train_run

    def fail_for_bad(spec, *rest, **more):
        if spec == bad:
            raise MemoryError("no more")
        return train_run(spec, *rest, **more)

    monkeypatch.setattr(training, "train_run", fail_for_bad)
    failed, done = worker.perform(bad).result, worker.perform(good).result
    assert (failed["status"], failed["final"], failed["accuracy"]) == ("failed", False, None)
    assert "Traceback" in failed["error"] and "MemoryError: no more" in failed["error"]
    assert done["status"] == "done"


def test_a_non_finite_run_is_final(worker, monkeypatch):
    worker, (spec, _) = worker("models=[timbre]")

    def diverge(*_, **__):
        raise NonFiniteError("loss is nan at step 3. Reduce `training.learning_rate`.")

    monkeypatch.setattr(training, "train_run", diverge)
    result = worker.perform(spec).result
    assert result["final"] and result["error"].startswith("loss is nan at step 3")


@pytest.mark.parametrize("raises", [True, False])
def test_a_run_whose_store_was_changed_meanwhile_has_failed(worker, us8k_store, models, tmp_path, monkeypatch, raises):
    """Also where it came to finite numbers, and whatever else went wrong for that."""
    worker, (spec, _) = worker("models=[timbre]")
    shutil.copytree(us8k_store.folder, tmp_path / "store")
    worker = Worker(dataclasses.replace(worker.work, store_folder=tmp_path / "store"))
    worker._models = models
    train_run = training.train_run

    def disturbed(*arguments, **more):
        outcome = train_run(*arguments, **more)
        os.utime(tmp_path / "store" / "shard-0000.npy")
        if raises:
            raise NonFiniteError("loss is nan at step 3")
        return outcome

    monkeypatch.setattr(training, "train_run", disturbed)
    result = worker.perform(spec).result
    assert (result["status"], result["final"]) == ("failed", False)
    assert "shard-0000.npy was changed while in use" in result["error"]


def test_a_damaged_store_is_not_worked_with(worker, us8k_store, tmp_path):
    worker, _ = worker("models=[timbre]")
    shutil.copytree(us8k_store.folder, tmp_path / "store")
    with (tmp_path / "store" / "shard-0000.npy").open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(bytes(8))
    with pytest.raises(DataError, match="its checksum does not match"):
        Worker(dataclasses.replace(worker.work, store_folder=tmp_path / "store"))


def test_results_say_what_made_them():
    software = describe_software()
    assert {"python", "loglearn_tf", "tensorflow", "keras", "numpy", "soxr", "git_commit"} <= set(software)
    assert software["tensorflow"] and software["keras"]
