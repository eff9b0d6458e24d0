"""The options of `vidrd generate`: what is shown, on from what, where it goes, and what makes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from storage.local.typed_paths import typed_path

PromptArgument = Annotated[str | None, typer.Argument(help="The text of one video.")]
ThenOption = Annotated[
    list[str] | None,
    typer.Option("--then", metavar="PROMPT", help="The text of the next clip; again for the one after."),
]
AtOption = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="SECONDS:PROMPT", help="A text that begins within the video; may repeat."),
]
ContinueOption = Annotated[
    Path | None,
    typer.Option("--continue", parser=typed_path, metavar="VIDEO", help="Go on from a video's end."),
]
ImageOption = Annotated[
    Path | None, typer.Option(parser=typed_path, metavar="PHOTO", help="Go on from a moving picture of it.")
]
OnlyNewOption = Annotated[
    bool, typer.Option("--only-new", help="Leave out what --continue or --image showed.")
]
EditOption = Annotated[
    Path | None,
    typer.Option("--edit", parser=typed_path, metavar="VIDEO", help="Change a video to what the text says."),
]
StrengthOption = Annotated[
    float | None, typer.Option(metavar="0..1", help="How much --edit changes; 1 leaves little of it [0.8].")
]
LoopOption = Annotated[bool, typer.Option("--loop", help="End where it begins, to be played in a loop.")]
PromptsOption = Annotated[
    Path | None,
    typer.Option("--prompts", parser=typed_path, metavar="FILE", help="One prompt a line; # begins a note."),
]
ClipsOption = Annotated[int | None, typer.Option(help="Length of the video in clips [3].")]
SeedOption = Annotated[int | None, typer.Option(help="Same seed, same video [7].")]
OutOption = Annotated[
    Path | None,
    typer.Option(parser=typed_path, metavar="FILE|DIR", help="mp4, webm, gif, or a folder of PNGs."),
]
OutDirOption = Annotated[
    Path | None, typer.Option(parser=typed_path, metavar="DIR", help="The videos of --prompts.")
]
DeviceOption = Annotated[
    str | None, typer.Option(metavar="cpu|cuda|cuda:N|mps", help="By default a GPU, where there is one.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Workers of Ray, a GPU each, that share the clips of a video; the same video."
    ),
]
LoraOption = Annotated[
    list[str] | None, typer.Option(metavar="FILE[:WEIGHT]", help="A LoRA of the image model; may repeat.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Write over videos of something else.")]
