"""What an alarm is, and every alarm there is with what to try."""

from typing import Any, Literal, NamedTuple

Kind = Literal["data", "terms", "probe"]


class Alarm(NamedTuple):
    """Something that goes wrong: its name, the evidence and what to try in words, and the step it was seen at.
    `patience`: at how many looks in a row it has to be seen before it is raised, as some things pass."""

    name: str
    evidence: str
    advice: str
    step: int
    patience: int = 1

    @property
    def line(self) -> dict[str, Any]:
        """Its line of the log."""
        return {"alarm": self.name, "at": self.step, "evidence": self.evidence, "advice": self.advice}

    def __str__(self) -> str:
        return f"{self.name}: {self.evidence}. Try: {self.advice}"


class Known(NamedTuple):
    """What evidence an alarm comes from, and what to try."""

    kind: Kind
    advice: str


ALARMS: dict[str, Known] = {
    "data-not-finite": Known("data", "mend or remove the row that is named, or those like it"),
    "data-duplicates": Known("data", "remove copies; augment what is left (--augment), it may be too little"),
    "data-single-class": Known("data", "check the folders or labels; leave classes out if there is only one"),
    "data-constant": Known("data", "crop to where something happens, and check that the files are what you think"),
    "data-out-of-range": Known("data", "bring images to [-1, 1], vectors to about unit deviation"),
    "labels-unrelated": Known("data", "check that labels are in the order of the images; train without them if not"),
    "not-finite": Known("terms", "a lower learning rate, --precision float32, or a penalty on the discriminator"),
    "exploding-gradient": Known("terms", "a lower learning rate; --spectral true or --gradient-penalty 10"),
    "vanishing-gradient": Known("terms", "a lower discriminator.lr: its scores are flat where samples are"),
    "discriminator-overpowers": Known(
        "terms", "a lower discriminator.lr, fewer discriminator steps, --r1 1, --spectral true or --instance-noise 0.1"
    ),
    "classifier-at-chance": Known("terms", "check the labels, then raise --class-weight"),
    "oscillation": Known("terms", "lower both learning rates, beta1 0 instead of 0.5, --r1 1, or an average (average)"),
    "samples-not-finite": Known("probe", "go back to an earlier checkpoint with a lower learning rate"),
    "frozen-player": Known("probe", "check the learning rate and the schedule: nothing this player does changes it"),
    "unconstrained-critic": Known("probe", "--gradient-penalty 10, --spectral true or --clip 0.01; fewer critic steps"),
    "discriminator-useless": Known(
        "probe", "a wider discriminator, a higher discriminator.lr, a looser --clip or a lighter penalty"
    ),
    "constant-latent": Known("probe", "check what draws the latents: they must differ from row to row"),
    "collapse": Known(
        "probe", "--pack 2, --minibatch deviation, a lower discriminator.lr or a penalty (--r1 1); more data if it is "
        "little; of a VAE longer training"
    ),
    "classes-lost": Known("probe", "--pack 2, --minibatch deviation, or train with labels (cgan, acgan, projection)"),
    "latent-ignored": Known("probe", "a lower --class-weight, --minibatch deviation, or a lower discriminator.lr"),
    "labels-ignored": Known("probe", "check the labels, raise the weight of the classes, or use projection"),
    "discriminator-ignores-labels": Known("probe", "check that labels belong to their images; then use projection"),
    "dead-units": Known("probe", "a lower learning rate, biases that start at 0, leaky units or batch norm"),
    "exploding-weights": Known("probe", "a lower learning rate"),
    "memorisation": Known("probe", "more data, --augment color,translation,cutout or --adapt 0.6, or stop earlier"),
}  # fmt: skip
"""Every alarm by its name."""


def alarm(name: str, step: int, evidence: str, advice: str | None = None, patience: int = 1) -> Alarm:
    """The alarm `name` with its advice, or with one that fits the case better."""
    return Alarm(name, evidence, advice or ALARMS[name].advice, step, patience)


OBJECTIVES = {
    "non-saturating": "--objective non-saturating",
    "wasserstein": "--objective wasserstein with --gradient-penalty 10",
}
"""Objectives whose gradient does not vanish where the discriminator is sure."""


def where_gradient_vanished(player: str, objective: str | None) -> str:
    """What to try where the gradient of `player` has vanished, under `objective` (None: the recipe has no choice)."""
    if player == "generator" and objective:
        others = " or ".join(words for name, words in OBJECTIVES.items() if name != objective)
        return f"{others}; a penalty (--r1 1), fewer discriminator steps or a lower discriminator.lr"
    if player == "discriminator" and objective:
        return "--r1 1, --instance-noise 0.1 or a lower discriminator.lr: its cost can hardly fall any more"
    if player in ("generator", "discriminator"):
        return ALARMS["vanishing-gradient"].advice
    return "a lower learning rate from the start, and other weights of its terms"


def where_weights_exploded(player: str, objective: str | None) -> str:
    """What to try where the weights of `player` have exploded: bounds on weights bind the discriminator alone."""
    if player == "generator":
        return "a lower generator.lr, or --schedule cosine, which lets it fall"
    if player == "discriminator":
        bounds = ", --spectral true, --clip 0.01 or --orthogonal 1e-4" if objective else ", or --schedule cosine"
        return f"a lower discriminator.lr{bounds}"
    return ALARMS["exploding-weights"].advice
