"""Pickle's little machine, cut down to what a PyTorch checkpoint needs.

The opcodes are those of pickle's protocols 1 to 5 (CPython's Lib/pickletools.py describes each), less every one that
could reach outside: no EXT, no INST, no OBJ, no buffers, no text opcodes that only protocol 0 writes. An opcode that is
not in the table is refused, and what GLOBAL, REDUCE, NEWOBJ and BUILD may do is decided by `inert`.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

from ..errors import quote
from . import inert
from .budget import Budget
from .cursor import LONGEST_LINE, Cursor
from .error import CheckpointError
from .inert import LONGEST_KEY
from .nesting import CONTAINERS
from .stack import MARK, Stack
from .standin import StandIn
from .stateful import Record, Span, Stateful
from .tensor import Storage, StoredTensor, is_natural

LONGEST_TEXT = 16 << 20  # bytes of one text or bytes object
HELD_TEXT, HELD_BYTES = 1 << 20, 256  # bytes that are held in memory: longer ones are an array's numbers, and stay in the file
SPAN = 200  # bytes of the object that stands for one of them
LONGEST_INTEGER = 255  # bytes
MOST_ARGUMENTS = 64
NAME = 2  # steps that it takes to read and look up a name, besides its own
CALL = 10  # steps that a call takes besides its own: a tensor's description is checked in it
TENSOR = 700  # bytes of a tensor's description


class Interpreter(Stack):
    """One pickle, from its first byte to STOP.

    `storage(identifier)` makes a storage of a persistent id; what it all costs is taken from `budget`. With `strict`, names
    of other packages are refused like all that are not known. Raises CheckpointError with the byte it happened at.
    """

    def __init__(
        self, cursor: Cursor, budget: Budget, storage: Callable[[object], Storage] | None = None, strict: bool = False
    ) -> None:
        super().__init__(budget)
        self.cursor, self.storage, self.strict = cursor, storage, strict
        self.foreign: dict[str, inert.Name] = {}  # names of other packages, unless `strict`
        self.made: Counter[str] = Counter()  # stand-ins for their objects

    def run(self) -> Any:
        """Carry out the pickle and return what it leaves."""
        cursor, budget = self.cursor, self.budget
        start = cursor.position
        while True:
            try:
                budget.steps += 1  # as `step` does, without a call for every opcode
                if budget.steps > budget.most_steps:
                    budget.step(0)
                code = cursor.byte()
                if code == STOP:
                    return self.stop()
                operation = OPERATIONS.get(code)
                if operation is None:
                    raise CheckpointError(f"pickle opcode {chr(code)!a}", "not one that a checkpoint needs")
                function, *argument = operation
                function(self, *argument)
            except CheckpointError as error:
                raise error.within(f"byte {cursor.began - start} of the pickle") from None

    # frame and end

    def protocol(self) -> None:
        version = self.cursor.number(1)
        if version > 5:
            raise CheckpointError(f"pickle protocol {version}", "1 to 5 are known")

    def frame(self) -> None:
        self.cursor.take(8)

    def stop(self) -> Any:
        value = self.pop()
        if self.stack:
            raise CheckpointError(f"the pickle stops with {len(self.stack)} values left over")
        return value

    # memo

    def put(self, width: int) -> None:
        self.remember(self.cursor.number(width))

    def get(self, width: int) -> None:
        self.push(self.recalled(self.cursor.number(width)))

    # numbers and text

    def natural(self, width: int) -> None:
        self.push_new(self.cursor.number(width))

    def integer(self, width: int) -> None:
        self.push_new(int.from_bytes(self.cursor.take(width), "little", signed=True))

    def integer_line(self) -> None:
        """Protocol 1 writes True, False and long integers as a line of digits."""
        line = self.cursor.line()
        if line in ("00", "01"):
            self.push(line == "01")
            return
        digits = line.removesuffix("L")
        if not (digits.isascii() and digits.removeprefix("-").isdigit()):
            raise CheckpointError(f"{quote(line)} in the place of an integer")
        self.push_new(int(digits))

    def long(self, width: int) -> None:
        size = self.cursor.number(width)
        if size > LONGEST_INTEGER:
            raise CheckpointError(f"an integer of {size} bytes", f"the limit is {LONGEST_INTEGER}")
        self.integer(size)

    def real(self) -> None:
        self.push_new(struct.unpack(">d", self.cursor.take(8))[0])

    def bytes_of(self, size: int) -> bytes:
        if size > LONGEST_TEXT:
            raise CheckpointError(f"a text of {size} bytes", f"the limit is {LONGEST_TEXT}")
        self.budget.hold(size)  # before it is read
        return self.cursor.take(size)

    def left_in_file(self, size: int, held: int) -> bool:
        """Leave the next `size` bytes in the file where they are more than are held, and push what stands for them."""
        if size <= held:
            return False
        if size > self.cursor.left:
            raise CheckpointError(f"a text of {size} bytes", f"only {self.cursor.left} are left")
        self.budget.hold(SPAN)
        self.push(Span(self.cursor.file, self.cursor.skip(size), size))
        return True

    def text(self, width: int) -> None:
        size = self.cursor.number(width)
        if not self.left_in_file(size, HELD_TEXT):
            try:
                self.push_new(self.bytes_of(size).decode("utf-8", "surrogatepass"))
            except UnicodeDecodeError:
                raise CheckpointError("a text that is not UTF-8") from None

    def binary(self, width: int) -> None:
        """Bytes, or what Python 2 calls a text."""
        size = self.cursor.number(width)
        if not self.left_in_file(size, HELD_BYTES):
            self.push_new(self.bytes_of(size))

    def old_text(self, width: int) -> None:
        size = self.cursor.number(width)
        if not self.left_in_file(size, HELD_TEXT):
            self.push_new(self.bytes_of(size).decode("latin-1"))  # Python 2's str

    # containers

    def tuple_to_mark(self) -> None:
        items = self.pop_to_mark()
        self.push_container(tuple(items), items)

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)][::-1]
        self.push_container(tuple(items), items)

    def empty_list(self) -> None:
        self.push_container([])

    def list_to_mark(self) -> None:
        items = self.pop_to_mark()
        self.push_container(items, items)

    def empty_dict(self) -> None:
        self.push_container({})

    def dict_to_mark(self) -> None:
        items = self.pop_to_mark()
        self.push_container({})
        self.set_items(items)

    def empty_set(self) -> None:
        self.push(inert.SET)

    def frozen_set(self) -> None:
        self.pop_to_mark()
        self.push(inert.FROZENSET)

    def extend(self, items: list[Any]) -> None:
        target = self.top()
        if isinstance(target, inert.Inert):
            return
        self.budget.hold(8 * len(items))
        if isinstance(target, StandIn):
            target.extend(items)
            return
        if not isinstance(target, list):
            raise CheckpointError(f"items appended to {quote(target)}")
        self.nesting.put(target, items)
        target.extend(items)

    def append(self) -> None:
        self.extend([self.pop()])

    def extend_to_mark(self) -> None:
        self.extend(self.pop_to_mark())

    def add_to_mark(self) -> None:
        self.pop_to_mark()
        if not isinstance(self.top(), (inert.Inert, StandIn)):
            raise CheckpointError(f"items added to {quote(self.top())}")

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        if len(items) % 2:
            raise CheckpointError("a key without a value")
        if isinstance(target, inert.Inert):
            return
        self.budget.step(len(items) // 2)
        self.budget.hold(104 * len(items) // 2)
        if isinstance(target, StandIn):
            target.update(items)
            return
        if not isinstance(target, dict):
            raise CheckpointError(f"items set in {quote(target)}")
        self.nesting.put(target, items)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, StoredTensor):  # an optimizer that was pickled whole has its state by its parameters
                target[key_of(key)] = value

    def set_item(self) -> None:
        value = self.pop()
        self.set_items([self.pop(), value])

    def set_to_mark(self) -> None:
        self.set_items(self.pop_to_mark())

    # names and calls

    def name(self) -> None:
        self.budget.step(NAME)
        self.push(self.found(self.cursor.line(), self.cursor.line()))

    def name_from_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise CheckpointError(f"{quote(module)} and {quote(name)} in the place of a module's and a class's name")
        if len(module) + len(name) > LONGEST_LINE:
            raise CheckpointError(
                f"the file names {quote(name)}", f"the limit is {LONGEST_LINE} characters, its module included"
            )
        self.push(self.found(module, name))

    def found(self, module: str, name: str) -> inert.Name:
        """Return what stands for a name, the same every time: one of another package is made here, and counted."""
        known = self.foreign.get(f"{module}.{name}")
        if known is None:
            known = inert.find(module, name, self.strict)
            if known.foreign:
                self.budget.step(CALL)
                self.budget.hold(TENSOR)
                self.foreign[known.path] = known
        return known

    def call(self, callee: object, args: object) -> None:
        if not isinstance(callee, inert.Name):
            raise CheckpointError(f"the file calls {quote(callee)}")
        if not isinstance(args, tuple) or len(args) > MOST_ARGUMENTS:
            raise CheckpointError(f"{callee.path} is called with something else than up to {MOST_ARGUMENTS} arguments")
        given = sum(len(argument) for argument in args if isinstance(argument, CONTAINERS))
        self.budget.step(CALL + given)  # it may be copied
        value = callee.build(*args)
        if isinstance(value, StandIn) and value.path in self.foreign:
            self.made[value.path] += 1
        if isinstance(value, CONTAINERS):
            self.budget.step(max(0, len(value) - given))  # it may be a long one that lies in a short argument
            self.push_container(value, value.values() if isinstance(value, dict) else value)
        else:
            self.push(value)
            self.budget.hold(TENSOR)

    def reduce(self) -> None:
        """REDUCE calls a function, NEWOBJ a class: the same here, where neither is more than a name."""
        args = self.pop()
        self.call(self.pop(), args)

    def new_object_keywords(self) -> None:
        keywords, args = self.pop(), self.pop()
        if not isinstance(keywords, dict):
            raise CheckpointError(f"{quote(keywords)} in the place of keyword arguments")
        self.call(self.pop(), args)

    def build(self) -> None:
        """Set an object's state: a NumPy array's numbers, a stand-in's. What an OrderedDict has is let go."""
        state = self.pop()
        if isinstance(self.top(), Stateful):
            self.budget.step(CALL)
            self.budget.hold(TENSOR)
            self.top().set_state(state)
            return
        if isinstance(self.top(), StoredTensor):
            raise CheckpointError("a state set on a tensor", "it would replace the tensor's numbers")
        if isinstance(self.top(), StandIn):
            self.top().set_state(state)
        elif not isinstance(self.top(), (dict, inert.Inert, inert.Unread)):
            raise CheckpointError(f"a state set on {quote(self.top())}")

    def persistent(self) -> None:
        if self.storage is None:
            raise CheckpointError("a storage where none belongs")
        self.budget.step(CALL)
        self.push(self.storage(self.pop()))
        self.budget.hold(TENSOR)


