"""Models: bounds against closed forms, and samples that do not depend on how many are asked for."""

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from simulacra import randomness
from simulacra.capabilities import verbs
from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.batch import Batch
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Clock, Table, Turn
from simulacra.models.adversary import Adversary, Penalties, leading, unroll
from simulacra.models.base import in_batches
from simulacra.models.discriminator import DiscriminatorConfig, discriminator
from simulacra.models.gan import GAN, GANConfig
from simulacra.models.vae import VAE, Posterior, VAEConfig
from simulacra.networks.activations import Maxout
from simulacra.networks.dcgan import Upsampler, initialise
from simulacra.networks.mlp import MLP, Exact
from simulacra.networks.residual import ResidualDiscriminator, ResidualGenerator
from simulacra.networks.spectral import stored_norms

PLANE = Spec(kind="vector", shape=(2,), classes=None)
GREY = Spec(kind="image", shape=(1, 8, 8), classes=None)
COLOUR = Spec(kind="image", shape=(3, 9, 12), classes=None)


def rows(x):
    return Batch(x=x, labels=None, index=torch.arange(len(x)), start=0, joint=len(x), pass_end=False)


class Stateless:
    """What an `At` asks of a game that has no state."""

    state, per_sample = {}, frozenset()


class Leading:
    """What an `At` asks of a game in which the discriminator leads by 0.7."""

    def __init__(self):
        self.state, self.per_sample = {"lead": torch.tensor(0.7)}, frozenset()


def told(batch, step=0, progress=0.0, game=None):
    """The batch with what a cost of the game is told beside it."""
    clock = Clock(step=step, progress=progress)
    (found,) = Turn(game or Stateless(), batch, clock, (step,), Table()).parts(0)  # type: ignore[arg-type]
    return found[:2]


# The linear-Gaussian autoencoder, where everything is known: x = W z + b + σ ε


SIGMA = 0.5
W = torch.tensor([[1.0, 0.3], [-0.4, 0.8]])
B = torch.tensor([0.2, -0.1])
X = torch.tensor([[0.5, -1.0], [1.5, 0.7], [0.0, 0.0]])


def linear(posterior_mean, posterior_bias, log_variance):
    """A VAE with decoder W z + b and q(z|x) = N(M x + m, diag exp(log_variance))."""
    model = VAE(VAEConfig(likelihood="gaussian", sigma=SIGMA, latent=2), PLANE)
    model.encoder, model.decoder = nn.Linear(2, 4), nn.Linear(2, 2)
    with torch.no_grad():
        model.decoder.weight.copy_(W)
        model.decoder.bias.copy_(B)
        model.encoder.weight.copy_(torch.cat([posterior_mean, torch.zeros(2, 2)]))
        model.encoder.bias.copy_(torch.cat([posterior_bias, log_variance]))
    return model


def evidence(x):
    return MultivariateNormal(B, W @ W.T + SIGMA**2 * torch.eye(2)).log_prob(x)


def elbo(x, m, log_variance):
    """Eq. 3 in closed form: E_q of the Gaussian log-likelihood, minus the divergence from the prior."""
    variance = log_variance.exp()
    error = (x - m @ W.T - B).square().sum(1) + (W.square() * variance).sum()
    fit = -0.5 * error / SIGMA**2 - 2 * torch.tensor(SIGMA).log() - torch.tensor(2 * torch.pi).log()
    return fit - 0.5 * (variance + m.square() - 1 - log_variance).sum(1)


def averaged(model, draws=6000):
    return torch.stack([model.log_prob(row.expand(draws, 2), seed=k).value for k, row in enumerate(X)])


def test_the_elbo_is_the_closed_form_on_average_and_bounds_the_evidence():
    mean, bias, log_variance = (
        torch.tensor([[0.4, -0.2], [0.1, 0.5]]),
        torch.tensor([0.1, 0.2]),
        torch.tensor([-1.0, -2.0]),
    )
    values = averaged(linear(mean, bias, log_variance))
    expected = elbo(X, X @ mean.T + bias, log_variance)
    error = values.std(1) / values.shape[1] ** 0.5
    assert ((values.mean(1) - expected).abs() < 4 * error).all()
    assert (expected < evidence(X)).all()


