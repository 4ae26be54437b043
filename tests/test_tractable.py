"""Tractable densities: who may depend on whom, sums over all images, samples against densities, exact inverses."""

from functools import partial
from itertools import product
from math import log

import pytest
import torch
from scipy.stats import chi2, norm
from torch import Tensor
from torch.autograd.functional import jacobian

from simulacra.capabilities import verbs
from simulacra.data.batch import Batch
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import Clock, Game, Player
from simulacra.models.autoregressive import Autoregressive
from simulacra.models.bits import binarised
from simulacra.models.fvbn import FVBN, FVBNConfig
from simulacra.models.made import MADE, MADEConfig, shuffled, spread
from simulacra.models.nade import BLOCK, NADE, NADEConfig
from simulacra.models.pixelcnn import PixelCNN, PixelCNNConfig
from simulacra.models.realnvp import RealNVP, RealNVPConfig, most_scales
from simulacra.networks.couplings import AffineCoupling, CouplingNetwork, checkerboard
from simulacra.networks.gated import GATED, GatedLayer, GatedPixels, gate
from simulacra.networks.masked import MaskedLinear
from simulacra.optimizers import Adam
from simulacra.recipes import find


def images(*shape):
    return Spec(kind="image", shape=shape, classes=None)


TINY, SMALL = images(1, 3, 3), images(1, 6, 7)
PLANE = Spec(kind="vector", shape=(2,), classes=None)
SYSTEMS = {
    "fvbn": lambda spec: FVBN(FVBNConfig(), spec),
    "nade": lambda spec: NADE(NADEConfig(width=6), spec),
    "nade-relu": lambda spec: NADE(NADEConfig(width=6, activation="relu"), spec),
    "made": lambda spec: MADE(MADEConfig(width=60, depth=2), spec),
    "made-indirect": lambda spec: MADE(MADEConfig(width=200, depth=1, direct=False), spec),
    "made-orders": lambda spec: MADE(MADEConfig(width=60, orders=3), spec),
    "pixelcnn": lambda spec: PixelCNN(PixelCNNConfig(width=4, depth=2, first=1, head=5), spec),
    "pixelcnn-far": lambda spec: PixelCNN(PixelCNNConfig(width=3, depth=1, first=3, reach=2, head=5), spec),
}
each = pytest.mark.parametrize("name", SYSTEMS)


def built(name: str, spec: Spec, scale: float = 0.5) -> Autoregressive:
    """A model in float64 whose weights are far from where they begin, so that its conditionals are no coins."""
    torch.manual_seed(0)
    model = SYSTEMS[name](spec).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, scale)
    return model


def every(spec: Spec) -> Tensor:
    """All images of bits, `[2^D, ...]`; the first pixel is the bit of most weight."""
    return torch.tensor(list(product((0.0, 1.0), repeat=spec.numel)), dtype=torch.float64).view(-1, *spec.shape)


def some(spec: Spec, n: int) -> Tensor:
    return torch.rand(n, *spec.shape, generator=torch.Generator().manual_seed(1)).round().double()


# Order: what depends on what


def dependence(model: Autoregressive, spec: Spec, k: int | None = None) -> Tensor:
    """Largest |∂ logit_i / ∂ x_j| over a few images `[D, D]`."""
    logits = model.logits if k is None else partial(model.logits, k=k)  # type: ignore[call-arg]
    each_one = [jacobian(lambda x: logits(x[None]).flatten(), x).flatten(1) for x in some(spec, 4)]
    return torch.stack(each_one).abs().amax(0)


@each
def test_a_pixel_depends_on_all_earlier_pixels_and_on_no_other(name: str) -> None:
    spec = images(1, 4, 5)
    found = dependence(built(name, spec), spec)
    assert not found.triu().any()
    earlier = torch.ones(20, 20).tril(-1).bool()
    assert (found > 0)[earlier].all() or name.startswith("pixelcnn")


