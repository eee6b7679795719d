"""Files and folders that appear complete or not at all."""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from loglearn_tf.errors import StorageError

_SCRATCH = ".part"
_SCRATCH_NAME = re.compile(rf"\..+\.\w{{8}}\{_SCRATCH}")  # the eight letters are mkstemp's


def write_file(path: Path, write: Callable[[BinaryIO], Any], *, durable: bool = True) -> None:
    """Writes through a temporary file next to `path` that is renamed when complete and on disk.

    Args:
        path: The file; its folder is created.
        write: Function that writes the temporary file.
        durable: Whether to flush it to disk before renaming. Otherwise a power failure may leave it empty.

    Raises:
        StorageError: If it cannot be written; `path` is then unchanged.
    """
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_SCRATCH)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_umask())  # mkstemp's 0600 would keep colleagues out
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path for a file or folder that then replaces `path`; on failure, the old content stays.


    Raises:
        StorageError: If it cannot be written.
    """
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
            new, old = Path(scratch, "new", path.name), Path(scratch, "old")
            new.parent.mkdir()
            yield new
            if path.exists() and (path.is_dir() or new.is_dir()):  # only files can replace each other
                path.rename(old)
            try:
                new.replace(path)
            except BaseException:
                if old.exists():
                    old.rename(path)
                raise


def is_scratch(path: Path) -> bool:
    """Whether a file was left behind by a killed `write_file`."""
    return _SCRATCH_NAME.fullmatch(path.name) is not None


def remove_scratch(folder: Path) -> None:
    """Removes files left behind by a killed `write_file`; call it only if no other process writes there."""
    for path in folder.glob(f".*{_SCRATCH}"):
        path.unlink(missing_ok=True)


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turns a system error on writing `path` into a `StorageError` with the remedy."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Cannot write {path}: {error.strerror or error}. Free some space or choose another folder (`runs_dir=`, "
            "`features.store_dir=`, `--output`). Finished work is kept; rerun the command to resume."
        ) from error


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    write_file(path, lambda file: file.write(content), durable=durable)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def _umask() -> int:
    # It can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
