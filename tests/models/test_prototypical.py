"""The prototypical classifier: distances, prototypes and parameters, against NumPy and the published counts."""

import keras
import numpy as np
import pytest

from loglearn_tf import LearnableLog, build_model
from loglearn_tf.layers import Prototypes


def n_trainable(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({"n_classes": 10, "compression": "logeps"}, 613_642),  # docs/fidelity.md, "Networks"
        ({"n_classes": 15, "compression": "logeps"}, 613_642),  # an embedding of 10 for both data sets
        ({"n_classes": 10, "compression": "loglearn"}, 613_644),
        # Input batch normalisation over the channel: 2 parameters instead of 256.
        ({"n_classes": 10, "compression": "logeps", "protocol": "clean"}, 613_388),
    ],
)
def test_parameter_counts(arguments, count):
    model = build_model("prototypical", **arguments)
    assert n_trainable(model) == count
    assert model.output_shape == (None, arguments["n_classes"])


def test_encoder_is_the_vgg_of_the_supervised_experiment():
    encoder = build_model("prototypical", compression="logeps").get_layer("encoder")
    vgg = build_model("vgg", compression="logeps", n_filters=128)
    ours = [layer for layer in encoder.layers if layer.weights][1:-1]
    theirs = [layer for layer in vgg.layers if layer.weights][1:-1]
    assert [layer.name for layer in ours] == [layer.name for layer in theirs]
    assert [[w.shape for w in layer.weights] for layer in ours] == [
        [w.shape for w in layer.weights] for layer in theirs
    ]
    assert encoder.get_layer("embedding").units == 10


@pytest.mark.parametrize("distance", ["mean_squared", "squared_euclidean"])
def test_logits_are_minus_the_distance(distance):
    rng = np.random.default_rng(0)
    embedding, prototypes = rng.normal(size=(6, 4)), rng.normal(size=(3, 4))
    layer = Prototypes(n_classes=3, distance=distance)
    layer.build((None, 4))
    layer.prototypes.assign(prototypes)
    expected = np.empty((6, 3))
    for i, e in enumerate(embedding):
        for j, p in enumerate(prototypes):
            squares = [(e[k] - p[k]) ** 2 for k in range(4)]
            expected[i, j] = -(sum(squares) / 4 if distance == "mean_squared" else sum(squares))
    np.testing.assert_allclose(layer(embedding.astype("float32")), expected, rtol=1e-5)
    assert layer.trainable_weights == []


def test_protocol_chooses_distance_and_input_norm():
    published = build_model("prototypical", n_filters=4)
    clean = build_model("prototypical", n_filters=4, protocol="clean")
    assert published.get_layer("prototypes").distance == "mean_squared"
    assert clean.get_layer("prototypes").distance == "squared_euclidean"
    assert published.get_layer("encoder").get_layer("input_norm").gamma.shape == (128,)  # time
    assert clean.get_layer("encoder").get_layer("input_norm").gamma.shape == (1,)


def test_a_saved_classifier_keeps_its_prototypes(tmp_path):
    model = build_model("prototypical", n_filters=4, seed=1)
    model.get_layer("prototypes").prototypes.assign(np.random.default_rng(0).normal(size=(10, 10)))
    model.save(tmp_path / "model.keras")
    mel = np.random.default_rng(1).lognormal(-5, 3, (2, 128, 128)).astype("float32")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(reloaded(mel), model(mel), rtol=1e-6)
    assert isinstance(reloaded.layers[1], LearnableLog)


def test_compressions_share_initial_weights():
    pair = [build_model("prototypical", n_filters=4, compression=c, seed=5) for c in ("loglearn", "logeps")]
    weights = [model.get_layer("encoder").get_weights() for model in pair]
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"protocol": "pons"}, "^`protocol` must be .* Received: protocol='pons'"),
        ({"compression": "ln"}, "^`compression` must name a compression.* Received: 'ln'"),
    ],
)
def test_names_what_is_wrong(wrong, told):
    with pytest.raises(ValueError, match=told):
        build_model("prototypical", **wrong)
    with pytest.raises(ValueError, match="Received: distance='cosine'"):
        Prototypes(n_classes=2, distance="cosine")
