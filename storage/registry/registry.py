"""Runs, model versions and aliases: all the project knows of MLflow.

The registered model is called `vidrd`. A retraining registers a version under the alias `candidate`, a
promotion moves the alias `champion`. The same code talks to the SQLite file of one machine and to a server.
"""

import errno
import shutil
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version as installed_version
from pathlib import Path

import mlflow
import numpy as np
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.utils.file_utils import local_file_uri_to_path

from storage.errors import StorageError
from storage.local.addresses import without_secrets
from storage.local.dry_run import scratch
from storage.local.folders import why_unusable
from storage.local.home import home, home_of_the_new, mlflow_artifacts, mlflow_uri
from storage.registry.mlflow_access import first_line, is_missing, mlflow_client, one_line_errors
from storage.registry.model_folder import ResolvedModel, is_registered, model_folder
from storage.registry.names import (
    CANDIDATE,
    CHAMPION,
    EXPERIMENT_NAME,
    MODEL_NAME,
    REF_PREFIX,
    REFERENCE_TAG,
    champion_alias,
    version_ref,
)
from storage.registry.runs import Run, check_finite

_MADE_BY = {CANDIDATE: "; vidrd retrain makes one", CHAMPION: "; vidrd promote makes one"}

_PYFUNC_FILE = Path(__file__).with_name("pyfunc_model.py")
_SERVING_PACKAGES = ("torch", "diffusers", "transformers")
_VERSION_METRIC = "evaluation."  # tells a version's own figures from the losses that MLflow also shows for it
_VERSION_TAG = "model_version"  # of the run that a version came from
_RUNS_PER_CALL = 1000
_DESCRIPTION_CHARACTERS = 5000  # what the column of an MLflow database takes


@dataclass(frozen=True)
class RecordedMetric:
    """A figure of a version; those that were recorded together share the step, milliseconds since 1970."""

    name: str
    value: float
    step: int
    reference: str


