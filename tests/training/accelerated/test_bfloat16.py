"""The twin in bfloat16: the float32 twin's numbers but for rounding; weights and statistics stay float32.

All of it passes on processors that emulate bfloat16, only slower.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from loglearn_tf import build_model
from loglearn_tf.errors import ConfigError
from loglearn_tf.training.accelerated import accelerate, block, check_bfloat16, precision
from loglearn_tf.training.accelerated.convolution import one_channel_input_gradient
from loglearn_tf.training.accelerated.layers import FusedBlock, FusedConv2D, FusedDense
from loglearn_tf.training.accelerated.normalization import moments

POOL = keras.layers.MaxPooling2D


def rounded(x):
    """To bfloat16 and back; the gradient passes."""
    x = tf.convert_to_tensor(x)
    return x + tf.stop_gradient(tf.cast(tf.cast(x, tf.bfloat16), tf.float32) - x)


def emulated(model, x):
    """A chain of Keras' layers in float32, in training, with every factor and every map rounded to bfloat16."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            x = emulated(layer, x)
        elif isinstance(layer, keras.layers.Conv2D):
            x = layer.convolution_op(rounded(x), rounded(layer.kernel))
            x = rounded(layer.activation(x + rounded(layer.bias)))
        elif isinstance(layer, keras.layers.Dense) and layer is not model.layers[-1]:
            x = layer.activation(rounded(rounded(x) @ rounded(layer.kernel)) + layer.bias)
        elif not isinstance(layer, (keras.layers.InputLayer, keras.layers.Dropout)):
            x = layer(x, training=True) if layer.name.startswith(("norm", "input_norm")) else layer(x)
            x = rounded(x) if isinstance(layer, POOL) else x
    return x


def gradients(network, model, x, labels):
    """Loss, and of all weights, as one vector; averages stay as they were."""

    @tf.function
    def calculate(x):
        with tf.GradientTape() as tape:
            logits = network(x)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        return loss, tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    before = model.get_weights()
    loss, found = calculate(tf.constant(x))
    model.set_weights(before)
    assert all(one.dtype == tf.float32 for one in found)
    return float(loss), np.concatenate([np.ravel(one) for one in found]).astype(np.float64)


def without_dropout(model):
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # the masks would differ
    return model


def powers(n):
    return (10 ** np.random.default_rng(0).uniform(-8, 2, (n, 128, 128))).astype("float32"), np.arange(n) % 10


def difference(one, other):
    return np.linalg.norm(one - other) / np.linalg.norm(other)


@pytest.fixture(scope="module")
def found():
    """Network -> losses and gradients: of the twin in bfloat16, of what it emulates, and of the twin in float32."""
    results = {}

    def of(name):
        if name not in results:
            kwargs = {"n_filters": 8} if name == "vgg" else {}
            model = without_dropout(build_model(name, seed=3, **kwargs))
            for variable in model.trainable_variables:
                if variable.name == "gamma":  # of both signs
                    variable.assign(np.random.default_rng(1).normal(size=variable.shape))
            x, labels = powers(6)
            twins = {kind: accelerate(model, precision=kind).network for kind in ("bfloat16", "float32")}
            results[name] = {
                "emulated": gradients(lambda x: emulated(model, x), model, x, labels),
                **{
                    kind: gradients(lambda x, twin=twin: twin(x, training=True), model, x, labels)
                    for kind, twin in twins.items()
                },
            }
        return results[name]

    return of


