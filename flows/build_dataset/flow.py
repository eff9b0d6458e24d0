"""Corpora of images, short and long videos to a tagged dataset: read, cut, filter, encode, commit.

vidrd build-dataset --corpora corpora.toml --dataset runs/datasets/mine
vidrd dataset refilter runs/datasets/mine --clip-threshold 0.27
vidrd dataset retry-quarantine runs/datasets/mine
prefect deployment run build-dataset/build-dataset
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from pydantic import BaseModel, ConfigDict, Field

from flows.cut_captions import say_what_is_cut
from flows.own_footage import note_on_own_footage
from flows.profile import Profile, last_profile, load_profile
from flows.runs.failures import tells_why
from flows.runs.progress import stage_progress
from storage.local.home import home
from storage.local.typed_paths import TypedPath, TypedText
from tasks import markdown
from tasks.errors import RequestError
from tasks.ingest.thresholds import SET_HERE, Asked, Thresholds, thresholds_in_force

if TYPE_CHECKING:
    from tasks.ingest.summary import BuildSummary

WORLD_SEED = 7
SHOWN_QUARANTINE = 200
"""Quarantined sources listed in the artifact; all of them are in quarantine.lance."""


class BuildDatasetParams(BaseModel):
    """What to build; as they are, the defaults write the tiny world and make the tiny dataset of it."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["build", "refilter", "retry-quarantine"] = Field(
        "build",
        description="bring it up to date; or only apply thresholds; or only try the bad sources again",
    )
    corpora: TypedPath | None = Field(
        None, description="corpora file; none: the last build's, or for the profile tiny the tiny world"
    )
    dataset: TypedPath | None = Field(
        None, description="folder of the tables; none: datasets/PROFILE of VIDRD_HOME"
    )
    profile: TypedText | None = Field(
        None, description="none: the one the dataset was last built with, or tiny"
    )
    clip_threshold: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="clips whose caption agrees less are rejected, from now on; none: as set on the dataset before, "
        "else the profile's",
    )
    filter: dict[str, Any] = Field(
        default_factory=dict, description="further settings of the profile's [filter], by name; set likewise"
    )
    reset: bool = Field(False, description="forget the thresholds that were set on the dataset before")
    allow_empty: bool = Field(
        False, description="go on even where that leaves no clip of a dataset that has some"
    )
    prune: bool = Field(False, description="drop what came of sources that are no longer in the corpora")


def check(params: BuildDatasetParams) -> None:
    """Raises RequestError or StorageError with one line when the request cannot be carried out."""
    from storage.dataset.clip_dataset import ClipDataset
    from tasks.corpora.config import load_corpora
    from tasks.ingest.run import check_target
    from tasks.output_folders import check_dataset_folder

    if params.dataset is not None:
        check_dataset_folder(params.dataset)  # before the profile, which an earlier build in it may name
    profile = _profile(params)
    if params.action != "build":
        ClipDataset.open(_dataset_dir(params, profile))
    if params.action != "refilter":
        corpora = _known_corpora(params, profile)
        if corpora is not None:
            load_corpora(corpora, profile.recipe().captions_needed)
        elif profile.name != "tiny":
            raise RequestError(f"corpora: missing; the profile {profile.name} has no corpora of its own")
    recipe = profile.recipe()
    thresholds = _thresholds(params, profile)
    check_target(_dataset_dir(params, profile), replace(recipe, filter=thresholds.settings))


@flow(name="build-dataset")
@tells_why
def build_dataset(params: BuildDatasetParams = BuildDatasetParams()) -> dict[str, Any]:  # noqa: B008
    """Runs the build and returns what it counted; RequestError when the dataset is without a clip and may not be."""
    from tasks.ingest.run import build, refilter

    check(params)
    profile = _profile(params)
    dataset_dir, recipe = _dataset_dir(params, profile), profile.recipe()
    note = note_on_own_footage(profile, _known_corpora(params, profile))
    if note is not None:
        get_run_logger().info("%s", note)  # the command has printed it before it came here
    with stage_progress("build-dataset") as on_progress:
        if params.action == "refilter":
            summary = refilter(
                dataset_dir,
                recipe,
                asked=_asked(params),
                allow_empty=params.allow_empty,
                profile=profile.name,
                profile_source=profile.source,
                on_progress=on_progress,
            )
        else:
            summary = build(
                _known_corpora(params, profile) or _tiny_world(),
                dataset_dir,
                recipe,
                asked=_asked(params),
                allow_empty=params.allow_empty,
                profile=profile.name,
                profile_source=profile.source,
                prune=params.prune,
                retry_quarantine=params.action == "retry-quarantine",
                on_progress=on_progress,
            )
    result = {"dataset": str(dataset_dir), **summary.as_dict()}
    _show(result, dataset_dir)
    if summary.dataset_clips == 0 and not params.allow_empty:
        raise RequestError(_why_nothing_was_kept(summary, dataset_dir) + (f"; {note}" if note else ""))
    return result


