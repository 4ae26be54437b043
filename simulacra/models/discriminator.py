"""The discriminators of plain generative adversarial networks: perceptrons, DCGAN's convolutions or residual blocks."""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from simulacra.config import Config, Shares
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.networks.activations import ACTIVATIONS, Activation
from simulacra.networks.dcgan import Downsampler, initialise
from simulacra.networks.minibatch import MinibatchDeviation, MinibatchDiscrimination
from simulacra.networks.mlp import MLP
from simulacra.networks.residual import ResidualDiscriminator
from simulacra.networks.spectral import spectrally_normalised


class DiscriminatorConfig(Config):
    """What a discriminator is made of."""

    network: Literal["mlp", "dcgan", "residual"] = Field(
        default="mlp", description="perceptrons, strided convolutions or residual blocks"
    )
    width: int = Field(
        default=256,
        ge=1,
        description="units of a hidden layer (mlp), channels next to the image (dcgan) or of all blocks",
    )
    depth: int = Field(default=2, ge=1, le=100, description="hidden layers of the mlp")
    norm: Literal["batch", "none"] = Field(default="none", description="normalisation (dcgan)")
    activation: Activation = Field(default="leaky", description="nonlinearity (mlp and dcgan)")
    dense: int = Field(
        default=0, ge=0, description="units of a layer between convolutions and score (dcgan); 0 for none"
    )
    maxout: int = Field(
        default=0, ge=0, le=100, description="linear pieces of a maxout unit (mlp); 0 for the activation"
    )
    dropout: Shares = Field(
        default=(),
        description="shares of their inputs that the mlp's layers lose while it learns; lost pixels go black",
    )
    minibatch: Literal["none", "discrimination", "deviation"] = Field(
        default="none", description="a layer before the last in which rows see each other (Salimans 2016, Karras 2018)"
    )
    spectral: bool = Field(default=False, description="every layer spectrally normalised (Miyato et al. 2018)")
    power_iterations: int = Field(
        default=1, ge=1, description="steps of power iteration per pass of spectral normalisation"
    )


def discriminator(config: DiscriminatorConfig, spec: Spec) -> nn.Module:
    """The network of `config` that scores rows of `spec`: `[N, 1]`. Raises UserError for an option that it would
    ignore."""
    _check(config)
    network = _network(config, spec)
    if config.minibatch != "none":
        see_each_other(network, MINIBATCH[config.minibatch])
    return spectrally_normalised(network, config.power_iterations) if config.spectral else network


MINIBATCH: dict[str, Callable[[int], nn.Module]] = {
    "discrimination": lambda inputs: MinibatchDiscrimination(inputs, kernels=100, dimensions=5),
    "deviation": lambda inputs: MinibatchDeviation(),
}


def see_each_other(network: nn.Module, layer: Callable[[int], nn.Module]) -> None:
    """Put `layer(inputs)`, which adds features to rows `[N, inputs]`, before the last linear layer of `network`, whose
    weights on them begin at 0: such features are sums over rows, and scores would begin saturated."""
    name, last = [(name, one) for name, one in network.named_modules() if isinstance(one, nn.Linear)][-1]
    between = layer(last.in_features)
    with torch.no_grad():
        width = between(torch.zeros(2, last.in_features)).shape[1]
    wider = type(last)(width, last.out_features)
    with torch.no_grad():
        wider.weight[:, : last.in_features] = last.weight
        wider.weight[:, last.in_features :].zero_()
        wider.bias.copy_(last.bias)
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, nn.Sequential(between, wider))


def _check(config: DiscriminatorConfig) -> None:
    if config.maxout and config.network != "mlp":
        raise UserError(f"maxout units are the mlp's, the network is {config.network}: leave out maxout")
    if config.dropout and config.network != "mlp":
        raise UserError(f"dropout is of the mlp's layers, the network is {config.network}: leave it out")
    if len(config.dropout) > config.depth + 1:
        raise UserError(f"dropout has {len(config.dropout)} shares, the mlp {config.depth + 1} layers: leave some out")
    if config.dense and config.network != "dcgan":
        raise UserError(f"dense is of dcgan's layers, the network is {config.network}: leave it out")
    if config.norm == "batch" and config.network != "dcgan":
        raise UserError(f"batch norm is of dcgan's discriminator, the network is {config.network}: choose none")
    if config.activation == "tanh" and config.network == "residual":
        raise UserError("residual blocks have relu: leave out activation")


def _network(config: DiscriminatorConfig, spec: Spec) -> nn.Module:
    activation = ACTIVATIONS[config.activation]
    if config.network == "mlp":
        return MLP(
            spec.shape,
            (1,),
            config.width,
            config.depth,
            activation,
            maxout=config.maxout,
            dropout=config.dropout,
            pixels=spec.kind == "image",
            exact=spec.kind == "vector",
        )
    if config.network == "residual":
        return ResidualDiscriminator(spec.image_shape, 1, config.width)
    network = Downsampler(spec.image_shape, 1, config.width, config.norm == "batch", activation, config.dense)
    initialise(network)
    return network
