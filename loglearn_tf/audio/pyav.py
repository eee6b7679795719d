"""Reads AAC, AMR, WMA, WebM and others, which soundfile does not, with PyAV if it is installed (`loglearn_tf[av]`).

PyAV includes FFmpeg's libraries. Samples are those of FFmpeg's decoders, at the file's own rate and with all its
channels. The encoder's delay, if the container declares it, is removed at the start, and at the end if FFmpeg does so
(Opus and MP3 in Matroska; for MP4 the last frame is kept whole, so up to 1,023 samples may follow the end).
"""

import contextlib
import importlib
import itertools
import os
import shlex
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from loglearn_tf.audio.faults import CONVERT, COPY_AGAIN, FilePath, cannot_read, file_name, truncated

# First bytes of files, at some offset, and the name of the format.
_STARTS = (
    (4, b"ftyp", "MP4"),
    (4, b"moov", "MP4"),
    (4, b"mdat", "MP4"),
    (4, b"wide", "MP4"),
    (0, b"\x1a\x45\xdf\xa3", "WebM"),
    (0, bytes.fromhex("3026b2758e66cf11"), "WMA"),
    (0, b"#!AMR", "AMR"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"\xff\xf9", "AAC"),
    (0, b"OggS", "OGG"),
    (0, b"MAC ", "APE"),
    (0, b"wvpk", "WavPack"),
    (0, b"TTA1", "TTA"),
    (0, b"\x0b\x77", "AC-3"),
    (0, b"\x7f\xfe\x80\x01", "DTS"),
)
_DECLARE_SECONDS = {"MP4", "WebM", "WMA"}  # others are estimated from the file size
_TOLERANCE_S = 0.1  # for these, which include the encoder's delay
# Full scale and zero of decoded samples, by the name of the format without the "p" for "planar".
_SCALES = {"u8": (2.0**7, 2.0**7), "s16": (2.0**15, 0.0), "s32": (2.0**31, 0.0), "s64": (2.0**63, 0.0)}
_SCALES |= {"flt": (1.0, 0.0), "dbl": (1.0, 0.0)}

Samples = npt.NDArray[np.float32]


class Opened(NamedTuple):
    """A file opened with PyAV."""

    container: str
    sample_rate: int  # Hz
    channels: int
    blocks: Iterator[Samples]  # of hundreds to thousands of frames; raises an `AudioError` if there are too few


def recognise(start: bytes) -> str | None:
    """The name of a file's format from its first bytes; None if it is not one that PyAV should read.

    OGG is included, for Speex or FLAC; other files of soundfile's own formats that it refuses are damaged.
    """
    if start[:1] == b"\xff" and len(start) >= 7:
        size = (start[3] & 3) << 11 | start[4] << 3 | start[5] >> 5  # size of a frame, which another one must follow
        if size < 7 or start[size : size + 2] not in (start[:2], b""):
            return None
    if start[:4] == b"OggS" and (b"vorbis" in start or b"OpusHead" in start):
        return None
    return next((name for at, magic, name in _STARTS if start[at : at + len(magic)] == magic), None)


def load() -> Any:
    """PyAV, or None if it is not installed."""
    try:
        return importlib.import_module("av")
    except ImportError:
        return None


def convert_command(path: FilePath) -> str:
    """A command for users without PyAV."""
    name = file_name(path)
    return f"ffmpeg -i {shlex.quote(name)} {shlex.quote(os.path.splitext(name)[0] + '.wav')}"


def open_file(path: FilePath, file: BinaryIO, container: str, stack: contextlib.ExitStack) -> Opened:
    """Opens a file and decodes its first samples.

    Args:
        path: For messages.
        file: Open at its start; must stay open while blocks are read.
        container: From `recognise`.
        stack: Closes the decoder.

    Raises:
        AudioError: If PyAV is not installed, or the file has no sound that it can decode.
    """
    av = load()
    if av is None:
        remedy = f"Install the extra `loglearn_tf[av]` to read it, or convert it: `{convert_command(path)}`."
        raise cannot_read(path, f"soundfile does not read this format ({container})", remedy)
    with _explained(path, av):
        opened = stack.enter_context(av.open(file))
        if not opened.streams.audio:
            raise cannot_read(path, f"it is {container} without sound", "Remove it, or export its sound again.")
        stream = opened.streams.audio[0]
        frames = opened.decode(stream)
        first = next(frames, None)
        if first is None:
            raise cannot_read(path, "it contains no audio", COPY_AGAIN)
    rate, channels, seconds = first.sample_rate, first.layout.nb_channels, None
    if container in _DECLARE_SECONDS and (stream.duration or opened.duration):
        in_stream = stream.duration and stream.time_base
        seconds = float(stream.duration * stream.time_base) if in_stream else opened.duration / av.time_base
    blocks = _blocks(path, av, itertools.chain([first], frames), rate, channels, seconds)
    return Opened(container, rate, channels, blocks)


def _blocks(
    path: FilePath, av: Any, frames: Iterator[Any], rate: int, channels: int, seconds: float | None
) -> Iterator[Samples]:
    n_frames = 0
    while True:
        with _explained(path, av):
            frame = next(frames, None)
        if frame is None:
            break
        if (frame.sample_rate, frame.layout.nb_channels) != (rate, channels):
            raise cannot_read(path, f"its rate or its number of channels changes after {n_frames} frames", CONVERT)
        n_frames += frame.samples
        yield _to_float(frame, channels)
    if seconds is not None and n_frames < (seconds - _TOLERANCE_S) * rate:
        raise truncated(path, n_frames, round(seconds * rate), "frames")


def _to_float(frame: Any, channels: int) -> Samples:
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    full_scale, zero = _SCALES[frame.format.name.removesuffix("p")]
    return np.ascontiguousarray((values.astype(np.float64) - zero) / full_scale, np.float32)


@contextlib.contextmanager
def _explained(path: FilePath, av: Any) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        reason = f"FFmpeg's decoder says: {(error.strerror or str(error)).strip().rstrip('.')}"
        raise cannot_read(path, reason, COPY_AGAIN) from error
