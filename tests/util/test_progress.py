"""How far a long piece of work is, off a terminal."""

import pytest

from loglearn_tf._util import progress
from loglearn_tf._util.progress import Progress, format_bytes, format_seconds


@pytest.fixture
def clock(monkeypatch):
    """Goes on when told."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def lines(capsys) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_steps(capsys, clock):
    with Progress("Files", 3) as steps:
        steps.advance()
        clock.now += 20
        steps.advance(failed=True)
        steps.advance()
    assert lines(capsys) == ["Files 2/3, 1 failed, 10 s left", "Files 3/3, 1 failed"]


def test_every_step_with_its_rate(capsys, clock):
    with Progress("Runs", 2, every_step=True, unit="runs") as runs:
        clock.now += 30
        runs.advance("first")
    assert lines(capsys) == ["Runs 1/2, 2 runs/min, 30 s left  first"]


def test_bytes_that_were_there_are_not_of_the_rate(capsys, clock):
    with Progress("Downloading", 5_600_000_000, unit="bytes", start=3_600_000_000) as downloading:
        clock.now += 100
        downloading.advance(n=400_000_000)
        clock.now += 400
        downloading.advance(n=1_600_000_000)
    assert lines(capsys) == [
        "Downloading 4.0 GB of 5.6 GB, 4.0 MB/s, 6 min 40 s left",
        "Downloading 5.6 GB of 5.6 GB, 4.0 MB/s",
    ]


def test_bytes_in_vain_leave_no_estimate(capsys, clock):
    with Progress("Downloading", 1000, unit="bytes", start=500) as downloading:
        clock.now += 20
        downloading.advance(n=-500)
    assert lines(capsys) == ["Downloading 0 bytes of 1.0 kB, 0 bytes/s"]


def test_a_total_that_nobody_knows(capsys, clock):
    with Progress("Downloading", None, unit="bytes") as downloading:
        clock.now += 20
        downloading.advance(n=2000)
    with Progress("Files", None) as files:
        clock.now += 20
        files.advance()
    assert lines(capsys) == ["Downloading 2.0 kB, 100 bytes/s", "Files 1"]


@pytest.mark.parametrize("total", [None, 3000])
def test_a_terminal_shows_bytes(monkeypatch, capsys, total):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with Progress("Downloading", total, unit="bytes", start=1000) as downloading:
        downloading.advance(n=2000)
        downloading.advance(n=-1000)
    assert "Downloading" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_940, "999.9 kB"),
        (999_950, "1.0 MB"),
        (5_600_000_000, "5.6 GB"),
        (7 * 10**15, "7000.0 TB"),
    ],
)
def test_bytes_in_words(n_bytes, text):
    assert format_bytes(n_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (18720, "5 h 12 min")]
)
def test_seconds_in_words(seconds, text):
    assert format_seconds(seconds) == text
