"""How far a sweep is: a live display on a terminal, a plain line every few seconds elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 5.0


@dataclass
class Count:
    """What a sweep has done so far.

    Attributes:
        total: points asked for.
        recorded: of these, points that were recorded before.
        measured: points measured now.
        failed: points that could not be measured.
        compiled: programs compiled.
        began: when, by the monotonic clock.
        first: when the first results came, and how many: by then a program had been compiled.
    """

    total: int
    recorded: int
    measured: int = 0
    failed: int = 0
    compiled: int = 0
    began: float = field(default_factory=time.monotonic)
    first: tuple[float, int] | None = None

    def add(self, measured: int, failed: int, compiled: int) -> None:
        """Count what has come.

        Args:
            measured: points, more than before.
            failed: points, more than before.
            compiled: programs, in all.
        """
        self.measured += measured
        self.failed += failed
        self.compiled = compiled
        if self.first is None and measured + failed:
            self.first = (time.monotonic(), self.seen)

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the points after the first; None while there is none."""
        if self.first is None or self.seen == self.first[1]:
            return None
        speed = (self.seen - self.first[1]) / (time.monotonic() - self.first[0])
        return (self.total - self.seen) / speed

    @property
    def seen(self) -> int:
        """Points that need not be waited for."""
        return self.recorded + self.measured + self.failed

    @property
    def speed(self) -> float:
        """Points per second, compilation included."""
        return (self.measured + self.failed) / max(time.monotonic() - self.began, 1e-9)

    @property
    def pace(self) -> str:
        """The speed in words; of trainings, which take long, its inverse."""
        if self.speed >= 0.1 or not self.speed:
            return f"{self.speed:.1f} points/s"
        return f"{1 / self.speed:.0f} s/point"

    def line(self) -> str:
        """The count in words."""
        parts = [f"{self.seen}/{self.total} points", f"{self.compiled} programs compiled"]
        if self.speed:
            parts.append(self.pace)
        if self.seconds_left:
            parts.append(f"{self.seconds_left:.0f} s left")
        return ", ".join([*parts, f"{self.failed} failed"] if self.failed else parts)

    def summary(self) -> str:
        """The count at the end."""
        seconds = time.monotonic() - self.began
        parts = [
            f"{self.measured} points measured in {seconds:.1f} s",
            f"{self.recorded} were already recorded",
            f"{self.compiled} programs compiled",
        ]
        return ", ".join([*parts, f"{self.failed} failed"] if self.failed else parts) + "."


@contextmanager
def shown(console: Console, count: Count) -> Iterator:
    """Show a count while it changes.

    Args:
        console: where.
        count: what.

    Yields:
        A function to call when the count has changed, with what is running.
    """
    if not console.is_terminal:
        yield _plain_lines(console, count)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TextColumn("{task.fields[compiled]} programs"),
        TextColumn("[red]{task.fields[failed]} failed", justify="right"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        fields = {"pace": count.pace, "compiled": 0, "failed": 0}
        task = bar.add_task("compiling", total=count.total, completed=count.recorded, **fields)

        def update(what: str) -> None:
            fields = {"pace": count.pace, "compiled": count.compiled, "failed": count.failed}
            bar.update(task, completed=count.seen, description=what, **fields)

        yield update


def _plain_lines(console: Console, count: Count):
    """Say how far it is from time to time, and at the end."""
    last, seen = count.began, -1

    def update(what: str) -> None:
        nonlocal last, seen
        now = time.monotonic()
        at_the_end = count.seen == count.total != seen
        if now - last > SECONDS_BETWEEN_LINES or at_the_end:
            last, seen = now, count.seen
            console.print(f"{count.line()}: {what}", soft_wrap=True)

    return update
