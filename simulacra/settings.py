"""How a run is run, whatever its recipe: the options every `train` takes. Imports nothing heavy."""

import re
from typing import Literal

from pydantic import Field

from simulacra.config import Config, Words
from simulacra.errors import UserError


class RunOptions(Config):
    """Options of a run. Those in `FIXED` belong to its result and cannot change when it is taken up again."""

    steps: int | None = Field(default=None, gt=0, description="budget in steps (default: the recipe's)")
    images: int | None = Field(default=None, gt=0, description="budget in training images shown")
    minutes: float | None = Field(default=None, gt=0, description="budget in wall time")
    horizon: int | None = Field(
        default=None, gt=0, description="steps over which schedules run (default: the first budget)"
    )
    seed: int = Field(default=0, ge=0, lt=2**62, description="key of all randomness")
    size: str | None = Field(default=None, description="resize images to this, as 64 or 64x48 (height x width)")
    channels: Literal[1, 3] | None = Field(
        default=None, description="1: as grey, 3: as colour (default: as the data is)"
    )
    rows: int | None = Field(default=None, gt=0, description="train on so many rows of the data, chosen by the seed")
    beside: str | None = Field(default=None, description="a second data set, for recipes of two: as --data")
    beside_rows: int | None = Field(default=None, gt=0, description="so many rows of the second data set")
    labelled: int | None = Field(default=None, gt=0, description="rows of each class whose labels may be seen (ssgan)")
    mirror: bool = Field(default=False, description="flip training images left to right by a fair coin")
    skip_broken: bool = Field(default=False, description="leave out files that cannot be read instead of refusing")
    stream: bool | None = Field(
        default=None, description="decode files while training (default: when over 1 GiB in memory)"
    )
    workers: int = Field(default=2, ge=0, description="processes that decode a streamed data set")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, mps")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="of the networks; auto is bfloat16 for images where the hardware computes in it"
    )
    deterministic: bool = Field(default=False, description="on a GPU, only kernels that repeat bit for bit")
    micro_batches: int = Field(default=1, ge=1, description="split each batch to save memory")
    log_every: int = Field(default=10, gt=0, description="steps from one line of log.jsonl to the next")
    preview_every: int | None = Field(
        default=None, gt=0, description="steps from one preview to the next (default: a tenth)"
    )
    checkpoint_every: int | None = Field(default=None, gt=0, description="steps between checkpoints (default: a tenth)")
    evaluate: Words | None = Field(default=None, description="scores taken while training, with commas: see `measures`")
    evaluate_every: int | None = Field(default=None, gt=0, description="steps between evaluations (default: a tenth)")
    evaluate_features: str | None = Field(default=None, description="extractor of those scores (default: by the data)")
    evaluate_samples: int | None = Field(default=None, gt=0, description="samples drawn for them (default: 10000)")
    keep: int = Field(default=2, ge=1, description="checkpoints kept")
    retries: int = Field(default=3, ge=0, description="tries after a NaN before giving up")
    with_training: bool = Field(default=False, description="put the other players into model/ too, for fine-tuning")
    quiet: bool = Field(default=False, description="no progress")


FIXED = (
    *("seed", "size", "channels", "rows", "beside", "beside_rows", "labelled"),
    *("mirror", "skip_broken", "stream", "precision", "deterministic"),
)
BUDGETS = ("steps", "images", "minutes")


def parse_size(text: str | None) -> tuple[int, int] | None:
    """(height, width) of `64` or `64x48`. Raises UserError for anything else."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match:
        raise UserError(f"size '{text}' is not understood: 64, or 64x48 for height x width")
    height = int(match[1])
    return height, int(match[2] or height)
