"""Logits of patches to predictions of clips, and their accuracy."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import scipy.special

from loglearn_tf.datasets.clips import Clip
from loglearn_tf.features import MelStore
from loglearn_tf.pipeline import evaluation_patches


def clip_probabilities(
    model: keras.Model,
    store: MelStore,
    clips: Sequence[Clip],
    *,
    hop: int,
    batch_size: int = 64,
    mean: str = "arithmetic",
) -> npt.NDArray[Any]:
    """Mean over a clip's patches of their class probabilities, the softmax of the logits.

    Args:
        model: `(batch, 128, 128)` mel power to `(batch, n_classes)` logits.
        store: Mel power.
        clips: Clips to score; every one is scored, every patch counts.
        hop: Frames between the patches of a clip.
        batch_size: Patches scored at once.
        mean: `"arithmetic"`, of the probabilities; `"geometric"`, of their logarithms, as the reference does for
            prototypical networks, then scaled to sum to 1.

    Returns:
        `(n_clips, n_classes)` float64, rows that sum to 1.

    Reference:
        Reference code, `src/sl_train.py`, evaluation at hop 1. Its last partial batch is lost, and
        clips that fail are dropped from the mean; neither is copied.
    """

    if mean not in ("arithmetic", "geometric"):
        raise ValueError(f"`mean` must be 'arithmetic' or 'geometric'. Received: mean={mean!r}.")

    sums = np.zeros((len(clips), model.output_shape[-1]))
    counts = np.zeros(len(clips), np.int64)
    scores_of = scipy.special.log_softmax if mean == "geometric" else scipy.special.softmax
    for patches, numbers in evaluation_patches(store, clips, hop=hop, batch_size=batch_size):
        rows = numbers.numpy()
        # Compiled once for a model, however often it is scored.
        logits = np.asarray(model.predict_on_batch(patches), np.float64)
        np.add.at(sums, rows, scores_of(logits, axis=1))
        np.add.at(counts, rows, 1)
    means = sums / counts[:, np.newaxis]
    return scipy.special.softmax(means, axis=1) if mean == "geometric" else means


def accuracy(probabilities: npt.NDArray[Any], labels: Sequence[int]) -> float:
    """Share of clips whose most probable class is theirs; of equals, the first class wins.

    Args:
        probabilities: `(n_clips, n_classes)`.
        labels: `(n_clips,)` class indices.
    """
    return float(np.mean(probabilities.argmax(axis=1) == np.asarray(labels)))
