"""`loglearn data get`: official archives come whole, by whatever breaks on the way, and nothing leaves the root."""

import hashlib
import io
import json
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from conftest import ROOT

from loglearn_tf._util.progress import ProgressDisplay
from loglearn_tf.cli import main
from loglearn_tf.datasets.download import fetch
from loglearn_tf.datasets.download import official as download
from loglearn_tf.datasets.download.fetch import Patience
from loglearn_tf.datasets.download.official import PARTS, get
from loglearn_tf.errors import ConfigError, DataError, DownloadError, MissingDataError, StorageError
from loglearn_tf.study.settings import load_settings

TAR = "UrbanSound8K.tar.gz"
# Waits that no test notices; a silence that no busy machine makes.
PATIENCE = Patience(tries=4, wait_s=0.001, longest_wait_s=100, timeout_s=20)
CHUNK = 1 << 14  # what a cut may lose

Files = dict[str, bytes]


# ---- Archives in the official layouts -----------------------------------------------------------------------------


def wav(seed: int, **how: object) -> bytes:
    """Noise, which no archive makes smaller."""
    target = io.BytesIO()
    soundfile.write(target, np.random.default_rng(seed).uniform(-0.5, 0.5, 11_025), 22_050, format="WAV", **how)
    return target.getvalue()


def us8k_files() -> Files:
    rows = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    files = {}
    for fold in range(1, 11):
        name = f"{fold}-3-0-0.wav"
        rows.append(f"{name},{fold},0.0,0.5,1,{fold},3,dog_bark")
        files[f"UrbanSound8K/audio/fold{fold}/{name}"] = wav(fold, subtype="PCM_16")
    files["UrbanSound8K/metadata/UrbanSound8K.csv"] = "\n".join(rows).encode()
    files["UrbanSound8K/FREESOUNDCREDITS.txt"] = b"many"
    return files


def tar_gz(files: Files, *, more: Callable[[tarfile.TarFile], None] = lambda tar: None) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", compresslevel=1) as tar:
        for name in ("UrbanSound8K", "UrbanSound8K/audio"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for name, content in files.items():
            add_to_tar(tar, name, content)
        more(tar)
    return target.getvalue()


def add_to_tar(tar: tarfile.TarFile, name: str, content: bytes = b"", **attributes: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(content))


def zipped(files: Files, *, mode: int = 0) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename, info.compress_type = name, zipfile.ZIP_DEFLATED  # as it is, for any system
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return target.getvalue()


def tut_archives() -> dict[str, Files]:
    """Archive -> its files; the licence is in two of them, as some official ones are."""
    found: dict[str, Files] = {}
    for part, n_archives in (("development", 2), ("evaluation", 1)):
        top = f"TUT-acoustic-scenes-2017-{part}"
        names = [f"audio/{part[0]}{number:03}_0_10.wav" for number in range(4)]
        lines = [f"{name}\t{scene}\t{name[6:10]}" for name, scene in zip(names, ["beach", "bus"] * 2, strict=True)]
        found[f"{top}.doc.zip"] = {f"{top}/README.md": b"about", f"{top}/EULA.pdf": b"licence"}
        found[f"{top}.meta.zip"] = {f"{top}/meta.txt": "\n".join(lines).encode(), f"{top}/EULA.pdf": b"licence"}
        sounds = {f"{top}/{name}": wav(seed, subtype="PCM_24") for seed, name in enumerate(names)}
        for at in range(n_archives):
            found[f"{top}.audio.{at + 1}.zip"] = dict(list(sounds.items())[at::n_archives])
    # Other systems leave such things.
    found["TUT-acoustic-scenes-2017-development.error.zip"] = {
        "TUT-acoustic-scenes-2017-development/error.txt": b"none",
        "__MACOSX/TUT-acoustic-scenes-2017-development/._error.txt": b"",
    }
    return found


def parts_of(name: str, archives: Files) -> tuple[download.Part, ...]:
    """The official table for archives of a test."""
    return tuple(
        replace(part, archives={key: md5(archives[key]) for key in archives if key.startswith(part.folder)})
        for part in PARTS[name]
    )


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture(scope="module")
def us8k() -> bytes:
    return tar_gz(us8k_files())


@pytest.fixture(scope="module")
def tut() -> Files:
    return {name: zipped(files) for name, files in tut_archives().items()}


def tree(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def visible(root: Path) -> list[str]:
    """All but the empty file that keeps jobs apart."""
    return sorted(path for path in tree(root) if not re.fullmatch(r"\.archives/\.\w+\.lock", path))


def is_whole(root: Path) -> bool:
    """Everything of the archive, and nothing else."""
    return {path: content for path, content in tree(root).items() if path in visible(root)} == us8k_files()


# ---- A server ------------------------------------------------------------------------------------------------------


@dataclass
class Web:
    """Files on loopback, and what goes wrong with them: a fault a request, in their order."""

    files: Files
    faults: list[Callable[["Handler", bytes], None]] = field(default_factory=list)
    probe_faults: list[Callable[["Handler", bytes], None]] = field(default_factory=list)
    ranges: bool = True
    etags: bool = True
    lengths: bool = True
    paths: list[str] = field(default_factory=list)
    # Where the bytes begin that were asked for, of all requests but those for sizes.
    starts: list[int] = field(default_factory=list)
    sent: int = 0
    end: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.web.paths.append(self.path)
        content = self.web.files.get(urlsplit(self.path).path.rsplit("/", 1)[-1])
        probe = self.headers.get("Range") == "bytes=0-0"
        if not probe:
            self.web.starts.append(int(re.sub(r"\D", "", self.headers.get("Range", "0"))))
        faults = self.web.probe_faults if probe else self.web.faults
        if faults:
            faults.pop(0)(self, content or b"")
        elif content is None:
            self.answer(404, b"")
        else:
            self.give(content)

    def give(self, content: bytes, *, at_most: int | None = None) -> None:
        """The range that was asked for, or less than was promised."""
        etag = f'"{md5(content)}"'
        asked = self.headers.get("Range")
        if self.headers.get("If-Range", etag) != etag or not self.web.ranges:
            asked = None
        headers = {"ETag": etag} if self.web.etags else {}
        status, start, end = 200, 0, len(content)
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1 if last else end, end)
            total = len(content) if self.web.lengths else "*"
            if start >= len(content):
                return self.answer(416, b"", {"Content-Range": f"bytes */{total}"})
            status, headers["Content-Range"] = 206, f"bytes {start}-{end - 1}/{total}"
        self.answer(status, content[start:end], headers, at_most=at_most)

    def answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, at_most: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.web.lengths:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.close_connection = True
        self.end_headers()
        body = body[:at_most]
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # who asks for sizes reads no more
        self.web.sent += len(body)
        if at_most is not None:
            self.close_connection = True


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Web]]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    running = []

    def start(files: Files, **how: object) -> Web:
        web = Web(files, **how)
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"web": web}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        web.address = f"http://127.0.0.1:{server.server_port}"
        running.append((web, server))
        return web

    yield start
    for web, server in running:
        web.end.set()
        server.shutdown()
        server.server_close()


