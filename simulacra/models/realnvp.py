"""Real NVP (Dinh, Sohl-Dickstein & Bengio 2017, "Density estimation using Real NVP", arXiv:1605.08803; equations are
its)."""

import math

from pydantic import Field
from torch import Tensor

from simulacra import randomness
from simulacra.buffers import evaluating
from simulacra.capabilities import LogProb
from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import At, Rows, Terms
from simulacra.models.base import Model, decoding, in_batches
from simulacra.models.bits import require_brightness
from simulacra.networks.couplings import Chain, CouplingNetwork, LogitOfLevels, Scales, alternating
from simulacra.precision import full_precision


class RealNVPConfig(Config):
    """What a Real NVP is made of."""

    couplings: int = Field(default=8, ge=2, description="couplings (of images: of each kind, on each scale)")
    width: int = Field(default=128, ge=1, description="units (of images: channels) of a hidden layer")
    depth: int = Field(
        default=2, ge=1, le=100, description="hidden layers (of images: residual blocks) behind each coupling"
    )
    scales: int = Field(default=1, ge=1, description="scales of images; each but the last halves both sides")
    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="margin of brightness before the logit")


class RealNVP(Model):
    """A bijection f of data onto codes z ~ N(0, I): log p(x) = log N(f(x); 0, I) + log |det ∂f/∂x| (eq. 3).

    Of images, x are brightnesses in [0, 256): the 256 levels with uniform noise on [0, 1) added, whose log-density is
    at most log P of the image, on average over the noise (Theis, van den Oord & Bethge 2016, §3.1). So −log p / (D log
    2) are the bits per dimension that papers report.
    """

    name, Config = "realnvp", RealNVPConfig
    config: RealNVPConfig

    def __init__(self, config: RealNVPConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        if spec.numel < 2:
            raise UserError("realnvp couples numbers with each other, the data has one to a row: it needs two or more")
        if spec.kind == "vector":
            self.flow = alternating(spec.numel, config.couplings, config.width, config.depth)
            return
        require_halves(spec, config.scales)
        scales = Scales(spec.image_shape, config.scales, config.couplings, self._network)
        self.flow = Chain([LogitOfLevels(config.alpha), scales])

    def _network(self, channels: int) -> CouplingNetwork:
        return CouplingNetwork(channels, self.config.width, self.config.depth)

    # The objective

    def cost(self, batch: Rows, at: At) -> Terms:
        """−log p(x) `[N]` in nats, of images with fresh noise on their levels."""
        noise = at.uniform(*batch.x.shape[1:]) if self._images else 0.0
        return {"nll": -self.density(self._continuous(batch.x, noise))}

    def density(self, x: Tensor) -> Tensor:
        """log p(x) `[N]` in nats, of vectors or of brightnesses in [0, 256)."""
        z, volume = self.flow(x)
        with full_precision(x.device):
            return volume - 0.5 * (z.square() + math.log(2.0 * math.pi)).sum(1)

    def _continuous(self, x: Tensor, noise: Tensor | float) -> Tensor:
        """What p is a density of: vectors as they are; levels of images `[N, C, H, W]` in [−1, 1] plus noise."""
        return 127.5 * (x + 1.0) + noise if self._images else x

    @property
    def _images(self) -> bool:
        return self.spec.kind == "image"

    # The verbs

    def log_prob(self, x: Tensor, *, seed: int = 0, start: int = 0) -> LogProb:
        """log p `[N]` in nats of data rows start … start+N−1: exact of vectors. Of images in [−1, 1] it is the exact
        density of their levels with one draw of noise, from (seed, row), which bounds log p of the image from below on
        average. Raises UserError for pixels outside the range."""
        noise = randomness.sample_uniform(*x.shape, seed=seed, start=start).to(self.device) if self._images else 0.0
        rows = self._continuous(self._checked(x), noise)
        with evaluating(self):
            return LogProb(in_batches(self.density, rows), "bound" if self._images else "exact")

    def encode(self, x: Tensor) -> Tensor:
        """Codes f(x) `[N, D]` of data `[N, ...]`; of images in [−1, 1] at the middle of their levels."""
        with evaluating(self):
            return in_batches(lambda rows: self.flow(rows)[0], self._continuous(self._checked(x), 0.5))

    def decode(self, z: Tensor) -> Tensor:
        """Data f⁻¹(z) `[N, ...]` of codes `[N, D]`, the inverse of `encode`; differentiable in them. Images are clamped
        to [−1, 1]."""
        with decoding(self, z):
            rows = in_batches(self.flow.inverse, z.to(self.device))
            return ((rows - 0.5) / 127.5 - 1.0).clamp(-1.0, 1.0) if self._images else rows

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Images `[n, C, H, W]` in [−1, 1] or vectors `[n, D]`: codes of the prior, decoded."""
        return self.decode(self.prior(n, seed=seed, start=start))

    def prior(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """z `[n, D]` of samples start … start+n−1, from N(0, I)."""
        return randomness.sample_normal(n, self.spec.numel, seed=seed, start=start)

    def truncated(self, n: int, threshold: float, *, seed: int = 0, start: int = 0) -> Tensor:
        """Like `sample`, of z whose every number is within ±`threshold`. Raises UserError where that is not above
        zero."""
        return self.decode(randomness.sample_normal(n, self.spec.numel, seed=seed, start=start, truncation=threshold))

    def _checked(self, x: Tensor) -> Tensor:
        return self.taken(require_brightness(x) if self._images else x)


def require_halves(spec: Spec, scales: int) -> None:
    """Raises UserError where the sides of images cannot be halved as often as `scales` ask."""
    if scales > most_scales(spec):
        raise UserError(
            f"--scales {scales} halves both sides {scales - 1} times, which {spec.height} x {spec.width} pixels do not "
            f"allow: at most {most_scales(spec)}"
        )


def most_scales(spec: Spec) -> int:
    """One more than how often both sides of images can be halved."""
    sides, found = math.gcd(spec.height, spec.width), 1
    while sides % 2 == 0:
        sides, found = sides // 2, found + 1
    return found
