"""Virtual batch norm against plain batch norm of the same rows, and its promise: rows do not see each other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from simulacra.networks.dcgan import Downsampler, Upsampler
from simulacra.networks.mlp import MLP
from simulacra.networks.residual import ResidualGenerator
from simulacra.networks.virtual import VirtualBatchNorm, virtually_normalised

NETWORKS = {
    "mlp": (lambda: MLP((5,), (3,), 8, batch_norm=True), (5,)),
    "upsampler": (lambda: Upsampler(5, (1, 8, 12), 4), (5,)),
    "downsampler": (lambda: Downsampler((3, 16, 8), 1, 4), (3, 16, 8)),
    "residual": (lambda: ResidualGenerator(5, (3, 8, 8), 4), (5,)),
}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def built(name, rows=4):
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    network = make().double()
    return virtually_normalised(network, drawn(rows, *shape, seed=3)), shape


def test_by_hand():
    # Reference 0, 2: mean 1, variance 1. With the row 4: mean 2, variance (0 + 4 + 16)/3 − 4 = 8/3.
    norm = VirtualBatchNorm(1, reference=2, eps=0.0)
    y = norm(torch.tensor([[0.0], [2.0], [4.0]]))
    torch.testing.assert_close(y.flatten(), torch.tensor([-1.0, 1.0, 2.0 / (8.0 / 3.0) ** 0.5]))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(0, 3), st.integers(1, 3), st.sampled_from([(), (1,), (4,), (2, 3)]))
def test_each_row_as_in_a_batch_norm_of_the_reference_and_itself(r, n, channels, positions):
    x = 3.0 + 2.0 * drawn(r + n, channels, *positions)
    norm = VirtualBatchNorm(channels, r).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)

    def plain(rows):
        dims = [0, *range(2, x.ndim)]
        variance, mean = torch.var_mean(rows, dims, correction=0, keepdim=True)
        shape = [channels, *[1] * len(positions)]
        return (rows - mean) / (variance + norm.eps).sqrt() * norm.weight.view(shape) + norm.bias.view(shape)

    expected = [plain(x[:r]), *(plain(torch.cat([x[:r], x[i : i + 1]]))[-1:] for i in range(r, r + n))]
    torch.testing.assert_close(norm(x), torch.cat(expected))


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_do_not_see_each_other_nor_the_mode(name):
    network, shape = built(name)
    x = drawn(5, *shape)
    together = network.train()(x)
    alone = torch.cat([network(x[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(network(torch.cat([x[:1], 100.0 * x[1:]]))[:1], together[:1])
    assert torch.equal(network.eval()(x), together)


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_see_the_reference(name):
    network, shape = built(name)
    x = drawn(3, *shape)
    before = network(x)
    network.reference.mul_(2.0).add_(1.0)
    assert (network(x) - before).abs().max() > 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_every_batch_norm_goes_and_its_parameters_stay(name):
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    network = make()
    norms = sum(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in network.modules())
    parameters = {id(p) for p in network.parameters()}
    whole = virtually_normalised(network, torch.zeros(2, *shape))
    assert norms == sum(isinstance(layer, VirtualBatchNorm) for layer in whole.modules())
    assert norms > 0
    assert not [layer for layer in whole.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert {id(p) for p in whole.parameters()} == parameters


def test_a_network_that_is_a_batch_norm_is_replaced_too():
    whole = virtually_normalised(nn.BatchNorm1d(2), drawn(3, 2).float())
    assert isinstance(whole.network, VirtualBatchNorm)


def test_without_scale_and_shift():
    x = drawn(4, 2)
    whole = virtually_normalised(nn.BatchNorm1d(2, affine=False), x[:3])
    assert not list(whole.parameters())
    torch.testing.assert_close(whole(x[3:]), VirtualBatchNorm(2, 3, affine=False)(x)[3:])


def test_the_reference_is_in_the_state_dict_and_not_the_callers():
    network, shape = built("mlp")
    mine = drawn(4, *shape, seed=3)
    assert torch.equal(network.state_dict()["reference"], mine)
    whole = virtually_normalised(MLP(shape, (3,), 8, batch_norm=True), mine)
    mine.zero_()
    assert whole.reference.any()


def test_gradients_reach_weights_through_the_reference_and_rows_alone():
    network, shape = built("mlp")
    x = drawn(2, *shape).requires_grad_()
    (gradient,) = torch.autograd.grad(network(x)[0].sum(), x)
    assert gradient[0].any()
    assert not gradient[1].any()
    network(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_float32_in_autocast():
    x = 100.0 + drawn(6, 3).float()
    norm = VirtualBatchNorm(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert norm(x.bfloat16()).dtype == torch.float32


def test_an_empty_reference_is_refused():
    with pytest.raises(ValueError, match="one row"):
        virtually_normalised(nn.BatchNorm1d(2), torch.zeros(0, 2))
