"""Adversarial variational Bayes: what its ratio network comes to, and that the contrast does not change the bound."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from simulacra.data.spec import Spec
from simulacra.metrics.likelihood import LogLikelihood
from simulacra.metrics.of_model import Setting
from simulacra.models.avb import AVB, AVBConfig, factor_of
from simulacra.models.posterior import FullPosterior
from simulacra.networks.implicit import Implicit, NoiseBasis
from tests.test_models import PLANE, SIGMA, B, W, X, elbo, rows, told

MEAN, SCALE = torch.tensor([0.5, -1.0]), torch.tensor([0.6, 1.5])
"""Of a posterior N(MEAN, diag SCALE²) that does not look at x."""
EVIDENCE = MultivariateNormal(B, W @ W.T + SIGMA**2 * torch.eye(2)).log_prob(X)


class Said(nn.Module):
    """The same numbers for every row."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = nn.Parameter(numbers)

    def forward(self, x):
        return self.numbers.expand(len(x), -1)


class Plain(nn.Module):
    """v(ε) = ε: the posterior is Gaussian."""

    def forward(self, epsilon):
        return epsilon


def gaussian(contrast):
    """An AVB of the linear decoder of tests/test_models.py, whose posterior is N(MEAN, diag SCALE²)."""
    torch.manual_seed(0)
    config = AVBConfig(
        likelihood="gaussian",
        sigma=SIGMA,
        latent=2,
        basis=1,
        basis_noise=2,
        ratio_width=64,
        ratio_depth=2,
        contrast=contrast,
    )
    model = AVB(config, PLANE)
    model.coder.encoder.trunk = Said(torch.cat([MEAN, SCALE - 1.0]))
    model.coder.encoder.basis = Plain()
    model.coder.decoder = nn.Linear(2, 2)
    with torch.no_grad():
        model.coder.decoder.weight.copy_(W)
        model.coder.decoder.bias.copy_(B)
    return model


def exact(model):
    """Put log q − log r in the ratio network's place: both are Gaussians."""

    def told_exactly(x, z):
        _, contrast = model.drawn(x, torch.zeros(len(x), 1, 2))
        back = (contrast.factor @ z[..., None])[..., 0] + contrast.mean
        q = Normal(MEAN, SCALE).log_prob(back).sum(1) + contrast.factor.diagonal(dim1=1, dim2=2).log().sum(1)
        return q - Normal(0.0, 1.0).log_prob(z).sum(1)

    model._told = told_exactly
    return model


class Linear(nn.Module):
    """A trunk whose numbers differ from row to row."""

    def __init__(self, numbers):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(2, numbers))

    def forward(self, x):
        return x @ self.weights


def test_moments_are_those_of_the_draws_row_by_row():
    torch.manual_seed(1)
    basis = NoiseBasis(3, 4, 2, 8)
    encoder = Implicit(Linear(8), basis, torch.randn(20_000, 3, 4), 2)
    mean, scales = encoder(X)
    centre, covariance = encoder.moments(mean, scales)
    v = basis(torch.randn(20_000, 3, 4))
    for row in range(len(X)):
        draws = mean[row] + (scales[row] * v).sum(1)
        assert torch.allclose(draws.mean(0), centre[row], atol=4 * draws.std(0).max().item() / math.sqrt(10_000))
        assert torch.allclose(draws.T.cov(), covariance[row], rtol=0.06, atol=0.06 * draws.var(0).min().item())
    assert not torch.allclose(covariance[0], covariance[1], rtol=0.5)
    plain = encoder.moments(mean, scales, full=False)
    assert torch.equal(plain[0], centre)
    assert torch.allclose(plain[1], covariance.diagonal(dim1=1, dim2=2).diag_embed(), rtol=1e-4)


def test_moments_keep_their_digits_where_half_of_them_are_asked_for():
    encoder = Implicit(Linear(8), NoiseBasis(3, 4, 2, 8), torch.randn(50, 3, 4), 2)
    mean, scales = encoder(X)
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder.moments(mean, scales)
    assert [part.dtype for part in found] == [torch.float32] * 2
    assert all(torch.equal(a, b) for a, b in zip(found, encoder.moments(mean, scales)))


def test_a_covariance_without_a_factor_gives_that_of_its_diagonal():
    good, bad = torch.tensor([[1.0, 0.6], [0.6, 1.0]]), torch.tensor([[1.0, 2.0], [2.0, 4.0 - 1e-3]])
    factors = factor_of(torch.stack([good, bad]))
    assert torch.allclose(factors[0] @ factors[0].T, good)
    assert torch.allclose(factors[1], bad.diagonal().sqrt().diag())
    assert factor_of(torch.full((1, 2, 2), math.nan)).diagonal(dim1=1, dim2=2).isnan().all()


