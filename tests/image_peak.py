"""What reading an image costs: `python -m tests.image_peak FILE` decodes it in a process of its own.

Prints one line of JSON: by how many bytes the process's peak has grown over what it was after a small image of the
same kind, and either the sizes or the error.
"""

import io
import json
import sys
from pathlib import Path

from PIL import Image

from tasks.clips.images import read_image
from tasks.errors import ItemError


def main(path: Path) -> None:
    """Reports on one file."""
    small = io.BytesIO()
    Image.new("RGB", (16, 16)).save(small, "PNG")
    read_image(small)
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back; getrusage's has the parent's in it
    before = _peak_bytes()
    outcome: dict[str, object]
    try:
        image = read_image(path)
    except ItemError as error:
        outcome = {"error": str(error)}
    else:
        outcome = {"size": [image.width, image.height], "decoded": list(image.picture.size)}
    print(json.dumps({"grown": _peak_bytes() - before} | outcome))


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))
