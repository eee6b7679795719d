"""Damaged audio files are decoded rightly or refused; and the fuzzer notices what it is there to notice."""

import dataclasses
import importlib
import os
import time

import numpy as np
import pytest
import soundfile
from conftest import ROOT

import loglearn_tf.audio
from loglearn_tf.audio import containers, decoder, tensorflow_io
from loglearn_tf.errors import AudioError

N_FILES = 400


@pytest.fixture
def fuzz_audio(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments" / "benchmarks")
    return importlib.import_module("fuzz_audio")


def test_damaged_files_are_decoded_rightly_or_refused(fuzz_audio):
    outcomes = fuzz_audio.fuzz(range(N_FILES), tensorflow_io=False, every=0)
    assert [outcome.number for outcome in outcomes] == list(range(N_FILES))
    assert [fuzz_audio.describe(outcome) for outcome in outcomes if outcome.outcome in fuzz_audio.BAD] == []
    found = [outcome.outcome for outcome in outcomes]
    assert found.count("read by soundfile") > N_FILES / 5 and found.count("AudioError") > N_FILES / 5


def test_a_file_follows_from_its_number(fuzz_audio):
    numbers = range(len(fuzz_audio.FORMATS), 4 * len(fuzz_audio.FORMATS))
    first = [fuzz_audio.make(number) for number in numbers]
    fuzz_audio.written.cache_clear()
    assert [fuzz_audio.make(number) for number in numbers] == first
    assert {made.format for made in first} == set(fuzz_audio.FORMATS)
    assert len({made.content for made in first}) > 0.9 * len(first)
    assert {name for made in first for name in made.damages} > {"flip_header", "resize_chunk", "truncate", "splice"}
    assert not any(fuzz_audio.make(number).damages for number in range(len(fuzz_audio.FORMATS)))


def misbehave(made, path):
    """Stands for a decoder that does what a file of this number is to show."""
    from fuzz_audio import Outcome

    if made.number == 1:
        os.abort()
    if made.number == 3:
        while True:
            pass
    if made.number == 5:
        os._exit(3)
    return Outcome(made.number, "AudioError")


@pytest.mark.skipif(os.name != "posix", reason="CPU time is limited by a signal")
def test_crashes_and_hangs_are_attributed_to_their_file_and_the_others_go_on(fuzz_audio):
    began = time.monotonic()
    outcomes = fuzz_audio.fuzz(range(7), tensorflow_io=False, every=0, judged_by=misbehave)
    assert [outcome.number for outcome in outcomes] == list(range(7))
    assert [outcome.outcome for outcome in outcomes] == [
        "AudioError",
        "crash",
        "AudioError",
        "hang",
        "AudioError",
        "crash",
        "AudioError",
    ]
    assert outcomes[1].detail == "Aborted" and outcomes[3].detail == "more than 2 s of CPU time"
    assert outcomes[5].detail == "exit code 3"
    assert time.monotonic() - began < fuzz_audio.WALL_LIMIT_S
    assert "| all | 7 | 0 | 0 | 4 | 0 | 2 | 1 |" in fuzz_audio.table(outcomes)


WRONG = {
    # what `load_with_origin` might do: (instead of it, the outcome)
    "raises": (lambda *args, **more: 1 / 0, "other exception"),
    "needs too much memory": (lambda *args, **more: np.empty(2**60), "other exception"),
    "drops samples": (lambda whole, origin: (whole[:-100], origin), "wrong length"),
    "is louder": (lambda whole, origin: (1.01 * whole, origin), "wrong samples"),
    "is float64": (lambda whole, origin: (whole.astype(np.float64), origin), "wrong samples"),
    "returns NaN": (lambda whole, origin: (whole * np.float32(np.nan), origin), "not finite"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_results_are_noticed(name, fuzz_audio, tmp_path, monkeypatch):
    change, outcome = WRONG[name]
    load = loglearn_tf.audio.load_with_origin
    monkeypatch.setattr(
        loglearn_tf.audio, "load_with_origin", lambda path, sample_rate: change(*load(path, sample_rate=sample_rate))
    )
    monkeypatch.setattr(tensorflow_io, "load", lambda: None)
    assert fuzz_audio.judge(fuzz_audio.make(1), tmp_path / "clip.wav").outcome == outcome


def test_a_cut_file_that_is_read_is_noticed(fuzz_audio, tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "read_layout", lambda path, file, size: containers.Layout())
    content = fuzz_audio.FORMATS["AIFF"]()
    made = fuzz_audio.Made(0, "AIFF", ("truncate",), content[:-1000])
    outcome = fuzz_audio.judge(made, tmp_path / "clip.wav")
    assert (outcome.outcome, outcome.detail) == ("wrong length", "read, though 1000 bytes were cut off")


@pytest.mark.parametrize("name", ["MP3 bare, VBR", "WAV never finished", "FLAC from a pipe", "OGG Vorbis, chained"])
def test_a_length_that_no_header_tells_is_known(name, fuzz_audio, tmp_path, monkeypatch):
    number = list(fuzz_audio.FORMATS).index(name)
    path = tmp_path / "clip.wav"
    assert fuzz_audio.judge(fuzz_audio.make(number), path).outcome == "read by soundfile"
    load = loglearn_tf.audio.load_with_origin

    def shorter(path, sample_rate):
        whole, origin = load(path, sample_rate=sample_rate)
        return whole[:-1000], dataclasses.replace(origin, frames=origin.frames - 1000)

    monkeypatch.setattr(loglearn_tf.audio, "load_with_origin", shorter)
    assert fuzz_audio.judge(fuzz_audio.make(number), path).outcome == "wrong length"


def test_whole_files_that_are_refused_are_noticed(fuzz_audio, tmp_path):
    made = fuzz_audio.Made(0, "AIFF", (), b"FORM")
    assert fuzz_audio.judge(made, tmp_path / "clip.wav").outcome == "refused whole"


def test_what_allocates_too_much_is_noticed(fuzz_audio, tmp_path, monkeypatch):
    def refuse(*args, **more):
        raise AudioError("no room") from MemoryError("16 GiB")

    monkeypatch.setattr(loglearn_tf.audio, "load_with_origin", refuse)
    assert fuzz_audio.judge(fuzz_audio.make(0), tmp_path / "clip.wav").outcome == "memory"


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="memory is watched on Linux")
def test_memory_that_is_used_and_given_back_is_noticed(fuzz_audio, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_audio, "MEMORY_LIMIT_MIB", 50)
    load = loglearn_tf.audio.load_with_origin
    monkeypatch.setattr(
        loglearn_tf.audio, "load_with_origin", lambda path, sample_rate: np.ones(2**24) is not None and load(path)
    )
    monkeypatch.setattr(tensorflow_io, "load", lambda: None)
    outcome = fuzz_audio.judge(fuzz_audio.make(1), tmp_path / "clip.wav")
    assert outcome.outcome == "memory" and outcome.detail.endswith(" MiB")


def test_ogg_pages_keep_what_the_encoder_wrote(fuzz_audio, tmp_path):
    """The checksums are right: soundfile reads the pages, and they are the same as ever."""
    path = tmp_path / "clip.ogg"
    soundfile.write(path, np.sin(np.arange(5000) / 9), 44_100)
    content = path.read_bytes()
    assert bytes(fuzz_audio._ogg_pages(content)) == content
