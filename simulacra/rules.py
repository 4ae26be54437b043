"""What a round makes of its gradients before they are applied; see `game.Round`."""

from collections.abc import Callable

from torch import Tensor

from simulacra.play import Gradients, Play

Rule = Callable[[Play], Gradients]


def leave(play: Play) -> Gradients:
    """The default rule: the gradients as they are."""
    return play.gradients()


def consensus(gamma: float) -> Rule:
    """Consensus optimisation: v + γ∇½‖v‖² (Mescheder, Nowozin & Geiger 2017, Algorithm 2)."""

    def rule(play: Play) -> Gradients:
        v = play.gradients()
        pulled = play.pullback(v)
        return {name: [_plus(g, h, gamma) for g, h in zip(v[name], pulled[name])] for name in v}

    return rule


def half_squared_field(play: Play) -> Gradients:
    """∇½‖v‖² alone: descent on the size of the game's vector field v. It finds points where v = 0, equilibria or not
    (Mescheder, Nowozin & Geiger 2017, §4.1)."""
    return play.pullback(play.gradients())


def extragradient(play: Play) -> Gradients:
    """Extragradient: the gradients met after one step ahead (Korpelevich 1976; Gidel et al. 2019, eqs. 14 and 15)."""
    with play.ahead(play.gradients()):
        return play.gradients()


def _plus(g: Tensor | None, h: Tensor | None, scale: float) -> Tensor | None:
    return g if h is None else h * scale if g is None else g + scale * h
