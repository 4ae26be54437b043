"""Ways in which a label reaches a network: beside its input, in its batch norm, in its score.

Labels are int64 `[N]`, from 0 to K − 1.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from simulacra.networks.features import features
from simulacra.precision import full_precision


class Given(nn.Module):
    """`network` with its labels filled in: what scores rows alone, as penalties need it."""

    def __init__(self, network: nn.Module, labels: Tensor) -> None:
        super().__init__()
        self.network, self.labels = network, labels

    def forward(self, x: Tensor) -> Tensor:
        """What the network makes of x and the labels."""
        return self.network(x, self.labels)


class Beside(nn.Module):
    """`network` on rows with their label beside them: one-hot, as further entries of vectors or as K constant channels
    of images (Mirza & Osindero 2014, figure 1, whose label goes through a layer of its own first)."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Rows `[N, C, ...]` and labels to what the network makes of `[N, C + K, ...]`."""
        hot = one_hot(labels, self.classes).to(x.dtype).view(len(x), self.classes, *[1] * (x.ndim - 2))
        return self.network(torch.cat([x, hot.expand(-1, -1, *x.shape[2:])], 1))


class Projection(nn.Module):
    """The projection discriminator: ψ(φ(x)) + yᵀVφ(x), φ what enters the last linear layer ψ of `network` (Miyato &
    Koyama 2018, eq. 3)."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
        self.network, self.embedding = network, nn.Embedding(classes, last.in_features)
        nn.init.normal_(self.embedding.weight, 0.0, last.in_features**-0.5)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Scores `[N, 1]`."""
        score, phi = features(self.network, x)
        return score + (self.embedding(labels) * phi).sum(1, keepdim=True)


class Auxiliary(nn.Module):
    """`network` with a second head beside its last layer, of `outputs` numbers: a classifier (Odena, Olah & Shlens
    2017, §3), or what finds a code again (Chen et al. 2016, §6). A linear layer; with `hidden` units a batch-normalised
    layer of them before it (Chen et al., appendix C: 128)."""

    def __init__(self, network: nn.Module, outputs: int, hidden: int = 0) -> None:
        super().__init__()
        last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
        self.network, self.head = network, nn.Linear(hidden or last.in_features, outputs)
        if hidden:
            first = nn.Linear(last.in_features, hidden, bias=False)
            self.head = nn.Sequential(first, nn.BatchNorm1d(hidden), nn.LeakyReLU(0.1), self.head)

    def forward(self, x: Tensor) -> Tensor:
        """Scores `[N, 1]`."""
        return self.network(x)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores `[N, 1]` and what the second head says, `[N, outputs]`."""
        score, phi = features(self.network, x)
        return score, self.head(phi)


class ClassBatchNorm(nn.Module):
    """Batch norm whose scale and shift belong to the row's class (Dumoulin et al. 2017, eq. 5; Miyato & Koyama 2018,
    §5.1), or are means over classes; `Conditioned` says of which."""

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, classes: int) -> None:
        super().__init__()
        channels = norm.num_features
        self.norm = type(norm)(channels, affine=False)
        self.scale, self.shift = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)
        self.shares: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalised rows, in the shape of x."""
        if self.shares is None:
            raise ValueError("batch norm of classes was given no classes")
        shape = (len(x), -1, *[1] * (x.ndim - 2))
        with full_precision(x.device):  # a class's own numbers are not rounded on their way here
            scale, shift = (self.shares @ numbers.weight for numbers in (self.scale, self.shift))
        return self.norm(x) * scale.view(shape) + shift.view(shape)


class Conditioned(nn.Module):
    """`network` with every batch norm in it made one of classes. Raises ValueError where it has none."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network = network
        self._replace(network, classes)
        if not self._norms():
            raise ValueError("the network has no batch norm to be conditioned")

    def _replace(self, module: nn.Module, classes: int) -> None:
        for name, layer in module.named_children():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(module, name, ClassBatchNorm(layer, classes))
            else:
                self._replace(layer, classes)

    def _norms(self) -> list[ClassBatchNorm]:
        return [layer for layer in self.network.modules() if isinstance(layer, ClassBatchNorm)]

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        """What the network makes of rows of these classes: one-hot `[N, K]`, or shares of several."""
        norms = self._norms()
        for norm in norms:
            norm.shares = shares
        try:
            return self.network(x)
        finally:
            for norm in norms:
                norm.shares = None
