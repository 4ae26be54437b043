"""A GAN small enough for the Jacobian of all its parameters, under three weights of consensus."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.theory.drawing import BLUE, GREEN, GREY, RED, axes
from benchmarks.theory.training import rows
from simulacra.data.spec import Spec
from simulacra.game import Clock, Game, Player, Round, consensus
from simulacra.jacobian import at_once, eigenvalues, jacobian
from simulacra.optimizers import SGD
from simulacra.recipes import find

LEVELS = torch.special.ndtri((torch.arange(128, dtype=torch.float64) + 0.5) / 128)[:, None]
BUMP = 2 + 0.5 * LEVELS
"""128 points `[128, 1]` of N(0, 1) and of N(2, ¼), each the middle of an equal share."""

SMALL = {"latent": "1", "width": "6", "depth": "1", "activation": "tanh", "turns": "simultaneous"}


def recipe(seed: int) -> Game:
    """*gan* with 6 hidden units in each network, on points of one coordinate."""
    spec, kind = Spec(kind="vector", shape=(1,), classes=None), find("gan")
    options = kind.options().with_overrides(SMALL, "gan")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind.build(spec, len(BUMP), options).stages[0].game


def small_gan(gamma: float, seed: int = 0) -> Game:
    """The players and moves of `recipe` in float64, both at once, by plain descent of rate 0.1 under consensus."""
    game = recipe(seed)
    for player in game.players.values():
        player.module.double()
    players = [Player(name=name, module=each.module, optimizer=SGD(lr=0.1)) for name, each in game.players.items()]
    moves = [move for round_ in game.rounds if isinstance(round_, Round) for move in round_.moves]
    return Game(players, [Round(*moves, rule=consensus(gamma))])


@torch.no_grad()
def miss(game: Game) -> float:
    """W₁ between the data and what the generator makes of the levels: in order, each its own."""
    made = game.players["generator"].module.get_submodule("generator")(LEVELS)
    return (made.sort(0).values - BUMP).abs().mean().item()


def misses(game: Game, steps: int) -> list[float]:
    """Play, with new noise in every step; `miss` before the first and after every 20th."""
    found = [miss(game)]
    for step in range(steps):
        game.step(lambda k: rows(BUMP), Clock(step=step))
        if step % 20 == 19:
            found.append(miss(game))
    return found


def small_gans() -> Figure:
    figure, (left, right) = axes(2, 3.4)
    where_they_end(left)
    what_they_make(right)
    return figure


ENDS = (
    (0.0, 0, GREY, "before"),
    (1.0, 500, GREEN, "where γ = 1 has led"),
    (10.0, 500, RED, "where γ = 10 has led"),
)


def where_they_end(one: Axes) -> None:
    """The eigenvalues of the field's Jacobian before and after training from the first start."""
    for gamma, steps, colour, name in ENDS:
        game = small_gan(gamma)
        misses(game, steps)
        found = eigenvalues(jacobian(at_once(game, rows(BUMP))))
        one.plot(found.real, found.imag, "o", ms=4, color=colour, label=name, alpha=0.8)
    one.axvline(0, color=GREY, lw=0.8)
    one.set(xlabel="real part", ylabel="imaginary part")
    one.set_title("eigenvalues of the first start", fontsize=10)
    one.legend(fontsize=8, loc="upper left")


def what_they_make(one: Axes) -> None:
    """W to the data while they learn, from six starts."""
    for gamma, colour in ((0.0, BLUE), (1.0, GREEN), (10.0, RED)):
        for seed in range(6):
            name = f"γ = {gamma:g}" if seed == 0 else None
            one.semilogy(range(0, 501, 20), misses(small_gan(gamma, seed), 500), color=colour, lw=1, label=name)
    one.set(xlabel="steps", ylabel="W to the data")
    one.set_title("what the generator makes, six starts", fontsize=10)
    where = {"loc": "center right", "bbox_to_anchor": (1.0, 0.72)}
    one.legend(fontsize=9, ncols=3, handlelength=1.0, columnspacing=1.0, **where)
