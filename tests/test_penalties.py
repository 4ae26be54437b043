"""Penalties against critics whose gradient is known, and against matrices whose Gram matrix is."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from simulacra.penalties.gradient import dragan, gradient_norm, gradient_penalty, r1, r2, squared_gradient
from simulacra.penalties.orthogonal import matrices, orthogonal, orthonormal

X = torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 1)).double()


class Quadratic(nn.Module):
    """½ xᵀ A x, whose gradient is A x for a symmetric A."""

    def __init__(self):
        super().__init__()
        a = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        self.a = nn.Parameter(a + a.T)

    def forward(self, x):
        flat = x.flatten(1)
        return 0.5 * (flat @ self.a * flat).sum(1)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 10.0])
def test_r1_of_a_linear_critic_is_half_gamma_times_its_squared_weight(gamma):
    critic = linear()
    penalty = r1(critic, X, gamma)
    expected = 0.5 * gamma * critic[1].weight.square().sum()
    assert penalty.shape == (6,)
    assert torch.allclose(penalty, expected.expand(6), rtol=1e-12)
    (slope,) = torch.autograd.grad(penalty.mean(), critic[1].weight)
    assert torch.allclose(slope, gamma * critic[1].weight, rtol=1e-12)


def test_the_squared_gradient_of_a_quadratic_critic():
    critic = Quadratic()
    found = squared_gradient(critic, X)
    slopes = X.flatten(1) @ critic.a
    assert torch.allclose(found, slopes.square().sum(1), rtol=1e-12)
    (found_slope,) = torch.autograd.grad(found.sum(), critic.a)
    # d/dA of xᵀ½(A + Aᵀ) · ½(A + Aᵀ)x at a symmetric A
    outer = slopes.T @ X.flatten(1)
    assert torch.allclose(found_slope, outer + outer.T, rtol=1e-10)


class Rounded(nn.Module):
    """A score that ignores how its input changes: computed without gradients."""

    def forward(self, x):
        return x.detach().flatten(1).sum(1)


def test_a_critic_without_gradients_is_refused_by_name():
    for critic in (Rounded(), nn.Sequential(Rounded(), nn.Unflatten(0, (-1, 1)), nn.Linear(1, 1).double())):
        with pytest.raises(ValueError, match="has no gradient by its input"):
            r1(critic, X, 1.0)


def test_the_penalty_neither_touches_the_data_nor_asks_for_its_gradient():
    x = X.clone()
    r1(linear(), x, 1.0).mean().backward()
    assert not x.requires_grad
    assert x.grad is None
    assert torch.equal(x, X)


def test_the_penalty_is_computed_in_float32_inside_autocast():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))
    x = X.float()
    exact = r1(critic, x, 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert critic(x).dtype == torch.bfloat16
        found = r1(critic, x, 1.0)
    assert found.dtype == torch.float32
    assert torch.equal(found, exact)


def test_the_penalty_advances_no_buffer():
    torch.manual_seed(0)
    critic = nn.Sequential(
        nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Flatten(), spectral_norm(nn.Linear(12, 1))
    ).double()
    before = {name: value.clone() for name, value in critic.named_buffers()}
    r1(critic, X, 1.0).mean().backward()
    assert before
    assert all(torch.equal(value, before[name]) for name, value in critic.named_buffers())
    assert all(p.grad is not None for name, p in critic.named_parameters() if name.endswith(("weight", "original")))


def test_the_penalty_agrees_with_finite_differences():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    step = 1e-5
    slopes = [
        (critic(X + step * e) - critic(X - step * e)).squeeze(1) / (2 * step) for e in torch.eye(4).view(4, 1, 2, 2)
    ]
    assert torch.allclose(squared_gradient(critic, X), torch.stack(slopes).square().sum(0), rtol=1e-7)


FAKE = torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
EPSILON = torch.rand(6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def weighted(w):
    """x ↦ w·x."""
    critic = nn.Linear(len(w), 1, bias=False).double()
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([w]))
    return critic


PLANE = torch.zeros(3, 2, dtype=torch.float64)
HALF = torch.full((3,), 0.5, dtype=torch.float64)


def all_penalties(critic, real, fake, epsilon):
    """Every penalty of the module, by name."""
    return {
        "r1": r1(critic, real, 2.0),
        "r2": r2(critic, fake, 2.0),
        "two-sided": gradient_penalty(critic, real, fake, epsilon, 10.0),
        "one-sided": gradient_penalty(critic, real, fake, epsilon, 10.0, one_sided=True),
        "dragan": dragan(critic, real, 0.1 * fake, 10.0),
    }


def test_penalties_of_a_linear_critic_by_hand():
    # ‖(3, 4)‖ = 5: r2 = 2/2 · 25; gp = 10 · (5 − 1)² = 160 on both sides; dragan with k = 2: 10 · 3² = 90
    steep = weighted([3.0, 4.0])
    assert r2(steep, PLANE, 2.0).tolist() == [25.0] * 3
    assert gradient_penalty(steep, PLANE, PLANE, HALF, 10.0).tolist() == [160.0] * 3
    assert gradient_penalty(steep, PLANE, PLANE, HALF, 10.0, one_sided=True).tolist() == [160.0] * 3
    assert dragan(steep, PLANE, PLANE, 10.0, slope=2.0).tolist() == [90.0] * 3
    # ‖(0.3, 0.4)‖ = 0.5: 10 · 0.5² = 2.5, and nothing on one side
    flat = weighted([0.3, 0.4])
    assert torch.allclose(gradient_penalty(flat, PLANE, PLANE, HALF, 10.0), torch.full((3,), 2.5).double())
    assert gradient_penalty(flat, PLANE, PLANE, HALF, 10.0, one_sided=True).tolist() == [0.0] * 3


@given(st.lists(st.floats(-5, 5).filter(lambda v: abs(v) > 1e-3), min_size=2, max_size=2))
def test_the_slope_of_the_penalty_by_the_weight_of_a_linear_critic(w):
    critic = weighted(w)
    for one_sided in (False, True):
        penalty = gradient_penalty(critic, PLANE, PLANE, HALF, 10.0, one_sided)
        (slope,) = torch.autograd.grad(penalty.mean(), critic.weight)
        weight = critic.weight.detach()
        excess = weight.norm() - 1
        excess = excess.clamp_min(0) if one_sided else excess
        # d/dw λ(‖w‖ − 1)² = 2λ (‖w‖ − 1) w/‖w‖
        assert torch.allclose(slope, 20 * excess * weight / weight.norm(), rtol=1e-10, atol=1e-12)


def test_interpolates_of_a_quadratic_critic():
    """The gradient A x̂ says at which points it is taken; ε is the share of the real row."""
    critic = Quadratic()
    found = gradient_penalty(critic, X, FAKE, EPSILON, 10.0)
    for i in range(6):
        at = EPSILON[i] * X[i].flatten() + (1 - EPSILON[i]) * FAKE[i].flatten()
        assert torch.allclose(found[i], 10 * ((critic.a @ at).norm() - 1) ** 2, rtol=1e-10)
    ones, zeros = torch.ones(6).double(), torch.zeros(6).double()
    on_real = 10 * (gradient_norm(critic, X) - 1).square()
    assert torch.equal(gradient_penalty(critic, X, FAKE, ones, 10.0), on_real)
    assert torch.equal(gradient_penalty(critic, FAKE, X, zeros, 10.0), on_real)


def test_a_quadratic_critic_in_one_dimension_by_hand():
    class Square(nn.Module):
        def forward(self, x):
            return x.square().sum(1)

    real, fake = torch.tensor([[1.0], [2.0]]), torch.tensor([[-1.0], [0.0]])
    epsilon = torch.tensor([0.25, 0.75])
    # x̂ = ¼·1 − ¾ = −½ and ¾·2 = 1½; |2x̂| = 1 and 3; 10·(0, 2²) = 0, 40
    assert gradient_penalty(Square(), real, fake, epsilon, 10.0).tolist() == [0.0, 40.0]
    # x + δ = 1 + ½ and 2 − 2; |2(x + δ)| = 3 and 0; 10·(2², (−1)²) = 40, 10
    assert dragan(Square(), real, torch.tensor([[0.5], [-2.0]]), 10.0).tolist() == [40.0, 10.0]
    # |2x|² = 4 and 16 on real, 4 and 0 on fakes; times γ/2 = 3/2
    assert r1(Square(), real, 3.0).tolist() == [6.0, 24.0]
    assert r2(Square(), fake, 3.0).tolist() == [6.0, 0.0]


def test_each_row_has_its_own_value():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    together = all_penalties(critic, X, FAKE, EPSILON)
    for i in (0, 4):
        one = slice(i, i + 1)
        for name, value in all_penalties(critic, X[one], FAKE[one], EPSILON[one]).items():
            assert torch.allclose(value, together[name][one], rtol=1e-10, atol=1e-14), name


def test_no_penalty_advances_a_buffer_and_slopes_reach_only_inputs_that_require_them():
    torch.manual_seed(0)
    critic = nn.Sequential(
        nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Flatten(), spectral_norm(nn.Linear(12, 1))
    ).double()
    before = {name: value.clone() for name, value in critic.named_buffers()}
    real, fake = X.clone(), FAKE.clone().requires_grad_()
    sum(each.mean() for each in all_penalties(critic, real, fake, EPSILON).values()).backward()
    assert all(torch.equal(value, before[name]) for name, value in critic.named_buffers())
    assert real.grad is None
    assert fake.grad is not None
    assert critic.training


def test_a_flat_critic_has_finite_penalties_and_slopes_of_every_order():
    critic = weighted([0.0, 0.0])
    found = all_penalties(critic, PLANE, PLANE, HALF)
    assert {name: value.tolist()[0] for name, value in found.items()} == {
        "r1": 0.0,
        "r2": 0.0,
        "two-sided": 10.0,
        "one-sided": 0.0,
        "dragan": 10.0,
    }
    for name, value in found.items():
        (slope,) = torch.autograd.grad(value.sum(), critic.weight, create_graph=True)
        assert slope.tolist() == [[0.0, 0.0]], name
        (curvature,) = torch.autograd.grad(slope.sum(), critic.weight)
        assert curvature.isfinite().all(), name


def test_half_precision_inputs_are_widened_before_they_are_mixed():
    """1 + 2⁻¹⁰ and 0.3 + 0.7 · 2⁻¹⁰ are no bfloat16 numbers."""
    critic = Quadratic().float()
    one, little = torch.ones(1, 4, dtype=torch.bfloat16), torch.full((1, 4), 2.0**-10, dtype=torch.bfloat16)
    epsilon = torch.tensor([0.3])
    with torch.autocast("cpu", torch.bfloat16):
        found = gradient_penalty(critic, one, little, epsilon, 10.0), dragan(critic, one, little, 10.0)
    assert [value.dtype for value in found] == [torch.float32] * 2
    assert torch.equal(found[0], gradient_penalty(critic, one.float(), little.float(), epsilon, 10.0))
    assert torch.equal(found[1], dragan(critic, one.float(), little.float(), 10.0))


def test_the_slope_of_a_penalty_by_the_parameters_agrees_with_finite_differences():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    names = [name for name, _ in critic.named_parameters()]

    class Substituted(nn.Module):
        def __init__(self, values):
            super().__init__()
            self.values = dict(zip(names, values))

        def forward(self, x):
            return torch.func.functional_call(critic, self.values, (x,))

    def penalty(*values):
        return gradient_penalty(Substituted(values), X, FAKE, EPSILON, 10.0) + dragan(
            Substituted(values), X, FAKE, 10.0
        )

    assert torch.autograd.gradcheck(penalty, tuple(p.detach().clone().requires_grad_() for p in critic.parameters()))


# Orthogonal regularisation


def test_orthogonal_regularisation_by_hand():
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 3.0]]))
    # W Wᵀ = [[5, 6], [6, 9]]: 4² + 6² + 6² + 8² = 152 against I; 6² + 6² = 72 off the diagonal
    assert orthonormal(layer, 1.0).item() == 152.0
    assert orthogonal(layer, 0.5).item() == 36.0


def layers():
    """Every kind of layer that has filters, and some that have none."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 4),
        nn.Conv2d(2, 3, 3),
        nn.ConvTranspose2d(6, 4, 2, groups=2),
        nn.BatchNorm2d(4),
        nn.Embedding(7, 5),
        spectral_norm(nn.Conv1d(3, 2, 2)),
    ).double()


