"""In which precision a run computes."""

import pytest
import torch

import simulacra
from simulacra import precision
from simulacra.errors import UserError
from simulacra.precision import choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_the_hardwares_for_images_and_float32_for_vectors(monkeypatch, native):
    monkeypatch.setattr(precision, "has_native_bfloat16", lambda device: native)
    assert choose_precision("auto", CPU) == ("bfloat16" if native else "float32")
    assert choose_precision("auto", CPU, vectors=True) == "float32"
    assert choose_precision("bfloat16", CPU, vectors=True) == "bfloat16"
    assert choose_precision("float32", CPU) == "float32"
    with pytest.raises(UserError, match="'half'"):
        choose_precision("half", CPU)


@pytest.mark.parametrize(("data", "expected"), [("ring", "float32"), ("digits", "bfloat16")])
def test_a_run_asks_what_its_data_are(monkeypatch, tmp_path, data, expected):
    monkeypatch.setattr(precision, "has_native_bfloat16", lambda device: True)
    simulacra.train("gan", data=data, steps=1, width=4, out=tmp_path, quiet=True)
    assert f'"precision": "{expected}"' in (tmp_path / "recipe.json").read_text()


def test_bfloat16_does_not_tell_points_of_a_mode_apart():
    """The reason: σ of the ring's modes is 0.01, that of the grid's 0.05, and the grid reaches to 4."""
    between = torch.linspace(3.985, 3.999, 50)
    assert len(between.bfloat16().unique()) <= 2
    assert len(between.unique()) == 50
