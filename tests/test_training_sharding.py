"""FSDP2 over two processes against one process without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from tasks.training.checkpoints import part_like, whole
from tasks.training.devices import shard
from tests.test_dropout import tiny_unet
from vidrd_model import TemporalUNet
from vidrd_model.blocks import BLOCKS
from vidrd_model.dropout import dropout_keys

STEPS, RANKS = 4, 2


def _train(unet: TemporalUNet, ranks: range) -> list[float]:
    """Losses of a few steps over the clips of some ranks; the mean over ranks is the loss of all."""
    trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    generator = torch.Generator().manual_seed(5)
    losses = []
    for _ in range(STEPS):
        sample, target = (torch.randn(RANKS, 4, 3, 8, 8, generator=generator) for _ in range(2))
        text, steps = torch.randn(RANKS, 5, 16, generator=generator), torch.tensor([10, 800])
        part = slice(ranks.start, ranks.stop)
        with dropout_keys(torch.tensor([7, 9])[part]):
            loss = F.mse_loss(unet(sample[part], steps[part], text[part]).sample, target[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=RANKS)
    try:
        unet = tiny_unet()
        unet.set_trainable("temporal")
        unet.enable_gradient_checkpointing()
        shard(unet, BLOCKS)
        total = sum(parameter.numel() for parameter in unet.parameters())
        local = sum(parameter.to_local().numel() for parameter in unet.parameters())
        losses = _train(unet, range(rank, rank + 1))
        trained = {name: p for name, p in unet.named_parameters() if p.requires_grad}
        state = {name: whole(parameter.detach()) for name, parameter in trained.items()}
        again = tiny_unet()
        shard(again, BLOCKS)
        with torch.no_grad():
            for parameter, value in zip(again.parameters(), unet.parameters(), strict=True):
                parameter.copy_(part_like(whole(value), parameter))
        loaded = {name: whole(parameter.detach()) for name, parameter in again.named_parameters()}
        torch.save(
            {"losses": losses, "share": local / total, "state": state, "loaded": loaded},
            Path(folder, f"{rank}.pt"),
        )
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_two_sharded_ranks_train_as_one_whole_model_does(tmp_path: Path) -> None:
    """With checkpointing, which gathers the weights once more; the model that is not sharded goes without."""
    mp.spawn(_worker, args=(str(tmp_path),), nprocs=RANKS)
    results: list[dict[str, Any]] = [torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS)]
    unet = tiny_unet()
    names = unet.set_trainable("temporal")
    before = {name: parameter.detach().clone() for name, parameter in unet.named_parameters()}
    wanted = _train(unet, range(RANKS))
    losses = [sum(pair) / RANKS for pair in zip(*(result["losses"] for result in results), strict=True)]
    assert losses == pytest.approx(wanted, abs=1e-4)
    assert all(result["share"] < 0.6 for result in results)
    state, loaded = results[0]["state"], results[0]["loaded"]
    assert list(state) == names == list(results[1]["state"])
    for name, value in before.items():
        assert torch.equal(loaded[name], state.get(name, value))
        assert name not in state or not torch.equal(state[name], value)
