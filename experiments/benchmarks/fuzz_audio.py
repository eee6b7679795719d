"""Damaged audio files by the thousand: each is decoded rightly or refused with an `AudioError`, and nothing worse.

Every file follows from its number alone: a short recording in one of the formats, then some damage to its header,
its chunks or its body. It is decoded in a child process that is watched for crashes, CPU time and memory, and
what is decoded is compared with soundfile's own reading of the same bytes.

Run: python experiments/benchmarks/fuzz_audio.py             (20,000 files; minutes on one core)
     python experiments/benchmarks/fuzz_audio.py --only 1234 --keep damaged      (one file again, and its bytes)
"""

import argparse
import collections
import dataclasses
import functools
import io
import itertools
import multiprocessing
import os
import re
import signal
import struct
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

CPU_LIMIT_S = 2.0
WALL_LIMIT_S = 60.0  # for what waits without computing; far more than a busy machine needs
MEMORY_LIMIT_MIB = 500
_FILES_A_CHILD = 4000  # importing tensorflow-io takes seconds
_BATCH = 100
_RATE = 44_100

GOOD = ("read by tensorflow-io", "read by soundfile", "AudioError")
BAD = ("other exception", "crash", "hang", "memory", "wrong length", "wrong samples", "not finite", "refused whole")


# ---- Whole files ------------------------------------------------------------------------------------------------


def chunk(name: bytes, content: bytes, *, size: int | None = None) -> bytes:
    size = len(content) if size is None else size
    return name + struct.pack("<I", size) + content + b"\0" * (len(content) % 2)


def wav(*before: bytes, tag: int = 1, channels: int = 1, bits: int = 16, after: bytes = b"", **data: Any) -> bytes:
    """WAV of 2,000 quiet values with chunks before and after `data`."""
    samples = (100 * np.sin(np.arange(2000))).astype(f"<i{bits // 8}").tobytes()
    align = channels * bits // 8
    fmt = chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, _RATE, _RATE * align, align, bits))
    body = b"".join((b"WAVE", *before, fmt, chunk(b"data", samples, **data), after))
    return chunk(b"RIFF", body)


@functools.cache
def written(container: str, subtype: str, channels: int = 1, rate: int = _RATE, endian: str | None = None) -> bytes:
    """A short recording as soundfile writes it, without what differs from one writing to the next."""
    signal_ = np.random.default_rng(0).uniform(-0.25, 0.25, (1500, channels))
    signal_ += 0.5 * np.sin(np.arange(1500) / 9)[:, np.newaxis]
    file = io.BytesIO()
    soundfile.write(file, signal_, rate, format=container, subtype=subtype, endian=endian)
    content = bytearray(file.getvalue())
    if (at := content.find(b"PEAK")) >= 0 and container != "CAF":
        content[at + 12 : at + 16] = bytes(4)  # the time of writing
    if container == "MAT5":
        date = content.index(b", 2") + 2
        content[date : date + 19] = b"2000-01-01 00:00:00"
    if container == "OGG":
        content = _ogg_pages(content, serial=1)
    return bytes(content)


def bare_mpeg(mode: str) -> bytes:
    """MP3 without the frame that tells its length."""
    file = io.BytesIO()
    signal_ = np.random.default_rng(0).normal(0, 0.1, 12_000) * (np.arange(12_000) < 6000)
    soundfile.write(file, signal_, _RATE, format="MP3", bitrate_mode=mode, compression_level=0.5)
    content = file.getvalue()
    return content[_mpeg_frames(content)[1] :]


_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)


