"""Batch normalisation that has settled: the moving averages without what is left of where they began.

In training, batch normalisation uses the mean and variance of the batch; at test, moving averages of them that begin at
0 and 1. After `t` updates `r = momentum ** t` of that beginning is left: 13.5 % after 199, which is all that few clips
get. A network is then tested on other numbers than it was trained on, and by how much depends on the scale of its
compression, which training does not see. A network is *settled* when that is taken away, and nothing else changed.
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
from loglearn_tf.training.callbacks import layers_inside

# Batches whose statistics are averaged where they are computed anew: moving averages forget after a hundred or so, but
# with weights that no longer change a few tell as much.
BATCHES = 8


@dataclass(frozen=True)
class InputNorm:
    """What the published weights do to the input at test: a settled network has residue 0, scale 1 and shift 0.

    What had mean 0 and variance 1 after the normalisation in training, before its gain and bias, has mean `shift` and
    standard deviation `scale` at test. Medians, where there are several channels.

    Attributes:
        residue: The share that is left of the beginning of the moving averages, `momentum ** updates`.
        scale: Of the input at test.
        shift: Of the input at test.
    """

    residue: float
    scale: float
    shift: float


def settle(model: keras.Model, *, updates: int, patches: Iterable[Any] | None = None) -> InputNorm | None:
    """Settles the batch normalisations of a trained network, in place.

    The first one, where nothing that learns but a `Compression` comes before it, has a closed form: `(average - r *
    initial) / (1 - r)`. For all others the closed form would be right about `r`, yet wrong about the weights, which
    were others when the averages were taken: they are computed anew, as the mean over the batches of `patches` of the
    batch's mean and variance, in training mode, as moving averages would become if training went on with these weights
    (Wu and Johnson, arXiv:2105.07576, 2021, "PreciseBN"). So is the first one where the closed form says nothing:
    without an update, with a momentum of 1, or of a class derived from Keras'. A learned compression was another one
    when the averages of the first were taken, too; in few updates it moves little.

    Frozen layers (`trainable=False`) are left alone: training used their averages as well. All other variables keep
    their values, seeds of dropout among them.

    Args:
        model: Functional or sequential, built.
        updates: How often the averages were updated: once a training step, twice where a step calls the network twice.
        patches: Batches as in training, `(batch, patch_frames, n_mels)` mel power, or what else the model takes. Only
            looked at where averages are computed anew.

    Returns:
        What the first one did to its input before; `None` where the network has no batch normalisation that training
        moves, and nothing was changed.

    Raises:
        ValueError: If `updates` is negative, or averages must be computed anew and `patches` gives no batch.

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
            f"`updates` must be the number of updates of the moving averages, 0 or more. Received: updates={updates!r}."
        )
    norms, closed = _norms(model, updates)
    if not norms:
        return None
    published = _averages(norms[0])
    known = closed and _closed_form(norms[0], updates)
    anew = norms[1:] if closed else norms
    if anew:
        _compute_anew(model, anew, patches)
    if known:
        for variable, value in zip((norms[0].moving_mean, norms[0].moving_variance), known, strict=True):
            variable.assign(value)
    return _input_norm(norms[0], published, residue=norms[0].momentum ** updates)


def _norms(model: keras.Model, updates: int) -> tuple[list[keras.layers.BatchNormalization], bool]:
    """The batch normalisations that training moves, in order, and whether the first has a closed form."""
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
    # Rounding of the averages may leave a variance of zero below it.
    return mean, np.maximum(variance, 0)


def _compute_anew(
    model: keras.Model, norms: list[keras.layers.BatchNormalization], patches: Iterable[Any] | None
) -> None:
    """Sets the averages to the mean over the batches; of what the passes change, nothing else stays."""
    own = {id(variable) for norm in norms for variable in norm.non_trainable_variables}
    before = [(variable, np.array(variable)) for variable in model.non_trainable_variables]
    momenta = [norm.momentum for norm in norms]
    # Its sums over a million values are more exact than Keras'.
    twin = accelerate(model).network
    n_batches, complete = 0, False
    try:
        for batch in patches or ():
            for norm in norms:
                norm.momentum = n_batches / (n_batches + 1)  # makes a moving average the mean of all there were
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
            f"`patches` must give training batches: the averages of {', '.join(norm.name for norm in norms)} have no "
            "closed form. Received: none. Give some, as `training_patches` makes them."
        )


def _input_norm(norm: keras.layers.BatchNormalization, published: tuple[Any, Any], *, residue: float) -> InputNorm:
    (mean, variance), (published_mean, published_variance) = _averages(norm), published
    return InputNorm(
        residue=residue,
        scale=float(np.median(np.sqrt((variance + norm.epsilon) / (published_variance + norm.epsilon)))),
        shift=float(np.median((mean - published_mean) / np.sqrt(published_variance + norm.epsilon))),
    )
