"""tf.data pipelines: random patches of the training clips, and all patches of the clips to score."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from loglearn_tf.datasets.clips import Clip
from loglearn_tf.errors import ConfigError
from loglearn_tf.features.store import MelSource
from loglearn_tf.models.base import PATCH_FRAMES

# Second word of the random keys of episodes, so that support and queries are independent draws.
_SUPPORT, _QUERIES = 0, 1
# Third word of the random keys of gains.
_GAINS = 1


def training_patches(
    store: MelSource,
    clips: Sequence[Clip],
    *,
    n_epochs: int,
    batch_size: int,
    seed: int,
    patch_frames: int = PATCH_FRAMES,
    gain_db: tuple[float, float] | None = None,
) -> tf.data.Dataset:
    """Consecutive epochs, each with one random patch of every clip, in random order.

    Patches and order depend only on `seed` and the index of the epoch, so runs that differ only in their compression
    see the same patches.

    Args:
        store: Mel power.
        clips: Training clips, in a fixed order.
        n_epochs: Epochs in the data set.
        batch_size: Patches per batch; the last, partial batch of an epoch is kept.
        seed: Seed of patches and order.
        patch_frames: Frames per patch.
        gain_db: Limits of the random gains of patches, in dB, uniformly distributed; gains use their own random
            numbers, so patches and order do not depend on them. `None` for no gains.

    Returns:
        `(patches, labels)` with `(batch, patch_frames, n_mels)` float32 mel power and `(batch,)`
        int32; `n_epochs * ceil(n_clips / batch_size)` batches.

    Reference:
        Reference code, `src/sl_train.py`, `data_gen`; the paper, section 3.
    """
    mels = [tile(store.mel(clip), patch_frames) for clip in clips]
    n_starts = np.array([len(mel) - patch_frames + 1 for mel in mels])
    offsets = np.cumsum([0, *(len(mel) for mel in mels[:-1])])
    labels = np.array([clip.label for clip in clips], np.int32)
    # The clips of a run fit in memory (TUT at n = 100: 330 MB); a host tensor avoids a Python call per step.
    with tf.device("CPU"):
        frames = tf.constant(np.concatenate(mels))

    starts = np.empty((n_epochs, len(clips)), np.int64)
    order = np.empty((n_epochs, len(clips)), np.int64)
    gains = np.ones((n_epochs, len(clips)), np.float32)  # gains of power
    for epoch in range(n_epochs):
        rng = np.random.default_rng((seed, epoch))
        starts[epoch] = offsets + rng.integers(n_starts)
        order[epoch] = rng.permutation(len(clips))
        if gain_db is not None:
            gains[epoch] = 10 ** (np.random.default_rng((seed, epoch, _GAINS)).uniform(*gain_db, len(clips)) / 10)

    def batches_of_epoch(starts: tf.Tensor, order: tf.Tensor, gains: tf.Tensor) -> tf.data.Dataset:
        shuffled = (tf.gather(starts, order), tf.gather(tf.constant(labels), order), tf.gather(gains, order))
        return tf.data.Dataset.from_tensor_slices(shuffled).batch(batch_size)

    def cut(starts: tf.Tensor, labels: tf.Tensor, gains: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = starts[:, tf.newaxis] + tf.range(patch_frames, dtype=tf.int64)
        patches = tf.gather(frames, rows)
        if gain_db is not None:
            patches *= gains[:, tf.newaxis, tf.newaxis]
        return tf.ensure_shape(patches, (None, patch_frames, mels[0].shape[1])), labels

    epochs = tf.data.Dataset.from_tensor_slices((starts, order, gains))
    return _read_ahead(epochs.flat_map(batches_of_epoch).map(cut))


def evaluation_patches(
    store: MelSource, clips: Sequence[Clip], *, hop: int, batch_size: int, patch_frames: int = PATCH_FRAMES
) -> tf.data.Dataset:
    """All patches of the clips, `hop` frames apart, in clip order, batched across clips.

    Args:
        store: Mel power.
        clips: Clips to score.
        hop: Frames between the patches of a clip; 1 in the reference.
        batch_size: Patches per batch; the last is partial.
        patch_frames: Frames per patch.

    Returns:
        `(patches, clip_numbers)` with `(batch, patch_frames, n_mels)` float32 and `(batch,)` int32
        indices into `clips`.

    Reference:
        docs/fidelity.md, "Evaluation": 46 patches per 4 s clip at hop 1, 304 per 10 s clip.
    """

    def read() -> Iterator[tuple[npt.NDArray[np.float32], int]]:
        for number, clip in enumerate(clips):
            yield tile(store.mel(clip), patch_frames), number

    def cut(mel: tf.Tensor, number: tf.Tensor) -> tf.data.Dataset:
        patches = cut_patches(mel, patch_frames=patch_frames, patch_hop=hop)
        patches.set_shape((None, patch_frames, n_mels))
        numbers = tf.repeat(number, tf.shape(patches)[0])
        return tf.data.Dataset.from_tensor_slices((patches, numbers))

    n_mels = store.mel(clips[0]).shape[1]
    signature = (tf.TensorSpec((None, n_mels), tf.float32), tf.TensorSpec((), tf.int32))
    whole_clips = tf.data.Dataset.from_generator(read, output_signature=signature)
    return _read_ahead(whole_clips.flat_map(cut).batch(batch_size))


def validation_patches(
    store: MelSource, clips: Sequence[Clip], *, batch_size: int, patch_frames: int = PATCH_FRAMES
) -> tf.data.Dataset:
    """The adjacent, non-overlapping patches of the clips with their labels, the same in every epoch.

    Args:
        store: Mel power.
        clips: Validation clips.
        batch_size: Patches per batch; the last is partial.
        patch_frames: Frames per patch and between patch starts.

    Returns:
        `(patches, labels)` as in `training_patches`.
    """
    mels = [tile(store.mel(clip), patch_frames) for clip in clips]
    # Copied: those of a whole fold of US8K take about 100 MB. Keras warns if it cannot count batches.
    patches = [mel[: len(mel) // patch_frames * patch_frames].reshape(-1, patch_frames, mel.shape[1]) for mel in mels]
    labels = np.repeat(np.array([clip.label for clip in clips], np.int32), [len(some) for some in patches])
    with tf.device("CPU"):
        held = (tf.constant(np.concatenate(patches)), tf.constant(labels))
    return _read_ahead(tf.data.Dataset.from_tensor_slices(held).batch(batch_size))


def _read_ahead(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Prefetches two batches."""
    options = tf.data.Options()
    # There is nothing to tune. An iterator that tunes itself can only end when its tuner wakes up, after 10 ms, 20 ms,
    # 40 ms and so on: training was followed by a wait of up to its own length.
    options.autotune.enabled = False
    return batches.prefetch(2).with_options(options)


