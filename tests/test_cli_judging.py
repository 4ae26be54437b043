"""The commands around judging: measures, extractors of one's own, truncation."""

import json
from pathlib import Path

import pytest

import simulacra
from tests.conftest import Cli


def test_measures_are_listed_with_scores_options_and_a_sentence(command: Cli) -> None:
    entries = {entry["measure"]: entry for entry in json.loads(command("measures", "--json")[1])}
    assert {"fid", "kid", "is", "neighbours", "modes", "parzen", "log_prob", "iwae", "ppl", "cas"} <= set(entries)
    assert entries["neighbours"]["scores"]["recall"] == "higher"
    assert entries["kid"]["options"]["subsets"] == 100
    assert all(entry["about"].endswith((".", ",", ":")) for entry in entries.values())
    assert "--kid.subsets 100" in " ".join(command("measures")[1].split())


def test_an_extractor_of_ones_own_judges_and_says_what_it_is(command: Cli, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    code, out, _ = command("extractor", "train", "--data", "digits", "--out", path, "--epochs", 1, "--quiet")
    assert code == 0
    assert "right on 296 test images" in out
    found = simulacra.evaluate(real="digits", fake="digits", features=str(path), metrics="fid,is", cache=False)
    assert found.scores["fid"].value == pytest.approx(0, abs=1e-6)
    assert 1 < found.scores["is"].value <= 10
    assert found.record["features"]["extractor"] == "own.safetensors"


def test_an_extractor_needs_labels(command: Cli, tmp_path: Path) -> None:
    code, _, err = command("extractor", "train", "--data", "ring", "--out", tmp_path / "x.safetensors")
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_truncated_samples(command: Cli, tmp_path: Path) -> None:
    from simulacra.training import train

    train("gan", data="digits", out=tmp_path / "run", steps=1, width=8, latent=3, quiet=True)
    place = tmp_path / "run"
    assert command("sample", place, "-n", 9, "--truncation", 0.5, "--out", tmp_path / "a.png")[0] == 0
    code, _, err = command("sample", place, "--truncation", 0, "--out", tmp_path / "b.png")
    assert code == 2
    assert "runc" in err or "threshold" in err


@pytest.mark.parametrize("name", ["evaluate", "train", "compare"])
def test_help_shows_types_that_people_can_read(command: Cli, name: str) -> None:
    code, out, _ = command(name, "--help")
    assert code == 0
    assert "Annotated" not in out
    assert "0x" not in out
