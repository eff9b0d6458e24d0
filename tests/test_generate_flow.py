"""The flow `generate` from a file of prompts to numbered files, before there is a champion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.generate.flow import GenerateParams, generate
from tasks.generation.settings import SamplingSettings


def test_prompts_become_files_in_their_order(
    prefect_session: None, registry_home: Path, tmp_path: Path, tiny_profile: Any, capsys: Any
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle moving right\n\na blue square moving up\na red circle moving right\n")
    sampling = tiny_profile.sampling.model_copy(update={"num_inference_steps": 2})
    result = generate(GenerateParams(prompts_file=prompts, clips=2, sampling=sampling))

    folder = registry_home / "generated" / "prompts"
    assert [Path(video["file"]) for video in result["videos"]] == [
        folder / name for name in ("0001.mp4", "0002.mp4", "0003.mp4")
    ]
    # A prompt that comes again is another video, not the same one twice.
    assert [video["seed"] for video in result["videos"]] == [7, 7, 8]
    assert all(Path(video["file"]).stat().st_size and video["frames"] == 15 for video in result["videos"])
    manifest = (folder / "manifest.tsv").read_text().splitlines()
    assert manifest[0] == "file\tcaption\tseed" and manifest[3] == "0003.mp4\ta red circle moving right\t8"
    told = capsys.readouterr().err
    assert result["model_version"] is None and "promote" in told
    assert result["sampling"]["num_inference_steps"] == {"value": 2, "from": "option"}
    assert result["unread"] == [] and "warning" not in told


def test_words_that_are_never_read_and_where_settings_come_from_are_told(
    prefect_session: None, tmp_home: Path, tmp_path: Path, small_model: Path, capsys: Any
) -> None:
    long = "a red circle moving right" + " red" * 12 + " left"
    lost = "red red red left"
    result = generate(
        GenerateParams(
            prompt=long,
            then=["a blue square moving up", long.replace("circle", "square")],
            clips=3,
            out=tmp_path / "video.mp4",
            model=str(small_model),
            sampling=SamplingSettings(num_inference_steps=1, negative_prompt=long),
        )
    )
    assert [(unread["name"], unread["lost"]) for unread in result["unread"]] == [
        ("prompt", lost),
        ("then", lost),
        ("negative_prompt", lost),
    ]
    told = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(told) == 3 and all(line.endswith(f"these words are lost: {lost}") for line in told)
    sources = {name: how["from"] for name, how in result["sampling"].items()}
    assert sources["num_inference_steps"] == sources["negative_prompt"] == "option"
    assert sources["beta"] == "model" and sources["scheduler"] == "default"
    assert result["sampling"]["seam"] == {"value": "drop-duplicate", "from": "default"}
    assert result["videos"][0]["frames"] == 22  # the repetition at each of the two seams is not shown
    assert result["videos"][0]["fps"] == result["sampling"]["fps"]["value"] == 8.0
