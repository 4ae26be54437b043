"""Training in a folder: what is written, going on, and what happens when things go wrong."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import simulacra
from simulacra import checkpoint
from simulacra.data import Source, Spec
from simulacra.errors import MachineError, UserError
from simulacra.models.adversary import Adversary
from simulacra.models.vae import VAE
from simulacra.play import Table
from simulacra.trainer import Trainer
from simulacra.training import train

TINY = {"data": "digits", "width": 4, "latent": 3, "quiet": True, "checkpoint_every": 5, "log_every": 1}


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def logged(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def steps(folder: Path) -> list[int]:
    return [line["step"] for line in logged(folder) if "step" in line]


def events(folder: Path) -> list[dict]:
    return [line for line in logged(folder) if "event" in line]


@pytest.mark.parametrize(
    ("recipe", "options", "made"),
    [
        ("rbm", {}, "drawn anew"),
        ("rbm", {"bits": "threshold"}, "brighter than half"),
        ("rbm", {"visible": "gaussian"}, None),
        ("nade", {"width": "4"}, "drawn anew"),
        ("vae", {"width": "4"}, "drawn anew"),
        ("vae", {"width": "4", "likelihood": "gaussian"}, None),
    ],
)
def test_what_becomes_of_grey_pixels_is_said(tmp_path: Path, capfd, recipe: str, options, made: str | None) -> None:
    train(recipe, data="digits", steps=1, out=tmp_path / "grey", **options)
    said = capfd.readouterr().err
    assert ("become bits" in said) == (made is not None)
    assert (made or "") in said
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "bits.npz", images=255 * rng.integers(0, 2, (40, 8, 8), dtype=np.uint8))
    train(recipe, data=f"npz:{tmp_path / 'bits.npz'}", steps=1, out=tmp_path / "bits", **options)
    assert "become bits" not in capfd.readouterr().err


def test_a_run_leaves_everything_a_run_should(tmp_path: Path) -> None:
    result = train("dcgan", out=tmp_path / "run", steps=12, with_training=True, **TINY)
    folder = tmp_path / "run"
    record = json.loads((folder / "recipe.json").read_text())
    assert record["recipe"] == "dcgan"
    assert record["options"]["width"] == 4
    assert record["horizon"] == 12
    assert record["run"]["precision"] in ("float32", "bfloat16")
    assert len(record["data"]["fingerprint"]) == 64
    assert record["ended"]["step"] == result.step == 12
    assert steps(folder) == list(range(1, 13))
    assert {"discriminate/real", "generate/fool", "generator/gradient"} <= set(logged(folder)[-1])
    assert [path.name for path in checkpoint.listed(folder / "checkpoints")] == ["step-00000010", "step-00000012"]
    assert list((folder / "tensorboard").iterdir())
    assert (folder / "previews" / "samples-00000012.png").exists()
    assert json.loads((folder / "environment.json").read_text())["packages"]["torch"] == torch.__version__.split("+")[0]
    assert (folder / "model" / "training.safetensors").exists()
    assert torch.equal(result.model.sample(3, seed=1), simulacra.load(folder).sample(3, seed=1))


@pytest.mark.parametrize("recipe", ["vae", "gan", "dcgan"])
def test_an_interrupted_run_equals_the_uninterrupted_one(tmp_path: Path, recipe: str) -> None:
    own = {} if recipe == "vae" else {"r1": 1.0, "r1_every": 4, "schedule": "linear"}
    train(recipe, out=tmp_path / "whole", steps=17, **TINY, **own)
    train(recipe, out=tmp_path / "parts", steps=7, horizon=17, **TINY, **own)
    train(recipe, out=tmp_path / "parts", steps=17, **TINY, **own)
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    assert steps(tmp_path / "parts") == list(range(1, 18))
    assert [event["from"] for event in events(tmp_path / "parts")] == [0, 7]
    timeless = [[{k: v for k, v in line.items() if k not in ("time", "images_per_second")} for line in logged(folder)
                 if "step" in line] for folder in (tmp_path / "whole", tmp_path / "parts")]  # fmt: skip
    assert timeless[0] == timeless[1]


def test_the_same_command_on_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    train("gan", out=tmp_path / "run", steps=6, **TINY)
    before = weights(tmp_path / "run")
    assert train("gan", out=tmp_path / "run", steps=6, **TINY).step == 6
    assert weights(tmp_path / "run") == before
    assert steps(tmp_path / "run") == list(range(1, 7))


def test_a_longer_budget_keeps_the_horizon(tmp_path: Path) -> None:
    train("gan", out=tmp_path / "run", steps=6, **TINY)
    train("gan", out=tmp_path / "run", steps=9, **TINY)
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["horizon"] == 6
    train("gan", out=tmp_path / "run", steps=12, horizon=20, **TINY)
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["horizon"] == 20


def test_budgets_in_images_and_minutes(tmp_path: Path) -> None:
    assert train("gan", out=tmp_path / "images", images=640, discriminator_steps=2, **TINY).step == 5  # 64 x 2 a step
    result = train("gan", out=tmp_path / "minutes", minutes=0.01, **TINY)
    ended = json.loads((tmp_path / "minutes" / "recipe.json").read_text())["ended"]
    assert ended["step"] == result.step > 0
    assert 0.6 <= ended["seconds"] < 30
    assert train("gan", out=tmp_path / "minutes", minutes=0.01, **TINY).step == result.step


def test_vectors_train_too(tmp_path: Path) -> None:
    settings = {**TINY, "data": "ring"}
    result = train("gan", out=tmp_path / "run", steps=5, **settings)
    assert result.model.sample(7).shape == (7, 2)
    assert (tmp_path / "run" / "model" / "samples.png").exists()


def test_a_warm_start_takes_what_matches_and_is_recorded(tmp_path: Path) -> None:
    train("gan", out=tmp_path / "first", steps=5, with_training=True, average=None, **TINY)
    train("gan", out=tmp_path / "second", steps=0 + 1, origin=tmp_path / "first", average=None,
          **{**TINY, "generator__lr": 1e-12, "discriminator__lr": 1e-12})  # fmt: skip
    a, b = simulacra.load(tmp_path / "first"), simulacra.load(tmp_path / "second")
    assert torch.allclose(a.sample(4), b.sample(4), atol=1e-5)
    assert json.loads((tmp_path / "second" / "recipe.json").read_text())["from"] == str(tmp_path / "first")


def test_terms_of_lazy_moves_reach_the_log(tmp_path: Path) -> None:
    settings = {**TINY, "log_every": 10}
    train("gan", out=tmp_path / "run", steps=40, r1=1.0, r1_every=16, **settings)
    with_penalty = [line["step"] for line in logged(tmp_path / "run") if "penalise/r1" in line]
    assert with_penalty == [10, 20, 40]  # played in steps 1, 17 and 33


def test_under_a_time_budget_schedules_run_over_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch.utils.tensorboard")  # its import is not to be part of the budget

    shares: list[float] = []
    real = Adversary.generate
    monkeypatch.setattr(Adversary, "generate", lambda self, b, at: (shares.append(at.progress), real(self, b, at))[1])
    train("gan", out=tmp_path / "run", minutes=0.05, schedule="linear", **TINY)
    assert shares[0] == 0.0
    assert 0.3 < shares[-1] <= 1.0
    assert shares == sorted(shares)
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["horizon_minutes"] == 0.05


def test_training_leaves_the_callers_torch_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    train("gan", out=tmp_path / "run", steps=2, deterministic=True, **TINY)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()


# Contradictions


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"width": 5}, "width"),
        ({"data": "ring"}, "data"),
        ({"mirror": True}, "mirror"),
        ({"size": "16"}, "size"),
        ({"generator__lr": 1.0}, "generator.lr"),
        ({"origin": "elsewhere"}, "from"),
    ],
)
def test_what_contradicts_the_folder_is_refused_by_name(tmp_path: Path, changed: dict, named: str) -> None:
    train("gan", out=tmp_path / "run", steps=2, **TINY)
    with pytest.raises(UserError, match=named) as caught:
        train("gan", out=tmp_path / "run", **{**TINY, "steps": 4, **changed})
    assert "\n" not in str(caught.value)
    assert steps(tmp_path / "run") == [1, 2]


def test_another_recipe_in_the_folder_is_refused(tmp_path: Path) -> None:
    train("gan", out=tmp_path / "run", steps=2, **TINY)
    with pytest.raises(UserError, match="recipe"):
        train("vae", out=tmp_path / "run", steps=4, **TINY)


def test_changed_data_is_refused(tmp_path: Path) -> None:
    import numpy as np

    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images)
    settings = {**TINY, "data": f"npz:{tmp_path / 'a.npz'}"}
    train("gan", out=tmp_path / "run", steps=2, **settings)
    images[3, 4, 4] ^= 1
    np.savez(tmp_path / "a.npz", images=images)
    with pytest.raises(UserError, match="data has changed"):
        train("gan", out=tmp_path / "run", steps=4, **settings)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    train("gan", out=tmp_path / "run", steps=2, **TINY)
    train("gan", out=tmp_path / "other", steps=3, **{**TINY, "width": 5})
    newest = tmp_path / "other" / "checkpoints" / "step-00000003"
    newest.rename(tmp_path / "run" / "checkpoints" / newest.name)
    with pytest.raises(UserError, match="not of this run"):
        train("gan", out=tmp_path / "run", steps=4, **TINY)


def test_a_folder_of_other_things_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="other things"):
        train("gan", out=tmp_path, steps=1, **TINY)
    with pytest.raises(UserError, match="is a file"):
        train("gan", out=tmp_path / "note.txt", steps=1, **TINY)


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX's")
def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    train("gan", out=tmp_path / "run", steps=2, **TINY)
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True)"
    hold += "; input()"
    words = [sys.executable, "-c", hold, str(tmp_path / "run" / "run.lock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process"):
            train("gan", out=tmp_path / "run", steps=4, **TINY)
        other.kill()
    assert train("gan", out=tmp_path / "run", steps=4, **TINY).step == 4


# Damage


def test_a_damaged_checkpoint_is_told_of_and_the_one_before_used(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train("gan", out=tmp_path / "whole", steps=14, **TINY)
    train("gan", out=tmp_path / "run", steps=10, horizon=14, **TINY)
    tensors = tmp_path / "run" / "checkpoints" / "step-00000010" / "tensors.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-3] ^= 1
    tensors.write_bytes(content)
    (tmp_path / "run" / "checkpoints" / ".step-00000012.partial").mkdir()
    train("gan", out=tmp_path / "run", steps=14, **{**TINY, "quiet": False})
    said = capfd.readouterr().err
    assert "step-00000010 is damaged" in said
    assert "going on from step 5" in said
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert steps(tmp_path / "run") == list(range(1, 15))


def test_a_model_older_than_the_last_checkpoint_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill between the last checkpoint and its artifact leaves."""
    train("gan", out=tmp_path / "whole", steps=12, **TINY)
    with monkeypatch.context() as patch:
        patch.setattr("simulacra.keeping.Keeper.save_model", lambda self, step: None)
        with pytest.raises(UserError):  # there is no model to return
            train("gan", out=tmp_path / "run", steps=12, **TINY)
    train("gan", out=tmp_path / "run", steps=12, **TINY)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


