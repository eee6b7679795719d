"""`check_network`: each way in which a network of somebody's own can spoil a study, by name and remedy."""

import logging

import keras
import numpy as np
import pytest
from keras import layers, ops

from loglearn_tf.layers import LearnableLog
from loglearn_tf.models import check_network, seeded
from loglearn_tf.models.check import try_out

N_MELS, N_CLASSES = 8, 3


class Squared(layers.Layer):
    """Not registered, and its argument is not in `get_config`."""

    def __init__(self, scale=2.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, x):
        return self.scale * x**2


@keras.saving.register_keras_serializable("tests_of_check")
class Forgetful(Squared):
    """Registered, but a copy has another scale."""

    def __init__(self, **kwargs):
        super().__init__(scale=float(np.random.default_rng().uniform(1, 9)), **kwargs)


@keras.saving.register_keras_serializable("tests_of_check")
class OverBatch(layers.Layer):
    def call(self, x):
        return x - ops.mean(x, axis=0, keepdims=True)


@keras.saving.register_keras_serializable("tests_of_check")
class Counting(layers.Layer):
    def build(self, shape):
        self.n = self.add_weight(shape=(), initializer="zeros", trainable=False, name="n")

    def call(self, x):
        self.n.assign_add(1.0)
        return x


@keras.saving.register_keras_serializable("tests_of_check")
class Stopped(layers.Layer):
    def call(self, x):
        return ops.stop_gradient(x)


def network(
    *,
    compression,
    seed,
    before=(),
    inside=(),
    after=(),
    start=None,
    uses=1,
    activation=None,
    name="logits",
    units=N_CLASSES,
):
    """Mean over time, normalised, to logits; sound unless an argument says otherwise."""
    mel = keras.Input((16, N_MELS))
    x = mel
    for _ in range(uses):
        x = compression(x)
    for layer in inside:
        x = layer(x)
    x = layers.LayerNormalization()(layers.GlobalAveragePooling1D()(x))
    for layer in after:
        x = layer(x)
    start = keras.initializers.GlorotUniform(seed) if start is None else start
    return keras.Model(mel, layers.Dense(units, kernel_initializer=start, activation=activation, name=name)(x))


def tried(saved=True, compression=None, **faults):
    def build(*, compression, seed):
        made = {
            key: value(seed) if callable(value) and key in ("inside", "after") else value
            for key, value in faults.items()
        }
        return network(compression=compression, seed=seed, **made)

    try_out("lab:net", build, compression=compression, shape=(16, N_MELS), saved=saved)


def test_a_sound_network_passes():
    tried()
    tried(compression=lambda: LearnableLog(per_band=True))
    tried(after=lambda seed: [layers.Dropout(0.5, seed=seed), layers.BatchNormalization()])


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ({"activation": "softmax"}, "must return logits.*probabilities.*Remove the softmax"),
        ({"after": lambda seed: [layers.Lambda(lambda x: x / 0.0)]}, "must return finite logits.*Normalise"),
        ({"uses": 0}, "must call `compression` once.*Received: 0 calls"),
        ({"uses": 2}, "must call `compression` once.*Received: 2 calls"),
        ({"inside": lambda seed: [Stopped()]}, "must let gradients reach `compression`"),
        ({"start": "glorot_uniform"}, "must start with the same weights for every compression.*seeded"),
        (
            {"start": keras.initializers.GlorotUniform(3)},
            "must start with other weights for another `seed`.*seeded",
        ),
        ({"after": lambda seed: [layers.Dropout(0.5)]}, "must start with the same weights.*seed_generator.*dropout"),
        ({"after": lambda seed: [layers.GaussianNoise(0.5)]}, "must start with the same weights.*seed_generator"),
        ({"inside": lambda seed: [Counting()]}, "must have no state between calls.*/n changes"),
        ({"after": lambda seed: [OverBatch()]}, "must return the same logits for a patch alone and in a batch"),
        ({"after": lambda seed: [Forgetful()]}, "must be the same after saving and loading.*other logits"),
        ({"after": lambda seed: [layers.Lambda(lambda x: 2 * x)]}, "must be the same after.*lambda"),
    ],
)
def test_each_fault_has_its_message(faults, says):
    with pytest.raises(ValueError, match=f"(?s)Network lab:net {says}"):
        tried(**faults)


