"""Every route that an application serves, with an address that it takes."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

_PARAMETER = re.compile(r"\{[^}]*\}|<[^>]*>")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def asgi_routes(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of a Starlette or FastAPI application's routes; the method of a socket is WEBSOCKET."""
    for route in routes:
        inner = getattr(route, "original_router", None)  # how FastAPI keeps an included router
        if inner is not None:
            yield from asgi_routes(inner.routes, prefix + route.include_context.prefix)
            continue
        path = prefix + _filled(getattr(route, "path", ""))
        mounted = getattr(route, "app", None)
        if hasattr(mounted, "routes"):
            yield from asgi_routes(mounted.routes, path)
        elif hasattr(getattr(mounted, "app", None), "url_map"):  # Flask's, as MLflow mounts it
            yield from flask_routes(mounted.app)
        elif "websocket" in type(route).__name__.lower():
            yield "WEBSOCKET", path
        else:
            for method in getattr(route, "methods", None) or ("GET",):
                yield method, path


def flask_routes(app: Any) -> Iterator[tuple[str, str]]:
    """(method, path) of a Flask application's routes."""
    for rule in app.url_map.iter_rules():
        for method in sorted(set(rule.methods or ()) & set(_METHODS)):
            yield method, _filled(rule.rule)


def _filled(path: str) -> str:
    return _PARAMETER.sub("1", path)
