"""Terminals as rows: what an idle terminal is, in 80 bytes or so, and the memory that is made of it for a dialogue.

Who a terminal is follows from its number. What it must not forget between two dialogues stands in a record of fixed
size: trace number, batch, the host's clock, whether it is signed in, and its working keys as they came, under its
master key. What few terminals have at a time, an open batch, a debt, notes in cassettes, stands beside, packed, for
those that have it.
"""

import pickle
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final

from terminals.device.dialogue import Line
from terminals.device.memory import Memory
from terminals.device.validator import ValidatorMemory
from terminals.fleet import Operator, Terminal, memory_of, validator_of

_SIGNED_IN, _OPEN = 1, 2
_IN_THE_RECORD: Final = frozenset(("batch", "clock", "signed_in", "stan"))
_FROM_OUTSIDE: Final = frozenset(("mcc", "merchant_name", "mid", "pinpad", "reader", "suite", "tid"))
"""What follows from the terminal's number, and the reader that is fitted anew."""


_AT_THE_GATE: Final = (
    "doubts", "files", "intent", "next_file", "next_tap", "recent", "refused", "sequence", "taps", "taps_max",
)  # fmt: skip
"""What a validator keeps besides its lists, its line and its zone."""


class Rows:
    """The memories of `count` terminals; `terminal` makes the one of a number (from 0), `line` says how long keys are.

    Between `take` and `put` a terminal's memory is out: nobody else is to take it.
    """

    __slots__ = ("_blank", "_count", "_layouts", "_pages", "_record", "_table", "out", "terminal")

    def __init__(self, count: int, terminal: Callable[[int], Terminal], line: Line) -> None:
        self._count = count
        self.terminal = terminal
        self._layouts = {
            str(suite): (tuple(section.keys), section.mac, sum(key.bytes + key.pad + key.kcv for key in section.keys))
            for suite, section in line.profile.suites.items()
        }
        widest = max(size for _, _, size in self._layouts.values())
        self._record = Struct(f"<IB6s10s{widest}s")
        self._table = bytearray(self._record.size * count)
        self._pages: dict[int, bytes] = {}
        self._blank: dict[str, bytes] = {}
        self.out: dict[int, tuple[Memory, Terminal]] = {}

    def __len__(self) -> int:
        return self._count

    def take(self, number: int) -> Memory:
        """The memory of a terminal, as it was put, or as out of the box. KeyError for one that is out."""
        if number in self.out:
            raise KeyError(number)
        terminal = self.terminal(number)
        memory = memory_of(terminal)
        size = self._record.size
        stan, flags, batch, clock, keys = self._record.unpack_from(self._table, number * size)
        memory.stan = stan
        memory.batch = batch.rstrip(b"\0").decode("ascii")
        memory.clock = (clock[:4].rstrip(b"\0").decode("ascii"), clock[4:].rstrip(b"\0").decode("ascii"))
        memory.signed_in = bool(flags & _SIGNED_IN)
        layout, mac, length = self._layouts[terminal.suite]
        if any(keys):
            memory.pinpad.keep_keys(keys[:length], layout, mac)
        page = self._pages.get(number)
        if page is not None:
            for name, value in zip(_beside(type(memory)), pickle.loads(page), strict=True):
                setattr(memory, name, value)
        self.out[number] = memory, terminal
        return memory

    def put(self, number: int) -> None:
        """The memory goes back into its row."""
        memory, terminal = self.out.pop(number)
        open_ = memory.owes or memory.settling is not None or bool(memory.items)
        flags = memory.signed_in * _SIGNED_IN | open_ * _OPEN
        self._record.pack_into(
            self._table, number * self._record.size, memory.stan, flags, memory.batch.encode("ascii"),
            memory.clock[0].encode("ascii").ljust(4, b"\0") + memory.clock[1].encode("ascii"),
            memory.pinpad.wrapped,
        )  # fmt: skip
        page = _packed(memory)
        if page == self._blank_page(terminal):
            self._pages.pop(number, None)
        else:
            self._pages[number] = page

    def _blank_page(self, terminal: Terminal) -> bytes:
        """What stands beside the record of such a terminal out of the box."""
        if terminal.model not in self._blank:
            self._blank[terminal.model] = _packed(memory_of(terminal))
        return self._blank[terminal.model]

    @property
    def signed_in(self) -> int:
        """How many are signed in, of those that are not out."""
        return sum(flags & _SIGNED_IN for flags in self._table[4 :: self._record.size])

    def open(self) -> Iterator[int]:
        """The numbers of terminals that owed something, or had an open batch, when they were put."""
        for number, flags in enumerate(self._table[4 :: self._record.size]):
            if flags & _OPEN:
                yield number

    def paged(self) -> list[int]:
        """The numbers of terminals that are not out and have more than a record."""
        return [number for number in self._pages if number not in self.out]

    @property
    def bytes(self) -> int:
        """What all rows take, and what stands beside them."""
        return len(self._table) + sum(map(len, self._pages.values()))

    def __repr__(self) -> str:
        return f"Rows({self._count} terminals, {len(self._pages)} with more than a record, {len(self.out)} out)"


class GateRows:
    """The memories of an operator's validators, packed while nobody is at them; one out of the box takes nothing."""

    __slots__ = ("_lists", "_pages", "operator", "out")

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self._lists = {operator.lists.version: operator.lists}
        self._pages: dict[int, bytes] = {}
        self.out: dict[int, ValidatorMemory] = {}

    def __len__(self) -> int:
        return len(self.operator.validators)

    def take(self, number: int) -> ValidatorMemory:
        """The memory of a validator, as it was put, or as out of the box. KeyError for one that is out."""
        if number in self.out:
            raise KeyError(number)
        memory = validator_of(self.operator, self.operator.validators[number])
        page = self._pages.get(number)
        if page is not None:
            version, values = pickle.loads(page)
            if version != memory.lists.version:
                memory.take(self._lists[version])
            for name, value in zip(_AT_THE_GATE, values, strict=True):
                setattr(memory, name, value)
        self.out[number] = memory
        return memory

    def put(self, number: int) -> None:
        """The memory goes back. Lists are the same for all gates that have them."""
        memory = self.out.pop(number)
        self._lists.setdefault(memory.lists.version, memory.lists)
        values = [getattr(memory, name) for name in _AT_THE_GATE]
        self._pages[number] = pickle.dumps((memory.lists.version, values), pickle.HIGHEST_PROTOCOL)

    @property
    def bytes(self) -> int:
        """What all of them take."""
        return sum(map(len, self._pages.values()))


def _beside(kind: type[Memory]) -> tuple[str, ...]:
    """The names of what a memory holds besides its record, in their order."""
    names = [name for one in reversed(kind.__mro__) for name in getattr(one, "__slots__", ())]
    return tuple(name for name in names if name not in _IN_THE_RECORD | _FROM_OUTSIDE)


def _packed(memory: Memory) -> bytes:
    """One object twice stays one object: a debt is about an item of the batch."""
    return pickle.dumps([getattr(memory, name) for name in _beside(type(memory))], pickle.HIGHEST_PROTOCOL)
