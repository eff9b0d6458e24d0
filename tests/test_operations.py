"""How many operations a pass of the UNet is: what all layers share is computed once, biases go with their products."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.bench.operations import counts
from tests.quiet_pipeline import quiet_pipeline


def test_a_pass_at_full_size_dispatches_less_than_diffusers_video_unets() -> None:
    found = counts()
    ours = found["TemporalUNet"]
    assert (
        ours.total() <= 1_121 < min(found["UNetMotionModel"].total(), found["UNet3DConditionModel"].total())
    )
    assert found["TemporalUNet, on deep features kept"].total() <= 108
    # A SiLU for each group norm of a resnet, of a Temp-Conv and of the end, two for the time.
    assert ours["silu"] == 22 * 2 + 22 * 4 + 1 + 2
    assert ours["sin"] == 3 + 1, "frame embeddings of three widths, and the time"
    assert ours["mm"] == 16 * (3 + 1 + 3), "a bias is added apart from its matrix product"


@pytest.mark.slow
def test_the_unet_is_one_graph_for_all_steps(small_model: Path) -> None:
    """What `torch.compile(pipe.unet, fullgraph=True)` needs, with text states and with what is projected of them."""
    unet = quiet_pipeline(small_model).unet
    noise_bcnhw = torch.randn(2, 4, 8, 8, 8)
    text_btd = torch.randn(2, 7, unet.config.cross_attention_dim)
    with torch.no_grad():
        for text in (text_btd, unet.project_text(text_btd)):
            torch._dynamo.reset()
            compiled = torch.compile(unet, fullgraph=True, backend="eager", dynamic=False)
            compiled(noise_bcnhw, torch.tensor(500), text)
            with torch._dynamo.config.patch(error_on_recompile=True):
                found = compiled(noise_bcnhw, torch.tensor(20), text).sample
            assert torch.equal(found, unet(noise_bcnhw, torch.tensor(20), text).sample)
