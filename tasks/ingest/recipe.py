"""A build's recipe: all that decides its rows but for the corpora, and the digests that rows carry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.captions.settings import AestheticSettings, CaptionerSettings
from tasks.clips.limits import LimitSettings
from tasks.clips.settings import ClipSettings
from tasks.filters.settings import FilterSettings, NuditySettings
from tasks.ingest.settings import BuildSettings
from tasks.model_files import aesthetic_digest, encoder_digest, scorer_digest

if TYPE_CHECKING:
    from tasks.filters.measures import Measures

_HEAD = "+head:"


@dataclass(frozen=True)
class Recipe:
    """The models, folders or names, and the settings of every stage."""

    model: str
    clip_model: str
    clips: ClipSettings
    filter: FilterSettings
    captioner: CaptionerSettings = field(default_factory=CaptionerSettings)
    aesthetic: AestheticSettings = field(default_factory=AestheticSettings)
    build: BuildSettings = field(default_factory=BuildSettings)
    nudity: NuditySettings = field(default_factory=NuditySettings)
    limits: LimitSettings = field(default_factory=LimitSettings)

    @property
    def captions_needed(self) -> bool:
        """Whether the corpora must have the captions, as no model writes them."""
        return self.captioner.model is None

    @property
    def captions_all(self) -> bool:
        """Whether a model writes captions of all kept clips, beside those that the corpora have."""
        return self.captioner.model is not None and self.captioner.when == "always"

    @property
    def captioned_by(self) -> str | None:
        """What a row notes of the captioning model: its name, and a digest of it with its prompts; None without one."""
        if self.captioner.model is None:
            return None
        from tasks.captions.writing import captioner_digest

        return f"{self.captioner.model} {captioner_digest(self.captioner)}"

    @property
    def measures(self) -> Measures:
        """What the filters that are on ask of networks; RequestError when what they need is not there."""
        from tasks.filters.measures import wanted_measures

        return wanted_measures(self.filter, self.nudity)


@dataclass(frozen=True)
class Digests:
    """The digests that identify the models behind a row: a row that carries others is stale."""

    encoder: str
    scorer: str

    @classmethod
    def of(cls, recipe: Recipe) -> Digests:
        """Reads the models' files only, and loads none; RequestError when they are no models."""
        scorer, head = scorer_digest(recipe.clip_model), recipe.aesthetic.head
        return cls(
            encoder_digest(recipe.model, recipe.build.precision),
            scorer if head is None else f"{scorer}{_HEAD}{aesthetic_digest(head)}",
        )


def clip_model_digest(scorer: str) -> str:
    """Gives the part of a row's `scorer` that names the CLIP model: its features depend on no more."""
    return scorer.split(_HEAD, 1)[0]
