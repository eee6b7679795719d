"""A maximum that is taken before what keeps the order of values is Keras' maximum: numbers and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from loglearn_tf.training.accelerated import accelerate
from loglearn_tf.training.accelerated.pooling import highest


def noise(*shape):
    return np.random.default_rng(0).normal(-1, 3, shape).astype("float32")


def networks(*names_and_arguments, shape=(9, 12, 2)):
    """Two chains of layers with equal weights: the accelerated twin of one, and one of Keras' alone."""
    chains = []
    for _ in range(2):
        inputs = x = keras.Input(shape)
        for name, arguments in names_and_arguments:
            x = getattr(keras.layers, name)(**arguments)(x)
        chains.append(keras.Model(inputs, x))
    rng = np.random.default_rng(1)
    weights = [rng.normal(1, 1, weight.shape) for weight in chains[0].get_weights()]
    weights = [np.abs(w) if v.name == "moving_variance" else w for v, w in zip(chains[0].weights, weights, strict=True)]
    for chain in chains:
        chain.set_weights(weights)
    return accelerate(chains[0]).network, chains[1]


def outputs_and_gradients(model, x, compiled):
    def calculate(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
            loss = tf.reduce_sum(tf.sin(y) * y)
        return y, *tape.gradient(loss, [x, *model.trainable_variables])

    found = (tf.function(calculate) if compiled else calculate)(tf.constant(x))
    return [*found, *model.get_weights(), model(x, training=False)]


NORM = ("BatchNormalization", {"momentum": 0.5})
POOL = ("MaxPooling2D", {"pool_size": (2, 3)})


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "chain",
    [
        [NORM, POOL],
        [NORM, ("MaxPooling2D", {"pool_size": 2, "padding": "same"})],
        [NORM, ("MaxPooling2D", {"pool_size": 3, "strides": 1})],
        [("BatchNormalization", {"scale": False}), POOL],  # Keras' own layers
        [("Conv2D", {"filters": 5, "kernel_size": 3, "activation": "relu"}), POOL],
        [("Conv2D", {"filters": 5, "kernel_size": 3, "activation": "elu", "use_bias": False}), POOL],
        [("Conv2D", {"filters": 5, "kernel_size": 3, "activation": "gelu"}), POOL],  # does not rise everywhere
        [("Conv2D", {"filters": 5, "kernel_size": 3}), POOL],
        [NORM, ("GlobalMaxPooling2D", {"keepdims": True})],
        [NORM, ("GlobalMaxPooling2D", {})],
        [("Conv2D", {"filters": 5, "kernel_size": 3}), ("GlobalMaxPooling2D", {})],
        [("Conv2D", {"filters": 5, "kernel_size": 3, "activation": "relu"}), ("GlobalMaxPooling2D", {})],
        [("GlobalMaxPooling2D", {})],
        [("Conv2D", {"filters": 5, "kernel_size": 3, "activation": "relu"}), NORM, POOL, POOL],
    ],
    ids=lambda chain: "-".join(name for name, _ in chain),
)
def test_numbers_gradients_and_statistics_are_those_of_keras(chain, compiled):
    """Channels whose gamma is negative among them: there a maximum becomes a minimum."""
    ours, theirs = networks(*chain)
    gammas = [v.numpy() for v in ours.trainable_variables if v.name == "gamma"]
    assert all((gamma < 0).any() and (gamma > 0).any() for gamma in gammas if gamma.size > 2)
    x = noise(3, 9, 12, 2)
    found = [outputs_and_gradients(model, x, compiled) for model in (ours, theirs)]
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


def test_the_pooling_comes_first():
    """What the layer before would do to all values is not even in the compiled function."""

    def sizes_of(operation, model):
        graph = tf.function(lambda x: model(x, training=True)).get_concrete_function(tf.zeros((3, 9, 12, 2))).graph
        used, left = set(), [output.op for output in graph.outputs]
        while left:
            if (op := left.pop()) not in used:
                used.add(op)
                left += [each.op for each in op.inputs]
        return [op.outputs[0].shape[1:3].as_list() for op in used if op.type == operation]

    conv = ("Conv2D", {"filters": 5, "kernel_size": 1, "activation": "relu"})
    ours, theirs = networks(conv, POOL)
    assert sizes_of("Relu", ours) == [[4, 4]] and sizes_of("Relu", theirs) == [[9, 12]]
    assert sizes_of("FusedBatchNormV3", networks(NORM, POOL)[0]) == [[4, 4]]
    assert sizes_of("FusedBatchNormV3", networks(NORM)[0]) == [[9, 12]]


def test_another_use_of_the_same_values_sees_them_whole():
    inputs = keras.Input((8, 12, 2))
    normal = keras.layers.BatchNormalization()(inputs)
    both = keras.layers.Concatenate()(
        [keras.layers.Flatten()(keras.layers.MaxPooling2D((2, 3))(normal)), keras.layers.Flatten()(normal)]
    )
    y = np.asarray(accelerate(keras.Model(inputs, both)).network(noise(3, 8, 12, 2), training=True))
    whole = y[:, 32:].reshape(3, 4, 2, 4, 3, 2)
    np.testing.assert_allclose(y[:, :32].reshape(3, 4, 4, 2), whole.max(axis=(2, 4)), rtol=1e-5)


def test_equal_maxima_share_the_gradient():
    """Of silence every place is a maximum; and so it is of what a rectifier cuts off."""
    x = tf.constant(np.concatenate([np.zeros((1, 3, 4, 2)), noise(1, 3, 4, 2)]).astype("float32"))
    found = []
    for pool in (lambda x: highest(x)[:, 0, 0], keras.layers.GlobalMaxPooling2D()):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(pool(x) * tf.constant([[2.0, -3.0], [1.0, 4.0]]))
        found.append(tape.gradient(loss, x))
    np.testing.assert_allclose(*found, rtol=1e-6)
    np.testing.assert_allclose(found[0][0, :, :, 0], 2 / 12)


def test_half_precision_is_kept():
    policy = {"dtype": "mixed_float16"}
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            keras.layers.Conv2D(3, 3, activation="relu", name="conv", **policy),
            keras.layers.BatchNormalization(name="norm", **policy),
            keras.layers.MaxPooling2D(2, **policy),
        ]
    )
    found = accelerate(model)
    assert found.network is model and found.kept == dict.fromkeys(
        ("conv", "norm"), "computes in mixed_float16, not in float32"
    )
