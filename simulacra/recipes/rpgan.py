"""*rpgan*: the recommended game, on networks that follow from the data."""

from pydantic import Field

from simulacra.data.spec import Spec
from simulacra.models.discriminator import DiscriminatorConfig
from simulacra.models.gan import GANConfig
from simulacra.optimizers import Adam, Schedule
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.two_players import ObjectiveName, TwoPlayerOptions, two_players


class RpGANOptions(TwoPlayerOptions):
    """Options of the recipe `rpgan`."""

    objective: ObjectiveName = Field("relativistic", description="what both descend: see `simulacra show gan`")
    generator: Adam = Adam(lr=1e-3, betas=(0.0, 0.99))
    discriminator: Adam = Adam(lr=1e-3, betas=(0.0, 0.99))
    schedule: Schedule = Field("linear", description="how the learning rates fall over the horizon")
    r1: float = Field(1.0, ge=0, description="weight of the R1 penalty on real rows; 0 for none")
    r2: float = Field(1.0, ge=0, description="weight of the R2 penalty on generated rows; 0 for none")
    r1_every: int = Field(
        8, ge=1, description="steps of D from one R1 and R2 penalty to the next, whose weight it is times"
    )
    fade: float = Field(0.3, gt=0, le=1, description="share of r1 and r2 left at the end, approached geometrically")
    latent: int | None = Field(None, ge=1, description="dimensions of z (images: 100; vectors: as many as theirs)")
    width: int | None = Field(None, ge=1, description="channels next to the image (64), units of the generator (400)")


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
    ours. For points --fade 1e-6 lets them fall through all scales that the data may have; docs/results.md has the whole
    command.

    command   simulacra train rpgan --data mnist; for a folder of yours --data folder:PATH --size 64
    budget    14 passes over the data, 4 000 to 20 000 steps
    score     FID 0.21 on MNIST (features of `mnist`) at width 16 after 80 000 steps: docs/results.md
    """
    points = spec.kind == "vector"
    latent, width = options.latent or (spec.numel if points else 100), options.width or (400 if points else 64)
    settled = options.model_copy(update={"latent": latent, "width": width})
    generator, critic = (_perceptrons if points else _convolutions)(settled)
    return two_players(spec, settled, generator, critic, budget(14, size, options.batch, within=(4000, 20_000)))


def _perceptrons(options: RpGANOptions) -> tuple[GANConfig, DiscriminatorConfig]:
    """PacGAN's for points (Lin et al. 2018): 4 layers against 3 of half the units, maxout of 5. Theirs have batch norm
    in the generator, whose noise costs quality and modes (docs/results.md)."""
    generator = options.part(GANConfig, network="mlp", depth=4, norm="none", activation="relu")
    width = max((options.width or 400) // 2, 1)
    return generator, options.part(DiscriminatorConfig, network="mlp", depth=3, width=width, maxout=5)


def _convolutions(options: RpGANOptions) -> tuple[GANConfig, DiscriminatorConfig]:
    return options.part(GANConfig, network="dcgan"), options.part(DiscriminatorConfig, network="dcgan")