@pytest.mark.parametrize("name", ["fvbn", "nade", "made"])
def test_channels_come_one_after_another(name: str) -> None:
    spec = images(3, 2, 2)
    found = dependence(built(name, spec), spec)
    assert not found.triu().any()
    assert (found > 0)[torch.ones(12, 12).tril(-1).bool()].all()


def test_every_order_of_a_made_is_kept() -> None:
    model = built("made-orders", TINY)
    assert isinstance(model, MADE)
    orders = {tuple(model.network.order[k].tolist()) for k in range(3)}
    assert len(orders) == 3
    assert tuple(range(1, 10)) in orders
    for k in range(3):
        order = model.network.order[k]
        assert sorted(order.tolist()) == list(range(1, 10))
        assert torch.equal(dependence(model, TINY, k) > 0, order[:, None] > order[None])


def reachable(height: int, width: int, layers: list[int]) -> Tensor:
    """Which pixels a gated PixelCNN may see `[D, D]`, found by walking backwards through its layers, of those reaches:
    the horizontal stack moves left, or over to the vertical one, which moves up and to the sides."""
    found = torch.zeros(height * width, height * width, dtype=torch.bool)
    for row, column in product(range(height), range(width)):
        across, down = {(row, column)}, set()
        for reach in reversed(layers):
            down |= across
            down = {(r - a, c + b) for r, c in down for a in range(reach + 1) for b in range(-reach, reach + 1)}
            down = {(r, c) for r, c in down if r >= 0 and 0 <= c < width}
            across = {(r, c - b) for r, c in across for b in range(reach + 1) if c >= b}
        seen = {(r - 1, c) for r, c in down if r} | {(r, c - 1) for r, c in across if c}
        for r, c in seen:
            found[row * width + column, r * width + c] = True
    return found


def test_a_gated_layer_is_that_of_the_paper() -> None:
    """Figure 2 and eq. 2 at one place, summed by hand: y = tanh(W_f ∗ x) ⊙ σ(W_g ∗ x) in both stacks; the horizontal
    one hears of the vertical one through a 1 × 1 convolution, before the gate, and is added to its own input."""
    torch.manual_seed(0)
    layer = GatedLayer(3, 3, 3, 1).double()
    v, h = torch.randn(2, 1, 3, 4, 5, dtype=torch.float64)
    (row, column), place = (2, 3), (0, slice(None), 2, 3)
    above = layer.down.bias + sum(
        layer.down.weight[:, :, a, b] @ v[0, :, row - 1 + a, column - 1 + b] for a in range(2) for b in range(3)
    )
    left = layer.across.bias + sum(layer.across.weight[:, :, 0, b] @ h[0, :, row, column - 1 + b] for b in range(2))
    link, out = (c.weight[:, :, 0, 0] for c in (layer.link, layer.out))
    both = left + link @ above + layer.link.bias
    down, told, _ = layer.vertical(v, torch.zeros(1, 3, 1, 5, dtype=torch.float64))
    across, _ = layer.horizontal(h, told, torch.zeros(1, 3, 4, 1, dtype=torch.float64))
    assert torch.allclose(down[place], above[:3].tanh() * above[3:].sigmoid())
    assert torch.allclose(across[place], h[place] + out @ (both[:3].tanh() * both[3:].sigmoid()) + layer.out.bias)


def test_gated_makes_up_for_the_gate() -> None:
    torch.manual_seed(0)
    features = gate(torch.randn(4, 512, 64, 64)).square().mean().sqrt()
    assert features.item() * GATED == pytest.approx(1.0, abs=0.005)


def test_the_vertical_stack_hears_the_image_down_to_its_last_layer() -> None:
    """How much a place varies from image to image, layer by layer."""
    torch.manual_seed(0)
    network = GatedPixels(32, 8, 3, 1, 8)
    v, spread = torch.randn(16, 2, 14, 14).sign(), []
    for layer in network.layers:
        v, _, _ = layer.vertical(v, torch.zeros(16, v.shape[1], layer.reach, 14))
        spread.append(v[:, :, 7:].std(0).mean().item())
    assert min(spread) > 0.1, spread


