"""Headless browsers driven over their own protocols, for pages that are opened from files.

Chromium by the DevTools protocol over a pipe, Firefox by Marionette over a socket: neither needs a package or a driver.
Both go through a proxy of ours that answers nothing and counts who calls: what a page asks of a network is seen.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

NAMES = {"chromium": ("chromium", "chromium-browser", "google-chrome"), "firefox": ("firefox-esr", "firefox")}
PATIENCE = 60  # seconds that a browser has to start, and a script to end


class Browser(Protocol):
    """A browser with one page."""

    def open(self, path: Path | str) -> None:
        """Open a file or an address and wait until it has loaded."""
        ...

    def run(self, script: str) -> Any:
        """The value of the body of an asynchronous function, such as "return await alexnet.ready()"."""
        ...

    def give_files(self, selector: str, paths: list[Path]) -> None:
        """Choose files in an input."""
        ...

    def look(self, width: int, height: int, dark: bool = False) -> bytes:
        """A picture of the whole page, PNG, at a window's size."""
        ...


def installed(name: str) -> str | None:
    """The program of a browser, "chromium" or "firefox"; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES[name])), None)


def own_calls(line: str) -> bool:
    """Whether a line that a proxy heard is of a browser itself, which asks its maker for updates and the time."""
    words = line.split()
    host = words[1].split("//")[-1].split("/")[0].split(":")[0] if len(words) > 1 else ""
    return host.endswith(
        (".mozilla.com", ".mozilla.org", ".mozilla.net", ".google.com", ".googleapis.com", ".gvt1.com")
    )


class Ears:
    """A proxy that accepts connections, notes the first line of each, and closes them."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
                connection.settimeout(2)
                with connection:
                    self.heard.append(connection.recv(200).split(b"\r\n")[0].decode("latin-1"))
            except TimeoutError:
                self.heard.append("a connection")
            except OSError:
                return

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


@contextmanager
def browser(name: str, dark: bool = False, camera: bool = False, reach: str = "") -> Iterator[tuple[Browser, Ears]]:
    """A fresh browser, and what was asked of the network.

    dark: what the system prefers. camera: a false one. reach: the one "host:port" that it reaches, which is not told.
    """
    program = installed(name)
    if program is None:
        raise FileNotFoundError(f"no {name} on this machine; looked for {', '.join(NAMES[name])}")
    ears = Ears()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        made = (Chromium if name == "chromium" else Firefox)(program, Path(profile), ears.port, dark, camera, reach)
        try:
            yield made, ears
        finally:
            made.close()
            ears.close()


