"""The mel store: mel power of every clip, memory-mapped."""

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from loglearn_tf.datasets.clips import Clip
from loglearn_tf.errors import DataError
from loglearn_tf.features.shards import damaged, fault_in, shard_paths


class MelSource(Protocol):
    """A source of mel power for clips: a `MelStore`, or an object derived from one."""

    def mel(self, clip: Clip) -> npt.NDArray[np.float32]:
        """`(frames, n_mels)` float32."""


class MelStore:
    """Mel spectrograms of a list of clips, read-only, memory-mapped.

    A folder of shards, `shard-0000.npy` with `(frames of 128 clips, n_mels)` float32, each next to a `shard-0000.json`
    with its clips, their checksum and, as `origins`, each clip's file format and decoder; and `store.json`, written
    last, with the front-end settings.

    Args:
        folder: Folder of a complete store, made by `build_store`.

    Raises:
        DataError: If the store is incomplete, of another version, or visibly damaged; `verify` checks every number.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.settings: dict[str, Any] = json.loads((self.folder / "store.json").read_text(encoding="utf-8"))
            n_shards = int(self.settings["n_shards"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"Mel store {self.folder} is incomplete: store.json cannot be read ({error!r}). "
                "Run `loglearn features` again; it resumes."
            ) from error
        self._shards: list[npt.NDArray[np.float32]] = []
        # Clip -> its shard, first frame and the frame after its last.
        self._places: dict[str, tuple[int, int, int]] = {}
        self._origins: dict[str, dict[str, Any]] = {}
        self._stamps: list[tuple[int, ...] | None] = []
        for number in range(n_shards):
            data, index = shard_paths(self.folder, number)
            try:
                self._stamps.append(_stamp(data))
                self._shards.append(np.load(data, mmap_mode="r"))
                held = json.loads(index.read_text(encoding="utf-8"))
                rows = [(str(clip_id), int(n_frames)) for clip_id, n_frames in held["clips"]]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise DataError(damaged(self.folder, f"{data.name} cannot be read ({error!r})")) from error
            start = 0
            for clip_id, n_frames in rows:
                self._places[clip_id] = (number, start, start + n_frames)
                start += n_frames
            # Older shards have no origins.
            for (clip_id, _), origin in zip(rows, held.get("origins", ()), strict=False):
                self._origins[clip_id] = origin
            n_held = self._shards[-1].shape[0]
            if n_held != start:
                raise DataError(damaged(self.folder, f"{data.name} has {n_held} frames, not {start}"))

    def verify(self) -> None:
        """Compares every shard with its checksum.

        Raises:
            DataError: If one is damaged.
        """
        for number in range(len(self._shards)):
            fault = fault_in(self.folder, number)
            if fault:
                raise DataError(damaged(self.folder, fault))

    def change(self) -> str:
        """The changes to the store since it was opened, or empty.

        Reads only the folder: results computed meanwhile may not belong to the store's original numbers.
        """
        for number, before in enumerate(self._stamps):
            data, _ = shard_paths(self.folder, number)
            if _stamp(data) != before:
                return damaged(self.folder, f"{data.name} was changed while in use")
        return ""

    def mel(self, clip: Clip) -> npt.NDArray[np.float32]:
        """`(frames, n_mels)` float32 mel power of a clip; a view of the file, not a copy.

        Raises:
            DataError: If the store does not contain the clip.
        """
        place = self._places.get(clip.clip_id)
        if place is None:
            raise DataError(
                f"Mel store {self.folder} does not contain clip {clip.clip_id}. Run `loglearn features` again."
            )
        shard, first, end = place
        return self._shards[shard][first:end]

    def origin(self, clip: Clip) -> dict[str, Any] | None:
        """Format of a clip's file when it was decoded: `decoder`, `container`, `format_tag`, `bits`, `channels`,
        `sample_rate` in Hz, `frames`; see `loglearn_tf.audio.Origin`. None if unknown."""
        return self._origins.get(clip.clip_id)

    def __len__(self) -> int:
        return len(self._places)


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Changes whenever a file is written or another takes its name."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