def test_the_bound_is_tight_where_the_posterior_is_exact():
    """With orthogonal columns the true posterior is diagonal; q is set to it."""
    u = torch.tensor([[0.7, -0.7], [0.7, 0.7]])
    precision = torch.eye(2) + u.T @ u / SIGMA**2
    gain = torch.linalg.solve(precision, u.T / SIGMA**2)
    model = linear(gain, -gain @ B, -precision.diagonal().log())
    model.decoder.weight.data.copy_(u)
    values = averaged(model)
    error = values.std(1) / values.shape[1] ** 0.5
    exact = MultivariateNormal(B, u @ u.T + SIGMA**2 * torch.eye(2)).log_prob(X)
    assert ((values.mean(1) - exact).abs() < 4 * error).all()


def test_the_cost_is_the_negative_elbo_in_its_two_terms():
    mean, bias, log_variance = 0.3 * torch.eye(2), torch.zeros(2), torch.tensor([-1.0, -2.0])
    model = linear(mean, bias, log_variance)
    x = X[0].expand(20_000, 2)
    terms = model.cost(*told(rows(x)))
    assert {name: term.shape for name, term in terms.items()} == {"reconstruction": (20_000,), "kl": (20_000,)}
    total = -sum(terms.values())
    assert abs(total.mean() - elbo(X[:1], 0.3 * X[:1], log_variance)) < 4 * total.std() / 20_000**0.5


def test_more_draws_per_image_mean_less_variance_and_the_same_mean():
    def losses(samples):
        model = linear(0.3 * torch.eye(2), torch.zeros(2), torch.zeros(2))
        return model.cost(*told(rows(X[1].expand(10_000, 2))), samples=samples)["reconstruction"]

    one, many = losses(1), losses(8)
    assert one.var().item() / many.var().item() == pytest.approx(8.0, rel=0.15)
    assert abs(one.mean() - many.mean()) < 4 * one.std() / 10_000**0.5


def test_the_reparameterised_posterior_has_its_moments():
    posterior = Posterior(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 2.0]]))
    assert torch.allclose(posterior.at(torch.zeros(1, 2)), torch.tensor([[1.0, -2.0]]))
    assert torch.allclose(posterior.at(torch.ones(1, 2)), torch.tensor([[2.0, -2.0 + torch.tensor(1.0).exp().item()]]))


# Bits


def test_a_bit_is_one_with_the_pixels_brightness_as_probability():
    model = VAE(VAEConfig(width=4, latent=2), GREY)
    x = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8).expand(4000, 1, 8, 8)
    bits = model.observed(x, lambda: torch.rand(x.shape, generator=torch.Generator().manual_seed(0)))
    brightness = 0.5 * (x[0] + 1)
    assert set(bits.unique().tolist()) == {0.0, 1.0}
    assert ((bits.mean(0) - brightness).abs() <= 4.5 * (brightness * (1 - brightness) / 4000).sqrt()).all()


def test_bits_are_drawn_anew_at_every_step():
    model = VAE(VAEConfig(width=4, latent=2), GREY)
    seen = []
    model.posterior = lambda x: seen.append(x) or Posterior(torch.zeros(len(x), 2), torch.zeros(len(x), 2))
    for step in (0, 1, 0):
        model.cost(*told(rows(torch.zeros(3, 1, 8, 8)), step))
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


def test_the_bound_draws_bits_and_latents_apart():
    model = VAE(VAEConfig(width=4, latent=1), GREY)
    bits, latents = [], []
    model.posterior = lambda x: bits.append(x) or Posterior(torch.zeros(len(x), 1), torch.zeros(len(x), 1))
    model.reconstruction_loss = lambda x, z: latents.append(z) or torch.zeros(len(x))
    model.log_prob(torch.zeros(2000, 1, 8, 8))
    pairs = torch.stack([torch.cat(bits)[:, 0, 0, 0], torch.cat(latents)[:, 0]])
    assert abs(torch.corrcoef(pairs)[0, 1]) < 4 / 2000**0.5
    assert abs(pairs[0].mean() - 0.5) < 4 * 0.5 / 2000**0.5
    assert abs(pairs[1].mean()) < 4 / 2000**0.5


