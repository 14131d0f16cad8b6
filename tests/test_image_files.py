"""Image files that browsers show are decoded correctly; a refusal names the format."""

import io
import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from common.allowance import Allowance
from common.errors import CorruptImage, DecodeError, TooComplex, UnsupportedImage
from common.images import colour, formats, heif, jpeg
from common.images.decode import prepare
from common.images.limits import DecodeLimits
from common.models.preprocess import Picture, preprocess
from common.models.spec import Pixels, Preprocessing
from tests.variants import (
    bmp,
    png,
    png_chunks,
    raw_png,
    saved,
    scene,
    swapped_profile,
    with_chunk,
)

CASES = Path(__file__).parent / "cases"
PREPROCESSING = Preprocessing(size=32, mean=(0, 0, 0), std=(1, 1, 1))
SQUASH = Preprocessing(size=4, mean=(0, 0, 0), std=(1, 1, 1), resize_mode="squash")
WHITE = [255, 255, 255]
RED = [255, 0, 0]


def decode(data: bytes, preprocessing: Preprocessing = PREPROCESSING) -> Pixels:
    return prepare(data, preprocessing, DecodeLimits(), Allowance.lasting(30))


def case(name: str) -> Pixels:
    return decode((CASES / name).read_bytes(), Preprocessing(64, (0, 0, 0), (1, 1, 1)))


def difference(one: Pixels, other: Pixels) -> float:
    """The mean over all samples, in levels of 255."""
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize(
    ("name", "like", "at_most"),
    [
        ("motion-photo-trailer.jpg", "reference.png", 3),
        ("jpg-no-eoi.jpg", "reference.png", 3),
        ("png-text-5x1MB.png", "reference.png", 0),
        ("png-text-badcrc.png", "reference.png", 0),
        ("apng-default-image.png", "reference.png", 0),
        ("png16-rgb-trns.png", "reference.png", 2),
        ("bmp-reserved-nonzero.bmp", "reference.png", 12),
        ("exif-6-odd.png", "exif-6-odd-upright.png", 0.2),
        ("icc-DisplayP3-v4.png", "reference.png", 1),
        ("icc-cmyk.jpg", "icc-cmyk-converted.png", 1),
    ],
)
def test_each_case_looks_like_its_reference(name: str, like: str, at_most: float) -> None:
    assert difference(case(name), case(like)) <= at_most


def test_what_the_first_frame_of_a_gif_leaves_free_is_white() -> None:
    assert case("gif-first-frame-partial.gif")[0, 0].tolist() == WHITE


def test_an_orientation_in_xmp_alone_does_not_count() -> None:
    name = "xmp-orientation-3-no-exif.jpg"
    with Image.open(CASES / name) as image:
        plain = decode(saved(image.convert("RGB"), "PNG"))
    assert difference(decode((CASES / name).read_bytes()), plain) < 2


@pytest.mark.parametrize("size", [(33, 65), (65, 33), (64, 47), (47, 64), (45, 45)])
def test_every_orientation_equals_the_upright_image(size: tuple[int, int]) -> None:
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    for mode, orientation in itertools.product(("shortest", "longest", "squash"), undo):
        settings = Preprocessing(20, (0, 0, 0), (1, 1, 1), resize_mode=mode)  # type: ignore[arg-type]
        upright = scene(size)
        turn = undo[orientation]
        stored = upright if turn is None else upright.transpose(Image.Transpose(turn))
        ours = preprocess(Picture(stored, stored.size, orientation=orientation), settings)
        expected = preprocess(Picture(upright, upright.size), settings)
        assert difference(ours, expected) < 0.5, (mode, orientation)


# JPEG


