"""Neural autoregressive distribution estimator (Larochelle & Murray 2011, "The Neural Autoregressive Distribution
Estimator"; equations are its)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.models.autoregressive import Autoregressive, Conditionals
from simulacra.precision import full_precision

BLOCK = 8  # pixels whose hidden layers are computed together


class NADEConfig(Config):
    """What a NADE is made of."""

    width: int = Field(default=500, ge=1, description="hidden units")
    activation: Literal["sigmoid", "relu"] = Field(
        default="sigmoid", description="of the hidden units; the paper's is sigmoid"
    )


class NADE(Autoregressive):
    """p(x_i = 1 | x_<i) = σ(b_i + V_i · h_i), h_i = σ(c + W_{·,<i} x_<i): every pixel has a hidden layer, all share W.

    The argument of h_i, a_i, is a running sum: a_1 = c, a_{i+1} = a_i + W_{·,i} x_i, so that a density and a sample
    cost O(DH). Rows of `W` and `V`, both `[D, H]`, belong to pixels.
    """

    name, Config = "nade", NADEConfig
    config: NADEConfig

    def __init__(self, config: NADEConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        pixels, units = spec.numel, config.width
        self.W, self.V = nn.Parameter(torch.empty(pixels, units)), nn.Parameter(torch.empty(pixels, units))
        self.b, self.c = nn.Parameter(torch.zeros(pixels)), nn.Parameter(torch.zeros(units))
        nn.init.uniform_(self.W, -(pixels**-0.5), pixels**-0.5)
        nn.init.uniform_(self.V, -(units**-0.5), units**-0.5)

    def logits(self, x: Tensor) -> Tensor:
        """b_i + V_i · h_i for all i, in the shape of the bits x `[N, ...]`."""
        with full_precision(x.device):
            a, found = self.c, []
            for bits, W, V in zip(*(part.split(BLOCK) for part in (x.flatten(1).T, self.W, self.V))):
                found.append(torch.linalg.vecdot(self._hidden(a, bits, W), V[:, None]))
                a = a + bits.T @ W
            return (torch.cat(found).T + self.b).view_as(x)

    def _hidden(self, a: Tensor, bits: Tensor, W: Tensor) -> Tensor:
        """h `[B, N, H]` of B pixels with bits `[B, N]`, `a` being that of the first of them (eq. 10)."""
        earlier = torch.ones(len(bits), len(bits)).tril(-1).to(bits)
        arguments = (earlier[:, None] * bits.T) @ W  # Σ_{j<i} W_j x_j within the block
        arguments += a
        return arguments.sigmoid_() if self.config.activation == "sigmoid" else arguments.relu_()

    def conditionals(self, n: int) -> Conditionals:
        """The same pixel by pixel, keeping a alone (algorithm 1)."""
        a = self.c.expand(n, -1)
        for b, W, V in zip(self.b, self.W, self.V):
            bit = yield b + (a.sigmoid() if self.config.activation == "sigmoid" else a.relu()) @ V
            assert bit is not None
            a = torch.addcmul(a, bit[:, None], W)
