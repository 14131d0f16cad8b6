"""AVIF: a frame's memory is computed from its stream, even if the file's header lies."""

import struct

import pytest
from PIL import Image

from common.allowance import Allowance
from common.errors import CorruptImage, ImageError, TooComplex, TooManyPixels
from common.images import av1
from common.images.av1 import SCRATCH
from common.images.avif import HELD_FRAMES, STREAM_BYTES, plan
from common.images.boxes import MAX_PARTS, Parts, boxes_of
from common.images.decode import prepare
from common.images.frames import avif_error, open_avif
from common.images.limits import DecodeLimits
from common.images.memory_budget import MemoryBudget
from tests.decoding import PREPROCESSING, decode
from tests.hostile.seeds import seeds
from tests.variants import saved

SMALL, LARGE = (48, 32), (4200, 4000)


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def told(data: bytes, size: tuple[int, int]) -> bytes:
    """The file, which says that its image has another size."""
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


@pytest.mark.parametrize("name", ["avif", "avif-alpha", "avif-animated"])
def test_the_frames_of_honest_files_are_exactly_as_large_as_they_say(name: str) -> None:
    assert plan(seeds()[name]).sizes == {SMALL}
    assert decode(seeds()[name]).shape == (32, 32, 3)


@pytest.mark.parametrize("size", [(2100, 2100), (3840, 2160)], ids=["square", "4K"])
def test_an_animation_whose_sides_are_no_powers_of_two_is_decoded(size: tuple[int, int]) -> None:
    frames = [Image.new("RGB", size, colour) for colour in ("red", "blue")]
    data = saved(frames[0], "AVIF", save_all=True, append_images=frames[1:], speed=10)
    assert plan(data).sizes == {size}
    assert decode(data)[16, 16, 0] > 200


@pytest.mark.parametrize(
    "make", [lambda data: data, in_two_parts], ids=["in one part", "in two parts"]
)
def test_a_large_frame_that_is_told_to_be_small_is_refused_before_it_is_decoded(
    liar: bytes, make: object
) -> None:
    data = make(liar)  # type: ignore[operator]
    assert plan(data).sizes == {LARGE}
    with pytest.raises(TooManyPixels, match="decoding the image takes"):
        prepare(
            data, PREPROCESSING, DecodeLimits(), Allowance.lasting(30), MemoryBudget(32 * 2**20)
        )


@pytest.mark.parametrize(
    ("mode", "subsampling", "plane_bytes"),
    [
        ("RGB", "4:2:0", 1.5),
        ("RGB", "4:2:2", 2),
        ("RGB", "4:4:4", 3),
        ("RGB", "4:0:0", 1),
        ("RGBA", "4:2:0", 2.5),
    ],
)
def test_the_planes_of_a_frame_count_by_their_subsampling(
    mode: str, subsampling: str, plane_bytes: float
) -> None:
    data = saved(Image.new(mode, (1024, 1024)), "AVIF", subsampling=subsampling, speed=10)
    streams = 2 if mode == "RGBA" else 1
    assert plan(data).held_bytes == streams * STREAM_BYTES + int(
        2**20 * (plane_bytes + streams * SCRATCH)
    )


def unit(kind: int, content: bytes) -> bytes:
    return bytes([kind << 3 | 2, len(content)]) + content


def bits(*fields: tuple[int, int]) -> bytes:
    """Numbers, each with its width, the highest bit first."""
    text = "".join(f"{value:0{width}b}" for value, width in fields)
    return bytes(int(text[place : place + 8].ljust(8, "0"), 2) for place in range(0, len(text), 8))


SEQUENCE = bits(  # 1,024 × 1,024 at most, written in 12 bits; 8 bits a sample, 4:2:0
    *[(0, 3), (0, 1), (0, 1), (0, 1), (0, 1), (0, 5), (0, 12), (0, 5)],
    *[(11, 4), (11, 4), (1023, 12), (1023, 12), (0, 1), (0, 3)],
    *[
        (0, 4),
        (0, 1),
        (1, 1),
        (1, 1),
        (0, 3),
        (0, 1),
        (0, 1),
        (0, 1),
        (0, 1),
        (0, 2),
        (0, 1),
        (0, 1),
        (1, 8),
    ],
)
SHOWN_KEY = [
    (0, 1),
    (0, 2),
    (1, 1),
    (0, 1),
    (0, 1),
]  # not an earlier frame, key, shown, up to allow_screen_content
HIDDEN_KEY = [(0, 1), (0, 2), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1)]


