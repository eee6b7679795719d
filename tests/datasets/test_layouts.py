"""Folders that are plainly no classes are refused with the remedy, by `data check`, `plan` and `run` alike."""

from pathlib import Path

import pytest

from loglearn_tf.cli import main
from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.layouts import refuse
from loglearn_tf.errors import DataError

US8K = ("100032-3-0-0.wav", "100263-2-0-117.wav")
SCENES_META = "audio/b020_90_100.wav\tbeach\naudio/a001_0_10.wav\tcafe/restaurant\n"
TAU_META = (
    "filename\tscene_label\tidentifier\tsource_label\naudio/airport-lisbon-1000-40000-a.wav\tairport\tlisbon-1000\ta\n"
)


def put(root: Path, *names: str, text: str = "") -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def folders(root: Path, *names: str) -> Path:
    """A folder each, with two sounds."""
    return put(root, *(f"{name}/{at}.wav" for name in names for at in range(2)))


@pytest.mark.parametrize(
    "names",
    [
        ("fold1", "fold2", "fold10"),
        ("fold_1", "fold_2"),
        ("Fold 0", "Fold 1"),
        ("split1", "split2"),
        ("train", "test"),
        ("train", "valid"),
        ("Training", "Testing", "notes"),
        ("dev", "eval"),
        ("development", "evaluation"),
        ("train", "validation", "test"),
        ("train_set", "test_set"),
        ("audio_train", "audio_test"),
        ("FSDKaggle2018.audio_train", "FSDKaggle2018.audio_test", "FSDKaggle2018.meta"),
        ("audio", "meta"),
        ("audio", "metadata"),
        ("wav", "annotations"),
        ("audio", "evaluation_setup", "doc"),
    ],
    ids=" ".join,
)
def test_what_is_no_class(tmp_path, names):
    folders(tmp_path, *names)
    with pytest.raises(DataError) as caught:
        refuse(tmp_path)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path} must contain one folder per class. Received")
    assert "list the recordings in a CSV file with the columns path, label and fold (`data.root=clips.csv`)" in said
    with pytest.raises(DataError) as again:
        load_dataset("folder", tmp_path)
    assert str(again.value) == said


@pytest.mark.parametrize(
    "names",
    [
        ("bus", "train", "tram"),  # a vehicle
        ("test", "rain"),
        ("0", "1", "2"),  # spoken digits
        ("01", "02"),
        ("dog", "rain"),
        ("001 - Dog bark", "002 - Rain"),
        ("folder", "unfold"),
        ("Ключ", "東京"),
        ("🎧", "🐶"),
        ("sound of rain", "sound of wind"),
        ("marketplace", "partridge"),
    ],
    ids=" ".join,
)
def test_what_may_be_classes(tmp_path, names):
    folders(tmp_path, *names)
    refuse(tmp_path)
    dataset = load_dataset("folder", tmp_path, n_folds=2, validation_fold="none")
    assert dataset.classes == tuple(sorted(names))


def test_a_csv_file_insists(tmp_path):
    folders(tmp_path, "train", "test")
    rows = [f"{label}/{at}.wav,{label},{at + 1}" for label in ("train", "test") for at in range(2)]
    listed = put(tmp_path, "clips.csv", text="\n".join(["path,label,fold", *rows])) / "clips.csv"
    assert load_dataset("folder", listed, validation_fold="none").classes == ("test", "train")


def test_nothing_there_is_no_fault_of_the_layout(tmp_path):
    refuse(tmp_path / "absent")
    refuse(tmp_path)
    refuse(put(tmp_path, "a.csv") / "a.csv")


def test_classes_one_folder_deeper(tmp_path):
    folders(tmp_path, "recordings of 2024/dog", "recordings of 2024/rain")
    with pytest.raises(
        DataError,
        match=r"Received one, recordings of 2024, which contains 2 more. Name it: "
        r"`data.root=",
    ):
        refuse(tmp_path)
    refuse(tmp_path / "recordings of 2024")


@pytest.mark.parametrize("target", ["..", "/", "."])
def test_links_to_folders_around_are_not_gone_into(tmp_path, target):
    """A list that lies beside the root, or anywhere on the disk, is not the root's."""
    root = folders(tmp_path / "set", "dog", "rain")
    put(tmp_path, "UrbanSound8K.csv")
    (root / "dog" / "link").symlink_to(target)
    refuse(root)


