"""Spectral normalisation against the singular value decomposition."""

import copy

import pytest
import torch
from torch import nn

from benchmarks.spectral_norm import lags
from simulacra.buffers import evaluating, held
from simulacra.ema import Average
from simulacra.networks.dcgan import Downsampler
from simulacra.networks.mlp import MLP
from simulacra.networks.spectral import converge, spectral_norms, spectrally_normalised, stored_norms
from simulacra.penalties.gradient import gradient_penalty
from simulacra.training import train

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
KINDS = {
    "linear": lambda: nn.Linear(6, 5),
    "convolution": lambda: nn.Conv2d(3, 5, 3),
    "transposed": lambda: nn.ConvTranspose2d(4, 3, 2, 2),
    "embedding": lambda: nn.Embedding(7, 4),
}
INPUTS = {
    "linear": X,
    "convolution": torch.ones(2, 3, 5, 5),
    "transposed": torch.ones(2, 4, 3, 3),
    "embedding": torch.tensor([0, 3]),
}


def as_matrix(layer, weight):
    return (weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight).detach().flatten(1)


def layer_of(kind, top=2.0):
    """A layer whose weight has the singular values `top`, 1, ½, …"""
    torch.manual_seed(3)
    layer = KINDS[kind]()
    with torch.no_grad():
        matrix = as_matrix(layer, layer.weight)
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        matrix = u @ torch.diag(top * 0.5 ** torch.arange(len(s))) @ vh
        turned = isinstance(layer, nn.ConvTranspose2d)
        shape = layer.weight.transpose(0, 1).shape if turned else layer.weight.shape
        matrix = matrix.view(shape)
        layer.weight.copy_(matrix.transpose(0, 1) if turned else matrix)
    return layer


def buffers(module):
    return {name: value.clone() for name, value in module.named_buffers()}


def same(a, b):
    return bool(a) and a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def critic(seed=0, width=8):
    torch.manual_seed(seed)
    return spectrally_normalised(MLP((6,), (), width))


def in_use(layer):
    with held(layer), torch.no_grad():
        return layer.weight


@pytest.mark.parametrize("kind", KINDS)
def test_training_forwards_find_the_largest_singular_value(kind):
    layer = spectrally_normalised(layer_of(kind))
    vectors = layer.parametrizations.weight[0]
    with torch.no_grad():  # vectors that know nothing of the weight
        vectors._u.copy_(nn.functional.normalize(torch.randn_like(vectors._u), dim=0))
        vectors._v.copy_(nn.functional.normalize(torch.randn_like(vectors._v), dim=0))
    assert abs(stored_norms(layer)[""] - 2) > 0.1
    for _ in range(30):
        layer(INPUTS[kind])
    assert spectral_norms(layer)[""] == pytest.approx(2, rel=1e-5)
    assert stored_norms(layer)[""] == pytest.approx(2, rel=1e-3)
    assert torch.linalg.matrix_norm(as_matrix(layer, in_use(layer)), 2).item() == pytest.approx(1, rel=1e-3)


