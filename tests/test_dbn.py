"""Deep belief nets against sums over all their states, and against the machines they are made of."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import simulacra
from simulacra import artifact
from simulacra.data import Batch, Spec
from simulacra.errors import UserError
from simulacra.game import Clock
from simulacra.metrics.ais import exact_log_z
from simulacra.metrics.energy import Chib
from simulacra.metrics.of_model import Setting
from simulacra.models.dbn import DBN, DBNConfig
from simulacra.models.energy import Gibbs, in_float64
from simulacra.models.explaining import Layer, Posterior, chib_estimate, summed
from simulacra.models.rbm import RBM, RBMConfig
from simulacra.networks.boltzmann import contrast
from simulacra.randomness import Draws
from simulacra.recipes import find
from tests.test_rbm import drawn, frequencies, same_law, states

SPEC = Spec(kind="image", shape=(1, 2, 2), classes=None)
X = 2 * states(4).float().reshape(16, 1, 2, 2) - 1  # all images


def model(*hidden: int, scale: float = 1.0, **options: object) -> DBN:
    made = DBN(DBNConfig(hidden=hidden, **options), SPEC)  # type: ignore[arg-type]
    with torch.no_grad():
        for number, parameter in enumerate(made.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=number + 1, scale=scale))
    return made


def log_p_of(logits: Tensor, bits: Tensor) -> Tensor:
    return torch.distributions.Bernoulli(logits=logits).log_prob(bits).sum(-1)


def log_joint(dbn: DBN) -> Tensor:
    """log p(v, h1) of a net of two hidden layers, `[2^V, 2^H]`, by its definition."""
    (layer,), h = dbn.directed, states(3).float()
    machine = dbn.top.machine
    top = -machine.free_energy(h) - exact_log_z(*machine)
    return log_p_of(layer.down(h)[None], states(4).float()[:, None]) + top


def recognised(dbn: DBN) -> Tensor:
    """log q(h1|v), `[2^V, 2^H]`."""
    return log_p_of(dbn.directed[0].up(states(4).float())[:, None], states(3).float()[None])


def unrolled_machine() -> tuple[RBM, DBN]:
    """An RBM, and the net of its weights twice over, which is the same law (Hinton, Osindero & Teh 2006, §3)."""
    rbm, dbn = RBM(RBMConfig(hidden=3), SPEC), model(3, 4)
    with torch.no_grad():
        for number, parameter in enumerate(rbm.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=number + 1))
        layer, top = dbn.directed[0], dbn.top
        for weight in (layer.recognition, layer.generation, top.weight.T):
            weight.copy_(rbm.weight)
        for bias in (layer.visible_bias, top.hidden_bias):
            bias.copy_(rbm.visible_bias)
        for bias in (layer.hidden_bias, top.visible_bias):
            bias.copy_(rbm.hidden_bias)
    return rbm, dbn


def _batch(x: Tensor) -> Batch:
    return Batch(x=x, start=0, joint=len(x), pass_end=False, labels=None, index=torch.arange(len(x)))


class Noisy(Draws):
    """Draws in a cost's place after the first step, and whatever state it asks for."""

    clock, progress = Clock(step=1), 0.0

    def __init__(self, n: int, **state: Tensor) -> None:
        super().__init__(n, seed=5)
        self.held = state

    def state(self, name: str) -> Tensor:
        return self.held[name]

    def write(self, name: str, value: Tensor) -> None:
        self.held[name] = value


# Likelihoods


def test_a_machine_unrolled_once_has_its_likelihood_whatever_is_drawn() -> None:
    """q is the posterior then, so that every weight is p(v) itself."""
    rbm, dbn = unrolled_machine()
    exact = rbm.log_prob(X).value
    assert torch.allclose(dbn.log_weights(X, 5, seed=3), exact[:, None].expand(-1, 5), atol=1e-4)
    assert torch.allclose(dbn.log_prob(X).value, exact, atol=1e-4)


