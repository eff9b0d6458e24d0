"""The flow `generate` from a file of prompts to numbered files, before there is a champion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.generate import GenerateParams, generate


def test_prompts_become_files_in_their_order(
    prefect_session: None, ray_session: None, tmp_home: Path, tmp_path: Path, tiny_profile: Any, capsys: Any
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle moving right\n\na blue square moving up\na red circle moving right\n")
    sampling = tiny_profile.sampling.model_copy(update={"num_inference_steps": 2})
    result = generate(GenerateParams(prompts_file=prompts, clips=2, sampling=sampling))

    folder = tmp_home / "generated" / "prompts"
    assert [Path(video["file"]) for video in result["videos"]] == [
        folder / name for name in ("0001.mp4", "0002.mp4", "0003.mp4")
    ]
    # A prompt that comes again is another video, not the same one twice.
    assert [video["seed"] for video in result["videos"]] == [7, 7, 8]
    assert all(Path(video["file"]).stat().st_size and video["frames"] == 16 for video in result["videos"])
    manifest = (folder / "manifest.tsv").read_text().splitlines()
    assert manifest[0] == "file\tcaption\tseed" and manifest[3] == "0003.mp4\ta red circle moving right\t8"
    assert result["model_version"] is None and "promote" in capsys.readouterr().err
