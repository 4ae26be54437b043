"""Deep Boltzmann machines against sums over all states of all their layers."""

from math import log
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.distributions import Bernoulli

import simulacra
from simulacra.data import Spec
from simulacra.errors import UserError
from simulacra.metrics.ais import exact_log_z
from simulacra.models.dbm import DBM, DBMConfig
from simulacra.models.energy import Gibbs, contrastive_divergence
from simulacra.recipes import find
from tests.test_dbn import Noisy, X, _batch
from tests.test_rbm import drawn, frequencies, same_law, states

SPEC = Spec(kind="image", shape=(1, 2, 2), classes=None)
EVEN = [k / 400 for k in range(401)]


def model(*hidden: int, scale: float = 0.7, **options: object) -> DBM:
    made = DBM(DBMConfig(hidden=hidden, **options), SPEC)  # type: ignore[arg-type]
    with torch.no_grad():
        for number, parameter in enumerate(made.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=number + 1, scale=scale))
    return made


def layers_of(dbm: DBM) -> list[Tensor]:
    """All states of every layer, `[states, units of the layer]`, of all combinations."""
    sizes = [len(bias) for bias in dbm.biases]
    return list(states(sum(sizes)).float().split(sizes, dim=1))


def log_joint(dbm: DBM) -> Tensor:
    """log p(v, h1, …) + log Z of all states `[2^V, states of the hidden layers]`, by its definition."""
    layers = layers_of(dbm)
    value = sum(h @ bias for h, bias in zip(layers, dbm.biases))
    for lower, upper, layer in zip(layers, layers[1:], dbm.coupled):
        value = value + ((lower @ layer.weight) * upper).sum(1)
    assert isinstance(value, Tensor)
    return value.unflatten(0, (16, -1)).detach()


@pytest.mark.parametrize("hidden", [(3, 2), (2, 3, 2), (2, 2, 1, 2)])
def test_the_whole_is_one_machine(hidden: tuple[int, ...]) -> None:
    dbm = model(*hidden)
    joint, layers = log_joint(dbm), layers_of(dbm)
    even, odd = torch.cat(layers[::2], 1), torch.cat(layers[1::2], 1)
    assert torch.allclose(-dbm.machine.energy(even, odd), joint.flatten(), atol=1e-5)
    assert exact_log_z(*dbm.machine) == pytest.approx(joint.flatten().logsumexp(0).item(), abs=1e-5)


def test_the_bound_is_below_the_truth_and_stands_where_mean_field_does() -> None:
    """Against the bound as it is written (eq. 7), by enumeration, at the means that `posterior` found."""
    dbm = model(2, 3, 2, mean_field=200)
    joint, layers = log_joint(dbm), layers_of(dbm)
    log_z = joint.flatten().logsumexp(0)
    value, kind = dbm.log_prob(X)
    assert kind == "bound"
    assert (value < joint.logsumexp(1) - log_z).all()
    assert (value - (joint.logsumexp(1) - log_z)).abs().max() > 0.01
    even = dbm.posterior(states(4).float())
    odd = dbm.machine.drive(even).sigmoid()
    means = torch.cat([odd[:, :2], even[:, 4:], odd[:, 2:]], 1)  # h1, h2, h3
    hidden = torch.cat(layers[1:], 1)[: joint.shape[1]]
    q = Bernoulli(probs=means[:, None]).log_prob(hidden[None]).sum(2)
    assert torch.allclose(value, (q.exp() * (joint - q)).sum(1) - log_z, atol=1e-4)
    step = Bernoulli(probs=dbm.machine.expected(odd)[:, 4:]).probs
    assert torch.allclose(step, even[:, 4:], atol=1e-5)


def test_annealing_agrees_with_enumeration() -> None:
    dbm = model(3, 4, 3)
    found = dbm.partition(betas=EVEN, exact=False)
    assert 0 < found.standard_error < 0.2
    assert abs(found.value - log_joint(dbm).flatten().logsumexp(0)) < 3 * found.standard_error


def test_samples_have_the_marginals_of_the_law() -> None:
    dbm = model(3, 2, 2, chain=40)
    joint = log_joint(dbm)
    expected = joint.flatten().softmax(0).unflatten(0, (16, -1)).sum(1) @ states(4).float()
    found = 0.5 * (dbm.sample(20_000, seed=1).flatten(1) + 1)
    assert ((found.mean(0) - expected).abs() < 4.5 * found.std(0) / 20_000**0.5).all()


