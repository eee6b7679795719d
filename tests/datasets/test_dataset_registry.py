"""The list of data sets: what is known of each; and data sets of one's own."""

import csv
import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from loglearn_tf._util.registry import load
from loglearn_tf.datasets import DATASETS, Clip, Corpus, DataSet, load_dataset, make_synthetic
from loglearn_tf.datasets.check import check_data
from loglearn_tf.datasets.folder import load_folder
from loglearn_tf.datasets.us8k import load_us8k
from loglearn_tf.errors import ConfigError, DataError, MissingDataError
from loglearn_tf.study.settings import DataSettings

# ---- Those of the package -----------------------------------------------------------------------------------------


def test_the_papers_data_sets_have_its_tables():
    assert {name: corpus.tables for name, corpus in DATASETS.items()} == {"us8k": (1, 2), "tut": (3, 4), "folder": None}
    assert {name: corpus.short for name, corpus in DATASETS.items()} == {
        "us8k": "US8K",
        "tut": "ASC-TUT",
        "folder": "Own recordings",
    }
    assert all(corpus.name == name for name, corpus in DATASETS.items())


@pytest.mark.parametrize("name", ["us8k", "tut"])
def test_what_a_record_says_is_what_is_loaded(name, tmp_path):
    corpus = DATASETS[name]
    made = make_synthetic(name, tmp_path / name, clips_per_class=[1], duration_s=0.5)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert corpus.is_at(made) and corpus.is_at(tmp_path) and not corpus.is_at(empty)  # or one folder deeper
    others = [DATASETS[other] for other in DATASETS if other != name]
    assert not any(other.is_at(made) for other in others)
    dataset = load_dataset(name, made)
    assert dataset.classes == corpus.classes and dataset.official and dataset.synthetic
    assert tuple(sorted(dataset.train_folds)) == corpus.test_folds
    parts = load(corpus.download, what=name)[name]
    assert all(part.archives for part in parts)
    assert "doi 10.5281/zenodo." in corpus.citation and corpus.licence


def test_one_default_of_the_validation_fold():
    """Of loaders called alone, too."""
    defaults = {
        inspect.signature(loader).parameters["validation_fold"].default
        for loader in (load_dataset, load_us8k, load_folder)
    }
    assert defaults == {DataSettings.model_fields["validation_fold"].default} == {"next"}


