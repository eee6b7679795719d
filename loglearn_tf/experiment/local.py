"""Runs to workers; whatever happens to one run, the others go on."""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from loglearn_tf._util.tensorflow_runtime import tensorflow
from loglearn_tf.errors import DataError
from loglearn_tf.experiment.run import RUNS_PER_WORKER, Record, Work, Worker, failure
from loglearn_tf.study.grid import RunSpec
from loglearn_tf.study.run_folder import write_run

# A run whose worker died (out of memory, killed) or raised is tried once more, then recorded.
_ATTEMPTS = 2

Finished = tuple[RunSpec, Record]


class Crew(AbstractContextManager["Crew"], Protocol):
    """Workers, wherever they are; leaving the block ends them, busy or not."""

    def has_room(self) -> bool:
        """Whether another run could start now."""

    def start(self, spec: RunSpec) -> None:
        """Gives a run to a worker."""

    def finished(self) -> list[Finished]:
        """Waits until a run ends, somehow, and returns those that did. A run that was lost with its worker is
        recorded as failed."""


def run_all(
    specs: Sequence[RunSpec], work: Work, crew: Crew, *, on_result: Callable[[RunSpec, dict[str, Any]], None]
) -> None:
    """Performs runs in the order given, as many at a time as the crew has room for, and writes their folders.

    Workers send what their runs leave; only this process writes to the study's folder.

    Args:
        specs: Runs to do.
        work: What they share.
        crew: Does them.
        on_result: Called with each run's `result.json` once it is on disk, failed runs included.

    Raises:
        StorageError: If a run folder cannot be written. What was written before stays.
    """
    pending, busy = deque(specs), 0
    attempts: dict[RunSpec, int] = dict.fromkeys(specs, 0)
    with crew:
        while pending or busy:
            while pending and crew.has_room():
                spec = pending.popleft()
                attempts[spec] += 1
                busy += 1
                crew.start(spec)
            for spec, record in crew.finished():
                busy -= 1
                result = record.result
                if result["status"] == "failed" and not result["final"] and attempts[spec] < _ATTEMPTS:
                    pending.appendleft(spec)
                    continue
                on_result(spec, write_run(work.settings.study_dir, spec, record.files, result))


class Processes:
    """A crew of spawned processes on this machine.

    Args:
        work: What the runs share.
        workers: Number of processes. They start as they are needed.
    """

    def __init__(self, work: Work, workers: int) -> None:
        self._work = work
        self._workers = workers
        self._pool: list[_Process] = []
        self._n_started = 0

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._pool:
            process.end()
        for process in self._pool:
            process.join()

    def has_room(self) -> bool:
        return sum(process.spec is not None for process in self._pool) < self._workers

    def start(self, spec: RunSpec) -> None:
        for process in [one for one in self._pool if one.spec is None and one.n_done >= RUNS_PER_WORKER]:
            process.end()
            self._pool.remove(process)
        idle = next((process for process in self._pool if process.spec is None), None)
        if idle is None:
            idle = _Process(self._work, self._n_started)
            self._n_started += 1
            self._pool.append(idle)
        idle.assign(spec)

    def finished(self) -> list[Finished]:
        busy = {process.connection: process for process in self._pool if process.spec is not None}
        ended = []
        for connection in wait(list(busy)):
            process = busy[connection]  # type: ignore[index]
            spec, record = process.collect()
            if record is None:
                self._pool.remove(process)
                died = f"The worker process died (exit code {process.exitcode}); out of memory?"
                record = failure(spec, self._work, died)
            ended.append((spec, record))
        return ended


class _Process:
    """A process that performs one run at a time."""

    def __init__(self, work: Work, number: int) -> None:
        # Spawned, not forked: TensorFlow does not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, work, number, os.getpid()), daemon=True)
        # Ctrl-C reaches the whole process group, and the driver ends its workers itself. They inherit that they are to
        # ignore it, so that it does not matter how far a worker has started.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        theirs.close()  # so that the death of the process is seen as the end of the pipe
        self.spec: RunSpec | None = None
        self.n_done = 0

    @property
    def exitcode(self) -> int | None:
        return self._process.exitcode

    def assign(self, spec: RunSpec) -> None:
        self.spec = spec
        try:
            self.connection.send(spec)
        except OSError:
            pass  # it died while idle; `collect` finds out

    def collect(self) -> tuple[RunSpec, Record | None]:
        """The run, and its record, or `None` if the process died."""
        assert self.spec is not None
        spec, self.spec = self.spec, None
        self.n_done += 1
        try:
            return spec, self.connection.recv()
        except (EOFError, OSError):
            self.join()
            return spec, None

    def end(self) -> None:
        if self.spec is None:
            self.connection.close()  # its `recv` ends, and with it the process
        else:
            self._process.kill()

    def join(self) -> None:
        self._process.join()


def _serve(connection: Connection, work: Work, number: int, parent: int) -> None:
    """Body of a worker process."""
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    tensorflow(threads=work.settings.threads, gpu=number)
    worker: Worker | DataError
    try:
        worker = Worker(work)
    except DataError as error:
        worker = error  # its runs fail, and say why, which an exit code would not
    while True:
        try:
            spec = connection.recv()
        except EOFError:
            # The driver has written all that this process found. TensorFlow would take a second and more to be taken
            # apart, and the study would wait for it.
            os._exit(0)
        record = failure(spec, work, str(worker)) if isinstance(worker, DataError) else worker.perform(spec)
        connection.send(record)


def _die_with(parent: int) -> None:
    """Ends the process soon after its parent, also when that was killed: nobody would use its results."""
    while os.getppid() == parent:
        time.sleep(0.3)
    os._exit(1)
