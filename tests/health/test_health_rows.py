"""Rows beside rows, and what networks look like from inside, by hand."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from simulacra.health import modules, rows


def test_room_is_what_latents_leave_of_the_distances_of_rows() -> None:
    """Real rows 0, 3, 4: nearest 1 of 8/3 on average. Latents 0, 1, 2, 9: nearest 1 of 14/3."""
    real, latents = torch.tensor([[0.0], [3.0], [4.0]]), torch.tensor([[0.0], [1.0], [2.0], [9.0]])
    assert rows.room(latents, real) == pytest.approx((3 / 14) / (3 / 8))
    assert rows.room(7.0 * real, real) == rows.room(real, latents) == 1.0
    assert rows.room(torch.ones(4, 2), real) == rows.room(latents, torch.ones(4, 2)) == 1.0


def test_three_points_by_hand() -> None:
    """Real rows 0, 3, 4 on a line: distances 3, 4, 1, mean 8/3, nearest 3, 1, 1, median 1. Generated ones half as far
    apart: 100, 101.5, 102."""
    real = torch.tensor([[0.0], [3.0], [4.0]])
    found = rows.compare(100.0 + 0.5 * real, real)
    assert found.diversity == pytest.approx(0.5)
    assert found.nearest == pytest.approx(0.5)
    assert found.told_apart == 1.0
    assert found.distinct == 1.0
    assert found.distance == pytest.approx(100.0 + 3.5 / 3 - 7 / 3)  # all generated ones lie beyond all real ones


def test_rows_of_one_law_are_not_told_apart() -> None:
    both = torch.randn(128, 3, generator=torch.Generator().manual_seed(0))
    found = rows.compare(both[:64], both[64:])
    assert 0.35 < found.told_apart < 0.65
    assert 0.9 < found.diversity < 1.1


def test_one_point_is_collapse() -> None:
    real = torch.arange(8.0)[:, None]
    found = rows.compare(torch.ones(8, 1), real)
    assert (found.diversity, found.nearest, found.distinct) == (0.0, 0.0, 1 / 8)


def test_memorised_by_hand() -> None:
    """Training rows 0, 10, 20 are 10 apart; generated rows at 1, 9, 21 are 1 from one of them."""
    train = torch.tensor([[0.0], [10.0], [20.0]])
    assert rows.memorised(torch.tensor([[1.0], [9.0], [21.0]]), train) == pytest.approx(0.1)
    assert rows.memorised(train, train) == 0.0


def test_ranked_counts_pairs_and_half_of_ties() -> None:
    """Of (2, 0) against (1, 0): 2 is above both, 0 is below one and ties with the other: 2.5 of 4."""
    assert rows.ranked(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0])) == 2.5 / 4


def test_class_means_by_hand() -> None:
    means = rows.Means(torch.tensor([[0.0], [2.0], [10.0]]), torch.tensor([0, 0, 2]), 3)  # class 1 has no rows
    assert means.of(torch.tensor([[0.4], [5.4], [5.6]])).tolist() == [0, 0, 2]  # the means are 1 and 10


def test_chance_is_what_other_labels_would_reach() -> None:
    """Half of 100 answers and of labels are 0: chance is 1/2, its error 1/20. All right is 10 errors above."""
    labels = torch.arange(100) % 2
    assert rows.above_chance(labels, labels, 2) == (1.0, pytest.approx(10.0))
    assert rows.above_chance(torch.zeros(100, dtype=torch.int64), labels, 2) == (0.5, pytest.approx(0.0))


def two_layers() -> nn.Sequential:
    """Units of the first layer: x, -x, x - 5, -1; of the second the sum of what is on of them, and its negative."""
    net: Any = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 2), nn.LeakyReLU())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [-1.0], [1.0], [0.0]]))
        net[0].bias.copy_(torch.tensor([0.0, 0.0, -5.0, -1.0]))
        net[2].weight.copy_(torch.tensor([[1.0] * 4, [-1.0] * 4]))
        net[2].bias.zero_()
    return net


def test_dead_units_by_hand() -> None:
    """On x = 1, 2 the units -x, x - 5 and -1 are off: three of four; of the second layer, the negative sum."""
    net, switched = two_layers(), modules.Switched()
    with switched.watching({"player": net}):
        net(torch.tensor([[1.0], [2.0]]))
        assert switched.dead() == {"player/1 (ReLU)": 0.75, "player/3 (LeakyReLU)": 0.5}
        net(torch.tensor([[6.0], [-1.0]]))  # another call switches two more on
        assert switched.dead()["player/1 (ReLU)"] == 0.25
    net(torch.tensor([[-3.0]]))
    assert switched.dead()["player/1 (ReLU)"] == 0.25, "it is watched no longer"


def test_a_channel_is_on_where_any_position_is() -> None:
    relu, switched = nn.ReLU(), modules.Switched()
    x = -torch.ones(2, 3, 4, 4)
    x[1, 2, 3, 0] = 1.0
    with switched.watching({"g": nn.Sequential(relu)}):
        relu(x)
    assert switched.dead() == {"g/0 (ReLU)": pytest.approx(2 / 3)}


def test_spectral_norms_agree_with_svd() -> None:
    torch.manual_seed(0)
    net: Any = nn.Sequential(nn.Linear(20, 30), nn.Conv2d(3, 8, 4), nn.ConvTranspose2d(5, 7, 3), nn.Embedding(3, 4))
    found = modules.spectral_norms({"p": net})
    wanted = [net[0].weight, net[1].weight.flatten(1), net[2].weight.transpose(0, 1).flatten(1)]
    assert [*found] == ["p/0", "p/1", "p/2"]
    for value, weight in zip(found.values(), wanted):
        assert 0.9 < value / float(torch.linalg.matrix_norm(weight.detach(), 2)) <= 1.0001


def test_signatures_change_with_any_weight() -> None:
    net = nn.Linear(3, 2)
    before = modules.signatures({"p": net})
    assert before["p"][0] == 8
    assert modules.signatures({"p": net}) == before
    with torch.no_grad():
        net.weight[1, 2] += 1e-6
    assert modules.signatures({"p": net}) != before


def test_batch_norm_uses_the_rows_at_hand_and_keeps_nothing() -> None:
    net: Any = nn.Sequential(nn.BatchNorm1d(2)).eval()
    x = 5.0 + torch.randn(16, 2)
    with modules.normalising_by_batch(net):
        assert torch.allclose(net(x).mean(0), torch.zeros(2), atol=1e-5)
    assert not net[0].training
    assert net[0].running_mean.abs().max() == 0.0
    assert math.isclose(float(net(x).detach().mean()), float(x.mean()), rel_tol=1e-3)
