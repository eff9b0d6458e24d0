"""A dataset folder opened for reading: one finished build, with a reader for each of its tables.

`DIR` means the newest finished build, `DIR@build-0001` that one; rows committed since are not seen.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from storage.dataset.builds import Build, finished_builds
from storage.dataset.columns import CAPTION, LATENTS, REASON, SOURCE_FILMS, SOURCE_URI, STATES, TEXT_ENCODER
from storage.dataset.folder import TEXTS, bytes_below, check_is_dataset, parse_ref, table_path, tables_there
from storage.dataset.table_reader import ROW, TableReader
from storage.dataset.tables import read_table
from storage.errors import StorageError


class ClipDataset:
    """One finished build of a dataset folder, read-only; open it in the process that reads it."""

    def __init__(self, folder: Path, build: Build) -> None:
        self.folder = folder
        self.build = build
        self._tables: dict[str, TableReader] = {}

    @classmethod
    def open(cls, ref: str | Path) -> Self:
        """Opens `DIR[@TAG]`; StorageError when it is no dataset, has no finished build or no such tag."""
        folder, tag = parse_ref(ref)
        check_is_dataset(folder)
        builds = finished_builds(folder)
        if not builds:
            raise StorageError(f"{folder}: has no finished build yet: run build-dataset on it again")
        if tag is None:
            return cls(folder, builds[-1])
        for build in builds:
            if build.tag == tag and build.purged:
                raise StorageError(f"{folder}: {tag} was purged: nothing is left of it")
            if build.tag == tag:
                return cls(folder, build)
        tags = ", ".join(build.tag for build in builds if not build.purged)
        raise StorageError(f"{folder}: has no build tagged {tag!r}; there are: {tags}")

    @property
    def tag(self) -> str:
        """The build's tag."""
        return self.build.tag

    @property
    def version(self) -> int:
        """The version of the clips table."""
        return self.build.versions["clips"]

    @property
    def clips(self) -> TableReader:
        """The clips to train on."""
        return self.table("clips")

    @property
    def rejected(self) -> TableReader:
        """The clips that were scored and not kept, with their `reason`."""
        return self.table("rejected")

    @property
    def quarantine(self) -> TableReader:
        """The sources that could not be used: stage, error, attempts."""
        return self.table("quarantine")

    def table(self, name: str) -> TableReader:
        """One of the build's tables."""
        if name not in self._tables:
            self._tables[name] = read_table(self.folder, name, self.build.versions[name])
        return self._tables[name]

    def __len__(self) -> int:
        return self.clips.count_rows()

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Frames, channels, height and width of one clip's latents."""
        return self.clips.tensor_shape(LATENTS)

    @property
    def has_latents_std(self) -> bool:
        """Whether every clip has the deviation of its latents beside their mean."""
        return self.clips.count_rows("latents_std IS NULL") == 0

    @property
    def text_encoder(self) -> str | None:
        """The digest of the text encoder whose states the build stored; None where it stored none."""
        if TEXTS not in self.build.versions:
            return None
        first = next(self.table(TEXTS).batches([TEXT_ENCODER], batch_rows=1), None)
        return None if first is None else first[TEXT_ENCODER][0].as_py()

    def text_states(self, captions: Sequence[str]) -> np.ndarray | None:
        """Gives the text encoder's states of captions, float16 (k, tokens, width); None where the build stored none.

        Raises StorageError for a caption that is not in the table.
        """
        if TEXTS not in self.build.versions:
            return None
        texts = self.table(TEXTS)
        found = texts.read([ROW, CAPTION], where={CAPTION: set(captions)})
        row_of = dict(zip(found[CAPTION].to_pylist(), found[ROW].to_pylist(), strict=True))
        missing = [caption for caption in captions if caption not in row_of]
        if missing:
            raise StorageError(
                f"{self.folder}@{self.tag}: has no text states of {missing[0]!r}; build it again"
            )
        (states,) = texts.take_batches([[row_of[caption] for caption in captions]], [STATES])
        return states[STATES].combine_chunks().to_numpy_ndarray()

    def info(self) -> dict[str, Any]:
        """Counts rows, and tells versions, tags and bytes on disk, as plain JSON."""
        builds = [build for build in finished_builds(self.folder) if not build.purged]
        quarantine = self.quarantine.read([SOURCE_URI, "corpus", "stage", "error", "attempts"])
        return {
            "dataset": str(self.folder),
            "tag": self.tag,
            "version": self.version,
            "versions": self.build.versions,
            "tags": [build.tag for build in builds],
            "builds": _growth(builds),
            "finished_at": self.build.finished_at,
            "sources": self.table("sources").count_rows(),
            "clips": len(self),
            "clips_by": _counts(self.clips, "kind", "corpus", "split", "licence"),
            "clips_of_several_films": self._clips_of_several_films(),
            "rejected": self.rejected.count_rows(),
            "rejected_by": _counts(self.rejected, REASON, "corpus"),
            "quarantined": quarantine.num_rows,
            "quarantined_by": _counts(self.quarantine, "stage"),
            "quarantine": quarantine.to_pylist(),
            "bytes": {
                table: bytes_below(table_path(self.folder, table)) for table in tables_there(self.folder)
            },
        }

    def _clips_of_several_films(self) -> int:
        """Counts the clips whose files hold other video streams that could have been the film, angles, say."""
        there = SOURCE_FILMS in self.clips.names  # tables of earlier versions lack it
        return self.clips.count_rows(f"{SOURCE_FILMS} > 1") if there else 0


def _growth(builds: Sequence[Build]) -> list[dict[str, Any]]:
    """For every build its rows per table, and how many more these are than the build before had."""
    before = [{}, *(build.rows for build in builds)]
    return [
        {"tag": build.tag, "finished_at": build.finished_at, "rows": build.rows}
        | {"more": {table: count - last.get(table, 0) for table, count in build.rows.items()}}
        for build, last in zip(builds, before, strict=False)
    ]


def _counts(table: TableReader, *columns: str) -> dict[str, dict[str, int]]:
    """Tells how often each value of a column comes."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in columns}
    for batch in table.batches(columns):
        for name, counter in counts.items():
            counter.update(batch[name].to_pylist())
    return {name: dict(sorted(counter.items())) for name, counter in counts.items()}
