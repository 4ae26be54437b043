"""Some rows of a data set, and a second one beside the first."""

import numpy as np
import pytest
import torch

from simulacra.data import Feed, open_data
from simulacra.data.subset import some, some_of_each, unlabelled
from simulacra.errors import UserError


@pytest.fixture(scope="module")
def digits():
    return open_data("digits")


def test_some_rows_are_the_sources_own_with_their_names_and_labels(digits):
    part = some(digits, 20, seed=3)
    rows = [
        int(np.flatnonzero([digits.name_of(k) == part.name_of(row) for k in range(len(digits))])[0])
        for row in range(20)
    ]
    assert rows == sorted(set(rows))
    assert torch.equal(part.rows(np.arange(20)), digits.rows(np.array(rows)))
    assert torch.equal(part.labels, digits.labels[rows])
    assert len(part) == 20
    assert part.fingerprint != digits.fingerprint
    assert part.fingerprint == some(digits, 20, seed=3).fingerprint
    assert part.fingerprint != some(digits, 20, seed=4).fingerprint


def test_some_of_each_has_as_many_of_every_class(digits):
    part = some_of_each(digits, 7, seed=0)
    assert torch.bincount(part.labels).tolist() == [7] * 10


def test_a_streamed_source_gives_the_same_rows():
    streamed, whole = open_data("stacked_mnist"), open_data("stacked_mnist")
    part = some(streamed, 5, seed=1)
    assert torch.equal(part.rows(np.array([4, 0])), some(whole, 5, seed=1).rows(np.array([4, 0])))


def test_more_rows_than_there_are_are_refused_by_number(digits):
    with pytest.raises(UserError, match="ask for fewer"):
        some(digits, len(digits) + 1, seed=0)
    with pytest.raises(UserError, match=r"class '.*' of 'digits' has"):
        some_of_each(digits, 1000, seed=0)
    with pytest.raises(UserError, match="no labels"):
        some_of_each(unlabelled(digits), 1, seed=0)


def test_rows_of_a_second_set_come_beside_the_first_in_their_own_order(digits):
    part = some_of_each(digits, 3, seed=0)
    feed = Feed(unlabelled(digits), seed=5, batch=16, beside=part)
    batch = feed.at(2)
    assert batch.labels is None
    assert batch.beside.x.shape == batch.x.shape
    place = batch.beside.index.numpy()
    assert torch.equal(batch.beside.labels, part.labels[place])
    assert torch.equal(batch.rows(4, 9).beside.x, batch.beside.x[4:9])
    halves = [Feed(digits, seed=5, batch=16, beside=part, rank=rank, ranks=2).at(2).beside for rank in (0, 1)]
    assert torch.equal(torch.cat([half.x for half in halves]), batch.beside.x)
    assert not torch.equal(feed.at(3).beside.index, batch.beside.index)
