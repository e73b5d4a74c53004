"""Refusals as problem details for HTTP APIs (RFC 9457), with the text that the command line would print.

A member `error` repeats the text, as the Open Inference Protocol asks.
"""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

READ = "alexnet.read"  # in a scope: its body has been read to its end
LINGER_BYTES, LINGER_SECONDS = 2**24, 0.5


class Problem(Exception):
    """A request is refused."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        """detail: one line: what was received, what is accepted, what to do next."""
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


class ProblemResponse(Response):
    """A refusal on its way. Where the body has not been read the connection is closed after it.

    A socket closed with unread bytes resets the connection, and the client may lose the answer (RFC 9112, section
    9.6). So the answer is sent whole first, and bytes of the body are thrown away for a moment.
    """

    media_type = "application/problem+json"

    def __init__(self, problem: Problem) -> None:
        title = HTTPStatus(problem.status).phrase
        told = {"type": "about:blank", "title": title, "status": problem.status, "detail": problem.detail}
        text = json.dumps(told | {"error": problem.detail}).encode()
        super().__init__(text, problem.status, problem.headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        if not has_body(scope) or scope.get(READ):
            await super().__call__(scope, receive, send)
            return
        self.headers["connection"] = "close"
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await _linger(scope, receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def has_body(scope: Scope) -> bool:
    """Whether a request has a body, by its headers."""
    given = dict(scope["headers"])
    return b"transfer-encoding" in given or given.get(b"content-length", b"0") != b"0"


async def _linger(scope: Scope, receive: Receive) -> None:
    """Throw a body away, as far as it comes soon; a client that waits to be asked for it has not sent it."""
    if b"expect" in dict(scope["headers"]):
        return
    thrown = 0
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while thrown < LINGER_BYTES:
                message = await receive()
                thrown += len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        pass
