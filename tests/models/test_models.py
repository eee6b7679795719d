"""The networks have the reference's layers, sizes and decay, start in pairs, and load anywhere."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import python

from loglearn_tf import MODELS, LearnableLog, MelSpectrogram, build_model

NAMES = ("sb_cnn", "vgg", "timbre")
CONV_OR_DENSE_KERNEL = re.compile(r"^(conv|dense|logits)\w*/kernel$")

# name, output shape without the batch; and for kernels their shape and activation.
# Convolutions are (time, mel, channels in, channels out).
LAYERS = {
    "sb_cnn": [
        ("mel", (128, 128)),
        ("logeps", (128, 128)),
        ("add_channel", (128, 128, 1)),
        ("input_norm", (128, 128, 1)),
        ("conv_1", (124, 124, 24), (5, 5, 1, 24), "relu"),
        ("pool_1", (31, 62, 24)),
        ("conv_2", (27, 58, 48), (5, 5, 24, 48), "relu"),
        ("pool_2", (6, 29, 48)),
        ("conv_3", (2, 25, 48), (5, 5, 48, 48), "relu"),
        ("flatten", (2400,)),
        ("dropout_1", (2400,)),
        ("dense_1", (64,), (2400, 64), "relu"),
        ("dropout_2", (64,)),
        ("logits", (10,), (64, 10), "linear"),
    ],
    "vgg": [
        ("mel", (128, 128)),
        ("logeps", (128, 128)),
        ("add_channel", (128, 128, 1)),
        ("input_norm", (128, 128, 1)),
        ("conv_1", (128, 128, 32), (3, 3, 1, 32), "elu"),
        ("norm_1", (128, 128, 32)),
        ("pool_1", (64, 64, 32)),
        ("conv_2", (64, 64, 32), (3, 3, 32, 32), "elu"),
        ("norm_2", (64, 64, 32)),
        ("pool_2", (32, 32, 32)),
        ("conv_3", (32, 32, 32), (3, 3, 32, 32), "elu"),
        ("norm_3", (32, 32, 32)),
        ("pool_3", (16, 16, 32)),
        ("conv_4", (16, 16, 32), (3, 3, 32, 32), "elu"),
        ("norm_4", (16, 16, 32)),
        ("pool_4", (8, 8, 32)),
        ("conv_5", (8, 8, 32), (3, 3, 32, 32), "elu"),
        ("norm_5", (8, 8, 32)),
        ("pool_5", (4, 4, 32)),
        ("flatten", (512,)),
        ("dropout", (512,)),
        ("logits", (10,), (512, 10), "linear"),
    ],
    "timbre": [
        ("mel", (128, 128)),
        ("logeps", (128, 128)),
        ("add_channel", (128, 128, 1)),
        ("input_norm", (128, 128, 1)),
        ("conv", (122, 21, 10), (7, 108, 1, 10), "linear"),
        ("logits", (10,)),
    ],
}


def random_mel(n=2, seed=0):
    """`(n, 128, 128)` power, log-uniform over the range of real recordings."""
    return (10 ** np.random.default_rng(seed).uniform(-8, 2, (n, 128, 128))).astype("float32")


def n_trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def randomise(model, seed=0):
    """Moves every weight away from its initial value; all positive, so that variances stay valid."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.01, 0.5, w.shape).astype("float32") for w in model.weights])


def initial_weights(model):
    """Weights by path, without the compression's."""
    return {w.path: w.numpy() for w in model.weights if not w.path.startswith("loglearn/")}


@pytest.fixture(scope="module")
def logeps_models():
    """Read-only: one network of each name, with the baseline compression."""
    return {name: build_model(name, compression="logeps") for name in NAMES}


