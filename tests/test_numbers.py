"""Extreme sounds, from waveform to logits: finite everywhere, and what the docstrings say of them is so."""

import numpy as np
import pytest

from loglearn_tf import MelSpectrogram, build_model
from loglearn_tf.layers import COMPRESSIONS

N = 128 * 1024
SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, N).astype("float32")
IMPULSE = np.zeros(N, "float32")
IMPULSE[70_000] = 1.0
SOUNDS = {
    "silence": np.zeros(N, "float32"),
    "DC": np.full(N, 0.5, "float32"),
    "one sample": IMPULSE,
    "smallest sample": IMPULSE * np.float32(2.0**-31),
    "x 1e-6": SOUND * np.float32(1e-6),
    "x 1e6": SOUND * np.float32(1e6),
    "square wave at full scale": np.sign(np.sin(np.arange(N) / 7)).astype("float32"),
}


@pytest.fixture(scope="module")
def mels():
    """Name -> `(2, 128, 128)`: of each sound, the front end in float64 and in float32."""
    fronts = [MelSpectrogram(fft_dtype=dtype) for dtype in ("float64", "float32")]
    waveforms = np.stack(list(SOUNDS.values()))
    both = [np.array(front(waveforms))[:, :128] for front in fronts]
    return {name: np.stack([mel[at] for mel in both]) for at, name in enumerate(SOUNDS)}


class TestFrontEnd:
    @pytest.mark.parametrize("name", SOUNDS)
    def test_power_is_finite_and_not_negative(self, mels, name):
        assert np.isfinite(mels[name]).all() and (mels[name] >= 0).all()

    @pytest.mark.parametrize("name", SOUNDS)
    def test_single_precision_meets_double_to_its_floor(self, mels, name):
        double, single = np.sqrt(mels[name].astype("float64"))
        # Rounding is of amplitudes, and the same in all bands: some 1e-7 of the loudest.
        floor = 1e-6 * double.max(axis=1, keepdims=True)
        assert (np.abs(single - double) < floor + 1e-18).all()

    def test_silence_is_exactly_zero(self, mels):
        assert not mels["silence"].any()

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    @pytest.mark.parametrize("gain", [1e-6, 1e6])
    def test_power_follows_the_square_of_a_gain(self, dtype, gain):
        front = MelSpectrogram(fft_dtype=dtype)
        plain, scaled = np.array(front(np.stack([SOUND, SOUND * np.float32(gain)])), "float64")
        np.testing.assert_allclose(scaled, gain**2 * plain, rtol=5e-4 if dtype == "float32" else 1e-5)

    def test_a_constant_is_power_in_the_lowest_bands_alone(self, mels):
        double, _ = mels["DC"]
        assert double[5, :3].max() > 1e-2
        assert double[5, 8:].max() < 1e-20 * double[5].max() + 1e-25

    def test_one_sample_is_as_loud_in_all_bands_of_its_frames_and_nowhere_else(self, mels):
        double, _ = mels["one sample"]
        (sounding,) = np.nonzero(double.any(axis=1))
        assert sounding.tolist() == [68]  # 70,000 = 68 * 1024 + 368, and windows reach 512 to either side
        assert double[68].min() > 0


@pytest.mark.parametrize("compression", sorted(COMPRESSIONS))
def test_logits_and_a_step_on_silence_are_finite(mels, compression):
    network = build_model("timbre", compression=compression)
    assert np.isfinite(network(np.concatenate(list(mels.values())), training=False)).all()
    for name, mel in mels.items():
        assert np.isfinite(network(mel, training=True)).all(), name
    network.compile("sgd", "mean_squared_error", run_eagerly=True)
    network.train_on_batch(mels["silence"], np.ones((2, 10), "float32"))
    for weight in network.weights:
        assert np.isfinite(weight).all(), weight.path


@pytest.mark.parametrize("model", ["sb_cnn", "vgg", "prototypical"])
def test_logits_of_the_other_networks_are_finite(mels, model):
    network = build_model(model, compression="logeps")
    if model == "prototypical":
        network = network.get_layer("encoder")  # whose embeddings the logits are distances of
    together = np.concatenate(list(mels.values()))
    assert np.isfinite(network(together, training=False)).all()
    assert np.isfinite(network(together, training=True)).all()
