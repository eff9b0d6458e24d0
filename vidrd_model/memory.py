"""What a pipeline does to need less memory, beside what diffusers' own base class has."""

from __future__ import annotations

from typing import Any

import torch


class MemoryOptions:
    """Slices and tiles of the decoder, weights in 8 bits, and offloading that works for a CPU as well."""

    unet: Any
    vae: Any
    components: dict[str, Any]

    def enable_vae_slicing(self) -> None:
        """Decodes video by video."""
        self.vae.enable_slicing()

    def disable_vae_slicing(self) -> None:
        """Decodes all videos of a batch at once."""
        self.vae.disable_slicing()

    def enable_vae_tiling(self) -> None:
        """Decodes tile by tile, each with all frames of a window."""
        self.vae.enable_tiling()

    def disable_vae_tiling(self) -> None:
        """Decodes whole pictures."""
        self.vae.disable_tiling()

    def enable_layerwise_casting(
        self,
        storage_dtype: torch.dtype = torch.float8_e4m3fn,
        compute_dtype: torch.dtype | None = None,
        **settings: Any,
    ) -> None:
        """Keeps the UNet's weights in `storage_dtype`; each layer computes in `compute_dtype`, by default as until now.

        `settings` are those of diffusers' models.
        """
        self.unet.enable_layerwise_casting(storage_dtype, compute_dtype or self.unet.dtype, **settings)

    def enable_model_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str | None = None
    ) -> None:
        """As diffusers has it: a model is on the device while it computes, by default that of the last time."""
        super().enable_model_cpu_offload(gpu_id, self._offloads_to(gpu_id, device))  # type: ignore[misc]

    def enable_sequential_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str | None = None
    ) -> None:
        """As diffusers has it: a layer's weights are on the device while it computes. `device` may be a CPU."""
        device = self._offloads_to(gpu_id, device)
        super().enable_sequential_cpu_offload(gpu_id, device)  # type: ignore[misc]
        if device is not None and torch.device(device).type == "cpu":
            _name_the_cpu_plainly(self.components)

    def _offloads_to(
        self, gpu_id: int | None, device: torch.device | str | None
    ) -> torch.device | str | None:
        """Loading LoRA layers, diffusers offloads anew and names no device."""
        return getattr(self, "_offload_device", None) if gpu_id is None and device is None else device

    def _rest_models(self) -> None:
        """With `enable_model_cpu_offload`, takes every model off the device: the next one of a clip finds it empty."""
        for hook in getattr(self, "_all_hooks", []):
            hook.offload()


def _name_the_cpu_plainly(components: dict[str, Any]) -> None:
    """diffusers asks for `cpu:0`, to which PyTorch copies a weight that is on `cpu`, and the copy is no parameter."""
    for model in components.values():
        for module in model.modules() if isinstance(model, torch.nn.Module) else ():
            hook = getattr(module, "_hf_hook", None)
            for one in getattr(hook, "hooks", [hook]):
                if getattr(one, "execution_device", None) is not None:
                    one.execution_device = torch.device("cpu")
