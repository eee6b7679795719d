"""The same sounds read in two ways, by their layout and by a CSV file, make the same data set."""

import csv
import os
from pathlib import PurePosixPath

import pytest

from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.few_shot import draw_clips

NAMES = [
    f"{fold}-{source}{fold}-{take}" for fold in range(1, 6) for source, take in ((101, "A"), (101, "B"), (102, "A"))
]


def write_csv(path, rows, columns):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def equal(one, other):
    assert one.clips == other.clips and one.recordings == other.recordings
    assert one.train_folds == other.train_folds and one.fingerprint == other.fingerprint
    for fold in one.train_folds:
        drawn = [draw_clips(data, fold=fold, n_shot=2, run=1, seed=0) for data in (one, other)]
        assert drawn[0] == drawn[1]


@pytest.mark.parametrize("validation_fold", ["next", "none"])
class TestEsc:
    def test_10_in_folders_of_classes(self, tmp_path, validation_fold):
        rows = []
        for number, label in enumerate(("001 - Dog bark", "002 - Rain")):
            (tmp_path / label).mkdir()
            for name in NAMES:
                path = f"{label}/{name[:2]}{number}{name[2:]}.ogg"
                (tmp_path / path).write_bytes(path.encode())
                rows.append((path, label, name[0]))
        by_layout = load_dataset("folder", tmp_path, validation_fold=validation_fold)
        listed = write_csv(tmp_path / "clips.csv", rows[::-1], ("path", "label", "fold"))
        equal(by_layout, load_dataset("folder", listed, validation_fold=validation_fold))

    def test_50(self, tmp_path, validation_fold):
        rows = [(f"{name}-{at}.wav", label, name[0]) for name in NAMES for at, label in enumerate(("dog", "rain"))]
        (tmp_path / "audio").mkdir()
        (tmp_path / "meta").mkdir()
        for name, *_ in rows:
            (tmp_path / "audio" / name).write_bytes(name.encode())
        write_csv(
            tmp_path / "meta" / "esc50.csv", [(*row, 0) for row in rows], ("filename", "category", "fold", "target")
        )
        by_layout = load_dataset("folder", tmp_path, validation_fold=validation_fold)
        listed = write_csv(tmp_path / "audio" / "clips.csv", rows, ("path", "label", "fold"))
        equal(by_layout, load_dataset("folder", listed, validation_fold=validation_fold))


def test_esc10_itself(shared):
    """Its list calls classes otherwise than its folders, so that fingerprints differ, and nothing else does."""
    root = shared / "data" / "ESC-10"
    by_layout, listed = load_dataset("folder", root), load_dataset("folder", root / "clips.csv")
    same = {"001 - Dog bark": "dog_bark", "004 - Baby cry": "baby_cry", "009 - Rooster": "rooster"}
    for one, other in zip(by_layout.clips, listed.clips, strict=True):
        assert (one.sound, one.fold, one.group, one.path) == (other.sound, other.fold, other.group, other.path)
        label = by_layout.classes[one.label]
        assert same.get(label, label[6:].lower().replace(" ", "_")) == listed.classes[other.label]
    assert len(by_layout.clips) == 400 and by_layout.train_folds == listed.train_folds


def test_urbansound8k(us8k_root, tmp_path):
    """Under another name it is another data set to draw from; clips, folds and recordings are the same."""
    official = load_dataset("us8k", us8k_root)
    audio = PurePosixPath(os.path.relpath(us8k_root / "audio", tmp_path))
    with (us8k_root / "metadata" / "UrbanSound8K.csv").open() as file:
        rows = [
            (audio / f"fold{row['fold']}" / row["slice_file_name"], row["class"], row["fold"])
            for row in csv.DictReader(file)
        ]
    own = load_dataset("folder", write_csv(tmp_path / "clips.csv", rows, ("path", "label", "fold")))

    def said(data):
        return {
            PurePosixPath(clip.clip_id).name: (
                data.classes[clip.label],
                clip.fold,
                clip.group,
                clip.n_bytes,
                clip.checksum,
            )
            for clip in data.clips
        }

    assert said(own) == said(official)
    assert set(own.train_folds) == {clip.fold for clip in own.clips} <= set(official.train_folds)
