"""Looking at the networks of a training: what they make of the same latents and rows, time and again."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from simulacra.buffers import evaluating
from simulacra.capabilities import HasClasses, HasPrior, Reconstructs, Samples
from simulacra.data.batch import to_unit
from simulacra.data.source import Source
from simulacra.health import modules, rows
from simulacra.health.data import LABELLED, drawn
from simulacra.networks.conditional import Beside, Projection

ROWS = 64  # samples and real rows of a probe
HELD = 256  # held rows, and training rows beside them: the difference of their scores is small, and noisy with fewer
MEMORISED = 4096  # training rows at most with which samples are compared
MEMORISED_BYTES = 64 << 20  # and bytes
Batches = list[tuple[Tensor, Tensor | None]]


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What was seen of the networks at `step`; None where it does not apply.

    Attributes:
        finite: whether all samples are.
        distinct, diversity, nearest, told_apart: of samples beside real rows (`rows.Beside`).
        latents: share of distinct latents.
        room: how far apart latents let samples be (`rows.room`).
        within: mean distance between samples of one class over that of real rows of it.
        shown: share of the classes that real rows show to which samples belong.
        means, follows: standard errors above chance at which class means find the labels of real rows, and the classes
            that samples were asked for.
        memorised: distance to the nearest training row over that of training rows.
        overfit, surely: how far held rows are scored from training rows towards samples (Karras et al. 2020, eq. 1,
            r_v): 0 as training rows are, 1 as samples; and by how many standard errors that is above 0.
        ranked, flat: share of pairs that the discriminator ranks rightly; deviation of its scores.
        slope: the gap of its mean scores per mean distance of real and generated rows.
        labelled: share of real rows scored higher with their label than with another row's; `labelled_of` of them had
            another label.
        dead: share of units that no row switched on, by layer.
        norms: spectral norm by layer.
        weights: what changes with a player's weights (`modules.signatures`).
    """

    step: int
    finite: bool = True
    distinct: float | None = None
    diversity: float | None = None
    nearest: float | None = None
    told_apart: float | None = None
    latents: float | None = None
    room: float | None = None
    within: float | None = None
    shown: float | None = None
    means: float | None = None
    follows: float | None = None
    memorised: float | None = None
    overfit: float | None = None
    surely: float | None = None
    ranked: float | None = None
    flat: float | None = None
    slope: float | None = None
    labelled: float | None = None
    labelled_of: int | None = None
    dead: Mapping[str, float] = field(default_factory=dict)
    norms: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, list[float]] = field(default_factory=dict)

    @property
    def line(self) -> dict[str, Any]:
        """Its line of the log; `read` reads it back."""
        facts = {name: value for name, value in asdict(self).items() if value is not None and name != "step"}
        return {"probe": facts, "at": self.step}

    @classmethod
    def read(cls, line: Mapping[str, Any]) -> Self:
        """A line of the log; what it holds beyond these fields is left out."""
        known = {one.name for one in fields(cls)} - {"step"}
        return cls(step=line["at"], **{name: value for name, value in line["probe"].items() if name in known})


