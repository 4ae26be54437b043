"""Restricted Boltzmann machines against sums over all their states."""

from functools import partial
from itertools import product
from math import e, log, pi
from pathlib import Path

import pytest
import torch
from torch import Tensor

import simulacra
from simulacra.data import Batch, Spec
from simulacra.errors import UserError
from simulacra.game import Clock, Game, Move, Player, Round
from simulacra.metrics import energy as measures
from simulacra.metrics.ais import GaussianRBMPath, annealed, base_rate, exact_gaussian_log_z, exact_log_z
from simulacra.metrics.energy import AIS
from simulacra.metrics.likelihood import LogLikelihood
from simulacra.metrics.of_model import Setting
from simulacra.models import energy
from simulacra.models.energy import Gibbs
from simulacra.models.rbm import RBM, RBMConfig
from simulacra.networks.boltzmann import GaussianMachine, Machine, bits, contrast, hidden_given
from simulacra.optimizers import SGD
from simulacra.randomness import Draws
from simulacra.recipes import find

SPEC = Spec(kind="image", shape=(1, 2, 2), classes=None)
EVEN = [k / 400 for k in range(401)]


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def states(units: int) -> Tensor:
    return torch.tensor(list(product([0.0, 1.0], repeat=units)), dtype=torch.float64)


def machine(v: int = 4, h: int = 3, scale: float = 1.0) -> Machine:
    return Machine(drawn(v, h, seed=1, scale=scale), drawn(v, seed=2), drawn(h, seed=3))


def gaussian(v: int, h: int) -> GaussianMachine:
    return GaussianMachine(drawn(v, h, seed=1), drawn(v, seed=2), drawn(h, seed=3), drawn(v, seed=4).exp())


def log_joint(m: Machine) -> Tensor:
    """log p(v, h) of all states `[2^V, 2^H]`."""
    v, h = states(len(m.visible)), states(len(m.hidden))
    energies = torch.stack([m.energy(v, each.expand(len(v), -1)) for each in h], dim=1)
    return -energies - (-energies).flatten().logsumexp(0)


def model(v: tuple[int, ...] = (1, 2, 2), hidden: int = 3, scale: float = 1.0, **options: object) -> RBM:
    made = RBM(RBMConfig(hidden=hidden, **options), Spec(kind="image", shape=v, classes=None))  # type: ignore[arg-type]
    with torch.no_grad():
        for number, parameter in enumerate(made.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=number + 1, scale=scale))
    return made


def frequencies(v: Tensor) -> Tensor:
    """Shares of all patterns of bits among rows `[N, V]`."""
    places = 2.0 ** torch.arange(v.shape[1] - 1, -1, -1, dtype=torch.float64)
    return torch.bincount((v.double() @ places).long(), minlength=2 ** v.shape[1]) / len(v)


def same_law(found: Tensor, law: Tensor, n: int) -> bool:
    return bool(((found - law).abs() < 4.5 * (law * (1 - law) / n).sqrt() + 1e-9).all())


# The machine


def test_energy_free_energy_and_conditionals_by_hand() -> None:
    """W = (2, 3; −1, 0), b = (1, −2), a = (½, −½); v = (1, 1), h = (1, 0): E = −1·(2 − 1) − (1 − 2) − ½ = −½."""
    two = torch.float64
    m = Machine(
        torch.tensor([[2, 3], [-1, 0]], dtype=two), torch.tensor([1, -2.0], dtype=two), torch.tensor([0.5, -0.5])
    )
    m = m._replace(hidden=m.hidden.double())
    v, h = torch.ones(1, 2, dtype=two), torch.tensor([[1.0, 0.0]], dtype=two)
    assert m.energy(v, h).item() == pytest.approx(-0.5)
    assert m.drive(v)[0].tolist() == pytest.approx([1.5, 2.5])
    assert m.expected(h)[0].tolist() == pytest.approx(torch.tensor([3.0, -3.0]).sigmoid().tolist())
    assert m.free_energy(v).item() == pytest.approx(1 - log(1 + 2.718281828**1.5) - log(1 + 2.718281828**2.5))


