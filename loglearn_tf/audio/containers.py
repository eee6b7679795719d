"""Locates the audio in containers other than RIFF/WAVE, according to their own headers.

soundfile reads many truncated files as shorter recordings, refuses some whose sizes were never filled in, and stops at
the end of the first of several consecutive OGG streams.
"""

import struct
from typing import BinaryIO, NamedTuple

from loglearn_tf.audio.faults import CONVERT, COPY_AGAIN, FilePath, cannot_read, truncated
from loglearn_tf.audio.sizes import LENGTH_UNKNOWN, is_unknown, starts_chunk
from loglearn_tf.audio.spliced import Piece
from loglearn_tf.audio.wav import MAX_CHUNKS


class _Chunks(NamedTuple):
    """The chunk layout of a container."""

    audio: bytes  # the first four bytes of the name of the chunk that holds the audio
    first: int  # bytes from the start of the file to the first chunk
    name: int  # bytes of a chunk's name
    size: str  # the field of its size, for `struct`
    counted: int = 0  # bytes of name and size that a size includes
    multiple: int = 2  # of bytes, to which chunks are padded
    before: int = 0  # bytes of the audio's chunk that precede its samples


_LAYOUTS = {
    b"RIFX": _Chunks(b"data", 12, 4, ">I"),
    b"RF64": _Chunks(b"data", 12, 4, "<I"),
    b"BW64": _Chunks(b"data", 12, 4, "<I"),
    b"FORM": _Chunks(b"SSND", 12, 4, ">I", before=8),  # AIFF, AIFC
    b"riff": _Chunks(b"data", 40, 16, "<Q", counted=24, multiple=8),  # W64
    b"caff": _Chunks(b"data", 8, 4, ">Q", multiple=1, before=4),
}


class Layout(NamedTuple):
    """What decoders need to know about the content of a file."""

    links: tuple[tuple[Piece, ...], ...] = ()  # the file for each decoder in turn; empty: one, for the file as it is
    remark: str = ""


class _Audio(NamedTuple):
    """The chunk that holds the audio."""

    start: int  # bytes from the start of the file to the first sample
    size: int  # bytes of samples, as declared; negative if not even the chunk's own fields fit
    field_at: int  # where the size is
    field: str  # for `struct`
    added: int  # to the bytes of samples, in the field


def read_layout(path: FilePath, file: BinaryIO, file_size: int) -> Layout:
    """Determines how to decode a file that is not RIFF/WAVE.

    Args:
        path: For messages.
        file: Open, for reading.
        file_size: Bytes.

    Raises:
        AudioError: If it is shorter than its header says, or a W64 file has data after its audio.
    """
    file.seek(0)
    start = file.read(40)
    magic = start[:4]
    if magic == b"OggS":
        return _ogg(path, file, file_size)
    if magic == b"fLaC":
        # STREAMINFO comes first; the last 36 bits of these 8 bytes are the number of samples.
        return Layout(remark="" if int.from_bytes(start[18:26], "big") % 2**36 else LENGTH_UNKNOWN)
    if magic == b".snd" and len(start) >= 12:
        offset, n_bytes = struct.unpack_from(">II", start, 4)
        return _check(path, file, file_size, magic, _Audio(offset, n_bytes, 8, ">I", 0))
    if magic == b"FORM" and start[8:12] not in (b"AIFF", b"AIFC") or magic == b"riff" and start[24:28] != b"wave":
        return Layout()
    if magic not in _LAYOUTS or (audio := _find(file, file_size, _LAYOUTS[magic])) is None:
        return Layout()
    if magic in (b"RF64", b"BW64"):  # their audio chunk has no valid size
        if start[12:16] != b"ds64" or len(start) < 36:
            return Layout()
        audio = _Audio(audio.start, struct.unpack_from("<Q", start, 28)[0], 28, "<Q", 0)
    return _check(path, file, file_size, magic, audio)


