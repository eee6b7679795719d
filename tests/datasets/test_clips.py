"""The list of clips: ordered, whole, the same on every machine; a test fold never trains for itself."""

import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT

from loglearn_tf.datasets import DATASETS, load_dataset
from loglearn_tf.datasets.clips import Clip, DataSet, check_clips
from loglearn_tf.errors import ConfigError, DataError, MissingDataError
from loglearn_tf.features.build import build_store
from loglearn_tf.features.store import MelStore
from loglearn_tf.study.settings import load_settings

METADATA = Path("metadata.csv")


def data_set(root: Path, *clips: tuple[str, int, int]) -> DataSet:
    """Clips are (name, label, fold). Test fold 1 trains on 3, fold 2 on 1 and 3, fold 3 on 1."""
    return DataSet(
        name="us8k",
        root=root,
        classes=("dog_bark", "siren"),
        clips=tuple(Clip(name, root / f"fold{fold}" / name, label, fold) for name, label, fold in clips),
        train_folds={1: (3,), 2: (1, 3), 3: (1,)},
        official=True,
    )


def put(dataset: DataSet) -> DataSet:
    """Puts the clips on disk; only their names matter."""
    for clip in dataset.clips:
        clip.path.parent.mkdir(parents=True, exist_ok=True)
        clip.path.touch()
    return dataset


def ids(clips) -> list[str]:
    return [clip.clip_id for clip in clips]


# ---- check_clips ----------------------------------------------------------------------------------------------


def test_clips_are_ordered_by_id_and_otherwise_unchanged(tmp_path):
    given = put(data_set(tmp_path, ("c.wav", 0, 1), ("a.wav", 1, 3), ("b.wav", 0, 2)))
    checked = check_clips(given, metadata=METADATA, allow_missing=False)
    assert ids(checked.clips) == ["a.wav", "b.wav", "c.wav"]
    assert set(checked.clips) == set(given.clips)
    assert checked.missing == ()


def test_one_missing_clip_is_named_with_the_remedy(tmp_path):
    dataset = put(data_set(tmp_path, ("a.wav", 0, 1), ("b.wav", 0, 1)))
    (tmp_path / "fold1" / "b.wav").unlink()
    with pytest.raises(MissingDataError) as caught:
        check_clips(dataset, metadata=METADATA, allow_missing=False)
    assert str(caught.value) == (
        f"1 of the 2 clips listed in metadata.csv are missing under {tmp_path}: b.wav. "
        "Restore them, or set `data.allow_missing=true` to continue without them (the report will show how many)."
    )
    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize(
    ("n_missing", "shown"),
    [
        (5, "01.wav, 02.wav, 03.wav, 04.wav, 05.wav. Restore"),
        (6, "01.wav, 02.wav, 03.wav, 04.wav, 05.wav, and 1 more. Restore"),
        (1205, "0001.wav, 0002.wav, 0003.wav, 0004.wav, 0005.wav, and 1,200 more. Restore"),
    ],
)
def test_many_missing_clips_are_counted_and_five_named(tmp_path, n_missing, shown):
    width = 4 if n_missing > 99 else 2
    absent = [(f"{number:0{width}}.wav", 0, 1) for number in range(1, n_missing + 1)]
    dataset = data_set(tmp_path, ("there.wav", 0, 2), *absent)
    put(replace(dataset, clips=dataset.clips[:1]))
    with pytest.raises(MissingDataError) as caught:
        check_clips(dataset, metadata=METADATA, allow_missing=False)
    assert str(caught.value).startswith(f"{n_missing:,} of the {n_missing + 1:,} clips listed")
    assert f": {shown}" in str(caught.value)


def test_missing_clips_can_be_left_out_and_are_listed(tmp_path):
    dataset = put(data_set(tmp_path, ("a.wav", 0, 1), ("b.wav", 1, 1), ("c.wav", 0, 2), ("d.wav", 1, 2)))
    (tmp_path / "fold1" / "b.wav").unlink()
    (tmp_path / "fold2" / "d.wav").unlink()
    checked = check_clips(dataset, metadata=METADATA, allow_missing=True)
    assert ids(checked.clips) == ["a.wav", "c.wav"]
    assert checked.missing == ("b.wav", "d.wav")