def test_the_vectors_follow_weights_that_train():
    module = critic()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    for step in range(200):
        x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
        (module(x) - x[:, 0]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, sigma in spectral_norms(module).items():
        assert stored_norms(module)[name] == pytest.approx(sigma, rel=1e-3), name


def test_each_training_forward_is_one_step_of_power_iteration():
    layer = spectrally_normalised(layer_of("linear"))
    w, vectors = layer.parametrizations.weight.original.detach(), layer.parametrizations.weight[0]
    with torch.no_grad():
        vectors._v.copy_(torch.eye(6)[0])
    for _ in range(2):
        # Algorithm 1: u = Wv / ‖Wv‖ then v = Wᵀu / ‖Wᵀu‖
        u = w @ vectors._v
        u = u / u.norm()
        v = w.T @ u
        v = v / v.norm()
        found = layer(X)
        assert torch.allclose(vectors._u, u, atol=1e-6)
        assert torch.allclose(vectors._v, v, atol=1e-6)
        assert torch.allclose(found, nn.functional.linear(X, w / (u @ w @ v), layer.bias), atol=1e-5)


def test_a_pass_may_take_several_steps_of_power_iteration():
    torch.manual_seed(0)
    one, three = spectrally_normalised(nn.Linear(6, 5)), nn.Linear(6, 5)
    with torch.no_grad():
        three.weight.copy_(one.parametrizations.weight.original)
    spectrally_normalised(three, 3)
    vectors, others = one.parametrizations.weight[0], three.parametrizations.weight[0]
    with torch.no_grad():
        for part in (vectors, others):
            part._u.copy_(torch.eye(5)[0])
            part._v.copy_(torch.eye(6)[0])
    for _ in range(3):
        one(X)
    three(X)
    assert torch.allclose(vectors._u, others._u, atol=1e-6)
    assert torch.allclose(vectors._v, others._v, atol=1e-6)


def test_frozen_evaluated_and_penalised_networks_keep_their_vectors():
    module = critic()
    before = buffers(module)
    with held(module):
        module(X)
    with evaluating(module):
        module(X)
    gradient_penalty(module, X, -X, torch.full((8,), 0.5), 10.0).mean().backward()
    assert spectral_norms(module).keys() == stored_norms(module).keys()
    assert same(before, buffers(module))
    module(X)
    moved = {name for name, value in buffers(module).items() if not torch.equal(value, before[name])}
    # all but those of the last layer: the one row of its matrix is its own singular vector
    assert moved == {name for name in before if not name.startswith("layers.5.")}


def test_the_gradient_is_the_paper_s():
    layer = spectrally_normalised(layer_of("linear"))
    converge(layer, 60)
    stored, vectors = layer.parametrizations.weight.original, layer.parametrizations.weight[0]
    target = torch.randn(8, 5, generator=torch.Generator().manual_seed(2))
    with held(layer):
        (layer(X) * target).sum().backward()
    # eq. 12: (δhᵀ − λ u vᵀ) / σ, with δ the slope by the output and λ = δᵀ(W̄h)
    w = stored.detach() / 2
    outer = torch.outer(vectors._u, vectors._v)
    expected = (target.T @ X - (target * (X @ w.T)).sum() * outer) / 2
    assert torch.allclose(stored.grad, expected, rtol=1e-4, atol=1e-5)
    # W̄ does not change with the scale of W, so the slope has no part along W
    assert abs((stored.grad * stored.detach()).sum()) < 1e-4


def test_two_scores_in_one_cost_pass_gradients():
    """Real and fake apart: the second pass must not spoil what the first keeps for its backward pass."""
    module = critic()
    fixed = copy.deepcopy(module)
    (module(X).mean() - module(-X).mean()).backward()
    first = copy.deepcopy(fixed)
    first(X).mean().backward()
    first(-X)  # advances once more, so that the second term alone has the vectors of the second pass
    with held(first):
        (-first(-X).mean()).backward()
    for a, b in zip(module.parameters(), first.parameters()):
        assert torch.allclose(a.grad, b.grad, rtol=1e-5, atol=1e-7)


def test_a_state_dict_continues_to_the_bit():
    module = critic()
    for _ in range(3):
        module(X)
    other = critic(seed=1)
    other.load_state_dict(module.state_dict())
    for _ in range(2):
        outputs = module(X), other(X)
        assert torch.equal(*outputs)
        slopes = [torch.autograd.grad(y.sum(), list(m.parameters())) for m, y in zip((module, other), outputs)]
        assert all(torch.equal(a, b) for a, b in zip(*slopes))
    assert same(buffers(module), buffers(other))


def test_the_keys_of_the_state_dict_are_as_documented():
    layer = spectrally_normalised(nn.Sequential(nn.Conv2d(3, 5, 2), nn.BatchNorm2d(5)))
    assert {name: tuple(value.shape) for name, value in layer.state_dict().items() if name.startswith("0.")} == {
        "0.bias": (5,),
        "0.parametrizations.weight.original": (5, 3, 2, 2),
        "0.parametrizations.weight.0._u": (5,),
        "0.parametrizations.weight.0._v": (12,),
    }
    assert [name for name, _ in layer.named_parameters()][:2] == ["0.bias", "0.parametrizations.weight.original"]
    with torch.device("meta"):
        shapes = spectrally_normalised(nn.Conv2d(3, 5, 2)).state_dict()
    assert all(value.is_meta for value in shapes.values())
    assert shapes["parametrizations.weight.0._v"].shape == (12,)


def test_copies_are_independent_and_memory_formats_agree():
    torch.manual_seed(0)
    module = spectrally_normalised(Downsampler((3, 16, 16), 1, 4, batch_norm=False))
    twin = copy.deepcopy(module).to(memory_format=torch.channels_last)
    before, x = buffers(module), torch.randn(2, 3, 16, 16)
    outputs = twin(x.to(memory_format=torch.channels_last))
    assert same(before, buffers(module))
    assert not same(before, buffers(twin))
    assert torch.allclose(outputs, module(x), rtol=1e-4, atol=1e-6)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(module.buffers(), twin.buffers()))


def test_averaged_weights_are_the_parameters_before_normalisation():
    module = critic()
    average = Average(list(module.parameters()))
    average.update()
    before = module.layers[1].parametrizations.weight.original.detach().clone()
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(3)
    with average.in_place(), held(module):
        converge(module, 300)
        assert torch.equal(module.layers[1].parametrizations.weight.original, before)
        for name, sigma in spectral_norms(module).items():
            assert stored_norms(module)[name] == pytest.approx(sigma, rel=1e-3)


