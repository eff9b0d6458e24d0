"""A call as users of diffusers' text-to-video pipelines make it: what goes in, whose noise, what a callback may do."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler
from diffusers.callbacks import PipelineCallback

from tests.quiet_pipeline import quiet_pipeline
from vidrd_model import ModelError, VidRDPipeline
from vidrd_model.baselines import stream_freenoise, stream_overlap
from vidrd_model.guidance import rescale_deviation
from vidrd_model.noise import clip_noise

PROMPTS = ["a red circle moving right", "a blue square moving up"]
QUICK: dict[str, Any] = {"num_inference_steps": 3, "guidance_scale": 4.0, "output_type": "latent"}
SHAPE = (4, 8, 4, 4)


@pytest.fixture(scope="module")
def pipe(small_model: Path) -> VidRDPipeline:
    return quiet_pipeline(small_model)


@pytest.fixture
def own_pipe(pipe: VidRDPipeline) -> VidRDPipeline:
    """One that a test may change."""
    own = VidRDPipeline(**pipe.components)
    own.set_progress_bar_config(disable=True)
    return own


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _latents(pipe: VidRDPipeline, prompt: Any = PROMPTS[0], clips: int = 1, **arguments: Any) -> torch.Tensor:
    return pipe(prompt, clips, **QUICK | arguments).frames


def _close(got: torch.Tensor, wanted: torch.Tensor) -> None:
    """Equal but for the order of additions, which another batch size changes."""
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def test_copies_of_a_prompt_are_videos_of_the_next_seeds(pipe: VidRDPipeline) -> None:
    together = _latents(
        pipe, PROMPTS, 2, seed=[7, 20], num_videos_per_prompt=2, negative_prompt=["blur", "red"]
    )
    assert together.shape == (4, 4, 16, 4, 4)
    for video, (prompt, negative, seed) in enumerate(
        [(0, "blur", 7), (0, "blur", 8), (1, "red", 20), (1, "red", 21)]
    ):
        alone = _latents(pipe, PROMPTS[prompt], 2, seed=seed, negative_prompt=negative)
        _close(together[video], alone[0])


@pytest.mark.parametrize("given", ["seeds", "generators", "one generator"])
def test_a_video_is_the_same_in_any_batch(pipe: VidRDPipeline, given: str) -> None:
    """Byte for byte in the same company, up to the order of additions in another."""
    numbers = [3, 1, 2]
    prompts = [PROMPTS[0], PROMPTS[1], PROMPTS[0]]

    def drawn_from(numbers: list[int]) -> dict[str, Any]:
        if given == "seeds":
            return {"seed": numbers}
        return {"generator": [_generator(number) for number in numbers]}

    if given == "one generator":
        # Its draws belong to the videos in their order, so a batch goes on where the last one ended.
        one = _generator(3)
        together = _latents(pipe, prompts, 2, generator=_generator(3))
        alone = [_latents(pipe, prompt, 2, generator=one) for prompt in prompts]
    else:
        together = _latents(pipe, prompts, 2, **drawn_from(numbers))
        assert torch.equal(together, _latents(pipe, prompts, 2, **drawn_from(numbers)))
        alone = [
            _latents(pipe, prompt, 2, **drawn_from([number]))
            for prompt, number in zip(prompts, numbers, strict=True)
        ]
    for video, wanted in zip(together, alone, strict=True):
        _close(video, wanted[0])


def test_without_guidance_nothing_is_computed_for_it(pipe: VidRDPipeline) -> None:
    seen: list[tuple[str, int]] = []
    hooks = [
        pipe.unet.register_forward_pre_hook(lambda module, inputs: seen.append(("unet", len(inputs[0])))),
        pipe.text_encoder.register_forward_pre_hook(
            lambda module, inputs: seen.append(("text", len(inputs[0])))
        ),
    ]
    plain = _latents(pipe, PROMPTS, guidance_scale=1.0)
    assert seen == [("text", 2)] + [("unet", 2)] * 3
    seen.clear()
    guided = _latents(pipe, PROMPTS)
    assert seen == [("text", 2)] * 2 + [("unet", 4)] * 3
    for hook in hooks:
        hook.remove()
    assert guided.shape == plain.shape and not torch.equal(guided, plain)
    assert torch.equal(plain, _latents(pipe, PROMPTS, guidance_scale=1.0, negative_prompt="a blue square"))
    text = pipe.encode_prompt(PROMPTS)
    assert torch.equal(
        _latents(pipe, None, prompt_embeds=text, guidance_scale=1.0),
        _latents(pipe, PROMPTS, guidance_scale=1.0, latents=clip_noise([0, 0], ["", ""], 0, SHAPE)),
    )


def test_embeddings_are_what_their_text_is_under_the_key_of_the_empty_prompt(pipe: VidRDPipeline) -> None:
    text, negative = pipe.encode_prompt(PROMPTS, "cpu", 1, True, ["blur", "red"])
    assert torch.equal(text, pipe.encode_prompt(PROMPTS)) and text.shape == negative.shape
    noise = clip_noise([3, 3], ["", ""], 0, SHAPE)
    wanted = _latents(pipe, PROMPTS, negative_prompt=["blur", "red"], latents=noise)
    given = _latents(pipe, None, prompt_embeds=text, negative_prompt_embeds=negative, seed=3)
    assert torch.equal(given, wanted)
    assert torch.equal(
        given, _latents(pipe, None, prompt_embeds=text, negative_prompt=["blur", "red"], seed=3)
    )
    copies = _latents(pipe, None, prompt_embeds=text[:1], num_videos_per_prompt=2, guidance_scale=1.0, seed=3)
    _close(copies[:1], _latents(pipe, None, prompt_embeds=text[:1], guidance_scale=1.0, seed=3))


def test_texts_are_encoded_without_the_rest_of_the_pipeline(pipe: VidRDPipeline) -> None:
    """What is encoded alone makes the same video in a pipeline that knows no words."""
    words = VidRDPipeline(None, None, None, pipe.text_encoder, pipe.tokenizer)
    text, negative = words.encode_prompt(
        prompt=PROMPTS[0], device="cpu", num_videos_per_prompt=2, do_classifier_free_guidance=True
    )
    assert text.shape[0] == negative.shape[0] == 2 and torch.equal(text[0], text[1])
    assert words.encode_prompt(PROMPTS, "cpu", 1, False)[1] is None
    rest = VidRDPipeline(pipe.unet, pipe.scheduler, pipe.vae, sampling=pipe.config.sampling)
    rest.set_progress_bar_config(disable=True)
    made = _latents(rest, None, prompt_embeds=text[:1], negative_prompt_embeds=negative[:1])
    assert torch.equal(made, _latents(pipe, latents=clip_noise([0], [""], 0, SHAPE)))
    with pytest.raises(ModelError, match="give prompt_embeds and negative_prompt_embeds"):
        _latents(rest)


def test_a_generator_gives_each_video_its_seed_and_no_prompt_is_in_the_key(pipe: VidRDPipeline) -> None:
    first = _latents(pipe, clips=2, generator=_generator(5))
    assert torch.equal(first, _latents(pipe, clips=2, generator=_generator(5)))
    listed = _latents(pipe, PROMPTS, 2, generator=[_generator(5), _generator(5)])
    _close(listed[:1], first)
    generator = _generator(5)
    one = _latents(pipe, generator=generator, num_videos_per_prompt=2)
    _close(one[:1], first[:, :, :8])
    assert not torch.equal(
        one, _latents(pipe, generator=generator, num_videos_per_prompt=2)
    )  # it has moved on
    # The same noise, whatever is asked for: the first steps' inputs are equal.
    seen: list[torch.Tensor] = []
    for prompt in PROMPTS:
        made = clip_noise([int(torch.randint(2**63 - 1, (1,), generator=_generator(5)))], [""], 0, SHAPE)
        seen.append(_latents(pipe, prompt, generator=_generator(5)) - _latents(pipe, prompt, latents=made))
    assert all(not difference.any() for difference in seen)


def test_given_latents_are_the_first_clips_noise_alone(pipe: VidRDPipeline) -> None:
    drawn = clip_noise([7], PROMPTS[:1], 0, SHAPE)
    assert torch.equal(_latents(pipe, clips=2, latents=drawn, seed=7), _latents(pipe, clips=2, seed=7))
    wide = torch.randn(1, 4, 6, 4, 12, generator=_generator(0))
    assert _latents(pipe, latents=wide, prompt_frames=2).shape == (1, 4, 6, 4, 12)


def test_timesteps_and_sigmas_where_the_scheduler_takes_them(own_pipe: VidRDPipeline) -> None:
    ddim = own_pipe.scheduler
    own_pipe.scheduler = EulerDiscreteScheduler.from_config(ddim.config)
    seen: list[float] = []

    def note(_: Any, step: int, timestep: torch.Tensor, kwargs: dict[str, Any]) -> None:
        seen.append(float(timestep))

    sigmas = [12.0, 3.0, 0.5]
    own_pipe.scheduler.set_timesteps(sigmas=sigmas)
    wanted = own_pipe.scheduler.timesteps.tolist()
    _latents(own_pipe, clips=2, sigmas=sigmas, callback_on_step_end=note)
    assert seen == wanted * 2
    seen.clear()
    asked = [900, 500, 300, 20]
    _latents(own_pipe, timesteps=asked, callback_on_step_end=note)
    assert seen == asked and own_pipe.num_timesteps == 4
    own_pipe.scheduler = HeunDiscreteScheduler.from_config(ddim.config)
    _latents(own_pipe)
    assert own_pipe.num_timesteps == 5  # all but the last step are two
    own_pipe.scheduler = ddim
    with pytest.raises(ModelError, match="DDIMScheduler takes no timesteps; use another scheduler"):
        _latents(own_pipe, timesteps=asked)


def test_clip_skip_leaves_out_the_last_layers(pipe: VidRDPipeline) -> None:
    layers = pipe.text_encoder.config.num_hidden_layers
    tokens = pipe.tokenizer(PROMPTS, padding="max_length", max_length=16, return_tensors="pt").input_ids
    hidden = pipe.text_encoder(tokens, output_hidden_states=True).hidden_states
    norm = pipe.text_encoder.final_layer_norm
    for skipped in range(layers):
        states = pipe.encode_prompt(PROMPTS, clip_skip=skipped)
        torch.testing.assert_close(states, norm(hidden[layers - skipped]).detach())
    assert not torch.equal(_latents(pipe, clip_skip=1), _latents(pipe)) and pipe.clip_skip is None
    with pytest.raises(ModelError, match=f"clip_skip must lie in 0..{layers - 1}, not {layers}"):
        _latents(pipe, clip_skip=layers)


def test_rescaled_guidance_is_as_wide_as_the_prediction_with_the_text(pipe: VidRDPipeline) -> None:
    guided, with_text = torch.randn(2, 3, *SHAPE, generator=_generator(1)) * torch.tensor([4.0, 1.0]).view(
        2, 1, 1, 1, 1, 1
    )
    assert torch.equal(rescale_deviation(guided, with_text, 0.0), guided)
    for video, wide in zip(rescale_deviation(guided, with_text, 1.0), with_text, strict=True):
        torch.testing.assert_close(video.std(), wide.std())
    half = rescale_deviation(guided, with_text, 0.5)
    assert (half.std(dim=(1, 2, 3, 4)) < guided.std(dim=(1, 2, 3, 4))).all()
    assert torch.equal(_latents(pipe, guidance_rescale=0.0), _latents(pipe))
    assert _latents(pipe, guidance_rescale=1.0).std() < _latents(pipe).std()


def test_without_return_dict_there_is_a_tuple(pipe: VidRDPipeline) -> None:
    (frames,) = pipe(PROMPTS[0], return_dict=False, **QUICK | {"output_type": "np"})
    assert np.array_equal(frames, pipe(PROMPTS[0], **QUICK | {"output_type": "np"})["frames"])


def test_a_callback_sees_what_it_names_and_nothing_else(pipe: VidRDPipeline) -> None:
    shown: list[set[str]] = []

    def look(_: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        shown.append(set(kwargs))
        return kwargs

    wanted = _latents(pipe, clips=2)
    for names in (["latents"], ["prompt_embeds"], pipe._callback_tensor_inputs):
        shown.clear()
        asked = {"callback_on_step_end": look, "callback_on_step_end_tensor_inputs": names}
        assert torch.equal(_latents(pipe, clips=2, **asked), wanted)
        assert shown == [set(names)] * 6
    with pytest.raises(ModelError, match=r"callback_on_step_end_tensor_inputs takes latents, .* not 'noise'"):
        _latents(pipe, callback_on_step_end=look, callback_on_step_end_tensor_inputs=["noise"])


def test_what_a_callback_returns_holds_for_the_rest_of_its_clip(pipe: VidRDPipeline) -> None:
    other = pipe.encode_prompt([PROMPTS[1]])

    def change(at: int, clip: int, **changes: Any) -> dict[str, Any]:
        def callback(_: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
            return changes if (step, kwargs["clip"]) == (at, clip) else {}

        return {"callback_on_step_end": callback}

    plain = _latents(pipe, clips=2)
    changed = _latents(pipe, clips=2, **change(0, 1, prompt_embeds=other))
    assert torch.equal(changed[:, :, :8], plain[:, :, :8]) and not torch.equal(changed, plain)
    assert torch.equal(
        _latents(pipe, clips=2, **change(2, 1, prompt_embeds=other)), plain
    )  # after the last step
    ended = _latents(pipe, **change(2, 0, latents=torch.zeros(1, *SHAPE)))
    assert not ended.any()
    with pytest.raises(ModelError, match="prompt_embeds of a callback must stay"):
        _latents(pipe, **change(0, 0, prompt_embeds=other[:, :3]))


def test_a_callback_may_turn_guidance_off(pipe: VidRDPipeline) -> None:
    """As diffusers' own callbacks do, by `_guidance_scale` and the embeddings that are left."""

    class CutOff(PipelineCallback):
        tensor_inputs = ("prompt_embeds",)

        def callback_fn(
            self, pipeline: Any, step: int, timestep: Any, kwargs: dict[str, Any]
        ) -> dict[str, Any]:
            if step == self.config.cutoff_step_index:
                kwargs["prompt_embeds"] = kwargs["prompt_embeds"][-1:]
                pipeline._guidance_scale = 0.0
            return kwargs

    batches: list[int] = []
    hook = pipe.unet.register_forward_pre_hook(lambda module, inputs: batches.append(len(inputs[0])))
    cut = _latents(pipe, clips=2, callback_on_step_end=CutOff(cutoff_step_ratio=None, cutoff_step_index=1))
    hook.remove()
    assert batches == [2, 2, 1] * 2  # the next clip begins guided again
    assert not torch.equal(cut, _latents(pipe, clips=2))


