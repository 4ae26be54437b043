"""Networks: shapes for any image, rows that do not see each other, and how they begin."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from simulacra.networks.dcgan import Downsampler, Upsampler, initialise, pyramid
from simulacra.networks.mlp import MLP

SIZES = st.integers(4, 70)


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((28, 28), [(28, 28), (14, 14), (7, 7), (4, 4)]),
        ((64, 48), [(64, 48), (32, 24), (16, 12), (8, 6)]),
        ((8, 8), [(8, 8), (4, 4), (4, 4)]),
        ((6, 100), [(6, 100)] * 3),
        ((7, 100), [(7, 100), (4, 50), (4, 50)]),
        ((33, 17), [(33, 17), (17, 9), (9, 5)]),
    ],
)
def test_images_are_halved_rounding_up_while_the_smaller_side_is_at_least_seven(size, sizes):
    assert pyramid(*size) == sizes


@given(height=SIZES, width=SIZES, channels=st.integers(1, 4), batch_norm=st.booleans())
@example(4, 4, 1, True)
@example(7, 70, 3, False)
@example(9, 9, 2, True)
@settings(max_examples=15, deadline=None)
def test_every_size_goes_down_and_comes_up_again(height, width, channels, batch_norm):
    shape = (channels, height, width)
    images = Upsampler(5, shape, 2, batch_norm)(torch.randn(2, 5))
    assert images.shape == (2, *shape)
    assert images.abs().max() <= 1
    assert Downsampler(shape, 3, 2, batch_norm)(images).shape == (2, 3)


@given(height=SIZES, width=SIZES)
@settings(max_examples=8, deadline=None)
def test_every_pixel_depends_on_the_latent_and_moves_the_score(height, width):
    """With positive weights both networks rise in each of their inputs, wherever no pixel is left out."""
    up, down = Upsampler(3, (1, height, width), 2, False, nn.Identity), Downsampler((1, height, width), 1, 2, False)
    for parameter in (*up.parameters(), *down.parameters()):
        parameter.data.abs_()
    z = torch.rand(1, 3)
    assert (up(2 * z) > up(z)).all()
    x = torch.rand(1, 1, height, width, requires_grad=True)
    down(x).sum().backward()
    assert (x.grad > 0).all()


def test_rows_do_not_see_each_other_without_batch_norm():
    torch.manual_seed(0)
    up, down = Upsampler(5, (3, 18, 11), 4, batch_norm=False).double(), Downsampler((3, 18, 11), 2, 4, False).double()
    perceptron = MLP((3, 18, 11), (2,), 7).double()
    z = torch.randn(6, 5, dtype=torch.float64)
    images = up(z)
    for network, inputs in ((up, z), (down, images), (perceptron, images)):
        alone = torch.cat([network(row[None]) for row in inputs])
        assert torch.allclose(network(inputs), alone, atol=1e-12)


def test_batch_norm_is_in_all_but_the_layers_next_to_the_image():
    """Radford et al. 2016, §3: not in the generator's output layer, not in the discriminator's input layer."""
    up, down = Upsampler(5, (1, 32, 32), 4), Downsampler((1, 32, 32), 1, 4)
    assert [layer.num_features for layer in up.modules() if isinstance(layer, nn.BatchNorm2d)] == [16, 8, 4]
    assert [layer.num_features for layer in down.modules() if isinstance(layer, nn.BatchNorm2d)] == [8, 16]
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in Downsampler((1, 32, 32), 1, 4, False).modules())
    biased = [layer.bias is not None for layer in down.modules() if isinstance(layer, nn.Conv2d)]
    assert biased == [True, False, False]


def test_channels_double_up_to_eight_times():
    widths = [m.out_channels for m in Downsampler((3, 512, 512), 1, 2).modules() if isinstance(m, nn.Conv2d)]
    assert widths == [2, 4, 8, 16, 16, 16, 16]


def test_dcgan_begins_as_its_paper_says():
    torch.manual_seed(0)
    up = Upsampler(100, (3, 32, 32), 32)
    initialise(up)
    layers = [m for m in up.modules() if isinstance(m, nn.ConvTranspose2d | nn.Linear)]
    weights = torch.cat([layer.weight.detach().flatten() for layer in layers])
    assert abs(weights.mean()) < 5 * 0.02 / len(weights) ** 0.5
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    scales = torch.cat([m.weight.detach() for m in up.modules() if isinstance(m, nn.BatchNorm2d)])
    assert abs(scales.mean() - 1) < 5 * 0.02 / len(scales) ** 0.5
    assert scales.std().item() == pytest.approx(0.02, rel=0.3)
    assert all((p == 0).all() for name, p in up.named_parameters() if name.endswith("bias"))


@given(
    inputs=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    outputs=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    depth=st.integers(0, 3),
    n=st.integers(0, 3),
)
@settings(max_examples=25, deadline=None)
def test_perceptrons_take_and_give_any_shape(inputs, outputs, depth, n):
    network = MLP(tuple(inputs), tuple(outputs), 5, depth)
    assert network(torch.randn(n, *inputs)).shape == (n, *outputs)
    assert sum(isinstance(layer, nn.Linear) for layer in network.modules()) == depth + 1


def test_a_perceptron_has_its_nonlinearities_between_layers_and_its_final_one_at_the_end():
    network = MLP((2,), (3,), 5, 2, nn.Tanh, nn.Sigmoid)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["Flatten", "Linear", "Tanh", "Linear", "Tanh", "Linear", "Sigmoid"]
