"""Settling a run before it starts: what is asked for, what the folder says, and what the data is, made one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from simulacra import __version__, randomness
from simulacra.config import Config
from simulacra.data import Source, open_data
from simulacra.data.subset import some, some_of_each, unlabelled
from simulacra.errors import UserError
from simulacra.precision import Precision, choose_device, choose_precision
from simulacra.recipes import Plan, Recipe, find
from simulacra.recipes.known import require_known
from simulacra.runfolder import FORMAT, RunFolder
from simulacra.settings import BUDGETS, FIXED, RunOptions, parse_size
from simulacra.timeline import Timeline


@dataclass(frozen=True, kw_only=True)
class Session:
    """A run with nothing left open: `record` is its `recipe.json`."""

    folder: RunFolder
    recipe: Recipe
    options: RunOptions
    plan: Plan
    source: Source
    beside: Source | None
    device: torch.device
    precision: Precision
    record: dict[str, Any]
    timeline: Timeline
    steps: int | None
    minutes: float | None
    horizon_minutes: float | None

    @property
    def horizon(self) -> int:
        """Steps over which schedules run."""
        return self.record["horizon"]

    @property
    def goal(self) -> int:
        """The step that progress is measured against."""
        return self.steps or self.horizon


def settle(
    name: str,
    *,
    out: str | Path,
    data: str | None = None,
    origin: str | Path | None = None,
    run: Mapping[str, Any],
    recipe: Mapping[str, Any],
) -> Session:
    """Settle a run of the recipe `name` in the folder `out`, from the options given (`run` and the `recipe`'s own).

    Raises UserError for unknown or contradictory options, changed data, and whatever the data source refuses.
    """
    kind, folder = find(name), RunFolder(Path(out))
    recorded = folder.record()
    if recorded:
        _same("recipe", name, recorded["recipe"], folder)
    options = _run_options(run, recorded, folder)
    given = _recipe_options(kind, recipe, recorded, folder)
    source, beside = companions(kind, _source(data, kind, options, recorded), options)
    _unchanged(source, recorded and recorded["data"], folder)
    _unchanged(beside, recorded and recorded.get("beside"), folder)
    if options.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    device = choose_device(options.device)
    precision = choose_precision(options.precision, device, vectors=source.spec.kind == "vector")
    options = options.model_copy(update={"precision": precision})
    if origin and recorded:
        _same("from", str(origin), recorded["origin"], folder)
    origin = recorded["origin"] if recorded else origin and str(origin)
    plan = build(kind, source, given, options.seed, device)
    plan = plan.begun() if origin else plan
    steps, minutes = _budget(options, run, recorded, plan)
    horizon = run.get("horizon") or (recorded["horizon"] if recorded else steps or plan.steps)
    in_time = None if run.get("horizon") else recorded["horizon_minutes"] if recorded else minutes
    timeline = Timeline([stage.steps for stage in plan.stages], horizon)
    if steps:
        _require_whole_passes(plan, timeline, steps, len(source))
    record = _record(kind, source, options, plan, {"steps": steps, "minutes": minutes})
    record["beside"] = beside and _data_record(beside)
    record |= {"horizon": horizon, "horizon_minutes": in_time, "from": origin, "device": str(device)}
    return Session(
        folder=folder,
        recipe=kind,
        options=options,
        plan=plan,
        source=source,
        beside=beside,
        device=device,
        precision=precision,
        record=record,
        timeline=timeline,
        steps=steps,
        minutes=minutes,
        horizon_minutes=in_time,
    )


def _require_whole_passes(plan: Plan, timeline: Timeline, steps: int, rows: int) -> None:
    """What is set in closed form waits for the end of a pass. Raises UserError where the budget does not get there."""
    ends = [*timeline.starts[1:], max(steps, timeline.starts[-1])]
    for stage, start, end in zip(plan.stages, timeline.starts, ends):
        least = stage.full_passes * ceil(rows / plan.batch)
        if start < steps and min(end, steps) - start < least:
            passes = f"{stage.full_passes} whole pass{'es' if stage.full_passes > 1 else ''}"
            raise UserError(
                f"{steps} steps are too few: '{stage.name}' wants {passes} over {rows:,} rows, {plan.batch} at a time: "
                f"give --steps {start + least} or more"
            )


def build(kind: Recipe, source: Source, options: Config, seed: int, device: torch.device) -> Plan:
    """The recipe's plan, its networks initialised from `seed` on `device`, convolutions in channels-last format."""
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(randomness.key_of(seed, 0))
        plan = kind.build(source.spec, len(source), options)
    for player in plan.players.values():
        if has_convolutions(player.module):
            player.module.to(memory_format=torch.channels_last)
    return plan


def has_convolutions(module: nn.Module) -> bool:
    """Whether images pass through `module` as images."""
    return any(isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) for layer in module.modules())


