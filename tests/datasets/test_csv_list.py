"""A CSV file of one's own: segments, parts, groups, and what is most likely a slip."""

import random

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from loglearn_tf.cli import main
from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.clips import segment_name
from loglearn_tf.datasets.few_shot import draw_clips
from loglearn_tf.datasets.recordings import torn
from loglearn_tf.errors import DataError, MissingDataError

RATE = 8000


@pytest.fixture
def listed(tmp_path):
    """Writes a CSV file of these lines below its head, and sounds of two seconds of the names that it has."""

    def write(*lines, head="path,label,start,end", name="clips.csv"):
        for line in lines:
            path = tmp_path / line.split(",")[0]
            if path.suffix == ".wav" and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, np.random.default_rng(len(line)).uniform(-0.1, 0.1, 2 * RATE), RATE)
        path = tmp_path / name
        path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
        return path

    return write


def load(path, **more):
    return load_dataset("folder", path, **{"validation_fold": "none", **more})


class TestSegments:
    def test_are_clips_of_their_file(self, listed):
        dataset = load(
            listed("a.wav,dog,0,0.5", "a.wav,rain,0.50,2.0", "b.wav,dog,,", "b.wav,rain,1e-1,1", "c.wav,dog,0,1")
        )
        assert {clip.clip_id: (clip.segment, clip.label, clip.group) for clip in dataset.clips} == {
            "a.wav#t=0,0.5": ((0, 0.5), 0, "a.wav"),
            "a.wav#t=0.5,2": ((0.5, 2), 1, "a.wav"),
            "b.wav": (None, 0, "b.wav"),
            "b.wav#t=0.1,1": ((0.1, 1), 1, "b.wav"),
            "c.wav#t=0,1": ((0, 1), 0, "c.wav"),
        }
        assert len({(clip.n_bytes, clip.checksum) for clip in dataset.clips if clip.group == "a.wav"}) == 1

    def test_a_moved_folder_is_the_same_data_set(self, listed, tmp_path):
        path = listed("deep/a.wav,dog,0,1", "deep/a.wav,rain,1,2", "b.wav,dog,0,1")
        before = load(path)
        moved = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
        assert load(moved / path.name).fingerprint == before.fingerprint

    def test_other_times_are_another_data_set(self, listed):
        first, second = (
            load(listed("a.wav,dog,0,1", "c.wav,dog,0,1", f"b.wav,rain,1,{end}")) for end in ("1.5", "1.6")
        )
        assert first.fingerprint != second.fingerprint

    @pytest.mark.parametrize(
        ("times", "message"),
        [
            ("1,1", "`start` must be less than `end`. Received: start=1, end=1"),
            ("1.5,0.5", "`start` must be less than `end`"),
            ("-1,1", "`start` must be seconds from the start of the file, such as 12.5. Received: '-1'"),
            ("nan,1", "`start` must be seconds"),
            ("0,NaN", "`end` must be seconds"),
            ("0,inf", "`end` must be seconds"),
            ("0,1e999", "`end` must be seconds"),
            ("0,0:01", "`end` must be seconds .* Received: '0:01'"),
            ('"0,5",1', "`start` must be seconds .* Received: '0,5'"),
            ("0,1_0", "`end` must be seconds"),
            ("0,", "`end` must be seconds .* Received: ''. Leave both `start` and `end` empty for"),
            (",1", "`start` must be seconds"),
            ("0", "`end` must be seconds .* Received: None"),
        ],
    )
    def test_times_that_are_none(self, listed, times, message):
        with pytest.raises(DataError, match=f"clips.csv, line 3: {message}"):
            load(listed("a.wav,dog,0,1", f"b.wav,rain,{times}"))

    def test_past_the_end(self, listed, tmp_path):
        path = listed("a.wav,dog,0,2.0009", "b.wav,rain,1,2.5", "b.wav,dog,3,4")
        with pytest.raises(DataError) as caught:
            load(path)
        assert str(caught.value).startswith(
            f"{path}, line 3: {tmp_path / 'b.wav'} is 2 s long. Received: start=1, end=2.5. Segments must end within "
            "their files. This applies to 2 rows. Correct the times"
        )

    def test_a_file_that_is_no_sound_is_left_to_the_decoder(self, listed, tmp_path):
        path = listed("a.wav,dog,0,1", "b.wav,rain,0,1", "c.wav,dog,0,1")
        (tmp_path / "b.wav").write_bytes(b"\0" * 100)
        assert len(load(path).clips) == 3

    def test_twice(self, listed):
        with pytest.raises(DataError, match=r"Clip a.wav#t=0,1 is listed 2 times in .*clips.csv. List it once.$"):
            load(listed("a.wav,dog,0,1", "./a.wav,dog,0.0,1.00", "b.wav,rain,0,1"))

    def test_missing(self, listed, tmp_path):
        path = listed("a.wav,dog,0,1", "a.wav,rain,1,2", "b.wav,rain,0,1", "c.wav,dog,0,1")
        (tmp_path / "b.wav").unlink()
        with pytest.raises(MissingDataError, match="1 of the 4 clips .* are missing .*: b.wav#t=0,1"):
            load(path)
        assert load(path, allow_missing=True).missing == ("b.wav#t=0,1",)

    def test_folds_that_tear_a_file_are_warned_of(self, listed, caplog):
        load(listed("a.wav,dog,0,1,1", "a.wav,rain,1,2,2", head="path,label,start,end,fold"))
        assert "recording a.wav is in folds 1, 2, according to its segments" in caplog.text

    def test_one_file_is_one_recording(self, listed):
        with pytest.raises(DataError, match="at least two recordings in two folds. Received: 2 clips of 1 in 1"):
            load(listed("a.wav,dog,0,1", "a.wav,rain,1,2"))

    def test_one_fold(self, listed):
        with pytest.raises(
            DataError, match="must contain clips in at least two folds. Received: all in fold 1, .* of each"
        ):
            load(listed("a.wav,dog,0,1", "b.wav,rain,1,2"))

    @settings(max_examples=100, deadline=None)
    @given(st.floats(0, 1e9), st.floats(0, 1e9))
    def test_names_tell_times_apart(self, start, end):
        name = segment_name("a.wav", (start, end))
        assert tuple(map(float, name.removeprefix("a.wav#t=").split(","))) == (start, end) and "e" not in name[6:]