def key_of(key: object) -> Hashable:
    """Return what stands for a dictionary's key: itself if it is text, None or a record, an integer's digits; else an error.

    Python hashes text with a secret, integers without one: a file could choose them so that all collide.
    """
    if isinstance(key, (str, bytes)):
        if len(key) > LONGEST_KEY:
            raise CheckpointError(f"a dictionary's key of {len(key)} characters", f"the limit is {LONGEST_KEY}")
        return key
    if key is None or isinstance(key, (bool, Record)):
        return key
    if is_natural(key) or (isinstance(key, int) and is_natural(-key)):
        return str(key)
    raise CheckpointError(f"a dictionary's key is {quote(key)}")


STOP = ord(".")
Operation = tuple[Callable[..., object], *tuple[object, ...]]  # what an opcode does, and the argument it does it with

OPERATIONS: dict[int, Operation] = {
    0x80: (Interpreter.protocol,), 0x95: (Interpreter.frame,),
    ord("("): (Interpreter.push, MARK), ord("0"): (Interpreter.drop,), ord("1"): (Interpreter.pop_to_mark,),
    ord("2"): (Interpreter.duplicate,), 0x94: (Interpreter.memoize,),
    ord("q"): (Interpreter.put, 1), ord("r"): (Interpreter.put, 4),
    ord("h"): (Interpreter.get, 1), ord("j"): (Interpreter.get, 4),
    ord("N"): (Interpreter.push, None), 0x88: (Interpreter.push, True), 0x89: (Interpreter.push, False),
    ord("K"): (Interpreter.natural, 1), ord("M"): (Interpreter.natural, 2), ord("J"): (Interpreter.integer, 4),
    ord("I"): (Interpreter.integer_line,), ord("L"): (Interpreter.integer_line,),
    0x8A: (Interpreter.long, 1), 0x8B: (Interpreter.long, 4), ord("G"): (Interpreter.real,),
    0x8C: (Interpreter.text, 1), ord("X"): (Interpreter.text, 4), 0x8D: (Interpreter.text, 8),
    ord("U"): (Interpreter.old_text, 1), ord("T"): (Interpreter.old_text, 4),
    ord("C"): (Interpreter.binary, 1), ord("B"): (Interpreter.binary, 4), 0x8E: (Interpreter.binary, 8),
    ord(")"): (Interpreter.tuple_of, 0), ord("t"): (Interpreter.tuple_to_mark,),
    0x85: (Interpreter.tuple_of, 1), 0x86: (Interpreter.tuple_of, 2), 0x87: (Interpreter.tuple_of, 3),
    ord("]"): (Interpreter.empty_list,), ord("l"): (Interpreter.list_to_mark,),
    ord("}"): (Interpreter.empty_dict,), ord("d"): (Interpreter.dict_to_mark,),
    0x8F: (Interpreter.empty_set,), 0x91: (Interpreter.frozen_set,),
    ord("a"): (Interpreter.append,), ord("e"): (Interpreter.extend_to_mark,), 0x90: (Interpreter.add_to_mark,),
    ord("s"): (Interpreter.set_item,), ord("u"): (Interpreter.set_to_mark,),
    ord("c"): (Interpreter.name,), 0x93: (Interpreter.name_from_stack,),
    ord("R"): (Interpreter.reduce,), 0x81: (Interpreter.reduce,), 0x92: (Interpreter.new_object_keywords,),
    ord("b"): (Interpreter.build,), ord("Q"): (Interpreter.persistent,),
}  # fmt: skip
