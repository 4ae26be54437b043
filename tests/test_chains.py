"""Autoencoders that undo noise, and the Markov chains they are: against laws that are enumerated."""

from itertools import product

import pytest
import torch
from torch import nn

from simulacra.augment import corruption
from simulacra.capabilities import Samples, verbs
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.images import drawable
from simulacra.models.ae import AE, AEConfig
from simulacra.models.chain import corrupt
from simulacra.models.dae import DAE, DAEConfig
from simulacra.models.gsn import GSN, GSNConfig
from simulacra.randomness import Draws, sample_normal, sample_uniform
from simulacra.recipes import find
from tests.test_models import GREY, PLANE, rows, told

BITS = Spec(kind="image", shape=(1, 1, 3), classes=None)
SHARE = 0.4
STATES = torch.tensor(list(product([0.0, 1.0], repeat=3))).view(8, 1, 1, 3)


@pytest.fixture(autouse=True)
def same_weights() -> None:
    torch.manual_seed(0)


# Noise


def test_draws_are_the_streams_of_samples():
    noise = Draws(4, seed=3, start=10)
    found = [noise.uniform(2, 3), noise.normal(5), noise.uniform(1)]
    assert torch.equal(found[0], sample_uniform(4, 2, 3, seed=3, start=10, draw=0))
    assert torch.equal(found[1], sample_normal(4, 5, seed=3, start=10, draw=1))
    assert torch.equal(found[2], sample_uniform(4, 1, seed=3, start=10, draw=2))


def test_masking_destroys_its_share_and_leaves_the_rest():
    x, uniform = torch.rand(200, 500) + 1, torch.rand(200, 500)
    found = corruption.masking(x, 0.3, uniform, nothing=-1.0)
    gone = found == -1
    assert torch.equal(found[~gone], x[~gone])
    assert abs(gone.double().mean() - 0.3) < 4 * (0.21 / 1e5) ** 0.5
    assert torch.equal(corruption.masking(x, 1.0, uniform), torch.zeros_like(x))


def test_salt_and_pepper_falls_evenly_and_leaves_the_rest():
    x, uniform = torch.rand(200, 500) + 1, torch.rand(200, 500)
    found = corruption.salt_and_pepper(x, 0.3, uniform, low=-1.0, high=5.0)
    salt, pepper = found == 5, found == -1
    assert torch.equal(found[~(salt | pepper)], x[~(salt | pepper)])
    for each in (salt, pepper):
        assert abs(each.double().mean() - 0.15) < 4 * (0.15 * 0.85 / 1e5) ** 0.5


def test_gaussian_corruption_has_its_moments():
    noise = corruption.gaussian(torch.full((200, 500), 2.0), 0.3, torch.randn(200, 500)) - 2.0
    assert abs(noise.mean()) < 4 * 0.3 / 1e5**0.5
    assert noise.var().item() == pytest.approx(0.09, rel=0.02)


@pytest.mark.parametrize(
    ("kind", "spec", "bits", "values"),
    [
        ("masking", GREY, True, {0.0}),
        ("masking", GREY, False, {-1.0}),
        ("masking", PLANE, False, {0.0}),
        ("salt-and-pepper", GREY, True, {0.0, 1.0}),
        ("salt-and-pepper", GREY, False, {-1.0, 1.0}),
    ],
)
def test_what_is_destroyed_is_black_or_white(kind, spec, bits, values):
    x = torch.full((50, *spec.shape), 0.5)
    assert set(corrupt(kind, 1.0, x, Draws(50, seed=0), spec, bits).unique().tolist()) == values


def test_corrupted_rows_are_on_the_data_s_scale_and_functions_of_their_number():
    model = DAE(DAEConfig(width=4, latent=2, level=0.5), GREY)
    x = 2 * torch.rand(9, 1, 8, 8) - 1
    found = model.corrupt(x, seed=2)
    kept = (found - x).abs() < 1e-6
    assert set(found[~kept].round(decimals=5).unique().tolist()) == {-1.0, 1.0}
    assert abs(kept.double().mean() - 0.5) < 4 * 0.5 / 576**0.5
    assert torch.equal(found[4:], model.corrupt(x[4:], seed=2, start=4))
    assert not torch.equal(found, model.corrupt(x, seed=3))


# The chain of three bits, whose law is enumerated


def corruptions():
    """C(x̃|x) `[8, 8]`: every bit stays with probability 1 − share/2."""
    flips = (STATES[:, None] != STATES[None]).flatten(2).sum(2).double()
    return (1 - SHARE / 2) ** (3 - flips) * (SHARE / 2) ** flips


