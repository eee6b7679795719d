"""Lists of what trains, validates and tests beside the folders of classes, as of Speech Commands."""

import pytest

from loglearn_tf.cli import main
from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.check import check_data
from loglearn_tf.errors import DataError, MissingDataError


@pytest.fixture
def commands(tmp_path):
    """Two words by six speakers each, of which two validate and one tests; a minute of noise."""
    root = tmp_path / "speech_commands"
    for word in ("bed", "cat"):
        (root / word).mkdir(parents=True)
        for speaker in range(6):
            for take in range(2):
                (root / word / f"{speaker:08x}_nohash_{take}.wav").write_bytes(b"x")
    (root / "_background_noise_").mkdir()
    (root / "_background_noise_" / "white_noise.wav").write_bytes(b"x")
    (root / "_background_noise_" / "README.md").write_text("about it")
    lists = {"validation_list.txt": (1, 2), "testing_list.txt": (5,)}
    for name, speakers in lists.items():
        lines = [
            f"{word}/{one:08x}_nohash_{take}.wav\n" for word in ("bed", "cat") for one in speakers for take in (0, 1)
        ]
        (root / name).write_text("".join(lines))
    (root / "README.md").write_text("Speech Commands")
    return root


def ids(clips):
    return {clip.clip_id for clip in clips}


class TestSpeechCommands:
    def test_everything_else_trains(self, commands, caplog):
        dataset = load_dataset("folder", commands)
        assert dataset.classes == ("bed", "cat") and dataset.train_folds == {1: (0,)}
        assert {clip.group for clip in dataset.test_clips(1)} == {"00000005"}
        assert {clip.group for clip in dataset.validation_clips(1)} == {"00000001", "00000002"}
        assert {clip.group for clip in dataset.train_clips(1)} == {"00000000", "00000003", "00000004"}
        parts = [dataset.train_clips(1), dataset.validation_clips(1), dataset.test_clips(1)]
        assert list(map(len, parts)) == [12, 8, 4] and len(set.union(*map(ids, parts))) == 24
        noise = commands / "_background_noise_"
        assert dataset.unused == (noise / "README.md", noise / "white_noise.wav")

    def test_data_check_accounts_for_the_noise(self, commands):
        report = check_data(commands)
        assert [clip.name for clip in report.found("unused")] == [
            "_background_noise_/README.md",
            "_background_noise_/white_noise.wav",
        ]
        assert not report.found("left out")
        assert {clip.name for clip in report.found("beside")} == {
            "README.md", "testing_list.txt", "validation_list.txt"
        }  # fmt: skip
        assert not [one for one in report.advice if one.about.startswith("torn")]

    def test_without_lists_the_folders_are_as_ever(self, commands):
        for path in commands.glob("*_list.txt"):
            path.unlink()
        (commands / "_background_noise_" / "README.md").unlink()
        dataset = load_dataset("folder", commands)
        assert dataset.classes == ("_background_noise_", "bed", "cat") and sorted(dataset.train_folds) == [
            1,
            2,
            3,
            4,
            5,
        ]
        (advice,) = [one for one in check_data(commands).advice if one.about == "torn speakers"]
        assert (
            advice.text.startswith("6 speakers in several folds, according to file names")
            and "column `group`" in advice.text
        )

    def test_some_words_alone(self, commands, caplog):
        with (commands / "testing_list.txt").open("a") as file:
            file.write("zero/00000009_nohash_0.wav\nwow/00000009_nohash_0.wav\n")
        assert load_dataset("folder", commands).classes == ("bed", "cat")
        assert "2 recordings listed in validation_list.txt or testing_list.txt are skipped" in caplog.text
        assert "no folder in" in caplog.text and "wow, zero" in caplog.text

    def test_missing(self, commands):
        (commands / "cat" / "00000005_nohash_0.wav").unlink()
        with pytest.raises(MissingDataError, match="1 of the 24 clips .* are missing .*: cat/00000005_nohash_0.wav"):
            load_dataset("folder", commands)
        assert load_dataset("folder", commands, allow_missing=True).missing == ("cat/00000005_nohash_0.wav",)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("bed/00000001_nohash_0.wav", "testing_list.txt, line 5: bed/00000001_nohash_0.wav is listed twice"),
            ("bed/00000005_nohash_0.wav", "line 5: bed/00000005_nohash_0.wav is listed twice"),
            ("a.wav", "line 5: must be a path relative to .* that starts with the class folder. Received: 'a.wav'"),
            ("../a/b.wav", "line 5: must be a path relative to .*"),
        ],
    )
    def test_bad_lines(self, commands, line, message):
        with (commands / "testing_list.txt").open("a") as file:
            file.write(line + "\n")
        with pytest.raises(DataError, match=message):
            load_dataset("folder", commands)

    def test_nothing_to_test(self, commands):
        (commands / "testing_list.txt").write_text("")
        with pytest.raises(DataError, match="Received: none to test. Add"):
            load_dataset("folder", commands)


