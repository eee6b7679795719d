"""Runs with `training.precision=bfloat16`: trained in it, scored and saved in float32, and another study.

Whether the processor computes in bfloat16 is injected: all of it passes on those that do not.
"""

import json

import keras
import numpy as np
import pytest
from conftest import short_settings

from loglearn_tf.datasets.few_shot import draw_clips
from loglearn_tf.errors import ConfigError
from loglearn_tf.experiment import estimate
from loglearn_tf.experiment.networks import check_networks, has_to_be_tried
from loglearn_tf.experiment.run import Work, Worker
from loglearn_tf.models import MODELS, Network
from loglearn_tf.models.vgg import build_vgg
from loglearn_tf.study.grid import plan_runs, run_identity
from loglearn_tf.study.run_folder import split_done, write_run
from loglearn_tf.training import episodic, measure, supervised
from loglearn_tf.training.accelerated import precision
from loglearn_tf.training.accelerated.layers import Fused


@pytest.fixture
def computes_in_bfloat16(monkeypatch):
    monkeypatch.setattr(precision, "share_of_float32", lambda: 0.2)


@pytest.fixture
def emulates_bfloat16(monkeypatch):
    monkeypatch.setattr(precision, "share_of_float32", lambda: 3.0)


@pytest.fixture
def in_bfloat16(us8k_root, tmp_path):
    def settings(*more):
        return short_settings(us8k_root, tmp_path, "training.precision=bfloat16", "episodic.patience=1", *more)

    return settings


@pytest.fixture
def fitted(monkeypatch):
    """The models that are trained."""
    models = []
    original = keras.Model.fit
    monkeypatch.setattr(keras.Model, "fit", lambda model, *a, **k: (models.append(model), original(model, *a, **k))[1])
    return models


@pytest.mark.usefixtures("computes_in_bfloat16", "narrow_prototypical")
@pytest.mark.parametrize("name", ["sb_cnn", pytest.param("prototypical", marks=pytest.mark.long)])
class TestRuns:
    def test_a_run_is_trained_in_it_and_scored_and_saved_in_float32(
        self, us8k, us8k_store, in_bfloat16, fitted, tmp_path, name
    ):
        settings = in_bfloat16(f"models={name}", "episodic.n_query=1")
        train = episodic.train_run if name == "prototypical" else supervised.train_run
        outcome = train(plan_runs(settings)[1], settings, us8k, us8k_store)
        (trained,) = fitted
        fused = [layer for layer in trained._flatten_layers() if isinstance(layer, Fused)]
        assert fused and {layer.precision for layer in fused} == {"bfloat16"}
        assert all(np.isfinite(row["loss"]) for row in outcome.history[1:])
        layers = list(outcome.model._flatten_layers())
        assert not any(isinstance(layer, Fused) for layer in layers)
        assert {layer.dtype_policy.name for layer in layers} == {"float32"}
        assert {v.dtype for v in outcome.model.variables if "seed" not in v.path} == {"float32"}
        outcome.model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        mel = (10 ** np.random.default_rng(0).uniform(-8, 2, (3, 128, 128))).astype("float32")
        ours = outcome.model(mel, training=False)
        np.testing.assert_array_equal(again(mel, training=False), ours)
        if name == "prototypical":  # the prototypes are those of the float32 encoder
            clips = draw_clips(us8k, fold=1, n_shot=1, run=0, seed=0)
            support = episodic.draw_episodes(us8k_store, clips, spec=plan_runs(settings)[1], settings=settings).support
            embeddings = outcome.model.get_layer("encoder")(trained.support_compression(support), training=False)
            np.testing.assert_allclose(outcome.model.get_layer("prototypes").prototypes, embeddings, atol=1e-5)

    def test_a_study_goes_on_in_the_same_precision_alone(self, us8k, us8k_store, in_bfloat16, name):
        settings = in_bfloat16(f"models={name}", "compressions=[loglearn]", "runs=2", "episodic.n_query=1")
        worker, specs = Worker(Work(settings, us8k, us8k_store.folder)), plan_runs(settings)
        record = worker.perform(specs[0])
        assert record.result["status"] == "done", record.result.get("error")
        assert json.loads(json.dumps(record.result["identity"]))["training.precision"] == "bfloat16"
        write_run(settings.study_dir, specs[0], record.files, record.result)
        assert split_done(settings.study_dir, specs, run_identity(settings, us8k)) == ([specs[0]], [specs[1]])
        published = settings.model_copy(
            update={"training": settings.training.model_copy(update={"precision": "float32"})}
        )
        with pytest.raises(ConfigError, match="training.precision: bfloat16 -> None"):
            split_done(settings.study_dir, specs, run_identity(published, us8k))

    def test_the_same_run_twice_is_the_same(self, us8k, us8k_store, in_bfloat16, name):
        settings = in_bfloat16(f"models={name}", "episodic.n_query=1")
        train = episodic.train_run if name == "prototypical" else supervised.train_run
        models, spec = supervised.CompiledModels(), plan_runs(settings)[1]
        ours, again = (train(spec, settings, us8k, us8k_store, models=models) for _ in range(2))
        assert ours.history == again.history
        np.testing.assert_array_equal(ours.probabilities, again.probabilities)


