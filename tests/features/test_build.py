"""The mel store: right numbers, computed once, resumed, never silently damaged."""

import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from loglearn_tf.audio import load_waveform, load_with_origin
from loglearn_tf.datasets.clips import Clip, segment_name
from loglearn_tf.errors import DataError, StorageError
from loglearn_tf.features import build as features
from loglearn_tf.features.build import build_store
from loglearn_tf.features.store import MelStore
from loglearn_tf.study.settings import FeatureSettings

FRONT_END = FeatureSettings().front_end


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Ten short noises."""
    found = []
    for number in range(10):
        path = tmp_path / "audio" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 3000 + 500 * number)
        soundfile.write(path, noise, 44_100, subtype="PCM_16")
        found.append(Clip(path.name, path, 0, 1, path.stat().st_size))
    return found


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten clips make three shards."""
    monkeypatch.setattr(features, "_SHARD_CLIPS", 4)


def build(clips: list[Clip], tmp_path: Path, **front_end: object) -> MelStore:
    return build_store(clips, name="test", front_end={**FRONT_END, **front_end}, store_dir=tmp_path / "stores")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_holds_what_librosa_computes_for_mixed_formats(us8k, us8k_store):
    lengths = set()
    for clip in us8k.clips[::7]:
        waveform = load_waveform(clip.path)
        expected = librosa.feature.melspectrogram(
            y=waveform, sr=44_100, n_fft=1024, hop_length=1024, n_mels=128, pad_mode="reflect"
        ).T
        mel = us8k_store.mel(clip)
        assert mel.shape == expected.shape == (1 + len(waveform) // 1024, 128)
        assert np.abs(mel - expected).max() <= 1e-4 * expected.max()
        lengths.add(len(mel))
    assert len(lengths) > 1  # short clips are among them


def test_equals_the_reference_pipeline(shared, tmp_path):
    references = sorted((shared / "reference" / "mel").glob("*.npy"))
    assert references
    clips = [Clip(path.stem, shared / "data" / "raw-formats" / f"{path.stem}.wav", 0, 1) for path in references]
    store = build(clips, tmp_path)
    for clip, path in zip(clips, references, strict=True):
        expected = np.load(path)
        assert np.abs(store.mel(clip) - expected).max() <= 1e-4 * expected.max()


def test_is_memory_mapped_float32(clips, tmp_path):
    mel = build(clips, tmp_path).mel(clips[0])
    assert mel.dtype == np.float32
    assert isinstance(mel.base, np.memmap) and not mel.flags.writeable


def test_is_computed_once(clips, tmp_path, monkeypatch):
    before = contents(build(clips, tmp_path).folder)
    monkeypatch.setattr(features, "load_with_origin", None)  # calling it would raise
    assert contents(build(clips, tmp_path).folder) == before


def test_order_of_clips_and_number_of_threads_change_nothing(clips, tmp_path):
    one = build_store(clips, name="a", front_end=FRONT_END, store_dir=tmp_path, workers=1)
    four = build_store(clips[::-1], name="b", front_end=FRONT_END, store_dir=tmp_path, workers=4)
    assert contents(one.folder) == contents(four.folder)


def test_interrupted_work_resumes_and_ends_the_same(clips, tmp_path, monkeypatch):
    undisturbed = contents(build(clips, tmp_path).folder)
    loaded: list[str] = []

    def load_until_interrupted(path: Path, *, sample_rate: int) -> tuple:
        loaded.append(path.name)
        if interrupt and len(loaded) > 6:
            raise KeyboardInterrupt
        return load_with_origin(path, sample_rate=sample_rate)

    monkeypatch.setattr(features, "load_with_origin", load_until_interrupted)
    interrupt = True
    arguments = {"name": "again", "front_end": FRONT_END, "store_dir": tmp_path / "stores", "workers": 1}
    with pytest.raises(KeyboardInterrupt):
        build_store(clips, **arguments)
    interrupt = False
    loaded.clear()
    store = build_store(clips, **arguments)
    assert loaded == [clip.path.name for clip in clips[4:]]  # the first shard was kept
    assert contents(store.folder) == undisturbed


@pytest.mark.parametrize("change", [{"f_max": 11_025.0}, {"pad_mode": "constant"}, {"fft_dtype": "float32"}])
def test_another_setting_makes_another_store(clips, tmp_path, change):
    first, second = build(clips, tmp_path), build(clips, tmp_path, **change)
    assert first.folder != second.folder
    assert first.folder.is_dir()
    assert not np.array_equal(first.mel(clips[9]), second.mel(clips[9]))


@pytest.mark.parametrize(
    "name",
    [
        " space .wav",
        "-dash.wav",
        "--help.wav",
        "new\nline.wav",
        "tab\t.wav",
        "é ü 東京 🎧.wav",
        "quo\"te'.wav",
        "=1+1.wav",
    ],
)
def test_any_file_name(clips, tmp_path, name):
    path = clips[0].path.rename(clips[0].path.with_name(name))
    clip = dataclasses.replace(clips[0], clip_id=name, path=path)
    store = build([clip, *clips[1:]], tmp_path)
    np.testing.assert_array_equal(MelStore(store.folder).mel(clip), store.mel(clip))
    assert len(store.mel(clip)) == 1 + 3000 // 1024


def test_a_gain_is_applied_to_the_waveform(clips, tmp_path):
    plain = build(clips, tmp_path)
    quiet = build_store(clips, name="test", front_end=FRONT_END, store_dir=tmp_path / "stores", gain_db=-20.0)
    assert quiet.folder != plain.folder
    assert quiet.settings["gain_db"] == -20
    # A tenth of the amplitude is a hundredth of the power.
    np.testing.assert_allclose(quiet.mel(clips[3]), plain.mel(clips[3]) / 100, rtol=1e-5)


def test_without_a_gain_the_store_is_that_of_before_there_were_any(clips, tmp_path):
    folder = build(clips, tmp_path).folder
    assert (
        build_store(clips, name="test", front_end=FRONT_END, store_dir=tmp_path / "stores", gain_db=0.0).folder
        == folder
    )


def test_other_clips_make_another_store(clips, tmp_path):
    folder = build(clips, tmp_path).folder
    assert build(clips[:9], tmp_path).folder != folder
    for change in ({"n_bytes": clips[0].n_bytes + 2}, {"checksum": clips[0].checksum + 1}):
        replaced = dataclasses.replace(clips[0], **change)
        assert build([replaced, *clips[1:]], tmp_path).folder != folder


def test_can_hold_logarithms(clips, tmp_path):
    power = build(clips, tmp_path)
    logs = build_store(clips, name="test", front_end=FRONT_END, store_dir=tmp_path / "stores", compression="logeps")
    assert logs.folder != power.folder
    expected = np.log10(power.mel(clips[0]).astype(np.float64) + 2.220446049250313e-16)
    np.testing.assert_allclose(logs.mel(clips[0]), expected, rtol=1e-5, atol=1e-5)


def flip_a_byte(folder: Path) -> None:
    data = bytearray((folder / "shard-0001.npy").read_bytes())
    data[-1000] ^= 1
    (folder / "shard-0001.npy").write_bytes(data)


def truncate(folder: Path) -> None:
    data = (folder / "shard-0001.npy").read_bytes()
    (folder / "shard-0001.npy").write_bytes(data[:-1000])


def spoil_the_index(folder: Path) -> None:
    (folder / "shard-0001.json").write_text("{")


def remove(folder: Path) -> None:
    (folder / "shard-0001.npy").unlink()


def change_the_index(change) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        index = folder / "shard-0001.json"
        held = json.loads(index.read_text())
        change(held)
        index.write_text(json.dumps(held))

    return damage


def swap_two_clips(held: dict) -> None:
    (one, _), (other, _) = held["clips"][:2]
    held["clips"][0][0], held["clips"][1][0] = other, one


def move_a_frame(held: dict) -> None:
    held["clips"][0][1] += 1
    held["clips"][1][1] -= 1


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        truncate,
        spoil_the_index,
        remove,
        change_the_index(swap_two_clips),
        change_the_index(move_a_frame),
        change_the_index(lambda held: held.pop("clips")),
        lambda folder: (folder / "shard-0001.json").write_text("[]"),
    ],
)
def test_damage_is_noticed_said_and_mended(clips, tmp_path, caplog, damage):
    folder = build(clips, tmp_path).folder
    whole = contents(folder)
    damage(folder)
    caplog.clear()
    build(clips, tmp_path)
    (said,) = caplog.records
    assert said.levelname == "WARNING" and said.name.startswith("loglearn_tf")
    assert "shard-0001.npy" in said.getMessage() and "damaged" in said.getMessage()
    assert contents(folder) == whole


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"n_shards": 2}'])
def test_a_damaged_description_is_written_again(clips, tmp_path, content):
    folder = build(clips, tmp_path).folder
    whole = contents(folder)
    (folder / "store.json").write_text(content)
    if "n_shards" not in content:
        with pytest.raises(DataError, match=r"incomplete: store.json cannot be read"):
            MelStore(folder)
    build(clips, tmp_path)
    assert contents(folder) == whole


