"""The logarithmic compression with a knee relative to the clip's level."""

import math
from typing import Any

import keras
from keras import ops

from loglearn_tf.layers.compression.base import (
    Compression,
    add_number,
    band_axis,
    in_float32,
    log_compress,
    rate_factor,
    scaled_gradient,
)


@keras.saving.register_keras_serializable(package="loglearn_tf")
class RelativeKnee(Compression):
    """Logarithmic compression with a knee relative to the clip's level, `log(mel / level + knee)`.

    `level` is the mean power of the whole clip, over frames and bands, so the output does not depend on the recording
    level. The layer sees patches, which do not contain the level of their clip, so its input must already be
    `mel / level`; it computes `log(x + knee)`, pointwise. Training, evaluation and `clip_classifier` divide by the
    level; in your own models use the layer `ClipLevel`, before patches are cut.

    Args:
        knee: Float > 0, initial value, as a fraction of the clip's level: 1e-2 is 20 dB below it.
        per_band: Whether every mel band has its own knee.
        axis: Axis of the mel bands; only used with `per_band`.
        learning_rate_factor: Multiplies the gradient of the pre-gate.
        **kwargs: `check_input` (see `Compression`); `name`, `dtype`, `trainable`, for the base layer. With
            `trainable=False` the knee is fixed.

    Input shape:
        `(batch, frames, n_mels)`, mel power divided by the clip's level, >= 0.

    Output shape:
        Same as the input, float32; log power.

    Attributes:
        alpha: 1.
        beta: The knee.
        knee: Fraction of the clip's level, float32, shape `()`, or `(n_mels,)` with `per_band`.

    Raises:
        ValueError: If the knee is not a positive number in float32's range, the axis is the batch, or the factor is
            negative.

    Example:
        >>> import numpy as np
        >>> [round(float(x), 3) for x in np.ravel(RelativeKnee()(np.float32([[[0.0, 1.0, 100.0]]])))]
        [-4.605, 0.01, 4.605]
    """

    pointwise = True
    relative = True

    def __init__(
        self,
        *,
        knee: float = 1e-2,
        per_band: bool = False,
        axis: int = -1,
        learning_rate_factor: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._initial_knee = in_float32("knee", knee)
        self.knee_pre_gate: Any = math.log(self._initial_knee)  # until `build` makes it a weight
        self.per_band = bool(per_band)
        self.axis = band_axis(axis)
        self.learning_rate_factor = rate_factor(learning_rate_factor)

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

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "knee": self._initial_knee,
            "per_band": self.per_band,
            "axis": self.axis,
            "learning_rate_factor": self.learning_rate_factor,
        }