@pytest.mark.parametrize("change", [lambda facts: facts | {"step": 8}, lambda facts: facts | {"seconds": 0}])
def test_changed_facts_of_a_checkpoint_are_damage(tmp_path: Path, change) -> None:
    train("gan", out=tmp_path / "run", steps=10, **TINY)
    meta = tmp_path / "run" / "checkpoints" / "step-00000010" / "meta.json"
    meta.write_text(json.dumps(change(json.loads(meta.read_text()))))
    with pytest.raises(MachineError, match="damaged"):
        checkpoint.read(meta.parent)
    (tmp_path / "run" / "checkpoints" / "step-00000030-backup").mkdir()
    assert train("gan", out=tmp_path / "run", steps=12, **TINY).step == 12


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', '{"format": 99}', '{"format": "x"}'])
def test_a_foreign_record_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(UserError, match=r"recipe\.json"):
        train("gan", out=tmp_path, steps=1, **TINY)


def test_no_whole_checkpoint_is_the_machines_failure(tmp_path: Path) -> None:
    train("gan", out=tmp_path / "run", steps=3, **TINY)
    for path in checkpoint.listed(tmp_path / "run" / "checkpoints"):
        (path / "meta.json").write_text("{")
    with pytest.raises(MachineError, match="no checkpoint"):
        train("gan", out=tmp_path / "run", steps=4, **TINY)


