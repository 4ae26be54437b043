"""Theory made visible: the figures of docs/theory.md. What they draw is computed here and checked in tests.

    python benchmarks/theory.py [--out docs/images]

About a minute on one core. Densities and trajectories are in float64; all randomness is of seed 0.
"""

import argparse
from collections.abc import Callable, Sequence
from io import BytesIO
from math import erf, exp, log, pi, sqrt
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from simulacra.costs.adversarial import OBJECTIVES, classify, f_gan, minimax, separate
from simulacra.costs.divergences import F_DIVERGENCES, FDivergence
from simulacra.data.batch import Batch
from simulacra.data.spec import Spec
from simulacra.game import Clock, Game, Move, Player, Round, Rule, consensus, extragradient, leave
from simulacra.jacobian import at_once, eigenvalues, jacobian
from simulacra.networks.mlp import MLP
from simulacra.optimizers import SGD, Adam
from simulacra.penalties.gradient import gradient_penalty
from simulacra.randomness import generator
from simulacra.recipes import find
from simulacra.rules import half_squared_field

CPU = torch.device("cpu")


class Normal(NamedTuple):
    """N(mean, deviation²) on the line."""

    mean: float
    deviation: float

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x), of the shape of `x`."""
        return -0.5 * ((x - self.mean) / self.deviation).square() - log(self.deviation * sqrt(2 * pi))

    def draw(self, n: int, key: int) -> Tensor:
        """Samples `[n, 1]` of a key."""
        return self.mean + self.deviation * torch.randn(n, 1, generator=generator(CPU, key), dtype=torch.float64)


GRID = torch.linspace(-30.0, 30.0, 60_001, dtype=torch.float64)


def integral(values: Tensor) -> float:
    """∫ over `GRID` by the trapezoid rule."""
    return torch.trapezoid(values, GRID).item()


def rows(x: Tensor) -> Batch:
    return Batch(x=x, labels=None, index=torch.arange(len(x)), start=0, joint=len(x), pass_end=False)


ONE = rows(torch.ones(1, 1, dtype=torch.float64))


# The best discriminator.


def log_ratio(p: Normal, q: Normal, x: Tensor) -> Tensor:
    """log p(x)/q(x): the logit of D*(x) = p/(p + q)."""
    return p.log_density(x) - q.log_density(x)


def value_at_best(p: Normal, q: Normal) -> float:
    """V(D*, G) = ∫ p log D* + q log(1 − D*), by the library's costs."""
    score = log_ratio(p, q, GRID)
    terms = classify(score, score)
    return -integral(p.log_density(GRID).exp() * terms["real"] + q.log_density(GRID).exp() * terms["fake"])


def jensen_shannon(p: Normal, q: Normal) -> float:
    """½ KL(p‖m) + ½ KL(q‖m), m = (p + q)/2."""
    a, b = p.log_density(GRID), q.log_density(GRID)
    middle = torch.logaddexp(a, b) - log(2)
    return 0.5 * integral(a.exp() * (a - middle) + b.exp() * (b - middle))


def trained_discriminator(p: Normal, q: Normal, steps: int = 400) -> nn.Module:
    """A perceptron of 2 × 32 units after Adam steps on 1024 new samples of each."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        scores = MLP((1,), (1,), 32, activation=nn.Tanh).double()

    def cost(batch, at):
        real, fake = (each.mean + each.deviation * at.normal(1) for each in (p, q))
        return classify(scores(real), scores(fake))

    player = Player(name="discriminator", module=scores, optimizer=Adam(lr=0.01), rate=lambda progress: 1.0 - progress)
    game = Game.single(player, cost)
    seen = rows(torch.zeros(1024, 1, dtype=torch.float64))
    for step in range(steps):
        game.step(lambda k: seen, Clock(step=step, progress=step / steps))
    return scores


# f-divergences.


def f_divergence(divergence: FDivergence, p: Normal, q: Normal) -> float:
    """D_f(P‖Q) = ∫ q f(p/q)."""
    return integral(q.log_density(GRID).exp() * divergence.f(log_ratio(p, q, GRID).exp()))


def bound_of(divergence: FDivergence, p: Normal, q: Normal, critic: nn.Module) -> float:
    """∫ p g_f(v) − ∫ q f*(g_f(v)), what the critic's scores v show of D_f(P‖Q)."""
    with torch.no_grad():
        v = critic(GRID[:, None])[:, 0]
    real, fake = p.log_density(GRID).exp(), q.log_density(GRID).exp()
    return integral(real * divergence.activation(v) - fake * divergence.conjugate_of_score(v))


