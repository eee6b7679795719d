"""Executes one run in a worker, on this machine or on a cluster node."""

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
from loglearn_tf.study.run_folder import FORMAT, LEVEL_COLUMNS, PROBABILITY_DECIMALS
from loglearn_tf.study.settings import Settings

if TYPE_CHECKING:
    from loglearn_tf.training.supervised import Settled

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# TensorFlow's memory grows a little with every model; workers are replaced after this number of runs.
RUNS_PER_WORKER = 50


@dataclass(frozen=True)
class Work:
    """What a worker needs in addition to the run; the same for all runs of a study.

    Attributes:
        settings: Settings of the study.
        dataset: Its data set.
        store_folder: Folder of the complete mel store.
    """

    settings: Settings
    dataset: DataSet
    store_folder: Path


@dataclass(frozen=True)
class Record:
    """The output of a run: the content of its folder.

    Attributes:
        result: The content of `result.json`. For a failed run, `final` means that a retry would fail the same way.
        files: Name -> content of the other files.
    """

    result: dict[str, Any]
    files: dict[str, bytes] = field(repr=False)


class Worker:
    """Executes runs one after another and keeps what they share.

    Args:
        work: The work of the study.

    Raises:
        DataError: If the mel store is incomplete or damaged.
    """

    def __init__(self, work: Work) -> None:
        # Imported here: the driver also uses this module and needs no TensorFlow.
        from loglearn_tf.features.store import MelStore
        from loglearn_tf.training.supervised import CompiledModels

        self.work = work
        self._store = MelStore(work.store_folder)
        self._store.verify()
        self._models = CompiledModels()

    def perform(self, spec: RunSpec) -> Record:
        """Executes one run; a failure is recorded, not raised.

        If the mel store changed during a run, the run has failed, whatever its results.
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
                # The published table keeps its form; recordings are listed here.
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
            # Only for these, so that results of all others keep their form.
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
        """The network with front end and mean over patches: the whole evaluation as one model."""
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
    """One row per clip; `more` holds further columns, which follow `clip_id`."""
    names = dataset.classes
    rows = [
        {
            "clip_id": clip.clip_id,
            **{column: values[at] for column, values in more.items()},
            "class": names[clip.label],
            "predicted": names[row.argmax()],
            **{f"p_{name}": f"{p:.{PROBABILITY_DECIMALS}f}" for name, p in zip(names, row, strict=True)},
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
    """The record of a failed run."""
    nothing = dict.fromkeys(("accuracy", "alpha", "beta", "knee", "train_seconds", "eval_seconds"))
    result = {**_common(spec, work), **nothing, **_settled(None), "status": "failed", "final": final, "error": error}
    # The whole identity, since the network's record may be unavailable; it is not compared for failed runs.
    result["identity"] = run_identity(work.settings, work.dataset)
    return Record(result, _settings_file(work))


def overtime(spec: RunSpec, work: Work) -> Record:
    """The record of a run that was stopped because it took too long."""
    limit = work.settings.run_timeout_s
    error = (
        f"The run took longer than `run_timeout_s={limit:g}` seconds and was stopped. Increase `run_timeout_s` if runs "
        "of this kind need more; otherwise check its machine for what it waited for."
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
    """Git commit of the package; `None` outside a checkout. A `+` marks uncommitted changes."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        # An installed package may be inside another project's checkout.
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
    """The largest resident memory of this process since the object was created; since the start of the process on
    systems that cannot reset it (macOS); `None` on systems without this information (Windows)."""

    def __init__(self) -> None:
        try:
            # Resets the high-water mark (proc(5), clear_refs).
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
