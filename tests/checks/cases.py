"""Every game of the library and every toy: a new system adds one line to `CASES`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from simulacra.data import Spec
from simulacra.game import Stage
from simulacra.recipes import Plan, find
from tests.checks import toys


@dataclass(frozen=True, kw_only=True)
class Case:
    """A game under test. `per_sample`: its costs and networks treat every row alone, so that ranks and micro-batches
    change nothing; otherwise (batch norm, second passes over a batch) ranks stay equal to each other. `closed`: it is
    moved in closed form alone."""

    name: str
    data: str
    build: Callable[[Spec], Sequence[Stage]]
    per_sample: bool = True
    closed: bool = False
    batch: int = 16
    recipe: str | None = None
    plan: Callable[[Spec], Plan] | None = None

    def stages(self, spec: Spec) -> Sequence[Stage]:
        """The stages, freshly initialised, in float64."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            torch.manual_seed(0)
            return self.build(spec)
        finally:
            torch.set_default_dtype(before)


def recipe(
    name: str, data: str = "digits", per_sample: bool = True, closed: bool = False, rows: int = 16, **options: str
) -> Case:
    """The game of a recipe, made small by `options`, played on batches of so many `rows`."""

    def plan(spec: Spec) -> Plan:
        kind = find(name)
        return kind.build(spec, 100, kind.options().with_overrides(options, name))

    return Case(
        name="-".join([name, *options.values()]),
        data=data,
        build=lambda spec: plan(spec).stages,
        per_sample=per_sample,
        closed=closed,
        batch=rows,
        recipe=name,
        plan=plan,
    )


RESTLESS: dict[str, Any] = {"discriminator.lr": "0.01", "generator.lr": "0.1"}
"""Rates at which a discriminator that rests above 0.56 does so from the third step and moves again from the sixth."""

