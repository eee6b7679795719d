"""Standard output and error for a command line: any name can be printed, and failed output is a separate error.

For processes that belong to this package, like `tensorflow_runtime`.
"""

import codecs
import faulthandler
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

from loglearn_tf._util.text import path_text

_ESCAPES = "loglearn_tf.escapes"


class OutputError(Exception):
    """Standard output is closed or cannot be written; not an `OSError`, which argument parsers ignore."""

    def __init__(self, error: OSError | None = None) -> None:
        reason = "it is closed" if error is None else error.strerror or str(error)
        super().__init__(f"Cannot write standard output: {reason}. Redirect it to a file, or to {os.devnull}.")
        self.reader_has_left = isinstance(error, BrokenPipeError)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Configures the standard streams for commands.

    Output to files and pipes is UTF-8, whatever the locale, since it may be read elsewhere. A terminal gets its own
    encoding. Characters that an encoding lacks are escaped with a backslash. Errors on standard error are ignored.

    Raises:
        OutputError: If standard output is closed or cannot be written, at the latest at the end. Pending output is then
            dropped.
    """
    codecs.register_error(_ESCAPES, _escape)
    if sys.stderr is None:
        # Printing to None would print to standard output; and no other file may get its descriptor.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        raise OutputError
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding=stream.encoding if stream.isatty() else "utf-8", errors=_ESCAPES)
    out = sys.stdout
    try:
        with redirect_stdout(_Output(out)), redirect_stderr(_Messages(sys.stderr)):
            try:
                yield
            finally:
                sys.stdout.flush()
    except OutputError:
        # Otherwise Python would complain again on exit.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        raise


@contextmanager
def silent_libraries() -> Iterator[None]:
    """Suppresses what C libraries write to standard error, such as mpg123's notes on damaged frames.

    Output from Python, and crash locations, still appear.
    """
    stderr = sys.stderr
    try:
        is_ours = stderr.fileno() == 2
        kept = os.dup(2)
    except OSError:  # stderr was replaced by a program that calls the command line
        yield
        return
    stderr.flush()
    with open(kept, "w", encoding=stderr.encoding, errors=_ESCAPES, buffering=1) as messages:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        before = faulthandler.is_enabled()
        faulthandler.enable(messages)
        try:
            with redirect_stderr(_Messages(messages) if is_ours else stderr):
                yield
        finally:
            faulthandler.disable()
            os.dup2(kept, 2)
            if before:
                faulthandler.enable()


class _Stream:
    """A proxy for a stream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Output(_Stream):
    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except OSError as error:
            raise OutputError(error) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise OutputError(error) from error


class _Messages(_Stream):
    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Escapes characters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = path_text(error.object[error.start : error.end])
    if error.encoding == "utf-8":  # where only raw bytes need escaping
        return text.encode("utf-8", "backslashreplace"), error.end
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end
