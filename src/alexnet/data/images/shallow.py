"""JPEG 2000 with fewer than 8 bits a channel, which Pillow leaves in the upper bits of a byte."""

from PIL import Image

CODESTREAM = b"\xff\x4f\xff\x51"  # its first two markers, SOC and SIZ (ISO/IEC 15444-1, A.4 and A.5)
CHANNELS, DEPTHS = 40, 42  # bytes from there to the number of channels, and to the depths, one each three bytes
HEAD = 1 << 16  # bytes of boxes that may come before


def depths(image: Image.Image) -> list[int]:
    """Bits of each channel of an opened JPEG 2000 file of which one has fewer than 8; else nothing."""
    file = getattr(image, "fp", None)
    if image.format != "JPEG2000" or file is None:
        return []
    place = file.tell()
    file.seek(0)
    head = file.read(HEAD)
    file.seek(place)
    start = head.find(CODESTREAM)
    count = int.from_bytes(head[start + CHANNELS : start + DEPTHS], "big") if start >= 0 else 0
    found = [min(8, (depth & 127) + 1) for depth in head[start + DEPTHS : start + DEPTHS + 3 * count : 3]]
    return found if found and min(found) < 8 and len(found) == len(image.getbands()) else []


def spread(image: Image.Image, bits: list[int]) -> Image.Image:
    """The loaded image with the values of its channels, of so many bits each, spread over 0 to 255."""
    return image.point([round((value >> (8 - each)) * 255 / (2**each - 1)) for each in bits for value in range(256)])
