"""Strings: laws and gradients of discrete outputs against exact sums over all strings."""

import itertools
import json

import pytest
import torch
from scipy.stats import chisquare
from torch import nn
from torch.nn.functional import one_hot

from simulacra import artifact
from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.batch import Batch
from simulacra.data.spec import Spec
from simulacra.data.worlds import grammar
from simulacra.errors import UserError
from simulacra.game import Clock, Game, Table, Turn
from simulacra.models.adversary import Penalties
from simulacra.models.discrete import (
    DiscreteAdversary,
    Strings,
    StringsConfig,
    gumbel,
    hardest,
    log_probability,
    relaxed,
    straight_through,
)
from simulacra.recipes import find
from simulacra.recipes.discrete import StringsOptions, cooling
from tests.conftest import Cli

PAIRS = Spec(kind="vector", shape=(6,), classes=None)
"""Strings of two of the three characters "ab "."""
ALL = one_hot(torch.tensor([*itertools.product(range(3), repeat=2)]), 3).double()
"""The nine of them, `[9, 2, 3]`."""
LATENT = 2


def model(autoregressive=True):
    """A little generator whose strings do not depend on z, with logits well away from zero."""
    torch.manual_seed(0)
    config = StringsConfig(alphabet="ab ", latent=LATENT, width=5, depth=1, autoregressive=autoregressive)
    made = Strings(config, PAIRS).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(2.0)
        first = made.generator.first[0] if autoregressive else made.generator.layers.layers[1]
        first.weight.zero_()
    return made


def law(made):
    """log p of all nine strings, exactly: their logits when these characters are written."""
    written, logits = made.generator(torch.zeros(9, LATENT).double(), lambda t, _: ALL[:, t])
    return log_probability(written, logits)


def at_step(game, rows, step):
    """What a move is told in the given step."""
    x = torch.zeros(rows, 6).double()
    batch = Batch(x=x, labels=None, index=torch.arange(rows), start=0, joint=rows, pass_end=False)
    turn = Turn(game, batch, Clock(seed=1, step=step), (1, step), Table())
    return turn, batch, next(iter(turn.parts(0)))[1]


