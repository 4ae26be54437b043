"""What a model can do, as small protocols; every tool asks for a capability, never for a class."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

if TYPE_CHECKING:
    from simulacra.metrics.ais import LogZ


KindOfLogProb = Literal["exact", "bound", "estimate", "estimated bound"]
"""What a number is of log p(x): itself, a lower bound, an estimate, or an estimate of a lower bound."""


class LogProb(NamedTuple):
    """Log-probabilities `value` `[N]` in nats, and what they are."""

    value: Tensor
    kind: KindOfLogProb


@runtime_checkable
class Samples(Protocol):
    """Draws from what it has learned."""

    def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Samples start … start+n−1 of the stream `seed`: images `[n, C, H, W]` in [−1, 1], vectors `[n, D]`.

        Sample i depends on (seed, i) alone: its noise bit for bit, the output to 1e-5."""
        ...


@runtime_checkable
class Encodes(Protocol):
    """Finds a code for data."""

    def encode(self, x: Tensor) -> Tensor:
        """Codes `[N, J]` of data `[N, ...]`."""
        ...


@runtime_checkable
class EncodesInLayers(Encodes, Protocol):
    """Finds a code that joins those of several layers.

    Attributes:
        latent_layers: the number of latents of each, which add up to J.
    """

    latent_layers: tuple[int, ...]


@runtime_checkable
class Decodes(Protocol):
    """Makes data of codes."""

    def decode(self, z: Tensor) -> Tensor:
        """Data `[N, ...]` on the scale of the data spec, of codes `[N, J]`."""
        ...


@runtime_checkable
class Reconstructs(Protocol):
    """Encodes and decodes."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """Data `[N, ...]` as the model would have it."""
        ...


@runtime_checkable
class Corrupts(Reconstructs, Protocol):
    """Undoes noise that it can add."""

    def corrupt(self, x: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """Data rows start … start+N−1 with noise, `[N, ...]`, which `reconstruct` undoes; noise is a function of (seed,
        row)."""
        ...


@runtime_checkable
class HasLogProb(Protocol):
    """Knows how likely data is, exactly or not."""

    def log_prob(self, x: Tensor, *, seed: int = 0, start: int = 0) -> LogProb:
        """Log-probability of data rows start … start+N−1; whatever noise it needs is a function of (seed, row)."""
        ...


@runtime_checkable
class HasPrior(Protocol):
    """Decodes latents of a prior that can be drawn from."""

    def prior(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Latents start … start+n−1 of the stream `seed`, `[n, J]`: `decode` makes of them what `sample` gives."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """Data `[N, ...]` on the scale of the data spec, of latents `[N, J]`."""
        ...


@runtime_checkable
class Truncates(Protocol):
    """Trades diversity for fidelity."""

    def truncated(self, n: int, threshold: float, *, seed: int = 0, start: int = 0) -> Tensor:
        """Samples as `sample` gives them, of latents each of whose numbers is within ±`threshold`: the truncation
        trick (Brock, Donahue & Simonyan 2019, §3.1). A threshold of infinity gives the samples of `sample`."""
        ...


@runtime_checkable
class HasLogWeights(Protocol):
    """Has importance weights, whose mean is an unbiased estimate of p(x)."""

    def log_weights(self, x: Tensor, samples: int, *, seed: int = 0, start: int = 0, first: int = 0) -> Tensor:
        """log p(x, z_k) − log q(z_k|x), z_k ~ q(z|x), k = first … first+samples−1, in nats: `[N, samples]`, of data
        rows start … start+N−1. Noise is a function of (seed, row, k); data is made bits, where it is, as by
        `log_prob`."""
        ...


@runtime_checkable
class HasLocalBounds(Protocol):
    """Can fit variational parameters of each row's own."""

    def local_bounds(
        self, x: Tensor, *, steps: int, rate: float, samples: int, seed: int = 0, start: int = 0
    ) -> tuple[Tensor, Tensor]:
        """The ELBO `[N]` of data rows start … start+N−1 in nats, by q(z|x) as the model finds it, and after so many
        `steps` of Adam on each row's own; both with the same `samples` draws of noise."""
        ...


@runtime_checkable
class HasLikelihood(Protocol):
    """Knows p(x|z), z being what `prior` draws, from N(0, I)."""

    def likelihood_of(self, x: Tensor, *, seed: int = 0, start: int = 0) -> Callable[[Tensor], Tensor]:
        """For data rows start … start+N−1, the function from latents `[N, C, J]` to log p(x|z) `[N, C]` in nats,
        differentiable in them; data is made bits, where it is, as by `log_prob`."""
        ...


