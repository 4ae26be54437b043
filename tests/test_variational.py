"""Bounds on log p(x) and posteriors, against models where everything is known and torch's own laws."""

import json
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from simulacra import artifact
from simulacra.costs import reconstruction
from simulacra.costs.divergences import free_bits, warmed
from simulacra.errors import UserError
from simulacra.metrics.active_units import ActiveUnits
from simulacra.metrics.likelihood import weighted_bound
from simulacra.metrics.of_model import Setting
from simulacra.models.coders import perceptron
from simulacra.models.hvae import HVAE, HVAEConfig
from simulacra.models.posterior import FullPosterior, Posterior, numbers_of, posterior_from
from simulacra.models.vae import VAE, VAEConfig
from simulacra.recipes import find
from tests.test_models import GREY, PLANE, SIGMA, B, W, X, evidence, linear, rows, told


@pytest.fixture(autouse=True)
def same_weights() -> None:
    torch.manual_seed(0)


def affine(weight, bias):
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight.clone(), bias.clone()
    return layer


# Posteriors of any covariance


def full(n=5, j=3):
    """Some posteriors, in float64."""
    output = torch.randn(n, numbers_of("full", j), dtype=torch.float64)
    found = posterior_from(output, "full", j)
    assert isinstance(found, FullPosterior)
    return output, found


def test_the_factor_is_cholesky_s_and_written_row_by_row():
    output, q = full()
    assert torch.equal(q.mean, output[:, :3])
    assert torch.allclose(q.factor.diagonal(dim1=1, dim2=2), (0.5 * output[:, 3:6]).exp())
    below = torch.stack([q.factor[:, 1, 0], q.factor[:, 2, 0], q.factor[:, 2, 1]], 1)
    assert torch.allclose(below, (0.5 * output[:, [4, 5, 5]]).exp() * output[:, 6:])
    assert torch.allclose(torch.linalg.cholesky(q.factor @ q.factor.mT), q.factor)


def test_divergence_and_densities_are_torch_s():
    _, q = full()
    law, prior = (
        MultivariateNormal(q.mean, scale_tril=q.factor),
        MultivariateNormal(torch.zeros(3).double(), torch.eye(3)),
    )
    assert torch.allclose(q.kl(), kl_divergence(law, prior), atol=1e-12)
    epsilon = torch.randn(5, 3).double()
    z = q.at(epsilon)
    assert torch.allclose(z, q.mean + torch.einsum("nij,nj->ni", q.factor, epsilon))
    assert torch.allclose(q.log_ratio(epsilon), prior.log_prob(z) - law.log_prob(z))


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_full_covariance_starts_without_correlations(network):
    model = VAE(VAEConfig(network=network, latent=4, width=8, covariance="full"), GREY)
    factor = model.posterior(torch.rand(3, *GREY.shape)).factor
    assert torch.equal(factor, torch.diag_embed(factor.diagonal(dim1=1, dim2=2)))
    assert factor.requires_grad


def test_without_correlations_it_is_the_diagonal_one():
    output = torch.randn(5, 6).double()
    diagonal = posterior_from(output, "diagonal", 3)
    other = posterior_from(torch.cat([output, torch.zeros(5, 3)], 1), "full", 3)
    epsilon = torch.randn(5, 3).double()
    assert torch.allclose(diagonal.at(epsilon), other.at(epsilon))
    assert torch.allclose(diagonal.kl(), other.kl())
    assert torch.allclose(diagonal.log_ratio(epsilon), other.log_ratio(epsilon))
    assert torch.allclose(diagonal.kl_of_each().sum(1), diagonal.kl())
    assert torch.allclose(diagonal.repeated(2).at(epsilon.repeat_interleave(2, 0))[::2], diagonal.at(epsilon))