class Prober:
    """Probes the players of a training by `model` and the module of every player by name, on rows of `source`.

    `scored`: the player "discriminator" scores rows, `pack` of them together. `held` opens rows that are not trained
    on, or none. Probes run in eval mode on 64 rows, draw nothing from torch's generators and leave networks as they
    were.
    """

    def __init__(
        self,
        model: nn.Module,
        players: Mapping[str, nn.Module],
        source: Source,
        scored: bool,
        pack: int = 1,
        held: Callable[[], Source | None] = lambda: None,
    ) -> None:
        self.model, self.players, self.source, self.scored, self.pack = model, players, source, scored, pack
        self._open_held = held
        self.device = next(model.parameters()).device

    def probe(self, step: int) -> Probed:
        """What is seen now."""
        switched, found = modules.Switched(), {}
        with ExitStack() as stack:
            for module in self.players.values():
                stack.enter_context(evaluating(module))
            if self.scored:
                stack.enter_context(modules.normalising_by_batch(self.players["discriminator"]))
            with switched.watching(self.players):
                found |= self._shown()
            norms = modules.spectral_norms(self.players)
        weights = modules.signatures(self.players)
        return Probed(step=step, dead=switched.dead(), norms=norms, weights=weights, **found)

    def _shown(self) -> dict[str, Any]:
        model, found = self.model, {}
        if isinstance(model, Reconstructs):
            model.reconstruct(self._real)
        if not isinstance(model, Samples) or len(self._real) < 8:
            return found
        fake = model.sample(len(self._real), seed=0)
        if not bool(torch.isfinite(fake).all()):
            return {"finite": False}
        beside = rows.compare(fake, self._real)
        found |= {name: value for name, value in asdict(beside).items() if name != "distance"}
        if isinstance(model, HasPrior):
            latents = model.prior(len(fake), seed=0)
            found |= {"latents": rows.distinct(latents), "room": rows.room(latents, self._real)}
        if self._train is not None:
            found["memorised"] = rows.memorised(fake, self._train)
        return found | self._classes(fake) | (self._scores(fake, beside.distance) if self.scored else {})

    # What is compared with

    @cached_property
    def _index(self) -> np.ndarray:
        return drawn(self.source, ROWS)

    @cached_property
    def _real(self) -> Tensor:
        return self._unit(self._index)

    @cached_property
    def _labels(self) -> Tensor | None:
        labels = self.source.labels
        return None if labels is None else labels[torch.from_numpy(self._index)].to(self.device)

    def _unit(self, index: np.ndarray) -> Tensor:
        return to_unit(self.source.rows(index)).nan_to_num().to(self.device)

    @cached_property
    def _train(self) -> Tensor | None:
        """All training rows, where there are few and they are at hand."""
        n = len(self.source)
        if n > MEMORISED or not self.source.in_memory or 4 * n * self.source.spec.numel > MEMORISED_BYTES:
            return None
        return self._unit(np.arange(n))

    @cached_property
    def _means(self) -> tuple[rows.Means, float] | None:
        """Class means of some real rows, and by how many standard errors they find the classes of those of a probe,
        which are not among them."""
        labels, classes = self.source.labels, len(self.source.spec.classes or ())
        index = np.setdiff1d(drawn(self.source, LABELLED), self._index)
        if labels is None or classes < 2 or len(index) < 2 * ROWS or self._labels is None:
            return None
        means = rows.Means(self._unit(index), labels[torch.from_numpy(index)].to(self.device), classes)
        return means, rows.above_chance(means.of(self._real), self._labels, classes)[1]

    # What is found

    def _classes(self, fake: Tensor) -> dict[str, Any]:
        if self._means is None:
            return {}
        (means, above), classes = self._means, len(self.source.spec.classes or ())
        there, here = means.of(self._real).unique(), means.of(fake)
        found: dict[str, Any] = {"means": above, "shown": float(torch.isin(there, here).float().mean())}
        if isinstance(self.model, HasClasses):
            asked = self.model.labels(len(fake), seed=0).to(self.device)
            found["follows"] = rows.above_chance(here, asked, classes)[1]
            found["within"] = self._within(self.model)
        return found

    def _within(self, model: HasClasses) -> float | None:
        """Of the class that most of the real rows are of."""
        assert self._labels is not None
        label = self._labels.mode().values
        real = self._real[self._labels == label]
        if len(real) < 4 or not (there := rows.spread(real)):
            return None
        return rows.spread(model.sample_labelled(label.repeat(len(real)), seed=0)) / there

    def _scores(self, fake: Tensor, distance: float) -> dict[str, Any]:
        """What the discriminator says; nothing where it says something else than a score per row."""
        asked = self.model.labels(len(fake), seed=0).to(self.device) if isinstance(self.model, HasClasses) else None
        real, made = self._score(self._real, self._labels), self._score(fake, asked)
        if real is None or made is None:
            return {}
        gap = float(real.mean() - made.mean())
        found = {"ranked": rows.ranked(real, made), "flat": float(torch.cat([real, made]).std())}
        found["slope"] = gap / max(distance, 1e-12)
        return found | self._overfit(gap) | self._labelled(real)

    @cached_property
    def _split(self) -> tuple[Batches, Batches] | None:
        """Some training rows and some held ones with their labels, in batches of as many rows as a probe has."""
        held = self._open_held()
        if held is None or len(held) < len(self._real) or held.spec.shape != self.source.spec.shape:
            return None
        return self._batches(self.source), self._batches(held)

    def _batches(self, source: Source) -> Batches:
        index = drawn(source, HELD)
        count = len(index) // len(self._real) * len(self._real)
        index = np.random.default_rng(0).permutation(index)[:count]  # sorted rows may be sorted by class
        x = to_unit(source.rows(index)).nan_to_num().to(self.device).split(len(self._real))
        if source.labels is None:
            return [(batch, None) for batch in x]
        return [*zip(x, source.labels[torch.from_numpy(index)].to(self.device).split(len(self._real)))]

    def _overfit(self, gap: float) -> dict[str, Any]:
        if self._split is None or gap <= 0:
            return {}
        real, held = map(self._score_all, self._split)
        if real is None or held is None:
            return {}
        less = float(real.mean() - held.mean())
        error = float((real.var() / len(real) + held.var() / len(held)).sqrt())
        return {"overfit": less / gap, "surely": less / max(error, 1e-12)}

    def _score_all(self, batches: Batches) -> Tensor | None:
        scores = [score for batch in batches if (score := self._score(*batch)) is not None]
        return torch.cat(scores) if scores else None

    def _score(self, x: Tensor, labels: Tensor | None) -> Tensor | None:
        critic, pack = self.players["discriminator"], self.pack
        x = x[: len(x) // pack * pack].unflatten(0, (-1, pack)).flatten(1, 2) if pack > 1 else x
        if labels is None and isinstance(critic, Beside | Projection):
            return None
        said = critic(x, labels) if isinstance(critic, Beside | Projection) else critic(x)
        return said.flatten().float() if isinstance(said, Tensor) and said.numel() == len(x) else None

    def _labelled(self, real: Tensor) -> dict[str, Any]:
        labels = self._labels
        if labels is None or not isinstance(self.players["discriminator"], Beside | Projection):
            return {}
        other = labels.roll(1)
        differs = labels != other
        wrong = self._score(self._real, other)
        if wrong is None or not bool(differs.any()):
            return {}
        better = 0.5 + 0.5 * (real - wrong).sign()[differs]
        return {"labelled": float(better.mean()), "labelled_of": int(differs.sum())}
