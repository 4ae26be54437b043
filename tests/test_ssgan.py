"""Semi-supervised GAN: the costs of K + 1 classes by hand, what is matched, and what is refused."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from simulacra.costs.adversarial import OBJECTIVES
from simulacra.data.batch import Batch
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Clock, Game, Table, Turn
from simulacra.models.adversary import Penalties, Tricks
from simulacra.models.ssgan import SSGAN, Realness, SemiSupervisedAdversary, SSGANConfig, realness
from simulacra.recipes import find

SPEC = Spec(kind="vector", shape=(3,), classes=tuple("abc"))
LABELS = torch.tensor([1, 0, 2])
LOGITS = torch.tensor([[0.0, math.log(2.0), 0.0]] * 3)  # p(1) = 1/2, the others 1/4


class Blank(nn.Module):
    """A generator of zeros."""

    def forward(self, z):
        return torch.zeros(len(z), 3)


def game(classifier=None, generator=None):
    torch.manual_seed(0)
    model = SSGAN(SSGANConfig(width=4, latent=2, classes=3, hidden=(5, 4), noise=(0.0, 0.0)), SPEC)
    model.classifier, model.generator = classifier or model.classifier, generator or model.generator
    tricks = Tricks(adversarial=0.0, matching=2.0)
    judge = Realness(model.classifier)
    return SemiSupervisedAdversary(model, judge, OBJECTIVES["minimax"], Penalties(), tricks=tricks)


def batch(x, beside=LOGITS):
    def of(rows, labels):
        return Batch(x=rows, labels=labels, index=torch.arange(3), start=0, joint=3, pass_end=False)

    joint = replace(of(x, None), beside=of(beside, LABELS))
    return joint, next(iter(Turn(Game([], []), joint, Clock(), (0,), Table()).parts(0)))[1]


def test_the_class_of_generated_rows_has_logit_0():
    """D = Z / (Z + 1) with Z = Σ exp l: 3/4 of three zeros, 4/5 of LOGITS."""
    logits = torch.cat([torch.zeros(1, 3), LOGITS[:1]])
    assert realness(logits).sigmoid().flatten().tolist() == pytest.approx([3 / 4, 4 / 5])
    softmax = torch.cat([logits, torch.zeros(2, 1)], 1).softmax(1)
    assert (1 - softmax[:, 3]).tolist() == pytest.approx([3 / 4, 4 / 5])


def test_the_discriminators_cost_by_hand():
    """Real rows: −log D; generated ones: −log(1 − D); labelled ones: −log p(y|x, y ≤ K), the rows being logits."""
    terms = game(nn.Identity(), Blank()).discriminate(*batch(LOGITS))
    assert set(terms) == {"real", "fake", "labels"}
    assert terms["real"].flatten().tolist() == pytest.approx([math.log(5 / 4)] * 3)
    assert terms["fake"].flatten().tolist() == pytest.approx([math.log(4)] * 3)
    assert terms["labels"].tolist() == pytest.approx([math.log(2), math.log(4), math.log(4)])


def test_without_a_generator_the_labels_alone_are_learned():
    terms = game(nn.Identity(), Blank()).learn(*batch(torch.full((3, 3), 7.0)))
    assert terms.keys() == {"labels"}
    assert terms["labels"].tolist() == pytest.approx([math.log(2), math.log(4), math.log(4)])


def test_unlabelled_rows_teach_no_class():
    """Moving all logits of a class up by as much leaves p(y|x, y ≤ K): their gradient is that of log Z alone."""
    costs = game(nn.Identity(), Blank())
    x = LOGITS.clone().requires_grad_()
    (grad,) = torch.autograd.grad(costs.discriminate(*batch(x))["real"].sum(), x)
    assert torch.allclose(grad, (realness(x).sigmoid() - 1) * x.softmax(1), atol=1e-6)


def test_the_generator_matches_what_enters_the_classifiers_last_layer():
    costs = game()
    rows, at = batch(torch.randn(3, 3))
    made = costs.model.generate(batch(rows.x)[1])
    hidden = costs.model.classifier.layers[:-1]
    expected = 2.0 * (hidden(rows.x).mean(0) - hidden(made).mean(0)).square().sum()
    terms = costs.generate(rows, at)
    assert terms.keys() == {"matching"}
    assert torch.allclose(terms["matching"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        (Spec(kind="vector", shape=(3,), classes=None), {}, "needs classes"),
        (SPEC, {"matching": 0, "generator.lr": 0.1}, "generator does nothing without matching"),
    ],
)
def test_what_cannot_work_is_refused(spec, options, words):
    kind = find("ssgan")
    with pytest.raises(UserError, match=words):
        kind.build(spec, 100, kind.options().with_overrides(options, "ssgan"))
