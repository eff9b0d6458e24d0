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
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.profile import Profile, load_profile, one_line
from flows.progress import stage_progress
from storage.home import home
from storage.typed_paths import TypedPath, TypedText
from tasks.build.recipe import Recipe
from tasks.errors import RequestError
from tasks.filters.settings import FilterSettings

if TYPE_CHECKING:
    from tasks.build.summary import BuildSummary

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
        None, ge=-1, le=1, description="clips whose caption agrees less are rejected; none: the profile's"
    )
    filter: dict[str, Any] = Field(
        default_factory=dict, description="further settings of the profile's [filter], by name"
    )
    prune: bool = Field(False, description="drop what came of sources that are no longer in the corpora")


def check(params: BuildDatasetParams) -> None:
    """Raises RequestError or StorageError with one line when the request cannot be carried out."""
    from storage.dataset import ClipDataset
    from tasks.build.run import check_target
    from tasks.corpora.config import load_corpora

    profile = _profile(params)
    if params.action != "build":
        ClipDataset.open(_dataset_dir(params, profile))
    if params.action != "refilter":
        corpora = _known_corpora(params, profile)
        if corpora is not None:
            load_corpora(corpora, _recipe(params, profile).captions_needed)
        elif profile.name != "tiny":
            raise RequestError(f"corpora: missing; the profile {profile.name} has no corpora of its own")
    check_target(_dataset_dir(params, profile), _recipe(params, profile))


@flow(name="build-dataset")
def build_dataset(params: BuildDatasetParams = BuildDatasetParams()) -> dict[str, Any]:  # noqa: B008
    """Runs the build and returns what it counted; RequestError when the dataset is still without a clip."""
    from tasks.build.run import build, refilter

    check(params)
    profile = _profile(params)
    dataset_dir, recipe = _dataset_dir(params, profile), _recipe(params, profile)
    with stage_progress("build-dataset") as on_progress:
        if params.action == "refilter":
            summary = refilter(dataset_dir, recipe, profile=profile.name, on_progress=on_progress)
        else:
            summary = build(
                _known_corpora(params, profile) or _tiny_world(),
                dataset_dir,
                recipe,
                profile=profile.name,
                prune=params.prune,
                retry_quarantine=params.action == "retry-quarantine",
                on_progress=on_progress,
            )
    result = {"dataset": str(dataset_dir), **summary.as_dict()}
    _show(result, dataset_dir)
    if summary.dataset_clips == 0:
        raise RequestError(_why_nothing_was_kept(summary, dataset_dir, recipe.filter))
    return result


def _why_nothing_was_kept(summary: "BuildSummary", dataset_dir: Path, settings: FilterSettings) -> str:
    from storage.dataset import ClipDataset

    dataset = ClipDataset.open(dataset_dir)
    reasons = []
    if summary.dataset_rejected:
        scores = [
            score
            for score in dataset.rejected_table(["clip_score"])["clip_score"].to_pylist()
            if score is not None
        ]
        best = f", best CLIP score {max(scores):.2f}, threshold {settings.clip_threshold}" if scores else ""
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


def _profile(params: BuildDatasetParams) -> Profile:
    """The profile asked for, else that of the dataset's last build, else tiny."""
    if params.profile is not None or params.dataset is None:
        return load_profile(params.profile or "tiny")
    return load_profile(_last_build(params.dataset).get("profile") or "tiny")


def _known_corpora(params: BuildDatasetParams, profile: Profile) -> Path | None:
    """The corpora file asked for, else that of the dataset's last build."""
    if params.corpora is not None:
        return params.corpora
    last = _last_build(_dataset_dir(params, profile)).get("corpora")
    return Path(last) if last else None


def _last_build(dataset_dir: Path) -> dict[str, Any]:
    from storage.builds import finished_builds

    builds = finished_builds(dataset_dir)
    return builds[-1].summary if builds else {}


def _tiny_world() -> Path:
    from tasks.tiny_world.corpora import write_tiny_world

    return write_tiny_world(home() / "tiny-world", WORLD_SEED)


def _dataset_dir(params: BuildDatasetParams, profile: Profile) -> Path:
    return params.dataset or home() / "datasets" / profile.name


def _recipe(params: BuildDatasetParams, profile: Profile) -> Recipe:
    """The profile's recipe with the thresholds asked for; RequestError names one that is none."""
    changed = dict(params.filter)
    if params.clip_threshold is not None:
        changed["clip_threshold"] = params.clip_threshold
    try:
        settings = FilterSettings.model_validate(profile.filter.model_dump() | changed)
    except ValidationError as error:
        raise RequestError(f"filter: {one_line(error)}") from error
    return replace(profile.recipe(), filter=settings)


def _show(result: dict[str, Any], dataset_dir: Path) -> None:
    """Put the summary and the quarantine where an operator looks: the run's log and artifacts."""
    from storage.dataset import ClipDataset

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
    create_markdown_artifact(_as_markdown(result), key="build-dataset", description=f"build {result['tag']}")
    quarantine = ClipDataset.open(dataset_dir).quarantine_table()
    if quarantine.num_rows:
        columns = ["corpus", "source_uri", "stage", "error", "attempts"]
        rows = quarantine.select(columns).slice(0, SHOWN_QUARANTINE).to_pylist()
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
    }
    seconds = ", ".join(f"{stage} {value} s" for stage, value in result["seconds"].items())
    rows = [f"| {name} | {count} |" for name, count in counts.items()]
    head = f"`{result['dataset']}@{result['tag']}`\n\n| | |\n|---|---|"
    return "\n".join([head, *rows, "", f"Time, stages summed over workers: {seconds}"])
