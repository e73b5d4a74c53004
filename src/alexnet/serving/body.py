"""A request's body, read whole within its limits or not at all."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from alexnet.serving.gate import Place
from alexnet.serving.limits import Limits
from alexnet.serving.problems import READ, Problem

ACCEPTED = "send the bytes of one image as the body, as image/jpeg, another image type or application/octet-stream"


def check_image(request: Request) -> None:
    """415 for a type that is no image's. A form's is taken, for curl --data-binary sends it: only the bytes count."""
    kind = _kind(request)
    if not kind.startswith("image/") and kind not in (
        "",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
    ):
        raise Problem(415, f"the body is {kind[:80]!r}; {ACCEPTED}", {"accept": "image/*, application/octet-stream"})
    check_encoding(request)


def check_json(request: Request) -> None:
    """415 for a body that is not JSON."""
    if _kind(request) != "application/json":
        raise Problem(
            415, f"the body is {_kind(request)[:80]!r}; send application/json", {"accept": "application/json"}
        )
    check_encoding(request)


def check_encoding(request: Request) -> None:
    """415 for a body that is compressed once more."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Problem(
            415, f"the body is compressed as {encoding[:40]!r}; send it as it is", {"accept-encoding": "identity"}
        )


def check_length(request: Request, most: int) -> None:
    """413 for a body that is too long by its header."""
    length = request.headers.get("content-length", "0")
    if int(length) > most:
        raise _too_long(f"{int(length):,}", most)


async def read(request: Request, place: Place, limits: Limits, most: int) -> bytes:
    """The body. 413 beyond `most` bytes, 408 where it does not arrive in time, 400 where it breaks off."""
    pieces, length = [], 0
    try:
        async with asyncio.timeout(limits.timeout) as deadline:
            with place.receiving(deadline):
                async for piece in request.stream():
                    length += len(piece)
                    if length > most:
                        raise _too_long("longer", most)
                    pieces.append(piece)
    except TimeoutError:
        raise Problem(408, f"the body did not arrive in time, {limits.timeout:g} seconds; send it again") from None
    except ClientDisconnect:
        request.scope[READ] = True
        raise Problem(400, "the body broke off; send it again") from None
    request.scope[READ] = True
    return b"".join(pieces)


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _too_long(length: str, most: int) -> Problem:
    given = "longer" if length == "longer" else f"{length} bytes long"
    return Problem(413, f"the body is {given}; at most {most:,} bytes are read: send a smaller image")
