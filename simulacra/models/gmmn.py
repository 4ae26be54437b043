"""Generative moment matching networks (Li, Swersky & Zemel 2015, whose sections are cited; Dziugaite, Roy & Ghahramani
2015): a generator that descends the maximum mean discrepancy to the data, or to the codes of an autoencoder.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from simulacra import randomness
from simulacra.buffers import evaluating
from simulacra.config import Config, Shares, Sizes
from simulacra.costs.matching import LEAST, mean_squared_distance, mmd2, root_mmd
from simulacra.costs.reconstruction import bernoulli
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.base import Model, decoding, in_batches
from simulacra.models.bits import require_brightness
from simulacra.networks.mlp import Exact, dropped
from simulacra.precision import widen


class GMMNConfig(Config):
    """What a moment matching network is made of."""

    latent: int = Field(default=10, ge=1, description="dimensions of z, uniform on [-1, 1]")
    hidden: Sizes = Field(default=(64, 256, 256, 1024), min_length=1, description="units of the generator's layers")


class GMMN(Model):
    """A generator z ↦ x (§4.1). Inside, images are rows of numbers in [0, 1]; outside, they are in [−1, 1]."""

    name, Config = "gmmn", GMMNConfig
    config: GMMNConfig

    def __init__(self, config: GMMNConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        self.generator = self._generator(spec)

    def _generator(self, spec: Spec) -> nn.Module:
        """Ends in a sigmoid for images, in nothing for vectors, whose first and last layers are exact."""
        image = spec.kind == "image"
        sizes = [self.config.latent, *self.config.hidden, spec.numel]
        return stack(sizes, nn.ReLU, final=nn.Sigmoid if image else nn.Identity, exact=not image)

    def inner(self, x: Tensor) -> Tensor:
        """Data `[N, ...]` as rows `[N, D]` on the inner scale."""
        return 0.5 * (x.flatten(1) + 1.0) if self.spec.kind == "image" else x.flatten(1)

    def outer(self, rows: Tensor) -> Tensor:
        """Rows on the inner scale as data."""
        rows = widen(rows)
        return (2.0 * rows - 1.0 if self.spec.kind == "image" else rows).view(-1, *self.spec.shape)

    def generate(self, at: At) -> Tensor:
        """What the generator makes of one fresh z per row of the batch."""
        return self.generator(2.0 * at.uniform(self.config.latent) - 1.0)

    def wanted(self, batch: Rows) -> Tensor:
        """What the generator is to match: the data."""
        return self.inner(batch.x)

    # The verbs

    def prior(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """z `[n, J]` of samples start … start+n−1, uniform on [−1, 1]."""
        return 2.0 * randomness.sample_uniform(n, self.config.latent, seed=seed, start=start) - 1.0

    def decode(self, z: Tensor) -> Tensor:
        """Data of latents `[N, J]`, images in [−1, 1]; differentiable in them."""
        with decoding(self, z):
            return in_batches(lambda part: self.outer(self._made(part)), z.to(self.device))

    def _made(self, z: Tensor) -> Tensor:
        return self.generator(z)

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Samples start … start+n−1: images `[n, C, H, W]` in [−1, 1] or vectors."""
        return self.decode(self.prior(n, seed=seed, start=start))


UNITS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}


class CodeGMMNConfig(GMMNConfig):
    """What a moment matching network and its autoencoder are made of."""

    code: int = Field(default=32, ge=1, description="units of the autoencoder's code, each in (0, 1)")
    encoder: Sizes = Field(default=(1024,), description="units of the encoder's hidden layers; the decoder mirrors it")
    dropout: Shares = Field(
        default=(0.2, 0.5), description="share of the inputs that each layer of the encoder loses while it learns"
    )
    activation: Literal["sigmoid", "relu"] = Field(default="sigmoid", description="the autoencoder's hidden layers")


