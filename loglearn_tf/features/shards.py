"""The shards of a mel store: the frames of up to 128 clips, and their index."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from loglearn_tf._util.files import write_file, write_json
from loglearn_tf.audio import Origin, Samples
from loglearn_tf.datasets.clips import Clip

# Part of every store's key: increase it when the same settings give other numbers, or the layout changes.
FORMAT = 2
ABSENT = "absent"


def shard_paths(folder: Path, number: int) -> tuple[Path, Path]:
    stem = folder / f"shard-{number:04d}"
    return stem.with_suffix(".npy"), stem.with_suffix(".json")


def write_shard(folder: Path, number: int, clip_ids: Sequence[str], computed: Sequence[tuple[Samples, Origin]]) -> None:
    """Writes the frames, then the index: a shard exists once its index does."""
    data, index = shard_paths(folder, number)
    write_file(data, lambda file: np.save(file, np.concatenate([mel for mel, _ in computed])))
    rows = [[clip_id, len(mel)] for clip_id, (mel, _) in zip(clip_ids, computed, strict=True)]
    origins = [asdict(origin) for _, origin in computed]
    write_json(index, {"crc32": checksum(data, rows), "clips": rows, "origins": origins})


def fault_in(folder: Path, number: int, clips: Sequence[Clip] | None = None) -> str:
    """The problem of a shard, or empty.

    Args:
        folder: Folder of the store.
        number: Number of the shard.
        clips: The clips whose frames it must contain, in this order.
    """
    data, index = shard_paths(folder, number)
    if not index.is_file():
        return ABSENT
    try:
        held = json.loads(index.read_text(encoding="utf-8"))
        if checksum(data, held["clips"]) != held["crc32"]:
            return f"{data.name}: its checksum does not match"
        if clips is not None and [clip_id for clip_id, _ in held["clips"]] != [clip.clip_id for clip in clips]:
            return f"{index.name} lists other clips"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{data.name}: {error!r}"
    return ""


def checksum(path: Path, rows: Sequence[Any]) -> int:
    """Checksum of a shard's file and of the clips and positions in its index."""
    checksum = zlib.crc32(json.dumps(rows).encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum


def damaged(folder: Path, what: str) -> str:
    return f"Mel store {folder} is damaged: {what}. `loglearn features` recomputes the damaged part."
