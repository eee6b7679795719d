"""UrbanSound8K: the official layout is read, its folds keep their roles, everything else is an error."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.check import check_data, detect_layout
from loglearn_tf.datasets.few_shot import check_n_shot
from loglearn_tf.datasets.us8k import US8K, load_us8k
from loglearn_tf.errors import ConfigError, DataError, MissingDataError

HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class"
# Four official rows; not in the order of their names.
ROWS = [
    "100263-2-0-117.wav,100263,58.5,62.5,1,5,2,children_playing",
    "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark",
    "100648-1-0-0.wav,100648,4.823402,5.471927,2,10,1,car_horn",
    "101415-3-0-2.wav,101415,1.0,5.0,1,1,3,dog_bark",
]
FILES = [
    "fold5/100263-2-0-117.wav",
    "fold5/100032-3-0-0.wav",
    "fold10/100648-1-0-0.wav",
    "fold1/101415-3-0-2.wav",
]
# The official order; its place is the classID.
CLASSES = [
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
]


def write_metadata(root: Path, text: str, encoding: str = "utf-8") -> Path:
    path = root / "metadata" / "UrbanSound8K.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


def touch(root: Path, files=FILES) -> None:
    for name in files:
        path = root / "audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def root(tmp_path):
    """Four clips in the official layout; the files are empty, as loading looks at names alone."""
    root = tmp_path / "UrbanSound8K"
    write_metadata(root, "\n".join([HEADER, *ROWS]) + "\n")
    touch(root)
    return root


# ---- Reading --------------------------------------------------------------------------------------------------


def test_reads_the_official_layout(root):
    dataset = load_us8k(root)
    assert dataset.name == "us8k"
    assert dataset.root == root
    assert list(dataset.classes) == CLASSES
    assert [(clip.clip_id, clip.label, clip.fold) for clip in dataset.clips] == [
        ("100032-3-0-0.wav", 3, 5),
        ("100263-2-0-117.wav", 2, 5),
        ("100648-1-0-0.wav", 1, 10),
        ("101415-3-0-2.wav", 3, 1),
    ]
    assert dataset.clips[2].path == root / "audio" / "fold10" / "100648-1-0-0.wav"
    assert dataset.missing == ()
    assert not dataset.synthetic


def test_the_root_may_be_the_folder_that_holds_it(root):
    assert load_us8k(root.parent) == load_us8k(root) == load_us8k(str(root)) == load_dataset("us8k", root)


def test_stray_files_are_ignored(root):
    touch(root, ["fold5/.DS_Store", "fold5/copy of 100032-3-0-0.wav", "fold6/100852-0-0-0.wav"])
    assert len(load_us8k(root).clips) == 4


def test_a_set_made_by_the_generator_says_so(root):
    (root / "SYNTHETIC.txt").touch()
    assert load_us8k(root).synthetic


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,  # saved by a spreadsheet
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: "\n".join(",".join(line.split(",")[::-1]) for line in text.splitlines()),  # columns by name
    ],
    ids=["byte order mark", "line ends", "empty lines", "order of columns"],
)
def test_harmless_differences(root, change):
    expected = load_us8k(root)
    write_metadata(root, change("\n".join([HEADER, *ROWS])))
    assert load_us8k(root) == expected


def test_the_order_of_rows_does_not_matter(root):
    expected = load_us8k(root)
    write_metadata(root, "\n".join([HEADER, *reversed(ROWS)]))
    assert load_us8k(root) == expected
    assert load_us8k(root).fingerprint == expected.fingerprint


def test_a_changed_label_changes_the_fingerprint(root):
    expected = load_us8k(root).fingerprint
    write_metadata(root, "\n".join([HEADER, *ROWS]).replace("1,1,3,dog_bark", "1,1,8,siren"))
    assert load_us8k(root).fingerprint != expected


# ---- Mirrors ----------------------------------------------------------------------------------------------------

# Where the list lies, and each clip: `{}` is its fold.
MIRRORS = {
    "side by side": ("UrbanSound8K.csv", "fold{}"),
    "beside audio": ("UrbanSound8K.csv", "audio/fold{}"),
    "one folder deeper": ("urbansound8k/metadata/UrbanSound8K.csv", "urbansound8k/audio/fold{}"),
    "two folders deeper": ("a/b/UrbanSound8K.csv", "a/b/fold{}"),
    "the list elsewhere": ("lists/UrbanSound8K.csv", "sounds/fold{}"),
    "small letters": ("urbansound8k.csv", "fold{}"),
    "folds by another name": ("UrbanSound8K.csv", "audio/fold_{}"),
    "numbers": ("UrbanSound8K.csv", "{}"),
    "one folder": ("metadata/UrbanSound8K.csv", "clips"),
    "all in one": ("UrbanSound8K.csv", ""),
    "audio in audio": ("metadata/UrbanSound8K.csv", "audio/audio/fold{}"),
    "folds beside metadata": ("metadata/UrbanSound8K.csv", "fold{}"),
}


@pytest.fixture(params=MIRRORS)
def mirror(request, tmp_path):
    listed, clips = MIRRORS[request.param]
    root = tmp_path / "mirror"
    for file in FILES:
        fold, name = file.split("/")
        path = root / clips.format(fold.removeprefix("fold")) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / listed).parent.mkdir(parents=True, exist_ok=True)
    (root / listed).write_text("\n".join([HEADER, *ROWS]) + "\n")
    return root


def test_mirrors_make_the_same_data_set(mirror, root):
    found, official = load_us8k(mirror), load_us8k(root)
    assert found.fingerprint == official.fingerprint
    assert [replace(clip, path=Path()) for clip in found.clips] == [
        replace(clip, path=Path()) for clip in official.clips
    ]
    assert all(clip.path.is_file() for clip in found.clips)
    assert detect_layout(mirror) == "us8k"
    listed_s = US8K.listed_seconds(found)
    assert len(listed_s) == 4 and listed_s["100032-3-0-0.wav"] == 0.317551


def test_a_clip_that_a_mirror_lacks(mirror):
    next(mirror.rglob("100263-2-0-117.wav")).unlink()
    with pytest.raises(
        MissingDataError, match=r"1 of the 4 clips listed in .*csv are missing under .*: 100263-2-0-117.wav"
    ):
        load_us8k(mirror)


def test_a_mirrors_clip_in_another_fold_is_missing(tmp_path):
    (tmp_path / "UrbanSound8K.csv").write_text("\n".join([HEADER, *ROWS]))
    for fold in (1, 5):
        (tmp_path / f"fold{fold}").mkdir()
    for file in FILES:
        (tmp_path / "fold1" / file.split("/")[1]).touch()
    assert [clip.clip_id for clip in load_us8k(tmp_path, allow_missing=True).clips] == ["101415-3-0-2.wav"]


def test_a_mirrors_clip_in_two_places(tmp_path):
    (tmp_path / "UrbanSound8K.csv").write_text("\n".join([HEADER, *ROWS]))
    for file in FILES:
        for part in ("a", "b"):
            (tmp_path / part).mkdir(exist_ok=True)
            (tmp_path / part / file.split("/")[1]).touch()
    with pytest.raises(DataError, match=r"Clip 100263-2-0-117.wav exists 2 times: .*a/.*, .*b/.* Remove all but one"):
        load_us8k(tmp_path)


def test_lists_that_differ(root):
    (root.parent / "older").mkdir()
    (root.parent / "older" / "UrbanSound8K.csv").write_text("\n".join([HEADER, *ROWS[1:]]))
    assert len(load_us8k(root).clips) == 4 and len(load_us8k(root.parent).clips) == 4  # the official place comes first
    root.rename(root.parent / "renamed")
    with pytest.raises(DataError, match=r"contains several different lists of UrbanSound8K: .*Name the folder of one"):
        load_us8k(root.parent)


def test_a_mirrors_strays(tmp_path):
    (tmp_path / "UrbanSound8K.csv").write_text("\n".join([HEADER, *ROWS]))
    for file in [*FILES, "fold5/copy.wav", "fold5/.hidden.wav"]:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    report = check_data(tmp_path)
    assert [clip.name for clip in report.found("stray")] == ["fold5/copy.wav"]
    assert [clip.name for clip in report.found("hidden")] == ["fold5/.hidden.wav"]


def test_clips_that_git_annex_has_not_fetched(root):
    path = root / "audio" / FILES[0]
    path.unlink()
    path.symlink_to("../../.git/annex/objects/x")
    with pytest.raises(
        MissingDataError, match=r"100263-2-0-117.wav: git-annex has not fetched it. Run `git annex get`"
    ):
        load_us8k(root)


# ---- Roles of the folds ---------------------------------------------------------------------------------------

# Of the reference experiment: test fold, the fold left out for validation, the eight that train.
ROLES = [
    (1, 2, [3, 4, 5, 6, 7, 8, 9, 10]),
    (2, 3, [1, 4, 5, 6, 7, 8, 9, 10]),
    (3, 4, [1, 2, 5, 6, 7, 8, 9, 10]),
    (4, 5, [1, 2, 3, 6, 7, 8, 9, 10]),
    (5, 6, [1, 2, 3, 4, 7, 8, 9, 10]),
    (6, 7, [1, 2, 3, 4, 5, 8, 9, 10]),
    (7, 8, [1, 2, 3, 4, 5, 6, 9, 10]),
    (8, 9, [1, 2, 3, 4, 5, 6, 7, 10]),
    (9, 10, [1, 2, 3, 4, 5, 6, 7, 8]),
    (10, 1, [2, 3, 4, 5, 6, 7, 8, 9]),
]


@pytest.fixture(scope="module")
def one_clip_a_fold(tmp_path_factory):
    root = tmp_path_factory.mktemp("us8k")
    rows = [f"{fold}-3-0-0.wav,{fold},0.0,4.0,1,{fold},3,dog_bark" for fold in range(1, 11)]
    write_metadata(root, "\n".join([HEADER, *rows]))
    touch(root, [f"fold{fold}/{fold}-3-0-0.wav" for fold in range(1, 11)])
    return root


@pytest.mark.parametrize(("test", "validation", "train"), ROLES)
def test_roles_of_the_folds(one_clip_a_fold, test, validation, train):
    dataset = load_us8k(one_clip_a_fold)  # "next" is the default
    assert [clip.fold for clip in dataset.test_clips(test)] == [test]
    assert sorted(clip.fold for clip in dataset.train_clips(test)) == train
    every_fold = sorted([test, validation, *train])
    assert every_fold == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(("test", "validation", "train"), ROLES)
def test_without_validation_nine_folds_train(one_clip_a_fold, test, validation, train):
    dataset = load_dataset("us8k", one_clip_a_fold, validation_fold="none")
    assert [clip.fold for clip in dataset.test_clips(test)] == [test]
    assert sorted(clip.fold for clip in dataset.train_clips(test)) == sorted([validation, *train])


def test_there_are_no_other_roles(root):
    with pytest.raises(ValueError, match=r"`validation_fold` must be 'next' or 'none'\. Received: validation_fold=3\."):
        load_us8k(root, validation_fold=3)


def test_a_test_fold_that_is_not_there(root):
    with pytest.raises(ConfigError, match="Fold 2 has no clips in .*, which has folds 1, 5, 10"):
        load_us8k(root).test_clips(2)


# ---- Errors: the line, the rule, the value --------------------------------------------------------------------


def test_no_data_set_there(tmp_path):
    with pytest.raises(MissingDataError) as caught:
        load_us8k(tmp_path / "data")
    assert f"US8K metadata not found: {tmp_path / 'data' / 'metadata' / 'UrbanSound8K.csv'}." in str(caught.value)
    assert "`data.root=/path/UrbanSound8K`" in str(caught.value)


@pytest.mark.parametrize("column", ["slice_file_name", "fold", "classID", "class"])
def test_a_missing_column(root, column):
    names = HEADER.split(",")
    at = names.index(column)
    lines = [",".join(line.split(",")[:at] + line.split(",")[at + 1 :]) for line in [HEADER, *ROWS]]
    path = write_metadata(root, "\n".join(lines))
    with pytest.raises(DataError) as caught:
        load_us8k(root)
    assert str(caught.value).startswith(f"{path} has no column `{column}`; its columns are [")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.wav,1,0,4,1,5,3,cat_meow", "unknown class 'cat_meow'. US8K's classes are air_conditioner, car_horn,"),
        ("a.wav,1,0,4,1,5,3,Dog_bark", "unknown class 'Dog_bark'."),
        # The classes' numbers are the authors'; by order of appearance they would be others.
        ("a.wav,1,0,4,1,5,4,dog_bark", "`classID` of dog_bark must be 3. Received: '4'."),
        ("a.wav,1,0,4,1,5,,dog_bark", "`classID` of dog_bark must be 3. Received: ''."),
        ("a.wav,1,0,4,1,0,3,dog_bark", "`fold` must be an integer from 1 to 10. Received: '0'."),
        ("a.wav,1,0,4,1,11,3,dog_bark", "`fold` must be an integer from 1 to 10. Received: '11'."),
        ("a.wav,1,0,4,1,fold5,3,dog_bark", "`fold` must be an integer from 1 to 10. Received: 'fold5'."),
        ("a.wav,1,0,4,1,5.0,3,dog_bark", "`fold` must be an integer from 1 to 10. Received: '5.0'."),
        ("../a.wav,1,0,4,1,5,3,dog_bark", "`slice_file_name` must be a file name. Received: '../a.wav'."),
        ("/etc/a.wav,1,0,4,1,5,3,dog_bark", "`slice_file_name` must be a file name. Received: '/etc/a.wav'."),
        (",1,0,4,1,5,3,dog_bark", "`slice_file_name` must be a file name. Received: ''."),
        ("a.wav,1,0", "unknown class None."),  # cut short
    ],
)
def test_a_wrong_row(root, row, message):
    path = write_metadata(root, "\n".join([HEADER, ROWS[0], row, *ROWS[1:]]))
    with pytest.raises(DataError) as caught:
        load_us8k(root, allow_missing=True)
    assert str(caught.value).startswith(f"{path}, line 3: {message}")


def test_a_row_given_twice(root):
    path = write_metadata(root, "\n".join([HEADER, *ROWS, ROWS[1]]))
    with pytest.raises(DataError) as caught:
        load_us8k(root)
    assert str(caught.value).startswith(f"Clip 100032-3-0-0.wav is listed 2 times in {path}.")


def test_metadata_without_rows(root):
    path = write_metadata(root, HEADER + "\n")
    with pytest.raises(DataError) as caught:
        load_us8k(root)
    assert str(caught.value).startswith(f"No clips are listed in {path}.")


def test_an_empty_file(root):
    write_metadata(root, "")
    with pytest.raises(DataError, match="has no column `slice_file_name`; its columns are None"):
        load_us8k(root)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_not_utf8(root, encoding):
    path = write_metadata(root, "\n".join([HEADER, *ROWS]).replace("dog_bark", "dög_bark"), encoding=encoding)
    with pytest.raises(DataError) as caught:
        load_us8k(root)
    assert str(caught.value).startswith(f"{path} is not a CSV file in UTF-8: ")


# ---- Clips that the disk lacks --------------------------------------------------------------------------------


def test_a_missing_clip(root):
    (root / "audio" / FILES[0]).unlink()
    with pytest.raises(MissingDataError) as caught:
        load_us8k(root)
    path = root / "metadata" / "UrbanSound8K.csv"
    assert str(caught.value).startswith(
        f"1 of the 4 clips listed in {path} are missing under {root}: 100263-2-0-117.wav. Restore them"
    )
    assert "`data.allow_missing=true`" in str(caught.value)


def test_a_missing_clip_is_left_out_where_allowed(root):
    (root / "audio" / FILES[0]).unlink()
    dataset = load_dataset("us8k", root, allow_missing=True)
    assert dataset.missing == ("100263-2-0-117.wav",)
    assert [clip.clip_id for clip in dataset.clips] == ["100032-3-0-0.wav", "100648-1-0-0.wav", "101415-3-0-2.wav"]


def test_without_audio_it_is_an_error_even_where_allowed(root):
    for name in FILES:
        (root / "audio" / name).unlink()
    with pytest.raises(MissingDataError, match="4 of the 4 clips"):
        load_us8k(root, allow_missing=True)


# ---- The real metadata ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def official(shared, tmp_path_factory):
    """All 8,732 rows, with empty files."""
    root = tmp_path_factory.mktemp("official") / "UrbanSound8K"
    text = (shared / "data" / "metadata" / "UrbanSound8K.csv").read_text(encoding="utf-8")
    write_metadata(root, text)
    for fold in range(1, 11):
        (root / "audio" / f"fold{fold}").mkdir(parents=True)
    for row in csv.DictReader(text.splitlines()):
        (root / "audio" / f"fold{row['fold']}" / row["slice_file_name"]).touch()
    return load_us8k(root)


def test_official_sizes(official):
    assert len(official.clips) == 8732
    by_fold = Counter(clip.fold for clip in official.clips)
    assert [by_fold[fold] for fold in range(1, 11)] == [873, 888, 925, 990, 936, 823, 838, 806, 816, 837]
    by_class = Counter(official.classes[clip.label] for clip in official.clips)
    assert by_class == dict.fromkeys(CLASSES, 1000) | {"siren": 929, "car_horn": 429, "gun_shot": 374}


def test_official_file_names_agree_with_labels(official):
    """`fsID-classID-occurrence-slice.wav`: the second number is the class."""
    assert all(clip.label == int(clip.clip_id.split("-")[1]) for clip in official.clips)


@pytest.mark.parametrize(("test", "validation"), [(role[0], role[1]) for role in ROLES])
def test_official_splits(official, test, validation):
    sizes = dict(zip(range(1, 11), [873, 888, 925, 990, 936, 823, 838, 806, 816, 837], strict=True))
    assert len(official.test_clips(test)) == sizes[test]
    assert len(official.train_clips(test)) == 8732 - sizes[test] - sizes[validation]
    check_n_shot(official, fold=test, n_shot=100)  # the paper's largest n fits everywhere


# ---- The real clips -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def subset(shared):
    return load_us8k(shared / "data" / "UrbanSound8K-subset")


def test_the_subset(subset):
    assert len(subset.clips) == 780
    assert Counter(clip.fold for clip in subset.clips) == {1: 200, 2: 200, 3: 180, 10: 200}
    assert not subset.synthetic


# 20 clips of each class and fold, but 13 car horns and 7 sirens in fold 3.
@pytest.mark.parametrize(
    ("fold", "train_folds", "largest"),
    [(1, {3, 10}, 20 + 7), (2, {1, 10}, 20 + 20), (3, {1, 2, 10}, 20 + 20 + 20), (10, {2, 3}, 20 + 7)],
)
def test_every_fold_of_the_subset_can_be_the_test_fold(subset, fold, train_folds, largest):
    assert {clip.fold for clip in subset.train_clips(fold)} == train_folds
    check_n_shot(subset, fold=fold, n_shot=20)
    check_n_shot(subset, fold=fold, n_shot=largest)
    with pytest.raises(ConfigError, match=f"{largest} training clips"):
        check_n_shot(subset, fold=fold, n_shot=largest + 1)
