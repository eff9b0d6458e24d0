"""Requests that cannot be carried out are refused by field, before any work."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.errors import RequestError
from tasks.evaluation.protocols import find_protocol
from tasks.evaluation.reference import find_reference
from tasks.evaluation.reference_sources import find_sources
from tasks.evaluation.settings import EvaluationSettings
from tasks.evaluation.setup import EvaluationSetup, ProtocolSetup, value_digest
from tasks.tiny.world.corpora import write_tiny_world

TINY = find_protocol("tiny")


@pytest.fixture(scope="module")
def reference_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve captioned clips of the tiny world."""
    root = tmp_path_factory.mktemp("world") / "tiny"
    sizes = {"images": 2, "short_videos": 2, "class_videos": 2, "long_videos": 1, "reference": 12}
    return write_tiny_world(root, seed=3, **sizes).parent / "reference"


@pytest.mark.parametrize(
    "values", [{"num_videos": 1}, {"seed": -1}, {"num_videos": 4, "long_videos": 5}, {"videos": 3}]
)
def test_values_out_of_range_are_refused(values: dict) -> None:
    with pytest.raises(ValidationError):
        EvaluationSettings(**values)


def test_files_are_shuffled_by_the_seed(reference_dir: Path) -> None:
    def order(seed: int) -> list[str]:
        settings = EvaluationSettings(num_videos=4, long_videos=0, seed=seed)
        return [source.uri for source in find_sources(reference_dir, TINY, settings)]

    assert order(1) == order(1) and order(1) != order(2)
    assert sorted(order(1)) == sorted(order(2)) and len(order(1)) == 12


def test_too_few_videos_are_refused_not_repeated(reference_dir: Path) -> None:
    with pytest.raises(RequestError, match="has 12 captioned videos, num_videos asks for 13"):
        find_sources(reference_dir, TINY, EvaluationSettings(num_videos=13, long_videos=0))


def test_a_missing_folder_and_one_without_captions_are_refused(tmp_path: Path) -> None:
    settings = EvaluationSettings(num_videos=2, long_videos=0)
    with pytest.raises(RequestError, match="is no folder"):
        find_sources(tmp_path / "none", TINY, settings)
    np.zeros(10).tofile(tmp_path / "video.mp4")
    with pytest.raises(RequestError, match="has 0 captioned videos"):
        find_sources(tmp_path, TINY, settings)


def test_clips_whose_rate_nobody_can_tell_are_left_to_be_named(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.mp4").write_bytes(b"no video")
        (tmp_path / f"{number}.txt").write_text("a red circle")
    settings = EvaluationSettings(num_videos=2, long_videos=0)
    assert len(find_reference(tmp_path, TINY, settings, 8.0).sources) == 2


def test_equal_set_ups_have_equal_digests() -> None:
    protocol = ProtocolSetup.of(TINY, 8.0, 4, 4)
    setup = EvaluationSetup(
        protocol=protocol, seed=0, width=64, height=64, reference="r", prompts_digest="p", networks="n"
    )
    assert setup.digest() == replace(setup).digest() == value_digest(setup.as_dict())
    assert len(setup.digest()) == 16 and replace(setup, seed=1).digest() != setup.digest()
    turned = dict(reversed(list(setup.as_dict().items())))
    assert list(turned) != list(setup.as_dict()) and value_digest(turned) == setup.digest()


def test_the_publics_protocols_ask_for_ucf101(reference_dir: Path) -> None:
    settings = EvaluationSettings(num_videos=2, long_videos=0)
    for name in ("fvd2048-16f", "vidrd-paper"):
        with pytest.raises(RequestError, match=f"has not UCF-101's layout .* the protocol {name} asks for"):
            find_sources(reference_dir, find_protocol(name), settings)


def test_one_word_of_one_file_makes_another_reference(reference_dir: Path, tmp_path: Path) -> None:
    settings = EvaluationSettings(num_videos=2, long_videos=0)
    shutil.copytree(reference_dir, tmp_path / "copy")

    def digest(folder: Path, fps: float = 8.0, seed: int = 0) -> str:
        return find_reference(folder, TINY, settings.model_copy(update={"seed": seed}), fps).digest()

    usual = digest(reference_dir)
    assert digest(tmp_path / "copy") == usual  # wherever it lies
    assert digest(reference_dir, fps=4.0) != usual and digest(reference_dir, seed=1) != usual
    manifest = tmp_path / "copy" / "manifest.tsv"
    manifest.write_text(manifest.read_text().replace("circle", "disc", 1).replace("square", "box", 1))
    assert digest(tmp_path / "copy") != usual
    shutil.copy(reference_dir / "manifest.tsv", manifest)
    first, second = sorted((tmp_path / "copy").glob("*.mp4"))[:2]
    first.write_bytes(second.read_bytes())
    assert digest(tmp_path / "copy") != usual
