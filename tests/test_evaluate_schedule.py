"""The evaluate flow on `vidrd up`, from its schedule: a better candidate is promoted, a worse one is refused."""

import shutil
from pathlib import Path

import pytest

from storage.registry.names import CHAMPION
from storage.registry.registry import Registry
from tests.damaged_models import damage_unet
from tests.i3d_files import put_i3d_weights
from tests.served_deployments import (
    artifacts,
    deploy_firing_now,
    ended_runs,
    settings_for,
    vidrd_up,
    wait_for,
    write_quick_profile,
)

QUICK = {
    "num_inference_steps = 20": "num_inference_steps = 8",
    "num_videos = 40\nlong_videos = 16": "num_videos = 16\nlong_videos = 4",
}


@pytest.mark.slow
def test_by_schedule_the_better_of_two_is_champion(tmp_home, tmp_path, tiny_profile, monkeypatch):
    from prefect.client.orchestration import get_client
    from prefect.settings import temporary_settings

    tmp_home.mkdir()
    put_i3d_weights()
    good, worse = Path(tiny_profile.model), tmp_path / "worse"
    shutil.copytree(good, worse)
    damage_unet(worse, share=1.0)
    params = {"profile": str(write_quick_profile(tmp_path / "profile.toml", QUICK))}
    with vidrd_up(tmp_home, monkeypatch) as api:
        registry = Registry()
        with registry.start_run("retrain") as run:
            weak = registry.register(worse, run, {"profile": "tiny"})
        registry.set_alias(CHAMPION, weak)
        with registry.start_run("retrain") as run:
            better = registry.register(good, run, {"profile": "tiny"})
        deploy_firing_now("evaluate", params, tmp_path / "prefect.yaml", api, every_s=60)
        with temporary_settings(settings_for(api)), get_client(sync_client=True) as client:
            wait_for(lambda: artifacts(client, "promote"), 1)
            assert registry.alias_version(CHAMPION) == better
            assert registry.version_tags(better)["promotion"] == "promoted"
            with registry.start_run("retrain") as run:
                candidate = registry.register(worse, run, {"profile": "tiny"})
            wait_for(lambda: [tags for tags in [registry.version_tags(candidate)] if "promotion" in tags], 1)
            (first, *_) = ended_runs(client)
            assert first.auto_scheduled and first.state_name == "Completed"
        tags = registry.version_tags(candidate)
        assert registry.alias_version(CHAMPION) == better
        assert tags["promotion"] == "refused" and tags["promotion.champion_before"] == str(better)
    assert (tmp_home / "evaluation" / "trends.html").is_file()
