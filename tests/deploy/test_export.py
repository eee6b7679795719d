"""The list of export formats, what it does for each of them, and a format from outside."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from small_classifier import make

from loglearn_tf import LearnableLog
from loglearn_tf.cli import main
from loglearn_tf.deploy.export import EXPORT_FORMATS, ExportFormat, export_model
from loglearn_tf.deploy.saved_models import describe, head_of
from loglearn_tf.errors import ConfigError, ModelError, StorageError


@pytest.fixture(scope="module")
def classifier():
    return make(LearnableLog(alpha_pre_gate=6.5, name="loglearn"))


class TestPlaces:
    def test_written_again_and_whole(self, classifier, tmp_path):
        for _ in range(2):
            export_model(classifier, tmp_path / "deep" / "served", to="savedmodel")
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["served"]

    def test_other_things_are_not_replaced(self, classifier, tmp_path):
        (tmp_path / "holiday.jpg").write_bytes(b"not to be lost")
        with pytest.raises(ModelError, match=r"holiday.jpg exists and is not a SavedModel"):
            export_model(classifier, tmp_path / "holiday.jpg", to="savedmodel")
        with pytest.raises(ModelError, match=r"holiday.jpg exists and is not a TFLite file"):
            export_model(classifier, tmp_path / "holiday.jpg", to="tflite")
        with pytest.raises(ModelError, match="is a folder"):
            export_model(classifier, tmp_path, to="tflite")
        with pytest.raises(ConfigError, match="`to` must name an export format.* Received: 'onnx'. Known: savedmodel"):
            export_model(classifier, tmp_path / "x", to="onnx")
        assert (tmp_path / "holiday.jpg").read_bytes() == b"not to be lost"


@pytest.mark.parametrize("to", ["savedmodel", "tflite"])
def test_a_path_is_not_a_model(tmp_path, to):
    with pytest.raises(ModelError, match="^`model` must be a Keras model. Received: model='model.keras'. Load"):
        export_model("model.keras", tmp_path / "exported", to=to)
    assert not any(tmp_path.iterdir())


class TestWhatWasWrittenIsRun:
    @pytest.fixture
    def model(self):
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])

    def written(self, monkeypatch, run):
        odd = ExportFormat(
            title="oddity",
            default_output="odd",
            write=lambda model, path: path.write_text("odd") and "Odd.",
            load=lambda path: run,
        )
        monkeypatch.setitem(EXPORT_FORMATS._found, "savedmodel", odd)

    @pytest.mark.parametrize(
        ("run", "told"),
        [
            (
                lambda x: [np.zeros((1, 1), "float32")],
                r"oddity with other outputs, which differ by up to .*Nothing was written",
            ),
            (
                lambda x: [np.zeros((1, 2), "float32")],
                r"with other output shapes: \[\(1, 2\)\] instead of "
                r"\[\(1, 1\)\]",
            ),
            (lambda x: [], "with other output shapes"),
            (lambda x: [np.full((1, 1), np.nan, "float32")], "with other outputs"),
            (lambda x: 1 // 0, "which does not run: .*zero"),
        ],
    )
    def test_something_else_is_not_left_there(self, model, monkeypatch, tmp_path, run, told):
        self.written(monkeypatch, run)
        with pytest.raises(ModelError, match=told):
            export_model(model, tmp_path / "x", to="savedmodel")
        assert not list(tmp_path.iterdir())

    def test_the_same_is(self, model, monkeypatch, tmp_path):
        self.written(monkeypatch, lambda x: [model(x)])
        assert export_model(model, tmp_path / "x", to="savedmodel").endswith("Odd.")

    def test_what_cannot_be_run_here_is_told(self, model, monkeypatch, tmp_path):
        self.written(monkeypatch, lambda x: None)
        assert export_model(model, tmp_path / "x", to="savedmodel").endswith(
            "Odd. Not verified: the installed TensorFlow cannot run it."
        )

    def test_several_outputs(self, tmp_path):
        x = keras.Input((2,))
        model = keras.Model(x, {"b": keras.layers.Dense(1)(x), "a": LearnableLog()(x)})
        assert "only TensorFlow" in export_model(model, tmp_path / "served", to="savedmodel")


@keras.saving.register_keras_serializable(package="test_export")
class OfOnesOwn(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.compression, self.dense = LearnableLog(), keras.layers.Dense(2)

    def call(self, mel):
        return self.dense(self.compression(mel))


class TestModelsThatAreNoGraph:
    @pytest.fixture(params=["subclass", "built subclass", "sequential"])
    def model(self, request):
        if request.param == "sequential":
            return keras.Sequential([LearnableLog(), keras.layers.Dense(1)])
        model = OfOnesOwn()
        if request.param == "built subclass":
            model(np.ones((1, 4)))
        return model

    @pytest.mark.parametrize("to", ["savedmodel", "tflite"])
    def test_are_refused_in_a_sentence(self, model, tmp_path, to):
        with pytest.raises(
            ModelError,
            match=r"Only functional models and built sequential .*Build a "
            r"functional model around it",
        ):
            export_model(model, tmp_path / "x", to=to)
        assert not list(tmp_path.iterdir())

    def test_are_described(self, model):
        assert "compression: learnable_log" in describe(model)

    def test_the_commands(self, tmp_path, capsys):
        model = OfOnesOwn(name="mine")
        model(np.ones((1, 4)))
        model.save(tmp_path / "mine.keras")
        assert main(["show", str(tmp_path / "mine.keras")]) == 0
        assert "mine: OfOnesOwn, shapes unknown, 12 parameters" in capsys.readouterr().out
        assert main(["export", str(tmp_path / "mine.keras"), "--to", "tflite"]) == 2
        assert "Received: `mine`, OfOnesOwn, whose input is unknown" in capsys.readouterr().err
        assert main(["predict", str(tmp_path / "mine.keras"), str(tmp_path)]) == 2
        assert "is not a clip classifier" in capsys.readouterr().err

    def test_inside_a_graph_they_are_exported(self, tmp_path):
        x = keras.Input((4,))
        assert "only TensorFlow" in export_model(keras.Model(x, OfOnesOwn()(x)), tmp_path / "x", to="savedmodel")


class TestFromOutside:
    """A format of a user's own: JSON with the classes and the number of parameters."""

    CODE = """
import json
from loglearn_tf.deploy.export import ExportFormat
from loglearn_tf.deploy.saved_models import describe, head_of

def to_json(model, path):
    if path.exists() or path.suffix != ".json":
        raise AssertionError("a name of its own, where nothing is")
    path.write_text(json.dumps({"classes": head_of(model).class_names, "parameters": model.count_params()}))

def fails(model, path):
    path.mkdir()
    (path / "half").write_text("half")
    raise RuntimeError("of its own")

JSON = ExportFormat(
    title="JSON file",
    default_output="model.json",
    write=lambda model, path: to_json(model, path) or "JSON; needs nothing.",
    recognises=lambda path: path.read_bytes()[:1] == b"{",
)
NUMBER = 3
"""

    @pytest.fixture(autouse=True)
    def module(self, tmp_path, monkeypatch):
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "my_lab_formats.py").write_text(self.CODE)
        monkeypatch.syspath_prepend(tmp_path / "code")

    def test_a_record(self, classifier, tmp_path, capsys):
        for _ in range(2):  # what it recognises is replaced
            said = export_model(classifier, tmp_path / "out" / "x.json", to="my_lab_formats:JSON")
        assert said == f"{tmp_path / 'out' / 'x.json'}: JSON; needs nothing."
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.json"]
        written = json.loads((tmp_path / "out" / "x.json").read_text())
        assert written == {"classes": list(head_of(classifier).class_names), "parameters": classifier.count_params()}
        classifier.save(tmp_path / "model.keras")
        assert main(["export", str(tmp_path), "--to", "my_lab_formats:JSON"]) == 0
        assert json.loads((tmp_path / "model.json").read_text()) == written

    def test_a_bare_function(self, classifier, tmp_path):
        said = export_model(classifier, tmp_path / "x.json", to="my_lab_formats:to_json")
        assert said == f"{tmp_path / 'x.json'}: to_json" and json.loads((tmp_path / "x.json").read_text())
        with pytest.raises(ModelError, match=r"x\.json exists and is not a to_json, so it is not replaced"):
            export_model(classifier, tmp_path / "x.json", to="my_lab_formats:to_json")

    def test_one_that_fails_leaves_nothing(self, classifier, tmp_path):
        with pytest.raises(RuntimeError, match="of its own"):
            export_model(classifier, tmp_path / "out" / "x", to="my_lab_formats:fails")
        assert list((tmp_path / "out").iterdir()) == []

    def test_what_is_no_format(self, classifier, tmp_path):
        with pytest.raises(ConfigError, match="my_lab_formats:NUMBER must be a function of a model and a path.*: 3"):
            export_model(classifier, tmp_path / "x", to="my_lab_formats:NUMBER")

    def test_one_that_writes_nothing(self, classifier, tmp_path, monkeypatch):
        nothing = ExportFormat(title="nothing", default_output="nothing", write=lambda model, path: None)
        monkeypatch.setitem(EXPORT_FORMATS._found, "savedmodel", nothing)
        with pytest.raises(StorageError, match="Cannot write .*nowhere"):
            export_model(classifier, tmp_path / "nowhere", to="savedmodel")


def test_names_are_known_without_keras():
    program = """
import sys
from loglearn_tf.deploy.export import EXPORT_FORMATS
print(*EXPORT_FORMATS, {"keras", "tensorflow"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["savedmodel", "tflite", "set()"]


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
    assert main(["export", str(tmp_path / "small.keras"), "--to", "tflight"]) == 2
    assert "`--to` must name an export format" in capsys.readouterr().err
