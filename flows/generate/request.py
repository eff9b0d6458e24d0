"""What `generate` is asked for, and everything that is looked up for it, read once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from flows.generate.changes import check_changes, read_changes
from flows.generate.edit import Edit, read_edit
from flows.generate.given import Given, check_method, read_given
from flows.generate.jobs import EXAMPLE_PROMPT, VideoJob, job_of_prompt, jobs_of_file
from flows.generate.loop import check_loop
from flows.generate.loras import read_loras, shown_loras
from flows.generate.manifest import check_manifest
from flows.generate.outputs import check_frame_rate, check_output, finished_before
from flows.generate.workers import check_workers
from flows.model import find_champion, find_model, model_sampling
from flows.profile_choice import ProfileParams
from storage.local.typed_fields import TypedPath, TypedText
from storage.registry.model_folder import ResolvedModel
from storage.registry.names import CHAMPION_REF, version_ref
from tasks.cluster_checks import check_device_here
from tasks.errors import RequestError
from tasks.generation.asked import AskedVideos, EditedFrames
from tasks.generation.loras import WeightedLora
from tasks.generation.resolve import ResolvedSampling
from tasks.generation.settings import SamplingSettings
from vidrd_model.sampling_options import DEFAULT_STRENGTH

if TYPE_CHECKING:
    import numpy as np

    from vidrd_model.continuing import Inversion

__all__ = ["EXAMPLE_PROMPT", "GenerateParams", "GenerateRequest", "VideoJob", "read_request"]


class GenerateParams(ProfileParams):
    """What to generate: one prompt or a file of them; all else has defaults that run on the tiny profile."""

    prompt: str | None = Field(None, description="the text of one video")
    then: list[str] = Field(
        [], description="the texts of the clips after the first, for a video that tells a story"
    )
    at: list[str] = Field(
        [], description="texts that begin within the video, each SECONDS:PROMPT, from the first new frame on"
    )
    prompts_file: TypedPath | None = Field(
        None, description="one prompt a line, instead of `prompt`; lines that begin with # are notes"
    )
    continue_from: TypedPath | None = Field(
        None, description="a video that the clips go on from: its last frames at the model's frame rate"
    )
    image: TypedPath | None = Field(None, description="a picture that the clips go on from, panned or zoomed")
    only_new: bool = Field(False, description="leave out the frames of `continue_from` or `image`")
    edit: TypedPath | None = Field(
        None,
        description="a video that the text changes: its frames at the model's frame rate, as many come out",
    )
    strength: float | None = Field(
        None,
        gt=0,
        le=1,
        description=f"how much `edit` changes, as the part of the steps that is run on it; none: {DEFAULT_STRENGTH}",
    )
    loop: bool = Field(
        False, description="the last clip leads back to the first frame, to be played again and again"
    )
    clips: int = Field(3, ge=1, description="length of the video in clips, beside those that are given")
    seed: int = Field(7, ge=0, lt=2**31, description="a prompt that comes again takes the next seed")
    out: TypedPath | None = Field(
        None,
        description="of a single prompt: .mp4, .webm, .gif, or a folder for PNGs; none: named after the prompt",
    )
    out_dir: TypedPath | None = Field(None, description="the folder for the videos of a prompts file")
    workers: int = Field(1, ge=1, description="workers of Ray that sample the clips of each video at once")
    force: bool = Field(False, description="write over videos that are there and of something else")
    model: TypedText | None = Field(
        None, description=f"a folder or reference; none: {CHAMPION_REF}, before it the profile's model"
    )
    device: str | None = Field(
        None, pattern=r"^(cpu|mps|cuda(:\d+)?)$", description="none: a GPU where there is one, else the CPU"
    )
    lora: list[str] = Field([], description="LoRA files of image models, each FILE or FILE:WEIGHT")
    fast: bool = Field(False, description="sooner, as the profile's section [fast] says")
    sampling: SamplingSettings | None = Field(
        None,
        description="what is not named is as saved with the model, else its profile's, else as published",
    )


@dataclass(frozen=True)
class GenerateRequest:
    """The videos in the prompts' order, the model that makes them, and how it samples; `kept` are there already."""

    jobs: tuple[VideoJob, ...]
    clips: int
    model: ResolvedModel
    sampling: ResolvedSampling
    is_of_a_file: bool
    is_before_champion: bool
    device: str | None = None
    kept: frozenset[int] = frozenset()
    loras: tuple[WeightedLora, ...] = ()
    given: Given | None = None
    edit: Edit | None = None
    loop: bool = False
    workers: int = 1

    @property
    def missing(self) -> list[int]:
        """The places of the videos that are still to be made."""
        return [place for place in range(len(self.jobs)) if place not in self.kept]

    def asked(self, after: Inversion | None = None, edited_nhwc: np.ndarray | None = None) -> AskedVideos:
        """The videos that are still to be made, as whoever samples them is asked; `after` is a given clip.

        `edited_nhwc` are the frames of the video that is edited.
        """
        edited = (
            None
            if self.edit is None or edited_nhwc is None
            else EditedFrames(edited_nhwc, self.edit.strength)
        )
        jobs = [self.jobs[place] for place in self.missing]
        return AskedVideos(
            self.model.folder,
            [job.asked_texts(self.sampling.settings.fps) for job in jobs],
            [job.seed for job in jobs],
            self.clips,
            self.sampling.settings,
            self.device,
            self.loras,
            after,
            self.loop,
            edited,
        )

    def made_of(self, place: int) -> dict[str, Any]:
        """All that makes a video again, as plain JSON: it is kept in the file."""
        shown = shown_loras(self.loras)
        job = self.jobs[place]
        given = self.given or self.edit
        return _made_of(job, self.clips, self.model, self.sampling, shown, given, self.loop)


