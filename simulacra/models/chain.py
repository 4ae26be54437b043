"""Models that are the transition of a Markov chain (Bengio, Yao, Alain & Vincent 2013, "Generalized Denoising
Auto-Encoders as Generative Models"): trained to undo noise, sampled by adding noise and undoing it, time and again."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Literal

import torch
from torch import Tensor

from simulacra.augment import corruption
from simulacra.buffers import evaluating
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import At, Rows, Terms
from simulacra.models.base import Model
from simulacra.models.coders import Likelihood
from simulacra.precision import widen
from simulacra.randomness import Draws, Noise

State = tuple[Tensor, ...]
"""Where chains are: x `[N, ...]` on the likelihood's own scale, and whatever else they remember."""
Corruption = Literal["gaussian", "masking", "salt-and-pepper"]
AT_A_TIME = 250  # chains that are walked side by side


class Transition(Model, ABC):
    """A transition of a Markov chain: `step` from a state and noise, with p(x|·) of the next x on the way.

    A concrete model has a `likelihood` and `transitions`, how many come before a sample is taken.
    """

    likelihood: Likelihood
    transitions: int

    @abstractmethod
    def begin(self, x: Tensor) -> State:
        """The state of a chain at x."""

    @abstractmethod
    def step(self, state: State, noise: Noise) -> tuple[Tensor, State]:
        """What the decoder says of the next x (logits, or means), and the state after the transition."""

    def walked_back(self, batch: Rows, at: At, steps: int) -> Terms:
        """−log p(x|·) `[N]` in nats, the mean over so many successive steps of a chain from x: all are asked for the x
        that it started from (walkback, §4, with a fixed number of steps instead of a random one)."""
        x = self.likelihood.unit(batch.x)
        state, losses = self.begin(x), []
        for _ in range(steps):
            output, state = self.step(state, at)
            losses.append(self.likelihood.loss(output, x))
        return {"reconstruction": torch.stack(losses).mean(0)}

    def draw(self, output: Tensor, noise: Noise) -> Tensor:
        """The next x ~ p(x|·); no gradient passes through it."""
        shape = output.shape[1:]
        return self.likelihood.draw(widen(output.detach()), lambda: noise.uniform(*shape), lambda: noise.normal(*shape))

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Means of p(x|·) `[n, ...]` after `config.chain` transitions of chains that know nothing of the data: they
        start from black where x is of bits, which their first corruption makes noise of, from normal noise otherwise.
        (From uniform noise, brighter than most images, a GSN of odd units walks to the negatives of the data.)"""
        return torch.cat([self._last(part, seed) for part in _parts(n, start)])

    def chain(self, n: int, steps: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """The means of p(x|·) at each of the first `steps` transitions of chains start … start+n−1, `[n, steps, ...]`:
        those that `sample` takes the last of. Raises UserError for fewer than one."""
        if steps < 1:
            raise UserError(f"{steps} transitions of a chain: ask for at least 1")
        return torch.cat([self._all(part, seed, steps) for part in _parts(n, start)])

    def _last(self, rows: range, seed: int) -> Tensor:
        *_, output = islice(self._walk(rows, seed), self.transitions)
        return output

    def _all(self, rows: range, seed: int, steps: int) -> Tensor:
        return torch.stack(list(islice(self._walk(rows, seed), steps)), dim=1)

    def _walk(self, rows: range, seed: int) -> Iterator[Tensor]:
        """The means at every transition of the chains `rows`, without end."""
        noise = Draws(len(rows), seed=seed, start=rows.start, device=self.device)
        shape = self.spec.shape
        bits = self.likelihood.bits
        state = self.begin(torch.zeros(len(rows), *shape, device=self.device) if bits else noise.normal(*shape))
        while True:
            with evaluating(self):
                output, state = self.step(state, noise)
            yield self.likelihood.mean(output)


def _parts(n: int, start: int) -> list[range]:
    rows = range(start, start + n)
    return [rows[first : first + AT_A_TIME] for first in range(0, n, AT_A_TIME)] or [rows]


def corrupt(kind: Corruption, level: float, x: Tensor, noise: Noise, spec: Spec, bits: bool) -> Tensor:
    """x̃ ~ C(x̃|x) on the likelihood's own scale; `level` is a standard deviation, or the share of numbers destroyed.
    Pepper, and what masking leaves, is black in images, and 0 in vectors."""
    shape, low = x.shape[1:], 0.0 if bits or spec.kind != "image" else -1.0
    if kind == "gaussian":
        return corruption.gaussian(x, level, noise.normal(*shape))
    if kind == "masking":
        return corruption.masking(x, level, noise.uniform(*shape), low)
    return corruption.salt_and_pepper(x, level, noise.uniform(*shape), low)
