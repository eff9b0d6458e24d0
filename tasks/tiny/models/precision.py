"""bfloat16 where a processor computes in it; where it has to imitate it, a step takes six times as long."""

from __future__ import annotations

import torch

_NATIVE = ("avx512_bf16", "amx_bf16")


def half_precision() -> torch.autocast:
    """A context in which layers compute in bfloat16 on a CPU that can, else as they are."""
    known = torch.cpu.get_capabilities()
    return torch.autocast("cpu", torch.bfloat16, enabled=any(known.get(name) for name in _NATIVE))
