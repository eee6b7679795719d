"""Layers of the precision `float32_fast`: Keras' numbers and gradients, in another order of sums."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from loglearn_tf import build_model
from loglearn_tf.training.accelerated import accelerate, block, xla
from loglearn_tf.training.accelerated.layers import FusedBlock, FusedConv2D
from loglearn_tf.training.accelerated.pooling import Maxima

POOL = keras.layers.MaxPooling2D


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(1, 2, shape).astype("float32")


def in_training(layer, x, variables):
    """Output, and gradients of the input and of variables, of a loss in which every value counts; in one graph, as in
    a training step."""

    @tf.function
    def calculate(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(tf.sin(3 * y) * y)
        return y, *tape.gradient(loss, [x, *(one.value for one in variables)])

    return [np.asarray(one) for one in calculate(tf.constant(x))]


@pytest.fixture
def few_patches(monkeypatch):
    """Parts of two patches of a map of 16 x 20 x 8: of five patches, the last part is smaller."""
    monkeypatch.setattr(block, "_PART_BYTES", 2 * 16 * 20 * 8 * 4 + 1)


@pytest.mark.parametrize(
    ("channels", "kernel", "activation", "padding", "pool"),
    [
        (1, 3, "elu", "same", {"pool_size": 2}),
        (1, (5, 4), "relu", "valid", {"pool_size": (3, 2), "strides": 1, "padding": "same"}),
        (1, 3, None, "same", {"pool_size": (3, 4)}),  # 16 rows: one is left over
        (8, 3, "elu", "same", {"pool_size": 2}),
        (8, 3, None, "same", {"pool_size": (2, 4)}),
    ],
)
def test_a_block_is_its_three_layers(channels, kernel, activation, padding, pool, few_patches):
    x = noise(5, 16, 20, channels)
    conv = keras.layers.Conv2D(8, kernel, activation=activation, padding=padding, use_bias=kernel == 3)
    norm, pooling = keras.layers.BatchNormalization(), POOL(**pool)
    pooling(norm(conv(x)))
    for variable in (*conv.variables, *norm.trainable_variables):  # gammas of both signs
        variable.assign(noise(*variable.shape, seed=2) - 1)
    fused = FusedBlock(conv, norm, pooling, "float32_fast")
    before = [variable.numpy() for variable in fused.variables]
    results = []
    for layer in (lambda x: fused(x, training=True), lambda x: pooling(norm(conv(x), training=True))):
        found = in_training(layer, x, fused.trainable_variables)
        results.append([*found, *(np.array(one) for one in (norm.moving_mean, norm.moving_variance))])
        for variable, value in zip(fused.variables, before, strict=True):
            variable.assign(value)
    (*found, mean, variance), (*expected, expected_mean, expected_variance) = results
    # Before a normalisation, the bias has a gradient of nothing but rounding.
    rest = 2e-5 * max(np.abs(one).max() for one in expected[2:])
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=rest)
    np.testing.assert_allclose(found[0], expected[0], rtol=2e-4, atol=1e-4)
    np.testing.assert_allclose([mean, variance], [expected_mean, expected_variance], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pool", [{"pool_size": (4, 2)}, {"pool_size": (3, 4)}, {"pool_size": 3, "strides": 2}])
@pytest.mark.parametrize("silent", [False, True])
def test_a_pooled_convolution_is_its_two_layers(pool, silent, few_patches):
    """Where all of a clip is silent, all maxima are equal, and the first of each has the gradient."""
    x = noise(5, 16, 20, 1)
    if silent:
        x[1:4] = 0.5
    conv, pooling = keras.layers.Conv2D(8, 5, padding="same", activation="elu"), POOL(**pool)
    pooling(conv(x))
    fused = FusedConv2D(conv, pooling, "float32_fast")
    fused.build(x.shape)
    ours = in_training(lambda x: fused(x, training=True), x, conv.variables)
    theirs = in_training(lambda x: pooling(conv(x)), x, conv.variables)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * max(np.abs(other).max(), 1))


@pytest.mark.parametrize("kernel", [(3, 5), (1, 1), (4, 2), (2, 3), (7, 7)])
@pytest.mark.parametrize("columns", [38, 40, 41])
def test_a_convolution_over_one_channel_is_keras(kernel, columns):
    """Columns of the map go back together in fours, in twos, or alone."""
    x = noise(3, 9, columns, 1)
    conv = keras.layers.Conv2D(4, kernel, activation="elu", padding="same")
    conv(x)
    fused = FusedConv2D(conv, None, "float32_fast")
    fused.build(x.shape)
    for ours, theirs in zip(*(in_training(layer, x, conv.variables) for layer in (fused, conv)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


class TestTwin:
    def test_what_is_replaced(self):
        blocks = {
            f"{kind}_{i}": f"conv_{i}_fused_with_pool_{i}" for i in range(1, 6) for kind in ("conv", "norm", "pool")
        }
        assert accelerate(build_model("vgg", n_filters=4), precision="float32_fast").replaced == blocks
        for name in ("timbre", "sb_cnn"):
            model = build_model(name)
            assert accelerate(model, precision="float32_fast").replaced == accelerate(model).replaced

    def test_in_float32_only_what_has_a_large_map(self):
        """128 filters of 128 x 128 values are 8 MiB per patch, 64 are 4 MiB; of 32 a batch's map may be kept."""
        block, single = "conv_1_fused_with_pool_1", "conv_1_fused"
        for name, n_filters, expected in (
            ("vgg", 128, block), ("vgg", 64, block), ("vgg", 63, single), ("prototypical", 128, block)
        ):  # fmt: skip
            replaced = accelerate(build_model(name, n_filters=n_filters)).replaced
            in_encoder = "encoder/" if name == "prototypical" else ""
            assert replaced[f"{in_encoder}conv_1"] == expected, (name, n_filters)
            assert replaced[f"{in_encoder}norm_2"] == "norm_2_fused_with_pool_2"

    def test_whose_size_is_known(self):
        conv = keras.layers.Conv2D(64, 3, name="conv")
        layers = [conv, keras.layers.BatchNormalization(), keras.layers.MaxPooling2D()]
        model = keras.Sequential([keras.Input((None, 128, 1)), *layers])
        assert accelerate(model).replaced["conv"] == "conv_fused"

    @pytest.mark.parametrize("name", ["sb_cnn", "vgg"])
    def test_a_step_has_the_gradients_of_the_default_but_for_rounding(self, name):
        model = build_model(name, seed=3, **({"n_filters": 4} if name == "vgg" else {}))
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0  # the masks would differ
        x = (10 ** np.random.default_rng(0).uniform(-8, 2, (6, 128, 128))).astype("float32")
        found = []
        for precision in ("float32", "float32_fast"):
            twin = accelerate(model, precision=precision).network
            before = model.get_weights()

            @tf.function
            def gradient(x, twin=twin):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_sum(twin(x, training=True) ** 2)
                return tape.gradient(loss, [variable.value for variable in model.trainable_variables])

            found.append(np.concatenate([np.ravel(one) for one in gradient(x)]).astype(np.float64))
            model.set_weights(before)
        assert 0 < np.linalg.norm(found[0] - found[1]) < 1e-4 * np.linalg.norm(found[0])

    def test_where_there_is_no_xla_operations_run_one_by_one(self, monkeypatch):
        monkeypatch.setattr(xla, "_is_available", lambda: False)
        double = xla.compiled(lambda x: 2 * x, ["float32"], [1])
        np.testing.assert_array_equal(double(tf.constant([1.0, 2.0])), [2, 4])

    def test_with_a_gpu_it_is_the_default(self, monkeypatch):
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["gpu"])
        model = build_model("vgg", n_filters=4)
        found = accelerate(model, precision="float32_fast")
        assert found.replaced == {"conv_1": "conv_1_fused"} and found.replaced == accelerate(model).replaced
        assert found.network.get_layer("conv_1_fused").precision == "float32"


