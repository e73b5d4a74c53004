"""Properties of images, as `check` reports them."""

from dataclasses import dataclass

from PIL import Image

from alexnet.data.images.orientation import orientation_of
from alexnet.data.images.pixels import Values
from alexnet.data.images.tiff import WideTiff, has_undeclared_band, notes_of_tiff

BLANK = "blank: of one colour"
ONE_COLOR = "blank, of one colour"
# Kinds of which only the first picture is used, and what such a file has.
PARTLY_READ = {"several pages": "several pages", "several pictures": "several pictures", "animated": "several frames"}
CARE = ("alpha ignored", "alpha laid over black", "extra bands")  # beginnings of notes that are worth a word
_MODE_NOTES = {
    "1": ("1-bit", "grayscale"),
    "L": ("grayscale",),
    "LA": ("grayscale",),
    "F": ("float", "grayscale"),
    "P": ("palette",),
    "PA": ("palette",),
    "CMYK": ("CMYK",),
}


def remark_of(note: str) -> str | None:
    """What is said of images of that note wherever they are used; None for conversions that leave nothing out."""
    if note in PARTLY_READ:
        return f"{PARTLY_READ[note]}, the first used alone"
    return note if note.startswith(CARE) else None


@dataclass(frozen=True)
class ImageFacts:
    """Properties of an image, found by decoding it.

    width, height: pixels, upright; 0 if the header cannot be read. format, mode: Pillow's names for the stored image,
    "array" for arrays. notes: properties that need conversion ("16-bit", "CMYK", "palette", "alpha", "grayscale",
    "1-bit", "float", "EXIF orientation 6", "animated", "several pages", "white is zero", "extra bands
    left out: no alpha") or care ("blank: of one colour", "alpha ignored: zero everywhere"). error: why it cannot be
    used, or None. digest: 16 bytes, equal for images of equal decoded pixels; look: `alexnet.data.alike.look` of them;
    both empty if there is an error. values: those of the file; None if there is an error.
    """

    width: int = 0
    height: int = 0
    format: str = ""
    mode: str = ""
    notes: tuple[str, ...] = ()
    error: str | None = None
    digest: bytes = b""
    color: tuple[int, ...] | None = None  # RGB of all pixels of a blank image; None if they differ
    look: bytes = b""
    values: Values | None = None

    @property
    def blank(self) -> bool:
        """Whether all its pixels have the same colour, so that there is nothing to see."""
        return self.color is not None


def notes_of(image: Image.Image) -> list[str]:
    """Properties that need conversion, of an image that is not loaded; the orientation of a PNG file is not among them.

    Pillow finds that in the pixels' stream, whose damage it would hide: see `turned`.
    """
    notes = notes_of_tiff(image)
    if not isinstance(image, WideTiff):
        notes = _notes_of_mode(image) + notes
    if _has_more_frames(image):
        notes.append({"TIFF": "several pages", "HEIF": "several pictures"}.get(image.format or "", "animated"))
    return notes


def _notes_of_mode(image: Image.Image) -> list[str]:
    notes = list(_MODE_NOTES.get(image.mode, ()))
    if stored_in_16_bit(image):
        notes += ["16-bit"] if not image.mode.startswith("I") else ["16-bit", "grayscale"]
    if image.has_transparency_data and not has_undeclared_band(image):
        notes.append("alpha")
    return notes if image.format == "PNG" else notes + turned(image)


def turned(image: Image.Image) -> list[str]:
    """The note of an image that is not stored upright; of a PNG file once its pixels are loaded."""
    return [] if (orientation := orientation_of(image)) == 1 else [f"EXIF orientation {orientation}"]


def _has_more_frames(image: Image.Image) -> bool:
    """Whether there are frames after the first. A camera's MPO holds one photo and its previews, so it has none."""
    try:
        return image.format != "MPO" and getattr(image, "is_animated", False)
    except Exception:  # damaged later frames, which are not used
        return False


def stored_in_16_bit(image: Image.Image) -> bool:
    """By mode; for colour, which Pillow converts to 8 bits, by the raw mode of the stored pixels."""
    tiles = getattr(image, "tile", [])
    return image.mode.startswith("I") or any(";16" in str(tile.args) for tile in tiles)
