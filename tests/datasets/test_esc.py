"""ESC-50 and ESC-10 as published: their authors' folds, through `data.name=folder`."""

from collections import Counter
from pathlib import Path

import pytest
from test_search import sound

from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.check import check_data
from loglearn_tf.errors import DataError, MissingDataError

HEADER = "filename,fold,target,category,esc10,src_file,take"
# Published rows, and two more folds.
ROWS = [
    "1-100032-A-0.wav,1,0,dog,True,100032,A",
    "1-100038-A-14.wav,1,14,chirping_birds,False,100038,A",
    "2-114280-A-0.wav,2,0,dog,True,114280,A",
    "3-100018-A-14.wav,3,14,chirping_birds,False,100018,A",
]
NAMES = [row.split(",")[0] for row in ROWS]
FOLDS = {name: int(name[0]) for name in NAMES}


def esc50(root: Path, *, listed: str = "meta", audio: str = "audio") -> Path:
    (root / listed).mkdir(parents=True, exist_ok=True)
    (root / listed / "esc50.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    for at, name in enumerate(NAMES):
        sound(root / audio / name, seed=at)
    return root


@pytest.mark.parametrize(
    ("listed", "audio"),
    [
        ("meta", "audio"),
        ("ESC-50-master/meta", "ESC-50-master/audio"),
        ("", "audio"),
        ("", "audio/audio"),
        ("", ""),
        ("meta", ""),
    ],
)
def test_esc50_and_its_mirrors(tmp_path, listed, audio):
    dataset = load_dataset("folder", esc50(tmp_path, listed=listed, audio=audio))
    assert dataset.classes == ("chirping_birds", "dog")
    assert {clip.clip_id: clip.fold for clip in dataset.clips} == FOLDS
    assert {clip.clip_id: dataset.classes[clip.label] for clip in dataset.clips} == {
        row.split(",")[0]: row.split(",")[3] for row in ROWS
    }
    assert dataset.train_folds == {1: (3,), 2: (1,), 3: (2,)}
    official = load_dataset("folder", esc50(tmp_path / "official"))
    assert dataset.fingerprint == official.fingerprint, "wherever the files lie"


def test_data_check_of_esc50(tmp_path):
    root = esc50(tmp_path)
    (root / "audio" / NAMES[0]).unlink()
    sound(root / "audio" / "1-1-A-1.wav", seed=9)
    report = check_data(root)
    assert report.dataset.name == "folder" and len(report.dataset.clips) == 3
    assert [clip.name for clip in report.found("missing")] == [NAMES[0]]
    assert [clip.name for clip in report.found("stray")] == ["audio/1-1-A-1.wav"]
    with pytest.raises(MissingDataError, match=r"1 of the 4 clips listed in .*meta/esc50.csv are missing"):
        load_dataset("folder", root)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "a.wav,6,0,dog",
            r"line 2: must have a file name, a fold from 1 to 5 and a category. Received: 'a.wav', '6'",
        ),
        ("../a.wav,1,0,dog", "Received: '../a.wav'"),
        ("a.wav,1,0,", "Received: 'a.wav', '1', ''"),
        ("a.wav", "Received: 'a.wav', '', ''"),
    ],
)
def test_a_wrong_row(tmp_path, row, message):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text(f"filename,fold,target,category\n{row}\n")
    with pytest.raises(DataError, match=message):
        load_dataset("folder", tmp_path)


def test_a_list_that_lacks_a_column(tmp_path):
    (tmp_path / "esc50.csv").write_text("filename,category\na.wav,dog\n")
    with pytest.raises(DataError, match="has no column `fold`"):
        load_dataset("folder", tmp_path)


def test_two_lists(tmp_path):
    esc50(tmp_path / "a"), esc50(tmp_path / "b")
    with pytest.raises(
        DataError, match=r"contains several lists: .*a/meta/esc50.csv, .*b/meta/esc50.csv. Name the folder"
    ):
        load_dataset("folder", tmp_path)


@pytest.mark.parametrize("place", ["audio/", "", "fold{}/"])
def test_esc50_without_its_list(tmp_path, place):
    for name in NAMES:
        sound(tmp_path / f"{place.format(name[0])}{name}")
    with pytest.raises(DataError, match=r"contains clips of ESC-50 without the list of their classes, esc50.csv"):
        load_dataset("folder", tmp_path)


class TestByName:
    @pytest.fixture
    def esc10(self, tmp_path) -> Path:
        for label in ("001 - Dog bark", "002 - Rain"):
            for fold in range(1, 6):
                for take in "AB":
                    sound(tmp_path / label / f"{fold}-{30226 + fold}-{take}.ogg")
        return tmp_path

    def test_folds_are_those_of_the_names(self, esc10):
        dataset = load_dataset("folder", esc10, n_folds=3)
        assert dataset.classes == ("001 - Dog bark", "002 - Rain")
        assert all(clip.fold == int(Path(clip.clip_id).name[0]) for clip in dataset.clips)
        assert Counter(clip.fold for clip in dataset.clips) == dict.fromkeys(range(1, 6), 4)

    def test_another_recording_among_them(self, esc10):
        sound(esc10 / "002 - Rain" / "mine.ogg")
        with pytest.raises(DataError, match=r"starting with the fold .*, and others: 002 - Rain/mine.ogg. Move these"):
            load_dataset("folder", esc10)

    def test_names_of_ones_own_are_dealt(self, tmp_path):
        for label in ("dog", "rain"):
            for at in range(6):
                sound(tmp_path / label / f"1-{at}.wav")
        assert {clip.fold for clip in load_dataset("folder", tmp_path, n_folds=2, validation_fold="none").clips} == {
            1,
            2,
        }


def test_esc10_itself(shared):
    root = shared / "data" / "ESC-10"
    dataset, listed = load_dataset("folder", root), load_dataset("folder", root / "clips.csv")
    assert {clip.clip_id: clip.fold for clip in dataset.clips} == {clip.clip_id: clip.fold for clip in listed.clips}
    assert Counter(clip.fold for clip in dataset.clips) == dict.fromkeys(range(1, 6), 80)
