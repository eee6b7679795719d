"""A TFLite file gives the same probabilities, and says which runtime it needs."""

import zipfile

import numpy as np
import pytest
import tensorflow as tf
from small_classifier import NAMES, make, noises

from loglearn_tf import LearnableLog, LogEps, build_model
from loglearn_tf.deploy.export import export_model


@pytest.fixture(scope="module")
def classifier():
    return make(LearnableLog(alpha_pre_gate=6.5, name="loglearn"))


def interpret(path, waveform):
    interpreter = tf.lite.Interpreter(str(path))
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], waveform.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], waveform)
    interpreter.invoke()
    return interpreter.get_tensor(wanted["index"])


def test_tflite_of_loglearn_needs_the_plain_runtime_only(classifier, tmp_path):
    said = export_model(classifier, tmp_path / "model.tflite", to="tflite")
    assert "front end in float32; runs on the plain TFLite runtime" in said
    details = tf.lite.Interpreter(str(tmp_path / "model.tflite"))._get_ops_details()
    assert not [one["op_name"] for one in details if one["op_name"].startswith("Flex")]
    for waveform in noises():
        found = interpret(tmp_path / "model.tflite", waveform)
        np.testing.assert_allclose(found, classifier.predict(waveform, verbose=0), atol=1e-4)
    with zipfile.ZipFile(tmp_path / "model.tflite") as archive:
        assert archive.read("labels.txt").decode().split() == NAMES


def test_tflite_of_logeps_keeps_float64_and_says_what_it_needs(tmp_path):
    classifier = make(LogEps(name="logeps"))
    said = export_model(classifier, tmp_path / "model.tflite", to="tflite")
    assert said.endswith("TFLite; needs TensorFlow's select operators.")
    if tuple(int(number) for number in tf.__version__.split(".")[:2]) > (2, 18):
        pytest.skip(f"up to TensorFlow 2.18 its interpreter has select operators; this is {tf.__version__}")
    # A pure tone: its empty bands would show the rounding of float32.
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(20_000) / 8000)).astype("float32")[None]
    for waveform in (tone, *noises()):
        found = interpret(tmp_path / "model.tflite", waveform)
        np.testing.assert_allclose(found, classifier.predict(waveform, verbose=0), atol=1e-4)


def test_a_network_without_a_front_end(tmp_path):
    network = build_model("sb_cnn", n_classes=3)
    mel = np.random.default_rng(0).exponential(size=(1, 128, 128)).astype("float32")
    assert "plain TFLite runtime" in export_model(network, tmp_path / "network.tflite", to="tflite")
    np.testing.assert_allclose(interpret(tmp_path / "network.tflite", mel), network(mel), rtol=1e-4, atol=1e-4)
