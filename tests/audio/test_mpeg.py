"""MPEG audio: every frame is decoded, whatever the file says of its length, and nothing is printed."""

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_files import RATE, chunk, riff, write

from loglearn_tf.audio import decode
from loglearn_tf.audio.mpeg import Format, scan
from loglearn_tf.errors import AudioError

FRAME = 1152  # samples
KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)


def encoded(mode: str = "CONSTANT", *, n_frames: int = 60_000, channels: int = 1, quality: float = 0.5) -> bytes:
    """Half a sound, a third silence, then the rest: of variable bit rate, the first frames are its largest."""
    time = np.arange(n_frames)
    noise = np.random.default_rng(0).normal(0, 0.1, (n_frames, channels))
    signal = (0.3 * np.sin(0.07 * time)[:, np.newaxis] + noise) * (time < n_frames / 3)[:, np.newaxis]
    file = io.BytesIO()
    soundfile.write(file, signal, RATE, format="MP3", bitrate_mode=mode, compression_level=quality)
    return file.getvalue()


def frames(content: bytes) -> list[bytes]:
    """The frames of plain MPEG-1 layer III at 44.1 kHz, by the formula of the standard."""
    at, found = 0, []
    while at < len(content):
        assert content[at] == 0xFF and content[at + 1] & 0xFE == 0xFA
        size = 144_000 * KBPS[content[at + 2] >> 4] // RATE + (content[at + 2] >> 1 & 1)
        found.append(content[at : at + size])
        at += size
    return found


WHOLE = {mode: encoded(mode) for mode in ("CONSTANT", "VARIABLE")}
BARE = {mode: frames(content)[1:] for mode, content in WHOLE.items()}  # without the frame of the tag
ID3V2 = b"ID3\4\0\0" + bytes([0, 0, 2, 44]) + b"\xff\xfb\x90\x64" * 75  # 300 bytes, as of a picture: no frames
ID3V1 = b"TAG" + bytes(125)
APE = (
    b"APETAGEX"
    + struct.pack("<IIII8x", 2000, 40, 1, 1 << 31 | 1 << 29)
    + bytes(40)
    + b"APETAGEX"
    + struct.pack("<IIII8x", 2000, 40, 1, 1 << 31)
)


@pytest.mark.parametrize("mode", WHOLE)
class TestStreamsWithoutATag:
    """Of recorders, web radio and pipes: their length is nowhere written."""

    def test_every_frame_is_decoded(self, mode, tmp_path):
        whole = decode(write(tmp_path, WHOLE[mode], "clip.mp3"))
        bare = decode(write(tmp_path, b"".join(BARE[mode]), "clip.mp3"))
        assert len(bare.samples) == FRAME * len(BARE[mode]) == bare.origin.frames
        assert bare.origin.container == "MP3" and bare.origin.remark == ""
        # The tag says what the encoder added at the start: 576 samples, and the decoder's own 529.
        begin = 576 + 529
        np.testing.assert_allclose(bare.samples[begin : begin + 60_000], whole.samples, atol=1e-6)

    @pytest.mark.parametrize("n_frames", [1, 2, 3, 4])
    def test_a_short_one(self, n_frames, mode, tmp_path):
        """By its name, and by its frames; the end of the file tells that there is no other."""
        for name in ("clip.mp3", "clip.wav"):
            for cut in (0, 20):
                content = b"".join(BARE[mode][: n_frames + 1]) if cut else b"".join(BARE[mode][:n_frames])
                found = decode(write(tmp_path, content[: len(content) - cut], name))
                assert len(found.samples) == FRAME * n_frames

    def test_whatever_is_around_it(self, mode, tmp_path):
        bare = decode(write(tmp_path, b"".join(BARE[mode]))).samples
        for before in (b"", ID3V2, ID3V2 + ID3V2):
            for after in (b"", ID3V1, APE, APE + ID3V1):
                found = decode(write(tmp_path, before + b"".join(BARE[mode]) + after))
                np.testing.assert_array_equal(found.samples, bare)
                assert found.origin.remark == ""

    def test_one_that_begins_and_ends_within_a_frame(self, mode, tmp_path):
        content = BARE[mode][0][100:] + b"".join(BARE[mode][1:])
        found = decode(write(tmp_path, content[:-20]))
        assert len(found.samples) == FRAME * (len(BARE[mode]) - 2)
        assert "bytes before, between or after its frames are not audio" in found.origin.remark
        assert found.origin.remark.endswith("its last frame is incomplete and was omitted")

    def test_two_in_a_row(self, mode, tmp_path):
        first, second = ID3V2 + b"".join(BARE[mode]) + ID3V1, ID3V2 + b"".join(BARE[mode])
        found = decode(write(tmp_path, first + second))
        assert len(found.samples) == 2 * FRAME * len(BARE[mode])
        assert found.origin.remark == ""

    def test_in_a_wav_file(self, mode, tmp_path):
        fmt = chunk(b"fmt ", struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 16_000, 1, 0, 12, 1, 2, 417, 1, 1393))
        for size in (None, 0xFFFFFFFF, 0):
            made = riff(fmt, chunk(b"data", b"".join(BARE[mode]), declared_size=size))
            found = decode(write(tmp_path, made))
            np.testing.assert_array_equal(found.samples, decode(write(tmp_path, b"".join(BARE[mode]))).samples)
            assert (found.origin.container, found.origin.format_tag) == ("WAV", 0x55)
            assert (size is None) == (found.origin.remark == "")
        with pytest.raises(AudioError, match="truncated"):
            decode(write(tmp_path, riff(fmt, chunk(b"data", b"".join(BARE[mode])))[:-2000]))

    def test_junk_within_it(self, mode, tmp_path):
        content = b"".join(BARE[mode][:20]) + b"\0junk" * 100 + b"".join(BARE[mode][20:])
        found = decode(write(tmp_path, content))
        assert len(found.samples) == FRAME * len(BARE[mode])
        assert found.origin.remark == "500 bytes before, between or after its frames are not audio"


