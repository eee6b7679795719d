"""The logarithmic compression with only a learned knee."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from loglearn_tf.layers.compression.base import (
    Compression,
    add_number,
    band_axis,
    in_float32,
    log_compress,
    power_at_quantile,
    rate_factor,
    scaled_gradient,
    share,
)


@keras.saving.register_keras_serializable(package="loglearn_tf")
class LearnableKnee(Compression):
    """Logarithmic compression that learns only the knee, `log(mel + knee)`, `knee = exp(knee_pre_gate)`.

    `LearnableLog` without the part that batch normalisation removes; see there. With `g` the gradient of the loss with
    respect to the knee, a step of gradient descent changes `ln(knee)` by `-eta * knee * g`. If the knee itself were the
    weight, without a gate, it would be `-eta * g / knee`: 700,000 times as much at the usual start, and the knee could
    become negative.

    Args:
        knee: Float > 0, initial value, in units of mel power; that of `LearnableLog` by default.
        per_band, axis, learning_rate_factor, quantile, **kwargs: See `LearnableLog`.

    Input shape:
        `(batch, frames, n_mels)`, mel power, >= 0.

    Output shape:
        Same as the input, float32; log power.

    Attributes:
        alpha: 1.
        beta: The knee.
        knee: In units of mel power, float32, shape `()`, or `(n_mels,)` with `per_band`.

    Raises:
        ValueError: As for `LearnableLog`.

    Example:
        >>> round(float(LearnableKnee(knee=1e-8).knee), 10)
        1e-08
    """

    pointwise = True

    def __init__(
        self,
        *,
        knee: float = math.log1p(math.e) * math.exp(-7),
        per_band: bool = False,
        axis: int = -1,
        learning_rate_factor: float = 1.0,
        quantile: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._initial_knee = in_float32("knee", knee)
        self.knee_pre_gate: Any = math.log(self._initial_knee)  # until `build` makes it a weight
        self.per_band = bool(per_band)
        self.axis = band_axis(axis)
        self.learning_rate_factor = rate_factor(learning_rate_factor)
        self.quantile = None if quantile is None else share("quantile", quantile)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.knee_pre_gate = add_number(self, "knee_pre_gate", math.log(self._initial_knee), input_shape)
        self.built = True

    @property
    def alpha(self) -> Any:
        return ops.ones_like(self.beta)

    @property
    def beta(self) -> Any:
        return ops.exp(scaled_gradient(self.knee_pre_gate, self.learning_rate_factor))

    @property
    def knee(self) -> Any:
        return self.beta

    def compress(self, mel: Any) -> Any:
        return log_compress(mel, self.alpha, self.beta, self.axis)

    def adapt(self, data: Any, *, quantile: float | None = None) -> None:
        """Sets the knee to a quantile of the mel power in `data`; see `LearnableLog.adapt`."""
        knee = power_at_quantile(self, data, quantile)  # builds the layer
        self.knee_pre_gate.assign(np.log(knee))

    def folded(self) -> Compression:
        """The same compression with a constant knee; see `LearnableLog.folded`."""
        from loglearn_tf.layers.compression.log import Log

        return Log.as_it_is(self)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "knee": self._initial_knee,
            "per_band": self.per_band,
            "axis": self.axis,
            "learning_rate_factor": self.learning_rate_factor,
            "quantile": self.quantile,
        }
