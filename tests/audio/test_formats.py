"""Names of sound files, and what is often found under them instead."""

import os

import numpy as np
import pytest
import soundfile
from sound_files import RATE, chunk, fmt, riff, sine, write

from loglearn_tf.audio import PYAV_SUFFIXES, SOUNDFILE_SUFFIXES, decode, load_waveform, pyav
from loglearn_tf.errors import AudioError

WRITTEN_AS = {
    # what soundfile calls the formats of these endings: (container, subtype, rate)
    **dict.fromkeys([".wav", ".wave", ".bwf"], ("WAV", "PCM_16", RATE)),
    **dict.fromkeys([".rf64", ".bw64"], ("RF64", "PCM_16", RATE)),
    ".w64": ("W64", "PCM_16", RATE),
    **dict.fromkeys([".aif", ".aiff", ".aifc"], ("AIFF", "PCM_16", RATE)),
    ".caf": ("CAF", "PCM_16", RATE),
    **dict.fromkeys([".au", ".snd"], ("AU", "PCM_16", RATE)),
    ".flac": ("FLAC", "PCM_16", RATE),
    **dict.fromkeys([".ogg", ".oga"], ("OGG", "VORBIS", RATE)),
    ".opus": ("OGG", "OPUS", 48_000),
    **dict.fromkeys([".mp3", ".mp2", ".mp1", ".mpga"], ("MP3", "MPEG_LAYER_III", RATE)),  # it writes no other layer
    **dict.fromkeys([".sph", ".nist"], ("NIST", "PCM_16", RATE)),
    ".voc": ("VOC", "PCM_16", RATE),
    **dict.fromkeys([".sf", ".ircam"], ("IRCAM", "PCM_16", RATE)),
    **dict.fromkeys([".svx", ".8svx", ".16sv", ".iff"], ("SVX", "PCM_16", RATE)),
    **dict.fromkeys([".paf", ".fap"], ("PAF", "PCM_16", RATE)),
    ".avr": ("AVR", "PCM_16", RATE),
    ".pvf": ("PVF", "PCM_16", RATE),
    ".htk": ("HTK", "PCM_16", RATE),
    ".sds": ("SDS", "PCM_16", RATE),
    ".wve": ("WVE", "ALAW", 8_000),
    ".xi": ("XI", "DPCM_16", RATE),
    ".mpc2k": ("MPC2K", "PCM_16", RATE),
}


@pytest.mark.parametrize("suffix", SOUNDFILE_SUFFIXES)
def test_the_format_of_every_ending_decodes(suffix, tmp_path):
    container, subtype, rate = WRITTEN_AS[suffix]
    path = tmp_path / f"clip{suffix}"
    signal = sine(4000, rate=rate, channels=1)
    soundfile.write(path, signal, rate, format=container, subtype=subtype)
    found = decode(path)
    assert len(found.samples) == 4000
    # Some write down how long a sample lasts, in whole units of 100 ns.
    assert abs(found.origin.sample_rate / rate - 1) < 0.005
    loss = 0.05 if subtype in ("VORBIS", "OPUS", "MPEG_LAYER_III", "ALAW") else 2**-14
    assert np.sqrt(np.mean((found.samples - signal) ** 2)) < loss


def test_every_format_of_soundfile_has_an_ending():
    left_out = {"RAW", "SD2", "MAT4", "MAT5"}
    assert {container for container, _, _ in WRITTEN_AS.values()} | left_out | {"WAVEX"} == set(
        soundfile.available_formats()
    )
    assert set(WRITTEN_AS) == set(SOUNDFILE_SUFFIXES)


def test_endings_are_distinct_and_as_names_are_compared():
    endings = SOUNDFILE_SUFFIXES + PYAV_SUFFIXES
    assert len(set(endings)) == len(endings)
    assert all(ending == ending.lower() and ending.startswith(".") for ending in endings)


