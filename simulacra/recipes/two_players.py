"""The game of a generator and a discriminator that every plain GAN plays: what it can be told, and its rounds."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, TypedDict

from pydantic import AfterValidator, Field
from torch import Tensor, nn

from simulacra.augment.differentiable import POLICIES, numbers
from simulacra.config import Config, Words
from simulacra.costs.adversarial import OBJECTIVES, Objective
from simulacra.costs.smoothing import smoothed
from simulacra.data.spec import Spec
from simulacra.errors import UserError, unknown
from simulacra.game import Cost, Game, Move, Player, Round, Stage
from simulacra.models.adversary import Adversary, Penalties, Tricks
from simulacra.models.discriminator import DiscriminatorConfig, discriminator
from simulacra.models.gan import GAN, GANConfig
from simulacra.models.sight import Sight
from simulacra.optimizers import Adam, Schedule, schedule
from simulacra.recipes import Plan
from simulacra.rules import Rule, consensus, extragradient, half_squared_field, leave

log = logging.getLogger(__name__)


def known_objective(name: str) -> str:
    """`name`. Raises UserError, with the nearest one, where there is no such objective."""
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    return name


ObjectiveName = Annotated[str, AfterValidator(known_objective)]


class TwoPlayerOptions(Config):
    """What every game of a generator and a discriminator can be told."""

    objective: ObjectiveName = Field(
        default="non-saturating", description=f"what both descend: {', '.join(OBJECTIVES)}"
    )
    prior: Literal["normal", "uniform"] = Field(default="normal", description="p(z): N(0, 1) or uniform on [-1, 1]")
    batch: int = Field(default=64, ge=1, description="images per step")
    generator: Adam = Adam(lr=2e-4, betas=(0.5, 0.999))
    discriminator: Adam = Adam(lr=2e-4, betas=(0.5, 0.999))
    discriminator_steps: int = Field(default=1, ge=1, description="k, discriminator steps per generator step")
    generator_steps: int = Field(default=1, ge=1, description="generator steps in a row")
    rest_above: float | None = Field(
        default=None,
        gt=0.5,
        le=1,
        description="the discriminator rests while it ranks more than this share of pairs rightly",
    )
    schedule: Schedule = Field(default="constant", description="how the learning rates fall over the horizon")
    average: float | None = Field(
        default=0.999, ge=0, lt=1, description="decay of the generator's average; null for none"
    )
    clip: float = Field(default=0.0, ge=0, description="bound on the discriminator's weights (WGAN); 0 for none")
    spectral: bool = Field(default=False, description="spectral normalisation of the discriminator's layers")
    power_iterations: int = Field(
        default=1, ge=1, description="steps of power iteration per pass of spectral normalisation"
    )
    gradient_penalty: float = Field(
        default=0.0, ge=0, description="weight of the gradient penalty (WGAN-GP); 0 for none"
    )
    one_sided: bool = Field(default=False, description="penalise only gradients above 1")
    dragan: float = Field(
        default=0.0, ge=0, description="weight of the penalty around real images (DRAGAN); 0 for none"
    )
    dragan_spread: float = Field(default=1.0, gt=0, description="variance of DRAGAN's noise")
    orthogonal: float = Field(default=0.0, ge=0, description="weight of making the discriminator's filters orthogonal")
    orthonormal: float = Field(default=0.0, ge=0, description="weight of making them orthogonal and of unit length")
    r1: float = Field(default=0.0, ge=0, description="weight of the R1 penalty on real images; 0 for none")
    r2: float = Field(default=0.0, ge=0, description="weight of the R2 penalty on generated images; 0 for none")
    fade: float = Field(
        default=1.0, gt=0, le=1, description="share of r1 and r2 left at the end, approached geometrically"
    )
    r1_every: int = Field(
        default=16, ge=1, description="steps of D from one R1 or R2 penalty to the next, whose weight it is times"
    )
    unrolled: int = Field(
        default=0,
        ge=0,
        description="K, discriminator steps that the generator looks ahead; 0 for none (paper: of minimax)",
    )
    unrolled_rate: float = Field(default=0.1, gt=0, description="learning rate of those steps, plain descent")
    smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="one-sided label smoothing: real samples are this much fake"
    )
    adversarial: float = Field(
        default=1.0, ge=0, description="weight of the generator's own cost; 0 to match features alone"
    )
    feature_matching: float = Field(default=0.0, ge=0, description="weight of matching mean features for the generator")
    historical: float = Field(default=0.0, ge=0, description="weight of historical averaging, for both players")
    minibatch: Literal["none", "discrimination", "deviation"] = Field(
        default="none", description="a layer of the discriminator in which rows see each other"
    )
    augment: Words = Field(default=(), description=f"augmentations of all it sees: {', '.join(POLICIES)}, with commas")
    adapt: float = Field(
        default=0.0, ge=0, lt=1, description="target of adaptive augmentation (paper: 0.6); 0 for none"
    )
    instance_noise: float = Field(
        default=0.0,
        ge=0,
        description="deviation of the noise on what the discriminator sees, falling to nothing; 0 for none",
    )
    pack: int = Field(default=1, ge=1, description="rows that the discriminator judges together (PacGAN)")
    turns: Literal["alternating", "simultaneous"] = Field(default="alternating", description="who moves when")
    rule: Literal["none", "consensus", "extragradient", "half-squared-field"] = Field(
        default="none", description="what simultaneous moves make of their gradients"
    )
    consensus: float = Field(
        default=1.0,
        ge=0,
        description="gamma, weight of half the squared field in consensus (paper: 10, at rates of 1e-4)",
    )


def two_players(
    spec: Spec, options: TwoPlayerOptions, generator: GANConfig, critic_config: DiscriminatorConfig, steps: int
) -> Plan:
    """The plain game on the networks of two configs."""
    check(options, critic_config)
    model, sight = GAN(generator, spec), sight_of(options, spec)
    critic = discriminator(critic_config, sight.spec(spec))
    return plan(options, Adversary(model, critic, **rules_of(options), sight=sight), steps)


def plan(options: TwoPlayerOptions, costs: Adversary, steps: int) -> Plan:
    """The game of `costs`: k steps of D, every so many of them with its lazy penalty, then G; or both at once, under a
    rule."""
    model, rate = costs.model, schedule(options.schedule)
    bound = partial(clipped, bound=options.clip) if options.clip else None
    critic = Player(
        name="discriminator", module=costs.discriminator, optimizer=options.discriminator, rate=rate, projection=bound
    )
    generator = Player(name="generator", module=model, optimizer=options.generator, rate=rate, average=options.average)
    game = Game([critic, generator], _rounds(options, costs), state=costs.start())
    stages = [Stage(name="train", game=game, steps=steps)]
    least = options.pack * (1 if options.minibatch == "none" else 2)  # minibatch layers compare judgements
    return Plan(model=model, stages=stages, batch=options.batch, options=options, pack=options.pack, least=least)


def _rounds(options: TwoPlayerOptions, costs: Adversary) -> list[Round]:
    k, every = options.discriminator_steps, options.r1_every
    critic, bound = ["discriminator"], options.rest_above or 1.0

    def awake(state: Mapping[str, Tensor]) -> bool:
        return "lead" not in state or bool(state["lead"] <= bound)

    discriminate = Move(name="discriminate", players=critic, cost=costs.discriminate, times=k, when=awake)
    penalise = Move(name="penalise", players=critic, cost=costs.penalise, times=k, every=every, when=awake)
    generate = Move(name="generate", players=["generator"], cost=costs.generate, times=options.generator_steps)
    lazy = [penalise] if options.r1 or options.r2 else []
    if options.turns == "simultaneous":
        return [Round(discriminate, *lazy, generate, rule=RULES[options.rule](options))]
    return [Round(discriminate, *lazy), Round(generate)]


def taking_turns(discriminate: Cost, generate: Cost) -> list[Round]:
    """A step of the discriminator, then one of the generator."""
    return [alone("discriminate", "discriminator", discriminate), alone("generate", "generator", generate)]


def alone(name: str, player: str, cost: Cost) -> Round:
    """A round of one move of one player."""
    return Round(Move(name=name, players=[player], cost=cost))


def learning_game(options: Any, costs: Any, judge: nn.Module, generator: nn.Module, adversarial: bool) -> Game:
    """Discriminator and generator in turns, both averaged, as `options` say; without `adversarial` the discriminator
    and labels alone. `costs` has `discriminate`, `generate` and `learn`."""
    rate, average = schedule(options.schedule), options.average
    critic = Player(name="discriminator", module=judge, optimizer=options.discriminator, rate=rate, average=average)
    if not adversarial:
        return Game([critic], [alone("learn", "discriminator", costs.learn)])
    maker = Player(name="generator", module=generator, optimizer=options.generator, rate=rate, average=average)
    return Game([critic, maker], taking_turns(costs.discriminate, costs.generate))


RULES: dict[str, Callable[[TwoPlayerOptions], Rule]] = {
    "none": lambda options: leave,
    "consensus": lambda options: consensus(options.consensus),
    "extragradient": lambda options: extragradient,
    "half-squared-field": lambda options: half_squared_field,
}


class Rules(TypedDict):
    """What the options say of an `Adversary` beside its networks and its sight."""

    objective: Objective
    tricks: Tricks
    penalties: Penalties
    unrolled: tuple[int, float]
    watched: bool


def rules_of(options: TwoPlayerOptions) -> Rules:
    """The objective, smoothed if wanted, the penalties and the generator's view ahead."""
    objective = OBJECTIVES[options.objective]
    penalties = Penalties(
        gradient=options.gradient_penalty,
        one_sided=options.one_sided,
        dragan=options.dragan,
        spread=options.dragan_spread,
        orthogonal=options.orthogonal,
        orthonormal=options.orthonormal,
        r1=options.r1,
        r2=options.r2,
        fade=options.fade or 1.0,
    )
    return Rules(
        objective=smoothed(objective, options.smoothing) if options.smoothing else objective,
        tricks=Tricks(
            adversarial=options.adversarial, matching=options.feature_matching, historical=options.historical
        ),
        penalties=penalties,
        unrolled=(options.unrolled, options.unrolled_rate),
        watched=options.rest_above is not None,
    )


