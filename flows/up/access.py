"""What stands before the pages and the interfaces of our servers: who is asked for, from where, and by whom.

A browser runs scripts of any site beside our pages, and those can reach the loopback too. So a request has to name us
as its host (a name that a stranger's DNS points at 127.0.0.1 is refused), must not come from a page of another origin,
and must carry the server's secret: programs in the Authorization header, browsers in a cookie that a one-time link
gives them (flows/up/login.py). The application behind asks for the secret once more; a cookie becomes its header here.
"""

from __future__ import annotations

import base64
import hmac
import json
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from http.cookies import CookieError, SimpleCookie
from typing import Any

from flows.up.login import LOGIN_PATH, Login

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_SAFE_METHODS = {"GET", "HEAD"}
_POLICY = b"content-security-policy"
_HEADERS = [
    (_POLICY, b"frame-ancestors 'self'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]
_LINK_HELP = (
    "This page opens with the link that `vidrd up` prints; a link works once. `vidrd up` again, while it runs, "
    "prints another."
)


@dataclass(frozen=True)
class Access:
    """ASGI middleware: lets through what is asked of us, by our own pages or by programs, with our secret.

    `address` is the one that people are given, `http://127.0.0.1:4200`; pages asked for under the name localhost are
    sent there. `open_paths` answer without the secret (a health check), to the right host and origin only.
    """

    app: Application
    address: str
    auth: str = field(repr=False)  # user:secret
    login: Login
    open_paths: frozenset[str] = frozenset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        path, method = scope["path"], scope["method"]
        if refusal := self._refusal(headers):
            await _answer(send, 403, refusal)
        elif _is_page(method, headers) and headers["host"].startswith("localhost"):
            asked = scope["raw_path"].decode("latin-1") + "?" + scope["query_string"].decode("latin-1")
            await _answer(send, 307, "", {"location": self.address + asked.rstrip("?")})
        elif method == "GET" and path == LOGIN_PATH:
            await self._log_in(scope, send)
        elif path in self.open_paths and method in _SAFE_METHODS:
            await self.app(scope, receive, send)
        elif self._has_secret(headers):
            await self.app(scope, receive, self._with_headers(send))
        elif self._has_cookie(headers):
            if _is_from_another_site(method, headers):
                await _answer(send, 403, "not from a page of ours")
            else:
                await self.app(self._with_secret(scope), receive, self._with_headers(send))
        elif _is_page(method, headers):
            await _answer(send, 401, _LINK_HELP)
        else:
            message = f"the secret of {self.address} is missing or wrong"
            body = {"error_code": "UNAUTHENTICATED", "message": message, "exception_message": "Unauthorized"}
            await _answer(send, 401, json.dumps(body), {"content-type": "application/json"})

    async def _log_in(self, scope: Scope, send: Send) -> None:
        query = urllib.parse.parse_qs(scope["query_string"].decode("latin-1"))
        (token,) = query.get("token", [""])[:1]
        if not self.login.redeem(token):
            await _answer(send, 401, _LINK_HELP)
            return
        # Another page of 127.0.0.1 cannot read it (HttpOnly), another site's cannot make the browser send it (Strict).
        cookie = f"{self.login.cookie_name}={self.login.new_cookie()}; Path=/; HttpOnly; SameSite=Strict"
        more = {
            "location": f"{self.address}/",
            "set-cookie": f"{cookie}; Max-Age={self.login.cookie_seconds}",
        }
        await _answer(send, 303, "", more)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        if self._refusal(headers):
            await send({"type": "websocket.close", "code": 1008})
        elif self._has_secret(headers):
            await self.app(scope, receive, send)
        elif self._has_cookie(headers):
            # Prefect's sockets are told the secret in their first message, and a page that has a cookie knows none.
            socket = _Socket(receive, send, self._secret_message)
            await self.app(self._with_secret(scope), socket.receive, socket.send)
        else:
            socket = _Socket(receive, send, self._checked)
            await self.app(scope, socket.receive, socket.send)

    @cached_property
    def _hosts(self) -> set[str]:
        name, _, port = self.address.split("//", 1)[1].rpartition(":")
        hosts = {f"{name}:{port}", f"localhost:{port}"}
        return hosts | {name, "localhost"} if port == "80" else hosts

    def _refusal(self, headers: Mapping[str, str]) -> str | None:
        host = headers.get("host", "")
        if host not in self._hosts:
            return "this server is not known by that name"
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return "not from a page of another origin"
        return None

    def _has_secret(self, headers: Mapping[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "basic" and hmac.compare_digest(given.strip().encode(), self._basic)

    def _has_cookie(self, headers: Mapping[str, str]) -> bool:
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        found = cookies.get(self.login.cookie_name)
        return found is not None and self.login.accepts(found.value)

    @cached_property
    def _basic(self) -> bytes:
        return base64.b64encode(self.auth.encode())

    def _with_secret(self, scope: Scope) -> Scope:
        """The request as a program would have sent it; what a page knows of some earlier server's secret is dropped."""
        kept = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
        return {**scope, "headers": [*kept, (b"authorization", b"Basic " + self._basic)]}

    def _with_headers(self, send: Send) -> Send:
        """What the browser is told of our pages: who may show them, and that they tell nobody else what they show.

        Prefect's hold a recorder of sessions that asks elsewhere even where analytics are off, MLflow's count clicks.
        """
        told = f"connect-src 'self' {self.address.replace('http', 'ws', 1)}"

        async def send_all(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message.get("headers", [])
                names = {name.lower() for name, _ in given}
                more = [header for header in _HEADERS if header[0] not in names]
                message = {**message, "headers": [*given, *more, (_POLICY, told.encode())]}
            await send(message)

        return send_all

    def _secret_message(self, text: str) -> str | None:
        return json.dumps({**_json_object(text), "token": self.auth}) if _is_auth(text) else text

    def _checked(self, text: str) -> str | None:
        token = _json_object(text).get("token") if _is_auth(text) else None
        known = isinstance(token, str) and hmac.compare_digest(token.encode(), self.auth.encode())
        return text if known else None


class _Socket:
    """The messages of a WebSocket whose first one is looked at: replaced, or, by None, the other side has gone.

    Before that the application may accept and close, but tells nothing.
    """

    def __init__(self, receive: Receive, send: Send, first: Callable[[str], str | None]) -> None:
        self._receive, self._send, self._first = receive, send, first
        self._known = self._gone = False

    async def receive(self) -> Message:
        if self._gone:
            return {"type": "websocket.disconnect", "code": 1008}
        message = await self._receive()
        if message["type"] != "websocket.receive" or self._known:
            return message
        text = self._first(message.get("text") or (message.get("bytes") or b"").decode("utf-8", "replace"))
        if text is None:
            self._gone = True
            await self._send({"type": "websocket.close", "code": 1008})
            return {"type": "websocket.disconnect", "code": 1008}
        self._known = True
        return {"type": "websocket.receive", "text": text}

    async def send(self, message: Message) -> None:
        if self._known or (message["type"] != "websocket.send" and not self._gone):
            await self._send(message)


def _headers(scope: Scope) -> dict[str, str]:
    """The headers by name; one that comes twice is neither of the two."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        found[key] = f"{found[key]}, {value.decode('latin-1')}" if key in found else value.decode("latin-1")
    return found


def _is_page(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser asks for a page to show, not a script or a program for data."""
    shown = headers.get("sec-fetch-mode", "navigate") == "navigate"
    return method in _SAFE_METHODS and shown and "text/html" in headers.get("accept", "")


def _is_from_another_site(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser says that a page of another origin, or of another port of this host, makes it ask.

    Ports are one site, so SameSite does not tell those apart.
    """
    if headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none"):
        return False
    return not (_is_page(method, headers) and headers.get("sec-fetch-dest", "document") == "document")


async def _answer(send: Send, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
    body = text.encode()
    all_headers = {
        "content-type": "text/plain; charset=utf-8",
        "cache-control": "no-store",
        **(headers or {}),
    }
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in all_headers.items()]
    encoded += [*_HEADERS, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def _json_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_auth(text: str) -> bool:
    return _json_object(text).get("type") == "auth"
