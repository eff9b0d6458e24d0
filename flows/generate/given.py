"""The video or picture that a request goes on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import RequestError
from tasks.generation.settings import SamplingSettings
from tasks.model_files import files_digest

if TYPE_CHECKING:
    from flows.generate.request import GenerateParams


@dataclass(frozen=True)
class Given:
    """A file, and whether its own frames are written before the new ones."""

    path: Path
    is_picture: bool
    only_new: bool
    digest: str

    @property
    def field(self) -> str:
        """Of the request."""
        return "image" if self.is_picture else "continue_from"

    def made_of(self) -> dict[str, Any]:
        """What of it makes a video again, as plain JSON."""
        return {self.field: {"file": self.path.name, "digest": self.digest, "only_new": self.only_new}}


def read_given(params: GenerateParams) -> Given | None:
    """None where a request begins with noise; RequestError for options that do not go together and files not there."""
    path = params.continue_from or params.image
    if path is None:
        if params.only_new:
            raise RequestError("only_new: is for continue_from or image")
        return None
    if params.continue_from is not None and params.image is not None:
        raise RequestError("image: give either continue_from or image, not both")
    field = "image" if params.continue_from is None else "continue_from"
    return Given(path, field == "image", params.only_new, given_digest(field, path, params))


def given_digest(field: str, path: Path, params: GenerateParams) -> str:
    """The digest of a file that a single video begins with; RequestError where it is not there or there are several."""
    if params.prompts_file is not None:
        raise RequestError(f"{field}: is for a single prompt, not for a prompts_file")
    try:
        return files_digest([path])
    except OSError as error:
        raise RequestError(f"{field}: {path}: {error.strerror or error}") from error


def check_method(given: Given | None, sampling: SamplingSettings) -> None:
    """RequestError for ways of sampling that reuse no clip before."""
    if given is not None and sampling.method != "vidrd":
        raise RequestError(f"{given.field}: method {sampling.method} cannot go on from it; vidrd can")
