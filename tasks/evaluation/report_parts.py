"""What every report has, whoever made the videos: estimates, the real clips, the figures over time, digests."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.evaluation.features import Measures, Reading
from tasks.evaluation.metrics import figures, sliding_fvd
from tasks.evaluation.protocols import Protocol
from tasks.evaluation.reference import Reference


def estimates(
    measures: Measures, reference: Measures | None, protocol: Protocol
) -> dict[str, dict[str, Any]]:
    """The figures that there are, each with interval, n and protocol; without a reference those that need none."""
    metrics = {}
    for figure in figures(protocol.ddof, protocol.is_splits):
        if reference is None and figure.against_reference:
            continue
        estimate = figure.estimate(measures, measures if reference is None else reference)
        if estimate is not None:
            n = sum(len(rows) for rows in figure.rows(measures))
            metrics[figure.name] = asdict(estimate) | {"n": n, "protocol": protocol.name}
    return metrics


def about_reference(folder: Path, reference: Reference, protocol: Protocol) -> dict[str, Any]:
    """The real clips' own figures, which stand beside the generated ones, and which clips they are."""
    return {
        "folder": str(folder),
        "digest": reference.digest,
        "n": len(reference.prompts),
        "cached": reference.cached,
        "unreadable": reference.unreadable,
        "metrics": estimates(reference.measures, None, protocol),
    }


def over_time(
    long: Measures | None, reference: Measures, protocol: Protocol, reading: Reading
) -> dict[str, Any] | None:
    """The FVD of a sliding window over long videos; None without such videos or the weights of I3D."""
    if long is None:
        return None
    values = sliding_fvd(long, reference, protocol.ddof)
    return {"n": len(long), "stride_frames": reading.stride, "values": values} if values else None


def value_digest(value: Any) -> str:
    """16 hexadecimal digits of plain values, the same for equal ones."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()
