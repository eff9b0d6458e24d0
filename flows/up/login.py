"""How a browser comes to a server of ours: a link that works once, and the cookie that it is exchanged for."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from storage.local.secret_files import secrets_dir, write_private

LOGIN_PATH = "/vidrd-login"
_COOKIE_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True)
class Login:
    """The links and cookies of the server `name`, which keeps `secret`.

    A link's token is a file named by the token's digest, so the process that prints a link and the server need not
    talk, and of two that open it one is let in. A cookie is signed with the secret: it outlives the server's restart.
    """

    name: str
    secret: str = field(repr=False)
    cookie_seconds: int = _COOKIE_SECONDS

    @property
    def cookie_name(self) -> str:
        return f"vidrd-{self.name}"

    def new_link(self, address: str) -> str:
        """A link that opens the pages of the server at that address, once."""
        token = secrets.token_urlsafe(32)
        write_private(self._file(token), "")
        return f"{address}{LOGIN_PATH}?token={token}"

    def redeem(self, token: str) -> bool:
        """Whether a link with that token was printed and not opened yet; now it is."""
        try:
            self._file(token).unlink()
        except FileNotFoundError:
            return False
        return True

    def forget_links(self) -> None:
        """Links that nobody has opened work no more."""
        for file in secrets_dir().glob(f"link-{self.name}-*"):
            file.unlink(missing_ok=True)

    def new_cookie(self) -> str:
        """The value of a cookie that this server takes for `cookie_seconds`."""
        text = f"{int(time.time()) + self.cookie_seconds}.{secrets.token_urlsafe(16)}"
        return f"{text}.{self._signature(text)}"

    def accepts(self, cookie: str) -> bool:
        """Whether we gave that cookie, and not too long ago."""
        text, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(text).encode()):
            return False
        return int(text.partition(".")[0]) > time.time()

    def _signature(self, text: str) -> str:
        key = f"{self.name} cookie {self.secret}".encode()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

    def _file(self, token: str) -> Path:
        return secrets_dir() / f"link-{self.name}-{hashlib.sha256(token.encode()).hexdigest()}"
