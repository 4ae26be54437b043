"""Generative moment matching networks, in data space and in the code space of an autoencoder."""

from typing import Literal

from pydantic import Field

from simulacra.config import Numbers, Shares, Sizes
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Game, Move, Player, Round, Stage
from simulacra.models.gmmn import GMMN, CodeGMMN, CodeGMMNConfig, Discrepancy, GMMNConfig, MomentMatching
from simulacra.optimizers import Adam, Schedule, schedule
from simulacra.recipes import Plan, budget, recipe

IMAGES, VECTORS = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0), (0.001, 0.01, 0.1, 1.0)
"""Bandwidths: of 784 pixels as in the paper, and ours for points about 1 apart."""


class GMMNOptions(GMMNConfig):
    """Options of the recipe `gmmn`; what is left open follows from the data."""

    space: Literal["data", "code"] = Field(
        default="data", description="where moments are matched: data, or autoencoder's codes"
    )
    bandwidths: Numbers | None = Field(
        default=None,
        description="sigma of the kernels exp(-d²/2 sigma), in squared distances of pixels in [0, 1], vectors or codes "
        "(default: images 2,5,10,20,40,80 per 784 pixels, vectors 0.001,0.01,0.1,1, codes 1/32, 1/16, 1/8 and 1/4 "
        "of their mean squared distance)",
    )
    objective: Discrepancy = Field(default="root", description="root of MMD², MMD² (squared), or its unbiased estimate")
    batch: int = Field(default=1000, ge=2, description="rows per step, and as many samples")
    optimizer: Adam = Adam(lr=1e-3)
    schedule: Schedule = Field(default="cosine", description="how the learning rate falls over the horizon")
    average: float | None = Field(
        default=0.99, ge=0, lt=1, description="decay of the generator's averaged weights; null for none"
    )
    code: int | None = Field(default=None, ge=1, description="units of a code (32)")
    encoder: Sizes | None = Field(default=None, description="units of the encoder's hidden layers (1024)")
    dropout: Shares | None = Field(
        default=None, description="share of the inputs that each layer of the encoder loses while it learns (0.2,0.5)"
    )
    activation: Literal["relu", "sigmoid"] | None = Field(
        default=None, description="the autoencoder's hidden layers (sigmoid)"
    )
    autoencoder: Adam = Adam(lr=1e-3)
    autoencoder_share: float | None = Field(
        default=None, gt=0, lt=1, description="of all steps, those in which the autoencoder learns (0.5)"
    )


@recipe(
    "gmmn",
    family="explicit densities",
    rows=["A16"],
    data="mnist",
    paper="Li, Swersky & Zemel 2015, Generative Moment Matching Networks, arXiv:1502.02761",
    options=GMMNOptions,
)
def gmmn(spec: Spec, size: int, options: GMMNOptions) -> Plan:
    """The generator descends √MMD²; in code space an autoencoder descends its reconstruction error in a stage before.

    command   simulacra train gmmn --data mnist; simulacra train gmmn --data mnist --space code
    budget    50 passes over the data, 2000 to 40 000 steps of 1000 rows; as many again in code space
    score     50 000 images of MNIST, 40 000 steps in code space, an eighth of them its autoencoder's: Parzen windows
              293.2 ± 1.9 nats, FID 6.5 in the features of `mnist`, after 78 minutes on one CPU core (docs/results.md)
    """
    options = resolve(spec, options)
    steps, stages = budget(50, size, options.batch, within=(2000, 40_000)), []
    if (share := options.autoencoder_share) is None:
        model = GMMN(options.part(GMMNConfig), spec)
    else:
        model, steps = CodeGMMN(options.part(CodeGMMNConfig), spec), 2 * steps
        stages.append(_autoencoder(model, max(round(share * steps), 1), options))
    matching = MomentMatching(model, options.bandwidths, options.objective)
    player = Player(
        name="generator",
        module=model.generator,
        optimizer=options.optimizer,
        average=options.average,
        rate=schedule(options.schedule),
    )
    game = Game([player], [Round(Move(name="match", players=["generator"], cost=matching.cost))])
    left = max(steps - sum(stage.steps for stage in stages), 1)
    stages.append(Stage(name="match", game=game, steps=left))
    least = 2 if options.bandwidths is None or options.objective == "unbiased" else 1  # rows have distances in pairs
    return Plan(model=model, stages=stages, batch=options.batch, options=options, least=least)


def _autoencoder(model: CodeGMMN, steps: int, options: GMMNOptions) -> Stage:
    player = Player(
        name="autoencoder", module=model.autoencoder, optimizer=options.autoencoder, rate=schedule(options.schedule)
    )
    move = Move(name="reconstruct", players=["autoencoder"], cost=model.reconstruction)
    return Stage(name="autoencoder", game=Game([player], [Round(move)]), steps=steps)


def resolve(spec: Spec, options: GMMNOptions) -> GMMNOptions:
    """Settle what was left open by the data's shape; bandwidths of codes stay open. Raises UserError for options that
    would be ignored, or bandwidths that are not positive."""
    layers = 2 if options.encoder is None else len(options.encoder) + 1
    own = {"code": 32, "encoder": (1024,), "dropout": (0.2, 0.5)[:layers], "activation": "sigmoid"}
    own |= {"autoencoder_share": 0.5}
    if options.space == "data":
        if given := [name.replace("_", "-") for name in own if getattr(options, name) is not None]:
            raise UserError(f"--{given[0]} is of the autoencoder: leave it out, or add --space code")
        if options.autoencoder != GMMNOptions.model_fields["autoencoder"].default:
            raise UserError("--autoencoder.* is of the autoencoder: leave it out, or add --space code")
        own = {}
    settled = {name: value for name, value in own.items() if getattr(options, name) is None}
    chosen = options.model_copy(update=settled)
    if len(chosen.dropout or ()) > layers:
        raise UserError(f"--dropout takes a share for each of {layers} layers of the encoder at most")
    sigmas = chosen.bandwidths or (_bandwidths(spec) if chosen.space == "data" else None)
    if sigmas and min(sigmas) <= 0:
        raise UserError("--bandwidths are squared distances, all above 0")
    return chosen.model_copy(update={"bandwidths": sigmas})


def _bandwidths(spec: Spec) -> tuple[float, ...]:
    """Squared distances grow with the numbers in a row, and so do their bandwidths."""
    return tuple(sigma * spec.numel / 784 for sigma in IMAGES) if spec.kind == "image" else VECTORS