class TestArchitecture:
    @pytest.mark.parametrize("name", NAMES)
    def test_layers_in_order_and_their_shapes(self, name, logeps_models):
        model = logeps_models[name]
        assert model.name == name
        assert [(layer.name, tuple(layer.output.shape[1:])) for layer in model.layers] == [
            (layer_name, shape) for layer_name, shape, *_ in LAYERS[name]
        ]

    @pytest.mark.parametrize("name", NAMES)
    def test_kernels_and_activations(self, name, logeps_models):
        layers = [layer for layer in logeps_models[name].layers if hasattr(layer, "kernel")]
        assert [
            (layer.name, layer.kernel.shape, keras.activations.serialize(layer.activation)) for layer in layers
        ] == [(row[0], row[2], row[3]) for row in LAYERS[name] if len(row) == 4]
        assert all(layer.use_bias for layer in layers)

    @pytest.mark.parametrize(
        ("name", "n_classes", "arguments", "parameters"),
        [
            ("sb_cnn", 10, {}, 241_436),
            ("sb_cnn", 15, {}, 241_761),
            ("vgg", 10, {}, 42_764),
            ("vgg", 15, {}, 45_329),
            ("vgg", 10, {"n_filters": 128}, 613_388),
            ("vgg", 15, {"n_filters": 128}, 623_633),
            ("timbre", 10, {}, 7_572),
            ("timbre", 15, {}, 11_357),
        ],
    )
    def test_trainable_parameters(self, name, n_classes, arguments, parameters):
        for compression, expected in (("logeps", parameters), ("loglearn", parameters + 2)):
            model = build_model(name, n_classes=n_classes, compression=compression, **arguments)
            assert n_trainable(model) == expected

    @pytest.mark.parametrize("name", NAMES)
    def test_dropout_halves_and_norms_have_keras_defaults(self, name, logeps_models):
        layers = logeps_models[name].layers
        norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
        dropouts = [layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)]
        assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.99, 1e-3)}
        assert len(norms) == {"sb_cnn": 1, "vgg": 6, "timbre": 1}[name]
        assert dropouts == {"sb_cnn": [0.5, 0.5], "vgg": [0.5], "timbre": []}[name]

    @pytest.mark.parametrize("name", NAMES)
    def test_input_norm_is_over_the_one_channel(self, name, logeps_models):
        assert [w.shape for w in logeps_models[name].get_layer("input_norm").weights] == [(1,)] * 4

    @pytest.mark.parametrize("name", NAMES)
    def test_logits_shape(self, name):
        model = build_model(name, n_classes=15)
        assert model.input_shape == (None, 128, 128)
        assert model.output_shape == (None, 15)
        logits = model(random_mel(3))
        assert logits.shape == (3, 15)
        assert np.isfinite(logits).all()

    @pytest.mark.parametrize("name", NAMES)
    def test_defaults_are_ten_classes_and_loglearn(self, name):
        model = build_model(name)
        assert model.output_shape == (None, 10)
        assert isinstance(model.get_layer("loglearn"), LearnableLog)

    @pytest.mark.parametrize(("name", "last"), [("sb_cnn", "logits"), ("vgg", "logits"), ("timbre", "conv")])
    def test_no_softmax_logits_are_linear_in_the_last_kernel(self, name, last):
        model = build_model(name, compression="logeps")  # biases start at zero
        before = model(random_mel()).numpy()
        kernel = model.get_layer(last).kernel
        kernel.assign(3 * kernel)
        np.testing.assert_allclose(model(random_mel()), 3 * before, rtol=1e-5, atol=1e-5 * np.abs(before).max())
        assert np.abs(before.sum(axis=1) - 1).min() > 1e-3

    def test_timbre_is_the_maximum_of_one_convolution(self):
        """Written out in NumPy: log10, normalisation, 7 x 108 products, maximum over time and shift."""
        model = build_model("timbre", n_classes=3, compression="logeps", seed=5)
        model.get_layer("input_norm").set_weights([np.array([v], "float32") for v in (1.5, 0.25, -3.0, 8.0)])
        model.get_layer("conv").bias.assign([0.5, 0.0, -0.5])
        mel = random_mel(1)

        gamma, shift, mean, variance = 1.5, 0.25, -3.0, 8.0
        x = (np.log10(mel[0].astype("float64") + 2.220446049250313e-16) - mean) / np.sqrt(variance + 1e-3)
        windows = np.lib.stride_tricks.sliding_window_view(gamma * x + shift, (7, 108))  # (122, 21, 7, 108)
        kernel = model.get_layer("conv").kernel.numpy()[:, :, 0, :]
        scores = np.tensordot(windows, kernel, axes=2) + [0.5, 0.0, -0.5]
        # rtol: a float32 sum of 756 products.
        np.testing.assert_allclose(model(mel)[0], scores.max(axis=(0, 1)), rtol=1e-5)

    def test_batch_norm_keeps_99_hundredths_of_its_averages(self):
        model = build_model("timbre", compression="none")
        mel = random_mel()
        model(mel, training=True)
        _, _, mean, variance = model.get_layer("input_norm").weights
        assert float(mean[0]) == pytest.approx(0.01 * mel.mean(dtype="float64"), rel=1e-5)
        assert float(variance[0]) == pytest.approx(0.99 + 0.01 * mel.var(dtype="float64"), rel=1e-5)

    @pytest.mark.parametrize("name", NAMES)
    def test_other_patch_sizes(self, name):
        model = build_model(name, patch_frames=116, n_mels=120, compression="logeps")
        assert model.input_shape == (None, 116, 120)
        assert model.output_shape == (None, 10)


