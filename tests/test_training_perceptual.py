"""LPIPS with a backbone of random weights in the cache's layout; without one it is off and says so."""

import multiprocessing
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torchvision

from tasks.training.perceptual import Perceptual, backbone_file, load_perceptual

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Path:
    """A cache that holds VGG16, its classifier's half a gigabyte stored as one number."""
    home = tmp_path_factory.mktemp("torch-home")
    with torch.device("meta"):
        vgg = torchvision.models.vgg16()
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, value in vgg.state_dict().items():
        if name.startswith("features"):
            fan_in = value[0].numel() if value.ndim > 1 else 1
            state[name] = torch.randn(value.shape, generator=generator) * (2 / fan_in) ** 0.5
        else:
            state[name] = torch.zeros(1).expand(value.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(home))
        backbone_file().parent.mkdir(parents=True)
        torch.save(state, backbone_file())
    return home


@pytest.fixture(scope="module")
def perceptual(backbone) -> Perceptual:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(backbone))
        found, line = load_perceptual(CPU)
    assert found is not None
    assert line == f"perceptual loss: LPIPS on {backbone_file().name}"
    return found


def test_equal_frames_are_at_distance_zero(perceptual):
    clips_bnchw = torch.rand(2, 3, 3, 32, 32) * 2 - 1
    assert torch.equal(perceptual.distances(clips_bnchw, clips_bnchw), torch.zeros(2))


def test_it_grows_with_the_difference_and_tells_clips_apart(perceptual):
    torch.manual_seed(0)
    pixels_bnchw = torch.rand(3, 2, 3, 32, 32) * 2 - 1
    change = torch.randn(3, 2, 3, 32, 32) * torch.tensor([0.0, 0.1, 0.5]).reshape(3, 1, 1, 1, 1)
    none, little, much = perceptual.distances(pixels_bnchw + change, pixels_bnchw)
    assert none == 0 < little < much


def test_gradients_reach_the_decoder_and_not_the_network(perceptual):
    torch.manual_seed(0)
    pixels_bnchw = torch.rand(1, 2, 3, 32, 32) * 2 - 1
    decoded_bnchw = (pixels_bnchw * 1.5).requires_grad_()  # beyond [-1, 1] too
    before = perceptual.distances(decoded_bnchw, pixels_bnchw)
    before.sum().backward()
    assert decoded_bnchw.grad is not None and decoded_bnchw.grad.isfinite().all()
    assert all(parameter.grad is None for parameter in perceptual.net.parameters())
    step = 0.01 * decoded_bnchw.grad / decoded_bnchw.grad.norm()
    assert perceptual.distances(decoded_bnchw.detach() - step, pixels_bnchw) < before


def test_under_autocast_it_still_computes_in_float32(perceptual):
    torch.manual_seed(0)
    pixels_bnchw = torch.rand(1, 2, 3, 32, 32) * 2 - 1
    decoded_bnchw = pixels_bnchw * 0.9
    plain = perceptual.distances(decoded_bnchw, pixels_bnchw)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(perceptual.distances(decoded_bnchw, pixels_bnchw), plain)


def test_without_the_weights_it_is_off_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found, line = load_perceptual(CPU)
    assert found is None
    assert line == f"perceptual loss off: {tmp_path}/hub/checkpoints/{backbone_file().name} is not there"


@pytest.mark.parametrize("content", [b"", b"no weights at all", None])
def test_a_file_that_holds_something_else_is_no_error(tmp_path, monkeypatch, content):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    backbone_file().parent.mkdir(parents=True)
    if content is None:
        torch.save({"conv.weight": torch.zeros(3)}, backbone_file())
    else:
        backbone_file().write_bytes(content)
    found, line = load_perceptual(CPU)
    assert found is None
    assert line.startswith("perceptual loss off: ") and "cannot be read" in line and "\n" not in line


def _ask(rank: int, rendezvous: str, home: str, answers) -> None:
    import os

    os.environ["TORCH_HOME"] = home
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    found, line = load_perceptual(CPU)
    answers.put((rank, found is None, line))
    dist.destroy_process_group()


@pytest.mark.slow
def test_where_one_worker_lacks_the_weights_all_go_without(backbone, tmp_path):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    homes = [str(backbone), str(tmp_path)]
    processes = [
        context.Process(target=_ask, args=(rank, str(tmp_path / "meet"), home, answers))
        for rank, home in enumerate(homes)
    ]
    for process in processes:
        process.start()
    got = sorted(answers.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    assert [off for _, off, _ in got] == [True, True]
    assert got[0][2] == got[1][2] and str(tmp_path) in got[0][2]