def test_filters_are_the_rows():
    module = layers()
    found = dict(matrices(module))
    assert {name: tuple(w.shape) for name, w in found.items()} == {"0": (4, 5), "1": (3, 18), "2": (4, 12), "5": (2, 6)}
    for out in range(4):
        # output channel `out` of a transposed convolution with two groups is made of inputs 0–2 or 3–5
        group, within = divmod(out, 2)
        filters = module[2].weight[3 * group : 3 * group + 3, within]
        assert torch.equal(found["2"][out], filters.flatten())


@pytest.mark.parametrize("penalty", [orthonormal, orthogonal])
def test_the_gradient_of_orthogonal_regularisation_is_the_closed_form(penalty):
    module = layers()
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    penalty(module, 0.1).backward()
    assert all(torch.equal(value, buffers[name]) for name, value in module.named_buffers())
    for layer, weight in ((module[0], module[0].weight), (module[5], module[5].parametrizations.weight.original)):
        w = weight.detach().flatten(1)
        gram = w @ w.T
        eye = torch.eye(len(w))
        kept = gram - eye if penalty is orthonormal else gram * (1 - eye)
        assert torch.allclose(weight.grad.flatten(1), 0.4 * kept @ w, rtol=1e-10, atol=1e-14), layer
    assert module[3].weight.grad is None
    assert module[4].weight.grad is None