def test_a_run_in_float32_fast_is_like_one_in_float32(us8k, us8k_store, us8k_root, tmp_path, fitted):
    """The first epoch to six digits; later ones multiply the differences. It is repeated to the last bit."""
    outcomes = []
    for kind in ("float32", "float32_fast", "float32_fast"):
        settings = short_settings(us8k_root, tmp_path, f"training.precision={kind}", "models=[sb_cnn]")
        outcomes.append(supervised.train_run(plan_runs(settings)[1], settings, us8k, us8k_store))
        layers = list(outcomes[-1].model._flatten_layers())
        assert not any(isinstance(layer, Fused) for layer in layers)
    used = [{layer.precision for layer in model._flatten_layers() if isinstance(layer, Fused)} for model in fitted]
    assert used == [{"float32"}, {"float32_fast"}, {"float32_fast"}]
    ours, fast, again = outcomes
    assert fast.history == again.history
    np.testing.assert_array_equal(fast.probabilities, again.probabilities)
    assert fast.history[1]["loss"] == pytest.approx(ours.history[1]["loss"], rel=1e-5)


@pytest.mark.usefixtures("emulates_bfloat16")
class TestRefused:
    @pytest.mark.parametrize("train", [supervised.train_run, episodic.train_run])
    def test_a_run_where_it_is_emulated(self, us8k, us8k_store, in_bfloat16, train):
        settings = in_bfloat16("models=[sb_cnn]")
        with pytest.raises(ConfigError, match="3 times as long in bfloat16 as in float32, so it is emulated"):
            train(plan_runs(settings)[0], settings, us8k, us8k_store)

    def test_a_study_before_its_first_run(self, in_bfloat16, settings):
        assert has_to_be_tried(in_bfloat16()) and not has_to_be_tried(settings)
        with pytest.raises(ConfigError, match="so it is emulated"):
            check_networks([(in_bfloat16(), 10)])

    def test_not_by_the_machine_that_a_cluster_is_asked_from(self, in_bfloat16):
        check_networks([(in_bfloat16("ray=auto"), 10)])

    def test_not_in_float32(self, settings):
        check_networks([(settings, 10)])


@pytest.mark.usefixtures("computes_in_bfloat16")
def test_networks_from_outside_must_be_trained_by_this_package(in_bfloat16, monkeypatch):
    def narrow(**arguments):
        return build_vgg(n_filters=2, **arguments)

    ours = Network(name="lab.nets:ours", title="ours", build=narrow)
    theirs = Network(name="lab.nets:theirs", title="theirs", build=narrow, trainer="lab.training:train_run")
    for network in (ours, theirs):
        monkeypatch.setitem(MODELS._found, network.name, network)
    check_networks([(in_bfloat16("models=['lab.nets:ours']", "compressions=[loglearn]"), 3)])
    for kind in ("bfloat16", "float32_fast"):
        settings = in_bfloat16("models=['lab.nets:theirs']", "compressions=[loglearn]", f"training.precision={kind}")
        with pytest.raises(ConfigError, match=f"{kind}` is for.* lab.nets:theirs, whose trainer is lab.training:"):
            check_networks([(settings, 3)])


def test_an_estimate_times_steps_in_it(in_bfloat16, settings, monkeypatch):
    asked = []
    monkeypatch.setattr(measure, "accelerate", lambda network, *, precision: asked.append(precision) or 1 / 0)
    sounds = estimate.expected_sounds(in_bfloat16())
    for one in (in_bfloat16(), settings):
        with pytest.raises(ZeroDivisionError):
            measure.rates_of(one, "timbre", "loglearn", sounds)
    assert asked == ["bfloat16", "float32"]
    assert estimate._like(in_bfloat16(), "timbre", "loglearn") != estimate._like(settings, "timbre", "loglearn")
