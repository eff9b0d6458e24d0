"""What one of several workers does for a video: its clips of every window, sampled and decoded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from tasks.generation.asked import AskedVideos
from tasks.generation.generate import load_pipeline, sampling_quietly
from vidrd_model.call_arguments import CallArguments
from vidrd_model.outputs import in_depth_of
from vidrd_model.sampled_clips import SampledClips
from vidrd_model.video_share import VideoShare


@torch.no_grad()
def shared_windows(asked: AskedVideos, share: VideoShare) -> Iterator[list[np.ndarray]]:
    """Yields window by window the worker's clips of the videos, uint8 (b, n, h, w, 3) each, perhaps none."""
    with sampling_quietly():
        pipe = load_pipeline(asked)
        call = CallArguments(output_type="uint8", **asked.call_arguments())
        clips = SampledClips(pipe, call, call.settings(pipe.config.sampling), share)
        for window in clips.windows():
            yield [
                in_depth_of(pipe.decode_latents(latents_bcnhw), "uint8").cpu().numpy()
                for latents_bcnhw in window
            ]
