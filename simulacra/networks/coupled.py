"""The coupled pairs of CoGAN (Liu & Tuzel 2016, §3): generators tied but for their last layer, discriminators tied but
for their first. What is tied is one module, so there are no constraints to keep.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn

from simulacra.networks.dcgan import Upsampler, initialise

FILTERS, HIDDEN = (20, 50), 500
DOMAINS = 2


class CoupledGenerator(nn.Module):
    """One z to an image of each domain: DCGAN's generator with PReLU, and its last layer, next to the image, twice."""

    def __init__(self, latent: int, shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.size = shape[1:]
        self.tied = Upsampler(latent, shape, width, activation=nn.PReLU)
        last = self.tied.steps.pop(-1)
        self.ends = nn.ModuleList([last, deepcopy(last)])
        initialise(self)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, latent]` to (g₁(z), g₂(z)), `[N, C, H, W]` each."""
        x, (height, width) = self.tied(z), self.size
        first, second = (end(x)[..., :height, :width] for end in self.ends)
        return first, second


class CoupledDiscriminator(nn.Module):
    """Two LeNets that share all but their first convolution, and a linear classifier of `classes` on what they share:
    20 and 50 filters of 5 × 5, each pooled, 500 PReLU units. Images with a side under 16 are padded by 2."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        padding = 0 if min(shape[1:]) >= 16 else 2
        first, second = FILTERS
        self.starts = nn.ModuleList(_pooled(shape[0], first, padding) for _ in range(DOMAINS))
        self.tied = nn.Sequential(_pooled(first, second, padding), nn.Flatten())
        with torch.device("meta"):
            start, rest = _pooled(shape[0], first, padding), _pooled(first, second, padding)
            inputs = rest(start(torch.zeros(1, *shape))).numel()
        self.tied.extend([nn.Linear(inputs, HIDDEN), nn.PReLU()])
        self.score, self.classes = nn.Linear(HIDDEN, 1), nn.Linear(HIDDEN, classes)

    def hidden(self, *images: Tensor) -> Tensor:
        """The last hidden layer `[ΣN, 500]` of images of the first domain, then of the second if there are two."""
        return self.tied(torch.cat([start(x) for start, x in zip(self.starts, images)]))

    def classify(self, x: Tensor, domain: int) -> Tensor:
        """Logits `[N, K]` of images of one domain, 0 or 1."""
        return self.classes(self.tied(self.starts[domain](x)))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The scores `[N + M, 1]` of f₁ of the first domain's images and f₂ of the second's."""
        return self.score(self.hidden(first, second))


def _pooled(inputs: int, outputs: int, padding: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 5, padding=padding), nn.MaxPool2d(2))
