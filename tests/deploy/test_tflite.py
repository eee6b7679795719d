"""A TFLite file gives the same probabilities, and says which runtime it needs."""

import struct
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_classifier import NAMES, make, noises

from loglearn_tf import LearnableLog, LogEps, build_model, clip_classifier
from loglearn_tf.deploy.export import export_model
from loglearn_tf.errors import ModelError


@pytest.fixture(scope="module")
def classifier():
    return make(LearnableLog(alpha_pre_gate=6.5, name="loglearn"))


@pytest.fixture(scope="module")
def exported(classifier, tmp_path_factory):
    """Path of its file, and what the export said."""
    path = tmp_path_factory.mktemp("tflite") / "model.tflite"
    return path, export_model(classifier, path, to="tflite")


def interpret(path, waveform):
    interpreter = tf.lite.Interpreter(str(path))
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], waveform.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], waveform)
    interpreter.invoke()
    return interpreter.get_tensor(wanted["index"])


def test_tflite_of_loglearn_needs_the_plain_runtime_only(classifier, exported):
    path, said = exported
    assert "front end in float32; runs on the plain TFLite runtime" in said
    details = tf.lite.Interpreter(str(path))._get_ops_details()
    assert not [one["op_name"] for one in details if one["op_name"].startswith("Flex")]
    for waveform in noises():
        found = interpret(path, waveform)
        np.testing.assert_allclose(found, classifier.predict(waveform, verbose=0), atol=1e-4)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().split() == NAMES


def test_tflite_of_logeps_keeps_float64_and_says_what_it_needs(tmp_path):
    classifier = make(LogEps(name="logeps"))
    said = export_model(classifier, tmp_path / "model.tflite", to="tflite")
    assert "TFLite; needs TensorFlow's select operators." in said
    if "Not verified: the installed TensorFlow cannot run it." in said:
        said = said.removesuffix(" Not verified: the installed TensorFlow cannot run it.")
        assert tuple(int(number) for number in tf.__version__.split(".")[:2]) > (2, 18)
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


# Powers of two, and not; twice a prime; windows shorter than the frame, of even and odd length.
@pytest.mark.parametrize(
    ("n_fft", "win_length"),
    [
        (480, 401),
        pytest.param(400, None, marks=pytest.mark.long),
        pytest.param(1000, 400, marks=pytest.mark.long),
        pytest.param(1006, None, marks=pytest.mark.long),
    ],
)
def test_any_fft_size_by_the_signature(n_fft, win_length, tmp_path):
    network = keras.Sequential([keras.Input((16, 8)), LearnableLog(), keras.layers.Flatten(), keras.layers.Dense(2)])
    front_end = {"sample_rate": 16_000, "n_fft": n_fft, "win_length": win_length, "hop_length": 160, "n_mels": 8}
    classifier = clip_classifier(network, class_names=["a", "b"], front_end=front_end)
    assert "runs on the plain TFLite runtime." in export_model(classifier, tmp_path / "m.tflite", to="tflite")
    run = tf.lite.Interpreter(str(tmp_path / "m.tflite")).get_signature_runner("serve")
    for samples in (1, 159, 16_000, 40_001):
        waveform = np.random.default_rng(samples).normal(0, 0.1, (1, samples)).astype("float32")
        (found,) = run(waveform=waveform).values()
        np.testing.assert_allclose(found, classifier(waveform), atol=2e-5)


def test_a_matrix_that_no_phone_holds(tmp_path):
    network = keras.Sequential([keras.Input((2, 8)), LearnableLog(), keras.layers.Flatten(), keras.layers.Dense(2)])
    classifier = clip_classifier(network, class_names=["a", "b"], front_end={"n_fft": 10_000, "n_mels": 8})
    with pytest.raises(ModelError, match="must be a power of two, or at most 8,192. Received: n_fft=10,000"):
        export_model(classifier, tmp_path / "m.tflite", to="tflite")
    assert not list(tmp_path.iterdir())


def test_metadata_say_the_sample_rate_and_the_labels(exported):
    """Read field by field, as flatbuffers lay them out; metadata_schema.fbs has their numbers."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAsModel(exported[0].read_bytes(), 0)
    entries = {(entry := model.Metadata(i)).Name(): entry.Buffer() for i in range(model.MetadataLength())}
    content = model.Buffers(entries[b"TFLITE_METADATA"]).DataAsNumpy().tobytes()
    assert content[4:8] == b"M001"

    def follow(at):
        return at + struct.unpack_from("<I", content, at)[0]

    def field(table, number):
        layout = table - struct.unpack_from("<i", content, table)[0]
        return table + struct.unpack_from("<H", content, layout + 4 + 2 * number)[0]

    def text(at):
        at = follow(at)
        return content[at + 4 : at + 4 + struct.unpack_from("<I", content, at)[0]].decode()

    subgraph = follow(follow(field(follow(0), 3)) + 4)
    waveform = follow(follow(field(subgraph, 2)) + 4)
    properties = follow(field(waveform, 3))
    assert text(field(waveform, 0)) == "waveform" and content[field(properties, 0)] == 4  # AudioProperties
    audio = follow(field(properties, 1))
    assert struct.unpack_from("<I", content, field(audio, 0)) == (8000,)
    assert struct.unpack_from("<I", content, field(audio, 1)) == (1,)
    probabilities = follow(follow(field(subgraph, 3)) + 4)
    labels = follow(follow(field(probabilities, 6)) + 4)
    assert text(field(labels, 0)) == "labels.txt" and content[field(labels, 2)] == 2  # TENSOR_AXIS_LABELS


def test_a_file_that_does_not_run_is_not_left_there(tmp_path):
    """TFLite converts Keras' own front end, and has no FFT of that size."""
    waveform = keras.Input((4000,))
    mel = keras.layers.MelSpectrogram(fft_length=400, sequence_stride=160, sampling_rate=8000, max_freq=4000)(waveform)
    model = keras.Model(waveform, keras.layers.GlobalAveragePooling1D()(mel))
    with pytest.raises(ModelError, match="does not run: .*Nothing was written. Export it to another format"):
        export_model(model, tmp_path / "model.tflite", to="tflite")
    assert not list(tmp_path.iterdir())
