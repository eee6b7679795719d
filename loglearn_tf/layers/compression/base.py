"""What compressions share: their base class, and the functions that those with trained numbers are made of."""

import logging
import math
import numbers
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from loglearn_tf.layers.compression.power_counts import PowerCounts
from loglearn_tf.layers.keras_2 import refuse_keras_2

_log = logging.getLogger(__name__)


class Compression(keras.layers.Layer):  # type: ignore[misc]
    """Base of all compressions: mel power in, a tensor of the same shape out.

    A subclass implements `compress` and registers itself with Keras; a line in the list `COMPRESSIONS`, or the form
    `module:Class` in its place, lets it be chosen by name.

    Computes in float32, input and output included, whatever the dtype policy. Mel power spans many orders of
    magnitude: float16 holds nothing above 65,504 and flushes everything below 6e-8 to zero, so the input is not
    autocast. Under a mixed policy the next layer casts the output. Learned numbers are float32 under the default policy
    and mixed ones; pure float64, float16 and bfloat16 are asked for by a policy of that name, and give these numbers
    that type, as all other weights, so that an optimiser can clip the gradients of all to one norm.

    What compressions learn is zero at no special place, and weight decay of an optimiser, as of
    `keras.optimizers.AdamW`, pulls it there whatever the loss. Layers cannot say so to Keras' optimisers:
    `loglearn_tf.training.optimizers.exclude_compressions(optimizer, model)` does, before training begins.

    Args:
        check_input: For debugging: names the first value that is negative or not finite. Costs a pass over the input.
            Works eagerly on every backend, and in compiled functions on TensorFlow, except under XLA.
        **kwargs: `name`, `dtype`, `trainable`, for the base layer.

    Attributes:
        pointwise: Class attribute: whether every value of the output depends on the value at its place alone, with
            the same map for all frames. Clips are then scored without cutting patches. Not inherited: each class says
            so of itself.
        relative: Class attribute: whether the input is mel power divided by the level of the clip, its mean over frames
            and bands, instead of mel power. Training, evaluation and `clip_classifier` divide then; see `ClipLevel`.
        axis: Axis of the mel bands; the last one unless a subclass takes it as an argument.
        n_bands: Number of mel bands, where each has values of its own, known from `build` on; otherwise `None`.

    Raises:
        ValueError: With `check_input`, for a bad value, where eager.
    """

    pointwise = False
    relative = False

    def __init__(self, *, check_input: bool = False, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.check_input = bool(check_input)
        self.supports_masking = True
        self.axis = -1
        self.n_bands: int | None = None
        self._warned = False

    def __call__(self, mel: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_keras_2(self, mel)
        return super().__call__(mel, *args, **kwargs)

    def call(self, mel: Any) -> Any:
        if keras.backend.standardize_dtype(mel.dtype) == "float16":
            self._warn_of_float16_input()
        mel = ops.cast(mel, "float32")
        return self.compress(_checked(mel, self.name) if self.check_input else mel)

    def compress(self, mel: Any) -> Any:
        """Float32 mel power to compressed mel power."""
        raise NotImplementedError

    def _warn_of_float16_input(self) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "Layer `%s` receives mel power as float16, in which more than 65,504 is infinite, less than 6e-8 is 0. "
                "Give it float32: `keras.Input(shape, dtype='float32')`; `fit` and `predict` cast NumPy arrays to "
                "`keras.config.floatx()`, here %s.",
                self.name,
                keras.config.floatx(),
            )

    def curve(self, power: Any) -> npt.NDArray[np.float32]:
        """The output for steady sounds of these powers, equal in all bands and at all times; the median over bands.

        Args:
            power: `(n,)` mel power.

        Returns:
            `(n,)`.
        """
        shape = [1] * max(3, self.axis + 1, 2 - self.axis)
        shape[0], shape[self.axis] = len(power), self.n_bands or 1
        steady = np.reshape(np.asarray(power, np.float32), (-1, *[1] * (len(shape) - 1)))
        compressed = ops.convert_to_numpy(self(np.broadcast_to(steady, shape)))
        return np.asarray(np.median(compressed.reshape(len(power), -1), axis=1), np.float32)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def compute_output_spec(self, mel: Any) -> keras.KerasTensor:
        return keras.KerasTensor(mel.shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "check_input": self.check_input}


# ---- Trained numbers: one for all bands, or one for every band ----------------------------------------------------


def add_number(
    layer: Any,
    name: str,
    initial: float,
    input_shape: tuple[int | None, ...],
    *,
    regularizer: keras.regularizers.Regularizer | None = None,
    constraint: keras.constraints.Constraint | None = None,
) -> Any:
    """Adds a weight of shape `()`, or `(n_bands,)` where the layer's `per_band` is set, of the policy's own type.

    Raises:
        ValueError: With `per_band`, if `axis` is no axis of the input, or has no fixed size.
    """
    if layer.per_band:
        layer.n_bands = _count_bands(input_shape, layer.axis)
    # What other layers' weights are: Keras adds up the squares of all gradients where it clips to a global norm, and
    # cannot where their types differ. Mixed policies keep weights in float32.
    dtype = layer.variable_dtype
    if layer.trainable and dtype in ("float16", "bfloat16") and not layer.weights:
        _log.warning(
            "Layer `%s` keeps what it learns in %s, as its dtype policy asks: steps of less than a %s of a number are "
            "lost, and so it may learn nothing. Use the policy mixed_%s, which keeps weights in float32.",
            layer.name,
            dtype,
            "thousandth" if dtype == "float16" else "hundredth",
            dtype,
        )
    return layer.add_weight(
        name=name,
        shape=(layer.n_bands,) if layer.per_band else (),
        initializer=keras.initializers.Constant(initial),
        regularizer=regularizer,
        constraint=constraint,
        dtype=dtype,
        autocast=False,  # stays float32 under mixed precision
    )


def scaled_gradient(number: Any, factor: float) -> Any:
    """A weight, or before `build` the number it will start from, whose gradient is multiplied by `factor`."""
    value = ops.convert_to_tensor(number, dtype="float32")
    if factor == 1:
        return value
    fixed = ops.stop_gradient(value)
    # The difference is exactly zero: the value stays, its gradient is scaled.
    return fixed + factor * (value - fixed)


def _count_bands(input_shape: tuple[int | None, ...], axis: int) -> int:
    n_axes = len(input_shape)
    if not -n_axes < axis < n_axes:
        raise ValueError(f"`axis={axis}` is no axis of the input. Received: input_shape={tuple(input_shape)}.")
    n_bands = input_shape[axis]
    if n_bands is None:
        raise ValueError(
            "`per_band=True` needs a fixed number of mel bands on "
            f"{'the last axis' if axis == -1 else f'axis {axis}'}. Received: input_shape={tuple(input_shape)}."
        )
    return n_bands


# ---- Formulas ------------------------------------------------------------------------------------------------------


def log_compress(mel: Any, alpha: Any, beta: Any, axis: int) -> Any:
    """`log(alpha * mel + beta)`, one pair for all, or one for each band on `axis`."""
    return ops.log(on_axis(alpha, mel, axis) * mel + on_axis(beta, mel, axis))


def on_axis(value: Any, mel: Any, axis: int) -> Any:
    """One number, or `(n_mels,)` shaped so that it meets the bands of `mel`, which are on `axis`.

    Raises:
        ValueError: If `mel` has another number of bands.
    """
    if not len(value.shape):
        return value
    n_mels = mel.shape[axis]
    if n_mels not in (None, value.shape[0]):
        raise ValueError(
            f"The number of mel bands must stay what the compression was built for: {value.shape[0]}. Received: "
            f"{n_mels} bands on axis {axis}. Build a new layer for them, or use one value for all (`per_band=False`)."
        )
    after = -1 - axis if axis < 0 else len(mel.shape) - 1 - axis
    return ops.reshape(value, (*value.shape, *[1] * after)) if after else value


# ---- A knee from data ----------------------------------------------------------------------------------------------


def power_at_quantile(layer: Any, data: Any, quantile: float | None) -> Any:
    """What `LearnableLog.adapt` puts the knee at: the quantile of the mel power in `data`. Builds the layer.

    Args:
        layer: With `axis`, `per_band`, `n_bands` and, where `quantile` is `None`, a `quantile` of its own.
        data, quantile: See `LearnableLog.adapt`.

    Returns:
        A number, or `(n_bands,)`.

    Raises:
        ValueError: See `LearnableLog.adapt`.
    """
    quantile = layer.quantile if quantile is None else share("quantile", quantile)
    if quantile is None:
        raise ValueError(
            f"`quantile` must be given to `adapt`, or to layer `{layer.name}`. Received: quantile=None. "
            "With 0.1, a tenth of the mel power lies below the knee."
        )
    counts: PowerCounts | None = None
    for mel in _arrays(data):
        if not layer.built:
            layer.build(mel.shape)
        if layer.per_band:
            mel = np.moveaxis(mel, layer.axis, -1)
        counts = counts or PowerCounts(layer.n_bands)
        counts.add(mel)
    if counts is None or not counts.n:
        raise ValueError(f"`data` of `adapt` must hold mel power. Received: nothing, for layer `{layer.name}`.")
    return counts.quantile(quantile)


def _arrays(data: Any) -> Iterator[npt.NDArray[np.float32]]:
    """The arrays of a data set, one after another."""
    is_array = hasattr(data, "shape") and hasattr(data, "dtype")
    for item in [data] if is_array else data:
        mel = np.asarray(ops.convert_to_numpy(item[0] if isinstance(item, (tuple, list)) else item), dtype=np.float32)
        if mel.ndim < 2:
            raise ValueError(f"`data` of `adapt` must have the shape (..., n_mels). Received: shape {mel.shape}.")
        yield mel


# ---- Checks --------------------------------------------------------------------------------------------------------


def _checked(mel: Any, name: str) -> Any:
    """`mel`, if all of it is finite and >= 0; see `Compression`, `check_input`."""
    if isinstance(mel, keras.KerasTensor):
        return mel
    rule = f"The input of layer `{name}` must be mel power, finite and >= 0, not a logarithm."
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if not tf.executing_eagerly():
            bad = tf.where(tf.logical_not((mel >= 0) & tf.math.is_finite(mel)))
            first = bad[:1]
            told = [rule, "First bad value:", tf.gather_nd(mel, first), "at index:", first]
            with tf.control_dependencies([tf.debugging.Assert(tf.equal(tf.size(bad), 0), told)]):
                return tf.identity(mel)
    try:
        values = ops.convert_to_numpy(mel)
    except Exception as error:  # JAX's own, while it traces
        raise ValueError(
            f"`check_input=True` of layer `{name}` needs the values, which a function compiled by "
            f"{keras.backend.backend()} does not have yet. Use `run_eagerly=True`, or leave it out."
        ) from error
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        index = tuple(int(at) for at in np.argwhere(bad)[0])
        raise ValueError(
            f"{rule} Received: {values[index]} at index {index}, the first of {int(bad.sum()):,} bad values."
        )
    return mel


def band_axis(axis: Any) -> int:
    """An `axis` argument, checked."""
    if isinstance(axis, bool) or not isinstance(axis, numbers.Integral) or axis == 0:
        raise ValueError(f"`axis` must be an integer other than 0, the batch. Received: axis={axis!r}.")
    return int(axis)


def rate_factor(learning_rate_factor: Any) -> float:
    """A `learning_rate_factor` argument, checked."""
    if finite("learning_rate_factor", learning_rate_factor) < 0:
        raise ValueError(
            f"`learning_rate_factor` must be at least 0. Received: learning_rate_factor={learning_rate_factor!r}."
        )
    return float(learning_rate_factor)


def share(name: str, value: Any) -> float:
    if not 0 < finite(name, value) < 1:
        raise ValueError(f"`{name}` must be above 0 and below 1. Received: {name}={value!r}.")
    return float(value)


def positive(name: str, value: float | Sequence[float]) -> float | list[float]:
    """A number in float32's range, or one for every mel band."""
    if not isinstance(value, (list, tuple)):
        return in_float32(name, value)
    if not value:
        raise ValueError(f"`{name}` must hold one number for every mel band. Received: {name}={value!r}.")
    return [in_float32(name, number) for number in value]


def in_float32(name: str, value: Any) -> float:
    # From its smallest normal number, below which hardware may read zero, to its largest.
    if not 1.18e-38 <= finite(name, value) <= 3.4e38:
        raise ValueError(f"`{name}` must be above 0, from 1.18e-38 to 3.4e38 (float32). Received: {name}={value!r}.")
    return float(value)


def finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"`{name}` must be a finite number. Received: {name}={value!r}.")
    return float(value)
