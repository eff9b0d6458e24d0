"""Text to video: one prompt or a file of prompts to mp4 files that any player opens.

vidrd generate "a red circle moving right" --clips 3 --seed 7 --out out.mp4
prefect deployment run generate/generate
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict, Field

from flows.evaluate.report import sampled_rows
from flows.profile import check_model_profile, load_profile
from flows.runs.failures import tells_why
from flows.runs.progress import stage_progress
from flows.terminal import tell
from storage.local.home import home
from storage.local.typed_paths import TypedPath, TypedText
from storage.local.visible import visible
from storage.registry.names import CHAMPION, CHAMPION_REF
from tasks import markdown
from tasks.errors import RequestError
from tasks.generation.resolve import resolve_sampling
from tasks.generation.settings import SamplingSettings
from tasks.output_folders import check_output_file

if TYPE_CHECKING:
    from tasks.generation.video_file import GeneratedVideo
    from tasks.progress import OnProgress

EXAMPLE_PROMPT = "a red circle moving right"


class GenerateParams(BaseModel):
    """What to generate: one prompt or a file of them; all else has defaults that run on the tiny profile."""

    model_config = ConfigDict(extra="forbid")

    prompt: str | None = Field(None, description="the text of one video")
    then: list[str] = Field(
        [], description="the texts of the clips after the first, for a video that tells a story"
    )
    prompts_file: TypedPath | None = Field(None, description="one prompt a line, instead of `prompt`")
    clips: int = Field(3, ge=1, description="length of the video in clips")
    seed: int = Field(7, ge=0, lt=2**31, description="a prompt that comes again takes the next seed")
    out: TypedPath | None = Field(None, description="the mp4 of a single prompt")
    out_dir: TypedPath | None = Field(None, description="the folder for the videos of a prompts file")
    model: TypedText | None = Field(
        None, description=f"a folder or reference; none: {CHAMPION_REF}, before it the profile's model"
    )
    profile: TypedText = "tiny"
    sampling: SamplingSettings | None = Field(
        None, description="what is not named is as saved with the model, else the profile's"
    )


@dataclass(frozen=True)
class _Job:
    texts: tuple[str, ...]
    seed: int
    out_mp4: Path

    @property
    def prompt(self) -> str:
        return " / ".join(self.texts)


def check(params: GenerateParams) -> None:
    """Raises RequestError or StorageError with one line when the request cannot be carried out."""
    jobs = _jobs(params)
    check_output_file(jobs[0].out_mp4, "out_dir" if params.prompts_file else "out")
    for job in jobs:
        if job.out_mp4.suffix.lower() != ".mp4":
            raise RequestError(f"out: {job.out_mp4} must end in .mp4")
        if job.out_mp4.is_dir():
            raise RequestError(f"out: {job.out_mp4} is a folder; name a file in it")
    profile = load_profile(params.profile)
    resolve_sampling(params.sampling, _resolve(params)[0], profile.sampling)


@flow(name="generate")
@tells_why
def generate(params: GenerateParams = GenerateParams(prompt=EXAMPLE_PROMPT)) -> dict:  # noqa: B008
    """Samples every prompt on Ray and returns the files with what makes them again."""
    from tasks.cluster import ensure_ray

    check(params)
    started = time.monotonic()
    model_dir, model_ref, version = _resolve(params)
    resolved = resolve_sampling(params.sampling, model_dir, load_profile(params.profile).sampling)
    sampling = resolved.settings
    if params.model is None and version is None:
        tell(f"no {CHAMPION_REF} yet: using {model_ref}; retrain, evaluate and promote make one")
    jobs = _jobs(params)
    ensure_ray()
    unread = _tell_unread(model_dir, jobs, sampling.negative_prompt)
    with stage_progress("generate") as on_progress:
        videos = _write_videos(model_dir, jobs, params.clips, sampling, on_progress)
    result = {
        "model": model_ref,
        "model_version": version,
        "sampling": resolved.as_dict(),
        "unread": unread,
        "videos": [_summary(videos[index]) for index in sorted(videos)],
        "seconds": round(time.monotonic() - started, 2),
    }
    if params.prompts_file is not None:
        _write_manifest(jobs)
    create_markdown_artifact(_as_markdown(result), key="generate", description="generated videos")
    return result


def _write_videos(
    model_dir: Path, jobs: list[_Job], clips: int, sampling: SamplingSettings, on_progress: OnProgress
) -> dict[int, GeneratedVideo]:
    """Writes every job's video while it is sampled; one that is not complete leaves nothing behind."""
    from tasks.generation.generate import stream_on_ray
    from tasks.generation.video_file import VideoFile

    open_files: dict[int, VideoFile] = {}
    videos: dict[int, GeneratedVideo] = {}
    texts, seeds = [job.texts for job in jobs], [job.seed for job in jobs]
    try:
        for index, frames_nhwc in stream_on_ray(model_dir, texts, seeds, clips, sampling, on_progress):
            if frames_nhwc is None:
                videos[index] = open_files[index].finish()
                del open_files[index]
                continue
            if index not in open_files:
                job = jobs[index]
                open_files[index] = VideoFile(job.out_mp4, job.prompt, job.seed, clips, sampling.fps)
            open_files[index].add(frames_nhwc)
    finally:
        for file in open_files.values():
            file.abandon()
    return videos


