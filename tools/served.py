"""`alexnet serve` in a process of its own, asked over sockets: for tests and for the tools that load and fuzz it."""

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

PATIENCE = 60  # seconds for what takes one


@dataclass
class Answer:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A server that runs."""

    process: subprocess.Popen[str]
    port: int
    log: Path  # what it wrote to standard error
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request on a connection of its own; header names with _ for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        given = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, given)
            found = connection.getresponse()
            return Answer(found.status, {k.lower(): v for k, v in found.getheaders()}, found.read())
        finally:
            connection.close()

    def predict(self, body: bytes, query: str = "", **headers: str) -> Answer:
        return self.ask("POST", f"/predict{query}", body, **({"Content_Type": "image/png"} | headers))

    @contextmanager
    def connected(self, *pieces: bytes) -> Iterator[socket.socket]:
        """A connection on which these bytes are sent."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as opened:
            for piece in pieces:
                opened.sendall(piece)
            yield opened

    def raw(self, *pieces: bytes) -> bytes:
        """All that comes back on a connection on which these bytes are sent, until the server closes it."""
        with self.connected(*pieces) as opened:
            return everything(opened)

    @property
    def worker(self) -> int:
        """The process that computes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(children.read_text().split()[0])

    def value(self, name: str) -> float:
        """A value of /metrics."""
        lines = self.ask("GET", "/metrics").body.decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def wait_for(self, name: str, value: float) -> None:
        """Wait until a value of /metrics is this."""
        until = time.monotonic() + PATIENCE
        while (found := self.value(name)) != value:
            assert time.monotonic() < until, f"{name} is {found}, not {value}"
            time.sleep(0.02)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """The computing process stands still meanwhile: what is accepted waits."""
        worker = self.worker
        os.kill(worker, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(worker, signal.SIGCONT)

    def end(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def everything(opened: socket.socket) -> bytes:
    """All that comes on a connection until its end."""
    pieces = []
    while piece := opened.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def header(path: str, length: int | str, **more: str) -> bytes:
    """The header of a POST of an image; header names with _ for -."""
    lines = {"Host": "localhost", "Content_Type": "image/png", "Content_Length": str(length)} | more
    text = "\r\n".join(f"{name.replace('_', '-')}: {value}" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{text}\r\n\r\n".encode()


def encoded(pixels: Any, kind: str = "PNG") -> bytes:
    """An image file of pixels, uint8 (H, W, 3)."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def start(model: Path | str, *options: str, log: Path | None = None, **environment: str) -> Served:
    """Start a server on a free port and wait until it answers. RuntimeError, with what it said, where it does not."""
    log = log or Path(tempfile.mkstemp(prefix="served-")[1])
    command = [sys.executable, "-m", "alexnet", "serve", str(model), "--port", "0", *options]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | environment
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("http://"):
        process.wait()
        process.stdout.close()
        raise RuntimeError(log.read_text())
    return Served(process, int(line.rsplit(":", 1)[1]), log)


def stop(served: Served) -> None:
    """End a server, whatever it does."""
    if served.process.poll() is None:
        served.process.kill()
    served.process.wait()
    assert served.process.stdout is not None
    served.process.stdout.close()
