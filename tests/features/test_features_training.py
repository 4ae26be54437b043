"""Training an extractor: what it learns, what it refuses, what it leaves."""

import pytest
import torch
from PIL import Image

from simulacra.data import Spec, open_data
from simulacra.data.files import hashed_split
from simulacra.data.words import shareable
from simulacra.errors import UserError
from simulacra.features.classifier import load
from simulacra.features.training import (
    accuracy,
    held_source,
    shifted,
    train_and_save,
    train_extractor,
)


def toy(n=40, side=4, classes=("dark", "bright"), seed=0):
    """Images that are dark or bright as a whole."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    noise = torch.randint(0, 40, (n, 1, side, side), generator=generator)
    pixels = (noise + 200 * labels[:, None, None, None]).to(torch.uint8)
    return held_source("toys", pixels, labels, Spec(kind="image", shape=(1, side, side), classes=classes))


def weights(trained):
    return torch.cat([tensor.flatten().double() for tensor in trained.network.state_dict().values()])


def test_it_learns_what_can_be_learnt():
    source = toy()
    trained = train_extractor(source, toy(20, seed=1), epochs=4, batch=8)
    assert trained.facts["accuracy"] == 1.0
    assert trained.facts["test_rows"] == 20
    assert not trained.network.training


def test_it_is_a_function_of_the_seed_and_leaves_torchs_generator_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = train_extractor(toy(), epochs=1, batch=8, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    assert torch.equal(weights(first), weights(train_extractor(toy(), epochs=1, batch=8, seed=5)))
    assert not torch.equal(weights(first), weights(train_extractor(toy(), epochs=1, batch=8, seed=6)))
    assert not torch.equal(weights(first), weights(train_extractor(toy(), epochs=1, batch=8, seed=5, mirror=True)))


def test_progress_is_told_to_the_end():
    told = []
    train_extractor(toy(), epochs=5, batch=8, progress=lambda *now: told.append(now))
    assert [(step, steps) for step, steps, _ in told] == [(20, 25), (25, 25)]  # 5 epochs of 40 / 8 steps
    assert all(0 < loss < 5 for _, _, loss in told)


def test_classes_of_the_test_split_are_matched_by_name():
    trained = train_extractor(toy(), epochs=4, batch=8)
    assert accuracy(trained.network, toy(10)) == 1.0
    assert accuracy(trained.network, toy(10, classes=("bright", "dark"))) == 0.0
    assert accuracy(trained.network, toy(10, classes=("dark", "else"))) == 0.5  # every second row is of "else"


def unlabelled():
    source = toy()
    object.__setattr__(source, "labels", None)
    return source


@pytest.mark.parametrize(
    ("source", "part"),
    [
        (lambda: open_data("ring"), "holds vectors"),
        (unlabelled, "has no labels"),
        (lambda: held_source("ones", torch.zeros(4, 16).byte(), torch.zeros(4).long(), toy().spec), "of one class"),
    ],
)
def test_what_no_classifier_can_be_trained_on_is_refused(source, part):
    with pytest.raises(UserError, match=part):
        train_extractor(source())


def test_options_are_checked():
    with pytest.raises(UserError, match="'epochs'"):
        train_extractor(toy(), epochs=0)
    with pytest.raises(UserError, match="'bach': did you mean 'batch'"):
        train_extractor(toy(), bach=3)
    with pytest.raises(UserError, match="test split"):
        train_extractor(toy(), toy(side=5))


def test_a_loss_that_is_no_number_ends_it(monkeypatch):
    monkeypatch.setattr("simulacra.features.training.RATE", 1e30)
    with pytest.raises(UserError, match="loss became"):
        train_extractor(toy(400), epochs=2, batch=8)


# Shifts


def test_shifts_move_whole_images_by_up_to_a_14th():
    """A 28 × 42 image whose pixels are all different: each row moves by up to 2, each column by up to 3."""
    image = torch.arange(28.0 * 42).view(1, 1, 28, 42).expand(300, 1, 28, 42)
    moved = shifted(image, torch.Generator().manual_seed(0))
    assert moved.is_contiguous(memory_format=torch.channels_last)
    centre = moved[:, 0, 14, 21] - (14 * 42 + 21)  # 42 dy + dx
    dy = (centre / 42).round()
    dx = centre - 42 * dy
    assert sorted(set(dy.tolist())) == [-2, -1, 0, 1, 2]
    assert sorted(set(dx.tolist())) == [-3, -2, -1, 0, 1, 2, 3]
    for k in range(20):
        y, x = int(dy[k]), int(dx[k])
        rows, columns = (torch.arange(28) + y).clamp(0, 27), (torch.arange(42) + x).clamp(0, 41)
        assert torch.equal(moved[k, 0], image[k, 0][rows][:, columns])


def test_small_images_do_not_move():
    x = torch.rand(5, 3, 13, 8)
    assert torch.equal(shifted(x, torch.Generator().manual_seed(0)), x)


# From the command line


def test_digits_are_trained_and_saved(tmp_path):
    out = tmp_path / "digits.safetensors"
    facts = train_and_save("digits", out, epochs=2, batch=32, seed=1, mirror=True, size=(9, 9), device="cpu")
    assert facts == load(out).record.model_dump(mode="json")
    assert facts["rows"] == 1501
    assert facts["test_rows"] == 296
    assert facts["accuracy"] > 0.3
    assert facts["fingerprint"] == open_data("digits", size=(9, 9)).fingerprint
    begin, options = "simulacra extractor train --data digits --out digits.safetensors", "--batch 32 --seed 1 --mirror"
    assert facts["command"] == f"{begin} --size 9x9 --epochs 2 {options}"
    assert [path.name for path in tmp_path.iterdir()] == ["digits.safetensors"]


def test_no_path_of_this_machine_is_written_down(tmp_path, caplog):
    """Two images of two classes, of which the test split has none: the accuracy stays unknown."""
    for folder in ("a", "b"):
        (tmp_path / "my pets" / folder).mkdir(parents=True)
        name = next(name for name in map("{}.png".format, range(99)) if hashed_split(f"{folder}/{name}") == "train")
        Image.new("L", (8, 8), ord(folder)).save(tmp_path / "my pets" / folder / name)
    out = tmp_path / "pets.safetensors"
    facts = train_and_save(f"folder:{tmp_path / 'my pets'}", out, epochs=1, batch=2, device="cpu")
    assert facts["data"] == "folder:my pets"
    assert str(tmp_path).encode() not in out.read_bytes()
    assert "--data 'folder:my pets'" in facts["command"]
    assert facts["accuracy"] is None
    assert "accuracy will not be known" in caplog.text


def test_ctrl_c_leaves_no_file(tmp_path):
    def stop(step, steps, loss):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_and_save("digits", tmp_path / "digits.safetensors", epochs=1, device="cpu", progress=stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("out", "part"), [("x.pt", "ends in .safetensors"), ("no/x.safetensors", "no folder")])
def test_a_bad_place_is_refused_before_training(tmp_path, out, part):
    with pytest.raises(UserError, match=part):
        train_and_save("no such data", tmp_path / out)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("mnist", "mnist"),
        ("hf:owner/name", "hf:owner/name"),
        ("folder:/home/me/pets", "folder:pets"),
        ("npz:../a.npz", "npz:a.npz"),
        ("zip:pets/", "zip:pets"),
    ],
)
def test_only_the_end_of_a_path_is_told(word, expected):
    assert shareable(word) == expected
