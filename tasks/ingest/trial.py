"""What thresholds would do to a dataset, told from its columns: nothing is written, decoded or measured."""

from __future__ import annotations

from collections import Counter
from typing import Any

from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.columns import ENCODER, REASON, SCORER, SOURCE_ID
from storage.dataset.folder import CLIP_TABLES
from tasks.filters.measures import unmeasured
from tasks.filters.settings import FilterSettings
from tasks.ingest.placement import COLUMNS, evidence_columns, place
from tasks.ingest.recipe import Digests, Recipe
from tasks.ingest.reconcile import lacks_captions


def try_thresholds(
    dataset: ClipDataset, recipe: Recipe, digests: Digests, settings: FilterSettings
) -> dict[str, Any]:
    """Counts the clips that would stay, leave and come, by reason, as plain JSON.

    `to_measure` are clips that `refilter` would measure first: here they count as passing, so that they are an upper
    bound on what else would leave. `to_score`, `to_encode` and `to_caption` are clips that it would score anew, encode,
    or have captioned by a model.
    """
    rows = _rows(dataset, settings)
    places = dataset.table("sources").read([SOURCE_ID, "split"]).to_pylist()
    official = {row[SOURCE_ID]: row["split"] for row in places if row["split"] is not None}
    placed = list(zip(rows, place(rows, settings, official), strict=True))
    kept = [row for row, placement in placed if placement.reason is None]
    leaving = [p.reason for row, p in placed if row["table"] == "clips" and p.reason is not None]
    coming = [row[REASON] for row, p in placed if row["table"] == "rejected" and p.reason is None]
    lacking = Counter(measure.name for row in rows for measure in unmeasured(row, recipe.measures))
    return {
        "clips": {"now": sum(row["table"] == "clips" for row in rows), "then": len(kept)},
        "leaving": _counts(leaving),
        "coming": _counts(coming),
        "rejected": _counts([p.reason for _, p in placed if p.reason is not None]),
        "to_measure": dict(lacking),
        "to_score": sum(row[SCORER] != digests.scorer for row in rows),
        "to_encode": sum(row[ENCODER] != digests.encoder for row in kept),
        "to_caption": sum(lacks_captions(row, recipe) for row in kept),
    }


def _rows(dataset: ClipDataset, settings: FilterSettings) -> list[dict[str, Any]]:
    columns = [*COLUMNS, *evidence_columns(settings)]
    rows = []
    for table in CLIP_TABLES:
        more = [REASON] if table == "rejected" else []
        for batch in dataset.table(table).batches([*columns, *more], fill=True):
            rows += [row | {"table": table} for row in batch.to_pylist()]
    return rows


def _counts(reasons: list[Any]) -> dict[str, int]:
    return dict(Counter(reasons).most_common())