LOOKALIKES = {
    "Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
        "it is a Git LFS pointer, not the sound. Run `git lfs pull`.",
    ),
    "git-annex": (
        b"/annex/objects/SHA256E-s2000--4d7a.wav\n",
        "it is a git-annex pointer, not the sound. Run `git annex get` on it.",
    ),
    "git-annex, a link as a file": (
        b"../.git/annex/objects/xK/3j/SHA256E-s2000--4d7a.wav/SHA256E-s2000--4d7a.wav",
        "it is a git-annex pointer, not the sound. Run `git annex get` on it.",
    ),
    "web page": (
        b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title>",
        "it is a web page, not a sound: the server sent an error or a login. Download or copy it again.",
    ),
    "web page in another case, with a byte order mark": (b"\xef\xbb\xbf<HTML>", "it is a web page, not a sound"),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "it is an XML document, not a sound"),
    "JSON": (
        b'{"message": "404: Not Found"}\n',
        'it is a text file, not a sound: {"message": "404: Not Found"}. Download or copy it again.',
    ),
    "AppleDouble": (
        b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(100),
        "it is an AppleDouble file, which holds the metadata of another file on macOS. Delete it.",
    ),
    "empty": (b"", "it is empty (0 bytes). Download or copy it again."),
    "zeros": (bytes(5000), "Format not recognised"),
}


@pytest.mark.parametrize("name", LOOKALIKES)
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".au", ".m4a"])
def test_what_is_no_sound_is_called_what_it_is(name, suffix, tmp_path):
    content, told = LOOKALIKES[name]
    if (name, suffix) == ("zeros", ".au"):
        pytest.skip("by this name, libsndfile takes any bytes for mu-law at 8 kHz")
    path = write(tmp_path, content, f"clip{suffix}")
    with pytest.raises(AudioError) as error:
        load_waveform(path)
    assert str(error.value).startswith(f"Cannot read audio file {path}: ")
    if (name, suffix) == ("zeros", ".mp3"):
        told = "it has no three consecutive frames of MPEG audio"
    assert told in str(error.value)


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_links_to_nothing(tmp_path):
    link = tmp_path / "clip.wav"
    link.symlink_to(tmp_path / "gone.wav")
    with pytest.raises(AudioError, match=r"it is a link to .*gone\.wav, which does not exist\. Check the path\."):
        load_waveform(link)
    link.unlink()
    link.symlink_to("../.git/annex/objects/a/b/SHA256E-s2--c.wav/SHA256E-s2--c.wav")
    with pytest.raises(AudioError, match="git-annex has not fetched it. Run `git annex get` on it."):
        load_waveform(link)


def test_a_sound_that_looks_like_a_pointer_inside(tmp_path):
    told = b"version https://git-lfs.github.com/spec/v1  "
    path = write(tmp_path, riff(fmt(), chunk(b"LIST", told), chunk(b"data", bytes(2000))))
    assert load_waveform(path).shape == (1000,)


STARTS = {
    ".m4a": (b"\0\0\0\x1cftypM4A \0\0\2\0", "MP4"),
    ".webm": (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81", "WebM"),
    ".wma": (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "WMA"),
    ".amr": (b"#!AMR\n\x3c", "AMR"),
    ".aac": (b"\xff\xf1\x50\x80\x01\x1f\xfc\0" + b"\xff\xf1\x50\x80\x01\x1f\xfc\0", "AAC"),
}


@pytest.mark.parametrize("suffix", STARTS)
def test_without_pyav_the_remedy_works(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(pyav, "load", lambda: None)
    start, name = STARTS[suffix]
    path = write(tmp_path, start + bytes(1000), f"a clip{suffix}")
    with pytest.raises(AudioError) as error:
        load_waveform(path)
    stem = str(path).removesuffix(suffix)
    assert str(error.value) == (
        f"Cannot read audio file {path}: soundfile does not read this format ({name}). Install the extra "
        f"`loglearn_tf[av]` to read it, or convert it: `ffmpeg -i '{path}' '{stem}.wav'`."
    )
