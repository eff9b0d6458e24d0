"""The experiments as data: a question each, and the variants of the sampling settings that answer it.

Variants change the settings of a profile, so the same experiments run on the embedded model and on a real one.
Reuse has three parts (Reuse and Diffuse, section 3.2): FNR is the reversed noise of the last clip, PNS mixes fresh
noise into it, DSG guides the M prompt frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tasks.experiments.settings import AblationSettings
from tasks.generation.settings import SamplingSettings

ALPHAS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, math.inf)
BETAS = (0.0, 0.4, 0.8, 1.0)
GRID_ALPHAS = (0.0, 1.0, 4.0, math.inf)
SEAMS = ("keep", "drop-duplicate", "drop-prompt-frames", "crossfade")
NAIVE: Mapping[str, Any] = {"prompt_frames": 0, "alpha": 0.0}
"""Clip by clip from fresh noise: nothing of the last clip is reused."""

FEW_STEPS_BY, FEW_STEPS = ("ddim", "dpm++", "unipc"), (4, 6, 8, 12)
CACHE_INTERVALS = (2, 3)
CROSS_DATASET = "cross-dataset"
Measured = Literal["quality", "seams", "length", "models", "speed"]


@dataclass(frozen=True)
class Variant:
    """One way of sampling: what it changes in the settings, and its length in clips."""

    label: str
    num_clips: int
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def sampling(self, base: SamplingSettings) -> SamplingSettings:
        """Returns the settings of its videos."""
        settings = base.model_dump() | dict(self.overrides)
        if settings["method"] != "vidrd":
            settings |= {
                "clips_at_once": 1,
                "guidance_start": 0.0,
                "guidance_stop": 1.0,
                "cache_interval": 1,
            }  # they know nothing else
        return SamplingSettings.model_validate(settings)


@dataclass(frozen=True)
class Experiment:
    """A question and the variants to compare; `measured` says what is measured of each."""

    name: str
    question: str
    variants: tuple[Variant, ...]
    measured: Measured = "quality"


def experiments(base: SamplingSettings, settings: AblationSettings) -> dict[str, Experiment]:
    """Returns all experiments for these sampling settings by name, in the order in which they are run.

    `cross-dataset` has no variants: its models and references come with the request.
    """
    clips = settings.num_clips
    found = (
        Experiment(
            "reuse",
            "What does each part of the reuse do: reversed noise (FNR), fresh noise mixed in (PNS), guidance (DSG)?",
            (
                Variant("all three", clips),
                Variant("FNR alone", clips, {"prompt_frames": 0, "alpha": math.inf}),
                Variant("PNS alone", clips, {"prompt_frames": 0}),
                Variant("DSG alone", clips, {"alpha": 0.0}),
                Variant("naive", clips, NAIVE),
            ),
        ),
        Experiment(
            "alpha",
            "How much of the last clip's noise should a clip keep?",
            tuple(Variant(f"alpha {alpha:g}", clips, {"alpha": alpha}) for alpha in ALPHAS),
        ),
        Experiment(
            "beta",
            "For which share of the steps should the prompt frames be guided?",
            tuple(Variant(f"beta {beta:g}", clips, {"beta": beta}) for beta in BETAS),
        ),
        Experiment(
            "alpha-beta",
            "Which alpha and beta vary a video without repeating it, and without breaking it?",
            tuple(
                Variant(f"alpha {alpha:g}, beta {beta:g}", clips, {"alpha": alpha, "beta": beta})
                for alpha in GRID_ALPHAS
                for beta in BETAS
            ),
        ),
        Experiment(
            "seams",
            "How should clips be joined that share their boundary?",
            tuple(Variant(seam, clips, {"seam": seam}) for seam in SEAMS),
            "seams",
        ),
        Experiment(
            "steps",
            "How few steps, by which scheduler, keep what the profile's own settings give?",
            _few_steps(clips),
            "speed",
        ),
        Experiment("baselines", "What do other ways to a longer video give?", _methods(clips)),
        Experiment(
            "length",
            "What do time, memory and quality do as a video grows?",
            tuple(variant for length in settings.lengths for variant in _methods(length)),
            "length",
        ),
        Experiment(CROSS_DATASET, "How does a model fare on data that it was not trained on?", (), "models"),
    )
    return {experiment.name: experiment for experiment in found}


def _few_steps(num_clips: int) -> tuple[Variant, ...]:
    """The profile's own steps, with deep features kept, and fewer by schedulers whose last step is the training's."""
    variants = [Variant("as it is", num_clips)]
    for interval in CACHE_INTERVALS:
        variants.append(Variant(f"one step in {interval} whole", num_clips, {"cache_interval": interval}))
    for scheduler in FEW_STEPS_BY:
        for steps in FEW_STEPS:
            changes = {"scheduler": scheduler, "timestep_spacing": "trailing", "num_inference_steps": steps}
            variants.append(Variant(f"{scheduler}, {steps} steps", num_clips, changes))
    return tuple(variants)


def _methods(num_clips: int) -> tuple[Variant, ...]:
    return (
        Variant("vidrd", num_clips),
        Variant("naive", num_clips, NAIVE),
        Variant("overlap", num_clips, {"method": "overlap"}),
        Variant("freenoise", num_clips, {"method": "freenoise"}),
    )