def _check(path: FilePath, file: BinaryIO, file_size: int, magic: bytes, audio: _Audio) -> Layout:
    """Compares the declared size with that of the file."""
    available = file_size - audio.start
    file.seek(max(audio.start, 0))
    layout = _LAYOUTS.get(magic)
    head = file.read(24)
    followed = layout is not None and starts_chunk(head, available, field=layout.size, name=layout.name)
    never_written = audio.size <= 0 < available and not followed
    if never_written or (0 < available < audio.size and is_unknown(audio.size)):
        size = struct.pack(audio.field, min(available + audio.added, 2 ** (8 * struct.calcsize(audio.field)) - 1))
        after = audio.field_at + len(size)
        pieces: tuple[Piece, ...] = ((0, audio.field_at), size, (after, file_size))
        if magic == b"BW64":
            pieces = (b"RF64", (4, audio.field_at), *pieces[1:])
        return Layout((pieces,), LENGTH_UNKNOWN)
    end = audio.start + max(audio.size, 0)
    if file_size < end:
        raise truncated(path, file_size, end, "bytes")
    if magic == b"riff" and file_size >= end + 8:
        # Up to 7 are padding. More are other chunks, which soundfile would decode as samples.
        raise cannot_read(path, f"{file_size - end} bytes after its audio would be decoded as audio", CONVERT)
    return Layout(((b"RF64", (4, file_size)),)) if magic == b"BW64" else Layout()


def _find(file: BinaryIO, file_size: int, layout: _Chunks) -> _Audio | None:
    at, n_field = layout.first, struct.calcsize(layout.size)
    for _ in range(MAX_CHUNKS):
        content = at + layout.name + n_field
        if content > file_size:
            return None
        file.seek(at)
        head = file.read(layout.name + n_field)
        (size,) = struct.unpack_from(layout.size, head, layout.name)
        if head.startswith(layout.audio):
            added = layout.counted + layout.before
            return _Audio(content + layout.before, size - added, at + layout.name, layout.size, added)
        size = max(size - layout.counted, 0)
        at = content + size + -size % layout.multiple
    return None


def _ogg(path: FilePath, file: BinaryIO, file_size: int) -> Layout:
    """The consecutive streams of an OGG file: web radio starts a new one with each title."""
    starts: list[int] = []
    remarks = []
    at, granule, flags, is_start = 0, 0, 4, False
    while (page := _find_page(file, at)) is not None:
        file.seek(page)
        head = file.read(27)
        page_end = page + 27 + (head[26] + sum(file.read(head[26])) if len(head) == 27 else 0)
        if page_end > file_size:
            raise truncated(path, file_size, page_end, "bytes")
        flags, granule = head[5], int.from_bytes(head[6:14], "little", signed=True)
        if flags & 2 and not is_start:
            starts.append(page)
        is_start = bool(flags & 2)  # several streams start together in files with video
        file.seek(page_end)
        if file.read(4) in (b"OggS", b"") or _find_page(file, page_end) is None:
            at = page_end
        else:
            at = page + 4  # bytes are missing, perhaps including the end of this page
            remarks = ["its pages are not consecutive: audio may be missing"]
    if granule == -1:
        raise cannot_read(path, "its last packet is incomplete (truncated)", COPY_AGAIN)
    if not flags & 4:
        remarks.append("its last page is not marked as the last: it may be truncated")
    if len(starts) < 2:
        return Layout(remark="; ".join(remarks))
    ends = (*starts[1:], file_size)
    links = tuple(((begin, end),) for begin, end in zip((0, *starts[1:]), ends, strict=True))
    return Layout(links, "; ".join(remarks))


def _find_page(file: BinaryIO, at: int) -> int | None:
    """The start of the next page, usually this position; None if there is none."""
    while True:
        file.seek(at)
        block = file.read(4096)
        if (found := block.find(b"OggS")) >= 0:
            return at + found
        if len(block) < 4:
            return at if block and b"OggS".startswith(block) else None
        at += len(block) - 3
