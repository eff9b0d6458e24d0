"""The discriminator learns, the adaptive weight is the ratio that it should be, and a checkpoint changes nothing."""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tasks.tiny.world.drawing import draw_clip, random_scene
from tasks.training.adversary import MAX_ADAPTIVE_WEIGHT, Adversary, adaptive_weight

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Layers this small wait longer for a second thread than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def adversary(seed: int = 0) -> Adversary:
    return Adversary(seed, lr=5e-4, device=CPU, width=8)


def clips(count: int, seed: int) -> torch.Tensor:
    """Drawn clips (b, 8, 3, 32, 32) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    frames_bnhwc = np.stack([draw_clip(random_scene(rng), rng, size=32) for _ in range(count)])
    return torch.from_numpy(frames_bnhwc).permute(0, 1, 4, 2, 3).float() / 127.5 - 1


def blurred(clips_bnchw: torch.Tensor) -> torch.Tensor:
    """Each frame the mean of itself and its neighbours in time."""
    return (clips_bnchw.roll(1, 1) + clips_bnchw + clips_bnchw.roll(-1, 1)) / 3


@pytest.mark.slow
@pytest.mark.gate
def test_it_learns_to_tell_clips_from_their_blur_over_time():
    judge, real = adversary(), clips(32, seed=0)
    losses = []
    for step in range(100):
        batch = real[(4 * step) % 32 :][:4]
        losses.append(judge.learn(blurred(batch), batch).item())
    assert np.mean(losses[-10:]) < 0.6  # 1 is what knowing nothing costs
    unseen = clips(16, seed=1)
    with torch.no_grad():
        better = judge.generator_losses(unseen) < judge.generator_losses(blurred(unseen))
    assert better.float().mean() > 0.9


def test_the_decoder_is_pulled_towards_real_and_the_discriminator_is_not_touched():
    judge, real = adversary(), clips(2, seed=0)
    before = copy.deepcopy(judge.discriminator.state_dict())
    decoded = blurred(real).requires_grad_()
    losses_b = judge.generator_losses(decoded)
    losses_b.sum().backward()
    assert losses_b.shape == (2,)
    logits = judge.discriminator(decoded.detach().transpose(1, 2)).detach()
    torch.testing.assert_close(losses_b.detach(), -torch.stack([one.mean() for one in logits]))
    assert decoded.grad is not None and decoded.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in judge.discriminator.parameters())
    assert all(torch.equal(value, before[name]) for name, value in judge.discriminator.state_dict().items())


def test_learning_leaves_the_decoder_without_gradients():
    judge, real = adversary(), clips(2, seed=0)
    decoded = blurred(real).requires_grad_()
    judge.learn(decoded * 1.0, real)
    assert decoded.grad is None


def test_the_adaptive_weight_is_the_ratio_of_the_gradients_at_the_last_layer():
    weight = torch.tensor([2.0, -1.0], requires_grad=True)
    reconstruction = (torch.tensor([3.0, 4.0]) * weight).sum()  # gradient (3, 4), of length 5
    generator = (torch.tensor([0.0, 0.5]) * weight).sum()  # of length 0.5
    assert adaptive_weight(reconstruction, generator, weight).item() == pytest.approx(10, rel=1e-3)
    assert adaptive_weight(generator, reconstruction, weight).item() == pytest.approx(0.1, rel=1e-3)
    assert adaptive_weight(reconstruction * 1e6, generator * 1e-6, weight) == MAX_ADAPTIVE_WEIGHT
    assert not adaptive_weight(reconstruction, generator, weight).requires_grad
    (reconstruction + generator).backward()  # the graphs are still there


def test_a_checkpoint_goes_on_identically():
    real = clips(6, seed=0)
    undisturbed = adversary()
    for start in (0, 2):
        undisturbed.learn(blurred(real[start : start + 2]), real[start : start + 2])
    resumed = adversary(seed=5)
    resumed.load_state(copy.deepcopy(undisturbed.state()))
    losses = [judge.learn(blurred(real[4:]), real[4:]) for judge in (undisturbed, resumed)]
    assert torch.equal(*losses)
    pairs = zip(undisturbed.discriminator.parameters(), resumed.discriminator.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_seed_alone_makes_the_weights():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again, other = adversary(1), adversary(1), adversary(2)
    assert torch.equal(torch.rand(1), expected)  # no other random number moves
    weights = [judge.discriminator.layers[0].weight for judge in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_clips_that_are_not_finite_are_no_step():
    judge, real = adversary(), clips(2, seed=0)
    before = copy.deepcopy(judge.discriminator.state_dict())
    loss = judge.learn(torch.full_like(real, torch.nan), real)
    assert not loss.isfinite()
    assert all(torch.equal(value, before[name]) for name, value in judge.discriminator.state_dict().items())


def test_what_a_clip_is_judged_by_does_not_hang_on_its_batch():
    judge, real = adversary(), clips(3, seed=0)
    with torch.no_grad():
        together = judge.generator_losses(real)
        alone = torch.cat([judge.generator_losses(clip[None]) for clip in real])
    assert torch.allclose(together, alone, atol=1e-6)