@pytest.mark.parametrize(
    "layer", [nn.Linear(6, 4), nn.Conv2d(2, 4, 3), nn.ConvTranspose2d(2, 4, 3), nn.ConvTranspose2d(4, 6, 2, groups=2)]
)
def test_orthogonal_filters_cost_nothing(layer):
    with torch.no_grad():
        for _, rows in matrices(layer):
            q = torch.linalg.qr(torch.randn(rows.shape[1], rows.shape[0])).Q.T
        kernel = q.unflatten(1, (-1, *layer.weight.shape[2:]))
        if isinstance(layer, nn.ConvTranspose2d):
            kernel = kernel.unflatten(0, (layer.groups, -1)).transpose(1, 2).flatten(0, 1)
        layer.weight.copy_(kernel.reshape(layer.weight.shape))
    assert orthonormal(layer, 1.0) < 1e-10
    assert orthogonal(layer, 1.0) < 1e-10
    # at twice the length only the second form costs nothing: W Wᵀ − I = 3 I
    with torch.no_grad():
        layer.weight.mul_(2)
    outputs = len(next(matrices(layer))[1])
    assert torch.allclose(orthonormal(layer, 1.0), torch.tensor(9.0 * outputs), rtol=1e-4)
    assert orthogonal(layer, 1.0) < 1e-9


def test_layers_are_chosen_by_name_or_kind_and_their_terms_add_up():
    module = layers()
    alone = [orthogonal(module, 1.0, lambda name, _, wanted=wanted: name == wanted) for wanted in ("0", "1", "2", "5")]
    assert torch.allclose(orthogonal(module, 1.0), sum(alone))
    assert torch.equal(orthogonal(module, 1.0, lambda _, layer: isinstance(layer, nn.Linear)), alone[0])
    with pytest.raises(ValueError, match="no layer is chosen"):
        orthonormal(module, 1.0, lambda name, _: name == "3")


def test_orthogonal_regularisation_is_in_float32_inside_autocast():
    torch.manual_seed(0)
    layer = nn.Linear(64, 32)
    exact = orthonormal(layer, 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(orthonormal(layer, 1.0), exact)