def test_conditionals_and_free_energy_are_those_of_the_joint() -> None:
    m = machine()
    joint, v, h = log_joint(m), states(4), states(3)
    log_z = exact_log_z(*m)
    assert torch.allclose(joint.logsumexp(1), -m.free_energy(v) - log_z)
    posterior = (joint - joint.logsumexp(1, keepdim=True)).exp()
    assert torch.allclose(m.drive(v).sigmoid(), posterior @ h)
    likelihood = (joint - joint.logsumexp(0)).exp()
    assert torch.allclose(m.expected(h), likelihood.T @ v)


def test_gaussian_conditionals_free_energy_and_partition_by_quadrature() -> None:
    """One visible unit on a grid: sums over v stand for integrals."""
    m = gaussian(1, 3)
    v, h = torch.linspace(-40, 40, 200_001, dtype=torch.float64)[:, None], states(3)
    step = 80 / 200_000
    joint = torch.stack([-m.energy(v, each.expand(len(v), -1)) for each in h], dim=1)
    assert torch.allclose(joint.logsumexp(1), -m.free_energy(v))
    assert (joint.flatten().logsumexp(0) + log(step)).item() == pytest.approx(exact_gaussian_log_z(*m), abs=1e-8)
    posterior = (joint - joint.logsumexp(1, keepdim=True)).exp()
    assert torch.allclose(m.drive(v).sigmoid(), posterior @ h)
    given = (joint - joint.logsumexp(0)).exp()
    means = given.T @ v
    assert torch.allclose(m.expected(h), means, atol=1e-6)
    assert torch.allclose((given.T @ v.square() - means.square()).sqrt(), m.sigma.expand(8, 1), atol=1e-6)


# Contrastive divergence


def exact_gradient(m: Machine, data: Tensor) -> tuple[Tensor, ...]:
    """∇ of −mean log p(v) by automatic differentiation of the sum over all states."""
    m = Machine(*(part.clone().requires_grad_() for part in m))
    cost = m.free_energy(data).mean() + (-m.free_energy(states(len(m.visible)))).logsumexp(0)
    return torch.autograd.grad(cost, m)


def contrastive_gradient(m: Machine, data: Tensor, k: int, hidden: Tensor | None = None) -> tuple[Tensor, ...]:
    m = Machine(*(part.clone().requires_grad_() for part in m))
    found = contrast(m, data, Draws(len(data), seed=3), k, hidden)
    return torch.autograd.grad(found.divergence.mean(), m)


def apart(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> float:
    return max((x - y).abs().max().item() for x, y in zip(a, b))


@pytest.fixture(scope="module")
def data() -> Tensor:
    """40,000 rows of two patterns."""
    return torch.tensor([[1.0, 0, 0, 1], [0, 0, 1, 1]], dtype=torch.float64).repeat(20_000, 1)


def test_long_chains_give_the_gradient_of_the_likelihood_and_short_ones_do_not(data: Tensor) -> None:
    """The chain's noise is below 0.005 per number here."""
    m = machine(scale=2.0)
    exact = exact_gradient(m, data)
    assert apart(contrastive_gradient(m, data, 60), exact) < 0.015
    assert apart(contrastive_gradient(m, data, 1), exact) > 0.05


def test_a_chain_that_has_arrived_gives_the_gradient_after_one_step(data: Tensor) -> None:
    m = machine(scale=2.0)
    law = log_joint(m).logsumexp(0).exp()  # of hidden units
    generator = torch.Generator().manual_seed(1)
    hidden = states(3)[torch.multinomial(law, len(data), replacement=True, generator=generator)]
    assert apart(contrastive_gradient(m, data, 1, hidden), exact_gradient(m, data)) < 0.015


def copier() -> RBM:
    """Visible units that are what the hidden ones are, and the other way round."""
    copied = model(hidden=4)
    with torch.no_grad():
        copied.weight.copy_(200.0 * torch.eye(4))
        copied.visible_bias.fill_(-100.0)
        copied.hidden_bias.fill_(-100.0)
    return copied


def played(rbm: RBM, chain: Tensor, persistent: bool, step: int = 1) -> tuple[dict[str, float], Game]:
    player = Player(name="machine", module=rbm, optimizer=SGD(lr=1e-9))
    cost = partial(rbm.cost, gibbs=Gibbs(2, persistent), decay=0.0)
    round_ = Round(Move(name="machine", players=["machine"], cost=cost))
    state = {"chain": chain} if persistent else {}
    game = Game([player], [round_], state, per_sample=state)
    x = torch.tensor([[1.0, 1, -1, -1], [1, 1, 1, -1]]).reshape(2, 1, 2, 2)
    batch = Batch(x=x, start=0, joint=2, pass_end=False, labels=None, index=torch.arange(2))
    return game.step(lambda k: batch, Clock(step=step)), game


def test_persistent_chains_stay_where_they_are_and_others_start_from_the_data() -> None:
    """A machine whose chains stand still: F of a pattern of m ones is −100 m · (−1 + 1) … = 100 m − 100 m = 0 there."""
    rbm, chain = copier(), torch.tensor([[0.0, 0, 0, 1], [0, 1, 0, 1]])
    with torch.no_grad():
        rbm.visible_bias.add_(torch.tensor([1.0, 2.0, 4.0, 8.0]))  # F = −(sum of these over the ones)
    terms, game = played(rbm, chain, persistent=True)
    assert terms["machine/divergence"] == pytest.approx(((-3 + 8) + (-7 + 10)) / 2, abs=1e-3)
    assert torch.equal(game.state["chain"], chain)
    terms, _ = played(rbm, chain, persistent=False)
    assert terms["machine/divergence"] == pytest.approx(0.0, abs=1e-3)


def test_persistent_chains_start_from_the_data() -> None:
    rbm = copier()
    terms, game = played(rbm, torch.zeros(2, 4), persistent=True, step=0)
    assert terms["machine/divergence"] == pytest.approx(0.0, abs=1e-3)
    assert torch.equal(game.state["chain"], torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 0]]))