def cut(at: int, *, reset: bool = False):
    def fault(handler: Handler, content: bytes) -> None:
        if reset:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.give(content, at_most=at)
        handler.wfile.flush()

    return fault


def stall(at: int):
    """Sends nothing more, and keeps the connection."""

    def fault(handler: Handler, content: bytes) -> None:
        handler.give(content, at_most=at)
        handler.wfile.flush()
        handler.web.stalled.set()
        handler.web.end.wait()

    return fault


def status(code: int, **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, content: handler.answer(code, b"sorry", named)


def hang_up(handler: Handler, content: bytes) -> None:
    handler.close_connection = True


def get_us8k(web: Web, root: Path, content: bytes, **how: object):
    how = {"patience": PATIENCE, "parts": parts_of("us8k", {TAR: content}), **how}
    return get("us8k", root, server=web.address, **how)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def leave_part(root: Path, content: bytes, etag: str = "") -> Path:
    """What an interrupted job left."""
    path = root / ".archives" / "us8k" / f"{TAR}.part"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    if etag:
        path.with_name(f"{path.name}.etag").write_text(etag)
    return path


# ---- Undisturbed ---------------------------------------------------------------------------------------------------


def test_the_table_is_the_documented_one():
    documented = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for part in (part for parts in PARTS.values() for part in parts):
        assert str(part.record) in documented
        for name, digest in part.archives.items():
            label = name.removeprefix("TUT-acoustic-scenes-2017-").removesuffix(".zip")
            assert f"| {label} | {digest} |" in documented or f"md5 `{digest}`" in documented, name
    assert {part.folder: len(part.archives) for parts in PARTS.values() for part in parts} == {
        "UrbanSound8K": 1,
        "TUT-acoustic-scenes-2017-development": 13,
        "TUT-acoustic-scenes-2017-evaluation": 6,
    }


def test_us8k_is_downloaded_and_unpacked(serve, root, us8k, capsys):
    web = serve({TAR: us8k})
    with ProgressDisplay() as show:
        dataset = get_us8k(web, root, us8k, on_progress=show)
    assert len(dataset.clips) == 10 and dataset.root == root / "UrbanSound8K"
    assert is_whole(root)
    assert set(web.paths) == {f"/records/1203745/files/{TAR}?download=1"} and web.starts == [0]
    said = capsys.readouterr().err
    assert re.search(r"Downloading UrbanSound8K 2\d\d\.\d kB of 2\d\d\.\d kB, [\d.]+ [kM]B/s\n", said)
    assert "Unpacking UrbanSound8K 2" in said


def test_tut_is_merged_from_all_its_archives(serve, root, tut):
    web = serve(tut)
    dataset = get("tut", root, server=web.address, parts=parts_of("tut", tut), patience=PATIENCE)
    assert Counter(clip.fold for clip in dataset.clips) == {0: 4, 1: 4}
    files = {name: content for found in tut_archives().values() for name, content in found.items()}
    assert visible(root) == sorted(name for name in files if "__MACOSX" not in name)
    assert all((root / name).read_bytes() == files[name] for name in visible(root))
    assert web.starts == [0] * len(tut)
    assert "/records/400515/files/TUT-acoustic-scenes-2017-development.error.zip?download=1" in web.paths
    assert "/records/1040168/files/TUT-acoustic-scenes-2017-evaluation.doc.zip?download=1" in web.paths


def test_archives_that_are_kept_serve_again(serve, root, us8k, caplog):
    caplog.set_level("INFO", "loglearn_tf")
    web = serve({TAR: us8k})
    get_us8k(web, root, us8k, keep_archives=True)
    assert f"kept in {root / '.archives' / 'us8k'}" in caplog.text
    assert (root / ".archives" / "us8k" / TAR).read_bytes() == us8k
    shutil.rmtree(root / "UrbanSound8K")
    web.paths.clear()
    get_us8k(web, root, us8k)
    assert is_whole(root) and not web.paths


def test_a_kept_archive_that_was_damaged_is_downloaded_anew(serve, root, us8k, caplog):
    web = serve({TAR: us8k})
    leave_part(root, us8k[:-1] + b"!").rename(root / ".archives" / "us8k" / TAR)
    get_us8k(web, root, us8k)
    assert is_whole(root) and web.starts == [0]
    assert f"{TAR} is damaged" in caplog.text


def test_nothing_is_done_where_it_is_already(serve, root, us8k, caplog):
    caplog.set_level("INFO", "loglearn_tf")
    web = serve({TAR: us8k})
    get_us8k(web, root, us8k)
    web.paths.clear()
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert len(get_us8k(web, root, us8k).clips) == 10
    assert "us8k is already in" in caplog.text and not web.paths
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.parametrize("content", ["nothing", "a part", "a file"])
def test_a_folder_that_is_not_the_data_set_is_left_alone(serve, root, us8k, content):
    web = serve({TAR: us8k})
    final = root / "UrbanSound8K"
    if content == "a file":
        root.mkdir()
        final.write_text("mine")
    else:
        final.mkdir(parents=True)
    if content == "a part":
        get_us8k(web, root / "other", us8k)
        shutil.copytree(root / "other" / "UrbanSound8K", final, dirs_exist_ok=True)
        shutil.rmtree(root / "other")
        (final / "audio" / "fold3" / "3-3-0-0.wav").unlink()
    before = tree(root)
    web.paths.clear()
    with pytest.raises(DataError, match="exists but is not complete: .* Move it away to download it again"):
        get_us8k(web, root, us8k)
    assert tree(root) == before and not web.paths


@pytest.mark.parametrize("marked", [".", "UrbanSound8K"])
def test_a_synthetic_set_is_not_taken_for_the_official_one(serve, root, us8k, marked):
    web = serve({TAR: us8k})
    get_us8k(web, root, us8k)
    (root / marked / "SYNTHETIC.txt").touch()
    with pytest.raises(DataError, match=f"{root / marked} contains synthetic sounds"):
        get_us8k(web, root, us8k)


def test_only_the_part_that_is_missing_is_downloaded(serve, root, tut):
    web = serve(tut)
    get("tut", root, server=web.address, parts=parts_of("tut", tut), patience=PATIENCE)
    shutil.rmtree(root / "TUT-acoustic-scenes-2017-evaluation")
    web.paths.clear()
    get("tut", root, server=web.address, parts=parts_of("tut", tut), patience=PATIENCE)
    assert web.paths and all("evaluation" in path for path in web.paths)


def test_unknown_name(root):
    with pytest.raises(ValueError, match="`name` must be one of .*Received: name='esc50'"):
        get("esc50", root)


# ---- Archives that are there ---------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path: Path, tut: Files) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name, content in tut.items():
        (folder / name).write_bytes(content)
    return folder


def from_shelf(shelf: Path, root: Path, tut: Files):
    return get("tut", root, from_dir=shelf, parts=parts_of("tut", tut), server="http://no.such.server.invalid")


def test_archives_from_a_folder_are_used_and_kept(shelf, root, tut):
    before = {path: path.stat().st_mtime_ns for path in [shelf, *shelf.iterdir()]}
    assert len(from_shelf(shelf, root, tut).clips) == 8
    assert {path: path.stat().st_mtime_ns for path in [shelf, *shelf.iterdir()]} == before
    assert tree(shelf) == tut
    assert not (root / ".archives" / "tut").exists()


def test_archives_that_a_folder_lacks_are_named(shelf, root, tut):
    for name in ("development.audio.2", "evaluation.meta"):
        (shelf / f"TUT-acoustic-scenes-2017-{name}.zip").unlink()
    with pytest.raises(
        MissingDataError, match=r"development\.audio\.2\.zip, TUT-[-a-z0-9]*evaluation\.meta\.zip\. Put"
    ):
        from_shelf(shelf, root, tut)
    assert not visible(root)


@pytest.mark.parametrize("content", [b"", b"PK"])
def test_a_wrong_archive_in_a_folder_is_refused_before_anything_is_unpacked(shelf, root, tut, content):
    path = shelf / "TUT-acoustic-scenes-2017-evaluation.audio.1.zip"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path} must have the md5 {md5(tut[path.name])}. Received: {md5(content)}"):
        from_shelf(shelf, root, tut)
    assert not visible(root) and path.read_bytes() == content


