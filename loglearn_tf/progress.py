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
        total: Number of steps.
        every_step: Off a terminal, whether each step's text gets its line.
        unit: Of the rate, as `"runs"` for `4.2 runs/min`; without one, no rate is shown.
    """

    def __init__(self, title: str, total: int, *, every_step: bool = False, unit: str = "") -> None:
        self.title = title
        self.total = total
        self.every_step = every_step
        self.unit = unit
        self.done = 0
        self.failed = 0
        self._started = self._printed = time.monotonic()
        self._live: Any = None

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._live = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[state]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                # TensorFlow writes to the descriptors, past rich; its noise is switched off elsewhere.
                redirect_stdout=True,
                redirect_stderr=True,
            )
            self._task = self._live.add_task(self.title, total=self.total, state="")
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def advance(self, text: str = "", *, failed: bool = False) -> None:
        """One more step is done; `text` says what it gave."""
        self.done += 1
        self.failed += failed
        now = time.monotonic()
        if self._live is not None:
            self._live.update(self._task, advance=1, state=self._state(now))
            if self.every_step and text:
                self._live.console.print(text, markup=False, highlight=False)
            return
        if self.every_step or self.done == self.total or now - self._printed > _PLAIN_INTERVAL_S:
            self._printed = now
            left_s = (now - self._started) / self.done * (self.total - self.done)
            left = f"{format_seconds(left_s)} left" if self.done < self.total else ""
            tail = ", ".join(part for part in (self._state(now), left) if part)
            line = f"{self.title} {self.done}/{self.total}{', ' + tail if tail else ''}{'  ' + text if text else ''}"
            print(line, file=sys.stderr, flush=True)

    def _state(self, now: float) -> str:
        """Failures and rate, where there is something to say."""
        failed = f"{self.failed} failed" if self.failed else ""
        per_minute = 60 * self.done / max(now - self._started, 1e-9)
        rate = f"{per_minute:.3g} {self.unit}/min" if self.unit else ""
        return ", ".join(part for part in (failed, rate) if part)


def format_seconds(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `5 h 12 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"
