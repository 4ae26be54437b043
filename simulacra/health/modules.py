"""What can be read off networks: units that nothing switches on, spectral norms, whether weights moved."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from simulacra.buffers import held

RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU)
ITERATIONS = 12  # of the power method: a tenth off at worst, where an explosion is by a factor of 50


class Switched:
    """Which units of the rectifying layers of modules were above 0 for some row, by layer: `player/path (Kind)`.

    A unit is a column of `[N, D]`, a channel of `[N, C, H, W]` at any position. A layer that is called several times
    counts every call.
    """

    def __init__(self) -> None:
        self.on: dict[str, Tensor] = {}

    @contextmanager
    def watching(self, modules: Mapping[str, nn.Module]) -> Iterator[None]:
        """Inside, forward passes are watched."""
        hooks = [
            layer.register_forward_pre_hook(self._hook(f"{player}/{path} ({type(layer).__name__})"))
            for player, module in modules.items()
            for path, layer in module.named_modules()
            if isinstance(layer, RECTIFIERS)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def look(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            x = given[0].detach()
            above = (x > 0).transpose(0, 1).flatten(1).any(1) if x.ndim > 1 else x > 0
            before = self.on.get(name)
            self.on[name] = above if before is None or before.shape != above.shape else before | above

        return look

    def dead(self) -> dict[str, float]:
        """The share of units of each layer that no row switched on."""
        if not self.on:
            return {}
        shares = torch.stack([1.0 - above.float().mean() for above in self.on.values()])
        return dict(zip(self.on, shares.tolist()))


@contextmanager
def normalising_by_batch(module: nn.Module) -> Iterator[None]:
    """Inside, batch norm of a module in eval mode uses the statistics of the rows at hand, as in training, and keeps
    none: real and generated rows have statistics of their own."""
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    with held(module):
        for layer in norms:
            layer.train()
        try:
            yield
        finally:
            for layer in norms:
                layer.eval()


@torch.no_grad()
def spectral_norms(modules: Mapping[str, nn.Module]) -> dict[str, float]:
    """About the largest singular value of every linear and convolutional weight, as the matrix `[outputs, -1]`, by
    `player/path`; in eval mode, so that spectral norm does not advance."""
    found = {
        f"{player}/{path}": _largest(_matrix(layer))
        for player, module in modules.items()
        for path, layer in module.named_modules()
        if isinstance(layer, nn.Linear | _ConvNd)
    }
    return dict(zip(found, torch.stack([*found.values()]).tolist())) if found else {}


def _matrix(layer: nn.Linear | _ConvNd) -> Tensor:
    weight = layer.weight.detach().float()
    return (weight.transpose(0, 1) if isinstance(layer, _ConvTransposeNd) else weight).flatten(1)


def _largest(matrix: Tensor) -> Tensor:
    """By the power method, from a vector of ones with falling weights, which no symmetry makes orthogonal."""
    v = torch.linspace(1.0, 0.1, matrix.shape[1], device=matrix.device)
    for _ in range(ITERATIONS):
        v = nn.functional.normalize(matrix.T @ (matrix @ v), dim=0)
    return (matrix @ v).norm()


@torch.no_grad()
def signatures(modules: Mapping[str, nn.Module]) -> dict[str, list[float]]:
    """[how many, sum, sum of squares] of every module's parameters, in float64: equal where none of them moved."""
    found = {}
    for player, module in modules.items():
        parameters = [p.detach() for p in module.parameters()]
        sums = [torch.stack([p.sum(dtype=torch.float64), p.double().square().sum()]) for p in parameters]
        total = torch.stack(sums).sum(0).tolist() if sums else [0.0, 0.0]
        found[player] = [sum(p.numel() for p in parameters), *total]
    return found
