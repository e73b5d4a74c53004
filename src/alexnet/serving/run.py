"""alexnet serve from its first line to its last."""

import asyncio
import ipaddress
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from alexnet.errors import UsageError
from alexnet.memory import dump_no_core
from alexnet.serving.limits import Limits
from alexnet.serving.process import Process

PACKAGES = ("starlette", "uvicorn")
TOKEN = re.compile(r"[\x21-\x7e]{16,200}")


@dataclass(frozen=True)
class Order:
    """What is to be served, where and to whom."""

    model: str
    host: str = "127.0.0.1"
    port: int = 8000  # 0: any that is free
    device: str = "auto"
    token: str | None = None
    allowed_hosts: Sequence[str] = ()  # names of this server beside its address
    allowed_origins: Sequence[str] = ()  # "https://name" of pages elsewhere that may ask
    limits: Limits = field(default_factory=Limits)


def serve(order: Order, started: Callable[[list[str]], None]) -> None:
    """Answer until SIGTERM or Ctrl-C; what was accepted is finished first, and no process is left.

    started: is called with the addresses (`server.addresses`) once images are answered. UsageError for what cannot be
    served, before the model is opened; the errors of `alexnet.inference.loading.load`.
    """
    check(order)
    _check_packages()
    dump_no_core()  # it would hold clients' photos
    with _bound(order) as bound:
        asyncio.run(_serve(order, bound, started))


def check(order: Order) -> None:
    """UsageError for an order that would be unsafe, or that nothing could come of."""
    if not 0 <= order.port < 65536:
        raise UsageError(f"port is {order.port}; give 1 to 65535, or 0 for any that is free")
    if order.token is not None and not TOKEN.fullmatch(order.token):
        raise UsageError(
            f"the token has {len(order.token)} characters; give 16 to 200 without spaces, such as python prints: "
            "python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    if order.token is None and not is_loopback(order.host):
        raise UsageError(
            f"host {order.host} lets other machines ask; give --token or ALEXNET_TOKEN, or --host 127.0.0.1"
        )
    for origin in order.allowed_origins:
        if not re.fullmatch(r"https?://[^/\s@]+", origin):
            raise UsageError(f"origin {origin!r} is none; give scheme and host, such as https://example.org")
    for host in order.allowed_hosts:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", host):
            raise UsageError(f"host name {host!r} is none; give it without scheme, port and path, such as example.org")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def name_of(model: str) -> str:
    """The model's name in addresses, from the last part of where it lies: "runs/mine" -> "mine"."""
    path = Path(model)
    last = path.stem if path.suffix in (".onnx", ".safetensors", ".pte", ".pth", ".xml") else path.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-.") or "model"


async def _serve(order: Order, bound: socket.socket, started: Callable[[list[str]], None]) -> None:
    from alexnet.serving.app import make_app
    from alexnet.serving.server import Server, addresses

    process = Process(order.model, order.device, order.limits)
    with _cancelled_by_sigterm():
        try:
            await process.start()
            hosts = [*order.allowed_hosts, order.host, *([] if is_loopback(order.host) else [socket.gethostname()])]
            app = make_app(process, name_of(order.model), order.limits, hosts, list(order.allowed_origins), order.token)
            await Server(app, order.limits, lambda: started(addresses(bound))).serve([bound])
        finally:
            await process.stop()


@contextmanager
def _cancelled_by_sigterm() -> Iterator[None]:
    """SIGTERM as Ctrl-C, by which asyncio cancels what it runs; an exception would leave what it is at in pieces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _bound(order: Order) -> socket.socket:
    """A socket that listens; UsageError where another program does."""
    from alexnet.serving.server import listening

    try:
        return listening(order.host, order.port)
    except OSError as error:
        told = f"{order.host}:{order.port} cannot be listened at ({error.strerror or error})"
        raise UsageError(f"{told}; give another --port, 0 for any that is free, or another --host") from error


def _check_packages() -> None:
    for package in PACKAGES:
        try:
            import_module(package)
        except ImportError as error:
            told = f"alexnet serve needs the packages {' and '.join(PACKAGES)}"
            raise UsageError(f"{told}; install them: pip install {' '.join(PACKAGES)}") from error
