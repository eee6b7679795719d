"""Makes a small synthetic data set on disk in the official layout of US8K or ASC-TUT.

In this order: layouts (`make_us8k`, `make_tut`), safety (never overwrite, resume), recipes (a function per US8K class,
a table row per TUT scene), formats.
"""

import csv
import io
import json
import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal
import soundfile

from loglearn_tf._util.files import is_scratch, write_bytes
from loglearn_tf.datasets.clips import SYNTHETIC_MARKER
from loglearn_tf.errors import DataError, StorageError

_Wave = npt.NDArray[np.float64]  # (samples,): full scale is 1; also for envelopes, seconds or Hz
_Numbers = npt.NDArray[np.int64]  # (samples,)

# Part of the parameters: increase it with every change that affects the output.
GENERATOR_VERSION = 1
IN_PROGRESS_MARKER = "SYNTHETIC-in-progress.txt"
_SENTENCE = "Synthetic sounds, made by loglearn_tf.datasets.synthetic; there is no real recording in this folder."

# The first word of every random key, so that no two kinds of draw share a stream.
_US8K_FORMAT, _US8K_FOLD, _US8K_SOURCE, _US8K_CLIP, _TUT_LOCATION, _TUT_CLIP, _TUT_NAMES = range(7)
# UrbanSound8K has 6.7 clips per recording; with three, a small fold has more than one recording per class.
_CLIPS_PER_SOURCE = 3


# ---- Layouts ---------------------------------------------------------------------------------------------------


def make_us8k(
    root: str | Path,
    *,
    clips_per_class: int = 10,
    folds: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    seed: int = 0,
    duration_s: float = 4.0,
) -> Path:
    """Makes a synthetic UrbanSound8K: ten classes, up to ten folds, formats that differ from clip to clip.

    Returns at once if the same set is complete, and resumes an interrupted one. The bytes depend only on
    the arguments (and the versions of NumPy and SciPy), and clips do not depend on each other.

    Args:
        root: Folder to fill; created if missing.
        clips_per_class: Clips per class and fold. Three at a time share a source recording.
        folds: Folds to make, distinct, 1 to 10.
        seed: 0 to 2**32 - 1.
        duration_s: Seconds of a full clip; one clip in seven lasts 7.5 to 62.5 % of it.

    Returns:
        `root`, which now holds `audio/fold<k>/*.wav`, `metadata/UrbanSound8K.csv` and the marker.

    Raises:
        ValueError: If an argument is out of range.
        DataError: If `root` contains anything else, or a synthetic set with other parameters.
    """
    _check_arguments(seed, duration_s, clips_per_class)
    if not folds or sorted(set(folds) & set(range(1, 11))) != sorted(folds):
        raise ValueError(f"`folds` must be distinct integers from 1 to 10. Received: folds={folds!r}.")
    folds = tuple(sorted(int(fold) for fold in folds))
    rows: list[tuple[Any, ...]] = []
    audio = {}
    for fold in folds:
        for class_id, name in enumerate(US8K_RECIPES):
            for index in range(clips_per_class):
                source, position = divmod(index, _CLIPS_PER_SOURCE)
                wav = _draw_us8k_format(seed, fold, class_id, index, duration_s)
                fs_id = 1_000_000 + 100_000 * fold + 10_000 * class_id + source  # official ids are shorter
                # Official slice numbers count half seconds from the start of the recording.
                slice_id = position * math.ceil(duration_s / 0.5)
                start_s = 0.5 * slice_id
                end_s = round(start_s + wav.n_samples / wav.sample_rate, 6)
                file_name = f"{fs_id}-{class_id}-0-{slice_id}.wav"
                rows.append((file_name, fs_id, start_s, end_s, wav.salience, fold, class_id, name))
                make = partial(_us8k_wav, wav, seed, fold, class_id, source, index)
                audio[f"audio/fold{fold}/{file_name}"] = make
    text = io.StringIO()
    header = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    csv.writer(text, lineterminator="\n").writerows([header, *sorted(rows)])
    parameters = {"layout": "us8k", "clips_per_class": clips_per_class, "folds": list(folds)}
    parameters |= {"seed": seed, "duration_s": duration_s}
    return _ensure(Path(root), parameters, audio, {"metadata/UrbanSound8K.csv": text.getvalue()})


