"""Advice on the folds of a data set: problems that stop a study or weaken its answers."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass

from loglearn_tf._util.text import first_few, printable, shown
from loglearn_tf.datasets.clips import TEST, TRAIN, VALIDATION, Clip, DataSet
from loglearn_tf.datasets.listing import split_name
from loglearn_tf.datasets.recordings import torn
from loglearn_tf.datasets.split_lists import speaker_of

# Folds count as unbalanced if the largest has this many times the clips of the smallest.
_UNBALANCED = 3
_REMEDY = "List the recordings in a column `group` of a CSV file and omit `fold`, to get folds that keep them"


@dataclass(frozen=True)
class Advice:
    """One remark on a data set as a whole, which is still usable.

    Attributes:
        about: `"torn recordings"`, `"torn speakers"`, `"overlap across folds"`, `"no training clips"`,
            `"no test clips"`, `"unbalanced folds"` or `"similar classes"`.
        text: The problem and the remedy.
    """

    about: str
    text: str


def advise(dataset: DataSet) -> list[Advice]:
    """Examines the folds of a data set without opening its files."""
    found = [*_torn(dataset), *_overlapping(dataset), *_classes(dataset)]
    sizes = Counter(clip.fold for clip in dataset.clips if clip.fold in dataset.train_folds)
    if sizes and max(sizes.values()) >= _UNBALANCED * min(sizes.values()):
        (large, most), (small, least) = sizes.most_common()[0], sizes.most_common()[-1]
        found.append(
            Advice(
                "unbalanced folds",
                f"fold {large} has {most:,} clips and fold {small} has {least:,}: their accuracies count equally, and "
                "training sets differ in size. Distribute the clips, or their recordings, more evenly.",
            )
        )
    alike: dict[str, list[str]] = defaultdict(list)
    for name in dataset.classes:
        alike["".join(re.split(r"[\s_-]+", name.casefold()))].append(name)
    for names in alike.values():
        if len(names) > 1:
            differ = f"{', '.join(map(shown, names))} differ only in capitals, spaces or dashes and count as "
            found.append(
                Advice("similar classes", f"{differ}{len(names)} classes. If they are the same, use one name.")
            )
    return found


def _torn(dataset: DataSet) -> Iterator[Advice]:
    folds = {clip.clip_id: clip.fold for clip in dataset.clips}
    apart = torn(folds, {clip.clip_id: clip.group for clip in dataset.clips})
    every = set(folds.values())
    if apart:
        everywhere = [name for name, its_folds in apart.items() if len(every) > 2 and set(its_folds) == every]
        names = ", ".join(
            first_few(list(apart), show=lambda name: f"{printable(name)} ({_folds(dataset, apart[name])})", most=3)
        )
        whole = f", {len(everywhere):,} of them in every fold" if everywhere else ""
        remedy = "This is its authors' split: keep it and mention this." if dataset.official else f"{_REMEDY} whole."
        yield Advice(
            "torn recordings",
            f"{_n(apart, 'recording')} in several folds{whole}: clips of one recording are in training and test sets: "
            f"{names}. {remedy}",
        )
    speakers = torn(folds, {clip.clip_id: "" if clip.group else speaker_of(clip.clip_id) for clip in dataset.clips})
    if speakers:
        yield Advice(
            "torn speakers",
            f"{_n(speakers, 'speaker')} in several folds, according to file names (..._nohash_...): "
            f"{', '.join(first_few(list(speakers), most=3))}. {_REMEDY} whole, or put validation_list.txt and "
            "testing_list.txt of Speech Commands next to the class folders.",
        )


def _overlapping(dataset: DataSet) -> Iterator[Advice]:
    """Overlapping segments of one file in different folds."""
    of_file: dict[str, list[tuple[float, float, Clip]]] = defaultdict(list)
    cut = {clip.path for clip in dataset.clips if clip.segment is not None}
    for clip in dataset.clips:
        if clip.path in cut:
            of_file[str(clip.path)].append((*(clip.segment or (0.0, math.inf)), clip))
    pairs: list[tuple[Clip, Clip]] = []
    for segments in of_file.values():
        lasting: list[tuple[float, float, Clip]] = []
        for start, end, clip in sorted(segments, key=lambda one: one[:2]):
            lasting = [other for other in lasting if other[1] > start]
            pairs += [(other, clip) for _, _, other in lasting if other.fold != clip.fold]
            lasting.append((start, end, clip))
    if pairs:
        names = first_few(pairs, show=lambda pair: " and ".join(_in_fold(dataset, clip) for clip in pair), most=3)
        yield Advice(
            "overlap across folds",
            f"{_n(pairs, 'pair')} of overlapping segments in different folds: the same sound is in training "
            f"and test sets: {'; '.join(names)}. Put all segments of a file into one fold, or omit `fold`.",
        )


def _classes(dataset: DataSet) -> Iterator[Advice]:
    recordings: dict[int, set[str]] = defaultdict(set)
    for clip in dataset.clips:
        recordings[clip.label].add(clip.recording)
    held = Counter((clip.fold, clip.label) for clip in dataset.clips)
    for about, folds_of in (
        ("no training clips", dataset.train_folds),
        ("no test clips", {fold: (fold,) for fold in dataset.train_folds}),
    ):
        lacking: dict[int, list[int]] = defaultdict(list)
        for fold, others in folds_of.items():
            if any(clip.fold == fold for clip in dataset.clips):
                for label in range(len(dataset.classes)):
                    if not sum(held[other, label] for other in others):
                        lacking[label].append(fold)
        if not lacking:
            continue
        names = first_few(
            [
                f"{printable(dataset.classes[label])} ({_folds(dataset, of, test=True)})"
                for label, of in lacking.items()
            ],
            most=3,
        )
        single = next((dataset.classes[label] for label in lacking if len(recordings[label]) == 1), "")
        one = f" All clips of {printable(single)} are from one recording: add others." if single else ""
        if about == "no training clips":
            text = (
                f"{_n(lacking, 'class')} without training clips for some test folds, which no study can use: "
                f"{', '.join(names)}.{one} Choose other `folds` or move clips."
            )
        else:
            text = (
                f"{_n(lacking, 'class')} missing from some test folds, whose accuracies do not include them: "
                f"{', '.join(names)}.{one} Distribute classes evenly over folds, or use fewer folds (`n_folds`)."
            )
        yield Advice(about, text)


def _n(found: Sized, noun: str) -> str:
    plural = "es" if noun.endswith("s") else "s"
    return f"{len(found):,} {noun}{plural if len(found) != 1 else ''}"


def _in_fold(dataset: DataSet, clip: Clip) -> str:
    return f"{printable(clip.clip_id)} ({_folds(dataset, [clip.fold])})"


def _folds(dataset: DataSet, folds: Iterable[int], *, test: bool = False) -> str:
    folds = list(folds)
    if dataset.train_folds == {TEST: (TRAIN,)} and {TRAIN, TEST, VALIDATION}.issuperset(folds):
        return " and ".join(map(split_name, folds))
    numbers: Sequence[str] = first_few(folds, show=str, most=10)
    return f"{'test ' if test else ''}fold{'s' if len(folds) > 1 else ''} {', '.join(numbers)}"
