"""How long maxout takes there and back against torch's own `amax`, in one process.

    python benchmarks/maxout_speed.py

300 rows of 200 units of 5 pieces, as in PacGAN's discriminator; median of 15 alternating blocks of 100.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from simulacra.networks.activations import Maxout

ROWS, UNITS, PIECES, BLOCKS, TIMES = 300, 200, 5, 15, 100


def plain(x: Tensor) -> Tensor:
    """Maxout by torch's reduction."""
    return x.unflatten(1, (PIECES, -1)).amax(1)


def there_and_back(maxout: Callable[[Tensor], Tensor], x: Tensor, gradient: Tensor) -> float:
    """Microseconds of one evaluation with its gradient."""
    began = time.perf_counter()
    for _ in range(TIMES):
        torch.autograd.grad(maxout(x), x, gradient)
    return (time.perf_counter() - began) / TIMES * 1e6


def main() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(ROWS, PIECES * UNITS, dtype=dtype, requires_grad=True)
        gradient = torch.randn(ROWS, UNITS, dtype=dtype)
        seconds = [[there_and_back(f, x, gradient) for f in (Maxout(PIECES), plain)] for _ in range(BLOCKS)]
        ours, torchs = map(statistics.median, zip(*seconds))
        print(f"{dtype}: {ours:.0f} us, torch's {torchs:.0f} us, {torchs / ours:.2f} times as long")


if __name__ == "__main__":
    main()
