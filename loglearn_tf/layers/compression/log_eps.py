"""log-EPS, the baseline: the fixed logarithm of the reference experiment."""

from typing import Any

import keras
from keras import ops

from loglearn_tf.layers.compression.base import Compression, finite


@keras.saving.register_keras_serializable(package="loglearn_tf")
class LogEps(Compression):
    """Fixed logarithmic compression (log-EPS), `log10(mel + eps)`: the baseline.

    Args:
        eps: Float > 0, in units of mel power. The default is float64's machine epsilon, as in the
            reference code; float32's, 1.19e-7, is another baseline.
        **kwargs: `check_input` (see `Compression`); `name`, `dtype`, `trainable`, for the base layer.

    Input shape:
        `(..., n_mels)`, mel power, >= 0.

    Output shape:
        Same as the input, float32; base-10 logarithm of power.

    Raises:
        ValueError: If `eps` is not a positive finite number, or too small for float32.

    Reference:
        Reference code, `src/sl_train.py`, `np.log10(x + np.finfo(float).eps)`.

    Example:
        >>> import numpy as np
        >>> LogEps()(np.array([0.0, 1.0, 100.0], "float32")).numpy().astype(float).round(2).tolist()
        [-15.65, 0.0, 2.0]
    """

    pointwise = True

    def __init__(self, *, eps: float = 2.220446049250313e-16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # 1.18e-38: float32's smallest normal number; anything smaller would be added as zero.
        if finite("eps", eps) < 1.18e-38:
            raise ValueError(f"`eps` must be at least 1.18e-38, float32's smallest number. Received: eps={eps!r}.")
        self.eps = float(eps)

    def compress(self, mel: Any) -> Any:
        return ops.log10(mel + self.eps)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "eps": self.eps}
