"""The shards of a mel store: the frames of up to 128 clips, and whose they are."""

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

# Part of every store's key: raise it when the same settings give other numbers, or a store is laid out otherwise.
FORMAT = 2
ABSENT = "absent"


def shard_paths(folder: Path, number: int) -> tuple[Path, Path]:
    stem = folder / f"shard-{number:04d}"
    return stem.with_suffix(".npy"), stem.with_suffix(".json")


def write_shard(folder: Path, number: int, clip_ids: Sequence[str], computed: Sequence[tuple[Samples, Origin]]) -> None:
    """Writes the frames, then the index: a shard is there when its index is."""
    data, index = shard_paths(folder, number)
    write_file(data, lambda file: np.save(file, np.concatenate([mel for mel, _ in computed])))
    rows = [[clip_id, len(mel)] for clip_id, (mel, _) in zip(clip_ids, computed, strict=True)]
    origins = [asdict(origin) for _, origin in computed]
    write_json(index, {"crc32": checksum(data, rows), "clips": rows, "origins": origins})


def fault_in(folder: Path, number: int, clips: Sequence[Clip] | None = None) -> str:
    """What is wrong with a shard; empty where nothing is.

    Args:
        folder: The store's.
        number: The shard's.
        clips: Whose frames it must hold, in this order.
    """
    data, index = shard_paths(folder, number)
    if not index.is_file():
        return ABSENT
    try:
        held = json.loads(index.read_text(encoding="utf-8"))
        if checksum(data, held["clips"]) != held["crc32"]:
            return f"{data.name}: its checksum does not match"
        if clips is not None and [clip_id for clip_id, _ in held["clips"]] != [clip.clip_id for clip in clips]:
            return f"{index.name} names other clips"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{data.name}: {error!r}"
    return ""


def checksum(path: Path, rows: Sequence[Any]) -> int:
    """Of a shard's file, and of what its index says of whose frames lie where."""
    checksum = zlib.crc32(json.dumps(rows).encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum


def damaged(folder: Path, what: str) -> str:
    return f"Mel store {folder} is damaged: {what}. `loglearn features` computes what is damaged again."
