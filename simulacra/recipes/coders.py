"""Options that recipes of autoencoders share, and what they leave open."""

from typing import Literal, TypeVar

from pydantic import Field

from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.models.coders import CoderConfig
from simulacra.optimizers import Adam, Schedule


class TrainingOptions(Config):
    """How one player descends."""

    batch: int = Field(128, ge=1, description="images per step")
    optimizer: Adam = Adam(lr=1e-3)
    schedule: Schedule = Field("cosine", description="how the learning rate falls over the horizon")
    average: float | None = Field(0.999, ge=0, lt=1, description="decay of the averaged weights; null for none")
    clip: float | None = Field(None, gt=0, description="bound on the gradient's norm")


class CoderOptions(CoderConfig):
    """Networks and likelihood; what is left open follows from the data."""

    network: Literal["mlp", "conv"] | None = Field(
        None, description="encoder and decoder: perceptrons or convolutions (default: conv for colour or above 32 x 32)"
    )
    likelihood: Literal["bernoulli", "gaussian"] | None = Field(
        None, description="p(x|z): of bits, or of real values (default: bernoulli for one channel)"
    )
    width: int | None = Field(None, ge=1, description="units of a hidden layer (mlp: 500), channels (conv: 32)")
    latent: int | None = Field(None, ge=1, description="dimensions of the latent z (default: 40, conv: 64)")
    depth: int | None = Field(None, ge=1, le=100, description="hidden layers (mlp: 2)")
    sigma: float | None = Field(None, gt=0, description="standard deviation of the gaussian likelihood (0.1)")


Options = TypeVar("Options", bound=CoderOptions)


def settle(spec: Spec, options: Options) -> Options:
    """Settle what was left open by the data's shape. Raises UserError for options that would be ignored."""
    image = spec.kind == "image"
    large = image and (spec.shape[0] > 1 or max(spec.shape[1:]) > 32)
    network = options.network or ("conv" if large else "mlp")
    likelihood = likelihood_of(spec, options.likelihood, options.sigma)
    if options.depth and network == "conv":
        raise UserError("--depth is of the mlp, the network here is conv: leave it out, or add --network mlp")
    if network == "conv" and not image:
        raise UserError("--network conv is for images, the data is vectors: use mlp")
    defaults = {"conv": {"width": 32, "latent": 64}, "mlp": {"width": 500, "latent": 40, "depth": 2}}[network]
    defaults |= {"sigma": 0.1} if likelihood == "gaussian" else {}
    open_ones = {name: value for name, value in defaults.items() if getattr(options, name) is None}
    return options.model_copy(update={"network": network, "likelihood": likelihood, **open_ones})


def likelihood_of(
    spec: Spec, wished: Literal["bernoulli", "gaussian"] | None, sigma: float | None
) -> Literal["bernoulli", "gaussian"]:
    """The likelihood that suits the data. Raises UserError where the one that is wished does not, or has no `sigma`."""
    image = spec.kind == "image"
    likelihood = wished or ("bernoulli" if image and spec.shape[0] == 1 else "gaussian")
    if sigma and likelihood == "bernoulli":
        raise UserError("--sigma is of the gaussian likelihood, it is bernoulli here: add --likelihood gaussian")
    if likelihood == "bernoulli" and not image:
        raise UserError("--likelihood bernoulli is of the brightness of images, the data is vectors: use gaussian")
    return likelihood
