"""What discriminator and generator pay, as functions of the discriminator's scores `[N]` or `[N, 1]`.

A score is any real number. Where it is a logit, D = sigmoid(score), log D = −softplus(−score) and
log(1 − D) = −softplus(score). Factors ½ are the papers': least squares has them, the others have none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn.functional import relu, softplus

from simulacra.costs.divergences import F_DIVERGENCES, FDivergence

Terms = dict[str, Tensor]


class GeneratorCost(Protocol):
    """The generator's terms of the scores of its samples and, in paired objectives, of real ones."""

    def __call__(self, fake: Tensor, real: Tensor | None = None) -> Terms:
        """Named terms, one value per sample."""
        ...


@dataclass(frozen=True, kw_only=True)
class Objective:
    """`discriminator(real, fake)` and `generator(fake)` return named terms, one value per sample, to descend.

    `paired`: the generator's cost needs scores of as many real samples too: `generator(fake, real)`.
    `probability`: sigmoid(score) is the probability D(x) that x is real.
    `zero_sum`: both play for one value V: what the generator descends is, but for terms without the generator in them,
    the negative of what the discriminator descends.
    """

    name: str
    discriminator: Callable[[Tensor, Tensor], Terms]
    generator: GeneratorCost
    paired: bool = False
    probability: bool = False
    zero_sum: bool = False

    def value(self, real: Tensor, fake: Tensor) -> Terms:
        """The terms of V, which the generator descends and the discriminator ascends. Raises ValueError where the game
        is not `zero_sum`."""
        if not self.zero_sum:
            raise ValueError(f"{self.name} has two costs that are not of one value")
        return {name: -term for name, term in self.discriminator(real, fake).items()}


def classify(real: Tensor, fake: Tensor) -> Terms:
    """−log D(x) and −log(1 − D(G(z))): ascending V(D, G) (Goodfellow et al. 2014, eq. 1)."""
    return {"real": softplus(-real), "fake": softplus(fake)}


def minimax(fake: Tensor, real: Tensor | None = None) -> Terms:
    """log(1 − D(G(z))): descending V(D, G) (Goodfellow et al. 2014, eq. 1). Flat where D is sure of the fakes."""
    return {"fool": -softplus(fake)}


def non_saturating(fake: Tensor, real: Tensor | None = None) -> Terms:
    """−log D(G(z)) (Goodfellow et al. 2014, §3): the same fixed point, steep where D is sure of the fakes."""
    return {"fool": softplus(-fake)}


def maximum_likelihood(fake: Tensor, real: Tensor | None = None) -> Terms:
    """−D/(1 − D) = −exp(score): in expectation, KL(data‖G)'s gradient where D is the best (Goodfellow 2016, §3.2.4,
    there with ½). Almost all of the gradient comes from the best fakes; −infinity at scores above 88 (float32)."""
    return {"fool": -fake.exp()}


def least_squares(name: str, a: float, b: float, c: float) -> Objective:
    """½(D(x) − b)², ½(D(G(z)) − a)² and ½(D(G(z)) − c)², D the score itself (Mao et al. 2017, eq. 2)."""

    def discriminator(real: Tensor, fake: Tensor) -> Terms:
        return {"real": 0.5 * (real - b).square(), "fake": 0.5 * (fake - a).square()}

    def generator(fake: Tensor, real: Tensor | None = None) -> Terms:
        return {"fool": 0.5 * (fake - c).square()}

    return Objective(name=name, discriminator=discriminator, generator=generator)


def separate(real: Tensor, fake: Tensor) -> Terms:
    """−f(x) and f(G(z)): ascending E f(x) − E f(G(z)) over critics f, which something else must keep Lipschitz
    (Arjovsky, Chintala & Bottou 2017, eqs. 2 and 3)."""
    return {"real": -real, "fake": fake}


def hinge(real: Tensor, fake: Tensor) -> Terms:
    """max(0, 1 − D(x)) and max(0, 1 + D(G(z))): nothing is gained beyond the margin (Lim & Ye 2017; Miyato et al.
    2018, eq. 16)."""
    return {"real": relu(1.0 - real), "fake": relu(1.0 + fake)}


def raise_score(fake: Tensor, real: Tensor | None = None) -> Terms:
    """−f(G(z)) (Arjovsky et al. 2017, Algorithm 1; Miyato et al. 2018, eq. 17)."""
    return {"fool": -fake}


def tell_apart(real: Tensor, fake: Tensor) -> Terms:
    """−log sigmoid(C(x) − C(G(z))) `[N]` of row i with row i (Jolicoeur-Martineau 2019, §4.1). Raises ValueError where
    there are not as many real as fake scores."""
    return {"pair": softplus(-_differences(real, fake))}


def swap(fake: Tensor, real: Tensor | None = None) -> Terms:
    """−log sigmoid(C(G(z)) − C(x)) `[N]`, the mirror of `tell_apart`, which raises the same."""
    if real is None:
        raise ValueError("a paired objective needs the scores of real samples too")
    return {"fool": softplus(_differences(real, fake))}


def _differences(real: Tensor, fake: Tensor) -> Tensor:
    if real.numel() != fake.numel():
        raise ValueError(f"{real.numel()} real scores cannot be paired with {fake.numel()} of fakes")
    return real.flatten() - fake.flatten()


def f_gan(divergence: FDivergence, probability: bool = False) -> Objective:
    """The saddle point of F = E g_f(v(x)) − E f*(g_f(v(G(z)))) (Nowozin et al. 2016, eqs. 6 and 7), both players by
    F itself. The generator that ascends E g_f(v(G(z))) instead (§3.2) is built for GAN alone: `non_saturating`."""

    def discriminator(real: Tensor, fake: Tensor) -> Terms:
        return {"real": -divergence.activation(real), "fake": divergence.conjugate_of_score(fake)}

    def generator(fake: Tensor, real: Tensor | None = None) -> Terms:
        return {"fool": -divergence.conjugate_of_score(fake)}

    name = f"f-{divergence.name}"
    return Objective(
        name=name, discriminator=discriminator, generator=generator, probability=probability, zero_sum=True
    )


_LOGITS = ("gan", "jensen-shannon", "reverse-kl")
"""f-divergences whose best critic v(x) is log p/q, the logit of the probability that x is real."""

_ALL = (
    Objective(name="minimax", discriminator=classify, generator=minimax, probability=True, zero_sum=True),
    Objective(name="non-saturating", discriminator=classify, generator=non_saturating, probability=True),
    Objective(name="maximum-likelihood", discriminator=classify, generator=maximum_likelihood, probability=True),
    least_squares("least-squares", a=0.0, b=1.0, c=1.0),
    least_squares("least-squares-pearson", a=-1.0, b=1.0, c=0.0),
    Objective(name="wasserstein", discriminator=separate, generator=raise_score, zero_sum=True),
    Objective(name="hinge", discriminator=hinge, generator=raise_score),
    Objective(name="relativistic", discriminator=tell_apart, generator=swap, paired=True),
    *(f_gan(each, probability=each.name in _LOGITS) for each in F_DIVERGENCES.values()),
)

OBJECTIVES = {objective.name: objective for objective in _ALL}
"""Every objective by its name. `least-squares-pearson` (−1, 1, 0) descends χ²(p + q ‖ 2q) at the best D, for data p and
G's q; `least-squares` (0, 1, 1) asks for fakes scored as real ones are (Mao et al. 2017, §3.2.3)."""
