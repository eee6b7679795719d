"""The header of a RIFF/WAVE file: what it declares, and how much audio the file has."""

import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from loglearn_tf.audio.faults import CHECK_PATH, COPY_AGAIN, FilePath, cannot_read, not_found
from loglearn_tf.audio.sizes import LENGTH_UNKNOWN, counts_header, is_unknown, starts_chunk
from loglearn_tf.errors import AudioError

PCM, MS_ADPCM, FLOAT, A_LAW, MU_LAW, IMA_ADPCM, GSM = 1, 2, 3, 6, 7, 0x11, 0x31
MPEG = (0x50, 0x55)  # layers 1 and 2; layer 3
EXTENSIBLE = 0xFFFE
BLOCK_CODED = (MS_ADPCM, IMA_ADPCM, GSM)  # only their `fact` chunk has the number of frames
# An EXTENSIBLE header ends in a GUID: the real format tag, then this fixed tail.
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
OPEN_SIZE = 0xFFFFFFFF  # for a stream of unknown size
MAX_CHUNKS = 256  # before the audio; real files have fewer than ten

_FRAMED = (PCM, FLOAT, A_LAW, MU_LAW)  # one frame per block
_HARMLESS_CHUNKS = (b"fmt ", b"fact", b"LIST", b"JUNK", b"PAD ", b"FLLR")


@dataclass(frozen=True)
class WavHeader:
    """The declarations of a RIFF/WAVE header, and the amount of audio in the file."""

    format_tag: int  # for EXTENSIBLE, the tag in its GUID
    channels: int
    sample_rate: int  # Hz
    block_align: int  # bytes per frame; for ADPCM and GSM, per block of frames
    bits_per_sample: int
    data_offset: int  # bytes from the start of the file to the first sample
    data_size: int  # bytes, as declared
    available_size: int  # bytes from `data_offset` to the end of the file
    odd_chunk_before_data: bool  # or one that soundfile may refuse
    fact_frames: int | None  # frames according to the `fact` chunk, if there is one
    size_was_never_written: bool = False  # whether 0 bytes are declared although audio follows

    @property
    def contradicts_itself(self) -> bool:
        """Whether the block size of PCM or float audio contradicts its samples."""
        if self.format_tag not in (PCM, FLOAT):
            return False
        needed = self.channels * ((self.bits_per_sample + 7) // 8)
        return needed == 0 or self.block_align != needed

    @property
    def size_is_unknown(self) -> bool:
        """Whether the header was written before the size was known, and never corrected."""
        return self.size_was_never_written or (self.data_size > self.available_size and is_unknown(self.data_size))

    @property
    def size_counts_header(self) -> bool:
        """Whether slightly more bytes are declared than present, although the file ends with a whole frame."""
        return (
            self.format_tag in _FRAMED
            and self.block_align > 0
            and counts_header(self.data_size, self.available_size, header=self.data_offset, block=self.block_align)
        )

    @property
    def is_cut(self) -> bool:
        """Whether whole blocks of the declared audio are missing at the end of the file."""
        whole_blocks = self.data_size - self.data_size % max(self.block_align, 1)
        return not (self.size_is_unknown or self.size_counts_header) and self.available_size < whole_blocks

    @property
    def declared_frames(self) -> int | None:
        """Number of frames according to the header; None if unknown."""
        if self.size_is_unknown:
            return None
        if self.format_tag in BLOCK_CODED:
            return self.fact_frames
        if self.format_tag in _FRAMED and self.block_align:
            size = self.available_size if self.size_counts_header else self.data_size
            return size // self.block_align
        return None

    @property
    def remark(self) -> str:
        """A problem with the sizes of a file that is read anyway, or ""."""
        if self.size_is_unknown:
            return LENGTH_UNKNOWN
        if self.size_counts_header:
            return f"its header declares {self.data_size - self.available_size} bytes more than it has"
        return ""


def read_wav_header(path: FilePath) -> WavHeader | None:
    """Reads the header of a RIFF/WAVE file, a few bytes of each chunk up to `data`.

    Args:
        path: Any file.

    Returns:
        The header, or None if the file is not RIFF/WAVE (FLAC, OGG, RF64, ...).

    Raises:
        AudioError: If the file cannot be opened, is empty or not a regular file, or is RIFF/WAVE without
            exactly one `fmt ` chunk and a `data` chunk after it.
    """
    try:
        status = os.stat(path)
        # Pipes and devices are refused, since opening or reading them might block forever.
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise cannot_read(path, f"it is {kind}", CHECK_PATH)
        if status.st_size == 0:
            raise cannot_read(path, "it is empty (0 bytes)", COPY_AGAIN)
        with Path(path).open("rb") as file:
            return _parse(path, file, status.st_size)
    except AudioError:
        raise
    except FileNotFoundError as error:
        raise not_found(path) from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise cannot_read(path, reason, "Check the path and its permissions.") from error


def _parse(path: FilePath, file: BinaryIO, file_size: int) -> WavHeader | None:
    start = file.read(12)
    if start[:4] != b"RIFF" or start[8:] != b"WAVE":
        return None
    fmt, fact, odd_chunk = b"", b"", False
    offset = 12
    for _ in range(MAX_CHUNKS):
        file.seek(offset)
        chunk = file.read(8)
        if len(chunk) < 8:
            break
        name, size = struct.unpack("<4sI", chunk)
        offset += 8
        # Damaged: a name that is not text, a second `fmt `, `data` before the first.
        # soundfile fails here, or does not say which of the two it used.
        is_text = name.isascii() and name.decode().isprintable()
        if not is_text or (name == b"fmt " and fmt) or (name == b"data" and len(fmt) < 16):
            break
        if name == b"data":
            tag, channels, rate, _, block_align, bits = struct.unpack_from("<HHIIHH", fmt)
            if tag == EXTENSIBLE and fmt[26:40] == GUID_TAIL:
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
                fact_frames=int.from_bytes(fact, "little") if len(fact) == 4 else None,
                size_was_never_written=size == 0 < file_size - offset
                and not starts_chunk(file.read(24), file_size - offset),
            )
        if name == b"fmt ":
            fmt = file.read(min(size, 40))
        elif name == b"fact":
            fact = file.read(min(size, 4))
        # soundfile writes `PEAK` into every float file, with a value and position per channel.
        is_peak = name == b"PEAK" and len(fmt) >= 16 and size == 8 + 8 * int.from_bytes(fmt[2:4], "little")
        odd_chunk |= size % 2 == 1 or not (name in _HARMLESS_CHUNKS or is_peak)
        offset += size + size % 2  # chunks are padded to an even size
    raise cannot_read(path, "its header is damaged (not one `fmt ` chunk, then a `data` chunk)", COPY_AGAIN)


def make_wav(tag: int, channels: int, sample_rate: int, bits: int, data: bytes) -> bytes:
    """A minimal WAV file: a `fmt ` chunk of 16 bytes and `data`."""
    align = channels * bits // 8
    head = struct.Struct("<4sI4s4sIHHIIHH4sI")
    fields = (16, tag, channels, sample_rate, sample_rate * align % 2**32, align, bits)
    return head.pack(b"RIFF", 36 + len(data), b"WAVE", b"fmt ", *fields, b"data", len(data)) + data