@pytest.mark.parametrize("allow_missing", [False, True])
def test_all_clips_missing_is_an_error_even_where_some_may_be(tmp_path, allow_missing):
    """The root is wrong, or the audio was never unpacked: `allow_missing` would not help."""
    dataset = data_set(tmp_path, ("a.wav", 0, 1), ("b.wav", 0, 2))
    with pytest.raises(MissingDataError) as caught:
        check_clips(dataset, metadata=METADATA, allow_missing=allow_missing)
    assert str(caught.value).startswith("2 of the 2 clips")
    assert str(caught.value).endswith("a.wav, b.wav. Restore them.")


def test_a_clip_in_the_wrong_folder_is_missing(tmp_path):
    dataset = put(data_set(tmp_path, ("a.wav", 0, 1), ("b.wav", 0, 2)))
    (tmp_path / "fold2" / "b.wav").rename(tmp_path / "fold1" / "b.wav")
    with pytest.raises(MissingDataError, match="1 of the 2 clips"):
        check_clips(dataset, metadata=METADATA, allow_missing=False)


def test_a_clip_listed_twice(tmp_path):
    """Also in two folds: its copy would train for its own test."""
    dataset = put(data_set(tmp_path, ("a.wav", 0, 1), ("b.wav", 0, 1), ("a.wav", 0, 2)))
    with pytest.raises(DataError, match=r"^Clip a\.wav is listed 2 times in metadata\.csv\. Restore"):
        check_clips(dataset, metadata=METADATA, allow_missing=True)


def test_no_clips_listed(tmp_path):
    with pytest.raises(DataError, match=r"^No clips are listed in metadata\.csv\."):
        check_clips(data_set(tmp_path), metadata=METADATA, allow_missing=True)


# ---- Names -----------------------------------------------------------------------------------------------------

COMPOSED, APART = "caf\u00e9", "cafe\u0301"  # é, and e with an accent of its own, as macOS writes it


@pytest.fixture
def csv_of(tmp_path):
    """Writes a list of these paths, in two classes and folds."""

    def write(*names: str) -> Path:
        path = tmp_path / "clips.csv"
        rows = [f"{name},{'ab'[at % 2]},{at % 2 + 1}" for at, name in enumerate(names)]
        path.write_text("\n".join(["path,label,fold", *rows]), encoding="utf-8")
        return path

    return write


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    if not {name.split("/")[0] for name in names} <= set(os.listdir(root)):
        pytest.skip("this file system has one form of Unicode")


@pytest.mark.parametrize(("listed", "there"), [(COMPOSED, APART), (APART, COMPOSED)], ids=["macOS", "the other way"])
def test_names_may_have_another_form_of_unicode(tmp_path, csv_of, listed, there):
    touch(tmp_path, f"{there}/{there}.wav", "b.wav")
    dataset = load_dataset("folder", csv_of(f"{listed}/{listed}.wav", "b.wav"), validation_fold="none")
    assert set(ids(dataset.clips)) == {f"{listed}/{listed}.wav", "b.wav"}, "ids are as listed"
    paths = {clip.clip_id: clip.path for clip in dataset.clips}
    assert paths[f"{listed}/{listed}.wav"] == tmp_path / there / f"{there}.wav"
    assert dataset.clips[-1].n_bytes and dataset.clips[-1].checksum


def test_the_form_that_is_listed_comes_first(tmp_path, csv_of):
    touch(tmp_path, f"{APART}.wav", f"{COMPOSED}.wav", "b.wav")
    dataset = load_dataset("folder", csv_of(f"{COMPOSED}.wav", f"{APART}.wav", "b.wav"), validation_fold="none")
    assert {clip.clip_id: clip.path.name for clip in dataset.clips} == {
        name: name for name in (f"{COMPOSED}.wav", f"{APART}.wav", "b.wav")
    }


def test_two_forms_that_are_listed_and_one_that_is_there(tmp_path, csv_of):
    touch(tmp_path, f"{APART}.wav", "b.wav")
    with pytest.raises(DataError, match=r"\.wav is listed twice in .*clips.csv, in two forms. List it once"):
        load_dataset("folder", csv_of(f"{COMPOSED}.wav", f"{APART}.wav", "b.wav"), validation_fold="none")


def test_forms_of_which_none_is_the_one_listed(tmp_path, csv_of):
    """Of two accents, either can stand in the letter."""
    half = ["\u1e69", "s\u0323\u0307", "\u1e63\u0307"]  # ṩ, three ways
    touch(tmp_path, f"{half[1]}.wav", f"{half[2]}.wav", "b.wav")
    with pytest.raises(MissingDataError, match=r"is missing; found with other Unicode normalisation: "):
        load_dataset("folder", csv_of(f"{half[0]}.wav", "b.wav"), validation_fold="none")


