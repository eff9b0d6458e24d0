"""Which videos a call makes: the texts of each, and what its noise is drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import torch

from vidrd_model.errors import ModelError
from vidrd_model.frame_times import FrameTimes
from vidrd_model.prompts import Prompt, stories_and_seeds
from vidrd_model.timed_prompts import Story, same_length, timed_story

Generators = torch.Generator | Sequence[torch.Generator]


@dataclass(frozen=True)
class VideoBatch:
    """The videos of a call: `copies` of each prompt, one after the other, each with a seed of its own.

    `keyed_by_text` says whether the texts of the stories, one for each prompt, are in the noise's keys. `times` says
    where the clips' frames lie in the video; texts that begin at a frame need it.
    """

    stories: list[Story]
    seeds: list[int]
    copies: int
    keyed_by_text: bool
    times: FrameTimes | None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def texts(self, clip: int) -> list[list[str]]:
        """Of each prompt the text of a clip; one for each frame in all of them where it changes in one of them."""
        return same_length([story.of_clip(clip, self.times) for story in self.stories])

    def noise_keys(self, clip: int) -> list[str]:
        """What stands for the prompt in the key of each video's noise."""
        if not self.keyed_by_text:
            return [""] * len(self)
        return [frames[0] for frames in self.texts(clip) for _ in range(self.copies)]


def video_batch(
    prompt: Prompt | Sequence[Prompt] | None,
    prompt_embeds: torch.Tensor | None,
    seed: int | Sequence[SupportsIndex] | None,
    generator: Generators | None,
    num_videos_per_prompt: int,
) -> VideoBatch:
    """The batch that is asked for. Embeddings stand for the empty prompt; copy k of a prompt takes its seed + k.

    A generator gives one draw for each video, which is its seed; the prompt then is in no key. ModelError, naming the
    argument, for what does not fit.
    """
    if num_videos_per_prompt < 1:
        raise ModelError(f"num_videos_per_prompt must be at least 1, not {num_videos_per_prompt}")
    if prompt is not None and prompt_embeds is not None:
        raise ModelError("give either prompt or prompt_embeds, not both")
    if seed is not None and generator is not None:
        raise ModelError("give either seed or generator, not both")
    if prompt_embeds is not None:
        if prompt_embeds.ndim != 3:
            raise ModelError(
                f"prompt_embeds must be (videos, tokens, width), not {tuple(prompt_embeds.shape)}"
            )
        prompt = [""] * len(prompt_embeds)
    elif prompt is None:
        raise ModelError(
            "prompt must be a text or a list of texts, not None, where no prompt_embeds are given"
        )
    stories, seeds = _stories(prompt, 0 if seed is None else seed)
    seeds = [seed + copy for seed in seeds for copy in range(num_videos_per_prompt)]
    if generator is not None:
        seeds = _drawn_seeds(generator, len(seeds))
    return VideoBatch(stories, seeds, num_videos_per_prompt, keyed_by_text=generator is None)


def _stories(
    prompt: Prompt | Sequence[Prompt], seed: int | Sequence[SupportsIndex]
) -> tuple[list[Story], list[int]]:
    one = isinstance(prompt, str | Mapping) or not isinstance(prompt, Iterable)
    videos: list[Any] = [prompt] if one else list(prompt)
    timed = {place: timed_story(texts) for place, texts in enumerate(videos) if isinstance(texts, Mapping)}
    texts, seeds = stories_and_seeds(
        [timed[place].texts if place in timed else video for place, video in enumerate(videos)], seed
    )
    return [timed.get(place) or Story(tuple(of_clips)) for place, of_clips in enumerate(texts)], seeds


def drawing_the_same(generator: Generators) -> Generators:
    """Generators that will draw what these will, and leave these as they are."""
    if isinstance(generator, torch.Generator):
        return generator.clone_state()
    return [one.clone_state() for one in generator]


def _drawn_seeds(generator: Generators, num_videos: int) -> list[int]:
    """One draw for each video, of its own generator or all of one in their order."""
    generators = [generator] * num_videos if isinstance(generator, torch.Generator) else list(generator)
    if len(generators) != num_videos:
        raise ModelError(f"{num_videos} videos take one generator or as many, got {len(generators)}")
    for one in generators:
        if not isinstance(one, torch.Generator):
            raise ModelError(f"generator must be a torch.Generator or a list of them, not {one!r}")
    return [int(torch.randint(2**63 - 1, (1,), generator=one, device=one.device)) for one in generators]
