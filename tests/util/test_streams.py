"""Standard streams of the command line: any name, any encoding, and a device that is full."""

import errno
import io
import os
import sys

import pytest

from loglearn_tf._util.streams import OutputError, silent_libraries, standard_streams
from loglearn_tf._util.text import path_text

NAMES = ["Dvořák", "犬", "\udce7\udc8a\udcac", "\udcff", "\ud800", "\x81"]  # the third is the second, as bytes


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


class Broken(io.RawIOBase):
    """A device that takes nothing."""

    def __init__(self, number):
        self.number = number

    def writable(self):
        return True

    def write(self, content):
        raise OSError(self.number, os.strerror(self.number))


def printed(monkeypatch, kind, encoding) -> bytes:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", kind(raw, encoding=encoding, errors="strict"))
    with standard_streams():
        print("\n".join(NAMES))
    return raw.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii", "utf-16", "cp932", "latin-1"])
def test_files_and_pipes_are_utf8(monkeypatch, encoding):
    found = printed(monkeypatch, io.TextIOWrapper, encoding).decode("utf-8")
    assert found.splitlines() == ["Dvořák", "犬", "犬", "\\xff", "\\ud800", "\x81"]


@pytest.mark.parametrize(
    ("encoding", "lines"),
    [
        ("utf-8", ["Dvořák", "犬", "犬", "\\xff", "\\ud800", "\x81"]),
        ("cp1252", ["Dvo\\u0159ák", "\\u72ac", "\\u72ac", "\\xff", "\\ud800", "\\x81"]),
        ("ascii", ["Dvo\\u0159\\xe1k", "\\u72ac", "\\u72ac", "\\xff", "\\ud800", "\\x81"]),
        ("utf-16", ["Dvořák", "犬", "\\xe7\\x8a\\xac", "\\xff", "\\ud800", "\x81"]),
    ],
)
def test_a_terminal_gets_what_it_can_show(monkeypatch, encoding, lines):
    assert printed(monkeypatch, Terminal, encoding).decode(encoding).splitlines() == lines


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EPIPE])
@pytest.mark.parametrize("unbuffered", [False, True])
def test_output_that_cannot_be_written(monkeypatch, number, unbuffered):
    raw = Broken(number)
    out = io.TextIOWrapper(raw if unbuffered else io.BufferedWriter(raw), write_through=unbuffered)
    monkeypatch.setattr(sys, "stdout", out)
    says = f"standard output: {os.strerror(number)}. Redirect it"
    with pytest.raises(OutputError, match=says) as caught, standard_streams():
        print("a name")
    assert caught.value.reader_has_left == (number == errno.EPIPE) and sys.stdout is out
    monkeypatch.setattr(Broken, "write", lambda self, content: len(content))  # what it still holds, at the end


def test_the_output_counts_more_than_why_a_parser_ends(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(Broken(errno.ENOSPC))))
    with pytest.raises(OutputError), standard_streams():
        print("usage")
        raise SystemExit(0)
    monkeypatch.setattr(Broken, "write", lambda self, content: len(content))


def test_another_error_stays_what_it_is(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(OSError, match="of a file"), standard_streams():
        raise OSError("of a file")


def test_output_that_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OutputError, match="it is closed"), standard_streams():
        pytest.fail("no command begins")


def test_messages_that_cannot_be_written_stop_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(Broken(errno.ENOSPC), write_through=True))
    with standard_streams():
        print("a message", file=sys.stderr, flush=True)
        print("a name")
    assert sys.stdout.getvalue() == "a name\n"
    monkeypatch.setattr(Broken, "write", lambda self, content: len(content))


def test_messages_without_a_place_are_no_output(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)
    with standard_streams():
        print("a message", file=sys.stderr)
    assert sys.stdout.getvalue() == ""
    sys.stderr.close()


def test_libraries_in_c_are_silent_and_python_is_not(capfd):
    # What pytest has put in place of stderr is that of the process, as far as it goes.
    stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        os.write(2, b"before\n")
        with silent_libraries():
            os.write(2, b"Note: Trying to resync...\n")
            print("Warning: 犬", file=sys.stderr)
        os.write(2, b"after\n")
        assert sys.stderr is stderr
    stderr.close()
    assert capfd.readouterr().err == "before\nWarning: 犬\nafter\n"


def test_a_stderr_that_is_not_of_the_process_stays(capsys):
    with silent_libraries():
        print("a message", file=sys.stderr)
    assert capsys.readouterr().err == "a message\n"


@pytest.mark.skipif(sys.platform == "win32", reason="names of files are text there")
@pytest.mark.parametrize(
    ("name", "text"), [(b"Dvo\xc5\x99ak", "Dvořak"), (b"\xffa", "\\xffa"), ("犬", "犬"), ("\ud800", "\ud800")]
)
def test_names_of_files_as_text(name, text):
    assert path_text(os.fsdecode(name)) == text
