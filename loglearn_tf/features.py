"""Clips to the mel store: mel power of every clip, computed once, memory-mapped ever after."""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from loglearn_tf.audio import Origin, load_with_origin
from loglearn_tf.datasets.clips import Clip
from loglearn_tf.errors import AudioError, DataError
from loglearn_tf.files import storage, write_file, write_json
from loglearn_tf.progress import Progress
from loglearn_tf.tensorflow_runtime import available_cores

# Part of every store's key: raise it when the same settings give other numbers.
_FORMAT = 1
# Clips in a shard: the unit of resuming. 128 clips of US8K are 11 MB and half a second of work.
_SHARD_CLIPS = 128
_SHOWN = 10


@dataclass(frozen=True)
class _Place:
    """Where a clip's frames lie: rows `start` to `start + n_frames` of a shard."""

    shard: int
    start: int
    n_frames: int


class MelStore:
    """Mel spectrograms of a list of clips, read-only, memory-mapped.

    A folder of shards, `shard-0000.npy` with `(frames of 128 clips, n_mels)` float32, each beside a
    `shard-0000.json` that says whose frames they are, their checksum and, as `origins`, what each clip's
    file was and which decoder read it, and `store.json`, written last, with the front-end settings.

    Args:
        folder: Of a complete store; `build_store` makes one.

    Raises:
        DataError: If the store is incomplete, or of another version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.settings: dict[str, Any] = json.loads((self.folder / "store.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"Mel store {self.folder} is incomplete: {error}. Run `loglearn features` again; it resumes."
            ) from error
        self._shards: list[npt.NDArray[np.float32]] = []
        self._places: dict[str, _Place] = {}
        self._origins: dict[str, dict[str, Any]] = {}
        for number in range(self.settings["n_shards"]):
            data, index = _shard_paths(self.folder, number)
            try:
                self._shards.append(np.load(data, mmap_mode="r"))
                held = json.loads(index.read_text(encoding="utf-8"))
                rows = held["clips"]
            except (OSError, ValueError) as error:
                raise DataError(_damaged(self.folder, f"{data.name} cannot be read ({error})")) from error
            start = 0
            for clip_id, n_frames in rows:
                self._places[clip_id] = _Place(number, start, n_frames)
                start += n_frames
            # Shards made before origins were recorded have none.
            for (clip_id, _), origin in zip(rows, held.get("origins", ()), strict=False):
                self._origins[clip_id] = origin
            n_held = self._shards[-1].shape[0]
            if n_held != start:
                raise DataError(_damaged(self.folder, f"{data.name} has {n_held} frames, not {start}"))

    def mel(self, clip: Clip) -> npt.NDArray[np.float32]:
        """`(frames, n_mels)` float32 mel power of a clip; a view of the file, not a copy.

        Raises:
            DataError: If the store does not hold the clip.
        """
        place = self._places.get(clip.clip_id)
        if place is None:
            raise DataError(
                f"Mel store {self.folder} does not hold clip {clip.clip_id}. Run `loglearn features` again."
            )
        return self._shards[place.shard][place.start : place.start + place.n_frames]

    def origin(self, clip: Clip) -> dict[str, Any] | None:
        """What a clip's file was when it was decoded: `decoder`, `container`, `format_tag`, `bits`, `channels`,
        `sample_rate` in Hz, `frames`; see `loglearn_tf.audio.Origin`. None where the store does not know."""
        return self._origins.get(clip.clip_id)

    def __len__(self) -> int:
        return len(self._places)


def build_store(
    clips: Sequence[Clip],
    *,
    name: str,
    front_end: Mapping[str, Any],
    store_dir: str | Path,
    compression: str = "none",
    gain_db: float = 0.0,
    workers: int | None = None,
) -> MelStore:
    """Computes what a store lacks, and opens it.

    Another list of clips, other sounds in their files, or another setting, makes another store. A shard
    appears by rename: interrupted work resumes at the first missing one. Every shard's checksum is
    compared first; a damaged one is reported and computed again.

    Args:
        clips: The data set's clips, all of them, so that every study of it shares the store.
        name: Begins the folder's name.
        front_end: Arguments of `MelSpectrogram`.
        store_dir: Folder of the stores.
        compression: `"none"`, or a fixed compression to apply, as `"logeps"`.
        gain_db: Of every waveform, before the front end.
        workers: Threads that decode and transform; default: one a core.

    Raises:
        DataError: If clips cannot be decoded; names them all. The others' shards are kept.
    """
    clips = sorted(clips, key=lambda clip: clip.clip_id)
    folder = Path(store_dir) / f"{name}-{_key(clips, front_end, compression, gain_db)}"
    with storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
    shards = [clips[at : at + _SHARD_CLIPS] for at in range(0, len(clips), _SHARD_CLIPS)]
    lock = FileLock(folder / ".lock")
    # Two studies that need the same store: the second waits, then finds it complete.
    with lock:
        for leftover in folder.glob(".shard-*"):
            leftover.unlink(missing_ok=True)
        missing = [number for number in range(len(shards)) if not _is_whole(folder, number)]
        if missing:
            _compute(
                folder,
                {number: shards[number] for number in missing},
                front_end=front_end,
                compression=compression,
                gain_db=gain_db,
                workers=workers or available_cores(),
            )
        if missing or not (folder / "store.json").is_file():
            write_json(
                folder / "store.json",
                {
                    "format": _FORMAT,
                    "front_end": dict(front_end),
                    "compression": compression,
                    "gain_db": gain_db,
                    "n_clips": len(clips),
                    "n_shards": len(shards),
                },
            )
    return MelStore(folder)


def _compute(
    folder: Path,
    shards: Mapping[int, Sequence[Clip]],
    *,
    front_end: Mapping[str, Any],
    compression: str,
    gain_db: float,
    workers: int,
) -> None:
    gain = np.float32(10 ** (gain_db / 20))
    mel_of = _mel_function(front_end, compression, workers)
    failures: list[str] = []

    def compute(clip: Clip) -> tuple[npt.NDArray[np.float32], Origin] | None:
        try:
            waveform, origin = load_with_origin(clip.path, sample_rate=front_end["sample_rate"])
            return mel_of(gain * waveform if gain_db else waveform), origin
        except AudioError as error:
            failures.append(str(error))
            return None

    n_clips = sum(len(shard) for shard in shards.values())
    with Progress("Features", n_clips) as progress, ThreadPoolExecutor(workers) as pool:
        for number, shard in shards.items():
            computed = []
            for mel in pool.map(compute, shard):
                progress.advance()
                computed.append(mel)
            whole = [mel for mel in computed if mel is not None]
            if len(whole) == len(shard):
                _write_shard(folder, number, [clip.clip_id for clip in shard], whole)
    if failures:
        shown = "\n  ".join(sorted(failures)[:_SHOWN])
        more = f"\n  and {len(failures) - _SHOWN:,} more" if len(failures) > _SHOWN else ""
        raise DataError(
            f"{len(failures):,} of {n_clips:,} clips cannot be read:\n  {shown}{more}\n"
            "Replace these files and run again."
        )


def _mel_function(
    front_end: Mapping[str, Any], compression: str, workers: int
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """One clip's waveform, `(samples,)`, to its `(frames, n_mels)`; safe to call from many threads."""
    from loglearn_tf.tensorflow_runtime import tensorflow

    tf = tensorflow(parallel_calls=workers)
    from loglearn_tf.layers import MelSpectrogram, build_compression

    front, compress = MelSpectrogram(**front_end), build_compression(compression)

    @tf.function(input_signature=[tf.TensorSpec((1, None), tf.float32)])  # type: ignore[untyped-decorator]
    def transform(waveform: Any) -> Any:
        # Cheap, and on a GPU matrix products lose digits (TF32): a store must not depend on the device.
        with tf.device("CPU"):
            return compress(front(waveform))[0]

    transform(np.zeros((1, 1), np.float32))  # traced once, before the threads start
    return lambda waveform: transform(waveform[np.newaxis]).numpy()


