"""Each row of a durable book chains to the one before it, and a witness beside the book keeps its last link.

A link is a digest over the link before and the row, so a row that is changed, taken out or put in breaks the chain at
its place. The links of one commit stand in one row of the table `chain`: a column in each row cost a fifth of a commit
more. The digest is plain, not keyed: it finds damage, a restored copy and a hand in the file, not a forger who chains
anew and rewrites the witness as well.
"""

import os
import struct
import zlib
from collections.abc import Generator, Iterator, Sequence
from hashlib import sha256
from heapq import heapify, heappop, heapreplace
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from switch.clearing.schema import Table

Numbered = tuple[str, tuple[Any, ...]]
"""A table's name and one of its rows, number first."""
Posted = tuple[int, str, tuple[Any, ...]]
"""The same on its way in: the number before it."""

LINK_BYTES: Final = 12
START: Final = bytes(LINK_BYTES)
"""What the first link chains to."""

CHAIN: Final = Table("chain", (("number", "INTEGER"), ("count", "INTEGER"), ("links", "BLOB")))
"""One row a commit: the number of its last row, how many rows it had, and their links."""

_WITNESS: Final = struct.Struct(">8sQ12sI")
_MARK: Final = b"shoudan1"
_encode: Final = msgspec.msgpack.Encoder().encode


class BrokenChain(Exception):
    """The book is not what was written: the text names the row, or by how much it is short."""


class Witness(NamedTuple):
    """The last row known to be durable, and its link."""

    number: int
    link: bytes


def link_of(before: bytes, table: str, row: tuple[Any, ...]) -> bytes:
    """The link of a row: a digest over the link before, the table and the row (1 us)."""
    return sha256(_encode((before, table, row))).digest()[:LINK_BYTES]


def chained(before: bytes, posts: Sequence[Posted]) -> list[tuple[int, int, bytes]]:
    """The CHAIN rows of one commit's rows: one, or one a row where their numbers do not follow each other."""
    if posts[-1][0] - posts[0][0] + 1 != len(posts):
        found = []
        for number, table, row in sorted(posts, key=itemgetter(0)):
            before = link_of(before, table, row)
            found.append((number, 1, before))
        return found
    links, encode = [], _encode
    for _, table, row in posts:  # `link_of`, without the call
        before = sha256(encode((before, table, row))).digest()[:LINK_BYTES]
        links.append(before)
    return [(posts[-1][0], len(posts), b"".join(links))]


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


def in_order(connection: apsw.Connection, names: Sequence[str]) -> Generator[Numbered, None, None]:
    """All rows of these tables in the order of their numbers."""
    cursors = [(name, connection.execute(f"SELECT * FROM {name} ORDER BY number")) for name in names]
    heads = [(row[0], name, row, cursor) for name, cursor in cursors if (row := next(cursor, None)) is not None]
    heapify(heads)
    try:
        while heads:
            number, name, row, cursor = heads[0]
            limit = min((head[0] for head in heads[1:3]), default=None)
            while row is not None and (limit is None or row[0] < limit or row[0] == number):
                yield name, row
                row = next(cursor, None)
            if row is None:
                heappop(heads)
            else:
                heapreplace(heads, (row[0], name, row, cursor))
    finally:  # a cursor left open would keep the log from being folded in
        for _, cursor in cursors:
            cursor.close()


class Links:
    """The stored links of a book, read one after the other."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._cursor = connection.execute("SELECT number, count, links FROM chain ORDER BY number")
        self._links = b""
        self._place = 0
        self._numbers = range(0)
        self.first = 0
        self._fill()
        self.first = self._numbers.start if self._links else 0

    def close(self) -> None:
        self._cursor.close()

    def _fill(self) -> None:
        group = next(self._cursor, None)
        self._place = 0
        if group is None:
            self._links, self._numbers = b"", range(0)
            return
        number, count, links = group
        if len(links) != count * LINK_BYTES or count < 1:
            raise BrokenChain(f"row {number}: its links are not whole")
        self._links, self._numbers = links, range(number - count + 1, number + 1)

    def take(self) -> tuple[int, bytes]:
        """The next row's number (where numbers have no gap) and link; (0, b"") when there is none."""
        if not self._links:
            return 0, b""
        place = self._place
        found = self._numbers[place], self._links[place * LINK_BYTES : (place + 1) * LINK_BYTES]
        self._place += 1
        if self._place == len(self._numbers):
            self._fill()
        return found


class Checked:
    """The rows of a book as they are read, each against its link; at the end the book against its witness.

    Rows from before the chain (a book of an earlier release) pass, and nothing else does. `last` and `link` are those
    of the last row seen, `rows` how many had a link. Iterating raises BrokenChain.
    """

    def __init__(self, connection: apsw.Connection, names: Sequence[str], witness: Witness | None) -> None:
        self._rows = in_order(connection, names)
        self._links = Links(connection)
        self._witness = witness
        self.last = 0
        self.link = START
        self.rows = 0

    def __iter__(self) -> Iterator[Numbered]:
        try:
            yield from self._each()
        finally:
            self._rows.close()
            self._links.close()

    def _each(self) -> Iterator[Numbered]:
        links, witness, before = self._links, self._witness, START
        first, seen = links.first, witness.number if witness else -1
        for table, row in self._rows:
            number = row[0]
            if not first or number < first:
                if first and number + 1 > first:
                    raise BrokenChain(f"row {number} stands outside the chain")
                self.last = number
                yield table, row
                continue
            wanted, stored = links.take()
            if not stored:
                raise BrokenChain(f"row {number} was added behind the chain's end, row {self.last}")
            if number != wanted:
                what = f"row {wanted} is missing" if number > wanted else f"row {number} stands outside the chain"
                raise BrokenChain(what)
            before = link_of(before, table, row)
            if before != stored:
                raise BrokenChain(f"row {number} is not what was written: the chain is broken there")
            if number == seen and witness and witness.link != before:
                raise BrokenChain(f"row {number} is another one than the witness has seen")
            self.last, self.link = number, before
            self.rows += 1
            yield table, row
        wanted, stored = links.take()
        if stored:
            raise BrokenChain(f"row {wanted} is missing")
        refuse_short("the book", self.last, witness)
        if witness and not first:
            raise BrokenChain(f"the book has no chain, and its witness has seen row {witness.number} of one")