CASES = [
    Case(name="expectation-maximisation", data="digits", build=toys.expectation_maximisation, batch=400, closed=True),
    Case(name="persistent-chain", data="digits", build=toys.persistent_chain),
    Case(name="cycle", data="ring", build=toys.cycle),
    Case(name="consensus", data="ring", build=toys.simultaneous(toys.RULES["consensus"])),
    Case(name="extragradient", data="ring", build=toys.simultaneous(toys.RULES["extragradient"])),
    Case(name="lazy-gan", data="ring", build=toys.lazy_gan),
    Case(name="growing", data="digits", build=toys.growing),
    recipe("vae", width="16", latent="3"),
    recipe("vae", network="conv", width="4", likelihood="gaussian", samples="2"),
    recipe("fvbn"),
    recipe("nade", width="5"),
    recipe("nade", width="5", activation="sigmoid"),
    recipe("made", width="70", depth="1"),
    recipe("made", width="70", orders="3", direct="false"),
    recipe("pixelcnn", width="3", depth="1", head="4"),
    recipe("realnvp", width="4", depth="1", couplings="2", scales="2"),
    recipe("realnvp", "ring", width="8", couplings="2"),
    recipe("rbm", hidden="6", batch="16", k="2"),
    recipe("rbm", hidden="6", persistent="false", average="0.9", bits="threshold", decay="0"),
    recipe("rbm", "ring", hidden="5", batch="16", lr="0.1"),
    recipe("dbn", hidden="7,6,5", batch="16"),
    recipe("dbn", hidden="6,5", persistent="false", k="2", growing="true", fine_tuning="1", decay="0"),
    recipe("dbm", hidden="5,4,3", batch="16"),
    recipe("vae", width="16", latent="3", covariance="full", beta="2", likelihood="gaussian", learned_sigma="true"),
    recipe("vae", width="16", latent="3", free_bits="0.5", per_sample=False),
    recipe("iwae", width="16", latent="3", samples="5"),
    recipe("svi", width="16", latent="3", inference_steps="3"),
    recipe("hvae", width="16", latents="4,3,2"),
    recipe("hvae", "ring", width="16", latents="4,3", samples="3"),
    recipe("ae", width="16", latent="3"),
    recipe("dae", width="16", latent="3", walkback="3", chain="5"),
    recipe("dae", "ring", width="16", latent="3", chain="5"),
    recipe("dae", network="conv", width="4", latent="3", corruption="masking", likelihood="gaussian", chain="5"),
    recipe("gsn", hidden="12,10,8", walkback="3", chain="5"),
    recipe("gan", "ring", width="16", latent="3", r1="1.0", r1_every="3"),
    recipe(
        "gan", "ring", width="16", latent="3", objective="wasserstein", gradient_penalty="10", discriminator_steps="2"
    ),
    recipe("gan", "ring", width="16", latent="3", objective="wasserstein", clip="0.05", discriminator_steps="3"),
    recipe("gan", "ring", width="16", latent="3", objective="relativistic", r1="1.0", r2="1.0", r1_every="2"),
    recipe("gan", "ring", width="16", latent="3", objective="least-squares", dragan="10", dragan_spread="0.2"),
    recipe("gan", "ring", width="16", latent="3", objective="minimax", turns="simultaneous", rule="consensus"),
    recipe("gan", "ring", width="16", latent="3", objective="f-kl", turns="simultaneous", rule="extragradient"),
    recipe("gan", "ring", width="16", latent="3", turns="simultaneous", rule="half-squared-field", r2="1"),
    recipe("gan", "ring", width="16", latent="3", turns="simultaneous", gradient_penalty="1", one_sided="true"),
    recipe("gan", "ring", width="16", latent="3", unrolled="2", per_sample=False),
    recipe("gan", "ring", per_sample=False, width="16", latent="3", objective="hinge", spectral="true"),
    recipe("gan", "ring", width="16", latent="3", orthonormal="1e-3", generator_steps="2"),
    recipe("gan", "ring", width="16", latent="3", maxout="3", generator_norm="batch", per_sample=False),
    recipe("gan", "ring", width="16", latent="3", dropout="0.2,0.5", r1="0.1", per_sample=False),
    recipe("gan", "ring", width="16", latent="3", r1="1.0", r2="0.5", fade="0.1", r1_every="2"),
    recipe("gan", "ring", width="16", latent="3", rest_above="0.56", r1="1.0", r1_every="2", **RESTLESS),
    recipe("gan", "ring", width="16", latent="3", generator_steps="2", discriminator_steps="3"),
    recipe("dcgan", width="4", latent="5", r1="0.5", r1_every="3", per_sample=False),
    recipe("dcgan", width="4", latent="5", activation="tanh", constant="true", per_sample=False),
    recipe("dcgan", width="4", latent="5", generator_network="mlp", per_sample=False),
    recipe("dcgan", width="4", latent="5", objective="hinge", spectral="true", orthogonal="1e-4", per_sample=False),
    recipe("sngan", width="4", latent="5", per_sample=False),
    recipe("rpgan", "ring", width="16", batch="20"),
    recipe("rpgan", width="4", latent="5", fade="0.1", r1_every="3", per_sample=False),
    recipe("cgan", width="4", latent="5", per_sample=False),
    recipe("cgan", "ring", width="16", latent="3", gradient_penalty="10", r1="1", r1_every="3"),
    recipe("cgan", width="4", latent="5", augment="translation", feature_matching="1", per_sample=False),
    recipe("acgan", width="4", latent="5", discriminator_norm="none", per_sample=False),
    recipe("acgan", width="4", latent="5", generator_norm="virtual", historical="0.01", per_sample=False),
    recipe("projection", width="4", latent="5", per_sample=False),
    recipe("projection", width="4", latent="5", minibatch="deviation", adapt="0.6", per_sample=False),
    recipe("ssgan", width="8", latent="5", hidden="12,8", per_sample=False),
    recipe("ssgan", width="8", latent="5", hidden="12,8", matching="0", average="null", per_sample=False),
    recipe("infogan", width="4", latent="5", dense="8", categories="3", per_sample=False),
    recipe("infogan", width="4", latent="5", dense="0", hidden="6", deviation="null", r1="1", per_sample=False),
    recipe("infogan", "ring", width="16", latent="5", instance_noise="0.1"),
    recipe("cogan", width="4", latent="5", per_sample=False),
    recipe("cogan", width="4", latent="5", adversarial="false", average="null"),
    recipe("gan", "ring", width="16", latent="3", pack="2", gradient_penalty="10", dragan="10", per_sample=False),
    recipe("gan", "ring", width="16", latent="3", instance_noise="0.5", smoothing="0.1", historical="0.01"),
    recipe("gan", "ring", per_sample=False, width="16", latent="3", feature_matching="1", adversarial="0"),
    recipe("gan", "ring", per_sample=False, width="16", latent="3", minibatch="discrimination"),
    recipe("dcgan", width="4", latent="5", minibatch="deviation", generator_norm="virtual", per_sample=False),
    recipe("dcgan", width="4", latent="5", augment="color,translation,cutout", per_sample=False),
    recipe("dcgan", width="4", latent="5", adapt="0.6", discriminator_norm="none", r1="1", per_sample=False),
    recipe("cvae", width="16", latent="3", quadrants="2"),
    recipe("cvae", width="16", latent="3", quadrants="3", conditional_prior="false", likelihood="gaussian"),
    recipe("avb", width="16", latent="3", basis="4", basis_noise="3", basis_width="5", ratio_width="12"),
    recipe("avb", "ring", width="16", latent="3", contrast="diagonal", basis="4", ratio_width="12"),
    recipe("avb", "ring", width="16", latent="3", contrast="prior", basis="4", ratio_width="12", ratio_steps="2"),
    recipe("vaegan", width="4", latent="3", per_sample=False),
    recipe("vaegan", "ring", width="16", latent="3", objective="least-squares", similarity="1"),
    recipe("ebgan", "ring", network="mlp", width="16", latent="3", code="4", margin="1", per_sample=False),
    recipe("began", width="4", latent="3", code="4", per_sample=False),
    recipe("strings", "grammar", estimator="gumbel", width="8", latent="3", gradient_penalty="10"),
    recipe("strings", "grammar", estimator="straight-through", width="8", latent="3", objective="relativistic"),
    recipe("strings", "grammar", estimator="score", width="8", latent="3", r1="1.0", r1_every="3"),
    recipe("strings", "grammar", estimator="score", width="8", latent="3", autoregressive="false", rest_above="0.56"),
    recipe("gmm", closed=True, rows=400, components="3"),
    recipe("gmm", closed=True, rows=400, components="3", covariance="tied"),
    recipe("gmm", closed=True, rows=100, components="3", covariance="diagonal", em="stepwise"),
    recipe("gmm", "ring", closed=True, rows=30_000, components="4", covariance="spherical"),
    recipe("gnb", closed=True, rows=400),
    recipe("gmmn", latent="3", hidden="8,12", per_sample=False),
    recipe("gmmn", "ring", latent="3", hidden="8", objective="unbiased", average="null", per_sample=False),
    recipe("gmmn", latent="3", hidden="8", space="code", code="4", encoder="9", per_sample=False),
]
MODELS = [case for case in CASES if case.plan]
BY_NAME = {case.name: case for case in CASES}