def share(divergence: FDivergence, p: Normal, q: Normal, value: float) -> float:
    """`value` between f(1), the divergence's least, and D_f(P‖Q), as a share of the way."""
    least = divergence.f(torch.ones(1, dtype=torch.float64)).item()
    return (value - least) / (f_divergence(divergence, p, q) - least)


def fitted_bounds(
    divergence: FDivergence, p: Normal, q: Normal, steps: int = 300
) -> tuple[nn.Module, dict[int, float]]:
    """A critic of 2 × 32 units after Adam steps on 512 new samples of each; its bounds after 20, 60 and all steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        critic = MLP((1,), (1,), 32, activation=nn.Tanh).double()

    def cost(batch, at):
        real, fake = (each.mean + each.deviation * at.normal(1) for each in (p, q))
        return f_gan(divergence).discriminator(critic(real), critic(fake))

    player = Player(name="critic", module=critic, optimizer=Adam(lr=0.02), rate=lambda progress: 1.0 - progress)
    game, seen, found = Game.single(player, cost), rows(torch.zeros(512, 1, dtype=torch.float64)), {}
    for step in range(steps):
        game.step(lambda k: seen, Clock(step=step, progress=step / steps))
        if step + 1 in (20, 60, steps):
            found[step + 1] = bound_of(divergence, p, q, critic)
    return critic, found


# Parallel lines.


def lines(theta: Tensor, points: int = 16) -> tuple[Tensor, Tensor]:
    """(0, y) and (θ, y) for equally spaced y in [0, 1]: rows `[points, 2]` of two equally weighted point sets."""
    y = torch.linspace(0.0, 1.0, points, dtype=torch.float64)
    return torch.stack([torch.zeros_like(y), y], 1), torch.stack([theta.expand(points), y], 1)


def kl(p: dict, q: dict) -> float:
    """Σ p log p/q over the atoms of p; infinite where q lacks one."""
    return sum(w * log(w / q[atom]) if atom in q else float("inf") for atom, w in p.items())


def kl_and_js(a: Tensor, b: Tensor) -> tuple[float, float]:
    """KL and JS between two sets of distinct rows, equally weighted."""
    p, q = ({tuple(row): 1 / len(x) for row in x.tolist()} for x in (a, b))
    middle = {atom: 0.5 * (p.get(atom, 0.0) + q.get(atom, 0.0)) for atom in p | q}
    return kl(p, q), 0.5 * (kl(p, middle) + kl(q, middle))


def transport(a: Tensor, b: Tensor) -> Tensor:
    """W₁ between two sets of as many rows by the best assignment; differentiable, as the best plan stays put."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.linalg.vector_norm(a[:, None] - b[None], dim=2)
    return cost[linear_sum_assignment(cost.detach().numpy())].mean()


# The generator's gradient under a discriminator that is right.


def slope(objective: str, score: Tensor) -> Tensor:
    """∂ cost / ∂ score of the generator, at each score."""
    score = score.clone().requires_grad_()
    (cost,) = OBJECTIVES[objective].generator(score).values()
    return torch.autograd.grad(cost.sum(), score)[0]


def pull(objective: str, gap: float) -> float:
    """|E ∂ cost / ∂ θ| of a generator θ + z at θ = `gap`, for data and noise of deviation 1, with D at its best."""
    p, q = Normal(0.0, 1.0), Normal(gap, 1.0)
    score = log_ratio(p, q, GRID)  # gap²/2 − gap·x: its slope by x is −gap
    return abs(integral(q.log_density(GRID).exp() * slope(objective, score) * -gap))


