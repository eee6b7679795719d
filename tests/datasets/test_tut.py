"""ASC-TUT: the development set trains, the evaluation set tests; labels are those of the official lists."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.check import detect_layout
from loglearn_tf.datasets.few_shot import check_n_shot
from loglearn_tf.datasets.tut import load_tut
from loglearn_tf.errors import ConfigError, DataError, MissingDataError

DEVELOPMENT, EVALUATION = "TUT-acoustic-scenes-2017-development", "TUT-acoustic-scenes-2017-evaluation"
# File, scene, location: official rows, not in the order of their names.
DEVELOPMENT_META = """\
audio/b020_90_100.wav\tbeach\tb020
audio/b020_110_120.wav\tbeach\tb020
audio/a001_0_10.wav\tcafe/restaurant\ta001
audio/b092_0_10.wav\ttram\tb092
"""
EVALUATION_META = """\
audio/1245.wav\tbeach\tb174
audio/1.wav\tcafe/restaurant\tb100
"""
CLASSES = [
    "beach",
    "bus",
    "cafe/restaurant",
    "car",
    "city_center",
    "forest_path",
    "grocery_store",
    "home",
    "library",
    "metro_station",
    "office",
    "park",
    "residential_area",
    "train",
    "tram",
]


def write(root: Path, part: str, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = root / part / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


def touch_all(root: Path, part: str, meta: str) -> None:
    (root / part / "audio").mkdir(parents=True)
    for line in meta.splitlines():
        (root / part / line.split("\t")[0]).touch()


@pytest.fixture
def root(tmp_path):
    """Six clips in the official layout; the files are empty, as loading looks at names alone."""
    for part, meta in ((DEVELOPMENT, DEVELOPMENT_META), (EVALUATION, EVALUATION_META)):
        write(tmp_path, part, "meta.txt", meta)
        touch_all(tmp_path, part, meta)
    return tmp_path


def labels(dataset) -> dict[str, str]:
    return {clip.clip_id: dataset.classes[clip.label] for clip in dataset.clips}


LABELS = {
    "development/b020_90_100.wav": "beach",
    "development/b020_110_120.wav": "beach",
    "development/a001_0_10.wav": "cafe/restaurant",
    "development/b092_0_10.wav": "tram",
    "evaluation/1245.wav": "beach",
    "evaluation/1.wav": "cafe/restaurant",
}


# ---- Reading --------------------------------------------------------------------------------------------------


def test_reads_the_official_layout(root):
    dataset = load_tut(root)
    assert dataset.name == "tut"
    assert dataset.root == root
    assert list(dataset.classes) == CLASSES
    assert labels(dataset) == LABELS
    assert [clip.clip_id for clip in dataset.clips] == sorted(LABELS)
    paths = {clip.clip_id: clip.path for clip in dataset.clips}
    # The slash of a scene is never part of a path.
    assert paths["evaluation/1.wav"] == root / EVALUATION / "audio" / "1.wav"
    assert dataset.missing == ()
    assert not dataset.synthetic
    assert load_dataset("tut", str(root)) == dataset


def test_development_trains_and_evaluation_tests(root):
    dataset = load_tut(root)
    assert {clip.clip_id for clip in dataset.train_clips(1)} == {name for name in LABELS if name.startswith("dev")}
    assert {clip.clip_id for clip in dataset.test_clips(1)} == {name for name in LABELS if name.startswith("eval")}


@pytest.mark.parametrize("fold", [0, 2])
def test_there_is_one_split(root, fold):
    """Nor is the development set ever the test set."""
    with pytest.raises(ConfigError, match=f"`folds` must be test folds of tut: 1. Received: fold {fold}"):
        load_tut(root).test_clips(fold)


def test_files_of_both_sets_may_have_one_name(root):
    write(root, EVALUATION, "meta.txt", EVALUATION_META + "audio/b092_0_10.wav\tcar\tb092\n")
    (root / EVALUATION / "audio" / "b092_0_10.wav").touch()
    assert labels(load_tut(root)) == {**LABELS, "evaluation/b092_0_10.wav": "car"}


def test_a_set_made_by_the_generator_says_so(root):
    (root / "SYNTHETIC.txt").touch()
    assert load_tut(root).synthetic


def test_stray_files_are_ignored(root):
    (root / DEVELOPMENT / "audio" / "b999_0_10.wav").touch()
    assert labels(load_tut(root)) == LABELS


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: "\ufeff" + meta,
        lambda meta: meta.replace("\n", "\r\n"),
        lambda meta: meta.replace("\n", "\n\n"),
        lambda meta: meta.replace("\tb020", ""),  # without the location
        lambda meta: "\n".join(reversed(meta.splitlines())),
    ],
    ids=["byte order mark", "line ends", "empty lines", "no location", "order"],
)
def test_harmless_differences(root, change):
    expected = load_tut(root)
    write(root, DEVELOPMENT, "meta.txt", change(DEVELOPMENT_META))
    assert load_tut(root) == expected
    assert load_tut(root).fingerprint == expected.fingerprint


def test_a_changed_label_changes_the_fingerprint(root):
    expected = load_tut(root).fingerprint
    write(root, EVALUATION, "meta.txt", EVALUATION_META.replace("beach", "park"))
    assert load_tut(root).fingerprint != expected


# ---- Without meta.txt -----------------------------------------------------------------------------------------


@pytest.fixture
def without_meta(root):
    """As the archives leave it: every development clip is in several lists; the lists for testing have no labels."""
    for part in (DEVELOPMENT, EVALUATION):
        (root / part / "meta.txt").unlink()
    beach, beach_too, cafe, tram = DEVELOPMENT_META.replace("\tb020", "").splitlines()
    setup = "evaluation_setup"
    write(root, DEVELOPMENT, f"{setup}/fold1_train.txt", f"{beach}\n{cafe}\n")
    write(root, DEVELOPMENT, f"{setup}/fold1_evaluate.txt", f"{beach_too}\n{tram}\n")
    write(root, DEVELOPMENT, f"{setup}/fold1_test.txt", "audio/b020_110_120.wav\naudio/b092_0_10.wav\n")
    write(root, DEVELOPMENT, f"{setup}/fold2_train.txt", f"{beach_too}\n{tram}\n")
    write(root, EVALUATION, f"{setup}/evaluate.txt", "audio/1245.wav\tbeach\naudio/1.wav\tcafe/restaurant\n")
    write(root, EVALUATION, f"{setup}/test.txt", "audio/1245.wav\naudio/1.wav\n")
    return root


def test_labels_are_rebuilt_from_the_lists(without_meta):
    assert labels(load_tut(without_meta)) == LABELS


def test_rebuilt_labels_make_the_same_data_set(without_meta):
    rebuilt = load_tut(without_meta)
    write(without_meta, DEVELOPMENT, "meta.txt", DEVELOPMENT_META)
    write(without_meta, EVALUATION, "meta.txt", EVALUATION_META)
    assert load_tut(without_meta) == rebuilt


def test_recordings_are_locations(without_meta):
    """Where there are lists alone, names of the development set's files begin with them."""
    development = {
        "development/b020_90_100.wav": "b020",
        "development/b020_110_120.wav": "b020",
        "development/a001_0_10.wav": "a001",
        "development/b092_0_10.wav": "b092",
    }
    clips = load_tut(without_meta).recordings
    assert clips == {
        **development,
        "evaluation/1245.wav": "evaluation/1245.wav",
        "evaluation/1.wav": "evaluation/1.wav",
    }


