"""The world of strings: its sentences counted by brute force, recognised another way, drawn evenly."""

import itertools
import re

import numpy as np
import pytest
import torch
from data_helpers import refusal
from hypothesis import given
from hypothesis import strategies as st

from simulacra.data import Feed, open_data
from simulacra.data.worlds.grammar import ALPHABET, COUNTS, LENGTH, count, decode, draw, encode, grammatical, sentences


def reduces(text):
    """Whether rewriting (x) and x o x to x, for as long as there is something to rewrite, leaves x alone."""
    text, before = text.rstrip(" "), None
    while text != before:
        before, text = text, re.sub(r"\(x\)|x[-+*/]x", "x", text)
    return text == "x"


def test_sentences_are_counted_by_hand():
    """E₁ = 1; E₃ = 4 (x o x) + 1 ((x)) = 5; E₅ = 4 (F₁E₃ + F₃E₁) + E₃ = 4 (5 + 1) + 5 = 29, F₃ being E₁;
    E₇ = 4 (29 + 5 + 5) + 29 = 185; E₉ = 4 (185 + 29 + 25 + 29) + 185 = 1257."""
    assert [count(length) for length in range(1, 10)] == [1, 1, 6, 6, 35, 35, 220, 220, 1477]


def test_all_strings_of_five_characters_tried_one_by_one():
    texts = ["".join(characters) for characters in itertools.product(ALPHABET, repeat=5)]
    found = [text for text in texts if reduces(text)]
    assert [text for text in texts if grammatical(text)] == found
    assert {text.rstrip(" ") for text in found} == set(sentences(5))
    assert len(found) == count(5) == 35


@pytest.mark.parametrize("length", [1, 2, 4, 7, 9, 11])
def test_the_list_holds_every_sentence_once(length):
    listed = sentences(length)
    assert len(set(listed)) == len(listed) == count(length)
    assert all(reduces(text) and grammatical(text) and len(text) <= length for text in listed)


@pytest.mark.parametrize("text", ["", " ", "x x", " x", "x+", "+x", "()", "(x", "x)", ")x(", "xx", "x(x)", "x++x"])
def test_what_is_no_sentence(text):
    assert not grammatical(text)


@given(st.text(alphabet=ALPHABET, max_size=13))
def test_any_string_is_recognised_as_rewriting_does(text):
    assert grammatical(text) == reduces(text)


@given(st.lists(st.text(alphabet=ALPHABET.strip(" "), max_size=7), min_size=1, max_size=5))
def test_texts_come_back_from_rows(texts):
    rows = encode(texts, 7)
    assert rows.shape == (len(texts), 56)
    assert torch.equal(rows.unflatten(1, (7, 8)).sum(2), torch.ones(len(texts), 7))
    assert decode(rows) == texts


def test_rows_by_hand():
    places = encode(["x)"], 3).view(3, 8).tolist()
    assert places == [[1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0, 1]]


def test_what_cannot_be_a_row_is_refused():
    with pytest.raises(ValueError, match="longer than 3"):
        encode(["x+x+x"], 3)
    with pytest.raises(ValueError, match="not found"):
        encode(["y"], 3)


def test_the_source_holds_sentences_labelled_by_length():
    source = open_data("grammar", split="test")
    batch = Feed(source, seed=0, batch=50).at(0)
    texts = decode(batch.x)
    assert len(source) == COUNTS["test"]
    assert source.spec.shape == (LENGTH * len(ALPHABET),)
    assert all(grammatical(text) for text in texts)
    assert batch.labels is not None
    assert [source.spec.classes[label] for label in batch.labels] == [f"{len(text)} characters" for text in texts]


def test_every_sentence_is_drawn_as_often():
    """χ² of 1477 equally likely cells has mean 1476 and deviation √2952 = 54."""
    counts = np.bincount(draw("train"), minlength=count(LENGTH))
    expected = COUNTS["train"] / count(LENGTH)
    assert abs(((counts - expected) ** 2 / expected).sum() - 1476) < 4 * 54.4
    assert not np.array_equal(draw("train")[:100], draw("test")[:100])


def test_draws_are_the_same_everywhere():
    assert [sentences(LENGTH)[number] for number in draw("test")[:3]] == ["x+x*x", "(x)+x*x*x", "(x-x)/x-x"]


def test_strings_have_no_size():
    assert "choose images, or leave those out" in refusal("grammar", size=(8, 8))