def _mpeg_frames(content: bytes) -> list[int]:
    """Where the frames of undamaged MPEG-1 layer III at 44.1 kHz begin, and where the last ends."""
    starts = [0]
    while starts[-1] < len(content):
        third = content[starts[-1] + 2]
        starts.append(starts[-1] + 144_000 * _KBPS[third >> 4] // _RATE + (third >> 1 & 1))
    return starts


def _mpeg_in_wav() -> bytes:
    fmt = struct.pack("<HHIIHHHHIHHH", 0x55, 1, _RATE, 16_000, 1, 0, 12, 1, 2, 417, 1, 1393)
    return chunk(b"RIFF", b"WAVE" + chunk(b"fmt ", fmt) + chunk(b"data", bare_mpeg("VARIABLE")))


def _patched(content: bytes, at: int, field: str, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(field, changed, at, value)
    return bytes(changed)


def _piped_flac() -> bytes:
    """Its writer could not go back to write the number of samples and their digest."""
    content = bytearray(written("FLAC", "PCM_16", 2))
    content[21], content[22:42] = content[21] & 0xF0, bytes(20)
    return bytes(content)


def _open(container: str, name: bytes, offset: int, field: str, size: int, endian: str | None = None) -> bytes:
    """Its writer could not go back to write the size of the audio, which is so many bytes behind this name."""
    content = written(container, "PCM_16", endian=endian)
    return _patched(content, content.index(name) + offset, field, size)


def _ogg_pages(content: bytes | bytearray, *, serial: int | None = None) -> bytearray:
    """The same pages with right checksums, so that a reader gets past them."""
    content = bytearray(content)
    at = content.find(b"OggS")
    while 0 <= at <= len(content) - 27:
        n_segments = content[at + 26]
        end = at + 27 + n_segments + sum(content[at + 27 : at + 27 + n_segments])
        if serial is not None:
            content[at + 14 : at + 18] = struct.pack("<I", serial)
        content[at + 22 : at + 26] = bytes(4)
        crc = 0
        for value in content[at:end]:
            crc = crc << 8 & 0xFFFFFFFF ^ _CRC[crc >> 24 ^ value]
        content[at + 22 : at + 26] = struct.pack("<I", crc)
        at = content.find(b"OggS", at + 27)
    return content


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        crc = value << 24
        for _ in range(8):
            crc = crc << 1 & 0xFFFFFFFF ^ (0x04C11DB7 if crc >> 31 else 0)
        table.append(crc)
    return table


_CRC = _crc_table()

FORMATS: dict[str, Callable[[], bytes]] = {
    "WAV 8": lambda: written("WAV", "PCM_U8"),
    "WAV 16": lambda: written("WAV", "PCM_16"),
    "WAV 16, 8 channels": lambda: written("WAV", "PCM_16", 8, 96_000),
    "WAV 24": lambda: written("WAV", "PCM_24", 2, 48_000),
    "WAV 32": lambda: written("WAV", "PCM_32"),
    "WAV float 32": lambda: written("WAV", "FLOAT", 2),
    "WAV float 64": lambda: written("WAV", "DOUBLE"),
    "WAV A-law": lambda: written("WAV", "ALAW", 1, 8000),
    "WAV mu-law": lambda: written("WAV", "ULAW", 1, 8000),
    "WAV MS ADPCM": lambda: written("WAV", "MS_ADPCM", 2),
    "WAV IMA ADPCM": lambda: written("WAV", "IMA_ADPCM", 2),
    "WAV GSM": lambda: written("WAV", "GSM610", 1, 8000),
    "WAV EXTENSIBLE 24": lambda: written("WAVEX", "PCM_24", 2),
    "WAV EXTENSIBLE float": lambda: written("WAVEX", "FLOAT"),
    "WAV with chunks": lambda: wav(
        chunk(b"JUNK", bytes(28)), chunk(b"bext", bytes(602)), after=chunk(b"LIST", b"INFOISFT\x04\0\0\0abc\0")
    ),
    "WAV with an odd chunk": lambda: wav(chunk(b"LIST", b"INFOx"), channels=2),
    "WAV streamed": lambda: wav(size=0xFFFFFFFF),
    "RIFX": lambda: written("WAV", "PCM_16", 2, endian="BIG"),
    "RF64": lambda: written("RF64", "PCM_24", 2),
    "W64": lambda: written("W64", "PCM_16", 2),
    "AIFF": lambda: written("AIFF", "PCM_16", 2),
    "AIFF float": lambda: written("AIFF", "FLOAT"),
    "AU": lambda: written("AU", "PCM_16", 2),
    "CAF": lambda: written("CAF", "PCM_24"),
    "CAF ALAC": lambda: written("CAF", "ALAC_16", 2),
    "FLAC 16": lambda: written("FLAC", "PCM_16", 2),
    "FLAC 24": lambda: written("FLAC", "PCM_24", 1, 192_000),
    "OGG Vorbis": lambda: written("OGG", "VORBIS", 2),
    "OGG Opus": lambda: written("OGG", "OPUS", 1, 48_000),
    "MP3": lambda: written("MP3", "MPEG_LAYER_III", 2),
    # Of web radio, recorders and pipes: their headers do not tell the length.
    "MP3 bare": functools.partial(bare_mpeg, "CONSTANT"),
    "MP3 bare, VBR": functools.partial(bare_mpeg, "VARIABLE"),
    "MP3 in WAV": _mpeg_in_wav,
    "WAV never finished": lambda: wav(size=0),
    "WAV of 2 GB": lambda: wav(size=0x7FFFFFFF),
    "WAV, 16 bytes too many": lambda: wav(size=4016),
    "AU never finished": lambda: _patched(written("AU", "PCM_16", 2), 8, ">I", 0),
    "CAF open": lambda: _open("CAF", b"data", 4, ">Q", 2**64 - 1),
    "W64 never finished": lambda: _open("W64", b"data\xf3\xac", 16, "<Q", 0),
    "W64 from a pipe": lambda: _open("W64", b"data\xf3\xac", 16, "<Q", 2**64 - 1),
    "AIFF from a pipe": lambda: _open("AIFF", b"SSND", 4, ">I", 0),
    "RIFX never finished": lambda: _open("WAV", b"data", 4, ">I", 0, "BIG"),
    "RF64 never finished": lambda: _patched(written("RF64", "PCM_16", 2), 28, "<Q", 0),
    "FLAC from a pipe": _piped_flac,
    "OGG Vorbis, chained": lambda: 2 * written("OGG", "VORBIS", 2),
    # Nobody's data set, but soundfile knows a file by its bytes, whatever its name.
    **{
        container: functools.partial(written, container, subtype, 1, rate)
        for container, subtype, rate in (
            ("VOC", "PCM_16", _RATE),
            ("NIST", "PCM_16", _RATE),
            ("SVX", "PCM_16", _RATE),
            ("PAF", "PCM_24", _RATE),
            ("IRCAM", "PCM_16", _RATE),
            ("AVR", "PCM_16", _RATE),
            ("PVF", "PCM_16", _RATE),
            ("MAT4", "DOUBLE", _RATE),
            ("MAT5", "PCM_16", _RATE),
            ("MPC2K", "PCM_16", _RATE),
            ("XI", "DPCM_16", _RATE),
            ("SDS", "PCM_16", _RATE),
            ("HTK", "PCM_16", _RATE),
            ("WVE", "ALAW", 8000),
        )
    },
}

# Their headers declare what follows, and nothing but audio does.
_TELLING = {
    name for name in FORMATS if name.startswith(("WAV", "RIFX", "RF64", "W64", "AIFF", "AU", "FLAC", "OGG", "MP3"))
}
_TELLING -= {"WAV with chunks", "WAV streamed", "MP3 bare", "MP3 bare, VBR", "WAV never finished", "WAV of 2 GB"}
_TELLING -= {"AU never finished", "RF64 never finished", "OGG Vorbis, chained"}
_TELLING -= {"W64 never finished", "W64 from a pipe", "AIFF from a pipe", "RIFX never finished"}
# Frames of whole files whose headers do not tell.
_WHOLE = {name: 1500 for name in ("AU never finished", "CAF open", "RF64 never finished", "FLAC from a pipe")}
_WHOLE |= {name: 2000 for name in ("WAV streamed", "WAV never finished", "WAV of 2 GB", "WAV, 16 bytes too many")}
_WHOLE |= {name: 1500 for name in ("W64 never finished", "W64 from a pipe", "AIFF from a pipe", "RIFX never finished")}
_WHOLE |= {"OGG Vorbis, chained": 3000}


# ---- Damage -----------------------------------------------------------------------------------------------------

_EXTREMES = (0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000)
_EXTREMES += (0xFFFFFFFE, 0xFFFFFFFF, 0x7FFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)


def _split(content: bytes) -> tuple[bytes, list[bytes]]:
    """What precedes the chunks of RIFF, RF64, AIFF, CAF, SVX or FLAC, and the chunks; else pages or plain blocks."""
    chunks = []
    if content[:4] in (b"RIFF", b"RF64", b"FORM"):
        at = 12
        while at < len(content):
            size = int.from_bytes(content[at + 4 : at + 8], "big" if content[:4] == b"FORM" else "little")
            end = min(at + 8 + size + size % 2, len(content))
            chunks.append(content[at:end])
            at = end
        return content[:12], chunks
    if content[:4] == b"OggS":
        return b"", [b"OggS" + page for page in content.split(b"OggS")[1:]]
    size = 64
    return content[:size], [content[at : at + size * 4] for at in range(size, len(content), size * 4)]


def _flip(content: bytes, rng: np.random.Generator, end: int) -> bytes:
    changed = bytearray(content)
    for at in rng.integers(0, max(1, min(end, len(content))), rng.integers(1, 9)):
        if at < len(changed):
            changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def flip_header(content: bytes, rng: np.random.Generator) -> bytes:
    return _flip(content, rng, 96)


def flip_anywhere(content: bytes, rng: np.random.Generator) -> bytes:
    return _flip(content, rng, len(content))


def overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    """A field of the header, of 1 to 8 bytes, becomes an extreme value."""
    size = int(rng.choice([1, 2, 4, 8]))
    at = int(rng.integers(0, 40)) * 2 if rng.random() < 0.8 else int(rng.integers(0, max(1, len(content))))
    value = int(rng.choice(np.array(_EXTREMES, dtype=np.uint64))) % 256**size
    return content[:at] + value.to_bytes(size, "big" if rng.random() < 0.3 else "little") + content[at + size :]


def refit_header(content: bytes, rng: np.random.Generator) -> bytes:
    """WAV whose header is another one, in itself consistent: what gets past all checks of it."""
    tag, bits = ((1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64))[int(rng.integers(6))]
    channels = int(rng.choice([1, 2, 3, 8, 255, 256, 1024, 4096, 65535 * 8 // bits]))
    rate = int(rng.choice([0, 1, 999, 1000, 8000, 11_025, _RATE, 192_000, 999_983, 1_000_000, 2**31, 2**32 - 1]))
    align = channels * bits // 8
    held = content[44 : 44 + max(len(content) - 44, 0) // align * align] if align < 65536 else b""
    fields = (tag, channels, rate, rate * align % 2**32, align % 65536, bits)
    return chunk(b"RIFF", b"WAVE" + chunk(b"fmt ", struct.pack("<HHIIHH", *fields)) + chunk(b"data", held))


def resize_chunk(content: bytes, rng: np.random.Generator) -> bytes:
    """A chunk declares another size."""
    start, chunks = _split(content)
    if not chunks:
        return content
    at = int(rng.integers(len(chunks)))
    size = int.from_bytes(chunks[at][4:8], "little")
    near = [size + 1, size - 1, size + 2, size - 2, 2 * size, size // 2]
    value = int(rng.choice(near)) if rng.random() < 0.5 else int(rng.choice(np.array(_EXTREMES[:18], dtype=np.uint64)))
    chunks[at] = chunks[at][:4] + struct.pack("<I", value % 2**32) + chunks[at][8:]
    return start + b"".join(chunks)


def shuffle_chunks(content: bytes, rng: np.random.Generator) -> bytes:
    start, chunks = _split(content)
    return start + b"".join(chunks[at] for at in rng.permutation(len(chunks)))


def repeat_chunk(content: bytes, rng: np.random.Generator) -> bytes:
    start, chunks = _split(content)
    if chunks:
        chunks.insert(int(rng.integers(len(chunks) + 1)), chunks[int(rng.integers(len(chunks)))])
    return start + b"".join(chunks)


def remove_chunk(content: bytes, rng: np.random.Generator) -> bytes:
    start, chunks = _split(content)
    if chunks:
        del chunks[int(rng.integers(len(chunks)))]
    return start + b"".join(chunks)


def insert_chunk(content: bytes, rng: np.random.Generator) -> bytes:
    """A new chunk of any size, known name or not."""
    start, chunks = _split(content)
    names = b"JUNK,LIST,bext,fact,fmt ,data,PEAK,smpl,cue ,ds64,id3 ,\0\0\0\0".split(b",")
    held = rng.bytes(int(rng.integers(0, 80)))
    size = len(held) if rng.random() < 0.6 else int(rng.choice(np.array(_EXTREMES[:18], dtype=np.uint64)))
    made = chunk(names[int(rng.integers(len(names)))], held, size=size)
    chunks.insert(int(rng.integers(len(chunks) + 1)), made)
    return start + b"".join(chunks)


def truncate(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(0, len(content) + 1))]


def truncate_header(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(0, 100))]


def splice(content: bytes, rng: np.random.Generator) -> bytes:
    """The start of this file, then the rest of one of another format."""
    other = list(FORMATS.values())[int(rng.integers(len(FORMATS)))]()
    cut = int(rng.integers(0, len(content) + 1)) if rng.random() < 0.5 else int(rng.integers(0, 100))
    return content[:cut] + other[int(rng.integers(0, len(other) + 1)) if rng.random() < 0.5 else cut :]


def insert_junk(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(0, len(content) + 1))
    return content[:at] + rng.bytes(int(rng.integers(1, 200))) + content[at:]


def append_junk(content: bytes, rng: np.random.Generator) -> bytes:
    return content + rng.bytes(int(rng.integers(1, 2000)))


def remove_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(0, len(content) + 1))
    return content[:at] + content[at + int(rng.integers(1, 100)) :]


def blank(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes become all zeros or all ones."""
    at, size = int(rng.integers(0, len(content) + 1)), int(rng.integers(1, 300))
    return content[:at] + rng.choice([b"\0", b"\xff"]) * len(content[at : at + size]) + content[at + size :]


DAMAGES = (
    flip_header,
    flip_anywhere,
    overwrite,
    overwrite,
    refit_header,
    resize_chunk,
    shuffle_chunks,
    repeat_chunk,
    remove_chunk,
    insert_chunk,
    truncate,
    truncate_header,
    splice,
    insert_junk,
    append_junk,
    remove_bytes,
    blank,
)


@dataclasses.dataclass(frozen=True)
class Made:
    """File number `number`: what it was, what was done to it, what it is now."""

    number: int
    format: str
    damages: tuple[str, ...]
    content: bytes


def make(number: int) -> Made:
    """The file of a number; the same wherever soundfile's encoders are."""
    rng = np.random.default_rng(number)
    name = list(FORMATS)[number % len(FORMATS)]
    content = whole = FORMATS[name]()
    # The first of each format are whole: they must be read.
    count = 0 if number < len(FORMATS) else int(rng.choice([1, 1, 1, 2, 2, 3, 4]))
    damages = [DAMAGES[int(rng.integers(len(DAMAGES)))] for _ in range(count)]
    for damage in damages:
        content = damage(content, rng)
    if whole[:4] == b"OggS" and rng.random() < 0.7:
        content = bytes(_ogg_pages(content))
    return Made(number, name, tuple(damage.__name__ for damage in damages), content)


# ---- Decoding and judging, in the child --------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Outcome:
    number: int
    outcome: str
    detail: str = ""


def judge(made: Made, path: Path) -> Outcome:
    """Decodes one file, and says what came of it; for a child process, since it may crash or never return."""
    from loglearn_tf.audio import load_with_origin
    from loglearn_tf.errors import AudioError

    path.write_bytes(made.content)
    before_mib = _reset_peak_memory()
    try:
        waveform, origin = load_with_origin(path, sample_rate=_RATE)
    except AudioError as error:
        if isinstance(error.__cause__, MemoryError):
            return Outcome(made.number, "memory", str(error.__cause__))
        if str(path) not in str(error):
            return Outcome(made.number, "other exception", f"the message does not name the file: {error}")
        if not made.damages:
            return Outcome(made.number, "refused whole", str(error))
        return Outcome(made.number, "AudioError", str(error).partition(": ")[2])
    except Exception as error:
        return Outcome(made.number, "other exception", f"{type(error).__name__}: {error}")
    grown_mib = _peak_memory_mib() - before_mib
    if grown_mib > MEMORY_LIMIT_MIB:
        return Outcome(made.number, "memory", f"{grown_mib:.0f} MiB")
    fault, detail = _compare(waveform, origin, made, path)
    # Beyond padding and what follows the audio; a size that is too large by a header is read with a remark.
    allowed = 128 if "bytes more than it holds" in origin.remark else 32
    if not fault and (missing := _cut_off(made)) > allowed:
        return Outcome(made.number, "wrong length", f"read, though {missing} bytes were cut off")
    return Outcome(made.number, fault or f"read by {origin.decoder}", detail)


def _cut_off(made: Made) -> int:
    """Bytes cut off a file whose header says how many it has; 0 for others."""
    cut = made.damages in (("truncate",), ("truncate_header",))
    return len(FORMATS[made.format]()) - len(made.content) if cut and made.format in _TELLING else 0


def _compare(waveform: Any, origin: Any, made: Made, path: Path) -> tuple[str, str]:
    """What is wrong with a waveform, by an independent reading of the bytes; empty if nothing is."""
    content = made.content
    if waveform.dtype != np.float32 or waveform.ndim != 1 or not waveform.size:
        return "wrong samples", f"{waveform.dtype}, {waveform.shape}"
    if not np.isfinite(waveform).all():
        return "not finite", str(waveform[~np.isfinite(waveform)][0])
    if not made.damages and _WHOLE.get(made.format, origin.frames) != origin.frames:
        return "wrong length", f"{origin.frames} frames of {_WHOLE[made.format]}"
    if origin.container == "MP3" or origin.format_tag == 0x55:
        if made.format.startswith("MP3 bare") and made.damages in ((), ("truncate",), ("truncate_header",)):
            expected_frames = 1152 * (sum(end <= len(content) for end in _mpeg_frames(FORMATS[made.format]())) - 1)
            if origin.frames != expected_frames:
                return "wrong length", f"{origin.frames} frames of {expected_frames}"
        # The smallest frame of MPEG audio has 24 bytes, the longest 1152 samples.
        if origin.frames > 1152 * len(content) / 24:
            return "wrong length", f"{origin.frames} frames of {len(content)} bytes"
        if made.format != "MP3" or origin.remark:
            return "", ""  # soundfile alone does not read such files as a whole, or estimates their length
    content = _repaired(content) if "does not give its length" in origin.remark else content
    # Streams of an OGG file, one after another; of other files there is one.
    starts = [0, *(match.start() for match in re.finditer(rb"(?<=.)OggS\x00\x02", content, re.DOTALL))]
    starts = starts if content[:4] == b"OggS" else [0]
    try:
        parts = [_read(content[start:end], path) for start, end in itertools.pairwise([*starts, len(content)])]
    except (soundfile.SoundFileError, MemoryError, ValueError) as error:
        return "wrong samples", f"soundfile alone refuses it: {error}"
    rate, samples = parts[0][0], np.concatenate([part for _, part in parts])
    if abs(len(waveform) - len(samples) * _RATE / rate) > 1:
        return "wrong length", f"{len(waveform)} samples for {len(samples)} frames at {rate} Hz"
    declared = None if origin.remark else _declared_frames(content)
    if declared is not None and declared != len(samples):
        return "wrong length", f"{len(samples)} frames where the header declares {declared}"
    mean = samples.mean(axis=1, dtype=np.float32)
    expected = mean if rate == _RATE else soxr.resample(mean, rate, _RATE, quality="HQ")
    difference = np.abs(waveform - expected).max() / max(1.0, np.abs(expected).max())
    return ("wrong samples", f"differ by {difference}") if difference > 1e-4 else ("", "")


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """Does not seek, which fails at the end of what is of unknown length."""

    def seekable(self) -> bool:
        return False


def _read(content: bytes, path: Path) -> tuple[int, Any]:
    """Sample rate, and all samples by soundfile alone."""
    other = path.with_suffix(".other")  # by their names only, files are known as MP3
    other.write_bytes(content)
    with _Forward(other) as file:
        # Of unknown length, libsndfile says that there are 2^63 frames.
        return file.samplerate, file.read(min(file.frames, 1000 * len(content)), dtype="float32", always_2d=True)


_SIZE_FIELDS = {
    # magic: (what precedes the size, bytes from there to it, its form, bytes from it to the samples, added to it)
    b"RIFF": (b"data", 4, "<I", 4, 0),
    b"RF64": (b"data", 4, "<I", 4, 0),
    b"RIFX": (b"data", 4, ">I", 4, 0),
    b"FORM": (b"SSND", 4, ">I", 12, 8),
    b"riff": (b"data\xf3\xac", 16, "<Q", 8, 24),
    b"caff": (b"data", 4, ">Q", 12, 4),
    b".snd": (b".snd", 8, ">I", 16, 0),
}


def _repaired(content: bytes) -> bytes:
    """The same with the size that its header should have had, for soundfile."""
    if content[:4] == b"RF64" and content[12:16] == b"ds64":
        return _patched(content, 28, "<Q", len(content) - content.index(b"data") - 8)
    if content[:4] not in _SIZE_FIELDS:
        return content
    name, offset, field, after, added = _SIZE_FIELDS[content[:4]]
    at = content.index(name) + offset
    start = int.from_bytes(content[4:8], "big") if name == b".snd" else at + after
    return _patched(content, at, field, len(content) - start + added)


def _declared_frames(content: bytes) -> int | None:
    """Frames by Python's own `wave`, which knows plain PCM."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            frames, size = file.getnframes(), file.getnframes() * file.getnchannels() * file.getsampwidth()
    except (wave.Error, EOFError, OSError, ValueError, RuntimeError, struct.error, ZeroDivisionError):
        return None
    # Streams, whose header was written before their size was known.
    return None if size > 0x7FFF0000 else frames


def _status_mib(field: str) -> float:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0  # not Linux: memory is not watched
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def _peak_memory_mib() -> float:
    return _status_mib("VmHWM")


def _reset_peak_memory() -> float:
    """Makes the peak what is used now, which is returned."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass
    return _status_mib("VmRSS")


def _serve(
    connection: Any,
    tensorflow_io: bool,
    made_by: Callable[[int], Any],
    judged_by: Callable[[Any, Path], Outcome],
) -> None:
    """Judges the numbers that arrive, until None does."""
    from loglearn_tf._util.tensorflow_runtime import be_quiet
    from loglearn_tf.audio import pyav
    from loglearn_tf.audio import tensorflow_io as tfio

    be_quiet()
    pyav.load = lambda: None  # FFmpeg makes something of many a damaged file
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)  # decoders complain there at length
    if not tensorflow_io:
        tfio.load = lambda: None
    tfio.load()
    if hasattr(signal, "setitimer"):
        import resource

        # Let alone, what allocates without end would take the machine with it.
        limit = int((_status_mib("VmSize") + 4096) * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
    connection.send(None)
    with tempfile.TemporaryDirectory() as folder:
        while (numbers := connection.recv()) is not None:
            for number in numbers:
                made = made_by(number)
                # Counts CPU time, so that a busy machine is no hang; when it is over, the process is.
                if hasattr(signal, "setitimer"):
                    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
                outcome = judged_by(made, Path(folder) / "clip.wav")
                if hasattr(signal, "setitimer"):
                    signal.setitimer(signal.ITIMER_PROF, 0)
                connection.send(outcome)


# ---- The parent -------------------------------------------------------------------------------------------------


class Child:
    """A process that judges files, and is replaced when one of them ends it."""

    def __init__(
        self, tensorflow_io: bool, made_by: Callable[[int], Any], judged_by: Callable[[Any, Path], Outcome]
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, tensorflow_io, made_by, judged_by), daemon=True)
        self.process.start()
        theirs.close()
        self.n_judged = 0
        self.was_killed = False
        self.connection.recv()  # it is ready

    def judge(self, numbers: Sequence[int]) -> Iterable[Outcome]:
        """Outcomes in order; the last may be that the process ended, and the others are then not done."""
        self.connection.send(numbers)
        for number in numbers:
            outcome = None
            if self.connection.poll(WALL_LIMIT_S):
                try:
                    outcome = self.connection.recv()
                except (EOFError, ConnectionError):
                    pass
            else:
                self.process.kill()
                self.was_killed = True
            self.n_judged += 1
            if outcome is None:
                self.process.join()
                yield self._end(number)
                return
            yield outcome

    def _end(self, number: int) -> Outcome:
        code = self.process.exitcode or 0
        if code >= 0:
            return Outcome(number, "crash", f"exit code {code}")
        ended_by = signal.Signals(-code)
        if ended_by.name == "SIGPROF":
            return Outcome(number, "hang", f"more than {CPU_LIMIT_S:g} s of CPU time")
        if self.was_killed:
            return Outcome(number, "hang", f"more than {WALL_LIMIT_S:g} s")
        return Outcome(number, "crash", signal.strsignal(ended_by) or ended_by.name)

    @property
    def is_spent(self) -> bool:
        return not self.process.is_alive() or self.n_judged >= _FILES_A_CHILD

    def close(self) -> None:
        if self.process.is_alive():
            self.connection.send(None)
        self.process.join()
        self.connection.close()


def fuzz(
    numbers: Iterable[int],
    *,
    tensorflow_io: bool = True,
    every: int = 1000,
    made_by: Callable[[int], Any] = make,
    judged_by: Callable[[Any, Path], Outcome] = judge,
) -> list[Outcome]:
    """Judges the files of these numbers, one after another.

    Args:
        numbers: Of files.
        tensorflow_io: Whether files may go to it, if it is installed.
        every: Files from one line on the terminal to the next; 0 for none.
        made_by: Makes a file, in the child.
        judged_by: Decodes and judges it, in the child.
    """
    waiting = collections.deque(numbers)
    outcomes: list[Outcome] = []
    child: Child | None = None
    began = time.monotonic()
    try:
        while waiting:
            if child is None or child.is_spent:
                if child is not None:
                    child.close()
                child = Child(tensorflow_io, made_by, judged_by)
            batch = [waiting.popleft() for _ in range(min(_BATCH, len(waiting)))]
            judged = list(child.judge(batch))
            waiting.extendleft(reversed(batch[len(judged) :]))
            outcomes += judged
            if every and len(outcomes) // every > (len(outcomes) - len(judged)) // every:
                n_bad = sum(outcome.outcome in BAD for outcome in outcomes)
                print(f"{len(outcomes):,} files, {n_bad} faults, {time.monotonic() - began:.0f} s", flush=True)
    finally:
        if child is not None:
            child.close()
    return outcomes


def table(outcomes: Iterable[Outcome]) -> str:
    """Counts by format and outcome, in Markdown."""
    return table_of(outcomes, list(FORMATS), (*GOOD, *BAD), head="| Format | files |")


def table_of(outcomes: Iterable[Outcome], kinds: Sequence[str], shown: Sequence[str], *, head: str) -> str:
    """Counts by kind, which go round with the numbers, and outcome."""
    counts = collections.Counter((kinds[one.number % len(kinds)], one.outcome) for one in outcomes)
    lines = [f"{head} " + " | ".join(shown) + " |", "|---|" + "--:|" * (len(shown) + 1)]
    for name in (*kinds, "all"):
        row = [sum(n for (of, what), n in counts.items() if name in (of, "all") and what == one) for one in shown]
        lines.append(f"| {name} | {sum(row):,} | " + " | ".join(f"{n:,}" for n in row) + " |")
    return "\n".join(lines)


def describe(outcome: Outcome) -> str:
    """A fault, and how to make its file again."""
    made = make(outcome.number)
    return f"{outcome.number}: {outcome.outcome}: {made.format}, {' + '.join(made.damages)}: {outcome.detail}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file (default: 0)")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="these files instead")
    parser.add_argument("--soundfile", action="store_true", help="soundfile alone, as where tensorflow-io is missing")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="write the files that show a fault, or --only, there"
    )
    parser.add_argument("--output", type=Path, help="a Markdown file for the table")
    options = parser.parse_args()
    numbers = options.only or range(options.first, options.first + options.files)
    outcomes = fuzz(numbers, tensorflow_io=not options.soundfile)
    return report(
        outcomes,
        options,
        bad=BAD,
        table_by=table,
        described_by=describe,
        content_by=lambda n: make(n).content,
        ending="bin",
    )


def report(
    outcomes: list[Outcome],
    options: argparse.Namespace,
    *,
    bad: Sequence[str],
    table_by: Callable[[Iterable[Outcome]], str],
    described_by: Callable[[Outcome], str],
    content_by: Callable[[int], bytes],
    ending: str,
) -> int:
    """Prints, writes and keeps what `--only`, `--output` and `--keep` ask for; the exit code."""
    faults = [outcome for outcome in outcomes if outcome.outcome in bad]
    told = outcomes if options.only else faults
    text = "\n".join([table_by(outcomes), "", *map(described_by, told)])
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        for outcome in told:
            (options.keep / f"{outcome.number}.{ending}").write_bytes(content_by(outcome.number))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
