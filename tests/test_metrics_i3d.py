"""The I3D network gives TensorFlow's numbers, and its weights file can run no code."""

import os
import pickle
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.clips.video_io import iter_frames
from tests.i3d_files import GOLDENS, RESEARCH_ONLY, i3d_checkpoint, shared
from tests.plain_i3d import PlainI3D
from vidrd_model.errors import ModelError
from vidrd_model.metrics import I3D, check_reference, frechet_distance
from vidrd_model.metrics.i3d import SamePool
from vidrd_model.metrics.i3d_convert import convert, read_checkpoint


@pytest.fixture(scope="module")
def i3d() -> I3D:
    """One network for the module: it takes a second to build."""
    return I3D.from_weights(i3d_checkpoint())


@pytest.mark.slow
def test_features_of_eight_clips(i3d: I3D) -> None:
    arrays = np.load(shared(GOLDENS / "i3d_eight_clips.npz"))
    features = i3d(np.moveaxis(arrays["clips"], 2, -1))
    assert features.dtype == torch.float32
    np.testing.assert_allclose(features, arrays["features"], atol=1e-4)


def test_features_equal_a_plain_forward_pass(i3d: I3D) -> None:
    """Folded BatchNorms, pools of plain maxima and matrix products change nothing; odd sizes pad unevenly."""
    clip = torch.rand(1, 3, 11, 224, 238, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(i3d.logits(clip), PlainI3D(i3d_checkpoint())(clip), atol=1e-4, rtol=0)


def test_black_against_white_is_151_392(i3d: I3D) -> None:
    assert check_reference(i3d) == pytest.approx(151.392, abs=0.01)


def test_wrong_weights_fail_the_check(i3d: I3D) -> None:
    wrong = I3D()
    wrong.load_state_dict(i3d.state_dict())
    with torch.no_grad():
        wrong.layers.Conv3d_2b_1x1.weight.mul_(1.01)
    with pytest.raises(ModelError, match=r"not 151\.392"):
        check_reference(wrong)


def test_converted_file_gives_the_same_features(i3d: I3D, tmp_path: Path) -> None:
    path = tmp_path / "i3d.safetensors"
    path.write_bytes(convert(i3d_checkpoint()))
    clip = np.random.default_rng(0).integers(0, 256, (1, 9, 32, 48, 3), np.uint8)
    assert torch.equal(I3D.from_weights(path)(clip), i3d(clip))


@pytest.mark.parametrize(
    ("file", "frames", "label"),
    [
        pytest.param("v_CricketShot_g04_c01_rgb.gif", 79, "playing cricket", marks=pytest.mark.slow),
        pytest.param("v_SoccerJuggling_g23_c01.avi", 64, "juggling soccer ball", marks=pytest.mark.slow),
        pytest.param("v_SoccerJuggling_g24_c01.avi", 64, "juggling soccer ball", marks=pytest.mark.slow),
    ],
)
def test_recognises_ucf_actions(i3d: I3D, file: str, frames: int, label: str) -> None:
    labels = shared(RESEARCH_ONLY / "kinetics400_label_map.txt").read_text().splitlines()
    video = np.stack([frame for _, frame in islice(iter_frames(shared(RESEARCH_ONLY / file)), frames)])
    probabilities = i3d(video[None])[0].softmax(dim=0)
    assert labels[int(probabilities.argmax())] == label
    assert probabilities.max() > 0.95


@pytest.mark.slow
def test_frechet_distance_of_uniform_noise(i3d: I3D) -> None:
    """The 256 clips of two numpy streams that common implementations are compared on."""
    features = []
    for seed in (1, 2):
        rng = np.random.RandomState(seed)
        clips = (torch.from_numpy(rng.rand(1, 16, 224, 224, 3)).float() for _ in range(128))
        with torch.inference_mode():
            features.append(torch.cat([i3d.logits(clip.movedim(-1, 1)) for clip in clips]).numpy())
    assert frechet_distance(*features) == pytest.approx(10.138085, abs=1e-3)


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2)), ((3, 3, 3), (1, 1, 1))],
)
@pytest.mark.parametrize("size", [(4, 7, 8), (5, 6, 9), (1, 2, 3)])
def test_pool_equals_torch_on_zero_padded_input(kernel: tuple, stride: tuple, size: tuple) -> None:
    x = torch.rand(2, 3, *size)
    padding: list[int] = []
    for length, k, s in zip(reversed(size), reversed(kernel), reversed(stride), strict=True):
        total = max((-(-length // s) - 1) * s + k - length, 0)
        padding += [total // 2, total - total // 2]
    expected = torch.nn.functional.max_pool3d(torch.nn.functional.pad(x, padding), kernel, stride)
    assert torch.equal(SamePool(kernel, stride)(x), expected)


@pytest.mark.parametrize("clips", [np.zeros((1, 8, 64, 64, 3), np.uint8), np.zeros((1, 16, 64, 64, 3))])
def test_refuses_short_clips_and_floats(clips: np.ndarray) -> None:
    with pytest.raises(ValueError, match="I3D takes"):
        I3D()(clips)


class _Command:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("i3d-was-here",)


def test_pickle_with_code_is_refused_unrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "i3d.ckpt"
    path.write_bytes(pickle.dumps({"params": _Command(), "batch_stats": {}}))
    with pytest.raises(ModelError, match="mkdir is not a numpy array"):
        read_checkpoint(path)
    assert not (tmp_path / "i3d-was-here").exists()


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1]), pickle.dumps({"params": {}})])
def test_other_files_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.ckpt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"other\.ckpt: not the I3D"):
        I3D.from_weights(path)


def test_missing_and_foreign_safetensors_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(ModelError, match=r"none\.safetensors"):
        I3D.from_weights(tmp_path / "none.safetensors")
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ModelError, match=r"foreign\.safetensors: not the I3D"):
        I3D.from_weights(tmp_path / "foreign.safetensors")