def test_names_that_differ_in_capitals_are_said(tmp_path, csv_of):
    touch(tmp_path, "Dog.WAV", "b.wav")
    if (tmp_path / "dog.wav").exists():
        pytest.skip("this file system does not tell capitals apart")
    with pytest.raises(MissingDataError, match=r"dog.wav is missing; found with other capitals: 'Dog.WAV'"):
        load_dataset("folder", csv_of("dog.wav", "b.wav"), validation_fold="none")


def test_classes_that_differ_in_the_form_of_unicode(tmp_path):
    touch(tmp_path, f"{APART}/1.wav", f"{COMPOSED}/1.wav", "b/1.wav")
    with pytest.raises(
        DataError, match=r"must not contain classes that differ only in Unicode normalisation. Received: 'cafe"
    ):
        load_dataset("folder", tmp_path, n_folds=2, validation_fold="none")


@pytest.mark.parametrize("target", ["a.wav", "nowhere", ".git/annex/objects/x"])
def test_links_to_nothing_are_missing_and_say_why(tmp_path, csv_of, target):
    touch(tmp_path, "b.wav")
    (tmp_path / "a.wav").symlink_to(target)
    why = "git-annex has not fetched it. Run `git annex get`" if "annex" in target else f"it is a link to {target}"
    with pytest.raises(MissingDataError, match=f"a.wav: {why}"):
        load_dataset("folder", csv_of("a.wav", "b.wav"), validation_fold="none")
    (tmp_path / "c.wav").mkdir()
    with pytest.raises(MissingDataError, match=r"c.wav is not a file\. Restore"):
        load_dataset("folder", csv_of("b.wav", "c.wav"), validation_fold="none")


def test_a_folder_of_clips_that_cannot_be_listed(tmp_path, csv_of, monkeypatch):
    touch(tmp_path, "b.wav", "a.wav")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        DataError, match=f"Folder {tmp_path} cannot be listed: Permission denied. Check its permissions"
    ):
        load_dataset("folder", csv_of("a.wav", "b.wav"), validation_fold="none")


# ---- Roles of the folds ---------------------------------------------------------------------------------------


@pytest.fixture
def three_folds() -> DataSet:
    return data_set(Path("root"), ("a.wav", 0, 1), ("b.wav", 1, 1), ("c.wav", 0, 2), ("d.wav", 0, 3))


@pytest.mark.parametrize(
    ("fold", "test", "train"),
    [
        (1, ["a.wav", "b.wav"], ["d.wav"]),
        (2, ["c.wav"], ["a.wav", "b.wav", "d.wav"]),
        (3, ["d.wav"], ["a.wav", "b.wav"]),
    ],
)
def test_roles(three_folds, fold, test, train):
    assert ids(three_folds.test_clips(fold)) == test
    assert ids(three_folds.train_clips(fold)) == train


@pytest.mark.parametrize("method", [DataSet.test_clips, DataSet.train_clips])
def test_there_is_no_such_fold(three_folds, method):
    message = r"^`folds` must be test folds of us8k: 1, 2, 3\. Received: fold 4\.$"
    with pytest.raises(ConfigError, match=message):
        method(three_folds, 4)


@pytest.mark.parametrize("method", [DataSet.test_clips, DataSet.train_clips])
def test_a_fold_without_clips_names_those_with_some(three_folds, method):
    part = replace(three_folds, clips=tuple(clip for clip in three_folds.clips if clip.fold != 1))
    message = r"^Fold 1 has no clips in root, which has folds 2, 3\. Choose among these, for example `folds=\[2\]`\.$"
    with pytest.raises(ConfigError, match=message):
        method(part, 1)


def test_where_no_fold_has_clips_none_is_named(three_folds):
    trains = replace(three_folds, train_folds={1: (3,)}, clips=three_folds.clips[-1:])
    with pytest.raises(
        ConfigError, match=r"^Fold 1 has no clips in root, and neither has any other test fold\. Restore them\.$"
    ):
        trains.test_clips(1)


# ---- Fingerprint ----------------------------------------------------------------------------------------------


def fingerprint(root: Path, *clips: tuple[str, int, int]) -> str:
    return check_clips(put(data_set(root, *clips)), metadata=METADATA, allow_missing=False).fingerprint


def test_the_fingerprint_is_the_same_on_every_machine(tmp_path):
    here = fingerprint(tmp_path / "here", ("a.wav", 0, 1), ("b.wav", 1, 2))
    there = fingerprint(tmp_path / "there" / "UrbanSound8K", ("b.wav", 1, 2), ("a.wav", 0, 1))
    assert here == there