class TestSplit:
    LINES = (
        "a.wav,dog,train",
        "b.wav,rain,Training",
        "c.wav,dog,validation",
        "d.wav,rain,val",
        "e.wav,dog,test",
        "f.wav,rain,test",
    )
    HEAD = "path,label,split"

    @pytest.mark.parametrize("validation_fold", ["none", "next"])
    def test_is_one_fold(self, listed, validation_fold):
        dataset = load(listed(*self.LINES, head=self.HEAD), validation_fold=validation_fold)
        assert dataset.train_folds == {1: (0,)}
        assert [clip.clip_id for clip in dataset.train_clips(1)] == ["a.wav", "b.wav"]
        assert [clip.clip_id for clip in dataset.validation_clips(1)] == ["c.wav", "d.wav"]
        assert [clip.clip_id for clip in dataset.test_clips(1)] == ["e.wav", "f.wav"]
        assert {clip.clip_id for clip in draw_clips(dataset, fold=1, n_shot=1, run=0, seed=0)} == {"a.wav", "b.wav"}

    @pytest.mark.parametrize("word", ["", "0", "dev", "tests"])
    def test_other_words(self, listed, word):
        with pytest.raises(DataError, match=f"line 2: `split` must be train, validation or test. Received: '{word}'"):
            load(listed(f"a.wav,dog,{word}", head=self.HEAD))

    def test_a_line_that_ends_before(self, listed):
        with pytest.raises(DataError, match="line 2: `split` must be .* Received: None"):
            load(listed("a.wav,dog", head=self.HEAD))

    @pytest.mark.parametrize(
        ("lines", "lacking"),
        [(LINES[:4], "none to test"), (LINES[2:], "none to train"), (LINES[2:4], "none to train and none to test")],
    )
    def test_a_part_is_lacking(self, listed, lines, lacking):
        with pytest.raises(DataError, match=f"must contain training and test clips. Received: {lacking}. Add"):
            load(listed(*lines, head=self.HEAD))

    def test_with_folds(self, listed):
        with pytest.raises(DataError, match="must have the column `fold` or `split`, not both"):
            load(listed("a.wav,dog,1,train", head="path,label,fold,split"))

    def test_a_group_in_two_parts(self, listed):
        path = listed("a.wav,dog,train,x", "b.wav,rain,test,x", head="path,label,split,group")
        with pytest.raises(
            DataError, match=r"recording x is in train and test; clips of one `group` must be in one part"
        ):
            load(path)


