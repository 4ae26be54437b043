"""What a run says while it trains: `log.jsonl`, TensorBoard events, and progress for people."""

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO


class Log:
    """`log.jsonl`: one line of scalars per logged step, and lines of events without a step of their own, some of which
    say which step they are `at`.

    Every line is flushed, so a killed process loses none that it wrote.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.jsonl"
        self._file: TextIO | None = None

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one line."""
        if self._file is None:
            self._file = self.path.open("a")
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def lines(self) -> list[dict[str, Any]]:
        """All lines that are whole."""
        return [line for line in map(_parse, self.path.read_text().splitlines()) if line] if self.path.exists() else []

    def cut(self, step: int) -> list[dict[str, Any]]:
        """Drop every line past `step`; the lines that stay."""
        self.close()
        kept = [line for line in self.lines() if line.get("step", line.get("at", 0)) <= step]
        beside = self.path.with_suffix(".partial")
        beside.write_text("".join(json.dumps(line) + "\n" for line in kept))
        beside.replace(self.path)
        return kept

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._file is not None:
            self._file.close()
        self._file = None


def _parse(text: str) -> dict[str, Any] | None:
    """A line, or None where a kill tore it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


class Events:
    """TensorBoard's rendering of the log, in `tensorboard/`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tensorboard"
        self._writer: Any = None

    def add(self, line: Mapping[str, Any]) -> None:
        """Add one line of the log."""
        if "step" not in line:
            return
        for name, value in line.items():
            if name not in ("step", "time"):
                self._open().add_scalar(name, value, line["step"], walltime=line["time"])

    def restart(self, lines: list[dict[str, Any]]) -> None:
        """Begin again from `lines`: what a rollback or a resume cut away is gone here too."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        for line in lines:
            self.add(line)

    def _open(self) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder))
        return self._writer

    def close(self) -> None:
        """Flush what is pending."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None


class Standing(NamedTuple):
    """How a run stands: the step reached, images per second, seconds left, the newest terms, the alarms that stand."""

    step: int
    speed: float
    left: float
    terms: Mapping[str, float]
    alarms: Sequence[str] = ()

    def facts(self, total: int | None) -> str:
        """Step, speed and time left; `total` steps, or None under a time budget."""
        reached = str(self.step) if total is None else f"{self.step}/{total}"
        return f"{reached}  {self.speed:,.0f} images/s  ETA {clock_face(self.left)}"

    @property
    def words(self) -> str:
        """Alarms, then terms, gradients left out; without the names of their moves, but where several have one of a
        name."""
        terms = {name: value for name, value in self.terms.items() if not name.endswith("/gradient")}
        short = {name: name.split("/", 1)[1] for name in terms}
        several = {name for name, count in Counter(short.values()).items() if count > 1}
        shown = {name if own in several else own: terms[name] for name, own in short.items()}
        return "  ".join([*(f"!{name}" for name in self.alarms), *(f"{n} {value:.4g}" for n, value in shown.items())])


class Progress(Protocol):
    """Shows how far a run is."""

    def show(self, now: Standing) -> None:
        """How the run stands."""
        ...

    def say(self, text: str) -> None:
        """One line that stays."""
        ...

    def close(self) -> None:
        """Leave the screen in order."""
        ...


class Silent:
    """Progress for nobody: the other ranks, and runs that are told to be quiet."""

    def show(self, now: Standing) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Plain:
    """Progress for a pipe: a line every few seconds. `total` steps, or None under a time budget."""

    def __init__(self, total: int | None, every_seconds: float = 5.0) -> None:
        self.total, self.every, self._last = total, every_seconds, 0.0

    def show(self, now: Standing) -> None:
        """A line, if the last one is old enough or this is the end."""
        moment = time.monotonic()
        if moment - self._last < self.every and now.step != self.total:
            return
        self._last = moment
        self.say(f"step {now.facts(self.total)}  {now.words}")

    def say(self, text: str) -> None:
        """One line to stderr."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is open."""


class Live:
    """Progress for a terminal: a line with bar, step, speed and time left, and the terms as far as there is room."""

    def __init__(self, total: int | None, title: str, start: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar
        from rich.table import Column

        def text(field: str, room: Column) -> TextColumn:
            return TextColumn(f"{{task.fields[{field}]}}", markup=False, table_column=room)

        fixed = Column(no_wrap=True)
        columns = (
            TextColumn("{task.description}", table_column=fixed),
            BarColumn(bar_width=10, table_column=fixed),
            text("facts", fixed),
            text("terms", Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        )
        self.total = total
        self._bar = Bar(*columns, console=Console(stderr=True), refresh_per_second=4, expand=True)
        self._task = self._bar.add_task(title, total=total, completed=start, facts="", terms="")
        self._bar.start()

    def show(self, now: Standing) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=now.step, facts=now.facts(self.total), terms=now.words)

    def say(self, text: str) -> None:
        """One line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Stop the bar."""
        self._bar.stop()


def clock_face(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def progress(total: int | None, title: str, start: int, quiet: bool) -> Progress:
    """The progress display that suits where stderr goes."""
    if quiet:
        return Silent()
    return Live(total, title, start) if sys.stderr.isatty() else Plain(total)