def test_segments_that_no_pixel_needs_are_not_read() -> None:
    data = saved(scene(), "JPEG")
    for segment in (
        b"\xff\xe0\0\x07JFIF\0",  # empty
        b"\xff\xe2\0\x0eICC_PROFILE\0",
        b"\xff\xee\0\x07Adobe",
        b"\xff\xed\0\x14Photoshop 3.0\x008BIM",
        b"\xff\xe2\0\x06MPF\0",
        b"\xff\xfe\0\x08\xff\xda\xff\xda\xff\xda",
    ):
        assert difference(decode(data[:2] + segment + data[2:]), decode(data)) == 0


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
@pytest.mark.parametrize("ending", [b"", b"\xff", bytes(50)])
def test_a_jpeg_that_only_lacks_its_end_is_whole(options: dict[str, object], ending: bytes) -> None:
    data = saved(scene(), "JPEG", **options)
    assert difference(decode(data[:-2] + ending), decode(data)) == 0


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
def test_a_jpeg_that_lacks_rows_is_truncated(options: dict[str, object]) -> None:
    data = saved(scene((200, 200)), "JPEG", quality=95, **options)
    for missing in (len(data) // 2, len(data) // 4, 200):
        with pytest.raises(CorruptImage, match="truncated"):
            decode(data[:-missing])


def test_trailers_count_for_nothing() -> None:
    for options in ({}, {"progressive": True}):
        data = saved(scene(), "JPEG", **options)
        trailer = b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 100_000 + b"\xff\xd9\xff"
        assert difference(decode(data + trailer), decode(data)) == 0


def test_scans_are_counted_as_libjpeg_meets_them() -> None:
    progressive = saved(scene(), "JPEG", progressive=True)
    parsed = jpeg.parse(progressive)
    assert parsed.is_buffered
    assert parsed.scans == progressive.count(b"\xff\xda")
    assert jpeg.parse(saved(scene(), "JPEG")).scans == 1
    with pytest.raises(TooComplex, match="10,000 segments"):
        jpeg.parse(progressive[:2] + b"\xff\xfe\0\2" * 10_001 + progressive[2:])


@pytest.mark.parametrize(
    ("place", "value", "message"), [(4, 12, "12 bits a sample"), (9, 2, "2 components")]
)
def test_a_jpeg_of_another_kind_is_named(place: int, value: int, message: str) -> None:
    data = bytearray(saved(scene(), "JPEG"))
    data[data.index(b"\xff\xc0") + place] = value
    with pytest.raises(UnsupportedImage, match=message):
        decode(bytes(data))


# PNG


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"tEXt", b"prompt\0" + b"a fox " * 300_000),
        (b"zTXt", b"prompt\0\0" + zlib.compress(bytes(20_000_000))),
        (b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(bytes(20_000_000))),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(20_000_000))),
        (b"iCCP", b"profile without an end"),
        (b"cHRM", b""),
        (b"pHYs", b"\0"),
        (b"gAMA", b""),
        (b"prVt", b"private"),
    ],
)
@pytest.mark.parametrize("is_wrong", [False, True])
def test_chunks_that_no_pixel_needs_are_not_read(
    kind: bytes, content: bytes, is_wrong: bool
) -> None:
    data = saved(scene(), "PNG")
    changed = with_chunk(data, kind, content, is_wrong=is_wrong)
    assert difference(decode(changed), decode(data)) == 0


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT"])
def test_a_wrong_checksum_of_what_pixels_need_is_broken(kind: bytes) -> None:
    data = saved(scene().convert("P"), "PNG")
    with pytest.raises(CorruptImage, match="broken"):
        decode(png(*png_chunks(data), wrong=[kind]))


@pytest.mark.parametrize("mode", ["P", "RGB"])
def test_two_palettes_are_refused(mode: str) -> None:
    data = saved(scene().convert(mode), "PNG")
    palette = bytes(range(256)) * 3
    with pytest.raises(CorruptImage, match="two palettes"):
        decode(with_chunk(with_chunk(data, b"PLTE", palette), b"PLTE", palette))


def test_a_critical_chunk_that_is_not_known_is_named() -> None:
    with pytest.raises(UnsupportedImage, match="CgBI"):
        decode(png((b"CgBI", bytes(4)), *png_chunks(saved(scene(), "PNG"))))


