"""What can be said of a run from its folder, be it finished, going on or without a word on its health."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulacra.errors import UserError
from simulacra.health import reading
from simulacra.health.alarm import Alarm
from simulacra.health.monitor import Monitor
from simulacra.health.thresholds import DEFAULT, Thresholds
from simulacra.journal import Log
from simulacra.runfolder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What a run is, how far it is, the alarms that stand, those that are over (as far as the log tells), and what its
    numbers mean. `watched`: whether alarms were looked for while it trained; otherwise they are those of its terms."""

    run: str
    about: str
    state: str
    step: int
    goal: int
    watched: bool
    alarms: list[Alarm]
    over: list[Alarm]
    reading: list[str]

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return vars(self) | {"alarms": [a._asdict() for a in self.alarms], "over": [a._asdict() for a in self.over]}


def diagnose(folder: str | Path, bounds: Thresholds = DEFAULT) -> Diagnosis:
    """Look at the run in `folder`. Raises UserError where there is none, or its record or log cannot be read."""
    path = Path(folder).expanduser()
    record, lines = _record(path), lines_of(path)
    watched = any(name in line for line in lines for name in ("data", "probe", "alarm"))
    monitor = replay(record, lines, bounds, again=not watched)
    raised = {line["alarm"]: line for line in lines if "alarm" in line}
    over = [Alarm(n, x["evidence"], x["advice"], x["at"]) for n, x in raised.items() if n not in monitor.standing]
    return Diagnosis(
        run=str(path),
        about=f"{record['recipe']} on {record['data']['summary']}",
        state=_state(record, lines),
        step=monitor.history.step,
        goal=monitor.history.goal,
        watched=watched,
        alarms=[*monitor.standing.values()],
        over=over,
        reading=_reading(monitor, record, bounds),
    )


def replay(
    record: Mapping[str, Any], lines: list[dict[str, Any]], bounds: Thresholds = DEFAULT, again: bool = True
) -> Monitor:
    """A run's monitor after all lines of its log. `again`: alarms are found once more from the evidence, within
    `bounds`; otherwise they are as the log has them."""
    monitor = fresh_monitor(record, bounds)
    for line in lines:
        if not again:
            monitor.remember(line)
        elif "alarm" not in line and "alarm over" not in line:
            monitor.take(line)
    return monitor


def fresh_monitor(record: Mapping[str, Any], bounds: Thresholds = DEFAULT) -> Monitor:
    """The monitor of the run of a `recipe.json`, before any line."""
    goal, objective = record["budget"]["steps"] or record["horizon"], record["options"].get("objective")
    classes = len(record["data"]["spec"].get("classes") or ()) or None
    return Monitor(goal, objective, classes, bounds, record.get("ignorance"))


def _record(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise UserError(f"{path} is no folder: give a run's, which `simulacra train --out` made")
    try:
        record = RunFolder(path).record()
    except UserError as error:
        reason = str(error).removesuffix(": choose another --out")
        raise UserError(f"{reason}: the folder is damaged, or not a run's") from None
    if record is None:
        raise UserError(f"{path} is no run, it has no recipe.json: give the folder that `simulacra train --out` made")
    return record


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log that can be understood. Raises UserError where it cannot be read."""
    try:
        lines = Log(path).lines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path / 'log.jsonl'} cannot be read ({error}): the folder is damaged") from None
    return [line for line in lines if isinstance(line, dict) and _sound(line)]


def _sound(line: Mapping[str, Any]) -> bool:
    """Whether its parts are what a reader of it takes them for."""
    if "step" in line:
        return all(isinstance(value, int | float) for value in line.values())
    kinds = {"alarm": str, "alarm over": str, "probe": dict, "data": dict, "event": str}
    whole = not {"alarm", "evidence"} & set(line) or {"alarm", "evidence", "advice", "at"} <= set(line)
    return whole and all(isinstance(line[name], kind) for name, kind in kinds.items() if name in line)


def _state(record: Mapping[str, Any], lines: list[dict[str, Any]]) -> str:
    ended = record["ended"]
    if lines and lines[-1].get("event") == "gave up":
        return f"gave up: {lines[-1].get('reason', 'it diverged')}"
    if ended and ended.get("signal"):
        return f"stopped by signal {ended['signal']} after {ended.get('seconds', 0):,.0f} s; the same command goes on"
    if ended:
        return f"finished after {ended.get('seconds', 0):,.0f} s of training"
    times = [line["time"] for line in lines if "time" in line]
    since = f"{max(time.time() - times[-1], 0):,.0f} s ago" if times else "never"
    return f"going on, or killed: it last wrote to its log {since}"


def _reading(monitor: Monitor, record: Mapping[str, Any], bounds: Thresholds) -> list[str]:
    history, bounds = monitor.history, bounds.model_copy(update={"lines": 1})
    if not history.first:
        return ["nothing has been logged yet"]
    if any(name.startswith("discriminate/") for name in history.late[-1]):
        newest, alarms = monitor.probes[-1] if monitor.probes else None, monitor.standing
        samples = reading.of_samples(newest, history.goal, alarms, bounds)
        return [*reading.of_game(history, alarms, bounds), *samples]
    return [*reading.of_one_player(history, bounds)]
