"""Compressions of the mel power: log-EPS, the baseline, loglearn, whose logarithm is learned, and their kin."""

import functools
import math
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from loglearn_tf.layers.compression.power_counts import PowerCounts


class Compression(keras.layers.Layer):  # type: ignore[misc]
    """Base of all compressions: mel power in, a tensor of the same shape out.

    A subclass implements `compress`, registers itself with Keras, and joins `COMPRESSIONS` to be chosen by name.

    Computes in float32, input and output included, whatever the dtype policy. Mel power spans many orders of
    magnitude: float16 holds nothing above 65,504 and flushes everything below 6e-8 to zero, so the input is not
    autocast. Under a mixed policy the next layer casts the output.

    Args:
        check_input: For debugging: names the first value that is negative or not finite. Costs a pass over the input.
            Works eagerly on every backend, and in compiled functions on TensorFlow, except under XLA.
        **kwargs: `name`, `dtype`, `trainable`, for the base layer.

    Attributes:
        pointwise: Class attribute: whether every value of the output depends on the value at its place alone, with
            the same map for all frames. Clips are then scored without cutting patches. Not inherited: each class says
            so of itself.

    Raises:
        ValueError: With `check_input`, for a bad value, where eager.
    """

    pointwise = False

    def __init__(self, *, check_input: bool = False, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.check_input = bool(check_input)
        self.supports_masking = True

    def call(self, mel: Any) -> Any:
        mel = ops.cast(mel, "float32")
        return self.compress(_checked(mel, self.name) if self.check_input else mel)

    def compress(self, mel: Any) -> Any:
        """Float32 mel power to compressed mel power."""
        raise NotImplementedError

    def curve(self, power: Any) -> npt.NDArray[np.float32]:
        """What steady sounds of these powers become, in all bands and at all times alike; the median over bands.

        Args:
            power: `(n,)` mel power.

        Returns:
            `(n,)`.
        """
        axis, n_mels = self._bands()
        shape = [1] * (3 + max(0, -1 - axis) if axis < 0 else max(3, axis + 1))
        shape[0], shape[axis] = len(power), n_mels
        steady = np.reshape(np.asarray(power, np.float32), (-1, *[1] * (len(shape) - 1)))
        compressed = ops.convert_to_numpy(self(np.broadcast_to(steady, shape)))
        return np.asarray(np.median(compressed.reshape(len(power), -1), axis=1), np.float32)

    def _bands(self) -> tuple[int, int]:
        """Axis of the mel bands, and how many of them the input must have; 1 where that does not matter."""
        return -1, 1

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def compute_output_spec(self, mel: Any) -> keras.KerasTensor:
        return keras.KerasTensor(mel.shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "check_input": self.check_input}


class _Learned(Compression):
    """A compression with trained numbers, each one for all bands or one for every band.

    Args:
        initial: Name of a weight -> initial value. The layer's arguments of these names are saved with it.
        per_band, axis, learning_rate_factor: See `LearnableLog`.
    """

    def __init__(
        self,
        initial: Mapping[str, float],
        *,
        per_band: bool = False,
        axis: int = -1,
        learning_rate_factor: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._initial = {name: _finite(name, value) for name, value in initial.items()}
        if _finite("learning_rate_factor", learning_rate_factor) < 0:
            raise ValueError(
                f"`learning_rate_factor` must be at least 0. Received: learning_rate_factor={learning_rate_factor!r}."
            )
        self.per_band = bool(per_band)
        self.axis = _axis(axis)
        self.learning_rate_factor = float(learning_rate_factor)
        for name in self._initial:
            setattr(self, name, None)

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

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **self._initial,
            "per_band": self.per_band,
            "axis": self.axis,
            "learning_rate_factor": self.learning_rate_factor,
        }

    def _bands(self) -> tuple[int, int]:
        return self.axis, self.weights[0].shape[0] if self.per_band and self.built else 1

    def _value(self, name: str) -> Any:
        """The weight, or before `build` what it will start from; its gradient scaled by `learning_rate_factor`."""
        weight = getattr(self, name)
        value = ops.convert_to_tensor(self._initial[name] if weight is None else weight, dtype="float32")
        if self.learning_rate_factor == 1:
            return value
        fixed = ops.stop_gradient(value)
        # The difference is exactly zero: the value stays, its gradient is scaled.
        return fixed + self.learning_rate_factor * (value - fixed)


class _LearnedLog(_Learned):
    """A learned compression that is `log(alpha * mel + beta)`, however alpha and beta are made."""

    @property
    def alpha(self) -> Any:
        raise NotImplementedError

    @property
    def beta(self) -> Any:
        raise NotImplementedError

    @property
    def knee(self) -> Any:
        return self.beta / self.alpha

    def compress(self, mel: Any) -> Any:
        return _log_compress(mel, self.alpha, self.beta, self.axis)

    def folded(self) -> "Log":
        """The same compression with alpha and beta as constants, without gates or weights; what export uses."""
        alpha, beta = (ops.convert_to_numpy(value).tolist() for value in (self.alpha, self.beta))
        return Log(alpha=alpha, beta=beta, axis=self.axis, name=self.name)


class _Adaptable(_LearnedLog):
    """A learned logarithm whose knee can be put at a quantile of the data before it is trained.

    Args:
        quantile: Where `adapt` puts the knee; see `LearnableLog`.
    """

    def __init__(self, initial: Mapping[str, float], *, quantile: float | None = None, **kwargs: Any) -> None:
        super().__init__(initial, **kwargs)
        self.quantile = None if quantile is None else _share("quantile", quantile)

    def adapt(self, data: Any, *, quantile: float | None = None) -> None:
        """Puts the knee at a quantile of the mel power in `data`: of all of it, or with `per_band` of each band.

        Goes through the data once and keeps counts only, 256 KiB a band at most. To 1 %, the width of a count's
        interval; inside it values are taken to lie evenly.

        Args:
            data: An array of mel power with the bands on the layer's `axis`, as its input; or arrays one after another:
                a list, a generator, or a `tf.data.Dataset`. Of tuples, as `(patches, labels)`, the first is taken.
                Where `axis` counts from the end, as by default, the batch may be left out.
            quantile: Share of the mel power that is to lie below the knee, above 0 and below 1; by default the
                layer's own.

        Raises:
            ValueError: If there is no data, or a value is negative or not finite; if so much of it, or of a band, is
                zero that the quantile is; if the bands are not as many as the layer was built for.
        """
        quantile = self.quantile if quantile is None else _share("quantile", quantile)
        if quantile is None:
            raise ValueError(
                f"`quantile` must be given to `adapt`, or to layer `{self.name}`. Received: quantile=None. "
                "0.1 lets a tenth of the mel power lie below the knee."
            )
        counts: PowerCounts | None = None
        for mel in _arrays(data):
            if not self.built:
                self.build(mel.shape)
            if self.per_band:
                mel = np.moveaxis(mel, self.axis, -1)
            counts = counts or PowerCounts(self.beta.shape[0] if self.per_band else None)
            counts.add(mel)
        if counts is None or not counts.n:
            raise ValueError(f"`data` of `adapt` must hold mel power. Received: nothing, for layer `{self.name}`.")
        self._put_knee(counts.quantile(quantile))

    def _put_knee(self, knee: Any) -> None:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "quantile": self.quantile}


