"""Path lengths of generators whose every derivative is known."""

import pytest
import torch

from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.metrics.of_model import Setting
from simulacra.metrics.path_length import PathLength, lerp, path_lengths, slerp
from simulacra.models.gan import GAN, GANConfig
from simulacra.randomness import counter_uniform, key_of, sample_normal
from tests.checks.ranks import on_ranks

J, D = 4, 6


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same(x):
    return x


A = drawn(D, J, seed=9)


class Linear:
    """x = A z, in float64 on request."""

    name = "linear"

    def __init__(self, matrix=A, wide=True):
        self.matrix, self.wide, self.decoded = matrix, wide, []

    def prior(self, n, *, seed=0, start=0):
        z = sample_normal(n, J, seed=seed, start=start)
        return z.double() if self.wide else z

    def decode(self, z):
        self.decoded.append(z)
        return z @ self.matrix.T.to(z.dtype)


class Mapped(Linear):
    """Goes through w = 2 z, x = A w."""

    def mapping(self, z):
        return 2.0 * z

    def synthesise(self, w):
        return Linear.decode(self, w)

    def decode(self, z):
        return self.synthesise(self.mapping(z))


def score(model, features=same, seed=0, **options):
    setting = Setting(test=lambda n: iter(()), features=features, seed=seed)
    return PathLength(PathLength.Config(**options)).compute(model, setting)["ppl"]


def pairs(n, seed=0):
    """The paths that the measure takes: their ends, and where."""
    a, b = (sample_normal(n, J, seed=key_of(seed, end)).double() for end in (0, 1))
    t = torch.from_numpy(counter_uniform(key_of(seed, 2), torch.arange(n).numpy(), 1)[:, 0])
    return a, b, t


# One path


def test_the_speed_along_a_straight_way_through_a_linear_generator():
    a, b, t = drawn(20, J), drawn(20, J, seed=1), torch.linspace(0, 1, 20).double()
    found = path_lengths(Linear().decode, same, a, b, t, 1e-4, interpolate=lerp)
    assert torch.allclose(found, ((b - a) @ A.T).square().sum(1), rtol=1e-6, atol=0)


def test_the_speed_is_that_at_t():
    """g(t) = (a + t (b − a))² on a line from 0 to 1: speed 2 t, at t + ε/2 on average."""
    t = torch.tensor([0.0, 0.3, 0.8], dtype=torch.float64)
    zero, one = torch.zeros(3, 1).double(), torch.ones(3, 1).double()
    found = path_lengths(torch.square, same, zero, one, t, 1e-4, interpolate=lerp)
    assert found.sqrt().tolist() == pytest.approx((2 * t + 1e-4).tolist(), rel=1e-9)


def test_the_distance_is_of_features():
    a, b, t = drawn(5, J), drawn(5, J, seed=1), torch.full((5,), 0.4).double()
    found = path_lengths(Linear().decode, lambda x: x[:, :2], a, b, t, 1e-4, interpolate=lerp)
    assert torch.allclose(found, ((b - a) @ A[:2].T).square().sum(1), rtol=1e-6, atol=0)


# Ways


def test_lerp_goes_straight():
    a, b = torch.tensor([[0.0, 2.0]]), torch.tensor([[4.0, 0.0]])
    assert lerp(a, b, torch.tensor([0.25])).tolist() == [[1.0, 1.5]]


def test_slerp_by_hand():
    """From (2, 0) to (0, 4): a third of the way is 30°, at length 2⅔."""
    found = slerp(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]]), torch.tensor([1 / 3]))
    assert found[0].tolist() == pytest.approx([8 / 3 * 3**0.5 / 2, 8 / 3 / 2])


def test_slerp_turns_evenly_and_stays_as_far_out_as_its_ends():
    a, b = drawn(1, 50), drawn(1, 50, seed=1)
    t = torch.linspace(0, 1, 11).double()
    points = slerp(a.expand(11, -1), b.expand(11, -1), t)
    assert torch.allclose(points[0], a[0])
    assert torch.allclose(points[-1], b[0])
    assert torch.allclose(points.norm(dim=1), (1 - t) * a.norm() + t * b.norm())
    unit = torch.nn.functional.normalize(points)
    turns = (unit[1:] * unit[:-1]).sum(1).acos()
    assert torch.allclose(turns, turns[:1].expand(10))


def test_slerp_of_normalised_latents_is_the_textbooks():
    a, b = (torch.nn.functional.normalize(drawn(7, 5, seed=seed)) for seed in (0, 1))
    t, angle = torch.linspace(0, 1, 7).double(), (a * b).sum(1).acos()
    expected = ((1 - t) * angle).sin()[:, None] * a + (t * angle).sin()[:, None] * b
    assert torch.allclose(slerp(a, b, t), expected / angle.sin()[:, None])