def _key(clips: Iterable[Clip], front_end: Mapping[str, Any], compression: str, gain_db: float) -> str:
    # Without a gain as before there were gains: stores of then are found.
    gain = [gain_db] if gain_db else []
    parts = [json.dumps([_FORMAT, dict(front_end), compression, *gain], sort_keys=True)]
    parts += [clip.sound for clip in clips]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _write_shard(
    folder: Path, number: int, clip_ids: Sequence[str], computed: Sequence[tuple[npt.NDArray[np.float32], Origin]]
) -> None:
    data, index = _shard_paths(folder, number)
    write_file(data, lambda file: np.save(file, np.concatenate([mel for mel, _ in computed])))
    rows = [[clip_id, len(mel)] for clip_id, (mel, _) in zip(clip_ids, computed, strict=True)]
    origins = [asdict(origin) for _, origin in computed]
    write_json(index, {"crc32": _checksum(data), "clips": rows, "origins": origins})


def _is_whole(folder: Path, number: int) -> bool:
    """Whether a shard is there and undamaged; says so where it is damaged."""
    data, index = _shard_paths(folder, number)
    if not index.is_file():
        return False
    try:
        if _checksum(data) == json.loads(index.read_text(encoding="utf-8"))["crc32"]:
            return True
        reason = "its checksum does not match"
    except (OSError, ValueError, KeyError) as error:
        reason = str(error)
    print(f"Warning: {_damaged(folder, f'{data.name}: {reason}')} Computing it again.", flush=True)
    return False


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _shard_paths(folder: Path, number: int) -> tuple[Path, Path]:
    stem = folder / f"shard-{number:04d}"
    return stem.with_suffix(".npy"), stem.with_suffix(".json")


def _damaged(folder: Path, what: str) -> str:
    return f"Mel store {folder} is damaged: {what}. `loglearn features` computes what is damaged again."
