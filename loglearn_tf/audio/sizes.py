"""What a declared size that is not the file's says: a writer that did not know it, or a file that was cut.

A header is written before its audio, and corrected when the writer is done. One that never was (a pipe, a crash, a
dead battery) holds a size that stands for "unknown": 0, or the largest of some type, less a header, rounded to whole
blocks. The header of a file that was cut later was proper: it declares some size like any other, and the file is
shorter. So a size is taken for unknown where it is 0, or next to a multiple of 2^30 or 10^9 bytes: of the sizes that
real recordings beyond 1 GB have, about one in ten thousand is.
"""

import struct

_ROUND = (2**30, 10**9)
_NEAR = 2**16  # bytes: a header, or what rounding to blocks takes away
_LARGEST_HEADER = 128  # that may have been counted as audio: 44 bytes of plain WAV, 80 of EXTENSIBLE with `fact`

LENGTH_UNKNOWN = "its header does not give its length; it was read to the end of the file"


def is_unknown(declared: int) -> bool:
    """Whether a declared size, larger than what the file holds, stands for "unknown"."""
    return declared > _NEAR and any(min(declared % unit, -declared % unit) <= _NEAR for unit in _ROUND)


def counts_header(declared: int, available: int, *, header: int, block: int) -> bool:
    """Whether a size is too large by a few bytes, no more than a writer's own header, though the file ends cleanly."""
    return 0 < declared - available <= min(header, _LARGEST_HEADER) and available % block == 0


def starts_chunk(head: bytes, left: int, *, field: str = "<I", name: int = 4) -> bool:
    """Whether what follows an empty chunk of audio is the next chunk, rather than the audio itself.

    Args:
        head: Its first 24 bytes.
        left: How many there are.
        field: Of a chunk's size, for `struct`.
        name: Bytes of a chunk's name.
    """
    if len(head) < name + struct.calcsize(field):
        return False
    (size,) = struct.unpack_from(field, head, name)
    return head[:4].isascii() and head[:4].decode().isprintable() and size <= left
