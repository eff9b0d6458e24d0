"""LoRA files of image models in a video model: every layout does to the weights what the file stands for."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from tests import lora_files
from tests.lora_files import ALPHA, RANK, add_to_weights, random_lora
from tests.quiet_pipeline import quiet_pipeline
from tests.test_parity_unet import random_weights
from vidrd_model import ModelError, TemporalUNet, VidRDPipeline
from vidrd_model.lora_names import spelled_layers

FAMILIES: dict[str, dict[str, Any]] = {
    "sd15": {"use_linear_projection": False},
    "sd2": {"use_linear_projection": True},
}
LAYOUTS = {
    "peft": (lora_files.peft_file, 1.0),
    "diffusers": (lora_files.diffusers_file, 1.0),
    "processors": (lora_files.processor_file, 1.0),
    "kohya": (lora_files.kohya_file, ALPHA / RANK),
    "kohya, first code": (lora_files.kohya_original_file, ALPHA / RANK),
    "comfyui": (lora_files.comfyui_file, 1.0),
}
TEXT_WIDTH = 16


def _image_unet(family: str) -> UNet2DConditionModel:
    unet = UNet2DConditionModel(
        block_out_channels=(32, 32, 32),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=2,
        **FAMILIES[family],
    )
    random_weights(unet, 1)
    return unet.eval()


def _text_encoder() -> CLIPTextModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": TEXT_WIDTH, "intermediate_size": 32, "num_attention_heads": 2}
    return CLIPTextModel(
        CLIPTextConfig(vocab_size=20, num_hidden_layers=2, max_position_embeddings=8, **sizes)
    ).eval()


def _pipe(family: str = "sd2") -> VidRDPipeline:
    video = TemporalUNet.from_image_unet(_image_unet(family))
    random_weights(video, 1)
    pipe = VidRDPipeline(unet=video.eval(), scheduler=DDIMScheduler(), text_encoder=_text_encoder())
    pipe.set_progress_bar_config(disable=True)
    return pipe


@torch.no_grad()
def _outputs(pipe: VidRDPipeline) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames, text = (
        torch.randn(1, 4, 2, 8, 8, generator=generator),
        torch.randn(1, 5, TEXT_WIDTH, generator=generator),
    )
    return pipe.unet(frames, 30, text).sample, pipe.text_encoder(torch.arange(8)[None])[0]


def _image_loras(pipe: VidRDPipeline, seed: int = 3) -> tuple[Any, Any]:
    return (
        random_lora(pipe.unet, seed, lambda name: "temp_" not in name),
        random_lora(pipe.text_encoder, seed + 1),
    )


def _same(found: tuple[torch.Tensor, ...], wanted: tuple[torch.Tensor, ...], within: float = 1e-4) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=within, rtol=within)


def _differ(found: tuple[torch.Tensor, ...], wanted: tuple[torch.Tensor, ...]) -> bool:
    return all((one - other).abs().max() > 1e-2 for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    ("layout", "family"), [*((layout, "sd2") for layout in LAYOUTS), ("comfyui", "sd15")]
)
def test_a_file_of_any_layout_changes_every_layer_as_it_says(
    tmp_path: Path, family: str, layout: str
) -> None:
    write, scale = LAYOUTS[layout]
    pipe, wanted = _pipe(family), _pipe(family)
    unet, text = _image_loras(pipe)
    if layout == "processors":
        unet, text = {name: one for name, one in unet.items() if ".attn" in name}, {}
    save_file({k: v.contiguous() for k, v in write(unet, text).items()}, tmp_path / "style.safetensors")
    plain = _outputs(pipe)
    pipe.load_lora_weights(tmp_path / "style.safetensors", adapter_name="style")
    add_to_weights(wanted.unet, unet, scale)
    add_to_weights(wanted.text_encoder, text, scale)
    _same(_outputs(pipe), _outputs(wanted), 5e-3 if layout == "comfyui" else 1e-4)
    assert (_outputs(pipe)[0] - plain[0]).abs().max() > 1e-2
    pipe.unload_lora_weights()
    _same(_outputs(pipe), plain, 0)


def test_what_peft_trains_and_diffusers_saves_comes_back_with_its_alpha(tmp_path: Path) -> None:
    """The header says the alpha; nothing in the tensors does."""
    pipe, wanted = _pipe(), _pipe()
    image = _image_unet("sd2")
    image.load_state_dict({k: v for k, v in pipe.unet.state_dict().items() if "temp_" not in k})
    image.add_adapter(
        LoraConfig(
            r=4, lora_alpha=2, init_lora_weights="gaussian", target_modules=["to_q", "to_out.0", "conv1"]
        )
    )
    for name, parameter in image.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(image),
        unet_lora_adapter_metadata=image.peft_config["default"].to_dict(),
    )
    pipe.load_lora_weights(tmp_path)
    image.fuse_lora()
    image.unload_lora()
    wanted.unet.load_state_dict(image.state_dict(), strict=False)
    _same(_outputs(pipe), _outputs(wanted))
    assert (_outputs(pipe)[0] - _outputs(_pipe())[0]).abs().max() > 1e-2


def _two_adapters() -> tuple[VidRDPipeline, Any, Any]:
    pipe = _pipe()
    loras = _image_loras(pipe, 3), _image_loras(pipe, 30)
    for name, lora in zip(("one", "two"), loras, strict=True):
        pipe.load_lora_weights(lora_files.kohya_file(*lora), adapter_name=name)
    return pipe, *loras


def test_adapters_are_weighted_switched_off_and_deleted_as_in_diffusers() -> None:
    pipe, one, two = _two_adapters()
    plain, wanted = _pipe(), _pipe()
    for part, model in enumerate((wanted.unet, wanted.text_encoder)):
        add_to_weights(model, one[part], 0.5 * ALPHA / RANK)
        add_to_weights(model, two[part], -0.25 * ALPHA / RANK)
    pipe.set_adapters(["one", "two"], [0.5, -0.25])
    assert pipe.get_active_adapters() == ["one", "two"]
    _same(_outputs(pipe), _outputs(wanted))
    pipe.disable_lora()
    _same(_outputs(pipe), _outputs(plain), 1e-6)
    pipe.enable_lora()
    pipe.delete_adapters("two")
    assert pipe.get_list_adapters() == {"unet": ["one"], "text_encoder": ["one"]}


def test_an_adapter_is_weighted_by_block() -> None:
    pipe, wanted = _pipe(), _pipe()
    unet, _ = _image_loras(pipe)
    pipe.load_lora_weights(lora_files.peft_file(unet, {}), adapter_name="one")
    pipe.set_adapters(
        "one", {"unet": {"down": 0.5, "mid": 0.0, "up": {"block_1": [2.0, 3.0], "block_2": 4.0}}}
    )

    def weight(name: str) -> float:
        stages = {"down_blocks": 0.5, "mid_block": 0.0, "up_blocks.1": 2.0, "up_blocks.2": 4.0}
        if name.startswith("up_blocks.1.") and ".1." in name.removeprefix("up_blocks.1."):
            return 3.0
        return next((value for stage, value in stages.items() if name.startswith(stage)), 1.0)

    for name, layer in unet.items():
        upsampler = name == "up_blocks.1.upsamplers.0.conv"
        add_to_weights(wanted.unet, {name: layer}, 2.0 if upsampler else weight(name))
    _same(_outputs(pipe), _outputs(wanted))
    for wrong in ({"left": 1.0}, {"up": {"block_1": [1.0]}}):
        with pytest.raises(ModelError, match="adapter weights: "):
            pipe.set_adapters("one", {"unet": wrong})


def test_a_call_scales_all_of_it_and_leaves_everything_as_it_was() -> None:
    """Also a scale of 0, at which diffusers forgets the weights that were set."""
    pipe, _, _ = _two_adapters()
    pipe.set_adapters(["one", "two"], [0.3, 0.7])
    before = _outputs(pipe)
    for scale in (0.0, 0.7, 1.0):
        with pipe.scaled_lora(scale):
            scaled = _outputs(pipe)
        _same(_outputs(pipe), before, 0)
        if scale == 0:
            _same(scaled, _outputs(_pipe()), 1e-6)
        assert _differ(scaled, before) == (scale != 1)


def _latents(pipe: VidRDPipeline, **settings: Any) -> torch.Tensor:
    states = torch.randn(1, 5, TEXT_WIDTH, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(1, 4, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    sampling = {"num_inference_steps": 2, "guidance_scale": 1.0, "prompt_frames": 1}
    return pipe(
        prompt_embeds=states, latents=noise, num_clips=2, output_type="latent", **sampling, **settings
    ).frames


def test_attention_kwargs_scale_a_call_of_several_clips() -> None:
    pipe, wanted = _pipe(), _pipe()
    unet, _ = _image_loras(pipe)
    pipe.load_lora_weights(lora_files.peft_file(unet, {}))
    for scale in (0.5, 1.0):
        weighted = copy.deepcopy(wanted.unet)
        add_to_weights(weighted, unet, scale)
        other = VidRDPipeline(unet=weighted, scheduler=pipe.scheduler)
        other.set_progress_bar_config(disable=True)
        _same((_latents(pipe, attention_kwargs={"scale": scale}),), (_latents(other),))
    off = _latents(pipe, attention_kwargs={"scale": 0})
    _same((off,), (_latents(wanted),), 1e-6)


def test_fused_it_is_saved_and_loads_again(tmp_path: Path) -> None:
    pipe, one, _ = _two_adapters()
    pipe.set_adapters("one")
    fused = _outputs(pipe)
    with pytest.raises(ModelError, match=r"unload_lora_weights\(\) first"):
        pipe.save_pretrained(tmp_path / "m")
    pipe.fuse_lora(lora_scale=0.5)
    half = _outputs(pipe)
    assert pipe.num_fused_loras == 1 and _differ(half, fused)
    pipe.unload_lora_weights()
    pipe.save_pretrained(tmp_path / "m")
    again = TemporalUNet.from_pretrained(tmp_path / "m" / "unet").eval()
    wanted = _pipe()
    add_to_weights(wanted.unet, one[0], 0.5 * ALPHA / RANK)
    wanted.text_encoder = pipe.text_encoder
    pipe.unet = again
    _same(_outputs(pipe), _outputs(wanted))
    _same(_outputs(pipe), half)


def _damaged(kind: str) -> dict[str, torch.Tensor]:
    pipe = _pipe()
    unet, text = _image_loras(pipe)
    file = lora_files.kohya_file(unet, text)
    key = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    if kind == "other width":
        file[f"{key}.lora_down.weight"] = torch.zeros(RANK, 768)
    elif kind == "no up":
        del file[f"{key}.lora_up.weight"]
    elif kind == "other ranks":
        file[f"{key}.lora_up.weight"] = torch.zeros(32, RANK + 1)
    elif kind == "other block":
        file = {name.replace("down_blocks_0", "down_blocks_7"): value for name, value in file.items()}
    elif kind == "LoHa":
        file[f"{key}.hada_w1_a"] = torch.zeros(2, 2)
    elif kind == "DoRA":
        file[f"{key}.dora_scale"] = torch.zeros(32, 1)
    elif kind == "embedding":
        file = {"emb_params": torch.zeros(2, 16)}
    elif kind == "empty":
        file = {}
    return file


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (
            "other width",
            r"down_blocks\.0\.attentions\.0\.transformer_blocks\.0\.attn2\.to_k is \(2, 768\).*\(32, 16\)",
        ),
        ("other ranks", r"attn2\.to_k is \(2, 16\) and \(32, 3\)"),
        ("no up", r"attn2\.to_k has no lora up"),
        (
            "other block",
            r"tensors are of no layer that this model has, lora_unet_down_blocks_7_attentions_0_proj_in",
        ),
        ("LoHa", "is of LoHa; only LoRA"),
        ("DoRA", "is of DoRA"),
        ("embedding", r"1 of its 1 tensors.* emb_params the first; .*or is no LoRA"),
        ("empty", "empty; it was made"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_whole(tmp_path: Path, kind: str, says: str) -> None:
    pipe = _pipe()
    plain = _outputs(pipe)
    path = tmp_path / "style.safetensors"
    save_file({name: value.contiguous() for name, value in _damaged(kind).items()}, path)
    with pytest.raises(ModelError, match=rf"style\.safetensors: .*{says}"):
        pipe.load_lora_weights(path)
    _same(_outputs(pipe), plain, 0)
    assert pipe.get_list_adapters() == {}


def test_what_is_no_file_of_tensors_is_refused_by_name(tmp_path: Path) -> None:
    pipe, (unet, text) = _pipe(), _image_loras(_pipe())
    (tmp_path / "page.safetensors").write_text("<html>429 too many requests</html>")
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "page.safetensors", tmp_path / "nowhere.safetensors", tmp_path / "empty"):
        with pytest.raises(ModelError, match=source.name):
            pipe.load_lora_weights(source)
    pipe.load_lora_weights(lora_files.peft_file(unet, text), adapter_name="style")
    with pytest.raises(ModelError, match="style already in use"):
        pipe.load_lora_weights(lora_files.peft_file(unet, text), adapter_name="style")


_FROM_A_HUB = """
from vidrd_model import ModelError, VidRDPipeline
pipe = VidRDPipeline.from_pretrained({model!r})
try:
    pipe.load_lora_weights("nobody/nothing")
