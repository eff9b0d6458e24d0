"""What `generate` is asked for, and everything that is looked up for it, read once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from flows.model import asked_sampling, find_champion, find_model
from flows.profile_choice import ProfileParams
from storage.local.home import home
from storage.local.typed_paths import TypedPath, TypedText
from storage.registry.model_folder import ResolvedModel
from storage.registry.names import CHAMPION_REF
from tasks.errors import RequestError
from tasks.generation.resolve import ResolvedSampling, resolve_sampling
from tasks.generation.settings import SamplingSettings
from tasks.output_folders import check_output_file

EXAMPLE_PROMPT = "a red circle moving right"


class GenerateParams(ProfileParams):
    """What to generate: one prompt or a file of them; all else has defaults that run on the tiny profile."""

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
    sampling: SamplingSettings | None = Field(
        None, description="what is not named is as saved with the model, else the profile's"
    )


@dataclass(frozen=True)
class VideoJob:
    """A video that is asked for: its texts (one for each clip, the last for all after it), seed and file."""

    texts: tuple[str, ...]
    seed: int
    out_mp4: Path

    @property
    def prompt(self) -> str:
        """The texts as one."""
        return " / ".join(self.texts)


@dataclass(frozen=True)
class GenerateRequest:
    """The videos in the prompts' order, the model that makes them, and how it samples."""

    jobs: tuple[VideoJob, ...]
    clips: int
    model: ResolvedModel
    sampling: ResolvedSampling
    is_of_a_file: bool
    is_before_champion: bool

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """Of each video."""
        return [job.texts for job in self.jobs]

    @property
    def seeds(self) -> list[int]:
        """Of each video."""
        return [job.seed for job in self.jobs]


def read_request(params: GenerateParams) -> GenerateRequest:
    """Looks everything up; RequestError or StorageError, one line, when the request cannot be carried out."""
    jobs = tuple(_jobs(params))
    check_output_file(jobs[0].out_mp4, "out_dir" if params.prompts_file else "out")
    for job in jobs:
        if job.out_mp4.suffix.lower() != ".mp4":
            raise RequestError(f"out: {job.out_mp4} must end in .mp4")
        if job.out_mp4.is_dir():
            raise RequestError(f"out: {job.out_mp4} is a folder; name a file in it")
    model, profile = find_champion(params) if params.model is None else find_model(params.model, params)
    return GenerateRequest(
        jobs,
        params.clips,
        model,
        resolve_sampling(asked_sampling(profile, params.sampling), model.folder, profile.sampling),
        is_of_a_file=params.prompts_file is not None,
        is_before_champion=params.model is None and model.version is None,
    )


def _jobs(params: GenerateParams) -> list[VideoJob]:
    return (
        _job_of_prompt(params) if params.prompts_file is None else _jobs_of_file(params, params.prompts_file)
    )


def _job_of_prompt(params: GenerateParams) -> list[VideoJob]:
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
    return [VideoJob((prompt, *then), params.seed, params.out or home() / "generated" / "video.mp4")]


def _jobs_of_file(params: GenerateParams, prompts_file: Path) -> list[VideoJob]:
    """A job for each line, in their order."""
    if params.then:
        raise RequestError("then: is for a single prompt, not for a prompts_file")
    if params.prompt is not None:
        raise RequestError("prompt: give either prompt or prompts_file, not both")
    if params.out is not None:
        raise RequestError("out: is for a single prompt; a prompts_file takes out_dir")
    prompts = _read_prompts(prompts_file)
    out_dir = params.out_dir or home() / "generated" / prompts_file.stem
    # Numbers, not prompts, name the files: they sort in the prompts' order and are always legal names.
    digits = max(4, len(str(len(prompts))))
    jobs, seen = [], Counter[str]()
    for number, prompt in enumerate(prompts, start=1):
        # A video depends on its prompt and seed, not on its line, so a file may be split or reordered.
        jobs.append(VideoJob((prompt,), params.seed + seen[prompt], out_dir / f"{number:0{digits}d}.mp4"))
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
