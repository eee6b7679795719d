"""Lists beside the folders of classes that say which recordings train, validate and test, as of Speech Commands."""

import logging
import posixpath
import re
from pathlib import Path
from typing import NamedTuple

from loglearn_tf._util.text import printable, shown
from loglearn_tf.datasets.clips import read_lines
from loglearn_tf.datasets.listing import SPLITS
from loglearn_tf.datasets.search import is_named_as_sound
from loglearn_tf.errors import DataError

BACKGROUND_NOISE = "_background_noise_"  # minutes of noise to be mixed in; no class
_NAMES = {
    "train": ("train.txt", "training.txt", "train_list.txt", "training_list.txt"),
    "validation": ("validation_list.txt", "val_list.txt", "validation.txt", "valid.txt", "val.txt"),
    "test": ("testing_list.txt", "test_list.txt", "testing.txt", "test.txt"),
}
# Of Speech Commands: the speaker, by a hash, and the number of the utterance.
_SPEAKER = re.compile(r"([0-9a-f]+)_nohash_\d+\.\w+")

_log = logging.getLogger("loglearn_tf")


class SplitLists(NamedTuple):
    """What the lists say."""

    paths: list[Path]  # of the lists
    fold_of: dict[str, int]  # recording, as `dog/1.wav`, to a number of `SPLITS`
    rest: int | None  # what those in no list do; None where they are not used


def read_split_lists(root: Path) -> SplitLists | None:
    """The lists in a folder of classes' folders: `testing_list.txt` and `validation_list.txt`, where everything else
    trains, or `train.txt`, `val.txt` and `test.txt`; a line each for a recording, by its path from there.

    Returns:
        None if there are none.

    Raises:
        DataError: If a line is no such path, a recording is in two of them, or there are two lists of one part.
    """
    lists: dict[str, Path] = {}
    for part, names in _NAMES.items():
        there = [root / name for name in names if (root / name).is_file()]
        if len(there) > 1:
            raise DataError(
                f"{root} must hold one list of what is to {part}. Received: {', '.join(path.name for path in there)}. "
                "Remove the others."
            )
        if there:
            lists[part] = there[0]
    is_speech_commands = lists.get("test") == root / "testing_list.txt" and "train" not in lists
    if not is_speech_commands:
        firsts = [next((line.strip() for _, line in read_lines(path)), "") for path in lists.values()]
        name_sounds = any(is_named_as_sound(word) for first in firsts for word in re.split(r"[\s,;]+", first))
        are_paths = any("/" in first and is_named_as_sound(first) for first in firsts)
        if not ({"train", "test"} <= lists.keys() and are_paths):
            if name_sounds:
                _log.warning(
                    "In %s %s not read: lists of what trains and what tests are needed, each line a path such as "
                    "dog/1.wav. All recordings are dealt into folds.",
                    printable(str(root)),
                    ", ".join(path.name for path in lists.values()),
                )
            return None
    fold_of: dict[str, int] = {}
    for part, path in lists.items():
        for where, line in read_lines(path):
            name = posixpath.normpath(line.strip().replace("\\", "/"))
            if "/" not in name or name.startswith(("/", "../")):
                raise DataError(
                    f"{where}: a path from {printable(str(root))} is expected, which begins with the class's folder. "
                    f"Received: {shown(line)}."
                )
            if name in fold_of:
                raise DataError(f"{where}: {printable(name)} is listed twice. Let one list name it, once.")
            fold_of[name] = SPLITS[part]
    return SplitLists(list(lists.values()), fold_of, rest=SPLITS["train"] if is_speech_commands else None)


def speaker_of(name: str) -> str:
    """The speaker whom the name of a file of Speech Commands tells; empty where it tells none.

    Example:
        >>> speaker_of("bed/0a7c2a8d_nohash_0.wav"), speaker_of("bed/1.wav")
        ('0a7c2a8d', '')
    """
    match = _SPEAKER.fullmatch(posixpath.basename(name))
    return match[1] if match else ""
