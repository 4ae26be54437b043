"""The classifier's network, its file, and the extractor made of it."""

import hashlib
import json
import struct

import pytest
import torch
from torch import nn

from simulacra.data import Spec
from simulacra.errors import MachineError, UserError
from simulacra.features.classifier import (
    Classifier,
    ClassifierConfig,
    ClassifierExtractor,
    load,
    save,
    with_channels,
)
from simulacra.features.files import pack, unpack
from simulacra.features.resizing import RESIZERS
from simulacra.features.stacked import StackedExtractor

SMALL = ClassifierConfig(width=4)
FACTS = {
    "data": "some",
    "fingerprint": "",
    "rows": 2,
    "seed": 0,
    "epochs": 1,
    "batch": 2,
    "mirror": False,
    "test_rows": None,
    "accuracy": None,
    "command": "simulacra extractor train",
}


def spec_of(*shape, classes=("a", "b", "c")):
    return Spec(kind="image", shape=shape, classes=classes)


def images(*shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def stored(tmp_path, spec, config=SMALL):
    """The path of a classifier with random weights and running statistics."""
    network = Classifier(config, spec)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
    path = tmp_path / "some.safetensors"
    save(path, network, {**FACTS, "spec": spec.as_dict(), "network": config.model_dump()})
    return path


def extractor(tmp_path, own, seen=None, resizer="bicubic"):
    return ClassifierExtractor("some", load(stored(tmp_path, own)), seen or own, RESIZERS[resizer], "cpu")


@pytest.mark.parametrize(
    ("shape", "last"),
    [
        ((1, 8, 8), 8),  # no pool
        ((1, 14, 14), 7),  # one
        ((1, 28, 28), 7),  # two
        ((3, 32, 32), 8),
        ((3, 64, 64), 8),  # three, so one block more
        ((3, 130, 100), 6),  # four: 100 -> 50 -> 25 -> 12 -> 6
    ],
)
def test_images_of_any_size_are_pooled_to_about_7_by_7(shape, last):
    network = Classifier(SMALL, spec_of(*shape)).eval()
    seen = []
    next(layer for layer in network.body if isinstance(layer, nn.AdaptiveAvgPool2d)).register_forward_hook(
        lambda _, inputs, output: seen.append(inputs[0].shape)
    )
    said = network(torch.zeros(2, *shape))
    assert said.features.shape == (2, 16)
    assert said.logits.shape == (2, 3)
    assert seen[0][3] == last


def test_the_default_network_has_128_features():
    assert Classifier(ClassifierConfig(), spec_of(1, 28, 28)).head.in_features == 128


# The file


def test_a_file_holds_weights_and_record(tmp_path):
    path = stored(tmp_path, spec_of(1, 8, 8))
    saved = load(path)
    assert saved.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert saved.record.spec == spec_of(1, 8, 8).as_dict()
    assert saved.record.format == 1
    assert not saved.network.training
    assert not any(parameter.requires_grad for parameter in saved.network.parameters())
    assert [file.name for file in tmp_path.iterdir()] == ["some.safetensors"]


def test_equal_classifiers_give_equal_bytes(tmp_path):
    torch.manual_seed(0)
    first = stored(tmp_path, spec_of(1, 8, 8)).read_bytes()
    torch.manual_seed(0)
    assert stored(tmp_path, spec_of(1, 8, 8)).read_bytes() == first


def changed(path, change):
    """Write the file again with its tensors and facts changed by `change(tensors, facts)`."""
    tensors, facts = unpack(path.read_bytes())
    change(tensors, facts)
    path.write_bytes(pack(tensors, facts))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda tensors, facts: facts.update(format=2), "format 2 is newer than 1.*upgrade"),
        (lambda tensors, facts: facts.update(format="x"), "'format'"),
        (lambda tensors, facts: facts.pop("format"), "this is no extractor"),
        (lambda tensors, facts: facts.pop("rows"), "'rows' is missing"),
        (lambda tensors, facts: facts.update(colour=1), "unknown setting of its record 'colour'"),
        (lambda tensors, facts: facts.update(spec={"kind": "image"}), "field 'shape' is missing"),
        (lambda tensors, facts: facts["spec"].update(classes=None), "no classes"),
        (lambda tensors, facts: facts.update(network={"width": -1, "dropout": 0}), "'width'"),
        (lambda tensors, facts: facts.update(network={"width": 8}), "where such a network has"),
        (lambda tensors, facts: tensors.pop("head.bias"), "lacks 'head.bias'"),
        (lambda tensors, facts: tensors.update(more=torch.zeros(1)), "holds 'more'"),
        (lambda tensors, facts: tensors.update({"head.bias": torch.zeros(4)}), r"\[4\] of float32 .* \[3\]"),
        (lambda tensors, facts: tensors.update({"head.bias": torch.zeros(3).half()}), "float16"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, change, part):
    path = stored(tmp_path, spec_of(1, 8, 8))
    changed(path, change)
    with pytest.raises(UserError, match=part) as caught:
        load(path)
    assert "some.safetensors" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def header(metadata):
    text = json.dumps({"__metadata__": metadata}).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no tensors at all",
        b"\x80\x02}q\x00.",  # a pickle
        header({"simulacra": "no JSON"}),
        header({"simulacra": "[1]"}),
        header({"simulacra": "[" * 100_000}),
    ],
)
def test_damaged_files_are_told(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        load(path)


def test_a_torn_file_is_told(tmp_path):
    path = stored(tmp_path, spec_of(1, 8, 8))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="is damaged"):
        load(path)


