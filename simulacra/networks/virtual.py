"""Virtual batch norm: every row normalised beside a fixed reference batch (Salimans et al. 2016, §3.5).

What comes out for a row then depends on that row and on the reference alone, in training and in eval mode.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from simulacra.precision import widen


class VirtualBatchNorm(nn.Module):
    """For activations of which the first R = `reference` rows are those of the reference batch: these are normalised by
    their own statistics, every other row by those of the reference and itself, R + 1 rows. In float32 or better."""

    def __init__(self, channels: int, reference: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        if reference < 1:
            raise ValueError("virtual batch norm needs a reference of one row or more")
        self.channels, self.reference, self.eps = channels, reference, eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """`[R + N, channels, ...]` to the same shape."""
        r = self.reference
        flat = widen(x).reshape(len(x), self.channels, -1)
        (mean, variance), (own_mean, own_variance) = _moments(flat[:r], (0, 2)), _moments(flat[r:], (2,))
        # Moments of reference and row, of weights R/(R + 1) and 1/(R + 1): the mean square less the squared mean,
        # written without their difference.
        share, gap = 1.0 / (r + 1), own_mean - mean
        joint_variance = (1.0 - share) * variance + share * own_variance + share * (1.0 - share) * gap.square()
        reference = (flat[:r] - mean) * (variance + self.eps).rsqrt()
        rows = (flat[r:] - (mean + share * gap)) * (joint_variance + self.eps).rsqrt()
        return self._scaled(torch.cat([reference, rows])).view(x.shape)

    def _scaled(self, x: Tensor) -> Tensor:
        if self.weight is None or self.bias is None:
            return x
        return x * self.weight[:, None] + self.bias[:, None]


def _moments(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and variance over `axes`, also of no rows."""
    mean = x.mean(axes, keepdim=True)
    return mean, (x - mean).square().mean(axes, keepdim=True)


class VirtuallyNormalised(nn.Module):
    """A network that sees the batch `reference` before every batch of rows, at the cost of that many rows more.

    `reference` is a buffer, and so part of checkpoints; on several ranks it must be the same.
    """

    reference: Tensor

    def __init__(self, network: nn.Module, reference: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("reference", reference.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """What the network makes of the rows x `[N, ...]` beside the reference."""
        return self.network(torch.cat([self.reference, x]))[len(self.reference) :]


def virtually_normalised(network: nn.Module, reference: Tensor) -> VirtuallyNormalised:
    """`network` itself with a virtual batch norm for every batch norm in it, and the rows `reference` `[R, ...]` to go
    by, "chosen once and fixed at the start of training".

    The norms' scales and shifts stay the same parameters; their running statistics go. Raises ValueError for a
    reference without rows.
    """
    whole = VirtuallyNormalised(network, reference)
    for module in list(whole.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(module, name, _virtual(child, len(reference)))
    return whole


def _virtual(norm: _BatchNorm, reference: int) -> VirtualBatchNorm:
    virtual = VirtualBatchNorm(norm.num_features, reference, norm.eps, affine=False)
    virtual.weight, virtual.bias = norm.weight, norm.bias
    return virtual.train(norm.training)
