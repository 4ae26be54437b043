"""The discriminators of plain generative adversarial networks: perceptrons, DCGAN's convolutions or residual blocks."""

from typing import Literal

from pydantic import Field
from torch import nn

from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.networks.activations import ACTIVATIONS, Activation
from simulacra.networks.dcgan import Downsampler, initialise
from simulacra.networks.mlp import MLP
from simulacra.networks.residual import ResidualDiscriminator
from simulacra.networks.spectral import spectrally_normalised


class DiscriminatorConfig(Config):
    """What a discriminator is made of."""

    network: Literal["mlp", "dcgan", "residual"] = Field(
        "mlp", description="perceptrons, strided convolutions or residual blocks"
    )
    width: int = Field(
        256, ge=1, description="units of a hidden layer (mlp), channels next to the image (dcgan) or of all blocks"
    )
    depth: int = Field(2, ge=1, le=100, description="hidden layers of the mlp")
    norm: Literal["batch", "none"] = Field("none", description="normalisation (dcgan)")
    activation: Activation = Field("leaky", description="nonlinearity (mlp and dcgan)")
    maxout: int = Field(0, ge=0, le=100, description="linear pieces of a maxout unit (mlp); 0 for the activation")
    spectral: bool = Field(False, description="every layer spectrally normalised (Miyato et al. 2018)")


def discriminator(config: DiscriminatorConfig, spec: Spec) -> nn.Module:
    """The network of `config` that scores rows of `spec`: `[N, 1]`. Raises UserError for an option that it would
    ignore."""
    _check(config)
    network = _network(config, spec)
    return spectrally_normalised(network) if config.spectral else network


def _check(config: DiscriminatorConfig) -> None:
    if config.maxout and config.network != "mlp":
        raise UserError(f"maxout units are the mlp's, the network is {config.network}: leave out maxout")
    if config.norm == "batch" and config.network != "dcgan":
        raise UserError(f"batch norm is of dcgan's discriminator, the network is {config.network}: leave out norm")
    if config.activation == "tanh" and config.network == "residual":
        raise UserError("residual blocks have relu: leave out activation")


def _network(config: DiscriminatorConfig, spec: Spec) -> nn.Module:
    activation = ACTIVATIONS[config.activation]
    if config.network == "mlp":
        points = spec.kind == "vector"
        return MLP(spec.shape, (1,), config.width, config.depth, activation, maxout=config.maxout, exact=points)
    if config.network == "residual":
        return ResidualDiscriminator(spec.image_shape, 1, config.width)
    network = Downsampler(spec.image_shape, 1, config.width, config.norm == "batch", activation)
    initialise(network)
    return network
