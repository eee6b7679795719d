"""Saved models are read by anyone, described, and never run code of their own."""

import copy
import json
import re
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, python
from packaging.version import Version

from loglearn_tf import LearnableLog, build_model, clip_classifier
from loglearn_tf.cli import main
from loglearn_tf.deploy.saved_models import describe, front_end_of, head_of, load_model
from loglearn_tf.errors import ModelError

EARLIER = sorted((ROOT / "tests" / "saved_models").glob("*.keras"))


@pytest.mark.parametrize("file", EARLIER, ids=lambda path: path.stem)
def test_files_of_earlier_versions_load_and_give_the_same(file):
    """Made by tests/saved_models/make.py of that version."""
    with zipfile.ZipFile(file) as archive:
        saved_by = json.loads(archive.read("metadata.json"))["keras_version"]
    if Version(keras.__version__) < Version(saved_by):
        pytest.skip(f"saved by Keras {saved_by}, whose layers have arguments that earlier ones have not")
    model = load_model(file)
    stored = np.load(file.with_suffix(".npz"))
    waveform = np.random.default_rng(0)
    for weight in model.get_weights():
        waveform.normal(0, 0.3, weight.shape)  # as make.py drew them first
    waveform = waveform.uniform(-1, 1, (2, 16_000)).astype("float32")
    np.testing.assert_allclose(model(waveform), stored["logits"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.get_layer("loglearn_per_band").alpha, stored["alpha"], rtol=1e-6)


def test_there_are_files_of_earlier_versions():
    assert EARLIER


@pytest.mark.long
def test_two_layers_and_a_custom_loop_saved_here_load_in_a_fresh_process(tmp_path):
    keras.utils.set_random_seed(0)
    mel = keras.Input((None, 8))
    x = keras.layers.Concatenate()([LearnableLog(name="one")(mel), LearnableLog(per_band=True, name="all")(mel)])
    model = keras.Model(mel, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(x)))
    power = np.random.default_rng(0).exponential(size=(4, 6, 8)).astype("float32")
    optimizer = keras.optimizers.SGD(0.1)
    for _ in range(5):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(power, training=True) ** 2)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    model.save(tmp_path / "two.keras")
    np.savez(tmp_path / "two.npz", power=power, logits=model(power), alpha=model.get_layer("all").alpha)
    program = """
import keras, numpy, loglearn_tf
model, stored = keras.models.load_model("two.keras"), numpy.load("two.npz")
numpy.testing.assert_allclose(model(stored["power"]), stored["logits"], rtol=1e-5, atol=1e-6)
numpy.testing.assert_allclose(model.get_layer("all").alpha, stored["alpha"], rtol=1e-6)
assert abs(float(model.get_layer("one").alpha) - 1096.633) > 0.01
"""
    python(program, cwd=tmp_path)


class TestDescribe:
    def test_a_clip_classifier(self):
        network = build_model("timbre", n_classes=2)
        shown = describe(
            clip_classifier(network, class_names=["dog", "siren"], patch_hop=42, front_end={"f_max": 16_000})
        )
        for part in (
            "44,100 Hz, FFT 1024, hop 1024 samples (23.2 ms), 128 mel bands from 0 to 16000 Hz, reflect padding",
            "128 frames x 128 bands, hop 42, arithmetic mean",
            "network: timbre, 1,520 parameters",
            "classes: dog, siren",
            "compression: loglearn (LearnableLog)",
            "alpha 1096.63",
            "knee  0.00119754",
        ):
            assert part in shown
        assert re.search(r"1e-10 +0\.273\n", shown)  # ln beta, where the curve is flat
        assert re.search(r"1e\+04 +16\.210 +#{50}$", shown, re.M)

    def test_any_model_with_a_layer_in_it(self):
        mel = keras.Input((5, 4))
        shown = describe(keras.Model(mel, keras.Sequential([LearnableLog(per_band=True), keras.layers.Dense(1)])(mel)))
        assert "alpha 1096.63 to 1096.63, median 1096.63, of 4 bands" in shown and "its mean over bands" in shown

    def test_bands_on_another_axis(self):
        mel = keras.Input((5, 4, 2))
        model = keras.Model(mel, LearnableLog(per_band=True, axis=-2)(mel))
        assert "of 4 bands" in describe(model) and re.search(r"1e\+04 +16\.210", describe(model))

    def test_a_model_that_is_not_built(self):
        assert "not built, unknown parameters" in describe(keras.Sequential([keras.layers.Dense(1)], name="new"))


