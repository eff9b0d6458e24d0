"""The videos that a request asks for, each with its texts, its seed and where it goes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from flows.generate.names import video_name
from storage.local.home import home
from tasks.errors import RequestError
from tasks.generation.asked import Prompt

EXAMPLE_PROMPT = "a red circle moving right"
_NOTE = "#"
# What binary fractions of a second are off by: 0.7 s at 10 frames a second is frame 7.
_CLOCK_TOLERANCE = 1e-6


@dataclass(frozen=True)
class VideoJob:
    """A video that is asked for: its texts (one for each clip, the last for all after it), seed and place.

    With `seconds` the texts after the first begin at these instead.
    """

    texts: tuple[str, ...]
    seed: int
    out: Path
    seconds: tuple[float, ...] = ()

    @property
    def prompt(self) -> str:
        """The texts as one."""
        return " / ".join(self.texts)

    def begins(self, fps: float) -> list[int]:
        """The frames that texts by the second begin at: the first that is shown then, or after it."""
        return [0, *(ceil(seconds * fps - _CLOCK_TOLERANCE) for seconds in self.seconds)]

    def asked_texts(self, fps: float) -> Prompt:
        """The texts as whoever samples them takes them."""
        return dict(zip(self.begins(fps), self.texts, strict=True)) if self.seconds else self.texts


def job_of_prompt(
    prompt: str | None, then: list[str], at: dict[float, str], clips: int, seed: int, out: Path | None
) -> VideoJob:
    """Gives the job of one prompt; RequestError for texts that are none, or more of them than clips."""
    first = (prompt or "").strip()
    if not first:
        raise RequestError(f'prompt: missing; give a text such as "{EXAMPLE_PROMPT}"')
    if then and at:
        raise RequestError("at: give either then, for a text a clip, or at, not both")
    texts = (first, *(text.strip() for text in then), *at.values())
    if not all(texts):
        raise RequestError("then: a text is empty")
    if len(then) >= clips:
        raise RequestError(f"then: {len(then)} more texts need at least {len(then) + 1} clips, not {clips}")
    named = (*texts, *map(str, at))
    return VideoJob(texts, seed, out or home() / "generated" / f"{video_name(named, seed)}.mp4", tuple(at))


def jobs_of_file(prompts_file: Path, seed: int, out_dir: Path | None) -> list[VideoJob]:
    """Gives a job for each prompt of a file, in their order; RequestError when it cannot be read or holds none."""
    prompts = _read_prompts(prompts_file)
    folder = out_dir or home() / "generated" / prompts_file.stem
    # Numbers, not prompts, name the files: they sort in the prompts' order and are always legal names.
    digits = max(4, len(str(len(prompts))))
    jobs, seen = [], Counter[str]()
    for number, prompt in enumerate(prompts, start=1):
        # A video depends on its prompt and seed, not on its line, so a file may be split or reordered.
        jobs.append(VideoJob((prompt,), seed + seen[prompt], folder / f"{number:0{digits}d}.mp4"))
        seen[prompt] += 1
    return jobs


def _read_prompts(path: Path) -> list[str]:
    """One prompt a line, without empty lines and those that begin with #."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else (error.strerror or error)
        raise RequestError(f"prompts_file: {path}: {reason}") from error
    prompts = [text for line in lines if (text := line.strip()) and not text.startswith(_NOTE)]
    if not prompts:
        raise RequestError(f"prompts_file: {path} holds no prompt; write one a line")
    return prompts
