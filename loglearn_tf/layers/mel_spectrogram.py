"""The mel front end: from waveform to mel power, as in librosa, inside the graph."""

import numbers
import warnings
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from loglearn_tf.layers.keras_2 import refuse_keras_2
from loglearn_tf.layers.waveform import check_waveform

_PAD_MODES = ("reflect", "constant")
_MEL_SCALES = ("slaney", "htk")
_NORMS = ("slaney", None)
# Window -> its coefficients: w[n] = a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N), SciPy's values.
_WINDOWS = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46), "blackman": (0.42, 0.5, 0.08), "ones": (1.0,)}


@keras.saving.register_keras_serializable(package="loglearn_tf")
class MelSpectrogram(keras.layers.Layer):  # type: ignore[misc]
    """Mel spectrogram: mel-weighted power as in librosa, before any logarithm.

    Centred STFT with a periodic window (`tf.signal`), squared magnitude, librosa's filter bank.
    `tf.signal.linear_to_mel_weight_matrix` is not used: it is HTK-scaled and unnormalised, and makes white noise about
    115 times louder. Computes in float32 or more, including input and output, whatever the dtype policy.

    Args:
        sample_rate: Sample rate of the waveform, Hz.
        n_fft: FFT size, samples; even.
        win_length: Length of the window, samples, at most `n_fft`; `None` for `n_fft`. A shorter
            window is centred in the frame, with zeros around it.
        hop_length: Samples between frames.
        window: `"hann"`, `"hamming"`, `"blackman"` or `"ones"`, periodic, as in
            `scipy.signal.get_window`.
        n_mels: Number of mel bands.
        f_min: Lowest frequency of the filter bank, Hz.
        f_max: Highest, Hz; `None` for `sample_rate / 2`.
        mel_scale: `"slaney"`, linear up to 1 kHz and logarithmic above (librosa's default, used by the
            reference), or `"htk"`, `2595 log10(1 + f / 700)`.
        norm: `"slaney"`, every filter of area 1 in Hz (librosa's default, used by the reference), or
            `None`, every filter of height 1.
        pad_mode: `"reflect"` (the default of librosa 0.6.2, used by the reference) or `"constant"` (zeros,
            librosa's current default). Pads `n_fft // 2` samples at either end.
        fft_dtype: `"float64"`, as in the reference pipeline, or `"float32"`. In float32,
            rounding adds a noise floor of about 1e-14 of the frame's power, which log-EPS makes visible
            in bands without content: half a decade on band-limited recordings, more for pure tones.
        **kwargs: `name`, `dtype`, `trainable`, for the base layer.

    Input shape:
        `(batch, samples)` or `(samples,)`, float, in [-1, 1], at least one sample. Integers are refused, since unscaled
        16-bit samples would be a billion times as powerful. A functional model, however, casts its input to the type of
        its `keras.Input` before any layer sees it; `clip_classifier` therefore refuses integers itself. Louder
        waveforms are valid: power grows with the square of the gain and is finite up to samples of 1e15. Power below
        1e-38 becomes 0, like silence. In frames that contain NaN or infinity, NaN stays NaN and infinity becomes
        infinity or NaN.

    Output shape:
        `(batch, frames, n_mels)`, or `(frames, n_mels)` for one waveform; float32, mel power, >= 0,
        with `frames = 1 + samples // hop_length`.

    Raises:
        ValueError: If an argument is out of range, or the input has the wrong shape or is not floating-point.
        ImportError: If TensorFlow is not installed.

    Warns:
        UserWarning: When built, if a band covers no FFT bin and so is zero for every sound; when called with a NumPy
            array of samples far outside [-1, 1], such as integers that were cast without scaling.

    Reference:
        Reference code, `src/preprocess.py` (librosa 0.6.2 `melspectrogram`); the difference is at most 1e-4 of a clip's
        maximum; docs/fidelity.md, "Front end".

    Example:
        >>> tuple(MelSpectrogram()(np.zeros((1, 176_400), "float32")).shape)
        (1, 173, 128)
    """

    def __init__(
        self,
        *,
        sample_rate: int = 44_100,
        n_fft: int = 1024,
        win_length: int | None = None,
        hop_length: int = 1024,
        window: str = "hann",
        n_mels: int = 128,
        f_min: float = 0.0,
        f_max: float | None = None,
        mel_scale: str = "slaney",
        norm: str | None = "slaney",
        pad_mode: str = "reflect",
        fft_dtype: str = "float64",
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        for name, value in (
            ("sample_rate", sample_rate),
            ("n_fft", n_fft),
            ("win_length", n_fft if win_length is None else win_length),
            ("hop_length", hop_length),
            ("n_mels", n_mels),
        ):
            if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
        if n_fft % 2:
            # A centred frame has equally many samples on either side; tf.signal's periodic window is also even.
            raise ValueError(f"`n_fft` must be even. Received: n_fft={n_fft!r}.")
        if win_length is not None and win_length > n_fft:
            raise ValueError(
                f"`win_length` must be at most `n_fft`. Received: win_length={win_length!r}, n_fft={n_fft!r}."
            )
        for name, limit in (("f_min", f_min), ("f_max", 0.0 if f_max is None else f_max)):
            if isinstance(limit, bool) or not isinstance(limit, numbers.Real):
                raise ValueError(f"`{name}` must be a number. Received: {name}={limit!r}.")
        nyquist_hz = sample_rate / 2
        if not 0 <= f_min < (nyquist_hz if f_max is None else f_max) <= nyquist_hz:
            raise ValueError(
                f"`f_min` and `f_max` must satisfy 0 <= f_min < f_max <= sample_rate / 2 = {nyquist_hz:g} Hz. "
                f"Received: f_min={f_min!r}, f_max={f_max!r}."
            )
        for name, choice, choices in (
            ("window", window, tuple(_WINDOWS)),
            ("mel_scale", mel_scale, _MEL_SCALES),
            ("norm", norm, _NORMS),
            ("pad_mode", pad_mode, _PAD_MODES),
        ):
            if choice not in choices:
                raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={choice!r}.")
        if fft_dtype not in ("float32", "float64"):
            raise ValueError(f"`fft_dtype` must be 'float32' or 'float64'. Received: fft_dtype={fft_dtype!r}.")
        self.sample_rate = int(sample_rate)
        self.n_fft = int(n_fft)
        self.win_length = None if win_length is None else int(win_length)
        self.hop_length = int(hop_length)
        self.window = window
        self.n_mels = int(n_mels)
        self.f_min = float(f_min)
        self.f_max = None if f_max is None else float(f_max)
        self.mel_scale = mel_scale
        self.norm = norm
        self.pad_mode = pad_mode
        self.fft_dtype = fft_dtype

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        _check_shape(input_shape)
        bank = mel_filter_bank(
            sample_rate=self.sample_rate,
            n_fft=self.n_fft,
            n_mels=self.n_mels,
            f_min=self.f_min,
            f_max=self.f_max,
            mel_scale=self.mel_scale,
            norm=self.norm,
        )
        # For each group of neighbouring bands the first FFT bin, the one after the last, and the weights between them.
        self.banks = _without_zeros(bank)
        self.built = True

    def __call__(self, waveform: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_keras_2(self, waveform)
        check_waveform(waveform)  # as given, before Keras converts it to a tensor of its default type
        return super().__call__(waveform, *args, **kwargs)

    def call(self, waveform: Any) -> Any:
        # Imported here: the compressions in this package also run with Keras on JAX and PyTorch, where TensorFlow may
        # be missing.
        import tensorflow as tf

        waveform = tf.convert_to_tensor(waveform)
        # `build` sees only the shape of the first call.
        if waveform.shape.rank is not None:
            _check_shape(tuple(waveform.shape))
        if waveform.shape.rank == 1:
            return self.call(waveform[tf.newaxis])[0]
        dtype = tf.as_dtype(self.fft_dtype)
        waveform = _pad(tf, waveform, self.n_fft // 2, self.hop_length, self.pad_mode)
        frames = tf.cast(_frames(tf, waveform, self.n_fft, self.hop_length), dtype)
        frames *= _window(tf, self.window, self.win_length or self.n_fft, self.n_fft, dtype)
        return self.mel(tf.cast(self.power(frames), tf.float32))

    def power(self, frames: Any) -> Any:
        """Squared magnitude of the Fourier transform: from `(..., n_fft)` frames to `(..., n_fft // 2 + 1)`."""
        import tensorflow as tf

        spectrum = tf.signal.rfft(frames)
        # Not tf.abs(...) ** 2: its guarded square root costs more than the transform.
        return tf.math.real(spectrum) ** 2 + tf.math.imag(spectrum) ** 2

    def mel(self, power: Any) -> Any:
        """The filter bank: `(batch, frames, n_fft // 2 + 1)` float32 power to `(batch, frames, n_mels)`.

        The layer must be built.
        """
        import tensorflow as tf

        n_frames = tf.shape(power)[1]
        power = tf.reshape(power, [-1, self.n_fft // 2 + 1])
        mel = [tf.matmul(power[:, first:last], tf.constant(bank)) for first, last, bank in self.banks]
        return tf.reshape(tf.concat(mel, axis=1), [-1, n_frames, self.n_mels])

    def window_samples(self) -> npt.NDArray[Any]:
        """`(n_fft,)` in `fft_dtype`: what each frame is multiplied by."""
        import tensorflow as tf

        dtype = tf.as_dtype(self.fft_dtype)
        window: npt.NDArray[Any] = np.array(_window(tf, self.window, self.win_length or self.n_fft, self.n_fft, dtype))
        return window

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        *batch, samples = input_shape
        return (*batch, None if samples is None else 1 + samples // self.hop_length, self.n_mels)

    def compute_output_spec(self, waveform: Any) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(waveform.shape), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "sample_rate": self.sample_rate,
            "n_fft": self.n_fft,
            "win_length": self.win_length,
            "hop_length": self.hop_length,
            "window": self.window,
            "n_mels": self.n_mels,
            "f_min": self.f_min,
            "f_max": self.f_max,
            "mel_scale": self.mel_scale,
            "norm": self.norm,
            "pad_mode": self.pad_mode,
            "fft_dtype": self.fft_dtype,
        }


def _check_shape(shape: tuple[int | None, ...]) -> None:
    if len(shape) not in (1, 2) or shape[-1] == 0:
        remedy = " Pass one channel, or the mean of all." if len(shape) > 2 else ""
        raise ValueError(
            "The input must have the shape (batch, samples) or (samples,), with at least one sample. Received: "
            f"{shape}.{remedy}"
        )


def mel_filter_bank(
    *,
    sample_rate: int,
    n_fft: int,
    n_mels: int,
    f_min: float,
    f_max: float | None,
    mel_scale: str = "slaney",
    norm: str | None = "slaney",
) -> npt.NDArray[np.float32]:
    """librosa's filter bank: triangles evenly spaced on a mel scale.

    Reimplemented bit for bit, since importing librosa takes a second and writes a cache of compiled code.

    Args:
        sample_rate, n_fft, n_mels, f_min, f_max, mel_scale, norm: See `MelSpectrogram`.

    Returns:
        `(n_fft // 2 + 1, n_mels)` float32; to multiply power from the right.

    Warns:
        UserWarning: If a band covers no FFT bin and so is zero for every sound.

    Reference:
        librosa 0.11, `filters.mel`; Slaney, Auditory Toolbox, 1998; Young et al., The HTK Book.
    """
    lowest, highest = (_hz_to_mel(hz, mel_scale) for hz in (f_min, sample_rate / 2 if f_max is None else f_max))
    edges = _mel_to_hz(np.linspace(lowest, highest, n_mels + 2), mel_scale)
    distance = np.subtract.outer(edges, np.fft.rfftfreq(n_fft, 1 / sample_rate))  # Hz, (n_mels + 2, bins)
    width = np.diff(edges)[:, np.newaxis]
    bank = np.maximum(0, np.minimum(-distance[:-2] / width[:-1], distance[2:] / width[1:])).astype(np.float32)
    if norm == "slaney":
        bank *= (2 / (edges[2:] - edges[:-2]))[:, np.newaxis]
    # A filter that starts at 0 Hz may be empty, as in librosa.
    empty = np.flatnonzero((edges[:-2] > 0) & ~bank.any(axis=1))
    if empty.size:
        warnings.warn(
            f"Empty filters: {empty.size} of {n_mels} mel bands, the first is band {empty[0]}, cover no FFT bin and "
            "are zero for every sound. Use a larger `n_fft`, fewer `n_mels`, or a higher `f_min`.",
            stacklevel=2,
        )
    return np.ascontiguousarray(bank.T)


# The Slaney scale is linear up to here, 3 mel for 200 Hz, and logarithmic above, 27 mel for a factor of 6.4.
_BREAK_HZ = 1000.0
_HZ_PER_MEL = 200.0 / 3
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27  # NumPy's logarithms, as in librosa: those of `math` differ in the last bit


def _hz_to_mel(hz: float, scale: str) -> float:
    if scale == "htk":
        return float(2595 * np.log10(1 + hz / 700))
    return hz / _HZ_PER_MEL if hz < _BREAK_HZ else float(_BREAK_MEL + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _mel_to_hz(mel: npt.NDArray[np.float64], scale: str) -> npt.NDArray[np.float64]:
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, _HZ_PER_MEL * mel, above)


def _window(tf: Any, name: str, length: int, n_fft: int, dtype: Any) -> Any:
    """A periodic window centred in `n_fft` samples."""
    if name == "hann" and not length % 2:
        window = tf.signal.hann_window(length, dtype=dtype)  # for odd lengths it would be symmetric
    else:
        turn = 2 * np.pi * np.arange(length) / length
        terms = [(-1) ** k * a * np.cos(k * turn) for k, a in enumerate(_WINDOWS[name])]
        window = tf.constant(np.sum(terms, axis=0) if length > 1 else np.ones(1), dtype)
    before = (n_fft - length) // 2
    return tf.pad(window, [[before, n_fft - length - before]]) if length < n_fft else window


def _without_zeros(bank: npt.NDArray[np.float32], n_parts: int = 4) -> list[tuple[int, int, npt.NDArray[np.float32]]]:
    """A filter bank split into groups of neighbouring bands, each with its first bin and the bin after its last.

    Bands are narrow: 98 % of the filter bank are zeros, and multiplying them takes as long as the Fourier transform.
    """
    parts = []
    for part in np.array_split(bank, min(n_parts, bank.shape[1]), axis=1):
        covered = np.flatnonzero(part.any(axis=1))
        first, last = (int(covered[0]), int(covered[-1]) + 1) if covered.size else (0, 1)
        parts.append((first, last, np.ascontiguousarray(part[first:last])))
    return parts


def _frames(tf: Any, waveform: Any, n_fft: int, hop_length: int) -> Any:
    """`(batch, samples)` to `(batch, frames, n_fft)`."""
    if n_fft % hop_length:
        return tf.signal.frame(waveform, n_fft, hop_length)
    # Without gathering: whole hops next to the following ones.
    overlap = n_fft // hop_length
    n_hops = tf.shape(waveform)[1] // hop_length
    hops = tf.reshape(waveform[:, : n_hops * hop_length], [-1, n_hops, hop_length])
    if overlap == 1:
        return hops
    return tf.concat([hops[:, at : n_hops - overlap + 1 + at] for at in range(overlap)], axis=2)


def _pad(tf: Any, waveform: Any, width: int, hop_length: int, mode: str) -> Any:
    """Pads `(batch, samples)` with `width` samples at the start, and at the end with as many as the last frame needs.

    Reflection is as in NumPy, even if `samples <= width`.
    """
    samples = tf.shape(waveform)[1]
    # Less than `width` if the waveform continues beyond the last whole hop; if negative, its end is not needed.
    needed = width - samples % hop_length
    inside = waveform[:, : samples + tf.minimum(needed, 0)]
    needed = tf.maximum(needed, 0)
    if mode == "constant":
        return tf.pad(inside, [[0, 0], [width, needed]])
    # tf.pad's REFLECT refuses waveforms of at most `width` samples; NumPy and librosa keep reflecting back and forth,
    # as reading at these positions does.
    last = samples - 1
    period = tf.maximum(2 * last, 1)
    left = tf.range(width, 0, -1) % period
    right = (last + tf.range(1, needed + 1)) % period
    edges = [tf.gather(waveform, tf.minimum(at, 2 * last - at), axis=1) for at in (left, right)]
    return tf.concat([edges[0], inside, edges[1]], axis=1)
