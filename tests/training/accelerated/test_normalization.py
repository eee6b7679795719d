"""The fused batch normalisation is Keras' own: numbers, gradients, statistics."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from loglearn_tf.layers import BatchNormalization


def twins(shape, **kwargs):
    """The fused layer and Keras', with equal weights that are not the initial ones."""
    rng = np.random.default_rng(1)
    layers = BatchNormalization(**kwargs), keras.layers.BatchNormalization(**kwargs)
    for layer in layers:
        layer.build(shape)
    weights = [rng.uniform(0.5, 2, weight.shape) for weight in layers[0].get_weights()]
    for layer in layers:
        layer.set_weights(weights)
    return layers


@pytest.mark.parametrize("shape", [(3, 8, 6, 5), (4, 16, 16, 1), (1, 1, 1, 3)])
def test_numbers_gradients_and_statistics_are_those_of_keras(shape):
    x = tf.constant(np.random.default_rng(0).normal(-6, 3, shape).astype("float32"))
    found = []
    for layer in twins(shape, momentum=0.9):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True) ** 3)
        gradients = tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])
        found.append([loss, *gradients, *layer.get_weights(), layer(x, training=False)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("offset", [0, 100])
def test_sums_of_a_million_values_are_right_to_six_digits(offset):
    """Half of the values equal, as an activation makes them, and far from zero: where sums one by one lose digits."""
    rng = np.random.default_rng(0)
    x = (offset + np.where(rng.random((16, 256, 256, 2)) > 0.5, 3 + rng.normal(size=(16, 256, 256, 2)), -0.8)).astype(
        "float32"
    )
    layer = BatchNormalization(momentum=0.0, epsilon=1e-3)
    y = layer(x, training=True)
    mean, variance = (getattr(x.astype("float64"), name)(axis=(0, 1, 2)) for name in ("mean", "var"))
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=2e-6)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=2e-6)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-3), atol=1e-6 * (20 + offset))


def test_a_constant_channel_is_normalised_to_zero():
    y = BatchNormalization()(np.full((4, 64, 64, 2), -0.99, "float32"), training=True)
    np.testing.assert_allclose(y, 0, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "kwargs"),
    [
        ((4, 6), {}),
        ((4, 6, 5, 3), {"axis": 1}),
        ((4, 6, 5, 3), {"scale": False}),
        ((4, 6, 5, 3), {"synchronized": True}),
        ((4, 6, 5, 3), {"dtype": "float64"}),
    ],
)
def test_what_is_not_fused_is_keras_own_code(shape, kwargs):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    ours, theirs = (layer(x, training=True) for layer in twins(shape, **kwargs))
    np.testing.assert_array_equal(ours, theirs)


def test_a_frozen_layer_keeps_its_statistics():
    ours, _ = twins((4, 6, 5, 3))
    ours.trainable = False
    before = ours.get_weights()
    ours(np.random.default_rng(0).normal(size=(4, 6, 5, 3)), training=True)
    for weight, unchanged in zip(ours.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, unchanged)


def test_half_precision_goes_through_float32():
    x = np.random.default_rng(0).normal(1e3, 1, (4, 8, 8, 3)).astype("float16")
    layer = BatchNormalization(dtype="mixed_float16")
    y = layer(x, training=True)
    assert y.dtype == tf.float16 and layer.gamma.dtype == "float32"
    assert np.isfinite(y).all() and abs(float(np.std(y)) - 1) < 0.01
