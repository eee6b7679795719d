"""The accelerated twin of a network: the same outputs, gradients, losses and variables; what fits is fused."""

import copy
import logging
import pickle
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import python
from hypothesis import given, settings
from hypothesis import strategies as st

from loglearn_tf import build_model
from loglearn_tf.training.accelerated import accelerate
from loglearn_tf.training.accelerated.layers import Fused
from loglearn_tf.training.graph import NoGraphError, graph_of

SHAPE = (11, 12, 1)


def same_objects(ours, theirs):
    return len(ours) == len(theirs) and all(a is b for a, b in zip(ours, theirs, strict=True))


def randomise(model):
    rng = np.random.default_rng(1)
    for variable in model.weights:
        value = rng.normal(0.3, 1, variable.shape)
        variable.assign(np.abs(value) + 0.1 if variable.name == "moving_variance" else value)


class TestTheNetworksOfTheExperiment:
    @pytest.mark.parametrize(
        ("name", "replaced", "kept"),
        [
            ("timbre", {"conv": "conv_fused_with_logits", "logits": "conv_fused_with_logits"}, {"input_norm"}),
            (
                "sb_cnn",
                {
                    **dict.fromkeys(("conv_1", "pool_1"), "conv_1_fused_with_pool_1"),
                    **dict.fromkeys(("conv_2", "pool_2"), "conv_2_fused_with_pool_2"),
                },
                {"input_norm", "conv_3"},
            ),
            (
                "vgg",
                {"conv_1": "conv_1_fused"}
                | {f"{kind}_{i}": f"norm_{i}_fused_with_pool_{i}" for i in range(1, 6) for kind in ("norm", "pool")},
                {"input_norm", *(f"conv_{i}" for i in range(2, 6))},
            ),
        ],
    )
    def test_what_is_replaced(self, name, replaced, kept):
        found = accelerate(build_model(name))
        assert found.replaced == replaced and set(found.kept) == kept
        for part in (*replaced, *replaced.values(), *kept, *found.kept.values()):
            assert part in found.describe()

    def test_what_is_replaced_in_a_nested_model(self):
        found = accelerate(build_model("prototypical", n_filters=4))
        of_vgg = accelerate(build_model("vgg", n_filters=4))
        assert found.replaced == {f"encoder/{name}": fused for name, fused in of_vgg.replaced.items()}
        # Over the time axis, in the published protocol.
        assert found.kept["encoder/input_norm"] == "not over the last of four axes"

    @pytest.mark.parametrize("name", ["timbre", "sb_cnn", "vgg", "prototypical"])
    def test_variables_and_losses_are_the_plain_networks_in_its_order(self, name):
        model = build_model(name)
        twin = accelerate(model).network
        for kind in ("variables", "trainable_variables", "non_trainable_variables"):
            assert same_objects(getattr(twin, kind), getattr(model, kind)), kind
        assert [float(a) for a in twin.losses] == [float(b) for b in model.losses]

    @pytest.mark.parametrize("name", ["timbre", "sb_cnn", "vgg"])
    def test_to_train_the_twin_is_to_train_the_network(self, name):
        model = build_model(name, n_classes=2, seed=3, **({"n_filters": 4} if name == "vgg" else {}))
        twin = accelerate(model).network
        rng = np.random.default_rng(0)
        mel, labels = (10 ** rng.uniform(-8, 2, (4, 128, 128))).astype("float32"), np.array([0, 1, 1, 0])
        before = [variable.numpy() for variable in model.variables]
        twin.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        twin.fit(mel, labels, batch_size=2, epochs=2, shuffle=False, verbose=0)
        for variable, old in zip(model.variables, before, strict=True):
            assert np.any(variable.numpy() != old), variable.path
        ours, theirs = twin.predict(mel, verbose=0), model.predict(mel, verbose=0)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())

    def test_the_plain_network_stays_as_it_is(self):
        model = build_model("vgg", n_filters=4)
        config, output = model.get_config(), model.get_layer("norm_2").output
        accelerate(model)
        assert model.get_config() == config
        assert model.get_layer("norm_2").output is output


def test_it_is_logged(caplog):
    with caplog.at_level(logging.DEBUG, logger="loglearn_tf"):
        found = accelerate(build_model("timbre"))
    assert [(one.name, one.getMessage()) for one in caplog.records] == [
        ("loglearn_tf.training.accelerated.twin", found.describe())
    ]
    assert "conv -> conv_fused_with_logits" in found.describe()


