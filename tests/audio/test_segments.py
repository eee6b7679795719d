"""Segments of a file: the samples of a file cut there, whatever the format, or why they cannot be had."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_files import sine

from loglearn_tf.audio import decode, decode_segments, load_segments, load_waveform, seconds_of
from loglearn_tf.audio.segments import _Window
from loglearn_tf.errors import AudioError, NonFiniteSamplesError

RATE = 8000
SEGMENTS = [(0.0, 0.25), (0.1, 0.9), (0.5, 0.5005), (0.75, 2.0), (2.5, 3.0)]
FORMATS = [
    ("a.wav", "PCM_16", True),
    ("a.wav", "PCM_24", True),
    ("a.wav", "PCM_U8", True),
    ("a.wav", "FLOAT", True),
    ("a.wav", "ULAW", True),
    ("a.wav", "IMA_ADPCM", False),
    ("a.wav", "GSM610", False),
    ("a.aiff", "PCM_16", True),
    ("a.flac", "PCM_24", True),
    ("a.ogg", "VORBIS", False),
    ("a.mp3", "MPEG_LAYER_III", False),
]


def noise(seconds=3.0, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (round(seconds * RATE), channels))


@pytest.mark.parametrize(("name", "subtype", "seeks"), FORMATS, ids=lambda value: str(value))
@pytest.mark.parametrize("block_frames", [1 << 20, 1000])
def test_as_decoded_whole_and_cut(tmp_path, monkeypatch, name, subtype, seeks, block_frames):
    path = tmp_path / name
    soundfile.write(path, noise(channels=1 if subtype == "GSM610" else 2), RATE, subtype=subtype)
    whole = decode(path).samples
    monkeypatch.setattr("loglearn_tf.audio.decoder._BLOCK_FRAMES", block_frames)
    if seeks:  # nothing but the segments is read
        monkeypatch.setattr(_Window, "move", None)
    found = list(decode_segments(path, SEGMENTS))
    assert len(found) == len(SEGMENTS)
    for (start, end), one in zip(SEGMENTS, found, strict=True):
        expected = whole[round(start * RATE) : round(end * RATE)]
        np.testing.assert_array_equal(one.samples, expected)
        assert one.origin.frames == len(expected) and one.origin.sample_rate == RATE


@pytest.mark.parametrize("sample_rate", [RATE, 11_025])
@pytest.mark.parametrize(("name", "subtype"), [("a.wav", "PCM_16"), ("a.flac", "PCM_16")])
def test_a_waveform_is_that_of_a_file_cut_there(tmp_path, name, subtype, sample_rate):
    samples = noise()
    soundfile.write(tmp_path / name, samples, RATE, subtype=subtype)
    for (start, end), (waveform, _) in zip(
        SEGMENTS, load_segments(tmp_path / name, SEGMENTS, sample_rate=sample_rate), strict=True
    ):
        cut = tmp_path / f"cut-{name}"
        soundfile.write(cut, samples[round(start * RATE) : round(end * RATE)], RATE, subtype=subtype)
        np.testing.assert_array_equal(waveform, load_waveform(cut, sample_rate=sample_rate))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2999), min_size=1, max_size=12, unique=True), st.booleans())
def test_segments_that_cover_a_file_are_the_file(tmp_path_factory, cuts, is_lossy):
    path = tmp_path_factory.getbasetemp() / ("cover.ogg" if is_lossy else "cover.flac")
    if not path.exists():
        soundfile.write(path, noise(channels=1), RATE)
    times = sorted({0, *cuts, 3000})
    segments = [(start / 1000, end / 1000) for start, end in zip(times, times[1:], strict=False)]
    joined = np.concatenate([one.samples for one in decode_segments(path, segments)])
    np.testing.assert_array_equal(joined, decode(path).samples)


@pytest.mark.parametrize("name", ["a.wav", "a.ogg"])
class TestFaults:
    def test_the_end(self, tmp_path, name):
        path = tmp_path / name
        soundfile.write(path, noise(1.0), RATE)
        good, rounded, beyond, after = decode_segments(path, [(0, 0.5), (0.2, 1.0009), (0.3, 1.1), (5, 6)])
        assert len(good.samples) == 4000 and len(rounded.samples) == 6400
        for one, said in (
            (beyond, "from 0.3 to 1.1 s ends after the file, which is 1 s long"),
            (after, "from 5 to 6 s ends"),
        ):
            assert isinstance(one, AudioError) and said in str(one) and str(path) in str(one)

    def test_less_than_a_sample(self, tmp_path, name):
        soundfile.write(tmp_path / name, noise(1.0), RATE)
        (one,) = decode_segments(tmp_path / name, [(0.5, 0.50001)])
        assert "from 0.5 to 0.50001 s is less than one sample at 8,000 Hz" in str(one)

    def test_no_sound(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"\0" * 1000)
        first, second = decode_segments(tmp_path / name, [(0, 1), (1, 2)])
        assert isinstance(first, AudioError) and str(first) == str(second)
        assert seconds_of(tmp_path / name) is None


def test_a_fault_concerns_its_segment_alone(tmp_path):
    samples = noise(2.0, channels=1)
    samples[12_000] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    first, second, third = decode_segments(tmp_path / "a.wav", [(0, 1), (1.25, 1.75), (1.75, 2)])
    assert len(first.samples) == 8000 and len(third.samples) == 2000
    assert isinstance(second, NonFiniteSamplesError) and "sample 12000 of channel 0 is nan" in str(second)


def test_a_cut_file_says_so(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-100])
    (one,) = decode_segments(tmp_path / "a.wav", [(0, 1)])
    assert "truncated" in str(one)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_seconds(tmp_path, name):
    soundfile.write(tmp_path / name, sine(12_000, rate=RATE), RATE)
    assert seconds_of(tmp_path / name) == pytest.approx(len(decode(tmp_path / name).samples) / RATE, abs=1e-9)


def test_no_such_file(tmp_path):
    assert seconds_of(tmp_path / "a.wav") is None
