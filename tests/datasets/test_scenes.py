"""Acoustic scenes of TUT and TAU by their official lists: synthetic copies of the layouts of 2016, 2018 and later."""

from itertools import product

import pytest

from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.check import check_data
from loglearn_tf.errors import DataError, MissingDataError

SCENES = ("airport", "metro_station", "park")
HEAD = "filename\tscene_label"


def put(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def sounds(folder, names):
    (folder / "audio").mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"x")


@pytest.fixture
def of_2018(tmp_path):
    """One fold; three cities, of which the third is in no list, as some of 2019's are."""
    folder = tmp_path / "TAU-urban-acoustic-scenes-2019-development"
    names = [
        (f"audio/{scene}-{city}-{at}-{at}0-a.wav", scene, f"{city}-{at}")
        for scene, city, at in product(SCENES, ("barcelona", "helsinki", "milan"), (0, 1))
    ]
    sounds(folder, [name for name, *_ in names])
    put(folder / "meta.csv", f"{HEAD}\tidentifier\tsource_label", *("\t".join((*row, "a")) for row in names))
    setup = folder / "evaluation_setup"
    put(setup / "fold1_train.csv", HEAD, *(f"{name}\t{scene}" for name, scene, at in names if "barcelona" in at))
    put(setup / "fold1_evaluate.csv", HEAD, *(f"{name}\t{scene}" for name, scene, at in names if "helsinki" in at))
    put(setup / "fold1_test.csv", "filename", *(name for name, _, at in names if "helsinki" in at))
    return folder


@pytest.fixture
def of_2016(tmp_path):
    """Four folds, whose lists and `meta.txt` have no head and no locations."""
    folder = tmp_path / "TUT-acoustic-scenes-2016-development"
    names = {f"audio/{chr(97 + at)}00{place}_0_30.wav": scene for at, scene in enumerate(SCENES) for place in range(4)}
    sounds(folder, names)
    put(folder / "meta.txt", *(f"{name}\t{scene}" for name, scene in names.items()))
    for fold in range(1, 5):
        tests = {name: scene for name, scene in names.items() if f"00{fold - 1}_" in name}
        trains = [f"{name}\t{scene}" for name, scene in names.items() if name not in tests]
        put(folder / "evaluation_setup" / f"fold{fold}_train.txt", *trains)
        put(folder / "evaluation_setup" / f"fold{fold}_test.txt", *tests)
        put(folder / "evaluation_setup" / f"fold{fold}_evaluate.txt", *(f"{n}\t{s}" for n, s in tests.items()))
    return folder


@pytest.mark.parametrize("above", [False, True])
def test_one_fold(of_2018, above):
    dataset = load_dataset("folder", of_2018.parent if above else of_2018)
    assert dataset.root == of_2018 and dataset.classes == SCENES and dataset.train_folds == {1: (0,)}
    assert {clip.group for clip in dataset.train_clips(1)} == {"barcelona-0", "barcelona-1"}
    assert {clip.group for clip in dataset.test_clips(1)} == {"helsinki-0", "helsinki-1"}
    assert dataset.validation_clips(1) == ()
    assert [dataset.classes[clip.label] for clip in dataset.test_clips(1)] == sorted([*SCENES, *SCENES])
    assert dataset.clips[0].clip_id == "audio/airport-barcelona-0-00-a.wav"
    assert len(dataset.unused) == 6 and all("milan" in path.name for path in dataset.unused)


@pytest.mark.parametrize("change", ["comma", "no meta", "no head", "bare names", "no evaluate", "no identifier"])
def test_lists_of_other_forms_say_the_same(of_2018, change):
    before = load_dataset("folder", of_2018)
    setup = of_2018 / "evaluation_setup"
    lists = [of_2018 / "meta.csv", *setup.iterdir()]
    if change == "no meta":
        lists[0].unlink()
    elif change == "no evaluate":
        (setup / "fold1_evaluate.csv").unlink()
    elif change == "no identifier":
        put(lists[0], *("\t".join(line.split("\t")[:2]) for line in lists[0].read_text().splitlines()))
    else:
        for path in lists:
            text = path.read_text()
            if change == "no head":
                text = text.partition("\n")[2]
            path.write_text(text.replace("\t", ",") if change == "comma" else text)
            if change == "bare names":
                path.write_text(text.replace("audio/", ""))
    after = load_dataset("folder", of_2018)
    assert after.clips == before.clips and after.recordings == before.recordings
    assert after.fingerprint == before.fingerprint
    assert len(after.unused) == (0 if change == "no meta" else 6)


