"""Networks that write a string character by character."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from simulacra.networks.mlp import MLP
from simulacra.precision import widen

Choose = Callable[[int, Tensor], Tensor]
"""Of the place t and the logits `[N, V]` there, the characters written: rows `[N, V]` that sum to one."""


class Recurrent(nn.Module):
    """A gated recurrent unit (Cho et al. 2014) that is told z at the start, then the place and the character before."""

    def __init__(self, latent: int, length: int, characters: int, width: int) -> None:
        super().__init__()
        self.length, self.characters = length, characters
        self.first = nn.Sequential(nn.Linear(latent, width), nn.Tanh())
        self.cell = nn.GRUCell(characters + length, width)
        self.logits = nn.Linear(width, characters)

    def forward(self, z: Tensor, choose: Choose) -> tuple[Tensor, Tensor]:
        """Characters chosen and the logits they were chosen by, `[N, T, V]` each, of latents `[N, J]`."""
        state, before = self.first(z), z.new_zeros(len(z), self.characters)
        places = torch.eye(self.length, dtype=z.dtype, device=z.device)
        written, logits = [], []
        for t in range(self.length):
            told = torch.cat([before, places[t].expand(len(z), -1)], 1)
            state = self.cell(told, state)
            logits.append(widen(self.logits(state)))
            before = choose(t, logits[-1])
            written.append(before)
        return torch.stack(written, 1), torch.stack(logits, 1)


class AtOnce(nn.Module):
    """Perceptrons whose characters, given z, do not know of each other."""

    def __init__(self, latent: int, length: int, characters: int, width: int, depth: int) -> None:
        super().__init__()
        self.length = length
        self.layers = MLP((latent,), (length, characters), width, depth)

    def forward(self, z: Tensor, choose: Choose) -> tuple[Tensor, Tensor]:
        """As `Recurrent`."""
        logits = widen(self.layers(z))
        return torch.stack([choose(t, logits[:, t]) for t in range(self.length)], 1), logits
