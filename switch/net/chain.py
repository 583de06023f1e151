"""How a durable book is written and read: one row of it a commit, each commit chained to the one before.

What is committed together stands in one row of the table `commits`, as a JSON array with a line for each post: its
number, its table, its row, bytes in base64. A tool of SQLite's shows the tables as views of that text.
(Rows of their own, bound column by column, took more than twice as long: docs/decisions/17-a-commit-is-one-row.md.)

A commit's link is a digest over the link before and its text, so a row that is changed, taken out or put in breaks the
chain there; the sums of the posts, a CRC-32 each, then tell which row it is. The digest is plain, not keyed: it finds
damage, a restored copy and a hand in the file, not a forger who chains anew and rewrites the witness as well.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from hashlib import sha256
from operator import itemgetter
from struct import error as BadStruct
from struct import pack, unpack
from typing import Any, Final, NamedTuple, TypeAlias
from zlib import crc32

import apsw
import msgspec
from msgspec.structs import astuple

from switch.clearing.schema import ISSUER_TABLES, SWITCH_TABLES, Table
from switch.net.witness import LINK_BYTES, START, BrokenChain, Witness, refuse_short

Numbered: TypeAlias = tuple[str, tuple[Any, ...]]
"""A table's name and one of its rows, number first."""
Posted: TypeAlias = tuple[int, str, tuple[Any, ...]]
"""The same on its way in: the number before it."""

COMMITS: Final = Table(
    "commits", (("number", "INTEGER"), ("posts", "INTEGER"), ("rows", "TEXT"), ("sums", "BLOB"), ("link", "BLOB"))
)
"""One row a commit: the number of its last post, how many there are, they themselves, their sums and the link."""

_TABLES: Final = {table.name: table for table in (*SWITCH_TABLES, *ISSUER_TABLES)}
_TYPES: Final[dict[str, tuple[type, Any]]] = {"INTEGER": (int, 0), "TEXT": (str, ""), "BLOB": (bytes, b"")}
_encode: Final = msgspec.json.Encoder().encode
_posts: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_post: Final = msgspec.json.Decoder(tuple[int, str, msgspec.Raw]).decode
_number: Final = itemgetter(0)


class Commit(NamedTuple):
    """One row of COMMITS."""

    number: int
    posts: int
    rows: str
    sums: bytes
    link: bytes


# in


def link_of(before: bytes, sums: bytes, rows: bytes) -> bytes:
    """The link of a commit: a digest over the link before, the sums of its posts and their text."""
    digest = sha256(before + sums)
    digest.update(rows)
    return digest.digest()[:LINK_BYTES]


def committed(before: bytes, posts: Sequence[Posted]) -> Commit:
    """The commit of these posts, at least one, behind the link before. Raises TypeError for what JSON cannot hold and
    msgspec.ValidationError where the last row does not fit its table: no recovery could read it."""
    texts = list(map(_encode, posts))
    row_of(texts[-1])  # when little happens, that is every row; when much does, a look now and then costs nothing
    rows = b"[" + b",\n".join(texts) + b"]"
    sums = pack(f">{len(texts)}I", *map(crc32, texts))
    return Commit(posts[-1][0], len(posts), rows.decode(), sums, link_of(before, sums, rows))


def gaps_in(before: int, posts: Sequence[Posted]) -> int:
    """How many of the posts' numbers do not follow the one before."""
    numbers = list(map(_number, posts))
    if numbers == list(range(before + 1, before + 1 + len(numbers))):
        return 0
    return sum(number != earlier + 1 for earlier, number in zip([before, *numbers], numbers, strict=False))


def views(tables: Sequence[Table]) -> Iterator[tuple[str, str]]:
    """For each table its name, and the statement that makes it a view of the commits."""
    for table in tables:
        columns = ", ".join(
            f"json_extract(post.value, '$[2][{place}]') AS {name}" for place, name in enumerate(table.names)
        )
        where = f"json_extract(post.value, '$[1]') = '{table.name}'"
        source = f"{COMMITS.name}, json_each({COMMITS.name}.rows) AS post"
        yield table.name, f"CREATE VIEW {table.name} AS SELECT {columns} FROM {source} WHERE {where}"


# out


@cache
def _reader(name: str) -> Callable[[msgspec.Raw], tuple[Any, ...]]:
    """What reads a row of this table. Columns that came later than the row are empty in it."""
    if name not in _TABLES:
        raise msgspec.ValidationError(f"no table {name!r} is known")
    (number, _), *columns = _TABLES[name].columns
    fields: list[Any] = [(number, int), *((column, *_TYPES[kind]) for column, kind in columns)]
    row = msgspec.defstruct(name, fields, array_like=True, forbid_unknown_fields=True, gc=False)
    decode = msgspec.json.Decoder(row).decode
    return lambda text: astuple(decode(text))


