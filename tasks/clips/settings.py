"""What a clip is: how many frames, how fast, how large, and how a source is cut into clips."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ClipSettings(BaseModel):
    """Settings of the clip stage; the defaults are those of the profile `tiny`.

    `shot_threshold` and `shot_min_content` are PySceneDetect's `adaptive_threshold` and `min_content_val`; they
    concern the detector `adaptive` alone. The defaults find all 2,000 cuts of 400 drawn films and no other; on
    ordinary films they take a jerk of the camera for a cut, and PySceneDetect's own 3.0 and 15.0 do better.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_frames: int = Field(8, ge=1, le=1024, description="frames in a clip (N)")
    fps: float = Field(8.0, gt=0, le=240, description="instants per second at which a source is looked at")
    frame_stride: int = Field(
        1, ge=1, le=64, description="a clip takes every k-th instant, so its own rate is fps / k"
    )
    width: int = Field(64, ge=8, le=4096, multiple_of=8, description="pixels; the VAE divides it by 8")
    height: int = Field(64, ge=8, le=4096, multiple_of=8, description="pixels; the VAE divides it by 8")
    clips_per_source: int = Field(
        1, ge=1, le=64, description="clips from one image, one short video or one shot, at most"
    )
    pseudo_video_min_window: float = Field(
        0.8, gt=0, le=1, description="smallest window of a zoom or pan, as a part of the centre crop's side"
    )
    min_shot_s: float = Field(0.5, ge=0, description="shorter shots are dropped: flashes, half-cut ends")
    max_shot_s: float = Field(
        10.0, gt=0, description="longer shots are taken in pieces of this length, which bounds the memory"
    )
    shot_detector: Literal["adaptive", "transnetv2"] = Field(
        "adaptive", description="how cuts are found: by changes in content, or by a network (slower, surer)"
    )
    max_flash_s: float = Field(
        0.25,
        ge=0,
        le=2,
        description="odd frames between two alike sides are a flash when they last no longer",
    )
    shot_threshold: float = Field(
        1.75, gt=1, description="a cut's change in content, as a multiple of the change around it"
    )
    shot_min_content: float = Field(
        9.0, ge=0, le=255, description="a cut's change in content (HSV, 0..255), at least"
    )

    @property
    def clip_fps(self) -> float:
        """Frames per second of a clip."""
        return self.fps / self.frame_stride

    @property
    def span_s(self) -> float:
        """Seconds from the first frame of a clip to its last."""
        return (self.num_frames - 1) / self.clip_fps