@pytest.mark.parametrize("spare", [0, 2])
def test_a_layer_starts_as_the_machine_below_it_upside_down(spare: int) -> None:
    """So the net has that machine's likelihood; units to spare that hardly move are taken back on average."""
    rbm, whole = unrolled_machine()
    dbn = model(3, 4 + spare, scale=0.02)
    with torch.no_grad():
        for mine, other in zip(dbn.directed[0].parameters(), whole.directed[0].parameters()):
            mine.copy_(other)
        dbn.top.hidden_bias.zero_()
    dbn.unroll(1)
    weights = dbn.log_weights(X, 5, seed=3)
    assert torch.allclose(weights, rbm.log_prob(X).value[:, None].expand(-1, 5), atol=5e-4 if spare else 1e-4)


def test_between_directed_layers_both_weights_are_unrolled() -> None:
    dbn = model(3, 5, 4)
    dbn.unroll(1)
    lower, upper = dbn.directed
    assert torch.equal(upper.recognition[:, :4], lower.recognition.T)
    assert torch.equal(upper.generation[:, :4], lower.recognition.T)
    assert torch.equal(upper.hidden_bias[:4], lower.visible_bias)
    with pytest.raises(ValueError, match="layer 1 has 2 units for the 4"):
        model(3, 2, 4).unroll(1)


def test_the_recipe_unrolls_where_there_are_units_enough() -> None:
    recipe = find("dbn")
    stages = [
        [stage.name for stage in recipe.build(SPEC, 20, recipe.options(hidden=hidden)).stages]
        for hidden in ((3, 4), (3, 2, 3))
    ]
    assert stages == [["layer1", "start of layer2", "layer2"], ["layer1", "layer2", "start of layer3", "layer3"]]


def test_the_bound_is_the_variational_one() -> None:
    """Both ways by enumeration of h1; the mean over many draws of ten."""
    dbn, n = model(3, 5), 2000
    joint, q = log_joint(dbn), recognised(dbn)
    assert joint.exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    bound = (q.exp() * (joint - q)).sum(1)
    v = X[6:7]
    value, kind = dbn.log_prob(v.expand(n, -1, -1, -1))
    assert kind == "bound"
    assert abs(value.mean() - bound[6]) < 4 * value.std() / n**0.5
    assert bound[6] < joint.logsumexp(1)[6] - 0.1


def test_the_mean_of_the_weights_is_the_probability() -> None:
    dbn = model(3, 5, scale=0.7)
    weights = dbn.log_weights(X, 1000, seed=1).double().exp()
    exact, error = log_joint(dbn).logsumexp(1).exp(), weights.std(1) / 1000**0.5
    assert ((weights.mean(1) - exact).abs() < 4.5 * error).all()
    assert torch.allclose(dbn.log_weights(X[3:5], 7, seed=1, start=3, first=2), dbn.log_weights(X, 9, seed=1)[3:5, 2:])


def test_three_hidden_layers_have_weights_too() -> None:
    dbn = model(3, 2, 4, scale=0.7)
    lower, upper = dbn.directed
    h, g = states(3).float(), states(2).float()
    machine = dbn.top.machine
    top = -machine.free_energy(g) - exact_log_z(*machine)
    middle = (log_p_of(upper.down(g)[None], h[:, None]) + top).logsumexp(1)  # log p(h1)
    exact = (log_p_of(lower.down(h)[None], states(4).float()[:, None]) + middle).logsumexp(1).exp()
    weights = dbn.log_weights(X, 1000, seed=1).double().exp()
    assert ((weights.mean(1) - exact).abs() < 4.5 * weights.std(1) / 1000**0.5).all()
    chains = (estimates(dbn, 4, sweeps=3, n=2000) - exact_log_z(*machine)).exp()
    assert abs(chains.mean() - exact[4]) < 4.5 * chains.std() / 2000**0.5


def estimates(dbn: DBN, image: int, *, sweeps: int, n: int) -> Tensor:
    """So many independent estimates of one image."""
    return dbn.chib(X[image : image + 1].expand(n, -1, -1, -1), sweeps, seed=2)


@pytest.mark.parametrize("sweeps", [1, 2, 7])
def test_the_mean_of_what_a_chain_steps_onto_is_the_probability(sweeps: int) -> None:
    """Whatever the number of its states; the mean of the logs is below, and nears it with them."""
    dbn, n = model(3, 5), 3000
    exact = log_joint(dbn).logsumexp(1)[6]
    found = estimates(dbn, 6, sweeps=sweeps, n=n) - exact_log_z(*dbn.top.machine)
    assert abs(found.exp().mean() - exact.exp()) < 4.5 * found.exp().std() / n**0.5
    assert found.mean() < exact
    more = estimates(dbn, 6, sweeps=8 * sweeps, n=n)
    assert more.std() < 0.6 * found.std()


