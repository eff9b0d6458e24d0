"""`vidrd generate`: text to video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.command import run_flow
from flows.cli.options import ChampionOption, ModelProfileOption
from flows.cli.sampling_options import sampling_options
from storage.local.typed_paths import typed_path


def generate(
    prompt: Annotated[str | None, typer.Argument(help="The text of one video.")] = None,
    then: Annotated[
        list[str] | None,
        typer.Option(metavar="PROMPT", help="The text of the next clip; again for the one after."),
    ] = None,
    continue_from: Annotated[
        Path | None,
        typer.Option("--continue", parser=typed_path, metavar="VIDEO", help="Go on from a video's end."),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(parser=typed_path, metavar="PHOTO", help="Go on from a moving picture of it."),
    ] = None,
    only_new: Annotated[
        bool, typer.Option("--only-new", help="Leave out what --continue or --image showed.")
    ] = False,
    prompts: Annotated[
        Path | None,
        typer.Option(parser=typed_path, metavar="FILE", help="One prompt a line; # begins a note."),
    ] = None,
    clips: Annotated[int | None, typer.Option(help="Length of the video in clips [3].")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same video [7].")] = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=typed_path, metavar="FILE|DIR", help="mp4, webm, gif, or a folder of PNGs."),
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option(parser=typed_path, metavar="DIR", help="The videos of --prompts.")
    ] = None,
    model: ChampionOption = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the sampler.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely the text is followed.")] = None,
    negative_prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the video should not show.")
    ] = None,
    prompt_frames: Annotated[
        int | None, typer.Option(metavar="M", help="Frames that the clip before guides.")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Share of the last clip's noise; inf is all.")] = None,
    beta: Annotated[float | None, typer.Option(metavar="0..1", help="Share of the guided steps.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frame rate of the file.")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="In pixels.")] = None,
    seam: Annotated[
        str | None,
        typer.Option(
            metavar="keep|drop-duplicate|drop-prompt-frames|crossfade",
            help="How clips are joined [drop-duplicate].",
        ),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ddim|euler|dpm++|unipc", help="By default the model's.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="cpu|cuda|cuda:N|mps", help="By default a GPU, where there is one.")
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE[:WEIGHT]", help="A LoRA of the image model; may repeat."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over videos of something else.")] = False,
    profile: ModelProfileOption = None,
) -> None:
    """Text to video, by default with the champion.

    Writes a video that ordinary players open, and a contact sheet beside it; prompt, seed, model and settings stand in
    the file. A video that is there stays: of the same request it is kept, of another one refused. How it is sampled is
    what these options say, else what was saved with the model, else the profile's; the result says which.

    \b
    Example: vidrd generate "a red circle moving right" --clips 3 --seed 7 --out out.mp4
    """
    run_flow(
        "generate",
        prompt=prompt,
        then=then or None,
        continue_from=continue_from,
        image=image,
        only_new=only_new,
        prompts_file=prompts,
        clips=clips,
        seed=seed,
        out=out,
        out_dir=out_dir,
        model=model,
        sampling=sampling_options(
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
        ),
        device=device,
        lora=lora or None,
        force=force,
        profile=profile,
    )
