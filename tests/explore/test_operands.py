"""What words stand for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from simulacra.data import open_data
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.explore.operands import Place, latents, picture
from simulacra.models.conditional import ConditionalGAN, ConditionalGANConfig
from tests.explore.linear import Linear, LinearWithCodes, matrix

MODEL = Linear(matrix(12, 4))
DIGITS = Spec(kind="image", shape=(1, 8, 8), classes=tuple("0123456789"))


class Mean:
    """Encodes an image as its mean brightness."""

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1).mean(1, keepdim=True)

    def decode(self, z: Tensor) -> Tensor:
        return z[:, :, None, None].expand(-1, 1, 8, 8)


class Flat(Linear):
    """Decodes to flat images of 8 × 8 and does not encode."""

    def decode(self, z: Tensor) -> Tensor:
        return z.mean(1)[:, None, None, None].expand(-1, 1, 8, 8)


def test_numbers_are_samples_of_the_seed() -> None:
    place = Place(model=MODEL, spec=MODEL.spec, seed=6)
    assert torch.equal(latents("2,0", place), MODEL.prior(3, seed=6)[[2, 0]])
    assert torch.equal(latents("7", place), MODEL.prior(8, seed=6)[7:])


def test_a_class_is_the_mean_of_its_codes() -> None:
    source = open_data("digits")
    found = latents("class:3", Place(model=Mean(), spec=DIGITS, source=source))
    assert source.labels is not None
    rows = source.rows((source.labels == 3).nonzero().flatten().numpy()).double()
    assert found.shape == (1, 1)
    assert found.item() == pytest.approx(rows.mean().item() / 127.5 - 1.0, abs=1e-6)


def test_a_class_of_a_model_that_is_told_it_is_its_first_sample_made_so() -> None:
    spec = Spec(kind="vector", shape=(2,), classes=("red", "green", "blue"))
    model = ConditionalGAN(ConditionalGANConfig(width=4, latent=3, classes=3), spec)
    place = Place(model=model, spec=spec, seed=5)
    found = latents("class:blue", place)
    assert torch.equal(found[:, :3], latents("0", place)[:, :3])
    assert found[:, 3:].tolist() == [[0.0, 0.0, 1.0]]
    assert torch.equal(model.decode(found), model.sample_labelled(torch.tensor([2]), seed=5))
    with pytest.raises(UserError, match="unknown class of the model 'bleu': did you mean 'blue'"):
        latents("class:bleu", place)


def test_a_picture_is_encoded_or_inverted(tmp_path: Path) -> None:
    file = tmp_path / "grey.png"
    Image.new("RGB", (30, 20), (64, 64, 64)).save(file)  # 64 / 127.5 − 1 = −0.498
    assert picture(file, DIGITS).unique().tolist() == pytest.approx([64 / 127.5 - 1.0])
    assert latents(str(file), Place(model=Mean(), spec=DIGITS)).item() == pytest.approx(64 / 127.5 - 1.0)
    model = Flat(matrix(1, 3))
    assert model.decode(latents(str(file), Place(model=model, spec=DIGITS))).mean().item() == pytest.approx(
        64 / 127.5 - 1.0, abs=2e-3
    )


def test_pictures_are_cut_to_the_shape_and_colours_of_the_model(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 4:12, 0] = 255  # red in the middle, black at both sides, which are cut off
    Image.fromarray(pixels).save(tmp_path / "red.png")
    found = picture(tmp_path / "red.png", Spec(kind="image", shape=(3, 4, 4), classes=None))
    assert found.shape == (1, 3, 4, 4)
    assert found[0, :, 1, 1].tolist() == [1.0, -1.0, -1.0]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("nowhere.png", "'nowhere.png' is no latent"),
        ("3,", "'3,' is no latent"),
        ("-1", "'-1' is no latent"),
        ("99999999999999999999", "out of range"),
        ("class:3", "neither encodes nor is told classes"),
    ],
)
def test_words_without_meaning_are_refused(word: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        latents(word, Place(model=MODEL, spec=MODEL.spec))


def test_classes_without_meaning_are_refused() -> None:
    model, digits = Mean(), open_data("digits")
    with pytest.raises(UserError, match="--data"):
        latents("class:3", Place(model=model, spec=DIGITS))
    with pytest.raises(UserError, match="unknown class of digits 'three'"):
        latents("class:three", Place(model=model, spec=DIGITS, source=digits))
    with pytest.raises(UserError, match="no prior"):
        latents("3", Place(model=model, spec=DIGITS))


def test_no_picture_is_refused(tmp_path: Path) -> None:
    vectors = LinearWithCodes(matrix(12, 4))
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"\x89PNG torn")
    with pytest.raises(UserError, match="makes vectors"):
        latents(str(torn), Place(model=vectors, spec=vectors.spec))
    with pytest.raises(UserError, match="no picture that can be read"):
        picture(torn, DIGITS)
    with pytest.raises(UserError, match="there is no picture"):
        picture(tmp_path / "gone.png", DIGITS)