def test_weight_decay_is_half_the_squared_norm() -> None:
    rbm = model()
    terms = rbm.cost(_batch(torch.ones(5, 1, 2, 2)), Noisy(5), Gibbs(), decay=0.1)  # type: ignore[arg-type]
    assert terms["decay"].item() == pytest.approx(0.05 * rbm.weight.square().sum().item())


def test_growing_chains_spend_an_equal_share_of_the_stage_at_each_length() -> None:
    growing = Gibbs(4, growing=True)
    assert [growing.steps(share) for share in (0.0, 0.24, 0.25, 0.5, 0.75, 0.99, 1.0)] == [1, 1, 2, 3, 4, 4, 4]
    rbm, x = model(), states(4).float()
    found = rbm.cost(_batch(x), Noisy(16, progress=0.6), Gibbs(3, growing=True), 0.0)["divergence"]  # type: ignore[arg-type]
    noise = Noisy(16)
    v = rbm.observed(x, noise)
    assert torch.equal(found, contrast(rbm.machine, v, noise, 2).divergence)


@pytest.mark.parametrize("name", ["rbm", "dbn", "dbm"])
def test_one_step_cannot_grow(name: str) -> None:
    kind = find(name)
    with pytest.raises(UserError, match="--growing true lets steps of Gibbs sampling grow to --k, which is 1"):
        kind.build(SPEC, 100, kind.options(k=1, growing=True))


class Noisy(Draws):
    def __init__(self, n: int, progress: float = 0.0) -> None:
        super().__init__(n, seed=0)
        self.progress, self.clock = progress, Clock(step=1, progress=progress)


def _batch(x: Tensor) -> Batch:
    return Batch(x=x, start=0, joint=len(x), pass_end=False, labels=None, index=torch.arange(len(x)))


# Chains


def test_gibbs_leaves_the_law_invariant_and_finds_it() -> None:
    rbm, n = model(), 40_000
    law = (-_double(rbm).free_energy(states(4)) - exact_log_z(*_double(rbm))).exp()
    start = states(4)[torch.multinomial(law, n, replacement=True, generator=torch.Generator().manual_seed(1))]
    for x, steps in ((2 * start - 1, 1), (torch.full((n, 4), -1.0), 60)):
        end = rbm.gibbs(x.float().reshape(n, 1, 2, 2), steps, seed=4).flatten(1)
        assert set(end.unique().tolist()) <= {-1.0, 1.0}
        assert same_law(frequencies(0.5 * (end + 1)), law, n)


def _double(rbm: RBM) -> Machine:
    return Machine(*(part.detach().double() for part in rbm.machine))


def test_samples_have_the_marginals_of_the_law() -> None:
    """Means of E[v|h] over samples, after enough steps."""
    rbm = model(chain=60)
    v, m = states(4), _double(rbm)
    expected = 2 * ((-m.free_energy(v) - exact_log_z(*m)).exp() @ v) - 1
    found = rbm.sample(20_000, seed=1).flatten(1)
    assert ((found.mean(0) - expected).abs() < 4.5 * found.std(0) / 20_000**0.5).all()


