"""Moment matching networks: what they descend, what they match, and that it brings samples to the data."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from simulacra.costs.matching import mmd2, root_mmd
from simulacra.data import Batch, Feed, Spec, open_data
from simulacra.errors import UserError
from simulacra.game import At, Clock, Table, Turn
from simulacra.models.gmmn import GMMN, SHARES, CodeGMMN, MomentMatching, stack
from simulacra.recipes import Plan, find

SMALL = {"latent": "3", "hidden": "16,16", "batch": "200", "optimizer.lr": "0.01"}
CODED = {**SMALL, "space": "code", "code": "4", "encoder": "24", "autoencoder.lr": "0.02"}


def plan(spec: Spec, **options: str) -> Plan:
    kind = find("gmmn")
    torch.manual_seed(0)
    return kind.build(spec, 1000, kind.options().with_overrides(options, "gmmn"))


def planes(d: int = 2) -> Spec:
    return Spec(kind="vector", shape=(d,), classes=None)


def two_clusters(n: int, seed: int) -> Tensor:
    noise = torch.Generator().manual_seed(seed)
    side = torch.randint(2, (n, 1), generator=noise) * 2.0 - 1.0
    return torch.cat([side, -side], 1) + 0.1 * torch.randn(n, 2, generator=noise)


def batch_of(x: Tensor) -> Batch:
    return Batch(x=x, labels=None, index=torch.arange(len(x)), start=0, joint=len(x), pass_end=False)


def noise_for(made: Plan, batch: Batch, stage: int = 0) -> At:
    turn = Turn(made.stages[stage].game, batch, Clock(), (0, stage, 0, 0, 0, 0), Table())
    return next(turn.parts(0))[1]


@pytest.mark.parametrize("objective", ["root", "squared", "unbiased"])
def test_the_cost_is_the_discrepancy_of_samples_and_rows(objective: str) -> None:
    made, batch = plan(planes(), objective=objective, **SMALL), batch_of(two_clusters(50, 0))
    assert isinstance(made.model, GMMN)
    terms = made.stages[0].game.step(lambda k: batch, Clock())
    at = noise_for(made := plan(planes(), objective=objective, **SMALL), batch)
    with torch.no_grad():
        samples = made.model.generator(2 * at.uniform(3) - 1)
    sigmas = made.options.bandwidths  # type: ignore[attr-defined]
    root = {"match/mmd": root_mmd(samples, batch.x, sigmas)}
    squared = {"match/mmd2": mmd2(samples, batch.x, sigmas, unbiased=objective == "unbiased")}
    ((name, value),) = (root if objective == "root" else squared).items()
    assert terms[name] == pytest.approx(value.item(), rel=1e-5)


def test_samples_come_to_the_law_of_the_data() -> None:
    made = plan(planes(), **SMALL)
    assert isinstance(made.model, GMMN)
    held, sigmas = two_clusters(1000, 99), (0.01, 0.1, 1.0)
    before = mmd2(made.model.sample(1000), held, sigmas, unbiased=True).item()
    for step in range(250):
        batch = batch_of(two_clusters(200, step))
        made.stages[0].game.step(lambda k, b=batch: b, Clock(step=step, progress=step / 250))
    samples = made.model.sample(1000)
    assert mmd2(samples, held, sigmas, unbiased=True).item() < before / 20
    sides = (samples[:, 0] > 0).float().mean()
    assert 0.35 < sides < 0.65
    assert (samples.sum(1).abs() < 0.6).float().mean() > 0.9


def test_codes_are_learned_first_and_then_matched() -> None:
    feed = Feed(open_data("digits"), seed=0, batch=200)
    made = plan(feed.source.spec, **CODED)
    model = made.model
    assert isinstance(model, CodeGMMN)
    assert [(stage.name, stage.steps) for stage in made.stages] == [("autoencoder", 2000), ("match", 2000)]
    x = feed.at(0).x
    error = (model.reconstruct(x) - x).square().mean()
    for step in range(300):
        made.stages[0].game.step(lambda k, s=step: feed.at(s), Clock(step=step))
    assert (model.reconstruct(x) - x).square().mean() < 0.3 * error
    assert model.code(model.inner(x)).var(0).min() > 0.05
    autoencoder = {name: value.clone() for name, value in model.autoencoder.state_dict().items()}
    told = [
        made.stages[1].game.step(lambda k, s=step: feed.at(s), Clock(stage=1, step=step))["match/mmd"]
        for step in range(60)
    ]
    assert told[-1] < 0.4 * told[0]
    assert all(torch.equal(value, autoencoder[name]) for name, value in model.autoencoder.state_dict().items())


@pytest.mark.parametrize(("share", "lengths"), [("0.1", [400, 3600]), ("0.0001", [1, 3999]), ("0.9999", [4000, 1])])
def test_the_autoencoder_learns_for_its_share_of_the_steps(share: str, lengths: list[int]) -> None:
    made = plan(open_data("digits").spec, **CODED, autoencoder_share=share)
    assert [stage.steps for stage in made.stages] == lengths


def test_the_codes_that_are_matched_lose_nothing_and_take_no_gradient() -> None:
    """Dropout is of the autoencoder's own stage."""
    feed = Feed(open_data("digits"), seed=0, batch=50)
    model = plan(feed.source.spec, **CODED).model.train()
    assert isinstance(model, CodeGMMN)
    batch = feed.at(0)
    codes = model.wanted(batch)
    assert not codes.requires_grad
    assert torch.equal(codes, model.wanted(batch))
    assert model.autoencoder.training
    encoder = model.autoencoder["encoder"]
    rows = model.inner(batch.x)
    assert not torch.equal(encoder(rows), encoder(rows))


