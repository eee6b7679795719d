"""What every compression promises, checked on all that are registered: a new one is tested by being registered.

What a compression computes has no general rule: its formula in NumPy or librosa's function stands in `FORMULAS`, which
must name every registered compression.
"""

import inspect

import keras
import librosa
import numpy as np
import pytest
import tensorflow as tf

from loglearn_tf.layers import COMPRESSIONS, PCEN, Compression, build_compression
from loglearn_tf.models import build_model
from loglearn_tf.training.sliding import sliding_scorer

NAMES = sorted(COMPRESSIONS)
# Two clips of 40 frames and 6 bands, log-uniform over the range of real recordings, with some silence.
MEL = 10 ** np.random.default_rng(0).uniform(-8, 2, (2, 40, 6))
MEL[0, :3] = 0
MEL[1, 10, 2] = 0
MEL = MEL.astype("float32")
START_ALPHA, START_BETA = np.exp(7), np.log(1 + np.exp(1))


def pcen_of_librosa(mel):
    b = PCEN.smoothing_for(time_constant_s=0.4, sample_rate=44_100, hop_length=1024)
    power = 2.0**31 * np.float64(np.moveaxis(mel, 1, 2))
    return np.moveaxis(
        # librosa's filter begins as after endless ones; zi lets it begin with the first frame, as in the paper.
        [librosa.pcen(clip, b=b, zi=(1 - b) * clip[:, :1], gain=0.98, bias=2, power=0.5, eps=1e-6) for clip in power],
        1,
        2,
    )


def loglearn(mel):
    return np.log(START_ALPHA * np.float64(mel) + START_BETA)


FORMULAS = {
    "loglearn": loglearn,
    "loglearn_per_band": loglearn,
    "loglearn_adapted": loglearn,  # before `adapt`; test_adapt.py for after
    "loglearn_knee": lambda mel: np.log(np.float64(mel) + START_BETA / START_ALPHA),
    "logeps": lambda mel: np.log10(np.float64(mel) + np.finfo(float).eps),
    "log": lambda mel: np.log(1e4 * np.float64(mel) + 1),
    "log1p_learn": lambda mel: np.log(1 + 1e5 * np.float64(mel)),
    "power": lambda mel: np.sqrt(np.float64(mel)),
    "pcen": pcen_of_librosa,
    "pcen_learn": pcen_of_librosa,
    # Of mel power that was divided by the level of its clip.
    "relative_knee": lambda mel: np.log(np.float64(mel) + 1e-2),
    "learned_relative_knee": lambda mel: np.log(np.float64(mel) + 1e-2),
    "relative_logeps": lambda mel: np.log10(np.float64(mel) + np.finfo(float).eps),
    "none": np.float64,
}
# With weights that are not trained.
FIXED = ("pcen", "relative_knee")


def gradients(layer, mel, weights):
    """Of the mean square of the output, with respect to input and weights."""
    mel = tf.constant(mel)
    with tf.GradientTape() as tape:
        tape.watch(mel)
        loss = tf.reduce_mean(tf.square(layer(mel)))
    return tape.gradient(loss, [mel, *weights])


def test_every_compression_has_its_formula():
    assert set(FORMULAS) == set(COMPRESSIONS)


