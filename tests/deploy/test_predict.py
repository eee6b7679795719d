"""Files are predicted in their order, in bounded memory, and one that cannot be read stops nothing."""

import csv
import io
import json

import keras
import numpy as np
import pytest
import soundfile

from loglearn_tf import LearnableLog, clip_classifier
from loglearn_tf.audio import load_waveform
from loglearn_tf.cli import main
from loglearn_tf.deploy import recording
from loglearn_tf.deploy.predict import Prediction, find_sounds, predict, writer
from loglearn_tf.deploy.recording import Classifier
from loglearn_tf.errors import ConfigError, MissingDataError, ModelError

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
            f"Skipped in {folder}: 1 hidden files or files created by the system or a tool: ._c.flac.",
            f"Skipped in {folder}: 1 links to folders that are already read or that contain the link: loop.",
            f"Skipped in {folder}: 1 files that are not sound files: notes.txt.",
        ]

    def test_a_link_to_nothing_says_so_when_read(self, sounds):
        (sounds / "link.wav").symlink_to("nowhere")
        assert find_sounds([sounds / "link.wav"]) == [sounds / "link.wav"]

    def test_an_empty_folder(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(MissingDataError, match="empty contains no sound files"):
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
        with pytest.raises(MissingDataError, match=r"File or folder not found: .*nowhere.wav"):
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


@pytest.mark.parametrize("workers", [2, 64])
def test_only_a_few_files_are_read_ahead_whatever_the_number_of_cores(classifier, sounds, monkeypatch, workers):
    from loglearn_tf.deploy import predict as module

    read = []
    monkeypatch.setattr(
        module, "waveform_blocks", lambda path, **kwargs: read.append(path) or iter([np.zeros(99, "float32")])
    )
    monkeypatch.setattr(module, "_SAMPLES_AHEAD", 4 * Classifier(classifier).block)
    stream = predict(classifier, [sounds / "b.wav"] * 1000, workers=workers)
    for n_seen in range(1, 20):
        next(stream)
        assert len(read) <= n_seen + 4


def test_of_a_long_file_that_waits_one_block_is_read(classifier, sounds, monkeypatch):
    """64 files of an hour fill no memory."""
    from loglearn_tf.deploy import predict as module

    read = []

    def blocks(path, *, sample_rate, seconds):
        for _ in range(3):
            read.append(path)
            yield np.zeros(round(sample_rate * seconds), "float32")

    monkeypatch.setattr(recording, "_BLOCK_SAMPLES", 1 << 13)
    monkeypatch.setattr(module, "waveform_blocks", blocks)
    paths = [sounds / str(number) for number in range(4)]
    next(predict(classifier, paths, workers=4))
    assert [read.count(path) for path in paths] == [3, 1, 1, 1]


@pytest.fixture
def long_sound(tmp_path, monkeypatch):
    """Of several blocks, at another rate and in stereo."""
    monkeypatch.setattr(recording, "_BLOCK_SAMPLES", 1 << 13)
    waveform = np.random.default_rng(0).normal(0, 0.1, (44_100, 2)) * np.linspace(0.01, 1, 44_100)[:, np.newaxis]
    soundfile.write(tmp_path / "long.flac", waveform, 11_025)
    return tmp_path / "long.flac"


def test_a_long_file_is_heard_as_a_whole(classifier, long_sound):
    (found,) = predict(classifier, [long_sound])
    waveform = load_waveform(long_sound, sample_rate=8000)
    assert (found.start_s, found.end_s) == (None, None) and len(waveform) == 32_000
    np.testing.assert_allclose(found.probabilities, classifier(waveform[None])[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("every", [0.3, 1, 1.5, 4, 10])
def test_parts_of_a_file_are_heard_each_by_itself(classifier, long_sound, every):
    found = list(predict(classifier, [long_sound, long_sound], every=every))
    waveform = load_waveform(long_sound, sample_rate=8000)
    starts = np.arange(0, 4, every)
    assert len(found) == 2 * len(starts)
    for one, start in zip(found, [*starts, *starts], strict=True):
        end = min(start + every, 4)
        np.testing.assert_allclose((one.start_s, one.end_s), (start, end), rtol=0, atol=0.5 / 8000)
        part = waveform[round(8000 * start) : round(8000 * end)]
        np.testing.assert_allclose(one.probabilities, classifier(part[None])[0], rtol=0, atol=1e-6)


def test_parts_do_not_drift_apart_from_seconds(classifier, long_sound):
    """A part of no whole number of samples is rounded where it ends, not in its length."""
    ends = [one.end_s for one in predict(classifier, [long_sound], every=0.10003)]
    np.testing.assert_allclose(ends[:-1], 0.10003 * np.arange(1, len(ends)), rtol=0, atol=0.51 / 8000)


def test_of_a_file_that_is_cut_no_parts_are_told(classifier, long_sound):
    content = long_sound.read_bytes()
    long_sound.write_bytes(content[: len(content) // 2])
    (found,) = predict(classifier, [long_sound], every=1)
    assert found.probabilities is None and "long.flac" in found.error and found.start_s is None


@pytest.mark.parametrize("every", [0, 0.031, -1, float("nan"), float("inf")])
def test_parts_are_no_shorter_than_a_hop(classifier, sounds, every):
    with pytest.raises(ConfigError, match="`every` must be at least 0.032 s, one hop of the model. Received: every="):
        predict(classifier, [sounds / "b.wav"], every=every)


def test_a_model_that_needs_all_at_once_has_a_limit(classifier, long_sound, monkeypatch):
    monkeypatch.setattr(recording, "_MOST_VALUES", 9000)
    waveform = keras.Input((None,))
    model = keras.Model(waveform, classifier.layers[-1](classifier.layers[1](waveform * 2)))
    (whole,) = predict(model, [long_sound])
    assert "and this model needs them all at once; the limit is 9,000. Cut it" in whole.error
    assert all(part.probabilities is not None for part in predict(model, [long_sound], every=1))


def test_needs_a_clip_classifier(sounds):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="other")
    with pytest.raises(ModelError, match="other.keras is not a clip classifier"):
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

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            ("table", "a.wav  2.500-5.000 s  bell 50.0 %\n"),
            ("csv", "file,start_s,end_s,class_1,p_1\na.wav,2.500,5.000,bell,0.500000\n"),
            ("jsonl", '{"file": "a.wav", "start_s": 2.5, "end_s": 5.0, "classes": {"bell": 0.5}}\n'),
        ],
    )
    def test_a_part_of_a_file(self, kind, text):
        out = io.StringIO()
        part = Prediction("a.wav", self.PREDICTION.probabilities, start_s=2.5, end_s=5.0)
        writer(kind, NAMES, out=out, top=1, parts=True)(part)
        assert out.getvalue() == text

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
        assert "1 files that are not sound files: a/notes.txt." in err
        assert "bad.wav" in err and "1 of 4 files could not be read" in err and "Files 4/4, 1 failed" in err

    def test_a_single_file(self, saved, sounds, capsys):
        assert main(["predict", str(saved), str(sounds / "b.wav")]) == 0
        out, err = capsys.readouterr()
        assert out.startswith(f"{sounds / 'b.wav'}  ") and out.count("%") == 3 and err == ""

    def test_parts_of_files(self, saved, sounds, capsys):
        assert main(["predict", str(saved), str(sounds), "--every", "0.2", "--format", "csv", "--top", "1"]) == 1
        out, err = capsys.readouterr()
        rows = list(csv.DictReader(io.StringIO(out)))
        # 4,000, 6,000 and 2,000 samples at 8 kHz.
        assert [len([row for row in rows if row["file"].endswith(name)]) for name in ("c.flac", "d.WAV", "b.wav")] == [
            3,
            4,
            2,
        ]
        assert [(row["start_s"], row["end_s"]) for row in rows[:3]] == [
            ("0.000", "0.200"),
            ("0.200", "0.400"),
            ("0.400", "0.500"),
        ]
        assert "1 of 4 files could not be read" in err and "Files 4/4, 1 failed" in err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["MODEL", "b.wav", "--every", "0.01"], "`every` must be at least 0.032 s"),
            (["nothing.keras", "b.wav"], "Model not found:"),
            (["MODEL", "nothing.wav"], "File or folder not found: nothing.wav"),
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


def test_a_path_is_neither_a_model_nor_a_list_of_files(classifier, saved, sounds):
    with pytest.raises(ModelError, match="^`model` must be a Keras model. Received: model='.*'. Load it first"):
        predict(str(saved), ["a.wav"])
    for path in ("a.wav", saved.parent / "a.wav"):
        with pytest.raises(ConfigError, match="^`paths` must be a list of sound files. Received: paths="):
            predict(classifier, path)
