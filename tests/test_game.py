"""The kernel, against numbers worked out by hand."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import dropout, mse_loss

from simulacra import randomness
from simulacra.data.batch import Batch
from simulacra.game import Clock, ClosedForm, Game, Move, NonFinite, Play, Player, Round, Stage, Table, Turn
from simulacra.networks.mlp import MLP
from simulacra.optimizers import SGD, Adam


class Number(nn.Module):
    """One parameter, float64."""

    def __init__(self, *values: float):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(values, dtype=torch.float64).squeeze())

    @property
    def value(self):
        return self.w.detach().clone()


def batch(*rows, **fields):
    x = torch.tensor(rows or (1.0,), dtype=torch.float64)
    x = x[:, None] if x.dim() == 1 else x
    plain = {"labels": None, "index": torch.arange(len(x)), "start": 0, "joint": len(x), "pass_end": False}
    return Batch(x=x, **{**plain, **fields})


def play(game, steps=1, batches=None, table=None, first=0, **clock):
    """Play `steps` steps, on `batches(k)` or on ones; the terms of the last."""
    terms = {}
    for step in range(first, first + steps):
        terms = game.step(batches or (lambda k: batch()), Clock(step=step, **clock), table)
    return terms


def one(module, cost, optimizer=None, **move):
    """A game of one move by the player `p`."""
    player = Player(name="p", module=module, optimizer=optimizer or SGD(lr=0.1))
    return Game([player], [Round(Move(name="m", players=["p"], cost=cost, **move))])


def close(a, *b):
    return torch.allclose(a, torch.tensor(b, dtype=torch.float64).squeeze(), rtol=1e-12, atol=1e-14)


# Repetitions


def test_each_repetition_steps_on_the_next_batch_with_new_noise():
    d, g = Number(0.0), Number(0.0)
    noise, seen = [], {"d": [], "g": []}

    def cost(name, module):
        def of(rows, at):
            noise.append(at.normal(2))
            seen[name].append(rows.x.item())
            return {"c": module.w * rows.x[:, 0]}

        return of

    players = [Player(name=n, module=m, optimizer=SGD(lr=0.1)) for n, m in (("d", d), ("g", g))]
    rounds = [
        Round(Move(name="d", players=["d"], cost=cost("d", d), times=3)),
        Round(Move(name="g", players=["g"], cost=cost("g", g))),
    ]
    game = Game(players, rounds)
    play(game, batches=lambda k: batch(float(10**k)))
    assert game.batches_per_step == 3
    assert seen == {"d": [1.0, 10.0, 100.0], "g": [100.0]}
    assert close(d.w, -0.1 * 111)
    assert len({tuple(z.flatten().tolist()) for z in noise}) == 4


def test_batches_are_counted_over_all_rounds():
    def round_(name, times):
        return Round(Move(name=name, players=["p"], cost=lambda rows, at: {"c": module.w}, times=times))

    module = Number(0.0)
    player = Player(name="p", module=module, optimizer=SGD())
    assert Game([player], [round_("a", 1)]).batches_per_step == 1
    assert Game([player], [round_("a", 2), round_("b", 1), round_("c", 3)]).batches_per_step == 4


# Lazy moves


@pytest.mark.parametrize(("gain", "factor"), [(None, 3.0), (1.0, 1.0), (0.5, 0.5)])
def test_a_lazy_move_plays_every_third_step_with_its_gain(gain, factor):
    module, played = Number(0.0), []

    def cost(rows, at):
        played.append(at.clock.step)
        return {"c": module.w}

    play(one(module, cost, every=3, gain=gain), steps=7)
    assert played == [0, 3, 6]
    assert close(module.w, -0.1 * factor * 3)


def test_gain_scales_what_is_descended_but_not_what_is_logged():
    module = Number(2.0)
    terms = play(one(module, lambda rows, at: {"c": 5.0 * module.w}, every=4))
    assert terms == {"m/c": 10.0, "p/gradient": 20.0}


def test_a_step_without_a_due_move_says_nothing_and_moves_nothing():
    module = Number(0.0)
    game = one(module, lambda rows, at: {"c": module.w}, every=3)
    assert play(game, first=1) == {}
    assert close(module.w, 0.0)


def lazily(*rounds):
    """The Adam group of a player `p` who plays `rounds`, each a list of (every, times)."""
    module = Number(0.0)
    made = [
        Round(
            *(
                Move(name=f"m{i}-{k}", players=["p"], cost=lambda r, at: {}, every=every, times=times)
                for k, (every, times) in enumerate(moves)
            )
        )
        for i, moves in enumerate(rounds)
    ]
    game = Game([Player(name="p", module=module, optimizer=Adam(lr=0.01, betas=(0.5, 0.99)))], made)
    return game.optimizers["p"].param_groups[0]


@pytest.mark.parametrize(
    ("rounds", "correction"),
    [
        ([[(1, 1)]], 1.0),
        ([[(1, 1)], [(4, 1)]], 4 / 5),
        ([[(1, 1)], [(16, 1)]], 16 / 17),
        ([[(1, 3)], [(4, 1)]], 12 / 13),
        ([[(1, 1)], [(4, 1)], [(4, 1)]], 2 / 3),
        ([[(1, 1), (4, 1)]], 1.0),
        ([[(4, 1)]], 1.0),
        ([[(4, 1)], [(8, 1)]], 1.0),
    ],
)
def test_adam_makes_room_for_the_extra_steps_of_lazy_rounds(rounds, correction):
    group = lazily(*rounds)
    assert group["lr"] == pytest.approx(0.01 * correction, rel=1e-12)
    assert group["betas"] == pytest.approx((0.5**correction, 0.99**correction), rel=1e-12)


# Moves on a condition


def conditional(optimizer, **move):
    """A game of a player `p` who descends w where the state `on` is not 0, and of `q` who always does; the calls of p's
    cost."""
    p, q, calls = Number(1.0), Number(1.0), []
    moves = [
        Move(
            name="m",
            players=["p"],
            cost=lambda rows, at: calls.append(at.clock.step) or {"c": p.w},
            when=lambda state: bool(state["on"]),
            **move,
        ),
        Move(name="n", players=["q"], cost=lambda rows, at: {"c": q.w}),
    ]
    players = [Player(name=n, module=m, optimizer=optimizer) for n, m in (("p", p), ("q", q))]
    return Game(players, [Round(move) for move in moves], state={"on": torch.zeros(())}), p, calls


def test_a_move_whose_condition_does_not_hold_touches_nothing_and_says_nothing():
    game, module, calls = conditional(Adam(lr=0.1))
    terms = play(game, steps=3)
    assert terms.keys() == {"n/c", "q/gradient"}
    assert close(module.w, 1.0)
    assert not game.optimizers["p"].state
    assert not calls


def test_a_resting_player_keeps_its_optimisers_memory_and_goes_on_from_it():
    """With momentum ½ and rate 0.1 on w from 1: w = 0.9 with memory 1 before the rest; after it memory ½ + 1."""
    game, module, _ = conditional(SGD(lr=0.1, momentum=0.5))
    for on, value, memory in ((1.0, 0.9, 1.0), (0.0, 0.9, 1.0), (0.0, 0.9, 1.0), (1.0, 0.75, 1.5)):
        game.state["on"] = torch.tensor(on)
        terms = play(game)
        assert close(module.w, value)
        assert close(game.optimizers["p"].state[module.w]["momentum_buffer"], memory)
        assert ("m/c" in terms) == bool(on)


def test_a_lazy_move_is_played_where_it_is_due_and_its_condition_holds():
    game, _, calls = conditional(SGD(), every=3)
    for step in range(8):
        game.state["on"] = torch.tensor(float(step > 1))
        play(game, first=step)
    assert calls == [3, 6]


def test_a_round_plays_those_of_its_moves_whose_condition_holds():
    """Of 3w and 100w only the first is descended."""
    module = Number(1.0)
    moves = [
        Move(name="a", players=["p"], cost=lambda rows, at: {"c": 3 * module.w}, when=lambda state: True),
        Move(name="b", players=["p"], cost=lambda rows, at: {"c": 100 * module.w}, when=lambda state: False),
    ]
    game = Game([Player(name="p", module=module, optimizer=SGD(lr=0.1))], [Round(*moves)])
    assert play(game) == {"a/c": 3.0, "p/gradient": 3.0}
    assert close(module.w, 0.7)


def test_a_condition_sees_the_state_that_earlier_rounds_and_repetitions_wrote():
    """From 0, `a` counts up each step and `b` plays where the count is odd, also in the step that made it so; `c`
    repeats up to five times and stops itself once it has written 2."""
    module, seen = Number(0.0), []

    def counting(name, state):
        def cost(rows, at):
            seen.append((name, at.clock.step))
            if state:
                at.write(state, at.state(state) + 1)
            return {"c": module.w}

        return cost

    moves = [
        Move(name="a", players=["p"], cost=counting("a", "n")),
        Move(name="b", players=["p"], cost=counting("b", None), when=lambda state: bool(state["n"] % 2 == 1)),
        Move(name="c", players=["p"], cost=counting("c", "k"), times=5, when=lambda state: bool(state["k"] < 2)),
    ]
    state = {"n": torch.tensor(0.0), "k": torch.tensor(0.0)}
    game = Game([Player(name="p", module=module, optimizer=SGD())], [Round(move) for move in moves], state=state)
    play(game, steps=3)
    assert seen == [("a", 0), ("b", 0), ("c", 0), ("c", 0), ("a", 1), ("a", 2), ("b", 2)]


def test_moves_of_one_round_see_the_state_before_it_in_their_conditions():
    module = Number(0.0)

    def cost(rows, at):
        at.write("on", torch.ones(()))
        return {"c": module.w}

    moves = [
        Move(name="a", players=["p"], cost=cost),
        Move(name="b", players=["p"], cost=lambda rows, at: {"c": module.w}, when=lambda state: bool(state["on"])),
    ]
    game = Game([Player(name="p", module=module, optimizer=SGD())], [Round(*moves)], state={"on": torch.zeros(())})
    assert "b/c" not in play(game)
    assert "b/c" in play(game, first=1)


# Simultaneous and alternating


def bilinear(simultaneous):
    """min over x, max over y of x y, from (1, 1)."""
    x, y = Number(1.0), Number(1.0)
    players = [Player(name=n, module=m, optimizer=SGD(lr=0.1)) for n, m in (("x", x), ("y", y))]
    moves = [
        Move(name="x", players=["x"], cost=lambda rows, at: {"f": x.w * y.w}),
        Move(name="y", players=["y"], cost=lambda rows, at: {"f": -x.w * y.w}),
    ]
    return Game(players, [Round(*moves)] if simultaneous else [Round(move) for move in moves]), x, y


def test_moves_of_one_round_see_the_same_parameters():
    game, x, y = bilinear(simultaneous=True)
    assert play(game) == pytest.approx({"x/f": 1.0, "y/f": -1.0, "x/gradient": 1.0, "y/gradient": 1.0})
    assert close(torch.stack([x.w, y.w]), 0.9, 1.1)


def test_moves_of_successive_rounds_see_each_other():
    game, x, y = bilinear(simultaneous=False)
    play(game)
    assert close(torch.stack([x.w, y.w]), 0.9, 1.09)


def test_a_player_of_several_moves_gets_their_sum_and_steps_once():
    module = Number(1.0, 2.0)
    moves = [
        Move(name="a", players=["p"], cost=lambda rows, at: {"c": (3 * module.w).sum()}),
        Move(name="b", players=["p"], cost=lambda rows, at: {"c": module.w[0].square()}, every=2),
    ]
    game = Game([Player(name="p", module=module, optimizer=SGD(lr=0.1, momentum=0.5))], [Round(*moves)])
    play(game)
    assert close(module.w, 1 - 0.1 * (3 + 2 * 2), 2 - 0.1 * 3)
    (memory,) = game.optimizers["p"].state.values()
    assert close(memory["momentum_buffer"], 7.0, 3.0)


def test_adam_counts_one_step_where_two_moves_share_a_round():
    module = Number(1.0)
    moves = [Move(name=n, players=["p"], cost=lambda rows, at: {"c": module.w.square()}) for n in "ab"]
    game = Game([Player(name="p", module=module, optimizer=Adam())], [Round(*moves)])
    play(game, steps=3)
    assert game.optimizers["p"].state[module.w]["step"] == 3


# Costs over one shared forward


def test_each_player_descends_its_own_cost_of_one_shared_forward():
    d, g = Number(2.0), Number(3.0)
    calls = []

    def forward(rows, at):
        calls.append(1)
        return d.w * g.w

    costs = {
        "d": lambda s, at: {"win": -s, "bait": 100 * g.w},  # g does not descend what d is charged
        "g": lambda s, at: {"lose": s, "bait": 100 * d.w},
    }
    players = [Player(name=n, module=m, optimizer=SGD(lr=0.1)) for n, m in (("d", d), ("g", g))]
    game = Game(players, [Round(Move(name="both", players=["d", "g"], forward=forward, cost=costs))])
    terms = play(game)
    assert calls == [1]
    assert close(torch.stack([d.w, g.w]), 2 + 0.1 * 3, 3 - 0.1 * 2)
    assert terms["both/d/win"] == -6.0
    assert terms["both/g/lose"] == 6.0


# Refusals


def test_a_parameter_has_one_owner():
    shared = Number(0.0)
    with pytest.raises(ValueError, match="owned by both 'a' and 'b'"):
        Game([Player(name=n, module=m) for n, m in (("a", shared), ("b", nn.ModuleList([shared])))], [])


def test_player_names_are_unique():
    with pytest.raises(ValueError, match="two players share a name"):
        Game([Player(name="a", module=Number(0.0)), Player(name="a", module=Number(0.0))], [])


def test_moves_name_players_that_play():
    move = Move(name="m", players=["p", "ghost"], cost=lambda rows, at: {})
    with pytest.raises(ValueError, match=r"do not play: \['ghost'\]"):
        Game([Player(name="p", module=Number(0.0), optimizer=SGD())], [Round(move)])


def test_per_sample_state_is_state():
    with pytest.raises(ValueError, match=r"not in the state: \['pool'\]"):
        Game([], [Round(Move(name="m", players=[], cost=lambda rows, at: {}))], per_sample=["pool"])


def test_moves_of_a_round_are_repeated_together():
    with pytest.raises(ValueError, match="must share `times`"):
        Round(*(Move(name="m", players=["p"], cost=lambda rows, at: {}, times=times) for times in (1, 2)))


def test_a_cost_that_no_player_can_lower_is_refused():
    with pytest.raises(ValueError, match="cost of move 'm' does not depend on p"):
        play(one(Number(1.0), lambda rows, at: {"c": rows.x.sum()}))


# Values that are not finite


def poisoned(term):
    """Players p and q move together; from step 1 on, p's cost is `term(w)`."""
    p, q = Number(1.0), Number(1.0)
    moves = [
        Move(name="q", players=["q"], cost=lambda rows, at: {"c": q.w.square()}),
        Move(name="m", players=["p"], cost=lambda rows, at: {"bad": term(p.w) if at.clock.step else p.w}),
    ]
    players = [Player(name=n, module=m, optimizer=Adam(lr=0.1)) for n, m in (("p", p), ("q", q))]
    return Game(players, [Round(*moves)]), p, q