@pytest.mark.parametrize("validation_fold", ["none", "next"])
def test_four_folds(of_2016, validation_fold):
    dataset = load_dataset("folder", of_2016, validation_fold=validation_fold)
    for fold in range(1, 5):
        assert {clip.group for clip in dataset.test_clips(fold)} == {f"{letter}00{fold - 1}" for letter in "abc"}
        lines = (of_2016 / "evaluation_setup" / f"fold{fold}_train.txt").read_text().splitlines()
        official = {line.split("\t")[0] for line in lines}
        left_out = {clip.clip_id for clip in dataset.validation_clips(fold)}
        assert {clip.clip_id for clip in dataset.train_clips(fold)} == official - left_out
        assert len(left_out) == (3 if validation_fold == "next" else 0)


def test_data_check(of_2018):
    (of_2018 / "audio" / "extra.wav").write_bytes(b"x")
    report = check_data(of_2018)
    assert [clip.name for clip in report.found("stray")] == ["audio/extra.wav"]
    assert len(report.found("unused")) == 6 and len(report.found("unreadable")) == 12


def test_missing(of_2018):
    name = "audio/park-helsinki-1-10-a.wav"
    (of_2018 / name).unlink()
    with pytest.raises(MissingDataError, match=f"1 of the 12 clips .* are missing .*: {name}"):
        load_dataset("folder", of_2018)
    assert load_dataset("folder", of_2018, allow_missing=True).missing == (name,)


class TestFaults:
    @pytest.mark.parametrize(
        ("line", "message"),
        [
            (
                "audio/park-helsinki-1-10-a.wav\tpark",
                "park-helsinki-1-10-a.wav is in the training and test lists of fold 1",
            ),
            ("audio/airport-barcelona-0-00-a.wav\tairport", "fold1_train.csv, line 8: .* is listed twice"),
            (
                "audio/park-milan-0-00-a.wav\tairport",
                "line 8: .* is 'airport', but 'park' according to .*meta.csv, line",
            ),
            ("../park-milan-0-00-a.wav\tpark", "line 8: the file must be in audio/. Received:"),
            ("\tpark", "line 8: the file must be in audio/. Received:"),
        ],
    )
    def test_of_lists(self, of_2018, line, message):
        with (of_2018 / "evaluation_setup" / "fold1_train.csv").open("a") as file:
            file.write(line + "\n")
        with pytest.raises(DataError, match=message):
            load_dataset("folder", of_2018)

    def test_without_labels(self, of_2018):
        (of_2018 / "meta.csv").unlink()
        (of_2018 / "evaluation_setup" / "fold1_evaluate.csv").unlink()
        with pytest.raises(
            MissingDataError, match=r"has no labels for 6 recordings: .* Unpack the archive with meta.csv"
        ):
            load_dataset("folder", of_2018)

    def test_nothing_tests(self, of_2018):
        for role in ("evaluate", "test"):
            (of_2018 / "evaluation_setup" / f"fold1_{role}.csv").unlink()
        with pytest.raises(DataError, match="training and test lists for fold 1. Received: fold1_train.csv"):
            load_dataset("folder", of_2018)

    def test_two_sets(self, of_2016, of_2018):
        with pytest.raises(
            DataError, match="several sets of acoustic scenes: .*2019.*, .*2016.*Name the folder of one"
        ):
            load_dataset("folder", of_2018.parent)
        assert len(load_dataset("folder", of_2016).clips) == 12

    def test_tests_in_two_folds(self, of_2016):
        setup = of_2016 / "evaluation_setup"
        with (setup / "fold2_evaluate.txt").open("a") as file:
            file.write("audio/c000_0_30.wav\tpark\n")
        put(
            setup / "fold2_train.txt",
            *[line for line in (setup / "fold2_train.txt").read_text().splitlines() if "c000" not in line],
        )
        with pytest.raises(DataError, match="c000_0_30.wav is in the test lists of folds 1 and 2"):
            load_dataset("folder", of_2016)

    def test_folds_that_one_number_cannot_say(self, of_2016):
        path = of_2016 / "evaluation_setup" / "fold2_train.txt"
        put(path, *path.read_text().splitlines()[1:])
        with pytest.raises(
            DataError, match="the training list of fold 2 must equal the test lists of the others.* 1 differences"
        ):
            load_dataset("folder", of_2016)


def test_the_reader_of_2017_names_the_other(of_2018):
    with pytest.raises(
        MissingDataError, match=f"{of_2018} is TAU Urban Acoustic Scenes 2019, which `data.name=folder`"
    ):
        load_dataset("tut", of_2018.parent)
