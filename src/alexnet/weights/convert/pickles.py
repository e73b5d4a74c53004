"""Pickles read as data: a machine of our own that knows the few steps by which arrays and their containers are written.

Python's own reader calls whatever a file names. This one calls nothing of a file's choosing: every step is one of the
methods below, a name in the file is looked up in `pickle_names`, and any other is refused before anything happens.
Lengths are compared with what the file holds before memory is taken. Strings of Python 2 come out as str, one character
a byte (latin-1). Opcodes as documented by `pickletools`, which splits the file into them.
"""

import ast
import mmap
import pickletools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from alexnet.errors import WeightsError
from alexnet.weights.convert.pickle_names import NAMES, Array, Class, Function, Inert, Refused, Type, key_of, object_of

MOST_STEPS = 5_000_000  # a checkpoint with years of notes has some 100,000
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_QUOTED = re.compile(rb"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
DAMAGE = (ValueError, IndexError, KeyError, OverflowError, MemoryError, RecursionError)


def load(path: Path, inert: frozenset[str] = frozenset(), offset: int = 0) -> Any:
    """What the pickle in a file holds, from byte `offset` on: arrays, dict, list, tuple, str, bytes and numbers.

    inert: classes ("module.name") whose objects are read as `Inert`. WeightsError for a file that is damaged, truncated
    or not a pickle, and for one that holds, or would run, anything else; nothing in it is run.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            data.seek(offset)
            return _Machine(inert).run(data)
    except Refused as error:
        raise WeightsError(f"{path} is refused: {error}; nothing of it was run, take it from its publisher") from error
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path} is damaged or truncated ({reason[:120]}); take a fresh copy") from error


class _Step(NamedTuple):
    name: str  # of the opcode, as `pickletools` calls it
    argument: Any


def _steps(data: Any) -> Iterator[_Step]:
    """The opcodes of a file and what each carries; ValueError where the file ends before its last."""
    while code := data.read(1):
        opcode = _OPCODES.get(code.decode("latin-1"))
        if opcode is None:
            raise ValueError(f"{code!r} begins no step of a pickle")
        if opcode.name == "STRING":  # pickletools reads ASCII alone
            yield _Step(opcode.name, _quoted(data.readline()))
        else:
            yield _Step(opcode.name, opcode.arg.reader(data) if opcode.arg else None)
    raise ValueError("it ends before its last step")


def _quoted(line: bytes) -> str:
    """A string as Python 2 prints it: in quotes, with escapes."""
    line = line.rstrip(b"\r\n")
    if not _QUOTED.fullmatch(line):
        raise ValueError("a string without its quotes")
    try:
        return str(ast.literal_eval("b" + line.decode("ascii")).decode("latin-1"))
    except SyntaxError as error:
        raise ValueError("a string with an escape that is none") from error


class _Machine:
    """The stack, its marks and the memory of a pickle."""

    def __init__(self, inert: frozenset[str]) -> None:
        self.inert = inert
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memory: dict[int, Any] = {}

    def run(self, data: Any) -> Any:
        for number, step in enumerate(_steps(data)):
            if number >= MOST_STEPS:
                raise Refused(f"it takes more than {MOST_STEPS:,} steps to read")
            if step.name == "STOP":
                break
            self.take(step)
        if self.marks or len(self.stack) != 1:
            raise ValueError("it ends within a value")
        return self.stack[0]

    def take(self, step: _Step) -> None:
        name, argument = step
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _VALUES:
            self.stack.append(argument)
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise Refused(f"it uses the step {name}, which no file of arrays needs")

    # marks and memory

    def mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """What was pushed since the last mark, taken off."""
        found, self.stack = self.stack, self.marks.pop()
        return found

    def put(self, place: int | None) -> None:
        place = len(self.memory) if place is None else place
        value = self.memory[place] = self.stack[-1]
        if isinstance(value, Array):
            value.places.append(place)

    def get(self, place: int) -> None:
        self.stack.append(self.memory[place])

    # containers

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise ValueError("it takes a value that is not there")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def push_marked(self, kind: type[list[Any]] | type[tuple[Any, ...]]) -> None:
        values = self.marked()
        self.stack.append(kind(values))

    def dict_of(self, _: Any) -> None:
        values = self.marked()
        self.stack.append({})
        self.set_items(values)

    def append(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise Refused("it appends to something that is no list")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise Refused("it sets the items of something that is no dictionary")
        target.update({key_of(key): value for key, value in zip(values[::2], values[1::2], strict=True)})

    # names

    def name(self, full: str) -> None:
        full = full.replace(" ", ".", 1)
        if full in NAMES:
            self.stack.append(NAMES[full])
        elif full in self.inert:
            self.stack.append(Class(full))
        else:
            raise Refused(f"it asks for {full[:80]!r}, and a file of weights needs arrays and their containers alone")

    def stack_name(self, _: Any) -> None:
        module, name = self.stack[-2:]
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refused("it asks for something that has no name")
        del self.stack[-2:]
        self.name(f"{module} {name}")

    def reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(arguments, tuple):
            raise Refused("it calls a function without arguments")
        self.call(function, arguments)

    def call(self, function: Any, arguments: tuple[Any, ...]) -> None:
        if isinstance(function, Class):
            self.stack.append(object_of(function))
        elif isinstance(function, Function):
            try:
                self.stack.append(function.call(*arguments))
            except TypeError as error:
                raise ValueError(f"a step with the wrong arguments: {error}") from error
        else:
            raise Refused("it calls something that is no function")

    def instance(self, full: str) -> None:
        arguments = self.marked()
        self.name(full)
        self.call(self.stack.pop(), tuple(arguments))

    def new(self, _: Any) -> None:
        first, *arguments = self.marked()
        self.call(first, tuple(arguments))

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Array):
            self.stack[-1] = target.filled(state)
            self.memory.update(dict.fromkeys(target.places, self.stack[-1]))
        elif isinstance(target, Type):
            target.set(state)
        elif isinstance(target, Inert):
            target.state = state
        elif state:
            raise Refused(f"it changes a {type(target).__name__} in a way of its own")


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
_VALUES = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    }
)
_ACTIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    "MARK": _Machine.mark,
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.marked(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "LIST": lambda machine, _: machine.push_marked(list),
    "TUPLE": lambda machine, _: machine.push_marked(tuple),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "DICT": _Machine.dict_of,
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.marked()),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.marked()),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "INST": _Machine.instance,
    "OBJ": _Machine.new,
    "BUILD": _Machine.build,
}