@pytest.mark.parametrize(
    ("term", "what"),
    [
        (lambda w: w * torch.inf, "'m/bad' of p is not finite at step 1"),
        (lambda w: (w - w.detach()) / 0.0, "'m/bad' of p is not finite at step 1"),
        (lambda w: (w * 0).sqrt(), "'p/gradient' of p is not finite at step 1"),  # 0, whose slope is 0 · ∞
    ],
)
def test_nothing_is_touched_by_a_round_that_is_not_finite(term, what):
    game, p, q = poisoned(term)
    play(game)
    before = [
        p.value,
        q.value,
        *(v.clone() for o in game.optimizers.values() for s in o.state.values() for v in s.values()),
    ]
    with pytest.raises(NonFinite, match=what) as caught:
        play(game, first=1)
    after = [p.w, q.w, *(v for o in game.optimizers.values() for s in o.state.values() for v in s.values())]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert p.w.grad is None
    assert q.w.grad is None
    assert isinstance(caught.value.batch, Batch)


# Steps


@pytest.mark.parametrize(
    ("clip", "step"), [(1.0, (0.06, 0.08)), (5.0, (0.3, 0.4)), (9.0, (0.3, 0.4)), (None, (0.3, 0.4))]
)
def test_the_gradient_is_clipped_by_its_norm_and_its_own_norm_is_logged(clip, step):
    module = Number(0.0, 0.0)
    player = Player(name="p", module=module, optimizer=SGD(lr=0.1), clip=clip)
    slope = torch.tensor([3.0, 4.0], dtype=torch.float64)
    terms = play(Game.single(player, lambda rows, at: {"c": module.w @ slope}))
    assert close(-module.w, *step)
    assert terms["p/gradient"] == 5.0