@keras.saving.register_keras_serializable(package="loglearn_tf")
class LearnableLog(_Adaptable):
    """Learnable logarithmic compression (loglearn), `log(alpha * mel + beta)`.

    `alpha = exp(alpha_pre_gate)` and `beta = softplus(beta_pre_gate)` keep both positive; the
    pre-gates are the only weights. Natural logarithm.

    Where batch normalisation follows, `log(alpha * mel + beta) = log(alpha) + log(mel + knee)` with
    `knee = beta / alpha`: the constant is normalised away, and only the knee can matter in training, and at test once
    the moving averages have settled (after 200 updates with a momentum of 0.99, 13 % of them is what they began with,
    and `log(alpha)` shifts what the network sees). Mel power well below the knee is flattened to a constant, power well
    above it is compressed as by a plain logarithm.

    How fast the knee can be learned follows from that. With `g` the gradient of the loss with respect to the knee,
    the gradients of the pre-gates `a` and `b` are `-knee * g` and `knee * g * r`, with
    `r = sigmoid(b) / softplus(b)`, .557 at the start. A step of gradient descent with learning rate `eta` so changes
    `ln(knee)`, which falls with `a` and rises by `r` with `b`, by `-eta * knee * g * (1 + r ** 2)`, 1.31 times what
    `LearnableKnee` moves; `learning_rate_factor` multiplies it. `knee * g` is the sum over all values of
    `dL/du * knee / (mel + knee)`, with `u` the output: values well above the knee have no say in it.

    Works on Keras' TensorFlow, JAX and PyTorch backends.

    Args:
        alpha_pre_gate: Float, initial value, no unit. 7.0 gives alpha = 1096.633.
        beta_pre_gate: Float, initial value, no unit. 1.0 gives beta = 1.31326. To begin from out-of-gate
            values, see `from_values`.
        per_band: Whether every mel band has its own pair.
        axis: Axis of the mel bands; -2 where channels follow them. Only matters with `per_band`.
        learning_rate_factor: Float >= 0, scales the gradients of the pre-gates, and with plain SGD so their
            learning rate. Optimisers that normalise gradients, as Adam, undo it. Where gradients are clipped to a
            global norm, scaled ones count in it: a large factor then slows all other weights in steps that are clipped.
        quantile: Where `adapt` puts the knee: the share of the mel power below it. Setting it adapts nothing by
            itself; the experiment's training does, to its training clips, where it is set.
        check_input: See `Compression`.
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
            axis of the input or has no fixed size; when called, if the number of bands is another.

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
        >>> layer.adapt(np.logspace(-8, 0, 1001).reshape(-1, 1), quantile=0.25)
        >>> round(float(np.log10(layer.knee)), 2)
        -6.0
    """

    pointwise = True

    def __init__(
        self,
        *,
        alpha_pre_gate: float = 7.0,
        beta_pre_gate: float = 1.0,
        per_band: bool = False,
        axis: int = -1,
        learning_rate_factor: float = 1.0,
        quantile: float | None = None,
        check_input: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            {"alpha_pre_gate": alpha_pre_gate, "beta_pre_gate": beta_pre_gate},
            per_band=per_band,
            axis=axis,
            learning_rate_factor=learning_rate_factor,
            quantile=quantile,
            check_input=check_input,
            **kwargs,
        )

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

    @property
    def alpha(self) -> Any:
        return ops.exp(self._value("alpha_pre_gate"))

    @property
    def beta(self) -> Any:
        return ops.softplus(self._value("beta_pre_gate"))

    def _put_knee(self, knee: Any) -> None:
        # Beta stays: alpha alone can put the knee anywhere, and beta then learns at its usual pace.
        self.alpha_pre_gate.assign(np.log(ops.convert_to_numpy(self.beta)) - np.log(knee))


