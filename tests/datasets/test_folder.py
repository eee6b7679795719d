"""Recordings of one's own: class-named folders and CSV files, read whole or refused with the remedy."""

import os

import numpy as np
import pytest
import soundfile

from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.few_shot import draw_clips
from loglearn_tf.errors import ConfigError, DataError, MissingDataError


def sound(path, *, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.1, 0.1, 80), 8000)
    return path


@pytest.fixture
def folders(tmp_path):
    """Three classes of 10, 7 and 5 clips, one class with folders inside."""
    for name, n in (("rain", 10), ("dog bark", 7), ("café", 5)):
        for at in range(n):
            sound(tmp_path / name / ("old" if at % 2 else "") / f"{name} {at}.wav", seed=at)
    (tmp_path / "README.txt").write_text("not a class")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "rain" / ".DS_Store").write_text("")
    return tmp_path


@pytest.fixture
def listed(tmp_path):
    """Writes a CSV file of these lines below its head, and the sounds it names."""

    def write(*lines, head="path,label,fold"):
        path = tmp_path / "clips.csv"
        path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
        for line in lines:
            if line.split(",")[0].endswith(".wav"):
                sound(tmp_path / line.split(",")[0])
        return path

    return write


class TestFolders:
    def test_every_file_is_a_clip_of_its_folders_class(self, folders):
        dataset = load_dataset("folder", folders)
        assert dataset.classes == ("café", "dog bark", "rain")
        assert len(dataset.clips) == 22
        by_id = {clip.clip_id: clip for clip in dataset.clips}
        assert by_id["dog bark/old/dog bark 3.wav"].label == 1
        assert by_id["dog bark/old/dog bark 3.wav"].path.is_file()

    def test_folds_are_dealt_evenly_within_each_class(self, folders):
        dataset = load_dataset("folder", folders, n_folds=3, validation_fold="none")
        for label, sizes in ((0, [1, 2, 2]), (1, [2, 2, 3]), (2, [3, 3, 4])):
            counts = np.bincount([clip.fold for clip in dataset.clips if clip.label == label])[1:]
            assert sorted(counts) == sizes
        assert dataset.train_folds == {1: (2, 3), 2: (1, 3), 3: (1, 2)}

    def test_folds_follow_from_the_names_alone(self, folders, tmp_path_factory):
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        for path in sorted(folders.rglob("*.wav"), reverse=True):
            sound(elsewhere / path.relative_to(folders))
        folds = [
            {clip.clip_id: clip.fold for clip in load_dataset("folder", root).clips} for root in (folders, elsewhere)
        ]
        assert folds[0] == folds[1]

    def test_a_fold_may_be_left_out_for_validation(self, folders):
        assert load_dataset("folder", folders, n_folds=3, validation_fold="next").train_folds == {
            1: (3,),
            2: (1,),
            3: (2,),
        }

    def test_clips_are_drawn_from_it_as_from_any_data_set(self, folders):
        dataset = load_dataset("folder", folders, n_folds=3, validation_fold="none")
        drawn = draw_clips(dataset, fold=1, n_shot=3, run=0, seed=0)
        assert [clip.label for clip in drawn] == [0] * 3 + [1] * 3 + [2] * 3
        assert all(clip.fold != 1 for clip in drawn)
        with pytest.raises(ConfigError, match="`n_shot` is larger than the smallest class"):
            draw_clips(dataset, fold=1, n_shot=6, run=0, seed=0)

    def test_a_file_that_is_no_sound(self, folders):
        (folders / "rain" / "notes.txt").write_text("")
        with pytest.raises(DataError, match=r"notes.txt must be a sound file .* list the recordings in a CSV file"):
            load_dataset("folder", folders)

    def test_a_sound_beside_the_classes(self, folders):
        sound(folders / "lost.wav")
        with pytest.raises(DataError, match="lost.wav must be in the folder of its class"):
            load_dataset("folder", folders)

    def test_an_empty_class(self, folders):
        (folders / "snow").mkdir()
        with pytest.raises(DataError, match="snow contains no sound files. Remove it or add"):
            load_dataset("folder", folders)

    @pytest.mark.parametrize("names", [(), ("rain",)])
    def test_fewer_than_two_classes(self, tmp_path, names):
        for name in names:
            sound(tmp_path / name / "a.wav")
        with pytest.raises(DataError, match=r"must contain at least two classes. Received: (none|rain). Make a folder"):
            load_dataset("folder", tmp_path)

    def test_nothing_left_to_train_on(self, tmp_path):
        for name in ("a", "b"):
            sound(tmp_path / name / "1.wav")
            sound(tmp_path / name / "2.wav")
        with pytest.raises(DataError, match=r"has 2 folds, .* or set `data.validation_fold=none`"):
            load_dataset("folder", tmp_path, validation_fold="next")

    def test_no_folder(self, tmp_path):
        with pytest.raises(MissingDataError, match="absent does not exist. `data.root` must be a folder"):
            load_dataset("folder", tmp_path / "absent")

    @pytest.mark.parametrize("name", [" space", "-dash", "new\nline", "é 東京 🎧", "quo\"te'", "=1+1", "a,b"])
    def test_any_name_of_a_class_and_of_a_file(self, tmp_path, name):
        for at in range(4):
            sound(tmp_path / name / f"{name}{at}.wav", seed=at)
            sound(tmp_path / "other" / f"{at}.wav", seed=at)
        dataset = load_dataset("folder", tmp_path, n_folds=2, validation_fold="none")
        assert set(dataset.classes) == {name, "other"}
        assert f"{name}/{name}0.wav" in {clip.clip_id for clip in dataset.clips}

    def test_names_that_are_not_utf8(self, tmp_path):
        sound(tmp_path / "a" / "1.wav")
        path = sound(tmp_path / "b" / "1.wav")
        try:
            path.rename(os.fsdecode(os.fsencode(path.parent) + b"/\xff.wav"))
        except OSError:
            pytest.skip("this file system takes no such names")
        with pytest.raises(DataError, match=r"b/\\udcff.wav is not a valid UTF-8 name. Rename it"):
            load_dataset("folder", tmp_path, n_folds=2, validation_fold="none")


