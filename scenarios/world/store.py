"""A simulated disk behind the door of `switch.net.disk.Disk`: what was synced survives, the rest may be torn.

A `Platter` is the medium and outlives its processes; a `Store` is one process's hold on it. A commit is one frame
(length, CRC, rows, the link of the last one): after a crash the frames that are whole stand, a torn one at the end is
cut off, and a damaged one before the end is a store that nobody may start on. Neither may anybody on one whose chain is
broken, or that is shorter than its witness, which is noted after each commit as that of `Disk` is.
"""

import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

import msgspec

from switch.clearing.schema import Table
from switch.net.disk import StorageFailed, StoreInUse
from switch.net.witness import LINK_BYTES, START, BrokenChain, Witness, refuse_short

Trouble: TypeAlias = Literal["", "eio", "enospc", "dies before sync", "dies after sync"]
"""What the next commit meets: the sync fails, the disk is full, or the process is killed at either side of the sync."""

_HEAD: Final = struct.Struct(">II")
_FULL_SHARE: Final = 3
MUCH: Final = 12
"""Frames that a book has before anybody thinks of putting back a copy."""


def framed(content: tuple[Any, bytes]) -> bytes:
    """One commit as it is written: its rows and the link of the last."""
    payload = msgspec.msgpack.encode(content)
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def link_of(before: bytes, table: str, row: tuple[Any, ...]) -> bytes:
    """The link of a row: a digest over the link before, the table and the row."""
    return sha256(msgspec.msgpack.encode((before, table, row))).digest()[:LINK_BYTES]


