"""Discriminators that are autoencoders: energy-based GAN (Zhao, Mathieu & LeCun 2017, "EBGAN") and boundary-equilibrium
GAN (Berthelot, Schumm & Metz 2017, "BEGAN"). What remains is the generator, a `models.gan.GAN`.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import At, Rows, Terms
from simulacra.models.gan import GAN, GANConfig
from simulacra.networks.dcgan import Downsampler, Upsampler, initialise
from simulacra.networks.mlp import MLP
from simulacra.precision import widen


class Autoencoder(nn.Module):
    """Encoder and decoder of images or vectors, with a code of `code` numbers between them."""

    def __init__(self, config: GANConfig, spec: Spec, code: int) -> None:
        super().__init__()
        final = nn.Tanh if spec.kind == "image" else nn.Identity
        if config.network == "mlp":
            self.encoder = MLP(spec.shape, (code,), config.width, config.depth, nn.ELU)
            self.decoder = MLP((code,), spec.shape, config.width, config.depth, nn.ELU, final)
        else:
            self.encoder = Downsampler(spec.image_shape, code, config.width, batch_norm=False)
            self.decoder = Upsampler(code, spec.image_shape, config.width, batch_norm=False, final=final)
            initialise(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstructions `[N, ...]` and codes `[N, code]` of x."""
        codes = self.encoder(x)
        return self.decoder(codes), codes


def error(x: Tensor, reconstruction: Tensor, kind: Literal["norm", "mean"]) -> Tensor:
    """How badly rows are reconstructed, `[N]`: the norm ‖x − x̂‖ (EBGAN, §2.3), or the mean of |x − x̂| over entries
    (BEGAN, §3.1, η = 1)."""
    difference = (widen(x) - widen(reconstruction)).flatten(1)
    return difference.norm(dim=1) if kind == "norm" else difference.abs().mean(1)


def pulling_away(codes: Tensor) -> Tensor:
    """Mean squared cosine between the codes `[N, J]` of different rows, a scalar (EBGAN, §2.4): 0 where all are
    orthogonal, 1 where all are parallel. It is of the batch that is seen together; raises UserError for one row."""
    unit = normalize(widen(codes))
    if (n := len(unit)) < 2:
        raise UserError("the pulling-away term compares rows and sees one: a larger --batch, fewer parts, or --pull 0")
    squares = (unit @ unit.T).square()
    return (squares.sum() - squares.trace()) / (n * (n - 1))


class EnergyAdversary:
    """EBGAN: D(x) = ‖x − Dec(Enc(x))‖ is an energy, low on data and at least `margin` on samples."""

    def __init__(self, model: GAN, autoencoder: Autoencoder, margin: float, pull: float) -> None:
        self.model, self.autoencoder, self.margin, self.pull = model, autoencoder, margin, pull

    def discriminate(self, batch: Rows, at: At) -> Terms:
        """D(x) + [m − D(G(z))]⁺ (eq. 1)."""
        real, fake = self._energy(batch.x)[0], self._energy(self.model.generate(at))[0]
        at.watch("D(G(z))", fake)
        return {"real": real, "fake": (self.margin - fake).relu()}

    def generate(self, batch: Rows, at: At) -> Terms:
        """D(G(z)) (eq. 2), and the pulling-away term on the samples' codes (§2.4)."""
        energy, codes = self._energy(self.model.generate(at))
        return {"fool": energy} | ({"pull": self.pull * pulling_away(codes)} if self.pull else {})

    def _energy(self, x: Tensor) -> tuple[Tensor, Tensor]:
        reconstruction, codes = self.autoencoder(x)
        return error(x, reconstruction, "norm"), codes


class BoundaryAdversary:
    """BEGAN: L(x) = |x − D(x)|; k_t holds the balance γ = E L(G(z)) / E L(x) (§3.4).

    Game state: `k`, and `real`, the last mean of L(x).
    """

    def __init__(self, model: GAN, autoencoder: Autoencoder, gamma: float, rate: float) -> None:
        self.model, self.autoencoder, self.gamma, self.rate = model, autoencoder, gamma, rate

    def discriminate(self, batch: Rows, at: At) -> Terms:
        """L_D = L(x) − k_t L(G(z_D))."""
        real, fake = self._loss(batch.x), self._loss(self.model.generate(at))
        at.write("real", real.mean())
        return {"real": real, "fake": -at.state("k") * fake}

    def generate(self, batch: Rows, at: At) -> Terms:
        """L_G = L(G(z_G)); then k_{t+1} = k_t + λ(γ L(x) − L(G(z_G))), kept in [0, 1], and the measure of convergence
        M = L(x) + |γ L(x) − L(G(z_G))| (§3.4.1) is logged."""
        fake = self._loss(self.model.generate(at))
        k, real = at.state("k"), at.state("real")
        balance = self.gamma * real - fake.detach().mean()
        at.write("k", (k + self.rate * balance).clamp(0.0, 1.0))
        at.watch("k", k)
        at.watch("M_global", real + balance.abs())
        return {"fool": fake}

    def _loss(self, x: Tensor) -> Tensor:
        return error(x, self.autoencoder(x)[0], "mean")


def start() -> dict[str, Tensor]:
    """BEGAN's game state before the first step: k = 0 (§3.4)."""
    return {"k": torch.zeros(()), "real": torch.zeros(())}
