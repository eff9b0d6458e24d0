"""Text of others made visible: nothing in it moves a cursor, turns the reading direction or ends a line."""

import re

# Controls (C0, DEL, C1), line and paragraph separators, marks and overrides of the reading direction, and the lone
# surrogates that stand for bytes of file names that are no UTF-8.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: object, keep: str = "") -> str:
    r"""The text with what a terminal or page would obey, and not show, written as \uXXXX; `keep` stays.

    The form is JSON's own, so JSON stays JSON.
    """
    return _HIDDEN.sub(lambda found: found[0] if found[0] in keep else f"\\u{ord(found[0]):04x}", str(text))
