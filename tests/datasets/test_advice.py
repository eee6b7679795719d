"""What `data check` says of folds: each kind is found, and a sound data set is told nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from loglearn_tf.datasets import Clip, DataSet, load_dataset
from loglearn_tf.datasets.advice import advise

CLASSES = ("dog", "rain")


def data_set(*clips, official=False, train_folds=None):
    """Of clips that are given as `(label, fold, group, segment)`, what is left out being as nothing."""
    made = []
    for at, (label, fold, *more) in enumerate(clips):
        group, segment = more[0] if more else "", more[1] if len(more) > 1 else None
        made.append(
            Clip(f"{at}.wav", Path("a.wav" if segment else f"{at}.wav"), label, fold, group=group, segment=segment)
        )
    folds = sorted({clip.fold for clip in made})
    roles = train_folds or {fold: tuple(other for other in folds if other != fold) for fold in folds}
    return DataSet("folder", Path("data"), CLASSES, tuple(made), roles, official=official)


EVEN = [(label, fold) for label in (0, 1) for fold in (1, 2, 3)]


def test_nothing_to_say():
    assert advise(data_set(*EVEN)) == []
    assert advise(data_set(*((label, fold, f"{label}{fold}") for label, fold in EVEN))) == []


@pytest.mark.parametrize(
    ("clips", "about", "said"),
    [
        (
            [*EVEN, (0, 1, "x"), (0, 2, "x")],
            "torn recordings",
            ["1 recording in several folds: clips", "x (folds 1, 2)", "column `group`"],
        ),
        (
            [*EVEN, (0, 1, "x"), (0, 2, "x"), (1, 3, "x")],
            "torn recordings",
            ["several folds, 1 of them in every fold", "x (folds 1, 2, 3)"],
        ),
        (
            [*EVEN, (0, 1, "", (0, 2)), (1, 2, "", (1, 3)), (1, 1, "", (3, 4))],
            "overlap across folds",
            ["6.wav (fold 1) and 7.wav (fold 2). Put all segments"],
        ),
        (
            [*EVEN, (0, 1), (0, 1), (1, 1), (1, 1)],
            "unbalanced folds",
            ["fold 1 has 6 clips and fold 3 has 2"],
        ),
        ([*EVEN, (0, 4)], "no test clips", ["1 class missing", "rain (test fold 4)"]),
        (
            [(0, 1), (0, 2), (0, 3), (1, 1)],
            "no training clips",
            ["rain (test fold 1). All clips of rain are from one recording: add others. Choose other `folds`"],
        ),
    ],
)
def test_each_kind(clips, about, said):
    (text,) = [one.text for one in advise(data_set(*clips)) if one.about == about]
    for part in said:
        assert part in text


def test_segments_that_touch_do_not_overlap():
    clips = [*EVEN, (0, 1, "", (0.0, 1.0)), (1, 2, "", (1.0, 2.0))]
    assert "overlap across folds" not in {one.about for one in advise(data_set(*clips))}


def test_a_whole_file_overlaps_its_segments():
    segments = [
        Clip(f"{at}", Path("a.wav"), 0, fold, segment=times) for at, fold, times in ((0, 1, (0, 1)), (1, 2, None))
    ]
    data = data_set(*EVEN)
    data = replace(data, clips=(*data.clips, *segments))
    (advice,) = advise(data)
    assert advice.about == "overlap across folds" and "0 (fold 1) and 1 (fold 2)" in advice.text


def test_classes_that_are_written_alike():
    data = replace(data_set(*EVEN), classes=("Dog bark", "dog_bark"))
    (advice,) = advise(data)
    assert advice.about == "similar classes" and advice.text.startswith(
        "'Dog bark', 'dog_bark' differ only in capitals"
    )
    assert advise(replace(data, classes=("C", "C++"))) == []


def test_what_the_authors_split_is_left():
    (advice,) = advise(data_set(*EVEN, (0, 1, "x"), (0, 2, "x"), official=True))
    assert "This is its authors' split: keep it" in advice.text and "group" not in advice.text


def test_parts_have_names():
    clips = [(0, 0), (1, 0), (0, 1), (1, 1), (0, 0, "x"), (0, 2, "x"), (1, 1, "y"), (1, 0, "y")]
    (advice,) = advise(data_set(*clips, train_folds={1: (0,)}))
    assert "x (train and validation), y (train and test)" in advice.text


def test_official_folds_of_urbansound8k(shared):
    dataset = load_dataset("us8k", shared / "data" / "UrbanSound8K-subset")
    assert not {one.about for one in advise(dataset)} - {"torn recordings"}
