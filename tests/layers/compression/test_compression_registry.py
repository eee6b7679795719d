"""Compressions by name: those of the package, of installed packages, and of any module."""

import re
import sys
import types

import keras
import numpy as np
import pytest
from conftest import python

from loglearn_tf.errors import ConfigError
from loglearn_tf.layers import (
    COMPRESSIONS,
    CompressionRecord,
    LearnableLog,
    Log,
    LogEps,
    NoCompression,
    build_compression,
)

MEL = (10 ** np.random.default_rng(0).uniform(-8, 2, (2, 7, 5))).astype("float32")


def run(program, *arguments):
    return python(program, *arguments).split()


class TestTheList:
    def test_order_on_paper_the_baseline_first(self):
        assert list(COMPRESSIONS) == [
            "logeps",
            "loglearn",
            "loglearn_per_band",
            "loglearn_adapted",
            "loglearn_knee",
            "log",
            "log1p_learn",
            "power",
            "pcen",
            "pcen_learn",
            "relative_knee",
            "learned_relative_knee",
            "relative_logeps",
            "none",
        ]

    def test_each_has_a_title_of_its_own(self):
        titles = [record.title for record in COMPRESSIONS.values()]
        assert all(titles) and len(set(titles)) == len(titles)
        assert titles[:2] == ["log-EPS", "loglearn"]
        assert all(record.name == name for name, record in COMPRESSIONS.items())

    @pytest.mark.parametrize("package", ["loglearn_tf", "loglearn_tf.layers", "loglearn_tf.layers.compression"])
    def test_names_and_titles_are_known_without_keras(self, package):
        program = f"""
import sys
from {package} import COMPRESSIONS
assert COMPRESSIONS["pcen_learn"].title == "PCEN (learned)" and "ln" not in COMPRESSIONS
COMPRESSIONS.check("my_lab.layers:MyLog", setting="compressions")
print("loaded:", *{{"keras", "tensorflow", "jax", "torch", "librosa"}} & set(sys.modules))
"""
        assert run(program) == ["loaded:"]

    def test_entry_points_of_installed_packages(self, tmp_path):
        metadata = tmp_path / "my_lab-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-lab\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text("[loglearn_tf.compressions]\nquiet = my_lab_layers:Quiet\n")
        (tmp_path / "my_lab_layers.py").write_text("class Quiet: pass\n")
        program = """
import sys
sys.path.insert(0, sys.argv[1])
from loglearn_tf.layers.compression import COMPRESSIONS
print(list(COMPRESSIONS)[-1], COMPRESSIONS["quiet"].title, COMPRESSIONS["quiet"].layer.__name__)
"""
        assert run(program, tmp_path) == ["quiet", "quiet", "Quiet"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        "import loglearn_tf.layers.compression.base",
        *(
            pytest.param(first, marks=pytest.mark.long)  # each loads TensorFlow
            for first in (
                "import loglearn_tf.layers.compression.log",
                "import loglearn_tf.layers.mel_spectrogram",
                "from loglearn_tf.layers import Compression",
                "import loglearn_tf, keras",
            )
        ),
    ],
)
def test_whatever_imports_keras_first_all_layers_are_registered(first):
    """A model saved with any of them then loads without `custom_objects`."""
    program = f"""
{first}
import keras
print(*sorted(name for name in keras.saving.get_custom_objects() if name.startswith("loglearn_tf>")))
"""
    layers = (
        "LearnableKnee LearnableLog Log Log1p LogEps MeanOverPatches MelSpectrogram NoCompression PCEN Power Prototypes"
    )
    assert set(run(program)) >= {f"loglearn_tf>{name}" for name in layers.split()}


