"""What models share that tell bits one after another, each given those before it: p(x) = Π_i p(x_i | x_1 … x_{i−1})."""

from abc import abstractmethod
from collections.abc import Generator

import torch
from torch import Tensor

from simulacra import config as settings
from simulacra import randomness
from simulacra.buffers import evaluating
from simulacra.capabilities import LogProb
from simulacra.costs import reconstruction
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import At, Rows, Terms
from simulacra.models.base import Model, in_batches
from simulacra.models.bits import DRAWN, binarised, require_brightness, require_images
from simulacra.precision import full_precision, widen

Conditionals = Generator[Tensor, Tensor | None, None]
"""Yields the logits `[N]` of one bit after the other; is sent each bit `[N]` before it yields the next."""


class Autoregressive(Model):
    """p(x) over the D bits of an image, channel by channel, row by row.

    Grey pixels become bits with their brightness as probability, drawn anew each time an image is seen in training;
    sets of black and white images are seen as they are. A system says what `logits` are in one pass over whole images,
    and by `conditionals` the same one by one, for sampling.
    """

    def __init__(self, config: settings.Config, spec: Spec) -> None:
        super().__init__(config, spec)
        require_images(spec, self.name)

    @property
    def sees(self) -> str | None:
        """Bits."""
        return DRAWN

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """log p(x_i = 1 | x_<i) − log p(x_i = 0 | x_<i) for every i at once, in the shape of the bits x `[N, ...]`."""

    @abstractmethod
    def conditionals(self, n: int) -> Conditionals:
        """The same for `n` rows whose bits are told one by one."""

    def cost(self, batch: Rows, at: At) -> Terms:
        """−log p(x) `[N]` in nats of fresh bits of the batch."""
        return {"nll": self.nats(binarised(batch.x, at.uniform(*batch.x.shape[1:])))}

    def nats(self, bits: Tensor) -> Tensor:
        """−log p(x) `[N]` in nats of bits `[N, ...]`."""
        logits = widen(self.logits(bits))
        with full_precision(bits.device):
            return reconstruction.bernoulli(logits, bits)

    # The verbs

    def log_prob(self, x: Tensor, *, seed: int = 0, start: int = 0) -> LogProb:
        """log p `[N]`, exact, in nats, of the bits of data rows start … start+N−1 in [−1, 1]. Bits are drawn once per
        row, from (seed, row), as those of a `vae` are. Raises UserError for pixels outside the range."""
        with evaluating(self):
            return LogProb(-in_batches(self.nats, self.bits(x, seed=seed, start=start)), "exact")

    def bits(self, x: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """The bits that `log_prob` is of, 0 or 1, in the shape of x. Raises UserError for pixels outside [−1, 1]."""
        x = self.taken(require_brightness(x))
        return binarised(x, randomness.sample_uniform(*x.shape, seed=seed, start=start).to(x))

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Images `[n, C, H, W]` of −1 and 1, drawn bit by bit from p."""
        return self._drawn(n, torch.empty(n, 0), seed, start)

    def complete(self, x: Tensor, known: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Images of −1 and 1 whose first `known` pixels are the bits of x, as `log_prob` sees them, and whose others
        are drawn given those. Raises UserError for pixels outside [−1, 1] or a `known` outside 0 … D."""
        if not 0 <= known <= self.spec.numel:
            raise UserError(f"{known} known pixels: rows have {self.spec.numel}")
        given = self.bits(x, seed=seed, start=start).flatten(1)[:, :known]
        return self._drawn(len(x), given, seed, start)

    def _drawn(self, n: int, given: Tensor, seed: int, start: int) -> Tensor:
        """Rows that begin with the bits `given` `[n, K]` and go on by the noise of samples start … start+n−1."""
        uniform = randomness.sample_uniform(n, self.spec.numel, seed=seed, start=start, draw=1).to(self.device)
        with evaluating(self):
            parts = zip(uniform.split(250), given.to(uniform).split(250))
            bits = torch.cat([continued(self.conditionals(len(u)), u, g) for u, g in parts])
        return (2.0 * bits - 1.0).view(n, *self.spec.shape)


def continued(conditionals: Conditionals, uniform: Tensor, given: Tensor) -> Tensor:
    """Bits `[N, D]`: the first are `given` `[N, K]`, each later one is 1 where its `uniform` number `[N, D]` is below
    its probability given all before it."""
    bits, bit, known = torch.empty_like(uniform), None, given.shape[1]
    for i in range(uniform.shape[1]):
        logit = conditionals.send(bit)
        bit = given[:, i] if i < known else (uniform[:, i] < logit.sigmoid()).to(uniform)
        bits[:, i] = bit
    return bits
