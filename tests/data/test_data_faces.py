"""Faces, from MATLAB files made here, and from the real ones where they are."""

import numpy as np
import pytest
import torch
from scipy.io import savemat

from simulacra.data import open_data
from tests.data.data_helpers import noise, refusal
from tests.data.test_data_known import real


def written(folder, monkeypatch, name, file, **arrays):
    (folder / name).mkdir()
    savemat(folder / name / file, arrays)
    monkeypatch.setenv("SIMULACRA_DATA", str(folder))


def test_frey_s_frames_are_columns_and_the_last_200_are_for_testing(tmp_path, monkeypatch):
    frames = noise(28, 20, 203).transpose(2, 0, 1)
    written(tmp_path, monkeypatch, "frey_faces", "frey_rawface.mat", ff=frames.reshape(203, 560).T)
    train, test = open_data("frey_faces"), open_data("frey_faces", split="test")
    assert (train.data[:, 0].numpy() == frames[:3]).all()
    assert (test.data[:, 0].numpy() == frames[3:]).all()
    assert train.spec.classes is None
    assert "203" not in train.names[2]
    assert "202" in test.names[199]


def test_olivetti_faces_are_upright_and_two_of_each_person_are_for_testing(tmp_path, monkeypatch):
    """A column of the file is a picture column by column."""
    pictures = noise(64, 64, 210).transpose(2, 0, 1)
    columns = np.stack([picture.T.flatten() for picture in pictures], 1)
    written(tmp_path, monkeypatch, "olivetti_faces", "olivettifaces.mat", faces=columns)
    train, test = open_data("olivetti_faces"), open_data("olivetti_faces", split="test")
    assert (len(train), len(test)) == (168, 42)
    assert (train.data[8, 0].numpy() == pictures[10]).all()
    assert (test.data[2, 0].numpy() == pictures[18]).all()
    assert train.labels.tolist() == [k // 8 for k in range(168)]
    assert test.labels.tolist() == [k // 2 for k in range(42)]
    assert train.spec.classes[1] == "person 2"


@pytest.mark.parametrize(
    ("name", "file", "variable"),
    [("frey_faces", "frey_rawface.mat", "ff"), ("olivetti_faces", "olivettifaces.mat", "faces")],
)
def test_what_is_missing_or_torn_is_named(tmp_path, monkeypatch, name, file, variable):
    monkeypatch.delenv("SIMULACRA_DATA", raising=False)
    refusal(name, name, "not downloaded", file)
    monkeypatch.setenv("SIMULACRA_DATA", str(tmp_path))
    refusal(name, "not downloaded")
    (tmp_path / name).mkdir()
    refusal(name, "not downloaded", file)
    (tmp_path / name / file).write_bytes(b"no matrix")
    refusal(name, file, "torn")
    savemat(tmp_path / name / file, {"other": np.zeros((2, 2), np.uint8)})
    refusal(name, file, "torn", variable)
    savemat(tmp_path / name / file, {variable: np.zeros((560, 300))})
    refusal(name, file, "torn", "float64")


@real
@pytest.mark.parametrize(
    ("name", "sizes", "shape"), [("frey_faces", (1765, 200), (28, 20)), ("olivetti_faces", (320, 80), (64, 64))]
)
def test_the_real_ones(name, sizes, shape):
    train, test = open_data(name), open_data(name, split="test")
    assert (len(train), len(test)) == sizes
    assert train.spec.shape == (1, *shape)
    left, right = train.data[..., : shape[1] // 2].float(), train.data[..., shape[1] // 2 :].float()
    mirrored = right.flip(-1)
    likeness = torch.corrcoef(torch.stack([left.mean(0).flatten(), mirrored.mean(0).flatten()]))[0, 1]
    assert likeness > 0.8  # faces are upright: the mean one is nearly symmetric
