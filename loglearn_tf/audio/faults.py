"""The words of every `AudioError`: the file, the reason, the remedy."""

import os
from typing import Union

from loglearn_tf._util.text import printable
from loglearn_tf.errors import AudioError

FilePath = Union[str, "os.PathLike[str]"]

COPY_AGAIN = "Download or copy it again."
CONVERT = "Convert it to 16-bit PCM WAV or FLAC, or download it again."
CHECK_PATH = "Check the path."
_LONGEST_PATH = 4096  # that Linux opens


def cannot_read(path: FilePath, reason: str, remedy: str, *, kind: type[AudioError] = AudioError) -> AudioError:
    """The error to raise for a file."""
    name = printable(os.fspath(path), longest=_LONGEST_PATH)
    return kind(f"Cannot read audio file {name}: {reason}. {remedy}")


def truncated(path: FilePath, held: int, declared: int, unit: str) -> AudioError:
    """The error to raise for a file that ends early."""
    return cannot_read(path, f"it holds {held} of the {declared} {unit} its header declares (truncated)", COPY_AGAIN)