def test_the_rate_is_a_function_of_progress():
    module = Number(0.0)
    player = Player(name="p", module=module, optimizer=SGD(lr=0.1), rate=lambda progress: 1 - progress)
    game = Game.single(player, lambda rows, at: {"c": module.w})
    for progress in (0.0, 0.25, 1.0, 0.5):  # a function of progress, not of what was before
        play(game, progress=progress)
    assert close(module.w, -0.1 * (1 + 0.75 + 0 + 0.5))


def test_parameters_that_no_cost_depends_on_are_left_alone():
    module = nn.ParameterDict({"used": torch.ones(2), "idle": torch.ones(2)})
    game = one(module, lambda rows, at: {"c": module["used"].sum()}, Adam(lr=0.1, weight_decay=0.5))
    with_gradients = []

    def spy(play):
        gradients = play.gradients()
        with_gradients.append([g is not None for g in gradients["p"]])
        return gradients

    game.rounds[0].rule = spy
    play(game, steps=3)
    assert with_gradients == [[name == "used" for name, _ in module.named_parameters()]] * 3
    assert torch.equal(module["idle"], torch.ones(2))
    assert module["idle"].grad is None
    assert module["idle"] not in game.optimizers["p"].state
    assert (module["used"] < 0.95**3).all()


def test_averages_are_updated_once_a_step():
    module = Number(0.0)
    player = Player(name="p", module=module, optimizer=SGD(), average=0.9)
    game = Game([player], [Round(Move(name="m", players=["p"], cost=lambda rows, at: {"c": module.w}, times=3))])
    play(game, steps=2)
    assert player.averaged is not None
    assert player.averaged.updates == 2


