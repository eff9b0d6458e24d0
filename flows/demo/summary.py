"""Puts demo.json together from what the flows of a demo returned."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def make_summary(folder: Path, results: Mapping[str, Any]) -> dict[str, Any]:
    """Returns everything but times and memory; `results` has one entry per stage, named like it.

    Losses and metrics are plain figures; files are named relative to the demo's folder.
    """
    info, retrained, evaluated = results["dataset"], results["retrain"], results["evaluate"]
    promoted, generated = results["promote"], results["generate"]
    temporal = retrained["parts"]["temporal"]
    return {
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "profile": "tiny",
        "machine": {
            "cpus": os.cpu_count(),
            "platform": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
        },
        "corpora": sorted(info["clips_by"]["corpus"]),
        "clips_per_kind": info["clips_by"]["kind"],
        "rejected_by_reason": info["rejected_by"]["reason"],
        "quarantined": info["quarantined"],
        "quarantine": [
            {"file": f"{item['corpus']}/{item['source_uri']}", "stage": item["stage"], "error": item["error"]}
            for item in info["quarantine"]
        ],
        "dataset": {
            "path": _relative(folder, info["dataset"]),
            "tag": info["tag"],
            "version": info["version"],
        },
        "builds": {name: _counts(results[name]) for name in ("build-dataset", "build-dataset again")},
        "clip_filter": results["clip_filter"],
        "first_training_loss": temporal["first_loss"],
        "last_training_loss": temporal["last_loss"],
        "training": {
            part: {
                name: figures[name] for name in ("first_loss", "last_loss", "steps", "heldout_source", "kept")
            }
            for part, figures in retrained["parts"].items()
        },
        "held_out_loss": {
            part: {whose: measured["loss"] for whose, measured in figures["heldout"].items()}
            for part, figures in retrained["parts"].items()
        },
        "metrics": {
            name: {
                "value": metric["value"],
                "protocol": metric["protocol"],
                "n": metric["n"],
                "standard_error": metric.get("standard_error"),
                "real_clips": evaluated["reference"]["metrics"].get(name, {}).get("value"),
            }
            for name, metric in evaluated["metrics"].items()
        },
        "metrics_unavailable": evaluated["unavailable"],
        "promotion": {
            "promoted": promoted["promoted"],
            "verdict": promoted["verdict"],
            "reason": promoted["reason"],
            "champion": promoted["champion"],
        },
        "model": {
            "name": "vidrd",
            "version": retrained["version"],
            "alias": "champion" if promoted["promoted"] else retrained["alias"],
            "git_commit": retrained["git_commit"],
        },
        "samples_model": {"ref": generated["model"], "version": generated["model_version"]},
        "samples": [_sample(folder, video) for video in generated["videos"]],
    }


def _counts(built: Mapping[str, Any]) -> dict[str, int]:
    return {name: built[name] for name in ("read", "skipped", "encoded")}


def _sample(folder: Path, video: Mapping[str, Any]) -> dict[str, Any]:
    files = {name: _relative(folder, video[name]) for name in ("file", "contact_sheet")}
    return {**video, **files}


def _relative(folder: Path, path: str) -> str:
    return Path(path).relative_to(folder).as_posix()
