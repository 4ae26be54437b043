"""Pictures of what models can do, while they train."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from simulacra.data import open_data
from simulacra.figures import PLANE, names, write
from simulacra.images import to_uint8
from simulacra.models.base import Model
from simulacra.models.cvae import CVAE, CVAEConfig
from simulacra.models.dae import DAE, DAEConfig
from simulacra.models.gan import GAN, GANConfig
from simulacra.models.gmm import GMM, GMMConfig
from simulacra.models.gnb import GNB, GNBConfig
from simulacra.models.made import MADE, MADEConfig
from simulacra.models.nade import NADE, NADEConfig
from simulacra.models.rbm import RBM, RBMConfig
from simulacra.models.vae import VAE, VAEConfig

MODELS = {
    "gan": lambda spec: GAN(GANConfig(width=4), spec),
    "dae": lambda spec: DAE(DAEConfig(width=4, latent=3), spec),
    "nade": lambda spec: NADE(NADEConfig(width=4), spec),
    "made": lambda spec: MADE(MADEConfig(width=70, orders=2), spec),
    "cvae": lambda spec: CVAE(CVAEConfig(width=4, latent=3), spec),
    "gan-2": lambda spec: GAN(GANConfig(width=4, latent=2), spec),
    "gmm": lambda spec: GMM(GMMConfig(components=3), spec),
    "gnb": lambda spec: GNB(GNBConfig(classes=10), spec),
    "vae": lambda spec: VAE(VAEConfig(width=4, latent=2), spec),
    "rbm": lambda spec: RBM(RBMConfig(hidden=4, chain=2), spec),
}


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        ("gan", {"samples"}),
        ("dae", {"samples", "chains", "reconstructions", "denoised"}),
        ("nade", {"samples", "completions"}),
        ("made", {"samples", "completions"}),
        ("cvae", {"fillings"}),
        ("rbm", {"samples", "reconstructions", "filters", "gibbs"}),
        ("gan-2", {"samples", "manifold"}),
        ("vae", {"samples", "reconstructions", "manifold"}),
        ("gmm", {"samples", "centres"}),
        ("gnb", {"samples", "centres"}),
    ],
)
def test_every_model_is_shown_by_what_it_can_do(name: str, pictures: set[str], tmp_path: Path) -> None:
    source = open_data("digits")
    torch.manual_seed(0)
    model = MODELS[name](source.spec)
    if isinstance(model, (GMM, GNB)):
        model.means.data.normal_(0.0, 0.5)
    assert set(names(model)) == pictures
    write(model, source, lambda figure: tmp_path / f"{figure}.png", seed=0)
    found = {path.stem: path for path in tmp_path.iterdir()}
    assert set(found) == pictures
    for path in found.values():
        low, high = Image.open(path).convert("L").getextrema()
        assert low < high


@pytest.mark.parametrize("name", ["gmm", "gnb"])
def test_centres_are_the_means_as_pictures(name: str, tmp_path: Path) -> None:
    spec = open_data("digits").spec
    model = MODELS[name](spec)
    model.means.data.copy_(torch.linspace(-1.0, 1.0, model.means.numel()).view_as(model.means))
    found = model.centres()
    assert found.dtype == torch.float32
    assert found.shape == (len(model.means), *spec.shape)
    assert torch.equal(found.flatten(1), model.means.detach().float())
    drawn = np.asarray(Image.open(drawn_alone(model, "centres", tmp_path)).convert("L"))
    assert set(np.unique(to_uint8(found).numpy())) <= set(np.unique(drawn))


def test_a_plane_of_two_latents_is_drawn_at_its_quantiles(tmp_path: Path) -> None:
    """Of a decoder that is as bright as latents are large: along the first to the right, along the second upwards."""
    model = MODELS["vae"](open_data("digits").spec)
    model.decode = lambda z: torch.special.ndtr(z.mean(1))[:, None, None, None].expand(-1, *model.spec.shape) * 2 - 1
    tiles = np.asarray(Image.open(drawn_alone(model, "manifold", tmp_path)).convert("L"))
    pitch = tiles.shape[0] // PLANE
    middles = tiles[pitch // 2 :: pitch, pitch // 2 :: pitch][:PLANE, :PLANE].astype(int)
    assert middles.shape == (PLANE, PLANE)
    assert (np.diff(middles, axis=1) > 0).all()
    assert (np.diff(middles, axis=0) < 0).all()


def drawn_alone(model: Model, name: str, folder: Path) -> Path:
    """The file of that figure."""
    write(model, open_data("digits"), lambda figure: folder / f"{figure}.png", seed=0, only=[name])
    assert [path.stem for path in folder.iterdir()] == [name]
    return folder / f"{name}.png"