except ModelError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_hub_that_is_not_there_is_told_in_one_line(tiny_profile: Any) -> None:
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    script = _FROM_A_HUB.format(model=tiny_profile.model)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("nobody/nothing: no LoRA file could be read (")
    assert done.stdout.count("\n") == 1


@torch.no_grad()
def test_a_scale_reaches_the_text_encoder_of_a_real_prompt(tiny_profile: Any) -> None:
    pipe = VidRDPipeline.from_pretrained(tiny_profile.model)
    text = random_lora(pipe.text_encoder, 4)
    plain = pipe.encode_prompt("a red circle")
    pipe.load_lora_weights(lora_files.kohya_file({}, text))
    whole = pipe.encode_prompt("a red circle")
    assert (whole - plain).abs().max() > 1e-2
    torch.testing.assert_close(pipe.encode_prompt("a red circle", lora_scale=0), plain)
    seen = []

    def keep(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append(tensors["prompt_embeds"])
        return {}

    quick = {"num_inference_steps": 1, "guidance_scale": 1.0, "output_type": "latent"}
    for scale in (0.0, 1.0):
        pipe(
            "a red circle",
            attention_kwargs={"scale": scale},
            callback_on_step_end=keep,
            callback_on_step_end_tensor_inputs=["prompt_embeds"],
            **quick,
        )
    torch.testing.assert_close(seen[0], plain)
    torch.testing.assert_close(seen[1], whole)


def test_a_pipeline_without_a_text_encoder_has_layers_of_the_unet_alone(small_model: Path) -> None:
    pipe = quiet_pipeline(small_model)
    whole, alone = spelled_layers(pipe.unet, pipe.text_encoder), spelled_layers(pipe.unet, None)
    assert alone == {name: place for name, place in whole.items() if place.startswith("unet.")}
    assert len(alone) < len(whole) and not spelled_layers(None, None)
