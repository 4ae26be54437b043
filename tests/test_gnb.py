"""Gaussian naive Bayes: scikit-learn's posterior, sampling by class, and what is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.naive_bayes import GaussianNB
from torch import Tensor

from simulacra.data import Batch, Spec, open_data
from simulacra.data.batch import to_unit
from simulacra.errors import UserError
from simulacra.game import Clock
from simulacra.models.gnb import GNB
from simulacra.recipes import find


def points(n: int = 300, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Rows float64 `[n, 3]` of three classes, unevenly many, and their labels."""
    noise = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 1, 1, 2, 2, 2]).repeat(n // 6)
    rows = torch.randn(len(labels), 3, generator=noise, dtype=torch.float64)
    centres = torch.tensor([[0.0, 1, 2], [2, 0, -1], [-1, 1, 0]], dtype=torch.float64)
    scales = torch.tensor([[1.0, 2, 0.5], [0.3, 1, 1], [1, 1, 3]], dtype=torch.float64)
    return shift + centres[labels] + scales[labels] * rows, labels


def counted(x: Tensor, labels: Tensor, passes: int = 1, size: int = 70, classes: int = 3, **options: str) -> GNB:
    """The classifier after so many passes."""
    kind, names = find("gnb"), tuple("abcdefghij"[:classes])
    image = x.dim() == 4
    spec = Spec(kind="image" if image else "vector", shape=tuple(x.shape[1:]), classes=names)
    plan = kind.build(spec, len(x), kind.options().with_overrides(options, "gnb"))
    parts = list(zip(x.split(size), labels.split(size), torch.arange(len(x)).split(size)))
    rows = [Batch(x=a, labels=b, index=c, start=0, joint=len(a), pass_end=False) for a, b, c in parts]
    rows[-1] = replace(rows[-1], pass_end=True)
    for step in range(passes * len(rows)):
        plan.stages[0].game.step(rows[step % len(rows) :].__getitem__, Clock(step=step))
    assert isinstance(plan.model, GNB)
    return plan.model


@pytest.mark.parametrize("smoothing", ["1e-9", "0.1"])
def test_the_posterior_is_that_of_scikit_learn(smoothing: str) -> None:
    x, labels = points()
    theirs = GaussianNB(var_smoothing=float(smoothing)).fit(x.numpy(), labels.numpy())
    ours = counted(x, labels, var_smoothing=smoothing)
    assert np.allclose(ours.posterior(x), theirs.predict_proba(x.numpy()), atol=1e-10)
    assert np.allclose(ours.classify(x), theirs.predict_joint_log_proba(x.numpy()), atol=1e-8)
    assert np.allclose(ours.priors.detach(), theirs.class_prior_)
    assert np.allclose(ours.variances.detach(), theirs.var_)


def test_on_digits_too_whose_corners_never_vary() -> None:
    train, test = open_data("digits"), open_data("digits", split="test")
    assert isinstance(train.data, Tensor)
    assert isinstance(test.data, Tensor)
    assert train.labels is not None
    x, unseen = to_unit(train.data), to_unit(test.data)
    theirs = GaussianNB().fit(x.flatten(1).double().numpy(), train.labels.numpy())
    ours = counted(x, train.labels, classes=10, passes=2, size=400)
    wanted = theirs.predict_proba(unseen.flatten(1).double().numpy())
    assert np.abs(ours.posterior(unseen).numpy() - wanted).max() < 1e-6
    assert ((ours.classify(unseen).argmax(1) == test.labels).float().mean()) > 0.75


def test_a_second_pass_keeps_digits_where_means_are_large() -> None:
    x, labels = points(shift=3e6)
    exact = torch.stack([x[labels == k].var(0, correction=0) for k in range(3)])
    errors = []
    for passes in (1, 2):
        found = counted(x, labels, passes=passes, var_smoothing="1e-15").variances.detach()
        errors.append((found / exact - 1).abs().max().item())
    assert errors[1] < 1e-8
    assert errors[1] < errors[0] / 10


def test_log_prob_is_that_of_the_mixture_of_classes() -> None:
    x, labels = points()
    model = counted(x, labels)
    laws = torch.distributions.Normal(model.means.detach(), model.variances.detach().sqrt())
    density = (laws.log_prob(x[:, None]).sum(2).exp() @ model.priors.detach()).log()
    value, kind = model.log_prob(x)
    assert kind == "exact"
    assert torch.allclose(value, density)


def test_samples_are_of_their_class_and_classes_of_the_prior() -> None:
    x, labels = points()
    model = counted(x, labels)
    for k in range(3):
        drawn = model.sample_labelled(torch.full((20_000,), k), seed=1).double()
        error = model.variances[k].detach().sqrt() / 20_000**0.5
        assert ((drawn.mean(0) - model.means[k].detach()).abs() < 4 * error).all()
        assert torch.allclose(drawn.var(0), model.variances[k].detach(), rtol=0.05)
    drawn = model.labels(20_000, seed=1)
    shares = torch.bincount(drawn, minlength=3) / 20_000
    assert torch.allclose(shares.double(), model.priors.detach(), atol=0.015)
    assert torch.equal(model.sample(50, seed=1), model.sample_labelled(drawn[:50], seed=1))
    with pytest.raises(UserError, match="classes are 0 to 2"):
        model.sample_labelled(torch.tensor([3]))


def test_data_without_labels_is_refused_by_name() -> None:
    kind, spec = find("gnb"), Spec(kind="vector", shape=(2,), classes=None)
    with pytest.raises(UserError, match="gnb needs classes"):
        kind.build(spec, 100, kind.options())


def test_another_number_of_classes_than_the_datas_is_refused() -> None:
    kind, spec = find("gnb"), Spec(kind="vector", shape=(2,), classes=("a", "b"))
    with pytest.raises(UserError, match="has 2 classes, not 3"):
        kind.build(spec, 100, kind.options().with_overrides({"classes": "3"}, "gnb"))


@pytest.mark.parametrize(
    ("change", "options", "match"),
    [
        (lambda x, y: (x[y != 1], y[y != 1]), {}, "class 'b' has no rows"),
        (lambda x, y: (x * torch.tensor([0.0, 1, 1]), y), {"var_smoothing": "0"}, "--var-smoothing above 0"),
    ],
)
def test_what_has_no_estimate_is_refused(change: Any, options: dict[str, str], match: str) -> None:
    x, labels = points()
    with pytest.raises(UserError, match=match):
        counted(*change(x, labels), **options)


def test_numbers_that_do_not_vary_within_a_class_are_counted() -> None:
    """The fourth number is always the same in classes b and c, the fifth in b: three variances."""
    x, labels = points()
    x = torch.cat([x, (labels == 0)[:, None] * x[:, :1], (labels != 1)[:, None] * x[:, :1]], 1)
    model = counted(x, labels)
    sums = model.count(Batch(x=x, labels=labels, index=labels, start=0, joint=len(x), pass_end=True), None)  # type: ignore[arg-type]
    assert model.estimate(sums)["floored"].item() == 3  # type: ignore[union-attr]


def test_the_command_line_samples_a_class(command, tmp_path) -> None:
    assert command("train", "gnb", "--data", "digits", "--out", tmp_path / "run", "--quiet")[0] == 0
    place = tmp_path / "threes.npz"
    code, _, err = command("sample", tmp_path / "run", "--label", "3", "-n", "4", "--out", place)
    assert code == 0, err
    assert np.load(place, allow_pickle=False)["images"].shape == (4, 8, 8, 1)