@pytest.mark.parametrize(
    ("samples", "size", "depth", "colour_type", "key"),
    [
        (b"\x55" * 8, (8, 8), 1, 0, (0,)),
        (b"\x66" * 16, (8, 8), 2, 0, (1,)),
        (b"\x55" * 32, (8, 8), 4, 0, (5,)),
        (b"\x05\x80" * 32, (8, 8), 8, 0, (5,)),
        (b"\x05\x06\x80\x06" * 32, (8, 8), 16, 0, (0x0506,)),
        (b"\1\2\3\x80\2\3" * 32, (8, 8), 8, 2, (1, 2, 3)),
        (b"\1\2\3\4\5\6\x80\2\3\4\5\6" * 32, (8, 8), 16, 2, (0x0102, 0x0304, 0x0506)),
    ],
)
def test_the_transparent_colour_of_every_depth_is_white(
    samples: bytes, size: tuple[int, int], depth: int, colour_type: int, key: tuple[int, ...]
) -> None:
    settings = Preprocessing(8, (0, 0, 0), (1, 1, 1))
    plain = raw_png(samples, size, depth, colour_type)
    chunk = (b"tRNS", struct.pack(f">{len(key)}H", *key))
    pixels = decode(raw_png(samples, size, depth, colour_type, chunk), settings)
    assert (pixels == 255).all(axis=2).sum() >= 32
    assert not (decode(plain, settings)[:, 0] == 255).all()


def test_16_bit_colours_near_the_transparent_one_stay() -> None:
    samples = b"\1\2\3\4\5\6\1\3\3\4\5\6" * 32
    chunk = (b"tRNS", b"\1\2\3\4\5\6")
    pixels = decode(raw_png(samples, (8, 8), 16, 2, chunk), Preprocessing(8, (0, 0, 0), (1, 1, 1)))
    assert pixels[0, 0].tolist() == WHITE
    assert pixels[0, 1].tolist() == [1, 3, 5]


def animation(frame: tuple[int, int, int, int], *, is_default_a_frame: bool) -> bytes:
    """Blue as the default image of 8 × 8, red as a frame of (width, height, left, top)."""
    width, height, left, top = frame
    blue = png_chunks(saved(Image.new("RGB", (8, 8), "blue"), "PNG"))
    red = dict(png_chunks(saved(Image.new("RGB", (width, height), "red"), "PNG")))[b"IDAT"]
    own = (b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 10, 0, 0))
    control = struct.pack(">IIIIIHHBB", 1, width, height, left, top, 1, 10, 0, 0)
    return png(
        blue[0],
        (b"acTL", struct.pack(">II", 2, 0)),
        *([own] if is_default_a_frame else []),
        blue[1],
        (b"fcTL", control),
        (b"fdAT", struct.pack(">I", 2) + red),
        blue[2],
    )


def test_an_animated_png_gives_its_first_frame() -> None:
    whole = (8, 8, 0, 0)
    assert decode(animation(whole, is_default_a_frame=False), SQUASH)[1, 1].tolist() == RED
    blue = decode(animation(whole, is_default_a_frame=True), SQUASH)
    assert blue[1, 1].tolist() == [0, 0, 255]
    part = decode(animation((4, 4, 4, 0), is_default_a_frame=False), SQUASH)
    assert part[0, 3].tolist() == RED
    assert part[3, 0].tolist() == WHITE
    outside = decode(animation((8, 8, 1, 0), is_default_a_frame=False), SQUASH)
    assert outside[1, 1].tolist() == [0, 0, 255]


# GIF


def test_a_gif_whose_screen_has_no_size_takes_that_of_its_image() -> None:
    data = saved(scene().convert("P"), "GIF")
    changed = data[:6] + bytes(4) + data[10:]
    assert difference(decode(changed), decode(data)) == 0


# BMP


def test_what_pillow_reads_of_bmp_comes_out_the_same() -> None:
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        image = scene().convert(mode)
        settings = Preprocessing(16, (0, 0, 0), (1, 1, 1), reference=True)
        data = saved(image, "BMP")
        with Image.open(io.BytesIO(data)) as plain:
            expected = preprocess(Picture(plain, plain.size), settings)
        assert difference(decode(data, settings), expected) == 0


