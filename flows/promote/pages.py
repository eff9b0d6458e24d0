"""Writes the pages that follow the registry: the leaderboard and the trends.

vidrd pages
"""

from __future__ import annotations

from pathlib import Path

from storage.local.home import home
from storage.registry.evaluations import evaluation_history, promotion_history
from storage.registry.names import CHAMPION
from storage.registry.registry import Registry
from tasks.errors import RequestError
from tasks.pages.leaderboard import own_results, write_leaderboard
from tasks.pages.trends import write_trends


def write_pages(registry: Registry) -> dict[str, Path]:
    """Writes `leaderboard.html` and `trends.html` into $VIDRD_HOME/evaluation, each whole or not at all.

    StorageError when the registry cannot be read, RequestError when a page cannot be written.
    """
    points, events = evaluation_history(registry), promotion_history(registry)
    folder = home() / "evaluation"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"{folder}: cannot be made: {error.strerror}") from error
    return {
        "leaderboard": write_leaderboard(own_results(points), folder / "leaderboard.html"),
        "trends": write_trends(points, events, registry.alias_version(CHAMPION), folder / "trends.html"),
    }
