"""Reads an audio file as a mono float32 waveform at a given rate, whole or in blocks."""

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import soxr

from loglearn_tf.audio.decoder import (
    Decoded,
    Origin,
    Samples,
    Sound,
    check_waveform_length,
    decode_by_tensorflow_io,
    open_sound,
)
from loglearn_tf.audio.faults import FilePath, cannot_read
from loglearn_tf.audio.segments import Segment, decode_segments
from loglearn_tf.errors import AudioError


def load_waveform(path: FilePath, *, sample_rate: int = 44100) -> Samples:
    """Reads one audio file as a mono waveform at `sample_rate`.

    Channels are averaged, then the mean is resampled once, by soxr with quality HQ, if the rates differ; so the result
    does not depend on the installed decoders. Nothing is clipped: float files may have values outside [-1, 1], and
    resampling may overshoot slightly. Peak memory is 4 bytes per sample of the result plus about 30 MB, or 8 bytes per
    sample if the header does not give the length.

    Args:
        path: A file that soundfile (WAV, FLAC, OGG, MP3, ...) or, if installed, PyAV (M4A, WebM, ...) can read.
        sample_rate: Sample rate of the result, Hz.

    Returns:
        `(samples,)` float32, nominally in [-1, 1], never empty.

    Raises:
        AudioError: If the file cannot be read, is truncated, contains no or non-finite audio, or has more than 2^28
            samples in one channel, before or after resampling.
        ValueError: If `sample_rate` is not positive.
    """
    return load_with_origin(path, sample_rate=sample_rate)[0]


def load_with_origin(path: FilePath, *, sample_rate: int = 44100) -> tuple[Samples, Origin]:
    """Like `load_waveform`, but also returns the decoder and the format of the file."""
    _check_rate(sample_rate)
    if decoded := decode_by_tensorflow_io(path):
        origin = decoded.origin
        check_waveform_length(path, origin.frames, origin.sample_rate, sample_rate)
        waveform = _resampled_whole(_mean_of_channels(decoded.samples), origin.sample_rate, sample_rate)
    else:
        with open_sound(path) as sound:
            rate, n_frames = sound.origin.sample_rate, sound.n_frames or 0
            check_waveform_length(path, n_frames, rate, sample_rate)
            blocks = _mono(path, sound, sample_rate)
            first = list(itertools.islice(blocks, 2))  # of most files one block, checked to its end by asking for two
            if len(first) == 1:
                waveform = _resampled_whole(first[0], rate, sample_rate)
            else:
                # Resampling rounds the length up or down.
                room = n_frames * sample_rate // rate + 2
                waveform = _joined(_resampled(itertools.chain(first, blocks), rate, sample_rate), room)
        origin = sound.origin
    if not waveform.size:
        raise _too_short(path, origin.frames, sample_rate)
    return waveform, origin


def load_segments(
    path: FilePath, segments: Sequence[Segment], *, sample_rate: int = 44100
) -> Iterator[tuple[Samples, Origin] | AudioError]:
    """Reads segments of one file, each like a separate file with `load_with_origin`.

    Args:
        path: As for `load_waveform`, of any length; see `segments.decode_segments`.
        segments: Start and end in seconds, ordered by start.
        sample_rate: Sample rate of the results, Hz.

    Yields:
        For each segment its waveform, `(samples,)` float32, and the format of the file; or the error.

    Raises:
        ValueError: If `sample_rate` is not positive.
    """
    _check_rate(sample_rate)
    return (_as_waveform(path, decoded, sample_rate) for decoded in decode_segments(path, segments))


def _as_waveform(
    path: FilePath, decoded: Decoded | AudioError, sample_rate: int
) -> tuple[Samples, Origin] | AudioError:
    if isinstance(decoded, AudioError):
        return decoded
    origin = decoded.origin
    try:
        check_waveform_length(path, origin.frames, origin.sample_rate, sample_rate)
    except AudioError as error:
        return error
    waveform = _resampled_whole(_mean_of_channels(decoded.samples), origin.sample_rate, sample_rate)
    return (waveform, origin) if waveform.size else _too_short(path, origin.frames, sample_rate)


