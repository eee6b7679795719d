"""Power spectra for the mel store by SciPy's FFT, which takes a third to a half of the time of TensorFlow's."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from loglearn_tf.audio import Samples

# Bytes of frames that are transformed at once. What is larger than a core's cache takes twice as long.
_AT_ONCE = 1 << 18
# Frames whose power is held at once: more than most clips have, and 1 MB by default.
_HELD_FRAMES = 512
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
        self._hop_length = front.hop_length
        self._pad_mode = front.pad_mode
        self._parts: list[tuple[int, int]] = [(first, last) for first, last, _ in front.banks]
        self._window: npt.NDArray[Any] = front.window_samples()
        self._n_at_once = max(1, _AT_ONCE // self._window.nbytes)
        self._memory = _Memory(self._n_at_once, self._window, self._parts)

    def __call__(self, waveform: Samples) -> Iterator[list[Samples]]:
        """`(samples,)` float32 to power, a few frames at a time.

        Yields:
            `(frames, last - first)` float32 power for each of the front end's `banks`; valid until the next.
        """
        n_frames = 1 + len(waveform) // self._hop_length
        # Of equal length, since a product of a single frame would be rounded differently.
        n_blocks = -(-n_frames // _HELD_FRAMES)
        for block in range(n_blocks):
            begin, end = (n_frames * at // n_blocks for at in (block, block + 1))
            held = [part[: end - begin] for part in self._memory.power]
            # What float32 cannot hold becomes infinity, as in the layer; the store reports it with the file's name.
            with np.errstate(over="ignore", invalid="ignore"):
                for first in range(begin, end, self._n_at_once):
                    last = min(first + self._n_at_once, end)
                    self._transform(waveform, first, last, [part[first - begin : last - begin] for part in held])
            yield held

    def _transform(self, waveform: Samples, first: int, end: int, power: list[Samples]) -> None:
        """Writes the power of some frames."""
        frames = self._memory.frames[: end - first]
        # Only the first and last frames need padding, and so a copy of their samples.
        width = self._n_fft // 2
        inside = min(max(-(-width // self._hop_length), first), end)
        after = min(max((len(waveform) - width) // self._hop_length + 1, inside), end)
        for start, stop in ((first, inside), (inside, after), (after, end)):
            if start < stop:
                np.multiply(self._frames(waveform, start, stop), self._window, out=frames[start - first : stop - first])
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
        self.power = [_aligned(_HELD_FRAMES, last - first) for first, last in parts]


def _aligned(*shape: int) -> Samples:
    """An array that TensorFlow reads in place."""
    n_bytes = 4 * int(np.prod(shape))
    memory = np.empty(n_bytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + n_bytes].view(np.float32).reshape(shape)
