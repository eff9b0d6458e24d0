"""Paths as people type them, as fields of pydantic models that they fill in: parameters of flows and profiles."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from storage.local.addresses import without_secrets
from storage.local.typed_paths import expanded


def _expand_text(value: Any) -> Any:
    # A Path is a program's, or has been through this already.
    return expanded(value) if isinstance(value, str) else value


TypedPath = Annotated[Path, BeforeValidator(_expand_text)]
"""A path."""


def _holds_no_secret(value: str) -> str:
    if without_secrets(value) != value:
        # What is asked for is kept: by Prefect with the run, by MLflow with the model.
        raise ValueError("holds a name or a password; give those to fsspec, as FSSPEC_SFTP_PASSWORD, say")
    return value


TypedText = Annotated[str, BeforeValidator(_expand_text), AfterValidator(_holds_no_secret)]
"""Text that may hold a path: `DIR@TAG`, a model reference, an address, a profile."""