def make_tut(
    root: str | Path, *, clips_per_class: tuple[int, int] = (10, 5), seed: int = 0, duration_s: float = 10.0
) -> Path:
    """Makes a synthetic TUT Acoustic Scenes 2017: 15 scenes, all files 24-bit stereo at 44.1 kHz.

    Existing files in `root` are treated as by `make_us8k`.

    Args:
        root: Folder to fill; created if missing.
        clips_per_class: Clips per class of the development and of the evaluation set. Three at a time share
            a location; no location is in both sets.
        seed: 0 to 2**32 - 1.
        duration_s: Seconds of every clip.

    Returns:
        `root`, which now holds `TUT-acoustic-scenes-2017-{development,evaluation}/` and the marker.

    Raises:
        ValueError: If an argument is out of range.
        DataError: If `root` contains anything else, or a synthetic set with other parameters.
    """
    if not isinstance(clips_per_class, (tuple, list)) or len(clips_per_class) != 2:
        raise ValueError(f"`clips_per_class` must be (development, evaluation). Received: {clips_per_class!r}.")
    _check_arguments(seed, duration_s, *clips_per_class)
    audio, tables = {}, {}
    for part, letter, count in zip(("development", "evaluation"), "ab", clips_per_class, strict=True):
        folder = f"TUT-acoustic-scenes-2017-{part}"
        # As in the official set, evaluation files have shuffled numbers, so that names do not reveal the class.
        numbers = _rng(_TUT_NAMES, seed).permutation(count * len(TUT_SCENES))
        rows, folds = [], []
        for class_id, scene in enumerate(TUT_SCENES):
            for index in range(count):
                place, position = divmod(index, _CLIPS_PER_SOURCE)
                location = f"{letter}{place * len(TUT_SCENES) + class_id + 1:03d}"
                name = f"{location}_{10 * position}_{10 * position + 10}"
                if part == "evaluation":
                    name = str(numbers[class_id * count + index])
                rows.append((f"audio/{name}.wav", scene, location))
                folds.append(1 + place % 4)  # development folds keep locations together
                location_key = (seed, ord(letter), class_id, place)
                make = partial(_tut_wav, TUT_SCENES[scene], location_key, index, round(44_100 * duration_s))
                audio[f"{folder}/audio/{name}.wav"] = make
        tables[f"{folder}/meta.txt"] = _table(rows, 3)
        setup = f"{folder}/evaluation_setup"
        if part == "evaluation":
            tables |= {f"{setup}/test.txt": _table(rows, 1), f"{setup}/evaluate.txt": _table(rows, 2)}
            continue
        for fold in range(1, 5):
            inside = [row for row, its_fold in zip(rows, folds, strict=True) if its_fold == fold]
            outside = [row for row, its_fold in zip(rows, folds, strict=True) if its_fold != fold]
            tables[f"{setup}/fold{fold}_train.txt"] = _table(outside, 2)
            tables[f"{setup}/fold{fold}_test.txt"] = _table(inside, 1)
            tables[f"{setup}/fold{fold}_evaluate.txt"] = _table(inside, 2)
    parameters = {"layout": "tut", "clips_per_class": list(clips_per_class), "seed": seed, "duration_s": duration_s}
    return _ensure(Path(root), parameters, audio, tables)


def _table(rows: list[tuple[str, str, str]], n_columns: int) -> str:
    """Tab-separated lines that end as in the official files, with carriage return and line feed."""
    return "".join("\t".join(row[:n_columns]) + "\r\n" for row in rows)


def _check_arguments(seed: int, duration_s: float, *clips_per_class: int) -> None:
    # A larger seed would spill into the next word of the random key.
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must be an integer from 0 to 2**32 - 1. Received: seed={seed!r}.")
    if not 0.2 <= duration_s <= 60:
        raise ValueError(f"`duration_s` must be 0.2 to 60 s. Received: duration_s={duration_s!r}.")
    for count in clips_per_class:
        if not isinstance(count, int) or not 1 <= count <= 1000:
            raise ValueError(f"`clips_per_class` must be 1 to 1000. Received: {count!r}.")


# ---- Safety ----------------------------------------------------------------------------------------------------