@pytest.mark.parametrize(
    "clips",
    [
        [("a.wav", 0, 1), ("b.wav", 0, 2)],
        [("a.wav", 0, 1), ("b.wav", 1, 3)],
        [("a.wav", 0, 1), ("c.wav", 1, 2)],
        [("a.wav", 0, 1)],
        [("a.wav", 0, 1), ("b.wav", 1, 2), ("c.wav", 1, 2)],
    ],
    ids=["label", "fold", "name", "one less", "one more"],
)
def test_the_fingerprint_tells_lists_apart(tmp_path, clips):
    assert fingerprint(tmp_path / "one", ("a.wav", 0, 1), ("b.wav", 1, 2)) != fingerprint(tmp_path / "other", *clips)


def test_the_fingerprint_tells_data_sets_apart(three_folds):
    assert three_folds.fingerprint != replace(three_folds, name="tut").fingerprint


def test_clips_left_out_change_the_fingerprint(tmp_path):
    whole = check_clips(
        put(data_set(tmp_path, ("a.wav", 0, 1), ("b.wav", 1, 2))), metadata=METADATA, allow_missing=True
    )
    (tmp_path / "fold2" / "b.wav").unlink()
    assert check_clips(whole, metadata=METADATA, allow_missing=True).fingerprint != whole.fingerprint


# ---- By name --------------------------------------------------------------------------------------------------


def test_data_sets_have_names():
    assert {name: len(corpus.classes) for name, corpus in DATASETS.items()} == {"us8k": 10, "tut": 15, "folder": 0}


def test_an_unknown_data_set(tmp_path):
    with pytest.raises(
        ValueError, match=r"^`name` must name a data set from the list.*Received: 'esc50'\. Known: folder, tut, us8k\.$"
    ):
        load_dataset("esc50", tmp_path)


def test_a_replaced_sound_of_the_same_size_is_another_data_set(tmp_path):
    """As when all recordings are attenuated: same names, formats and sizes."""
    dataset = put(data_set(tmp_path, ("a.wav", 0, 1), ("b.wav", 1, 3)))
    sound = bytes(range(256)) * 100
    dataset.clips[0].path.write_bytes(b"RIFF" + sound)
    before = check_clips(dataset, metadata=METADATA, allow_missing=False)
    again = check_clips(dataset, metadata=METADATA, allow_missing=False)
    dataset.clips[0].path.write_bytes(b"RIFF" + sound[::-1])
    after = check_clips(dataset, metadata=METADATA, allow_missing=False)
    assert before.fingerprint == again.fingerprint != after.fingerprint
    assert before.clips[0].n_bytes == after.clips[0].n_bytes and before.clips[1] == after.clips[1]


@pytest.mark.parametrize(
    "at", [0, 24, 27, 4095, 25_000, 27_000, -4096, -1], ids=lambda at: f"byte {at}" if at >= 0 else f"byte {at} of last"
)
def test_one_other_byte_near_beginning_middle_or_end_is_another_sound(tmp_path, at):
    dataset = put(data_set(tmp_path, ("a.wav", 0, 1), ("b.wav", 1, 3)))
    sound = bytearray(bytes(range(256)) * 200)
    dataset.clips[0].path.write_bytes(sound)
    before = check_clips(dataset, metadata=METADATA, allow_missing=False)
    sound[at] ^= 1
    dataset.clips[0].path.write_bytes(sound)
    after = check_clips(dataset, metadata=METADATA, allow_missing=False)
    assert before.clips[0].sound != after.clips[0].sound and before.fingerprint != after.fingerprint


def test_a_corrected_sample_rate_makes_another_store_and_other_runs(tmp_path):
    """Four bytes of the header: the size of the file and all samples are the same."""
    dataset = put(data_set(tmp_path, ("a.wav", 0, 1), ("b.wav", 1, 3)))
    samples = (1000 * np.sin(np.arange(20_000))).astype("<i2")
    for clip in dataset.clips:
        soundfile.write(clip.path, samples, 44_100, subtype="PCM_16")

    def built() -> tuple[DataSet, MelStore]:
        checked = check_clips(dataset, metadata=METADATA, allow_missing=False)
        front_end = load_settings(ROOT / "experiments" / "us8k.yaml").features.front_end
        return checked, build_store(checked.clips, name="test", front_end=front_end, store_dir=tmp_path / "stores")

    before, store = built()
    header = bytearray(dataset.clips[0].path.read_bytes())
    header[24:32] = struct.pack("<II", 22_050, 44_100)
    dataset.clips[0].path.write_bytes(header)
    after, corrected = built()
    assert after.fingerprint != before.fingerprint and corrected.folder != store.folder
    # The store of before is left alone, and is no obstacle.
    assert len(corrected.mel(after.clips[0])) == pytest.approx(2 * len(store.mel(before.clips[0])), abs=2)


