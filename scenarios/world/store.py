"""A simulated disk behind the door of `switch.net.disk.Disk`: what was synced survives, the rest may be torn.

A `Platter` is the medium and outlives its processes; a `Store` is one process's hold on it. A commit is one frame
(length, CRC, rows): after a crash the frames that are whole stand, a torn one at the end is cut off, and a damaged one
before the end is a store that nobody may start on.
"""

import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from switch.clearing.schema import Table
from switch.net.disk import StorageFailed, StoreInUse

Trouble: TypeAlias = Literal["", "eio", "enospc", "dies before sync", "dies after sync"]
"""What the next commit meets: the sync fails, the disk is full, or the process is killed at either side of the sync."""

_HEAD: Final = struct.Struct(">II")
_FULL_SHARE: Final = 3


class Died(BaseException):
    """The process was killed inside a commit: nothing below may catch this."""


class Platter:
    """The medium: `data` of which the first `synced` bytes survive anything. `troubles` meet the next commits."""

    __slots__ = ("data", "held", "synced", "torn", "troubles", "unsure")

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = 0
        self.held = False
        self.troubles: list[Trouble] = []
        self.torn = 0
        self.unsure = 0

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

    Raises StoreInUse where another process holds the platter, StorageFailed where a frame before the end is damaged.
    `told` is called with the rows of each commit that was made durable.
    """

    __slots__ = ("_last", "_pending", "_platter", "_tables", "commits", "durable", "gaps", "rows", "told")

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
        platter.held = True
        self.durable = self._last = max((row[0] for _, row in self.history()), default=0)

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
        payload = msgspec.msgpack.encode(rows)
        frame = _HEAD.pack(len(payload), zlib.crc32(payload)) + payload
        if trouble == "enospc":
            platter.data += frame[: len(frame) // 2]
            raise StorageFailed("no space left")
        platter.data += frame
        if trouble == "eio":
            raise StorageFailed("the sync failed")
        if trouble == "dies before sync":
            raise Died
        platter.synced = len(platter.data)
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
        at, data = 0, bytes(self._platter.data)
        while at < len(data):
            size, _ = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            for table, row in msgspec.msgpack.decode(data[at : at + size]):
                yield table, tuple(row)
            at += size

    def close(self) -> None:
        """Let go of the platter."""
        self._platter.held = False
