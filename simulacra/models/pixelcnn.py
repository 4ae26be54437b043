"""Gated PixelCNN (van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders", arXiv:1606.05328),
on bits."""

from pydantic import Field
from torch import Tensor

from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.models.autoregressive import Autoregressive, Conditionals
from simulacra.networks.gated import GatedPixels


class PixelCNNConfig(Config):
    """What a gated PixelCNN is made of."""

    width: int = Field(default=32, ge=1, description="channels of each stack")
    depth: int = Field(default=8, ge=0, le=100, description="gated layers after the first")
    first: int = Field(default=3, ge=0, description="rows and pixels beyond its own that the first layer sees (3: 7x7)")
    reach: int = Field(default=1, ge=1, description="the same of the other layers (1: 3x3)")
    head: int = Field(default=64, ge=1, description="channels of the last hidden layer")


class PixelCNN(Autoregressive):
    """p(x_i | x_<i) by convolutions over the rows above (vertical stack) and the pixels to the left (horizontal stack),
    which together leave no blind spot.

    A sample costs one pass over the network, in D small steps: rows and pixels that later ones look at are kept.
    """

    name, Config = "pixelcnn", PixelCNNConfig
    config: PixelCNNConfig

    def __init__(self, config: PixelCNNConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        if spec.channels > 1:
            raise UserError(f"pixelcnn is of grey images, the data has {spec.channels} channels: add --channels 1")
        self.network = GatedPixels(config.width, config.depth, config.first, config.reach, config.head)

    def logits(self, x: Tensor) -> Tensor:
        """`[N, 1, H, W]` of bits `[N, 1, H, W]`."""
        return self.network(x)

    def conditionals(self, n: int) -> Conditionals:
        """The same pixel by pixel."""
        return self.network.walk(n, self.spec.height, self.spec.width)