class Registry:
    """The runs and the model versions at one MLflow address (default: `storage.local.home.mlflow_uri()`)."""

    def __init__(self, uri: str | None = None) -> None:
        self.uri = uri or mlflow_uri()
        self.client = mlflow_client(self.uri)

    @contextmanager
    def start_run(
        self, name: str, tags: Mapping[str, str] | None = None, run_id: str | None = None
    ) -> Iterator[Run]:
        """Opens a run, tagged with the code's commit; it ends as failed when the block raises.

        With `run_id` an earlier run goes on, however its process ended; the commit it was begun with stays.
        """
        with one_line_errors(self.uri):
            run = None if run_id is None else Run.reopen(run_id, self.client, self.uri)
            commit = {"git_commit" if run is None else "git_commit_resumed": git_commit()}
            with mlflow.start_run(
                run_id=run_id,
                experiment_id=None if run_id else self._experiment_id(),
                run_name=name,
                tags={**commit, **_shown(tags or {})},
            ) as active:
                yield run or Run(active.info.run_id, self.client, self.uri)

    def run_status(self, run_id: str) -> str | None:
        """RUNNING, FINISHED, FAILED or KILLED; None when there is no such run, or it has been deleted."""
        try:
            info = self.client.get_run(run_id).info
        except MlflowException as error:
            if is_missing(error):
                return None
            raise StorageError(first_line(self.uri, error)) from error
        return str(info.status) if info.lifecycle_stage == "active" else None

    def end_run(self, run_id: str) -> None:
        """Marks a run that its process has left open as killed."""
        if self.run_status(run_id) is not None:
            with one_line_errors(self.uri):
                self.client.set_terminated(run_id, "KILLED")

    def finished_trainings(self, dataset: str, profile: str) -> list[dict[str, str]]:
        """Gives the tags of every training of a profile on a dataset's folder that came to its end, newest first.

        It counts whether its model was promoted, refused or never looked at.
        """
        chosen = "attributes.status = 'FINISHED' and attributes.run_name = 'retrain'"
        found: list[dict[str, str]] = []
        token = None
        with one_line_errors(self.uri):
            experiment = self.client.get_experiment_by_name(EXPERIMENT_NAME)
            while experiment is not None:
                page = self.client.search_runs(
                    [experiment.experiment_id], chosen, max_results=_RUNS_PER_CALL, page_token=token
                )
                found += [dict(run.data.tags) for run in page]
                token = page.token
                if not token:
                    break
        # Compared here: a folder's name may hold quotes, which MLflow's filters cannot escape.
        return [tags for tags in found if (tags.get("dataset"), tags.get("profile")) == (dataset, profile)]

    def register(self, folder: Path, run: Run, tags: Mapping[str, str], description: str = "") -> int:
        """Copies a model folder into the registry as a new version, makes it `candidate` and returns its number.

        To be called inside the block of the run it came from; a run that has registered its model before, and
        was then interrupted, gets the same version again.
        """
        before = run.tags().get(_VERSION_TAG)
        if before is not None:
            if (self.alias_version(CANDIDATE) or 0) < int(before):
                self.set_alias(CANDIDATE, int(before))
            return int(before)
        with one_line_errors(self.uri), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # advice on type hints and input examples
            info = mlflow.pyfunc.log_model(
                name=MODEL_NAME,
                python_model=str(_PYFUNC_FILE),
                artifacts={"model": str(folder)},
                # Named here, because MLflow would otherwise load the whole model once more to infer them.
                pip_requirements=[f"{name}=={installed_version(name)}" for name in _SERVING_PACKAGES],
                signature=_signature(),
            )
            self._ensure_registered_model()
            created = self.client.create_model_version(
                MODEL_NAME,
                info.model_uri,
                run.run_id,
                tags=_shown(tags),
                description=without_secrets(description)[:_DESCRIPTION_CHARACTERS],
                model_id=info.model_id,  # a server refuses the source without it
            )
        run.set_tags({_VERSION_TAG: str(created.version)})
        self.set_alias(CANDIDATE, int(created.version))
        return int(created.version)

    def alias_version(self, alias: str) -> int | None:
        """Gives the version an alias points to, or None."""
        try:
            return int(self.client.get_model_version_by_alias(MODEL_NAME, alias).version)
        except MlflowException as error:
            if is_missing(error):
                return None
            raise StorageError(first_line(self.uri, error)) from error

    def set_alias(self, alias: str, version: int) -> None:
        """Points an alias at a version."""
        with one_line_errors(self.uri):
            self.client.set_registered_model_alias(MODEL_NAME, alias, str(version))

    def champion(self, profile: str | None = None) -> int | None:
        """Gives the champion of a profile, without one the version promoted last; None where there is none.

        A version that was promoted before profiles had champions of their own is found by its tag.
        """
        last = self.alias_version(CHAMPION)
        if profile is None:
            return last
        for version in (self.alias_version(champion_alias(profile)), last):
            if version is not None and self.version_tags(version).get("profile", profile) == profile:
                return version
        return None

    def set_champion(self, version: int, after: int | None = None) -> None:
        """Makes a version the champion of its profile, and the last promoted of all.

        With `after` it comes back in the place of that one, and is the last promoted where that one was.
        """
        profile = self.version_tags(version).get("profile")
        if profile is not None:
            self.set_alias(champion_alias(profile), version)
        if after is None or self.alias_version(CHAMPION) == after:
            self.set_alias(CHAMPION, version)

    def version_run(self, version: int) -> str:
        """Gives the id of the run that a version came from."""
        return str(self._version(version).run_id)

    def version_tags(self, version: int) -> dict[str, str]:
        """Gives the tags of a version."""
        return dict(self._version(version).tags)

    def set_version_tags(self, version: int, tags: Mapping[str, str]) -> None:
        """Sets tags of a version, leaving its others alone."""
        with one_line_errors(self.uri):
            for name, value in _shown(tags).items():
                self.client.set_model_version_tag(MODEL_NAME, str(version), name, value)

    def recorded_metrics(self, version: int) -> list[RecordedMetric]:
        """Gives every figure that `log_version_metrics` has recorded of a version, oldest first.

        A version that was registered by hand, or whose logged model has been deleted, has none.
        """
        found = self._version(version)
        try:
            recorded = self.client.get_logged_model(_model_id(found)).metrics or []
        except MlflowException as error:
            if is_missing(error):
                return []
            raise StorageError(first_line(self.uri, error)) from error
        return [
            RecordedMetric(
                metric.key.removeprefix(_VERSION_METRIC),
                metric.value,
                metric.step,
                metric.dataset_digest or "",
            )
            for metric in sorted(recorded, key=lambda metric: (metric.step, metric.timestamp))
            if metric.key.startswith(_VERSION_METRIC)
        ]

    def log_version_metrics(
        self, version: int, metrics: Mapping[str, float], tags: Mapping[str, str] | None = None
    ) -> None:
        """Records figures of a version, beside earlier ones of the same name, and tags about them.

        The tag `evaluation.reference`, a digest, is kept with each figure too: a later evaluation replaces the tag.
        StorageError, and nothing is recorded, when a figure is not finite.
        """
        check_finite(metrics)
        found = self._version(version)
        # A figure recorded later gets a later step: two evaluations within a millisecond stay in order.
        step = time.time_ns() // 1_000_000
        digest = (tags or {}).get(REFERENCE_TAG)
        # MLflow's databases hold 36 characters.
        reference = {} if digest is None else {"dataset_name": "reference", "dataset_digest": digest[:36]}
        with one_line_errors(self.uri):
            for name, value in metrics.items():
                self.client.log_metric(
                    found.run_id,
                    _VERSION_METRIC + name,
                    float(value),
                    step=step,
                    model_id=_model_id(found),
                    **reference,
                )
        self.set_version_tags(version, tags or {})

    def check_artifacts(self) -> str:
        """Gives where runs keep their files, once one was left there, read back and deleted.

        Asked before hours of work: StorageError when that cannot be. In a dry run they are looked at only where runs of
        this machine keep theirs: elsewhere it takes one to be left.
        """
        if scratch() is not None:
            problem = why_unusable(mlflow_artifacts())
            if problem is not None:
                raise StorageError(f"MLflow: files cannot be kept at {problem}")
            return str(mlflow_artifacts())
        with one_line_errors(self.uri):
            location = self.client.get_experiment(self._experiment_id()).artifact_location
        try:
            repository = get_artifact_repository(location)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, f"write-check-{uuid.uuid4().hex}.txt")
                file.write_text(written := "written to see whether it can be\n")
                repository.log_artifact(str(file))
                (back := Path(folder, "back")).mkdir()
                read = Path(repository.download_artifacts(file.name, str(back))).read_text()
                repository.delete_artifacts(file.name)
            if read != written:
                raise OSError(errno.EIO, "what was read back is not what was written")
        except Exception as error:  # a file system's, a store's or a server's
            reason = getattr(error, "strerror", None) or first_line(self.uri, error)
            raise StorageError(f"MLflow: files cannot be kept at {location}: {reason}") from error
        return str(location)

    def _version(self, version: int) -> ModelVersion:
        try:
            return self.client.get_model_version(MODEL_NAME, str(version))
        except MlflowException as error:
            if is_missing(error):
                raise StorageError(f"{version_ref(version)}: no such version at {self.uri}") from error
            raise StorageError(first_line(self.uri, error)) from error

    def _ensure_registered_model(self) -> None:
        try:
            self.client.create_registered_model(MODEL_NAME)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _experiment_id(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT_NAME)
        if found is not None:
            return found.experiment_id
        # A server decides where artifacts go; without one MLflow would put them into the working directory.
        location = None if self.uri.startswith("http") else mlflow_artifacts().as_uri()
        return self.client.create_experiment(EXPERIMENT_NAME, artifact_location=location)


