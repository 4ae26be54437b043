"""Commands that make models and use them."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from simulacra.cli.options import OWN_OPTIONS, Json, flags_of, given, pairs, print_table, with_options
from simulacra.errors import UserError, unknown
from simulacra.settings import RunOptions


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(context_settings=OWN_OPTIONS)(train)
    app.command()(sample)
    app.command(context_settings=OWN_OPTIONS)(benchmark)
    app.command()(share)


@with_options(RunOptions)
def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="what to train: see `simulacra list`")],
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, mnist, ..., folder:PATH, zip:PATH, npz:PATH, hf:OWNER/NAME, ring, grid (default: recipe's)"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder of the run (default: runs/RECIPE-DATA); an old one is continued")
    ] = None,
    origin: Annotated[str | None, typer.Option("--from", help="run or artifact to take matching weights from")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the resolved recipe and stop")] = False,
    as_json: Json = False,
    **run: Any,
) -> None:
    """Train a recipe, or go on with a run: the same command on the same folder continues where it stopped.

    Every recipe has options of its own besides, such as --width 32 or --generator.lr 1e-4: see `simulacra show RECIPE`.
    """
    own = pairs(context.args, [*flags_of(RunOptions), "dry-run", "json"])
    _require_known(recipe, own, [*RunOptions.model_fields, "data", "out", "from", "dry-run", "json"])
    out = out or Path("runs") / f"{recipe}-{_slug(data or _default_data(recipe))}"
    from simulacra.session import settle

    session = settle(recipe, out=out, data=data, origin=origin, run=given(run), recipe=own)
    if dry_run:
        print(json.dumps(session.record, indent=1))
        return
    from simulacra.training import play

    result = play(session)
    if as_json and int(os.environ.get("RANK", "0")) == 0:
        facts = {"run": str(result.folder), "step": result.step, "seconds": result.seconds, "terms": dict(result.terms)}
        print(json.dumps(facts | {"interrupted": result.interrupted}))
    if result.interrupted:
        raise typer.Exit(128 + result.interrupted)


def _default_data(recipe: str) -> str:
    from simulacra.recipes import find

    return find(recipe).data


def _slug(word: str) -> str:
    """A data word as part of a folder's name."""
    return Path(word.partition(":")[2] or word).stem


