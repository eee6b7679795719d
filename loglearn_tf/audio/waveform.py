"""One audio file to a mono float32 waveform at a given rate."""

import functools

import numpy as np
import soxr

from loglearn_tf.audio.decoder import Origin, Samples, check_length, decode
from loglearn_tf.audio.faults import FilePath, cannot_read


def load_waveform(path: FilePath, *, sample_rate: int = 44100) -> Samples:
    """Reads one audio file as a mono waveform at `sample_rate`.

    Channels are averaged, then the mean is resampled once, by soxr at quality HQ, if
    the rates differ; so the result does not depend on which decoder is installed.
    Nothing is clipped: float files may hold values beyond [-1, 1], and resampling may
    overshoot slightly.

    Args:
        path: A file soundfile can read: WAV, FLAC, OGG, ...
        sample_rate: Of the result, Hz.

    Returns:
        `(samples,)` float32, nominally in [-1, 1], never empty.

    Raises:
        AudioError: If the file cannot be read, is truncated, holds no or
            non-finite audio, or more than 2^28 samples, as it is or resampled.
        ValueError: If `sample_rate` is not positive.
    """
    return load_with_origin(path, sample_rate=sample_rate)[0]


def load_with_origin(path: FilePath, *, sample_rate: int = 44100) -> tuple[Samples, Origin]:
    """Like `load_waveform`; also says which decoder was used and what the file's header says."""
    if sample_rate < 1:
        raise ValueError(f"`sample_rate` must be a positive integer. Received: sample_rate={sample_rate}.")
    decoded = decode(path)
    origin, waveform = decoded.origin, _mean_of_channels(decoded.samples)
    check_length(path, len(waveform) * sample_rate / origin.sample_rate)
    if origin.sample_rate != sample_rate:
        waveform = soxr.resample(waveform, origin.sample_rate, sample_rate, quality="HQ")
    if not waveform.size:
        reason = f"its {origin.frames} frames are less than one sample at {sample_rate} Hz"
        raise cannot_read(path, reason, "Use a longer recording.")
    return waveform, origin


def _mean_of_channels(samples: Samples) -> Samples:
    n_channels = samples.shape[1]
    if n_channels == 1:
        return samples[:, 0]
    # Channel by channel: over an axis as short as this, `samples.mean(axis=1)` takes twenty times as long.
    return functools.reduce(np.add, samples.T) / np.float32(n_channels)
