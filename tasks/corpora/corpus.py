"""What a corpus is: one table of the corpora file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from storage.dataset.columns import Kind
from storage.local.addresses import without_secrets
from storage.local.typed_paths import expanded
from tasks.corpora.encodings import known_encoding

Format = Literal["folder", "csv", "parquet", "class-folders", "webdataset", "jsonl", "hf"]


class Corpus(BaseModel):
    """One `[[corpus]]` table; `path` is an address, or a local path that is absolute once the file is loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=200)
    kind: Kind
    format: Format
    path: Path | str
    licence: str = Field(min_length=1)
    file_column: str | None = Field(None, description="tables: column of the files' paths")
    caption_column: str | None = Field(None, description="tables: column of the captions")
    start_column: str | None = Field(None, description="tables: column of where a caption begins, in seconds")
    end_column: str | None = Field(None, description="tables: column of where a caption ends, in seconds")
    licence_column: str | None = Field(None, description="tables: column of the files' licences")
    bytes_column: str | None = Field(
        None, description="parquet: column of the media's bytes or of their paths"
    )
    prompt_template: tuple[str, ...] = Field(
        ("{label}",), min_length=1, description="class-folders: the caption or captions, with {label} in them"
    )
    split_fold: Literal[1, 2, 3] | None = Field(None, description="class-folders: which of UCF-101's lists")
    subset: str | None = Field(None, description="hf: which of a dataset's configurations")
    encoding: str | None = Field(
        None, description="of the files that hold words; none: told from their bytes by a fixed rule"
    )

    caption_choice: Literal["best", "drawn"] = Field(
        "best",
        description="of several captions of a clip: the one that CLIP likes best, or one drawn by its seed",
    )
    sound_marks: bool = Field(True, description="subtitles: keep [music] and the like among the words")
    speaker_names: bool = Field(True, description="subtitles: keep names before a colon among the words")

    @field_validator("path", mode="before")
    @classmethod
    def _path_or_address(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if not value:
            raise ValueError("is empty")
        value = expanded(value)
        if "://" not in value:
            return Path(value)
        if "::" in value:
            raise ValueError("chained addresses are not read")
        if without_secrets(value) != value:
            # The tables of a dataset keep where its sources lie.
            raise ValueError("holds a name or a password; give those to fsspec, as FSSPEC_SFTP_PASSWORD, say")
        # A local address gets the rules for links that local paths have.
        protocol, _, rest = value.partition("://")
        return Path(rest) if protocol in ("file", "local") else value

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, value: str | None) -> str | None:
        return None if value is None else known_encoding(value)

    @field_validator("prompt_template", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("prompt_template")
    @classmethod
    def _template_has_label(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all("{label}" in template for template in value):
            raise ValueError("must contain {label}")
        return value
