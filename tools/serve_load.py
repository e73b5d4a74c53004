"""Claims: `alexnet serve` answers at least 1.5 x as many photos as LitServe and FastAPI with multipart, and 85 % of
those that one process answers; under 10 x the load at least 90 % of its rate is kept, only 503 is refused, the 99th
percentile of the accepted is within 2 x the time of a full queue, and memory does not grow; of mixed traffic nothing
that was accepted is lost.

    python tools/serve_load.py compare MODEL.onnx PHOTO.jpg [--seconds 10] [--rounds 3]
    python tools/serve_load.py share MODEL.onnx PHOTO.jpg
    python tools/serve_load.py overload MODEL.onnx PHOTO.jpg --seconds 600
    python tools/serve_load.py mixed MODEL.onnx PHOTO.jpg --seconds 3600

MODEL: an export (alexnet export), which all servers serve. PHOTO: a JPEG file of about 52 KB. Eight clients keep their
connections and ask again as soon as they have an answer; of several servers and rounds the turns alternate. compare
needs: pip install litserve fastapi python-multipart. Exits with 1 if a claim fails. The client shares the processors.
"""

import argparse
import asyncio
import io
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import alexnet
from served import header, start, stop

CLIENTS, PLACES = 8, 32
TOLD = "{} {:.1f} a second (rounds {})"
LITSERVE = """
import io, sys
import litserve, numpy, onnxruntime
from fastapi import UploadFile
from PIL import Image

class Api(litserve.LitAPI):
    def setup(self, device):
        self.session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    def decode_request(self, request: UploadFile):
        return numpy.asarray(Image.open(request.file).convert("RGB"))
    def predict(self, image):
        return self.session.run(["probabilities"], {self.session.get_inputs()[0].name: image})[0]
    def encode_response(self, chances):
        return {"probabilities": chances.ravel().tolist()}

if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", track_requests=False)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), log_level="error", generate_client_file=False)
"""
FASTAPI = """
import sys
import numpy, onnxruntime, uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

app = FastAPI()
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])

@app.post("/predict")
def predict(request: UploadFile):
    image = numpy.asarray(Image.open(request.file).convert("RGB"))
    chances = session.run(["probabilities"], {session.get_inputs()[0].name: image})[0]
    return {"probabilities": chances.ravel().tolist()}

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
"""


@dataclass
class Load:
    """What clients saw."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)  # 0: no answer
    waits: list[float] = field(default_factory=list)  # seconds, of the answers 200

    @property
    def rate(self) -> float:
        """Photos answered in a second."""
        return self.statuses[200] / self.seconds

    def percentile(self, share: float) -> float:
        """Seconds within which this share of the accepted was answered."""
        return float(np.quantile(self.waits, share)) if self.waits else float("nan")


async def answer(port: int, sent: bytes, held: list[asyncio.StreamWriter | asyncio.StreamReader]) -> int:
    """Send a request on a connection that is held, or on a new one, and read the answer; its status."""
    if not held:
        held.extend(await asyncio.open_connection("127.0.0.1", port))
    reader, writer = held
    assert isinstance(reader, asyncio.StreamReader)
    assert isinstance(writer, asyncio.StreamWriter)
    writer.write(sent)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
    if b"connection: close" in head:
        writer.close()
        held.clear()
    return int(head.split()[1])


async def client(port: int, sent: Callable[[], bytes], until: float, load: Load) -> None:
    """Ask again and again."""
    held: list[asyncio.StreamWriter | asyncio.StreamReader] = []
    while (began := time.monotonic()) < until:
        try:
            status = await answer(port, sent(), held)
        except (OSError, asyncio.IncompleteReadError):
            status = 0
            held.clear()
        load.statuses[status] += 1
        if status == 200:
            load.waits.append(time.monotonic() - began)


def loaded(port: int, sent: Callable[[], bytes], seconds: float, clients: int = CLIENTS) -> Load:
    """Many clients for a while."""

    async def all_of_them() -> Load:
        load, began = Load(), time.monotonic()
        await asyncio.gather(*(client(port, sent, began + seconds, load) for _ in range(clients)))
        load.seconds = time.monotonic() - began
        return load

    return asyncio.run(all_of_them())


def form(photo: bytes) -> bytes:
    """A request with a photo in a form, as LitServe and FastAPI take files."""
    mark = b"a-boundary-that-no-photo-has"
    head = b'Content-Disposition: form-data; name="request"; filename="p.jpg"\r\nContent-Type: image/jpeg'
    body = b"--%b\r\n%b\r\n\r\n%b\r\n--%b--\r\n" % (mark, head, photo, mark)
    return header("/predict", len(body), Content_Type=f"multipart/form-data; boundary={mark.decode()}") + body


@contextmanager
def other(text: str, model: Path, folder: Path, name: str) -> Iterator[int]:
    """Another server, made in a folder; gives its port."""
    (folder / name).write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = (folder / f"{name}.log").open("w")
    command = [sys.executable, str(folder / name), str(model.resolve()), str(port)]
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(port, process, folder / f"{name}.log")
        yield port
    finally:
        for each in [*descendants(process.pid), process.pid]:
            kill(each)
        process.wait()
        log.close()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server listens."""
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"another server did not start: {log.read_text()[-1000:]}")
            time.sleep(0.1)


