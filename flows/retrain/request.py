"""What a retraining is asked to do, read and checked before anything long starts.

Every deployment and command imports this file: what is slow to import is so only where it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from flows.profile import EMBEDDED, Profile, check_model_profile
from flows.profile_choice import NotedProfile, ProfileParams, choose_profile, profile_of_dataset
from storage.dataset.folder import check_is_dataset, parse_ref
from storage.local.home import home
from storage.local.typed_fields import TypedPath, TypedText
from storage.registry.names import CHAMPION_REF, version_ref
from tasks.cluster_checks import check_gpus_here
from tasks.errors import RequestError
from tasks.model_files import encoder_digest, folder_digest, vae_of
from tasks.training.job import TrainingJob
from tasks.training.settings import PARTS, DecoderSettings, Part, TemporalSettings, Trainable

if TYPE_CHECKING:
    from storage.dataset.clip_dataset import ClipDataset


class RetrainParams(ProfileParams):
    """What to train on what; as they are, the defaults fine-tune the tiny model on the tiny dataset."""

    dataset: TypedText | None = Field(
        None, description="DIR or DIR@TAG; none: datasets/PROFILE of VIDRD_HOME"
    )
    part: Literal["temporal", "decoder", "both"] = "both"
    trainable: Trainable | None = Field(None, description="layers of the UNet to train; none: the profile's")
    start_from: Literal["base", "champion"] = Field("base", description="the profile's model or the champion")
    temporal_steps: int | None = Field(None, ge=1, description="none: the profile's")
    decoder_steps: int | None = Field(None, ge=1, description="none: the profile's")
    only_if_new: bool = Field(
        False,
        description="do nothing when the dataset has no new tag since a finished training of the profile",
    )
    then_evaluate: bool = Field(
        False, description="evaluate the result beside the champion, say what to promote"
    )
    reference: TypedPath | None = Field(
        None, description="videos to evaluate against; none: the tiny world's, for the profile tiny"
    )
    fresh: bool = Field(False, description="give up an interrupted training instead of going on with it")


@dataclass(frozen=True)
class RetrainRequest:
    """A retraining that can be carried out, with all that was looked up for it.

    `start` is the folder or hub id to start from, `start_ref` the same as a registry reference where it has one,
    `encoder` the digest of the VAE encoder whose latents it understands. `nothing_new` is a line that says why there is
    nothing to train; it is asked for with `only_if_new` alone.
    """

    params: RetrainParams
    profile: Profile
    dataset: ClipDataset
    start: str
    start_ref: str
    encoder: str
    nothing_new: str | None = None

    @property
    def parts(self) -> list[Part]:
        """The decoder comes last: its training starts from whatever the UNet's has written."""
        return _parts(self.params)

    @property
    def dataset_folder(self) -> str:
        """Where the dataset lies, as trainings are tagged with it."""
        return str(self.dataset.folder.absolute())

    @property
    def dataset_ref(self) -> str:
        """With the tag: a build that finishes meanwhile must not change what is read."""
        return f"{self.dataset_folder}@{self.dataset.tag}"

    @property
    def temporal(self) -> TemporalSettings:
        """The profile's settings with what the request changes."""
        asked = {"trainable": self.params.trainable, "steps": self.params.temporal_steps}
        changes = {name: value for name, value in asked.items() if value is not None}
        return self.profile.temporal.model_copy(update=changes)

    @property
    def decoder(self) -> DecoderSettings:
        """The profile's settings with what the request changes."""
        steps = self.params.decoder_steps or self.profile.decoder.steps
        return self.profile.decoder.model_copy(update={"steps": steps})

    def part_settings(self, part: Part) -> TemporalSettings | DecoderSettings:
        """Returns the settings of one part."""
        return self.temporal if part == "temporal" else self.decoder

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of every part that is trained, as plain JSON."""
        return {part: self.part_settings(part).model_dump(mode="json") for part in self.parts}

    def job(self, part: Part, model: str) -> TrainingJob:
        """Returns the training of one part, which starts from a model folder or hub id."""
        sampling = self.profile.sampling if part == "temporal" else None  # of its sample videos
        return TrainingJob(self.dataset_ref, model, self.part_settings(part), sampling)

    def tags(self) -> dict[str, str]:
        """Returns where a training comes from: the tags of its run and of its version."""
        return {
            "dataset": self.dataset_folder,
            "dataset_tag": self.dataset.tag,
            "dataset_version": str(self.dataset.version),
            "start": self.start_ref,
            "encoder": self.encoder,
            "part": self.params.part,
            "profile": self.profile.name,
        }

    def config(self) -> dict[str, Any]:
        """Returns all that the result depends on, and nothing that changes while the training is interrupted."""
        return {**self.tags(), "start_digest": _model_digest(self.start), "settings": self.settings}


def read_request(params: RetrainParams, only_plan: bool = False) -> RetrainRequest:
    """Returns the request behind the parameters; RequestError or StorageError, one line, when it cannot be carried out.

    With `only_plan` nothing will be registered, and MLflow is not asked whether it could be.
    """
    asked = None if params.profile is None else choose_profile(params, None)
    dataset_ref = params.dataset or str(home() / "datasets" / (EMBEDDED if asked is None else asked.name))
    profile = asked or choose_profile(params, _profile_noted(dataset_ref))
    for part in _parts(params):
        settings = profile.temporal if part == "temporal" else profile.decoder
        check_gpus_here(f"{part}.num_workers", settings.num_workers if settings.use_gpu else 0)
    trainable = params.trainable or profile.temporal.trainable
    if "temporal" in _parts(params) and trainable == "lora" and find_spec("peft") is None:
        raise RequestError("trainable: lora needs peft: pip install 'vidrd[lora]'")
    from storage.dataset.clip_dataset import ClipDataset

    dataset = ClipDataset.open(dataset_ref)
    start, start_ref, encoder = _start(params, profile)
    request = RetrainRequest(params, profile, dataset, start, start_ref, encoder)
    from tasks.training.splits import split_clips

    for part in request.parts:
        split_clips(dataset, videos_only=part == "decoder")
    others = {vae_of(digest) for digest in dataset.clips.distinct("encoder")} - {encoder}
    if others:
        raise RequestError(
            f"dataset: {dataset.folder}@{dataset.tag} holds latents of another VAE than that of {start}; "
            "build it with the same profile"
        )
    if params.then_evaluate:
        from flows.evaluate.request import EvaluateParams, read_reference

        read_reference(EvaluateParams(reference=params.reference), profile)
    if only_plan:
        return request
    from storage.registry.registry import Registry

    registry = Registry()
    registry.check_artifacts()
    if params.only_if_new:
        finished = registry.finished_trainings(request.dataset_folder, profile.name)
        request = replace(request, nothing_new=nothing_new(request, finished))
    return request


def nothing_new(request: RetrainRequest, finished: Sequence[Mapping[str, str]]) -> str | None:
    """Says in one line that a finished training has used the dataset's tag; None where there is something to train.

    `finished` are the tags of the dataset's trainings in the profile, refused ones included; one of the decoder alone
    does not count for the UNet, nor the other way round.
    """
    for tags in finished:
        if tags.get("dataset_tag") == request.dataset.tag and tags.get("part") in (
            "both",
            request.params.part,
        ):
            version = f", which made version {tags['model_version']}" if "model_version" in tags else ""
            return (
                f"nothing to train: {request.dataset.folder} has no new tag since {request.dataset.tag}, on which "
                f"the profile {request.profile.name} was trained{version}"
            )
    return None


def _profile_noted(dataset_ref: str) -> NotedProfile | None:
    folder = parse_ref(dataset_ref)[0]
    check_is_dataset(folder)
    return profile_of_dataset(folder)


def _parts(params: RetrainParams) -> list[Part]:
    return list(PARTS) if params.part == "both" else [params.part]


def _start(params: RetrainParams, profile: Profile) -> tuple[str, str, str]:
    """Returns the folder or hub id of the model to start from, its reference, and the digest of its encoder."""
    if params.start_from == "base":
        return profile.model, profile.model, encoder_digest(profile.model)
    from storage.registry.registry import Registry, resolve_model

    version = Registry().champion(profile.name)
    champion = resolve_model(CHAMPION_REF if version is None else version_ref(version))
    check_model_profile(champion, profile)
    # The encoder is never trained: a model has that of the model it once started from.
    encoder = champion.tags.get("encoder") or encoder_digest(champion.folder)
    return str(champion.folder), version_ref(champion.version), encoder


def _model_digest(model: str) -> str:
    """Tells a model from another at the same place: by a folder's bytes; a hub id stands for itself."""
    folder = Path(model)
    return folder_digest(folder) if folder.is_dir() else model
