"""The `vidrd` command: a thin front on the flows; every subcommand's --help ends with an example.

    vidrd --help

Each command turns its options into the flow's Params, checks the request, and only then imports what is heavy
and starts Prefect and Ray. Wrong requests end with one line and exit code 2.
"""

from __future__ import annotations

# isort: off - the first of all, since the others take half a second in which Ctrl-C may come
from flows.cli.interrupts import unwatch, watch, watch_imports

watch_imports()
# isort: on

# ruff: noqa: E402
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.command import run_flow
from flows.cli.dataset import AllowEmptyOption, LastProfileOption, dataset_app
from flows.cli.sampling_options import sampling_options
from flows.environment import prepare
from flows.runs.failures import error_line
from flows.surroundings import check_surroundings
from flows.terminal import tell
from storage.local.typed_paths import typed_path

app = typer.Typer(
    help="From folders of images and videos to a trained and promoted text-to-video model (VidRD).",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
weights_app = typer.Typer(help="Weights by name, sha256-checked and cached.", rich_markup_mode=None)
app.add_typer(dataset_app, name="dataset")
app.add_typer(weights_app, name="weights")

ProfileOption = Annotated[str, typer.Option(metavar="tiny|sd21", help="Base model, sizes and thresholds.")]
_MODELS = "A folder, models:/vidrd@champion or models:/vidrd/3; by default"
CandidateOption = Annotated[str | None, typer.Option(metavar="REF", help=f"{_MODELS} the candidate.")]
ChampionOption = Annotated[
    str | None, typer.Option(metavar="REF", help=f"{_MODELS} the champion, else the profile's own.")
]
VersionOption = Annotated[
    str | None, typer.Option(metavar="REF", help="models:/vidrd/3, say; by default the candidate.")
]


_INTERRUPTED = 128 + signal.SIGINT  # what typer makes of a KeyboardInterrupt


def main() -> None:
    """Entry point of the `vidrd` script."""
    interrupts = watch(["vidrd", *sys.argv[1:]])
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
        if interrupts.heard or code == _INTERRUPTED:
            raise KeyboardInterrupt
    except BaseException as error:  # our own become one line, all others are raised again
        if interrupts.is_cause_of(error):
            interrupts.say()
            code = interrupts.exit_code
        else:
            message = error_line(error)
            if message is None:
                raise
            tell(f"error: {message}")
            code = 2
    sys.exit(code if isinstance(code, int) else 0)


@app.command("build-dataset")
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
    profile: LastProfileOption = None,
) -> None:
    """Corpora of images and videos to a tagged dataset.

    Again on the same input, nothing is encoded twice.

    \b
    Example: vidrd build-dataset --corpora corpora.toml --dataset runs/datasets/mine
    """
    from flows.own_footage import print_note_on_own_footage

    print_note_on_own_footage(corpora, profile, dataset)
    run_flow(
        "build_dataset",
        corpora=corpora,
        dataset=dataset,
        clip_threshold=clip_threshold,
        prune=prune,
        allow_empty=allow_empty,
        profile=profile,
    )


@app.command()
def retrain(
    dataset: Annotated[
        str | None, typer.Option(metavar="DIR[@TAG]", help="By default datasets/tiny under VIDRD_HOME.")
    ] = None,
    part: Annotated[
        str | None, typer.Option(metavar="temporal|decoder|both", help="By default both.")
    ] = None,
    trainable: Annotated[
        str | None, typer.Option(metavar="temporal|paper|all", help="Which UNet weights are trained.")
    ] = None,
    start_from: Annotated[
        str | None, typer.Option(metavar="base|champion", help="By default the profile's base model.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Give up an interrupted training of the same settings.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only measure a few steps: memory, steps per epoch, time.")
    ] = False,
    profile: ProfileOption = "tiny",
) -> None:
    """Fine-tunes on a dataset with Ray Train.

    The result is logged and registered in MLflow as `candidate`. After an interruption the same command goes on.

    \b
    Example: vidrd retrain --dataset runs/datasets/tiny --part temporal
    """
    values = {
        "dataset": dataset,
        "part": part,
        "trainable": trainable,
        "start_from": start_from,
        "fresh": fresh,
        "profile": profile,
    }
    if plan:
        _show_retrain_plan(values)
        return
    run_flow("retrain", **values)


def _show_retrain_plan(values: dict[str, Any]) -> None:
    """Prints what the retraining would take."""
    prepare()
    check_surroundings()
    from flows.retrain.plan import as_markdown
    from flows.retrain.plan import plan as make_plan
    from flows.retrain.request import RetrainParams, read_request

    params = RetrainParams(**{name: value for name, value in values.items() if value is not None})
    request = read_request(params, only_plan=True)
    tell(as_markdown(make_plan(request), request).rstrip("\n"), error=False)


@app.command()
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
    beside_champion: Annotated[
        bool | None,
        typer.Option("--beside-champion", help="The champion too, on the same prompts and seeds."),
    ] = None,
    then_promote: Annotated[
        bool | None, typer.Option("--then-promote", help="Let the gate decide and act on it.")
    ] = None,
    profile: ProfileOption = "tiny",
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

    print_note_on_own_footage(reference, profile)
    run_flow(
        "evaluate",
        model=model,
        videos=videos,
        reference=reference,
        protocol=protocol,
        num_videos=num_videos,
        seed=seed,
        c3d_weights=c3d_weights,
        beside_champion=beside_champion,
        then_promote=then_promote,
        profile=profile,
    )


