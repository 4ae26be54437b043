"""The costs of the two-player game: what a generator and a discriminator descend under an objective, the penalties
that the discriminator pays, and the generator's view of a discriminator some steps ahead."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from simulacra.augment.adaptive import next_probability
from simulacra.costs.adversarial import Objective
from simulacra.game import At, Rows, Terms
from simulacra.models.gan import GAN
from simulacra.models.matching import feature_matching
from simulacra.models.sight import PLAIN, Sight
from simulacra.networks.features import Scored, features
from simulacra.penalties.gradient import dragan, gradient_penalty, r1, r2
from simulacra.penalties.orthogonal import orthogonal, orthonormal
from simulacra.precision import widen


@dataclass(frozen=True, kw_only=True)
class Penalties:
    """Weights of what the discriminator pays beside the objective, 0 for none (`penalties`).

    `gradient`: on interpolates of real and generated rows, `one_sided` or not; `dragan`: around real rows, noise of
    variance `spread`; `orthogonal` and `orthonormal`: on its weight matrices; `r1` and `r2`: on real and on generated
    rows, both times `fade` to the power of progress.
    """

    gradient: float = 0.0
    one_sided: bool = False
    dragan: float = 0.0
    spread: float = 1.0
    orthogonal: float = 0.0
    orthonormal: float = 0.0
    r1: float = 0.0
    r2: float = 0.0
    fade: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Tricks:
    """What steers the players beside the objective (Salimans et al. 2016), 0 for none.

    `adversarial`: weight of the generator's own cost; `matching`: of matching the discriminator's mean features on real
    and generated rows (§3.1); `historical`: of staying near the mean of one's own past parameters (§3.3).
    """

    adversarial: float = 1.0
    matching: float = 0.0
    historical: float = 0.0


NO_TRICKS = Tricks()


class Adversary:
    """The costs of the two-player game between `model`'s generator and `discriminator` under `objective`.

    `unrolled`: (K, η), the generator faces the discriminator that K steps of rate η make of the present one.
    `watched`: the generator's moves keep the state `lead` (`leading`). `sight`: what the discriminator is shown. A game
    with conditions says what is `made` and by which `critic` it is judged.
    """

    def __init__(
        self,
        model: GAN,
        discriminator: nn.Module,
        objective: Objective,
        penalties: Penalties,
        unrolled: tuple[int, float] = (0, 0.0),
        watched: bool = False,
        sight: Sight = PLAIN,
        tricks: Tricks = NO_TRICKS,
    ) -> None:
        self.model, self.discriminator, self.objective, self.penalties = model, discriminator, objective, penalties
        self.unrolled, self.watched, self.sight, self.tricks = unrolled, watched, sight, tricks

    def start(self) -> dict[str, Tensor]:
        """The game's state before the first step."""
        state = {"lead": torch.tensor(0.5)} if self.watched else {}
        if self.sight.adapt:
            state["augment"] = torch.tensor(0.0)
        if self.tricks.historical:
            parts = {"discriminator": self.discriminator, "generator": self.model}
            state |= {f"past_{name}": flat(module).detach().clone() for name, module in parts.items()}
            state |= {f"past_{name}_length": torch.tensor(0.0) for name in parts}
        return state

    def made(self, batch: Rows, at: At) -> Tensor:
        """Generated rows, as many as the batch has."""
        return self.model.generate(at)

    def critic(self, batch: Rows) -> nn.Module:
        """What judges rows beside this batch."""
        return self.discriminator

    def discriminate(self, batch: Rows, at: At) -> Terms:
        """D's cost on real and generated images (Algorithm 1, inner loop), and its penalties on the same ones."""
        critic, x = self.critic(batch), self.made(batch, at)
        seen, shown = self.sight(batch.x, at), self.sight(x, at)
        real, fake = widen(critic(seen)), widen(critic(shown))
        return self._told(real, fake, batch, at) | self._penalties(critic, seen, shown, at)

    def _told(self, real: Tensor, fake: Tensor, batch: Rows, at: At) -> dict[str, Tensor]:
        """The objective's terms of these scores, which are watched, and followed by adaptive augmentation."""
        for name, score in (("D(x)", real), ("D(G(z))", fake)):
            at.watch(name, score.sigmoid() if self.objective.probability else score)
        if self.sight.adapt:
            p = next_probability(at.state("augment"), real.detach().sign().mean(), batch.joint, self.sight.adapt)
            at.write("augment", p)
            at.watch("augment", p)
        return dict(self.objective.discriminator(real, fake))

    def generate(self, batch: Rows, at: At) -> Terms:
        """G's cost on fresh noise (Algorithm 1, last lines), beside real images where the objective pairs them. In a
        game for one value V it is, after steps ahead, all of V: they make V's real part a function of G too (Metz et
        al. 2017, eqs. 7 and 10)."""
        critic, shown = self.critic(batch), self.sight(self.made(batch, at), at)
        steps, rate = self.unrolled
        compared = self.objective.paired or self.watched or steps or self.tricks.matching
        seen = self.sight(batch.x, at) if compared else shown
        ahead = unroll(critic, self._cost, seen, shown, steps, rate) if steps else critic
        made = features(critic, shown) if self.tricks.matching else None
        fake = widen(made.score if made else ahead(shown))
        if self.watched:
            self._watch(widen(critic(seen)), widen(critic(shown)) if steps else fake, at)
        if steps and self.objective.zero_sum:
            terms = self.objective.value(widen(ahead(seen)), fake)
        else:
            terms = self.objective.generator(fake, widen(ahead(seen)) if self.objective.paired else None)
        return self._steered(terms, at) | self._matched(critic, seen, made)

    def _steered(self, terms: Terms, at: At) -> dict[str, Tensor]:
        """The generator's terms by their weight, and its past."""
        weight = self.tricks.adversarial
        own = {name: weight * term for name, term in terms.items()} if weight != 1.0 else dict(terms)
        return (own if weight else {}) | self._past("generator", self.model, at)

    def _matched(self, critic: nn.Module, seen: Tensor, made: Scored | None) -> dict[str, Tensor]:
        if made is None:
            return {}
        real = features(critic, seen).features
        return {"matching": self.tricks.matching * feature_matching(real, made.features)}

    def _past(self, name: str, module: nn.Module, at: At) -> dict[str, Tensor]:
        """The cost of leaving one's past, and the past with the present in it."""
        if not self.tricks.historical:
            return {}
        now, past, length = flat(module), at.state(f"past_{name}"), at.state(f"past_{name}_length") + 1
        at.write(f"past_{name}", past.lerp(now.detach(), (1 / length).to(past)))
        at.write(f"past_{name}_length", length)
        return {"historical": self.tricks.historical * (now - past).square().sum()}

    def _watch(self, real: Tensor, fake: Tensor, at: At) -> None:
        """Keep the state `lead`."""
        lead = leading(at.state("lead"), real, fake)
        at.write("lead", lead)
        at.watch("lead", lead)

    def _cost(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's cost as the mean that it descends, of scores."""
        return torch.stack([term.mean() for term in self.objective.discriminator(real, fake).values()]).sum()

    def penalise(self, batch: Rows, at: At) -> Terms:
        """The penalties that may be lazy: R1 on real images, R2 on generated ones."""
        terms: dict[str, Tensor] = {}
        critic, left = self.critic(batch), self.penalties.fade**at.progress
        if self.penalties.r1:
            terms["r1"] = r1(critic, self.sight(batch.x, at), left * self.penalties.r1)
        if self.penalties.r2:
            terms["r2"] = r2(critic, self.sight(self.made(batch, at), at), left * self.penalties.r2)
        return terms

    def _penalties(self, critic: nn.Module, real: Tensor, fake: Tensor, at: At) -> dict[str, Tensor]:
        """Those that belong to every step."""
        weights = self.penalties
        terms: dict[str, Tensor] = {}
        if weights.gradient:
            epsilon = at.uniform()[: len(real)]
            terms["gradient_penalty"] = gradient_penalty(
                critic, real, fake, epsilon, weights.gradient, weights.one_sided
            )
        if weights.dragan:
            noise = weights.spread**0.5 * at.normal(*real.shape[1:])[: len(real)]
            terms["dragan"] = dragan(critic, real, noise, weights.dragan)
        if weights.orthogonal:
            terms["orthogonal"] = orthogonal(self.discriminator, weights.orthogonal)
        if weights.orthonormal:
            terms["orthonormal"] = orthonormal(self.discriminator, weights.orthonormal)
        return terms | self._past("discriminator", self.discriminator, at)


def flat(module: nn.Module) -> Tensor:
    """All parameters in one vector, differentiably."""
    return torch.cat([parameter.flatten() for parameter in module.parameters()])


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
    which gradients flow back into `fake` (Metz et al. 2017, eqs. 6, 7 and 9); the critic itself stays as it is. What it
    descends or is subject to beside that cost (penalties, clipping) is not looked ahead to."""
    named = critic.named_parameters()
    parameters = {name: p if p.requires_grad else p.detach().requires_grad_() for name, p in named}

    def score(x: Tensor) -> Tensor:
        return widen(functional_call(critic, parameters, (x,)))

    for _ in range(steps):
        gradients = torch.autograd.grad(cost(score(real), score(fake)), [*parameters.values()], create_graph=True)
        parameters = {name: p - rate * g for (name, p), g in zip(parameters.items(), gradients)}
    return score