@pytest.mark.parametrize("name", NAMES)
class TestContract:
    def test_equals_its_formula(self, name):
        # atol: logarithms cross zero, where the rounding of the float32 sum, about 1e-7, is all there is.
        np.testing.assert_allclose(build_compression(name)(MEL), FORMULAS[name](MEL), rtol=1e-5, atol=1e-6)

    def test_silence_and_the_smallest_power_give_finite_values_and_gradients(self, name):
        layer = build_compression(name)
        for power in (0.0, 1e-45, 1e-38, 1e-20):
            mel = np.full((1, 8, 6), power, "float32")
            assert np.isfinite(layer(mel)).all()
            for gradient in gradients(layer, mel, layer.trainable_weights):
                assert np.isfinite(gradient).all()

    def test_the_loudest_power_gives_finite_values_and_gradients(self, name):
        layer, mel = build_compression(name), np.full((1, 8, 6), 1e9, "float32")
        assert np.isfinite(layer(mel)).all()
        for gradient in gradients(layer, mel, layer.trainable_weights):
            assert np.isfinite(gradient).all()

    def test_gradients_equal_finite_differences(self, name):
        layer = build_compression(name)
        # Well inside the curve: a difference in float32 of a flat or a huge output has no digits.
        mel = (10 ** np.random.default_rng(1).uniform(-3, 0, (1, 12, 4))).astype("float32")
        layer(mel)
        for weight, gradient in zip(
            layer.trainable_weights, gradients(layer, mel, layer.trainable_weights)[1:], strict=True
        ):
            start, step = np.array(weight), 2e-3
            losses = []
            for sign in (1, -1):
                weight.assign(start + sign * step)
                losses.append(np.mean(np.square(np.float64(layer(mel)))))
            weight.assign(start)
            difference = (losses[0] - losses[1]) / (2 * step)
            # Per band all bands were moved together.
            assert np.sum(gradient) == pytest.approx(difference, rel=5e-3, abs=1e-4), weight.name

    def test_learns_where_it_has_weights(self, name):
        layer = build_compression(name)
        layer(MEL)
        for gradient in gradients(layer, MEL, layer.trainable_weights)[1:]:
            assert np.all(np.array(gradient) != 0)

    def test_saved_and_loaded_in_safe_mode_without_custom_objects(self, name, tmp_path):
        mel = keras.Input((40, 6))
        model = keras.Model(mel, build_compression(name)(mel))
        for weight in model.weights:
            weight.assign_add(np.full(weight.shape, 0.25, "float32"))
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded(MEL), model(MEL))
        assert loaded.layers[1].get_config() == model.layers[1].get_config()
        assert len(loaded.trainable_weights) == len(model.trainable_weights)

    @pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16", "float64", "bfloat16"])
    def test_computes_in_float32_whatever_the_policy(self, name, policy):
        layer = build_compression(name, dtype=policy)
        out = layer(MEL)
        assert out.dtype == tf.float32
        expected = build_compression(name)(MEL)
        if policy == "bfloat16":  # 8 bits of what is learned, where that begins at no round number
            np.testing.assert_allclose(out, expected, rtol=0.05, atol=0.05)
        else:
            np.testing.assert_array_equal(out, expected)
        # Mixed policies exist to keep weights in float32.
        weights = "float32" if "mixed" in policy else policy
        assert all(weight.dtype == weights for weight in layer.weights)

    def test_a_clip_does_not_depend_on_its_batch(self, name):
        layer = build_compression(name)
        together = layer(MEL)
        for at in range(2):
            np.testing.assert_array_equal(layer(MEL[at : at + 1])[0], together[at])

    def test_graph_of_unknown_length_equals_eager_and_tf_data(self, name):
        layer = build_compression(name)
        layer.build((None, None, 6))
        compiled = tf.function(layer, input_signature=[tf.TensorSpec((None, None, 6))])
        np.testing.assert_allclose(compiled(MEL), layer(MEL), rtol=1e-6, atol=1e-6)
        (batch,) = tf.data.Dataset.from_tensors(MEL).map(layer)
        np.testing.assert_allclose(batch, layer(MEL), rtol=1e-6, atol=1e-6)

    def test_curve_is_what_a_steady_clip_becomes(self, name):
        power = np.logspace(-12, 3, 16).astype("float32")
        expected = [np.median(build_compression(name)(np.full((1, 9, 6), x, "float32"))) for x in power]
        np.testing.assert_allclose(build_compression(name).curve(power), expected, rtol=1e-5, atol=1e-6)

    def test_compiled_by_xla(self, name):
        layer = build_compression(name)
        np.testing.assert_allclose(tf.function(layer, jit_compile=True)(MEL), layer(MEL), rtol=1e-5, atol=1e-6)

    def test_symbolic_shape_and_dtype_are_those_of_the_result(self, name):
        symbolic = build_compression(name)(keras.Input((None, 6)))
        assert (symbolic.shape, symbolic.dtype) == ((None, None, 6), "float32")
        assert build_compression(name).compute_output_shape((2, 40, 6)) == (2, 40, 6)

    def test_a_mask_passes(self, name):
        masked = build_compression(name)(keras.layers.Masking(0.0)(MEL))
        mask = keras.src.backend.get_keras_mask(masked)
        assert np.array(mask)[0, :4].tolist() == [False, False, False, True]

    def test_checks_its_input_when_asked(self, name):
        layer = build_compression(name, check_input=True)
        np.testing.assert_array_equal(layer(MEL), build_compression(name)(MEL))
        mel = MEL.copy()
        mel[1, 2, 3] = -4.0
        with pytest.raises(ValueError, match=r"mel power, finite and >= 0, not a logarithm.*-4.0 at index \(1, 2, 3\)"):
            layer(mel)

    def test_a_network_with_it_is_scored_at_once_as_by_cut_patches(self, name):
        network = build_model("timbre", n_classes=3, compression=name, patch_frames=16, n_mels=108)
        clip = (10 ** np.random.default_rng(2).uniform(-6, 0, (1, 40, 108))).astype("float32")
        patches = np.stack([clip[0, at : at + 16] for at in range(25)])
        scorer = sliding_scorer(network, hop=1)
        # PCEN looks back: a patch has another past than the clip.
        assert (scorer is None) == name.startswith("pcen")
        if scorer is not None:
            np.testing.assert_allclose(scorer.logits(clip)[0], network(patches), rtol=1e-4, atol=1e-5)

    def test_registered_under_the_package_name(self, name):
        kind = type(build_compression(name))
        assert keras.saving.get_registered_name(kind) == f"loglearn_tf>{kind.__name__}"
        assert keras.saving.get_registered_object(f"loglearn_tf>{kind.__name__}") is kind

    def test_one_class_on_top_of_the_base(self, name):
        """Whoever reads the file of a compression has read all of it but the base."""
        assert type(build_compression(name)).__mro__[1:3] == (Compression, keras.layers.Layer)

    def test_its_arguments_are_its_configuration(self, name):
        kind = type(build_compression(name))
        arguments = [
            one for one in inspect.signature(kind.__init__).parameters.values() if one.kind is one.KEYWORD_ONLY
        ]
        config = kind().get_config()
        assert {one.name: one.default for one in arguments} == {one.name: config[one.name] for one in arguments}

    def test_has_weights_only_where_it_learns(self, name):
        layer = build_compression(name)
        layer(MEL)
        assert bool(layer.weights) == (name in LEARNED)
        assert bool(layer.trainable_weights) == (name in LEARNED and name not in FIXED)

    def test_refuses_an_argument_that_it_does_not_take(self, name):
        with pytest.raises(ValueError, match=f"Compression {name} does not take {{'kneee': 1}}"):
            build_compression(name, kneee=1)


