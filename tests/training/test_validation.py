"""Validation while a network trains: which clips are read for what, when training ends, and which weights are kept."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import short_settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loglearn_tf.datasets.clips import Clip, DataSet, train_folds
from loglearn_tf.datasets.few_shot import split_clips
from loglearn_tf.errors import ConfigError
from loglearn_tf.study.grid import RunSpec, check_grid, clips_of
from loglearn_tf.study.settings import Settings, load_settings
from loglearn_tf.training import supervised
from loglearn_tf.training.supervised import CompiledModels, balanced_weights, fit, train_run


def build_small(n_classes, compression, seed, patch_frames, n_mels):
    """A network from outside."""
    mel = keras.Input((patch_frames, n_mels))
    start = keras.initializers.GlorotUniform(seed=seed)
    x = keras.layers.BatchNormalization()(keras.layers.Flatten()(compression(mel)))
    return keras.Model(mel, keras.layers.Dense(n_classes, kernel_initializer=start, name="logits")(x))


SMALL = f"{__name__}:build_small"


class Reads:
    """A store that notes whose mel power is asked for."""

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.read = seed, set()

    def mel(self, clip):
        self.read.add(clip.clip_id)
        number = [self.seed, *clip.clip_id.encode()]
        return np.random.default_rng(number).uniform(0.1, 1 + clip.label, (5 + clip.label, 2)).astype(np.float32)


@st.composite
def data_sets(draw):
    """Two classes, three folds or more, recordings of one to four clips that lie in one fold."""
    n_folds = draw(st.integers(3, 5))
    clips = []
    for fold in range(1, n_folds + 1):
        for label in range(2):
            for recording, n in enumerate(draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))):
                group = f"r{fold}-{label}-{recording}" if draw(st.booleans()) else ""
                names = [f"{fold}-{label}-{recording}-{at}" for at in range(n)]
                clips += [Clip(name, Path(name), label, fold, group=group) for name in names]
    folds = train_folds(range(1, n_folds + 1), draw(st.sampled_from(["next", "none"])))
    return DataSet("us8k", Path("data"), ("a", "b"), tuple(sorted(clips, key=lambda one: one.clip_id)), folds)


def study_of(dataset: DataSet, **training: object) -> Settings:
    left_out = "next" if len(dataset.train_folds[1]) < len(dataset.train_folds) - 1 else "none"
    text = {key: value for key, value in training.items()}
    settings = load_settings(
        "us8k",
        [f'models=["{SMALL}"]', "runs=2", "folds=[1]", "n_shot=[1,2,all]", "training.epochs=2", "training.batch_size=5",
         "features.patch_frames=4", "features.n_mels=2", f"data.validation_fold={left_out}"],
    )  # fmt: skip
    # Some of what is drawn contradicts itself, as `fold` without a fold to leave out: the data set then says so.
    return settings.model_copy(update={"training": settings.training.model_copy(update=text)})


@hypothesis_settings(derandomize=True, deadline=None, max_examples=60)
@given(data_sets(), st.data())
def test_which_clips_a_run_takes(dataset, data):
    fold = data.draw(st.sampled_from(sorted(dataset.train_folds)))
    kind, n = data.draw(st.sampled_from(["none", "fold", "share"])), data.draw(st.sampled_from([1, 2, "all"]))
    settings = study_of(dataset, validation=kind, validation_share=data.draw(st.floats(0.05, 0.5)))
    specs = [
        RunSpec("us8k", model, compression, n, fold, data.draw(st.integers(0, 3)), settings.seed)
        for model, compression in [("vgg", "logeps")]
    ]
    (spec,) = specs
    try:
        train, held_out = clips_of(spec, settings, dataset)
    except ConfigError as error:
        assert kind == "share" or (kind == "fold" and "needs a fold that is left out" in str(error))
        return
    assert fold not in {clip.fold for clip in (*train, *held_out)}
    assert not set(train) & set(held_out) and len({*train, *held_out}) == len(train) + len(held_out)
    assert {clip.label for clip in train} == {0, 1}
    for other in (replace(spec, model="timbre"), replace(spec, compression="loglearn"), replace(spec, model=SMALL)):
        assert clips_of(other, settings, dataset) == (train, held_out)
    if kind == "none":
        assert not held_out
    if kind == "fold":
        (left_out,) = {clip.fold for clip in held_out}
        assert left_out not in dataset.train_folds[fold]
        assert set(held_out) == {clip for clip in dataset.clips if clip.fold == left_out}
    if kind == "share":
        assert held_out and not {one.recording for one in train} & {one.recording for one in held_out}
        assert {clip.fold for clip in held_out} <= set(dataset.train_folds[fold])


@hypothesis_settings(derandomize=True, deadline=None, max_examples=5)
@given(data_sets(), st.sampled_from(["none", "fold", "share"]), st.sampled_from([2, "all"]))
def test_which_clips_are_read(dataset, kind, n):
    """By a whole run: of the test fold nothing before its scoring begins."""
    settings, spec = study_of(dataset, validation=kind), RunSpec("us8k", SMALL, "loglearn", n, 1, 0, 0)
    try:
        train, held_out = clips_of(spec, settings, dataset)
    except ConfigError:
        return
    store, before = Reads(), set()

    def scored(model, trajectory, source, test_clips, **_):
        before.update(store.read)
        return trajectory

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(supervised, "scored", scored)
        train_run(spec, settings, dataset, store)
    assert before == {clip.clip_id for clip in (*train, *held_out)}
    assert not before & {clip.clip_id for clip in dataset.test_clips(1)}


@hypothesis_settings(derandomize=True, deadline=None, max_examples=100)
@given(data_sets(), st.floats(0.05, 0.6), st.integers(0, 2**31))
def test_a_share_of_every_class_in_whole_recordings(dataset, share, seed):
    train, held_out = split_clips(dataset.clips, share=share, seed=seed)
    assert sorted((*train, *held_out), key=lambda clip: clip.clip_id) == list(dataset.clips)
    assert not {one.recording for one in train} & {one.recording for one in held_out}
    whole, taken = (Counter(clip.label for clip in some) for some in (dataset.clips, held_out))
    for label in (0, 1):
        longest = max(Counter(one.recording for one in dataset.clips if one.label == label).values())
        assert 1 <= taken[label] < whole[label]
        assert taken[label] <= max(longest, round(share * whole[label]))
        if longest == 1:
            assert taken[label] == max(1, round(share * whole[label]))
    assert split_clips(dataset.clips, share=share, seed=seed) == (train, held_out)


def test_what_cannot_be_spared():
    def clips(*recordings):
        return [Clip(f"{at}", Path("x"), label, 1, group=group) for at, (label, group) in enumerate(recordings)]

    with pytest.raises(ConfigError, match="needs a class with at least two training recordings"):
        split_clips(clips((0, "a"), (0, "a"), (1, "b")), share=0.5, seed=0)
    train, held_out = split_clips(clips((0, "a"), (1, "b"), (1, "c")), share=0.5, seed=0)
    assert [clip.label for clip in held_out] == [1]  # the other class has one clip, which trains
    # A recording of both classes goes as a whole.
    for seed in range(10):
        both = clips((0, "a"), (1, "a"), (0, "b"), (1, "b"), (0, "c"), (1, "c"))
        _, held_out = split_clips(both, share=0.3, seed=seed)
        assert [clip.label for clip in held_out] == [0, 1]


def test_folds_that_are_only_tested_validate_nothing():
    clips = tuple(Clip(f"{fold}", Path("x"), 0, fold) for fold in range(4))
    dataset = DataSet("mine", Path("data"), ("a",), clips, {1: (0,), 2: (0,)})
    assert {clip.fold for clip in dataset.validation_clips(1)} == {3}
    assert replace(dataset, clips=clips[:3]).validation_clips(1) == ()


def test_contradictions_are_refused_before_any_work(us8k):
    for settings, message in (
        (
            ["models=vgg", "data.validation_fold=none", "training.validation=fold"],
            "needs the fold that `data.validation_fold=next`",
        ),
        (["training.validation=share", "training.validation_share=1.0"], "less than 1"),
        (["training.validation=test"], "'none', 'fold' or 'share'"),
        (["training.validation=fold"], "`training.validation` does not apply to prototypical"),
        (["training.patience=0"], "greater than or equal to 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_settings("us8k", settings)
    narrow = ["models=vgg", "folds=[1]", "runs=1"]
    with pytest.raises(ConfigError, match="at least two training recordings"):
        check_grid(load_settings("us8k", [*narrow, "n_shot=1", "training.validation=share"]), us8k)
    with pytest.raises(ConfigError, match="leaves none out for test fold 2"):
        check_grid(
            load_settings("us8k", ["models=vgg", "folds=[2]", "runs=1", "n_shot=1", "training.validation=fold"]),
            replace(us8k, clips=tuple(clip for clip in us8k.clips if clip.fold != 3), train_folds={2: (1,), 1: (2,)}),
        )


class TestTraining:
    def test_the_best_weights_are_kept(self, us8k, us8k_store, us8k_root, tmp_path, monkeypatch):
        """Losses that a test chooses: the third epoch is the best, and two more are waited for."""
        more = ["models=timbre", "training.validation=fold", "training.patience=2", "training.epochs=9"]
        settings = short_settings(us8k_root, tmp_path, *more)
        losses, seen = iter([3.0, 2.0, 1.0, 1.5, 1.0, 0.1]), []

        def evaluate(model, *_, **__):
            seen.append([np.array(weight) for weight in model.weights])
            return {"loss": next(losses), "accuracy": 0.5}

        monkeypatch.setattr(keras.Model, "evaluate", evaluate)
        monkeypatch.setattr(supervised, "settle", lambda model, *, updates, **_: steps.append(updates))
        steps: list[int] = []
        outcome = train_run(RunSpec("us8k", "timbre", "loglearn", 1, 1, 0, 0), settings, us8k, us8k_store)
        assert [row["val_loss"] for row in outcome.history] == [None, 3.0, 2.0, 1.0, 1.5, 1.0]
        assert list(outcome.history[0])[:5] == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
        assert outcome.best_epoch == 3 and steps == [3]  # updates, one an epoch
        for weight, best in zip(outcome.model.weights, seen[2], strict=True):
            np.testing.assert_array_equal(weight, best)
        assert outcome.compression["knee"] == outcome.history[3]["knee"] != outcome.history[-1]["knee"]

    def test_the_loss_is_that_of_the_clips_that_were_left_out(self, us8k, us8k_store, us8k_root, tmp_path):
        more = ["models=timbre", "training.validation=fold", "training.l2=0.0", "training.epochs=1"]
        settings = short_settings(us8k_root, tmp_path, *more)
        outcome = train_run(RunSpec("us8k", "timbre", "loglearn", 1, 1, 0, 0), settings, us8k, us8k_store)
        losses, right = [], []
        for clip in us8k.clips:
            if clip.fold == 2:
                mel = us8k_store.mel(clip)
                mel = np.tile(mel, (-(-128 // len(mel)), 1))[: max(128, len(mel))]
                patches = np.stack([mel[at : at + 128] for at in range(0, len(mel) - 127, 128)])
                logits = np.asarray(outcome.model(patches, training=False), np.float64)
                logits -= logits.max(axis=1, keepdims=True)
                losses += list(np.log(np.exp(logits).sum(axis=1)) - logits[:, clip.label])
                right += list(logits.argmax(axis=1) == clip.label)
        assert outcome.history[1]["val_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
        assert outcome.history[1]["val_accuracy"] == pytest.approx(np.mean(right))

    def test_training_is_the_same_with_it(self, us8k, us8k_store, us8k_root, tmp_path):
        """On the fold that never trains: validation draws nothing."""
        spec = RunSpec("us8k", "sb_cnn", "loglearn", 1, 1, 0, 0)
        plain, validated = (
            train_run(spec, short_settings(us8k_root, tmp_path, *more), us8k, us8k_store).history
            for more in ([], ["models=sb_cnn", "training.validation=fold"])
        )
        assert [{key: row[key] for key in plain[0]} for row in validated] == plain
        assert "val_loss" not in plain[0] and math.isfinite(validated[-1]["val_loss"])

    @pytest.mark.parametrize("kind", ["none", "share"])
    def test_a_pair_shares_everything_with_all_clips_and_a_network_from_outside(self, kind, monkeypatch):
        clips = [Clip(f"{fold}{label}{at}", Path("x"), label, fold) for fold in (1, 2) for label in (0, 1) for at in
                 range(3 + label)]  # fmt: skip
        dataset = DataSet("us8k", Path("data"), ("a", "b"), tuple(clips), {1: (2,), 2: (1,)})
        settings = study_of(dataset, validation=kind, gain_db=(-20.0, 20.0), class_weights="balanced")
        seen: dict[tuple[str, int], list[np.ndarray]] = {}
        original = keras.Model.fit

        def spy(model, patches, validation_data=(), **arguments):
            weights = [np.array(weight) for weight in model.weights if "pre_gate" not in weight.path]
            batches = [part.numpy() for some in (patches, validation_data) for batch in some for part in batch]
            seen[key] = [*weights, *batches, np.array(sorted(arguments["class_weight"].items()))]
            return original(model, patches, validation_data=validation_data or None, **arguments)

        monkeypatch.setattr(keras.Model, "fit", spy)
        models = CompiledModels()
        for run in (0, 1):
            for compression in ("loglearn", "logeps"):
                key = (compression, run)
                spec = RunSpec("us8k", SMALL, compression, "all", 1, run, 0)
                train_run(spec, settings, dataset, Reads(), models=models)
        for run in (0, 1):
            for ours, theirs in zip(seen["loglearn", run], seen["logeps", run], strict=True):
                np.testing.assert_array_equal(ours, theirs)
        # Other weights and other patches of the same clips.
        differ = [not np.array_equal(a, b) for a, b in zip(seen["loglearn", 0], seen["loglearn", 1], strict=True)]
        assert sum(differ) >= 2

    def test_class_weights(self):
        labels = [0] * 6 + [1] * 2
        clips = tuple(Clip(f"{at}", Path("x"), label, 1) for at, label in enumerate(labels))
        weights = balanced_weights(clips)
        assert weights == {0: pytest.approx(8 / 12), 1: pytest.approx(2.0)}
        assert sum(weights[label] for label in labels) == pytest.approx(8)
        dataset = DataSet("us8k", Path("data"), ("a", "b"), clips, {1: (2,)})
        settings = study_of(replace(dataset, train_folds={1: (2, 3), 2: (1, 3), 3: (1, 2)}), class_weights="balanced")
        settings = settings.model_copy(
            update={"training": settings.training.model_copy(update={"epochs": 1, "batch_size": 8})}
        )
        model = keras.Sequential([keras.Input((4, 2)), keras.layers.Flatten(name="loglearn"), keras.layers.Dense(2)])
        supervised.compile_as_published(model, settings.training)
        ((patches, drawn),) = supervised.training_patches(Reads(), clips, n_epochs=1, batch_size=8, seed=3,
                                                          patch_frames=4)  # fmt: skip
        logits = np.asarray(model(patches), np.float64)
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(8), drawn]
        trajectory = fit(model, Reads(), clips, settings=settings, seed=3)
        expected = np.mean([weights[int(label)] * loss for label, loss in zip(drawn, losses, strict=True)])
        assert trajectory.rows[1]["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.long
def test_kept_networks_begin_anew_whatever_their_optimiser(us8k, us8k_store, us8k_root, tmp_path):
    """Adam's moments, schedules and all: a run's numbers do not depend on the runs before it."""
    more = ["models=timbre", "training.optimizer=adam", "training.learning_rate=0.01", "training.schedule=cosine"]
    settings = short_settings(us8k_root, tmp_path, *more)
    specs = [RunSpec("us8k", "timbre", "loglearn", n, 1, run, 0) for n, run in ((1, 0), ("all", 0), (1, 1))]
    models = CompiledModels()
    together = [train_run(spec, settings, us8k, us8k_store, models=models).history for spec in specs]
    assert together == [train_run(spec, settings, us8k, us8k_store).history for spec in specs]