@keras.saving.register_keras_serializable(package="loglearn_tf")
class LearnableKnee(_Adaptable):
    """Logarithmic compression with the knee alone to learn, `log(mel + knee)`, `knee = exp(knee_pre_gate)`.

    `LearnableLog` without what batch normalisation takes away; see there. With `g` the gradient of the loss with
    respect to the knee, a step of gradient descent changes `ln(knee)` by `-eta * knee * g`. Were the knee a weight
    itself, without a gate, it would be `-eta * g / knee`: 700,000 times as much at the usual start, and the knee could
    become negative.

    Args:
        knee: Float > 0, initial value, in units of mel power; that of `LearnableLog` by default.
        per_band, axis, learning_rate_factor, quantile, check_input, **kwargs: See `LearnableLog`.

    Input shape:
        `(batch, frames, n_mels)`, mel power, >= 0.

    Output shape:
        As the input, float32; log power.

    Attributes:
        alpha: 1.
        beta: The knee.
        knee: In units of mel power, float32, shape `()`, or `(n_mels,)` with `per_band`.

    Raises:
        ValueError: As `LearnableLog`.

    Example:
        >>> round(float(LearnableKnee(knee=1e-8).knee), 10)
        1e-08
    """

    pointwise = True

    def __init__(self, *, knee: float = math.log1p(math.e) * math.exp(-7), **kwargs: Any) -> None:
        super().__init__({"knee_pre_gate": math.log(_in_float32("knee", knee))}, **kwargs)
        self._knee = float(knee)

    @property
    def alpha(self) -> Any:
        return ops.ones_like(self.beta)

    @property
    def beta(self) -> Any:
        return ops.exp(self._value("knee_pre_gate"))

    def _put_knee(self, knee: Any) -> None:
        self.knee_pre_gate.assign(np.log(knee))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["knee_pre_gate"]
        return {**config, "knee": self._knee}


