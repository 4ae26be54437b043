"""Which stage a step belongs to, and how far along it is."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from simulacra.errors import UserError


class Moment(NamedTuple):
    """Stage number, the stage's own step count, and progress through it in [0, 1]."""

    stage: int
    step: int
    progress: float


class Timeline:
    """Stages of `lengths` steps, scaled in proportion to `horizon` steps in all, one at least each; the last goes on.

    Raises UserError where the horizon has fewer steps than there are stages.
    """

    def __init__(self, lengths: Sequence[int], horizon: int) -> None:
        if horizon < len(lengths):
            raise UserError(f"{horizon} steps are too few for {len(lengths)} stages: give at least {len(lengths)}")
        total = sum(lengths)
        spare = horizon - len(lengths)
        ends = [round(spare * end / total) + k + 1 for k, end in enumerate(accumulate(lengths))]
        self.starts = [0, *ends[:-1]]
        self.lengths = [end - start for start, end in zip(self.starts, ends)]

    def at(self, step: int) -> Moment:
        """The moment before `step` is played, counted from 0 over all stages."""
        stage = max(k for k, start in enumerate(self.starts) if start <= step)
        local = step - self.starts[stage]
        return Moment(stage, local, min(local / self.lengths[stage], 1.0))
