"""The Inception network: the same numbers as torch-fidelity's with random weights, and where weights come from."""

import hashlib
import io
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from simulacra.data import Spec
from simulacra.errors import UserError
from simulacra.features import inception
from simulacra.features.inception import FILE, SHA256, Inception, weights
from simulacra.features.resizing import RESIZERS

COLOUR = Spec(kind="image", shape=(3, 32, 32), classes=None)
GREY = Spec(kind="image", shape=(1, 28, 28), classes=None)
LAYERS = ["2048", "logits_unbiased"]


class Fresh(FeatureExtractorInceptionV3):
    """The network as it is before any weights are loaded."""

    def load_state_dict(self, state, *rest, **more):
        assert not state


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Random weights under which every layer passes on about the variance it gets."""
    path = tmp_path_factory.mktemp("inception") / "nothing.pth"
    torch.save({}, path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Fresh("fresh", LAYERS, feature_extractor_weights_path=path)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            elif isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.1)
    return network.state_dict()


@pytest.fixture(scope="module")
def theirs(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(state, path)
    return FeatureExtractorInceptionV3("theirs", LAYERS, feature_extractor_weights_path=path)


def images(*shape):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_features_and_logits_are_torch_fidelitys(state, theirs, monkeypatch):
    monkeypatch.setattr(inception, "ROWS", 3)
    rows = images(4, 3, 32, 32)
    own = Inception.of(state, "random", COLOUR)
    said = own(rows)
    features, logits = theirs(rows)
    assert features.std() > 0.01
    assert torch.isfinite(features).all()
    assert torch.allclose(said.features, features, rtol=1e-5, atol=1e-5)
    assert torch.allclose(said.logits, logits, rtol=1e-5, atol=1e-5)
    assert (said.features.shape, said.logits.shape) == ((4, 2048), (4, len(own.classes)))
    assert own.facts == {"extractor": "inception", "sha256": "random", "resizer": "tf-bilinear"}
    assert not said.features.requires_grad


def test_grey_is_repeated_and_another_resizer_gives_bytes(state, theirs):
    rows = images(2, 1, 28, 28)
    own = Inception.of(state, "random", GREY)
    assert torch.allclose(own(rows).features, theirs(rows.repeat(1, 3, 1, 1))[0], rtol=1e-5, atol=1e-5)
    bicubic = Inception.of(state, "random", GREY, RESIZERS["bicubic"])
    large = RESIZERS["bicubic"](rows, (299, 299)).round().byte()
    assert torch.allclose(bicubic(rows).features, theirs(large.repeat(1, 3, 1, 1))[0], rtol=1e-5, atol=1e-5)
    assert bicubic.resizer == "bicubic"
    assert not torch.allclose(bicubic(rows).features, own(rows).features, atol=1e-3)


def test_it_draws_no_random_number(state):
    before = torch.get_rng_state()
    Inception.of(state, "random", Spec(kind="image", shape=(3, 299, 299), classes=None))
    assert torch.equal(torch.get_rng_state(), before)


def test_it_says_where_images_are_unlike_photographs(state):
    own = Inception.of(state, "random", COLOUR)
    assert own.doubts(COLOUR) == []
    grey, small = own.doubts(GREY)
    assert "repeated as RGB" in grey
    assert "28x28 pixels are enlarged to 299x299" in small
    assert Inception.of(state, "random", Spec(kind="image", shape=(3, 299, 299), classes=None)).resizer == "none"


# Where weights come from


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A machine without weights or network; returns the two folders that are looked into, and the URLs asked for."""
    asked = []

    def fail(url, dst, hash_prefix, progress):
        asked.append((url, hash_prefix))
        raise OSError("no route to host")

    monkeypatch.delenv("SIMULACRA_INCEPTION", raising=False)
    monkeypatch.setenv("SIMULACRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    return tmp_path / "cache" / "extractors", tmp_path / "hub" / "checkpoints", asked


def saved(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


SMALL = saved({"weight": torch.ones(2)})


@pytest.fixture
def small(monkeypatch):
    """Few numbers stand for the published weights."""
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(SMALL).hexdigest())


def put(folder, content=SMALL, name=FILE):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def test_weights_are_looked_for_in_order(small, places, tmp_path, monkeypatch):
    own, hub, asked = places
    put(hub)
    assert weights()["weight"].tolist() == [1.0, 1.0]
    put(own, b"torn")
    with pytest.raises(UserError, match=r"cache/extractors.*does not hold the published weights"):
        weights()
    monkeypatch.setenv("SIMULACRA_INCEPTION", str(put(tmp_path, name="mine.pth")))
    assert weights()["weight"].tolist() == [1.0, 1.0]
    assert asked == []


def test_other_weights_are_refused_and_never_read(places, tmp_path, monkeypatch):
    """A file under another hash might run anything when it is loaded."""
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("the file was read"))
    monkeypatch.setenv("SIMULACRA_INCEPTION", str(put(tmp_path)))
    with pytest.raises(UserError, match="does not hold the published weights"):
        weights()


def test_loading_executes_nothing_even_under_the_right_hash(places, tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return print, ("executed",)

    content = saved({"weight": Evil()})
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("SIMULACRA_INCEPTION", str(put(tmp_path, content)))
    with pytest.raises(Exception, match=r"(?i)weights_only|unsupported"):
        weights()


def test_a_named_file_must_be_there(places, monkeypatch):
    monkeypatch.setenv("SIMULACRA_INCEPTION", "gone.pth")
    with pytest.raises(UserError, match=r"SIMULACRA_INCEPTION names 'gone.pth'.*6726825d"):
        weights()


def test_without_network_the_ways_out_are_told(places):
    own, _, asked = places
    with pytest.raises(UserError) as caught:
        Inception.find(COLOUR)
    line = str(caught.value)
    for part in ("no route to host", FILE, "https://", str(own), "--features pixels", "simulacra extractor train"):
        assert part in line
    assert len(line.splitlines()) == 1
    assert [prefix for _, prefix in asked] == [SHA256]
    assert SHA256.startswith("6726825d")


def test_weights_are_downloaded_where_they_are_looked_for(small, places, monkeypatch):
    own, _, _ = places
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda url, dst, **_: Path(dst).write_bytes(SMALL))
    assert weights()["weight"].tolist() == [1.0, 1.0]
    assert [path.name for path in own.iterdir()] == [FILE]


def test_without_the_extra_the_command_to_install_it_is_told(monkeypatch, state):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(UserError, match=r"pip install 'simulacra\[metrics\]'"):
        Inception.find(COLOUR)
