"""*rpgan*: the recommended game, on networks that follow from the data."""

from typing import Literal

from pydantic import Field

from simulacra.data.spec import Spec
from simulacra.models.discriminator import DiscriminatorConfig
from simulacra.models.gan import GANConfig
from simulacra.optimizers import Adam, Decay, Schedule
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.two_players import ObjectiveName, TwoPlayerOptions, two_players


class OpenAdam(Adam):
    """Adam whose moments follow from the data."""

    lr: float = Field(default=1e-3, gt=0, description="learning rate")
    betas: tuple[Decay, Decay] | None = Field(  # type: ignore[assignment]
        default=None, description="decay of the two moments (images: 0,0.99; points: 0.5,0.99)"
    )


class RpGANOptions(TwoPlayerOptions):
    """Options of the recipe `rpgan`; what is left open follows from the data."""

    objective: ObjectiveName = Field(default="relativistic", description="what both descend: see `simulacra show gan`")
    batch: int | None = Field(default=None, ge=1, description="rows per step (images: 64, points: 100)")
    generator: OpenAdam = OpenAdam()
    discriminator: OpenAdam = OpenAdam()
    schedule: Schedule = Field(default="linear", description="how the learning rates fall over the horizon")
    r1: float = Field(default=1.0, ge=0, description="weight of the R1 penalty on real rows; 0 for none")
    r2: float = Field(default=1.0, ge=0, description="weight of the R2 penalty on generated rows; 0 for none")
    r1_every: int = Field(
        default=8, ge=1, description="steps of D from one R1 and R2 penalty to the next, whose weight it is times"
    )
    fade: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="share of r1 and r2 left at the end, approached geometrically (images: 0.3, points: 1e-6)",
    )
    generator_norm: Literal["batch", "virtual", "none"] | None = Field(
        default=None, description="normalisation in the generator (images: batch, points: none)"
    )
    latent: int | None = Field(
        default=None, ge=1, description="dimensions of z (images: 100; vectors: as many as theirs)"
    )
    width: int | None = Field(
        default=None, ge=1, description="channels next to the image (64), units of the generator (400)"
    )


@recipe(
    "rpgan",
    family="adversarial",
    rows=["B1", "B4", "C1"],
    data="mnist",
    paper="Huang, Gokaslan, Kuleshov & Tompkin 2024, The GAN is dead; long live the GAN!, arXiv:2501.05441",
    options=RpGANOptions,
)
def rpgan(spec: Spec, size: int, options: RpGANOptions) -> Plan:
    """Relativistic pairs with penalties on the gradients at real and at generated rows: the paper's objective and its
    Adam without momentum, on DCGAN's networks without batch norm in the discriminator, or for points on PacGAN's
    without batch norm in either. That the penalties are paid every eighth step, and fade as the learning rates fall, is
    ours. For points they fade to a millionth, through all scales that the data may have, and Adam has some momentum.

    command   simulacra train rpgan --data mnist; for a folder of yours --data folder:PATH --size 64
    budget    images: 14 passes over the data, 4 000 to 20 000 steps; points: 25 passes, 10 000 to 25 000 steps
    score     FID 0.21 on MNIST (features of `mnist`) at width 16 after 80 000 steps: docs/results.md
    """
    points, settled = spec.kind == "vector", settle(spec, options)
    generator, critic = (_perceptrons if points else _convolutions)(settled)
    passes, within = (25, (10_000, 25_000)) if points else (14, (4000, 20_000))
    return two_players(spec, settled, generator, critic, budget(passes, size, settled.batch or 1, within=within))


def settle(spec: Spec, options: RpGANOptions) -> RpGANOptions:
    """The options with nothing left open."""
    images = {"latent": 100, "width": 64, "batch": 64, "fade": 0.3}
    points = {"latent": spec.numel, "width": 400, "batch": 100, "fade": 1e-6}
    chosen, betas = (points, (0.5, 0.99)) if spec.kind == "vector" else (images, (0.0, 0.99))
    idle = () if options.r1 or options.r2 else ("fade",)
    open_ones = {k: value for k, value in chosen.items() if getattr(options, k) is None and k not in idle}
    adams = {name: getattr(options, name) for name in ("generator", "discriminator")}
    settled = {name: adam.model_copy(update={"betas": adam.betas or betas}) for name, adam in adams.items()}
    return options.model_copy(update=open_ones | settled)


def _perceptrons(options: RpGANOptions) -> tuple[GANConfig, DiscriminatorConfig]:
    """PacGAN's for points (Lin et al. 2018): 4 layers against 3 of half the units, maxout of 5. Theirs have batch norm
    in the generator, whose noise costs quality and modes (docs/results.md)."""
    norm = options.generator_norm or "none"
    generator = options.part(GANConfig, network="mlp", depth=4, norm=norm, activation="relu")
    width = max((options.width or 400) // 2, 1)
    return generator, options.part(DiscriminatorConfig, network="mlp", depth=3, width=width, maxout=5)


def _convolutions(options: RpGANOptions) -> tuple[GANConfig, DiscriminatorConfig]:
    generator = options.part(GANConfig, network="dcgan", norm=options.generator_norm)
    return generator, options.part(DiscriminatorConfig, network="dcgan")
