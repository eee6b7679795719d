"""Sounds are known by their first bytes where their names say nothing; other files are not taken for sounds."""

import os

import numpy as np
import pytest
import soundfile

from loglearn_tf.audio.recognise import begins_as_sound

# As `soundfile` names formats; RAW has no header, and the others of its formats are hardly met.
FORMATS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU", "FLAC", "OGG", "MP3", "NIST", "VOC", "SVX")


@pytest.mark.parametrize("form", [form for form in FORMATS if form in soundfile.available_formats()])
def test_what_is_recorded_in(tmp_path, form):
    path = tmp_path / "recording"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 16_000), 16_000, format=form)
    assert begins_as_sound(path)


@pytest.mark.parametrize(
    "start",
    [b"\0\0\0\x20ftypM4A ", b"\0\0\0\x18ftypmp42", b"#!AMR\n", b"\x1a\x45\xdf\xa3\x01", b"ID3\3\0"],
    ids=["M4A", "MP4", "AMR", "WebM", "MP3 with a tag"],
)
def test_what_phones_and_browsers_record(tmp_path, start):
    (tmp_path / "a").write_bytes(start + bytes(100))
    assert begins_as_sound(tmp_path / "a")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"notes\n",
        "notes".encode("utf-16"),  # begins with ff fe, as frames of MPEG audio may
        b"\0\0\0\x18ftypheic" + bytes(100),
        b"RIFF\x24\0\0\0AVI LIST",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"\x0b\x77" + bytes(100),
        b"PK\3\4",
        b"path,label,fold\n",
    ],
)
def test_what_is_no_sound(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert not begins_as_sound(tmp_path / "a")


def test_what_cannot_be_opened(tmp_path):
    os.symlink("loop", tmp_path / "loop")
    for name in ("absent", "loop", "", "null\0"):
        assert not begins_as_sound(os.path.join(tmp_path, name))
