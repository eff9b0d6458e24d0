"""C3D computes what a plain forward pass does, from every layout of its weights, and refuses other files."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from vidrd_model.errors import ModelError
from vidrd_model.metrics import C3D

State = dict[str, Tensor]
LAYERS = ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b", "fc6", "fc7", "fc8")
SHAPES = [
    *((o, i, 3, 3, 3) for i, o in [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512)]),
    *[(512, 512, 3, 3, 3)] * 3,
    (4096, 8192),
    (4096, 4096),
    (101, 4096),
]


@pytest.fixture(scope="module")
def state() -> State:
    """Random weights under Caffe's names, scaled so that no layer's output vanishes; half, to be small on disk."""
    generator = torch.Generator().manual_seed(0)
    weights: State = {}
    for name, shape in zip(LAYERS, SHAPES, strict=True):
        fan_in = int(np.prod(shape[1:]))
        weights[f"{name}.weight"] = (torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5).half()
        weights[f"{name}.bias"] = (torch.randn(shape[0], generator=generator) * 0.1).half()
    weights["conv1a.weight"] *= 0.02  # grey levels are large, and one class would take all
    return weights


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    """A clip of another size than the network's, and of more frames."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (1, 18, 6, 8, 3), np.uint8)
    return coarse.repeat(8, axis=2).repeat(12, axis=3)


class PlainC3D(nn.Module):
    """The network written out, with the pixels treated as TGAN2 treats them, in one piece that can be scripted."""

    def __init__(self, state: State, padded: bool) -> None:
        super().__init__()
        for name, tensor in state.items():
            self.register_buffer(name.replace(".", "_"), tensor.float())
        self.padded = padded

    def forward(self, clips: Tensor) -> Tensor:
        b, c, t, h, w = clips.shape
        x = clips.permute(0, 2, 1, 3, 4).reshape(b * t, c, h, w).float()
        x = F.interpolate(x, size=[112, 112], mode="bilinear", align_corners=True)
        x = 128.0 * (x[:, [2, 1, 0]] / 127.5 - 1.0) + 128.0
        x = x - torch.tensor([90.25164795, 97.65701294, 101.4083252]).reshape(1, 3, 1, 1)
        x = x.reshape(b, t, 3, 112, 112).permute(0, 2, 1, 3, 4)
        x = F.max_pool3d(F.relu(F.conv3d(x, self.conv1a_weight, self.conv1a_bias, padding=1)), [1, 2, 2])
        x = F.max_pool3d(F.relu(F.conv3d(x, self.conv2a_weight, self.conv2a_bias, padding=1)), 2)
        x = F.relu(F.conv3d(x, self.conv3a_weight, self.conv3a_bias, padding=1))
        x = F.max_pool3d(F.relu(F.conv3d(x, self.conv3b_weight, self.conv3b_bias, padding=1)), 2)
        x = F.relu(F.conv3d(x, self.conv4a_weight, self.conv4a_bias, padding=1))
        x = F.max_pool3d(F.relu(F.conv3d(x, self.conv4b_weight, self.conv4b_bias, padding=1)), 2)
        x = F.relu(F.conv3d(x, self.conv5a_weight, self.conv5a_bias, padding=1))
        x = F.relu(F.conv3d(x, self.conv5b_weight, self.conv5b_bias, padding=1))
        # 2x7x7 -> 1x4x4; after a ReLU zeros are as good as nothing.
        x = F.pad(x, [1, 1, 1, 1] if self.padded else [0, 1, 0, 1])
        x = F.max_pool3d(x, 2).flatten(1)
        x = F.relu(F.linear(x, self.fc6_weight, self.fc6_bias))
        x = F.relu(F.linear(x, self.fc7_weight, self.fc7_bias))
        return F.softmax(F.linear(x, self.fc8_weight, self.fc8_bias), dim=1)


def as_network(clips_nthwc: np.ndarray) -> Tensor:
    return torch.from_numpy(clips_nthwc[:, :16]).permute(0, 4, 1, 2, 3).contiguous()


def in_layout(state: State, layout: str) -> State:
    """The weights under other names."""
    if layout == "torch port":
        return {name.replace("conv1a", "conv1").replace("conv2a", "conv2"): t for name, t in state.items()}
    if layout == "in order":
        places = [f"features.{n}" for n in (0, 3, 6, 8, 11, 13, 16, 18)] + [
            f"classifier.{n}" for n in (0, 3, 6)
        ]
        places_of = dict(zip(LAYERS, places, strict=True))
        return {f"{places_of[name.split('.')[0]]}.{name.split('.')[1]}": t for name, t in state.items()}
    return dict(state)