def test_other_safetensors_are_no_extractors(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(header({"format": "pt"}))
    with pytest.raises(UserError, match="this is no extractor"):
        load(path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"there is no extractor .*simulacra extractor train"):
        load(tmp_path / "x.safetensors")


def test_a_disk_that_fails_leaves_the_former_file(tmp_path, monkeypatch):
    path = stored(tmp_path, spec_of(1, 8, 8))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MachineError, match="No space left"):
        stored(tmp_path, spec_of(1, 9, 9))
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


# The extractor


def test_what_it_says_is_what_the_network_says(tmp_path):
    own = extractor(tmp_path, spec_of(1, 8, 8))
    rows = images(7, 1, 8, 8)
    network = load(tmp_path / "some.safetensors").network
    with torch.no_grad():
        features, logits = network(rows.float() / 127.5 - 1)
    said = own(rows)
    assert torch.allclose(said.features, features, atol=1e-5)
    assert torch.allclose(said.logits, logits, atol=1e-5)
    assert said.features.dtype == torch.float32
    assert not said.features.requires_grad
    assert own.classes == ("a", "b", "c")
    assert own.resizer == "none"


def test_a_row_is_judged_by_itself(tmp_path, monkeypatch):
    own = extractor(tmp_path, spec_of(1, 8, 8))
    rows = images(7, 1, 8, 8)
    whole = own(rows)
    monkeypatch.setattr("simulacra.features.classifier.PIXELS", 3 * 64)
    assert torch.allclose(own(rows).features, whole.features, atol=1e-6)
    assert torch.allclose(own(rows[4:5]).logits, whole.logits[4:5], atol=1e-6)


def test_other_sizes_are_resized_and_that_is_recorded(tmp_path):
    rows = images(2, 1, 16, 12)
    own = extractor(tmp_path, spec_of(1, 8, 8), spec_of(1, 16, 12))
    assert own.facts == {"extractor": "some", "sha256": own.digest, "resizer": "bicubic"}
    network = load(tmp_path / "some.safetensors").network
    with torch.no_grad():
        expected = network(RESIZERS["bicubic"](rows, (8, 8)) / 127.5 - 1).features
    assert torch.allclose(own(rows).features, expected, atol=1e-5)


def test_grey_is_repeated_and_colour_becomes_luma():
    grey = torch.tensor([10.0, 20.0]).view(2, 1, 1, 1)
    assert with_channels(grey, 3).flatten(1).tolist() == [[10.0] * 3, [20.0] * 3]
    # 0.299 · 100 + 0.587 · 200 + 0.114 · 50 = 29.9 + 117.4 + 5.7 = 153
    colour = torch.tensor([100.0, 200.0, 50.0]).view(1, 3, 1, 1)
    assert with_channels(colour, 1).item() == pytest.approx(153.0)
    assert with_channels(colour, 3) is colour


def test_it_says_where_data_are_of_another_kind(tmp_path):
    own = extractor(tmp_path, spec_of(1, 8, 8))
    assert own.doubts(spec_of(1, 8, 8)) == []
    assert own.doubts(spec_of(1, 8, 8, classes=None)) == []
    assert any("another size: 20x20" in doubt for doubt in own.doubts(spec_of(1, 20, 20, classes=None)))
    channels, classes, size = own.doubts(spec_of(3, 8, 7, classes=("x",)))
    assert "turned to grey" in channels
    assert "a, b, c" in classes
    assert "8x7 pixels are brought to 8x8" in size
    (channels,) = extractor(tmp_path, spec_of(3, 8, 8)).doubts(spec_of(1, 8, 8))
    assert "repeated as RGB" in channels


# Stacked


def test_channels_are_classified_one_by_one(tmp_path):
    channel = extractor(tmp_path, spec_of(1, 8, 8))
    stacked = StackedExtractor("stacked", channel, spec_of(3, 8, 8))
    rows = images(5, 3, 8, 8)
    said = stacked(rows)
    assert said.features.shape == (5, 48)
    assert said.logits.shape == (5, 9)
    assert (stacked.groups, stacked.classes) == (3, ("a", "b", "c"))
    for number in range(3):
        alone = channel(rows[:, number : number + 1])
        assert torch.allclose(said.features[:, 16 * number : 16 * (number + 1)], alone.features, atol=1e-6)
        assert torch.allclose(said.logits[:, 3 * number : 3 * (number + 1)], alone.logits, atol=1e-6)
    assert stacked.digest != channel.digest
    assert stacked.facts["classifier_sha256"] == channel.digest


def test_stacked_digits_have_three_channels(tmp_path):
    with pytest.raises(UserError, match="3 channels, and these have 1"):
        StackedExtractor("stacked", extractor(tmp_path, spec_of(1, 8, 8)), spec_of(1, 8, 8))
