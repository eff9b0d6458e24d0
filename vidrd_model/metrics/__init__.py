"""Numbers about videos: Fréchet distance, inception score, the I3D network they need, motion, seams, fidelity."""

from vidrd_model.metrics.fidelity import edge_sharpness, flicker, moving_edges, psnr_db
from vidrd_model.metrics.frechet import frechet_distance
from vidrd_model.metrics.i3d import I3D, check_reference, reference_distance
from vidrd_model.metrics.inception import inception_score
from vidrd_model.metrics.seams import SeamRatios, frame_steps, motion_amount, seam_ratios

__all__ = [
    "I3D",
    "SeamRatios",
    "check_reference",
    "edge_sharpness",
    "flicker",
    "frame_steps",
    "frechet_distance",
    "inception_score",
    "motion_amount",
    "moving_edges",
    "psnr_db",
    "reference_distance",
    "seam_ratios",
]
