"""Options that recipes of autoencoders share, and what they leave open."""

from typing import Any, Literal, TypeVar

from pydantic import Field

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Cost
from simulacra.models.base import Model
from simulacra.models.coders import CoderConfig
from simulacra.recipes import Plan, budget
from simulacra.recipes.single import SingleOptions, single


class CoderOptions(CoderConfig):
    """Networks and likelihood; what is left open follows from the data."""

    network: Literal["mlp", "conv"] | None = Field(
        default=None,
        description="encoder and decoder: perceptrons or convolutions (default: conv for colour or above 32 x 32)",
    )
    likelihood: Literal["bernoulli", "gaussian"] | None = Field(
        default=None, description="p(x|z): of bits, or of real values (default: bernoulli for one channel)"
    )
    width: int | None = Field(default=None, ge=1, description="units of a hidden layer (mlp: 500), channels (conv: 32)")
    latent: int | None = Field(default=None, ge=1, description="dimensions of the latent z (default: 40, conv: 64)")
    depth: int | None = Field(default=None, ge=1, le=100, description="hidden layers (mlp: 2)")
    sigma: float | None = Field(default=None, gt=0, description="standard deviation of the gaussian likelihood (0.1)")


Options = TypeVar("Options", bound=CoderOptions)


def settle(spec: Spec, options: Options) -> Options:
    """Settle what was left open by the data's shape. Raises UserError for options that would be ignored."""
    image = spec.kind == "image"
    large = image and (spec.shape[0] > 1 or max(spec.shape[1:]) > 32)
    network = options.network or ("conv" if large else "mlp")
    if options.depth and network == "conv":
        raise UserError("--depth is of the mlp, the network here is conv: leave it out, or add --network mlp")
    if network == "conv" and not image:
        raise UserError("--network conv is for images, the data is vectors: use mlp")
    defaults = {"conv": {"width": 32, "latent": 64}, "mlp": {"width": 500, "latent": 40, "depth": 2}}[network]
    open_ones = {name: value for name, value in defaults.items() if getattr(options, name) is None}
    return options.model_copy(update={"network": network, **likelihood_of(spec, options), **open_ones})


def likelihood_of(spec: Spec, options: Any) -> dict[str, Any]:
    """`likelihood` and `sigma` as they suit the data. Raises UserError where the likelihood that is wished does not, or
    has no `sigma`."""
    image, wished, sigma = spec.kind == "image", options.likelihood, options.sigma
    likelihood = wished or ("bernoulli" if image and spec.shape[0] == 1 else "gaussian")
    if sigma and likelihood == "bernoulli":
        raise UserError("--sigma is of the gaussian likelihood, it is bernoulli here: add --likelihood gaussian")
    if likelihood == "bernoulli" and not image:
        raise UserError("--likelihood bernoulli is of the brightness of images, the data is vectors: use gaussian")
    return {"likelihood": likelihood, "sigma": sigma or (0.1 if likelihood == "gaussian" else None)}


def coding(model: Model, cost: Cost, size: int, options: SingleOptions) -> Plan:
    """The plan of an autoencoder of any kind: 100 passes over `size` rows, 2 000 to 40 000 steps."""
    return single("autoencoder", model, cost, budget(100, size, options.batch, within=(2000, 40_000)), options)