class TestColumns:
    @pytest.mark.parametrize(
        ("head", "message"),
        [
            ("path,label,fold,strat,end", "has no column `start`; .* If 'strat' means `start`, rename it"),
            ("path,label,fold,Start,End", "If 'Start' means `start`, rename it"),
            ("path,label,fold,start,ends", "If 'ends' means `end`, rename it"),
            ("path,labels,fold", "has no column `label`; .* If 'labels' means `label`, rename it"),
            ("path,lable,fold", "If 'lable' means `label`, rename it"),
            (" path,label,fold", "If ' path' means `path`, rename it"),
            ("path,label,folds", "If 'folds' means `fold`, rename it"),
            ("path,label,fold,groups", "If 'groups' means `group`, rename it"),
            ("path,label,slpit", "If 'slpit' means `split`, rename it"),
            ("filename,label,fold", "has no column `path`; .* Rename 'filename' to it"),
            ("path,category,fold", "has no column `label`; .* Rename 'category' to it"),
            ("path,fold", "has no column `label`; its columns are"),
            ("path,label,fold,start", "has the column `start` but not `end`"),
            ("path,label,fold,end", "has the column `end` but not `start`"),
            ("path;label;fold", "must use commas between its columns. Received: semicolons"),
            ("path\tlabel\tfold", "must use commas between its columns. Received: tabulators"),
            ("path,label,start,end,start", "names `start` twice"),
        ],
    )
    def test_slips(self, listed, head, message):
        with pytest.raises(DataError, match=message):
            load(listed("a.wav,dog,1,2,3", head=head))

    def test_others_are_named_and_not_read(self, listed, caplog):
        caplog.set_level("INFO", "loglearn_tf")
        load(listed("a.wav,dog,1,x,y,", "b.wav,rain,2,x,z,", head="path,label,fold,notes,speaker,"))
        assert "notes, speaker. `speaker` is used if renamed to `group`." in caplog.text

    def test_nothing_is_said_where_all_are_read(self, listed, caplog):
        caplog.set_level("INFO", "loglearn_tf")
        load(listed("a.wav,dog,1", "b.wav,rain,2", head="path,label,fold"))
        assert not caplog.records


@pytest.mark.parametrize(("name", "setting"), [("UrbanSound8K.csv", "us8k"), ("esc50.csv", "folder")])
def test_lists_of_published_sets_are_read_by_their_folder(tmp_path, name, setting):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / name).write_text("slice_file_name,fsID,start,end\n")
    with pytest.raises(DataError, match=f"list of a published data set. .*`data.name={setting} data.root={tmp_path}`"):
        load(tmp_path / "meta" / name)


class TestLabels:
    @pytest.mark.parametrize(
        ("labels", "received"),
        [
            (("dog", "dog;rain"), "'dog;rain', which is 'dog' and 'rain'"),
            (("dog;rain", "cat"), "'dog;rain'"),
            (("dog", "rain|dog"), "'rain.dog'"),
            (("dog", "rain", "dog, rain"), "'dog, rain'"),
            (("dog,rain", "rain,wind", "wind,dog"), "'dog,rain'"),
            (("indoor", "outdoor", "indoor/outdoor"), "'indoor/outdoor'"),
            (("dog", "rain", "dog+rain"), "'dog.rain'"),
            (("dog", "['dog', 'rain']"), r"\"\['dog', 'rain'\]\""),
        ],
    )
    def test_several_in_one_row(self, listed, labels, received):
        lines = [f'{at}.wav,"{label}",{at + 1}' for at, label in enumerate(labels)]
        with pytest.raises(
            DataError, match=rf"line \d: `label` must be one class. Received: {received}.*Keep the most important label"
        ):
            load(listed(*lines, head="path,label,fold"))

    @pytest.mark.parametrize(
        "labels",
        [
            ("cafe/restaurant", "beach"),
            ("Speech, male", "Speech, female", "Dog"),
            ("Bark & howl", "Bark"),
            ("C++", "C"),
            ("a,b", "other"),
            ("dog;", "rain"),
        ],
    )
    def test_names_with_marks(self, listed, labels):
        lines = [f'{at}.wav,"{label}",{at + 1}' for at, label in enumerate(labels)]
        assert load(listed(*lines, head="path,label,fold")).classes == tuple(sorted(labels))

    def test_several_rows(self, listed):
        path = listed("a.wav,dog,1", "b.wav,rain,2", "a.wav,rain,1", head="path,label,fold")
        with pytest.raises(DataError) as caught:
            load(path)
        assert str(caught.value) == (
            f"Clip a.wav is listed 2 times in {path}. List it once. A clip must have one label, but lines 2, 4 have "
            "'dog', 'rain': keep the one that matters, or cut the file into segments (columns `start`, `end`)."
        )

    def test_segments_of_one_file_may_differ(self, listed):
        assert len(load(listed("a.wav,dog,0,1", "a.wav,rain,0.5,2", "b.wav,dog,0,1")).clips) == 3