def test_a_complete_store_needs_nothing_written(clips, tmp_path, monkeypatch):
    """As on a read-only disk, or in a colleague's folder."""
    folder = build(clips, tmp_path).folder
    (folder / ".lock").unlink(missing_ok=True)
    monkeypatch.setattr(features, "FileLock", None)  # calling it would raise
    assert build(clips, tmp_path).folder == folder
    assert not (folder / ".lock").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_incomplete_store_in_a_read_only_folder_is_told(clips, tmp_path):
    folder = build(clips, tmp_path).folder
    (folder / "store.json").unlink()
    (folder / ".lock").unlink(missing_ok=True)
    folder.chmod(0o500)
    try:
        with pytest.raises(StorageError, match=r"Cannot write .*features\.store_dir"):
            build(clips, tmp_path)
    finally:
        folder.chmod(0o700)


def test_what_is_written_to_an_open_store_is_noticed(clips, tmp_path):
    folder = build(clips, tmp_path).folder
    store = MelStore(folder)
    store.verify()
    assert store.change() == ""
    with (folder / "shard-0002.npy").open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(bytes(8))  # a number as good as any other
    assert "shard-0002.npy was changed while in use" in store.change()
    with pytest.raises(DataError, match="shard-0002.npy: its checksum does not match"):
        MelStore(folder).verify()
    build(clips, tmp_path)
    assert store.change()  # the mended file is not the one that was opened
    MelStore(folder).verify()


