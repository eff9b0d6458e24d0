"""Runs the main job on the embedded profile: from media files to a promoted model, videos and a report.

python -m flows.demo        (also: make demo, vidrd demo)

All it makes lies under $VIDRD_HOME/demo (by default runs/ of the checkout). A second run goes on from the
first: nothing is encoded twice, and its new candidate has to beat the champion.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

from flows.cli.command import start_prefect
from flows.cli.interrupts import watch
from flows.demo.stages import MemoryWatch, StageLog
from flows.environment import prepare
from flows.terminal import tell
from storage.local.home import home, set_home
from storage.local.secret_files import make_private

PROFILE = "tiny"
CLIPS_PER_VIDEO = 3
PROMPTS = (
    "a red circle moving right",
    "a blue square moving up",
    "a yellow square moving left",
    "a white triangle moving down",
    "a magenta triangle moving up",
    "a green circle moving left",
)
NUM_STAGES = 9


def main() -> int:
    """Runs the demo and returns the exit code; a failure is one line here and a traceback in demo.log."""
    interrupts = watch(["make", "demo"])
    folder = _prepare()
    try:
        run_demo(folder)
    except BaseException as failure:
        if interrupts.is_cause_of(failure):
            interrupts.say()
            return interrupts.exit_code
        if not isinstance(failure, Exception):
            raise
        log = folder / "demo.log"
        log.write_text("".join(traceback.format_exception(failure)), encoding="utf-8")
        tell(f"error: {failure} (details: {_short(log)})")
        return 1
    return 0


def _prepare() -> Path:
    """Points everything at the demo's own folder: its registry and its Prefect server are nobody else's."""
    folder = home() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    set_home(folder)
    for elsewhere in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_PROFILE"):
        os.environ.pop(elsewhere, None)
    make_private(folder / "prefect")
    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    os.environ["PREFECT_PROFILES_PATH"] = str(folder / "prefect" / "profiles.toml")
    # A failure is told once, by the stage it happened in.
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
    prepare()
    return folder


def run_demo(folder: Path) -> dict[str, Any]:
    """Runs every stage in one Prefect flow `demo` and returns what demo.json holds; raises StageFailed."""
    for stale in ("demo.json", "report.html", "demo.log"):
        (folder / stale).unlink(missing_ok=True)
    memory = MemoryWatch()
    log = StageLog(NUM_STAGES, memory)
    log.say(f"vidrd demo: {NUM_STAGES} stages on {os.cpu_count()} cores, into {_short(folder)}")
    from tasks.cluster import shutdown_ray

    with memory:
        try:
            _start(log)
            summary = _in_prefect(folder, log, memory)
        finally:
            shutdown_ray()
    log.say(f"done in {summary['seconds_total']:.0f} s; at most {_gigabytes(memory.peak_bytes)}. Look at")
    for path in (folder / "report.html", folder / "samples", folder / "demo.json"):
        log.say(f"  {_short(path)}")
    return summary


def _start(log: StageLog) -> None:
    with log.stage("start", "a Prefect server and a Ray session for this run") as out:
        from tasks.cluster import ensure_ray

        start_prefect()  # every flow below shares it
        ensure_ray()
        out.append("both on this machine's loopback only")


def _in_prefect(folder: Path, log: StageLog, memory: MemoryWatch) -> dict[str, Any]:
    from prefect import flow

    @flow(name="demo")
    def demo() -> dict[str, Any]:
        results: dict[str, Any] = {}
        _build(folder, log, results)
        _train_and_promote(log, results)
        _generate(folder, log, results)
        return _report(folder, log, memory, results)

    return demo()


def _build(folder: Path, log: StageLog, results: dict[str, Any]) -> None:
    from flows.build_dataset.flow import BuildDatasetParams, build_dataset
    from tasks.tiny.world.corpora import write_tiny_world
    from tasks.tiny.world.place import WORLD_SEED

    with log.stage("tiny world", "four corpora of real media files, some captions wrong on purpose") as out:
        corpora = write_tiny_world(folder / "tiny-world", WORLD_SEED)
        files = sum(path.is_file() for path in (corpora.parent / "corpora").rglob("*"))
        out.append(f"{files} files in {_short(corpora.parent)}")
    params = BuildDatasetParams(corpora=corpora, dataset=folder / "datasets" / "tiny", profile=PROFILE)
    for name, about in (
        ("build-dataset", "read, cut, score captions with CLIP, encode, commit"),
        ("build-dataset again", "the same input once more: nothing to encode"),
    ):
        with log.stage(name, about) as out:
            built = results[name] = build_dataset(params)
            out.append(
                f"{built['tag']}: {built['dataset_clips']} clips, {built['dataset_rejected']} rejected, "
                f"{built['dataset_quarantined']} files quarantined; {built['encoded']} encoded just now"
            )


def _train_and_promote(log: StageLog, results: dict[str, Any]) -> None:
    from flows.evaluate.flow import evaluate
    from flows.evaluate.request import EvaluateParams
    from flows.promote.flow import PromoteParams, promote
    from flows.retrain.flow import RetrainParams, retrain

    with log.stage("retrain", "temporal layers, then the temporal decoder, on two Ray Train workers") as out:
        retrained = results["retrain"] = retrain(RetrainParams(profile=PROFILE))
        for part, figures in retrained["parts"].items():
            losses = ", ".join(f"{whose} {loss['loss']:.4f}" for whose, loss in figures["heldout"].items())
            left_out = "" if figures["kept"] else "; no better than before, so the model keeps the one it had"
            out.append(f"{part}: held-out loss {losses}{left_out}")
    with log.stage("evaluate", "generated videos beside real ones") as out:
        evaluated = results["evaluate"] = evaluate(EvaluateParams(model=retrained["model"], profile=PROFILE))
        out += [
            f"{name} {metric['value']:.4g} (protocol {metric['protocol']}, n={metric['n']})"
            for name, metric in evaluated["metrics"].items()
        ]
        out += [f"{name} not computed: {why}" for name, why in evaluated["unavailable"].items()]
    with log.stage("promote", "candidate to champion, if it passes the gate") as out:
        promoted = results["promote"] = promote(PromoteParams(model=retrained["model"], profile=PROFILE))
        out.append(f"{retrained['model']}: {promoted['reason']}")


def _generate(folder: Path, log: StageLog, results: dict[str, Any]) -> None:
    from flows.generate.flow import GenerateParams, generate
    from storage.registry.names import CHAMPION_REF

    # Where no champion exists because the gate refused the first candidate, its videos show why.
    champion = results["promote"]["champion"]
    model = results["retrain"]["model"] if champion is None else CHAMPION_REF
    with log.stage("generate", f"{len(PROMPTS)} videos of {CLIPS_PER_VIDEO} clips from {model}") as out:
        prompts_file = folder / "prompts.txt"
        prompts_file.write_text("\n".join(PROMPTS) + "\n", encoding="utf-8")
        params = GenerateParams(
            prompts_file=prompts_file,
            out_dir=folder / "samples",
            clips=CLIPS_PER_VIDEO,
            model=model,
            profile=PROFILE,
        )
        generated = results["generate"] = generate(params)
        out.append(f"{len(generated['videos'])} mp4 files and contact sheets in {_short(folder / 'samples')}")


def _report(folder: Path, log: StageLog, memory: MemoryWatch, results: dict[str, Any]) -> dict[str, Any]:
    from flows.demo.summary import make_summary, write_json
    from flows.profile import load_profile
    from storage.dataset.clip_dataset import ClipDataset
    from tasks.pages.collect import collect_media
    from tasks.pages.report import write_report
    from tasks.pages.truth_check import check_clips, filter_counts
    from tasks.tiny.world.truth import read_truth

    profile, world = load_profile(PROFILE), folder / "tiny-world"
    corpora = world / "corpora.toml"
    with log.stage("report", "one page with all of it") as out:
        dataset = ClipDataset.open(folder / "datasets" / "tiny")
        clips = check_clips(dataset, read_truth(world))
        results["dataset"] = dataset.info()
        results["clip_filter"] = filter_counts(clips, profile.filter.clip_threshold)
        summary = make_summary(folder, results)
        videos, curves = results["generate"]["videos"], results["retrain"]["curves"]
        media = collect_media(dataset, clips, videos, curves, corpora, profile.clips)
        summary |= _spent(log, memory)
        size = write_report(summary, media, folder / "report.html").stat().st_size
        out.append(f"report.html, {size / 1e6:.1f} MB in one file")
    # Last, and with the seconds of the report too: where demo.json lies, everything else does.
    summary |= _spent(log, memory)
    write_json(summary, folder / "demo.json")
    return summary


def _spent(log: StageLog, memory: MemoryWatch) -> dict[str, Any]:
    return {
        "seconds_per_stage": dict(log.seconds),
        "seconds_total": round(log.elapsed_s, 2),
        "peak_memory_bytes": memory.peak_bytes,
        "peak_memory_bytes_per_stage": dict(log.peak_bytes),
    }


def _short(path: Path) -> str:
    """Returns the path as the user would type it from here, where that is shorter."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
