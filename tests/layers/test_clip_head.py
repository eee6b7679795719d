"""A clip's probabilities are the mean over its patches, whatever its length."""

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from loglearn_tf.layers import MeanOverPatches
from loglearn_tf.training.patches import tile

NAMES = ["air", "bell", "car"]


@pytest.fixture(scope="module")
def network():
    """Patches of 8 frames x 4 bands; no two patches look the same to it."""
    mel = keras.Input((8, 4))
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(mel))  # which must stay silent
    return keras.Model(mel, keras.layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=1))(x))


def by_hand(network, mel, hop, mean):
    """One clip, patch by patch, in float64."""
    mel = tile(mel, 8)
    patches = np.stack([mel[at : at + 8] for at in range(0, len(mel) - 7, hop)])
    logits = np.asarray(network(patches), "float64")
    if mean == "geometric":
        return scipy.special.softmax(scipy.special.log_softmax(logits, axis=1).mean(axis=0))
    return scipy.special.softmax(logits, axis=1).mean(axis=0)


@pytest.mark.parametrize("frames", [1, 3, 8, 9, 23, 24, 25, 100])
@pytest.mark.parametrize("hop", [1, 3, 50])
@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_is_the_mean_over_patches(network, frames, hop, mean):
    layer = MeanOverPatches(network, class_names=NAMES, patch_hop=hop, mean=mean, patches_at_once=4)
    mel = np.random.default_rng(frames).normal(size=(2, frames, 4)).astype("float32")
    expected = [by_hand(network, clip, hop, mean) for clip in mel]
    np.testing.assert_allclose(layer(mel), expected, rtol=1e-5)
    np.testing.assert_allclose(layer(mel[1:]), expected[1:], rtol=1e-5)  # two together are two alone


def test_one_compiled_model_for_every_length(network):
    mel = keras.Input((None, 4))
    model = keras.Model(mel, MeanOverPatches(network, class_names=NAMES)(mel))
    assert model.output_shape == (None, 3)
    compiled = tf.function(model, input_signature=[tf.TensorSpec((None, None, 4), tf.float32)])
    for batch, frames in [(1, 5), (3, 8), (2, 77)]:
        x = np.random.default_rng(frames).normal(size=(batch, frames, 4)).astype("float32")
        np.testing.assert_allclose(compiled(x), [by_hand(network, clip, 1, "arithmetic") for clip in x], rtol=1e-5)
    assert compiled.experimental_get_tracing_count() == 1


def test_the_network_and_the_names_travel_in_the_file(network, tmp_path):
    mel = keras.Input((None, 4))
    model = keras.Model(mel, MeanOverPatches(network, class_names=NAMES, patch_hop=2, mean="geometric")(mel))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 30, 4)).astype("float32")
    np.testing.assert_array_equal(loaded(x), model(x))
    layer = loaded.layers[-1]
    assert (layer.class_names, layer.patch_hop, layer.mean) == (NAMES, 2, "geometric")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_names": NAMES[:2]}, "`class_names` must be distinct names, one for each of the network's 3 logits"),
        ({"class_names": ["air", "air", "car"]}, "`class_names` must be distinct names"),
        ({"patch_hop": 0}, "`patch_hop` must be a positive integer. Received: patch_hop=0."),
        ({"patches_at_once": 1.5}, "`patches_at_once` must be a positive integer. Received: patches_at_once=1.5."),
        ({"mean": "harmonic"}, r"`mean` must be one of \('arithmetic', 'geometric'\). Received: mean='harmonic'."),
    ],
)
def test_wrong_arguments(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        MeanOverPatches(network, **{"class_names": NAMES, **arguments})


def test_the_network_must_be_one_of_patches():
    with pytest.raises(ValueError, match="`network` must be a Keras model. Received: network=3."):
        MeanOverPatches(3, class_names=NAMES)
    mel = keras.Input((None, 4))
    with pytest.raises(ValueError, match=r"must map \(batch, patch_frames, n_mels\).*Received: a model of"):
        MeanOverPatches(keras.Model(mel, keras.layers.GlobalMaxPooling1D()(mel)), class_names=NAMES)


def test_an_unbuilt_network():
    with pytest.raises(ValueError, match="`network` must be built, with one input"):
        MeanOverPatches(keras.Sequential([keras.layers.Dense(3)]), class_names=NAMES)


def test_a_loss_of_the_users_own_does_not_travel(tmp_path):
    """It would be a function that no other program has."""
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((8, 4)), keras.layers.Flatten(), keras.layers.Dense(3)])
    inner.compile("adam", lambda truth, guess: keras.ops.mean(guess), run_eagerly=True)
    inner.fit(np.zeros((2, 8, 4)), np.zeros((2, 3)), verbose=0)
    mel = keras.Input((None, 4))
    keras.Model(mel, MeanOverPatches(inner, class_names=NAMES)(mel)).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert not loaded.layers[-1].network.compiled
    x = np.random.default_rng(0).normal(size=(1, 9, 4)).astype("float32")
    np.testing.assert_allclose(loaded(x), MeanOverPatches(inner, class_names=NAMES)(x), rtol=1e-6)


def test_the_bands_must_be_the_networks(network):
    with pytest.raises(ValueError, match=r"must have the shape \(batch, frames, 4\).*Received: \(None, None, 5\)"):
        MeanOverPatches(network, class_names=NAMES)(keras.Input((None, 5)))