class TestByName:
    @pytest.mark.parametrize(
        ("name", "kind"), [("loglearn", LearnableLog), ("logeps", LogEps), ("log", Log), ("none", NoCompression)]
    )
    def test_builds_the_published_defaults_under_the_same_name(self, name, kind):
        layer = build_compression(name)
        assert type(layer) is kind and layer.name == name
        assert layer.get_config() == {**kind().get_config(), "name": name}

    def test_a_record_builds_its_layer_when_called(self):
        layer = COMPRESSIONS["loglearn_adapted"]()
        assert type(layer) is LearnableLog and layer.quantile == 0.1
        assert COMPRESSIONS["loglearn_adapted"](quantile=0.5, per_band=True).quantile == 0.5

    @pytest.mark.parametrize("name", COMPRESSIONS)
    def test_a_record_knows_without_keras_whether_its_layer_is_relative(self, name):
        assert COMPRESSIONS[name].relative is getattr(build_compression(name), "relative", False)

    def test_each_call_builds_a_new_layer(self):
        assert build_compression("loglearn") is not build_compression("loglearn")

    def test_a_layer_is_passed_through(self):
        layer = keras.layers.ReLU()
        assert build_compression(layer) is layer

    @pytest.mark.parametrize(
        ("unknown", "message"),
        [
            ("ln", "`compression` must name a compression from the list, or your own as `module:attribute`. "
             f"Received: 'ln'. Known: {', '.join(sorted(COMPRESSIONS))}."),
            ("loglern", "Received: 'loglern'. Did you mean loglearn?"),
            ("LearnableLog", "Received: 'LearnableLog'."),
        ],
    )  # fmt: skip
    def test_unknown_name(self, unknown, message):
        with pytest.raises(ConfigError, match=re.escape(message)):
            build_compression(unknown)

    @pytest.mark.parametrize("wrong", [None, 3, LearnableLog, ["loglearn"]])
    def test_what_is_neither_a_name_nor_a_layer(self, wrong):
        message = (
            "`compression` must be a Keras layer without arguments, or a name: "
            f"{', '.join(COMPRESSIONS)}, or your own as `module:attribute`. Received: compression={wrong!r}."
        )
        with pytest.raises(ConfigError, match=re.escape(message)):
            build_compression(wrong)

    def test_arguments_are_for_names_alone(self):
        with pytest.raises(ConfigError, match=r"a Keras layer without arguments.* with arguments {'eps': 1}\.$"):
            build_compression(LogEps(), eps=1)


@keras.saving.register_keras_serializable(package="tests")
class Root(keras.layers.Layer):
    def __init__(self, degree=2, **kwargs):
        super().__init__(**kwargs)
        self.degree = degree

    def call(self, mel):
        return mel ** (1 / self.degree)

    def get_config(self):
        return {**super().get_config(), "degree": self.degree}


class Bare(keras.layers.Layer):
    """Takes no arguments, not even a name."""

    def __init__(self):
        super().__init__()

    def call(self, mel):
        return mel


@pytest.fixture
def my_lab(monkeypatch):
    module = types.ModuleType("my_lab_of_tests")
    module.Root = Root
    module.Bare = Bare
    module.cube_root = lambda **arguments: Root(degree=3, **arguments)
    module.plain_root = lambda: Root()
    module.RECORD = CompressionRecord("root4", "fourth root", Root, {"degree": 4})
    module.shared = Root(name="shared")
    module.number = 3
    module.log = np.log
    module.nothing = lambda name: None
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


class TestFromOutside:
    @pytest.mark.parametrize(
        ("attribute", "arguments", "degree"),
        [("Root", {}, 2), ("Root", {"degree": 5}, 5), ("cube_root", {}, 3), ("plain_root", {}, 2), ("RECORD", {}, 4)],
    )
    def test_a_class_a_function_or_a_record(self, my_lab, attribute, arguments, degree):
        layer = build_compression(f"{my_lab}:{attribute}", **arguments)
        np.testing.assert_allclose(layer(MEL), MEL ** (1 / degree), rtol=1e-6)

    def test_a_layer_that_takes_no_name(self, my_lab):
        assert type(build_compression(f"{my_lab}:Bare")) is Bare
        assert type(build_compression(f"{my_lab}:Bare", name="given")) is Bare

    def test_titles(self, my_lab):
        assert COMPRESSIONS[f"{my_lab}:Root"].title == f"{my_lab}:Root"
        assert COMPRESSIONS[f"{my_lab}:RECORD"].title == "fourth root"
        assert f"{my_lab}:Root" not in list(COMPRESSIONS)

    def test_in_a_compiled_network_that_is_saved(self, my_lab, tmp_path):
        """Under a name that TensorFlow takes, which has no colon."""
        mel = keras.Input((7, 5))
        model = keras.Model(mel, build_compression(f"{my_lab}:Root")(mel))
        assert model.layers[1].name == f"{my_lab}.Root"
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(loaded.predict(MEL, verbose=0), np.sqrt(MEL), rtol=1e-6)

    @pytest.mark.parametrize(
        ("attribute", "arguments", "message"),
        [
            ("shared", {}, "Received: the layer 'shared', whose weights all networks would share. Name its class."),
            ("number", {}, "must be a Keras layer class, a function that returns a layer or a .* Received: 3."),
            ("nothing", {}, "must be or return a Keras layer. Received: None."),
            ("Root", {"knee": 1}, r"my_lab_of_tests:Root does not take {'knee': 1}: .*knee"),
            ("log", {}, "my_lab_of_tests:log does not take {}: "),
            ("Rood", {}, "Module my_lab_of_tests has no `Rood`"),
        ],
    )
    def test_what_is_no_layer(self, my_lab, attribute, arguments, message):
        with pytest.raises(ConfigError, match=message):
            build_compression(f"{my_lab}:{attribute}", **arguments)

    def test_no_such_module(self):
        with pytest.raises(ConfigError, match="no_such_lab:Root cannot be imported: ModuleNotFoundError.*PYTHONPATH"):
            build_compression("no_such_lab:Root")
