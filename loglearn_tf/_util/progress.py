"""Progress of long work: reported by libraries, shown by commands."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

# Interval of lines in a log file: often enough to show life, rare enough to read.
_PLAIN_INTERVAL_S = 10.0


@dataclass(frozen=True)
class Step:
    """Progress of a piece of work. The first step reports its start, with `done` equal to `start`.

    Attributes:
        work: Name of the work: `"Features"`, `"Runs"`.
        done: Finished steps, including those in `start`.
        total: Total number of steps; `None` if unknown.
        failed: Failed steps.
        unit: Unit of steps, for a rate: `"runs"`, `"bytes"`; empty if a rate is meaningless.
        start: Steps done earlier.
        text: Result of the last step; usually empty.
    """

    work: str
    done: int
    total: int | None
    failed: int = 0
    unit: str = ""
    start: int = 0
    text: str = ""


OnProgress = Callable[[Step], None]


class Progress:
    """Counts the steps of a piece of work and reports each.

    Args:
        on_progress: Called with every `Step`, in the working thread; `None` for no reports.
        work, total, unit, start: See `Step`.
    """

    def __init__(
        self, on_progress: OnProgress | None, work: str, total: int | None, *, unit: str = "", start: int = 0
    ) -> None:
        self._on_progress = on_progress
        self._work, self._total, self._unit, self._start = work, total, unit, start
        self.done, self._failed = start, 0
        self.advance(n=0)

    def advance(self, text: str = "", *, n: int = 1, failed: bool = False) -> None:
        """Counts one more step, or `n` (negative if work was lost); `text` is its result."""
        self.done += n
        self._failed += failed
        if self._on_progress is not None:
            step = Step(self._work, self.done, self._total, self._failed, self._unit, self._start, text)
            self._on_progress(step)


class ProgressDisplay:
    """Shows steps on stderr: a live line on a terminal, plain lines elsewhere. One piece of work at a time."""

    def __init__(self) -> None:
        self._last: Step | None = None
        self._live: Any = None
        self._task: Any = None
        self._started = self._printed = 0.0

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __call__(self, step: Step) -> None:
        now = time.monotonic()
        last = self._last
        if last is None or step.work != last.work or (step.done == step.start and not step.failed):
            self._open(step, now)
        elif self._live is not None:
            self._live.update(self._task, completed=step.done, count=_count(step), state=self._state(step, now))
            if step.text:
                self._live.console.print(step.text, markup=False, highlight=False)
        elif step.text or step.done == step.total or now - self._printed > _PLAIN_INTERVAL_S:
            self._printed = now
            tail = "".join(f", {part}" for part in (self._state(step, now), self._left(step, now)) if part)
            text = f"  {step.text}" if step.text else ""
            print(f"{step.work} {_count(step)}{tail}{text}", file=sys.stderr, flush=True)
        self._last = step
        if step.done == step.total:
            self._close()  # normal output must not be redirected by the live line

    def _open(self, step: Step, now: float) -> None:
        self._close()
        self._started = self._printed = now
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._live = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[count]}"),
                TextColumn("{task.fields[state]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                # TensorFlow writes directly to the file descriptors, bypassing rich; its messages are disabled
                # elsewhere.
                redirect_stdout=True,
                redirect_stderr=True,
            )
            self._task = self._live.add_task(
                step.work, total=step.total, completed=step.done, count=_count(step), state=""
            )
            self._live.start()

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
        self._live = self._last = None

    def _left(self, step: Step, now: float) -> str:
        gained = step.done - step.start
        if step.total is None or step.done >= step.total or gained <= 0:
            return ""
        return f"{format_seconds((now - self._started) / gained * (step.total - step.done))} left"

    def _state(self, step: Step, now: float) -> str:
        """Failures and rate, if any."""
        failed = f"{step.failed} failed" if step.failed else ""
        per_second = max(step.done - step.start, 0) / max(now - self._started, 1e-9)
        if step.unit == "bytes":
            rate = f"{format_bytes(round(per_second))}/s"
        else:
            rate = f"{60 * per_second:.3g} {step.unit}/min" if step.unit else ""
        return ", ".join(part for part in (failed, rate) if part)


def _count(step: Step) -> str:
    if step.unit != "bytes":
        return str(step.done) if step.total is None else f"{step.done}/{step.total}"
    return format_bytes(step.done) + ("" if step.total is None else f" of {format_bytes(step.total)}")


def format_seconds(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `5 h 12 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def format_bytes(n_bytes: int) -> str:
    """`812 bytes`, `45.2 kB`, `5.6 GB`: in powers of 1000, as used for downloads and disks."""
    value, unit = float(n_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.95:
            break
        value, unit = value / 1000, larger
    return f"{n_bytes} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
