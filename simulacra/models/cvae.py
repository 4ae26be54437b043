"""Conditional variational autoencoder (Sohn, Lee & Yan 2015, "Learning Structured Output Representation using Deep
Conditional Generative Models"; equations are its): what is missing from a picture, y, given what is there, x."""

from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from simulacra import randomness
from simulacra.buffers import evaluating
from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.base import Model, in_batches
from simulacra.models.coders import Likelihood, perceptron
from simulacra.models.posterior import Posterior
from simulacra.precision import widen

MISSING = -1.0
"""What networks are shown in the place of a pixel that is missing; brightness is in [0, 1]."""


class CVAEConfig(Config):
    """What the model is made of."""

    quadrants: Literal[1, 2, 3] = Field(
        default=1, description="of the picture, that are given: lower left, left, not lower right"
    )
    conditional_prior: bool = Field(
        default=True, description="p(z|x) is learned; otherwise it is N(0, I), whatever x is"
    )
    latent: int = Field(default=200, ge=1, description="dimensions of the latent z")
    width: int = Field(default=500, ge=1, description="units of a hidden layer")
    depth: int = Field(default=2, ge=1, le=100, description="hidden layers of each network")
    likelihood: Literal["bernoulli", "gaussian"] = Field(
        default="bernoulli", description="p(y|x, z): of brightness, or real values"
    )
    sigma: float = Field(
        default=0.1, gt=0, description="standard deviation of the Gaussian likelihood; the range is [-1, 1]"
    )


