"""A folder of drawn pictures that holds every kind of trouble at once, and what four commands say about it.

    python tools/messy_folder.py FOLDER                     writes the folder
    python tools/messy_folder.py FOLDER --page PAGE.md      also runs check, train, evaluate and predict on it

Three classes of drawn shapes, a fourth that is written in two ways, and two that differ in case alone, in three parts.
The same pictures come from every run: all randomness is seeded by the names.
"""

import argparse
import io
import os
import re
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pillow_heif
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Pixels: TypeAlias = NDArray[np.uint8]  # (H, W, 3), RGB
SIDE = 120  # pixels of an ordinary picture's longer side
TRAIN, VAL, TEST = "Training", "valid", "holdout_set"
CLASSES = ("discs", "bars", "crosses")


def drawn(shape: str, name: str, width: int = SIDE, height: int = 90) -> Pixels:
    """A picture of one of CLASSES: uint8 (height, width, 3), a function of the name."""
    random = np.random.default_rng(zlib.crc32(f"{shape} {name}".encode()))
    small = Image.fromarray(random.integers(60, 256, (4, 4, 3), np.uint8))
    image = small.resize((width, height), Image.Resampling.BICUBIC)
    pen, color = ImageDraw.Draw(image), tuple(int(value) for value in random.integers(0, 80, 3))
    for _ in range(int(random.integers(3, 7))):
        x, y = int(random.integers(0, width)), int(random.integers(0, height))
        _draw(pen, shape, x, y, int(random.integers(min(width, height) // 8, min(width, height) // 3)), color)
    return np.array(image)


def _draw(pen: ImageDraw.ImageDraw, shape: str, x: int, y: int, size: int, color: tuple[int, ...]) -> None:
    if shape == "discs":
        pen.ellipse((x - size, y - size, x + size, y + size), fill=color)
    elif shape == "bars":
        pen.rectangle((x - size // 6, y - size, x + size // 6, y + size), fill=color)
    else:
        pen.line((x - size, y - size, x + size, y + size), fill=color, width=max(2, size // 5))
        pen.line((x - size, y + size, x + size, y - size), fill=color, width=max(2, size // 5))


def encoded(pixels: Pixels | Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The bytes of a file that Pillow writes."""
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, kind, **({"quality": 92} if kind == "JPEG" else {}), **options)
    return file.getvalue()


def tiff(bands: NDArray[Any], **options: Any) -> bytes:
    """The bytes of a file that tifffile writes."""
    file = io.BytesIO()
    tifffile.imwrite(file, bands, metadata=None, **options)
    return file.getvalue()


# --- what is read, if need be after a conversion ---


def readable(pixels: Pixels) -> dict[str, bytes]:
    """Files of the same picture by file name: phones' formats, colours, depths, TIFF varieties, odd names."""
    turned = Image.fromarray(np.rot90(pixels))
    turned.getexif()[0x0112] = 6
    image, gray = Image.fromarray(pixels), pixels[:, :, :1]
    heic = io.BytesIO()
    pillow_heif.from_pillow(image).save(heic, quality=90)
    return {
        "IMG_0001.HEIC": heic.getvalue(),
        "photo.avif": encoded(image, "AVIF"),
        "scan.jp2": encoded(image, "JPEG2000"),
        "stereo.mpo": encoded(image, "MPO", save_all=True, append_images=[image.resize((40, 30))]),
        "live photo.jpg": encoded(image) + struct.pack(">I4s4sI", 16, b"ftyp", b"qt  ", 0) + bytes(400),
        "turned.jpg": encoded(turned, exif=turned.getexif()),
        "print.jpg": encoded(image.convert("CMYK")),
        "gray.JPEG": encoded(image.convert("L")),
        "palette.png": encoded(image.convert("P"), "PNG"),
        "moving.gif": encoded(image.convert("P"), "GIF", save_all=True, append_images=[image.rotate(9).convert("P")]),
        "moving.webp": encoded(image, "WEBP", save_all=True, append_images=[image.rotate(9)]),
        "fax.tif": encoded(image.convert("1"), "TIFF", compression="group4"),
        "planes.tif": tiff(pixels.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
        "negative.tif": tiff(255 - gray[:, :, 0], photometric="miniswhite"),
        "float colour.tif": tiff((pixels / 255).astype(np.float32), photometric="rgb", byteorder=">"),
        "half.tif": tiff((gray[:, :, 0] / 255).astype(np.float16), photometric="minisblack"),
        "double.tif": tiff((gray[:, :, 0] / 255).astype(np.float64), photometric="minisblack", bigtiff=True),
        "tiles.tif": tiff(pixels, photometric="rgb", tile=(16, 16), compression="zlib", predictor=False),
        "pages.tif": tiff(np.stack([pixels, 255 - pixels]), photometric="rgb"),
        "infrared.tif": tiff(np.dstack([pixels, gray]), photometric="rgb", extrasamples=["unspecified"]),
        "a name that is long " + 150 * "n" + ".jpg": encoded(image),
        "one\nline and another.jpg": encoded(image),
        "K\u00f6nig & S\u00f6hne (1).jpg": encoded(image),
    }


def twelve_bits(pixels: Pixels) -> dict[str, bytes]:
    """Values 0 to 4095 in files of 16 bits, as microscopes and X-ray detectors write them."""
    gray = (pixels[:, :, 0].astype(np.uint16) * 16).astype(np.uint16)
    opaque = np.full_like(gray, 4095)
    return {
        "12 bits.png": encoded(Image.fromarray(gray), "PNG"),
        "12 bits.tif": tiff(gray, photometric="minisblack", byteorder=">"),
        "12 bits, alpha.tif": tiff(
            np.dstack([gray, opaque]), photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig"
        ),
    }


def transparent(pixels: Pixels) -> dict[str, bytes]:
    """Alpha: partly transparent, zero everywhere, a white drawing that is in the alpha alone."""
    height, width = pixels.shape[:2]
    part = np.full((height, width), 255, np.uint8)
    part[: height // 4] = 0
    white, drawing = np.full_like(pixels, 255), (pixels[:, :, 0] < 90).astype(np.uint8) * 255
    return {
        name: encoded(np.dstack([shown, alpha]), "PNG")
        for name, shown, alpha in (
            ("cut out.png", pixels, part),
            ("invisible.png", pixels, np.zeros_like(part)),
            ("drawing in alpha.png", white, drawing),
        )
    }


# --- what is not read ---


def unreadable(pixels: Pixels) -> dict[str, bytes]:
    """Files with the suffix of an image that cannot be used, each for another reason: ten, as many as are skipped."""
    photo = encoded(pixels)
    frame = photo.index(b"\xff\xc0\x00\x11")
    return {
        "cut off.jpg": photo[: len(photo) // 2],
        "empty.jpg": b"",
        "zeros.jpg": bytes(2000),
        "not found.jpg": b"<!DOCTYPE html><title>404 Not Found</title>",
        "sound.webp": b"RIFF\x24\0\0\0WAVEfmt " + bytes(40),
        "film.heic": struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + bytes(200),
        "12-bit.jpg": photo[:frame] + b"\xff\xc1\x00\x11\x0c" + photo[frame + 5 :],
        "raw photo.tif": tiff(pixels, photometric="rgb", extratags=[(50706, 1, 4, (1, 4, 0, 0), True)]),
        "damaged strip.tif": damaged(encoded(pixels, "TIFF", compression="tiff_adobe_deflate")),
        "laboratory.tif": tiff(pixels.astype(np.uint16) * 257, photometric="cielab"),
    }


def damaged(file: bytes) -> bytes:
    """A TIFF file whose first strip is overwritten in the middle."""
    with tifffile.TiffFile(io.BytesIO(file)) as opened:
        page = opened.pages[0]
        start, length = page.dataoffsets[0], page.databytecounts[0]
    return file[: start + length // 3] + bytes(length // 3) + file[start + length // 3 + length // 3 :]


# --- the folder ---


def write(root: Path) -> None:
    """Write the whole folder; `root` must not exist."""
    root.mkdir(parents=True)
    for shape in CLASSES:
        for part, count in ((TRAIN, 24 if shape == "discs" else 12), (VAL, 6), (TEST, 6)):
            for number in range(count):
                _file(root / part / shape / f"{number}.jpg", encoded(drawn(shape, f"{part}{number}")))
    _twice_named(root)
    kinds: Sequence[Callable[[Pixels], dict[str, bytes]]] = (readable, twelve_bits, transparent, unreadable)
    for kind, shape in zip(kinds, ("bars", "crosses", "crosses", "discs"), strict=True):
        for name in kind(drawn(shape, "")):
            _file(root / TRAIN / shape / name, kind(drawn(shape, name))[name])
    _large_and_wide(root / TRAIN)
    _duplicates(root)
    _others(root)
    _litter(root)


def _file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _twice_named(root: Path) -> None:
    """A class whose name is composed in one part and decomposed in another, and two that differ in case alone."""
    for part, name, count in (
        (TRAIN, "k\u00e4se", 4),
        (VAL, "ka\u0308se", 2),
        (TRAIN, "Rings", 4),
        (TRAIN, "rings", 3),
    ):
        for number in range(count):
            _file(root / part / name / f"{number}.jpg", encoded(drawn("discs", f"{part}{name}{number}", 90, 120)))


def _large_and_wide(folder: Path) -> None:
    """A photo of a phone's size, panoramas, pictures smaller than a network's input, one of a single colour."""
    _file(folder / "discs" / "phone.jpg", encoded(drawn("discs", "phone", 4000, 3000)))
    for number in range(3):
        _file(folder / "bars" / f"panorama {number}.jpg", encoded(drawn("bars", f"wide{number}", 900, 100)))
    _file(folder / "crosses" / "tiny.png", encoded(drawn("crosses", "tiny", 24, 18), "PNG"))
    _file(folder / "crosses" / "blank.png", encoded(np.full((90, 120, 3), 200, np.uint8), "PNG"))


def _duplicates(root: Path) -> None:
    """Equal pictures in two parts, under two labels and twice in a class; one saved anew, smaller."""
    first = drawn("discs", f"{TRAIN}0")
    _file(root / TEST / "discs" / "copied from training.jpg", encoded(first))
    _file(root / TRAIN / "crosses" / "a bar.jpg", encoded(drawn("bars", f"{TRAIN}1")))
    _file(root / TRAIN / "bars" / "2 (copy).jpg", encoded(drawn("bars", f"{TRAIN}2")))
    smaller = Image.fromarray(drawn("crosses", f"{TRAIN}3")).resize((96, 72))
    _file(root / TRAIN / "crosses" / "3 saved anew.jpg", encoded(smaller, optimize=True))


def _others(root: Path) -> None:
    """Files that are no images by their suffix, images outside class folders, unlabelled ones beside the parts."""
    for name in ("_DSC0001.NEF", "drawing.psd", "clip.mov", "notes.txt", "labels.xml", "no suffix"):
        _file(root / TRAIN / "bars" / name, b"of no use here")
    _file(root / "README.md", b"three kinds of shapes")
    _file(root / TRAIN / "stray.jpg", encoded(drawn("bars", "stray")))
    for number in range(3):
        _file(root / "pred" / f"{number}.jpg", encoded(drawn("bars", f"pred{number}")))
    if hasattr(os, "symlink") and os.name == "posix":
        (root / TRAIN / "bars" / "link to nothing.jpg").symlink_to("gone.jpg")


def _litter(root: Path) -> None:
    """What systems and programs leave behind."""
    thumbnail = encoded(drawn("discs", "thumbnail", 32, 24))
    for name in ("__MACOSX/._a.jpg", "@eaDir/a.jpg", ".thumbnails/a.png", "$RECYCLE.BIN/a.jpg", "lost+found/a.jpg"):
        _file(root / name, thumbnail)
    for name in ("._0.jpg", ".DS_Store", "Thumbs.db", "thumbs/0.jpg", "desktop.ini"):
        _file(root / TRAIN / "discs" / name, thumbnail)


# --- the transcript ---

SETTINGS = ("--network", "modern", "--input-size", "63", "--epochs", "3")


def commands(name: str) -> list[list[str]]:
    """The words of the commands as a user types them beside the folder."""
    return [
        ["check", name],
        ["train", name, *SETTINGS, "--out", "run"],
        ["evaluate", "run", name],
        ["predict", "run", name, "--top", "1"],
    ]


def ran(words: Sequence[str], beside: Path) -> subprocess.CompletedProcess[str]:
    """A command run in a folder, its two outputs in one, in the order in which they come."""
    return subprocess.run(
        [sys.executable, "-m", "alexnet", *words],
        cwd=beside,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        check=False,
    )


def page(folder: Path, done: Sequence[subprocess.CompletedProcess[str]]) -> str:
    """The transcript as Markdown, without what differs from run to run: places and speeds."""
    parts = [HEAD.format(folder=folder.name)]
    for words, each in zip(commands(folder.name), done, strict=True):
        parts += [f"## alexnet {words[0]}\n", f"```\n$ alexnet {' '.join(words)}\n{_steady(each.stdout, folder)}```\n"]
        parts += [f"Exit code {each.returncode}.\n"]
    return "\n".join(parts)


HEAD = """# A messy folder

What four commands say about a folder that holds every kind of trouble at once. It is written by

    python tools/messy_folder.py {folder} --page docs/messy-folder.md

which draws the pictures and leaves out only places, speeds and most answers of the last command; a test reads the same
output. Accuracy means nothing here: three epochs on a few drawn shapes.
"""


ANSWER = r"^\S.*\n(?:  unknown .*\n)? +[\d.]+%  .*\n"  # of predict: a path, perhaps that it is unknown, and a class
ANSWERS = rf"(?:{ANSWER}){{9,}}"


def _shortened(answers: re.Match[str]) -> str:
    """The first three answers, all those with a note, and the number of the others."""
    each = re.findall(ANSWER, answers[0], flags=re.MULTILINE)
    noted = [answer for answer in each[3:] if answer.partition("\n")[0].endswith(")")]
    return "".join([*each[:3], *noted, f"... and {len(each) - 3 - len(noted)} more\n"])


def _steady(text: str, folder: Path) -> str:
    text = text.replace(f"{folder.resolve().parent}/", "")
    text = re.sub(ANSWERS, _shortened, text, flags=re.MULTILINE)
    text = re.sub(r"\S*/stores/\S+?(?=[,/\s])", "CACHE", text)
    return re.sub(r"[\d.,]+ (images/s|s\b)", r"... \1", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--page", type=Path, help="run the commands and write what they say")
    given = parser.parse_args()
    began = time.perf_counter()
    write(given.folder)
    print(f"{given.folder} written in {time.perf_counter() - began:.1f} s", file=sys.stderr)
    if given.page:
        done = [ran(words, given.folder.resolve().parent) for words in commands(given.folder.name)]
        given.page.write_text(page(given.folder, done), encoding="utf-8")


if __name__ == "__main__":
    main()