def _tell_unread(model_dir: Path, jobs: list[_Job], negative_prompt: str) -> list[dict[str, str]]:
    """Says which words of the prompts are never read, and returns it for whoever reads the result."""
    from tasks.generation.unread import unread_texts

    texts = [
        ("prompt" if place == 0 else "then", text) for job in jobs for place, text in enumerate(job.texts)
    ]
    unread = unread_texts(model_dir, [*texts, ("negative_prompt", negative_prompt)])
    for found in unread:
        words = visible(found.lost)
        tell(
            f"[generate] warning: {found.name} is longer than the model reads; these words are lost: {words}"
        )
    return [asdict(found) for found in unread]


def _summary(video: GeneratedVideo) -> dict:
    return {
        "prompt": video.prompt,
        "seed": video.seed,
        "file": str(video.mp4),
        "contact_sheet": str(video.contact_sheet),
        "clips": video.num_clips,
        "frames": video.num_frames,
        "fps": video.fps,
    }


def _jobs(params: GenerateParams) -> list[_Job]:
    """Expands the request to (prompt, seed, file), in the prompts' order."""
    if params.prompts_file is None:
        prompt = (params.prompt or "").strip()
        if not prompt:
            raise RequestError(f'prompt: missing; give a text such as "{EXAMPLE_PROMPT}"')
        if params.out_dir is not None:
            raise RequestError("out_dir: is for a prompts_file; a single prompt takes out")
        then = [text.strip() for text in params.then]
        if not all(then):
            raise RequestError("then: a text is empty")
        if len(then) >= params.clips:
            raise RequestError(
                f"then: {len(then)} more texts need at least {len(then) + 1} clips, not {params.clips}"
            )
        return [_Job((prompt, *then), params.seed, params.out or home() / "generated" / "video.mp4")]

    if params.then:
        raise RequestError("then: is for a single prompt, not for a prompts_file")
    if params.prompt is not None:
        raise RequestError("prompt: give either prompt or prompts_file, not both")
    if params.out is not None:
        raise RequestError("out: is for a single prompt; a prompts_file takes out_dir")
    prompts = _read_prompts(params.prompts_file)
    out_dir = params.out_dir or home() / "generated" / params.prompts_file.stem
    # Numbers, not prompts, name the files: they sort in the prompts' order and are always legal names.
    digits = max(4, len(str(len(prompts))))
    jobs, seen = [], Counter[str]()
    for number, prompt in enumerate(prompts, start=1):
        # A video depends on its prompt and seed, not on its line, so a file may be split or reordered.
        jobs.append(_Job((prompt,), params.seed + seen[prompt], out_dir / f"{number:0{digits}d}.mp4"))
        seen[prompt] += 1
    return jobs


def _read_prompts(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else (error.strerror or error)
        raise RequestError(f"prompts_file: {path}: {reason}") from error
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise RequestError(f"prompts_file: {path} holds no prompt; write one a line")
    return prompts


def _resolve(params: GenerateParams) -> tuple[Path, str, int | None]:
    """Returns (folder, reference, registry version) of the model that will be used."""
    from storage.registry.registry import Registry, resolve_model

    ref = params.model
    if ref is None:
        ref = CHAMPION_REF
        if Registry().alias_version(CHAMPION) is None:
            ref = str(load_profile(params.profile).model)
            if not Path(ref, "model_index.json").is_file():
                ref = CHAMPION_REF  # refused in words that say where it was looked for
    resolved = resolve_model(ref)
    check_model_profile(resolved, load_profile(params.profile))
    return resolved.folder, resolved.ref, resolved.version


def _write_manifest(jobs: list[_Job]) -> None:
    """Writes manifest.tsv beside the videos: the folder is then a captioned corpus and a seed list in one."""
    rows = ["file\tcaption\tseed"]
    rows += [f"{job.out_mp4.name}\t{visible(' '.join(job.prompt.split()))}\t{job.seed}" for job in jobs]
    (jobs[0].out_mp4.parent / "manifest.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _as_markdown(result: dict) -> str:
    head = ("prompt", "seed", "frames", "file")
    rows = [
        (video["prompt"], video["seed"], video["frames"], markdown.Code(video["file"]))
        for video in result["videos"]
    ]
    about = f"Model {markdown.code(result['model'])}, {result['seconds']} s"
    sampled = markdown.table(("setting", "value", "from"), sampled_rows(result["sampling"]))
    return "\n".join([about, "", *markdown.table(head, rows), "", *sampled])
