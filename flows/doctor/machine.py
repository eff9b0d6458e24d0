"""What of this machine decides whether commands run: Python, packages, ffmpeg, GPUs, memory, disks, clocks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from flows.doctor.finding import Finding
from storage.local.folders import why_unusable
from storage.local.home import home
from storage.local.private_temp import private_temp
from tasks.clips.ffmpeg import ffmpeg_version

_GB = 1e9
DEMO_GB = 5.0
"""What `vidrd demo` takes of memory at its peak, all processes together (docs/benchmarks.md)."""
DISK_NOTE_GB, DISK_PROBLEM_GB = 20.0, 1.0
SHM_NOTE_GB = 2.0
"""Where /dev/shm is smaller, Ray keeps its objects on the disk, which is slow."""
CLOCK_S = 5.0
_NO_LIMIT = "max"


def python(package: str = "vidrd") -> Iterable[Finding]:
    """Python's version and system, and whether all packages that ours asks for are there in versions that fit."""
    version, wanted = sys.version.split()[0], metadata.metadata(package)["Requires-Python"]
    told = f"{version} on {sys.platform}"
    if sys.platform != "linux":
        yield Finding("Python", "problem", told, "vidrd runs on Linux alone")
    elif not SpecifierSet(wanted).contains(version, prereleases=True):
        yield Finding("Python", "problem", told, f"use a Python {wanted}")
    else:
        yield Finding("Python", "ok", told)
    wrong, fitting = [], 0
    for text in metadata.requires(package) or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        problem = _misfit(requirement)
        wrong += [problem] if problem else []
        fitting += not problem
    if wrong:
        yield Finding(
            "packages",
            "problem",
            "; ".join(wrong),
            "install what requirements.lock names: pip install -r requirements.lock",
        )
    else:
        yield Finding("packages", "ok", f"all {fitting} that vidrd asks for fit")


def _misfit(requirement: Requirement) -> str | None:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return f"{requirement.name} is {version}, not {requirement.specifier}"


def ffmpeg() -> Iterable[Finding]:
    """The program that writes videos; what reads them comes with PyAV's package."""
    yield Finding("ffmpeg", "ok", ffmpeg_version())


def gpus() -> Iterable[Finding]:
    """The GPUs that torch can use, and a driver that it cannot."""
    import torch

    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            yield Finding(
                f"GPU {number}",
                "ok",
                f"{torch.cuda.get_device_name(number)}, {free / _GB:.1f} of {total / _GB:.1f} GB free",
            )
        return
    driver = _driver()
    if driver is None:
        yield Finding(
            "GPU",
            "note",
            "none: models run on the CPU",
            "fine for the tiny profile; others take days on a CPU",
        )
    elif not os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip():
        yield Finding(
            "GPU", "note", "CUDA_VISIBLE_DEVICES hides all", "unset CUDA_VISIBLE_DEVICES to use them"
        )
    else:
        needs = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA: it is built for CPUs alone"
        yield Finding(
            "GPU",
            "problem",
            f"torch cannot use it: the driver is {driver}, torch {torch.__version__} needs {needs}",
            "install a newer driver, or the torch that requirements.lock names",
        )


def _driver() -> str | None:
    """The version of NVIDIA's driver, asked of its own program; None where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    lines = done.stdout.split()
    return lines[0] if lines and not done.returncode else None


def memory() -> Iterable[Finding]:
    """What this process may take of the memory: the machine's, or what a container leaves of it."""
    free, limit = psutil.virtual_memory().available, container_limit()
    told = f"{free / _GB:.1f} GB free, {os.cpu_count()} cores"
    if limit is not None:
        free = min(free, limit)
        told += f"; the container may take {limit / _GB:.1f} GB more"
    if free < DEMO_GB * _GB:
        yield Finding(
            "memory", "note", told, f"the demo takes {DEMO_GB:g} GB: end what else runs, or raise the limit"
        )
    else:
        yield Finding("memory", "ok", told)


def container_limit(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that a control group has left, as the kernel counts them; None where it has no limit."""
    try:
        most = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if most == _NO_LIMIT else max(0, int(most) - used)


def shared_memory() -> Iterable[Finding]:
    """/dev/shm, in which Ray's processes hand one another their objects."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        yield Finding(
            "/dev/shm", "note", "there is none", "mount it: Ray keeps objects on the disk otherwise"
        )
        return
    size = shutil.disk_usage(folder).total
    if size < SHM_NOTE_GB * _GB:
        yield Finding(
            "/dev/shm",
            "note",
            f"{size / _GB:.2f} GB",
            f"give containers {SHM_NOTE_GB:g} GB (docker run --shm-size=2g): Ray keeps objects on the disk otherwise",
        )
    else:
        yield Finding("/dev/shm", "ok", f"{size / _GB:.1f} GB")


def disks() -> Iterable[Finding]:
    """The folders of all that is made and of what is temporary: whether they can be written, and their room."""
    for about, folder, variable in (
        ("VIDRD_HOME", home(), "VIDRD_HOME"),
        ("temporary files", Path(tempfile.gettempdir()), "TMPDIR"),
    ):
        problem = why_unusable(folder)
        if problem is not None:
            yield Finding(about, "problem", problem, f"set {variable} to a folder that can be written")
            continue
        nearest = next(path for path in (folder, *folder.parents) if path.is_dir())
        free = shutil.disk_usage(nearest).free
        told = f"{folder}, {free / _GB:.1f} GB free"
        advice = f"free some, or set {variable} to a larger disk"
        if free < DISK_PROBLEM_GB * _GB:
            yield Finding(about, "problem", told, advice)
        elif free < DISK_NOTE_GB * _GB:
            yield Finding(about, "note", told, advice)
        else:
            yield Finding(about, "ok", told)


def sockets() -> Iterable[Finding]:
    """Whether Ray's sockets fit under a temporary folder: the kernel allows their paths 107 characters."""
    from tasks.cluster import temp_dir

    yield Finding(
        "sockets", "ok", f"Ray's under {temp_dir()}, vidrd's under {private_temp(tempfile.gettempdir())}"
    )


def clock() -> Iterable[Finding]:
    """Whether the disk of `$VIDRD_HOME` and this machine agree on the time: what is newer hangs on it."""
    folder = next(path for path in (home(), *home().parents) if path.is_dir())
    with tempfile.TemporaryFile(dir=folder) as file:
        apart_s = os.fstat(file.fileno()).st_mtime - time.time()
    told = f"{time.strftime('%Y-%m-%d %H:%M:%S %Z')}"
    if abs(apart_s) > CLOCK_S:
        yield Finding(
            "clock",
            "problem",
            f"{told}; files in {folder} are {apart_s:+.0f} s off",
            "set both by NTP (timedatectl)",
        )
    else:
        yield Finding("clock", "ok", told)
