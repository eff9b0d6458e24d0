"""Reads published UCF-101 results from the table that comes with the package."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FULL_COUNT = 10_000  # generated videos of the protocol `vidrd-paper`, Make-A-Video's and VidRD's


class PublishedResult(BaseModel):
    """Holds one row: a method's results, how they were taken, and where they stand.

    `fvd` and `inception_score` (`is` in the file) are as printed; `videos` is the number of generated videos or
    words for it; `not stated` stands for what no text named in the row says. `read_in` names the text that a
    figure or a condition was read in where that is not `source` itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    method: str
    year: int = Field(ge=2020)
    setting: Literal["zero-shot", "trained"]
    fvd: float = Field(gt=0)
    inception_score: float | None = Field(None, alias="is", gt=1, le=101)
    resolution: str = Field(min_length=1)
    videos: int | str
    prompts: str = Field(min_length=1)
    networks: str = Field(min_length=1)
    source: str = Field(min_length=1)
    read_in: str = Field(min_length=1)
    note: str


def published_results() -> list[PublishedResult]:
    """Reads every row of `published_ucf101.toml`, in the file's order."""
    text = files("tasks.pages").joinpath("published_ucf101.toml").read_text(encoding="utf-8")
    return [PublishedResult.model_validate(row) for row in tomllib.loads(text)["result"]]
