"""Resizers: what they do to patterns whose result is known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from simulacra.errors import UserError
from simulacra.features.resizing import RESIZERS, find_resizer

ANTIALIASED = ["bicubic", "bilinear", "lanczos"]
WILD = st.tuples(st.integers(1, 20), st.integers(1, 20))


def checkerboard(side):
    rows = torch.arange(side)
    return (255 * ((rows[:, None] + rows) % 2)).to(torch.uint8).expand(1, 1, side, side)


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize("name", ANTIALIASED)
def test_a_checkerboard_shrinks_to_grey_where_antialiased(name):
    """Half of the pixels are 255, so each new one should be near 127.5; away from the border, where filters are cut."""
    small = RESIZERS[name](checkerboard(64), (16, 16))[..., 2:-2, 2:-2]
    assert (small - 127.5).abs().max() < 4


def test_a_checkerboard_aliases_where_not():
    """Pixel i of 16 lies at 4i, an even row and column: black, all of them."""
    assert RESIZERS["tf-bilinear"](checkerboard(64), (16, 16)).eq(0).all()


def test_tf_bilinear_by_hand():
    """3 pixels to 4: places 0, .75, 1.5, 2.25; the last lies beyond the last pixel, which repeats."""
    row = torch.tensor([[[[0, 100, 200]]]], dtype=torch.uint8)
    assert RESIZERS["tf-bilinear"](row, (1, 4)).flatten().tolist() == [0.0, 75.0, 150.0, 200.0]


def test_tf_bilinear_is_torch_fidelitys():
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as theirs

    images = noise(2, 3, 13, 40)
    assert torch.allclose(
        RESIZERS["tf-bilinear"](images, (31, 17)), theirs(images.float(), (31, 17), align_corners=False), atol=1e-3
    )


def test_lanczos_is_pillows():
    images = noise(2, 3, 9, 14)
    ours = RESIZERS["lanczos"](images, (6, 21))
    pillow = Image.fromarray(images[1, 2].numpy()).resize((21, 6), Image.Resampling.LANCZOS)
    assert (ours[1, 2].numpy() == np.asarray(pillow)).all()


@pytest.mark.parametrize("name", sorted(RESIZERS))
def test_images_of_the_right_size_stay_as_they_are(name):
    images = noise(3, 1, 5, 7)
    same = RESIZERS[name](images, (5, 7))
    assert same.dtype == torch.float32
    assert torch.equal(same, images.float())


@pytest.mark.parametrize("name", sorted(RESIZERS.keys() - {"none"}))
@given(old=WILD, new=WILD, value=st.integers(0, 255))
def test_the_whole_image_is_stretched_within_its_range(name, old, new, value):
    resizer = RESIZERS[name]
    resized = resizer(noise(2, 1, *old, seed=value), new)
    assert resized.shape == (2, 1, *new)
    assert resized.min() >= 0
    assert resized.max() <= 255
    flat = resizer(torch.full((1, 3, *old), value, dtype=torch.uint8), new)
    assert (flat - value).abs().max() < 1e-3


def test_bicubic_overshoots_and_is_clamped():
    edge = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    edge[..., 4:] = 255
    free = torch.nn.functional.interpolate(edge.float(), (16, 16), mode="bicubic", antialias=True)
    assert free.max() > 256
    assert RESIZERS["bicubic"](edge, (16, 16)).max() == 255


def test_none_refuses_to_resize():
    with pytest.raises(UserError, match="5x7 pixels would have to be resized to 6x7"):
        RESIZERS["none"](noise(1, 1, 5, 7), (6, 7))


def test_an_unknown_name_is_refused():
    assert find_resizer("lanczos").name == "lanczos"
    with pytest.raises(UserError, match="unknown resizer 'bicubik': did you mean 'bicubic'"):
        find_resizer("bicubik")
