"""What the kernel is timed against is the same step."""

import torch

from benchmarks import wgan_gp_speed
from simulacra.play import At


def pattern(*shape, **_):
    """Noise in name only: the same numbers whoever asks."""
    return torch.linspace(0.0, 1.0, torch.Size(shape).numel()).frac().reshape(shape)


def test_the_step_of_wgan_gp_by_hand_is_that_of_the_kernel(monkeypatch):
    games = [wgan_gp_speed.game(4, **wgan_gp_speed.PENALISED) for _ in range(2)]
    (played, ours), (_, hand) = games
    before = [p.clone() for p in ours["discriminator"].module.parameters()]
    with monkeypatch.context() as patched:
        patched.setattr(At, "_noise", lambda self, law, shape: pattern(len(self._batch.x), *shape))
        patched.setattr(torch, "randn", pattern)
        patched.setattr(torch, "rand", pattern)
        images = wgan_gp_speed.rows(8)
        patched.setattr(wgan_gp_speed, "rows", lambda batch: images)
        ways = wgan_gp_speed.ours(played, 8), wgan_gp_speed.by_hand(hand, 8)
        for way in ways:
            for step in range(3):
                way(step)
    for name in ("generator", "discriminator"):
        pairs = list(zip(ours[name].module.parameters(), hand[name].module.parameters()))
        assert all(torch.allclose(a, b, atol=2e-5) for a, b in pairs)
    moved = [(p - q).abs().max().item() for p, q in zip(ours["discriminator"].module.parameters(), before)]
    assert sorted(moved)[1] > 3e-4  # all but a bias of the scores, which no difference of them sees
