"""Networks: shapes for any image, rows that do not see each other, and how they begin."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from simulacra.networks.activations import ACTIVATIONS, Maxout
from simulacra.networks.dcgan import Downsampler, Upsampler, initialise, pyramid
from simulacra.networks.mlp import MLP, Exact, Masking
from simulacra.networks.noisy import Noise, NoisyMLP
from simulacra.networks.residual import DownBlock, ResidualDiscriminator, ResidualGenerator, UpBlock
from simulacra.networks.spectral import spectral_norms, spectrally_normalised, stored_norms
from simulacra.penalties.gradient import r1

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


def test_with_a_dense_layer_they_are_halved_while_the_smaller_side_stays_at_seven():
    assert pyramid(28, 28, least=7) == [(28, 28), (14, 14), (7, 7)]
    assert pyramid(64, 26, least=7) == [(64, 26), (32, 13), (16, 7)]
    assert pyramid(64, 64, least=7) == [(64, 64), (32, 32), (16, 16), (8, 8)]


def test_the_networks_of_infogan_have_as_many_weights_as_its_table_says():
    """Chen et al. 2016, table 1: 64 and 128 channels, 1024 units; batch norm's are two a channel or unit."""
    convolutions = 16 * 64 * (1 + 128)
    up = Upsampler(74, (1, 28, 28), 64, dense=1024)
    dense = 74 * 1024 + 1024 * 128 * 49
    assert sum(p.numel() for p in up.parameters()) == convolutions + dense + 2 * (1024 + 128 + 64) + 1
    down = Downsampler((1, 28, 28), 1, 64, dense=1024)
    dense = 128 * 49 * 1024 + 1024
    assert sum(p.numel() for p in down.parameters()) == convolutions + dense + 64 + 2 * (128 + 1024) + 1


@given(height=SIZES, width=SIZES, channels=st.integers(1, 4), batch_norm=st.booleans(), dense=st.sampled_from([0, 3]))
@example(4, 4, 1, True, 0)
@example(7, 70, 3, False, 5)
@example(9, 9, 2, True, 0)
@settings(max_examples=15, deadline=None)
def test_every_size_goes_down_and_comes_up_again(height, width, channels, batch_norm, dense):
    shape = (channels, height, width)
    images = Upsampler(5, shape, 2, batch_norm, dense=dense)(torch.randn(2, 5))
    assert images.shape == (2, *shape)
    assert images.abs().max() <= 1
    assert Downsampler(shape, 3, 2, batch_norm, dense=dense)(images).shape == (2, 3)


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


# Maxout (Goodfellow et al. 2013)


@pytest.mark.parametrize(("pieces", "largest"), [(1, [1, 5, 2, 4, 3, -9]), (2, [4, 5, 2]), (3, [3, 5]), (6, [5])])
def test_a_maxout_unit_is_the_largest_of_pieces_that_are_n_apart(pieces, largest):
    """Of 1 5 2 4 3 −9: in two pieces (1, 4), (5, 3), (2, −9); in three (1, 2, 3), (5, 4, −9)."""
    x = torch.tensor([[1.0, 5.0, 2.0, 4.0, 3.0, -9.0]])
    both = Maxout(pieces)(torch.cat([x, -x]))
    assert both[0].tolist() == largest
    assert torch.equal(both[1], -x.view(pieces, -1).min(0).values)
    assert Maxout(pieces)(x[:0]).shape == (0, len(largest))


