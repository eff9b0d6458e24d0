"""The workers of a build, started when they are first needed: on Ray, or in this process where that does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.cluster_checks import uses_cluster
from tasks.ingest.cut_captions import count_cut_captions
from tasks.ingest.executor import ITEMS_PER_WORKER
from tasks.ingest.recipe import Digests, Recipe

if TYPE_CHECKING:
    from tasks.ingest.executor import EncodeTexts, Executor


class Workers:
    """An executor that is started when it is first asked for; use it as a context manager.

    Builds one after the other may share it, as long as their models are the same.
    """

    def __init__(self, recipe: Recipe, digests: Digests) -> None:
        self._recipe, self._digests = recipe, digests
        self._executor: Executor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.close()

    def fit(self, recipe: Recipe) -> bool:
        """Tells whether a build by this recipe can use these workers: they hold its models."""
        return _models(self._recipe) == _models(recipe)

    def executor(self, items: int) -> Executor:
        """Gives the executor for so many sources or rows: the one that is there, unless it is too small for them."""
        local = runs_here(items)
        if self._executor is not None and self._executor.is_local and not local:
            self._executor.close()
            self._executor = None
        if self._executor is None:
            self._executor = self._start_local(items) if local else self._start_on_ray(items)
        return self._executor

    def count_cut_captions(self, dataset_dir: Path) -> dict[str, Any]:
        """Counts the captions that a model cuts: where the tokenizers' libraries are loaded, if they are anywhere."""
        models = dataset_dir, self._recipe.model, self._recipe.clip_model
        if self._executor is None:
            return count_cut_captions(*models)
        return self._executor.count_cut_captions(*models)

    @contextmanager
    def text_encoder(self) -> Iterator[EncodeTexts]:
        """Gives what makes captions' states: one worker does, so it is this process unless Ray is in use anyway."""
        if runs_here(items=1) and (self._executor is None or self._executor.is_local):
            from tasks.captions.text_states import TextEncoder  # it imports torch and transformers

            yield TextEncoder(self._recipe.model).encode
            return
        from tasks.cluster import ensure_ray  # it imports Ray, and so does the pool
        from tasks.ingest.pool import text_encoder_on_ray

        ensure_ray()
        with text_encoder_on_ray(self._recipe.model) as encode:
            yield encode

    def _start_local(self, items: int) -> Executor:
        from tasks.ingest.local_pool import LocalPool

        return LocalPool(self._recipe, self._digests, items)

    def _start_on_ray(self, items: int) -> Executor:
        from tasks.cluster import ensure_ray  # it imports Ray, and so does the pool
        from tasks.ingest.pool import RayPool

        ensure_ray()
        return RayPool(self._recipe, self._digests, items)


def runs_here(items: int) -> bool:
    """Whether so many sources or rows are done in this process: no cluster is there, and one worker would do them."""
    return items <= ITEMS_PER_WORKER and not uses_cluster()


def _models(recipe: Recipe) -> tuple[object, ...]:
    build = recipe.build
    return (
        recipe.model,
        recipe.clip_model,
        recipe.captioner,
        recipe.aesthetic,
        build.latents_std,
        build.precision,
    )