def sight_of(options: TwoPlayerOptions, spec: Spec) -> Sight:
    """What the discriminator is shown. Raises UserError where the batch does not fill packs."""
    if options.batch % options.pack:
        raise UserError(f"batch {options.batch} does not divide into packs of {options.pack}: choose another --batch")
    if (options.augment or options.adapt) and spec.kind != "image":
        raise UserError("augmentations are of images, the data is vectors: leave out --augment and --adapt")
    numbers(options.augment)
    return Sight(augment=options.augment, adapt=options.adapt, noise=options.instance_noise, pack=options.pack)


def clipped(module: nn.Module, bound: float) -> None:
    """Clamp every parameter to ±`bound` (Arjovsky, Chintala & Bottou 2017, Algorithm 1, line 7)."""
    for parameter in module.parameters():
        parameter.clamp_(-bound, bound)


def check(options: TwoPlayerOptions, critic: DiscriminatorConfig) -> None:
    """Refuse what cannot work together or does nothing, warn of what will not work well; each by name."""
    refuse_idle(options, HOSTS)
    if options.rule != "consensus" and options.consensus != TwoPlayerOptions.model_fields["consensus"].default:
        raise UserError(
            "consensus does nothing without rule consensus, which is off: turn it on, or leave out consensus"
        )
    if options.smoothing:
        smoothed(OBJECTIVES[options.objective], options.smoothing)
    if options.minibatch != "none" and options.batch // options.pack < 2:
        raise UserError("a minibatch layer compares rows, and one alone is judged: choose a larger --batch")
    if options.clip and options.spectral:
        raise UserError("clip bounds weights that spectral divides by their norm, so it would do nothing: choose one")
    if options.turns == "alternating" and options.rule != "none":
        raise UserError(f"rule {options.rule} is of simultaneous moves: give --turns simultaneous too")
    if options.turns == "simultaneous" and max(options.discriminator_steps, options.generator_steps) > 1:
        raise UserError("simultaneous moves are one each: leave discriminator_steps and generator_steps at 1")
    if options.turns == "simultaneous" and options.rest_above:
        raise UserError("simultaneous moves are made by both: leave out rest_above, or alternate")
    if not options.adversarial and not options.feature_matching:
        raise UserError("with adversarial 0 the generator descends nothing: give --feature-matching 1, say")
    if options.feature_matching and options.unrolled:
        raise UserError("features are of the present discriminator, not of one ahead: leave out --unrolled")
    if options.adapt and not (OBJECTIVES[options.objective].probability or options.objective == "hinge"):
        raise UserError(f"adapt reads the sign of scores, which means nothing under {options.objective}: use --augment")
    penalised = bool(options.gradient_penalty or options.dragan or options.r1 or options.r2)
    if (
        options.rule in ("consensus", "half-squared-field")
        and critic.norm == "batch"
        and (penalised or options.unrolled)
    ):
        raise UserError(
            f"rule {options.rule} takes a third derivative here, batch norm has none: give --discriminator-norm none"
        )
    _warn(options, critic, penalised)


