"""Colour profiles of wide spaces, made from their primaries as the ICC's specification says."""

from __future__ import annotations

import struct

import numpy as np

# x and y of red, green and blue; white is D65.
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060))
SRGB = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
GAMMA = 2.2

# Bradford's matrix and the two white points, D65 of the spaces and D50 of all profiles.
_CONES = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D65, _D50 = np.array([0.9505, 1.0, 1.0891]), np.array([0.9642, 1.0, 0.8249])


def to_xyz(primaries) -> np.ndarray:
    """Linear RGB -> XYZ under D65: the columns add up to white."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    return columns * np.linalg.solve(columns, _D65)


def profile(primaries, name: str, gamma: float = GAMMA) -> bytes:
    """A display's profile, version 2: a matrix and one power for all channels."""
    adapted = np.linalg.inv(_CONES) @ np.diag((_CONES @ _D50) / (_CONES @ _D65)) @ _CONES
    matrix = adapted @ to_xyz(primaries)

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(number, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))
    text = name.encode() + b"\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    tags = {b"desc": described, b"wtpt": xyz(_D50)}
    tags |= {key: xyz(matrix[:, i]) for i, key in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, data = struct.pack(">I", len(tags)), b""
    begin = 128 + 4 + 12 * len(tags)
    for key, content in tags.items():
        table += key + struct.pack(">II", begin + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    size = begin + len(data)
    header = struct.pack(">I4sI", size, b"lcms", 0x02400000) + b"mntrRGB XYZ " + bytes(12)
    header += b"acsp" + bytes(28) + b"".join(map(number, _D50)) + bytes(48)
    return header + table + data


def as_srgb(pixels: np.ndarray, primaries, gamma: float = GAMMA) -> np.ndarray:
    """(...,3) in [0,1] of a space -> the same colours in sRGB, cut off at its borders."""
    linear = np.power(pixels, gamma) @ (np.linalg.inv(to_xyz(SRGB)) @ to_xyz(primaries)).T
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
