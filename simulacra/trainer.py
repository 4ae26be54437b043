"""The loop: data → game.step → log, preview, checkpoint; stages, resuming, and what to do when things go wrong."""

import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from simulacra import artifact, checkpoint, figures
from simulacra.data import Feed
from simulacra.distributed import Ranks, agreed, any_rank, barrier, broadcast, launched
from simulacra.errors import MachineError, UserError
from simulacra.game import Clock, NonFinite, Stage, Table, split
from simulacra.health.alarm import ALARMS
from simulacra.health.watch import Watch
from simulacra.interruption import Interruption
from simulacra.journal import Events, Log, Progress, Silent, Standing, clock_face, progress
from simulacra.keeping import Keeper
from simulacra.memory import doubling, micro_batches_that_fit
from simulacra.models.base import Model
from simulacra.precision import autocast
from simulacra.runfolder import environment
from simulacra.scorebook import ScoreBook
from simulacra.session import Session, has_convolutions
from simulacra.warmstart import warm_start

PREPARED, PREPARED_NUMBERS = 10_000, 2**25  # rows at most for `Plan.prepare`, a fair choice, and numbers in them
LOOKED_AT = 64  # rows, by which data are called grey


class Run(NamedTuple):
    """A run as it was left: its folder, the step and seconds of training it is at, the last terms, the model (with
    the weights it is judged by), and the signal that interrupted it, if one did."""

    folder: Path
    step: int
    seconds: float
    terms: Mapping[str, float]
    model: Model
    interrupted: int | None


