"""Recognises sound files by their first bytes, for names without a known suffix."""

import re

from loglearn_tf.audio import mpeg, pyav
from loglearn_tf.audio.faults import FilePath

_STARTS = re.compile(
    rb"(RIFF|RF64|BW64)....WAVE|riff\x2e\x91\xcf\x11|FORM....(AIFF|AIFC|8SVX|16SV)|caff|\.snd|fLaC|OggS|ID3|NIST_1A\n"
    rb"|Creative Voice File",
    re.DOTALL,
)
# MP4 by its brand, since pictures from phones (HEIC, AVIF) have the same form.
_MP4 = re.compile(rb"....(ftyp(M4[ABV]|iso|mp4|3g|qt|dash|MSNV)|moov|mdat|wide)", re.DOTALL)
_TOO_COMMON = {"AC-3", "MP4"}  # only two bytes; see above
_START = 1 << 16


def begins_as_sound(path: FilePath) -> bool:
    """Whether the first bytes of a regular file are those of a sound; False if it cannot be opened."""
    try:
        with open(path, "rb") as file:
            start = file.read(_START)
            if start[:1] == b"\xff" and mpeg.scan(file, 0, len(start)) is not None:
                return True
    except (OSError, ValueError):
        return False
    return bool(_STARTS.match(start) or _MP4.match(start) or (pyav.recognise(start) or "AC-3") not in _TOO_COMMON)
