"""Sound files made byte by byte, for the tests beside this file."""

import struct
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

RATE = 44100


def sine(n_frames: int, *, rate: int = RATE, hz: float = 441.0, channels: int = 2) -> np.ndarray:
    """`(n_frames, channels)` float64, amplitude 0.5, 0.25, ... by channel."""
    wave = np.sin(2 * np.pi * hz * np.arange(n_frames) / rate)
    return wave[:, None] * 0.5 ** np.arange(1, channels + 1)


def chunk(name: bytes, content: bytes, *, declared_size: int | None = None) -> bytes:
    size = len(content) if declared_size is None else declared_size
    return name + struct.pack("<I", size) + content + b"\0" * (len(content) % 2)


def fmt(tag=1, channels=1, bits=16, *, rate=RATE, block_align=None, extra=b"") -> bytes:
    block_align = channels * bits // 8 if block_align is None else block_align
    fields = (tag, channels, rate, rate * block_align % 2**32, block_align, bits)
    return chunk(b"fmt ", struct.pack("<HHIIHH", *fields) + extra)


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def write(folder: Path, content: bytes, name: str = "clip.wav") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


RAMP = np.arange(1000, dtype="<i2").tobytes()  # 1000 frames of 16-bit mono
RAMP_SAMPLES = (np.arange(1000) / 2**15).astype(np.float32)


def riff_headers():
    """Bytes that get past the first checks: RIFF/WAVE, then chunks with sizes of any kind."""
    names = st.sampled_from([b"fmt ", b"data", b"fact", b"LIST", b"\0\0\0\0"])
    sizes = st.one_of(st.integers(0, 64), st.integers(0, 2**32 - 1))
    body = st.tuples(names, sizes, st.binary(max_size=48))
    made = body.map(lambda c: c[0] + struct.pack("<I", c[1]) + c[2])
    return st.lists(made, max_size=5).map(lambda chunks: b"RIFF\0\0\0\0WAVE" + b"".join(chunks))
