"""Where the audio of containers other than RIFF/WAVE ends by its own account: soundfile reads many a cut file as a
shorter recording."""

import os
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from loglearn_tf.audio.faults import CHECK_PATH, CONVERT, FilePath, cannot_read, truncated
from loglearn_tf.audio.wav import MAX_CHUNKS, OPEN_SIZE


class _Chunks(NamedTuple):
    """How a container lays out its chunks."""

    audio: bytes  # the first four bytes of the name of the chunk that holds the audio
    first: int  # bytes from the start of the file to the first chunk
    head: str  # name and size of a chunk, for `struct`
    counted: int = 0  # bytes of the head that a size includes
    multiple: int = 2  # of bytes, to which chunks are padded


_LAYOUTS = {
    b"RIFX": _Chunks(b"data", 12, ">4sI"),
    b"RF64": _Chunks(b"data", 12, "<4sI"),
    b"FORM": _Chunks(b"SSND", 12, ">4sI"),  # AIFF, AIFC
    b"riff": _Chunks(b"data", 40, "<4s12xQ", counted=24, multiple=8),  # W64
    b"caff": _Chunks(b"data", 8, ">4sQ", multiple=1),
}


def check_complete(path: FilePath, container: str) -> None:
    """Refuses a file that is shorter than its header says, and W64 with more than its audio.

    Args:
        path: A file that soundfile reads, not RIFF/WAVE.
        container: soundfile's name of it.

    Raises:
        AudioError: If it is cut, or cannot be opened.
    """
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            end = declared_end(file, size)
    except OSError as error:  # it was there a moment ago
        raise cannot_read(path, error.strerror or str(error), CHECK_PATH) from error
    if end is not None and size < end:
        raise truncated(path, size, end, "bytes")
    if end is not None and container == "W64" and size >= end + 8:
        # Up to 7 are padding. More are other chunks, which soundfile takes for samples.
        raise cannot_read(path, f"{size - end} bytes follow its audio, which would be decoded as such", CONVERT)


def declared_end(file: BinaryIO, size: int) -> int | None:
    """Bytes a file must have to hold the audio its header declares; None where it does not say."""
    start = file.read(40)
    magic = start[:4]
    if magic == b"OggS":
        return _end_of_pages(file)
    if magic == b".snd" and len(start) >= 12:
        offset, n_bytes = struct.unpack_from(">II", start, 4)
        return None if n_bytes == OPEN_SIZE else offset + n_bytes
    if magic == b"FORM" and start[8:12] not in (b"AIFF", b"AIFC") or magic == b"riff" and start[24:28] != b"wave":
        return None
    long_size = None
    if magic == b"RF64":
        if start[12:16] != b"ds64" or len(start) < 36:
            return None
        (long_size,) = struct.unpack_from("<Q", start, 28)
    return _end_of_chunk(file, size, _LAYOUTS[magic], long_size) if magic in _LAYOUTS else None


def _end_of_chunk(file: BinaryIO, file_size: int, layout: _Chunks, long_size: int | None) -> int | None:
    """Where the audio's chunk ends; `long_size` is its size where its own field leaves it open."""
    at, n_head = layout.first, struct.calcsize(layout.head)
    for _ in range(MAX_CHUNKS):
        if at + n_head > file_size:
            return None
        file.seek(at)
        name, size = struct.unpack(layout.head, file.read(n_head))
        at += n_head
        if name == layout.audio and size in (OPEN_SIZE, 2**64 - 1):
            return None if long_size is None else at + long_size
        size = max(size - layout.counted, 0)
        if name == layout.audio:
            return at + size
        at += size + -size % layout.multiple
    return None


def _end_of_pages(file: BinaryIO) -> int | None:
    """Where the last OGG page ends."""
    offset = 0
    while True:
        file.seek(offset)
        head = file.read(27)
        if not head:
            return offset
        if head[:4] != b"OggS"[: len(head)]:
            return None  # something else follows the pages
        if len(head) < 27:
            return offset + 27
        offset += 27 + head[26] + sum(file.read(head[26]))
