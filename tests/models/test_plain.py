"""The networks are made of Keras' own layers, and are honest about it."""

import copy
import pickle
import pydoc
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import python

from loglearn_tf import build_model

NETWORKS = ("sb_cnn", "vgg", "timbre", "prototypical")
KERAS = ("Conv2D", "BatchNormalization", "MaxPooling2D", "GlobalMaxPooling2D")


def build(name):
    return build_model(name, n_classes=3, seed=1, **({"n_filters": 4} if name in ("vgg", "prototypical") else {}))


def mel(batch=2):
    return (10 ** np.random.default_rng(0).uniform(-8, 2, (batch, 128, 128))).astype("float32")


def flat(model):
    """The layers of a network and of the models nested in it."""
    for layer in model.layers:
        yield from flat(layer) if isinstance(layer, keras.Model) else [layer]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_keras_own_but_for_compression_and_prototypes(name):
    model = build(name)
    others = [layer.name for layer in flat(model) if not type(layer).__module__.startswith("keras.")]
    assert others == (["loglearn", "prototypes"] if name == "prototypical" else ["loglearn"])
    for layer in flat(model):
        kind = type(layer)
        assert getattr(sys.modules[kind.__module__], kind.__qualname__) is kind
        if kind.__name__ in KERAS:
            assert kind is getattr(keras.layers, kind.__name__)
            assert pydoc.render_doc(kind, renderer=pydoc.plaintext).splitlines()[2].startswith(f"class {kind.__name__}")


@pytest.mark.parametrize("name", NETWORKS)
def test_files_name_keras_class(name):
    for layer in flat(build(name)):
        serialised = keras.saving.serialize_keras_object(layer)
        if type(layer).__name__ in KERAS:
            assert (serialised["module"], serialised["class_name"]) == ("keras.layers", type(layer).__name__)
            assert serialised["config"] == type(layer).from_config(serialised["config"]).get_config()


@pytest.mark.slow
def test_networks_load_and_compute_the_same_where_this_package_is_not(tmp_path):
    """All of a network but its compression, and its prototypes: those are this package's."""
    np.save(tmp_path / "x.npy", mel())
    for name in NETWORKS:
        small = {"n_filters": 4} if name in ("vgg", "prototypical") else {}
        model = build_model(name, n_classes=3, compression=keras.layers.Rescaling(0.1), **small)
        model = model.get_layer("encoder") if name == "prototypical" else model
        model(mel(), training=True)  # its statistics are no longer the first
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}.npy", model(mel()))
    program = """
import keras, numpy, sys
for name in sys.argv[1:]:
    model = keras.models.load_model(f"{name}.keras")
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
    numpy.testing.assert_allclose(
        model(numpy.load("x.npy")), numpy.load(f"{name}.npy"), rtol=1e-6, atol=1e-6, err_msg=name
    )
assert "loglearn_tf" not in sys.modules
"""
    python(program, *NETWORKS, cwd=tmp_path)


@pytest.mark.parametrize("copied", ["pickle", "deepcopy", "clone_model"])
@pytest.mark.parametrize("name", NETWORKS)
def test_copies_are_equal_and_apart(name, copied):
    model = build(name)
    copies = {
        "pickle": lambda: pickle.loads(pickle.dumps(model)),
        "deepcopy": lambda: copy.deepcopy(model),
        "clone_model": lambda: keras.models.clone_model(model),
    }
    other = copies[copied]()
    assert [type(layer) for layer in flat(other)] == [type(layer) for layer in flat(model)]
    assert not {id(v) for v in other.variables} & {id(v) for v in model.variables}
    if copied == "clone_model":  # which begins anew
        other.set_weights(model.get_weights())
    np.testing.assert_array_equal(other(mel(), training=False), model(mel(), training=False))


class TestGradientsOfIntermediateOutputs:
    """Saliency, probes and auxiliary losses work: a gradient reaches the output of every layer, and is the right one.

    The right one is that of a second network, which begins with that output and consists of the layers after it.
    """

    @staticmethod
    def encoder(name):
        model = build(name)
        return model.get_layer("encoder") if name == "prototypical" else model

    @pytest.mark.parametrize("name", NETWORKS)
    def test_inference(self, name):
        model = self.encoder(name)
        layers = model.layers[1:-1]
        both = keras.Model(model.input, [[layer.output for layer in layers], model.output])
        x = tf.constant(mel())
        with tf.GradientTape() as tape:
            tape.watch(x)
            between, y = both(x, training=False)
            logit = tf.reduce_sum(y[:, 1])
        found = tape.gradient(logit, between)
        for layer, value, gradient in zip(layers, between, found, strict=True):
            assert gradient is not None, layer.name
            rest = keras.Model(layer.output, model.output)
            with tf.GradientTape() as tape:
                tape.watch(value)
                logit = tf.reduce_sum(rest(value, training=False)[:, 1])
            expected = tape.gradient(logit, value)
            assert np.any(expected), layer.name
            np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())

    @pytest.mark.parametrize("name", NETWORKS)
    def test_training(self, name):
        """Against the network that Keras makes of the saved form: equal masks, since the seeds are saved."""
        model = self.encoder(name)
        stock = keras.Model.from_config(model.get_config())
        stock.set_weights(model.get_weights())
        found = []
        for network in (model, stock):
            layers = network.layers[1:-1]
            both = keras.Model(network.input, [[layer.output for layer in layers], network.output])
            x = tf.constant(mel())
            with tf.GradientTape() as tape:
                tape.watch(x)
                between, y = both(x, training=True)
                logit = tf.reduce_sum(y[:, 1])
            found.append(tape.gradient(logit, between))
        for layer, one, other in zip(layers, *found, strict=True):
            assert one is not None and np.any(one), layer.name
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(other).max())


XLA = """
import sys
import keras, numpy
from loglearn_tf import build_model
from loglearn_tf.training.accelerated import accelerate

rng = numpy.random.default_rng(0)
mel, labels = (10 ** rng.uniform(-8, 2, (4, 128, 128))).astype("float32"), numpy.array([0, 1, 2, 1])


def step(network, weights_of, jit_compile):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.SGD(0.01), loss, jit_compile=jit_compile)
    before = weights_of.get_weights()
    network.fit(mel, labels, batch_size=4, verbose=0)
    after = weights_of.get_weights()
    assert any((a != b).any() for a, b in zip(before, after))
    assert all(numpy.isfinite(a).all() for a in after)
    return network.jit_compile


for name in sys.argv[1:]:
    small = {"n_filters": 4} if name in ("vgg", "prototypical") else {}
    model = build_model(name, n_classes=3, seed=1, **small)
    assert step(model, model, True) is True  # in earnest
    step(model, model, "auto")
    twin = accelerate(build_model(name, n_classes=3, seed=1, **small))
    step(twin.network, twin.network, "auto")
    if name == "sb_cnn":  # all kernels of its twin have an XLA form
        assert step(twin.network, twin.network, True) is True
    else:
        assert not all(layer.supports_jit for layer in twin.network._flatten_layers())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "networks", [["sb_cnn"], pytest.param(["vgg", "timbre", "prototypical"], marks=pytest.mark.long)]
)
def test_xla_trains_every_network(networks):
    """In a process of its own: where operations are deterministic, as in this one, Keras does without XLA."""
    python(XLA, *networks)