# NaN


def fail_at(monkeypatch: pytest.MonkeyPatch, step: int, attempts: int) -> None:
    """From now on the generator's cost is NaN at `step` in the first `attempts` attempts."""
    real = Adversary.generate

    def generate(self, batch, at):
        terms = real(self, batch, at)
        if at.clock.step == step and at.clock.attempt < attempts:
            terms = {name: term * float("nan") for name, term in terms.items()}
        return terms

    monkeypatch.setattr(Adversary, "generate", generate)


def test_a_nan_rolls_back_and_tries_again_with_other_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fail_at(monkeypatch, step=8, attempts=2)
    train("gan", out=tmp_path / "run", steps=12, **{**TINY, "quiet": False})
    said = capfd.readouterr().err
    assert "'generate/fool' of generator is not finite at step 8: back to step 5, attempt 1" in said
    assert [(event["event"], event["from"]) for event in events(tmp_path / "run")] == [
        ("start", 0),
        ("rollback", 5),
        ("rollback", 5),
    ]
    assert steps(tmp_path / "run") == list(range(1, 13))
    assert checkpoint.read(checkpoint.listed(tmp_path / "run" / "checkpoints")[-1]).facts["attempt"] == 2


def test_training_that_keeps_diverging_gives_up_with_the_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail_at(patch, step=8, attempts=99)
        told = r"diverges: 'generate/fool' .* 2 retries from step 5.* whole: try a lower learning rate in another --out"
        with pytest.raises(MachineError, match=told):
            train("gan", out=tmp_path / "run", steps=12, retries=2, precision="float32", **TINY)
    assert checkpoint.read(checkpoint.listed(tmp_path / "run" / "checkpoints")[-1]).facts["step"] == 5
    fail_at(monkeypatch, step=8, attempts=4)  # the next try begins where this one gave up: attempt 3
    assert train("gan", out=tmp_path / "run", steps=12, retries=2, **TINY).step == 12
    assert [event["attempt"] for event in events(tmp_path / "run")][-3:] == [3, 3, 4]  # gave up, resumed, rolled back


