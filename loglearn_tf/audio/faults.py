"""The text of every `AudioError`: the file, the reason, the remedy."""

import os
from typing import Union

from loglearn_tf._util.text import file_name as file_name
from loglearn_tf._util.text import printable
from loglearn_tf.errors import AudioError

FilePath = Union[str, "os.PathLike[str]"]

COPY_AGAIN = "Download or copy it again."
CONVERT = "Convert it to 16-bit PCM WAV or FLAC, or download it again."
CHECK_PATH = "Check the path."
_SHOWN_TEXT = 60  # characters shown of a text file

# Common files in place of sounds: first bytes, description, remedy.
_LOOKALIKES = (
    (b"version https://git-lfs.github.com/spec/", "it is a Git LFS pointer, not the sound", "Run `git lfs pull`."),
    (b"\0\5\x16\7", "it is an AppleDouble file, which holds the metadata of another file on macOS", "Delete it."),
    (b"<!doctype html", "it is a web page, not a sound: the server sent an error or a login", COPY_AGAIN),
    (b"<html", "it is a web page, not a sound: the server sent an error or a login", COPY_AGAIN),
    (b"<?xml", "it is an XML document, not a sound: the server may have sent an error", COPY_AGAIN),
)


def cannot_read(path: FilePath, reason: str, remedy: str, *, kind: type[AudioError] = AudioError) -> AudioError:
    """The error to raise for a file."""
    return kind(f"Cannot read audio file {file_name(path)}: {reason}. {remedy}")


def truncated(path: FilePath, held: int, declared: int, unit: str) -> AudioError:
    """The error to raise for a file that ends early."""
    return cannot_read(path, f"it has {held} of the {declared} {unit} declared in its header (truncated)", COPY_AGAIN)


def not_found(path: FilePath) -> AudioError:
    """The error to raise for a missing file or a broken link."""
    if not os.path.islink(path):
        return cannot_read(path, "file not found", CHECK_PATH)
    target = os.readlink(path)
    if ".git/annex/objects" in target.replace(os.sep, "/"):
        return cannot_read(path, "git-annex has not fetched it", "Run `git annex get` on it.")
    return cannot_read(path, f"it is a link to {printable(target)}, which does not exist", CHECK_PATH)


def lookalike(path: FilePath, start: bytes) -> AudioError | None:
    """The error to raise for a file that is not a sound, judging by its first bytes; None if it may be one."""
    if b"/annex/objects/" in start[:256]:  # a pointer, or the target of a link on systems without links
        return cannot_read(path, "it is a git-annex pointer, not the sound", "Run `git annex get` on it.")
    for magic, reason, remedy in _LOOKALIKES:
        if start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")[: len(magic)].lower() == magic:
            return cannot_read(path, reason, remedy)
    return None


def text(path: FilePath, start: bytes) -> AudioError | None:
    """The error to raise for a text file; None if the first bytes are not text."""
    try:
        words = " ".join(start[:512].decode("ascii").split())
    except UnicodeDecodeError:
        return None
    if not words or not words.isprintable():
        return None
    return cannot_read(path, f"it is a text file, not a sound: {printable(words, longest=_SHOWN_TEXT)}", COPY_AGAIN)