class Trainer:
    """Plays a session's stages to the end of its budget."""

    def __init__(self, session: Session, interruption: Interruption) -> None:
        self.session, self.interruption = session, interruption
        self.options, self.plan, self.folder = session.options, session.plan, session.folder
        self.step = self.attempt = self.tries = 0
        self.elapsed = 0.0
        self.terms: dict[str, float] = {}
        precision = autocast(session.precision, session.device)
        self.table = (Ranks if launched() else Table)(self.options.micro_batches, precision)
        self.log, self.events = Log(self.folder.path), Events(self.folder.path)
        self.progress: Progress = Silent()
        self.keeper = Keeper(session, self.table)
        self.watch = Watch(session, self.log, self._say)
        self._feed: tuple[int, Feed] | None = None
        self._began = 0.0
        self._marked = (0.0, 0)  # when and at which step the speed was last taken
        self._resumed = 0.0  # seconds of training when this process, or its last rollback, began
        self._done: dict[str, float] = {}  # seconds of training at the last preview, and at the last evaluation
        self._pending: dict[str, float] = {}  # the newest value of every term since the last line of the log

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.table.rank == 0

    def run(self) -> Run:
        """Train from where the folder is to the end of the budget, or until interrupted."""
        self.plan.check_parts(self.table.size, self.options.micro_batches)
        if self.leads:
            self.folder.prepare()
        barrier(self.table)
        with self.folder.locked() if self.leads else nullcontext():
            self._start()
            try:
                self._play()
            finally:
                self.progress.close()
                self._close()
            return self._finish()

    # Starting

    def _start(self) -> None:
        lines: list[str] = []
        found = checkpoint.newest(self.folder.checkpoints, lines.append)
        self.attempt = max((line.get("attempt", 0) for line in self.log.lines()), default=0)
        if self.plan.prepare and not found:
            self.plan.prepare(self._first_rows(PREPARED))
        if self.table.size > 1:
            broadcast([player.module for player in self.plan.players.values()])
        for each in self.plan.stages:
            each.game.reset(self.table)
        if (origin := self.session.record["from"]) and not found:
            lines += warm_start(self.plan.players, origin, self.plan.model)
        if found:
            self._take_over(found)
        if self._evaluates and self.leads:
            from simulacra.training_scores import check  # and all measures with it

            check(self.session)
        self._show_progress()
        for line in (*self._facts(), *lines, *([f"going on from step {self.step}"] if self.step else [])):
            self._say(line)
        if self.leads:
            self.folder.write("recipe.json", self.session.record)
            self.folder.write(
                "environment.json", environment(self.session.device, torch.get_num_threads(), self.table.size)
            )
            self._restart_log("resume" if found else "start")
        if not found:
            self._save()

    def _first_rows(self, most: int) -> Tensor:
        """Rows of the training data, as a batch has them: at most so many, and no more than are little memory."""
        source = self.session.source
        count = min(len(source), most, max(PREPARED_NUMBERS // source.spec.numel, 2))
        return Feed(source, seed=self.options.seed, batch=count, device=self.session.device).at(0).x

    def _facts(self) -> Iterator[str]:
        plan = self.plan
        sizes = ", ".join(f"{n} {sum(p.numel() for p in x.parameters):,}" for n, x in plan.players.items())
        yield f"{self.session.recipe.name} on {self.session.source.summary}"
        if self.session.goal > self.session.horizon and not self.session.horizon_minutes:
            yield f"schedules ended at step {self.session.horizon}; --horizon {self.session.goal} would stretch them"
        double = {p.dtype for p in plan.model.parameters()} == {torch.float64}  # autocast leaves them so
        precision = "float64" if double else self.session.precision
        yield f"parameters: {sizes}; batch {plan.batch}; {precision} on {self.session.device}"
        if (made := plan.model.sees) and (self._first_rows(LOOKED_AT).abs() < 1.0).any():
            yield made

    def _show_progress(self) -> None:
        quiet = self.options.quiet or not self.leads
        self.progress = progress(self.session.steps, self.session.recipe.name, self.step, quiet)

    def _take_over(self, found: checkpoint.Checkpoint) -> None:
        """Be where a checkpoint was."""
        facts = found.facts
        if not {"stage", "attempt", "seconds", "pending"} <= set(facts):
            raise UserError(f"the checkpoint in {self.folder.path} is not of a run: choose another --out")
        for each in self.plan.stages:
            each.game.reset(self.table)
        stage = self.plan.stages[facts["stage"]]
        if self.session.timeline.at(facts["step"]).stage != facts["stage"]:
            raise UserError(
                f"--horizon {self.session.horizon} would put step {facts['step']} in another stage: leave it"
            )
        try:
            checkpoint.restore(found.tensors, self.plan.players, stage.game, self.table)
        except (RuntimeError, KeyError, IndexError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"the checkpoint in {self.folder.path} is not of this run ({reason})") from None
        self.step, self.attempt = facts["step"], max(self.attempt, facts["attempt"])
        self.elapsed = self._resumed = facts["seconds"]
        self._done = {}
        self._pending = dict(facts["pending"])

    def _restart_log(self, event: str, **facts: Any) -> None:
        """Cut log and events back to this step and say why."""
        checkpoint.drop_after(self.folder.checkpoints, self.step)
        ScoreBook(self.folder.path).cut(self.step)
        lines = self.log.cut(self.step)
        self.events.restart(lines)
        lines.append({"event": event, "from": self.step, "attempt": self.attempt, "time": time.time(), **facts})
        self.log.write(lines[-1])
        self.watch.restart(lines, self.step)

    # The loop

    def _play(self) -> None:
        options = self.options
        self._began = time.monotonic() - self.elapsed
        self._marked = (time.monotonic(), self.step)
        while not self._is_over():
            try:
                self.terms = self._step()
            except NonFinite as error:
                self._roll_back(error)
                continue
            self.step += 1
            self._pending |= self.terms
            self.elapsed = time.monotonic() - self._began
            if self._evaluates and self._is_due(options.evaluate_every, "evaluation"):
                self._evaluate()
            if self._is_due(options.preview_every, "preview"):
                self._preview()
            if self.step % options.log_every == 0 or self.step == self.session.steps:
                self._tell()
            if self._is_due(options.checkpoint_every, "checkpoint"):
                self._save()
                self.tries = 0
        if self._evaluates and self.interruption.number is None:
            self._evaluate_last()

    def _is_due(self, every: int | None, what: str) -> bool:
        """Every so many steps where that was asked for, else ten times over the budget, in its unit."""
        if every or self.session.minutes is None:
            return self.step % (every or max(self.session.horizon // 10, 1)) == 0
        due = any_rank(self.table, self.elapsed - self._done.get(what, self._resumed) >= 6.0 * self.session.minutes)
        if due:
            self._done[what] = self.elapsed
        return due

    def _is_over(self) -> bool:
        steps, minutes = self.session.steps, self.session.minutes
        spent = (steps is not None and self.step >= steps) or (minutes is not None and self.elapsed >= 60 * minutes)
        return any_rank(self.table, spent or self.interruption.number is not None)

    def _step(self, table: Table | None = None) -> dict[str, float]:
        number, local, share = self.session.timeline.at(self.step)
        if self.session.horizon_minutes:  # schedules run over time; ranks go by the same clock
            share = agreed(self.table, min(self.elapsed / (60.0 * self.session.horizon_minutes), 1.0))
        stage = self.plan.stages[number]
        feed, first = self._feed_of(number, stage), local * stage.game.batches_per_step
        clock = Clock(self.options.seed, number, local, self.attempt, share)
        return stage.game.step(lambda k: stage.view(feed.at(first + k)), clock, table or self.table)

    def _feed_of(self, number: int, stage: Stage) -> Feed:
        if self._feed is None or self._feed[0] != number:
            self._close()
            self._feed = (number, self._open_feed(number, stage))
        return self._feed[1]

    def _open_feed(self, number: int, stage: Stage) -> Feed:
        return Feed(
            self.session.source,
            seed=self.options.seed,
            stage=number,
            batch=self.plan.batch,
            rank=self.table.rank,
            ranks=self.table.size,
            device=self.session.device,
            workers=self.options.workers,
            mirror=self.options.mirror,
            full_passes=stage.full_passes > 0,
            channels_last=any(has_convolutions(player.module) for player in stage.game.players.values()),
            beside=self.session.beside,
        )

    def _close(self) -> None:
        if self._feed is not None:
            self._feed[1].close()
            self._feed = None
        self.log.close()
        self.events.close()

    # Telling

    def _tell(self) -> None:
        if not self.leads:
            return
        now, (then, before) = time.monotonic(), self._marked
        images_seen = (self.step - before) * self.plan.batch * self._stage.game.batches_per_step
        speed = images_seen / max(now - then, 1e-9)
        self._marked = (now, self.step)
        line = {"step": self.step, "time": time.time(), "images_per_second": round(speed, 1), **self._pending}
        self._pending = {}
        self.log.write(line)
        self.events.add(line)
        self.watch.line(line)
        self.progress.show(Standing(self.step, speed, self._seconds_left(speed), self.terms, self.watch.alarms))

    def _seconds_left(self, speed: float) -> float:
        """By the time budget, or at the present speed in images per second."""
        if self.session.minutes is not None:
            return max(60.0 * self.session.minutes - self.elapsed, 0.0)
        images_left = (self.session.goal - self.step) * self.plan.batch * self._stage.game.batches_per_step
        return max(images_left, 0) / max(speed, 1e-9)

    @property
    def _stage(self) -> Stage:
        return self.plan.stages[self.session.timeline.at(max(self.step - 1, 0)).stage]

    def _say(self, text: str) -> None:
        self.progress.say(text) if self.leads and not self.options.quiet else None

    def _preview(self) -> None:
        if self.leads:
            self.watch.probe(self.step)
            with self.keeper.judged():
                place = partial(self.folder.preview, self.step)
                figures.write(self.plan.model, self.session.source, place, self.options.seed)

    @property
    def _evaluates(self) -> bool:
        return bool(self.options.evaluate or self.options.evaluate_every)

    def _evaluate(self) -> None:
        """Scores of the model as it would be saved now; the time they take is not training's."""
        began = time.monotonic()
        if self.leads:
            from simulacra.training_scores import score_in_training

            for line in score_in_training(self.session, self.step, self.keeper.judged, self._pending):
                self._say(line)
        barrier(self.table)
        self._began += time.monotonic() - began
        self._marked = (self._marked[0] + time.monotonic() - began, self._marked[1])

    def _evaluate_last(self) -> None:
        """The final step is what counts: score it if that has not been done."""
        from simulacra.training_scores import scored

        if any_rank(self.table, self.leads and self.step > 0 and not scored(self.session, self.step)):
            self._evaluate()
            self._tell()
            self.keeper.model_at = 0  # its card is to list them

    # Keeping

    def _save(self) -> None:
        facts = {"attempt": self.attempt, "seconds": self.elapsed, "pending": self._pending}
        self.keeper.save(self.step, facts)

    def _finish(self) -> Run:
        if self._last() != self.step:
            self._save()
        if self.leads and self.keeper.model_at != self.step:  # a kill may have come between checkpoint and artifact
            self.keeper.save_model(self.step)
        if self.leads:
            ended = {"step": self.step, "seconds": round(self.elapsed, 1), "signal": self.interruption.number}
            self.folder.write("recipe.json", self.session.record | {"ended": ended})
            self._say(f"at step {self.step} after {clock_face(self.elapsed)}; model in {self.folder.model}")
            self._say_what_waits()
        barrier(self.table)  # the others wait for the leader's artifact
        model = artifact.load(self.folder.model) if self.step else self.plan.model
        return Run(self.folder.path, self.step, self.elapsed, self.terms, model, self.interruption.number)

    def _say_what_waits(self) -> None:
        """Sums of an unfinished pass have not been applied."""
        number, local, _ = self.session.timeline.at(self.step)
        if self.plan.stages[number].game.statistics:
            waiting = local % ceil(len(self.session.source) / self.plan.batch)
            self._say(f"batches that wait for the end of their pass, and are not in the model yet: {waiting}")

    # When things go wrong

    def _roll_back(self, error: NonFinite) -> None:
        """Go back to the last checkpoint and try again with other noise; give up after so many tries."""
        self._blame_batch(error)
        self.tries += 1
        self.attempt += 1
        failed = self.step
        if self.tries > self.options.retries:
            self._gave_up(error)
        found = checkpoint.newest(self.folder.checkpoints, self._say)
        assert found is not None
        self._take_over(found)
        self._close()
        self._marked = (time.monotonic(), self.step)
        self._say(f"{error}: back to step {self.step}, attempt {self.attempt}")
        if self.leads:
            self._restart_log("rollback", reason=str(error), failed_at=failed)

    def _gave_up(self, error: NonFinite) -> None:
        if self.leads:
            self.log.write({"event": "gave up", "from": self._last(), "attempt": self.attempt, "reason": str(error)})
        where = (
            f"training diverges: {error}, after {self.options.retries} retries from step {self._last()}, whose "
            "checkpoint is whole"
        )
        if (name := "data-out-of-range") in self.watch.alarms:
            raise UserError(f"{where}: {ALARMS[name].advice}, and train in another --out")
        ways = ["a lower learning rate"] if any(stage.game.optimizers for stage in self.plan.stages) else []
        ways += ["--precision float32"] if self.session.precision != "float32" else []
        raise MachineError(f"{where}: try {' or '.join(ways) or 'another --seed'} in another --out")

    def _last(self) -> int:
        return checkpoint.step_of(checkpoint.listed(self.folder.checkpoints)[-1])

    def _blame_batch(self, error: NonFinite) -> None:
        """Raise UserError naming the row, if it is the data that is not finite."""
        x = error.batch.x
        bad = (~torch.isfinite(x).flatten(1).all(1)).nonzero().flatten()
        if len(bad):
            row = int(error.batch.index[bad[0].item()])  # type: ignore[attr-defined]
            raise UserError(f"{self.session.source.name_of(row)} holds values that are not finite: mend or remove it")

    def what_fits(self) -> str:
        """After memory ran out: advice found by trying."""
        batch, tried, share = self.plan.batch, self.options.micro_batches, self.plan.batch // self.table.size

        def attempt(number: int) -> None:
            with suppress(NonFinite):
                self._step(Table(number, self.table.precision))

        numbers = {len(split(share, number)) for number in range(tried + 1, share + 1)}
        possible = [number for number in sorted(numbers) if number > tried and self.plan.splits(share, number)]
        number = micro_batches_that_fit(attempt, doubling(possible, tried))
        if number is None:
            return "not even the fewest rows at a time fit: choose a smaller network or image size"
        rows = f"{-(-batch // number)} of {batch} rows at a time"
        return f"--micro-batches {number} fits ({rows}), or try a smaller --batch in another --out"