def test_a_gaussian_chain_has_the_moments_of_its_mixture() -> None:
    """p(v) is a mixture of 2^H Gaussians around E[v|h]."""
    rbm = model(visible="gaussian", chain=100)
    rbm.sigma.copy_(torch.tensor([0.5, 1.0, 1.5, 2.0]))
    with torch.no_grad():
        rbm.weight.mul_(0.5)
    m = GaussianMachine(*(part.detach().double() for part in rbm.machine))
    h = states(3)
    pull = h @ m.weight.T
    share = (h @ m.hidden + pull @ (m.visible / m.sigma) + 0.5 * pull.square().sum(1)).softmax(0)
    centres = m.expected(h)
    mean = share @ centres
    variance = share @ centres.square() - mean.square() + m.sigma.square()
    n = 20_000
    for drawn_rows in (rbm.gibbs(torch.zeros(n, 1, 2, 2), 100, seed=2), rbm.sample(n, seed=3)):
        v = drawn_rows.flatten(1).double()
        assert ((v.mean(0) - mean).abs() < 4.5 * (variance / n).sqrt()).all()
        assert torch.allclose(v.var(0), variance, rtol=0.06)


# Likelihoods


def test_probabilities_sum_to_one_and_say_that_they_are_exact() -> None:
    rbm = model()
    value, kind = rbm.log_prob(2 * states(4).float().reshape(-1, 1, 2, 2) - 1)
    assert kind == "exact"
    assert value.exp().sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_annealing_agrees_with_enumeration(visible: str) -> None:
    rbm = model((1, 5, 5), hidden=18, scale=0.5, visible=visible)
    rbm.base.copy_(drawn(25, seed=9, scale=0.3))
    found = rbm.partition(betas=EVEN, exact=False)
    parts = [part.detach() for part in rbm.machine]
    exact = exact_log_z(*parts) if visible == "bernoulli" else exact_gaussian_log_z(*parts)
    assert 0 < found.standard_error < 0.2
    assert abs(found.value - exact) < 3 * found.standard_error
    assert found.low < exact < found.high


def test_gaussian_annealing_is_exact_where_every_step_is() -> None:
    """Without weights and with b_A = b, every density on the way is a Gaussian times Π(1 + exp βa)."""
    sigma, a = torch.tensor([0.5, 2.0]), torch.tensor([1.0, -2.0])
    path = GaussianRBMPath(torch.zeros(2, 2), torch.tensor([3.0, -1.0]), a, sigma)
    found = annealed(path, [0.0, 0.5, 1.0], 5)
    exact = log(2 * pi) + sigma.log().sum().item() + (1 + a.double().exp()).log().sum().item()
    assert found.value == pytest.approx(exact, abs=1e-6)
    assert found.standard_error == pytest.approx(0.0, abs=1e-9)


def test_an_estimate_is_made_once_for_each_set_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "ENUMERATED", 0)
    monkeypatch.setattr(energy, "paper_betas", lambda: EVEN)
    calls, whole = [], energy.annealed
    monkeypatch.setattr(energy, "annealed", lambda *given: calls.append(given) or whole(*given))
    rbm, x = model(), torch.ones(3, 1, 2, 2)
    first = rbm.log_prob(x)
    assert first.kind == "estimate"
    assert torch.equal(rbm.log_prob(x).value, first.value)
    assert len(calls) == 1
    exact = -rbm.free_energy(x) - exact_log_z(*_double(rbm))
    assert (first.value - exact).abs().max() < 0.1
    with torch.no_grad():
        rbm.hidden_bias += 1.0
    assert not torch.equal(rbm.log_prob(x).value, first.value)
    assert len(calls) == 2


def test_the_measure_is_the_mean_with_the_errors_of_both_sums() -> None:
    rbm = model((1, 5, 5), hidden=18, scale=0.5)
    x = 2 * bits(torch.full((40, 25), 0.5), Noisy(40)).reshape(40, 1, 5, 5) - 1
    setting = Setting(test=lambda n: iter([(0, x[:25]), (25, x[25:])]), features=lambda rows: rows)
    score = AIS(AIS.Config(temperatures=200)).compute(rbm, setting)["ais"]
    log_z = rbm.partition(betas=[k / 200 for k in range(201)])
    free = rbm.free_energy(x).double()
    assert score.value == pytest.approx(-free.mean().item() - log_z.value, abs=1e-4)
    assert score.standard_error == pytest.approx((free.var().item() / 40 + log_z.standard_error**2) ** 0.5, rel=1e-4)
    assert score.facts["log_z_low"] < log_z.value < score.facts["log_z_high"]