def test_training_that_diverges_on_numbers_far_too_large_blames_them(tmp_path: Path) -> None:
    """Also where nobody sees the alarm; and what has no learning rate is not told to lower it."""
    np.savez(tmp_path / "large.npz", points=1e30 * np.random.default_rng(0).normal(size=(64, 2)))
    told = "not finite at step 0.*: bring images to .* vectors to about unit deviation, and train in another --out"
    for recipe in ("vae", "gmm"):
        with pytest.raises(UserError, match=told):
            train(recipe, data=f"npz:{tmp_path / 'large.npz'}", out=tmp_path / recipe, steps=4, quiet=True)


def test_a_row_that_is_not_finite_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.zeros(64, 2)
    points[17, 1] = float("inf")
    source = Source(
        word="mine", split="train", spec=Spec(kind="vector", shape=(2,), classes=None), summary="64 points",
        fingerprint="0", labels=None, names=[f"row {i}" for i in range(64)], data=points, count=64, in_memory=True,
    )  # fmt: skip
    monkeypatch.setattr("simulacra.session.open_data", lambda word, **options: source)
    with pytest.raises(UserError, match="row 17"):
        train("gan", out=tmp_path / "run", steps=4, **{**TINY, "data": "mine"})


# The machine fails


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train("gan", out=tmp_path / "run", steps=5, horizon=12, **TINY)

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_durably", full)
        with pytest.raises(MachineError, match="No space left"):
            train("gan", out=tmp_path / "run", steps=12, **TINY)
    assert checkpoint.read(checkpoint.listed(tmp_path / "run" / "checkpoints")[-1]).facts["step"] == 5
    train("gan", out=tmp_path / "whole", steps=12, **TINY)
    train("gan", out=tmp_path / "run", steps=12, **TINY)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder nobody can write to")
def test_a_read_only_place_is_the_machines_failure() -> None:
    with pytest.raises(MachineError, match="cannot write"):
        train("gan", out="/proc/simulacra-run", steps=1, **TINY)


def test_out_of_memory_says_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train("vae", out=tmp_path / "run", steps=2, batch=64, horizon=9, **TINY)
    real = VAE.cost

    def cost(self, batch, at, **options):
        if len(batch.x) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(self, batch, at, **options)

    monkeypatch.setattr(VAE, "cost", cost)
    with pytest.raises(MachineError, match=r"batch 64: --micro-batches 8 fits \(8 of 64"):
        train("vae", out=tmp_path / "run", steps=9, batch=64, **TINY)
    assert checkpoint.read(checkpoint.listed(tmp_path / "run" / "checkpoints")[-1]).facts["step"] == 2