def _ensure(
    root: Path, parameters: dict[str, Any], audio: Mapping[str, Callable[[], bytes]], tables: Mapping[str, str]
) -> Path:
    """Makes audio, then tables, then the marker; the keys are paths relative to `root`."""
    parameters = {"generator_version": GENERATOR_VERSION, **parameters}
    finished, started = root / SYNTHETIC_MARKER, root / IN_PROGRESS_MARKER
    marker = next((marker for marker in (finished, started) if marker.is_file()), None)
    if marker is not None and (found := _read_parameters(marker)) != parameters:
        raise DataError(
            f"{root} contains synthetic data made with {json.dumps(found)}, not with {json.dumps(parameters)}. "
            "Delete that folder or choose another one."
        )
    if marker == finished:
        return root
    # Without a marker, only its unfinished write may be there; with one, someone may still have unpacked a real data
    # set over an interrupted synthetic one.
    ours = {IN_PROGRESS_MARKER} if marker is None else {IN_PROGRESS_MARKER, *audio, *tables}
    for path in [root] if root.is_file() else sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name not in ours and not path.is_dir() and not is_scratch(path):
            raise DataError(
                f"{root} contains {path.name}, which is not synthetic: it may be real data, which is never "
                "overwritten. Choose a new or empty folder."
            )

    content = f"{_SENTENCE}\n{json.dumps(parameters)}\n".encode()
    _write(started, content)

    def make(name: str) -> None:
        if not (root / name).exists():  # files appear by rename, so existing ones are complete
            _write(root / name, audio[name]())

    # NumPy and SciPy release the interpreter's lock; no clip shares a random stream with another.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for _ in pool.map(make, audio):
            pass
    for name, text in tables.items():  # after the audio, so that half a set never looks complete
        _write(root / name, text.encode())
    for path in filter(is_scratch, list(root.rglob(".*"))):  # left by a killed process
        path.unlink(missing_ok=True)
    _write(finished, content)
    started.unlink(missing_ok=True)
    return root


def _read_parameters(marker: Path) -> Any:
    try:
        return json.loads(marker.read_text(encoding="utf-8").splitlines()[1])
    except (IndexError, ValueError) as error:
        raise DataError(
            f"{marker} cannot be read. Delete its folder, if it is synthetic, or choose another."
        ) from error


def _write(path: Path, content: bytes) -> None:
    try:
        write_bytes(path, content, durable=False)
    except StorageError:
        if not path.exists():  # otherwise another process made the same set and cleaned up first
            raise


# ---- Recipes: building blocks ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Take:
    """A clip under construction.

    Attributes:
        n: Samples.
        rate: Sample rate in Hz.
        source: Restarts for each clip of a source recording (or location), so that these share its draws.
        clip: This clip's own draws.
    """

    n: int
    rate: int
    source: np.random.Generator
    clip: np.random.Generator

    def draw(self, low: float, high: float) -> float:
        """A value of the source, uniform between `low` and `high`."""
        return float(self.source.uniform(low, high))

    def pitch(self, low: float, high: float, spread: float = 0.05) -> float:
        """A frequency, rate or time of the source, log-uniform, with a variation of `spread` between clips."""
        centre = low * (high / low) ** self.source.random()
        return float(centre * math.exp(spread * self.clip.standard_normal()))

    def sine(self, hz: float) -> _Wave:
        """A slow sine with random phase, for modulation."""
        wave: _Wave = np.sin(2 * np.pi * (hz / self.rate * np.arange(self.n) + self.clip.random()))
        return wave


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(key))


