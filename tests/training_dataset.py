"""A small finished dataset of tiny-world clips, encoded by a real VAE: what the training tests train on."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch

from storage.dataset.tables import write_rows
from storage.dataset.writer import DatasetWriter, SourceGroup
from tasks.clips.video_io import encode_lossless_ish
from tasks.model_files import encoder_digest
from tasks.tiny.world.drawing import draw_clip, random_scene
from vidrd_model import TemporalUNet, TemporalVAE, VidRDPipeline


def write_training_dataset(
    folder: Path,
    model_dir: Path,
    train: int = 24,
    val: int = 8,
    images: int = 4,
    encoder: str | None = None,
    deviation: float | None = None,
    broken: Collection[str] = (),
    caption: str | None = None,
) -> Path:
    """Write `train` + `val` moving clips with their pixels and `images` training clips without; finish it.

    `deviation` is stored for all latents; those of the clips `broken` are not numbers; `caption` is that of all clips.
    """
    encoder = encoder or encoder_digest(model_dir)
    vae = TemporalVAE.from_pretrained(model_dir, subfolder="vae").eval()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(train + val + images):
        scene = random_scene(rng)
        frames_nhwc = draw_clip(scene, rng)
        still = number >= train + val
        split = "val" if train <= number < train + val else "train"
        rows.append(
            _clip_row(
                number,
                caption or scene.caption,
                split,
                encoder,
                _encode(vae, frames_nhwc),
                frames_nhwc,
                still,
            )
        )
    for row in rows:
        if deviation is not None:
            row["latents_std"] = np.full_like(row["latents"], deviation)
        if row["clip_id"] in broken:
            row["latents"] = np.full_like(row["latents"], np.nan)
    shape = rows[0]["latents"].shape
    with DatasetWriter(folder, shape) as writer:
        writer.commit(SourceGroup([], [], write_rows(folder, "clips", rows), []))
        writer.finish({})
    return folder


@torch.no_grad()
def _encode(vae: TemporalVAE, frames_nhwc: np.ndarray) -> np.ndarray:
    pixels_nchw = torch.from_numpy(frames_nhwc).permute(0, 3, 1, 2).float() / 127.5 - 1
    return (vae.encode(pixels_nchw).latent_dist.mean * vae.config.scaling_factor).numpy().astype(np.float16)


def _clip_row(
    number: int,
    caption: str,
    split: str,
    encoder: str,
    latents_nchw: np.ndarray,
    frames_nhwc: np.ndarray,
    still: bool,
) -> dict:
    return {
        "clip_id": f"clip-{number:04d}",
        "source_id": f"source-{number:04d}",
        "source_uri": f"{number:04d}.mp4",
        "source_digest": f"{number:04d}",
        "corpus": "tiny",
        "kind": "images" if still else "short-videos",
        "licence": "CC0-1.0",
        "split": split,
        "start_s": 0.0,
        "fps": 8.0,
        "num_frames": len(frames_nhwc),
        "source_width": frames_nhwc.shape[2],
        "source_height": frames_nhwc.shape[1],
        "source_duration_s": None if still else len(frames_nhwc) / 8.0,
        "caption": caption,
        "caption_given": caption,
        "caption_origin": "given",
        "params": "{}",
        "clip_score": 0.3,
        "clip_score_min": 0.3,
        "scorer": "test",
        "encoder": encoder,
        "aesthetic": None,
        "motion": 4.0,
        "jump": 1.0,
        "brightness": 40.0,
        "frozen": 0.0,
        "fingerprint": b"",
        "duplicate_of": None,
        "clip_features": np.zeros(0, np.float16),
        "latents": latents_nchw,
        "latents_std": None,
        "video": None if still else encode_lossless_ish(frames_nhwc, 8.0),
    }


def write_small_model(folder: Path, model_dir: str | Path, small_frames: bool = True) -> Path:
    """The tiny model with a UNet so narrow, and frames so small, that a step and a frame take milliseconds."""
    pipe = VidRDPipeline.from_pretrained(model_dir)
    text = pipe.unet.config.cross_attention_dim
    torch.manual_seed(0)
    pipe.unet = TemporalUNet(
        block_out_channels=[32, 32],
        layers_per_block=1,
        cross_attention_dim=text,
        attention_head_dim=[1, 1],
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        sample_size=8,
    )
    if small_frames:
        # A video of 16 pixels and latents of 4 take a third of the time; what is trained on stays as large as it is.
        down, up = pipe.vae.config.down_block_types[:3], pipe.vae.config.up_block_types[:3]
        smaller = {"block_out_channels": [32, 32, 32], "down_block_types": down, "up_block_types": up}
        pipe.vae = TemporalVAE(**dict(pipe.vae.config) | smaller | {"sample_size": 16})
        pipe.register_to_config(sampling=dict(pipe.config.sampling) | {"height": 16, "width": 16})
    pipe.save_pretrained(folder)
    return folder