class TestCSV:
    def test_paths_labels_and_folds_are_taken_from_it(self, listed):
        path = listed(
            "a.wav,dog,1", "deep/b.wav,rain,2", "c.wav,dog,7", '"d, e.wav",rain,1'.replace('"d, e.wav"', "d.wav")
        )
        dataset = load_dataset("folder", path, validation_fold="none")
        assert dataset.classes == ("dog", "rain")
        assert {clip.clip_id: (clip.label, clip.fold) for clip in dataset.clips} == {
            "a.wav": (0, 1),
            "c.wav": (0, 7),
            "d.wav": (1, 1),
            "deep/b.wav": (1, 2),
        }
        assert dataset.train_folds == {1: (2, 7), 2: (1, 7), 7: (1, 2)}

    def test_more_columns_and_a_byte_order_mark_do_no_harm(self, listed):
        path = listed("1,a.wav,x,1", "2,b.wav,y,2", head="\ufeffid,path,label,fold")
        for name in ("a.wav", "b.wav"):
            sound(path.parent / name)
        assert len(load_dataset("folder", path, validation_fold="none").clips) == 2

    @pytest.mark.parametrize(
        ("lines", "head", "message"),
        [
            (["a.wav,dog"], "path,label", "has no column `fold`; its columns are"),
            (
                ["a.wav,dog,0"],
                "path,label,fold",
                "line 2: `fold` must be an integer between 1 and 999,999,999. Received: '0'",
            ),
            (
                ["a.wav,dog,one"],
                "path,label,fold",
                "`fold` must be an integer between 1 and 999,999,999. Received: 'one'",
            ),
            (["a.wav,dog"], "path,label,fold", "`fold` must be an integer between 1 and 999,999,999. Received: None"),
            (["a.wav,dog,1000000000"], "path,label,fold", "999,999,999. Received: '1000000000'"),
            (["a.wav,dog," + "9" * 5000], "path,label,fold", "999,999,999. Received: '999.*... .5,002 characters"),
            (["a.wav,dog,1,2"], "path,label,fold,fold", "names `fold` twice; its columns are"),
            (["a.wav,,1"], "path,label,fold", "`path` and `label` must not be empty. Received: 'a.wav', ''"),
            ([",dog,1"], "path,label,fold", "`path` and `label` must not be empty"),
            (["a.wav,dog,1", "a.wav,rain,2"], "path,label,fold", "Clip a.wav is listed 2 times"),
            (["a.wav,dog,1", "b.wav,dog,2"], "path,label,fold", "at least two classes. Received: dog. Its column"),
        ],
    )
    def test_bad_lines(self, listed, lines, head, message):
        with pytest.raises(DataError, match=message):
            load_dataset("folder", listed(*lines, head=head), validation_fold="none")

    def test_one_recording_under_two_paths_is_one_clip(self, listed):
        path = listed("a.wav,x,1", "./a.wav,y,2", "b/../a.wav,y,2")
        with pytest.raises(DataError, match="Clip a.wav is listed 3 times in .*. List it once."):
            load_dataset("folder", path, validation_fold="none")

    def test_an_absolute_path(self, listed):
        path = listed("a.wav,x,1", "b.wav,y,2")
        path.write_text(path.read_text() + f"{path.parent}/b.wav,y,2\n")
        with pytest.raises(DataError, match="line 4: `path` must be relative to the CSV file's folder"):
            load_dataset("folder", path, validation_fold="none")

    def test_another_label_is_another_data_set(self, listed):
        """The draw of clips depends on it."""
        first = load_dataset("folder", listed("a.wav,dgo,1", "b.wav,rain,2"), validation_fold="none")
        second = load_dataset("folder", listed("a.wav,dog,1", "b.wav,rain,2"), validation_fold="none")
        assert [clip.label for clip in first.clips] == [clip.label for clip in second.clips]
        assert first.fingerprint != second.fingerprint

    def test_a_missing_file(self, listed):
        path = listed("a.wav,dog,1", "b.wav,rain,2")
        (path.parent / "b.wav").unlink()
        with pytest.raises(MissingDataError, match=r"1 of the 2 clips listed in .* are missing .*: b.wav"):
            load_dataset("folder", path, validation_fold="none")
        assert load_dataset("folder", path, validation_fold="none", allow_missing=True).missing == ("b.wav",)

    @pytest.mark.parametrize("name", ["a\0b.wav", "no/such/folder/a.wav", "two\nlines.wav", "a" * 5000, "a/" * 5000])
    def test_strange_paths_are_missing_files_and_no_more(self, listed, name):
        path = listed("a.wav,dog,1")
        path.write_text(path.read_text() + f'"{name}",rain,2\n')
        with pytest.raises((MissingDataError, DataError)):
            load_dataset("folder", path, validation_fold="none")

    def test_not_text(self, tmp_path):
        path = tmp_path / "clips.csv"
        path.write_bytes(b"path,label,fold\n\xff\xfe,a,1\n")
        with pytest.raises(DataError, match="is not a CSV file in UTF-8"):
            load_dataset("folder", path)


def test_bad_argument(tmp_path):
    with pytest.raises(ValueError, match="`validation_fold` must be 'next' or 'none'"):
        load_dataset("folder", tmp_path, validation_fold="last")
