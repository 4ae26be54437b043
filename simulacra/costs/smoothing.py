"""One-sided label smoothing (Salimans et al. 2016, §3.4; Goodfellow 2016, §4.2)."""

from dataclasses import replace

from torch import Tensor

from simulacra.costs.adversarial import OBJECTIVES, Objective, Terms
from simulacra.errors import UserError

_CODED = ("least-squares", "least-squares-pearson")
"""Objectives whose scores aim at the codings of real and fake."""


def smoothed(objective: Objective, share: float) -> Objective:
    """`objective` with real samples labelled 1 − `share` real and `share` fake, `share` in [0, 1); fakes stay fake.

    The best D(x) becomes (1 − share) p/(p + q), for data p and samples q (§3.4, with labels 1 − share and 0). Of least
    squares that moves the target of real scores from b to (1 − share) b + share·a, and adds to the cost the constant
    ½ share (1 − share)(a − b)². Raises UserError for other shares, and for an objective that has no labels.
    """
    if not 0.0 <= share < 1.0:
        raise UserError(f"the share of label smoothing is {share:g}: give one from 0 to below 1")
    if not (objective.probability or objective.name in _CODED):
        known = ", ".join(each.name for each in OBJECTIVES.values() if each.probability or each.name in _CODED)
        raise UserError(f"objective {objective.name} has no labels to smooth: leave it out, or choose one of {known}")

    def discriminator(real: Tensor, fake: Tensor) -> Terms:
        terms, other = objective.discriminator(real, fake), objective.discriminator(real, real)
        return {**terms, "real": (1.0 - share) * terms["real"] + share * other["fake"]}

    return replace(objective, discriminator=discriminator) if share else objective