class TestGradients:
    @pytest.mark.parametrize("name", ["sb_cnn", pytest.param("timbre", marks=pytest.mark.long)])
    def test_of_networks_are_those_of_rounded_factors_and_maps(self, name, found):
        """What is left are roundings of the gradients on their way back: relative ones of 2**-9 at most, in all
        directions, a few on each of five layers. That makes half a percent of the whole vector."""
        (loss, ours), (expected, theirs) = found(name)["bfloat16"], found(name)["emulated"]
        assert loss == pytest.approx(expected, rel=1e-4)
        assert difference(ours, theirs) < 0.01

    @pytest.mark.parametrize(
        "name",
        ["sb_cnn", pytest.param("timbre", marks=pytest.mark.long), pytest.param("vgg", marks=pytest.mark.long)],
    )
    def test_of_networks_point_where_those_of_float32_do(self, name, found):
        """Of two values of a window that differ by less than 2**-8 rounding makes either the maximum, and the gradient
        goes to another place: of noise, a tenth of it does on its way through five poolings. Half would be too much."""
        (loss, ours), (expected, theirs) = found(name)["bfloat16"], found(name)["float32"]
        assert loss == pytest.approx(expected, rel=0.02)
        assert 0 < difference(ours, theirs) < 0.5
        assert ours @ theirs > 0.9 * np.linalg.norm(ours) * np.linalg.norm(theirs)

    @pytest.mark.parametrize(
        ("channels", "activation", "padding", "pool"),
        [
            (1, "elu", "same", {"pool_size": 2}),
            (1, "relu", "valid", {"pool_size": (3, 2), "strides": 1, "padding": "same"}),
            (8, "elu", "same", {"pool_size": 2}),
            (8, None, "same", {"pool_size": (2, 4)}),
        ],
    )
    def test_of_a_block_are_those_of_rounded_factors_and_maps(self, channels, activation, padding, pool, monkeypatch):
        """As those of networks, of the input, too; and the statistics."""
        # Over one channel: computed again, in parts of two patches and one.
        monkeypatch.setitem(block._KEPT_BYTES, "bfloat16", 0)
        monkeypatch.setattr(block, "_PART_BYTES", 16 * 20 * 8 * 2 * 3)
        x = rounded(np.random.default_rng(0).normal(1, 2, (5, 16, 20, channels)).astype("float32"))
        conv = keras.layers.Conv2D(8, 3, activation=activation, padding=padding, use_bias=channels > 1)
        norm, pooling = keras.layers.BatchNormalization(), POOL(**pool)
        pooling(norm(conv(x)))
        for variable in (*conv.variables, *norm.trainable_variables):
            variable.assign(np.random.default_rng(2).normal(0.2, 1, variable.shape))
        fused = FusedBlock(conv, norm, pooling, "bfloat16")
        before = [variable.numpy() for variable in fused.variables]

        def stock(x):
            y = conv.convolution_op(rounded(x), rounded(conv.kernel))
            y = rounded(conv.activation(y if conv.bias is None else y + rounded(conv.bias)))
            return rounded(pooling(norm(y, training=True)))

        results = []
        for layer in (lambda x: fused(x, training=True), stock):

            @tf.function
            def calculate(x, layer=layer):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    y = tf.cast(layer(x), tf.float32)
                    loss = tf.reduce_sum(tf.sin(3 * y) * y)
                return y, *tape.gradient(loss, [x, *(one.value for one in fused.trainable_variables)])

            found = [np.asarray(one) for one in calculate(x)]
            results.append(found + [np.array(one) for one in (norm.moving_mean, norm.moving_variance)])
            for variable, value in zip(fused.variables, before, strict=True):
                variable.assign(value)
        y, theirs = (one[0] for one in results)
        assert difference(y, theirs) < 1e-3
        # Of the input, and of all weights as one vector: some biases have none, since a mean is taken away after them.
        for part in (lambda found: found[1], lambda found: np.concatenate([np.ravel(one) for one in found[2:-2]])):
            assert difference(*map(part, results)) < 0.02
        for one, other in zip(*(one[-2:] for one in results), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize(("kernel", "padding"), [((5, 5), "VALID"), ((3, 3), "SAME"), ((4, 6), "SAME")])
    def test_of_an_input_of_one_channel_are_rounded_twice(self, kernel, padding):
        """The two or three parts that it is the sum of, and the sum; not the sums over filters and rows."""
        rng = np.random.default_rng(0)
        x, weights = rng.normal(size=(3, 16, 20, 1)), rng.normal(size=(*kernel, 1, 24))
        x, weights = (rounded(one.astype("float32")) for one in (x, weights))
        of_map = rounded(rng.normal(size=tf.nn.conv2d(x, weights, 1, padding).shape).astype("float32"))
        expected = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=x.shape, filter=weights, out_backprop=of_map, strides=[1, 1, 1, 1], padding=padding
        )
        ours = one_channel_input_gradient(
            *(tf.cast(one, tf.bfloat16) for one in (x, weights, of_map)), padding, is_fast=True
        )
        assert ours.dtype == tf.bfloat16
        # Half a unit in the last of eight binary places, each time.
        assert difference(np.asarray(ours, np.float32), np.asarray(expected)) < 2 * 2**-9

    @pytest.mark.parametrize("columns", [16, 64])
    def test_a_mean_far_from_zero_leaves_the_variance_right(self, columns):
        """The difference of a mean square and a squared mean would leave nothing of it."""
        y = rounded(np.random.default_rng(0).normal(40, 1, (20, 64, columns, 3)).astype("float32"))
        mean, variance = moments(tf.cast(y, tf.bfloat16), 1e-3)
        assert mean.dtype == variance.dtype == tf.float32
        np.testing.assert_allclose(mean, np.mean(y, (0, 1, 2)), rtol=3e-4)
        np.testing.assert_allclose(variance, np.var(y, (0, 1, 2)), rtol=1e-3)


