"""TIFF files: Pillow where it is right, tifffile where Pillow misreads a variety or cannot read it.

Pillow gives other pixels than the file holds for uncompressed planes of 16 bits, planes of grey with alpha and
compressed big-endian floats, and opens neither float colour nor 16-bit grey with alpha, among others. Tags: TIFF 6.0.
"""

import logging
import math
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from alexnet.data.images.inflating import refuse_bombs
from alexnet.data.images.kinds import RAW, RAW_SUFFIXES
from alexnet.data.images.lzw import LZW, unpacked_page
from alexnet.data.images.orientation import UPRIGHT
from alexnet.data.images.packed import is_packed, unpacked
from alexnet.data.images.pixels import Pixels, ValueRange, Values, to_8_bit
from alexnet.errors import ImageError

Bands: TypeAlias = NDArray[Any]  # (H, W, bands), of any type

BITS, COMPRESSION, PHOTOMETRIC, BANDS, PLANES, EXTRA, FORMAT = 258, 259, 262, 277, 284, 338, 339
MAKE, ORIENTATION, SUBFILE, CHILDREN, DNG = 271, 274, 254, 330, 50706
WHITE_IS_ZERO, GRAY, RGB, PALETTE, CMYK = 0, 1, 2, 3, 5
COLOURS = {WHITE_IS_ZERO: 1, GRAY: 1, RGB: 3, PALETTE: 1, CMYK: 4, 6: 3, 8: 3}  # bands by photometric interpretation
WHOLE = (1, 8, 16, 32, 64)  # bits a value that tifffile reads without further packages
MAX_BYTES = 2**32  # of decoded values
_COMPRESSED = {7: "JPEG", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC"}
_COMPRESSED |= {50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL"}
_KINDS = {"u": "integer", "i": "signed integer", "f": "float", "c": "complex"}

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else what we raise is printed, too


def open_tiff(file: BinaryIO) -> Image.Image:
    """The first page of a TIFF file with its header read; `load` reads its pixels, or raises.

    ImageError for RAW photos, which are TIFF files of a thumbnail, and for varieties that neither library reads.
    """
    try:
        image = Image.open(file, formats=("TIFF",))
    except Exception:  # Pillow raises many types
        return _wide(file)
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    _refuse_raw(image.tag_v2, file)
    if _pillow_is_right(image):
        _refuse_missing_data(image.tag_v2, file)
        return image
    return _wide(file)


def reread(image: Image.Image) -> Image.Image:
    """A caller's image as it is; one of a TIFF file that Pillow misreads, if it is not loaded yet, by tifffile."""
    unread = isinstance(image, TiffImagePlugin.TiffImageFile) and image.tile and image.fp is not None
    if not unread or image.tell() or _pillow_is_right(image):  # type: ignore[arg-type]  # as `unread` says
        return image
    return _wide(image.fp)  # type: ignore[attr-defined]  # as `unread` says


def _wide(file: BinaryIO) -> "WideTiff":
    file.seek(0)
    return WideTiff(file)


def is_negative(image: Image.Image) -> bool:
    """Whether zero means white in values of 16 bits and more, which Pillow reads as they are."""
    if isinstance(image, WideTiff):
        return image.negative and image.mode[0] in "IF"
    return image.mode[0] in "IF" and _tags(image).get(PHOTOMETRIC) == WHITE_IS_ZERO


def has_undeclared_band(image: Image.Image) -> bool:
    """Whether a fourth band of an RGB file, which Pillow takes for alpha, is not said to be one."""
    tags = _tags(image)
    return image.mode == "RGBA" and tags.get(PHOTOMETRIC) == RGB and not tags.get(EXTRA)


def foreign_compression(image: Image.Image) -> str | None:
    """Why pixels may not be decoded that are not damaged: a compression that not every libtiff has; None for usual."""
    name = _COMPRESSED.get(_tags(image).get(COMPRESSION, 1))
    return None if name is None else f"its pixels, compressed as {name}, cannot be decoded: save it uncompressed"


def notes_of_tiff(image: Image.Image) -> list[str]:
    """Properties that need conversion, beyond those seen in Pillow's mode."""
    if isinstance(image, WideTiff):
        return image.notes
    tags = _tags(image)
    colours = COLOURS.get(tags.get(PHOTOMETRIC, GRAY), 3)
    spare = tags.get(BANDS, 1) - colours - (image.mode.endswith("A") and not has_undeclared_band(image))
    return _common_notes(is_negative(image), spare)


def _common_notes(negative: bool, spare: int) -> list[str]:
    return ["white is zero"] * negative + ["extra bands left out: no alpha"] * (spare > 0)


def _tags(image: Image.Image) -> Any:
    return image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}


def _refuse_raw(tags: Any, file: Any) -> None:
    """Cameras' files show a small picture first; what they hold below it no library here develops."""
    maker = str(tags.get(MAKE, "")).upper()
    camera = maker.startswith(("NIKON", "SONY", "PENTAX", "SAMSUNG", "CANON", "LEICA", "HASSELBLAD", "PHASE"))
    named = Path(str(getattr(file, "name", ""))).suffix.lower() in RAW_SUFFIXES
    if named or DNG in tags or (camera and CHILDREN in tags and tags.get(SUBFILE, 0) & 1):
        raise ImageError(RAW)


def _pillow_is_right(image: TiffImagePlugin.TiffImageFile) -> bool:
    tags = image.tag_v2
    bits, bands, packed = set(tags.get(BITS, (1,))), tags.get(BANDS, 1), tags.get(COMPRESSION, 1) != 1
    if tags.get(PLANES, 1) == 2 and bands > 1:
        colour = tags.get(PHOTOMETRIC) == RGB and bands in (3, 4)
        return colour and tuple(tags.get(EXTRA, ())) != (1,) and (bits == {8} or (packed and bits == {16}))
    if image.mode == "La" or bits == {12} or (bits, set(tags.get(FORMAT, (1,)))) in (({8}, {2}), ({32}, {1})):
        return False  # no premultiplied grey, 12 bits as of 16, signed values as unsigned and the other way round
    wide = image.mode in ("F", "I") or set(tags.get(FORMAT, (1,))) != {1}
    return not (wide and packed and tags.prefix == b"MM")  # which libtiff has put into the machine's order already


def _refuse_missing_data(tags: Any, file: BinaryIO) -> None:
    """Refuse compressed data behind the end of the file, of which libtiff would complain on standard error."""
    starts, lengths = tags.get(273) or tags.get(324) or (), tags.get(279) or tags.get(325) or ()
    if tags.get(COMPRESSION, 1) == 1 or len(starts) != len(lengths):
        return
    here, end = file.tell(), file.seek(0, 2)
    file.seek(here)
    _refuse_end(max((start + length for start, length in zip(starts, lengths, strict=True)), default=0), end)


def _refuse_end(needed: int, end: int) -> None:
    if needed > end:
        raise ImageError(f"truncated or damaged: {end:,} bytes of a file that should have at least {needed:,}")


class WideTiff(ImageFile.ImageFile):
    """A TIFF file as a Pillow image, read by tifffile, upright.

    Grey of more than 8 bits keeps its values (mode I;16, I or F); colour and alpha become 8 bits a band.
    """

    format = "TIFF"
    value_range: ValueRange | None = None  # by which colour becomes 8 bits a band; set before `load`
    values: Values | None = None  # of colour of more than 8 bits, known after `load`

    def _open(self) -> None:
        from tifffile import TiffFile

        tiff = TiffFile(self.fp)  # type: ignore[arg-type]  # open until the pixels are loaded
        page: Any = tiff.pages[0]
        self._page = page
        tags = {tag.code: tag.value for tag in page.tags.values()}
        _refuse_raw(tags, self.fp)
        _refuse_variety(page)
        extra = page.extrasamples[0] if page.samplesperpixel > COLOURS[page.photometric] and page.extrasamples else 0
        self._premultiplied, self._alpha = extra == 1, extra in (1, 2)
        self._orientation = tags.get(ORIENTATION, 1) if tags.get(ORIENTATION, 1) in UPRIGHT else 1
        self.negative = page.photometric == WHITE_IS_ZERO
        self.is_animated = _has_second_page(tiff)
        self.notes = self._found()
        self._mode = _mode(page, self._alpha)
        self._size = (page.imagewidth, page.imagelength)[:: -1 if self._orientation > 4 else 1]
        self.tile = []

    def load(self) -> Any:
        if self._im is None:
            self.im = self._image().im
        return super().load()

    def _image(self) -> Image.Image:
        bands: Bands = UPRIGHT[self._orientation](_bands(self._page, self.fp))
        if self.mode[0] in "IF":
            return Image.fromarray(np.ascontiguousarray(_gray(bands[:, :, 0])))
        colours, self.values = _eight(bands[:, :, : COLOURS[self._page.photometric]], self.value_range)
        parts = [colours[:, :, band] for band in range(colours.shape[2])]
        if self.negative:
            parts = [255 - part for part in parts]
        parts += [_eight(bands[:, :, len(parts)])[0]] if self._alpha and self.mode != "CMYK" else []
        images = [Image.fromarray(np.ascontiguousarray(part)) for part in parts]
        if len(images) == 2:  # Pillow has no premultiplied grey for all that it does
            images, mode = [images[0]] * 3 + images[1:], "RGBA"
        else:
            mode = self.mode
        whole = Image.merge(mode.replace("A", "a") if self._premultiplied else mode, images)
        return (whole.convert("RGBA") if self._premultiplied else whole).convert(self.mode)  # to LA alpha would be lost

    def _found(self) -> list[str]:
        page = self._page
        notes = ["float"] if page.dtype.kind == "f" else ["16-bit"] * (page.dtype.itemsize > 1)
        notes += ["grayscale"] * (COLOURS[page.photometric] == 1) + ["CMYK"] * (page.photometric == CMYK)
        notes += ["alpha"] * self._alpha + [f"EXIF orientation {self._orientation}"] * (self._orientation != 1)
        return notes + _common_notes(self.negative, page.samplesperpixel - COLOURS[page.photometric] - self._alpha)


def _refuse_variety(page: Any) -> None:
    """Name what tifffile cannot read without further libraries, before it tries."""
    from tifffile import TIFF

    kind = _KINDS.get(page.dtype.kind, "unknown") if page.dtype is not None else "unknown"
    what = f"a TIFF of {page.bitspersample}-bit {kind} values"
    if page.dtype is None or page.dtype.kind not in "buif":
        raise ImageError(f"{what}, which is not read: save it as 8 or 16 bits a channel")
    if page.photometric not in (WHITE_IS_ZERO, GRAY, RGB, CMYK) or page.imagedepth > 1:
        name = "a volume" if page.imagedepth > 1 else getattr(page.photometric, "name", str(page.photometric))
        raise ImageError(f"{what} in {name}, which is not read: save it as RGB of 8 bits a channel")
    if page.compression not in (1, LZW) and not _is_there(TIFF.DECOMPRESSORS, page.compression):
        name = _COMPRESSED.get(page.compression, getattr(page.compression, "name", str(page.compression)))
        raise ImageError(f"{what} compressed as {name}, which is not read: save it uncompressed or as PNG")
    if not _is_there(TIFF.UNPREDICTORS, page.predictor):
        name = "for floats" if page.predictor == 3 else f"of number {page.predictor}"
        raise ImageError(f"{what} with a predictor {name}, which is not read: save it without a predictor")
    if page.bitspersample not in WHOLE and not is_packed(page):
        raise ImageError(f"{what} packed without gaps, which is not read: save it as 8 or 16 bits a channel")
    if page.dtype.kind == "i" and page.dtype.itemsize == 1:
        raise ImageError(f"{what}, which is not read: save it as unsigned")
    if page.dtype.kind == "i" and (page.samplesperpixel > 1 or page.photometric != GRAY):
        raise ImageError(f"{what} in several bands or of white as zero, which is not read: save it as unsigned")
    if page.nbytes > MAX_BYTES:
        raise ImageError(f"too large: {page.nbytes:,} bytes by its header, at most {MAX_BYTES:,} are decoded")


def _is_there(codecs: Any, number: int) -> bool:
    """Whether tifffile has that codec; some it has only by packages, or by modules of later versions of Python."""
    try:
        codecs[number](b"")
    except (KeyError, ImportError):
        return False
    except Exception:  # nothing to decode
        return True
    return True


def _mode(page: Any, alpha: bool) -> str:
    if page.photometric == CMYK:
        return "CMYK"
    if COLOURS[page.photometric] == 3 or alpha:
        return ("RGB" if page.photometric == RGB else "L") + "A" * alpha
    if page.dtype.kind == "f":
        return "F"
    return "L" if page.bitspersample <= 8 and page.dtype.kind != "i" else "I;16" if page.dtype == np.uint16 else "I"


def _bands(page: Any, file: Any) -> Bands:
    """All values of a page as (H, W, bands); integers of fewer bits than their type are spread over its range."""
    _refuse_end(max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))), file.seek(0, 2))
    needed, there = math.prod(page.chunked), len(page.dataoffsets)
    if there < needed:  # 16 million strips of a file of 146 bytes would be looked for one by one
        raise ImageError(f"truncated or damaged: {there:,} of {needed:,} parts of the picture are there")
    if min(page.databytecounts) == 0:
        raise ImageError("truncated or damaged: parts of the picture are missing")
    values = _values(page, file)
    if values.size != (expected := page.imagelength * page.imagewidth * page.samplesperpixel):
        raise ImageError(f"truncated or damaged: {values.size:,} of {expected:,} values are there")
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    elif page.dtype.kind == "u" and page.bitspersample < 8 * page.dtype.itemsize:
        full = np.iinfo(values.dtype).max
        values = (values.astype(np.float64) * (full / (2**page.bitspersample - 1)) + 0.5).astype(values.dtype)
    planes = page.planarconfig == 2 and page.samplesperpixel > 1
    shape = (page.samplesperpixel, page.imagelength, page.imagewidth)
    bands: Bands = values.reshape(shape).transpose(1, 2, 0) if planes else values.reshape(*shape[1:], shape[0])
    return bands


