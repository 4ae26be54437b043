"""Every measure of rows, common checks: a new one is checked as soon as the catalogue lists it."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from simulacra.data import Spec
from simulacra.errors import UserError
from simulacra.metrics import catalogue
from simulacra.metrics.measure import Measure, Score, Seen, Side
from simulacra.play import Table
from tests.checks.ranks import on_ranks

SPEC = Spec(kind="image", shape=(1, 8, 8), classes=("a", "b", "c"))
KINDS = [kind for kind in catalogue.measures().values() if issubclass(kind, Measure)]
SMALL: dict[str, dict[str, Any]] = {
    "kid": {"subsets": 5, "subset_size": 20},
    "mmd": {"permutations": 20},
    "is": {"splits": 2},
    "ndb": {"bins": 4},
    "swd": {"directions": 20},
    "cas": {"epochs": 1},
}
"""Options that make a measure small."""
ROWS = 60


def seen(side: Side, rows: int = ROWS) -> Seen:
    """Made-up rows of a side: pixels in [0, 1] of three classes, with logits that mostly agree."""
    generator = torch.Generator().manual_seed({"real": 0, "fake": 1, "held_out": 2}[side])
    labels = torch.arange(rows) % 3
    centres = torch.rand(3, 64, generator=torch.Generator().manual_seed(9))
    features = (centres[labels] + 0.3 * torch.randn(rows, 64, generator=generator)).clamp(0, 1)
    logits = 3.0 * torch.nn.functional.one_hot(labels, 3) + torch.randn(rows, 3, generator=generator)
    return Seen(torch.arange(rows), features, logits, labels)


def part(rows: Seen, which: Tensor) -> Seen:
    return Seen(*(None if each is None else each[which] for each in rows))  # type: ignore[arg-type]


def made(kind: type[Measure]) -> Measure:
    return kind(kind.Config().with_overrides(SMALL.get(kind.name, {}), kind.name), spec=SPEC)


def shown(measure: Measure, share: Callable[[int], Sequence[Tensor]]) -> Measure:
    """The measure after it has seen the rows of all its sides, in the batches that `share` makes of so many."""
    for side in measure.sides:
        rows = seen(side)
        for which in share(len(rows.index)):
            measure.update(side, part(rows, which))
    return measure


def whole(rows: int) -> list[Tensor]:
    return [torch.arange(rows)]


def shuffled(rows: int) -> list[Tensor]:
    return list(torch.randperm(rows, generator=torch.Generator().manual_seed(3)).split(7))


def close(one: dict[str, Score], other: dict[str, Score], tolerance: float = 1e-6) -> None:
    assert one.keys() == other.keys()
    for name, score in one.items():
        assert score.value == pytest.approx(other[name].value, rel=tolerance, abs=tolerance), name
        assert (score.standard_error is None) == (other[name].standard_error is None)
        if score.standard_error is not None:
            assert score.standard_error == pytest.approx(other[name].standard_error, rel=1e-4, abs=tolerance), name


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[Measure]:
    return request.param


def test_scores_are_named_finite_and_fit_into_json(kind: type[Measure]) -> None:
    found = shown(made(kind), whole).compute()
    assert found
    assert set(found) <= set(kind.better)
    for score in found.values():
        assert abs(score.value) < float("inf")
        assert score.standard_error is None or score.standard_error >= 0
        json.dumps(dict(score.facts), allow_nan=False)


def test_neither_batches_nor_their_order_matter(kind: type[Measure]) -> None:
    close(shown(made(kind), shuffled).compute(), shown(made(kind), whole).compute())


def test_a_reset_measure_is_as_new(kind: type[Measure]) -> None:
    measure = made(kind)
    for side in measure.sides:
        measure.update(side, seen(side, 33))
    measure.reset()
    close(shown(measure, whole).compute(), shown(made(kind), whole).compute(), 0.0)


def test_asking_twice_gives_the_same_and_leaves_the_global_randomness_alone(kind: type[Measure]) -> None:
    state = torch.get_rng_state()
    measure = shown(made(kind), whole)
    close(measure.compute(), measure.compute(), 1e-12)
    assert torch.equal(state, torch.get_rng_state())


def test_rows_that_are_seen_are_left_alone(kind: type[Measure]) -> None:
    measure = made(kind)
    for side in measure.sides:
        rows = seen(side)
        measure.update(side, rows)
    measure.compute()
    for side in measure.sides:
        assert all(torch.equal(a, b) for a, b in zip(seen(side), seen(side)))


def test_features_that_are_not_finite_are_refused_by_row(kind: type[Measure]) -> None:
    side = next(iter(kind.sides))
    rows = seen(side)
    rows.features[17, 3] = float("nan")
    with pytest.raises(UserError, match=f"{kind.name}: row 17 of .* not finite"):
        made(kind).update(side, rows)


def test_too_few_rows_are_refused(kind: type[Measure]) -> None:
    measure = made(kind)
    for side in measure.sides:
        measure.update(side, seen(side, kind.at_least - 1))
    with pytest.raises(UserError, match=rf"{kind.name}.* at least {kind.at_least} row"):
        measure.compute()


def test_sides_of_different_width_are_refused(kind: type[Measure]) -> None:
    measure, side = made(kind), next(iter(kind.sides))
    measure.update(side, seen(side))
    narrow = seen(side)
    with pytest.raises(UserError, match="63 numbers wide"):
        measure.update(side, narrow._replace(features=narrow.features[:, 1:], index=narrow.index + ROWS))


def test_what_a_measure_wants_is_asked_for(kind: type[Measure]) -> None:
    for want in kind.wants:
        side = next(iter(kind.sides))
        with pytest.raises(UserError, match=f"needs {want}, .* has none: "):
            made(kind).update(side, seen(side)._replace(**{want: None}))


def test_two_ranks_agree_with_one(kind: type[Measure]) -> None:
    def work(table: Table) -> dict[str, Score]:
        return shown(made(kind), lambda rows: [torch.arange(table.rank, rows, 2)]).compute(table)

    alone = shown(made(kind), whole).compute()
    for found in on_ranks(2, work):
        close(found, alone)
