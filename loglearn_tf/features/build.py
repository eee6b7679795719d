"""Builds the mel store: mel power of every clip, computed once and memory-mapped afterwards."""

import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from loglearn_tf._util.files import remove_scratch, storage, write_json
from loglearn_tf._util.process import call
from loglearn_tf._util.progress import OnProgress, Progress
from loglearn_tf._util.tensorflow_runtime import available_cores, is_repeatable, tensorflow
from loglearn_tf._util.text import first_few
from loglearn_tf.audio import Origin, Samples, load_segments, load_with_origin
from loglearn_tf.audio.decoder import open_sound
from loglearn_tf.datasets.clips import Clip, by_file
from loglearn_tf.errors import AudioError, DataError
from loglearn_tf.features.front_end import completed
from loglearn_tf.features.shards import ABSENT, FORMAT, damaged, fault_in, shard_paths, write_shard
from loglearn_tf.features.store import MelStore

# Clips per shard, the unit of resuming. 128 clips of US8K are 11 MB and half a second of work.
_SHARD_CLIPS = 128
# Clips that a thread reads and transforms together: fewer calls for the bands.
_CLIPS_AT_ONCE = 4

_log = logging.getLogger(__name__)


# Mel power of a clip, and the format of its file.
_Features = tuple[Samples, Origin]


