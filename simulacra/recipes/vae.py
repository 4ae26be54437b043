"""Variational autoencoders: *vae*, the same trained by an importance weighted bound (*iwae*), *hvae*, and *svi*, which
amortises nothing."""

from functools import partial
from typing import Literal, TypeVar

from pydantic import Field

from simulacra.config import Sizes
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.models.hvae import HVAE, HVAEConfig
from simulacra.models.svi import SVI, SVIConfig
from simulacra.models.vae import VAE, VAEConfig
from simulacra.recipes import Plan, recipe
from simulacra.recipes.coders import CoderOptions, coding, likelihood_of, settle
from simulacra.recipes.single import SingleOptions

WARMING = "share of the horizon over which the divergence's weight rises from nothing"
LAYERS_WARM_UP = 0.25  # without it an upper layer of latents is the prior after some thousand steps, and stays it


class BoundOptions(CoderOptions, VAEConfig, SingleOptions):
    """Options of a VAE under any bound; what is left open follows from the data."""


class VAEOptions(BoundOptions):
    """Options of the recipe `vae`."""

    samples: int = Field(default=1, ge=1, description="L, draws of z per image in the objective")
    beta: float = Field(default=1.0, ge=0, description="weight of the divergence from the prior (beta-VAE)")
    free_bits: float = Field(
        default=0.0,
        ge=0,
        description="nats below which a dimension's divergence counts no less (of all, with full covariance)",
    )
    warm_up: float = Field(default=0.0, ge=0, le=1, description=WARMING)


class IWAEOptions(BoundOptions):
    """Options of the recipe `iwae`."""

    samples: int = Field(default=50, ge=1, description="K, importance samples per image in the objective")


class SVIOptions(CoderOptions, SVIConfig, SingleOptions):
    """Options of the recipe `svi`; what is left open follows from the data."""


class HVAEOptions(HVAEConfig, SingleOptions):
    """Options of the recipe `hvae`; what is left open follows from the data."""

    latents: Sizes = Field(
        default=(100, 50), min_length=1, max_length=20, description="dimensions of h_1, h_2, ... from x up"
    )
    likelihood: Literal["bernoulli", "gaussian"] | None = Field(
        default=None, description="p(x|h): of bits, or of real values (default: bernoulli for one channel)"
    )
    sigma: float | None = Field(default=None, gt=0, description="standard deviation of the gaussian likelihood (0.1)")
    samples: int = Field(default=1, ge=1, description="K, importance samples per image; 1: the ELBO")
    free_bits: float = Field(default=0.0, ge=0, description="nats below which a dimension's divergence counts no less")
    warm_up: float | None = Field(default=None, ge=0, le=1, description=f"{WARMING} (0.25; 0 with more samples than 1)")


@recipe(
    "vae",
    family="explicit densities",
    rows=["A10"],
    data="mnist",
    paper="Kingma & Welling 2014, Auto-Encoding Variational Bayes, arXiv:1312.6114",
    options=VAEOptions,
)
def vae(spec: Spec, size: int, options: VAEOptions) -> Plan:
    """Encoder and decoder play as one and descend the negative ELBO.

    command   simulacra train vae --data mnist
    budget    100 passes over small sets, at most 40 000 steps: seconds on digits, minutes on MNIST
    score     MNIST, 40 000 steps: test −ELBO 91.6 nats after 9 minutes on one CPU core (docs/results.md)
    """
    options = resolve(spec, options)
    model = VAE(options.part(VAEConfig), spec)
    cost = partial(
        model.cost, samples=options.samples, beta=options.beta, floor=options.free_bits, warm_up=options.warm_up
    )
    return coding(model, cost, size, options)


@recipe(
    "iwae",
    family="explicit densities",
    rows=["A12"],
    data="mnist",
    paper="Burda, Grosse & Salakhutdinov 2016, Importance Weighted Autoencoders, arXiv:1509.00519",
    options=IWAEOptions,
)
def iwae(spec: Spec, size: int, options: IWAEOptions) -> Plan:
    """The same model as *vae*, descending the importance weighted bound of K samples. A step decodes K times as much.

    command   simulacra train iwae --data mnist
    budget    100 passes over small sets, at most 40 000 steps
    score     MNIST, 120 000 steps in batches of 100: IWAE-5000 −85.3 nats on 1 000 test images after 2.6 hours on one
              CPU core, *vae* of the same networks −87.8 (docs/results.md)
    """
    options = resolve(spec, options)
    model = VAE(options.part(VAEConfig), spec)
    return coding(model, partial(model.importance_weighted, samples=options.samples), size, options)


@recipe(
    "hvae",
    family="explicit densities",
    rows=["A11"],
    data="mnist",
    paper="Rezende, Mohamed & Wierstra 2014, Stochastic Backpropagation and Approximate Inference in Deep Generative "
    "Models, arXiv:1401.4082",
    options=HVAEOptions,
)
def hvae(spec: Spec, size: int, options: HVAEOptions) -> Plan:
    """Layers of latents, drawn from the top down and inferred from the bottom up, descend the negative ELBO, or the
    importance weighted bound where --samples is above 1.

    command   simulacra train hvae --data mnist
    budget    100 passes over small sets, at most 40 000 steps
    score     MNIST, 120 000 steps in batches of 100: IWAE-5000 −85.0 nats on 1 000 test images after 17 minutes on one
              CPU core (docs/results.md)
    """
    options = options.model_copy(update=likelihood_of(spec, options))
    if options.samples > 1 and (given := [name for name in ("free_bits", "warm_up") if getattr(options, name)]):
        word = given[0].replace("_", "-")
        raise UserError(f"--{word} is of the ELBO, --samples asks for the importance weighted bound: leave out one")
    if options.warm_up is None:
        options = options.model_copy(update={"warm_up": LAYERS_WARM_UP if options.samples == 1 else 0.0})
    model = HVAE(options.part(HVAEConfig), spec)
    many = partial(model.importance_weighted, samples=options.samples)
    cost = many if options.samples > 1 else partial(model.cost, floor=options.free_bits, warm_up=options.warm_up or 0.0)
    return coding(model, cost, size, options)


@recipe(
    "svi",
    family="explicit densities",
    rows=["A9"],
    data="mnist",
    paper="Hoffman, Blei, Wang & Paisley 2013, Stochastic Variational Inference, arXiv:1206.7051",
    options=SVIOptions,
)
def svi(spec: Spec, size: int, options: SVIOptions) -> Plan:
    """The decoder of a *vae* without its encoder: each row's posterior is found by ascending the row's own bound, then
    the decoder descends the negative ELBO there. A step costs some --inference-steps times as much as one of *vae*.

    command   simulacra train svi --data mnist
    budget    100 passes over small sets, at most 40 000 steps
    score     MNIST, 20 latents, 200 units, 20 000 steps: ELBO of 500 test images −120.0 after 57 minutes on one CPU
              core, where *vae* has −96.0 (docs/results.md)
    """
    options = resolve(spec, options)
    model = SVI(options.part(SVIConfig), spec)
    return coding(model, model.cost, size, options)


Options = TypeVar("Options", BoundOptions, VAEOptions, IWAEOptions, SVIOptions)


def resolve(spec: Spec, options: Options) -> Options:
    """Settle what was left open by the data's shape. Raises UserError for options that would be ignored."""
    options = settle(spec, options)
    if options.learned_sigma and options.likelihood == "bernoulli":
        raise UserError(
            "--learned-sigma is of the gaussian likelihood, it is bernoulli here: add --likelihood gaussian"
        )
    return options
