"""Corpora of images, short and long videos to a tagged dataset: read, cut, filter, encode, commit.

vidrd build-dataset --corpora corpora.toml --dataset runs/datasets/mine
vidrd dataset refilter runs/datasets/mine --clip-threshold 0.27
vidrd dataset retry-quarantine runs/datasets/mine
prefect deployment run build-dataset/build-dataset
"""

from typing import Any

from prefect import flow

from flows.build_dataset.request import BuildDatasetParams, read_request
from flows.build_dataset.run import run
from flows.runs.failures import tells_why
from flows.runs.read_once import request_of


@flow(name="build-dataset")
@tells_why
def build_dataset(params: BuildDatasetParams = BuildDatasetParams()) -> dict[str, Any]:  # noqa: B008
    """Runs the build and returns what it counted; RequestError when the dataset is without a clip and may not be."""
    return run(request_of(params, read_request))
