"""Optional models of the caption stage: one that writes captions, one that gives an aesthetic score."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from storage.local.typed_paths import TypedText


class CaptionerSettings(BaseModel):
    """Settings of the model that adds captions of its own to a clip's candidates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: TypedText | None = Field(
        None, description="a BLIP folder or hub id (`id@revision` pins it); none: no captions are written"
    )
    candidates: int = Field(3, ge=1, le=16, description="captions per clip: a greedy one, the others sampled")
    max_tokens: int = Field(30, ge=1, le=256, description="tokens in a caption, at most")


class AestheticSettings(BaseModel):
    """Settings of the model of aesthetic scores; its threshold is `FilterSettings.min_aesthetic`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    head: TypedText | None = Field(
        None, description="weights over CLIP features (.safetensors or .pth) of the CLIP model that is used"
    )