def test_scratch_files_of_killed_jobs_are_removed(clips, tmp_path):
    folder = build(clips, tmp_path).folder
    (folder / "store.json").unlink()
    leftovers = [folder / ".shard-0000.npy.abc.part", folder / ".store.json.xyz.part"]
    for leftover in leftovers:
        leftover.write_bytes(b"half")
    build(clips, tmp_path)
    assert not any(leftover.exists() for leftover in leftovers)


def test_a_gain_that_makes_power_infinite_is_refused(clips, tmp_path):
    with pytest.raises(DataError, match=r"10 of 10 clips .*\n.*0\.wav is not finite with `features\.gain_db=400`"):
        build_store(clips, name="loud", front_end=FRONT_END, store_dir=tmp_path / "stores", gain_db=400.0)


def test_an_incomplete_or_cut_store_does_not_open(clips, tmp_path):
    folder = build(clips, tmp_path).folder
    truncate(folder)
    with pytest.raises(DataError, match="damaged: shard-0001.npy"):
        MelStore(folder)
    (folder / "store.json").unlink()
    with pytest.raises(DataError, match="incomplete.*loglearn features"):
        MelStore(folder)


def test_unreadable_clips_are_all_named_and_the_rest_is_kept(clips, tmp_path):
    clips[5].path.write_bytes(b"not audio")
    soundfile.write(clips[9].path, np.zeros(0), 44_100, subtype="PCM_16")
    with pytest.raises(DataError, match="2 of 10 clips could not be read") as caught:
        build(clips, tmp_path)
    assert str(clips[5].path) in str(caught.value) and str(clips[9].path) in str(caught.value)
    (folder,) = (tmp_path / "stores").iterdir()
    assert [path.name for path in sorted(folder.glob("*.npy"))] == ["shard-0000.npy"]


def test_a_clip_that_is_not_in_the_store_is_an_error(clips, tmp_path):
    store = build(clips, tmp_path)
    assert len(store) == 10
    with pytest.raises(DataError, match="does not contain clip other.wav"):
        store.mel(Clip("other.wav", Path("other.wav"), 0, 1))


def test_remembers_what_every_file_was_and_who_decoded_it(us8k, us8k_store):
    for clip in us8k.clips[::5]:
        assert us8k_store.origin(clip) == dataclasses.asdict(load_with_origin(clip.path)[1])
    found = [us8k_store.origin(clip) for clip in us8k.clips]
    assert len({(origin["format_tag"], origin["bits"], origin["sample_rate"]) for origin in found}) > 3
    assert {origin["container"] for origin in found} == {"WAV"}
    assert {origin["decoder"] for origin in found} <= {"tensorflow-io", "soundfile"}