def descendants(process: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    try:
        found = [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []
    return [*found, *(below for each in found for below in descendants(each))]


def kill(process: int) -> None:
    """End a process."""
    with suppress(ProcessLookupError):
        os.kill(process, 9)


def resident(process: int) -> int:
    """Bytes that a process and those it started hold."""
    total = 0
    for each in (process, *descendants(process)):
        try:
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            continue
    return total


def compare(model: Path, photo: bytes, seconds: float, rounds: int) -> bool:
    """Ours beside LitServe and FastAPI."""
    raw = header("/predict", len(photo), Content_Type="image/jpeg") + photo
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = start(model, log=folder / "ours.log")
        stack.callback(stop, ours)
        ports = {"alexnet serve": (ours.port, raw)}
        for name, text in (("LitServe", LITSERVE), ("FastAPI", FASTAPI)):
            ports[name] = (stack.enter_context(other(text, model, folder, f"{name.lower()}_app.py")), form(photo))
        rates: dict[str, list[float]] = {name: [] for name in ports}
        for _ in range(rounds):
            for name, (port, sent) in ports.items():
                loaded(port, lambda sent=sent: sent, 1)
                load = loaded(port, lambda sent=sent: sent, seconds)
                if set(load.statuses) != {200}:
                    sys.exit(f"{name} answered {dict(load.statuses)}")
                rates[name].append(load.rate)
    for name, found in rates.items():
        print(TOLD.format(name, statistics.median(found), " ".join(f"{each:.1f}" for each in found)))
    ratios = {
        name: statistics.median(a / b for a, b in zip(rates["alexnet serve"], rates[name], strict=True))
        for name in list(rates)[1:]
    }
    print("ratios:", ", ".join(f"{value:.2f} x {name}" for name, value in ratios.items()), "(claim: 1.5 x)")
    return min(ratios.values()) >= 1.5


def share(model: Path, photo: bytes, seconds: float, rounds: int) -> bool:
    """The server's rate beside that of one process that reads the same JPEG files."""
    raw = header("/predict", len(photo), Content_Type="image/jpeg") + photo
    served, mine = start(model), alexnet.load(model)
    found: list[tuple[float, float]] = []
    try:
        for _ in range(rounds):
            alone, began = 0, time.monotonic()
            while time.monotonic() - began < seconds:
                alone += len(mine.predict([io.BytesIO(photo) for _ in range(64)]))
            found.append((alone / (time.monotonic() - began), loaded(served.port, lambda: raw, seconds).rate))
    finally:
        stop(served)
    for name, rates in zip(("in one process", "served"), zip(*found, strict=True), strict=True):
        print(TOLD.format(name, statistics.median(rates), " ".join(f"{each:.1f}" for each in rates)))
    ratio = statistics.median(over / alone for alone, over in found)
    print(f"share: {ratio:.1%} (claim: 85 %)")
    return ratio >= 0.85


def overload(model: Path, photo: bytes, seconds: float, rounds: int) -> bool:
    """Ten times the clients, who ask again at once; memory told every tenth."""
    raw = header("/predict", len(photo), Content_Type="image/jpeg") + photo
    served = start(model, "--queue", str(PLACES))
    try:
        loaded(served.port, lambda: raw, 2)
        usual = loaded(served.port, lambda: raw, min(10.0, seconds))
        whole, held = Load(), []
        for _ in range(10):
            part = loaded(served.port, lambda: raw, seconds / 10, 10 * CLIENTS)
            whole.seconds += part.seconds
            whole.statuses += part.statuses
            whole.waits += part.waits
            held.append(resident(served.process.pid) / 1e6)
    finally:
        stop(served)
    kept, full, late = whole.rate / usual.rate, PLACES / usual.rate, whole.percentile(0.99)
    print(f"{usual.rate:.1f} a second, under {10 * CLIENTS} clients {whole.rate:.1f}: {kept:.1%} (claim: 90 %)")
    print(f"statuses {dict(whole.statuses)} (claim: 200 and 503 alone)")
    print(f"99 % within {late:.3f} s; a full queue takes {full:.3f} s: {late / full:.2f} x (claim: 2 x)")
    print("memory, MB, every tenth:", " ".join(f"{each:.0f}" for each in held), "(claim: 10 % more at most)")
    flat = max(held[5:]) <= 1.1 * max(held[:2])
    return kept >= 0.9 and set(whole.statuses) <= {200, 503} and late <= 2 * full and flat


def mixed(model: Path, photo: bytes, seconds: float, rounds: int) -> bool:
    """Photos, damaged ones, other types and bodies that are too long: each gets its own status, none is lost."""
    kinds = {
        200: header("/predict", len(photo)) + photo,
        422: header("/predict", 300) + photo[:300],
        415: header("/predict", 9, Content_Type="text/plain") + photo[:9],
        413: header("/predict", 10**9),
        400: header("/predict?top=0", 0),
        404: header("/nothing", 0),
    }
    draw, sent = random.Random(0), Counter[int]()

    def next_one() -> bytes:
        status = draw.choices(list(kinds), [12, 2, 1, 1, 1, 1])[0]
        sent[status] += 1
        return kinds[status]

    served = start(model)
    try:
        load = loaded(served.port, next_one, seconds)
        restarts = served.value("alexnet_restarts_total")
    finally:
        code = served.end()
        stop(served)
    print(f"sent {json.dumps(sent)}, answered {json.dumps(load.statuses)}, {restarts:g} restarts, exit code {code}")
    return sent == load.statuses and restarts == 0 and code == 0


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {each.__name__: each for each in (compare, share, overload, mixed)}
    parser.add_argument("command", choices=commands)
    parser.add_argument("model", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    right = commands[given.command](given.model, given.photo.read_bytes(), given.seconds, given.rounds)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