class CodeGMMN(GMMN):
    """GMMN+AE (§4.2): an autoencoder of the data, and a generator z ↦ code.

    Units of the autoencoder are sigmoid throughout, as the original's, which was pretrained layer by layer; here both
    its layers learn together. In pilot runs its codes lay further apart than those of rectified hidden layers, and the
    generator came nearer to them."""

    name, Config = "gmmn-code", CodeGMMNConfig
    config: CodeGMMNConfig

    def __init__(self, config: CodeGMMNConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        sizes, hidden = [spec.numel, *config.encoder, config.code], UNITS[config.activation]
        encoder = stack(sizes, hidden, final=nn.Sigmoid, dropout=config.dropout)
        self.autoencoder = nn.ModuleDict({"encoder": encoder, "decoder": stack(sizes[::-1], hidden)})

    def _generator(self, spec: Spec) -> nn.Module:
        """Ends in a sigmoid, as codes do."""
        return stack([self.config.latent, *self.config.hidden, self.config.code], nn.ReLU, final=nn.Sigmoid)

    def reconstruction(self, batch: Rows, at: At) -> Terms:
        """What the autoencoder descends, `[N]`: the cross-entropy of pixels in nats, or the squared error of vectors,
        the encoder's inputs dropped at random (§4.2)."""
        x = self.inner(batch.x)
        output = widen(self.autoencoder["decoder"](self.autoencoder["encoder"](x)))
        if self.spec.kind == "image":
            return {"reconstruction": bernoulli(output, x)}
        return {"reconstruction": (output - x).square().sum(1)}

    def wanted(self, batch: Rows) -> Tensor:
        """The codes of the data, nothing dropped."""
        return self.code(self.inner(batch.x))

    def code(self, rows: Tensor) -> Tensor:
        """Codes `[N, J]` of rows on the inner scale; no gradient is recorded."""
        with evaluating(self.autoencoder):
            return self.autoencoder["encoder"](rows)

    def _made(self, z: Tensor) -> Tensor:
        return self._decoded(self.generator(z))

    def _decoded(self, code: Tensor) -> Tensor:
        output = self.autoencoder["decoder"](code)
        return output.sigmoid() if self.spec.kind == "image" else output

    def reconstruct(self, x: Tensor) -> Tensor:
        """Data `[N, ...]` through the autoencoder. Raises UserError for pixels outside [−1, 1]."""
        x = self.taken(require_brightness(x) if self.spec.kind == "image" else x)
        with evaluating(self):
            return in_batches(lambda rows: self.outer(self._decoded(self.code(self.inner(rows)))), x)


Discrepancy = Literal["root", "squared", "unbiased"]


SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4)
"""Bandwidths in units of the mean squared distance between rows, chosen for codes in pilot runs. (The paper's, for
MNIST's images, whose mean squared distance is 105, are 0.02 … 0.8 in these units.)"""


class MomentMatching:
    """The generator's cost: √MMD² (§4.3) of as many samples as there are rows, MMD² itself (eq. 3), or its unbiased
    estimate (Dziugaite et al. 2015), under a mixture of Gaussian kernels of these bandwidths; None: those of `SHARES`,
    by the distances between the rows at hand."""

    def __init__(self, model: GMMN, bandwidths: Sequence[float] | None, objective: Discrepancy = "root") -> None:
        self.model, self.bandwidths, self.objective = model, bandwidths, objective

    def cost(self, batch: Rows, at: At) -> Terms:
        """One scalar. It looks at all rows at hand together."""
        made, wanted, bandwidths = self.model.generate(at), self.model.wanted(batch), self.bandwidths
        if bandwidths is None:
            unit = mean_squared_distance(wanted).clamp_min(LEAST).sqrt()
            made, wanted, bandwidths = widen(made) / unit, widen(wanted) / unit, SHARES
        if self.objective == "root":
            return {"mmd": root_mmd(made, wanted, bandwidths)}
        return {"mmd2": mmd2(made, wanted, bandwidths, unbiased=self.objective == "unbiased")}


def stack(
    sizes: Sequence[int],
    activation: Callable[[], nn.Module],
    *,
    final: Callable[[], nn.Module] = nn.Identity,
    dropout: Sequence[float] = (),
    exact: bool = False,
) -> nn.Sequential:
    """Linear layers between these numbers of units, `activation` between them and `final` behind; `dropout` before each
    of the first layers; `exact`: the first and the last layer in full precision."""
    layers: list[nn.Module] = []
    last = len(sizes) - 2
    for number, (a, b) in enumerate(zip(sizes, sizes[1:])):
        layers += dropped(dropout, number)
        layers += [(Exact if exact and number in (0, last) else nn.Linear)(a, b)]
        layers += [final() if number == last else activation()]
    return nn.Sequential(*layers)
