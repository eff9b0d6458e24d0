"""How much memory a piece of work takes at its peak."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch


class PeakMemory:
    """How much the process, or what it has on its GPU, grows at most from now on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)
        else:
            ctypes.CDLL(None).malloc_trim(0)  # what earlier work freed would hide what is needed now (glibc)
            Path("/proc/self/clear_refs").write_text("5")  # the kernel's mark of the highest use starts anew
            self._before = _resident_bytes("VmRSS")

    def grown_bytes(self) -> int:
        """Since the object was made."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        return _resident_bytes("VmHWM") - self._before


def _resident_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