def sample(
    run: Annotated[str, typer.Argument(help="a run, an artifact, or a hub id OWNER/NAME")],
    n: Annotated[
        int | None, typer.Option("-n", "--number", min=1, help="how many; of each --label, if given (default: 64)")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**62 - 1, help="which samples: equal seeds give equal ones")] = 0,
    truncation: Annotated[
        float | None, typer.Option(help="keep latents within ± this: more typical samples of fewer kinds")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="only this class, by name or number; may be given several times")
    ] = None,
    per_class: Annotated[int | None, typer.Option(min=1, help="so many of every class, class by class")] = None,
    both: Annotated[bool, typer.Option("--pairs", help="of two domains: both images of each, side by side")] = False,
    out: Annotated[
        str | None,
        typer.Option(help="X.png: a grid; X/: a folder of PNGs; X.npz: arrays; X.txt: strings (default: samples.png)"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps")] = "auto",
) -> None:
    """Draw samples from a trained model. Needs neither the data nor the options it was trained with."""
    from simulacra.artifact import load
    from simulacra.capabilities import HasClasses, HasText, Samples, Truncates, verbs
    from simulacra.precision import choose_device

    model = load(run, device=choose_device(device))
    if not isinstance(model, Samples):
        raise UserError(f"{run} is a model '{model.name}', which cannot sample: it can {', '.join(verbs(model))}")
    about = f"{run} is a model '{model.name}'"
    if label or per_class is not None:
        if both or truncation is not None:
            raise UserError("--truncation and --pairs are of any class: leave them out, or --label and --per-class")
        labels = _labels(model, about, n, label, per_class)
        told: Any = model
        samples = told.sample_labelled(labels, seed=seed)
    else:
        n = n or 64
        labels = model.labels(n, seed=seed) if isinstance(model, HasClasses) else None
        if both:
            samples = _pairs(model, about, n, seed, truncation)
        elif truncation is None:
            samples = model.sample(n, seed=seed)
        elif isinstance(model, Truncates):
            samples = model.truncated(n, truncation, seed=seed)
        else:
            raise UserError(f"{about}, whose latents cannot be truncated: leave out --truncation")
    out = out or ("samples.txt" if isinstance(model, HasText) else "samples.png")
    _write(model, about, samples.cpu(), out, labels)
    print(f"{len(samples)} {'pairs' if both else 'samples'} in {out}")


def _write(model: Any, about: str, samples: Any, out: str, labels: Any) -> None:
    from simulacra import images
    from simulacra.capabilities import HasText

    if not out.lower().endswith(".txt") or Path(out).is_dir():
        images.write(samples, out, model.spec, labels)
    elif isinstance(model, HasText):
        images.write_lines(model.text(samples), out)
    else:
        raise UserError(f"{about}, which makes no strings: write X.png, X/ or X.npz")


def _pairs(model: Any, about: str, n: int, seed: int, truncation: float | None) -> Any:
    """The two images of each sample in one."""
    import torch

    from simulacra.capabilities import Pairs

    if not isinstance(model, Pairs):
        raise UserError(f"{about}, which makes single images: leave out --pairs")
    if truncation is not None:
        raise UserError("--truncation is of single images: leave it out, or --pairs")
    return torch.cat(model.pairs(n, seed=seed).unbind(1), -1)


def _labels(model: Any, about: str, n: int | None, wanted: list[str] | None, per_class: int | None) -> Any:
    """Of so many samples of each of some classes, or of every class."""
    import torch

    from simulacra.capabilities import HasClasses

    names = model.spec.classes
    if not isinstance(model, HasClasses):
        raise UserError(f"{about}, which knows no classes: leave out --label and --per-class")
    if n is not None and per_class is not None:
        raise UserError("-n and --per-class both say how many: leave out one of them")
    classes = [_class(word, names) for word in wanted] if wanted else range(len(names))
    return torch.tensor([*classes]).repeat_interleave(per_class or n or 64)


def _class(word: str, names: tuple[str, ...]) -> int:
    """The number of the class called `word`; of number `word` where no class is called so."""
    if word in names:
        return names.index(word)
    if word.isdigit() and int(word) < len(names):
        return int(word)
    raise unknown("class", word, names)


def benchmark(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="what to time: see `simulacra list`")] = "dcgan",
    data: Annotated[str, typer.Option(help="as for `train`")] = "digits",
    steps: Annotated[int, typer.Option(min=1, help="steps timed in each setting")] = 30,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps")] = "auto",
    as_json: Json = False,
) -> None:
    """Time a training step of every stage of a recipe on this machine, in each precision."""
    from simulacra.benchmark import measure

    own = pairs(context.args)
    _require_known(recipe, own, ["data", "steps", "device", "json"])
    rows = measure(recipe, data, own, steps, device)
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    print_table(
        ["stage", "precision", "ms per step", "images per second"], [[str(v) for v in row.values()] for row in rows]
    )


def share(
    run: Annotated[str, typer.Argument(help="a run or an artifact")],
    hub_id: Annotated[str, typer.Argument(help="OWNER/NAME on the Hugging Face hub")],
    private: Annotated[bool, typer.Option(help="only you can see it")] = False,
) -> None:
    """Push a model to the Hugging Face hub, from where `simulacra sample OWNER/NAME` takes it."""
    from simulacra.artifact import push_to_hub

    print(push_to_hub(run, hub_id, private=private))


def _require_known(recipe: str, names: Iterable[str], beside: Iterable[str]) -> None:
    from simulacra.recipes.known import require_known

    require_known(recipe, names, [word.replace("_", "-") for word in beside])
