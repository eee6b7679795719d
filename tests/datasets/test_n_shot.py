"""How many clips of each class: numbers, and `all` after them."""

import random

import pytest

from loglearn_tf.datasets.n_shot import folder_of_n, in_order, n_shot_of


def test_all_comes_last():
    mixed = [100, "all", 5, 20, 5, "all"]
    random.Random(0).shuffle(mixed)
    assert in_order(mixed) == [5, 20, 100, "all"]
    assert [folder_of_n(n) for n in (5, 100, 2000, "all")] == ["n005", "n100", "n2000", "nall"]


@pytest.mark.parametrize(("value", "read"), [(5, 5), ("5", 5), (5.0, 5), ("5.0", 5), ("all", "all")])
def test_what_files_and_data_frames_hold(value, read):
    assert n_shot_of(value) == read and type(n_shot_of(value)) is type(read)


@pytest.mark.parametrize("value", ["", None, "All", "every", 1.5, float("nan"), float("inf"), [5]])
def test_what_is_neither(value):
    with pytest.raises(ValueError, match="whole number or all"):
        n_shot_of(value)