def test_log_prob_is_scored_as_ais_is_by_the_same_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "ENUMERATED", 0)
    for module in (energy, measures):
        monkeypatch.setattr(module, "paper_betas", lambda: EVEN)
    calls, whole = [], energy.annealed
    monkeypatch.setattr(energy, "annealed", lambda *given: calls.append(given) or whole(*given))
    rbm, x = model(), 2 * states(4).float().reshape(-1, 1, 2, 2) - 1
    setting = Setting(test=lambda n: iter([(0, x)]), features=lambda rows: rows)
    ais, said = AIS().compute(rbm, setting)["ais"], LogLikelihood().compute(rbm, setting)["log_prob"]
    assert said.value == pytest.approx(ais.value, abs=1e-5)
    assert said.standard_error == pytest.approx(ais.standard_error, rel=1e-4)
    assert said.facts["effective_chains"] == ais.facts["effective_chains"]
    assert len(calls) == 1


# First values, codes, pictures


def test_first_biases_are_the_log_odds_of_the_data() -> None:
    rbm = model()
    x = torch.tensor([[1.0, -1, 0, 1], [1, -1, 0, -1]]).reshape(2, 1, 2, 2)
    rbm.prepare(x)
    rates = torch.tensor([1.0, 0.0, 0.5, 0.5])
    assert torch.allclose(rbm.visible_bias.detach(), (0.99 * rates + 0.005).logit(), atol=1e-5)
    assert torch.allclose(rbm.base, base_rate(rates[None]).float(), atol=1e-5)


def test_gaussian_units_start_from_standardised_data() -> None:
    rbm = model(visible="gaussian", sigma=0.5)
    x = torch.tensor([[0.0, 1, 5, 0], [2, 1, -5, 4]]).reshape(2, 1, 2, 2)
    rbm.prepare(x)
    assert rbm.visible_bias.tolist() == pytest.approx([1, 1, 0, 2])
    deviations = torch.tensor([2.0, 0.0, 50.0, 8.0]).sqrt()
    assert rbm.sigma.tolist() == pytest.approx((0.5 * deviations.clamp(min=0.1 * 50**0.5)).tolist())
    table = RBM(RBMConfig(hidden=3, visible="gaussian"), Spec(kind="vector", shape=(4,), classes=None))
    table.prepare(x.flatten(1))
    assert table.sigma.tolist() == pytest.approx([2**0.5, 0.1 * 50**0.5, 50**0.5, 8**0.5])


def test_deviations_are_learned_down_to_what_no_hidden_unit_explains() -> None:
    """Rows are (s, s, s, s), s = ±1, with a deviation of 0.2, which hidden units that tell s leave to σ: log p comes
    near −2 log 2πeσ² − log 2 = 0.07, its best, from −2 log 2πe (1 + σ²) = −5.75, that of independent Gaussians."""
    kind, noise, sigma = find("rbm"), torch.Generator().manual_seed(0), 0.2
    signs = torch.randint(0, 2, (4000, 1), generator=noise) * 2.0 - 1.0
    x = signs + sigma * torch.randn(4000, 4, generator=noise)
    found = {}
    for learned in (True, False):
        torch.manual_seed(0)
        options = kind.options(hidden=2, lr=0.03, decay=0.0, batch=200, learned_sigma=learned)
        plan = kind.build(Spec(kind="vector", shape=(4,), classes=None), len(x), options)
        plan.prepare(x)
        for step in range(1000):
            batch = _batch(x[torch.randint(0, 4000, (200,), generator=noise)])
            plan.stages[0].game.step(lambda k, rows=batch: rows, Clock(step=step, progress=step / 1000))
        found[learned] = plan.model.log_prob(x).value.mean().item()
    assert -1.0 < found[True] < -2 * log(2 * pi * e * sigma**2) - log(2) + 0.05
    assert found[False] < -4.0


