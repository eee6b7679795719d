"""Downloads, verifies and unpacks official data sets; interrupted downloads resume."""

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import requests
from filelock import FileLock, Timeout

from loglearn_tf._util.files import storage
from loglearn_tf._util.progress import OnProgress, Progress, format_bytes
from loglearn_tf.datasets import load_dataset, tut, us8k
from loglearn_tf.datasets.clips import DataSet, is_synthetic
from loglearn_tf.datasets.download.archives import Entry, check_together, list_files, unpack
from loglearn_tf.datasets.download.fetch import Patience, Server, etag_file
from loglearn_tf.errors import ConfigError, DataError, DownloadError, MissingDataError, StorageError

SERVER = "https://zenodo.org"
PATIENCE = Patience()
# The true sizes are known only after downloading. Estimates: TUT's 10 s segments (24-bit stereo) are 1.16
# (development) and 1.19 (evaluation) times as large as their archives; UrbanSound8K, judging by its file formats,
# 1.25 times.
_UNPACKED_PER_BYTE = 1.3
_CHUNK_BYTES = 1 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """A folder of a data set, and its archives.

    Attributes:
        folder: Its name, which is the top folder of every archive.
        record: Record number on the server.
        archives: File name -> hexadecimal md5.
        check: Called with the parent folder; raises a `DataError` unless the data set is complete.
    """

    folder: str
    record: int
    archives: dict[str, str]
    check: Callable[[Path], object]


def _tut(part: str, record: int, md5s: dict[str, str]) -> Part:
    folder = f"TUT-acoustic-scenes-2017-{part}"
    return Part(
        folder, record, {f"{folder}.{name}.zip": md5 for name, md5 in md5s.items()}, partial(tut.check_part, part=part)
    )


PARTS: dict[str, tuple[Part, ...]] = {
    "us8k": (
        Part(
            "UrbanSound8K",
            1203745,
            {"UrbanSound8K.tar.gz": "9aa69802bbf37fb986f71ec1483a196e"},
            lambda root: us8k.load_us8k(root / "UrbanSound8K"),
        ),
    ),
    "tut": (
        _tut(
            "development",
            400515,
            {
                "doc": "2065495aaf3f1103e795c9899e2af1df",
                "meta": "9007fd4772d816590c5db5f5e9568f5d",
                "error": "802c700b021769e52a2c1e3b9c117a1b",
                "audio.1": "251325a9afaaad0326ad1c57f57d514a",
                "audio.2": "c26861e05147dc319b4250eb103d9d99",
                "audio.3": "a4815775f8a5e629179726ee4cd4f55a",
                "audio.4": "1732b03afe8c53ef8bba80ba14766e57",
                "audio.5": "611be754a0c951185c6ae4b7643c19a0",
                "audio.6": "165a201db800d3ea76fce5a9c2bd97d7",
                "audio.7": "c7d79db84264401c0f8680dcc36013ad",
                "audio.8": "35043f25123439392338c790494c7a19",
                "audio.9": "0805dcf5d8e6871dc9610182b2efb93a",
                "audio.10": "5df83a191295a04e290b125c634e13e7",
            },
        ),
        _tut(
            "evaluation",
            1040168,
            {
                "doc": "53709a07416ea3b617c02fcf67dbeb9c",
                "meta": "200eee9493e8044403e1326e3d05cfde",
                "audio.1": "3d6dda4445871e9544e0fefe7d14c7d9",
                "audio.2": "4085ef5fa286f2169074993a4e405953",
                "audio.3": "cac432579e7cf2dff0aec7aaed248956",
                "audio.4": "664bf09c3d24bd26c6b587f1d709de36",
            },
        ),
    ),
}


