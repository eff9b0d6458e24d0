"""Arguments of a call: one method takes what another does, and an unknown one is refused by the call that was made."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from diffusers.utils import USE_PEFT_BACKEND, logging

from vidrd_model.errors import ArgumentError, ModelError

_log = logging.get_logger(__name__)
_Call = TypeVar("_Call", bound=Callable[..., Any])


def check_arguments(call: str, given: Iterable[str], known: Iterable[str]) -> None:
    """ArgumentError for the first name that is not known, with the known one that is like it."""
    names = list(known)
    for name in given:
        if name not in names:
            near = get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(names)}"
            raise ArgumentError(f"{call}() has no argument {name!r}; {hint}")


def takes_arguments_of(other: Callable[..., Any]) -> Callable[[_Call], _Call]:
    """Gives a method that passes its `**settings` on to `other` the arguments of both, to see and to be checked."""

    def decorate(call: _Call) -> _Call:
        own = inspect.signature(call)
        passed_on = inspect.signature(other).parameters
        kept = [one for one in own.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        more = [one for name, one in passed_on.items() if name not in own.parameters]
        signature = own.replace(parameters=[*kept, *more])

        @functools.wraps(call)
        def checked(*args: Any, **settings: Any) -> Any:
            check_arguments(call.__qualname__, settings, list(signature.parameters)[1:])
            return call(*args, **settings)

        checked.__signature__ = signature  # type: ignore[attr-defined]
        return checked  # type: ignore[return-value]

    return decorate


def lora_scale(attention_kwargs: Mapping[str, Any] | None) -> float:
    """The `scale` that is given for LoRA layers, else 1; ModelError for what the UNet's attention does not take."""
    for name in attention_kwargs or {}:
        if name != "scale":
            raise ModelError(f"attention_kwargs takes scale alone, not {name!r}")
    scale = float((attention_kwargs or {}).get("scale", 1.0))
    if scale != 1.0 and not USE_PEFT_BACKEND:
        _log.warning("attention_kwargs: scale changes nothing without peft, which LoRA layers need")
    return scale
