"""Distributes runs to workers; a failed run does not stop the others."""

import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Protocol

from loglearn_tf._util.process import ENDED, Inbox, Process
from loglearn_tf._util.tensorflow_runtime import tensorflow
from loglearn_tf.errors import LoglearnError
from loglearn_tf.experiment.run import RUNS_PER_WORKER, Record, Work, Worker, failure, overtime
from loglearn_tf.study.grid import RunSpec
from loglearn_tf.study.run_folder import write_run

# A run that raised, or whose worker died (out of memory, killed), is retried once, then recorded as failed.
_ATTEMPTS = 2
_LONGEST_WAIT_S = 3600.0  # per wait: queues refuse much longer timeouts

Finished = tuple[RunSpec, Record]


class Executor(AbstractContextManager["Executor"], Protocol):
    """Local or remote workers; leaving the block ends them, even busy ones."""

    def has_room(self) -> bool:
        """Whether another run can start now."""

    def start(self, spec: RunSpec) -> None:
        """Gives a run to a worker."""

    def finished(self) -> list[Finished]:
        """Waits until at least one run ends, in whatever way, and returns the ended ones. A run that took longer than
        `run_timeout_s`, or was lost with its worker, is recorded as failed."""


def run_all(
    specs: Sequence[RunSpec], work: Work, executor: Executor, *, on_result: Callable[[RunSpec, dict[str, Any]], None]
) -> None:
    """Executes runs in the given order, as many at a time as the executor has room for, and writes their folders.

    Workers return their results; only this process writes to the study's folder.

    Args:
        specs: Runs to execute.
        work: What the runs share.
        executor: Executes them.
        on_result: Called with each run's `result.json` once it is on disk, failed runs included.

    Raises:
        StorageError: If a run folder cannot be written. Earlier results are kept.
    """
    pending, busy = deque(specs), 0
    attempts: dict[RunSpec, int] = dict.fromkeys(specs, 0)
    with executor:
        while pending or busy:
            while pending and executor.has_room():
                spec = pending.popleft()
                attempts[spec] += 1
                busy += 1
                executor.start(spec)
            for spec, record in executor.finished():
                busy -= 1
                result = record.result
                if result["status"] == "failed" and not result["final"] and attempts[spec] < _ATTEMPTS:
                    pending.appendleft(spec)
                    continue
                on_result(spec, write_run(work.settings.study_dir, spec, record.files, result))


@dataclass
class _Busy:
    """The state of a worker process.

    Attributes:
        slot: Its index among the concurrent workers, from 0, which determines its GPU.
        spec: Its run; `None` if idle.
        deadline: Time limit of the run, by `time.monotonic`.
        n_done: Number of earlier runs.
    """

    slot: int
    spec: RunSpec | None = None
    deadline: float = inf
    n_done: int = 0


class LocalExecutor:
    """An executor of processes on this machine.

    Args:
        work: What the runs share.
        workers: Number of processes. They are started when needed and replaced after a number of runs.
        start_process: For tests: starts a process, like `Process`.
    """

    def __init__(self, work: Work, workers: int, *, start_process: Callable[..., Process] = Process) -> None:
        self._work = work
        self._workers = workers
        self._start_process = start_process
        self._inbox: Inbox = queue.SimpleQueue()
        self._pool: dict[Process, _Busy] = {}

    def __enter__(self) -> "LocalExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        for process in list(self._pool):
            self._remove(process)

    @property
    def pids(self) -> list[int]:
        """Process ids of the current workers."""
        return [process.pid for process in self._pool]

    def has_room(self) -> bool:
        return sum(worker.spec is not None for worker in self._pool.values()) < self._workers

    def start(self, spec: RunSpec) -> None:
        idle = [process for process, worker in self._pool.items() if worker.spec is None]
        worn = [process for process in idle if self._pool[process].n_done >= RUNS_PER_WORKER]
        for process in worn:
            self._remove(process)
        process = next((one for one in idle if one not in worn), None) or self._add()
        worker = self._pool[process]
        worker.spec = spec
        worker.deadline = time.monotonic() + (self._work.settings.run_timeout_s or inf)
        process.send(spec)

    def finished(self) -> list[Finished]:
        while True:
            left_s = min(worker.deadline for worker in self._pool.values()) - time.monotonic()
            try:
                process, message = self._inbox.get(timeout=max(0.0, min(left_s, _LONGEST_WAIT_S)))
            except queue.Empty:
                if ended := self._end_overdue():
                    return ended
                continue
            worker = self._pool.get(process)
            if worker is None:
                continue  # a late message from a removed worker
            spec, worker.spec, worker.deadline = worker.spec, None, inf
            worker.n_done += 1
            if message is ENDED:
                self._remove(process)
                died = f"The worker process died (exit code {process.exitcode}); out of memory?"
                message = None if spec is None else failure(spec, self._work, died)
            if spec is not None:
                return [(spec, message)]

    def _add(self) -> Process:
        # The lowest free slot: counting all processes ever started could put two on one GPU after they are replaced in
        # another order.
        slot = min(set(range(self._workers)) - {worker.slot for worker in self._pool.values()})
        process = self._start_process(partial(_serve, self._work, slot), self._inbox)
        self._pool[process] = _Busy(slot)
        return process

    def _remove(self, process: Process) -> None:
        process.end(at_once=self._pool.pop(process).spec is not None)

    def _end_overdue(self) -> list[Finished]:
        now, ended = time.monotonic(), []
        for process, worker in list(self._pool.items()):
            if worker.spec is not None and worker.deadline <= now:
                self._remove(process)
                ended.append((worker.spec, overtime(worker.spec, self._work)))
        return ended


def _serve(work: Work, slot: int, receive: Callable[[], RunSpec], send: Callable[[Record], None]) -> None:
    """The main loop of a worker process."""
    tensorflow(threads=work.settings.threads, gpu=slot)
    worker: Worker | LoglearnError
    try:
        worker = Worker(work)
    except LoglearnError as error:
        worker = error  # its runs then fail with this error, which an exit code would not show
    while True:
        spec = receive()
        send(failure(spec, work, str(worker)) if isinstance(worker, LoglearnError) else worker.perform(spec))
