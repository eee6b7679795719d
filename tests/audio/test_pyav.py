"""What PyAV decodes, where it is installed."""

import fractions
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_files import write

from loglearn_tf.audio import decode, load_waveform, load_with_origin, waveform_blocks
from loglearn_tf.errors import AudioError

av = pytest.importorskip("av")

N_FRAMES = 50_001
# name: (FFmpeg's format and codec, rate, channels, container, frames more than written, root-mean-square difference)
FORMATS = {
    "clip.m4a": ("ipod", "aac", 44_100, 1, "MP4", range(1024), 0.02),
    "stereo.mp4": ("mp4", "aac", 48_000, 2, "MP4", range(1024), 0.02),
    "lossless.m4a": ("ipod", "alac", 44_100, 2, "MP4", range(1), 2**-14),
    "clip.mov": ("mov", "pcm_s16le", 44_100, 2, "MP4", range(1), 2**-14),
    "clip.webm": ("webm", "libopus", 48_000, 1, "WebM", range(1), 0.02),
    "clip.mka": ("matroska", "pcm_s16le", 44_100, 1, "WebM", range(1), 2**-14),
    "clip.wma": ("asf", "wmav2", 44_100, 2, "WMA", range(-1024, 1), None),
    "clip.3gp": ("3gp", "libopencore_amrnb", 8_000, 1, "MP4", range(320), None),
    "clip.amr": ("amr", "libopencore_amrnb", 8_000, 1, "AMR", range(320), None),
    "clip.aac": ("adts", "aac", 44_100, 1, "AAC", range(2048), None),
    "clip.wv": ("wv", "wavpack", 44_100, 1, "WavPack", range(1), 2**-7),
    "clip.tta": ("tta", "tta", 44_100, 2, "TTA", range(1), 2**-7),
}


def signal(rate: int, channels: int) -> np.ndarray:
    """`(N_FRAMES, channels)` float32: tones of 300 and 600 Hz, by channel."""
    time = np.arange(N_FRAMES)[:, np.newaxis] / rate
    return (0.3 * np.sin(2 * np.pi * 300 * time * np.arange(1, channels + 1))).astype(np.float32)


def make(path: Path, container: str, codec: str, rate: int, channels: int) -> None:
    layout = "stereo" if channels == 2 else "mono"
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        stream.time_base = fractions.Fraction(1, rate)
        if codec in ("wmav2", "aac"):
            stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(signal(rate, channels).reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, fractions.Fraction(1, rate)
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.format, layout, rate, size)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            file.mux(stream.encode(part))


@pytest.mark.parametrize("name", FORMATS)
def test_formats_that_soundfile_does_not_read(name, tmp_path):
    form, codec, rate, channels, container, n_more, loss = FORMATS[name]
    path = tmp_path / name
    make(path, form, codec, rate, channels)
    with pytest.raises(soundfile.SoundFileError):
        soundfile.info(path)
    found = decode(path)
    origin = found.origin
    assert (origin.decoder, origin.container, origin.sample_rate, origin.channels) == (
        "PyAV",
        container,
        rate,
        channels,
    )
    assert found.samples.dtype == np.float32 and found.samples.shape == (origin.frames, channels)
    with av.open(str(path)) as file:
        assert origin.frames == sum(frame.samples for frame in file.decode(audio=0))
    assert origin.frames - N_FRAMES in n_more
    if loss is not None:
        difference = found.samples[:N_FRAMES] - signal(rate, channels)
        assert np.sqrt(np.mean(difference**2)) < loss
    else:  # speech coders, and those whose delay no container tells: the tones are there, and loud
        spectrum = np.abs(np.fft.rfft(found.samples[:, 0][: rate // 2]))
        assert abs(2 * int(spectrum.argmax()) - 300) <= 4
    waveform, same = load_with_origin(path, sample_rate=16_000)
    assert same == origin and abs(len(waveform) - origin.frames * 16_000 / rate) <= 1
    np.testing.assert_array_equal(
        np.concatenate(list(waveform_blocks(path, sample_rate=16_000, seconds=0.3))), waveform
    )


def test_a_name_is_not_taken_for_an_address(tmp_path, monkeypatch):
    """FFmpeg would open `concat:...` or `http:...` as such."""
    make(tmp_path / "clip.m4a", "ipod", "alac", 44_100, 1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.m4a").rename("concat:a|b.m4a")
    assert len(load_waveform("concat:a|b.m4a")) == N_FRAMES


@pytest.mark.parametrize("name", ["clip.m4a", "clip.webm", "clip.mov"])
@pytest.mark.parametrize("kept", [0.3, 0.8])
def test_files_that_were_cut_are_refused(name, kept, tmp_path):
    path = tmp_path / name
    make(path, *FORMATS[name][:4])
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(AudioError, match=rf"{name}: .*(truncated|FFmpeg's decoder says: Invalid data).*\. Download"):
        load_waveform(path)


def test_a_film_without_sound(tmp_path):
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    with pytest.raises(AudioError, match=r"film\.mp4: it is MP4 without sound\. Remove it"):
        load_waveform(path)


def test_bytes_that_only_start_like_such_a_file(tmp_path):
    for start in (b"\0\0\0\x1cftypM4A ", b"\x1a\x45\xdf\xa3", b"#!AMR\n", b"\xff\xf1\x50\x80", b"wvpk"):
        content = start + np.random.default_rng(0).bytes(3000)
        try:
            assert np.isfinite(load_waveform(write(tmp_path, content))).all()
        except AudioError as error:
            assert "clip.wav: " in str(error)
