"""Generative adversarial network (Goodfellow et al. 2014), with perceptrons, DCGAN's convolutions or residual blocks.

Afterwards only the generator remains; the discriminator belongs to the training.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from simulacra import randomness
from simulacra.buffers import evaluating
from simulacra.config import Config
from simulacra.costs.adversarial import Objective
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.base import Model, in_batches
from simulacra.networks.dcgan import Downsampler, Upsampler, initialise
from simulacra.networks.mlp import MLP
from simulacra.networks.residual import ResidualDiscriminator, ResidualGenerator
from simulacra.networks.spectral import spectrally_normalised
from simulacra.penalties.gradient import dragan, gradient_penalty, r1, r2
from simulacra.penalties.orthogonal import orthogonal
from simulacra.precision import widen


class GANConfig(Config):
    """What a generator is made of."""

    network: Literal["mlp", "dcgan", "residual"] = Field(
        "mlp", description="perceptrons, transposed convolutions or residual blocks"
    )
    latent: int = Field(64, ge=1, description="dimensions of the latent z")
    prior: Literal["normal", "uniform"] = Field("normal", description="p(z): N(0, 1) or uniform on [-1, 1]")
    width: int = Field(
        256, ge=1, description="units of a hidden layer (mlp), channels next to the image (dcgan) or of all blocks"
    )
    depth: int = Field(2, ge=1, le=100, description="hidden layers of the mlp")


class GAN(Model):
    """A generator G: z ↦ x."""

    name, Config = "gan", GANConfig
    config: GANConfig

    def __init__(self, config: GANConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        self.generator = _generator(config, spec)

    def generate(self, at: At) -> Tensor:
        """G(z) for one fresh z per row of the batch."""
        if self.config.prior == "uniform":
            return self.generator(2.0 * at.uniform(self.config.latent) - 1.0)
        return self.generator(at.normal(self.config.latent))

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Images `[n, C, H, W]` in [−1, 1] or vectors `[n, D]`, at z from the prior."""
        return self.decode(self.prior(n, seed=seed, start=start))

    def decode(self, z: Tensor) -> Tensor:
        """G(z) for latents `[N, J]`."""
        with evaluating(self):
            return in_batches(self.generator, z.to(self.device))

    def prior(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """z `[n, J]` of samples start … start+n−1."""
        return self._latents(n, inf, seed, start)

    def truncated(self, n: int, threshold: float, *, seed: int = 0, start: int = 0) -> Tensor:
        """Like `sample`, of z from the prior conditioned on every number being within ±`threshold` (Brock et al. 2019,
        §3.1). Raises UserError where that is not above zero."""
        return self.decode(self._latents(n, threshold, seed, start))

    def _latents(self, n: int, threshold: float, seed: int, start: int) -> Tensor:
        if self.config.prior == "uniform":
            bound = min(randomness.positive(threshold), 1.0)
            return bound * (2.0 * randomness.sample_uniform(n, self.config.latent, seed=seed, start=start) - 1.0)
        return randomness.sample_normal(n, self.config.latent, seed=seed, start=start, truncation=threshold)

    def training_passes(self, seed: int) -> Iterator[None]:
        """Generate 20 batches of 100 from latents of their own."""
        for k in range(20):
            self.generator(self.prior(100, seed=randomness.key_of(seed, 1), start=100 * k).to(self.device))
            yield


@dataclass(frozen=True, kw_only=True)
class Penalties:
    """Weights of what the discriminator pays beside the objective, 0 for none (`penalties`).

    `gradient`: on interpolates of real and generated rows, `one_sided` or not; `dragan`: around real rows, noise of
    variance `spread`; `orthogonal`: on its weight matrices; `r1` and `r2`: on real and on generated rows.
    """

    gradient: float = 0.0
    one_sided: bool = False
    dragan: float = 0.0
    spread: float = 1.0
    orthogonal: float = 0.0
    r1: float = 0.0
    r2: float = 0.0


class Adversary:
    """The costs of the two-player game between `model`'s generator and `discriminator` under `objective`."""

    def __init__(
        self,
        model: GAN,
        discriminator: nn.Module,
        objective: Objective,
        penalties: Penalties,
        unrolled: tuple[int, float] = (0, 0.0),
    ) -> None:
        self.model, self.discriminator, self.objective, self.penalties = model, discriminator, objective, penalties
        self.unrolled = unrolled

    def discriminate(self, batch: Rows, at: At) -> Terms:
        """D's cost on real and generated images (Algorithm 1, inner loop), and its penalties on the same ones."""
        x = self.model.generate(at)
        real, fake = self._scores(batch.x), self._scores(x)
        for name, score in (("D(x)", real), ("D(G(z))", fake)):
            at.watch(name, score.sigmoid() if self.objective.probability else score)
        return {**self.objective.discriminator(real, fake), **self._penalties(batch.x, x, at)}

    def generate(self, batch: Rows, at: At) -> Terms:
        """G's cost on fresh noise (Algorithm 1, last lines), beside real images where the objective pairs them; with
        `unrolled` = (K, η), of the discriminator that K steps of rate η make of the present one."""
        x, real = self.model.generate(at), None
        steps, rate = self.unrolled
        score = unroll(self.discriminator, self._cost, batch.x, x, steps, rate) if steps else self._scores
        if self.objective.paired:
            real = score(batch.x)
        return self.objective.generator(score(x), real)

    def _cost(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's cost as the mean that it descends, of scores."""
        return torch.stack([term.mean() for term in self.objective.discriminator(real, fake).values()]).sum()

    def penalise(self, batch: Rows, at: At) -> Terms:
        """The penalties that may be lazy: R1 on real images, R2 on generated ones."""
        terms: dict[str, Tensor] = {}
        if self.penalties.r1:
            terms["r1"] = r1(self.discriminator, batch.x, self.penalties.r1)
        if self.penalties.r2:
            terms["r2"] = r2(self.discriminator, self.model.generate(at), self.penalties.r2)
        return terms

    def _penalties(self, real: Tensor, fake: Tensor, at: At) -> Terms:
        """Those that belong to every step."""
        weights = self.penalties
        terms: dict[str, Tensor] = {}
        if weights.gradient:
            epsilon = at.uniform()
            terms["gradient_penalty"] = gradient_penalty(
                self.discriminator, real, fake, epsilon, weights.gradient, weights.one_sided
            )
        if weights.dragan:
            noise = weights.spread**0.5 * at.normal(*real.shape[1:])
            terms["dragan"] = dragan(self.discriminator, real, noise, weights.dragan)
        if weights.orthogonal:
            terms["orthogonal"] = orthogonal(self.discriminator, weights.orthogonal)
        return terms

    def _scores(self, x: Tensor) -> Tensor:
        return widen(self.discriminator(x))


def _generator(config: GANConfig, spec: Spec) -> nn.Module:
    final = nn.Tanh if spec.kind == "image" else nn.Identity
    if config.network == "mlp":
        return MLP((config.latent,), spec.shape, config.width, config.depth, _leaky, final)
    if config.network == "residual":
        return ResidualGenerator(config.latent, spec.image_shape, config.width, final)
    network = Upsampler(config.latent, spec.image_shape, config.width, final=final)
    initialise(network)
    return network


def unroll(
    critic: nn.Module,
    cost: Callable[[Tensor, Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    steps: int,
    rate: float,
) -> Callable[[Tensor], Tensor]:
    """Scores of the critic after `steps` plain descents of rate `rate` on `cost(real scores, fake scores)`, through
    which gradients flow back into `fake` (Metz et al. 2017, eq. 8–10); the critic itself stays as it is."""
    parameters = {name: p.detach().requires_grad_() for name, p in critic.named_parameters()}

    def score(x: Tensor) -> Tensor:
        return widen(functional_call(critic, parameters, (x,)))

    for _ in range(steps):
        gradients = torch.autograd.grad(cost(score(real), score(fake)), [*parameters.values()], create_graph=True)
        parameters = {name: p - rate * g for (name, p), g in zip(parameters.items(), gradients)}
    return score


def discriminator(config: GANConfig, spec: Spec, *, batch_norm: bool = True, spectral: bool = False) -> nn.Module:
    """The discriminator that mirrors the generator of `config`: scores `[N, 1]`. `batch_norm`: where DCGAN has it;
    `spectral`: every layer spectrally normalised (Miyato et al. 2018). A residual one has half the generator's width,
    as in that paper."""
    network = _discriminator(config, spec, batch_norm)
    return spectrally_normalised(network) if spectral else network


def _discriminator(config: GANConfig, spec: Spec, batch_norm: bool) -> nn.Module:
    if config.network == "mlp":
        return MLP(spec.shape, (1,), config.width, config.depth, _leaky)
    if config.network == "residual":
        return ResidualDiscriminator(spec.image_shape, 1, max(config.width // 2, 1))
    network = Downsampler(spec.image_shape, 1, config.width, batch_norm)
    initialise(network)
    return network


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.2)
