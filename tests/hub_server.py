"""A hub on the loopback: what `huggingface_hub`, `datasets` and `diffusers` ask of one, answered from a folder.

`HF_ENDPOINT` has to name it before these libraries are imported, so whoever uses it does so in another process.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0" * 39 + "1"


class _Hub(BaseHTTPRequestHandler):
    """Answers for the repositories in `server.folder`, each a folder `owner/name` of files."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.command, self.path, self.headers.get("Range")))
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] in (["api", "datasets"], ["api", "models"]):
            self._api(parts[2] + "/" + parts[3], parts[4:])
        elif parts[0] == "datasets" and parts[3:4] == ["resolve"]:
            self._file(self.server.folder / parts[1] / parts[2] / "/".join(parts[5:]))
        elif parts[2:3] == ["resolve"]:  # of a model
            self._file(self.server.folder / parts[0] / parts[1] / "/".join(parts[4:]))
        else:
            self._answer(404, {"error": "Not Found"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.server.asked.append((self.command, self.path, None))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if "paths-info" in parts:
            asked = json.loads(body) if body.startswith(b"{") else parse_qs(body.decode())
            repo = self.server.folder / parts[2] / parts[3]
            self._answer(200, [entry for path in asked["paths"] if (entry := _entry(repo, repo / path))])
        else:
            self._answer(404, {"error": "Not Found"})

    def _api(self, name: str, rest: list[str]) -> None:
        repo = self.server.folder / name
        if not repo.is_dir():
            self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif not rest or rest[0] == "revision":
            files = [{"rfilename": path.relative_to(repo).as_posix()} for path in _files(repo)]
            said = {"id": name, "sha": COMMIT, "private": False, "gated": False, "disabled": False}
            said |= {
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": files,
                "lastModified": "2026-01-01T00:00:00.000Z",
            }
            self._answer(200, said)
        elif rest[0] == "tree":
            below = repo / "/".join(rest[2:])
            deep = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() in ("true", "1")
            found = sorted(below.rglob("*") if deep else below.iterdir()) if below.is_dir() else []
            if found:
                self._answer(200, [entry for path in found if (entry := _entry(repo, path))])
            else:
                self._answer(404, {"error": "Not Found"}, {"X-Error-Code": "EntryNotFound"})
        else:
            self._answer(404, {"error": "Not Found"})

    def _file(self, path: Path) -> None:
        if not path.is_file():
            self._answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            return
        content = path.read_bytes()
        more = {"ETag": f'"{_blob(path)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        status = 200
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            end = min(int(last) + 1 if last else len(content), len(content))
            more["Content-Range"] = f"bytes {first}-{end - 1}/{len(content)}"
            content, status = content[int(first) : end], 206
        self._send(status, content, "application/octet-stream", more)

    def _answer(self, status: int, said: object, more: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(said).encode(), "application/json", more or {})

    def _send(self, status: int, content: bytes, kind: str, more: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing; what was asked is in `asked`."""


def _files(repo: Path) -> list[Path]:
    return sorted(path for path in repo.rglob("*") if path.is_file())


def _blob(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


def _entry(repo: Path, path: Path) -> dict[str, Any] | None:
    name = path.relative_to(repo).as_posix()
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}
    return (
        {"type": "file", "path": name, "oid": _blob(path), "size": path.stat().st_size}
        if path.is_file()
        else None
    )


@contextmanager
def hub(folder: Path) -> Iterator[tuple[str, list[tuple[str, str, str | None]]]]:
    """Serves the repositories of a folder; gives the address and the list of what was asked (method, path, range)."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.folder, server.asked = folder, []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
