"""Claim: no body ends `alexnet serve`, is answered with 5xx, or makes its memory grow.

    python tools/serve_fuzz.py MODEL.onnx [--bodies 100000] [--seed 0] [--schema]

Images of every format, of several sizes and modes, are damaged: bytes changed, runs of bytes cut, doubled or filled,
two files joined, numbers in headers set to extremes. Eight threads send them to a server of its own, which refuses or
answers each. Prints statuses, restarts and memory of both processes; exits with 1 if the claim fails. --schema: then
schemathesis tries the OpenAPI description, too (pip install schemathesis).
"""

import argparse
import io
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from serve_load import resident
from served import Served, start, stop

THREADS, PIECE = 8, 2_000
KINDS = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "L", "RGBA", "P", "1", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("P",),
    "BMP": ("RGB", "L"),
    "TIFF": ("RGB", "L", "CMYK", "I;16", "F"),
    "AVIF": ("RGB",),
    "JPEG2000": ("RGB", "L"),
    "PPM": ("RGB", "L"),
}
EXTREMES = (b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00\x01\x00\x00")


def files() -> list[bytes]:
    """Whole files of every format."""
    draw, found = np.random.default_rng(0), []
    for kind, modes in KINDS.items():
        for mode in modes:
            for height, width in ((1, 1), (17, 31), (96, 64)):
                found.append(_file(draw, kind, mode, height, width))
    found.append(_heif(draw))
    return found


def _file(draw: np.random.Generator, kind: str, mode: str, height: int, width: int) -> bytes:
    pixels = Image.fromarray(draw.integers(0, 256, (height, width, 3), np.uint8))
    if mode == "I;16":
        image = Image.fromarray(draw.integers(0, 65536, (height, width), np.uint16))
    else:
        image = pixels.convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **({"progressive": True} if kind == "JPEG" and height > 50 else {}))
    return file.getvalue()


def _heif(draw: np.random.Generator) -> bytes:
    import pillow_heif

    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(draw.integers(0, 256, (64, 64, 3), np.uint8))).save(file)
    return file.getvalue()


def damaged(draw: np.random.Generator, whole: list[bytes]) -> bytes:
    """One body: a file with one to four kinds of damage."""
    body = bytearray(whole[draw.integers(len(whole))])
    for _ in range(draw.integers(1, 5)):
        _damage(draw, body, whole)
    return bytes(body)


def _damage(draw: np.random.Generator, body: bytearray, whole: list[bytes]) -> None:
    end = len(body) or 1
    place = int(draw.integers(min(end, 200) if draw.random() < 0.5 else end))  # half of them in the header
    length = int(min(draw.geometric(0.05), end - place))
    match draw.integers(6):
        case 0:
            body[place : place + 1] = draw.bytes(1)
        case 1:
            del body[place : place + length]
        case 2:
            body[place:place] = body[place : place + length] * int(draw.integers(1, 4))
        case 3:
            body[place : place + 4] = EXTREMES[draw.integers(len(EXTREMES))]
        case 4:
            del body[place:]
        case _:
            body[place:] = whole[draw.integers(len(whole))][place:]


def bodies(count: int, seed: int) -> Iterator[list[bytes]]:
    """All bodies, in pieces."""
    whole, draw = files(), np.random.default_rng(seed)
    for begin in range(0, count, PIECE):
        yield [damaged(draw, whole) for _ in range(min(PIECE, count - begin))]


def fuzz(served: Served, count: int, seed: int) -> bool:
    """Send them all, and say what came of it."""
    statuses, held = Counter[int](), []
    with ThreadPoolExecutor(THREADS) as pool:
        for piece in bodies(count, seed):
            statuses.update(pool.map(lambda body: served.predict(body).status, piece))
            held.append(resident(served.process.pid) / 1e6)
            print(f"{sum(statuses.values()):,} bodies: {dict(statuses)}, {held[-1]:.0f} MB", flush=True)
    restarts = served.value("alexnet_restarts_total")
    print(f"{restarts:g} restarts; memory {min(held):.0f} to {max(held):.0f} MB; seed {seed}")
    return (
        max(statuses) < 500
        and restarts == 0
        and held[-1] <= 1.5 * held[len(held) // 10]
        and served.process.poll() is None
    )


def schema(served: Served) -> bool:
    """What schemathesis finds by the description."""
    address = f"http://127.0.0.1:{served.port}/openapi.json"
    command = [
        "schemathesis",
        "run",
        address,
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance",
    ]
    return subprocess.run(command).returncode == 0


def main() -> None:
    """Start a server and fuzz it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--bodies", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--schema", action="store_true")
    given = parser.parse_args()
    served = start(given.model)
    try:
        right = fuzz(served, given.bodies, given.seed) and (not given.schema or schema(served))
    finally:
        print(served.log.read_text()[-2000:], file=sys.stderr)
        stop(served)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
