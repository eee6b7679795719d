"""Waveforms: the mean of the channels, resampled once, whole or in blocks."""

import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr
from sound_files import RAMP, RAMP_SAMPLES, RATE, chunk, fmt, riff, sine, write

from loglearn_tf.audio import decoder, load_waveform, load_with_origin, tensorflow_io, waveform_blocks
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


LONG = {
    # (container, subtype, rate, channels), of what decoders of streams remember from one block to the next
    "wav": ("WAV", "PCM_16", 48_000, 2),
    "adpcm": ("WAV", "MS_ADPCM", 22_050, 2),
    "gsm": ("WAV", "GSM610", 8_000, 1),
    "flac": ("FLAC", "PCM_24", 96_000, 2),
    "vorbis": ("OGG", "VORBIS", 44_100, 2),
    "opus": ("OGG", "OPUS", 48_000, 1),
    "mp3": ("MP3", "MPEG_LAYER_III", 32_000, 2),
    "alac": ("CAF", "ALAC_16", 44_100, 2),
    "w64": ("W64", "FLOAT", 11_025, 1),
    "xi": ("XI", "DPCM_16", 44_100, 1),
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("sample_rate", [44_100, 16_000])
def test_blocks_are_the_waveform(name, sample_rate, tmp_path, monkeypatch):
    """Bit for bit, however much is decoded at a time, and though decode() does so at once."""
    container, subtype, rate, channels = LONG[name]
    path = tmp_path / "clip.bin"
    noise = np.random.default_rng(0).normal(0, 0.1, (100_000, channels))
    soundfile.write(path, noise, rate, format=container, subtype=subtype)
    whole, origin = load_with_origin(path, sample_rate=sample_rate)
    mean = whole_mean(path)
    np.testing.assert_array_equal(
        whole, mean if origin.sample_rate == sample_rate else soxr.resample(mean, origin.sample_rate, sample_rate)
    )
    for n_decoded, seconds in ((1 << 20, 60), (1 << 20, 0.1), (777, 0.25), (20_000, 1)):
        monkeypatch.setattr(decoder, "_BLOCK_FRAMES", n_decoded)
        blocks = list(waveform_blocks(path, sample_rate=sample_rate, seconds=seconds))
        size = round(seconds * sample_rate)
        assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1) and 0 < len(blocks[-1]) <= size
        assert {block.dtype for block in blocks} == {np.dtype(np.float32)}
        np.testing.assert_array_equal(np.concatenate(blocks), whole)
        np.testing.assert_array_equal(load_waveform(path, sample_rate=sample_rate), whole)


def whole_mean(path):
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    return samples[:, 0] if samples.shape[1] == 1 else (samples[:, 0] + samples[:, 1]) / 2


def peak_bytes(work) -> int:
    """Of what NumPy allocates."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 8)])
def test_memory_that_a_waveform_needs(rate, channels, tmp_path, monkeypatch):
    """4 bytes for each sample of the result, whatever the number of channels; of blocks, whatever the length."""
    monkeypatch.setattr(decoder, "_BLOCK_FRAMES", 10_000)
    monkeypatch.setattr(tensorflow_io, "load", lambda: None)
    path = tmp_path / "clip.wav"
    one_block = 3 * 4 * channels * 10_000
    for seconds in (10, 40):
        soundfile.write(path, np.zeros((seconds * rate, channels), np.float32), rate)
        assert peak_bytes(lambda: load_waveform(path)) < 4 * seconds * 44_100 + one_block + 200_000
        assert peak_bytes(lambda: [len(block) for block in waveform_blocks(path, seconds=1)]) < one_block + 900_000


def test_many_channels_are_read_fewer_frames_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "_BLOCK_SAMPLES", 20_000)
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, (20_000, 100)), 44_100, subtype="FLOAT")
    assert peak_bytes(lambda: [len(block) for block in waveform_blocks(path, seconds=0.01)]) < 500_000
    np.testing.assert_array_equal(
        np.concatenate(list(waveform_blocks(path, seconds=0.01))), load_waveform(path, sample_rate=44_100)
    )


def test_blocks_of_a_file_that_was_cut_end_in_an_error(tmp_path):
    path = tmp_path / "clip.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 300_000), RATE)
    path.write_bytes(path.read_bytes()[:-50_000])
    with pytest.raises(AudioError, match="clip.flac: "):
        list(waveform_blocks(path, seconds=1))


def test_a_wav_file_that_was_cut_is_refused_before_its_first_block(tmp_path):
    path = write(tmp_path, riff(fmt(), chunk(b"data", bytes(200_000)))[:-100_000])
    with pytest.raises(AudioError, match="it has 50000 of the 100000 frames"):
        next(waveform_blocks(path, seconds=0.1))


def test_blocks_of_nothing(tmp_path):
    with pytest.raises(AudioError, match="it contains no audio"):
        list(waveform_blocks(write(tmp_path, riff(fmt(), chunk(b"data", b"")))))
    with pytest.raises(AudioError, match="less than one sample at 8000 Hz"):
        list(waveform_blocks(write(tmp_path, riff(fmt(rate=192000), chunk(b"data", b"\0\0"))), sample_rate=8000))


def test_arguments_of_blocks_are_checked_at_once(tmp_path):
    with pytest.raises(ValueError, match="positive integer. Received: sample_rate=0"):
        waveform_blocks(tmp_path / "clip.wav", sample_rate=0)
    with pytest.raises(ValueError, match="at least one sample, 1/44100. Received: seconds=0"):
        waveform_blocks(tmp_path / "clip.wav", seconds=0)