def noisy_gradients(n: int, objective: str) -> Tensor:
    """∂ cost / ∂ θ `[n]` at θ = 0 of D(θ) = ε + rθ: a perfect D, 0 on the fakes, whose value and slope are off by
    independent normal noise of deviation 0.01 and 1."""
    noise = torch.randn(n, 2, generator=generator(CPU, 3), dtype=torch.float64)
    theta = torch.zeros(n, dtype=torch.float64, requires_grad=True)
    d = 0.01 * noise[:, 0] + noise[:, 1] * theta
    cost = (1 - d).log() if objective == "minimax" else -d.abs().log()
    return torch.autograd.grad(cost.sum(), theta)[0]


def half_width(values: Tensor) -> float:
    """Half the distance between the quartiles."""
    low, high = torch.quantile(values, torch.tensor([0.25, 0.75], dtype=values.dtype)).tolist()
    return (high - low) / 2


# A critic against exact transport.


def exact_wasserstein(p: Normal, q: Normal) -> float:
    """W₁ of two normals: the best plan pairs equal quantiles, so it is E|μ + σz| with μ and σ their differences."""
    mu, sigma = abs(p.mean - q.mean), abs(p.deviation - q.deviation)
    if sigma == 0:
        return mu
    return sigma * sqrt(2 / pi) * exp(-(mu**2) / (2 * sigma**2)) + mu * erf(mu / (sigma * sqrt(2)))


class Estimate(NamedTuple):
    """A critic's difference of means on two samples and its Lipschitz constant on them."""

    difference: float
    lipschitz: float

    @property
    def bound(self) -> float:
        """What W₁ of the two samples is at least."""
        return self.difference / self.lipschitz


@torch.no_grad()
def estimate(critic: nn.Module, real: Tensor, fake: Tensor) -> Estimate:
    """Of rows `[N, 1]`. On a line the steepest chord between neighbours is the Lipschitz constant on all points."""
    x = torch.cat([real, fake]).sort(0).values
    lipschitz = (critic(x).diff(dim=0) / x.diff(dim=0)).abs().max()
    return Estimate((critic(real).mean() - critic(fake).mean()).item(), lipschitz.item())


class Fitted(NamedTuple):
    """A critic, the samples `[N, 1]` it was trained on, and its estimates every 20 steps."""

    critic: nn.Module
    real: Tensor
    fake: Tensor
    estimates: list[Estimate]


def fitted_critic(p: Normal, q: Normal, steps: int = 600, weight: float = 50.0) -> Fitted:
    """A critic of 2 × 32 units with the one-sided gradient penalty, on all of 512 samples of each in every step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        critic = MLP((1,), (1,), 32, activation=nn.ReLU).double()
    real, fake, found = p.draw(512, 1), q.draw(512, 2), []
    game = critic_game(critic, fake, Adam(lr=0.01, betas=(0.5, 0.9)), weight, one_sided=True)
    for step in range(steps):
        game.step(lambda k: rows(real), Clock(step=step, progress=step / steps))
        if step % 20 == 19:
            found.append(estimate(critic, real, fake))
    return Fitted(critic, real, fake, found)


def critic_game(critic: nn.Module, fake: Tensor, optimizer: SGD | Adam, weight: float, one_sided: bool) -> Game:
    """The critic alone, against fakes that stay as they are; the rate falls to zero."""

    def cost(batch, at):
        penalty = gradient_penalty(critic, batch.x, fake, at.uniform(), weight, one_sided)
        return separate(critic(batch.x), critic(fake)) | {"penalty": penalty}

    return Game.single(Player(name="critic", module=critic, optimizer=optimizer, rate=lambda t: 1.0 - t), cost)


# Small games.


class Point(nn.Module):
    """A player who is one number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor([value], dtype=torch.float64))


Payoff = Callable[[Tensor, Tensor], Tensor]


def product(x: Tensor, y: Tensor) -> Tensor:
    """f = xy, which x descends and y ascends."""
    return x * y


