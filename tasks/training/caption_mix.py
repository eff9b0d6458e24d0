"""Which of a clip's captions a training sees: that of its corpus, or one that a model wrote, by weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tasks.training.settings import CaptionMix, CaptionOrigin


def draw_caption(
    own: str,
    own_origin: str,
    written: Sequence[str],
    weights: CaptionMix,
    generator: torch.Generator,
) -> str:
    """Draws where the caption comes from by the weights, then one of those from there, all alike.

    `own` is the caption of the row, which a model may have written (`own_origin`), `written` all that a model wrote.
    Where a clip has none of an origin, the other one is taken; where that has no weight, its own caption stays.
    """
    is_models = own_origin == "model"
    by_origin: dict[CaptionOrigin, list[str]] = {
        "corpus": [] if is_models else [own],
        "model": list(written) or ([own] if is_models else []),
    }
    shares = [weights.get(origin, 0.0) if captions else 0.0 for origin, captions in by_origin.items()]
    total = sum(shares)
    if not total:
        return own
    drawn = float(torch.rand((), generator=generator, dtype=torch.float64)) * total
    captions = by_origin["corpus" if drawn < shares[0] else "model"]
    return captions[int(torch.randint(len(captions), (), generator=generator))]