@pytest.mark.parametrize("way", ["as it is", "by a link"])
def test_the_folder_of_downloaded_archives_is_not_for_reading_only(tmp_path, root, us8k, way):
    """A job killed at its very end leaves it to the next to remove them."""
    unpack_only(tmp_path, root, TAR, us8k)
    (root / ".UrbanSound8K.unpacking").mkdir()
    archives = root / ".archives" / "us8k"
    leave_part(root, us8k).rename(archives / TAR)
    named = archives
    if way == "by a link":
        named = tmp_path / "link"
        named.symlink_to(archives)
    with pytest.raises(ConfigError, match=f"`--from-dir` must not be {archives}.* Received: {named}. Omit it"):
        get("us8k", root, from_dir=named, parts=parts_of("us8k", {TAR: us8k}))
    assert (archives / TAR).read_bytes() == us8k


@pytest.mark.parametrize("moment", ["os.rename = die", "download._Job.remove_unpacking = last"])
def test_archives_from_a_folder_outlive_jobs_that_are_killed(tmp_path, root, us8k, moment):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / TAR).write_bytes(us8k)
    if "last" in moment:  # the first call finds nothing to remove
        moment = (
            "calls = []\nremove = download._Job.remove_unpacking\n"
            "def last(self, part):\n calls.append(part)\n die() if len(calls) == 2 else remove(self, part)\n" + moment
        )
    killed = job(Web({}), root, us8k, moment, "--from-dir", str(tmp_path / "shelf"))
    assert killed.wait(60) == -signal.SIGKILL, killed.stderr.read()
    get("us8k", root, from_dir=tmp_path / "shelf", parts=parts_of("us8k", {TAR: us8k}))
    assert is_whole(root) and (tmp_path / "shelf" / TAR).read_bytes() == us8k


