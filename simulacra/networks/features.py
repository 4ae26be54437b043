"""What enters the last linear layer of a network: its features."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn


class Scored(NamedTuple):
    """Scores `[N, 1]` and the activations `[N, F]` that they are a linear function of."""

    score: Tensor
    features: Tensor


def features(network: nn.Module, x: Tensor, run: Callable[[Tensor], Tensor] | None = None) -> Scored:
    """What `network` makes of x, and what entered its last linear layer: that of the discriminators in `networks`.

    The layer is the last `nn.Linear` in the order of registration. `run`: what calls the network, if not it itself
    (say with other parameters, by `functional_call`). Rows that the network puts before x (`networks.virtual`) are left
    out. Raises ValueError where there is no linear layer, or it was not reached.
    """
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    seen: list[Tensor] = []
    if linear:
        hook = linear[-1].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            score = (run or network)(x)
        finally:
            hook.remove()
        if seen:
            return Scored(score, seen[-1][len(seen[-1]) - len(x) :])
    raise ValueError(f"{type(network).__name__} passes no linear layer whose inputs could be its features")
