"""Counts the frames of MPEG audio (MP3, MP2, MP1).

libsndfile estimates the length of a stream without a Xing, Info or VBRI frame from the file size and its first frame,
and stops reading there: recordings with variable bit rate end early, and other lengths are wrong by the size of tags
and other data. Data between frames make its decoder (mpg123) print warnings or give up. So the frames are located here,
from header to header, and only they are passed to it.
"""

import functools
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

_KBPS = {
    # (MPEG-1, layer): bit rates by index; index 0 is "free format", any rate
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version: 1, 2, 2.5
_HEADER = re.compile(rb"\xff[\xe2-\xff][^\xf0-\xff]", re.DOTALL)  # excludes most invalid headers
# Consecutive frames needed to distinguish a stream from bytes that look like a header; more if the format differs from
# the frames before, since pictures in tags also contain such bytes.
_CHAIN, _OTHER_CHAIN = 3, 8
_LONGEST_FREE_FRAME = 8192  # bytes; decoders accept no longer frames
_BLOCK = 1 << 16


class Format(NamedTuple):
    """The properties shared by all frames of a stream."""

    version: int  # as in headers: 3 is MPEG-1, 2 is MPEG-2, 0 is "MPEG-2.5"
    layer: int
    sample_rate: int  # Hz
    channels: int

    @property
    def samples_per_frame(self) -> int:
        """Samples per frame and channel."""
        return 384 if self.layer == 1 else 576 if self.layer == 3 and self.version != 3 else 1152


@dataclass(frozen=True)
class Stream:
    """The frames of one file.

    Attributes:
        format: Format of all frames.
        tag: The first frame, if it is a Xing or Info frame with a correct count: decoders read from it what the encoder
            added at both ends, and omit that. Its size in bytes is that of these frames.
        pieces: Positions of the others, `(start, end)` in bytes of the file; adjacent frames form one piece.
        n_frames: Number of these frames.
        missing: Number of missing frames according to a tag, in a truncated file.
        changes_to: The format of the following frames, which are ignored.
        remark: A remark on anything unusual, or "".
    """

    format: Format
    tag: bytes
    pieces: tuple[tuple[int, int], ...]
    n_frames: int
    missing: int
    changes_to: Format | None
    remark: str

    @property
    def n_bytes(self) -> int:
        """Total size of the tag and all pieces."""
        return len(self.tag) + sum(end - start for start, end in self.pieces)


def scan(file: BinaryIO, start: int, end: int, *, search: int = 0) -> Stream | None:
    """Finds the frames of MPEG audio in a part of a file.

    ID3, APE and Lyrics3 tags are skipped anywhere. So is any other data between frames, with a remark. An incomplete
    last frame is omitted, with a remark: recordings of a stream end like this.

    Args:
        file: Open, for reading.
        start: Where the part starts, in bytes of the file.
        end: Where the part ends.
        search: Number of bytes allowed before the first frame, besides tags.

    Returns:
        None if the part is not MPEG audio.
    """
    scanner = _Scanner(file, end)
    at = scanner.after_tags(start)
    found = scanner.find(at, min(at + search, end), lenient=not search)
    if found is None:
        return None
    first, form = found
    skipped, n_frames, pieces, changes_to, incomplete = first - at, 0, [], None, False
    at = first
    while True:
        began = at
        while (size := scanner.size_at(at, form)) and at + size <= end:
            at += size
            n_frames += 1
        if at > began:
            pieces.append((began, at))
        at = scanner.after_tags(at)
        size = scanner.size_at(at, form)
        incomplete = at + size > end > at
        if at >= end or incomplete:
            break
        if size:
            continue  # the frames continue after a tag
        found = scanner.find(at, end, form)
        skipped += (found[0] if found else end) - at
        if found is None:
            break
        at, other = found
        if other != form:
            changes_to = other
            break
    if not pieces:
        return None
    remarks = [f"{skipped} bytes before, between or after its frames are not audio"] if skipped else []
    if incomplete:
        remarks.append("its last frame is incomplete and was omitted")
    tag = _read_tag(file, first, scanner.size_at(first, form), form)
    if tag is None:
        return Stream(form, b"", tuple(pieces), n_frames, 0, changes_to, "; ".join(remarks))
    n_frames -= 1  # the tag's own frame is not audio
    pieces = [(max(begin, first + len(tag.frame)), stop) for begin, stop in pieces if stop > first + len(tag.frame)]
    n_bytes = len(tag.frame) + sum(stop - begin for begin, stop in pieces)
    if tag.n_frames == n_frames and tag.bytes_at is not None:
        return Stream(form, tag.resized(n_bytes), tuple(pieces), n_frames, 0, changes_to, "; ".join(remarks))
    # If the number of bytes is right, the number of frames is wrong; and some count the tag's own frame.
    whole = tag.n_bytes <= n_bytes if tag.n_bytes else tag.n_frames <= n_frames + 1 and not incomplete
    if tag.n_frames not in (n_frames, n_frames + 1):
        remarks.append(f"it has {n_frames} MPEG frames, but its first frame declares {tag.n_frames}")
    missing = 0 if whole else tag.n_frames - n_frames
    return Stream(form, b"", tuple(pieces), n_frames, missing, changes_to, "; ".join(remarks))


class _Scanner:
    """Reads at single positions of a file."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self.file, self.end = file, end
        self.free_size = 0  # bytes from one frame of free format to the next, without padding

    def read(self, at: int, size: int) -> bytes:
        self.file.seek(at)
        return self.file.read(max(min(size, self.end - at), 0))

    def size_at(self, at: int, form: Format) -> int:
        """Size of the frame at a position; 0 if no frame of this format starts there."""
        head = self.read(at, 4)
        if len(head) < 4 or (known := _parse(head[1], head[2], head[3] >> 6)) is None or known[0] != form:
            return 0
        _, size, padding = known
        return size or (self.free_size and self.free_size + padding)

    def find(
        self, start: int, stop: int, expected: Format | None = None, *, lenient: bool = True
    ) -> tuple[int, Format] | None:
        """The first position between `start` and `stop` with consecutive frames, and their format."""
        for offset in range(start, stop + 1, _BLOCK):
            block = self.read(offset, min(_BLOCK, stop + 1 - offset) + 2)
            for match in _HEADER.finditer(block):
                at = offset + match.start()
                head = self.read(at, 4)
                if len(head) < 4 or at > stop or (known := _parse(head[1], head[2], head[3] >> 6)) is None:
                    continue
                form, size, padding = known
                if not size and not self.free_size:
                    self.free_size = self.measure_free(at, form, padding)
                other = expected is not None and form != expected
                if self.follow(at, form, _OTHER_CHAIN if other else _CHAIN, lenient=lenient and not other):
                    return at, form
                if not size and expected is None:
                    self.free_size = 0
        return None

    def follow(self, at: int, form: Format, n_frames: int, *, lenient: bool) -> bool:
        """Whether enough consecutive frames follow; if `lenient`, fewer are enough at the end of the file."""
        for _ in range(n_frames):
            size = self.size_at(at, form)
            if not size:
                return lenient and self.after_tags(at) >= self.end
            at += size
            if at >= self.end:
                return lenient
        return True

    def measure_free(self, at: int, form: Format, padding: int) -> int:
        """Distance to the next frame of free format, without padding; 0 if there is none."""
        start = self.read(at, _LONGEST_FREE_FRAME + 4)
        for match in _HEADER.finditer(start, 4):
            head = start[match.start() : match.start() + 4]
            known = _parse(head[1], head[2], head[3] >> 6) if len(head) == 4 else None
            if known is not None and known[:2] == (form, 0):
                return match.start() - padding
        return 0

    def after_tags(self, at: int) -> int:
        """The end of the tags at a position; the position itself if there are none."""
        while at < self.end:
            head = self.read(at, 32)
            if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
                size = 10 + sum(value << shift for value, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
                size += 10 if head[5] & 0x10 else 0  # a footer
            elif head[:3] == b"TAG":
                size = 227 if head[3:4] == b"+" else 128
            elif head[:8] == b"APETAGEX" and len(head) == 32:
                n_bytes, flags = struct.unpack_from("<I4xI", head, 12)
                size = 32 + (n_bytes if flags & 1 << 29 else 0)  # a header and its content, or a footer
            elif head[:11] == b"LYRICSBEGIN":
                lyrics = re.search(rb"LYRICS(200|END)", self.read(at, _BLOCK))
                size = lyrics.end() if lyrics else 11
            else:
                break
            at += size
        return min(at, self.end)


@functools.lru_cache(maxsize=1024)
def _parse(second: int, third: int, mode: int) -> tuple[Format, int, int] | None:
    """Format, size (0 for free format) and padding from a frame's header, which starts with 0xFF."""
    version, layer, rate = second >> 3 & 3, 4 - (second >> 1 & 3), third >> 2 & 3
    if second < 0xE0 or version == 1 or layer == 4 or rate == 3 or third >> 4 == 15:
        return None
    form = Format(version, layer, _RATES[version][rate], 1 if mode == 3 else 2)
    slot = 4 if layer == 1 else 1
    padding = (third >> 1 & 1) * slot
    bits_per_second = 1000 * _KBPS[version == 3, layer][third >> 4]
    size = form.samples_per_frame // 8 // slot * bits_per_second // form.sample_rate * slot
    return form, size + padding if size else 0, padding


class _Tag(NamedTuple):
    """The first frame of many files: silent, with the number of following frames and bytes."""

    frame: bytes
    n_frames: int
    n_bytes: int  # including the tag's own frame; 0 if not given
    bytes_at: int | None  # its position in the frame, 0 if absent; None if decoders do not know this kind

    def resized(self, n_bytes: int) -> bytes:
        """The frame with another number of bytes, since decoders warn if it is not the file's."""
        at = self.bytes_at
        return self.frame[:at] + struct.pack(">I", n_bytes) + self.frame[at + 4 :] if at else self.frame


def _read_tag(file: BinaryIO, at: int, size: int, form: Format) -> _Tag | None:
    if form.layer != 3:
        return None
    file.seek(at)
    frame = file.read(size)
    side = {(True, 2): 32, (True, 1): 17, (False, 2): 17, (False, 1): 9}[form.version == 3, form.channels]
    for where in (4 + side, 6 + side):  # after a checksum, if frames have one
        if frame[where : where + 4] in (b"Xing", b"Info") and len(frame) >= where + 16:
            flags, n_frames, n_bytes = struct.unpack_from(">III", frame, where + 4)
            if not flags & 1:
                # Frames without a count are audio to decoders, too.
                return _Tag(frame, 0, 0, None)
            return _Tag(frame, n_frames, n_bytes if flags & 2 else 0, where + 12 if flags & 2 else 0)
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        n_bytes, n_frames = struct.unpack_from(">II", frame, 46)
        return _Tag(frame, n_frames, n_bytes, None)
    return None
