"""CoGAN: what is tied, whose labels are seen, and pairs of one z."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import simulacra
from benchmarks import cogan as table
from simulacra.capabilities import Classifies, Pairs
from simulacra.data import Spec, open_data
from simulacra.data.batch import Batch
from simulacra.errors import UserError
from simulacra.game import Clock, Game, Turn
from simulacra.game import Table as Place
from simulacra.models.cogan import CoGAN, CoGANConfig, CoupledAdversary
from simulacra.networks.coupled import CoupledDiscriminator, CoupledGenerator
from simulacra.recipes import find
from simulacra.training import train

SPEC = Spec(kind="image", shape=(1, 9, 12), classes=tuple("abc"))
SMALL = CoGANConfig(network="dcgan", norm="batch", prior="uniform", width=2, latent=3, classes=3)
N = 6


def game(weight=2.0, agreement=0.5):
    torch.manual_seed(0)
    return CoupledAdversary(CoGAN(SMALL, SPEC), weight, agreement)


def batch(labels=(0, 2, 1, 1, 0, 2), beside_labels=None):
    generator = torch.Generator().manual_seed(0)

    def of(given):
        x = torch.rand(N, *SPEC.shape, generator=generator) * 2 - 1
        given = None if given is None else torch.tensor(given)
        return Batch(x=x, labels=given, index=torch.arange(N), start=0, joint=N, pass_end=False)

    first = of(labels)
    return replace(first, beside=of(beside_labels))


def at(rows):
    return next(iter(Turn(Game([], []), rows, Clock(), (0,), Place()).parts(0)))[1]


def touched(network, value):
    """The names of the parameters that `value` depends on."""
    names, parameters = zip(*network.named_parameters())
    grads = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    return {name for name, grad in zip(names, grads) if grad is not None and grad.abs().sum() > 0}


def test_the_generators_differ_in_their_last_layer_alone():
    network = CoupledGenerator(3, SPEC.shape, 2).eval()
    first, second = network(torch.randn(4, 3))
    assert first.shape == second.shape == (4, *SPEC.shape)
    assert not torch.allclose(first, second)
    assert touched(network, first.sum()) | touched(network, second.sum()) == {n for n, _ in network.named_parameters()}
    shared = touched(network, first.sum()) & touched(network, second.sum())
    assert shared == {name for name, _ in network.named_parameters() if name.startswith("tied.")}
    assert sum(isinstance(layer, nn.Linear | nn.ConvTranspose2d | nn.Conv2d) for layer in network.ends.modules()) == 2
    network.ends[1].load_state_dict(network.ends[0].state_dict())
    assert torch.equal(*network(torch.randn(4, 3)))


def test_the_discriminators_differ_in_their_first_layer_alone():
    critic = CoupledDiscriminator(SPEC.shape, 3)
    x = torch.randn(4, *SPEC.shape)
    one, two = critic(x, x).split(4)
    assert one.shape == (4, 1)
    assert touched(critic, one.sum()) & touched(critic, two.sum()) == {
        name for name, _ in critic.named_parameters() if name.startswith(("tied.", "score."))
    }
    assert not torch.allclose(one, two)
    critic.starts[1].load_state_dict(critic.starts[0].state_dict())
    assert torch.equal(*critic(x, x).split(4))
    assert torch.equal(critic.classify(x, 0), critic.classify(x, 1))


def test_the_discriminator_is_the_lenet_of_the_paper_at_28_by_28():
    """20·25 + 20 twice, 50·20·25 + 50, 500·(50·4·4) + 500 and one slope, then 501 and 10·501."""
    critic = CoupledDiscriminator((1, 28, 28), 10)
    assert sum(p.numel() for p in critic.parameters()) == 2 * 520 + 25_050 + 400_500 + 1 + 501 + 5010


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (10, 21), (16, 16), (17, 40)])
def test_images_of_any_size_go_through(size):
    critic, network = CoupledDiscriminator((3, *size), 2), CoupledGenerator(3, (3, *size), 2)
    assert critic(*network(torch.randn(2, 3))).shape == (4, 1)


def test_the_classifiers_cost_is_of_the_first_domain_and_of_what_is_tied():
    rows, costs = batch(), game()
    critic = costs.model.discriminator
    expected = {n for n, _ in critic.named_parameters() if n.startswith(("starts.0.", "tied.", "classes."))}
    for terms in (costs.discriminate(rows, at(rows)), costs.learn(rows, at(rows))):
        assert touched(critic, terms["labels"].mean()) == expected
        assert touched(costs.model.generator, terms["labels"].mean()) == set()
    assert costs.learn(rows, at(rows)).keys() == {"labels"}


@pytest.mark.parametrize("garbage", [None, [2, 2, 0, 0, 1, 1], [-7] * N, [10**6] * N])
def test_labels_of_the_second_domain_are_never_used(garbage):
    plain, wild = batch(beside_labels=[0] * N), batch(beside_labels=garbage)
    costs = game()
    for move in (costs.discriminate, costs.generate, costs.learn):
        expected, found = move(plain, at(plain)), move(wild, at(wild))
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_labels_of_the_first_domain_are_used_by_the_classifier_alone():
    plain, other = batch(), batch(labels=(1, 1, 1, 1, 1, 1))
    expected, found = (game().discriminate(rows, at(rows)) for rows in (plain, other))
    assert {name for name in expected if not torch.equal(expected[name], found[name])} == {"labels"}


def test_terms_are_those_of_two_games_and_of_alike_features():
    """A discriminator that knows nothing: D = 1/2 everywhere and classes equally likely."""
    rows, costs = batch(), game(weight=2.0, agreement=0.5)
    critic = costs.model.discriminator
    for head in (critic.score, critic.classes):
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    told = at(rows)
    terms = costs.discriminate(rows, told)
    assert terms.keys() == {"real1", "fake1", "real2", "fake2", "labels", "agreement"}
    for name in ("real1", "fake1", "real2", "fake2"):
        assert terms[name].flatten().tolist() == pytest.approx([math.log(2)] * N)
    assert terms["labels"].tolist() == pytest.approx([2 * math.log(3)] * N)
    ours, theirs = costs.model.generate_pair(at(rows))
    apart = critic.hidden(ours) - critic.tied(critic.starts[1](theirs))
    assert torch.allclose(terms["agreement"], 0.5 * apart.square().sum(1), rtol=1e-4)
    fooled = costs.generate(rows, at(rows))
    assert fooled.keys() == {"fool1", "fool2"}
    assert fooled["fool2"].flatten().tolist() == pytest.approx([math.log(2)] * N)
    assert told.watched["D2(x)"].mean().item() == 0.5


def test_without_agreement_there_is_no_such_term():
    rows, costs = batch(), game(agreement=0.0)
    assert "agreement" not in costs.discriminate(rows, at(rows))


def test_a_game_without_a_second_domain_is_refused():
    rows = replace(batch(), beside=None)
    with pytest.raises(ValueError, match="rows beside"):
        game().discriminate(rows, at(rows))


def test_pairs_share_their_z_and_the_first_is_the_sample():
    model = game().model
    pairs = model.pairs(5, seed=3, start=2)
    assert isinstance(model, Pairs)
    assert pairs.shape == (5, 2, *SPEC.shape)
    assert torch.allclose(pairs[:, 0], model.sample(5, seed=3, start=2), atol=1e-6)
    assert not torch.allclose(pairs[:, 0], pairs[:, 1])
    model.generator.ends[1].load_state_dict(model.generator.ends[0].state_dict())
    again = model.pairs(5, seed=3, start=2)
    assert torch.equal(again[:, 0], again[:, 1])


def test_classify_reads_the_second_domain_and_classify_first_the_first():
    model, x = game().model.train(), batch().x
    assert isinstance(model, Classifies)
    for verb, domain in ((model.classify_first, 0), (model.classify, 1)):
        assert torch.allclose(verb(x), model.discriminator.classify(x, domain))
    assert not torch.allclose(model.classify(x), model.classify_first(x))
    assert model.training


def build(spec, **options):
    kind = find("cogan")
    return kind.build(spec, 100, kind.options().with_overrides(options, "cogan"))


def test_labels_alone_are_a_game_of_one():
    plan = build(SPEC, adversarial=False, width=2, latent=3)
    assert list(plan.players) == ["discriminator"]
    assert [round_.names for round_ in plan.stages[0].game.rounds] == [["learn"]]
    assert [round_.names for round_ in build(SPEC, width=2).stages[0].game.rounds] == [["discriminate"], ["generate"]]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (Spec(kind="vector", shape=(2,), classes=("a", "b")), "the data is vectors"),
        (Spec(kind="image", shape=(1, 8, 8), classes=None), "first data set, and it has none"),
    ],
)
def test_what_cannot_work_is_refused(spec, words):
    with pytest.raises(UserError, match=words):
        build(spec)


@pytest.mark.parametrize("name", ["agreement", "generator.lr"])
def test_what_only_generators_need_is_refused_without_them(name):
    with pytest.raises(UserError, match=f"{name.split('.')[0]} does nothing without adversarial"):
        build(SPEC, adversarial=False, **{name: 3.0})


def test_a_run_without_a_second_data_set_is_refused(tmp_path):
    with pytest.raises(UserError, match="give the second as --beside WORD"):
        train("cogan", out=tmp_path / "run", data="digits", steps=1, quiet=True)


def test_a_run_shows_its_pairs_and_keeps_its_classifier(tmp_path):
    given = {"data": "digits", "beside": "digits", "rows": 60, "beside_rows": 50, "width": 2, "latent": 3}
    found = train("cogan", out=tmp_path / "run", steps=2, quiet=True, **given)
    assert (tmp_path / "run" / "previews" / "pairs-00000002.png").exists()
    x = torch.rand(3, 1, 8, 8)
    loaded = simulacra.load(tmp_path / "run")
    assert torch.equal(found.model.classify(x), loaded.classify(x))


def test_the_table_takes_every_draw_of_both_directions_at_the_protocols_sizes():
    rows = table.rows()
    assert len({row.key for row in rows}) == len(rows) == 2 * 3 * 5
    for row in rows:
        counts = row.run["rows"], row.run["beside_rows"]
        assert counts == (("2000", "1800") if row.data == "mnist" else ("1800", "2000"))
        assert {row.data, row.run["beside"]} in ({"mnist", "usps"}, {"mnist", "npz:runs/cogan/usps.npz"})


def test_the_tables_judge_reads_the_target_by_the_right_layer(tmp_path):
    """Accuracy by hand, on the test digits, of a model that was taught by labels alone and of one that was not."""
    test = open_data("digits", split="test")
    for adversarial, verb in ((True, "classify"), (False, "classify_first")):
        out = tmp_path / verb
        given = {"data": "digits", "beside": "digits", "width": 2, "latent": 3, "adversarial": adversarial}
        train("cogan", out=out, steps=2, quiet=True, **given)
        said = getattr(simulacra.load(out), verb)(test.data.float() / 127.5 - 1).argmax(1)
        assert table.judge(out) == {"accuracy": (said == test.labels).double().mean().item(), "images": 296}


def test_the_tables_margin_is_four_pixels_around_twenty():
    framed = table._framed(torch.ones(2, 1, 20, 20))
    assert framed.shape == (2, 1, 28, 28)
    assert framed[:, :, 4:24, 4:24].min() == 1
    assert framed.sum() == 2 * 400
    assert table._framed(torch.ones(1, 1, 17, 17)).nonzero().amin(0).tolist() == [0, 0, 5, 5]


def test_a_finished_table_has_a_line_per_direction_and_method():
    row = {"seconds": 3, "command": "simulacra train"}
    done = {f"usps-mnist-cogan-{draw}": row | {"accuracy": one} for draw, one in enumerate((0.8, 0.9, 1.0), 1)}
    done["mnist-usps-source-alone-no-margin-4"] = row | {"accuracy": 0.5}
    first, second = table.lines(done)
    assert first[:4] == ["mnist → usps", "source alone, no margin", "0.500", ".752 ± .016"]
    assert second[:5] == ["usps → mnist", "cogan", "0.900 ± 0.100", ".891 ± .008", "0.800, 0.900, 1.000"]