def dirac(x: Tensor, y: Tensor) -> Tensor:
    """The Dirac GAN: data at 0, the fake at x, D's score of a point is y times it; the constant term is left out."""
    return minimax(x * y)["fool"]


def game_of(payoff: Payoff, rule: Rule, lr: float, start: Sequence[float], alternating=False, gamma=0.0) -> Game:
    """x descends the payoff, y ascends it and pays ½γy²: R1 where y is the slope of a linear discriminator."""
    x, y = Point(start[0]), Point(start[1])
    moves = [
        Move(name="x", players=["x"], cost=lambda rows, at: {"f": payoff(x.at, y.at)}),
        Move(name="y", players=["y"], cost=lambda rows, at: {"f": 0.5 * gamma * y.at.square() - payoff(x.at, y.at)}),
    ]
    players = [Player(name=n, module=m, optimizer=SGD(lr=lr)) for n, m in (("x", x), ("y", y))]
    return Game(players, [Round(m, rule=rule) for m in moves] if alternating else [Round(*moves, rule=rule)])


def place(game: Game) -> list[float]:
    return [parameter.item() for player in game.players.values() for parameter in player.parameters]


def trajectory(game: Game, steps: int) -> Tensor:
    """Where the players are before the first and after every step, `[steps + 1, players]`."""
    path = [place(game)]
    for step in range(steps):
        game.step(lambda k: ONE, Clock(step=step))
        path.append(place(game))
    return torch.tensor(path, dtype=torch.float64)


def slopes(game: Game) -> Tensor:
    """The Jacobian of the field along which the players move, where they are."""
    return jacobian(at_once(game, ONE))


def under_consensus(matrix: Tensor, gamma: float) -> Tensor:
    """J − γJᵀJ: what consensus makes of the field's Jacobian J where the field is 0 (Mescheder et al. 2017, §4)."""
    return matrix - gamma * matrix.T @ matrix


def update_matrix(payoff: Payoff, lr: float, alternating: bool) -> Tensor:
    """What one step multiplies (x, y) by, for a payoff whose game is linear."""
    ends = [trajectory(game_of(payoff, leave, lr, start, alternating), 1)[-1] for start in ((1.0, 0.0), (0.0, 1.0))]
    return torch.stack(ends, 1)


def double_well(rule: Rule, start: float, lr: float = 0.1) -> Game:
    """One player descends x⁴/4 − x²/2: least at ±1, greatest in between at 0."""
    point = Point(start)
    move = Move(name="x", players=["x"], cost=lambda rows, at: {"f": point.at**4 / 4 - point.at**2 / 2})
    return Game([Player(name="x", module=point, optimizer=SGD(lr=lr))], [Round(move, rule=rule)])


def border(gamma: float) -> float:
    """Consensus from any start nearer to 0 ends there: where v(1 + γv′) = 0 with v = x³ − x, so 1 + γ(3x² − 1) = 0."""
    return sqrt(max(1 - 1 / gamma, 0.0) / 3)


# A small GAN.

LEVELS = torch.special.ndtri((torch.arange(128, dtype=torch.float64) + 0.5) / 128)[:, None]
BUMP = 2 + 0.5 * LEVELS
"""128 points `[128, 1]` of N(0, 1) and of N(2, ¼), each the middle of an equal share."""


SMALL = {"latent": "1", "width": "6", "depth": "1", "activation": "tanh", "turns": "simultaneous"}


def small_gan(gamma: float, seed: int = 0) -> Game:
    """The recipe *gan* with 6 hidden units each, both at once, by plain descent of rate 0.1 under consensus."""
    spec, kind = Spec(kind="vector", shape=(1,), classes=None), find("gan")
    options = kind.options().with_overrides(SMALL, "gan")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        game = kind.build(spec, len(BUMP), options).stages[0].game
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


# Who moves first.