def given(shape: tuple[int, int, int], quadrants: int) -> Tensor:
    """Which pixels are given, bool `[H, W]`: the lower left quadrant, the left half, or all but the lower right."""
    _, height, width = shape
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[height // 2 :, : width // 2] = True
    mask[:, : width // 2] |= quadrants > 1
    mask[: height // 2, :] |= quadrants > 2
    return mask


class CVAE(Model):
    """p(z|x), p(y|x, z) and q(z|x, y), and a baseline that guesses y from x alone.

    The guess fills the gaps for the networks that see x. With a learned p(z|x), what y depends on in x goes through z,
    as in Pyro's example of this model; with p(z) = N(0, I) the decoder is shown x.
    Grey pixels of a Bernoulli likelihood count by cross-entropy.
    """

    name, Config = "cvae", CVAEConfig
    config: CVAEConfig
    mask: Tensor

    def __init__(self, config: CVAEConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        shape, sizes, latent = spec.image_shape, (config.width, config.depth), config.latent
        self.likelihood = Likelihood(config.likelihood, config.sigma)
        self.register_buffer("mask", given(shape, config.quadrants), persistent=False)
        self.baseline = perceptron(shape, shape, *sizes)
        parts = {"recognition": perceptron(shape, (2 * latent,), *sizes)}
        if config.conditional_prior:
            parts |= {
                "prior": perceptron(shape, (2 * latent,), *sizes),
                "decoder": perceptron((latent,), shape, *sizes),
            }
        else:
            parts |= {"decoder": perceptron((latent + spec.numel,), shape, *sizes)}
        self.coder = nn.ModuleDict(parts)

    # The costs: of the baseline, then of the model

    def guess_cost(self, batch: Rows, at: At) -> Terms:
        """−log p(y|x) `[N]` of the baseline, which is deterministic: in nats, of the missing pixels alone."""
        y = self.likelihood.unit(batch.x)
        return {"missing": self._loss(self._guessed(y), y)}

    def cost(self, batch: Rows, at: At) -> Terms:
        """The negative of eq. 4's bound on log p(y|x), in nats `[N]`: KL(q(z|x, y) ‖ p(z|x)) and −log p(y|x, z)."""
        y = self.likelihood.unit(batch.x)
        filled = self._filled(y)
        prior = self._prior(filled)
        relative = self._relative(y, prior)
        z = prior.at(relative.at(at.normal(self.config.latent)))
        return {"missing": self._loss(self._decoded(z, filled), y), "kl": relative.kl()}

    def _guessed(self, y: Tensor) -> Tensor:
        """The baseline's output for brightness y, of which it sees what is given."""
        return self.baseline(torch.where(self.mask, y, MISSING))

    def _filled(self, y: Tensor) -> Tensor:
        """x with the baseline's guess in the gaps."""
        with torch.no_grad():
            output = widen(self._guessed(y))
        return torch.where(self.mask, y, output.sigmoid() if self.likelihood.bits else output)

    def _prior(self, filled: Tensor) -> Posterior:
        """p(z|x)."""
        if self.config.conditional_prior:
            return Posterior(*widen(self.coder["prior"](filled)).chunk(2, dim=1))
        zeros = filled.new_zeros(len(filled), self.config.latent)
        return Posterior(zeros, zeros)

    def _relative(self, y: Tensor, prior: Posterior) -> Posterior:
        """q(z|x, y) in the coordinates in which p(z|x) is N(0, I)."""
        return Posterior(*widen(self.coder["recognition"](y)).chunk(2, dim=1)).relative_to(prior)

    def _decoded(self, z: Tensor, filled: Tensor) -> Tensor:
        known = [] if self.config.conditional_prior else [filled.flatten(1)]
        return self.coder["decoder"](torch.cat([z, *known], 1))

    def _loss(self, output: Tensor, y: Tensor) -> Tensor:
        """−log p(y|·) `[N]` of the missing pixels, in nats."""
        missing = ~self.mask
        return self.likelihood.loss(output[..., missing], y[..., missing])

    # The verbs

    def seen(self, x: Tensor) -> Tensor:
        """What is given of images `[N, C, H, W]` in [−1, 1], the rest mid-grey."""
        return torch.where(self.mask, self._admitted(x), 0.0)

    def guess(self, x: Tensor) -> Tensor:
        """Images with the baseline's guess in the place of what is missing."""
        with evaluating(self):
            return in_batches(
                lambda rows: self._shown(rows, self._guessed(self.likelihood.unit(rows))), self._admitted(x)
            )

    def fill(self, x: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """Images `[N, C, H, W]` in [−1, 1] whose missing part is the mean of p(y|x, z) at z ~ p(z|x); the noise of rows
        start … start+N−1 is a function of (seed, row)."""
        x, noise = self._admitted(x), self._noise(len(x), 0, seed, start)
        with evaluating(self):
            return torch.cat([self._fill(rows, epsilon) for rows, epsilon in zip(x.split(250), noise.split(250))])

    def _fill(self, x: Tensor, epsilon: Tensor) -> Tensor:
        filled = self._filled(self.likelihood.unit(x))
        return self._shown(x, self._decoded(self._prior(filled).at(epsilon), filled))

    def _shown(self, x: Tensor, output: Tensor) -> Tensor:
        return torch.where(self.mask, x, self.likelihood.mean(output))

    @property
    def of_bits(self) -> bool:
        """Of a Bernoulli likelihood."""
        return self.likelihood.bits

    def guess_log_prob(self, x: Tensor, *, bits: bool, seed: int = 0, start: int = 0) -> Tensor:
        """log p(y|x) `[N]` of the baseline, in nats, of grey pixels or of bits drawn as for `fill_weights`."""
        y, target = self._both(x, bits, seed, start)
        with evaluating(self):
            return torch.cat([-self._loss(self._guessed(a), b) for a, b in zip(y.split(250), target.split(250))])

    def fill_bound(self, x: Tensor, samples: int, *, bits: bool, seed: int = 0, start: int = 0) -> Tensor:
        """The bound of eq. 4 on log p(y|x) `[N]` of data rows start … start+N−1 in nats, with so many draws of z from
        q(z|x, y)."""
        return self._each(x, samples, bits, seed, start, bound=True).mean(1)

    def fill_weights(self, x: Tensor, samples: int, *, bits: bool, seed: int = 0, start: int = 0) -> Tensor:
        """log p(y|x, z_k) + log p(z_k|x) − log q(z_k|x, y) `[N, samples]`, z_k ~ q(z|x, y) of the noise of (seed, row,
        k): the mean of their exponentials is an unbiased estimate of p(y|x)."""
        return self._each(x, samples, bits, seed, start, bound=False)

    def _each(self, x: Tensor, samples: int, bits: bool, seed: int, start: int, bound: bool) -> Tensor:
        with evaluating(self):
            parts = zip(x.split(250), range(start, start + max(len(x), 1), 250))
            return torch.cat([self._weights(rows, samples, bits, seed, first, bound) for rows, first in parts])

    def _weights(self, x: Tensor, samples: int, bits: bool, seed: int, start: int, bound: bool) -> Tensor:
        """What each draw says of log p(y|x) `[N]`: with the divergence in closed form, or as a weight."""
        y, target = self._both(x, bits, seed, start)
        filled = self._filled(y)
        prior = self._prior(filled)
        relative = self._relative(target, prior)
        found = []
        for k in range(samples):
            epsilon = self._noise(len(x), k, seed, start)
            output = self._decoded(prior.at(relative.at(epsilon)), filled)
            found.append((-relative.kl() if bound else relative.log_ratio(epsilon)) - self._loss(output, target))
        return torch.stack(found, 1)

    def _both(self, x: Tensor, bits: bool, seed: int, start: int) -> tuple[Tensor, Tensor]:
        """What is given as it is, and what is to be filled in: as it is, or, where the likelihood is of bits, as bits
        drawn once per (seed, row)."""
        x = self._admitted(x)
        y, uniform = self.likelihood.unit(x), partial(randomness.sample_uniform, len(x), *x.shape[1:], draw=0)
        if not bits:
            return y, y
        drawn = self.likelihood.observed(x, lambda: uniform(seed=seed, start=start).to(self.device))
        return y, torch.where(self.mask, y, drawn)

    def _admitted(self, x: Tensor) -> Tensor:
        """Images given to a verb, `taken`. Raises UserError for brightness outside [−1, 1]."""
        return self.taken(self.likelihood.admitted(x))

    def _noise(self, n: int, k: int, seed: int, start: int) -> Tensor:
        return randomness.sample_normal(n, self.config.latent, seed=seed, start=start, draw=1 + k).to(self.device)
