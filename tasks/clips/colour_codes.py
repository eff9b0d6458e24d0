"""What the numbers of a still picture mean where its file says it by code points (ITU-T H.273) or chromaticities.

HDR pictures are named; the rest becomes an ICC profile, which `icc_profiles.py` follows to sRGB.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Point = tuple[float, float]
"""A chromaticity, x and y of CIE 1931."""

BT709, BT2020, DCI_P3, DISPLAY_P3 = 1, 9, 11, 12
LINEAR, SRGB, PQ, DCI, HLG = 8, 13, 16, 17, 18
# Ordinary video, whose curve pictures are shown with as with sRGB's; 2 says that nothing is known.
_LIKE_SRGB = (1, 2, 6, 7, SRGB, 14, 15)
_GAMMAS = {4: 2.2, 5: 2.8, LINEAR: 1.0, DCI: 2.6}
D65: Point = (0.3127, 0.3290)
_DCI_WHITE: Point = (0.314, 0.351)
_PRIMARIES: dict[int, tuple[Point, Point, Point]] = {
    BT709: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    DISPLAY_P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_PRIMARIES[DCI_P3] = _PRIMARIES[DISPLAY_P3]
_HDR = {PQ: "PQ", HLG: "HLG"}
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_CURVE_STEPS = 1024


@dataclass(frozen=True)
class Colours:
    """The chromaticities of red, green, blue and white, and the power by which light is coded; None: as in sRGB."""

    primaries: tuple[Point, Point, Point] = _PRIMARIES[BT709]
    white: Point = D65
    gamma: float | None = None


def colours_of(primaries: int, transfer: int) -> Colours:
    """Gives what two code points say, unknown ones and old television's as sRGB; ValueError for HDR (PQ, HLG)."""
    refuse_hdr(transfer)
    white = _DCI_WHITE if primaries == DCI_P3 else D65
    return Colours(_PRIMARIES.get(primaries, _PRIMARIES[BT709]), white, gamma_of(transfer))


def refuse_hdr(transfer: int) -> None:
    """Raises ValueError for the curves of HDR; in eight bits their pictures would be pale and dark."""
    if transfer in _HDR:
        raise ValueError(
            f"it is an HDR picture ({_HDR[transfer]}), which is not read; save it as one for ordinary displays (SDR)"
        )


def gamma_of(transfer: int) -> float | None:
    """Gives the power of a code point's curve, None where it is near sRGB's, as that of ordinary video is."""
    return None if transfer in _LIKE_SRGB else _GAMMAS.get(transfer)


@lru_cache(maxsize=16)
def icc_profile(colours: Colours) -> bytes | None:
    """Gives a profile of such colours, a display's of version 2; None for those of sRGB."""
    if colours == Colours():
        return None
    to_xyz = _to_xyz(colours)
    curve = _curve(colours.gamma)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 8) + b"colours\0" + bytes(78),
        b"wtpt": _xyz(_D50),
        **{name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), to_xyz.T, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I", start + len(body)) + bytes(4) + b"\x02\x40\0\0mntrRGB XYZ " + bytes(12) + b"acsp"
    head += bytes(28) + struct.pack(">iii", *np.rint(_D50 * 65536).astype(int))
    return head + bytes(128 - len(head)) + table + body


def _to_xyz(colours: Colours) -> np.ndarray:
    """From linear RGB to XYZ under D50, as profiles have it, adapted by Bradford's matrix."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in colours.primaries]).T
    x, y = colours.white
    white = np.array([x / y, 1.0, (1 - x - y) / y])
    adapted = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD
    return np.asarray(adapted @ (columns * np.linalg.solve(columns, white)))


def _curve(gamma: float | None) -> bytes:
    """From codes to light, in steps of a table."""
    codes = np.linspace(0.0, 1.0, _CURVE_STEPS)
    light = (
        np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
        if gamma is None
        else codes**gamma
    )
    return b"curv" + bytes(4) + struct.pack(">I", len(codes)) + np.rint(light * 65535).astype(">u2").tobytes()


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + np.rint(values * 65536).astype(">i4").tobytes()