def test_the_full_posterior_reaches_the_evidence_and_the_best_diagonal_one_does_not():
    """The decoder's columns are not orthogonal. At the exact posterior every weight is p(x) itself, whatever z is."""
    w = torch.tensor([[1.0, 0.8], [-0.1, 0.9]])
    exact = MultivariateNormal(B, w @ w.T + SIGMA**2 * torch.eye(2)).log_prob(X)
    precision = torch.eye(2) + w.T @ w / SIGMA**2
    gain = torch.linalg.solve(precision, w.T / SIGMA**2)
    factor = torch.linalg.cholesky(torch.linalg.inv(precision))
    model = VAE(VAEConfig(likelihood="gaussian", sigma=SIGMA, latent=2, covariance="full"), PLANE)
    rest = torch.cat([2 * factor.diagonal().log(), factor[1:, 0] / factor[1, 1]])
    model.encoder = affine(torch.cat([gain, torch.zeros(3, 2)]), torch.cat([-gain @ B, rest]))
    model.decoder = affine(w, B)
    assert torch.allclose(model.log_weights(X, 4), exact[:, None].expand(3, 4), atol=1e-4)
    assert torch.allclose(model.encode(X), (X - B) @ gain.T, atol=1e-6)

    diagonal = linear(gain, -gain @ B, -precision.diagonal().log())  # the best one of independent dimensions
    diagonal.decoder = model.decoder
    gap = 0.5 * (precision.diagonal().log().sum() - precision.logdet())  # its KL from the true posterior
    values = torch.stack([diagonal.log_prob(row.expand(6000, 2)).value for row in X])
    assert gap > 0.1
    assert ((exact - values.mean(1) - gap).abs() < 4 * values.std(1) / 6000**0.5).all()


# The importance weighted bound


def test_its_gradient_is_that_of_the_log_weights_by_normalised_weight():
    """Eq. 13 and 14, the sum over k taken by hand."""
    model, samples = VAE(VAEConfig(width=6, latent=2), GREY), 5
    batch, at = told(rows(2 * torch.rand(3, 1, 8, 8) - 1))
    loss = model.importance_weighted(batch, at, samples)["bound"].mean()
    found = torch.autograd.grad(loss, list(model.parameters()))

    again = told(batch)[1]
    x = model.observed(batch.x, lambda: again.uniform(1, 8, 8))
    epsilon, q = again.normal(samples, 2), model.posterior(x)
    logs = torch.stack([model.log_weights_at(x, q, epsilon[:, k]) for k in range(samples)], 1)
    shares = (logs.exp() / logs.exp().sum(1, keepdim=True)).detach() if logs.min() > -80 else logs.detach().softmax(1)
    expected = torch.autograd.grad(-(shares * logs).sum(1).mean(), list(model.parameters()))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected))
    assert torch.allclose(at.watched["effective_samples"], 1 / shares.square().sum(1), rtol=1e-4)
    assert ((at.watched["effective_samples"] >= 1) & (at.watched["effective_samples"] <= samples + 1e-4)).all()


def test_the_bound_in_training_rises_with_samples_from_the_elbo_to_the_evidence():
    model, values = linear(0.4 * torch.eye(2), torch.zeros(2), torch.tensor([-1.0, -2.0])), []
    batch = rows(X[1].expand(4000, 2))
    for samples in (1, 4, 64):
        bound = -model.importance_weighted(*told(batch), samples)["bound"]
        values.append((bound.mean().item(), 4 * bound.std().item() / 4000**0.5))
    elbo = -sum(term.mean().item() for term in model.cost(*told(batch)).values())
    exact = evidence(X[1:2]).item()
    assert abs(values[0][0] - elbo) < 2 * values[0][1]
    assert all(b > a + max(errors) for (a, *errors), (b, _) in pairwise(values))
    assert values[-1][0] < exact + values[-1][1]
    assert exact - values[-1][0] < 0.25 * (exact - values[0][0])


# Beta, free bits, a scale that is learned