HOSTS: dict[str, tuple[str, ...]] = {
    "one_sided": ("gradient_penalty",),
    "dragan_spread": ("dragan",),
    "power_iterations": ("spectral",),
    "fade": ("r1", "r2"),
    "r1_every": ("r1", "r2"),
    "unrolled_rate": ("unrolled",),
}
"""Options that say how another one works, and that one (or either of two)."""


def refuse_idle(options: Config, hosts: Mapping[str, Sequence[str]]) -> None:
    """Raise UserError for an option that says how another, or one of several, works where all of those are off."""
    for name, others in hosts.items():
        own = getattr(options, name) != type(options).model_fields[name].default
        if own and not any(getattr(options, other) for other in others):
            raise UserError(
                f"{name} does nothing without {' or '.join(others)}, which is off: turn it on, or leave out {name}"
            )


def _warn(options: TwoPlayerOptions, critic: DiscriminatorConfig, penalised: bool) -> None:
    if options.objective == "wasserstein" and not (penalised or options.clip or options.spectral):
        log.warning("wasserstein wants a constrained critic: --clip 0.01, --gradient-penalty 10 or --spectral true")
    if critic.norm == "batch" and penalised:
        log.warning("a gradient penalty is of single rows, batch norm mixes them: --discriminator-norm none suits it")
    if penalised and critic.minibatch != "none":
        log.warning("a gradient penalty is of single rows, minibatch layers mix them: leave out --minibatch")
    if options.clip and (options.gradient_penalty or options.dragan):
        log.warning("clipped weights bound the slopes that a gradient penalty wants at its own value: choose one")
    if options.clip and (options.r1 or options.r2):
        log.warning("clipped weights and penalties of slopes both hold the discriminator back: choose one")
    if options.clip and options.orthonormal:
        log.warning(
            f"orthonormal wants filters of length 1, clip keeps their numbers within {options.clip}: choose one"
        )
    if options.spectral and critic.norm == "batch":
        log.warning("batch norm scales what spectral has bounded: --discriminator-norm none suits it")
    if options.unrolled and (penalised or options.clip or options.orthogonal or options.orthonormal):
        log.warning("unrolled looks ahead along the objective alone: without penalties, clipping, or Adam's moments")