@pytest.mark.parametrize("mode", WHOLE)
class TestFilesWithATag:
    def test_equals_soundfile_bit_for_bit(self, mode, tmp_path):
        path = write(tmp_path, WHOLE[mode], "clip.mp3")
        expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
        assert len(expected) == 60_000
        np.testing.assert_array_equal(decode(path).samples, expected)
        np.testing.assert_array_equal(decode(write(tmp_path, ID3V2 + WHOLE[mode] + ID3V1)).samples, expected)

    def test_one_that_was_cut_is_refused(self, mode, tmp_path):
        for kept in (0.2, 0.5, 0.98):
            path = write(tmp_path, WHOLE[mode][: int(kept * len(WHOLE[mode]))])
            with pytest.raises(AudioError, match=r"it has \d+ of the \d+ MPEG frames .* \(truncated\)"):
                decode(path)

    @pytest.mark.parametrize("n_frames", [0, 1, 10, 1_000_000])
    def test_a_wrong_count_does_not_matter(self, n_frames, mode, tmp_path):
        """Never filled in, or of the first of two files that were joined."""
        at = WHOLE[mode].index(b"Info" if mode == "CONSTANT" else b"Xing") + 8
        content = bytearray(WHOLE[mode])
        content[at : at + 4] = struct.pack(">I", n_frames)
        found = decode(write(tmp_path, bytes(content)))
        bare = decode(write(tmp_path, b"".join(BARE[mode])))
        np.testing.assert_array_equal(found.samples, bare.samples)
        assert f"but its first frame declares {n_frames}" in found.origin.remark

    def test_two_files_joined(self, mode, tmp_path):
        found = decode(write(tmp_path, WHOLE[mode] + WHOLE[mode]))
        assert len(found.samples) == FRAME * (2 * len(BARE[mode]) + 1)  # the second tag is silent
        assert "but its first frame declares" in found.origin.remark


def test_free_format(tmp_path):
    """The same frames, whose headers do not say the bit rate: as long as the first."""
    content = BARE["CONSTANT"]
    free = [frame[:2] + bytes([frame[2] & 0x0F]) + frame[3:] for frame in content]
    found = decode(write(tmp_path, b"".join(free)))
    np.testing.assert_array_equal(found.samples, decode(write(tmp_path, b"".join(content))).samples)


