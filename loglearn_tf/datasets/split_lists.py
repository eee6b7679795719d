"""Lists next to class folders that define the training, validation and test split, as in Speech Commands."""

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

BACKGROUND_NOISE = "_background_noise_"  # minutes of noise for mixing; not a class
_NAMES = {
    "train": ("train.txt", "training.txt", "train_list.txt", "training_list.txt"),
    "validation": ("validation_list.txt", "val_list.txt", "validation.txt", "valid.txt", "val.txt"),
    "test": ("testing_list.txt", "test_list.txt", "testing.txt", "test.txt"),
}
# Speech Commands: a hash of the speaker and the number of the utterance.
_SPEAKER = re.compile(r"([0-9a-f]+)_nohash_\d+\.\w+")

_log = logging.getLogger("loglearn_tf")


class SplitLists(NamedTuple):
    """The content of the lists."""

    paths: list[Path]  # the list files
    fold_of: dict[str, int]  # recording, such as `dog/1.wav` -> a number of `SPLITS`
    rest: int | None  # split of the others; None if they are not used


def read_split_lists(root: Path) -> SplitLists | None:
    """Reads the lists next to class folders: `testing_list.txt` and `validation_list.txt`, where all others train, or
    `train.txt`, `val.txt` and `test.txt`; one path per line, relative to that folder.

    Returns:
        None if there are none.

    Raises:
        DataError: If a line is not such a path, a recording is in two lists, or a part has two lists.
    """
    lists: dict[str, Path] = {}
    for part, names in _NAMES.items():
        there = [root / name for name in names if (root / name).is_file()]
        if len(there) > 1:
            raise DataError(
                f"{root} must contain only one list for {part}. Received: {', '.join(path.name for path in there)}. "
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
                    "In %s %s not read: training and test lists are needed, with one path per line, such as dog/1.wav. "
                    "All recordings are assigned to folds.",
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
                    f"{where}: must be a path relative to {printable(str(root))} that starts with the class folder. "
                    f"Received: {shown(line)}."
                )
            if name in fold_of:
                raise DataError(f"{where}: {printable(name)} is listed twice. List it once.")
            fold_of[name] = SPLITS[part]
    return SplitLists(list(lists.values()), fold_of, rest=SPLITS["train"] if is_speech_commands else None)


def speaker_of(name: str) -> str:
    """The speaker in a file name of Speech Commands; empty for other names.

    Example:
        >>> speaker_of("bed/0a7c2a8d_nohash_0.wav"), speaker_of("bed/1.wav")
        ('0a7c2a8d', '')
    """
    match = _SPEAKER.fullmatch(posixpath.basename(name))
    return match[1] if match else ""
