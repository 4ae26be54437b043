"""One turn of a round: on which rows, with which noise, and the gradients its moves have there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import reduce
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import torch
from torch import Tensor

from simulacra import randomness
from simulacra.buffers import held
from simulacra.precision import widen

if TYPE_CHECKING:
    from simulacra.game import Game, Move

Terms = Mapping[str, Tensor]
"""Named terms of a cost, scalars or one value per sample `[N]`; the kernel takes means and descends their sum."""
Gradients = dict[str, list[Tensor | None]]
"""For each moving player, one gradient per parameter; None where no cost depends on the parameter."""


class Rows(Protocol):
    """What the kernel asks of a batch."""

    @property
    def x(self) -> Tensor:
        """The rows, `[N, ...]`."""
        ...

    @property
    def start(self) -> int:
        """The number of the first of them in the joint batch."""
        ...

    @property
    def joint(self) -> int:
        """The rows of the joint batch, over all ranks."""
        ...

    @property
    def pass_end(self) -> bool:
        """Whether the batch ends a full pass over the data."""
        ...

    def rows(self, first: int, last: int) -> Self:
        """The rows `first` … `last`−1 of this batch, as a batch."""
        ...


def split(rows: int, parts: int) -> list[int]:
    """Sizes of the micro-batches, `parts` or fewer, that so many rows fall into; of no rows, one that is empty."""
    size = -(-rows // parts) or 1
    return [min(size, rows - first) for first in range(0, rows, size)] or [0]  # a rank's share may be empty


class NonFinite(ArithmeticError):
    """A term or a gradient is NaN or infinite; no weight and no optimiser state has been touched by this round."""

    def __init__(self, term: str, players: Sequence[str], clock: "Clock", batch: Rows) -> None:
        stage = f" of stage {clock.stage + 1}" if clock.stage else ""
        super().__init__(f"'{term}' of {', '.join(players)} is not finite at step {clock.step}{stage}")
        self.batch = batch


class Clock(NamedTuple):
    """When a step is played: what its randomness and its schedules are functions of."""

    seed: int = 0
    stage: int = 0
    step: int = 0
    attempt: int = 0
    progress: float = 0.0


class At:
    """What a cost is told beside its batch: the clock, noise for its rows, and the game's state.

    Noise is drawn for the joint batch from a generator keyed by the move and cut to these rows, so it does not depend
    on ranks or micro-batches. State that is written is seen from the next round on.
    """

    def __init__(self, clock: Clock, key: tuple[int, ...], batch: Rows, turn: "Turn", part: int) -> None:
        self.clock, self.progress = clock, clock.progress
        self.watched: dict[str, Tensor] = {}
        self._key, self._batch, self._turn, self._part, self._draws = key, batch, turn, part, 0

    def normal(self, *shape: int) -> Tensor:
        """Standard normal noise `[N, *shape]`, N the rows of the batch."""
        return self._noise(torch.randn, shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform noise on [0, 1), `[N, *shape]`."""
        return self._noise(torch.rand, shape)

    def _noise(self, law: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        x, start = self._batch.x, self._batch.start
        generator = randomness.generator(x.device, *self._key, self._draws)
        self._draws += 1
        joint = law(self._batch.joint, *shape, generator=generator, device=x.device, dtype=x.dtype)
        return joint[start : start + len(x)]

    @property
    def dropout_key(self) -> int:
        """What torch's own generator is seeded with before the networks run, for those that drop out."""
        return randomness.key_of(*self._key, -1, self._batch.start)

    def watch(self, name: str, value: Tensor) -> None:
        """Log the mean of `value` beside the terms; nothing descends it."""
        self.watched[name] = value.detach()

    def state(self, name: str) -> Tensor:
        """The game's state `name`: these rows of it if it is per sample, all of it if it is shared."""
        value = self._turn.game.state[name]
        if name not in self._turn.game.per_sample:
            return value
        first = self._batch.start - self._turn.batch.start
        return value[first : first + len(self._batch.x)]

    def write(self, name: str, value: Tensor) -> None:
        """Set state `name` for the next round: these rows of it, or, if shared, the mean over micro-batches and ranks
        of what is written."""
        share = len(self._batch.x) / max(len(self._turn.batch.x), 1)
        self._turn.written.setdefault(name, {})[self._part] = (share, value.detach())


@dataclass(eq=False)
class Turn:
    """One repetition of one round: the batch it is played on, when, among whom; and the state written so far."""

    game: "Game"
    batch: Rows
    clock: Clock
    key: tuple[int, ...]
    table: "Table"
    written: dict[str, dict[int, tuple[float, Tensor]]] = field(default_factory=dict)

    def parts(self, move: int) -> Iterator[tuple[Rows, At, float]]:
        """The batch in micro-batches, each with its `At` and its share of the rows."""
        n, first = len(self.batch.x), 0
        for part, size in enumerate(split(n, self.table.micro_batches)):
            rows = self.batch if size == n else self.batch.rows(first, first + size)
            yield rows, At(self.clock, (*self.key, move), rows, self, part), size / max(n, 1)
            first += size

    def commit(self) -> None:
        """Let the state written during this turn be seen."""
        for name, parts in self.written.items():
            if name in self.game.per_sample:
                self.game.state[name] = torch.cat([value for _, value in parts.values()])
            else:
                former = self.game.state[name]
                exact = former.dtype if former.is_floating_point() else torch.float64
                mean = torch.stack([share * value.to(exact) for share, value in parts.values()]).sum(0)
                self.table.mean([mean])
                self.game.state[name] = mean if former.is_floating_point() else mean.round().to(former.dtype)


class Table:
    """Where a game is played: alone, in one piece, in the default precision. `distributed.Ranks` is the other one."""

    rank, size = 0, 1

    def __init__(self, micro_batches: int = 1, precision: Callable[[], AbstractContextManager] = nullcontext) -> None:
        self.micro_batches, self.precision = micro_batches, precision

    def mean(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over ranks."""

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over ranks."""

    def gather(self, rows: Tensor) -> Tensor:
        """The rows `[N, ...]` of all ranks, one rank after the other; they may have different numbers of them."""
        return rows


class Play:
    """A round about to be played on a turn: a rule takes its gradients as often as it wants, always on the same batch
    and noise, and returns those to apply."""

    def __init__(self, moves: Sequence[tuple[int, "Move"]], turn: Turn) -> None:
        self.moves, self.turn, self.game = moves, turn, turn.game
        self.names = list(dict.fromkeys(name for _, move in moves for name in move.players))
        self.terms: dict[str, Tensor] = {}
        self.owners = {name: [name] for name in self.names} | {move.name: move.players for _, move in moves}

    def gradients(self) -> Gradients:
        """The joint gradients over moves, micro-batches and ranks: v of the papers on game dynamics."""
        self.terms = {}
        self.game.take_gradients(self.names)  # what an exception may have left
        for number, move in self.moves:
            for batch, at, share in self.turn.parts(number):
                with self.game.moving(move.players):
                    self._descend(move, batch, at, share)
        gradients = self.game.take_gradients(self.names)
        self._join(gradients, [*self.terms.values()])
        return gradients

    def _descend(self, move: "Move", batch: Rows, at: At, share: float) -> None:
        """Add the gradient of `move`'s cost on one micro-batch to its players' `.grad`."""
        costs = self._costs(move, batch, at)
        for k, (names, prefix, terms) in enumerate(costs):
            if not terms:
                raise ValueError(f"the cost of move '{move.name}' has no terms")
            total = _weighed(terms, move.weight * share)
            if not total.requires_grad:
                raise ValueError(f"the cost of move '{move.name}' does not depend on {', '.join(names)}")
            total.backward(inputs=self.game.parameters(names), retain_graph=k + 1 < len(costs))
            self._log({prefix + name: term for name, term in terms.items()}, share)
        self._log({f"{move.name}/{name}": value for name, value in means(at.watched).items()}, share)

    def _costs(self, move: "Move", batch: Rows, at: At) -> list[tuple[Sequence[str], str, dict[str, Tensor]]]:
        """The move's costs on these rows, in the table's precision; dropout draws the same masks every time."""
        randomness.seed_torch(batch.x.device, at.dropout_key)
        with self.turn.table.precision():
            return [(names, prefix, means(terms)) for names, prefix, terms in move.costs(batch, at)]

    def _log(self, values: Mapping[str, Tensor], share: float) -> None:
        for name, value in values.items():
            value = value.detach() * share
            self.terms[name] = self.terms[name] + value if name in self.terms else value

    def pullback(self, v: Gradients) -> Gradients:
        """Jᵀv, J the Jacobian of `gradients` by the parameters of all moving players: ∇½‖v‖² where v is the gradient
        itself (Mescheder et al. 2017, eq. 10), exact over micro-batches and ranks."""
        for number, move in self.moves:
            for batch, at, share in self.turn.parts(number):
                with self.game.moving(self.names), held(*(self.game.players[n].module for n in self.names)):
                    costs = self._costs(move, batch, at)
                    for k, (names, _, terms) in enumerate(costs):
                        total = _weighed(terms, move.weight * share)
                        self._pull(names, total, v, last=k + 1 == len(costs))
        result = self.game.take_gradients(self.names)
        self._join(result, [])
        return result

    def _pull(self, names: Sequence[str], total: Tensor, v: Gradients, last: bool) -> None:
        parameters = self.game.parameters(names)
        field_ = torch.autograd.grad(total, parameters, create_graph=True, allow_unused=True)
        along = [w for name in names for w in v[name]]
        pairs = [(g, w) for g, w in zip(field_, along) if g is not None and w is not None and g.requires_grad]
        if pairs:
            outputs, directions = zip(*pairs)
            moving = self.game.parameters(self.names)
            torch.autograd.backward(outputs, directions, inputs=moving, retain_graph=not last)

    @contextmanager
    def ahead(self, gradients: Gradients) -> Iterator[None]:
        """Inside, every player has stepped along `gradients`; afterwards all is as before."""
        kept = [self.game.snapshot(name) for name in self.names]
        self.game.apply(gradients, self)
        try:
            yield
        finally:
            for restore in kept:
                restore()

    def _join(self, gradients: Gradients, terms: list[Tensor]) -> None:
        """Average gradients and terms over ranks, in one reduction; a gradient is absent only where all lack it."""
        if self.turn.table.size == 1:
            return
        parameters = self.game.parameters(self.names)
        flat = [g for name in self.names for g in gradients[name]]
        present = torch.tensor([g is not None for g in flat], dtype=torch.float32, device=parameters[0].device)
        full = [torch.zeros_like(p) if g is None else g for g, p in zip(flat, parameters)]
        self.turn.table.mean([*full, *terms, present])
        joined = iter(g if on else None for g, on in zip(full, present.tolist()))
        for name in self.names:
            gradients[name] = [next(joined) for _ in gradients[name]]


def means(terms: Terms) -> dict[str, Tensor]:
    """The mean of each term, in float32 or better."""
    return {name: widen(term).mean() for name, term in terms.items()}


def _weighed(terms: Terms, weight: float) -> Tensor:
    """The sum of the terms times `weight`, without the operations that would change nothing."""
    total = reduce(torch.add, terms.values())
    return total if weight == 1.0 else total * weight


def norm(grads: Sequence[Tensor | None], like: Tensor) -> Tensor:
    """The Euclidean norm of all gradients together, on the device of `like`."""
    present = [grad for grad in grads if grad is not None]
    if not present:
        return like.new_zeros(())
    return torch.stack(torch._foreach_norm(present)).norm()  # type: ignore[reportPrivateImportUsage]


def require_finite(values: Mapping[str, Tensor], owners: Mapping[str, Sequence[str]], turn: Turn) -> dict[str, float]:
    """All values as numbers, in one transfer. Raises NonFinite naming the first that is not finite, and the players
    whose it is: `owners` of what stands before the slash in its name."""
    if not values:
        return {}
    numbers = dict(zip(values, torch.stack([value.float() for value in values.values()]).tolist()))
    for name, number in numbers.items():
        if not isfinite(number):
            raise NonFinite(name, owners[name.split("/")[0]], turn.clock, turn.batch)
    return numbers