def test_watched_values_are_logged_and_not_descended():
    module = Number(1.0)

    def cost(rows, at):
        at.watch("w", 7 * module.w + rows.x)
        return {"c": module.w}

    terms = play(one(module, cost), batches=lambda k: batch(1.0, 2.0, 6.0))
    assert terms == {"m/c": 1.0, "m/w": 10.0, "p/gradient": 1.0}
    assert close(module.w, 0.9)


def test_per_sample_terms_are_averaged_and_summed_up():
    module = Number(1.0)
    cost = lambda rows, at: {"a": module.w * rows.x[:, 0], "b": 2 * module.w}  # noqa: E731
    terms = play(one(module, cost), batches=lambda k: batch(1.0, 2.0, 6.0))
    assert terms == {"m/a": 3.0, "m/b": 2.0, "p/gradient": 5.0}


@given(rows=st.integers(1, 9), parts=st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_micro_batches_weigh_every_row_alike(rows, parts):
    module = Number(1.0)
    x = [float(k * k) for k in range(rows)]
    game = one(module, lambda rows, at: {"c": module.w * rows.x[:, 0]})
    terms = play(game, batches=lambda k: batch(*x), table=Table(micro_batches=parts))
    assert terms["m/c"] == pytest.approx(sum(x) / rows, rel=1e-6)
    assert close(module.w, 1 - 0.1 * sum(x) / rows)


# State


def test_state_is_seen_from_the_next_round_on():
    module, seen = Number(0.0), []

    def cost(rows, at):
        seen.append(at.state("n").item())
        at.write("n", at.state("n") + 1)
        return {"c": module.w}

    first, second, third = (Move(name=n, players=["p"], cost=cost) for n in "abc")
    game = Game(
        [Player(name="p", module=module, optimizer=SGD())],
        [Round(first, second), Round(third)],
        state={"n": torch.tensor(5.0)},
    )
    play(game)
    assert seen == [5.0, 5.0, 6.0]
    assert game.state["n"] == 7.0
    game.reset(Table())
    assert game.state["n"] == 5.0


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_per_sample_state_follows_its_rows_and_shared_state_is_a_mean_over_micro_batches(parts):
    module = Number(0.0)

    def cost(rows, at):
        at.write("chain", at.state("chain") + rows.x)
        at.write("mean", rows.x.mean())
        return {"c": module.w + 0 * at.state("mean")}

    game = Game(
        [Player(name="p", module=module, optimizer=SGD())],
        [Round(Move(name="m", players=["p"], cost=cost))],
        state={"chain": torch.arange(5.0, dtype=torch.float64)[:, None], "mean": torch.zeros(())},
        per_sample=["chain"],
    )
    play(game, steps=2, batches=lambda k: batch(10.0, 20.0, 30.0, 40.0, 60.0), table=Table(micro_batches=parts))
    assert close(game.state["chain"].flatten(), 20.0, 41.0, 62.0, 83.0, 124.0)
    assert close(game.state["mean"].double(), 32.0)


def test_nothing_is_written_by_a_round_that_is_not_finite():
    module = Number(0.0)

    def cost(rows, at):
        at.write("n", torch.ones(()))
        return {"c": module.w / 0.0}

    move = Move(name="m", players=["p"], cost=cost)
    game = Game([Player(name="p", module=module, optimizer=SGD())], [Round(move)], state={"n": torch.zeros(())})
    with pytest.raises(NonFinite):
        play(game)
    assert game.state["n"] == 0.0


# A game of one


def test_a_game_of_one_is_a_plain_training_loop_bit_for_bit():
    def network():
        torch.manual_seed(3)
        return MLP((2,), (2,), 16, 2)

    x = torch.randn(20, 8, 2, generator=torch.Generator().manual_seed(0))
    ours, theirs = network(), network()
    player = Player(name="p", module=ours, optimizer=Adam(lr=1e-2, weight_decay=0.1))
    game = Game.single(
        player, lambda rows, at: {"mse": (ours(rows.x + at.normal(2)) - rows.x).square().flatten(1).mean(1)}
    )
    optimizer = torch.optim.AdamW(theirs.parameters(), 1e-2, (0.9, 0.999), 1e-8, weight_decay=0.1, fused=True)
    for step in range(20):
        rows = Batch(x=x[step], labels=None, index=torch.arange(8), start=0, joint=8, pass_end=False)
        game.step(lambda k, rows=rows: rows, Clock(seed=1, step=step))

        noise = torch.randn(8, 2, generator=randomness.generator(torch.device("cpu"), 1, 0, step, 0, 0, 0, 0, 0))
        loss = mse_loss(theirs(x[step] + noise), x[step], reduction="none").mean(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters()))


