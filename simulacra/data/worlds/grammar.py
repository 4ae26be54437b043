"""`grammar`: short strings of arithmetic from a grammar whose sentences can be counted, listed and recognised.

After the strings of x and operators that Kusner & Hernández-Lobato 2016 (GANs for sequences of discrete elements with
the Gumbel-softmax distribution) teach a GAN; here with brackets, and unambiguous:

    E -> F | F o E        F -> x | ( E )        o -> + | - | * | /

A row is a sentence padded with blanks to 9 characters, one-hot over the 8 of `ALPHABET`: float32 [9 * 8], character by
character. Of the 8 ** 9 strings, 134 million, 1,477 are sentences; a row is each of them equally often.
"""

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.data.randoms import bits
from simulacra.data.request import Request
from simulacra.data.source import Source
from simulacra.data.tensors import vector_source

OPERATORS, PAD = "+-*/", " "
ALPHABET = f"x{OPERATORS}(){PAD}"
LENGTH = 9
COUNTS = {"train": 100_000, "test": 10_000}


def open_grammar(request: Request) -> Source:
    """Sentences of at most 9 characters: 100,000 rows to train on, 10,000 to test; labels are their lengths."""
    numbers, known = draw(request.split), sentences(LENGTH)
    lengths = torch.tensor([len(sentence) for sentence in known])
    classes = tuple(f"{length} characters" for length in range(1, LENGTH + 1, 2))
    note = f"{len(numbers):,} strings of at most {LENGTH} characters, of {len(known):,} sentences of a grammar"
    chosen = torch.from_numpy(numbers)
    return vector_source(request, encode(known, LENGTH)[chosen], (lengths // 2)[chosen], classes, [note])


def draw(split: str) -> NDArray[np.int64]:
    """The numbers int64 [N] of a split's sentences in `sentences(9)`; row i is a function of (split, i)."""
    words = bits(f"world/grammar/{split}", COUNTS[split])
    return (words % np.uint64(count(LENGTH))).astype(np.int64)


def count(length: int) -> int:
    """How many sentences have at most `length` characters."""
    return sum(_expressions(n) for n in range(1, length + 1))


@cache
def _expressions(n: int) -> int:
    """Sentences of exactly n characters: F, or F o E with F of k characters."""
    return _factors(n) + len(OPERATORS) * sum(_factors(k) * _expressions(n - 1 - k) for k in range(1, n - 1))


def _factors(n: int) -> int:
    return 1 if n == 1 else _expressions(n - 2) if n > 2 else 0


@cache
def sentences(length: int) -> tuple[str, ...]:
    """Every sentence of at most `length` characters once, the shorter first; as many as `count(length)`."""
    made: list[list[str]] = [[]]
    for n in range(1, length + 1):
        made.append(_factors_of(n, made))
        for k in range(1, n - 1):
            rests = made[n - 1 - k]
            made[n] += [f"{factor}{o}{rest}" for factor in _factors_of(k, made) for o in OPERATORS for rest in rests]
    return tuple(sentence for same in made for sentence in same)


def _factors_of(n: int, made: Sequence[list[str]]) -> list[str]:
    return ["x"] if n == 1 else [f"({inner})" for inner in made[n - 2]] if n > 2 else []


def grammatical(text: str) -> bool:
    """Whether `text`, without blanks at its end, is a sentence, of any length."""
    depth, ended = 0, False  # open brackets; whether a factor has just ended
    for character in text.rstrip(PAD):
        if ended and character == ")" and depth:
            depth -= 1
        elif character in OPERATORS if ended else character == "x":
            ended = not ended
        elif not ended and character == "(":
            depth += 1
        else:
            return False
    return ended and not depth


def encode(texts: Iterable[str], length: int) -> Tensor:
    """Texts of at most `length` characters of `ALPHABET`, padded: one-hot rows float32 [N, length * 8].

    Raises ValueError for another character, or a longer text."""
    padded = [text.ljust(length, PAD) for text in texts]
    if any(len(text) > length for text in padded):
        raise ValueError(f"a text is longer than {length} characters")
    tokens = torch.tensor([[ALPHABET.index(character) for character in text] for text in padded])
    return torch.nn.functional.one_hot(tokens.view(-1, length), len(ALPHABET)).float().flatten(1)


def decode(rows: Tensor) -> list[str]:
    """The texts of rows [N, length * 8], the largest number of each character's eight, without blanks at the end."""
    return [spell(tokens) for tokens in rows.unflatten(1, (-1, len(ALPHABET))).argmax(2).tolist()]


def spell(tokens: Iterable[int]) -> str:
    """The text of characters by their numbers in `ALPHABET`, without blanks at the end."""
    return "".join(ALPHABET[token] for token in tokens).rstrip(PAD)
