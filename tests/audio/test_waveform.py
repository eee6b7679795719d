"""Waveforms: the mean of the channels, resampled once."""

import numpy as np
import pytest
import soundfile
import soxr
from sound_files import RAMP, RAMP_SAMPLES, RATE, chunk, fmt, riff, sine, write

from loglearn_tf.audio import load_waveform
from loglearn_tf.errors import AudioError


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 48000, 96000])
def test_resampling_is_soxr_of_the_channel_mean(rate, tmp_path, either_decoder):
    path = tmp_path / "clip.wav"
    soundfile.write(path, sine(rate, rate=rate), rate, subtype="PCM_16")
    stored, _ = soundfile.read(path, dtype="float32")
    expected = soxr.resample((stored[:, 0] + stored[:, 1]) / 2, rate, RATE, quality="HQ")
    waveform = load_waveform(path)
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform, expected)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 48000, 96000])
def test_a_resampled_sine_stays_that_sine(rate, tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, sine(rate, rate=rate, channels=1), rate, subtype="FLOAT")
    waveform = load_waveform(path)
    assert waveform.shape == (RATE,)  # one second stays one second
    inner = slice(2000, -2000)  # the filter rings at the ends
    expected = sine(RATE, channels=1)[:, 0]
    np.testing.assert_allclose(waveform[inner], expected[inner], atol=1e-4)


@pytest.mark.parametrize(
    ("rate", "n_frames", "n_samples"),
    [(48000, 1, 1), (48000, 160, 147), (22050, 7, 14), (44100, 7, 7), (11025, 9670, 38680)],
)
def test_length_after_resampling(rate, n_frames, n_samples, tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.zeros(n_frames), rate)
    assert load_waveform(path).shape == (n_samples,)


def test_nothing_is_resampled_at_the_same_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(soxr, "resample", None)
    path = write(tmp_path, riff(fmt(rate=16000), chunk(b"data", RAMP)))
    np.testing.assert_array_equal(load_waveform(path, sample_rate=16000), RAMP_SAMPLES)


def test_less_than_one_sample_after_resampling(tmp_path):
    path = write(tmp_path, riff(fmt(rate=192000), chunk(b"data", b"\0\0")))
    with pytest.raises(AudioError, match="less than one sample at 8000 Hz"):
        load_waveform(path, sample_rate=8000)


def test_the_target_rate_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="positive integer. Received: sample_rate=0"):
        load_waveform(tmp_path / "clip.wav", sample_rate=0)
