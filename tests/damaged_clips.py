"""One damaged file after the other through the clip stage, in a process that a crash may take with it.

`python -m tests.damaged_clips FOLDER`: every file of the folder, named `kind--anything`; a line before each and one
of JSON after it, with what came of it and by how much the process has grown.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np
import psutil

from tasks.clips.from_params import frames_from_params
from tasks.clips.from_source import clips_of
from tasks.clips.settings import ClipSettings
from tasks.corpora.records import CaptionSpan, MediaPlace, SourceRecord
from tasks.errors import ItemError

SETTINGS = ClipSettings(num_frames=4, fps=8.0, width=64, height=64, clips_per_source=2, max_shot_s=4.0)


def main(folder: Path) -> None:
    """Reports on every file of a folder."""
    process = psutil.Process()
    for path in sorted(folder.iterdir()):
        print(json.dumps({"begins": path.name}), flush=True)
        before, peak_before_kb = process.memory_info().rss, _peak_kb()
        outcome = _outcome(path)
        # What was given back before the end shows in the peak alone.
        grown_mb = max((process.memory_info().rss - before) / 2**20, (_peak_kb() - peak_before_kb) / 2**10)
        print(json.dumps({"name": path.name, "grown_mb": grown_mb} | outcome), flush=True)


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _outcome(path: Path) -> dict[str, object]:
    kind = path.name.split("--")[0]
    place = MediaPlace(str(path))
    captions = (CaptionSpan("a thing"),)
    source = SourceRecord("s", path.name, place, "c", kind, "CC0-1.0", captions, "given", 1, 1)
    clips = []
    try:
        for clip in clips_of(source, SETTINGS):
            clips.append(clip)
    except ItemError as error:
        return {"stage": error.stage, "error": str(error), "clips": len(clips)}
    except Exception as error:
        return {"raised": f"{type(error).__name__}: {error}"}
    if any(clip.frames_nhwc.shape != (4, 64, 64, 3) for clip in clips):
        return {"raised": "a clip of another shape"}
    again = frames_from_params(str(path), clips[-1].params_json)
    return {"clips": len(clips), "made_again": bool(np.array_equal(again, clips[-1].frames_nhwc))}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
