"""Requests that cannot be carried out are refused by field, before any work."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.errors import RequestError
from tasks.evaluation.reference import find_sources
from tasks.evaluation.settings import EvaluationSettings, find_protocol
from tasks.tiny_world.corpora import write_tiny_world


@pytest.fixture(scope="module")
def reference_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve captioned clips of the tiny world."""
    root = tmp_path_factory.mktemp("world") / "tiny"
    sizes = {"images": 2, "short_videos": 2, "class_videos": 2, "long_videos": 1, "reference": 12}
    return write_tiny_world(root, seed=3, **sizes).parent / "reference"


def test_tiny_shows_each_of_8_frames_twice() -> None:
    protocol = find_protocol("tiny")
    assert (protocol.num_frames, protocol.frame_repeats) == (8, 2)


@pytest.mark.parametrize("name", ["fvd2048-16f", "vidrd-paper"])
def test_protocols_of_later_are_refused_by_name(name: str) -> None:
    with pytest.raises(RequestError, match=f"protocol: {name} cannot be run yet"):
        find_protocol(name)


def test_an_unknown_protocol_names_the_usable_ones() -> None:
    with pytest.raises(RequestError, match="protocol: 'fvd' is unknown; use tiny or quick"):
        find_protocol("fvd")


@pytest.mark.parametrize(
    "values", [{"num_videos": 1}, {"seed": -1}, {"num_videos": 4, "seam_videos": 5}, {"videos": 3}]
)
def test_values_out_of_range_are_refused(values: dict) -> None:
    with pytest.raises(ValidationError):
        EvaluationSettings(**values)


def test_files_are_shuffled_by_the_seed(reference_dir: Path) -> None:
    def order(seed: int) -> list[str]:
        settings = EvaluationSettings(num_videos=4, seam_videos=0, seed=seed)
        return [source.uri for source in find_sources(reference_dir, settings)]

    assert order(1) == order(1) and order(1) != order(2)
    assert sorted(order(1)) == sorted(order(2)) and len(order(1)) == 12


def test_too_few_videos_are_refused_not_repeated(reference_dir: Path) -> None:
    with pytest.raises(RequestError, match="has 12 captioned videos, num_videos asks for 13"):
        find_sources(reference_dir, EvaluationSettings(num_videos=13))


def test_a_missing_folder_and_one_without_captions_are_refused(tmp_path: Path) -> None:
    settings = EvaluationSettings(num_videos=2, seam_videos=0)
    with pytest.raises(RequestError, match="is no folder"):
        find_sources(tmp_path / "none", settings)
    np.zeros(10).tofile(tmp_path / "video.mp4")
    with pytest.raises(RequestError, match="has 0 captioned videos"):
        find_sources(tmp_path, settings)