def test_the_estimate_is_unbiased_whatever_state_it_looks_from() -> None:
    """Also from states that are not near the mode, where it matters that the first sweep goes backwards in time."""
    dbn, n = model(3, 5), 4000
    (layer,), exact = dbn.directed, log_joint(dbn).logsumexp(1)[6].exp()
    layers = [Layer(layer.generation.double(), layer.visible_bias.double())]
    posterior = Posterior(layers, in_float64(dbn.top.machine), states(4)[6].double().expand(n, -1))
    for state in (3, 6):
        onto = posterior.state([states(3)[state].double().expand(n, -1)])
        for sweeps in (1, 3):
            logs = chib_estimate(posterior, onto, sweeps, Draws(n, seed=1))
            found = (logs - exact_log_z(*dbn.top.machine)).exp()
            assert abs(found.mean() - exact) < 4.5 * found.std() / n**0.5


def test_a_unit_is_given_its_conditional() -> None:
    """The logits that a sweep meets, and what it makes of them, against the joint law of two hidden layers."""
    dbn = model(3, 2, 4)
    layers = [Layer(layer.generation.double(), layer.visible_bias.double()) for layer in dbn.directed]
    v, h = states(4)[9:10].double(), states(5)[13:14].double()
    posterior = Posterior(layers, in_float64(dbn.top.machine), v)
    state = posterior.state(h.split([3, 2], dim=1))

    def joint(bits: Tensor) -> Tensor:
        return posterior.log_joint(posterior.state(bits.split([3, 2], dim=1)))

    met = []

    def against(number: int, logit: Tensor) -> Tensor:
        one, zero = h.clone(), h.clone()
        one[:, number], zero[:, number] = 1.0, 0.0
        assert torch.allclose(logit, joint(one) - joint(zero), atol=1e-12)
        met.append(number)
        h[:, number] = 1.0 - h[:, number]  # every unit changes
        return h[:, number].clone()

    posterior.sweep(state, against)
    posterior.sweep(state, against, backwards=True)
    assert met == [0, 1, 2, 3, 4, 4, 3, 2, 1, 0]
    lower = log_p_of(dbn.directed[0].down(h[:, :3].float()), v.float()).item()
    upper = log_p_of(dbn.directed[1].down(h[:, 3:].float()), h[:, :3].float()).item()
    assert joint(h).item() == pytest.approx(
        lower + upper - dbn.top.machine.free_energy(h[:, 3:].float()).item(), abs=1e-5
    )
    assert torch.allclose(posterior.log_joint(state), joint(h), atol=1e-12)


def test_a_chain_does_not_depend_on_the_rows_beside_it() -> None:
    dbn = model(3, 5)
    together = dbn.chib(X, 4, seed=3)
    assert torch.allclose(dbn.chib(X[5:9], 4, seed=3, start=5), together[5:9], atol=1e-9)
    assert not torch.allclose(dbn.chib(X, 4, seed=4), together, atol=1e-3)


def test_the_score_is_the_mean_of_rows_less_log_z() -> None:
    dbn = model(3, 5)
    score = Chib(Chib.Config(rows=None, sweeps=4)).compute(
        dbn, Setting(test=lambda n: iter([(0, X)]), features=lambda x: x, seed=3)
    )
    expected = dbn.chib(X, 4, seed=3) - exact_log_z(*dbn.top.machine)
    assert score["chib"].value == pytest.approx(expected.mean().item())
    assert score["chib"].standard_error == pytest.approx((expected.std() / 4).item())
    assert score["chib"].facts["sweeps"] == 4


def test_sums_of_many_units_neither_overflow_nor_lose_digits() -> None:
    drive = torch.cat([drawn(2, 2500, seed=1, scale=30.0).double(), torch.tensor([[800.0], [-800.0]]).double()], dim=1)
    expected = torch.nn.functional.softplus(drive, threshold=40.0).sum(1)
    assert torch.allclose(summed(drive), expected, rtol=1e-13)