def test_either_name_of_the_interrupt_ends_the_video(pipe: VidRDPipeline) -> None:
    for name in ("interrupt", "_interrupt"):

        def stop(pipeline: Any, step: int, timestep: Any, kwargs: dict[str, Any], name: str = name) -> None:
            setattr(pipeline, name, kwargs["clip"] == 1)

        assert _latents(pipe, PROMPTS, 3, callback_on_step_end=stop).shape == (2, 4, 8, 4, 4)
    asked = QUICK | {"output_type": "np", "num_videos_per_prompt": 3}
    none = pipe(
        PROMPTS, callback_on_step_end=lambda p, i, t, k: setattr(p, "_interrupt", True), **asked
    ).frames
    assert none.shape == (6, 0, 0, 0, 3)


def test_what_a_call_was_made_with_can_be_asked(pipe: VidRDPipeline) -> None:
    def look(p: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> None:
        assert (p.guidance_scale, p.do_classifier_free_guidance, p.num_timesteps) == (4.0, True, 3)
        assert (p.clip_skip, p.attention_kwargs, p.interrupt) == (1, {"scale": 1.0}, False)

    _latents(pipe, clip_skip=1, attention_kwargs={"scale": 1.0}, callback_on_step_end=look)
    _latents(pipe, guidance_scale=1.0)
    assert not pipe.do_classifier_free_guidance and pipe.vae_scale_factor == 4


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"seed": 1, "generator": torch.Generator()}, "give either seed or generator, not both"),
        ({"generator": [torch.Generator()] * 3}, "2 videos take one generator or as many, got 3"),
        ({"generator": [7, 8]}, "generator must be a torch.Generator or a list of them, not 7"),
        ({"num_videos_per_prompt": 0}, "num_videos_per_prompt must be at least 1, not 0"),
        ({"prompt_embeds": torch.zeros(2, 16, 32)}, "give either prompt or prompt_embeds, not both"),
        ({"prompt": None}, "prompt must be a text or a list of texts, not None, where no prompt_embeds"),
        ({"prompt": None, "prompt_embeds": torch.zeros(16, 32)}, r"must be \(videos, tokens, width\)"),
        ({"negative_prompt_embeds": torch.zeros(1, 16, 32)}, "negative_prompt_embeds must be"),
        (
            {"negative_prompt": "blur", "negative_prompt_embeds": torch.zeros(2, 16, 32)},
            "give either negative_prompt or negative_prompt_embeds, not both",
        ),
        ({"latents": torch.zeros(1, *SHAPE)}, r"latents must be b c n h w = \(2, 4, 8, 4, 4\), not \(1, 4"),
        ({"latents": torch.zeros(2, 4, 8, 8)}, "latents must be b c n h w, not"),
        ({"latents": torch.zeros(2, *SHAPE), "num_frames": 6}, "latents must be b c n h w ="),
        ({"timesteps": [1], "sigmas": [1.0]}, "give either timesteps or sigmas, not both"),
        ({"guidance_rescale": 2.0}, "guidance_rescale must lie in 0..1, not 2.0"),
        (
            {"attention_kwargs": {"scale": 1.0, "gligen": {}}},
            "attention_kwargs takes scale alone, not 'gligen'",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    pipe: VidRDPipeline, arguments: dict[str, Any], named: str
) -> None:
    steps: list[int] = []
    hook = pipe.unet.register_forward_pre_hook(lambda module, inputs: steps.append(1))
    with pytest.raises(ModelError, match=named):
        _latents(pipe, **{"prompt": PROMPTS} | arguments)
    hook.remove()
    assert not steps


