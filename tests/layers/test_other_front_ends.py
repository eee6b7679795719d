"""The table of docs/howto/other-front-ends.md, row by row, against librosa and Keras."""

import keras
import numpy as np
import pytest

from loglearn_tf.layers import LearnableLog, MelSpectrogram

librosa = pytest.importorskip("librosa")

RATE, LN10 = 22_050, np.log(10)
ALPHA, BETA = 1096.6332, 1.3132617  # where LearnableLog begins
FRONT_END = {"n_fft": 1024, "hop_length": 512, "n_mels": 64}


@pytest.fixture(scope="module")
def waveform():
    rng = np.random.default_rng(3)
    return (rng.normal(0, 0.1, RATE) * np.linspace(0, 1, RATE) ** 2).astype(np.float32)


def ours(waveform, **arguments):
    """`(frames, n_mels)` mel power."""
    return np.asarray(MelSpectrogram(sample_rate=RATE, **FRONT_END, **arguments)(waveform[np.newaxis]))[0]


def theirs(waveform, **arguments):
    return librosa.feature.melspectrogram(y=waveform, sr=RATE, **FRONT_END, **arguments).T


@pytest.mark.parametrize(
    ("librosas", "layers"),
    [
        ({"pad_mode": "reflect"}, {}),
        ({}, {"pad_mode": "constant"}),
        ({"htk": True, "norm": None, "pad_mode": "reflect"}, {"mel_scale": "htk", "norm": None}),
        ({"htk": True, "pad_mode": "reflect"}, {"mel_scale": "htk"}),
        ({"fmax": 8000.0, "pad_mode": "reflect"}, {"f_max": 8000.0}),
        ({"win_length": 512, "window": "hamming", "pad_mode": "reflect"}, {"win_length": 512, "window": "hamming"}),
    ],
)
def test_librosas_mel_spectrogram(waveform, librosas, layers):
    # librosa computes in float32; the largest is where rounding is largest.
    expected = theirs(waveform, **librosas)
    np.testing.assert_allclose(ours(waveform, **layers), expected, rtol=2e-3, atol=1e-6 * expected.max())


def test_without_centring_frames_begin_later(waveform):
    """Frame k of `center=False` is that of a centred one half a window later, where hops divide half a window."""
    first = FRONT_END["n_fft"] // 2 // FRONT_END["hop_length"]
    expected = theirs(waveform, center=False)
    np.testing.assert_allclose(ours(waveform)[first : first + len(expected)], expected, rtol=2e-3, atol=1e-6)


def test_amplitude_is_not_the_root_of_power(waveform):
    amplitude = theirs(waveform, power=1.0, pad_mode="reflect")
    power = theirs(waveform, pad_mode="reflect")
    assert np.median(np.abs(amplitude**2 / power - 1)) > 0.5  # no function of one value gives the other


@pytest.mark.parametrize("ref", [1.0, 0.01])
def test_decibels_back_to_power_and_to_the_natural_logarithm(waveform, ref):
    mel = theirs(waveform, pad_mode="reflect")
    decibels = librosa.power_to_db(mel, ref=ref, amin=1e-20, top_db=None)
    np.testing.assert_allclose(ref * 10 ** (decibels / 10), mel, rtol=1e-4)
    np.testing.assert_allclose(decibels * LN10 / 10 + np.log(ref), np.log(mel), atol=1e-4)


def test_top_db_is_a_floor_that_cannot_be_undone(waveform):
    quiet = np.concatenate([1e-6 * waveform, waveform])
    mel = theirs(quiet, pad_mode="reflect")
    back = librosa.db_to_power(librosa.power_to_db(mel, top_db=80.0))
    floor = mel.max() * 1e-8
    assert (mel < floor / 2).mean() > 0.2
    np.testing.assert_allclose(back, np.maximum(mel, np.maximum(floor, 1e-10)), rtol=1e-3)


def test_decibels_relative_to_the_clips_maximum_lose_its_level(waveform):
    loud, quiet = (
        librosa.power_to_db(theirs(gain * waveform, pad_mode="reflect"), ref=np.max, amin=1e-30, top_db=None)
        for gain in (1.0, 0.1)
    )
    np.testing.assert_allclose(loud, quiet, atol=1e-2)


def test_16_bit_samples_are_a_billion_times_as_powerful(waveform):
    integers = np.round(waveform * 32_768).astype(np.int16)
    mel = theirs(integers.astype(np.float32), pad_mode="reflect")
    scaled = theirs(integers / np.float32(32_768), pad_mode="reflect")
    np.testing.assert_allclose(mel / 2.0**30, scaled, rtol=1e-4)
    # What is not divided before can be divided here: the same output.
    layer = LearnableLog.from_values(alpha=ALPHA / 2.0**30, beta=BETA)
    np.testing.assert_allclose(layer(mel[np.newaxis]), LearnableLog()(scaled[np.newaxis]), atol=1e-3)


def test_filters_of_height_1_differ_by_a_factor_per_band(waveform):
    """Slaney's norm divides each by half its width in Hz: one alpha a band takes that up."""
    tall = ours(waveform, norm=None)
    edges = librosa.mel_frequencies(n_mels=FRONT_END["n_mels"] + 2, fmin=0.0, fmax=RATE / 2)
    factor = 2.0 / (edges[2:] - edges[:-2])
    np.testing.assert_allclose(ours(waveform), tall * factor, rtol=1e-4)


def test_keras_own_mel_spectrogram(waveform):
    """HTK without norm, bands before frames; triangles that are straight over mel, not over Hz: 1.5 % apart."""
    keras_layer = keras.layers.MelSpectrogram(
        fft_length=1024,
        sequence_stride=512,
        sampling_rate=RATE,
        num_mel_bins=64,
        min_freq=0.0,
        max_freq=RATE / 2,
        power_to_db=False,
    )
    given = np.asarray(keras_layer(waveform[np.newaxis]))[0].T
    bins = librosa.hz_to_mel(librosa.fft_frequencies(sr=RATE, n_fft=1024), htk=True)
    edges = np.linspace(0, librosa.hz_to_mel(RATE / 2, htk=True), 64 + 2)
    triangles = np.array([np.interp(bins, edges[at : at + 3], [0, 1, 0], left=0, right=0) for at in range(64)])
    power = np.abs(librosa.stft(waveform, n_fft=1024, hop_length=512, pad_mode="reflect")) ** 2
    expected = (triangles @ power).T[: len(given)]
    np.testing.assert_allclose(given, expected, rtol=2e-3, atol=1e-6 * expected.max())
    near = ours(waveform, mel_scale="htk", norm=None)[: len(given)]
    np.testing.assert_allclose(near, given, rtol=1.5e-2, atol=1e-6 * expected.max())
