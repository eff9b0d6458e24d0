"""Whether a video can be a loop, asked before any work."""

from __future__ import annotations

from flows.generate.given import Given
from tasks.errors import RequestError
from tasks.generation.settings import SamplingSettings


def check_loop(clips: int, given: Given | None, sampling: SamplingSettings) -> None:
    """RequestError, naming what stands against it, for a loop that the model would refuse."""
    if clips < 2:
        raise RequestError("loop: needs at least 2 clips, of which the last leads back to the first")
    if given is not None:
        raise RequestError(f"loop: ends where it begins, so it cannot begin with {given.field}")
    if sampling.method != "vidrd":
        raise RequestError(f"loop: method {sampling.method} cannot make one; vidrd can")
    if sampling.seam == "crossfade":
        raise RequestError("loop: seam crossfade cannot close it; drop-duplicate can")
    if not 0 < sampling.prompt_frames < sampling.num_frames or not sampling.beta:
        raise RequestError(
            f"loop: needs guided frames and free ones: prompt_frames in 1..{sampling.num_frames - 1} and beta above 0, "
            f"not {sampling.prompt_frames} and {sampling.beta:g}"
        )
