"""Archives are looked through before they are unpacked: only plain files below their own folder ever are."""

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from loglearn_tf.errors import DataError
from loglearn_tf.files import storage

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A plain file in an archive.

    Attributes:
        path: Below the folder that the archive is unpacked into.
        n_bytes: Size, as the archive declares it.
        member: What the library knows of it.
        looked_through: Bytes of the archive that had been read when it was found.
    """

    path: PurePosixPath
    n_bytes: int
    member: Any
    looked_through: int


def list_files(archive: Path) -> Iterator[Entry]:
    """The files of a `.zip` or `.tar.gz`, in its order; folders are left out, as files bring theirs.

    Yields while it reads, since a hostile archive has no end: bound the sum of `n_bytes`.

    Raises:
        DataError: If it is damaged, or holds anything that is neither a plain file nor a folder, as links are, or a
            path that would lead out of the folder it is unpacked into, on whatever system.
    """
    with _readable(archive):
        if _is_zip(archive):
            with zipfile.ZipFile(archive) as opened:
                for info in opened.infolist():
                    # `filename` may have been made fit for this system.
                    path = _safe_path(archive, info.orig_filename)
                    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where no Unix made it
                    encrypted = info.flag_bits & 1
                    if kind not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG) or encrypted:
                        raise _refuse(archive, "plain files and folders", info.orig_filename)
                    if not info.is_dir():
                        yield Entry(path, info.file_size, info, archive.stat().st_size)
            return
        with (
            archive.open("rb") as compressed,
            gzip.open(compressed) as content,
            tarfile.open(fileobj=content, mode="r:") as tar,
        ):
            for member in tar:
                path = _safe_path(archive, member.name)
                # Sparse files take less room in the archive than they declare, by whatever factor.
                is_plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
                if not is_plain and not member.isdir():
                    raise _refuse(archive, "plain files and folders", member.name)
                if is_plain:
                    yield Entry(path, member.size, member, compressed.tell())
            # A damaged header looks like the end: the checksum, which lies at the true end, tells.
            while content.read(_CHUNK_BYTES):
                pass


def unpack(archive: Path, entries: Iterable[Entry], folder: Path, *, on_bytes: Callable[[int], None]) -> None:
    """Writes files of an archive, as `list_files` found them; never a byte more than they declared.

    Args:
        archive: A `.zip` or `.tar.gz`.
        entries: In the archive's order.
        folder: New, and nobody else's: links in it would be followed.
        on_bytes: Told how many bytes have been written.

    Raises:
        DataError: If the archive is damaged.
        StorageError: If a file cannot be written.
    """
    with _readable(archive), _opened(archive) as open_member:
        for entry in entries:
            target = folder.joinpath(*entry.path.parts)
            with storage(target), _readable(archive), open_member(entry) as source:
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    left = entry.n_bytes
                    while left and (chunk := source.read(min(_CHUNK_BYTES, left))):
                        left -= len(chunk)
                        file.write(chunk)
                        on_bytes(len(chunk))
                if left:
                    raise _refuse(archive, f"{entry.n_bytes:,} bytes, as it declares, of a file", str(entry.path))


def check_together(what: str, paths: Iterable[PurePosixPath]) -> None:
    """Raises a `DataError` if one path is both a file and the folder of another; `what` holds them."""
    files = set(paths)
    both = files & {parent for path in files for parent in path.parents}
    if both:
        raise _refuse(what, "no file that is a folder, too", str(min(both)))


@contextmanager
def _opened(archive: Path) -> Iterator[Callable[[Entry], IO[bytes]]]:
    if _is_zip(archive):
        with zipfile.ZipFile(archive) as opened:
            yield lambda entry: opened.open(entry.member)
    else:
        with tarfile.open(archive, "r:gz") as tar:
            # `None` is for what is no file.
            yield lambda entry: cast(IO[bytes], tar.extractfile(entry.member))


def _is_zip(archive: Path) -> bool:
    return archive.suffix == ".zip"


def _safe_path(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    # Backslashes and colons are harmless here, but separate folders and name drives elsewhere; no official name has
    # any.
    if path.is_absolute() or ".." in path.parts or any(sign in name for sign in "\\:\0"):
        raise _refuse(archive, "paths below its own folder", name)
    return path


def _refuse(what: str | Path, rule: str, name: str) -> DataError:
    return DataError(
        f"{what} must hold {rule}. Received: {name!r}. It is not unpacked. Get the official file, which "
        "data/README.md describes."
    )


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
        NotImplementedError,  # a kind of compression
    ) as error:
        raise DataError(f"{archive} cannot be unpacked: {error}. Get the official file anew.") from error
