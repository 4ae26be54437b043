"""`simulacra sample`: which samples, how many of which class, and where they go with their labels."""

from pathlib import Path

import numpy as np
import pytest

from simulacra.data import open_data
from simulacra.training import train
from tests.conftest import Cli


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of classes, one of two domains, one of neither."""
    folder = tmp_path_factory.mktemp("sampling")
    train("cgan", data="digits", out=folder / "cgan", steps=2, width=2, latent=3, quiet=True)
    train("cogan", data="digits", beside="digits", out=folder / "cogan", steps=2, width=2, latent=3, quiet=True)
    train("vae", data="digits", out=folder / "vae", steps=2, width=2, latent=3, quiet=True)
    return folder


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        (["--label", "3", "-n", "2"], [3, 3]),
        (["--label", "3", "--label", "5", "--per-class", "2"], [3, 3, 5, 5]),
        (["--per-class", "1"], [*range(10)]),
    ],
)
def test_samples_of_classes_keep_their_labels(
    command: Cli, runs: Path, tmp_path: Path, words: list[str], labels: list[int]
) -> None:
    for place in (tmp_path / "x.npz", tmp_path / "x"):
        code, _, err = command("sample", runs / "cgan", *words, "--out", place)
        assert code == 0, err
    found = np.load(tmp_path / "x.npz", allow_pickle=False)
    assert found["labels"].tolist() == labels
    back = open_data(f"folder:{tmp_path / 'x'}")
    assert back.labels is not None
    assert back.spec.classes is not None
    assert [int(back.spec.classes[label]) for label in back.labels] == labels


def test_samples_of_any_class_know_theirs(command: Cli, runs: Path, tmp_path: Path) -> None:
    for words in ([], ["--truncation", "1"]):
        assert command("sample", runs / "cgan", "-n", "5", *words, "--out", tmp_path / "x.npz")[0] == 0
        assert len(np.load(tmp_path / "x.npz", allow_pickle=False)["labels"]) == 5
    assert command("sample", runs / "vae", "--out", tmp_path / "y.npz")[0] == 0
    found = np.load(tmp_path / "y.npz", allow_pickle=False)
    assert len(found["images"]) == 64
    assert "labels" not in found


def test_two_domains_are_seen_side_by_side(command: Cli, runs: Path, tmp_path: Path) -> None:
    for place, words in (("one", []), ("two", ["--pairs"])):
        assert command("sample", runs / "cogan", "-n", "3", *words, "--out", tmp_path / f"{place}.npz")[0] == 0
    one, two = (np.load(tmp_path / f"{place}.npz", allow_pickle=False)["images"] for place in ("one", "two"))
    assert two.shape == (3, 8, 16, 1)
    assert np.array_equal(two[:, :, :8], one)
    assert not np.array_equal(two[:, :, 8:], one)


@pytest.mark.parametrize(
    ("run", "words", "says"),
    [
        ("cgan", ["-n", "5", "--per-class", "4"], "-n and --per-class both say how many: leave out one of them"),
        ("cgan", ["--label", "3", "--truncation", "1"], "--truncation and --pairs are of any class"),
        ("cgan", ["--label", "ten"], "ten"),
        ("cgan", ["--pairs"], "which makes single images: leave out --pairs"),
        ("cogan", ["--pairs", "--truncation", "1"], "--truncation is of single images"),
        ("vae", ["--label", "3"], "is a model 'vae', which knows no classes: leave out --label and --per-class"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(command: Cli, runs: Path, run: str, words: list[str], says: str) -> None:
    code, _, err = command("sample", runs / run, *words)
    assert code == 2
    assert says in err
    assert err.count("\n") == 1