class TestMaxima:
    @pytest.mark.parametrize("values", [None, 3])
    def test_the_gradient_by_places_is_that_of_the_pooling(self, values):
        """To the last bit, with equal values in most windows, too."""
        x = noise(3, 12, 8, 5) if values is None else np.random.default_rng(0).integers(0, values, (3, 12, 8, 5))
        x, of_maxima = tf.constant(x, tf.float32), noise(3, 3, 4, 5, seed=1)
        found = Maxima(POOL((4, 2)), x.shape, "float32")
        maxima, *places = found.of(x)
        assert [places.dtype for places in places] == [tf.uint8]
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = POOL((4, 2))(x)
        np.testing.assert_array_equal(maxima, y)
        of_x = found.gradient(of_maxima, places, lambda: pytest.fail("the map is not needed"))
        np.testing.assert_array_equal(of_x, tape.gradient(y, x, of_maxima))

    @pytest.mark.parametrize(
        ("shape", "pool"),
        [
            ((None, 12, 9, 5), POOL((4, 2))),  # a column is left over
            ((None, None, 8, 5), POOL((4, 2))),  # who knows
            ((None, 12, 8, 5), POOL(2, strides=1)),  # windows overlap
            ((None, 64, 64, 5), POOL(32)),  # more places than a byte counts
        ],
    )
    def test_otherwise_the_map_is_computed_again(self, shape, pool):
        found = Maxima(pool, shape, "float32")
        x = tf.constant(noise(2, *(size or 12 for size in shape[1:])))
        (maxima,) = found.of(x)
        of_x = found.gradient(tf.ones_like(maxima), [], lambda: x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = pool(x)
        np.testing.assert_array_equal(of_x, tape.gradient(y, x))
