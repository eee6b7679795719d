"""One run as a worker does it, in a process of this machine or on a node of a cluster."""

import functools
import platform
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf._util.registry import load
from loglearn_tf.datasets.clips import Clip, DataSet
from loglearn_tf.models.registry import MODELS
from loglearn_tf.study.grid import RunSpec, identity_of, run_identity
from loglearn_tf.study.run_folder import FORMAT, LEVEL_COLUMNS
from loglearn_tf.study.settings import Settings

if TYPE_CHECKING:
    from loglearn_tf.training.supervised import Settled

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# TensorFlow's memory grows a little with every model; a worker that has done so many runs is replaced.
RUNS_PER_WORKER = 50


@dataclass(frozen=True)
class Work:
    """What a worker needs beside the run; the same for all runs of a study.

    Attributes:
        settings: The study's.
        dataset: Its clips.
        store_folder: Of the complete mel store.
    """

    settings: Settings
    dataset: DataSet
    store_folder: Path


@dataclass(frozen=True)
class Record:
    """What a run leaves: everything that its folder will hold.

    Attributes:
        result: The content of `result.json`. Of a failed run, `final` tells that another try would fail the same way.
        files: Name -> content of the other files.
    """

    result: dict[str, Any]
    files: dict[str, bytes] = field(repr=False)


class Worker:
    """Performs runs one after another; keeps between them what they share.

    Args:
        work: The study's.

    Raises:
        DataError: If the mel store is incomplete or damaged.
    """

    def __init__(self, work: Work) -> None:
        # Here, not at the top: the driver uses this module, too, and needs no TensorFlow.
        from loglearn_tf.features.store import MelStore
        from loglearn_tf.training.supervised import CompiledModels

        self.work = work
        self._store = MelStore(work.store_folder)
        self._store.verify()
        self._models = CompiledModels()

    def perform(self, spec: RunSpec) -> Record:
        """Does one run; one that fails is described, not raised.

        A run during which the mel store was changed has failed, whatever numbers it came to.
        """
        from loglearn_tf.training.callbacks import NonFiniteError, compression_of
        from loglearn_tf.training.levels import is_relative

        settings, dataset = self.work.settings, self.work.dataset
        peak = PeakMemory()
        try:
            train_run = load(MODELS[spec.model].trainer, what=f"the trainer of {spec.model}")
            with tempfile.TemporaryDirectory() as folder:
                scratch = Path(folder)
                log_dir = scratch / "tensorboard" if _is_logged(spec, settings) else None
                outcome = train_run(spec, settings, dataset, self._store, models=self._models, log_dir=log_dir)
                if log_dir:
                    _log_hparams(log_dir, spec, settings, outcome.accuracy, epochs=len(outcome.history) - 1)
                if settings.save_models:
                    self._deployable(spec, outcome.model).save(scratch / "model.keras")
                files = {
                    path.relative_to(scratch).as_posix(): path.read_bytes()
                    for path in sorted(scratch.rglob("*"))
                    if path.is_file()
                }
            files |= {
                "history.csv": csv_bytes(tuple(outcome.history[0]), outcome.history),
                "predictions.csv": _predictions(dataset, outcome.clips, outcome.probabilities),
            }
            if outcome.settled is not None:
                # The published table stays as it was; who looks up recordings finds them here.
                recordings = {"recording": [clip.recording for clip in outcome.clips]}
                settled = _predictions(dataset, outcome.clips, outcome.settled.probabilities, **recordings)
                files["predictions_settled.csv"] = settled
            if outcome.levels:
                files["levels.csv"] = csv_bytes(LEVEL_COLUMNS, outcome.levels)
        except Exception as error:
            if change := self._store.change():
                return failure(spec, self.work, change)
            if isinstance(error, NonFiniteError):
                return failure(spec, self.work, str(error), final=True)
            return failure(spec, self.work, traceback.format_exc())
        if change := self._store.change():
            return failure(spec, self.work, change)
        result = {
            **_common(spec, self.work),
            "identity": identity_of(spec, run_identity(self.work.settings, self.work.dataset)),
            "status": "done",
            "accuracy": outcome.accuracy,
            **outcome.compression,
            # Of those alone, so that results of all others stay as they were.
            **({"relative": True} if is_relative(compression_of(outcome.model)) else {}),
            **_settled(outcome.settled),
            **({"levels": list(outcome.levels)} if outcome.levels else {}),
            **({"best_epoch": outcome.best_epoch} if outcome.best_epoch is not None else {}),
            "train_seconds": round(outcome.train_seconds, 3),
            "eval_seconds": round(outcome.eval_seconds, 3),
            "peak_memory_mib": peak.mib(),
        }
        return Record(result, {**_settings_file(self.work), **files})

    def _deployable(self, spec: RunSpec, network: Any) -> Any:
        """The network with front end and mean over patches: what the evaluation did, as one model."""
        from loglearn_tf.deploy.clip_classifier import clip_classifier

        settings = self.work.settings
        record = MODELS[spec.model]
        return clip_classifier(
            network,
            class_names=self.work.dataset.classes,
            front_end=settings.features.front_end,
            features_compression=settings.features.compression,
            patch_hop=settings.patch_hop(record),
            mean=record.mean,
        )