def of_units(*units: bytes) -> bytes:
    """A file of one item that consists of these units."""
    stream = unit(av1.SEQUENCE_HEADER, SEQUENCE) + b"".join(units)
    place = len(of_items(struct.pack(">HHHII", 1, 0, 1, 0, 0))) - 1000
    return of_items(struct.pack(">HHHII", 1, 0, 1, place, len(stream)))[:-1000] + stream


@pytest.mark.parametrize(
    ("header", "sizes"),
    [
        (bits(*SHOWN_KEY, (0, 1)), {(1024, 1024)}),
        (bits(*SHOWN_KEY, (1, 1), (99, 12), (49, 12)), {(100, 50)}),
        (bits(*SHOWN_KEY, (1, 1), (4095, 12), (4095, 12)), {(4096, 4096)}),
        (bits(*HIDDEN_KEY, (1, 1), (0, 3 + 5), (99, 12), (49, 12)), {(100, 50)}),
        (b"", {(4096, 4096)}),
        (bits((1, 1)), set()),
    ],
    ids=["as told", "smaller", "larger than told", "hidden", "cut off", "an earlier frame"],
)
def test_a_frame_is_as_large_as_its_own_header_says(
    header: bytes, sizes: set[tuple[int, int]]
) -> None:
    assert plan(of_units(unit(6, header + bytes(40 if header else 0)))).sizes == sizes


def test_a_file_of_many_frames_counts_as_many_as_a_decoder_holds() -> None:
    frame = unit(6, bits(*SHOWN_KEY, (0, 1)))
    one, many = plan(of_units(frame)).held_bytes, plan(of_units(*[frame] * 50)).held_bytes
    assert many - STREAM_BYTES == HELD_FRAMES * (one - STREAM_BYTES)


def test_a_file_of_many_kinds_of_streams_is_refused() -> None:
    headers = [unit(av1.SEQUENCE_HEADER, SEQUENCE + bytes([number])) for number in range(40)]
    with pytest.raises(TooComplex, match="sequence headers"):
        plan(of_units(*headers))


def test_layers_that_are_items_of_the_same_bytes_are_no_reason_to_refuse() -> None:
    entry = struct.pack(">HHHIIII", 1, 0, 2, 0, 900, 0, 90)
    assert plan(of_items(*[entry] * 4)).sizes == set()


def test_a_picture_whose_properties_are_told_in_two_tables_is_decoded() -> None:
    """As the encoder cavif wrote them."""
    plain = seeds()["avif-alpha"]
    data = in_two_tables(plain)
    assert open_avif(data)[1] != data
    assert (decode(data) == decode(plain)).all()


def in_two_tables(data: bytes) -> bytes:
    """The file, whose `ipma` is cut in two behind its first item."""
    kinds = {kind: (start, end) for kind, start, end in boxes_of(data, 0, len(data), Parts())}
    start, end = kinds[b"ipma"]
    cut = start + 8 + 3 + data[start + 10]
    one, two = (
        box(b"ipma", data[start : start + 4], struct.pack(">I", 1), part)
        for part in (data[start + 8 : cut], data[cut:end])
    )
    grown = bytearray(data[: start - 8] + one + two + data[end:])
    more = len(grown) - len(data)
    for kind in (b"meta", b"iprp"):
        at = kinds[kind][0] - 8
        grown[at : at + 4] = struct.pack(">I", struct.unpack(">I", grown[at : at + 4])[0] + more)
    at = kinds[b"iloc"][0] + 8
    for _ in range(2):
        offset = struct.unpack(">I", grown[at + 6 : at + 10])[0]
        grown[at + 6 : at + 10] = struct.pack(">I", offset + more)
        at += 14
    return bytes(grown)


def test_a_sequence_with_a_reference_to_nothing_is_decoded() -> None:
    plain = seeds()["avif-animated"]
    data = with_broken_reference(plain)
    assert open_avif(data)[1] != data
    assert (decode(data) == decode(plain)).all()