def frames(data: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Where each frame begins and ends."""
    at = 0
    while at < len(data):
        end = at + _HEAD.size + _HEAD.unpack_from(data, at)[0]
        yield at, end
        at = end


class Died(BaseException):
    """The process was killed inside a commit: nothing below may catch this."""


class Platter:
    """The medium: `data` of which the first `synced` bytes survive anything, and the witness beside it. `troubles` meet
    the next commits. `true` is what stood there before somebody put something else in its place."""

    __slots__ = ("data", "held", "synced", "torn", "troubles", "true", "unsure", "witness")

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = 0
        self.held = False
        self.troubles: list[Trouble] = []
        self.torn = 0
        self.unsure = 0
        self.witness: Witness | None = None
        self.true: bytes | None = None

    def restore_copy(self, share: float) -> bool:
        """Somebody puts back a copy made when the book had that share of its frames; False for one too short."""
        ends = [end for _, end in frames(self.data)]
        if len(ends) < MUCH:
            return False
        self._replace(self.data[: ends[int((len(ends) - 1) * share)]])
        return True

    def tamper(self, share: float) -> bool:
        """A hand in the file: a row is changed and the checksum made anew; False for a book too short."""
        places = list(frames(self.data))
        if len(places) < MUCH:
            return False
        begin, end = places[int((len(places) - 1) * share)]
        rows, link = msgspec.msgpack.decode(self.data[begin + _HEAD.size : end])
        rows[0][1][1] += 1  # its time
        self._replace(self.data[:begin] + framed((rows, link)) + self.data[end:])
        return True

    def _replace(self, data: bytearray) -> None:
        self.true, self.data, self.synced = bytes(self.data), data, len(data)

    def put_right(self) -> None:
        """The true book is found and put back."""
        if self.true is not None:
            self.data, self.synced, self.true = bytearray(self.true), len(self.true), None

    def crash(self, draw: random.Random) -> None:
        """The process is gone, and of what was not synced any beginning may have reached the medium."""
        self.held = False
        loose = len(self.data) - self.synced
        if loose:
            kept = (0, loose, draw.randrange(loose))[draw.randrange(_FULL_SHARE)]
            self.unsure += kept == loose
            del self.data[self.synced + kept :]


class Store:
    """One process's rows on a platter. The same door as `Disk`: add, pending, commit, durable, history, close.

    Raises StoreInUse where another process holds the platter, StorageFailed where a frame before the end is damaged,
    BrokenChain where the rows are not those that were written.
    `told` is called with the rows of each commit that was made durable.
    """

    __slots__ = ("_last", "_link", "_pending", "_platter", "_tables", "commits", "durable", "gaps", "rows", "told")

    def __init__(
        self,
        platter: Platter,
        tables: Sequence[Table],
        told: Callable[[list[tuple[str, tuple[Any, ...]]]], None] = lambda rows: None,
    ) -> None:
        if platter.held:
            raise StoreInUse("the platter is held by another process")
        self._platter = platter
        self._tables = frozenset(table.name for table in tables)
        self._pending: list[tuple[str, tuple[Any, ...]]] = []
        self.commits = self.rows = self.gaps = 0
        self.told = told
        self._repair()
        self.durable = self._last = 0
        self._link = START
        self._follow()
        refuse_short("the platter", self._last, platter.witness)
        platter.held = True

    def _follow(self) -> None:
        """Read all frames against the chain."""
        platter, seen = self._platter, self._platter.witness
        for begin, end in frames(platter.data):
            rows, link = msgspec.msgpack.decode(platter.data[begin + _HEAD.size : end])
            for table, row in rows:
                self._link = link_of(self._link, table, row)
                self._last = row[0]
                if seen is not None and seen.number == row[0] and seen.link != self._link:
                    raise BrokenChain(f"row {row[0]} is another one than the witness has seen")
            if self._link != link:
                raise BrokenChain(f"row {self._last} is not what was written: the chain is broken there")
        self.durable = self._last

    def _repair(self) -> None:
        """Cut a torn frame off the end; what then stands is made to last."""
        platter = self._platter
        at, data = 0, platter.data
        while len(data) - at >= _HEAD.size:
            size, check = _HEAD.unpack_from(data, at)
            stop = at + _HEAD.size + size
            if stop > len(data):
                break
            if zlib.crc32(data[at + _HEAD.size : stop]) != check:
                if stop < len(data) or stop <= platter.synced:
                    raise StorageFailed(f"the frame at byte {at} is damaged")
                break
            at = stop
        if at < platter.synced:
            raise StorageFailed(f"the store ends at byte {at}, {platter.synced} were synced")
        platter.torn += at < len(data)
        del data[at:]
        platter.synced = at

    def add(self, number: int, table: str, row: tuple[Any, ...]) -> None:
        """Take a row for the next commit."""
        if table not in self._tables:
            raise KeyError(table)
        self._pending.append((table, row))
        if number != self._last + 1:
            self.gaps += 1
        self._last = number

    @property
    def pending(self) -> int:
        """Rows taken and not yet durable."""
        return len(self._pending)

    def commit(self) -> int:
        """Make all rows taken so far durable; the highest durable number. StorageFailed on any storage error."""
        platter, rows = self._platter, self._pending
        trouble: Trouble = platter.troubles.pop(0) if platter.troubles else ""
        link = self._link
        for table, row in rows:
            link = link_of(link, table, row)
        frame = framed((rows, link))
        if trouble == "enospc":
            platter.data += frame[: len(frame) // 2]
            raise StorageFailed("no space left")
        platter.data += frame
        if trouble == "eio":
            raise StorageFailed("the sync failed")
        if trouble == "dies before sync":
            raise Died
        platter.synced = len(platter.data)
        self._link, platter.witness = link, Witness(self._last, link)
        self.durable = self._last
        self.commits += 1
        self.rows += len(rows)
        self._pending = []
        self.told(rows)
        if trouble == "dies after sync":
            raise Died
        return self.durable

    def history(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """All rows of all tables as (table, row), in the order of their numbers."""
        data = bytes(self._platter.data)
        for begin, end in frames(data):
            for table, row in msgspec.msgpack.decode(data[begin + _HEAD.size : end])[0]:
                yield table, tuple(row)

    def close(self) -> None:
        """Let go of the platter."""
        self._platter.held = False
