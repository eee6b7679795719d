"""The logarithmic compression with fixed alpha and beta."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from loglearn_tf.layers.compression.base import Compression, band_axis, log_compress, positive


@keras.saving.register_keras_serializable(package="loglearn_tf")
class Log(Compression):
    """Logarithmic compression with fixed alpha and beta, `log(alpha * mel + beta)`; no weights.

    Args:
        alpha: Float > 0, or a list with one per mel band.
        beta: Float > 0, or a list with one per mel band.
        axis: Axis of the mel bands; only used with lists.
        **kwargs: `check_input` (see `Compression`); `name`, `dtype`, for the base layer.

    Input shape:
        `(..., n_mels)`, mel power, >= 0.

    Output shape:
        Same as the input, float32; log power.

    Attributes:
        knee: `beta / alpha`, in units of mel power.

    Raises:
        ValueError: If alpha or beta is not a number between 1.18e-38 and 3.4e38, float32's range; when built, if a list
            does not have one number per band.

    Reference:
        Dieleman and Schrauwen, End-to-end learning for music audio, ICASSP 2014.

    Example:
        >>> import numpy as np
        >>> round(float(Log()(np.ones((1, 1)))[0, 0]), 4)
        9.2104
    """

    pointwise = True

    def __init__(
        self,
        *,
        alpha: float | Sequence[float] = 10_000.0,
        beta: float | Sequence[float] = 1.0,
        axis: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._values = {"alpha": positive("alpha", alpha), "beta": positive("beta", beta)}
        self.axis = band_axis(axis)
        lengths = [len(value) for value in self._values.values() if isinstance(value, list)]
        self.n_bands = max(lengths) if lengths else None
        self.per_band = self.n_bands is not None

    @classmethod
    def as_it_is(cls, layer: Any) -> "Log":
        """A copy of a learned logarithm with its current values, without gates and weights.

        Args:
            layer: A layer with `alpha`, `beta`, `axis` and `name`.
        """
        alpha, beta = (ops.convert_to_numpy(value).tolist() for value in (layer.alpha, layer.beta))
        return cls(alpha=alpha, beta=beta, axis=layer.axis, name=layer.name)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        n_axes = len(input_shape)
        for name, value in self._values.items():
            if isinstance(value, list) and (not -n_axes < self.axis < n_axes or len(value) != input_shape[self.axis]):
                raise ValueError(
                    f"`{name}` must have one number per mel band. Received: {len(value)} numbers, "
                    f"axis={self.axis}, input_shape={tuple(input_shape)}."
                )
        self.built = True

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
        return log_compress(mel, self.alpha, self.beta, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._values, "axis": self.axis}
