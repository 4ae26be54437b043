"""How fast a recipe's step is on this machine."""

import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any

from simulacra.data import Feed, open_data
from simulacra.game import Clock, Table
from simulacra.precision import Precision, autocast, choose_device, has_native_bfloat16
from simulacra.recipes import find
from simulacra.session import build, has_convolutions


def measure(recipe: str, data: str, options: Mapping[str, str], steps: int, wish: str) -> list[dict[str, Any]]:
    """Milliseconds per step (median over `steps`) and images per second of every stage, in each precision the device
    computes in."""
    device = choose_device(wish)
    precisions: list[Precision] = ["float32", "bfloat16"] if has_native_bfloat16(device) else ["float32"]
    return [row for precision in precisions for row in _time(recipe, data, options, steps, precision, device)]


def _time(
    recipe: str, data: str, options: Mapping[str, str], steps: int, precision: Precision, device: Any
) -> Iterator[dict[str, Any]]:
    """Stage by stage, each on what so few steps of those before have left."""
    kind, source = find(recipe), open_data(data)
    plan = build(kind, source, kind.options().with_overrides(options, f"recipe {recipe}"), 0, device)
    images = any(has_convolutions(player.module) for stage in plan.stages for player in stage.game.players.values())
    feed = Feed(source, seed=0, batch=plan.batch, device=device, channels_last=images)
    if plan.prepare:
        plan.prepare(feed.at(0).x)
    table = Table(precision=autocast(precision, device))
    for stage in plan.stages:
        game, times = stage.game, []
        for step in range(steps + 3):  # the first three warm up
            began = time.perf_counter()
            clock = Clock(step=step, progress=(step + 0.5) / (steps + 3))
            game.step(lambda k, at=step * game.batches_per_step, view=stage.view: view(feed.at(at + k)), clock, table)
            times.append(time.perf_counter() - began)
        seconds = statistics.median(times[3:])
        rate = round(plan.batch * game.batches_per_step / seconds)
        yield {
            "stage": stage.name,
            "precision": precision,
            "milliseconds": round(1e3 * seconds, 2),
            "images_per_second": rate,
        }