@pytest.mark.parametrize(("depth", "first", "reach"), [(2, 1, 1), (1, 3, 2), (0, 2, 1), (8, 3, 1)])
def test_a_pixelcnn_has_no_blind_spot(depth: int, first: int, reach: int) -> None:
    """The field is exactly what the reaches allow; above the own row it is a whole trapezium, without the wedge at the
    right that masked convolutions of one stack miss."""
    spec = images(1, 7, 9)
    torch.manual_seed(0)
    config = PixelCNNConfig(width=3, depth=depth, first=first, reach=reach, head=32)
    found = dependence(PixelCNN(config, spec).double(), spec) > 0
    assert torch.equal(found, reachable(7, 9, [first] + [reach] * depth))
    middle = found[4 * 9 + 4].view(7, 9)
    sight = first + reach * depth
    assert middle[max(4 - 1 - sight, 0) : 4, 4 - min(sight, 4) : 4 + min(sight, 4) + 1].all()
    assert not middle[4, 4:].any()
    if depth == 8:
        assert torch.equal(found, torch.ones(63, 63).tril(-1).bool())


def test_masked_weights_get_no_gradient() -> None:
    layer = MaskedLinear(torch.tensor([[1, 2, 3]]), torch.tensor([[1, 3]]), strict=True)
    layer(torch.ones(4, 3)).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[0, 0, 0], [4, 4, 0]]


# Densities


@each
def test_probabilities_of_all_images_sum_to_one(name: str) -> None:
    log_p = built(name, TINY).log_prob(2 * every(TINY) - 1)
    assert log_p.kind == "exact"
    assert log_p.value.exp().sum().item() == pytest.approx(1.0, abs=1e-12)
    assert log_p.value.std() > 0.5


@each
def test_pixels_told_one_by_one_have_the_logits_of_whole_images(name: str) -> None:
    model, x = built(name, SMALL), some(SMALL, 5)
    walk, bit, found = model.conditionals(5), None, []
    with torch.no_grad():
        for bits in x.flatten(1).unbind(1):
            found.append(walk.send(bit))
            bit = bits
        torch.testing.assert_close(torch.stack(found, 1), model.logits(x).flatten(1), rtol=1e-10, atol=1e-10)


def naive_nade(model: NADE, x: Tensor) -> Tensor:
    """log p of one image `[D]` by the formula: D hidden layers, each from the start, O(D²H)."""
    total = torch.zeros((), dtype=x.dtype)
    for i in range(len(x)):
        hidden = torch.sigmoid(model.c + sum(model.W[j] * x[j] for j in range(i)))
        p = torch.sigmoid(model.b[i] + model.V[i] @ hidden)
        total = total + (p if x[i] == 1 else 1 - p).log()
    return total


def test_nade_is_its_formula_and_so_are_its_gradients() -> None:
    spec = images(1, 5, 8)
    assert spec.numel > 2 * BLOCK
    model, x = built("nade", spec), some(spec, 3)
    assert isinstance(model, NADE)
    naive = torch.stack([naive_nade(model, row) for row in x.flatten(1)])
    torch.testing.assert_close(model.log_prob(2 * x - 1).value, naive.detach())
    wanted = torch.autograd.grad(naive.sum(), [*model.parameters()])
    torch.testing.assert_close(torch.autograd.grad(-model.nats(x).sum(), [*model.parameters()]), wanted)


def test_a_fvbn_is_a_logistic_regression_for_every_pixel() -> None:
    model, x = built("fvbn", TINY), some(TINY, 6)
    assert isinstance(model, FVBN)
    flat, layer = x.flatten(1), model.regressions
    log_p = torch.zeros(6, dtype=torch.float64)
    for i in range(9):
        p = torch.sigmoid(layer.bias[i] + flat[:, :i] @ layer.weight[i, :i])
        log_p += torch.where(flat[:, i] == 1, p, 1 - p).log()
    torch.testing.assert_close(model.log_prob(2 * x - 1).value, log_p.detach())