@runtime_checkable
class Completes(Protocol):
    """Goes on where data stops."""

    def complete(self, x: Tensor, known: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Data `[N, ...]` whose first `known` numbers are those of rows start … start+N−1, as the model sees them, and
        whose others are drawn given those; noise is a function of (seed, row)."""
        ...


@runtime_checkable
class Fills(Protocol):
    """Makes up what is missing from a picture."""

    def seen(self, x: Tensor) -> Tensor:
        """What it sees of data `[N, ...]`, the rest black."""
        ...

    def fill(self, x: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """Data `[N, ...]` of which it has seen that much, the rest drawn; noise is a function of (seed, row)."""
        ...


@runtime_checkable
class HasFillBound(Protocol):
    """Knows how likely what is missing from a picture is, given the rest; grey, or as `bits` drawn once per row, where
    its likelihood is `of_bits`."""

    @property
    def of_bits(self) -> bool:
        """Whether its likelihood is of bits; if not, values are taken as they are."""
        ...

    def guess_log_prob(self, x: Tensor, *, bits: bool, seed: int = 0, start: int = 0) -> Tensor:
        """Of data rows start … start+N−1, by a deterministic guess, in nats `[N]`."""
        ...

    def fill_bound(self, x: Tensor, samples: int, *, bits: bool, seed: int = 0, start: int = 0) -> Tensor:
        """A lower bound on it, with so many draws, `[N]`."""
        ...

    def fill_weights(self, x: Tensor, samples: int, *, bits: bool, seed: int = 0, start: int = 0) -> Tensor:
        """Logs of importance weights whose mean is an unbiased estimate of it, `[N, samples]`."""
        ...


@runtime_checkable
class Chains(Protocol):
    """Draws samples by a Markov chain, which can be watched."""

    def chain(self, n: int, steps: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """The first `steps` states of chains start … start+n−1 of the stream `seed`, on the scale of the data spec:
        `[n, steps, ...]`."""
        ...


@runtime_checkable
class HasClasses(Protocol):
    """Draws samples of classes that it is told, numbered as the data's."""

    def labels(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """The classes int64 `[n]` of the samples start … start+n−1 that `sample` draws; a function of (seed, i)."""
        ...

    def sample_labelled(self, labels: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """Samples start … start+n−1 of the stream `seed`, made of the classes int64 `[n]` instead."""
        ...


@runtime_checkable
class HasClassLatents(HasClasses, Protocol):
    """Has latents that say the class."""

    def prior_labelled(self, labels: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """Latents `[n, J]` that `decode` makes what `sample_labelled` draws of."""
        ...


@runtime_checkable
class Pairs(Protocol):
    """Draws images of two domains that belong together."""

    def pairs(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Pairs start … start+n−1 of the stream `seed`, `[n, 2, C, H, W]`: the first of each is that of `sample`."""
        ...


@runtime_checkable
class HasText(Protocol):
    """Makes strings, and can say which."""

    def text(self, x: Tensor) -> list[str]:
        """The texts of data `[N, D]` on the scale of the data spec, one of each row."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """Tells the data's classes apart."""

    def classify(self, x: Tensor) -> Tensor:
        """Logits `[N, K]` of data `[N, ...]`, K the data's classes."""
        ...


@runtime_checkable
class HasPartition(Protocol):
    """Knows densities up to a factor, whose size annealed importance sampling estimates; `tight`: knows them, and not
    only a lower bound on them."""

    tight: ClassVar[bool]

    def unnormalised(self, x: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """log p(x) + log Z of data rows start … start+N−1, or a lower bound on it, in nats `[N]`. Noise is that of
        `log_prob`."""
        ...

    def partition(self, *, chains: int = 100, betas: Sequence[float] | None = None, seed: int = 0) -> "LogZ":
        """log Z with its error, along `betas` from 0 to 1 (by default the 14 500 steps of Salakhutdinov & Murray
        2008)."""
        ...


@runtime_checkable
class HasChib(HasPartition, Protocol):
    """Has hidden units that can be drawn given the data, which tells how likely the data is, but for log Z."""

    def chib(self, x: Tensor, sweeps: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """log of an unbiased estimate of p(x) Z of data rows start … start+N−1, in nats `[N]`, by so many sweeps. Noise
        is a function of (seed, row); data is made bits, where it is, as by `log_prob`."""
        ...


@runtime_checkable
class HasGibbs(Protocol):
    """Is a Markov chain that can be started from data."""

    def gibbs(self, x: Tensor, steps: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Data `[N, ...]` that rows start … start+N−1 have become after so many steps of Gibbs sampling."""
        ...


@runtime_checkable
class HasFreeEnergy(Protocol):
    """Has a free energy."""

    def free_energy(self, x: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """F(x) = −log p(x) − log Z of data rows start … start+N−1, in nats `[N]`."""
        ...


@runtime_checkable
class HasFilters(Protocol):
    """Has units that look at pixels, and can show what each looks for."""

    def filters(self) -> Tensor:
        """A picture of every unit's weights, `[K, C, H, W]` in [−1, 1], 0 where it looks at nothing."""
        ...


@runtime_checkable
class HasCentres(Protocol):
    """Has components or classes, each about a mean."""

    def centres(self) -> Tensor:
        """The mean of each, `[K, ...]` on the scale of the data spec."""
        ...


CAPABILITIES: dict[str, type] = {
    "sample": Samples,
    "encode": Encodes,
    "decode": Decodes,
    "reconstruct": Reconstructs,
    "corrupt": Corrupts,
    "log_prob": HasLogProb,
    "prior": HasPrior,
    "truncated": Truncates,
    "log_weights": HasLogWeights,
    "local_bounds": HasLocalBounds,
    "likelihood_of": HasLikelihood,
    "complete": Completes,
    "fill": Fills,
    "fill_bound": HasFillBound,
    "chain": Chains,
    "labels": HasClasses,
    "prior_labelled": HasClassLatents,
    "classify": Classifies,
    "pairs": Pairs,
    "partition": HasPartition,
    "chib": HasChib,
    "gibbs": HasGibbs,
    "free_energy": HasFreeEnergy,
    "filters": HasFilters,
    "centres": HasCentres,
    "text": HasText,
}


def verbs(model: object) -> list[str]:
    """The names of the capabilities `model` has."""
    return [name for name, protocol in CAPABILITIES.items() if isinstance(model, protocol)]
