"""Distributes runs to an existing Ray cluster; Ray chooses the nodes and repeats runs whose node died."""

import functools
import hashlib
import logging
import os
import platform
import socket
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from loglearn_tf._util.files import write_bytes
from loglearn_tf._util.tensorflow_runtime import be_quiet, tensorflow
from loglearn_tf.errors import ClusterError, DataError
from loglearn_tf.experiment.local import Finished
from loglearn_tf.experiment.run import RUNS_PER_WORKER, Record, Work, Worker, describe_software, failure, overtime
from loglearn_tf.study.grid import RunSpec
from loglearn_tf.study.settings import RaySettings

# How often Ray restarts a run whose node or process died; this does not count as a retry of the run.
_RETRIES_OF_RAY = 3
_CONNECT_S = 5.0
# How often the driver checks for runs that take too long.
_ASK_S = 5.0
# What must be the same on every node, so that runs are comparable.
_SAME = ("tensorflow", "keras", "numpy")
_PACKAGE = Path(__file__).parents[1]


class RayExecutor:
    """An executor of Ray tasks: `with RayExecutor(work, settings) as executor`.

    Nodes need this package and the same Python. They return the results of runs; only the driver writes to the study's
    folder. The mel store must be on shared storage, or is sent once to every node that gets runs.

    Args:
        work: What the runs share.
        settings: `ray` of the study's settings.

    Raises:
        ClusterError: On entering: if Ray is not installed, there is no cluster at the address, or none of its nodes
            has the CPUs and GPUs that a run needs.
    """

    def __init__(self, work: Work, settings: RaySettings) -> None:
        self._work = work
        self._settings = settings
        # Reference to a task's future result -> task number and run.
        self._tasks: dict[Any, tuple[int, RunSpec]] = {}
        self._n_started = 0
        self._clock: Any = None
        self._asked = 0.0

    def __enter__(self) -> "RayExecutor":
        self._ray = _connect(self._settings.address)
        try:
            self._check_resources()
            self._task = self._ray.remote(
                num_cpus=self._settings.cpus,
                num_gpus=self._settings.gpus,
                max_calls=RUNS_PER_WORKER,
                max_retries=_RETRIES_OF_RAY,
            )(_perform)
            # Stored once; Ray transfers it to a node when the first run there needs it.
            self._shared = self._ray.put((uuid.uuid4().hex, same_software(), self._work))
            if self._work.settings.run_timeout_s is not None:
                self._clock = self._start_clock()
            self._files = self._put_store() if self._settings.ship_store else None
        except BaseException:
            self._ray.shutdown()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for reference in self._tasks:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()

    def has_room(self) -> bool:
        # Twice the number of concurrent runs: no slot waits for the driver, and late runs can go to new nodes.
        return len(self._tasks) < 2 * self._slots()

    def start(self, spec: RunSpec) -> None:
        self._n_started += 1
        reference = self._task.remote(spec, self._n_started, self._shared, self._files, self._clock)
        self._tasks[reference] = self._n_started, spec

    def finished(self) -> list[Finished]:
        ended: list[Finished] = []
        try:
            while not ended:
                ready, _ = self._ray.wait(list(self._tasks), timeout=None if self._clock is None else _ASK_S)
                ended = [*map(self._collect, ready), *self._end_overdue()]
        except self._ray.exceptions.RayError as error:
            raise ClusterError(
                f"The Ray cluster at {self._settings.address} was lost: {error}. Finished work is kept; rerun the "
                "command to resume, with or without `ray`."
            ) from error
        return ended

    def _collect(self, reference: Any) -> Finished:
        _, spec = self._tasks.pop(reference)
        try:
            record: Record = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            record = failure(spec, self._work, f"Ray gave up on this run: {error}")
        return spec, record

    def _end_overdue(self) -> list[Finished]:
        """Ends runs that take too long, not counting time spent waiting in the cluster."""
        if self._clock is None or time.monotonic() - self._asked < _ASK_S:
            return []
        self._asked = time.monotonic()
        overdue = set(self._ray.get(self._clock.overdue.remote(self._work.settings.run_timeout_s)))
        found = [reference for reference, (number, _) in self._tasks.items() if number in overdue]
        for reference in found:
            self._ray.cancel(reference, force=True)
        return [(spec, overtime(spec, self._work)) for _, spec in map(self._tasks.pop, found)]

    def _start_clock(self) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # On the driver's node, so that it lives as long as the driver.
        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        return self._ray.remote(num_cpus=0, scheduling_strategy=here)(Clock).remote()

    def _slots(self) -> int:
        total = self._ray.cluster_resources()
        slots = [total.get("CPU", 0) / self._settings.cpus]
        if self._settings.gpus:
            slots.append(total.get("GPU", 0) / self._settings.gpus)
        return max(1, int(min(slots)))

    def _check_resources(self) -> None:
        wanted = {"CPU": self._settings.cpus, "GPU": self._settings.gpus}
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(all(node.get(kind, 0) >= n for kind, n in wanted.items()) for node in nodes):
            largest = {kind: max((node.get(kind, 0) for node in nodes), default=0) for kind in wanted}
            raise ClusterError(
                f"A run needs ray.cpus={wanted['CPU']:g} and ray.gpus={wanted['GPU']:g}, but no node of the Ray "
                f"cluster at {self._settings.address} has that many; the largest have {largest['CPU']:g} CPUs and "
                f"{largest['GPU']:g} GPUs. Reduce them or add nodes."
            )

    def _put_store(self) -> dict[str, Any]:
        """File name -> reference to its bytes."""
        paths = [path for path in self._work.store_folder.iterdir() if path.suffix in (".npy", ".json")]
        return {path.name: self._ray.put(path.read_bytes()) for path in sorted(paths)}


