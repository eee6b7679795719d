"""Clips know their recording, and folds that are made here never tear one apart."""

import csv
import hashlib
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.recordings import deal, recording_of, torn
from loglearn_tf.errors import DataError

# Clip -> (class, recording); "" is a clip of which no recording is known.
CLIPS = st.dictionaries(
    st.text("abc/.", min_size=1, max_size=6),
    st.tuples(st.sampled_from(["dog", "rain", "siren"]), st.sampled_from(["", "r1", "r2", "r3", "r4"])),
    min_size=1,
    max_size=40,
)


def split(clips):
    return {name: label for name, (label, _) in clips.items()}, {name: group for name, (_, group) in clips.items()}


class TestDeal:
    @settings(max_examples=300, deadline=None)
    @given(CLIPS, st.integers(2, 12))
    def test_no_recording_is_torn_apart_and_every_clip_is_dealt_once(self, clips, n_folds):
        labels, groups = split(clips)
        folds = deal(labels, groups, n_folds)
        assert folds.keys() == clips.keys() and set(folds.values()) <= set(range(1, n_folds + 1))
        of_recording = defaultdict(set)
        for name, fold in folds.items():
            of_recording[groups[name] or name].add(fold)  # names and recordings here are never equal
        assert all(len(its_folds) == 1 for its_folds in of_recording.values())
        assert torn(folds, groups) == {}
        # As many folds are used as there are recordings for.
        assert len(set(folds.values())) == 1 or len(of_recording) > 1

    @settings(max_examples=100, deadline=None)
    @given(CLIPS, st.integers(2, 12), st.randoms())
    def test_depends_on_names_alone(self, clips, n_folds, random):
        labels, groups = split(clips)
        shuffled = list(labels.items())
        random.shuffle(shuffled)
        assert deal(dict(shuffled), groups, n_folds) == deal(labels, groups, n_folds)

    @settings(max_examples=100, deadline=None)
    @given(st.sets(st.text("abcd", min_size=1, max_size=5), min_size=1, max_size=40), st.integers(2, 12))
    def test_single_clips_are_dealt_round_as_ever(self, names, n_folds):
        """One after another in the order of the SHA-256 of their names, class by class: folds of existing studies."""
        labels = {name: "odd" if len(name) % 2 else "even" for name in names}
        expected = {}
        for label in ("odd", "even"):
            own = sorted((n for n in names if labels[n] == label), key=lambda n: hashlib.sha256(n.encode()).digest())
            expected |= {name: at % n_folds + 1 for at, name in enumerate(own)}
        assert deal(labels, {}, n_folds) == expected

    def test_recordings_of_equal_size_are_spread_evenly(self):
        labels = {f"{group}-{take}": "rain" for group in range(10) for take in range(4)}
        groups = {name: name.partition("-")[0] for name in labels}
        assert sorted(Counter(deal(labels, groups, 5).values()).values()) == [8] * 5

    def test_one_recording_of_several_classes_is_whole(self):
        labels = {"a": "dog", "b": "rain", "c": "dog", "d": "rain"}
        folds = deal(labels, {"a": "street", "b": "street"}, 2)
        assert folds["a"] == folds["b"] != folds["c"] == folds["d"]


def test_torn_names_recordings_and_their_folds():
    assert torn({"a": 2, "b": 1, "c": 1, "d": 3}, {"a": "x", "b": "x", "c": "y", "d": ""}) == {"x": [1, 2]}


@pytest.mark.parametrize(
    ("name", "recording"),
    [
        ("100032-3-0-0.wav", "100032"),
        ("dog/100263-2-0-117.WAV", "100263"),
        ("1-100032-A-0.wav", "100032"),
        ("5-9032-A.ogg", "9032"),
        ("001 - Dog bark/1-30226-B.ogg", "30226"),
        ("12-3.wav", ""),
        ("2024-03-05-12.wav.txt", ""),
        ("b020_90_100.wav", ""),  # anyone's take_from_to.wav
    ],
)
def test_recordings_by_name(name, recording):
    assert recording_of(name) == recording


