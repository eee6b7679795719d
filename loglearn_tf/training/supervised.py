"""One supervised run: drawn clips in, a trained network and its scored test clips out."""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
import numpy.typing as npt

from loglearn_tf._util.registry import folder_name
from loglearn_tf.datasets.clips import Clip, DataSet
from loglearn_tf.features.store import MelSource
from loglearn_tf.layers import build_compression
from loglearn_tf.models import MODELS, build_model
from loglearn_tf.study.grid import RunSpec, clips_of
from loglearn_tf.study.settings import Settings, TrainingSettings
from loglearn_tf.training.accelerated import accelerate, check_bfloat16
from loglearn_tf.training.callbacks import CompressionTrajectory, StopOnNonFinite, compression_of, compression_values
from loglearn_tf.training.evaluation import accuracy, clip_probabilities
from loglearn_tf.training.levels import Levelled, at_gain, source_for
from loglearn_tf.training.optimizers import build_optimizer
from loglearn_tf.training.patches import training_patches, validation_patches
from loglearn_tf.training.settling import BATCHES, InputNorm, settle

Trained = TypeVar("Trained", bound=keras.Model)


@dataclass(frozen=True)
class Outcome:
    """What a run leaves behind.

    Attributes:
        model: Trained.
        history: One row an epoch: epoch, loss, accuracy, with validation val_loss and val_accuracy, alpha, beta, knee;
            prototypical networks under `pons2018` also `alpha_support`, `beta_support`, `knee_support`.
        clips: Test clips, in the data set's order.
        probabilities: `(n_clips, n_classes)`, of the test clips.
        accuracy: Share of test clips classified correctly.
        train_seconds, eval_seconds: Wall-clock time.
        settled: The score of the same weights with settled batch normalisation; `None` where a trainer gives none.
        levels: What the study asks for by `evaluation.gains_db`: for each, `gain_db`, `accuracy`, `accuracy_settled`.
        best_epoch: With validation, the epoch whose weights the model has; else `None`, and it has the last one's.
    """

    model: keras.Model
    history: list[dict[str, float | int | None]]
    clips: tuple[Clip, ...]
    probabilities: npt.NDArray[Any]
    accuracy: float
    train_seconds: float
    eval_seconds: float
    settled: "Settled | None" = None
    levels: tuple[dict[str, float | None], ...] = ()
    best_epoch: int | None = None

    @property
    def compression(self) -> dict[str, float | None]:
        """Alpha, beta and knee after training."""
        return compression_values(compression_of(self.model))


@dataclass(frozen=True)
class Settled:
    """How a run's weights score without what is left of the beginning of the moving averages; see `settling`.

    Attributes:
        probabilities: `(n_clips, n_classes)`, of the same test clips.
        accuracy: Share of them classified correctly.
        norm: What the published weights do to the input; `None` of a network that has nothing to settle, whose two
            scores are one.
    """

    probabilities: npt.NDArray[Any]
    accuracy: float
    norm: InputNorm | None