class TestWeightDecay:
    """0.001 * sum(w ** 2 / 2) over conv and dense kernels; nothing else is decayed."""

    @pytest.mark.parametrize(("name", "n_kernels"), [("sb_cnn", 5), ("vgg", 6), ("timbre", 1)])
    def test_penalty_of_the_kernels_alone(self, name, n_kernels):
        model = build_model(name)
        randomise(model)  # so that a decayed alpha, bias or norm would show
        kernels = [w.numpy().astype("float64") for w in model.weights if CONV_OR_DENSE_KERNEL.match(w.path)]
        assert len(kernels) == n_kernels
        expected = 5e-4 * sum(np.sum(kernel**2) for kernel in kernels)
        assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)

        for weight in model.weights:
            if not CONV_OR_DENSE_KERNEL.match(weight.path):
                weight.assign(weight + 1.0)
        assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("name", NAMES)
    def test_can_be_turned_off(self, name):
        assert build_model(name, l2=0.0).losses == []


class TestSeeds:
    @pytest.mark.parametrize("name", NAMES)
    def test_models_differing_in_compression_alone_start_equal(self, name):
        models = [build_model(name, compression=compression, seed=3) for compression in ("loglearn", "logeps", "none")]
        first, *others = (initial_weights(model) for model in models)
        assert len(first) == len(models[1].weights)
        for other in others:
            assert other.keys() == first.keys()
            for path in first:
                np.testing.assert_array_equal(other[path], first[path], err_msg=path)

    @pytest.mark.parametrize("name", NAMES)
    def test_another_seed_differs_in_every_kernel(self, name):
        first, other = (initial_weights(build_model(name, seed=seed)) for seed in (3, 4))
        for path in filter(CONV_OR_DENSE_KERNEL.match, first):
            assert np.mean(first[path] == other[path]) < 0.01, path

    def test_layers_of_one_shape_start_apart(self, logeps_models):
        weights = initial_weights(logeps_models["vgg"])
        assert np.mean(weights["conv_2/kernel"] == weights["conv_3/kernel"]) < 0.01

    @pytest.mark.parametrize("name", NAMES)
    def test_kernels_start_glorot_uniform_and_biases_zero(self, name, logeps_models):
        for path, value in initial_weights(logeps_models[name]).items():
            if CONV_OR_DENSE_KERNEL.match(path):
                *window, n_in, n_out = value.shape
                limit = np.sqrt(6 / ((n_in + n_out) * np.prod(window)))
                assert np.abs(value).max() <= limit
                # Uniform: variance limit ** 2 / 3. 20 %: the smallest kernel has 288 values, so
                # its sample variance has a standard deviation of 5 %.
                assert np.var(value) == pytest.approx(limit**2 / 3, rel=0.2)
            elif path.endswith("/bias"):
                np.testing.assert_array_equal(value, 0)

    @pytest.mark.parametrize(("name", "layer"), [("sb_cnn", "dropout_1"), ("sb_cnn", "dropout_2"), ("vgg", "dropout")])
    def test_dropout_masks_follow_the_seed(self, name, layer):
        def masks(compression, seed):
            """Three consecutive masks, `(3, 8, 64)` booleans."""
            dropout = build_model(name, compression=compression, seed=seed).get_layer(layer)
            return np.array([dropout(np.ones((8, 64), "float32"), training=True) != 0 for _ in range(3)])

        loglearn, logeps, other = masks("loglearn", 3), masks("logeps", 3), masks("logeps", 4)
        np.testing.assert_array_equal(loglearn, logeps)
        # A fair coin agrees with another on half of the 512 draws of a mask, +- 2 %.
        assert logeps.mean() == pytest.approx(0.5, abs=0.1)
        assert np.mean(logeps == other) == pytest.approx(0.5, abs=0.1)
        assert np.mean(logeps[0] == logeps[1]) == pytest.approx(0.5, abs=0.1)

    def test_two_dropouts_of_a_model_draw_apart(self):
        model = build_model("sb_cnn")
        first, second = (
            model.get_layer(name)(np.ones((8, 64), "float32"), training=True).numpy() != 0
            for name in ("dropout_1", "dropout_2")
        )
        assert np.mean(first == second) == pytest.approx(0.5, abs=0.1)


class TestCompression:
    def test_gradients_reach_the_pre_gates(self):
        model = build_model("timbre")
        layer = model.get_layer("loglearn")
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(random_mel())))
        gradients = tape.gradient(loss, layer.trainable_weights)
        assert len(gradients) == 2
        assert all(np.isfinite(g) and abs(float(g)) > 1e-6 for g in gradients)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_layer_of_ones_own(self, name, logeps_models):
        class CubeRoot(keras.layers.Layer):
            def call(self, mel):
                return mel ** (1 / 3)

        own = CubeRoot(name="cube_root")
        model = build_model(name, compression=own)
        assert model.get_layer("cube_root") is own
        assert n_trainable(model) == n_trainable(logeps_models[name])
        # It is used: cubing the input by hand and taking the root is the identity.
        identity = build_model(name, compression="none")
        mel = random_mel(1)
        np.testing.assert_allclose(model(mel**3), identity(mel), rtol=1e-3, atol=1e-3 * np.abs(identity(mel)).max())

    def test_loglearn_per_band(self, logeps_models):
        model = build_model("timbre", compression=LearnableLog(per_band=True))
        assert n_trainable(model) == n_trainable(logeps_models["timbre"]) + 2 * 128


