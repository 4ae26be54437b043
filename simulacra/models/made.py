"""Masked autoencoder for distribution estimation (Germain et al. 2015, "MADE: Masked Autoencoder for Distribution
Estimation", arXiv:1502.03509; equations are its)."""

import math

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from simulacra import randomness
from simulacra.buffers import evaluating
from simulacra.config import Config
from simulacra.costs import reconstruction
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.autoregressive import Autoregressive, Conditionals, continued
from simulacra.models.bits import binarised
from simulacra.networks.masked import MaskedMLP
from simulacra.precision import full_precision, widen


class MADEConfig(Config):
    """What a MADE is made of."""

    width: int = Field(default=2000, ge=1, description="units of a hidden layer")
    depth: int = Field(default=2, ge=1, le=100, description="hidden layers")
    orders: int = Field(
        default=1, ge=1, description="orders of the pixels, the first row by row; p is the mean over them"
    )
    direct: bool = Field(default=True, description="connections straight from inputs to outputs")


class MADE(Autoregressive):
    """A perceptron whose masks leave output i those inputs alone that come before pixel i.

    With several `orders` it is that many models with shared weights (§4.2, 4.3): training takes them in turn, and
    p(x) = 1/K Σ_k p_k(x) is the ensemble's, exact too; images are completed by p_1. Sampling computes each hidden unit
    once, when its inputs are known, so that D small steps cost one pass.
    """

    name, Config = "made", MADEConfig
    config: MADEConfig

    def __init__(self, config: MADEConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        places = 1 + torch.stack([shuffled(spec.numel, k, 0).argsort() for k in range(config.orders)])
        degrees = spread(config.width, spec.numel - 1)
        hidden = [
            torch.stack([degrees[shuffled(config.width, k, 1 + layer)] for k in range(config.orders)])
            for layer in range(config.depth)
        ]
        self.network = MaskedMLP(places, hidden, direct=config.direct)

    def logits(self, x: Tensor, k: int = 0) -> Tensor:
        """Those of the k-th order, in the shape of the bits x `[N, ...]`."""
        return self.network(x.flatten(1), k).view_as(x)

    def cost(self, batch: Rows, at: At) -> Terms:
        """−log p_k(x) `[N]` in nats of fresh bits, the orders k taken in turn, step by step."""
        bits = binarised(batch.x, at.uniform(*batch.x.shape[1:]))
        return {"nll": self._nats(bits, at.clock.step % self.config.orders)}

    def nats(self, bits: Tensor) -> Tensor:
        """−log p(x) `[N]` of the mean over orders."""
        each = torch.stack([self._nats(bits, k) for k in range(self.config.orders)])
        return math.log(len(each)) - (-each).logsumexp(0)

    def _nats(self, bits: Tensor, k: int) -> Tensor:
        logits = widen(self.logits(bits, k))
        with full_precision(bits.device):
            return reconstruction.bernoulli(logits, bits)

    def conditionals(self, n: int) -> Conditionals:
        """Logits of the first order, row by row."""
        return self.network.walk(n)

    def _drawn(self, n: int, given: Tensor, seed: int, start: int) -> Tensor:
        """Rows of an order each, chosen by a uniform number of their own; those that are given their first pixels go on
        by p_1, in whose order alone these are the first."""
        if self.config.orders == 1 or given.shape[1]:
            return super()._drawn(n, given, seed, start)
        orders = self.config.orders
        uniform = randomness.sample_uniform(n, self.spec.numel, seed=seed, start=start, draw=1).to(self.device)
        chosen = randomness.sample_uniform(n, seed=seed, start=start, draw=2).mul(orders).long().clamp(max=orders - 1)
        bits = torch.empty_like(uniform)
        with evaluating(self):
            for k in chosen.unique().tolist():
                rows = (chosen == k).nonzero().flatten().to(self.device)
                bits[rows] = self._in_order(k, uniform[rows])
        return (2.0 * bits - 1.0).view(n, *self.spec.shape)

    def _in_order(self, k: int, uniform: Tensor) -> Tensor:
        places = self.network.order[k] - 1
        parts = [continued(self.network.walk(len(u), k), u, u[:, :0]) for u in uniform.split(250)]
        return torch.cat(parts)[:, places]


def spread(units: int, largest: int) -> Tensor:
    """Degrees 1 … `largest` int64 `[units]`, as even as can be, ascending. (The paper draws them.)"""
    return 1 + torch.arange(units) * largest // units


def shuffled(n: int, k: int, layer: int) -> Tensor:
    """0 … n−1 int64 in the k-th order of a layer; the first order is the natural one."""
    if not k:
        return torch.arange(n)
    keys = randomness.counter_uniform(randomness.key_of(k, layer), np.zeros(1, np.int64), n)[0]
    return torch.from_numpy(np.argsort(keys, kind="stable"))
