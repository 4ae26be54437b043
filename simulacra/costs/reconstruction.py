"""Negative log-likelihoods of data given what a decoder says, in nats per sample."""

from math import log, pi

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    """−log p(x) `[N]` of bits x ∈ {0, 1} under independent Bernoullis (Kingma & Welling 2014, appendix C.1); of
    brightnesses x in [0, 1] the cross-entropy (Vincent et al. 2010, §2.1), which is its mean over bits drawn of them.
    """
    return binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def gaussian(mean: Tensor, x: Tensor, sigma: float | Tensor) -> Tensor:
    """−log p(x) `[N]`, a density in the units of x, under N(mean, σ²I) (Kingma & Welling 2014, appendix C.2);
    σ is a number, or a scalar tensor that is learned."""
    z = (x - mean).flatten(1) / sigma
    log_sigma = sigma.log() if isinstance(sigma, Tensor) else log(sigma)
    return 0.5 * z.square().sum(1) + z.shape[1] * (log_sigma + 0.5 * log(2 * pi))
