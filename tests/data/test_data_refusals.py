"""What is refused: always a UserError of one line that names the thing and the way out."""

import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from data_helpers import folder_of, noise, png, refusal, save, train_names, zip_of
from PIL import Image

from simulacra.data import data_words, open_data
from simulacra.data.request import Request
from simulacra.errors import UserError


def test_unknown_words_are_answered_with_the_nearest(tmp_path):
    refusal("mnits", "data set", "mnits", "mnist")
    refusal("", "data set")
    assert "digits" in data_words()
    assert "folder:PATH" in data_words()


def test_a_bare_path_is_told_its_prefix(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"")
    (tmp_path / "a.zip").write_bytes(b"")
    refusal(str(tmp_path), f"folder:{tmp_path}")
    refusal(str(tmp_path / "a.npz"), f"npz:{tmp_path}")
    refusal(str(tmp_path / "a.zip"), f"zip:{tmp_path}")


@pytest.mark.parametrize("word", ["folder:", "zip:", "npz:", "hf:", "folder:\0"])
def test_an_empty_argument_is_refused(word):
    refusal(word, "names nothing")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"split": "val"}, "split"),
        ({"size": (3, 8)}, "3x8"),
        ({"size": (-1, 8)}, "-1x8"),
        ({"size": 8}, "size is 8"),
        ({"size": (8, 8, 3)}, "size is"),
        ({"size": (8.0, 8)}, "size is"),
        ({"channels": 2}, "channels is 2"),
    ],
)
def test_senseless_requests_are_refused(options, part):
    refusal("digits", part, **options)
    with pytest.raises(UserError):
        Request(word="digits", **options)


def test_points_have_no_size():
    refusal("ring", "points, which have no size", size=(8, 8))


@pytest.mark.parametrize("kind", ["folder", "zip", "npz"])
def test_a_missing_path_is_named(tmp_path, kind):
    refusal(f"{kind}:{tmp_path}/gone\nline", "gone", "check the path")


def test_files_and_folders_are_told_apart(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"")
    refusal(f"folder:{tmp_path / 'a.zip'}", "is a file, not a folder")
    refusal(f"zip:{tmp_path}", "is a folder", "folder:")
    refusal(f"npz:{tmp_path}", "is a folder", "folder:")


def test_an_unreadable_folder_is_named(tmp_path, monkeypatch):
    folder_of(tmp_path, [noise(4, 4)])
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    refusal(f"folder:{tmp_path}", "closed", "Permission denied", "permissions")


def test_no_image_at_all(tmp_path):
    refusal(f"folder:{tmp_path}", "no image in folder", "0 other files")
    (tmp_path / "a.txt").write_text("x")
    refusal(f"folder:{tmp_path}", "1 other files")


def test_no_usable_image(tmp_path):
    folder_of(tmp_path, [noise(4, 4)] * 2)
    for name in train_names(2):
        (tmp_path / name).write_bytes(b"x")
    for skip in (False, True):
        refusal(f"folder:{tmp_path}", "no usable image", train_names(1)[0], skip_broken=skip)


def test_images_under_four_pixels(tmp_path):
    folder_of(tmp_path, [noise(3, 9)])
    refusal(f"folder:{tmp_path}", "3x9", "under 4x4")


def test_an_empty_split(tmp_path):
    folder_of(tmp_path, [noise(4, 4)])
    refusal(f"folder:{tmp_path}", "test split", "empty", "train/ and test/", split="test")


def test_a_validation_folder_is_not_taken_for_a_class(tmp_path):
    for split in ("train", "val"):
        save(tmp_path / split / "1.png", noise(4, 4))
    refusal(f"folder:{tmp_path}", "val/", "rename")


def test_postscript_in_disguise_is_never_run(tmp_path):
    (tmp_path / train_names(1)[0]).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    refusal(f"folder:{tmp_path}", "not an image of a known format")


def test_a_special_file_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "0001.png")
    refusal(f"folder:{tmp_path}", "no image")


def test_decompression_bombs(tmp_path, monkeypatch):
    folder_of(tmp_path, [noise(8, 8), noise(4, 4)])
    for limit, skip in ((40, False), (20, False)):  # Pillow warns above its limit, and raises above twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        refusal(f"folder:{tmp_path}", "bomb", train_names(1)[0], skip_broken=skip)


@pytest.mark.parametrize("name", ["../a.png", "a/../../b.png", "/etc/a.png", "..\\a.png", "C:\\a.png"])
def test_zip_members_that_point_outside(tmp_path, name):
    path = zip_of(tmp_path / "a.zip", {train_names(1)[0]: png(noise(4, 4)), name: png(noise(4, 4))})
    refusal(f"zip:{path}", "points outside")


def test_zips_that_are_none(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(b"no zip at all")
    refusal(f"zip:{path}", "not a zip file")
    whole = zip_of(path, {name: png(noise(8, 8)) for name in train_names(3)}).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refusal(f"zip:{path}", "torn")


def test_a_torn_member_is_a_broken_image(tmp_path):
    names = train_names(2)
    path = zip_of(tmp_path / "a.zip", {name: png(noise(16, 16)) for name in names})
    whole = bytearray(path.read_bytes())
    whole[60] ^= 255
    path.write_bytes(whole)
    refusal(f"zip:{path}", "1 of 2 images broken", names[0])
    assert len(open_data(f"zip:{path}", skip_broken=True)) == 1


def test_an_encrypted_zip(tmp_path):
    path = zip_of(tmp_path / "a.zip", {train_names(1)[0]: png(noise(4, 4))})
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(whole)
    refusal(f"zip:{path}", "encrypted", "password")


def test_a_rare_packing(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("0001.png", png(noise(4, 4)))
    refusal(f"zip:{tmp_path / 'a.zip'}", "deflate")


def test_a_name_twice_in_a_zip(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0001.png", png(noise(4, 4)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("0001.png", png(noise(4, 4)))
    refusal(f"zip:{path}", "'0001.png' twice")


def test_zip_bombs_by_size_and_by_ratio(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"0001.png": bytes(20 << 20)})
    refusal(f"zip:{path}", "bomb", "20,971,520 bytes")
    whole = bytearray(path.read_bytes())
    entry = whole.index(b"PK\x01\x02")
    whole[entry + 20 : entry + 28] = struct.pack("<II", 1 << 28, 3 << 29)
    path.write_bytes(whole)
    refusal(f"zip:{path}", "bomb")


def test_a_member_that_unpacks_to_more_than_it_says_is_broken(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"0001.png": bytes(1 << 20)})
    whole = bytearray(path.read_bytes())
    entry = whole.index(b"PK\x01\x02")
    whole[entry + 24 : entry + 28] = struct.pack("<I", 100)
    whole[entry + 16 : entry + 20] = struct.pack("<I", zlib.crc32(bytes(100)))
    path.write_bytes(whole)
    refusal(f"zip:{path}", "torn archive member")


def test_an_index_out_of_range_is_a_bug_and_not_a_row(tmp_path):
    folder_of(tmp_path, [noise(4, 4)])
    for stream in (False, True):
        with pytest.raises(IndexError):
            open_data(f"folder:{tmp_path}", stream=stream).rows(np.array([1]))