class TestLists:
    @pytest.fixture
    def root(self, tmp_path):
        for name in ("dog/1", "dog/2", "dog/deep/3", "rain/1", "rain/2", "rain/3"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / f"{name}.wav").write_bytes(b"x")
        return tmp_path

    @staticmethod
    def write(root, **lists):
        for name, lines in lists.items():
            (root / f"{name}.txt").write_text("\n".join(lines) + "\n")

    def test_train_val_test(self, root, caplog):
        caplog.set_level("INFO", "loglearn_tf")
        self.write(root, train=["dog/1.wav", "rain/1.wav"], val=["./rain/2.wav"], test=["dog\\2.wav"])
        dataset = load_dataset("folder", root)
        assert ids(dataset.train_clips(1)) == {"dog/1.wav", "rain/1.wav"}
        assert ids(dataset.validation_clips(1)) == {"rain/2.wav"}
        assert ids(dataset.test_clips(1)) == {"dog/2.wav"}
        assert dataset.unused == (root / "dog/deep/3.wav", root / "rain/3.wav")
        assert "2 files in" in caplog.text and "in no class or list and are not used" in caplog.text

    @pytest.mark.parametrize(
        "lists",
        [
            {"train": ["dog/1.wav"]},
            {"train": ["dog/1.wav"], "val": ["dog/2.wav"]},
            {"train": ["dog/1.wav 0", "rain/1.wav 1"], "test": ["dog/2.wav 0"]},
            {"train": ["1.wav"], "test": ["2.wav"]},
        ],
    )
    def test_lists_that_are_not_read_are_named(self, root, lists, caplog):
        self.write(root, **lists)
        assert sorted(load_dataset("folder", root).train_folds) == [1, 2, 3]
        assert "not read: training and test lists are needed" in caplog.text

    def test_notes_are_no_lists(self, root, caplog):
        before = load_dataset("folder", root)
        self.write(root, test=["recorded in spring"], train=["this was a test"])
        assert load_dataset("folder", root) == before and not caplog.records

    def test_two_lists_of_one_part(self, root):
        self.write(root, train=["dog/1.wav"], test=["dog/2.wav"], testing=["dog/2.wav"])
        with pytest.raises(DataError, match="only one list for test. Received: testing.txt, test.txt. Remove"):
            load_dataset("folder", root)


def test_plan_and_check_of_a_split(commands, tmp_path, capsys):
    overrides = [f"data.root={commands}", "name=x", "folds=[1]", f"runs_dir={tmp_path / 'runs'}"]
    assert main(["plan", "folder", *overrides, "--no-measure"]) == 0
    assert main(["run", "folder", f"data.root={commands}", "name=x", f"runs_dir={tmp_path / 'runs'}"]) == 2
    assert "folder: 1. Received: fold 2. It has one split: set `folds=[1]`." in capsys.readouterr().err
