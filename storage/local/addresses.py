"""Addresses as they may be shown: what stands between `//` and `@` is a name and a password, and stays untold."""

import re

# As far as the last `@` before the path: a password that was not percent-encoded may hold an `@` itself. Azure's
# addresses have a container's name there.
_USER_INFO = re.compile(r"(?P<scheme>\b(?!abfss?:|wasbs?:)[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#'\"<>]*@")
# SQLAlchemy takes a password with slashes in it, too, and databases have no `@` in their paths.
_DATABASE_USER_INFO = re.compile(
    r"(?P<scheme>\b(?:postgres|postgresql|mysql|mariadb|mssql|oracle|redis|rediss)(?:\+\w+)?://)[^\s'\"<>]*@"
)
# libpq's `postgresql://host/db?password=...`, a signed link's signature, and the like.
_SECRET_PARAMETERS = re.compile(
    r"(?P<name>[?&;](?:password|passwd|pwd|secret|token|sig|signature|x-amz-signature|x-amz-security-token|"
    r"aws_secret_access_key|access_key|api_key|sslpassword)=)[^&;\s'\"<>]+",
    re.IGNORECASE,
)
HIDDEN = "***"


def without_secrets(text: str) -> str:
    """Gives the text with every address in it shown as `scheme://***@host/path`, if it held a name or a password."""
    for user_info in (_DATABASE_USER_INFO, _USER_INFO):
        text = user_info.sub(rf"\g<scheme>{HIDDEN}@", text)
    return _SECRET_PARAMETERS.sub(rf"\g<name>{HIDDEN}", text)
