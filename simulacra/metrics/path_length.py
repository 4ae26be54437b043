"""Perceptual path length: how fast features change as a latent moves (Karras, Laine & Aila 2019, §4.1)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from simulacra import config as settings
from simulacra.capabilities import HasPrior
from simulacra.errors import UserError
from simulacra.metrics.measure import Score, mean_score
from simulacra.metrics.of_model import ModelMeasure, Setting
from simulacra.randomness import counter_uniform, key_of

PAIRS_AT_A_TIME = 100
COMPARED = 200  # pairs that are measured with a longer step too
LONGER = 10.0  # how many times as long it is

Function = Callable[[Tensor], Tensor]
Interpolation = Callable[[Tensor, Tensor, Tensor], Tensor]


@runtime_checkable
class HasMapping(Protocol):
    """Generates through an intermediate latent w = f(z), as the style-based generators do."""

    def mapping(self, z: Tensor) -> Tensor:
        """Intermediate latents `[N, K]` of latents `[N, J]`."""
        ...

    def synthesise(self, w: Tensor) -> Tensor:
        """Data `[N, ...]` on the scale of the data spec, of intermediate latents `[N, K]`."""
        ...


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The points `[N, J]` at shares t `[N]` of the straight ways from a `[N, J]` to b."""
    return a + t[:, None] * (b - a)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The points `[N, J]` at shares t `[N]` of the ways from a `[N, J]` to b whose direction turns at an even speed
    along the great circle (Shoemake 1985, §3.3) and whose length changes evenly.

    A network that normalises its latent sees the paper's interpolation, which is one of normalised latents; any other
    sees points as far from the origin as its prior's. Where a and b lie on a line with the origin, it is `lerp`.
    """
    long, other = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    u, v = a / long.clamp_min(1e-30), b / other.clamp_min(1e-30)
    angle = 2.0 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1))
    sine = angle.sin()
    turned = (((1.0 - t) * angle).sin()[:, None] * u + (t * angle).sin()[:, None] * v) / sine[:, None]
    turning = (sine > 1e-6)[:, None] & (long * other > 0)
    return torch.where(turning, turned * lerp(long, other, t), lerp(a, b, t))


def path_lengths(
    decode: Function, features: Function, a: Tensor, b: Tensor, t: Tensor, epsilon: float, *, interpolate: Interpolation
) -> Tensor:
    """d(g(t), g(t + ε))/ε² `[N]` of N paths g from latents a `[N, J]` to b, d the squared Euclidean distance of
    features (eq. 2 and 3): the squared speed at t `[N]`. Float64.

    Points and differences are computed in float64; networks run in the precision of `a`. In float32 the rounding of
    features of size F puts noise of some 1e-7 F/ε on each speed.
    """
    here, there = (
        features(decode(interpolate(a.double(), b.double(), at.double()).to(a.dtype))).double()
        for at in (t, t.double() + epsilon)
    )
    return (here - there).square().sum(1) / epsilon**2


class PathConfig(settings.Config):
    """How path lengths are measured."""

    space: Literal["z", "w"] = Field(
        default="z", description="slerp between latents z, or lerp between mapped latents w"
    )
    sampling: Literal["full", "end"] = Field(
        default="full", description="t uniform on [0, 1], or t = 0: at the paths' ends"
    )
    pairs: int = Field(default=2000, ge=2, description="paths; the paper takes 100 000")
    epsilon: float = Field(default=1e-4, gt=0, lt=1, description="step along the path")
    discard: float = Field(default=0.0, ge=0, lt=0.5, description="share of the shortest, and of the longest, left out")


class PathLength(ModelMeasure):
    """The expected squared speed of features along paths between latents of the prior: low where small moves in latent
    space make small changes.

    The distance is that of the extractor's features, not the VGG-based one of the paper: compare values only under one
    extractor. By default all paths count, as in the paper's expectation; its code leaves out the shortest and the
    longest 1 % (`discard` 0.01, and the standard error is then that of those kept, somewhat too small). Pair i is a
    function of (seed, i); the ranks share the pairs. Takes two images and their features per pair, 100 pairs at a time.

    `epsilon_ratio` tells whether ε suits the networks: the value at ε over that at 10 ε, on the first 200 pairs. It is
    1 where both find one slope; rounding that counts at ε pushes it up to 100. The paper's ε = 1e-4 suits float32: on a
    DCGAN of MNIST and pixels, rounding changes the value by 1e-5 of itself (5e-4 at ε = 1e-5).
    """

    name, better, capability = "ppl", {"ppl": "lower"}, HasPrior
    uses_features = True
    Config = PathConfig
    config: PathConfig

    def compute(self, model: Any, setting: Setting) -> dict[str, Score]:
        """The score.

        Raises:
            UserError: the space is w and the model has none, or features are not finite.
        """
        config, table = self.config, setting.table
        ways = _ways(model, config.space)
        first, last = (config.pairs * rank // table.size for rank in (table.rank, table.rank + 1))
        lengths, longer = (table.gather(own) for own in self._measure(ways, model, setting, first, last))
        ratio = _ratio(lengths[:COMPARED], longer[:COMPARED])
        for pair in (~torch.isfinite(lengths)).nonzero()[:1].flatten().tolist():
            raise UserError(f"ppl: the features of pair {pair} are not finite (NaN)")
        facts = config.model_dump() | {"epsilon_ratio": ratio}
        score = mean_score(_trimmed(lengths, config.discard), **facts)
        return {"ppl": replace(score, notes=_doubts(ratio, config.epsilon))}

    @torch.no_grad()
    def _measure(self, ways: "Ways", model: HasPrior, setting: Setting, first: int, last: int) -> tuple[Tensor, Tensor]:
        """The lengths of paths first … last−1, and with a longer step those that are in a batch with one below 200; on
        the CPU."""
        lengths, longer = [torch.empty(0, dtype=torch.float64)], [torch.empty(0, dtype=torch.float64)]
        for start, a, b, t in self._pairs(model, setting.seed, first, last):
            path = ways.decode, setting.features, ways.enter(a), ways.enter(b), t.to(a.device)
            lengths.append(path_lengths(*path, self.config.epsilon, interpolate=ways.interpolate).cpu())
            if start < COMPARED:
                step = LONGER * self.config.epsilon
                longer.append(path_lengths(*path, step, interpolate=ways.interpolate).cpu())
        return torch.cat(lengths), torch.cat(longer)

    def _pairs(self, model: HasPrior, seed: int, first: int, last: int) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
        """Batches of paths: the number of the first, both ends `[B, J]` and where to measure `[B]`."""
        for start in range(first, last, PAIRS_AT_A_TIME):
            n = min(PAIRS_AT_A_TIME, last - start)
            a, b = (model.prior(n, seed=key_of(seed, end), start=start) for end in (0, 1))
            t = torch.from_numpy(counter_uniform(key_of(seed, 2), np.arange(start, start + n), 1)[:, 0])
            yield start, a, b, t if self.config.sampling == "full" else torch.zeros_like(t)


class Ways(NamedTuple):
    """How a space is entered from z, walked through and decoded."""

    enter: Function
    interpolate: Interpolation
    decode: Function


def _ways(model: HasPrior, space: str) -> Ways:
    if space == "z":
        return Ways(lambda z: z, slerp, model.decode)
    if not isinstance(model, HasMapping):
        name = getattr(model, "name", type(model).__name__)
        raise UserError(f"ppl: '{name}' has no intermediate latent w: measure in z (ppl.space=z)")
    return Ways(model.mapping, lerp, model.synthesise)


def _ratio(lengths: Tensor, longer: Tensor) -> float | None:
    """Of the means; None where nothing changes along the paths."""
    total = longer.sum().item()
    return lengths.sum().item() / total if total > 0 else None


def _trimmed(values: Tensor, share: float) -> Tensor:
    """`values` `[N]` without that share of the lowest and of the highest."""
    cut = int(share * len(values))
    return values.sort().values[cut : len(values) - cut]


def _doubts(ratio: float | None, epsilon: float) -> tuple[str, ...]:
    if ratio is None:
        return ("nothing changes along the paths: the generator or the extractor is constant",)
    if 0.8 < ratio < 1.25:
        return ()
    return (
        f"the value at epsilon {epsilon:g} is {ratio:.3g} times that at ten times epsilon: "
        "the step is too small for the networks' precision, or too large for a slope",
    )
