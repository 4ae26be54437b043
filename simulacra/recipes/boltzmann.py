"""What the recipes of Boltzmann machines and deep belief nets share."""

from pydantic import Field

from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.models.energy import Gibbs
from simulacra.optimizers import SGD, Schedule


class ContrastOptions(Config):
    """How a machine descends F(data) − F(chain)."""

    k: int = Field(default=1, ge=1, description="steps of Gibbs sampling per update: CD-k, PCD-k")
    growing: bool = Field(
        default=False,
        description="whether those steps grow evenly from 1 to `k` over each stage (or all of `--minutes`), or are `k` "
        "from the start",
    )
    decay: float = Field(default=1e-4, ge=0, description="weight decay: times half the squared norm of the weights")
    batch: int = Field(default=100, ge=1, description="images per step, and persistent chains")
    momentum: float = Field(default=0.5, ge=0, lt=1, description="momentum of the gradient")
    schedule: Schedule = Field(default="linear", description="how the learning rate falls over each stage")

    def gibbs(self, persistent: bool) -> Gibbs:
        """The chains. Raises UserError where one step is to grow."""
        if self.growing and self.k == 1:
            raise UserError("--growing true lets steps of Gibbs sampling grow to --k, which is 1: give a larger one")
        return Gibbs(self.k, persistent, self.growing)


class DeepOptions(ContrastOptions):
    """The same of several layers."""

    lr: float = Field(default=0.05, gt=0, description="learning rate")

    @property
    def optimizer(self) -> SGD:
        """What every layer descends with."""
        return SGD(lr=self.lr, momentum=self.momentum)


def require_brightness_of(spec: Spec, name: str) -> None:
    """Raises UserError where the data of the recipe `name` is not images."""
    if spec.kind != "image":
        raise UserError(
            f"{name} is of the brightness of images, the data is vectors: use rbm, which has real units too"
        )