class Fixed(nn.Module):
    """A critic whose scores are those of a table by string, far above zero."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        self.weights = nn.Parameter(torch.randn(6, generator=generator).double())
        self.pair = nn.Parameter(torch.randn(3, 3, generator=generator).double())

    def forward(self, x):
        pair = torch.einsum("ni,ij,nj->n", x[:, :3], self.pair, x[:, 3:])
        return (x @ self.weights + pair + 5.0)[:, None]


def adversary(made, estimator="score", decay=0.9, objective="hinge", **options):
    return DiscreteAdversary(
        made,
        Fixed(),
        OBJECTIVES[objective],
        Penalties(),
        estimator=estimator,
        temperature=lambda progress: 1.0,
        decay=decay,
        **options,
    )


# The law of what is written


def test_gumbel_noise_is_the_double_logarithm_and_finite_at_the_ends():
    """−log(−log ½) = −log 0.693147 = 0.366513."""
    assert gumbel(torch.tensor([0.5])).item() == pytest.approx(0.366513, abs=1e-6)
    for kind in (torch.float32, torch.float64):
        assert gumbel(torch.tensor([0.0, 1.0], dtype=kind)).isfinite().all()


@pytest.mark.parametrize("autoregressive", [True, False])
def test_strings_are_written_with_the_probabilities_of_their_logits(autoregressive):
    made = model(autoregressive)
    exact = law(made).exp()
    assert exact.sum().item() == pytest.approx(1.0)
    n = 20_000
    rows = made.float().sample(n, seed=5).double()
    counts = (rows @ ALL.flatten(1).T == 2).sum(0)
    assert counts.sum() == n
    assert chisquare(counts.numpy(), (n * exact).detach().numpy()).pvalue > 1e-3


def test_a_sample_is_one_hot_at_every_place():
    rows = Strings(StringsConfig(width=8, latent=3), Spec(kind="vector", shape=(72,), classes=None)).sample(300, seed=1)
    assert rows.shape == (300, 72)
    assert set(rows.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(rows.unflatten(1, (9, 8)).sum(2), torch.ones(300, 9))


def test_a_character_is_told_those_before_it_and_no_other():
    made, z = model(), torch.zeros(9, LATENT).double()
    _, logits = made.generator(z, lambda t, _: ALL[:, t])
    assert torch.allclose(logits[:, 0], logits[:1, 0].expand(9, 3))
    first = ALL[:, 0].argmax(1)
    for a, b in itertools.combinations(range(9), 2):
        assert torch.allclose(logits[a, 1], logits[b, 1]) == (first[a] == first[b]).item()


def test_log_probabilities_by_hand():
    """Logits (ln 2, 0, 0) and (0, 0, ln 3): "a " has ½ · 3⁄5, "ba" has ¼ · 1⁄5."""
    logits = torch.tensor([[2.0, 1, 1], [1.0, 1, 3]]).log().expand(2, 2, 3)
    written = one_hot(torch.tensor([[0, 2], [1, 0]]), 3).float()
    assert log_probability(written, logits).exp().tolist() == pytest.approx([0.3, 0.05])


# Gradients


@pytest.mark.parametrize("law_of", [relaxed, straight_through])
def test_relaxed_gradients_are_exact_where_cold_and_biased_where_warm(law_of):
    """f(x, y) = w·x + xᵀAy of two independent characters. Exact: the gradient of Σ p(x) p(y) f(x, y)."""
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 3, generator=generator).double().requires_grad_()
    weights, pair = torch.randn(3, generator=generator).double(), torch.randn(3, 3, generator=generator).double()

    def f(x):
        return x[..., 0, :] @ weights + torch.einsum("...i,ij,...j->...", x[..., 0, :], pair, x[..., 1, :])

    (exact,) = torch.autograd.grad(f(logits.softmax(-1)[None]).sum(), logits)
    noise = gumbel(torch.rand(400_000, 2, 3, generator=generator, dtype=torch.float64))

    def estimated(temperature):
        rows = logits.detach().expand(len(noise), 2, 3).clone().requires_grad_()
        (gradient,) = torch.autograd.grad(f(law_of(rows + noise, temperature)).sum(), rows)
        return gradient.mean(0), gradient.std(0) / len(noise) ** 0.5

    cold, error = estimated(0.1)
    warm, _ = estimated(2.0)
    assert exact.abs().max() > 0.1
    assert ((cold - exact).abs() <= 4 * error + 0.01 * exact.abs().max()).all()
    assert (warm - exact).abs().max() > 0.2 * exact.abs().max()


def test_straight_through_is_hard_forwards_and_soft_backwards():
    scores, weights = torch.randn(50, 4, requires_grad=True), torch.randn(4)
    hard, soft = straight_through(scores, 0.7), relaxed(scores, 0.7)
    assert torch.allclose(hard, hardest(scores), atol=1e-6)
    (one,), (other,) = (torch.autograd.grad((x * weights).sum(), scores) for x in (hard, soft))
    assert torch.allclose(one, other)


def estimates(made, baseline, turns=400, rows=50):
    """The score function's gradient over many turns, `[turns, P]`, at a baseline that is held."""
    game_costs = adversary(made)
    game = Game([], [], state={"baseline": torch.tensor(baseline, dtype=torch.float64)})
    found = []
    for step in range(turns):
        _, batch, at = at_step(game, rows, step)
        term = game_costs.generate(batch, at)["fool"].mean()
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(term, [*made.parameters()])]))
    return torch.stack(found)


def exact_gradient(made):
    cost = -Fixed()(ALL.flatten(1))[:, 0].detach()
    gradient = torch.autograd.grad((law(made).exp() * cost).sum(), [*made.parameters()])
    return torch.cat([g.flatten() for g in gradient]), (law(made).exp() * cost).sum().item()


def test_the_score_function_is_unbiased_and_a_baseline_only_lowers_its_variance():
    made = model()
    exact, mean_cost = exact_gradient(made)
    variance = {}
    for baseline in (0.0, mean_cost):
        found = estimates(made, baseline)
        error = found.std(0) / len(found) ** 0.5
        assert ((found.mean(0) - exact).abs() <= 4 * error + 1e-12).all(), baseline
        variance[baseline] = found.var(0).sum().item()
    assert exact.abs().max() > 0.05
    assert variance[mean_cost] < 0.3 * variance[0.0]


def test_the_baseline_is_the_moving_mean_of_the_cost():
    """Decay 0.75 from 2: 0.75 · 2 + 0.25 · the mean cost, seen from the next round on."""
    made = model()
    costs = adversary(made, decay=0.75)
    game = Game([], [], state={"baseline": torch.tensor(2.0, dtype=torch.float64)})
    turn, batch, at = at_step(game, 20, 0)
    costs.generate(batch, at)
    assert game.state["baseline"].item() == 2.0
    turn.commit()
    assert game.state["baseline"].item() == pytest.approx(1.5 + 0.25 * at.watched["cost"].mean().item())
    assert costs.start().keys() == {"baseline"}
    assert adversary(made, estimator="gumbel").start() == {}


