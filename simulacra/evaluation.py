"""Scores with all they depend on, and where they are kept."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from simulacra import artifact
from simulacra.case import Bench, Case, extractor_of
from simulacra.metrics import catalogue
from simulacra.metrics.measure import Score
from simulacra.protocol import Protocol
from simulacra.scorebook import ScoreBook, listing, of_subject
from simulacra.subjects import Subject, View


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores and all they depend on.

    Attributes:
        title: what was judged.
        scores: by name.
        record: the protocol in JSON's types: `subject`, `sides`, `features`, `measures`, versions, device, time.
        warnings: one sentence each.
        refused: measures that could not be computed after all, with the reason.
        pictured: where the memorisation check was made, the samples that lie nearest to the training set, each
            followed by its nearest training row: images in [−1, 1].
    """

    title: str
    scores: Mapping[str, Score]
    record: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    pictured: Tensor | None = None

    def as_dict(self) -> dict[str, Any]:
        """The whole in JSON's types, as `metrics.json` holds it."""
        kinds = catalogue.kinds_of_scores()
        scores = {name: _as_dict(name, score, kinds[name]) for name, score in self.scores.items()}
        return {**self.record, "warnings": list(self.warnings), "refused": dict(self.refused), "scores": scores}


def _as_dict(name: str, score: Score, kind: catalogue.Kind) -> dict[str, Any]:
    """A score with its measure, the sides that it saw, and what it saw them through."""
    error = {} if score.standard_error is None else {"standard_error": score.standard_error}
    seen = {"measure": kind.name, "sides": dict(kind.sides), "through": extractor_of(kind)}
    return {"value": score.value, **error, "better": kind.better[name], **seen, **score.facts}


def judge(subject: Subject, protocol: Protocol, *, real: View | None = None, bench: Bench | None = None) -> Evaluation:
    """The scores of `subject` under `protocol`, compared with `real` or else with the data of its run.

    Raises:
        UserError: there is nothing to compare with, the sides do not fit each other, or a measure cannot be had of
            them; the line says which and the way out.
    """
    case = Case(subject, protocol, real or subject.trained_on, bench or Bench())
    case.check()
    return evaluated(case)


def evaluated(case: Case) -> Evaluation:
    """The scores of a case that has been checked, its protocol, and what to mind."""
    began = time.monotonic()
    scores = case.scores()
    notes = [f"{name}: {note}" for name, score in scores.items() for note in score.notes]
    return Evaluation(
        title=case.subject.title,
        scores=scores,
        record=case.record() | {"seconds": round(time.monotonic() - began, 1)},
        warnings=tuple(dict.fromkeys([*case.doubts(), *notes])),
        refused=dict(case.refused),
        pictured=case.pictured(scores),
    )


def keep(subject: Subject, evaluation: Evaluation) -> None:
    """Append an evaluation to the `metrics.json` of its subject and list its scores on the model's card.

    Raises:
        MachineError: a file cannot be written.
    """
    if subject.scores is None or not evaluation.scores:
        return
    book = ScoreBook(subject.scores)
    book.append(evaluation.as_dict())
    if subject.artifact is not None:
        of_these = of_subject(book.read(), sha256=subject.facts["sha256"])
        in_training = of_subject(book.read(), kind="training", step=subject.facts.get("step"))
        artifact.list_scores(subject.artifact, listing([*in_training, *of_these]))
