"""`vidrd build-dataset`: corpora of images and videos to a tagged dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.command import profile_params, run_flow
from flows.cli.options import AllowEmptyOption, DatasetProfileOption
from storage.local.typed_paths import typed_path


def build_dataset(
    corpora: Annotated[
        Path | None,
        typer.Option(parser=typed_path, metavar="FILE", help="Corpora file; by default the tiny world."),
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(parser=typed_path, metavar="DIR", help="Where the tables go.")
    ] = None,
    clip_threshold: Annotated[
        float | None,
        typer.Option(metavar="-1..1", help="Captions that agree less are rejected, from now on."),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Drop what came of sources that are no longer there.")
    ] = False,
    allow_empty: AllowEmptyOption = False,
    profile: DatasetProfileOption = None,
) -> None:
    """Corpora of images and videos to a tagged dataset.

    Again on the same input, nothing is encoded twice.

    \b
    Example: vidrd build-dataset --corpora corpora.toml --dataset runs/datasets/mine
    """
    from flows.own_footage import print_note_on_own_footage

    print_note_on_own_footage(corpora, profile_params(profile), dataset)
    run_flow(
        "build_dataset",
        corpora=corpora,
        dataset=dataset,
        clip_threshold=clip_threshold,
        prune=prune,
        allow_empty=allow_empty,
        profile=profile,
    )
