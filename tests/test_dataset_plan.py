"""A plan measures what a build would do, and its arithmetic is that of a slower, plainer calculation."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.dataset.plan import run
from flows.dataset.request import PlanParams, read_request
from flows.profile import Profile
from tasks.captions.scoring import CaptionScorer
from tasks.clips.from_source import clips_of
from tasks.clips.video_io import encode_lossless_ish
from tasks.corpora.config import load_corpora
from tasks.corpora.readers import read_sources
from tasks.errors import ItemError, RequestError
from tasks.ingest.recipe import Digests
from tasks.ingest.scoring import ScoringModels
from tasks.planning.extrapolate import Machines, extrapolate
from tasks.planning.markdown import as_markdown
from tasks.planning.measure import (
    CorpusSample,
    Measured,
    SourceCost,
    choose_sources,
    measure,
    measure_sources,
)
from tests.build_world import small_world

LATENT_BYTES = 8 * 4 * 8 * 8 * 2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_world(tmp_path_factory.mktemp("plan") / "world")


def test_the_sample_is_what_the_stages_make_of_it(world: Path, tiny_profile: Profile) -> None:
    corpora, settings = load_corpora(world), tiny_profile.clips
    everything = 100
    measured = measure(corpora, tiny_profile.recipe(), everything)
    scorer = CaptionScorer(tiny_profile.clip)
    for corpus, sample in zip(corpora, measured.samples, strict=True):
        sources = sorted(read_sources(corpus), key=lambda source: source.source_id)
        assert (sample.name, sample.kind, sample.sources) == (corpus.name, corpus.kind, len(sources))
        for source, cost in zip(sources, sample.costs, strict=True):
            try:
                clips = list(clips_of(source, settings))
            except ItemError:
                assert cost.failed and (cost.clips, cost.kept, cost.row_bytes) == (0, 0, 0)
                continue
            scores = [scorer.score(clip.frames_nhwc, [clip.captions[0].text]).mean for clip in clips]
            kept = sum(score >= tiny_profile.filter.clip_threshold for score in scores)
            assert not cost.failed and (cost.clips, cost.kept) == (len(clips), kept)
            arrays = kept * LATENT_BYTES
            if source.kind != "images":
                arrays += sum(len(encode_lossless_ish(clip.frames_nhwc, clip.fps)) for clip in clips)
            assert arrays < cost.row_bytes < arrays + 4_000 * len(clips)
            assert cost.decoder_s["decode"] > 0 and cost.models_s["score"] > 0
            assert ("encode" in cost.models_s) == (kept > 0)
            assert ("video" in cost.decoder_s) == (source.kind != "images")


def test_a_gpus_batches_find_the_same_clips(world: Path, tiny_profile: Profile) -> None:
    """Here on a CPU, in the batches that a GPU would get: only the times are shared out differently."""
    recipe = tiny_profile.recipe()
    models = ScoringModels(recipe, Digests.of(recipe))
    sources = [source for corpus in load_corpora(world)[1:] for source in read_sources(corpus)][-8:]
    alone = measure_sources(sources, models, recipe)
    batched = measure_sources(sources, models, recipe, on_gpu=True)

    def found(costs: list[SourceCost]) -> list[tuple[int, int, int, bool]]:
        return [(cost.clips, cost.kept, cost.row_bytes, cost.failed) for cost in costs]

    assert found(alone) == found(batched) and sum(cost.clips for cost in alone) > 8
    assert all(cost.models_s["score"] > 0 for cost in batched if cost.clips)


def test_few_sources_are_chosen_of_every_corpus(world: Path) -> None:
    corpora = load_corpora(world)
    for corpus, count, few in choose_sources(corpora, 12):
        ids = [source.source_id for source in read_sources(corpus)]
        assert count == len(ids)
        assert [source.source_id for source in few] == sorted(ids)[:3]
    # However small the sample, each corpus shows its spread.
    assert [len(few) for _, count, few in choose_sources(corpora, 1) if count > 1] == [2, 2, 2]


amounts = st.just(0.0) | st.floats(1e-9, 1e4)  # no clock tells less than a nanosecond
costs = st.builds(
    SourceCost,
    decoder_s=st.fixed_dictionaries({"decode": amounts}, optional={"video": amounts}),
    models_s=st.dictionaries(st.sampled_from(["score", "encode"]), amounts),
    clips=st.integers(0, 50),
    kept=st.integers(0, 50),
    row_bytes=st.integers(0, 10**9),
)
samples = st.lists(
    st.builds(
        CorpusSample,
        name=st.text(max_size=3),
        kind=st.just("images"),
        sources=st.integers(1, 10**6),
        costs=st.lists(costs, min_size=1, max_size=5),
    ),
    min_size=1,
    max_size=4,
)
machine_kinds = st.builds(
    Machines,
    cpus=st.integers(1, 1000),
    gpus=st.integers(0, 50),
    gpu_speedup=st.floats(0.1, 1000),
    cpu_price=st.none() | st.floats(0, 10),
    gpu_price=st.none() | st.floats(0, 10),
)


@settings(deadline=None)  # a busy machine is no failure
@given(samples, st.integers(1, 10**9), machine_kinds)
def test_the_arithmetic_is_that_of_every_source_on_its_own(
    samples: list[CorpusSample], sources: int, machines: Machines
) -> None:
    """Each sampled source stands for as many as its weight says: plain sums over a table of all of them."""
    result = extrapolate(Measured(samples, False), sources, machines)
    known = sum(sample.sources for sample in samples)
    rows = [
        (sources * sample.sources / known / len(sample.costs), cost)
        for sample in samples
        for cost in sample.costs
    ]

    def summed(stage: str, of: str) -> float:
        return sum(weight * getattr(cost, of).get(stage, 0.0) for weight, cost in rows) / 3600

    stage_hours = {stage: summed(stage, "decoder_s") for stage in ("decode", "video")}
    stage_hours |= {stage: summed(stage, "models_s") / machines.gpu_speedup for stage in ("score", "encode")}
    cpu_h = stage_hours["decode"] + stage_hours["video"]
    gpu_h = stage_hours["score"] + stage_hours["encode"]
    apart_h = max(cpu_h / machines.cpus, gpu_h / max(machines.gpus, 1))
    expected_h = apart_h if machines.gpus else (cpu_h + gpu_h) / machines.cpus
    assert result["hours"]["value"] == pytest.approx(expected_h)
    assert result["bytes"]["value"] == pytest.approx(sum(weight * cost.row_bytes for weight, cost in rows))
    assert result["clips_kept"]["value"] == pytest.approx(sum(weight * cost.kept for weight, cost in rows))
    for name, stage in result["stages"].items():
        assert stage["hours_of_one"]["value"] == pytest.approx(stage_hours[name])

    limit = result["limit"]
    if limit["stage"] is not None:
        rivals = ("decode", "video") if limit["on"] == "cpu" else ("score", "encode")
        if not machines.gpus:
            rivals = tuple(stage_hours)
        assert stage_hours[limit["stage"]] == pytest.approx(max(stage_hours[stage] for stage in rivals))
    else:
        assert expected_h == 0
    per_hour = machines.cpus * (machines.cpu_price or 0) + machines.gpus * (machines.gpu_price or 0)
    if machines.cpu_price is None and machines.gpu_price is None:
        assert result["cost"] is None
    else:
        assert result["cost"]["value"] == pytest.approx(expected_h * per_hour)
    for name in ("hours", "bytes", "clips", "clips_kept"):
        assert 0 <= result[name]["low"] <= result[name]["value"] <= result[name]["high"]


@settings(deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=2, max_size=20), st.integers(1, 10**6))
def test_the_range_is_two_standard_errors(sizes: list[int], sources: int) -> None:
    sample = CorpusSample("a", "images", 5, [SourceCost(row_bytes=size) for size in sizes])
    found = extrapolate(Measured([sample], False), sources, Machines(1, 0))["bytes"]
    margin = 2 * sources * np.std(sizes, ddof=1) / math.sqrt(len(sizes))
    assert found["high"] == pytest.approx(sources * np.mean(sizes) + margin)
    assert found["low"] == pytest.approx(max(0.0, sources * np.mean(sizes) - margin), abs=1e-6)


def test_machines_that_keep_up_with_each_other_are_enough() -> None:
    cost = SourceCost({"decode": 3.0}, {"encode": 20.0})
    measured = Measured([CorpusSample("a", "images", 1, [cost, cost])], False)
    enough = extrapolate(measured, 1000, Machines(cpus=6, gpus=2, gpu_speedup=10.0))["enough"]
    # 6 cores decode 2 sources a second; a GPU encodes one in 2 s.
    assert enough == {"gpus": 4, "cpus": 3}


def test_a_plan_tells_its_assumptions(world: Path, tmp_home: Path) -> None:
    params = PlanParams(corpora=world, sources=1_000_000, cpus=8, gpus=2, gpu_speedup=20, gpu_price=2.0)
    told = run(read_request(params))
    assert json.loads(json.dumps(told)) == told
    assert sum(corpus["sources"] for corpus in told["corpora"]) == pytest.approx(1_000_000, abs=4)
    assert {corpus["kind"] for corpus in told["corpora"]} == {"images", "short-videos", "long-videos"}
    assert set(told["stages"]) >= {"decode", "video", "score", "encode"}
    assert any("GPU" in assumption and "20 times" in assumption for assumption in told["assumptions"])
    assert told["cost"]["value"] == pytest.approx(told["hours"]["value"] * 4.0)
    page = as_markdown(told)
    assert "1,000,000 sources" in page and f"`{told['limit']['stage']}`" in page
    assert all(assumption in page for assumption in told["assumptions"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"corpora": Path("nowhere.toml")}, "nowhere.toml: no such corpora file"),
        ({"profile": "sd21"}, "corpora: missing"),
        ({"gpus": 0, "gpu_speedup": 4.0}, "gpus: missing or 0"),
        ({"gpu_price": 4.0}, "gpus: missing or 0"),
    ],
)
def test_wrong_requests_are_one_line(wrong: dict, message: str, tmp_home: Path) -> None:
    with pytest.raises(RequestError, match=message) as error:
        read_request(PlanParams(**wrong))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wrong", [{"sources": 0}, {"cpus": 0}, {"gpu_price": math.inf}, {"gpu_speedup": 0}])
def test_wrong_numbers_are_refused_by_name(wrong: dict) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        PlanParams(**wrong)
