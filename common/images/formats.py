"""Recognises the format of a file by its first bytes. Pure functions."""

import re

from common.errors import DecodeError, NotAnImage, UnsupportedImage

SUPPORTED = "JPEG, PNG, WebP, GIF, BMP, AVIF"
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_HEIF_BRANDS = (b"mif1", b"msf1", b"mif2", b"miaf")
_BRANDS_BYTES = 256  # read of the first box: 60 brands
_BMP_HEADER_BYTES = range(12, 125)  # of all versions, with those of OS/2

# The first bytes of unsupported files that people send as images, and the name of their format.
_SIGNATURES = (
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"II+\0", "a TIFF image"),
    (b"MM\0+", "a TIFF image"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\xff\xd8\xff\xf7", "a JPEG-LS image"),
    (b"II\xbc\x01", "a JPEG XR image"),
    (b"8BPS", "a Photoshop image"),
    (b"\0\0\1\0", "an ICO icon"),
    (b"\0\0\2\0", "a CUR cursor"),
    (b"icns", "an ICNS icon"),
    (b"\x8aMNG\r\n\x1a\n", "an MNG animation"),
    (b"\x8bJNG\r\n\x1a\n", "a JNG image"),
    (b"qoif", "a QOI image"),
    (b"DDS ", "a DDS texture"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"BPG\xfb", "a BPG image"),
    (b"gimp xcf", "a GIMP image"),
    (b"\xd7\xcd\xc6\x9a", "a WMF drawing"),
    (b"%PDF-", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"OggS", "an Ogg file"),
    (b"FLV\1", "a Flash video"),
    (b"PK\3\4", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
)
_RIFF_KINDS = {b"AVI ": "an AVI video", b"WAVE": "a WAV file", b"ACON": "an animated cursor"}
_MEDIA_BRANDS = {
    b"qt  ": "a QuickTime video",
    b"crx ": "a Canon raw image",
    b"jxl ": "a JPEG XL image",
    b"jp2 ": "a JPEG 2000 image",
}
_NETPBM = re.compile(rb"P[1-7]\s")
_MARKUP_BYTES = 4096  # comments and declarations may come before the first element
_MARKUP = (
    (re.compile(rb"<(?:\w+:)?svg[\s>]", re.IGNORECASE), "an SVG image"),
    (re.compile(rb"<!doctype html|<(?:html|head|body|script)[\s>]", re.IGNORECASE), "an HTML page"),
    (re.compile(rb"\A<(?:\?xml|!--|[a-z])", re.IGNORECASE), "an HTML or XML document"),
)


def sniff(data: bytes) -> str | None:
    """Pillow's name of the format that the first bytes show; None if it is not supported."""
    if data[:3] == b"\xff\xd8\xff" and data[3:4] != b"\xf7":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_BYTES:
        return "BMP"
    return _sniff_brands(_brands(data))


def refusal(data: bytes) -> DecodeError:
    """The error for a file in an unsupported format, which it names if the bytes show it."""
    if name := describe(data):
        return UnsupportedImage(f"this is {name}; supported: {SUPPORTED}")
    if not data:
        return NotAnImage(f"the file is empty; supported: {SUPPORTED}")
    start = f"the file starts with the bytes {data[:8].hex(' ')}"
    return NotAnImage(f"not a supported image format ({start}); supported: {SUPPORTED}")


def describe(data: bytes) -> str | None:
    """The unsupported format of a file, such as "a TIFF image"; None if it is unknown."""
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF":
        return _RIFF_KINDS.get(data[8:12])
    if _NETPBM.match(data):
        return "a Netpbm image"
    return _describe_media(_brands(data)) or _describe_markup(data)


def _brands(data: bytes) -> list[bytes]:
    """The brands of an ISO base media file (ISO/IEC 14496-12, `ftyp`), the major brand first."""
    if data[4:8] != b"ftyp":
        return []
    size = min(int.from_bytes(data[:4], "big"), len(data), _BRANDS_BYTES)
    return [data[8:12], *(data[place : place + 4] for place in range(16, size - 3, 4))]


def _sniff_brands(brands: list[bytes]) -> str | None:
    """Whether the brands are those of AVIF or HEIF, which differ in nothing else."""
    if not brands:
        return None
    if brands[0] in _AVIF_BRANDS or b"avif" in brands:
        return "AVIF"
    is_heic = brands[0] in _HEIC_BRANDS
    is_heif = brands[0] in _HEIF_BRANDS and not set(brands).isdisjoint(_HEIC_BRANDS)
    return "HEIF" if is_heic or is_heif else None


def _describe_media(brands: list[bytes]) -> str | None:
    if not brands:
        return None
    if brands[0] in _HEIC_BRANDS or not set(brands).isdisjoint(_HEIC_BRANDS):
        return "a HEIC image"
    if brands[0] in _HEIF_BRANDS:
        return "a HEIF image"
    return _MEDIA_BRANDS.get(brands[0], "an MP4 video")


def _describe_markup(data: bytes) -> str | None:
    start = data[:_MARKUP_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start.startswith(b"<"):
        return None
    return next((name for pattern, name in _MARKUP if pattern.search(start)), None)
