"""TemporalVAE: the Stable Diffusion autoencoder whose decoder looks across frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput

# Loading a pipeline folder, diffusers looks for a component's base class by name in the component's own module.
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401
from diffusers.utils.accelerate_utils import apply_forward_hook

from vidrd_model.decoder import TemporalDecoder
from vidrd_model.dropout import number_dropouts
from vidrd_model.image_models import load_image_part, take_image_weights
from vidrd_model.memory_format import AnyMemoryFormat
from vidrd_model.temporal_layers import (
    TEMPORAL_MARK,
    reset_temporal_layers,
    train_only,
)


class TemporalVAE(AnyMemoryFormat, AutoencoderKL):
    """AutoencoderKL with a Temp-Conv after each resnet of the decoder's up blocks.

    `decode(z, num_frames=n)` folds videos of n frames into the batch, (b n) c h w; with one frame it is the image
    decoder. `decode_window` is how many frames the temporal layers were trained on: longer clips are decoded in windows
    of that many, since the layers' norms pool over what they see; None decodes clips whole. Slicing goes video by video
    and tiling tile by tile, each with all frames of a window: together they bound the memory. Everything else is
    AutoencoderKL's.
    """

    decoder: Any

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",),
        up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",),
        block_out_channels: tuple[int, ...] = (64,),
        layers_per_block: int = 1,
        act_fn: str = "silu",
        latent_channels: int = 4,
        norm_num_groups: int = 32,
        sample_size: int = 32,
        scaling_factor: float = 0.18215,
        shift_factor: float | None = None,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
        force_upcast: bool = True,
        use_quant_conv: bool = True,
        use_post_quant_conv: bool = True,
        mid_block_add_attention: bool = True,
        temp_conv: bool = True,
        decode_window: int | None = None,
    ):
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            down_block_types=down_block_types,
            up_block_types=up_block_types,
            block_out_channels=block_out_channels,
            layers_per_block=layers_per_block,
            act_fn=act_fn,
            latent_channels=latent_channels,
            norm_num_groups=norm_num_groups,
            sample_size=sample_size,
            scaling_factor=scaling_factor,
            shift_factor=shift_factor,
            latents_mean=latents_mean,
            latents_std=latents_std,
            force_upcast=force_upcast,
            use_quant_conv=use_quant_conv,
            use_post_quant_conv=use_post_quant_conv,
            mid_block_add_attention=mid_block_add_attention,
        )
        self.decoder = TemporalDecoder.made_of(self.decoder, temp_conv)
        number_dropouts(self)

    @classmethod
    def from_image_vae(cls, image_vae: AutoencoderKL | str | Path) -> TemporalVAE:
        """Builds a video VAE with fresh temporal layers, in eval mode, from an image VAE.

        image_vae: a model, or a Stable Diffusion 1.5 or 2 folder or hub id (`id@revision` pins it). Raises ModelError
        for what cannot be loaded or does not fit.
        """
        if not isinstance(image_vae, AutoencoderKL):
            image_vae = load_image_part(AutoencoderKL, image_vae, "vae")
        known = cls._get_init_keys(cls)
        vae = cls(**{k: v for k, v in image_vae.config.items() if k in known})
        return take_image_weights(vae, image_vae)

    def set_trainable_temporal(self) -> list[str]:
        """Freezes all but the decoder's temporal layers; returns the names left to train."""
        return train_only(self, (TEMPORAL_MARK,))

    def reset_temporal_layers(self, seed: int) -> None:
        """Fresh temporal layers with zero output, seeded: the decoder is the image decoder."""
        reset_temporal_layers(self, seed)

    @apply_forward_hook
    def decode(self, z: torch.Tensor, return_dict: bool = True, *, num_frames: int = 1, **_: Any) -> Any:
        """Decodes folded latents (b n) c h w, not divided by the scaling factor, to images in about [-1, 1].

        The norms of the temporal layers pool over the `num_frames` frames of a video: decode with the number the
        decoder was trained with. Raises ValueError when the batch is no multiple of it.
        """
        if z.shape[0] % num_frames:
            raise ValueError(f"{z.shape[0]} latents are no whole number of videos of {num_frames} frames")
        # Sliced decoding goes video by video: half a video would be another input to the temporal layers.
        videos = z.split(num_frames) if self.use_slicing else (z,)
        sample = torch.cat([self._decode_windows(video, num_frames) for video in videos])
        return DecoderOutput(sample=sample) if return_dict else (sample,)

    def forward(
        self,
        sample: torch.Tensor,
        sample_posterior: bool = False,
        num_frames: int = 1,
        return_dict: bool = True,
    ) -> Any:
        """Encodes and decodes folded images (b n) c h w; the posterior's mode unless `sample_posterior`."""
        posterior = self.encode(sample).latent_dist
        z = posterior.sample() if sample_posterior else posterior.mode()
        return self.decode(z, return_dict=return_dict, num_frames=num_frames)

    def _decode_windows(self, z: torch.Tensor, num_frames: int) -> torch.Tensor:
        window = self.config.decode_window
        if window is None or num_frames <= window:
            return self._decode_tiles(z, num_frames)
        z_bnchw = z.unflatten(0, (-1, num_frames))
        decoded: list[torch.Tensor] = []
        for start in range(0, num_frames, window):
            first = min(start, num_frames - window)  # the last window is whole too, and begins earlier
            frames = self._decode_tiles(z_bnchw[:, first : first + window].flatten(0, 1), window)
            decoded.append(frames.unflatten(0, (-1, window))[:, start - first :])
        return torch.cat(decoded, dim=1).flatten(0, 1)

    def _decode_tiles(self, z: torch.Tensor, num_frames: int) -> torch.Tensor:
        size, (height, width) = self.tile_latent_min_size, z.shape[-2:]
        if not self.use_tiling or (height <= size and width <= size):
            return self._decode_frames(z, num_frames)
        scale = 2 ** (len(self.config.block_out_channels) - 1)
        overlap = max(1, int(size * self.tile_overlap_factor))
        sample = z.new_zeros((z.shape[0], self.config.out_channels, height * scale, width * scale))
        weights = sample.new_zeros(sample.shape[-2:])
        for top in _tile_starts(height, size, overlap):
            for left in _tile_starts(width, size, overlap):
                tile = self._decode_frames(z[..., top : top + size, left : left + size], num_frames)
                ramps = [_ramp(length, overlap * scale).to(tile) for length in tile.shape[-2:]]
                weight = ramps[0][:, None] * ramps[1]
                at = (
                    ...,
                    slice(top * scale, top * scale + tile.shape[-2]),
                    slice(left * scale, left * scale + tile.shape[-1]),
                )
                sample[at] += tile * weight
                weights[at] += weight
        return sample / weights

    def _decode_frames(self, z: torch.Tensor, num_frames: int) -> torch.Tensor:
        decoded: torch.Tensor = self.decoder(
            z if self.post_quant_conv is None else self.post_quant_conv(z), num_frames
        )
        return decoded


def _tile_starts(length: int, size: int, overlap: int) -> list[int]:
    """Where tiles begin so that neighbours share at least `overlap` and none goes over the end."""
    last = max(length - size, 0)
    return [*range(0, last, size - overlap), last]


def _ramp(length: int, overlap: int) -> torch.Tensor:
    """Weights of a tile that rise and fall over its overlaps; never zero, since an outer edge has no neighbour."""
    rise = (torch.arange(length) + 1.0) / overlap
    return torch.minimum(rise, rise.flip(0)).clamp(max=1.0)