class TestTwin:
    def test_what_is_replaced(self):
        def replaced(name, **kwargs):
            return accelerate(build_model(name, **kwargs), precision="bfloat16").replaced

        blocks = {
            f"{kind}_{i}": f"conv_{i}_fused_with_pool_{i}" for i in range(1, 6) for kind in ("conv", "norm", "pool")
        }
        assert replaced("vgg", n_filters=4) == blocks
        assert replaced("prototypical", n_filters=4) == {f"encoder/{name}": fused for name, fused in blocks.items()}
        assert replaced("timbre") == dict.fromkeys(("conv", "logits"), "conv_fused_with_logits")
        assert replaced("sb_cnn") == {
            **{f"{kind}_{i}": f"conv_{i}_fused_with_pool_{i}" for i in (1, 2) for kind in ("conv", "pool")},
            "conv_3": "conv_3_fused",
            "dense_1": "dense_1_fused",
        }

    def test_the_last_dense_layer_stays(self):
        kept = accelerate(build_model("sb_cnn"), precision="bfloat16").kept
        assert kept["logits"] == "its output is the model's, of which losses and distances are computed"

    def test_maps_are_bfloat16_and_everything_else_is_float32(self):
        model = build_model("vgg", n_filters=4)
        twin = accelerate(model, precision="bfloat16").network
        maps = keras.Model(twin.input, [twin.get_layer("pool_1").output, twin.get_layer("pool_5").output, twin.output])
        of_first, of_last, logits = maps(powers(2)[0], training=True)
        assert of_first.dtype == of_last.dtype == tf.bfloat16 and logits.dtype == tf.float32
        assert {variable.dtype for variable in twin.variables if "seed" not in variable.path} == {"float32"}
        assert len(twin.variables) == len(model.variables)
        assert all(any(one is other for other in model.variables) for one in twin.variables)

    @pytest.mark.parametrize("name", ["timbre", "sb_cnn", "vgg"])
    def test_at_inference_it_computes_in_float32(self, name):
        model = build_model(name, **({"n_filters": 4} if name == "vgg" else {}))
        ours, theirs = (
            accelerate(model, precision=kind).network(powers(2)[0], training=False) for kind in ("bfloat16", "float32")
        )
        np.testing.assert_array_equal(ours, theirs)

    def test_frozen_normalisation_uses_its_averages(self):
        model = build_model("vgg", n_filters=4, seed=1)
        without_dropout(model).get_layer("norm_1").trainable = False
        twin = accelerate(model, precision="bfloat16").network
        before = model.get_layer("norm_1").moving_mean.numpy()
        ours, theirs = twin(powers(4)[0], training=True), accelerate(model).network(powers(4)[0], training=True)
        np.testing.assert_array_equal(model.get_layer("norm_1").moving_mean, before)
        assert difference(np.asarray(ours), np.asarray(theirs)) < 0.05

    def test_any_kind_of_layer_may_stand_between(self):
        """What takes no bfloat16 is given float32."""
        # With other weights two values may be so near each other that rounding makes another one the maximum.
        keras.utils.set_random_seed(0)
        inputs = keras.Input((12, 16, 3))
        x = keras.layers.Conv2D(4, 3, strides=2, activation="gelu", name="conv")(inputs)
        x = keras.layers.Dropout(0.0)(x)
        x = keras.layers.Add()([x, keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)])
        x = keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(5, 2, activation="elu", use_bias=False)(x))
        model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dense(6, activation="tanh")(x)))
        found = accelerate(model, precision="bfloat16")
        kinds = [type(layer) for layer in found.network.layers]
        assert kinds.count(FusedConv2D) == 3 and kinds.count(FusedDense) == 1
        given = np.random.default_rng(0).normal(size=(4, 12, 16, 3)).astype("float32")
        results = []
        for network in (found.network, model):
            with tf.GradientTape() as tape:
                y = network(given, training=True)
                loss = tf.reduce_sum(y**2)
            results.append([y, *tape.gradient(loss, [one.value for one in model.trainable_variables])])
        for ours in results[0]:
            assert ours.dtype == tf.float32
        whole = [np.concatenate([np.ravel(one) for one in each]) for each in results]
        assert difference(*whole) < 0.05

    def test_a_network_without_such_layers_is_refused(self):
        inputs = keras.Input((12, 16, 3))
        grouped = keras.layers.Conv2D(6, 3, groups=3, name="conv")(inputs)
        flat = keras.layers.Flatten()(grouped)
        model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(flat), name="mine")
        with pytest.raises(
            ConfigError, match=r"Received: mine, .*conv: grouped or dilated.*logits: its output is"
        ) as error:
            accelerate(model, precision="bfloat16")
        assert str(error.value).endswith("Use `training.precision=float32`.")

    def test_it_is_not_saved(self, tmp_path):
        with pytest.raises(NotImplementedError, match="Save the plain network"):
            accelerate(build_model("sb_cnn"), precision="bfloat16").network.save(tmp_path / "twin.keras")


