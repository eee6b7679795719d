"""The base class of compressions, and the functions shared by those with trained parameters."""

import logging
import math
import numbers
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from loglearn_tf._util.text import shown
from loglearn_tf.layers.compression.power_counts import PowerCounts
from loglearn_tf.layers.keras_2 import refuse_keras_2

_log = logging.getLogger(__name__)


class Compression(keras.layers.Layer):  # type: ignore[misc]
    """Base class of all compressions: from mel power to a tensor of the same shape.

    A subclass implements `compress` and registers itself with Keras. To be chosen by name, it is listed in
    `COMPRESSIONS` or named as `module:Class`.

    Computes in float32, including input and output, whatever the dtype policy. Mel power spans many orders of
    magnitude: float16 has nothing above 65,504 and flushes everything below 6e-8 to zero, so the input is not autocast.
    Under a mixed policy the next layer casts the output. Learned parameters are float32 under the default policy and
    mixed ones; under a pure float64, float16 or bfloat16 policy they have that type, like all other weights, so that an
    optimiser can clip all gradients to one global norm.

    Zero has no special meaning for learned parameters, but weight decay of an optimiser, such as
    `keras.optimizers.AdamW`, pulls them towards it whatever the loss. Layers cannot tell this to Keras' optimisers:
    call `loglearn_tf.training.optimizers.exclude_compressions(optimizer, model)` before training.

    Args:
        check_input: For debugging: reports the first value that is negative or not finite. Costs a pass over the input.
            Works eagerly on every backend, and in compiled functions on TensorFlow, except under XLA.
        **kwargs: `name`, `dtype`, `trainable`, for the base layer.

    Attributes:
        pointwise: Class attribute: whether every output value depends only on the input value at its place, with the
            same map for all frames. Clips are then scored without cutting patches. Not inherited: each class must set
            it.
        relative: Class attribute: whether the input is mel power divided by the level of the clip (its mean over frames
            and bands) instead of mel power. Training, evaluation and `clip_classifier` then divide; see `ClipLevel`.
        axis: Axis of the mel bands; the last one unless a subclass takes it as an argument.
        n_bands: Number of mel bands if each has its own parameters, set by `build`; otherwise `None`.

    Raises:
        ValueError: With `check_input`, for an invalid value in eager mode.

    Example:
        >>> import numpy as np
        >>> @keras.saving.register_keras_serializable(package="my_lab")
        ... class Root(Compression):
        ...     def compress(self, mel):
        ...         return keras.ops.sqrt(mel)
        >>> Root()(np.array([[0.25, 4.0]], "float32")).numpy().tolist()
        [[0.5, 2.0]]
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
        """Compresses float32 mel power."""
        raise NotImplementedError

    def _warn_of_float16_input(self) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "Layer `%s` receives mel power as float16, in which values above 65,504 are infinite and values below "
                "6e-8 are 0. Use float32: `keras.Input(shape, dtype='float32')`; `fit` and `predict` cast NumPy arrays "
                "to `keras.config.floatx()`, here %s.",
                self.name,
                keras.config.floatx(),
            )

    def curve(self, power: Any) -> npt.NDArray[np.float32]:
        """The output for steady sounds with these powers in all bands and frames; the median over bands.

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


# ---- Trained parameters: one for all bands, or one per band -------------------------------------------------------


