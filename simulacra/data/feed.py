"""Batches on the device, by number: from a store that lies there, or from workers that decode ahead."""

import logging
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from simulacra.data.batch import Batch, to_unit
from simulacra.data.dealing import Deal, Dealer
from simulacra.data.randoms import flips
from simulacra.data.source import Source
from simulacra.errors import MachineError, UserError
from simulacra.randomness import key_of

log = logging.getLogger("simulacra.data")
Read = tuple[Tensor, tuple[int, ...]]
BESIDE = 1  # key of the order of a second data set
CAN_TELL_SENDERS = hasattr(signal, "sigwaitinfo")  # Linux; elsewhere any SIGTERM ends a worker


class Feed:
    """Batches of a source, as a function of their number.

    The rows of joint batch b depend on (seed, stage, b) alone: not on ranks, workers, or what was asked before. A
    source in memory is moved to the device once, as uint8. A streamed one is decoded by `workers` processes that run
    ahead of the last batch asked for; asking for any but the next batch lets them start anew there.

    Args:
        source: the rows.
        seed, stage: keys of the order; `seed` also of the mirroring.
        batch: rows in the joint batch, over all ranks.
        rank, ranks: which share of each joint batch this process gets.
        device: where batches lie.
        workers: processes that decode a streamed source; 0 decodes in this process.
        mirror: flip images left to right by a fair coin, a function of (seed, epoch, row).
        full_passes: rows in their own order, the last partial batch of each pass kept (a rank's share may be empty).
        channels_last: memory format of image batches (vectors have none).
        beside: a second data set, whose rows come beside each batch, in an order of their own.

    Raises:
        UserError: a number out of range, or mirrored vectors.
    """

    def __init__(
        self,
        source: Source,
        *,
        seed: int,
        stage: int = 0,
        batch: int,
        rank: int = 0,
        ranks: int = 1,
        device: str | torch.device = "cpu",
        workers: int = 0,
        mirror: bool = False,
        full_passes: bool = False,
        channels_last: bool = False,
        beside: Source | None = None,
    ) -> None:
        _check(source, batch, rank, ranks, workers, mirror)
        self.source = source
        self.skipped: set[str] = set()
        self._device = torch.device(device)
        self._seed, self._mirror = seed, mirror
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._dealer = Dealer(
            n=len(source), batch=batch, seed=seed, stage=stage, rank=rank, ranks=ranks, full_passes=full_passes
        )
        self._labels = None if source.labels is None else source.labels.to(self._device)
        self._store = _store(source, self._device)
        self._ahead = None if source.in_memory or not workers else _Ahead(source, self._dealer, workers, self._device)
        self._beside = None
        if beside is not None:
            shared = {"batch": batch, "rank": rank, "ranks": ranks, "device": device, "workers": workers}
            how = {"stage": stage, "mirror": mirror, "channels_last": channels_last}
            self._beside = Feed(beside, seed=key_of(seed, BESIDE), **shared, **how)

    @property
    def batches_per_pass(self) -> int:
        """Batches it takes to see every row once (the last may be partial)."""
        return self._dealer.batches_per_pass

    def at(self, b: int) -> Batch:
        """Joint batch number b >= 0, this rank's rows of it.

        Raises:
            UserError: a streamed image cannot be decoded.
            MachineError: a worker process died.
        """
        if b < 0:
            raise UserError(f"batch number {b} is negative")
        deal = self._dealer.deal(b)
        index = torch.from_numpy(deal.index)
        place = index.to(self._device, non_blocking=True)
        x = self._rows(b, deal, place)
        if self._mirror:
            x = self._flip(x, deal)
        return Batch(
            x=to_unit(x, self._layout),
            labels=None if self._labels is None else self._labels.index_select(0, place),
            index=index,
            start=deal.start,
            joint=deal.joint,
            pass_end=deal.pass_end,
            beside=None if self._beside is None else self._beside.at(b),
        )

    def close(self) -> None:
        """Stop the workers. The feed can still be asked, and starts them again."""
        if self._ahead is not None:
            self._ahead.close()
        if self._beside is not None:
            self._beside.close()

    def _rows(self, b: int, deal: Deal, place: Tensor) -> Tensor:
        if self._store is not None:
            return self._store.index_select(0, place)
        rows, broken = self.source.read(deal.index) if self._ahead is None else self._ahead.at(b)
        self._tell(broken)
        return rows.to(self._device, non_blocking=True)

    def _tell(self, broken: tuple[int, ...]) -> None:
        for name in {self.source.name_of(row) for row in broken} - self.skipped:
            self.skipped.add(name)
            log.warning("%r is broken: the next good image of its class stands in for it", name)

    def _flip(self, x: Tensor, deal: Deal) -> Tensor:
        flip = torch.from_numpy(flips(self._seed, deal.epochs, deal.index)).to(self._device, non_blocking=True)
        return torch.where(flip[:, None, None, None], x.flip(-1), x)