class TestFloat32:
    """What is published."""

    def test_the_default_knows_no_bfloat16(self):
        """Nor any layer that is there for it: every operation is what it was."""
        for name in ("timbre", "sb_cnn", "vgg"):
            model = build_model(name, **({"n_filters": 4} if name == "vgg" else {}))
            assert accelerate(model).replaced == accelerate(model, precision="float32").replaced
            twin = accelerate(model).network
            assert not any(isinstance(layer, (FusedBlock, FusedDense)) for layer in twin._flatten_layers())

            @tf.function
            def step(x, twin=twin):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_sum(twin(x, training=True))
                return tape.gradient(loss, [variable.value for variable in twin.trainable_variables])

            graph = str(step.get_concrete_function(tf.constant(powers(2)[0])).graph.as_graph_def())
            assert "DT_FLOAT" in graph and "DT_BFLOAT16" not in graph

    def test_the_same_weights_to_the_last_bit(self):
        weights = []
        for kwargs in ({}, {"precision": "float32"}):
            model = build_model("sb_cnn", seed=2)
            twin = accelerate(model, **kwargs).network
            twin.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
            twin.fit(*powers(4), batch_size=2, epochs=1, shuffle=False, verbose=0)
            weights.append(model.get_weights())
        for one, other in zip(*weights, strict=True):
            np.testing.assert_array_equal(one, other)


class TestProcessors:
    @pytest.mark.parametrize("share", [0.1, 0.79])
    def test_those_that_compute_in_it_are_taken(self, share, monkeypatch):
        monkeypatch.setattr(precision, "share_of_float32", lambda: share)
        check_bfloat16()

    def test_those_that_emulate_it_are_refused(self, monkeypatch):
        monkeypatch.setattr(precision, "share_of_float32", lambda: 2.34)
        with pytest.raises(ConfigError) as error:
            check_bfloat16()
        assert "takes 2.3 times as long in bfloat16 as in float32, so it is emulated" in str(error.value)
        assert "Use `training.precision=float32`, or a processor with AMX" in str(error.value)

    def test_where_there_is_a_gpu_too(self, monkeypatch):
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"] if kind == "GPU" else [])
        with pytest.raises(ConfigError, match="finds a GPU.*CUDA_VISIBLE_DEVICES=-1"):
            check_bfloat16()

    def test_it_is_measured_once(self, monkeypatch):
        precision.share_of_float32.cache_clear()
        share = precision.share_of_float32()
        assert 0.02 < share < 50  # on any processor
        monkeypatch.setattr(tf.nn, "conv2d", None)
        assert precision.share_of_float32() == share
