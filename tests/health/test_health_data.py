"""What is wrong with data before anything is trained on them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from simulacra.data import Source, open_data
from simulacra.health.data import DataFacts, detect, look
from simulacra.health.thresholds import DEFAULT
from tests.health.made import source


def pictures(n: int = 500) -> Tensor:
    return torch.randint(0, 256, (n, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def names(data: Source, conditional: bool = False) -> list[str]:
    return [alarm.name for alarm in detect(look(data, conditional), DEFAULT)]


def test_noise_and_known_data_are_well() -> None:
    assert names(source(pictures())) == []
    assert names(open_data("digits"), conditional=True) == []
    assert names(open_data("ring")) == []


def test_strings_of_a_grammar_may_be_copies() -> None:
    assert look(open_data("grammar"), False).distinct < DEFAULT.duplicates
    assert names(open_data("grammar")) == []


def test_a_value_that_is_not_finite_is_found_wherever_it_is() -> None:
    points = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))
    points[15_321, 1] = torch.nan
    (alarm,) = detect(look(source(points), False), DEFAULT)
    assert alarm.name == "data-not-finite"
    assert "row 15321 of made" in alarm.evidence


def test_copies_are_counted() -> None:
    few = pictures(50)
    facts = look(source(few.repeat(10, 1, 1, 1)), False)
    assert facts.distinct == pytest.approx(0.1)
    assert names(source(few.repeat(10, 1, 1, 1))) == ["data-duplicates"]


def test_constant_pixels() -> None:
    edges = pictures()
    edges[:, :, :2] = 0
    assert look(source(edges), False).constant == 0.5
    assert names(source(edges)) == []
    edges[:, :, 2, 0] = 0  # 9 of 16
    assert names(source(edges)) == ["data-constant"]


def test_one_class_of_several() -> None:
    labels = torch.zeros(500, dtype=torch.int64)
    assert names(source(pictures(), labels)) == ["data-single-class"]
    assert names(source(pictures(), labels, classes=1)) == []


@pytest.mark.parametrize(("scale", "said"), [(99.0, []), (101.0, ["data-out-of-range"])])
def test_the_range_of_vectors(scale: float, said: list[str]) -> None:
    points = torch.rand(500, 2, generator=torch.Generator().manual_seed(0))
    points[0, 0] = -1.0
    assert names(source(scale * points)) == said


def test_the_range_of_pictures_in_floats() -> None:
    made = torch.rand(500, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert names(source(made)) == []
    assert names(source(2.0 * made)) == ["data-out-of-range"]


def test_labels_in_another_order_than_their_rows() -> None:
    digits = open_data("digits")
    assert digits.labels is not None
    mixed = digits.labels[torch.randperm(len(digits), generator=torch.Generator().manual_seed(1))]
    shuffled = replace(digits, labels=mixed)
    assert names(shuffled, conditional=True) == ["labels-unrelated"]
    assert names(shuffled, conditional=False) == [], "nobody learns from them"


def test_a_handful_of_rows_says_nothing_of_labels() -> None:
    assert look(source(pictures(100), torch.arange(100) % 2), True).accuracy is None


def test_facts_are_read_back_from_their_line() -> None:
    facts = look(open_data("digits"), True)
    line = facts.line
    assert DataFacts.read({**line, "data": line["data"] | {"of a later version": 1}}) == facts
