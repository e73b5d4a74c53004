"""Kinds of file, told by their first bytes: what is read, and what to do with what is not."""

import re
import struct
from typing import BinaryIO

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000")  # Pillow's names; and HEIF
NAMES = "JPEG, PNG, GIF, BMP, TIFF, WebP, PPM, HEIC, AVIF or JPEG 2000"
_SUFFIXES = (
    ".jpg .jpeg .jpe .jfif .mpo .png .gif .bmp .tif .tiff .webp .ppm .pgm .pbm .pnm .heic .heif .hif .avif"
    " .jp2 .j2k .jpx"
)
IMAGE_SUFFIXES = frozenset(_SUFFIXES.split())  # in lower case

SNIFFED = 512  # bytes from the start by which a kind is told

_SAVE = "save it as JPEG or PNG"
RAW = "RAW photo: export it as JPEG"
RAW_SUFFIXES = frozenset([".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"])
# First bytes of formats that are read, for files with a damaged header. Without BMP's "BM" and PPM's "P6": text files
# may begin like that.
_READ = {
    b"\xff\xd8": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
}
_REFUSED = {
    b"\xff\x0a": f"JPEG XL: {_SAVE}",
    b"\0\0\0\x0cJXL ": f"JPEG XL: {_SAVE}",
    b"8BPS": f"Photoshop file: {_SAVE}",
    b"FUJIFILMCCD-RAW": RAW,
    b"IIRO": RAW,
    b"IIRS": RAW,
    b"MMOR": RAW,
    b"IIU\0": RAW,
    b"%PDF": "not an image: PDF document; export its pages as PNG or JPEG",
    b"%!PS": f"not an image that is read: PostScript; {_SAVE}",
    b"\xc5\xd0\xd3\xc6": f"not an image that is read: PostScript; {_SAVE}",
    b"PK\x03\x04": "not an image: ZIP archive, or an office document; unpack it",
    b"\x1f\x8b": "not an image: gzip archive; unpack it",
    b"Rar!": "not an image: RAR archive; unpack it",
    b"7z\xbc\xaf": "not an image: 7z archive; unpack it",
    b"\x1aE\xdf\xa3": "not an image: Matroska or WebM video",
    b"ID3": "not an image: MP3 sound",
    b"fLaC": "not an image: FLAC sound",
    b"OggS": "not an image: Ogg sound or video",
    b"\x89HDF": "not an image: HDF5 file",
    b"\x93NUMPY": "not an image: NumPy array; save each picture as PNG",
    b"SIMPLE  =": "not an image that is read: FITS; save it as PNG or TIFF",
    b"version https://git-lfs": "not an image: a pointer of Git LFS; fetch the file with: git lfs pull",
}
# Brands of ISO base media files (ISO/IEC 14496-12; 23008-12 for HEIF).
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}

# Start-of-frame markers of JPEG that no common library reads (ITU-T T.81, table B.1; T.87 for JPEG-LS).
_FRAMES = {
    0xC3: "lossless JPEG",
    **dict.fromkeys((0xC5, 0xC6, 0xC7), "hierarchical JPEG"),
    **dict.fromkeys((0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), "arithmetic-coded JPEG"),
    0xF7: "JPEG-LS",
}
_STARTS_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC are none


def is_heif(start: bytes) -> bool:
    """Whether a file is HEIF with HEVC pictures, as phones write it (.heic); AVIF, of the same family, is not."""
    brands = _brands(start)
    return bool(brands & _HEIF_BRANDS) and not brands & _AVIF_BRANDS


def is_tiff(start: bytes) -> bool:
    return name_by(start) == "TIFF"


def name_by(start: bytes) -> str | None:
    """The name of the format that is read and begins like this; None if there is none."""
    if start[:4] == b"RIFF" and start[8:12] in (b"WEBP", b""):
        return "WebP"
    if is_heif(start):
        return "HEIC"
    if _brands(start) & _AVIF_BRANDS:
        return "AVIF"
    return next((name for magic, name in _READ.items() if start.startswith(magic)), None)


def refused_kind(start: bytes) -> str | None:
    """Why a file that begins like this is not read, and what to do; None for all others."""
    if start[4:8] == b"ftyp":
        return _media_kind(start)
    if start[:4] == b"RIFF":
        return _riff_kind(start[8:12])
    if start[8:10] == b"CR" and start.startswith(b"II*\0"):
        return RAW
    if start[128:132] == b"DICM":
        return "not an image that is read: DICOM; export it as PNG of 8 or 16 bits"
    found = next((kind for magic, kind in _REFUSED.items() if start.startswith(magic)), None)
    return found or _text_kind(start)


def strange_jpeg(file: BinaryIO) -> str | None:
    """The variety of a JPEG file that cannot be decoded: "12-bit JPEG: save it as 8 bits"; None for usual ones."""
    file.seek(0)
    frame, bits = _frame(file)
    if frame in _FRAMES:
        return f"{_FRAMES[frame]}: save it as baseline JPEG or PNG"
    return f"{bits}-bit JPEG: save it as 8 bits" if bits not in (0, 8) else None


def _brands(start: bytes) -> set[bytes]:
    """The brands of an ISO base media file; none for other files."""
    if start[4:8] != b"ftyp":
        return set()
    end = min(max(struct.unpack(">I", start[:4])[0], 12), len(start))
    return {start[at : at + 4] for at in (8, *range(16, end, 4))}


def _media_kind(start: bytes) -> str | None:
    brands = _brands(start)
    if b"crx " in brands:
        return RAW
    if brands & (_HEIF_BRANDS | _AVIF_BRANDS):
        return None
    return "not an image: MP4 or QuickTime video or sound"


def _riff_kind(kind: bytes) -> str | None:
    if kind in (b"WEBP", b""):
        return None
    return "not an image: " + {b"WAVE": "WAV sound", b"AVI ": "AVI video"}.get(kind, "a RIFF file that is no WebP")


def _text_kind(start: bytes) -> str | None:
    if start.strip(b"\0") == b"":
        return "not an image: it begins with zeros alone, as after a broken copy; copy it again"
    head = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "not an image: HTML page, as a failed download leaves it"
    if head.startswith(b"<svg") or (head.startswith((b"<?xml", b"<!--")) and b"<svg" in head):
        return "not an image that is read: SVG drawing; export it as PNG"
    if re.fullmatch(rb"[\t\r\n\x0c\x20-\x7e\x80-\xff]+", start) and not start.startswith((b"\xff\xd8", b"BM", b"P")):
        return "not an image: text"
    return None


def _frame(file: BinaryIO) -> tuple[int, int]:
    """Marker and bits a sample of a JPEG file's first frame; zeros if there is none."""
    file.read(2)
    while file.read(1) == b"\xff":
        while (marker := file.read(1)) == b"\xff":
            pass
        length = file.read(2)
        if not marker or len(length) < 2 or marker[0] == 0xDA:
            break
        if marker[0] in _STARTS_OF_FRAME:
            return marker[0], (file.read(1) or b"\0")[0]
        file.seek(struct.unpack(">H", length)[0] - 2, 1)
    return 0, 0