def test_an_unknown_argument_is_refused_by_the_call_that_was_made(pipe: VidRDPipeline) -> None:
    for kind in (ModelError, TypeError):
        with pytest.raises(
            kind, match=r"VidRDPipeline.__call__\(\) has no argument 'num_inference_step'; did you"
        ):
            pipe(PROMPTS[0], num_inference_step=3)
    with pytest.raises(TypeError, match=r"stream\(\).*'num_inference_step'"):
        pipe.stream(PROMPTS[0], num_inference_step=3)
    for baseline in (stream_overlap, stream_freenoise):
        with pytest.raises(TypeError, match=rf"{baseline.__name__}\(\) has no argument 'alfa'; it takes"):
            next(baseline(pipe, PROMPTS[0], alfa=1.0))


def test_a_call_shows_all_its_arguments() -> None:
    """diffusers' own tools ask a pipeline's call for its parameters."""
    call = inspect.signature(VidRDPipeline.__call__).parameters
    stream = inspect.signature(VidRDPipeline.stream).parameters
    assert set(call) == set(stream) | {"return_dict"}
    assert all(call[name].default == stream[name].default for name in stream)


def test_the_scheduler_of_the_pipeline_is_left_as_it_was(pipe: VidRDPipeline) -> None:
    before = dict(vars(pipe.scheduler))
    _latents(pipe, clips=2)
    assert isinstance(pipe.scheduler, DDIMScheduler)
    assert pipe.scheduler.num_inference_steps == before["num_inference_steps"]