class Chromium:
    """Chromium by its DevTools protocol: JSON, each message ended by a zero byte, over two pipes."""

    def __init__(self, program: str, profile: Path, proxy: int, dark: bool, camera: bool, reach: str) -> None:
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        flags += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        flags += [f"--proxy-server=127.0.0.1:{proxy}", f"--proxy-bypass-list=<-loopback>;{reach}", "--disable-gpu"]
        flags += ["--disable-dev-shm-usage", "--disable-default-apps", "--disable-features=OptimizationHints"]
        flags += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"] if camera else []

        def pipes() -> None:
            os.dup2(to_read, 100), os.dup2(to_write, 101)
            os.dup2(100, 3), os.dup2(101, 4)

        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [program, *flags, "about:blank"]
        self._process = subprocess.Popen(command, preexec_fn=pipes, close_fds=False, start_new_session=True, **quiet)
        os.close(to_read), os.close(to_write)
        self._buffer, self._next, self.requests = b"", 0, list[str]()
        target = self._send("Target.createTarget", url="about:blank", session=None)["targetId"]
        attached = self._send("Target.attachToTarget", targetId=target, flatten=True, session=None)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "DOM"):
            self._send(f"{domain}.enable")
        self.prefer(dark)

    def prefer(self, dark: bool) -> None:
        """Set the system's colours."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._send("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, path: Path | str) -> None:
        """Open a file or an address and wait until it has loaded."""
        self._send("Page.navigate", url=path if isinstance(path, str) else path.resolve().as_uri())
        self._wait(lambda message: message.get("method") == "Page.loadEventFired")

    def run(self, script: str) -> Any:
        """The value of the body of an asynchronous function."""
        expression = f"(async () => {{ {script} }})()"
        sent = self._send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in sent:
            raise RuntimeError(json.dumps(sent["exceptionDetails"])[:500])
        return sent["result"].get("value")

    def give_files(self, selector: str, paths: list[Path]) -> None:
        """Choose files in an input."""
        root = self._send("DOM.getDocument")["root"]["nodeId"]
        node = self._send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._send("DOM.setFileInputFiles", nodeId=node, files=[str(path.resolve()) for path in paths])

    def look(self, width: int, height: int, dark: bool = False) -> bytes:
        """A picture of the whole page."""
        self.prefer(dark)
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self._send("Emulation.setDeviceMetricsOverride", **screen)
        time.sleep(0.3)
        taken = self._send("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(taken["data"])

    def close(self) -> None:
        """End the process."""
        try:
            self._send("Browser.close", session=None)
        except (OSError, RuntimeError, TimeoutError):
            self._process.kill()
        self._process.wait(PATIENCE)
        os.close(self._to), os.close(self._from)

    def _send(self, method: str, session: str | None = "own", **parameters: Any) -> dict[str, Any]:
        self._next += 1
        number = self._next
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = self._session
        sent = json.dumps(message).encode() + b"\0"
        while sent:
            sent = sent[os.write(self._to, sent) :]
        answer = self._wait(lambda message: message.get("id") == number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        found: dict[str, Any] = answer["result"]
        return found

    def _wait(self, wanted: Any) -> dict[str, Any]:
        while True:
            while b"\0" not in self._buffer:
                piece = os.read(self._from, 1 << 20)
                if not piece:
                    raise RuntimeError("the browser has ended")
                self._buffer += piece
            text, _, self._buffer = self._buffer.partition(b"\0")
            message: dict[str, Any] = json.loads(text)
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if wanted(message):
                return message


PREFERENCES = {
    "browser.aboutwelcome.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "media.navigator.permission.disabled": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.allow_hijacking_localhost": True,
    "network.proxy.type": 1,
    "services.settings.server": "data:,",
    "toolkit.telemetry.server": "data:,",
}


class Firefox:
    """Firefox by Marionette: JSON, each message led by its length, over a socket."""

    def __init__(self, program: str, profile: Path, proxy: int, dark: bool, camera: bool, reach: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        own = {f"network.proxy.{kind}": "127.0.0.1" for kind in ("http", "ssl")}
        ports = {f"network.proxy.{kind}_port": proxy for kind in ("http", "ssl")}
        scheme = {
            "ui.systemUsesDarkTheme": int(dark),
            "layout.css.prefers-color-scheme.content-override": int(not dark),
        }
        false_camera = {"media.navigator.streams.fake": camera, "network.proxy.no_proxies_on": reach}
        lines = {**PREFERENCES, **own, **ports, **scheme, **false_camera, "marionette.port": port}
        text = "".join(f"user_pref({json.dumps(key)}, {json.dumps(value)});\n" for key, value in lines.items())
        (profile / "user.js").write_text(text, encoding="utf-8")
        command = [program, "--headless", "--marionette", "--no-remote", "--profile", str(profile), "about:blank"]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = {**os.environ, "HOME": str(profile), "MOZ_REMOTE_SETTINGS_DEVTOOLS": "1"}  # so that it asks less
        self._process = subprocess.Popen(command, start_new_session=True, env=environment, **quiet)
        self._socket, self._buffer, self._next = self._connected(port), b"", 0
        self._message()
        self._send("WebDriver:NewSession", capabilities={"alwaysMatch": {"acceptInsecureCerts": False}})
        self._send("WebDriver:SetTimeouts", script=1000 * PATIENCE, pageLoad=1000 * PATIENCE)

    def open(self, path: Path | str) -> None:
        """Open a file and wait until it has loaded."""
        self._send("WebDriver:Navigate", url=(path if isinstance(path, str) else path.resolve().as_uri()))

    def run(self, script: str) -> Any:
        """The value of the body of an asynchronous function."""
        asked = f"""const done = arguments[arguments.length - 1], page = globalThis.window;
            const window = page.wrappedJSObject || page;
            const fail = (error) => done(JSON.stringify({{error: String(error)}}));
            (async () => {{ const alexnet = window.alexnet; {script} }})()
            .then((value) => done(JSON.stringify([value])), fail);"""
        arguments = {"script": asked, "args": [], "sandbox": None, "newSandbox": False}
        answer = json.loads(self._send("WebDriver:ExecuteAsyncScript", **arguments)["value"])
        if isinstance(answer, dict):
            raise RuntimeError(answer["error"])
        return answer[0] if answer else None

    def give_files(self, selector: str, paths: list[Path]) -> None:
        """Choose files in an input."""
        found = self._send("WebDriver:FindElement", using="css selector", value=selector)["value"]
        text = "\n".join(str(path.resolve()) for path in paths)
        self._send("WebDriver:ElementSendKeys", id=next(iter(found.values())), text=text)

    def look(self, width: int, height: int, dark: bool = False) -> bytes:
        """A picture of the whole page; `dark` is what the browser was started with."""
        self._send("WebDriver:SetWindowRect", width=width, height=height)
        time.sleep(0.3)
        return base64.b64decode(self._send("WebDriver:TakeScreenshot", full=True)["value"])

    def close(self) -> None:
        """End the process."""
        try:
            self._send("Marionette:Quit", flags=["eForceQuit"])
        except (OSError, RuntimeError):
            self._process.kill()
        self._socket.close()
        self._process.wait(PATIENCE)

    def _connected(self, port: int) -> socket.socket:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                made = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
                made.settimeout(4 * PATIENCE)
                return made
            except OSError:
                if time.monotonic() > until or self._process.poll() is not None:
                    self._process.kill()
                    raise RuntimeError("firefox did not start") from None
                time.sleep(0.1)

    def _send(self, command: str, **parameters: Any) -> dict[str, Any]:
        self._next += 1
        text = json.dumps([0, self._next, command, parameters]).encode()
        self._socket.sendall(str(len(text)).encode() + b":" + text)
        _, _, error, result = self._message()
        if error:
            raise RuntimeError(f"{command}: {error.get('message')}")
        found: dict[str, Any] = result or {}
        return found

    def _message(self) -> Any:
        while b":" not in self._buffer:
            self._more()
        length, _, self._buffer = self._buffer.partition(b":")
        while len(self._buffer) < int(length):
            self._more()
        text, self._buffer = self._buffer[: int(length)], self._buffer[int(length) :]
        return json.loads(text)

    def _more(self) -> None:
        piece = self._socket.recv(1 << 20)
        if not piece:
            raise RuntimeError("the browser has ended")
        self._buffer += piece
