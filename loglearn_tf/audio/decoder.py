"""Decodes all samples of an audio file, at its own rate and with all its channels."""

import contextlib
import functools
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

from loglearn_tf.audio import mpeg, pyav, tensorflow_io
from loglearn_tf.audio.containers import read_layout
from loglearn_tf.audio.faults import CONVERT, COPY_AGAIN, FilePath, cannot_read, lookalike, text, truncated
from loglearn_tf.audio.formats import MPEG_SUFFIXES
from loglearn_tf.audio.spliced import Piece, Spliced
from loglearn_tf.audio.wav import BLOCK_CODED, MPEG, OPEN_SIZE, WavHeader, read_wav_header
from loglearn_tf.errors import AudioError, NonFiniteSamplesError

Samples = npt.NDArray[np.float32]
Decoder = Literal["tensorflow-io", "soundfile", "PyAV"]

_MAX_CHANNELS = 1024  # soundfile refuses more
_SAMPLE_RATES = range(1_000, 1_000_001)  # Hz; otherwise the header is damaged
# Floats may be unscaled 32-bit integers; larger values are not audio, and their mel power may be infinite.
_LOUDEST = 2.0**32
# Hardly any format packs more, except silence: a header that declares more is not trusted.
_FRAMES_A_BYTE = 16
# Frames per block, or fewer with many channels, to limit the number of samples.
_BLOCK_FRAMES, _BLOCK_SAMPLES = 1 << 20, 1 << 21
# Limit in memory: 1 GiB of float32, 100 minutes of one channel at 44.1 kHz. A few MB of FLAC can contain days of
# silence.
_MOST_SAMPLES = 1 << 28
_MOST_BY_TENSORFLOW_IO = 1 << 26  # samples; it needs several copies of the file in memory
_JUNK_BEFORE_MPEG = 1 << 16  # bytes: recordings of a stream may start within a frame
_START = 1 << 14  # bytes to recognise formats; an AAC frame may have half of them
_UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's value for FLAC of unknown length
# The estimated length of a stream must not be too short, even if its first frame is the largest.
_OVERESTIMATE = 128


@dataclass(frozen=True)
class Origin:
    """The decoder of a file, and the format according to its header."""

    decoder: Decoder
    container: str  # "WAV" or soundfile's name: "FLAC", "OGG", "RF64", ...; by PyAV "MP4", "WebM", "WMA", "AMR", ...
    format_tag: int | None  # of WAV; of an EXTENSIBLE file, the tag in its GUID
    bits: int | None  # per sample; None if the format has no such number
    channels: int
    sample_rate: int  # Hz
    frames: int  # decoded
    remark: str = ""  # a problem of a file that was read anyway, as a clause about "it", or ""


@dataclass(frozen=True)
class Decoded:
    """One decoded file: `samples` `(frames, channels)` float32, and their origin."""

    samples: Samples
    origin: Origin


@dataclass
class Sound:
    """An open file.

    Attributes:
        origin: Format of the file; `frames` is the number read so far.
        n_frames: Number declared in the header, if the file is large enough for it; otherwise None.
        blocks: `(frames, channels)` each, from the first sample to the last, once. Raises an `AudioError` if samples
            cannot be decoded, are not finite, or are fewer than declared.
        read_at: Function of a first frame and the one after the last that returns `(frames, channels)`; raises like
            `blocks`. None if samples are only correct after decoding all before them. Use this or `blocks`, not both.
    """

    origin: Origin
    n_frames: int | None
    blocks: Iterator[Samples]
    read_at: Callable[[int, int], Samples] | None = None