def build_store(
    clips: Sequence[Clip],
    *,
    name: str,
    front_end: Mapping[str, Any],
    store_dir: str | Path,
    compression: str = "none",
    gain_db: float = 0.0,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> MelStore:
    """Computes what is missing in a store and opens it.

    A store's numbers do not depend on the machine or the process: they are computed on the CPU with one thread per
    operation, and therefore in a separate process unless TensorFlow is already configured that way here.

    Another list of clips, other sounds in their files, or other settings give another store. A shard appears by rename:
    interrupted work resumes at the first missing one. Every shard's checksum is compared first; a damaged one is
    reported and computed again. A complete store may be read-only.

    Args:
        clips: All clips of the data set, so that all its studies share the store.
        name: Prefix of the folder's name.
        front_end: Arguments of `MelSpectrogram`; missing ones have its defaults.
        store_dir: Folder of the stores.
        compression: `"none"`, or a fixed compression to apply, such as `"logeps"`.
        gain_db: Gain in dB applied to every waveform before the front end.
        workers: Number of threads; default: one per core.
        on_progress: Called after every few clips.

    Raises:
        ConfigError: If `front_end` has arguments that `MelSpectrogram` does not take.
        DataError: If clips cannot be decoded; lists them. Finished shards are kept.
        WorkerError: If the computing process dies.
        StorageError: If the store cannot be written.
    """
    clips = sorted(clips, key=lambda clip: clip.clip_id)
    front_end = completed(front_end)
    folder = Path(store_dir) / f"{name}-{_key(clips, front_end, compression, gain_db)}"
    shards = dict(enumerate(clips[at : at + _SHARD_CLIPS] for at in range(0, len(clips), _SHARD_CLIPS)))
    about = {
        "format": FORMAT,
        "front_end": front_end,
        "compression": compression,
        "gain_db": gain_db,
        "n_clips": len(clips),
        "n_shards": len(shards),
    }
    missing = _missing(folder, shards)
    if not missing and _says(folder, about):
        return MelStore(folder)
    lock = FileLock(folder / ".lock")
    with storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()  # if two studies need the same store, the second waits and finds it complete
    try:
        with storage(folder):
            remove_scratch(folder)
        # Other processes may have computed some meanwhile.
        missing = _missing(folder, {number: shards[number] for number in missing})
        for fault in missing.values():
            if fault != ABSENT:
                _log.warning("%s Computing it again.", damaged(folder, fault))
        if missing:
            to_do = {number: shards[number] for number in missing}
            work = (folder, to_do, dict(front_end), compression, gain_db, workers or available_cores())
            if is_repeatable():
                _compute(*work, on_progress=on_progress)
            else:
                call(_compute_alone, *work, on_progress=on_progress)
        if missing or not _says(folder, about):
            write_json(folder / "store.json", about)
    finally:
        lock.release()
    return MelStore(folder)


def n_to_compute(
    clips: Sequence[Clip],
    *,
    name: str,
    front_end: Mapping[str, Any],
    store_dir: str | Path,
    compression: str = "none",
    gain_db: float = 0.0,
) -> int:
    """The number of clips that `build_store` would compute with these arguments; reads no sound, and does not check for
    damage."""
    clips = sorted(clips, key=lambda clip: clip.clip_id)
    folder = Path(store_dir) / f"{name}-{_key(clips, completed(front_end), compression, gain_db)}"
    shards = (clips[at : at + _SHARD_CLIPS] for at in range(0, len(clips), _SHARD_CLIPS))
    return sum(len(shard) for number, shard in enumerate(shards) if not shard_paths(folder, number)[1].is_file())


def seconds_of(clip: Clip) -> float | None:
    """The length of a clip according to its header, in seconds; `None` if unknown or unreadable."""
    try:
        with open_sound(clip.path) as sound:
            return None if sound.n_frames is None else sound.n_frames / sound.origin.sample_rate
    except AudioError:
        return None


def feature_function(front_end: Mapping[str, Any], compression: str = "none") -> Callable[[Sequence[Path]], None]:
    """Reads and transforms sound files like `build_store` and discards the result, to measure the time."""
    front_end = completed(front_end)
    mels_of = _mel_function(front_end, compression)

    def compute(paths: Sequence[Path]) -> None:
        for at in range(0, len(paths), _CLIPS_AT_ONCE):
            _read_and_transform(paths[at : at + _CLIPS_AT_ONCE], mels_of, sample_rate=front_end["sample_rate"])

    return compute


def _compute_alone(*work: Any, on_progress: OnProgress) -> None:
    """Runs `_compute` in a separate process."""
    *_, workers = work
    tensorflow(parallel_calls=workers, gpu=None)
    _compute(*work, on_progress=on_progress)


def _compute(
    folder: Path,
    shards: Mapping[int, Sequence[Clip]],
    front_end: Mapping[str, Any],
    compression: str,
    gain_db: float,
    workers: int,
    *,
    on_progress: OnProgress | None,
) -> None:
    gain = np.float32(10 ** (gain_db / 20))
    mels_of = _mel_function(front_end, compression)
    failures: list[str] = []

    def compute(some: Sequence[Clip]) -> list[_Features | None]:
        paths = [clip.path for clip in some]
        segments = [clip.segment for clip in some if clip.segment is not None]
        found = _read_and_transform(
            paths, mels_of, sample_rate=front_end["sample_rate"], gain=float(gain), segments=segments
        )
        return [judged(path, one) for path, one in zip(paths, found, strict=True)]

    def judged(path: Path, found: _Features | AudioError) -> _Features | None:
        if isinstance(found, AudioError):
            failures.append(str(found))
            return None
        if not np.isfinite(found[0]).all():
            # float32 ends at 3e38; a study on infinite values would fail without a clear reason.
            failures.append(f"Mel power of {path} is not finite with `features.gain_db={gain_db:g}`: reduce it.")
            return None
        return found

    n_clips = sum(len(shard) for shard in shards.values())
    progress = Progress(on_progress, "Features", n_clips)
    with ThreadPoolExecutor(workers) as pool:
        for number, shard in shards.items():
            computed: dict[str, _Features] = {}
            parts = _parts(shard)
            for part, features in zip(parts, pool.map(compute, parts), strict=True):
                progress.advance(n=len(part))
                computed |= {clip.clip_id: one for clip, one in zip(part, features, strict=True) if one is not None}
            if len(computed) == len(shard):
                ids = [clip.clip_id for clip in shard]
                write_shard(folder, number, ids, [computed[clip_id] for clip_id in ids])
    if failures:
        shown = "\n  ".join(first_few(sorted(set(failures)), most=10))  # segments share the errors of their file
        raise DataError(
            f"{len(failures):,} of {n_clips:,} clips could not be read:\n  {shown}\nReplace these files and run again."
        )


def _parts(clips: Sequence[Clip]) -> list[list[Clip]]:
    """Groups of clips that a thread processes at once: a few files, or segments of one."""
    whole = [clip for clip in clips if clip.segment is None]
    parts = [whole[at : at + _CLIPS_AT_ONCE] for at in range(0, len(whole), _CLIPS_AT_ONCE)]
    return [*parts, *by_file(clip for clip in clips if clip.segment is not None)]


def _read_and_transform(
    paths: Sequence[Path],
    mels_of: Callable[[Iterable[Samples]], Sequence[Samples]],
    *,
    sample_rate: int,
    gain: float = 1.0,
    segments: Sequence[tuple[float, float]] = (),
) -> list[_Features | AudioError]:
    """For each file, `(frames, n_mels)` and its format, or the error.

    For segments, in order of start, the path of their file is given once for each.
    """
    found: list[Origin | AudioError] = []

    def read(path: Path) -> tuple[Samples, Origin] | AudioError:
        try:
            return load_with_origin(path, sample_rate=sample_rate)
        except AudioError as error:
            return error

    def waveforms() -> Iterator[Samples]:
        for sound in load_segments(paths[0], segments, sample_rate=sample_rate) if segments else map(read, paths):
            if isinstance(sound, AudioError):
                found.append(sound)
                continue
            waveform, origin = sound
            found.append(origin)
            yield waveform if gain == 1 else gain * waveform

    mels = iter(mels_of(waveforms()))
    return [one if isinstance(one, AudioError) else (next(mels), one) for one in found]


def _mel_function(front_end: Mapping[str, Any], compression: str) -> Callable[[Iterable[Samples]], list[Samples]]:
    """Transforms waveforms, `(samples,)` each, to `(frames, n_mels)` each.

    Clips do not affect each other. Thread-safe.
    """
    import tensorflow as tf

    from loglearn_tf.features.spectrum import PowerSpectrum
    from loglearn_tf.layers import MelSpectrogram, build_compression

    front, compress = MelSpectrogram(**front_end), build_compression(compression)
    front.build((None, None))
    spectrum = PowerSpectrum(front)

    with tf.device("CPU"):
        banks = [tf.constant(bank) for *_, bank in front.banks]

    def mel_of(power: Sequence[Samples]) -> Samples:
        # The kernel of the layer's `tf.matmul`. Given an array, only the raw operation reads it in place.
        return np.concatenate([tf.raw_ops.MatMul(a=a, b=b) for a, b in zip(power, banks, strict=True)], axis=1)

    @tf.function(input_signature=[tf.TensorSpec((None, None, front.n_mels), tf.float32)])  # type: ignore[untyped-decorator]
    def compressed(mel: Any) -> Any:
        with tf.device("CPU"):
            return compress(mel)

    def transform(waveforms: Iterable[Samples]) -> list[Samples]:
        ends = [0]

        def counted() -> Iterator[Samples]:
            for waveform in waveforms:
                ends.append(ends[-1] + spectrum.n_frames(waveform))
                yield waveform

        blocks = []
        for power, n_frames in spectrum(counted()):
            # A store must not depend on the device: on a GPU, matrix products lose digits (TF32).
            with tf.device("CPU"):
                blocks.append(mel_of(power)[:n_frames])
        if not blocks:
            return []
        mel = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        mels = [mel[first:end] for first, end in itertools.pairwise(ends)]
        return mels if compression == "none" else [compressed(one[np.newaxis]).numpy()[0] for one in mels]

    transform(np.zeros((1, 1), np.float32))  # traced once, before the threads start
    return transform


def _key(clips: Iterable[Clip], front_end: Mapping[str, Any], compression: str, gain_db: float) -> str:
    # Without a gain the key is as before gains existed, so that older stores are found.
    gain = [gain_db] if gain_db else []
    parts = [json.dumps([FORMAT, dict(front_end), compression, *gain], sort_keys=True)]
    parts += [clip.sound for clip in clips]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _missing(folder: Path, shards: Mapping[int, Sequence[Clip]]) -> dict[int, str]:
    """Index of each missing or damaged shard -> the problem."""
    faults = {number: fault_in(folder, number, shard) for number, shard in shards.items()}
    return {number: fault for number, fault in faults.items() if fault}


def _says(folder: Path, about: Mapping[str, Any]) -> bool:
    """Whether `store.json` exists with this content."""
    try:
        return bool(json.loads((folder / "store.json").read_text(encoding="utf-8")) == json.loads(json.dumps(about)))
    except (OSError, ValueError):
        return False
