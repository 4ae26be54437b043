"""What models of an energy share: log p(x) is known up to log Z, which is enumerated where it can be, else estimated;
bits of pixels; chains whose noise is a function of keys."""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from simulacra.buffers import evaluating
from simulacra.capabilities import LogProb
from simulacra.config import Config
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import At
from simulacra.metrics.ais import (
    GaussianRBMPath,
    LogZ,
    Path,
    RBMPath,
    annealed,
    exact_gaussian_log_z,
    exact_log_z,
    known,
    paper_betas,
)
from simulacra.models.base import Model
from simulacra.models.bits import CUT, DRAWN, binarised, require_brightness
from simulacra.networks.boltzmann import AnyMachine, Machine, bits, contrast
from simulacra.randomness import Draws, Noise

M = TypeVar("M", bound=AnyMachine)
Rule = Literal["drawn", "threshold"]
"""How a pixel becomes a bit: drawn with its brightness as probability, or whether it is above half."""
AT_A_TIME = 1000  # chains
SMOOTHING = 0.01  # of the rates of ones that visible biases start from
ENUMERATED = 15  # units of the smaller layer, up to which log Z is summed: 32 768 terms
CHAINS = 100


class BitsConfig(Config):
    """How images become bits, and how long chains are."""

    bits: Rule = Field(
        default="drawn",
        description="bits of a pixel: drawn with its brightness as probability, or whether it is above half",
    )
    chain: int = Field(default=200, ge=1, description="steps of Gibbs sampling behind a sample")


