"""Artifacts: what is saved comes back bit for bit, whatever else is in a folder is refused in one line."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from simulacra import artifact
from simulacra.data.spec import Spec
from simulacra.errors import MachineError, UserError
from simulacra.models import registry
from simulacra.models.base import Model
from simulacra.models.gan import GAN, GANConfig
from simulacra.models.vae import VAE, VAEConfig

V1 = Path(__file__).parent / "data_files" / "artifact_v1"
GREY = Spec(kind="image", shape=(1, 8, 8), classes=("a", "b"))
WIDE = Spec(kind="image", shape=(3, 9, 20), classes=None)
POINTS = Spec(kind="vector", shape=(2,), classes=None)
MODELS = {
    "vae": lambda: VAE(VAEConfig(width=6, latent=2), GREY),
    "vae-wide": lambda: VAE(VAEConfig(network="conv", width=2, latent=3, likelihood="gaussian"), WIDE),
    "vae-points": lambda: VAE(VAEConfig(width=6, latent=2, likelihood="gaussian"), POINTS),
    "gan": lambda: GAN(GANConfig(width=6, latent=2, prior="uniform"), WIDE),
    "gan-points": lambda: GAN(GANConfig(width=6, latent=2), POINTS),
    "dcgan": lambda: GAN(GANConfig(network="dcgan", width=2, latent=3), GREY),
}


def build(name="vae"):
    torch.manual_seed(0)
    return MODELS[name]()


@pytest.fixture
def saved(tmp_path):
    return artifact.save(build(), tmp_path / "m", facts={"weights": "averaged, decay 0.999"})


def edit(folder, **fields):
    """Change fields of `config.json`; None removes one."""
    record = json.loads((folder / "config.json").read_text()) | fields
    kept = {name: value for name, value in record.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def retensor(folder, change):
    tensors = safetensors.torch.load((folder / "model.safetensors").read_bytes())
    change(tensors)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")


# Round trips


@pytest.mark.parametrize("name", MODELS)
def test_round_trip_is_bitwise(tmp_path, name):
    model = build(name)
    for passes in model.training_passes(0):  # batch norm's statistics leave their initial values
        assert passes is None
    artifact.save(model, tmp_path / "m", facts={}, samples=model.sample(4))
    assert model.training
    loaded = artifact.load(tmp_path / "m")
    assert not loaded.training
    assert (type(loaded), loaded.config, loaded.spec) == (type(model), model.config, model.spec)
    for (key, value), (other, back) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert key == other
        assert torch.equal(value, back)
    assert torch.equal(model.sample(5, seed=3, start=2), loaded.sample(5, seed=3, start=2))


@pytest.mark.parametrize("name", MODELS)
def test_a_sample_does_not_depend_on_those_beside_it(tmp_path, name):
    loaded = artifact.load(artifact.save(build(name), tmp_path / "m", facts={}))
    together = loaded.sample(9, seed=1)
    alone = torch.cat([loaded.sample(1, seed=1, start=k) for k in range(9)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-5)


def test_equal_weights_give_equal_bytes(tmp_path):
    first = artifact.save(build("dcgan"), tmp_path / "a", facts={"steps": 1})
    second = artifact.save(build("dcgan").to(memory_format=torch.channels_last), tmp_path / "b", facts={"steps": 2})
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


def test_an_artifact_of_format_1_loads_and_samples_as_ever():
    known = [
        [-0.9994888, -0.8545491, -0.2312793, 0.5326189, 0.7171994, -0.4775060, -0.9153735, -0.9997466],
        [-0.9993138, -0.8481191, -0.2831207, 0.4118264, 0.6879590, -0.3532848, -0.9227181, -0.9994937],
        [-0.9979218, -0.6454853, 0.5853440, 0.1606294, 0.0956794, 0.0643817, -0.6817125, -0.9984155],
    ]
    samples = artifact.load(V1).sample(3, seed=7, start=2)
    torch.testing.assert_close(samples[:, 0, 3], torch.tensor(known), rtol=0, atol=1e-5)


def test_there_is_a_migration_and_a_kept_artifact_for_every_older_format():
    assert len(artifact.MIGRATIONS) == artifact.FORMAT - 1
    assert all((V1.parent / f"artifact_v{k}").is_dir() for k in range(1, artifact.FORMAT + 1))


def test_an_older_format_is_migrated(saved, monkeypatch):
    def rename(fields, tensors):
        return fields | {"model": "vae", "format": 2}, {k.replace("old.", ""): v for k, v in tensors.items()}

    expected = artifact.load(saved).sample(2)
    edit(saved, model="formerly")
    retensor(saved, lambda t: t.update({"old.decoder.layers.1.bias": t.pop("decoder.layers.1.bias")}))
    monkeypatch.setattr(artifact, "FORMAT", 2)
    monkeypatch.setattr(artifact, "MIGRATIONS", (rename,))
    assert torch.equal(artifact.load(saved).sample(2), expected)


def test_loading_leaves_the_callers_random_numbers_alone(saved):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    artifact.load(saved)
    assert torch.equal(torch.rand(3), expected)


def test_the_weights_are_the_models_own(saved):
    model = artifact.load(saved)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert artifact.load(saved).sample(1).abs().sum() > 0


def test_buffers_that_are_not_saved_keep_the_values_they_are_built_with(tmp_path, monkeypatch):
    class Masked(VAE):
        name = "masked"

        def __init__(self, config, spec):
            super().__init__(config, spec)
            self.register_buffer("mask", torch.arange(4.0), persistent=False)
            self.scale = float(torch.ones(2).sum())  # needs values: cannot be built on the meta device

    monkeypatch.setattr(registry, "own_models", lambda: {"masked": Masked})
    model = Masked(VAEConfig(width=6, latent=2), GREY)
    folder = artifact.save(model, tmp_path / "m", facts={})
    edit(folder, package="simulacra")
    loaded = artifact.load(folder)
    assert loaded.mask.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert torch.equal(loaded.sample(2), model.sample(2))


# The folder


def test_contents(tmp_path):
    model, critic = build("dcgan"), nn.Linear(2, 3)
    scores = {"fid": {"value": 3.25, "standard_error": 0.125, "extractor": "inception"}, "accuracy": 0.5}
    facts = {"recipe": "dcgan", "data": "digits", "steps": 7, "seed": 3, "command": "simulacra train dcgan"}
    facts |= {"paper": "Radford | et al.", "weights": "averaged", "scores": scores, "license": "apache-2.0"}
    folder = artifact.save(
        model, tmp_path / "m", facts=facts, training={"discriminator": critic}, samples=model.sample(4)
    )
    assert sorted(os.listdir(folder)) == sorted(artifact.FILES)
    record = json.loads((folder / "config.json").read_text())
    assert list(record) == ["format", "package", "version", "model", "config", "data", "weights"]
    assert (record["format"], record["package"], record["model"]) == (1, "simulacra", "gan")
    assert record["weights"] == "averaged"
    card = (folder / "README.md").read_text()
    assert card.startswith('---\nlibrary_name: "simulacra"\ntags: ["simulacra", "generative-model", "gan"]\n')
    for text in (
        'license: "apache-2.0"', "# dcgan", "`digits`", "![Samples](samples.png)", "simulacra train dcgan",
        "images = model.sample(16, seed=0)", "Radford \\| et al.", "| fid | 3.25 ± 0.125 | extractor: inception |",
        "| weights | averaged |", "| steps | 7 |", "`training.safetensors`",
    ):  # fmt: skip
        assert text in card
    assert "license" not in (V1 / "README.md").read_text()
    weights, others = artifact.stored(folder)
    assert weights.keys() == model.state_dict().keys()
    assert sorted(others) == ["discriminator/bias", "discriminator/weight"]
    assert torch.equal(others["discriminator/weight"], critic.weight)


def test_saving_again_replaces_its_own_files_and_no_others(tmp_path):
    folder = artifact.save(build(), tmp_path / "m", facts={}, training={"critic": nn.Linear(1, 1)})
    (folder / "notes.txt").write_text("mine")
    artifact.save(build("gan"), folder, facts={})
    assert sorted(os.listdir(folder)) == ["README.md", "config.json", "model.safetensors", "notes.txt"]
    assert isinstance(artifact.load(folder), GAN)
    assert os.listdir(tmp_path) == ["m"]


def test_a_folder_of_other_things_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="other things than an artifact"):
        artifact.save(build(), tmp_path, facts={})
    with pytest.raises(UserError, match="it is a file"):
        artifact.save(build(), tmp_path / "thesis.tex", facts={})
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("fail_at", ["config.json", "model.safetensors", "README.md"])
def test_a_full_disk_leaves_the_former_artifact(saved, monkeypatch, fail_at):
    expected = artifact.load(saved).sample(3)
    real = artifact.write_durably

    def full(path, content):
        real(path, content[: len(content) // 2] if path.name == fail_at else content)
        if path.name == fail_at:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact, "write_durably", full)
    with pytest.raises(MachineError, match="No space left"):
        artifact.save(build("gan"), saved, facts={})
    assert torch.equal(artifact.load(saved).sample(3), expected)
    assert os.listdir(saved.parent) == ["m"]


class Killed(BaseException):
    """The process ends here."""


def killed_at(monkeypatch, count):
    """Let the `count`-th rename, and all that comes after it, not happen."""
    real, done = Path.rename, []

    def rename(path, target):
        done.append(target)
        if len(done) >= count:
            raise Killed
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_killed_between_renames_an_artifact_is_found_and_the_next_save_recovers(saved, monkeypatch, count):
    (saved / "notes.txt").write_text("mine")
    successor = build("gan")
    with monkeypatch.context() as patched:
        killed_at(patched, count)
        with pytest.raises(Killed):
            artifact.save(successor, saved, facts={})
    assert isinstance(artifact.load(saved), GAN if count == 3 else VAE)
    artifact.save(build("dcgan"), saved, facts={})
    assert artifact.load(saved).config.network == "dcgan"
    assert (saved / "notes.txt").read_text() == "mine"
    assert os.listdir(saved.parent) == ["m"]


def test_a_run_folder_means_its_model(saved, tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints" / "step-00000001").mkdir(parents=True)
    with pytest.raises(UserError, match="checkpoints but no model/"):
        artifact.load(run)
    shutil.copytree(saved, run / "model")
    assert torch.equal(artifact.load(run).sample(2), artifact.load(str(saved)).sample(2))


# Refusals


def refused(folder, words, **options):
    with pytest.raises(UserError, match=words) as caught:
        artifact.load(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_places_without_an_artifact(tmp_path, saved):
    refused(tmp_path / "nowhere", "there is no .*nowhere")
    refused(str(tmp_path / "nowhere"), "there is no .*nowhere")
    refused(tmp_path, "no artifact: it has no config.json")
    refused(saved / "config.json", "is a file")
    refused(saved, "revision", revision="main")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "holds list, not an object"),
        ("\x00", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"format": 1}', "lacks 'package'"),
        ('{"format": 2, "unheard": 1}', "format 2 is newer than 1.*upgrade"),
        ('{"format": true}', "'format' should be"),
        ('{"format": 0}', "'format' should be"),
        ("{}", "'format' should be"),
    ],
)
def test_broken_config(saved, text, words):
    (saved / "config.json").write_text(text)
    assert str(saved) in refused(saved, words)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"unheard": 1}, "unknown setting of config.json 'unheard'"),
        ({"weights": None}, "lacks 'weights'"),
        ({"config": [1]}, "'config'"),
        ({"model": 3}, "'model'"),
        ({"model": "gann"}, "unknown model 'gann': did you mean 'gan'"),
        ({"config": {"widht": 3}}, "unknown setting of model 'vae' 'widht': did you mean 'width'"),
        ({"config": {"width": "many"}}, "'width' .*integer.*many"),
        ({"config": {"width": 10**9}}, "model.safetensors: .* has shape"),
        ({"config": {"width": 10**30}}, "larger than any machine's integers"),
        ({"config": {"width": 10**18}}, "cannot be built"),
        ({"data": {"kind": "image", "shape": [1, 8, 8]}}, "'classes' is missing"),
        (
            {"data": {"kind": "image", "shape": [1, 8, 9], "classes": None}},
            r"has shape \[64\], where the model has \[72\]",
        ),
        ({"data": {"kind": "sound", "shape": [1, 8, 9], "classes": None}}, "'kind'"),
        ({"config": {"network": "conv"}, "data": POINTS.as_dict()}, "vectors, not images"),
        ({"package": "../evil; rm"}, "no name of a package"),
        ({"package": "simulacra-nothing"}, "not installed: install it if you trust it"),
        ({"package": "numpy"}, "'numpy' offers no models"),
    ],
)
def test_config_that_does_not_fit(saved, fields, words):
    edit(saved, **fields)
    assert str(saved) in refused(saved, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("decoder.layers.1.bias"), "lacks 'decoder.layers.1.bias'"),
        (lambda t: t.clear(), "lacks 'decoder.layers.1.bias' and 11 more"),
        (lambda t: t.update(extra=torch.zeros(1)), "holds 'extra', which the model does not have"),
        (lambda t: t.update({"decoder.layers.1.bias": torch.zeros(7)}), r"has shape \[7\], where the model has \[6\]"),
        (
            lambda t: t.update({"decoder.layers.1.bias": torch.zeros(6).double()}),
            "is torch.float64, where the model has torch.float32",
        ),
    ],
)
def test_tensors_that_do_not_fit(saved, change, words):
    retensor(saved, change)
    assert str(saved) in refused(saved, words)


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_torn_weights(saved, size):
    content = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(content[:size])
    refused(saved, "model.safetensors is damaged")


def test_missing_weights_and_devices(saved):
    refused(saved, "cannot use device 'nonsense'", device="nonsense")
    (saved / "model.safetensors").unlink()
    refused(saved, "model.safetensors is missing")


# Integers between those of small networks and those that no memory holds are left out: they only take long.
numbers = st.integers(-3, 40) | st.integers(2**63, 2**80) | st.integers(-(2**80), -(2**40)) | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
places = st.sampled_from(
    [
        *((name,) for name in artifact.Record.model_fields),
        *(("config", name) for name in VAEConfig.model_fields),
        *(("data", name) for name in ("kind", "shape", "classes")),
        ("config", "new"), ("data", "new"), ("new",),
    ]
)  # fmt: skip


@given(place=places, value=values)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wild_config(tmp_path, place, value):
    folder = tmp_path / "wild"
    if not folder.exists():
        artifact.save(build(), folder, facts={})
    record = json.loads((V1.parent / "artifact_v1" / "config.json").read_text())
    record["config"] |= {"width": 6, "depth": 2}
    branch = record if len(place) == 1 else record[place[0]]
    branch[place[-1]] = value
    (folder / "config.json").write_text(json.dumps(record))
    with suppress(UserError):
        assert isinstance(artifact.load(folder), Model)


@given(st.binary(max_size=60), st.integers(0, 400))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wild_weights(tmp_path, content, at):
    folder = tmp_path / "wild"
    if not folder.exists():
        artifact.save(build(), folder, facts={})
        (tmp_path / "whole").write_bytes((folder / "model.safetensors").read_bytes())
    whole = (tmp_path / "whole").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:at] + content + whole[at + len(content) :])
    with suppress(UserError):
        assert isinstance(artifact.load(folder), Model)


# Models of other packages


def test_every_model_here_has_one_name():
    assert {"gan": GAN, "vae": VAE}.items() <= registry.own_models().items()
    assert all(name == kind.name for name, kind in registry.own_models().items())
    assert all(registry.provider(kind) == "simulacra" for kind in registry.own_models().values())


class Foreign(VAE):
    name = "foreign"


def entry(name, load, value="elsewhere:Foreign"):
    return SimpleNamespace(name=name, value=value, dist=SimpleNamespace(name="Other_Package"), load=load)


def test_a_model_of_an_installed_package(tmp_path, monkeypatch):
    place = f"{Foreign.__module__}:{Foreign.__qualname__}"
    monkeypatch.setattr(registry, "_entries", lambda: [entry("foreign", lambda: Foreign, place)])
    folder = artifact.save(Foreign(VAEConfig(width=6, latent=2), GREY), tmp_path / "m", facts={})
    assert json.loads((folder / "config.json").read_text())["package"] == "Other_Package"
    edit(folder, package="other.package")
    assert type(artifact.load(folder)) is Foreign
    edit(folder, model="foreing")
    refused(folder, "did you mean 'foreign'")


def test_a_package_that_cannot_be_imported(monkeypatch):
    def fail():
        raise ImportError("no module 'x'")

    monkeypatch.setattr(registry, "_entries", lambda: [entry("foreign", fail), entry("thing", lambda: dict)])
    with pytest.raises(UserError, match="cannot be imported: no module 'x'"):
        registry.model_class("foreign", "other-package")
    with pytest.raises(UserError, match="not a simulacra model"):
        registry.model_class("thing", "other-package")


# The hub


class FakeHub:
    """What is called of `huggingface_hub`, with a folder for a hub."""

    def __init__(self, root):
        self.root, self.calls, self.error = root, [], None

    def snapshot_download(self, repo_id, **options):
        self.calls.append((repo_id, options))
        if self.error:
            raise self.error
        return str(self.root / repo_id)

    def HfApi(self, token=None):
        self.calls.append(("token", token))
        return self

    def create_repo(self, repo_id, *, private, exist_ok):
        self.calls.append(("create", repo_id, private, exist_ok))
        return f"https://hub.test/{repo_id}"

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, delete_patterns):
        if self.error:
            raise self.error
        shutil.copytree(folder_path, self.root / repo_id, ignore=lambda _, names: set(names) - set(allow_patterns))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    fake = FakeHub(tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.snapshot_download", fake.snapshot_download)
    monkeypatch.setattr("huggingface_hub.HfApi", fake.HfApi)
    return fake


def test_shared_and_loaded_from_the_hub(saved, hub):
    (saved / "private.txt").write_text("mine")
    assert artifact.push_to_hub(saved, "me/mine", private=True, token="t") == "https://hub.test/me/mine"
    assert hub.calls == [("token", "t"), ("create", "me/mine", True, True)]
    assert sorted(os.listdir(hub.root / "me" / "mine")) == ["README.md", "config.json", "model.safetensors"]
    loaded = artifact.load("me/mine", revision="v1")
    assert hub.calls[-1] == ("me/mine", {"revision": "v1", "allow_patterns": list(artifact.FILES)})
    assert torch.equal(loaded.sample(2), artifact.load(saved).sample(2))


def test_a_local_path_comes_before_the_hub(saved, hub, monkeypatch):
    monkeypatch.chdir(saved.parent.parent)
    artifact.load(f"{saved.parent.name}/m")
    assert hub.calls == []


def test_a_broken_artifact_is_not_shared(saved, hub):
    (saved / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="damaged"):
        artifact.push_to_hub(saved, "me/mine")
    assert hub.calls == []


def test_hub_errors_are_one_line(saved, hub):
    hub.error = OSError("401 Client Error\n\nInvalid user")
    refused("me/mine", "hub did not give it: 401 Client Error Invalid user")
    with pytest.raises(UserError, match="cannot share 'me/mine': 401 Client Error Invalid user"):
        artifact.push_to_hub(saved, "me/mine")
    with pytest.raises(UserError, match="write owner/name"):
        artifact.push_to_hub(saved, "mine")
    with pytest.raises(UserError, match="there is no 'me/mine'"):
        artifact.push_to_hub("me/mine", "me/mine")


def test_a_repository_that_is_not_there(hub):
    from huggingface_hub.utils import RepositoryNotFoundError

    hub.error = RepositoryNotFoundError.__new__(RepositoryNotFoundError)
    refused("me/mine", "no 'me/mine' here, nor on the hub")


def test_a_hub_out_of_reach(hub):
    from huggingface_hub.utils import LocalEntryNotFoundError

    hub.error = LocalEntryNotFoundError("Cannot find the requested files\nin the cache")
    refused("me/mine", "no 'me/mine' here, and the hub cannot be reached")


def test_loading_reads_no_pickle(saved):
    code = (
        "import pickle, sys\n"
        "def no(*a, **k): raise SystemExit('unpickled')\n"
        "from simulacra import artifact\n"
        "pickle.load = pickle.loads = pickle.Unpickler = no\n"
        f"artifact.load({str(saved)!r}).sample(1)\n"
        "assert 'matplotlib' not in sys.modules and 'huggingface_hub' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=V1.parents[2])
    assert done.returncode == 0, done.stderr


def test_a_card_takes_scores_in_place_and_keeps_what_people_wrote_behind_them() -> None:
    from simulacra.card import with_scores

    text = "# it\n\nA model.\n\n## Scores\n\nold\n\n## License\n\nfree\n"
    card = with_scores(text, {"fid (mnist)": {"value": 1.5, "samples": "10 drawn"}})
    assert card.index("A model.") < card.index("| fid (mnist) | 1.5 | samples: 10 drawn |") < card.index("## License")
    assert "old" not in card
    assert card.endswith("free\n")
    assert with_scores(card, {}) == "# it\n\nA model.\n\n## License\n\nfree\n"
    assert with_scores("# it\n", {"fid": 2.0}).count("## Scores") == 1