@pytest.mark.parametrize("third", ["", "\t"])
def test_a_location_left_out(root, third):
    write(root, EVALUATION, "meta.txt", EVALUATION_META.replace("\tb100", third))
    with pytest.raises(DataError, match=r"meta.txt must name the location of every file.* Missing for audio/1.wav"):
        load_tut(root)


def test_locations_in_the_third_column(root):
    assert load_tut(root).recordings["evaluation/1245.wav"] == "b174"
    assert load_tut(root).recordings["development/b020_110_120.wav"] == "b020"


def test_where_meta_txt_is_there_the_lists_are_not_read(without_meta):
    write(without_meta, DEVELOPMENT, "meta.txt", DEVELOPMENT_META)
    write(without_meta, DEVELOPMENT, "evaluation_setup/fold1_train.txt", "nonsense\n")
    assert labels(load_tut(without_meta)) == LABELS


def test_lists_that_contradict_each_other(without_meta):
    path = write(without_meta, DEVELOPMENT, "evaluation_setup/fold2_train.txt", "audio/b092_0_10.wav\ttrain\n")
    lists = {path, without_meta / DEVELOPMENT / "evaluation_setup" / "fold1_evaluate.txt"}
    with pytest.raises(DataError) as caught:
        load_tut(without_meta)
    assert any(str(caught.value).startswith(f"{path}, line ") for path in lists)
    assert "audio/b092_0_10.wav is listed twice" in str(caught.value)