def denoised(model):
    """P(x|x̃) `[8, 8]` by the network."""
    with torch.no_grad():
        rates = model.decoder(model.encoder(STATES)).double().sigmoid().flatten(1)
    bits = STATES.flatten(1)
    return (rates[:, None] * bits + (1 - rates[:, None]) * (1 - bits)).prod(2)


def stationary(transition):
    """The law π = πT."""
    law = torch.full((8,), 0.125, dtype=torch.float64)
    for _ in range(2000):
        law = law @ transition
    return law


def test_the_chain_s_law_is_the_stationary_one_of_its_transitions():
    """A network that bends the law far from uniform; 20 000 chains after 30 steps, from black."""
    model = DAE(DAEConfig(width=6, latent=4, level=SHARE), BITS)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.data.mul_(2.5)
    law = stationary(corruptions() @ denoised(model))
    n, noise = 20_000, Draws(20_000, seed=1)
    state = model.begin(noise.uniform(1, 1, 3))
    with torch.no_grad():
        for _ in range(30):
            _, state = model.step(state, noise)
    numbers = (state[0].flatten(1) @ torch.tensor([4.0, 2.0, 1.0])).long()
    found = torch.bincount(numbers, minlength=8) / n
    assert law.max() > 2 * law.min()
    assert ((found - law).abs() < 4.5 * (law * (1 - law) / n).sqrt()).all()


RATES = torch.tensor([0.2, 0.5, 0.9])


def exact_denoiser():
    """The true P(x|x̃) of independent bits with RATES: its log odds are those of the rate, and ±log((1 − s/2)/(s/2))."""
    model = DAE(DAEConfig(level=SHARE), BITS)
    evidence = torch.tensor((1 - SHARE / 2) / (SHARE / 2)).log()
    last = nn.Linear(3, 3)
    last.weight.data, last.bias.data = 2 * evidence * torch.eye(3), RATES.logit() - evidence
    model.encoder, model.decoder = nn.Flatten(), nn.Sequential(last, nn.Unflatten(1, (1, 1, 3)))
    return model


def test_the_chain_of_a_perfect_denoiser_has_the_law_of_the_data():
    """Bengio et al. 2013, theorem 1, and the means that `sample` gives average to the data's."""
    model = exact_denoiser()
    data = (RATES * STATES.flatten(1) + (1 - RATES) * (1 - STATES.flatten(1))).prod(1).double()
    assert torch.allclose(stationary(corruptions() @ denoised(model)), data, atol=1e-6)
    means = (0.5 * (model.sample(4000, seed=1) + 1)).flatten(1)
    assert ((means.mean(0) - RATES).abs() < 4.5 * means.std(0) / 4000**0.5).all()


def test_the_loss_is_least_at_the_true_denoiser():
    """Nothing else is descended: of all denoisers of such bits the true one has the least expected cost."""
    data = (RATES * STATES.flatten(1) + (1 - RATES) * (1 - STATES.flatten(1))).prod(1).double()
    joint = data[:, None] * corruptions()

    def expected(model):
        return -(joint * denoised(model).log().T).sum()

    best, other = exact_denoiser(), exact_denoiser()
    other.decoder[0].bias.data += torch.tensor([0.3, -0.2, 0.1])
    assert expected(best) < expected(other)
    batch = rows(2 * torch.bernoulli(RATES.expand(20_000, 1, 1, 3)) - 1)
    losses = best.cost(*told(batch))["reconstruction"]
    assert abs(losses.mean() - expected(best)) < 4.5 * losses.std() / 20_000**0.5


def test_walkback_asks_every_step_for_the_data_it_started_from():
    """Where the network forgets its input all steps cost alike; elsewhere the later ones cost more."""
    model, batch = DAE(DAEConfig(width=8, latent=4), GREY), rows(2 * torch.rand(40, 1, 8, 8).round() - 1)
    plain, far = (model.cost(*told(batch), walkback=k)["reconstruction"] for k in (1, 4))
    assert not torch.allclose(plain, far)
    model.decoder.layers[-2].weight.data.zero_()
    plain, far = (model.cost(*told(batch), walkback=k)["reconstruction"] for k in (1, 4))
    assert torch.allclose(plain, far)


def test_the_cost_is_the_mean_over_the_steps_of_one_walk():
    model = GSN(GSNConfig(hidden=(6, 5)), GREY)
    batch, at = told(rows(2 * torch.rand(4, 1, 8, 8).round() - 1))
    x = 0.5 * (batch.x + 1)
    state, losses = model.begin(x), []
    for _ in range(3):
        output, state = model.step(state, at)
        losses.append(model.likelihood.loss(output, x))
    assert torch.allclose(model.cost(*told(batch), walkback=3)["reconstruction"], torch.stack(losses).mean(0))


