"""Compressions of the mel power: log-EPS, the baseline, and loglearn, whose logarithm is learned."""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


class _Compression(keras.layers.Layer):  # type: ignore[misc]
    """Pointwise map of mel power, float32 in, inside and out, whatever the dtype policy.

    Mel power spans many orders of magnitude: float16 holds nothing above 65,504 and flushes
    everything below 6e-8 to zero, so the input is not autocast. Under a mixed policy the next
    layer casts the output.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True

    def call(self, mel: Any) -> Any:
        return self.compress(ops.cast(mel, "float32"))

    def compress(self, mel: Any) -> Any:
        raise NotImplementedError

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def compute_output_spec(self, mel: Any) -> keras.KerasTensor:
        return keras.KerasTensor(mel.shape, dtype="float32")


@keras.saving.register_keras_serializable(package="loglearn_tf")
class LearnableLog(_Compression):
    """Learnable logarithmic compression (loglearn), `log(alpha * mel + beta)`.

    `alpha = exp(alpha_pre_gate)` and `beta = softplus(beta_pre_gate)` keep both positive; the
    pre-gates are the only weights. Natural logarithm.

    Where batch normalisation follows, `log(alpha * mel + beta) = log(alpha) + log(mel + knee)` with
    `knee = beta / alpha`: the constant is normalised away, and only the knee can matter. Mel power
    well below the knee is flattened to a constant, power well above it is compressed as by a
    plain logarithm.

    Works on Keras' TensorFlow, JAX and PyTorch backends.

    Args:
        alpha_pre_gate: Float, initial value, no unit. 7.0 gives alpha = 1096.633.
        beta_pre_gate: Float, initial value, no unit. 1.0 gives beta = 1.31326. To begin from out-of-gate
            values, see `from_values`.
        per_band: Whether every mel band has its own pair.
        axis: Axis of the mel bands; -2 where channels follow them. Only matters with `per_band`.
        learning_rate_factor: Float >= 0, scales the gradients of the pre-gates, and with plain SGD so their
            learning rate. Optimisers that normalise gradients, as Adam, undo it.
        check_input: For debugging: names the first value that is negative or not finite. Costs a pass over the input.
            Works eagerly on every backend, and in compiled functions on TensorFlow, except under XLA.
        **kwargs: `name`, `dtype`, `trainable`, for the base layer.

    Input shape:
        `(batch, frames, n_mels)`, or any other with the mel bands on `axis`; mel power, >= 0. Negative values are
        no power: from 0 down to `-knee` they give smaller values than silence, below it NaN, as the logarithm does.
        The input must not be logarithmic already. NaN stays NaN, infinity stays infinity.

    Output shape:
        As the input, float32; log power. A mask passes unchanged.

    Attributes:
        alpha: Out-of-gate value, float32, shape `()`, or `(n_mels,)` with `per_band`.
        beta: Likewise.
        knee: `beta / alpha`, in units of mel power.

    Raises:
        ValueError: If an argument is out of its range; when built with `per_band`, if `axis` is not an
            axis of the input or has no fixed size; with `check_input`, for a bad value, where eager.

    Reference:
        The post; reference code, `src/models_sl.py`, `log_learn`.

    Example:
        >>> import numpy as np
        >>> layer = LearnableLog()
        >>> tuple(layer(np.zeros((1, 128, 128), "float32")).shape)
        (1, 128, 128)
        >>> round(float(layer.alpha), 3), round(float(layer.beta), 5)
        (1096.633, 1.31326)
        >>> round(float(LearnableLog.from_values(alpha=10000, beta=1).knee), 7)
        0.0001
    """

    def __init__(
        self,
        *,
        alpha_pre_gate: float = 7.0,
        beta_pre_gate: float = 1.0,
        per_band: bool = False,
        axis: int = -1,
        learning_rate_factor: float = 1.0,
        check_input: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._initial = {
            "alpha_pre_gate": _finite("alpha_pre_gate", alpha_pre_gate),
            "beta_pre_gate": _finite("beta_pre_gate", beta_pre_gate),
        }
        if _finite("learning_rate_factor", learning_rate_factor) < 0:
            raise ValueError(
                f"`learning_rate_factor` must be at least 0. Received: learning_rate_factor={learning_rate_factor!r}."
            )
        self.per_band = bool(per_band)
        self.axis = _axis(axis)
        self.learning_rate_factor = float(learning_rate_factor)
        self.check_input = bool(check_input)
        self.alpha_pre_gate: Any = None
        self.beta_pre_gate: Any = None

    @classmethod
    def from_values(cls, *, alpha: float, beta: float, **kwargs: Any) -> "LearnableLog":
        """A layer that begins with these values of alpha and beta, those after the gates.

        Args:
            alpha: Float > 0.
            beta: Float > 0.
            **kwargs: As for the class, without the pre-gates.

        Raises:
            ValueError: If a value is no number from 1.18e-38 to 3.4e38, float32's range.
        """
        alpha, beta = _in_float32("alpha", alpha), _in_float32("beta", beta)
        # softplus(b) = beta, solved for b; in this form exact to rounding for small and for large beta.
        return cls(alpha_pre_gate=math.log(alpha), beta_pre_gate=beta + math.log(-math.expm1(-beta)), **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape: tuple[int, ...] = ()
        if self.per_band:
            n_axes = len(input_shape)
            if not -n_axes < self.axis < n_axes:
                raise ValueError(
                    f"`axis={self.axis}` is no axis of the input. Received: input_shape={tuple(input_shape)}."
                )
            n_mels = input_shape[self.axis]
            if n_mels is None:
                raise ValueError(
                    "`per_band=True` needs a fixed number of mel bands on "
                    f"{'the last axis' if self.axis == -1 else f'axis {self.axis}'}. "
                    f"Received: input_shape={tuple(input_shape)}."
                )
            shape = (n_mels,)
        for name, value in self._initial.items():
            weight = self.add_weight(
                name=name,
                shape=shape,
                initializer=keras.initializers.Constant(value),
                dtype="float32",
                autocast=False,  # stays float32 under mixed precision
            )
            setattr(self, name, weight)
        self.built = True

    @property
    def alpha(self) -> Any:
        return ops.exp(self._pre_gate("alpha_pre_gate"))

    @property
    def beta(self) -> Any:
        return ops.softplus(self._pre_gate("beta_pre_gate"))

    @property
    def knee(self) -> Any:
        return self.beta / self.alpha

    def compress(self, mel: Any) -> Any:
        if self.check_input:
            mel = _checked(mel, self.name)
        return _log_compress(mel, self.alpha, self.beta, self.axis)

    def folded(self) -> "Log":
        """The same compression with alpha and beta as constants, without gates or weights; what export uses."""
        alpha, beta = (ops.convert_to_numpy(value).tolist() for value in (self.alpha, self.beta))
        return Log(alpha=alpha, beta=beta, axis=self.axis, name=self.name)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **self._initial,
            "per_band": self.per_band,
            "axis": self.axis,
            "learning_rate_factor": self.learning_rate_factor,
            "check_input": self.check_input,
        }

    def _pre_gate(self, name: str) -> Any:
        """The weight, or before `build` what it will start from."""
        weight = getattr(self, name)
        value = ops.convert_to_tensor(self._initial[name] if weight is None else weight, dtype="float32")
        if self.learning_rate_factor == 1:
            return value
        fixed = ops.stop_gradient(value)
        # The difference is exactly zero: the value stays, its gradient is scaled.
        return fixed + self.learning_rate_factor * (value - fixed)


@keras.saving.register_keras_serializable(package="loglearn_tf")
class Log(_Compression):
    """Logarithmic compression with fixed alpha and beta, `log(alpha * mel + beta)`; no weights.

    Args:
        alpha: Float > 0, or a list with one for every mel band.
        beta: Float > 0, or a list with one for every mel band.
        axis: Axis of the mel bands; only matters with lists.
        **kwargs: `name`, `dtype`, for the base layer.

    Input shape:
        `(..., n_mels)`, mel power, >= 0.

    Output shape:
        As the input, float32; log power.

    Attributes:
        knee: `beta / alpha`, in units of mel power.

    Raises:
        ValueError: If alpha or beta is no number from 1.18e-38 to 3.4e38, float32's range; when built, if a list has
            not as many numbers as there are bands.

    Reference:
        Dieleman and Schrauwen, End-to-end learning for music audio, ICASSP 2014.

    Example:
        >>> import numpy as np
        >>> round(float(Log()(np.ones((1, 1)))[0, 0]), 4)
        9.2104
    """

    def __init__(
        self,
        *,
        alpha: float | Sequence[float] = 10_000.0,
        beta: float | Sequence[float] = 1.0,
        axis: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._values = {"alpha": _positive("alpha", alpha), "beta": _positive("beta", beta)}
        self.axis = _axis(axis)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        n_axes = len(input_shape)
        for name, value in self._values.items():
            if isinstance(value, list) and (not -n_axes < self.axis < n_axes or len(value) != input_shape[self.axis]):
                raise ValueError(
                    f"`{name}` must hold one number for every mel band. Received: {len(value)} numbers, "
                    f"axis={self.axis}, input_shape={tuple(input_shape)}."
                )
        self.built = True

    @property
    def per_band(self) -> bool:
        return any(isinstance(value, list) for value in self._values.values())

    @property
    def alpha(self) -> Any:
        return ops.convert_to_tensor(self._values["alpha"], dtype="float32")

    @property
    def beta(self) -> Any:
        return ops.convert_to_tensor(self._values["beta"], dtype="float32")

    @property
    def knee(self) -> Any:
        return self.beta / self.alpha

    def compress(self, mel: Any) -> Any:
        return _log_compress(mel, self.alpha, self.beta, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._values, "axis": self.axis}


@keras.saving.register_keras_serializable(package="loglearn_tf")
class LogEps(_Compression):
    """Fixed logarithmic compression (log-EPS), `log10(mel + eps)`: the baseline.

    Args:
        eps: Float > 0, in units of mel power. The default is float64's machine epsilon, as in the
            reference code; float32's, 1.19e-7, is another baseline.
        **kwargs: `name`, `dtype`, `trainable`, for the base layer.

    Input shape:
        `(..., n_mels)`, mel power, >= 0.

    Output shape:
        As the input, float32; base-10 logarithm of power.

    Raises:
        ValueError: If `eps` is not a finite number above zero, or too small for float32.

    Reference:
        Reference code, `src/sl_train.py`, `np.log10(x + np.finfo(float).eps)`.
    """

    def __init__(self, *, eps: float = 2.220446049250313e-16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # 1.18e-38: float32's smallest normal number; anything smaller would be added as zero.
        if _finite("eps", eps) < 1.18e-38:
            raise ValueError(f"`eps` must be at least 1.18e-38, float32's smallest number. Received: eps={eps!r}.")
        self.eps = float(eps)

    def compress(self, mel: Any) -> Any:
        return ops.log10(mel + self.eps)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "eps": self.eps}


@keras.saving.register_keras_serializable(package="loglearn_tf")
class NoCompression(_Compression):
    """The identity: for mel spectrograms that are compressed already, or as a control.

    Input shape:
        Any.

    Output shape:
        As the input, float32.
    """

    def compress(self, mel: Any) -> Any:
        return mel


# Name in settings, run folders and results -> layer with its published defaults.
COMPRESSIONS: dict[str, Callable[..., keras.layers.Layer]] = {
    "loglearn": LearnableLog,
    "logeps": LogEps,
    "log": Log,
    "none": NoCompression,
}


def build_compression(compression: "str | keras.layers.Layer") -> keras.layers.Layer:
    """Returns the layer of that name, or the layer itself where one is given.

    Raises:
        ValueError: If no compression has that name.
    """
    if isinstance(compression, keras.layers.Layer):
        return compression
    if not isinstance(compression, str) or compression not in COMPRESSIONS:
        raise ValueError(
            f"`compression` must be a Keras layer or one of {sorted(COMPRESSIONS)}. "
            f"Received: compression={compression!r}."
        )
    return COMPRESSIONS[compression](name=compression)


def _log_compress(mel: Any, alpha: Any, beta: Any, axis: int) -> Any:
    """`log(alpha * mel + beta)`, one pair for all, or one for each band on `axis`."""
    after = -1 - axis if axis < 0 else len(mel.shape) - 1 - axis
    if after:
        alpha, beta = (ops.reshape(x, (*x.shape, *[1] * after)) if len(x.shape) else x for x in (alpha, beta))
    return ops.log(alpha * mel + beta)


def _checked(mel: Any, name: str) -> Any:
    """`mel`, if all of it is finite and >= 0; see `LearnableLog`, `check_input`."""
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


def _axis(axis: Any) -> int:
    if isinstance(axis, bool) or not isinstance(axis, numbers.Integral) or axis == 0:
        raise ValueError(f"`axis` must be an integer other than 0, the batch. Received: axis={axis!r}.")
    return int(axis)


def _positive(name: str, value: float | Sequence[float]) -> float | list[float]:
    if not isinstance(value, (list, tuple)):
        return _in_float32(name, value)
    if not value:
        raise ValueError(f"`{name}` must hold one number for every mel band. Received: {name}={value!r}.")
    return [_in_float32(name, number) for number in value]


def _in_float32(name: str, value: Any) -> float:
    # From its smallest normal number, below which hardware may read zero, to its largest.
    if not 1.18e-38 <= _finite(name, value) <= 3.4e38:
        raise ValueError(f"`{name}` must be above 0, from 1.18e-38 to 3.4e38 (float32). Received: {name}={value!r}.")
    return float(value)


def _finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"`{name}` must be a finite number. Received: {name}={value!r}.")
    return float(value)