# ---- Connections that break ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("share", [0.0, 0.00001, 0.3, 0.7, 0.999999])
def test_a_cut_connection_is_resumed_where_it_was(serve, root, us8k, share, reset):
    at = int(share * len(us8k))
    web = serve({TAR: us8k}, faults=[cut(at, reset=reset)])
    get_us8k(web, root, us8k)
    assert is_whole(root)
    first, second = web.starts
    # A reset may overtake bytes that were sent.
    assert first == 0 and (0 if reset else max(0, at - CHUNK)) <= second <= at


def test_many_cuts(serve, root, us8k):
    """More than there are tries, which are counted anew after each that was worth it."""
    step = 2 * CHUNK
    web = serve({TAR: us8k}, faults=[cut(step) for _ in range(6)])
    get_us8k(web, root, us8k, patience=replace(PATIENCE, tries=2, worthwhile_bytes=CHUNK))
    assert is_whole(root)
    assert len(web.starts) == 7 and all(0 < b - a <= step for a, b in zip(web.starts, web.starts[1:], strict=False))


def test_a_server_without_ranges_begins_anew(serve, root, us8k):
    web = serve({TAR: us8k}, ranges=False, faults=[cut(100_000)])
    get_us8k(web, root, us8k)
    assert is_whole(root) and len(web.starts) == 2


def test_a_server_without_ranges_that_always_cuts_is_given_up(serve, root, us8k):
    """What is downloaded again and again is no progress."""
    web = serve({TAR: us8k}, ranges=False, faults=[cut(100_000) for _ in range(50)])
    with pytest.raises(DownloadError, match="4 times. The partial download is kept"):
        get_us8k(web, root, us8k, patience=replace(PATIENCE, worthwhile_bytes=50_000))
    assert len(web.starts) == 4


def test_a_silent_server_is_left_and_asked_again(serve, root, us8k, caplog):
    web = serve({TAR: us8k}, faults=[stall(50_000)])
    get_us8k(web, root, us8k, patience=replace(PATIENCE, timeout_s=0.5))
    assert is_whole(root) and web.starts[1] >= 50_000 - CHUNK
    assert f"{TAR}: timed out. Try 2 of 4 in 0 s." in caplog.text


def test_a_server_that_hangs_up(serve, root, us8k, caplog):
    web = serve({TAR: us8k}, faults=[hang_up], probe_faults=[hang_up])
    get_us8k(web, root, us8k)
    assert is_whole(root)
    assert caplog.text.count("Remote end closed connection without response. Try 2 of 4") == 2


def drip(handler: Handler, content: bytes) -> None:
    """Never silent, never done."""
    handler.send_response(200)
    handler.send_header("ETag", f'"{md5(content)}"')
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    try:
        for at in range(400):
            handler.wfile.write(content[at : at + 1])
            time.sleep(0.02)
    except OSError:
        pass  # who was asked has left
    handler.close_connection = True


def test_a_server_that_drips_is_left_and_asked_again(serve, root, us8k, caplog):
    web = serve({TAR: us8k}, faults=[drip])
    get_us8k(web, root, us8k, patience=replace(PATIENCE, timeout_s=0.5))
    assert is_whole(root)
    # What came is kept.
    assert web.starts[0] == 0 < web.starts[1] < 400
    assert re.search(rf"{TAR}: only \d+ bytes received in \d s. Try 2 of 4", caplog.text)


def test_a_server_that_always_drips_is_given_up(serve, root, us8k):
    web = serve({TAR: us8k}, ranges=False, faults=[drip] * 9)
    with pytest.raises(DownloadError, match=r"only \d+ bytes received in 0 s, 4 times. The partial download is kept"):
        get_us8k(web, root, us8k, patience=replace(PATIENCE, timeout_s=0.4))


