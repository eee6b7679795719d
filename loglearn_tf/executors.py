"""Runs to local worker processes; whatever happens to one run, the others go on."""

import multiprocessing
import os
import platform
import signal
import subprocess
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import yaml

from loglearn_tf.config import Settings
from loglearn_tf.datasets.clips import DataSet
from loglearn_tf.files import write_text
from loglearn_tf.results import new_run_folder, read_result, write_csv, write_result
from loglearn_tf.study import RunSpec, run_identity

# Training many models in one process leaks 5-10 MB each.
_RUNS_PER_WORKER = 50
# A run whose worker died (out of memory, killed) or raised is tried once more, then recorded.
_ATTEMPTS = 2


@dataclass(frozen=True)
class Work:
    """What a worker needs beside the run; the same for all runs of a study.

    Attributes:
        settings: The study's.
        dataset: Its clips.
        store_folder: Of the complete mel store.
        versions: See `describe_software`.
    """

    settings: Settings
    dataset: DataSet
    store_folder: Path
    versions: dict[str, str | None]


def run_all(
    specs: Sequence[RunSpec], work: Work, *, workers: int, on_result: Callable[[RunSpec, dict[str, Any]], None]
) -> None:
    """Performs runs side by side in spawned processes, one thread each, in the order given.

    Two runs side by side with one thread each beat one run with two threads.

    Args:
        specs: Runs to do.
        work: What they share.
        workers: Number of processes.
        on_result: Called with each run's `result.json` once it is on disk, failed runs included.
    """
    pending = deque((spec, 1) for spec in specs)
    pool: list[_Worker] = []
    try:
        while pending or any(worker.task for worker in pool):
            for worker in [worker for worker in pool if worker.task is None and worker.n_done >= _RUNS_PER_WORKER]:
                worker.dismiss()
                pool.remove(worker)
            while len(pool) < workers and pending and all(worker.task for worker in pool):
                pool.append(_Worker(work))
            for worker in pool:
                if worker.task is None and pending:
                    worker.assign(pending.popleft())
            for connection in wait([worker.connection for worker in pool if worker.task]):
                worker = next(worker for worker in pool if worker.connection is connection)
                assert worker.task is not None
                (spec, attempt), result = worker.task, worker.collect()
                if result is None:
                    pool.remove(worker)
                    result = _failure(
                        spec, work, f"The worker process died (exit code {worker.process.exitcode}); out of memory?"
                    )
                if result["status"] == "failed" and not result["final"] and attempt < _ATTEMPTS:
                    pending.appendleft((spec, attempt + 1))
                    continue
                if result["status"] == "failed":
                    with new_run_folder(work.settings.study_dir, spec) as folder:
                        _write_settings(folder, work)
                        write_result(folder, result)
                on_result(spec, result)
    finally:
        for worker in pool:
            if worker.task is None:
                worker.dismiss()
            else:
                worker.process.kill()
        for worker in pool:
            worker.process.join()


class _Worker:
    """A process that performs one run at a time."""

    def __init__(self, work: Work) -> None:
        # Spawned, not forked: TensorFlow does not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()  # so that the death of the process is seen as the end of the pipe
        self.task: tuple[RunSpec, int] | None = None
        self.n_done = 0

    def assign(self, task: tuple[RunSpec, int]) -> None:
        self.task = task
        try:
            self.connection.send(task[0])
        except OSError:
            pass  # it died while idle; `collect` finds out

    def collect(self) -> dict[str, Any] | None:
        """The result of the run, or `None` if the process died."""
        self.task = None
        self.n_done += 1
        try:
            result: dict[str, Any] = self.connection.recv()
            return result
        except (EOFError, OSError):
            self.process.join()
            return None

    def dismiss(self) -> None:
        self.connection.close()  # its `recv` ends, and with it the process


def _serve(connection: Connection, work: Work, parent: int) -> None:
    """Body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver ends the workers
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    from loglearn_tf.tensorflow_runtime import tensorflow

    tensorflow()
    while True:
        try:
            spec = connection.recv()
        except EOFError:
            return
        connection.send(perform(spec, work))


def _die_with(parent: int) -> None:
    """Ends the process soon after its parent, also when that was killed: nobody would use its results."""
    while os.getppid() == parent:
        time.sleep(0.3)
    os._exit(1)


def perform(spec: RunSpec, work: Work) -> dict[str, Any]:
    """Does one run and writes its folder; a run that fails is described, not raised.

    Returns:
        The content of `result.json`; `final` tells that another try would fail the same way.
    """
    from loglearn_tf import episodic, training
    from loglearn_tf.callbacks import NonFiniteError
    from loglearn_tf.features import MelStore

    settings, dataset = work.settings, work.dataset
    train_run = episodic.train_run if spec.model == "prototypical" else training.train_run
    try:
        outcome = train_run(spec, settings, dataset, MelStore(work.store_folder))
        result = {
            **_common(spec, work),
            "status": "done",
            "accuracy": outcome.accuracy,
            **outcome.compression,
            "train_seconds": round(outcome.train_seconds, 3),
            "eval_seconds": round(outcome.eval_seconds, 3),
        }
        names = dataset.classes
        predictions = [
            {
                "clip_id": clip.clip_id,
                "class": names[clip.label],
                "predicted": names[row.argmax()],
                **{f"p_{name}": f"{p:.7f}" for name, p in zip(names, row, strict=True)},
            }
            for clip, row in zip(outcome.clips, outcome.probabilities, strict=True)
        ]
        with new_run_folder(settings.study_dir, spec) as folder:
            _write_settings(folder, work)
            write_csv(folder / "history.csv", tuple(outcome.history[0]), outcome.history)
            write_csv(folder / "predictions.csv", tuple(predictions[0]), predictions)
            if settings.save_models:
                outcome.model.save(folder / "model.keras")
            write_result(folder, result)
    except NonFiniteError as error:
        return _failure(spec, work, str(error), final=True)
    except Exception:
        return _failure(spec, work, traceback.format_exc())
    # Where another process finished the same run first, its result stands.
    return read_result(settings.study_dir, spec) or result


def describe_software() -> dict[str, str | None]:
    """Versions and the git commit that results are recorded with."""
    packages = ("loglearn_tf", "tensorflow", "tensorflow-io", "keras", "librosa", "numpy", "soundfile", "soxr")
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {**versions, "git_commit": _git_commit()}


def _git_commit() -> str | None:
    """Of the package's source; `None` outside a checkout. A `+` marks uncommitted changes."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        changes = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")


def _common(spec: RunSpec, work: Work) -> dict[str, Any]:
    return {
        "dataset": spec.dataset,
        "model": spec.model,
        "compression": spec.compression,
        "n_shot": spec.n_shot,
        "fold": spec.fold,
        "run": spec.run,
        "seed": spec.seed,
        "weights_seed": spec.seed_for("weights"),
        "patches_seed": spec.seed_for("patches"),
        "synthetic": work.dataset.synthetic,
        "missing_clips": len(work.dataset.missing),
        "identity": run_identity(work.settings, work.dataset),
        "versions": work.versions,
        "host": platform.node(),
    }


def _failure(spec: RunSpec, work: Work, error: str, *, final: bool = False) -> dict[str, Any]:
    nothing = dict.fromkeys(("accuracy", "alpha", "beta", "knee", "train_seconds", "eval_seconds"))
    return {**_common(spec, work), **nothing, "status": "failed", "final": final, "error": error}


def _write_settings(folder: Path, work: Work) -> None:
    resolved = {**work.settings.dump(), "versions": work.versions}
    write_text(folder / "config.yaml", yaml.safe_dump(resolved, sort_keys=False))