def check_address(address: str) -> None:
    """Raises a `ClusterError` if nothing answers at an address; does not join the cluster."""
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise ClusterError(
            f"`ray={address}` needs Ray, which is not installed: {error}. Install loglearn_tf[cluster]."
        ) from error
    host, colon, port = address.rpartition(":")
    if colon:
        # Ray itself would retry for minutes.
        try:
            socket.create_connection((host, int(port)), _CONNECT_S).close()
        except (OSError, UnicodeError) as error:  # UnicodeError: an impossible host name
            raise ClusterError(f"No Ray cluster answers at `ray={address}`: {error}. {_HOW}") from error


def _connect(address: str) -> Any:
    check_address(address)
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"Cannot join the Ray cluster at `ray={address}`: {error}. {_HOW}") from error
    return ray


_HOW = "Start one with `ray start --head`, or omit `ray` to use only this machine."


class Clock:
    """An actor that records the start times of tasks, with one clock for all nodes."""

    def __init__(self) -> None:
        self._began: dict[int, float] = {}

    def begin(self, task: int) -> None:
        """Records that a task has started, or restarted after its node died."""
        self._began[task] = time.monotonic()

    def overdue(self, limit_s: float) -> list[int]:
        """Tasks that started too long ago, each reported once; only the driver knows which have ended."""
        found = [task for task, began in self._began.items() if time.monotonic() - began > limit_s]
        for task in found:
            del self._began[task]
        return found


@functools.cache
def same_software() -> dict[str, str | None]:
    """What must be identical on nodes and driver: the source of this package, and the libraries that affect
    results."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    versions = describe_software()
    return {"the source of loglearn_tf": digest.hexdigest()[:12], **{name: versions[name] for name in _SAME}}


def _difference(own: Mapping[str, str | None], drivers: Mapping[str, str | None]) -> str:
    """The differences between a node and the driver, in words, or empty."""
    differ = [name for name in drivers if own.get(name) != drivers[name]]
    here, there = (", ".join(f"{name} {one.get(name)}" for name in differ) for one in (own, drivers))
    return f"has {here}; the driver has {there}. Install the same on both." if differ else ""


# The worker of the study that this process on a node served last.
_worker: tuple[str, Worker] | None = None


def _perform(
    spec: RunSpec,
    number: int,
    shared: tuple[str, Mapping[str, str | None], Work],
    files: Mapping[str, Any] | None,
    clock: Any,
) -> Record:
    """Body of a Ray task."""
    global _worker
    study, software, work = shared
    node = f"Node {platform.node()}"
    if clock is not None:
        clock.begin.remote(number)
    if _worker is None or _worker[0] != study:
        if difference := _difference(same_software(), software):
            return failure(spec, work, f"{node} {difference}")
        be_quiet()
        tensorflow(threads=work.settings.threads)  # Ray shows each process only its own GPUs
        try:
            folder = work.store_folder if files is None else _receive_store(work.store_folder.name, files)
            _worker = study, Worker(replace(work, store_folder=folder))
        except DataError as error:
            return failure(
                spec,
                work,
                f"{node} cannot use the mel store: {error} Put `features.store_dir` on storage that "
                "all nodes see, or set ray.ship_store=true.",
            )
    return _worker[1].perform(spec)


def _receive_store(name: str, files: Mapping[str, Any]) -> Path:
    """Writes a store sent by the driver to this node's disk, if it is missing; `store.json` is written last.

    Raises:
        DataError: If the folder belongs to another user.
    """
    import ray

    from loglearn_tf.features.store import MelStore

    own = Path(tempfile.gettempdir()) / f"loglearn_tf-{os.getuid()}"
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    # In a folder writable by all, another user could have taken the name.
    if own.is_symlink() or own.stat().st_uid != os.getuid():
        raise DataError(f"{own} belongs to another user. Remove it, or set TMPDIR for this node.")
    folder = own / name
    folder.mkdir(exist_ok=True)
    with FileLock(folder / ".lock"):
        try:
            MelStore(folder).verify()
        except DataError:  # missing, or damaged since
            # One file at a time, since a store may be larger than memory.
            for file_name in sorted(files, key=lambda one: one == "store.json"):
                write_bytes(folder / file_name, ray.get(files[file_name]))
    return folder