def test_a_server_that_is_only_slow_is_waited_for(serve, root, us8k):
    def slow(handler: Handler, content: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        for at in range(0, len(content), 2000):
            handler.wfile.write(content[at : at + 2000])
            time.sleep(0.02)

    web = serve({TAR: us8k}, faults=[slow])
    get_us8k(web, root, us8k, patience=replace(PATIENCE, timeout_s=1))
    assert is_whole(root) and web.starts == [0]


def test_nobody_listens(root, us8k, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        web = Web({}, address=f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(DownloadError, match="Connection refused, 4 times"):
            get_us8k(web, root, us8k)


@pytest.mark.parametrize("address", ["zenodo.org", "ftp://127.0.0.1", "http://"])
def test_no_address(root, us8k, address):
    with pytest.raises(DownloadError, match="Check `--server`"):
        get_us8k(Web({}, address=address), root, us8k)


def test_certificates_that_are_not_there(root, us8k, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DownloadError, match="/nowhere/ca.pem.*such as `REQUESTS_CA_BUNDLE`, must exist"):
        get_us8k(Web({}, address="https://127.0.0.1:9"), root, us8k)


def test_a_server_that_sends_on_to_nowhere(serve, root, us8k):
    web = serve({TAR: us8k}, probe_faults=[status(302, Location="http://[")])
    with pytest.raises(DownloadError, match="could not be downloaded: .*Check `--server`"):
        get_us8k(web, root, us8k)


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_an_error_that_stays_is_told_at_once(serve, root, us8k, code):
    web = serve({TAR: us8k}, probe_faults=[status(code)])
    with pytest.raises(DownloadError, match=rf"{web.address}/records/.*{TAR}\?.* returned {code} .*`--from-dir`"):
        get_us8k(web, root, us8k)
    assert len(web.paths) == 1 and not visible(root)


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """How long was waited; nobody does."""
    found: list[float] = []
    monkeypatch.setattr(fetch.time, "sleep", found.append)
    return found


def test_errors_of_a_server_are_waited_out_ever_longer(serve, root, us8k, waits):
    web = serve({TAR: us8k}, faults=[status(500), status(502), status(429)])
    get_us8k(web, root, us8k, patience=replace(PATIENCE, wait_s=3))
    assert is_whole(root) and waits == [3, 6, 12]


def test_and_given_up_in_the_end(serve, root, us8k, waits):
    web = serve({TAR: us8k}, faults=[status(504) for _ in range(9)])
    with pytest.raises(DownloadError, match="returned 504 .*, 4 times"):
        get_us8k(web, root, us8k, patience=replace(PATIENCE, wait_s=60))
    assert waits == [60, 100, 100] and len(web.starts) == 4


def test_a_server_that_asks_to_wait_is_obeyed(serve, root, us8k, waits):
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=90), usegmt=True)
    faults = [status(503, Retry_After=text) for text in ("7", soon, "soon")]
    web = serve({TAR: us8k}, faults=faults)
    get_us8k(web, root, us8k)
    assert is_whole(root)
    assert waits[0] == 7 and 60 < waits[1] <= 90 and waits[2] == pytest.approx(0.004)


@pytest.mark.parametrize(("asked", "told"), [("3600", "1 h 0 min"), ("9" * 400, "8,760 h 0 min")], ids=["hour", "ages"])
def test_a_server_that_asks_for_too_long_is_left_alone(serve, root, us8k, waits, asked, told):
    web = serve({TAR: us8k}, faults=[status(429, Retry_After=asked)])
    with pytest.raises(DownloadError, match=f"returned 429 .* asks for a wait of {told}"):
        get_us8k(web, root, us8k)
    assert not waits and len(web.starts) == 1


@pytest.mark.parametrize(
    "asked", ["Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 01 Jan 2026 99:99:99 GMT", "-5", "1e9", "\xb2"]
)
def test_a_server_that_asks_for_nonsense_is_asked_again(serve, root, us8k, waits, asked):
    web = serve({TAR: us8k}, faults=[status(503, Retry_After=asked)])
    get_us8k(web, root, us8k)
    assert is_whole(root) and waits == [pytest.approx(0.001)]


# ---- Bytes that are wrong ------------------------------------------------------------------------------------------


def test_another_file_than_the_official_one(serve, root, us8k, caplog):
    other = us8k[:-1] + b"!"
    web = serve({TAR: other})
    with pytest.raises(DownloadError, match=f"{TAR}.* must have the md5 {md5(us8k)}. Received.*: {md5(other)}"):
        get_us8k(web, root, us8k)
    assert web.starts == [0, 0] and "downloading it once more" in caplog.text
    assert not visible(root)


def test_a_file_that_changes_is_begun_anew(serve, root, us8k):
    """The ETag of what was begun is not the file's any more."""
    leave_part(root, b"another version" * 1000, etag='"other"')
    web = serve({TAR: us8k})
    get_us8k(web, root, us8k)
    assert is_whole(root) and web.starts == [15_000] and web.sent <= len(us8k) + 1


def test_a_mixture_is_noticed_without_etags(serve, root, us8k):
    leave_part(root, b"another version" * 1000)
    web = serve({TAR: us8k}, etags=False)
    get_us8k(web, root, us8k)
    assert is_whole(root) and web.starts == [15_000, 0]


@pytest.mark.parametrize("etag", [b"\xff\xfe", b'"\xc3\xa9"', b'"a"\n', b"\0" * 34, b""])
def test_an_etag_that_is_damaged_is_not_sent(serve, root, us8k, etag):
    part = leave_part(root, us8k[:1000])
    part.with_name(f"{part.name}.etag").write_bytes(etag)
    web = serve({TAR: us8k})
    get_us8k(web, root, us8k)
    assert is_whole(root) and web.starts == [1000]


def endless(*, chunked: bool = False):
    """A body of 100 MB, whose length is not told."""

    def fault(handler: Handler, content: bytes) -> None:
        handler.send_response(200)
        if chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        block = b"x" * 10_000
        block = b"%x\r\n%s\r\n" % (len(block), block) if chunked else block
        try:
            for _ in range(10_000):
                handler.wfile.write(block)
        except OSError:
            pass  # who asked has enough

    return fault


@pytest.mark.parametrize("chunked", [False, True])
def test_no_more_is_written_than_the_size_that_was_told(serve, root, us8k, chunked, monkeypatch):
    sizes = []
    check = download._md5
    monkeypatch.setattr(download, "_md5", lambda path, **how: sizes.append(path.stat().st_size) or check(path, **how))
    web = serve({TAR: us8k}, faults=[endless(chunked=chunked)] * 2)
    with pytest.raises(DownloadError, match=rf"md5 {md5(us8k)}. Received.*: more than the {len(us8k):,} bytes that"):
        get_us8k(web, root, us8k)
    assert sizes == [len(us8k) + 1] * 2 and not visible(root)


def test_a_body_in_chunks(serve, root, us8k):
    def give(handler: Handler, content: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for at in range(0, len(content), 70_000):
            block = content[at : at + 70_000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        handler.wfile.write(b"0\r\n\r\n")

    web = serve({TAR: us8k}, faults=[give])
    get_us8k(web, root, us8k)
    assert is_whole(root) and web.starts == [0]


@pytest.mark.parametrize("digits", [19, 400, 5000])
def test_sizes_that_no_file_has_are_as_good_as_none(serve, root, us8k, digits):
    def probe(handler: Handler, content: bytes) -> None:
        handler.answer(206, b"x", {"Content-Range": f"bytes 0-0/{'9' * digits}"})

    get_us8k(serve({TAR: us8k}, probe_faults=[probe]), root, us8k)
    assert is_whole(root)


def test_the_etag_is_kept_with_what_was_begun(serve, root, us8k):
    web = serve({TAR: us8k}, faults=[cut(100_000), *[status(503)] * 3])
    with pytest.raises(DownloadError):
        get_us8k(web, root, us8k)
    assert (root / ".archives" / "us8k" / f"{TAR}.part.etag").read_text() == f'"{md5(us8k)}"'
    assert len(us8k) > 100_000 >= (root / ".archives" / "us8k" / f"{TAR}.part").stat().st_size > 100_000 - CHUNK


@pytest.mark.parametrize("lengths", [True, False])
def test_all_came_before_the_job_was_killed(serve, root, us8k, lengths):
    leave_part(root, us8k)
    web = serve({TAR: us8k}, lengths=lengths)
    get_us8k(web, root, us8k)
    # Where the server does not say how large it is, it must be asked for what follows: there is nothing (416).
    assert is_whole(root) and web.starts == ([] if lengths else [len(us8k)])


@pytest.mark.parametrize("probe_faults", [[], [status(200)]], ids=["size known", "wrong size known"])
def test_more_came_than_there_is(serve, root, us8k, probe_faults):
    leave_part(root, us8k + b"more")
    web = serve({TAR: us8k}, probe_faults=probe_faults)
    get_us8k(web, root, us8k)
    assert is_whole(root) and web.starts[-1] == 0


def test_a_range_that_was_not_asked_for(serve, root, us8k, caplog):
    leave_part(root, us8k[:1000])
    wrong = {"Content-Range": f"bytes 5-{len(us8k) - 1}/{len(us8k)}"}
    web = serve({TAR: us8k}, faults=[lambda handler, content: handler.answer(206, content[5:], wrong)])
    get_us8k(web, root, us8k)
    assert is_whole(root) and web.starts == [1000, 0]
    assert "the file on the server has changed" in caplog.text


def test_a_server_that_says_no_lengths(serve, root, us8k):
    web = serve({TAR: us8k}, lengths=False, ranges=False)
    get_us8k(web, root, us8k)
    assert is_whole(root)


# ---- Jobs that are stopped -----------------------------------------------------------------------------------------

JOB = """
import json, os, signal, sys
from dataclasses import replace
from loglearn_tf import cli
from loglearn_tf.datasets.download import official as download

def die(*arguments, **more):
    os.kill(os.getpid(), signal.SIGKILL)

official = download.PARTS["us8k"][0]
download.PARTS["us8k"] = (replace(official, archives=json.loads(sys.argv[1])),)
exec(sys.argv[2])
sys.exit(cli.main(["data", "get", "us8k", *sys.argv[3:]]))
"""


def job(web: Web, root: Path, content: bytes, before: str = "", *more: str) -> subprocess.Popen[str]:
    arguments = [json.dumps({TAR: md5(content)}), before, str(root), "--server", web.address, *more]
    return subprocess.Popen(
        [sys.executable, "-c", JOB, *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        # Shells start background jobs with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_download_that_was_stopped_goes_on(serve, root, us8k, how):
    web = serve({TAR: us8k}, faults=[stall(100_000)])
    stopped = job(web, root, us8k)
    assert web.stalled.wait(60)
    path = root / ".archives" / "us8k" / f"{TAR}.part"
    deadline = time.monotonic() + 20
    while not path.exists() or path.stat().st_size < 100_000 - CHUNK:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stopped.send_signal(how)
    _, said = stopped.communicate(timeout=20)
    assert stopped.returncode == {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}[how]
    if how == signal.SIGINT:
        assert "Stopped. Finished work is kept; rerun the command to resume." in said
        assert "Traceback" not in said
    n_there = path.stat().st_size
    get_us8k(web, root, us8k)
    assert is_whole(root) and web.starts == [0, n_there]


@pytest.mark.parametrize(
    ("moment", "n_downloads"),
    [
        ("download._md5 = die", 1),  # all has come
        ("download.unpack = die", 1),
        ("os.rename = die", 1),  # all is unpacked
        ("download._Job.finish = die", 1),  # the folder is there, the archive not removed
        ("download._Job.remove_unpacking = die", 1),
    ],
)
def test_a_job_killed_at_a_moment_goes_on(serve, root, us8k, moment, n_downloads):
    web = serve({TAR: us8k})
    # The first call of `remove_unpacking` finds nothing: it is the second that comes at the end.
    if "remove_unpacking" in moment:
        moment = (
            "finish = download._Job.finish\n"
            "def last(self, part):\n download._Job.remove_unpacking = die\n finish(self, part)\n"
            "download._Job.finish = last"
        )
    killed = job(web, root, us8k, moment)
    assert killed.wait(60) == -signal.SIGKILL, killed.stderr.read()
    there = (root / "UrbanSound8K").exists()
    assert not there or len(tree(root / "UrbanSound8K")) == len(us8k_files())  # whole or not at all
    get_us8k(web, root, us8k)
    assert is_whole(root) and len(web.starts) == n_downloads
    assert sorted(path.name for path in root.iterdir()) == [".archives", "UrbanSound8K"]


def test_two_jobs_at_once(serve, root, us8k):
    web = serve({TAR: us8k}, faults=[stall(100_000)])
    first = threading.Thread(target=get_us8k, args=(web, root, us8k))
    first.start()
    assert web.stalled.wait(60)
    with pytest.raises(ConfigError, match=f"Another process is downloading us8k to {root}"):
        get_us8k(web, root, us8k)
    web.end.set()
    first.join(60)
    assert is_whole(root)


# ---- Not enough space ----------------------------------------------------------------------------------------------


@pytest.fixture
def free(monkeypatch) -> Callable[[int], None]:
    def have(n_bytes: int) -> None:
        monkeypatch.setattr(download.shutil, "disk_usage", lambda path: SimpleNamespace(free=n_bytes))

    return have


def test_too_little_space_is_told_before_anything_is_downloaded(serve, root, us8k, free):
    web = serve({TAR: us8k})
    needed = len(us8k) + round(1.3 * len(us8k))
    free(needed - 1)
    with pytest.raises(StorageError, match=f"{root}: us8k.* needs {needed:,} bytes .* and {needed - 1:,} .* are free"):
        get_us8k(web, root, us8k)
    assert not web.starts and not visible(root)
    free(needed)
    get_us8k(web, root, us8k)
    assert is_whole(root)


def test_what_has_come_needs_no_space_again(serve, root, us8k, free):
    leave_part(root, us8k[:100_000], etag=f'"{md5(us8k)}"')
    free(len(us8k) + round(1.3 * len(us8k)) - 100_000)
    get_us8k(serve({TAR: us8k}), root, us8k)
    assert is_whole(root)


@pytest.mark.parametrize(("keep", "enough"), [(False, True), (True, False)])
def test_a_part_is_removed_before_the_next_needs_its_space(serve, root, tut, free, keep, enough):
    sizes = {part.folder: sum(len(tut[name]) for name in part.archives) for part in parts_of("tut", tut)}
    development, evaluation = sizes.values()
    first = development + round(1.3 * development)
    free(max(first, round(1.3 * development) + evaluation + round(1.3 * evaluation)))
    web = serve(tut)
    how = {"server": web.address, "parts": parts_of("tut", tut), "patience": PATIENCE, "keep_archives": keep}
    if enough:
        get("tut", root, **how)
    else:
        with pytest.raises(StorageError):
            get("tut", root, **how)
        assert not web.starts


@pytest.mark.parametrize("kind", [TAR, "UrbanSound8K.zip"])
def test_an_archive_that_holds_more_than_the_disk_is_not_unpacked(tmp_path, root, free, kind):
    """A hundred times its size, as zeros are."""
    free(5_000_000)
    files = {**us8k_files(), "UrbanSound8K/zeros": bytes(5_000_000)}
    content = tar_gz(files) if kind == TAR else zipped(files)
    with pytest.raises(StorageError, match="the content of the archives of UrbanSound8K needs 5,"):
        unpack_only(tmp_path, root, kind, content)
    assert not visible(root)


def test_a_zip_that_declares_less_than_it_holds(tmp_path, root):
    files = {**us8k_files(), "UrbanSound8K/zeros": bytes(1_000_000)}
    content = zipped(files).replace(struct.pack("<I", 1_000_000), struct.pack("<I", 10))
    with pytest.raises(DataError, match="UrbanSound8K.zip cannot be unpacked: Bad CRC-32"):
        unpack_only(tmp_path, root, "UrbanSound8K.zip", content)
    assert not visible(root)


@pytest.mark.parametrize("kind", [TAR, "UrbanSound8K.zip"])
def test_a_damaged_archive(tmp_path, root, kind):
    files = us8k_files()
    content = tar_gz(files) if kind == TAR else zipped(files)
    half = len(content) // 2
    for damaged in (content[:half], content[:half] + bytes(50) + content[half + 50 :], b"none"):
        with pytest.raises(DataError, match=f"{kind} cannot be unpacked: .*. Download the official file again"):
            unpack_only(tmp_path, root, kind, damaged)
        assert not visible(root)


# ---- Archives that mean harm ---------------------------------------------------------------------------------------


def unpack_only(tmp_path: Path, root: Path, name: str, content: bytes) -> None:
    """From a folder, with the right md5: only looking at what it holds can help."""
    (tmp_path / "shelf").mkdir(exist_ok=True)
    (tmp_path / "shelf" / name).write_bytes(content)
    get("us8k", root, from_dir=tmp_path / "shelf", parts=parts_of("us8k", {name: content}))


NAMES = [
    "/tmp/loglearn-was-here",
    "//server/share/x",
    "../x",
    "..",
    "UrbanSound8K/../../x",
    "UrbanSound8K/audio/../../../x",
    "UrbanSound8K/./../..//x",
    "C:/x",
    "C:x",
    "c:\\x",
    "UrbanSound8K/C:x",
    "\\x",
    "\\\\server\\share\\x",
    "UrbanSound8K\\..\\..\\x",
    "..\\x",
]
KINDS = {
    "symbolic link": {"type": tarfile.SYMTYPE, "linkname": "/tmp"},
    "symbolic link within": {"type": tarfile.SYMTYPE, "linkname": "metadata"},
    "hard link": {"type": tarfile.LNKTYPE, "linkname": "UrbanSound8K/FREESOUNDCREDITS.txt"},
    "hard link outside": {"type": tarfile.LNKTYPE, "linkname": "../../x"},
    "fifo": {"type": tarfile.FIFOTYPE},
    "character device": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5},
    "block device": {"type": tarfile.BLKTYPE, "devmajor": 8, "devminor": 0},
    "sparse": {"type": tarfile.GNUTYPE_SPARSE},
    "unknown": {"type": b"Z"},
}


def is_refused(tmp_path: Path, root: Path, kind: str, content: bytes, name: str) -> None:
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / kind).write_bytes(content)
    before = tree(tmp_path)
    with pytest.raises(DataError, match=rf"must contain .*\. Received: {re.escape(repr(name))}\. It is not unpacked"):
        unpack_only(tmp_path, root, kind, content)
    assert not visible(root)
    after = tree(tmp_path)
    after.pop("data/.archives/.us8k.lock")
    assert after == before and not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert not Path("/tmp/loglearn-was-here").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_tar_whose_paths_lead_elsewhere(tmp_path, root, name):
    content = tar_gz(us8k_files(), more=lambda tar: add_to_tar(tar, name, b"harm"))
    is_refused(tmp_path, root, TAR, content, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_zip_whose_paths_lead_elsewhere(tmp_path, root, name):
    is_refused(tmp_path, root, "UrbanSound8K.zip", zipped({**us8k_files(), name: b"harm"}), name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tar_with_what_is_no_file(tmp_path, root, kind):
    name = "UrbanSound8K/audio/other"
    content = tar_gz(us8k_files(), more=lambda tar: add_to_tar(tar, name, **KINDS[kind]))
    is_refused(tmp_path, root, TAR, content, name)


def test_a_tar_with_a_sparse_file_of_the_newer_kind(tmp_path, root):
    """A map, then the bytes that are not zero."""
    name = "UrbanSound8K/other"
    more = {"major": "1", "minor": "0", "name": name, "realsize": "1000000000"}
    headers = {f"GNU.sparse.{key}": value for key, value in more.items()}
    content = b"1\n0\n4\n".ljust(512, b"\0") + b"harm"
    tar = tar_gz(us8k_files(), more=lambda tar: add_to_tar(tar, name, content, pax_headers=headers))
    is_refused(tmp_path, root, TAR, tar, name)


def test_a_tar_that_writes_through_its_own_link(tmp_path, root):
    def harm(tar: tarfile.TarFile) -> None:
        add_to_tar(tar, "UrbanSound8K/out", **KINDS["symbolic link"])
        add_to_tar(tar, "UrbanSound8K/out/x", b"harm")

    is_refused(tmp_path, root, TAR, tar_gz(us8k_files(), more=harm), "UrbanSound8K/out")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR])
def test_a_zip_with_what_is_no_file(tmp_path, root, mode):
    content = zipped({"UrbanSound8K/other": b"/tmp"}, mode=mode | 0o777)
    is_refused(tmp_path, root, "UrbanSound8K.zip", content, "UrbanSound8K/other")


def test_a_zip_with_a_password(tmp_path, root):
    content = bytearray(zipped({"UrbanSound8K/other": b"secret"}))
    content[content.index(b"PK\1\2") + 8] |= 1
    is_refused(tmp_path, root, "UrbanSound8K.zip", bytes(content), "UrbanSound8K/other")


def test_a_file_that_is_a_folder_too(tmp_path, root):
    files = {**us8k_files(), "UrbanSound8K/audio/fold1": b"harm"}
    is_refused(tmp_path, root, TAR, tar_gz(files), "UrbanSound8K/audio/fold1")


def test_an_archive_of_something_else(tmp_path, root):
    with pytest.raises(DataError, match=f"in {tmp_path / 'shelf'} do not give a complete UrbanSound8K: US8K metadata"):
        unpack_only(tmp_path, root, "UrbanSound8K.zip", zipped({"ESC-50/audio/x.wav": b""}))
    assert not visible(root)


def test_names_that_differ_by_case_alone(tmp_path, root):
    more = {"UrbanSound8K/freesoundcredits.TXT": b"others"}
    unpack_only(tmp_path, root, TAR, tar_gz({**us8k_files(), **more}))
    assert {"UrbanSound8K/FREESOUNDCREDITS.txt", *more} <= {path for path in tree(root)} or sys.platform != "linux"


# ---- The command ---------------------------------------------------------------------------------------------------


def test_command(serve, root, us8k, capsys, monkeypatch):
    monkeypatch.setitem(PARTS, "us8k", parts_of("us8k", {TAR: us8k}))
    web = serve({TAR: us8k})
    arguments = ["data", "get", "us8k", str(root), "--server", f"{web.address}/"]
    assert main([*arguments, "--keep-archives"]) == 0
    assert f"10 clips in {root / 'UrbanSound8K'}" in capsys.readouterr().out
    assert main(arguments) == 0
    assert "nothing to download" in capsys.readouterr().err
    shutil.rmtree(root / "UrbanSound8K")
    shelf = (root / ".archives" / "us8k").rename(root / "shelf")
    assert main(["data", "get", "us8k", str(root), "--from-dir", str(shelf)]) == 0
    assert (shelf / TAR).is_file() and (root / "UrbanSound8K").is_dir()


def test_command_that_fails(serve, root, us8k, capsys):
    web = serve({})
    assert main(["data", "get", "tut", str(root), "--server", web.address]) == 2
    said = capsys.readouterr().err
    assert "loglearn: http://127.0.0.1" in said and "returned 404 Not Found" in said and "Traceback" not in said


def test_command_that_cannot_write(capsys):
    assert main(["data", "get", "us8k", "/dev/null/data", "--from-dir", "/nowhere"]) == 2
    assert "Cannot write /dev/null/data" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "root"), [("us8k", "data/UrbanSound8K"), ("tut", "data/TUT2017")])
def test_command_puts_it_where_the_experiments_look(name, root, monkeypatch, capsys):
    asked = []

    def stopped(*arguments: object, **more: object) -> None:
        asked.append(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "get", stopped)
    assert main(["data", "get", name]) == 130
    assert "rerun the command to resume" in capsys.readouterr().err
    ((_, at),) = asked
    where = load_settings(ROOT / "experiments" / f"{name}.yaml").data.root
    assert str(where) == root and str(at / "UrbanSound8K" if name == "us8k" else at) == root


def test_command_hides_what_tests_need(capsys):
    with pytest.raises(SystemExit):
        main(["data", "get", "--help"])
    said = capsys.readouterr().out
    assert "--from-dir" in said and "--keep-archives" in said and "--server" not in said
