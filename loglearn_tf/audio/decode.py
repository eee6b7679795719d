"""One audio file to a mono float32 waveform, or an `AudioError` that says what to do."""

from __future__ import annotations

import functools
import os
import re
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Union

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from loglearn_tf.errors import AudioError, NotFiniteError

FilePath = Union[str, "os.PathLike[str]"]
Samples = npt.NDArray[np.float32]
Decoder = Literal["tensorflow-io", "soundfile"]

PCM, MS_ADPCM, FLOAT, A_LAW, MU_LAW, IMA_ADPCM, GSM = 1, 2, 3, 6, 7, 0x11, 0x31
EXTENSIBLE = 0xFFFE
_BLOCK_CODED = (MS_ADPCM, IMA_ADPCM, GSM)  # only their `fact` chunk tells the frames
# An EXTENSIBLE header ends in a GUID: the real format tag, then this fixed tail.
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")

# What tensorflow-io 0.37.1 decodes correctly. (tag, bits) -> (its dtype, zero, full scale):
# x / full scale - zero / full scale is exact in float32 and equals soundfile's conversion bit for bit.
# 24-bit samples come left-aligned in 32. PCM 32 is not here: its bits are read as floats.
_TENSORFLOW_IO_FORMATS = {
    (PCM, 8): ("uint8", 128.0, 128.0),
    (PCM, 16): ("int16", 0.0, 2.0**15),
    (PCM, 24): ("int32", 0.0, 2.0**31),
    (FLOAT, 32): ("float32", 0.0, 1.0),
}

_HARMLESS_CHUNKS = (b"fmt ", b"fact", b"LIST", b"JUNK", b"PAD ", b"FLLR")
_MAX_CHANNELS = 1024  # soundfile refuses more
_MAX_CHUNKS = 256  # before `data`; real files have fewer than ten
_SAMPLE_RATES = range(1_000, 1_000_001)  # Hz; beyond, the header is damaged
# Floats may hold integers of 32 bits, unscaled; beyond, they are no audio, and their mel power may be infinite.
_LOUDEST = 2.0**32
# What hardly any coder reaches but for silence: a header that declares more is not believed before the audio is there.
_FRAMES_A_BYTE = 16
_BLOCK_FRAMES = 1 << 20
# A file is decoded as a whole: 1 GiB of float32, 100 minutes of one channel at 44.1 kHz. A few MB of FLAC can hold days
# of silence.
_MOST_SAMPLES = 1 << 28

_OPEN_SIZE = 0xFFFFFFFF  # of a stream, or, in RF64, one that stands elsewhere

_COPY_AGAIN = "Download or copy it again."
_CONVERT = "Convert it to 16-bit PCM WAV or FLAC, or download it again."
_CHECK_PATH = "Check the path."


