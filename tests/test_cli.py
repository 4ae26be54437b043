"""The command line as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Cli

TINY = ("--width", "4", "--latent", "3", "--quiet")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished little run."""
    from simulacra.training import train

    folder = tmp_path_factory.mktemp("cli") / "run"
    train("dcgan", data="digits", out=folder, steps=4, width=4, latent=3, quiet=True)
    return folder


def test_list_names_every_recipe_and_what_it_serves(command: Cli) -> None:
    code, out, _ = command("list", "--json")
    entries = {entry["name"]: entry for entry in json.loads(out)}
    assert code == 0
    assert {"vae", "gan", "dcgan"} <= set(entries)
    assert all(set(entry) == {"name", "family", "rows", "data", "paper"} for entry in entries.values())
    assert entries["vae"]["rows"] == ["A10"]
    assert "dcgan" in command("list")[1]


def test_show_tells_every_option(command: Cli) -> None:
    code, out, _ = command("show", "dcgan")
    assert code == 0
    assert "--generator.betas" in out
    assert "--discriminator.weight-decay" in out
    options = json.loads(command("show", "dcgan", "--json")[1])["options"]
    assert all(option["about"] for option in options), [o["name"] for o in options if not o["about"]]


def test_a_dry_run_prints_the_resolved_recipe_and_writes_nothing(command: Cli, tmp_path: Path) -> None:
    code, out, _ = command(
        "train", "vae", "--data", "digits", "--out", tmp_path / "run", "--dry-run", "--optimizer.lr", "2e-3"
    )
    record = json.loads(out)
    assert code == 0
    assert record["options"]["likelihood"] == "bernoulli"
    assert record["options"]["optimizer"]["lr"] == 2e-3
    assert not (tmp_path / "run").exists()


def test_train_prints_one_document_with_json(command: Cli, tmp_path: Path) -> None:
    code, out, _ = command("train", "gan", "--data", "ring", "--out", tmp_path / "run", "--steps", 3, "--json", *TINY)
    facts = json.loads(out)
    assert code == 0
    assert facts["step"] == 3
    assert facts["interrupted"] is None


def test_plain_lines_when_piped(command: Cli, tmp_path: Path) -> None:
    _, out, err = command("train", "gan", "--data", "ring", "--out", tmp_path / "run", "--steps", 30, *TINY[:4])
    assert out == ""
    assert "step 30/30" in err
    assert "images/s" in err
    assert "\x1b" not in err


def test_sample_writes_a_grid_a_folder_and_arrays(command: Cli, run: Path, tmp_path: Path) -> None:
    for out in ("grid.png", "folder/", "arrays.npz"):
        assert command("sample", run, "-n", 5, "--seed", 3, "--out", f"{tmp_path}/{out}")[0] == 0
    arrays = np.load(tmp_path / "arrays.npz")["images"]
    assert (arrays.shape, arrays.dtype) == ((5, 8, 8, 1), np.uint8)
    files = sorted((tmp_path / "folder").glob("*.png"))
    assert np.array_equal(np.stack([np.asarray(Image.open(file)) for file in files]), arrays[..., 0])
    assert Image.open(tmp_path / "grid.png").width > 8


def test_a_trailing_slash_means_a_folder(command: Cli, run: Path, tmp_path: Path) -> None:
    assert command("sample", run, "-n", 2, "--out", f"{tmp_path}/v1.0/")[0] == 0
    assert len(list((tmp_path / "v1.0").glob("*.png"))) == 2


