"""Worker processes: one run's misfortune stays its own."""

import contextlib
import dataclasses
import importlib
import os
import queue
import signal
import sys

import pytest
from conftest import short_settings

from loglearn_tf._util.process import ENDED, Process
from loglearn_tf.errors import StorageError
from loglearn_tf.experiment import local
from loglearn_tf.experiment.local import LocalExecutor, run_all
from loglearn_tf.experiment.run import Record, Work, failure
from loglearn_tf.study import run_folder as results
from loglearn_tf.study.grid import plan_runs
from loglearn_tf.study.run_folder import read_result, read_runs


@pytest.fixture
def work(us8k, us8k_store, us8k_root, tmp_path):
    def make(*overrides: str) -> Work:
        return Work(short_settings(us8k_root, tmp_path, *overrides), us8k, us8k_store.folder)

    return make


# A worker that trains nothing, and loads no TensorFlow: what the driver does with it is the same.
PRETENDS = """
import time
from loglearn_tf.experiment.run import Record, failure

def serve(work, slot, receive, send):
    while True:
        record = failure(receive(), work, "")
        time.sleep(0.2)
        send(Record({**record.result, "status": "done", "accuracy": 0.5}, {**record.files, "predictions.csv": b"."}))
"""


@pytest.fixture(params=["pretends", pytest.param("trains", marks=pytest.mark.long)])
def serve(request, tmp_path, monkeypatch):
    """What worker processes do."""
    if request.param == "pretends":
        (tmp_path / "pretending_worker.py").write_text(PRETENDS)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(local, "_serve", importlib.import_module("pretending_worker").serve)
        yield
        del sys.modules["pretending_worker"]
    else:
        yield


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.usefixtures("serve")
def test_a_killed_worker_costs_one_try_and_no_run(work):
    work = work("models=[timbre]", "runs=3")
    specs = plan_runs(work.settings)
    finished, pids = [], set()
    executor = LocalExecutor(work, workers=2)

    def kill_once(spec, result):
        pids.update(executor.pids)
        finished.append((spec, result["status"]))
        if len(finished) == 1:
            os.kill(executor.pids[0], signal.SIGKILL)

    run_all(specs, work, executor, on_result=kill_once)
    assert sorted(finished, key=str) == sorted([(spec, "done") for spec in specs], key=str)
    assert len(read_runs(work.settings.study_dir)) == 6
    assert len(pids) > 1 and not any(map(is_there, pids))


def test_failures_are_tried_again_then_written(work):
    """With an executor that performs nothing: the order of events is the driver's alone."""
    work = work("models=[timbre]", "runs=2")
    specs = plan_runs(work.settings)
    tries: list[tuple[int, str]] = []
    ends = {(0, "loglearn"): "final", (0, "logeps"): "raises", (1, "loglearn"): "dies"}

    class FakeExecutor(contextlib.nullcontext):
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
    run_all(specs, work, FakeExecutor(), on_result=lambda spec, result: reported.update({spec: result}))
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
    run_all(specs, work, LocalExecutor(work, workers=1), on_result=lambda _, result: errors.append(result["error"]))
    assert len(errors) == 2
    for error in errors:
        assert f"Mel store {tmp_path / 'gone'} is incomplete" in error and "`loglearn features`" in error


@pytest.mark.usefixtures("serve")
def test_a_full_disk_ends_the_study_and_keeps_what_was_finished(work, monkeypatch):
    work = work("models=[timbre]", "runs=2")
    specs = plan_runs(work.settings)
    real, written = results.write_bytes, []

    def full_after_the_first_run(path, content):
        if written and "predictions" in path.name:
            raise StorageError("Cannot write it: No space left on device.")
        real(path, content)

    executor = LocalExecutor(work, workers=1)
    with monkeypatch.context() as patched, pytest.raises(StorageError, match="No space left"):
        patched.setattr(results, "write_bytes", full_after_the_first_run)
        run_all(specs, work, executor, on_result=lambda spec, _: written.append(spec))
    first, *others = (read_result(work.settings.study_dir, spec) for spec in specs)
    assert first["status"] == "done" and others == [None, None, None]
    assert not executor.pids
    run_all(specs[1:], work, LocalExecutor(work, workers=1), on_result=lambda spec, _: written.append(spec))
    assert written == specs


