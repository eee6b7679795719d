"""A virtual file for decoders: parts of a file, with other bytes before, between and after them."""

import bisect
import io
import itertools
from collections.abc import Sequence
from typing import BinaryIO

Piece = bytes | tuple[int, int]  # bytes, or (start, end) in the file


class Spliced(io.RawIOBase):
    """Reads pieces of a file, and other bytes, as one file.

    Nothing is copied, whatever the length. Positions outside are allowed, since an exception cannot pass through the C
    decoders that call this.

    Args:
        file: Open, for reading; closed by its owner.
        pieces: Bytes, or `(start, end)` in the file.
        pretended: Bytes added to the reported size, for decoders that read no more than they estimate from it. They are
            read as zeros at the very end.
    """

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece], *, pretended: int = 0) -> None:
        super().__init__()
        self._file, self._pieces = file, pieces
        sizes = (len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in pieces)
        self._starts = [0, *itertools.accumulate(sizes)]  # starts of the pieces, and the end of the last
        self._size = self._starts[-1] + pretended
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(offset + (0, self._at, self._size)[whence], 0)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        n_read = 0
        while n_read < len(buffer) and self._at < self._size:
            data = self._read_piece(len(buffer) - n_read)
            if not data:
                break
            buffer[n_read : n_read + len(data)] = data
            n_read += len(data)
            self._at += len(data)
        return n_read

    def _read_piece(self, n_most: int) -> bytes:
        if self._at >= self._starts[-1]:
            # Reading at the very end (for tags) gives zeros; reading on from the last piece gives the end of the file.
            return bytes(min(n_most, self._size - self._at)) if self._at > self._starts[-1] else b""
        number = bisect.bisect_right(self._starts, self._at) - 1
        piece, offset = self._pieces[number], self._at - self._starts[number]
        n_most = min(n_most, self._starts[number + 1] - self._at)
        if isinstance(piece, bytes):
            return piece[offset : offset + n_most]
        self._file.seek(piece[0] + offset)
        return self._file.read(n_most)
