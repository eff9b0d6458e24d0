"""`vidrd dataset`: looking into a dataset folder and keeping it in order.

All that write take the same lock as a build. Those that decode, score or encode are the flow build-dataset with
another action; the others need neither Prefect nor Ray.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.answer import answer
from flows.cli.command import profile_params, run_flow
from flows.cli.common import given, in_group
from flows.cli.options import AllowEmptyOption, DatasetProfileOption, ModelProfileOption
from flows.terminal import tell
from storage.local.typed_paths import expanded, typed_path
from tasks.errors import RequestError

dataset_app = typer.Typer(help="Look into a dataset folder, and keep it in order.", rich_markup_mode=None)

FolderArgument = Annotated[Path, typer.Argument(parser=typed_path, metavar="DIR", help="A dataset folder.")]
RefArgument = Annotated[str, typer.Argument(parser=expanded, metavar="DIR[@TAG]", help="A dataset folder.")]


@in_group(dataset_app, "dataset", "info")
def info(dataset: RefArgument) -> None:
    """What a dataset holds.

    Clips per kind, corpus and split; rejected and quarantined; thresholds and where each comes from; captions that a
    tokenizer cuts; versions, builds and bytes.

    \b
    Example: vidrd dataset info runs/datasets/tiny
    """
    from flows.dataset.info import dataset_info
    from storage.dataset.clip_dataset import ClipDataset

    answer(dataset_info(ClipDataset.open(dataset)))


@in_group(dataset_app, "dataset", "verify")
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
    from storage.dataset.folder import parse_ref
    from storage.dataset.repair import repair as mend
    from storage.dataset.verify import verify as read_all
    from tasks.clips.check import video_problem

    folder, tag = parse_ref(dataset)
    repaired = mend(folder) if repair else []
    report = read_all(folder, tag, check_video=video_problem)
    answer(
        {"ok": not report.problem_count, "repaired": repaired} | asdict(report), ok=not report.problem_count
    )
    if report.problem_count:
        raise typer.Exit(1)


@in_group(dataset_app, "dataset", "remove")
def remove(
    dataset: FolderArgument,
    source_id: Annotated[
        list[str] | None,
        typer.Option(metavar="ID|URI", help="A source by its source_id or its exact source_uri; may repeat."),
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
    from storage.dataset.removal import remove as take_down
    from storage.dataset.removal import would_remove

    if not (source_id or licence or corpus):
        raise RequestError("remove: name what to remove with --source-id, --licence or --corpus")
    asked = (dataset, source_id or (), licence or (), corpus or ())
    if given().dry_run:
        answer({"dry_run": True} | asdict(would_remove(*asked, purge=purge)))
        return
    answer(asdict(take_down(*asked, purge=purge, reason=reason)))


@in_group(dataset_app, "dataset", "compact")
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
    from storage.dataset.compaction import compact as join_files
    from storage.dataset.compaction import would_compact

    if given().dry_run:
        answer({"dry_run": True} | asdict(would_compact(dataset, newest_only)))
        return
    answer(asdict(join_files(dataset, keep_days, newest_only)))


@in_group(dataset_app, "dataset", "refilter")
def refilter(
    dataset: FolderArgument,
    clip_threshold: Annotated[
        float | None, typer.Option(metavar="-1..1", help="Captions that agree less are rejected.")
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="First forget what was set before: back to the profile's.")
    ] = False,
    only_try: Annotated[
        bool, typer.Option("--try", help="Only say what it would do: clips that stay, leave and come.")
    ] = False,
    allow_empty: AllowEmptyOption = False,
    profile: DatasetProfileOption = None,
) -> None:
    """Sets thresholds of a dataset and applies them as it stands.

    Rows move between kept and rejected; only what was never encoded or measured is decoded. The result is a new build,
    and later builds of the dataset keep to these thresholds.

    \b
    Example: vidrd dataset refilter runs/datasets/mine --clip-threshold 0.27 --set min_motion=1.5
    """
    _take_thresholds()
    values = {"clip_threshold": clip_threshold, "reset": reset}
    if only_try or given().dry_run:
        from flows.build_dataset.request import BuildDatasetParams
        from flows.dataset.trial import try_refilter

        answer(
            try_refilter(
                BuildDatasetParams(
                    action="refilter", dataset=dataset, profile=profile, set=given().changes, **values
                )
            )
        )
        return
    _build_flow("refilter", dataset, profile, allow_empty=allow_empty, **values)


@in_group(dataset_app, "dataset", "retry-quarantine")
def retry_quarantine(
    dataset: FolderArgument,
    corpora: Annotated[
        Path | None,
        typer.Option(parser=typed_path, metavar="FILE", help="Corpora file; by default the last build's."),
    ] = None,
    allow_empty: AllowEmptyOption = False,
    profile: DatasetProfileOption = None,
) -> None:
    """Tries the quarantined sources again, and no others.

    \b
    Example: vidrd dataset retry-quarantine runs/datasets/mine
    """
    from flows.own_footage import print_note_on_own_footage

    print_note_on_own_footage(corpora, profile_params(profile), dataset)
    _build_flow("retry-quarantine", dataset, profile, corpora=corpora, allow_empty=allow_empty)


@in_group(dataset_app, "dataset", "report", uses_settings=True)
def report(
    dataset: RefArgument,
    out: Annotated[
        Path, typer.Option(parser=typed_path, metavar="HTML", help="The page, one file without scripts.")
    ],
) -> None:
    """Writes a page about a dataset, made from its tables alone.

    What became of sources and clips, scores, clips at the thresholds, samples, times, storage. With --set a threshold
    is looked at, not applied.

    \b
    Example: vidrd dataset report runs/datasets/tiny --out report.html --set min_motion=1.5
    """
    from flows.dataset.report import report as write_report

    _take_thresholds()
    answer(write_report(dataset, out, given().changes, given().dry_run))


@in_group(dataset_app, "dataset", "plan")
def plan(
    dataset: Annotated[
        Path | None,
        typer.Argument(
            parser=typed_path, metavar="[DIR]", help="A dataset whose corpora and profile are planned for."
        ),
    ] = None,
    corpora: Annotated[
        Path | None,
        typer.Option(parser=typed_path, metavar="FILE", help="Corpora file; by default the tiny world."),
    ] = None,
    sources: Annotated[int | None, typer.Option(help="Sources to plan for [10000000].")] = None,
    cpus: Annotated[int | None, typer.Option(help="Cores; by default as many as here.")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs; by default one if there is one here.")] = None,
    gpu_speedup: Annotated[
        float | None, typer.Option(help="How much faster a planned GPU is than what the models run on here.")
    ] = None,
    cpu_price: Annotated[float | None, typer.Option(help="Of a core for an hour.")] = None,
    gpu_price: Annotated[float | None, typer.Option(help="Of a GPU for an hour.")] = None,
    profile: ModelProfileOption = None,
    look: Annotated[
        bool, typer.Option("--look", help="Only say what lies in the corpora; no media is opened.")
    ] = False,
) -> None:
    """What a larger corpus would take: hours, machines, storage, money.

    Runs the build's stages on a few sources and extrapolates; every assumption is in the answer. With --look it says
    what was found in each corpus, with the first files and their captions, and what would be left out. With DIR it is
    about the corpora and the profile that this dataset was last built with.

    \b
    Example: vidrd dataset plan runs/datasets/tiny --sources 10000000
    Example: vidrd dataset plan --corpora corpora.toml --sources 10000000 --cpus 64 --gpus 8 --gpu-speedup 400
    """
    from flows.own_footage import print_note_on_own_footage

    print_note_on_own_footage(corpora, profile_params(profile), dataset)
    if look:
        from flows.dataset.look import as_dict, look_into
        from flows.dataset.request import PlanParams, planned_for

        asked_for = PlanParams(dataset=dataset, corpora=corpora, profile=profile, set=given().changes)
        found = look_into(*planned_for(asked_for))
        for corpus in found:
            tell("\n".join(corpus.as_lines()), error=False)
        if given().as_json:
            answer(as_dict(found))
        return
    from flows.dataset.request import PlanParams, read_request
    from flows.environment import prepare
    from tasks.planning.markdown import as_markdown

    prepare()
    asked = {
        "dataset": dataset,
        "corpora": corpora,
        "sources": sources,
        "cpus": cpus,
        "gpus": gpus,
        "gpu_speedup": gpu_speedup,
        "cpu_price": cpu_price,
        "gpu_price": gpu_price,
    }
    numbers = {name: value for name, value in asked.items() if value is not None}
    request = read_request(PlanParams(profile=profile, set=given().changes, **numbers))
    from flows.dataset.plan import run

    result = run(request)
    tell(as_markdown(result), error=False)
    if given().as_json:
        answer(result)


def _build_flow(action: str, dataset: Path, profile: str | None, **values: Any) -> None:
    run_flow(
        "build_dataset",
        action=action,
        dataset=dataset,
        profile=profile,
        **values,
    )


def _take_thresholds() -> None:
    """Reads `--set min_motion=1.5` as `filter.min_motion=1.5`: these commands are about that section."""
    changes = given().changes
    given().changes = {key if "." in key else f"filter.{key}": value for key, value in changes.items()}
