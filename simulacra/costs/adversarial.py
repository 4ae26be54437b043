"""What discriminator and generator pay, as functions of the discriminator's scores (logits) `[N]` or `[N, 1]`.

With D = sigmoid(score), log D = −softplus(−score) and log(1 − D) = −softplus(score).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import softplus

Cost = Callable[..., dict[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """`discriminator(real, fake)` and `generator(fake)` return named terms, one value per sample, to descend."""

    name: str
    discriminator: Cost
    generator: Cost


def classify(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """−log D(x) and −log(1 − D(G(z))): ascending V(D, G) (Goodfellow et al. 2014, eq. 1)."""
    return {"real": softplus(-real), "fake": softplus(fake)}


def minimax(fake: Tensor) -> dict[str, Tensor]:
    """log(1 − D(G(z))): descending V(D, G) (Goodfellow et al. 2014, eq. 1). Flat where D is sure of the fakes."""
    return {"fool": -softplus(fake)}


def non_saturating(fake: Tensor) -> dict[str, Tensor]:
    """−log D(G(z)) (Goodfellow et al. 2014, §3): the same fixed point, steep where D is sure of the fakes."""
    return {"fool": softplus(-fake)}


OBJECTIVES = {
    "minimax": Objective(name="minimax", discriminator=classify, generator=minimax),
    "non-saturating": Objective(name="non-saturating", discriminator=classify, generator=non_saturating),
}