def gradients(model, cost, names):
    total = sum(cost[name].mean() for name in names)
    found = torch.autograd.grad(total, list(model.encoder.parameters()), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, model.encoder.parameters())]


def test_below_the_floor_a_dimension_has_no_gradient_and_above_it_its_own():
    """Dimension 0 costs far more than 0.2 nats, dimension 1 nothing."""
    model = linear(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.zeros(2), torch.tensor([-1.0, 0.0]))
    batch = rows(torch.randn(50, 2))
    free, plain = model.cost(*told(batch), floor=0.2), model.cost(*told(batch))
    each = model.posterior(batch.x).kl_of_each().mean(0)
    assert each[0] > 1
    assert each[1] == 0
    assert free["kl"].shape == ()
    assert torch.allclose(free["kl"], each[0] + 0.2)
    (weight, bias), (whole, _) = gradients(model, free, ["kl"]), gradients(model, plain, ["kl"])
    assert torch.equal(weight[[1, 3]], torch.zeros(2, 2))
    assert torch.equal(bias[[1, 3]], torch.zeros(2))
    assert torch.allclose(weight[[0, 2]], whole[[0, 2]])
    assert weight[[0, 2]].abs().min() > 0


def test_free_bits_by_hand():
    kl = torch.tensor([[0.1, 3.0], [0.5, 1.0]])
    assert free_bits(kl, 0.5).item() == pytest.approx(0.5 + 2.0)
    assert free_bits(kl, 0.0).item() == pytest.approx(0.3 + 2.0)


def test_beta_weighs_the_divergence_and_the_plain_one_is_logged():
    model = VAE(VAEConfig(width=6, latent=2), GREY)
    batch, at = told(rows(torch.rand(6, 1, 8, 8)))
    plain, weighed = model.cost(*told(batch)), model.cost(batch, at, beta=4.0)
    assert torch.allclose(weighed["kl"], 4 * plain["kl"])
    assert torch.equal(weighed["reconstruction"], plain["reconstruction"])
    assert torch.allclose(at.watched["kl_plain"], plain["kl"])


def test_a_learned_scale_is_a_gaussian_s_and_is_best_at_the_root_of_the_mean_square():
    mean, x = torch.randn(6, 4).double(), torch.randn(6, 4).double()
    sigma = (x - mean).square().mean().sqrt().requires_grad_()
    found = reconstruction.gaussian(mean, x, sigma)
    assert torch.allclose(found, -Independent(Normal(mean, sigma), 1).log_prob(x))
    assert torch.autograd.grad(found.sum(), sigma)[0].abs() < 1e-12


def test_the_scale_is_a_parameter_only_where_it_is_learned(tmp_path):
    model = VAE(VAEConfig(width=4, latent=2, likelihood="gaussian", sigma=0.3, learned_sigma=True), PLANE)
    sum(term.mean() for term in model.cost(*told(rows(X))).values()).backward()
    scale = model.likelihood.log_sigma
    assert scale is not None
    assert scale.exp().item() == pytest.approx(0.3)
    assert scale.grad.abs() > 0.1
    scale.data.add_(1.0)
    loaded = artifact.load(artifact.save(model, tmp_path / "m", facts={}))
    assert torch.equal(loaded.log_prob(X).value, model.log_prob(X).value)
    assert "likelihood.log_sigma" not in VAE(VAEConfig(width=4, likelihood="gaussian"), PLANE).state_dict()


def test_an_artifact_from_before_these_settings_loads(tmp_path):
    model = VAE(VAEConfig(width=4, latent=2), GREY)
    folder = artifact.save(model, tmp_path / "old", facts={})
    record = json.loads((folder / "config.json").read_text())
    assert {record["config"].pop(name) for name in ("covariance", "learned_sigma")} == {"diagonal", False}
    (folder / "config.json").write_text(json.dumps(record))
    assert artifact.load(folder).config == model.config


