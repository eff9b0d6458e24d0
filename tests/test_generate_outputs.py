"""Where videos go and what their files say: four kinds read back by others; what is there stays; names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flows.generate.jobs import jobs_of_file
from flows.generate.names import video_name
from flows.generate.request import GenerateParams, read_request
from flows.generate.run import run
from tasks.errors import RequestError
from tasks.generation.made_of import is_made_of
from tasks.generation.video_file import VideoFile
from tasks.tiny.world.drawing import Scene, draw_clip

PROMPT = 'a "red" circle; = \\ # moving → вправо\n{"x": 1}'
MADE_OF = {"prompt": [PROMPT], "seed": 7, "sampling": {"alpha": "inf", "seam": None}, "model": "m"}
KINDS = ["video.mp4", "video.webm", "VIDEO.GIF", "frames"]


@pytest.fixture(scope="module")
def drawn_nhwc() -> np.ndarray:
    return draw_clip(Scene("red", "circle", "left"), np.random.default_rng(0))


def write(out: Path, frames_nhwc: np.ndarray, made_of: dict[str, Any] = MADE_OF) -> Path:
    file = VideoFile(out, PROMPT, 7, 1, 8.0, made_of)
    file.add(frames_nhwc)
    return file.finish().contact_sheet


def read(path: Path) -> tuple[np.ndarray, dict[str, str]]:
    """Frames and tags, by libraries that know nothing of us."""
    if path.is_dir():
        images = [Image.open(frame) for frame in sorted(path.iterdir())]
        return np.stack([np.asarray(image) for image in images]), dict(images[-1].text)
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        tags = {name.lower(): text for name, text in container.metadata.items()}
        assert container.streams.video[0].average_rate == 8 or path.suffix == ".GIF"
    if path.suffix == ".GIF":
        with Image.open(path) as image:
            assert image.info["loop"] == 0 and image.n_frames == len(frames)
            tags["comment"] = image.info["comment"].decode()
    return frames, tags


@pytest.mark.parametrize("name", KINDS)
def test_a_video_of_each_kind_is_read_by_others_with_what_made_it(
    name: str, tmp_path: Path, drawn_nhwc: np.ndarray
) -> None:
    path = tmp_path / "new" / name
    sheet = write(path, drawn_nhwc)
    frames, tags = read(path)
    assert frames.shape == drawn_nhwc.shape
    limit = {"frames": 0, "VIDEO.GIF": 8}.get(name, 4)
    assert np.abs(frames.astype(int) - drawn_nhwc).mean() <= limit
    assert json.loads(tags["comment"]) == json.loads(json.dumps(MADE_OF))
    assert is_made_of(path, MADE_OF) and not is_made_of(path, MADE_OF | {"seed": 8})
    assert sorted(entry.name for entry in path.parent.iterdir()) == sorted([name, sheet.name])


@pytest.mark.parametrize("name", KINDS)
def test_a_video_that_fails_leaves_nothing_and_spoils_nothing(
    name: str, tmp_path: Path, drawn_nhwc: np.ndarray
) -> None:
    for before in ([], [name]):
        file = VideoFile(tmp_path / name, PROMPT, 7, 2, 8.0, MADE_OF | {"seed": 9})
        file.add(drawn_nhwc)
        file.abandon()
        kept = [entry.name for entry in tmp_path.iterdir() if entry.suffix != ".png"]
        assert kept == before
        assert not before or is_made_of(tmp_path / name, MADE_OF)
        write(tmp_path / name, drawn_nhwc)


def test_files_of_others_are_made_of_nothing(tmp_path: Path, drawn_nhwc: np.ndarray) -> None:
    for name, content in (("a.mp4", b"x"), ("b.gif", b"GIF89a"), ("c.webm", b"")):
        (tmp_path / name).write_bytes(content)
        assert not is_made_of(tmp_path / name, MADE_OF)
    (tmp_path / "frames").mkdir()
    assert not is_made_of(tmp_path / "frames", MADE_OF)


texts = st.text(min_size=1, max_size=400).filter(str.strip)


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=3), st.integers(0, 2**31 - 1))
def test_names_are_short_and_legal_everywhere(prompts: list[str], seed: int) -> None:
    name = video_name(prompts, seed)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) and len(name) <= 49
    assert name not in {video_name(prompts, seed + 1), video_name([*prompts, "x"], seed)}
    assert name == video_name(prompts, seed)


def test_names_tell_prompts_apart_that_begin_alike() -> None:
    long = "a corgi running on the beach in the evening sun " * 20
    names = {
        video_name([text], 7)
        for text in (long, long + "!", "круг вправо", "круг влево", "円", "円円", "Été à Nîmes")
    }
    assert len(names) == 7 and any(name.startswith("ete-a-nimes-") for name in names)
    assert all(len(name) < 50 for name in names)


def test_notes_in_a_prompts_file_are_no_prompts(tmp_path: Path, tmp_home: Path) -> None:
    file = tmp_path / "p.txt"
    file.write_text("# colours\na red circle\n\n  # and\n a #1 circle \n")
    assert [job.prompt for job in jobs_of_file(file, 7, None)] == ["a red circle", "a #1 circle"]
    file.write_text("# nothing\n")
    with pytest.raises(RequestError, match="holds no prompt"):
        jobs_of_file(file, 7, None)


@pytest.fixture
def asked(tmp_path: Path, tmp_home: Path, small_model: Path) -> dict[str, Any]:
    quick = {"sampling.num_inference_steps": 1, "sampling.guidance_scale": 1.0}
    return {"prompt": PROMPT, "clips": 1, "model": str(small_model), "set": quick, "device": "cpu"}


@pytest.mark.parametrize("name", ["video.mp4", "video.webm", "video.gif", "frames"])
def test_what_is_there_stays(name: str, asked: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / name
    first = run(read_request(GenerateParams(**asked, out=out)))["videos"][0]
    assert first["file"] == str(out) and "kept" not in first
    before = out.stat().st_mtime_ns
    again = run(read_request(GenerateParams(**asked, out=out)))["videos"][0]
    assert again.pop("kept") and again == first and out.stat().st_mtime_ns == before
    with pytest.raises(RequestError, match=f"^out: {re.escape(str(out))} is there already.*--force"):
        read_request(GenerateParams(**asked, out=out, seed=8))
    made = run(read_request(GenerateParams(**asked, out=out, seed=8, force=True)))["videos"][0]
    assert made["seed"] == 8 and out.stat().st_mtime_ns != before


def test_files_of_the_users_own_are_never_written_over(asked: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.png").write_bytes(b"mine")
    (tmp_path / "x.png").write_bytes(b"mine, where the contact sheet would go")
    (tmp_path / "plain").write_bytes(b"mine")
    for out, force, said in (
        ("holiday", True, "holds photo.png"),
        ("x.mp4", False, "x.png is there already"),
        ("plain", True, "is a file"),
        ("x.avi", False, "must end in .mp4, .webm, .gif, or a folder"),
    ):
        with pytest.raises(RequestError, match=re.escape(said)):
            read_request(GenerateParams(**asked, out=tmp_path / out, force=force))


def test_a_prompts_file_that_was_cut_off_goes_on(asked: dict[str, Any], tmp_path: Path) -> None:
    file, out = tmp_path / "p.txt", tmp_path / "out"
    file.write_text("a red circle\n# and\na blue square\n")
    params = GenerateParams(**asked | {"prompt": None}, prompts_file=file, out_dir=out)
    run(read_request(params))
    (out / "0002.mp4").unlink()
    first = (out / "0001.mp4").stat().st_mtime_ns
    videos = run(read_request(params))["videos"]
    assert [video.get("kept", False) for video in videos] == [True, False]
    assert (out / "0001.mp4").stat().st_mtime_ns == first and (out / "0002.mp4").is_file()
    assert len((out / "manifest.tsv").read_text().splitlines()) == 3
    (out / "manifest.tsv").write_text("file\tcaption\n0001.mp4\tmine\n")
    with pytest.raises(RequestError, match=r"manifest\.tsv is there already"):
        read_request(params)
    (out / "manifest.tsv").unlink()
    file.write_text("another prompt\na blue square\n")
    with pytest.raises(RequestError, match=r"0001\.mp4 is there already"):
        read_request(params)


def test_a_gif_and_a_device_that_cannot_be(asked: dict[str, Any], tmp_path: Path) -> None:
    fast = GenerateParams(**asked | {"set": {"sampling.fps": 60}}, out=tmp_path / "a.gif")
    with pytest.raises(RequestError, match=r"^fps: a gif has at most 50"):
        read_request(fast)
    import torch

    nowhere = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(RequestError, match=f"^device: there is no {nowhere} here"):
        read_request(GenerateParams(**asked | {"device": nowhere}))
    with pytest.raises(ValueError, match="device"):
        GenerateParams(**asked | {"device": "gpu"})


def test_without_out_a_video_is_named_after_its_prompt(asked: dict[str, Any], tmp_home: Path) -> None:
    (job,) = read_request(GenerateParams(**asked)).jobs
    assert job.out.parent == tmp_home / "generated" and job.out.name.startswith("a-red-circle-moving-")