@pytest.mark.parametrize(
    ("codec", "container", "rate", "form"),
    [
        ("mp2", "mp2", 44_100, Format(3, 2, 44_100, 2)),
        ("mp2", "mp2", 24_000, Format(2, 2, 24_000, 2)),
        ("libmp3lame", "mp3", 22_050, Format(2, 3, 22_050, 2)),
        ("libmp3lame", "mp3", 8_000, Format(0, 3, 8_000, 2)),
    ],
)
def test_other_layers_and_versions_against_ffmpeg(codec, container, rate, form, tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / f"clip.{container}"
    with av.open(str(path), "w", format=container, options={"write_xing": "0"} if codec != "mp2" else {}) as file:
        stream = file.add_stream(codec, rate=rate, layout="stereo")
        signal = (0.3 * np.sin(0.05 * np.arange(2 * 30_000))).astype(np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(signal, format="flt", layout="stereo")
        frame.sample_rate = rate
        for part in (*av.AudioResampler(stream.format, "stereo", rate).resample(frame), None):
            file.mux(stream.encode(part))
    with av.open(str(path)) as file:
        expected = sum(part.samples for part in file.decode(audio=0))
    with path.open("rb") as opened:
        stream = scan(opened, 0, path.stat().st_size)
    assert stream.format == form
    found = decode(path)
    assert len(found.samples) == expected == stream.n_frames * form.samples_per_frame
    assert (found.origin.sample_rate, found.origin.channels, found.origin.remark) == (rate, 2, "")


def test_layer_1(tmp_path):
    """Silence, made by hand: a header, and no bits for any band."""
    frame = b"\xff\xff\x50\xc0" + bytes(12 * 160_000 // RATE * 4 - 4)
    found = decode(write(tmp_path, 50 * frame))
    assert found.samples.shape == (50 * 384, 1) and not found.samples.any()


def test_a_change_of_format_is_refused(tmp_path):
    content = b"".join(BARE["CONSTANT"]) + encoded(channels=2)
    told = f"44100 Hz, 1 channels become 44100 Hz, 2 channels after {len(BARE['CONSTANT'])} MPEG frames. Convert"
    with pytest.raises(AudioError, match=told):
        decode(write(tmp_path, content))


def test_what_is_no_mpeg_audio_is_not_taken_for_it():
    noise = np.random.default_rng(1).bytes(300_000)
    for content in (noise, b"\xff\xfb\x90\x64" * 1000, b"\xff" * 10_000, bytes(10_000), b"\xff\xfe" + b"a\0" * 5000):
        for search in (0, 1 << 16):
            assert scan(io.BytesIO(content), 0, len(content), search=search) is None


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    begin=st.integers(0, 5),
    at=st.sampled_from([0, 3, 4, 10, 20, 30]),  # after fewer than three, frames are not known for what they are
    junk=st.binary(max_size=200),
    cut=st.integers(0, 1500),
)
def test_all_whole_frames_are_found_and_nothing_else(begin, at, junk, cut):
    whole = BARE["VARIABLE"][begin : begin + 30]
    junk = junk.replace(b"\xff", b"\0")
    content = b"".join((*whole[:at], junk, *whole[at:]))
    content = content[: len(content) - cut]
    ends = np.cumsum([len(frame) for frame in whole]) + np.where(np.arange(30) >= at, len(junk), 0)
    stream = scan(io.BytesIO(content), 0, len(content), search=1 << 16)
    kept = ends <= len(content)
    assert stream.n_frames == kept.sum()
    held = b"".join(content[start:end] for start, end in stream.pieces)
    assert held == b"".join(frame for frame, is_kept in zip(whole, kept, strict=True) if is_kept)


def test_nothing_is_printed(tmp_path):
    """mpg123 writes to standard error whatever it meets between frames, and of a tag with another size."""
    content = [
        WHOLE["VARIABLE"],
        encoded("VARIABLE", n_frames=1500),  # so short that any other byte is one in a hundred
        ID3V2 + WHOLE["VARIABLE"] + APE + ID3V1,
        b"".join(BARE["VARIABLE"]) + ID3V1,
        BARE["VARIABLE"][0][50:] + b"".join(BARE["VARIABLE"][1:20]) + b"junk" * 50 + b"".join(BARE["VARIABLE"][20:]),
        b"".join(BARE["CONSTANT"])[:-30],
        WHOLE["CONSTANT"][:-3000],
    ]
    paths = [str(write(tmp_path, made, f"{number}.mp3")) for number, made in enumerate(content)]
    program = (
        "import sys\nfrom loglearn_tf.audio import load_waveform\n"
        "for path in sys.argv[1:]:\n    try: print(len(load_waveform(path)))\n    except ValueError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.split()[0] == "60000" and done.stdout.split()[-1] == "refused"
    assert done.stdout.count("refused") == 1
