"""The table of planted failures: its protocol, what counts as named, and that what is planted is there."""

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import health
from simulacra.health.alarm import ALARMS
from simulacra.health.data import look
from simulacra.session import Session, settle


def test_there_are_twelve_of_each_on_data_and_seeds_of_the_protocol() -> None:
    for name, data, seeds in (("tuning", {"mnist"}, {0, 1, 2}), ("report", {"fashion", "flowers"}, {3, 4, 5})):
        rows = health.trainings(name)
        assert sum(row.fails for row in rows) == sum(not row.fails for row in rows) == 12
        assert len({row.key for row in rows}) == 24
        assert {row.data for row in rows} == data
        assert {row.seed for row in rows} == seeds
        assert {row.name for row in rows} == {*health.FAILURES, *health.HEALTHY}


def test_accepted_names_are_alarms() -> None:
    words = {word.partition(":")[0] for case in health.FAILURES.values() for word in case.accepted}
    assert words <= {*ALARMS}


def alarm(name: str, at: int, evidence: str = "") -> dict[str, object]:
    return {"alarm": name, "at": at, "evidence": evidence}


@pytest.mark.parametrize(
    ("found", "first"),
    [
        ([], None),
        ([alarm("frozen-player", 50, "the weights of discriminator")], 0),
        ([alarm("frozen-player", 51, "the weights of discriminator")], None),
        ([alarm("frozen-player", 10, "the weights of generator")], None),
        ([alarm("collapse", 10, "discriminator")], None),
        ([alarm("collapse", 10), alarm("frozen-player", 20, "of discriminator")], 1),
    ],
)
def test_a_failure_is_named_by_an_accepted_alarm_at_half_the_budget(found: list, first: int | None) -> None:
    frozen = health.Training("D frozen", health.FAILURES["D frozen"], "mnist", 0)
    assert health.named(frozen, found, steps=100) is (None if first is None else found[first])


def test_a_table_counts_what_is_named_and_what_is_a_false_alarm(tmp_path: Path) -> None:
    book = health.Book("none", tmp_path, 100)
    book.path = tmp_path / "kept.json"
    planted, healthy = health.trainings("tuning")[7], health.trainings("tuning")[12:14]
    book.keep(planted, {"steps": 100, "seconds": 9, "alarms": [alarm("vanishing-gradient", 10)]})
    book.keep(healthy[0], {"steps": 100, "seconds": 9, "alarms": [alarm("collapse", 90)]})
    book.keep(healthy[1], {"steps": 100, "seconds": 9, "alarms": []})
    said = health.table(book, health.trainings("tuning"))
    assert "| planted | 1 | 0 |" in said
    assert "| healthy | 1 | 1 |" in said
    assert "| clip 1e-5 | mnist | 1 | vanishing-gradient | 10 | none | 9 |" in said


def session(out: Path, recipe: str = "dcgan") -> Session:
    run = {"steps": 2, "quiet": True}
    return settle(recipe, out=out, data="digits", run=run, recipe={"width": 2, "latent": 3})


def test_rows_are_planted(tmp_path: Path) -> None:
    plain = session(tmp_path)
    assert look(health.duplicated(plain).source, False).distinct == pytest.approx(0.01)
    assert len(health.few(plain).source) == 64
    facts = look(health.one_class(plain).source, False)
    assert (facts.classes, facts.shown) == (10, 1)
    assert look(health.nan_pixel(plain).source, False).broken == 1
    shuffled = health.labels_shuffled(plain).source
    assert plain.source.labels is not None
    assert shuffled.labels is not None
    assert shuffled.labels.bincount().equal(plain.source.labels.bincount())
    assert look(shuffled, True).above < 2 < 10 < look(plain.source, True).above


def test_networks_are_planted(tmp_path: Path) -> None:
    model = health.constant_latent(session(tmp_path)).plan.model
    latents = model.prior(5, seed=3)  # type: ignore[reportCallIssue]
    assert latents.shape[0] == 5
    assert torch.equal(latents, latents[:1].expand_as(latents))
    dead = health.dead_units(session(tmp_path / "dead")).plan.model
    assert any(bool((layer.bias == -10).all()) for layer in dead.modules() if isinstance(layer, nn.BatchNorm2d))
    stopped = health.frozen("generator")(session(tmp_path / "frozen")).plan
    optimizers = stopped.stages[0].game.optimizers
    before = [p.clone() for p in stopped.model.parameters()]
    for parameter in stopped.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizers["generator"].step()
    assert all(torch.equal(a, b) for a, b in zip(before, stopped.model.parameters()))
