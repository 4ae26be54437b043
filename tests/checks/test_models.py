"""What every model must keep: an artifact is the model, and a sample does not know what is drawn beside it."""

from pathlib import Path
from typing import get_args

import pytest
import torch

import simulacra
from simulacra import artifact
from simulacra.capabilities import Decodes, Encodes, HasLogProb, KindOfLogProb, Reconstructs, Samples, verbs
from simulacra.data import Feed
from simulacra.errors import UserError
from simulacra.models.base import Model
from tests.checks.cases import MODELS, Case
from tests.checks.playing import source

each_model = pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)


def model_of(case: Case) -> Model:
    torch.manual_seed(0)
    assert case.plan
    return case.plan(source(case.data).spec).model


def rows(case: Case) -> torch.Tensor:
    return Feed(source(case.data), seed=0, batch=7).at(0).x


@each_model
def test_an_artifact_is_the_model(case: Case, tmp_path: Path) -> None:
    model = model_of(case)
    artifact.save(model, tmp_path / "model", facts={})
    loaded = simulacra.load(tmp_path / "model")
    assert (type(loaded), loaded.config, loaded.spec) == (type(model), model.config, model.spec)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values()))
    assert not loaded.training
    assert verbs(loaded) == verbs(model)
    if isinstance(model, Samples) and isinstance(loaded, Samples):
        assert torch.equal(model.sample(5, seed=3), loaded.sample(5, seed=3))


@each_model
def test_a_sample_does_not_know_what_is_drawn_beside_it(case: Case) -> None:
    model = model_of(case)
    if not isinstance(model, Samples):
        pytest.skip("the model does not sample")
    many = model.sample(300, seed=2)
    assert many.shape == (300, *source(case.data).spec.shape)
    assert torch.allclose(many[290:295], model.sample(5, seed=2, start=290), atol=1e-5)
    assert torch.allclose(many[:1], model.sample(1, seed=2), atol=1e-5)
    assert not torch.allclose(many[:5], model.sample(5, seed=3), atol=1e-3 * many.abs().max().item())


@each_model
def test_verbs_keep_shapes_and_modes(case: Case) -> None:
    model, x = model_of(case).train(), rows(case)
    if isinstance(model, Encodes) and isinstance(model, Decodes):
        assert model.decode(model.encode(x)).shape == x.shape
    if isinstance(model, Reconstructs):
        assert model.reconstruct(x).shape == x.shape
    if isinstance(model, HasLogProb):
        value, kind = model.log_prob(x)
        assert value.shape == (7,)
        assert kind in get_args(KindOfLogProb)
        assert torch.allclose(value[3:5], model.log_prob(x[3:5], start=3).value, rtol=1e-4)
    for verb in {"encode", "reconstruct", "log_prob"} & {*verbs(model)}:
        found = [getattr(model, verb)(rows) for rows in (x[:0], x, x.double())]
        none, single, double = (each.value if verb == "log_prob" else each for each in found)
        assert len(none) == 0
        assert torch.equal(single, double)
        with pytest.raises(UserError, match="does not fit the model, whose rows are"):
            getattr(model, verb)(x[..., :-1])
        with pytest.raises(UserError, match=r"not finite|outside"):
            getattr(model, verb)(torch.full_like(x, torch.nan))
        if model.spec.kind == "image":
            with pytest.raises(UserError, match=r"outside|of uint8: scale them to"):
                getattr(model, verb)((127.5 * (x + 1)).byte())
    assert model.training
    assert not any(p.grad_fn for p in model.parameters())