# Randomness


def test_dropout_does_not_depend_on_what_the_global_generator_went_through():
    def trained(disturb):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5), nn.Linear(8, 1)).double()
        game = one(network, lambda rows, at: {"c": (network(rows.x) - 1).square().mean(1)}, Adam(lr=0.1))
        for step in range(5):
            torch.manual_seed(disturb * step)
            play(game, first=step, batches=lambda k: batch(1.0, 2.0))
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    assert torch.equal(trained(0), trained(17))


def test_dropout_masks_differ_from_step_to_step_and_attempt_to_attempt():
    network, masks = nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 1)).double(), []

    def cost(rows, at):
        masks.append(tuple(dropout(torch.ones(64)).tolist()))
        return {"c": network(rows.x)}

    game = one(network, cost)
    play(game, steps=3)
    play(game, attempt=1)
    play(game)
    assert len(set(masks)) == 4
    assert masks[0] == masks[-1]


def noise_of(draws=1, moves=1, rounds=1, times=1, rows=None, table=None, **clock):
    """Everything drawn in one step of such a game: a row of numbers per draw."""
    module, found = Number(0.0), []

    def cost(rows, at):
        found.extend(at.normal(3) for _ in range(draws))
        return {"c": module.w}

    made = [
        Round(*(Move(name=f"m{i}-{j}", players=["p"], cost=cost, times=times) for j in range(moves)))
        for i in range(rounds)
    ]
    game = Game([Player(name="p", module=module, optimizer=SGD())], made)
    game.step(lambda k: rows or batch(1.0, 2.0), Clock(**clock), table)
    return found


