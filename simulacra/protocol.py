"""How scores are made: all that a score depends on beside the rows of both sides."""

from typing import Any

from pydantic import Field

from simulacra.config import Config, Words


class Protocol(Config):
    """How to judge. Left out, `metrics` and `features` follow from the data."""

    metrics: Words | None = Field(
        default=None, description="measures or single scores of theirs, with commas: see `simulacra measures`"
    )
    features: str | None = Field(default=None, description="extractor: inception, mnist, pixels, or X.safetensors")
    resizer: str | None = Field(default=None, description="how images are brought to the extractor's size")
    split: str | None = Field(
        default=None, description="reference rows: train, test or all (default: train; data: all)"
    )
    samples: int | None = Field(
        default=None, ge=1, description="rows judged (default: 10000 samples of a model, all of data)"
    )
    real_rows: int | None = Field(default=None, ge=1, description="reference rows, chosen by the seed (default: all)")
    seed: int = Field(
        default=0, ge=0, le=2**62 - 1, description="which samples, and which rows where not all are taken"
    )
    options: dict[str, Any] = Field(default={}, description="options of measures by dotted name, such as kid.subsets")
