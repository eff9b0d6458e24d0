"""Captions, names, licences and prompts of an attacker are text in every output of every command."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.build_dataset.run import as_markdown as build_markdown
from flows.evaluate.report import as_markdown as evaluation_markdown
from flows.generate.run import _as_markdown as generate_markdown
from flows.promote.record import decision_markdown
from flows.retrain.proposal import as_markdown as proposal_markdown
from flows.retrain.report import as_markdown as retrain_markdown
from storage.dataset.clip_dataset import ClipDataset
from tasks.evaluation.metrics import ReportedMetric
from tasks.evaluation.report import EvaluationReport, FinishedVideos, ReferenceReport
from tasks.evaluation.setup import EvaluationSetup, ProtocolSetup
from tasks.evaluation.verdict import Decision
from tasks.experiments.results import Result, Row
from tasks.experiments.results import as_markdown as ablation_markdown
from tasks.pages.decision import write_decision
from tasks.planning.markdown import as_markdown as plan_markdown
from tasks.tiny.world.drawing import Scene, draw_clip
from tasks.tiny.world.media import write_image
from tasks.training.model_card import CARD_FILE, write_model_card
from tests.shown_words import ESCAPES, MARK, WORDS, assert_printable, check_markdown, check_page
from tests.test_model_card import lineage
from vidrd_model.metrics.intervals import Estimate

HOSTILE = WORDS + ESCAPES


def _plan() -> dict[str, Any]:
    estimate = {"value": 1.0, "low": 0.5, "high": 2.0}
    corpus = {
        "name": HOSTILE, "kind": "images", "sources": 1, "sampled": 1, "failed": 0, "clips_per_source": 1.0,
        "kept_share": None, "bytes_per_source": 9.0, "seconds_per_source": {"decode": 0.1},
    }  # fmt: skip
    return {
        "sources": 10, "profile": HOSTILE, "measured_on": HOSTILE, "machines": {"cpus": 1, "gpus": 0},
        "hours": estimate, "hours_by_resource": {"core": estimate}, "clips": estimate, "clips_kept": estimate,
        "bytes": estimate, "cost": None, "limit": {"stage": "decode", "share": 1.0, "on": "core"}, "enough": None,
        "stages": {"decode": {"on": "core", "hours_of_one": estimate}}, "corpora": [corpus],
        "assumptions": [HOSTILE],
    }  # fmt: skip


def _evaluation() -> EvaluationReport:
    metric = ReportedMetric(Estimate(1.0, 0.5, 2.0, 0.1, 4), 4, HOSTILE)
    protocol = ProtocolSetup(
        protocol=HOSTILE, num_frames=8, frame_repeats=1, fps_rule=HOSTILE, fps=8.0, position=HOSTILE, split=HOSTILE,
        prompts=HOSTILE, ddof=1, is_splits=1, num_videos=4, num_reference=4,
    )  # fmt: skip
    setup = EvaluationSetup(
        protocol=protocol, seed=0, width=64, height=64, reference=HOSTILE, prompts_digest=HOSTILE, networks=HOSTILE
    )  # fmt: skip
    unreadable = [{"file": HOSTILE, "error": HOSTILE}]
    return EvaluationReport(
        model=HOSTILE, protocol=HOSTILE, about=HOSTILE, n=4, seed=0, fps=8.0, setup=setup, metrics={"fvd": metric},
        fvd_over_time=None, reference=ReferenceReport(HOSTILE, HOSTILE, 4, False, unreadable, {}),
        unavailable={"is": HOSTILE}, cut_prompts={}, samples=[], seconds={}, lineage=HOSTILE,
        sampling={HOSTILE: {"value": HOSTILE, "from": HOSTILE}},
    )  # fmt: skip


def test_a_report_of_finished_videos_is_plain() -> None:
    folder = FinishedVideos(folder="v", digest="d", found=4, asked=4, frames=8, captions=True)
    plain = replace(_evaluation(), videos=folder).as_dict()
    assert plain["videos"] == {
        "folder": "v", "digest": "d", "found": 4, "asked": 4, "frames": 8, "captions": True
    }  # fmt: skip
    assert "model" not in plain


def _build() -> dict[str, Any]:
    counts = dict.fromkeys(
        (
            "read",
            "skipped",
            "encoded",
            "rescored",
            "measured",
            "captioned",
            "moved",
            "vanished",
            "dataset_clips",
        ),
        1,
    )
    by = {"kept_by_kind": {HOSTILE: 1}, "rejected": {HOSTILE: 1}, "quarantined_by_stage": {HOSTILE: 1}}
    by |= {"thresholds_set": {"clip_threshold": 0.5}, "cut_captions": {HOSTILE: {"cut": 1}}}
    return {"dataset": HOSTILE, "tag": HOSTILE, "seconds": {HOSTILE: 1.0}} | counts | by


def _retraining() -> dict[str, Any]:
    losses = {whose: {"loss": 0.5} for whose in ("fresh", "base", "candidate")}
    figures = {"steps": 1, "seconds": 1.0, "first_loss": 1.0, "last_loss": 0.5, "heldout": losses}
    parts = {"temporal": figures | {"heldout_source": HOSTILE, "kept": True}}
    return {
        "model": HOSTILE,
        "alias": "candidate",
        "dataset": HOSTILE,
        "dataset_tag": "t",
        "parts": parts,
        "registered": True,
    }


def _generation() -> dict[str, Any]:
    video = {"prompt": HOSTILE, "seed": 7, "frames": 8, "file": HOSTILE}
    sampling = {"negative_prompt": {"value": HOSTILE, "from": "option"}}
    return {"model": HOSTILE, "seconds": 1.0, "videos": [video, video], "sampling": sampling}


WRITERS = {
    "build": lambda: build_markdown(_build()),
    "evaluation": lambda: evaluation_markdown(_evaluation()),
    "generate": lambda: generate_markdown(_generation()),
    "promote": lambda: decision_markdown(1, None, Decision("refuse", HOSTILE)),
    "proposal": lambda: proposal_markdown(1, None, Decision("refuse", HOSTILE), "vidrd promote"),
    "retrain": lambda: retrain_markdown(_retraining()),
    "ablation": lambda: ablation_markdown(
        Result(HOSTILE, HOSTILE, [Row(HOSTILE, 1, 4, {}, HOSTILE)], notes=[HOSTILE])
    ),
    "plan": lambda: plan_markdown(_plan()),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_markdown_shows_words_as_words(writer: str) -> None:
    page = check_markdown(WRITERS[writer]())
    assert MARK in page.text


def test_a_decision_page_shows_words_as_words(tmp_path: Path) -> None:
    path = write_decision(
        Decision("refuse", HOSTILE), 1, None, {HOSTILE: HOSTILE}, tmp_path / "decision.html"
    )
    page = check_page(path.read_text(encoding="utf-8"))
    assert WORDS in page.text


@pytest.mark.slow
def test_hostile_words_go_through_all_commands(
    tmp_home: Path, tmp_path: Path, tiny_profile: Any, ray_session: None, prefect_session: None, capfd: Any
) -> None:
    """Build, info, report, generate, their artifacts, and the card of a model trained on it."""
    from flows.build_dataset.flow import BuildDatasetParams, build_dataset
    from flows.cli.answer import answer
    from flows.cli.app import app
    from flows.generate.flow import GenerateParams, generate

    folder, corpora = tmp_path / "world", tmp_path / "corpora.toml"
    folder.mkdir()
    escapes = ESCAPES.replace("\r", "")  # ends a row of a manifest
    name = f"{MARK}<img src=x onerror={MARK}()>|`{escapes}`.png"
    for number in range(4):
        frame = draw_clip(Scene("red", "circle", "left"), np.random.default_rng(number))[0]
        write_image(folder / f"{number}.png", frame)
    write_image(folder / "named.png", draw_clip(Scene("blue", "square", "up"), np.random.default_rng(9))[0])
    (folder / "named.png").rename(folder / name)
    (folder / f"not{name}").write_text("no image")
    rows = [[file.name, WORDS + escapes] for file in sorted(folder.iterdir())]
    with (folder / "manifest.tsv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n")
        table.writerows([["file", "caption"], *rows])
    entry = {
        "name": HOSTILE[:200],
        "kind": "images",
        "format": "folder",
        "path": str(folder),
        "licence": HOSTILE,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
    corpora.write_text("\n".join(["[[corpus]]", *lines]), encoding="utf-8")
    dataset = tmp_path / "data"
    build = ["build-dataset", "--corpora", str(corpora), "--dataset", str(dataset), "--clip-threshold", "-1"]
    page, prompts, out = tmp_path / "report.html", tmp_path / "prompts.txt", tmp_path / "videos"
    prompts.write_text(f"{HOSTILE}\n=HYPERLINK({MARK})\n", encoding="utf-8")
    shown = ""
    for command in (
        build,
        ["dataset", "info", str(dataset)],
        ["dataset", "report", str(dataset), "--out", str(page)],
    ):
        assert app(command, standalone_mode=False) in (0, None)
        shown += "".join(capfd.readouterr())
    # The flow itself, for its artifacts; what is in quarantine is tried once more.
    answer(build_dataset(BuildDatasetParams(action="retry-quarantine", dataset=dataset)))
    answer(generate(GenerateParams(prompts_file=prompts, out_dir=out, clips=1)))
    shown += "".join(capfd.readouterr())
    with pytest.raises(Exception, match="nowhere") as caught:
        app(["dataset", "info", f"{tmp_path}/nowhere{ESCAPES}"], standalone_mode=False)
    assert_printable(str(caught.value))
    assert MARK in shown
    assert_printable(shown)

    assert MARK in check_page(page.read_text(encoding="utf-8")).text
    artifacts = _artifacts()
    assert {"build-dataset", "quarantine", "generate"} <= set(artifacts)
    for kind, data, description in artifacts.values():
        check_markdown(description or "")
        if kind == "markdown":
            check_markdown(data)
        elif kind == "table":
            for row in json.loads(data):
                for cell in row.values():
                    check_markdown(str(cell))
    assert MARK in artifacts["generate"][1] and MARK in artifacts["quarantine"][1]

    manifest = list(csv.reader((out / "manifest.tsv").open(encoding="utf-8"), delimiter="\t"))
    assert [row[0] for row in manifest] == ["file", "0001.mp4", "0002.mp4"]
    assert all(len(row) == 3 for row in manifest) and manifest[2][1] == f"=HYPERLINK({MARK})"
    assert_printable((out / "manifest.tsv").read_text(encoding="utf-8"))

    model = Path(shutil.copytree(tiny_profile.model, tmp_path / "model"))
    write_model_card(
        model, ClipDataset.open(dataset), lineage(tiny_profile, base_licence=HOSTILE, start=HOSTILE)
    )
    card = (model / CARD_FILE).read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    assert_printable(front)
    _, _, text = body.partition("arxiv.org/abs/2309.03549)")  # its own link stands in the first line
    assert MARK in check_markdown(text).text


def _artifacts() -> dict[str, tuple[str | None, str, str | None]]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        found = client.read_latest_artifacts()
    return {str(a.key): (a.type, str(a.data), a.description) for a in found}