class EnergyModel(Model):
    """A model with the partition function of one machine.

    Attributes:
        tight: whether `unnormalised` is log p(x) + log Z itself, or a lower bound on it.
    """

    tight: ClassVar[bool]
    config: BitsConfig

    def __init__(self, config: BitsConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        self._kept: tuple[tuple[object, ...], LogZ] | None = None

    @property
    @abstractmethod
    def annealed_machine(self) -> AnyMachine:
        """The machine whose log Z it is."""

    @property
    @abstractmethod
    def base_rates(self) -> Tensor:
        """b_A `[V]`: visible biases of the machine without weights that annealing starts from."""

    @abstractmethod
    def unnormalised(self, x: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """log p(x) + log Z of data rows start … start+N−1, or a lower bound on it, in nats `[N]`."""

    @abstractmethod
    def gibbs_of(self, x: Tensor, steps: int, draws: Draws) -> Tensor:
        """What checked data `[N, ...]` become in `steps` steps of Gibbs sampling by the noise of `draws`."""

    def gibbs(self, x: Tensor, steps: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Visible units after `steps` steps of Gibbs sampling from data rows start … start+N−1, `[N, ...]`: black and
        white images, or real values. Raises UserError for fewer than one step or pixels outside [−1, 1]."""
        if steps < 1:
            raise UserError(f"{steps} steps of Gibbs sampling: ask for at least 1")
        x = self.checked(x)
        with evaluating(self):
            found = [
                self.gibbs_of(rows, steps, draws)
                for rows, draws in zip(x.split(AT_A_TIME), parts(len(x), seed, start, self.device))
            ]
            return torch.cat([x[:0], *found])

    @property
    def sees(self) -> str | None:
        """Bits, by the rule of the config."""
        return {"drawn": DRAWN, "threshold": CUT}[self.config.bits]

    def checked(self, x: Tensor) -> Tensor:
        """Data `[N, ...]`, `taken`. Raises UserError for pixels outside [−1, 1], whose bits nothing is."""
        return self.taken(require_brightness(x))

    def partition(
        self, *, chains: int = CHAINS, betas: Sequence[float] | None = None, seed: int = 0, exact: bool = True
    ) -> LogZ:
        """log Z: exact where the machine's smaller layer has at most 15 units and `exact` is left on, else by
        annealed importance sampling from the base rates along `betas` (by default the 14 500 steps of Salakhutdinov &
        Murray 2008), which takes minutes for hundreds of units; the last estimate is kept until the weights change.
        Raises UserError for betas that do not ascend."""
        machine, betas = self.annealed_machine, paper_betas() if betas is None else betas
        if exact and _fewest(machine) <= ENUMERATED:
            return known(_summed(machine))
        key = _digest([*machine, self.base_rates]), chains, tuple(betas), seed
        if self._kept is None or self._kept[0] != key:
            self._kept = key, annealed(_path(machine, self.base_rates), betas, chains, seed)
        return self._kept[1]

    def log_prob(self, x: Tensor, *, seed: int = 0, start: int = 0) -> LogProb:
        """log p(x) of data rows start … start+N−1, in nats (of real values: a density). `exact` (or a `bound`) where
        log Z is enumerated; otherwise an `estimate` (or an `estimated bound`), whose log Z is annealed with 100 chains,
        which are a function of `seed`, and kept until the weights change; `partition` tells its error."""
        log_z = self.partition(seed=seed)
        return LogProb(self.unnormalised(x, seed=seed, start=start) - log_z.value, log_z.kind(tight=self.tight))


def observed(x: Tensor, rule: Rule, noise: Noise) -> Tensor:
    """Bits `[N, V]` of images `[N, ...]` in [−1, 1]."""
    x = x.flatten(1)
    return (x > 0).to(x.dtype) if rule == "threshold" else binarised(x, noise.uniform(x.shape[1]))


def brightness(x: Tensor, rule: Rule) -> Tensor:
    """The expected bits `[N, V]` of images `[N, ...]`."""
    x = x.flatten(1)
    return (x > 0).to(x.dtype) if rule == "threshold" else 0.5 * (x + 1.0)


class Gibbs(NamedTuple):
    """The chains behind a gradient.

    Attributes:
        k: steps of Gibbs sampling per update.
        persistent: whether they go on from update to update.
        growing: whether their steps grow from 1 to k over a stage, each number for an equal share of it
            (Carreira-Perpiñán & Hinton 2005).
    """

    k: int = 1
    persistent: bool = False
    growing: bool = False

    def steps(self, progress: float) -> int:
        """At `progress` in [0, 1] through the stage."""
        return min(1 + int(self.k * progress), self.k) if self.growing else self.k


def contrastive_divergence(machine: AnyMachine, v: Tensor, at: At, gibbs: Gibbs) -> Tensor:
    """F(v) − F(ṽ) `[N]`, ṽ being held fixed, a chain's steps from v `[N, V]`; or, where it is persistent, from the
    hidden units `[N, H]` in the game's state `chain`, which start from v at a stage's first step."""
    goes_on = gibbs.persistent and at.clock.step > 0
    found = contrast(machine, v, at, gibbs.steps(at.progress), at.state("chain") if goes_on else None)
    if gibbs.persistent:
        at.write("chain", bits(found.after, at))
    return found.divergence


def shrinking(decay: float, *weights: Tensor) -> dict[str, Tensor]:
    """The term ½ `decay` ‖W‖² of all `weights`, where there is one."""
    squares = [torch.dot(w.flatten(), w.flatten()) for w in weights]
    return {"decay": 0.5 * decay * torch.stack(squares).sum()} if decay else {}


def shown_bits(v: Tensor, spec: Spec, dtype: torch.dtype) -> Tensor:
    """Bits `[N, V]`, or their probabilities, as images `[N, C, H, W]` in [−1, 1]."""
    return (2.0 * v - 1.0).unflatten(1, spec.shape).to(dtype)


def filters_of(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The weights `[V, H]` of every unit as images `[H, *shape]`, each divided by its largest one."""
    w = weight.detach().T
    return (w / w.abs().amax(1, keepdim=True).clamp(min=1e-12)).unflatten(1, shape)


def in_float64(machine: M) -> M:
    """The machine in float64: a chain's bits then do not depend on the rows beside them."""
    return type(machine)(*(part.double() for part in machine))


def parts(n: int, seed: int, start: int, device: torch.device) -> list[Draws]:
    """Noise of samples start … start+n−1, 1000 of them at a time."""
    firsts = range(0, n, AT_A_TIME)
    return [Draws(min(AT_A_TIME, n - k), seed=seed, start=start + k, device=device) for k in firsts]


def _fewest(machine: AnyMachine) -> int:
    """Units of the layer that is enumerated: real ones cannot be."""
    return min(machine.weight.shape) if isinstance(machine, Machine) else len(machine.hidden)


def _path(machine: AnyMachine, base: Tensor) -> Path[Any]:
    if isinstance(machine, Machine):
        return RBMPath(*machine, base)
    return GaussianRBMPath(*machine, base)


def _summed(machine: AnyMachine) -> float:
    return exact_log_z(*machine) if isinstance(machine, Machine) else exact_gaussian_log_z(*machine)


def _digest(tensors: Sequence[Tensor]) -> str:
    """Equal values, equal words."""
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.detach().to("cpu", torch.float64).contiguous().numpy().data)
    return sha.hexdigest()
