"""The names by which the registry is asked: the model, its aliases, references to its versions, and tags.

Parameters and refusals need them before MLflow is imported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

MODEL_NAME = "vidrd"
EXPERIMENT_NAME = "vidrd"

CANDIDATE = "candidate"
CHAMPION = "champion"

REF_PREFIX = "models:/"
CANDIDATE_REF = f"{REF_PREFIX}{MODEL_NAME}@{CANDIDATE}"
CHAMPION_REF = f"{REF_PREFIX}{MODEL_NAME}@{CHAMPION}"


def champion_alias(profile: str) -> str:
    """Returns the alias of a profile's own champion; MLflow takes letters, digits, `_` and `-`."""
    return f"{CHAMPION}-{re.sub(r'[^0-9A-Za-z_-]+', '-', profile)}"[:255]


def version_ref(version: int | str | None) -> str:
    """Returns the reference of a version by its number, which no alias can move."""
    return f"{REF_PREFIX}{MODEL_NAME}/{version}"


# Tags of a version, or of the run of `evaluate --videos`: how its newest figures were taken.
EVALUATION_TAGS = "evaluation."
PROTOCOL_TAG = f"{EVALUATION_TAGS}protocol"
NUM_VIDEOS_TAG = f"{EVALUATION_TAGS}n"
SEED_TAG = f"{EVALUATION_TAGS}seed"
REFERENCE_TAG = f"{EVALUATION_TAGS}reference"
"""The digest of the real clips."""
UNAVAILABLE_TAG = f"{EVALUATION_TAGS}unavailable"
SETUP_TAG = f"{EVALUATION_TAGS}setup_digest"
"""The digest of the whole set-up: of everything but the model."""


# The files of an evaluation: the features of the generated and of the real clips, and the report, also as a page.
FEATURES_FILE, REFERENCE_FILE = "measures.npz", "reference.npz"
REPORT_FILE, PAGE_FILE = "report.json", "report.md"


@dataclass(frozen=True)
class DecisionTags:
    """The names of the tags that hold a decision on a version; the outcome stands under `kind` itself.

    A `promotion` has acted on it, a `proposal` (after a training by schedule) has not.
    """

    kind: Literal["promotion", "proposal"]
    reason: str
    champion: str
    decided_at: str

    def values(self, outcome: str, reason: str, champion: int | None) -> dict[str, str]:
        """Returns the tags of a decision that is made now; `champion` is the version that was champion until then."""
        return {
            self.kind: outcome,
            self.reason: reason,
            self.champion: "none" if champion is None else str(champion),
            self.decided_at: datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def champion_of(self, tags: Mapping[str, str]) -> int | None:
        """Returns the version that was champion when the decision was made; None where there was none."""
        champion = tags.get(self.champion, "none")
        return int(champion) if champion.isdigit() else None


PROMOTION = DecisionTags("promotion", "promotion.reason", "promotion.champion_before", "promotion.decided_at")
PROPOSAL = DecisionTags("proposal", "proposal.reason", "proposal.champion", "proposal.made_at")
