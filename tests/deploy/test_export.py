"""The list of export formats, what it does for each of them, and a format from outside."""

import json
import subprocess
import sys

import keras
import pytest
from small_classifier import make

from loglearn_tf import LearnableLog
from loglearn_tf.cli import main
from loglearn_tf.deploy.export import EXPORT_FORMATS, ExportFormat, export_model
from loglearn_tf.deploy.saved_models import head_of
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
        with pytest.raises(ModelError, match=r"holiday.jpg exists and is no SavedModel"):
            export_model(classifier, tmp_path / "holiday.jpg", to="savedmodel")
        with pytest.raises(ModelError, match=r"holiday.jpg exists and is no TFLite file"):
            export_model(classifier, tmp_path / "holiday.jpg", to="tflite")
        with pytest.raises(ModelError, match="is a folder"):
            export_model(classifier, tmp_path, to="tflite")
        with pytest.raises(ConfigError, match="`to` must name an export format.* Received: 'onnx'. Known: savedmodel"):
            export_model(classifier, tmp_path / "x", to="onnx")
        assert (tmp_path / "holiday.jpg").read_bytes() == b"not to be lost"


class TestFromOutside:
    """A format of a user's own: JSON with the classes and the number of parameters."""

    CODE = """
import json
from loglearn_tf.deploy.export import ExportFormat
from loglearn_tf.deploy.saved_models import head_of

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
        with pytest.raises(ModelError, match=r"x\.json exists and is no to_json: it is not replaced"):
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
