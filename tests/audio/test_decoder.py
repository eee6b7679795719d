"""Every WAV variant is read exactly, or refused with the file, the reason and the remedy."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from sound_files import RAMP, RAMP_SAMPLES, RATE, chunk, fmt, riff, riff_headers, sine, write

from loglearn_tf.audio import (
    choose_decoder,
    decode,
    decoder,
    load_waveform,
    load_with_origin,
    read_wav_header,
    tensorflow_io,
    waveform_blocks,
)
from loglearn_tf.audio.wav import GUID_TAIL
from loglearn_tf.errors import AudioError

# Half a quantisation step for linear formats (a whole one at full scale); measured and
# rounded up for the companded and adaptive ones.
FORMATS = {
    # name: (format, subtype, tag in the header, decoder, tolerance)
    "pcm-u8": ("WAV", "PCM_U8", 1, "tensorflow-io", 1 / 128),
    "pcm-16": ("WAV", "PCM_16", 1, "tensorflow-io", 1 / 2**15),
    "pcm-24": ("WAV", "PCM_24", 1, "tensorflow-io", 1 / 2**23),
    "pcm-32": ("WAV", "PCM_32", 1, "soundfile", 1e-7),
    "float-32": ("WAV", "FLOAT", 3, "tensorflow-io", 1e-7),
    "float-64": ("WAV", "DOUBLE", 3, "soundfile", 1e-7),
    "extensible-u8": ("WAVEX", "PCM_U8", 1, "tensorflow-io", 1 / 128),
    "extensible-16": ("WAVEX", "PCM_16", 1, "tensorflow-io", 1 / 2**15),
    "extensible-24": ("WAVEX", "PCM_24", 1, "tensorflow-io", 1 / 2**23),
    "extensible-32": ("WAVEX", "PCM_32", 1, "soundfile", 1e-7),
    "extensible-float": ("WAVEX", "FLOAT", 3, "tensorflow-io", 1e-7),
    "a-law": ("WAV", "ALAW", 6, "soundfile", 0.02),
    "mu-law": ("WAV", "ULAW", 7, "soundfile", 0.02),
    "ms-adpcm": ("WAV", "MS_ADPCM", 2, "soundfile", 0.05),
    "ima-adpcm": ("WAV", "IMA_ADPCM", 0x11, "soundfile", 0.15),
    "gsm": ("WAV", "GSM610", 0x31, "soundfile", 0.12),
    "flac": ("FLAC", "PCM_16", None, "soundfile", 1 / 2**15),
    "vorbis": ("OGG", "VORBIS", None, "soundfile", 0.05),
    "rf64": ("RF64", "PCM_16", None, "soundfile", 1 / 2**15),
}
PADDED = {"ms-adpcm", "ima-adpcm", "gsm"}  # written in whole blocks, and read back so


@pytest.mark.parametrize("name", FORMATS)
class TestEveryFormat:
    @pytest.fixture(params=[1, 2])
    def clip(self, request, name, tmp_path):
        """A path and the signal written there: two full-scale samples, then a sine."""
        container, subtype, *_ = FORMATS[name]
        channels = 1 if name == "gsm" else request.param
        signal = sine(2000, channels=channels)
        if name not in PADDED | {"vorbis", "a-law", "mu-law"}:
            signal[:2] = [[-1.0], [1.0]]
        path = tmp_path / "clip.wav"
        soundfile.write(path, signal, RATE, format=container, subtype=subtype)
        return path, signal

    def test_is_decoded_to_the_signal_that_was_written(self, name, clip, either_decoder):
        path, signal = clip
        decoded = decode(path)
        assert decoded.samples.dtype == np.float32
        assert decoded.origin.sample_rate == RATE
        assert decoded.samples.shape[1] == signal.shape[1]
        if name in PADDED:
            assert len(signal) <= len(decoded.samples) < len(signal) + 4096
        else:
            assert len(decoded.samples) == len(signal)
        difference = np.abs(decoded.samples[: len(signal)] - signal).max()
        assert difference <= FORMATS[name][-1]

    def test_equals_soundfile_bit_for_bit(self, name, clip, either_decoder):
        path, _ = clip
        expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
        np.testing.assert_array_equal(decode(path).samples, expected)

    def test_goes_to_the_decoder_that_reads_it_correctly(self, name, clip):
        path, _ = clip
        _, _, tag, decoder, _ = FORMATS[name]
        header = read_wav_header(path)
        assert (header.format_tag if header else None) == tag
        assert choose_decoder(header) == decoder
        if decoder == "tensorflow-io":
            pytest.importorskip("tensorflow_io")
            if tensorflow_io.load() is None:
                pytest.skip("tensorflow-io is installed but does not work with this TensorFlow")
        assert decode(path).origin.decoder == decoder

    def test_cut_in_half_is_refused(self, name, clip, either_decoder):
        path, _ = clip
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(AudioError, match=r"clip\.wav: .*\. (Download|Convert) "):
            load_waveform(path)


# such files, tensorflow-io returns no frames, fails, or loops for ever.
VARIANTS = {
    "plain": (riff(fmt(), chunk(b"data", RAMP)), "tensorflow-io"),
    "fmt of 18 bytes": (riff(fmt(extra=b"\0\0"), chunk(b"data", RAMP)), "tensorflow-io"),
    "even chunk before": (
        riff(fmt(), chunk(b"LIST", b"INFO"), chunk(b"data", RAMP)),
        "tensorflow-io",
    ),
    # soundfile refuses a wrong one: what is installed must not decide.
    "PEAK of the right size": (
        riff(fmt(), chunk(b"PEAK", bytes(16)), chunk(b"data", RAMP)),
        "tensorflow-io",
    ),
    "bext": (riff(chunk(b"bext", bytes(602)), fmt(), chunk(b"data", RAMP)), "soundfile"),
    "JUNK": (riff(chunk(b"JUNK", bytes(28)), fmt(), chunk(b"data", RAMP)), "tensorflow-io"),
    "wrong RIFF size": (b"RIFF\0\0\0\0" + riff(fmt(), chunk(b"data", RAMP))[8:], "tensorflow-io"),
    "odd chunk before": (riff(fmt(), chunk(b"LIST", b"INFOx"), chunk(b"data", RAMP)), "soundfile"),
    "odd chunk before fmt": (
        riff(chunk(b"JUNK", b"x"), fmt(), chunk(b"data", RAMP)),
        "soundfile",
    ),
    "chunk after": (riff(fmt(), chunk(b"data", RAMP), chunk(b"LIST", b"INFO")), "soundfile"),
    "damaged chunk after": (
        riff(fmt(), chunk(b"data", RAMP), chunk(b"LIST", b"INFO", declared_size=2**32 - 8)),
        "soundfile",
    ),
    "trailing half frame": (riff(fmt(), chunk(b"data", RAMP + b"\1")), "soundfile"),
    "streamed by ffmpeg": (
        riff(fmt(), chunk(b"data", RAMP, declared_size=0xFFFFFFFF)),
        "soundfile",
    ),
    "streamed by SoX": (riff(fmt(), chunk(b"data", RAMP, declared_size=0x7FFFF000)), "soundfile"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_of_one_signal_decode_alike(name, tmp_path, either_decoder):
    content, decoder = VARIANTS[name]
    path = write(tmp_path, content)
    assert choose_decoder(read_wav_header(path)) == decoder
    np.testing.assert_array_equal(decode(path).samples[:, 0], RAMP_SAMPLES)


ADPCM = fmt(0x11, 2, 4, block_align=2048, extra=struct.pack("<HH", 2, 2041))
EXTENSIBLE_20_IN_24 = struct.pack("<HHIH", 22, 20, 4, 1) + GUID_TAIL

DAMAGED = {
    # what is wrong: (content, the reason given)
    "empty file": (b"", "it is empty (0 bytes)"),
    "web page": (b"<html>404 Not Found</html>", "it is a web page, not a sound: the server sent an error or a login"),
    "only the start of a header": (b"RIFF\0\0", "Format not recognised"),
    "no data chunk": (
        riff(fmt()),
        "its header is damaged (not one `fmt ` chunk, then a `data` chunk)",
    ),
    "two fmt chunks": (riff(fmt(), fmt(bits=8), chunk(b"data", RAMP)), "its header is damaged"),
    "data before fmt": (
        riff(chunk(b"data", RAMP), fmt()),
        "its header is damaged",
    ),
    "millions of empty chunks": (
        riff(fmt(), 2_000_000 * b"LIST\0\0\0\0", chunk(b"data", RAMP)),
        "its header is damaged",
    ),
    "cut": (
        riff(fmt(), chunk(b"data", RAMP))[:-500],
        "it has 750 of the 1000 frames declared in its header (truncated)",
    ),
    "cut by one byte": (
        riff(fmt(), chunk(b"data", RAMP))[:-1],
        "it has 999 of the 1000 frames declared in its header (truncated)",
    ),
    "cut within ADPCM, fact too large": (
        riff(ADPCM, chunk(b"fact", struct.pack("<I", 4082)), chunk(b"data", bytes(4096)))[:-2048],
        "it has 2041 of the 4082 frames declared in its header (truncated)",
    ),
    "cut within the last ADPCM block": (
        riff(ADPCM, chunk(b"fact", struct.pack("<I", 4082)), chunk(b"data", bytes(4096)))[:-1],
        "it has 4095 of the 4096 bytes of audio declared in its header (truncated)",
    ),
    "no samples": (riff(fmt(), chunk(b"data", b"")), "it contains no audio"),
    "no samples, and then tags": (
        riff(fmt(), chunk(b"data", b""), chunk(b"LIST", b"INFOISFT\4\0\0\0abc\0")),
        "it contains no audio",
    ),
    "a chunk whose name is no text": (
        riff(fmt(), chunk(b"LI\xd1T", b"INFO"), chunk(b"data", RAMP)),
        "its header is damaged",
    ),
    # Given to tensorflow-io as they are, the next two would end the process.
    "no block size": (
        riff(fmt(block_align=0), chunk(b"data", RAMP)),
        "its header contradicts itself (1 channels of 16 bits in blocks of 0 bytes)",
    ),
    "wrong block size": (
        riff(fmt(block_align=4), chunk(b"data", RAMP)),
        "its header contradicts itself (1 channels of 16 bits in blocks of 4 bytes)",
    ),
    "no channels": (
        riff(fmt(channels=0), chunk(b"data", RAMP)),
        "its header contradicts itself (0 channels of 16 bits in blocks of 0 bytes)",
    ),
    # Decoded without complaint, to noise, by soundfile alone.
    "24 bits in 4 bytes": (
        riff(fmt(bits=24, block_align=4), chunk(b"data", RAMP)),
        "its header contradicts itself (1 channels of 24 bits in blocks of 4 bytes)",
    ),
    "two data chunks": (riff(fmt(), chunk(b"data", RAMP), chunk(b"data", RAMP)), "Internal error"),
    "a short data chunk, then the real one": (
        riff(fmt(channels=8), chunk(b"data", bytes(15)), chunk(b"data", RAMP), chunk(b"LIST", b"INFO")),
        "it has 125 frames, but its header declares 0",
    ),
    "a PEAK chunk of wrong size": (
        riff(fmt(), chunk(b"PEAK", bytes(24)), chunk(b"data", RAMP)),
        "Bad 'PEAK' chunk",
    ),
    "a PEAK chunk before fmt": (
        riff(chunk(b"PEAK", bytes(16)), fmt(), chunk(b"data", RAMP)),
        "'PEAK' chunk found before 'fmt ' chunk",
    ),
    "a smpl chunk of wrong size": (
        riff(fmt(), chunk(b"smpl", bytes.fromhex("0b29f3c1fd9ff3bb9edbf965cdcfee7b5610")), chunk(b"data", RAMP)),
        "No 'data' chunk marker",
    ),
    "too many channels": (
        riff(fmt(bits=8, channels=4000), chunk(b"data", bytes(8000))),
        "Too many channels specified",
    ),
    "sample rate of 1 Hz": (
        riff(fmt(rate=1), chunk(b"data", RAMP)),
        "its header declares a sample rate of 1 Hz",
    ),
    "unknown format": (riff(fmt(tag=0x1234), chunk(b"data", RAMP)), "Malformed 'fmt ' chunk"),
    "not a number": (
        riff(fmt(3, 2, 32), chunk(b"data", struct.pack("<6f", 0, 0, 0.5, np.nan, np.inf, 0))),
        "sample 1 of channel 1 is nan, not a finite number",
    ),
    "infinite": (
        riff(fmt(3, 1, 32), chunk(b"data", struct.pack("<2f", 0, -np.inf))),
        "sample 1 of channel 0 is -inf, not a finite number",
    ),
    "too large for float32": (
        riff(fmt(3, 1, 64), chunk(b"data", struct.pack("<2d", 0, 1e300))),
        "sample 1 of channel 0 is inf, not a finite number",
    ),
    # Finite, but their mean is not; nor is the mel power of the next.
    "two channels that add up to infinity": (
        riff(fmt(3, 2, 32), chunk(b"data", struct.pack("<2f", 3e38, 3e38))),
        "sample 0 of channel 0 is 3e+38, where full scale is 1",
    ),
    "bytes that are no floats": (
        riff(fmt(3, 1, 32), chunk(b"data", struct.pack("<3f", 0.5, -1e20, 0))),
        "sample 1 of channel 0 is -1e+20, where full scale is 1",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused_with_file_reason_and_remedy(name, tmp_path, either_decoder):
    content, reason = DAMAGED[name]
    path = write(tmp_path, content)
    with pytest.raises(AudioError) as error:
        load_waveform(path)
    message = str(error.value)
    assert message.startswith(f"Cannot read audio file {path}: ")
    assert reason in message
    remedy = message.rsplit(". ", 1)[1]
    assert remedy.split()[0] in {"Convert", "Download", "Export", "Record,", "Export,"}
    assert message.endswith(".")
    assert ".." not in message.removeprefix(f"Cannot read audio file {path}")


LOSSLESS = {
    # (container, subtype): half a quantisation step, or what float32 adds
    ("WAV", "PCM_U8"): 1 / 128,
    ("WAV", "PCM_16"): 1 / 2**15,
    ("WAV", "PCM_24"): 1 / 2**22,
    ("WAV", "PCM_32"): 1e-7,
    ("WAV", "FLOAT"): 1e-7,
    ("WAV", "DOUBLE"): 1e-7,
    ("WAVEX", "PCM_24"): 1 / 2**22,
    ("RF64", "PCM_16"): 1 / 2**15,
    ("RF64", "FLOAT"): 1e-7,
    ("W64", "PCM_24"): 1 / 2**22,
    ("AIFF", "PCM_16"): 1 / 2**15,
    ("AIFF", "FLOAT"): 1e-7,
    ("AU", "PCM_16"): 1 / 2**15,
    ("CAF", "PCM_24"): 1 / 2**22,
    ("CAF", "ALAC_16"): 1 / 2**15,
    ("FLAC", "PCM_16"): 1 / 2**15,
    ("FLAC", "PCM_24"): 1 / 2**22,
}
LOSSY = [
    ("WAV", "ALAW"),
    ("WAV", "ULAW"),
    ("WAV", "MS_ADPCM"),
    ("WAV", "IMA_ADPCM"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]
RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 11_024, 96_000, 192_000)


def _matrix():
    """Every format with every number of channels it takes; the rates go round, so that each format meets many."""
    number = 0
    for container, subtype in (*LOSSLESS, *LOSSY):
        rates = {"MP3": RATES[:8], "OPUS": (8_000, 16_000, 48_000)}.get(
            subtype if subtype == "OPUS" else container, RATES
        )
        most = 2 if container == "MP3" or "ADPCM" in subtype else 8
        for channels in (n for n in (1, 2, 3, 6, 8) if n <= most):
            number += 1
            yield pytest.param(
                container, subtype, rates[number % len(rates)], channels, id=f"{container}-{subtype}-{channels}"
            )


@pytest.mark.parametrize(("container", "subtype", "rate", "channels"), list(_matrix()))
def test_every_format_rate_and_number_of_channels(container, subtype, rate, channels, tmp_path, either_decoder):
    path = tmp_path / "clip.wav"
    signal = sine(4000, rate=rate, channels=channels)
    soundfile.write(path, signal, rate, format=container, subtype=subtype)
    decoded = decode(path)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    np.testing.assert_array_equal(decoded.samples, expected)
    if (container, subtype) in LOSSLESS:
        assert decoded.samples.shape == signal.shape
        assert np.abs(decoded.samples - signal).max() <= LOSSLESS[container, subtype]
    waveform, origin = load_with_origin(path)
    mean = expected.astype(np.float64).mean(axis=1)
    resampled = mean if rate == RATE else soxr.resample(mean, rate, RATE, quality="HQ")
    assert abs(len(waveform) - len(expected) * RATE / rate) <= 1
    np.testing.assert_allclose(waveform, resampled, atol=1e-4)
    assert origin == decoded.origin
    assert (origin.channels, origin.sample_rate, origin.frames) == (channels, rate, len(expected))
    assert origin.container == {"WAVEX": "WAV"}.get(container, container)


@pytest.mark.parametrize(
    ("container", "subtype", "tag", "bits"),
    [
        ("WAV", "PCM_24", 1, 24),
        ("WAVEX", "FLOAT", 3, 32),
        ("WAV", "ULAW", 7, 8),
        ("WAV", "IMA_ADPCM", 0x11, 4),
        ("WAV", "GSM610", 0x31, None),
        ("RF64", "FLOAT", None, 32),
        ("FLAC", "PCM_24", None, 24),
        ("AIFF", "PCM_S8", None, 8),
        ("CAF", "ALAC_20", None, 20),
        ("CAF", "DOUBLE", None, 64),
        ("OGG", "VORBIS", None, None),
    ],
)
def test_says_what_a_file_was(container, subtype, tag, bits, tmp_path, either_decoder):
    path = tmp_path / "clip.wav"
    soundfile.write(path, sine(1000, channels=1), RATE, format=container, subtype=subtype)
    origin = decode(path).origin
    assert (origin.format_tag, origin.bits) == (tag, bits)
    assert origin.decoder in ("tensorflow-io", "soundfile")


AROUND = {
    "JUNK": (chunk(b"JUNK", bytes(28)), b""),
    "bext": (chunk(b"bext", bytes(602)), b""),
    "LIST": (chunk(b"LIST", b"INFOISFT\x04\0\0\0abc\0"), chunk(b"LIST", b"INFO")),
    "an odd chunk": (chunk(b"JUNK", b"x"), b""),
    "odd chunks all around": (chunk(b"odd ", b"xyz"), chunk(b"id3 ", b"x") + chunk(b"cue ", bytes(4))),
}


@pytest.mark.parametrize("name", AROUND)
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "MS_ADPCM"])
def test_chunks_around_the_audio_change_nothing(name, subtype, tmp_path, either_decoder):
    path = tmp_path / "clip.wav"
    soundfile.write(path, sine(999, channels=2), RATE, subtype=subtype)
    expected = decode(path)
    before, after = AROUND[name]
    content = path.read_bytes()
    at = content.index(b"data")
    path.write_bytes(content[:at] + before + content[at:] + after)
    found = decode(path)
    np.testing.assert_array_equal(found.samples, expected.samples)
    assert found.origin.frames == expected.origin.frames


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        *(("WAV", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW")),
        *(("WAVEX", subtype) for subtype in ("PCM_16", "PCM_24", "FLOAT")),
        *(("WAV", subtype) for subtype in ("MS_ADPCM", "IMA_ADPCM")),
    ],
)
def test_sizes_of_data_that_are_no_sizes(container, subtype, tmp_path, either_decoder):
    path = tmp_path / "clip.wav"
    soundfile.write(path, sine(1000, channels=2), RATE, format=container, subtype=subtype)
    expected = decode(path).samples
    content = path.read_bytes()
    at = content.index(b"data") + 4
    path.write_bytes(content[:at] + b"\xff" * 4 + content[at + 4 :])
    np.testing.assert_array_equal(decode(path).samples, expected)
    path.write_bytes(content[:at] + bytes(4) + content[at + 4 :])
    found = decode(path)
    np.testing.assert_array_equal(found.samples, expected)
    assert found.origin.remark == "its header does not give its length; it was read to the end of the file"


@pytest.mark.parametrize("n_frames", [2**31 + 7, 2**36 - 1])
def test_frames_that_a_flac_header_invents_are_not_allocated(n_frames, tmp_path, monkeypatch):
    path = tmp_path / "clip.flac"
    soundfile.write(path, sine(3000), RATE)
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | n_frames >> 32
    content[22:26] = struct.pack(">I", n_frames % 2**32)
    path.write_bytes(content)
    made = []
    empty = np.empty
    monkeypatch.setattr(
        np, "empty", lambda shape, *args, **kw: made.append(np.prod(shape)) or empty(shape, *args, **kw)
    )
    with pytest.raises(AudioError) as error:
        load_waveform(path)
    assert not isinstance(error.value.__cause__, MemoryError)
    assert max(made) <= 2 * decoder._BLOCK_FRAMES


def test_long_silence_is_read_though_it_is_small(tmp_path):
    path = tmp_path / "clip.flac"
    soundfile.write(path, np.zeros(3_000_000), RATE)
    assert path.stat().st_size < 3_000_000 / decoder._FRAMES_A_BYTE
    assert load_waveform(path).shape == (3_000_000,)


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_more_than_memory_should_hold_is_refused(ending, tmp_path, monkeypatch, either_decoder):
    """A few MB of FLAC can hold days of silence; here a hundredth of a second."""
    path = tmp_path / f"clip.{ending}"
    soundfile.write(path, np.zeros((441, 2)), RATE)
    assert decoder._MOST_SAMPLES * 4 == 2**30
    monkeypatch.setattr(decoder, "_BLOCK_FRAMES", 100)
    used = decode(path).origin.decoder
    for frames_a_byte in (16, 0):  # as the header says, and block by block
        monkeypatch.setattr(decoder, "_FRAMES_A_BYTE", frames_a_byte)
        monkeypatch.setattr(decoder, "_MOST_SAMPLES", 2 * 441)
        assert decode(path).samples.shape == (441, 2) and decode(path).origin.decoder == used
        monkeypatch.setattr(decoder, "_MOST_SAMPLES", 2 * 441 - 1)
        with pytest.raises(AudioError, match=rf"clip.{ending}: it has more than 881 samples. Cut it into shorter"):
            decode(path)
    monkeypatch.setattr(decoder, "_MOST_SAMPLES", 2 * 441)
    assert load_waveform(path).shape == (441,)  # of which the mean of two channels is held, not both
    monkeypatch.setattr(decoder, "_FRAMES_A_BYTE", 16)
    told = r"it has 441 samples at 44,100 Hz, 1,323 at 132,300 Hz; the limit in memory is 882\. Cut it"
    with pytest.raises(AudioError, match=told):
        load_waveform(path, sample_rate=3 * RATE)
    monkeypatch.setattr(decoder, "_MOST_SAMPLES", 440)
    with pytest.raises(AudioError, match="it has 441 samples at 44,100 Hz; the limit in memory is 440"):
        load_waveform(path)
    assert len(np.concatenate(list(waveform_blocks(path)))) == 441  # has no limit


def test_a_file_named_as_standard_input_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write(tmp_path / "clip.flac", np.full(100, 0.5), RATE)
    (tmp_path / "clip.flac").rename("-")
    np.testing.assert_allclose(load_waveform("-"), 0.5, atol=1e-4)


def test_the_whole_message_of_a_truncated_file(tmp_path):
    path = write(tmp_path, riff(fmt(), chunk(b"data", RAMP, declared_size=352800)))
    with pytest.raises(AudioError) as error:
        load_waveform(path)
    assert str(error.value) == (
        f"Cannot read audio file {path}: it has 1000 of the 176400 frames declared in its "
        "header (truncated). Download or copy it again."
    )


def test_fact_counted_over_all_channels_is_not_truncation(tmp_path):
    fact = chunk(b"fact", struct.pack("<I", 2 * 4082))
    path = write(tmp_path, riff(ADPCM, fact, chunk(b"data", bytes(4096))))
    assert decode(path).samples.shape == (4082, 2)


def test_more_frames_by_fact_than_all_channels_hold_are_truncation(tmp_path):
    fact = chunk(b"fact", struct.pack("<I", 2 * 4082 + 1))
    path = write(tmp_path, riff(ADPCM, fact, chunk(b"data", bytes(4096))))
    with pytest.raises(AudioError, match="it has 4082 of the 8165 frames"):
        decode(path)


def test_twenty_bits_in_a_24_bit_container(tmp_path, either_decoder):
    values = np.array([0, 2**19 - 1, -(2**19)]) << 4
    data = b"".join(int(value).to_bytes(3, "little", signed=True) for value in values)
    content = riff(fmt(0xFFFE, 1, 24, extra=EXTENSIBLE_20_IN_24), chunk(b"data", data))
    expected = (values / 2**23).astype(np.float32)
    np.testing.assert_array_equal(decode(write(tmp_path, content)).samples[:, 0], expected)


def test_values_beyond_one_are_kept(tmp_path, either_decoder):
    data = struct.pack("<3f", 1.5, -2.0, 0.25)
    path = write(tmp_path, riff(fmt(3, 1, 32), chunk(b"data", data)))
    np.testing.assert_array_equal(load_waveform(path), np.float32([1.5, -2.0, 0.25]))


def test_a_missing_file(tmp_path):
    with pytest.raises(AudioError, match=r"nothing\.wav: file not found\. Check the path"):
        load_waveform(tmp_path / "nothing.wav")


def test_a_folder(tmp_path):
    with pytest.raises(AudioError, match=r": it is a folder\. Check the path\."):
        load_waveform(str(tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="not a regular file"):
        load_waveform(tmp_path / "pipe.wav")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = write(tmp_path, riff(fmt(), chunk(b"data", RAMP)))

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AudioError, match="Permission denied. Check the path and its permissions."):
        load_waveform(path)


def test_a_name_that_is_no_path():
    with pytest.raises(AudioError, match="null") as error:
        load_waveform("a\0b.wav")
    assert r"a\x00b.wav" in str(error.value)


def test_a_headerless_file(tmp_path):
    with pytest.raises(AudioError, match=r"clip\.raw: "):
        load_waveform(write(tmp_path, RAMP, "clip.raw"))


def test_odd_names_are_read_and_reported_printably(tmp_path):
    name = "löwe 'x' %s {y}\nz.wav"
    try:
        path = write(tmp_path, riff(fmt(), chunk(b"data", RAMP)), name)
    except OSError:
        pytest.skip("this file system refuses line breaks in names")
    assert load_waveform(path).shape == (1000,)
    path.write_bytes(b"")
    with pytest.raises(AudioError) as error:
        load_waveform(path)
    assert str(error.value).isprintable()
    assert r"{y}\nz.wav" in str(error.value)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are always text there")
def test_a_name_that_is_not_utf_8(tmp_path, either_decoder):
    path = write(tmp_path, riff(fmt(), chunk(b"data", RAMP)), os.fsdecode(b"l\xf6we.wav"))
    assert load_waveform(path).shape == (1000,)
    path.write_bytes(b"")
    with pytest.raises(AudioError, match=r"l\\udcf6we\.wav: it is empty"):
        load_waveform(path)


def test_importing_the_module_does_not_import_tensorflow():
    code = "import sys, loglearn_tf.audio; assert not {'tensorflow', 'librosa'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "header", "n_samples"),
    [
        ("100032-3-0-0.wav", (1, 2, 44100, 16), 14004),
        ("100648-1-0-0.wav", (1, 2, 44100, 16), 28600),
        ("102853-8-0-0.wav", (1, 2, 44100, 16), 176400),
        ("103074-7-0-0.wav", (1, 2, 48000, 24), 176400),  # EXTENSIBLE, 192000 frames
        ("dog_bark_1.wav", (1, 1, 11025, 16), 38680),
    ],
)
def test_real_clips(name, header, n_samples, shared, either_decoder):
    path = shared / "data" / "raw-formats" / name
    found = read_wav_header(path)
    assert header == (
        found.format_tag,
        found.channels,
        found.sample_rate,
        found.bits_per_sample,
    )
    assert choose_decoder(found) == "tensorflow-io"
    waveform = load_waveform(path)
    assert waveform.shape == (n_samples,)
    assert waveform.dtype == np.float32
    assert 0.01 < np.abs(waveform).max() < 1.1  # dog_bark_1 overshoots 1 when resampled
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    np.testing.assert_array_equal(decode(path).samples, expected)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(content=riff_headers())
def test_any_bytes_are_decoded_or_refused(content, tmp_path_factory):
    path = write(tmp_path_factory.getbasetemp(), content, "arbitrary.wav")
    try:
        waveform = load_waveform(path)
    except AudioError:
        return
    assert np.isfinite(waveform).all()
