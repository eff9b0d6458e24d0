"""Attacks a whole build: every source accounted for, every row made again the same, none twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flows.profile import Profile
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.tables import open_table
from storage.errors import StorageError
from tasks.corpora.config import read_corpora
from tasks.errors import RequestError
from tasks.ingest.summary import BuildSummary
from tasks.ingest.workers import Workers
from tests.build_world import BROKEN, DIES_AT_A_COMMIT, all_rows, build, keep_all, small_world

PROJECT = Path(__file__).parents[1]

# The build of another process; it kills itself before its n-th commit to a table.
SCRIPT = (
    DIES_AT_A_COMMIT
    + """
build(Path(corpora), Path(dataset), keep_all(load_profile("tiny"), commit_rows=6))
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("build")


@pytest.fixture(scope="module")
def corpora(folder):
    path = small_world(folder / "world")
    folders = [corpus.path for corpus in read_corpora(path).corpora if corpus.format == "folder"]
    (folders[0] / "notes.docx").write_text("of nobody's interest")
    return path


def run(corpora, dataset, profile: Profile, workers: Workers, threshold: float = -1.0) -> BuildSummary:
    return build(corpora, dataset, keep_all(profile, threshold=threshold), workers=workers)


@pytest.fixture(scope="module")
def first(folder, corpora, tiny_profile, workers):
    """The first build, with everything that has a score kept."""
    notes: list[tuple[int, int | None, str]] = []
    recipe = keep_all(tiny_profile, commit_rows=8)
    summary = build(
        corpora, folder / "dataset", recipe, workers=workers, on_progress=lambda *note: notes.append(note)
    )
    return summary, notes


def test_every_source_is_accounted_for(first, folder):
    summary, notes = first
    dataset = ClipDataset.open(folder / "dataset")
    info = dataset.info()
    assert (summary.read, summary.skipped, summary.quarantined) == (22, 0, 5)
    assert summary.as_dict()["unread"][".docx"] == 1
    assert summary.kept == summary.clips == summary.encoded == summary.dataset_clips == len(dataset)
    assert info["clips_by"]["kind"] == {"images": 6, "short-videos": 10, "long-videos": 6}
    assert info["sources"] == 22 and info["rejected"] == 0
    assert {row["source_uri"]: row["stage"] for row in info["quarantine"]} == BROKEN
    assert all(row["error"] and "\n" not in row["error"] for row in info["quarantine"])
    assert (summary.tag, dataset.tag, summary.version) == ("build-0001", "build-0001", dataset.version)
    assert notes[0][:2] == (0, 22) and (22, 22) in [note[:2] for note in notes]
    stages = {
        "read",
        "digest",
        "decode",
        "video",
        "signals",
        "score",
        "encode",
        "write",
        "commit",
        "settle",
        "wall",
    }
    assert stages == summary.seconds.keys()
    json.dumps(summary.as_dict())


def test_rows_are_what_the_models_say_of_the_frames(first, folder, corpora, tiny_profile):
    from tasks.captions.scoring import CaptionScorer
    from tasks.clips.from_source import clips_of
    from tasks.clips.video_io import decode_bytes
    from tasks.corpora.config import load_corpora
    from tasks.corpora.media import content_digest
    from tasks.corpora.readers import read_sources
    from tasks.filters.signals import clip_signals
    from tasks.latents.encoder import LatentEncoder
    from tasks.model_files import encoder_digest, scorer_digest

    scorer, encoder = CaptionScorer(tiny_profile.clip), LatentEncoder(tiny_profile.model)
    dataset = ClipDataset.open(folder / "dataset")
    columns = ["row", "clip_id", "clip_score", "clip_score_min", "caption", "scorer", "encoder", "licence"]
    table = dataset.clips.read([*columns, "source_digest", "motion", "fingerprint"])
    rows = {row["clip_id"]: row for row in table.to_pylist()}
    seen = set()
    for corpus in load_corpora(corpora):
        source = next(source for source in read_sources(corpus) if source.problem is None)
        clip = next(clips_of(source, tiny_profile.clips))
        row = rows[clip.clip_id]
        video = dataset.clips.videos([row["row"]])[0]
        frames_nhwc = clip.frames_nhwc
        if corpus.kind == "images":
            assert video is None
        else:  # what is kept as mp4 is what the models saw
            assert video is not None
            frames_nhwc, fps = decode_bytes(video)
            error = np.mean((frames_nhwc.astype(float) - clip.frames_nhwc) ** 2)
            assert fps == clip.fps and 10 * np.log10(255**2 / error) > 40
        score = scorer.score(frames_nhwc, [clip.captions[0].text])
        assert (row["clip_score"], row["clip_score_min"]) == pytest.approx(
            (score.mean, score.minimum), abs=1e-5
        )
        assert (row["caption"], row["licence"]) == (clip.captions[0].text, "CC0-1.0")
        assert row["scorer"] == scorer_digest(tiny_profile.clip)
        assert row["encoder"] == encoder_digest(tiny_profile.model)
        assert row["source_digest"] == content_digest(source.place)
        signals = clip_signals(frames_nhwc)
        assert (row["motion"], row["fingerprint"]) == (pytest.approx(signals.motion), signals.fingerprint)
        (latents,) = encoder.encode([frames_nhwc])
        np.testing.assert_array_almost_equal_nulp(
            dataset.clips.tensors([row["row"]], "latents")[0], latents.mean_nchw, nulp=2
        )
        seen.add(corpus.kind)
    assert seen == {"images", "short-videos", "long-videos"}