def _predictions(dataset: DataSet, clips: Sequence[Clip], probabilities: Any, **more: Sequence[str]) -> bytes:
    """One row a clip; `more` holds further columns, which follow `clip_id`."""
    names = dataset.classes
    rows = [
        {
            "clip_id": clip.clip_id,
            **{column: values[at] for column, values in more.items()},
            "class": names[clip.label],
            "predicted": names[row.argmax()],
            **{f"p_{name}": f"{p:.7f}" for name, p in zip(names, row, strict=True)},
        }
        for at, (clip, row) in enumerate(zip(clips, probabilities, strict=True))
    ]
    return csv_bytes(tuple(rows[0]), rows)


def _settled(settled: "Settled | None") -> dict[str, float | None]:
    """The columns of the settled score, in `result.json`."""
    norm = None if settled is None else settled.norm
    return {
        "accuracy_settled": None if settled is None else settled.accuracy,
        "norm_residue": None if norm is None else norm.residue,
        "norm_scale": None if norm is None else norm.scale,
        "norm_shift": None if norm is None else norm.shift,
    }


def failure(spec: RunSpec, work: Work, error: str, *, final: bool = False) -> Record:
    """The record of a run that failed."""
    nothing = dict.fromkeys(("accuracy", "alpha", "beta", "knee", "train_seconds", "eval_seconds"))
    result = {**_common(spec, work), **nothing, **_settled(None), "status": "failed", "final": final, "error": error}
    # Whole, as it may be the network's record that cannot be had; of failed runs it is not compared.
    result["identity"] = run_identity(work.settings, work.dataset)
    return Record(result, _settings_file(work))


def overtime(spec: RunSpec, work: Work) -> Record:
    """The record of a run that was ended because it took too long."""
    limit = work.settings.run_timeout_s
    error = (
        f"The run took longer than `run_timeout_s={limit:g}` seconds and was ended. Raise `run_timeout_s` if runs of "
        "this kind need more; else see on its machine what it waited for."
    )
    return failure(spec, work, error, final=True)


@functools.cache
def describe_software() -> dict[str, str | None]:
    """Versions and the git commit that results are recorded with."""
    packages = ("loglearn_tf", "tensorflow", "tensorflow-io", "keras", "librosa", "numpy", "soundfile", "soxr", "ray")
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
        # An installed package may lie inside another project's checkout.
        tracked = [*git, "ls-files", "--error-unmatch", Path(__file__).name]
        subprocess.run(tracked, capture_output=True, check=True, timeout=10)
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        changes = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")


def _common(spec: RunSpec, work: Work) -> dict[str, Any]:
    return {
        "format": FORMAT,
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
        "versions": describe_software(),
        "host": platform.node(),
    }


def _settings_file(work: Work) -> dict[str, bytes]:
    resolved = {**work.settings.dump(), "versions": describe_software()}
    return {"config.yaml": yaml.safe_dump(resolved, sort_keys=False).encode()}


def _is_logged(spec: RunSpec, settings: Settings) -> bool:
    first = spec.run == 0 and spec.fold == settings.folds[0]
    return settings.tensorboard == "all" or (settings.tensorboard == "first" and first)


def _log_hparams(log_dir: Path, spec: RunSpec, settings: Settings, accuracy: float, *, epochs: int) -> None:
    """Lets TensorBoard's HParams page filter runs by their cell and sort them by test accuracy."""
    import tensorflow as tf
    from tensorboard.plugins.hparams import api as hparams

    cell = {name: getattr(spec, name) for name in ("dataset", "model", "compression", "n_shot", "fold", "run")}
    with tf.summary.create_file_writer(str(log_dir)).as_default() as writer:
        hparams.hparams({**cell, "protocol": settings.protocol}, trial_id=spec.folder.as_posix())
        tf.summary.scalar("test/accuracy", accuracy, step=epochs)
        writer.close()


class PeakMemory:
    """The largest resident memory of this process since the object was made; where the system cannot tell (macOS),
    since the process began; where it tells nothing (Windows), `None`."""

    def __init__(self) -> None:
        try:
            # Sets the high-water mark back (proc(5), clear_refs).
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            pass

    def mib(self) -> int | None:
        try:
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) // 1024
        except OSError:
            pass
        if resource is None:
            return None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // (1 << 20) if sys.platform == "darwin" else peak // 1024
