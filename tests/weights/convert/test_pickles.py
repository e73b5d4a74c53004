"""Pickles are read as data: arrays and containers as Python reads them, hostile files without running anything."""

import collections
import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet.errors import WeightsError
from alexnet.weights.convert.pickle_names import Inert
from alexnet.weights.convert.pickle_writer import dump
from alexnet.weights.convert.pickles import load

ARRAYS = {
    "rows": np.arange(12, dtype="<f4").reshape(3, 4),
    "columns": np.asfortranarray(np.arange(12, dtype="<f4").reshape(3, 4)),
    "big": np.arange(5, dtype=">f8"),
    "bytes": np.arange(7, dtype="u1"),
    "nothing": np.zeros((0, 3), "f4"),
    "scalar": np.array(3.5, "f4"),
}


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "weights.pkl"
    path.write_bytes(content)
    return path


def assert_equal(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_equal(found[key], value)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_values_are_those_that_python_reads(tmp_path: Path, protocol: int) -> None:
    shared = [1, 2]
    value = {
        **ARRAYS,
        "text": "é",
        "raw": b"\x00\xff",
        "no raw": b"",
        "numbers": [1, -1, 2**40, -(2**70), 0.1, float("inf"), True, False, None],
        "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "shared": [shared, shared],
        5: {},
    }
    found = load(written(tmp_path, pickle.dumps(value, protocol)))
    assert_equal(found, value)
    assert found["shared"][0] is found["shared"][1]


def test_numpy_scalars_and_ordered_dictionaries_are_read(tmp_path: Path) -> None:
    value = collections.OrderedDict([("b", np.float32(1.5)), ("a", np.int64(3))])
    assert_equal(load(written(tmp_path, pickle.dumps(value, 2))), {"b": np.float32(1.5), "a": np.int64(3)})


def test_an_array_used_twice_is_read_once(tmp_path: Path) -> None:
    found = load(written(tmp_path, pickle.dumps([ARRAYS["rows"]] * 2)))
    assert found[0] is found[1]
    np.testing.assert_array_equal(found[0], ARRAYS["rows"])


def test_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    """The bytes that Python 2.7 with NumPy 1 writes for {'w': array([[1, 2]], dtype=float32)}, protocols 0 and 2."""
    oldest = (
        b"(dp1\nS'w'\np2\ncnumpy.core.multiarray\n_reconstruct\np3\n(cnumpy\nndarray\np4\n(I0\ntp5\nS'b'\np6\ntp7\nRp8\n"
        b"(I1\n(I1\nI2\ntp9\ncnumpy\ndtype\np10\n(S'f4'\np11\nI0\nI1\ntp12\nRp13\n(I3\nS'<'\np14\nNNNI-1\nI-1\nI0\n"
        b"tp15\nbI00\nS'\\x00\\x00\\x80?\\x00\\x00\\x00@'\np16\ntp17\nbs."
    )
    newer = (
        b"\x80\x02}q\x01U\x01wq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87R"
        b"q\x05(K\x01K\x01K\x02\x86cnumpy\ndtype\nq\x06U\x02f4K\x00K\x01\x87Rq\x07(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00@tbs."
    )
    for content in (oldest, newer):
        assert_equal(load(written(tmp_path, content)), {"w": np.array([[1, 2]], np.float32)})


def test_known_classes_are_read_as_inert(tmp_path: Path) -> None:
    """An object of an old-style class as cPickle writes it, a reference to a class, and one deriving from object."""
    old = b"(cpython_util.options\nOptionsParser\no}(U\x01aK\x05ub"
    new = b"ccopy_reg\n_reconstructor\n(cpython_util.options\nOption\nc__builtin__\nobject\nNtR}(U\x01bK\x06ub"
    path = written(tmp_path, b"\x80\x02](" + old + b"cpython_util.options\nOption\n" + new + b"e.")
    names = frozenset({"python_util.options.OptionsParser", "python_util.options.Option"})
    first, _, last = load(path, names)
    assert isinstance(first, Inert)
    assert (first.name, first.state) == ("python_util.options.OptionsParser", {"a": 5})
    assert (last.name, last.state) == ("python_util.options.Option", {"b": 6})
    with pytest.raises(WeightsError, match=r"refused: it asks for 'python_util\.options\.OptionsParser'"):
        load(path)


class Calls:
    """Pickled as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def hostile(mark: Path) -> dict[str, bytes]:
    """Pickles that run something when Python reads them; each would create the file `mark`."""
    command, code = f"touch '{mark}'", f"open({str(mark)!r}, 'w')"
    run = Calls(os.system, command)
    array = ARRAYS["rows"].__reduce__()[2]
    return {
        "system": pickle.dumps(run),
        "system, protocol 0": pickle.dumps(run, 0),
        "in a dictionary": pickle.dumps({"conv1": [ARRAYS["rows"], run]}),
        "eval": pickle.dumps(Calls(eval, code)),
        "exec": pickle.dumps(Calls(exec, code)),
        "nested": pickle.dumps(Calls(getattr, Calls(__import__, "os"), "system")),
        "in an array": pickle.dumps(np.array([run], object)),
        "as a type": pickle.dumps(Calls(np.dtype, run)),
        "as a state": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        + pickle.dumps(Calls(os.system, command), 0)[:-1]
        + b"b.",
        "old instance": f'(S"{command}"\nios\nsystem\n.'.encode(),
        "old object": f'(cos\nsystem\nS"{command}"\no.'.encode(),
        "new object": pickle.dumps(Calls(os.system, command), 2).replace(b"R.", b"\x81."),
        "stacked name": pickle.dumps(run, 4).replace(b"posix", b"os").replace(b"\x8c\x05os", b"\x8c\x02os"),
        "numpy's own loader": pickle.dumps(Calls(np.load, str(mark))),
        "numpy's test runner": pickle.dumps(Calls(np.frombuffer, array[4])),
        "another encoding": pickle.dumps(Calls(__import__("_codecs").encode, "a", "zlib_codec")),
        "another class of array": pickle.dumps(Calls(array_maker(), collections.OrderedDict, (0,), b"b")),
    }


def array_maker() -> Callable[..., Any]:
    maker: Callable[..., Any] = ARRAYS["rows"].__reduce__()[0]
    return maker


@pytest.mark.parametrize("name", hostile(Path("unused")))
def test_hostile_pickle_is_refused_in_one_line_and_nothing_runs(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "ran"
    path = written(tmp_path, hostile(mark)[name])
    with pytest.raises(WeightsError) as caught:
        load(path)
    assert not mark.exists()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_hostile_pickles_would_run_in_python(tmp_path: Path) -> None:
    """So that the test above can fail."""
    mark = tmp_path / "ran"
    pickle.loads(hostile(mark)["system"])
    assert mark.exists()


HUGE = struct.pack("<Q", 10**12)
LONG_ARRAY = (
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n"
    b"(I1000000000000\ntcnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'abcd'\ntb."
)
BOMBS = {
    "bytes of 10^12": b"\x80\x04\x8e" + HUGE + b"abc.",
    "text of 10^12": b"\x80\x04\x8d" + HUGE + b"abc.",
    "string of 2^31": b"\x80\x02T\xff\xff\xff\x7fabc.",
    "negative string": b"\x80\x02T\xff\xff\xff\xffabc.",
    "frame of 10^12": b"\x80\x04\x95" + HUGE + b"abc",
    "memory at 2^32": b"\x80\x02Nr\xff\xff\xff\xff.}r\xff\xff\xff\xff",
    "memory that is not there": b"\x80\x02h\x05.",
    "array of 10^12": LONG_ARRAY,
    "array of 10^12 objects": LONG_ARRAY.replace(b"'f4'", b"'O8'").replace(b"S'abcd'", b"(l"),
    "negative side": LONG_ARRAY.replace(b"I1000000000000", b"I-1"),
    "deep tuple as a key": b"\x80\x02})" + b"\x85" * 100_000 + b"Ns.",
    "deep tuple as a type": b"cnumpy\ndtype\n)" + b"\x85" * 100_000 + b"\x85R.",
    "nothing": b"",
    "no end": b"\x80\x02}",
    "a stack that is empty": b"\x80\x02s.",
    "no pickle": b"hello world",
    "a persistent name": b"\x80\x02U\x01aQ.",
    "an extension": b"\x80\x02\x82\x01.",
    "a number of 10^5 digits": b"L" + b"9" * 100_000 + b"L\n.",
}


@pytest.mark.parametrize("name", [name for name in BOMBS if name != "memory at 2^32"])
def test_damage_and_bombs_give_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError) as caught:
        load(written(tmp_path, BOMBS[name]))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


def test_a_far_place_in_memory_takes_no_memory(tmp_path: Path) -> None:
    assert load(written(tmp_path, BOMBS["memory at 2^32"])) is None


def test_deep_nesting_is_read_without_recursion(tmp_path: Path) -> None:
    found = load(written(tmp_path, b"\x80\x02" + b"](" * 100_000 + b"e" * 100_000 + b"."))
    assert isinstance(found, list)


def test_every_truncation_gives_one_line(tmp_path: Path) -> None:
    content = pickle.dumps(ARRAYS, 2)
    for end in range(0, len(content) - 1, 7):
        with pytest.raises(WeightsError, match="damaged or truncated"):
            load(written(tmp_path, content[:end]))


def test_too_many_steps_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.weights.convert.pickles.MOST_STEPS", 100)
    with pytest.raises(WeightsError, match="more than 100 steps"):
        load(written(tmp_path, pickle.dumps(list(range(200)))))


def test_what_is_written_is_read_by_python_and_by_us(tmp_path: Path) -> None:
    value = {**ARRAYS, "list": [1, -5, 2**40, 0.5, None, True, ("é", "a"), b"\xff".decode("latin-1")]}
    content = b"".join(dump(value))
    assert_equal(load(written(tmp_path, content)), value)
    found = pickle.loads(content, encoding="latin1")
    found["big"] = found["big"].astype(">f8")  # NumPy reads into the order of the machine
    assert_equal(found, value)
    assert b"numpy._core" not in content  # which NumPy 1 lacks


def test_other_values_are_not_written() -> None:
    with pytest.raises(TypeError, match="BytesIO"):
        b"".join(dump([io.BytesIO()]))
