"""What is kept of an evaluation: its report and rows as files, and how the figures were taken as tags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.evaluate.report import as_markdown
from storage.registry.names import NUM_VIDEOS_TAG, PROTOCOL_TAG, REFERENCE_TAG, SEED_TAG, UNAVAILABLE_TAG

if TYPE_CHECKING:
    from tasks.evaluation.evaluate import Evaluation

MEASURES_FILE, REFERENCE_FILE = "measures.npz", "reference.npz"
REPORT_FILE, PAGE_FILE = "report.json", "report.md"


def write_evaluation(folder: Path, report: Mapping[str, Any], evaluation: Evaluation) -> list[Path]:
    """The report and the rows behind it as files of a folder."""
    from storage.local.json_files import write_json
    from tasks.evaluation.features import save_measures

    save_measures(folder / MEASURES_FILE, evaluation.measures, {})
    save_measures(folder / REFERENCE_FILE, evaluation.reference, {})
    write_json(folder / REPORT_FILE, dict(report))
    (folder / PAGE_FILE).write_text(as_markdown(report), encoding="utf-8")
    return [folder / file for file in (MEASURES_FILE, REFERENCE_FILE, REPORT_FILE, PAGE_FILE)]


def evaluation_tags(report: Mapping[str, Any]) -> dict[str, str]:
    """What a version or a run says of how its figures were taken."""
    return {
        PROTOCOL_TAG: report["protocol"],
        NUM_VIDEOS_TAG: str(report["n"]),
        SEED_TAG: str(report["seed"]),
        REFERENCE_TAG: report["reference"]["digest"],
        UNAVAILABLE_TAG: "; ".join(f"{name}: {why}" for name, why in report["unavailable"].items()),
    }