@keras.saving.register_keras_serializable(package="loglearn_tf")
class Log1p(_LearnedLog):
    """Learnable compression of magnitude, `log(1 + 10 ** a * mel)`.

    `LearnableLog` with beta fixed at 1: the knee is `10 ** -a`. In this base, a step of gradient descent moves
    `ln(knee)` by `ln(10) ** 2`, 5.3 times as much as `LearnableKnee`.

    Args:
        a: Float, initial value, no unit. 5.0 puts the knee at 1e-5.
        per_band, axis, learning_rate_factor, check_input, **kwargs: See `LearnableLog`.

    Input shape:
        `(batch, frames, n_mels)`, mel power, >= 0.

    Output shape:
        As the input, float32; log power, 0 for silence.

    Attributes:
        alpha: `10 ** a`, float32, shape `()`, or `(n_mels,)` with `per_band`.
        beta: 1.
        knee: `10 ** -a`, in units of mel power.

    Raises:
        ValueError: As `LearnableLog`.

    Reference:
        Schlueter and Lehner, Zero-mean convolutions for level-invariant singing voice detection, ISMIR 2018; with
        a = 5 and one a band in Schlueter and Gutenbrunner, EfficientLEAF, EUSIPCO 2022.
    """

    pointwise = True

    def __init__(self, *, a: float = 5.0, **kwargs: Any) -> None:
        super().__init__({"a": a}, **kwargs)

    @property
    def alpha(self) -> Any:
        return ops.power(10.0, self._value("a"))

    @property
    def beta(self) -> Any:
        return ops.ones_like(self.alpha)

    def compress(self, mel: Any) -> Any:
        return ops.log1p(_on_axis(self.alpha, mel, self.axis) * mel)


@keras.saving.register_keras_serializable(package="loglearn_tf")
class Power(_Learned):
    """Learnable power law, `mel ** sigmoid(a)`: the root-like compression of loudness.

    Args:
        a: Float, initial value, no unit. 0.0 gives the square root.
        per_band, axis, learning_rate_factor, check_input, **kwargs: See `LearnableLog`.

    Input shape:
        `(batch, frames, n_mels)`, mel power, >= 0.

    Output shape:
        As the input, float32; 0 for silence, where the gradient is 0, too, not infinite.

    Attributes:
        exponent: `sigmoid(a)`, float32, shape `()`, or `(n_mels,)` with `per_band`.

    Raises:
        ValueError: As `LearnableLog`.

    Reference:
        Stevens, On the psychophysical law, Psychological Review 64, 1957: loudness grows with sound power ** .3;
        learned, behind a sigmoid, in Schlueter and Lehner, ISMIR 2018 (see `Log1p`).
    """

    pointwise = True

    def __init__(self, *, a: float = 0.0, **kwargs: Any) -> None:
        super().__init__({"a": a}, **kwargs)

    @property
    def exponent(self) -> Any:
        return ops.sigmoid(self._value("a"))

    def compress(self, mel: Any) -> Any:
        # The logarithm of zero, and its gradient, must not be met even where they are not used.
        is_sound = mel != 0
        power = ops.power(ops.where(is_sound, mel, 1.0), _on_axis(self.exponent, mel, self.axis))
        return ops.where(is_sound, power, 0.0)


