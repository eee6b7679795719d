"""Large files from a web server: tried again when the connection is cut, and resumed where it was."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import requests
import urllib3

from loglearn_tf.errors import DownloadError
from loglearn_tf.files import storage, write_text
from loglearn_tf.progress import format_seconds

# What a cut connection can lose. Larger ones are not faster.
_CHUNK_BYTES = 1 << 14
# Answers that another try may better: too slow, too early, too many requests. And whatever is from 500 on.
_TRY_AGAIN = (408, 425, 429)
_BY_HAND = "Check `--server`, or get the file by other means and name its folder: `--from-dir`."

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        tries: In a row that bring less than `worthwhile_bytes` of a file.
        wait_s: Before the second try; twice as long before every further one.
        longest_wait_s: Where a server asks for more (`Retry-After`), it is left alone.
        timeout_s: Silence after which a connection counts as cut.
        worthwhile_bytes: After a try that brings as many, tries are counted anew.
    """

    tries: int = 6
    wait_s: float = 2.0
    longest_wait_s: float = 300.0
    timeout_s: float = 60.0
    worthwhile_bytes: int = 1 << 20


class Server:
    """Keeps connections open from file to file; a context manager. Proxies are those of the environment."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._session = requests.Session()

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def size(self, url: str) -> int | None:
        """Bytes of a file; `None` where the server does not say.

        Raises:
            DownloadError: If it does not give the file.
        """

        def ask() -> int | None:
            # Not HEAD, which some servers and proxies do not do. Those that know no ranges answer with the whole file,
            # which is left unread.
            with self._open(url, {"Range": "bytes=0-0"}) as response:
                return _total(response)

        return self._patiently(url, ask)

    def fetch(self, url: str, target: Path, *, size: int | None, on_bytes: Callable[[int], None]) -> None:
        """Downloads what `target` lacks of a file.

        Whether the bytes are right is for the caller to check: a server may give part of one version and part of
        another. Its ETag, kept beside `target`, prevents that where there is one.

        Args:
            url: Of the file.
            target: Grows as the bytes come; whatever happens, what has come is kept.
            size: Of the whole, where it is known.
            on_bytes: Told how many came; below 0 when the file is begun anew.

        Raises:
            DownloadError: If the server does not give the file.
            StorageError: If `target` cannot be written.
        """
        etag = etag_file(target)
        counted = _n_bytes(target)

        def begin_anew() -> None:
            on_bytes(-_n_bytes(target))
            target.unlink(missing_ok=True)
            etag.unlink(missing_ok=True)

        def go_on() -> None:
            start = _n_bytes(target)
            if start == size:
                return
            headers = {}
            if start:
                headers["Range"] = f"bytes={start}-"
                if etag.is_file():
                    headers["If-Range"] = etag.read_text(encoding="ascii")
            with self._open(url, headers) as response:
                total = _total(response)
                if response.status_code == 416 and start and total in (None, start):
                    return  # nothing is left, or so it seems
                if response.status_code != 200 and _first(response) != start:
                    begin_anew()
                    raise _TryAgain("the server has another file than the one that was begun")
                if response.status_code == 200:
                    begin_anew()  # it knows no ranges, or the file has changed
                    tag = response.headers.get("ETag", "")
                    if re.fullmatch(r'"[\x21\x23-\x7e]*"', tag):  # a weak one, W/"...", does not vouch for bytes
                        write_text(etag, tag)
                with target.open("ab") as file:
                    while chunk := response.raw.read(_CHUNK_BYTES, decode_content=False):
                        file.write(chunk)
                        on_bytes(len(chunk))
            # urllib3 tells it, too, but not in every version.
            if total is not None and _n_bytes(target) < total:
                raise _TryAgain("the connection was cut")

        def attempt() -> None:
            nonlocal counted
            try:
                with storage(target):
                    go_on()
            except _TryAgain as error:
                if _n_bytes(target) - counted >= self.patience.worthwhile_bytes:
                    error.worthwhile = True
                    counted = _n_bytes(target)
                raise

        self._patiently(url, attempt)

    @contextmanager
    def _open(self, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
        # Compressed on the way, sizes and ranges would be those of something else.
        headers = {"User-Agent": "loglearn_tf", "Accept-Encoding": "identity", **headers}
        try:
            with self._session.get(url, headers=headers, stream=True, timeout=self.patience.timeout_s) as response:
                status = response.status_code
                answer = f"the server answers {status} {response.reason}"
                if status >= 500 or status in _TRY_AGAIN:
                    raise _TryAgain(answer, asked_wait_s=_asked_wait(response))
                if status not in (200, 206, 416):
                    raise DownloadError(f"{url} cannot be had: {answer}. {_BY_HAND}")
                yield response
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
            urllib3.exceptions.HTTPError,
        ) as error:
            raise _TryAgain(_root_cause(error)) from error
        except requests.RequestException as error:
            raise DownloadError(f"{url} cannot be had: {error}. {_BY_HAND}") from error

    def _patiently(self, url: str, attempt: Callable[[], _Result]) -> _Result:
        name = url.rsplit("/", 1)[-1].partition("?")[0]
        n_failed = 0
        while True:
            try:
                return attempt()
            except _TryAgain as error:
                n_failed = 1 if error.worthwhile else n_failed + 1
                kept = "What has come of it is kept; the same command goes on from there."
                if n_failed >= self.patience.tries:
                    raise DownloadError(f"{url} cannot be had: {error}, {n_failed} times. {kept}") from error
                if error.asked_wait_s > self.patience.longest_wait_s:
                    raise DownloadError(
                        f"{url} cannot be had now: {error} and asks to wait {format_seconds(error.asked_wait_s)}. "
                        + kept
                    ) from error
                own_wait_s = min(self.patience.wait_s * 2 ** (n_failed - 1), self.patience.longest_wait_s)
                wait_s = max(own_wait_s, error.asked_wait_s)
                print(
                    f"{name}: {error}. Try {n_failed + 1} of {self.patience.tries} in {format_seconds(wait_s)}.",
                    file=sys.stderr,
                )
            time.sleep(wait_s)


class _TryAgain(Exception):
    """Why a try failed that another one may mend."""

    def __init__(self, reason: str, *, asked_wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.asked_wait_s = asked_wait_s
        self.worthwhile = False


def etag_file(target: Path) -> Path:
    """What identifies the version of a file that `target` is a part of."""
    return target.with_name(f"{target.name}.etag")


def _n_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _total(response: requests.Response) -> int | None:
    """Bytes of the whole file, where the answer says so."""
    if response.status_code == 200:
        length: str = response.headers.get("Content-Length", "")
        return int(length) if re.fullmatch(r"[0-9]+", length) else None
    found = re.fullmatch(r"bytes [0-9*-]+/([0-9]+)", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _first(response: requests.Response) -> int | None:
    """Where in the file an answer to a range begins."""
    found = re.match(r"bytes ([0-9]+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _asked_wait(response: requests.Response) -> float:
    """Seconds, of `Retry-After`: a number, or a moment; 0 without."""
    text: str = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    # `-0000` gives a time without a zone, which HTTP has not.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def _root_cause(error: BaseException) -> str:
    """`[Errno 111] Connection refused`, of the four errors that the libraries wrap around it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__
