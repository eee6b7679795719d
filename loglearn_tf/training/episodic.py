"""One prototypical run: an encoder trained so that the prototypes of a fixed support classify queries."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from loglearn_tf.datasets.clips import Clip, DataSet
from loglearn_tf.datasets.few_shot import draw_clips
from loglearn_tf.features.store import MelSource
from loglearn_tf.layers import negative_distance
from loglearn_tf.models import MODELS, build_model
from loglearn_tf.study.grid import RunSpec
from loglearn_tf.study.settings import Settings
from loglearn_tf.training.accelerated import accelerate, check_bfloat16
from loglearn_tf.training.accelerated.precision import Precision
from loglearn_tf.training.callbacks import CompressionTrajectory, StopOnNonFinite, StopWithoutProgress, compression_of
from loglearn_tf.training.patches import Episodes, episodes
from loglearn_tf.training.settling import BATCHES, InputNorm, settle
from loglearn_tf.training.supervised import CompiledModels, Outcome, compile_as_published, compression_for, scored

# Training ends by `patience`, never by this.
_ENDLESS = 1_000_000
# Patches; the largest map of one takes 8 MiB, and a few maps are there at once.
_EMBEDDED_AT_ONCE = 8


class PrototypicalTraining(keras.Model):  # type: ignore[misc]
    """Queries to logits, through prototypes that are computed anew from the support in every call.

    Gradients flow through both branches. In training, batch normalisation uses the batch statistics of each branch
    (two calls of one encoder), at test the moving ones for both.

    Args:
        classifier: From `build_model("prototypical")`, or its accelerated twin: compression, `encoder`, `prototypes`.
            Trained in place.
        support_compression: Compresses the support: a layer of its own in `pons2018`, which begins as the classifier's
            is; the classifier's own in `clean`.
        support: `(n_support_patches, patch_frames, n_mels)` mel power.
        support_labels: `(n_support_patches,)`.

    Reference:
        Reference code, `src/proto.py`: support and query pass separate copies of the compression, so that each
        has an alpha and a beta of its own.
    """

    def __init__(
        self, classifier: keras.Model, support_compression: keras.layers.Layer, support: Any, support_labels: Any
    ) -> None:
        super().__init__(name="prototypical_training")
        self.classifier = classifier
        self.query_compression = compression_of(classifier)
        self.support_compression = support_compression
        self.encoder = classifier.get_layer("encoder")
        self.head = classifier.get_layer("prototypes")
        # Variables, which a compiled step reads anew: another run brings another support.
        self._support = keras.Variable(support, trainable=False, name="support")
        no_mean = np.zeros((self.head.n_classes, len(support)), np.float32)
        self._mean = keras.Variable(no_mean, trainable=False, name="mean")
        if not support_compression.built:
            support_compression.build(np.shape(support))
        self.begin(support, support_labels)

    def begin(self, support: Any, support_labels: Any) -> None:
        """Takes the support of another run, of as many patches; its compression begins where the queries' is now."""
        one_hot = np.equal.outer(np.arange(self.head.n_classes), support_labels)
        # (n_classes, n_support_patches): a product with it is the mean over each class.
        self._mean.assign(one_hot / np.maximum(one_hot.sum(axis=1, keepdims=True), 1))
        self._support.assign(support)
        if self.support_compression is not self.query_compression:
            self.support_compression.set_weights(self.query_compression.get_weights())

    def prototypes(self, *, training: bool) -> Any:
        """`(n_classes, embedding_size)`."""
        return ops.matmul(self._mean, self.encoder(self.support_compression(self._support), training=training))

    def call(self, query: Any, training: bool = False) -> Any:
        embedding = self.encoder(self.query_compression(query), training=training)
        return negative_distance(embedding, self.prototypes(training=training), self.head.distance)

    def store_prototypes(self) -> None:
        """Leaves the support's prototypes, in inference mode, in the classifier.

        A few patches are embedded at a time, to the same bits: whole maps of all would take more memory than an update.
        """
        support = self.support_compression(self._support)
        # In equal parts, since single patches would be rounded differently.
        bounds = np.linspace(0, len(support), -(-len(support) // _EMBEDDED_AT_ONCE) + 1).astype(int)
        embeddings = [self.encoder(support[first:last], training=False) for first, last in itertools.pairwise(bounds)]
        self.head.prototypes.assign(ops.matmul(self._mean, ops.concatenate(embeddings)))


def train_run(
    spec: RunSpec,
    settings: Settings,
    dataset: DataSet,
    store: MelSource,
    *,
    models: CompiledModels | None = None,
    log_dir: Path | None = None,
) -> Outcome:
    """Trains and scores one run: docs/fidelity.md, "Prototypical training" and "Evaluation".

    As in a supervised run, clips, initial weights and patches are the same for every compression.

    Args:
        spec, settings, dataset, store, models, log_dir: See `training.train_run`.

    Raises:
        NonFiniteError: If the loss, alpha or beta leaves the finite numbers.
        ConfigError: If a class has fewer clips than the run draws, or no query can be drawn; if this processor emulates
            the precision that is asked for.
    """
    if settings.training.precision == "bfloat16":
        check_bfloat16()
    clips = draw_clips(dataset, fold=spec.fold, n_shot=spec.n_shot, run=spec.run, seed=settings.seed)
    started = time.monotonic()
    compression, store = compression_for(spec, settings, store, clips)
    patches = draw_episodes(store, clips, spec=spec, settings=settings)
    new = build_model(
        spec.model,
        n_classes=len(dataset.classes),
        compression=compression,
        seed=spec.seed_for("weights"),
        protocol=settings.protocol,
        n_mels=settings.features.n_mels,
        patch_frames=settings.features.patch_frames,
    )
    # Trained is the twin, scored and handed out the plain classifier: their variables are the same.
    classifier, training = (models or CompiledModels()).take(
        (spec.model, spec.compression, patches.support.shape),
        new,
        lambda classifier: prepare(classifier, patches, settings=settings),
    )
    training.begin(patches.support, patches.support_labels)
    trajectory = fit(training, patches, settings=settings, log_dir=log_dir)
    return scored(
        classifier,
        trajectory,
        store,
        dataset.test_clips(spec.fold),
        started=started,
        settle=lambda: settle_classifier(classifier, training, patches, precision=settings.training.precision),
        gains_db=settings.evaluation.gains_db,
        hop=settings.patch_hop(MODELS[spec.model]),
        patch_frames=settings.features.patch_frames,
        batch_size=settings.evaluation.batch_size,
        mean=MODELS[spec.model].mean,
    )


def draw_episodes(store: MelSource, clips: tuple[Clip, ...], *, spec: RunSpec, settings: Settings) -> Episodes:
    """The run's support and queries."""
    return episodes(
        store,
        clips,
        n_support=settings.episodic.n_support,
        n_query=settings.episodic.n_query,
        patch_hop=settings.episodic.patch_hop,
        overlap=settings.protocol == "pons2018",
        seed=spec.seed_for("patches"),
        patch_frames=settings.features.patch_frames,
    )


def prepare(classifier: keras.Model, patches: Episodes, *, settings: Settings) -> PrototypicalTraining:
    """The compiled training of a classifier, by its accelerated twin; every weight of it built."""
    compression = compression_of(classifier)
    if settings.protocol == "pons2018":
        compression = type(compression).from_config(compression.get_config())
    twin = accelerate(classifier, precision=settings.training.precision).network
    training = PrototypicalTraining(twin, compression, patches.support, patches.support_labels)
    # A symbolic call: computing the prototypes of the whole support takes more memory than an update in bfloat16.
    training(keras.KerasTensor(patches.support.shape))
    compile_as_published(training, settings.training)
    return training


def fit(
    training: PrototypicalTraining, patches: Episodes, *, settings: Settings, log_dir: Path | None = None
) -> CompressionTrajectory:
    """Trains in place and leaves the prototypes in the classifier."""
    episodic, pons2018 = settings.episodic, settings.protocol == "pons2018"
    pairs = {"": training.query_compression}
    if pons2018:
        pairs["_support"] = training.support_compression
    trajectory = CompressionTrajectory(pairs, log_dir=log_dir, sample=patches.support)
    if patches.updates_per_epoch:
        training.fit(
            patches.queries,
            epochs=_ENDLESS,
            steps_per_epoch=patches.updates_per_epoch,
            callbacks=[
                StopOnNonFinite(trajectory),
                trajectory,
                # "More than 200 epochs in total" in the reference; "200 in a row" is what was meant.
                StopWithoutProgress(epochs=episodic.patience + pons2018, in_a_row=not pons2018),
            ],
            shuffle=False,
            verbose=0,
        )
    else:
        # An epoch has `patches // queries` updates: none for US8K at n = 1 and 2, where classes are filled up to five
        # queries (docs/fidelity.md, "Prototypical training": the reference uses fewer there, and trains). The network
        # stays as it was initialised, and classifies by the prototypes of an untrained encoder.
        trajectory.on_train_begin()
        trajectory.on_train_end()
    training.store_prototypes()
    return trajectory


def settle_classifier(
    classifier: keras.Model, training: PrototypicalTraining, patches: Episodes, *, precision: Precision = "float32"
) -> InputNorm | None:
    """Settles the encoder of a trained classifier in place, and its prototypes with it; see `settling.settle`.

    A training step calls the encoder twice, for queries and support, and both calls update its averages. Before the
    first step there is nothing in them: then all are of the support, the only patches that the network has seen.
    """

    def seen() -> Iterator[Any]:
        n_steps = BATCHES // 2 if patches.updates_per_epoch else 0  # without updates, queries never end nor begin
        for query, _ in patches.queries.take(n_steps):
            yield training.query_compression(query)
            yield training.support_compression(patches.support)
        if not n_steps:
            yield training.support_compression(patches.support)

    encoder = classifier.get_layer("encoder")
    norm = settle(encoder, updates=2 * int(training.optimizer.iterations), patches=seen(), precision=precision)
    training.store_prototypes()
    return norm
