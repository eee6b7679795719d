"""The deployable model: one file from waveform to probabilities."""

import keras
import numpy as np
import pytest

from loglearn_tf import LearnableLog, build_model, clip_classifier
from loglearn_tf.datasets.clips import Clip
from loglearn_tf.deploy.clip_classifier import fold_compressions
from loglearn_tf.deploy.predict import predict
from loglearn_tf.features.build import build_store
from loglearn_tf.training.evaluation import clip_probabilities

NAMES = ["air", "bell", "car"]


def noise(batch, samples):
    return np.random.default_rng(0).normal(0, 0.1, (batch, samples)).astype("float32")


@pytest.fixture(scope="module")
def classifier():
    return clip_classifier(build_model("timbre", n_classes=3, seed=2), class_names=NAMES, patch_hop=20)


def test_any_length_and_two_together_are_two_alone(classifier):
    assert (classifier.input_shape, classifier.output_shape) == ((None, None), (None, 3))
    for samples in (1, 4_000, 131_072, 200_000):
        waveforms = noise(2, samples)
        together = classifier.predict(waveforms, verbose=0)
        apart = np.concatenate([classifier.predict(waveforms[i : i + 1], verbose=0) for i in range(2)])
        np.testing.assert_allclose(together, apart, rtol=1e-5)
        np.testing.assert_allclose(together.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("name", ["sb_cnn", "prototypical"])
def test_gives_what_the_evaluation_gives(name, us8k, us8k_store):
    network = build_model(name, n_classes=10, seed=1, **({"n_filters": 4} if name == "prototypical" else {}))
    if name == "prototypical":
        network.get_layer("prototypes").prototypes.assign(np.random.default_rng(0).normal(size=(10, 10)))
    mean = "geometric" if name == "prototypical" else "arithmetic"
    clips = us8k.test_clips(1)[:6]
    expected = clip_probabilities(network, us8k_store, clips, hop=15, mean=mean)
    model = clip_classifier(network, class_names=us8k.classes, patch_hop=15, mean=mean)
    found = [prediction.probabilities for prediction in predict(model, [clip.path for clip in clips])]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_real_recordings_of_every_kind(shared, tmp_path):
    """24-bit EXTENSIBLE at 48 kHz, 11.025 kHz mono, 0.3 s: what the store and the evaluation make of them."""
    paths = [*sorted((shared / "data" / "raw-formats").glob("*.wav"))]
    paths += sorted((shared / "data" / "UrbanSound8K-subset" / "audio" / "fold1").glob("*.wav"))[:5]
    clips = [Clip(f"{at}", path, 0, 1) for at, path in enumerate(paths)]
    store = build_store(clips, name="real", front_end={"sample_rate": 44_100}, store_dir=tmp_path)
    for compression in ("loglearn", "logeps"):
        network = build_model("timbre", n_classes=3, compression=compression, seed=1)
        expected = clip_probabilities(network, store, clips, hop=1)
        found = [one.probabilities for one in predict(clip_classifier(network, class_names=NAMES), paths)]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_features_that_were_compressed_before_the_network(us8k, tmp_path):
    front_end = {"sample_rate": 16_000, "n_fft": 512, "hop_length": 512}
    clips = us8k.test_clips(1)[:3]
    store = build_store(clips, name="few", front_end=front_end, store_dir=tmp_path, compression="logeps")
    network = build_model("timbre", n_classes=10, compression="none", seed=1)
    model = clip_classifier(network, class_names=us8k.classes, front_end=front_end, features_compression="logeps")
    found = [prediction.probabilities for prediction in predict(model, [clip.path for clip in clips])]
    np.testing.assert_allclose(found, clip_probabilities(network, store, clips, hop=1), atol=1e-5)


def test_front_end_and_bands_must_match():
    network = build_model("sb_cnn", n_classes=3)
    with pytest.raises(ValueError, match=r"must have the shape \(batch, frames, 128\)"):
        clip_classifier(network, class_names=NAMES, front_end={"n_mels": 64})


def test_folded_is_the_same_without_gates(classifier):
    network = classifier.layers[-1].network
    network.get_layer("loglearn").set_weights([np.float32(6.0), np.float32(0.3)])
    folded = fold_compressions(classifier)
    waveforms = noise(2, 150_000)
    np.testing.assert_allclose(
        folded.predict(waveforms, verbose=0), classifier.predict(waveforms, verbose=0), atol=1e-6
    )
    assert folded.count_params() == classifier.count_params() - 2
    assert float(folded.layers[-1].network.get_layer("loglearn").alpha) == pytest.approx(np.exp(6.0), rel=1e-6)


def test_an_adapted_normalisation_keeps_its_statistics():
    normalisation = keras.layers.Normalization()
    normalisation.adapt(np.random.default_rng(0).normal(5, 2, (50, 5, 4)))
    model = keras.Sequential([keras.Input((5, 4)), LearnableLog(), normalisation, keras.layers.Dense(2)])
    x = np.random.default_rng(1).exponential(size=(3, 5, 4)).astype("float32")
    np.testing.assert_allclose(fold_compressions(model)(x), model(x), rtol=1e-5, atol=1e-6)


def test_a_sequential_and_a_nested_model_fold_too():
    inner = keras.Sequential([keras.Input((5, 4)), LearnableLog(per_band=True), keras.layers.Dense(2)])
    mel = keras.Input((5, 4))
    model = keras.Model(mel, keras.layers.Add()([inner(mel), keras.layers.Dense(2)(LearnableLog()(mel))]))
    x = np.random.default_rng(0).exponential(size=(3, 5, 4)).astype("float32")
    folded = fold_compressions(model)
    np.testing.assert_allclose(folded(x), model(x), rtol=1e-5, atol=1e-5)
    assert model.count_params() - folded.count_params() == 10


def test_the_hop_may_have_its_earlier_name():
    network = build_model("timbre", n_classes=3)
    earlier = clip_classifier(network, class_names=NAMES, hop=20)
    assert earlier.get_layer("clip").patch_hop == 20
    with pytest.raises(ValueError, match="pass only one of them. Received: patch_hop=10, hop=20"):
        clip_classifier(network, class_names=NAMES, patch_hop=10, hop=20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "model.keras"}, "`network` must be .*Received: network='model.keras'. Load it with `keras.models"),
        ({"network": LearnableLog(name="log")}, "`network` must be a Keras model. Received: network=<LearnableLog"),
        ({"front_end": "mel"}, "`front_end` must be a mapping .*Received: front_end='mel'."),
        ({"class_names": "abc"}, "`class_names` must be a list of names. Received: class_names='abc'."),
    ],
)
def test_arguments_of_another_kind_are_named(arguments, message):
    usual = {"network": build_model("timbre", n_classes=3), "class_names": NAMES}
    with pytest.raises(ValueError, match=message):
        clip_classifier(**{**usual, **arguments})


def test_a_network_with_a_softmax_of_its_own_is_refused():
    """Two softmaxes would make every class about as probable as any other."""

    def network(activation):
        layers = keras.layers
        return keras.Sequential(
            [keras.Input((128, 128)), LearnableLog(), layers.GlobalAveragePooling1D(), layers.Dense(3, activation)]
        )

    with pytest.raises(
        ValueError, match="`network` must return logits. Received: .* sum to 1 as probabilities do. Remove"
    ):
        clip_classifier(network("softmax"), class_names=["a", "b", "c"])
    # Outputs between 0 and 1 that do not sum to 1 may be logits.
    assert clip_classifier(network("sigmoid"), class_names=["a", "b", "c"]).output_shape == (None, 3)
