"""Mend two faults of AVIF files that browsers overlook and libavif does not.

The encoders cavif (before 2021) and GPAC wrote many such files. What is mended keeps its length, so no offset changes.
"""

import struct

from common.errors import DecodeError
from common.images.boxes import Box, Parts, boxes_of

HEADER = 8  # bytes of a box before its content
FLAGS = 4  # version and flags
COUNT = 4


def repaired(data: bytes) -> bytes | None:
    """A copy of the file without the faults, None if it has neither."""
    try:
        boxes = list(boxes_of(data, 0, len(data), Parts()))
    except DecodeError:
        return None
    return _without_references(data, boxes) or _with_one_association(data, boxes)


def _without_references(data: bytes, boxes: list[Box]) -> bytes | None:
    """A sequence without the references between its still images: its tracks are what is shown."""
    has_tracks = any(kind == b"moov" for kind, _, _ in boxes)
    references = next((start for kind, start, _ in boxes if kind == b"iref"), None)
    if data[8:12] != b"avis" or not has_tracks or references is None:
        return None
    return data[: references - len(b"iref")] + b"free" + data[references:]


def _with_one_association(data: bytes, boxes: list[Box]) -> bytes | None:
    """One `ipma` box in place of several of the same version, and a free box for the bytes that are left."""
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