@keras.saving.register_keras_serializable(package="loglearn_tf")
class PCEN(_Learned):
    """Per-channel energy normalisation, `(E / (eps + M) ** gain + bias) ** power - bias ** power`.

    `E = scale * mel`, and `M` is `E` smoothed over time by an exact first-order recursive filter, band by band:
    `M[t] = (1 - smoothing) * M[t - 1] + smoothing * E[t]`, beginning with `M[0] = E[0]`. The filter is computed in
    `log2(frames)` steps, as a parallel prefix sum, not frame by frame. Gain, bias and power are exponentials of the
    weights, so positive; smoothing is not learned.

    Fixed: `PCEN(trainable=False)`, in settings `pcen`; learned: `pcen_learn`.

    Not pointwise: what comes out depends on the frames before, in a patch on those since its beginning.

    Args:
        gain, bias, power: Float > 0, initial values, no unit; alpha, delta and r in the paper.
        smoothing: Float above 0 and at most 1, s in the paper; the default is a time constant of .4 s at 44.1 kHz and
            a hop of 1024 samples. See `smoothing_for`.
        eps: Float > 0, in units of scaled mel power.
        scale: Float > 0. By 2 ** 31, which librosa's documentation applies to magnitudes of waveforms within [-1, 1];
            with it, eps is a mel power of 4.7e-16, not far from that of log-EPS. A choice of this package: papers and
            libraries scale otherwise, and the other values are not free of it.
        per_band, axis, learning_rate_factor, check_input, **kwargs: See `LearnableLog`. With `axis=-2` the time is on
            the axis before it.

    Input shape:
        `(batch, frames, n_mels)`, mel power, >= 0.

    Output shape:
        As the input, float32.

    Raises:
        ValueError: If an argument is out of its range; else as `LearnableLog`.

    Reference:
        Wang et al., Trainable frontend for robust and far-field keyword spotting, ICASSP 2017: formula, learned in the
        logarithmic domain, M beginning with E. Lostanlen et al., Per-channel energy normalization: why and how, IEEE
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
        **kwargs: Any,
    ) -> None:
        self._values = {
            name: _in_float32(name, value) for name, value in {"gain": gain, "bias": bias, "power": power}.items()
        }
        super().__init__({f"log_{name}": math.log(value) for name, value in self._values.items()}, **kwargs)
        if not 0 < _finite("smoothing", smoothing) <= 1:
            raise ValueError(f"`smoothing` must be above 0 and at most 1. Received: smoothing={smoothing!r}.")
        self.smoothing = float(smoothing)
        self.eps, self.scale = _in_float32("eps", eps), _in_float32("scale", scale)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if (self.axis if self.axis < 0 else self.axis - len(input_shape)) <= 1 - len(input_shape):
            raise ValueError(
                "The time must be on the axis before the mel bands, and after the batch. Received: "
                f"axis={self.axis}, input_shape={tuple(input_shape)}. Put the frames before the bands."
            )
        super().build(input_shape)

    @staticmethod
    def smoothing_for(*, time_constant_s: float, sample_rate: int, hop_length: int) -> float:
        """The coefficient whose low-pass filter has its -3 dB point at `1 / (2 pi time_constant_s)`, as in librosa.

        Example:
            >>> round(PCEN.smoothing_for(time_constant_s=0.4, sample_rate=44100, hop_length=1024), 4)
            0.0564
        """
        frames = time_constant_s * sample_rate / hop_length
        return (math.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)

    def compress(self, mel: Any) -> Any:
        gain, bias, power = (
            _on_axis(ops.exp(self._value(f"log_{name}")), mel, self.axis) for name in ("gain", "bias", "power")
        )
        energy = self.scale * mel
        # Logarithms and expm1, as librosa: no difference of large and nearly equal numbers.
        loudness = math.log(self.eps) + ops.log1p(self._smoothed(energy) / self.eps)
        normalised = energy * ops.exp(-gain * loudness)
        return ops.power(bias, power) * ops.expm1(power * ops.log1p(normalised / bias))

    def _smoothed(self, energy: Any) -> Any:
        """`M`: after the step of length d, every frame holds the filter's answer to the 2 d frames up to it."""
        n_axes = len(energy.shape)
        time = (self.axis if self.axis < 0 else self.axis - n_axes) - 1 + n_axes
        frames = ops.shape(energy)[time]

        def along_time(start: int, end: Any) -> tuple[slice, ...]:
            return tuple(slice(start, end) if axis == time else slice(None) for axis in range(n_axes))

        smoothed = ops.concatenate(
            [energy[along_time(0, 1)], self.smoothing * energy[along_time(1, frames)]], axis=time
        )
        step, decay = 1, 1 - self.smoothing
        # A decay below 1e-38 is none in float32: so the number of steps is bounded where that of frames is not known.
        while decay > 1e-38 and not (isinstance(frames, int) and step >= frames):
            padding = [[step if axis == time else 0, 0] for axis in range(n_axes)]
            smoothed = smoothed + decay * ops.pad(smoothed, padding)[along_time(0, frames)]
            step, decay = 2 * step, decay**2
        return smoothed

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in self._initial:
            del config[name]
        return {**config, **self._values, "smoothing": self.smoothing, "eps": self.eps, "scale": self.scale}


