"""Pictures of what models can do, while they train."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from simulacra.data import open_data
from simulacra.figures import names, write
from simulacra.models.cvae import CVAE, CVAEConfig
from simulacra.models.dae import DAE, DAEConfig
from simulacra.models.gan import GAN, GANConfig
from simulacra.models.made import MADE, MADEConfig
from simulacra.models.nade import NADE, NADEConfig
from simulacra.models.rbm import RBM, RBMConfig

MODELS = {
    "gan": lambda spec: GAN(GANConfig(width=4), spec),
    "dae": lambda spec: DAE(DAEConfig(width=4, latent=3), spec),
    "nade": lambda spec: NADE(NADEConfig(width=4), spec),
    "made": lambda spec: MADE(MADEConfig(width=70, orders=2), spec),
    "cvae": lambda spec: CVAE(CVAEConfig(width=4, latent=3), spec),
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
    ],
)
def test_every_model_is_shown_by_what_it_can_do(name: str, pictures: set[str], tmp_path: Path) -> None:
    source = open_data("digits")
    torch.manual_seed(0)
    model = MODELS[name](source.spec)
    assert set(names(model)) == pictures
    write(model, source, lambda figure: tmp_path / f"{figure}.png", seed=0)
    found = {path.stem: path for path in tmp_path.iterdir()}
    assert set(found) == pictures
    for path in found.values():
        low, high = Image.open(path).convert("L").getextrema()
        assert low < high
