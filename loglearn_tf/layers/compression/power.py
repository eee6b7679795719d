"""The learnable power law, the root-like compression of loudness."""

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
class Power(Compression):
    """Learnable power law, `mel ** sigmoid(a)`: the root-like compression of loudness.

    Args:
        a: Float, initial value, no unit. 0.0 gives the square root.
        per_band, axis, learning_rate_factor, **kwargs: See `LearnableLog`.

    Input shape:
        `(batch, frames, n_mels)`, mel power, >= 0.

    Output shape:
        Same as the input, float32; 0 for silence, where the gradient is also 0, not infinite.

    Attributes:
        exponent: `sigmoid(a)`, float32, shape `()`, or `(n_mels,)` with `per_band`.

    Raises:
        ValueError: As for `LearnableLog`.

    Reference:
        Stevens, On the psychophysical law, Psychological Review 64, 1957: loudness grows with sound power ** .3;
        learned, behind a sigmoid, in Schlueter and Lehner, ISMIR 2018 (see `Log1p`).

    Example:
        >>> import numpy as np
        >>> Power(a=0.0)(np.array([[0.0, 0.25, 4.0]], "float32")).numpy().astype(float).round(2).tolist()
        [[0.0, 0.5, 2.0]]
    """

    pointwise = True

    def __init__(
        self,
        *,
        a: float = 0.0,
        per_band: bool = False,
        axis: int = -1,
        learning_rate_factor: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._initial_a = finite("a", a)
        self.a: Any = self._initial_a  # until `build` turns it into a weight
        self.per_band = bool(per_band)
        self.axis = band_axis(axis)
        self.learning_rate_factor = rate_factor(learning_rate_factor)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.a = add_number(self, "a", self._initial_a, input_shape)
        self.built = True

    @property
    def exponent(self) -> Any:
        return ops.sigmoid(scaled_gradient(self.a, self.learning_rate_factor))

    def compress(self, mel: Any) -> Any:
        # Avoid the logarithm of zero and its gradient, even where they are unused.
        is_sound = mel != 0
        power = ops.power(ops.where(is_sound, mel, 1.0), on_axis(self.exponent, mel, self.axis))
        return ops.where(is_sound, power, 0.0)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "a": self._initial_a,
            "per_band": self.per_band,
            "axis": self.axis,
            "learning_rate_factor": self.learning_rate_factor,
        }
