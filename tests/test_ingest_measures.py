"""What filters ask of networks: measured once, changed without decoding, made where it is missing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from flows.dataset.info import dataset_info
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.verify import verify
from tasks.clips.video_io import encode
from tasks.errors import RequestError
from tasks.filters.measures import wanted_measures
from tasks.filters.settings import FilterSettings, NuditySettings
from tasks.ingest.placement import UNMEASURED
from tasks.ingest.recipe import Recipe
from tasks.ingest.thresholds import Asked
from tasks.tiny.world.drawing import Scene, draw_clip
from tests.build_world import all_rows, build, keep_all, refilter
from tests.onnx_files import write_classifier

COLOURS = {"plain": "green", "titled": "green", "red": "red"}


def _frames(name: str, number: int) -> np.ndarray:
    """A drawn clip; a subtitle under `titled`, and a red ground in `red`."""
    frames = draw_clip(Scene(COLOURS[name], "circle", "up"), np.random.default_rng(number), 16, 64).copy()
    if name == "red":
        frames[..., 0] = 255
    if name == "titled":
        pages = [Image.fromarray(frame) for frame in frames]
        for page in pages:
            ImageDraw.Draw(page).text((4, 46), "SUBTITLE", (255, 255, 255), ImageFont.load_default(11))
        frames = np.stack([np.asarray(page) for page in pages])
    return frames


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A video each of the three, and an image of the titled and the plain one."""
    tables = []
    for kind, names in (("short-videos", ("plain", "titled", "red")), ("images", ("plain", "titled"))):
        folder = tmp_path / "media" / kind
        folder.mkdir(parents=True)
        for number, name in enumerate(names):
            frames = _frames(name, number)
            if kind == "images":
                Image.fromarray(frames[0]).save(folder / f"{name}.png")
            else:
                encode(folder / f"{name}.mp4", frames, 8.0)
            (folder / f"{name}.txt").write_text(f"a {COLOURS[name]} circle")
        values = {
            "name": kind,
            "kind": kind,
            "format": "folder",
            "licence": "CC0-1.0",
            "path": f"media/{kind}",
        }
        tables += ["[[corpus]]", *(f'{key} = "{value}"' for key, value in values.items())]
    (tmp_path / "corpora.toml").write_text("\n".join(tables))
    return tmp_path / "corpora.toml"


@pytest.fixture
def with_detector(tmp_path: Path, tiny_profile) -> Recipe:
    """A recipe whose detector of nudity looks for red, and whose filters are off."""
    path = write_classifier(tmp_path / "red.onnx", gain=8.0)
    return replace(
        keep_all(tiny_profile), nudity=NuditySettings(model=str(path), licence="CC0-1.0", labels=("0",))
    )