def test_samples_have_the_marginals_of_the_law() -> None:
    dbn = model(3, 5, chain=40)
    found = 0.5 * (dbn.sample(20_000, seed=1).flatten(1) + 1)
    expected = log_joint(dbn).logsumexp(1).exp() @ states(4).float()
    assert ((found.mean(0) - expected).abs() < 4.5 * found.std(0) / 20_000**0.5).all()


def test_gibbs_goes_up_by_recognition_and_finds_the_law() -> None:
    """One step is q(h1|v), p(h2|h1), p(h1|h2), p(v|h1); many are the top's law, and a pass down."""
    dbn, n, v, h1, h2 = model(3, 2), 20_000, states(4).float(), states(3).float(), states(2).float()
    (layer,), machine = dbn.directed, dbn.top.machine
    up = log_p_of(machine.drive(h1)[:, None], h2[None]).exp()
    back = log_p_of((h2 @ machine.weight.T + machine.visible)[:, None], h1[None]).exp()
    down = log_p_of(layer.down(h1)[:, None], v[None]).exp()
    for steps, expected in (
        (1, recognised(dbn)[5].exp() @ up @ back @ down),
        (60, log_joint(dbn).logsumexp(1).exp()),
    ):
        end = dbn.gibbs(X[5].expand(n, 1, 2, 2), steps, seed=3)
        assert set(end.unique().tolist()) == {-1.0, 1.0}
        assert same_law(frequencies(0.5 * (end.flatten(1) + 1)), expected.detach().double(), n)


def test_what_is_generated_has_the_law_below_the_top() -> None:
    dbn, n = model(3, 5), 20_000
    h = states(3)[5].float()
    v = dbn.generated(h.expand(n, -1), Noisy(n))[0]
    law = log_p_of(dbn.directed[0].down(h[None]), states(4).float()).exp()
    places = torch.tensor([8.0, 4, 2, 1])
    assert same_law(torch.bincount((v @ places).long(), minlength=16) / n, law, n)


# Learning


def test_a_tied_layer_learns_as_a_machine_in_both_of_its_weights() -> None:
    dbn = model(3, 5)
    layer = dbn.directed[0]
    with torch.no_grad():
        layer.generation.copy_(layer.recognition)
    x = X.repeat(4, 1, 1, 1)
    terms = dbn.layer_cost(_batch(x), Noisy(64), layer=0, gibbs=Gibbs(2), decay=0.1)  # type: ignore[arg-type]
    gradients = torch.autograd.grad(sum(term.mean() for term in terms.values()), [*layer.parameters()])  # type: ignore[arg-type]
    machine = type(layer.tied)(*(part.detach().clone().requires_grad_() for part in layer.tied))
    noise = Noisy(64)
    noise.uniform(4)  # the bits of the data
    cost = (
        contrast(machine, 0.5 * (x.flatten(1) + 1), noise, 2).divergence.mean() + 0.05 * machine.weight.square().sum()
    )
    weight, visible, hidden = torch.autograd.grad(cost, [*machine])
    for found, expected in zip(gradients, (weight, weight, visible, hidden)):
        assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(gradients[0], gradients[1])


def test_the_top_learns_on_what_is_recognised_and_its_base_the_rates() -> None:
    dbn = model(3, 5)
    chain = torch.zeros(16, 5)
    terms = dbn.layer_cost(_batch(X), Noisy(16, chain=chain), 1, Gibbs(persistent=True), 0.0)  # type: ignore[arg-type]
    assert [*terms] == ["divergence"]
    terms |= dbn.base_cost(_batch(X), Noisy(16))  # type: ignore[arg-type]
    noise = Noisy(16)
    h = dbn.recognised(0.5 * (X.flatten(1) + 1) + 0 * noise.uniform(4), noise, 1)[1]
    gradient = torch.autograd.grad(terms["base"].mean(), dbn.top.base, retain_graph=True)[0]
    assert torch.allclose(gradient, dbn.top.base.sigmoid() - h.mean(0), atol=1e-6)
    lower = torch.autograd.grad(terms["divergence"].mean(), [*dbn.directed[0].parameters()], allow_unused=True)
    assert lower == (None, None, None, None)


