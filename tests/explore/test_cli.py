"""`simulacra explore` as a user meets it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from simulacra.artifact import load
from simulacra.config import Config
from simulacra.models.base import Model
from simulacra.training import train
from tests.conftest import Cli


class Encoder(Model):
    """Encodes, and no more."""

    name, Config = "encoder", Config

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of little runs."""
    folder = tmp_path_factory.mktemp("explore")
    train("dcgan", data="digits", out=folder / "dcgan", steps=4, width=4, latent=3, quiet=True)
    train("vae", data="digits", out=folder / "vae", steps=4, width=8, latent=3, quiet=True)
    train("gan", data="ring", out=folder / "ring", steps=4, width=8, latent=2, quiet=True)
    train("dcgan", data="digits", out=folder / "uniform", steps=2, width=4, latent=3, prior="uniform", quiet=True)
    return folder


def frames_of(path: Path) -> int:
    with Image.open(path) as picture:
        return getattr(picture, "n_frames", 1)


@pytest.mark.parametrize("kind", ["dcgan", "vae"])
def test_every_command_leaves_its_picture(command: Cli, runs: Path, tmp_path: Path, kind: str) -> None:
    for name, words in {
        "interpolate": ("-n", 2, "--frames", 3),
        "arithmetic": ("1,2,3", "4,5", "6"),
        "walk": ("-n", 2, "--stops", 2, "--frames", 2),
        "directions": ("-n", 2, "--points", 1, "--frames", 3),
        "invert": ("-n", 2, "--steps", 2, "--starts", 2),
    }.items():
        code, out, err = command("explore", name, runs / kind, *words, "--out", tmp_path / f"{name}.png", "--seed", 1)
        assert (code, err) == (0, "")
        assert f"{name}.png" in out
        assert Image.open(tmp_path / f"{name}.png").width > 8


def test_figures_are_all_that_a_model_can_show(command: Cli, runs: Path, tmp_path: Path) -> None:
    for kind, expected in {"vae": {"samples", "reconstructions"}, "ring": {"samples"}}.items():
        code, out, err = command("explore", "figures", runs / kind, "--out", tmp_path / kind)
        assert (code, err) == (0, "")
        assert all(name in out for name in expected)
        assert {path.name for path in (tmp_path / kind).iterdir()} == {f"{name}.png" for name in expected}
    one = ("--only", "reconstructions", "--out", tmp_path / "one")
    for split in ("test", "train"):
        assert command("explore", "figures", runs / "vae", *one, "--split", split)[0] == 0
        assert [path.name for path in (tmp_path / "one").iterdir()] == ["reconstructions.png"]
        same = (tmp_path / "one" / "reconstructions.png").read_bytes()
        assert (same == (tmp_path / "vae" / "reconstructions.png").read_bytes()) == (split == "test")


def test_a_plane_of_latents_is_square(command: Cli, runs: Path, tmp_path: Path) -> None:
    for kind in ("dcgan", "vae"):
        words = ("--side", 3, "--axes", "1,0", "--out", tmp_path / f"{kind}.png")
        assert command("explore", "manifold", runs / kind, *words)[::2] == (0, "")
        width, height = Image.open(tmp_path / f"{kind}.png").size
        assert width == height > 24


def test_films(command: Cli, runs: Path, tmp_path: Path) -> None:
    command("explore", "walk", runs / "dcgan", "-n", 2, "--stops", 3, "--frames", 4, "--out", tmp_path / "walk.gif")
    command("explore", "interpolate", runs / "dcgan", "-n", 2, "--frames", 5, "--out", tmp_path / "ways.gif")
    command("explore", "directions", runs / "dcgan", "-n", 2, "--frames", 5, "--out", tmp_path / "turns.gif")
    assert frames_of(tmp_path / "walk.gif") == 12
    assert frames_of(tmp_path / "ways.gif") == frames_of(tmp_path / "turns.gif") == 8  # 5 there, 3 back
    pytest.importorskip("av")
    assert command("explore", "walk", runs / "dcgan", "-n", 1, "--out", tmp_path / "walk.mp4")[0] == 0
    assert (tmp_path / "walk.mp4").stat().st_size > 500


