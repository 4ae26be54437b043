"""Generative stochastic network (Bengio, Laufer, Alain & Yosinski 2014, "Deep Generative Stochastic Networks Trainable
by Backprop"): a chain with noise in its hidden layers too, which it remembers from step to step."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from simulacra.config import Config, Numbers, Sizes
from simulacra.data.spec import Spec
from simulacra.errors import UserError
from simulacra.game import At, Rows, Terms
from simulacra.models.chain import Corruption, State, Transition, corrupt
from simulacra.models.coders import Likelihood
from simulacra.randomness import Noise


class GSNConfig(Config):
    """What a generative stochastic network is made of."""

    hidden: Sizes = Field(
        default=(500, 500), min_length=1, max_length=20, description="units of the hidden layers, from x up"
    )
    noise: Numbers = Field(
        default=(0.0, 2.0),
        min_length=1,
        description="deviation of the noise before and after each hidden nonlinearity, of all layers or of each",
    )
    corruption: Corruption = Field(default="salt-and-pepper", description="how x is corrupted on its way in")
    level: float = Field(
        default=0.4, gt=0, description="share of numbers destroyed, or the Gaussian's standard deviation"
    )
    likelihood: Literal["bernoulli", "gaussian"] = Field(
        default="bernoulli", description="p(x|h): of bits, or of real values"
    )
    sigma: float = Field(
        default=0.1, gt=0, description="standard deviation of the Gaussian likelihood; the range is [-1, 1]"
    )
    chain: int = Field(default=100, ge=1, description="transitions of the chain before a sample is taken")


class GSN(Transition):
    """Layers x, h_1, …, h_L joined by weights used in both directions, as those of a deep Boltzmann machine.

    A transition corrupts x, updates the odd layers given the even ones, then the even ones given the odd ones, x among
    them. A hidden layer is h = η_out + tanh(η_in + a), a being what comes from the layers below and above, both η
    Gaussian: gradients pass through, so the chain is trained by backpropagation (the section on experiments).
    """

    name, Config = "gsn", GSNConfig
    config: GSNConfig

    def __init__(self, config: GSNConfig, spec: Spec) -> None:
        super().__init__(config, spec)
        sizes = [spec.numel, *config.hidden]
        self.weights = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(a, b)) for a, b in zip(sizes, sizes[1:]))
        self.biases = nn.ParameterList(torch.zeros(size) for size in sizes)
        self.likelihood = Likelihood(config.likelihood, config.sigma)
        self.noise, self.transitions = _of_each(config.noise, len(config.hidden)), config.chain

    def cost(self, batch: Rows, at: At, walkback: int = 4) -> Terms:
        """−log p(x|h) `[N]` in nats, over `walkback` steps of a chain from x. Gradients pass from step to step through
        the hidden layers, not through what is drawn of x."""
        return self.walked_back(batch, at, walkback)

    def begin(self, x: Tensor) -> State:
        """Hidden layers of zeros beside x."""
        return (x, *(x.new_zeros(len(x), size) for size in self.config.hidden))

    def step(self, state: State, noise: Noise) -> tuple[Tensor, State]:
        """Corrupt x; odd layers given even ones; even ones given odd ones; draw x."""
        x, *hidden = state
        noisy = corrupt(self.config.corruption, self.config.level, x, noise, self.spec, self.likelihood.bits)
        layers = [noisy.flatten(1), *hidden]
        for first in (1, 2):
            for number in range(first, len(layers), 2):
                layers[number] = self._update(number, layers, noise)
        output = (self.biases[0] + layers[1] @ self.weights[0].T).view_as(x)
        return output, (self.draw(output, noise), *layers[1:])

    def _update(self, number: int, layers: list[Tensor], noise: Noise) -> Tensor:
        """h_i = η_out + tanh(η_in + a_i), i = `number`, a_i = b_i + h_{i−1} W_i + h_{i+1} W_{i+1}ᵀ."""
        a = self.biases[number] + layers[number - 1] @ self.weights[number - 1]
        if number + 1 < len(layers):
            a = a + layers[number + 1] @ self.weights[number].T
        size = self.config.hidden[number - 1]
        before, after = (self.noise[number - 1] * noise.normal(size) for _ in range(2))
        return after + (before + a).tanh()


def _of_each(noise: tuple[float, ...], layers: int) -> tuple[float, ...]:
    """A deviation for each layer. Raises UserError where neither one nor one for each is given, or one is below 0."""
    if len(noise) not in (1, layers) or min(noise) < 0:
        said = ",".join(map(str, noise))
        raise UserError(f"--noise {said}: give one deviation, or one for each hidden layer ({layers}), none below 0")
    return noise * layers if len(noise) == 1 else noise