def saved(tmp_path: Path, state: State, name: str = "c3d.pt") -> Path:
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize(
    ("layout", "file", "padded"),
    [
        ("Caffe", "c3d.pth", False),
        pytest.param("torch port", "c3d.safetensors", True, marks=pytest.mark.slow),
        ("in order", "c3d.pt", True),
    ],
)
def test_layouts_equal_a_plain_forward_pass(
    tmp_path: Path, state: State, clips: np.ndarray, layout: str, file: str, padded: bool
) -> None:
    path = saved(tmp_path, in_layout(state, layout), file)
    c3d = C3D.from_weights(path)
    assert c3d.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    probabilities = c3d.probabilities(clips)
    assert probabilities.dtype == torch.float32 and probabilities.shape == (1, 101)
    expected = PlainC3D(state, padded)(as_network(clips))
    assert 0.02 < expected.max() < 0.9  # neither all classes alike nor one alone: a comparison that can fail
    torch.testing.assert_close(probabilities, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_lightning_s_names_and_the_reader_s_are_the_same_network(
    tmp_path: Path, state: State, clips: np.ndarray
) -> None:
    path = saved(tmp_path, {"state_dict": {f"module.{name}": t for name, t in state.items()}})  # type: ignore[dict-item]
    wrapped = C3D.from_weights(path)
    plain = C3D.from_weights(saved(tmp_path, state))
    assert torch.equal(wrapped.probabilities(clips), plain.probabilities(clips))


def test_torchscript_is_refused_and_its_weights_go_in(
    tmp_path: Path, state: State, clips: np.ndarray
) -> None:
    """The command that the refusal names gives a file that is read."""
    script = torch.jit.script(Holder(state))
    script.save(tmp_path / "script.pt")
    with pytest.raises(ModelError, match=r"script\.pt: refused, since TorchScript is a program") as caught:
        C3D.from_weights(tmp_path / "script.pt")
    code = str(caught.value).split('"')[1]
    command = [sys.executable, "-c", code, str(tmp_path / "script.pt"), str(tmp_path / "weights.pt")]
    subprocess.run(command, check=True)
    saved_by_command = C3D.from_weights(tmp_path / "weights.pt")
    expected = PlainC3D(state, padded=False)(as_network(clips))
    torch.testing.assert_close(saved_by_command.probabilities(clips), expected, atol=1e-5, rtol=1e-4)


class Holder(nn.Module):
    """C3D's weights under Caffe's names in a module that can be scripted."""

    def __init__(self, state: State) -> None:
        super().__init__()
        for name in LAYERS:
            layer = nn.Module()
            for part in ("weight", "bias"):
                layer.register_buffer(part, state[f"{name}.{part}"])
            self.add_module(name, layer)

    def forward(self, clips: Tensor) -> Tensor:
        return clips


def test_the_mean_of_the_file_is_subtracted(tmp_path: Path, state: State, clips: np.ndarray) -> None:
    cube = torch.rand(3, 16, 112, 112) * 200
    answers = []
    for mean in (torch.tensor([90.25164795, 97.65701294, 101.4083252]), cube):
        path = saved(tmp_path, state | {"mean": mean})
        answers.append(C3D.from_weights(path).probabilities(clips))
        path.unlink()
    torch.testing.assert_close(answers[0], PlainC3D(state, False)(as_network(clips)), atol=1e-5, rtol=1e-4)
    assert (answers[0] - answers[1]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"conv3b.weight": None}, r"layer conv3b\.weight is missing"),
        ({"fc7.bias": None}, r"layer fc7\.bias is missing"),
        (
            {"conv1a.weight": torch.zeros(64, 3, 1, 3, 3)},
            r"conv1a\.weight is \(64, 3, 1, 3, 3\), not \(64, 3, 3, 3, 3\)",
        ),
        ({"fc8.weight": torch.zeros(487, 4096)}, r"fc8\.weight is \(487, 4096\), not \(101, 4096\)"),
        ({"bn1a.weight": torch.zeros(64)}, r"no layer bn1a\.weight"),
        ({"mean": torch.zeros(3, 16, 128, 171)}, r"mean is \(3, 16, 128, 171\)"),
        ({"features.0.weight": torch.zeros(1)}, r"neither features\.N nor classifier\.N"),
    ],
)
def test_other_layers_are_refused_by_name(tmp_path: Path, change: dict, match: str) -> None:
    shapes = dict(zip(LAYERS, SHAPES, strict=True))
    # Expanded zeros: the shapes of the weights without their bytes.
    empty = {f"{name}.weight": torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    empty |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
    state = {name: tensor for name, tensor in (empty | change).items() if tensor is not None}
    with pytest.raises(ModelError, match=rf"c3d\.pt: not the C3D weights: .*{match}"):
        C3D.from_weights(saved(tmp_path, state))


@pytest.mark.parametrize("name", ["c3d.pt", "c3d.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 no zip either"])
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name}: refused, since it is no file of plain tensors"):
        C3D.from_weights(tmp_path / name)


def test_files_that_are_no_state_dict_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read the C3D weights"):
        C3D.from_weights(tmp_path / "none.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ModelError, match="more than named tensors"):
        C3D.from_weights(tmp_path / "list.pt")


class FirstGreyLevel(nn.Module):
    """Is certain of the class whose number is the red of the first pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.anywhere = nn.Parameter(torch.zeros(1))

    def forward(self, clips: Tensor) -> Tensor:
        return F.one_hot(clips[:, 0, 0, 0, 0].long(), 101).float()


def test_batches_are_joined_in_order() -> None:
    clips = np.zeros((5, 16, 2, 2, 3), np.uint8)
    clips[:, 0, 0, 0, 0] = [7, 50, 100, 3, 9]
    clips[:, 0, 0, 0, 2] = 1  # RGB goes in as it is
    answer = C3D(FirstGreyLevel(), "", "").probabilities(clips, batch_size=2)
    assert answer.argmax(dim=1).tolist() == [7, 50, 100, 3, 9]


@pytest.mark.parametrize(
    "clips",
    [np.zeros((1, 15, 8, 8, 3), np.uint8), np.zeros((1, 16, 8, 8, 3)), np.zeros((16, 8, 8, 3), np.uint8)],
)
def test_short_clips_and_floats_are_refused(clips: np.ndarray) -> None:
    with pytest.raises(ValueError, match="C3D takes"):
        C3D(FirstGreyLevel(), "", "").probabilities(clips)
