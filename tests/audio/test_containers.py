"""Cut files of other containers are refused: soundfile reads many of them as a shorter recording."""

import io
import struct

import numpy as np
import pytest
import soundfile
from sound_files import RATE, sine, write

from loglearn_tf.audio import decode, load_waveform
from loglearn_tf.errors import AudioError


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
@pytest.mark.parametrize("container", ["RF64", "RIFX", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3"])
def test_other_containers_that_are_cut_are_refused(container, kept, tmp_path):
    """soundfile reads many of them as a shorter recording."""
    path = tmp_path / "clip.wav"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (8000, 2))
    if container == "RIFX":  # WAV with its bytes the other way round
        soundfile.write(path, noise, RATE, format="WAV", endian="BIG")
    else:
        soundfile.write(path, noise, RATE, format=container)
    content = path.read_bytes()
    assert load_waveform(path).shape == (8000,)
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(AudioError, match=r"clip\.wav: .*\. (Download|Convert) "):
        load_waveform(path)


@pytest.mark.parametrize("kept", [30, 39])
def test_an_au_file_cut_behind_its_header(kept, tmp_path):
    path = tmp_path / "clip.au"
    soundfile.write(path, sine(1000), RATE)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(AudioError, match=f"it has {kept} of the 4024 bytes declared in its header"):
        load_waveform(path)


def test_a_chunk_in_w64_that_ends_beyond_all_files(tmp_path):
    path = tmp_path / "clip.w64"
    soundfile.write(path, sine(1000), RATE)
    content = path.read_bytes()
    at = content.index(b"data\xf3")
    huge = b"junk" + content[at + 4 : at + 16] + struct.pack("<Q", 2**63 - 1)
    path.write_bytes(content[:at] + huge + content[at:])
    with pytest.raises(AudioError):
        load_waveform(path)


def test_what_follows_the_audio_in_w64_is_not_decoded(tmp_path):
    path = tmp_path / "clip.w64"
    soundfile.write(path, sine(1001, channels=1), RATE)
    content = path.read_bytes()
    at = content.index(b"data\xf3")
    path.write_bytes(content + b"junk" + content[at + 4 : at + 16] + struct.pack("<Q", 40) + bytes(16))
    with pytest.raises(AudioError, match="40 bytes after its audio would be decoded as audio. Convert it"):
        load_waveform(path)


def ogg() -> bytes:
    content = io.BytesIO()
    soundfile.write(content, np.random.default_rng(0).uniform(-0.5, 0.5, 30_000), RATE, format="OGG")
    return content.getvalue()


def test_what_follows_the_last_page_of_an_ogg_file_is_not_missing_from_it(tmp_path):
    """As the tags that some programs append."""
    whole = decode(write(tmp_path, ogg()))
    np.testing.assert_array_equal(decode(write(tmp_path, ogg() + b"TAG" + bytes(125))).samples, whole.samples)


@pytest.mark.parametrize("kept", [4, 10, 26])
def test_an_ogg_file_cut_in_the_head_of_a_page(kept, tmp_path):
    content = ogg()
    assert content.count(b"OggS") > 3
    path = write(tmp_path, content[: content.rindex(b"OggS") + kept])
    with pytest.raises(AudioError, match="truncated"):
        decode(path)


def test_a_cut_aiff_file_with_an_odd_chunk_before_its_audio(tmp_path):
    path = tmp_path / "clip.aiff"
    soundfile.write(path, sine(1000), RATE, subtype="PCM_16")
    content = path.read_bytes()
    at = content.index(b"SSND")
    content = content[:at] + b"NAME" + struct.pack(">I", 3) + b"abc\0" + content[at:]
    path.write_bytes(content[:4] + struct.pack(">I", len(content) - 8) + content[8:])
    assert decode(path).samples.shape == (1000, 2)
    path.write_bytes(content[:-1000])
    with pytest.raises(AudioError, match="truncated"):
        decode(path)


def ogg_stream(n_frames: int, *, rate: int = 48_000, subtype: str = "VORBIS", seed: int = 0) -> bytes:
    content = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, n_frames)
    soundfile.write(content, noise, rate, format="OGG", subtype=subtype)
    return content.getvalue()


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_streams_in_a_row_are_read_to_the_end_of_the_last(subtype, tmp_path):
    """Web radio starts another one with each title; soundfile alone stops after the first."""
    first, second, third = (ogg_stream(n, subtype=subtype, seed=n) for n in (30_000, 20_001, 12_345))
    expected = [decode(write(tmp_path, content)).samples for content in (first, second, third)]
    found = decode(write(tmp_path, first + second + third))
    np.testing.assert_array_equal(found.samples, np.concatenate(expected))
    assert found.origin.frames == 62_346 and found.origin.remark == ""
    with pytest.raises(AudioError, match="truncated"):
        decode(write(tmp_path, first + second[:-100]))


def test_junk_between_ogg_streams_and_pages(tmp_path):
    first, second = ogg_stream(30_000), ogg_stream(20_000)
    whole = decode(write(tmp_path, first + second)).samples
    found = decode(write(tmp_path, first + b"junk" * 3000 + second))
    np.testing.assert_array_equal(found.samples, whole)
    assert found.origin.remark == "its pages are not consecutive: audio may be missing"
    at = second.rindex(b"OggS")
    content = first + second[:at] + b"OggO junk" + second[at:]
    np.testing.assert_array_equal(decode(write(tmp_path, content)).samples, whole)


def test_bytes_missing_at_the_end_of_an_ogg_stream_do_not_hide_the_next(tmp_path):
    first, second = ogg_stream(30_000), ogg_stream(20_000)
    found = decode(write(tmp_path, first[:-10] + second))
    np.testing.assert_array_equal(found.samples[-20_000:], decode(write(tmp_path, second)).samples)
    assert found.origin.remark == "its pages are not consecutive: audio may be missing"


def test_ogg_streams_of_different_rates_are_refused(tmp_path):
    content = ogg_stream(30_000) + ogg_stream(30_000, rate=44_100)
    with pytest.raises(
        AudioError, match="48000 Hz, 1 channels become 44100 Hz, 1 channels in the middle of the file. Conv"
    ):
        decode(write(tmp_path, content))


def test_an_ogg_file_without_its_last_page_is_read_with_a_remark(tmp_path):
    content = ogg_stream(200_000)
    found = decode(write(tmp_path, content[: content.rindex(b"OggS")]))
    assert 0 < found.origin.frames < 200_000
    assert found.origin.remark == "its last page is not marked as the last: it may be truncated"


@pytest.mark.parametrize("digest", [True, False])
def test_flac_from_a_pipe(digest, tmp_path):
    """Its writer could not go back to fill in the number of samples, nor their digest."""
    path = tmp_path / "clip.flac"
    soundfile.write(path, sine(300_000), RATE)
    whole, content = decode(path), bytearray(path.read_bytes())
    content[21], content[22:26] = content[21] & 0xF0, bytes(4)
    if not digest:
        content[26:42] = bytes(16)
    path.write_bytes(content)
    found = decode(path)
    np.testing.assert_array_equal(found.samples, whole.samples)
    assert found.origin.remark == "its header does not give its length; it was read to the end of the file"
    np.testing.assert_array_equal(load_waveform(path), load_waveform(write(tmp_path, bytes(content))))
    path.write_bytes(content[:-1000])
    with pytest.raises(AudioError, match="lost sync"):
        decode(path)
