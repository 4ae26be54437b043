"""Fully visible belief net: a logistic regression for every pixel on those before it (Neal 1992, "Connectionist
learning of belief networks"; Frey 1998, "Graphical Models for Machine Learning and Digital Communication")."""

import torch
from torch import Tensor

from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.models.autoregressive import Autoregressive, Conditionals
from simulacra.networks.masked import MaskedLinear


class FVBNConfig(Config):
    """What a fully visible belief net is made of: nothing is left to choose."""


class FVBN(Autoregressive):
    """p(x_i = 1 | x_<i) = σ(b_i + Σ_{j<i} W_ij x_j), W below its diagonal alone.

    A sample of D bits costs D products of growing length, together half a pass over W."""

    name, Config = "fvbn", FVBNConfig
    config: FVBNConfig

    def __init__(self, config: FVBNConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        order = torch.arange(spec.numel)[None]
        self.regressions = MaskedLinear(order, order, strict=True)

    def logits(self, x: Tensor) -> Tensor:
        """b + W x, in the shape of the bits x `[N, ...]`."""
        return self.regressions(x.flatten(1)).view_as(x)

    def conditionals(self, n: int) -> Conditionals:
        """b_i + Σ_{j<i} W_ij x_j, for i = 1 … D."""
        weight, bias = self.regressions.weight, self.regressions.bias
        x = weight.new_zeros(n, self.spec.numel)
        for i in range(self.spec.numel):
            bit = yield bias[i] + x[:, :i] @ weight[i, :i]
            assert bit is not None
            x[:, i] = bit