def conv(filters=2, kernel=3, **kwargs):
    return keras.layers.Conv2D(filters, kernel, **{"name": "conv", "activation": "relu", **kwargs})


def norm(**kwargs):
    return keras.layers.BatchNormalization(name="norm", **kwargs)


def sequential(*layers, shape=(9, 12, 2)):
    return keras.Sequential([keras.Input(shape), *layers])


def called_twice():
    shared, x = conv(), keras.Input((9, 12, 2))
    pooled = [keras.layers.MaxPooling2D()(shared(one)) for one in (x, -x)]
    return keras.Model(x, pooled)


def two_readers():
    x = keras.Input((9, 12, 2))
    y = conv()(x)
    return keras.Model(x, [keras.layers.MaxPooling2D()(y), keras.layers.Flatten()(y)])


def also_an_output():
    x = keras.Input((9, 12, 2))
    y = conv()(x)
    return keras.Model(x, {"pooled": keras.layers.MaxPooling2D()(y), "whole": y})


def pooling_called_twice():
    x, pool = keras.Input((9, 12, 2)), keras.layers.MaxPooling2D()
    return keras.Model(x, [pool(conv()(x)), pool(x)])


class Derived(keras.layers.Conv2D):
    def call(self, inputs):
        return -super().call(inputs)


class DerivedModel(keras.Model):
    def call(self, inputs):
        return -super().call(inputs)


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


class NotSaved(keras.layers.Layer):
    def __init__(self, function):
        super().__init__(name="not_saved")
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


def derived_model():
    x = keras.Input((9, 12, 2))
    return DerivedModel(x, keras.layers.MaxPooling2D()(conv()(x)), name="derived")


POOL = keras.layers.MaxPooling2D


@pytest.mark.parametrize(
    ("model", "name", "reason"),
    [
        (called_twice(), "conv", "called more than once"),
        (two_readers(), "conv", "no maximum pooling that alone takes its output"),
        (also_an_output(), "conv", "no maximum pooling that alone takes its output"),
        (pooling_called_twice(), "conv", "no maximum pooling that alone takes its output"),
        (sequential(conv(activation="gelu"), POOL()), "conv", "no maximum pooling .* may come first"),
        (sequential(conv(), keras.layers.AveragePooling2D(2)), "conv", "no maximum pooling"),
        (sequential(conv(strides=2), shape=(9, 12, 1)), "conv", "several channels or strides"),
        (sequential(conv(activity_regularizer="l2"), POOL()), "conv", "an activity regularizer"),
        (sequential(conv(dtype="float64"), POOL()), "conv", "computes in float64, not in float32"),
        (sequential(conv(data_format="channels_first", padding="same"), POOL()), "conv", "its channels come first"),
        (sequential(Derived(2, 3, name="conv"), POOL()), "conv", "Derived is derived from Keras' class"),
        (sequential(conv(), POOL(data_format="channels_first")), "conv", "no maximum pooling"),
        (sequential(norm(scale=False), POOL()), "norm", "without center or scale"),
        (sequential(norm(), POOL(), shape=(9, 12, 1)), "norm", "one channel"),
        (sequential(norm(axis=1), POOL()), "norm", "not over the last of four axes"),
        (sequential(norm(), shape=(9,)), "norm", "not over the last of four axes"),
        (derived_model(), "derived", "DerivedModel is a custom class"),
        (Subclassed(name="own"), "own", "Subclassed is a custom class"),
        (keras.Sequential([conv(), POOL()], name="later"), "later", "the model is not built"),
        (
            sequential(keras.Sequential([keras.Input((9, 12, 2)), norm(axis=1)], name="in")),
            "in/norm",
            "not over the last",
        ),
    ],
)
def test_what_does_not_fit_is_kept_with_the_reason(model, name, reason):
    found = accelerate(model)
    assert found.network is model and found.replaced == {}
    assert list(found.kept) == [name]

    assert re.search(reason, found.kept[name]), found.kept


def test_a_layer_that_cannot_be_saved_hides_the_graph():
    x = keras.Input((9, 12, 2))
    model = keras.Model(x, POOL()(conv()(NotSaved(tf.nn.relu)(x))), name="net")
    found = accelerate(model)
    assert found.network is model and "NotSaved" in found.kept["net"]
    with pytest.raises(NoGraphError):
        graph_of(model)


