"""Protocol buffers' wire format, as far as weights files need it: read in place, bounded, and written.

A message is a row of fields: a key (number << 3 | kind) and a value, a varint, 8 or 4 bytes, or a length and as many
bytes (protobuf.dev/programming-guides/encoding). Lengths are checked against the bytes that are there, so nothing is
allocated for what a file claims.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import WeightsError

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5
MAX_FIELDS = 100_000  # of one message; a layer has a few dozen, unpacked numbers in a row count once


class Field(NamedTuple):
    """One field of a message; numbers of 4 or 8 bytes that follow each other under one key are one field."""

    number: int
    kind: int
    whole: int  # a varint; 0 for other kinds
    data: memoryview  # the bytes of the value; of a row of numbers, without their keys


def fields(message: memoryview) -> Iterator[Field]:
    """The fields of a message, in order. WeightsError where it is truncated or no message."""
    place, count = 0, 0
    while place < len(message):
        count += 1
        if count > MAX_FIELDS:
            raise WeightsError(f"a message has more than {MAX_FIELDS:,} fields; it is damaged")
        start = place
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            whole, place = _varint(message, place)
            yield Field(number, kind, whole, message[:0])
        elif kind == BYTES:
            size, place = _varint(message, place)
            yield Field(number, kind, 0, _cut(message, place, size))
            place += size
        elif kind in (FOUR, EIGHT):
            data, place = _row(message, start, place, 4 if kind == FOUR else 8)
            yield Field(number, kind, 0, data)
        else:
            raise WeightsError(f"byte {start:,} of a message is no key of a field; the file is damaged")


def numbers(field: Field, eight: bool = False) -> NDArray[np.float32]:
    """The numbers of a field, packed or not, as float32 without a copy where they are; eight: stored as doubles."""
    size = 8 if eight else 4
    if field.kind not in (BYTES, EIGHT if eight else FOUR) or len(field.data) % size:
        raise WeightsError(f"field {field.number} holds {len(field.data):,} bytes, which are no numbers of {size}")
    with np.errstate(over="ignore", invalid="ignore"):  # doubles beyond float32 become infinite, which is told later
        return np.frombuffer(field.data, "<f8" if eight else "<f4").astype(np.float32, copy=False)


def wholes(field: Field) -> list[int]:
    """The whole numbers of a field, packed or not."""
    if field.kind == VARINT:
        return [field.whole]
    found, place = [], 0
    while place < len(field.data):
        whole, place = _varint(field.data, place)
        found.append(whole)
    return found


def text(field: Field) -> str:
    """The text of a field, of one line; bytes that are no UTF-8 are shown as such."""
    found = bytes(field.data[:1000]).decode("utf-8", errors="backslashreplace")
    return "".join(each if each.isprintable() else "\ufffd" for each in found)


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise WeightsError("it is truncated within a number")
        byte, place = message[place], place + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise WeightsError("a number of it has more than 10 bytes; it is damaged")


def _cut(message: memoryview, place: int, size: int) -> memoryview:
    if size > len(message) - place:
        raise WeightsError(f"it is truncated: {size:,} bytes should follow, {len(message) - place:,} are there")
    return message[place : place + size]


def _row(message: memoryview, start: int, place: int, size: int) -> tuple[memoryview, int]:
    """The numbers of `size` bytes from the key at `start` on that follow each other under the same key."""
    first, step = _cut(message, place, size), place - start + size
    key, end = message[start:place], place + size
    looked = 64  # numbers at once, twice as many each time: keys that alternate cost no more than their bytes
    while message[end : end + place - start] == key and len(message) - end >= step:
        part = message[end : end + min(looked, (len(message) - end) // step) * step]
        rows = np.frombuffer(part, np.uint8).reshape(-1, step)
        other = np.flatnonzero((rows[:, : step - size] != rows[0, : step - size]).any(axis=1))
        end += (int(other[0]) if other.size else len(rows)) * step
        looked *= 2
    if end == place + size:
        return first, end
    rows = np.frombuffer(message[start:end], np.uint8).reshape(-1, step)
    return memoryview(rows[:, step - size :].tobytes()), end


# --- writing ---


def varint(value: int) -> bytes:
    """A whole number, 0 or more, as a varint."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def whole_field(number: int, value: int) -> bytes:
    """A field that holds a whole number, 0 or more."""
    return varint(number << 3 | VARINT) + varint(value)


def float_field(number: int, value: float) -> bytes:
    """A field that holds a float of 4 bytes."""
    return varint(number << 3 | FOUR) + struct.pack("<f", value)


def head(number: int, size: int) -> bytes:
    """The key and the length of a field of `size` bytes, which are to follow."""
    return varint(number << 3 | BYTES) + varint(size)


def bytes_field(number: int, data: bytes) -> bytes:
    """A field that holds bytes, a text or a message."""
    return head(number, len(data)) + data


def packed(number: int, values: Sequence[int]) -> bytes:
    """A field that holds packed whole numbers."""
    return bytes_field(number, b"".join(map(varint, values)))