@dataclass(frozen=True)
class WavHeader:
    """What the header of a RIFF/WAVE file declares, and how much the file holds."""

    format_tag: int  # of an EXTENSIBLE file, the tag in its GUID
    channels: int
    sample_rate: int  # Hz
    block_align: int  # bytes per frame; for ADPCM and GSM, per block of frames
    bits_per_sample: int
    data_offset: int  # bytes from the start of the file to the first sample
    data_size: int  # bytes, as declared
    available_size: int  # bytes from `data_offset` to the end of the file
    odd_chunk_before_data: bool  # whether one of odd size, or of a kind soundfile may refuse, stands before `data`
    fact_frames: int | None  # frames according to the `fact` chunk, if there is one

    @property
    def contradicts_itself(self) -> bool:
        """Whether the block size of PCM or float audio is not what its samples need."""
        if self.format_tag not in (PCM, FLOAT):
            return False
        needed = self.channels * ((self.bits_per_sample + 7) // 8)
        return needed == 0 or self.block_align != needed

    @property
    def size_is_unknown(self) -> bool:
        """Whether the file was streamed, its header written before its size was known."""
        # ffmpeg declares the largest size, SoX 0x7FFFF000 rounded down to whole blocks.
        sox_size = 0x7FFFF000 - 0x7FFFF000 % max(self.block_align, 1)
        return self.data_size in (_OPEN_SIZE, sox_size)

    @property
    def is_cut(self) -> bool:
        """Whether whole blocks of the declared audio are missing at the end of the file."""
        whole_blocks = self.data_size - self.data_size % max(self.block_align, 1)
        return not self.size_is_unknown and self.available_size < whole_blocks

    @property
    def declared_frames(self) -> int | None:
        """Frames the header promises; None where it does not say."""
        if self.size_is_unknown:
            return None
        if self.format_tag in _BLOCK_CODED:
            return self.fact_frames
        if self.format_tag in (PCM, FLOAT, A_LAW, MU_LAW) and self.block_align:
            return self.data_size // self.block_align
        return None


@dataclass(frozen=True)
class Origin:
    """What a decoded file was: its decoder, and what its header says."""

    decoder: Decoder
    container: str  # "WAV" or soundfile's name: "FLAC", "OGG", "RF64", ...
    format_tag: int | None  # of WAV; of an EXTENSIBLE file, the tag in its GUID
    bits: int | None  # per sample; None where the coding has no such number
    channels: int
    sample_rate: int  # Hz
    frames: int  # decoded


@dataclass(frozen=True)
class Decoded:
    """One decoded file: `samples` `(frames, channels)` float32, and where they come from."""

    samples: Samples
    origin: Origin

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.origin.sample_rate

    @property
    def decoder(self) -> Decoder:
        """The one used."""
        return self.origin.decoder


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
    """As `load_waveform`, and says which decoder was used and what the file's header says."""
    if sample_rate < 1:
        raise ValueError(f"`sample_rate` must be a positive integer. Received: sample_rate={sample_rate}.")
    decoded = decode(path)
    waveform = _mean_of_channels(decoded.samples)
    if len(waveform) * sample_rate > _MOST_SAMPLES * decoded.sample_rate:
        raise _too_long(path)  # once resampled
    if decoded.sample_rate != sample_rate:
        waveform = soxr.resample(waveform, decoded.sample_rate, sample_rate, quality="HQ")
    if not waveform.size:
        reason = f"its {len(decoded.samples)} frames are less than one sample at {sample_rate} Hz"
        raise _error(path, reason, "Use a longer recording.")
    return waveform, decoded.origin


def _mean_of_channels(samples: Samples) -> Samples:
    n_channels = samples.shape[1]
    if n_channels == 1:
        return samples[:, 0]
    # Channel by channel: over an axis as short as this, `samples.mean(axis=1)` takes twenty times as long.
    return functools.reduce(np.add, samples.T) / np.float32(n_channels)


def decode(path: FilePath) -> Decoded:
    """Decodes one audio file completely, at its own rate and with all its channels.

    tensorflow-io decodes what `choose_decoder` gives it, if it is installed; soundfile
    decodes everything else, and takes over where tensorflow-io fails. Both give the
    same samples, bit for bit. A streamed WAV file, whose header leaves the size open,
    is read to its end; one that declares 0 bytes though more follow is an error.
    An OGG file cut between two of its pages passes for a shorter one, as do cut files
    of containers seldom used for recordings (VOC, PAF, ...): nothing in them is checked.

    Args:
        path: A file soundfile can read.

    Returns:
        Samples, their rate and the decoder used. Values beyond [-1, 1] are kept.

    Raises:
        AudioError: As for `load_waveform`.
    """
    header = read_riff_header(path)
    decoded = _decode_other(path) if header is None else _decode_wav(path, header)
    if not decoded.samples.size:
        raise _error(path, "it holds no audio", "Record, export or download it again.")
    if decoded.sample_rate not in _SAMPLE_RATES:
        reason = f"its header declares a sample rate of {decoded.sample_rate} Hz"
        raise _error(path, reason, _COPY_AGAIN)
    # Both are NaN where a sample is, and no comparison with NaN is true.
    if not (decoded.samples.min() >= -_LOUDEST and decoded.samples.max() <= _LOUDEST):
        frame, channel = np.argwhere(~(np.abs(decoded.samples) <= _LOUDEST))[0]
        value = decoded.samples[frame, channel]
        reason = f"sample {frame} of channel {channel} is {value:g}, "
        reason += "where full scale is 1" if np.isfinite(value) else "not a finite number"
        raise NotFiniteError(str(_error(path, reason, "Export it again from its source.")))
    return decoded


def choose_decoder(header: WavHeader | None) -> Decoder:
    """Names the decoder for a file, from its header alone.

    Args:
        header: From `read_riff_header`; None for a file that is not RIFF/WAVE.

    Returns:
        "tensorflow-io" only where it is known to be right; otherwise "soundfile".
    """
    if header is None or (header.format_tag, header.bits_per_sample) not in _TENSORFLOW_IO_FORMATS:
        return "soundfile"
    # Given the file as it is, tensorflow-io finds no frames after a chunk of odd size and
    # joins a second `data` chunk to the first: soundfile decides on all such layouts, and
    # where it may refuse a chunk (`smpl`, ...): that must not depend on what is installed.
    plain = (
        not header.contradicts_itself
        and not header.odd_chunk_before_data
        and header.channels <= _MAX_CHANNELS
        and 0 < header.data_size == header.available_size < 2**31
        and header.data_size % header.block_align == 0
    )
    return "tensorflow-io" if plain else "soundfile"


def read_riff_header(path: FilePath) -> WavHeader | None:
    """Reads the header of a RIFF/WAVE file, a few bytes of each chunk up to `data`.

    Args:
        path: Any file.

    Returns:
        The header, or None if the file is not RIFF/WAVE (FLAC, OGG, RF64, ...).

    Raises:
        AudioError: If the file cannot be opened or is empty, or is RIFF/WAVE without
            exactly one `fmt ` chunk and a `data` chunk after it.
    """
    try:
        status = os.stat(path)
        # Also refuses pipes and devices, on which opening or reading might never return.
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise _error(path, f"it is {kind}", _CHECK_PATH)
        if status.st_size == 0:
            raise _error(path, "it is empty (0 bytes)", _COPY_AGAIN)
        with Path(path).open("rb") as file:
            return _parse_riff_header(path, file, status.st_size)
    except AudioError:
        raise
    except FileNotFoundError as error:
        raise _error(path, "there is no such file", _CHECK_PATH) from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise _error(path, reason, "Check the path and its permissions.") from error


def _parse_riff_header(path: FilePath, file: BinaryIO, file_size: int) -> WavHeader | None:
    start = file.read(12)
    if len(start) < 12 or start[:4] != b"RIFF" or start[8:] != b"WAVE":
        return None

    fmt, fact, odd_chunk = b"", b"", False
    offset = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(offset)
        chunk = file.read(8)
        if len(chunk) < 8:
            break
        name, size = struct.unpack("<4sI", chunk)
        offset += 8
        # Damaged: a name that is no text, a second `fmt `, `data` before the first.
        # Here soundfile gives up, or cannot be told which of the two it believed.
        is_text = name.isascii() and name.decode().isprintable()
        if not is_text or (name == b"fmt " and fmt) or (name == b"data" and len(fmt) < 16):
            break
        if name == b"data":
            tag, channels, rate, _, block_align, bits = struct.unpack_from("<HHIIHH", fmt)
            if tag == EXTENSIBLE and fmt[26:40] == _GUID_TAIL:
                (tag,) = struct.unpack_from("<H", fmt, 24)
            return WavHeader(
                format_tag=tag,
                channels=channels,
                sample_rate=rate,
                block_align=block_align,
                bits_per_sample=bits,
                data_offset=offset,
                data_size=size,
                available_size=max(file_size - offset, 0),
                odd_chunk_before_data=odd_chunk,
                fact_frames=struct.unpack("<I", fact)[0] if len(fact) == 4 else None,
            )
        if name == b"fmt ":
            fmt = file.read(min(size, 40))
        elif name == b"fact":
            fact = file.read(min(size, 4))
        # soundfile writes `PEAK` into every float file, a value and a place for each channel.
        is_peak = name == b"PEAK" and len(fmt) >= 16 and size == 8 + 8 * int.from_bytes(fmt[2:4], "little")
        odd_chunk |= size % 2 == 1 or not (name in _HARMLESS_CHUNKS or is_peak)
        offset += size + size % 2  # chunks are padded to an even size
    reason = "its header is damaged (not one `fmt ` chunk, then a `data` chunk)"
    raise _error(path, reason, _COPY_AGAIN)


@functools.cache
def _tensorflow_io() -> Callable[[bytes, str], npt.NDArray[Any]] | None:
    """Returns `decode_wav(contents, dtype)` of tensorflow-io; None if it does not work."""
    try:
        # First: where it is absent, this costs no import of TensorFlow.
        import tensorflow_io as tfio  # isort: skip
        import tensorflow as tf

        def decode_wav(contents: bytes, dtype: str) -> npt.NDArray[Any]:
            with tf.device("/CPU:0"):
                return tfio.audio.decode_wav(contents, dtype=tf.as_dtype(dtype)).numpy()

        # Its compiled ops are loaded by their first call, which fails on a TensorFlow
        # they were not built for: try one frame here rather than fail on every file.
        decode_wav(_minimal_wav(PCM, 1, 8000, 16, b"\0\0"), "int16")
    except Exception:  # ImportError, NotFoundError, NotImplementedError, ... by version
        return None
    return decode_wav


def _minimal_wav(tag: int, channels: int, sample_rate: int, bits: int, data: bytes) -> bytes:
    """Returns a WAV file of nothing but a `fmt ` chunk of 16 bytes and `data`."""
    block_align = channels * bits // 8
    fields = (tag, channels, sample_rate, sample_rate * block_align % 2**32, block_align, bits)
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, *fields)
    start = struct.pack("<4sI4s", b"RIFF", 36 + len(data), b"WAVE")
    return b"".join((start, fmt, struct.pack("<4sI", b"data", len(data)), data))


