"""Optional models of the caption stage: one that writes captions, one that gives an aesthetic score."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from storage.local.typed_fields import TypedText


class CaptionerSettings(BaseModel):
    """Settings of the model that adds captions of its own to a clip's candidates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: TypedText | None = Field(
        None,
        description="a folder or hub id (`id@revision` pins it): BLIP, or a vision-language model that sees several "
        "frames, such as Qwen2.5-VL or SmolVLM2; none: no captions are written",
    )
    when: Literal["missing", "always"] = Field(
        "missing", description="clips that came without a caption alone, or kept ones all, beside their own"
    )
    candidates: int = Field(
        3, ge=1, le=16, description="of BLIP: captions per clip, a greedy one, the others sampled"
    )
    max_tokens: int = Field(30, ge=1, le=256, description="tokens in a caption, at most")
    prompts: tuple[str, ...] = Field(
        ("Describe what happens in this video in one sentence.",),
        min_length=1,
        description="of a vision-language model: what it is asked, a caption for each",
    )
    frames: int = Field(
        4, ge=1, le=32, description="of a vision-language model: frames of the clip that it sees, at most"
    )
    batch_clips: int = Field(
        4, ge=1, description="of a vision-language model: clips at once; fewer are padded to it"
    )


class AestheticSettings(BaseModel):
    """Settings of the model of aesthetic scores; its threshold is `FilterSettings.min_aesthetic`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    head: TypedText | None = Field(
        None, description="weights over CLIP features (.safetensors or .pth) of the CLIP model that is used"
    )
