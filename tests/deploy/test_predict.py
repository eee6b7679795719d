"""Files are predicted in their order, in bounded memory, and one that cannot be read stops nothing."""

import csv
import io
import json

import keras
import numpy as np
import pytest
import soundfile

from loglearn_tf import LearnableLog, clip_classifier
from loglearn_tf.cli import main
from loglearn_tf.deploy.predict import Prediction, find_sounds, predict, writer
from loglearn_tf.errors import MissingDataError, ModelError

NAMES = ["air", "bell", "car"]


@pytest.fixture(scope="module")
def classifier():
    """8 kHz, patches of 16 frames x 8 bands."""
    mel = keras.Input((16, 8))
    x = keras.layers.Flatten()(LearnableLog()(mel))
    network = keras.Model(mel, keras.layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=1))(x))
    front_end = {"sample_rate": 8000, "n_fft": 256, "hop_length": 256, "n_mels": 8}
    return clip_classifier(network, class_names=NAMES, front_end=front_end)


@pytest.fixture(scope="module")
def saved(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    classifier.save(path)
    return path


@pytest.fixture
def sounds(tmp_path):
    """Three sounds in folders, one file that is none, and one that is of no interest."""
    rng = np.random.default_rng(0)
    for at, name in enumerate(["b.wav", "a/c.flac", "a/d.WAV"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, rng.normal(0, 0.1, 2000 * (at + 1)), 8000)
    (tmp_path / "a" / "bad.wav").write_bytes(b"RIFF")
    (tmp_path / "a" / "notes.txt").write_text("of no interest")
    return tmp_path


class TestFindSounds:
    def test_files_and_folders(self, sounds):
        found = find_sounds([sounds / "b.wav", sounds / "a"])
        assert [path.name for path in found] == ["b.wav", "bad.wav", "c.flac", "d.WAV"]

    def test_a_file_may_have_any_name(self, sounds):
        assert find_sounds([sounds / "a" / "notes.txt"]) == [sounds / "a" / "notes.txt"]

    def test_everything_is_read_or_said(self, sounds, caplog, tmp_path_factory):
        """What can be no sound is read all the same: it says why not, and the exit code is 1."""
        folder = sounds / "a"
        others = ["b.m4a", "e.aifc", "f.snd", "g.mp2", "h.amr", "i.WEBM", "link.wav"]
        for name in others[:-1]:
            (folder / name).write_bytes(b"x")
        (folder / "link.wav").symlink_to("nowhere")
        (folder / "lost").symlink_to("nowhere")
        (folder / "without suffix").write_bytes((sounds / "b.wav").read_bytes())
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        (elsewhere / "z.wav").write_bytes(b"x")
        (folder / "more").symlink_to(elsewhere)
        (folder / "loop").symlink_to("..")
        (folder / "._c.flac").write_bytes(b"\0\5\x16\7")
        caplog.set_level("INFO", logger="loglearn_tf")
        found = [str(path.relative_to(folder)) for path in find_sounds([folder])]
        assert found == sorted([*others, "bad.wav", "c.flac", "d.WAV", "lost", "more/z.wav", "without suffix"])
        assert caplog.messages == [
            f"In {folder} 1 passed over, hidden, or left by a system or a tool: ._c.flac.",
            f"In {folder} 1 passed over, links to folders that are read already, or that hold the link: loop.",
            f"In {folder} 1 passed over, no sound files: notes.txt.",
        ]

    def test_a_link_to_nothing_says_so_when_read(self, sounds):
        (sounds / "link.wav").symlink_to("nowhere")
        assert find_sounds([sounds / "link.wav"]) == [sounds / "link.wav"]

    def test_an_empty_folder(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(MissingDataError, match="empty holds no sound files"):
            find_sounds([tmp_path / "empty"])

    def test_a_folder_that_cannot_be_listed(self, sounds, monkeypatch):
        import os

        list_folder = os.scandir

        def refuse(path):
            if str(path).endswith("a"):
                raise PermissionError(13, "Permission denied", str(path))
            return list_folder(path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(MissingDataError, match="cannot be listed: Permission denied. Check its permissions"):
            find_sounds([sounds])

    def test_a_path_that_is_not_there(self, tmp_path):
        with pytest.raises(MissingDataError, match=r"no file or folder .*nowhere.wav"):
            find_sounds([tmp_path / "nowhere.wav"])


@pytest.mark.parametrize("workers", [1, 3])
def test_predictions_come_in_order_and_a_bad_file_stops_nothing(classifier, sounds, workers):
    paths = find_sounds([sounds]) * 3
    found = list(predict(classifier, paths, workers=workers))
    assert [prediction.path for prediction in found] == paths
    for prediction in found:
        if prediction.path.name == "bad.wav":
            assert prediction.probabilities is None and "bad.wav" in prediction.error
        else:
            waveform = soundfile.read(prediction.path, dtype="float32")[0]
            np.testing.assert_allclose(prediction.probabilities, classifier(waveform[None])[0], atol=1e-6)


def test_only_a_few_files_are_read_ahead(classifier, sounds, monkeypatch):
    from loglearn_tf.deploy import predict as module

    read = []
    monkeypatch.setattr(module, "load_waveform", lambda path, sample_rate: read.append(path) or np.zeros(99, "float32"))
    stream = predict(classifier, [sounds / "b.wav"] * 1000, workers=2)
    for n_seen in range(1, 20):
        next(stream)
        assert len(read) <= n_seen + 4


def test_needs_a_clip_classifier(sounds):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="other")
    with pytest.raises(ModelError, match="other.keras is no clip classifier"):
        predict(model, [sounds / "b.wav"], where="other.keras")


class TestWriter:
    PREDICTION = Prediction("=b, c.wav", np.array([0.2, 0.5, 0.3], "float32"))

    def write(self, kind, **kwargs):
        out = io.StringIO()
        writer(kind, NAMES, out=out, **kwargs)(self.PREDICTION)
        return out.getvalue()

    def test_table(self):
        assert self.write("table", top=2) == "=b, c.wav  bell 50.0 %, car 30.0 %\n"

    def test_csv(self):
        rows = list(csv.reader(io.StringIO(self.write("csv", top=2))))
        assert rows[0] == ["file", "class_1", "p_1", "class_2", "p_2"]
        assert rows[1] == ["=b, c.wav", "bell", "0.500000", "car", "0.300000"]

    def test_a_spreadsheet_does_not_run_a_name(self):
        rows = list(csv.reader(io.StringIO(self.write("csv", top=2, spreadsheet_safe=True))))
        assert rows[1] == ["'=b, c.wav", "bell", "0.500000", "car", "0.300000"]

    def test_json_lines_and_more_than_there_are(self):
        assert json.loads(self.write("jsonl", top=9)) == {
            "file": "=b, c.wav",
            "classes": {"bell": 0.5, "car": 0.3, "air": 0.2},
        }

    def test_of_equals_the_first_class_comes_first(self):
        out = io.StringIO()
        writer("table", NAMES, top=1, out=out)(Prediction("x", np.full(3, 1 / 3, "float32")))
        assert out.getvalue() == "x  air 33.3 %\n"


class TestCommandLine:
    def test_says_every_file_and_what_it_could_not_read(self, saved, sounds, capsys):
        assert main(["predict", str(saved), str(sounds), "--format", "jsonl", "--top", "1"]) == 1
        out, err = capsys.readouterr()
        lines = [json.loads(line) for line in out.splitlines()]
        assert [line["file"] for line in lines] == [str(sounds / name) for name in ("a/c.flac", "a/d.WAV", "b.wav")]
        assert all(len(line["classes"]) == 1 for line in lines)
        assert "1 passed over, no sound files: a/notes.txt." in err
        assert "bad.wav" in err and "1 of 4 files cannot be read" in err and "Files 4/4, 1 failed" in err

    def test_a_single_file(self, saved, sounds, capsys):
        assert main(["predict", str(saved), str(sounds / "b.wav")]) == 0
        out, err = capsys.readouterr()
        assert out.startswith(f"{sounds / 'b.wav'}  ") and out.count("%") == 3 and err == ""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nothing.keras", "b.wav"], "There is no model"),
            (["MODEL", "nothing.wav"], "no file or folder nothing.wav"),
            (["MODEL", "b.wav", "--top", "0"], "`--top` must be at least 1. Received: 0."),
        ],
    )
    def test_wrong_input(self, saved, sounds, arguments, message, capsys, monkeypatch):
        monkeypatch.chdir(sounds)
        assert main(["predict", *(str(saved) if x == "MODEL" else x for x in arguments)]) == 2
        assert message in capsys.readouterr().err

    def test_show(self, saved, capsys):
        assert main(["show", str(saved)]) == 0
        assert "classes: air, bell, car" in capsys.readouterr().out
