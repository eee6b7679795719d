"""Files that appear whole or not at all."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from loglearn_tf.errors import StorageError

_SCRATCH = ".part"


def write_file(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Writes through a temporary file beside `path` that is renamed when complete and on disk.

    Raises:
        StorageError: If it cannot be written; `path` is then as it was.
    """
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_SCRATCH)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_umask())  # mkstemp's 0600 would keep colleagues out
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def remove_scratch(folder: Path) -> None:
    """Removes what `write_file` left in a folder where it was killed; only while no other process writes there."""
    for path in folder.glob(f".*{_SCRATCH}"):
        path.unlink(missing_ok=True)


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turns what the system says about writing `path` into a `StorageError` with the remedy."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Cannot write {path}: {error.strerror or error}. Free space there, or name another folder (`runs_dir=`, "
            "`features.store_dir=`, `--output`). What was finished before is kept; the same command goes on from it."
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    write_file(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def _umask() -> int:
    # There is no way to read it but to set it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
