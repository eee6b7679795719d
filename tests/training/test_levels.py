"""Patches relative to the level of their clip, in training, scoring and the model that is handed out."""

import keras
import numpy as np
import pytest
from conftest import short_settings

from loglearn_tf.audio import load_waveform
from loglearn_tf.deploy.clip_classifier import clip_classifier
from loglearn_tf.layers import ClipLevel
from loglearn_tf.models import build_model
from loglearn_tf.study.grid import RunSpec
from loglearn_tf.training import episodic, supervised
from loglearn_tf.training.evaluation import accuracy, clip_probabilities
from loglearn_tf.training.levels import Levelled
from loglearn_tf.training.patches import training_patches
from loglearn_tf.training.supervised import CompiledModels, train_run


@pytest.fixture(scope="module")
def models():
    """Compiled networks that several tests train, of settings that compile the same."""
    return CompiledModels()


def spec_for(model, compression):
    return RunSpec("us8k", model, compression, n_shot=1, fold=1, run=0, seed=0)


class Gained:
    """A store of clips that are louder, or quieter."""

    def __init__(self, store, gain):
        self._store, self._gain = store, np.float32(gain)

    def mel(self, clip):
        return self._store.mel(clip) * self._gain


def test_a_patch_is_divided_by_the_level_of_its_clip_not_its_own(array_store):
    mel = np.ones((300, 4))
    mel[:150] = 3.0
    store = array_store([mel])
    ((patches, _),) = training_patches(Levelled(store), store.clips, n_epochs=1, batch_size=8, seed=0)
    assert set(np.unique(patches)) <= {np.float32(1.5), np.float32(0.5)}
    np.testing.assert_allclose(Levelled(store).mel(store.clips[0]), ClipLevel()(store.mel(store.clips[0])[None])[0])


def test_short_clips_are_levelled_before_they_are_repeated(array_store):
    short = np.arange(1.0, 41).reshape(10, 4)
    store = array_store([short])
    ((patches, _),) = training_patches(Levelled(store), store.clips, n_epochs=1, batch_size=8, seed=0)
    np.testing.assert_allclose(patches[0, :10], short / short.mean(), rtol=1e-6)


def test_silence_stays(array_store):
    store = array_store([np.zeros((5, 4))])
    np.testing.assert_array_equal(Levelled(store).mel(store.clips[0]), 0)


@pytest.mark.parametrize(
    "compression",
    [
        "learned_relative_knee",
        pytest.param("relative_knee", marks=pytest.mark.long),
        pytest.param("relative_logeps", marks=pytest.mark.long),
    ],
)
def test_a_run_is_the_same_at_every_level(us8k, us8k_store, settings, models, compression):
    outcomes = [
        train_run(spec_for("timbre", compression), settings, us8k, store, models=models)
        for store in (us8k_store, Gained(us8k_store, 2.0**-13))  # a power of two: no rounding, -39 dB
    ]
    np.testing.assert_array_equal(outcomes[0].probabilities, outcomes[1].probabilities)
    np.testing.assert_array_equal(outcomes[0].settled.probabilities, outcomes[1].settled.probabilities)
    assert (outcomes[0].history[-1]["knee"] == outcomes[0].history[0]["knee"]) == (
        compression != "learned_relative_knee"
    )


def test_any_other_run_is_not(us8k, us8k_store, settings, models):
    loud, quiet = (
        train_run(spec_for("timbre", "loglearn"), settings, us8k, store, models=models)
        for store in (us8k_store, Gained(us8k_store, 2.0**-13))
    )
    assert not np.allclose(loud.probabilities, quiet.probabilities, atol=1e-3)


def test_the_model_handed_out_levels_the_whole_clip(us8k, us8k_store, tmp_path):
    """As the store does: from the waveform, and after saving."""
    network = build_model("timbre", n_classes=10, compression="relative_knee", seed=3)
    classifier = clip_classifier(network, class_names=us8k.classes, patch_hop=20)
    assert any(isinstance(layer, ClipLevel) for layer in classifier.layers)
    classifier.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clips = us8k.clips[:3]
    expected = clip_probabilities(network, Levelled(us8k_store), clips, hop=20)
    for clip, row in zip(clips, expected, strict=True):
        waveform = load_waveform(clip.path, sample_rate=44_100)
        for gain in (1.0, 0.03):
            found = loaded.predict(gain * waveform[np.newaxis], verbose=0)[0]
            np.testing.assert_allclose(found, row, atol=2e-4)


