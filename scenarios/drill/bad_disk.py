"""A storage layer that fails or forgets the n-th sync, under an unchanged switch: `python -m scenarios.drill.bad_disk`.

    bad_disk fail N switch.toml       the n-th sync is an I/O error
    bad_disk forget N switch.toml     the n-th sync says it has been done and has not; power is cut before the next

What was written since the last sync is held back in memory and given to the file only by a sync, as a drive does with
its cache: when the process ends without one, it is gone. SQLite is told of none of this; the layer stands between it
and the system's own.
"""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

import apsw

from switch.app.serve import run_loop, serve_switch

NAME: Final = "bad"
SYSTEMS: Final = "unix"
"""What the layer stands on: SQLite's own name for the system's storage."""


class Ruin:
    """When a sync goes wrong, and how. Counts the syncs of journal and log together, once `armed`."""

    def __init__(self, how: str, nth: int) -> None:
        self.how = how
        self.nth = nth
        self.syncs = 0
        self.forgotten = False

    def sync(self) -> bool:
        """Before a sync: whether it is to be done. Raises apsw.IOError where it fails."""
        if self.forgotten:
            os.kill(os.getpid(), signal.SIGKILL)  # the power is cut
        self.syncs += 1
        if self.syncs != self.nth:
            return True
        if self.how == "fail":
            raise apsw.IOError("sync failed on purpose")
        self.forgotten = True
        return False


class Layer(apsw.VFS):
    """The system's storage with a cache of its own."""

    def __init__(self, ruin: Ruin) -> None:
        self._ruin = ruin
        super().__init__(NAME, SYSTEMS, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> "Held":
        return Held(name, flags, self._ruin)


class Held(apsw.VFSFile):
    """One file, its unsynced writes beside it in their order."""

    def __init__(self, name: Any, flags: list[int], ruin: Ruin) -> None:
        super().__init__(SYSTEMS, name, flags)
        self._ruin = ruin
        self._cache: list[tuple[int, bytes]] = []
        self._size = super().xFileSize()

    def xWrite(self, data: bytes, offset: int) -> None:
        self._cache.append((offset, bytes(data)))
        self._size = max(self._size, offset + len(data))

    def xRead(self, amount: int, offset: int) -> bytes:
        there = min(amount, max(0, super().xFileSize() - offset))
        found = bytearray(super().xRead(there, offset) if there else b"")
        found.extend(bytes(min(amount, max(0, self._size - offset)) - len(found)))
        for at, data in self._cache:
            begin, end = max(at, offset), min(at + len(data), offset + len(found))
            if begin < end:
                found[begin - offset : end - offset] = data[begin - at : end - at]
        return bytes(found)

    def xFileSize(self) -> int:
        return self._size

    def xTruncate(self, size: int) -> None:
        self._give()
        super().xTruncate(size)
        self._size = size

    def xSync(self, flags: int) -> None:
        if self._ruin.sync():
            self._give()
            super().xSync(flags)

    def xClose(self) -> None:
        self._give()
        super().xClose()

    def _give(self) -> None:
        for offset, data in self._cache:
            super().xWrite(data, offset)
        self._cache.clear()


def main() -> int:
    """Run a switch on the bad layer; its exit code."""
    how, nth, config = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    layer = Layer(Ruin(how, int(nth)))
    code = run_loop(serve_switch(Path(config).resolve()))
    layer.unregister()
    return code


if __name__ == "__main__":
    sys.exit(main())
