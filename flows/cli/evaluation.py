"""`vidrd evaluate`, `promote`, `pages` and `ablate`: how good models are, and which one is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.answer import answer
from flows.cli.command import profile_params, run_flow
from flows.cli.options import CandidateOption, ChampionOption, ModelProfileOption, VersionOption
from flows.cli.sampling_options import FastOption
from flows.environment import prepare
from flows.surroundings import check_surroundings
from storage.local.typed_paths import typed_path


def evaluate(
    model: CandidateOption = None,
    videos: Annotated[
        Path | None,
        typer.Option(parser=typed_path, metavar="DIR", help="Finished videos to score, instead of a model."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(parser=typed_path, metavar="DIR", help="Real videos; by default the tiny world's."),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="tiny|quick|fvd2048-16f|vidrd-paper", help="Which frames count.")
    ] = None,
    num_videos: Annotated[
        int | None, typer.Option(help="Generated videos; by default the profile's or protocol's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Video i has seed + i; draws files [0].")] = None,
    c3d_weights: Annotated[
        Path | None,
        typer.Option(parser=typed_path, metavar="FILE", help="C3D of UCF-101, for the inception score."),
    ] = None,
    fast: FastOption = False,
    beside_champion: Annotated[
        bool | None,
        typer.Option("--beside-champion", help="The champion too, on the same prompts and seeds."),
    ] = None,
    then_promote: Annotated[
        bool | None, typer.Option("--then-promote", help="Let the gate decide and act on it.")
    ] = None,
    profile: ModelProfileOption = None,
) -> None:
    """Measures a model, or finished videos, against real videos.

    FVD, KVD, text score and the failure signatures, each with its interval, n and protocol; logged on the registered
    version, with the pages that show all versions. Videos of --videos, captioned as a reference may be, are logged in
    an MLflow run of their own.

    \b
    Example: vidrd evaluate --model models:/vidrd@candidate --reference my-videos --protocol quick
    Example: vidrd evaluate --videos their-samples --reference my-videos --protocol quick
    """
    from flows.own_footage import print_note_on_own_footage

    print_note_on_own_footage(reference, profile_params(profile))
    run_flow(
        "evaluate",
        model=model,
        videos=videos,
        reference=reference,
        protocol=protocol,
        num_videos=num_videos,
        seed=seed,
        c3d_weights=c3d_weights,
        fast=fast,
        beside_champion=beside_champion,
        then_promote=then_promote,
        profile=profile,
    )


def promote(
    model: VersionOption = None,
    rollback: Annotated[
        bool | None, typer.Option("--rollback", help="Make the champion's predecessor champion again.")
    ] = None,
    profile: ModelProfileOption = None,
) -> None:
    """Makes the candidate the champion if it is surely better.

    The gate compares both on the same prompts and seeds; otherwise the candidate stays, and the reason is logged. The
    verdict is promote, refuse or cannot-judge, as where CLIP does not know the real clips; the exit code is 0 for all.

    \b
    Example: vidrd promote --model models:/vidrd@candidate
    """
    run_flow("promote", model=model, rollback=rollback, profile=profile)


def pages() -> None:
    """Writes the leaderboard and the trends of all versions.

    Prints the paths of both pages, under $VIDRD_HOME/evaluation.

    \b
    Example: vidrd pages
    """
    prepare()
    check_surroundings()
    from flows.promote.pages import write_pages
    from storage.registry.registry import Registry

    answer({name: str(path) for name, path in write_pages(Registry()).items()})


def ablate(
    experiment: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Repeatable; by default all but steps and cross-dataset."),
    ] = None,
    model: ChampionOption = None,
    reference: Annotated[
        Path | None,
        typer.Option(parser=typed_path, metavar="DIR", help="Real videos; by default the tiny world's."),
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option(metavar="REF", help="For cross-dataset; repeated, one for each model.")
    ] = None,
    references: Annotated[
        list[Path] | None,
        typer.Option(
            parser=typed_path, metavar="DIR", help="For cross-dataset; repeated, one for each folder."
        ),
    ] = None,
    num_videos: Annotated[
        int | None, typer.Option(min=4, help="Videos of each variant; by default the profile's.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=typed_path, metavar="DIR", help="By default ablation/MODEL under VIDRD_HOME."),
    ] = None,
    profile: ModelProfileOption = None,
) -> None:
    """The paper's experiments: what alpha, beta, seams and length do.

    Experiments: reuse, alpha, beta, alpha-beta, seams, steps, baselines, length, cross-dataset. A variant that is
    measured is not sampled again: after an interruption the same command goes on.

    \b
    Example: vidrd ablate --experiment alpha --experiment beta --model models:/vidrd@champion
    """
    run_flow(
        "ablate",
        experiments=experiment or None,
        model=model,
        reference=reference,
        models=models or None,
        references=references or None,
        num_videos=num_videos,
        out=out,
        profile=profile,
    )
