"""*vaegan*: an autoencoder whose measure of likeness is learned."""

from typing import Literal

from pydantic import Field

from simulacra.config import Config
from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Game, Move, Player, Round, Stage
from simulacra.models.discriminator import DiscriminatorConfig, discriminator
from simulacra.models.vaegan import VAEGAN, SimilarityGame, VAEGANConfig
from simulacra.optimizers import Adam, Schedule, schedule
from simulacra.recipes import Plan, budget, recipe


class VAEGANOptions(Config):
    """Options of the recipe `vaegan`; what is left open follows from the data."""

    network: Literal["mlp", "dcgan"] | None = Field(
        default=None, description="all three networks: perceptrons or convolutions (default: dcgan for images)"
    )
    latent: int = Field(default=64, ge=1, description="dimensions of the latent z")
    width: int | None = Field(
        default=None, ge=1, description="units of a hidden layer (mlp: 256), channels (dcgan: 32)"
    )
    objective: Literal["minimax", "non-saturating", "least-squares", "least-squares-pearson", "hinge"] = Field(
        default="non-saturating", description="what decoder and discriminator descend: none that wants a critic held"
    )
    similarity: float = Field(default=0.01, ge=0, description="gamma, weight of likeness in the decoder's cost")
    discriminator_norm: Literal["batch", "none"] | None = Field(
        default=None, description="normalisation in the discriminator (default: batch for dcgan)"
    )
    batch: int = Field(default=64, ge=1, description="images per step")
    encoder: Adam = Adam(lr=3e-4, betas=(0.5, 0.999))
    decoder: Adam = Adam(lr=3e-4, betas=(0.5, 0.999))
    discriminator: Adam = Adam(lr=3e-4, betas=(0.5, 0.999))
    schedule: Schedule = Field(default="constant", description="how the learning rates fall over the horizon")
    average: float | None = Field(
        default=0.999, ge=0, lt=1, description="decay of the averages of encoder and decoder; null for none"
    )


@recipe(
    "vaegan",
    family="adversarial",
    rows=["A14"],
    data="mnist",
    paper="Larsen et al. 2016, Autoencoding beyond Pixels Using a Learned Similarity Metric, arXiv:1512.09300",
    options=VAEGANOptions,
)
def vaegan(spec: Spec, size: int, options: VAEGANOptions) -> Plan:
    """Encoder, decoder and discriminator move at once, each by its own cost of one forward pass; pictures are alike
    that look alike to the discriminator.

    command   simulacra train vaegan --data mnist
    budget    14 passes over the data, 4 000 to 20 000 steps
    score     none measured yet
    """
    options = resolve(spec, options)
    model = VAEGAN(options.part(VAEGANConfig), spec)
    critic = discriminator(options.part(DiscriminatorConfig, norm=options.discriminator_norm), spec)
    game = SimilarityGame(model, critic, OBJECTIVES[options.objective], options.similarity)
    rate = schedule(options.schedule)
    parts = {"encoder": model.encoder, "decoder": model.generator, "discriminator": critic}
    kept = {"encoder": options.average, "decoder": options.average}
    players = [
        Player(name=name, module=part, optimizer=getattr(options, name), rate=rate, average=kept.get(name))
        for name, part in parts.items()
    ]
    costs = {"encoder": game.encode, "decoder": game.decode, "discriminator": game.discriminate}
    round_ = Round(Move(name="play", players=list(parts), cost=costs, forward=game.forward))
    steps = budget(14, size, options.batch, within=(4000, 20_000))
    stage = Stage(name="train", game=Game(players, [round_]), steps=steps)
    return Plan(model=model, stages=[stage], batch=options.batch, options=options)


def resolve(spec: Spec, options: VAEGANOptions) -> VAEGANOptions:
    """Settle what was left open by the data's shape. Raises UserError for what does not suit it, or each other."""
    network = options.network or ("dcgan" if spec.kind == "image" else "mlp")
    if network == "dcgan" and spec.kind != "image":
        raise UserError("--network dcgan is for images, the data is vectors: use mlp")
    norm = options.discriminator_norm or ("batch" if network == "dcgan" else "none")
    width = options.width or {"dcgan": 32, "mlp": 256}[network]
    return options.model_copy(update={"network": network, "width": width, "discriminator_norm": norm})
