"""Settled batch normalisation: moving averages without what remains of their initial values.

In training, batch normalisation uses the mean and variance of the batch; at test, moving averages of them that start at
0 and 1. After `t` updates, a fraction `r = momentum ** t` of the initial values remains: 13.5 % after 199, the number
of updates with few clips. A network is then tested with other statistics than in training, and the difference depends
on the scale of its compression, which has no effect in training. A network is *settled* when this remainder is removed
and nothing else is changed.
"""

import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from loglearn_tf.layers import Compression
from loglearn_tf.training.accelerated import accelerate
from loglearn_tf.training.accelerated.precision import Precision
from loglearn_tf.training.callbacks import layers_inside

# Number of batches whose statistics are averaged when recomputed: moving averages span a hundred or so, but with fixed
# weights a few are enough.
BATCHES = 8


@dataclass(frozen=True)
class InputNorm:
    """The effect of unsettled averages on the input at test: a settled network has residue 0, scale 1 and shift 0.

    An input normalised to mean 0 and variance 1 in training, before gain and bias, has mean `shift` and
    standard deviation `scale` at test. With several channels, these are medians.

    Attributes:
        residue: Share of the initial values left in the moving averages, `momentum ** updates`.
        scale: Standard deviation of the input at test.
        shift: Mean of the input at test.
    """

    residue: float
    scale: float
    shift: float


def settle(
    model: keras.Model,
    *,
    updates: int,
    patches: Iterable[Any] | None = None,
    precision: Precision = "float32",
) -> InputNorm | None:
    """Settles the batch normalisations of a trained network, in place.

    The first one, if no learned layer except a `Compression` precedes it, has a closed form: `(average - r * initial) /
    (1 - r)`. For all others the closed form would be correct about `r` but not about the weights, which were different
    while the averages were collected: they are recomputed as the mean over the batches of `patches` of the batch mean
    and variance, in training mode, which is what the moving averages would become if training continued with these
    weights (Wu and Johnson, arXiv:2105.07576, 2021, "PreciseBN"). So is the first one if there is no closed form:
    without updates, with a momentum of 1, or for a class derived from Keras'. A learned compression has also changed
    while the averages of the first one were collected, but it moves little in few updates.

    Frozen layers (`trainable=False`) are not changed, since training also used their averages. All other variables keep
    their values, including dropout seeds.

    Args:
        model: Functional or sequential, built.
        updates: Number of updates of the averages: one per training step, two if a step calls the network twice.
        patches: Batches as in training, `(batch, patch_frames, n_mels)` mel power, or other inputs of the model. Only
            used if averages must be recomputed.
        precision: Of training. Averages are recomputed in `"float32"` after training in it, and otherwise in
            `"float32_fast"`, which keeps no large maps.

    Returns:
        The effect of the first one on its input before; `None`, without any change, if the network has no trained batch
        normalisation.

    Raises:
        ValueError: If `updates` is negative, or averages must be recomputed and `patches` has no batch.

    Example:
        >>> from loglearn_tf import build_model
        >>> network = build_model("timbre", n_classes=2)  # and 199 steps of training
        >>> norm = network.get_layer("input_norm")
        >>> _ = norm.moving_variance.assign([2.0])
        >>> before = settle(network, updates=199)
        >>> round(before.residue, 3), round(float(norm.moving_variance[0]), 3)
        (0.135, 2.157)
    """
    if isinstance(updates, bool) or not isinstance(updates, numbers.Integral) or updates < 0:
        raise ValueError(
            f"`updates` must be the number of moving-average updates, at least 0. Received: updates={updates!r}."
        )
    norms, closed = _norms(model, updates)
    if not norms:
        return None
    published = _averages(norms[0])
    known = closed and _closed_form(norms[0], updates)
    anew = norms[1:] if closed else norms
    if anew:
        _compute_anew(model, anew, patches, "float32" if precision == "float32" else "float32_fast")
    if known:
        for variable, value in zip((norms[0].moving_mean, norms[0].moving_variance), known, strict=True):
            variable.assign(value)
    return _input_norm(norms[0], published, residue=norms[0].momentum ** updates)


def _norms(model: keras.Model, updates: int) -> tuple[list[keras.layers.BatchNormalization], bool]:
    """The trained batch normalisations, in order, and whether the first has a closed form."""
    found: list[keras.layers.BatchNormalization] = []
    closed, after_weights = False, False
    for layer in layers_inside(model, {id(model)}):
        if isinstance(layer, keras.layers.BatchNormalization):
            if layer.trainable:
                if not found:
                    plain = type(layer) is keras.layers.BatchNormalization and not layer.renorm
                    closed = plain and not after_weights and layer.momentum**updates < 1
                found.append(layer)
        elif not isinstance(layer, (keras.Model, Compression)):
            after_weights = after_weights or bool(layer.trainable_weights)
    return found, closed


def _averages(norm: keras.layers.BatchNormalization) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return np.array(norm.moving_mean, np.float64), np.array(norm.moving_variance, np.float64)


def _closed_form(norm: keras.layers.BatchNormalization, updates: int) -> tuple[Any, Any]:
    residue = norm.momentum**updates
    begun = (norm.moving_mean_initializer, norm.moving_variance_initializer)
    mean, variance = (
        (average - residue * np.array(start(average.shape), np.float64)) / (1 - residue)
        for average, start in zip(_averages(norm), begun, strict=True)
    )
    # Rounding of the averages may make a zero variance negative.
    return mean, np.maximum(variance, 0)


def _compute_anew(
    model: keras.Model,
    norms: list[keras.layers.BatchNormalization],
    patches: Iterable[Any] | None,
    precision: Precision,
) -> None:
    """Sets the averages to the mean over the batches; all other changes are undone."""
    own = {id(variable) for norm in norms for variable in norm.non_trainable_variables}
    before = [(variable, np.array(variable)) for variable in model.non_trainable_variables]
    momenta = [norm.momentum for norm in norms]
    # Its sums over a million values are more accurate than Keras'.
    twin = accelerate(model, precision=precision).network
    n_batches, complete = 0, False
    try:
        for batch in patches or ():
            for norm in norms:
                norm.momentum = n_batches / (n_batches + 1)  # turns the moving average into the mean of all batches
            twin(batch, training=True)
            n_batches += 1
        complete = n_batches > 0
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for variable, value in before:
            if not complete or id(variable) not in own:
                variable.assign(value)
    if not complete:
        raise ValueError(
            f"`patches` must contain training batches: the averages of {', '.join(norm.name for norm in norms)} have "
            "no closed form. Received: none. Pass some, for example from `training_patches`."
        )


def _input_norm(norm: keras.layers.BatchNormalization, published: tuple[Any, Any], *, residue: float) -> InputNorm:
    (mean, variance), (published_mean, published_variance) = _averages(norm), published
    return InputNorm(
        residue=residue,
        scale=float(np.median(np.sqrt((variance + norm.epsilon) / (published_variance + norm.epsilon)))),
        shift=float(np.median((mean - published_mean) / np.sqrt(published_variance + norm.epsilon))),
    )