def test_gibbs_starts_upwards_through_doubled_weights_and_finds_the_law() -> None:
    dbm, n, v, h = model(3, 2), 20_000, states(4).float(), states(3).float()
    first, _ = dbm.coupled
    into = Bernoulli(logits=2 * v[15] @ first.weight + first.bias).log_prob(h).sum(1).exp()
    back = Bernoulli(logits=h @ first.weight.T + first.visible_bias)
    one = into @ back.log_prob(v[:, None]).sum(2).exp().T
    law = (log_joint(dbm).logsumexp(1) - log_joint(dbm).flatten().logsumexp(0)).exp()
    for steps, expected in ((1, one), (60, law)):
        end = dbm.gibbs(X[15].expand(n, 1, 2, 2), steps, seed=3)
        assert set(end.unique().tolist()) == {-1.0, 1.0}
        assert same_law(frequencies(0.5 * (end.flatten(1) + 1)), expected.detach().double(), n)


def test_weights_are_doubled_but_for_the_end_that_hears_from_one_side() -> None:
    dbm = model(3, 5, 2)
    v, h, g = (torch.ones(1, n) for n in (4, 3, 5))
    first, middle, last = (dbm.doubled_machine(k) for k in range(3))
    bottom, inner, top = dbm.coupled
    twice = v.repeat(1, 2)
    assert torch.allclose(first.drive(twice), 2 * v @ bottom.weight + bottom.bias)
    assert torch.allclose(first.expected(h), (h @ bottom.weight.T + bottom.visible_bias).sigmoid().repeat(1, 2))
    assert torch.allclose(middle.drive(h), 2 * h @ inner.weight + inner.bias)
    assert torch.allclose(middle.expected(g), (2 * g @ inner.weight.T + bottom.bias).sigmoid())
    assert torch.allclose(last.drive(g), (g @ top.weight + top.bias).repeat(1, 2))
    both = torch.ones(1, 4)
    assert torch.allclose(last.expected(both), (2 * both[:, :2] @ top.weight.T + inner.bias).sigmoid())


def test_layers_learn_from_bits_drawn_upwards_through_doubled_weights() -> None:
    """Frequencies of the first and of the second layer's bits, above one picture, against enumeration."""
    dbm, n, h = model(3, 2, 2), 20_000, states(3).float()
    v = states(4).float()[[9]]
    first, second, _ = dbm.coupled
    law1 = Bernoulli(logits=2 * v @ first.weight + first.bias).log_prob(h).sum(1).exp()
    above = Bernoulli(logits=2 * h @ second.weight + second.bias)
    law2 = law1 @ above.log_prob(states(2).float()[:, None]).sum(2).exp().T
    for layers, law in ((1, law1), (2, law2)):
        drawn_up = dbm._up(v.expand(n, -1), Noisy(n), layers)
        assert same_law(frequencies(drawn_up), law.detach().double(), n)
    assert torch.equal(dbm._up(v, Noisy(1), 0), v)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("k", [1, 3])
def test_a_layer_descends_its_machines_divergence(layer: int, k: int) -> None:
    """The first one from two copies of each picture; all with as many steps of Gibbs sampling as they are told."""
    dbm, gibbs, x = model(3, 2, 2, bits="threshold"), Gibbs(k, persistent=False), X[[3, 6, 9, 14]]
    found = dbm.layer_cost(_batch(x), Noisy(4), layer, gibbs, decay=0.1)  # type: ignore[arg-type]
    noise, v = Noisy(4), (x.flatten(1) > 0).float()
    lower = dbm._up(v, noise, layer)
    rows = torch.cat([v, v], 1) if layer == 0 else lower
    expected = contrastive_divergence(dbm.doubled_machine(layer), rows, noise, gibbs)  # type: ignore[arg-type]
    assert torch.allclose(found["divergence"], expected)
    assert set(found) == {"divergence", "decay"}
    assert torch.allclose(found["decay"], 0.05 * dbm.coupled[layer].weight.square().sum())


def test_mean_field_starts_upwards_through_weights_that_are_doubled_but_for_the_last() -> None:
    dbm, v = model(3, 2, mean_field=1), states(4).float()
    first, last = dbm.coupled
    below = (2 * v @ first.weight + first.bias).sigmoid()
    start = (below @ last.weight + last.bias).sigmoid()
    middle = (v @ first.weight + start @ last.weight.T + first.bias).sigmoid()
    assert torch.allclose(dbm.posterior(v), torch.cat([v, (middle @ last.weight + last.bias).sigmoid()], 1), atol=1e-6)


