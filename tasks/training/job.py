"""The job of a training: what every worker is told, and the digest by which its checkpoints know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tasks.generation.settings import SamplingSettings
from tasks.training.record import config_digest
from tasks.training.settings import DecoderSettings, Part, TemporalSettings

_DEFAULT_SEAM = SamplingSettings.model_fields["seam"].default


@dataclass(frozen=True)
class TrainingJob:
    """The training of one part, as every worker is told of it.

    `dataset` is `DIR[@TAG]`, `model` the folder or hub id to start from, `sampling` says how the UNet's sample videos
    are made, `left_out` are the rows of `unusable_clips`.
    """

    dataset: str
    model: str
    settings: TemporalSettings | DecoderSettings
    sampling: SamplingSettings | None = None
    left_out: tuple[int, ...] = ()

    @property
    def part(self) -> Part:
        """The name of the part, as `--part` takes it."""
        return "temporal" if isinstance(self.settings, TemporalSettings) else "decoder"

    @property
    def reads_text_states(self) -> bool:
        """Whether stored states of the captions are trained on, not those that the text encoder computes."""
        return isinstance(self.settings, TemporalSettings) and self.settings.text_states == "stored"

    @property
    def digest(self) -> str:
        """Names the job: a checkpoint with another one is another training's.

        It is taken of what earlier versions told their workers, so that their trainings go on.
        """
        config: dict[str, Any] = {
            "part": self.part,
            "dataset": self.dataset,
            "model": self.model,
            "settings": self.settings.model_dump(),
        }
        if self.sampling is not None:
            sampling = self.sampling.identity()
            if sampling["seam"] == _DEFAULT_SEAM:  # versions with another default wrote that nobody chose one
                sampling["seam"] = None
            config["sampling"] = sampling
        if self.left_out:  # versions that knew of none named none
            config["left_out"] = list(self.left_out)
        return config_digest(config)