def test_what_only_a_saved_model_needs_is_a_warning_where_none_is_saved(caplog):
    with caplog.at_level(logging.WARNING, "loglearn_tf"):
        tried(saved=False, after=lambda seed: [Forgetful()])
    assert "`save_models`" in caplog.text and "@keras.saving.register_keras_serializable" in caplog.text


def test_a_sigmoid_is_a_warning(caplog):
    with caplog.at_level(logging.WARNING, "loglearn_tf"):
        tried(activation="sigmoid")
    assert "only outputs between 0 and 1" in caplog.text


def test_a_network_that_depends_on_its_compression():
    def build(*, compression, seed):
        return network(compression=compression, seed=seed, after=[layers.Dense(4)] * (compression.name == "loglearn"))

    with pytest.raises(ValueError, match="must be the same for every compression"):
        try_out("lab:net", build, compression=None, shape=(16, N_MELS), saved=False)


def test_a_stateful_recurrence_is_found():
    def build(*, compression, seed):
        mel = keras.Input(batch_shape=(4, 16, N_MELS))
        x = layers.GRU(3, stateful=True)(compression(mel))
        return seeded(keras.Model(mel, layers.Dense(N_CLASSES)(x)), seed)

    with pytest.raises(ValueError, match="must have no state between calls"):
        try_out("lab:net", build, compression=None, shape=(16, N_MELS), saved=False)


@pytest.mark.parametrize("name", ["timbre", "prototypical"])
def test_networks_of_the_package_pass(name):
    check_network(name, n_classes=2)


# ---- One seed for all -------------------------------------------------------------------------------------------


def unseeded(drop=0.5):
    mel = keras.Input((16, N_MELS))
    inner = keras.Sequential([keras.Input((16, N_MELS)), layers.SeparableConv1D(4, 3), layers.Dropout(drop)])
    x = layers.Bidirectional(layers.GRU(3, recurrent_initializer="orthogonal"))(inner(LearnableLog()(mel)))
    return keras.Model(mel, layers.Dense(2)(x))


def test_seeded_reaches_every_layer_and_nothing_outside():
    keras.utils.set_random_seed(1)
    numpy_before = np.random.get_state()[1].copy()
    one = seeded(unseeded(), 5)
    keras.utils.set_random_seed(2)
    other, third = seeded(unseeded(), 5), seeded(unseeded(), 6)
    for ours, theirs in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)
    drawn = [
        variable.path
        for variable, again in zip(one.variables, third.variables, strict=True)
        if not np.array_equal(variable, again)
    ]
    for part in ("depthwise_kernel", "pointwise_kernel", "recurrent_kernel", "seed_generator_state", "dense"):
        assert any(part in path for path in drawn), (part, drawn)
    # Two directions, one initialiser: each has weights of its own.
    forward, backward = (one.layers[-2].forward_layer, one.layers[-2].backward_layer)
    assert not np.array_equal(forward.get_weights()[0], backward.get_weights()[0])
    np.random.set_state(("MT19937", numpy_before, 0))


def test_seeded_draws_from_the_layers_own_initialisers_and_keeps_what_was_chosen():
    mel = keras.Input((4,))
    kept = layers.Dense(50, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01, seed=3), name="kept")
    drawn = layers.Dense(
        50,
        kernel_initializer=keras.initializers.RandomNormal(mean=5.0, stddev=0.01),
        bias_initializer="ones",
        name="drawn",
    )
    model = keras.Model(mel, drawn(kept(mel)))
    before = kept.get_weights()[0]
    assert seeded(model, 1) is model
    np.testing.assert_array_equal(kept.get_weights()[0], before)
    kernel, bias = drawn.get_weights()
    assert abs(kernel.mean() - 5) < 0.01 and abs(kernel.std() - 0.01) < 0.001 and (bias == 1).all()


def test_seeded_leaves_an_adapted_compression_alone():
    compression = LearnableLog(name="loglearn")
    mel = keras.Input((16, N_MELS))
    model = keras.Model(mel, layers.Dense(2)(layers.Flatten()(compression(mel))))
    compression.set_weights([np.float32(9.0) * np.ones_like(weight) for weight in compression.get_weights()])
    seeded(model, 0)
    assert all((weight == 9).all() for weight in compression.get_weights())


def test_seeded_says_what_it_cannot_do():
    class Mine(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="functional or sequential model.*Mine"):
        seeded(Mine(), 0)
