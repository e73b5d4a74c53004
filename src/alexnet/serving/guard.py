"""Who may ask: checked for every request before anything else, and headers that every answer has.

Three ways to use a person's browser or network against the server are closed. A foreign page whose name has come to
point at this machine (DNS rebinding) sends its own name as Host; a foreign page that posts here sends its own Origin;
and whoever must not ask at all lacks the token.
"""

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alexnet.serving.problems import Problem, ProblemResponse

HEADER_BYTES = 16384  # of a request before its body
OPEN = frozenset(["/livez", "/readyz", "/v2/health/live", "/v2/health/ready"])  # for whoever watches over the server
HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
CHALLENGE = 'Basic realm="alexnet", charset="UTF-8"'  # what a browser asks a person by


class Guard:
    """Lets through what may ask."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str], token: str | None) -> None:
        """hosts: names beside "localhost" and addresses. origins: foreign pages that may ask, "https://name"."""
        self._app, self._origins = app, frozenset(origins)
        self._hosts = frozenset(host.lower() for host in ("localhost", *hosts))
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}
        origin = headers.get(b"origin")

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._seal(MutableHeaders(scope=message), origin)
            await send(message)

        try:
            self._check(scope, headers)
        except Problem as problem:
            await ProblemResponse(problem)(scope, receive, sealed)
            return
        if scope["method"] == "OPTIONS":
            await self._preflight(sealed)
            return
        await self._app(scope, receive, sealed)

    def _check(self, scope: Scope, headers: dict[bytes, str]) -> None:
        """431 for long headers, 421 for another host, 403 for a foreign page, 401 without the token."""
        length = sum(len(name) + len(value) for name, value in scope["headers"])
        if length + len(scope["raw_path"]) + len(scope["query_string"]) > HEADER_BYTES:
            raise Problem(431, f"the header is longer than {HEADER_BYTES:,} bytes; send fewer and shorter lines")
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if not self.knows(host):
            raise Problem(421, f"the host is {host[:100]!r}, which this server is not; start it with --allow-host NAME")
        if origin is not None and origin not in self._origins and _netloc(origin) != host.lower():
            raise Problem(403, f"pages of {origin[:100]!r} may not ask; start the server with --allow-origin ORIGIN")
        if scope["method"] != "OPTIONS" and scope["path"] not in OPEN:
            self._check_token(headers.get(b"authorization", ""))

    def knows(self, host: str) -> bool:
        """Whether a Host header names this server. An address does: names alone can be made to point elsewhere."""
        if "@" in host:
            return False
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._hosts or _is_address(name)

    def _check_token(self, given: str) -> None:
        if self._token is not None and not hmac.compare_digest(_token_of(given), self._token):
            told = "the token is missing or wrong; send the header 'Authorization: Bearer TOKEN'"
            raise Problem(401, told, {"www-authenticate": CHALLENGE})

    def _seal(self, headers: MutableHeaders, origin: str | None) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        headers.add_vary_header("Origin")
        if origin in self._origins:
            headers["access-control-allow-origin"] = str(origin)
            headers["cross-origin-resource-policy"] = "cross-origin"

    async def _preflight(self, send: Send) -> None:
        """What a listed page may send."""
        headers = [
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", b"authorization, content-type"),
            (b"access-control-max-age", b"600"),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _netloc(origin: str) -> str:
    """Host and port of an Origin header, as a Host header has them."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _token_of(header: str) -> bytes:
    """The token in an Authorization header: Bearer's, or the password of Basic, which browsers ask a person for."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return value.strip().encode("latin-1", "replace") if scheme.lower() == "bearer" else b""
