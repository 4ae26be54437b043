"""Penalties on weight matrices whose filters are not orthogonal.

A layer's filters are the rows of its weight W `[outputs, -1]`; with filters as columns, as papers write it, the Gram
matrix W Wᵀ here is their WᵀW. It can be diagonal only where there are no more filters than entries in each. Of a layer
under spectral normalisation W is the stored weight, before its division by σ.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import is_parametrized

from simulacra.precision import full_precision, widen

Choice = Callable[[str, nn.Module], bool]
"""From a layer's name and the layer to whether its weight is taken."""


def every(name: str, layer: nn.Module) -> bool:
    """All convolutions, transposed convolutions and linear layers; embeddings are never among them."""
    return True


def orthonormal(module: nn.Module, weight: float, chosen: Choice = every) -> Tensor:
    """β Σ ‖W Wᵀ − I‖²_F over the chosen layers, a scalar: zero for orthogonal filters of unit length (Brock, Donahue &
    Simonyan 2019, eq. 2). Its gradient is 4β (W Wᵀ − I) W.

    Raises ValueError where no layer is chosen.
    """
    grams = _grams(module, chosen)
    return weight * torch.stack([(g - torch.eye(len(g), device=g.device)).square().sum() for g in grams]).sum()


def orthogonal(module: nn.Module, weight: float, chosen: Choice = every) -> Tensor:
    """β Σ ‖W Wᵀ ⊙ (1 − I)‖²_F over the chosen layers, a scalar: zero for orthogonal filters of any length (Brock,
    Donahue & Simonyan 2019, eq. 3; β = 1e-4). Its gradient is 4β (W Wᵀ ⊙ (1 − I)) W.

    Raises ValueError where no layer is chosen.
    """
    return weight * torch.stack([(g - g.diag().diag()).square().sum() for g in _grams(module, chosen)]).sum()


def matrices(module: nn.Module, chosen: Choice = every) -> Iterator[tuple[str, Tensor]]:
    """The chosen layers' names and weights, filters as rows `[outputs, -1]`, in float32 or better."""
    for name, layer in module.named_modules():
        if isinstance(layer, _ConvNd | nn.Linear) and chosen(name, layer):
            yield name, widen(_filters(layer))


def _grams(module: nn.Module, chosen: Choice) -> list[Tensor]:
    """W Wᵀ of every chosen layer."""
    found = [weight for _, weight in matrices(module, chosen)]
    if not found:
        raise ValueError("no layer is chosen for orthogonal regularisation: it needs convolutions or linear layers")
    with full_precision(found[0].device):
        return [weight @ weight.T for weight in found]


def _filters(layer: _ConvNd | nn.Linear) -> Tensor:
    """The weight as `[outputs, -1]`; transposed convolutions keep theirs as `[inputs, outputs / groups, …]`."""
    weight = _stored(layer)
    if isinstance(layer, _ConvTransposeNd):
        weight = weight.unflatten(0, (layer.groups, -1)).transpose(1, 2).flatten(0, 1)
    return weight.flatten(1)


def _stored(layer: _ConvNd | nn.Linear) -> Tensor:
    """The parameter itself where one parametrisation stands before it: reading `weight` would advance its buffers."""
    chain = layer.get_submodule("parametrizations.weight") if is_parametrized(layer, "weight") else None
    return chain.original if hasattr(chain, "original") else layer.weight  # type: ignore[reportReturnType]
