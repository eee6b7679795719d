"""How far a long piece of work is: a live line on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any

# Lines in a log file: often enough to see life, seldom enough to read.
_PLAIN_INTERVAL_S = 10.0


class Progress:
    """Counts steps of known number, with an estimate of the time left.

    Args:
        title: What is being done.
        total: Number of steps; `None` where nobody knows it, which leaves the estimate out.
        every_step: Off a terminal, whether each step's text gets its line.
        unit: Of the rate, as `"runs"` for `4.2 runs/min`; without one, no rate is shown. `"bytes"` are shown as
            `1.2 GB` and their rate per second.
        start: Steps that were done before; the rate leaves them out.
    """

    def __init__(
        self, title: str, total: int | None, *, every_step: bool = False, unit: str = "", start: int = 0
    ) -> None:
        self.title = title
        self.total = total
        self.every_step = every_step
        self.unit = unit
        self.start = self.done = start
        self.failed = 0
        self._started = self._printed = time.monotonic()
        self._live: Any = None

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._live = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn() if self.unit == "bytes" else MofNCompleteColumn(),
                TextColumn("{task.fields[state]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                # TensorFlow writes to the descriptors, past rich; its noise is switched off elsewhere.
                redirect_stdout=True,
                redirect_stderr=True,
            )
            self._task = self._live.add_task(self.title, total=self.total, completed=self.start, state="")
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def advance(self, text: str = "", *, n: int = 1, failed: bool = False) -> None:
        """One more step is done, or `n`, below 0 where some were in vain; `text` says what it gave."""
        self.done += n
        self.failed += failed
        now = time.monotonic()
        if self._live is not None:
            self._live.update(self._task, advance=n, state=self._state(now))
            if self.every_step and text:
                self._live.console.print(text, markup=False, highlight=False)
            return
        if self.every_step or self.done == self.total or now - self._printed > _PLAIN_INTERVAL_S:
            self._printed = now
            tail = "".join(f", {part}" for part in (self._state(now), self._left(now)) if part)
            print(f"{self.title} {self._count()}{tail}{'  ' + text if text else ''}", file=sys.stderr, flush=True)

    def _count(self) -> str:
        if self.unit != "bytes":
            return str(self.done) if self.total is None else f"{self.done}/{self.total}"
        return format_bytes(self.done) + ("" if self.total is None else f" of {format_bytes(self.total)}")

    def _left(self, now: float) -> str:
        gained = self.done - self.start
        if self.total is None or self.done >= self.total or gained <= 0:
            return ""
        return f"{format_seconds((now - self._started) / gained * (self.total - self.done))} left"

    def _state(self, now: float) -> str:
        """Failures and rate, where there is something to say."""
        failed = f"{self.failed} failed" if self.failed else ""
        per_second = max(self.done - self.start, 0) / max(now - self._started, 1e-9)
        if self.unit == "bytes":
            rate = f"{format_bytes(round(per_second))}/s"
        else:
            rate = f"{60 * per_second:.3g} {self.unit}/min" if self.unit else ""
        return ", ".join(part for part in (failed, rate) if part)


def format_seconds(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `5 h 12 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def format_bytes(n_bytes: int) -> str:
    """`812 bytes`, `45.2 kB`, `5.6 GB`: in powers of 1000, as the servers of data sets and disks count."""
    value, unit = float(n_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.95:
            break
        value, unit = value / 1000, larger
    return f"{n_bytes} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