def test_a_made_of_several_orders_is_their_mean_and_takes_them_in_turn() -> None:
    model, x = built("made-orders", TINY), every(TINY)
    assert isinstance(model, MADE)
    each_order = []
    for k in range(3):
        p = model.logits(x, k).sigmoid().flatten(1)
        each_order.append(torch.where(x.flatten(1) == 1, p, 1 - p).prod(1))
    torch.testing.assert_close(model.log_prob(2 * x - 1).value.exp(), torch.stack(each_order).mean(0).detach())
    batch = rows(2 * x - 1)
    costs = []
    player = Player(name="made", module=model, optimizer=Adam(lr=1e-12))
    game = Game.single(player, lambda batch, at: costs.append(model.cost(batch, at)["nll"]) or {"nll": costs[-1]})
    for step in range(4):
        game.step(lambda k: batch, Clock(step=step))
        torch.testing.assert_close(costs[-1], -each_order[step % 3].log(), rtol=1e-6, atol=1e-6)


def rows(x: Tensor) -> Batch:
    return Batch(x=x, labels=None, index=torch.arange(len(x)), start=0, joint=len(x), pass_end=False)


def test_degrees_are_even_and_shuffles_are_permutations() -> None:
    assert spread(8, 4).tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert spread(2, 9).tolist() == [1, 5]
    assert shuffled(5, 0, 3).tolist() == [0, 1, 2, 3, 4]
    assert sorted(shuffled(50, 2, 1).tolist()) == list(range(50))
    assert not torch.equal(shuffled(50, 2, 1), shuffled(50, 1, 1))
    assert not torch.equal(shuffled(50, 2, 1), shuffled(50, 2, 2))
    assert shuffled(6, 1, 0).tolist() == SHUFFLED


SHUFFLED = [4, 0, 2, 3, 5, 1]
"""The masks of a saved model are rebuilt from its config: this order must never change."""


# Samples


@each
def test_samples_come_as_often_as_the_density_says(name: str) -> None:
    """Pearson's chi-squared over all 512 images, those expected less than five times taken together."""
    model, n = built(name, TINY, 0.7).float(), 20_000
    bits = (model.sample(n, seed=4).flatten(1) + 1) / 2
    assert {*bits.unique().tolist()} <= {0.0, 1.0}
    numbers = (bits * 2.0 ** torch.arange(8, -1, -1)).sum(1).long()
    expected = n * model.double().log_prob(2 * every(TINY) - 1).value.exp()
    counted = torch.bincount(numbers, minlength=512).double()
    rare = expected < 5
    pairs = [(counted[~rare], expected[~rare]), (counted[rare].sum()[None], expected[rare].sum()[None])]
    statistic = sum(((o - e).square() / e).sum().item() for o, e in pairs if e.sum() > 0)
    cells = int((~rare).sum()) + int(rare.any())
    assert cells > 20
    assert chi2.sf(statistic, cells - 1) > 1e-3


@pytest.mark.parametrize("name", ["fvbn", "nade", "made", "pixelcnn"])
def test_completions_keep_what_is_known_and_follow_the_conditional_distribution(name: str) -> None:
    model, known, n = built(name, TINY, 0.7).float(), 6, 4000
    start = torch.tensor([1.0, 0, 0, 1, 1, 0])
    x = torch.cat([2 * start - 1, torch.zeros(3)]).view(1, 1, 3, 3).expand(n, -1, -1, -1)
    bits = (model.complete(x, known, seed=3).flatten(1) + 1) / 2
    assert torch.equal(bits[:, :known], start.expand(n, -1))
    p = model.double().log_prob(2 * every(TINY) - 1).value.exp()
    first = int((start * 2.0 ** torch.arange(5, -1, -1)).sum())
    expected = n * p.view(64, 8)[first] / p.view(64, 8)[first].sum()
    counted = torch.bincount((bits[:, known:] * torch.tensor([4, 2, 1])).sum(1).long(), minlength=8)
    common = expected >= 5
    assert common.sum() >= 2
    assert chi2.sf(((counted - expected).square() / expected)[common].sum().item(), int(common.sum())) > 1e-3


