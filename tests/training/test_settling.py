"""Settled batch normalisation: its closed form, what is computed anew, and what is left as it was."""

import keras
import numpy as np
import pytest
from conftest import short_settings
from keras import layers

from loglearn_tf.models import build_model
from loglearn_tf.study.grid import RunSpec
from loglearn_tf.training import episodic
from loglearn_tf.training.accelerated import accelerate
from loglearn_tf.training.patches import training_patches
from loglearn_tf.training.settling import settle
from loglearn_tf.training.supervised import CompiledModels, seen_patches, train_run


def patches(seed=0, n=4, n_frames=128):
    rng = np.random.default_rng(seed)
    return (10 ** rng.uniform(-6, 1, (n, n_frames, 128))).astype("float32")


def state(model):
    return {variable.path: np.array(variable) for variable in model.variables}


class TestClosedForm:
    @pytest.mark.parametrize("updates", [1, 10, 199])
    def test_averages_of_a_steady_input_become_its_mean_and_variance(self, updates):
        """Fed the same batch, settled averages are that batch's own, which are computed here in NumPy."""
        network, batch = build_model("timbre", compression="logeps"), patches()
        norm = network.get_layer("input_norm")
        for _ in range(updates):
            norm(np.log10(np.float64(batch) + 2.2e-16)[..., np.newaxis].astype("float32"), training=True)
        log_mel = np.log10(np.float64(batch) + 2.220446049250313e-16)
        mean, variance = log_mel.mean(), log_mel.var()
        published = float(norm.moving_mean[0]), float(norm.moving_variance[0])
        found = settle(network, updates=updates)
        # float32 keeps a step of the averages, 1 % of what comes in, to some 1e-5 of it.
        np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4)
        np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-4)
        assert found.residue == pytest.approx(0.99**updates)
        assert found.scale == pytest.approx(np.sqrt((variance + 1e-3) / (published[1] + 1e-3)), rel=1e-4)
        assert found.shift == pytest.approx((mean - published[0]) / np.sqrt(published[1] + 1e-3), rel=1e-4)

    def test_changes_the_two_averages_of_the_input_alone(self):
        network = build_model("sb_cnn")
        network(patches(), training=True)
        before = state(network)
        settle(network, updates=1)
        changed = {path for path, value in state(network).items() if not np.array_equal(value, before[path])}
        assert changed == {path for path in before if "input_norm/moving" in path} and len(changed) == 2

    def test_starts_elsewhere_and_forgets_otherwise(self):
        start = keras.initializers.Constant
        norm = layers.BatchNormalization(
            momentum=0.5, moving_mean_initializer=start(3.0), moving_variance_initializer=start(8.0)
        )
        model = keras.Sequential([keras.Input((2,)), norm])
        batch = np.float32([[1, 10], [3, 30]])
        model(batch, training=True)
        settle(model, updates=1)
        np.testing.assert_allclose(norm.moving_mean, [2, 20], rtol=1e-6)
        np.testing.assert_allclose(norm.moving_variance, [1, 100], rtol=1e-6)

    def test_many_updates_leave_nothing_to_settle(self):
        network = build_model("timbre")
        norm = network.get_layer("input_norm")
        norm.moving_mean.assign([-3.0])
        norm.moving_variance.assign([7.0])
        found = settle(network, updates=5000)
        np.testing.assert_array_equal(norm.moving_variance, np.float32([7]))
        assert (found.residue < 1e-20, found.scale, found.shift) == (True, 1, 0)

    def test_no_variance_below_zero(self):
        network = build_model("timbre")
        norm = network.get_layer("input_norm")
        norm.moving_variance.assign([0.13])  # less than 0.99 ** 199: nothing but rounding can leave it
        settle(network, updates=199)
        assert float(norm.moving_variance[0]) == 0


