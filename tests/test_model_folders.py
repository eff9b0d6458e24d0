"""A model as a folder, an id of a hub, a version of the registry: saved and loaded, by diffusers without us as well."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, EulerDiscreteScheduler

from flows.model import is_of_a_hub
from storage.errors import StorageError
from storage.registry.registry import Registry
from tests.hub_server import hub
from vidrd_model import ModelError, TemporalVAE, VidRDPipeline, model_folder

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "a red circle moving right"
QUICK: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 4.0, "seed": 7, "output_type": "uint8"}


def _quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def pipe(small_model: Path) -> VidRDPipeline:
    return _quiet(VidRDPipeline.from_pretrained(small_model))


@pytest.fixture(scope="module")
def frames(pipe: VidRDPipeline) -> np.ndarray:
    return pipe(PROMPT, **QUICK).frames


def _same(pipe: Any, frames: np.ndarray) -> bool:
    return np.array_equal(_quiet(pipe)(PROMPT, **QUICK).frames, frames)


@pytest.mark.slow
@pytest.mark.gate
def test_diffusers_finds_the_class_without_our_import(
    small_model: Path, tiny_profile: Any, frames: np.ndarray, tmp_path: Path
) -> None:
    """In a process that knows only diffusers: of a folder, of the embedded model, and of a hub by both classes."""
    np.save(tmp_path / "frames.npy", frames)
    shutil.copytree(small_model, tmp_path / "hub" / "org" / "video")
    program = f"""
import sys
import numpy as np
from diffusers import DiffusionPipeline

assert not [name for name in sys.modules if name.startswith(("vidrd_model", "storage", "tasks"))]
frames = np.load({str(tmp_path / "frames.npy")!r})
for source in ({str(small_model)!r}, "org/video", {tiny_profile.model!r}):
    try:
        DiffusionPipeline.from_pretrained(source)
        raise SystemExit(f"{{source}}: code of the folder was run without leave")
    except ValueError as error:
        assert "trust_remote_code" in str(error), error
    pipe = DiffusionPipeline.from_pretrained(source, trust_remote_code=True)
    assert (type(pipe).__module__, type(pipe).__name__) == ("vidrd_model.pipeline", "VidRDPipeline")
    pipe.set_progress_bar_config(disable=True)
    if source != {tiny_profile.model!r}:
        assert np.array_equal(pipe({PROMPT!r}, **{QUICK!r}).frames, frames)

from vidrd_model import ModelError, VidRDPipeline
for source in ("org/video", "org/video@main"):
    pipe = VidRDPipeline.from_pretrained(source)
    pipe.set_progress_bar_config(disable=True)
    assert np.array_equal(pipe({PROMPT!r}, **{QUICK!r}).frames, frames)
try:
    VidRDPipeline.from_pretrained("org/nothing")
    raise SystemExit("there is no such model")
except ModelError as error:
    assert "org/nothing: neither a model folder nor a model of the hub" in str(error), error
