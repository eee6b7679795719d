"""Downloads large files from a web server, with retries and resuming after lost connections."""

import logging
import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar

import requests
import urllib3

from loglearn_tf._util.files import storage, write_text
from loglearn_tf._util.progress import format_bytes, format_seconds
from loglearn_tf.errors import DownloadError

# The most that a lost connection can lose. Larger blocks are not faster.
_CHUNK_BYTES = 1 << 14
# Strong ETags only: a weak one, W/"...", does not identify the bytes.
_ETAG = r'"[\x21\x23-\x7e]*"'
# A size in bytes. Python refuses to convert numbers with thousands of digits.
_NUMBER = "[0-9]{1,18}"
# Status codes worth a retry: timeout, too early, too many requests; also all from 500 on.
_TRY_AGAIN = (408, 425, 429)
# A year, as an upper limit.
_LONGEST_WAIT_S = 365 * 86_400.0
_BY_HAND = "Check `--server`, or get the file by other means and name its folder: `--from-dir`."

_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server.

    Attributes:
        tries: Maximum number of consecutive tries that bring less than `worthwhile_bytes` of a file.
        wait_s: Wait before the second try; doubled before each further one.
        longest_wait_s: If a server asks for a longer wait (`Retry-After`), the download stops.
        timeout_s: Silence after which a connection counts as lost.
        least_bytes_per_s: A lower rate over `timeout_s` counts as silence.
        worthwhile_bytes: A try that brings at least this much resets the count.
    """

    tries: int = 6
    wait_s: float = 2.0
    longest_wait_s: float = 300.0
    timeout_s: float = 60.0
    least_bytes_per_s: float = 1000.0
    worthwhile_bytes: int = 1 << 20


@dataclass(frozen=True)
class Server:
    """Downloads files over persistent connections.

    Attributes:
        session: HTTP session; uses the proxies of the environment.
        patience: How long to wait.
    """

    session: requests.Session
    patience: Patience

    def size(self, url: str) -> int | None:
        """Size of a file in bytes; `None` if the server does not say.

        Raises:
            DownloadError: If the server does not provide the file.
        """

        def ask() -> int | None:
            # Not HEAD, which some servers and proxies do not support. Servers without range support answer with the
            # whole file, which is not read.
            with self._ask(url, {"Range": "bytes=0-0"}) as response:
                return _total(response)

        return self._patiently(url, ask)

    def fetch(self, url: str, target: Path, *, size: int | None, on_bytes: Callable[[int], None]) -> None:
        """Downloads the missing rest of a file to `target`.

        The caller must check the content: a server may send parts of different versions. If the server has an ETag, it
        is kept next to `target` and prevents this.

        Args:
            url: Address of the file.
            target: Output file, which grows with the download and is kept on errors.
            size: Size of the whole file, if known. If the file is longer, one extra byte is written.
            on_bytes: Called with the number of new bytes; negative when the download restarts.

        Raises:
            DownloadError: If the server does not provide the file.
            StorageError: If `target` cannot be written.
        """
        etag = etag_file(target)

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
            with self._ask(url, headers) as response:
                total = _total(response)
                if response.status_code == 416 and start and total in (None, start):
                    return  # apparently complete
                if response.status_code != 200 and _first(response) != start:
                    begin_anew()
                    raise _TryAgain("the file on the server has changed")
                if response.status_code == 200:
                    begin_anew()  # no range support, or the file has changed
                    tag = response.headers.get("ETag", "")
                    if re.fullmatch(_ETAG, tag):
                        write_text(etag, tag)
                # A server that declares no size may send endless data.
                end = next((known for known in (total, size) if known is not None), math.inf)
                with target.open("ab") as file:
                    for chunk in self._chunks(response, end + 1 - _n_bytes(target)):
                        file.write(chunk)
                        on_bytes(len(chunk))
            # Not every version of urllib3 detects this.
            if total is not None and _n_bytes(target) < total:
                raise _TryAgain("the connection was lost")

        def attempt() -> None:
            with storage(target):
                go_on()

        self._patiently(url, attempt, lambda: _n_bytes(target))

    def _chunks(self, response: requests.Response, most: float) -> Iterator[bytes]:
        """The body as it arrives, at most `most` bytes."""
        # Older versions of urllib3 can only wait for a whole chunk.
        read = getattr(response.raw, "read1", response.raw.read)
        begun, n_bytes = time.monotonic(), 0
        while most > 0:
            try:
                chunk = read(int(min(_CHUNK_BYTES, most)), decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise _TryAgain(_root_cause(error)) from error
            if not chunk:
                return
            yield chunk
            most -= len(chunk)
            n_bytes += len(chunk)
            elapsed_s = time.monotonic() - begun
            if elapsed_s >= self.patience.timeout_s:
                if n_bytes < self.patience.least_bytes_per_s * elapsed_s:
                    raise _TryAgain(f"only {format_bytes(n_bytes)} received in {format_seconds(elapsed_s)}")
                begun, n_bytes = time.monotonic(), 0

    def _ask(self, url: str, headers: dict[str, str]) -> requests.Response:
        # With transfer compression, sizes and ranges would not be those of the file.
        headers = {"User-Agent": "loglearn_tf", "Accept-Encoding": "identity", **headers}
        try:
            response = self.session.get(url, headers=headers, stream=True, timeout=self.patience.timeout_s)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise _TryAgain(_root_cause(error)) from error
        except (requests.RequestException, ValueError) as error:  # ValueError: redirect to an invalid address
            raise DownloadError(f"{url} could not be downloaded: {error}. {_BY_HAND}") from error
        except OSError as error:
            raise DownloadError(
                f"{url} could not be downloaded: {error}. Files named by environment variables, such as "
                f"`REQUESTS_CA_BUNDLE`, must exist. {_BY_HAND}"
            ) from error
        if response.status_code in (200, 206, 416):
            return response
        response.close()
        answer = f"the server returned {response.status_code} {response.reason}"
        if response.status_code >= 500 or response.status_code in _TRY_AGAIN:
            raise _TryAgain(answer, asked_wait_s=_asked_wait(response))
        raise DownloadError(f"{url} could not be downloaded: {answer}. {_BY_HAND}")

    def _patiently(self, url: str, attempt: Callable[[], _Result], n_bytes: Callable[[], int] = lambda: 0) -> _Result:
        """Retries until it succeeds; `n_bytes` shows whether a failed try made progress."""
        name = url.rsplit("/", 1)[-1].partition("?")[0]
        n_failed, counted = 0, n_bytes()
        while True:
            try:
                return attempt()
            except _TryAgain as error:
                n_failed += 1
                if n_bytes() - counted >= self.patience.worthwhile_bytes:
                    n_failed, counted = 1, n_bytes()
                kept = "The partial download is kept; rerun the command to resume."
                if n_failed >= self.patience.tries:
                    raise DownloadError(f"{url} could not be downloaded: {error}, {n_failed} times. {kept}") from error
                if error.asked_wait_s > self.patience.longest_wait_s:
                    raise DownloadError(
                        f"{url} could not be downloaded now: {error} and asks for a wait of "
                        f"{format_seconds(error.asked_wait_s)}. {kept}"
                    ) from error
                own_wait_s = min(self.patience.wait_s * 2 ** (n_failed - 1), self.patience.longest_wait_s)
                wait_s = max(own_wait_s, error.asked_wait_s)
                again = f"Try {n_failed + 1} of {self.patience.tries} in {format_seconds(wait_s)}."
                _log.warning("%s: %s. %s", name, error, again)
            time.sleep(wait_s)


class _TryAgain(Exception):
    """A failure that is worth a retry."""

    def __init__(self, reason: str, *, asked_wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.asked_wait_s = asked_wait_s


def etag_file(target: Path) -> Path:
    """The file that identifies the version of which `target` is a part."""
    return target.with_name(f"{target.name}.etag")


def _kept(etag: Path) -> str:
    """The stored ETag; empty if missing or not valid in a header, for example after a power failure."""
    tag = etag.read_text(encoding="ascii", errors="replace") if etag.is_file() else ""
    return tag if re.fullmatch(_ETAG, tag) else ""


def _n_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _total(response: requests.Response) -> int | None:
    """Size of the whole file, if the response declares it."""
    if response.status_code == 200:
        length: str = response.headers.get("Content-Length", "")
        return int(length) if re.fullmatch(_NUMBER, length) else None
    found = re.fullmatch(rf"bytes [0-9*-]+/({_NUMBER})", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _first(response: requests.Response) -> int | None:
    """Start position of a range response."""
    found = re.match(rf"bytes ({_NUMBER})-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _asked_wait(response: requests.Response) -> float:
    """Seconds from `Retry-After`, a number or a date; 0 if missing or invalid."""
    text: str = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+", text):
        return min(float(text), _LONGEST_WAIT_S)  # 400 digits give infinity
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    # `-0000` gives a time without a zone; HTTP times are UTC.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def _root_cause(error: BaseException) -> str:
    """The innermost message, such as `[Errno 111] Connection refused`, without the errors wrapped around it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__
