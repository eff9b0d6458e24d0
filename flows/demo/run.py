"""Runs the stages of the demo, one after the other and each as its command does: request first, then the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.build_dataset import request as building
from flows.build_dataset.run import run as build_dataset
from flows.demo.stages import StageLog, short_path
from flows.demo.summary import make_summary
from flows.evaluate import request as evaluating
from flows.evaluate.run import run as evaluate
from flows.generate import request as generating
from flows.generate.run import run as generate
from flows.profile import load_profile
from flows.promote import request as promoting
from flows.promote.run import run as promote
from flows.retrain import request as retraining
from flows.retrain.training import run as retrain
from storage.dataset.clip_dataset import ClipDataset
from storage.local.json_files import write_json
from storage.registry.names import CHAMPION_REF
from tasks.cluster import ensure_ray
from tasks.pages.collect import collect_media
from tasks.pages.report import write_report
from tasks.pages.truth_check import check_clips, filter_counts
from tasks.tiny.world.corpora import write_tiny_world
from tasks.tiny.world.place import WORLD_SEED
from tasks.tiny.world.truth import read_truth

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


def start(out: list[str]) -> None:
    """Starts the Ray session that all stages share."""
    ensure_ray()
    out.append("on this machine's loopback only")


def run_stages(folder: Path, log: StageLog) -> dict[str, Any]:
    """Runs every stage after the start and returns what demo.json holds; raises StageFailed."""
    results: dict[str, Any] = {}
    _build(folder, log, results)
    _train_and_promote(log, results)
    _generate(folder, log, results)
    return _report(folder, log, results)


def _build(folder: Path, log: StageLog, results: dict[str, Any]) -> None:
    with log.stage("tiny world", "four corpora of real media files, some captions wrong on purpose") as out:
        corpora = write_tiny_world(folder / "tiny-world", WORLD_SEED)
        files = sum(path.is_file() for path in (corpora.parent / "corpora").rglob("*"))
        out.append(f"{files} files in {short_path(corpora.parent)}")
    params = building.BuildDatasetParams(
        corpora=corpora, dataset=folder / "datasets" / "tiny", profile=PROFILE
    )
    for name, about in (
        ("build-dataset", "read, cut, score captions with CLIP, encode, commit"),
        ("build-dataset again", "the same input once more: nothing to encode"),
    ):
        with log.stage(name, about) as out:
            built = results[name] = build_dataset(building.read_request(params))
            out.append(
                f"{built['tag']}: {built['dataset_clips']} clips, {built['dataset_rejected']} rejected, "
                f"{built['dataset_quarantined']} files quarantined; {built['encoded']} encoded just now"
            )


def _train_and_promote(log: StageLog, results: dict[str, Any]) -> None:
    with log.stage("retrain", "temporal layers, then the temporal decoder, on two Ray Train workers") as out:
        request = retraining.read_request(retraining.RetrainParams(profile=PROFILE))
        retrained = results["retrain"] = retrain(request)
        for part, trained in retrained["parts"].items():
            losses = ", ".join(f"{whose} {loss['loss']:.4f}" for whose, loss in trained["heldout"].items())
            left_out = "" if trained["kept"] else "; no better than before, so the model keeps the one it had"
            out.append(f"{part}: held-out loss {losses}{left_out}")
    model = retrained["model"]
    with log.stage("evaluate", "generated videos beside real ones") as out:
        asked = evaluating.EvaluateParams(model=model, profile=PROFILE)
        evaluated = results["evaluate"] = evaluate(evaluating.read_request(asked))
        out += [
            f"{name} {metric['value']:.4g} (protocol {metric['protocol']}, n={metric['n']})"
            for name, metric in evaluated["metrics"].items()
        ]
        out += [f"{name} not computed: {why}" for name, why in evaluated["unavailable"].items()]
    with log.stage("promote", "candidate to champion, if it passes the gate") as out:
        wished = promoting.PromoteParams(model=model, profile=PROFILE)
        promoted = results["promote"] = promote(promoting.read_request(wished))
        out.append(f"{model}: {promoted['reason']}")


def _generate(folder: Path, log: StageLog, results: dict[str, Any]) -> None:
    # Where no champion exists because the gate refused the first candidate, its videos show why.
    champion = results["promote"]["champion"]
    model = results["retrain"]["model"] if champion is None else CHAMPION_REF
    with log.stage("generate", f"{len(PROMPTS)} videos of {CLIPS_PER_VIDEO} clips from {model}") as out:
        prompts_file = folder / "prompts.txt"
        prompts_file.write_text("\n".join(PROMPTS) + "\n", encoding="utf-8")
        params = generating.GenerateParams(
            prompts_file=prompts_file,
            out_dir=folder / "samples",
            clips=CLIPS_PER_VIDEO,
            model=model,
            profile=PROFILE,
        )
        generated = results["generate"] = generate(generating.read_request(params))
        videos = len(generated["videos"])
        out.append(f"{videos} mp4 files and contact sheets in {short_path(folder / 'samples')}")


def _report(folder: Path, log: StageLog, results: dict[str, Any]) -> dict[str, Any]:
    profile, world = load_profile(PROFILE), folder / "tiny-world"
    with log.stage("report", "one page with all of it") as out:
        dataset = ClipDataset.open(folder / "datasets" / "tiny")
        clips = check_clips(dataset, read_truth(world))
        results["dataset"] = dataset.info()
        results["clip_filter"] = filter_counts(clips, profile.filter.clip_threshold)
        summary = make_summary(folder, results)
        videos, curves = results["generate"]["videos"], results["retrain"]["curves"]
        media = collect_media(dataset, clips, videos, curves, world / "corpora.toml", profile.clips)
        summary |= log.spent()
        size = write_report(summary, media, folder / "report.html").stat().st_size
        out.append(f"report.html, {size / 1e6:.1f} MB in one file")
    # Last, and with the seconds of the report too: where demo.json lies, everything else does.
    summary |= log.spent()
    write_json(folder / "demo.json", summary)
    return summary
