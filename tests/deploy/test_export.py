"""Exported models give the same probabilities where neither Keras nor this package is."""

import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from loglearn_tf import LearnableLog, LogEps, MelSpectrogram, build_model, clip_classifier
from loglearn_tf.cli import main
from loglearn_tf.deploy.export import export_model
from loglearn_tf.errors import ModelError

NAMES = ["air", "bell", "car"]


def make(compression):
    """8 kHz; patches of 16 frames x 128 bands, by a TIMBRE: the network whose convolution is ours."""
    network = build_model("timbre", n_classes=3, compression=compression, seed=1, patch_frames=16)
    front_end = {"sample_rate": 8000, "n_fft": 1024, "hop_length": 256}
    return clip_classifier(network, class_names=NAMES, front_end=front_end, hop=3)


@pytest.fixture(scope="module")
def classifier():
    return make(LearnableLog(alpha_pre_gate=6.5, name="loglearn"))


def noises():
    """Of four lengths, one shorter than a patch."""
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, (1, samples)).astype("float32") for samples in (100, 4096, 20_000, 33_333)]


def interpret(path, waveform):
    interpreter = tf.lite.Interpreter(str(path))
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], waveform.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], waveform)
    interpreter.invoke()
    return interpreter.get_tensor(wanted["index"])


def test_savedmodel_serves_from_tensorflow_alone(classifier, tmp_path):
    said = export_model(classifier, tmp_path / "served", to="savedmodel")
    assert "TensorFlow alone" in said
    np.savez(tmp_path / "in.npz", *noises())
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
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
    for found, waveform in zip(np.load(tmp_path / "out.npz").values(), noises(), strict=True):
        np.testing.assert_allclose(found, classifier.predict(waveform, verbose=0), atol=1e-5)


def test_an_exported_model_has_no_gates(classifier, tmp_path):
    export_model(classifier, tmp_path / "served", to="savedmodel")
    variables = tf.saved_model.load(str(tmp_path / "served")).variables
    assert not any("gate" in variable.name for variable in variables)


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
    export_model(network, tmp_path / "served", to="savedmodel")
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_allclose(served.serve(mel), network(mel), rtol=1e-4, atol=1e-5)
    assert "plain TFLite runtime" in export_model(network, tmp_path / "network.tflite", to="tflite")
    np.testing.assert_allclose(interpret(tmp_path / "network.tflite", mel), network(mel), rtol=1e-4, atol=1e-4)


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


class TestPlaces:
    def test_written_again_and_whole(self, classifier, tmp_path):
        for _ in range(2):
            export_model(classifier, tmp_path / "deep" / "served", to="savedmodel")
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["served"]

    def test_other_things_are_not_replaced(self, classifier, tmp_path):
        (tmp_path / "holiday.jpg").write_bytes(b"not to be lost")
        with pytest.raises(ModelError, match=r"holiday.jpg exists and is no SavedModel"):
            export_model(classifier, tmp_path / "holiday.jpg", to="savedmodel")
        with pytest.raises(ModelError, match=r"holiday.jpg exists and is no TFLite file"):
            export_model(classifier, tmp_path / "holiday.jpg", to="tflite")
        with pytest.raises(ModelError, match="is a folder"):
            export_model(classifier, tmp_path, to="tflite")
        with pytest.raises(ValueError, match="`to` must be one of"):
            export_model(classifier, tmp_path / "x", to="onnx")
        assert (tmp_path / "holiday.jpg").read_bytes() == b"not to be lost"


def test_command_line(classifier, tmp_path, capsys):
    classifier.save(tmp_path / "model.keras")
    assert main(["export", str(tmp_path), "--to", "savedmodel"]) == 0  # as a run's folder
    assert str(tmp_path / "savedmodel") in capsys.readouterr().out
    assert (tmp_path / "savedmodel" / "saved_model.pb").is_file()
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "small.keras")
    target = tmp_path / "small.tflite"
    assert main(["export", str(tmp_path / "small.keras"), "--to", "tflite", "--output", str(target)]) == 0
    assert target.is_file()
    assert main(["export", str(tmp_path / "nothing.keras"), "--to", "tflite"]) == 2