def _why_nothing_was_kept(summary: "BuildSummary", dataset_dir: Path) -> str:
    from storage.dataset.clip_dataset import ClipDataset

    dataset = ClipDataset.open(dataset_dir)
    reasons = []
    if summary.dataset_rejected:
        scores = [
            score
            for score in dataset.rejected_table(["clip_score"])["clip_score"].to_pylist()
            if score is not None
        ]
        best = f", best CLIP score {max(scores):.2f}, {_threshold_told(summary)}" if scores else ""
        reasons.append(f"{summary.dataset_rejected} clips rejected{best}")
    if summary.dataset_quarantined:
        errors = Counter(dataset.quarantine_table()["error"].to_pylist())
        reasons.append(
            f"{summary.dataset_quarantined} sources quarantined, mostly: {errors.most_common(1)[0][0]}"
        )
    return (
        f"dataset: {dataset_dir} holds no clip: of {summary.read} sources nothing was kept ({'; '.join(reasons)}); "
        f"vidrd dataset info {dataset_dir} lists them"
    )


def _threshold_told(summary: "BuildSummary") -> str:
    origin = f" ({SET_HERE})" if "clip_threshold" in summary.thresholds_set else ""
    return f"threshold {summary.filter['clip_threshold']}{origin}"


def _profile(params: BuildDatasetParams) -> Profile:
    """The profile asked for, else that of the dataset's last build, else tiny."""
    if params.profile is not None or params.dataset is None:
        return load_profile(params.profile or "tiny")
    return last_profile(params.dataset) or load_profile("tiny")


def _known_corpora(params: BuildDatasetParams, profile: Profile) -> Path | None:
    """The corpora file asked for, else that of the dataset's last build."""
    from storage.dataset.builds import last_noted

    if params.corpora is not None:
        return params.corpora
    last = last_noted(_dataset_dir(params, profile), "corpora")
    return Path(last) if last else None


def _tiny_world() -> Path:
    from tasks.tiny.world.corpora import write_tiny_world

    return write_tiny_world(home() / "tiny-world", WORLD_SEED)


def _dataset_dir(params: BuildDatasetParams, profile: Profile) -> Path:
    return params.dataset or home() / "datasets" / profile.name


def _asked(params: BuildDatasetParams) -> Asked:
    """The thresholds that the request names."""
    values = dict(params.filter)
    if params.clip_threshold is not None:
        values["clip_threshold"] = params.clip_threshold
    return Asked(values, params.reset)


def _thresholds(params: BuildDatasetParams, profile: Profile) -> Thresholds:
    """What would be in force if the build began now; RequestError names a threshold that is none."""
    from storage.dataset.builds import finished_builds

    builds = finished_builds(_dataset_dir(params, profile))
    return thresholds_in_force(builds, profile.filter, profile.name, _asked(params))


def _show(result: dict[str, Any], dataset_dir: Path) -> None:
    """Put the summary and the quarantine where an operator looks: the run's log and artifacts."""
    from storage.dataset.clip_dataset import ClipDataset

    logger = get_run_logger()
    logger.info(
        "%s: %d of %d sources were done already; new: %d clips kept, %d rejected, %d sources quarantined; "
        "%d clips in all",
        result["tag"],
        result["skipped"],
        result["read"],
        result["kept"],
        sum(result["rejected"].values()),
        result["quarantined"],
        result["dataset_clips"],
    )
    say_what_is_cut("build-dataset", result["cut_captions"])
    create_markdown_artifact(_as_markdown(result), key="build-dataset", description=f"build {result['tag']}")
    quarantine = ClipDataset.open(dataset_dir).quarantine_table()
    if quarantine.num_rows:
        columns = ["corpus", "source_uri", "stage", "error", "attempts"]
        rows = quarantine.select(columns).slice(0, SHOWN_QUARANTINE).to_pylist()
        # Prefect's page takes the texts of a table's cells for Markdown.
        rows = [{name: markdown.text(value) for name, value in row.items()} for row in rows]
        create_table_artifact(
            rows, key="quarantine", description=f"of {quarantine.num_rows} quarantined sources"
        )


def _as_markdown(result: dict[str, Any]) -> str:
    counts = {
        "sources read": result["read"],
        "done already": result["skipped"],
        **{f"clips kept: {kind}": count for kind, count in result["kept_by_kind"].items()},
        **{f"clips rejected: {reason}": count for reason, count in result["rejected"].items()},
        **{f"sources quarantined: {stage}": n for stage, n in result["quarantined_by_stage"].items()},
        "clips encoded": result["encoded"],
        "clips scored anew": result["rescored"],
        "clips moved between kept and rejected": result["moved"],
        "sources vanished": result["vanished"],
        "clips in the dataset": result["dataset_clips"],
        **{f"{name}, {SET_HERE}": value for name, value in result["thresholds_set"].items()},
        **{f"captions cut for {role}": cut["cut"] for role, cut in (result["cut_captions"] or {}).items()},
    }
    seconds = ", ".join(f"{stage} {value} s" for stage, value in result["seconds"].items())
    title = markdown.code(f"{result['dataset']}@{result['tag']}")
    rows = markdown.table(("", ""), counts.items())
    return "\n".join([title, "", *rows, "", f"Time, stages summed over workers: {markdown.text(seconds)}"])
