"""Patches scored from maps of whole clips get the logits that they get when they are cut."""

import logging

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loglearn_tf import LearnableLog, build_model
from loglearn_tf.layers import Log
from loglearn_tf.training.sliding import _sliding_max, sliding_scorer


def randomise(model):
    """Weights and statistics that are not the initial ones: every layer matters."""
    rng = np.random.default_rng(1)
    values = []
    for variable in model.weights:
        value = keras.ops.convert_to_numpy(variable)
        value = value + 0.2 * (np.std(value) + 0.1) * rng.normal(size=value.shape)
        values.append(np.abs(value) + 0.1 if variable.name == "moving_variance" else value)
    model.set_weights(values)
    return model


def cut_and_score(model, mels, hop):
    """As they are cut everywhere else."""
    n_frames = model.input_shape[1]
    starts = range(0, mels.shape[1] - n_frames + 1, hop)
    return np.stack([model(np.stack([mel[at : at + n_frames] for at in starts]), training=False) for mel in mels])


def power(n_clips, n_frames, n_mels):
    return (10 ** np.random.default_rng(n_frames).uniform(-8, 2, (n_clips, n_frames, n_mels))).astype("float32")


def assert_same(model, *several_mels, hop):
    scorer = sliding_scorer(model, hop=hop)
    assert scorer is not None
    for mels in several_mels:
        expected = cut_and_score(model, mels, hop)
        np.testing.assert_allclose(scorer.logits(mels), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("timbre", {"compression": "loglearn"}),
        ("sb_cnn", {"compression": "logeps"}),
        ("vgg", {"compression": LearnableLog(per_band=True, name="loglearn"), "n_filters": 8}),
        ("prototypical", {"protocol": "clean", "n_filters": 8}),
    ],
)
def test_the_networks_of_the_experiment(name, kwargs):
    """One clip as long as a patch, and several that are longer."""
    model = randomise(build_model(name, n_classes=4, seed=1, **kwargs))
    for hop in (1, 4):
        assert_same(model, power(1, 128, 128), power(3, 137, 128), hop=hop)


@pytest.mark.parametrize(
    ("name", "frames"), [("timbre", 7), ("sb_cnn", 100), ("sb_cnn", 143), ("vgg", 32), ("vgg", 75)]
)
def test_the_networks_with_patches_of_other_lengths(name, frames):
    small = {"n_filters": 8} if name == "vgg" else {}
    model = randomise(build_model(name, n_classes=3, compression="loglearn", patch_frames=frames, **small))
    for hop in (1, 3):
        assert_same(model, power(2, frames + 7, 128), hop=hop)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 9, 30])
def test_maxima_over_the_columns_of_every_patch(n):
    x = np.random.default_rng(0).normal(size=(3, 30, 2)).astype("float32")
    expected = np.lib.stride_tricks.sliding_window_view(x, n, axis=1).max(axis=-1)
    np.testing.assert_array_equal(_sliding_max(x, n), expected)


