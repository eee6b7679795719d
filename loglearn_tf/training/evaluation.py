"""From logits of patches to predictions of clips and their accuracy."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
import numpy.typing as npt
import scipy.special

from loglearn_tf.datasets.clips import Clip
from loglearn_tf.features.store import MelSource
from loglearn_tf.layers.clip_head import MEANS
from loglearn_tf.models.base import PATCH_FRAMES
from loglearn_tf.training.patches import evaluation_patches, tile
from loglearn_tf.training.sliding import NoMapsError, SlidingScorer, sliding_scorer

_log = logging.getLogger(__name__)

# Beyond this hop patches share so little that cutting them is as fast.
_LARGEST_SLIDING_HOP = 16
# Limits memory: about 100 MB with VGG's borders.
_PATCHES_AT_ONCE = 512
_scorers: WeakKeyDictionary[keras.Model, dict[tuple[int, ...], SlidingScorer | None]] = WeakKeyDictionary()


def clip_probabilities(
    model: keras.Model,
    store: MelSource,
    clips: Sequence[Clip],
    *,
    hop: int,
    batch_size: int = 16,
    mean: str = "arithmetic",
    patch_frames: int = PATCH_FRAMES,
) -> npt.NDArray[Any]:
    """Class probabilities of clips: the softmax of the logits, averaged over patches.

    If the network allows it, all patches of a clip are scored from maps of the whole clip (see `sliding`); otherwise
    they are cut out. The results are equal except for rounding.

    Args:
        model: From `(batch, patch_frames, n_mels)` mel power to `(batch, n_classes)` logits. Patches have the length of
            its input, or `patch_frames` if that is variable.
        store: Mel power.
        clips: Clips to score, with all their patches.
        hop: Frames between the patches of a clip.
        batch_size: Patches scored at once, if they are cut out.
        mean: `"arithmetic"`, of the probabilities; `"geometric"`, of their logarithms, as the reference does for
            prototypical networks, then scaled to sum to 1.
        patch_frames: Frames per patch, if the model accepts any number.

    Returns:
        `(n_clips, n_classes)` float64, rows that sum to 1.

    Reference:
        Reference code, `src/sl_evaluate.py`, at hop 1. It loses its last partial batch and drops failing clips from the
        mean; neither is copied.
    """
    if mean not in MEANS:
        raise ValueError(f"`mean` must be one of {MEANS}. Received: mean={mean!r}.")
    scorer = _scorer(model, hop)
    logits = (
        _logits_of_cut_patches(model, store, clips, hop=hop, batch_size=batch_size, patch_frames=patch_frames)
        if scorer is None
        else _logits_of_sliding_patches(scorer, model, store, clips, hop=hop)
    )
    sums = np.zeros((len(clips), model.output_shape[-1]))
    counts = np.zeros(len(clips), np.int64)
    scores_of = scipy.special.log_softmax if mean == "geometric" else scipy.special.softmax
    for numbers, some in logits:
        np.add.at(sums, numbers, scores_of(some.astype(np.float64), axis=1))
        np.add.at(counts, numbers, 1)
    means = sums / counts[:, np.newaxis]
    return scipy.special.softmax(means, axis=1) if mean == "geometric" else means


def _logits_of_cut_patches(
    model: keras.Model, store: MelSource, clips: Sequence[Clip], *, hop: int, batch_size: int, patch_frames: int
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """`(n,)` indices into `clips` and `(n, n_classes)` logits, batch by batch, for any model."""
    patch_frames = model.input_shape[1] or patch_frames
    for patches, numbers in evaluation_patches(store, clips, hop=hop, batch_size=batch_size, patch_frames=patch_frames):
        # Compiled once per model.
        yield numbers.numpy(), np.asarray(model.predict_on_batch(patches))


def _logits_of_sliding_patches(
    scorer: SlidingScorer, model: keras.Model, store: MelSource, clips: Sequence[Clip], *, hop: int
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """The same for several clips of equal length at once."""
    patch_frames = model.input_shape[1]
    by_length: dict[int, list[int]] = {}
    for number, clip in enumerate(clips):
        by_length.setdefault(max(len(store.mel(clip)), patch_frames), []).append(number)
    for n_frames, numbers in by_length.items():
        n_patches = (n_frames - patch_frames) // hop + 1
        at_once = max(1, _PATCHES_AT_ONCE // n_patches)
        for at in range(0, len(numbers), at_once):
            some = numbers[at : at + at_once]
            mels = np.stack([tile(store.mel(clips[number]), patch_frames) for number in some])
            # Long clips are split into sections that overlap by the shared part of patches.
            for first in range(0, n_patches, _PATCHES_AT_ONCE):
                last = min(first + _PATCHES_AT_ONCE, n_patches) - 1
                logits = scorer.logits(mels[:, first * hop : last * hop + patch_frames])
                yield np.repeat(some, last - first + 1), logits.reshape(-1, logits.shape[-1])


def _scorer(model: keras.Model, hop: int) -> SlidingScorer | None:
    """The model's scorer, made once; `None` if cutting patches is the only or the faster way."""
    if hop > _LARGEST_SLIDING_HOP:
        _log.debug("%s at hop %d: patches are cut out, since they share little at this distance", model.name, hop)
        return None
    kept = _scorers.setdefault(model, {})
    # Layers can be added to a sequential model later.
    kind = (hop, *map(id, model.layers))
    if kind not in kept:
        kept[kind] = sliding_scorer(model, hop=hop)
    return kept[kind]


def how_scored(model: keras.Model, *, hop: int) -> str:
    """How `clip_probabilities` scores a model, in words, with the reason if patches are cut out."""
    if hop > _LARGEST_SLIDING_HOP:
        return f"its patches are cut out for scoring, {hop} frames apart"
    try:
        SlidingScorer(model, hop=hop)
    except NoMapsError as reason:
        return f"its patches are cut out for scoring, which is slower than maps of whole clips: {reason}"
    return "scored from maps of whole clips"


def accuracy(probabilities: npt.NDArray[Any], labels: Sequence[int]) -> float:
    """Share of clips whose most probable class is correct; on ties, the first class counts.

    Args:
        probabilities: `(n_clips, n_classes)`.
        labels: `(n_clips,)` class indices.
    """
    return float(np.mean(probabilities.argmax(axis=1) == np.asarray(labels)))
