"""Pieces of a file, and bytes between them, read as one file."""

import io
import os

from hypothesis import given
from hypothesis import strategies as st

from loglearn_tf.audio.spliced import Spliced

CONTENT = bytes(range(256))
PIECES = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.tuples(st.integers(0, 256), st.integers(0, 256)).map(lambda ends: tuple(sorted(ends))),
    ),
    max_size=6,
)
MOVES = st.lists(st.tuples(st.integers(-50, 700), st.sampled_from([0, 1, 2]), st.integers(0, 300)), max_size=10)


@given(pieces=PIECES, moves=MOVES)
def test_it_behaves_like_a_file_of_these_bytes(pieces, moves):
    expected = b"".join(piece if isinstance(piece, bytes) else CONTENT[slice(*piece)] for piece in pieces)
    file, reference = Spliced(io.BytesIO(CONTENT), pieces), io.BytesIO(expected)
    assert file.read() == reference.read() == expected
    for offset, whence, size in moves:
        start = (0, reference.tell(), len(expected))[whence]
        assert file.seek(offset, whence) == reference.seek(max(start + offset, 0))
        assert file.read(size) == reference.read(size)
        assert file.tell() == reference.tell()


def test_a_size_that_is_pretended():
    """Reading on from the last piece ends there; only who looks at the very end finds zeros."""
    file = Spliced(io.BytesIO(CONTENT), [(250, 256), b"abc"], pretended=1000)
    assert file.seek(0, os.SEEK_END) == 1009
    assert file.seek(-128, os.SEEK_END) == 881 and file.read(200) == bytes(128)
    assert file.seek(4) == 4 and file.read(100) == b"\xfe\xffabc" and file.read(1) == b""
