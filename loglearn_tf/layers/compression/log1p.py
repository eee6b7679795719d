"""The learnable compression of magnitude, log(1 + 10 ** a * mel)."""

from typing import Any

import keras
from keras import ops

from loglearn_tf.layers.compression.base import (
    Compression,
    add_number,
    band_axis,
    finite,
    on_axis,
    rate_factor,
    scaled_gradient,
)


@keras.saving.register_keras_serializable(package="loglearn_tf")
class Log1p(Compression):
    """Learnable compression of magnitude, `log(1 + 10 ** a * mel)`.

    `LearnableLog` with beta fixed at 1: the knee is `10 ** -a`. With this base, a step of gradient descent changes
    `ln(knee)` by `ln(10) ** 2` = 5.3 times as much as in `LearnableKnee`.

    Args:
        a: Float, initial value, no unit. 5.0 gives a knee of 1e-5.
        per_band, axis, learning_rate_factor, **kwargs: See `LearnableLog`.

    Input shape:
        `(batch, frames, n_mels)`, mel power, >= 0.

    Output shape:
        Same as the input, float32; log power, 0 for silence.

    Attributes:
        alpha: `10 ** a`, float32, shape `()`, or `(n_mels,)` with `per_band`.
        beta: 1.
        knee: `10 ** -a`, in units of mel power.

    Raises:
        ValueError: As for `LearnableLog`.

    Reference:
        Schlueter and Lehner, Zero-mean convolutions for level-invariant singing voice detection, ISMIR 2018; with
        a = 5 and one per band in Schlueter and Gutenbrunner, EfficientLEAF, EUSIPCO 2022.

    Example:
        >>> import numpy as np
        >>> Log1p(a=5.0)(np.array([[0.0, 1e-5, 1.0]], "float32")).numpy().astype(float).round(2).tolist()
        [[0.0, 0.69, 11.51]]
    """

    pointwise = True

    def __init__(
        self,
        *,
        a: float = 5.0,
        per_band: bool = False,
        axis: int = -1,
        learning_rate_factor: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._initial_a = finite("a", a)
        self.a: Any = self._initial_a  # until `build` makes it a weight
        self.per_band = bool(per_band)
        self.axis = band_axis(axis)
        self.learning_rate_factor = rate_factor(learning_rate_factor)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.a = add_number(self, "a", self._initial_a, input_shape)
        self.built = True

    @property
    def alpha(self) -> Any:
        return ops.power(10.0, scaled_gradient(self.a, self.learning_rate_factor))

    @property
    def beta(self) -> Any:
        return ops.ones_like(self.alpha)

    @property
    def knee(self) -> Any:
        return self.beta / self.alpha

    def compress(self, mel: Any) -> Any:
        return ops.log1p(on_axis(self.alpha, mel, self.axis) * mel)

    def folded(self) -> Compression:
        """The same compression with a constant alpha; see `LearnableLog.folded`."""
        from loglearn_tf.layers.compression.log import Log

        return Log.as_it_is(self)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "a": self._initial_a,
            "per_band": self.per_band,
            "axis": self.axis,
            "learning_rate_factor": self.learning_rate_factor,
        }