@pytest.mark.parametrize(
    ("masks", "pixel", "bits"),
    [
        ((0xF800, 0x7E0, 0x1F), 0xF800, 16),
        ((0xF000, 0xF00, 0xF0), 0xF000, 16),
        ((0xFF, 0xFF00, 0xFF0000), 0xFF, 32),
        ((0x3FF00000, 0xFFC00, 0x3FF), 0x3FF00000, 32),
        ((0x80000000, 0x40000000, 0x20000000), 0x80000000, 32),
    ],
)
def test_every_layout_of_bits_is_read(masks: tuple[int, ...], pixel: int, bits: int) -> None:
    pixels = pixel.to_bytes(bits // 8, "little") * 64
    data = bmp(pixels, (8, 8), bits, 3, struct.pack("<3I", *masks))
    assert decode(data, SQUASH)[2, 2].tolist() == RED


def test_alpha_in_a_bmp_counts_unless_all_of_it_is_zero() -> None:
    more = struct.pack("<4I", 0xF00, 0xF0, 0xF, 0xF000) + bytes(52 + 16)
    for pixel, expected in ((0xFF00, RED), (0x0F00, RED)):
        data = bmp(struct.pack("<H", pixel) * 64, (8, 8), 16, 3, more, header_bytes=124)
        assert decode(data, SQUASH)[2, 2].tolist() == expected
    half = struct.pack("<8H", *[0x0F00] * 4, *[0xFF00] * 4) * 8
    mixed = decode(bmp(half, (8, 8), 16, 3, more, header_bytes=124), SQUASH)
    assert mixed[2, 0].tolist() == WHITE
    assert mixed[2, 3].tolist() == RED


def test_palettes_of_2_bits_and_os2_headers_are_read() -> None:
    palette = b"\xff\0\0\0" + b"\0\xff\0\0" + b"\0\0\xff\0" + bytes(4)
    data = bmp(b"\xaa\xaa\0\0" * 8, (8, 8), 2, 0, palette)
    assert decode(data, SQUASH)[2, 2].tolist() == RED
    core = bmp(bytes([1] * 8) * 8, (8, 8), 8, 0, b"\0\0\0\0\0\xff", header_bytes=12)
    assert decode(core, SQUASH)[2, 2].tolist() == RED


def test_runs_of_a_bmp_are_cut_at_the_end_of_a_row() -> None:
    palette = b"\0\0\xff\0" + bytes(4) * 15
    runs = (b"\x09\x00" + b"\0\0") * 7 + b"\x09\x00" + b"\0\1"
    assert decode(bmp(runs, (7, 8), 4, 2, palette), SQUASH)[3, 3].tolist() == RED
    skipped = b"\0\2\0\4" + (b"\x07\x00\0\0") * 3 + b"\x07\x00\0\1"
    pixels = decode(bmp(skipped, (7, 8), 4, 2, palette), SQUASH)
    assert pixels[3, 0].tolist() == WHITE
    assert pixels[0, 0].tolist() == RED


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (bmp(b"\0\2\x09\0\0\1", (8, 8), 8, 1, bytes(1024)), CorruptImage, "leaves the image"),
        (bmp(b"\0\x20" + bytes(32), (8, 8), 8, 1, bytes(1024)), CorruptImage, "leaves the image"),
        (bmp(b"\x08\0", (8, 8), 8, 1, bytes(1024)), CorruptImage, "has no end"),
        (bmp(b"", (8, 8), 24, 4), UnsupportedImage, "JPEG data"),
        (bmp(b"", (8, 8), 48), UnsupportedImage, "48 bits a pixel"),
        (bmp(bytes(256), (8, 8), 32, 3, struct.pack("<3I", 5, 0, 0)), UnsupportedImage, "0x5"),
        (bmp(b"", (8, 8), 24, header_bytes=66), UnsupportedImage, "66 bytes"),
        (bmp(bytes(100), (8, 8), 24), CorruptImage, "truncated"),
    ],
)
def test_a_bmp_is_right_or_refused_by_a_true_name(
    data: bytes, error: type[DecodeError], message: str
) -> None:
    with pytest.raises(error, match=message):
        decode(data)