def get(
    name: str,
    root: str | Path,
    *,
    from_dir: str | Path | None = None,
    keep_archives: bool = False,
    server: str = SERVER,
    parts: Sequence[Part] | None = None,
    patience: Patience = PATIENCE,
    on_progress: OnProgress | None = None,
) -> DataSet:
    """Downloads an official data set, verifies its md5 checksums and unpacks it.

    After an error, Ctrl-C or `kill -9`, the same call resumes. A folder of a data set appears only when it is complete,
    and existing folders are never modified.

    Args:
        name: `"us8k"` or `"tut"`.
        root: Target folder, created if missing. During the download, archives are in its subfolder `.archives`.
        from_dir: Folder with all archives, which are only read; nothing is downloaded. It must not be `.archives` in
            `root`: archives there are always used.
        keep_archives: Whether to keep downloaded archives, which are otherwise removed after unpacking.
        server: Base address of the archives, for example of a mirror of Zenodo.
        parts: What to download; default: the official archives.
        patience: How long to wait for the server.
        on_progress: Called with the progress in bytes of each step: downloading, checking, unpacking.

    Returns:
        The data set, as read by `load_dataset`.

    Raises:
        ConfigError: If another process is downloading it to `root`, or `from_dir` is `.archives` in `root`.
        DownloadError: If the server does not provide an archive, or its md5 is wrong.
        MissingDataError: If an archive is not in `from_dir`.
        DataError: If an archive in `from_dir` has a wrong md5, an archive has forbidden content, or an existing folder
            is not the complete data set.
        StorageError: If there is not enough space, or `root` cannot be written.
    """
    if name not in PARTS:
        raise ValueError(f"`name` must be one of {sorted(PARTS)}. Received: name={name!r}.")
    job = _Job(name, Path(root), tuple(PARTS[name] if parts is None else parts), keep_archives, on_progress)
    if job.is_done():
        job.check()
        _log.info("%s is already in %s; nothing to download.", name, root)
    else:
        with job.alone():
            if from_dir is not None:
                job.check_is_not_own(Path(from_dir))
            job.check()
            job.clean()
            if from_dir is not None:
                _take(job, Path(from_dir))
            else:
                with requests.Session() as session:
                    _download(job, Server(session, patience), server.rstrip("/"))
    return load_dataset(name, root)


