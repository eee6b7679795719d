"""tensorflow-io: soundfile decodes wherever it is missing or fails."""

import sys

import numpy as np
import pytest
from sound_files import RAMP, RAMP_SAMPLES, chunk, fmt, riff, write

from loglearn_tf.audio import decode, tensorflow_io


@pytest.mark.parametrize(
    "decode_wav",
    [
        lambda contents, dtype: 1 / 0,
        lambda contents, dtype: np.zeros((0, 1), dtype),
    ],
    ids=["raises", "returns no frames"],
)
def test_soundfile_takes_over_where_tensorflow_io_fails(decode_wav, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorflow_io, "load", lambda: decode_wav)
    decoded = decode(write(tmp_path, riff(fmt(), chunk(b"data", RAMP))))
    assert decoded.origin.decoder == "soundfile"
    np.testing.assert_array_equal(decoded.samples[:, 0], RAMP_SAMPLES)


def test_a_broken_tensorflow_io_counts_as_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)  # makes the import fail
    assert tensorflow_io.load.__wrapped__() is None