@pytest.mark.parametrize(("estimator", "hard"), [("gumbel", False), ("straight-through", True), ("score", True)])
def test_what_the_discriminator_is_shown(estimator, hard):
    made = model()
    _, batch, at = at_step(Game([], [], state={}), 40, 0)
    rows = adversary(made, estimator=estimator).made(batch, at)
    assert rows.shape == (40, 6)
    assert torch.allclose(rows.unflatten(1, (2, 3)).sum(2), torch.ones(40, 2).double())
    assert torch.allclose(rows, rows.round(), atol=1e-6) == hard
    assert rows.requires_grad == (estimator != "score")


def test_a_paired_objective_is_scored_beside_real_strings():
    made = model()
    game = Game([], [], state={"baseline": torch.tensor(0.0, dtype=torch.float64)})
    _, batch, at = at_step(game, 30, 0)
    terms = adversary(made, objective="relativistic").generate(batch, at)
    assert terms["fool"].shape == (30,)
    assert at.watched["cost"].shape == (30,)


# The recipe


WORLD = Spec(kind="vector", shape=(72,), classes=None)


def built(spec=WORLD, **options):
    kind = find("strings")
    return kind.build(spec, 100, kind.options().with_overrides(options, "strings"))


def test_temperatures_fall_geometrically():
    """From 1 to ¼: ½ half-way."""
    cool = cooling(StringsOptions(temperature=1.0, final_temperature=0.25))
    assert [cool(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.25])


def test_what_is_left_open_is_settled():
    relaxing = built(estimator="straight-through").options
    assert relaxing.temperature is not None
    assert relaxing.baseline is None
    score = built().options
    assert (score.temperature, score.final_temperature) == (None, None)
    assert score.baseline == 0.9


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"estimator": "score", "temperature": 1}, "relaxes nothing: leave out --temperature"),
        ({"estimator": "score", "final_temperature": 1}, "leave out --temperature and --final-temperature"),
        ({"estimator": "score", "feature_matching": 1}, "no gradient by samples: leave out --feature-matching"),
        ({"estimator": "score", "unrolled": 2}, "leave out --feature-matching and --unrolled"),
        ({"estimator": "score", "pack": 2}, "rewards each string by itself: leave out --pack"),
        ({"estimator": "score", "minibatch": "deviation"}, "leave out --pack and --minibatch"),
        ({"estimator": "score", "turns": "simultaneous", "rule": "consensus"}, "second derivatives"),
        (
            {"estimator": "straight-through", "baseline": 0.5},
            "baseline is of the score function, the estimator is straight-through",
        ),
        ({"alphabet": "aab b  a"}, "names a character twice"),
        ({"alphabet": "abcde"}, "one-hot over 5 characters, the data is vectors of 72 numbers"),
        ({"augment": "color"}, "augmentations are of images"),
        ({"estimator": "guess"}, "estimator"),
    ],
)
def test_what_cannot_work_is_refused_by_name(options, said):
    with pytest.raises(UserError, match=said):
        built(**options)


def test_images_are_no_strings():
    with pytest.raises(UserError, match="the data is images: train on --data grammar"):
        built(Spec(kind="image", shape=(1, 8, 8), classes=None))


def test_its_characters_are_those_of_the_world():
    made = built().model
    assert made.config.alphabet == grammar.ALPHABET
    rows = grammar.encode(["x+(x*x)", "x", "x-x/x"], grammar.LENGTH)
    assert made.text(rows) == grammar.decode(rows) == ["x+(x*x)", "x", "x-x/x"]


# The command line


def test_samples_are_written_as_lines_of_text(command: Cli, tmp_path, monkeypatch):
    made = built(width="8").model
    artifact.save(made, tmp_path / "run", facts={})
    monkeypatch.chdir(tmp_path)
    expected = made.text(made.sample(7, seed=3))
    for words in (("--out", "lines.txt"), ()):
        assert command("sample", tmp_path / "run", "-n", 7, "--seed", 3, *words)[0] == 0
    for name in ("lines.txt", "samples.txt"):
        assert (tmp_path / name).read_text().split("\n")[:-1] == expected


def test_a_model_of_points_writes_no_text(command: Cli, tmp_path):
    kind = find("gan")
    made = kind.build(Spec(kind="vector", shape=(2,), classes=None), 100, kind.options(width=4)).model
    artifact.save(made, tmp_path / "run", facts={})
    code, _, err = command("sample", tmp_path / "run", "-n", 3, "--out", tmp_path / "x.txt")
    assert code == 2
    assert "makes no strings" in err


def test_a_run_is_judged_by_its_grammar(command: Cli, tmp_path):
    run = tmp_path / "run"
    assert command("train", "strings", "--out", run, "--steps", 2, "--width", 8, "--batch", 4, "--quiet")[0] == 0
    code, out, _ = command("evaluate", run, "--samples", 50, "--json")
    assert code == 0
    assert {"grammatical", "sentences"} <= set(json.loads(out)[0]["scores"])