class TestErrors:
    def test_names(self):
        assert set(MODELS) == {*NAMES, "prototypical"}  # test_prototypical.py has the fourth

    @pytest.mark.parametrize("name", ["VGG", "resnet", 2, None])
    def test_unknown_network(self, name):
        message = "`name` must name a network from the list, or your own as `module:attribute`. "
        message += f"Received: {name!r}. Known: prototypical, sb_cnn, timbre, vgg."
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            build_model(name)

    @pytest.mark.parametrize("n_classes", [1, 0, -10, True, 10.0, "10", None])
    def test_n_classes(self, n_classes):
        message = f"`n_classes` must be an integer of at least 2. Received: n_classes={n_classes!r}."
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            build_model("timbre", n_classes=n_classes)

    def test_unknown_compression(self):
        with pytest.raises(
            ValueError,
            match=r"^`compression` must name a compression.* Received: 'ln'\. Known: learned_relative_knee, log",
        ):
            build_model("timbre", compression="ln")

    def test_arguments_are_keyword_only(self):
        with pytest.raises(TypeError):
            build_model("timbre", 10)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder with a patch model, a prototypical and a waveform model, and what they should return."""
    folder = tmp_path_factory.mktemp("saved")
    patch_model = build_model("timbre", n_classes=3)
    randomise(patch_model)
    patch_model.get_layer("loglearn").set_weights([np.float32(4.0), np.float32(0.5)])

    waveform = keras.Input((1024,))
    x = MelSpectrogram(n_fft=256, hop_length=256, n_mels=8, f_max=8000.0)(waveform)
    x = LearnableLog(per_band=True, name="loglearn")(x)
    wave_model = keras.Model(waveform, keras.layers.Flatten()(x))
    pre_gates = np.linspace(-1, 6, 8, dtype="float32")
    wave_model.get_layer("loglearn").set_weights([pre_gates, pre_gates[::-1]])

    proto_model = build_model("prototypical", n_classes=3, n_filters=4, seed=1)
    proto_model.get_layer("prototypes").prototypes.assign(np.random.default_rng(0).normal(size=(3, 10)))

    inputs = {
        "mel": random_mel(2),
        "waveform": np.random.default_rng(1).uniform(-1, 1, (2, 1024)).astype("float32"),
    }
    np.savez(folder / "inputs.npz", **inputs)
    patch_model.save(folder / "patch.keras")
    proto_model.save(folder / "proto.keras")
    wave_model.save(folder / "wave.keras")
    return folder, {
        "patch": patch_model(inputs["mel"]).numpy(),
        "proto": proto_model(inputs["mel"]).numpy(),
        "wave": wave_model(inputs["waveform"]).numpy(),
        "alpha": 54.59815,  # exp(4)
        "alpha_per_band": np.exp(np.linspace(-1, 6, 8)),
    }


class TestSavedModel:
    """A saved model loads in a fresh process after `import loglearn_tf` alone, in either order."""

    SCRIPT = """
import json, sys
{imports}
import numpy as np

folder = sys.argv[1]
patch_model = keras.models.load_model(folder + "/patch.keras")  # no custom_objects, safe mode on
proto_model = keras.models.load_model(folder + "/proto.keras")
wave_model = keras.models.load_model(folder + "/wave.keras")
inputs = np.load(folder + "/inputs.npz")
print(json.dumps({{
    "patch": patch_model(inputs["mel"]).numpy().tolist(),
    "proto": proto_model(inputs["mel"]).numpy().tolist(),
    "wave": wave_model(inputs["waveform"]).numpy().tolist(),
    "alpha": float(patch_model.get_layer("loglearn").alpha),
    "alpha_per_band": wave_model.get_layer("loglearn").alpha.numpy().tolist(),
}}))
"""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "imports",
        [
            pytest.param("import loglearn_tf, keras", id="package first", marks=pytest.mark.long),
            pytest.param("import keras\nimport loglearn_tf", id="keras first"),
        ],
    )
    def test_loads_without_custom_objects(self, saved, imports):
        folder, expected = saved
        loaded = json.loads(python(self.SCRIPT.format(imports=imports), folder).splitlines()[-1])
        assert loaded.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(loaded[key], value, rtol=1e-6, atol=1e-6, err_msg=key)
