"""Worker processes: one run's misfortune stays its own."""

import contextlib
import dataclasses
import multiprocessing
import os
import signal

import pytest
from conftest import short_settings

from loglearn_tf.errors import StorageError
from loglearn_tf.experiment.local import Processes, run_all
from loglearn_tf.experiment.run import Record, Work, failure
from loglearn_tf.study import run_folder as results
from loglearn_tf.study.grid import plan_runs
from loglearn_tf.study.run_folder import read_result, read_runs


@pytest.fixture
def work(us8k, us8k_store, us8k_root, tmp_path):
    def make(*overrides: str) -> Work:
        return Work(short_settings(us8k_root, tmp_path, *overrides), us8k, us8k_store.folder)

    return make


def test_a_killed_worker_costs_one_try_and_no_run(work):
    work = work("models=[timbre]", "runs=3")
    specs = plan_runs(work.settings)
    finished = []

    def kill_once(spec, result):
        finished.append((spec, result["status"]))
        if len(finished) == 1:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    run_all(specs, work, Processes(work, workers=2), on_result=kill_once)
    assert sorted(finished, key=str) == sorted([(spec, "done") for spec in specs], key=str)
    assert len(read_runs(work.settings.study_dir)) == 6
    assert not multiprocessing.active_children()


def test_failures_are_tried_again_then_written(work):
    """With a crew that performs nothing: the order of events is the driver's alone."""
    work = work("models=[timbre]", "runs=2")
    specs = plan_runs(work.settings)
    tries: list[tuple[int, str]] = []
    ends = {(0, "loglearn"): "final", (0, "logeps"): "raises", (1, "loglearn"): "dies"}

    class FakeCrew(contextlib.nullcontext):
        running = None

        def has_room(self):
            return self.running is None

        def start(self, spec):
            self.running = spec

        def finished(self):
            spec, self.running = self.running, None
            tries.append((spec.run, spec.compression))
            end = ends.get(tries[-1])
            record = failure(spec, work, f"it {end}", final=end == "final")
            return [(spec, record if end else Record({**record.result, "status": "done"}, {}))]

    reported = {}
    run_all(specs, work, FakeCrew(), on_result=lambda spec, result: reported.update({spec: result}))
    assert [(spec.run, spec.compression) for spec in reported] == [
        (0, "loglearn"), (0, "logeps"), (1, "loglearn"), (1, "logeps"),
    ]  # fmt: skip
    assert {key: tries.count(key) for key in tries} == {
        (0, "loglearn"): 1, (0, "logeps"): 2, (1, "loglearn"): 2, (1, "logeps"): 1,
    }  # fmt: skip
    dead = read_result(work.settings.study_dir, specs[2])
    assert dead["status"] == "failed" and dead["error"] == "it dies"


def test_a_store_that_is_gone_is_named_by_every_run(work, tmp_path):
    work = dataclasses.replace(work("models=[timbre]"), store_folder=tmp_path / "gone")
    specs = plan_runs(work.settings)
    errors = []
    run_all(specs, work, Processes(work, workers=1), on_result=lambda _, result: errors.append(result["error"]))
    assert len(errors) == 2
    for error in errors:
        assert f"Mel store {tmp_path / 'gone'} is incomplete" in error and "`loglearn features`" in error


def test_a_full_disk_ends_the_study_and_keeps_what_was_finished(work, monkeypatch):
    work = work("models=[timbre]", "runs=2")
    specs = plan_runs(work.settings)
    real, written = results.write_bytes, []

    def full_after_the_first_run(path, content):
        if written and "predictions" in path.name:
            raise StorageError("Cannot write it: No space left on device.")
        real(path, content)

    monkeypatch.setattr(results, "write_bytes", full_after_the_first_run)
    with pytest.raises(StorageError, match="No space left"):
        run_all(specs, work, Processes(work, workers=1), on_result=lambda spec, _: written.append(spec))
    first, *others = (read_result(work.settings.study_dir, spec) for spec in specs)
    assert first["status"] == "done" and others == [None, None, None]
    assert not multiprocessing.active_children()
    monkeypatch.undo()
    run_all(specs[1:], work, Processes(work, workers=1), on_result=lambda spec, _: written.append(spec))
    assert written == specs
