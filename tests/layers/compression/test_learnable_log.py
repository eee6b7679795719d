"""loglearn equals its formula, trains, keeps its values when saved, and refuses nonsense."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from loglearn_tf.layers import LearnableLog, Log

# Mel power from far below float64's eps to a very loud clip, and silence.
MEL = np.concatenate([[0.0], np.logspace(-25, 4, 119)]).astype("float32").reshape(2, 6, 10)
POLICIES = ("float32", "mixed_float16", "mixed_bfloat16", "float64")


def loglearn(mel, a=7.0, b=1.0):
    """The post's formula in float64: ln(exp(a) X + softplus(b))."""
    return np.log(np.exp(a) * np.asarray(mel, "float64") + np.log(1 + np.exp(b)))


def mean_square(layer, mel):
    return tf.reduce_mean(tf.square(layer(mel)))


def random_mel(*shape, seed=0):
    """Log-uniform over the range of real recordings, so that both sides of the knee are met."""
    return (10 ** np.random.default_rng(seed).uniform(-8, 2, shape)).astype("float32")


@pytest.fixture
def layer():
    built = LearnableLog()
    built.build((None, 6, 10))
    return built


@pytest.fixture
def global_policy():
    """Sets Keras' dtype policy and restores it afterwards."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


class TestFormula:
    def test_loglearn_equals_the_formula_from_silence_to_loud(self):
        np.testing.assert_allclose(LearnableLog()(MEL), loglearn(MEL), rtol=1e-6)

    @pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (-3.0, 4.0), (12.5, 0.6), (7, 1)])
    def test_loglearn_from_other_initial_values(self, a, b):
        layer = LearnableLog(alpha_pre_gate=a, beta_pre_gate=b)
        # atol: where alpha * X + beta is close to 1 its logarithm is close to 0, and the rounding
        # of the float32 sum, about 1e-7, is all there is.
        np.testing.assert_allclose(layer(MEL), loglearn(MEL, a, b), rtol=1e-6, atol=2e-7)

    def test_loglearn_of_silence_is_the_logarithm_of_beta(self):
        silent = LearnableLog()(np.zeros((1, 2, 3), "float32"))
        np.testing.assert_allclose(silent, np.full((1, 2, 3), 0.272514), rtol=2e-6)  # ln 1.31326

    def test_loglearn_of_logarithmic_input_is_nan_not_a_plausible_number(self):
        assert np.isnan(LearnableLog()(np.full((1, 1, 1), -3.0, "float32"))).all()


class TestOutOfGateValues:
    """alpha, beta and knee can be read at any time; they are what the logarithm sees."""

    def test_before_build(self):
        layer = LearnableLog()
        assert not layer.built
        self.check_start(layer)

    def test_after_build(self, layer):
        self.check_start(layer)

    def check_start(self, layer):
        assert float(layer.alpha) == pytest.approx(1096.633, rel=1e-6)
        assert float(layer.beta) == pytest.approx(1.31326, rel=2e-6)
        assert float(layer.knee) == pytest.approx(1.1975e-3, rel=5e-5)

    def test_after_training_steps_they_follow_the_weights(self, layer):
        optimizer = keras.optimizers.SGD(0.1)
        for _ in range(3):
            with tf.GradientTape() as tape:
                loss = mean_square(layer, MEL)
            optimizer.apply(tape.gradient(loss, layer.trainable_variables), layer.trainable_variables)
        a, b = (float(w) for w in (layer.alpha_pre_gate, layer.beta_pre_gate))
        # A smaller square means smaller pre-gates; both must have left 7 and 1 visibly.
        assert a < 6.9 and b < 0.99
        assert float(layer.alpha) == pytest.approx(np.exp(a), rel=1e-6)
        assert float(layer.beta) == pytest.approx(np.log(1 + np.exp(b)), rel=1e-6)
        assert float(layer.knee) == pytest.approx(np.log(1 + np.exp(b)) / np.exp(a), rel=1e-6)
        # rtol: the pre-gates are no longer exact in float32, and exp(a) multiplies a's rounding by a.
        np.testing.assert_allclose(layer(MEL), loglearn(MEL, a, b), rtol=3e-6)

    def test_after_load(self, layer, tmp_path):
        layer.set_weights([np.float32(3.5), np.float32(2.0)])
        mel = keras.Input((6, 10))
        model = keras.Model(mel, layer(mel))
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras").get_layer(layer.name)
        assert float(loaded.alpha) == pytest.approx(33.11545, rel=1e-6)
        assert float(loaded.beta) == pytest.approx(2.126928, rel=1e-6)
        np.testing.assert_allclose(loaded(MEL), loglearn(MEL, 3.5, 2.0), rtol=1e-6)


class TestFromValues:
    @pytest.mark.parametrize(("alpha", "beta"), [(10_000, 1), (1e-6, 1e-6), (3.5, 60.0), (1e6, 1e3)])
    def test_begins_with_these_values(self, alpha, beta):
        layer = LearnableLog.from_values(alpha=alpha, beta=beta, name="mine")
        layer.build((None, 6, 10))
        assert float(layer.alpha) == pytest.approx(alpha, rel=2e-6)
        assert float(layer.beta) == pytest.approx(beta, rel=2e-6)
        assert layer.name == "mine"

    def test_is_the_inverse_of_the_gates(self):
        layer = LearnableLog.from_values(alpha=np.exp(7.0), beta=np.log1p(np.exp(1.0)))
        config = layer.get_config()
        assert (config["alpha_pre_gate"], config["beta_pre_gate"]) == (pytest.approx(7.0), pytest.approx(1.0))

    @pytest.mark.parametrize("value", [0, -1.0, 1e-50, 1e39, float("nan"), float("inf"), "1"])
    @pytest.mark.parametrize("name", ["alpha", "beta"])
    def test_values_must_be_above_zero(self, name, value):
        with pytest.raises(ValueError, match=rf"^`{name}` must be .* Received: {name}={re.escape(repr(value))}\.$"):
            LearnableLog.from_values(**{"alpha": 1.0, "beta": 1.0, name: value})


class TestLearningRateFactor:
    @pytest.mark.parametrize("factor", [0, 0.1, 1, 100.0])
    def test_scales_gradients_and_nothing_else(self, factor):
        plain, scaled = LearnableLog(), LearnableLog(learning_rate_factor=factor)
        mel, gradients = tf.constant(random_mel(2, 6, 10)), []
        for layer in (plain, scaled):
            with tf.GradientTape() as tape:
                tape.watch(mel)
                loss = mean_square(layer, mel)
            gradients.append(tape.gradient(loss, [*layer.trainable_weights, mel]))
        np.testing.assert_array_equal(plain(mel), scaled(mel))
        np.testing.assert_allclose(np.array(gradients[1][:2]), factor * np.array(gradients[0][:2]), rtol=1e-6)
        np.testing.assert_array_equal(gradients[1][2], gradients[0][2])

    @pytest.mark.parametrize("factor", [-1, float("nan"), "2", None])
    def test_must_be_a_number_from_zero_on(self, factor):
        with pytest.raises(ValueError, match=r"^`learning_rate_factor` must be .* Received: learning_rate_factor="):
            LearnableLog(learning_rate_factor=factor)


class TestFolded:
    @pytest.mark.parametrize("kwargs", [{}, {"per_band": True}, {"per_band": True, "axis": 1}])
    def test_same_numbers_without_weights(self, kwargs):
        layer = LearnableLog(name="mine", **kwargs)
        layer.build((None, 6, 10))
        rng = np.random.default_rng(0)
        layer.set_weights([weight + rng.normal(size=weight.shape) for weight in layer.get_weights()])
        folded = layer.folded()
        np.testing.assert_allclose(folded(MEL), layer(MEL), rtol=1e-6, atol=2e-7)
        assert type(folded) is Log and folded.weights == [] and folded.name == "mine"
        again = Log.from_config(folded.get_config())
        np.testing.assert_array_equal(again(MEL), folded(MEL))


class TestWeights:
    def test_two_scalars_are_all_that_is_trained(self, layer):
        assert [(w.name, w.shape) for w in layer.trainable_weights] == [("alpha_pre_gate", ()), ("beta_pre_gate", ())]
        assert len(layer.weights) == 2

    def test_frozen_layer_trains_nothing(self):
        layer = LearnableLog(trainable=False)
        layer(MEL)
        assert layer.trainable_weights == [] and len(layer.weights) == 2

    def test_instances_do_not_share_weights(self, layer):
        other = LearnableLog()
        other.build((None, 6, 10))
        layer.set_weights([np.float32(1.0), np.float32(2.0)])
        assert [float(w) for w in other.weights] == [7.0, 1.0]

    def test_gradients_equal_finite_differences(self, layer):
        """Central differences of the NumPy formula in float64, one pre-gate at a time."""
        mel = random_mel(2, 6, 10)
        with tf.GradientTape() as tape:
            loss = mean_square(layer, mel)
        gradient = [float(g) for g in tape.gradient(loss, layer.trainable_weights)]

        def numpy_loss(a, b):
            return np.mean(loglearn(mel, a, b) ** 2)

        h = 1e-5
        expected = [
            (numpy_loss(7 + h, 1) - numpy_loss(7 - h, 1)) / (2 * h),
            (numpy_loss(7, 1 + h) - numpy_loss(7, 1 - h)) / (2 * h),
        ]
        assert min(np.abs(expected)) > 0.1  # both pre-gates matter at this input
        np.testing.assert_allclose(gradient, expected, rtol=1e-5)


class TestRegularizersAndConstraints:
    def test_none_by_default(self, layer):
        assert layer.losses == []
        assert all(weight.regularizer is None and weight.constraint is None for weight in layer.weights)

    def test_a_regularizer_is_of_the_pre_gate(self):
        layer = LearnableLog(alpha_regularizer=keras.regularizers.L2(0.1), beta_regularizer="l1", per_band=True)
        layer(MEL)
        # 10 bands: .1 * 7 ** 2 each, and Keras' own l1 of .01.
        assert sorted(float(loss) for loss in layer.losses) == pytest.approx([10 * 0.01 * 1, 10 * 0.1 * 49])

    def test_a_constraint_holds_after_every_step(self):
        layer = LearnableLog(beta_constraint=keras.constraints.NonNeg())
        layer(MEL)
        keras.optimizers.SGD(1.0).apply([tf.constant(9.0), tf.constant(9.0)], layer.trainable_weights)
        assert (float(layer.alpha_pre_gate), float(layer.beta_pre_gate)) == (7 - 9, 0)

    def test_saved_and_loaded(self, tmp_path):
        layer = LearnableLog(alpha_regularizer=keras.regularizers.L2(0.1), beta_constraint="non_neg")
        mel = keras.Input((6, 10))
        keras.Model(mel, layer(mel)).save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras").layers[1]
        assert loaded.get_config() == layer.get_config()
        assert float(sum(loaded.losses)) == pytest.approx(4.9)
        assert type(loaded.beta_pre_gate.constraint) is keras.constraints.NonNeg

    def test_configurations_without_them_load(self):
        """Those of files saved by version 0.1.0."""
        config = LearnableLog(name="old").get_config()
        old = {name: value for name, value in config.items() if not name.endswith(("_regularizer", "_constraint"))}
        assert len(old) == len(config) - 4
        assert LearnableLog.from_config(old).get_config() == config


class TestPerBand:
    def test_every_band_has_its_own_pair(self):
        layer = LearnableLog(per_band=True)
        np.testing.assert_allclose(layer(MEL), loglearn(MEL), rtol=1e-6)
        assert [w.shape for w in layer.trainable_weights] == [(10,), (10,)]
        assert layer.alpha.shape == layer.beta.shape == layer.knee.shape == (10,)

    def test_band_k_is_compressed_by_pair_k(self):
        layer = LearnableLog(per_band=True)
        layer.build((None, None, 3))
        a, b = np.array([7.0, 2.0, -1.0], "float32"), np.array([1.0, 0.0, 3.0], "float32")
        layer.set_weights([a, b])
        mel = random_mel(2, 5, 3)
        # atol: band 1's logarithm comes close to zero, as beta = ln 2 there.
        np.testing.assert_allclose(layer(mel), loglearn(mel, a, b), rtol=1e-6, atol=2e-7)

    def test_channels_may_follow_the_bands(self):
        layer = LearnableLog(per_band=True, axis=-2)
        layer.build((None, None, 3, 2))
        a, b = np.array([7.0, 2.0, -1.0], "float32"), np.array([1.0, 0.0, 3.0], "float32")
        layer.set_weights([a, b])
        mel = random_mel(2, 5, 3, 2)
        np.testing.assert_allclose(layer(mel), loglearn(mel, a[:, None], b[:, None]), rtol=1e-6, atol=2e-7)
        assert layer.alpha.shape == (3,)

    @pytest.mark.parametrize("axis", [0, -3, 3, 7])
    def test_axis_must_be_one_of_the_input(self, axis):
        with pytest.raises(ValueError, match="`axis"):
            LearnableLog(per_band=True, axis=axis).build((None, 5, 10))

    def test_needs_a_fixed_number_of_bands(self):
        message = (
            "`per_band=True` needs a fixed number of mel bands on the last axis. Received: input_shape=(None, 5, None)."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            LearnableLog(per_band=True).build((None, 5, None))


class TestKerasCitizen:
    @pytest.mark.parametrize(
        "layer",
        [
            LearnableLog(),
            LearnableLog(alpha_pre_gate=2.5, beta_pre_gate=-0.5, per_band=True, name="mine", trainable=False),
        ],
        ids=lambda layer: layer.name,
    )
    def test_config_round_trip(self, layer):
        config = layer.get_config()
        copy = type(layer).from_config(config)
        assert copy.get_config() == config
        np.testing.assert_array_equal(copy(MEL), layer(MEL))

    def test_config_holds_every_argument(self):
        config = LearnableLog(alpha_pre_gate=2.5, beta_pre_gate=-0.5, per_band=True, name="mine").get_config()
        expected = {"name": "mine", "alpha_pre_gate": 2.5, "beta_pre_gate": -0.5, "per_band": True, "axis": -1}
        expected |= {"learning_rate_factor": 1.0, "check_input": False}
        assert expected.items() <= config.items()

    def test_clone_model_starts_afresh(self):
        mel = keras.Input((6, 10))
        model = keras.Model(mel, LearnableLog(alpha_pre_gate=2.0, name="loglearn")(mel))
        model.get_layer("loglearn").set_weights([np.float32(5.0), np.float32(5.0)])
        clone = keras.models.clone_model(model)
        assert [float(w) for w in clone.get_layer("loglearn").weights] == [2.0, 1.0]
        clone.set_weights(model.get_weights())
        np.testing.assert_array_equal(clone(MEL), model(MEL))


class TestDtypes:
    """float32 in, inside and out: float16 holds nothing above 65,504 and little below 6e-8."""

    MEL = np.logspace(-20, 6, 60).astype("float32").reshape(1, 6, 10)

    @pytest.mark.parametrize("policy", POLICIES[1:])
    def test_global_policy_changes_nothing(self, policy, global_policy):
        expected = LearnableLog(dtype="float32")(self.MEL)
        global_policy(policy)
        mel = keras.Input((6, 10), dtype="float32")
        model = keras.Model(mel, LearnableLog()(mel))
        assert model(self.MEL).dtype == "float32"
        np.testing.assert_allclose(model(self.MEL), expected, rtol=1e-6)

    @pytest.mark.parametrize("policy", POLICIES[1:3])
    def test_a_model_in_half_precision_has_finite_gradients(self, policy, global_policy):
        """From silence to 1e4, where a layer that followed the policy would give infinity from 60 on."""
        global_policy(policy)
        mel = keras.Input((6, 10), dtype="float32")
        layer = LearnableLog()
        model = keras.Model(mel, keras.layers.Dense(2)(keras.layers.Flatten()(layer(mel))))
        power = np.concatenate([[0.0], np.logspace(-20, 4, 59)]).astype("float32").reshape(1, 6, 10)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.cast(model(power), "float32") ** 2)
        gradients = tape.gradient(loss, layer.trainable_variables)
        assert np.isfinite(loss) and np.isfinite(gradients).all() and np.abs(gradients).min() > 0

    def test_float64_input_gives_float32(self):
        out = LearnableLog()(MEL.astype("float64"))
        assert out.dtype == "float32"
        np.testing.assert_allclose(out, loglearn(MEL), rtol=1e-6)


class TestErrors:
    @pytest.mark.parametrize("name", ["alpha_pre_gate", "beta_pre_gate"])
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "7", None, True, [7.0]])
    def test_initial_value_must_be_a_finite_number(self, name, value):
        message = f"`{name}` must be a finite number. Received: {name}={value!r}."
        with pytest.raises(ValueError, match=re.escape(message)):
            LearnableLog(**{name: value})

    def test_arguments_are_keyword_only(self):
        with pytest.raises(TypeError):
            LearnableLog(7.0, 1.0)
