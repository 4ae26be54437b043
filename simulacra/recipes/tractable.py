"""Tractable densities: models that say log p(x) exactly."""

from typing import Literal

from pydantic import Field

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.models.autoregressive import Autoregressive
from simulacra.models.fvbn import FVBN, FVBNConfig
from simulacra.models.made import MADE, MADEConfig
from simulacra.models.nade import NADE, NADEConfig
from simulacra.models.pixelcnn import PixelCNN, PixelCNNConfig
from simulacra.models.realnvp import RealNVP, RealNVPConfig, most_scales
from simulacra.optimizers import Adam
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.single import SingleOptions, single

FAMILY, ROWS = "explicit densities", ["A3"]


class FVBNOptions(FVBNConfig, SingleOptions):
    """Options of the recipe `fvbn`."""


class NADEOptions(NADEConfig, SingleOptions):
    """Options of the recipe `nade`."""

    activation: Literal["sigmoid", "relu"] = Field(
        default="relu", description="of the hidden units; the paper's is sigmoid, which begins more slowly"
    )


class MADEOptions(MADEConfig, SingleOptions):
    """Options of the recipe `made`; what is left open follows from the data."""

    width: int | None = Field(
        default=None, ge=1, description="units of a hidden layer (default: 8 per pixel, at most 2000)"
    )


class PixelCNNOptions(PixelCNNConfig, SingleOptions):
    """Options of the recipe `pixelcnn`."""

    optimizer: Adam = Adam(lr=3e-3)
    batch: int = Field(default=32, ge=1, description="images per step")


class RealNVPOptions(RealNVPConfig, SingleOptions):
    """Options of the recipe `realnvp`; what is left open follows from the data."""

    couplings: int | None = Field(
        default=None, ge=2, description="couplings (8; of images: of each kind, on each scale: 3)"
    )
    width: int | None = Field(
        default=None, ge=1, description="units (128) or, of images, channels (32) of a hidden layer"
    )
    depth: int | None = Field(
        default=None, ge=1, le=100, description="hidden layers or residual blocks of a coupling (2)"
    )
    scales: int | None = Field(
        default=None, ge=1, description="scales of images (default: as many as they allow, at most 3)"
    )
    alpha: float | None = Field(default=None, gt=0, lt=0.5, description="margin of brightness before the logit (0.05)")
    clip: float | None = Field(default=100.0, gt=0, description="bound on the gradient's norm")


def climbed(model: Autoregressive | RealNVP, steps: int, options: SingleOptions) -> Plan:
    """The model descends −log p(x)."""
    return single("density", model, model.cost, steps, options)


@recipe(
    "fvbn",
    family=FAMILY,
    rows=ROWS,
    data="mnist",
    paper="Neal 1992, Connectionist learning of belief networks, Artificial Intelligence 56; Frey 1998, Graphical "
    "Models for Machine Learning and Digital Communication",
    options=FVBNOptions,
)
def fvbn(spec: Spec, size: int, options: FVBNOptions) -> Plan:
    """A logistic regression for every pixel on those before it, of bits drawn anew each time an image is seen.

    command   simulacra train fvbn --data mnist
    budget    50 passes over the data, 2 000 to 40 000 steps
    score     MNIST, 23 437 steps: 97.4 ± 0.2 nats of the test images, after 5 minutes on one CPU core
              (docs/results.md)
    """
    steps = budget(50, size, options.batch, within=(2000, 40_000))
    return climbed(FVBN(options.part(FVBNConfig), spec), steps, options)


@recipe(
    "nade",
    family=FAMILY,
    rows=ROWS,
    data="mnist",
    paper="Larochelle & Murray 2011, The Neural Autoregressive Distribution Estimator, AISTATS",
    options=NADEOptions,
)
def nade(spec: Spec, size: int, options: NADEOptions) -> Plan:
    """A hidden layer for every pixel, all of them with the same weights, of bits drawn anew each time.

    command   simulacra train nade --data mnist
    budget    50 passes over the data, 2 000 to 40 000 steps
    score     MNIST, 23 437 steps: 84.4 ± 0.2 nats of the test images, after 2 hours on one CPU core, shared
              (docs/results.md)
    """
    steps = budget(50, size, options.batch, within=(2000, 40_000))
    return climbed(NADE(options.part(NADEConfig), spec), steps, options)


@recipe(
    "made",
    family=FAMILY,
    rows=ROWS,
    data="mnist",
    paper="Germain et al. 2015, MADE: Masked Autoencoder for Distribution Estimation, arXiv:1502.03509",
    options=MADEOptions,
)
def made(spec: Spec, size: int, options: MADEOptions) -> Plan:
    """A perceptron whose masks make it autoregressive, in one order of the pixels or in several by turns.

    command   simulacra train made --data mnist
    budget    100 passes over the data, 2 000 to 60 000 steps
    score     MNIST, a layer of 8 000 units, 46 875 steps: 83.5 ± 0.2 nats of the test images, after 207 minutes on one
              CPU core beside others (docs/results.md)
    """
    options = options.model_copy(update={"width": options.width or min(8 * spec.numel, 2000)})
    steps = budget(100, size, options.batch, within=(2000, 60_000))
    return climbed(MADE(options.part(MADEConfig), spec), steps, options)


@recipe(
    "pixelcnn",
    family=FAMILY,
    rows=ROWS,
    data="mnist",
    paper="van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders, arXiv:1606.05328",
    options=PixelCNNOptions,
)
def pixelcnn(spec: Spec, size: int, options: PixelCNNOptions) -> Plan:
    """Gated convolutions over the pixels above and to the left, of grey images whose bits are drawn anew each time.

    command   simulacra train pixelcnn --data mnist
    budget    20 passes over the data, 2 000 to 40 000 steps
    score     none measured yet
    """
    steps = budget(20, size, options.batch, within=(2000, 40_000))
    return climbed(PixelCNN(options.part(PixelCNNConfig), spec), steps, options)


@recipe(
    "realnvp",
    family=FAMILY,
    rows=ROWS,
    data="mnist",
    paper="Dinh, Sohl-Dickstein & Bengio 2017, Density estimation using Real NVP, arXiv:1605.08803",
    options=RealNVPOptions,
)
def realnvp(spec: Spec, size: int, options: RealNVPOptions) -> Plan:
    """Affine couplings between vectors or images of 256 levels and a normal code.

    command   simulacra train realnvp --data mnist
    budget    20 passes over the data, 2 000 to 20 000 steps
    score     none measured yet
    """
    options = resolve(spec, options)
    steps = budget(20, size, options.batch, within=(2000, 20_000))
    return climbed(RealNVP(options.part(RealNVPConfig), spec), steps, options)


def resolve(spec: Spec, options: RealNVPOptions) -> RealNVPOptions:
    """Settle what was left open by the data's shape. Raises UserError for options that would be ignored."""
    image = spec.kind == "image"
    for name in ("scales", "alpha"):
        if getattr(options, name) is not None and not image:
            raise UserError(f"--{name} is of images, the data is vectors: leave it out")
    defaults = {"couplings": 3, "width": 32, "depth": 2} if image else {"couplings": 8, "width": 128, "depth": 2}
    defaults |= {"scales": min(most_scales(spec), 3), "alpha": 0.05} if image else {}
    open_ones = {name: value for name, value in defaults.items() if getattr(options, name) is None}
    return options.model_copy(update=open_ones)