def test_codes_are_probabilities_and_decode_to_expectations() -> None:
    rbm, x = model(), torch.tensor([[0.0, 1, -1, 0.5]]).reshape(1, 1, 2, 2)
    v = torch.tensor([[0.5, 1, 0, 0.75]])
    p = torch.sigmoid(v @ rbm.weight + rbm.hidden_bias)
    assert torch.allclose(rbm.encode(x), p, atol=1e-6)
    back = 2 * torch.sigmoid(p @ rbm.weight.T + rbm.visible_bias) - 1
    assert torch.allclose(rbm.reconstruct(x).flatten(1), back, atol=1e-6)


def test_bits_are_drawn_with_the_brightness_or_cut_at_half() -> None:
    x = torch.tensor([-1.0, -0.5, 0.5, 1.0]).expand(20_000, 4)
    drawn_bits = model().observed(x, Noisy(20_000)).mean(0)
    assert torch.allclose(drawn_bits, torch.tensor([0, 0.25, 0.75, 1.0]), atol=0.015)
    assert model(bits="threshold").observed(x, Noisy(20_000))[0].tolist() == [0, 0, 1, 1]


def test_filters_are_the_weights_scaled() -> None:
    rbm = model()
    filters = rbm.filters()
    assert filters.shape == (3, 1, 2, 2)
    assert filters.abs().flatten(1).amax(1).tolist() == pytest.approx([1, 1, 1])
    assert torch.allclose(filters[1].flatten() * rbm.weight[:, 1].abs().max(), rbm.weight[:, 1])


def test_hidden_units_are_drawn_from_their_probabilities() -> None:
    m, n = machine(), 20_000
    v = states(4)[5].expand(n, -1)
    p = m.drive(v[:1]).sigmoid()[0]
    found = hidden_given(m, v, Noisy(n)).mean(0)
    assert ((found - p).abs() < 4.5 * (p * (1 - p) / n).sqrt()).all()


# Training


def test_training_on_digits_beats_independent_pixels(tmp_path: Path) -> None:
    options = {"hidden": 12, "bits": "threshold", "lr": 0.3, "steps": 600, "preview_every": 600}
    run = simulacra.train("rbm", data="digits", out=tmp_path, quiet=True, **options)
    shown = {path.name.split("-")[0] for path in (tmp_path / "previews").iterdir()}
    assert shown == {"samples", "reconstructions", "filters", "gibbs"}
    rbm = run.model
    assert isinstance(rbm, RBM)
    train, test = (_binary(split) for split in ("train", "test"))
    value, kind = rbm.log_prob(2 * test - 1)
    assert kind == "exact"
    rates = train.mean(0).clamp(1e-3, 1 - 1e-3)
    alone = torch.distributions.Bernoulli(probs=rates).log_prob(test).flatten(1).sum(1)
    assert (value - alone).mean() > 5.0
    assert torch.allclose(rbm.base.sigmoid(), 0.95 * train.mean(0).flatten() + 0.025, atol=1e-5)


def _binary(split: str) -> Tensor:
    """Digits as zeros and ones, cut at half of their brightness."""
    pixels = simulacra.open_data("digits", split=split).data
    assert isinstance(pixels, Tensor)
    return (pixels > 127).float()


# The user's mistakes


def test_mistakes_are_named() -> None:
    rbm, bright = model(), torch.full((1, 1, 2, 2), 3.0)
    for verb in (rbm.encode, rbm.free_energy, rbm.reconstruct, lambda x: rbm.gibbs(x, 1)):
        with pytest.raises(UserError, match=r"outside \[-1, 1\]"):
            verb(bright)
    with pytest.raises(UserError, match="at least 1"):
        rbm.gibbs(torch.zeros(1, 1, 2, 2), 0)
    points = Spec(kind="vector", shape=(2,), classes=None)
    kind = find("rbm")
    for options, said in (
        ({"visible": "bernoulli"}, "use gaussian"),
        ({"visible": "gaussian", "bits": "threshold"}, "--bits"),
    ):
        with pytest.raises(UserError, match=said):
            kind.build(points, 100, kind.options(**options))
    real = kind.build(points, 100, kind.options(visible="gaussian")).model
    for alike in (torch.ones(5, 2), torch.ones(1, 2)):
        with pytest.raises(UserError, match="are the same"):
            real.prepare(alike)
    with pytest.raises(UserError, match="--sigma"):
        kind.build(SPEC, 100, kind.options(sigma=2.0))
