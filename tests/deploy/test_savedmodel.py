"""A SavedModel gives the same probabilities where neither Keras nor this package is."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import python
from small_classifier import make, noises

from loglearn_tf import LearnableLog, MelSpectrogram, build_model
from loglearn_tf.deploy.export import export_model
from loglearn_tf.errors import ModelError


@pytest.fixture(scope="module")
def classifier():
    return make(LearnableLog(alpha_pre_gate=6.5, name="loglearn"))


@pytest.fixture(scope="module")
def exported(classifier, tmp_path_factory):
    """Path of its folder, `served`, and what the export said."""
    path = tmp_path_factory.mktemp("savedmodel") / "served"
    return path, export_model(classifier, path, to="savedmodel")


def test_savedmodel_serves_from_tensorflow_alone(classifier, exported):
    path, said = exported
    assert "only TensorFlow" in said
    np.savez(path.with_name("in.npz"), *noises())
    program = """
import numpy, sys
sys.modules["loglearn_tf"] = sys.modules["keras"] = None  # as if they were not installed
import tensorflow as tf
served = tf.saved_model.load("served")
assert [name.decode() for name in served.class_names().numpy()] == ["air", "bell", "car"]
assert served.sample_rate().numpy() == 8000
numpy.savez("out.npz", *[served.serve(x) for x in numpy.load("in.npz").values()])
assert "serve" in served.signatures
"""
    python(program, cwd=path.parent)
    for found, waveform in zip(np.load(path.with_name("out.npz")).values(), noises(), strict=True):
        np.testing.assert_allclose(found, classifier.predict(waveform, verbose=0), atol=1e-5)


def test_an_exported_model_has_no_gates(exported):
    variables = tf.saved_model.load(str(exported[0])).variables
    assert not any("gate" in variable.name for variable in variables)


def test_a_network_without_a_front_end(tmp_path):
    network = build_model("sb_cnn", n_classes=3)
    mel = np.random.default_rng(0).exponential(size=(1, 128, 128)).astype("float32")
    export_model(network, tmp_path / "served", to="savedmodel")
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_allclose(served.serve(mel), network(mel), rtol=1e-4, atol=1e-5)


def test_a_front_end_with_another_end(tmp_path):
    """As the first model of the README."""
    waveform = keras.Input((None,))
    mel = MelSpectrogram(sample_rate=8000, n_fft=256, hop_length=256, n_mels=8, fft_dtype="float32")(waveform)
    x = keras.layers.GlobalAveragePooling1D()(LearnableLog()(mel))
    model = keras.Model(waveform, keras.layers.Dense(2)(x))
    export_model(model, tmp_path / "served", to="savedmodel")
    served = tf.saved_model.load(str(tmp_path / "served"))
    sound = noises()[1]
    np.testing.assert_allclose(served.serve(sound), model(sound), rtol=1e-5, atol=1e-6)


def test_two_inputs(tmp_path):
    inputs = [keras.Input((2,)), keras.Input((2,))]
    with pytest.raises(ModelError, match="Only models with one input can be exported. Received: .* with 2 inputs"):
        export_model(keras.Model(inputs, keras.layers.Add()(inputs)), tmp_path / "served", to="savedmodel")
