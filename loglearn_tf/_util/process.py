"""Separate processes for work that needs TensorFlow configured by this package, without affecting the caller.

`multiprocessing` would import the caller's `__main__` again in each of them, which reruns a script without a main guard
and fails for `python - < script`. These processes start with nothing but `sys.path`.
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
# A job gets a function that waits for the next message and one that sends an answer.
Job = Callable[[Callable[[], Any], Callable[[Any], None]], None]
Inbox = queue.SimpleQueue[tuple["Process", Any]]

# glibc then asks Linux for large pages. A feature map is tens of thousands of small ones, new in every training step,
# which take a tenth (SB-CNN) to a sixth (VGG) of its time. Read once, when a process starts.
_LARGE_PAGES = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")

# The last message of a process in an inbox: it has ended, normally or not.
ENDED = object()


class Process:
    """A new Python process that runs a job and ends when this process ends, however that happens.

    It inherits `sys.path`, environment, folder and stderr, and allocates large pages on Linux unless `GLIBC_TUNABLES`
    is set. Ctrl-C does not reach it: the process that started it must end it. It can be started in any thread.

    Args:
        job: What to run; it and all messages must be picklable by names that the new process can import.
        inbox: Queue of its messages, as (this process, message), ending with `ENDED`.
    """

    def __init__(self, job: Job, inbox: Inbox) -> None:
        content = pickle.dumps(job)  # before a process waits for it
        path = [str(folder) for folder in sys.path]
        # With -c, the current folder comes first in `sys.path` and could hide a standard module.
        program = f"import sys; sys.path[:] = {path!r}; from loglearn_tf._util.process import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict([_LARGE_PAGES]) | os.environ,
            # Not reached by Ctrl-C in the terminal.
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
        """Exit code of an ended process; negative for a signal."""
        return self._process.poll()

    def send(self, message: Any) -> None:
        """Sends a message to its job; ignored if the process has ended, which the inbox reports."""
        self._write(pickle.dumps(message))

    def _write(self, content: bytes) -> None:
        try:
            self._requests.write(content)
            self._requests.flush()
        except OSError:
            pass  # it has ended

    def end(self, *, at_once: bool = False) -> None:
        """Ends the process: normally if it waits for a message; a busy one only with `at_once`."""
        if at_once:
            self._process.kill()
        try:
            self._requests.close()
        except OSError:
            pass  # unread bytes
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
            except Exception:  # pickle raises anything on truncated or unreadable messages
                self._process.kill()
        self._process.wait()
        inbox.put((self, ENDED))


def call(function: Callable[..., Result], *arguments: Any, on_progress: OnProgress | None = None) -> Result:
    """Calls a function in a separate process and waits for its result.

    Its log messages and progress are forwarded.

    Args:
        function: Must also accept `on_progress`. The function, its arguments and its result must be picklable.

    Raises:
        LoglearnError: If the function raises it.
        WorkerError: If the process dies.
        RuntimeError: If the function raises anything else; contains its traceback.
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
                    f"A child process died (exit code {process.exitcode}); out of memory? Finished "
                    "work is kept; rerun with fewer `workers`, or on a machine with more memory."
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
    """Runs the job received first on stdin; messages follow there, answers go to the original stdout."""
    be_quiet()
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # Output of libraries must not mix with the answers, nor may their processes read the messages.
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
            # No one waits for an answer: the parent is dead or has everything it needs. A normal exit would spend a
            # second or more on shutting TensorFlow down.
            os._exit(0)
        except BaseException:  # a message that cannot be imported here
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
    receive()  # waits until this process is ended
