"""What an option of a recipe changes: the cost of the same rows, under the same weights and the same noise."""

import pytest
import torch

from simulacra.recipes import find
from tests.test_models import GREY, rows, told

DEEP = ("gsn", "gmmn", "dbn", "dbm")
BATCH = rows(2 * torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 1)


def terms(name, number=-1, **options):
    """All that the moves of a stage, by default the last, are asked to descend of `BATCH`."""
    torch.manual_seed(0)
    kind = find(name)
    plan = kind.build(GREY, 6, kind.options().with_overrides({"batch": "6", **options}, name))
    found = []
    for round_ in (game := plan.stages[number].game).rounds:
        for move in round_.moves:
            batch, at = told(BATCH, step=1, progress=0.4, game=game)
            seen = move.forward(batch, at) if move.forward else batch
            costs = move.cost.values() if isinstance(move.cost, dict) else [move.cost]
            found += [term.mean() for cost in costs for term in cost(seen, at).values()]
    return torch.stack(found)


@pytest.mark.parametrize(
    ("name", "base", "changed"),
    [
        ("vae", {}, {"beta": "3"}),
        ("vae", {}, {"samples": "2"}),
        ("vae", {}, {"free_bits": "2"}),
        ("vae", {}, {"warm_up": "0.5"}),
        ("hvae", {"warm_up": "0"}, {"warm_up": "0.5"}),
        ("iwae", {"samples": "3"}, {"samples": "4"}),
        ("hvae", {}, {"samples": "3"}),
        ("hvae", {"warm_up": "0"}, {"free_bits": "2"}),
        ("avb", {}, {"contrast": "prior"}),
        ("avb", {}, {"contrast": "diagonal"}),
        ("svi", {}, {"inference_steps": "3"}),
        ("svi", {}, {"inference_rate": "0.1"}),
        ("cvae", {}, {"conditional_prior": "false"}),
        ("rbm", {}, {"k": "2"}),
        ("rbm", {}, {"persistent": "false"}),
        ("rbm", {"k": "3", "persistent": "false"}, {"growing": "true"}),
        ("rbm", {"k": "3"}, {"growing": "true"}),
        ("rbm", {"decay": "0"}, {"decay": "0.1"}),
        ("dbn", {}, {"k": "2"}),
        ("dbn", {"k": "3"}, {"growing": "true"}),
        ("dbn", {"k": "3", "fine_tuning": "1"}, {"growing": "true"}),
        ("dbn", {"decay": "0"}, {"decay": "0.1"}),
        ("dbm", {}, {"k": "3"}),
        ("dbm", {"k": "3"}, {"growing": "true"}),
        ("dbm", {"decay": "0"}, {"decay": "0.1"}),
        ("dae", {}, {"walkback": "5"}),
        ("gsn", {}, {"walkback": "5"}),
        ("gsn", {}, {"noise": "0.1"}),
        ("vaegan", {}, {"similarity": "0.5"}),
        ("gmmn", {}, {"bandwidths": "1,2"}),
    ],
    ids=lambda part: part if isinstance(part, str) else ",".join(part) or "-",
)
def test_an_option_changes_what_is_descended(name, base, changed):
    small = {"hidden": "12"} if name == "rbm" else {"hidden": "12,10"} if name in DEEP else {"width": "12"}
    before, again, after = (terms(name, **small, **options) for options in (base, base, base | changed))
    assert torch.equal(before, again)
    assert before.shape != after.shape or not torch.allclose(before, after)


@pytest.mark.parametrize("name", ["dbn", "dbm"])
@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize(
    ("base", "changed"), [({}, {"k": "4"}), ({"k": "4"}, {"growing": "true"}), ({"decay": "0"}, {"decay": "0.1"})]
)
def test_an_option_of_layers_changes_what_each_of_them_descends(name, stage, base, changed):
    before, again, after = (terms(name, stage, hidden="12,10", **options) for options in (base, base, base | changed))
    assert torch.equal(before, again)
    assert before.shape != after.shape or not torch.allclose(before, after)


def built(name, **options):
    """The stages of a plan for grey images, by name."""
    kind = find(name)
    plan = kind.build(GREY, 100_000, kind.options().with_overrides({"hidden": "12,10", **options}, name))
    return {stage.name: stage for stage in plan.stages}


def test_the_last_stages_of_deep_machines_have_the_rates_and_lengths_that_are_asked_for():
    deep = built("dbm", pretraining="0.5", joint_rate="0.03")
    (joint,) = deep["all"].game.rounds[0].moves
    assert joint.gain == 0.03
    assert deep["layer1"].steps == deep["layer2"].steps == 0.5 * deep["all"].steps
    net = built("dbn", fine_tuning="0.5", fine_rate="0.04")
    (fine,) = net["up-down"].game.rounds[0].moves
    assert fine.gain == 0.04
    assert net["up-down"].steps == 0.5 * net["layer1"].steps


def test_the_ratio_network_of_avb_moves_first_and_as_often_as_it_is_told():
    kind = find("avb")
    (stage,) = kind.build(GREY, 20, kind.options().with_overrides({"ratio_steps": "3"}, "avb")).stages
    moves = [(move.name, move.times, [*move.players]) for round_ in stage.game.rounds for move in round_.moves]
    assert moves == [("tell", 3, ["ratio"]), ("descend", 1, ["coder"])]


def test_the_autoencoder_of_codes_has_the_optimiser_it_is_given():
    kind = find("gmmn")
    options = kind.options().with_overrides({"space": "code", "autoencoder.lr": "0.5", "optimizer.lr": "0.25"}, "gmmn")
    rates = [p.optimizer.lr for stage in kind.build(GREY, 20, options).stages for p in stage.game.players.values()]
    assert rates == [0.5, 0.25]
