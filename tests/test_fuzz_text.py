"""Damaged metadata and settings are read or refused; and the fuzzer notices what it is there to notice."""

import dataclasses
import importlib

import numpy as np
import pytest
from conftest import ROOT

from loglearn_tf import datasets
from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.study import settings as config

N_TEXTS = 300


@pytest.fixture
def fuzz_text(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments" / "benchmarks")
    return importlib.import_module("fuzz_text")


def test_damaged_texts_are_read_or_refused(fuzz_text):
    outcomes = fuzz_text.fuzz_texts(range(N_TEXTS), every=0)
    assert [outcome.number for outcome in outcomes] == list(range(N_TEXTS))
    assert [fuzz_text.describe(outcome) for outcome in outcomes if outcome.outcome in fuzz_text.BAD] == []
    found = [outcome.outcome for outcome in outcomes]
    assert found.count("read") > N_TEXTS / 20 and found.count("refused") > N_TEXTS / 2
    assert f"| all | {N_TEXTS} | {found.count('read')} | {found.count('refused')} | 0 | 0 |" in fuzz_text.table(
        outcomes
    )


def test_a_text_follows_from_its_number(fuzz_text):
    numbers = range(len(fuzz_text.TEXTS), 300)
    made = [fuzz_text.make(number) for number in numbers]
    assert [fuzz_text.make(number) for number in numbers] == made
    assert {one.kind for one in made} == set(fuzz_text.TEXTS)
    assert len({one.content for one in made}) > 0.9 * len(made)
    assert {name for one in made for name in one.damages} == {damage.__name__ for damage in fuzz_text.DAMAGES}
    assert not any(fuzz_text.make(number).damages for number in range(len(fuzz_text.TEXTS)))


def test_every_damage_takes_any_text(fuzz_text):
    for damage in set(fuzz_text.DAMAGES):
        for text in (b"", b"a", b"\n", b"\xff\x00", b"a,b\n" * 10):
            for seed in range(10):
                assert isinstance(damage(text, np.random.default_rng(seed)), bytes)


def refuse(message):
    def refusing(*args, **more):
        raise DataError(message) if args and args[0] in ("us8k", "tut", "folder") else ConfigError(message)

    return refusing


def change_data(**changes):
    """Stands for a loader that returns a data set with these changes."""
    load = datasets.load_dataset
    return lambda *args, **more: dataclasses.replace(load(*args, **more), **changes)


WRONG = {
    "raises": (lambda *args, **more: 1 / 0, "other exception"),
    "needs too much memory": (lambda *args, **more: np.empty(2**60), "other exception"),
    "names no file": (refuse("It is wrong."), "bad message"),
    "says too much": (refuse("x" * 5000), "bad message"),
    "commands the terminal": (refuse("\x1b[2J"), "bad message"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("kind", ["us8k", "settings"])
def test_wrong_ways_are_noticed(kind, name, fuzz_text, tmp_path, monkeypatch):
    change, outcome = WRONG[name]
    monkeypatch.setattr(datasets, "load_dataset", change)
    monkeypatch.setattr(config, "load_studies", change)
    made = fuzz_text.Made(0, kind, ("truncate",), b"")
    assert fuzz_text.judge(made, tmp_path / "text").outcome == outcome


@pytest.mark.parametrize("changes", [{"clips": ()}, {"classes": ("dog",)}, {"train_folds": {1: (1, 2)}}])
def test_wrong_data_sets_are_noticed(changes, fuzz_text, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", change_data(**changes))
    assert fuzz_text.judge(fuzz_text.make(0), tmp_path / "text").outcome == "inconsistent"


def test_settings_that_are_misread_are_noticed(fuzz_text, tmp_path, monkeypatch):
    load = config.load_settings
    monkeypatch.setattr(config, "load_settings", lambda path, overrides=(): load(path, [*overrides, "seed=99"]))
    made = fuzz_text.make(list(fuzz_text.TEXTS).index("settings"))
    assert fuzz_text.judge(made, tmp_path / "text").outcome == "inconsistent"


def test_whole_texts_that_are_refused_are_noticed(fuzz_text, tmp_path):
    made = fuzz_text.Made(0, "tut list", (), b"audio/a.wav beach\n")
    outcome = fuzz_text.judge(made, tmp_path / "text")
    assert outcome.outcome == "refused whole" and "separated by a tab" in outcome.detail