def test_again_on_the_same_input_does_nothing(first, folder, corpora, tiny_profile, workers):
    before = all_rows(folder / "dataset")
    again = run(corpora, folder / "dataset", tiny_profile, workers)
    assert (again.read, again.skipped, again.encoded, again.kept) == (22, 22, 0, 0)
    assert (again.tag, again.dataset_clips) == ("build-0001", len(before))
    assert all_rows(folder / "dataset") == before


def test_only_what_changed_is_made_again(first, folder, tiny_profile, workers):
    shutil.copytree(folder / "world", folder / "changed")
    shutil.copytree(folder / "dataset", folder / "changed-dataset")
    images = folder / "changed" / "corpora" / "tiny-images"
    manifest = (images / "manifest.tsv").read_text().splitlines()
    manifest[1] = "image_0000.jpg\ta caption that was edited"
    (images / "manifest.tsv").write_text("\n".join(manifest) + "\n")
    shutil.copy(images / "image_0002.jpg", images / "image_0004.jpg")  # another file under the same name
    (images / "image_0001.png").write_bytes(b"no longer an image")

    before = all_rows(folder / "changed-dataset")
    summary = run(folder / "changed" / "corpora.toml", folder / "changed-dataset", tiny_profile, workers)
    # The edited caption is scored anew; its latents stay.
    assert (summary.skipped, summary.encoded, summary.quarantined, summary.tag) == (19, 1, 1, "build-0002")
    after = all_rows(folder / "changed-dataset")
    assert after.keys() == before.keys()
    changed = {after[clip]["source_uri"] for clip in after if after[clip] != before[clip]}
    assert changed == {"image_0000.jpg", "image_0004.jpg"}  # the broken one keeps what it once gave
    captions = {row["source_uri"]: row["caption"] for row in after.values()}
    assert captions["image_0000.jpg"] == "a caption that was edited"
    assert all_rows(f"{folder}/changed-dataset@build-0001") == before


def test_the_threshold_moves_rows_and_loses_none(first, folder, corpora, tiny_profile, workers):
    shutil.copytree(folder / "dataset", folder / "filtered")
    scores = sorted(row["clip_score"] for row in all_rows(folder / "dataset").values())
    threshold = (scores[10] + scores[11]) / 2
    summary = run(corpora, folder / "filtered", tiny_profile, workers, threshold)
    assert (summary.skipped, summary.moved, summary.encoded) == (22, 11, 0)
    dataset = ClipDataset.open(folder / "filtered")
    assert len(dataset) == 11 and dataset.info()["rejected_by"]["reason"] == {"clip_score": 11}
    assert min(dataset.clips.read(["clip_score"])["clip_score"].to_pylist()) >= threshold
    assert max(dataset.rejected.read(["clip_score"])["clip_score"].to_pylist()) < threshold
    assert all_rows(folder / "filtered").keys() == all_rows(folder / "dataset").keys()


def test_wrong_requests_are_refused_before_anything_is_made(first, folder, corpora, tiny_profile):
    def refuse(error: type[Exception], match: str, dataset=folder / "new", **changes) -> None:
        profile = tiny_profile.model_copy(update=changes)
        with pytest.raises(error, match=match) as raised:
            build(corpora, dataset, keep_all(profile))
        assert "\n" not in str(raised.value)
        assert not (folder / "new").exists()

    refuse(RequestError, "vae/config.json", model=str(folder))
    refuse(RequestError, "open_clip_config.json", clip=str(folder))
    refuse(RequestError, "is a file", dataset=corpora / "below")
    refuse(
        StorageError,
        "choose another dataset folder",
        dataset=folder / "dataset",
        clips=tiny_profile.clips.model_copy(update={"num_frames": 4}),
    )
    with pytest.raises(RequestError, match="no such corpora file"):
        build(folder / "nowhere.toml", folder / "new", keep_all(tiny_profile))


@pytest.mark.slow
@pytest.mark.gate
@pytest.mark.parametrize("is_on_ray", [False, True])
def test_a_killed_build_is_completed_by_the_next(first, folder, corpora, tiny_profile, workers, is_on_ray):
    """Killed on Ray or in the command's own process, and completed on Ray: the rows are the same."""
    import ray

    dataset = folder / f"killed-{is_on_ray}"
    # Four commits repair what needs no repair; then four for each group: the second loses its ledger.
    fatal = 4 + 4 + 4
    command = [sys.executable, "-c", SCRIPT, str(PROJECT), str(corpora), str(dataset), str(fatal)]
    address = ray.get_runtime_context().gcs_address if is_on_ray else ""
    environment = os.environ | {"RAY_ADDRESS": address}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with pytest.raises(StorageError, match="no finished build"):
        ClipDataset.open(dataset)
    committed = open_table(dataset, "sources").count_rows()
    assert 0 < committed < 22

    summary = run(corpora, dataset, tiny_profile, workers)
    assert (summary.skipped, summary.tag) == (committed, "build-0001")
    assert all_rows(dataset) == all_rows(folder / "dataset")
    assert ClipDataset.open(dataset).info()["quarantined"] == 5