class TestClips:
    def test_of_us8k_it_is_freesounds_number(self, us8k, us8k_root):
        with (us8k_root / "metadata" / "UrbanSound8K.csv").open() as file:
            ids = {row["slice_file_name"]: row["fsID"] for row in csv.DictReader(file)}
        assert us8k.recordings == ids
        assert len(set(ids.values())) < len(ids)  # two clips of a class and fold share one

    def test_the_fingerprint_and_equality_do_not_ask(self, us8k):
        other = replace(us8k, clips=tuple(replace(clip, group="") for clip in us8k.clips))
        assert other.fingerprint == us8k.fingerprint and other == us8k
        assert other.recordings == {clip.clip_id: clip.clip_id for clip in us8k.clips}

    def test_official_lists_of_recordings(self, shared):
        """UrbanSound8K's 1,297 recordings, of which its folds tear five."""
        with (shared / "data" / "metadata" / "UrbanSound8K.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert all(recording_of(row["slice_file_name"]) == row["fsID"] for row in rows)
        apart = torn(
            {row["slice_file_name"]: int(row["fold"]) for row in rows},
            {row["slice_file_name"]: row["fsID"] for row in rows},
        )
        assert len({row["fsID"] for row in rows}) == 1297 and len(apart) == 5


class TestOwn:
    @pytest.fixture
    def listed(self, tmp_path):
        def write(*lines, head="path,label,fold,group"):
            for line in lines:
                (tmp_path / line.split(",")[0]).write_bytes(b"x")
            path = tmp_path / "clips.csv"
            path.write_text("\n".join([head, *lines]) + "\n")
            return path

        return write

    def test_a_column_names_groups(self, listed):
        path = listed("a.wav,dog,1,x", "b.wav,rain,1, x ", "c.wav,dog,2,y", "d.wav,rain,2,y")
        found = load_dataset("folder", path, validation_fold="none").recordings
        assert found == {"a.wav": "x", "b.wav": "x", "c.wav": "y", "d.wav": "y"}

    @pytest.mark.parametrize("gap", ["", "   "])
    def test_gaps(self, listed, gap):
        path = listed("a.wav,dog,1,x", f"b.wav,rain,2,{gap}")
        with pytest.raises(DataError, match=r"line 3: `group` must not be empty if others have one. Received: '"):
            load_dataset("folder", path, validation_fold="none")

    def test_a_line_that_ends_before_the_group(self, listed):
        with pytest.raises(DataError, match=r"line 3: `group` must not be empty .* Received: None"):
            load_dataset("folder", listed("a.wav,dog,1,x", "b.wav,rain,2"), validation_fold="none")

    def test_a_column_twice(self, listed):
        with pytest.raises(DataError, match="names `group` twice"):
            load_dataset("folder", listed("a.wav,dog,1,x,y", head="path,label,fold,group,group"))

    def test_one_group_in_several_folds(self, listed):
        path = listed(*(f"{fold}.wav,{label},{fold},same" for fold, label in ((1, "dog"), (2, "rain"), (3, "dog"))))
        with pytest.raises(DataError, match=r"recording same is in folds 1, 2, 3; .* Use one, or remove the col"):
            load_dataset("folder", path, validation_fold="none")

    def test_without_folds_they_are_dealt_and_groups_stay_whole(self, listed):
        lines = [f"{group}-{take}.wav,{label},{group}" for group, label in
                 (("a", "dog"), ("b", "dog"), ("c", "dog"), ("d", "rain"), ("e", "rain"), ("f", "rain"))
                 for take in range(3)]  # fmt: skip
        dataset = load_dataset("folder", listed(*lines, head="path,label,group"), n_folds=3, validation_fold="none")
        folds = defaultdict(set)
        for clip in dataset.clips:
            folds[clip.group].add(clip.fold)
        assert all(len(one) == 1 for one in folds.values())
        assert Counter(clip.fold for clip in dataset.clips) == {1: 6, 2: 6, 3: 6}

    def test_neither_folds_nor_groups(self, listed):
        with pytest.raises(DataError, match="has no column `fold`; its columns are"):
            load_dataset("folder", listed("a.wav,dog", head="path,label"))

    def test_everything_from_one_recording(self, listed):
        path = listed("a.wav,dog,x", "b.wav,rain,x", head="path,label,group")
        with pytest.raises(DataError, match=r"at least two recordings in two folds. Received: 2 clips of 1 in 1. Add"):
            load_dataset("folder", path, validation_fold="none")

    def test_given_folds_that_tear_what_names_tell_are_warned_of(self, listed, caplog):
        path = listed("1-77-A-0.wav,dog,1", "2-77-B-0.wav,rain,2", head="path,label,fold")
        assert set(load_dataset("folder", path, validation_fold="none").recordings.values()) == {"77"}
        (record,) = caplog.records
        assert "recording 77 is in folds 1, 2, according to its file names" in record.getMessage()

    def test_folders_of_classes_keep_recordings_whole(self, tmp_path):
        for label in ("dog", "rain"):
            (tmp_path / label).mkdir()
            for recording in range(4):
                for take in range(3):
                    name = f"{100 + recording}-{label == 'dog':d}-0-{take}.wav"
                    (tmp_path / label / name).write_bytes(b"x")
        dataset = load_dataset("folder", tmp_path, n_folds=4, validation_fold="none")
        folds = {clip.clip_id: clip.fold for clip in dataset.clips}
        assert torn(folds, dataset.recordings) == {}
        assert set(folds.values()) == {1, 2, 3, 4}
