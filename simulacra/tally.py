"""Progress of work that is counted in rows: a bar on a terminal, a line per task in a pipe."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Tally:
    """Progress for nobody, and what the other two are."""

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[None]:
        """Inside, `add` counts towards the `total` rows of a task."""
        yield

    def add(self, rows: int) -> None:
        """So many rows more are done."""

    def say(self, text: str) -> None:
        """One line that stays."""


class Lines(Tally):
    """Progress in a pipe: one line on stderr as each task begins."""

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[None]:
        """A line."""
        self.say(f"{title}: {total:,}")
        yield

    def say(self, text: str) -> None:
        """One line to stderr."""
        print(text, file=sys.stderr, flush=True)


class Bars(Tally):
    """Progress on a terminal: a bar for the task at hand, with the rows done, the speed and the time left."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._bar: Any = None

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[None]:
        """A bar until the task is done."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True) as self._bar:
            self._task = self._bar.add_task(title, total=total)
            yield

    def add(self, rows: int) -> None:
        """Move the bar."""
        self._bar.advance(self._task, rows)

    def say(self, text: str) -> None:
        """One line above the bar."""
        self._console.print(text, markup=False, highlight=False)


def tally(quiet: bool = False) -> Tally:
    """The display that suits where stderr goes."""
    if quiet:
        return Tally()
    return Bars() if sys.stderr.isatty() else Lines()