def test_a_normalised_critic_is_1_lipschitz():
    module = critic(width=32)
    converge(module, 500)
    a = torch.randn(500, 6, generator=torch.Generator().manual_seed(4))
    b = a + torch.randn(500, 6, generator=torch.Generator().manual_seed(5)) * torch.logspace(-3, 1, 500).unsqueeze(1)
    with evaluating(module):
        rise = (module(a) - module(b)).abs() / (a - b).norm(dim=1)
    assert rise.max() <= 1 + 1e-3
    assert rise.max() > 1e-2


@pytest.mark.parametrize(("kernel", "stride", "bound"), [(3, 1, 3.0), (4, 2, 2.0), (2, 2, 1.0), (3, 2, 2.0)])
def test_the_constant_of_a_convolution_is_bounded_by_how_often_patches_cover_a_pixel(kernel, stride, bound):
    # √(⌈k/s⌉²) = ⌈k/s⌉ in two dimensions; a kernel of ones on constant images comes close where patches overlap
    layer = nn.Conv2d(1, 1, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.ones_(layer.weight)
    spectrally_normalised(layer)
    converge(layer, 5)
    with evaluating(layer):
        columns = torch.eye(144).view(144, 1, 12, 12)
        operator = layer(columns).flatten(1).T
    constant = torch.linalg.matrix_norm(operator, 2).item()
    assert constant <= bound + 1e-4
    assert constant > 0.7 * bound


def test_second_derivatives_through_a_normalised_critic():
    torch.manual_seed(0)
    module = spectrally_normalised(MLP((6,), (), 4, activation=nn.Tanh)).double()
    converge(module, 2000)
    names = [name for name, _ in module.named_parameters()]
    real, fake, epsilon = X[:3].double(), -X[3:6].double(), torch.tensor([0.2, 0.5, 0.9]).double()

    class Substituted(nn.Module):
        def __init__(self, values):
            super().__init__()
            self.inner, self.values = [module], dict(zip(names, values))

        def forward(self, x):
            with held(module):
                return torch.func.functional_call(module, self.values, (x,))

    def penalty(*values):
        return gradient_penalty(Substituted(values), real, fake, epsilon, 10.0)

    values = tuple(p.detach().clone().requires_grad_() for p in module.parameters())
    assert torch.autograd.gradcheck(penalty, values)
    # converged vectors: the slope through σ = uᵀWv is the slope through the largest singular value itself
    (found,) = torch.autograd.grad(penalty(*values).sum(), values[1])
    step = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    sides = []
    for sign in (1, -1):
        moved = copy.deepcopy(module)
        with torch.no_grad():
            dict(moved.named_parameters())[names[1]].add_(sign * 1e-5 * step)
        converge(moved, 2000)
        sides.append(gradient_penalty(moved, real, fake, epsilon, 10.0).sum().item())
    assert names[1].endswith("original")
    assert (sides[0] - sides[1]) / 2e-5 == pytest.approx((found * step).sum().item(), rel=1e-5)


def test_sigma_is_computed_outside_autocast(monkeypatch):
    """The CPU's autocast leaves matrix times vector alone, a GPU's does not: so look at the mode itself."""
    seen = []
    exact = torch.mv

    def watched(*args):
        seen.append(torch.is_autocast_enabled("cpu"))
        return exact(*args)

    module = critic()
    monkeypatch.setattr(torch, "mv", watched)
    with torch.autocast("cpu", torch.bfloat16):
        assert module(X).dtype == torch.bfloat16
    assert len(seen) == 9  # three layers: Wv, Wᵀu, and Wv for σ
    assert not any(seen)


def test_every_layer_is_normalised_once():
    torch.manual_seed(0)
    module = nn.ModuleDict({kind: make() for kind, make in KINDS.items()} | {"norm": nn.BatchNorm2d(3)})
    assert spectrally_normalised(module) is module
    assert list(spectral_norms(module)) == list(KINDS)
    keys = list(module.state_dict())
    assert list(spectrally_normalised(module).state_dict()) == keys


def test_weights_that_cannot_be_normalised_are_refused():
    dead = nn.Sequential(nn.Linear(3, 3))
    nn.init.zeros_(dead[0].weight)
    with pytest.raises(ValueError, match="layer '0' is all zeros"):
        spectrally_normalised(dead)
    other = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)))
    with pytest.raises(ValueError, match="layer '0' has another parametrisation"):
        spectrally_normalised(other)


def test_after_training_sigma_is_the_largest_singular_value(tmp_path):
    """As *sngan* trains by default: its rates fall to zero, and the power iterations catch up with the weights."""
    given = {"width": 4, "latent": 4, "batch": 8, "discriminator_steps": 1, "data": "digits", "quiet": True}
    train("sngan", out=tmp_path / "run", steps=40, **given)
    found = lags(tmp_path / "run")
    assert len(found) == 8
    assert max(map(abs, found.values())) < 1e-3
