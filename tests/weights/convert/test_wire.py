"""Protocol buffers' wire format: what is read is what was written, and nothing is believed that is not there."""

import struct

import numpy as np
import pytest

from alexnet.errors import WeightsError
from alexnet.weights.convert import wire


def read(data: bytes) -> list[wire.Field]:
    return list(wire.fields(memoryview(data)))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31, 2**63])
def test_whole_numbers_come_back(value: int) -> None:
    (found,) = read(wire.whole_field(118, value))
    assert (found.number, found.whole) == (118, value)


def test_google_protobuf_reads_the_same_bytes() -> None:
    """A FileDescriptorProto has texts (1, 2), messages (4) and whole numbers (10, repeated)."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    ours = wire.bytes_field(1, b"name") + wire.bytes_field(4, wire.bytes_field(1, "häm".encode()))
    ours += wire.whole_field(10, 3) + wire.whole_field(10, 70000)
    theirs = FileDescriptorProto.FromString(ours)
    assert (theirs.name, theirs.message_type[0].name, list(theirs.public_dependency)) == ("name", "häm", [3, 70000])
    again = read(theirs.SerializeToString())
    assert [wire.text(each) for each in again if each.number == 1] == ["name"]


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 500])
def test_unpacked_floats_in_a_row_are_one_field(count: int) -> None:
    values = np.random.default_rng(0).normal(size=count).astype("<f4")
    row = b"".join(wire.float_field(5, value) for value in values)
    found = read(wire.whole_field(1, 7) + row + wire.float_field(6, 1.0))
    assert [each.number for each in found] == [1, 5, 6]
    np.testing.assert_array_equal(wire.numbers(found[1]), values)


def test_packed_floats_and_doubles_come_back() -> None:
    values = np.arange(5) / 7
    (floats,) = read(wire.bytes_field(5, values.astype("<f4").tobytes()))
    (doubles,) = read(wire.bytes_field(8, values.astype("<f8").tobytes()))
    np.testing.assert_array_equal(wire.numbers(floats), values.astype("<f4"))
    np.testing.assert_array_equal(wire.numbers(doubles, eight=True), values.astype("<f4"))


def test_packed_and_single_whole_numbers_come_back() -> None:
    (row,) = read(wire.packed(1, [96, 3, 11, 300]))
    (single,) = read(wire.whole_field(1, 96))
    assert wire.wholes(row) == [96, 3, 11, 300]
    assert wire.wholes(single) == [96]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (wire.head(5, 10**15) + b"abc", "1,000,000,000,000,000 bytes should follow, 3 are there"),
        (b"\x0a", "truncated within a number"),
        (b"\x08" + b"\xff" * 11, "more than 10 bytes"),
        (b"\x0b", "is no key"),
        (b"\x2d\x00\x00", "4 bytes should follow, 2 are there"),
        (wire.whole_field(1, 1) * (wire.MAX_FIELDS + 1), "more than 100,000 fields"),
    ],
)
def test_damage_is_told(data: bytes, told: str) -> None:
    with pytest.raises(WeightsError, match=told):
        read(data)


def test_bytes_that_are_no_floats_are_refused() -> None:
    (found,) = read(wire.bytes_field(5, b"12345"))
    with pytest.raises(WeightsError, match="holds 5 bytes"):
        wire.numbers(found)


def test_alternating_keys_are_read_one_by_one() -> None:
    data = (wire.float_field(1, 1.0) + wire.float_field(2, 2.0)) * 1000
    assert [each.number for each in read(data)] == [1, 2] * 1000
    assert struct.unpack("<f", read(data)[1].data)[0] == 2.0
