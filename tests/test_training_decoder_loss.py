"""The decoder's loss: its parts by hand, the game with the discriminator, workers and restarts."""

import copy
import multiprocessing
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from tasks.errors import RequestError
from tasks.tiny.world.drawing import draw_clip, random_scene
from tasks.training.decoder_loss import DecoderLoss, last_trained_layer
from tasks.training.perceptual import Perceptual
from tasks.training.settings import DecoderSettings
from vidrd_model import TemporalVAE

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Layers this small wait longer for a second thread than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def clips(count: int, seed: int = 0) -> torch.Tensor:
    """Drawn clips (b, 4, 3, 32, 32) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    frames_bnhwc = np.stack([draw_clip(random_scene(rng), rng, 4, size=32) for _ in range(count)])
    return torch.from_numpy(frames_bnhwc).permute(0, 1, 4, 2, 3).float() / 127.5 - 1


class Blur(nn.Module):
    """A decoder of one weight: how much of each frame is its neighbours'."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.6, 0.2]))

    def forward(self, clips_bnchw: torch.Tensor) -> torch.Tensor:
        return self.weight[0] * clips_bnchw + self.weight[1] * (
            clips_bnchw.roll(1, 1) + clips_bnchw.roll(-1, 1)
        )


def trained(steps: range, loss: DecoderLoss, decoder: Blur, share: slice = slice(None)) -> list[float]:
    """Plain steps on four clips each, all of them or a worker's share; the losses as they were before each step."""
    pixels, curve = clips(8), []
    for step in steps:
        batch = pixels[4 * (step % 2) :][:4][share]
        losses_b, _ = loss.losses(decoder(batch), batch, decoder.weight, step)
        (gradient,) = torch.autograd.grad(losses_b.mean(), decoder.weight)
        figures = torch.cat([losses_b.mean()[None].detach(), gradient])
        if dist.is_initialized():
            dist.all_reduce(figures)
            figures /= dist.get_world_size()
        decoder.weight.data -= 0.05 * figures[1:]
        curve.append(figures[0].item())
    return curve


def adversarial(from_step: int = 1) -> DecoderLoss:
    return DecoderLoss(DecoderSettings(adversarial_weight=0.5, adversarial_from_step=from_step), CPU)


def test_pixels_and_their_changes_by_hand():
    pixels = torch.zeros(2, 3, 3, 4, 4)
    decoded = pixels.clone()
    decoded[0] += 0.5  # wrong, and still
    decoded[1, 1] += 0.3  # one frame wrong: two changes are
    losses_b, parts = DecoderLoss(DecoderSettings(temporal_weight=2.0), CPU).reconstruction(decoded, pixels)
    assert parts["l1"].tolist() == pytest.approx([0.5, 0.1])
    assert parts["temporal_l1"].tolist() == pytest.approx([0.0, 0.3])
    assert losses_b.tolist() == pytest.approx([0.5, 0.1 + 2 * 0.3])
    assert parts["psnr_db"].tolist() == pytest.approx([10 * np.log10(4 / 0.25), 10 * np.log10(4 / 0.03)])


def test_what_has_no_weight_is_not_even_looked_for():
    loss = DecoderLoss(DecoderSettings(perceptual_weight=0, adversarial_weight=0), CPU)
    assert (loss.perceptual, loss.adversary, loss.notes) == (None, None, [])


def test_lpips_is_added_by_its_weight_and_is_off_with_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    loss = DecoderLoss(DecoderSettings(perceptual_weight=0.1), CPU)
    (note,) = loss.notes
    assert note.startswith("perceptual loss off: ")
    pixels = clips(2)
    plain_b, parts = loss.losses(pixels * 0.9, pixels, pixels, 0)
    assert "perceptual" not in parts
    loss.perceptual = _random_lpips()
    losses_b, parts = loss.losses(pixels * 0.9, pixels, pixels, 0)
    assert torch.allclose(losses_b, plain_b + 0.1 * parts["perceptual"])
    assert (parts["perceptual"] > 0).all()


