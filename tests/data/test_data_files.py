"""Folders and zips: splits, labels, order, summaries."""

import os
import shutil
import zipfile

import numpy as np
import pytest
from data_helpers import assert_one_line, folder_of, noise, pixels_of, png, refusal, save, train_names, zip_of
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra.data import open_data
from simulacra.data.files import hashed_split
from simulacra.data.labels import read_labels
from simulacra.errors import UserError


def test_subfolders_are_labels_in_sorted_order(tmp_path):
    for key, name in enumerate(["dog/a.png", "cat/x/b.png", "ant/c.png", "dog/d.png"]):
        for split in ("train", "test"):
            save(tmp_path / split / name, noise(4, 4, key=key))
    source = open_data(f"folder:{tmp_path}")
    assert source.spec.classes == ("ant", "cat", "dog")
    assert [source.name_of(row) for row in range(4)] == [
        f"train/{n}" for n in ("ant/c.png", "cat/x/b.png", "dog/a.png", "dog/d.png")
    ]
    assert source.labels.tolist() == [0, 1, 2, 2]
    assert source.summary == "4 images in 3 classes, 4x4 RGB"


def test_both_splits_know_the_classes_of_either(tmp_path):
    save(tmp_path / "train" / "b" / "1.png", noise(4, 4))
    save(tmp_path / "test" / "a" / "1.png", noise(4, 4))
    train, test = (open_data(f"folder:{tmp_path}", split=split) for split in ("train", "test"))
    assert train.spec == test.spec
    assert (train.labels.tolist(), test.labels.tolist()) == ([1], [0])


def test_both_splits_agree_on_size_and_colour(tmp_path):
    save(tmp_path / "train" / "1.png", noise(8, 8, 1))
    save(tmp_path / "test" / "1.png", noise(9, 7, 3))
    assert open_data(f"folder:{tmp_path}").spec == open_data(f"folder:{tmp_path}", split="test").spec


def test_ten_percent_by_hash_are_the_test_split(tmp_path):
    for number in range(60):
        save(tmp_path / f"{number}.png", noise(4, 4, 1))
    train, test = (open_data(f"folder:{tmp_path}", split=split) for split in ("train", "test"))
    names = [{source.name_of(row) for row in range(len(source))} for source in (train, test)]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 60
    assert all(hashed_split(name) == "test" for name in names[1])
    assert train.labels is None
    assert f"; {len(test)} held out for testing (by name)" in train.summary
    assert "held out" not in test.summary


def test_the_hash_split_is_about_ten_percent():
    assert 900 < sum(hashed_split(f"image_{number}.png") == "test" for number in range(10_000)) < 1100


def test_a_single_outer_folder_is_looked_through(tmp_path):
    for name in train_names(2):
        save(tmp_path / "data" / "deep" / name, noise(4, 4))
    assert open_data(f"folder:{tmp_path}").labels is None


def test_images_beside_subfolders_are_kept_without_labels(tmp_path):
    folder_of(tmp_path, [noise(4, 4)])
    for letter in "abcdef":
        save(tmp_path / letter / "1.png", noise(4, 4))
    source = open_data(f"folder:{tmp_path}")
    assert source.labels is None
    assert "no labels, as 1 image" in source.summary


def test_hidden_files_are_ignored_and_others_counted(tmp_path):
    folder_of(tmp_path, [noise(4, 4)])
    for name in (".hidden.png", "__MACOSX/a.png", ".git/b.png", "notes.txt", "READ.ME"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert open_data(f"folder:{tmp_path}").summary == "1 image, 4x4 RGB; 2 other files ignored"


def test_a_third_split_is_left_out_and_said(tmp_path):
    for split in ("train", "val", "test"):
        save(tmp_path / split / "1.png", noise(4, 4))
    assert "1 image outside train/ and test/ left out" in open_data(f"folder:{tmp_path}").summary


def test_names_decide_the_order_and_extensions_ignore_case(tmp_path):
    for name in ("b/2.PNG", "a/9.png", "b-/1.png", "b/10.png"):
        save(tmp_path / "train" / name, noise(4, 4), format="PNG")
    save(tmp_path / "test" / "a" / "1.png", noise(4, 4))
    source = open_data(f"folder:{tmp_path}")
    names = [source.name_of(row) for row in range(4)]
    assert names == ["train/a/9.png", "train/b-/1.png", "train/b/10.png", "train/b/2.PNG"]


def test_links_are_followed_once(tmp_path):
    folder_of(tmp_path / "real", [noise(4, 4)])
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    assert len(open_data(f"folder:{tmp_path / 'real'}")) == 1


def test_a_zip_is_read_like_the_folder_it_was_made_from(tmp_path):
    for key, name in enumerate(["a/1.png", "b/2.png", "b/3.png", "notes.txt"]):
        save(tmp_path / "set" / "train" / name, noise(6, 5, key=key), format="PNG")
        save(tmp_path / "set" / "test" / name, noise(6, 5, key=key), format="PNG")
    path = shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path, "set")
    folder, archive = open_data(f"folder:{tmp_path / 'set'}"), open_data(f"zip:{path}")
    assert folder.summary == archive.summary
    assert folder.fingerprint == archive.fingerprint
    assert (folder.data == archive.data).all()


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_streamed_rows_equal_those_in_memory(tmp_path, packing):
    names = train_names(6)
    with zipfile.ZipFile(tmp_path / "set.zip", "w", packing) as archive:
        for key, name in enumerate(names):
            archive.writestr(name, png(noise(9 + key, 9, key=key)))
    held, streamed = (open_data(f"zip:{tmp_path / 'set.zip'}", stream=stream, size=(8, 8)) for stream in (False, True))
    assert held.in_memory
    assert not streamed.in_memory
    index = np.array([5, 0, 3, 3])
    assert (held.rows(index) == streamed.rows(index)).all()
    assert held.name_of(5) == streamed.name_of(5) == names[5]
    assert streamed.summary == held.summary + "; streamed"