# What every model keeps


def models():
    likely = ["sample", "encode", "decode", "reconstruct", "log_prob", "prior", "truncated", "log_weights"]
    likely += ["local_bounds", "likelihood_of"]
    yield "vae bits", VAE(VAEConfig(width=8, latent=3), GREY), likely
    conv = VAEConfig(network="conv", width=3, latent=3, likelihood="gaussian")
    yield "vae conv", VAE(conv, COLOUR), likely
    implicit = ["sample", "decode", "prior", "truncated"]
    yield "gan", GAN(GANConfig(width=8, latent=3), PLANE), implicit
    yield "dcgan", GAN(GANConfig(network="dcgan", width=3, latent=3, prior="uniform"), COLOUR), implicit


ALL = pytest.mark.parametrize(
    ("name", "model", "offered"), list(models()), ids=lambda x: x if isinstance(x, str) else ""
)


@ALL
def test_a_model_offers_its_verbs(name, model, offered):
    assert verbs(model) == offered


@ALL
def test_sample_i_does_not_depend_on_how_many_are_asked_for(name, model, offered):
    seen = []
    decode = model.decode
    model.decode = lambda z: seen.append(z) or decode(z)
    whole = model.sample(600, seed=5)
    for n, start in ((1, 0), (7, 300), (251, 249)):
        assert torch.allclose(model.sample(n, seed=5, start=start), whole[start : start + n], atol=1e-5)
        assert torch.equal(seen[-1], seen[0][start : start + n])
    assert not torch.equal(model.sample(5, seed=6), whole[:5])
    assert whole.shape == (600, *model.spec.shape)
    assert not whole.requires_grad
    del model.decode


@ALL
def test_verbs_leave_the_model_as_it_was(name, model, offered):
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = model.sample(3)
    for verb in offered:
        if verb in ("encode", "reconstruct", "log_prob"):
            getattr(model, verb)(x)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("model", [found[1] for found in models() if "log_prob" in found[2]], ids=["bits", "real"])
