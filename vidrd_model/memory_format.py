"""Channels-last memory for models whose kernels have four or five axes."""

from __future__ import annotations

from typing import Any, Self

import torch


class AnyMemoryFormat:
    """A model that takes `to(memory_format=torch.channels_last)`: kernels over frames have a format of their own.

    PyTorch's modules refuse a model that has both kinds.
    """

    def to(self, *args: Any, memory_format: torch.memory_format | None = None, **kwargs: Any) -> Self:
        """As of any model of diffusers."""
        moved: Any = super().to(*args, **kwargs) if args or kwargs else self  # type: ignore[misc]
        if memory_format is not None:
            last = memory_format in (torch.channels_last, torch.channels_last_3d)
            formats = {4: torch.channels_last, 5: torch.channels_last_3d} if last else {}
            for tensor in (*moved.parameters(), *moved.buffers()):
                tensor.data = tensor.data.contiguous(
                    memory_format=formats.get(tensor.ndim, torch.contiguous_format)
                )
        return moved