def test_noise_differs_by_seed_stage_step_attempt_round_repetition_move_and_draw():
    found = noise_of(draws=2, moves=2, rounds=2, times=2)
    for clock in ({"seed": 1}, {"stage": 1}, {"step": 1}, {"attempt": 1}):
        found += noise_of(**clock)
    assert len({tuple(z.flatten().tolist()) for z in found}) == 16 + 4
    assert all(torch.equal(a, b) for a, b in zip(noise_of(seed=4, progress=0.1), noise_of(seed=4, progress=0.9)))


@given(n=st.integers(1, 12), parts=st.integers(1, 12), data=st.data())
@settings(max_examples=30, deadline=None)
def test_noise_of_some_rows_is_their_part_of_the_joint_draw(n, parts, data):
    first = data.draw(st.integers(0, n - 1))
    last = data.draw(st.integers(first + 1, n))
    whole = batch(*map(float, range(n)))
    (joint,) = noise_of(rows=whole)
    assert torch.equal(torch.cat(noise_of(rows=whole.rows(first, last))), joint[first:last])
    assert torch.equal(torch.cat(noise_of(rows=whole, table=Table(micro_batches=parts))), joint)


def test_a_rule_that_asks_twice_gets_the_same_gradients():
    network, seen = nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.5), nn.Linear(4, 1)).double(), []

    def twice(play: Play):
        seen.extend(play.gradients() for _ in range(2))
        return seen[-1]

    move = Move(name="m", players=["p"], cost=lambda rows, at: {"c": network(rows.x + at.normal(1)).square().mean(1)})
    game = Game([Player(name="p", module=network, optimizer=SGD())], [Round(move, rule=twice)])
    play(game, batches=lambda k: batch(1.0, 2.0))
    assert all(torch.equal(a, b) for a, b in zip(seen[0]["p"], seen[1]["p"]))