@pytest.mark.parametrize("factor", [1.0, 3.0, -1.0, -2.0, 0.0])
def test_slerp_between_latents_on_a_line_goes_along_it(factor):
    a = torch.tensor([[1.0, -2.0, 0.5]]).double()
    t = torch.tensor([0.25]).double()
    assert torch.allclose(slerp(a, factor * a, t), lerp(a, factor * a, t))


# The measure


def test_in_w_of_a_linear_generator_it_is_the_mean_squared_length():
    """Every path contributes |A(w_b − w_a)|² = 4 |A(b − a)|²."""
    a, b, _ = pairs(300)
    each = 4 * ((b - a) @ A.T).square().sum(1)
    found = score(Mapped(), space="w", pairs=300)
    assert found.value == pytest.approx(each.mean().item(), rel=1e-6)
    assert found.standard_error == pytest.approx(each.std().item() / 300**0.5, rel=1e-6)
    assert found.facts["epsilon_ratio"] == pytest.approx(1.0, abs=1e-6)
    assert found.notes == ()


def test_in_z_it_is_the_squared_speed_on_the_sphere():
    """Central differences of the textbook's path in float64; ends of unequal length included."""
    a, b, t = pairs(150, seed=4)
    speed = (slerp(a, b, t + 5e-5 + 1e-6) - slerp(a, b, t + 5e-5 - 1e-6)) / 2e-6
    found = score(Linear(), space="z", pairs=150, seed=4)
    assert found.value == pytest.approx((speed @ A.T).square().sum(1).mean().item(), rel=1e-5)


def test_at_the_ends_t_is_zero():
    model = Linear()
    score(model, sampling="end", pairs=30)
    a, _, _ = pairs(30)
    assert torch.allclose(model.decoded[0], a)


def test_tails_are_left_out_on_request():
    a, b, _ = pairs(200)
    each = (4 * ((b - a) @ A.T).square().sum(1)).sort().values
    found = score(Mapped(), space="w", pairs=200, discard=0.01)
    assert found.value == pytest.approx(each[2:-2].mean().item(), rel=1e-6)


def test_rounding_of_float32_does_not_count_at_this_step():
    """Features of size F ≈ 5 that move at v ≈ 10: noise of some 1e-7 F/ε = 5e-3 on v."""
    wide, narrow = (score(Linear(wide=wide), pairs=300) for wide in (True, False))
    assert narrow.value == pytest.approx(wide.value, rel=1e-3)
    assert narrow.facts["epsilon_ratio"] == pytest.approx(1.0, abs=0.01)
    assert narrow.notes == ()


@pytest.mark.parametrize(
    ("what", "features"),
    [("rounded features", lambda x: 127.5 * (x / 127.5).bfloat16().double()), ("bytes", lambda x: (20 * x).round())],
)
def test_rounding_that_counts_is_told(what, features):
    found = score(Linear(), features=features, pairs=200)
    assert found.facts["epsilon_ratio"] > 2
    assert "too small for the networks' precision" in found.notes[0]


def test_a_constant_generator_is_told():
    found = score(Linear(matrix=torch.zeros(D, J)), pairs=20)
    assert found.value == 0.0
    assert "constant" in found.notes[0]


def test_space_w_needs_a_mapping():
    with pytest.raises(UserError, match=r"'linear' has no intermediate latent w: measure in z"):
        score(Linear(), space="w")


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(UserError, match="pair 0"):
        score(Linear(matrix=torch.full((D, J), torch.nan)), pairs=20)


def test_a_generator_is_measured_and_left_as_it_was():
    torch.manual_seed(0)
    model = GAN(GANConfig(width=8, latent=J, prior="uniform"), Spec(kind="vector", shape=(2,), classes=None))
    first = score(model, pairs=50)
    assert first == score(model, pairs=50)
    assert first.value > 0
    assert first.value != score(model, pairs=50, seed=1).value
    assert model.training


@pytest.mark.parametrize("count", [3, 250])
def test_ranks_say_what_one_says(count):
    def play(table):
        setting = Setting(test=lambda n: iter(()), features=same, table=table)
        return PathLength(PathLength.Config(pairs=count)).compute(Linear(), setting)["ppl"]

    found, alone = on_ranks(4, play), score(Linear(), pairs=count)
    assert all(each == found[0] for each in found)
    assert found[0].value == pytest.approx(alone.value, rel=1e-12)
    assert found[0].facts["epsilon_ratio"] == pytest.approx(alone.facts["epsilon_ratio"], rel=1e-9)