@pytest.mark.parametrize("name", ["fvbn", "nade", "made", "pixelcnn"])
def test_completions_without_a_beginning_are_samples_and_whole_images_their_bits(name: str) -> None:
    model = built(name, TINY).float()
    x = torch.rand(5, 1, 3, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(model.complete(x, 0, seed=2, start=7), model.sample(5, seed=2, start=7))
    bits = model.bits(x, seed=2, start=7)
    assert torch.equal(model.complete(x, 9, seed=2, start=7), 2 * bits - 1)
    assert torch.equal(model.bits(x[2:], seed=2, start=9), bits[2:])
    assert torch.equal(model.log_prob(x, seed=2, start=7).value, model.log_prob(2 * bits - 1).value)


# Bits


def test_bits_are_one_as_often_as_pixels_are_bright_and_black_and_white_stay() -> None:
    model = built("fvbn", TINY)
    ramp = torch.linspace(-1, 1, 9).view(1, 1, 3, 3).expand(4000, -1, -1, -1)
    mean = model.bits(ramp).mean(0).flatten()
    brightness = torch.linspace(0, 1, 9)
    assert ((mean - brightness).abs() <= 4 * (brightness * (1 - brightness) / 4000).sqrt()).all()
    x = torch.tensor([-1.0, 1.0])
    assert binarised(x, torch.tensor([0.0, 1 - 2**-24])).tolist() == [0, 1]


# Real NVP


def flow(spec: Spec, scale: float = 0.2, **config: int) -> RealNVP:
    torch.manual_seed(0)
    model = RealNVP(RealNVPConfig(**{"couplings": 3, "width": 5, "depth": 1} | config), spec).double()  # type: ignore[arg-type]
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, scale)
    return model


FLOWS = {
    "plane": (PLANE, {}),
    "vector": (Spec(kind="vector", shape=(5,), classes=None), {}),
    "grey": (images(1, 4, 4), {"scales": 3}),
    "colour": (images(3, 2, 4), {"scales": 2}),
    "odd": (images(1, 3, 5), {}),
}
each_flow = pytest.mark.parametrize("kind", FLOWS)


def brightness(spec: Spec, n: int) -> Tensor:
    """What the flow maps: vectors, or brightnesses in [0, 256)."""
    generator = torch.Generator().manual_seed(2)
    if spec.kind == "vector":
        return torch.randn(n, *spec.shape, generator=generator, dtype=torch.float64)
    return 256 * torch.rand(n, *spec.shape, generator=generator, dtype=torch.float64)


@each_flow
def test_the_determinant_is_that_of_the_jacobian(kind: str) -> None:
    spec, config = FLOWS[kind]
    model, x = flow(spec, **config), brightness(spec, 3)
    z, volume = model.flow(x)
    for row, code, one in zip(x, z, volume):
        whole = jacobian(lambda r: model.flow(r[None])[0][0], row).reshape(spec.numel, spec.numel)
        assert torch.linalg.slogdet(whole).logabsdet.item() == pytest.approx(one.item(), abs=1e-8)
        normal = sum(norm.logpdf(float(number)) for number in code.detach())
        assert model.density(row[None]).item() == pytest.approx(normal + one.item(), abs=1e-8)


@each_flow
def test_the_inverse_is_exact(kind: str) -> None:
    spec, config = FLOWS[kind]
    model, x = flow(spec, **config), brightness(spec, 6)
    z, _ = model.flow(x)
    assert (z - x.flatten(1)).abs().max() > 0.1
    torch.testing.assert_close(model.flow.inverse(z), x, rtol=1e-9, atol=1e-9)
    data = x if spec.kind == "vector" else x / 128 - 1
    codes = model.encode(data)
    assert codes.shape == (6, spec.numel)
    torch.testing.assert_close(model.decode(codes), data, rtol=1e-9, atol=1e-9)


