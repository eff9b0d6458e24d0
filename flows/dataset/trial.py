"""What `vidrd dataset refilter` would do with thresholds, without doing it.

vidrd dataset refilter runs/datasets/mine --set max_text_area=0.02 --try
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flows.build_dataset.request import BuildDatasetParams, read_request
from storage.dataset.builds import builds_until
from storage.dataset.clip_dataset import ClipDataset
from tasks.ingest.recipe import Digests
from tasks.ingest.thresholds import thresholds_in_force
from tasks.ingest.trial import try_thresholds


def try_refilter(params: BuildDatasetParams) -> dict[str, Any]:
    """Tells it of the dataset's newest build; RequestError or StorageError as for `refilter` itself."""
    request = read_request(params)
    dataset = ClipDataset.open(request.target.dataset_dir)
    builds = builds_until(dataset.folder, dataset.tag)
    profile = request.profile
    settings = thresholds_in_force(builds, profile.filter, profile.name, request.asked).settings
    recipe = replace(request.recipe, filter=settings)
    told = try_thresholds(dataset, recipe, Digests.of(recipe), settings)
    return {
        "dataset": str(dataset.folder),
        "tag": dataset.tag,
        "filter": {name: value for name, value in settings.model_dump().items() if value is not None},
        **told,
    }
