"""The model card: the README of an artifact, in the form that the Hugging Face hub reads."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from simulacra.capabilities import verbs
from simulacra.models.base import Model

ROWS = {"paper": "paper", "data": "data", "summary": "its rows", "steps": "steps", "seed": "seed"}
USES = {
    "sample": "{x} = model.sample(16, seed=0)",
    "encode": "z = model.encode({x})  # codes [N, J]",
    "decode": "{x} = model.decode(z)  # of codes z [N, J]",
    "reconstruct": "{x} = model.reconstruct({x})",
    "log_prob": "value, kind = model.log_prob({x})",
}


def card(model: Model, facts: Mapping[str, Any], *, pictured: bool, training: bool) -> str:
    """The card of `model` as Markdown.

    Args:
        model: what the card is of.
        facts: what is known of it, as `artifact.save` takes it.
        pictured: whether `samples.png` lies beside the card.
        training: whether `training.safetensors` does.
    """
    name = str(facts.get("recipe", model.name))
    parts = [_header(model, facts), f"# {name}", _about(model, facts)]
    if pictured:
        parts.append("![Samples](samples.png)")
    parts += [_use(model), _origin(model, facts)]
    if training:
        parts.append("`training.safetensors` holds the other players of the training, to train on from here.")
    if facts.get("scores"):
        parts.append(_scores(facts["scores"]))
    return "\n\n".join(parts) + "\n"


def _header(model: Model, facts: Mapping[str, Any]) -> str:
    """Metadata in YAML, of which JSON's strings and lists are a part."""
    fields: dict[str, Any] = {"library_name": "simulacra", "tags": ["simulacra", "generative-model", model.name]}
    if model.spec.kind == "image" and "sample" in verbs(model):
        fields["pipeline_tag"] = "unconditional-image-generation"
    if facts.get("license"):
        fields["license"] = str(facts["license"])
    return "\n".join(["---", *(f"{name}: {json.dumps(value)}" for name, value in fields.items()), "---"])


def _about(model: Model, facts: Mapping[str, Any]) -> str:
    shape = " × ".join(str(n) for n in model.spec.shape)
    what = f"{shape} images in [−1, 1]" if model.spec.kind == "image" else f"vectors of {shape} numbers"
    on = f", trained on `{_line(facts['data'])}`" if facts.get("data") else ""
    return f"A `{model.name}` of {what}{on}, made with the library simulacra."


def _use(model: Model) -> str:
    x = "images" if model.spec.kind == "image" else "points"
    known = verbs(model)
    lines = [USES[verb].format(x=x) for verb in known if verb in USES and (verb != "decode" or "encode" in known)]
    code = ["import simulacra", "", 'model = simulacra.load(".")  # this folder, or the id of its repository', *lines]
    return "\n".join(["## Use", "", "```python", *code, "```"])


def _origin(model: Model, facts: Mapping[str, Any]) -> str:
    table = [(title, _line(facts[key])) for key, title in ROWS.items() if facts.get(key) is not None]
    table.append(("weights", _line(facts.get("weights", "as they are"))))
    table += [(f"`{name}`", _line(value)) for name, value in model.config.model_dump().items()]
    lines = ["## Training", "", "| | |", "|---|---|", *(f"| {title} | {_cell(text)} |" for title, text in table)]
    if facts.get("command"):
        lines += ["", "```", _line(facts["command"]), "```"]
    return "\n".join(lines)


def with_scores(text: str, scores: Mapping[str, Any]) -> str:
    """A card with this list of scores in the place of its own, or at its end."""
    before, heading, after = text.partition("\n## Scores\n")
    _, next_heading, rest = after.partition("\n## ") if heading else ("", "", "")
    listed = f"\n\n{_scores(scores)}" if scores else ""
    return f"{before.rstrip()}{listed}\n" + (f"{next_heading}{rest}" if next_heading else "")


def _scores(scores: Mapping[str, Any]) -> str:
    lines = ["## Scores", "", "| measure | value | measured how |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {_cell(name)} | {' | '.join(_score(score))} |" for name, score in scores.items())])


def _score(score: Any) -> Iterator[str]:
    """The value, with its standard error where there is one, and how it was measured."""
    fields = dict(score) if isinstance(score, Mapping) else {"value": score}
    value, error = fields.pop("value", None), fields.pop("standard_error", None)
    yield _number(value) + (f" ± {_number(error)}" if error is not None else "")
    yield _cell(", ".join(f"{name}: {_line(field)}" for name, field in fields.items()))


def _number(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else _cell(value)


def _cell(text: Any) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: Any) -> str:
    return " ".join(str(text).split())
