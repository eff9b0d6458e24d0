"""What a corpus is: one table of the corpora file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Kind = Literal["images", "short-videos", "long-videos"]
Format = Literal["folder", "csv", "class-folders"]


class Corpus(BaseModel):
    """One `[[corpus]]` table; `path` is absolute once the file is loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=200)
    kind: Kind
    format: Format
    path: Path
    licence: str = Field(min_length=1)
    caption_column: str | None = Field(None, description="column of the manifest or CSV that holds captions")
    prompt_template: str = Field("{label}", description="class-folders: the caption, with {label} in it")

    @field_validator("path", mode="before")
    @classmethod
    def _local_path(cls, value: Any) -> Any:
        if isinstance(value, str) and "://" in value:
            raise ValueError("addresses are not read yet, copy the corpus and give its local path")
        return value

    @field_validator("prompt_template")
    @classmethod
    def _template_has_label(cls, value: str) -> str:
        if "{label}" not in value:
            raise ValueError("must contain {label}")
        return value
