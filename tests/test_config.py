"""Typed settings: what is said on a command line, and what is refused in one line."""

import json
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from simulacra.config import Config
from simulacra.errors import UserError
from simulacra.optimizers import Adam
from simulacra.settings import RunOptions


class Part(Config):
    width: int = Field(default=8, ge=1)
    rates: tuple[float, ...] = (0.1,)


class Shaped(Config):
    pair: tuple[float, float] = (0.5, 2.0)
    box: tuple[int, int, int] = (4, 5, 6)
    words: tuple[str, str] = ("a", "b")
    inner: Adam = Adam(betas=(0.25, 0.75))


class Whole(Part):
    kind: Literal["plain", "fancy"] = "plain"
    average: float | None = 0.9
    flag: bool = False
    text: str = "x"
    optimizer: Adam = Adam(lr=0.5)


NAMES = [name for name, _ in Whole.settings()]


def over(**words):
    """`a__b` stands for the dotted name a.b."""
    return Whole().with_overrides({name.replace("__", "."): word for name, word in words.items()}, "recipe toy")


def test_settings_are_listed_by_dotted_name():
    assert NAMES == [
        "width", "rates", "kind", "average", "flag", "text",
        "optimizer.lr", "optimizer.betas", "optimizer.eps", "optimizer.weight_decay", "optimizer.l2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "word", "value"),
    [
        ("width", "12", 12),
        ("average", "0.5", 0.5),
        ("average", "1e-3", 1e-3),
        ("average", "null", None),
        ("flag", "true", True),
        ("kind", "fancy", "fancy"),
        ("text", "two words", "two words"),
        ("rates", "1,2.5", (1.0, 2.5)),
        ("rates", "[3]", (3.0,)),
        ("rates", "[3, 4]", None),
        ("optimizer__lr", "0.25", 0.25),
        ("optimizer__betas", "0,0.99", (0.0, 0.99)),
    ],
)
def test_words_become_values(name, word, value):
    if value is None and name == "rates":
        with pytest.raises(UserError, match="rates"):
            over(rates=word)  # "[3, 4]" has commas: it is a list of one list
        return
    found = over(**{name: word})
    *path, leaf = name.split("__")
    for part in path:
        found = getattr(found, part)
    assert getattr(found, leaf) == value


def test_an_override_changes_nothing_else():
    before = Whole()
    after = before.with_overrides({"optimizer.eps": "0.5", "width": "3"}, "toy")
    assert after.model_dump() == {
        **before.model_dump(),
        "width": 3,
        "optimizer": {**before.optimizer.model_dump(), "eps": 0.5},
    }
    assert before == Whole()


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Whole().width = 3


def test_part_takes_what_it_has():
    assert over(width="5", rates="1,2").part(Part) == Part(width=5, rates=(1.0, 2.0))


def test_settings_survive_json():
    one = over(width="5", average="null", optimizer__betas="0,0.5")
    assert Whole.read(json.loads(json.dumps(one.model_dump(mode="json"))), "toy") == one


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"widht": "3"}, "unknown option of recipe toy 'widht': did you mean 'width'?"),
        ({"optimizer__lrr": "3"}, "unknown option of recipe toy 'optimizer.lrr': did you mean 'optimizer.lr'?"),
        ({"optimizer": "{}"}, "unknown option of recipe toy 'optimizer'"),
        ({"zzzzzz": "3"}, "unknown option of recipe toy 'zzzzzz': known: average, flag"),
        (
            {"width": "many"},
            "recipe toy: 'width' should be a valid integer, unable to parse string as an integer, not \"many\"",
        ),
        ({"width": "0"}, "recipe toy: 'width' should be greater than or equal to 1, not 0"),
        ({"width": "2.5"}, "'width' should be a valid integer, got a number with a fractional part, not 2.5"),
        ({"kind": "odd"}, "recipe toy: 'kind' should be 'plain' or 'fancy', not \"odd\""),
        ({"optimizer__lr": "-1"}, "recipe toy: 'optimizer.lr' should be greater than 0, not -1"),
        ({"width": "9223372036854775808"}, "recipe toy: 'width' is larger than any machine's integers, 9.2e+18"),
    ],
)
def test_mistakes_are_named_with_the_way_out(words, message):
    with pytest.raises(UserError) as caught:
        over(**words)
    assert message in str(caught.value)