# Closed form


def test_a_closed_form_move_applies_the_sums_of_a_whole_pass_at_its_end():
    module = Number(0.0)

    def apply(sums):
        module.w.copy_(sums["x"] / sums["n"])
        return {"rows": sums["n"]}

    move = ClosedForm(
        name="fit",
        players=["p"],
        statistics=lambda rows, at: {"x": rows.x.sum(), "n": torch.tensor(float(len(rows.x)))},
        apply=apply,
    )
    game = Game([Player(name="p", module=module)], [move])
    assert play(game, batches=lambda k: batch(1.0, 2.0)) == {}
    assert close(module.w, 0.0)
    terms = play(game, batches=lambda k: batch(6.0, pass_end=True), table=Table(micro_batches=2))
    assert terms == {"fit/rows": 3.0}
    assert close(module.w, 3.0)
    assert game.statistics == {}
    play(game, batches=lambda k: batch(-1.0, pass_end=True))
    assert close(module.w, -1.0)


def test_a_closed_form_move_of_each_batch_is_applied_after_every_one():
    module, seen = Number(0.0), []

    def apply(sums):
        seen.append(sums["x"].item())
        module.w.add_(sums["x"])
        return {"x": sums["x"]}

    statistics = lambda rows, at: {"x": rows.x.sum()}  # noqa: E731
    move = ClosedForm(name="fit", players=["p"], statistics=statistics, apply=apply, each="batch")
    game = Game([Player(name="p", module=module)], [move])
    assert play(game, batches=lambda k: batch(1.0, 2.0), table=Table(micro_batches=2)) == {"fit/x": 3.0}
    assert play(game, batches=lambda k: batch(4.0, pass_end=True)) == {"fit/x": 4.0}
    assert seen == [3.0, 4.0]
    assert close(module.w, 7.0)
    assert game.statistics == {}
    assert Stage(name="s", game=game, steps=1).steps == 1  # needs no full passes, where a move of each pass does
    whole = ClosedForm(name="fit", players=["p"], statistics=statistics, apply=apply)
    with pytest.raises(ValueError, match="full_passes"):
        Stage(name="s", game=Game([Player(name="p", module=module)], [whole]), steps=1)