def test_help_holds_the_defaults(command: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = command("train", "--help")[1]
    assert "runs/RECIPE-DATA" in out
    assert "default: auto" in out


def test_a_dry_run_knows_where_weights_would_come_from(command: Cli, run: Path, tmp_path: Path) -> None:
    words = ("train", "gan", "--data", "digits", "--out", tmp_path / "run", "--from", run, "--dry-run")
    assert json.loads(command(*words)[1])["from"] == str(run)


def test_out_of_memory_is_one_line_and_exit_1(command: Cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("simulacra.models.gan.GAN.sample", full)
    code, _, err = command("sample", run, "-n", 3)
    assert code == 1
    assert err.startswith("simulacra: out of memory")
    assert err.count("\n") == 1


def test_samples_do_not_depend_on_how_many_are_asked_for(command: Cli, run: Path, tmp_path: Path) -> None:
    for n in (3, 9):
        command("sample", run, "-n", n, "--seed", 5, "--out", tmp_path / f"{n}.npz")
    few, many = (np.load(tmp_path / f"{n}.npz")["images"] for n in (3, 9))
    assert np.abs(few.astype(int) - many[:3].astype(int)).max() <= 1


def test_data_info(command: Cli) -> None:
    facts = json.loads(command("data", "info", "digits", "--json")[1])
    assert facts["shape"] == [1, 8, 8]
    assert sum(facts["classes"].values()) == facts["images"]
    assert "fingerprint" in command("data", "info", "ring")[1]


def test_benchmark_times_a_step(command: Cli) -> None:
    code, out, _ = command("benchmark", "gan", "--data", "digits", "--steps", 2, "--json", "--width", 8)
    assert code == 0
    assert all(row["images_per_second"] > 0 for row in json.loads(out))
    code, out, _ = command("benchmark", "cvae", "--data", "digits", "--steps", 2, "--json", "--width", 8)
    assert code == 0
    assert {row["stage"] for row in json.loads(out)} == {"baseline", "coder"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "dcgn"), "did you mean 'dcgan'"),
        (("train", "gan", "--data", "digit", "--out", "x"), "did you mean 'digits'"),
        (("train", "gan", "--data", "digits", "--widht", "3"), "did you mean 'width'"),
        (("train", "gan", "--data", "digits", "--generator.lrr", "3"), "did you mean 'generator.lr'"),
        (("train", "gan", "--data", "digits", "--width", "wide"), "'width'"),
        (("train", "gan", "--data", "digits", "--width", "0"), "'width'"),
        (("train", "gan", "--data", "digits", "--width"), "needs a value"),
        (("train", "gan", "--data", "digits", "--steps", "0"), "'steps'"),
        (("train", "gan", "--data", "digits", "--steps", "-3"), "'steps'"),
        (("train", "gan", "--data", "digits", "--minutes", "0"), "'minutes'"),
        (("train", "gan", "--data", "digits", "--images", "-1"), "'images'"),
        (("train", "gan", "--data", "digits", "--steps", "many"), "steps"),
        (("train", "gan", "--data", "digits", "--steps", "3", "--minutes", "1"), "one budget"),
        (("train", "gan", "--data", "digits", "--device", "tpu"), "device 'tpu'"),
        (("train", "gan", "--data", "digits", "--precision", "half"), "precision"),
        (("train", "gan", "--data", "digits", "--size", "big"), "size 'big'"),
        (("train", "gan", "--data", "digits", "stray"), "stray"),
        (("train", "gan", "--data", "folder:/nowhere/at/all"), "/nowhere/at/all"),
        (("train", "gan", "--data", "digits", "--recipe", "vae"), "'recipe'"),
        (
            ("train", "gan", "--lr", "1"),
            "did you mean 'discriminator.lr' or 'generator.lr'? (see `simulacra show gan`)",
        ),
        (("train", "gan", "--log_every", "1"), "did you mean 'log-every'?"),
        (("train", "gan", "--temperature", "1"), "recipe gan has no such option; strings has it (see"),
        (("train", "gan", "--generator.betas", "0.5"), "should be two numbers, like 0.5,0.999, not 0.5"),
        (
            ("benchmark", "vae", "--pack", "2"),
            "no such option; dcgan, gan and rpgan have it, among others",
        ),
        (("train", "gan", "--data", "digits", "--objective", "minmax"), "did you mean 'minimax'"),
        (("train", "gan", "--data", "digits", "--device", "meta"), "device 'meta'"),
        (("sample", "/nowhere", "--seed", "9223372036854775808"), "--seed"),
        (("sample", "/nowhere/at/all"), "/nowhere/at/all"),
        (("sample", "/nowhere", "-n", "0"), "'-n'"),
        (("train", "vae", "--data", "digits", "--sigma", "1"), "--sigma"),
        (("train", "vae", "--data", "ring", "--network", "conv"), "vectors"),
        (("show", "vea"), "did you mean 'vae'"),
        (("data", "info", "mnits"), "did you mean 'mnist'"),
        (("trian",), "trian"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_2(
    command: Cli, words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = command(*words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert "Traceback" not in err + out
    assert not list(tmp_path.rglob("recipe.json"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("began", "--spectral", "true"),
            "unknown option 'spectral': recipe began has no such option; dcgan, gan and rpgan have it, among others "
            "(see `simulacra show began`)",
        ),
        (
            ("began", "--qqqq", "1"),
            "unknown option 'qqqq': recipe began has no such option (see `simulacra show began`)",
        ),
    ],
)
def test_an_option_of_other_recipes_is_told_from_one_of_none(
    command: Cli, words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("train", *words) == (2, "", f"simulacra: {said}\n")


def test_a_bug_keeps_its_traceback(command: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("simulacra.recipes.all_recipes", broken)
    with pytest.raises(ZeroDivisionError):
        command("list")


def test_help_needs_no_torch() -> None:
    check = "import sys, simulacra.cli; print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
