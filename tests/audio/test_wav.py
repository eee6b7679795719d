"""Headers of RIFF/WAVE files, whole and damaged."""

import dataclasses
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


@pytest.mark.parametrize(
    "size",
    [
        *(0x7FFFFFFF, 0x80000000, 2_000_000_000, 0xFFFFFFFF, 0x7FFFF000, 0x40000000, 10**9),
        0x7FFFF000 // 6 * 6,  # SoX, in whole frames
        *(0xFFFFFFFF - 36, 0x7FFFFFFF - 44, 2_000_000_000 + 36),  # with or without the header
    ],
)
def test_sizes_that_writers_declare_who_do_not_know_them(size):
    header = stereo_24(data_size=size, available_size=600)
    assert header.size_is_unknown and not header.is_cut and header.declared_frames is None
    assert "does not give its length" in header.remark
    # A file that does hold so much has just this size.
    assert stereo_24(data_size=size, available_size=size).declared_frames == size // 6


@pytest.mark.parametrize("size", [60_000, 65_536, 1_000_000, 500_000_000, 1_500_000_000, 3_100_000_000, 4_000_200_000])
def test_a_plausible_size_of_a_file_that_was_cut(size):
    header = stereo_24(data_size=size, available_size=600)
    assert header.is_cut and not header.size_is_unknown and header.declared_frames == size // 6
    assert header.remark == ""


@pytest.mark.parametrize(
    ("excess", "available", "whole"),
    [(16, 600, True), (44, 600, True), (45, 600, False), (16, 601, False), (1, 599, False), (500, 600, False)],
)
def test_a_size_that_counts_the_header(excess, available, whole):
    """No more than the header's 44 bytes, and the file must end with a whole frame."""
    header = stereo_24(data_size=available + excess, available_size=available)
    assert header.size_counts_header == whole and header.is_cut != whole
    if whole:
        assert header.declared_frames == 100
        assert header.remark == f"its header declares {excess} bytes more than it has"


def test_the_size_of_adpcm_is_not_wrong_by_a_few_bytes():
    header = dataclasses.replace(stereo_24(data_size=616, available_size=600), format_tag=0x11, block_align=2)
    assert header.is_cut and not header.size_counts_header


def test_no_bytes_though_audio_follows(tmp_path):
    header = read_wav_header(write(tmp_path, riff(fmt(), chunk(b"data", RAMP, declared_size=0))))
    assert header.size_was_never_written and header.size_is_unknown and header.declared_frames is None
    followed = riff(fmt(), chunk(b"data", b""), chunk(b"LIST", b"INFO"))
    header = read_wav_header(write(tmp_path, followed))
    assert not header.size_was_never_written and header.declared_frames == 0


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
