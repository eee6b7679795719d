"""Large files from a web server: tried again when the connection is cut, and resumed where it was."""

import logging
import re
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

from loglearn_tf._util.files import storage, write_text
from loglearn_tf._util.progress import format_bytes, format_seconds
from loglearn_tf.errors import DownloadError

# What a cut connection can lose. Larger ones are not faster.
_CHUNK_BYTES = 1 << 14
# Strong ones: a weak one, W/"...", does not vouch for bytes.
_ETAG = r'"[\x21\x23-\x7e]*"'
# No file is larger than 18 digits say, and no number with more is one: Python reads no thousands of them.
_NUMBER = "[0-9]{1,18}"
# Answers that another try may better: too slow, too early, too many requests. And whatever is from 500 on.
_TRY_AGAIN = (408, 425, 429)
# A year, to have a number to tell.
_LONGEST_WAIT_S = 365 * 86_400.0
_BY_HAND = "Check `--server`, or get the file by other means and name its folder: `--from-dir`."

_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        tries: In a row that bring less than `worthwhile_bytes` of a file.
        wait_s: Before the second try; twice as long before every further one.
        longest_wait_s: Where a server asks for more (`Retry-After`), it is left alone.
        timeout_s: Silence after which a connection counts as cut.
        least_bytes_per_s: What comes more slowly, over `timeout_s`, counts as silence.
        worthwhile_bytes: After a try that brings as many, tries are counted anew.
    """

    tries: int = 6
    wait_s: float = 2.0
    longest_wait_s: float = 300.0
    timeout_s: float = 60.0
    least_bytes_per_s: float = 1000.0
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
            size: Of the whole, where it is known. Of what is longer, one byte more is written.
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
                if tag := _kept(etag):
                    headers["If-Range"] = tag
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
                    if re.fullmatch(_ETAG, tag):
                        write_text(etag, tag)
                # A server that tells no end may send without one.
                most = total if total is not None else size
                with target.open("ab") as file:
                    for chunk in self._chunks(response, None if most is None else most + 1 - _n_bytes(target)):
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

    def _chunks(self, response: requests.Response, most: int | None) -> Iterator[bytes]:
        """What comes, as it comes; at most as many bytes."""
        # Older versions of urllib3 have only what waits for a whole chunk.
        read = getattr(response.raw, "read1", response.raw.read)
        begun, n_bytes = time.monotonic(), 0
        while most is None or most > 0:
            chunk = read(_CHUNK_BYTES if most is None else min(_CHUNK_BYTES, most), decode_content=False)
            if not chunk:
                return
            yield chunk
            most = None if most is None else most - len(chunk)
            n_bytes += len(chunk)
            elapsed_s = time.monotonic() - begun
            if elapsed_s >= self.patience.timeout_s:
                if n_bytes < self.patience.least_bytes_per_s * elapsed_s:
                    raise _TryAgain(f"only {format_bytes(n_bytes)} came in {format_seconds(elapsed_s)}")
                begun, n_bytes = time.monotonic(), 0

    @contextmanager
    def _open(self, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
        # Compressed on the way, sizes and ranges would be those of something else.
        headers = {"User-Agent": "loglearn_tf", "Accept-Encoding": "identity", **headers}
        try:
            with self._ask(url, headers) as response:
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

    def _ask(self, url: str, headers: dict[str, str]) -> requests.Response:
        try:
            return self._session.get(url, headers=headers, stream=True, timeout=self.patience.timeout_s)
        except requests.RequestException:
            raise
        except OSError as error:
            raise DownloadError(
                f"{url} cannot be had: {error}. Files that the environment names, as `REQUESTS_CA_BUNDLE` does, must "
                f"be there. {_BY_HAND}"
            ) from error
        except ValueError as error:  # the server sends on to an address that is none
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
                again = f"Try {n_failed + 1} of {self.patience.tries} in {format_seconds(wait_s)}."
                _log.warning("%s: %s. %s", name, error, again)
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


def _kept(etag: Path) -> str:
    """Empty where there is none, or none that a header may hold: the disk may have lost power."""
    tag = etag.read_text(encoding="ascii", errors="replace") if etag.is_file() else ""
    return tag if re.fullmatch(_ETAG, tag) else ""


def _n_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _total(response: requests.Response) -> int | None:
    """Bytes of the whole file, where the answer says so."""
    if response.status_code == 200:
        length: str = response.headers.get("Content-Length", "")
        return int(length) if re.fullmatch(_NUMBER, length) else None
    found = re.fullmatch(rf"bytes [0-9*-]+/({_NUMBER})", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _first(response: requests.Response) -> int | None:
    """Where in the file an answer to a range begins."""
    found = re.match(rf"bytes ({_NUMBER})-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _asked_wait(response: requests.Response) -> float:
    """Seconds, of `Retry-After`: a number, or a moment; 0 without, and where the moment is none."""
    text: str = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+", text):
        return min(float(text), _LONGEST_WAIT_S)  # 400 digits are infinite
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    # `-0000` gives a time without a zone, which HTTP has not.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def _root_cause(error: BaseException) -> str:
    """`[Errno 111] Connection refused`, of the four errors that the libraries wrap around it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__
