"""Negative log-likelihoods of data given what a decoder says, in nats per sample."""

from math import log, pi
from typing import Any

from torch import Tensor
from torch.autograd import Function


def bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    """−log p(x) `[N]` of bits x ∈ {0, 1} under independent Bernoullis (Kingma & Welling 2014, appendix C.1); of
    brightnesses x in [0, 1] the cross-entropy (Vincent et al. 2010, §2.2), which is its mean over bits drawn of them.
    """
    return _Bernoulli.apply(logits.flatten(1), x.flatten(1))  # type: ignore[no-any-return]


class _Bernoulli(Function):
    """Σ_d max(a, 0) − a x + log(1 + e^−|a|), whose gradient in the logits a is σ(a) − x.

    PyTorch's own cross-entropy takes log1p, twelve times as slow as log on CPUs, where it would be most of what a
    decoder costs. An addend less than half the last digit of 1 is lost for it: 6e-8 of a pixel at most in float32,
    less than the last digit of the sum."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, x: Tensor) -> Tensor:
        """`[N]` of `[N, D]` both."""
        return a.abs().neg_().exp_().add_(1.0).log_().add_(a.relu()).sub_(a * x).sum(1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep what the gradient is of."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        """Gradients in both, each where it is asked for; they have gradients themselves."""
        a, x = ctx.saved_tensors
        of_a, of_x = ctx.needs_input_grad
        each = grad[:, None]
        return (a.sigmoid() - x) * each if of_a else None, -a * each if of_x else None


def gaussian(mean: Tensor, x: Tensor, sigma: float | Tensor) -> Tensor:
    """−log p(x) `[N]`, a density in the units of x, under N(mean, σ²I) (Kingma & Welling 2014, appendix C.2);
    σ is a number, or a scalar tensor that is learned."""
    z = (x - mean).flatten(1) / sigma
    log_sigma = sigma.log() if isinstance(sigma, Tensor) else log(sigma)
    return 0.5 * z.square().sum(1) + z.shape[1] * (log_sigma + 0.5 * log(2 * pi))