def _shown(tags: Mapping[str, str]) -> dict[str, str]:
    """Gives the tags as MLflow may keep them: without the passwords of addresses."""
    return {name: without_secrets(str(value)) for name, value in tags.items()}


def resolve_model(ref: str | Path) -> ResolvedModel:
    """Gives the folder that a reference means: a model folder, `models:/vidrd@champion` or `models:/vidrd/3`.

    A version kept on this machine is used where it lies; any other is downloaded once, into the home folder.
    Raises StorageError, one line, when there is no such model.
    """
    if not is_registered(ref):
        return model_folder(ref)
    text, registry = str(ref), Registry()
    version = _parse_version(text, registry)
    found = registry._version(version)
    with one_line_errors(registry.uri):
        folder = _version_folder(registry, found)
    return ResolvedModel(folder, text, version, found.run_id, dict(found.tags))


@lru_cache(maxsize=1)
def git_commit() -> str:
    """Gives the commit of the project's code, `-dirty` when files differ from it; "unknown" outside a clone."""
    root = Path(__file__).resolve().parents[2]
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _parse_version(ref: str, registry: Registry) -> int:
    name, separator, alias = ref.removeprefix(REF_PREFIX).partition("@")
    if not separator:
        name, _, number = name.partition("/")
        alias = ""
    else:
        number = ""
    if name != MODEL_NAME or not (alias or number.isdigit()):
        forms = f"{REF_PREFIX}{MODEL_NAME}@ALIAS or {REF_PREFIX}{MODEL_NAME}/NUMBER"
        raise StorageError(f"{ref}: not a model reference ({forms})")
    if number:
        return int(number)
    version = registry.alias_version(alias)
    if version is None:
        raise StorageError(
            f"{ref}: no model has the alias {alias!r} at {registry.uri}{_MADE_BY.get(alias, '')}"
        )
    return version


