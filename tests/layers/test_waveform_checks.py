"""What is no waveform is refused wherever one is taken, before it is scored as if it were."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from loglearn_tf import LearnableLog, MelSpectrogram, clip_classifier
from loglearn_tf.deploy.saved_models import load_model

FLOAT = (0.3 * np.sin(0.3 * np.arange(2000))[None]).astype("float32")
REMEDIES = {
    "int16": "Divide by 32768",
    "int32": r"Divide by 2 \*\* 31",
    "int64": "full scale",
    "int8": "Divide by 128",
    "uint8": r"Centre and divide by 128",
    "bool": "Load the sound as float32",
    "complex64": "Load the sound as float32",
    "object": "Load the sound as float32",
    "str": "Load the sound as float32",
}


@pytest.fixture(scope="module")
def layer():
    return MelSpectrogram(sample_rate=8000, n_fft=128, hop_length=128, n_mels=8)


@pytest.fixture(scope="module")
def classifier():
    network = keras.Sequential([keras.Input((8, 8)), LearnableLog(), keras.layers.Flatten(), keras.layers.Dense(2)])
    front_end = {"sample_rate": 8000, "n_fft": 128, "hop_length": 128, "n_mels": 8}
    return clip_classifier(network, class_names=["a", "b"], front_end=front_end)


@pytest.mark.parametrize("dtype", REMEDIES)
def test_arrays(layer, classifier, dtype):
    waveform = (100 * FLOAT).astype(dtype)
    for use in (layer, classifier, lambda waveform: classifier.predict(waveform, verbose=0)):
        with pytest.raises(ValueError, match=rf"must be floating-point.*Received: dtype='{dtype}.*{REMEDIES[dtype]}"):
            use(waveform)


def test_tensors_data_sets_lists_and_symbolic_tensors(layer, classifier):
    integers = (32767 * FLOAT).astype("int16")
    data = tf.data.Dataset.from_tensors(integers)
    uses = [
        lambda: layer(tf.constant(integers)),
        lambda: layer([0, 0, 0]),
        lambda: layer([[0, 1], [2, 3]]),
        lambda: layer(keras.Input((None,), dtype="int16")),
        lambda: data.map(layer),
        lambda: tf.function(layer)(integers),
        lambda: classifier(tf.constant(integers)),
        lambda: classifier([0, 0, 0]),
        lambda: classifier({"waveform": integers}),
        lambda: classifier.predict(data, verbose=0),
        lambda: classifier.predict(tf.constant(integers), verbose=0),
        lambda: classifier.predict_on_batch(integers),
        lambda: keras.Sequential([keras.Input((None,), dtype="int16"), classifier]),
    ]
    for use in uses:
        with pytest.raises(ValueError, match="The waveform must be floating-point"):
            use()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_taken(layer, classifier, dtype):
    waveform = FLOAT.astype(dtype)
    tolerance = 2e-2 if dtype == "float16" else 1e-6
    np.testing.assert_allclose(layer(waveform), layer(FLOAT), rtol=tolerance, atol=tolerance)
    for found in (classifier(waveform), classifier.predict(waveform, verbose=0)):
        np.testing.assert_allclose(found, classifier(FLOAT), atol=tolerance)


def test_integers_that_were_cast_and_not_scaled_are_warned_of(layer, classifier):
    for use in (layer, classifier, lambda waveform: classifier.predict(waveform, verbose=0)):
        with pytest.warns(UserWarning, match=r"must be in \[-1, 1\]. Received: samples up to 98.*divide them by 32768"):
            use(32767 * FLOAT)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (FLOAT[0], r"Received: \(2000,\). Add the batch: `waveform\[None\]`."),
        (np.stack([FLOAT, FLOAT], axis=-1), r"Received: \(1, 2000, 2\). Pass one channel, or the mean of all."),
        (FLOAT[:, :0], r"one sample. Received: \(1, 0\).$"),
        (FLOAT[:0], r"at least one waveform and one sample. Received: \(0, 2000\).$"),
    ],
)
def test_a_classifier_names_the_shape_that_it_needs(classifier, waveform, message):
    for use in (classifier, lambda waveform: classifier.predict(waveform, verbose=0)):
        with pytest.raises(ValueError, match=rf"^Waveforms must have the shape \(batch, samples\).*{message}"):
            use(waveform)


def test_a_last_axis_of_one_channel_is_dropped(classifier):
    for use in (classifier, lambda waveform: classifier.predict(waveform, verbose=0)):
        np.testing.assert_allclose(use(FLOAT[..., None]), classifier(FLOAT), rtol=1e-5)


def test_nan_stays_nan(layer):
    waveform = FLOAT.copy()
    waveform[0, 1000] = np.nan
    wrong = np.isnan(layer(waveform)[0]).any(axis=1)
    assert wrong.any() and not wrong.all()


class TestOnceSaved:
    def test_loaded_by_keras(self, classifier, tmp_path):
        classifier.save(tmp_path / "model.keras")
        self.check(keras.models.load_model(tmp_path / "model.keras"), classifier)

    def test_of_the_class_that_they_had_in_version_0_1(self, classifier, tmp_path):
        keras.Model(classifier.input, classifier.output, name="clip_classifier").save(tmp_path / "model.keras")
        self.check(load_model(tmp_path / "model.keras", trust=True), classifier)

    def test_cloned(self, classifier):
        cloned = keras.models.clone_model(classifier)
        cloned.set_weights(classifier.get_weights())
        cloned.layers[-1].network.set_weights(classifier.layers[-1].network.get_weights())
        self.check(cloned, classifier)

    def check(self, model, classifier):
        np.testing.assert_allclose(model(FLOAT), classifier(FLOAT), atol=1e-6)
        with pytest.raises(ValueError, match="The waveform must be floating-point"):
            model.predict((32767 * FLOAT).astype("int16"), verbose=0)