def test_log_prob_does_not_depend_on_the_batch_it_is_asked_in(model):
    x = torch.rand(300, *model.spec.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole = model.log_prob(x, seed=2)
    assert whole.kind == "bound"
    assert whole.value.shape == (300,)
    for start, n in ((0, 1), (249, 3), (100, 200)):
        part = model.log_prob(x[start : start + n], seed=2, start=start).value
        assert torch.allclose(part, whole.value[start : start + n], rtol=1e-5, atol=1e-3)
    assert not torch.allclose(model.log_prob(x, seed=3).value, whole.value)
    assert not torch.allclose(model.log_prob(x, seed=2, start=1).value, whole.value)


def test_reconstruct_decodes_the_posteriors_mean():
    model = VAE(VAEConfig(width=8, latent=3), GREY)
    x = torch.rand(5, 1, 8, 8) * 2 - 1
    with torch.no_grad():
        mean = model.encoder(0.5 * (x + 1))[:, :3]
        expected = 2 * model.decoder(mean).sigmoid() - 1
    assert torch.allclose(model.encode(x), mean)
    assert torch.allclose(model.reconstruct(x), expected, atol=1e-6)


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_a_generator_is_fed_from_its_prior_in_training_and_in_sampling(prior):
    model = GAN(GANConfig(prior=prior, latent=5, width=4), PLANE)
    fed = []
    model.generator.register_forward_pre_hook(lambda module, inputs: fed.append(inputs[0]))
    model.generate(told(rows(torch.zeros(4000, 2)))[1])
    in_batches(lambda z: model.decode(z), model.prior(4000, seed=3), 4000)
    for z in (fed[0], torch.cat(fed[1:])):
        variance = 1.0 if prior == "normal" else 1 / 3
        assert z.shape == (4000, 5)
        assert abs(z.mean()) < 4 * (variance / 20_000) ** 0.5
        assert z.var().item() == pytest.approx(variance, rel=0.05)
        assert (z.abs().max() <= 1) == (prior == "uniform")


def test_images_are_in_range_and_vectors_are_not_squashed():
    assert GAN(GANConfig(latent=3, width=4), GREY).decode(1e4 * torch.randn(5, 3)).abs().max() <= 1
    assert GAN(GANConfig(latent=3, width=4), PLANE).decode(1e4 * torch.randn(50, 3)).abs().max() > 1


def test_the_adversaries_costs_are_the_objective_on_scores():
    torch.manual_seed(0)
    model = GAN(GANConfig(latent=3, width=4), PLANE)
    critic = discriminator(DiscriminatorConfig(width=4), PLANE)
    objective = OBJECTIVES["minimax"]
    adversary = Adversary(model, critic, objective, Penalties(r1=2.0))
    batch, at = told(rows(torch.randn(6, 2)))
    z = told(batch)[1].normal(3)
    real, fake = critic(batch.x), critic(model.generator(z))
    for found, expected in (
        (adversary.discriminate(batch, at), objective.discriminator(real, fake)),
        (adversary.generate(batch, told(batch)[1]), objective.generator(fake)),
    ):
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert at.watched.keys() == {"D(x)", "D(G(z))"}
    assert torch.allclose(at.watched["D(x)"], real.sigmoid())
    assert adversary.penalise(batch, at)["r1"].shape == (6,)


def test_training_passes_reestimate_from_latents_of_their_own():
    model = GAN(GANConfig(network="dcgan", width=3, latent=3), GREY)
    fed = []
    model.generator.register_forward_pre_hook(lambda module, inputs: fed.append(inputs[0]))
    assert len(list(model.training_passes(4))) == 20
    z = torch.cat(fed)
    assert torch.equal(z, randomness.sample_normal(2000, 3, seed=randomness.key_of(4, 1)))
    assert list(VAE(VAEConfig(width=4), GREY).training_passes(0)) == []


def test_in_batches_gives_every_row_once():
    sizes = []
    x = torch.arange(23.0)[:, None]
    assert torch.equal(in_batches(lambda part: sizes.append(len(part)) or 2 * part, x, 10), 2 * x)
    assert sizes == [10, 10, 3]


# Latents of the prior, and truncated ones


@ALL
def test_samples_are_decoded_latents_of_the_prior(name, model, offered):
    z = model.prior(7, seed=4, start=2)
    assert z.shape == (7, 3)
    assert torch.equal(z, model.prior(9, seed=4)[2:])
    assert torch.allclose(model.decode(z), model.sample(7, seed=4, start=2), atol=1e-6)


def test_the_prior_draws_what_samples_were_always_drawn_from():
    drawn = {"seed": 4, "start": 2}
    normal, uniform = randomness.sample_normal(7, 3, **drawn), 2 * randomness.sample_uniform(7, 3, **drawn) - 1
    assert torch.equal(VAE(VAEConfig(width=4, latent=3), PLANE).prior(7, **drawn), normal)
    assert torch.equal(GAN(GANConfig(width=4, latent=3), PLANE).prior(7, **drawn), normal)
    assert torch.equal(GAN(GANConfig(width=4, latent=3, prior="uniform"), PLANE).prior(7, **drawn), uniform)


@ALL
def test_truncated_latents_are_within_the_threshold_and_infinity_truncates_nothing(name, model, offered):
    seen = []
    decode = model.decode
    model.decode = lambda z: seen.append(z) or decode(z)
    model.truncated(500, 0.5, seed=3, start=1)
    model.truncated(500, float("inf"), seed=3, start=1)
    model.sample(500, seed=3, start=1)
    narrow, whole, sampled = seen
    assert narrow.abs().max() <= 0.5
    assert narrow.abs().max() > 0.45
    assert torch.equal(whole, sampled)
    assert torch.equal(narrow > 0, whole > 0)
    del model.decode


@ALL
@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan")])
def test_a_threshold_that_is_not_positive_is_refused(name, model, offered, threshold):
    with pytest.raises(UserError, match="threshold must be above 0"):
        model.truncated(2, threshold)


# Importance weights


@pytest.mark.parametrize("model", [found[1] for found in models() if "log_weights" in found[2]], ids=["bits", "real"])
def test_log_weights_depend_on_seed_row_and_number_alone(model):
    x = torch.rand(260, *model.spec.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole = model.log_weights(x, 5, seed=2)
    assert whole.shape == (260, 5)
    assert not whole.requires_grad
    for start, n, first, samples in ((0, 1, 0, 1), (249, 3, 1, 4), (100, 160, 3, 2)):
        part = model.log_weights(x[start : start + n], samples, seed=2, start=start, first=first)
        assert torch.allclose(part, whole[start : start + n, first : first + samples], rtol=1e-5, atol=1e-3)
    assert not torch.allclose(model.log_weights(x, 5, seed=3), whole)


def test_log_weights_are_of_the_bits_and_the_latent_of_the_bound():
    """log w = log p(x|z) + log p(z) − log q(z|x) by torch's own laws, at the z that `log_prob` draws."""
    model = VAE(VAEConfig(width=4, latent=2), GREY)
    seen = []
    loss = model.reconstruction_loss
    model.reconstruction_loss = lambda x, z: seen.append((x, z)) or loss(x, z)
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    model.log_prob(x, seed=1, start=3)
    weights = model.log_weights(x, 1, seed=1, start=3)[:, 0]
    (bits, z), (same_bits, same_z) = seen
    assert torch.equal(bits, same_bits)
    assert torch.allclose(z, same_z)
    with torch.no_grad():
        posterior = model.posterior(bits)
        inverse = Normal(posterior.mean, (0.5 * posterior.log_variance).exp()).log_prob(z).sum(1)
        expected = -loss(bits, z) + Normal(0.0, 1.0).log_prob(z).sum(1) - inverse
    assert torch.allclose(weights, expected, atol=1e-4)


def test_log_weights_decode_no_more_than_250_at_a_time():
    model = VAE(VAEConfig(width=4, latent=2), GREY)
    sizes = []
    model.decoder.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    model.log_weights(torch.zeros(30, 1, 8, 8), 20)
    assert max(sizes) <= 250
    assert sum(sizes) == 600


@pytest.mark.parametrize("steps", [1, 3])
def test_unrolling_a_linear_critic_by_hand(steps):
    """D(x) = φx and the Wasserstein costs: the critic descends φ(θ − 2), so K steps of rate η take φ to
    φ − Kη(θ − 2). The generator, at θ, then pays −(φ − Kη(θ − 2))θ, of gradient −φ + Kη(2θ − 2)."""
    critic = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(critic.weight, 0.7)
    theta = torch.tensor([[0.5]], dtype=torch.float64, requires_grad=True)
    real = torch.full((4, 1), 2.0, dtype=torch.float64)
    cost = lambda real, fake: fake.mean() - real.mean()  # noqa: E731
    score = unroll(critic, cost, real, theta, steps, 0.1)
    (gradient,) = torch.autograd.grad(-score(theta).sum(), theta)
    assert score(real)[0].item() == pytest.approx(2 * (0.7 - steps * 0.1 * (0.5 - 2.0)))
    assert gradient.item() == pytest.approx(-0.7 + steps * 0.1 * (2 * 0.5 - 2.0))
    assert critic.weight.item() == pytest.approx(0.7)


@pytest.mark.parametrize(("name", "whole"), [("wasserstein", True), ("non-saturating", False)])
def test_ahead_of_a_zero_sum_game_the_generator_descends_all_of_its_value(name, whole):
    """D(x) = φ·x, data at 2, samples at θ, both along the first axis: V = φ₁(2 − θ), and a step of rate η ascends it
    by φ₁ + η(2 − θ). So V ahead is (φ₁ + η(2 − θ))(2 − θ), of slope −φ₁ − 2η(2 − θ). Another objective's generator
    descends its own cost of its samples alone."""
    critic, model = nn.Linear(2, 1, bias=False), GAN(GANConfig(latent=3, width=4), PLANE)
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([[0.7, 0.0]]))
        model.generator.layers[-2].weight.zero_()
        model.generator.layers[-2].bias.copy_(torch.tensor([0.5, 0.0]))
    adversary = Adversary(model, critic, OBJECTIVES[name], Penalties(), unrolled=(1, 0.1))
    terms = adversary.generate(*told(rows(torch.tensor([[2.0, 0.0]] * 4))))
    assert set(terms) == ({"real", "fake"} if whole else {"fool"})
    if whole:
        total = torch.stack([term.mean() for term in terms.values()]).sum()
        (slope,) = torch.autograd.grad(total, model.generator.layers[-2].bias)
        assert total.item() == pytest.approx((0.7 + 0.1 * 1.5) * 1.5)
        assert slope[0].item() == pytest.approx(-0.7 - 2 * 0.1 * 1.5)


# What generators and discriminators are made of


def kinds(network):
    """The layers of a network without parts, by the names of their classes."""
    return [type(m).__name__ for m in network.modules() if not [*m.children()]]


LEAKY = ["Linear", "LeakyReLU"]
UP = ["Linear", "Unflatten", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "ReLU", "ConvTranspose2d", "Tanh"]


def plain():
    """The generator of perceptrons as it was before it had options."""
    return MLP((3,), GREY.shape, 4, 2, lambda: nn.LeakyReLU(0.2), nn.Tanh)


def strided():
    """That of convolutions."""
    network = Upsampler(3, GREY.image_shape, 4, True, nn.Tanh, nn.ReLU)
    initialise(network)
    return network


@pytest.mark.parametrize(
    ("network", "former", "layers"),
    [
        ("mlp", plain, ["Flatten", *LEAKY, *LEAKY, "Linear", "Tanh"]),
        ("dcgan", strided, UP),
        ("residual", lambda: ResidualGenerator(3, GREY.image_shape, 4, nn.Tanh), None),
    ],
)
def test_a_generator_of_default_options_is_the_one_without_them(network, former, layers):
    torch.manual_seed(0)
    made = GAN(GANConfig(network=network, width=4, latent=3), GREY).generator
    torch.manual_seed(0)
    expected = former()
    z = torch.randn(5, 3)
    assert kinds(made) == kinds(expected)
    assert layers in (None, kinds(made))
    assert torch.equal(made(z), expected(z))


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({"norm": "batch"}, ["Flatten", *["Linear", "BatchNorm1d", "LeakyReLU"] * 2, "Linear", "Tanh"]),
        ({"activation": "relu"}, ["Flatten", *["Linear", "ReLU"] * 2, "Linear", "Tanh"]),
        ({"network": "dcgan", "norm": "none"}, [kind for kind in UP if kind != "BatchNorm2d"]),
        ({"network": "dcgan", "activation": "tanh"}, [kind.replace("ReLU", "Tanh") for kind in UP]),
        ({"network": "dcgan", "norm": "batch", "activation": "relu"}, UP),
    ],
)
def test_a_generator_has_the_norm_and_the_nonlinearity_asked_for(options, layers):
    assert kinds(GAN(GANConfig(width=4, latent=3, **options), GREY).generator) == layers


