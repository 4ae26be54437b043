"""Judging as a user meets it: models and data, what is refused, what is kept."""

import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import simulacra
from simulacra.data import Spec, open_data
from simulacra.errors import UserError
from simulacra.evaluation import judge
from simulacra.metrics.measure import Seen
from simulacra.metrics.neighbours import Neighbours
from simulacra.protocol import Protocol
from simulacra.sides import Sides
from simulacra.subjects import Subject, View
from simulacra.training import train
from tests.conftest import Cli

FEW = ("--samples", 150, "--features", "pixels", "--quiet")
POINTS = {"data": "ring", "quiet": True, "width": 8, "latent": 2}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("SIMULACRA_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A little run of a model that samples."""
    folder = tmp_path_factory.mktemp("gan") / "run"
    train("gan", data="digits", out=folder, steps=3, width=8, latent=4, quiet=True)
    return folder


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A little run of a model that samples and has a bound on log p(x)."""
    folder = tmp_path_factory.mktemp("vae") / "run"
    train("vae", data="digits", out=folder, steps=3, width=8, latent=4, quiet=True)
    return folder


def pictures(folder: Path, count: int, size: int = 8, mode: str = "L", key: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(key).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    for number, pixels in enumerate(values):
        Image.fromarray(pixels).convert(mode).save(folder / f"{number:03d}.png")
    return folder


# Models


def test_a_run_is_scored_and_the_scores_are_kept_with_their_protocol(gan: Path, command: Cli) -> None:
    code, out, err = command("evaluate", gan, "--metrics", "fid,precision,kid", *FEW, "--seed", 5, "--kid.subsets", 7)
    assert code == 0, err
    assert "fid" in out
    assert "lower" in out
    kept = json.loads((gan / "metrics.json").read_text())["evaluations"][-1]
    assert list(kept["scores"]) == ["fid", "precision", "kid"]
    assert kept["scores"]["precision"]["standard_error"] >= 0
    assert kept["sides"]["samples"] == {"drawn": 150, "seed": 5}
    assert kept["sides"]["reference"]["word"] == "digits"
    assert kept["sides"]["reference"]["rows"] == kept["sides"]["reference"]["of"] == 1501
    assert kept["sides"]["reference"]["split"] == "train"
    assert kept["features"]["extractor"] == "pixels"
    assert len(kept["features"]["sha256"]) == len(kept["subject"]["sha256"]) == 64
    assert kept["subject"]["recipe"] == "gan"
    assert kept["subject"]["step"] == 3
    assert "moving average" in kept["subject"]["weights"]
    assert kept["measures"]["kid"]["subsets"] == 7
    assert kept["measures"]["neighbours"]["k"] == 3
    assert kept["simulacra"] == simulacra.__version__
    card = (gan / "model" / "README.md").read_text()
    assert "| fid (pixels) |" in card
    assert "samples: 150 drawn, seed 5" in card


def test_the_same_command_gives_the_same_scores_and_another_seed_others(gan: Path) -> None:
    def fid(seed: int) -> float:
        return simulacra.evaluate(gan, metrics="fid", features="pixels", samples=200, seed=seed).scores["fid"].value

    assert fid(1) == fid(1)
    assert fid(1) != fid(2)


def test_a_model_scores_as_a_folder_of_its_samples_does(gan: Path, tmp_path: Path, command: Cli) -> None:
    """Samples are judged as the bytes that a file would hold."""
    assert command("sample", gan, "-n", 150, "--seed", 5, "--out", tmp_path / "samples.npz")[0] == 0
    given = {"metrics": "fid,recall", "features": "pixels"}
    as_model = simulacra.evaluate(gan, samples=150, seed=5, split="train", **given).scores
    as_file = simulacra.evaluate(
        fake=f"npz:{tmp_path}/samples.npz", real="digits", seed=5, split="train", **given
    ).scores
    assert as_model["fid"].value == pytest.approx(as_file["fid"].value, rel=1e-9)
    assert as_model["recall"].value == as_file["recall"].value


def test_several_subjects_side_by_side(gan: Path, vae: Path, command: Cli) -> None:
    code, out, _ = command("evaluate", gan, vae, "--metrics", "kid", *FEW, "--json")
    assert code == 0
    first, second = json.loads(out)
    assert first["subject"]["recipe"] == "gan"
    assert second["subject"]["recipe"] == "vae"
    assert first["sides"]["reference"] == second["sides"]["reference"]


def test_defaults_follow_from_the_data_and_the_model(gan: Path, vae: Path, tmp_path: Path) -> None:
    many = simulacra.evaluate(gan, samples=1000, features="pixels").scores
    assert list(many) == ["fid", "precision", "recall", "density", "coverage"]
    few = simulacra.evaluate(vae, samples=300, features="pixels").scores
    assert list(few) == ["kid", "precision", "recall", "density", "coverage", "log_prob"]
    train("gan", out=tmp_path / "ring", steps=2, **POINTS)
    points = simulacra.evaluate(tmp_path / "ring", samples=300).scores
    assert set(points) - {"mode_kl"} == {"modes", "high_quality", "swd"}  # no mode_kl where no mode is hit
    train("rbm", out=tmp_path / "rbm", steps=2, hidden=4, chain=2, data="digits", quiet=True)
    assert list(simulacra.evaluate(tmp_path / "rbm", samples=300, features="pixels").scores)[-1] == "ais"


def test_likelihoods_are_of_the_test_rows(vae: Path) -> None:
    found = simulacra.evaluate(vae, metrics="log_prob,iwae", options={"iwae.samples": 3, "iwae.images": 50})
    model, test = simulacra.load(vae), open_data("digits", split="test")
    x = test.rows(np.arange(len(test))).float() / 127.5 - 1
    assert found.scores["log_prob"].value == pytest.approx(model.log_prob(x).value.mean().item(), rel=1e-5)  # type: ignore[attr-defined]
    assert found.scores["log_prob"].facts["kind"] == "bound"
    assert found.record["sides"]["test"]["rows"] == len(test)


def test_memorised_images_are_pictured(gan: Path, tmp_path: Path, command: Cli) -> None:
    code, _, err = command("evaluate", gan, "--metrics", "memorised", *FEW, "--pictures", tmp_path / "pictures")
    assert code == 0, err
    (path,) = (tmp_path / "pictures").glob("*-nearest.png")
    with Image.open(path) as picture:
        assert picture.width > 8 * 8


def test_an_artifact_alone_needs_real_data_and_keeps_its_scores(gan: Path, tmp_path: Path, command: Cli) -> None:
    import shutil

    place = tmp_path / "artifact"
    shutil.copytree(gan / "model", place)
    code, _, err = command("evaluate", place, "--metrics", "fid", *FEW)
    assert code == 2
    assert "--real" in err
    assert command("evaluate", place, "--metrics", "fid", "--real", "digits", *FEW)[0] == 0
    assert "fid" in json.loads((place / "metrics.json").read_text())["evaluations"][0]["scores"]
    assert simulacra.load(place)


def test_newer_weights_do_not_keep_the_scores_of_older_ones(tmp_path: Path, command: Cli) -> None:
    given = {"data": "digits", "out": tmp_path / "run", "width": 8, "latent": 4, "quiet": True}
    train("gan", steps=2, **given)
    assert command("evaluate", tmp_path / "run", "--metrics", "fid", *FEW)[0] == 0
    assert "## Scores" in (tmp_path / "run/model/README.md").read_text()
    train("gan", steps=4, **given)
    assert "## Scores" not in (tmp_path / "run/model/README.md").read_text()
    assert len(json.loads((tmp_path / "run/metrics.json").read_text())["evaluations"]) == 1
    assert command("evaluate", tmp_path / "run", "--metrics", "kid", *FEW)[0] == 0
    card = (tmp_path / "run/model/README.md").read_text()
    assert "| kid (pixels) |" in card
    assert "| fid (pixels) |" not in card


OF_A_MODEL = (
    "fid,kid,mmd,precision,coverage,is,modes,ndb,swd,wasserstein,memorised,parzen,log_prob,iwae,active_units,ppl",
    *("--iwae.samples", 3, "--iwae.images", 33, "--ppl.pairs", 21, "--mmd.permutations", 20, "--ndb.bins", 10),
)
OF_LABELLED_DATA = ("intra_fid,cas", "--cas.epochs", 1, "--samples", 300, "--real", "digits", "--fake", "digits")


@pytest.mark.parametrize("of_model", [True, False])
def test_two_processes_judge_as_one(vae: Path, tmp_path: Path, command: Cli, of_model: bool) -> None:
    """Every measure there is, on two ranks that torchrun launches, in different shards and shares."""
    extractor = tmp_path / "own.safetensors"
    assert command("extractor", "train", "--data", "digits", "--out", extractor, "--epochs", 1, "--quiet")[0] == 0
    words = (vae, "--samples", 151, "--metrics", *OF_A_MODEL) if of_model else ("--metrics", *OF_LABELLED_DATA)
    words = ("evaluate", *words, "--features", extractor, "--json", "--quiet")

    def scores(*launcher: str) -> dict[str, dict]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        run = [sys.executable, *launcher, "-m", "simulacra", *map(str, words)]
        done = subprocess.run(run, capture_output=True, text=True, timeout=300, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)[0]["scores"]

    alone = scores()
    together = scores("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    assert len(alone) == (21 if of_model else 2)
    assert alone.keys() == together.keys()
    for name in alone:
        assert alone[name]["value"] == pytest.approx(together[name]["value"], rel=1e-5, abs=1e-7), name


# Data


def test_a_data_set_against_itself(command: Cli) -> None:
    code, out, _ = command(
        "evaluate", "--real", "digits", "--fake", "digits", "--metrics", "fid,precision", *FEW[2:], "--json"
    )
    assert code == 0
    scores = json.loads(out)[0]["scores"]
    assert scores["fid"]["value"] == pytest.approx(0, abs=1e-6)
    assert scores["precision"]["value"] == 1.0


def test_a_folder_is_judged_whole_and_small_ones_by_kid(tmp_path: Path, command: Cli) -> None:
    real, fake = pictures(tmp_path / "a", 30), pictures(tmp_path / "b", 20, key=1)
    code, out, _ = command("evaluate", "--real", f"folder:{real}", "--fake", f"folder:{fake}", *FEW[2:], "--json")
    assert code == 0
    found = json.loads(out)[0]
    assert found["sides"]["reference"]["rows"] == 30
    assert found["sides"]["samples"]["rows"] == 20
    assert "kid" in found["scores"]
    assert "fid" not in found["scores"]
    assert not (tmp_path / "metrics.json").exists()


def test_labelled_data_have_scores_by_class(tmp_path: Path, command: Cli) -> None:
    real = [*("--real", "digits", "--fake", "digits", "--features", "pixels", "--quiet", "--json")]
    code, out, err = command("evaluate", *real, "--metrics", "intra_fid,cas", "--cas.epochs", 1)
    assert code == 0, err
    assert json.loads(out)[0]["scores"]["intra_fid"]["value"] == pytest.approx(0, abs=1e-6)


# What is refused, by one line


def refused(command: Cli, *words: object) -> str:
    code, out, err = command("evaluate", *words, "--quiet")
    assert code == 2, (code, out, err)
    lines = [line for line in err.splitlines() if line.startswith("simulacra: ")]
    assert len(lines) == 1
    return lines[0]


def test_mistakes_are_told_in_a_line(gan: Path, tmp_path: Path, command: Cli) -> None:
    real, fake = f"folder:{pictures(tmp_path / 'a', 12)}", f"folder:{pictures(tmp_path / 'b', 12, size=10)}"
    colour = f"folder:{pictures(tmp_path / 'c', 12, mode='RGB')}"
    single = f"folder:{pictures(tmp_path / 'd', 1)}"
    pixels = ("--features", "pixels")
    assert "name what to judge" in refused(command)
    assert "--fake needs --real" in refused(command, "--fake", fake)
    assert "10x10 pixels" in refused(command, "--real", real, "--fake", fake, *pixels)
    assert "3 channels" in refused(command, "--real", real, "--fake", colour, *pixels)
    assert re.search(r"at least \d+|has 1", refused(command, "--real", real, "--fake", single, *pixels))
    assert "unknown measure 'fdi': did you mean 'fid'?" in refused(command, gan, "--metrics", "fdi")
    assert "needs labels" in refused(command, gan, "--metrics", "intra_fid", *pixels)
    assert "needs logits" in refused(command, gan, "--metrics", "is", *pixels)
    assert "log_prob is no measure of" in refused(command, gan, "--metrics", "log_prob")
    assert "kid.subset" in refused(command, gan, "--metrics", "kid", "--kid.subset", "3", *pixels)
    assert "subsets" in refused(command, gan, "--metrics", "kid", "--kid.subsets", "no", *pixels)
    assert "unknown" in refused(command, gan, "--features", "mnits")
    assert "nowhere" in refused(command, tmp_path / "nowhere")
    assert "unknown split 'tset'" in refused(command, gan, "--split", "tset", *pixels)


def test_too_few_rows_for_a_covariance_are_warned_of(gan: Path, command: Cli) -> None:
    code, _, err = command("evaluate", gan, "--metrics", "fid", "--features", "pixels", "--samples", 20)
    assert code == 0
    assert re.search(r"warning: .*fid: .*64", err)


@pytest.mark.parametrize("spec", [Spec(kind="vector", shape=(2,), classes=None), open_data("digits").spec])
def test_samples_that_are_not_finite_are_refused_by_number(spec: Spec) -> None:
    class Broken:
        name = "broken"

        def sample(self, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
            x = torch.zeros(n, *spec.shape)
            x[7] = float("nan")
            return x

    subject = Subject(title="it", spec=spec, model=Broken())  # type: ignore[arg-type]
    protocol = Protocol.read({"metrics": "swd", "samples": 10, "features": "pixels"}, "test")
    with pytest.raises(UserError, match="sample 7 of it is not finite"):
        judge(subject, protocol, real=View(word="ring" if spec.kind == "vector" else "digits"))


def test_one_refused_measure_costs_no_other(gan: Path, command: Cli) -> None:
    words = ("--metrics", "fid,ppl", "--ppl.space", "w", "--features", "pixels", "--samples", 100)
    code, out, err = command("evaluate", gan, *words, "--quiet")
    assert code == 2
    assert "fid" in out
    assert "simulacra: " in err
    assert "no intermediate latent" in err
    kept = json.loads((gan / "metrics.json").read_text())["evaluations"][-1]
    assert list(kept["scores"]) == ["fid"]
    assert "ppl" in kept["refused"]


def test_nothing_is_judged_before_all_can_be(gan: Path, tmp_path: Path, command: Cli) -> None:
    before = (gan / "metrics.json").read_bytes() if (gan / "metrics.json").exists() else b""
    assert "nowhere" in refused(command, gan, tmp_path / "nowhere", "--metrics", "fid", "--features", "pixels")
    assert "splits" in refused(command, gan, "--metrics", "is", "--features", "mnist", "--samples", 5)
    assert "k + 1 = 4" in refused(command, gan, "--metrics", "precision", "--features", "pixels", "--samples", 3)
    assert ((gan / "metrics.json").read_bytes() if before else b"") == before


def test_requests_that_would_be_ignored_are_refused(gan: Path, command: Cli) -> None:
    assert "--size" in refused(command, gan, "--size", 16, "--metrics", "fid")
    assert "--pictures" in refused(command, gan, "--pictures", "p", "--metrics", "fid")
    assert "resizer" in refused(command, gan, "--features", "pixels", "--resizer", "bicubic", "--metrics", "fid")
    assert "names none" in refused(command, gan, "--metrics", ",")
    assert "did you mean 'metrics'?" in refused(command, gan, "--metric", "fid")
    assert "seed" in refused(command, gan, "--metrics", "kid", "--features", "pixels", "--kid.seed", 10**22)


def test_warnings_are_told_however_quiet(gan: Path, command: Cli) -> None:
    _, _, err = command("evaluate", gan, "--metrics", "fid", "--features", "pixels", "--samples", 20, "--quiet")
    assert re.search(r"warning: .*fid: .*64", err)


def test_missing_labels_are_told_of_the_side_that_lacks_them(tmp_path: Path, command: Cli) -> None:
    bare = f"folder:{pictures(tmp_path / 'a', 40)}"
    given = ("--metrics", "intra_fid", "--features", "pixels", "--channels", 1)
    assert "generated side has none" in refused(command, "--real", "digits", "--fake", bare, *given)
    assert "--real folder:PATH" in refused(command, "--real", bare, "--fake", "digits", *given)


def test_an_interrupted_evaluation_says_so_and_keeps_nothing_half(gan: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SIMULACRA_CACHE": str(cache)}
    words = [sys.executable, "-m", "simulacra", "evaluate", str(gan), "--metrics", "fid", "--features", "mnist"]
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # whatever starts the tests may ignore it
    run = subprocess.Popen(
        [*words, "--samples", "200000"], stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=listening
    )
    assert run.stderr is not None
    for line in run.stderr:
        if "samples" in line:  # the reference is done, and in the cache
            run.send_signal(signal.SIGINT)
            break
    rest = run.stderr.read()
    assert run.wait(60) == 130
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert len(list(cache.rglob("*.safetensors"))) == 1
    assert not list(cache.rglob("*partial*"))


# Sides


def test_reference_rows_are_drawn_by_the_seed_and_numbered_from_zero() -> None:
    subject = Subject(title="it", spec=open_data("digits").spec)

    def rows(seed: int) -> tuple[np.ndarray, np.ndarray]:
        found = Sides(subject, View(word="digits"), real_rows=100, seed=seed).of("reference")
        assert found.index is not None
        return found.index, found.number

    index, number = rows(3)
    assert sorted(number.tolist()) == list(range(100))
    assert (np.diff(index) > 0).all()
    assert index.max() > 1000
    assert np.array_equal(index, rows(3)[0])
    assert not np.array_equal(index, rows(4)[0])


def test_validation_is_the_last_sixth_of_the_training_rows() -> None:
    subject = Subject(title="it", spec=open_data("digits").spec)
    found = Sides(subject, View(word="digits")).of("validation")
    assert found.index is not None
    assert found.index.tolist() == list(range(1501 * 5 // 6, 1501))
    assert found.number.tolist() == list(range(len(found)))


def test_shown_rows_are_those_of_their_number() -> None:
    source = open_data("digits")
    sides = Sides(Subject(title="it", spec=source.spec, source=source), View(word="digits"), samples=50, seed=1)
    rows = sides.of("samples")
    assert rows.index is not None
    place = {int(number): int(index) for number, index in zip(rows.number, rows.index)}
    shown = sides.shown(rows, [7, 2])
    assert torch.equal(shown, source.rows(np.array([place[7], place[2]])).float() / 127.5 - 1)


def test_measures_see_what_the_judge_shows(gan: Path) -> None:
    """By hand: the same precision from the model's bytes and the data's."""
    found = simulacra.evaluate(gan, metrics="neighbours", features="pixels", samples=120, seed=2, real_rows=110)
    source, model = open_data("digits"), simulacra.load(gan)
    rows = Sides(Subject(title="it", spec=source.spec), View(word="digits"), real_rows=110, seed=2).of("reference")
    assert rows.index is not None
    real = source.rows(rows.index).flatten(1).float() / 255
    fake = simulacra.images.to_uint8(model.sample(120, seed=2)).flatten(1).float() / 255  # type: ignore[attr-defined]
    measure = Neighbours()
    measure.update("real", Seen(torch.from_numpy(rows.number), real))
    measure.update("fake", Seen(torch.arange(120), fake))
    for name, score in measure.compute().items():
        assert found.scores[name].value == score.value


# While training


def test_scores_while_training_are_logged_kept_and_cut_on_resuming(tmp_path: Path) -> None:
    given = {"data": "digits", "width": 8, "latent": 4, "quiet": True, "checkpoint_every": 4, "log_every": 1}
    judged = {"evaluate": "fid,precision", "evaluate_every": 2, "evaluate_features": "pixels", "evaluate_samples": 50}
    train("gan", out=tmp_path / "whole", steps=6, **given, **judged)
    entries = json.loads((tmp_path / "whole/metrics.json").read_text())["evaluations"]
    assert [each["subject"]["step"] for each in entries] == [2, 4, 6]
    assert all(each["subject"]["kind"] == "training" for each in entries)
    assert "moving average" in entries[0]["subject"]["weights"]
    lines = [json.loads(line) for line in (tmp_path / "whole/log.jsonl").read_text().splitlines()]
    logged = {line["step"]: line["score/fid"] for line in lines if "score/fid" in line}
    assert list(logged.values()) == [each["scores"]["fid"]["value"] for each in entries]
    assert "| fid (pixels) |" in (tmp_path / "whole/model/README.md").read_text()

    train("gan", out=tmp_path / "plain", steps=6, **given)
    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("whole", "plain")]
    assert weights[0] == weights[1], "judging changes nothing"

    for path in (tmp_path / "whole/checkpoints").glob("step-00000006"):
        import shutil

        shutil.rmtree(path)
    train("gan", out=tmp_path / "whole", steps=6, **given, **judged)
    again = json.loads((tmp_path / "whole/metrics.json").read_text())["evaluations"]
    assert [each["subject"]["step"] for each in again] == [2, 4, 6]
    assert again[2]["scores"]["fid"]["value"] == entries[2]["scores"]["fid"]["value"]


def test_what_cannot_be_scored_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs logits"):
        train(
            "gan",
            out=tmp_path / "a",
            steps=4,
            evaluate="is",
            evaluate_features="pixels",
            **{**POINTS, "data": "digits"},
        )
    with pytest.raises(UserError, match="unknown measure"):
        train("gan", out=tmp_path / "b", steps=4, evaluate="nonsense", **POINTS)
    assert not (tmp_path / "b" / "checkpoints").exists()


def test_the_final_step_is_scored_whatever_the_cadence(tmp_path: Path) -> None:
    given = {"data": "digits", "width": 8, "latent": 4, "quiet": True, "evaluate_features": "pixels"}
    judged = {"evaluate": "fid", "evaluate_every": 4, "evaluate_samples": 50}
    folder = tmp_path / "run"
    train("gan", out=folder, steps=6, **given, **judged)

    def steps() -> list[int]:
        return [each["subject"]["step"] for each in json.loads((folder / "metrics.json").read_text())["evaluations"]]

    assert steps() == [4, 6]
    assert "| fid (pixels) |" in (folder / "model" / "README.md").read_text()
    train("gan", out=folder, steps=6, **given, **judged)
    assert steps() == [4, 6], "it is not scored again"

    train("gan", out=tmp_path / "late", steps=3, **given)
    train("gan", out=tmp_path / "late", steps=3, **given, **judged)
    assert "| fid (pixels) |" in (tmp_path / "late" / "model" / "README.md").read_text()


def test_under_a_time_budget_scores_come_ten_times_at_most(tmp_path: Path) -> None:
    given = {"data": "digits", "width": 8, "latent": 4, "quiet": True, "checkpoint_every": 10**6}
    train("gan", out=tmp_path, minutes=0.02, evaluate="fid", evaluate_features="pixels", evaluate_samples=20, **given)
    entries = json.loads((tmp_path / "metrics.json").read_text())["evaluations"]
    assert 2 <= len(entries) <= 11


def test_what_fails_to_be_scored_costs_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise UserError("no such luck")

    monkeypatch.setattr("simulacra.training_scores.judge", refuse)
    given = {"data": "digits", "width": 8, "latent": 4, "evaluate": "fid", "evaluate_features": "pixels"}
    assert train("gan", out=tmp_path, steps=3, **given).step == 3


@pytest.mark.skipif(not os.environ.get("SIMULACRA_DATA"), reason="SIMULACRA_DATA does not name a folder of data sets")
def test_stacked_digits_are_counted_in_a_thousand_modes() -> None:
    """4,000 uniform draws hit 1000 (1 − e⁻⁴) = 982 of 1000 modes; the KL of their shares is near 999/8000."""
    given = {"real": "stacked_mnist", "fake": "stacked_mnist", "fake_split": "train", "samples": 4000, "cache": False}
    found = simulacra.evaluate(metrics="modes,mode_kl", **given)
    assert found.record["features"]["extractor"] == "stacked_mnist"
    assert found.scores["modes"].facts["of"] == 1000
    assert found.scores["modes"].value == pytest.approx(982, abs=15)
    assert found.scores["mode_kl"].value == pytest.approx(0.125, abs=0.03)
    with pytest.raises(UserError, match="is of one classification"):
        simulacra.evaluate(metrics="is", **given)