def test_no_record_is_read_before_it_is_asked_for():
    program = """
import sys
from loglearn_tf.datasets import DATASETS
DATASETS.check("us8k", setting="data.name")
print(sorted(DATASETS), [name for name in sys.modules if name.startswith("loglearn_tf.datasets.us")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "['folder', 'tut', 'us8k'] []\n", done.stderr


@pytest.mark.parametrize(
    ("name", "counts", "more", "n_clips"),
    [
        ("us8k", [2], {"folds": (1, 3)}, 2 * 10 * 2),
        ("tut", [2], {}, 15 * (2 + 2)),  # one number serves for both sets
        ("tut", [2, 1], {"folds": (1, 3)}, 15 * (2 + 1)),  # it has no folds
    ],
)
def test_synthetic_sets(name, counts, more, n_clips, tmp_path):
    root = make_synthetic(name, tmp_path / "made", clips_per_class=counts, duration_s=0.5, seed=3, **more)
    assert len(load_dataset(name, root).clips) == n_clips


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "folder",
            {"clips_per_class": [1]},
            "Own recordings has no synthetic form. Available: us8k, tut.",
        ),
        ("us8k", {"clips_per_class": [1, 2]}, r"of us8k may have at most 1 numbers. Received: \[1, 2\]"),
        ("tut", {"clips_per_class": [1, 2, 3]}, "of tut may have at most 2 numbers"),
        ("us8k", {"clips_per_class": [0]}, "`clips_per_class` must be 1 to 1000"),
        ("us8k", {"clips_per_class": [1], "duration_s": 100.0}, "`duration_s` must be 0.2 to 60 s"),
        ("esc50", {"clips_per_class": [1]}, "must name a data set"),
    ],
)
def test_synthetic_sets_that_cannot_be(name, arguments, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        make_synthetic(name, tmp_path / "made", **arguments)
    assert not (tmp_path / "made").exists()


# ---- One's own ----------------------------------------------------------------------------------------------------

CLASSES = ("low", "high")


def load_tones(root: Path | str) -> DataSet:
    """A folder of `<class>-<fold>-<number>.wav`, in no order."""
    clips = []
    for path in sorted(Path(root).glob("*.wav"), reverse=True):
        label, fold, _ = path.stem.split("-")
        clips.append(Clip(path.name, path, CLASSES.index(label), int(fold)))
    return DataSet("tones", Path(root), CLASSES, tuple(clips), {1: (2,), 2: (1,)})


def load_listed(root: Path | str, *, allow_missing: bool = False) -> DataSet:
    """A CSV file, which may list what is not there."""
    with Path(root, "list.csv").open(newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    clips = tuple(Clip(name, Path(root, name), CLASSES.index(name.split("-")[0]), 1) for name in names)
    load_listed.asked = allow_missing
    return DataSet("listed", Path(root), CLASSES, clips, {1: ()})


TONES = Corpus(name="tones", title="Pure tones", short="Tones", load=load_tones, test_folds=(1, 2))
ME = f"{__name__}:"


@pytest.fixture
def root(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for label in CLASSES:
        for fold in (1, 2):
            for number in range(2):
                soundfile.write(tmp_path / f"{label}-{fold}-{number}.wav", rng.uniform(-0.5, 0.5, 44_100), 44_100)
    return tmp_path


def test_a_bare_loader_is_a_data_set(root):
    dataset = load_dataset(f"{ME}load_tones", root, validation_fold="none", allow_missing=True)
    assert dataset.name == f"{ME}load_tones"  # the name of its runs
    assert [clip.clip_id for clip in dataset.clips] == sorted(path.name for path in root.iterdir())
    assert all(clip.n_bytes == clip.path.stat().st_size and clip.checksum for clip in dataset.clips)
    assert [clip.fold for clip in dataset.train_clips(1)] == [2] * 4


def test_a_record_keeps_what_it_says():
    corpus = DATASETS[f"{ME}TONES"]
    assert (corpus.name, corpus.title, corpus.test_folds) == (f"{ME}TONES", "Pure tones", (1, 2))


def test_replaced_sounds_and_other_classes_are_another_data_set(root, monkeypatch):
    before = load_dataset(f"{ME}load_tones", root)
    monkeypatch.setattr(sys.modules[__name__], "CLASSES", ("low", "high", "none"))
    assert load_dataset(f"{ME}load_tones", root).fingerprint != before.fingerprint
    monkeypatch.undo()
    (root / "low-1-0.wav").write_bytes((root / "high-1-0.wav").read_bytes())
    assert load_dataset(f"{ME}load_tones", root).fingerprint != before.fingerprint


def test_missing_clips(root):
    (root / "list.csv").write_text("name\nlow-1-0.wav\nhigh-1-0.wav\nhigh-1-9.wav\n")
    with pytest.raises(MissingDataError, match=r"1 of the 3 clips .* are missing .*: high-1-9\.wav"):
        load_dataset(f"{ME}load_listed", root)
    assert load_dataset(f"{ME}load_listed", root, allow_missing=True).missing == ("high-1-9.wav",)
    assert load_listed.asked is True


def test_it_can_be_checked(root):
    (root / "low-1-0.wav").write_bytes(b"nothing")
    (root / "high-2-1.wav").write_bytes((root / "high-1-1.wav").read_bytes())
    report = check_data(root, name=f"{ME}load_tones")
    assert [clip.name for clip in report.found("unreadable")] == ["low-1-0.wav"]
    assert [clip.name for clip in report.found("duplicate across folds")] == ["high-1-1.wav", "high-2-1.wav"]


def changed(**changes):
    return lambda root: replace(load_tones(root), **changes)


@pytest.mark.parametrize(
    ("loader", "error", "message"),
    [
        (lambda root: [1], DataError, "must return a `DataSet`. Received: list"),
        (changed(classes=("low",)), DataError, r"Labels of data set .* between 0 and 0. Received: 1, for .*high"),
        (changed(train_folds={1: (1, 2)}), DataError, "must not be used for both training and test. Received: fold 1"),
        (changed(clips=()), DataError, "No clips are listed"),
        (3, ConfigError, "must be a function from a root to a `DataSet`, or a `Corpus`. Received: 3"),
    ],
    ids=["no data set", "label", "leak", "empty", "no function"],
)
def test_a_data_set_that_contradicts_itself_is_refused(loader, error, message, root, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "mine", loader, raising=False)
    monkeypatch.setattr(DATASETS, "_found", {})
    with pytest.raises(error, match=message):
        load_dataset(f"{ME}mine", root)
