"""Sizes that stand for "unknown" are told from those of cut files, in every container."""

import io
import struct

import numpy as np
import pytest
import soundfile
from sound_files import RATE, sine, write

from loglearn_tf.audio import decode, load_waveform
from loglearn_tf.audio.sizes import LENGTH_UNKNOWN, is_unknown, starts_chunk
from loglearn_tf.errors import AudioError

SIGNAL = np.round(sine(5000, channels=1) * 2**15) / 2**15


def written(container: str, *, endian: str = "FILE") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SIGNAL, RATE, format=container, subtype="PCM_16", endian=endian)
    return file.getvalue()


def patched(content: bytes, at: int, field: str, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(field, changed, at, value)
    return bytes(changed)


RIFX, RF64, W64, AIFF = written("WAV", endian="BIG"), written("RF64"), written("W64"), written("AIFF")
AU, CAF = written("AU"), written("CAF")
# name: (content, where its size is, how it is written, sizes of unfinished files)
SIZES_32, SIZES_64 = (0, 2**31 - 1, 2**31, 2**32 - 1), (0, 2**62, 2**63 - 1, 2**64 - 1)
CONTAINERS = {
    "WAV": (written("WAV"), 40, "<I", (*SIZES_32, 0x7FFFF000, 2_000_000_000)),
    "RIFX": (RIFX, 40, ">I", SIZES_32),
    "RF64": (RF64, 28, "<Q", SIZES_64),
    "BW64": (b"BW64" + RF64[4:], 28, "<Q", SIZES_64),
    "W64": (W64, W64.index(b"data\xf3") + 16, "<Q", (*SIZES_64, 24)),
    "AIFF": (AIFF, AIFF.index(b"SSND") + 4, ">I", (*SIZES_32, 8)),
    "AU": (AU, 8, ">I", SIZES_32),
    "CAF": (CAF, CAF.index(b"data") + 4, ">Q", (*SIZES_64, 4)),
}


@pytest.mark.parametrize(
    ("name", "size"), [(name, size) for name, (_, _, _, sizes) in CONTAINERS.items() for size in sizes]
)
def test_unfinished_files_are_read_to_their_end_with_a_remark(name, size, tmp_path, either_decoder):
    content, at, field, _ = CONTAINERS[name]
    whole = decode(write(tmp_path, content))
    np.testing.assert_array_equal(whole.samples, SIGNAL.astype(np.float32))
    assert whole.origin.remark == ""
    found = decode(write(tmp_path, patched(content, at, field, size)))
    np.testing.assert_array_equal(found.samples, whole.samples)
    assert found.origin.remark == LENGTH_UNKNOWN and found.origin.frames == 5000


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_other_sizes_of_an_unfinished_header_do_not_matter(name, tmp_path):
    """The size of the whole file, and its number of frames, are as wrong as that of the audio."""
    content, at, field, _ = CONTAINERS[name]
    content = patched(content, at, field, 0)
    if name == "AIFF":
        content = patched(patched(content, 4, ">I", 0), content.index(b"COMM") + 10, ">I", 0)
    elif name == "W64":
        content = patched(content, 16, "<Q", 0)
    elif name in ("RF64", "BW64"):
        content = patched(patched(content, 20, "<Q", 0), 36, "<Q", 0)
    elif name in ("WAV", "RIFX"):
        content = patched(content, 4, field, 0)
    np.testing.assert_array_equal(decode(write(tmp_path, content)).samples, SIGNAL.astype(np.float32))


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("missing", [500, 5000])
def test_a_file_that_was_cut_is_refused_in_every_container(name, missing, tmp_path):
    with pytest.raises(AudioError, match="truncated"):
        load_waveform(write(tmp_path, CONTAINERS[name][0][:-missing]))


@pytest.mark.parametrize("name", ["WAV", "RIFX", "RF64", "AIFF", "CAF"])
def test_an_empty_chunk_of_audio_before_another_chunk_holds_no_audio(name, tmp_path):
    content, at, field, _ = CONTAINERS[name]
    start = content.index(b"SSND" if name == "AIFF" else b"data") + {"AIFF": 16, "CAF": 16}.get(name, 8)
    empty = {"AIFF": 8, "CAF": 4}.get(name, 0)
    order = {"RF64": "<I", "CAF": ">Q"}.get(name, field)
    content = patched(content[:start], at, field, empty) + b"text" + struct.pack(order, 8) + b"a remark"
    with pytest.raises(AudioError, match="it contains no audio|SF_INFO struct incomplete"):
        decode(write(tmp_path, content))


def test_which_sizes_are_unknown():
    assert all(map(is_unknown, (2**31 - 1, 2**31, 2**32 - 1 - 36, 0x7FFFF000, 2 * 10**9, 10**9, 2**63 - 1, 2**64 - 25)))
    assert not any(map(is_unknown, (0, 1, 2**16, 44_100, 2**24, 1_500_000_000, 3_000_000_000 + 70_000, 2**30 + 2**17)))
    # Of sizes from 1 to 4 GB, few: a cut file is seldom taken for an unfinished one.
    sizes = np.random.default_rng(0).integers(10**9, 2**32, 20_000)
    assert sum(map(is_unknown, sizes.tolist())) < 10


def test_a_chunk_is_told_from_audio():
    assert starts_chunk(b"LIST\4\0\0\0INFO", 12)
    assert not starts_chunk(b"LIST\4\0\0\0", 3)
    assert not starts_chunk(b"\1\0\2\0\4\0\0\0", 100)
    assert not starts_chunk(b"LIST", 4)
    assert starts_chunk(b"text\0\0\0\0\0\0\0\4rest", 4, field=">Q")
