"""Power spectra for the mel store by SciPy's FFT, which takes a third to a half of the time of TensorFlow's."""

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from loglearn_tf.audio import Samples

# Bytes of frames that are transformed at once. What is larger than a core's cache takes twice as long.
_AT_ONCE = 1 << 18
# Bytes of power that are held at once: by default 1,010 frames, as of six clips of 4 s.
_HELD = 1 << 21
# Bytes: TensorFlow copies arrays that do not start at a multiple.
_ALIGNMENT = 64


class PowerSpectrum:
    """The first half of `MelSpectrogram`, up to the squared magnitudes, outside of TensorFlow's graph.

    Values equal the layer's to the rounding of its `fft_dtype`; the layer is the reference. Safe to call from many
    threads.

    Args:
        front: Whose frames, window, padding and groups of bands to use; must be built.
    """

    def __init__(self, front: Any) -> None:
        self._n_fft = front.n_fft
        self._hop_length: int = front.hop_length
        self._pad_mode = front.pad_mode
        self._parts: list[tuple[int, int]] = [(first, last) for first, last, _ in front.banks]
        self._window: npt.NDArray[Any] = front.window_samples()
        self._n_at_once = max(1, _AT_ONCE // self._window.nbytes)
        self._memory = _Memory(self._n_at_once, self._window, self._parts)

    def n_frames(self, waveform: Samples) -> int:
        """The number of frames of a waveform."""
        return 1 + len(waveform) // self._hop_length

    def __call__(self, waveforms: Iterable[Samples]) -> Iterator[tuple[list[Samples], int]]:
        """Float32 waveforms, `(samples,)` each, to the power of all their frames, one after the other, in blocks.

        Each waveform is transformed before the next is asked for.

        Yields:
            `(frames, last - first)` float32 power for each of the front end's `banks`, and how many of its frames
            count; valid until the next.
        """
        power, n_held = self._memory.power, 0
        for waveform in waveforms:
            first, n_frames = 0, self.n_frames(waveform)
            while first < n_frames:
                end = min(first + self._n_at_once, first + len(power[0]) - n_held, n_frames)
                self._transform(waveform, first, end, [part[n_held : n_held + end - first] for part in power])
                n_held += end - first
                first = end
                if n_held == len(power[0]):
                    yield power, n_held
                    n_held = 0
        if n_held:
            # At least two, since a product with a single row may be rounded differently.
            yield [part[: max(n_held, 2)] for part in power], n_held

    def _transform(self, waveform: Samples, first: int, end: int, power: list[Samples]) -> None:
        """Writes the power of some frames."""
        frames = self._memory.frames[: end - first]
        # Only the first and last frames need padding, and so a copy of their samples.
        width = self._n_fft // 2
        inside = min(max(-(-width // self._hop_length), first), end)
        after = min(max((len(waveform) - width) // self._hop_length + 1, inside), end)
        # What float32 cannot hold becomes infinity, as in the layer; the store reports it with the file's name.
        with np.errstate(over="ignore", invalid="ignore"):
            for start, stop in ((first, inside), (inside, after), (after, end)):
                if start < stop:
                    some = frames[start - first : stop - first]
                    np.multiply(self._frames(waveform, start, stop), self._window, out=some)
            # In the window's precision. One thread: the store computes several clips side by side.
            spectrum = scipy.fft.rfft(frames, axis=-1, workers=1, overwrite_x=True)
            squares = spectrum.view(self._window.dtype).reshape(*spectrum.shape, 2)
            np.square(squares, out=squares)
            for (low, high), part in zip(self._parts, power, strict=True):
                np.add(squares[:, low:high, 0], squares[:, low:high, 1], out=part, casting="same_kind")

    def _frames(self, waveform: Samples, first: int, end: int) -> Samples:
        """`(end - first, n_fft)`, of a waveform that is padded at either end; a copy only where padding is in it."""
        n_samples, width = len(waveform), self._n_fft // 2
        start = first * self._hop_length - width
        stop = (end - 1) * self._hop_length + width
        # Reflection reads as many samples as it writes, and one more.
        low = max(min(start, n_samples - width - 1), 0) if stop > n_samples else max(start, 0)
        high = max(stop, width + 1) if start < 0 else stop
        samples = waveform[low:high]
        if start < 0 or stop > n_samples:
            samples = np.pad(samples, (max(-start, 0), max(stop - n_samples, 0)), mode=self._pad_mode)
        samples = samples[max(start - low, 0) :][: stop - start]
        # Not `sliding_window_view`, which takes longer than the arithmetic.
        step = samples.strides[0]
        return np.ndarray((end - first, self._n_fft), samples.dtype, samples, strides=(self._hop_length * step, step))


class _Memory(threading.local):
    """Arrays of one thread, used again for each clip: new memory costs as much as the transform, page by page."""

    def __init__(self, n_at_once: int, window: npt.NDArray[Any], parts: list[tuple[int, int]]) -> None:
        self.frames = np.empty((n_at_once, len(window)), window.dtype)
        n_held = max(2, _HELD // (4 * sum(last - first for first, last in parts)))
        self.power = [_aligned(n_held, last - first) for first, last in parts]


def _aligned(*shape: int) -> Samples:
    """An array that TensorFlow reads in place."""
    n_bytes = 4 * int(np.prod(shape))
    memory = np.zeros(n_bytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + n_bytes].view(np.float32).reshape(shape)