def test_bytes_in_front_of_a_zip_do_no_harm(tmp_path):
    (name,) = train_names(1)
    path = zip_of(tmp_path / "set.zip", {name: png(noise(4, 4))})
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    assert (pixels_of(open_data(f"zip:{path}")) == noise(4, 4).transpose(2, 0, 1)).all()


@pytest.mark.parametrize("stream", [False, True])
def test_fingerprints_see_pixels_labels_and_size(tmp_path, stream):
    for name in ("train/a/1.png", "train/b/2.png", "test/a/1.png"):
        save(tmp_path / name, noise(8, 8))
    word = f"folder:{tmp_path}"
    prints = [open_data(word, stream=stream).fingerprint, open_data(word, stream=stream, size=(4, 4)).fingerprint]
    assert open_data(word, stream=stream).fingerprint == prints[0]
    save(tmp_path / "train/b/2.png", noise(8, 8, key=1))
    prints.append(open_data(word, stream=stream).fingerprint)
    (tmp_path / "train/b").rename(tmp_path / "train/c")
    prints.append(open_data(word, stream=stream).fingerprint)
    assert len(set(prints)) == 4


def test_labels_csv_wins_over_subfolders(tmp_path):
    for name in ("train/x/1.png", "train/y/2.png", "test/x/3.png", "val/4.png"):
        save(tmp_path / name, noise(4, 4))
    (tmp_path / "labels.csv").write_text("label,file\ncat,train/x/1.png\nant,./train/y/2.png\ncat,test\\x\\3.png\n")
    source = open_data(f"folder:{tmp_path}")
    assert source.spec.classes == ("ant", "cat")
    assert source.labels.tolist() == [1, 0]
    assert "other file" not in source.summary


def test_labels_csv_in_a_split_or_beside_the_image_folder(tmp_path):
    for split in ("train", "test"):
        save(tmp_path / "one" / split / "1.png", noise(4, 4))
        (tmp_path / "one" / split / "labels.csv").write_text("file,label\n1.png,7\n")
    (name,) = train_names(1)
    save(tmp_path / "two" / "images" / name, noise(4, 4))
    (tmp_path / "two" / "labels.csv").write_bytes(f"\ufefffile,label\r\n{name},7\r\n".encode())
    for folder in ("one", "two"):
        source = open_data(f"folder:{tmp_path / folder}")
        assert (source.spec.classes, source.labels.tolist()) == (("7",), [0])


def test_whole_number_labels_are_sorted_as_numbers():
    names = [f"{number}.png" for number in range(4)]
    table = b"file,label\n0.png,10\n1.png,9\n2.png,-1\n3.png,10\n"
    labels = read_labels("here", {"": table}, names, "", [True] * 4)
    assert labels.classes == ("-1", "9", "10")
    assert labels.numbers.tolist() == [2, 1, 0, 2]


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        ("file,label\n{0},a\n", ["no row for 1 images", "{1}"]),
        ("file,label\n{0},a\n{1},b\ngone.png,c\n", ["names 1 missing images", "gone.png"]),
        ("file,label\n{0},a\n{1},b\n{1},c\n", ["two labels", "'b'", "'c'"]),
        ("name,class\n{0},a\n", ["columns ['name', 'class']", "file and label"]),
        ("", ["columns []"]),
        ("file,label\n{0},a\n{1},\n", ["row 3", "missing"]),
        ("file,label\n{0}\n", ["row 2", "missing"]),
        ("file,label\n{0},\udcff\n", ["UTF-8"]),
    ],
)
def test_bad_label_tables_are_refused(tmp_path, table, parts):
    names = train_names(2)
    folder_of(tmp_path, [noise(4, 4)] * 2)
    (tmp_path / "labels.csv").write_bytes(table.format(*names).encode("utf-8", "surrogateescape"))
    refusal(f"folder:{tmp_path}", "labels.csv", *(part.format(*names) for part in parts))


