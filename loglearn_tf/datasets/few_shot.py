"""The n-shot draw: the training and validation clips of a run."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from loglearn_tf._util.seeds import derive_seed
from loglearn_tf._util.text import printable
from loglearn_tf.datasets.clips import Clip, DataSet
from loglearn_tf.datasets.n_shot import ALL, NShot
from loglearn_tf.errors import ConfigError


def draw_clips(dataset: DataSet, *, fold: int, n_shot: NShot, run: int, seed: int) -> tuple[Clip, ...]:
    """Draws `n_shot` training clips of every class, without replacement; or takes all, whatever the class sizes.

    The draw depends only on the arguments and the clips: runs of different models and compressions share it, draws for
    different n are independent, and neither the order of the work nor the other cells of a grid can change it.

    Args:
        dataset: The draw is from its `train_clips(fold)`.
        fold: Test fold.
        n_shot: Clips per class, or `all`: every training clip of the fold, the same in every run.
        run: Index of the repetition.
        seed: Seed of the study.

    Returns:
        `n_shot * n_classes` clips, or all clips, ordered by class.

    Raises:
        ConfigError: If a class has fewer than `n_shot` clips, or none at all.

    Reference:
        The paper, section 3; the reference code draws again for every run, without a seed.
    """
    by_class = _by_class(dataset, fold, n_shot)
    if n_shot == ALL:
        return tuple(clip for candidates in by_class for clip in candidates)
    drawn: list[Clip] = []
    for label, candidates in enumerate(by_class):
        rng = np.random.default_rng(derive_seed(seed, "clips", dataset.name, fold, n_shot, run, dataset.classes[label]))
        drawn += [candidates[at] for at in rng.choice(len(candidates), size=n_shot, replace=False)]
    return tuple(drawn)


def split_clips(clips: Sequence[Clip], *, share: float, seed: int) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """Selects about a share of the clips of every class for validation, by whole recordings, at random.

    At least one clip of every class is selected if that leaves one for training; none of a class with a single
    recording. For classes with few, long recordings it may be more than the share.

    Args:
        clips: Clips of all classes, in a fixed order.
        share: Above 0, below 1.
        seed: Determines the draw, together with the clips.

    Returns:
        The training and the validation clips, in the order of `clips`.

    Raises:
        ConfigError: If no clip can be used for validation.
    """
    recordings: dict[str, Counter[int]] = {}
    for clip in clips:
        recordings.setdefault(clip.recording, Counter())[clip.label] += 1
    names = sorted(recordings)
    names = [names[at] for at in np.random.default_rng(seed).permutation(len(names))]
    left = Counter(clip.label for clip in clips)
    wanted = {label: max(1, round(share * count)) for label, count in left.items()}
    taken: Counter[int] = Counter()
    chosen: set[str] = set()

    def take(name: str, *, at_most: Mapping[int, int]) -> None:
        inside = recordings[name]
        if all(left[label] > n and taken[label] + n <= at_most[label] for label, n in inside.items()):
            chosen.add(name)
            taken.update(inside)
            left.subtract(inside)

    for name in names:
        take(name, at_most=wanted)
    # If all recordings of a class are longer than that, take the shortest one.
    for label in sorted(wanted):
        for name in sorted(names, key=lambda name: recordings[name].total()):
            if not taken[label] and label in recordings[name]:
                take(name, at_most=Counter(clip.label for clip in clips))
    if not chosen:
        raise ConfigError(
            "`training.validation=share` needs a class with at least two training recordings, since each class must "
            f"keep one to train with. Received: {len(clips)} training clips of {len(wanted)} classes. Use a larger "
            "`n_shot`, or `training.validation=fold`."
        )
    return (
        tuple(clip for clip in clips if clip.recording not in chosen),
        tuple(clip for clip in clips if clip.recording in chosen),
    )


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
            f"No `n_shot` works with test fold {fold}: {label} has 0 training clips in {dataset.root}. "
            f"Received: n_shot={n_shot}. Choose other `folds`, or add recordings of {label} to the training folds."
        )
    if n_shot != ALL and len(classes[smallest]) < n_shot:
        raise ConfigError(
            f"`n_shot` is larger than the smallest class: with test fold {fold}, "
            f"{dataset.classes[smallest]} has {len(classes[smallest])} training clips in {dataset.root}. "
            f"Received: n_shot={n_shot}. Use at most {len(classes[smallest])}, or a larger part of the data set."
        )
    return list(classes)