def test_a_flow_of_points_integrates_to_one_and_its_samples_follow_it() -> None:
    model = flow(PLANE, scale=0.4)
    ticks = torch.linspace(-14, 14, 561, dtype=torch.float64)
    points = torch.cartesian_prod(ticks, ticks)
    log_p = model.log_prob(points)
    assert log_p.kind == "exact"
    p = log_p.value.exp() * (ticks[1] - ticks[0]) ** 2
    assert p.sum().item() == pytest.approx(1.0, abs=1e-4)
    samples = model.float().sample(20_000, seed=1).double()
    spread_ = samples.std(0) / 20_000**0.5
    assert ((samples.mean(0) - (p[:, None] * points).sum(0)).abs() < 4 * spread_).all()


def test_a_fresh_flow_of_images_has_the_density_of_the_logit_alone() -> None:
    """On one pixel's scale: z = logit(α + (1 − 2α) y / 256) is standard normal."""
    spec = images(1, 2, 2)
    model = RealNVP(RealNVPConfig(couplings=2, width=4, depth=1, scales=2, alpha=0.1), spec).double()
    y = torch.tensor([3.5, 100.0, 128.0, 255.9], dtype=torch.float64)
    p = 0.1 + 0.8 * y / 256
    z = (p / (1 - p)).log()
    expected = (-0.5 * z.square() - 0.5 * log(2 * torch.pi) + (0.8 / 256 / (p * (1 - p))).log()).sum()
    assert model.density(y.view(1, 1, 2, 2)).item() == pytest.approx(expected.item())


def test_the_noise_on_levels_bounds_the_probability_of_an_image() -> None:
    """log P(levels) of the fresh flow is a sum of normal intervals; the mean of `log_prob` over noise is below, by the
    little that a density varies within a level."""
    spec = images(1, 2, 2)
    model = RealNVP(RealNVPConfig(couplings=2, width=4, depth=1, alpha=0.1), spec).double()
    levels = torch.tensor([0.0, 31.0, 180.0, 255.0], dtype=torch.float64)
    x = (levels / 127.5 - 1).view(1, 1, 2, 2).expand(4000, -1, -1, -1)
    value, kind = model.log_prob(x)
    assert kind == "bound"
    ends = [((p := 0.1 + 0.8 * edge / 256) / (1 - p)).log().numpy() for edge in (levels, levels + 1)]
    exact = float(torch.tensor(norm.cdf(ends[1]) - norm.cdf(ends[0])).log().sum())
    assert value.std() > 0
    assert exact - 1e-3 < value.mean().item() < exact + 4 * value.std().item() / 4000**0.5
    assert not torch.equal(value, model.log_prob(x, seed=1).value)


def test_couplings_keep_what_their_mask_says_and_begin_as_the_identity() -> None:
    assert checkerboard(2, 3).tolist() == [[[1, 0, 1], [0, 1, 0]]]
    coupling, x = AffineCoupling(checkerboard(4, 6), CouplingNetwork(1, 3, 1)), torch.randn(2, 1, 4, 6)
    y, volume = coupling(x)
    assert torch.equal(y, x)
    assert not volume.any()
    for parameter in coupling.parameters():
        torch.nn.init.normal_(parameter)
    y, _ = coupling(x)
    kept = checkerboard(4, 6).bool().expand_as(x)
    assert torch.equal(y[kept], x[kept])
    assert (y[~kept] != x[~kept]).all()


def test_scales_are_as_many_as_sides_allow() -> None:
    assert [most_scales(images(1, *sides)) for sides in ((28, 28), (8, 12), (7, 8), (32, 64))] == [3, 3, 1, 6]


def test_likelihood_is_learned_and_bits_are_drawn_anew(tmp_path) -> None:
    """Two pixels that are equal or not: FVBN's best is their entropy, ln 2 for the first and H(0.9) for the second."""
    first = torch.arange(1000) % 2
    x = torch.stack([first, (first + (torch.arange(1000) % 20 < 2)) % 2], 1).view(-1, 1, 1, 2) * 2.0 - 1
    model = FVBN(FVBNConfig(), images(1, 1, 2))
    game = Game.single(Player(name="d", module=model, optimizer=Adam(lr=0.1)), model.cost)
    for step in range(150):
        game.step(lambda k: rows(x), Clock(step=step))
    entropy = log(2) - 0.9 * log(0.9) - 0.1 * log(0.1)
    assert -model.log_prob(x).value.mean().item() == pytest.approx(entropy, abs=2e-3)


