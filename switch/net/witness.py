"""Beside a durable book stands its witness, a file that knows the last durable row and its commit's link."""

import os
import struct
import zlib
from pathlib import Path
from typing import Final, NamedTuple

LINK_BYTES: Final = 12
START: Final = bytes(LINK_BYTES)
"""What the first commit's link chains to."""

_WITNESS: Final = struct.Struct(">8sQ12sI")
_MARK: Final = b"shoudan1"


class BrokenChain(Exception):
    """The book is not what was written: the text names the row, or by how much it is short."""


class Witness(NamedTuple):
    """The last row known to be durable, and its link."""

    number: int
    link: bytes


def refuse_short(name: str, last: int, witness: Witness | None) -> None:
    """Raises BrokenChain for a book that ends with row `last` where its witness has seen a later one."""
    if witness is not None and witness.number > last:
        raise BrokenChain(
            f"{name} ends with row {last}, its witness has seen row {witness.number}: "
            f"rows {last + 1} to {witness.number} are missing"
        )


def witness_path(book: Path) -> Path:
    return book.with_name(book.name + ".witness")


class WitnessFile:
    """Where the last durable row is noted after each commit: one write in place and no sync.

    A witness behind its book is of no harm; it can never be ahead of it, as a commit has ended before it is written.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def note(self, number: int, link: bytes) -> None:
        """Raises OSError."""
        os.pwrite(self._file, _pack(number, link), 0)

    def close(self) -> None:
        """Sync and let go: a stop in good order leaves a witness that is up to date."""
        os.fsync(self._file)
        os.close(self._file)


def _pack(number: int, link: bytes) -> bytes:
    head = _WITNESS.pack(_MARK, number, link, 0)[:-4]
    return head + zlib.crc32(head).to_bytes(4, "big")


def read_witness(path: Path) -> Witness | None:
    """What a witness says, None where there is none (or it is empty: made, and never written). Raises BrokenChain for
    one that cannot be read."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if not data.strip(b"\0"):
        return None
    if len(data) == _WITNESS.size:
        _, number, link, _ = _WITNESS.unpack(data)
        if data == _pack(number, link):
            return Witness(number, link)
    raise BrokenChain(f"{path.name} is no witness: it is damaged, or another file")