# What sampling keeps


CHAINS = pytest.mark.parametrize(
    "model",
    [
        DAE(DAEConfig(width=8, latent=4, chain=6), GREY),
        DAE(DAEConfig(width=8, latent=4, chain=6, likelihood="gaussian", corruption="gaussian"), PLANE),
        GSN(GSNConfig(hidden=(9, 8, 7), noise=0.3, chain=6), GREY),
    ],
    ids=["dae", "dae of points", "gsn"],
)


@CHAINS
def test_a_sample_is_the_last_state_of_its_chain(model):
    chain = model.chain(300, 6, seed=2)
    assert chain.shape == (300, 6, *model.spec.shape)
    assert torch.equal(chain[:, -1], model.sample(300, seed=2))
    assert torch.allclose(chain[251:254, :4], model.chain(3, 4, seed=2, start=251), atol=1e-5)
    assert (chain[:, 0] - chain[:, -1]).abs().max() > 1e-3
    assert model.spec.kind != "image" or chain.abs().max() <= 1
    assert drawable(model.spec)


@CHAINS
def test_chains_start_from_black_or_noise_which_know_no_data(model):
    seen, begin = [], model.begin
    model.begin = lambda x: seen.append(x) or begin(x)
    model.sample(2000, seed=1)
    del model.begin
    x = torch.cat(seen).flatten(1)
    if model.likelihood.bits:
        assert not x.any()
    else:
        assert abs(x.mean()) < 4 / x.numel() ** 0.5
        assert x.var().item() == pytest.approx(1.0, rel=0.08)


def test_brightness_that_is_none_is_refused_where_it_is_not_undone():
    bright = torch.full((1, *GREY.shape), 3.0)
    ae, dae, gaussian = (
        AE(AEConfig(width=8, latent=4), GREY),
        DAE(DAEConfig(width=8, latent=4), GREY),
        DAE(DAEConfig(width=8, latent=4, corruption="gaussian"), GREY),
    )
    for verb in (ae.encode, ae.reconstruct, dae.corrupt, dae.encode, dae.reconstruct, gaussian.corrupt):
        with pytest.raises(UserError, match=r"outside \[-1, 1\]"):
            verb(bright)
    for verb in (gaussian.encode, gaussian.reconstruct):  # as Gaussian noise may leave it
        assert len(verb(bright)) == 1


@CHAINS
def test_no_gradient_passes_through_what_is_drawn(model):
    batch, at = told(rows(torch.rand(5, *model.spec.shape)))
    output, state = model.step(model.begin(model.likelihood.unit(batch.x)), at)
    assert output.requires_grad
    assert not state[0].requires_grad


def test_gaussian_draws_have_the_likelihood_s_spread():
    model = DAE(DAEConfig(likelihood="gaussian", sigma=0.3), PLANE)
    drawn = model.draw(torch.ones(20_000, 2), Draws(20_000, seed=0))
    assert abs(drawn.mean() - 1) < 4 * 0.3 / 200
    assert drawn.std().item() == pytest.approx(0.3, rel=0.02)


# The generative stochastic network


def test_layers_move_odd_ones_first_then_even_ones():
    """Without noise, by hand: h_1 and h_3 from x and the old h_2, then h_2 from both, then x from h_1."""
    model = GSN(GSNConfig(hidden=(4, 5, 6), noise=0.0, corruption="masking", level=1e-12), BITS)
    for bias in model.biases:
        bias.data = torch.randn_like(bias)
    (w1, w2, w3), (b0, b1, b2, b3) = model.weights, model.biases
    x, h1, h2, h3 = torch.rand(2, 1, 1, 3), torch.rand(2, 4), torch.rand(2, 5), torch.rand(2, 6)
    output, state = model.step((x, h1, h2, h3), Draws(2, seed=0))
    new1, new3 = (x.flatten(1) @ w1 + h2 @ w2.T + b1).tanh(), (h2 @ w3 + b3).tanh()
    new2 = (new1 @ w2 + new3 @ w3.T + b2).tanh()
    for found, expected in zip((*state[1:], output.flatten(1)), (new1, new2, new3, new1 @ w1.T + b0)):
        assert torch.allclose(found, expected, atol=1e-6)


def test_each_layer_may_have_noise_of_its_own():
    """h_1 has none, so it is what x says of it; h_2 has."""
    model = GSN(GSNConfig(hidden=(40, 50), noise=(0.0, 0.5), corruption="masking", level=1e-12), BITS)
    x = torch.ones(20, *BITS.shape)
    _, (_, first, second) = model.step(model.begin(x), Draws(20, seed=0))
    assert (first == first[0]).all()
    assert second.std(0).mean().item() == pytest.approx(0.5 * 2**0.5, rel=0.2)