def _decode_with_tensorflow_io(path: FilePath, header: WavHeader) -> Decoded | None:
    """Returns None wherever soundfile has to decide instead."""
    decode_wav = _tensorflow_io()
    if decode_wav is None:
        return None
    tag, bits = header.format_tag, header.bits_per_sample
    if header.data_size * 8 > _MOST_SAMPLES * bits:
        return None
    dtype, zero, full_scale = _TENSORFLOW_IO_FORMATS[tag, bits]
    try:
        with Path(path).open("rb") as file:
            file.seek(header.data_offset)
            data = file.read(header.data_size)
        # Never the file itself: a wrong block size or a damaged chunk makes the op of
        # 0.37.1 divide by zero, write out of bounds or loop for ever, beyond any `except`.
        wav = _minimal_wav(tag, header.channels, header.sample_rate, bits, data)
        raw = decode_wav(wav, dtype)
    except Exception:  # it raises TensorFlow errors, but also UnicodeDecodeError
        return None
    if raw.shape != (header.declared_frames, header.channels):
        return None
    # Full scales are powers of two: multiplying by the inverse is exact, too, and one pass over the samples.
    samples = np.multiply(raw, np.float32(1 / full_scale), dtype=np.float32)
    if zero:
        samples -= np.float32(zero / full_scale)
    return Decoded(samples, _wav_origin("tensorflow-io", header, header.sample_rate, len(samples)))


