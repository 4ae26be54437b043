"""Networks of a posterior that can be drawn from but whose density is not known."""

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import elu

from simulacra.precision import full_precision, widen


class NoiseBasis(nn.Module):
    """m perceptrons side by side, v_i: R^`noise` → R^`outputs`, each of noise of its own, with `depth` hidden layers of
    `width` exponential linear units."""

    def __init__(self, basis: int, noise: int, outputs: int, width: int, depth: int = 2) -> None:
        super().__init__()
        sizes = [noise, *[width] * depth, outputs]
        pairs = list(zip(sizes, sizes[1:]))
        self.weights = nn.ParameterList(torch.empty(basis, a, b).uniform_(-1 / sqrt(a), 1 / sqrt(a)) for a, b in pairs)
        self.biases = nn.ParameterList(torch.zeros(basis, 1, b) for _, b in pairs)

    def forward(self, epsilon: Tensor) -> Tensor:
        """Noise `[N, m, noise]` to v `[N, m, outputs]`."""
        x = epsilon.transpose(0, 1)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            x = torch.baddbmm(bias, elu(x) if number else x, weight)
        return x.transpose(0, 1)


class Implicit(nn.Module):
    """z = μ(x) + Σ_i a_i(x) ⊙ v_i(ε_i): noise that a network bends, in proportions that x decides, so that mean and
    covariance of z given x follow from those of v_i, which do not depend on x.

    `trunk` makes of x the m + 1 vectors of `outputs` numbers: μ, and a_i √m − 1. The moments of v_i are taken over the
    noise `probe` `[K, m, e]`, always the same: estimates, which K = 128 leave some hundredths of a deviation off.
    """

    probe: Tensor

    def __init__(self, trunk: nn.Module, basis: NoiseBasis, probe: Tensor, outputs: int) -> None:
        super().__init__()
        self.trunk, self.basis, self.outputs = trunk, basis, outputs
        self.register_buffer("probe", probe, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What x alone decides: μ `[N, J]` and a `[N, m, J]`."""
        mean, scales = self.trunk(x).split([self.outputs, self.probe.shape[1] * self.outputs], 1)
        return mean, (1.0 + scales.unflatten(1, (-1, self.outputs))) / sqrt(self.probe.shape[1])

    def moments(self, mean: Tensor, scales: Tensor, full: bool = True) -> tuple[Tensor, Tensor]:
        """Mean `[N, J]` and covariance `[N, J, J]` of z given x, of which all but the diagonal is left out unless it is
        `full`. In float32 or better, whatever precision surrounds it. Memory is linear in m J."""
        with full_precision(mean.device):
            v, scales = widen(self.basis(self.probe)), widen(scales)
            centre = v.mean(0)
            found = mean + (scales * centre).sum(1)
            if not full:
                return found, (scales.square() * v.var(0)).sum(1).diag_embed()
            each = (v - centre).transpose(0, 1)
            each = each.mT @ each / (len(v) - 1)  # the covariance of every v_i, [m, J, J]
            rows = [(scales * each[:, j] * scales[:, :, j, None]).sum(1) for j in range(self.outputs)]
            return found, torch.stack(rows, 1)