def test_a_generator_has_equal_channels_where_asked_for():
    made = GAN(GANConfig(network="dcgan", width=2, latent=3, constant=True), COLOUR).generator
    assert {m.num_features for m in made.modules() if isinstance(m, nn.BatchNorm2d)} == {2}


@pytest.mark.parametrize(("spec", "exact"), [(PLANE, 2), (GREY, 0)])
def test_the_ends_of_perceptrons_are_exact_for_points(spec, exact):
    players = GAN(GANConfig(width=4, latent=3), spec), discriminator(DiscriminatorConfig(width=4), spec)
    for player in players:
        assert sum(isinstance(m, Exact) for m in player.modules()) == exact


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({}, ["Flatten", *LEAKY, *LEAKY, "Linear", "Identity"]),
        ({"depth": 1, "maxout": 3}, ["Flatten", "Linear", "Maxout", "Linear", "Identity"]),
        ({"depth": 1, "activation": "tanh"}, ["Flatten", "Linear", "Tanh", "Linear", "Identity"]),
        (
            {"dropout": (0.2, 0, 0.5)},
            ["Flatten", "Masking", "Linear", "LeakyReLU", "Linear", "LeakyReLU", "Dropout", "Linear", "Identity"],
        ),
        ({"depth": 1, "dropout": (0.2,)}, ["Flatten", "Masking", "Linear", "LeakyReLU", "Linear", "Identity"]),
        ({"network": "dcgan"}, ["Conv2d", "LeakyReLU", "Conv2d", "LeakyReLU", "Flatten", "Linear"]),
        (
            {"network": "dcgan", "norm": "batch", "activation": "tanh"},
            ["Conv2d", "Tanh", "Conv2d", "BatchNorm2d", "Tanh", "Flatten", "Linear"],
        ),
    ],
)
def test_a_discriminator_has_the_layers_asked_for(options, layers):
    network = discriminator(DiscriminatorConfig(width=4, **options), GREY)
    assert kinds(network) == layers
    assert [m.pieces for m in network.modules() if isinstance(m, Maxout)] == [3] * ("maxout" in options)
    assert network(torch.randn(5, *GREY.shape)).shape == (5, 1)


