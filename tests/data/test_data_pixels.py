"""Pictures that are made to work: each conversion against values worked out by hand."""

import struct
import zlib

import numpy as np
import pytest
from data_helpers import folder_of, noise, one, pixels_of, refusal, save
from PIL import Image

from simulacra.data import open_data
from simulacra.data.pixels import TURNS, fit, short_to_bytes, unit_to_bytes

NAME = "0001.png"


def test_plain_images_keep_every_bit(tmp_path):
    image = noise(5, 7)
    save(tmp_path / NAME, image)
    source = one(tmp_path)
    assert source.spec.shape == (3, 5, 7)
    assert (pixels_of(source) == image.transpose(2, 0, 1)).all()
    assert source.summary == "1 image, 5x7 RGB"


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize(("suffix", "options"), [(".png", {}), (".tiff", {}), (".webp", {"lossless": True})])
def test_exif_rotation_is_undone(tmp_path, turn, suffix, options):
    upright = Image.fromarray(noise(5, 9))
    undo = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}.get(turn, TURNS[turn])
    exif = Image.Exif()
    exif[0x0112] = turn
    stored = upright.transpose(undo)
    save(tmp_path / f"0001{suffix}", stored, exif=exif.tobytes() if suffix != ".tiff" else exif, **options)
    source = one(tmp_path)
    assert source.spec.shape == (3, 5, 9)
    assert "1 EXIF-rotated" in source.summary
    assert (pixels_of(source) == np.asarray(upright).transpose(2, 0, 1)).all()


def test_torn_exif_beside_sound_pixels_is_no_reason_to_refuse(tmp_path):
    save(tmp_path / "0001.jpg", noise(8, 8), exif=b"Exif\0\0torn")
    assert one(tmp_path, "0001.jpg").spec.shape == (3, 8, 8)


def test_palette_is_looked_up(tmp_path):
    indices = np.arange(16, dtype=np.uint8).reshape(4, 4) % 4
    im = Image.fromarray(indices).copy()
    im.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30])
    save(tmp_path / NAME, im)
    source = one(tmp_path)
    assert "1 palette converted" in source.summary
    assert pixels_of(source)[:, 0].T.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]


def test_a_grey_palette_makes_a_grey_set(tmp_path):
    im = Image.fromarray(noise(4, 4, 1) % 4).copy()
    im.putpalette([0, 0, 0, 50, 50, 50, 100, 100, 100, 200, 200, 200])
    save(tmp_path / NAME, im)
    assert one(tmp_path).spec.shape == (1, 4, 4)


@pytest.mark.parametrize(("alpha", "expected"), [(255, [200, 100, 0]), (0, [255, 255, 255]), (51, [244, 224, 204])])
def test_alpha_is_laid_over_white(tmp_path, alpha, expected):
    save(tmp_path / NAME, np.tile(np.array([200, 100, 0, alpha], np.uint8), (4, 4, 1)))
    source = one(tmp_path)
    assert "1 alpha laid over white" in source.summary
    assert np.abs(pixels_of(source)[:, 0, 0].astype(int) - expected).max() <= 1


def test_grey_with_alpha_stays_grey(tmp_path):
    save(tmp_path / NAME, Image.new("LA", (4, 4), (100, 0)))
    source = one(tmp_path)
    assert source.spec.channels == 1
    assert (pixels_of(source) == 255).all()


def test_a_transparent_palette_colour_becomes_white(tmp_path):
    im = Image.fromarray(np.zeros((4, 4), np.uint8)).copy()
    im.putpalette([255, 0, 0])
    save(tmp_path / NAME, im, transparency=0)
    assert (pixels_of(one(tmp_path)) == 255).all()


