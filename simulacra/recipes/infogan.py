"""*infogan*: codes that come to mean something."""

from pydantic import Field

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.models.infogan import InfoAdversary, InfoGAN, InfoGANConfig
from simulacra.networks.conditional import Auxiliary
from simulacra.optimizers import Adam
from simulacra.recipes import Plan, budget, recipe
from simulacra.recipes.conditional import NetworkOptions, critic_of, require_plain_turns, resolve, whole
from simulacra.recipes.two_players import plan, refuse_idle, rules_of, sight_of


class InfoGANOptions(NetworkOptions):
    """Options of the recipe `infogan`: networks and learning rates are the paper's, but for Q's own layer, weights
    those of its authors' published code (https://github.com/openai/InfoGAN). The noise is smaller: what a smooth
    generator of little noise cannot tell apart, the category has to (docs/results.md)."""

    latent: int = Field(default=8, ge=1, description="dimensions of the noise z (paper: 62)")
    categories: int = Field(default=10, ge=2, description="values of the categorical code")
    continuous: int = Field(default=2, ge=0, description="continuous codes, uniform on [-1, 1]")
    dense: int | None = Field(
        default=None, ge=0, description="units of the layer next to codes and score (default: dcgan 1024, mlp none)"
    )
    generator: Adam = Adam(lr=1e-3, betas=(0.5, 0.999))
    discriminator: Adam = Adam(lr=2e-4, betas=(0.5, 0.999))
    hidden: int = Field(default=0, ge=0, description="units of Q's own layer before its last (paper: 128; 0: none)")
    information: float = Field(default=1.0, gt=0, description="lambda of the categorical code")
    continuous_information: float = Field(default=1.0, gt=0, description="lambda of the continuous codes")
    deviation: float | None = Field(
        default=1.0, gt=0, description="of Q's Gaussian of a continuous code; null for one that is learned"
    )


@recipe(
    "infogan",
    family="conditional",
    rows=["D3"],
    data="mnist",
    paper="Chen et al. 2016, InfoGAN: Interpretable Representation Learning, arXiv:1606.03657",
    options=InfoGANOptions,
)
def infogan(spec: Spec, size: int, options: InfoGANOptions) -> Plan:
    """The generator gets a code beside its noise, and the discriminator has to find the code; no label is used.

    command   simulacra train infogan --data mnist
    budget    20 passes over the data, 4 000 to 20 000 steps
    score     0.9 or more of samples show their category's digit in 3 of 5 seeds, MNIST, width 16, dense 256:
              docs/results.md
    """
    refuse_idle(options, dict.fromkeys(("continuous_information", "deviation"), ("continuous",)))
    options = resolve(spec, options)
    if options.dense is None:
        options = options.model_copy(update={"dense": 1024 if options.network == "dcgan" else 0})
    outputs = options.categories + options.continuous * (2 if options.deviation is None else 1)
    if options.pack > 1:
        raise UserError("a pack of samples has several codes: leave out --pack")
    require_plain_turns(options, "infogan")
    critic = whole(Auxiliary(critic_of(spec, options), outputs, options.hidden), options)
    model = InfoGAN(options.part(InfoGANConfig, norm=options.generator_norm), spec)
    costs = InfoAdversary(
        model,
        critic,
        **rules_of(options),
        sight=sight_of(options, spec),
        weight=options.information,
        continuous_weight=options.continuous_information,
        deviation=options.deviation,
    )
    return plan(options, costs, budget(20, size, options.batch, within=(4000, 20_000)))
