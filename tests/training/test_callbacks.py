"""Trajectories in a user's own `model.fit`: any number of compressions, with and without TensorBoard."""

import keras
import numpy as np
import pytest
from conftest import read_scalars

from loglearn_tf import LearnableLog, LogEps
from loglearn_tf.training.callbacks import CompressionTrajectory, curve_image


def fit(callback, *layers, epochs=2):
    """A model of the user's own, with these compressions side by side."""
    keras.utils.set_random_seed(1)
    mel = keras.Input((8, 4))
    branches = [keras.layers.Flatten()(layer(mel)) for layer in layers]
    x = keras.layers.Concatenate()(branches) if len(branches) > 1 else branches[0]
    model = keras.Model(mel, keras.layers.Dense(2)(x))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    power = np.random.default_rng(0).lognormal(-6, 2, (12, 8, 4)).astype("float32")
    model.fit(power, np.arange(12) % 2, epochs=epochs, verbose=0, callbacks=[callback], validation_split=0.25)
    return model


def test_the_layer_is_found_and_its_path_recorded():
    trajectory = CompressionTrajectory()
    model = fit(trajectory, LearnableLog())
    assert [row["epoch"] for row in trajectory.rows] == [0, 1, 2]
    assert list(trajectory.rows[0]) == ["epoch", "loss", "accuracy", "alpha", "beta", "knee"]
    assert trajectory.rows[0]["alpha"] == pytest.approx(1096.633, abs=1e-3) and trajectory.rows[0]["loss"] is None
    assert trajectory.rows[-1]["alpha"] == float(model.layers[1].alpha) != trajectory.rows[0]["alpha"]


def test_several_layers_go_by_their_names(tmp_path):
    trajectory = CompressionTrajectory(log_dir=tmp_path)
    fit(trajectory, LearnableLog(name="low"), LearnableLog(name="high", per_band=True))
    assert {"alpha_low", "knee_low", "alpha_high", "knee_high"} <= set(trajectory.rows[0])
    scalars = read_scalars(tmp_path)
    assert {"compression_low/alpha", "compression_high/knee", "training/loss", "training/val_accuracy"} <= set(scalars)
    for suffix in ("low", "high"):
        assert [value for _, value in scalars[f"compression_{suffix}/knee"]] == pytest.approx(
            [row[f"knee_{suffix}"] for row in trajectory.rows], rel=1e-6
        )


def test_nested_models_are_searched_and_a_shared_layer_counts_once():
    shared = LearnableLog()
    mel = keras.Input((8, 4))
    inner = keras.Model(mel, shared(mel))
    trajectory = CompressionTrajectory()
    fit(trajectory, inner, shared, epochs=1)
    assert list(trajectory.rows[0]) == ["epoch", "loss", "accuracy", "alpha", "beta", "knee"]


def test_curves_and_histograms_before_and_after(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(CompressionTrajectory(log_dir=tmp_path, sample=np.ones((2, 8, 4), "float32")), LearnableLog())
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()
    for tag in ("compression/curve", "compression/log_mel"):
        assert [event.step for event in events.Tensors(tag)] == [0, 2]


@pytest.mark.parametrize("layer", [LogEps(), LearnableLog(per_band=True)])
def test_a_curve_is_a_picture(layer):
    layer(np.ones((1, 2, 4), "float32"))
    (image,) = curve_image(layer)
    assert image.dtype == np.uint8 and image.shape == (350, 500, 3)
    assert (image != 255).any(axis=2).mean() > 0.01


def test_a_model_without_a_knee_is_refused():
    with pytest.raises(ValueError, match=r"has no layer with a knee.*Name the layers to watch"):
        fit(CompressionTrajectory(), LogEps())
