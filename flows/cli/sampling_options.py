"""The options of the terminal that say how videos are sampled, as a flow takes them."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from tasks.errors import RequestError

StepsOption = Annotated[int | None, typer.Option(help="Steps of the sampler.")]
GuidanceOption = Annotated[float | None, typer.Option(help="How closely the text is followed.")]
NegativePromptOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What the video should not show.")
]
PromptFramesOption = Annotated[
    int | None, typer.Option(metavar="M", help="Frames that the clip before guides.")
]
AlphaOption = Annotated[float | None, typer.Option(help="Share of the last clip's noise; inf is all.")]
BetaOption = Annotated[float | None, typer.Option(metavar="0..1", help="Share of the guided steps.")]
FpsOption = Annotated[float | None, typer.Option(help="Frame rate of the file.")]
SizeOption = Annotated[str | None, typer.Option(metavar="WxH", help="In pixels.")]
SeamOption = Annotated[
    str | None,
    typer.Option(
        metavar="keep|drop-duplicate|drop-prompt-frames|crossfade",
        help="How clips are joined [drop-duplicate].",
    ),
]
ClipsAtOnceOption = Annotated[
    int | None, typer.Option(metavar="W", help="Clips that take each step together; the same video.")
]
SchedulerOption = Annotated[
    str | None, typer.Option(metavar="ddim|euler|dpm++|unipc", help="By default the model's.")
]
FastOption = Annotated[bool, typer.Option("--fast", help="Sooner, as the profile's section [fast] says.")]


def sampling_options(size: str | None = None, **given: Any) -> dict[str, Any] | None:
    """The settings that were given, None when there are none; RequestError for a size that is none."""
    settings = {name: value for name, value in given.items() if value is not None}
    if size is not None:
        match = re.fullmatch(r"(\d+)[xX\u00d7](\d+)", size.strip())
        if match is None:
            raise RequestError(f"size: write it as WIDTHxHEIGHT in pixels, such as 256x256, not {size!r}")
        settings |= {"width": int(match[1]), "height": int(match[2])}
    return settings or None
