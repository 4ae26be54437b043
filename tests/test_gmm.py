"""The Gaussian mixture: scikit-learn's EM, monotone likelihoods, its start, what is mended, and its verbs."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare
from sklearn.mixture import GaussianMixture
from torch import Tensor

import simulacra
from simulacra.data import Batch, Spec
from simulacra.errors import UserError
from simulacra.game import Clock, ClosedForm, Game, Player, Stage, Table
from simulacra.models.covariances import COVARIANCES, CovarianceKind
from simulacra.models.gmm import GMM, ExpectationMaximisation, GMMConfig, KMeansPlusPlus, k_means_plus_plus
from simulacra.recipes import Plan, find

KINDS = get_args(CovarianceKind)
each_kind = pytest.mark.parametrize("kind", KINDS)
AT: Any = SimpleNamespace(clock=Clock())
SKLEARN: dict[str, Any] = {"diagonal": "diag"}


def clusters(n: int = 600, d: int = 4, k: int = 3, seed: int = 0) -> Tensor:
    """Rows float64 `[n, d]` of k correlated clusters that overlap."""
    noise = torch.Generator().manual_seed(seed)
    mixing = torch.randn(k, d, d, generator=noise, dtype=torch.float64)
    centres = 2.5 * torch.randn(k, d, generator=noise, dtype=torch.float64)
    which = torch.randint(k, (n,), generator=noise)
    rows = torch.randn(n, d, generator=noise, dtype=torch.float64)
    return centres[which] + (mixing[which] @ rows[:, :, None])[:, :, 0]


def batches(x: Tensor, size: int) -> list[Batch]:
    """The rows as the batches of one pass."""
    parts = list(zip(x.split(size), torch.arange(len(x)).split(size)))
    whole = {"labels": None, "start": 0, "pass_end": False}
    found = [Batch(x=rows, index=index, joint=len(rows), **whole) for rows, index in parts]
    return [*found[:-1], replace(found[-1], pass_end=True)]


def plan(x: Tensor, **options: str) -> Plan:
    spec, kind = Spec(kind="vector", shape=(x.shape[1],), classes=None), find("gmm")
    return kind.build(spec, len(x), kind.options().with_overrides({"components": "3", **options}, "gmm"))


def model_of(plan: Plan) -> GMM:
    assert isinstance(plan.model, GMM)
    return plan.model


def begun(x: Tensor, **options: str) -> Plan:
    """A mixture after its k-means++ start on all rows."""
    made = plan(x, **options)
    made.stages[0].game.step(batches(x, len(x)).__getitem__, Clock(seed=3))
    return made


def passes(stage: Stage, x: Tensor, number: int, size: int = 250) -> list[dict[str, float]]:
    """The terms of so many passes."""
    dealt = batches(x, size)
    told = []
    for step in range(number * len(dealt)):
        terms = stage.game.step(dealt[step % len(dealt) :].__getitem__, Clock(stage=1, step=step))
        told += [terms] if terms else []
    return told


def likelihood(model: GMM, x: Tensor) -> float:
    return model.log_prob(x).value.mean().item()


# The reference


def reference(model: GMM, iterations: int) -> GaussianMixture:
    """scikit-learn's mixture that starts from this one's parameters."""
    kind = model.config.covariance
    precisions = torch.linalg.inv(model.covariances) if kind in ("full", "tied") else 1 / model.covariances
    return GaussianMixture(
        len(model.means),
        covariance_type=SKLEARN.get(kind, kind),
        tol=0.0,
        reg_covar=0.0,
        max_iter=iterations,
        weights_init=model.weights.detach().numpy().copy(),
        means_init=model.means.detach().numpy().copy(),
        precisions_init=precisions.numpy(),
    )


@pytest.mark.filterwarnings("ignore:Best performing initialization")
@each_kind
@pytest.mark.parametrize("iterations", [1, 12])
def test_em_is_that_of_scikit_learn(kind: str, iterations: int) -> None:
    x = clusters()
    made = begun(x, covariance=kind)
    model, theirs = model_of(made), reference(model_of(made), iterations)
    passes(made.stages[1], x, iterations)
    theirs.fit(x.numpy())
    assert likelihood(model, x) == pytest.approx(theirs.score(x.numpy()), abs=1e-9)
    assert np.allclose(model.weights.detach(), theirs.weights_, atol=1e-9)
    assert np.allclose(model.means.detach(), theirs.means_, atol=1e-8)
    assert np.allclose(model.covariances, theirs.covariances_, atol=1e-8)
    assert np.allclose(model.encode(x), theirs.predict_proba(x.numpy()), atol=1e-8)
    assert model.degrees_of_freedom == theirs._n_parameters()
    assert model.aic(x) == pytest.approx(theirs.aic(x.numpy()))
    assert model.bic(x) == pytest.approx(theirs.bic(x.numpy()))


@each_kind
def test_log_prob_is_the_sum_of_densities(kind: str) -> None:
    x = clusters(50)
    model = model_of(begun(x, covariance=kind))
    full = {"full": lambda k, c: c[k], "tied": lambda k, c: c, "diagonal": lambda k, c: c[k].diag()}
    full["spherical"] = lambda k, c: c[k] * torch.eye(4, dtype=torch.float64)
    density = torch.zeros(50, dtype=torch.float64)
    for k in range(3):
        law = torch.distributions.MultivariateNormal(model.means[k].detach(), full[kind](k, model.covariances))
        density += model.weights[k].detach() * law.log_prob(x).exp()
    value, said = model.log_prob(x)
    assert said == "exact"
    assert torch.allclose(value, density.log())


# The likelihood never falls


@each_kind
@pytest.mark.parametrize("floor", ["1e-6", "4.0"])
def test_a_pass_never_lowers_the_likelihood(kind: str, floor: str) -> None:
    """Nor where the floor holds covariances up: raised eigenvalues are the M step under that constraint."""
    x = clusters(seed=1)
    made = begun(x, covariance=kind, floor=floor)
    told = passes(made.stages[1], x, 40)
    values = [likelihood(model_of(begun(x, covariance=kind, floor=floor)), x), *(t["em/log_likelihood"] for t in told)]
    assert values[0] == pytest.approx(values[1], abs=1e-5)  # terms are in float32
    assert all(after >= before - 1e-5 for before, after in zip(values, values[1:]))
    assert likelihood(model_of(made), x) > values[0] + 0.01
    assert (told[-1]["em/floored"] > 0) == (floor == "4.0")


@each_kind
def test_a_floored_m_step_is_the_likeliest_under_the_floor(kind: str) -> None:
    """Any other covariance that is nowhere below the floor is less likely for rows of one Gaussian."""
    covariance, d, floor = COVARIANCES[kind], 4, 0.7
    x = clusters(200, k=1, seed=2) * torch.tensor([0.1, 1.0, 2.0, 0.3], dtype=torch.float64)
    model = GMM(GMMConfig(components=1, covariance=kind), Spec(kind="vector", shape=(d,), classes=None))
    em = ExpectationMaximisation(model, floor)
    for _ in range(2):
        em.maximise(em.expect(batches(x, 200)[0], AT))
    best, shape = likelihood(model, x), model.covariances
    noise = torch.Generator().manual_seed(0)
    for size in (0.01, 0.1, 1.0):
        for _ in range(20):
            other = shape + size * torch.randn(shape.shape, generator=noise, dtype=torch.float64)
            other = 0.5 * (other + other.mT) if kind in ("full", "tied") else other
            with torch.no_grad():
                model.factor.copy_(covariance.factored(covariance.floored(other, floor).value))
            assert likelihood(model, x) <= best + 1e-12


def test_statistics_do_not_depend_on_batches() -> None:
    x, found = clusters(), []
    for size in (600, 250, 7):
        made = begun(x)
        passes(made.stages[1], x, 3, size)
        found.append(model_of(made).factor.detach())
    assert torch.allclose(found[0], found[1], atol=1e-10)
    assert torch.allclose(found[0], found[2], atol=1e-10)


# Stepwise EM


@each_kind
def test_the_moments_of_a_mixture_give_it_back(kind: str) -> None:
    """The M step is invertible: that is why stepwise EM needs no memory but the parameters."""
    model = model_of(begun(clusters(), covariance=kind))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    em = ExpectationMaximisation(model, 1e-9)
    em.settle(em.moments(), 600)
    assert all(torch.allclose(value, before[name], atol=1e-10) for name, value in model.state_dict().items())


@pytest.mark.parametrize("step", [0, 5])
@each_kind
def test_stepwise_em_moves_the_statistics_by_its_rate(kind: str, step: int) -> None:
    """s ← s + γ(s̄ − s), by hand from moments about the origin, γ = (t + 2)^−α."""
    x = clusters()
    made = begun(x, covariance=kind, em="stepwise", power="0.7")
    model = model_of(made)
    shares = model.encode(x)
    own_counts, own_means = model.weights.detach().clone(), model.means.detach().clone()
    made.stages[1].game.step(batches(x, 600).__getitem__, Clock(stage=1, step=step))
    rate = (step + 2.0) ** -0.7
    counts = (1 - rate) * own_counts + rate * shares.mean(0)
    first = (1 - rate) * own_counts[:, None] * own_means + rate * shares.T @ x / 600
    assert torch.allclose(model.weights, counts, atol=1e-12)
    assert torch.allclose(model.means, first / counts[:, None], atol=1e-10)


@each_kind
def test_stepwise_em_comes_near_to_em(kind: str) -> None:
    x = clusters(1200, seed=4)
    slow, fast = begun(x, covariance=kind), begun(x, covariance=kind, em="stepwise")
    start = likelihood(model_of(slow), x)
    passes(slow.stages[1], x, 60, 1200)
    passes(fast.stages[1], x, 10, 100)
    best = likelihood(model_of(slow), x)
    assert best - start > 0.05
    assert likelihood(model_of(fast), x) > best - 0.2 * (best - start) - 0.02


# The start


def test_centres_are_drawn_in_proportion_to_squared_distances() -> None:
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0]], dtype=torch.float64)
    noise = torch.rand(4000, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pairs = torch.tensor([k_means_plus_plus(x, u) for u in noise])
    found = torch.bincount(4 * pairs[:, 0] + pairs[:, 1], minlength=16).double()
    squares = (x - x.T).square()
    wanted = (4000 / 4 * squares / squares.sum(1, keepdim=True)).flatten()
    assert found[wanted == 0].sum() == 0
    assert chisquare(found[wanted > 0], wanted[wanted > 0]).pvalue > 0.01


def test_the_start_finds_clusters_that_are_far_apart_and_is_a_function_of_the_key() -> None:
    centres = 100.0 * torch.eye(5, dtype=torch.float64)
    x = centres.repeat(40, 1) + clusters(200, d=5, seed=5) / 10
    models = []
    for seed in (3, 3, 4):
        made = plan(x, components="5")
        terms = made.stages[0].game.step(batches(x, 200).__getitem__, Clock(seed=seed))
        models.append(model_of(made))
    assert terms["start/squared_distance"] < 50
    assert torch.cdist(models[0].means.detach(), centres).min(0).values.max() < 10
    assert torch.allclose(models[0].weights, torch.full((5,), 0.2, dtype=torch.float64))
    assert torch.equal(models[0].means, models[1].means)
    assert not torch.equal(models[0].means, models[2].means)


@each_kind
def test_a_start_has_the_covariance_within_cells(kind: str) -> None:
    x = clusters(300)
    model = model_of(begun(x, covariance=kind))
    cell = torch.cdist(x, model.means.detach()).argmin(1)  # of means, near enough to those of centres
    within = sum(((x[cell == k] - x[cell == k].mean(0)).square().sum() for k in range(3)), torch.zeros(()))
    told = {"full": lambda c: c[0].trace(), "tied": lambda c: c.trace(), "diagonal": lambda c: c[0].sum()}
    told["spherical"] = lambda c: 4 * c[0]
    assert told[kind](model.covariances).item() == pytest.approx((within / 300).item(), rel=0.25)
    assert model.weights.sum().item() == pytest.approx(1)


def test_fewer_distinct_rows_than_components_are_refused() -> None:
    x = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).repeat(20, 1)
    with pytest.raises(UserError, match=r"3 components.*hold 2: give --components 2"):
        begun(x)


# What is mended


@each_kind
def test_an_empty_component_is_put_in_half_of_the_heaviest(kind: str) -> None:
    x = clusters()
    made = begun(x, covariance=kind)
    model = model_of(made)
    with torch.no_grad():
        model.means[1] = 1e4
        model.factor.copy_(COVARIANCES[kind].unit(3, 4).double())
    told = passes(made.stages[1], x, 30)
    assert told[0]["em/replaced"] == 1
    assert all(terms["em/replaced"] == 0 for terms in told[1:])
    assert model.weights.min() > 0.01
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert told[-1]["em/log_likelihood"] > told[1]["em/log_likelihood"]


@each_kind
def test_singular_covariances_are_raised_to_the_floor_and_told_of(kind: str) -> None:
    x = clusters()
    x[:, 2], x[:, 3] = x[:, 0], 1.0  # one number twice, and a constant
    made = begun(x, covariance=kind, floor="1e-4")
    told = passes(made.stages[1], x, 5)
    least = {"full": 6, "tied": 2, "diagonal": 3, "spherical": 0}[kind]
    assert told[-1]["em/floored"] == least
    if kind in ("full", "tied"):
        assert torch.linalg.eigvalsh(model_of(made).covariances).min() == pytest.approx(1e-4, rel=1e-6)
    assert model_of(made).log_prob(x).value.isfinite().all()


def test_equal_rows_leave_a_mixture_at_the_floor() -> None:
    made = plan(torch.ones(20, 2), components="1")
    made.stages[0].game.step(batches(torch.ones(20, 2), 20).__getitem__, Clock())
    told = passes(made.stages[1], torch.ones(20, 2), 2)
    assert told[-1]["em/floored"] == 2
    assert torch.allclose(model_of(made).means, torch.ones(1, 2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"components": "601"}, "601 components for 600 rows: give --components 600"),
        ({"components": "20", "batch": "10"}, "--batch 20"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, str], match: str) -> None:
    with pytest.raises(UserError, match=match):
        plan(clusters(), **options)


def test_covariances_that_would_not_fit_are_refused() -> None:
    kind, spec = find("gmm"), Spec(kind="image", shape=(3, 128, 128), classes=None)
    with pytest.raises(UserError, match="--covariance diagonal"):
        kind.build(spec, 1000, kind.options().with_overrides({"covariance": "full"}, "gmm"))
    assert kind.build(spec, 1000, kind.options()).options.covariance == "diagonal"


# The verbs


@each_kind
def test_samples_have_the_moments_of_the_mixture(kind: str) -> None:
    x = clusters()
    made = begun(x, covariance=kind)
    passes(made.stages[1], x, 10)
    model = model_of(made)
    drawn = model.sample(20_000, seed=1).double()
    mean = model.weights.detach() @ model.means.detach()
    assert torch.allclose(drawn.mean(0), mean, atol=5 * drawn.std(0).max().item() / 20_000**0.5)
    entropy = -likelihood(model, drawn)
    other = -likelihood(model, model.sample(20_000, seed=2).double())
    assert entropy == pytest.approx(other, abs=0.1)
    again = begun(drawn, covariance=kind)
    with torch.no_grad():
        for name in ("weights", "means", "factor"):
            getattr(model_of(again), name).copy_(getattr(model, name))
    passes(again.stages[1], drawn, 3, 5000)
    assert torch.allclose(model_of(again).covariances, model.covariances, rtol=0.15, atol=0.15)
    assert torch.allclose(model_of(again).weights, model.weights, atol=0.03)


def test_float32_comes_near_to_float64() -> None:
    x, found = clusters() + 30.0, []
    for dtype in ("float32", "float64"):
        made = begun(x.float(), dtype=dtype)
        passes(made.stages[1], x.float(), 10)
        assert model_of(made).means.dtype == getattr(torch, dtype)
        found.append(likelihood(model_of(made), x))
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def test_a_run_on_images_streams_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """An image of any size, rows that are never all in memory, and a stop in the middle of a pass."""
    images = np.random.default_rng(0).integers(0, 256, (90, 5, 7, 3), dtype=np.uint8)
    folder = tmp_path / "images"
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    how = {"components": 2, "covariance": "diagonal", "batch": 40, "quiet": True, "workers": 0, "device": "cpu"}
    runs = []
    for name, stops, stream in (("whole", [8], False), ("parts", [4, 8], True)):
        for steps in stops:
            run = simulacra.train(
                "gmm", data=f"folder:{folder}", out=tmp_path / name, steps=steps, horizon=8, stream=stream, **how
            )
        runs.append(run.model)
    assert all(torch.equal(a, b) for a, b in zip(runs[0].state_dict().values(), runs[1].state_dict().values()))
    assert runs[0].sample(2).shape == (2, 3, 5, 7)


def same(run: Any, other: Any) -> bool:
    both = zip(run.model.state_dict().values(), other.model.state_dict().values())
    return all(torch.equal(a, b) for a, b in both)


HOW = {"data": "digits", "components": 3, "covariance": "spherical", "quiet": True, "device": "cpu"}


def test_a_warm_start_goes_on_from_the_model_it_is_given(tmp_path: Path) -> None:
    simulacra.train("gmm", out=tmp_path / "a", steps=2, **HOW)  # a start, and one pass
    further = simulacra.train("gmm", out=tmp_path / "b", steps=1, origin=tmp_path / "a", **HOW)
    whole = simulacra.train("gmm", out=tmp_path / "c", steps=3, **HOW)
    assert same(further, whole)


def test_a_budget_that_ends_before_a_pass_does_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'em' wants 1 whole pass over 1,\d+ rows, 500 .* give --steps 5 or more"):
        simulacra.train("gmm", out=tmp_path / "a", steps=3, batch=500, **HOW)
    with pytest.raises(UserError, match=r"'count' wants 2 whole passes .* give --steps 8 or more"):
        simulacra.train("gnb", data="digits", out=tmp_path / "b", steps=7, batch=500, quiet=True)


def test_batches_that_wait_for_the_end_of_a_pass_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    how, said = {**HOW, "quiet": False, "batch": 500}, "batches that wait for the end of their pass"
    whole = simulacra.train("gmm", out=tmp_path / "a", steps=5, horizon=9, **how)
    assert said not in "".join(capsys.readouterr())
    more = simulacra.train("gmm", out=tmp_path / "a", steps=7, **how)
    assert f"{said}, and are not in the model yet: 2" in " ".join("".join(capsys.readouterr()).split())
    assert same(whole, more)


def test_gathering_joins_what_ranks_and_micro_batches_hold() -> None:
    x = clusters(30)
    model = GMM(GMMConfig(components=2), Spec(kind="vector", shape=(4,), classes=None))
    seeding = KMeansPlusPlus(ExpectationMaximisation(model, 1e-6), most=25)
    move = ClosedForm(
        name="start", players=["m"], statistics=seeding.gather, apply=lambda sums: kept(sums), each="batch"
    )
    game, seen = Game([Player(name="m", module=model)], [move]), {}

    def kept(sums):
        seen.update({name: value.clone() for name, value in sums.items()})
        return {}

    game.step(batches(x, 30).__getitem__, Clock(), Table(micro_batches=4))
    assert torch.equal(seen["rows"], x[:25])
    assert (seen["noise"] > 0).all()


def test_a_run_goes_on_beyond_its_passes_by_steps(tmp_path: Path) -> None:
    """The start is a step, and each pass over digits another, as all of them are one batch."""
    options = {"data": "digits", "out": tmp_path, "components": 3, "quiet": True}
    assert simulacra.train("gmm", passes=2, **options).step == 3
    assert simulacra.train("gmm", steps=5, **options).step == 5