def decode(path: FilePath) -> Decoded:
    """Decodes one audio file completely, at its own rate and with all its channels.

    tensorflow-io decodes what `choose_decoder` assigns to it, if it is installed; soundfile decodes everything else,
    and takes over if tensorflow-io fails. Both give the same samples, bit for bit. PyAV, if it is installed, decodes
    what soundfile cannot (AAC, AMR, WMA, WebM, ...).

    Lengths come from the audio: MPEG frames are counted, and a header that was written before the length was known is
    not trusted (see `audio.sizes`); the file is then read to its end, and `origin.remark` records this. A file that is
    shorter than a proper header says is an error. An OGG file truncated between two pages passes for a shorter one,
    with a remark; truncated files of containers rarely used for recordings (VOC, PAF, ...) are not detected.

    Args:
        path: A file that soundfile or PyAV can read.

    Returns:
        Samples, and the format of the file. Values beyond [-1, 1] are kept.

    Raises:
        AudioError: If the file cannot be read, is truncated, contains no audio, or has more than 2^28 samples.
        NonFiniteSamplesError: If a sample is not a number or beyond 2^32 times full scale.
    """
    if decoded := decode_by_tensorflow_io(path):
        return decoded
    blocks, n_held = [], 0
    with open_sound(path, whole=True) as sound:
        check_length(path, (sound.n_frames or 0) * sound.origin.channels)
        for block in sound.blocks:
            blocks.append(block)
            n_held += block.size
            check_length(path, n_held)
    return Decoded(blocks[0] if len(blocks) == 1 else np.concatenate(blocks), sound.origin)