def _check(source: Source, batch: int, rank: int, ranks: int, workers: int, mirror: bool) -> None:
    if batch < 1:
        raise UserError(f"batch is {batch}: at least 1 row is needed")
    if not 0 <= rank < ranks:
        raise UserError(f"rank {rank} of {ranks}: ranks count from 0")
    if batch < ranks:
        raise UserError(f"batch {batch} is smaller than the {ranks} ranks that share it")
    if workers < 0:
        raise UserError(f"workers is {workers}: at least 0")
    if mirror and source.spec.kind != "image":
        raise UserError(f"{source.word!r} holds vectors, which have no mirror image")


def _store(source: Source, device: torch.device) -> Tensor | None:
    if not source.in_memory or not isinstance(source.data, Tensor):
        return None
    return source.data.to(device)


class _Ahead:
    """Batches from worker processes, in order from wherever they were last asked for."""

    def __init__(self, source: Source, dealer: Dealer, workers: int, device: torch.device) -> None:
        self._source, self._dealer, self._workers = source, dealer, workers
        self._pin = device.type == "cuda"
        self._next = -1
        self._loader: DataLoader[Read | str] | None = None
        self._from = _From(dealer)
        self._batches: Iterator[Read | str] = iter(())

    def at(self, b: int) -> Read:
        """Rows of joint batch b."""
        if b != self._next or self._loader is None:
            self._start(b)
        try:
            batch = next(self._batches)
        except (RuntimeError, OSError, EOFError) as error:
            self.close()
            if isinstance(error, RuntimeError) and not re.match(r"DataLoader worker \(pid", str(error)):
                raise
            why = " ".join(str(error).split())[:200]
            raise MachineError(f"a data worker died ({why}): is memory short? try fewer workers") from error
        self._next = b + 1
        if isinstance(batch, str):
            self.close()
            raise UserError(batch)
        return batch

    def close(self) -> None:
        """Stop the workers and forget what they had ready."""
        self._batches, self._loader, self._next = iter(()), None, -1

    def _start(self, b: int) -> None:
        self._from.first = b
        if self._loader is None:
            self._loader = DataLoader(
                _Rows(self._source),
                batch_size=None,
                sampler=self._from,
                num_workers=self._workers,
                collate_fn=_as_it_is,
                worker_init_fn=_settle,
                generator=torch.Generator(),  # its own: the loader would draw a seed from the global one
                pin_memory=self._pin,
                persistent_workers=True,
            )
        with _sigterm_blocked():
            self._batches = iter(self._loader)


class _From(Sampler[NDArray[np.int64]]):
    """Row numbers of one batch after the other, from batch `first` on."""

    def __init__(self, dealer: Dealer) -> None:
        self.first = 0
        self._dealer = dealer

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        b = self.first
        while True:
            yield self._dealer.deal(b).index
            b += 1


class _Rows(Dataset[Read | str]):
    """Reads rows in a worker. A mistake of the user's comes back as its line: raised, it would come in a traceback."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getitem__(self, index: NDArray[np.int64]) -> Read | str:
        try:
            return self._source.read(index)
        except UserError as error:
            return str(error)


def _settle(worker: int) -> None:
    """One thread for torch. Ctrl-C and a SIGTERM to the whole process group are left to the main process, which may
    still need batches to end its step and save; a SIGTERM from the main process itself ends the worker.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if CAN_TELL_SENDERS:
        threading.Thread(target=_obey_the_parent, args=(os.getppid(),), daemon=True).start()


def _obey_the_parent(parent: int) -> None:
    """Wait for SIGTERM, which is blocked in all threads, and end this process when `parent` sends it."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)  # as torch's own handler does: any other status would make the parent's SIGCHLD handler raise


@contextmanager
def _sigterm_blocked() -> Iterator[None]:
    """Processes started inside have SIGTERM blocked from their first moment; this one gets it on leaving."""
    if not CAN_TELL_SENDERS:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_it_is(read: Any) -> Any:
    return read
