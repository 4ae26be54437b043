"""Where something ordinary ends and an alarm begins: every number, with its reason."""

from math import ceil

from pydantic import Field

from simulacra.config import Config


class Thresholds(Config):
    """Bounds of all detectors. Shares of training are of its budget in steps."""

    grace: float = Field(
        default=0.1, ge=0, le=1, description="share of training that is not judged: all networks begin bad"
    )
    grace_steps: int = Field(
        default=500, ge=0, description="steps at least of it: samples are alike at first, and part by then"
    )
    window: float = Field(
        default=0.1, gt=0, le=1, description="share of training that has to look bad: one step says nothing"
    )
    lines: int = Field(
        default=10, ge=2, description="lines of the log that a median is of at least, or it is of single steps"
    )
    start: int = Field(default=5, ge=1, description="first lines whose median is a gradient's start")

    exploding: float = Field(
        default=1e3, gt=1, description="gradient over its start: healthy ones grew 2- to 64-fold (MNIST)"
    )
    vanishing: float = Field(
        default=1e-3, gt=0, lt=1, description="gradient over its start: healthy ones stay above a third"
    )
    smallest: float = Field(default=1e-8, gt=0, description="gradient per parameter: Adam's epsilon, which stops it")
    overpowered: float = Field(
        default=0.005,
        gt=0,
        lt=1,
        description="D's cost over that of a D that knows nothing: healthy dcgans begin at 0.02",
    )
    chance: float = Field(default=1.5, ge=1, description="accuracy over chance that a classifier must reach")
    swing: float = Field(
        default=0.4, gt=0, lt=1, description="autocorrelation: below minus this at half a period, above it at one"
    )
    amplitude: float = Field(
        default=0.5, gt=0, description="deviation of a swing over its mean size: less is no danger"
    )
    swings: int = Field(default=60, ge=8, description="lines of the log in which three periods are looked for at least")

    slope: float = Field(
        default=10.0, gt=1, description="Wasserstein: gap of scores per distance; 1 is the bound of theory"
    )
    flat: float = Field(
        default=1e-4, gt=0, description="deviation of all scores: no gradient worth the name comes of less"
    )
    unranked: float = Field(
        default=0.55, ge=0.5, lt=1, description="share of pairs ranked rightly: chance is 0.5 +- 0.05"
    )
    unranked_for: int = Field(
        default=3, ge=1, description="probes in a row: healthy critics are outrun for two, down to 0.36"
    )
    told_apart: float = Field(
        default=0.9,
        gt=0.5,
        le=1,
        description="share of rows whose nearest row is of their own kind: 1/2 where laws are equal",
    )
    diversity: float = Field(
        default=0.25, gt=0, lt=1, description="mean distance between samples over that of real rows"
    )
    rising: float = Field(
        default=1.1, gt=1, description="diversity over that of the probe before, of samples that still part"
    )
    nearest: float = Field(
        default=0.15,
        gt=0,
        lt=1,
        description="median distance to the nearest sample over real rows', times the latents' room",
    )
    distinct: float = Field(
        default=0.9, gt=0, le=1, description="share of samples that are no copies of others: all, of 64"
    )
    alike_for: int = Field(
        default=2, ge=1, description="probes in a row that look collapsed: healthy ones may, once, and pass"
    )
    classes: float = Field(
        default=0.5, gt=0, lt=1, description="share of classes shown: 64 samples of 10 rarely miss one"
    )
    within: float = Field(
        default=0.1, gt=0, lt=1, description="mean distance between samples of a class over real ones' of it"
    )
    unrelated: float = Field(
        default=2.0, gt=0, description="standard errors above chance that labels must be foreseen by"
    )
    significant: float = Field(
        default=4.0, gt=0, description="standard errors above chance that count as better than it"
    )
    dead: float = Field(default=0.5, gt=0, le=1, description="share of a layer's ReLU units that no row switches on")
    dead_leaky: float = Field(
        default=0.95, gt=0, le=1, description="the same of leaky ones, which still pass a gradient"
    )
    weights: float = Field(
        default=50.0, gt=1, description="spectral norm over its start: 10-fold is ordinary from N(0, 0.02)"
    )
    memorised: float = Field(
        default=0.5, gt=0, lt=1, description="distance to the nearest training row over that of real rows"
    )
    overfit: float = Field(
        default=0.6,
        gt=0,
        description="held rows scored so far from training rows to samples: 1 of 64 rows, 0.4 of good digits",
    )

    duplicates: float = Field(
        default=0.9, gt=0, le=1, description="share of distinct rows: a tenth of copies is no accident"
    )
    constant: float = Field(
        default=0.5, gt=0, le=1, description="share of constant pixels: 0.15 of MNIST's are, at its edges"
    )
    range_images: float = Field(default=1.01, gt=1, description="largest size of a pixel, of images in [-1, 1]")
    range_vectors: float = Field(
        default=100.0, gt=1, description="largest size of a number: networks begin at unit scale"
    )

    every: float = Field(default=0.01, gt=0, le=1, description="share of training between two looks at the terms")
    absent: int = Field(default=3, ge=1, description="looks without an alarm until it is over: none flickers")

    def grown(self, goal: int) -> int:
        """The step from which on a training of `goal` steps is judged."""
        return ceil(max(self.grace * goal, self.grace_steps))

    def young(self, step: int, goal: int) -> bool:
        """Whether a training of `goal` steps is not to be judged yet."""
        return step < self.grown(goal)


DEFAULT = Thresholds.model_validate({})
"""Set by what digits and MNIST showed, MNIST with seeds 0 to 2 alone."""
