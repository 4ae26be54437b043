"""Feature matching (Salimans et al. 2016, §3.1)."""

from torch import Tensor

from simulacra.precision import widen


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """‖E f(x) − E f(G(z))‖², a scalar of features `[N, F]` and `[M, F]` (§3.1), in float32 or better. Means are those
    of the rows at hand, so it depends on micro-batches and ranks."""
    return (widen(real).mean(0) - widen(fake).mean(0)).square().sum()
