"""Trajectories in a user's own `model.fit`: any number of compressions, with and without TensorBoard."""

import keras
import numpy as np
import pytest
from conftest import read_scalars

from loglearn_tf import LearnableLog, LogEps
from loglearn_tf.layers import LearnableKnee, Log1p
from loglearn_tf.training.callbacks import (
    CompressionTrajectory,
    NonFiniteError,
    StopOnNonFinite,
    compression_values,
    curve_image,
)

POWER = np.random.default_rng(0).lognormal(-6, 2, (12, 8, 4)).astype("float32")
LABELS = np.arange(12) % 2


def fit(callback, *layers, epochs=2, **more):
    """A model of the user's own, with these compressions side by side."""
    keras.utils.set_random_seed(1)
    mel = keras.Input((8, 4))
    branches = [keras.layers.Flatten()(layer(mel)) for layer in layers]
    x = keras.layers.Concatenate()(branches) if len(branches) > 1 else branches[0]
    model = keras.Model(mel, keras.layers.Dense(2)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Callbacks are called alike, and to trace takes far longer than these steps.
    model.compile("sgd", loss, metrics=["accuracy"], run_eagerly=True)
    model.fit(POWER, LABELS, epochs=epochs, verbose=0, callbacks=[callback], **more)
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
    fit(trajectory, LearnableLog(name="low"), LearnableLog(name="high", per_band=True), validation_split=0.25)
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
    with pytest.raises(ValueError, match=r"has no layer with a knee.*Pass the layers to watch"):
        fit(CompressionTrajectory(), LogEps())


class TestSeveralCallsOfFit:
    """One callback, used again: with another model, or to go on with the same."""

    def epochs(self, trajectory):
        return [row["epoch"] for row in trajectory.rows]

    def test_a_second_model_is_recorded_not_the_first(self):
        trajectory = CompressionTrajectory()
        first = fit(trajectory, LearnableLog())
        second = fit(trajectory, LearnableLog(alpha_pre_gate=3.0))
        assert self.epochs(trajectory) == [0, 1, 2]
        assert trajectory.rows[0]["alpha"] == pytest.approx(np.exp(3.0), rel=1e-6)
        assert trajectory.rows[-1]["alpha"] == float(second.layers[1].alpha) != float(first.layers[1].alpha)

    def test_layers_that_were_named_stay(self):
        layer, other = LearnableLog(), LearnableLog(alpha_pre_gate=3.0)
        trajectory = CompressionTrajectory({"": layer})
        fit(trajectory, layer)
        fit(trajectory, other)
        assert trajectory.rows[-1]["alpha"] == float(layer.alpha)

    def test_training_that_goes_on_is_as_training_at_once(self, tmp_path):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.util.tensor_util import make_ndarray

        at_once, in_parts = CompressionTrajectory(), CompressionTrajectory(log_dir=tmp_path)
        fit(at_once, LearnableLog(), epochs=5, validation_split=0.25)
        model = fit(in_parts, LearnableLog(), epochs=2, validation_split=0.25)
        model.fit(POWER, LABELS, initial_epoch=2, epochs=3, verbose=0, callbacks=[in_parts], validation_split=0.25)
        model.fit(POWER, LABELS, initial_epoch=3, epochs=5, verbose=0, callbacks=[in_parts], validation_split=0.25)
        assert self.epochs(in_parts) == self.epochs(at_once) == [0, 1, 2, 3, 4, 5]
        events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()  # of all files, as one
        for name in ("alpha", "beta", "knee"):
            path = [
                (event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors(f"compression/{name}")
            ]
            assert [step for step, _ in path] == [0, 1, 2, 3, 4, 5]
            assert [value for _, value in path] == pytest.approx([row[name] for row in in_parts.rows], rel=1e-6)
        assert [event.step for event in events.Tensors("training/loss")] == [1, 2, 3, 4, 5]
        assert [event.step for event in events.Tensors("compression/curve")] == [0, 2, 3, 5]

    def test_a_new_callback_begins_where_training_does(self):
        model = fit(CompressionTrajectory(), LearnableLog(), epochs=3)
        alpha, trajectory = float(model.layers[1].alpha), CompressionTrajectory()
        model.fit(POWER, LABELS, initial_epoch=3, epochs=4, verbose=0, callbacks=[trajectory])
        assert self.epochs(trajectory) == [3, 4]
        assert trajectory.rows[0]["alpha"] == alpha and trajectory.rows[0]["loss"] is None

    def test_going_back_to_an_earlier_epoch_replaces_what_followed(self):
        trajectory = CompressionTrajectory()
        model = fit(trajectory, LearnableLog(), epochs=4)
        kept = trajectory.rows[:3]
        model.fit(POWER, LABELS, initial_epoch=2, epochs=3, verbose=0, callbacks=[trajectory])
        assert self.epochs(trajectory) == [0, 1, 2, 3] and trajectory.rows[:3] == kept

    def test_no_epoch_at_all(self):
        """What the episodic training has where an epoch holds no update."""
        trajectory = CompressionTrajectory({"": LearnableLog()})
        trajectory.on_train_begin()
        trajectory.on_train_end()
        assert self.epochs(trajectory) == [0]
        model = fit(trajectory := CompressionTrajectory(), LearnableLog())
        model.fit(POWER, LABELS, initial_epoch=2, epochs=2, verbose=0, callbacks=[trajectory])
        assert self.epochs(trajectory) == [0, 1, 2]


@keras.saving.register_keras_serializable(package="tests")
class Holder(keras.layers.Layer):
    """A layer of a user's own that holds another in a dictionary of lists."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.parts = {"first": [inner]}

    def call(self, mel):
        return self.parts["first"][0](mel)


class Subclassed(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.compression = inner
        self.dense = keras.layers.Dense(2)

    def call(self, mel):
        return self.dense(keras.ops.reshape(self.compression(mel), (-1, 32)))


class TestWhereLayersAreFound:
    @pytest.mark.parametrize(
        "wrap",
        [
            keras.layers.TimeDistributed,
            Holder,
            lambda layer: Holder(keras.layers.TimeDistributed(layer)),
            lambda layer: keras.Sequential([keras.layers.TimeDistributed(layer)]),
        ],
        ids=["TimeDistributed", "own", "nested", "Sequential"],
    )
    def test_inside_other_layers(self, wrap):
        layer, trajectory = LearnableLog(), CompressionTrajectory()
        fit(trajectory, wrap(layer))
        assert list(trajectory.rows[0]) == ["epoch", "loss", "accuracy", "alpha", "beta", "knee"]
        assert trajectory.rows[-1]["alpha"] == float(layer.alpha) != trajectory.rows[0]["alpha"]

    def test_in_a_bidirectional_layer(self):
        """Which holds two copies of what it is given."""
        cell = keras.layers.RNN(CompressingCell(), return_sequences=True)
        trajectory = CompressionTrajectory()
        fit(trajectory, keras.layers.Bidirectional(cell), epochs=1)
        assert {"alpha_log", "alpha_log_1"} <= set(trajectory.rows[0])

    def test_in_a_subclassed_model(self):
        layer, trajectory = LearnableLog(), CompressionTrajectory()
        model = Subclassed(layer)
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
        model.fit(POWER, LABELS, epochs=1, verbose=0, callbacks=[trajectory])
        assert trajectory.rows[-1]["alpha"] == float(layer.alpha)

    def test_layers_of_one_name_are_kept_apart(self):
        trajectory, inner = CompressionTrajectory(), keras.Input((8, 4))
        first, second = (keras.Model(inner, LearnableLog(name="log")(inner)) for _ in range(2))
        fit(trajectory, first, second, epochs=1)
        assert {"alpha_log", "alpha_log_1"} <= set(trajectory.rows[0])


@keras.saving.register_keras_serializable(package="tests")
class CompressingCell(keras.layers.Layer):
    state_size = output_size = 4

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.compression = LearnableLog(name="log")

    def build(self, input_shape):
        self.compression.build(input_shape)

    def call(self, mel, states):
        compressed = self.compression(mel)
        return compressed, [compressed]


class TestPerBand:
    def layer(self, values):
        layer = LearnableLog(per_band=True)
        layer.build((None, 8, len(values)))
        layer.set_weights([np.float32(values), np.ones(len(values), "float32")])
        return layer

    def test_the_median_over_bands_not_moved_by_a_few(self):
        # Two bands without sound, whose alpha has run away.
        values = compression_values(self.layer([7.0, 7.5, 8.0, -20.0, 60.0]))
        assert values["alpha"] == pytest.approx(np.exp(7.5), rel=1e-6)
        assert values["knee"] == pytest.approx(1.3132617 / np.exp(7.5), rel=1e-6)
        assert values["beta"] == pytest.approx(1.3132617, rel=1e-6)

    def test_of_an_even_number_the_middle_of_the_two(self):
        assert compression_values(self.layer([0.0, np.log(3.0)]))["alpha"] == pytest.approx(2.0, rel=1e-6)

    @pytest.mark.parametrize("wrong", [np.inf, np.nan])
    def test_a_band_that_is_not_finite_does_not_hide_behind_the_others(self, wrong):
        layer = self.layer([7.0, 7.0, wrong, 7.0, 7.0])
        trajectory = CompressionTrajectory({"": layer})
        trajectory.on_train_begin()
        with pytest.raises(NonFiniteError, match=f"alpha is {wrong} at step 0"):
            StopOnNonFinite(trajectory).on_epoch_end(0)

    def test_one_value_is_itself(self):
        layer = LearnableLog()
        assert compression_values(layer)["alpha"] == float(layer.alpha)


class TestWeightDecay:
    """Of the optimiser: it moves the knee on a loss that does not depend on the layer."""

    @staticmethod
    def fit(optimizer, layer, *, exclude=None):
        keras.utils.set_random_seed(1)
        if exclude == "by name, before it is built":
            optimizer.exclude_from_weight_decay(var_names=["pre_gate"])
        mel = keras.Input((8, 4))
        model = keras.Model(mel, layer(mel) * 0)
        if exclude == "by weight, once it is built":
            optimizer.exclude_from_weight_decay(var_list=layer.trainable_weights)
        model.compile(optimizer, "mse", run_eagerly=True)
        before = float(layer.knee)
        model.fit(POWER, POWER * 0, epochs=2, batch_size=1, verbose=0, callbacks=[CompressionTrajectory()])
        return float(layer.knee) / before

    @pytest.mark.parametrize("kind", [LearnableLog, LearnableKnee, Log1p])
    def test_is_told(self, kind, caplog):
        layer = kind()
        moved = self.fit(keras.optimizers.AdamW(0.01, weight_decay=0.1), layer)
        assert abs(np.log(moved)) > 0.05
        assert "AdamW, 0.1) pulls" in caplog.text and layer.trainable_weights[0].path in caplog.text
        assert "exclude_from_weight_decay(var_list=layer.trainable_weights)" in caplog.text

    @pytest.mark.parametrize("exclude", ["by name, before it is built", "by weight, once it is built"])
    def test_the_line_in_the_docstring_leaves_the_layer_alone(self, exclude, caplog):
        assert self.fit(keras.optimizers.AdamW(0.01, weight_decay=0.1), LearnableLog(), exclude=exclude) == 1
        assert "weight decay" not in caplog.text
        assert 'exclude_from_weight_decay(var_names=["pre_gate"])' in LearnableLog.__doc__
        assert "var_list=layer.trainable_weights" in LearnableLog.__doc__

    def test_is_told_of_other_optimisers(self, caplog):
        self.fit(keras.optimizers.SGD(0.01, weight_decay=0.2), LearnableLog())
        assert "SGD, 0.2) pulls" in caplog.text
        self.fit(keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW(0.01)), LearnableLog())
        assert "AdamW, 0.004) pulls" in caplog.text

    @pytest.mark.parametrize("layer", [LearnableLog(trainable=False), LogEps()])
    def test_is_not_told_where_nothing_is_learned_or_decayed(self, layer, caplog):
        mel = keras.Input((8, 4))
        model = keras.Model(mel, keras.layers.Dense(1)(layer(mel)))
        model.compile(keras.optimizers.AdamW(0.01), "mse", run_eagerly=True)
        model.fit(POWER, POWER[..., :1], verbose=0, callbacks=[CompressionTrajectory({"": layer})], shuffle=False)
        learned = LearnableLog()
        self.fit(keras.optimizers.Adam(0.01), learned)
        assert "weight decay" not in caplog.text