def test_a_residual_discriminator_has_the_width_it_is_told():
    network = discriminator(DiscriminatorConfig(network="residual", width=6), COLOUR)
    assert isinstance(network, ResidualDiscriminator)
    assert {m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)} == {6}
    assert network(torch.randn(2, *COLOUR.shape)).shape == (2, 1)


@pytest.mark.parametrize("options", [{"maxout": 2}, {"network": "dcgan", "norm": "batch"}, {"network": "residual"}])
def test_every_layer_of_a_discriminator_is_spectrally_normalised_where_asked_for(options):
    bare = discriminator(DiscriminatorConfig(width=4, **options), GREY)
    network = discriminator(DiscriminatorConfig(width=4, spectral=True, **options), GREY)
    layers = [name for name, m in bare.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert list(stored_norms(network)) == layers
    assert not stored_norms(bare)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"network": "residual", "norm": "none"}, "leave out norm"),
        ({"network": "residual", "activation": "tanh"}, "leave out norm and activation"),
        ({"network": "residual", "activation": "leaky"}, "leave out norm and activation"),
        ({"network": "residual", "constant": True}, "constant is of dcgan's layers, the network is residual"),
        ({"network": "mlp", "constant": True}, "constant is of dcgan's layers, the network is mlp"),
        ({"network": "mlp", "dense": 3}, "dense is of dcgan's layers, the network is mlp"),
    ],
)
def test_an_option_that_a_generator_would_ignore_is_refused(options, words):
    with pytest.raises(UserError, match=words) as refusal:
        GAN(GANConfig(width=4, latent=3, **options), GREY)
    assert "\n" not in str(refusal.value)


