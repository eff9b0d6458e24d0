"""The workers of a build, started when they are first needed: a build with nothing to do starts no Ray."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.ingest.cut_captions import count_cut_captions
from tasks.ingest.recipe import Digests, Recipe

if TYPE_CHECKING:
    from tasks.ingest.pool import Pool


class Workers:
    """A pool that is started when it is first asked for; use it as a context manager.

    Builds one after the other may share it, as long as their models are the same.
    """

    def __init__(self, recipe: Recipe, digests: Digests) -> None:
        self._recipe, self._digests = recipe, digests
        self._pool: Pool | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.close()

    def fit(self, recipe: Recipe) -> bool:
        """Tells whether a build by this recipe can use these workers: they hold its models, in its batches."""
        return _models(self._recipe) == _models(recipe)

    def pool(self, items: int) -> Pool:
        """Gives the pool, started for so many sources or rows unless it is there."""
        if self._pool is None:
            from tasks.cluster import ensure_ray  # it imports Ray, and so does the pool

            ensure_ray()
            from tasks.ingest.pool import Pool

            self._pool = Pool(self._recipe, self._digests, items)
        return self._pool

    def count_cut_captions(self, dataset_dir: Path) -> dict[str, Any]:
        """Counts the captions that a model cuts: on an actor, if there is one, which has the tokenizers' libraries."""
        models = dataset_dir, self._recipe.model, self._recipe.clip_model
        return count_cut_captions(*models) if self._pool is None else self._pool.count_cut_captions(*models)


def _models(recipe: Recipe) -> tuple[object, ...]:
    build = recipe.build
    return (
        recipe.model,
        recipe.clip_model,
        recipe.captioner,
        recipe.aesthetic,
        build.batch_clips,
        build.latents_std,
    )
