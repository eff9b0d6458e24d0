"""Writes durations and sizes as a person reads them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Returns seconds as a person says them: 8.2 s, 3 min 05 s, 7 h 02 min, 3 d 04 h."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days:,} d {hours:02d} h"


def size(num_bytes: float) -> str:
    """Returns bytes in three figures and a decimal unit: 512 B, 1.23 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if num_bytes < 999.5:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.3g} PB" if num_bytes < 1000 else f"{num_bytes:,.0f} PB"
