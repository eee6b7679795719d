"""Optimisers from settings, and exclusion of parameters from weight decay."""

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

    Weight decay applies to kernels, not to compressions, biases, or gains and biases of normalisations.

    Args:
        model: The model to train, fully built.
        training: Uses `optimizer`, `learning_rate`, `clip_norm`, `schedule` and `warmup_share`.
        updates: Number of planned updates; with `schedule: cosine` the learning rate reaches 0 after them.

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
    """Excludes the compressions of a model from an optimiser's weight decay.

    Weight decay, as in `keras.optimizers.AdamW`, pulls weights to zero whatever the loss, which is a prior for kernels.
    For compressions, zero has no special meaning: it corresponds to an alpha of 1, a knee of 0.69, a power of 1. In
    Keras only optimisers, not layers, can exclude weights. Earlier exclusions are kept.

    Args:
        optimizer: An optimiser before training. Loss-scaling optimisers pass the exclusion to the one inside.
        model: A built model, with compressions anywhere: in nested models, wrappers, attributes of layers.

    Raises:
        ValueError: If a compression is not built, or the optimiser already is.

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
            f"`model` must be built: `{unbuilt[0]}` has no weights yet. Received: {model.name!r}. Start it "
            "with a `keras.Input` or call it once."
        )
    if optimizer.built:
        raise ValueError(
            "`optimizer` must not be built, since Keras then fixes the scope of its weight decay. Received: "
            f"{type(optimizer).__name__} after {int(optimizer.iterations)} steps. Create a new one, and call this "
            "before training."
        )
    # Keras forgets exclusions of earlier calls.
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
            "`updates` is required with `schedule: cosine`, which ends at 0 after them. Received: updates=None. "
            "Pass the number of batches times epochs."
        )
    warmup = round(training.warmup_share * updates)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else training.learning_rate,
        max(updates - warmup, 1),
        warmup_target=training.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
