"""Per-channel energy normalisation."""

import math
from typing import Any

import keras
from keras import ops

from loglearn_tf.layers.compression.base import (
    Compression,
    add_number,
    band_axis,
    finite,
    in_float32,
    on_axis,
    rate_factor,
    scaled_gradient,
)


@keras.saving.register_keras_serializable(package="loglearn_tf")
class PCEN(Compression):
    """Per-channel energy normalisation, `(E / (eps + M) ** gain + bias) ** power - bias ** power`.

    `E = scale * mel`, and `M` is `E` smoothed over time by an exact first-order recursive filter, band by band:
    `M[t] = (1 - smoothing) * M[t - 1] + smoothing * E[t]`, starting with `M[0] = E[0]`. The filter is computed in
    `log2(frames)` steps, as a parallel prefix sum. Gain, bias and power are exponentials of the weights and
    so positive; smoothing is not learned.

    Fixed: `PCEN(trainable=False)`, named `pcen` in settings; learned: `pcen_learn`.

    Not pointwise: the output depends on earlier frames; in a patch, on those since its start.

    Args:
        gain, bias, power: Float > 0, initial values, no unit; alpha, delta and r in the paper.
        smoothing: Float in (0, 1], s in the paper; the default is a time constant of .4 s at 44.1 kHz and
            a hop of 1024 samples. See `smoothing_for`.
        eps: Float > 0, in units of scaled mel power.
        scale: Float > 0. By default 2 ** 31, which librosa's documentation applies to magnitudes of waveforms in
            [-1, 1]; eps is then a mel power of 4.7e-16, close to that of log-EPS. This is a choice of this package:
            papers and libraries use other scales, and the other arguments depend on it.
        per_band, axis, learning_rate_factor, **kwargs: See `LearnableLog`. With `axis=-2` the time is on
            the axis before it.

    Input shape:
        `(batch, frames, n_mels)`, mel power, >= 0.

    Output shape:
        Same as the input, float32.

    Raises:
        ValueError: If an argument is out of range; otherwise as for `LearnableLog`.

    Reference:
        Wang et al., Trainable frontend for robust and far-field keyword spotting, ICASSP 2017: formula, learned in the
        logarithmic domain, M starting with E. Lostanlen et al., Per-channel energy normalization: why and how, IEEE
        Signal Processing Letters 26, 2019: the values, which are librosa's.

    Example:
        >>> import numpy as np
        >>> tuple(PCEN()(np.zeros((1, 128, 128), "float32")).shape)
        (1, 128, 128)
    """

    def __init__(
        self,
        *,
        gain: float = 0.98,
        bias: float = 2.0,
        power: float = 0.5,
        smoothing: float = 0.05638943879134889,
        eps: float = 1e-6,
        scale: float = 2.0**31,
        per_band: bool = False,
        axis: int = -1,
        learning_rate_factor: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._gain, self._bias, self._power = (
            in_float32(name, value) for name, value in {"gain": gain, "bias": bias, "power": power}.items()
        )
        # Until `build` turns them into weights.
        self.log_gain: Any = math.log(self._gain)
        self.log_bias: Any = math.log(self._bias)
        self.log_power: Any = math.log(self._power)
        self.per_band = bool(per_band)
        self.axis = band_axis(axis)
        self.learning_rate_factor = rate_factor(learning_rate_factor)
        if not 0 < finite("smoothing", smoothing) <= 1:
            raise ValueError(f"`smoothing` must be greater than 0 and at most 1. Received: smoothing={smoothing!r}.")
        self.smoothing = float(smoothing)
        self.eps, self.scale = in_float32("eps", eps), in_float32("scale", scale)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if (self.axis if self.axis < 0 else self.axis - len(input_shape)) <= 1 - len(input_shape):
            raise ValueError(
                "Time must be on the axis before the mel bands and after the batch. Received: "
                f"axis={self.axis}, input_shape={tuple(input_shape)}. Put the frames before the bands."
            )
        self.log_gain = add_number(self, "log_gain", math.log(self._gain), input_shape)
        self.log_bias = add_number(self, "log_bias", math.log(self._bias), input_shape)
        self.log_power = add_number(self, "log_power", math.log(self._power), input_shape)
        self.built = True

    @staticmethod
    def smoothing_for(*, time_constant_s: float, sample_rate: int, hop_length: int) -> float:
        """The coefficient whose low-pass filter has its -3 dB point at `1 / (2 pi time_constant_s)`, as in librosa.

        Args:
            time_constant_s: Float > 0, seconds.
            sample_rate: Float > 0, Hz.
            hop_length: Float > 0, samples between frames.

        Raises:
            ValueError: If one of them is not a positive number.

        Example:
            >>> round(PCEN.smoothing_for(time_constant_s=0.4, sample_rate=44100, hop_length=1024), 4)
            0.0564
        """
        given = {"time_constant_s": time_constant_s, "sample_rate": sample_rate, "hop_length": hop_length}
        for name, value in given.items():
            in_float32(name, value)
        frames = time_constant_s * sample_rate / hop_length
        return (math.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)

    def compress(self, mel: Any) -> Any:
        gain, bias, power = (
            on_axis(ops.exp(scaled_gradient(number, self.learning_rate_factor)), mel, self.axis)
            for number in (self.log_gain, self.log_bias, self.log_power)
        )
        energy = self.scale * mel
        # Logarithms and expm1, as in librosa, to avoid differences of large, nearly equal numbers.
        loudness = math.log(self.eps) + ops.log1p(self._smoothed(energy) / self.eps)
        normalised = energy * ops.exp(-gain * loudness)
        return ops.power(bias, power) * ops.expm1(power * ops.log1p(normalised / bias))

    def _smoothed(self, energy: Any) -> Any:
        """`M`: after the step of length d, every frame has the filter's response to the last 2 d frames."""
        n_axes = len(energy.shape)
        time = (self.axis if self.axis < 0 else self.axis - n_axes) - 1 + n_axes
        frames = ops.shape(energy)[time]

        def along_time(start: int, end: Any) -> tuple[slice, ...]:
            return tuple(slice(start, end) if axis == time else slice(None) for axis in range(n_axes))

        smoothed = ops.concatenate(
            [energy[along_time(0, 1)], self.smoothing * energy[along_time(1, frames)]], axis=time
        )
        step, decay = 1, 1 - self.smoothing
        # A decay below 1e-38 is zero in float32, which bounds the number of steps if that of frames is unknown.
        while decay > 1e-38 and not (isinstance(frames, int) and step >= frames):
            padding = [[step if axis == time else 0, 0] for axis in range(n_axes)]
            smoothed = smoothed + decay * ops.pad(smoothed, padding)[along_time(0, frames)]
            step, decay = 2 * step, decay**2
        return smoothed

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "gain": self._gain,
            "bias": self._bias,
            "power": self._power,
            "smoothing": self.smoothing,
            "eps": self.eps,
            "scale": self.scale,
            "per_band": self.per_band,
            "axis": self.axis,
            "learning_rate_factor": self.learning_rate_factor,
        }