ROWS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["dog", "rain"]), st.integers(0, 8), st.integers(1, 4)),
    min_size=6,
    max_size=25,
    unique_by=lambda row: (row[0], row[2], row[3]),
)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.randoms(), st.sampled_from(["segments", "groups", "folds", "splits"]))
def test_neither_order_nor_dealing_change_or_tear_anything(tmp_path_factory, rows, shuffler, kind):
    root = tmp_path_factory.getbasetemp() / "orders"
    root.mkdir(exist_ok=True)
    for name in "abcd":
        if not (root / f"{name}.wav").exists():
            soundfile.write(root / f"{name}.wav", np.full(2 * RATE, 0.1), RATE)
    more = {"segments": "", "groups": ",group", "folds": ",fold", "splits": ",split"}[kind]
    fold_of = dict(zip("abcd", (1, 2, 3, 1), strict=True))
    part_of = dict(zip("abcd", ("train", "test", "validation", "train"), strict=True))

    def line(row):
        name, label, start, length = row
        extra = {"segments": "", "groups": f",{label}-{name}", "folds": f",{fold_of[name]}"}.get(
            kind, f",{part_of[name]}"
        )
        return f"{name}.wav,{label},{start / 8},{(start + length) / 8}{extra}"

    def loaded(of):
        (root / "clips.csv").write_text(f"path,label,start,end{more}\n" + "".join(f"{line(row)}\n" for row in of))
        return load(root / "clips.csv", n_folds=3)

    shuffled = random.Random(shuffler.random()).sample(rows, len(rows))
    try:
        first = loaded(rows)
    except DataError as error:
        with pytest.raises(DataError) as caught:
            loaded(shuffled)
        assert str(caught.value) == str(error)
        return
    second = loaded(shuffled)
    assert first == second and first.fingerprint == second.fingerprint
    assert first.recordings == second.recordings
    assert len(first.clips) == len(rows)
    assert torn({clip.clip_id: clip.fold for clip in first.clips}, first.recordings) == {}
    for fold in first.train_folds:
        if any(clip.fold == fold for clip in first.clips):
            parts = [first.train_clips(fold), first.validation_clips(fold), first.test_clips(fold)]
            ids = [clip.clip_id for part in parts for clip in part]
            assert len(ids) == len(set(ids)) == len(first.clips)


def test_data_check_reads_segments(listed, capsys):
    path = listed(
        "a.wav,dog,0,1.5,1", "a.wav,rain,1,2,2", "b.wav,dog,0,1,2", "b.wav,rain,1,2,1", "c.wav,dog,0,2,1",
        head="path,label,start,end,fold",
    )  # fmt: skip
    assert main(["data", "check", str(path)]) == 0
    said = capsys.readouterr().out
    assert "5 clips" in said and "error" not in said.partition("\n")[2].partition("0 files")[0]
    assert "a.wav#t=0,1.5: 1.50 s" in said
    assert (
        "advice: overlap across folds: 1 pair of overlapping segments in different folds: the same "
        "sound is in training and test sets: a.wav#t=0,1.5 (fold 1) and a.wav#t=1,2 (fold 2). Put all segments of a "
        "file into one fold" in said
    )
    assert "advice: torn recordings: 2 recordings in several folds" in said
