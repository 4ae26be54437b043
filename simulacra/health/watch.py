"""The observer of a training: asks detectors as it goes on, writes what they say, and tells it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from simulacra.capabilities import HasClasses
from simulacra.data import Source, open_data
from simulacra.errors import MachineError, UserError
from simulacra.health import data
from simulacra.health.monitor import Changes, Monitor
from simulacra.health.probe import Prober
from simulacra.journal import Log
from simulacra.settings import parse_size

if TYPE_CHECKING:
    from simulacra.session import Session


class Watch:
    """Watches the run of a session, by the lines of its `log`; `say` shows a line to people.

    It changes nothing of the training and draws no random number of it. An alarm is written and said once, and again
    only where it was over in between.
    """

    def __init__(self, session: "Session", log: Log, say: Callable[[str], None]) -> None:
        self.session, self.log, self.say = session, log, say
        self._probers: dict[int, Prober] = {}
        self._able = True
        self.monitor = self._monitor()

    @property
    def alarms(self) -> Sequence[str]:
        """The names of the alarms that stand."""
        return [*self.monitor.standing]

    def restart(self, lines: Sequence[Mapping[str, Any]], step: int) -> None:
        """Begin again from the lines that the log has kept up to `step`: know what was known then. Looks at the data
        and at the networks where no line tells of that."""
        self.monitor = self._monitor()
        for line in lines[:-1]:
            self.monitor.remember(line)
        for line in lines[-1:]:  # why it begins again
            self._tell(self.monitor.take(line), step)
        if not any("data" in line for line in lines):
            conditional = isinstance(self.session.plan.model, HasClasses)
            self._note(data.look(self.session.source, conditional).line)
        if not self.monitor.probes and not step:
            self.probe(step)

    def line(self, line: Mapping[str, Any]) -> None:
        """Take the line of scalars that was logged."""
        self._tell(self.monitor.take(line), line["step"])

    def probe(self, step: int) -> None:
        """Look at the networks. Networks that cannot be looked at are told of once: no reason to lose a training."""
        if not self._able:
            return
        try:
            probed = self._prober(step).probe(step)
        except (RuntimeError, TypeError, ValueError, UserError) as error:
            self._able = False
            self.say(f"the networks' health is not looked at ({' '.join(str(error).split())[:200]})")
            return
        self._note(probed.line)

    def _monitor(self) -> Monitor:
        session = self.session
        objective = getattr(session.plan.options, "objective", None)
        classes = len(session.source.spec.classes or ()) or None
        return Monitor(session.goal, objective, classes, ignorance=session.recipe.ignorance)

    def _prober(self, step: int) -> Prober:
        """For the players of the stage that step belongs to."""
        stage = self.session.timeline.at(max(step - 1, 0)).stage
        if stage not in self._probers:
            plan = self.session.plan
            players = {name: player.module for name, player in plan.stages[stage].game.players.items()}
            scored = "discriminator" in players and hasattr(plan.options, "objective")
            pack = getattr(plan.options, "pack", 1)
            self._probers[stage] = Prober(plan.model, players, self.session.source, scored, pack, self._held)
        return self._probers[stage]

    def _held(self) -> Source | None:
        """The test split, where it can be had without much ado."""
        source, options = self.session.source, self.session.options
        if not source.in_memory or not source.word:
            return None
        try:
            size = parse_size(options.size)
            return open_data(
                source.word, split="test", size=size, channels=options.channels, skip_broken=options.skip_broken
            )
        except (UserError, MachineError, OSError):
            return None

    def _note(self, line: Mapping[str, Any]) -> None:
        self.log.write(line)
        self._tell(self.monitor.take(line), line["at"])

    def _tell(self, changes: Changes, step: int) -> None:
        for line in changes.lines(step):
            self.log.write(line)
        for alarm in changes.raised:
            self.say(f"step {step}: alarm: {alarm}")
        for name in changes.over:
            self.say(f"step {step}: {name} is over")