@pytest.mark.parametrize("kind", ["image", "vector"])
def test_codes_are_decoded_by_the_autoencoder(kind: str) -> None:
    """Those of the generator and those of the data: to brightness and so to [−1, 1]; to vectors as they are."""
    spec = Spec(kind="image", shape=(1, 3, 4), classes=None) if kind == "image" else planes(12)
    model = plan(spec, **CODED).model
    assert isinstance(model, CodeGMMN)
    encoder, decoder = (model.eval().autoencoder[name] for name in ("encoder", "decoder"))
    x, z = 2 * torch.rand(5, *spec.shape) - 1, model.prior(5)

    def shown(code: Tensor) -> Tensor:
        return (2 * decoder(code).sigmoid() - 1 if kind == "image" else decoder(code)).view(5, *spec.shape)

    assert torch.allclose(model.decode(z), shown(model.generator(z)), atol=1e-6)
    inside = 0.5 * (x.flatten(1) + 1) if kind == "image" else x
    assert torch.allclose(model.reconstruct(x), shown(encoder(inside)), atol=1e-6)
    assert model.decode(z).std() > 0.01


def test_inside_images_are_from_0_to_1_and_outside_from_minus_1() -> None:
    image = Spec(kind="image", shape=(3, 4, 5), classes=None)
    model = plan(image, **SMALL).model
    assert isinstance(model, GMMN)
    x = torch.linspace(-1, 1, 120).view(2, 3, 4, 5)
    assert model.inner(x).shape == (2, 60)
    assert model.inner(x).min() == 0
    assert torch.allclose(model.outer(model.inner(x)), x, atol=1e-6)
    drawn = model.sample(500)
    assert drawn.abs().max() <= 1
    assert torch.equal(drawn, model.decode(model.prior(500)))
    assert model.prior(5000).abs().max() <= 1
    assert model.prior(5000).std() == pytest.approx(3**-0.5, abs=0.01)


@pytest.mark.parametrize(
    ("spec", "options", "sigmas"),
    [
        (Spec(kind="image", shape=(1, 28, 28), classes=None), {}, (2, 5, 10, 20, 40, 80)),
        (Spec(kind="image", shape=(1, 14, 28), classes=None), {}, (1, 2.5, 5, 10, 20, 40)),
        (Spec(kind="image", shape=(1, 28, 28), classes=None), {"space": "code", "bandwidths": "1,2"}, (1, 2)),
        (planes(), {}, (0.001, 0.01, 0.1, 1)),
        (planes(), {"bandwidths": "3"}, (3,)),
    ],
)
def test_bandwidths_are_the_originals_where_it_has_some(spec: Spec, options: dict, sigmas: tuple[float, ...]) -> None:
    assert plan(spec, **options).options.bandwidths == pytest.approx(sigmas)  # type: ignore[attr-defined]


def test_bandwidths_of_codes_are_shares_of_their_mean_squared_distance() -> None:
    feed = Feed(open_data("digits"), seed=0, batch=50)
    made, batch = plan(feed.source.spec, **CODED), feed.at(0)
    model = made.model
    assert isinstance(model, CodeGMMN)
    samples, codes = model.generate(noise_for(made, batch, stage=1)), model.wanted(batch)
    distances = torch.cdist(codes.double(), codes.double()).square().sum() / (50 * 49)
    expected = root_mmd(samples, codes, [share * distances.item() for share in SHARES])
    found = MomentMatching(model, None).cost(batch, noise_for(made, batch, stage=1))
    assert found["mmd"].item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "least"),
    [({}, 1), ({"space": "code"}, 2), ({"space": "code", "bandwidths": "1"}, 1), ({"objective": "unbiased"}, 2)],
)
def test_rows_are_told_to_come_in_pairs_where_distances_are_looked_at(options: dict[str, str], least: int) -> None:
    assert plan(Spec(kind="image", shape=(1, 8, 8), classes=None), **options).least == least


def test_layers_lie_as_they_are_asked_for() -> None:
    net = stack([3, 4, 5, 2], torch.nn.ReLU, final=torch.nn.Sigmoid, dropout=(0.0, 0.5))
    names = [type(layer).__name__ for layer in net]
    assert names == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Linear", "Sigmoid"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"code": "5"}, "--code is of the autoencoder.*--space code"),
        ({"bandwidths": "1,0"}, "above 0"),
        ({"space": "code", "dropout": "1"}, "dropout.*less than 1"),
        ({"space": "code", "dropout": "0.1,0.2,0.3"}, "2 layers of the encoder at most"),
        ({"autoencoder.lr": "0.5"}, "--space code"),
        ({"autoencoder_share": "0.5"}, "--autoencoder-share is of the autoencoder.*--space code"),
        ({"space": "code", "autoencoder_share": "1"}, "autoencoder.share.*less than 1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, str], match: str) -> None:
    with pytest.raises(UserError, match=match):
        plan(planes(), **options)


def test_a_row_that_is_alone_is_no_batch_for_the_unbiased_estimate() -> None:
    made = plan(planes(), objective="unbiased", **SMALL)
    with pytest.raises(ValueError, match="each side needs 2"):
        made.stages[0].game.step(lambda k: replace(batch_of(two_clusters(1, 0))), Clock())
