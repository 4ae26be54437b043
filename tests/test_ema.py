"""Averages of weights, against the weighted sums they stand for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from simulacra.ema import Average, judged, statistics_reestimated


def followed(values, decay):
    """The average of a single parameter that takes these values in turn."""
    parameter = nn.Parameter(torch.zeros((), dtype=torch.float64))
    average = Average([parameter], decay)
    for value in values:
        parameter.data = torch.tensor(value, dtype=torch.float64)
        average.update()
    return average.values[0].item()


def test_the_first_update_copies():
    assert followed([3.5], 0.999) == 3.5


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40), st.sampled_from([0.0, 0.3, 0.5, 0.9, 0.999]))
@settings(max_examples=50, deadline=None)
def test_the_average_is_a_weighted_sum_whose_window_grows_up_to_the_decay(values, decay):
    decays = [min(decay, t / (t + 10)) for t in range(len(values))]
    weights = [(1 - d) * torch.tensor(decays[t + 1 :], dtype=torch.float64).prod().item() for t, d in enumerate(decays)]
    assert sum(weights) == pytest.approx(1.0)  # the untrained weights have none
    expected = sum(w * v for w, v in zip(weights, values))
    assert followed(values, decay) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert min(values) - 1e-9 <= followed(values, decay) <= max(values) + 1e-9


def test_in_place_swaps_and_swaps_back():
    module = nn.Linear(2, 2)
    average = Average(list(module.parameters()), 0.9)
    average.update()
    averaged = [p.detach().clone() for p in module.parameters()]
    with torch.no_grad():
        module.weight.add_(1.0)
        module.bias.sub_(1.0)
    now = [p.detach().clone() for p in module.parameters()]

    def fails():
        with average.in_place():
            assert all(torch.equal(a, p) for a, p in zip(averaged, module.parameters()))
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert all(torch.equal(a, p) for a, p in zip(now, module.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(averaged, average.values))


def test_before_any_update_the_average_is_the_weights():
    module = nn.Linear(2, 2)
    before = module.weight.detach().clone()
    with Average(list(module.parameters())).in_place():
        assert torch.equal(module.weight, before)


def test_an_average_goes_on_from_what_was_saved():
    module = nn.Linear(3, 3)
    one, other = Average(list(module.parameters()), 0.9), Average(list(module.parameters()), 0.9)
    for k in range(9):
        module.weight.data.fill_(k * k)
        one.update()
        if k == 4:
            other.load([value.clone() for value in one.values], one.updates)
        elif k > 4:
            other.update()
    assert all(torch.equal(a, b) for a, b in zip(one.values, other.values, strict=True))
    assert one.updates == other.updates == 9


BATCHES = [torch.randn(8, 3, generator=torch.Generator().manual_seed(k)) * (k + 1) + k for k in range(5)]


def passes(model):
    for x in BATCHES:
        model(x)
        yield


@pytest.mark.parametrize("training", [True, False])
def test_reestimated_statistics_are_the_mean_of_the_batches_own(training):
    model = nn.Sequential(nn.BatchNorm1d(3, momentum=0.3))
    model(BATCHES[0])
    model.train(training)
    norm, before = model[0], {k: v.clone() for k, v in model.state_dict().items()}
    with statistics_reestimated(model, passes(model)):
        assert torch.allclose(norm.running_mean, torch.stack([x.mean(0) for x in BATCHES]).mean(0), atol=1e-6)
        assert torch.allclose(norm.running_var, torch.stack([x.var(0) for x in BATCHES]).mean(0), rtol=1e-5)
        assert norm.training is training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert norm.momentum == 0.3


def test_a_model_without_batch_norm_makes_no_passes():
    model = nn.Linear(3, 3)
    taken = iter([None])
    with statistics_reestimated(model, taken):
        assert list(taken) == [None]


def test_a_model_is_judged_by_its_average_with_statistics_for_it_and_says_so():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    average = Average(list(model.parameters()), 0.5)
    average.update()
    averaged = model[0].weight.detach().clone()
    model[0].weight.data.add_(1.0)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with judged(model, [average], lambda: passes(model)) as words:
        assert torch.equal(model[0].weight, averaged)
        means = torch.stack([model[0](x).mean(0) for x in BATCHES]).mean(0)
        assert torch.allclose(model[1].running_mean, means, atol=1e-5)
        assert words == "the moving average of the weights (decay 0.5), batch-norm statistics re-estimated for it"
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_without_an_average_a_model_is_judged_as_it_is():
    model = nn.BatchNorm1d(3)
    for averages in ([], [Average(list(model.parameters()))]):
        with judged(model, averages, lambda: passes(model)) as words:
            assert words == "the weights of the last step"
            assert torch.equal(model.running_mean, torch.zeros(3))
