"""How two players who are one number each move around their equilibrium, and why: paths and eigenvalues."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.theory.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, axes
from benchmarks.theory.games import Payoff, dirac, game_of, product, slopes, trajectory
from simulacra.game import consensus, extragradient, leave
from simulacra.jacobian import eigenvalues

RULES = {
    "simultaneous": (leave, False, RED),
    "alternating": (leave, True, ORANGE),
    "extragradient": (extragradient, False, BLUE),
    "consensus": (consensus(0.5), False, GREEN),
}


def trajectories() -> Figure:
    figure, (left, right) = axes(2, 3.6)
    paths(left, product, "f = xy", 0.2, 40)
    paths(right, dirac, "Dirac GAN", 0.4, 60)
    handles, names = right.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, fontsize=9, handlelength=1.2, columnspacing=1.0)
    return figure


def paths(one: Axes, payoff: Payoff, title: str, lr: float, steps: int) -> None:
    """By every rule from (1, 1), and of the Dirac GAN with R1 too."""
    for name, (rule, alternating, colour) in RULES.items():
        draw(one, trajectory(game_of(payoff, rule, lr, (1.0, 1.0), alternating), steps), colour, name)
    if payoff is dirac:
        draw(one, trajectory(game_of(payoff, leave, lr, (1.0, 1.0), gamma=1.0), steps), PURPLE, "R1, γ = 1")
    one.plot(0, 0, "k+", ms=9)
    one.set(title=title, xlabel="x (generator)", ylabel="y (discriminator)", aspect="equal")


def draw(one: Axes, path: Tensor, colour: str, name: str) -> None:
    one.plot(path[:, 0], path[:, 1], ".-", ms=3, lw=1, color=colour, label=name)


def toy_eigenvalues() -> Figure:
    figure, (one,) = axes(1, 3.4)
    one.axvline(0, color=GREY, lw=0.8)
    one.axhline(0, color=GREY, lw=0.8)
    games = {"f = xy": (product, 0.0, RED, "o"), "Dirac GAN": (dirac, 0.0, BLUE, "s")}
    shades = ("#cdb4db", "#a97fc0", PURPLE, "#3f1a5c")
    games |= {f"Dirac GAN, R1, γ = {g:g}": (dirac, g, c, "D") for g, c in zip((0.25, 0.5, 1.0, 1.5), shades)}
    for name, (payoff, gamma, colour, marker) in games.items():
        found = eigenvalues(slopes(game_of(payoff, leave, 0.1, (0.0, 0.0), gamma=gamma)))
        one.plot(found.real, found.imag, marker, color=colour, ms=7, label=name)
    one.set(xlabel="real part", ylabel="imaginary part", title="left of the axis: pulled in; on it: only turning")
    one.set(xlim=(-1.6, 0.3), ylim=(-1.2, 1.2))
    one.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
