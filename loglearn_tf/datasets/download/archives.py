"""Safe unpacking of archives: they are inspected first, and only plain files below their own folder are unpacked."""

import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from loglearn_tf._util.files import storage
from loglearn_tf.errors import DataError, LoglearnError

_CHUNK_BYTES = 1 << 20
# Ten times the entries of UrbanSound8K. Even an empty entry takes memory, a file and time.
_MOST_ENTRIES = 100_000
_NOT_UNPACKED = "It is not unpacked. Get the official file (data/README.md)."


@dataclass(frozen=True)
class Entry:
    """A plain file in an archive.

    Attributes:
        path: Path relative to the target folder.
        n_bytes: Size, as declared by the archive.
        member: The library's object for it.
        looked_through: Bytes of the archive read so far.
    """

    path: PurePosixPath
    n_bytes: int
    member: Any
    looked_through: int


def list_files(archive: Path) -> Iterator[Entry]:
    """The files of a `.zip` or `.tar.gz`, in its order; folders are omitted, since files imply them.

    Yields while reading, since a hostile archive may be endless: the caller must limit the sum of `n_bytes`.

    Raises:
        DataError: If it is damaged, or contains anything but plain files and folders (a link, a device), a path that
            could lead out of the target folder on any system, or more entries than any data set here.
    """
    for n_entries, (name, kind, entry) in enumerate(_members(archive), start=1):
        if n_entries > _MOST_ENTRIES:
            raise DataError(
                f"{archive} may contain at most {_MOST_ENTRIES:,} files and folders. Received: more. {_NOT_UNPACKED}"
            )
        # Stricter than `tarfile.data_filter`, which rewrites paths and allows links within the folder. Backslashes and
        # colons are folder separators and drive names on other systems; no official name has any.
        if entry.path.is_absolute() or ".." in entry.path.parts or any(sign in name for sign in "\\:\0"):
            raise _refuse(archive, "paths below its own folder", name)
        if kind == "other":
            raise _refuse(archive, "plain files and folders", name)
        if kind == "file":
            yield entry


def _members(archive: Path) -> Iterator[tuple[str, str, Entry]]:
    """Everything in an archive: name as it is written there, kind ("file", "folder" or "other"), and entry."""
    with _readable(archive):
        if _is_zip(archive):
            with zipfile.ZipFile(archive) as opened:
                size = archive.stat().st_size
                for info in opened.infolist():
                    name = info.orig_filename  # `filename` may have been adapted to this system
                    mode = stat.S_IFMT(info.external_attr >> 16)  # 0 if not made on Unix
                    is_plain = mode in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG)
                    is_encrypted = info.flag_bits & 1
                    kind = "other" if is_encrypted or not is_plain else "folder" if info.is_dir() else "file"
                    yield name, kind, Entry(PurePosixPath(name), info.file_size, info, size)
            return
        with (
            archive.open("rb") as compressed,
            _Headers(fileobj=compressed, mode="rb") as content,
            tarfile.open(fileobj=content, mode="r:") as tar,
        ):
            for member in tar:
                if member.size < 0:
                    raise tarfile.ReadError(f"a file has {member.size} bytes")
                # Sparse files can be arbitrarily smaller in the archive than their declared size.
                is_plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
                kind = "file" if is_plain else "folder" if member.isdir() else "other"
                yield member.name, kind, Entry(PurePosixPath(member.name), member.size, member, compressed.tell())
            # A damaged header looks like the end of the archive; the checksum at the true end shows the difference.
            while content.read(_CHUNK_BYTES):
                pass


def unpack(archive: Path, entries: Iterable[Entry], folder: Path, *, on_bytes: Callable[[int], None]) -> None:
    """Unpacks the files of an archive found by `list_files`.

    Args:
        archive: A `.zip` or `.tar.gz`.
        entries: In the archive's order.
        folder: A new folder with no other user: links in it would be followed.
        on_bytes: Called with the number of bytes written.

    Raises:
        DataError: If the archive is damaged.
        StorageError: If a file cannot be written.
    """
    with _readable(archive), _opened(archive) as open_member:
        for entry in entries:
            target = folder.joinpath(*entry.path.parts)
            with open_member(entry) as source, storage(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    for chunk in _chunks(archive, source):
                        file.write(chunk)
                        on_bytes(len(chunk))


def check_together(what: str, paths: Iterable[PurePosixPath]) -> None:
    """Raises a `DataError` if a path is both a file and a folder; `what` names the source."""
    files = set(paths)
    both = files & {parent for path in files for parent in path.parents}
    if both:
        raise _refuse(what, "no path that is both a file and a folder", str(min(both)))


@contextmanager
def _opened(archive: Path) -> Iterator[Callable[[Entry], IO[bytes]]]:
    if _is_zip(archive):
        with zipfile.ZipFile(archive) as opened:
            yield lambda entry: opened.open(entry.member)
    else:
        with tarfile.open(archive, "r:gz") as tar:
            # `None` means not a file.
            yield lambda entry: cast(IO[bytes], tar.extractfile(entry.member))


def _is_zip(archive: Path) -> bool:
    return archive.suffix == ".zip"


class _Headers(gzip.GzipFile):
    """A tar archive whose files are skipped; headers have a limited size, whatever they declare."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _CHUNK_BYTES:
            raise tarfile.ReadError(f"it has a header of {size:,} bytes")
        return super().read(size)


def _chunks(archive: Path, source: IO[bytes]) -> Iterator[bytes]:
    # System errors from a damaged archive would look like errors of the output file.
    with _readable(archive):
        while chunk := source.read(_CHUNK_BYTES):
            yield chunk


def _refuse(what: str | Path, rule: str, name: str) -> DataError:
    return DataError(f"{what} must contain {rule}. Received: {name!r}. {_NOT_UNPACKED}")


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except LoglearnError:
        raise
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,  # also from gzip and bz2
        ValueError,  # a name that is not UTF-8; an invalid number in a header
        RuntimeError,  # an unsupported compression; deeply nested headers
    ) as error:
        raise DataError(f"{archive} cannot be unpacked: {error}. Download the official file again.") from error
