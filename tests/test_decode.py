"""Decoding: every supported format works, and dangerous files are refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from common.errors import CorruptImage, DecodeError, NotAnImage, TooComplex, TooManyPixels
from common.images.formats import sniff
from common.images.limits import DecodeLimits
from common.models.spec import Preprocessing
from tests.decoding import decode
from tests.image_server import picture
from tests.variants import saved

REFERENCE = Preprocessing(size=32, mean=(0, 0, 0), std=(1, 1, 1), reference=True)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of these chunks between its header and its end."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    listed = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in listed
    )


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_each_format_is_told_by_its_first_bytes_and_decoded(image_format: str) -> None:
    data = picture(image_format)
    assert sniff(data) == image_format
    pixels = decode(data)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels[2, 30].astype(int) - (255, 99, 71)).max() < 20  # tomato


@pytest.mark.parametrize("data", [b"", b"GIF", b"BM", b"\0" * 100, b"not an image"])
def test_other_bytes_are_no_image(data: bytes) -> None:
    with pytest.raises(NotAnImage, match="JPEG, PNG, WebP, GIF, BMP, AVIF"):
        decode(data)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_truncated_files_are_refused(image_format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = saved(noise, image_format)
    for keep in (12, 40, len(data) // 2, len(data) - 200):
        with pytest.raises(DecodeError):
            decode(data[:keep])


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    for image_format in ("GIF", "WEBP"):
        data = saved(frames[0], image_format, save_all=True, append_images=frames[1:], duration=100)
        assert decode(data)[16, 16, 0] > 200


def test_too_many_pixels_are_refused_by_the_header_alone() -> None:
    with pytest.raises(TooManyPixels, match=r"81,000,000 pixels, the limit is 64,000,000"):
        decode(png(9_000, 9_000))
    with pytest.raises(TooManyPixels, match=r"the limit for a side is 30,000"):
        decode(png(30_001, 1))
    with pytest.raises(TooManyPixels, match=r"6,144 pixels, the limit is 1,000"):
        decode(picture(), limits=DecodeLimits(max_pixels=1000))


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded() -> None:
    data = saved(Image.new("RGB", (400, 400), "red"), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(TooComplex, match="scans"):
        decode(data[:-2] + scan * 70 + data[-2:])


def test_a_file_of_a_million_empty_chunks_is_refused_before_it_is_decoded() -> None:
    empty = struct.pack(">I", 0) + b"teSt" + struct.pack(">I", zlib.crc32(b"teSt"))
    data = png(8, 8).replace(
        struct.pack(">I", 0) + b"IEND", empty * 1_000_000 + struct.pack(">I", 0) + b"IEND"
    )
    with pytest.raises(TooComplex, match="more than 100,000 chunks"):
        decode(data)


def test_a_file_that_takes_too_long_ends_at_the_deadline() -> None:
    with pytest.raises(TooComplex, match="too long to decode"):
        decode(picture("GIF"), limits=DecodeLimits(seconds=0))


def test_broken_exif_does_not_lose_the_picture() -> None:
    data = saved(
        Image.new("RGB", (40, 40), "red"), "JPEG", exif=b"Exif\0\0garbage that is no TIFF header"
    )
    assert decode(data)[16, 16, 0] > 200


def test_a_broken_mpo_header_and_a_resolution_of_nothing_by_nothing_do_not_lose_the_picture() -> (
    None
):
    image = Image.new("RGB", (40, 40), "red")
    mpo = saved(image, "MPO", save_all=True, append_images=[image])
    place = mpo.index(b"MPF\0") + 4
    for garbage in (b"\xff" * 40, b"II*\0" + b"\xff" * 36, bytes(40)):
        assert decode(mpo[:place] + garbage + mpo[place + 40 :])[16, 16, 0] > 200
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = IFDRational(0, 0), IFDRational(0, 0), 2
    assert decode(saved(image, "JPEG", exif=exif.tobytes()))[16, 16, 0] > 200


@pytest.mark.parametrize(
    "data",
    [
        png(0, 8),
        png(8, 0),
        b"GIF89a\0\0\0\0\0\0\0;",
        b"\xff\xd8\xff\xe0%PDF-1.7 <script>alert(1)</script>",
        b"GIF89a=1;alert(1)//" + bytes(100),
        picture("BMP")[:14] + bytes(4) + picture("BMP")[18:],
        saved(Image.new("P", (8, 8)), "PNG").replace(b"PLTE", b"pLTE"),
    ],
    ids=[
        "no width",
        "no height",
        "empty GIF",
        "JPEG and PDF",
        "GIF and script",
        "BMP of no header",
        "no palette",
    ],
)
def test_zero_sizes_polyglots_and_files_without_what_they_need_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data)


def test_exif_orientation_turns_the_picture_unless_the_reference_is_asked_for() -> None:
    image = Image.new("RGB", (64, 64), "blue")
    image.paste("red", (0, 0, 64, 32))  # red above blue
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise: red comes to the right
    data = saved(image, "JPEG", exif=exif.tobytes(), quality=95)
    turned, kept = decode(data), decode(data, REFERENCE)
    assert turned[16, 28, 0] > 200
    assert turned[16, 3, 2] > 200
    assert kept[3, 16, 0] > 200


def test_a_big_jpeg_is_decoded_at_a_fraction_with_nearly_the_same_result() -> None:
    random = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    image = Image.fromarray(random).resize((4000, 3000), Image.Resampling.BICUBIC)
    data = saved(image, "JPEG", quality=90)
    difference = np.abs(decode(data).astype(int) - decode(data, REFERENCE).astype(int))
    assert difference.mean() < 1
    assert difference.max() <= 8


def test_messages_hold_no_address_of_the_process() -> None:
    with pytest.raises(CorruptImage) as raised:
        decode(picture()[:60])
    assert str(raised.value) == "the PNG file is truncated or broken"
