"""Damage to bytes, drawn from a seed: what disks, networks, careless writers and attackers do to files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_HEADER_BYTES = 512  # half of the damage goes there, where it does most
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_TOKENS = (
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xc3",
    b"\xed\xa0\x80",
    b'"',
    b"'",
    b"\\",
    b"\t",
    b",",
    b"\r\n",
    b"\n\n",
    b"../",
    b"/etc/passwd",
    b"-1",
    b"nan",
    b"1e999",
    b"99:99:99,999 --> 00:00:00,000",
    b"<" * 40,
    b"[" * 2000,
    b"{" * 2000,
    b"9" * 400,
    b"%s%n",
    b"\x1b[2J",
    b"[[corpus]]\n",
    b'path = "/"\n',
)

Damage = Callable[[bytes, np.random.Generator], bytes]


def damaged(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Returns the content after a mutation, or two or three; `other` is what it may be spliced with."""
    for _ in range(min(3, int(rng.geometric(0.7)))):
        choice = int(rng.integers(len(_DAMAGES) + 1))
        content = _DAMAGES[choice](content, rng) if choice < len(_DAMAGES) else _spliced(content, other, rng)
    return content


def _place(content: bytes, rng: np.random.Generator) -> int:
    end = min(len(content), _HEADER_BYTES) if rng.random() < 0.5 else len(content)
    return int(rng.integers(end + 1))


def _span(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = _place(content, rng)
    return start, min(len(content), start + 2 ** int(rng.integers(1, 13)))


def _flipped(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(2 ** int(rng.integers(6))):
        if at := _place(content, rng):
            changed[at - 1] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _overwritten(content: bytes, rng: np.random.Generator) -> bytes:
    """A number of one, two, four or eight bytes where there was another, in either order."""
    size = 2 ** int(rng.integers(4))
    number = int(rng.choice(_NUMBERS)) % 256**size
    order = rng.choice(["little", "big"])
    at = _place(content, rng)
    return content[:at] + number.to_bytes(size, order) + content[at + size :]


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def _without(content: bytes, rng: np.random.Generator) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + content[end:]


def _emptied(content: bytes, rng: np.random.Generator) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + bytes(end - start) + content[end:]


def _repeated(content: bytes, rng: np.random.Generator) -> bytes:
    start, end = _span(content, rng)
    return content[:end] + content[start:end] * int(rng.integers(1, 20)) + content[end:]


def _noised(content: bytes, rng: np.random.Generator) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + rng.bytes(end - start) + content[end:]


def _with_token(content: bytes, rng: np.random.Generator) -> bytes:
    at = _place(content, rng)
    token = _TOKENS[int(rng.integers(len(_TOKENS)))]
    kept = at + len(token) * int(rng.integers(2))  # put between, or written over what was there
    return content[:at] + token + content[kept:]


def _spliced(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The beginning of one file and the end of another."""
    return content[: _place(content, rng)] + other[_place(other, rng) :]


_DAMAGES: tuple[Damage, ...] = (
    _flipped,
    _overwritten,
    _cut,
    _without,
    _emptied,
    _repeated,
    _noised,
    _with_token,
)
