"""All that decides the rows of a build but for the corpora, and the digests that rows carry."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.captions.aesthetics import aesthetic_digest
from tasks.captions.scoring import scorer_digest
from tasks.captions.settings import AestheticSettings, CaptionerSettings
from tasks.clips.settings import ClipSettings
from tasks.filters.settings import FilterSettings
from tasks.ingest.settings import BuildSettings
from tasks.latents.encoder import encoder_digest

_HEAD = "+head:"


@dataclass(frozen=True)
class Recipe:
    """The models, folders or names, and the settings of every stage."""

    model: str
    clip: str
    clips: ClipSettings
    filter: FilterSettings
    captioner: CaptionerSettings = field(default_factory=CaptionerSettings)
    aesthetic: AestheticSettings = field(default_factory=AestheticSettings)
    build: BuildSettings = field(default_factory=BuildSettings)

    @property
    def captions_needed(self) -> bool:
        """Whether the corpora must have the captions, as no model writes them."""
        return self.captioner.model is None


@dataclass(frozen=True)
class Digests:
    """What identifies the models behind a row: a row that carries others is stale."""

    encoder: str
    scorer: str

    @classmethod
    def of(cls, recipe: Recipe) -> Digests:
        """Reads files only, so that a run with nothing to do loads no model; RequestError when they are no models."""
        scorer, head = scorer_digest(recipe.clip), recipe.aesthetic.head
        return cls(
            encoder_digest(recipe.model),
            scorer if head is None else f"{scorer}{_HEAD}{aesthetic_digest(head)}",
        )


def clip_digest(scorer: str) -> str:
    """The part of a row's `scorer` that names the CLIP model: its features depend on no more."""
    return scorer.split(_HEAD, 1)[0]
