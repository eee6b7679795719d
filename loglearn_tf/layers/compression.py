"""Compressions of the mel power: log-EPS, the baseline, and loglearn, whose logarithm is learned."""

import math
import numbers
from collections.abc import Callable
from typing import Any

import keras
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

    Args:
        alpha_pre_gate: Float, initial value, no unit. 7.0 gives alpha = 1096.633.
        beta_pre_gate: Float, initial value, no unit. 1.0 gives beta = 1.31326.
        per_band: Whether every mel band (the last axis) has its own pair.
        **kwargs: `name`, `dtype`, `trainable`, for the base layer.

    Input shape:
        `(..., n_mels)`, mel power, >= 0. Power below `-knee` gives NaN, as the logarithm does: the
        input must not be logarithmic already.

    Output shape:
        As the input, float32; log power.

    Attributes:
        alpha: Out-of-gate value, float32, shape `()`, or `(n_mels,)` with `per_band`.
        beta: Likewise.
        knee: `beta / alpha`, in units of mel power.

    Raises:
        ValueError: If an initial value is not a finite number, or, when built with `per_band`, the
            last axis has no fixed size.

    Reference:
        The post; reference code, `src/models_sl.py`, `log_learn`.

    Example:
        >>> import numpy as np
        >>> layer = LearnableLog()
        >>> tuple(layer(np.zeros((1, 128, 128), "float32")).shape)
        (1, 128, 128)
        >>> round(float(layer.alpha), 3), round(float(layer.beta), 5)
        (1096.633, 1.31326)
    """

    def __init__(
        self, *, alpha_pre_gate: float = 7.0, beta_pre_gate: float = 1.0, per_band: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._initial = {
            "alpha_pre_gate": _finite("alpha_pre_gate", alpha_pre_gate),
            "beta_pre_gate": _finite("beta_pre_gate", beta_pre_gate),
        }
        self.per_band = per_band
        self.alpha_pre_gate: Any = None
        self.beta_pre_gate: Any = None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape: tuple[int, ...] = ()
        if self.per_band:
            n_mels = input_shape[-1]
            if n_mels is None:
                raise ValueError(
                    "`per_band=True` needs a fixed number of mel bands on the last axis. "
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
        return ops.log(self.alpha * mel + self.beta)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._initial, "per_band": self.per_band}

    def _pre_gate(self, name: str) -> Any:
        """The weight, or before `build` what it will start from."""
        weight = getattr(self, name)
        return ops.convert_to_tensor(self._initial[name] if weight is None else weight, dtype="float32")


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


def _finite(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"`{name}` must be a finite number. Received: {name}={value!r}.")
    return float(value)
