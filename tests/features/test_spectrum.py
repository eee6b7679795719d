"""The store's mel power equals that of the layer, whatever the front end."""

import numpy as np
import pytest

from loglearn_tf.features.build import _mel_function
from loglearn_tf.features.front_end import completed
from loglearn_tf.layers import MelSpectrogram

# Below, on and above padding, hop and what is transformed at once; a single sample; 1 s.
LENGTHS = (1, 2, 300, 511, 512, 513, 1023, 1024, 1025, 1536, 32_768, 33_280, 33_281, 44_100)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(-0.5, 0.5, shape).astype(np.float32)


@pytest.mark.parametrize(
    "front_end",
    [
        pytest.param({}, id="defaults"),
        pytest.param({"pad_mode": "constant"}, id="zero padding"),
        pytest.param({"hop_length": 441, "n_mels": 40}, id="hop that does not divide the FFT"),
        pytest.param({"hop_length": 256}, id="overlap"),
        pytest.param({"hop_length": 1500, "n_mels": 2}, id="gaps between frames"),
        pytest.param({"win_length": 401, "window": "hamming"}, id="short window"),
        pytest.param({"sample_rate": 16_000, "n_fft": 512, "mel_scale": "htk", "norm": None}, id="HTK"),
    ],
)
@pytest.mark.filterwarnings("ignore:Empty filters")
def test_the_store_has_the_layers_numbers(front_end):
    layer = MelSpectrogram(**front_end)
    mel_of = _mel_function(completed(front_end), "none")
    for length in LENGTHS:
        waveforms = noise(2, length)
        # Both transform in float64: what differs is the rounding of float32 power, and of its sums.
        np.testing.assert_allclose(mel_of(waveforms), layer(waveforms), rtol=5e-7, atol=0)


def test_single_precision():
    waveforms = noise(2, 44_100)
    found = _mel_function(completed({"fft_dtype": "float32"}), "none")(waveforms)
    # White noise: every bin holds about the same power, so rounding is relative to it.
    np.testing.assert_allclose(found, MelSpectrogram(fft_dtype="float32")(waveforms), rtol=1e-5)


def test_compression_comes_last():
    waveforms = noise(1, 44_100)
    mel_of, compressed = (_mel_function(completed({}), name) for name in ("none", "logeps"))
    np.testing.assert_allclose(compressed(waveforms)[0], np.log10(mel_of(waveforms)[0] + 2.220446e-16), rtol=1e-6)


def test_clips_do_not_depend_on_one_another():
    mel_of = _mel_function(completed({}), "none")
    together = noise(4, 44_100)
    for at in range(4):
        np.testing.assert_array_equal(mel_of(together[at : at + 1]), mel_of(together)[at : at + 1])


@pytest.mark.parametrize("front_end", [{}, {"n_fft": 2048, "hop_length": 512, "n_mels": 96}, {"n_mels": 1}])
@pytest.mark.filterwarnings("ignore:Empty filters")
def test_clips_of_any_length_share_memory_but_no_values(front_end):
    """To the bit: clips before and after it, and blocks that end within a clip, leave a clip's power as it is."""
    mels_of = _mel_function(completed(front_end), "none")
    # More frames than are held at once; some clips of a single frame.
    clips = [noise(length) for length in (44_100, 1, 2_000_000, 300, 1024, 88_200, 1)]
    together, alone = mels_of(clips), [mels_of([clip])[0] for clip in clips]
    hop_length = front_end.get("hop_length", 1024)
    for one, other, clip in zip(together, alone, clips, strict=True):
        assert one.shape == (1 + len(clip) // hop_length, front_end.get("n_mels", 128))
        np.testing.assert_array_equal(one, other)
    assert mels_of([]) == []


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_power_beyond_float32_is_infinite_as_in_the_layer():
    waveforms = np.full((1, 2048), 1e18, np.float32)
    assert np.isinf(_mel_function(completed({}), "none")(waveforms)).any()
    assert np.isinf(MelSpectrogram()(waveforms)).any()