def test_a_closed_form_move_stops_at_what_is_not_finite_before_it_applies_it():
    module = Number(4.0)
    move = ClosedForm(
        name="fit",
        players=["p"],
        statistics=lambda rows, at: {"x": rows.x.sum()},
        apply=lambda sums: {"x": module.w.copy_(sums["x"])},
    )
    game = Game([Player(name="p", module=module)], [move])
    with pytest.raises(NonFinite, match="'fit/x' of p is not finite at step 0"):
        play(game, batches=lambda k: batch(float("nan"), pass_end=True))
    assert close(module.w, 4.0)


def test_a_turn_splits_its_rows_without_losing_or_repeating_one():
    game = SimpleNamespace(state={}, per_sample=frozenset())
    for n in range(1, 9):
        for parts in range(1, 11):
            turn = Turn(game, batch(*map(float, range(n))), Clock(), (0,), Table(micro_batches=parts))
            found = [(rows.x.flatten().tolist(), rows.start, share) for rows, _, share in turn.parts(0)]
            assert sum((x for x, _, _ in found), []) == list(range(n))  # noqa: RUF017
            assert all(x[0] == start and share == len(x) / n for x, start, share in found)
            assert len(found) <= parts


def test_a_projection_brings_a_player_back_after_each_of_its_steps_and_nobody_else():
    """Clipping to ±0.01, as in Wasserstein GANs: the step of 1 down the slope ends at the bound."""

    def clip(module):
        for parameter in module.parameters():
            parameter.clamp_(-0.01, 0.01)

    one, other = (nn.Linear(1, 1, bias=False) for _ in range(2))
    for module in (one, other):
        nn.init.constant_(module.weight, 0.5)
    cost = lambda rows, at: {"f": one.weight.sum() + other.weight.sum()}  # noqa: E731
    players = [
        Player(name="one", module=one, optimizer=SGD(lr=1.0), projection=clip),
        Player(name="other", module=other, optimizer=SGD(lr=1.0)),
    ]
    game = Game(players, [Round(Move(name="m", players=["one", "other"], cost=cost))])
    rows = Batch(x=torch.zeros(2, 1), labels=None, index=torch.arange(2), start=0, joint=2, pass_end=False)
    game.step(lambda k: rows, Clock())
    assert one.weight.item() == pytest.approx(-0.01)
    assert other.weight.item() == pytest.approx(-0.5)
    assert one.weight.requires_grad
