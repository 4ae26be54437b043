"""The variational autoencoder."""

from functools import partial
from typing import Literal

from pydantic import Field

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Game, Player, Stage
from simulacra.models.vae import VAE, VAEConfig
from simulacra.optimizers import Adam, Schedule, schedule
from simulacra.recipes import Plan, budget, recipe


class VAEOptions(VAEConfig):
    """Options of the recipe `vae`; what is left open follows from the data."""

    network: Literal["mlp", "conv"] | None = Field(
        None, description="encoder and decoder: perceptrons or convolutions (default: conv for colour or above 32 x 32)"
    )
    likelihood: Literal["bernoulli", "gaussian"] | None = Field(
        None, description="p(x|z): of bits, or of real values (default: bernoulli for one channel)"
    )
    width: int | None = Field(None, ge=1, description="units of a hidden layer (mlp: 500), channels (conv: 32)")
    latent: int | None = Field(None, ge=1, description="dimensions of the latent z (default: 40, conv: 64)")
    depth: int | None = Field(None, ge=1, le=100, description="hidden layers (mlp: 2)")
    sigma: float | None = Field(None, gt=0, description="standard deviation of the gaussian likelihood (0.1)")
    samples: int = Field(1, ge=1, description="L, draws of z per image in the objective")
    batch: int = Field(128, ge=1, description="images per step")
    optimizer: Adam = Adam(lr=1e-3)
    schedule: Schedule = Field("cosine", description="how the learning rate falls over the horizon")
    average: float | None = Field(0.999, ge=0, lt=1, description="decay of the averaged weights; null for none")
    clip: float | None = Field(None, gt=0, description="bound on the gradient's norm")


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
    score     MNIST, 40 000 steps: test −ELBO 92.2 nats after 3.3 minutes on 2 CPU cores (docs/results.md)
    """
    options = resolve(spec, options)
    model = VAE(options.part(VAEConfig), spec)
    player = Player(
        name="autoencoder",
        module=model,
        optimizer=options.optimizer,
        average=options.average,
        clip=options.clip,
        rate=schedule(options.schedule),
    )
    game = Game.single(player, partial(model.cost, samples=options.samples))
    steps = budget(100, size, options.batch, within=(2000, 40_000))
    return Plan(model=model, stages=[Stage(name="train", game=game, steps=steps)], batch=options.batch, options=options)


def resolve(spec: Spec, options: VAEOptions) -> VAEOptions:
    """Settle what was left open by the data's shape. Raises UserError for options that would be ignored."""
    image = spec.kind == "image"
    large = image and (spec.shape[0] > 1 or max(spec.shape[1:]) > 32)
    network = options.network or ("conv" if large else "mlp")
    likelihood = options.likelihood or ("bernoulli" if image and spec.shape[0] == 1 else "gaussian")
    if options.depth and network == "conv":
        raise UserError("--depth is of the mlp, the network here is conv: leave it out, or add --network mlp")
    if options.sigma and likelihood == "bernoulli":
        raise UserError("--sigma is of the gaussian likelihood, it is bernoulli here: add --likelihood gaussian")
    if network == "conv" and not image:
        raise UserError("--network conv is for images, the data is vectors: use mlp")
    if likelihood == "bernoulli" and not image:
        raise UserError("--likelihood bernoulli is of the brightness of images, the data is vectors: use gaussian")
    defaults = {"conv": {"width": 32, "latent": 64}, "mlp": {"width": 500, "latent": 40, "depth": 2}}[network]
    defaults |= {"sigma": 0.1} if likelihood == "gaussian" else {}
    open_ones = {name: value for name, value in defaults.items() if getattr(options, name) is None}
    return options.model_copy(update={"network": network, "likelihood": likelihood, **open_ones})
