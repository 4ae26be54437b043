"""Autoencoders without a law of codes: *ae*, and those that are sampled by a Markov chain, *dae* and *gsn*."""

from functools import partial
from typing import Literal, TypeVar

from pydantic import Field

from simulacra.config import Numbers, Sizes
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.models.ae import AE, AEConfig
from simulacra.models.chain import Corruption
from simulacra.models.dae import DAE, DAEConfig
from simulacra.models.gsn import GSN, GSNConfig
from simulacra.recipes import Plan, recipe
from simulacra.recipes.coders import CoderOptions, coding, likelihood_of, settle
from simulacra.recipes.single import SingleOptions


class AEOptions(CoderOptions, AEConfig, SingleOptions):
    """Options of the recipe `ae`; what is left open follows from the data."""


class DAEOptions(CoderOptions, DAEConfig, SingleOptions):
    """Options of the recipe `dae`; what is left open follows from the data."""

    latent: int | None = Field(default=None, ge=1, description="dimensions of the code (default: 500, conv: 128)")
    corruption: Corruption | None = Field(
        default=None, description="what is undone (default: salt-and-pepper, of vectors gaussian)"
    )
    level: float | None = Field(
        default=None,
        gt=0,
        description="share of numbers destroyed (default: 0.4), or the gaussian's standard deviation (0.5)",
    )
    walkback: int = Field(
        default=4, ge=1, description="steps of the chain from the data, each asked for it; 1: the first alone"
    )


class GSNOptions(GSNConfig, SingleOptions):
    """Options of the recipe `gsn`; what is left open follows from the data."""

    hidden: Sizes = Field(
        default=(500, 500), min_length=1, max_length=20, description="units of the hidden layers, from x up"
    )
    noise: Numbers | None = Field(
        default=None,
        min_length=1,
        description="deviation of the noise before and after each hidden nonlinearity, of all layers or of each "
        "(default: 2 in the uppermost layer, none below; 0.3 in a single one)",
    )
    corruption: Corruption | None = Field(
        default=None, description="how x is corrupted (default: salt-and-pepper, of vectors gaussian)"
    )
    level: float | None = Field(
        default=None,
        gt=0,
        description="share of numbers destroyed (default: 0.4), or the gaussian's standard deviation (0.5)",
    )
    likelihood: Literal["bernoulli", "gaussian"] | None = Field(
        default=None, description="p(x|h): of bits, or of real values (default: bernoulli for one channel)"
    )
    sigma: float | None = Field(default=None, gt=0, description="standard deviation of the gaussian likelihood (0.1)")
    walkback: int = Field(default=4, ge=1, description="steps of the chain from the data, each asked for it")


@recipe(
    "ae",
    family="explicit densities",
    rows=["A7"],
    data="mnist",
    paper="Bengio, Courville & Vincent 2013, Representation Learning: A Review and New Perspectives, arXiv:1206.5538",
    options=AEOptions,
)
def ae(spec: Spec, size: int, options: AEOptions) -> Plan:
    """Encoder and decoder play as one and descend the reconstruction error. Nothing says which codes are likely, so the
    model has no samples.

    command   simulacra train ae --data mnist
    budget    100 passes over small sets, at most 40 000 steps
    score     MNIST, 20 latents, 20 000 steps: squared error of a test image 4.6 after 4 minutes on one CPU core
              (docs/results.md)
    """
    options = settle(spec, options)
    model = AE(options.part(AEConfig), spec)
    return coding(model, model.cost, size, options)


@recipe(
    "dae",
    family="explicit densities",
    rows=["A7"],
    data="mnist",
    paper="Bengio, Yao, Alain & Vincent 2013, Generalized Denoising Auto-Encoders as Generative Models, "
    "arXiv:1305.6663",
    options=DAEOptions,
)
def dae(spec: Spec, size: int, options: DAEOptions) -> Plan:
    """An autoencoder undoes corruption; corrupting and denoising in turn is a chain that samples, and walkback trains
    it where that chain goes.

    command   simulacra train dae --data mnist
    budget    100 passes over small sets, at most 40 000 steps; each costs as much as walkback of an autoencoder
    score     MNIST, a layer of 1 000 units, 20 000 steps: a FID of 17.4 in the features of `mnist`, of 2 000 samples,
              after 59 minutes on one CPU core (docs/results.md)
    """
    wished = options.latent
    options = corrupted(spec, settle(spec, options))
    latent = wished or {"mlp": 500, "conv": 128}[str(options.network)]
    options = options.model_copy(update={"latent": latent})
    model = DAE(options.part(DAEConfig), spec)
    return coding(model, partial(model.cost, walkback=options.walkback), size, options)


@recipe(
    "gsn",
    family="explicit densities",
    rows=["A8"],
    data="mnist",
    paper="Bengio, Laufer, Alain & Yosinski 2014, Deep Generative Stochastic Networks Trainable by Backprop, "
    "arXiv:1306.1091",
    options=GSNOptions,
)
def gsn(spec: Spec, size: int, options: GSNOptions) -> Plan:
    """Layers of noisy units, joined by weights used both ways, walk away from the data for some steps and are asked for
    it at each.

    command   simulacra train gsn --data mnist
    budget    100 passes over small sets, at most 40 000 steps; each costs as much as walkback of an autoencoder
    score     MNIST, 1000-1000 units, 20 000 steps: ten chains of 1 000 steps visit all ten digits, FID 16.5 in the
              features of `mnist`, after 117 minutes on one CPU core beside others (docs/results.md)
    """
    options = corrupted(spec, options.model_copy(update=likelihood_of(spec, options)))
    options = options.model_copy(update={"noise": options.noise or upmost(len(options.hidden))})
    model = GSN(options.part(GSNConfig), spec)
    return coding(model, partial(model.cost, walkback=options.walkback), size, options)


def upmost(layers: int) -> tuple[float, ...]:
    """A deviation of noise for each layer: in the uppermost of several, the lower ones being left to carry the picture;
    or a little in the only one."""
    return (*[0.0] * (layers - 1), 2.0) if layers > 1 else (0.3,)


Options = TypeVar("Options", DAEOptions, GSNOptions)


def corrupted(spec: Spec, options: Options) -> Options:
    """The options with a corruption that suits the data. Raises UserError for one that does not, and for a share above
    one."""
    kind = options.corruption or ("salt-and-pepper" if spec.kind == "image" else "gaussian")
    level = options.level or (0.5 if kind == "gaussian" else 0.4)
    if kind == "salt-and-pepper" and spec.kind != "image":
        raise UserError("--corruption salt-and-pepper is black and white of images, the data is vectors: use gaussian")
    if kind != "gaussian" and level > 1:
        raise UserError(f"--level {level:g} is the share of numbers that {kind} destroys: give at most 1")
    return options.model_copy(update={"corruption": kind, "level": level})
