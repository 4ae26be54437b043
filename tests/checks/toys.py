"""Games that are not yet systems of the library, so that the doors they need stay open."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from simulacra.data import Spec
from simulacra.game import At, ClosedForm, Game, Move, Player, Round, Rule, Stage, Terms, consensus, extragradient
from simulacra.networks.mlp import MLP
from simulacra.optimizers import SGD, Adam
from simulacra.penalties.gradient import r1


class Mixture(nn.Module):
    """A mixture of spherical Gaussians in the plane, moved by expectation maximisation only."""

    def __init__(self, size: int, dimensions: int) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.linspace(-1, 1, size * dimensions).reshape(size, dimensions))
        self.weights = nn.Parameter(torch.full((size,), 1 / size))
        self.variance = nn.Parameter(torch.ones(()))

    def joint(self, x: Tensor) -> Tensor:
        """log p(x, k) `[N, K]` but for a constant."""
        squared = (x[:, None] - self.means[None]).square().sum(2)
        return self.weights.log() - 0.5 * squared / self.variance - 0.5 * x.shape[1] * self.variance.log()


def expectation_maximisation(spec: Spec) -> Sequence[Stage]:
    mixture = Mixture(3, spec.numel)

    def statistics(batch, at: At) -> Mapping[str, Tensor]:
        x = batch.x.double().flatten(1)
        joint = mixture.joint(x)
        shares = joint.softmax(1)
        return {
            "count": shares.sum(0),
            "sum": shares.T @ x,
            "square": x.square().sum(),
            "log_likelihood": joint.logsumexp(1).sum(),
        }

    def apply(sums: Mapping[str, Tensor]) -> Terms:
        count, n = sums["count"], sums["count"].sum()
        means = sums["sum"] / count[:, None]
        spread = sums["square"] - (count[:, None] * means.square()).sum()
        mixture.weights.copy_(count / n)
        mixture.means.copy_(means)
        mixture.variance.copy_(spread / (n * means.shape[1]))
        return {"log_likelihood": sums["log_likelihood"] / n}

    game = Game(
        [Player(name="mixture", module=mixture)],
        [ClosedForm(name="em", players=["mixture"], statistics=statistics, apply=apply)],
    )
    return [Stage(name="em", game=game, steps=12, full_passes=1)]


def persistent_chain(spec: Spec) -> Sequence[Stage]:
    """A restricted Boltzmann machine by persistent contrastive divergence, its chain in the game's state."""
    visible, hidden = spec.numel, 6
    machine = nn.Bilinear(visible, hidden, 1)
    nn.init.normal_(machine.weight, 0.0, 0.05)

    def free_energy(v: Tensor) -> Tensor:
        return -nn.functional.softplus(v @ machine.weight[0]).sum(1) - machine.bias * v.mean(1)

    def cost(batch, at: At) -> Terms:
        data = (at.uniform(*batch.x.shape[1:]) < 0.5 * (batch.x + 1)).flatten(1).to(batch.x.dtype)
        with torch.no_grad():
            v = at.state("chain")
            h = (at.uniform(hidden) < (v @ machine.weight[0]).sigmoid()).to(v.dtype)
            v = (at.uniform(visible) < (h @ machine.weight[0].T).sigmoid()).to(v.dtype)
        at.write("chain", v)
        at.write("mean", v.mean())
        return {"divergence": free_energy(data) - free_energy(v)}

    game = Game(
        [Player(name="machine", module=machine, optimizer=SGD(lr=0.05, momentum=0.5))],
        [Round(Move(name="pcd", players=["machine"], cost=cost))],
        state={"chain": torch.zeros(16, visible), "mean": torch.zeros(())},
        per_sample=["chain"],
    )
    return [Stage(name="train", game=game, steps=12)]


def cycle(spec: Spec) -> Sequence[Stage]:
    """Four players: two translators that move together, and two critics that move together."""
    n = spec.numel
    nets = {name: MLP((n,), (n,), 8, 1) for name in ("forth", "back")}
    nets |= {name: MLP((n,), (1,), 8, 1, nn.Tanh) for name in ("critic_a", "critic_b")}

    def halves(batch) -> tuple[Tensor, Tensor]:
        return batch.x.flatten(1), batch.x.flatten(1).flip(1)

    def translate(batch, at: At) -> Terms:
        a, b = halves(batch)
        fake_b, fake_a = nets["forth"](a), nets["back"](b)
        return {
            "fool": (nets["critic_a"](fake_a) - 1).square().mean(1) + (nets["critic_b"](fake_b) - 1).square().mean(1),
            "cycle": 10 * (nets["back"](fake_b) - a).abs().mean(1) + 10 * (nets["forth"](fake_a) - b).abs().mean(1),
        }

    def forward(batch, at: At) -> Mapping[str, tuple[Tensor, Tensor]]:
        a, b = halves(batch)
        return {"critic_a": (a, nets["back"](b)), "critic_b": (b, nets["forth"](a))}

    def judge(name: str):
        def cost(shared, at: At) -> Terms:
            real, fake = shared[name]
            return {"real": (nets[name](real) - 1).square().mean(1), "fake": nets[name](fake).square().mean(1)}

        return cost

    critics = ["critic_a", "critic_b"]
    players = [Player(name=name, module=net, optimizer=Adam(lr=1e-3, betas=(0.5, 0.999))) for name, net in nets.items()]
    rounds = [
        Round(Move(name="translate", players=["forth", "back"], cost=translate)),
        Round(Move(name="judge", players=critics, cost={name: judge(name) for name in critics}, forward=forward)),
    ]
    return [Stage(name="train", game=Game(players, rounds), steps=12)]