def _named(dataset: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in all_rows(dataset).values():
        yield Path(row["source_uri"]).name, row


def _reasons(dataset: Path) -> dict[str, str | None]:
    return {name: row["reason"] for name, row in _named(dataset)}


def test_a_filter_that_is_turned_on_later_measures_what_is_missing_and_then_never_again(
    corpus, with_detector, tmp_path, workers
):
    dataset, said = tmp_path / "d", []
    first = build(corpus, dataset, with_detector, workers=workers)
    assert first.measured == 0 and first.kept == 5 and first.nudity is None
    assert all(row["text_area"] is None and row["nudity"] is None for _, row in _named(dataset))
    on = refilter(
        dataset,
        with_detector,
        asked=Asked({"max_text_area": 0.03, "max_nudity": 0.5}),
        workers=workers,
        on_progress=lambda done, total, text: said.append(text),
    )
    assert on.measured == 5 and "measuring text of 5 clips, nudity of 5 clips" in said
    assert on.nudity == {"model": with_detector.nudity.model, "licence": "CC0-1.0"}
    assert dataset_info(ClipDataset.open(dataset))["nudity"] == on.nudity
    reasons = {"plain.mp4": None, "titled.mp4": "text_area", "red.mp4": "nudity",
               "plain.png": None, "titled.png": "text_area"}  # fmt: skip
    assert _reasons(dataset) == reasons
    rows = dict(_named(dataset))
    assert rows["titled.mp4"]["held_text_area"] > 0.03 and rows["red.mp4"]["nudity"] > 0.5
    assert verify(dataset).problem_count == 0
    # No file is left to be decoded, and none has to be.
    for path in (corpus.parent / "media").rglob("*.*"):
        path.unlink()
    held = Asked({"max_text_area": None, "max_held_text_area": 0.03, "max_nudity": 0.99999})
    again = refilter(dataset, with_detector, asked=held, workers=workers)
    assert (again.measured, again.encoded, again.unavailable) == (0, 0, {})
    # What stays in place says nothing of an image, which moves as we drew it.
    assert _reasons(dataset) == dict.fromkeys(reasons) | {"titled.mp4": "held_text_area"}
    off = refilter(dataset, with_detector, asked=Asked(reset=True), workers=workers)
    assert off.nudity is None and dataset_info(ClipDataset.open(dataset))["nudity"] is None
    assert not any(_reasons(dataset).values())


def test_a_build_measures_as_it_decodes_and_another_detector_measures_again(
    corpus, with_detector, tmp_path, workers
):
    dataset = tmp_path / "d"
    on = Asked({"max_text_area": 1.0, "max_nudity": 0.5})
    summary = build(corpus, dataset, with_detector, asked=on, workers=workers)
    assert summary.measured == 0 and summary.seconds["text"] > 0 and summary.seconds["nudity"] > 0
    assert _reasons(dataset)["red.mp4"] == "nudity" and _reasons(dataset)["titled.mp4"] is None
    digests = {row["nudity_model"] for _, row in _named(dataset)}
    (text,) = {row["text_finder"] for _, row in _named(dataset)}
    measures = wanted_measures(FilterSettings(max_text_area=1, max_nudity=1), with_detector.nudity)
    assert (text, *digests) == tuple(measure.digest for measure in measures)
    calmer = write_classifier(tmp_path / "calm.onnx", gain=0.0)
    other = replace(with_detector, nudity=with_detector.nudity.model_copy(update={"model": str(calmer)}))
    again = refilter(dataset, other, workers=workers)
    assert again.measured == 5 and _reasons(dataset)["red.mp4"] is None
    assert {round(row["nudity"], 4) for _, row in _named(dataset)} == {0.3333}
    assert {row["text_finder"] for _, row in _named(dataset)} == {text}


def test_what_cannot_be_measured_any_more_is_named_and_not_kept(corpus, with_detector, tmp_path, workers):
    dataset = tmp_path / "d"
    build(corpus, dataset, with_detector, workers=workers)
    gone = corpus.parent / "media/images/plain.png"
    content = gone.read_bytes()
    gone.unlink()
    on = refilter(dataset, with_detector, asked=Asked({"max_text_area": 0.03}), workers=workers)
    assert on.measured == 4 and len(on.unavailable) == 1
    (clip_id,) = on.unavailable
    assert all_rows(dataset)[clip_id]["reason"] == UNMEASURED == _reasons(dataset)["plain.png"]
    # It comes back with its source, or once nobody asks.
    gone.write_bytes(content)
    back = refilter(dataset, with_detector, workers=workers)
    assert back.measured == 1 and not back.unavailable and _reasons(dataset)["plain.png"] is None


def test_a_detector_that_is_none_is_refused_before_a_source_is_read(corpus, with_detector, tmp_path, workers):
    (tmp_path / "red.onnx").write_text("no network")
    dataset = tmp_path / "d"
    with pytest.raises(RequestError, match=r"nudity: model: .*red\.onnx cannot be loaded"):
        build(corpus, dataset, with_detector, asked=Asked({"max_nudity": 0.5}), workers=workers)
    none = replace(with_detector, nudity=NuditySettings(), filter=FilterSettings(max_nudity=0.5))
    with pytest.raises(RequestError, match=r"max_nudity needs a detector; name it as model in \[nudity\]"):
        build(corpus, dataset, none, workers=workers)
    assert build(corpus, dataset, with_detector, workers=workers).quarantined == 0
