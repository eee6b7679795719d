"""Prototypical training: episodes, gradients through both branches, and when it stops."""

import dataclasses
import functools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import ArrayStore, short_settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loglearn_tf import LearnableLog, build_model
from loglearn_tf.errors import ConfigError
from loglearn_tf.study.grid import RunSpec
from loglearn_tf.training.accelerated.layers import Fused
from loglearn_tf.training.callbacks import StopWithoutProgress
from loglearn_tf.training.episodic import PrototypicalTraining, draw_episodes, fit, prepare, train_run
from loglearn_tf.training.patches import episodes
from loglearn_tf.training.supervised import CompiledModels

SPEC = RunSpec("us8k", "prototypical", "loglearn", n_shot=5, fold=1, run=0, seed=0)


def numbered(clip: int, n_frames: int) -> np.ndarray:
    """Every value tells clip and frame: `1000 * clip + frame`."""
    return np.repeat(1000.0 * clip + np.arange(n_frames)[:, np.newaxis], 4, axis=1)


def places(patches: np.ndarray) -> list[tuple[int, int]]:
    """(clip, start) of numbered patches."""
    return [divmod(int(value), 1000) for value in patches[:, 0, 0]]


def noises(n_classes: int, clips_per_class: int, n_frames: int = 260) -> list[np.ndarray]:
    """Classes that differ in which bands are loud."""
    rng = np.random.default_rng(3)
    mels = []
    for label in range(n_classes):
        for _ in range(clips_per_class):
            mel = rng.lognormal(-9, 1, (n_frames, 128))
            mel[:, 20 * label : 20 * label + 20] *= 1e4
            mels.append(mel)
    return mels


@pytest.fixture(scope="module")
def noise_store():
    return ArrayStore(noises(3, 6), labels=[label for label in range(3) for _ in range(6)])


@pytest.fixture(scope="module")
def trained(noise_store, us8k_root, tmp_path_factory):
    """Protocol -> a classifier that was trained by it, once; and what there was before and after. By the published one
    long enough to learn."""

    @functools.cache
    def trained(protocol):
        home = tmp_path_factory.mktemp("trained")
        patience = 4 if protocol == "pons2018" else 1
        settings = short_settings(us8k_root, home, f"protocol={protocol}", f"episodic.patience={patience}")
        model = build_model("prototypical", n_classes=3, n_filters=4, protocol=protocol, seed=2)
        drawn = draw_episodes(noise_store, noise_store.clips, spec=SPEC, settings=settings)
        training = prepare(model, drawn, settings=settings)
        before = model.get_weights()
        rows = fit(training, drawn, settings=settings).rows
        return SimpleNamespace(model=model, training=training, before=before, rows=rows)

    return trained