class FakeProcess:
    """A worker that a test makes finish its run; `slot` is what it was started with."""

    def __init__(self, job, inbox):
        _, self.slot = job.args
        self._inbox = inbox
        self.received, self.ended_at_once = [], None
        self.pid, self.exitcode = id(self), -9

    def send(self, spec):
        self.received.append(spec)

    def finish(self, record):
        self._inbox.put((self, record))

    def end(self, *, at_once=False):
        self.ended_at_once = at_once
        self._inbox.put((self, ENDED))


@pytest.fixture
def fakes(work, monkeypatch):
    """An executor of two fakes that are replaced after two runs; the fakes, as they start; runs to do."""
    monkeypatch.setattr(local, "RUNS_PER_WORKER", 2)
    work, started = work("models=[timbre]", "runs=5"), []

    def start(*arguments):
        started.append(FakeProcess(*arguments))
        return started[-1]

    return LocalExecutor(work, workers=2, start_process=start), started, plan_runs(work.settings)


def test_a_worker_that_replaces_another_takes_its_gpu(fakes):
    """With 2 GPUs and the second worker replaced first: numbers of all that ever started would put both on GPU 0."""
    executor, started, specs = fakes
    executor.start(specs[0])
    executor.start(specs[1])
    assert [process.slot for process in started] == [0, 1] and not executor.has_room()
    for spec in specs[2:4]:  # the first is still at its first run
        started[1].finish("record")
        assert executor.finished() == [(started[1].received[-1], "record")] and executor.has_room()
        executor.start(spec)
    first, second, third = started
    assert second.ended_at_once is False and first.ended_at_once is None
    assert [spec.run for spec in third.received] == [specs[3].run]
    assert {process.slot % 2 for process in (first, third)} == {0, 1}
    # The second's end, told late, is taken for nobody else's.
    third.finish("last")
    assert executor.finished() == [(specs[3], "last")]


def test_slots_are_those_of_workers_that_are_there(fakes):
    executor, started, specs = fakes
    for spec in specs[:2]:
        executor.start(spec)
    started[0].finish(ENDED)
    ((spec, record),) = executor.finished()
    assert spec == specs[0] and "died (exit code -9)" in record.result["error"]
    executor.start(specs[2])
    assert [process.slot for process in started] == [0, 1, 0]
    with executor:
        pass
    assert [process.ended_at_once for process in started[1:]] == [True, True] and not executor.pids


def test_an_idle_worker_that_dies_costs_no_try(fakes):
    executor, started, specs = fakes
    for spec in specs[:2]:
        executor.start(spec)
    started[0].finish("record")
    assert executor.finished() == [(specs[0], "record")]
    started[0].finish(ENDED)
    started[1].finish("other")
    assert executor.finished() == [(specs[1], "other")]
    executor.start(specs[2])
    executor.start(specs[3])
    assert [process.slot for process in started] == [0, 1, 0]


HANGS = """
import time

def hang(receive, send):
    receive()
    time.sleep(600)
"""


def test_a_run_that_hangs_is_ended_and_recorded(work, tmp_path, monkeypatch):
    (tmp_path / "hanging_worker.py").write_text(HANGS)
    monkeypatch.syspath_prepend(tmp_path)
    from hanging_worker import hang

    work = work("models=[timbre]", "run_timeout_s=0.5")
    specs, pids, errors = plan_runs(work.settings), [], []

    def start(job, inbox: queue.SimpleQueue) -> Process:
        pids.append((process := Process(hang, inbox)).pid)
        return process

    executor = LocalExecutor(work, workers=2, start_process=start)
    run_all(specs, work, executor, on_result=lambda spec, result: errors.append(result["error"]))
    assert len(errors) == len(specs) == 2 == len(pids)  # tried once: another try would take as long
    for error in errors:
        assert error.startswith("The run took longer than `run_timeout_s=0.5` seconds and was stopped.")
    assert not any(map(is_there, pids))
    assert [row["status"] for row in read_runs(work.settings.study_dir)] == ["failed", "failed"]
    del sys.modules["hanging_worker"]


def test_without_a_limit_nothing_is_ended(fakes, monkeypatch):
    executor, started, specs = fakes
    executor.start(specs[0])
    monkeypatch.setattr(local.time, "monotonic", lambda: 1e15)
    started[0].finish("record")
    assert executor.finished() == [(specs[0], "record")]
