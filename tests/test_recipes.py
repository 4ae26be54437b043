"""Every recipe builds from any data it accepts, plays, and can be built again from its record."""

import json
from functools import cache
from importlib.metadata import EntryPoint
from math import isfinite

import numpy as np
import pytest
import torch

from simulacra import recipes
from simulacra.capabilities import Samples
from simulacra.data import Feed, Spec, open_data
from simulacra.errors import UserError
from simulacra.game import Clock
from simulacra.models.base import Model
from simulacra.recipes import Plan, Recipe, all_recipes, find
from simulacra.settings import RunOptions

SMALL = {"batch": "6", "width": "4", "latent": "3"}
PRINTED = {"fvbn", "nade", "rbm", "dbn", "dbm", "cvae"}
"""Systems whose papers are not on arXiv."""
OWN = {
    "dbn": {"hidden": "5,4", "fine_tuning": "1"},
    "dbm": {"hidden": "5,4,3"},
    "gmm": {"batch": "200000", "components": "3"},  # whole passes
    "gnb": {"batch": "200000"},
    "gmmn": {"hidden": "8,8"},
}
each = pytest.mark.parametrize("name", sorted(all_recipes()))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A data set of each kind, by name."""
    path = tmp_path_factory.mktemp("data") / "wide.npz"
    images = np.random.default_rng(0).integers(0, 256, (40, 10, 21, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(40) % 4)
    return cache(lambda kind: open_data(f"npz:{path}" if kind == "wide" else kind))


def built(name, source, **options):
    kind = find(name)
    small = {option: value for option, value in SMALL.items() if option in kind.options.model_fields}
    torch.manual_seed(0)
    return kind.build(
        source.spec, len(source), kind.options().with_overrides({**small, **OWN.get(name, {}), **options}, name)
    )


def played(plan, source, steps=2):
    """The terms of the last of some steps of every stage."""
    terms = {}
    for number, stage in enumerate(plan.stages):
        feed = Feed(source, seed=0, stage=number, batch=plan.batch, full_passes=stage.full_passes, beside=source)
        for step in range(steps):
            first = step * stage.game.batches_per_step
            terms |= stage.game.step(
                lambda k, s=stage, f=feed, a=first: s.view(f.at(a + k)), Clock(stage=number, step=step)
            )
    return terms


CANNOT_SAMPLE = {"ae", "cvae"}


def data_of(name):
    """Convolutions and bits need images, strings need strings."""
    if name == "strings":
        return ["grammar"]
    if name in ("fvbn", "nade", "made", "pixelcnn"):
        return ["digits"] if name == "pixelcnn" else ["digits", "wide"]
    if name in ("dbn", "dbm", "cvae"):
        return ["digits", "wide"]
    return ["digits", "wide"] if name in ("dcgan", "sngan", "cogan") else ["digits", "wide", "ring"]


CASES = [(name, kind) for name in sorted(all_recipes()) for kind in data_of(name)]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_recipe_plays_two_steps_on_any_data(name, kind, sources):
    source = sources(kind)
    plan = built(name, source)
    before = {k: v.clone() for k, v in plan.model.state_dict().items()}
    terms = played(plan, source)
    assert terms
    assert all(isfinite(value) for value in terms.values())
    assert any(not torch.equal(v, before[k]) for k, v in plan.model.state_dict().items())
    if not isinstance(plan.model, Samples):
        assert name in CANNOT_SAMPLE
        return
    samples = plan.model.sample(3)
    assert samples.shape == (3, *source.spec.shape)
    assert samples.isfinite().all()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_resolved_options_build_the_same_plan_again(name, kind, sources):
    source = sources(kind)
    plan = built(name, source)
    record = json.loads(json.dumps(plan.options.model_dump(mode="json")))
    options = find(name).options.read(record, "record")
    torch.manual_seed(0)
    again = find(name).build(source.spec, len(source), options)
    assert again.options == plan.options
    assert again.steps == plan.steps
    assert again.batch == plan.batch
    assert again.model.config == plan.model.config
    assert str(again.model) == str(plan.model)
    assert all(torch.equal(a, b) for a, b in zip(plan.model.parameters(), again.model.parameters(), strict=True))
    assert played(again, source) == played(plan, source)


@each
def test_every_recipe_builds_with_its_defaults_and_leaves_nothing_open(name, sources):
    source = sources(data_of(name)[0])
    kind = find(name)
    plan = kind.build(source.spec, len(source), kind.options())
    assert isinstance(plan, Plan)
    assert isinstance(plan.model, Model)
    assert plan.steps == sum(stage.steps for stage in plan.stages) >= len(plan.stages)
    assert all(stage.steps >= 1 for stage in plan.stages)
    owned = {id(parameter) for player in plan.players.values() for parameter in player.parameters}
    assert all(id(parameter) in owned for parameter in plan.model.parameters())
    assert plan.model.spec == source.spec


@each
def test_every_recipe_says_who_it_is(name):
    kind = find(name)
    entry = json.loads(json.dumps(kind.entry()))
    assert entry.keys() == {"name", "family", "rows", "data", "paper"}
    assert all(entry.values())
    assert entry["name"] == name
    assert "arXiv" in entry["paper"] or name in PRINTED
    for word in ("command", f"simulacra train {name}", "budget", "score"):
        assert word in kind.about


@each
def test_every_option_is_described_or_was_where_it_was_first_named(name):
    options = find(name).options

    def described(field_name):
        fields = (base.model_fields.get(field_name) for base in options.__mro__ if hasattr(base, "model_fields"))
        return any(field is not None and field.description for field in fields)

    for setting, field in options.settings():
        assert "." in setting or described(setting) or field.annotation is None, setting


@each
def test_no_option_is_named_as_one_of_a_run_is(name):
    """It could not be given."""
    assert not {name for name, _ in find(name).options.settings()} & {*RunOptions.model_fields, "data", "out", "from"}


def test_budgets_follow_from_the_data():
    spec = Spec(kind="image", shape=(1, 8, 8), classes=None)

    def steps(name, size, **words):
        kind = find(name)
        return kind.build(spec, size, kind.options().with_overrides({"width": "2", **words}, name)).steps

    assert [steps("vae", size, batch="100") for size in (10, 10_000, 10**6)] == [2000, 10_000, 40_000]
    assert [steps("gan", size, batch="100") for size in (10, 50_000, 10**6)] == [4000, 20_000, 40_000]
    assert [steps("dcgan", size, batch="100") for size in (10, 50_000, 10**6)] == [4000, 7000, 20_000]
    assert [steps("rpgan", size, batch="100") for size in (10, 50_000, 10**6)] == [4000, 7000, 20_000]
    spec = Spec(kind="vector", shape=(2,), classes=None)
    assert [steps("rpgan", size) for size in (10, 60_000, 100_000, 10**6)] == [10_000, 15_000, 25_000, 25_000]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 28, 28), ("mlp", "bernoulli", 500, 40)),
        ((3, 28, 28), ("conv", "gaussian", 32, 64)),
        ((1, 28, 33), ("conv", "bernoulli", 32, 64)),
        ((5,), ("mlp", "gaussian", 500, 40)),
    ],
)
def test_what_is_left_open_in_a_vae_follows_from_the_data(shape, expected):
    spec = Spec(kind="image" if len(shape) == 3 else "vector", shape=shape, classes=None)
    found = find("vae").build(spec, 100, find("vae").options()).options
    assert (found.network, found.likelihood, found.width, found.latent) == expected


def test_a_gan_plays_its_rounds_and_its_players_rates(sources):
    source = sources("digits")
    plan = built("gan", source, discriminator_steps="3", r1="2.0", r1_every="4", schedule="linear", average="null")
    game = plan.stages[0].game
    assert [[(m.name, m.times, m.every) for m in round_.moves] for round_ in game.rounds] == [
        [("discriminate", 3, 1), ("penalise", 3, 4)],
        [("generate", 1, 1)],
    ]
    assert game.batches_per_step == 3
    assert game.optimizers["discriminator"].param_groups[0]["lr"] == 2e-4
    assert game.optimizers["generator"].param_groups[0]["lr"] == 2e-4
    assert all(player.rate(0.5) == 0.5 for player in game.players.values())
    assert game.players["generator"].averaged is None
    assert len(built("gan", source).stages[0].game.rounds) == 2


def test_several_generator_steps_are_repetitions_of_its_round(sources):
    game = built("gan", sources("ring"), generator_steps="3", discriminator_steps="2").stages[0].game
    assert [(round_.names, round_.times) for round_ in game.rounds] == [(["discriminate"], 2), (["generate"], 3)]
    assert game.batches_per_step == 1 + 1 + 2


def test_fade_is_what_is_left_of_r1_and_r2_at_the_end(sources):
    """The discriminator has moved alike in both games when it pays."""
    feed, paid = Feed(sources("ring"), seed=0, batch=6), []
    for options in ({}, {"fade": "0.25"}):
        game = built("gan", sources("ring"), r1="1.0", r2="2.0", r1_every="1", **options).stages[0].game
        paid.append(game.step(feed.at, Clock(progress=1.0)))
    whole, faded = paid
    for name in ("penalise/r1", "penalise/r2"):
        assert whole[name] > 0
        assert faded[name] == pytest.approx(0.25 * whole[name])


def moved(game, feed, step):
    """The terms of one step, and the names of the players whose weights or optimiser state it changed."""
    first = step * game.batches_per_step

    def look(name):
        memory = [value for state in game.optimizers[name].state.values() for value in state.values()]
        return [tensor.detach().clone() for tensor in (*game.players[name].parameters, *memory)]

    before = {name: look(name) for name in game.players}
    terms = game.step(lambda k: feed.at(first + k), Clock(step=step))
    after = {name: look(name) for name in game.players}
    same = {n: len(before[n]) == len(after[n]) and all(map(torch.equal, before[n], after[n])) for n in before}
    return terms, {name for name in same if not same[name]}


def blind(game):
    """Let the discriminator score every row alike, so that each pair is a tie."""
    torch.nn.init.zeros_(game.players["discriminator"].module.layers[-2].weight)


def test_a_discriminator_rests_while_its_lead_is_above_the_bound_and_moves_again_below(sources):
    """From 0.71, of a discriminator that knows nothing: 0.9·0.71 + 0.05 = 0.689, then 0.6701, then 0.65309 and with it
    below 0.66."""
    source = sources("ring")
    plan = built("gan", source, rest_above="0.66", r1="1.0", r1_every="1", discriminator_steps="2")
    game, feed = plan.stages[0].game, Feed(source, seed=0, batch=plan.batch)
    assert game.state["lead"] == 0.5
    blind(game)
    game.state["lead"] = torch.tensor(0.71)
    for step, lead in enumerate((0.689, 0.6701, 0.65309)):
        terms, players = moved(game, feed, step)
        assert players == {"generator"}
        assert terms.keys() == {"generate/fool", "generate/lead", "generator/gradient"}
        assert terms["generate/lead"] == pytest.approx(lead)
        assert game.state["lead"].item() == pytest.approx(lead)
    terms, players = moved(game, feed, 3)
    assert players == {"generator", "discriminator"}
    assert {"discriminate/real", "penalise/r1", "generate/fool"} <= terms.keys()


def test_a_discriminator_rests_in_exactly_the_steps_that_begin_above_the_bound(sources):
    source = sources("ring")
    rates = {"discriminator.lr": "0.01", "generator.lr": "0.1"}
    plan = built("gan", source, rest_above="0.55", batch="16", width="16", **rates)
    game, feed = plan.stages[0].game, Feed(source, seed=0, batch=plan.batch)
    found = [(bool(game.state["lead"] <= 0.55), "discriminator" in moved(game, feed, step)[1]) for step in range(30)]
    assert all(below == moves for below, moves in found)
    assert {moves for _, moves in found} == {True, False}
    assert (False, True) in zip([moves for _, moves in found], [moves for _, moves in found[1:]])


def test_nobody_watches_a_discriminator_that_never_rests(sources):
    plan = built("gan", sources("ring"))
    assert not plan.stages[0].game.state
    assert "generate/lead" not in played(plan, sources("ring"))


def test_an_unknown_recipe_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match="unknown recipe 'dcgam': did you mean 'dcgan'"):
        find("dcgan"[:-1] + "m")


def test_recipes_are_listed_by_family_and_name():
    listed = list(all_recipes().values())
    assert listed == sorted(listed, key=lambda kind: (kind.family, kind.name))
    assert {"vae", "gan", "dcgan"} <= set(all_recipes())


STRANGER = Recipe(
    name="stranger",
    family="elsewhere",
    rows=("Z9",),
    data="ring",
    paper="none",
    options=find("gan").options,
    build=find("gan").build,
)


def test_recipes_of_other_packages_are_found_by_entry_point(monkeypatch):
    asked = []

    def installed(group):
        asked.append(group)
        return [EntryPoint("stranger", f"{__name__}:STRANGER", group)]

    monkeypatch.setattr(recipes, "entry_points", installed)
    assert find("stranger").name == "stranger"
    assert set(asked) == {"simulacra.recipes"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clip": 0.01, "spectral": True}, "choose one"),
        ({"rule": "consensus"}, "simultaneous"),
        ({"turns": "simultaneous", "discriminator_steps": 5}, "discriminator_steps"),
        ({"turns": "simultaneous", "generator_steps": 2}, "generator_steps"),
        ({"turns": "simultaneous", "rest_above": 0.8}, "leave out rest_above"),
        ({"rest_above": 0.5}, "'rest_above' should be greater than 0.5"),
        ({"fade": 0.0}, "'fade' should be greater than 0"),
        ({"one_sided": True}, "one_sided does nothing without gradient_penalty, which is off"),
        ({"dragan_spread": 2.0, "gradient_penalty": 10}, "dragan_spread does nothing without dragan"),
        ({"power_iterations": 2}, "power_iterations does nothing without spectral"),
        ({"fade": 0.1}, "fade does nothing without r1 or r2"),
        ({"r1_every": 4, "dragan": 1}, "r1_every does nothing without r1 or r2"),
        ({"unrolled_rate": 3.0}, "unrolled_rate does nothing without unrolled"),
        (
            {"consensus": 3.0, "turns": "simultaneous", "rule": "extragradient"},
            "consensus does nothing without rule consensus",
        ),
        ({"objective": "wassertein"}, "did you mean 'wasserstein'"),
    ],
)
def test_constraints_and_turns_that_cannot_go_together_are_refused(options, words):
    kind = find("gan")
    with pytest.raises(UserError, match=words):
        kind.build(Spec(kind="vector", shape=(2,), classes=None), 100, kind.options().with_overrides(options, "gan"))


@pytest.mark.parametrize("rule", ["consensus", "half-squared-field"])
@pytest.mark.parametrize("host", [{"gradient_penalty": 1}, {"r1": 1}, {"unrolled": 1}])
def test_a_third_derivative_of_batch_norm_is_refused(rule, host):
    kind = find("dcgan")
    given = {"turns": "simultaneous", "rule": rule, "width": 4} | host
    spec = Spec(kind="image", shape=(1, 8, 8), classes=None)
    with pytest.raises(UserError, match="--discriminator-norm none"):
        kind.build(spec, 100, kind.options().with_overrides(given, "dcgan"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective": "wasserstein"}, "constrained critic"),
        ({"gradient_penalty": 10.0}, "batch norm"),
        ({"dragan": 10.0}, "batch norm"),
        ({"r1": 1.0}, "batch norm"),
        ({"r2": 1.0}, "batch norm"),
        ({"r1": 1.0, "discriminator_norm": "none", "minibatch": "deviation"}, "minibatch layers mix"),
        ({"clip": 0.01, "gradient_penalty": 10.0, "discriminator_norm": "none"}, "at its own value: choose one"),
        ({"clip": 0.01, "r2": 1.0, "discriminator_norm": "none"}, "hold the discriminator back: choose one"),
        ({"clip": 0.01, "orthonormal": 0.1}, "within 0.01: choose one"),
        ({"spectral": True}, "batch norm scales"),
        ({"unrolled": 2, "clip": 0.1}, "along the objective alone"),
        ({"unrolled": 2}, ""),
        ({"spectral": True, "discriminator_norm": "none"}, ""),
        ({"r1": 1.0, "r2": 1.0, "discriminator_norm": "none"}, ""),
        ({"gradient_penalty": 10.0, "discriminator_norm": "none", "objective": "wasserstein"}, ""),
        ({"r1": 1.0, "discriminator_norm": "none", "objective": "wasserstein"}, ""),
        ({}, ""),
    ],
)
def test_what_will_not_work_well_is_warned_of(options, words, caplog):
    kind = find("dcgan")
    kind.build(Spec(kind="image", shape=(1, 8, 8), classes=None), 100, kind.options().with_overrides(options, "dcgan"))
    assert words in caplog.text
    assert bool(words) == bool(caplog.text)


def test_equal_channels_of_a_generator_without_channels_are_refused():
    kind = find("dcgan")
    options = kind.options().with_overrides({"generator_network": "mlp", "constant": True}, "dcgan")
    with pytest.raises(UserError, match="constant is of the channels of convolutions"):
        kind.build(Spec(kind="image", shape=(1, 8, 8), classes=None), 100, options)


def test_clipping_bounds_the_discriminator_alone(tmp_path):
    from simulacra.artifact import stored
    from simulacra.training import train

    given = {"data": "ring", "steps": 3, "width": 8, "latent": 2, "quiet": True, "with_training": True}
    train("gan", out=tmp_path / "run", objective="wasserstein", clip=0.01, **given)
    model, others = stored(tmp_path / "run")
    assert max(tensor.abs().max().item() for tensor in others.values()) <= 0.01
    assert max(tensor.abs().max().item() for tensor in model.values()) > 0.01


@each
def test_every_recipe_is_built_where_it_is_told_to_be(name, sources):
    """As on an accelerator: under torch's meta device nothing is left on the CPU but what is moved there on purpose."""
    source = sources(data_of(name)[0])
    with torch.device("meta"):
        plan = built(name, source)
    kept = {n: t.device.type for n, t in [*plan.model.named_parameters(), *plan.model.named_buffers()]}
    assert {*kept.values()} <= {"meta"}, {n for n, kind in kept.items() if kind != "meta"}


def test_the_recommended_game_settles_what_suits_the_data_and_takes_what_is_said():
    kind = find("rpgan")
    points = kind.build(Spec(kind="vector", shape=(2,), classes=None), 100, kind.options()).options
    image = Spec(kind="image", shape=(1, 8, 8), classes=None)
    images = kind.build(image, 100, kind.options()).options
    assert (points.batch, points.fade, points.generator.betas) == (100, 1e-6, (0.5, 0.99))
    assert (images.batch, images.fade, images.discriminator.betas) == (64, 0.3, (0.0, 0.99))
    said = {"batch": "7", "fade": "0.1", "generator.betas": "0.9,0.9", "width": "4"}
    own = kind.build(image, 100, kind.options().with_overrides(said, "rpgan")).options
    assert (own.batch, own.fade, own.generator.betas, own.discriminator.betas) == (7, 0.1, (0.9, 0.9), (0.0, 0.99))
    kind.build(image, 100, kind.options().with_overrides({"r1": "0", "r2": "0", "width": "4"}, "rpgan"))
    with pytest.raises(UserError, match="fade does nothing without r1 or r2"):
        kind.build(image, 100, kind.options().with_overrides({"r1": "0", "r2": "0", "fade": "0.1"}, "rpgan"))
