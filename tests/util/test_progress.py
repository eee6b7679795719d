"""How far a long piece of work is: what is told of it, and what is shown."""

import pytest

from loglearn_tf._util import progress
from loglearn_tf._util.progress import Progress, ProgressDisplay, Step, format_bytes, format_seconds


@pytest.fixture
def clock(monkeypatch):
    """Goes on when told."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def lines(capsys) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_each_step_is_told_and_the_first_that_work_begins():
    told: list[Step] = []
    runs = Progress(told.append, "Runs", 5, unit="runs", start=2)
    runs.advance("good")
    runs.advance(failed=True)
    runs.advance(n=-1)
    assert told == [
        Step("Runs", 2, 5, 0, "runs", 2),
        Step("Runs", 3, 5, 0, "runs", 2, "good"),
        Step("Runs", 4, 5, 1, "runs", 2),
        Step("Runs", 3, 5, 1, "runs", 2),
    ]


def test_nobody_needs_to_listen(capsys):
    Progress(None, "Runs", 1).advance("good")
    assert capsys.readouterr() == ("", "")


def test_one_work_after_another_each_with_its_own_rate(capsys, clock):
    with ProgressDisplay() as show:
        for n_steps in (2, 1):
            again = Progress(show, "Clips", n_steps, unit="clips")
            for _ in range(n_steps):
                clock.now += 30
                again.advance()
        other = Progress(show, "Runs", 2, unit="runs")
        clock.now += 60
        other.advance()
    assert lines(capsys) == [
        "Clips 1/2, 2 clips/min, 30 s left",
        "Clips 2/2, 2 clips/min",
        "Clips 1/1, 2 clips/min",
        "Runs 1/2, 1 runs/min, 1 min 0 s left",
    ]


def test_steps(capsys, clock):
    with ProgressDisplay() as show:
        steps = Progress(show, "Files", 3)
        steps.advance()
        clock.now += 20
        steps.advance(failed=True)
        steps.advance()
    assert lines(capsys) == ["Files 2/3, 1 failed, 10 s left", "Files 3/3, 1 failed"]


def test_every_step_with_its_rate(capsys, clock):
    with ProgressDisplay() as show:
        runs = Progress(show, "Runs", 2, unit="runs")
        clock.now += 30
        runs.advance("first")
    assert lines(capsys) == ["Runs 1/2, 2 runs/min, 30 s left  first"]


def test_bytes_that_were_there_are_not_of_the_rate(capsys, clock):
    with ProgressDisplay() as show:
        downloading = Progress(show, "Downloading", 5_600_000_000, unit="bytes", start=3_600_000_000)
        clock.now += 100
        downloading.advance(n=400_000_000)
        clock.now += 400
        downloading.advance(n=1_600_000_000)
    assert lines(capsys) == [
        "Downloading 4.0 GB of 5.6 GB, 4.0 MB/s, 6 min 40 s left",
        "Downloading 5.6 GB of 5.6 GB, 4.0 MB/s",
    ]


def test_bytes_in_vain_leave_no_estimate(capsys, clock):
    with ProgressDisplay() as show:
        downloading = Progress(show, "Downloading", 1000, unit="bytes", start=500)
        clock.now += 20
        downloading.advance(n=-500)
    assert lines(capsys) == ["Downloading 0 bytes of 1.0 kB, 0 bytes/s"]


def test_a_total_that_nobody_knows(capsys, clock):
    with ProgressDisplay() as show:
        downloading = Progress(show, "Downloading", None, unit="bytes")
        clock.now += 20
        downloading.advance(n=2000)
    with ProgressDisplay() as show:
        files = Progress(show, "Files", None)
        clock.now += 20
        files.advance()
    assert lines(capsys) == ["Downloading 2.0 kB, 100 bytes/s", "Files 1"]


def test_what_is_printed_after_a_work_goes_where_it_belongs(monkeypatch, capsys):
    """On a terminal the live line holds stdout, too, while it is there."""
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with ProgressDisplay() as show:
        Progress(show, "Runs", 1).advance("good")
        print("table")
    assert capsys.readouterr().out == "table\n"


@pytest.mark.parametrize("total", [None, 3000])
def test_a_terminal_shows_bytes(monkeypatch, capsys, total):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with ProgressDisplay() as show:
        downloading = Progress(show, "Downloading", total, unit="bytes", start=1000)
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
