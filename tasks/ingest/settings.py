"""How a build is carried out: workers, batches, limits, and what is stored beside the latents."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from storage.dataset.columns import VIDEO_KINDS, Kind


class BuildSettings(BaseModel):
    """Settings of the run itself; none of them changes what a clip shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decoders: int | None = Field(None, ge=1, description="sources decoded at once; none: one per CPU")
    judges: int | None = Field(
        None,
        ge=1,
        description="scoring actors, which hold CLIP and the VAE; none: one per GPU, without any one per CPU",
    )
    judge_gpus: float = Field(1.0, gt=0, description="GPUs of one scoring actor, where there are any")
    batch_clips: int = Field(
        8,
        ge=1,
        description="clips given to the models at once, at most; what they give does not depend on it",
    )
    source_timeout_s: float = Field(
        600.0, gt=0, description="a source that gives no further clip for so long is quarantined"
    )
    commit_rows: int = Field(256, ge=1, description="rows in one commit: what a crash costs at most")
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32",
        description="what the VAE computes in; clips encoded in another are encoded again (tf32 is of NVIDIA's GPUs)",
    )
    latents_std: bool = Field(False, description="store the posterior's standard deviation beside its mean")
    text_states: bool = Field(
        False, description="store the text encoder's states of every distinct caption in texts.lance"
    )
    videos: tuple[Kind, ...] = Field(
        VIDEO_KINDS, description="kinds whose clips are kept as near-lossless mp4"
    )