def add_number(
    layer: Any,
    name: str,
    initial: float,
    input_shape: tuple[int | None, ...],
    *,
    regularizer: keras.regularizers.Regularizer | None = None,
    constraint: keras.constraints.Constraint | None = None,
) -> Any:
    """Adds a weight of shape `()`, or `(n_bands,)` with `per_band`, of the policy's type.

    Raises:
        ValueError: With `per_band`, if `axis` is not an axis of the input or has no fixed size.
    """
    if layer.per_band:
        layer.n_bands = _count_bands(input_shape, layer.axis)
        if layer.n_bands == 1 and not layer.weights:
            _log.warning(
                "Layer `%s` has `per_band=True`, but there is one band on its axis %d of the input, %s, so all bands "
                "share one value. If that is the axis of channels, name that of the bands, as in `axis=-2`.",
                layer.name,
                layer.axis,
                tuple(input_shape),
            )
    # The type of other layers' weights: Keras adds up the squares of all gradients for a global norm, which fails if
    # their types differ. Mixed policies keep weights in float32.
    dtype = layer.variable_dtype
    if layer.trainable and dtype in ("float16", "bfloat16") and not layer.weights:
        _log.warning(
            "Layer `%s` keeps its weights in %s, according to its dtype policy: relative steps of less than 1/%s are "
            "lost, so it may learn nothing. Use the policy mixed_%s, which keeps weights in float32.",
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
    """A weight, or its initial value before `build`, whose gradient is multiplied by `factor`."""
    value = ops.convert_to_tensor(number, dtype="float32")
    if factor == 1:
        return value
    fixed = ops.stop_gradient(value)
    # The difference is exactly zero: the value stays, its gradient is scaled.
    return fixed + factor * (value - fixed)


def _count_bands(input_shape: tuple[int | None, ...], axis: int) -> int:
    n_axes = len(input_shape)
    if not -n_axes < axis < n_axes:
        raise ValueError(f"`axis={axis}` is not an axis of the input. Received: input_shape={tuple(input_shape)}.")
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
    """A number, or `(n_mels,)` values reshaped to broadcast with the bands of `mel` on `axis`.

    Raises:
        ValueError: If `mel` has another number of bands.
    """
    if not len(value.shape):
        return value
    n_mels = mel.shape[axis]
    if n_mels not in (None, value.shape[0]):
        raise ValueError(
            f"The number of mel bands must be that of `build`: {value.shape[0]}. Received: "
            f"{n_mels} bands on axis {axis}. Build a new layer for them, or use one value for all (`per_band=False`)."
        )
    after = -1 - axis if axis < 0 else len(mel.shape) - 1 - axis
    return ops.reshape(value, (*value.shape, *[1] * after)) if after else value


# ---- A knee from data ----------------------------------------------------------------------------------------------


def power_at_quantile(layer: Any, data: Any, quantile: float | None) -> Any:
    """The quantile of the mel power in `data`, used as the knee by `LearnableLog.adapt`. Builds the layer.

    Args:
        layer: With `axis`, `per_band`, `n_bands` and, if `quantile` is `None`, its own `quantile`.
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
            "With 0.1, a tenth of the mel power is below the knee."
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
        raise ValueError(f"`data` of `adapt` must contain mel power. Received: nothing, for layer `{layer.name}`.")
    return counts.quantile(quantile)


def _arrays(data: Any) -> Iterator[npt.NDArray[np.float32]]:
    """The arrays of a data set, one after another."""
    is_array = hasattr(data, "shape") and hasattr(data, "dtype")
    if not is_array and (isinstance(data, (str, bytes)) or not hasattr(data, "__iter__")):
        raise _no_data(data)
    for item in [data] if is_array else data:
        first = item[0] if isinstance(item, (tuple, list)) and item else item
        try:
            mel = np.asarray(ops.convert_to_numpy(first), dtype=np.float32)
        except (TypeError, ValueError) as error:  # dictionaries, text, ragged lists
            raise _no_data(first) from error
        if mel.ndim < 2:
            raise ValueError(f"`data` of `adapt` must have the shape (..., n_mels). Received: shape {mel.shape}.")
        yield mel


def _no_data(received: Any) -> ValueError:
    return ValueError(
        "`data` of `adapt` must be an array of mel power, a sequence of arrays, or a data set of elements that are "
        f"arrays or tuples that start with one. Received: {type(received).__name__} {shown(received)}. "
        "Select the mel power from other elements, as in `data.map(lambda element: element['mel'])`."
    )


# ---- Checks --------------------------------------------------------------------------------------------------------


def _checked(mel: Any, name: str) -> Any:
    """Returns `mel` if all of it is finite and >= 0; see `Compression`, `check_input`."""
    if isinstance(mel, keras.KerasTensor):
        return mel
    rule = f"The input of layer `{name}` must be mel power, finite and >= 0, not a logarithm."
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if not tf.executing_eagerly():
            bad = tf.where(tf.logical_not((mel >= 0) & tf.math.is_finite(mel)))
            first = bad[:1]
            told = [rule, "First invalid value:", tf.gather_nd(mel, first), "at index:", first]
            with tf.control_dependencies([tf.debugging.Assert(tf.equal(tf.size(bad), 0), told)]):
                return tf.identity(mel)
    try:
        values = ops.convert_to_numpy(mel)
    except Exception as error:  # JAX's error while tracing
        raise ValueError(
            f"`check_input=True` of layer `{name}` needs values, which a function compiled by "
            f"{keras.backend.backend()} does not have yet. Use `run_eagerly=True`, or omit it."
        ) from error
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        index = tuple(int(at) for at in np.argwhere(bad)[0])
        raise ValueError(
            f"{rule} Received: {values[index]} at index {index}, the first of {int(bad.sum()):,} invalid values."
        )
    return mel


def band_axis(axis: Any) -> int:
    """Checks an `axis` argument."""
    if isinstance(axis, bool) or not isinstance(axis, numbers.Integral) or axis == 0:
        raise ValueError(f"`axis` must be an integer other than 0, the batch. Received: axis={axis!r}.")
    return int(axis)


def rate_factor(learning_rate_factor: Any) -> float:
    """Checks a `learning_rate_factor` argument."""
    if finite("learning_rate_factor", learning_rate_factor) < 0:
        raise ValueError(
            f"`learning_rate_factor` must be at least 0. Received: learning_rate_factor={learning_rate_factor!r}."
        )
    return float(learning_rate_factor)


def share(name: str, value: Any) -> float:
    if not 0 < finite(name, value) < 1:
        raise ValueError(f"`{name}` must be between 0 and 1. Received: {name}={value!r}.")
    return float(value)


def positive(name: str, value: float | Sequence[float]) -> float | list[float]:
    """Checks a number in float32's range, or one per mel band."""
    if not isinstance(value, (list, tuple)):
        return in_float32(name, value)
    if not value:
        raise ValueError(f"`{name}` must have one number per mel band. Received: {name}={value!r}.")
    return [in_float32(name, number) for number in value]


def in_float32(name: str, value: Any) -> float:
    # From its smallest normal number, below which hardware may read zero, to its largest.
    if not 1.18e-38 <= finite(name, value) <= 3.4e38:
        raise ValueError(f"`{name}` must be between 1.18e-38 and 3.4e38 (float32). Received: {name}={value!r}.")
    return float(value)


def finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"`{name}` must be a finite number. Received: {name}={value!r}.")
    return float(value)
