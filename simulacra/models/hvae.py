"""Hierarchical variational autoencoder: layers of latents h_1 … h_L, drawn from the top down, inferred from the bottom
up (Rezende, Mohamed & Wierstra 2014, deep latent Gaussian models; the inference of Burda, Grosse & Salakhutdinov 2016,
"Importance Weighted Autoencoders", §2)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from simulacra.buffers import evaluating
from simulacra.config import Config, Sizes
from simulacra.costs.divergences import free_bits, warmed
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.base import in_batches
from simulacra.models.coders import Likelihood, perceptron
from simulacra.models.posterior import Posterior
from simulacra.models.variational import Variational
from simulacra.precision import widen


class HVAEConfig(Config):
    """What a hierarchical VAE is made of."""

    latents: Sizes = Field(
        default=(100, 50), min_length=1, max_length=20, description="dimensions of h_1, h_2, ... from x up"
    )
    width: int = Field(default=200, ge=1, description="units of a hidden layer")
    depth: int = Field(default=2, ge=1, le=100, description="hidden layers between two layers of latents")
    likelihood: Literal["bernoulli", "gaussian"] = Field(
        default="bernoulli", description="p(x|h): of bits, or of real values"
    )
    sigma: float = Field(
        default=0.1, gt=0, description="standard deviation of the Gaussian likelihood; the range is [-1, 1]"
    )


class Layer(NamedTuple):
    """One layer of latents at given noise: q(h_l | the layer below), the noise, and the h_l that it makes."""

    posterior: Posterior
    epsilon: Tensor
    h: Tensor


class HVAE(Variational[Posterior]):
    """p(x|h_1) p(h_1|h_2) … p(h_L) and q(h_1|x) q(h_2|h_1) … q(h_L|h_{L−1}), all of diagonal Gaussians but p(x|h_1).

    Its code is the noise that the prior makes h of, ε `[N, ΣJ_l]`, h_1's first: h_L = ε_L and h_l = μ_l(h_{l+1}) +
    σ_l(h_{l+1}) ⊙ ε_l. So the prior of codes is N(0, I), as that of a model with one layer."""

    name, Config = "hvae", HVAEConfig
    config: HVAEConfig

    def __init__(self, config: HVAEConfig, spec: Spec) -> None:
        super().__init__(config, spec, Likelihood(config.likelihood, config.sigma))
        sizes, (width, depth) = config.latents, (config.width, config.depth)
        below = [spec.shape, *((size,) for size in sizes[:-1])]
        self.encoders = nn.ModuleList(perceptron(a, (2 * b,), width, depth) for a, b in zip(below, sizes))
        self.priors = nn.ModuleList(perceptron((b,), (2 * a,), width, depth) for a, b in zip(sizes, sizes[1:]))
        self.decoder = perceptron((sizes[0],), spec.shape, width, depth)
        self.latents, self.latent_layers = sum(sizes), sizes

    def output(self, z: Tensor) -> Tensor:
        """What the decoder says of the h_1 that codes `[N, ΣJ_l]` make."""
        return self.decoder(self._downward(z))

    # The objective

    def cost(self, batch: Rows, at: At, floor: float = 0.0, warm_up: float = 0.0) -> Terms:
        """The negative ELBO with one draw, in nats: −log p(x|h_1) and one divergence for each layer, `kl_1` … `kl_L`
        `[N]`; with free bits of `floor` above 0 these are scalars (`divergences.free_bits`). Over the share `warm_up`
        of the training their weight rises from nothing (`divergences.warmed`). With either, their sum as it is is
        logged as `kl_plain`."""
        x = self.observed(batch.x, lambda: at.uniform(*batch.x.shape[1:]))
        layers = self._upward(self.posterior(x), at.normal(self.latents))
        each = [widen(kl) for kl in self._divergences(layers)]
        kls, weight = [free_bits(kl, floor) if floor else kl.sum(1) for kl in each], warmed(at.progress, warm_up)
        if floor or warm_up:
            at.watch("kl_plain", torch.cat(each, 1).sum(1))
        return {"reconstruction": self._loss(x, layers)} | {f"kl_{k}": weight * kl for k, kl in enumerate(kls, 1)}

    def posterior(self, x: Tensor) -> Posterior:
        """q(h_1|x) of observed data `[N, ...]`."""
        return _gaussian(self.encoders[0], x)

    def elbo(self, x: Tensor, epsilon: Tensor) -> Tensor:
        """The ELBO `[N]` of observed x in nats, estimated with one draw of all layers, of the noise ε `[N, ΣJ_l]`."""
        layers = self._upward(self.posterior(x), epsilon)
        return -self._loss(x, layers) - torch.cat(self._divergences(layers), 1).sum(1)

    def log_weights_at(self, x: Tensor, q: Posterior, epsilon: Tensor) -> Tensor:
        """log p(x, h) − log q(h|x) `[N]` of observed x and q(h_1|x), at the h of the noise ε `[N, ΣJ_l]`."""
        layers = self._upward(q, epsilon)
        ratios = [self._above(layers, number).sum(1) for number in range(len(layers) - 1)]
        return layers[-1].posterior.log_ratio(layers[-1].epsilon) - sum(ratios) - self._loss(x, layers)

    def _upward(self, posterior: Posterior, epsilon: Tensor) -> list[Layer]:
        """The layers from h_1 on, each inferred from the one below."""
        first, *rest = epsilon.split(self.config.latents, 1)
        layers = [Layer(posterior, first, posterior.at(first))]
        for encoder, noise in zip(list(self.encoders)[1:], rest):
            q = _gaussian(encoder, layers[-1].h)
            layers.append(Layer(q, noise, q.at(noise)))
        return layers

    def _divergences(self, layers: Sequence[Layer]) -> list[Tensor]:
        """What each dimension of each layer costs, `[N, J_l]`: log q − log p at the draws, and for the top layer, given
        the one below, the divergence itself."""
        lower = [self._above(layers, number) for number in range(len(layers) - 1)]
        return [*lower, layers[-1].posterior.kl_of_each()]

    def _above(self, layers: Sequence[Layer], number: int) -> Tensor:
        """log q(h_l|h_{l−1}) − log p(h_l|h_{l+1}) `[N, J_l]`, l = `number` + 1, without the constants that cancel."""
        q, epsilon, h = layers[number]
        p = _gaussian(self.priors[number], layers[number + 1].h)
        standardised = (h - p.mean).square() / p.log_variance.exp()
        return 0.5 * (standardised + p.log_variance - epsilon.square() - q.log_variance)

    def _loss(self, x: Tensor, layers: Sequence[Layer]) -> Tensor:
        return self.likelihood.loss(self.decoder(layers[0].h), x)

    # The verbs, beside those of every variational model

    def encode(self, x: Tensor) -> Tensor:
        """Codes `[N, ΣJ_l]` of data `[N, ...]` in [−1, 1]: of the means of q(h_1|x), of q(h_2|h_1) at that mean, and so
        on; each as its distance from what the layer above expects, in standard deviations. A layer of zeros adds
        nothing to the one above it."""
        with evaluating(self):
            return in_batches(self._codes, self._admitted(x))

    def _codes(self, x: Tensor) -> Tensor:
        posterior = self.posterior(self.likelihood.unit(x))
        layers = self._upward(posterior, posterior.mean.new_zeros(len(x), self.latents))
        codes = [layers[-1].h]
        for prior, below, above in reversed(list(zip(self.priors, layers, layers[1:]))):
            p = _gaussian(prior, above.h)
            codes.insert(0, (below.h - p.mean) * (-0.5 * p.log_variance).exp())
        return torch.cat(codes, 1)

    def _downward(self, epsilon: Tensor) -> Tensor:
        """h_1 of the noise of all layers."""
        *rest, h = epsilon.split(self.config.latents, 1)
        for prior, noise in reversed(list(zip(self.priors, rest))):
            h = _gaussian(prior, h).at(noise)
        return h


def _gaussian(network: nn.Module, x: Tensor) -> Posterior:
    """N(μ, diag σ²) with μ and log σ² from the network."""
    return Posterior(*widen(network(x)).chunk(2, dim=1))