def _noise(take: _Take, tilt_db: float, *, low_hz: float = 20.0, high_hz: float = 30_000.0) -> _Wave:
    """Gaussian noise, RMS 1, `tilt_db` per octave between two soft band edges."""
    hz = np.maximum(np.arange(take.n // 2 + 1) * (take.rate / take.n), 1.0)
    gain = hz ** (tilt_db / 6.02) / np.sqrt((1 + (low_hz / hz) ** 4) * (1 + (hz / high_hz) ** 4))
    spectrum = take.clip.standard_normal(2 * hz.size).view(complex)
    wave: _Wave = scipy.fft.irfft(gain * spectrum, take.n)
    wave /= math.sqrt(np.mean(wave**2))
    return wave


def _tone(take: _Take, hz: float | _Wave, brightness: float) -> _Wave:
    """Harmonics k of `hz` with amplitudes `brightness ** k`, RMS 1, in closed form with a single cosine."""
    # Whole steps of 2^-24 cycles add up exactly, so that processors that round `hz` differently agree on the phase.
    steps = np.rint(np.broadcast_to(np.asarray(hz) / take.rate * 2**24, take.n)).astype(np.int64)
    r, cosine = brightness, np.cos(2 * np.pi / 2**24 * (np.cumsum(steps) % 2**24))
    wave: _Wave = (r * cosine - r**2) / (1 + r**2 - 2 * r * cosine) * (math.sqrt(2 * (1 - r**2)) / r)
    return wave


def _events(take: _Take, per_s: float, jitter: float) -> tuple[_Wave, _Numbers]:
    """Onsets at a mean rate; `jitter` 0 is a clock, 1 a Poisson process.

    Returns:
        `(n,)` seconds since the latest onset, and `(n,)` the number of that event.
    """
    gaps_s = np.ones(math.ceil(2 * take.n / take.rate * per_s) + 8)
    gaps_s = (1 - jitter + jitter * take.clip.exponential(1.0, gaps_s.size)) / per_s
    # Even the shortest clip has an event; event 0, a minute before, has decayed.
    gaps_s[0] = min(gaps_s[0], 0.5 * take.n / take.rate) * take.clip.random()
    onsets = (np.cumsum(gaps_s) * take.rate).astype(np.int64)
    number = np.cumsum(np.bincount(onsets[onsets < take.n], minlength=take.n))
    onsets = np.concatenate([[-60 * take.rate], onsets])
    return (np.arange(take.n) - onsets[number]) / take.rate, number


def _per_event(take: _Take, number: _Numbers, low: float, high: float) -> _Wave:
    """A value for each event, uniform, spread over the event's samples."""
    values: _Wave = take.clip.uniform(low, high, number[-1] + 1)[number]
    return values


def _burst(since_s: _Wave, attack_s: float, decay_s: float) -> _Wave:
    """Envelope with a linear rise and an exponential decay."""
    return np.minimum(since_s / attack_s, 1.0) * np.exp(-since_s / decay_s)


def _resonate(take: _Take, wave: _Wave, hz: float, q: float) -> _Wave:
    b, a = scipy.signal.iirpeak(min(hz, 0.45 * take.rate), q, fs=take.rate)
    filtered: _Wave = scipy.signal.lfilter(b, a, wave)
    return filtered


# ---- Recipes: UrbanSound8K -------------------------------------------------------------------------------------
# Classes that people confuse share their noise and range of rates: air conditioner and idling engine, drilling and
# jackhammer.


def _air_conditioner(take: _Take) -> _Wave:
    hum = _tone(take, take.pitch(45, 130, 0.01), take.draw(0.3, 0.8))
    rush = _noise(take, take.draw(-8, -3), low_hz=40)
    return rush * (1 + 0.15 * take.sine(0.4)) + take.draw(0.1, 0.9) * hum


def _car_horn(take: _Take) -> _Wave:
    hz, brightness = take.pitch(280, 520, 0.01), take.draw(0.75, 0.93)
    both = _tone(take, hz, brightness) + _tone(take, hz * take.draw(1.18, 1.28), brightness)
    since_s, _ = _events(take, take.pitch(0.4, 1.5, 0.3), 0.6)
    length_s = take.pitch(0.3, 1.5, 0.3)
    return both * np.clip(since_s / 0.02, 0, 1) * np.clip((length_s - since_s) / 0.05, 0, 1)


def _children_playing(take: _Take) -> _Wave:
    voices = _voices(take, take.pitch(2, 6, 0.2), 250, 900)
    return voices + take.draw(0.05, 0.5) * _noise(take, -4, low_hz=200, high_hz=3000)


def _dog_bark(take: _Take) -> _Wave:
    since_s, number = _events(take, take.pitch(0.8, 3.5, 0.2), 0.5)
    hz = take.pitch(250, 900) * (1 + 0.5 * np.exp(-since_s / 0.04)) * _per_event(take, number, 0.9, 1.1)
    bark = _tone(take, hz, 0.85) + take.draw(0.2, 1.0) * _noise(take, -3, low_hz=300)
    return _burst(since_s, 0.01, take.pitch(0.04, 0.12)) * bark


def _drilling(take: _Take) -> _Wave:
    wobble = 1 + 0.05 * take.sine(take.pitch(0.3, 1.5))
    whirr = _tone(take, take.pitch(25, 160) * wobble, take.draw(0.85, 0.97))
    grind = _noise(take, take.draw(-3, 2), low_hz=take.draw(300, 3000))
    return grind * (1 + take.draw(0.0, 0.5) * whirr) + take.draw(0.2, 1.0) * whirr


def _engine_idling(take: _Take) -> _Wave:
    strokes = _tone(take, take.pitch(14, 60) * (1 + 0.04 * take.sine(0.7)), take.draw(0.8, 0.95))
    rush = _noise(take, take.draw(-8, -3), low_hz=40)
    return rush * (1 + 0.3 * strokes) + take.draw(0.3, 1.2) * strokes


def _gun_shot(take: _Take) -> _Wave:
    since_s, number = _events(take, take.pitch(0.3, 2.0, 0.3), 0.8)
    decay_s = take.pitch(0.02, 0.2)
    shot = _burst(since_s, 0.001, decay_s) + 0.05 * _burst(since_s, 0.02, 5 * decay_s)
    return _per_event(take, number, 0.4, 1.0) * shot * _noise(take, take.draw(-5, 0))


def _jackhammer(take: _Take) -> _Wave:
    since_s, _ = _events(take, take.pitch(12, 32), 0.05)
    rattle = _noise(take, take.draw(-3, 2), low_hz=take.draw(300, 3000))
    blows = _burst(since_s, 0.002, take.pitch(0.008, 0.05)) * rattle
    ring = _resonate(take, blows, take.pitch(600, 4000), 12)
    return blows + take.draw(0.5, 3.0) * ring + take.draw(0.05, 0.3) * rattle


def _siren(take: _Take) -> _Wave:
    sweep = take.sine(take.pitch(0.15, 4.0))
    hz = take.pitch(600, 1300) * 2 ** (take.draw(0.2, 0.8) * sweep)
    return _tone(take, hz, take.draw(0.2, 0.8))


def _street_music(take: _Take) -> _Wave:
    since_s, number = _events(take, take.pitch(1.5, 5, 0.1), 0.1)
    root_hz, brightness = take.pitch(110, 330), take.draw(0.4, 0.8)
    chord = np.zeros(take.n)
    for steps in take.clip.choice([0, 2, 5, 7, 9, 12], (3, number[-1] + 1)):
        chord += _tone(take, root_hz * 2 ** (steps / 12)[number], brightness)
    return _burst(since_s, 0.01, take.pitch(0.15, 0.8)) * chord + take.draw(0.02, 0.3) * _noise(take, -4)


# In the order of the official class numbers, 0 to 9.
US8K_RECIPES: dict[str, Callable[[_Take], _Wave]] = {
    "air_conditioner": _air_conditioner,
    "car_horn": _car_horn,
    "children_playing": _children_playing,
    "dog_bark": _dog_bark,
    "drilling": _drilling,
    "engine_idling": _engine_idling,
    "gun_shot": _gun_shot,
    "jackhammer": _jackhammer,
    "siren": _siren,
    "street_music": _street_music,
}


# ---- Recipes: TUT Acoustic Scenes 2017 -------------------------------------------------------------------------


def _voices(take: _Take, per_s: float, low_hz: float = 90, high_hz: float = 260) -> _Wave:
    since_s, number = _events(take, per_s, 0.8)
    hz = low_hz * (high_hz / low_hz) ** _per_event(take, number, 0, 1)
    glide = 1 + _per_event(take, number, -0.3, 0.3) * np.minimum(since_s, 0.5)
    voice = _tone(take, hz * glide, 0.85) * _per_event(take, number, 0, 1) * _burst(since_s, 0.03, 0.12)
    formant_hz = take.clip.uniform(500, 1200)
    return _resonate(take, voice, formant_hz, 2) + _resonate(take, voice, 2.4 * formant_hz, 3)


def _birds(take: _Take, per_s: float) -> _Wave:
    since_s, number = _events(take, per_s, 0.7)
    hz = take.pitch(2500, 6000) * _per_event(take, number, 0.9, 1.1) * (1 - np.minimum(since_s, 0.3))
    return _burst(since_s, 0.01, 0.06) * _tone(take, hz, 0.1)


def _clatter(take: _Take, per_s: float) -> _Wave:
    since_s, number = _events(take, per_s, 0.9)
    loudness = _per_event(take, number, 0, 1) ** 2
    return loudness * _burst(since_s, 0.001, 0.03) * _noise(take, 2, low_hz=take.draw(800, 3000))


def _swells(take: _Take, per_s: float) -> _Wave:
    """Waves or passing cars: noise that rises and falls over seconds."""
    since_s, number = _events(take, per_s, 0.5)
    return _per_event(take, number, 0.2, 1) * _burst(since_s, 0.8, 0.8) * _noise(take, -4, low_hz=100, high_hz=4000)


def _squeals(take: _Take, per_s: float) -> _Wave:
    since_s, _ = _events(take, per_s, 0.9)
    return _burst(since_s, 0.3, 0.5) * _tone(take, take.pitch(1500, 4000) * (1 + 0.02 * take.sine(7)), 0.3)


@dataclass(frozen=True)
class _Scene:
    """A steady texture and two kinds of events; all parameters vary with the location.

    Attributes:
        tilt_db: Colour of the texture, dB per octave.
        bump_hz: Frequency of a broad resonance, Hz.
        hum_hz: Fundamental of an engine or of ventilation, Hz.
        hum_db: Its level relative to the texture.
        sway: Depth of the texture's slow modulation, 0 to 1.
        events: Kind, mean number per second, level in dB relative to 4 dB below the texture.
    """

    tilt_db: float
    bump_hz: float
    hum_hz: float
    hum_db: float
    sway: float
    events: tuple[tuple[Callable[[_Take, float], _Wave], float, float], ...]


TUT_SCENES = {
    "beach": _Scene(-5, 700, 90, -30, 0.5, ((_swells, 0.25, 6), (_birds, 0.5, -12))),
    "bus": _Scene(-10, 250, 32, 2, 0.3, ((_voices, 0.6, -6), (_clatter, 1.0, -6))),
    "cafe/restaurant": _Scene(-6, 600, 100, -20, 0.1, ((_voices, 7, 4), (_clatter, 3, 2))),
    "car": _Scene(-11, 150, 45, 4, 0.2, ((_clatter, 0.4, -12), (_swells, 0.3, -6))),
    "city_center": _Scene(-6, 500, 60, -12, 0.3, ((_voices, 2, -2), (_swells, 0.4, 2))),
    "forest_path": _Scene(-4, 1500, 60, -40, 0.3, ((_birds, 1.5, 2), (_clatter, 0.8, -8))),
    "grocery_store": _Scene(-6, 900, 110, -4, 0.1, ((_voices, 2, -4), (_squeals, 0.5, -8))),
    "home": _Scene(-8, 350, 50, -6, 0.1, ((_voices, 1, 2), (_clatter, 1.0, 4))),
    "library": _Scene(-7, 400, 70, -10, 0.05, ((_clatter, 0.6, 0), (_voices, 0.3, -6))),
    "metro_station": _Scene(-7, 450, 80, -4, 0.5, ((_squeals, 0.4, 2), (_voices, 1.5, -4))),
    "office": _Scene(-7, 550, 100, -2, 0.05, ((_clatter, 5, -2), (_voices, 0.4, -6))),
    "park": _Scene(-5, 1000, 60, -30, 0.3, ((_birds, 1.0, 0), (_voices, 0.6, -4))),
    "residential_area": _Scene(-6, 700, 60, -20, 0.3, ((_birds, 0.5, -4), (_swells, 0.25, 2))),
    "train": _Scene(-9, 300, 55, -2, 0.3, ((_clatter, 2.5, -4), (_voices, 0.5, -6))),
    "tram": _Scene(-9, 350, 70, 0, 0.4, ((_squeals, 0.5, 0), (_clatter, 1.5, -4))),
}


def _scene(take: _Take, scene: _Scene) -> _Wave:
    texture = _noise(take, scene.tilt_db + 0.7 * take.source.standard_normal(), low_hz=40)
    bump_hz = scene.bump_hz * 2 ** (0.3 * take.source.standard_normal())
    texture += take.draw(0.5, 2.0) * _resonate(take, texture, bump_hz, 1.0)
    wave = texture * (1 + scene.sway * take.sine(take.pitch(0.1, 0.5)))
    hum = _tone(take, take.pitch(0.75 * scene.hum_hz, 1.3 * scene.hum_hz), 0.8)
    wave += _gain(scene.hum_db + 3 * take.source.standard_normal()) * hum
    for make, per_s, level_db in scene.events:
        level_db += 4 + 2.5 * take.source.standard_normal()
        wave += _gain(level_db) * make(take, take.pitch(0.6 * per_s, 1.6 * per_s, 0.2))
    return wave


# ---- Formats ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wav:
    n_samples: int
    sample_rate: int  # Hz
    n_channels: int
    bits: int
    salience: int  # 1 foreground, 2 background, as in UrbanSound8K.csv


def _gain(level_db: float) -> float:
    return float(10 ** (level_db / 20))


def _draw_us8k_format(seed: int, fold: int, class_id: int, index: int, duration_s: float) -> _Wav:
    rng = _rng(_US8K_FORMAT, seed, fold, class_id, index)
    # One in seven is shorter than a patch (2.97 s), like 1,253 of the 8,732 official clips. In turn, not at random,
    # so that the smallest set has some.
    if (fold + 3 * class_id + index) % 7 == 0:
        duration_s *= rng.uniform(0.075, 0.625)
    rate = int(rng.choice([22_050, 44_100, 48_000], p=[0.1, 0.6, 0.3]))
    n_channels, bits = int(rng.choice([1, 2], p=[0.3, 0.7])), int(rng.choice([16, 24], p=[0.65, 0.35]))
    return _Wav(round(duration_s * rate), rate, n_channels, bits, salience=int(rng.choice([1, 2], p=[0.7, 0.3])))


def _us8k_wav(wav: _Wav, seed: int, fold: int, class_id: int, source: int, index: int) -> bytes:
    source_rng = _rng(_US8K_SOURCE, seed, fold, class_id, source)
    take = _Take(wav.n_samples, wav.sample_rate, source_rng, _rng(_US8K_CLIP, seed, fold, class_id, index))
    wave = list(US8K_RECIPES.values())[class_id](take)
    wave /= math.sqrt(np.mean(wave**2)) + 1e-12
    # The place: noise with a colour that depends on the fold. The recorder: a band limit of the source.
    tilt_db = _rng(_US8K_FOLD, seed, fold).uniform(-8, -2) + 1.5 * take.source.standard_normal()
    snr_db = take.draw(10, 50) if wav.salience == 1 else take.draw(-2, 18)
    wave += _gain(-snr_db) * _noise(take, tilt_db)
    cutoff_hz = min(take.source.choice([5_000, 9_000, 16_000, 20_000]), 0.45 * take.rate)
    wave = scipy.signal.sosfilt(scipy.signal.butter(4, cutoff_hz, fs=take.rate, output="sos"), wave)
    # Peaks between -3 and -40 dBFS: nothing clips, and quiet clips approach the noise of 16 bits.
    level = _gain(-3 - 37 * take.clip.beta(1.0, 1.5)) / (np.max(np.abs(wave)) + 1e-12)
    return _encode(take, level * wave, wav)


def _tut_wav(scene: _Scene, location_key: tuple[int, ...], index: int, n_samples: int) -> bytes:
    take = _Take(n_samples, 44_100, _rng(_TUT_LOCATION, *location_key), _rng(_TUT_CLIP, *location_key, index))
    wave = _scene(take, scene)
    rms_dbfs = np.clip(-46 + 3.5 * take.source.standard_normal(), -58, -37) + take.clip.uniform(-2, 2)
    level = min(_gain(rms_dbfs) / math.sqrt(np.mean(wave**2)), 0.7 / np.max(np.abs(wave)))
    return _encode(take, level * wave, _Wav(n_samples, 44_100, n_channels=2, bits=24, salience=1))


def _encode(take: _Take, wave: _Wave, wav: _Wav) -> bytes:
    """Pans, quantises and packs; half of the 24-bit files get the EXTENSIBLE header."""
    channels = [wave]
    if wav.n_channels == 2:  # the second is quieter and up to 0.7 ms later, as with two microphones
        delay = int(take.clip.integers(0, 1 + round(7e-4 * take.rate)))
        channels.append(take.clip.uniform(0.5, 1.0) * np.roll(wave, delay))
    samples = np.stack(channels, axis=-1) * 2.0 ** (wav.bits - 1)
    if wav.bits == 16:  # triangular dither; at 24 bits the noise of the sounds is enough
        samples += take.clip.random(samples.shape) - take.clip.random(samples.shape)
    extensible = wav.bits == 24 and take.clip.random() < 0.5
    # soundfile takes 16- and 24-bit samples from the upper bits of int32.
    integers = np.rint(samples).astype(np.int32) << (32 - wav.bits)
    target = io.BytesIO()
    kind = "WAVEX" if extensible else "WAV"
    soundfile.write(target, integers, take.rate, format=kind, subtype=f"PCM_{wav.bits}")
    return target.getvalue()