class TestUrbanSound8K:
    @pytest.mark.parametrize("fold", ["fold{}", "fold_{}", "{}", "fold{}/deep"])
    def test_its_list_lies_beside(self, tmp_path, fold):
        put(tmp_path, *(f"{fold.format(at + 1)}/{name}" for at, name in enumerate(US8K)), "UrbanSound8K.csv")
        with pytest.raises(DataError, match=r"UrbanSound8K.csv; its folders are not classes. Set `data.name=us8k`"):
            load_dataset("folder", tmp_path)

    @pytest.mark.parametrize("place", ["fold{}/", "{}/", "audio/", ""])
    def test_without_its_list(self, tmp_path, place):
        root = tmp_path / "set"
        put(root, *(f"{place.format(at + 1)}{name}" for at, name in enumerate(US8K)))
        with pytest.raises(DataError) as caught:
            load_dataset("folder", root)
        assert (
            f"{root} contains clips of UrbanSound8K without the list of their classes and folds, UrbanSound8K.csv"
        ) in str(caught.value)
        assert "Put UrbanSound8K.csv next to them, and set `data.name=us8k`." in str(caught.value)
        put(tmp_path, "metadata/UrbanSound8K.csv")
        with pytest.raises(DataError, match=f"Name the folder that contains both: `data.root={tmp_path}`"):
            load_dataset("folder", root)

    def test_in_folders_of_its_classes_they_are_classes(self, tmp_path):
        put(tmp_path, *(f"{label}/{at}{name}" for label in ("dog_bark", "siren") for at in "12" for name in US8K))
        assert load_dataset("folder", tmp_path, n_folds=2, validation_fold="none").classes == ("dog_bark", "siren")


class TestScenes:
    @pytest.mark.parametrize("above", ["", "sets"])
    def test_of_2016(self, tmp_path, above):
        """With their lists they are read: see test_scenes.py."""
        part = tmp_path / above / "TUT-acoustic-scenes-2016-development"
        put(part, "audio/b020_90_100.wav", "evaluation_setup/README")
        put(part, "meta.txt", text=SCENES_META)
        for root in (part.parent, part):
            with pytest.raises(DataError) as caught:
                load_dataset("folder", root)
            assert str(caught.value).startswith(
                f"{part} is TUT Acoustic Scenes 2016, without its training and test lists"
            )
            assert ("Unpack the archive with these lists there, or list its recordings in a CSV file") in str(
                caught.value
            )
        with pytest.raises(FileNotFoundError, match="metadata not found: .* is TUT Acoustic Scenes 2016"):
            load_dataset("tut", part.parent)

    @pytest.mark.parametrize(
        ("name", "title"),
        [
            ("TUT-urban-acoustic-scenes-2018-development", "TUT Urban Acoustic Scenes 2018"),
            ("TUT-urban-acoustic-scenes-2018-mobile-development", "TUT Urban Acoustic Scenes 2018"),
            ("TAU-urban-acoustic-scenes-2020-mobile-development", "TAU Urban Acoustic Scenes 2020"),
            ("renamed", "acoustic scenes"),
        ],
    )
    def test_of_later_years(self, tmp_path, name, title):
        put(tmp_path / name, "audio/a.wav")
        put(tmp_path / name, "meta.csv", text=TAU_META)
        for root in (tmp_path, tmp_path / name):
            with pytest.raises(
                DataError,
                match=f"{name} is {title}, without its training and test lists, .* labels are in its meta.csv",
            ):
                load_dataset("folder", root)

    def test_for_evaluation_without_labels(self, tmp_path):
        part = tmp_path / "TAU-urban-acoustic-scenes-2019-evaluation"
        put(part, "audio/0.wav")
        put(part, "meta.csv", text="filename\naudio/0.wav\n")
        with pytest.raises(DataError, match="Scenes 2019, an evaluation set: its lists have no labels, so nothing can"):
            load_dataset("folder", part)

    def test_one_part_of_2017(self, tmp_path):
        part = put(tmp_path / "TUT-acoustic-scenes-2017-development", "audio/a.wav")
        put(part, "meta.txt", text=SCENES_META)
        with pytest.raises(DataError, match=f"`data.name=tut` reads .* folder with both parts: `data.root={tmp_path}`"):
            load_dataset("folder", part)

    def test_a_text_in_a_class_is_no_list(self, tmp_path):
        folders(tmp_path, "dog", "rain")
        put(tmp_path, "meta.txt", text="recorded in spring\n")
        refuse(tmp_path)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_study_says_so_before_any_work(tmp_path, capsys, command):
    root = folders(tmp_path / "set", "fold1", "fold2")
    overrides = [f"data.root={root}", "name=x", f"runs_dir={tmp_path / 'runs'}"]
    assert main([command, "folder", *overrides]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"loglearn: {root} must contain one folder per class. Received folds: fold1, fold2.")
    assert said.count("\n") == 1 and not (tmp_path / "runs").exists()


def test_data_check_says_so(tmp_path, capsys):
    assert main(["data", "check", str(folders(tmp_path, "train", "test"))]) == 2
    assert "Received training and test parts: test, train." in capsys.readouterr().err


def test_a_plan_needs_no_data(tmp_path, capsys):
    absent = tmp_path / "absent"
    assert main(["plan", "folder", f"data.root={absent}", "name=x", f"runs_dir={tmp_path / 'runs'}"]) == 0
