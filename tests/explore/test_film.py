"""Sheets and films, read back."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from simulacra.data.spec import Spec
from simulacra.errors import MachineError, UserError
from simulacra.explore import film
from simulacra.explore.sheets import pairs_sheet

GREY = Spec(kind="image", shape=(1, 4, 4), classes=None)
COLOUR = Spec(kind="image", shape=(3, 5, 4), classes=None)
POINTS = Spec(kind="vector", shape=(2,), classes=None)


def grades(count: int, spec: Spec) -> torch.Tensor:
    """`count` frames of two flat pictures, the first brightening, the second darkening."""
    up = torch.linspace(-1, 1, count)
    return torch.stack([up, -up], dim=1)[:, :, None, None, None].expand(-1, -1, *spec.shape)


def test_a_sheet_has_a_row_for_each_thing(tmp_path: Path) -> None:
    film.write(grades(3, GREY), tmp_path / "new" / "x.png", GREY)
    sheet = np.asarray(Image.open(tmp_path / "new" / "x.png"))
    rows = [np.unique(row).tolist() for row in np.array_split(sheet, 2)]
    assert rows == [[0, 128, 255], [0, 128, 255]]
    first = sheet[sheet.shape[0] // 4]
    assert first[sheet.shape[1] // 6] == 0
    assert first[-sheet.shape[1] // 6] == 255


def test_a_gif_plays_there_and_back(tmp_path: Path) -> None:
    film.write(grades(5, GREY), tmp_path / "x.gif", GREY, fps=10, back=True)
    with Image.open(tmp_path / "x.gif") as moving:
        frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(moving)]
        assert moving.info["duration"] == 100
        assert moving.info["loop"] == 0
    height, width = frames[0].shape
    shades = [int(frame[height // 2, width // 4]) for frame in frames]
    # −1, −½, 0, ½, 1 are bytes 0, 64, 128, 191, 255, and of 64 greys those of number 0, 16, 32, 47, 63
    assert shades == [0, 65, 130, 190, 255, 190, 130, 65]


def test_colours_of_a_gif(tmp_path: Path) -> None:
    frames = -torch.ones(2, 1, *COLOUR.shape)
    frames[0, 0, 0], frames[1, 0, 2] = 1.0, 1.0
    film.write(frames, tmp_path / "x.gif", COLOUR)
    with Image.open(tmp_path / "x.gif") as moving:
        middles = [f.convert("RGB").getpixel((f.width // 2, f.height // 2)) for f in ImageSequence.Iterator(moving)]
    assert middles == [(255, 0, 0), (0, 0, 255)]


@pytest.mark.parametrize("spec", [GREY, COLOUR])
def test_an_mp4_holds_every_frame(tmp_path: Path, spec: Spec) -> None:
    av = pytest.importorskip("av")
    film.write(grades(6, spec), tmp_path / "x.mp4", spec, fps=12)
    with av.open(str(tmp_path / "x.mp4")) as played:
        assert played.streams.video[0].average_rate == 12
        frames = [frame.to_ndarray(format="gray") for frame in played.decode(video=0)]
    assert len(frames) == 6
    height, width = frames[0].shape
    shades = [int(frame[height // 2 if spec is GREY else height // 4, width // 4]) for frame in frames]
    assert shades == pytest.approx([0, 51, 102, 153, 204, 255], abs=8)


def test_points_are_scattered(tmp_path: Path) -> None:
    film.write(torch.rand(4, 3, 2), tmp_path / "x.png", POINTS)
    assert Image.open(tmp_path / "x.png").width > 100


@pytest.mark.parametrize(
    ("out", "spec", "still", "said"),
    [
        ("x.jpg", GREY, False, "cannot write '.jpg'"),
        ("x", GREY, False, "cannot write 'x'"),
        ("x.gif", GREY, True, "nothing here moves"),
        ("x.gif", POINTS, False, "points make no film"),
        ("x.png", Spec(kind="vector", shape=(3,), classes=None), False, "has no picture"),
        ("x.png", Spec(kind="image", shape=(2, 8, 8), classes=None), False, "has no picture"),
    ],
)
def test_what_cannot_be_written_is_refused(out: str, spec: Spec, still: bool, said: str) -> None:
    with pytest.raises(UserError, match=said):
        film.suffix_of(out, spec, still=still)


def test_an_mp4_without_av_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"simulacra\[video\]"):
        film.suffix_of("x.mp4", GREY)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot write"):
        film.write(grades(2, GREY), tmp_path / "file" / "x.gif", GREY)


def test_pairs_lie_above_each_other() -> None:
    x = torch.arange(10.0)[:, None, None, None]
    sheet = pairs_sheet(x, -x, GREY).flatten(2)[..., 0]  # [columns, rows]
    assert sheet.T.tolist() == [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [0, -1, -2, -3, -4, -5, -6, -7],
        [8, 9, 1, 1, 1, 1, 1, 1],  # white
        [-8, -9, 1, 1, 1, 1, 1, 1],
    ]
    assert pairs_sheet(torch.zeros(5, 2), torch.ones(5, 2), POINTS)[3].tolist() == [[0, 0], [1, 1]]
