"""Requests of generate, its settings and files: bad ones are refused by name, good ones open in a player."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from flows.generate.request import GenerateParams, read_request
from flows.generate.run import needs_ray
from tasks.clips.video_io import decode_bytes
from tasks.errors import RequestError
from tasks.generation.asked import AskedVideos
from tasks.generation.contact_sheet import SheetClip, write_contact_sheet
from tasks.generation.generate import stream_batch, stream_videos
from tasks.generation.on_ray import stream_videos_on_ray
from tasks.generation.settings import SamplingSettings
from tasks.generation.video_file import VideoFile
from tasks.tiny.world.drawing import Scene, draw_clip
from tests.whole_videos import whole_videos, write_video

PROMPTS = ["a red circle moving right", "a blue square moving up", "a green circle moving left"]


@pytest.fixture
def drawn_nhwc() -> np.ndarray:
    """A video of two clips of eight frames."""
    rng = np.random.default_rng(0)
    return np.concatenate([draw_clip(Scene("red", "circle", way), rng) for way in ("left", "up")])


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({}, "prompt: missing"),
        ({"prompt": "  "}, "prompt: missing"),
        ({"prompt": "a", "prompts_file": "b"}, "not both"),
        ({"prompt": "a", "out_dir": "b"}, "out_dir:"),
        ({"prompt": "a", "out": "video.avi"}, "must end in .mp4"),
        ({"prompt": "a", "then": [" "]}, "then: a text is empty"),
        ({"prompt": "a", "then": ["b", "c"], "clips": 2}, "then: 2 more texts need at least 3 clips"),
        ({"prompts_file": "nowhere.txt"}, "nowhere.txt"),
    ],
)
def test_a_wrong_request_is_one_line_that_names_the_field(
    tmp_home: Path, request_: dict[str, Any], named: str
) -> None:
    with pytest.raises(RequestError, match=named) as caught:
        read_request(GenerateParams(**request_))
    assert "\n" not in str(caught.value)


def test_an_output_that_cannot_be_written_is_refused(tmp_home: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RequestError, match="is a file, not a folder"):
        read_request(GenerateParams(prompt="a", out=file / "video.mp4"))
    folder = tmp_path / "folder.mp4"
    folder.mkdir()
    with pytest.raises(RequestError, match="is a folder"):
        read_request(GenerateParams(prompt="a", out=folder))


def test_a_prompts_file_without_prompts_is_refused(tmp_home: Path, tmp_path: Path) -> None:
    empty = tmp_path / "prompts.txt"
    empty.write_text("\n \n")
    with pytest.raises(RequestError, match="holds no prompt"):
        read_request(GenerateParams(prompts_file=empty))


def test_sampling_settings_are_the_pipelines_own() -> None:
    from vidrd_model import VidRDPipeline

    known = inspect.signature(VidRDPipeline.stream).parameters
    assert SamplingSettings().pipeline_arguments().keys() <= known.keys()
    with pytest.raises(ValidationError, match="prompt_frames 9 is more than num_frames 8"):
        SamplingSettings(num_frames=8, prompt_frames=9)


def test_the_mp4_plays_anywhere_and_shows_the_frames(tmp_path: Path, drawn_nhwc: np.ndarray) -> None:
    import av

    video = write_video(
        [drawn_nhwc[:8], drawn_nhwc[8:]], "a red circle", 7, 2, 8.0, tmp_path / "out" / "video.mp4"
    )
    with av.open(str(video.file)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    decoded, fps = decode_bytes(video.file.read_bytes())
    assert decoded.shape == drawn_nhwc.shape and fps == 8.0
    assert np.abs(decoded.astype(int) - drawn_nhwc).mean() < 3
    assert video.contact_sheet.is_file()


def test_the_contact_sheet_shows_every_frame_once_in_order(tmp_path: Path) -> None:
    greys = np.arange(16, dtype=np.uint8) * 10 + 5
    frames = np.ascontiguousarray(np.broadcast_to(greys[:, None, None, None], (16, 64, 64, 3)))
    clips = [SheetClip(0, 0, frames[:8]), SheetClip(1, 8, frames[8:])]
    path = write_contact_sheet(clips, 2, tmp_path / "sheet.png")
    pixels = np.asarray(Image.open(path))
    # A row through the middle of each clip's frames meets the eight greys of that clip, left to right.
    for clip in (greys[:8], greys[8:]):
        rows = [row for row in pixels if (row == clip[0]).all(axis=1).any()]
        line = rows[len(rows) // 2]
        flat = line[(line[:, 0] == line[:, 1]) & np.isin(line[:, 0], clip)][:, 0]
        assert list(dict.fromkeys(flat)) == list(clip)


SEEDS = [7, 7, 8]
Told = list[tuple[int, int | None]]


@pytest.fixture(scope="module")
def sampling(tiny_profile: Any) -> SamplingSettings:
    return tiny_profile.sampling.model_copy(update={"num_inference_steps": 2, "prompts_per_batch": 2})


def _videos(stream: Any, model: str, sampling: SamplingSettings) -> tuple[dict[int, np.ndarray], Told]:
    """Videos of two clips, of each of the prompts one, and what was told of them."""
    told: Told = []
    asked = AskedVideos(Path(model), PROMPTS, SEEDS, 2, sampling)
    batches = stream(asked, lambda done, total, _: told.append((done, total)))
    return dict(whole_videos(batches)), told


def test_a_video_depends_on_its_prompt_and_seed_alone(tiny_profile: Any, sampling: SamplingSettings) -> None:
    threads = torch.get_num_threads()
    videos, told = _videos(stream_videos, tiny_profile.model, sampling)
    assert torch.get_num_threads() == threads
    assert sorted(videos) == [0, 1, 2] and told[-1] == (6, 6)
    model = Path(tiny_profile.model)
    for index, (prompt, seed) in enumerate(zip(PROMPTS, SEEDS, strict=True)):
        alone = np.concatenate(list(stream_batch(AskedVideos(model, [prompt], [seed], 2, sampling))), axis=1)[
            0
        ]
        assert alone.shape == (15, 64, 64, 3) and alone.dtype == np.uint8
        # Another batch size adds in another order: the last bit of a grey level may differ.
        assert np.abs(alone.astype(int) - videos[index]).max() <= 2
    assert np.abs(videos[0].astype(int) - videos[1]).max() > 20


@pytest.mark.slow
@pytest.mark.gate
def test_this_process_makes_the_same_videos_as_workers_byte_for_byte(
    ray_session: None, tiny_profile: Any, sampling: SamplingSettings
) -> None:
    here, there = (
        _videos(stream, tiny_profile.model, sampling) for stream in (stream_videos, stream_videos_on_ray)
    )
    for index in range(3):
        assert np.array_equal(here[0][index], there[0][index])
    assert here[1][-1] == there[1][-1] == (6, 6)


def test_ray_is_for_what_several_workers_can_share_or_a_cluster(
    tmp_home: Path, tmp_path: Path, tiny_profile: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    prompts = tmp_path / "prompts.txt"

    def needs(count: int) -> bool:
        prompts.write_text("a red circle\n" * count)
        return needs_ray(read_request(GenerateParams(prompts_file=prompts, model=tiny_profile.model)))

    size = tiny_profile.sampling.prompts_per_batch
    assert not needs(1) and not needs(size)
    assert needs(size + 1) == ((os.cpu_count() or 1) > 1)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    assert needs(1)


def test_a_long_video_is_written_while_it_is_sampled(tmp_path: Path, drawn_nhwc: np.ndarray) -> None:
    clips = 40
    file = VideoFile(tmp_path / "long.mp4", "a", 7, clips, 8.0)
    for clip in range(clips):
        file.add(drawn_nhwc[:8] if clip % 2 else drawn_nhwc[8:])
    assert len(file._sheet) == 12  # neither the sheet nor the memory grows with the video
    file.add(drawn_nhwc[:2])  # what a crossfade has held back
    video = file.finish()
    assert video.num_frames == clips * 8 + 2
    decoded, _ = decode_bytes(video.file.read_bytes())
    assert len(decoded) == video.num_frames
    assert Image.open(video.contact_sheet).size[1] < 12 * 400


def test_a_video_that_fails_leaves_nothing(tmp_path: Path, drawn_nhwc: np.ndarray) -> None:
    def clips() -> Iterator[np.ndarray]:
        yield drawn_nhwc
        raise RuntimeError("the sampler died")

    with pytest.raises(RuntimeError, match="the sampler died"):
        write_video(clips(), "a", 7, 2, 8.0, tmp_path / "video.mp4")
    assert not list(tmp_path.iterdir())
