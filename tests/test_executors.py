"""Worker processes: one run's misfortune stays its own."""

import multiprocessing
import os
import signal

import pytest
from conftest import short_settings

from loglearn_tf import executors, training
from loglearn_tf.callbacks import NonFiniteError
from loglearn_tf.executors import Work, describe_software, perform, run_all
from loglearn_tf.results import is_done, read_result, read_runs
from loglearn_tf.study import plan_runs


@pytest.fixture
def work(us8k, us8k_store, us8k_root, tmp_path):
    def make(*overrides: str) -> Work:
        settings = short_settings(us8k_root, tmp_path, *overrides)
        return Work(settings, us8k, us8k_store.folder, {"python": "3"})

    return make


def test_a_killed_worker_costs_one_try_and_no_run(work):
    work = work("models=[timbre]", "runs=3")
    specs = plan_runs(work.settings)
    finished = []

    def kill_once(spec, result):
        finished.append((spec, result["status"]))
        if len(finished) == 1:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    run_all(specs, work, workers=2, on_result=kill_once)
    assert sorted(finished, key=str) == sorted([(spec, "done") for spec in specs], key=str)
    assert len(read_runs(work.settings.study_dir)) == 6
    assert not multiprocessing.active_children()


def test_a_run_that_fails_is_recorded_and_leaves_the_others_alone(work, monkeypatch):
    work = work("models=[timbre]")
    bad, good = plan_runs(work.settings)
    train_run = training.train_run

    def fail_for_bad(spec, *rest):
        if spec == bad:
            raise MemoryError("no more")
        return train_run(spec, *rest)

    monkeypatch.setattr(training, "train_run", fail_for_bad)
    failed, done = perform(bad, work), perform(good, work)
    assert (failed["status"], failed["final"], failed["accuracy"]) == ("failed", False, None)
    assert "Traceback" in failed["error"] and "MemoryError: no more" in failed["error"]
    assert done["status"] == "done" and is_done(work.settings.study_dir, good)
    assert not is_done(work.settings.study_dir, bad)


def test_a_non_finite_run_is_final(work, monkeypatch):
    work = work("models=[timbre]")

    def diverge(*_):
        raise NonFiniteError("loss is nan at step 3. Lower `training.learning_rate`.")

    monkeypatch.setattr(training, "train_run", diverge)
    result = perform(plan_runs(work.settings)[0], work)
    assert result["final"] and result["error"].startswith("loss is nan at step 3")


def test_failures_are_tried_again_then_written(work, monkeypatch):
    """With workers that are no processes: the order of events is the driver's alone."""
    work = work("models=[timbre]", "runs=2")
    specs = plan_runs(work.settings)
    tries: list[tuple[int, str]] = []

    class FakeWorker:
        def __init__(self, work):
            self.task, self.n_done, self.process = None, 0, self
            self.exitcode = -9
            self.connection, self._other = multiprocessing.Pipe()

        def assign(self, task):
            self.task = task
            self._other.send("ready")

        def collect(self):
            (spec, _), self.task = self.task, None
            self.connection.recv()
            tries.append((spec.run, spec.compression))
            kind = {(0, "loglearn"): "final", (0, "logeps"): "raises", (1, "loglearn"): "dies"}.get(tries[-1], "done")
            if kind == "dies":
                return None
            failure = executors._failure(spec, work_of_all, kind, final=kind == "final")
            return {**failure, "status": "done"} if kind == "done" else failure

        def dismiss(self):
            pass

        join = kill = dismiss

    work_of_all = work
    monkeypatch.setattr(executors, "_Worker", FakeWorker)
    reported = {}
    run_all(specs, work, workers=1, on_result=lambda spec, result: reported.update({spec: result}))
    assert [(spec.run, spec.compression) for spec in reported] == [
        (0, "loglearn"), (0, "logeps"), (1, "loglearn"), (1, "logeps"),
    ]  # fmt: skip
    assert {key: tries.count(key) for key in tries} == {
        (0, "loglearn"): 1, (0, "logeps"): 2, (1, "loglearn"): 2, (1, "logeps"): 1,
    }  # fmt: skip
    dead = read_result(work.settings.study_dir, specs[2])
    assert dead["status"] == "failed" and "died (exit code -9)" in dead["error"]


def test_results_say_what_made_them():
    software = describe_software()
    assert {"python", "loglearn_tf", "tensorflow", "keras", "numpy", "soxr", "git_commit"} <= set(software)
    assert software["tensorflow"] and software["keras"]