def test_weights_that_changed_and_other_lengths_need_no_other_scorer():
    model = randomise(build_model("sb_cnn", n_classes=4, seed=1))
    scorer = sliding_scorer(model, hop=2)
    for n_frames in (131, 128):
        model.set_weights([1.1 * value for value in model.get_weights()])
        mels = power(2, n_frames, 128)
        expected = cut_and_score(model, mels, 2)
        np.testing.assert_allclose(scorer.logits(mels), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def network(draw):
    """Chains of convolutions, poolings and pointwise layers, of any size, with a head of any kind."""
    patch_frames, n_mels = draw(st.integers(12, 40)), draw(st.integers(6, 12))
    mel = keras.Input((patch_frames, n_mels))
    x = keras.layers.Reshape((patch_frames, n_mels, 1))(
        draw(st.sampled_from([LearnableLog(), LearnableLog(per_band=True)]))(mel)
    )
    for _ in range(draw(st.integers(1, 4))):
        frames, bands = x.shape[1:3]
        kernel = draw(st.integers(1, min(5, frames))), draw(st.integers(1, min(4, bands)))
        padding = draw(st.sampled_from(["same", "valid"]))
        activation = draw(st.sampled_from([None, "relu", "elu"]))
        strides = (1, draw(st.integers(1, 2))) if padding == "valid" else (1, 1)
        x = keras.layers.Conv2D(3, kernel, strides=strides, padding=padding, activation=activation)(x)
        if draw(st.booleans()):
            x = keras.layers.BatchNormalization()(x)
        frames, bands = x.shape[1:3]
        pool = draw(st.integers(1, min(4, frames))), draw(st.integers(1, min(2, bands)))
        x = draw(st.sampled_from([keras.layers.MaxPooling2D, keras.layers.AveragePooling2D]))(pool)(x)
        x = keras.layers.Dropout(0.5)(x)
    head = draw(st.sampled_from(["flatten", "maximum", "mean", "permute"]))
    if head == "permute":  # a layer that needs the patch as a whole
        x = keras.layers.Permute((2, 1, 3))(x)
    if head in ("maximum", "mean"):
        x = {"maximum": keras.layers.GlobalMaxPooling2D, "mean": keras.layers.GlobalAveragePooling2D}[head]()(x)
    else:
        x = keras.layers.Flatten()(x)
    return keras.Model(mel, keras.layers.Dense(2)(x) if draw(st.booleans()) else x)


# Each network is built, traced and scored: several a second, at best.
@pytest.mark.parametrize("examples", [8, pytest.param(30, marks=pytest.mark.long)])
def test_any_network_of_such_layers(examples):
    @settings(max_examples=examples, deadline=None, derandomize=True)
    @given(data=st.data(), hop=st.integers(1, 9), more=st.integers(0, 23), n_clips=st.integers(1, 2))
    def check(data, hop, more, n_clips):
        model = network(data.draw)
        patch_frames, n_mels = model.input_shape[1:]
        assert_same(randomise(model), power(n_clips, patch_frames + more, n_mels), hop=hop)

    check()


def test_a_nested_model():
    inner = keras.Sequential(
        [keras.Input((20, 8, 1)), keras.layers.Conv2D(2, 3, padding="same"), keras.layers.MaxPooling2D(2)]
    )
    mel = keras.Input((20, 8))
    x = inner(keras.layers.Reshape((20, 8, 1))(LearnableLog()(mel)))
    assert_same(randomise(keras.Model(mel, keras.layers.Flatten()(x))), power(2, 33, 8), hop=3)


class Shifted(keras.layers.Layer):
    """Adds the number of the column: not the same in a patch as in a clip."""

    def call(self, x):
        return x + keras.ops.arange(x.shape[1], dtype="float32")[None, :, None]


def mel_of(*layers):
    mel = keras.Input((20, 8))
    x = mel
    for layer in layers:
        x = layer(x)
    return keras.Model(mel, x)


RESHAPE = (20, 8, 1)


def doubled_between_layers():
    mel = keras.Input((20, 8))
    return keras.Model(mel, keras.layers.Conv2D(2, 3)(2 * keras.layers.Reshape(RESHAPE)(mel)))


def one_layer_twice():
    mel, conv = keras.Input((20, 8)), keras.layers.Conv2D(1, 3, padding="same")
    return keras.Model(mel, conv(conv(keras.layers.Reshape(RESHAPE)(mel))))


@pytest.mark.parametrize(
    "model",
    [
        doubled_between_layers(),
        one_layer_twice(),
        mel_of(keras.layers.Flatten(), keras.layers.Dense(2)),
        mel_of(Shifted(), keras.layers.Reshape(RESHAPE), keras.layers.Conv2D(2, 3), keras.layers.Flatten()),
        mel_of(keras.layers.LSTM(2)),
        mel_of(keras.layers.Reshape(RESHAPE), keras.layers.Conv2D(2, 3, strides=2), keras.layers.Flatten()),
        mel_of(keras.layers.Reshape(RESHAPE), keras.layers.BatchNormalization(axis=1), keras.layers.Conv2D(2, 3)),
        mel_of(LearnableLog(per_band=True, axis=1), keras.layers.Reshape(RESHAPE), keras.layers.Conv2D(2, 3)),
        build_model("prototypical", n_classes=3, protocol="pons2018", n_filters=4),
        mel_of(Log(alpha=[*range(1, 21)], axis=1), keras.layers.Reshape(RESHAPE), keras.layers.Conv2D(2, 3)),
        mel_of(keras.layers.Rescaling(np.ones((20, 1))), keras.layers.Reshape(RESHAPE), keras.layers.Conv2D(2, 3)),
        mel_of(
            keras.layers.Reshape(RESHAPE),
            keras.layers.Conv2D(2, 3, activation=lambda x: keras.ops.softmax(x, axis=1)),
            keras.layers.Flatten(),
        ),
        mel_of(keras.layers.Reshape(RESHAPE), keras.layers.Conv2D(2, 3, padding="same", dilation_rate=(1, 2))),
        mel_of(keras.layers.Reshape(RESHAPE), keras.layers.Conv2D(2, 3, dtype="mixed_float16")),
    ],
)
def test_other_networks_are_left_to_cutting(model, caplog):
    with caplog.at_level(logging.DEBUG, logger="loglearn_tf"):
        assert sliding_scorer(model, hop=1) is None
    (record,) = caplog.records
    assert record.name == "loglearn_tf.training.sliding"
    assert record.getMessage().startswith(f"{model.name} at hop 1: patches are cut out: ")


def test_what_is_scored_from_maps_is_logged(caplog):
    with caplog.at_level(logging.DEBUG, logger="loglearn_tf"):
        sliding_scorer(build_model("timbre", n_classes=3), hop=2)
    assert [one.getMessage() for one in caplog.records] == ["timbre at hop 2: scored from maps of whole clips"]


@pytest.mark.parametrize("error", [ValueError, TypeError])
def test_a_mistake_in_a_layer_is_not_taken_for_a_network_that_must_be_cut(error):
    class Mistaken(keras.layers.Layer):
        def call(self, x):
            if not isinstance(x, keras.KerasTensor) and self.armed:
                raise error("a mistake")
            return x

    mistaken = Mistaken()
    mistaken.armed = False
    model = mel_of(keras.layers.Reshape(RESHAPE), keras.layers.Conv2D(2, 3), keras.layers.Flatten(), mistaken)
    mistaken.armed = True
    with pytest.raises(error, match="a mistake"):
        sliding_scorer(model, hop=1)


def test_a_wide_convolution_is_a_matrix_product():
    """As in training: three times as fast as TensorFlow's convolution over one channel."""
    scorer = sliding_scorer(build_model("timbre", n_classes=3), hop=1)
    graph = scorer._logits.get_concrete_function().graph
    kinds = {op.type for op in graph.get_operations()}
    assert "MatMul" in kinds or "BatchMatMulV2" in kinds
    assert not kinds & {"Conv2D", "_FusedConv2D"}


def test_layers_after_the_maps_are_in_inference_mode():
    class Doubled(keras.layers.Layer):
        def call(self, x, training=True):
            return 2 * x if training else x

    model = mel_of(keras.layers.Reshape(RESHAPE), keras.layers.Conv2D(2, 3), keras.layers.Flatten(), Doubled())
    assert_same(model, power(1, 25, 8), hop=1)


def test_branches_are_left_to_cutting():
    mel = keras.Input((20, 8))
    x = keras.layers.Reshape(RESHAPE)(mel)
    branches = keras.layers.Add()([keras.layers.Conv2D(2, 3)(x), keras.layers.Conv2D(2, 3)(x)])
    assert sliding_scorer(keras.Model(mel, keras.layers.Flatten()(branches)), hop=1) is None


def test_a_class_of_the_users_own_is_left_to_cutting():
    class Own(keras.Model):
        def call(self, x):
            return 2 * super().call(x)

    mel = keras.Input((20, 8))
    x = keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(keras.layers.Reshape(RESHAPE)(mel)))
    assert sliding_scorer(Own(mel, x), hop=1) is None