@contextlib.contextmanager
def open_sound(path: FilePath, *, whole: bool = False) -> Iterator[Sound]:
    """Opens an audio file for reading from the first to the last sample; never uses tensorflow-io.

    Args:
        path: Path of the file.
        whole: Whether to decode everything in one block, if the header can be trusted.

    Raises:
        AudioError: If it cannot be opened or is shorter than its header says.
    """
    header = read_wav_header(path)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(Path(path).open("rb"))
        n_bytes = os.fstat(file.fileno()).st_size
        source = _open_other(path, file, n_bytes, stack) if header is None else _open_wav(path, file, header, stack)
        origin = source.origin
        if origin.sample_rate not in _SAMPLE_RATES:
            raise cannot_read(path, f"its header declares a sample rate of {origin.sample_rate} Hz", COPY_AGAIN)
        n_frames = origin.frames if 0 < origin.frames <= _FRAMES_A_BYTE * n_bytes else None
        sound = Sound(replace(origin, frames=0), n_frames, iter(()))
        at_a_time = max(1, min(_BLOCK_FRAMES, _BLOCK_SAMPLES // origin.channels))
        blocks = source.read(n_frames if whole and n_frames else at_a_time)
        sound.blocks = _counted(sound, _checked(path, blocks))
        if source.seekable is not None and n_frames:
            sound.read_at = functools.partial(_read_at, path, source.seekable)
        yield sound


def _counted(sound: Sound, blocks: Iterable[Samples]) -> Iterator[Samples]:
    for block in blocks:
        sound.origin = replace(sound.origin, frames=sound.origin.frames + len(block))
        yield block


def choose_decoder(header: WavHeader | None) -> Decoder:
    """Chooses the decoder of a file from its header.

    Args:
        header: From `read_wav_header`; None for a file that is not RIFF/WAVE.

    Returns:
        "tensorflow-io" only if it is known to be correct; otherwise "soundfile".
    """
    if header is None or (header.format_tag, header.bits_per_sample) not in tensorflow_io.FORMATS:
        return "soundfile"
    # Given the file as it is, tensorflow-io finds no frames after a chunk of odd size and joins a second `data` chunk
    # to the first: soundfile decides on all such layouts, and on chunks that it may refuse (`smpl`, ...), so that
    # results do not depend on what is installed.
    plain = (
        not header.contradicts_itself
        and not header.odd_chunk_before_data
        and header.channels <= _MAX_CHANNELS
        and 0 < header.data_size == header.available_size < 2**31
        and header.data_size % header.block_align == 0
    )
    return "tensorflow-io" if plain else "soundfile"


def check_length(path: FilePath, n_samples: float) -> None:
    """Raises an `AudioError` if a file has more samples, over all channels, than the memory limit."""
    if n_samples > _MOST_SAMPLES:
        raise cannot_read(path, f"it has more than {_MOST_SAMPLES:,} samples", "Cut it into shorter files.")


def check_waveform_length(path: FilePath, n_frames: int, rate: int, new_rate: int, *, at_least: bool = False) -> None:
    """Raises an `AudioError` if one channel exceeds the memory limit, at its own or another rate."""
    n_new = round(n_frames * new_rate / rate)
    if max(n_frames, n_new) > _MOST_SAMPLES:
        resampled = f", {n_new:,} at {new_rate:,} Hz" if new_rate != rate else ""
        reason = (
            f"it has {n_frames:,} samples {'or more ' if at_least else ''}at {rate:,} Hz{resampled}; "
            f"the limit in memory is {_MOST_SAMPLES:,}"
        )
        raise cannot_read(path, reason, "Cut it into shorter files, or read it with `audio.waveform_blocks`.")


def decode_by_tensorflow_io(path: FilePath) -> Decoded | None:
    """The whole file, if tensorflow-io is installed and known to be correct."""
    header = read_wav_header(path)
    if header is None or choose_decoder(header) != "tensorflow-io" or header.sample_rate not in _SAMPLE_RATES:
        return None
    n_samples = header.data_size // header.block_align * header.channels
    is_small = n_samples <= min(_MOST_BY_TENSORFLOW_IO, _MOST_SAMPLES)
    samples = tensorflow_io.read_samples(path, header) if is_small else None
    if samples is None:
        return None
    (samples,) = _checked(path, [samples])
    return Decoded(samples, replace(_wav_origin(header, "tensorflow-io"), frames=len(samples)))


def _checked(path: FilePath, blocks: Iterable[Samples], *, first: int = 0) -> Iterator[Samples]:
    """Passes blocks on, checking that samples are finite and not missing; the first block starts at frame `first`."""
    n_frames = first
    for block in blocks:
        # Both are NaN if a sample is, and no comparison with NaN is true.
        if not (block.min() >= -_LOUDEST and block.max() <= _LOUDEST):
            frame, channel = np.argwhere(~(np.abs(block) <= _LOUDEST))[0]
            value = block[frame, channel]
            fault = "where full scale is 1" if np.isfinite(value) else "not a finite number"
            reason = f"sample {n_frames + frame} of channel {channel} is {value:g}, {fault}"
            raise cannot_read(path, reason, "Export it again from its source.", kind=NonFiniteSamplesError)
        n_frames += len(block)
        yield block
    if n_frames == first:
        raise cannot_read(path, "it contains no audio", "Record, export or download it again.")


# ---- Content of the file, and its decoder --------------------------------------------------------------------------


class _Source(NamedTuple):
    """A file with a known decoder."""

    origin: Origin
    read: Callable[[int], Iterator[Samples]]  # blocks of at most this many frames
    seekable: "_Forward | None" = None  # the open file, if each of its frames can be decoded alone


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """Reads on from the current position.

    soundfile seeks to the current position after each read. Decoders of streams then lose their state, and those of
    unknown length refuse.
    """

    def seekable(self) -> bool:
        return False

    @property
    def has_independent_frames(self) -> bool:
        """Whether samples after a seek equal those read from the start, bit for bit."""
        return self.format != "OGG" and self.subtype.startswith(("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW"))

    def check_end(self, n_frames: int) -> None:
        """Seeks to the end once, since some decoders detect damage only then."""
        if super().seekable():
            self.seek(n_frames)


def _open_wav(path: FilePath, file: BinaryIO, header: WavHeader, stack: contextlib.ExitStack) -> _Source:
    """Opens RIFF/WAVE and checks its header for consistency with itself and the samples."""
    if header.contradicts_itself:
        # soundfile ignores the block size: 24 bits in blocks of 4 bytes would give noise.
        reason = (
            f"its header contradicts itself ({header.channels} channels of "
            f"{header.bits_per_sample} bits in blocks of {header.block_align} bytes)"
        )
        raise cannot_read(path, reason, CONVERT)
    end = header.data_offset + header.available_size
    if header.format_tag in MPEG:
        if header.is_cut:
            raise truncated(path, header.available_size, header.data_size, "bytes of audio")
        audio_end = end if header.size_is_unknown else header.data_offset + header.data_size
        stream = mpeg.scan(file, header.data_offset, min(audio_end, end))
        if stream is not None:
            return _open_mpeg(path, file, stream, stack, header)
    declared = header.declared_frames
    if header.is_cut and declared is not None and header.format_tag not in BLOCK_CODED:
        raise truncated(path, header.available_size // header.block_align, declared, "frames")
    pieces: tuple[Piece, ...] = ()
    if header.size_was_never_written:
        size = struct.pack("<I", min(header.available_size, OPEN_SIZE))
        pieces = ((0, header.data_offset - 4), size, (header.data_offset, end))
    sound = _open_soundfile(path, file, pieces, stack)

    def read(n_frames: int) -> Iterator[Samples]:
        held = 0
        for block in _read(path, sound, sound.frames, n_frames):
            held += len(block)
            yield block
        _check_wav_complete(path, header, held)

    origin = replace(_wav_origin(header, "soundfile"), sample_rate=sound.samplerate, frames=sound.frames)
    return _Source(origin, read, sound if sound.has_independent_frames else None)


def _wav_origin(header: WavHeader, decoder: Decoder) -> Origin:
    bits = header.bits_per_sample or None
    return Origin(decoder, "WAV", header.format_tag, bits, header.channels, header.sample_rate, 0, header.remark)


def _check_wav_complete(path: FilePath, header: WavHeader, n_frames: int) -> None:
    declared = header.declared_frames
    # Some writers count `fact` over all channels, which is no reason to refuse the file.
    total = n_frames * (header.channels if header.format_tag in BLOCK_CODED else 1)
    if declared is not None and n_frames < declared and (header.is_cut or total < declared):
        raise truncated(path, n_frames, declared, "frames")
    if header.is_cut:  # a truncated ADPCM block still decodes to its full length
        raise truncated(path, header.available_size, header.data_size, "bytes of audio")
    if declared is not None and n_frames > declared and header.format_tag not in BLOCK_CODED:
        # With two `data` chunks, soundfile uses the last.
        raise cannot_read(path, f"it has {n_frames} frames, but its header declares {declared}", CONVERT)


def _open_other(path: FilePath, file: BinaryIO, n_bytes: int, stack: contextlib.ExitStack) -> _Source:
    """Opens files that are not RIFF/WAVE."""
    start = file.read(_START)
    if error := lookalike(path, start):
        raise error
    container = pyav.recognise(start)
    if (stream := mpeg.scan(file, 0, n_bytes)) is not None:
        return _open_mpeg(path, file, stream, stack)
    seems_mpeg = start[:1] == b"\xff" or os.fspath(path).lower().endswith(MPEG_SUFFIXES)
    layout = read_layout(path, file, n_bytes)
    # By its name, libsndfile would read it as MPEG audio; in pieces it has no name.
    pieces = layout.links[0] if layout.links else ((0, n_bytes),) if seems_mpeg else ()
    try:
        first = _open_soundfile(path, file, pieces, stack)
        is_mpeg = first.format == "MP3"  # even if it does not start with frames
    except AudioError as error:
        if container:
            file.seek(0)
            opened = pyav.open_file(path, file, container, stack)
            origin = Origin("PyAV", opened.container, None, None, opened.channels, opened.sample_rate, 0)
            return _Source(origin, lambda n_frames: opened.blocks)
        is_mpeg, refused, first = seems_mpeg, error, None
    if first is None or is_mpeg:
        if (stream := mpeg.scan(file, 0, n_bytes, search=_JUNK_BEFORE_MPEG)) is not None:
            return _open_mpeg(path, file, stream, stack)
        no_frames = cannot_read(path, "it has no three consecutive frames of MPEG audio", COPY_AGAIN)
        raise text(path, start) or (no_frames if is_mpeg else refused)
    if first.format == "RAW" and (is_text := text(path, start)):  # by its name, any bytes count as samples
        raise is_text

    def read(n_frames: int) -> Iterator[Samples]:
        yield from _read(path, first, first.frames, n_frames)
        for pieces in layout.links[1:]:
            with contextlib.ExitStack() as closing:
                other = _open_soundfile(path, file, pieces, closing)
                if (other.samplerate, other.channels) != (first.samplerate, first.channels):
                    reason = f"{first.samplerate} Hz, {first.channels} channels become {other.samplerate} Hz, "
                    raise cannot_read(path, f"{reason}{other.channels} channels in the middle of the file", CONVERT)
                yield from _read(path, other, other.frames, n_frames)

    number = re.search(r"PCM_\D?(\d+)|ALAC_(\d+)", first.subtype)
    bits = int(number[1] or number[2]) if number else {"FLOAT": 32, "DOUBLE": 64}.get(first.subtype)
    frames = 0 if len(layout.links) > 1 else first.frames
    seekable = first if first.has_independent_frames and len(layout.links) < 2 else None
    origin = Origin("soundfile", first.format, None, bits, first.channels, first.samplerate, frames, layout.remark)
    return _Source(origin, read, seekable)


def _open_mpeg(
    path: FilePath,
    file: BinaryIO,
    stream: mpeg.Stream,
    stack: contextlib.ExitStack,
    header: WavHeader | None = None,
) -> _Source:
    """Opens MPEG audio, alone or in RIFF/WAVE."""
    form = stream.format
    if stream.missing:
        raise truncated(path, stream.n_frames, stream.n_frames + stream.missing, "MPEG frames")
    if stream.changes_to is not None:
        new = stream.changes_to
        reason = f"{form.sample_rate} Hz, {form.channels} channels become {new.sample_rate} Hz, {new.channels} channels"
        raise cannot_read(path, f"{reason} after {stream.n_frames} MPEG frames", CONVERT)
    # In RIFF/WAVE, libsndfile also recognises the frames in a file object.
    fmt = (30, 0x55, form.channels, form.sample_rate, 16_000, 1, 0, 12, 1, 2, 1152, 1, 1393)
    size = min(stream.n_bytes, OPEN_SIZE)
    head = struct.pack("<4sI8sIHHIIHHHHIHHH4sI", b"RIFF", min(size + 50, OPEN_SIZE), b"WAVEfmt ", *fmt, b"data", size)
    pieces: list[Piece] = [head, stream.tag, *stream.pieces]
    if stream.n_frames == 1:
        pieces += stream.pieces  # mpg123 refuses a single frame; reading stops before the extra ones
    pretended = 0 if stream.tag else _OVERESTIMATE * stream.n_bytes
    sound = _open_soundfile(path, file, pieces, stack, pretended=pretended)
    n_frames = sound.frames if stream.tag else stream.n_frames * form.samples_per_frame
    if header is None:
        origin = Origin("soundfile", "MP3", None, None, form.channels, form.sample_rate, n_frames, stream.remark)
    else:
        remark = "; ".join(filter(None, (header.remark, stream.remark)))
        origin = replace(_wav_origin(header, "soundfile"), channels=form.channels, sample_rate=form.sample_rate)
        origin = replace(origin, bits=None, frames=n_frames, remark=remark)
    return _Source(origin, lambda size: _read(path, sound, n_frames, size))


def _open_soundfile(
    path: FilePath, file: BinaryIO, pieces: Sequence[Piece], stack: contextlib.ExitStack, *, pretended: int = 0
) -> _Forward:
    """Opens pieces of the open file, or the file itself if there are none."""
    # A plain `-` is standard input to libsndfile. As bytes, names that are not UTF-8 are found, too.
    name = os.fsencode(os.path.join(os.curdir, path))
    with _explained(path):
        return stack.enter_context(_Forward(Spliced(file, pieces, pretended=pretended) if pieces else name))


def _read(path: FilePath, sound: _Forward, n_frames: int, block_size: int) -> Iterator[Samples]:
    """The next `n_frames`, in blocks."""
    left = n_frames
    while left:
        with _explained(path):
            block = sound.read(min(left, block_size), dtype="float32", always_2d=True)
        if not len(block):
            break
        left -= len(block)
        yield block
    if left and n_frames != _UNKNOWN_FRAMES:
        raise truncated(path, n_frames - left, n_frames, "frames")
    if not left and isinstance(sound.name, bytes):  # not pieces of a file, which have been checked
        with _explained(path):
            sound.check_end(n_frames)


def _read_at(path: FilePath, sound: _Forward, first: int, end: int) -> Samples:
    with _explained(path):
        sound.seek(first)
        block = sound.read(end - first, dtype="float32", always_2d=True)
    if len(block) < end - first:
        raise truncated(path, first + len(block), end, "frames")
    (block,) = _checked(path, [block], first=first)
    return block


@contextlib.contextmanager
def _explained(path: FilePath) -> Iterator[None]:
    try:
        yield
    # TypeError: `.raw` names a headerless file. The last two: a damaged frame count.
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, MemoryError) as error:
        reason = getattr(error, "error_string", "") or str(error) or type(error).__name__
        raise cannot_read(path, reason.strip().rstrip("."), CONVERT) from error