def test_noise_is_in_the_uppermost_of_several_layers_alone_unless_said_otherwise():
    kind = find("gsn")
    for hidden, expected in (((4,), (0.3,)), ((4, 5, 6), (0.0, 0.0, 2.0))):
        plan = kind.build(BITS, 100, kind.options(hidden=hidden))
        assert plan.options.noise == plan.model.config.noise == plan.model.noise == expected


@pytest.mark.parametrize("noise", [(0.0, 0.5, 0.5), (-1.0,)])
def test_noise_of_too_many_layers_or_below_0_is_refused(noise):
    with pytest.raises(UserError, match=r"give one deviation, or one for each hidden layer \(2\), none below 0"):
        GSN(GSNConfig(hidden=(4, 5), noise=noise), BITS)


def test_noise_is_added_before_and_after_the_nonlinearity():
    """At a = 0 the variance is σ² + Var tanh(σ ε): with σ = 0.5, 0.25 + 0.1577 by quadrature."""
    model = GSN(GSNConfig(hidden=(50,), noise=0.5, corruption="masking", level=1.0), BITS)
    _, state = model.step(model.begin(torch.rand(2000, 1, 1, 3)), Draws(2000, seed=0))
    points = torch.linspace(-8, 8, 4001).double()
    density = (-0.5 * points**2).exp()
    inner = ((0.5 * points).tanh() ** 2 * density).sum() / density.sum()
    assert state[1].var().item() == pytest.approx(0.25 + inner.item(), rel=0.02)


def test_gradients_pass_from_step_to_step_through_the_hidden_layers():
    """h_2 starts at zero and reaches x by the second step at the earliest, so what W_2 and b_2 learn from the first is
    nothing."""
    model, batch = GSN(GSNConfig(hidden=(6, 5)), GREY), rows(2 * torch.rand(4, 1, 8, 8) - 1)

    def learned(walkback):
        loss = model.cost(*told(batch), walkback=walkback)["reconstruction"].mean()
        found = torch.autograd.grad(loss, [model.weights[1], model.biases[2]], allow_unused=True)
        return [0.0 if g is None else g.abs().max().item() for g in found]

    assert learned(1) == [0.0, 0.0]
    assert min(learned(2)) > 0


# The plain autoencoder


def test_an_autoencoder_has_codes_and_no_law_of_them():
    model = AE(AEConfig(width=6, latent=2), GREY)
    assert verbs(model) == ["encode", "decode", "reconstruct"]
    assert not isinstance(model, Samples)
    x = 2 * torch.rand(4, 1, 8, 8) - 1
    assert torch.equal(model.decode(model.encode(x)), model.reconstruct(x))
    assert model.reconstruct(x).abs().max() <= 1


def test_its_cost_is_the_cross_entropy_of_brightness_or_the_squared_error():
    x = 2 * torch.rand(4, 1, 8, 8) - 1
    model = AE(AEConfig(width=6, latent=2), GREY)
    unit, shown = (0.5 * (each + 1) for each in (x, model.reconstruct(x)))
    expected = -(unit * shown.log() + (1 - unit) * (1 - shown).log()).sum((1, 2, 3))
    assert torch.allclose(model.cost(*told(rows(x)))["reconstruction"], expected, atol=1e-3)
    model = AE(AEConfig(width=6, latent=2, likelihood="gaussian", sigma=0.5), GREY)
    squares = (x - model.reconstruct(x)).square().sum((1, 2, 3))
    rest = 64 * torch.tensor(0.5 * (2 * torch.pi) ** 0.5).log()
    assert torch.allclose(model.cost(*told(rows(x)))["reconstruction"], 2 * squares + rest, atol=1e-3)


@pytest.mark.parametrize(
    ("recipe", "spec", "options", "said"),
    [
        ("dae", PLANE, {"corruption": "salt-and-pepper"}, "black and white of images"),
        ("gsn", PLANE, {"corruption": "salt-and-pepper"}, "black and white of images"),
        ("dae", GREY, {"level": "1.5"}, "give at most 1"),
        ("gsn", PLANE, {"likelihood": "bernoulli"}, "the data is vectors"),
        ("ae", PLANE, {"network": "conv"}, "the data is vectors"),
        ("ae", GREY, {"sigma": "0.2"}, "--sigma is of the gaussian"),
    ],
)
def test_options_that_do_not_fit_are_refused(recipe, spec, options, said):
    with pytest.raises(UserError, match=said):
        find(recipe).build(spec, 100, find(recipe).options().with_overrides(options, recipe))
