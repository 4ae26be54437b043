"""Spectral normalisation: every weight divided by its largest singular value (Miyato et al. 2018, Algorithm 1).

PyTorch's parametrisation, kept in float32 inside autocast. σ is uᵀWv for two stored vectors. A forward pass in training
mode first advances them by a step of power iteration (or more), whichever batch it is for, so a cost that scores real
and fake apart advances them twice; passes in eval mode, of a frozen player and of penalties (`buffers.held`) take them
as stored. While W moves, σ lags behind σ₁: by a percent and more at high rates, which more steps shrink.

Keys of the state dict: `<layer>.weight` becomes `<layer>.parametrizations.weight.original`, the trained parameter W,
and beside it are the vectors `<layer>.parametrizations.weight.0._u` `[outputs]` and `…0._v` `[the rest]`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

from simulacra.precision import full_precision


class SpectralNorm(_SpectralNorm):
    """W / σ(W) with σ = uᵀWv, W as the matrix `[outputs, -1]`; gradients pass through σ, u and v held constant (eq. 12
    of the paper)."""

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight, in the shape of `weight`; in training mode after its steps of power iteration."""
        with _exact(weight.device):
            return super().forward(weight)

    @torch.no_grad()
    def advance(self, weight: Tensor, iterations: int) -> None:
        """That many steps of power iteration, in any mode."""
        with _exact(weight.device):
            self._power_method(self.matrix(weight), iterations)

    def matrix(self, weight: Tensor) -> Tensor:
        """`weight` as `[outputs, -1]`."""
        return self._reshape_weight_to_matrix(weight)

    @torch.no_grad()
    def sigma(self, weight: Tensor) -> float:
        """uᵀWv of the vectors as stored: at most the largest singular value."""
        with _exact(weight.device):
            return float(self._u @ self.matrix(weight) @ self._v)


def spectrally_normalised(module: nn.Module, iterations: int = 1) -> nn.Module:
    """`module` itself, with every convolution, transposed convolution, linear and embedding layer in it normalised, its
    σ followed by so many steps of power iteration per pass.

    Initialise before: afterwards `layer.weight` is computed, and writing to it is lost. Layers that are normalised
    already stay as they are. Linear and embedding layers become 1-Lipschitz. The constant of an undilated, zero-padded
    convolution of kernel k and stride s is at most √∏⌈kᵢ/sᵢ⌉: σ is of the kernel's matrix, and patches overlap. Raises
    ValueError for a weight of zeros, which has no direction to normalise, or one that is parametrised otherwise.
    """
    normalised = {name for name, _, _ in _layers(module)}
    for name, layer in module.named_modules():
        if isinstance(layer, _ConvNd | nn.Linear | nn.Embedding) and name not in normalised:
            _normalise(name, layer, iterations)
    return module


def spectral_norms(module: nn.Module) -> dict[str, float]:
    """σ₁ of every normalised layer's W by singular value decomposition, by the layer's name; for monitoring.

    O(m n min(m, n)) per matrix m × n and one transfer from the device; over `stored_norms` it gives the σ₁ of the
    weight in use.
    """
    with torch.no_grad():
        return {name: float(torch.linalg.svdvals(norm.matrix(w))[0]) for name, norm, w in _layers(module)}


def stored_norms(module: nn.Module) -> dict[str, float]:
    """The σ = uᵀWv that each normalised layer divides its W by, by the layer's name."""
    return {name: norm.sigma(weight) for name, norm, weight in _layers(module)}


def converge(module: nn.Module, iterations: int) -> None:
    """Advance the vectors of every normalised layer by `iterations` steps of power iteration, in any mode.

    Each step shrinks their error by σ₂/σ₁ of the layer. Of use after W was replaced, say by its moving average.
    """
    for _, norm, weight in _layers(module):
        norm.advance(weight, iterations)


def _layers(module: nn.Module) -> Iterator[tuple[str, SpectralNorm, Tensor]]:
    """Every normalised layer's name, its normalisation, and W."""
    for name, layer in module.named_modules():
        if is_parametrized(layer, "weight"):
            norm = layer.get_submodule("parametrizations.weight.0")
            if isinstance(norm, SpectralNorm):
                yield name, norm, layer.get_parameter("parametrizations.weight.original")


def _normalise(name: str, layer: _ConvNd | nn.Linear | nn.Embedding, iterations: int) -> None:
    if is_parametrized(layer, "weight"):
        raise ValueError(f"the weight of layer '{name}' has another parametrisation: spectral norm must come alone")
    if not layer.weight.is_meta and not layer.weight.any():
        raise ValueError(f"the weight of layer '{name}' is all zeros and has no spectral norm to be divided by")
    norm = SpectralNorm(layer.weight, iterations, dim=1 if isinstance(layer, _ConvTransposeNd) else 0)
    register_parametrization(layer, "weight", norm)


def _exact(device: torch.device) -> AbstractContextManager:
    """Autocast off: a σ in bfloat16 would be half a percent off. On the meta device there is none."""
    return full_precision(device) if torch.amp.is_autocast_available(device.type) else nullcontext()
