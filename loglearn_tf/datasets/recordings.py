"""Which recording a clip was cut from, and folds that keep the clips of one recording together."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import PurePosixPath

# What their authors call clips: UrbanSound8K by the recording at freesound.org, class, occurrence and slice,
# 100032-3-0-0.wav; ESC-50 and ESC-10 by fold, recording, take and, later, class, 1-100032-A-0.wav.
_NAMES = (
    re.compile(r"(?P<recording>\d+)-\d+-\d+-\d+\.\w+"),
    re.compile(r"\d-(?P<recording>\d+)-[A-Z](-\d+)?\.\w+", re.IGNORECASE),
)


def recording_of(name: str) -> str:
    """The recording that a file's name tells, in the form of UrbanSound8K or ESC; empty where it tells none.

    Example:
        >>> recording_of("audio/fold5/100032-3-0-0.wav"), recording_of("Rain/1-17367-A.ogg"), recording_of("a.wav")
        ('100032', '17367', '')
    """
    file = PurePosixPath(name).name
    found = next((match for match in (form.fullmatch(file) for form in _NAMES) if match), None)
    return found["recording"] if found else ""


def deal(labels: Mapping[str, str], groups: Mapping[str, str], n_folds: int) -> dict[str, int]:
    """Deals clips into folds from 1 on: never those of one recording into two, and of each class as evenly as can be.

    The folds follow from the names of clips, classes and recordings alone, the same on every machine. Where every clip
    is a recording of its own, folds of a class have equal size to one.

    Args:
        labels: Clip -> its class.
        groups: Clip -> its recording; what is left out, or empty, is a recording of its own.
        n_folds: How many. Fewer are used where there are fewer recordings.

    Returns:
        Clip -> its fold.
    """
    recordings: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for name in labels:
        group = groups.get(name, "")
        recordings[bool(group), group or name].append(name)
    # The largest first, while there is room for them; then in an order that the alphabet has no part in.
    order = sorted(
        recordings.items(), key=lambda one: (-len(one[1]), hashlib.sha256(one[0][1].encode()).digest(), one[0])
    )
    sizes: Counter[tuple[str, int]] = Counter()  # of classes in folds
    folds: dict[str, int] = {}
    for _, clips in order:
        classes = Counter(labels[name] for name in clips)
        fold = min(
            range(1, n_folds + 1), key=lambda fold: (sum(sizes[label, fold] * n for label, n in classes.items()), fold)
        )
        for name in clips:
            folds[name] = fold
            sizes[labels[name], fold] += 1
    return folds


def torn(folds: Mapping[str, int], groups: Mapping[str, str]) -> dict[str, list[int]]:
    """The recordings that lie in more than one fold, each with its folds.

    Args:
        folds: Clip -> its fold.
        groups: Clip -> its recording; empty where it is not known.
    """
    found: dict[str, set[int]] = defaultdict(set)
    for name, fold in folds.items():
        if groups.get(name):
            found[groups[name]].add(fold)
    return {group: sorted(its_folds) for group, its_folds in sorted(found.items()) if len(its_folds) > 1}