class TestEpisodes:
    def draw(self, store, **changes):
        arguments = {"n_support": 5, "n_query": 5, "patch_hop": 42, "overlap": True, "seed": 1, **changes}
        return episodes(store, store.clips, **arguments)

    @pytest.fixture
    def store(self, array_store):
        # 173 frames: starts 0 and 42; 431: 0, 42, ... 294.
        lengths, labels = (173, 431, 100, 173, 431, 128, 173), (0, 0, 0, 0, 0, 0, 1)
        return array_store([numbered(i, n) for i, n in enumerate(lengths)], labels=list(labels))

    def test_support_is_at_most_so_many_clips_of_a_class_by_one_patch_each(self, store):
        drawn = self.draw(store)
        assert drawn.support.shape == (6, 128, 4)
        assert drawn.support_labels.tolist() == [0] * 5 + [1]
        clips = [clip for clip, _ in places(drawn.support)]
        assert len(set(clips[:5])) == 5 and set(clips[:5]) <= set(range(6)) and clips[5] == 6
        assert all(start % 42 == 0 for _, start in places(drawn.support))

    def test_epoch_has_all_patches_divided_by_queries_as_updates(self, store):
        # 2 + 8 + 1 + 2 + 8 + 1 + 2 = 24 patches, 2 classes x 5 queries.
        assert self.draw(store).updates_per_epoch == 24 // 10
        assert self.draw(store, n_query=13).updates_per_epoch == 0

    def test_queries_are_patches_of_their_class_new_in_every_update(self, store):
        seen = set()
        for patches, labels in self.draw(store).queries.take(6):
            assert labels.numpy().tolist() == [0] * 5 + [1] * 5
            found = places(patches.numpy())
            assert all(store.clips[clip].label == label for (clip, _), label in zip(found, labels, strict=True))
            assert len(set(found[:5])) == 5  # distinct where there are enough
            assert set(found[5:]) <= {(6, 0), (6, 42)}  # two patches for five places: drawn again
            seen.add(tuple(found))
        assert len(seen) == 6

    def test_draws_depend_on_the_seed_alone(self, store):
        def everything(seed):
            drawn = self.draw(store, seed=seed)
            return [places(drawn.support), *(places(patches.numpy()) for patches, _ in drawn.queries.take(5))]

        assert everything(1) == everything(1) != everything(2)

    @given(st.lists(st.integers(128, 450), min_size=2, max_size=8), st.integers(1, 5), st.integers(0, 99))
    @hypothesis_settings(derandomize=True, deadline=None, max_examples=15)
    def test_clean_never_asks_for_a_patch_of_the_support(self, lengths, n_support, seed):
        labels = [i % 2 for i in range(len(lengths))]
        store = ArrayStore([numbered(i, n) for i, n in enumerate(lengths)], labels=labels)
        n_patches = [1 + (n - 128) // 42 for n in lengths]
        free = [
            sum(n for n, label in zip(n_patches, labels, strict=True) if label == c) - min(n_support, labels.count(c))
            for c in (0, 1)
        ]
        if not any(free):
            with pytest.raises(ConfigError, match="No class has a patch left for queries"):
                self.draw(store, n_support=n_support, overlap=False, seed=seed)
            return
        drawn = self.draw(store, n_support=n_support, overlap=False, seed=seed)
        support = set(places(drawn.support))
        updates = drawn.queries.take(min(3, drawn.updates_per_epoch))
        for patches, labels in updates:
            assert not support & set(places(patches.numpy()))
            assert set(labels.numpy()) == {c for c in (0, 1) if free[c]}


class TestTraining:
    def make(self, store, protocol, compression="loglearn"):
        model = build_model(
            "prototypical", n_classes=3, n_filters=4, compression=compression, protocol=protocol, seed=2
        )
        drawn = episodes(store, store.clips, n_support=5, n_query=5, patch_hop=42, overlap=True, seed=1)
        support = LearnableLog() if protocol == "pons2018" else model.layers[1]
        return PrototypicalTraining(model, support, drawn.support, drawn.support_labels), drawn

    @pytest.mark.parametrize("protocol", ["pons2018", "clean"])
    def test_log_probabilities_equal_numpy(self, noise_store, protocol):
        training, drawn = self.make(noise_store, protocol)
        ((query, _),) = drawn.queries.take(1)
        logits = np.asarray(training(query, training=False))

        encoder = training.encoder
        log = lambda x: np.log(np.exp(7.0) * x + np.log1p(np.e)).astype("float32")  # noqa: E731
        embedded = np.asarray(encoder(log(query.numpy()), training=False), np.float64)
        support = np.asarray(encoder(log(drawn.support), training=False), np.float64)
        prototypes = np.stack([support[drawn.support_labels == label].mean(axis=0) for label in range(3)])
        squares = (embedded[:, np.newaxis] - prototypes) ** 2
        distance = squares.mean(axis=2) if protocol == "pons2018" else squares.sum(axis=2)
        ours, theirs = (x - np.log(np.exp(x).sum(axis=1, keepdims=True)) for x in (logits.astype("float64"), -distance))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)

        training.store_prototypes()
        np.testing.assert_allclose(training.head.prototypes, prototypes, rtol=1e-4, atol=1e-6)
        # A few patches at a time, to the last bit.
        np.testing.assert_array_equal(training.head.prototypes, training.prototypes(training=False))
        # The classifier that is saved says the same as the training model, in inference mode.
        np.testing.assert_allclose(training.classifier(query, training=False), logits, rtol=1e-4, atol=1e-6)

    def test_pons2018_has_two_pairs_and_clean_one(self, noise_store):
        def pre_gates(protocol):
            training, drawn = self.make(noise_store, protocol)
            training(drawn.support[:1])
            return [weight for weight in training.trainable_weights if "pre_gate" in weight.path]

        assert len(pre_gates("pons2018")) == 4
        assert len(pre_gates("clean")) == 2

    def test_both_branches_train_and_update_the_moving_statistics(self, noise_store):
        training, drawn = self.make(noise_store, "pons2018")
        training.compile(
            keras.optimizers.SGD(0.1),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        training(drawn.support[:1])
        moving = training.encoder.get_layer("input_norm").moving_mean.numpy()
        training.fit(drawn.queries, epochs=1, steps_per_epoch=2, verbose=0, shuffle=False)
        assert float(training.query_compression.alpha) != pytest.approx(1096.633, abs=1e-3)
        assert float(training.support_compression.alpha) != pytest.approx(1096.633, abs=1e-3)
        assert float(training.support_compression.alpha) != float(training.query_compression.alpha)
        # Two updates of two branches with momentum .99: 1 - .99 ** 4 of the way.
        assert not np.allclose(training.encoder.get_layer("input_norm").moving_mean.numpy(), moving)

    @pytest.mark.parametrize("protocol", ["pons2018", "clean"])
    def test_history_tells_every_pair(self, trained, protocol):
        model, rows = trained(protocol).model, trained(protocol).rows
        pairs = ["alpha", "beta", "knee"]
        if protocol == "pons2018":
            pairs += ["alpha_support", "beta_support", "knee_support"]
        assert list(rows[0]) == ["epoch", "loss", "accuracy", *pairs]
        assert all(rows[0][name] == pytest.approx(1096.633, abs=1e-3) for name in pairs if "alpha" in name)
        assert all(rows[-1][name] != rows[0][name] for name in pairs)
        assert [row["epoch"] for row in rows] == list(range(len(rows)))
        assert np.any(model.get_layer("prototypes").prototypes.numpy())

    def test_the_encoder_is_accelerated_and_the_classifier_plain(self, trained):
        found = trained("pons2018")
        assert any(isinstance(layer, Fused) for layer in found.training.encoder.layers)
        assert not any(isinstance(layer, Fused) for layer in found.model.get_layer("encoder").layers)
        for old, new in zip(found.before, found.model.get_weights(), strict=True):
            assert np.any(old != new)

    def test_another_run_begins_as_if_it_were_the_first(self, noise_store):
        """Its support, and the compression of it."""
        drawn = [
            episodes(noise_store, noise_store.clips, n_support=5, n_query=5, patch_hop=42, overlap=True, seed=seed)
            for seed in (1, 2)
        ]
        kept, new = (
            PrototypicalTraining(
                build_model("prototypical", n_classes=3, n_filters=4, compression=LearnableLog(beta_pre_gate=0.5)),
                LearnableLog(),
                one.support,
                one.support_labels,
            )
            for one in drawn
        )
        kept.support_compression.set_weights([np.float32(3.0), np.float32(2.0)])
        kept.begin(drawn[1].support, drawn[1].support_labels)
        for one, other in zip(kept.variables, new.variables, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_training_learns(self, trained):
        assert max(row["accuracy"] for row in trained("pons2018").rows[1:]) > 0.9


class TestRun:
    @pytest.mark.usefixtures("narrow_prototypical")
    def test_too_few_patches_for_an_update_leave_the_encoder_untrained(self, us8k, us8k_store, settings):
        """US8K at n = 1: at most 20 patches, 50 queries. The reference then tests what was initialised."""
        spec = dataclasses.replace(SPEC, n_shot=1)
        outcome = train_run(spec, settings, us8k, us8k_store)
        assert [row["epoch"] for row in outcome.history] == [0]
        untrained = build_model("prototypical", seed=spec.seed_for("weights")).get_layer("encoder").get_weights()
        for ours, theirs in zip(outcome.model.get_layer("encoder").get_weights(), untrained, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert outcome.accuracy > 0.1  # one clip of a class is still like another
        np.testing.assert_allclose(outcome.probabilities.sum(axis=1), 1, rtol=1e-6)
        models = CompiledModels()
        train_run(dataclasses.replace(spec, run=1), settings, us8k, us8k_store, models=models)
        for again in (
            train_run(spec, settings, us8k, us8k_store),
            train_run(spec, settings, us8k, us8k_store, models=models),
        ):
            np.testing.assert_array_equal(again.probabilities, outcome.probabilities)


@pytest.mark.parametrize(
    ("in_a_row", "stops_after"),
    # Accuracies: best, best, -, -, best, -, -, -
    [(False, 6), (True, 8)],
)
def test_the_count_of_epochs_without_progress(in_a_row, stops_after):
    callback = StopWithoutProgress(epochs=3, in_a_row=in_a_row)
    callback.set_model(keras.Sequential([keras.layers.Dense(1)]))
    callback.on_train_begin()
    callback.model.stop_training = False
    for epoch, accuracy in enumerate([0.1, 0.2, 0.2, 0.1, 0.3, 0.3, 0.3, 0.1, 0.1]):
        callback.on_epoch_end(epoch, {"accuracy": accuracy})
        if callback.model.stop_training:
            break
    assert epoch + 1 == stops_after
