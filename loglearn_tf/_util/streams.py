"""Standard output and standard error, as a command line needs them: every name can be written, and what cannot be
written is an error of its own.

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
    """Standard output is closed, or cannot be written; not an `OSError`, which parsers of arguments pass over."""

    def __init__(self, error: OSError | None = None) -> None:
        reason = "it is closed" if error is None else error.strerror or str(error)
        super().__init__(f"Cannot write standard output: {reason}. Send it to a file with room, or {os.devnull}.")
        self.reader_has_left = isinstance(error, BrokenPipeError)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Standard streams for the commands within.

    Output to files and pipes is UTF-8, whatever the locale says: it is read elsewhere, and later. A terminal gets its
    own encoding. What an encoding cannot hold is escaped by a backslash. Standard error is never a reason to stop.

    Raises:
        OutputError: If standard output is closed, or where it cannot be written, at the latest at the end. What it
            still holds is then dropped.
    """
    codecs.register_error(_ESCAPES, _escape)
    if sys.stderr is None:
        # Printing to None would print on standard output; and no other file must get its descriptor.
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
        # Or Python would complain again when it exits.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        raise


@contextmanager
def silent_libraries() -> Iterator[None]:
    """Keeps off the terminal what libraries in C write on standard error, such as mpg123's notes on damaged frames.

    What Python writes arrives, and so does where a crash happened.
    """
    stderr = sys.stderr
    try:
        is_ours = stderr.fileno() == 2
        kept = os.dup(2)
    except OSError:  # a program that calls the command line has put something else there
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
    """Stands for a stream."""

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
    """What an encoding cannot hold, in characters that it can."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = path_text(error.object[error.start : error.end])
    if error.encoding == "utf-8":  # for which only bytes may be beyond ASCII
        return text.encode("utf-8", "backslashreplace"), error.end
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end