def test_where_x_says_nothing_all_networks_of_a_basis_share_the_variance():
    """a_i = 1/√m, so that z has the variance of one of them, however many there are."""
    basis, trunk = NoiseBasis(4, 3, 2, 8), Said(torch.zeros(10))
    _, scales = Implicit(trunk, basis, torch.randn(8, 4, 3), 2)(X)
    assert torch.allclose(scales, torch.full((len(X), 4, 2), 0.5))


def test_networks_of_a_basis_see_their_own_noise_only():
    basis = NoiseBasis(3, 4, 2, 8)
    epsilon = torch.randn(1, 3, 4, requires_grad=True)
    basis(epsilon)[0, 1].sum().backward()
    seen = epsilon.grad[0].abs().sum(1) > 0
    assert seen.tolist() == [False, True, False]


def test_the_contrast_s_ratio_is_that_of_two_gaussians():
    factor, z = torch.tensor([[0.6, 0.0], [1.2, 0.5]]), torch.randn(4, 2)
    contrast = FullPosterior(MEAN.expand(4, 2), factor.expand(4, 2, 2))
    expected = MultivariateNormal(MEAN, scale_tril=factor).log_prob(z) - Normal(0.0, 1.0).log_prob(z).sum(1)
    assert torch.allclose(-contrast.log_ratio(contrast.noise_of(z)), expected, atol=1e-5)
    assert torch.allclose(contrast.at(contrast.noise_of(z)), z, atol=1e-6)


class Slanted(nn.Module):
    """v(ε) of dimensions that go together: a Gaussian of the covariance `COVARIANCE`."""

    def forward(self, epsilon):
        return epsilon @ SLANT.T


SLANT = torch.tensor([[1.0, 0.0], [0.9, 0.3]])
COVARIANCE = SCALE[:, None] * (SLANT @ SLANT.T) * SCALE


@pytest.mark.parametrize(("contrast", "expected"), [("full", COVARIANCE), ("diagonal", COVARIANCE.diag().diag())])
def test_the_contrast_has_the_covariance_of_the_posterior_or_its_diagonal(contrast, expected):
    model = gaussian(contrast)
    model.coder.encoder.basis = Slanted()
    model.coder.encoder.probe = torch.randn(100_000, 1, 2)
    _, found = model.drawn(X, torch.zeros(3, 1, 2))
    assert torch.allclose(found.factor[0] @ found.factor[0].T, expected, atol=0.02)
    assert torch.allclose(found.mean, MEAN.expand(3, 2), atol=0.02)


@pytest.mark.parametrize("contrast", ["full", "diagonal", "prior"])
def test_with_the_exact_ratio_the_estimate_is_the_elbo_whatever_the_contrast(contrast):
    model = exact(gaussian(contrast))
    values = torch.stack([model.log_prob(row.expand(20_000, 2), seed=k).value for k, row in enumerate(X)])
    expected = elbo(X, MEAN.expand(3, 2), 2 * SCALE.log())
    error = values.std(1) / math.sqrt(20_000)
    assert ((values.mean(1) - expected).abs() < 4 * error).all()


class Bent(nn.Module):
    """v(ε) = S (ε + 3/2 tanh 3ε) / 2: the posterior has two humps in two directions, and a density that is known."""

    def __init__(self, slant):
        super().__init__()
        self.slant = slant

    def forward(self, epsilon):
        return 0.5 * (epsilon + 1.5 * (3 * epsilon).tanh()) @ self.slant.T

    def log_density(self, epsilon):
        """Of v `[N]`, at v(ε)."""
        slope = 0.5 * (1 + 4.5 * (1 - (3 * epsilon).tanh().square()))
        return (Normal(0.0, 1.0).log_prob(epsilon) - slope.log()).sum(1) - self.slant.det().log()


def of_the_ratio(contrast, slant):
    """Log-ratios of draws from the posterior by a ratio network that was trained by its own cost, by none, and known
    ones."""
    model, x, bent = gaussian(contrast), X[0].expand(512, 2), Bent(slant)
    model.coder.encoder.basis = bent
    adam = torch.optim.Adam(model.ratio.parameters(), lr=3e-3)
    for step in range(600):
        adam.param_groups[0]["lr"] = 3e-3 * (1 - step / 600)
        adam.zero_grad()
        terms = model.tell_apart(*told(rows(x), step))
        sum(term.mean() for term in terms.values()).backward()
        adam.step()
    with torch.no_grad():
        epsilon = torch.randn(512, 1, 2)
        epsilon = epsilon[epsilon.norm(dim=2)[:, 0] < 2]
        z, found = model.drawn(x[: len(epsilon)], epsilon)
        silent = -found.log_ratio(found.noise_of(z))
        known = bent.log_density(epsilon[:, 0]) - SCALE.log().sum() - Normal(0.0, 1.0).log_prob(z).sum(1)
        return model._told(x[: len(z)], found.noise_of(z)) + silent, silent, known