"""
    with hub(tmp_path / "hub") as (address, asked):
        environment = {
            **os.environ,
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path / "cache"),
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr[-3000:]
    assert any("resolve" in path for _, path, _ in asked)


def test_which_references_are_a_hub_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    for reference in ("org/video", "org/video-1.5@v2", "org/video@refs/pr/1"):
        assert is_of_a_hub(reference)
    (tmp_path / "org" / "video").mkdir(parents=True)
    mistyped = (
        "runs/video",
        "org/video",
        "./a/b",
        "~/a",
        "/a/b",
        "a/b/c",
        "video",
        "models:/vidrd/3",
        "a//b",
    )
    for reference in mistyped:
        assert not is_of_a_hub(reference), reference


@pytest.mark.slow
def test_commands_take_a_model_of_a_hub(small_model: Path, tmp_path: Path) -> None:
    """And run none of its code; what is no model there is refused in one line, and a dry run fetches nothing."""
    folder = shutil.copytree(small_model, tmp_path / "hub" / "org" / "video")
    for path in folder.rglob("*.py"):
        path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    command = [sys.executable, "-m", "flows.cli", "generate", PROMPT, "--clips=1", "--steps=2", "--json"]
    with hub(tmp_path / "hub") as (address, asked):
        environment = {
            **os.environ,
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path / "cache"),
            "VIDRD_HOME": str(tmp_path / "home"),
        }

        def run(*options: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*command, *options], env=environment, cwd=ROOT, capture_output=True, text=True
            )

        dry = run("--model=org/video", "--dry-run")
        assert dry.returncode == 2 and dry.stderr.count("\n") == 1 and not asked, dry.stderr
        none = run("--model=org/nothing")
        assert none.returncode == 2 and none.stderr.count("\n") == 1, none.stderr
        assert "org/nothing: neither a model folder nor a model of the hub" in none.stderr
        done = run("--model=org/video", f"--out={tmp_path / 'video.mp4'}")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["result"]["model"] == "org/video"
        assert run("--model=org/video", "--dry-run").returncode == 0
    assert (tmp_path / "video.mp4").stat().st_size and not (tmp_path / "ran").exists()


def test_our_own_class_runs_no_code_of_a_folder(
    small_model: Path, tmp_path: Path, frames: np.ndarray
) -> None:
    folder = shutil.copytree(small_model, tmp_path / "model")
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*.py")]
    assert sorted(files) == ["pipeline.py", "unet/vidrd_model.unet.py", "vae/vidrd_model.vae.py"]
    for name in files:
        (folder / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert _same(VidRDPipeline.from_pretrained(folder), frames)
    for name in files:
        (folder / name).unlink()
    assert _same(VidRDPipeline.from_pretrained(folder), frames)
    # Whoever names the module that our class reads instead gets nothing run either.
    (folder / "unet" / "vidrd_model.model_folder.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ModelError, match="contains custom code"):
        VidRDPipeline.from_pretrained(folder)
    assert not (tmp_path / "ran").exists()


def test_a_saved_pipeline_is_the_same_pipeline(
    pipe: VidRDPipeline, tmp_path: Path, frames: np.ndarray
) -> None:
    pipe.save_pretrained(tmp_path / "once")
    once = VidRDPipeline.from_pretrained(tmp_path / "once")
    assert _same(once, frames)
    once.save_pretrained(tmp_path / "twice")
    for name in ("model_index.json", "pipeline.py", "README.md"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
    index = (tmp_path / "twice" / "model_index.json").read_text()
    assert str(tmp_path) not in index and json.loads(index)["_class_name"] == ["pipeline", "VidRDPipeline"]


@pytest.mark.parametrize("shards", [None, "200KB"])
def test_variants_lie_beside_one_another(
    small_model: Path, tmp_path: Path, frames: np.ndarray, shards: str | None
) -> None:
    folder = tmp_path / "model"
    VidRDPipeline.from_pretrained(small_model).save_pretrained(folder, max_shard_size=shards)
    half = VidRDPipeline.from_pretrained(small_model).to(torch.float16)
    half.save_pretrained(folder, variant="fp16", max_shard_size=shards)
    assert list((folder / "unet").glob("diffusion_pytorch_model.fp16*.safetensors"))
    assert _same(VidRDPipeline.from_pretrained(folder), frames)
    loaded = _quiet(VidRDPipeline.from_pretrained(folder, variant="fp16", dtype=torch.float16))
    assert loaded.unet.dtype == loaded.vae.dtype == loaded.text_encoder.dtype == torch.float16
    assert torch.equal(loaded.unet.conv_in.weight, half.unet.conv_in.weight)
    with pytest.raises(ModelError, match=r"no VidRD model .*variant=bf16"):
        VidRDPipeline.from_pretrained(folder, variant="bf16")


def test_parts_may_be_left_out_or_given(pipe: VidRDPipeline, small_model: Path, tmp_path: Path) -> None:
    VidRDPipeline(pipe.unet, pipe.scheduler).save_pretrained(tmp_path / "latents")
    bare = VidRDPipeline.from_pretrained(tmp_path / "latents")
    assert bare.vae is bare.text_encoder is bare.tokenizer is None and bare.vae_scale_factor == 8
    without = VidRDPipeline.from_pretrained(small_model, vae=None, text_encoder=None, tokenizer=None)
    assert without.vae is None and without.unet is not None
    given = VidRDPipeline.from_pretrained(small_model, unet=pipe.unet, vae=pipe.vae)
    assert given.unet is pipe.unet and given.vae is pipe.vae
    assert (
        VidRDPipeline.from_pretrained(small_model, dtype={"unet": torch.bfloat16}).vae.dtype == torch.float32
    )


def test_a_vae_of_images_is_given_for_another_decoder(small_model: Path) -> None:
    """As users of Stable Diffusion exchange it: decoded as images are, frame by frame."""
    torch.manual_seed(1)
    plain = VidRDPipeline.from_pretrained(small_model).vae
    config = {
        name: value
        for name, value in plain.config.items()
        if name in AutoencoderKL._get_init_keys(AutoencoderKL)
    }
    images = AutoencoderKL(**config).half().eval()
    pipe = _quiet(VidRDPipeline.from_pretrained(small_model, vae=images))
    assert isinstance(pipe.vae, TemporalVAE) and pipe.vae.dtype == torch.float16
    pipe.vae.float()
    latents_bcnhw = torch.randn(1, 4, 8, 8, 8)
    frames_bnhwc = pipe.decode_latents(latents_bcnhw)
    with torch.no_grad():
        alone_nchw = images.float().decode(latents_bcnhw[0].transpose(0, 1) / config["scaling_factor"]).sample
    wanted_nhwc = (alone_nchw / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    torch.testing.assert_close(frames_bnhwc[0], wanted_nhwc, rtol=0, atol=1e-4)
    assert pipe(PROMPT, **QUICK).frames.shape[1] == 8


def test_pipelines_share_their_parts(pipe: VidRDPipeline, frames: np.ndarray) -> None:
    for other in (VidRDPipeline(**pipe.components, **pipe.parameters), VidRDPipeline.from_pipe(pipe)):
        assert other.components.keys() == pipe.components.keys() and other.unet is pipe.unet
        assert other.config.sampling == pipe.config.sampling and _same(other, frames)
    euler = VidRDPipeline.from_pipe(pipe, scheduler=EulerDiscreteScheduler.from_config(pipe.scheduler.config))
    assert isinstance(euler.scheduler, EulerDiscreteScheduler) and euler.vae is pipe.vae


def test_a_registered_version_is_loaded_by_its_reference(
    registry_home: Path, small_model: Path, frames: np.ndarray
) -> None:
    registry = Registry()
    with registry.start_run("test") as run:
        version = registry.register(small_model, run, {"profile": "tiny"})
    for reference in ("models:/vidrd@candidate", f"models:/vidrd/{version}"):
        assert _same(VidRDPipeline.from_pretrained(reference), frames)
    with pytest.raises(StorageError, match="champion"):
        VidRDPipeline.from_pretrained("models:/vidrd@champion")


def test_what_names_no_model_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, told in (
        (tmp_path / "empty", "empty: no model folder"),
        (tmp_path / "nothing" / "there", "there: no model folder"),
        (
            "shelf:/vidrd@best",
            r"shelf:/vidrd@best: nothing that is installed knows shelf:/ \(models is known\)",
        ),
    ):
        with pytest.raises(ModelError, match=told):
            VidRDPipeline.from_pretrained(source)


def test_a_card_goes_with_the_model(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(small_model, tmp_path / "trained")
    (folder / "README.md").write_text("# Trained on circles\n")
    trained = VidRDPipeline.from_pretrained(folder)
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "README.md").write_text("# Of somebody else\n")
    for name, card in (("again", "# Trained on circles\n"), ("beside", "# Of somebody else\n")):
        trained.save_pretrained(tmp_path / name)
        assert (tmp_path / name / "README.md").read_text() == card

    uploads: list[dict[str, str]] = []

    def upload(self: Any, folder: Path, repo_id: str, *_: Any) -> str:
        files = [path for path in Path(folder).rglob("*.*") if path.suffix in (".md", ".py", ".json")]
        uploads.append({path.relative_to(folder).as_posix(): path.read_text() for path in files})
        return f"uploaded to {repo_id}"

    # The network alone is left out: what a hub would be sent is looked at.
    monkeypatch.setattr(
        model_folder, "create_repo", lambda name, **_: type("Repository", (), {"repo_id": name})
    )
    monkeypatch.setattr(DiffusionPipeline, "_upload_folder", upload)
    assert trained.push_to_hub("org/video") == "uploaded to org/video"
    trained.save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="org/video")
    VidRDPipeline(**trained.components).push_to_hub("org/new")
    for sent in uploads:
        parts = {"unet/config.json", "vae/config.json", "scheduler/scheduler_config.json", "model_index.json"}
        assert parts | {"pipeline.py", "README.md", "unet/vidrd_model.unet.py"} <= set(sent)
    assert [sent["README.md"].splitlines()[0] for sent in uploads] == ["# Trained on circles"] * 2 + ["---"]
    assert "library_name: diffusers" in uploads[2]["README.md"]