GENERATORS = {"all on A": (1.0, 0.0), "all on B": (0.0, 1.0), "half, half": (0.5, 0.5)}
DISCRIMINATORS = {"A looks fake": (0.2, 0.8), "cannot tell": (0.5, 0.5), "B looks fake": (0.8, 0.2)}


def payoffs() -> Tensor:
    """V(D, G) `[generators, discriminators]` for data half at A and half at B, D by its values there."""
    data = torch.tensor([0.5, 0.5], dtype=torch.float64)
    fakes, d = (torch.tensor([*t.values()], dtype=torch.float64) for t in (GENERATORS, DISCRIMINATORS))
    return data @ d.T.log() + fakes @ (1 - d).log().T


def min_max(table: Tensor) -> float:
    """G (rows) must commit first and D answers."""
    return table.max(1).values.min().item()


def max_min(table: Tensor) -> float:
    """D (columns) must commit first and G answers."""
    return table.min(0).values.max().item()


# Drawing.

BLUE, RED, GREEN, ORANGE, GREY = "#2166ac", "#c0392b", "#2e8b57", "#d98200", "#777777"


def axes(columns: int = 1, height: float = 3.0):
    """A figure 7 inches wide, its axes in a row, without the frame's upper and right side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    plt.rcParams.update({"legend.frameon": False})
    figure, each = plt.subplots(1, columns, figsize=(7.0, height), layout="constrained", squeeze=False)
    return figure, each[0]


def optimal_discriminator():
    p, q = Normal(-1.0, 1.0), Normal(1.0, 0.6)
    x = torch.linspace(-4.0, 4.0, 400, dtype=torch.float64)
    figure, (left, right) = axes(2)
    left.fill_between(x, p.log_density(x).exp(), color=BLUE, alpha=0.25, label="data p")
    left.fill_between(x, q.log_density(x).exp(), color=RED, alpha=0.25, label="generator q")
    left.plot(x, log_ratio(p, q, x).sigmoid(), "k", label="p / (p + q)")
    found = trained_discriminator(p, q)(x[:, None])[:, 0].detach().sigmoid()
    left.plot(x, found, "--", color=ORANGE, label="trained D")
    left.set(xlabel="x", title="the best discriminator", ylim=(0, 1.45))
    left.legend(ncols=2, loc="upper center", fontsize=9)
    gaps = [0.25 * k for k in range(-24, 25)]
    right.plot(gaps, [value_at_best(Normal(0.0, 1.0), Normal(gap, 1.0)) for gap in gaps], color=BLUE, lw=2)
    right.axhline(-log(4), color=GREY, ls=":")
    right.text(6, -log(4) + 0.03, "−2 log 2", ha="right", color=GREY)
    right.set(xlabel="mean of q, data at 0", title="V(D*, G) = 2 JS − 2 log 2")
    return figure


SHOWN = {"kl": BLUE, "reverse-kl": RED, "pearson": ORANGE, "jensen-shannon": GREEN}


def f_gans():
    p, q = Normal(0.0, 1.0), Normal(0.5, 1.2)
    x = torch.linspace(-3.0, 3.0, 200, dtype=torch.float64)
    figure, (left, right) = axes(2, 3.4)
    for place, (name, each) in enumerate(F_DIVERGENCES.items()):
        critic, bounds = fitted_bounds(each, p, q)
        for value, colour in zip(bounds.values(), ("#c6d5e6", "#7fa3c9", BLUE)):
            right.plot(share(each, p, q, value), place, "o", color=colour, ms=6)
        if name in SHOWN:
            left.plot(x, each.optimal(log_ratio(p, q, x).exp()), color=SHOWN[name], lw=1.5, label=name)
            left.plot(x, each.activation(critic(x[:, None])[:, 0].detach()), "--", color=SHOWN[name], lw=1.2)
    left.set(xlabel="x", ylim=(-3.6, 2.6))
    left.set_title("T: the best (line), the trained (dashed)", fontsize=10)
    left.legend(fontsize=8, loc="lower left", ncols=1)
    right.axvspan(0.98, 1.0, color=GREEN, alpha=0.2, lw=0)
    right.axvline(1.0, color="k", lw=0.8)
    right.set_yticks(range(len(F_DIVERGENCES)), [*F_DIVERGENCES])
    right.invert_yaxis()
    right.set(xlabel="share of the divergence shown", xlim=(0.75, 1.01))
    right.set_title("the bound after 20, 60 and 300 steps", fontsize=10)
    return figure


def parallel_lines():
    figure, (one,) = axes(1)
    thetas = [k / 20 for k in range(-20, 21)]
    found = [kl_and_js(*lines(torch.tensor(t, dtype=torch.float64))) for t in thetas]
    moved = [transport(*lines(torch.tensor(t, dtype=torch.float64))) for t in thetas]
    one.plot(thetas, moved, color=GREEN, lw=2, label="W = |θ|")
    one.plot(thetas, [js for _, js in found], "o", ms=4, color=BLUE, label="JS: log 2, and 0 at θ = 0")
    capped = [1.3 if value else 0.0 for value, _ in found]
    one.plot(thetas, capped, "^", ms=4, color=RED, label="KL: ∞ (off the scale), and 0 at θ = 0")
    one.set(xlabel="θ, the distance of the lines", ylim=(-0.05, 2.0), title="only W says which way to go")
    one.legend(loc="upper center", ncols=1, fontsize=9)
    return figure


def saturation():
    figure, (left, right) = axes(2)
    score = torch.linspace(-8.0, 8.0, 200, dtype=torch.float64)
    gaps = torch.linspace(0.1, 9.0, 60).tolist()
    for name, colour in (("minimax", RED), ("non-saturating", BLUE)):
        left.plot(score.sigmoid(), slope(name, score).abs(), color=colour, lw=2, label=name)
        right.semilogy(gaps, [pull(name, gap) for gap in gaps], color=colour, lw=2, label=name)
    bound = [0.5 * gap * exp(-(gap**2) / 8) for gap in gaps]
    right.semilogy(gaps, bound, color=GREY, ls=":", label="bound, ½ θ exp(−θ²/8)")
    left.set(xlabel="D(G(z))", ylabel="|∂ cost / ∂ score|", title="per sample")
    right.set(xlabel="θ, distance from the data", ylabel="|∂ cost / ∂ θ|", title="under the best D", ylim=(1e-5, 200))
    left.legend(fontsize=9)
    right.legend(fontsize=9, loc="lower left")
    return figure


def gradient_noise():
    figure, (one,) = axes(1)
    sizes = [2**k for k in range(11)]
    for name, colour in (("non-saturating", BLUE), ("minimax", RED)):
        means = [half_width(noisy_gradients(size * 2000, name).view(2000, size).mean(1)) for size in sizes]
        one.loglog(sizes, means, "o-", color=colour, ms=4, label=name)
    one.axhline(100.0, color=GREY, ls=":", label="quartile of the Cauchy law")
    one.set(xlabel="fakes in the batch", ylabel="quartile of the mean gradient", title="averaging does not help −log D")
    one.legend(fontsize=9, loc="center right")
    return figure


def critic():
    p, q = Normal(0.0, 0.5), Normal(0.7, 1.5)
    fitted = fitted_critic(p, q)
    figure, (left, right) = axes(2)
    x = torch.linspace(-3.5, 5.0, 300, dtype=torch.float64)
    with torch.no_grad():
        found = fitted.critic(x[:, None])[:, 0]
    left.plot(x, (found - found.min()) / (found.max() - found.min()), color=ORANGE, lw=2, label="critic (scaled)")
    left.fill_between(x, p.log_density(x).exp(), color=BLUE, alpha=0.25, label="data")
    left.fill_between(x, q.log_density(x).exp(), color=RED, alpha=0.25, label="generator")
    left.set(xlabel="x", title="what the critic learns", ylim=(0, 1.4))
    left.legend(fontsize=9, loc="upper left")
    steps = [20 * (k + 1) for k in range(len(fitted.estimates))]
    right.plot(steps, [each.difference for each in fitted.estimates], color=GREY, lw=1.2, label="difference of means")
    right.plot(steps, [each.bound for each in fitted.estimates], color=ORANGE, lw=2, label="… / Lipschitz constant")
    exact = transport(fitted.real, fitted.fake).item()
    right.axhline(exact, color="k", ls="--", lw=1.2, label="exact W of the samples")
    right.set(xlabel="critic steps", title="its estimate of W", ylim=(0, 1.6 * exact))
    right.legend(fontsize=9, loc="lower right")
    return figure


RULES = {
    "simultaneous": (leave, False, RED),
    "alternating": (leave, True, ORANGE),
    "extragradient": (extragradient, False, BLUE),
    "consensus": (consensus(0.5), False, GREEN),
}


def trajectories():
    figure, each = axes(2, 3.6)
    for one, payoff, title in zip(each, (product, dirac), ("f = xy", "Dirac GAN")):
        lr, steps = (0.2, 40) if payoff is product else (0.4, 60)
        for name, (rule, alternating, colour) in RULES.items():
            path = trajectory(game_of(payoff, rule, lr, (1.0, 1.0), alternating), steps)
            one.plot(path[:, 0], path[:, 1], ".-", ms=3, lw=1, color=colour, label=name)
        if payoff is dirac:
            path = trajectory(game_of(payoff, leave, lr, (1.0, 1.0), gamma=1.0), steps)
            one.plot(path[:, 0], path[:, 1], ".-", ms=3, lw=1, color="#7b3fa0", label="R1, γ = 1")
        one.plot(0, 0, "k+", ms=9)
        one.set(title=title, xlabel="x (generator)", ylabel="y (discriminator)", aspect="equal")
    handles, names = each[1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, fontsize=9, handlelength=1.2, columnspacing=1.0)
    return figure


def toy_eigenvalues():
    figure, (one,) = axes(1, 3.4)
    one.axvline(0, color=GREY, lw=0.8)
    one.axhline(0, color=GREY, lw=0.8)
    games = {"f = xy": (product, 0.0, RED, "o"), "Dirac GAN": (dirac, 0.0, BLUE, "s")}
    shades = ("#cdb4db", "#a97fc0", "#7b3fa0", "#3f1a5c")
    games |= {f"Dirac GAN, R1, γ = {g:g}": (dirac, g, c, "D") for g, c in zip((0.25, 0.5, 1.0, 1.5), shades)}
    for name, (payoff, gamma, colour, marker) in games.items():
        found = eigenvalues(slopes(game_of(payoff, leave, 0.1, (0.0, 0.0), gamma=gamma)))
        one.plot(found.real, found.imag, marker, color=colour, ms=7, label=name)
    one.set(xlabel="real part", ylabel="imaginary part", title="left of the axis: pulled in; on it: only turning")
    one.set(xlim=(-1.6, 0.3), ylim=(-1.2, 1.2))
    one.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


PATHS = {
    "descent": (leave, BLUE, 0.0),
    "consensus, γ = 0.5": (consensus(0.5), GREEN, 0.012),
    "consensus, γ = 2": (consensus(2.0), ORANGE, 0.012),
    "½‖v‖² alone": (half_squared_field, RED, 0.024),
}


def field_alone():
    figure, (left, right) = axes(2, 3.4)
    x = torch.linspace(-0.4, 1.4, 200)
    left.plot(x, x**4 / 4 - x**2 / 2, color="k", lw=1.2)
    for name, (rule, colour, lift) in PATHS.items():
        path = trajectory(double_well(rule, 0.3), 60)[:, 0]
        left.plot(path, path**4 / 4 - path**2 / 2 + lift, ".-", color=colour, ms=5, lw=1, label=name)
    left.plot(0.3, 0.3**4 / 4 - 0.3**2 / 2, "ko", ms=6)
    left.set(xlabel="x", ylabel="cost", title="four rules from x = 0.3", ylim=(-0.27, 0.22))
    left.legend(fontsize=8, loc="upper left")
    held_back(right)
    return figure


def held_back(right) -> None:
    """The starts from which consensus ends at the maximum, by its weight."""
    gammas = torch.logspace(0, 1.5, 200).tolist()
    right.fill_between(gammas, [border(gamma) for gamma in gammas], color=RED, alpha=0.15, lw=0)
    right.plot(gammas, [border(gamma) for gamma in gammas], color=RED, lw=1.2)
    for gamma in (0.5, 1.1, 2.0, 4.0, 10.0):
        for start in (0.1, 0.3, 0.48, 0.7):
            end = trajectory(double_well(consensus(gamma), start, lr=0.04), 150)[-1, 0]
            right.plot(gamma, start, "o", ms=5, color=RED if end < start else BLUE)
    right.axvline(1.0, color=GREY, ls=":")
    right.set(xscale="log", xlim=(0.4, 31), ylim=(0, 0.85), xlabel="γ", ylabel="start")
    right.set_title("consensus ends at the maximum\n(red) or at the minimum (blue)", fontsize=10)


def small_gans():
    figure, (left, right) = axes(2, 3.4)
    for gamma, colour in ((0.0, BLUE), (1.0, GREEN), (10.0, RED)):
        for seed in range(6):
            name = f"γ = {gamma:g}" if seed == 0 else None
            right.semilogy(range(0, 501, 20), misses(small_gan(gamma, seed), 500), color=colour, lw=1, label=name)
    for gamma, steps, colour, name in (
        (0.0, 0, GREY, "before"),
        (1.0, 500, GREEN, "where γ = 1 has led"),
        (10.0, 500, RED, "where γ = 10 has led"),
    ):
        game = small_gan(gamma)
        misses(game, steps)
        found = eigenvalues(jacobian(at_once(game, rows(BUMP))))
        left.plot(found.real, found.imag, "o", ms=4, color=colour, label=name, alpha=0.8)
    left.axvline(0, color=GREY, lw=0.8)
    left.set(xlabel="real part", ylabel="imaginary part")
    left.set_title("eigenvalues of the first start", fontsize=10)
    left.legend(fontsize=8, loc="upper left")
    right.set(xlabel="steps", ylabel="W to the data")
    right.set_title("what the generator makes, six starts", fontsize=10)
    right.legend(
        fontsize=9, loc="center right", bbox_to_anchor=(1.0, 0.72), ncols=3, handlelength=1.0, columnspacing=1.0
    )
    return figure


def order():
    figure, (one,) = axes(1, 2.6)
    table = payoffs()
    one.imshow(table, cmap="Blues_r", aspect="auto", vmin=-3.2, vmax=-0.9)
    for i in range(3):
        for j in range(3):
            ink = "white" if table[i, j] < -2 else "black"
            one.text(j, i, f"{table[i, j]:.2f}".replace("-", "−"), ha="center", va="center", color=ink, size=12)
    one.set_xticks(range(3), [*DISCRIMINATORS])
    one.set_yticks(range(3), [f"G: {name}" for name in GENERATORS])
    one.spines[:].set_visible(False)
    one.tick_params(length=0)
    found = [f"min max {min_max(t):.2f}, max min {max_min(t):.2f}" for t in (table[:2], table)]
    one.set_title("two rows: {};  all three: {}".format(*found).replace("-", "−"), fontsize=9)
    return figure


def save(figure, path: Path) -> None:
    """As a PNG 910 pixels wide with a palette of 64 colours: a third of the bytes."""
    from PIL import Image

    drawn = BytesIO()
    figure.savefig(drawn, dpi=130)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)


FIGURES = {
    "optimal-discriminator": optimal_discriminator,
    "f-gan": f_gans,
    "parallel-lines": parallel_lines,
    "saturation": saturation,
    "gradient-noise": gradient_noise,
    "critic": critic,
    "trajectories": trajectories,
    "eigenvalues": toy_eigenvalues,
    "field-alone": field_alone,
    "small-gan": small_gans,
    "order": order,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    given = parser.parse_args()
    for name, draw in FIGURES.items():
        path = given.out / f"theory-{name}.png"
        save(draw(), path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
