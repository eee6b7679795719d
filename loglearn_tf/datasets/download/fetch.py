"""Large files from a web server: tried again when the connection is cut, and resumed where it was."""

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

# What a cut connection can lose. Larger ones are not faster.
_CHUNK_BYTES = 1 << 14
# Strong ones: a weak one, W/"...", does not vouch for bytes.
_ETAG = r'"[\x21\x23-\x7e]*"'
# Of a size in bytes. Python refuses to read numbers of thousands of digits.
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
        worthwhile_bytes: A try that brings at least as many starts the count of tries again.
    """

    tries: int = 6
    wait_s: float = 2.0
    longest_wait_s: float = 300.0
    timeout_s: float = 60.0
    least_bytes_per_s: float = 1000.0
    worthwhile_bytes: int = 1 << 20


@dataclass(frozen=True)
class Server:
    """Files by their addresses, over connections that stay open in between.

    Attributes:
        session: Proxies are those of the environment.
        patience: How long it is waited for.
    """

    session: requests.Session
    patience: Patience

    def size(self, url: str) -> int | None:
        """Bytes of a file; `None` where the server does not say.

        Raises:
            DownloadError: If it does not give the file.
        """

        def ask() -> int | None:
            # Not HEAD, which some servers and proxies do not do. Those that know no ranges answer with the whole file,
            # which is left unread.
            with self._ask(url, {"Range": "bytes=0-0"}) as response:
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
            on_bytes: Told how many came; below 0 when the download starts again.

        Raises:
            DownloadError: If the server does not give the file.
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
                end = next((known for known in (total, size) if known is not None), math.inf)
                with target.open("ab") as file:
                    for chunk in self._chunks(response, end + 1 - _n_bytes(target)):
                        file.write(chunk)
                        on_bytes(len(chunk))
            # urllib3 tells it, too, but not in every version.
            if total is not None and _n_bytes(target) < total:
                raise _TryAgain("the connection was cut")

        def attempt() -> None:
            with storage(target):
                go_on()

        self._patiently(url, attempt, lambda: _n_bytes(target))

    def _chunks(self, response: requests.Response, most: float) -> Iterator[bytes]:
        """The body as it arrives; at most `most` bytes."""
        # Older versions of urllib3 have only what waits for a whole chunk.
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
                    raise _TryAgain(f"only {format_bytes(n_bytes)} came in {format_seconds(elapsed_s)}")
                begun, n_bytes = time.monotonic(), 0

    def _ask(self, url: str, headers: dict[str, str]) -> requests.Response:
        # Compressed on the way, sizes and ranges would be those of something else.
        headers = {"User-Agent": "loglearn_tf", "Accept-Encoding": "identity", **headers}
        try:
            response = self.session.get(url, headers=headers, stream=True, timeout=self.patience.timeout_s)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise _TryAgain(_root_cause(error)) from error
        except (requests.RequestException, ValueError) as error:  # ValueError: it redirects to what is not an address
            raise DownloadError(f"{url} could not be downloaded: {error}. {_BY_HAND}") from error
        except OSError as error:
            raise DownloadError(
                f"{url} could not be downloaded: {error}. Files that the environment names, such as "
                f"`REQUESTS_CA_BUNDLE`, must exist. {_BY_HAND}"
            ) from error
        if response.status_code in (200, 206, 416):
            return response
        response.close()
        answer = f"the server answers {response.status_code} {response.reason}"
        if response.status_code >= 500 or response.status_code in _TRY_AGAIN:
            raise _TryAgain(answer, asked_wait_s=_asked_wait(response))
        raise DownloadError(f"{url} could not be downloaded: {answer}. {_BY_HAND}")

    def _patiently(self, url: str, attempt: Callable[[], _Result], n_bytes: Callable[[], int] = lambda: 0) -> _Result:
        """Tries until it succeeds; `n_bytes` tells whether a try that failed was worth it."""
        name = url.rsplit("/", 1)[-1].partition("?")[0]
        n_failed, counted = 0, n_bytes()
        while True:
            try:
                return attempt()
            except _TryAgain as error:
                n_failed += 1
                if n_bytes() - counted >= self.patience.worthwhile_bytes:
                    n_failed, counted = 1, n_bytes()
                kept = "What has come of it is kept; the same command goes on from there."
                if n_failed >= self.patience.tries:
                    raise DownloadError(f"{url} could not be downloaded: {error}, {n_failed} times. {kept}") from error
                if error.asked_wait_s > self.patience.longest_wait_s:
                    raise DownloadError(
                        f"{url} cannot be downloaded now: {error} and asks to wait "
                        f"{format_seconds(error.asked_wait_s)}. {kept}"
                    ) from error
                own_wait_s = min(self.patience.wait_s * 2 ** (n_failed - 1), self.patience.longest_wait_s)
                wait_s = max(own_wait_s, error.asked_wait_s)
                again = f"Try {n_failed + 1} of {self.patience.tries} in {format_seconds(wait_s)}."
                _log.warning("%s: %s. %s", name, error, again)
            time.sleep(wait_s)


class _TryAgain(Exception):
    """Why a try failed that may be repeated."""

    def __init__(self, reason: str, *, asked_wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.asked_wait_s = asked_wait_s


def etag_file(target: Path) -> Path:
    """What identifies the version of a file that `target` is a part of."""
    return target.with_name(f"{target.name}.etag")


def _kept(etag: Path) -> str:
    """Empty if there is no ETag, or one that a header must not hold: the disk may have lost power."""
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
    """Seconds, of `Retry-After`: a number, or a moment; 0 without it, and if it is neither."""
    text: str = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+", text):
        return min(float(text), _LONGEST_WAIT_S)  # 400 digits are infinite
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    # `-0000` gives a time without a zone; in HTTP all times are UTC.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def _root_cause(error: BaseException) -> str:
    """`[Errno 111] Connection refused`, of the four errors that the libraries wrap around it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__
