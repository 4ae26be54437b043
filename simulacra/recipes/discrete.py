"""*strings*: a GAN of discrete outputs."""

from collections.abc import Callable

from pydantic import Field

from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.models.discrete import DiscreteAdversary, Estimator, Strings, StringsConfig, length_of
from simulacra.models.discriminator import DiscriminatorConfig, discriminator
from simulacra.optimizers import Adam, Schedule
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.two_players import ObjectiveName, TwoPlayerOptions, check, plan, rules_of, sight_of

TEMPERATURES = (1.0, 0.5)
DECAY = 0.9


class StringsOptions(TwoPlayerOptions):
    """Options of the recipe `strings`."""

    objective: ObjectiveName = Field(default="relativistic", description=f"what both descend: {', '.join(OBJECTIVES)}")
    generator: Adam = Adam(lr=1e-3, betas=(0.5, 0.99))
    discriminator: Adam = Adam(lr=1e-3, betas=(0.5, 0.99))
    schedule: Schedule = Field(default="linear", description="how the learning rates fall over the horizon")
    average: float | None = Field(
        default=0.99, ge=0, lt=1, description="decay of the generator's average; null for none"
    )
    r1: float = Field(default=0.2, ge=0, description="weight of the R1 penalty on real strings; 0 for none")
    r1_every: int = Field(
        default=4, ge=1, description="steps of D from one R1 or R2 penalty to the next, whose weight it is times"
    )
    estimator: Estimator = Field(
        default="score", description="of the generator's gradient: gumbel, straight-through or score"
    )
    temperature: float | None = Field(
        default=None, gt=0, description=f"of the relaxation at the start (default: {TEMPERATURES[0]}; not of score)"
    )
    final_temperature: float | None = Field(
        default=None, gt=0, description=f"at the end, approached geometrically (default: {TEMPERATURES[1]})"
    )
    baseline: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description=f"decay of the mean cost that score subtracts (default: {DECAY}; score alone)",
    )
    alphabet: str = Field(
        default="x+-*/() ", min_length=2, description="the characters by number; the last is the blank"
    )
    autoregressive: bool = Field(
        default=True, description="characters one after the other (GRU), or at once given z (mlp)"
    )
    latent: int = Field(default=16, ge=1, description="dimensions of the latent z")
    width: int = Field(default=64, ge=1, description="units of the generator's layers")
    depth: int = Field(default=2, ge=1, le=100, description="hidden layers of perceptrons")
    discriminator_width: int = Field(default=256, ge=1, description="units of the discriminator's hidden layers")


@recipe(
    "strings",
    family="adversarial",
    rows=["B12"],
    data="grammar",
    paper="Jang, Gu & Poole 2017, Categorical Reparameterization with Gumbel-Softmax, arXiv:1611.01144; "
    "Williams 1992, Simple Statistical Gradient-Following Algorithms, Machine Learning 8",
    options=StringsOptions,
)
def strings(spec: Spec, size: int, options: StringsOptions) -> Plan:
    """The generator writes strings; its gradient is had by relaxing their characters, or by the score function.

    command   simulacra train strings --data grammar; then simulacra sample RUN --out strings.txt
    budget    5 passes over the data, 4 000 to 8 000 steps: 2 minutes of one core
    score     8 000 steps: 98.4 % of 10 000 strings are grammatical, 1 467 different ones of 1 477 (the data's own law:
              1 475), 0.10 nats from uniform (0.08): docs/results.md
    """
    options = resolve(spec, options)
    sight = sight_of(options, spec)
    model, critic = Strings(options.part(StringsConfig), spec), discriminator(_critic_config(options), sight.spec(spec))
    costs = DiscreteAdversary(
        model,
        critic,
        **rules_of(options),
        sight=sight,
        estimator=options.estimator,
        temperature=cooling(options),
        decay=DECAY if options.baseline is None else options.baseline,
    )
    return plan(options, costs, budget(5, size, options.batch, within=(4000, 8000)))


def resolve(spec: Spec, options: StringsOptions) -> StringsOptions:
    """The options with what they leave open settled, and checked."""
    length_of(options.alphabet, spec)
    check(options, _critic_config(options))
    if options.estimator == "score":
        _check_score(options)
        return options.model_copy(update={"baseline": DECAY if options.baseline is None else options.baseline})
    if options.baseline is not None:
        raise UserError(f"baseline is of the score function, the estimator is {options.estimator}: leave it out")
    first, last = options.temperature or TEMPERATURES[0], options.final_temperature or TEMPERATURES[1]
    return options.model_copy(update={"temperature": first, "final_temperature": last})


def cooling(options: StringsOptions) -> Callable[[float], float]:
    """The temperature as a function of progress, geometric (after Jang et al. 2017, §4, where it
    falls exponentially, to 0.5); 1 where there is none."""
    first, last = options.temperature or 1.0, options.final_temperature or 1.0
    return lambda progress: first * (last / first) ** progress


def _check_score(options: StringsOptions) -> None:
    """Refuse what the score function cannot work with, by name."""
    if options.temperature or options.final_temperature:
        raise UserError("the score function relaxes nothing: leave out --temperature and --final-temperature")
    if options.feature_matching or options.unrolled:
        raise UserError("the score function has no gradient by samples: leave out --feature-matching and --unrolled")
    if options.pack > 1 or options.minibatch != "none":
        raise UserError("the score function rewards each string by itself: leave out --pack and --minibatch")
    if options.rule in ("consensus", "half-squared-field"):
        raise UserError(f"rule {options.rule} is of second derivatives, which the score function lacks: leave it out")


def _critic_config(options: StringsOptions) -> DiscriminatorConfig:
    return options.part(DiscriminatorConfig, width=options.discriminator_width)
