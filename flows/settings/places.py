"""Where profiles lie: those that ship, files by path, and files that were given once, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from storage.local.dry_run import scratch
from storage.local.home import home
from storage.local.json_files import read_json, write_json
from tasks.errors import RequestError

PROFILES_DIR = Path(__file__).resolve().parents[2] / "infra" / "profiles"
FILE = "profile.toml"


@dataclass(frozen=True)
class FoundProfile:
    """The file of a profile; `source` is what finds it again wherever one stands, `shipped` its name if it ships."""

    path: Path
    source: str
    shipped: str | None = None

    @property
    def default_name(self) -> str:
        """What a profile is called whose file does not say: as the file, or as its folder."""
        return self.path.parent.name if self.path.name == FILE else self.path.stem


def profile_names() -> list[str]:
    """The profiles that ship with the project."""
    return sorted(path.parent.name for path in PROFILES_DIR.glob(f"*/{FILE}"))


def given_profiles() -> dict[str, Path]:
    """Gives the files that were given once, by the names that they call themselves."""
    noted = read_json(_list())
    return {name: Path(path) for name, path in noted.items()} if isinstance(noted, dict) else {}


def remember_profile(name: str, path: Path) -> None:
    """Notes the file of a name, so that the name finds it, but in a dry run; names of shipped profiles stay theirs."""
    noted = given_profiles()
    if name in profile_names() or noted.get(name) == path or scratch() is not None:
        return
    _list().parent.mkdir(parents=True, exist_ok=True)
    write_json(_list(), {known: str(file) for known, file in sorted((noted | {name: path}).items())})


def find_profile(name_or_path: str, folder: Path | None = None) -> FoundProfile:
    """Finds a profile by a shipped name, by the path of a file (relative to a folder), or by the name of a given file.

    RequestError, one line, says what is known.
    """
    if "/" not in name_or_path and name_or_path in profile_names():
        return FoundProfile(PROFILES_DIR / name_or_path / FILE, name_or_path, name_or_path)
    path = (folder or Path.cwd()) / name_or_path
    try:
        if path.is_dir() and (path / FILE).is_file():
            path = path / FILE
        if path.is_file():
            return FoundProfile(path.absolute(), str(path.absolute()))
    except (OSError, ValueError):  # a text that can be no path
        pass
    given = given_profiles()
    if name_or_path in given:
        path = given[name_or_path]
        if not path.is_file():
            raise RequestError(
                f"profile: {name_or_path!r} was {path}, which is gone; give its file with --profile"
            )
        return FoundProfile(path, str(path))
    raise RequestError(_is_none(name_or_path, [*profile_names(), *given]))


def _is_none(text: str, known: Sequence[str]) -> str:
    near = get_close_matches(text, known, n=1, cutoff=0.6)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"profile: {text!r} is neither one of {', '.join(known)} nor a profile file{meant}"


def _list() -> Path:
    return home() / "profiles.json"