def test_the_ratio_network_grows_as_log_densities_do() -> None:
    """Ten times as far out log q − log r of two Gaussians is a hundred times as large, and so is T."""
    torch.manual_seed(0)
    model = AVB(AVBConfig(latent=3, width=8, ratio_width=16), Spec(kind="vector", shape=(2,), classes=None))
    x, z = torch.zeros(20, 2), torch.randn(20, 3)
    with torch.no_grad():
        near, far = (model._told(x, scale * z) for scale in (1e3, 1e4))
    assert (far / near).median().item() == pytest.approx(100.0, rel=0.05)


def test_the_ratio_network_comes_to_the_known_log_ratio_and_nearer_with_adaptive_contrast():
    """In half a thousand steps, log q − log p being far from a parabola: what is known of it is not enough."""
    errors = {}
    for contrast in ("prior", "diagonal", "full"):
        *told_or_not, known = of_the_ratio(contrast, torch.eye(2))
        errors[contrast], silent = ((said - known).square().mean().sqrt().item() for said in told_or_not)
        assert silent > 0.9
        assert errors[contrast] < 0.5 * silent
    assert max(errors["full"], errors["diagonal"]) < 0.75 * errors["prior"]


def test_where_dimensions_go_together_a_contrast_of_their_covariance_is_nearer():
    """A ridge a tenth as wide as it is long."""
    errors = {}
    for contrast in ("diagonal", "full"):
        said, _, known = of_the_ratio(contrast, torch.tensor([[1.0, 0.0], [0.95, 0.1]]))
        errors[contrast] = (said - known).square().mean().sqrt().item()
    assert errors["full"] < 0.5 * errors["diagonal"]


@pytest.mark.parametrize("contrast", ["full", "diagonal", "prior"])
def test_with_the_exact_ratio_it_descends_the_elbo(contrast):
    """The mean gradient of its terms is that of −ELBO in closed form, by the posterior's mean and scale and by the
    decoder, though T is left alone and the contrast's moments carry no gradient."""
    model, x = exact(gaussian(contrast)), X[1:2].expand(40_000, 2)
    numbers, bias = model.coder.encoder.trunk.numbers, model.coder.decoder.bias
    terms = model.descend(*told(rows(x)))
    total = torch.stack([term.mean() for term in terms.values()]).sum()
    found = torch.cat(torch.autograd.grad(total, (numbers, bias)))
    mean, scale, shift = MEAN.clone().requires_grad_(), SCALE.clone().requires_grad_(), B.clone().requires_grad_()
    variance = scale.square()
    fit = 0.5 * ((X[1] - W @ mean - shift).square().sum() + (W.square() * variance).sum()) / SIGMA**2
    negative = fit + 0.5 * (variance + mean.square() - 1 - variance.log()).sum()
    expected = torch.cat(torch.autograd.grad(negative, (mean, scale, shift)))
    assert torch.allclose(found, expected, atol=0.1)
    assert expected.abs().max() > 1


def test_the_value_is_called_an_estimate_and_scored_as_one():
    setting = Setting(test=lambda n: iter([(0, X)]), features=lambda x: x)
    score = LogLikelihood().compute(gaussian("full"), setting)["log_prob"]
    assert score.facts["kind"] == "estimate"


def test_importance_weights_average_to_the_likelihood_itself():
    """E_q p(x, z)/q(z) = p(x), q the Gaussian of the posterior's moments; the ratio network has no say in it."""
    model = gaussian("full")
    for x, evidence in zip(X, EVIDENCE):
        ratio = (model.log_weights(x.expand(20_000, 2), 5) - evidence).double().exp().flatten()
        assert abs(ratio.mean() - 1) < 4 * ratio.std() / 100_000**0.5
        assert ratio.std() < 20


def test_importance_weights_do_not_depend_on_the_contrast_or_the_ratio_network():
    weights = gaussian("full").log_weights(X, 4)
    for contrast in ("diagonal", "prior"):
        other = gaussian(contrast)
        for parameter in other.ratio.parameters():
            nn.init.normal_(parameter)
        assert torch.equal(other.log_weights(X, 4), weights)


def test_codes_are_the_posterior_s_means():
    model = gaussian("full")
    probe = model.coder.encoder.probe[:, 0]
    assert torch.allclose(model.encode(X), (MEAN + SCALE * probe.mean(0)).expand(3, 2), atol=1e-5)


def test_bits_and_images_go_through():
    spec = Spec(kind="image", shape=(1, 4, 4), classes=None)
    model = AVB(AVBConfig(latent=3, width=8, basis=2, ratio_width=8), spec)
    x = torch.rand(5, 1, 4, 4) * 2 - 1
    assert model.reconstruct(x).shape == x.shape
    assert model.log_prob(x).value.shape == (5,)
    assert model.likelihood_of(x)(torch.randn(5, 2, 3)).shape == (5, 2)


def test_its_likelihood_is_that_of_the_decoder():
    z = torch.randn(3, 4, 2)
    expected = MultivariateNormal(z @ W.T + B, SIGMA**2 * torch.eye(2)).log_prob(X[:, None])
    assert torch.allclose(gaussian("prior").likelihood_of(X)(z), expected, atol=1e-3)