@keras.saving.register_keras_serializable(package="loglearn_tf")
class Log(Compression):
    """Logarithmic compression with fixed alpha and beta, `log(alpha * mel + beta)`; no weights.

    Args:
        alpha: Float > 0, or a list with one for every mel band.
        beta: Float > 0, or a list with one for every mel band.
        axis: Axis of the mel bands; only matters with lists.
        **kwargs: `check_input` (see `Compression`); `name`, `dtype`, for the base layer.

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

    def _bands(self) -> tuple[int, int]:
        return self.axis, max(len(value) if isinstance(value, list) else 1 for value in self._values.values())

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
class LogEps(Compression):
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

    pointwise = True

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
class NoCompression(Compression):
    """The identity: for mel spectrograms that are compressed already, or as a control.

    Input shape:
        Any.

    Output shape:
        As the input, float32.
    """

    pointwise = True

    def compress(self, mel: Any) -> Any:
        return mel


# Name in settings, run folders and results -> layer with its published defaults.
COMPRESSIONS: dict[str, Callable[..., Compression]] = {
    "loglearn": LearnableLog,
    "loglearn_per_band": functools.partial(LearnableLog, per_band=True),
    "loglearn_adapted": functools.partial(LearnableLog, quantile=0.1),
    "loglearn_knee": LearnableKnee,
    "logeps": LogEps,
    "log": Log,
    "log1p_learn": Log1p,
    "power": Power,
    "pcen": functools.partial(PCEN, trainable=False),
    "pcen_learn": PCEN,
    "none": NoCompression,
}


def build_compression(compression: "str | keras.layers.Layer", **arguments: Any) -> keras.layers.Layer:
    """Returns the layer of that name, or the layer itself where one is given.

    Args:
        compression: A name in `COMPRESSIONS`, or any layer.
        **arguments: For the layer of that name, instead of its defaults.

    Raises:
        ValueError: If no compression has that name, or it does not take these arguments.

    Example:
        >>> build_compression("log1p_learn", a=4.0, name="log_learn").name
        'log_learn'
    """
    if isinstance(compression, keras.layers.Layer) and not arguments:
        return compression
    if not isinstance(compression, str) or compression not in COMPRESSIONS:
        raise ValueError(
            f"`compression` must be a Keras layer or one of {sorted(COMPRESSIONS)}. "
            f"Received: compression={compression!r}{f' with arguments {arguments}' if arguments else ''}."
        )
    try:
        return COMPRESSIONS[compression](**{"name": compression, **arguments})
    except (TypeError, ValueError) as error:
        raise ValueError(f"Compression {compression} does not take {arguments}: {error}") from error


def _log_compress(mel: Any, alpha: Any, beta: Any, axis: int) -> Any:
    """`log(alpha * mel + beta)`, one pair for all, or one for each band on `axis`."""
    return ops.log(_on_axis(alpha, mel, axis) * mel + _on_axis(beta, mel, axis))


def _on_axis(value: Any, mel: Any, axis: int) -> Any:
    """One number, or `(n_mels,)` shaped so that it meets the bands of `mel`, which are on `axis`."""
    if not len(value.shape):
        return value
    n_mels = mel.shape[axis]
    if n_mels not in (None, value.shape[0]):
        raise ValueError(
            f"The number of mel bands must stay what the compression was built for: {value.shape[0]}. Received: "
            f"{n_mels} bands on axis {axis}. Build a new layer for them, or use one value for all (`per_band=False`)."
        )
    after = -1 - axis if axis < 0 else len(mel.shape) - 1 - axis
    return ops.reshape(value, (*value.shape, *[1] * after)) if after else value


def _arrays(data: Any) -> Iterator[npt.NDArray[np.float32]]:
    """The arrays of a data set, one after another."""
    is_array = hasattr(data, "shape") and hasattr(data, "dtype")
    for item in [data] if is_array else data:
        mel = np.asarray(ops.convert_to_numpy(item[0] if isinstance(item, (tuple, list)) else item), dtype=np.float32)
        if mel.ndim < 2:
            raise ValueError(f"`data` of `adapt` must have the shape (..., n_mels). Received: shape {mel.shape}.")
        yield mel


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


def _share(name: str, value: Any) -> float:
    if not 0 < _finite(name, value) < 1:
        raise ValueError(f"`{name}` must be above 0 and below 1. Received: {name}={value!r}.")
    return float(value)


def _in_float32(name: str, value: Any) -> float:
    # From its smallest normal number, below which hardware may read zero, to its largest.
    if not 1.18e-38 <= _finite(name, value) <= 3.4e38:
        raise ValueError(f"`{name}` must be above 0, from 1.18e-38 to 3.4e38 (float32). Received: {name}={value!r}.")
    return float(value)


def _finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"`{name}` must be a finite number. Received: {name}={value!r}.")
    return float(value)