@dataclass(frozen=True)
class _Job:
    """The locations of all files during a download."""

    name: str
    root: Path
    parts: tuple[Part, ...]
    keep_archives: bool
    on_progress: OnProgress | None

    @property
    def archives(self) -> Path:
        return self.root / ".archives" / self.name

    def unpacking(self, part: Part) -> Path:
        """A folder next to the final one, on the same disk. It exists until the part is complete and cleaned up."""
        return self.root / f".{part.folder}.unpacking"

    def to_get(self) -> list[Part]:
        # Not `exists`, which is false for a link to an unmounted disk.
        return [part for part in self.parts if not os.path.lexists(self.root / part.folder)]

    def is_done(self) -> bool:
        return not self.to_get() and not any(self.unpacking(part).exists() for part in self.parts)

    def check(self) -> None:
        """Raises a `DataError` if a folder exists but is not the expected data set."""
        for folder in (self.root, *(self.root / part.folder for part in self.parts)):
            if is_synthetic(folder):
                raise DataError(
                    f"{folder} contains synthetic sounds. Choose another folder for the official {self.name}."
                )
        to_get = self.to_get()
        for part in self.parts:
            if part not in to_get:
                try:
                    part.check(self.root)
                except DataError as error:
                    raise DataError(
                        f"{self.root / part.folder} exists but is not complete: {error} It was not modified. "
                        "Move it away to download it again."
                    ) from error

    def check_is_not_own(self, folder: Path) -> None:
        """Raises a `ConfigError` if read-only archives are in a folder whose archives are removed after use."""
        if folder.is_dir() and folder.samefile(self.archives):
            raise ConfigError(
                f"`--from-dir` must not be {self.archives}, the folder of downloaded archives. Received: {folder}. "
                "Omit it: complete archives there are used anyway; `--keep-archives` keeps them."
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Locks the target against other jobs."""
        # The lock file is outside the folder removed at the end and stays, since another job may hold it open.
        lock = FileLock(self.root / ".archives" / f".{self.name}.lock", timeout=0)
        with storage(self.root):
            self.archives.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout:
                raise ConfigError(
                    f"Another process is downloading {self.name} to {self.root}. Wait for it or choose another folder."
                ) from None
        try:
            yield
        finally:
            try:
                self.archives.rmdir()
            except OSError:
                pass  # not empty: kept for the next time
            lock.release()

    def clean(self) -> None:
        """Removes the remains of a killed job."""
        for part in self.parts:
            if part not in self.to_get() and self.unpacking(part).exists():
                self.finish(part)
            self.remove_unpacking(part)

    def finish(self, part: Part) -> None:
        """Removes what a complete part no longer needs."""
        with storage(self.archives):
            if not self.keep_archives:
                for name in part.archives:
                    for path in (self.archives / name, *_unfinished(self.archives / name)):
                        path.unlink(missing_ok=True)
        self.remove_unpacking(part)

    def remove_unpacking(self, part: Part) -> None:
        with storage(self.unpacking(part)):
            if self.unpacking(part).exists():
                shutil.rmtree(self.unpacking(part))


# ---- Archives ----------------------------------------------------------------------------------------------------


def _take(job: _Job, folder: Path) -> None:
    """Uses a folder that has all archives."""
    paths = {folder / name: md5 for part in job.to_get() for name, md5 in part.archives.items()}
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise MissingDataError(
            f"`--from-dir` must contain all archives of {job.name}. Missing in {folder}: {', '.join(missing)}. Put "
            "them there, or omit `--from-dir` to download them."
        )
    for path, received in _md5s(paths, job.on_progress).items():
        if received != paths[path]:
            raise DataError(f"{path} must have the md5 {paths[path]}. Received: {received}. Download it again.")
    for part in job.to_get():
        _unpack(job, part, folder)
        job.remove_unpacking(part)


def _download(job: _Job, server: Server, address: str) -> None:
    to_get = job.to_get()
    md5s = {job.archives / name: md5 for part in to_get for name, md5 in part.archives.items()}
    urls = {
        job.archives / name: f"{address}/records/{part.record}/files/{name}?download=1"
        for part in to_get
        for name in part.archives
    }
    # From an interrupted job, or kept.
    for path, received in _md5s([path for path in md5s if path.exists()], job.on_progress).items():
        if received != md5s[path]:
            _log.warning("%s is damaged and will be downloaded again.", path)
            with storage(path):
                path.unlink()
    sizes = {path: path.stat().st_size if path.exists() else server.size(urls[path]) for path in md5s}
    _check_space_for(job, sizes)
    for part in to_get:
        paths = [job.archives / name for name in part.archives]
        known = [size for path in paths if (size := sizes[path]) is not None]
        total = sum(known) if len(known) == len(paths) else None
        start = sum(_n_there(path) for path in paths)
        if not all(path.exists() for path in paths):
            progress = Progress(job.on_progress, f"Downloading {part.folder}", total, unit="bytes", start=start)
            for path in paths:
                if not path.exists():
                    _fetch(server, urls[path], path, md5s[path], sizes[path], progress)
        _unpack(job, part, job.archives)
        job.finish(part)
    if job.keep_archives:
        _log.info("The archives are kept in %s.", job.archives)


def _fetch(server: Server, url: str, path: Path, md5: str, size: int | None, progress: Progress) -> None:
    """Downloads one archive, which gets its name when its md5 is correct."""
    unfinished, etag = _unfinished(path)
    received = ""
    # One retry on a wrong md5: the download may have started with another version, or before a power failure.
    for again in (True, False):
        server.fetch(url, unfinished, size=size, on_bytes=lambda n: progress.advance(n=n))
        received = _md5(unfinished)
        with storage(path):
            if received == md5:
                os.replace(unfinished, path)
                etag.unlink(missing_ok=True)
                return
            n_bytes = unfinished.stat().st_size
            if size is not None and n_bytes > size:
                received = f"more than the {size:,} bytes that the server declared"
            progress.advance(n=-n_bytes)
            unfinished.unlink()
            etag.unlink(missing_ok=True)
        if again:
            _log.warning("%s has a wrong md5; downloading it once more.", path.name)
    raise DownloadError(
        f"{url} must have the md5 {md5}. Received, also on the second try: {received}. It was removed. Try again "
        "later, or get the file by other means and name its folder: `--from-dir`."
    )


def _unfinished(path: Path) -> tuple[Path, Path]:
    """The partial download of an archive, and the file that identifies its version."""
    unfinished = path.with_name(f"{path.name}.part")
    return unfinished, etag_file(unfinished)


def _n_there(path: Path) -> int:
    return sum(one.stat().st_size for one in (path, _unfinished(path)[0]) if one.exists())


def _md5s(paths: Collection[Path], on_progress: OnProgress | None) -> dict[Path, str]:
    if not paths:
        return {}
    total = sum(path.stat().st_size for path in paths)
    progress = Progress(on_progress, "Checking archives", total, unit="bytes")
    return {path: _md5(path, on_bytes=lambda n: progress.advance(n=n)) for path in paths}


def _md5(path: Path, *, on_bytes: Callable[[int], None] = lambda n: None) -> str:
    # Not for security, so it is allowed where md5 is not: the server publishes md5.
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                on_bytes(len(chunk))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}. Restore or remove it.") from error
    return digest.hexdigest()


def _check_space_for(job: _Job, sizes: dict[Path, int | None]) -> None:
    """Checks the free space before anything is downloaded, as far as sizes are known."""
    used = most = 0
    for part in job.to_get():
        paths = [job.archives / name for name in part.archives]
        archives = sum(sizes[path] or 0 for path in paths)
        to_download = max(0, archives - sum(_n_there(path) for path in paths))
        unpacked = round(_UNPACKED_PER_BYTE * archives)
        most = max(most, used + to_download + unpacked)
        used += unpacked + (to_download if job.keep_archives else 0)
    _check_space(job.root, most, f"{job.name}, archives and contents,")


def _check_space(root: Path, n_bytes: int, what: str) -> None:
    free = shutil.disk_usage(root).free
    if n_bytes > free:
        raise StorageError(
            f"Not enough space in {root}: {what} needs {n_bytes:,} bytes ({format_bytes(n_bytes)}), and {free:,} "
            f"({format_bytes(free)}) are free. Free some space or choose another folder."
        )


# ---- Unpacking ---------------------------------------------------------------------------------------------------


def _unpack(job: _Job, part: Part, folder: Path) -> None:
    """Unpacks all archives of a part into a folder that gets its name when it is complete and on disk."""
    entries = _look_through(job, part, [folder / name for name in part.archives])
    temporary = job.unpacking(part)
    total = sum(entry.n_bytes for found in entries.values() for entry in found)
    try:
        with storage(temporary):
            temporary.mkdir()
        progress = Progress(job.on_progress, f"Unpacking {part.folder}", total, unit="bytes")
        for archive, found in entries.items():
            unpack(archive, found, temporary, on_bytes=lambda n: progress.advance(n=n))
        try:
            part.check(temporary)
        except DataError as error:
            raise DataError(f"The archives in {folder} do not give a complete {part.folder}: {error}") from error
        with storage(job.root / part.folder):
            os.sync()  # at once, not for each of thousands of files
            os.rename(temporary / part.folder, job.root / part.folder)
    except BaseException:
        job.remove_unpacking(part)
        raise


def _look_through(job: _Job, part: Part, archives: Sequence[Path]) -> dict[Path, list[Entry]]:
    """Lists the files of all archives before any is written; files outside the part's folder are skipped."""
    entries: dict[Path, list[Entry]] = {}
    n_bytes = before = 0
    total = sum(path.stat().st_size for path in archives)
    progress = Progress(job.on_progress, f"Inspecting {part.folder}", total, unit="bytes")
    for archive in archives:
        entries[archive] = []
        for entry in list_files(archive):
            n_bytes += entry.n_bytes
            # Checked here, not after the loop: an archive of a few bytes can declare endless files.
            _check_space(job.root, n_bytes, f"the content of the archives of {part.folder}")
            if entry.path.parts[:1] == (part.folder,):
                entries[archive].append(entry)
            # Libraries read ahead, perhaps to the end while files are left: report the end once.
            if before + entry.looked_through < total:
                progress.advance(n=before + entry.looked_through - progress.done)
        before += archive.stat().st_size
        progress.advance(n=before - progress.done)
    check_together(f"The archives of {part.folder}", (entry.path for found in entries.values() for entry in found))
    return entries
