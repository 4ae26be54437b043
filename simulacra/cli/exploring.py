"""Commands that walk through what a model has learned."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from simulacra.cli.options import Json
from simulacra.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from simulacra.data import Source
    from simulacra.explore.inversion import InversionConfig
    from simulacra.explore.operands import Place
    from simulacra.subjects import Subject, View

explore_app = typer.Typer(
    help="Walk through what a model has learned: pictures, GIFs and films (X.png, X.gif, X.mp4).", no_args_is_help=True
)

Run = Annotated[str, typer.Argument(help="a run, an artifact, or a hub id OWNER/NAME")]
Seed = Annotated[int, typer.Option(min=0, max=2**62 - 1, help="which samples: those of `simulacra sample --seed`")]
Way = Annotated[str, typer.Option("--path", help="auto, linear or spherical; auto: spherical where the prior is")]
Fps = Annotated[int, typer.Option(min=1, max=50, help="frames of a film a second")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, mps")]
Data = Annotated[str | None, typer.Option(help="data, as for `train` (default: that of the run)")]
Steps = Annotated[int, typer.Option(min=0, max=100_000, help="steps of an inversion")]
Starts = Annotated[int, typer.Option(min=1, max=1000, help="starts of an inversion; the best end counts")]
Rate = Annotated[float, typer.Option(min=1e-9, max=1e3, help="learning rate of an inversion")]
Pull = Annotated[float, typer.Option(min=0.0, max=1e6, help="weight that pulls inversions towards the prior's mean")]

STILLS, FILMED = 9, 30  # frames of a sheet and of a film, where no number is given
SHOWN = 8  # directions, where no number is given and latents have as many


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (figures, interpolate, arithmetic, walk, directions, manifold, invert):
        explore_app.command()(command)
    app.add_typer(explore_app, name="explore")


class _Opened(NamedTuple):
    """A model to explore, what `--out` asks for, and the data that classes and pictures are taken from."""

    subject: "Subject"
    suffix: str
    data: str | None

    @property
    def model(self) -> Any:
        """The model itself."""
        return self.subject.model

    def source(self, split: str) -> "Source":
        """Its data in its own shape. Raises UserError where there is none, or none that fits."""
        spec, view = self.subject.spec, self._named() if self.data else self.subject.trained_on
        if view is None:
            raise UserError(f"{self.subject.title} is no run that knows its data: name data with --data")
        source = view.open(split)
        if source.spec.shape != spec.shape:
            raise UserError(f"{source.word} has rows of shape {source.spec.shape}, the model {spec.shape}")
        return source

    def _named(self) -> "View":
        """The data that `--data` names, images at the model's size and in its colours."""
        from simulacra.subjects import View

        spec, word = self.subject.spec, self.data or ""
        if spec.kind != "image" or spec.channels not in (1, 3):
            return View(word=word)
        return View(word=word, size=(spec.height, spec.width), channels=spec.channels)


def _open(run: str, out: str, device: str, needs: str, data: str | None = None, *, still: bool = False) -> _Opened:
    """Load a model. Raises UserError where it lacks the capability `needs`, or `out` cannot be written."""
    from simulacra.capabilities import CAPABILITIES, verbs
    from simulacra.explore.film import suffix_of
    from simulacra.precision import choose_device
    from simulacra.subjects import of_model

    subject = of_model(run, choose_device(device))
    model = subject.model
    if model is None or not isinstance(model, CAPABILITIES[needs]):
        lacks = "has no prior to draw from and decode" if needs == "prior" else f"cannot {needs}"
        name = getattr(model, "name", "none")
        raise UserError(f"{run} is a model '{name}', which {lacks}: it can {', '.join(verbs(model)) or 'do nothing'}")
    return _Opened(subject, suffix_of(out, subject.spec, still=still), data)


def _finished(words: str, note: str | None) -> None:
    """Say what was made, and what is to be known of it."""
    if note:
        typer.echo(note, err=True)
    print(words)