class TestErrors:
    def test_no_such_file(self, tmp_path):
        with pytest.raises(ModelError, match=r"Model not found: .*nothing.keras.*save_models=true"):
            load_model(tmp_path / "nothing.keras")
        with pytest.raises(ModelError, match=r"Model not found: .*model.keras"):
            load_model(tmp_path)  # a run's folder without one

    @pytest.mark.parametrize("content", [b"", b"RIFF....WAVE", b"\x89HDF\r\n\x1a\n"])
    def test_no_model(self, tmp_path, content):
        (tmp_path / "sound.keras").write_bytes(content)
        with pytest.raises(ModelError, match=r"sound.keras is not a model saved by Keras 3"):
            load_model(tmp_path / "sound.keras")

    def test_a_zip_of_something_else(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
            archive.writestr("readme.txt", "hello")
        with pytest.raises(ModelError, match="not a model saved by Keras 3"):
            load_model(tmp_path / "other.keras")

    def test_layers_of_another_package(self, tmp_path, capsys):
        @keras.saving.register_keras_serializable(package="elsewhere")
        class Unheard(keras.layers.Layer):
            def call(self, x):
                return x

        keras.Sequential([keras.Input((2,)), Unheard()]).save(tmp_path / "other.keras")
        del keras.saving.get_custom_objects()["elsewhere>Unheard"]  # as where it was never imported
        assert main(["show", str(tmp_path / "other.keras")]) == 2
        said = capsys.readouterr().err
        assert "cannot be loaded" in said and "Could not locate class 'Unheard'" in said

    def test_code_in_a_file_is_not_run(self, tmp_path):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
        model.save(tmp_path / "lambda.keras")
        with pytest.raises(ModelError, match=r"cannot be loaded: it has a `Lambda` named 'lambda.*Make it a layer"):
            load_model(tmp_path / "lambda.keras")

    @pytest.mark.parametrize("unsafe", [False, True], ids=["safe mode", "safe mode off"])
    @pytest.mark.parametrize(
        ("module", "kind"),
        [
            ("keras.layers", "Lambda"),
            ("keras", "layers.Lambda"),
            ("keras.src.layers.core.lambda_layer", "Lambda"),
            ("keras.layers", "TFSMLayer"),
            ("keras.layers", "TorchModuleWrapper"),
        ],
    )
    def test_layers_that_run_code_are_refused_by_name(self, tmp_path, module, kind, unsafe):
        # A function of Keras is no lambda, and so safe mode lets it pass.
        relu = {"module": "keras.ops", "class_name": "function", "config": "relu", "registered_name": "function"}
        inner = {"name": "harm", "function": relu, "filepath": "saved", "call_endpoint": "serve"}
        path = self.with_last_layer(tmp_path, {"module": module, "class_name": kind, "config": inner})
        refused = pytest.raises(ModelError, match=f"it has a `{kind.rpartition('.')[2]}` named 'harm', which can")
        if not unsafe:
            with refused:
                load_model(path)
            return
        keras.config.enable_unsafe_deserialization()
        try:
            with refused:
                load_model(path)
        finally:
            keras.utils.clear_session()  # safe again

    @pytest.mark.parametrize("kind", ["StringLookup", "IntegerLookup", "TextVectorization"])
    def test_a_layer_does_not_read_other_files(self, tmp_path, kind):
        (tmp_path / "secret.txt").write_text("1\n2\n")
        layer = {"module": "keras.layers", "class_name": kind, "registered_name": None}
        config = getattr(keras.layers, kind)().get_config()
        layer["config"] = config | {"vocabulary": str(tmp_path / "secret.txt")}
        with pytest.raises(ModelError, match="vocabulary file outside of the model archive"):
            load_model(self.with_last_layer(tmp_path, layer))

    def test_a_function_that_would_download_is_refused(self, tmp_path):
        function = {"module": "keras.utils", "class_name": "function", "config": "get_file"}
        dense = {"module": "keras.layers", "class_name": "Dense", "registered_name": None}
        dense["config"] = {"units": 2, "activation": function}
        with pytest.raises(ModelError, match="cannot be loaded: .*get_file"):
            load_model(self.with_last_layer(tmp_path, dense))

    def test_layers_that_the_program_has_registered_are_loaded(self, tmp_path):
        @keras.saving.register_keras_serializable(package="mine")
        class Doubled(keras.layers.Layer):
            def call(self, x):
                return 2 * x

        keras.Sequential([keras.Input((2,)), Doubled()]).save(tmp_path / "mine.keras")
        np.testing.assert_array_equal(load_model(tmp_path / "mine.keras")(np.ones((1, 2))), [[2, 2]])

    def test_hdf5_that_is_a_zip_too(self, tmp_path):
        """By its name Keras would read the HDF5, not the zip that was looked at."""
        model = keras.Sequential([keras.Input((2,)), LearnableLog()])
        model.save(tmp_path / "good.keras")
        model.save(tmp_path / "both.h5")
        with (tmp_path / "both.h5").open("ab") as file:
            file.write((tmp_path / "good.keras").read_bytes())
        assert zipfile.is_zipfile(tmp_path / "both.h5")
        with pytest.raises(
            ModelError,
            match=r"name of a model file must end in `.keras`. Received: "
            r".*both.h5. Rename it if",
        ):
            load_model(tmp_path / "both.h5")

    def parts(self, tmp_path):
        keras.Sequential([keras.Input((2,)), LearnableLog()]).save(tmp_path / "good.keras")
        with zipfile.ZipFile(tmp_path / "good.keras") as good:
            return {name: good.read(name) for name in good.namelist()}

    @pytest.mark.parametrize("bomb", ["config.json", "model.weights.h5", "assets/any"])
    def test_a_compressed_part_is_not_read(self, tmp_path, monkeypatch, bomb):
        with zipfile.ZipFile(tmp_path / "bomb.keras", "w") as archive:
            for name, content in self.parts(tmp_path).items():
                if name != bomb:
                    archive.writestr(name, content)
            archive.writestr(bomb, b" " * 10_000_000, zipfile.ZIP_DEFLATED)
        monkeypatch.setattr(zipfile.ZipFile, "read", lambda *arguments: pytest.fail("was read"))
        with pytest.raises(ModelError, match=rf"bomb.keras must contain uncompressed parts.*{bomb}, 10,000,000 bytes"):
            load_model(tmp_path / "bomb.keras")

    def test_parts_that_lie_on_each_other(self, tmp_path):
        """Any number of names for the same bytes."""
        content = self.parts(tmp_path)
        with zipfile.ZipFile(tmp_path / "bomb.keras", "w") as archive:
            for name in content:
                archive.writestr(name, content[name])
            for number in range(1000):
                again = copy.copy(archive.getinfo("model.weights.h5"))
                again.filename = f"assets/{number}"
                archive.filelist.append(again)
        with pytest.raises(ModelError, match=r"bomb.keras must not have overlapping parts. Received: [\d,]+ bytes in"):
            load_model(tmp_path / "bomb.keras")

    def test_a_description_of_a_size_that_no_model_has(self, tmp_path):
        parts = self.parts(tmp_path)
        with zipfile.ZipFile(tmp_path / "large.keras", "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, content + (b" " * (16 << 20) if name == "config.json" else b""))
        with pytest.raises(ModelError, match=r"`config.json` may have at most 16,777,216 bytes. Received: 16,77"):
            load_model(tmp_path / "large.keras")

    def test_a_description_without_end(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "deep.keras", "w") as archive:
            archive.writestr("config.json", "[" * 1_000_000)
        with pytest.raises(ModelError, match="deep.keras is not a model saved by Keras 3"):
            load_model(tmp_path / "deep.keras")

    @pytest.mark.parametrize(
        "layer",
        [
            {"module": "os", "class_name": "system", "config": "touch was_run"},
            {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "was_run"]}},
            {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
            {"class_name": "__lambda__", "config": {"value": "gASVAAAAAAAAAA=="}},
            {"module": "keras.layers", "class_name": "Lambda", "config": {"function": ["4wEAAAAAAAAA", None, None]}},
            {"module": "pickle", "class_name": "loads", "config": "gASVAAAAAAAAAA=="},
            {
                "module": "keras.layers",
                "class_name": "Dense",
                "config": {"units": 2, "activation": {"module": "os", "class_name": "function", "config": "system"}},
            },
        ],
        ids=lambda layer: f"{layer.get('module')} {layer['class_name']}",
    )
    def test_a_layer_that_would_run_code_is_refused(self, tmp_path, monkeypatch, layer):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ModelError, match="cannot be loaded"):
            load_model(self.with_last_layer(tmp_path, layer))
        assert not (tmp_path / "was_run").exists()

    def test_pickled_weights_are_not_unpickled(self, tmp_path):
        """`model.weights.h5` replaced by a pickle that would make a file."""
        keras.Sequential([keras.Input((2,)), LearnableLog()]).save(tmp_path / "good.keras")
        harm = f"cos\nsystem\n(S'touch {tmp_path}/was_run'\ntR.".encode()
        with zipfile.ZipFile(tmp_path / "good.keras") as good, zipfile.ZipFile(tmp_path / "bad.keras", "w") as bad:
            for name in good.namelist():
                bad.writestr(name, harm if name.endswith(".h5") else good.read(name))
        with pytest.raises(ModelError, match="cannot be loaded"):
            load_model(tmp_path / "bad.keras")
        assert not (tmp_path / "was_run").exists()

    def with_last_layer(self, tmp_path, change):
        """A saved model whose last layer's description is changed, as a person with an editor can."""
        keras.Sequential([keras.Input((2,)), LearnableLog()]).save(tmp_path / "good.keras")
        with zipfile.ZipFile(tmp_path / "good.keras") as good, zipfile.ZipFile(tmp_path / "bad.keras", "w") as bad:
            for name in good.namelist():
                content = good.read(name)
                if name == "config.json":
                    config = json.loads(content)
                    config["config"]["layers"][-1] |= change
                    content = json.dumps(config).encode()
                bad.writestr(name, content)
        return tmp_path / "bad.keras"

    def test_a_damaged_configuration(self, tmp_path):
        with pytest.raises(ModelError, match="cannot be loaded"):
            load_model(self.with_last_layer(tmp_path, {"config": {"alpha_pre_gate": "seven"}}))

    @pytest.mark.parametrize("part", [front_end_of, head_of])
    def test_a_model_without_layers(self, part):
        with pytest.raises(ModelError, match="is not a clip classifier.*not built"):
            part(keras.Sequential([]))

    @pytest.mark.parametrize("part", [front_end_of, head_of])
    def test_a_model_that_is_no_clip_classifier(self, part):
        with pytest.raises(ModelError, match=r"net.keras is not a clip classifier.*Received: a model `timbre`, "):
            part(build_model("timbre", n_classes=3), "net.keras")


