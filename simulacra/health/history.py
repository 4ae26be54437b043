"""The lines of a log that say how terms went: its first, and those of late, in bounded memory."""

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

MOST = 1000  # lines of late that are kept
LATE = 0.3  # the share of training that they cover
FIRST = 50  # first lines that are kept


class History:
    """Lines of scalars as a training of `goal` steps goes on.

    Under `objective` (a name of `costs.adversarial.OBJECTIVES`, or None) on data of `classes` classes; `ignorance`:
    the recipe's own, where its objective is no choice. `parameters`:
    how many numbers the generator has, None until that is known. At most `MOST` lines of late and `FIRST` first ones
    are kept; `dropped`: the step of the newest line that is no longer of late, 0 if all are.
    """

    def __init__(
        self, goal: int, objective: str | None = None, classes: int | None = None, ignorance: float | None = None
    ) -> None:
        self.goal, self.objective, self.classes, self.ignorance = max(goal, 1), objective, classes, ignorance
        self.parameters: int | None = None
        self.first: list[Mapping[str, Any]] = []
        self.late: deque[Mapping[str, Any]] = deque()
        self.dropped = 0
        self.broken: list[Mapping[str, Any]] = []
        self.step = 0

    def add(self, line: Mapping[str, Any]) -> None:
        """Take a line of scalars, or the event of a rollback."""
        if "step" not in line:
            self.broken.append(line)
            return
        self.step = line["step"]
        if len(self.first) < FIRST:
            self.first.append(line)
        self.late.append(line)
        while len(self.late) > MOST or self.late[0]["step"] < self.step - LATE * self.goal:
            self.dropped = self.late.popleft()["step"]

    def window(self, name: str, share: float, least: int) -> list[float]:
        """The values of a term over the last `share` of training, but `least` at least; none where there are fewer."""
        values = [(line["step"], line[name]) for line in self.late if name in line]
        inside = [value for step, value in values if step > self.step - share * self.goal]
        chosen = inside if len(inside) >= least else [value for _, value in values[-least:]]
        return chosen if len(chosen) >= least else []

    def typical(self, name: str, share: float, least: int) -> float | None:
        """The median of that window."""
        values = self.window(name, share, least)
        return median(values) if values else None

    def gradients(self, player: str, since: int) -> list[float]:
        """Norms of gradients that `player` stepped along after step `since`, by the lines of late that tell of later
        steps alone; none where it rested."""
        name, starts = f"{player}/gradient", [self.dropped, *(line["step"] for line in self.late)]
        return [line[name] for start, line in zip(starts, self.late) if start >= since and name in line]

    def beginning(self, name: str, count: int) -> float | None:
        """The median of a term's first `count` values; None where there are fewer."""
        values = [line[name] for line in self.first if name in line][:count]
        return median(values) if len(values) == count else None