@pytest.mark.parametrize(
    ("recipe", "options", "said"),
    [
        ("vae", {"learned_sigma": "true"}, "--learned-sigma is of the gaussian"),
        ("iwae", {"sigma": "0.3"}, "--sigma is of the gaussian"),
        ("hvae", {"sigma": "0.3"}, "--sigma is of the gaussian"),
        ("hvae", {"samples": "5", "free_bits": "1"}, "--free-bits is of the ELBO.*leave out one"),
        ("hvae", {"samples": "5", "warm_up": "0.5"}, "--warm-up is of the ELBO.*leave out one"),
        ("hvae", {"latents": "4,0"}, "greater than or equal to 1"),
    ],
)
def test_options_that_would_be_ignored_are_refused(recipe, options, said):
    with pytest.raises(UserError, match=said):
        find(recipe).build(GREY, 100, find(recipe).options().with_overrides(options, recipe))


# Layers of latents


A1, S1 = torch.tensor([[0.8, -0.5], [0.3, 0.6]]), torch.tensor([0.6, 0.9])
SMALL = torch.tensor([0.1, 0.2])


def two_layers(a=A1, w=W):
    """x = W h_1 + b + σ ε, h_1 = A h_2 + a + s ε_1, h_2 standard normal; a posterior that does not quite fit."""
    model = HVAE(HVAEConfig(likelihood="gaussian", sigma=SIGMA, latents=(2, 2)), PLANE)
    model.decoder = affine(w, B)
    model.priors[0] = affine(torch.cat([a, torch.zeros(2, 2)]), torch.cat([SMALL, 2 * S1.log()]))
    model.encoders[0] = affine(torch.cat([0.5 * torch.eye(2), torch.zeros(2, 2)]), torch.tensor([0.1, 0.0, -1.0, -1.0]))
    model.encoders[1] = affine(torch.cat([0.6 * a.T, torch.zeros(2, 2)]), torch.tensor([0.0, 0.1, -0.7, -0.7]))
    return model


def layered_evidence(x, a=A1, w=W):
    covariance = w @ (a @ a.T + torch.diag(S1**2)) @ w.T + SIGMA**2 * torch.eye(2)
    return MultivariateNormal(w @ SMALL + B, covariance).log_prob(x)


def test_weights_of_layers_average_to_the_likelihood_itself():
    model = two_layers()
    for x, exact in zip(X, layered_evidence(X)):
        ratio = (model.log_weights(x.expand(10_000, 2), 3) - exact).double().exp().flatten()
        assert abs(ratio.mean() - 1) < 4 * ratio.std() / 30_000**0.5


def test_elbo_of_layers_is_a_weight_on_average_and_bounds_rise_to_the_evidence():
    model, x = two_layers(), X[1:2].expand(8000, 2)
    gap = model.log_prob(x).value - model.log_weights(x, 1)[:, 0]
    assert gap.std() > 0.01
    assert abs(gap.mean()) < 4 * gap.std() / 8000**0.5
    means = [weighted_bound(model, x[:2000], k, at_a_time=50)[0].mean().item() for k in (1, 4, 16, 100)]
    exact = layered_evidence(X[1:2]).item()
    assert means == sorted(means)
    assert model.log_prob(x).value.mean() < layered_evidence(X[1:2]) - 0.1
    assert means[-1] == pytest.approx(exact, abs=0.05)


def test_at_the_exact_posteriors_every_weight_is_the_likelihood():
    """Diagonal maps have diagonal posteriors."""
    a, w = torch.tensor([0.9, -0.4]), torch.tensor([1.2, 0.7])
    model = two_layers(torch.diag(a), torch.diag(w))
    marginal = a**2 + S1**2  # of h_1
    precision = 1 / marginal + w**2 / SIGMA**2
    first = torch.cat([torch.diag(w / SIGMA**2 / precision), torch.zeros(2, 2)])
    model.encoders[0] = affine(first, torch.cat([(SMALL / marginal - w * B / SIGMA**2) / precision, -precision.log()]))
    gain, left = a / marginal, (S1**2 / marginal).log()
    model.encoders[1] = affine(torch.cat([torch.diag(gain), torch.zeros(2, 2)]), torch.cat([-gain * SMALL, left]))
    expected = layered_evidence(X, torch.diag(a), torch.diag(w))
    assert torch.allclose(model.log_weights(X, 4), expected[:, None].expand(3, 4), atol=1e-4)


