"""Messages between the process that speaks with clients and the one that computes: a JSON object and bytes.

A message is the lengths of both, uint32 little-endian, then the two.
"""

import asyncio
import json
import struct
from typing import Any, BinaryIO, NamedTuple

LENGTHS = struct.Struct("<II")


class Message(NamedTuple):
    """What one process tells the other."""

    told: dict[str, Any]
    body: bytes = b""


def pack(told: dict[str, Any], body: bytes = b"") -> tuple[bytes, bytes]:
    """A message as two pieces of bytes, so that a large body is not copied."""
    text = json.dumps(told).encode()
    return LENGTHS.pack(len(text), len(body)) + text, body


def read(file: BinaryIO) -> Message | None:
    """The next message of a pipe; None at its end."""
    head = file.read(LENGTHS.size)
    if len(head) < LENGTHS.size:
        return None
    told, body = LENGTHS.unpack(head)
    text = file.read(told)
    return Message(json.loads(text), file.read(body)) if len(text) == told else None


async def receive(stream: asyncio.StreamReader) -> Message:
    """The next message of a pipe; asyncio.IncompleteReadError at its end."""
    told, body = LENGTHS.unpack(await stream.readexactly(LENGTHS.size))
    return Message(json.loads(await stream.readexactly(told)), await stream.readexactly(body))