@given(st.binary() | st.text().map(lambda text: ("file,label\n" + text).encode("utf-8", "surrogatepass")))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_labels_or_one_line(content):
    try:
        labels = read_labels("here", {"": content}, ["a.png", "b.png"], "", [True, True])
    except UserError as error:
        assert_one_line(error)
    else:
        assert labels.numbers.max() < len(labels.classes)


def test_one_broken_image_refuses_the_set_and_is_named(tmp_path):
    folder_of(tmp_path, [noise(8, 8, key=key) for key in range(4)])
    first, second, third, _ = train_names(4)
    (tmp_path / first).write_bytes(b"no image")
    torn = (tmp_path / third).read_bytes()
    (tmp_path / third).write_bytes(torn[: len(torn) // 2])
    refusal(f"folder:{tmp_path}", "2 of 4 images broken", first, third, "(--skip-broken)")
    source = open_data(f"folder:{tmp_path}", skip_broken=True)
    assert "2 broken left out" in source.summary
    assert source.summary.startswith("2 images")
    assert source.name_of(0) == second
    assert (pixels_of(source) == noise(8, 8, key=1).transpose(2, 0, 1)).all()


def test_broken_images_of_the_other_split_are_not_counted(tmp_path):
    for name in ("train/1.png", "train/2.png", "test/1.png"):
        save(tmp_path / name, noise(4, 4))
        (tmp_path / name).write_bytes(b"no image")
    refusal(f"folder:{tmp_path}", "2 of 2 images broken")
    refusal(f"folder:{tmp_path}", "1 of 1 image broken", split="test")


def test_only_ten_broken_images_are_named(tmp_path):
    folder_of(tmp_path, [noise(4, 4)] * 13)
    for name in train_names(12):
        (tmp_path / name).write_bytes(b"")
    line = refusal(f"folder:{tmp_path}", "12 of 13 images broken", "and 2 more")
    assert line.count(".png") == 10


def _with_torn_bodies(root, count, torn):
    for label in "ab":
        for row in range(count):
            save(root / "train" / label / f"{row}.png", noise(16, 16, key=row))
    save(root / "test" / "a" / "0.png", noise(16, 16))
    for name in torn:
        whole = (root / "train" / name).read_bytes()
        (root / "train" / name).write_bytes(whole[: len(whole) // 2])


def test_a_streamed_source_names_the_broken_file_when_it_reads_it(tmp_path):
    _with_torn_bodies(tmp_path, 3, ["a/1.png"])
    source = open_data(f"folder:{tmp_path}", stream=True)
    with pytest.raises(UserError, match=r"a/1\.png.*broken.*--skip-broken") as caught:
        source.rows(np.array([0, 1]))
    assert "\n" not in str(caught.value)


def test_a_streamed_source_skips_to_the_next_good_image_of_the_class(tmp_path):
    _with_torn_bodies(tmp_path, 3, ["a/1.png", "a/2.png"])
    source = open_data(f"folder:{tmp_path}", stream=True, skip_broken=True)
    rows, broken = source.read(np.array([2, 0, 1, 4]))
    assert broken == (2, 1)
    assert (rows[0] == rows[1]).all()
    assert (rows[2] == rows[1]).all()
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_class_of_broken_images_cannot_be_skipped(tmp_path):
    _with_torn_bodies(tmp_path, 1, ["a/0.png"])
    source = open_data(f"folder:{tmp_path}", stream=True, skip_broken=True)
    with pytest.raises(UserError, match="every other image of its class"):
        source.rows(np.array([0]))


def test_names_of_a_streamed_source_take_little_memory(tmp_path):
    import pickle

    path = save(tmp_path / "one.png", noise(4, 4, 1))
    for number in range(2000):
        os.link(path, tmp_path / f"image_{number:06d}.png")
    source = open_data(f"folder:{tmp_path}", stream=True)
    assert len(pickle.dumps(source)) < 2000 * 40
    assert source.names.nbytes < 2000 * 30
