"""Scores taken while training: of the model as it would be saved, into `metrics.json` and the log."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from simulacra.case import Bench, Case
from simulacra.errors import UserError
from simulacra.evaluation import judge
from simulacra.features.cache import default_folder
from simulacra.protocol import Protocol
from simulacra.scorebook import ScoreBook, number, of_subject
from simulacra.session import Session
from simulacra.subjects import Subject, trained_on


def score_in_training(
    session: Session, step: int, judged: Callable[[], AbstractContextManager[str]], log: dict[str, float]
) -> Iterator[str]:
    """Judge the session's model at `step` and keep the scores; add them to the pending `log` line as `score/NAME`.

    Inside `judged()` the model has the weights that it is judged by, and the words for them. Yields what to say: the
    scores, and warnings, or why there are none.
    """
    bench = Bench(device=session.device, cache=default_folder())
    try:
        with judged() as weights:
            found = judge(_subject(session, step, weights), _protocol(session), bench=bench)
    except UserError as error:  # no reason to lose a training
        yield f"step {step} is not scored: {error}"
        return
    ScoreBook(session.folder.path).append(found.as_dict())
    log |= {f"score/{name}": score.value for name, score in found.scores.items()}
    yield f"step {step}: " + ", ".join(f"{n} {number(s.value, s.standard_error)}" for n, s in found.scores.items())
    yield from (f"warning: {warning}" for warning in (*found.warnings, *found.refused.values()))


def scored(session: Session, step: int) -> bool:
    """Whether the book of scores holds one of this step."""
    return bool(of_subject(ScoreBook(session.folder.path).read(), kind="training", step=step))


def check(session: Session) -> None:
    """Refuse before training what could not be scored while it goes on. Raises UserError as `judge` does."""
    Case(_subject(session, 0, ""), _protocol(session), trained_on(session.record), Bench(device=session.device)).check()


def _protocol(session: Session) -> Protocol:
    options = session.options
    given = {"metrics": options.evaluate, "features": options.evaluate_features, "samples": options.evaluate_samples}
    return Protocol.read(given, "evaluate")


def _subject(session: Session, step: int, weights: str) -> Subject:
    model = session.plan.model
    facts = {"kind": "training", "model": model.name, "weights": weights, "recipe": session.recipe.name, "step": step}
    return Subject(
        title=session.folder.path.name,
        spec=model.spec,
        model=model,
        facts=facts | {"training_seed": session.options.seed},
        trained_on=trained_on(session.record),
    )
