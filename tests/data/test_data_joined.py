"""`split="all"`: both splits as one source."""

import pickle

import numpy as np
import pytest
import torch
from data_helpers import folder_of, noise, save

from simulacra.data import open_data
from simulacra.data.files import hashed_split
from simulacra.data.joined import JoinedRows, join
from simulacra.errors import EmptySplit, UserError

NAMES = [f"{n:04d}.png" for n in range(100)]
TRAIN, TEST = (next(name for name in NAMES if hashed_split(name) == split) for split in ("train", "test"))
OTHER = next(name for name in NAMES if hashed_split(name) == "test" and name != TEST)


def test_all_is_train_then_test():
    parts = [open_data("digits", split=split) for split in ("train", "test")]
    both = open_data("digits", split="all")
    assert len(both) == 1797
    assert both.split == "all"
    assert both.in_memory
    assert both.spec == parts[0].spec
    assert both.labels is not None
    assert torch.equal(both.labels, torch.cat([part.labels for part in parts]))
    index = np.array([1796, 0, 1500, 1501])
    expected = [parts[1].rows(np.array([295]))[0], parts[0].rows(np.array([0]))[0]]
    expected += [parts[0].rows(np.array([1500]))[0], parts[1].rows(np.array([0]))[0]]
    assert torch.equal(both.rows(index), torch.stack(expected))
    assert both.name_of(1501) == parts[1].name_of(0)
    with pytest.raises(IndexError):
        both.name_of(1797)
    assert both.fingerprint not in (parts[0].fingerprint, parts[1].fingerprint)
    assert both.fingerprint == open_data("digits", split="all").fingerprint


def test_streamed_splits_are_read_where_they_lie(tmp_path):
    for number, name in enumerate((TRAIN, TEST)):
        save(tmp_path / name, noise(key=number))
    streamed, held = (open_data(f"folder:{tmp_path}", split="all", stream=stream) for stream in (True, False))
    assert isinstance(streamed.data, JoinedRows)
    assert not streamed.in_memory
    index = np.array([1, 0, 1])
    assert torch.equal(streamed.rows(index), held.rows(index))
    assert torch.equal(pickle.loads(pickle.dumps(streamed.data)).read(index)[0], held.rows(index))


def test_a_folder_whose_files_all_belong_to_one_split_is_taken_as_it_is(tmp_path):
    folder_of(tmp_path, [noise(key=k) for k in range(3)])
    with pytest.raises(EmptySplit):
        open_data(f"folder:{tmp_path}", split="test")
    assert len(open_data(f"folder:{tmp_path}", split="all")) == 3


def test_what_is_wrong_with_a_split_is_not_passed_over(tmp_path):
    with pytest.raises(UserError, match="no image"):
        open_data(f"folder:{tmp_path}", split="all")
    for name in (TRAIN, TEST, OTHER):
        save(tmp_path / name, noise())
    (tmp_path / TEST).write_bytes(b"torn")
    with pytest.raises(UserError, match="broken"):
        open_data(f"folder:{tmp_path}", split="all")
    assert len(open_data(f"folder:{tmp_path}", split="all", skip_broken=True)) == 2


def test_splits_of_different_shape_are_refused():
    one, other = open_data("digits"), open_data("digits", split="test", size=(10, 10))
    with pytest.raises(UserError, match="splits of 'digits' differ"):
        join([one, other])


def test_an_unknown_split_is_named():
    with pytest.raises(UserError, match="unknown split 'al': did you mean 'all'"):
        open_data("digits", split="al")