def _decode_wav(path: FilePath, header: WavHeader) -> Decoded:
    """Decodes RIFF/WAVE, holding the header against itself and against the samples."""
    if header.contradicts_itself:
        # soundfile ignores the block size: 24 bits in blocks of 4 bytes come out as noise.
        reason = (
            f"its header contradicts itself ({header.channels} channels of "
            f"{header.bits_per_sample} bits in blocks of {header.block_align} bytes)"
        )
        raise _error(path, reason, _CONVERT)
    if header.data_size == 0 and header.available_size:
        # A recorder that was interrupted, or no audio and then metadata: we cannot know.
        reason = f"its header declares no audio, though {header.available_size} bytes follow"
        raise _error(path, reason, "Export, repair or download it again.")
    decoded = None
    if choose_decoder(header) == "tensorflow-io":
        decoded = _decode_with_tensorflow_io(path, header)
    if decoded is None:
        by_soundfile = _decode_with_soundfile(path)
        origin = _wav_origin("soundfile", header, by_soundfile.sample_rate, len(by_soundfile.samples))
        decoded = Decoded(by_soundfile.samples, origin)
    _check_complete(path, header, len(decoded.samples))
    return decoded


def _wav_origin(decoder: Decoder, header: WavHeader, sample_rate: int, frames: int) -> Origin:
    tag, bits = header.format_tag, header.bits_per_sample or None
    return Origin(decoder, "WAV", tag, bits, header.channels, sample_rate, frames)


