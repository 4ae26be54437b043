"""What a prober reads off networks whose answers are known."""

import pytest
import torch
from torch import Tensor, nn

from simulacra.data import Source
from simulacra.health.probe import HELD, ROWS, Prober
from tests.health.made import source


class Zeros(nn.Module):
    """A generator of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.zeros(2))

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Zeros `[n, 2]`, as they stand."""
        return self.at.detach().expand(n, -1)


class FirstCoordinate(nn.Module):
    """A critic that says what the first coordinate is, of batches it keeps the sizes of."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.zeros(1))
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        """Scores `[N, 1]`."""
        self.sizes.append(len(x))
        return x[:, :1]


def points(scores: Tensor) -> Source:
    """Points of these scores, each with another second coordinate."""
    return source(torch.stack([scores, torch.linspace(-1, 1, len(scores))], 1))


def prober(critic: FirstCoordinate, train: Tensor, held: Tensor) -> Prober:
    return Prober(Zeros(), {"discriminator": critic}, points(train), scored=True, held=lambda: points(held))


@pytest.mark.parametrize(("score", "overfit"), [(1.0, 0.0), (0.75, 0.25), (0.0, 1.0)])
def test_how_far_held_rows_lie_between_training_rows_and_samples(score: float, overfit: float) -> None:
    """Training rows score 1, samples 0: held rows of score h are 1 - h of the way."""
    critic = FirstCoordinate()
    found = prober(critic, torch.ones(1000), torch.full((1000,), score)).probe(0)
    assert found.overfit == pytest.approx(overfit)
    assert set(critic.sizes) == {ROWS}  # batch norm meets batches of one size
    assert sum(critic.sizes) == 2 * ROWS + 2 * HELD


def test_few_training_rows_are_read_in_batches_of_as_many() -> None:
    critic = FirstCoordinate()
    assert prober(critic, torch.ones(20), torch.full((1000,), 0.5)).probe(0).overfit == pytest.approx(0.5)
    assert set(critic.sizes) == {20}


def test_held_rows_are_drawn_from_all_over() -> None:
    """Sorted by their scores from 0 to 1, as a split sorted by class may be, their mean is 1/2."""
    found = prober(FirstCoordinate(), torch.ones(1000), torch.linspace(0, 1, 1000)).probe(0)
    assert found.overfit == pytest.approx(0.5, abs=0.05)
