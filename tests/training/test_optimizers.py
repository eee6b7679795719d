"""Optimisers by name, and weight decay that leaves compressions, biases and normalisations alone."""

import inspect
import logging

import keras
import numpy as np
import pytest

from loglearn_tf import LearnableLog, build_model
from loglearn_tf.errors import ConfigError
from loglearn_tf.layers.compression import COMPRESSIONS, build_compression
from loglearn_tf.study.settings import _OPTIMIZERS, OptimizerSettings, TrainingSettings, load_settings
from loglearn_tf.training.callbacks import CompressionTrajectory
from loglearn_tf.training.optimizers import _CLASSES, build_optimizer, exclude_compressions

TRAINING = TrainingSettings()


def training(**changes):
    return TRAINING.model_copy(update=changes)


def test_the_default_is_the_published_one():
    model = build_model("timbre")
    optimizer = build_optimizer(model, TRAINING)
    expected = keras.optimizers.SGD(0.1, global_clipnorm=5.0)
    assert type(optimizer) is keras.optimizers.SGD
    assert {**optimizer.get_config(), "name": ""} == {**expected.get_config(), "name": ""}


@pytest.mark.parametrize("name", _OPTIMIZERS)
def test_names_and_arguments_are_those_of_keras(name):
    parameters = inspect.signature(getattr(keras.optimizers, _CLASSES[name])).parameters
    assert {*_OPTIMIZERS[name], "weight_decay"} <= set(parameters)
    model = build_model("timbre", n_classes=2)
    args = {key: parameters[key].default for key in _OPTIMIZERS[name]}
    optimizer = build_optimizer(
        model, training(optimizer=OptimizerSettings(name=name, weight_decay=0.01, **args), learning_rate=0.125)
    )
    assert (optimizer.weight_decay, float(optimizer.learning_rate), optimizer.global_clipnorm) == (0.01, 0.125, 5.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adamx", "must name an optimiser of Keras. Received: 'adamx'. Did you mean adam"),
        ("{name: sgd, beta_1: 0.9}", "holds an argument that sgd does not take. Received: beta_1. Known: momentum, ne"),
        ("{name: adam, learning_rate: 0.9}", "Received: learning_rate. .*is `training.learning_rate`"),
        ("{name: adam, weight_decay: -1.0}", "`training.optimizer.weight_decay` must be a number of at least 0"),
        ("{name: adam, weight_decay: 1e-3}", "weight_decay` must be a number .* Write it with a point, as 1.0e-3"),
        ("{name: adam, beta_1: 1.0}", "`training.optimizer.beta_1` must be a number from 0 to below 1. Received: 1.0"),
        ("{name: adam, amsgrad: 1}", "`training.optimizer.amsgrad` must be true or false. Received: 1"),
        ("{name: adam, epsilon: 0.0}", "`training.optimizer.epsilon` must be a number above 0"),
        ("{name: 3}", "`training.optimizer.name` in the command line: input should be a valid string. Received: 3"),
        ("null", "`training.optimizer` in the command line"),
    ],
)
def test_wrong_ones_are_named(text, message):
    with pytest.raises(ConfigError, match=message):
        load_settings("us8k", ["models=vgg", f"training.optimizer={text}"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.schedule=linear", "'constant' or 'cosine'"),
        ("training.warmup_share=0.1", "is of `training.schedule=cosine`"),
        ("training.class_weights=even", "'none' or 'balanced'"),
    ],
)
def test_wrong_schedules_and_weights_are_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load_settings("us8k", ["models=vgg", override])


@pytest.mark.parametrize("override", ["optimizer=adam", "schedule=cosine", "class_weights=balanced"])
def test_what_is_not_for_episodes(override):
    key = override.partition("=")[0]
    with pytest.raises(ConfigError, match=f"`training.{key}` does not apply to prototypical"):
        load_settings("us8k", [f"training.{override}"])


def test_a_cosine_to_zero():
    model = build_model("timbre", n_classes=2)
    rate = build_optimizer(model, training(schedule="cosine"), updates=100)._learning_rate
    assert [float(rate(step)) for step in (0, 50, 100)] == pytest.approx([0.1, 0.05, 0.0], abs=1e-8)
    rate = build_optimizer(model, training(schedule="cosine", warmup_share=0.2), updates=100)._learning_rate
    assert [float(rate(step)) for step in (0, 10, 20, 60, 100)] == pytest.approx([0, 0.05, 0.1, 0.05, 0], abs=1e-8)
    with pytest.raises(ValueError, match="`updates` is required"):
        build_optimizer(model, training(schedule="cosine"))