def test_cmyk_becomes_rgb(tmp_path):
    save(tmp_path / "0001.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=100)
    source = one(tmp_path, "0001.jpg")
    assert "1 CMYK converted" in source.summary
    red, green, blue = pixels_of(source)[:, 4, 4].astype(int)
    assert red > 245
    assert green < 10
    assert blue < 10


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_scaled_not_cut(tmp_path, suffix):
    values = np.array([[0, 128, 129, 257], [300, 1000, 32768, 65535]] * 2, np.uint16)
    save(tmp_path / f"0001{suffix}", values)
    source = one(tmp_path)
    assert source.spec.channels == 1
    assert "1 16-bit scaled" in source.summary
    assert pixels_of(source)[0, :2].tolist() == [[0, 0, 1, 1], [1, 4, 128, 255]]


def png_of_shorts(values, colour):
    """A 16-bit PNG of values [H, W, C]; Pillow writes none in colour."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def tiff_of_shorts(values):
    """An uncompressed 16-bit RGB TIFF of values [H, W, 3]."""
    height, width, _ = values.shape
    data = values.astype("<u2").tobytes()
    bits = 8 + len(data)
    tags = [(256, 1, width), (257, 1, height), (258, 3, bits), (259, 1, 1), (262, 1, 2), (273, 1, 8), (277, 1, 3)]
    tags += [(278, 1, height), (279, 1, len(data))]
    table = b"".join(struct.pack("<HHII", tag, 3, count, value) for tag, count, value in tags)
    front = struct.pack("<2sHI", b"II", 42, bits + 6)
    return front + data + struct.pack("<3H", 16, 16, 16) + struct.pack("<H", len(tags)) + table + bytes(4)


@pytest.mark.parametrize(
    ("suffix", "encode", "channels"),
    [
        (".png", lambda values: png_of_shorts(values, 2), 3),
        (".png", lambda values: png_of_shorts(values, 6), 4),
        (".png", lambda values: png_of_shorts(values, 4), 2),
        (".tif", tiff_of_shorts, 3),
    ],
)
def test_sixteen_bits_that_pillow_cuts_are_said(tmp_path, suffix, encode, channels):
    values = np.random.default_rng(0).integers(0, 65536, (5, 6, channels))
    (tmp_path / f"0001{suffix}").write_bytes(encode(values))
    source = one(tmp_path, f"0001{suffix}")
    assert "1 16-bit cut to 8 bits" in source.summary
    if channels == 3:
        assert (pixels_of(source) == (values >> 8).transpose(2, 0, 1)).all()


def test_short_to_bytes_rounds_to_nearest():
    values = np.arange(65536)
    assert (short_to_bytes(values) == np.rint(values / 257)).all()


def test_float_tiff_in_zero_to_one_is_scaled(tmp_path):
    values = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    save(tmp_path / "0001.tiff", values)
    source = one(tmp_path)
    assert "1 float scaled" in source.summary
    assert (pixels_of(source)[0] == np.rint(values * 255)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.5, -0.1])
def test_float_tiff_outside_zero_to_one_is_broken(tmp_path, bad):
    values = np.zeros((4, 4), np.float32)
    values[1, 1] = bad
    save(tmp_path / "0001.tiff", values)
    refusal(f"folder:{tmp_path}", "'0001.tiff'", "float pixels")


def test_half_precision_scales_without_loss():
    assert unit_to_bytes(np.arange(256, dtype=np.float16) / 255).tolist() == list(range(256))


def test_integer_tiff_beyond_sixteen_bits_is_broken(tmp_path):
    save(tmp_path / "0001.tiff", np.full((4, 4), 70000, np.int32))
    refusal(f"folder:{tmp_path}", "'0001.tiff'", "0..65535")


def test_animations_give_their_first_frame(tmp_path):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue")]
    save(tmp_path / "0001.gif", frames[0], save_all=True, append_images=frames[1:])
    source = one(tmp_path)
    assert "1 cut to the first frame" in source.summary
    assert pixels_of(source)[:, 0, 0].tolist() == [255, 0, 0]


def test_bilevel_images_become_grey(tmp_path):
    save(tmp_path / NAME, Image.fromarray(np.eye(4, dtype=np.uint8) * 255).convert("1"))
    assert (pixels_of(one(tmp_path))[0] == np.eye(4) * 255).all()


def test_mixed_sizes_are_cut_to_the_middle_and_resized(tmp_path):
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 32:64] = 200
    folder_of(tmp_path, [wide, noise(40, 40)])
    source = open_data(f"folder:{tmp_path}", size=(16, 16))
    assert (pixels_of(source, 0)[:, :, 3:-3] >= 199).all()
    assert "mixed sizes (32..40x40..96) centre-cropped and resized (Lanczos, antialiased) to 16x16" in source.summary


def test_mixed_sizes_default_to_64_and_say_so(tmp_path):
    folder_of(tmp_path, [noise(70, 80), noise(90, 60)])
    source = open_data(f"folder:{tmp_path}")
    assert source.spec.shape == (3, 64, 64)
    assert "to 64x64 by default: choose another with size" in source.summary


def test_the_crop_is_centred_and_keeps_the_aspect():
    ramp = np.tile(np.arange(64, dtype=np.float32)[:, None], (1, 32))
    small = np.asarray(fit(Image.fromarray(ramp), (16, 16)))
    assert np.allclose(small[:, 0], 16 + np.arange(16) * 2 + 0.5, atol=0.6)
    assert np.allclose(small + small[::-1], 63, atol=1e-3)


def test_resizing_is_antialiased():
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    small = np.asarray(fit(Image.fromarray(board), (8, 8))).astype(int)
    assert np.abs(small - 127.5).max() < 12


def test_a_crop_of_the_same_scale_changes_no_pixel():
    image = noise(8, 12)
    assert (np.asarray(fit(Image.fromarray(image), (8, 8))) == image[:, 2:10]).all()


def test_all_grey_is_one_channel_and_one_colour_image_makes_three(tmp_path):
    folder_of(tmp_path / "grey", [noise(4, 4, 1), noise(4, 4, 1, 1)])
    folder_of(tmp_path / "both", [noise(4, 4, 1), noise(4, 4, 3)])
    assert open_data(f"folder:{tmp_path / 'grey'}").spec.channels == 1
    both = open_data(f"folder:{tmp_path / 'both'}")
    assert both.spec.channels == 3
    assert (pixels_of(both) == noise(4, 4, 1)).all()


def test_channels_can_be_chosen(tmp_path):
    image = noise(4, 4)
    save(tmp_path / NAME, image)
    grey = one(tmp_path, channels=1)
    assert "colour turned to grey" in grey.summary
    assert (pixels_of(grey)[0] == np.asarray(Image.fromarray(image).convert("L"))).all()
    folder_of(tmp_path / "grey", [noise(4, 4, 1)])
    assert open_data(f"folder:{tmp_path / 'grey'}", channels=3).spec.channels == 3