def test_each_term_of_the_up_down_algorithm_moves_its_own_weights() -> None:
    dbn = model(3, 2, 4)
    terms = dbn.up_down_cost(_batch(X), Noisy(16), Gibbs())  # type: ignore[arg-type]
    moved = {
        name: {
            key
            for (key, parameter), gradient in zip(
                dbn.named_parameters(),
                torch.autograd.grad(term.mean(), [*dbn.parameters()], allow_unused=True, retain_graph=True),
            )
            if gradient is not None and gradient.abs().max() > 0
        }
        for name, term in terms.items()
    }
    layers = ("layers.0.", "layers.1.")
    assert moved["wake"] == {layer + part for layer in layers for part in ("generation", "visible_bias")}
    assert moved["sleep"] == {layer + part for layer in layers for part in ("recognition", "hidden_bias")}
    assert moved["top"] == {"top.weight", "top.visible_bias", "top.hidden_bias"}
    assert moved["base"] == {"top.base"}


def test_wake_descends_the_expected_reconstruction_and_sleep_stands_where_q_is_the_posterior() -> None:
    """By enumeration of h1 under q for data of one image; the fantasies come from long chains."""
    _, dbn = unrolled_machine()
    n, v = 20_000, X[6:7]
    layer = dbn.directed[0]
    terms = dbn.up_down_cost(_batch(v.expand(n, -1, -1, -1)), Noisy(n), Gibbs(40))  # type: ignore[arg-type]
    found = torch.autograd.grad(terms["wake"].mean(), layer.generation, retain_graph=True)[0]
    h, q = states(3).float(), recognised(dbn)[6].exp()
    exact = -(q * log_p_of(layer.down(h), states(4)[6].float())).sum()
    assert torch.allclose(found, torch.autograd.grad(exact, layer.generation)[0], atol=0.015)
    assert found.abs().max() > 0.1
    still = torch.autograd.grad(terms["sleep"].mean(), [layer.recognition, layer.hidden_bias])
    assert max(gradient.abs().max().item() for gradient in still) < 0.015


# Training


def trained(out: Path, steps: int, **options: object) -> DBN:
    given = {"hidden": "30,12", "bits": "threshold", "lr": 0.3, "fine_tuning": 0.5, "preview_every": 10_000, "chain": 5}
    run = simulacra.train("dbn", data="digits", out=out, steps=steps, quiet=True, **given, **options)
    assert isinstance(run.model, DBN)
    return run.model


def test_stages_on_digits(tmp_path: Path) -> None:
    """Tied until they are fine-tuned, the lower layer standing still while the upper one learns, and better than
    independent pixels by more than 4 nats in the end."""
    options = {"checkpoint_every": 300, "keep": 9}
    dbn = trained(tmp_path, 1000, **options)  # stages of 400, 400 and 200 steps
    first, second, third = (_tensors(tmp_path, step) for step in (300, 600, 1000))
    lower = [name for name in first if name.startswith("player/layer1/")]
    assert len(lower) == 4
    assert torch.equal(first["player/layer1/recognition"], first["player/layer1/generation"])
    assert torch.equal(second["player/layer1/recognition"], second["player/layer1/generation"])
    assert not torch.equal(third["player/layer1/recognition"], third["player/layer1/generation"])
    assert not torch.equal(second["player/layer2/weight"], first["player/layer2/weight"])
    pixels = {split: simulacra.open_data("digits", split=split).data for split in ("train", "test")}
    train, test = ((part > 127).float() for part in pixels.values())  # type: ignore[operator]
    rates = train.mean(0).clamp(1e-3, 1 - 1e-3)
    alone = torch.distributions.Bernoulli(probs=rates).log_prob(test).flatten(1).sum(1)
    value, kind = dbn.log_prob(2 * test - 1)
    assert kind == "bound"
    assert (value - alone).mean() > 4.0