# Colours


def test_colours_are_converted_unless_the_reference_is_asked_for() -> None:
    green = Image.new("RGB", (8, 8), (0, 255, 0))
    for image_format in ("PNG", "JPEG", "WEBP"):
        data = saved(green, image_format, icc_profile=swapped_profile())
        assert difference(decode(data)[:1, :1], np.array([[RED]], np.uint8)) < 6, image_format
        reference = Preprocessing(32, (0, 0, 0), (1, 1, 1), reference=True)
        assert decode(data, reference)[0, 0, 1] > 250


def test_transparency_stays_when_colours_are_converted() -> None:
    image = Image.new("RGBA", (8, 8), (0, 255, 0, 0))
    assert decode(saved(image, "PNG", icc_profile=swapped_profile()))[0, 0].tolist() == WHITE


def test_a_profile_that_cannot_be_used_counts_as_none() -> None:
    profile = swapped_profile()
    wrong = [
        b"",
        b"no profile",
        profile[:200],
        profile + bytes(2**21),
        profile[:12] + b"link" + profile[16:],
        profile[:128] + struct.pack(">I", 1_000_000) + profile[132:],
        profile.replace(b"rTRC", b"D2B0"),
    ]
    assert all(colour.find_transform(data, "RGB") is None for data in wrong)
    assert colour.find_transform(profile, "L") is None
    assert colour.find_transform(profile, "RGBA") is not None


def test_srgb_by_any_name_costs_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert colour.find_transform(srgb, "RGB") is None


# Refusals


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"II*\0" + bytes(20), "a TIFF image"),
        (b"<?xml version='1.0'?><!-- --><svg xmlns=''/>", "an SVG image"),
        (b"\xef\xbb\xbf <svg/>".replace(b"/", b" "), "an SVG image"),
        (b"%PDF-1.7", "a PDF document"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"\xff\x0a" + bytes(10), "a JPEG XL image"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        (b"8BPS\0\1", "a Photoshop image"),
        (b"\0\0\1\0\1\0", "an ICO icon"),
        (b"\0\0\2\0\1\0", "a CUR cursor"),
        (b"\0\0\0\x18ftypmp42" + bytes(16), "an MP4 video"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "a HEIC image"),
    ],
)
def test_a_format_that_is_not_decoded_is_named(data: bytes, name: str) -> None:
    error = formats.refusal(data)
    assert isinstance(error, UnsupportedImage)
    assert str(error) == f"this is {name}; supported: JPEG, PNG, WebP, GIF, BMP, AVIF"


def test_heic_is_decoded_where_its_package_is_installed() -> None:
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6  # which HEIF only repeats: its own rotation counts
    for mode, options in (("RGB", {}), ("RGBA", {}), ("RGB", {"exif": exif})):
        image = scene((64, 40)).convert(mode)
        data = saved(image, "HEIF", quality=95, **options)
        assert difference(decode(data), decode(saved(image, "PNG"))) < 4
        for keep in (40, len(data) // 2, len(data) - 200):
            with pytest.raises(DecodeError):
                decode(data[:keep])


def test_a_heic_that_is_larger_than_it_tells_is_refused() -> None:
    pillow_heif.register_heif_opener()
    data = saved(scene((640, 400)), "HEIF")
    told = b"ispe" + bytes(4) + struct.pack(">II", 640, 400)
    assert told in data
    with pytest.raises(DecodeError):
        decode(data.replace(told, told[:8] + struct.pack(">II", 64, 40)))


def test_without_its_package_a_heic_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif, "is_installed", lambda: False)
    with pytest.raises(UnsupportedImage, match="a HEIC image; supported: JPEG"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
