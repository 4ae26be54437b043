"""What a run keeps of its training: checkpoints, and the artifact as of the newest."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from simulacra import artifact, checkpoint
from simulacra.capabilities import Samples
from simulacra.data.words import shareable
from simulacra.ema import judged
from simulacra.game import Table
from simulacra.scorebook import ScoreBook, listing, of_subject
from simulacra.session import Session


class Keeper:
    """Writes to the folder of a session; `model_at` is the step of the artifact that it has written, 0 for none."""

    def __init__(self, session: Session, table: Table) -> None:
        self.session, self.table = session, table
        self.plan, self.folder, self.options = session.plan, session.folder, session.options
        self.model_at = 0

    @contextmanager
    def judged(self) -> Iterator[str]:
        """Inside, the model is as it is judged, sampled and saved; yields which weights these are, in words."""
        averages = [player.averaged for player in self.plan.players.values() if player.averaged]
        model = self.plan.model
        with judged(model, averages, lambda: model.training_passes(self.options.seed)) as words:
            yield words

    def save(self, step: int, facts: Mapping[str, Any]) -> None:
        """A checkpoint with `facts` of the run, and the artifact as of it. All ranks take part, the first writes."""
        stage = self.session.timeline.at(step).stage
        tensors = checkpoint.collect(self.plan.players, self.plan.stages[stage].game, self.table)
        if self.table.rank:
            return
        checkpoint.write(self.folder.checkpoints, step, tensors, {"stage": stage, **facts}, self.options.keep)
        if step:
            self.save_model(step)

    def save_model(self, step: int) -> None:
        """The artifact alone, with its card."""
        others = {n: p.module for n, p in self.plan.players.items() if p.module is not self.plan.model}
        model, seed = self.plan.model, self.options.seed
        with self.judged() as words:
            artifact.save(
                model,
                self.folder.model,
                facts=self._card(step, words),
                training=others if self.options.with_training else None,
                samples=model.sample(64, seed=seed).cpu() if isinstance(model, Samples) else None,
            )
        self.model_at = step

    def _card(self, step: int, weights: str) -> dict[str, Any]:
        source, recipe = self.session.source, self.session.recipe
        return {
            "weights": weights,
            "recipe": recipe.name,
            "paper": recipe.paper,
            "data": shareable(source.word),
            "summary": source.summary,
            "steps": step,
            "seed": self.options.seed,
            "scores": listing(of_subject(ScoreBook(self.folder.path).read(), kind="training", step=step)),
        }
