"""Optimisers as settings: what a player descends with, built anew at the start of every stage."""

from collections.abc import Callable, Iterable
from math import cos, pi
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from simulacra.config import Config

Decay = Annotated[float, Field(ge=0, lt=1)]


class Adam(Config):
    """Adam (Kingma & Ba 2015). `weight_decay` is decoupled from the gradient (Loshchilov & Hutter 2019); `l2` is part
    of it, and so divided by its size as the rest is. One of them at most."""

    lr: float = Field(default=2e-4, gt=0, description="learning rate")
    betas: tuple[Decay, Decay] = Field(default=(0.9, 0.999), description="decay of the two moments")
    eps: float = Field(default=1e-8, gt=0, description="added to the root of the second moment")
    weight_decay: float = Field(default=0.0, ge=0, description="share of the weights removed per unit of learning rate")
    l2: float = Field(default=0.0, ge=0, description="coefficient of half the squared weights, added to the cost")

    @model_validator(mode="after")
    def _one_decay(self) -> Self:
        if self.l2 and self.weight_decay:
            raise ValueError("weight_decay and l2 both shrink the weights: give one of them")
        return self

    def build(self, parameters: Iterable[nn.Parameter], correction: float = 1.0) -> torch.optim.Optimizer:
        """The optimiser. `correction` c < 1 makes room for the extra steps of lazy regularisers: learning rate c·λ
        and moments β^c (Karras et al. 2020, StyleGAN2, appendix B)."""
        parameters = list(parameters)
        fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
        beta1, beta2 = (beta**correction for beta in self.betas)
        kind = torch.optim.Adam if self.l2 else torch.optim.AdamW
        decay = self.l2 or self.weight_decay
        return kind(parameters, self.lr * correction, (beta1, beta2), self.eps, weight_decay=decay, fused=fused)


class SGD(Config):
    """Stochastic gradient descent with momentum."""

    lr: float = Field(default=0.1, gt=0, description="learning rate")
    momentum: float = Field(default=0.0, ge=0, lt=1, description="momentum")

    def build(self, parameters: Iterable[nn.Parameter], correction: float = 1.0) -> torch.optim.Optimizer:
        """The optimiser; `correction` scales the learning rate."""
        return torch.optim.SGD(parameters, self.lr * correction, self.momentum)


Schedule = Literal["constant", "linear", "cosine"]


def schedule(name: Schedule) -> Callable[[float], float]:
    """The factor on the learning rate as a function of progress in [0, 1]; `linear` and `cosine` end at zero."""
    rules: dict[str, Callable[[float], float]] = {
        "constant": lambda progress: 1.0,
        "linear": lambda progress: 1.0 - progress,
        "cosine": lambda progress: 0.5 * (1.0 + cos(pi * progress)),
    }
    return rules[name]