@pytest.mark.parametrize("meta", [None, "audio/1245.wav\naudio/1.wav\n"], ids=["no meta.txt", "in meta.txt"])
@pytest.mark.parametrize("name", ["test.txt", "evaluate.txt"])
def test_an_evaluation_set_without_labels(without_meta, name, meta):
    """As it was published during the challenge."""
    setup = without_meta / EVALUATION / "evaluation_setup"
    (setup / "evaluate.txt").unlink()
    (setup / name).write_text("audio/1245.wav\naudio/1.wav\n")
    if meta:
        write(without_meta, EVALUATION, "meta.txt", meta)
    with pytest.raises(MissingDataError) as caught:
        load_tut(without_meta)
    assert str(caught.value) == (
        f"{without_meta / EVALUATION} has no labels: its lists contain only file names. Unpack {EVALUATION}.meta.zip "
        "there, with meta.txt; `loglearn data get tut` downloads it (data/README.md)."
    )


# ---- Mirrors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("above", ["deeper", "a/b", EVALUATION, "each in its own"])
def test_the_parts_may_lie_deeper(root, tmp_path_factory, above):
    mirror = tmp_path_factory.mktemp("mirror")
    for part in (DEVELOPMENT, EVALUATION):
        folder = mirror / (part if above == "each in its own" else above)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(root / part, folder / part)
    found = load_tut(mirror)
    assert labels(found) == LABELS and found.fingerprint == load_tut(root).fingerprint
    assert detect_layout(mirror) == "tut"


def test_a_part_that_is_there_twice(root):
    for name in ("a", "b"):
        shutil.copytree(root / EVALUATION, root / name / EVALUATION)
    assert labels(load_tut(root)) == LABELS  # the official place comes first
    shutil.rmtree(root / EVALUATION)
    with pytest.raises(
        DataError,
        match=rf"contains several folders {EVALUATION}: .*a.*, .*b.*. Name the "
        rf"folder of one",
    ):
        load_tut(root)


# ---- Errors: the line, the rule, the value --------------------------------------------------------------------


def test_no_data_set_there(tmp_path):
    with pytest.raises(MissingDataError) as caught:
        load_tut(tmp_path)
    assert f"ASC-TUT metadata not found: {tmp_path / DEVELOPMENT / 'meta.txt'}." in str(caught.value)
    assert "`data.root=/path`" in str(caught.value)