def cut_patches(mel: Any, *, patch_frames: int = PATCH_FRAMES, patch_hop: int = 42) -> tf.Tensor:
    """Cuts one clip's mel spectrogram into patches of equal length.

    Args:
        mel: `(frames, n_mels)` float32, power; at least `patch_frames` frames (see `tile`).
        patch_frames: Frames per patch; 128 is 2.97 s at hop 1024, 44.1 kHz.
        patch_hop: Frames between patch starts; 42 is 0.98 s.

    Returns:
        `(n_patches, patch_frames, n_mels)`, with `n_patches = 1 + (frames - patch_frames) // patch_hop`.

    Raises:
        ValueError: If `patch_frames` or `patch_hop` is below 1.

    Reference:
        Reference code, `src/sl_train.py`, `data_gen`.
    """
    if patch_frames < 1 or patch_hop < 1:
        raise ValueError(
            "`patch_frames` and `patch_hop` must be positive. "
            f"Received: patch_frames={patch_frames}, patch_hop={patch_hop}."
        )
    return tf.signal.frame(mel, patch_frames, patch_hop, axis=0)


def tile(mel: npt.NDArray[np.float32], patch_frames: int) -> npt.NDArray[np.float32]:
    """Repeats a clip shorter than a patch and cuts it to the patch's length; others are unchanged.

    Args:
        mel: `(frames, n_mels)`.
        patch_frames: Frames per patch.

    Reference:
        Reference code, `src/sl_train.py`, `pre_processing`; 1,253 of US8K's 8,732 clips need it.
    """
    if len(mel) >= patch_frames:
        return mel
    repeats = -(-patch_frames // len(mel))
    return np.tile(mel, (repeats, 1))[:patch_frames]


@dataclass(frozen=True)
class Episodes:
    """The patches of one prototypical training.

    Attributes:
        support: `(n_support_patches, patch_frames, n_mels)` float32, fixed for the run, ordered by class.
        support_labels: `(n_support_patches,)` int32.
        queries: Endless iterator; `(patches, labels)` of one update each.
        updates_per_epoch: Patches of all clips `//` patches per update; may be 0.
    """

    support: npt.NDArray[np.float32]
    support_labels: npt.NDArray[np.int32]
    queries: tf.data.Dataset
    updates_per_epoch: int


def episodes(
    store: MelSource,
    clips: Sequence[Clip],
    *,
    n_support: int,
    n_query: int,
    patch_hop: int,
    overlap: bool,
    seed: int,
    patch_frames: int = PATCH_FRAMES,
) -> Episodes:
    """Draws the support set of a run and its query sets.

    Args:
        store: Mel power.
        clips: Training clips.
        n_support: Maximum number of clips per class in the support, with one random patch each.
        n_query: Query patches per class and update: distinct if the class has enough, otherwise drawn with replacement.
        patch_hop: Frames between the candidate patches of a clip.
        overlap: Whether the support's patches may also be queries, as in the reference. If not, a class with all its
            patches in the support has no queries.
        seed: Seed of all draws; queries also depend on the index of the epoch.
        patch_frames: Frames per patch.

    Raises:
        ConfigError: If no class has a patch left for queries.

    Reference:
        Reference code, `src/proto.py`; docs/fidelity.md, "Prototypical training".
    """
    mels = [tile(store.mel(clip), patch_frames) for clip in clips]
    offsets = np.cumsum([0, *(len(mel) for mel in mels[:-1])])
    starts_of = [
        offset + np.arange(0, len(mel) - patch_frames + 1, patch_hop) for offset, mel in zip(offsets, mels, strict=True)
    ]
    with tf.device("CPU"):
        frames = tf.constant(np.concatenate(mels))
    n_mels = mels[0].shape[1]

    rng = np.random.default_rng((seed, _SUPPORT))
    support_starts: list[int] = []
    support_labels: list[int] = []
    candidates: dict[int, npt.NDArray[np.int64]] = {}
    for label in sorted({clip.label for clip in clips}):
        own = [at for at, clip in enumerate(clips) if clip.label == label]
        chosen = rng.choice(own, size=min(n_support, len(own)), replace=False)
        drawn = [int(rng.choice(starts_of[at])) for at in chosen]
        support_starts += drawn
        support_labels += [label] * len(drawn)
        patches = np.concatenate([starts_of[at] for at in own])
        left = patches if overlap else np.setdiff1d(patches, drawn)
        if left.size:
            candidates[label] = left
    if not candidates:
        raise ConfigError(
            "No class has a patch left for queries: all patches are in the support. "
            f"Received: {len(clips)} clips, n_support={n_support}, patch_hop={patch_hop}. Use a larger n_shot, "
            "a smaller `episodic.patch_hop`, or protocol=pons2018, in which both may overlap."
        )
    labels = np.repeat(np.array(sorted(candidates), np.int32), n_query)
    updates = sum(map(len, starts_of)) // len(labels)

    def draw() -> Iterator[npt.NDArray[np.int64]]:
        for epoch in itertools.count():
            rng = np.random.default_rng((seed, _QUERIES, epoch))
            for _ in range(updates):
                yield np.concatenate(
                    [rng.choice(own, size=n_query, replace=len(own) < n_query) for _, own in sorted(candidates.items())]
                )

    def cut(starts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = starts[:, tf.newaxis] + tf.range(patch_frames, dtype=tf.int64)
        return tf.ensure_shape(tf.gather(frames, rows), (len(labels), patch_frames, n_mels)), tf.constant(labels)

    queries = tf.data.Dataset.from_generator(draw, output_signature=tf.TensorSpec((len(labels),), tf.int64))
    rows = np.array(support_starts)[:, np.newaxis] + np.arange(patch_frames)
    return Episodes(
        support=frames.numpy()[rows],
        support_labels=np.array(support_labels, np.int32),
        queries=_read_ahead(queries.map(cut)),
        updates_per_epoch=updates,
    )
