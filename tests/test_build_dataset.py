"""Attacks the flow build-dataset: what it returns and shows, and one clear line for a wrong request."""

import json
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from flows.build_dataset.flow import build_dataset
from flows.build_dataset.request import BuildDatasetParams, read_request
from flows.build_dataset.run import run
from storage.dataset.clip_dataset import ClipDataset
from tasks.errors import RequestError
from tasks.tiny.world.drawing import Scene, draw_clip
from tasks.tiny.world.media import write_image
from tests.build_world import scored_dataset, small_world
from tests.dataset_rows import clip_ids

AGAIN = """
import json, sys
from flows.build_dataset.request import BuildDatasetParams, read_request
request = read_request(BuildDatasetParams(corpora=sys.argv[1], clip_threshold=-1))
from flows.build_dataset.run import run
result = run(request)
loaded = sorted({"ray", "torch", "prefect", "mlflow"} & set(sys.modules))
print(json.dumps({"tag": result["tag"], "skipped": result["skipped"], "loaded": loaded}))
"""


def test_wrong_requests_name_the_field(tmp_home):
    with pytest.raises(ValidationError, match="clip_threshold"):
        BuildDatasetParams(clip_threshold=1.5)
    with pytest.raises(ValidationError, match="corpus_file"):
        BuildDatasetParams(corpus_file="x.toml")
    with pytest.raises(RequestError, match=r"nowhere\.toml: no such corpora file"):
        read_request(BuildDatasetParams(corpora=tmp_home / "nowhere.toml"))
    with pytest.raises(RequestError, match="profile: 'large'"):
        read_request(BuildDatasetParams(profile="large"))
    assert not tmp_home.exists()


@pytest.mark.slow
@pytest.mark.gate
def test_the_flow_builds_and_says_so(tmp_home, tiny_profile, prefect_session):
    from prefect.client.orchestration import get_client

    corpora = small_world(tmp_home / "world")
    result = build_dataset(BuildDatasetParams(corpora=corpora, clip_threshold=-1))
    dataset = ClipDataset.open(tmp_home / "datasets" / "tiny")
    assert result["dataset_clips"] == len(dataset) == 22
    assert (result["tag"], result["quarantined"]) == (dataset.tag, 5)
    with get_client(sync_client=True) as client:
        artifacts = {artifact.key: artifact for artifact in client.read_latest_artifacts()}
    assert f"| clips in the dataset | {len(dataset)} |" in artifacts["build-dataset"].data
    assert "vanished.mp4" in artifacts["quarantine"].data
    # Once more in a process of its own: with nothing to do neither Ray nor a model nor Prefect is loaded.
    told = subprocess.run(
        [sys.executable, "-c", AGAIN, str(corpora)], capture_output=True, text=True, check=True
    )
    assert json.loads(told.stdout) == {"tag": "build-0001", "skipped": 22, "loaded": []}


def test_nothing_kept_is_an_error(tmp_home, tiny_profile):
    images = tmp_home / "images"
    images.mkdir(parents=True)
    (images / "text.png").write_text("This is no image.")
    (images / "text.txt").write_text("a red circle")
    (images / "uncaptioned.png").touch()
    corpora = tmp_home / "corpora.toml"
    lines = ["[[corpus]]", 'name = "broken"', 'kind = "images"', 'format = "folder"', 'path = "images"']
    corpora.write_text("\n".join([*lines, 'licence = "CC0-1.0"']))
    with pytest.raises(
        RequestError,
        match=r"2 sources quarantined, mostly: .*; vidrd dataset info .* lists them; the profile tiny is made for",
    ):
        run(read_request(BuildDatasetParams(corpora=corpora)))
    # A caption that says something else: the error says by how much it missed.
    write_image(images / "right.png", draw_clip(Scene("red", "circle", "left"), np.random.default_rng(0))[0])
    (images / "right.txt").write_text("a blue square")
    with pytest.raises(
        RequestError, match=r"1 clips rejected, best CLIP score -?0\.\d\d, threshold 0\.6; 2 sources"
    ):
        run(read_request(BuildDatasetParams(corpora=corpora)))


def test_thresholds_that_were_set_outlive_the_command(tmp_home, tiny_profile, capsys):
    """As an operator gives one command after the other: refilter, the bad files once more, refilter without a word."""
    images = tmp_home / "images"
    images.mkdir(parents=True)
    (images / "text.png").write_text("This is no image.")
    (images / "text.txt").write_text("a red circle")
    corpora = tmp_home / "corpora.toml"
    lines = ["[[corpus]]", 'name = "walks"', 'kind = "images"', 'format = "folder"', 'path = "images"']
    corpora.write_text("\n".join([*lines, 'licence = "CC0-1.0"']))
    scores = {"a": 0.3, "b": 0.35, "c": 0.1}  # as another CLIP gives them: the profile's 0.6 keeps none
    dataset = scored_dataset(tmp_home / "d", tiny_profile, scores, {"a": "a red circle " * 9})

    def give(**params):
        return run(read_request(BuildDatasetParams(dataset=dataset, **params)))

    result = give(action="refilter", clip_threshold=0.2)
    assert clip_ids(dataset) == ["a-0", "b-0"] and result["thresholds_set"] == {"clip_threshold": 0.2}
    assert "[build-dataset] 1 of 2 captions are longer than the 16 tokens that the model's text" in (
        capsys.readouterr().err
    )
    give(action="retry-quarantine", corpora=corpora)
    assert clip_ids(dataset) == ["a-0", "b-0"]
    give(action="refilter", filter={"min_brightness": 1.0})
    assert clip_ids(dataset) == ["a-0", "b-0"]
    tag = ClipDataset.open(dataset).tag
    with pytest.raises(RequestError, match="none of its 2 clips would be left"):
        give(action="refilter", reset=True)
    with pytest.raises(RequestError, match=r"clip_threshold 0\.9, set on this dataset"):
        give(action="retry-quarantine", clip_threshold=0.9)
    assert ClipDataset.open(dataset).tag == tag and clip_ids(dataset) == ["a-0", "b-0"]
    assert give(action="refilter", reset=True, allow_empty=True)["dataset_clips"] == 0
    with pytest.raises(RequestError, match=r"holds no clip: .*threshold 0\.6\); vidrd"):
        give(action="refilter")
