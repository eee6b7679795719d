"""Interprets a declared size that is not the file's: the writer did not know it, or the file was truncated.

A header is written before its audio and corrected at the end. If it never was (a pipe, a crash, an empty battery), it
has a size that means "unknown": 0, or the maximum of some type, minus a header, rounded to whole blocks. The header of
a file that was truncated later is proper: it declares an ordinary size, and the file is shorter. So a size counts as
unknown if it is 0, or close to a multiple of 2^30 or 10^9 bytes, which is true for about one in ten thousand real
recordings larger than 1 GB.
"""

import struct

_ROUND = (2**30, 10**9)
_NEAR = 2**16  # bytes: a header, or the effect of rounding to blocks
_LARGEST_HEADER = 128  # may be counted as audio: 44 bytes in plain WAV, 80 in EXTENSIBLE with `fact`

LENGTH_UNKNOWN = "its header does not give its length; it was read to the end of the file"


def is_unknown(declared: int) -> bool:
    """Whether a declared size larger than the file means "unknown"."""
    return declared > _NEAR and any(min(declared % unit, -declared % unit) <= _NEAR for unit in _ROUND)


def counts_header(declared: int, available: int, *, header: int, block: int) -> bool:
    """Whether a size is too large by a few bytes, at most a header, although the file ends cleanly."""
    return 0 < declared - available <= min(header, _LARGEST_HEADER) and available % block == 0


def starts_chunk(head: bytes, left: int, *, field: str = "<I", name: int = 4) -> bool:
    """Whether an empty audio chunk is followed by another chunk rather than by the audio itself.

    Args:
        head: The first 24 bytes after it.
        left: Number of bytes left.
        field: Format of a chunk's size, for `struct`.
        name: Length of a chunk's name in bytes.
    """
    if len(head) < name + struct.calcsize(field):
        return False
    (size,) = struct.unpack_from(field, head, name)
    return head[:4].isascii() and head[:4].decode().isprintable() and size <= left
