"""Other ways to a longer video with the same model, to set VidRD beside.

The plainest, clip by clip with fresh noise, is VidRD's own loop with prompt_frames=0 and alpha=0.
"""

from vidrd_model.baselines.freenoise import stream_freenoise
from vidrd_model.baselines.overlap import stream_overlap

__all__ = ["stream_freenoise", "stream_overlap"]
