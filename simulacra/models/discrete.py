"""Generators of strings: what is made is discrete, so that no gradient passes through it as it is.

Two ways round it. Relax the characters: Gumbel-softmax (Jang, Gu & Poole 2017; the concrete distribution of Maddison,
Mnih & Teh 2017), also straight-through. Or leave them: the score function (Williams 1992, REINFORCE), as policies are
trained, and strings in SeqGAN (Yu et al. 2017), whose rollouts are not made here: a string has one reward, at its end.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import log_softmax, one_hot

from simulacra import randomness
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import At, Rows, Terms
from simulacra.models.adversary import Adversary
from simulacra.models.gan import GAN, GANConfig
from simulacra.networks.recurrent import AtOnce, Recurrent
from simulacra.precision import widen

Estimator = Literal["gumbel", "straight-through", "score"]
Choice = Callable[[Tensor], Tensor]
"""Of logits with Gumbel noise `[N, V]`, characters `[N, V]`."""


def gumbel(u: Tensor) -> Tensor:
    """Standard Gumbel noise of uniform numbers u on [0, 1), −log(−log u) (Jang et al. 2017, §2, footnote), finite."""
    tiny = torch.finfo(u.dtype).tiny
    return -(-u.clamp_min(tiny).log()).clamp_min(tiny).log()


def hardest(scores: Tensor) -> Tensor:
    """One-hot of the largest of scores `[..., V]`: of logits with Gumbel noise, a draw from their softmax (Jang et al.
    2017, eq. 1: the Gumbel-max trick)."""
    return one_hot(scores.argmax(-1), scores.shape[-1]).to(scores.dtype)


def relaxed(scores: Tensor, temperature: float) -> Tensor:
    """softmax(scores / τ): of logits with Gumbel noise, a Gumbel-softmax sample (Jang et al. 2017, eq. 2; Maddison et
    al. 2017, §3)."""
    return (scores / temperature).softmax(-1)


def straight_through(scores: Tensor, temperature: float) -> Tensor:
    """The value of `hardest` with the gradient of `relaxed` (Jang et al. 2017, §2.2)."""
    soft = relaxed(scores, temperature)
    return soft + (hardest(scores) - soft).detach()


def log_probability(characters: Tensor, logits: Tensor) -> Tensor:
    """log p `[N]` in nats of one-hot characters `[N, T, V]` under logits `[N, T, V]`: the sum over places of their
    log-softmax, each given those before."""
    return (characters * log_softmax(logits, -1)).sum((1, 2))


class StringsConfig(GANConfig):
    """What a generator of strings is made of."""

    alphabet: str = Field(
        default="x+-*/() ", min_length=2, description="the characters by number; the last is the blank"
    )
    autoregressive: bool = Field(
        default=True, description="characters one after the other (GRU), or at once given z (mlp)"
    )


class Written(NamedTuple):
    """Strings `[N, T, V]` as they were chosen, and the logits `[N, T, V]` of every character given those before."""

    characters: Tensor
    logits: Tensor


class Strings(GAN):
    """A generator G: (z, u) ↦ x of strings of T characters, one-hot rows `[N, T·V]`.

    Its latents are z and the uniform numbers u that the characters are drawn with: `[N, J + T·V]`. Given z, G draws
    character t from softmax of its logits.
    """

    name, Config = "strings", StringsConfig
    config: StringsConfig

    def _build(self, config: GANConfig, spec: Spec) -> nn.Module:
        assert isinstance(config, StringsConfig)
        length, characters = length_of(config.alphabet, spec), len(config.alphabet)
        if config.autoregressive:
            return Recurrent(config.latent, length, characters, config.width)
        return AtOnce(config.latent, length, characters, config.width, config.depth)

    def write(self, latents: Tensor, choice: Choice = hardest) -> Written:
        """Strings of latents [z, u], each character being `choice` of its logits with Gumbel noise."""
        z, u = latents.split([self.config.latent, self.spec.numel], 1)
        noise = gumbel(u).unflatten(1, (-1, len(self.config.alphabet)))
        return Written(*self.generator(z, lambda t, logits: choice(logits + noise[:, t])))

    def synthesise(self, latents: Tensor) -> Tensor:
        """G of latents [z, u]."""
        return self.write(latents).characters.flatten(1)

    def text(self, x: Tensor) -> list[str]:
        """The texts of rows `[N, T·V]`, without blanks at the end."""
        alphabet = self.config.alphabet
        tokens = x.unflatten(1, (-1, len(alphabet))).argmax(2).tolist()
        return ["".join(alphabet[token] for token in row).rstrip(alphabet[-1]) for row in tokens]

    def _noise(self, at: At) -> Tensor:
        return torch.cat([super()._noise(at), at.uniform(self.spec.numel)], 1)

    def _latents(self, n: int, threshold: float, seed: int, start: int) -> Tensor:
        u = randomness.sample_uniform(n, self.spec.numel, seed=randomness.key_of(seed, 2), start=start)
        return torch.cat([super()._latents(n, threshold, seed, start), u], 1)

    def written(self, at: At, choice: Choice) -> Written:
        """Strings of one fresh latent per row of the batch."""
        return self.write(self._noise(at), choice)


def length_of(alphabet: str, spec: Spec) -> int:
    """T, the characters in a row of `spec`. Raises UserError where rows are no strings over `alphabet`."""
    if spec.kind != "vector" or spec.numel % len(alphabet):
        what = "images" if spec.kind == "image" else f"vectors of {spec.numel} numbers"
        raise UserError(
            f"strings are one-hot over {len(alphabet)} characters, the data is {what}: train on --data grammar, or "
            "give the --alphabet of yours"
        )
    if len(set(alphabet)) < len(alphabet):
        raise UserError(f"alphabet {alphabet!r} names a character twice: give each once")
    return spec.numel // len(alphabet)


class DiscreteAdversary(Adversary):
    """The game on strings, the generator's gradient by `estimator`.

    `temperature` is a function of progress (unused by the score function); `decay` is of the moving average of the
    cost, the game's state `baseline`, that the score function subtracts.
    """

    model: Strings

    def __init__(
        self,
        *parts: Any,
        estimator: Estimator,
        temperature: Callable[[float], float],
        decay: float,
        **named: Any,
    ) -> None:
        super().__init__(*parts, **named)
        self.estimator, self.temperature, self.decay = estimator, temperature, decay

    def start(self) -> dict[str, Tensor]:
        """The game's state before the first step."""
        return super().start() | ({"baseline": torch.tensor(0.0)} if self.estimator == "score" else {})

    def made(self, batch: Rows, at: At) -> Tensor:
        """Generated rows, relaxed where the estimator is Gumbel-softmax, else one-hot."""
        return self.model.written(at, self._choice(at)).characters.flatten(1)

    def _choice(self, at: At) -> Choice:
        if self.estimator == "score":
            return hardest
        temperature = self.temperature(at.progress)
        law = relaxed if self.estimator == "gumbel" else straight_through
        return lambda scores: law(scores, temperature)

    def generate(self, batch: Rows, at: At) -> Terms:
        """G's cost. By the score function, its gradient E c(x) ∇log p(x) = E (c(x) − b) ∇log p(x), for the cost c that
        the objective makes of x (Williams 1992, theorem 1; Yu et al. 2017, policy gradient), b not a function of x."""
        if self.estimator != "score":
            return super().generate(batch, at)
        strings = self.model.written(at, hardest)
        cost = self._cost_of(strings.characters.flatten(1), batch, at).detach()
        baseline = at.state("baseline")
        at.write("baseline", baseline.lerp(cost.mean().to(baseline.dtype), 1.0 - self.decay))
        at.watch("cost", cost)
        log_p = log_probability(strings.characters, strings.logits)
        at.watch("log p", log_p)
        return self._steered({"fool": (cost - baseline) * log_p}, at)

    def _cost_of(self, x: Tensor, batch: Rows, at: At) -> Tensor:
        """What the objective says of each of the rows x: `[N]`."""
        critic, shown = self.critic(batch), self.sight(x, at)
        fake = widen(critic(shown))
        real = widen(critic(self.sight(batch.x, at))) if self.objective.paired or self.watched else None
        if self.watched and real is not None:
            self._watch(real, fake, at)
        terms = self.objective.generator(fake, real if self.objective.paired else None)
        return torch.stack([term.view(len(x)) for term in terms.values()]).sum(0)
