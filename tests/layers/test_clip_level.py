"""Mel power relative to its clip's level: the formula, silence, batches, saving, and who asks for it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from loglearn_tf.layers import ClipLevel, Compression, RelativeKnee
from loglearn_tf.layers.clip_level import needs_clip_level
from loglearn_tf.models import build_model

MEL = (10 ** np.random.default_rng(0).uniform(-8, 2, (2, 40, 6))).astype("float32")


def test_divides_by_the_mean_of_each_clip():
    expected = np.float64(MEL) / np.float64(MEL).mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(ClipLevel()(MEL), expected, rtol=1e-5)
    for at in range(2):  # whatever its batch
        np.testing.assert_array_equal(ClipLevel()(MEL[at : at + 1])[0], ClipLevel()(MEL)[at])


@pytest.mark.parametrize("gain", [1e-6, 1e-3, 1e4])
def test_with_a_relative_knee_no_gain_is_seen(gain):
    compressed = [np.array(RelativeKnee()(ClipLevel()(mel))) for mel in (MEL, MEL * np.float32(gain))]
    np.testing.assert_allclose(*compressed, rtol=1e-5, atol=1e-5)


def test_silence_stays():
    mel = np.zeros((1, 4, 6), "float32")
    with tf.GradientTape() as tape:
        x = tf.constant(mel)
        tape.watch(x)
        y = ClipLevel()(x)
    np.testing.assert_array_equal(y, mel)
    assert np.isfinite(tape.gradient(y, x)).all()


@pytest.mark.parametrize("shape", [(6,), (40, 6)])
def test_a_clip_without_a_batch_is_refused(shape):
    for mel in (np.ones(shape, "float32"), keras.KerasTensor(shape)):
        with pytest.raises(ValueError, match=r"must have the shape \(batch, frames, n_mels\).*Received: \("):
            ClipLevel()(mel)


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_computes_in_float32(policy):
    level = ClipLevel(dtype=policy)(MEL)
    assert level.dtype == tf.float32
    np.testing.assert_array_equal(level, ClipLevel()(MEL))


def test_eager_equals_tf_data_and_a_saved_model(tmp_path):
    (batch,) = tf.data.Dataset.from_tensors(MEL).map(ClipLevel())
    np.testing.assert_allclose(batch, ClipLevel()(MEL), rtol=1e-6)
    mel = keras.Input((None, 6))
    keras.Model(mel, ClipLevel()(mel)).save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")(MEL), ClipLevel()(MEL), rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "compression", "asks"),
    [
        ("timbre", "loglearn", False),
        ("timbre", "relative_knee", True),
        ("prototypical", "learned_relative_knee", True),
        ("timbre", "relative_logeps", True),
    ],
)
def test_networks_that_need_it(model, compression, asks):
    network = build_model(model, compression=compression)
    assert needs_clip_level(network) is asks
    nested = keras.Sequential([keras.Input(network.input_shape[1:]), network])
    assert needs_clip_level(nested) is asks


def test_a_compression_of_ones_own_may_need_it():
    class Mine(Compression):
        relative = True

        def compress(self, mel):
            return mel

    assert needs_clip_level(build_model("timbre", compression=Mine()))