def test_what_residual_blocks_have_anyway_can_be_asked_for():
    asked, expected = {"norm": "batch", "activation": "relu"}, {}
    made = [GAN(GANConfig(network="residual", width=4, latent=3, **options), GREY) for options in (asked, expected)]
    assert kinds(made[0].generator) == kinds(made[1].generator)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"network": "dcgan", "maxout": 2}, "maxout units are the mlp's, the network is dcgan"),
        ({"network": "residual", "maxout": 2}, "maxout units are the mlp's, the network is residual"),
        ({"network": "mlp", "norm": "batch"}, "batch norm is of dcgan's discriminator, the network is mlp"),
        ({"network": "residual", "norm": "batch"}, "batch norm is of dcgan's discriminator, the network is residual"),
        ({"network": "residual", "activation": "tanh"}, "leave out activation"),
        ({"network": "dcgan", "dropout": (0.5,)}, "dropout is of the mlp's layers, the network is dcgan"),
        ({"network": "mlp", "dropout": (0.5, 0.5, 0.5, 0.5)}, "dropout has 4 shares, the mlp 3 layers"),
    ],
)
def test_an_option_that_a_discriminator_would_ignore_is_refused(options, words):
    with pytest.raises(UserError, match=words) as refusal:
        discriminator(DiscriminatorConfig(width=4, **options), GREY)
    assert "\n" not in str(refusal.value)


# Penalties that fade


