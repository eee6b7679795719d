"""Decodes WAV with tensorflow-io if it is installed, bit for bit like soundfile."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loglearn_tf.audio.faults import FilePath
from loglearn_tf.audio.wav import FLOAT, PCM, WavHeader, make_wav

# What tensorflow-io 0.37.1 decodes correctly. (tag, bits) -> (its dtype, zero, full scale):
# x / full scale - zero / full scale is exact in float32 and equals soundfile's conversion bit for bit.
# 24-bit samples are left-aligned in 32. PCM 32 is missing, since its bits are read as floats.
FORMATS = {
    (PCM, 8): ("uint8", 128.0, 128.0),
    (PCM, 16): ("int16", 0.0, 2.0**15),
    (PCM, 24): ("int32", 0.0, 2.0**31),
    (FLOAT, 32): ("float32", 0.0, 1.0),
}


@functools.cache
def load() -> Callable[[bytes, str], npt.NDArray[Any]] | None:
    """Returns `decode_wav(contents, dtype)` of tensorflow-io; None if it does not work."""
    try:
        # First, so that TensorFlow is not imported if it is absent.
        import tensorflow_io as tfio  # isort: skip
        import tensorflow as tf

        def decode_wav(contents: bytes, dtype: str) -> npt.NDArray[Any]:
            with tf.device("/CPU:0"):
                # As a tensor: the operation would take as long again to convert bytes. Its result is not copied.
                return np.asarray(tfio.audio.decode_wav(tf.constant(contents), shape, dtype=tf.as_dtype(dtype)))

        with tf.device("/CPU:0"):
            shape = tf.constant([-1, -1], tf.int64)

        # Its compiled ops are loaded by their first call, which fails with a TensorFlow they were not built for: try
        # one frame here instead of failing on every file.
        decode_wav(make_wav(PCM, 1, 8000, 16, b"\0\0"), "int16")
    except Exception:  # ImportError, NotFoundError, NotImplementedError, ..., depending on the version
        return None
    return decode_wav


def read_samples(path: FilePath, header: WavHeader) -> npt.NDArray[np.float32] | None:
    """`(frames, channels)` of a plain WAV file in one of `FORMATS`; None if soundfile must decode instead."""
    decode_wav = load()
    if decode_wav is None:
        return None
    tag, bits = header.format_tag, header.bits_per_sample
    dtype, zero, full_scale = FORMATS[tag, bits]
    try:
        with Path(path).open("rb") as file:
            file.seek(header.data_offset)
            data = file.read(header.data_size)
        # Never pass the file itself: a wrong block size or damaged chunk makes the op of 0.37.1 divide by zero, write
        # out of bounds or loop forever, beyond any `except`.
        raw = decode_wav(make_wav(tag, header.channels, header.sample_rate, bits, data), dtype)
    except Exception:  # it raises TensorFlow errors, but also UnicodeDecodeError
        return None
    if raw.shape != (header.declared_frames, header.channels):
        return None
    # Full scales are powers of two: multiplying by the inverse is exact and needs only one pass.
    samples = np.multiply(raw, np.float32(1 / full_scale), dtype=np.float32)
    if zero:
        samples -= np.float32(zero / full_scale)
    return samples