def test_an_error_in_a_layers_configuration_is_not_hidden():
    class Broken(keras.layers.Layer):
        def call(self, inputs):
            return inputs

        def get_config(self):
            raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        accelerate(sequential_graph(Broken()))


def sequential_graph(*layers, shape=(9, 12, 2)):
    x = inputs = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def test_a_model_nested_twice_has_one_twin():
    branch = sequential_graph(conv(), POOL())
    a, b = keras.Input((9, 12, 2)), keras.Input((9, 12, 2))
    model = keras.Model([a, b], keras.layers.Subtract()([branch(a), branch(b)]))
    randomise(model)
    found = accelerate(model)
    assert same_objects(found.network.variables, model.variables)
    x = [np.random.default_rng(i).normal(size=(2, 9, 12, 2)).astype("float32") for i in range(2)]
    np.testing.assert_allclose(found.network(x), model(x), rtol=1e-5, atol=1e-6)


def test_the_twin_of_a_compiled_network_is_compiled_alike():
    model = sequential_graph(conv(), POOL(), keras.layers.Flatten(), keras.layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.25), "mean_absolute_error", jit_compile=False)
    twin = accelerate(model).network
    assert twin.loss == "mean_absolute_error" and float(twin.optimizer.learning_rate) == 0.25
    assert twin.optimizer is not model.optimizer
    before = model.get_weights()
    twin.train_on_batch(np.ones((2, 9, 12, 2), "float32"), np.ones((2, 1), "float32"))
    assert any(np.any(old != new) for old, new in zip(before, model.get_weights(), strict=True))


def test_layers_keep_their_dtype_whatever_the_global_policy():
    model = sequential(norm(), POOL())
    keras.config.set_dtype_policy("mixed_float16")
    try:
        twin = accelerate(model).network
        assert twin(np.ones((2, 9, 12, 2), "float32")).dtype == tf.float32
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    "saved",
    [
        lambda twin, folder: twin.save(folder / "twin.keras"),
        lambda twin, folder: twin.save_weights(folder / "twin.weights.h5"),
        lambda twin, folder: twin.to_json(),
        lambda twin, folder: pickle.dumps(twin),
        lambda twin, folder: copy.deepcopy(twin),
        lambda twin, folder: keras.models.clone_model(twin),
    ],
    ids=["save", "save_weights", "to_json", "pickle", "deepcopy", "clone_model"],
)
def test_a_twin_refuses_to_be_saved(saved, tmp_path):
    twin = accelerate(build_model("timbre")).network
    with pytest.raises(NotImplementedError, match="accelerated twin .* Save the plain network"):
        saved(twin, tmp_path)


def test_kinds_that_do_without_xla_say_so():
    """Where Keras may choose, it then chooses what works."""

    def supports(name, **kwargs):
        twin = accelerate(build_model(name, **kwargs)).network
        return all(layer.supports_jit for layer in twin.layers)

    assert supports("sb_cnn") and not supports("timbre") and not supports("vgg", n_filters=4)
    assert all(layer.supports_jit for layer in build_model("vgg").layers)


def test_on_other_backends_everything_is_kept(tmp_path):
    program = """
import sys, types
import keras
keras.backend.backend = lambda: "jax"
from loglearn_tf.training.accelerated import accelerate
model = keras.Sequential([keras.Input((9, 12, 1)), keras.layers.Conv2D(2, 3)], name="net")
found = accelerate(model)
assert found.network is model
assert found.kept == {"net": "Keras runs on jax, not on TensorFlow"}, found
"""
    python(program)


# ---- Random graphs ------------------------------------------------------------------------------------------------