def test_an_unknown_field_of_a_record_is_told_from_a_wrong_one():
    with pytest.raises(UserError, match=r"unknown setting of file 'optimizer.lrr': did you mean 'optimizer.lr'\?"):
        Whole.read({"optimizer": {"lrr": 1}}, "file")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pair": 0.5}, "toy: 'pair' should be two numbers, like 0.5,2.0, not 0.5"),
        ({"pair": [1]}, "toy: 'pair' should be two numbers, like 0.5,2.0, not [1]"),
        ({"pair": [1, 2, 3]}, "toy: 'pair' should be two numbers, like 0.5,2.0, not [1, 2, 3]"),
        ({"pair": [1, "x"]}, "toy: 'pair.1' should be a valid number, unable to parse string as a number, not \"x\""),
        ({"box": 4}, "toy: 'box' should be three whole numbers, like 4,5,6, not 4"),
        ({"box": [4, 5]}, "toy: 'box' should be three whole numbers, like 4,5,6, not [4, 5]"),
        ({"inner": {"betas": 0.5}}, "toy: 'inner.betas' should be two numbers, like 0.25,0.75, not 0.5"),
        ({"words": "a"}, "toy: 'words' should be a valid tuple, not \"a\""),
        ({"words": ["a"]}, "toy: 'words.1' is missing"),
    ],
)
def test_how_many_numbers_are_asked_for_is_said_with_an_example(values, message):
    with pytest.raises(UserError) as caught:
        Shaped.read(values, "toy")
    assert str(caught.value) == message


def test_numbers_without_a_default_have_an_example_too():
    class Needy(Config):
        box: tuple[int, int]

    with pytest.raises(UserError, match=r"^the needy: 'box' should be two whole numbers, like 1,2, not 4$"):
        Needy.read({"box": 4}, "the needy")
    with pytest.raises(UserError, match=r"^the needy: 'box' is missing$"):
        Needy.read({}, "the needy")


def test_the_example_of_numbers_is_the_default_of_the_whole():
    with pytest.raises(UserError, match=r"'optimizer.betas' should be two numbers, like 0.9,0.999, not 0.5$"):
        over(optimizer__betas="0.5")


WORDS = st.text(max_size=12) | st.sampled_from(
    ["null", "[]", "{}", "[[1]]", ",", "1,,2", '"', "NaN", "-0", "1e400", "\n"]
)


def refusal(read):
    """The line with which `read` is refused, empty where it is not. Any error but a UserError comes through."""
    try:
        assert isinstance(read(), Whole)
    except UserError as error:
        return str(error)
    return ""


@given(name=st.sampled_from(NAMES), word=WORDS)
@settings(max_examples=200, deadline=None)
def test_wild_words_are_taken_or_refused_in_one_line(name, word):
    line = refusal(lambda: Whole().with_overrides({name: word}, "toy"))
    assert "\n" not in line
    assert not line or name in line


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*NAMES, "optimizer"]) | st.text(max_size=8), JSON, max_size=4))
@settings(max_examples=200, deadline=None)
def test_wild_records_are_taken_or_refused_in_one_line(values):
    assert "\n" not in refusal(lambda: Whole.read(values, "toy"))


def test_a_missing_setting_is_named():
    class Needy(Config):
        needed: int

    with pytest.raises(UserError, match=r"^the needy: 'needed' is missing$"):
        Needy.read({}, "the needy")


def test_a_setting_that_takes_text_takes_digits_as_text():
    assert RunOptions().with_overrides({"size": "32"}, "run").size == "32"
    assert RunOptions(size="8").with_overrides({"size": "null"}, "run").size is None
