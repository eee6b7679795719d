"""Runs to workers; whatever happens to one run, the others go on."""

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

# A run whose worker died (out of memory, killed) or raised is tried once more, then recorded.
_ATTEMPTS = 2
_LONGEST_WAIT_S = 3600.0  # at a time: queues refuse far longer ones

Finished = tuple[RunSpec, Record]


class Executor(AbstractContextManager["Executor"], Protocol):
    """Workers, wherever they are; leaving the block ends them, busy or not."""

    def has_room(self) -> bool:
        """Whether another run could start now."""

    def start(self, spec: RunSpec) -> None:
        """Gives a run to a worker."""

    def finished(self) -> list[Finished]:
        """Waits until a run ends, somehow, and returns those that did. A run that was lost with its worker, or took
        longer than `run_timeout_s`, is recorded as failed."""


def run_all(
    specs: Sequence[RunSpec], work: Work, executor: Executor, *, on_result: Callable[[RunSpec, dict[str, Any]], None]
) -> None:
    """Performs runs in the order given, as many at a time as the executor has room for, and writes their folders.

    Workers send what their runs leave; only this process writes to the study's folder.

    Args:
        specs: Runs to do.
        work: What they share.
        executor: Does them.
        on_result: Called with each run's `result.json` once it is on disk, failed runs included.

    Raises:
        StorageError: If a run folder cannot be written. What was written before stays.
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
    """What a worker process is doing, and has done.

    Attributes:
        slot: Its number among those that work at the same time, from 0: it decides on the GPU.
        spec: Its run; `None` while it is idle.
        deadline: When the run has taken too long, by `time.monotonic`.
        n_done: Runs before.
    """

    slot: int
    spec: RunSpec | None = None
    deadline: float = inf
    n_done: int = 0


class LocalExecutor:
    """An executor of processes on this machine.

    Args:
        work: What the runs share.
        workers: Number of processes. They start as they are needed, and are replaced after some runs.
        start_process: For tests: starts a process, as `Process` does.
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
        """Of the processes that are there now."""
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
                continue  # the last word of one that was removed
            spec, worker.spec, worker.deadline = worker.spec, None, inf
            worker.n_done += 1
            if message is ENDED:
                self._remove(process)
                died = f"The worker process died (exit code {process.exitcode}); out of memory?"
                message = None if spec is None else failure(spec, self._work, died)
            if spec is not None:
                return [(spec, message)]

    def _add(self) -> Process:
        # The lowest that is free: numbers of all processes ever started would put two of one GPU side by side, once
        # they are replaced in another order.
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
    """The job of a worker process."""
    tensorflow(threads=work.settings.threads, gpu=slot)
    worker: Worker | LoglearnError
    try:
        worker = Worker(work)
    except LoglearnError as error:
        worker = error  # its runs fail, and say why, which an exit code would not
    while True:
        spec = receive()
        send(failure(spec, work, str(worker)) if isinstance(worker, LoglearnError) else worker.perform(spec))