def read_request(params: GenerateParams) -> GenerateRequest:
    """Looks everything up; RequestError or StorageError, one line, when the request cannot be carried out."""
    jobs = tuple(_jobs(params))
    field = "out" if params.prompts_file is None else "out_dir"
    check_output(jobs[0].out, field)
    if params.prompts_file is not None:
        check_manifest(jobs[0].out.parent, params.force)
    check_device_here(params.device)
    loras = read_loras(params.lora)
    given = read_given(params)
    model, profile = find_champion(params) if params.model is None else find_model(params.model, params)
    sampling = model_sampling(model, profile, params, params.sampling, params.fast)
    check_method(given, sampling.settings)
    if params.loop:
        check_loop(params.clips, given, sampling.settings)
    edit = read_edit(params, model, sampling.settings)
    clips = params.clips if edit is None else edit.num_clips
    check_changes(jobs[0], clips, given, edit, params.loop, sampling.settings)
    check_workers(params.workers, clips, sampling.settings)
    check_frame_rate(jobs, sampling.settings.fps, "fps")
    shown = shown_loras(loras)
    made_of = [_made_of(job, clips, model, sampling, shown, given or edit, params.loop) for job in jobs]
    return GenerateRequest(
        jobs,
        clips,
        model,
        sampling,
        is_of_a_file=params.prompts_file is not None,
        is_before_champion=params.model is None and model.version is None,
        device=params.device,
        kept=finished_before(jobs, made_of, params.force, field),
        loras=loras,
        given=given,
        edit=edit,
        loop=params.loop,
        workers=params.workers,
    )


def _jobs(params: GenerateParams) -> list[VideoJob]:
    if params.prompts_file is None:
        if params.out_dir is not None:
            raise RequestError("out_dir: is for a prompts_file; a single prompt takes out")
        at = read_changes(params.at)
        return [job_of_prompt(params.prompt, params.then, at, params.clips, params.seed, params.out)]
    for name in ("then", "at"):
        if getattr(params, name):
            raise RequestError(f"{name}: is for a single prompt, not for a prompts_file")
    if params.prompt is not None:
        raise RequestError("prompt: give either prompt or prompts_file, not both")
    if params.out is not None:
        raise RequestError("out: is for a single prompt; a prompts_file takes out_dir")
    return jobs_of_file(params.prompts_file, params.seed, params.out_dir)


def _made_of(
    job: VideoJob,
    clips: int,
    model: ResolvedModel,
    sampling: ResolvedSampling,
    loras: list[dict[str, Any]],
    given: Given | Edit | None,
    loop: bool,
) -> dict[str, Any]:
    # What is not asked for is not named: files of before there was such an option stay those of the same request.
    lora = {"lora": loras} if loras else {}
    start = {} if given is None else given.made_of()
    return {
        **lora,
        **start,
        **({"loop": True} if loop else {}),
        **({"at": list(job.seconds)} if job.seconds else {}),
        "prompt": list(job.texts),
        "seed": job.seed,
        "clips": clips,
        "model": _shown(model),
        "sampling": {name: how["value"] for name, how in sampling.as_dict().items()},
    }


def _shown(model: ResolvedModel) -> str:
    """A version by its number, a folder as it was typed, or by its last names: files are shown to others."""
    if model.version is not None:
        return version_ref(model.version)
    return "/".join(model.folder.parts[-2:]) if Path(model.ref).is_absolute() else model.ref
