"""Divergences with a closed form, in nats."""

from torch import Tensor


def kl_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, diag σ²) ‖ N(0, I)) `[N]` from μ and log σ² `[N, J]` (Kingma & Welling 2014, appendix B)."""
    return -0.5 * (1.0 + log_variance - mean.square() - log_variance.exp()).sum(1)
