"""Decodes segments of a long audio file without reading it whole into memory."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from loglearn_tf.audio.decoder import Decoded, Samples, Sound, check_length, open_sound
from loglearn_tf.audio.faults import FilePath, cannot_read
from loglearn_tf.errors import AudioError

Segment = tuple[float, float]  # seconds, from and to
# Times are often rounded to the millisecond: one beyond the end by no more than that means the end.
TOLERANCE_S = 0.001


def decode_segments(path: FilePath, segments: Sequence[Segment]) -> Iterator[Decoded | AudioError]:
    """Decodes segments of one file, at its own rate and with all its channels.

    A segment has the same samples as a file cut at these frames, `round(start * rate)` to `round(end * rate)`. If
    frames can be decoded individually (WAV, FLAC, AIFF, ... with PCM or floats), no others are decoded. For other
    formats (MP3, OGG, ADPCM, M4A, ...) the file is decoded once for all segments, up to the end of the last.

    Args:
        path: A file that `decode` can read, of any length.
        segments: Start and end in seconds, ordered by start.

    Yields:
        For each segment its samples and the format of the file, with `frames` of the segment; or the error: that of the
        file, or that it ends before the segment does.
    """
    n_done = 0
    try:
        with open_sound(path) as sound:
            for one in _decoded(path, sound, segments):
                n_done += 1
                yield one
    except AudioError as error:
        yield from [error] * (len(segments) - n_done)


def seconds_of(path: FilePath) -> float | None:
    """The length of a file in seconds according to its header; None if unknown or the file cannot be opened."""
    try:
        with open_sound(path) as sound:
            return None if sound.n_frames is None else sound.n_frames / sound.origin.sample_rate
    except (AudioError, OSError):
        return None


def _decoded(path: FilePath, sound: Sound, segments: Sequence[Segment]) -> Iterator[Decoded | AudioError]:
    rate = sound.origin.sample_rate
    window = _Window(path, sound)
    for start_s, end_s in segments:
        first, end = round(start_s * rate), round(end_s * rate)
        if sound.read_at is not None and sound.n_frames is not None:
            n_frames = sound.n_frames
        else:
            n_frames = window.move(first, end)
        said = f"its segment from {start_s:g} to {end_s:g} s"
        if end > n_frames + TOLERANCE_S * rate or first >= n_frames:
            remedy = "Correct the times, which are seconds from the start of the file."
            yield cannot_read(path, f"{said} ends after the file, which is {n_frames / rate:g} s long", remedy)
            continue
        end = min(end, n_frames)
        if first >= end:
            yield cannot_read(path, f"{said} is less than one sample at {rate:,} Hz", "Use a longer segment.")
            continue
        try:
            check_length(path, (end - first) * sound.origin.channels)
            samples = sound.read_at(first, end) if sound.read_at is not None else window.samples(first, end)
        except AudioError as error:
            yield error
        else:
            yield Decoded(samples, replace(sound.origin, frames=len(samples)))


class _Window:
    """A window of a sound in memory, which only moves forward."""

    def __init__(self, path: FilePath, sound: Sound) -> None:
        self._path, self._blocks = path, sound.blocks
        self._held: list[Samples] = []
        self._first = self._end = 0  # frames

    def move(self, first: int, end: int) -> int:
        """Decodes up to `end`, drops frames before `first`, and returns the frame after the last decoded one."""
        self._let_go(first)
        while self._end < end and (block := next(self._blocks, None)) is not None:
            self._held.append(block)
            self._end += len(block)
            self._let_go(first)
            check_length(self._path, (self._end - self._first) * block.shape[1])
        return self._end

    def samples(self, first: int, end: int) -> Samples:
        """`(frames, channels)` from the window."""
        held = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
        return held[first - self._first : end - self._first]

    def _let_go(self, first: int) -> None:
        while self._held and self._first + len(self._held[0]) <= first:
            self._first += len(self._held.pop(0))
