"""The list of networks: what is known of each, without Keras; and networks of one's own."""

import functools
import inspect
import re
import subprocess
import sys

import keras
import pytest

from loglearn_tf._util.registry import load
from loglearn_tf.errors import ConfigError
from loglearn_tf.models import MODELS, Network, build_model
from loglearn_tf.study.settings import Settings
from loglearn_tf.training.supervised import train_run

# ---- Those of the package -----------------------------------------------------------------------------------------


def test_records_are_read_without_keras():
    program = """
import sys
from loglearn_tf.models import MODELS
print([MODELS[name].title for name in MODELS], sorted({"keras", "tensorflow"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "['SB-CNN', 'VGG', 'TIMBRE', 'Prototypical'] []\n", done.stderr


@pytest.mark.parametrize("name", MODELS)
def test_a_record_says_its_name_and_its_source(name):
    assert MODELS[name].name == name
    assert re.search(r"arXiv:\d{4}\.\d{5}", MODELS[name].citation)


@pytest.mark.parametrize("name", MODELS)
def test_trainers_can_be_called_alike(name):
    trainer = load(MODELS[name].trainer, what=name)
    assert list(inspect.signature(trainer).parameters) == list(inspect.signature(train_run).parameters)


@pytest.mark.parametrize("name", MODELS)
def test_what_a_trainer_reads_are_settings(name):
    sections = {key: Settings.model_fields[key].annotation for key in ("training", "episodic", "evaluation")}
    for read in MODELS[name].reads:
        section, _, key = read.partition(".")
        assert not key or key in sections[section].model_fields


@pytest.mark.parametrize("name", MODELS)
def test_the_fewest_mel_bands(name):
    more = {"n_filters": 2} if name in ("vgg", "prototypical") else {}
    least = MODELS[name].min_n_mels
    assert build_model(name, compression="none", n_mels=least, **more).input_shape == (None, 128, least)
    with pytest.raises(ValueError):
        build_model(name, compression="none", n_mels=least - 1, **more)


@pytest.mark.parametrize("name", MODELS)
def test_the_fewest_frames(name):
    more = {"n_filters": 2} if name in ("vgg", "prototypical") else {}
    least = MODELS[name].min_patch_frames
    assert build_model(name, compression="none", patch_frames=least, **more).input_shape == (None, least, 128)
    with pytest.raises(ValueError):
        build_model(name, compression="none", patch_frames=least - 1, **more)


def test_a_builder_of_patches_of_one_length():
    from loglearn_tf.layers import LogEps

    def build(n_classes, compression, seed, n_mels, l2=0.0):
        mel = keras.Input((64, n_mels))
        return keras.Model(mel, keras.layers.Dense(n_classes)(keras.layers.Flatten()(compression(mel))))

    given = {"n_classes": 2, "compression": LogEps(), "seed": 0, "n_mels": 8, "patch_frames": 100}
    assert Network(name="mine", title="Mine", build=build)(**given).input_shape == (None, 64, 8)
    with pytest.raises(TypeError, match="n_filters"):
        Network(name="mine", title="Mine", build=build)(**given, n_filters=3)


def test_a_network_is_built_by_calling_its_record():
    from loglearn_tf.layers import LogEps

    built = MODELS["timbre"](n_classes=3, compression=LogEps(), seed=0)
    assert built.output_shape == (None, 3)
    with pytest.raises(TypeError, match="n_filter"):
        build_model("vgg", n_filter=3)


# ---- One's own ----------------------------------------------------------------------------------------------------


def bare(n_classes, compression, seed, n_mels=128):
    """As short as a builder can be."""
    mel = keras.Input((128, n_mels))
    x = keras.layers.GlobalAveragePooling1D()(compression(mel))
    start = keras.initializers.GlorotUniform(seed=seed)
    return keras.Model(mel, keras.layers.Dense(n_classes, kernel_initializer=start)(x))


def fixed(n_classes, compression, seed):
    return bare(n_classes, compression, seed, n_mels=128)


def takes_all(**arguments):
    takes_all.got = arguments
    return bare(arguments["n_classes"], arguments["compression"], arguments["seed"])


def without_seed(n_classes, compression):
    raise AssertionError("never called")


def returns_nothing(n_classes, compression, seed):
    return None


def returns_probabilities_of_two(n_classes, compression, seed):
    return bare(2, compression, seed)


def takes_waveforms(n_classes, compression, seed):
    waveform = keras.Input((44_100,))
    return keras.Model(waveform, keras.layers.Dense(n_classes)(waveform))


def without_shapes(n_classes, compression, seed):
    class Subclassed(keras.Model):
        def call(self, mel):
            return mel

    return Subclassed()


RECORD = Network(name="mine", title="Mine", build=bare, mean="geometric", clip_ms=3)
NUMBER = 3


def place(found):
    return f"{__name__}:{found if isinstance(found, str) else found.__name__}"


def test_a_bare_builder_is_a_network():
    network = MODELS[place(bare)]
    assert (network.name, network.title) == (place(bare), "bare")
    defaults = Network(name=network.name, title=network.title, build=network.build)
    assert network == defaults
    assert network.trainer == MODELS["vgg"].trainer and network.reads == MODELS["vgg"].reads


def test_a_record_keeps_what_it_says_and_gets_the_name_it_was_found_by():
    network = MODELS[place("RECORD")]
    assert (network.name, network.title, network.mean) == (place("RECORD"), "Mine", "geometric")


def test_build_model_builds_it():
    model = build_model(place(bare), n_classes=4, compression="logeps", seed=1)
    assert model.output_shape == (None, 4) and model.layers[1].name == "logeps"
    again = build_model(place(bare), n_classes=4, compression="logeps", seed=1)
    assert (model.get_weights()[0] == again.get_weights()[0]).all()


def test_it_need_not_take_what_trainers_offer_but_shapes_must_match():
    build_model(place(fixed), l2=0.1, n_mels=128, patch_frames=128)
    message = r"must take mel power of shape \(batch, patch_frames, 64\)\. Received: input shape \(None, 128, 128\)"
    with pytest.raises(ValueError, match=message):
        build_model(place(fixed), n_mels=64)
    assert build_model(place(bare), n_mels=64).input_shape == (None, 128, 64)
    build_model(place(takes_all), l2=0.1)
    assert set(takes_all.got) == {"n_classes", "compression", "seed", "l2"}
    with pytest.raises(TypeError, match="n_filters"):
        build_model(place(fixed), n_filters=3)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            without_seed,
            r"must accept the keyword arguments n_classes, compression, seed.*without `seed`: "
            r"without_seed\(",
        ),
        ("NUMBER", "must be a function that builds a Keras model or a `Network`. Received: 3"),
        (returns_nothing, "must return a keras.Model. Received: NoneType"),
        (returns_probabilities_of_two, r"must return logits of shape .* \(None, 10\). Received: output shape"),
        (takes_waveforms, r"must take mel power of shape .* Received: input shape \(None, 44100\)"),
        (without_shapes, "must return a model with known shapes.*Received: Subclassed"),
        ("absent", "has no `absent`"),
    ],
)
def test_what_is_no_network_is_refused(found, message):
    with pytest.raises(ValueError, match=message) as caught:
        build_model(place(found))
    assert place(found).partition(":")[2] in str(caught.value)


def test_builders_may_be_any_callable(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "partly", functools.partial(bare, n_mels=64), raising=False)
    assert build_model(place("partly")).input_shape == (None, 128, 64)
    monkeypatch.setattr(sys.modules[__name__], "lacking", functools.partial(without_seed, n_classes=3), raising=False)
    with pytest.raises(ConfigError, match="without `seed`"):
        build_model(place("lacking"))
