"""How many operations a pass of the UNet is: what all layers share is computed once, biases go with their products."""

from __future__ import annotations

from tests.bench.operations import counts


def test_a_pass_at_full_size_dispatches_less_than_diffusers_video_unets() -> None:
    found = counts()
    ours = found["TemporalUNet"]
    assert (
        ours.total() <= 1_121 < min(found["UNetMotionModel"].total(), found["UNet3DConditionModel"].total())
    )
    # A SiLU for each group norm of a resnet, of a Temp-Conv and of the end, two for the time.
    assert ours["silu"] == 22 * 2 + 22 * 4 + 1 + 2
    assert ours["sin"] == 3 + 1, "frame embeddings of three widths, and the time"
    assert ours["mm"] == 16 * (3 + 1 + 3), "a bias is added apart from its matrix product"
