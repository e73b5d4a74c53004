"""What the tests of stores share."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.sources import open_source
from alexnet.data.store import Store, pack

SIZE = 32
ROW = SIZE * SIZE * 3


@pytest.fixture(scope="session")
def add_images() -> Callable[..., None]:
    """Writes images of noise: (root, folder, count, seed=0) -> root/folder/<number>.png."""

    def add(root: Path, folder: str, count: int, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, *folder.encode()])
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            noise = rng.integers(0, 256, (40 + number % 3, 50, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / folder / f"{number}.png")

    return add


@pytest.fixture
def photos(tmp_path: Path, add_images: Callable[..., None]) -> Path:
    """Three classes of 12, 5 and 3 images."""
    root = tmp_path / "photos"
    for name, count in (("ant", 12), ("bee", 5), ("class 10", 3)):
        add_images(root, name, count)
    return root


@pytest.fixture
def ready_photos(tmp_path: Path) -> Path:
    """Two classes of 10 images of the stored size: packing them imports no torch, so that processes start quickly."""
    root = tmp_path / "ready"
    for number in range(20):
        (root / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIZE, SIZE), (number, 0, 0)).save(root / "ab"[number % 2] / f"{number}.png")
    return root


@pytest.fixture
def store(photos: Path, tmp_path: Path) -> Store:
    """Packed in shards of 6 rows: 6, 6, 6, 2."""
    return pack(open_source(str(photos)), tmp_path / "store", SIZE, shard_bytes=6 * ROW)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test."""
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def run() -> Callable[..., subprocess.Popen[str]]:
    """Starts Python in a process of its own: (code, *arguments) -> the process, its output piped."""

    def start(code: str, *arguments: Path) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    return start