def _decode_other(path: FilePath) -> Decoded:
    """Decodes all but RIFF/WAVE; soundfile reads many a cut file as a shorter one."""
    decoded = _decode_with_soundfile(path)
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            end = _declared_end(file, size)
    except OSError as error:  # it was there a moment ago
        raise _error(path, error.strerror or str(error), _CHECK_PATH) from error
    if end is not None and size < end:
        raise _error(path, _truncated(size, end, "bytes"), _COPY_AGAIN)
    if end is not None and decoded.origin.container == "W64" and size >= end + 8:
        # Up to 7 are padding. More are other chunks, which soundfile takes for samples.
        raise _error(path, f"{size - end} bytes follow its audio, which would be decoded as such", _CONVERT)
    return decoded


def _decode_with_soundfile(path: FilePath) -> Decoded:
    # To libsndfile a name of a bare `-` is standard input.
    here = os.path.join(os.curdir, path)
    # As bytes, names that are not UTF-8 are found too; Windows has none and needs text.
    name = here if os.name == "nt" else os.fsencode(here)
    try:
        with soundfile.SoundFile(name) as file:
            n_frames = file.frames
            samples = _read_all(path, file, os.stat(path).st_size)
            number = re.search(r"PCM_\D?(\d+)|ALAC_(\d+)", file.subtype)
            bits = int(number[1] or number[2]) if number else {"FLOAT": 32, "DOUBLE": 64}.get(file.subtype)
            origin = Origin("soundfile", file.format, None, bits, file.channels, file.samplerate, len(samples))
    except AudioError:
        raise
    # TypeError: `.raw` names a headerless file. The last two: a damaged frame count.
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, MemoryError) as error:
        reason = getattr(error, "error_string", "") or str(error) or type(error).__name__
        raise _error(path, reason.strip().rstrip("."), _CONVERT) from error
    if len(samples) < n_frames:
        raise _error(path, _truncated(len(samples), n_frames, "frames"), _COPY_AGAIN)
    return Decoded(samples, origin)


def _read_all(path: FilePath, file: soundfile.SoundFile, n_bytes: int) -> Samples:
    most = _MOST_SAMPLES // file.channels
    if file.frames <= _FRAMES_A_BYTE * n_bytes:
        if file.frames > most:
            raise _too_long(path)
        # The count is given because GSM is not seekable: without, read() refuses it.
        return file.read(file.frames, dtype="float32", always_2d=True)
    # A damaged FLAC header may declare terabytes: room is made for what is there.
    blocks, held = [], 0
    while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        blocks.append(block)
        held += len(block)
        if held > most:
            raise _too_long(path)
    return np.concatenate(blocks) if blocks else np.zeros((0, file.channels), np.float32)


