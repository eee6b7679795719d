"""The fused batch normalisation has the numbers, gradients and statistics of the layer that it stands for."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from loglearn_tf.training.accelerated import accelerate
from loglearn_tf.training.accelerated.layers import FusedBatchNormalization


def twins(shape, **kwargs):
    """The fused layer and one of Keras, with equal weights that are not the initial ones."""
    rng = np.random.default_rng(1)
    layers = [keras.layers.BatchNormalization(**kwargs) for _ in range(2)]
    for layer in layers:
        layer.build(shape)
    weights = [rng.uniform(0.5, 2, weight.shape) for weight in layers[0].get_weights()]
    for layer in layers:
        layer.set_weights(weights)
    return FusedBatchNormalization(layers[0]), layers[1]


def fused(shape, **kwargs):
    layer = keras.layers.BatchNormalization(**kwargs)
    layer.build(shape)
    return FusedBatchNormalization(layer)


@pytest.mark.parametrize("shape", [(3, 8, 6, 5), (4, 16, 16, 1), (1, 1, 1, 3)])
def test_numbers_gradients_and_statistics_are_those_of_keras(shape):
    x = tf.constant(np.random.default_rng(0).normal(-6, 3, shape).astype("float32"))
    found = []
    for layer in twins(shape, momentum=0.9):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True) ** 3)
        gradients = tape.gradient(loss, [x, *(each.value for each in layer.trainable_variables)])
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
    layer = fused(x.shape, momentum=0.0, epsilon=1e-3)
    y = layer(x, training=True)
    mean, variance = (getattr(x.astype("float64"), name)(axis=(0, 1, 2)) for name in ("mean", "var"))
    np.testing.assert_allclose(layer.plain.moving_mean, mean, rtol=2e-6)
    np.testing.assert_allclose(layer.plain.moving_variance, variance, rtol=2e-6)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-3), atol=1e-6 * (20 + offset))


def test_a_constant_channel_is_normalised_to_zero():
    y = fused((4, 64, 64, 2))(np.full((4, 64, 64, 2), -0.99, "float32"), training=True)
    np.testing.assert_allclose(y, 0, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "kwargs"),
    [
        ((4, 6), {}),
        ((4, 6, 5, 3), {"axis": 1}),
        ((4, 6, 5, 3), {"scale": False}),
        ((4, 6, 5, 3), {"center": False}),
        ((4, 6, 5, 3), {"synchronized": True}),
        ((4, 6, 5, 3), {"dtype": "float64"}),
        ((4, 6, 5, 3), {"dtype": "mixed_float16"}),
        ((4, 6, 5, 1), {}),
    ],
)
def test_what_tensorflow_has_no_kernels_for_is_kept(shape, kwargs):
    model = keras.Sequential([keras.Input(shape[1:]), keras.layers.BatchNormalization(name="norm", **kwargs)])
    found = accelerate(model)
    assert found.network is model
    assert list(found.kept) == ["norm"] and not found.replaced


@pytest.mark.parametrize("frozen", ["before", "after"])
def test_a_frozen_layer_keeps_its_statistics(frozen):
    plain = keras.layers.BatchNormalization(trainable=frozen != "before")
    plain.build((4, 6, 5, 3))
    ours = FusedBatchNormalization(plain)
    plain.trainable = False
    before = ours.get_weights()
    ours(np.random.default_rng(0).normal(size=(4, 6, 5, 3)), training=True)
    for weight, unchanged in zip(ours.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, unchanged)


def test_masked_inputs_are_left_to_keras():
    x = np.random.default_rng(0).normal(size=(4, 6, 5, 3)).astype("float32")
    mask = np.random.default_rng(1).random((4, 6, 5)) > 0.3
    ours, theirs = (layer(x, training=True, mask=mask) for layer in twins(x.shape))
    np.testing.assert_array_equal(ours, theirs)
