"""Denoising autoencoder (Vincent et al. 2008 and 2010), and the Markov chain of corrupting and denoising whose samples
it is good for (Bengio, Yao, Alain & Vincent 2013, "Generalized Denoising Auto-Encoders as Generative Models")."""

from pydantic import Field
from torch import Tensor

from simulacra.buffers import evaluating
from simulacra.data.spec import Spec
from simulacra.game import At, Rows, Terms
from simulacra.models.ae import Coding
from simulacra.models.chain import Corruption, State, Transition, corrupt
from simulacra.models.coders import CoderConfig
from simulacra.randomness import Draws, Noise


class DAEConfig(CoderConfig):
    """What a denoising autoencoder is made of."""

    corruption: Corruption = Field(default="salt-and-pepper", description="what is undone")
    level: float = Field(
        default=0.4, gt=0, description="share of numbers destroyed, or the Gaussian's standard deviation"
    )
    chain: int = Field(default=100, ge=1, description="transitions of the chain before a sample is taken")


class DAE(Coding, Transition):
    """p(x|x̃), x̃ ~ C(x̃|x) being data corrupted. Its chain is x̃_t ~ C(·|x_t), x_{t+1} ~ p(·|x̃_t)."""

    name, Config = "dae", DAEConfig
    config: DAEConfig

    def __init__(self, config: DAEConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        self.transitions = config.chain

    def cost(self, batch: Rows, at: At, walkback: int = 1) -> Terms:
        """−log p(x|x̃) `[N]` in nats, over x̃ of x itself and of what the chain makes of it in `walkback` − 1 steps."""
        return self.walked_back(batch, at, walkback)

    def begin(self, x: Tensor) -> State:
        """The chain remembers x alone."""
        return (x,)

    def step(self, state: State, noise: Noise) -> tuple[Tensor, State]:
        """Corrupt, decode what is encoded, draw."""
        output = self.decoder(self.encoder(self._corrupted(state[0], noise)))
        return output, (self.draw(output, noise),)

    def corrupt(self, x: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """Data rows start … start+N−1 corrupted, `[N, ...]` on the scale of the data spec; `reconstruct` undoes it.
        Raises UserError for brightness outside [−1, 1]."""
        with evaluating(self):
            rows = self.likelihood.unit(super()._admitted(x))
            noisy = self._corrupted(rows, Draws(len(x), seed=seed, start=start, device=self.device))
            return 2.0 * noisy - 1.0 if self.likelihood.bits else noisy

    def _admitted(self, x: Tensor) -> Tensor:
        """Anything, where noise is Gaussian: what it made of brightness may be none."""
        return self.taken(x) if self.config.corruption == "gaussian" else super()._admitted(x)

    def _corrupted(self, x: Tensor, noise: Noise) -> Tensor:
        return corrupt(self.config.corruption, self.config.level, x, noise, self.spec, self.likelihood.bits)
