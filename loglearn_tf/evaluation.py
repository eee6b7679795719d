"""Logits of patches to predictions of clips, and their accuracy."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from loglearn_tf.datasets.clips import Clip
from loglearn_tf.features import MelStore
from loglearn_tf.pipeline import evaluation_patches


def clip_probabilities(
    model: keras.Model, store: MelStore, clips: Sequence[Clip], *, hop: int, batch_size: int = 64
) -> npt.NDArray[Any]:
    """Mean over a clip's patches of the softmax of their logits.

    Args:
        model: `(batch, 128, 128)` mel power to `(batch, n_classes)` logits.
        store: Mel power.
        clips: Clips to score; every one is scored, every patch counts.
        hop: Frames between the patches of a clip.
        batch_size: Patches scored at once.

    Returns:
        `(n_clips, n_classes)` float64, rows that sum to 1.

    Reference:
        Reference code, `src/sl_train.py`, evaluation at hop 1. Its last partial batch is lost, and
        clips that fail are dropped from the mean; neither is copied.
    """

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def softmax_of(patches: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(tf.cast(model(patches, training=False), tf.float32))

    sums = np.zeros((len(clips), model.output_shape[-1]))
    counts = np.zeros(len(clips), np.int64)
    for patches, numbers in evaluation_patches(store, clips, hop=hop, batch_size=batch_size):
        rows = numbers.numpy()
        np.add.at(sums, rows, softmax_of(patches).numpy())
        np.add.at(counts, rows, 1)
    return sums / counts[:, np.newaxis]


def accuracy(probabilities: npt.NDArray[Any], labels: Sequence[int]) -> float:
    """Share of clips whose most probable class is theirs; of equals, the first class wins.

    Args:
        probabilities: `(n_clips, n_classes)`.
        labels: `(n_clips,)` class indices.
    """
    return float(np.mean(probabilities.argmax(axis=1) == np.asarray(labels)))
