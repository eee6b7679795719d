"""The n-shot draw: which clips train a run."""

from collections.abc import Sequence

import numpy as np

from loglearn_tf._util.seeds import derive_seed
from loglearn_tf._util.text import printable
from loglearn_tf.datasets.clips import Clip, DataSet
from loglearn_tf.datasets.n_shot import ALL, NShot
from loglearn_tf.errors import ConfigError


def draw_clips(dataset: DataSet, *, fold: int, n_shot: NShot, run: int, seed: int) -> tuple[Clip, ...]:
    """Draws `n_shot` training clips of every class, without replacement; or takes all, whatever the classes' sizes.

    The draw depends on the arguments and the clips alone: runs of different models and compressions
    share it, draws for different n are independent, and neither the order of the work nor the other
    cells of a grid can change it.

    Args:
        dataset: Its `train_clips(fold)` are drawn from.
        fold: Test fold.
        n_shot: Clips per class, or `all`: every training clip of the fold, the same in every run.
        run: Number of the repetition.
        seed: The study's.

    Returns:
        `n_shot * n_classes` clips, or all there are, ordered by class.

    Raises:
        ConfigError: If a class has fewer than `n_shot` clips, or none.

    Reference:
        The paper, section 3; the reference code draws unseeded and for every run anew.
    """
    by_class = _by_class(dataset, fold, n_shot)
    if n_shot == ALL:
        return tuple(clip for candidates in by_class for clip in candidates)
    drawn: list[Clip] = []
    for label, candidates in enumerate(by_class):
        rng = np.random.default_rng(derive_seed(seed, "clips", dataset.name, fold, n_shot, run, dataset.classes[label]))
        drawn += [candidates[at] for at in rng.choice(len(candidates), size=n_shot, replace=False)]
    return tuple(drawn)


def check_n_shot(dataset: DataSet, *, fold: int, n_shot: NShot) -> None:
    """Raises the `ConfigError` of `draw_clips`, before any work is done."""
    _by_class(dataset, fold, n_shot)


def _by_class(dataset: DataSet, fold: int, n_shot: NShot) -> list[Sequence[Clip]]:
    classes: list[list[Clip]] = [[] for _ in dataset.classes]
    for clip in sorted(dataset.train_clips(fold), key=lambda clip: clip.clip_id):
        classes[clip.label].append(clip)
    smallest = min(range(len(classes)), key=lambda label: len(classes[label]))
    if not classes[smallest]:
        label = printable(dataset.classes[smallest])
        raise ConfigError(
            f"No `n_shot` can work with fold {fold} as the test fold: {label} has 0 training clips in {dataset.root}. "
            f"Received: n_shot={n_shot}. Name other `folds`, or put recordings of {label} into the folds that train."
        )
    if n_shot != ALL and len(classes[smallest]) < n_shot:
        raise ConfigError(
            f"`n_shot` is larger than the smallest class: with fold {fold} as the test fold, "
            f"{dataset.classes[smallest]} has {len(classes[smallest])} training clips in {dataset.root}. "
            f"Received: n_shot={n_shot}. Use at most {len(classes[smallest])}, or a larger part of the data set."
        )
    return list(classes)