def _run_options(given: Mapping[str, Any], recorded: Mapping[str, Any] | None, folder: RunFolder) -> RunOptions:
    if len([name for name in BUDGETS if given.get(name) is not None]) > 1:
        raise UserError("give one budget: --steps, --images or --minutes")
    given = {name: value for name, value in given.items() if value is not None}
    options = RunOptions.read(given, "run")
    if recorded is None:
        return options
    for name in FIXED:
        if name in given and given[name] != "auto":
            _same(name, given[name], recorded["run"].get(name, RunOptions.model_fields[name].default), folder)
    return RunOptions.read({**given, **recorded["run"]}, f"{folder.path / 'recipe.json'}")


def _recipe_options(
    kind: Recipe, given: Mapping[str, Any], recorded: Mapping[str, Any] | None, folder: RunFolder
) -> Config:
    what = f"recipe {kind.name}"
    require_known(kind.name, given, [*RunOptions.model_fields, "data", "out", "from"])
    if recorded is None:
        return kind.options().with_overrides(given, what)
    before = kind.options.read(recorded["options"], f"{folder.path / 'recipe.json'}")
    after = before.with_overrides(given, what)
    for name in given:
        _same(name, _get(after, name), _get(before, name), folder)
    return before


def _get(options: Config, dotted: str) -> Any:
    value: Any = options
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def _same(name: str, asked: Any, recorded: Any, folder: RunFolder) -> None:
    if asked != recorded:
        raise UserError(
            f"{name} is {'not set' if recorded is None else repr(recorded)} in {folder.path} and {asked!r} was asked "
            f"for: leave it as it was, or choose another --out"
        )


def _source(word: str | None, kind: Recipe, options: RunOptions, recorded: Mapping[str, Any] | None) -> Source:
    return open_data(
        word or (recorded["data"]["word"] if recorded else kind.data),
        size=parse_size(options.size),
        channels=options.channels,
        skip_broken=options.skip_broken,
        stream=options.stream,
    )


def companions(kind: Recipe, source: Source, options: RunOptions) -> tuple[Source, Source | None]:
    """The rows to train on, and those that come beside them. Raises UserError for what the recipe lacks or has no use
    for."""
    source = some(source, options.rows, options.seed) if options.rows else source
    if kind.beside != "data" and (options.beside or options.beside_rows):
        raise UserError(f"{kind.name} is trained on one data set: leave out --beside and --beside-rows")
    if kind.beside != "labelled" and options.labelled:
        raise UserError(f"{kind.name} sees all labels or none: leave out --labelled")
    if kind.beside == "labelled":
        if not options.labelled:
            raise UserError(f"{kind.name} learns from few labels: give --labelled 10 for 10 of each class")
        return unlabelled(source), some_of_each(source, options.labelled, options.seed)
    if kind.beside == "data":
        return source, _second(kind, source, options)
    return source, None


def _second(kind: Recipe, source: Source, options: RunOptions) -> Source:
    if not options.beside:
        raise UserError(f"{kind.name} is of two data sets: give the second as --beside WORD")
    image = source.spec.kind == "image"
    shape = {"size": source.spec.shape[1:], "channels": source.spec.channels} if image else {}
    other = open_data(options.beside, **shape, skip_broken=options.skip_broken, stream=options.stream)
    if other.spec.shape != source.spec.shape:
        raise UserError(f"rows of {source.word!r} and {other.word!r} differ in shape: choose sets that agree")
    return some(other, options.beside_rows, options.seed) if options.beside_rows else other


def _unchanged(source: Source | None, was: Mapping[str, Any] | None, folder: RunFolder) -> None:
    if source and was and was["fingerprint"] != source.fingerprint:
        raise UserError(
            f"the data has changed: {folder.path} was trained on '{was['word']}' ({was['rows']:,} rows, "
            f"{was['fingerprint'][:12]}), now it is '{source.word}' ({len(source):,} rows, {source.fingerprint[:12]}): "
            f"restore it, or choose another --out"
        )


def _budget(
    options: RunOptions, given: Mapping[str, Any], recorded: Mapping[str, Any] | None, plan: Plan
) -> tuple[int | None, float | None]:
    """(steps, minutes): one of them, from what is given, else from the record, else the recipe's."""
    if options.minutes:
        return None, options.minutes
    if options.images:
        return ceil(options.images / (plan.batch * plan.stages[-1].game.batches_per_step)), None
    if options.steps:
        return options.steps, None
    if recorded:
        return recorded["budget"]["steps"], recorded["budget"]["minutes"]
    return plan.steps, None


def _record(kind: Recipe, source: Source, options: RunOptions, plan: Plan, budget: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "simulacra": __version__,
        "recipe": kind.name,
        "ignorance": kind.ignorance,
        "options": plan.options.model_dump(mode="json"),
        "data": _data_record(source),
        "channels_last": [name for name, player in plan.players.items() if has_convolutions(player.module)],
        "run": {name: getattr(options, name) for name in FIXED},
        "budget": budget,
    }


def _data_record(source: Source) -> dict[str, Any]:
    return {
        "word": source.word,
        "split": source.split,
        "rows": len(source),
        "spec": source.spec.as_dict(),
        "summary": source.summary,
        "fingerprint": source.fingerprint,
        "in_memory": source.in_memory,
    }
