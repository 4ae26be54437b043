"""How all figures look: their colours, axes and bytes."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from matplotlib import rc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from benchmarks.theory.line import Normal

BLUE, RED, GREEN, ORANGE, PURPLE, GREY = "#2166ac", "#c0392b", "#2e8b57", "#d98200", "#7b3fa0", "#777777"


def axes(columns: int = 1, height: float = 3.0) -> tuple[Figure, Sequence[Axes]]:
    """A figure 7 inches wide, its axes in a row, without the frame's upper and right side."""
    rc("font", size=10)  # for good: it is looked up again when the figure is saved
    rc("axes.spines", top=False, right=False)
    rc("legend", frameon=False)
    figure = Figure(figsize=(7.0, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def densities(one: Axes, x: Tensor, p: Normal, q: Normal, names: tuple[str, str] = ("data", "generator")) -> None:
    """Fill the areas under p and q over the points `x` `[N]`."""
    for normal, colour, name in zip((p, q), (BLUE, RED), names):
        one.fill_between(x, normal.log_density(x).exp(), color=colour, alpha=0.25, label=name)


def save(figure: Figure, path: Path) -> None:
    """As a PNG 910 pixels wide with a palette of 64 colours: a third of the bytes."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=130)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)
