"""The costs of the two-player game: what a generator and a discriminator descend under an objective, the penalties
that the discriminator pays, and the generator's view of a discriminator some steps ahead."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from simulacra.costs.adversarial import Objective
from simulacra.game import At, Rows, Terms
from simulacra.models.gan import GAN
from simulacra.penalties.gradient import dragan, gradient_penalty, r1, r2
from simulacra.penalties.orthogonal import orthogonal
from simulacra.precision import widen


@dataclass(frozen=True, kw_only=True)
class Penalties:
    """Weights of what the discriminator pays beside the objective, 0 for none (`penalties`).

    `gradient`: on interpolates of real and generated rows, `one_sided` or not; `dragan`: around real rows, noise of
    variance `spread`; `orthogonal`: on its weight matrices; `r1` and `r2`: on real and on generated rows, both times
    `fade` to the power of progress.
    """

    gradient: float = 0.0
    one_sided: bool = False
    dragan: float = 0.0
    spread: float = 1.0
    orthogonal: float = 0.0
    r1: float = 0.0
    r2: float = 0.0
    fade: float = 1.0


class Adversary:
    """The costs of the two-player game between `model`'s generator and `discriminator` under `objective`.

    `unrolled`: (K, η), the generator faces the discriminator that K steps of rate η make of the present one.
    `watched`: the generator's moves keep the state `lead` (`leading`).
    """

    def __init__(
        self,
        model: GAN,
        discriminator: nn.Module,
        objective: Objective,
        penalties: Penalties,
        unrolled: tuple[int, float] = (0, 0.0),
        watched: bool = False,
    ) -> None:
        self.model, self.discriminator, self.objective, self.penalties = model, discriminator, objective, penalties
        self.unrolled, self.watched = unrolled, watched

    def discriminate(self, batch: Rows, at: At) -> Terms:
        """D's cost on real and generated images (Algorithm 1, inner loop), and its penalties on the same ones."""
        x = self.model.generate(at)
        real, fake = self._scores(batch.x), self._scores(x)
        for name, score in (("D(x)", real), ("D(G(z))", fake)):
            at.watch(name, score.sigmoid() if self.objective.probability else score)
        return {**self.objective.discriminator(real, fake), **self._penalties(batch.x, x, at)}

    def generate(self, batch: Rows, at: At) -> Terms:
        """G's cost on fresh noise (Algorithm 1, last lines), beside real images where the objective pairs them."""
        x = self.model.generate(at)
        steps, rate = self.unrolled
        score = unroll(self.discriminator, self._cost, batch.x, x, steps, rate) if steps else self._scores
        fake = score(x)
        if self.watched:
            present = self._scores(x) if steps else fake
            lead = leading(at.state("lead"), self._scores(batch.x), present)
            at.write("lead", lead)
            at.watch("lead", lead)
        return self.objective.generator(fake, score(batch.x) if self.objective.paired else None)

    def _cost(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's cost as the mean that it descends, of scores."""
        return torch.stack([term.mean() for term in self.objective.discriminator(real, fake).values()]).sum()

    def penalise(self, batch: Rows, at: At) -> Terms:
        """The penalties that may be lazy: R1 on real images, R2 on generated ones."""
        terms: dict[str, Tensor] = {}
        left = self.penalties.fade**at.progress
        if self.penalties.r1:
            terms["r1"] = r1(self.discriminator, batch.x, left * self.penalties.r1)
        if self.penalties.r2:
            terms["r2"] = r2(self.discriminator, self.model.generate(at), left * self.penalties.r2)
        return terms

    def _penalties(self, real: Tensor, fake: Tensor, at: At) -> Terms:
        """Those that belong to every step."""
        weights = self.penalties
        terms: dict[str, Tensor] = {}
        if weights.gradient:
            epsilon = at.uniform()
            terms["gradient_penalty"] = gradient_penalty(
                self.discriminator, real, fake, epsilon, weights.gradient, weights.one_sided
            )
        if weights.dragan:
            noise = weights.spread**0.5 * at.normal(*real.shape[1:])
            terms["dragan"] = dragan(self.discriminator, real, noise, weights.dragan)
        if weights.orthogonal:
            terms["orthogonal"] = orthogonal(self.discriminator, weights.orthogonal)
        return terms

    def _scores(self, x: Tensor) -> Tensor:
        return widen(self.discriminator(x))


def leading(before: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """The moving share, of decay 0.9, of pairs that the discriminator ranks rightly, the real row above the generated
    one; a tie is half a pair. 1/2 is a discriminator that knows nothing."""
    right = 0.5 + 0.5 * (real.detach() - fake.detach()).sign().mean()
    return 0.9 * before + 0.1 * right


def unroll(
    critic: nn.Module,
    cost: Callable[[Tensor, Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    steps: int,
    rate: float,
) -> Callable[[Tensor], Tensor]:
    """Scores of the critic after `steps` plain descents of rate `rate` on `cost(real scores, fake scores)`, through
    which gradients flow back into `fake` (Metz et al. 2017, eqs. 6, 7 and 9); the critic itself stays as it is."""
    parameters = {name: p.detach().requires_grad_() for name, p in critic.named_parameters()}

    def score(x: Tensor) -> Tensor:
        return widen(functional_call(critic, parameters, (x,)))

    for _ in range(steps):
        gradients = torch.autograd.grad(cost(score(real), score(fake)), [*parameters.values()], create_graph=True)
        parameters = {name: p - rate * g for (name, p), g in zip(parameters.items(), gradients)}
    return score