def _version_folder(registry: Registry, found: ModelVersion) -> Path:
    location = registry.client.get_model_version_download_uri(MODEL_NAME, str(found.version))
    if location.startswith(("file:", "/")):
        return _model_artifact(Path(local_file_uri_to_path(location)))
    # The model id, not only the number: several servers all have a version 1.
    name = f"{MODEL_NAME}-{found.version}-{_model_id(found)}"
    cached = home() / "models" / name
    if not cached.is_dir():
        cached = home_of_the_new() / "models" / name
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=cached.parent))
        try:
            download_artifacts(version_ref(found.version), dst_path=str(partial))
            partial.rename(cached)
        except OSError:
            if not cached.is_dir():  # else another process was faster, and its copy is as good
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return _model_artifact(cached)


def _model_id(found: ModelVersion) -> str:
    # The id is a field of the version too, but neither store fills it in.
    return found.source.removeprefix(REF_PREFIX)


def _model_artifact(version_root: Path) -> Path:
    if not (version_root / "MLmodel").is_file():
        raise StorageError(f"{version_root}: the files of this registered model are gone (no MLmodel)")
    flavor = Model.load(str(version_root)).flavors["python_function"]
    return version_root / flavor["artifacts"]["model"]["path"]


def _signature() -> ModelSignature:
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "prompt")]),
        outputs=Schema([TensorSpec(np.dtype("uint8"), (-1, -1, -1, -1, 3), "frames")]),
        params=ParamSchema(
            [
                ParamSpec("num_clips", DataType.long, 1),
                ParamSpec("seed", DataType.long, 0),
                # None: as it was saved with the model.
                ParamSpec("num_inference_steps", DataType.long, None),
                ParamSpec("guidance_scale", DataType.double, None),
            ]
        ),
    )
