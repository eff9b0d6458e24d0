"""Where in a video, as it is shown, the frames of its clips lie; a seam leaves some of them out."""

from __future__ import annotations

from dataclasses import dataclass

from vidrd_model.errors import ModelError

SEAMS = ("keep", "drop-duplicate", "drop-prompt-frames", "crossfade")


def hidden_frames(seam: str, prompt_frames: int) -> int:
    """How many frames of a later clip are not shown, or are blended into those before; ModelError for another seam."""
    if seam not in SEAMS:
        raise ModelError(f"seam must be one of {', '.join(SEAMS)}, not {seam!r}")
    return {"keep": 0, "drop-duplicate": min(1, prompt_frames)}.get(seam, prompt_frames)


def clips_over(given_frames: int, num_frames: int, shared_frames: int) -> int:
    """How many clips, each sharing frames with the one before, cover a video; ModelError when it is shorter than one.

    Frames beyond the video's end are left over in the last one.
    """
    if given_frames < num_frames:
        raise ModelError(f"video: {given_frames} frames are fewer than the {num_frames} of a clip")
    return 1 + -(-(given_frames - num_frames) // (num_frames - shared_frames))


@dataclass(frozen=True)
class FrameTimes:
    """The first clip's first frame is at `first`, each later clip's `hidden` frames before the end of the clip before.

    So frames that a seam leaves out or blends are at the time of those that are shown in their place.
    """

    num_frames: int
    hidden: int
    first: int

    @classmethod
    def of(
        cls, num_frames: int, seam: str, prompt_frames: int, loop: bool = False, follows: bool = False
    ) -> FrameTimes:
        """Those of a video that is a loop, or `follows` given frames: its first clip then comes after another one.

        Frame 0 is the first new one that is shown. Raises ModelError for an unknown seam.
        """
        hidden = hidden_frames(seam, prompt_frames)
        # Blended with the end of the given frames, a first clip is shown from its beginning.
        later = loop or (follows and seam != "crossfade")
        return cls(num_frames, hidden, -hidden if later else 0)

    def of_clip(self, clip: int) -> range:
        """The places of a clip's frames; those before the first frame that is shown are below 0."""
        start = self.first + clip * (self.num_frames - self.hidden)
        return range(start, start + self.num_frames)