@pytest.mark.parametrize(("progress", "r1", "r2"), [(0.0, 18.0, 9.0), (0.5, 9.0, 4.5), (1.0, 4.5, 2.25)])
def test_r1_and_r2_fade_geometrically(progress, r1, r2):
    """D(x) = 3x₁ has ‖∇D‖² = 9: R1 of weight 4 is 4/2·9 = 18 and R2 of weight 2 is 9, times ¼ to the progress: 1, ½,
    ¼."""
    critic = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([[3.0, 0.0]]))
    model = GAN(GANConfig(latent=3, width=4), PLANE)
    adversary = Adversary(model, critic, OBJECTIVES["minimax"], Penalties(r1=4.0, r2=2.0, fade=0.25))
    terms = adversary.penalise(*told(rows(torch.randn(6, 2)), progress=progress))
    assert terms["r1"].tolist() == pytest.approx([r1] * 6)
    assert terms["r2"].tolist() == pytest.approx([r2] * 6)


def test_penalties_do_not_fade_unless_told_to():
    critic = nn.Linear(2, 1)
    model = GAN(GANConfig(latent=3, width=4), PLANE)
    adversary = Adversary(model, critic, OBJECTIVES["minimax"], Penalties(r1=4.0))
    early, late = (adversary.penalise(*told(rows(torch.zeros(2, 2)), progress=t))["r1"] for t in (0.0, 1.0))
    assert torch.equal(early, late)
    assert early.tolist() == pytest.approx([2 * critic.weight.square().sum().item()] * 2)


# The discriminator's lead


@pytest.mark.parametrize(
    ("real", "fake", "lead"),
    [
        ([1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 5.0, 1.0], 0.5125),  # right, a tie, wrong, right: 0.9·½ + 0.1·2.5/4
        ([1.0, 2.0], [0.0, 1.0], 0.55),  # 0.9·½ + 0.1
        ([0.0, 1.0], [1.0, 2.0], 0.45),  # 0.9·½
        ([7.0, 7.0], [7.0, 7.0], 0.5),  # ties are half: it knows nothing
        ([0.0, 0.0, 0.0], [-1e-30, 1e30, -1e30], 0.5 * 0.9 + 0.1 * 2 / 3),  # how far apart does not matter
    ],
)
def test_the_lead_is_the_moving_share_of_pairs_that_are_ranked_rightly(real, fake, lead):
    fake = torch.tensor(fake)[:, None].requires_grad_()
    found = leading(torch.tensor(0.5), torch.tensor(real)[:, None], fake)
    assert found.item() == pytest.approx(lead)
    assert found.shape == ()
    assert not found.requires_grad


@pytest.mark.parametrize("unrolled", [(0, 0.0), (2, 1.0)])
def test_a_watched_generator_writes_how_the_present_discriminator_leads(unrolled):
    """D(x) = −x₁ ranks the real rows, at 1, below all G(z), at −1: 0.9·0.7 + 0. Two steps of rate 1 ahead, under the
    costs D(G(z)) − D(x) = −2w, it would be D(x) = 3x₁ and rank them rightly; what it will know does not count."""
    critic, model = nn.Linear(2, 1, bias=False), GAN(GANConfig(latent=3, width=4), PLANE)
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([[-1.0, 0.0]]))
        model.generator.layers[-2].weight.zero_()
        model.generator.layers[-2].bias.copy_(torch.tensor([-1.0, 0.0]))
    adversary = Adversary(model, critic, OBJECTIVES["wasserstein"], Penalties(), unrolled, watched=True)
    turn = Turn(Leading(), rows(torch.tensor([[1.0, 0.0]] * 4)), Clock(), (0,), Table())  # type: ignore[arg-type]
    ((batch, at, _),) = turn.parts(0)
    adversary.generate(batch, at)
    turn.commit()
    assert turn.game.state["lead"].item() == pytest.approx(0.63)
    assert at.watched["lead"].item() == pytest.approx(0.63)


def test_a_generator_that_nobody_watches_writes_nothing():
    critic, model = nn.Linear(2, 1), GAN(GANConfig(latent=3, width=4), PLANE)
    batch, at = told(rows(torch.randn(4, 2)))
    Adversary(model, critic, OBJECTIVES["minimax"], Penalties()).generate(batch, at)
    assert not at.watched
