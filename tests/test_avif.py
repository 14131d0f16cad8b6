"""AVIF: what its frames will take is read from the streams, whatever the file tells of itself."""

import struct

import pytest
from PIL import Image

from common.errors import CorruptImage, ImageError, TooComplex, TooManyPixels
from common.images.avif import MAX_PARTS, coded_pixels
from common.images.decode import DecodeLimits
from tests.decoding import decode
from tests.hostile.seeds import saved, seeds

SMALL, LARGE = (48, 32), (4200, 4000)


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def told(data: bytes, size: tuple[int, int]) -> bytes:
    """The file, which says that its picture has another size."""
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", *size) + data[place + 8 :]


@pytest.fixture(scope="module")
def liar() -> bytes:
    return told(saved(Image.new("RGB", LARGE), "AVIF", speed=10), SMALL)


def in_two_parts(data: bytes) -> bytes:
    """The file, whose one item is cut in two inside its sequence header."""
    place = data.index(b"iloc")
    _, start, length = struct.unpack(">HII", data[place + 16 : place + 26])
    extents = struct.pack(">HIIII", 2, start + 8, 5, start + 8 + 5, length - 5)
    grown = bytearray(data[: place + 16] + extents + data[place + 26 :])
    for kind in (b"meta", b"iloc"):
        at = grown.index(kind) - 4
        grown[at : at + 4] = struct.pack(">I", struct.unpack(">I", grown[at : at + 4])[0] + 8)
    return bytes(grown)


def test_the_frames_of_honest_files_are_as_large_as_they_say() -> None:
    for name, data in seeds().items():
        if name.startswith("avif"):
            pixels = 64 * 32 if name == "avif-animated" else SMALL[0] * SMALL[1]  # up to the next power of two there
            assert coded_pixels(data) == pixels, name
            assert decode(data).shape == (32, 32, 3)


@pytest.mark.parametrize("make", [lambda data: data, in_two_parts], ids=["in one part", "in two parts"])
def test_a_large_frame_that_is_told_to_be_small_is_refused_before_it_is_decoded(liar: bytes, make: object) -> None:
    data = make(liar)  # type: ignore[operator]
    assert coded_pixels(data) == LARGE[0] * LARGE[1]
    with pytest.raises(TooManyPixels, match="MB to decode"):
        decode(data)


def test_an_item_in_two_parts_is_still_a_picture() -> None:
    data = in_two_parts(seeds()["avif"])
    assert (decode(data) == decode(seeds()["avif"])).all()


@pytest.mark.parametrize(
    ("boxes", "error"),
    [
        (box(b"free") * (MAX_PARTS + 1), TooComplex),
        (box(b"mini", b"a"), TooComplex),
        (struct.pack(">I4s", 4, b"free"), CorruptImage),
        (struct.pack(">I4sQ", 1, b"free", 3), CorruptImage),
        (box(b"iloc", bytes(4), b"\x44\x00\xff\xff"), CorruptImage),
        (box(b"stco", bytes(8), bytes(4 * (MAX_PARTS + 1))), TooComplex),
    ],
)
def test_what_costs_time_or_makes_no_sense_is_refused(boxes: bytes, error: type[ImageError]) -> None:
    with pytest.raises(error):
        coded_pixels(box(b"ftyp", b"avif", bytes(4)) + boxes)


def of_items(*entries: bytes, sizes: bytes = b"\x44\x00") -> bytes:
    """A file that says of these entries of `iloc` that they are AV1 items, all of id 1."""
    infe = box(b"infe", b"\2", bytes(3), struct.pack(">HH4s", 1, 0, b"av01"))
    iloc = box(b"iloc", bytes(4), sizes, struct.pack(">H", len(entries)), *entries)
    iinf = box(b"iinf", bytes(4), struct.pack(">H", 1), infe)
    return box(b"ftyp", b"avif", bytes(4)) + box(b"meta", bytes(4), iinf, iloc) + box(b"mdat", bytes(1000))


@pytest.mark.parametrize(
    "data",
    [
        of_items(*[struct.pack(">HHH", 1, 0, 0xFFFF)] * 0xFFFF, sizes=b"\0\0"),  # 65,535 extents in not a byte
        of_items(*[struct.pack(">HHH", 2, 0, 0)] * 0xFFFF),  # items that are no pictures
        of_items(*[struct.pack(">HHHIIII", 1, 0, 2, 0, 900, 0, 900)] * 100),  # the same bytes, joined anew each time
        box(b"ftyp", b"avif", bytes(4)) + box(b"mdat", b"\x12\0" * MAX_PARTS) + box(b"stco", bytes(8), b"\0\0\0\x18"),
    ],
    ids=["extents", "items", "joins", "units"],
)
def test_what_small_files_ask_to_be_done_over_and_over_is_refused(data: bytes) -> None:
    with pytest.raises(TooComplex):
        coded_pixels(data)


def test_the_limit_of_pixels_holds_as_well() -> None:
    with pytest.raises(TooManyPixels, match="1,536 pixels"):
        decode(seeds()["avif"], limits=DecodeLimits(max_pixels=1000))
