"""Small JPEG XL pictures of kinds that `pylibjxl` does not write: libjxl's `cjxl` made them.

All show the same 24x16 pixels: red, green, white and dark quarters (`QUARTERS`); some store them in other terms.
"""

from base64 import b64decode

QUARTERS = ((240, 30, 30), (30, 200, 30), (240, 240, 240), (40, 40, 40))
_QUARTERS = "CAIBALAASyg31h+8V1AQALXiZbyMURcIAuBgolyAJ5ISJCoJ1c/oIynpVIwxAWsQgRU="
FILES = {
    # 0..2 s in three frames: red, green, blue
    "animated": (
        "/woDBQMIKC4JCAL2CQAAZABLGIsVANQXYzDyLhABACFZAEAhgX8/oiQaCAL2CQAAUABLGIsVgF3U/wIRANjJPwEYEvn3AwgC9gUA"
        "RABLGIsVgF3q/wIRAGRfRjj5Aw=="
    ),
    # the red channel alone, in 16 bits
    "deep": (
        "AAAADEpYTCANCocKAAAAFGZ0eXBqeGwgAAAAAGp4bCAAAAAJanhsbAoAAAA7anhsY/8KA/EDFBcCCAIBAJQASxiLFQDcecwYLDJj"
        "zAvAADBw0PjHwwURKAgyMgmOgqDI64EzBA=="
    ),
    "hlg": "/woDBRCQZyDQYwAAAAAI" + _QUARTERS,
    "pq": "/woDBRCQR484HAAAAAAC" + _QUARTERS,
    # Display P3's primaries by their code
    "p3": "/woDQUAmNwIIAgEAsABLKDfWH7xXUBAAteJlvIxRFwgC4GCiXIAnkhIkKgnVz+gjKelUjDEBaxCBFQ==",
    "icc_lossy": (
        "/woDQQoPCgMS5gGQhsvcn3kdrRSUmMc7QiXHgVV2KSUPNLtMxGGth6lovBO80X8AX0119JU3H/09Z2nXSvxqp9tAzhTcIwkK/bDU"
        "BwhaB30vsGYlDKwDfXqASDvh3xoAEogCAPwCpcYWAAAVKqOMG7yc6/nyQ4fFtI3rDG21bWFJosg4NkkncEgSi4B42x88ASEdr3cx"
        "H2/2iGpqTPC+kzIMFrL77FhyduwgEwCGQFMDoEIK5LatTtQxUjEyXox3F2OMmZs/BgAzTLP9E9kSeYWOK7khBSgbtBsGxsHCAKsW"
        "t3gTDoyVuhQpWq35j0X4AbSRnxIgY9xvSp0F+b2bHg3+qmZC4hAfxTkg1tGziwl6v/IprpWu8fywk+Wjb1Sq2hwUcAs="
    ),
    # the red channel alone, its numbers being light
    "linear_grey": "/woDQVC0CAgCAQCAAEsYixUA1DxmzIwxLwADwMBA4R8XJCDI6l8eAqHiAvUT",
    # clear where red is over 100, half clear in the first pixel
    "premultiplied": "/woDwYLiQggIEAC4AEsYk46DgwkAQeZ5uYAUANoTHxKcIGfgqX5G6R1Jp+gDSDjd0gXgW2SbNjFQDwA=",
    # to be shown turned by 90 degrees
    "turned": (
        "AAAADEpYTCANCocKAAAAFGZ0eXBqeGwgAAAAAGp4bCAAAABCanhsY/8KAy0QUFwSCAIBALAASyg31h+8V1AQALXiZbyMURcIAuBg"
        "olyAJ5ISJCoJ1c/oIynpVIwxAWsQgRU="
    ),
}


def jpeg_xl(name: str) -> bytes:
    """The bytes of one of these files."""
    return b64decode(FILES[name])