def with_broken_reference(data: bytes) -> bytes:
    """The sequence, with a box in free bytes of its tables: its still image refers to item 0."""
    reference = box(b"iref", bytes(4), box(b"auxl", struct.pack(">HHH", 1, 1, 0)))
    at = data.index(b"meta") - 4
    size = struct.unpack(">I", data[at : at + 4])[0]
    grown = bytearray(data[: at + size] + reference + data[at + size :])
    grown[at : at + 4] = struct.pack(">I", size + len(reference))
    for kind in (b"iloc", b"stco"):
        for place in offsets_of(bytes(grown), kind):
            old = struct.unpack(">I", grown[place : place + 4])[0]
            grown[place : place + 4] = struct.pack(">I", old + len(reference))
    return bytes(grown)


def offsets_of(data: bytes, kind: bytes) -> list[int]:
    """Where the file's tables of that kind keep their one offset."""
    return [
        start + (14 if kind == b"iloc" else 8)
        for found, start, _ in boxes_of(data, 0, len(data), Parts())
        if found == kind
    ]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            "Failed to decode image: Not implemented",
            "this AVIF uses a feature that the decoder does not support",
        ),
        ("Conversion from YUV failed: Reformat failed", "this AVIF uses a feature"),
        (
            "Failed to decode image: BMFF parsing failed",
            "this AVIF has broken tables, or uses a feature",
        ),
        ("Failed to decode image: Truncated data", "the AVIF file is truncated or broken"),
        (
            "Failed to decode frame 0: Decoding of color planes failed",
            "the AVIF file is truncated or broken",
        ),
    ],
)
def test_a_refusal_says_whether_the_file_or_the_decoder_is_to_blame(
    found: str, message: str
) -> None:
    assert str(avif_error(RuntimeError(found))).startswith(message)


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
        (box(b"stco", bytes(8), bytes(4)) * (MAX_PARTS + 1), TooComplex),
    ],
)
def test_what_costs_time_or_makes_no_sense_is_refused(
    boxes: bytes, error: type[ImageError]
) -> None:
    with pytest.raises(error):
        plan(box(b"ftyp", b"avif", bytes(4)) + boxes)


def of_items(*entries: bytes, sizes: bytes = b"\x44\x00") -> bytes:
    """A file that says of these entries of `iloc` that they are AV1 items, all of id 1."""
    infe = box(b"infe", b"\2", bytes(3), struct.pack(">HH4s", 1, 0, b"av01"))
    iloc = box(b"iloc", bytes(4), sizes, struct.pack(">H", len(entries)), *entries)
    iinf = box(b"iinf", bytes(4), struct.pack(">H", 1), infe)
    return (
        box(b"ftyp", b"avif", bytes(4))
        + box(b"meta", bytes(4), iinf, iloc)
        + box(b"mdat", bytes(1000))
    )


@pytest.mark.parametrize(
    "data",
    [
        of_items(
            *[struct.pack(">HHH", 1, 0, 0xFFFF)] * 0xFFFF, sizes=b"\0\0"
        ),  # 65,535 extents in not a byte
        of_items(*[struct.pack(">HHH", 2, 0, 0)] * 0xFFFF),  # items that are not images
        # the same bytes, joined anew each time
        of_items(*[struct.pack(">HHHIIII", 1, 0, 2, 0, 900, number, 90) for number in range(100)]),
        box(b"ftyp", b"avif", bytes(4))
        + box(b"mdat", b"\x12\0" * MAX_PARTS)
        + box(b"stco", bytes(8), b"\0\0\0\x18")
        + box(b"stsz", bytes(4), b"\0\1\0\0"),
    ],
    ids=["extents", "items", "joins", "units"],
)
def test_what_small_files_ask_to_be_done_over_and_over_is_refused(data: bytes) -> None:
    with pytest.raises(TooComplex):
        plan(data)


def test_the_limit_of_pixels_holds_as_well() -> None:
    with pytest.raises(TooManyPixels, match="1,536 pixels"):
        decode(seeds()["avif"], limits=DecodeLimits(max_pixels=1000))
