"""Processes of their own: what they are told and tell, and that none outlives who started it."""

import logging
import os
import queue
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from loglearn_tf._util.process import ENDED, Process, call
from loglearn_tf._util.progress import Step
from loglearn_tf.errors import DataError, WorkerError

# A module that only `sys.path` leads to, as a user's own code.
JOBS = """
import logging, os, signal, sys, time
from loglearn_tf._util.progress import Progress
from loglearn_tf.errors import DataError

def tell_environment(receive, send):
    send(os.environ["GLIBC_TUNABLES"])

def echo(receive, send):
    while True:
        send((os.getpid(), receive()))

def hang(receive, send):
    send(os.getpid())
    time.sleep(600)

def chat(receive, send):
    print("to stdout, which is the pipe of answers")
    os.write(1, b"and past Python")
    print("to stderr", file=sys.stderr)
    send(sys.stdin.read())
    receive()

class Word:
    def __reduce__(self):
        return int, ("no number",)

def answer_in_its_own_words(receive, send):
    send(Word())
    time.sleep(600)

def describe(*arguments, on_progress):
    logging.getLogger("loglearn_tf.somewhere").warning("%s of %s", 1, 2)
    logging.getLogger("loglearn_tf.somewhere").info("not asked for")
    Progress(on_progress, "Steps", 2).advance("one")
    return arguments

def refuse(*, on_progress):
    raise DataError("It is not whole.")

def stumble(*, on_progress):
    return {}["key"]

def die(*, on_progress):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch) -> ModuleType:
    import importlib

    (tmp_path / "jobs_of_a_user.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "jobs_of_a_user", raising=False)
    return importlib.import_module("jobs_of_a_user")


def is_gone(pid: int, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").exists() and ") Z " in Path(f"/proc/{pid}/stat").read_text():
                return True  # dead, and nobody has asked what of
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_messages_go_to_and_fro_until_the_end(jobs):
    inbox = queue.SimpleQueue()
    process = Process(jobs.echo, inbox)
    for message in ("one", {"two": 2}, None):
        process.send(message)
        assert inbox.get(timeout=60) == (process, (process.pid, message))
    process.end()
    assert inbox.get(timeout=5) == (process, ENDED) and process.exitcode == 0


@pytest.mark.parametrize("theirs", [None, "glibc.malloc.tcache_count=3"])
def test_it_allocates_large_pages_unless_told_otherwise(jobs, monkeypatch, theirs):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if theirs:
        monkeypatch.setenv("GLIBC_TUNABLES", theirs)
    inbox = queue.SimpleQueue()
    process = Process(jobs.tell_environment, inbox)
    assert inbox.get(timeout=30) == (process, theirs or "glibc.malloc.hugetlb=1")
    process.end()
    assert "GLIBC_TUNABLES" not in os.environ or theirs


def test_one_at_work_is_ended_at_once(jobs):
    inbox = queue.SimpleQueue()
    process = Process(jobs.hang, inbox)
    inbox.get(timeout=60)
    started = time.monotonic()
    process.end(at_once=True)
    assert time.monotonic() - started < 5 and process.exitcode == -signal.SIGKILL
    assert inbox.get(timeout=5) == (process, ENDED)


def test_one_that_was_killed_takes_messages_and_tells_its_end(jobs):
    inbox = queue.SimpleQueue()
    process = Process(jobs.echo, inbox)
    os.kill(process.pid, signal.SIGKILL)
    assert inbox.get(timeout=60) == (process, ENDED)
    process.send(bytes(1 << 20))
    process.end()
    assert process.exitcode == -signal.SIGKILL


def test_what_it_prints_is_no_answer(jobs, capfd):
    inbox = queue.SimpleQueue()
    process = Process(jobs.chat, inbox)
    assert inbox.get(timeout=60) == (process, "")  # its stdin is empty: messages are no input of libraries
    process.end()
    said = capfd.readouterr()
    assert said.out == "" and all(part in said.err for part in ("pipe of answers", "past Python", "to stderr"))


def test_what_cannot_be_sent_is_an_error_here(jobs):
    process = Process(jobs.echo, queue.SimpleQueue())
    with pytest.raises((AttributeError, TypeError), match="pickle|local object"):  # as Python 3.13 says it
        process.send(lambda: 0)
    process.end()


def test_an_answer_that_means_nothing_here_ends_it(jobs):
    inbox = queue.SimpleQueue()
    process = Process(jobs.answer_in_its_own_words, inbox)
    assert inbox.get(timeout=60) == (process, ENDED) and process.exitcode == -signal.SIGKILL
    process.end()


@pytest.mark.skipif(sys.platform == "win32", reason="processes and signals are POSIX's")
@pytest.mark.parametrize("moment", ["starting", "working", "waiting"])
def test_none_outlives_a_parent_that_is_killed(jobs, tmp_path, moment):
    program = f"""
    import queue, sys, time
    sys.path.insert(0, {str(tmp_path)!r})
    import jobs_of_a_user as jobs
    from loglearn_tf._util.process import Process
    inbox = queue.SimpleQueue()
    process = Process(jobs.echo if {moment!r} == "waiting" else jobs.hang, inbox)
    if {moment!r} == "waiting":
        process.send(0)
    if {moment!r} != "starting":
        inbox.get()
    print(process.pid, flush=True)
    time.sleep(600)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)
    parent.kill()
    parent.communicate()
    assert is_gone(pid)


@pytest.mark.skipif(sys.platform == "win32", reason="processes and signals are POSIX's")
def test_ctrl_c_does_not_reach_it(jobs):
    """The terminal sends SIGINT to the group of whoever runs in the foreground."""
    inbox = queue.SimpleQueue()
    process = Process(jobs.echo, inbox)
    process.send(0)
    inbox.get(timeout=60)
    assert os.getpgid(process.pid) != os.getpgid(0) and os.getsid(process.pid) != os.getsid(0)
    process.end()


def test_a_call_returns_and_tells_what_is_told_there(jobs, caplog):
    steps: list[Step] = []
    assert call(jobs.describe, "a", [1, 2], on_progress=steps.append) == ("a", [1, 2])
    assert [(step.work, step.done, step.text) for step in steps] == [("Steps", 0, ""), ("Steps", 1, "one")]
    (record,) = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == ("loglearn_tf.somewhere", logging.WARNING, "1 of 2")


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("refuse", DataError, "^It is not whole.$"),
        ("stumble", RuntimeError, r"(?s)Traceback.*in stumble.*KeyError: 'key'"),
        ("die", WorkerError, r"died \(exit code -9\); out of memory"),
    ],
)
def test_a_call_that_fails(jobs, name, error, says):
    function: Callable[..., None] = getattr(jobs, name)
    with pytest.raises(error, match=says):
        call(function)


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_a_script_is_not_run_again(tmp_path, how):
    """Neither one without a main guard, nor one that comes by stdin and is nowhere to be imported from."""
    (tmp_path / "mine.py").write_text("def double(number, *, on_progress):\n    return 2 * number\n")
    script = tmp_path / "script.py"
    script.write_text("from mine import double\nfrom loglearn_tf._util.process import call\nprint(call(double, 21))\n")
    with script.open() as stdin:
        done = subprocess.run(
            [sys.executable, str(script) if how == "file" else "-"],
            stdin=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
    assert (done.stdout, done.returncode) == ("42\n", 0), done.stderr