def test_a_network_of_mel_power_is_handed_out_as_ever():
    classifier = clip_classifier(build_model("timbre", n_classes=2), class_names=["a", "b"])
    assert [layer.name for layer in classifier.layers] == ["waveform", "front_end", "clip"]


@pytest.mark.usefixtures("narrow_prototypical")
def test_prototypical_networks_too(us8k, us8k_store, settings):
    spec = spec_for("prototypical", "relative_knee")
    drawn = episodic.draw_episodes(Levelled(us8k_store), us8k.clips[:10], spec=spec, settings=settings)
    assert drawn.support.shape[0] and np.isfinite(drawn.support).all()
    outcome = episodic.train_run(spec, settings, us8k, us8k_store)  # n = 1: no update, an untrained encoder
    again = episodic.train_run(spec, settings, us8k, Gained(us8k_store, 2.0**-13))
    np.testing.assert_array_equal(outcome.probabilities, again.probabilities)
    assert outcome.settled.norm.residue == 1.0


class TestOtherLevels:
    """`evaluation.gains_db`: what is trained is scored louder and quieter; nothing is trained anew."""

    def test_accuracies_are_those_of_clips_at_that_level(self, us8k, us8k_store, us8k_root, models, tmp_path):
        gains = [-40.0, 0.0, 20.0]
        settings = short_settings(us8k_root, tmp_path, f"evaluation.gains_db={gains}", "training.epochs=20")
        outcome = train_run(spec_for("timbre", "loglearn"), settings, us8k, us8k_store, models=models)
        assert [row["gain_db"] for row in outcome.levels] == gains
        labels = [clip.label for clip in outcome.clips]
        for row in outcome.levels:
            store = Gained(us8k_store, 10 ** (row["gain_db"] / 10))
            ours = clip_probabilities(outcome.model, store, outcome.clips, hop=20)
            assert row["accuracy"] == accuracy(ours, labels)
        assert outcome.levels[1]["accuracy"] == outcome.accuracy
        assert outcome.levels[1]["accuracy_settled"] == outcome.settled.accuracy
        plain = short_settings(us8k_root, tmp_path, "training.epochs=20")
        alone = train_run(spec_for("timbre", "loglearn"), plain, us8k, us8k_store, models=models)
        assert alone.levels == () and alone.history == outcome.history
        np.testing.assert_array_equal(alone.probabilities, outcome.probabilities)

    def test_a_relative_knee_hears_no_difference(self, us8k, us8k_store, us8k_root, models, tmp_path):
        settings = short_settings(us8k_root, tmp_path, "evaluation.gains_db=[-60,20]")
        outcome = train_run(spec_for("timbre", "relative_knee"), settings, us8k, us8k_store, models=models)
        assert {row["accuracy"] for row in outcome.levels} == {outcome.accuracy}
        assert {row["accuracy_settled"] for row in outcome.levels} == {outcome.settled.accuracy}


class TestGainsInTraining:
    def test_a_pair_shares_them_and_a_relative_knee_does_not_see_them(
        self, us8k, us8k_store, us8k_root, tmp_path, monkeypatch
    ):
        seen, given = {}, []

        class Seen(Exception):
            """Nothing needs to be trained."""

        def watched(*arguments, **keywords):
            given.append(training_patches(*arguments, **keywords))
            raise Seen

        monkeypatch.setattr(supervised, "training_patches", watched)
        with_gains = short_settings(
            us8k_root, tmp_path, "training.gain_db=[-20,20]", "training.epochs=1", "models=[timbre]"
        )
        plain = short_settings(us8k_root, tmp_path, "training.epochs=1")
        for name, compression, settings in (
            ("loglearn", "loglearn", with_gains),
            ("logeps", "logeps", with_gains),
            ("plain", "logeps", plain),
            ("relative", "relative_knee", with_gains),
            ("relative plain", "relative_knee", plain),
        ):
            with pytest.raises(Seen):
                train_run(spec_for("timbre", compression), settings, us8k, us8k_store)
            seen[name] = next(iter(given[0]))[0].numpy()
            given.clear()
        np.testing.assert_array_equal(seen["loglearn"], seen["logeps"])
        gains = seen["logeps"].max((1, 2)) / seen["plain"].max((1, 2))
        assert len(np.unique(gains)) == 10 and 0.01 <= gains.min() < gains.max() <= 100
        np.testing.assert_array_equal(seen["relative"], seen["relative plain"])