LEARNED = [name for name in NAMES if hasattr(build_compression(name), "learning_rate_factor")]


@pytest.mark.parametrize("policy", ["mixed_float16", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("name", [name for name in LEARNED if name not in FIXED])
def test_learns_under_every_policy_with_gradients_clipped_to_a_global_norm(name, policy):
    keras.utils.set_random_seed(0)
    layer = build_compression(name, dtype=policy)
    mel = keras.Input((40, 6))
    x = keras.layers.Flatten(dtype=policy)(layer(mel))
    dense = keras.layers.Dense(1, dtype=policy, kernel_initializer=keras.initializers.Constant(4e-3))
    model = keras.Model(mel, dense(x))
    before = [np.array(weight) for weight in layer.trainable_weights]
    # Steps are a tenth, by the sign of the gradient: large enough for numbers of 8 bits. The loss is small enough
    # for Keras' sum of the squares of all gradients to be a float16.
    optimizer = keras.optimizers.Lion(0.1, global_clipnorm=1.0)
    model.compile(optimizer, "mse", loss_weights=[0.01], run_eagerly=True)
    model.train_on_batch(np.minimum(MEL, 1), np.full((2, 1), 9.0))
    assert before
    for weight, start in zip(layer.trainable_weights, before, strict=True):
        assert np.isfinite(np.float32(weight)).all() and np.all(np.array(weight) != start), weight.name


@pytest.mark.parametrize("name", LEARNED)
class TestPerBand:
    def test_every_band_has_its_own_weights(self, name):
        layer = build_compression(name, per_band=True)
        layer(MEL)
        (first, *_) = layer.weights
        assert first.shape == (6,)
        first.assign(np.array(first) + np.float32([0, 0, 0, 0.5, 0, 0]))
        changed = np.any(np.array(layer(MEL)) != np.array(build_compression(name)(MEL)), axis=(0, 1))
        assert changed.tolist() == [False, False, False, True, False, False]

    def test_channels_may_follow_the_bands(self, name):
        layer = build_compression(name, per_band=True, axis=-2)
        beside = layer(np.stack([MEL, MEL[::-1]], axis=-1))
        np.testing.assert_allclose(beside[..., 0], build_compression(name)(MEL), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(beside[..., 1], build_compression(name)(MEL[::-1]), rtol=1e-6, atol=1e-6)

    def test_an_axis_of_channels_that_was_taken_for_that_of_the_bands_is_a_warning(self, name, caplog):
        build_compression(name, per_band=True, name="mine")(MEL[..., np.newaxis])
        (warning,) = caplog.messages
        assert "`mine` has `per_band=True`, but there is one band on its axis -1" in warning and "axis=-2" in warning
        caplog.clear()
        build_compression(name, per_band=True, axis=-2)(MEL[..., np.newaxis])
        build_compression(name, per_band=False)(MEL[..., np.newaxis])
        assert not caplog.messages

    @pytest.mark.parametrize(("axis", "shape"), [(-1, (2, 5, 6)), (2, (2, 5, 6)), (-2, (2, 5, 6, 3)), (1, (2, 6, 5))])
    def test_curve_with_the_bands_on_any_axis(self, name, axis, shape):
        layer, power = build_compression(name, per_band=True, axis=axis), np.logspace(-6, 0, 5)
        if not (name.startswith("pcen") and axis == 1):  # there the time would be the batch
            layer.build(shape)
            np.testing.assert_allclose(layer.curve(power), build_compression(name).curve(power), rtol=1e-5, atol=1e-6)

    def test_another_number_of_bands_is_refused(self, name):
        layer = build_compression(name, per_band=True)
        layer(MEL)
        with pytest.raises(ValueError, match=r"must be that of `build`: 6. Received: 4 bands"):
            layer(MEL[..., :4])

    def test_the_learning_rate_factor_scales_gradients_alone(self, name):
        plain, scaled = build_compression(name), build_compression(name, learning_rate_factor=100.0)
        np.testing.assert_array_equal(plain(MEL), scaled(MEL))
        theirs = gradients(plain, MEL, plain.weights)[1:]
        for ours, other in zip(gradients(scaled, MEL, scaled.weights)[1:], theirs, strict=True):
            np.testing.assert_allclose(ours, 100 * np.array(other), rtol=1e-5)


class TestKnee:
    """How fast the knee moves, as the docstrings derive it."""

    @pytest.mark.parametrize(
        ("name", "speed"),
        [("loglearn", 1 + (0.7310586 / 1.3132617) ** 2), ("loglearn_knee", 1.0), ("log1p_learn", np.log(10) ** 2)],
    )
    def test_a_step_moves_its_logarithm_by_the_speed_of_the_parametrisation(self, name, speed):
        start = {"log1p_learn": {"a": -np.log10(START_BETA / START_ALPHA)}}.get(name, {})
        layer = build_compression(name, **start)
        layer(MEL)
        before = np.log(np.float64(layer.knee))
        # Any loss of the output less its mean, as batch normalisation gives it.
        with tf.GradientTape() as tape:
            out = layer(MEL)
            loss = tf.reduce_mean(tf.square(tf.nn.tanh(out - tf.reduce_mean(out))))
        keras.optimizers.SGD(1.0).apply(tape.gradient(loss, layer.trainable_weights), layer.trainable_weights)

        knee = tf.constant(START_BETA / START_ALPHA, tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(knee)
            out = tf.math.log(tf.cast(MEL, tf.float64) + knee)
            loss = tf.reduce_mean(tf.square(tf.nn.tanh(out - tf.reduce_mean(out))))
        gradient = float(tape.gradient(loss, knee))
        moved = np.log(np.float64(layer.knee)) - before
        assert moved == pytest.approx(-float(knee) * gradient * speed, rel=2e-2)


@pytest.mark.parametrize("name", NAMES)
def test_the_record_says_whether_there_is_anything_to_learn(name):
    """Whose trainable weights there are unless `trainable=False` is among its arguments."""
    layer = COMPRESSIONS[name](trainable=True)
    layer.build((None, 40, 6))
    assert bool(layer.trainable_weights) == COMPRESSIONS[name].learnable