def graphs(draw):
    """Convolutions, normalisations and poolings of all kinds, in branches, shared and nested; any of them frozen."""
    inputs = keras.Input(SHAPE)
    leaves = [inputs]

    def layer_for(x):
        rows, columns = x.shape[1:3]
        kind = draw(
            st.sampled_from(["conv", "conv", "norm", "norm", "pool", "pool", "activation", "dropout", "nested"])
        )
        trainable = draw(st.sampled_from([True, True, False]))
        if kind == "conv":
            return keras.layers.Conv2D(
                draw(st.integers(1, 3)),
                (draw(st.integers(1, min(3, rows))), draw(st.integers(1, columns))),
                padding=draw(st.sampled_from(["same", "valid"])),
                activation=draw(st.sampled_from([None, "relu", "elu", "gelu", "silu", "tanh"])),
                use_bias=draw(st.booleans()),
                kernel_regularizer=draw(st.sampled_from([None, "l2"])),
                trainable=trainable,
            )
        if kind == "norm":
            return keras.layers.BatchNormalization(
                center=draw(st.sampled_from([True, True, False])),
                scale=draw(st.sampled_from([True, True, False])),
                momentum=0.5,
                trainable=trainable,
            )
        if kind == "pool":
            size = draw(st.integers(1, min(3, rows))), draw(st.integers(1, min(3, columns)))
            strides = draw(st.sampled_from([None, 1, 2]))
            return POOL(size, strides=strides, padding=draw(st.sampled_from(["same", "valid"])))
        if kind == "nested":
            return keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Conv2D(2, 1, activation="elu"), POOL(1)])
        return keras.layers.Activation("relu") if kind == "activation" else keras.layers.Dropout(0.3)

    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(leaves) - 1))
        x = leaves[at]
        y = layer_for(x)(x)
        branches = draw(st.sampled_from([False, False, False, True]))
        if draw(st.sampled_from([False, False, True])) and x is not inputs and y.shape == x.shape:
            y = keras.layers.Add()([x, y])
        leaves = [*leaves, y] if branches else [*leaves[:at], y, *leaves[at + 1 :]]
    if draw(st.booleans()):  # one layer, called on two tensors of the graph
        shared = keras.layers.Conv2D(2, 1, activation="relu")
        same = [leaf for leaf in leaves if leaf.shape[-1] == leaves[-1].shape[-1]]
        leaves = [*leaves, *(POOL(1)(shared(leaf)) for leaf in same[-2:])]
    heads = [keras.layers.GlobalMaxPooling2D, keras.layers.GlobalAveragePooling2D, keras.layers.Flatten]
    ends = [draw(st.sampled_from(heads))()(leaf) for leaf in leaves]
    return keras.Model(inputs, keras.layers.Concatenate()(ends) if len(ends) > 1 else ends[0])


def everything(network, plain, x, training):
    """Outputs, losses, gradients of the input and of all weights, and what is left in the variables; these are put
    back."""
    before = [variable.numpy() for variable in plain.variables]

    def calculate(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = network(x, training=training)
            losses = tf.add_n([tf.reduce_sum(tf.sin(y) * y), *network.losses])
        watched = [x, *(variable.value for variable in network.trainable_variables)]
        return y, losses, *tape.gradient(losses, watched, unconnected_gradients="zero")

    found = [np.asarray(one) for one in calculate(tf.constant(x))]
    found += [variable.numpy() for variable in plain.variables]
    for variable, value in zip(plain.variables, before, strict=True):
        variable.assign(value)
    return found


@pytest.mark.parametrize(
    ("examples", "precision"),
    [
        (20, "float32"),
        pytest.param(60, "float32", marks=pytest.mark.long),
        pytest.param(60, "float32_fast", marks=pytest.mark.long),
    ],
)
def test_any_graph_has_a_twin_of_the_same_numbers(examples, precision):
    @settings(max_examples=examples, deadline=None, derandomize=True)
    @given(data=st.data())
    def check(data):
        model = graphs(data.draw)
        randomise(model)
        found = accelerate(model, precision=precision)
        assert same_objects(found.network.variables, model.variables)
        assert same_objects(found.network.trainable_variables, model.trainable_variables)
        assert bool(found.replaced) == any(isinstance(layer, Fused) for layer in found.network._flatten_layers())
        x = np.random.default_rng(0).normal(-1, 2, (3, *SHAPE)).astype("float32")
        for training in (True, False):
            ours, theirs = (everything(network, model, x, training) for network in (found.network, model))
            # The gradient of a kernel before a normalisation is the small rest of large terms that cancel. In sums over
            # 3 * 11 * 12 places, float32 may lose 396 * 6e-8 of the largest terms. Against float64, both sides are off
            # by that much, the twin by less in the median.
            rest = 2 * 396 * 6e-8 * max(np.abs(one).max(initial=0) for one in theirs)
            for one, other in zip(ours, theirs, strict=True):
                # Small batches with few places: single sums of products in another order.
                scale = max(np.abs(other).max(initial=0), 1e-3)
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * scale + rest)

    check()