@app.command()
def promote(
    model: VersionOption = None,
    rollback: Annotated[
        bool | None, typer.Option("--rollback", help="Make the champion's predecessor champion again.")
    ] = None,
    profile: ProfileOption = "tiny",
) -> None:
    """Makes the candidate the champion if it is surely better.

    The gate compares both on the same prompts and seeds; otherwise the candidate stays, and the reason is logged. The
    verdict is promote, refuse or cannot-judge, as where CLIP does not know the real clips; the exit code is 0 for all.

    \b
    Example: vidrd promote --model models:/vidrd@candidate
    """
    run_flow("promote", model=model, rollback=rollback, profile=profile)


@app.command()
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

    for path in write_pages(Registry()).values():
        print(path)


@app.command()
def generate(
    prompt: Annotated[str | None, typer.Argument(help="The text of one video.")] = None,
    then: Annotated[
        list[str] | None,
        typer.Option(metavar="PROMPT", help="The text of the next clip; again for the one after."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(parser=typed_path, metavar="FILE", help="One prompt a line, instead of PROMPT."),
    ] = None,
    clips: Annotated[int | None, typer.Option(help="Length of the video in clips [3].")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same video [7].")] = None,
    out: Annotated[
        Path | None, typer.Option(parser=typed_path, metavar="MP4", help="The video of one prompt.")
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
            metavar="keep|drop-duplicate|drop-prompt-frames|crossfade", help="How clips are joined."
        ),
    ] = None,
    profile: ProfileOption = "tiny",
) -> None:
    """Text to video, by default with the champion.

    Writes an mp4 that ordinary players open, and a contact sheet beside it. How it is sampled is what these options
    say, else what was saved with the model, else the profile's; the result says which.

    \b
    Example: vidrd generate "a red circle moving right" --clips 3 --seed 7 --out out.mp4
    """
    run_flow(
        "generate",
        prompt=prompt,
        then=then or None,
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
        ),
        profile=profile,
    )


@app.command()
def ablate(
    experiment: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="May be repeated; by default all of one model.")
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
    profile: ProfileOption = "tiny",
) -> None:
    """The paper's experiments: what alpha, beta, seams and length do.

    Experiments: reuse, alpha, beta, alpha-beta, seams, baselines, length, cross-dataset. A variant that is measured is
    not sampled again: after an interruption the same command goes on.

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


@weights_app.command("fetch")
def weights_fetch(
    name: Annotated[str, typer.Argument(help="A name from `vidrd weights list`.")],
    file: Annotated[
        Path | None,
        typer.Option(parser=typed_path, metavar="FILE", help="Take this file instead of fetching it."),
    ] = None,
) -> None:
    """Fetches weights once, checks their sha256 and converts them to safetensors.

    The last line printed is the path of the converted file in the cache.

    \b
    Example: vidrd weights fetch i3d
    """
    from storage.weights import known_weights
    from tasks.evaluation.i3d_weights import i3d_weights

    known_weights(name)  # refuses an unknown name; so far there is one
    print(i3d_weights(file))


@weights_app.command("list")
def weights_list() -> None:
    """The weights known by name.

    With their licence, and whether they are in the cache.

    \b
    Example: vidrd weights list
    """
    from storage.weights import list_weights

    for weights, cached in list_weights():
        print(f"{weights.name:8} {'cached' if cached else 'not yet':8} {weights.licence}")


@weights_app.command("import")
def weights_import(
    unet: Annotated[
        Path, typer.Option(parser=typed_path, metavar="FILE", help="The release's ModelT2V.pth.")
    ],
    base: Annotated[
        Path,
        typer.Option(parser=typed_path, metavar="DIR", help="Stable Diffusion 2.1-base, a diffusers folder."),
    ],
    out: Annotated[Path, typer.Option(parser=typed_path, metavar="DIR", help="The new model folder.")],
    vae: Annotated[
        Path | None,
        typer.Option(
            parser=typed_path, metavar="DIR", help="The release's vae_finetuned; by default the base's VAE."
        ),
    ] = None,
) -> None:
    """Turns the authors' release into one ordinary model folder.

    Nothing is written unless every key fits; files that could run code are refused.

    \b
    Example: vidrd weights import --unet ModelT2V.pth --vae vae_finetuned --base sd21-base --out vidrd-release
    """
    from tasks.output_folders import check_output_folder

    check_output_folder(out.parent, "out")
    prepare()
    from vidrd_model.published import import_release

    import_release(unet, vae, base, out)
    print(out)


@app.command()
def up(
    prefect_port: Annotated[int, typer.Option(min=1, max=65535)] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    no_schedules: Annotated[
        bool, typer.Option("--no-schedules", help="Switch all schedules off until the next vidrd up.")
    ] = False,
) -> None:
    """Runs the servers, the deployments and a worker.

    Prefect and MLflow on 127.0.0.1, until interrupted. What dies is started again; what a killed one has left is
    ended at the next start, or by vidrd down.

    \b
    Example: vidrd up
    """
    from flows.up.supervisor import up as start

    unwatch()  # it takes its time to end what it serves
    prepare()
    check_surroundings()
    start(prefect_port, mlflow_port, schedules=not no_schedules)


@app.command()
def down() -> None:
    """Ends a running vidrd up, or what is left of a killed one.

    Only processes that a vidrd up of this VIDRD_HOME has started, each named.

    \b
    Example: vidrd down
    """
    from flows.up.down import down as end_all
    from storage.local.home import home

    for line in end_all() or [f"nothing of vidrd up runs for {home()}"]:
        print(line)


@app.command()
def demo() -> None:
    """The main job on the tiny profile, start to end.

    Small corpora of images and videos to a promoted model, generated videos and a report, under $VIDRD_HOME/demo.

    \b
    Example: vidrd demo
    """
    from flows.demo.job import main as run_demo

    raise typer.Exit(run_demo())
