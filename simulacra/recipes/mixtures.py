"""Densities of Gaussians, set in closed form: the mixture by EM, naive Bayes by counting."""

from typing import Literal

import torch
from pydantic import Field

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import ClosedForm, Game, Player, Stage
from simulacra.models.covariances import COVARIANCES, CovarianceKind
from simulacra.models.gmm import GMM, ExpectationMaximisation, GMMConfig, KMeansPlusPlus
from simulacra.models.gnb import GNB, GNBConfig
from simulacra.recipes import Plan, recipe

START = 1 << 24
"""Numbers that the rows of a start may take together (128 MB in float64)."""
LARGEST = 1 << 30
"""Numbers that covariances may take together (8 GB in float64)."""


class GMMOptions(GMMConfig):
    """Options of the recipe `gmm`; what is left open follows from the data."""

    covariance: CovarianceKind | None = Field(
        default=None,
        description="full, tied, diagonal or spherical (default: full up to 1024 numbers in a row, then diagonal)",
    )
    dtype: Literal["float32", "float64"] | None = Field(
        default=None, description="precision of parameters and statistics (default: float64, but float32 on mps)"
    )
    em: Literal["passes", "stepwise"] = Field(
        default="passes", description="an M step after every pass over the data, or after every batch"
    )
    passes: int = Field(default=100, ge=1, description="passes over the data; --steps goes on beyond them")
    power: float | None = Field(
        default=None,
        gt=0.5,
        le=1,
        description="alpha of stepwise EM, whose statistics move by (t + 2)^-alpha to a batch's (0.6)",
    )
    floor: float | None = Field(
        default=None, gt=0, description="least variance in any direction (default: images 1e-3, vectors 1e-6)"
    )
    batch: int = Field(default=4096, ge=1, description="rows at a time; those of a start, and of a step of stepwise EM")


@recipe(
    "gmm",
    family="explicit densities",
    rows=["A1"],
    data="mnist",
    paper="Dempster, Laird & Rubin 1977, Maximum Likelihood from Incomplete Data via the EM Algorithm; "
    "stepwise: Cappé & Moulines 2009, arXiv:0712.4273",
    options=GMMOptions,
)
def gmm(spec: Spec, size: int, options: GMMOptions) -> Plan:
    """One player, moved in closed form: a k-means++ start, but for a warm one (`--from`), then EM.

    command   simulacra train gmm --data mnist --components 10
    budget    100 passes over the data: 3 seconds on digits, half a minute a pass on MNIST (one CPU core)
    score     MNIST, 10 full components, 10 passes: FID of samples 29.0 in the features of `mnist` (docs/results.md)
    """
    options = resolve(spec, size, options)
    model = GMM(options.part(GMMConfig), spec)
    player = Player(name="mixture", module=model)
    stepwise = options.em == "stepwise"
    em = ExpectationMaximisation(model, options.floor or 0.0, options.power)
    move = ClosedForm(
        name="em",
        players=["mixture"],
        statistics=em.expect,
        apply=em.maximise,
        each="batch" if stepwise else "pass",
    )
    steps = options.passes * -(-size // options.batch)
    stages = [
        _start(player, em, spec, options),
        Stage(name="em", game=Game([player], [move]), steps=steps, full_passes=0 if stepwise else 1),
    ]
    return Plan(model=model, stages=stages, batch=options.batch, options=options)


def _start(player: Player, em: ExpectationMaximisation, spec: Spec, options: GMMOptions) -> Stage:
    seeding = KMeansPlusPlus(em, max(START // spec.numel, options.components))
    move = ClosedForm(name="start", players=["mixture"], statistics=seeding.gather, apply=seeding.start, each="batch")
    return Stage(name="start", game=Game([player], [move]), steps=1, begins=True)


def resolve(spec: Spec, size: int, options: GMMOptions) -> GMMOptions:
    """Settle what was left open by the data. Raises UserError for more components than rows, covariances that would not
    fit, or a power that nothing is raised to."""
    k, d = options.components, spec.numel
    if k > size:
        raise UserError(f"{k} components for {size:,} rows: give --components {size} or fewer")
    if options.power and options.em != "stepwise":
        raise UserError("--power is of stepwise EM: leave it out, or add --em stepwise")
    if k > options.batch:
        raise UserError(f"a start draws the {k} means from one batch of {options.batch} rows: give --batch {k} or more")
    kind: CovarianceKind = options.covariance or ("full" if d <= 1024 else "diagonal")
    numbers = COVARIANCES[kind].numbers(k, d)
    if numbers > LARGEST:
        raise UserError(f"{k} {kind} covariances of {d:,} numbers in a row do not fit: give --covariance diagonal")
    on_mps = torch.empty(0).device.type == "mps"
    settled = {
        "covariance": kind,
        "dtype": options.dtype or ("float32" if on_mps else "float64"),
        "floor": options.floor or (1e-3 if spec.kind == "image" else 1e-6),
        "batch": min(options.batch, size),
        "power": options.power or (0.6 if options.em == "stepwise" else None),
    }
    return options.model_copy(update=settled)


class GNBOptions(GNBConfig):
    """Options of the recipe `gnb`; K follows from the data."""

    classes: int | None = Field(default=None, ge=1, description="K, number of classes (the data's)")
    batch: int = Field(default=4096, ge=1, description="rows at a time")


@recipe(
    "gnb",
    family="explicit densities",
    rows=["A2"],
    data="mnist",
    paper="Ng & Jordan 2001, On Discriminative vs. Generative Classifiers: A Comparison of Logistic Regression and "
    "Naive Bayes (NIPS 14; not on arXiv)",
    options=GNBOptions,
)
def gnb(spec: Spec, size: int, options: GNBOptions) -> Plan:
    """One player, set in closed form by counting.

    command   simulacra train gnb --data mnist; simulacra sample RUN --label 3
    budget    two passes over the data, the second about the means of the first
    score     MNIST: 55.6 % of test images named rightly, FID of samples 102.6 in the features of `mnist`, after 9
              seconds on one CPU core (docs/results.md)
    """
    if not spec.classes:
        raise UserError("gnb needs classes, and the data has none: sort images into a folder per class")
    if options.classes not in (None, len(spec.classes)):
        raise UserError(f"the data has {len(spec.classes)} classes, not {options.classes}: leave out --classes")
    options = options.model_copy(update={"classes": len(spec.classes), "batch": min(options.batch, size)})
    model = GNB(options.part(GNBConfig), spec)
    move = ClosedForm(name="count", players=["classifier"], statistics=model.count, apply=model.estimate)
    game = Game([Player(name="classifier", module=model)], [move])
    stage = Stage(name="count", game=game, steps=2 * -(-size // options.batch), full_passes=2)
    return Plan(model=model, stages=[stage], batch=options.batch, options=options)