def test_a_seed_gives_the_same_bytes(command: Cli, runs: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        words = ("-n", 2, "--stops", 2, "--frames", 3, "--seed", seed, "--out", tmp_path / f"{name}.gif")
        command("explore", "walk", runs / "dcgan", *words)
    a, b, c = ((tmp_path / f"{name}.gif").read_bytes() for name in "abc")
    assert a == b != c


def test_ends_are_samples_pictures_and_classes(command: Cli, runs: Path, tmp_path: Path) -> None:
    command("sample", runs / "vae", "-n", 3, "--seed", 4, "--out", f"{tmp_path}/samples/")
    picture = tmp_path / "samples" / "00002.png"
    out = tmp_path / "ways.png"
    code, said, _ = command("explore", "interpolate", runs / "vae", "2,1", "class:7", picture, "--out", out)
    assert code == 0
    assert said.startswith("2 ways of 9 points")
    code, said, _ = command("explore", "interpolate", runs / "dcgan", picture, "0", "--steps", 3, "--out", out)
    assert (code, said.startswith("1 way of")) == (0, True)
    code = command("explore", "arithmetic", runs / "vae", "class:3", "class:1", "5", "--out", tmp_path / "sum.png")[0]
    assert code == 0


def test_inversions_are_told(command: Cli, runs: Path, tmp_path: Path) -> None:
    words = ("-n", 3, "--steps", 2, "--json", "--out", tmp_path / "x.png")
    facts = json.loads(command("explore", "invert", runs / "dcgan", *words)[1])
    assert np.shape(facts["latents"]) == (3, 3)
    from simulacra.data import open_data

    x = open_data("digits", split="test").rows(np.arange(3)).float() / 127.5 - 1.0
    made = load(runs / "dcgan").decode(torch.tensor(facts["latents"]))  # type: ignore[attr-defined]
    assert facts["errors"] == pytest.approx((made - x).square().flatten(1).mean(1).tolist(), rel=1e-3)


def test_directions_are_told(command: Cli, runs: Path, tmp_path: Path) -> None:
    words = ("--points", 2, "--json", "--out", tmp_path / "x.png")
    facts = json.loads(command("explore", "directions", runs / "vae", *words)[1])
    vectors = np.array(facts["vectors"])
    assert vectors @ vectors.T == pytest.approx(np.eye(3), abs=1e-6)
    assert facts["strengths"] == sorted(facts["strengths"], reverse=True)
    assert facts["share"] == pytest.approx(1.0)  # 3 directions are all there are


def test_points_are_scattered(command: Cli, runs: Path, tmp_path: Path) -> None:
    for name, words in {
        "interpolate": (),
        "arithmetic": ("1", "2", "3"),
        "walk": (),
        "directions": (),
        "invert": ("--steps", 2),
    }.items():
        code, _, err = command("explore", name, runs / "ring", *words, "--out", tmp_path / f"{name}.png")
        assert (code, err) == (0, ""), name
        assert (tmp_path / f"{name}.png").exists()


def test_a_uniform_prior_is_walked_straight_and_says_so(command: Cli, runs: Path, tmp_path: Path) -> None:
    code, _, err = command("explore", "interpolate", runs / "uniform", "-n", 1, "--out", tmp_path / "x.png")
    assert code == 0
    assert err.startswith("straight paths: the prior has no spherical symmetry")
    words = ("explore", "interpolate", runs / "uniform", "--path", "linear", "--out", tmp_path / "x.png")
    assert command(*words)[2] == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("interpolate", "{}/uniform", "--path", "spherical"), "take --path linear"),
        (("interpolate", "{}/dcgan", "--path", "curved"), "'curved'"),
        (("interpolate", "{}/dcgan", "3"), "two ends"),
        (("interpolate", "{}/dcgan", "3", "four"), "'four' is no latent"),
        (("interpolate", "{}/dcgan", "3", "class:4"), "neither encodes nor is told classes"),
        (("interpolate", "{}/vae", "3", "class:x"), "unknown class"),
        (("interpolate", "{}/uniform", "3", "four"), "'four' is no latent"),
        (("interpolate", "{}/vae", "3", "class:3", "--data", "ring"), "ring"),
        (("interpolate", "{}/dcgan", "--out", "x.bmp"), "'.bmp'"),
        (("arithmetic", "{}/dcgan", "1", "2"), "Missing argument"),
        (("arithmetic", "{}/dcgan", "1", "2", "3", "--out", "x.gif"), "nothing here moves"),
        (("walk", "{}/ring"), "points make no film"),
        (("walk", "{}/dcgan", "--stops", "1"), "--stops"),
        (("walk", "/nowhere"), "/nowhere"),
        (("directions", "{}/dcgan", "-n", "4"), "1 to 3 directions"),
        (("manifold", "{}/dcgan", "--axes", "1"), "--axes are two numbers, like 0,1"),
        (("invert", "{}/dcgan", "gone.png"), "gone.png"),
        (("invert", "{}/dcgan", "--split", "tset"), "tset"),
        (("invert", "{}/dcgan/model", "--rate", "0"), "--rate"),
        (("invert", "{}/ring", "gone.png"), "makes vectors"),
        (("figures", "{}/vae", "--only", "filters"), "has no figure 'filters': it has samples, reconstructions"),
        (("figures", "{}/vae", "--split", "tset"), "tset"),
        (("figures", "{}/vae", "--out", "x.png"), "--out is a folder"),
        (("invrt", "{}/ring"), "invrt"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_2(
    command: Cli, runs: Path, words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = command("explore", *(word.format(runs) for word in words))
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert out == ""
    assert not list(tmp_path.iterdir())


def test_models_without_the_capability_are_refused_by_name(
    command: Cli, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = load(runs / "vae").spec
    monkeypatch.setattr("simulacra.artifact.load", lambda *_, **__: Encoder(Config(), spec))
    code, _, err = command("explore", "walk", runs / "vae")
    assert code == 2
    assert "is a model 'encoder', which has no prior to draw from and decode: it can encode" in err
    code, _, err = command("explore", "invert", runs / "vae")
    assert code == 2
    assert "is a model 'encoder', which cannot decode: it can encode" in err


def test_decoding_is_as_before_without_gradients(runs: Path) -> None:
    for kind in ("dcgan", "vae"):
        model = load(runs / kind)
        model.train()
        z = model.prior(300, seed=2)  # type: ignore[attr-defined]
        plain, followed = model.decode(z), model.decode(z.clone().requires_grad_())  # type: ignore[attr-defined]
        assert not plain.requires_grad
        assert followed.requires_grad
        assert torch.equal(plain, followed)
        assert model.training
        with torch.no_grad():
            assert not model.decode(z.clone().requires_grad_()).requires_grad  # type: ignore[attr-defined]
        assert all(weight.grad is None for weight in model.parameters())
