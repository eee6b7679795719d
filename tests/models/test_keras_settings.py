"""Networks under what a user's ~/.keras/keras.json, or program, says of Keras."""

import logging

import keras
import numpy as np
import pytest

from loglearn_tf import MODELS, build_model, clip_classifier


@pytest.fixture(autouse=True)
def restored():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def small(name, **more):
    more |= {"n_filters": 4} if name in ("vgg", "prototypical") else {}
    return build_model(name, n_classes=2, seed=3, patch_frames=32 if name != "sb_cnn" else 128, **more)


@pytest.mark.parametrize("name", MODELS)
def test_channels_first_changes_nothing(name):
    usual = small(name)
    keras.config.set_image_data_format("channels_first")
    network = small(name)
    mel = np.random.default_rng(0).exponential(size=(2, *usual.input_shape[1:])).astype("float32")
    np.testing.assert_array_equal(network(mel), usual(mel))
    assert network.get_config()["layers"] == usual.get_config()["layers"]


@pytest.mark.slow
@pytest.mark.parametrize("floatx", ["float64", "float16"])
@pytest.mark.parametrize("name", ["timbre", "sb_cnn", "prototypical"])
def test_another_floatx(name, floatx, caplog):
    """As where keras.json says so: of dtype policy, too."""
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(floatx)
    with caplog.at_level(logging.WARNING, "loglearn_tf"):
        network = small(name)
    assert ("mel power above 65,504 becomes infinite" in caplog.text) == (floatx == "float16")
    assert network.inputs[0].dtype == "float32"
    optimizer = keras.optimizers.SGD(1e-3, global_clipnorm=5.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer, loss, run_eagerly=True)
    network.train_on_batch(np.ones((2, *network.input_shape[1:])), np.array([0, 1]))
    classifier = clip_classifier(network, class_names=["a", "b"], patch_hop=64)
    assert classifier.inputs[0].dtype == "float32"
    scores = classifier(np.zeros((1, 9000), "float32"))
    assert scores.dtype == "float32" and float(np.sum(scores)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("floatx", "policy"), [("float64", "float32"), ("float32", "float64"), ("float16", "float32")])
def test_weight_decay_needs_one_type(floatx, policy):
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    told = f"must agree.*weights in {policy}, floatx='{floatx}'. Call `keras.config.set_floatx.'{policy}'"
    with pytest.raises(ValueError, match=told):
        small("timbre")
    network = small("timbre", l2=0)
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    network.train_on_batch(np.ones((2, *network.input_shape[1:])), np.array([0, 1]))


def test_mixed_precision_is_no_other_type():
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert small("timbre").output_shape == (None, 2)


def test_half_precision_of_what_is_learned_and_of_the_input_is_told(caplog):
    from loglearn_tf import LearnableLog

    keras.Sequential([keras.Input((3, 4), dtype="float16"), LearnableLog(dtype="float16")])
    assert "keeps its weights in float16" in caplog.text and "mixed_float16" in caplog.text
    assert "receives mel power as float16" not in caplog.text  # only described so far
    layer = LearnableLog()
    for _ in range(2):
        layer(np.ones((1, 3, 4), "float16"))
    assert caplog.text.count("receives mel power as float16") == 1
