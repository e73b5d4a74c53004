"""uvicorn with what it leaves out: time for headers, a limit on connections, and an end that is quiet.

A connection that has not sent a whole header in time is closed (slowloris), and one beyond the limit at once.
"""

import asyncio
import ipaddress
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from alexnet.serving.guard import HEADER_BYTES
from alexnet.serving.limits import Limits

KEEP_ALIVE = 5  # seconds that a connection without requests is kept
SPARE = 256  # connections beside those of requests that are answered
BACKLOG = 256  # connections that the system holds before they are accepted


class Server(uvicorn.Server):
    """Runs an application until SIGTERM or Ctrl-C, then finishes what was accepted."""

    def __init__(self, app: ASGIApp, limits: Limits, started: Callable[[], None]) -> None:
        """started: is called when connections are accepted."""
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it tells of every damaged request
        config = uvicorn.Config(
            app,
            http=_protocol(limits),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=HEADER_BYTES,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=int(2 * limits.timeout) + 1,
            backlog=BACKLOG,
        )
        super().__init__(config)
        self._tell_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections."""
        await super().startup(sockets)
        self._tell_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End at SIGTERM and Ctrl-C; a second Ctrl-C ends at once. Neither is raised again: it was obeyed."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _protocol(limits: Limits) -> type[asyncio.Protocol]:
    """A connection with these limits."""

    class Connection(Limited):
        seconds = limits.timeout
        most = 4 * limits.queue + SPARE

    return Connection


class Joined:
    """A transport that sends at once what is written in one turn of the loop: the head of an answer and its body."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send bytes soon."""
        if not self._pieces:
            self._loop.call_soon(self._send)
        self._pieces.append(data)

    def close(self) -> None:
        """Send what was written, then close."""
        self._send()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _send(self) -> None:
        if self._pieces:
            self._transport.write(b"".join(self._pieces))
            self._pieces.clear()


class Limited(H11Protocol):
    """A connection that must send its headers in time, and is refused beyond the limit."""

    seconds: float
    most: int
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a header."""
        super().connection_made(cast(asyncio.Transport, Joined(transport, self.loop)))
        if len(self.connections) > self.most:
            self._close(b"503 Service Unavailable\r\nretry-after: 1")
        else:
            self._late = self.loop.call_later(self.seconds, self._end_late)

    def data_received(self, data: bytes) -> None:
        """Bytes of a header or a body."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._late is None and not self.transport.is_closing():  # a further request has begun
            self._late = self.loop.call_later(self.seconds, self._end_late)

    def on_response_complete(self) -> None:
        """A request is answered."""
        super().on_response_complete()
        if self.cycle is not None and self.cycle.response_complete:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close the connection; a request whose header has arrived is answered first."""
        if self.cycle is None or self.cycle.response_complete:
            super().shutdown()
        else:
            self.cycle.keep_alive = False

    def _end_late(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self._close(b"408 Request Timeout")

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        self.transport.close()


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens, on the first address that a host has. OSError where it cannot."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two programs listen at once
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(BACKLOG)
    except OSError:
        found.close()
        raise
    return found


def addresses(bound: socket.socket) -> list[str]:
    """Where a server can be opened: "http://127.0.0.1:8000".

    Of one that listens at every address of this machine the name for this machine, then those for others.
    """
    name: Any = bound.getsockname()
    hosts = [name[0]]
    if ipaddress.ip_address(name[0].partition("%")[0]).is_unspecified:  # 0.0.0.0 and ::, which nobody can open
        hosts = ["localhost", socket.gethostname(), *_outgoing()]
    return [f"http://{f'[{host}]' if ':' in host else host}:{name[1]}" for host in dict.fromkeys(hosts)]


def _outgoing() -> list[str]:
    """The address by which this machine reaches others; none without a network. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of no machine, RFC 5737
        except OSError:
            return []
        return [str(probe.getsockname()[0])]