def _values(page: Any, file: Any) -> NDArray[Any]:
    refuse_bombs(page, file)
    if is_packed(page):
        return unpacked(page, file)
    values: NDArray[Any] = (unpacked_page(page, file) if page.compression == LZW else page).asarray(maxworkers=1)
    return values


def _gray(values: NDArray[Any]) -> NDArray[Any]:
    """As a type that Pillow has: uint16, int32 or float32. Larger floats become infinite, and are refused later."""
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(np.float32)
    if values.dtype == np.uint16:
        return values.astype("<u2")
    limits, low, high = np.iinfo(np.int32), int(values.min()), int(values.max())
    if low < limits.min or high > limits.max:
        raise ImageError(f"integer pixels from {low} to {high}: at most {limits.max} is read; save it as 16 bits")
    return values.astype(np.int32)


def _eight(values: Bands, value_range: ValueRange | None = None) -> tuple[Pixels, Values | None]:
    """Colour or alpha as 8 bits a band, and the values of wider ones.

    Without a range, of 16 bits the upper ones, as Pillow reads 16-bit colour of every format.
    """
    if values.dtype == np.uint8:
        return values, None
    eight, found = to_8_bit(values.astype(np.float32) if values.dtype.kind == "f" else values, value_range)
    if value_range is None and values.dtype == np.uint16:
        eight = (values >> 8).astype(np.uint8)
    return eight, found


def _has_second_page(tiff: Any) -> bool:
    try:
        return len(tiff.pages) > 1
    except Exception:  # damaged later pages, which are not used
        return False