def test_a_bound_by_an_annealed_log_z_is_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more than 15 units on either side at the top."""
    monkeypatch.setattr("simulacra.models.energy.paper_betas", lambda: [k / 100 for k in range(101)])
    assert DBN(DBNConfig(hidden=(16, 16)), SPEC).log_prob(X[:2]).kind == "estimated bound"


def test_the_lower_layer_stands_still_while_the_upper_one_learns(tmp_path: Path) -> None:
    trained(tmp_path, 10, checkpoint_every=1, keep=20)  # stages of 4, 4 and 2 steps
    at = {step: _tensors(tmp_path, step) for step in (3, 4, 8, 10)}
    for name in (name for name in at[4] if name.startswith("player/layer1/")):
        assert torch.equal(at[4][name], at[8][name])
        assert not torch.equal(at[3][name], at[4][name])
        assert not torch.equal(at[8][name], at[10][name])
    assert torch.equal(at[3]["player/layer2/weight"], at[4]["player/layer2/weight"])


def test_a_layer_that_is_the_machine_below_it_goes_on_at_a_rate_of_its_own() -> None:
    kind = find("dbn")

    def step(layer: str, **options: object) -> dict[str, Tensor]:
        torch.manual_seed(0)
        plan = kind.build(SPEC, 100, kind.options(hidden=(3, 5), batch=16, **options))
        (game,) = (stage.game for stage in plan.stages if stage.name == layer)
        (before,) = (player.module.state_dict() for player in game.players.values())
        before = {name: value.clone() for name, value in before.items()}
        game.step(lambda k: _batch(X), Clock())
        (after,) = (player.module.state_dict() for player in game.players.values())
        return {name: after[name] - before[name] for name in before}

    whole, half = step("layer2", unrolled_rate=1.0), step("layer2", unrolled_rate=0.5)
    for name in ("weight", "visible_bias", "hidden_bias"):
        assert whole[name].any()
        assert torch.allclose(whole[name], 2.0 * half[name], rtol=1e-2, atol=1e-7)
        assert torch.allclose(step("layer2")[name], 0.1 * whole[name], rtol=1e-2, atol=1e-7)
    assert torch.equal(whole["base"], half["base"])
    assert whole["base"].abs().max() > 1e-3
    lower, again = step("layer1", unrolled_rate=1.0), step("layer1", unrolled_rate=0.5)
    assert all(torch.equal(lower[name], again[name]) for name in lower)


def test_a_run_goes_on_bit_for_bit_in_every_stage(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", 10)
    for steps in (2, 5, 9, 10):
        parts = trained(tmp_path / "parts", steps, horizon=10)
    for a, b in zip(whole.state_dict().values(), parts.state_dict().values()):
        assert torch.equal(a, b)


def test_a_warm_start_is_not_unrolled_over(tmp_path: Path) -> None:
    given = {"hidden": "12,64", "quiet": True, "data": "digits", "lr": 1e-12}
    first = simulacra.train("dbn", out=tmp_path / "a", steps=3, **given)
    with torch.no_grad():
        first.model.top.weight.add_(1.0)
    artifact.save(first.model, tmp_path / "moved", facts={})
    second = simulacra.train("dbn", out=tmp_path / "b", steps=2, origin=tmp_path / "moved", **given)
    assert torch.allclose(second.model.top.weight, first.model.top.weight, atol=1e-6)


def _tensors(run: Path, step: int) -> dict[str, Tensor]:
    (place,) = (
        (run / "checkpoints").glob(f"step-*{step}") if step > 9 else (run / "checkpoints").glob(f"step-*00{step}")
    )
    return load_file(place / "tensors.safetensors")


def test_mistakes_are_named() -> None:
    kind = find("dbn")
    with pytest.raises(UserError, match="use rbm"):
        kind.build(Spec(kind="vector", shape=(2,), classes=None), 100, kind.options())
    with pytest.raises(UserError, match="--fine-tuning 1"):
        kind.build(SPEC, 100, kind.options(fine_rate=0.2))
    with pytest.raises(UserError, match="--unrolled-rate is of layers that start as the machine below them"):
        kind.build(SPEC, 100, kind.options(hidden=(6, 3), unrolled_rate=0.2))
    with pytest.raises(UserError, match="'hidden' should be 2 numbers or more, not"):
        kind.options().with_overrides({"hidden": "5"}, "dbn")
    with pytest.raises(UserError, match=r"outside \[-1, 1\]"):
        model(3, 4).log_prob(torch.full((1, 1, 2, 2), 2.0))
