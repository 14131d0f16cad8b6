"""Repairs two faults of AVIF files that browsers accept and libavif does not.

The encoders cavif (before 2021) and GPAC wrote many such files. A repaired file keeps its length,
so all offsets remain valid.
"""

import struct

from common.errors import DecodeError
from common.images.boxes import Box, Parts, boxes_of

HEADER = 8  # bytes of a box before its content
FLAGS = 4  # version and flags
COUNT = 4


def repaired(data: bytes) -> bytes | None:
    """A copy of the file without these faults; None if it has neither of them."""
    try:
        boxes = list(boxes_of(data, 0, len(data), Parts()))
    except DecodeError:
        return None
    return _without_references(data, boxes) or _with_one_association(data, boxes)


def _without_references(data: bytes, boxes: list[Box]) -> bytes | None:
    """Remove the references between the still images of a sequence, which shows its tracks."""
    has_tracks = any(kind == b"moov" for kind, _, _ in boxes)
    references = next((start for kind, start, _ in boxes if kind == b"iref"), None)
    if data[8:12] != b"avis" or not has_tracks or references is None:
        return None
    return data[: references - len(b"iref")] + b"free" + data[references:]


def _with_one_association(data: bytes, boxes: list[Box]) -> bytes | None:
    """Merge several `ipma` boxes of one version, and fill the saved bytes with a `free` box."""
    meta = next((box for box in boxes if box[0] == b"meta"), None)
    properties = next((box for box in boxes if box[0] == b"iprp"), None)
    parts = [(start, end) for kind, start, end in boxes if kind == b"ipma"]
    if meta is None or properties is None or len(parts) < 2:
        return None
    first, last = parts[0][0] - HEADER, parts[-1][1]
    is_whole = (
        first + sum(end - start + HEADER for start, end in parts)
        == last
        == properties[2]
        <= meta[2]
    )
    versions = {data[start : start + FLAGS] for start, _ in parts}
    if not is_whole or len(versions) > 1:
        return None
    count = sum(
        int.from_bytes(data[start + FLAGS : start + FLAGS + COUNT], "big") for start, _ in parts
    )
    entries = b"".join(data[start + FLAGS + COUNT : end] for start, end in parts)
    merged = _box(b"ipma", versions.pop() + struct.pack(">I", count) + entries)
    spare = last - first - len(merged)
    table = _box(b"iprp", data[properties[1] : first] + merged)
    padding = _box(b"free", bytes(spare - HEADER))
    return data[: properties[1] - HEADER] + table + data[last : meta[2]] + padding + data[meta[2] :]


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", HEADER + len(content), kind) + content
