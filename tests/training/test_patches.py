"""Patches: which ones, in which order, and that they are what they claim to be."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loglearn_tf.training.patches import cut_patches, episodes, evaluation_patches, tile, training_patches


def numbered(clip: int, n_frames: int, n_mels: int = 128) -> np.ndarray:
    """A clip whose every value tells clip and frame: `1000 * clip + frame`."""
    return np.repeat(1000.0 * clip + np.arange(n_frames)[:, np.newaxis], n_mels, axis=1)


@pytest.fixture
def store(array_store):
    """Five clips; the fourth is shorter than a patch."""
    lengths = (173, 150, 128, 50, 431)
    return array_store([numbered(clip, n) for clip, n in enumerate(lengths)], labels=[3, 1, 4, 1, 5])


def epochs_of(dataset: tf.data.Dataset, per_epoch: int) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    batches = [(x.numpy(), y.numpy()) for x, y in dataset]
    return [batches[at : at + per_epoch] for at in range(0, len(batches), per_epoch)]


def test_every_epoch_holds_every_clip_once(store):
    dataset = training_patches(store, store.clips, n_epochs=30, batch_size=2, seed=7)
    assert dataset.element_spec[0].shape.as_list() == [None, 128, 128]
    starts, orders = set(), set()
    for epoch in epochs_of(dataset, per_epoch=3):
        assert [len(patches) for patches, _ in epoch] == [2, 2, 1]  # the partial batch is kept
        patches = np.concatenate([patches for patches, _ in epoch])
        labels = np.concatenate([labels for _, labels in epoch])
        clips = (patches[:, 0, 0] // 1000).astype(int)
        assert sorted(clips) == [0, 1, 2, 3, 4]
        assert [store.clips[clip].label for clip in clips] == labels.tolist()
        orders.add(tuple(clips))
        for clip, patch in zip(clips, patches, strict=True):
            frames = patch[:, 0] - 1000 * clip
            np.testing.assert_array_equal(patch, patch[:, :1].repeat(128, axis=1))
            if clip == 3:  # 50 frames: repeated, then cut
                np.testing.assert_array_equal(frames, np.arange(128) % 50)
            else:
                np.testing.assert_array_equal(frames, frames[0] + np.arange(128))
            if clip == 4:
                starts.add(frames[0])
    assert len(starts) > 20 and len(orders) > 15  # new patches and a new order each epoch


def test_nothing_is_tuned(store):
    """An iterator that tunes itself ends only when its tuner wakes, which may be half a minute later."""
    drawn = episodes(store, store.clips, n_support=1, n_query=1, patch_hop=42, overlap=True, seed=0)
    for patches in (
        training_patches(store, store.clips, n_epochs=2, batch_size=2, seed=0),
        evaluation_patches(store, store.clips, hop=1, batch_size=2),
        drawn.queries,
    ):
        assert patches.options().autotune.enabled is False


def test_every_start_is_equally_likely(store):
    dataset = training_patches(store, store.clips[1:2], n_epochs=2300, batch_size=1, seed=0)
    starts = np.array([patches.numpy()[0, 0, 0] - 1000 for patches, _ in dataset])
    counts = np.bincount(starts.astype(int), minlength=23)
    assert len(counts) == 23  # 150 - 128 + 1
    # Chi-square with 22 degrees of freedom: above 48.3 one time in a thousand, and the seed is fixed.
    assert ((counts - 100) ** 2 / 100).sum() < 48.3


def test_patches_depend_on_seed_and_epoch_alone(store):
    def all_patches(n_epochs: int, seed: int) -> np.ndarray:
        batches = training_patches(store, store.clips, n_epochs=n_epochs, batch_size=5, seed=seed)
        return np.stack([patches.numpy() for patches, _ in batches])

    np.testing.assert_array_equal(all_patches(4, 1), all_patches(4, 1))
    np.testing.assert_array_equal(all_patches(4, 1)[:2], all_patches(2, 1))
    assert not np.array_equal(all_patches(4, 1), all_patches(4, 2))


@pytest.mark.parametrize(
    ("n_frames", "hop", "n_patches"),
    # docs/fidelity.md, "Evaluation": 46 of a 4 s clip (173 frames), 304 of a 10 s clip (431 frames) at hop 1.
    [(173, 1, 46), (431, 1, 304), (431, 42, 8), (128, 1, 1), (60, 1, 1), (129, 1, 2), (170, 42, 2), (169, 42, 1)],
)
def test_number_of_patches_of_a_clip(array_store, n_frames, hop, n_patches):
    store = array_store([numbered(1, n_frames)])
    batches = list(evaluation_patches(store, store.clips, hop=hop, batch_size=10_000))
    assert [len(patches) for patches, _ in batches] == [n_patches]
    np.testing.assert_array_equal(batches[0][0][:, 0, 0], 1000 + hop * np.arange(n_patches))


def test_evaluation_visits_every_patch_of_every_clip_in_order(store):
    dataset = evaluation_patches(store, store.clips, hop=5, batch_size=8)
    assert dataset.element_spec[0].shape.as_list() == [None, 128, 128]
    batches = [(x.numpy(), y.numpy()) for x, y in dataset]
    patches, numbers = (np.concatenate(part) for part in zip(*batches, strict=True))
    expected = [
        (number, start)
        for number, n_frames in enumerate((173, 150, 128, 128, 431))
        for start in range(0, n_frames - 127, 5)
    ]
    assert [(n, p[0, 0] - 1000 * n) for n, p in zip(numbers, patches, strict=True)] == expected
    assert [len(n) for _, n in batches] == [8] * (len(expected) // 8) + [len(expected) % 8]


@given(st.integers(1, 300), st.integers(1, 150), st.integers(1, 60))
@hypothesis_settings(derandomize=True, deadline=None, max_examples=40)
def test_cut_patches_equals_numpy_windows(n_frames, patch_frames, hop):
    mel = tile(np.arange(2.0 * n_frames, dtype=np.float32).reshape(n_frames, 2), patch_frames)
    windows = np.lib.stride_tricks.sliding_window_view(mel, patch_frames, axis=0)[::hop].transpose(0, 2, 1)
    np.testing.assert_array_equal(cut_patches(mel, patch_frames=patch_frames, patch_hop=hop), windows)


@given(st.integers(1, 200), st.integers(1, 200))
@hypothesis_settings(derandomize=True, deadline=None)
def test_tile_repeats_a_short_clip_from_its_start(n_frames, patch_frames):
    mel = np.arange(float(n_frames))[:, np.newaxis]
    tiled = tile(mel, patch_frames)
    assert len(tiled) == max(n_frames, patch_frames)
    np.testing.assert_array_equal(tiled[:, 0], np.arange(len(tiled)) % n_frames)


@pytest.mark.parametrize("wrong", [{"patch_frames": 0}, {"patch_hop": 0}])
def test_cut_patches_names_what_is_wrong(wrong):
    with pytest.raises(ValueError, match="must be positive. Received: patch_frames="):
        cut_patches(np.zeros((200, 4), np.float32), **wrong)


class TestGains:
    def drawn(self, array_store, **more):
        store = array_store([np.full((150, 8), float(clip + 1)) for clip in range(6)])
        return [
            (x.numpy(), y.numpy())
            for x, y in training_patches(store, store.clips, n_epochs=40, batch_size=6, seed=7, **more)
        ]

    def test_one_for_every_clip_and_epoch_within_the_range_and_nothing_else_changes(self, array_store):
        plain, louder = self.drawn(array_store), self.drawn(array_store, gain_db=(-20.0, 10.0))
        found = []
        for (before, labels), (after, same) in zip(plain, louder, strict=True):
            np.testing.assert_array_equal(labels, same)
            gains = after / before
            np.testing.assert_allclose(gains, np.broadcast_to(gains[:, :1, :1], gains.shape), rtol=1e-6)
            found.append(gains[np.argsort(before[:, 0, 0]), 0, 0])
        gains_db = 10 * np.log10(np.array(found))
        assert gains_db.shape == (40, 6) and len(np.unique(gains_db)) == 240
        assert -20 <= gains_db.min() < -18 and 8 < gains_db.max() <= 10
        # As likely everywhere: mean of 240 within five of its standard errors.
        assert abs(gains_db.mean() + 5) < 5 * 30 / np.sqrt(12 * 240)

    def test_follow_from_the_seed(self, array_store):
        for (one, _), (other, _) in zip(
            self.drawn(array_store, gain_db=(-20.0, 20.0)), self.drawn(array_store, gain_db=(-20.0, 20.0)), strict=True
        ):
            np.testing.assert_array_equal(one, other)
