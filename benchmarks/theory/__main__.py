"""The figures of docs/theory.md, all of them, in about a minute on one core.

python -m benchmarks.theory [--out docs/images]
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.theory import (
    critics,
    discriminators,
    distances,
    divergences,
    dynamics,
    field,
    order,
    saturation,
    small_gan,
)
from benchmarks.theory.drawing import save

FIGURES: Mapping[str, Callable[[], Figure]] = {
    "optimal-discriminator": discriminators.optimal_discriminator,
    "f-gan": divergences.f_gans,
    "parallel-lines": distances.parallel_lines,
    "saturation": saturation.saturation,
    "gradient-noise": saturation.gradient_noise,
    "critic": critics.critic,
    "trajectories": dynamics.trajectories,
    "eigenvalues": dynamics.toy_eigenvalues,
    "field-alone": field.field_alone,
    "small-gan": small_gan.small_gans,
    "order": order.order,
}
"""By their names on the page: theory-NAME.png."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.theory")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "docs" / "images")
    given = parser.parse_args()
    for name, draw in FIGURES.items():
        path = given.out / f"theory-{name}.png"
        save(draw(), path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
