"""`vidrd dataset`: looking into a dataset folder and keeping it in order; JSON on stdout.

Nothing here needs Prefect or Ray: these are commands on a folder, which take the same lock as a build where they
write.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tasks.errors import RequestError

dataset_app = typer.Typer(help="Look into a dataset folder, and keep it in order.", rich_markup_mode=None)

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A dataset folder.")]
RefArgument = Annotated[str, typer.Argument(metavar="DIR[@TAG]", help="A dataset folder.")]


def print_json(result: Any) -> None:
    """What a command found or did, for eyes and machines."""
    print(json.dumps(result, indent=2, ensure_ascii=False, default=str))


@dataset_app.command("info")
def info(dataset: RefArgument) -> None:
    """What a dataset holds, as JSON.

    Clips per kind, corpus and split; rejected and quarantined; versions, builds and bytes.

    \b
    Example: vidrd dataset info runs/datasets/tiny
    """
    from storage.dataset import ClipDataset

    print_json(ClipDataset.open(dataset).info())


@dataset_app.command("verify")
def verify(
    dataset: RefArgument,
    repair: Annotated[
        bool, typer.Option("--repair", help="First mend what a cut-off command or a lost tag left.")
    ] = False,
) -> None:
    """Reads every row of a finished build again.

    Each problem names table, row and id; exit code 1 when there is any. Videos are decoded, so it takes a while.

    \b
    Example: vidrd dataset verify runs/datasets/tiny --repair
    """
    from storage.dataset import parse_ref
    from storage.repair import repair as mend
    from storage.verify import verify as read_all
    from tasks.clips.check import video_problem

    folder, tag = parse_ref(dataset)
    repaired = mend(folder) if repair else []
    report = read_all(folder, tag, check_video=video_problem)
    print_json({"ok": not report.problem_count, "repaired": repaired} | asdict(report))
    if report.problem_count:
        raise typer.Exit(1)


@dataset_app.command("remove")
def remove(
    dataset: FolderArgument,
    source_id: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A source, as in the column source_id; may repeat.")
    ] = None,
    licence: Annotated[
        list[str] | None, typer.Option(metavar="L", help="All sources of this licence; may repeat.")
    ] = None,
    corpus: Annotated[
        list[str] | None, typer.Option(metavar="C", help="All sources of this corpus; may repeat.")
    ] = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="From earlier builds too: these go, and nothing is left on disk.")
    ] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Kept beside the date in removed.json.")] = "",
) -> None:
    """Takes sources down, and keeps them out.

    The rest is a new build; later builds pass these sources over. What was cut off, running it again finishes.

    \b
    Example: vidrd dataset remove runs/datasets/mine --corpus holiday-photos --purge --reason "asked by the owner"
    """
    from storage.removal import remove as take_down

    if not (source_id or licence or corpus):
        raise RequestError("remove: name what to remove with --source-id, --licence or --corpus")
    report = take_down(dataset, source_id or (), licence or (), corpus or (), purge=purge, reason=reason)
    print_json(asdict(report))


@dataset_app.command("compact")
def compact(
    dataset: FolderArgument,
    keep_days: Annotated[
        float, typer.Option(min=0, help="Versions of no finished build are kept this long.")
    ] = 7.0,
    newest_only: Annotated[
        bool, typer.Option("--newest-only", help="Forget all earlier builds, and free what only they used.")
    ] = False,
) -> None:
    """Joins small files and deletes what no build needs.

    The same rows are a new build afterwards; earlier builds stay as they are, unless told otherwise.

    \b
    Example: vidrd dataset compact runs/datasets/mine
    """
    from storage.compaction import compact as join_files

    print_json(asdict(join_files(dataset, keep_days, newest_only)))
