"""Layers that let a discriminator see how alike the rows of a batch are.

What they add to a row depends on the other rows that are seen together with it: those of one forward pass, and so of
one rank's micro-batch.
"""

from typing import Any

import torch
from torch import Tensor, nn

from simulacra.networks.mlp import Exact
from simulacra.precision import full_precision, widen

_NUMBERS_AT_ONCE = 1 << 24


class MinibatchDiscrimination(nn.Module):
    """Features `[N, inputs]` followed by o(x) `[N, kernels]` (Salimans et al. 2016, §3.2): for each kernel b, how many
    rows lie close, o(x_i)_b = Σ_j exp(−‖M_ib − M_jb‖₁), where M_i = x_i T holds `dimensions` numbers for every kernel.

    The sum is the paper's, over all rows: j = i is counted and adds 1. It is in float32 or better. Kept for the
    backward pass are N² · `kernels` numbers; the N² · `kernels` · `dimensions` differences are made in blocks of at
    most 2²⁴ numbers (64 MiB), or one row's if they are more, and made anew in the backward pass.
    """

    def __init__(self, inputs: int, kernels: int, dimensions: int) -> None:
        super().__init__()
        self.kernels = kernels
        self.project = Exact(inputs, kernels * dimensions, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, inputs]` to `[N, inputs + kernels]`."""
        m = self.project(x).unflatten(1, (self.kernels, -1))
        return torch.cat([x, closeness(m)], dim=1)


def closeness(m: Tensor) -> Tensor:
    """Σ_j exp(−‖m_ib − m_jb‖₁) `[N, B]` of rows `[N, B, C]`, j = i included; differentiable any number of times."""
    return (-_Differences.apply(m, m)).exp().sum(1)


class _Differences(torch.autograd.Function):
    """Σ_c sign(m_ic − m_jc)(v_ic − v_jc), `[N, N, B]` of `[N, B, C]`: the L1 distances of all pairs where v is m.

    Linear in v, and its adjoint is `_Adjoint`; signs do not change but where they jump, so m itself has no gradient."""

    @staticmethod
    def forward(ctx: Any, m: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(m)
        blocks = zip(_blocks(m), _blocks(v, like=m))
        return torch.cat([((a - m).sign() * (b - v)).sum(3) for a, b in blocks])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        (m,) = ctx.saved_tensors
        return None, _Adjoint.apply(m, gradients[0])


class _Adjoint(torch.autograd.Function):
    """Σ_j (g_ij + g_ji) sign(m_i − m_j), `[N, B, C]` of `[N, B, C]` and `[N, N, B]`."""

    @staticmethod
    def forward(ctx: Any, m: Tensor, g: Tensor) -> Tensor:
        ctx.save_for_backward(m)
        blocks = zip(_blocks(m), _blocks(g + g.transpose(0, 1), like=m))
        return torch.cat([((a - m).sign() * b.squeeze(1)[..., None]).sum(1) for a, b in blocks])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        (m,) = ctx.saved_tensors
        return None, _Differences.apply(m, gradients[0])


def _blocks(rows: Tensor, like: Tensor | None = None) -> tuple[Tensor, ...]:
    """`rows` with an axis for their partners, `[n, 1, ...]`, so many at a time as pairs with all of `like` allow."""
    pairs = (rows if like is None else like).numel()
    return rows[:, None].split(max(1, _NUMBERS_AT_ONCE // max(1, pairs)))


class MinibatchDeviation(nn.Module):
    """One more feature or map: how much the rows of a group differ (Karras et al. 2018, "Progressive growing", §3).

    The standard deviation of every feature at every position over the rows of a group, averaged to one number for all
    of them. A batch of N is cut into max(1, N // `group`) groups of consecutive rows whose sizes differ by at most one:
    none has fewer rows than `group` but where the batch itself has. Deviations are those of the rows at hand (over n,
    not n − 1), in float32 or better; of one row alone, 1e-4.
    """

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        if group < 1:
            raise ValueError(f"a group has one row or more, not {group}")
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        """`[N, F]` to `[N, F + 1]`, `[N, C, H, W]` to `[N, C + 1, H, W]`."""
        n = len(x)
        groups = max(1, n // self.group)
        number = torch.arange(n, device=x.device) * groups // max(1, n)
        with full_precision(x.device):
            each = _deviations(widen(x).flatten(1), number, groups)[number]
        added = each.view(n, 1, *[1] * (x.ndim - 2)).expand(n, 1, *x.shape[2:])
        return torch.cat([x, added], dim=1)


def _deviations(x: Tensor, number: Tensor, groups: int) -> Tensor:
    """The mean over features of their standard deviation within each group `[G]`; row i is in group `number[i]`."""
    member = (torch.arange(groups, device=x.device)[:, None] == number).to(x.dtype)
    share = member / member.sum(1, keepdim=True).clamp(min=1.0)
    centred = x - (share @ x)[number]
    return (share @ centred.square() + 1e-8).sqrt().mean(1)
