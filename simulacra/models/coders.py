"""What autoencoders of every kind are put together from: an encoder, a decoder, and what the decoder's output means."""

from collections.abc import Callable
from math import log
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from simulacra.config import Config
from simulacra.costs import reconstruction
from simulacra.data.spec import Spec
from simulacra.models.bits import binarised, require_brightness
from simulacra.networks.dcgan import Downsampler, Upsampler
from simulacra.networks.mlp import MLP
from simulacra.precision import full_precision, widen


class CoderConfig(Config):
    """Networks of an encoder and a decoder, and the law of data given a code."""

    network: Literal["mlp", "conv"] = Field(
        default="mlp", description="encoder and decoder: perceptrons or convolutions"
    )
    latent: int = Field(default=20, ge=1, description="dimensions of the latent z")
    width: int = Field(
        default=500, ge=1, description="units of a hidden layer (mlp), channels next to the image (conv)"
    )
    depth: int = Field(default=2, ge=1, le=100, description="hidden layers of the mlp")
    likelihood: Literal["bernoulli", "gaussian"] = Field(
        default="bernoulli", description="p(x|z): of bits, or of real values"
    )
    sigma: float = Field(
        default=0.1, gt=0, description="standard deviation of the Gaussian likelihood; the range is [-1, 1]"
    )


def coders(config: CoderConfig, spec: Spec, outputs: int) -> tuple[nn.Module, nn.Module]:
    """An encoder of rows to `outputs` numbers, and a decoder of codes `[N, latent]` to rows."""
    if config.network == "mlp":
        encoder: nn.Module = perceptron(spec.shape, (outputs,), config.width, config.depth)
    else:
        encoder = Downsampler(spec.image_shape, outputs, config.width, batch_norm=False)
    return encoder, decoder_of(config, spec)


def decoder_of(config: CoderConfig, spec: Spec) -> nn.Module:
    """A decoder of codes `[N, latent]` to rows."""
    if config.network == "mlp":
        return perceptron((config.latent,), spec.shape, config.width, config.depth)
    return Upsampler(config.latent, spec.image_shape, config.width, batch_norm=False, final=nn.Identity)


def perceptron(inputs: tuple[int, ...], outputs: tuple[int, ...], width: int, depth: int) -> MLP:
    """Rectified units that start by the heuristic of Glorot & Bengio (2010, eq. 16), as those of Burda et al. (2016,
    §5) do, and biases of zero. (From PyTorch's start, weights of a deviation √3 times as small between layers of equal
    size, *vae* on MNIST comes to a bound 0.7 to 1.1 nats worse in 40 000 steps.)"""
    network = MLP(inputs, outputs, width, depth)
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return network


class Likelihood(nn.Module):
    """p(x|z) by a decoder's output: independent Bernoullis of these logits, or N(output, σ²I).

    `learned`: log σ is a parameter, one number for all of x, that starts at log `sigma`; otherwise there is none.
    """

    def __init__(self, kind: Literal["bernoulli", "gaussian"], sigma: float, learned: bool = False) -> None:
        super().__init__()
        self.bits, self._sigma = kind == "bernoulli", sigma
        self.log_sigma = nn.Parameter(torch.tensor(log(sigma))) if learned else None

    @property
    def sigma(self) -> float | Tensor:
        """σ of the Gaussian: a number, or a scalar that is learned."""
        return self._sigma if self.log_sigma is None else self.log_sigma.exp()

    def loss(self, output: Tensor, x: Tensor) -> Tensor:
        """−log p(x|z) `[N]` in nats, in float32 or better; of brightnesses in [0, 1] the cross-entropy."""
        output = widen(output)
        with full_precision(x.device):
            if self.bits:
                return reconstruction.bernoulli(output, x)
            return reconstruction.gaussian(output, x, self.sigma)

    def admitted(self, x: Tensor) -> Tensor:
        """`x` itself. Raises UserError for brightness outside [−1, 1], of which there are no bits."""
        return require_brightness(x) if self.bits else x

    def unit(self, x: Tensor) -> Tensor:
        """Data in [−1, 1] on the likelihood's own scale: brightness in [0, 1] for bits."""
        return 0.5 * (x + 1.0) if self.bits else x

    def mean(self, output: Tensor) -> Tensor:
        """The mean of p(x|z) on the scale of the data spec."""
        return 2.0 * output.sigmoid() - 1.0 if self.bits else output

    def observed(self, x: Tensor, uniform: Callable[[], Tensor]) -> Tensor:
        """What the likelihood is of: x itself, or bits that are one with the pixel's brightness as probability."""
        return binarised(x, uniform()) if self.bits else x

    def draw(self, output: Tensor, uniform: Callable[[], Tensor], normal: Callable[[], Tensor]) -> Tensor:
        """x ~ p(x|z), on the likelihood's own scale; only the noise that is needed is drawn."""
        if self.bits:
            return (uniform() < output.sigmoid()).to(output.dtype)
        return output + self.sigma * normal()