def test_the_gradient_goes_to_the_largest_piece_and_can_be_differentiated_again():
    """Of 1 5 2 4 3 −9 in three pieces 3 and 5 are passed on, y = 3³ + 5³: dy is 27 and 75; ∇(27² + 75²) = 36·3³, 36·5³
    at these two."""
    x = torch.tensor([[1.0, 5.0, 2.0, 4.0, 3.0, -9.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad((Maxout(3)(x) ** 3).sum(), x, create_graph=True)
    assert gradient.tolist() == [[0, 75, 0, 0, 27, 0]]
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    assert second.tolist() == [[0, 4500, 0, 0, 972, 0]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_equal_pieces_share_the_gradient_as_in_the_reduction_of_torch(dtype):
    """Integers from 0 to 2 in six pieces are equal often."""
    x = torch.randint(3, (50, 6 * 7), generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    weights = torch.randn(50, 7, generator=torch.Generator().manual_seed(1)).to(dtype)
    ours, theirs = (torch.autograd.grad(y, x, weights)[0] for y in (Maxout(6)(x), x.unflatten(1, (6, -1)).amax(1)))
    assert torch.equal(ours, theirs) if dtype != torch.bfloat16 else torch.allclose(ours, theirs, rtol=2**-7)


def test_the_gradients_of_maxout_are_derivatives_up_to_the_third():
    x = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def bent(x):
        return Maxout(4)(x) ** 4

    def slope(x):
        return torch.autograd.grad(bent(x).sum(), x, create_graph=True)[0]

    assert torch.autograd.gradcheck(bent, x)
    assert torch.autograd.gradgradcheck(bent, x)
    assert torch.autograd.gradgradcheck(slope, x)


def test_r1_of_a_maxout_critic_by_hand():
    """D(x) = v max(w₁x, w₂x): at x = 1, w = (2, −3), v = 5 the slope is 10 and γ/2·100 is 50; its derivatives are
    v²w₁ = 50 for w₁, none for w₂, vw₁² = 20 for v."""
    critic = MLP((1,), (1,), 1, 1, maxout=2)
    _, hidden, _, last, _ = critic.layers
    with torch.no_grad():
        hidden.weight.copy_(torch.tensor([[2.0], [-3.0]]))
        last.weight.fill_(5.0)
        for layer in (hidden, last):
            layer.bias.zero_()
    penalty = r1(critic, torch.ones(1, 1), 1.0)
    penalty.sum().backward()
    assert penalty.tolist() == [50.0]
    assert hidden.weight.grad.tolist() == [[50.0], [0.0]]
    assert last.weight.grad.tolist() == [[20.0]]


# Perceptrons with batch norm, maxout, exact ends


def test_a_perceptrons_batch_norm_is_before_the_nonlinearity_of_layers_without_bias():
    network = MLP((2,), (3,), 5, 2, nn.Tanh, batch_norm=True)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["Flatten", *["Linear", "BatchNorm1d", "Tanh"] * 2, "Linear", "Identity"]
    assert [layer.bias is None for layer in network.layers if isinstance(layer, nn.Linear)] == [True, True, False]


def test_batch_norm_before_a_relu_by_hand():
    """1 and 3 have mean 2 and deviation 1: they become −1 and 1, then 0 and 1, and 2y + ½ gives ½ and 2½. Norm after
    the ReLU would give −1½ and 2½."""
    network = MLP((1,), (1,), 1, 1, batch_norm=True)
    with torch.no_grad():
        network.layers[1].weight.fill_(1.0)
        network.layers[-2].weight.fill_(2.0)
        network.layers[-2].bias.fill_(0.5)
    assert torch.allclose(network(torch.tensor([[1.0], [3.0]])), torch.tensor([[0.5], [2.5]]), atol=1e-4)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_perceptron_of_maxout_units_has_so_many_linear_ones_each_and_no_activation(batch_norm):
    network = MLP((2,), (3,), 5, 2, nn.Tanh, maxout=4, batch_norm=batch_norm)
    linear = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(2, 20), (5, 20), (5, 3)]
    assert [m.num_features for m in network.layers if isinstance(m, nn.BatchNorm1d)] == [20, 20] * batch_norm
    assert [m.pieces for m in network.layers if isinstance(m, Maxout)] == [4, 4]
    assert not any(isinstance(layer, nn.Tanh) for layer in network.layers)
    x = torch.randn(6, 2)
    if not batch_norm:
        pieces = (linear[0](x)).view(6, 4, 5)
        assert torch.equal(network.layers[:3](x), pieces.amax(1))


def test_a_perceptron_loses_shares_of_its_inputs_while_it_learns_alone():
    """Weights are 1: of n inputs at 1 and a hidden unit, a share of ½ leaves 2 times those kept, and those are n/2 ± 4
    deviations of √n/2."""
    n = 4096
    network = MLP((n,), (1,), 1, 1, dropout=(0.5,))
    for name, parameter in network.named_parameters():
        nn.init.constant_(parameter, float(name.endswith("weight")))
    torch.manual_seed(0)
    kept = network(torch.ones(2, n)) / 2
    assert not torch.equal(kept[0], kept[1])
    assert (kept - n / 2).abs().max() < 4 * n**0.5 / 2
    assert torch.equal(network.eval()(torch.ones(2, n)), torch.full((2, 1), float(n)))


def test_lost_pixels_go_black_and_the_others_stand_out_by_what_was_lost():
    """Of pixels in [−1, 1] what is left is black, −1, or is twice as far above it, as plain dropout leaves those in
    [0, 1]; only the first layer has pixels."""
    network = MLP((4096,), (1,), 2, 1, dropout=(0.5, 0.5), pixels=True)
    assert [type(m) for m in network.layers if isinstance(m, nn.Dropout)] == [Masking, nn.Dropout]
    lose = network.layers[1]
    brightness = torch.rand(4096)
    torch.manual_seed(0)
    lost = lose(2 * brightness - 1)
    torch.manual_seed(0)
    assert torch.allclose(lost, 2 * nn.Dropout(0.5)(brightness) - 1, atol=1e-6)
    assert (lost == -1).float().mean().sub(0.5).abs() < 4 * 0.5 / 64
    assert torch.equal(lose(torch.full((9,), -1.0)), torch.full((9,), -1.0))
    assert torch.allclose(lose.eval()(2 * brightness - 1), 2 * brightness - 1, atol=1e-6)


def bfloat16():
    return torch.autocast("cpu", torch.bfloat16)


def identity(**options):
    """x as a perceptron of one unit, for positive x."""
    network = MLP((1,), (1,), 1, **options)
    for name, parameter in network.named_parameters():
        nn.init.constant_(parameter, float(name.endswith("weight")))
    return network


def test_coordinates_that_bfloat16_would_round_away_are_kept_by_exact_ends_alone():
    """1 + 2⁻¹² lies between 1 and the next number of bfloat16, 1 + 2⁻⁷."""
    x = torch.tensor([[1.0], [1 + 2**-12]])
    with bfloat16():
        kept, lost = identity(depth=1, exact=True)(x), identity(depth=1)(x)
    assert torch.equal(kept, x)
    assert kept.dtype == torch.float32
    assert torch.equal(lost.float(), torch.ones(2, 1))
    assert lost.dtype == torch.bfloat16


@pytest.mark.parametrize("maxout", [0, 3])
def test_exact_ends_compute_in_float32_what_is_between_them_does_not(maxout):
    torch.manual_seed(0)
    network = MLP((2,), (3,), 16, 3, maxout=maxout, exact=True)
    layers = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
    assert [isinstance(layer, Exact) for layer in layers] == [True, False, False, True]
    fed, told = [], []
    for layer in layers:
        layer.register_forward_hook(lambda module, inputs, output: fed.append(inputs[0]) or told.append(output))
    x = 100 + torch.rand(5, 2)
    with bfloat16():
        out = network(x)
    assert [y.dtype for y in told] == [torch.float32, torch.bfloat16, torch.bfloat16, torch.float32]
    assert torch.equal(told[0], torch.nn.functional.linear(x, layers[0].weight, layers[0].bias))
    last = torch.nn.functional.linear(fed[3].float(), layers[3].weight, layers[3].bias)
    assert torch.equal(out, last)
    assert out.dtype == torch.float32


def test_a_perceptron_of_one_exact_layer_is_the_same_with_autocast_and_without_gradients_included():
    torch.manual_seed(0)
    network = MLP((2,), (1,), 8, 1, ACTIVATIONS["leaky"], exact=True)
    x = 100 + torch.rand(5, 2)
    with bfloat16():
        within = network(x)
    gradients = torch.autograd.grad(within.square().sum(), [*network.parameters()])
    without = network(x)
    expected = torch.autograd.grad(without.square().sum(), [*network.parameters()])
    assert torch.equal(within, without)
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))


def test_exact_layers_keep_float64():
    network = MLP((1,), (1,), 3, exact=True).double()
    assert network(torch.ones(2, 1, dtype=torch.float64)).dtype == torch.float64


# DCGAN with other nonlinearities and equal channels


def test_the_nonlinearity_of_dcgan_is_the_one_asked_for_everywhere():
    up = Upsampler(5, (1, 32, 32), 4, final=nn.Identity, activation=nn.Tanh)
    down = Downsampler((1, 32, 32), 1, 4, activation=nn.Tanh)
    for network in (up, down):
        kinds = [type(m).__name__ for m in network.modules() if isinstance(m, nn.Tanh | nn.ReLU | nn.LeakyReLU)]
        assert kinds == ["Tanh"] * 3


def test_tanh_networks_without_biases_are_odd_functions():
    """f(−x) = −f(x), which leaky or plain ReLU is not."""
    torch.manual_seed(0)
    up, down = Upsampler(5, (3, 18, 11), 4, False, activation=nn.Tanh), Downsampler((3, 18, 11), 1, 4, False, nn.Tanh)
    for network, shape in ((up, (5,)), (down, (3, 18, 11))):
        for name, parameter in network.double().named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
        x = torch.randn(2, *shape, dtype=torch.float64)
        assert torch.allclose(network(-x), -network(x), atol=1e-12)
        assert network(x).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("constant", "first", "channels"),
    [(False, 16, [(16, 8), (8, 4), (4, 3)]), (True, 4, [(4, 4), (4, 4), (4, 3)])],
)
def test_channels_are_equal_everywhere_or_doubled_at_each_halving(constant, first, channels):
    up = Upsampler(5, (3, 32, 32), 4, constant=constant)
    layers = [m for m in up.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert next(m for m in up.modules() if isinstance(m, nn.Unflatten)).unflattened_size == (first, 4, 4)
    assert [(layer.in_channels, layer.out_channels) for layer in layers] == channels
    norms = [m.num_features for m in up.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == [first, *(b for _, b in channels[:-1])]


@given(height=SIZES, width=SIZES)
@example(4, 4)
@settings(max_examples=8, deadline=None)
def test_equal_channels_go_to_every_size(height, width):
    assert Upsampler(5, (3, height, width), 2, constant=True)(torch.randn(2, 5)).shape == (2, 3, height, width)


# Residual blocks (Miyato et al. 2018)

sizes = pytest.mark.parametrize("size", [(8, 8), (28, 28), (32, 32), (48, 32), (5, 7), (7, 30), (33, 17)])


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@sizes
@pytest.mark.parametrize("channels", [1, 3])
def test_residual_networks_go_to_every_size_and_back(size, channels):
    images = ResidualGenerator(5, (channels, *size), 4)(torch.randn(2, 5))
    assert images.shape == (2, channels, *size)
    assert images.abs().max() <= 1
    assert ResidualDiscriminator((channels, *size), 3, 4)(images).shape == (2, 3)


@sizes
def test_every_pixel_depends_on_the_latent_and_moves_the_score_of_residual_networks(size):
    """With positive weights, and batch norm that changes nothing, both networks rise in each of their inputs."""
    up, down = ResidualGenerator(3, (1, *size), 2, nn.Identity).eval(), ResidualDiscriminator((1, *size), 1, 2)
    for parameter in (*up.parameters(), *down.parameters()):
        parameter.data.abs_()
    z = torch.rand(1, 3)
    assert (up(2 * z) > up(z)).all()
    x = torch.rand(1, 1, *size, requires_grad=True)
    down(x).sum().backward()
    assert (x.grad > 0).all()


@pytest.mark.parametrize(
    ("size", "coarsest", "ups", "halvings"),
    [
        ((32, 32), (4, 4), 3, [True, True, False, False]),
        ((28, 28), (4, 4), 3, [True, True, False, False]),
        ((64, 48), (8, 6), 3, [True, True, False, False]),
        ((8, 8), (4, 4), 1, [True, False, False]),
        ((5, 7), (5, 7), 0, [False, False, False]),
        ((64, 64), (4, 4), 4, [True, True, True, False, False]),
    ],
)
def test_the_depth_of_residual_networks_follows_from_the_size(size, coarsest, ups, halvings):
    """At 32 × 32 the paper's Table 4: up from 4 × 4 in three blocks; down in two, then two that keep the size."""
    up, down = ResidualGenerator(5, (3, *size), 2), ResidualDiscriminator((3, *size), 1, 2)
    assert next(m for m in up.modules() if isinstance(m, nn.Unflatten)).unflattened_size == (2, *coarsest)
    assert sum(any(isinstance(m, nn.Upsample) for m in block.modules()) for block in up.layers) == ups
    blocks = [block for block in down.blocks if isinstance(block, DownBlock)]
    assert [any(isinstance(m, nn.AvgPool2d) for m in block.modules()) for block in blocks] == halvings


def test_only_the_block_next_to_the_image_begins_without_relu():
    down = ResidualDiscriminator((3, 32, 32), 1, 4)
    begins = [type(block.residual[0]).__name__ for block in down.blocks if isinstance(block, DownBlock)]
    assert begins == ["Conv2d", "ReLU", "ReLU", "ReLU"]


def test_the_papers_networks_have_as_many_parameters_as_by_hand():
    """For 3 × 32 × 32. A 3 × 3 convolution of 256 channels has 9·256² + 256 = 590 080, one of 128 has 147 584.

    Generator: linear 128·4096 + 4096 = 528 384; each of three blocks two convolutions, 256² + 256 = 65 792 of the
    shortcut and 2·512 of batch norm, 1 246 976; at the end 512 of batch norm and 9·256·3 + 3 = 6 915.
    Discriminator: the first block 9·3·128 + 128 = 3 584, 147 584 and 3·128 + 128 = 512, 151 680; the second two
    convolutions and 128² + 128 = 16 512, 311 680; two of two convolutions each, 590 336; linear 128 + 1.
    """
    assert parameters(ResidualGenerator(128, (3, 32, 32), 256)) == 528_384 + 3 * 1_246_976 + 512 + 6_915 == 4_276_739
    assert parameters(ResidualDiscriminator((3, 32, 32), 1, 128)) == 151_680 + 311_680 + 590_336 + 129 == 1_053_825


@sizes
def test_every_layer_of_the_residual_discriminator_is_spectrally_normalised_and_none_is_batch_norm(size):
    torch.manual_seed(0)
    down = ResidualDiscriminator((3, *size), 1, 4)
    layers = [name for name, m in down.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert not any(isinstance(m, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm) for m in down.modules())
    spectrally_normalised(down)
    assert list(stored_norms(down)) == layers
    assert sum(p.numel() for name, p in down.named_parameters() if name.endswith(("original", "bias"))) == parameters(
        down
    )
    x = torch.randn(2, 3, *size, requires_grad=True)
    down(x).sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad.flatten(1).any(1).all()
    assert all(norm > 0 for norm in spectral_norms(down).values())


def silent(block):
    """`block` in float64 with nothing from its residual branch."""
    for parameter in block.residual[-1 if isinstance(block, UpBlock) else -2].parameters():
        nn.init.zeros_(parameter)
    return block.double()


def test_blocks_without_their_residual_branch_are_shortcuts_between_sizes():
    """1 × 1 convolutions commute with doubling and with means; odd borders are cropped going up, and going down are
    means of the pixels there are: of columns 0 … 4 here 0+1, 2+3 and 4 alone, of rows 0 … 2 the first two and the
    last."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 2, 3, dtype=torch.float64)
    up = silent(UpBlock(3, (2, 3), (3, 5)))
    doubled = x.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, :3, :5]
    assert torch.allclose(up(x), up.shortcut[0](doubled), atol=1e-12)
    y = torch.randn(2, 3, 3, 5, dtype=torch.float64)
    down = silent(DownBlock(3, 4, True))
    rows = torch.stack([y[:, :, :2].mean(2), y[:, :, 2]], 2)
    means = torch.stack([rows[..., :2].mean(3), rows[..., 2:4].mean(3), rows[..., 4]], 3)
    assert torch.allclose(down(y), down.shortcut[-1](means), atol=1e-12)
    assert torch.equal(silent(UpBlock(3, (2, 3), (2, 3)))(x), x)


def test_blocks_that_keep_their_size_add_to_their_input():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5)
    block = DownBlock(3, 3, False)
    first, second = (layer for layer in block.residual if isinstance(layer, nn.Conv2d))
    assert torch.allclose(block(x), x + second(torch.relu(first(torch.relu(x)))), atol=1e-6)
    rough = DownBlock(3, 3, False, first=True)
    first, second = (layer for layer in rough.residual if isinstance(layer, nn.Conv2d))
    assert torch.allclose(rough(x), x + second(torch.relu(first(x))), atol=1e-6)


def test_rows_do_not_see_each_other_in_the_residual_discriminator():
    torch.manual_seed(0)
    down = ResidualDiscriminator((3, 18, 11), 2, 4).double()
    x = torch.randn(6, 3, 18, 11, dtype=torch.float64)
    assert torch.allclose(down(x), torch.cat([down(row[None]) for row in x]), atol=1e-12)


def test_residual_networks_begin_as_glorot_says_with_more_in_the_branches():
    """Uniform within ±√(6 / (fan in + fan out)), times √2 before and after a ReLU of a branch; biases zero."""
    torch.manual_seed(0)
    block = DownBlock(16, 32, True)
    for layer, bound in ((block.residual[1], (12 / (9 * 48)) ** 0.5), (block.shortcut[-1], (6 / 48) ** 0.5)):
        assert 0.98 * bound < layer.weight.abs().max().item() <= bound * (1 + 1e-6)
        assert not layer.bias.any()


def test_hidden_rows_of_a_noisy_perceptron_keep_their_length_whatever_is_learned() -> None:
    """Units that grew would drown the noise; the last layer's lengths alone are learned."""
    torch.manual_seed(0)
    network = NoisyMLP((1, 4, 4), 3, (20, 10), (0.6, 0.5))
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    before = [layer.weight.norm(dim=1) for layer in network.layers if isinstance(layer, nn.Linear)]
    network(torch.randn(8, 1, 4, 4)).square().mean().backward()
    optimizer.step()
    after = [layer.weight.norm(dim=1) for layer in network.layers if isinstance(layer, nn.Linear)]
    for lengths in (*before[:2], *after[:2]):
        torch.testing.assert_close(lengths, torch.ones_like(lengths))
    assert not torch.allclose(before[2], after[2], rtol=1e-3)


def test_noise_is_added_in_training_alone() -> None:
    torch.manual_seed(0)
    network, x = NoisyMLP((2,), 3, (5,), (0.6, 0.5)), torch.zeros(20_000, 2)
    assert Noise(0.6)(x).std().item() == pytest.approx(0.6, rel=0.02)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