def row_of(post: bytes | msgspec.Raw) -> Numbered:
    """A post's table and row. Raises msgspec.DecodeError for what is none."""
    _, table, row = _post(post)
    return table, _reader(table)(row)


@contextmanager
def _readable() -> Iterator[None]:
    """BrokenChain for a text that is no commit's."""
    try:
        yield
    except msgspec.DecodeError as error:
        raise BrokenChain(f"a row cannot be read: {error}") from None


def rows_in(rows: str, name: str = "", number: int = 0) -> Iterator[Numbered]:
    """The rows of a commit's text, of one table or one number only where it is named; nothing is checked but that they
    can be read. Raises BrokenChain."""
    with _readable():
        for text in _posts(rows):
            found, table, row = _post(text)
            if name in ("", table) and number in (0, found):
                yield table, _reader(table)(row)


def commits_of(connection: apsw.Connection) -> Iterator[Commit]:
    """All commits of a book in the order of their numbers."""
    # A cursor left open would keep the log from being folded in.
    with closing(connection.execute(f"SELECT * FROM {COMMITS.name} ORDER BY number")) as cursor:
        yield from map(Commit._make, cursor)


def rows_of(connection: apsw.Connection, name: str = "") -> Iterator[Numbered]:
    """The rows of a book, of one table only where it is named, in the order of their numbers. Raises BrokenChain."""
    for commit in commits_of(connection):
        yield from rows_in(commit.rows, name)


def numbers_of(connection: apsw.Connection) -> Iterator[int]:
    """The numbers of all rows of a book, as they stand in it. Raises BrokenChain."""
    with _readable():
        for commit in commits_of(connection):
            yield from (_post(text)[0] for text in _posts(commit.rows))


def row_at(connection: apsw.Connection, name: str, number: int) -> tuple[Any, ...] | None:
    """One row of a table. Raises BrokenChain."""
    statement = f"SELECT rows FROM {COMMITS.name} WHERE number >= ? ORDER BY number LIMIT 1"
    found = connection.execute(statement, (number,)).fetchone()
    return next((row for _, row in rows_in(found[0], name, number)), None) if found else None


class Checked:
    """The rows of a book as they are read, each commit against its link; at the end the book against its witness.

    `last` and `link` are those of the last commit seen, `rows` how many rows there were up to it. Iterating raises
    BrokenChain, naming the row.
    """

    def __init__(self, connection: apsw.Connection, witness: Witness | None) -> None:
        self._connection = connection
        self._witness = witness
        self.last = 0
        self.link = START
        self.rows = 0

    def __iter__(self) -> Iterator[Numbered]:
        witness = self._witness
        for commit in commits_of(self._connection):
            found = self._rows(commit)
            if witness and self.last < witness.number <= commit.number and witness != (commit.number, commit.link):
                raise BrokenChain(f"row {witness.number} is another one than the witness has seen")
            self.last, self.link = commit.number, commit.link
            self.rows += commit.posts
            yield from found
        refuse_short("the book", self.last, witness)

    def _rows(self, commit: Commit) -> list[Numbered]:
        """The rows of the next commit, which is what was written."""
        if link_of(self.link, commit.sums, commit.rows.encode()) != commit.link:
            raise BrokenChain(self._fault(commit))
        found = list(rows_in(commit.rows))
        if len(found) != commit.posts or found[-1][1][0] != commit.number:
            raise BrokenChain(f"row {commit.number}: its commit has another number, or another count")
        return found

    def _fault(self, commit: Commit) -> str:
        """Which row it is that breaks the chain, by the numbers and sums of the posts."""
        first = commit.number - commit.posts + 1
        if first > self.last + 1:
            return f"row {self.last + 1} is missing"
        try:
            found = [crc32(text) for text in _posts(commit.rows)]
            written = unpack(f">{commit.posts}I", commit.sums)
        except (msgspec.DecodeError, BadStruct):
            return f"row {first} cannot be read, nor what was written with it up to row {commit.number}"
        for place, wanted in enumerate(written):
            if found[place : place + 1] != [wanted]:
                what = "missing" if len(found) < len(written) else "not what was written: the chain is broken there"
                return f"row {first + place} is {what}"
        return f"row {commit.number} does not chain to row {self.last}"
