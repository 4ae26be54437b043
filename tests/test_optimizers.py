"""Settings that build optimisers, and schedules."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from simulacra.errors import UserError
from simulacra.optimizers import SGD, Adam, schedule


def stepped(optimizer, parameter, *gradients):
    for gradient in gradients:
        parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
    return parameter.item()


def test_adam_is_built_as_its_settings_say():
    (group,) = (
        Adam(lr=0.3, betas=(0.5, 0.9), eps=1e-6, weight_decay=0.2).build([nn.Parameter(torch.ones(1))]).param_groups
    )
    assert {k: group[k] for k in ("lr", "betas", "eps", "weight_decay")} == {
        "lr": 0.3,
        "betas": (0.5, 0.9),
        "eps": 1e-6,
        "weight_decay": 0.2,
    }


def test_adam_follows_its_paper():
    """Two steps of Algorithm 1 by hand, gradients 1 and 3."""
    lr, b1, b2, eps = 0.1, 0.5, 0.9, 1e-8
    parameter = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    m1, v1 = (1 - b1) * 1, (1 - b2) * 1
    m2, v2 = b1 * m1 + (1 - b1) * 3, b2 * v1 + (1 - b2) * 9
    w = -lr * 1 / (1 + eps)
    w -= lr * (m2 / (1 - b1**2)) / ((v2 / (1 - b2**2)) ** 0.5 + eps)
    found = stepped(Adam(lr=lr, betas=(b1, b2), eps=eps).build([parameter]), parameter, 1.0, 3.0)
    assert found == pytest.approx(w, rel=1e-12)


def test_weight_decay_is_apart_from_the_gradient():
    parameter = nn.Parameter(torch.full((1,), 2.0, dtype=torch.float64))
    optimizer = Adam(lr=0.1, weight_decay=0.5).build([parameter])
    assert stepped(optimizer, parameter, 0.0) == pytest.approx(2.0 * (1 - 0.1 * 0.5))


def test_l2_is_part_of_the_gradient():
    """Adam's first step has the length of its rate whatever the gradient, here λw = 1 alone."""
    parameter = nn.Parameter(torch.full((1,), 2.0, dtype=torch.float64))
    optimizer = Adam(lr=0.1, l2=0.5).build([parameter])
    assert stepped(optimizer, parameter, 0.0) == pytest.approx(2.0 - 0.1)


def test_weights_are_shrunk_in_one_way():
    with pytest.raises(UserError, match=r"^optimizer: weight_decay and l2 both shrink.*one of them$"):
        Adam.read({"l2": 0.1, "weight_decay": 0.1}, "optimizer")


def test_the_correction_for_lazy_steps_scales_the_rate_and_stretches_the_moments():
    (group,) = Adam(lr=0.3, betas=(0.0, 0.99)).build([nn.Parameter(torch.ones(1))], 16 / 17).param_groups
    assert group["lr"] == pytest.approx(0.3 * 16 / 17)
    assert group["betas"] == pytest.approx((0.0, 0.99 ** (16 / 17)))
    (group,) = SGD(lr=0.3).build([nn.Parameter(torch.ones(1))], 0.5).param_groups
    assert group["lr"] == pytest.approx(0.15)


def test_sgd_has_momentum():
    parameter = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    found = stepped(SGD(lr=0.1, momentum=0.5).build([parameter]), parameter, 1.0, 1.0, 1.0)
    assert found == pytest.approx(-0.1 * (1 + 1.5 + 1.75))


@pytest.mark.parametrize(
    "values", [{"lr": 0}, {"lr": -1}, {"eps": 0}, {"weight_decay": -1}, {"betas": [0.9]}, {"rate": 1}]
)
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(UserError):
        Adam.read(values, "adam")


def test_schedules_begin_at_one_and_end_at_zero_or_stay():
    ends = {
        name: (schedule(name)(0.0), schedule(name)(0.5), schedule(name)(1.0))
        for name in ("constant", "linear", "cosine")
    }
    assert ends["constant"] == (1.0, 1.0, 1.0)
    assert ends["linear"] == (1.0, 0.5, 0.0)
    assert ends["cosine"] == pytest.approx((1.0, 0.5, 0.0))


@given(st.sampled_from(["constant", "linear", "cosine"]), st.floats(0, 1), st.floats(0, 1))
def test_schedules_never_rise_and_stay_in_range(name, a, b):
    early, late = schedule(name)(min(a, b)), schedule(name)(max(a, b))
    assert 0 <= late <= early <= 1
