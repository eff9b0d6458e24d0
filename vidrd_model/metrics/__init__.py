"""Numbers about videos: distances of feature sets with their intervals, the networks they need, and failures."""

from vidrd_model.metrics.fidelity import edge_sharpness, flicker, moving_edges, psnr_db
from vidrd_model.metrics.frechet import frechet_distance
from vidrd_model.metrics.i3d import I3D, check_reference, reference_distance
from vidrd_model.metrics.inception import inception_score
from vidrd_model.metrics.intervals import Estimate, jackknife
from vidrd_model.metrics.kernel_distance import kernel_distance
from vidrd_model.metrics.seams import SeamRatios, frame_steps, motion_amount, seam_ratios

__all__ = [
    "I3D",
    "Estimate",
    "SeamRatios",
    "check_reference",
    "edge_sharpness",
    "flicker",
    "frame_steps",
    "frechet_distance",
    "inception_score",
    "jackknife",
    "kernel_distance",
    "motion_amount",
    "moving_edges",
    "psnr_db",
    "reference_distance",
    "seam_ratios",
]