def test_layers_of_ones_own_are_registered_by_their_module(tmp_path, monkeypatch, capsys):
    """As of a run with `compressions: [own_layers:CubeRoot]`."""
    (tmp_path / "own_layers.py").write_text(
        "import keras\n"
        "from loglearn_tf import Compression\n\n\n"
        "@keras.saving.register_keras_serializable('own_layers')\n"
        "class CubeRoot(Compression):\n"
        "    def compress(self, mel):\n"
        "        return mel ** (1 / 3)\n"
    )
    made = (
        "from loglearn_tf import build_model, clip_classifier; from own_layers import CubeRoot; "
        "network = build_model('timbre', n_classes=2, compression=CubeRoot()); "
        "clip_classifier(network, class_names=['a', 'b']).save('own.keras')"
    )
    python(made, cwd=tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["show", "own.keras"]) == 2
    assert "For layers of your own, use `--import MODULE`" in capsys.readouterr().err
    assert main(["show", "own.keras", "--import", "own_layer"]) == 2
    said = capsys.readouterr().err
    assert "The module of `--import` cannot be imported: ModuleNotFoundError: No module named 'own_layer'." in said
    assert main(["show", "own.keras", "--import", "own_layers"]) == 0
    assert "CubeRoot" in capsys.readouterr().out