def _random_lpips() -> Perceptual:
    """LPIPS on a backbone as small as they come: the distance needs the layout of a network, not its worth."""
    from torchmetrics.functional.image.lpips import _LPIPS

    torch.manual_seed(0)
    return Perceptual(_LPIPS(net="squeeze", pnet_rand=True))


def test_the_discriminator_joins_in_its_step():
    loss, decoder, pixels = adversarial(from_step=3), Blur(), clips(2)
    before = copy.deepcopy(loss.state())
    early_b, parts = loss.losses(decoder(pixels), pixels, decoder.weight, 2)
    assert (
        torch.equal(early_b, loss.reconstruction(decoder(pixels), pixels)[0]) and "adversarial" not in parts
    )
    assert _equal(before, loss.state())
    late_b, parts = loss.losses(decoder(pixels), pixels, decoder.weight, 3)
    assert torch.allclose(late_b, early_b + 0.5 * parts["adaptive_weight"] * parts["adversarial"])
    assert not _equal(before, loss.state())
    assert all(value.shape == (2,) and not value.requires_grad for value in parts.values())
    late_b.mean().backward()


def test_held_out_clips_teach_nobody():
    loss, decoder, pixels = adversarial(), Blur(), clips(2)
    before = copy.deepcopy(loss.state())
    with torch.no_grad():
        _, parts = loss.reconstruction(decoder(pixels), pixels)
    assert set(parts) == {"l1", "temporal_l1", "psnr_db"} and _equal(before, loss.state())


@pytest.mark.slow
@pytest.mark.gate
def test_a_restart_goes_on_with_the_same_losses():
    undisturbed = trained(range(3), adversarial(), Blur())
    loss, decoder = adversarial(), Blur()
    first = trained(range(2), loss, decoder)
    resumed = adversarial()
    resumed.load_state(copy.deepcopy(loss.state()))
    assert first + trained(range(2, 3), resumed, decoder) == undisturbed


def test_a_training_keeps_lpips_as_it_began(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    loss = DecoderLoss(DecoderSettings(perceptual_weight=0.1), CPU)
    without = loss.state()
    loss.perceptual = _random_lpips()
    began_with = loss.state()
    loss.load_state(without)
    assert loss.perceptual is None and loss.notes == ["perceptual loss off: the training began without it"]
    with pytest.raises(RequestError, match=r"decoder\.perceptual_weight"):
        loss.load_state(began_with)


def test_the_last_layer_of_a_decoder_is_its_last_temporal_convolution(tiny_profile):
    vae = TemporalVAE.from_pretrained(tiny_profile.model, subfolder="vae")
    trainable = vae.set_trainable_temporal()
    names = {id(parameter): name for name, parameter in vae.named_parameters()}
    assert names[id(last_trained_layer(vae))] == [name for name in trainable if name.endswith("weight")][-1]
    vae.enable_gradient_checkpointing()
    pixels, loss = clips(1), adversarial(from_step=0)
    decoded = vae.train().decode(torch.randn(4, 4, 4, 4), num_frames=4).sample.unflatten(0, (1, 4))
    losses_b, parts = loss.losses(decoded, pixels, last_trained_layer(vae), 0)
    losses_b.mean().backward()
    assert parts["adaptive_weight"].item() > 0
    assert last_trained_layer(vae).grad is not None


def _equal(a, b) -> bool:
    if isinstance(a, dict):
        return set(a) == set(b) and all(_equal(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def _work(rank: int, rendezvous: str, answers) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    answers.put(trained(range(4), adversarial(), Blur(), slice(rank, None, 2)))
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_workers_have_the_losses_of_one(tmp_path):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    workers = [context.Process(target=_work, args=(rank, str(tmp_path / "meet"), answers)) for rank in (0, 1)]
    for worker in workers:
        worker.start()
    first, second = (answers.get(timeout=300) for _ in workers)
    for worker in workers:
        worker.join()
    assert first == second
    # The discriminator's weight is a quotient of gradients: the order of a sum changes its fifth digit.
    assert first == pytest.approx(trained(range(4), adversarial(), Blur()), rel=1e-3, abs=1e-4)
