"""Order, dealing, mirroring, streaming: batches as a function of their number and nothing else."""

import collections
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch
from data_helpers import noise, save
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra.data import Feed, open_data
from simulacra.data.dealing import Dealer
from simulacra.data.randoms import bits, flips, order
from simulacra.errors import MachineError, UserError


def dealer(**changes):
    return Dealer(
        **({"n": 10, "batch": 3, "seed": 0, "stage": 0, "rank": 0, "ranks": 1, "full_passes": False} | changes)
    )


@pytest.fixture(scope="module")
def digits():
    return open_data("digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for key in range(12):
        save(root / "train" / "ab"[key % 2] / f"{key:02d}.png", noise(10, 8, key=key))
    save(root / "test" / "a" / "0.png", noise(10, 8))
    return f"folder:{root}"


def same(one, other):
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.index, other.index)
    assert torch.equal(one.labels, other.labels)
    assert (one.start, one.joint, one.pass_end) == (other.start, other.joint, other.pass_end)


@given(st.integers(0, 2**63), st.integers(0, 9), st.integers(0, 10**9), st.integers(1, 200))
def test_every_order_is_a_permutation_and_a_function(seed, stage, epoch, n):
    once = order(seed, stage, epoch, n)
    assert sorted(once.tolist()) == list(range(n))
    assert (order(seed, stage, epoch, n) == once).all()


def test_orders_differ_by_seed_stage_and_epoch():
    orders = {tuple(order(*key, 50).tolist()) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]}
    assert len(orders) == 4


def test_bits_are_pinned():
    """A change here breaks the resume of every run."""
    assert bits("order/0/0/0", 2).tolist() == PINNED_BITS
    assert order(0, 0, 0, 10).tolist() == PINNED_ORDER


PINNED_BITS = [13529592485806462860, 5077809461311870609]
PINNED_ORDER = [9, 2, 1, 6, 4, 0, 7, 8, 5, 3]


