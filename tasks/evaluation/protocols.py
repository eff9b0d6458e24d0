"""The protocols by name: what is shown to the networks, of which videos, and how it is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tasks.errors import RequestError

if TYPE_CHECKING:
    from tasks.evaluation.reference_clip import Position
    from tasks.evaluation.ucf101 import Split

FPS_TOLERANCE = 0.1


@dataclass(frozen=True)
class Protocol:
    """What is shown to the networks, of which videos, and how it is counted.

    `fps` is `model` where real clips are sampled at the model's frame rate, `native` where they are consecutive
    frames of the file. `split` is UCF-101's, where the reference is that. `num_reference` real clips stand against
    the generated ones: as many (`same`), or one of every video (`all`). `prompts` are the captions of the real
    clips, or UCF-101's class sentences in the distribution of its train split. `ddof` is the covariance's divisor
    N - ddof, `is_splits` those of the Inception Score. With `any_number` fewer videos than usual are a sample too;
    otherwise the number belongs to the protocol's name, and whoever wants another has to say so. What `about` does not
    ascribe to others is our choice.
    """

    name: str
    about: str
    num_frames: int
    frame_repeats: int
    fps: Literal["model", "native"]
    position: Position
    split: Split
    ddof: Literal[0, 1]
    default_num_videos: int
    num_reference: Literal["same", "all"]
    prompts: Literal["captions", "class-distribution"]
    is_splits: int
    any_number: bool


_PROTOCOLS = (
    Protocol(
        name="tiny",
        about="8 frames, each shown twice to I3D; comparable with no published number",
        num_frames=8,
        frame_repeats=2,
        fps="model",
        position="middle",
        split="train+test",
        ddof=1,
        default_num_videos=40,
        num_reference="same",
        prompts="captions",
        is_splits=1,
        any_number=True,
    ),
    Protocol(
        name="quick",
        about="16 frames of any number of videos; a check on the way, no published protocol",
        num_frames=16,
        frame_repeats=1,
        fps="model",
        position="middle",
        split="train+test",
        ddof=1,
        default_num_videos=256,
        num_reference="same",
        prompts="captions",
        is_splits=1,
        any_number=True,
    ),
    Protocol(
        name="fvd2048-16f",
        about=(
            "StyleGAN-V's fvd2048_16f: 2,048 real clips and 2,048 generated ones of 16 consecutive frames, real ones "
            "from a random start in each video, train and test split, covariance over N; cd-fvd counts the same "
            "way, by default against all real videos; StyleGAN-V takes the first 2,048 videos on its disk, here "
            "a seed draws them and each generated video has the caption of a real one"
        ),
        num_frames=16,
        frame_repeats=1,
        fps="native",
        position="random",
        split="train+test",
        ddof=0,
        default_num_videos=2048,
        num_reference="same",
        prompts="captions",
        is_splits=10,
        any_number=False,
    ),
    Protocol(
        name="vidrd-paper",
        about=(
            "as far as VidRD (arXiv 2309.03549) tells, after Make-A-Video (arXiv 2209.14792): 10,000 generated videos, "
            "one sentence per UCF-101 class, classes distributed as in the train split; the sentences, 16 frames "
            "at the model's rate, the middle clip of every train video as reference, covariance over N-1 and 10 "
            "splits of the Inception Score are choices made here"
        ),
        num_frames=16,
        frame_repeats=1,
        fps="model",
        position="middle",
        split="train",
        ddof=1,
        default_num_videos=10_000,
        num_reference="all",
        prompts="class-distribution",
        is_splits=10,
        any_number=False,
    ),
)


def find_protocol(name: str) -> Protocol:
    """Returns the protocol of that name; RequestError for any other."""
    for protocol in _PROTOCOLS:
        if protocol.name == name:
            return protocol
    raise RequestError(f"protocol: {name!r} is unknown; use {_either([p.name for p in _PROTOCOLS])}")


def check_fps(protocol: Protocol, model_fps: float, native_fps: float) -> None:
    """RequestError when a protocol of native frames meets a model whose rate is more than a tenth off.

    Frames 1/4 s apart against frames 1/25 s apart measure the rates, not the videos.
    """
    if protocol.fps == "native" and abs(model_fps - native_fps) > FPS_TOLERANCE * native_fps:
        fitting = _either([other.name for other in _PROTOCOLS if other.fps == "model"])
        raise RequestError(
            f"protocol: {protocol.name} sets consecutive frames of the reference ({native_fps:g} fps) beside those of "
            f"the model ({model_fps:g} fps); use {fitting}, which sample the reference at the model's rate"
        )


def _either(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
