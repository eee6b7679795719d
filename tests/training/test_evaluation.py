"""Clip predictions: the mean of the patches' softmax, over every patch of every clip."""

import keras
import numpy as np
import pytest

from loglearn_tf import build_model
from loglearn_tf.training.evaluation import accuracy, clip_probabilities


@pytest.fixture
def store(array_store):
    rng = np.random.default_rng(0)
    return array_store([rng.lognormal(-5, 4, (n, 128)) for n in (173, 40, 128, 140, 300)])


def by_hand(model: keras.Model, mel: np.ndarray, hop: int) -> np.ndarray:
    """Patch by patch, in float64."""
    length = model.input_shape[1] or 128
    if len(mel) < length:
        mel = np.concatenate([mel] * 4)[:length]
    patches = np.stack([mel[start : start + length] for start in range(0, len(mel) - length + 1, hop)])
    logits = np.asarray(model(patches, training=False), np.float64)
    return np.mean(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), axis=0)


@pytest.mark.parametrize(("hop", "batch_size"), [(1, 64), (7, 5)])
def test_equals_scoring_patch_by_patch(store, hop, batch_size):
    model = build_model("sb_cnn", n_classes=4, seed=3)
    probabilities = clip_probabilities(model, store, store.clips, hop=hop, batch_size=batch_size)
    expected = np.stack([by_hand(model, store.mel(clip), hop) for clip in store.clips])
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_long_clips_go_in_stretches(array_store, monkeypatch):
    from loglearn_tf.training import evaluation

    store = array_store([np.random.default_rng(0).lognormal(-5, 4, (n, 128)) for n in (173, 150)])
    model = build_model("timbre", n_classes=4, seed=3)
    for hop in (1, 3):
        whole = clip_probabilities(model, store, store.clips, hop=hop)
        with monkeypatch.context() as patch:
            patch.setattr(evaluation, "_PATCHES_AT_ONCE", 10)
            np.testing.assert_allclose(clip_probabilities(model, store, store.clips, hop=hop), whole, rtol=1e-5)


class TestWhatIsScoredAtOnce:
    """Memory is bounded: never more patches than allowed, clips of one length side by side, long ones in stretches."""

    @pytest.fixture
    def scored(self, monkeypatch, array_store):
        """Frames of clips -> the `(clips, frames)` that were scored, one after the other, at hop 1."""
        from loglearn_tf.training import evaluation

        model = build_model("timbre", n_classes=4, seed=3)

        def scored(n_frames: list[int], at_most: int) -> list[tuple[int, int]]:
            shapes = []
            logits = evaluation.SlidingScorer.logits

            def recorded(scorer, mels):
                shapes.append(mels.shape[:2])
                return logits(scorer, mels)

            store = array_store([np.random.default_rng(0).lognormal(-5, 4, (n, 128)) for n in n_frames])
            with monkeypatch.context() as patch:
                patch.setattr(evaluation, "_PATCHES_AT_ONCE", at_most)
                patch.setattr(evaluation.SlidingScorer, "logits", recorded)
                clip_probabilities(model, store, store.clips, hop=1)
            return shapes

        return scored

    def test_short_clips_go_together(self, scored):
        # Three patches each; three clips are nine patches.
        assert scored([130] * 8, 10) == [(3, 130), (3, 130), (2, 130)]

    def test_clips_of_other_lengths_go_apart(self, scored):
        assert scored([130, 129, 100, 130, 128], 100) == [(2, 130), (1, 129), (2, 128)]

    def test_a_long_clip_goes_in_stretches_that_share_what_patches_share(self, scored):
        # 173 patches: 100, and 73 of the frames from 100 on.
        assert scored([300, 300], 100) == [(1, 227), (1, 200), (1, 227), (1, 200)]


@pytest.mark.parametrize(("hop", "sliding"), [(1, True), (16, True), (17, False)])
def test_patches_far_apart_are_cut(store, monkeypatch, hop, sliding):
    from loglearn_tf.training import evaluation

    asked = []
    monkeypatch.setattr(evaluation, "sliding_scorer", lambda model, hop: asked.append(hop))
    clip_probabilities(build_model("timbre", n_classes=4, seed=3), store, store.clips[:1], hop=hop)
    assert asked == [hop] * sliding


@pytest.mark.parametrize("hop", [1, 16, 17, 40])
def test_patches_are_as_long_as_the_network_takes_them(store, hop):
    model = build_model("vgg", n_classes=4, seed=3, patch_frames=96, n_filters=4)
    probabilities = clip_probabilities(model, store, store.clips, hop=hop)
    expected = np.stack([by_hand(model, store.mel(clip), hop) for clip in store.clips])
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5, atol=1e-7)


def test_a_network_of_any_length_gets_patches_of_128_frames(store):
    mel = keras.Input((None, 128))
    x = keras.layers.Conv2D(4, (3, 128))(keras.layers.Reshape((-1, 128, 1))(keras.ops.log(mel + 1e-9)))
    model = keras.Model(mel, keras.layers.GlobalMaxPooling2D()(x))
    for hop in (1, 20):
        expected = np.stack([by_hand(model, store.mel(clip), hop) for clip in store.clips])
        found = clip_probabilities(model, store, store.clips, hop=hop)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_that_patches_are_far_apart_is_logged(store, caplog):
    with caplog.at_level("DEBUG", logger="loglearn_tf"):
        clip_probabilities(build_model("timbre", n_classes=4), store, store.clips[:1], hop=17)
    assert [(one.name, one.getMessage()) for one in caplog.records] == [
        (
            "loglearn_tf.training.evaluation",
            "timbre at hop 17: patches are cut out, since they share little at this distance",
        )
    ]


def test_averages_probabilities_not_logits(array_store):
    # One patch is sure of class 0, three lean to class 1: in the mean of softmax the three win,
    # in the mean of logits the one would.
    store = array_store([np.arange(131.0)[:, np.newaxis].repeat(128, axis=1)])
    inputs = keras.Input((128, 128))
    is_first = keras.ops.cast(keras.ops.equal(inputs[:, 0, :1], 0.0), "float32")
    logits = is_first * np.array([[30.0, 0.0]], "float32") + (1 - is_first) * np.array([[0.0, 2.0]], "float32")
    probabilities = clip_probabilities(keras.Model(inputs, logits), store, store.clips, hop=1)
    sure = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(probabilities, [[(1 + 3 * (1 - sure)) / 4, 3 * sure / 4]], rtol=1e-6)
    assert probabilities.argmax() == 1


def test_uses_inference_mode(store):
    model = build_model("vgg", n_classes=4, seed=3)
    first = clip_probabilities(model, store, store.clips, hop=40)
    # Dropout would differ from call to call, batch statistics from the batch's other clips.
    np.testing.assert_array_equal(first, clip_probabilities(model, store, store.clips, hop=40))
    alone = clip_probabilities(model, store, store.clips[:1], hop=40)
    np.testing.assert_allclose(alone[0], first[0], rtol=1e-5)


def test_accuracy_counts_every_clip():
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.5, 0.5], [0.2, 0.8]])
    assert accuracy(probabilities, [0, 1, 0, 0]) == 0.75  # of equals, the first class wins