@given(st.integers(1, 30), st.integers(1, 70), st.integers(0, 50))
@settings(deadline=None)
def test_batches_run_through_epoch_after_epoch(n, batch, seed):
    deal = dealer(n=n, batch=batch, seed=seed).deal
    stream = np.concatenate([deal(b).index for b in range(-(-3 * n // batch))])
    for epoch in range(3):
        assert (stream[epoch * n : (epoch + 1) * n] == order(seed, 0, epoch, n)).all()


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 6), st.integers(0, 20), st.booleans())
@settings(deadline=None)
def test_ranks_deal_out_the_joint_batch_as_array_split(n, batch, ranks, b, full):
    joint = dealer(n=n, batch=batch, full_passes=full).deal(b)
    parts = [dealer(n=n, batch=batch, full_passes=full, rank=rank, ranks=ranks).deal(b) for rank in range(ranks)]
    for part, expected in zip(parts, np.array_split(joint.index, ranks)):
        assert (part.index == expected).all()
        assert joint.index[part.start : part.start + len(part.index)].tolist() == part.index.tolist()
        assert part.joint == joint.joint == len(joint.index)


@given(st.integers(1, 40), st.integers(1, 50))
def test_full_passes_run_in_order_and_end(n, batch):
    deal = dealer(n=n, batch=batch, full_passes=True)
    for start in (0, 2 * deal.batches_per_pass):
        deals = [deal.deal(start + b) for b in range(deal.batches_per_pass)]
        assert np.concatenate([d.index for d in deals]).tolist() == list(range(n))
        assert [d.pass_end for d in deals] == [False] * (len(deals) - 1) + [True]


def test_flips_are_a_fair_coin_that_depends_on_seed_epoch_and_row():
    rows = np.arange(20_000)
    one, other, seed = flips(0, rows * 0, rows), flips(0, rows * 0 + 1, rows), flips(1, rows * 0, rows)
    for coin in (one, other, one ^ other, one ^ seed, one[:-1] ^ one[1:]):
        assert abs(coin.mean() - 0.5) < 0.02
    few = np.array([7, 3, 19_999])
    assert (flips(0, few * 0, few) == one[few]).all()


def test_batches_hold_what_the_source_holds(digits):
    batch = Feed(digits, seed=3, batch=32).at(5)
    assert batch.x.dtype == torch.float32
    assert torch.equal(batch.x, digits.data[batch.index].float() / 127.5 - 1)
    assert torch.equal(batch.labels, digits.labels[batch.index])
    assert batch.x.min() == -1
    assert batch.x.max() == 1
    assert (batch.start, batch.joint, batch.pass_end, len(batch)) == (0, 32, False, 32)


def test_batches_may_be_asked_for_in_any_order(digits):
    feed = Feed(digits, seed=0, batch=100)
    later = feed.at(40)
    feed.at(0)
    same(feed.at(40), later)


def test_a_batch_may_be_larger_than_the_data(folder):
    source = open_data(folder)
    batch = Feed(source, seed=0, batch=30).at(1)
    assert len(batch) == 30
    assert torch.bincount(batch.index, minlength=12).min() >= 2


def test_micro_batches_move_the_start_along(digits):
    batch = Feed(digits, seed=0, batch=10, rank=1, ranks=2).at(0)
    part = batch.rows(2, 4)
    assert (part.start, part.joint) == (7, 10)
    assert torch.equal(part.x, batch.x[2:4])
    assert torch.equal(part.labels, batch.labels[2:4])
    assert torch.equal(part.index, batch.index[2:4])


def test_vectors_pass_unchanged():
    source = open_data("ring", split="test")
    batch = Feed(source, seed=0, batch=8, channels_last=True).at(0)
    assert torch.equal(batch.x, source.data[batch.index])


def test_channels_last(folder):
    x = Feed(open_data(folder), seed=0, batch=4, channels_last=True).at(0).x
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, Feed(open_data(folder), seed=0, batch=4).at(0).x)


def test_mirroring_is_the_same_for_any_batch_size_and_rank(folder):
    source = open_data(folder)
    plain = {}
    whole = Feed(source, seed=1, batch=12, mirror=True).at(0)
    for row, x in zip(whole.index.tolist(), whole.x):
        plain[row] = x
        straight = source.data[row].float() / 127.5 - 1
        assert torch.equal(x, straight) or torch.equal(x, straight.flip(-1))
    turned = sum(not torch.equal(x, source.data[row].float() / 127.5 - 1) for row, x in plain.items())
    assert 0 < turned < 12
    for rank in range(2):
        feed = Feed(source, seed=1, batch=4, rank=rank, ranks=2, mirror=True)
        for b in range(3):
            batch = feed.at(b)
            assert all(torch.equal(x, plain[row]) for row, x in zip(batch.index.tolist(), batch.x))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_streamed_batches_equal_those_in_memory_wherever_one_starts(folder, workers):
    options = {"seed": 2, "batch": 5, "mirror": True}
    held = Feed(open_data(folder), **options)
    feed = Feed(open_data(folder, stream=True), workers=workers, **options)
    for b in (0, 1, 2, 7, 8, 3, 4, 4):
        same(feed.at(b), held.at(b))
    feed.close()
    same(feed.at(5), held.at(5))
    feed.close()


def test_streamed_full_passes_and_ranks(folder):
    options = {"seed": 0, "batch": 5, "full_passes": True, "rank": 1, "ranks": 2}
    held, feed = Feed(open_data(folder), **options), Feed(open_data(folder, stream=True), workers=1, **options)
    for b in range(5):
        same(feed.at(b), held.at(b))
    assert feed.batches_per_pass == 3
    feed.close()


def test_a_stream_leaves_torchs_generator_alone(folder):
    feed = Feed(open_data(folder, stream=True), seed=0, batch=4, workers=1)
    state = torch.get_rng_state()
    feed.at(0)
    feed.at(9)
    feed.close()
    assert torch.equal(torch.get_rng_state(), state)


def test_close_ends_the_workers(folder):
    before = {child.pid for child in psutil.Process().children()}
    feed = Feed(open_data(folder, stream=True), seed=0, batch=4, workers=2)
    feed.at(0)
    children = [child for child in psutil.Process().children() if child.pid not in before]
    assert len(children) >= 2
    feed.close()
    assert not psutil.wait_procs(children, timeout=10)[1]


def workers_of(feed):
    """The processes that the feed starts for its first batch."""
    before = {child.pid for child in psutil.Process().children()}
    feed.at(0)
    return [child for child in psutil.Process().children() if child.pid not in before]


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="the system does not tell who sent a signal")
def test_sigterm_from_outside_leaves_the_workers_alone(folder):
    """`timeout`, systemd and Slurm send it to the whole process group."""
    feed, held = (Feed(open_data(folder, stream=s), seed=0, batch=4, workers=2 * s) for s in (True, False))
    workers = workers_of(feed)
    subprocess.run(["sh", "-c", 'kill -TERM "$@"', "sh", *(str(worker.pid) for worker in workers)], check=True)
    for b in range(1, 30):
        same(feed.at(b), held.at(b))
    assert all(worker.is_running() for worker in workers)
    start = time.monotonic()
    feed.close()
    assert time.monotonic() - start < 4  # torch's last resort comes after 5 seconds
    assert not psutil.wait_procs(workers, timeout=5)[1]