def test_a_store_made_before_origins_were_recorded_opens_and_is_kept(clips, tmp_path):
    folder = build(clips, tmp_path).folder
    for index in folder.glob("shard-*.json"):
        held = json.loads(index.read_text())
        del held["origins"]
        index.write_text(json.dumps(held))
    before = contents(folder)
    store = build(clips, tmp_path)
    assert store.folder == folder and contents(folder) == before
    assert store.origin(clips[0]) is None
    assert store.mel(clips[0]).shape == (1 + 3000 // 1024, 128)


def test_says_with_which_settings_it_was_made(clips, tmp_path):
    folder = build(clips, tmp_path, f_max=8000.0).folder
    assert json.loads((folder / "store.json").read_text())["front_end"]["f_max"] == 8000.0
    shutil.rmtree(folder)


@pytest.mark.parametrize("fft_dtype", ["float32", "float64"])
@pytest.mark.parametrize("samples", [1, 900, 100_000])
def test_a_clips_numbers_do_not_depend_on_what_is_computed_beside_it(fft_dtype, samples):
    """To the bit: else a store would depend on how many clips are taken together."""
    waveforms = np.random.default_rng(0).normal(0, 0.1, (4, samples)).astype("float32")
    mel_of = features._mel_function({"fft_dtype": fft_dtype}, "none")
    together, alone = mel_of(waveforms), np.concatenate([mel_of(one[np.newaxis]) for one in waveforms])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.long
def test_a_process_with_another_tensorflow_gets_the_same_store_and_keeps_its_own(clips, tmp_path):
    """With 64 threads: they would share the sums of a long FFT's few frames, whose last digits then differ."""
    front_end = {**FRONT_END, "n_fft": 65536}
    soundfile.write(clips[0].path, np.random.default_rng(0).uniform(-0.5, 0.5, 100), 44_100, subtype="PCM_16")
    here = build_store(clips, name="here", front_end=front_end, store_dir=tmp_path)
    program = f"""
import pickle, sys
import tensorflow as tf
from loglearn_tf.features.build import build_store
tf.config.threading.set_intra_op_parallelism_threads(64)
clips = pickle.load(sys.stdin.buffer)
steps = []
build_store(clips, name="there", front_end={front_end!r}, store_dir={str(tmp_path)!r}, on_progress=steps.append)
assert [(step.work, step.done, step.total) for step in steps] == [("Features", n, 10) for n in (0, 4, 8, 10)]
assert tf.config.threading.get_intra_op_parallelism_threads() == 64
"""
    done = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(clips), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    (there,) = tmp_path.glob("there-*")
    shards = [np.concatenate([np.load(path) for path in sorted(store.glob("*.npy"))]) for store in (here.folder, there)]
    assert shards[0].tobytes() == shards[1].tobytes() and shards[0].any()


def test_what_is_wrong_with_clips_is_told_from_a_process_of_its_own_too(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "is_repeatable", lambda: False)
    clips[3].path.write_bytes(b"no sound")
    with pytest.raises(DataError, match="1 of 10 clips could not be read") as caught:
        build(clips, tmp_path)
    assert str(clips[3].path) in str(caught.value)


class TestSegments:
    TIMES = tuple((at / 20, at / 20 + (0.1 if at % 3 else 0.25)) for at in range(14))

    @pytest.fixture(params=["wav", "ogg"])
    def long(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        path = tmp_path / f"long.{request.param}"
        soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, (44_100, 2)), 44_100)
        return path

    def of(self, path: Path) -> list[Clip]:
        return [Clip(segment_name(path.name, times), path, 0, 1, segment=times) for times in self.TIMES]

    def test_are_as_files_cut_there(self, long, clips, tmp_path, monkeypatch):
        monkeypatch.setattr(features, "_SHARD_CLIPS", 16)
        segments = self.of(long)
        store = build([*segments, *clips], tmp_path)
        assert len(store) == 24
        samples = soundfile.read(long, dtype="float32")[0]
        cut = []
        for clip, (start, end) in zip(segments, self.TIMES, strict=True):
            cut.append(Clip(f"{len(cut)}", tmp_path / f"cut {len(cut)}.wav", 0, 1))
            part = samples[round(start * 44_100) : round(end * 44_100)]
            soundfile.write(cut[-1].path, part, 44_100, subtype="FLOAT")
            assert store.origin(clip)["frames"] == len(part)
        of_files = build([*cut, *clips], tmp_path)
        assert of_files.folder != store.folder
        for segment, file in zip(segments, cut, strict=True):
            np.testing.assert_array_equal(store.mel(segment), of_files.mel(file))
        for clip in clips:
            np.testing.assert_array_equal(store.mel(clip), of_files.mel(clip))

    def test_order_and_threads_change_nothing(self, long, tmp_path):
        segments = self.of(long)
        stores = [
            build_store(some, name=name, front_end=FRONT_END, store_dir=tmp_path, workers=workers)
            for some, name, workers in ((segments, "a", 1), (segments[::-1], "b", 4))
        ]
        assert contents(stores[0].folder) == contents(stores[1].folder)

    def test_past_the_end(self, long, tmp_path):
        beyond = Clip("x", long, 0, 1, segment=(0.5, 2.0))
        with pytest.raises(
            DataError, match="1 of 15 clips .*\n.*long.* its segment from 0.5 to 2 s ends after the file"
        ):
            build([*self.of(long), beyond], tmp_path)
