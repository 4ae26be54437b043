"""Buffers are read-only while their owner does not move."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from simulacra.buffers import evaluating, held


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def normed():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


class Counting(nn.Module):
    """A foreign buffer that every forward pass advances."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x + self.calls


X = torch.randn(16, 3, generator=torch.Generator().manual_seed(1)) + 2


def test_batch_norm_uses_the_batch_and_keeps_its_running_statistics():
    module = normed()
    before = state(module)
    with held(module):
        output = module(X)
    assert torch.allclose(output.mean(0), torch.zeros(4), atol=1e-5)
    assert torch.allclose(output.var(0, unbiased=False), torch.ones(4), atol=1e-3)
    assert same(before, state(module))
    module(X)
    assert module[1].num_batches_tracked == 1


def test_batch_norm_in_eval_mode_still_uses_its_running_statistics():
    module = normed()
    module(X)
    module.eval()
    expected = module(X)
    with held(module):
        assert torch.equal(module(X), expected)


def test_spectral_norm_keeps_its_vectors_and_passes_gradients():
    torch.manual_seed(0)
    module = spectral_norm(nn.Linear(3, 4))
    before = state(module)
    weight = module.weight.detach().clone()  # reading it in training mode advances the vectors
    assert not same(before, state(module))
    before = state(module)
    x = X.clone().requires_grad_()
    with held(module):
        module(x).sum().backward()
        assert torch.equal(module.weight, weight)
    assert same(before, state(module))
    assert torch.allclose(x.grad, weight.sum(0).expand(16, 3), rtol=1e-5)
    assert module.parametrizations.weight.original.grad.abs().sum() > 0
    assert module.parametrizations.weight[0].training


def test_foreign_buffers_are_put_back_and_seen_to_move_inside():
    module = nn.Sequential(Counting(), Counting())
    with held(module):
        module(X)
        assert torch.equal(module(X), X + 4)
    assert same(state(module), {"0.calls": torch.zeros(()), "1.calls": torch.zeros(())})


def test_held_nests_and_survives_exceptions():
    module = nn.Sequential(nn.BatchNorm1d(3), Counting(), spectral_norm(nn.Linear(3, 3)))
    before = state(module)

    def fails():
        with held(module), held(module[0], module):
            module(X)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert same(before, state(module))
    with held(module):
        with held(module):
            module(X)
        module(X)
    assert same(before, state(module))
    module(X)
    assert not any(torch.equal(v, before[k]) for k, v in state(module).items() if "weight" not in k and "bias" not in k)


def test_held_modules_train_no_less():
    module = normed()
    module(X).square().sum().backward()
    free = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    with held(module):
        module(X).square().sum().backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(free, module.parameters()))


def test_evaluating_gives_every_layer_its_own_mode_back():
    module = nn.Sequential(nn.Dropout(0.5), normed(), nn.Dropout(0.5))
    module[1].eval()
    modes = [layer.training for layer in module.modules()]

    def fails():
        with evaluating(module):
            assert not any(layer.training for layer in module.modules())
            assert not module(X).requires_grad
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert [layer.training for layer in module.modules()] == modes
    assert torch.is_grad_enabled()
