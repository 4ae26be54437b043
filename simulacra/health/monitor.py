"""Which alarms stand: evidence comes in as lines of the log, alarms are raised once and end when they are gone."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from simulacra.health import data, networks, terms
from simulacra.health.alarm import ALARMS, Alarm, Kind
from simulacra.health.history import History
from simulacra.health.probe import Probed
from simulacra.health.thresholds import DEFAULT, Thresholds


class Changes(NamedTuple):
    """Alarms that were raised, and those that are over."""

    raised: list[Alarm]
    over: list[str]

    def lines(self, step: int) -> list[dict[str, Any]]:
        """Their lines of the log."""
        return [*(alarm.line for alarm in self.raised), *({"alarm over": name, "at": step} for name in self.over)]


class Monitor:
    """Watches a training of `goal` steps under `objective` on data of `classes` classes, by the lines of its log."""

    def __init__(
        self,
        goal: int,
        objective: str | None = None,
        classes: int | None = None,
        bounds: Thresholds = DEFAULT,
        ignorance: float | None = None,
    ) -> None:
        self.history, self.bounds = History(goal, objective, classes, ignorance), bounds
        self.objective = objective
        self.standing: dict[str, Alarm] = {}
        self.probes: list[Probed] = []  # the first, the one before the latest, the latest
        self._still: dict[str, int] = {}  # players whose weights are what they were at an earlier probe: its step
        self._absent: dict[str, int] = {}
        self._sighted: dict[str, int] = {}  # alarms of probes: at how many in a row
        self._found: list[Alarm] = []  # those of the latest probe
        self._looked = -1

    def remember(self, line: Mapping[str, Any]) -> None:
        """Take a line as evidence, or as what was said of it, and look no further."""
        if "alarm" in line:
            self.standing[line["alarm"]] = Alarm(line["alarm"], line["evidence"], line["advice"], line["at"])
        elif "alarm over" in line:
            self.standing.pop(line["alarm over"], None)
        elif "probe" in line:
            self._probed(Probed.read(line))
        elif "step" in line or line.get("event") in ("rollback", "gave up"):
            self.history.add(line)
            self._looked = self._tick

    def take(self, line: Mapping[str, Any]) -> Changes:
        """Take a line as evidence, and say what changes."""
        looked = self._looked
        self.remember(line)
        if "data" in line:
            facts = data.DataFacts.read(line)
            return self._settle("data", data.detect(facts, self.bounds))
        if "probe" in line:
            return self._settle("probe", self._found)
        late, over = self._told_late(line), []
        if "event" in line or self._looked > looked:
            raised, over = self._settle("terms", terms.detect(self.history, self.bounds))
            late += raised
        return Changes(late, over)

    def _told_late(self, line: Mapping[str, Any]) -> list[Alarm]:
        """What a line of scalars says of the steps before the latest probe, which is taken before it is logged."""
        if not self._still or line.get("step", self.probes[-1].step + 1) > self.probes[-1].step:
            return []
        return self._raise([*networks.frozen(self._seen, self.bounds)])

    @property
    def _tick(self) -> int:
        return int(self.history.step / max(self.bounds.every * self.history.goal, 1))

    @property
    def _seen(self) -> networks.Probes:
        """What the networks' detectors are told."""
        now, history = self.probes[-1], self.history
        still = {name: self._stood(name, since) for name, since in self._still.items()}
        young = self.bounds.young(now.step, history.goal)
        return networks.Probes(now, *self._earlier(), young, self.objective, still)

    def _stood(self, player: str, since: int) -> networks.Still:
        start = self.history.beginning(f"{player}/gradient", self.bounds.start)
        return networks.Still(since, self.history.gradients(player, since), start)

    def _earlier(self) -> tuple[Probed | None, Probed | None]:
        """The probe before the latest, and the first."""
        return (self.probes[-2], self.probes[0]) if len(self.probes) > 1 else (None, None)

    def _probed(self, probed: Probed) -> None:
        last = self.probes[-1] if self.probes else probed
        if last.step < probed.step:
            equal = [name for name, value in probed.weights.items() if value[0] and last.weights.get(name) == value]
            self._still = {name: self._still.get(name, last.step) for name in equal}
        self.probes = [*self.probes[:1], *self.probes[1:][-1:], probed]
        self.history.parameters = int(probed.weights["generator"][0]) if "generator" in probed.weights else None
        self._found = networks.detect(self._seen, self.bounds)
        self._sighted = {alarm.name: self._sighted.get(alarm.name, 0) + 1 for alarm in self._found}

    def _settle(self, kind: Kind, found: list[Alarm]) -> Changes:
        """What is new, and what has been absent for long enough."""
        names = {alarm.name for alarm in found}
        raised = self._raise(
            [alarm for alarm in found if self._sighted.get(alarm.name, alarm.patience) >= alarm.patience]
        )
        before = [name for name in self.standing if name in ALARMS and ALARMS[name].kind == kind]
        self._absent |= {name: 0 if name in names else self._absent.get(name, 0) + 1 for name in before}
        over = [name for name in before if self._absent[name] >= self.bounds.absent]
        for name in over:
            self.standing.pop(name)
            self._absent.pop(name)
        return Changes(raised, over)

    def _raise(self, found: list[Alarm]) -> list[Alarm]:
        """Let those stand that do not yet."""
        raised = [alarm for alarm in found if alarm.name not in self.standing]
        self.standing |= {alarm.name: alarm for alarm in raised}
        return raised
