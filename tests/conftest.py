"""What tests of every room share."""

import base64
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

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


class HubServer(ThreadingHTTPServer):
    """Speaks as much of a model hub's protocol as publishing and loading need, and misbehaves on request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.token = "hf_good"
        self.private: dict[str, bool] = {}  # by repository
        self.commits: dict[str, list[tuple[str, dict[str, bytes]]]] = {}  # by repository: its commits, the last is main
        self.tags: dict[str, str] = {}
        self.large: dict[str, bytes] = {}  # large file storage, by SHA-256
        self.upload_mode = "regular"
        self.refusal: tuple[int, str] | None = None  # a status for every request, and a message
        self.altered: dict[str, str] = {}  # headers that take the place of the right ones
        self.body: Callable[[bytes], bytes] = bytes  # what is sent in the place of a file's content
        self.asked: list[str] = []  # "GET /me/flowers/resolve/main/model.safetensors", ...

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, repository: str, files: dict[str, bytes], private: bool = False) -> str:
        """Commit files to a repository, which is made if need be; returns the commit."""
        self.private.setdefault(repository, private)
        before = self.commits.setdefault(repository, [])
        content = {**(before[-1][1] if before else {}), **files}
        commit = hashlib.sha1(repr([len(before), sorted(content.items())]).encode()).hexdigest()
        before.append((commit, content))
        return commit


class HubHandler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if not self._begun():
            return
        parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
        if parts[0] == "large":
            self._content(self.server.large[parts[1]], {})
        elif parts[:2] == ["api", "models"]:
            repository = "/".join(parts[2:4])
            if repository not in self.server.private or not self._may_read(repository):
                self._refuse(404, "RepoNotFound")
                return
            commits = self.server.commits.get(repository, [])
            sha = commits[-1][0] if commits else None
            self._json({"id": repository, "private": self.server.private[repository], "sha": sha})
        else:
            self._file("/".join(parts[:2]), "/".join(parts[3:-1]), parts[-1])

    def do_POST(self) -> None:
        content = self._received()
        if not self._begun():
            return
        parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
        if self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif self._token() != self.server.token:
            self._refuse(401, "", "Invalid username or password.")
        elif self.path == "/api/repos/create":
            self._made(json.loads(content))
        elif "preupload" in parts:
            names = [each["path"] for each in json.loads(content)["files"]]
            modes = {True: self.server.upload_mode, False: "regular"}
            files = [{"path": n, "uploadMode": modes[n.endswith(".safetensors")], "shouldIgnore": False} for n in names]
            self._json({"files": files})
        elif parts[-1] == "batch":
            objects = json.loads(content)["objects"]
            for each in objects:
                each["actions"] = {"upload": {"href": f"{self.server.url}/large/{each['oid']}"}}
            self._json({"objects": objects, "transfer": "basic"})
        else:
            self._committed("/".join(parts[2:4]), [json.loads(line) for line in content.splitlines()])

    def do_PUT(self) -> None:
        content = self._received()
        if self._begun():
            self.server.large[self.path.rpartition("/")[2]] = content
            self._json({})

    def log_message(self, *arguments: object) -> None:
        pass

    def _begun(self) -> bool:
        self.server.asked.append(f"{self.command} {unquote(self.path)}")
        if self.server.refusal is not None:
            self._refuse(self.server.refusal[0], "", self.server.refusal[1])
        return self.server.refusal is None

    def _made(self, asked: dict[str, Any]) -> None:
        repository = f"{asked['organization']}/{asked['name']}"
        if repository in self.server.private:
            self._refuse(409, "", "You already created this model repo")
            return
        private = asked.get("private", asked.get("visibility") == "private")
        self.server.private[repository] = private
        self._json({"url": f"{self.server.url}/{repository}"})

    def _committed(self, repository: str, lines: list[dict[str, Any]]) -> None:
        files = {}
        for line in lines[1:]:
            value = line["value"]
            small = line["key"] == "file"
            files[value["path"]] = base64.b64decode(value["content"]) if small else self.server.large[value["oid"]]
        commit = self.server.put(repository, files)
        self._json({"commitUrl": f"{self.server.url}/{repository}/commit/{commit}", "commitOid": commit})

    def _file(self, repository: str, revision: str, name: str) -> None:
        if repository not in self.server.private or not self._may_read(repository):
            return self._refuse(401, "RepoNotFound")
        commits = self.server.commits[repository]
        wanted = commits[-1][0] if revision == "main" else self.server.tags.get(revision, revision)
        files = dict(commits).get(wanted)
        if files is None:
            return self._refuse(404, "RevisionNotFound")
        if name not in files:
            return self._refuse(404, "EntryNotFound")
        content, sha256 = files[name], hashlib.sha256(files[name]).hexdigest()
        headers = {"X-Repo-Commit": wanted}
        if self.server.upload_mode == "lfs" and name.endswith(".safetensors"):
            self.server.large[sha256] = content
            headers |= {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(content))}
            headers |= {"Location": f"http://localhost:{self.server.server_port}/large/{sha256}", "Content-Length": "0"}
            return self._answer(302, headers)
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return self._content(content, {**headers, "ETag": f'"{git}"'})

    def _content(self, content: bytes, headers: dict[str, str]) -> None:
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        sent = self.server.body(content)[start:] if self.command == "GET" else content
        self._answer(206 if start else 200, {**headers, "Content-Length": str(len(sent))})
        if self.command == "GET":
            self.wfile.write(sent)

    def _json(self, value: object) -> None:
        content = json.dumps(value).encode()
        self._answer(200, {"Content-Type": "application/json", "Content-Length": str(len(content))})
        self.wfile.write(content)

    def _refuse(self, status: int, code: str, message: str = "") -> None:
        self._answer(status, {"X-Error-Code": code, "X-Error-Message": message, "Content-Length": "0"})

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, **{k: v for k, v in self.server.altered.items() if k in headers}}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def _received(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def _may_read(self, repository: str) -> bool:
        return not self.server.private[repository] or self._token() == self.server.token


@pytest.fixture
def hub_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A local model hub, and a cache of its own; a token is set that may write."""
    hub = pytest.importorskip("huggingface_hub")
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    server = HubServer()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", server.token)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)  # which is read when the package is imported
    resolve = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + resolve)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # a protocol of huggingface.co's storage alone
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    hub.close_session()  # keeps connections open
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