class TestAnew:
    @pytest.mark.parametrize("precision", ["float32", "float32_fast", "bfloat16"])
    def test_inner_norms_get_the_mean_over_batches_and_nothing_else_moves(self, precision):
        """In float32, whatever the precision of training."""
        network = build_model("vgg", seed=1)
        batches = [patches(seed) for seed in range(3)]
        before = state(network)
        settle(network, updates=100, patches=batches, precision=precision)
        moved = {path for path, value in state(network).items() if not np.array_equal(before[path], value)}
        # By Keras' layers, from the block before: conv, then statistics of the batch, in float64.
        x = [network.get_layer("input_norm")(_added_channel(network, batch), training=True) for batch in batches]
        x = [np.float64(network.get_layer("conv_1")(one)) for one in x]
        norm = network.get_layer("norm_1")
        np.testing.assert_allclose(
            norm.moving_mean, np.mean([one.mean((0, 1, 2)) for one in x], 0), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(norm.moving_variance, np.mean([one.var((0, 1, 2)) for one in x], 0), rtol=1e-3)
        assert moved == {path for path in before if "/moving_" in path and "input" not in path} and len(moved) == 10
        assert all(norm.momentum == 0.99 for norm in network.layers if isinstance(norm, layers.BatchNormalization))

    def test_closed_form_and_computed_anew_agree_within_sampling(self, us8k, us8k_store, settings):
        """Of a fixed compression, whose statistics do not depend on training."""
        clips, epochs = us8k.clips[:20], 60
        network = build_model("timbre", compression="logeps")
        norm = network.get_layer("input_norm")
        means, variances = [], []
        for batch, _ in training_patches(us8k_store, clips, n_epochs=epochs, batch_size=256, seed=3):
            log_mel = network.layers[1](batch)
            norm(log_mel[..., np.newaxis], training=True)
            means.append(np.float64(log_mel).mean())
            variances.append(np.float64(log_mel).var())
        settle(network, updates=epochs)
        few = np.std(means) / np.sqrt(8)
        assert float(norm.moving_mean[0]) == pytest.approx(np.mean(means), abs=5 * few + 1e-4)
        seen = [np.float64(network.layers[1](x)) for x in seen_patches(us8k_store, clips, settings=settings, seed=3)]
        assert float(norm.moving_mean[0]) == pytest.approx(np.mean([x.mean() for x in seen]), abs=5 * np.std(means))
        assert float(norm.moving_variance[0]) == pytest.approx(
            np.mean([x.var() for x in seen]), abs=5 * np.std(variances) + 1e-3
        )

    @pytest.mark.parametrize("kind", ["no update", "momentum of 1", "derived"])
    def test_where_the_closed_form_says_nothing(self, kind):
        class Derived(layers.BatchNormalization):
            pass

        norm = (Derived if kind == "derived" else layers.BatchNormalization)(
            momentum=1.0 if kind == "momentum of 1" else 0.9
        )
        model, batch = keras.Sequential([keras.Input((2,)), norm]), np.float32([[1, 10], [3, 30]])
        settle(model, updates=0 if kind == "no update" else 5, patches=[batch])
        np.testing.assert_allclose(norm.moving_mean, [2, 20], rtol=1e-6)
        np.testing.assert_allclose(norm.moving_variance, [1, 100], rtol=1e-6)
        assert norm.momentum == (1.0 if kind == "momentum of 1" else 0.9)

    def test_after_a_trained_layer_it_is_not_the_inputs(self):
        norm = layers.BatchNormalization()
        model = keras.Sequential([keras.Input((2,)), layers.Dense(2), norm])
        with pytest.raises(
            ValueError, match=r"`patches` must contain training batches: .* no closed form. Received: none"
        ):
            settle(model, updates=10)
        settle(model, updates=10, patches=[np.ones((3, 2), "float32")])
        np.testing.assert_allclose(norm.moving_variance, 0, atol=1e-6)

    def test_after_a_compression_that_learns_it_is(self):
        assert settle(build_model("timbre", compression="loglearn"), updates=3) is not None

    def test_dropout_draws_nothing_more(self):
        network = build_model("vgg")
        seeds = [np.array(v) for v in network.variables if "seed_generator" in v.path]
        settle(network, updates=5, patches=[patches(n=1)])
        after = [np.array(v) for v in network.variables if "seed_generator" in v.path]
        assert seeds
        np.testing.assert_array_equal(seeds, after)

    @pytest.mark.parametrize("batches", [[], "broken"])
    def test_a_failure_changes_nothing(self, batches):
        def broken():
            yield patches(n=1)
            raise OSError("the disk")

        network = build_model("vgg")
        before = state(network)
        with pytest.raises((ValueError, OSError)):
            settle(network, updates=5, patches=broken() if batches == "broken" else batches)
        assert all(np.array_equal(value, before[path]) for path, value in state(network).items())
        assert network.get_layer("norm_1").momentum == 0.99


class TestLeftAlone:
    def test_without_batch_normalisation(self):
        model = keras.Sequential([keras.Input((2,)), layers.Dense(2)])
        assert settle(model, updates=5) is None

    def test_frozen(self):
        norm = layers.BatchNormalization(trainable=False)
        assert settle(keras.Sequential([keras.Input((2,)), norm]), updates=5) is None
        np.testing.assert_array_equal(norm.moving_variance, [1, 1])

    @pytest.mark.parametrize("updates", [-1, 1.5, True, None])
    def test_updates_are_a_count(self, updates):
        with pytest.raises(
            ValueError, match="`updates` must be the number of moving-average updates.* Received: updates="
        ):
            settle(build_model("timbre"), updates=updates)

    def test_a_twin_is_settled_as_its_network_is(self):
        network, same = build_model("vgg", seed=2), build_model("vgg", seed=2)
        for model in (network, accelerate(same).network):
            settle(model, updates=9, patches=[patches(1), patches(2)])
        for one, other in zip(network.variables, same.variables, strict=True):
            np.testing.assert_array_equal(one, other)


def _added_channel(network, batch):
    return network.get_layer("add_channel")(network.layers[1](batch))


def spec_for(model, compression, **changes):
    return RunSpec("us8k", model, compression, **{"n_shot": 1, "fold": 1, "run": 0, "seed": 0, **changes})


class TestRuns:
    def test_a_constant_between_two_compressions_changes_the_published_score_alone(
        self, us8k, us8k_store, us8k_root, tmp_path
    ):
        """ln(a X + b) and ln(c a X + c b) differ by ln(c), which training cannot see: batch normalisation takes it
        away. At test after few updates it is there."""
        c = 1e6
        variants = [
            "variants.low={layer: log, args: {alpha: 1000.0, beta: 1.0}}",
            f"variants.high={{layer: log, args: {{alpha: {1000.0 * c}, beta: {c}}}}}",
        ]
        settings = short_settings(us8k_root, tmp_path, *variants, "training.epochs=8")
        low, high = (train_run(spec_for("timbre", name), settings, us8k, us8k_store) for name in ("low", "high"))
        for one, other in zip(low.history[1:], high.history[1:], strict=True):
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
        np.testing.assert_allclose(low.settled.probabilities, high.settled.probabilities, atol=1e-3)
        same = low.settled.probabilities.argmax(1) == high.settled.probabilities.argmax(1)
        assert same.all() and low.settled.accuracy == high.settled.accuracy
        assert np.abs(low.probabilities - high.probabilities).max() > 0.05
        assert low.settled.norm.residue == high.settled.norm.residue == pytest.approx(0.99**8)
        assert low.settled.norm.scale == pytest.approx(high.settled.norm.scale, rel=1e-3)
        # The mean of the averages is still near zero, where they began.
        assert high.settled.norm.shift - low.settled.norm.shift > 3

    @pytest.mark.usefixtures("narrow_prototypical")
    @pytest.mark.parametrize("model", ["vgg", pytest.param("prototypical", marks=pytest.mark.long)])
    def test_the_published_weights_stay(self, us8k, us8k_store, us8k_root, tmp_path, model):
        """Scored, saved and handed out is what was trained; a settled score is of its own."""
        settings = short_settings(us8k_root, tmp_path, "episodic.n_query=1", "episodic.patience=1", "training.epochs=1")
        train = episodic.train_run if model == "prototypical" else train_run
        spec = spec_for(model, "logeps")
        outcome = train(spec, settings, us8k, us8k_store, models=CompiledModels())
        (norm,) = [layer for layer in outcome.model._flatten_layers() if layer.name == "input_norm"]
        residue = outcome.settled.norm.residue
        if model == "vgg":
            assert residue == pytest.approx(0.99)
        # Of log-EPS the variance is above 5: what is settled has no more of the 1 that averages begin at.
        variance = np.array(norm.moving_variance)
        settle(outcome.model.get_layer("encoder") if model == "prototypical" else outcome.model,
               updates=round(np.log(residue) / np.log(0.99)), patches=[patches(n=2)])  # fmt: skip
        np.testing.assert_allclose(norm.moving_variance, (variance - residue) / (1 - residue), rtol=1e-3)
        assert not np.array_equal(outcome.settled.probabilities, outcome.probabilities)
        np.testing.assert_allclose(outcome.settled.probabilities.sum(axis=1), 1, rtol=1e-6)
