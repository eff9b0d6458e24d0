"""The experiments: what their variants change, what is measured of them, what is recommended, and that runs go on."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flows.ablate.flow import ablate
from flows.ablate.request import AblateParams, read_request
from flows.profile import Profile, load_profile, profile_names
from storage.registry.registry import Registry
from tasks.errors import RequestError
from tasks.evaluation.feature_cache import cache_root
from tasks.evaluation.features import VideoFeatures
from tasks.evaluation.settings import EvaluationSettings, GateSettings
from tasks.experiments.costs import measure_costs
from tasks.experiments.cross_dataset import Contestant, cross_dataset
from tasks.experiments.diversity import between_clips, between_seeds
from tasks.experiments.experiments import Experiment, Variant, experiments
from tasks.experiments.results import Result, Row, as_markdown, read_results, value_of, write_result
from tasks.experiments.run import ExperimentContext, run_experiment
from tasks.experiments.settings import AblationSettings
from tasks.experiments.shown_seams import seam_metrics, seam_steps
from tasks.experiments.trade_off import failures, recommended
from tasks.generation.settings import SamplingSettings
from tasks.pages.ablation import write_ablation
from tasks.pages.experiment_charts import draw_charts, write_charts
from tests.chart_shapes import words
from tests.i3d_files import put_i3d_weights
from tests.saved_settings import without_saved_settings
from tests.training_dataset import write_small_model
from vidrd_model.frame_times import SEAMS
from vidrd_model.metrics.intervals import Estimate
from vidrd_model.seams import SeamJoiner

PROJECT = Path(__file__).parents[1]

# A run of its own process, killed with its session of Ray once the first variant is measured.
RUN = """
import sys
project, model, folder = sys.argv[1:]
sys.path.insert(0, project)
from pathlib import Path
from tests.test_experiments import run_small
run_small(Path(model), Path(folder), lambda done, total, note: print(done, note, flush=True))
"""


@pytest.mark.parametrize("name", profile_names())
def test_the_same_experiments_are_built_for_every_profile(name: str) -> None:
    base = load_profile(name).sampling
    found = experiments(base, AblationSettings())
    assert list(found) == [
        "reuse", "alpha", "beta", "alpha-beta", "seams", "steps", "baselines", "length", "cross-dataset"
    ]  # fmt: skip
    for experiment in found.values():
        labels = [(variant.label, variant.num_clips) for variant in experiment.variants]
        assert len(set(labels)) == len(labels)
        for variant in experiment.variants:
            changed = variant.sampling(base).model_dump()
            changes = {key for key in changed if changed[key] != base.model_dump()[key]}
            of_a_baseline = {"clips_at_once"} if "method" in variant.overrides else set()
            assert changes <= set(variant.overrides) | of_a_baseline


def test_the_parts_of_the_reuse_are_alone() -> None:
    base = SamplingSettings(prompt_frames=4, alpha=4, beta=0.4)
    by_label = {v.label: v.sampling(base) for v in experiments(base, AblationSettings())["reuse"].variants}
    found = {label: (s.prompt_frames, s.alpha) for label, s in by_label.items()}
    assert found == {
        "all three": (4, 4.0),
        "FNR alone": (0, math.inf),
        "PNS alone": (0, 4.0),
        "DSG alone": (4, 0.0),
        "naive": (0, 0.0),
    }


@given(
    seam=st.sampled_from(SEAMS),
    n=st.integers(2, 9),
    clips=st.integers(2, 5),
    share=st.floats(0, 1, exclude_max=True),
)
def test_seams_are_where_the_joiner_puts_them(seam: str, n: int, clips: int, share: float) -> None:
    """Frames that name their clip and whether they are guided: the name changes exactly at the seams."""
    m = int(share * (n // 2 + 1))
    joiner = SeamJoiner(seam, m)
    shown = []
    for clip in range(clips):
        # Blended frames get a value between those of two clips, so they are told apart as well.
        frames = torch.full((1, n, 1, 1, 3), 40 * clip, dtype=torch.uint8)
        frames[:, : m if clip else 0] += 0 if seam == "crossfade" else 13
        shown.append(joiner.push(frames))
    if (held := joiner.finish()) is not None:
        shown.append(held)
    values = torch.cat(shown, dim=1)[0, :, 0, 0, 0].tolist()
    found = seam_steps(seam, n, m, clips)
    changes = [k for k, (a, b) in enumerate(itertools.pairwise(values)) if a != b]
    if seam == "crossfade" and m:
        stretches = list(zip(found[::2], found[1::2], strict=True))
        assert set(found) <= set(changes)
        assert all(any(first <= k <= last for first, last in stretches) for k in changes)
    else:
        assert changes == found


def test_a_jump_a_pause_and_frames_that_come_again_are_seen() -> None:
    forward = np.arange(8, dtype=np.uint8)
    jump = np.concatenate([forward, 100 + forward])
    pause = np.concatenate([forward, 7 + forward])
    back = np.concatenate([forward, forward[::-1]])
    figures = {
        name: seam_metrics(np.broadcast_to(values[:, None, None, None], (16, 4, 4, 3)), [7], 8)
        for name, values in (("jump", jump), ("pause", pause), ("back", back))
    }
    assert figures["jump"] == {"jump": 93.0, "pause": 93.0, "repeated": 0.0, "frames": 16.0}
    assert figures["pause"]["pause"] == 0.0 and figures["pause"]["repeated"] == 0.0
    assert figures["back"]["repeated"] == pytest.approx(
        7 / 14
    )  # the boundary frame's neighbour is no repetition


def _features(features_nwd: np.ndarray) -> VideoFeatures:
    n, w = features_nwd.shape[:2]
    windows, whole = np.zeros((n, w)), np.zeros(n)
    return VideoFeatures(
        features_nwd, np.zeros((n, 0)), windows, windows, windows, whole, whole, whole, whole, whole,
        np.zeros((n, 0)), np.zeros((n, 0)), np.zeros(n, np.uint64),
    )  # fmt: skip


def test_diversity_is_one_for_strangers_and_nothing_for_copies() -> None:
    rng = np.random.default_rng(0)
    first, strangers = rng.standard_normal((2, 200, 1, 400))
    still = _features(np.repeat(first, 3, axis=1))
    other = _features(np.repeat(strangers, 3, axis=1))
    wandering = _features(np.concatenate([first, rng.standard_normal((200, 2, 400))], axis=1))
    copies = between_clips(still, other)
    free = between_clips(wandering, other.take(range(100)))
    seeds = between_seeds(still, other)
    assert copies is not None and copies.value == 0
    assert free is not None and free.value == pytest.approx(1, rel=0.03) and free.high - free.low < 0.05
    assert seeds is not None and seeds.value == pytest.approx(math.sqrt(2 * 400), rel=0.02)
    nothing = _features(np.zeros((4, 3, 0)))
    assert between_clips(nothing, nothing) is None and between_seeds(nothing, nothing) is None


REAL = Row("real clips", 0, 8, {"frozen": 0.1, "text_score_end": 0.5})


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from([0.5, 2.9, 3.1])),
        min_size=1,
        max_size=9,
    )
)
def test_recommended_are_sound_and_unbeaten(points: list[tuple[int, int, float]]) -> None:
    rows = [
        Row(str(i), 3, 8, {"between_clips": v, "cycling": c, "seam_boundary": s})
        for i, (v, c, s) in enumerate(points)
    ]
    chosen = recommended(rows, REAL, GateSettings())
    sound = [row for row in rows if row.metrics["seam_boundary"] != 3.1]
    assert bool(chosen) == bool(sound) and all(row in sound for row in chosen)
    for row in sound:
        v, c = row.metrics["between_clips"], row.metrics["cycling"]
        better = [
            o
            for o in sound
            if (o.metrics["between_clips"], -value_of(o.metrics["cycling"])) != (v, -value_of(c))
            and value_of(o.metrics["between_clips"]) >= value_of(v)
            and value_of(o.metrics["cycling"]) <= value_of(c)
        ]
        assert (row in chosen) == (not better)


def test_a_signature_beyond_its_limit_is_named() -> None:
    gate = GateSettings()
    row = Row("x", 3, 8, {"seam_guided_to_free": 3.5, "frozen": 0.3, "text_score_end": 0.34})
    assert failures(row, REAL, gate) == ["seam_guided_to_free", "frozen", "text_score_end"]
    assert failures(Row("y", 3, 8, {"frozen": 0.11, "text_score_end": 0.36}), REAL, gate) == []
    unknown = Row("real clips", 0, 8, {"text_score_end": -0.013})
    assert failures(Row("z", 3, 8, {"text_score_end": -0.02}), unknown, gate) == []


def test_results_are_written_read_and_drawn(tmp_path: Path) -> None:
    estimate = Estimate(1.5, 1.0, 2.0, 0.2, 8)
    rows = [
        Row("vidrd", 2, 4, {"peak_mib": 3.0, "cycling": estimate}),
        Row("vidrd", 4, 4, {"peak_mib": 3.5, "cycling": estimate}),
        Row("freenoise", 4, 0, remark="out of memory at 4 clips"),
    ]
    length = Result("length", "What <grows>?", rows, REAL, ["a note"])
    plain = Result(
        "beta", "Which?", [Row("beta 0.4", 3, 8, {"between_clips": 0.4, "cycling": estimate}, "recommended")]
    )
    for result in (length, plain):
        write_result(result, tmp_path)
        charts = write_charts(result, tmp_path)
        assert charts and all(
            ElementTree.parse(path).getroot().tag.endswith("svg") for path in charts.values()
        )
    kept = json.loads((tmp_path / "length.json").read_text())["rows"][0]
    assert (
        list(kept) == ["label", "num_clips", "n", "figures", "remark"] and kept["figures"]["peak_mib"] == 3.0
    )
    again = read_results(tmp_path, ["beta", "length", "alpha"])
    assert [as_markdown(result) for result in again] == [as_markdown(plain), as_markdown(length)]
    page = write_ablation(again, "models:/vidrd/1", tmp_path / "index.html").read_text()
    assert (
        "What &lt;grows&gt;?" in page and page.count("<svg") == 2 + 3 and "out of memory at 4 clips" in page
    )
    assert "| vidrd | 2 | 4 | 3 | 1.5 [1, 2] |  |" in as_markdown(length)
    assert (tmp_path / "length.csv").read_text().splitlines()[1].startswith("vidrd,2,4,3.0,,,1.5,1.0,2.0")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"experiments": ["gamma"]}, "experiments: 'gamma' is unknown; choose of reuse, alpha"),
        ({"experiments": ["cross-dataset"]}, "models, references: cross-dataset needs"),
        ({"lengths": [0]}, "lengths: a video has at least one clip"),
        ({"reference": "nowhere"}, "reference: nowhere is no folder"),
        ({"num_videos": 65}, "has 64 captioned videos"),
        ({"profile": "none"}, "profile: 'none'"),
        ({"out": __file__}, "out: .*is a file"),
    ],
)
def test_requests_that_cannot_work_are_refused(
    registry_home: Path, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        read_request(AblateParams(**params))


def small_experiment() -> Experiment:
    """Two variants, with reuse and without."""
    return Experiment(
        "reuse", "?", (Variant("all", 3), Variant("naive", 3, {"prompt_frames": 0, "alpha": 0.0}))
    )


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory, tiny_profile: Profile) -> Path:
    """One whose frames are as large as the real clips that they are measured beside."""
    folder = tmp_path_factory.mktemp("model") / "m"
    return write_small_model(folder, tiny_profile.model, small_frames=False)


def small_context(model: Path, folder: Path) -> ExperimentContext:
    """Four videos of two steps beside four real clips; without I3D, which takes a second for a window."""
    from tasks.evaluation.networks import Networks
    from tasks.evaluation.protocols import find_protocol
    from tasks.evaluation.reference import find_reference, measure_reference
    from tasks.evaluation.workers import MeasuringPool
    from tasks.tiny.world.corpora import write_tiny_world

    profile = load_profile("tiny")
    world = folder / "world"
    if not world.is_dir():
        write_tiny_world(world, 7)
    sampling = SamplingSettings(num_inference_steps=2, guidance_scale=4.0, beta=1.0, prompts_per_batch=2)
    evaluation = EvaluationSettings(num_videos=4, long_videos=2)
    protocol, networks = find_protocol("tiny"), Networks(profile.clip)
    request = find_reference(world / "reference", protocol, evaluation, sampling.fps)
    settings = AblationSettings(num_videos=4, lengths=(1, 2), length_videos=2)
    context = ExperimentContext(model, sampling, settings, evaluation, protocol, None, networks, folder)  # type: ignore[arg-type]
    with MeasuringPool(2) as pool:
        reference = measure_reference(request, context.reading, networks, pool)
    return ExperimentContext(model, sampling, settings, evaluation, protocol, reference, networks, folder)


def run_small(
    model: Path, folder: Path, on_progress: Callable[[int, int | None, str], None], name: str = "reuse"
) -> Result:
    """One experiment on the small bench."""
    from tasks.evaluation.workers import MeasuringPool

    context = small_context(model, folder)
    experiment = small_experiment() if name == "reuse" else experiments(context.base, context.settings)[name]
    costs = measure_costs(experiment, context, on_progress) if name == "length" else []
    with MeasuringPool(2) as pool:
        return run_experiment(experiment, context, pool, costs, on_progress)


def _quiet(done: int, total: int | None, note: str) -> None:
    pass


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(
    ray_session: None, tmp_home: Path, tmp_path: Path, small_model: Path
) -> None:
    command = [sys.executable, "-c", RUN, str(PROJECT), str(small_model), str(tmp_path)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith("1 "):  # the second variant has begun
            break
    _kill_family(run)
    kept = {path: path.stat().st_mtime_ns for path in cache_root().rglob("measures.npz")}
    assert len(kept) >= 3  # the reference, and the first variant's videos from both sets of seeds
    told: list[str] = []
    result = run_small(small_model, tmp_path, lambda done, total, note: told.append(note))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not any("all, " in note for note in told) and any("naive, " in note for note in told)
    assert [row.label for row in result.rows] == ["all", "naive"]
    assert {"text_score_end", "cycling", "seam_boundary"} <= set(result.columns)
    undisturbed = run_small(small_model, tmp_path, _quiet)
    assert as_markdown(undisturbed) == as_markdown(result)


def _kill_family(process: subprocess.Popen[str]) -> None:
    """The process and all of its session of Ray, as when the machine stops."""
    import psutil

    family = [process, *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    process.wait()


def test_names_of_curves_do_not_cover_one_another() -> None:
    ways = ("vidrd", "naive", "overlap", "freenoise")
    rows = [Row(way, clips, 4, {"peak_mib": 30.0 + 0.1 * clips}) for clips in (1, 4) for way in ways]
    chart = draw_charts(Result("length", "?", rows))["peak_mib"]
    heights = sorted(words(chart)[way][1] for way in ways)
    assert all(below - above >= 12 for above, below in itertools.pairwise(heights))


@pytest.mark.slow
def test_lengths_have_costs_and_seams_have_figures(
    ray_session: None, tmp_home: Path, tmp_path: Path, small_model: Path
) -> None:
    lengths = run_small(small_model, tmp_path, _quiet, "length")
    assert [(row.label, row.num_clips) for row in lengths.rows] == [
        (method, clips) for clips in (1, 2) for method in ("vidrd", "naive", "overlap", "freenoise")
    ]
    for row in lengths.rows:
        assert not row.remark and value_of(row.metrics["seconds_per_frame"]) > 0
        assert value_of(row.metrics["peak_mib"]) < 500
    seams = run_small(small_model, tmp_path, _quiet, "seams")
    assert [value_of(row.metrics["frames"]) for row in seams.rows] == [24, 22, 16, 16]


@pytest.mark.slow
def test_the_flow_leaves_tables_charts_a_page_and_a_run(
    ray_session: None,
    prefect_session: None,
    tmp_home: Path,
    tmp_path: Path,
    tiny_profile: Profile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    put_i3d_weights()
    text = (PROJECT / "infra/profiles/tiny/profile.toml").read_text()
    unsaid = without_saved_settings(Path(tiny_profile.model), tmp_path / "model")
    for part, folder in (("model", unsaid), ("clip", tiny_profile.clip)):
        text = text.replace(f'"./{part}"', f'"{folder}"')
    quick = tmp_path / "profile.toml"
    quick.write_text(text.replace("num_inference_steps = 20", "num_inference_steps = 2"))
    asked = AblateParams(
        experiments=["seams", "beta"], num_videos=4, out=tmp_path / "out", profile=str(quick)
    )
    done = ablate(asked)
    assert set(done["experiments"]) == {"seams", "beta"}
    page = (tmp_path / "out" / "index.html").read_text()
    assert all(word in page for word in ("crossfade", "beta 0.4", "fvd end", "real clips", "<svg"))
    (run_id,) = [run.info.run_id for run in _runs("ablate")]
    logged = {file.path for file in Registry().client.list_artifacts(run_id)}
    assert {"beta.md", "beta.csv", "beta.json", "beta-trade-off.svg", "seams.md", "index.html"} <= logged


@pytest.mark.slow
def test_models_stand_against_references(
    ray_session: None, tmp_home: Path, tmp_path: Path, small_model: Path
) -> None:
    put_i3d_weights()
    context = small_context(small_model, tmp_path)
    told: list[str] = []
    result = cross_dataset(
        experiments(context.base, context.settings)["cross-dataset"],
        [Contestant("first", small_model, context.base)],
        {"world": tmp_path / "world" / "reference"},
        context.networks.clip_model,
        context.evaluation,
        lambda done, total, note: told.append(f"{done}/{total} {note}"),
    )
    assert told == ["0/1 cross-dataset: first on world"]
    assert [row.label for row in result.rows] == ["first"]
    assert result.columns == ["fvd on world", "kvd on world", "text_score on world"]
    assert len(write_charts(result, tmp_path)) == 3


def _runs(name: str) -> list[Any]:
    registry = Registry()
    experiment = registry.client.get_experiment_by_name("vidrd")
    assert experiment is not None
    return list(registry.client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'"))