def test_one_layer_is_the_vae():
    one, vae = HVAE(HVAEConfig(latents=(3,), width=8), GREY), VAE(VAEConfig(latent=3, width=8), GREY)
    one.load_state_dict({k.replace("encoder.", "encoders.0."): v for k, v in vae.state_dict().items()})
    x = 2 * torch.rand(5, 1, 8, 8) - 1
    assert torch.allclose(one.log_prob(x).value, vae.log_prob(x).value, atol=1e-4)
    assert torch.allclose(one.log_weights(x, 3), vae.log_weights(x, 3), atol=1e-4)
    assert torch.equal(one.sample(4), vae.sample(4))
    assert torch.equal(one.encode(x), vae.encode(x))


def test_terms_of_layers_add_up_to_the_elbo_and_free_bits_hold_each():
    model = HVAE(HVAEConfig(latents=(4, 3, 2), width=8), GREY)
    batch = rows(2 * torch.rand(6, 1, 8, 8) - 1)
    terms, again = model.cost(*told(batch)), told(batch)[1]
    assert list(terms) == ["reconstruction", "kl_1", "kl_2", "kl_3"]
    bits = model.observed(batch.x, lambda: again.uniform(1, 8, 8))
    assert torch.allclose(-sum(terms.values()), model.elbo(bits, again.normal(9)), atol=1e-4)
    free = model.cost(*told(batch), floor=5.0)
    assert [free[f"kl_{k}"].item() for k in (1, 2, 3)] == [20.0, 15.0, 10.0]


def test_a_weight_warms_up_to_one_and_stays():
    assert [warmed(p, 0.25) for p in (0.0, 0.05, 0.25, 0.6, 1.0)] == [0.0, 0.2, 1.0, 1.0, 1.0]
    assert [warmed(p, 0.0) for p in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "model",
    [HVAE(HVAEConfig(latents=(4, 3), width=8), GREY), VAE(VAEConfig(latent=4, width=8), GREY)],
    ids=["hvae", "vae"],
)
def test_warm_up_weighs_divergences_and_tells_of_them_as_they_are(model):
    batch, watched = rows(2 * torch.rand(6, 1, 8, 8) - 1), {}
    full = model.cost(*told(batch))
    _, at = told(batch)
    at.progress, at.watch = 0.1, watched.__setitem__
    part = model.cost(batch, at, warm_up=0.4)
    assert torch.equal(part["reconstruction"], full["reconstruction"])
    kls = [name for name in full if name.startswith("kl")]
    assert kls
    for name in kls:
        assert torch.allclose(part[name], 0.25 * full[name])
    assert torch.allclose(watched["kl_plain"], sum(full[name] for name in kls))


def test_codes_of_layers_are_distances_from_what_the_layer_above_expects():
    model = two_layers()
    codes = model.encode(X)
    h1 = 0.5 * X + torch.tensor([0.1, 0.0])
    h2 = h1 @ (0.6 * A1.T).T + torch.tensor([0.0, 0.1])
    assert torch.allclose(codes[:, 2:], h2, atol=1e-6)
    assert torch.allclose(codes[:, :2], (h1 - h2 @ A1.T - SMALL) / S1, atol=1e-5)
    assert torch.allclose(model.reconstruct(X), h1 @ W.T + B, atol=1e-5)
    z = model.prior(20_000, seed=1)
    drawn = model.decode(z) - (W @ SMALL + B)
    assert torch.allclose(drawn.T @ drawn / 20_000, W @ (A1 @ A1.T + torch.diag(S1**2)) @ W.T, atol=0.06)