# What they can do, and what is refused


def test_verbs() -> None:
    for name in ("fvbn", "nade", "made", "pixelcnn"):
        assert verbs(built(name, TINY)) == ["sample", "log_prob", "complete"]
    assert verbs(flow(PLANE)) == ["sample", "encode", "decode", "log_prob", "prior", "truncated"]


def plan(name: str, spec: Spec, **options: object) -> object:
    return find(name).build(spec, 100, find(name).options().with_overrides(options, name))


@pytest.mark.parametrize("name", ["fvbn", "nade", "made", "pixelcnn"])
def test_what_is_no_image_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="the data is vectors: take realnvp"):
        plan(name, PLANE)
    with pytest.raises(UserError, match="one pixel"):
        plan(name, images(1, 1, 1))


@pytest.mark.parametrize(
    ("name", "spec", "options", "words"),
    [
        ("pixelcnn", images(3, 4, 4), {}, "--channels 1"),
        ("realnvp", images(1, 4, 6), {"scales": 3}, "at most 2"),
        ("realnvp", PLANE, {"scales": 2}, "--scales is of images"),
        ("realnvp", PLANE, {"alpha": 0.1}, "--alpha is of images"),
        ("realnvp", Spec(kind="vector", shape=(1,), classes=None), {}, "two or more"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(name: str, spec: Spec, options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        plan(name, spec, **options)


@pytest.mark.parametrize("value", [1.5, -1.01, float("nan")])
def test_pixels_outside_the_range_are_refused(value: float) -> None:
    x = torch.zeros(2, 1, 3, 3)
    x[1, 0, 2, 2] = value
    with pytest.raises(UserError, match=r"outside \[-1, 1\]"):
        built("nade", TINY).log_prob(x)
    with pytest.raises(UserError, match=r"outside \[-1, 1\]"):
        built("nade", TINY).complete(x, 3)
    for verb in ("log_prob", "encode"):
        with pytest.raises(UserError, match=r"outside \[-1, 1\]"):
            getattr(flow(TINY), verb)(x)


def test_completions_that_cannot_be_are_refused() -> None:
    x = torch.zeros(2, 1, 3, 3)
    with pytest.raises(UserError, match="rows have 9"):
        built("nade", TINY).complete(x, 10)


def test_several_orders_complete_by_the_first() -> None:
    """Of images with the same first half, the others' bits have the rates of p_1 given it, by enumeration."""
    model, n = built("made-orders", TINY), 20_000
    x = torch.ones(1, 1, 3, 3).expand(n, -1, -1, -1)
    drawn = model.complete(x, 6, seed=2).flatten(1)
    assert (drawn[:, :6] == 1).all()
    ends = torch.tensor(list(product((0.0, 1.0), repeat=3)), dtype=torch.float64)
    halves = torch.cat([torch.ones(8, 6).double(), ends], 1).view(-1, 1, 3, 3)
    law = (-model._nats(halves, 0)).softmax(0).detach()
    found = torch.bincount((drawn[:, 6:] > 0).long() @ torch.tensor([4, 2, 1]), minlength=8) / n
    assert (found - law).abs().max() < 4 * (0.25 / n) ** 0.5


def test_what_is_left_open_follows_from_the_data() -> None:
    def options(name: str, spec: Spec) -> dict:
        return find(name).build(spec, 100, find(name).options()).options.model_dump()

    assert [options("made", images(1, side, side))["width"] for side in (8, 28)] == [512, 2000]
    assert [options("realnvp", spec)["scales"] for spec in (images(1, 28, 28), images(1, 7, 7), PLANE)] == [3, 1, None]
