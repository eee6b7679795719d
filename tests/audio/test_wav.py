"""Headers of RIFF/WAVE files, whole and damaged."""

import struct
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sound_files import RAMP, RATE, chunk, fmt, riff, riff_headers, write

from loglearn_tf.audio import WavHeader, choose_decoder, read_wav_header
from loglearn_tf.errors import AudioError


def test_header_of_a_minimal_file(tmp_path):
    header = read_wav_header(write(tmp_path, riff(fmt(channels=2), chunk(b"data", RAMP))))
    assert header == WavHeader(
        format_tag=1,
        channels=2,
        sample_rate=44100,
        block_align=4,
        bits_per_sample=16,
        data_offset=44,
        data_size=2000,
        available_size=2000,
        odd_chunk_before_data=False,
        fact_frames=None,
    )
    assert header.declared_frames == 500


def test_header_reads_fact_and_the_chunks_around(tmp_path):
    content = riff(
        chunk(b"JUNK", bytes(28)),
        fmt(),
        chunk(b"fact", struct.pack("<I", 777)),
        chunk(b"data", RAMP),
        chunk(b"LIST", b"INFO"),
    )
    header = read_wav_header(write(tmp_path, content))
    assert header.fact_frames == 777
    assert header.data_offset == 44 + 36 + 12
    assert header.available_size == header.data_size + 12
    assert header.declared_frames == 1000  # `fact` is redundant for PCM, and often wrong


def test_a_chunk_that_is_not_fact_tells_no_frames(tmp_path):
    content = riff(fmt(), chunk(b"id3 ", struct.pack("<I", 777)), chunk(b"data", RAMP))
    assert read_wav_header(write(tmp_path, content)).fact_frames is None


def test_chunks_before_data_are_counted(tmp_path):
    def with_junk(n: int) -> Path:
        return write(tmp_path, riff(fmt(), *[chunk(b"JUNK", b"xy")] * n, chunk(b"data", RAMP)))

    assert read_wav_header(with_junk(254)).declared_frames == 1000  # `fmt ` and `data` make 256
    with pytest.raises(AudioError, match="its header is damaged"):
        read_wav_header(with_junk(255))


def test_a_fmt_chunk_that_is_too_short(tmp_path):
    path = write(tmp_path, riff(chunk(b"fmt ", fmt()[8:23]), chunk(b"data", RAMP)))
    with pytest.raises(AudioError, match="its header is damaged"):
        read_wav_header(path)


def stereo_24(*, data_size: int, available_size: int) -> WavHeader:
    """A frame has six bytes, which is no power of two."""
    return WavHeader(
        format_tag=1,
        channels=2,
        sample_rate=RATE,
        block_align=6,
        bits_per_sample=24,
        data_offset=44,
        data_size=data_size,
        available_size=available_size,
        odd_chunk_before_data=False,
        fact_frames=None,
    )


def test_a_part_of_a_frame_at_the_end_may_be_missing():
    assert not stereo_24(data_size=20, available_size=18).is_cut
    assert stereo_24(data_size=20, available_size=17).is_cut


def test_the_size_that_sox_declares_of_a_stream_is_whole_frames():
    size = 0x7FFFF000 // 6 * 6
    assert size != 0x7FFFF000 and stereo_24(data_size=size, available_size=600).size_is_unknown
    assert not stereo_24(data_size=size - 6, available_size=600).size_is_unknown


def test_a_file_without_frames_is_for_soundfile():
    assert choose_decoder(stereo_24(data_size=6, available_size=6)) == "tensorflow-io"
    assert choose_decoder(stereo_24(data_size=0, available_size=0)) == "soundfile"


# Variants of the 1000-frame ramp. What is not laid out plainly goes to soundfile: given


@settings(max_examples=200, derandomize=True, deadline=None)
@given(content=st.one_of(st.binary(max_size=200), riff_headers()))
@example(content=riff(fmt(), chunk(b"JUNK", b"", declared_size=2**32 - 1), chunk(b"data", RAMP)))
def test_any_bytes_give_a_header_none_or_an_audio_error(content, tmp_path_factory):
    path = write(tmp_path_factory.getbasetemp(), content, "arbitrary.wav")
    try:
        header = read_wav_header(path)
    except AudioError:
        return
    assert choose_decoder(header) in {"tensorflow-io", "soundfile"}
    if header is not None:
        assert 0 <= header.available_size <= len(content)
        assert header.declared_frames is None or header.declared_frames >= 0
