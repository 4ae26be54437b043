"""Sums of latents, by hand."""

import pytest
import torch

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.explore.arithmetic import NOISE, around, combined, mean_of
from simulacra.explore.sheets import arithmetic_sheet
from tests.explore.linear import Linear


def test_means_are_added() -> None:
    # mean(a) = (2, 3), mean(b) = (1, 1), mean(c) = (0, −4): (2, 3) − (1, 1) + (0, −4) = (1, −2)
    a, b = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 1.0]])
    c = torch.tensor([[0.0, -6.0], [0.0, -3.0], [0.0, -3.0]])
    assert combined(a, b, c).tolist() == [1.0, -2.0]


def test_means_come_in_blocks() -> None:
    # (1 + 2 + 6) / 3 = 3, whatever the blocks
    assert mean_of([torch.tensor([[1.0], [2.0]]), torch.tensor([[6.0]])]).tolist() == [[3.0]]


def test_nothing_and_other_widths_are_refused() -> None:
    some = torch.zeros(1, 2)
    with pytest.raises(UserError, match="at least one latent"):
        combined(some, torch.zeros(0, 2), some)
    with pytest.raises(UserError, match="2 and 3 numbers"):
        combined(some, torch.zeros(1, 3), some)


def test_neighbours_are_near_and_seeded() -> None:
    z, deviations = torch.tensor([5.0, -5.0]), torch.tensor([1.0, 0.0])
    near = around(z, 500, deviations, seed=4)
    assert (near[:, 1] == -5.0).all()  # no spread, no noise
    moves = (near[:, 0] - 5.0).abs()
    assert 0.9 * NOISE < moves.max() <= NOISE
    assert torch.equal(near, around(z, 500, deviations, seed=4))
    assert pytest.approx(0.25) == NOISE / 3**0.5  # a uniform prior on ±1 deviates by 1/√3: the paper's ±0.25


def test_the_sheet_shows_examples_means_and_neighbours() -> None:
    model = Linear(torch.eye(2))
    spec = Spec(kind="image", shape=(1, 1, 2), classes=None)
    parts = [torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0, -4.0]])]
    sheet = arithmetic_sheet(model, parts, spec, seed=0)
    assert sheet.shape == (4, 3, 2)  # two examples above the mean
    assert sheet[0].tolist() == [[1.0, 2.0], [3.0, 4.0], [2.0, 3.0]]
    assert sheet[1].tolist() == [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]  # white, white, and b, which is (1, 1)
    assert sheet[3, -1].tolist() == [1.0, -2.0]
    assert (sheet[3, :-1] - sheet[3, -1]).abs().max() < 0.5
    points = arithmetic_sheet(model, parts, model.spec, seed=0)
    assert points[0].tolist() == [[2.0, 3.0], [1.0, 1.0], [0.0, -4.0], [1.0, -2.0]]
