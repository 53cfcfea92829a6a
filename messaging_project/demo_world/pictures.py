"""Pictures that people send in the demo world: drawn here from boxes and discs, and written as PNG."""

import struct
import zlib
from typing import Literal

WIDTH, HEIGHT = 320, 240
Shape = tuple[Literal["box", "disc"], int, int, int, int, str]
"""What to draw, its left and top edge, its width and height, and its colour as six hexadecimal digits."""

BACKGROUND = "e9e2d6"
MOTIFS: dict[str, list[Shape]] = {
    "parcel": [
        ("box", 0, 170, 320, 70, "8d7b68"),
        ("box", 70, 60, 180, 135, "c49a6c"),
        ("box", 150, 60, 22, 135, "e3c9a0"),
        ("box", 95, 150, 45, 28, "f4f1ea"),
        ("disc", 195, 40, 75, 50, "6b4a2b"),
        ("disc", 205, 48, 55, 34, "3d2a18"),
    ],
    "glass": [
        ("box", 0, 180, 320, 60, "7d8b99"),
        ("box", 70, 60, 55, 120, "cfe6f2"),
        ("box", 75, 110, 45, 70, "b44a5c"),
        ("box", 180, 120, 60, 60, "cfe6f2"),
        ("disc", 185, 100, 50, 40, "7d8b99"),
        ("disc", 150, 190, 26, 10, "cfe6f2"),
        ("disc", 250, 200, 34, 12, "cfe6f2"),
    ],
    "lamp": [
        ("box", 0, 200, 320, 40, "5b4636"),
        ("disc", 90, 20, 140, 120, "fff3c4"),
        ("box", 156, 90, 8, 110, "33383d"),
        ("disc", 120, 190, 80, 20, "33383d"),
        ("box", 115, 50, 90, 50, "e0a93b"),
    ],
    "table": [
        ("box", 0, 120, 320, 120, "6f5b4b"),
        ("disc", 40, 60, 240, 150, "fbf8f2"),
        ("disc", 125, 85, 70, 45, "d98aa5"),
        ("disc", 140, 75, 40, 35, "f2c4d3"),
        ("disc", 70, 130, 60, 36, "dfe5ea"),
        ("disc", 190, 130, 60, 36, "dfe5ea"),
    ],
    "books": [
        ("box", 0, 190, 320, 50, "8a6b4f"),
        ("box", 50, 70, 30, 120, "2f5d62"),
        ("box", 84, 90, 26, 100, "a63d40"),
        ("box", 114, 60, 34, 130, "e9b872"),
        ("box", 152, 85, 24, 105, "6494aa"),
        ("box", 180, 75, 38, 115, "90a959"),
        ("box", 222, 100, 28, 90, "4a3b52"),
    ],
    "plate": [
        ("box", 0, 0, 320, 240, "a8432f"),
        ("disc", 50, 20, 220, 200, "fdfcfa"),
        ("disc", 80, 45, 160, 150, "eceae4"),
        ("box", 115, 90, 90, 60, "f3e3c3"),
        ("box", 115, 90, 90, 18, "5a3a26"),
        ("disc", 190, 120, 26, 22, "c0243d"),
    ],
}


def picture(motif: str) -> bytes:
    """Return a motif as a PNG. Raises KeyError for one that there is not."""
    rows = [bytearray(bytes.fromhex(BACKGROUND) * WIDTH) for _ in range(HEIGHT)]
    for shape in MOTIFS[motif]:
        draw(rows, shape)
    return png(rows)


def draw(rows: list[bytearray], shape: Shape) -> None:
    """Draw one shape over what is there."""
    kind, left, top, width, height, colour = shape
    for y in range(top, min(top + height, HEIGHT)):
        off = abs(2 * (y - top) + 1 - height) / height
        half = width / 2 * ((1 - off * off) ** 0.5 if kind == "disc" else 1)
        start, end = round(left + width / 2 - half), min(round(left + width / 2 + half), WIDTH)
        rows[y][3 * start : 3 * end] = bytes.fromhex(colour) * (end - start)


def png(rows: list[bytearray]) -> bytes:
    """Return rows of RGB as a PNG (https://www.w3.org/TR/png-3/): 8 bits, no filter."""
    header = struct.pack(">IIBBBBB", WIDTH, len(rows), 8, 2, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