@pytest.mark.parametrize("part", [DEVELOPMENT, EVALUATION])
def test_one_set_without_metadata(root, part):
    (root / part / "meta.txt").unlink()
    with pytest.raises(MissingDataError) as caught:
        load_tut(root, allow_missing=True)
    assert f"metadata not found: {root / part / 'meta.txt'}." in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("audio/x.wav\tairport\tb1", "unknown class 'airport'. ASC-TUT's scenes are beach, bus, cafe/restaurant,"),
        ("audio/x.wav\tBeach\tb1", "unknown class 'Beach'."),
        ("audio/x.wav beach b1", "must be a file and a scene, separated by a tab. Received: 'audio/x.wav beach"),
        ("audio/x.wav", "must be a file and a scene, separated by a tab. Received: 'audio/x.wav'."),
        ("x.wav\tbeach\tb1", "the file must be in audio/. Received: 'x.wav'."),
        ("audio/../../x.wav\tbeach\tb1", "the file must be in audio/. Received: 'audio/../../x.wav'."),
        ("/audio/x.wav\tbeach\tb1", "the file must be in audio/. Received: '/audio/x.wav'."),
        ("audio/b020_90_100.wav\tbeach\tb020", "audio/b020_90_100.wav is listed twice."),
        ("audio/b020_90_100.wav\tbus\tb020", "audio/b020_90_100.wav is listed twice."),
    ],
)
def test_a_wrong_line(root, line, message):
    path = write(root, DEVELOPMENT, "meta.txt", DEVELOPMENT_META + line + "\n")
    with pytest.raises(DataError) as caught:
        load_tut(root, allow_missing=True)
    assert str(caught.value).startswith(f"{path}, line 5: {message}")


def test_not_utf8(root):
    path = write(root, EVALUATION, "meta.txt", EVALUATION_META.replace("cafe", "café"), encoding="latin-1")
    with pytest.raises(DataError) as caught:
        load_tut(root)
    assert str(caught.value).startswith(f"{path} is not text in UTF-8: ")


def test_empty_lists(root):
    for part in (DEVELOPMENT, EVALUATION):
        write(root, part, "meta.txt", "\n")
    with pytest.raises(DataError, match="No clips are listed in"):
        load_tut(root)


def test_missing_clips(root):
    (root / DEVELOPMENT / "audio" / "a001_0_10.wav").unlink()
    (root / EVALUATION / "audio" / "1.wav").unlink()
    with pytest.raises(MissingDataError) as caught:
        load_tut(root)
    assert str(caught.value).startswith("2 of the 6 clips listed in ")
    assert "development/a001_0_10.wav, evaluation/1.wav. Restore them, or set `data.allow_missing=true`" in str(
        caught.value
    )
    dataset = load_dataset("tut", root, allow_missing=True)
    assert dataset.missing == ("development/a001_0_10.wav", "evaluation/1.wav")
    assert len(dataset.clips) == 4


def test_without_audio_it_is_an_error_even_where_allowed(root):
    for part in (DEVELOPMENT, EVALUATION):
        for path in (root / part / "audio").iterdir():
            path.unlink()
    with pytest.raises(MissingDataError, match="6 of the 6 clips"):
        load_tut(root, allow_missing=True)


# ---- The real lists -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def official(shared, tmp_path_factory):
    """All 6,300 lines, with empty files."""
    root = tmp_path_factory.mktemp("tut")
    for part, name in ((DEVELOPMENT, "development"), (EVALUATION, "evaluation")):
        meta = (shared / "data" / "metadata" / f"tut2017_{name}_meta.txt").read_text(encoding="utf-8")
        write(root, part, "meta.txt", meta)
        touch_all(root, part, meta)
    return load_tut(root)


def test_official_sizes(official):
    train, test = official.train_clips(1), official.test_clips(1)
    assert (len(train), len(test)) == (4680, 1620)
    assert Counter(official.classes[clip.label] for clip in train) == dict.fromkeys(CLASSES, 312)
    assert Counter(official.classes[clip.label] for clip in test) == dict.fromkeys(CLASSES, 108)


def test_the_papers_largest_n_fits(official):
    check_n_shot(official, fold=1, n_shot=100)
    check_n_shot(official, fold=1, n_shot=312)
    with pytest.raises(ConfigError, match="312 training clips"):
        check_n_shot(official, fold=1, n_shot=313)