def _inversion(steps: int, starts: int, rate: float, pull: float) -> "InversionConfig":
    from simulacra.explore.inversion import InversionConfig

    return InversionConfig.read({"steps": steps, "starts": starts, "rate": rate, "pull": pull}, "inversion")


def _place(opened: _Opened, words: list[str], seed: int, inversion: "InversionConfig") -> "Place":
    """Where words get their meaning; data is opened only where a class is among them and the model can place it."""
    from simulacra.capabilities import Encodes
    from simulacra.explore.operands import Place

    model: Any = opened.model
    classes = any(word.startswith("class:") for word in words) and isinstance(model, Encodes)
    source = opened.source("train") if classes else None
    return Place(model=opened.model, spec=opened.subject.spec, seed=seed, source=source, inversion=inversion)


def _decoded(model: Any, z: "Tensor") -> "Tensor":
    """Frames `[T, R, ...]` of latents `[T, R, J]`, on the CPU."""
    return model.decode(z.flatten(0, 1)).detach().cpu().unflatten(0, z.shape[:2])


def _told(done: int, of: int) -> None:
    """Progress of a long inversion, on a terminal."""
    if sys.stderr.isatty() and of > done:
        typer.echo(f"{done:,} of {of:,} starts followed", err=True)


def figures(
    run: Run,
    out: Annotated[str, typer.Option(help="a folder, for NAME.png of each figure")] = "figures",
    only: Annotated[str | None, typer.Option(help="those of these names, with commas (default: all it has)")] = None,
    data: Data = None,
    split: Annotated[str, typer.Option(help="where rows of data come from: train, test or all")] = "test",
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Pictures of all that a model can do: samples, reconstructions, completions, fillings, chains, what it denoises,
    filters, means, the plane of two latents, pairs; on rows of the test split."""
    from simulacra import figures as drawn
    from simulacra.precision import choose_device
    from simulacra.subjects import of_model

    if Path(out).suffix == ".png":
        raise UserError(f"--out is a folder, for a picture of each figure, not {out}")
    opened = _Opened(of_model(run, choose_device(device)), ".png", data)
    has = drawn.names(opened.model)
    wanted = has if only is None else only.split(",")
    if unknown := [name for name in wanted if name not in has]:
        raise UserError(f"{run} has no figure {unknown[0]!r}: it has {', '.join(has) or 'none'}")
    if not has:
        raise UserError(f"{run} is a model '{opened.model.name}' of what has no picture: it has no figures")
    drawn.write(opened.model, opened.source(split), lambda name: Path(out) / f"{name}.png", seed, wanted)
    print(f"{', '.join(wanted)} in {out}")


def interpolate(
    run: Run,
    ends: Annotated[
        list[str] | None,
        typer.Argument(
            help="stops: a sample's number (3,17: their mean), a picture, class:NAME (default: samples in pairs)"
        ),
    ] = None,
    out: Annotated[str, typer.Option(help="X.png: a row per pair; X.gif, X.mp4: there and back")] = "interpolate.png",
    n: Annotated[int, typer.Option("-n", "--number", min=1, max=1000, help="pairs, where no ends are given")] = 8,
    frames: Annotated[
        int | None, typer.Option(min=2, max=1000, help="points on each way (default: 9, in a film 30)")
    ] = None,
    seed: Seed = 0,
    way: Way = "auto",
    fps: Fps = 20,
    data: Data = None,
    steps: Steps = 200,
    starts: Starts = 4,
    device: Device = "auto",
) -> None:
    """Ways between latents: of samples, of pictures (encoded or inverted), of classes."""
    import torch

    from simulacra.explore import film, operands
    from simulacra.explore.paths import path

    opened = _open(run, out, device, "prior", data)
    between, note = path(opened.model, way)  # type: ignore[arg-type]
    if ends:
        if len(ends) < 2:
            raise UserError("a way has two ends: name at least two, or none for samples of the seed")
        place = _place(opened, ends, seed, _inversion(steps, starts, 0.05, 0.0))
        stops = torch.cat([operands.latents(word, place).mean(0, keepdim=True).cpu() for word in ends])
        a, b = stops[:-1], stops[1:]
    else:
        a, b = opened.model.prior(2 * n, seed=seed).cpu().unflatten(0, (n, 2)).unbind(1)
    points = between(a, b, torch.linspace(0.0, 1.0, frames or (STILLS if opened.suffix == ".png" else FILMED)))
    film.write(_decoded(opened.model, points), out, opened.subject.spec, fps=fps, back=True)
    _finished(f"{len(a)} {'way' if len(a) == 1 else 'ways'} of {len(points)} points in {out}", note)


def arithmetic(
    run: Run,
    a: Annotated[str, typer.Argument(help="3,17,20 (their mean), class:NAME, or a picture")],
    b: Annotated[str, typer.Argument(help="what is taken away")],
    c: Annotated[str, typer.Argument(help="what is added")],
    out: Annotated[str, typer.Option(help="X.png")] = "arithmetic.png",
    seed: Seed = 0,
    data: Data = None,
    steps: Steps = 200,
    starts: Starts = 4,
    device: Device = "auto",
) -> None:
    """A − B + C in latents. The columns are A, B, C and the result: what means are of, and below them the means; above
    the result are neighbours of it."""
    from simulacra.explore import film, operands
    from simulacra.explore.sheets import arithmetic_sheet

    opened = _open(run, out, device, "prior", data, still=True)
    spec = opened.subject.spec
    place = _place(opened, [a, b, c], seed, _inversion(steps, starts, 0.05, 0.0))
    parts = [operands.latents(word, place).cpu() for word in (a, b, c)]
    film.write(arithmetic_sheet(opened.model, parts, spec, seed), out, spec)
    print(f"{a} - {b} + {c} in {out}")


def walk(
    run: Run,
    out: Annotated[
        str, typer.Option(help="X.gif, X.mp4; X.png: a row per walk, at most 3 pictures per stop")
    ] = "walk.gif",
    n: Annotated[int, typer.Option("-n", "--number", min=1, max=1000, help="walks side by side")] = 16,
    stops: Annotated[int, typer.Option(min=2, max=1000, help="samples that a walk goes through")] = 5,
    frames: Annotated[int, typer.Option(min=1, max=1000, help="frames from one stop to the next")] = 16,
    seed: Seed = 0,
    way: Way = "auto",
    fps: Fps = 20,
    device: Device = "auto",
) -> None:
    """Smooth walks through the prior that end where they begin: the film runs for ever."""
    from simulacra.explore import film
    from simulacra.explore.paths import path
    from simulacra.explore.walk import walk as taken

    opened = _open(run, out, device, "prior")
    still = opened.suffix == ".png" and opened.subject.spec.kind == "image"
    (between, note), each = path(opened.model, way), min(frames, 3) if still else frames  # type: ignore[arg-type]
    points = taken(opened.model, between, stops=stops, frames=each, walks=n, seed=seed)
    film.write(_decoded(opened.model, points), out, opened.subject.spec, fps=fps)
    _finished(f"{n} closed {'walk' if n == 1 else 'walks'} through {stops} samples in {out}", note)


def directions(
    run: Run,
    out: Annotated[str, typer.Option(help="X.png: a row per direction; X.gif, X.mp4")] = "directions.png",
    n: Annotated[
        int | None, typer.Option("-n", "--number", min=1, help="directions, the strongest first (default: 8 at most)")
    ] = None,
    points: Annotated[int, typer.Option(min=1, max=10_000, help="latents that Jacobians are averaged over")] = 16,
    sigma: Annotated[float, typer.Option(min=0.0, max=100.0, help="so many standard deviations either way")] = 3.0,
    frames: Annotated[
        int | None, typer.Option(min=2, max=1000, help="pictures along each direction (default: 9, in a film 30)")
    ] = None,
    sample: Annotated[int, typer.Option(min=0, max=2**62 - 1, help="the sample that is moved, by number")] = 0,
    seed: Seed = 0,
    fps: Fps = 20,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """The directions in which latents change the picture most, on average over the prior: each row moves one sample
    along one of them."""
    import torch

    from simulacra.explore import film, prior
    from simulacra.explore.directions import moved, principal_directions

    opened = _open(run, out, device, "prior")
    model = opened.model
    drawn = model.prior(points, seed=seed).cpu()
    n = n or min(SHOWN, drawn.shape[1])
    found = principal_directions(model, drawn, n)
    steps = torch.linspace(-sigma, sigma, frames or (STILLS if opened.suffix == ".png" else FILMED))
    deviations = prior.spread(prior.draws(model), found.vectors)
    z = moved(model.prior(1, seed=seed, start=sample)[0].cpu(), found.vectors, steps[:, None] * deviations)
    film.write(_decoded(model, z), out, opened.subject.spec, fps=fps, back=True)
    if as_json:
        facts = {"strengths": found.strengths.tolist(), "share": found.share, "vectors": found.vectors.tolist()}
        print(json.dumps(facts))
    else:
        print(f"{n} directions in {out}: {found.share:.0%} of the mean squared change per step")


def manifold(
    run: Run,
    out: Annotated[str, typer.Option(help="X.png")] = "manifold.png",
    side: Annotated[int, typer.Option(min=2, max=200, help="pictures in a row, and rows")] = 20,
    axes: Annotated[str, typer.Option(help="the two latents that vary, as 0,1; others are at their median")] = "0,1",
    device: Device = "auto",
) -> None:
    """The plane of two latents, equal areas being equally likely: all that a model of two latents has learned."""
    from simulacra.explore import film
    from simulacra.explore.manifold import manifold as plane

    opened = _open(run, out, device, "prior", still=True)
    try:
        first, second = map(int, axes.split(","))
    except ValueError:
        raise UserError(f"--axes are two numbers, like 0,1, not {axes!r}") from None
    points = plane(opened.model, side, (first, second))
    film.write(_decoded(opened.model, points), out, opened.subject.spec)
    print(f"{side} x {side} pictures over latents {first} and {second} in {out}")


def invert(
    run: Run,
    pictures: Annotated[list[Path] | None, typer.Argument(help="image files (default: rows of the data)")] = None,
    out: Annotated[str, typer.Option(help="X.png: rows of originals, each above the row of inversions")] = "invert.png",
    data: Data = None,
    split: Annotated[str, typer.Option(help="rows of the data: train, test or all")] = "test",
    n: Annotated[int, typer.Option("-n", "--number", min=1, max=100_000, help="rows of the data, the first")] = 16,
    steps: Steps = 200,
    starts: Starts = 4,
    rate: Rate = 0.05,
    pull: Pull = 0.0,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Latents whose pictures come nearest to given ones, by descent from the best of many draws of the prior, and from
    the code where the model encodes."""
    import numpy as np
    import torch

    from simulacra.explore import film, inversion, operands
    from simulacra.explore.sheets import pairs_sheet

    opened = _open(run, out, device, "decode", data, still=True)
    spec, config = opened.subject.spec, _inversion(steps, starts, rate, pull)
    if pictures:
        x = torch.cat([operands.picture(path, spec) for path in pictures])
    else:
        source = opened.source(split)
        x = operands.rows(source, np.arange(min(n, len(source))))
    found = inversion.invert(opened.model, x, config, seed=seed, progress=_told)
    film.write(pairs_sheet(x, found.images, spec), out, spec)
    errors = found.errors.tolist()
    if as_json:
        print(json.dumps({"errors": errors, "latents": found.latents.tolist()}))
    else:
        count = "1 inversion" if len(x) == 1 else f"{len(x)} inversions"
        print(f"{count} in {out}: mean squared error {sum(errors) / len(errors):.4g} on the data's scale")
