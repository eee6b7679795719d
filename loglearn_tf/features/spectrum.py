"""Power spectra for the mel store by SciPy's FFT, which takes a third to a half of the time of TensorFlow's."""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from loglearn_tf.audio import Samples

# Bytes of frames that are transformed at once. What is larger than a core's cache takes twice as long: its memory is
# new each time, and the system hands it out page by page.
_AT_ONCE = 1 << 18


class PowerSpectrum:
    """The first half of `MelSpectrogram`, up to the squared magnitudes, outside of TensorFlow's graph.

    Values equal the layer's to the rounding of its `fft_dtype`; the layer is the reference. Safe to call from many
    threads.

    Args:
        front: Whose frames, window and padding to use.
    """

    def __init__(self, front: Any) -> None:
        self._n_fft = front.n_fft
        self._hop_length = front.hop_length
        self._pad_mode = front.pad_mode
        self._window: npt.NDArray[Any] = front.window_samples()
        self._n_at_once = max(1, _AT_ONCE // self._window.nbytes)

    def __call__(self, waveforms: Samples) -> Samples:
        """`(clips, samples)` float32 to `(clips, frames, n_fft // 2 + 1)` float32 power.

        A clip's values do not depend on the other clips.
        """
        n_clips, n_samples = waveforms.shape
        power = np.empty((n_clips, 1 + n_samples // self._hop_length, self._n_fft // 2 + 1), np.float32)
        # What float32 cannot hold becomes infinity, as in the layer; the store reports it with the file's name.
        with np.errstate(over="ignore", invalid="ignore"):
            for waveform, of_clip in zip(waveforms, power, strict=True):
                for first in range(0, len(of_clip), self._n_at_once):
                    some = of_clip[first : first + self._n_at_once]
                    self._transform(self._frames(waveform, first, first + len(some)), some)
        return power

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
        frames: Samples = np.lib.stride_tricks.sliding_window_view(samples, self._n_fft)[:: self._hop_length]
        return frames

    def _transform(self, frames: Samples, power: Samples) -> None:
        # In the window's precision. One thread: the store computes several clips side by side.
        spectrum = scipy.fft.rfft(frames * self._window, axis=-1, workers=1, overwrite_x=True)
        squares = spectrum.view(self._window.dtype).reshape(*spectrum.shape, 2)
        np.square(squares, out=squares)
        np.add(squares[..., 0], squares[..., 1], out=power, casting="same_kind")