def test_out_of_memory_advises_no_split_of_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(self, batch, at):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    tried = []
    monkeypatch.setattr(Adversary, "generate", generate)
    monkeypatch.setattr(Trainer, "_step", spied(Trainer._step, tried))
    with pytest.raises(MachineError, match="not even the fewest rows"):
        train("gan", out=tmp_path / "run", steps=1, batch=12, pack=3, **TINY)
    assert tried == [1, 2, 4]


def spied(step, tried: list[int]):
    def tell(self, table=None):
        tried.append((table or self.table).micro_batches)
        return step(self, table)

    return tell


@pytest.mark.parametrize(
    ("options", "ranks", "words"),
    [
        ({"batch": 6, "pack": 2, "micro_batches": 2}, 1, "3 rows at a time.* packs of 2"),
        ({"batch": 6, "pack": 2}, 2, "3 rows at a time.* packs of 2"),
        ({"batch": 4, "minibatch": "deviation", "micro_batches": 4}, 1, "1 rows at a time.* at least 2"),
        ({"batch": 8, "pack": 2, "minibatch": "deviation"}, 4, "2 rows at a time.* at least 4"),
    ],
)
def test_parts_of_a_batch_that_part_what_is_judged_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options, ranks, words
) -> None:
    monkeypatch.setattr(Table, "size", ranks)
    with pytest.raises(UserError, match=words):
        train("gan", out=tmp_path / "run", steps=1, **TINY, **options)


# Signals and kills, in processes of their own


def launch(folder: Path, *more: str, **process: bool) -> subprocess.Popen[str]:
    words = ["train", "gan", "--data", "digits", "--out", str(folder), "--checkpoint-every", "20", "--log-every", "1"]
    words += ["--stream", "--workers", "1"]  # a worker outlives its killed parent for some seconds
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "simulacra", *words, *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, **process)


def wait_for_step(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until the log holds `step`."""
    import time

    for _ in range(6000):
        if (folder / "log.jsonl").exists() and any(s >= step for s in _whole_steps(folder)):
            return
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.01)
    raise AssertionError("the run never got there")


def _whole_steps(folder: Path) -> list[int]:
    lines = (folder / "log.jsonl").read_text().split("\n")[:-1]
    return [line.get("step", 0) for line in map(json.loads, lines)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_leaves(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = launch(tmp_path / "run", "--steps", "100000")
    wait_for_step(tmp_path / "run", 30, process)
    process.send_signal(number)
    assert process.wait(60) == code
    ended = json.loads((tmp_path / "run" / "recipe.json").read_text())["ended"]
    newest = checkpoint.listed(tmp_path / "run" / "checkpoints")[-1]
    assert checkpoint.read(newest).facts["step"] == ended["step"] >= 30
    assert ended["signal"] == number


def test_a_signal_to_the_whole_group_saves_too(tmp_path: Path) -> None:
    """As `timeout` and job schedulers send it: data workers get it as well."""
    process = launch(tmp_path / "run", "--steps", "100000", start_new_session=True)
    wait_for_step(tmp_path / "run", 30, process)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) == 143
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["ended"]["step"] >= 30


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    assert launch(tmp_path / "whole", "--steps", "90").wait(120) == 0
    process = launch(tmp_path / "run", "--steps", "90")
    wait_for_step(tmp_path / "run", 47, process)
    process.kill()
    process.wait()
    assert launch(tmp_path / "run", "--steps", "90").wait(120) == 0
    assert [event["event"] for event in events(tmp_path / "run")] == ["start", "resume"]
    assert events(tmp_path / "run")[1]["from"] in (40, 60)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert steps(tmp_path / "run") == list(range(1, 91))


def test_two_ranks_train_through_the_command_line(tmp_path: Path) -> None:
    words = ["train", "gan", "--data", "digits", "--steps", "12", "--precision", "float32", "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "simulacra"]
    for launcher, folder in ((ranks, "two"), ([sys.executable, "-m", "simulacra"], "one")):
        done = subprocess.run(
            [*launcher, *words, "--out", str(tmp_path / folder)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    one, two = (simulacra.load(tmp_path / folder).sample(16) for folder in ("one", "two"))
    assert torch.allclose(one, two, atol=1e-4)
    assert json.loads((tmp_path / "two" / "environment.json").read_text())["ranks"] == 2