# ---- Metadata without end ---------------------------------------------------------------------------------------

US8K_HEAD = "slice_file_name,fold,classID,class"
TUT_META = "TUT-acoustic-scenes-2017-development/meta.txt"
TUT_LISTS = "TUT-acoustic-scenes-2017-development/evaluation_setup/fold1_evaluate.txt"
# Data set -> the file of its metadata, its head, and a row.
FORMATS = {
    "us8k": ("metadata/UrbanSound8K.csv", US8K_HEAD + "\n", "{}.wav,5,3,dog_bark\n"),
    "tut": (TUT_META, "", "audio/{}.wav\tbeach\n"),
    "tut, lists": (TUT_LISTS, "", "audio/{}.wav\tbeach\n"),
    "folder": ("clips.csv", "path,label,fold\n", "{}.wav,dog,1\n"),
}


def metadata(tmp_path: Path, name: str, text: str = "") -> tuple[str, Path, Path]:
    """Name and root for `load_dataset`, and the file."""
    path = tmp_path / FORMATS[name][0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return name.partition(",")[0], path if name == "folder" else tmp_path, path


@pytest.mark.parametrize("name", FORMATS)
def test_more_rows_than_any_data_set_has_are_not_read_to_their_end(tmp_path, name, monkeypatch):
    monkeypatch.setattr("loglearn_tf.datasets.clips.MOST_CLIPS", 100)
    _, head, row = FORMATS[name]
    of, root, path = metadata(tmp_path, name, head + "".join(row.format(at) for at in range(100)))
    with pytest.raises(DataError, match="missing|not found|at least two classes"):  # all are read
        load_dataset(of, root)
    with path.open("a", encoding="utf-8") as file:
        file.write(row.format(100) + "no row at all\n")
    with pytest.raises(DataError) as caught:
        load_dataset(of, root)
    assert str(caught.value).startswith(f"{path} may list at most 100 clips. Received: more.")


@pytest.mark.parametrize("before", [0, 3], ids=["in the first row", "in a later row"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_row_without_end_is_not_read_to_its_end(tmp_path, name, before):
    _, head, row = FORMATS[name]
    text = (head + "".join(row.format(at) for at in range(before))) if before else ""
    of, root, path = metadata(tmp_path, name, text)
    with path.open("r+b") as file:
        file.truncate(1 << 30)  # sparse: zeros, that take no place
    with pytest.raises(DataError) as caught:
        load_dataset(of, root)
    assert str(caught.value).startswith(f"{path} may have at most 100,000 characters per row. Received: more")


@pytest.mark.parametrize(
    "lines", ['"\n",' * 60_000, "\n" * 110_000, '"' + "a\n" * 60_000], ids=["many fields", "empty lines", "one field"]
)
@pytest.mark.parametrize("name", ["us8k", "folder"])
def test_a_row_of_many_lines_is_not_read_to_its_end(tmp_path, name, lines):
    of, root, path = metadata(tmp_path, name, FORMATS[name][1] + lines)
    with pytest.raises(DataError, match="may have at most 100,000 characters per row"):
        load_dataset(of, root)


def test_rows_are_bounded_one_by_one(tmp_path):
    """Not all of them together."""
    root = tmp_path / "clips.csv"
    root.write_text("path,label,fold,notes\n" + "".join(f"{at}.wav,dog,1,{'x' * 90_000}\n" for at in range(9)))
    with pytest.raises(DataError, match="at least two classes. Received: dog."):
        load_dataset("folder", root)


def test_errors_show_nothing_that_terminals_obey(tmp_path):
    for name, label in (("a\x1b[2J.wav", "dog"), ("a.wav", "\x1b[2J"), ("b.wav", "x" * 1000)):
        root = tmp_path / "clips.csv"
        root.write_text(f'path,label,fold\n"{name}","{label}",1\n"{name}","{label}",2\n', encoding="utf-8")
        with pytest.raises(DataError) as caught:
            load_dataset("folder", root)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 1000
