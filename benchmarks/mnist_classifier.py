"""The judge of the MNIST rows: a small convolutional classifier, at least 99.3 % right on the 10 000 test images.

    python benchmarks/mnist_classifier.py          trains it (about six minutes on 2 cores) and prints its accuracy

It is trained on MNIST's training images alone, shifted by up to two pixels, and kept in `.cache/`.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from simulacra.data import Feed, open_data

PLACE = Path(".cache/mnist_classifier.safetensors")
EPOCHS, BATCH, SEED = 8, 128, 0


def network() -> nn.Module:
    """Three convolutional blocks and a linear layer."""

    def block(a: int, b: int) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]

    pool = nn.MaxPool2d(2)
    layers = [*block(1, 32), *block(32, 32), pool, *block(32, 64), *block(64, 64), pool, *block(64, 128)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 10))


def shifted(x: Tensor) -> Tensor:
    """Each image moved by up to two pixels either way."""
    padded = nn.functional.pad(x, (2, 2, 2, 2), value=-1.0)
    offsets = torch.randint(5, (len(x), 2)).tolist()
    return torch.stack([image[:, i : i + 28, j : j + 28] for image, (i, j) in zip(padded, offsets)])


def train() -> nn.Module:
    """Train and save it."""
    torch.manual_seed(SEED)
    source = open_data("mnist")
    feed, net = Feed(source, seed=SEED, batch=BATCH), network().to(memory_format=torch.channels_last)
    steps = EPOCHS * len(source) // BATCH
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in range(steps):
        batch = feed.at(step)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(shifted(batch.x).contiguous(memory_format=torch.channels_last))
        loss = nn.functional.cross_entropy(logits.float(), batch.labels, label_smoothing=0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        if step % 500 == 0:
            print(f"step {step}/{steps}  loss {loss.item():.4f}", flush=True)
    PLACE.parent.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, PLACE)
    return net


def classifier() -> nn.Module:
    """The trained classifier, in eval mode; trained now if it is not there."""
    if not PLACE.exists():
        train()
    net = network()
    net.load_state_dict(load_file(PLACE))
    return net.eval()


@torch.no_grad()
def probabilities(net: nn.Module, images: Tensor) -> Tensor:
    """p(y|x) `[N, 10]` of images `[N, 1, 28, 28]` in [−1, 1]."""
    return torch.cat([net(rows).softmax(1) for rows in images.split(500)])


def accuracy(net: nn.Module) -> float:
    """Share of MNIST's test images it names rightly."""
    test = open_data("mnist", split="test")
    x = Feed(test, seed=0, batch=len(test), full_passes=True).at(0).x
    return (probabilities(net, x).argmax(1) == test.labels).float().mean().item()


if __name__ == "__main__":
    print(f"accuracy on the test images: {accuracy(classifier()):.4f}")
