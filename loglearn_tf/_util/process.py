"""Processes of their own for work that needs TensorFlow as this package sets it up; the caller's stays as it is.

`multiprocessing` would import the caller's `__main__` again in each of them, which runs a script without a main guard
once more and fails for `python - < script`. These start from nothing but `sys.path`.
"""

import logging
import logging.handlers
import os
import pickle
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from loglearn_tf._util.progress import OnProgress, Step
from loglearn_tf._util.tensorflow_runtime import be_quiet
from loglearn_tf.errors import LoglearnError, WorkerError

Result = TypeVar("Result")
# What a process runs: it gets a function that waits for the next message, and one that sends an answer.
Job = Callable[[Callable[[], Any], Callable[[Any], None]], None]
Inbox = queue.SimpleQueue[tuple["Process", Any]]

# In an inbox, after the last message of a process: it has ended, by itself or not.
ENDED = object()


class Process:
    """A new Python process that runs a job, and ends at once when this one does, however that happens.

    It has this process' `sys.path`, environment, folder and stderr. Ctrl-C does not reach it: whoever started it ends
    it. May be started in any thread.

    Args:
        job: What to run; it and all messages must be picklable, by names that the new process can import.
        inbox: Where its messages arrive, as (this process, message), the last of them `ENDED`.
    """

    def __init__(self, job: Job, inbox: Inbox) -> None:
        content = pickle.dumps(job)  # before there is a process that would wait for it
        path = [str(folder) for folder in sys.path]
        # Its own folder first in `sys.path`, as -c has it, could hide a module of the standard library.
        program = f"import sys; sys.path[:] = {path!r}; from loglearn_tf._util.process import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Out of reach of the terminal's Ctrl-C.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        )
        assert self._process.stdin is not None
        self._requests = self._process.stdin
        self._reader = threading.Thread(target=self._read, args=(inbox,), daemon=True)
        self._reader.start()
        self._write(content)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        """Of a process that has ended; negative: of the signal that ended it."""
        return self._process.poll()

    def send(self, message: Any) -> None:
        """To its job. One that has ended gets nothing: its inbox tells."""
        self._write(pickle.dumps(message))

    def _write(self, content: bytes) -> None:
        try:
            self._requests.write(content)
            self._requests.flush()
        except OSError:
            pass  # it has ended

    def end(self, *, at_once: bool = False) -> None:
        """Ends it: one that waits for a message in peace, one that works only by `at_once`."""
        if at_once:
            self._process.kill()
        try:
            self._requests.close()
        except OSError:
            pass  # bytes that it never took
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _read(self, inbox: Inbox) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as answers:
            try:
                while True:
                    inbox.put((self, pickle.load(answers)))
            except EOFError:
                pass
            except Exception:  # of a message that ends too early, or cannot be read here, pickle raises what it likes
                self._process.kill()
        self._process.wait()
        inbox.put((self, ENDED))


def call(function: Callable[..., Result], *arguments: Any, on_progress: OnProgress | None = None) -> Result:
    """Calls a function in a process of its own, and waits for what it returns.

    What it logs is logged here, and its progress told here.

    Args:
        function: Takes `on_progress`, too. It, its arguments and its result must be picklable.

    Raises:
        LoglearnError: As the function does.
        WorkerError: If the process dies.
        RuntimeError: If the function raises anything else; holds its traceback.
    """
    inbox: Inbox = queue.SimpleQueue()
    process = Process(partial(_answer, function, arguments), inbox)
    at_once = True
    try:
        while True:
            _, message = inbox.get()
            if isinstance(message, Step):
                if on_progress is not None:
                    on_progress(message)
            elif isinstance(message, logging.LogRecord):
                logger = logging.getLogger(message.name)
                if logger.isEnabledFor(message.levelno):
                    logger.handle(message)
            elif isinstance(message, LoglearnError):
                raise message
            elif message is ENDED:
                raise WorkerError(
                    f"A process that this one had started died (exit code {process.exitcode}); out of memory? What "
                    "was finished is kept; start again with fewer `workers`, or on a machine with more memory."
                )
            else:
                returned, value = message
                if not returned:
                    raise RuntimeError(value)
                at_once = False
                result: Result = value
                return result
    finally:
        process.end(at_once=at_once)


# ---- In the new process -----------------------------------------------------------------------------------------


def main() -> None:
    """Runs the job that comes first on stdin; messages follow there, answers go to what was stdout."""
    be_quiet()
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What libraries print must not get between the answers, nor processes of theirs take the messages.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sending = threading.Lock()

    def send(answer: Any) -> None:
        content = pickle.dumps(answer)
        with sending:
            answers.write(content)
            answers.flush()

    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                messages.put(pickle.load(requests))
        except (EOFError, pickle.UnpicklingError):
            # Nobody waits for an answer any more: the process that asked is dead, or has all it wants. TensorFlow
            # would take a second and more to be taken apart.
            os._exit(0)
        except BaseException:  # a message that holds what cannot be imported here
            traceback.print_exc()
            os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    try:
        messages.get()(messages.get, send)
    except BrokenPipeError:
        os._exit(1)


class _Sender(logging.handlers.QueueHandler):
    """Sends log records; the base class makes them picklable."""

    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue(record)  # type: ignore[operator]


def _answer(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    receive: Callable[[], Any],
    send: Callable[[Any], None],
) -> None:
    """The job of `call`."""
    logger = logging.getLogger("loglearn_tf")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(_Sender(send))  # type: ignore[arg-type]
    try:
        send((True, function(*arguments, on_progress=send)))
    except LoglearnError as error:
        send(error)
    except Exception:
        send((False, traceback.format_exc()))
    receive()  # until this process is ended
