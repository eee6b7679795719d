"""The source recordings of clips, and folds that keep the clips of one recording together."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import PurePosixPath

# File names of official clips. UrbanSound8K: freesound.org recording, class, occurrence, slice (100032-3-0-0.wav).
# ESC-50 and ESC-10: fold, recording, take and, in later versions, class (1-100032-A-0.wav).
_NAMES = (
    re.compile(r"(?P<recording>\d+)-\d+-\d+-\d+\.\w+"),
    re.compile(r"\d-(?P<recording>\d+)-[A-Z](-\d+)?\.\w+", re.IGNORECASE),
)


def recording_of(name: str) -> str:
    """The recording in a file name of the form of UrbanSound8K or ESC; empty for other names.

    Example:
        >>> recording_of("audio/fold5/100032-3-0-0.wav"), recording_of("Rain/1-17367-A.ogg"), recording_of("a.wav")
        ('100032', '17367', '')
    """
    file = PurePosixPath(name).name
    found = next((match for match in (form.fullmatch(file) for form in _NAMES) if match), None)
    return found["recording"] if found else ""


def deal(labels: Mapping[str, str], groups: Mapping[str, str], n_folds: int) -> dict[str, int]:
    """Assigns clips to folds 1, 2, ...: recordings stay whole, and classes are spread as evenly as possible.

    The folds depend only on the names of clips, classes and recordings, so they are the same on every machine. If every
    clip is its own recording, the fold sizes of a class differ by at most one.

    Args:
        labels: Clip -> its class.
        groups: Clip -> its recording; a missing or empty entry is its own recording.
        n_folds: Number of folds; fewer if there are fewer recordings.

    Returns:
        Clip -> its fold.
    """
    recordings: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for name in labels:
        group = groups.get(name, "")
        recordings[bool(group), group or name].append(name)
    # The largest first, while there is room for them; then in an order that is not alphabetical.
    order = sorted(
        recordings.items(), key=lambda one: (-len(one[1]), hashlib.sha256(one[0][1].encode()).digest(), one[0])
    )
    sizes: Counter[tuple[str, int]] = Counter()  # clips of each class in each fold
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
    """The recordings in more than one fold, each with its folds.

    Args:
        folds: Clip -> its fold.
        groups: Clip -> its recording; empty if unknown.
    """
    found: dict[str, set[int]] = defaultdict(set)
    for name, fold in folds.items():
        if groups.get(name):
            found[groups[name]].add(fold)
    return {group: sorted(its_folds) for group, its_folds in sorted(found.items()) if len(its_folds) > 1}