def test_chains_start_upwards_through_weights_that_are_doubled_but_for_the_last() -> None:
    """Two steps from one picture, through all states of three layers: the third one's start shows in the second."""
    dbm, n, v, h = model(3, 2, 2, scale=1.5), 20_000, states(4).float()[[9]], states(2).float()
    first, second, third = dbm.coupled

    def law(given: Tensor, layer: torch.nn.Module, share: float, over: Tensor) -> Tensor:
        drive = share * given @ layer.weight + layer.bias  # type: ignore[operator]
        return Bernoulli(logits=drive[:, None]).log_prob(over[None]).sum(2).exp()

    low = states(3).float()
    h1 = law(v, first, 2, low)[0]
    h3 = law(low, second, 2, h) @ law(h, third, 1, h)  # given h1
    odd, even, machine = torch.cat(layers_of(dbm)[1::2], 1), torch.cat(layers_of(dbm)[::2], 1), dbm.machine
    odd = odd.unique(dim=0)  # h1 before h3, in the order of their bits
    even = even.unique(dim=0)
    start = (h1[:, None] * h3).flatten()
    down = Bernoulli(probs=machine.expected(odd)[:, None]).log_prob(even[None]).sum(2).exp()
    up = Bernoulli(logits=machine.drive(even)[:, None]).log_prob(odd[None]).sum(2).exp()
    expected = (start @ down @ up @ down).view(16, -1).sum(1)
    end = dbm.gibbs(2 * v.view(1, 1, 2, 2).expand(n, -1, -1, -1) - 1, 2, seed=3)
    assert same_law(frequencies(0.5 * (end.flatten(1) + 1)), expected.detach().double(), n)


def test_a_bound_by_an_annealed_log_z_is_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more than 15 units on either side."""
    monkeypatch.setattr("simulacra.models.energy.paper_betas", lambda: EVEN)
    big = DBM(DBMConfig(hidden=(16, 12)), SPEC)
    value, kind = big.log_prob(X[:2])
    assert kind == "estimated bound"
    assert value == pytest.approx(-4 * log(2), abs=0.2)


def test_the_gradient_is_that_of_the_bound() -> None:
    """Chains at the law's own odd layers, so that one step is enough; the bound at its means by differentiation."""
    dbm, n = model(2, 2, 2), 40_000
    law = log_joint(dbm).flatten().softmax(0)
    odd = torch.cat(layers_of(dbm)[1::2], 1)
    chain = odd[torch.multinomial(law, n, replacement=True, generator=torch.Generator().manual_seed(1))]
    x = X[[6, 9]].repeat(n // 2, 1, 1, 1)
    terms = dbm.cost(_batch(x), Noisy(n, chain=chain), Gibbs(persistent=True), decay=0.0)  # type: ignore[arg-type]
    found = torch.autograd.grad(terms["divergence"].mean(), [*dbm.parameters()])
    machine = dbm.machine
    even = dbm.posterior(0.5 * (X[[6, 9]].flatten(1) + 1))
    cost = machine.free_energy(even).mean() + (-machine.free_energy(states(len(machine.visible)).float())).logsumexp(0)
    exact = torch.autograd.grad(cost, [*dbm.parameters()])
    assert max((a - b).abs().max().item() for a, b in zip(found, exact)) < 0.015
    assert max(gradient.abs().max().item() for gradient in exact) > 0.1


def test_stages_on_digits(tmp_path: Path) -> None:
    """A layer at a time, then all; better than independent pixels by more than 3 nats in the end."""
    options = {"hidden": "12,8,3", "bits": "threshold", "lr": 0.3, "chain": 5, "preview_every": 10_000, "keep": 30}
    run = simulacra.train("dbm", data="digits", out=tmp_path, steps=1050, checkpoint_every=50, quiet=True, **options)
    files = {step: tmp_path / "checkpoints" / f"step-{step:08d}" / "tensors.safetensors" for step in (350, 450, 1050)}
    before, after, end = (load_file(path) for path in files.values())  # stages of 151, 150, 150 and 599 steps
    weights = [f"player/layer{number}/weight" for number in (1, 2, 3)]
    assert [torch.equal(before[w], after[w]) for w in weights] == [True, True, False]
    assert not any(torch.equal(after[w], end[w]) for w in weights)
    train, test = ((simulacra.open_data("digits", split=s).data > 127).float() for s in ("train", "test"))  # type: ignore[operator]
    rates = train.mean(0).clamp(1e-3, 1 - 1e-3)
    alone = Bernoulli(probs=rates).log_prob(test).flatten(1).sum(1)
    value, kind = run.model.log_prob(2 * test - 1)  # type: ignore[operator]
    assert kind == "bound"
    assert (value - alone).mean() > 3.0


def test_mistakes_are_named() -> None:
    kind = find("dbm")
    with pytest.raises(UserError, match="use rbm"):
        kind.build(Spec(kind="vector", shape=(2,), classes=None), 100, kind.options())
    with pytest.raises(UserError, match=r"outside \[-1, 1\]"):
        model(3, 4).log_prob(torch.full((1, 1, 2, 2), 2.0))