class CompiledModels:
    """Networks and what trains them, compiled, kept from run to run: of runs of one kind, only the first compiles.

    Results are those of new networks: a kept one takes over every variable of the new one, weights, statistics and
    seeds.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[keras.Model, Any, list[npt.NDArray[Any]]]] = {}

    def take(
        self, kind: Hashable, new: keras.Model, compiled: Callable[[keras.Model], Trained]
    ) -> tuple[keras.Model, Trained]:
        """The kept network of a kind, as if it were `new`, and what trains it; `new` itself where it is the first.

        Args:
            kind: Everything that the compiled step depends on.
            new: All its weights built.
            compiled: Given `new`, makes what trains it: a compiled model with the same variables, perhaps among others.
        """
        if kind not in self._kept:
            trained = compiled(new)
            trained.optimizer.build(trained.trainable_variables)
            self._kept[kind] = new, trained, [np.array(variable) for variable in trained.optimizer.variables]
        network, trained, begun = self._kept[kind]
        if network is not new:
            for variable, value in zip(network.variables, new.variables, strict=True):
                variable.assign(value)
            for variable, start in zip(trained.optimizer.variables, begun, strict=True):
                variable.assign(start)
        return network, trained


def train_run(
    spec: RunSpec,
    settings: Settings,
    dataset: DataSet,
    store: MelSource,
    *,
    models: CompiledModels | None = None,
    log_dir: Path | None = None,
) -> Outcome:
    """Trains and scores one run: docs/fidelity.md, "Supervised training" and "Evaluation".

    Clips, initial weights, dropout masks and patches follow from the run's cell and the study's
    seed; they are the same for every compression.

    Args:
        spec: The run.
        settings: The study's.
        dataset: Its clips.
        store: Their mel power.
        models: Networks of earlier runs with the same settings and data set; the outcome's is then among them, and
            theirs again in the next run.
        log_dir: Folder of TensorBoard's event files; `None` for none.

    Raises:
        NonFiniteError: If the loss, alpha or beta leaves the finite numbers.
        ConfigError: If a class has fewer clips than the run draws, or there are none to validate with; if this
            processor emulates the precision that is asked for.
    """
    if settings.training.precision == "bfloat16":
        check_bfloat16()
    clips, validation = clips_of(spec, settings, dataset)
    started = time.monotonic()
    compression, store = compression_for(spec, settings, store, clips)
    new = build_model(
        spec.model,
        n_classes=len(dataset.classes),
        compression=compression,
        seed=spec.seed_for("weights"),
        l2=settings.training.l2,
        n_mels=settings.features.n_mels,
        patch_frames=settings.features.patch_frames,
    )

    updates = settings.epochs * _batches_per_epoch(clips, settings)

    def compiled(network: keras.Model) -> keras.Model:
        twin = accelerate(network, precision=settings.training.precision).network
        compile_as_published(twin, settings.training, updates=updates)
        return twin

    # Trained is the twin, scored and handed out the plain network: their variables are the same.
    # A schedule is part of the compiled step.
    planned = updates if settings.training.schedule != "constant" else None
    network, twin = (models or CompiledModels()).take((spec.model, spec.compression, planned), new, compiled)
    trajectory = fit(
        twin,
        store,
        clips,
        validation=validation,
        settings=settings,
        seed=spec.seed_for("patches"),
        log_dir=log_dir,
    )
    # Of the weights that were kept.
    kept_updates = int(twin.optimizer.iterations)
    if trajectory.best_epoch is not None:
        kept_updates = trajectory.best_epoch * _batches_per_epoch(clips, settings)

    def settle_network() -> InputNorm | None:
        patches = seen_patches(store, clips, settings=settings, seed=spec.seed_for("patches"))
        return settle(network, updates=kept_updates, patches=patches, precision=settings.training.precision)

    return scored(
        network,
        trajectory,
        store,
        dataset.test_clips(spec.fold),
        started=started,
        settle=settle_network,
        gains_db=settings.evaluation.gains_db,
        hop=settings.patch_hop(MODELS[spec.model]),
        patch_frames=settings.features.patch_frames,
        batch_size=settings.evaluation.batch_size,
        mean=MODELS[spec.model].mean,
    )


def compression_for(
    spec: RunSpec, settings: Settings, store: MelSource, clips: tuple[Clip, ...]
) -> tuple[keras.layers.Layer, MelSource]:
    """The compression that a run begins with, and what it takes of the store.

    One that adapts has seen the run's training clips, once.
    """
    layer, arguments = settings.compression(spec.compression)
    compression = build_compression(layer, **{"name": folder_name(spec.compression), **arguments})
    source = source_for(compression, store)
    if getattr(compression, "quantile", None) is not None:
        compression.adapt(source.mel(clip)[np.newaxis] for clip in clips)
    return compression, source


def scored(
    model: keras.Model,
    trajectory: CompressionTrajectory,
    store: MelSource,
    test_clips: tuple[Clip, ...],
    *,
    started: float,
    settle: Callable[[], InputNorm | None] | None = None,
    gains_db: Sequence[float] = (),
    **evaluation: Any,
) -> Outcome:
    """The outcome of a run that is trained: scores its test clips, as published and settled.

    Args:
        started: `time.monotonic()` when training began.
        settle: Settles the model in place and returns what `settling.settle` does; afterwards the model has its
            published weights again. `None` for no settled score.
        gains_db: Further levels to score at.
        **evaluation: See `clip_probabilities`.
    """
    trained = time.monotonic()
    labels = [clip.label for clip in test_clips]
    sources = [at_gain(store, gain_db) for gain_db in gains_db]

    def accuracies() -> list[float]:
        return [accuracy(clip_probabilities(model, source, test_clips, **evaluation), labels) for source in sources]

    probabilities, at_levels = clip_probabilities(model, store, test_clips, **evaluation), accuracies()
    settled: Settled | None = None
    settled_at_levels: Sequence[float | None] = [None] * len(sources)
    if settle is not None:
        published = [(variable, np.array(variable)) for variable in model.variables]
        try:
            norm = settle()
            # Scoring draws nothing: the same weights need not be scored again.
            ours = probabilities if norm is None else clip_probabilities(model, store, test_clips, **evaluation)
            settled = Settled(ours, accuracy(ours, labels), norm)
            settled_at_levels = at_levels if norm is None else accuracies()
        finally:
            for variable, value in published:
                variable.assign(value)
    return Outcome(
        model=model,
        history=trajectory.rows,
        best_epoch=trajectory.best_epoch,
        clips=test_clips,
        probabilities=probabilities,
        accuracy=accuracy(probabilities, labels),
        train_seconds=trained - started,
        eval_seconds=time.monotonic() - trained,
        settled=settled,
        levels=tuple(
            {"gain_db": gain_db, "accuracy": one, "accuracy_settled": other}
            for gain_db, one, other in zip(gains_db, at_levels, settled_at_levels, strict=True)
        ),
    )


def seen_patches(
    store: MelSource, clips: tuple[Clip, ...], *, settings: Settings, seed: int
) -> Iterator[npt.NDArray[np.float32]]:
    """The first batches that training was given."""
    batch_size = settings.training.batch_size
    n_epochs = min(settings.epochs, BATCHES)
    patches = training_patches(
        store,
        clips,
        n_epochs=n_epochs,
        batch_size=batch_size,
        seed=seed,
        patch_frames=settings.features.patch_frames,
        gain_db=_gain_db(store, settings),
    )
    for batch, _ in patches.take(max(BATCHES, -(-len(clips) // batch_size))):  # of every clip at least one
        yield batch


def _gain_db(store: MelSource, settings: Settings) -> tuple[float, float] | None:
    """Of training patches; a louder clip has a higher level, too, so that of levelled ones none is left."""
    return None if isinstance(store, Levelled) else settings.training.gain_db


def compile_as_published(model: keras.Model, training: TrainingSettings, *, updates: int | None = None) -> None:
    """Softmax cross-entropy of logits, gradients clipped to a global norm; SGD without momentum unless settings differ.

    Args:
        model: All its weights built.
        training: Which optimiser.
        updates: See `build_optimizer`.
    """
    model.compile(
        optimizer=build_optimizer(model, training, updates=updates),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # Compiled by XLA, all networks train slower on CPUs.
        jit_compile=False,
    )
    # Metrics make their variables at their first update. Inside a compiled step, this would have the step traced twice.
    model.compute_metrics(None, np.zeros(1), np.zeros((1, 2)))
    model.reset_metrics()


def fit(
    model: keras.Model,
    store: MelSource,
    clips: tuple[Clip, ...],
    *,
    settings: Settings,
    seed: int,
    validation: tuple[Clip, ...] = (),
    log_dir: Path | None = None,
) -> CompressionTrajectory:
    """Trains a compiled model in place on random patches of `clips`.

    With clips for validation it ends when their loss has not fallen for `training.patience` epochs, and the model has
    the weights of the epoch with the lowest; the trajectory's `best_epoch` says which.
    """
    training = settings.training
    patches = training_patches(
        store,
        clips,
        n_epochs=settings.epochs,
        batch_size=training.batch_size,
        seed=seed,
        patch_frames=settings.features.patch_frames,
        gain_db=_gain_db(store, settings),
    )
    sample = next(iter(patches))[0] if log_dir else None
    trajectory = CompressionTrajectory(
        {"": compression_of(model)}, log_dir=log_dir, sample=sample, validation=bool(validation)
    )
    held_out: dict[str, Any] = {}
    best: list[keras.callbacks.EarlyStopping] = []
    if validation:
        batch_size, frames = settings.evaluation.batch_size, settings.features.patch_frames
        held_out["validation_data"] = validation_patches(store, validation, batch_size=batch_size, patch_frames=frames)
        best.append(
            keras.callbacks.EarlyStopping("val_loss", mode="min", patience=training.patience, restore_best_weights=True)
        )
    if training.class_weights == "balanced":
        held_out["class_weight"] = balanced_weights(clips)
    model.fit(
        patches,
        epochs=settings.epochs,
        # One data set holds all epochs, each with patches of its own.
        steps_per_epoch=_batches_per_epoch(clips, settings),
        # The weights come back last, when what there was is recorded.
        callbacks=[StopOnNonFinite(trajectory), trajectory, *best],
        shuffle=False,  # already shuffled
        verbose=0,
        **held_out,
    )
    for stopper in best:
        trajectory.best_epoch = stopper.best_epoch + 1
    return trajectory


def balanced_weights(clips: Sequence[Clip]) -> dict[int, float]:
    """Class -> what its clips count in the loss: their classes then count alike, and all clips as many as they are."""
    counts = Counter(clip.label for clip in clips)
    return {label: len(clips) / (len(counts) * n) for label, n in sorted(counts.items())}


def _batches_per_epoch(clips: Sequence[Clip], settings: Settings) -> int:
    return -(-len(clips) // settings.training.batch_size)
