"""Optimisers by settings, and weight decay that leaves alone what it must not pull to zero."""

from collections.abc import Iterator
from typing import Any

import keras

from loglearn_tf.layers import Compression
from loglearn_tf.study.settings import TrainingSettings
from loglearn_tf.training.callbacks import layers_inside

_CLASSES = {
    "sgd": "SGD",
    "rmsprop": "RMSprop",
    "adam": "Adam",
    "adamw": "AdamW",
    "nadam": "Nadam",
    "adamax": "Adamax",
    "adagrad": "Adagrad",
    "adadelta": "Adadelta",
    "lamb": "Lamb",
    "lion": "Lion",
}


def build_optimizer(model: keras.Model, training: TrainingSettings, *, updates: int | None = None) -> Any:
    """The optimiser of a training, with gradients clipped to a global norm.

    Weight decay is for kernels: what compressions learn, biases, and gains and biases of normalisations are left out.

    Args:
        model: What it will train; all its weights built.
        training: `optimizer`, `learning_rate`, `clip_norm`, `schedule` and `warmup_share` are read.
        updates: That are planned; with `schedule: cosine` the learning rate is 0 after so many.

    Raises:
        ValueError: If the schedule needs `updates`.
    """
    optimizer = getattr(keras.optimizers, _CLASSES[training.optimizer.name])(
        _learning_rate(training, updates), global_clipnorm=training.clip_norm, **training.optimizer.args
    )
    if optimizer.weight_decay:
        optimizer.exclude_from_weight_decay(var_list=list(_no_kernels(model)))
    return optimizer


def exclude_compressions(optimizer: Any, model: keras.Model) -> None:
    """Keeps the weight decay of an optimiser off what the compressions of a model learn.

    Weight decay, as of `keras.optimizers.AdamW`, pulls weights to zero whatever the loss, which is a prior for kernels.
    What compressions learn is zero at no special place: alpha at 1, a knee at 0.69, a power at 1. Keras gives layers no
    way to say so, only optimisers. What was excluded before stays excluded.

    Args:
        optimizer: Before training begins. One that scales the loss passes it on to the one inside.
        model: Built, with compressions wherever they are: in nested models, wrappers, attributes of layers.

    Raises:
        ValueError: If a compression is not built, or the optimiser is.

    Example:
        >>> from loglearn_tf import build_model
        >>> model = build_model("timbre", n_classes=2)
        >>> optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.1)
        >>> exclude_compressions(optimizer, model)
        >>> model.compile(optimizer, "sparse_categorical_crossentropy")
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    found = [layer for layer in layers_inside(model, {id(model)}) if isinstance(layer, Compression)]
    unbuilt = [layer.name for layer in found if not layer.built]
    if unbuilt:
        raise ValueError(
            f"`model` must be built: what `{unbuilt[0]}` learns is not there yet. Received: {model.name!r}. Begin it "
            "with a `keras.Input`, or call it once."
        )
    if optimizer.built:
        raise ValueError(
            "`optimizer` must not be built: Keras settles then what its weight decay is for. Received: "
            f"{type(optimizer).__name__} of {int(optimizer.iterations)} steps. Make a new one, and call this before "
            "training."
        )
    # Keras forgets what was excluded by another call.
    before = getattr(optimizer, "_exclude_from_weight_decay", None) or set()
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    weights = [weight for layer in found for weight in layer.weights]
    optimizer.exclude_from_weight_decay(var_list=weights, var_names=[pattern.pattern] if pattern else None)
    optimizer._exclude_from_weight_decay |= before


def _no_kernels(model: keras.Model) -> Iterator[Any]:
    for layer in (model, *layers_inside(model, {id(model)})):
        never = isinstance(layer, Compression) or type(layer).__name__.endswith("Normalization")
        for weight in layer.trainable_weights:
            if never or len(weight.shape) < 2 or "bias" in weight.name:
                yield weight


def _learning_rate(training: TrainingSettings, updates: int | None) -> Any:
    if training.schedule == "constant":
        return training.learning_rate
    if updates is None:
        raise ValueError(
            "`updates` must be given with `schedule: cosine`, which ends at 0 after so many. Received: updates=None. "
            "Count batches, times epochs."
        )
    warmup = round(training.warmup_share * updates)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else training.learning_rate,
        max(updates - warmup, 1),
        warmup_target=training.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
