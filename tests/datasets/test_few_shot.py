"""The n-shot draw: n training clips of every class, decided by what the run is and nothing else."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loglearn_tf.datasets.clips import Clip, DataSet
from loglearn_tf.datasets.few_shot import check_n_shot, draw_clips
from loglearn_tf.errors import ConfigError


def data_set(counts: dict[int, list[int]], name: str = "us8k") -> DataSet:
    """`counts`: fold -> clips of every class. Each fold trains on all others."""
    clips = []
    for fold, of_classes in counts.items():
        for label, count in enumerate(of_classes):
            for number in range(count):
                clip_id = f"{fold}-{label}-{number}.wav"
                clips.append(Clip(clip_id, Path(f"fold{fold}") / clip_id, label, fold))
    return DataSet(
        name=name,
        root=Path("data"),
        classes=("dog_bark", "gun_shot", "siren"),
        clips=tuple(sorted(clips, key=lambda clip: clip.clip_id)),
        train_folds={fold: tuple(other for other in counts if other != fold) for fold in counts},
    )


# Test fold 1 trains on 20 dog barks, 14 gun shots, 30 sirens.
DATA = data_set({1: [9, 9, 9], 2: [10, 6, 20], 3: [10, 8, 10]})
DOG_BARKS = {clip for clip in DATA.clips if clip.label == 0}
CELL = {"fold": 1, "n_shot": 5, "run": 0, "seed": 0}


def draw(dataset: DataSet = DATA, **cell: int) -> tuple[Clip, ...]:
    return draw_clips(dataset, **{**CELL, **cell})


def test_n_clips_of_every_class_in_the_order_of_the_classes():
    assert [clip.label for clip in draw(n_shot=5)] == [0] * 5 + [1] * 5 + [2] * 5


@given(
    counts=st.dictionaries(
        st.integers(1, 10), st.lists(st.integers(1, 8), min_size=3, max_size=3), min_size=2, max_size=5
    ),
    data=st.data(),
)
@hypothesis_settings(derandomize=True, deadline=None, max_examples=60)
def test_properties_of_every_draw(counts, data):
    dataset = data_set(counts)
    fold = data.draw(st.sampled_from(sorted(counts)))
    smallest = min(sum(counts[other][label] for other in counts if other != fold) for label in range(3))
    n_shot = data.draw(st.integers(1, smallest))
    run, seed = data.draw(st.integers(0, 99)), data.draw(st.integers(0, 2**40))
    cell = {"fold": fold, "n_shot": n_shot, "run": run, "seed": seed}

    drawn = draw_clips(dataset, **cell)
    assert Counter(clip.label for clip in drawn) == {0: n_shot, 1: n_shot, 2: n_shot}
    assert len(set(drawn)) == len(drawn), "a clip is drawn once"
    assert set(drawn) <= set(dataset.clips)
    assert fold not in {clip.fold for clip in drawn}, "test clips never train"
    assert draw_clips(dataset, **cell) == drawn

    shuffled = list(dataset.clips)
    random.Random(seed).shuffle(shuffled)
    assert draw_clips(replace(dataset, clips=tuple(shuffled)), **cell) == drawn
    with pytest.raises(ConfigError):
        draw_clips(dataset, **{**cell, "n_shot": smallest + 1})

    every = draw_clips(dataset, **{**cell, "n_shot": "all"})
    assert sorted(every, key=lambda clip: clip.clip_id) == [clip for clip in dataset.clips if clip.fold != fold]
    assert [clip.label for clip in every] == sorted(clip.label for clip in every)
    assert draw_clips(replace(dataset, clips=tuple(shuffled)), **{**cell, "n_shot": "all", "run": run + 1}) == every


def test_a_class_can_be_drawn_whole():
    gun_shots = {clip for clip in draw(n_shot=14) if clip.label == 1}
    assert gun_shots == {clip for clip in DATA.clips if clip.label == 1 and clip.fold != 1}


def test_clips_left_out_for_validation_do_not_train():
    """The data set says which folds train; here fold 2 does not."""
    validating = replace(DATA, train_folds={1: (3,), 2: (1,), 3: (2,)})
    assert {clip.fold for run in range(20) for clip in draw(validating, run=run)} == {3}


def test_every_training_clip_has_its_turn():
    drawn = Counter(clip for run in range(300) for clip in draw(run=run) if clip.label == 0)
    assert len(drawn) == 20
    # 300 draws of 5 in 20: 75 each, standard deviation 7.5.
    assert min(drawn.values()) > 75 - 4 * 7.5 and max(drawn.values()) < 75 + 4 * 7.5


@pytest.mark.parametrize("change", [{"run": 1}, {"seed": 1}, {"fold": 2}, {"fold": 3}])
def test_another_cell_is_another_draw(change):
    assert draw(**change) != draw()


def test_draws_for_different_n_are_independent():
    """The one clip of n = 1 is among the two of n = 2 by chance only: small n must not share the luck of large n."""
    shared = sum(len({*draw(n_shot=1, run=run)} & {*draw(n_shot=2, run=run)} & DOG_BARKS) for run in range(300))
    # 2 in 20, 300 times: 30, standard deviation 5.2.
    assert 10 <= shared <= 50


def test_classes_are_drawn_independently():
    """Folds of equal size: equal positions in every class would pair recordings across classes."""
    even = data_set({1: [1, 1, 1], 2: [20, 20, 20]})
    numbers = [[clip.clip_id.split("-")[2] for clip in draw(even)[5 * at : 5 * at + 5]] for at in range(3)]
    assert numbers[0] != numbers[1] != numbers[2] != numbers[0]


def test_data_sets_are_drawn_independently():
    ids = [clip.clip_id for clip in draw()]
    assert [clip.clip_id for clip in draw(replace(DATA, name="tut"))] != ids


def test_nothing_else_decides():
    """Neither where the data lie, nor the clips of the test fold, nor the state of Python's or NumPy's generators."""
    expected = [clip.clip_id for clip in draw()]
    random.seed(1)
    np.random.seed(1)
    moved = tuple(replace(clip, path=Path("/elsewhere") / clip.path) for clip in DATA.clips)
    moved_data = replace(DATA, clips=moved, root=Path("/elsewhere"))
    assert [clip.clip_id for clip in draw(moved_data)] == expected
    fewer_to_test = tuple(clip for clip in DATA.clips if clip.fold != 1 or clip.label == 0)
    assert [clip.clip_id for clip in draw(replace(DATA, clips=fewer_to_test))] == expected


@pytest.mark.parametrize("check", [check_n_shot, lambda *args, **cell: draw_clips(*args, run=0, seed=0, **cell)])
def test_too_large_an_n_names_fold_class_and_count(check):
    with pytest.raises(ConfigError) as caught:
        check(DATA, fold=1, n_shot=15)
    assert str(caught.value) == (
        "`n_shot` is larger than the smallest class: with test fold 1, gun_shot has 14 training clips "
        "in data. Received: n_shot=15. Use at most 14, or a larger part of the data set."
    )


def test_a_class_without_training_clips():
    with pytest.raises(ConfigError, match="siren has 0 training clips") as caught:
        check_n_shot(data_set({1: [1, 1, 1], 2: [1, 1, 0]}), fold=1, n_shot=1)
    assert str(caught.value) == (
        "No `n_shot` works with test fold 1: siren has 0 training clips in data. Received: n_shot=1. "
        "Choose other `folds`, or add recordings of siren to the training folds."
    )


def test_a_fitting_n_passes():
    check_n_shot(DATA, fold=1, n_shot=14)
    check_n_shot(DATA, fold=2, n_shot=17)  # 9 + 8 gun shots in folds 1 and 3


@pytest.mark.parametrize("check", [check_n_shot, lambda *args, **cell: draw_clips(*args, run=0, seed=0, **cell)])
def test_an_unknown_fold(check):
    with pytest.raises(ConfigError, match="Received: fold 4"):
        check(DATA, fold=4, n_shot=1)