def decayed(optimizer, model):
    """What moves where nothing but weight decay does: steps without gradients."""
    optimizer.build(model.trainable_variables)
    before = [np.array(variable) for variable in model.trainable_variables]
    zeros = [np.zeros(variable.shape, np.float32) for variable in model.trainable_variables]
    optimizer.apply(zeros, model.trainable_variables)
    moved = zip(model.trainable_variables, before, strict=True)
    return {variable.path for variable, value in moved if not np.array_equal(variable, value)}


@pytest.mark.parametrize("name", ["sb_cnn", "vgg"])
def test_kernels_alone_are_decayed(name):
    model = build_model(name, n_classes=2, compression=LearnableLog(per_band=True, name="loglearn"))
    optimizer = build_optimizer(model, training(optimizer=OptimizerSettings(name="adamw", weight_decay=0.1)))
    moved = decayed(optimizer, model)
    assert moved == {variable.path for variable in model.trainable_variables if variable.path.endswith("/kernel")}


def test_recurrent_biases_are_biases():
    model = keras.Sequential([keras.Input((4, 2)), keras.layers.GRU(3), keras.layers.LayerNormalization()])
    optimizer = build_optimizer(model, training(optimizer=OptimizerSettings(name="adamw", weight_decay=0.1)))
    assert {path.rpartition("/")[2] for path in decayed(optimizer, model)} == {"kernel", "recurrent_kernel"}


def learnable():
    return [name for name in COMPRESSIONS if build_compression(name).trainable and _weights(name)]


def _weights(name):
    layer = build_compression(name)
    layer.build((None, 4, 4))
    return layer.trainable_weights


@pytest.mark.parametrize("name", learnable())
def test_anybodys_optimiser_leaves_every_compression_alone(name):
    inner = keras.Sequential([keras.Input((4, 4)), build_compression(name)])
    model = keras.Sequential([keras.Input((4, 4)), inner, keras.layers.Dense(2, bias_initializer="ones")])
    for weight in inner.trainable_weights:  # some begin at zero, where decay does not show
        weight.assign(np.ones(weight.shape))
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    exclude_compressions(optimizer, model)
    assert {path.rpartition("/")[2] for path in decayed(optimizer, model)} == {"kernel"}
    assert len(decayed(keras.optimizers.AdamW(0.1, weight_decay=0.5), model)) > 2


def test_the_knee_stays_where_the_loss_does_not_depend_on_it():
    layer, mel = LearnableLog(), keras.Input((4, 4))
    model = keras.Model(mel, layer(mel) * 0)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW(1e-3, weight_decay=0.1))
    exclude_compressions(optimizer, model)
    model.compile(optimizer, "mse")
    before = float(layer.knee)
    model.fit(np.ones((8, 4, 4)), np.zeros((8, 4, 4)), batch_size=1, epochs=3, verbose=0, shuffle=False)
    assert float(layer.knee) == before


def test_too_early_and_too_late():
    unbuilt = keras.Sequential([LearnableLog(name="mine"), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`model` must be built: `mine` has no weights yet"):
        exclude_compressions(keras.optimizers.AdamW(), unbuilt)
    model = build_model("timbre", n_classes=2)
    optimizer = keras.optimizers.AdamW()
    optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match="`optimizer` must not be built"):
        exclude_compressions(optimizer, model)


def test_a_warning_names_compressions_that_have_no_knee(caplog):
    """PCEN is not watched, and decayed as the others are."""
    layers = [keras.Input((4, 4)), LearnableLog(), build_compression("pcen_learn"), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.1), "mse")
    with caplog.at_level(logging.WARNING, "loglearn_tf"):
        model.fit(
            np.ones((1, 4, 4)), np.zeros((1, 4, 1)), verbose=0, shuffle=False, callbacks=[CompressionTrajectory()]
        )
    assert "log_gain" in caplog.text and "alpha_pre_gate" in caplog.text and "exclude_compressions" in caplog.text
