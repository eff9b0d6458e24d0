"""A fine-tune of the decoder on the tiny world: less flicker, with nothing paid for it in PSNR or sharp edges."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from storage.dataset.clip_dataset import ClipDataset
from tasks.clips.video_io import decode_bytes
from tasks.training.base_model import load_base_vae
from tasks.training.job import TrainingJob
from tasks.training.splits import split_clips
from tasks.training.train import train_part
from tests.training_dataset import write_training_dataset
from vidrd_model import TemporalVAE
from vidrd_model.metrics import edge_sharpness, flicker, psnr_db


@dataclass(frozen=True)
class Fidelity:
    """Means over held-out clips, of frames in grey levels."""

    flicker: float
    psnr_db: float
    sharpness: float

    @classmethod
    def of(cls, decoded_bnhwc: np.ndarray, true_bnhwc: np.ndarray) -> "Fidelity":
        pairs = list(zip(decoded_bnhwc, true_bnhwc, strict=True))
        return cls(
            *(
                float(np.mean([figure(*pair) for pair in pairs]))
                for figure in (flicker, psnr_db, edge_sharpness)
            )
        )

    def is_no_worse_than(self, other: "Fidelity") -> bool:
        return self.psnr_db >= other.psnr_db and self.sharpness >= 0.99 * other.sharpness


@torch.no_grad()
def decoded_frames(vae: TemporalVAE, latents_bnchw: torch.Tensor) -> np.ndarray:
    """Frames (b, n, h, w, 3) in grey levels, not rounded."""
    scaled = latents_bnchw / vae.config.scaling_factor
    pixels = torch.stack([vae.eval().decode(z, num_frames=len(z)).sample for z in scaled])
    return ((pixels + 1) * 127.5).permute(0, 1, 3, 4, 2).numpy()


def blurred_over_time(frames_bnhwc: np.ndarray) -> np.ndarray:
    padded = np.concatenate([frames_bnhwc[:, :1], frames_bnhwc, frames_bnhwc[:, -1:]], axis=1)
    return (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3


@pytest.mark.slow
def test_a_fine_tune_lowers_flicker_and_blur_does_not_win(tiny_profile, tmp_path, ray_session):
    folder = write_training_dataset(tmp_path / "d", Path(tiny_profile.model), train=64, val=24, images=0)
    dataset = ClipDataset.open(folder)
    rows = [clip.row for clip in split_clips(dataset, videos_only=True).heldout]
    latents_bnchw = torch.tensor(dataset.clips.tensors(rows, "latents")).float()
    true = np.stack([decode_bytes(video)[0] for video in dataset.clips.videos(rows) if video is not None])

    # More and larger steps than the profile's, which has to be quick; one worker of one thread, so that the figures are
    # the same on any machine.
    longer = {"steps": 120, "lr": 1.5e-3, "warmup_steps": 5}
    changes = longer | {"num_workers": 1, "threads": 1, "heldout_samples": 4}
    settings = tiny_profile.decoder.model_copy(update=changes)
    result = train_part(TrainingJob(str(folder), tiny_profile.model, settings), tmp_path / "w")

    before_vae, after_vae = load_base_vae(tiny_profile.model), load_base_vae(result.folder)
    before_frames = decoded_frames(before_vae, latents_bnchw)
    before, after = (
        Fidelity.of(before_frames, true),
        Fidelity.of(decoded_frames(after_vae, latents_bnchw), true),
    )
    assert after.flicker < 0.97 * before.flicker, (before, after)
    assert after.is_no_worse_than(before), (before, after)
    with torch.no_grad():
        single = [vae.decode(latents_bnchw[0]).sample for vae in (before_vae, after_vae)]
    assert torch.equal(*single)
    # A mean over neighbouring frames, the cheap way to less flicker, does not pass.
    assert not Fidelity.of(blurred_over_time(before_frames), true).is_no_worse_than(before)