def _declared_end(file: BinaryIO, size: int) -> int | None:
    """Bytes a file must have to hold the audio its header declares; None where it does not say."""
    start = file.read(40)
    if start[:4] == b"OggS":
        return _end_of_pages(file)
    if start[:4] == b".snd" and len(start) >= 12:
        offset, n_bytes = struct.unpack_from(">II", start, 4)
        return None if n_bytes == _OPEN_SIZE else offset + n_bytes
    if start[:4] == b"RIFX":
        return _end_of_chunk(file, size, b"data", at=12, head=">4sI")
    if start[:4] == b"FORM" and start[8:12] in (b"AIFF", b"AIFC"):
        return _end_of_chunk(file, size, b"SSND", at=12, head=">4sI")
    if start[:4] == b"RF64" and start[12:16] == b"ds64" and len(start) >= 36:
        (long_size,) = struct.unpack_from("<Q", start, 28)
        return _end_of_chunk(file, size, b"data", at=12, head="<4sI", long_size=long_size)
    if start[:4] == b"riff" and start[24:28] == b"wave":
        # Sixteen bytes of name; the size counts the chunk's head, too.
        return _end_of_chunk(file, size, b"data", at=40, head="<4s12xQ", counted=24, multiple=8)
    if start[:4] == b"caff":
        return _end_of_chunk(file, size, b"data", at=8, head=">4sQ", multiple=1)
    return None


def _end_of_chunk(
    file: BinaryIO,
    file_size: int,
    name: bytes,
    *,
    at: int,
    head: str,
    counted: int = 0,
    multiple: int = 2,
    long_size: int | None = None,
) -> int | None:
    """Where the chunk of this name ends by its own account; None where there is none, or its size is open.

    Args:
        file: To read from.
        file_size: Its bytes.
        name: The first four bytes of the chunk.
        at: Where the first chunk begins.
        head: Name and size of a chunk, for `struct`.
        counted: Bytes of the head that a size includes.
        multiple: Of bytes that chunks are padded to.
        long_size: Of the chunk, where its own says that it is open.
    """
    n_head = struct.calcsize(head)
    for _ in range(_MAX_CHUNKS):
        if at + n_head > file_size:
            return None
        file.seek(at)
        found, size = struct.unpack(head, file.read(n_head))
        at += n_head
        if found == name and size in (_OPEN_SIZE, 2**64 - 1):
            return None if long_size is None else at + long_size
        size = max(size - counted, 0)
        if found == name:
            return at + size
        at += size + -size % multiple
    return None


def _end_of_pages(file: BinaryIO) -> int | None:
    """Where the last OGG page ends by its own account."""
    offset = 0
    while True:
        file.seek(offset)
        head = file.read(27)
        if not head:
            return offset
        if head[:4] != b"OggS"[: len(head)]:
            return None  # something else follows the pages
        if len(head) < 27:
            return offset + 27
        sizes = file.read(head[26])
        offset += 27 + head[26] + sum(sizes)


def _check_complete(path: FilePath, header: WavHeader, n_frames: int) -> None:
    declared = header.declared_frames
    # Some writers count `fact` over all channels: not a reason to refuse a whole file.
    total = n_frames * (header.channels if header.format_tag in _BLOCK_CODED else 1)
    if declared is not None and n_frames < declared and (header.is_cut or total < declared):
        raise _error(path, _truncated(n_frames, declared, "frames"), _COPY_AGAIN)
    if header.is_cut:  # a cut ADPCM block still decodes to its full length
        held, size = header.available_size, header.data_size
        raise _error(path, _truncated(held, size, "bytes of audio"), _COPY_AGAIN)
    if declared is not None and n_frames > declared and header.format_tag not in _BLOCK_CODED:
        # Of two `data` chunks soundfile takes the last.
        reason = f"it holds {n_frames} frames where its header declares {declared}"
        raise _error(path, reason, _CONVERT)


def _truncated(held: int, declared: int, unit: str) -> str:
    return f"it holds {held} of the {declared} {unit} its header declares (truncated)"


def _too_long(path: FilePath) -> AudioError:
    return _error(path, f"it holds more than {_MOST_SAMPLES:,} samples", "Cut it into shorter ones.")


def _error(path: FilePath, reason: str, remedy: str) -> AudioError:
    name = os.fspath(path)
    if not name.isprintable():  # line breaks, or bytes that are no text
        name = name.encode("unicode_escape").decode("ascii")
    return AudioError(f"Cannot read audio file {name}: {reason}. {remedy}")