def waveform_blocks(path: FilePath, *, sample_rate: int = 44100, seconds: float = 60.0) -> Iterator[Samples]:
    """Reads an audio file like `load_waveform`, block by block, with memory independent of its length.

    Concatenated, the blocks equal the result of `load_waveform`, bit for bit. Errors of a file are raised where they
    occur: an `AudioError` may come after some blocks, for example from a truncated file.

    Args:
        path: As for `load_waveform`; there is no limit on the number of samples.
        sample_rate: Sample rate of the blocks, Hz.
        seconds: Length of each block except the last.

    Yields:
        `(samples,)` float32, `round(seconds * sample_rate)` samples, or fewer in the last block; never empty.

    Raises:
        AudioError: If the file cannot be read, is truncated, or contains no or non-finite audio.
        ValueError: If `sample_rate` is not positive, or `seconds` less than one sample.
    """
    _check_rate(sample_rate)
    size = round(seconds * sample_rate)
    if size < 1:
        raise ValueError(f"`seconds` must be at least one sample, 1/{sample_rate}. Received: seconds={seconds}.")
    return _blocks(path, sample_rate, size)


def _blocks(path: FilePath, sample_rate: int, size: int) -> Iterator[Samples]:
    held: list[Samples] = []
    n_held, any_yielded = 0, False
    with open_sound(path) as sound:
        mono = map(_mean_of_channels, sound.blocks)
        for piece in _resampled(mono, sound.origin.sample_rate, sample_rate):
            held.append(piece)
            n_held += len(piece)
            if n_held >= size:
                joined = np.concatenate(held)
                n_whole = n_held - n_held % size
                for start in range(0, n_whole, size):
                    yield joined[start : start + size].copy()
                held, n_held, any_yielded = [joined[n_whole:].copy()], n_held - n_whole, True
    if n_held:
        yield np.concatenate(held)
    elif not any_yielded:
        raise _too_short(path, sound.origin.frames, sample_rate)


def _check_rate(sample_rate: int) -> None:
    if sample_rate < 1:
        raise ValueError(f"`sample_rate` must be a positive integer. Received: sample_rate={sample_rate}.")


def _too_short(path: FilePath, n_frames: int, sample_rate: int) -> AudioError:
    return cannot_read(
        path, f"its {n_frames} frames are less than one sample at {sample_rate} Hz", "Use a longer recording."
    )


def _mono(path: FilePath, sound: Sound, sample_rate: int) -> Iterator[Samples]:
    for block in sound.blocks:
        check_waveform_length(path, sound.origin.frames, sound.origin.sample_rate, sample_rate, at_least=True)
        yield _mean_of_channels(block)


def _resampled_whole(samples: Samples, rate: int, new_rate: int) -> Samples:
    """What `_resampled` makes of one block, bit for bit, in two thirds of the time."""
    if rate == new_rate:
        return samples
    resampled: Samples = soxr.resample(samples, rate, new_rate, quality="HQ")
    return resampled


def _resampled(blocks: Iterable[Samples], rate: int, new_rate: int) -> Iterator[Samples]:
    """Resamples a waveform."""
    if rate == new_rate:
        yield from blocks
        return
    resampler = soxr.ResampleStream(rate, new_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _joined(blocks: Iterable[Samples], n_expected: int) -> Samples:
    """All blocks as one array, with a copy only if there are more samples than expected."""
    room, n_held = np.empty(n_expected, np.float32), 0
    for block in blocks:
        if n_held + len(block) > len(room):
            grown = np.empty(max(n_held + len(block), 2 * len(room)), np.float32)
            grown[:n_held] = room[:n_held]
            room = grown
        room[n_held : n_held + len(block)] = block
        n_held += len(block)
    return room[:n_held]


def _mean_of_channels(samples: Samples) -> Samples:
    n_channels = samples.shape[1]
    if n_channels == 1:
        return samples[:, 0]
    # Channel by channel, since `samples.mean(axis=1)` takes twenty times as long over such a short axis.
    return functools.reduce(np.add, samples.T) / np.float32(n_channels)
