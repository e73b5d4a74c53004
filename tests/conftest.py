"""What tests of every room share."""

import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet
from alexnet import console
from alexnet.data.sources import open_source


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `cuda` where there is no GPU."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the tests' own: they neither use nor fill the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALEXNET_CACHE", str(folder))
        yield folder


class FileServer(ThreadingHTTPServer):
    """Serves `content` at every path but those with "missing"; breaks off after `breaks_after` bytes if that is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FileHandler)
        self.content = bytes(range(256)) * 4000  # about a megabyte
        self.breaks_after: int | None = None
        self.knows_ranges = True
        self.ranges: list[str | None] = []  # asked for, in order

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file"


class FileHandler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers["Range"])
        if "missing" in self.path:
            self.send_error(404)
            return
        content = self.server.content
        start = int((self.headers["Range"] or "bytes=0-")[6:-1]) if self.server.knows_ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.server.breaks_after])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def file_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A local HTTP server of one file."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def shown_log() -> Iterator[None]:
    """Messages go to standard error, as on the command line."""
    with console.show_log():
        yield


@pytest.fixture(scope="session")
def write_digits() -> Callable[[Path, int, int], Path]:
    """Writes real digits into a folder: (root, classes, images of each) -> root, with root/digit <n>/<row>.png."""

    def write(root: Path, classes: int, count: int) -> Path:
        source = open_source("digits")
        for label in range(classes):
            (root / f"digit {label}").mkdir(parents=True)
            for row in [row for row, sample in enumerate(source.samples) if sample.label == label][:count]:
                Image.fromarray(source.read(row)).save(root / f"digit {label}" / f"{row}.png")
        return root

    return write


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory, write_digits: Callable[[Path, int, int], Path]) -> Path:
    """A folder of three classes of twelve real digits each."""
    return write_digits(tmp_path_factory.mktemp("small") / "digits", 3, 12)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> "alexnet.Run":
    """A finished run of one epoch on `small_data`; tests read it and write nothing into it."""
    settings = {"input_size": 16, "store_size": 20, "resize": 20, "batch_size": 6, "epochs": 1}
    return alexnet.train(small_data, "cifar-80sec", tmp_path_factory.mktemp("runs") / "small", **settings)


@pytest.fixture(scope="session")
def calibrated_run(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> "alexnet.Run":
    """As `small_run`, with 21 of the 36 images for validation, so that it was calibrated at its end; read only."""
    settings = {"input_size": 16, "store_size": 20, "resize": 20, "batch_size": 6, "epochs": 1, "validation": 0.6}
    return alexnet.train(small_data, "cifar-80sec", tmp_path_factory.mktemp("runs") / "calibrated", **settings)


@pytest.fixture(scope="session")
def foreign_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight pictures of coloured noise, and a file that is no picture."""
    folder, random = tmp_path_factory.mktemp("foreign"), np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(random.integers(0, 256, (20, 20, 3), np.uint8)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    return folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of archives of real images; the test is skipped where there is none."""
    if not os.environ.get("ALEXNET_DATA"):
        pytest.skip("ALEXNET_DATA is not set: it names the folder of archives such as 17flowers.tgz")
    return Path(os.environ["ALEXNET_DATA"])
