"""`vidrd generate`: text to video."""

from __future__ import annotations

from flows.cli import generate_options as asked
from flows.cli import sampling_options as sampled
from flows.cli.command import run_flow
from flows.cli.options import ChampionOption, ModelProfileOption


def generate(
    prompt: asked.PromptArgument = None,
    then: asked.ThenOption = None,
    at: asked.AtOption = None,
    continue_from: asked.ContinueOption = None,
    image: asked.ImageOption = None,
    only_new: asked.OnlyNewOption = False,
    edit: asked.EditOption = None,
    strength: asked.StrengthOption = None,
    loop: asked.LoopOption = False,
    prompts_file: asked.PromptsOption = None,
    clips: asked.ClipsOption = None,
    seed: asked.SeedOption = None,
    out: asked.OutOption = None,
    out_dir: asked.OutDirOption = None,
    model: ChampionOption = None,
    fast: sampled.FastOption = False,
    steps: sampled.StepsOption = None,
    guidance: sampled.GuidanceOption = None,
    negative_prompt: sampled.NegativePromptOption = None,
    prompt_frames: sampled.PromptFramesOption = None,
    alpha: sampled.AlphaOption = None,
    beta: sampled.BetaOption = None,
    fps: sampled.FpsOption = None,
    size: sampled.SizeOption = None,
    seam: sampled.SeamOption = None,
    scheduler: sampled.SchedulerOption = None,
    clips_at_once: sampled.ClipsAtOnceOption = None,
    device: asked.DeviceOption = None,
    workers: asked.WorkersOption = None,
    lora: asked.LoraOption = None,
    force: asked.ForceOption = False,
    profile: ModelProfileOption = None,
) -> None:
    """Text to video, by default with the champion.

    Writes a video that ordinary players open, and a contact sheet beside it; prompt, seed, model and settings stand in
    the file. A video that is there stays: of the same request it is kept, of another one refused. How it is sampled is
    what these options say, else what was saved with the model, else its profile's, else as published; the result says
    which.

    \b
    Example: vidrd generate "a red circle moving right" --clips 3 --seed 7 --out out.mp4
    """
    run_flow(
        "generate",
        prompt=prompt,
        then=then or None,
        at=at or None,
        continue_from=continue_from,
        image=image,
        only_new=only_new,
        edit=edit,
        strength=strength,
        loop=loop,
        prompts_file=prompts_file,
        clips=clips,
        seed=seed,
        out=out,
        out_dir=out_dir,
        model=model,
        fast=fast,
        sampling=sampled.sampling_options(
            num_inference_steps=steps,
            guidance_scale=guidance,
            negative_prompt=negative_prompt,
            prompt_frames=prompt_frames,
            alpha=alpha,
            beta=beta,
            fps=fps,
            size=size,
            seam=seam,
            scheduler=scheduler,
            clips_at_once=clips_at_once,
        ),
        device=device,
        workers=workers,
        lora=lora or None,
        force=force,
        profile=profile,
    )