HOST = """
import sys
from simulacra.data import Feed, open_data
feed = Feed(open_data(sys.argv[1], stream=True), seed=0, batch=4, workers=2)
feed.at(0)
held = feed._ahead._batches
print("up", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("end", ["exits", "killed"])
def test_workers_end_with_their_parent(folder, end):
    host = subprocess.Popen([sys.executable, "-c", HOST, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with host:
        assert host.stdout is not None
        assert host.stdout.readline() == b"up\n"
        workers = psutil.Process(host.pid).children()
        assert len(workers) >= 2
        if end == "killed":
            host.kill()
        host.communicate(timeout=20)
    assert not psutil.wait_procs(workers, timeout=12)[1]


def torn_folder(root):
    for row in range(6):
        save(root / "train" / "a" / f"{row}.png", noise(16, 16, key=row))
    save(root / "test" / "a" / "0.png", noise(16, 16))
    for row in (1, 2):
        whole = (root / "train" / "a" / f"{row}.png").read_bytes()
        (root / "train" / "a" / f"{row}.png").write_bytes(whole[: len(whole) // 2])
    return f"folder:{root}"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_one_line_whatever_decodes_it(tmp_path, workers):
    feed = Feed(open_data(torn_folder(tmp_path), stream=True), seed=0, batch=6, workers=workers)
    for _ in range(2):
        with pytest.raises(UserError) as caught:
            feed.at(0)
        assert len(str(caught.value).splitlines()) == 1
        assert ".png' is broken" in str(caught.value)
    feed.close()


def test_skipped_images_are_counted_alike_for_any_number_of_workers(tmp_path, caplog):
    source = open_data(torn_folder(tmp_path), stream=True, skip_broken=True)
    feeds = [Feed(source, seed=0, batch=2, workers=workers) for workers in (0, 1, 2)]
    with caplog.at_level(logging.WARNING, logger="simulacra.data"):
        for b in range(6):
            batches = [feed.at(b) for feed in feeds]
            same(batches[0], batches[1])
            same(batches[0], batches[2])
            assert feeds[0].skipped == feeds[1].skipped == feeds[2].skipped
    for feed in feeds:
        feed.close()
    assert feeds[0].skipped == {"train/a/1.png", "train/a/2.png"}
    assert len(caplog.records) == 2 * len(feeds)


def test_a_killed_worker_is_the_machines_fault(folder):
    before = {child.pid for child in psutil.Process().children()}
    feed = Feed(open_data(folder, stream=True), seed=0, batch=4, workers=1)
    feed.at(0)
    for child in psutil.Process().children():
        if child.pid not in before:
            os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(MachineError, match="worker"):
        collections.deque(map(feed.at, range(1, 50)), maxlen=0)
    feed.close()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"batch": 0}, "batch is 0"),
        ({"batch": 4, "rank": 2, "ranks": 2}, "rank 2 of 2"),
        ({"batch": 4, "rank": -1}, "rank -1"),
        ({"batch": 2, "ranks": 3}, "3 ranks"),
        ({"batch": 2, "workers": -1}, "workers is -1"),
    ],
)
def test_senseless_feeds_are_refused(digits, options, part):
    with pytest.raises(UserError, match=part):
        Feed(digits, seed=0, **options)


def test_vectors_have_no_mirror_image():
    with pytest.raises(UserError, match="mirror"):
        Feed(open_data("ring", split="test"), seed=0, batch=1, mirror=True)


def test_negative_batches_are_refused(digits):
    with pytest.raises(UserError, match="-1"):
        Feed(digits, seed=0, batch=1).at(-1)
