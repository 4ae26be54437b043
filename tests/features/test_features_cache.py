"""Features computed once: shards, keys, damage, interruption, ranks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from simulacra.data import Source, Spec
from simulacra.errors import UserError
from simulacra.features import cache
from simulacra.features.cache import default_folder, seen_rows
from simulacra.features.extractor import Extractor, Said
from simulacra.play import Table

ROWS = np.arange(25)[::-1].copy()  # three shards of ten, the last of five


class Reader:
    """Rows (row, row², 0), and how many were read."""

    def __init__(self):
        self.read_rows = 0

    def read(self, index):
        self.read_rows += len(index)
        row = torch.from_numpy(index).float()
        return torch.stack([row, row**2, 0 * row], 1), ()


class Doubling(Extractor):
    """Says twice the row and, as a logit, its first number; stops at a given row."""

    def __init__(self, digest="d", resizer="none", logits=True, stop=None):
        self.name, self.digest, self.resizer = "doubling", digest, resizer
        self.logits, self.stop = logits, stop

    def __call__(self, rows):
        if self.stop is not None and (rows[:, 0] == self.stop).any():
            raise KeyboardInterrupt
        return Said(2 * rows, rows[:, :1] if self.logits else None)

    def doubts(self, spec):
        return []


def source_of(fingerprint="f", classes=("odd", "even"), labels=True):
    reader = Reader()
    spec = Spec(kind="vector", shape=(3,), classes=classes)
    source = Source(
        word="rows",
        split="train",
        spec=spec,
        summary="",
        fingerprint=fingerprint,
        labels=torch.arange(30) % 2 if labels else None,
        names=[],
        data=reader,
        count=30,
        in_memory=False,
    )
    return source, reader


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(cache, "SHARD", 10)
    monkeypatch.setattr(cache, "READ", 4)


def see(source, extractor, folder, rows=ROWS, table=None, progress=None):
    more = {"progress": progress} if progress else {}
    return list(seen_rows(source, rows, extractor, table=table or Table(), folder=folder, **more))


def test_rows_are_numbered_as_they_were_asked_for():
    source, reader = source_of()
    parts = see(source, Doubling(), None)
    assert [part.index.tolist() for part in parts] == [[*range(10)], [*range(10, 20)], [*range(20, 25)]]
    features = torch.cat([part.said.features for part in parts])
    assert features[:, 0].tolist() == [2.0 * row for row in ROWS]
    assert torch.cat([part.said.logits for part in parts])[:, 0].tolist() == [float(row) for row in ROWS]
    assert torch.cat([part.labels for part in parts]).tolist() == [row % 2 for row in ROWS.tolist()]
    assert reader.read_rows == 25


def test_without_logits_and_labels_there_are_none(tmp_path):
    source, _ = source_of(labels=False, classes=None)
    for _ in range(2):
        parts = see(source, Doubling(logits=False), tmp_path)
        assert all(part.labels is None and part.said.logits is None for part in parts)


def test_a_second_pass_reads_nothing_and_says_the_same(tmp_path):
    source, reader = source_of()
    first = see(source, Doubling(), tmp_path)
    told = []
    second = see(source, Doubling(stop=3), tmp_path, progress=told.append)
    assert reader.read_rows == 25
    assert sum(told) == 25
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.index, other.index)
        assert torch.equal(one.said.features, other.said.features)
        assert torch.equal(one.said.logits, other.said.logits)
        assert torch.equal(one.labels, other.labels)


def test_progress_counts_every_row_once(tmp_path):
    told = []
    see(source_of()[0], Doubling(), tmp_path, progress=told.append)
    assert told == [4, 4, 2, 4, 4, 2, 4, 1]


@pytest.mark.parametrize(
    "change",
    [
        lambda: (source_of(fingerprint="g")[0], Doubling(), ROWS),
        lambda: (source_of(classes=("a", "b"))[0], Doubling(), ROWS),
        lambda: (source_of()[0], Doubling(digest="e"), ROWS),
        lambda: (source_of()[0], Doubling(resizer="bicubic"), ROWS),
        lambda: (source_of()[0], Doubling(), ROWS[::-1].copy()),
        lambda: (source_of()[0], Doubling(), ROWS[:20]),
    ],
)
def test_other_data_extractors_resizers_or_rows_have_another_key(tmp_path, change):
    see(source_of()[0], Doubling(), tmp_path)
    source, extractor, rows = change()
    see(source, extractor, tmp_path, rows)
    assert source.data.read_rows == len(rows)
    assert len(list(tmp_path.iterdir())) == 2


def test_the_width_of_row_numbers_does_not_matter(tmp_path):
    see(source_of()[0], Doubling(), tmp_path)
    source, reader = source_of()
    see(source, Doubling(), tmp_path, ROWS.astype(np.int32))
    assert reader.read_rows == 0


def test_an_interruption_keeps_the_shards_that_are_whole(tmp_path):
    source, reader = source_of()
    with pytest.raises(KeyboardInterrupt):
        see(source, Doubling(stop=5), tmp_path)  # row 5 has number 19, in the last part of the second shard
    (folder,) = tmp_path.iterdir()
    assert [path.name for path in folder.iterdir()] == ["00000.safetensors"]
    reader.read_rows = 0
    assert len(see(source, Doubling(), tmp_path)) == 3
    assert reader.read_rows == 15


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],  # one bit of a feature or logit
    ],
)
def test_a_damaged_shard_is_computed_again(tmp_path, damage, caplog):
    source, reader = source_of()
    first = see(source, Doubling(), tmp_path)
    (folder,) = tmp_path.iterdir()
    path = folder / "00001.safetensors"
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    reader.read_rows = 0
    second = see(source, Doubling(), tmp_path)
    assert reader.read_rows == 10
    assert torch.equal(first[1].said.features, second[1].said.features)
    assert "00001.safetensors' are damaged" in caplog.text
    assert path.read_bytes() == sound


def test_a_shard_of_other_length_is_damaged(tmp_path, caplog):
    source, _ = source_of()
    see(source, Doubling(), tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "00002.safetensors").replace(folder / "00001.safetensors")
    parts = see(source, Doubling(), tmp_path)
    assert [len(part.index) for part in parts] == [10, 10, 5]
    assert "are not of 10 rows" in caplog.text


def full(path, content):
    raise OSError(28, "No space left on device")


def test_a_full_disk_loses_the_cache_alone(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(cache, "replace", full)
    parts = see(source_of()[0], Doubling(), tmp_path)
    assert len(parts) == 3
    assert caplog.text.count("No space left on device") == 1


def test_a_folder_that_cannot_be_made_loses_the_cache_alone(tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    assert len(see(source_of()[0], Doubling(), tmp_path / "file" / "folder")) == 3
    assert len([record for record in caplog.records if "cannot be cached" in record.message]) == 1


@pytest.mark.parametrize("size", [2, 3, 5])
def test_ranks_share_the_shards(tmp_path, size):
    source, reader = source_of()
    shares = [see(source, Doubling(), tmp_path, table=SimpleNamespace(rank=rank, size=size)) for rank in range(size)]
    assert [[int(part.index[0]) // 10 for part in share] for share in shares] == [
        list(range(rank, 3, size)) for rank in range(size)
    ]
    assert sorted(int(k) for share in shares for part in share for k in part.index) == list(range(25))
    assert reader.read_rows == 25
    see(source, Doubling(stop=3), tmp_path)
    assert reader.read_rows == 25


def test_no_rows_give_nothing(tmp_path):
    assert see(source_of()[0], Doubling(), tmp_path, ROWS[:0]) == []


def test_mistakes_of_the_user_pass(tmp_path):
    source, reader = source_of()

    def torn(index):
        raise UserError("'a.png' is broken")

    reader.read = torn
    with pytest.raises(UserError, match="is broken"):
        see(source, Doubling(), tmp_path)


def test_the_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SIMULACRA_CACHE", str(tmp_path))
    assert default_folder() == tmp_path / "features"
    monkeypatch.delenv("SIMULACRA_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_folder() == tmp_path / "home" / ".cache" / "simulacra" / "features"