def simultaneous(rule: Rule):
    """A small GAN whose two players move at once, under a rule on their gradients."""

    def build(spec: Spec) -> Sequence[Stage]:
        generator, critic = MLP((3,), spec.shape, 8, 1, nn.Tanh), MLP(spec.shape, (1,), 8, 1, nn.Tanh)

        def descend(batch, at: At) -> Terms:
            fake = generator(at.normal(3))
            return {"w": critic(fake) - critic(batch.x) + 0.1 * critic(batch.x).square()}

        def fool(batch, at: At) -> Terms:
            return {"w": -critic(generator(at.normal(3)))}

        players = [
            Player(name="generator", module=generator, optimizer=SGD(lr=0.05)),
            Player(name="critic", module=critic, optimizer=Adam(lr=1e-3)),
        ]
        both = Round(
            Move(name="judge", players=["critic"], cost=descend),
            Move(name="fool", players=["generator"], cost=fool),
            rule=rule,
        )
        return [Stage(name="train", game=Game(players, [both]), steps=12)]

    return build


def lazy_gan(spec: Spec) -> Sequence[Stage]:
    """A per-sample GAN with everything that must survive: averages, repeats, a lazy penalty, a clip."""
    generator, critic = MLP((5,), spec.shape, 12, 1, nn.Tanh), MLP(spec.shape, (1,), 12, 1, nn.Softplus)

    def judge(batch, at: At) -> Terms:
        fake = critic(generator(at.normal(5)))
        return {"real": nn.functional.softplus(-critic(batch.x)), "fake": nn.functional.softplus(fake)}

    def fool(batch, at: At) -> Terms:
        at.watch("noise", at.uniform())
        return {"fool": nn.functional.softplus(-critic(generator(at.normal(5))))}

    def penalise(batch, at: At) -> Terms:
        return {"r1": r1(critic, batch.x, 1.0)}

    adam = Adam(lr=1e-3, betas=(0.0, 0.99))
    players = [
        Player(name="critic", module=critic, optimizer=adam, clip=0.5, rate=lambda progress: 1 - 0.5 * progress),
        Player(name="generator", module=generator, optimizer=adam, average=0.99),
    ]
    rounds = [
        Round(Move(name="judge", players=["critic"], cost=judge, times=2)),
        Round(Move(name="penalise", players=["critic"], cost=penalise, every=4)),
        Round(Move(name="fool", players=["generator"], cost=fool)),
    ]
    return [Stage(name="train", game=Game(players, rounds), steps=12)]


def growing(spec: Spec) -> Sequence[Stage]:
    """Two stages on the same players: half the resolution, then all of it, faded in."""
    width = spec.shape[-1]
    coder, refiner = MLP((width // 2,), (width // 2,), 6, 1), MLP((width // 2,), (width,), 6, 1)

    def coarse(batch, at: At) -> Terms:
        return {"mse": (coder(batch.x) - batch.x).square().mean(1)}

    def fine(batch, at: At) -> Terms:
        small = batch.x.unflatten(1, (-1, 2)).mean(2)
        faded = torch.lerp(small.repeat_interleave(2, 1), refiner(coder(small)), min(2 * at.progress, 1.0))
        return {"mse": (faded - batch.x).square().mean(1)}

    def halve(batch):
        row = batch.x.flatten(1)[:, :width]
        return replace(batch, x=row.unflatten(1, (-1, 2)).mean(2))

    first = Player(name="coder", module=coder, optimizer=Adam(lr=1e-2), average=0.9)
    second = Player(name="refiner", module=refiner, optimizer=Adam(lr=1e-2))
    one = Game([first], [Round(Move(name="coarse", players=["coder"], cost=coarse))])
    two = Game([first, second], [Round(Move(name="fine", players=["coder", "refiner"], cost=fine))])
    return [
        Stage(name="coarse", game=one, steps=5, view=halve),
        Stage(name="fine", game=two, steps=7, view=lambda batch: replace(batch, x=batch.x.flatten(1)[:, :width])),
    ]


RULES = {"consensus": consensus(0.3), "extragradient": extragradient}
