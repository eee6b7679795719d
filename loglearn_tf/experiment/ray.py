"""Runs to an existing Ray cluster; Ray decides where, and does a run again whose node died."""

import logging
import os
import platform
import socket
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from loglearn_tf._util.files import write_bytes
from loglearn_tf.errors import ClusterError, DataError
from loglearn_tf.experiment.local import Finished
from loglearn_tf.experiment.run import RUNS_PER_WORKER, Record, Work, Worker, describe_software, failure
from loglearn_tf.study.grid import RunSpec
from loglearn_tf.study.settings import RaySettings

# How often Ray starts a run again whose node or process died; no attempt of the run's own.
_RETRIES_OF_RAY = 3
_CONNECT_S = 5.0


class RayCrew:
    """A crew of Ray tasks: `with RayCrew(work, settings) as crew`.

    Nodes need this package and the same Python. They send back what a run leaves; only the driver writes to the
    study's folder. The mel store lies on storage that all nodes see, or is sent once to every node that gets runs.

    Args:
        work: What the runs share.
        settings: `ray` of the study's settings.

    Raises:
        ClusterError: On entering: if ray is not installed, there is no cluster at the address, or none of its nodes
            has the CPUs and GPUs that a run asks for.
    """

    def __init__(self, work: Work, settings: RaySettings) -> None:
        self._work = work
        self._settings = settings
        self._specs: dict[Any, RunSpec] = {}

    def __enter__(self) -> "RayCrew":
        self._ray = _connect(self._settings.address)
        try:
            self._check_resources()
            self._task = self._ray.remote(
                num_cpus=self._settings.cpus,
                num_gpus=self._settings.gpus,
                max_calls=RUNS_PER_WORKER,
                max_retries=_RETRIES_OF_RAY,
            )(_perform)
            # Put once; Ray carries it to a node when the first run there asks for it.
            self._shared = self._ray.put((uuid.uuid4().hex, describe_software()["loglearn_tf"], self._work))
            self._files = self._put_store() if self._settings.ship_store else None
        except BaseException:
            self._ray.shutdown()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for reference in self._specs:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()

    def has_room(self) -> bool:
        # Twice what runs at once: no slot waits for the driver, and late runs can still go to nodes that join.
        return len(self._specs) < 2 * self._slots()

    def start(self, spec: RunSpec) -> None:
        self._specs[self._task.remote(spec, self._shared, self._files)] = spec

    def finished(self) -> list[Finished]:
        try:
            ready, _ = self._ray.wait(list(self._specs))
        except self._ray.exceptions.RayError as error:
            raise ClusterError(
                f"The Ray cluster at {self._settings.address} was lost: {error}. What was finished is kept; the same "
                "command goes on from it, also without `ray`."
            ) from error
        return [self._collect(reference) for reference in ready]

    def _collect(self, reference: Any) -> Finished:
        spec = self._specs.pop(reference)
        try:
            record: Record = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            record = failure(spec, self._work, f"Ray gave the run up: {error}")
        return spec, record

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
                f"A run asks for ray.cpus={wanted['CPU']:g} and ray.gpus={wanted['GPU']:g}, and no node of the Ray "
                f"cluster at {self._settings.address} has as many; its largest have {largest['CPU']:g} CPUs and "
                f"{largest['GPU']:g} GPUs. Ask for less, or add nodes."
            )

    def _put_store(self) -> dict[str, Any]:
        """File name -> reference to its bytes."""
        paths = [path for path in self._work.store_folder.iterdir() if path.suffix in (".npy", ".json")]
        return {path.name: self._ray.put(path.read_bytes()) for path in sorted(paths)}


def _connect(address: str) -> Any:
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            f"`ray={address}` needs ray, which is not installed: {error}. Install loglearn_tf[cluster]."
        ) from error
    how = "Start one with `ray start --head`, or leave `ray` out to work on this machine alone."
    host, colon, port = address.rpartition(":")
    if colon:
        # Ray itself tries for minutes.
        try:
            socket.create_connection((host, int(port)), _CONNECT_S).close()
        except (OSError, UnicodeError) as error:  # the second: of a name that no host can have
            raise ClusterError(f"No Ray cluster answers at `ray={address}`: {error}. {how}") from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"Cannot join the Ray cluster at `ray={address}`: {error}. {how}") from error
    return ray


# Of this process on a node: the worker of the study that it served last.
_worker: tuple[str, Worker] | None = None


def _perform(spec: RunSpec, shared: tuple[str, str | None, Work], files: Mapping[str, Any] | None) -> Record:
    """Body of a Ray task."""
    global _worker
    study, version, work = shared
    node = f"Node {platform.node()}"
    if _worker is None or _worker[0] != study:
        own = describe_software()["loglearn_tf"]
        if own != version:
            return failure(
                spec, work, f"{node} has loglearn_tf {own}, and the driver {version}. Install the same on both."
            )
        from loglearn_tf._util.tensorflow_runtime import be_quiet, tensorflow

        be_quiet()
        tensorflow(threads=work.settings.threads)  # Ray shows a process the GPUs that are its own
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
    """Writes a store that the driver sent to this node's disk, unless it is there; `store.json`, last, completes it.

    Raises:
        DataError: If the place belongs to someone else.
    """
    import ray

    from loglearn_tf.features.store import MelStore

    own = Path(tempfile.gettempdir()) / f"loglearn_tf-{os.getuid()}"
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    # In a folder that all may write to, another user could have taken the name.
    if own.is_symlink() or own.stat().st_uid != os.getuid():
        raise DataError(f"{own} belongs to another user. Remove it, or set TMPDIR for this node.")
    folder = own / name
    folder.mkdir(exist_ok=True)
    with FileLock(folder / ".lock"):
        try:
            MelStore(folder).verify()
        except DataError:  # not there yet, or damaged since
            # One file at a time: a store may be larger than memory.
            for file_name in sorted(files, key=lambda one: one == "store.json"):
                write_bytes(folder / file_name, ray.get(files[file_name]))
    return folder
