"""Patches of other lengths than 128 frames, from settings to the saved model."""

import keras
import numpy as np
import pytest
from conftest import short_settings

from loglearn_tf.datasets.few_shot import draw_clips
from loglearn_tf.deploy.clip_classifier import clip_classifier
from loglearn_tf.experiment.run import Work, Worker
from loglearn_tf.models.base import PATCH_FRAMES
from loglearn_tf.study.grid import RunSpec
from loglearn_tf.study.settings import FeatureSettings
from loglearn_tf.training import episodic, patches, supervised
from loglearn_tf.training.evaluation import clip_probabilities


def test_the_default_is_that_of_the_networks():
    assert FeatureSettings().patch_frames == PATCH_FRAMES


@pytest.mark.parametrize(("model", "frames"), [("timbre", 40), pytest.param("vgg", 150, marks=pytest.mark.long)])
def test_a_supervised_run(us8k, us8k_store, us8k_root, tmp_path, model, frames, monkeypatch):
    settings = short_settings(us8k_root, tmp_path, f"models={model}", f"features.patch_frames={frames}")
    spec = RunSpec("us8k", model, "loglearn", 1, 1, 0, 0)
    seen = []
    original = keras.Model.fit

    def spy(network, batches, **arguments):
        seen.extend(batch.shape for batch, _ in batches)
        return original(network, batches, **arguments)

    monkeypatch.setattr(keras.Model, "fit", spy)
    outcome = supervised.train_run(spec, settings, us8k, us8k_store)
    assert seen == [(10, frames, 128)] * 2
    assert outcome.model.input_shape == (None, frames, 128)
    # Scored by patches of the same length, as by hand.
    clip = outcome.clips[0]
    mel = patches.tile(us8k_store.mel(clip), frames)
    cut = np.stack([mel[at : at + frames] for at in range(0, len(mel) - frames + 1, settings.evaluation.patch_hop)])
    logits = np.asarray(outcome.model(cut, training=False), np.float64)
    by_hand = np.exp(logits - logits.max(axis=1, keepdims=True))
    by_hand = (by_hand / by_hand.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(outcome.probabilities[0], by_hand, atol=1e-5)


def test_a_prototypical_run(us8k, us8k_store, us8k_root, tmp_path):
    more = ["models=prototypical", "features.patch_frames=60", "episodic.patience=1", "n_shot=2"]
    settings = short_settings(us8k_root, tmp_path, *more)
    spec = RunSpec("us8k", "prototypical", "loglearn", 2, 1, 0, 0)
    clips = draw_clips(us8k, fold=1, n_shot=2, run=0, seed=0)
    drawn = episodic.draw_episodes(us8k_store, clips, spec=spec, settings=settings)
    assert drawn.support.shape == (20, 60, 128)
    ((queries, _),) = drawn.queries.take(1)
    assert queries.shape[1:] == (60, 128)
    training = episodic.prepare(
        supervised.build_model("prototypical", patch_frames=60, n_filters=4), drawn, settings=settings
    )
    assert training(queries).shape == (len(queries), 10)


def test_the_saved_model_cuts_patches_of_that_length(us8k, us8k_store, us8k_root, tmp_path):
    more = ["models=timbre", "features.patch_frames=40", "save_models=true", "features.window=hamming"]
    settings = short_settings(us8k_root, tmp_path, *more)
    worker = Worker(Work(settings, us8k, us8k_store.folder))
    network = supervised.build_model("timbre", patch_frames=40)
    deployed = worker._deployable(RunSpec("us8k", "timbre", "loglearn", 1, 1, 0, 0), network)
    assert deployed.get_layer("clip").network.input_shape == (None, 40, 128)
    assert deployed.get_layer("front_end").window == "hamming"
    deployed.save(tmp_path / "model.keras")
    waveform = np.random.default_rng(0).normal(0, 0.1, (1, 70_000)).astype("float32")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(waveform), deployed(waveform), rtol=1e-5)
    plain = clip_classifier(network, class_names=us8k.classes, front_end={"window": "hamming"}, patch_hop=20)
    np.testing.assert_allclose(deployed(waveform), plain(waveform), rtol=1e-5)


def test_a_network_that_takes_any_length_is_scored_by_the_patches_of_the_settings(array_store):
    """What the mean of a patch is, is another number for patches of another length."""
    mel = np.cumsum(np.ones((10, 2), np.float32), axis=0)
    store = array_store([mel])
    any_length = keras.Input((None, 2))
    loudest = keras.layers.GlobalMaxPooling1D()(any_length)
    weights = keras.layers.Dense(2, kernel_initializer=lambda shape, dtype: np.array([[1.0, 0.0], [0.0, -1.0]]))
    model = keras.Model(any_length, weights(loudest))
    found = [clip_probabilities(model, store, store.clips, hop=1, patch_frames=n) for n in (2, 9)]
    for n, probabilities in zip((2, 9), found, strict=True):
        largest = np.arange(n, 11)
        np.testing.assert_allclose(probabilities[0, 0], np.mean(1 / (1 + np.exp(-2.0 * largest))), rtol=1e-6)
