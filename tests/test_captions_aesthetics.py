"""The aesthetic head: both layouts give what torch's own layers give, and files that misfit are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tasks.captions.aesthetics import AestheticHead
from tasks.errors import ItemError, RequestError
from tasks.model_files import aesthetic_digest

WIDTH = 24


def laion_layout() -> nn.Module:
    """Linear layers with dropouts between them, as the improved aesthetic predictor numbers them."""
    head = nn.Module()
    head.layers = nn.Sequential(
        nn.Linear(WIDTH, 16), nn.Dropout(0.2), nn.Linear(16, 8), nn.Dropout(0.1), nn.Linear(8, 1)
    )
    return head.eval()


def unit_features(seed: int = 0) -> np.ndarray:
    features_nd = np.random.default_rng(seed).normal(size=(8, WIDTH))
    return (features_nd / np.linalg.norm(features_nd, axis=1, keepdims=True)).astype(np.float16)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("layout", ["linear", "laion"])
def test_both_layouts_give_what_torch_gives(tmp_path: Path, layout: str, suffix: str) -> None:
    head = nn.Linear(WIDTH, 1) if layout == "linear" else laion_layout()
    path = tmp_path / f"head{suffix}"
    if suffix == ".pth":
        torch.save(head.state_dict(), path)
    else:
        save_file(head.state_dict(), path)
    features_nd = unit_features()
    layers: Any = head if layout == "linear" else head.layers
    with torch.no_grad():
        wanted = layers(torch.from_numpy(features_nd).float()).mean().item()
    score = AestheticHead(path, WIDTH).score(features_nd)
    assert score == pytest.approx(wanted, abs=1e-5) and score == np.float32(score)
    assert AestheticHead(path, WIDTH).score(unit_features(1)) != score


def state(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    changed = laion_layout().state_dict() | {name.replace("_", "."): value for name, value in changes.items()}
    return {name: value for name, value in changed.items() if value is not None}


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (state(layers_2_weight=torch.zeros(8, 17)), "do not lead to one number"),
        (state(layers_4_weight=torch.zeros(2, 8), layers_4_bias=torch.zeros(2)), "do not lead to one number"),
        (state(layers_2_bias=None), "lacks a weight or a bias"),
        (state(head_weight=torch.zeros(1)), "neither one linear layer nor"),
        (
            {"weight": torch.zeros(1, WIDTH + 1), "bias": torch.zeros(1)},
            "of width 25, the CLIP model's have 24",
        ),
        ({"weight": torch.zeros(WIDTH), "bias": torch.zeros(1)}, "do not lead to one number"),
        (
            {"weight": torch.ones(1, WIDTH), "bias": torch.tensor([torch.inf])},
            "holds values that are not finite",
        ),
        ({}, "neither one linear layer nor"),
    ],
)
def test_files_that_misfit_are_refused(tmp_path: Path, tensors: dict[str, Any], reason: str) -> None:
    path = tmp_path / "head.pth"
    torch.save(tensors, path)
    with pytest.raises(RequestError, match=rf"aesthetic: .*head\.pth .*{reason}"):
        AestheticHead(path, WIDTH)


class Payload:
    """What an attacker would put into a pickle."""


def test_what_is_no_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.pth"
    with pytest.raises(RequestError, match=r"head\.pth is not a file"):
        AestheticHead(path, WIDTH)
    with pytest.raises(RequestError, match=r"head\.pth is not a file"):
        aesthetic_digest(path)
    for data in (b"", b"no pickle", b"\x80\x02junk"):
        path.write_bytes(data)
        with pytest.raises(RequestError, match=r"aesthetic: .*head\.pth: refused"):
            AestheticHead(path, WIDTH)
    torch.save({"weight": Payload()}, path)
    with pytest.raises(RequestError, match=r"aesthetic: .*head\.pth: refused"):
        AestheticHead(path, WIDTH)
    torch.save([torch.zeros(2)], path)
    with pytest.raises(RequestError, match="holds no tensors by name"):
        AestheticHead(path, WIDTH)
    broken = tmp_path / "head.safetensors"
    broken.write_bytes(b"no header")
    with pytest.raises(RequestError, match=r"aesthetic: .*head\.safetensors: refused"):
        AestheticHead(broken, WIDTH)


def test_a_score_that_is_no_number_is_an_item_error(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    save_file({"weight": torch.ones(1, WIDTH), "bias": torch.zeros(1)}, path)
    with pytest.raises(ItemError, match="not finite"):
        AestheticHead(path, WIDTH).score(np.full((8, WIDTH), np.nan, np.float16))


def test_the_digest_is_of_the_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file({"weight": torch.zeros(1, WIDTH), "bias": torch.zeros(1)}, first)
    second.write_bytes(first.read_bytes())
    assert aesthetic_digest(first) == aesthetic_digest(second)
    save_file({"weight": torch.zeros(1, WIDTH), "bias": torch.ones(1)}, second)
    assert aesthetic_digest(first) != aesthetic_digest(second)
