"""Feature matching, and the features of every discriminator."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from simulacra.models.matching import feature_matching
from simulacra.networks.dcgan import Downsampler
from simulacra.networks.features import features
from simulacra.networks.minibatch import MinibatchDiscrimination
from simulacra.networks.mlp import MLP
from simulacra.networks.residual import ResidualDiscriminator
from simulacra.networks.spectral import spectrally_normalised
from simulacra.networks.virtual import virtually_normalised

IMAGES = (3, 8, 8)
DISCRIMINATORS = {
    "mlp": lambda: MLP(IMAGES, (1,), 16),
    "maxout": lambda: MLP(IMAGES, (1,), 16, maxout=2),
    "exact": lambda: MLP(IMAGES, (1,), 16, exact=True),
    "dcgan": lambda: Downsampler(IMAGES, 1, 4, batch_norm=False),
    "residual": lambda: ResidualDiscriminator(IMAGES, 1, 4),
    "spectral": lambda: spectrally_normalised(ResidualDiscriminator(IMAGES, 1, 4)).eval(),
    "virtual": lambda: virtually_normalised(Downsampler(IMAGES, 1, 4), torch.ones(2, *IMAGES)),
    "minibatch": lambda: nn.Sequential(nn.Flatten(), MinibatchDiscrimination(192, 3, 2), nn.Linear(195, 1)),
}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def last_linear(network):
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]


def hooks(network):
    return sum(len(layer._forward_pre_hooks) for layer in network.modules())


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_the_score_is_linear_in_the_features(name):
    torch.manual_seed(0)
    network, x = DISCRIMINATORS[name](), drawn(5, *IMAGES)
    score, seen = features(network, x)
    linear = last_linear(network)
    assert seen.shape == (5, linear.in_features)
    torch.testing.assert_close(seen @ linear.weight.T + linear.bias, score)
    assert torch.equal(score, network(x))
    assert not hooks(network)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_gradients_flow_back_to_images(name):
    torch.manual_seed(0)
    network, x = DISCRIMINATORS[name](), drawn(4, *IMAGES).requires_grad_()
    feature_matching(drawn(6, *features(network, x).features.shape[1:]), features(network, x).features).backward()
    assert x.grad is not None
    assert x.grad.any()


def test_features_under_other_parameters_and_autocast():
    torch.manual_seed(0)
    network, x = MLP(IMAGES, (1,), 16), drawn(5, *IMAGES)
    doubled = {name: 2.0 * p for name, p in network.named_parameters()}
    score, seen = features(network, x, lambda rows: functional_call(network, doubled, (rows,)))
    linear = last_linear(network)
    torch.testing.assert_close(2.0 * (seen @ linear.weight.T + linear.bias), score)
    with torch.autocast("cpu", torch.bfloat16):
        half = features(network, x)
    assert half.score.dtype == half.features.dtype == torch.bfloat16
    assert feature_matching(half.features, half.features + 1).dtype == torch.float32


def test_the_hook_goes_when_the_network_fails():
    network = MLP(IMAGES, (1,), 16)
    with pytest.raises(RuntimeError):
        features(network, drawn(5, 7))
    assert not hooks(network)


@pytest.mark.parametrize("network", [nn.Identity(), nn.Conv2d(3, 1, 3)])
def test_without_a_linear_layer_there_are_no_features(network):
    with pytest.raises(ValueError, match=type(network).__name__):
        features(network, drawn(2, *IMAGES))


def test_feature_matching_by_hand():
    # Means (2, 0) and (0, 1): 4 + 1.
    real, fake = torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert feature_matching(real, fake) == 5.0
    assert feature_matching(real, real.flip(0)) == 0.0