# A collapsed posterior


def units(model, x):
    setting = Setting(test=lambda n: iter([(0, x[:40]), (40, x[40:])]), features=lambda x: x)
    return ActiveUnits().compute(model, setting)["active_units"]


def test_active_units_are_those_whose_means_vary():
    """Means 0.5 x_0 and 0.01 x_1 of standard normal x: variances 0.25 and 10⁻⁴."""
    x = torch.randn(100, 2)
    score = units(linear(torch.diag(torch.tensor([0.5, 0.01])), torch.ones(2), torch.zeros(2)), x)
    assert score.value == 1
    assert (score.facts["latents"], score.facts["rows"]) == (2, {"real": 100})
    expected = 0.25 * x[:, 0].var() + 1e-4 * x[:, 1].var()
    assert score.facts["variance"] == pytest.approx(expected.item(), rel=1e-4)
    assert not score.notes


def test_a_posterior_that_does_not_see_x_is_told_of():
    score = units(linear(torch.zeros(2, 2), torch.ones(2), torch.zeros(2)), torch.randn(100, 2))
    assert score.value == 0
    assert "collapsed" in score.notes[0]


@pytest.mark.parametrize("idle", [0, 1])
def test_a_layer_that_does_not_see_x_is_told_of(idle):
    """Codes of the upper layer follow the means below; where its encoder sees nothing they do not vary."""
    torch.manual_seed(0)
    model = HVAE(HVAEConfig(latents=(4, 3), width=8), GREY)
    with torch.no_grad():
        [m for m in model.encoders[1].modules() if isinstance(m, torch.nn.Linear)][-1].weight.mul_(10.0 * (1 - idle))
    score = units(model, 2 * torch.rand(100, 1, 8, 8) - 1)
    lower, upper = score.facts["active_in_layers"]
    assert score.value == lower + upper
    assert lower > 0
    assert (upper == 0) == bool(idle)
    assert [note.split(" tells")[0] for note in score.notes] == ["no latent of layer 2"] * idle


def test_posterior_s_moments_are_those_of_its_factor():
    q = FullPosterior(torch.tensor([[1.0, -1.0]]), torch.tensor([[[0.5, 0.0], [0.8, 0.3]]])).repeated(40_000)
    z = q.at(torch.randn(40_000, 2))
    assert torch.allclose(z.mean(0), torch.tensor([1.0, -1.0]), atol=0.02)
    assert torch.allclose(z.T.cov(), torch.tensor([[0.25, 0.4], [0.4, 0.73]]), atol=0.02)
    assert isinstance(posterior_from(torch.zeros(2, 4), "diagonal", 2), Posterior)


def test_perceptrons_start_by_glorot_s_heuristic():
    torch.manual_seed(0)
    network = perceptron((300,), (1, 10, 10), 200, 2)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    for layer in layers:
        assert layer.weight.var().item() == pytest.approx(2 / sum(layer.weight.shape), rel=0.05)
        assert not layer.bias.any()
    assert [layer.weight.shape for layer in layers] == [(200, 300), (200, 200), (100, 200)]


@pytest.mark.parametrize("model", [VAE(VAEConfig(width=4, latent=2), GREY), HVAE(HVAEConfig(width=4), GREY)])
def test_pixels_outside_their_range_are_refused(model):
    x = torch.full((2, 1, 8, 8), 255.0)
    for verb in (model.encode, model.reconstruct, model.log_prob, lambda x: model.log_weights(x, 2)):
        with pytest.raises(UserError, match=r"outside \[-1, 1\]"):
            verb(x)
    points = VAE(VAEConfig(width=4, latent=2, likelihood="gaussian"), PLANE)
    assert points.log_prob(torch.full((2, 2), 255.0)).value.isfinite().all()
