"""The spec: reads back what it wrote, and refuses everything else by naming the field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulacra.data import Spec
from simulacra.errors import UserError

sizes = st.integers(1, 10**6)
classes = st.none() | st.lists(st.text(), min_size=1).map(tuple)
images = st.builds(Spec, kind=st.just("image"), shape=st.tuples(sizes, sizes, sizes), classes=classes)
vectors = st.builds(Spec, kind=st.just("vector"), shape=st.tuples(sizes), classes=classes)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(images | vectors)
def test_reads_back_what_it_wrote(spec):
    assert Spec.from_dict(spec.as_dict()) == spec


def test_sizes():
    spec = Spec(kind="image", shape=(3, 4, 5), classes=None)
    assert (spec.channels, spec.height, spec.width, spec.numel) == (3, 4, 5, 60)
    assert Spec(kind="vector", shape=(7,), classes=None).numel == 7


@pytest.mark.parametrize("name", ["channels", "height", "width"])
def test_vectors_have_no_image_sizes(name):
    with pytest.raises(UserError, match="not images"):
        getattr(Spec(kind="vector", shape=(7,), classes=None), name)


GOOD = {"kind": "image", "shape": [1, 8, 8], "classes": ["a"]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "sound"),
        ("kind", None),
        ("kind", ["image"]),
        ("shape", [8, 8]),
        ("shape", [1, 8, 0]),
        ("shape", [1, 8, -8]),
        ("shape", [1, 8, 8.0]),
        ("shape", [1, 8, True]),
        ("shape", "188"),
        ("shape", None),
        ("classes", []),
        ("classes", [1]),
        ("classes", "ab"),
        ("extra", 1),
    ],
)
def test_wrong_fields_are_named(field, value):
    with pytest.raises(UserError, match=field):
        Spec.from_dict(GOOD | {field: value})


@pytest.mark.parametrize("field", GOOD)
def test_missing_fields_are_named(field):
    with pytest.raises(UserError, match=f"'{field}' is missing"):
        Spec.from_dict({name: value for name, value in GOOD.items() if name != field})


@given(json | st.fixed_dictionaries({"kind": json | st.just("image"), "shape": json, "classes": json}))
def test_anything_is_a_spec_or_a_user_error(fields):
    try:
        spec = Spec.from_dict(fields)
    except UserError:
        return
    assert spec.numel > 0
